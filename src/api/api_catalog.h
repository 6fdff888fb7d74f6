/*
 * The routes of catalogd: those below /catalog for clients, and those below /internal/catalog for
 * the other services, which the http driver of src/catalog speaks.
 */
#ifndef API_API_CATALOG_H
#define API_API_CATALOG_H

#include "catalog/catalog.h"
#include "catalog/register.h"
#include "http/server.h"

/** What the routes need: the ctx to mount them with. Must outlive the server. */
struct api_catalog {
    struct catalog *catalog;
    struct store *store; /* for registering */
    /* of Parquet footers, by an engine; without one register answers 503 */
    struct catalog_inspector inspector;
    /* of the S3 API, told to clients of tables at s3: URIs; s3_url NULL: not told */
    const char *s3_url, *s3_region;
};

/** The public ones go under "" (catalogd) or "/v1" (serve), the internal ones under "" only. */
const struct http_route *api_catalog_routes(size_t *count_out);
const struct http_route *api_catalog_internal_routes(size_t *count_out);

#endif
