/*
 * GET /v1/health/{service} in `serve`, where every service is in this process: what a gateway asks
 * of the services behind it is answered here.
 */
#ifndef API_API_HEALTH_H
#define API_API_HEALTH_H

#include "http/server.h"

/** What the route needs: the ctx to mount it with. Must outlive the server. */
struct api_health {
    const char *const *services; /* up to the NULL */
    const char *version;
};

/** Goes under "/v1". */
const struct http_route *api_health_routes(size_t *count_out);

#endif
