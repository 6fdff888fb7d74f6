/*
 * The schema in a Parquet file's footer: how each column is stored, beside the type that DuckDB
 * reads it as.
 */
#ifndef ENGINE_CHILD_FOOTER_H
#define ENGINE_CHILD_FOOTER_H

#include "duck/duck.h"
#include "iceberg/schema.h"

/** A node of the footer's tree, in its own depth-first order; the root is not among them. */
struct footer_node {
    int32_t id;       /* field id; 0: none */
    int32_t children; /* 0: a leaf */
    bool repeated;
    struct str name;
    struct str stored; /* physical type of a leaf: "INT64"; empty for groups */
    /* DuckDB's text of the logical type, else the converted type; may be empty */
    struct str logical;
    struct str sql; /* the leaf's type for DuckDB: "UBIGINT" */
};
struct footer {
    struct footer_node *nodes;
    size_t count;
};
/** Of "spool://in"; everything in `arena`. */
enum status footer_read(struct duck_session *session, struct arena *arena, struct footer *out,
                        struct err *err) MUST_USE;

/**
 * Walk the columns and the footer's tree together. `root` is a struct of the columns as DuckDB
 * reads them; `visit` is called for each of its fields at any depth, parents first. `node` is NULL
 * for an element that has no node of its own (lists of old writers).
 *
 * Errors   E_INVALID when the two do not match; those of `visit`
 */
enum status footer_walk(const struct footer *footer, struct ice_type *root,
                        enum status (*visit)(void *ctx, struct ice_field *field,
                                             const struct footer_node *node, struct err *err),
                        void *ctx, struct err *err) MUST_USE;

/** Nothing but null was ever there: Arrow's null type, which is stored as an integer. */
bool footer_is_unknown(const struct footer_node *node);
/** What of a leaf's way to be stored is not the table format's; NULL: nothing. */
const char *footer_foreign(const struct footer_node *node);

#endif
