/*
 * GET /openapi.json: the whole HTTP surface as one OpenAPI 3.1 document, which is
 * src/api/openapi.json
 * as it stands. tests/integration/test_openapi.py holds the routes and their answers to it.
 */
#ifndef API_API_OPENAPI_H
#define API_API_OPENAPI_H

#include "http/server.h"

/** Goes to the door only, without a prefix. Needs no ctx. */
const struct http_route *api_openapi_routes(size_t *count_out);

#endif
