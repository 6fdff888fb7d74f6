/*
 * The two ways in which SQL reaches vector indexes: those of this process, and another process'
 * vectord. Both take the body of POST /vectors/index/{name}/search and give its answer, so that
 * errors read the same everywhere.
 */
#ifndef API_VECTOR_DRIVER_H
#define API_VECTOR_DRIVER_H

#include "api/api_vectors.h"
#include "query/query.h"

/** `api` is borrowed; its service must be set by the first search. */
struct query_vectors vector_driver_local(const struct api_vectors *api);

struct vector_driver;
struct vector_driver_opts {
    const char *url;           /* of vectord, with scheme */
    struct str cluster_secret; /* the services' token; empty: none */
};
/** Connects to nobody yet. */
enum status vector_driver_http(const struct vector_driver_opts *opts, struct vector_driver **out,
                               struct err *err) MUST_USE;
struct query_vectors vector_driver_ops(struct vector_driver *driver);
/** NULL is fine. After the queries that may search. */
void vector_driver_free(struct vector_driver *driver);

#endif
