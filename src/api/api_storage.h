/*
 * The routes of storaged over one store: those below /storage for clients, those below
 * /internal/store for the other services (the http driver of src/store speaks them; docs/reference
 * tells the shapes).
 *
 * Clients have PUT slots and a size limit, `_lake/` and `_buckets/` are closed to them, and `wh/`
 * (the tables' files) can be read but not written. Services have none of these limits.
 */
#ifndef API_STORAGE_H
#define API_STORAGE_H

#include <stdatomic.h>

#include "http/server.h"
#include "store/store.h"

enum { API_STORAGE_PUT_SLOTS = 4, API_STORAGE_RETRY_S = 5 };

/** What the routes need: the ctx to mount them with. Must outlive the server. */
struct api_storage {
    struct store *store;
    uint64_t object_bytes_max; /* of a client's PUT; 0: 256 MiB */
    unsigned put_slots;        /* client PUTs at a time; 0: 4. One more gets 503, Retry-After: 5 */
    _Atomic unsigned puts_running; /* relaxed: only a count. Starts at 0 */
};

/**
 * Mount both with `http_server_mount(server, prefix, routes, count, &api_storage, err)`: the public
 * ones under "" (storaged) or "/v1" (serve), the internal ones under "" only, where services call.
 */
const struct http_route *api_storage_routes(size_t *count_out);
const struct http_route *api_storage_internal_routes(size_t *count_out);

#endif
