/*
 * A lake for tests: a store in a fresh folder, its catalogue, an engine pool, and tables made from
 * CSV text by the engine's own "convert".
 */
#ifndef TESTS_QUERY_LAKE_H
#define TESTS_QUERY_LAKE_H

#include "query/query.h"

struct lake {
    char dir[64];
    struct store *store;
    struct catalog *catalog;
    struct engine_pool *engines;
    struct query_service *service;
    struct metrics *metrics;
};

/** Fails the test when it cannot be made. Zeroed members of `engine` have the pool's defaults.
 * `in_memory`: a store that has no descriptors to give. */
void lake_open(struct lake *lake, bool in_memory, const struct engine_pool_opts *engine);
void lake_close(struct lake *lake);
/** Append rows to a table, making it first if it is missing; its snapshot id. */
int64_t lake_append(struct lake *lake, const char *table, struct str csv);

/** Run to the end; the answer's bytes, or the error's kind with its message in `err`. */
enum status lake_sql(struct lake *lake, const char *sql, struct buf *out, struct err *err);
enum status lake_sql_opts(struct lake *lake, const struct query_opts *opts, struct buf *out,
                          struct err *err);

#endif
