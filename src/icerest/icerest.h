/*
 * The Iceberg REST catalogue: our tables for PyIceberg, Spark, DuckDB, ClickHouse and whoever else
 * speaks it. docs/reference/iceberg-rest.md has what is there.
 *
 *      /iceberg/v1/config                              which prefix, and which endpoints there are
 *      /iceberg/v1/{warehouse}/namespaces/...          the rest; also without the warehouse
 *
 * Source   Apache Iceberg, rest-catalog-open-api.yaml
 * Threads  everything here may be called from many
 */
#ifndef ICEREST_ICEREST_H
#define ICEREST_ICEREST_H

#include "aws/vended.h"
#include "catalog/catalog.h"
#include "http/server.h"

/** Where the routes stand, so where a client's `uri` points: "http://127.0.0.1:3110/iceberg". */
#define ICEREST_PATH "/iceberg"

/** What the routes need: the ctx to mount them with. Must outlive the server. */
struct icerest {
    struct catalog *catalog; /* of the local driver */
    const char *warehouse;   /* its name: letters, digits, '-' and '_' */
    /* of the S3 API, told to clients of tables at s3: URIs; NULL: not told */
    const char *s3_url;
    const char *s3_region;
    /* lends clients keys for tables in `s3_bucket` of the S3 API; NULL: they bring their own */
    const struct aws_vendor *lender;
    const char *s3_bucket;
    const struct lake_clock *clock;
    char prefix[96]; /* filled by icerest_mount */
};

/** Fills `icerest->prefix` and mounts every route. */
enum status icerest_mount(struct icerest *icerest, struct http_server *server,
                          struct err *err) MUST_USE;
/**
 * http_server_opts.error_body of a server that carries these routes, and no others below
 * ICEREST_PATH: errors there have Iceberg's shape; for other paths NULL, the server's own.
 */
const char *icerest_error_body(struct http_req *req, int http_status, struct buf *out);
/** The same of a gateway before it, whose requests carry its own state. */
const char *icerest_error_body_afar(struct http_req *req, int http_status, struct buf *out);

#endif
