/*
 * TOML, flattened: what a file says as a list of items in the order of its lines. The parser is
 * toml++ (C++); it stays behind this header and no exception leaves it.
 */
#ifndef BASE_TOML_H
#define BASE_TOML_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum toml_kind {
    TOML_TABLE,    /* an empty table, or one element of an array of tables beginning */
    TOML_STRING,   /* `text` is its content */
    TOML_SCALAR,   /* a whole number or a boolean; `text` as TOML writes it */
    TOML_FRACTION, /* a floating point number */
    TOML_STRINGS,  /* an array of strings */
    TOML_OTHER_ARRAY,
    TOML_DATE,
};

/** One item; everything borrows and is gone when the visitor returns. */
struct toml_item {
    const char *section; /* dotted: "s3api.keys"; "" at the top */
    const char *name;    /* NULL for TOML_TABLE */
    enum toml_kind kind;
    bool in_array; /* the section is an array of tables; TOML_TABLE begins each element */
    unsigned line; /* from 1 */
    struct str text;
    const struct str *strings; /* TOML_STRINGS */
    size_t string_count;
};

/** Anything but OK ends the walk and is returned. Must not throw. */
typedef enum status toml_visit(void *ctx, const struct toml_item *item, struct err *err);

/**
 * Parse `text` and hand every item to `visit`.
 *
 * Errors   E_INVALID as `<path>:<line>: <what>`; E_NO_MEMORY; what the visitor returns
 */
enum status toml_walk(struct str text, const char *path, toml_visit *visit, void *ctx,
                      struct err *err) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
