/*
 * POST /sql: a statement as JSON in, its rows as JSON, NDJSON or CSV out.
 */
#ifndef API_API_SQL_H
#define API_API_SQL_H

#include "http/server.h"
#include "query/query.h"

struct api_sql;

struct api_sql_opts {
    struct query_service *service; /* borrowed */
    int64_t timeout_ms;            /* of a statement; 0: 300 s */
    struct metrics *metrics;       /* may be NULL */
};
enum status api_sql_new(const struct api_sql_opts *opts, struct api_sql **out,
                        struct err *err) MUST_USE;
/** After the server has stopped. NULL is fine. */
void api_sql_free(struct api_sql *api);
/** Adds POST {prefix}/sql. */
enum status api_sql_mount(struct api_sql *api, struct http_server *server, const char *prefix,
                          struct err *err) MUST_USE;

#endif
