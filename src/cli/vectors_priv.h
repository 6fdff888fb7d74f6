/*
 * `lakehouse vectors`: what its two halves share.
 */
#ifndef CLI_VECTORS_PRIV_H
#define CLI_VECTORS_PRIV_H

#include <stdio.h>

#include "cli/cli_priv.h"

struct vectors_options {
    const char *server, *dimension, *metric, *m, *ef_construction, *preset;            /* create */
    const char *format, *sql, *id_field, *vector_field, *ids, *mode;                   /* load */
    const char *vector, *id, *k, *ef, *recall_target, *filter, *max_distance, *fields; /* search */
    bool create, exact, with_vectors, all, drop, json;
};

/** "/v1/vectors/index/<name><tail>" */
enum status vectors_target(struct str name, const char *tail, struct buf *out,
                           struct err *err) MUST_USE;
/** POST a JSON body; the answer's body goes to *answer. */
enum status vectors_post(struct http_client *client, struct str target, struct str body,
                         struct http_answer *answer, struct err *err) MUST_USE;
/** POST /v1/vectors/index */
enum status vectors_create(struct http_client *client, struct str name, uint64_t dimension,
                           const struct vectors_options *options, struct http_answer *answer,
                           struct err *err) MUST_USE;

/* --- vectors_load.c --- */

/** `load NAME [FILE]`; the file is NULL with --sql. */
enum status vectors_load(struct http_client *client, struct str name, const char *file,
                         const struct vectors_options *options, struct err *err) MUST_USE;

/* --- vectors_parquet.c --- */

/** The rows of a Parquet file as NDJSON, in pieces that end anywhere; a failure of `take` ends
 * it. */
enum status vectors_unpack(FILE *file,
                           enum status (*take)(void *ctx, struct str bytes, struct err *err),
                           void *ctx, struct err *err) MUST_USE;
/** All items to standard output. */
enum status vectors_export_parquet(struct http_client *client, struct str index,
                                   struct err *err) MUST_USE;

#endif
