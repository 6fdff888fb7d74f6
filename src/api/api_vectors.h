/*
 * /vectors: named vector indexes, their items and searches.
 */
#ifndef API_API_VECTORS_H
#define API_API_VECTORS_H

#include "collection/collection.h"
#include "http/server.h"

enum { API_VECTORS_ROUTES = 19 };

struct api_vectors {
    struct coll_service *service; /* borrowed */
    uint32_t k_max;               /* of a search; 0: 10,000 */
    uint64_t add_bytes_max;       /* of the body of an addition; 0: as other bodies */
    struct metrics *metrics;      /* borrowed; NULL: none */
    /* made by api_vectors_mount */
    struct metric *searches, *results, *written, *deleted;
    struct http_route routes[API_VECTORS_ROUTES];
};

/** Adds {prefix}/vectors/...; `api` lives as long as the server. */
enum status api_vectors_mount(struct api_vectors *api, struct http_server *server,
                              const char *prefix, struct err *err) MUST_USE;

#endif
