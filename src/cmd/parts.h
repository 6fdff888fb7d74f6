/*
 * The objects that services are built from, opened on first need by whoever needs them and closed
 * in the reverse order. One struct for all services: `serve` opens everything over the local
 * drivers, a service alone only what it uses, over the http drivers.
 */
#ifndef CMD_PARTS_H
#define CMD_PARTS_H

#include "api/api_catalog.h"
#include "api/api_health.h"
#include "api/api_ingest.h"
#include "api/api_openapi.h"
#include "api/api_sql.h"
#include "api/api_storage.h"
#include "api/api_vectors.h"
#include "api/vector_driver.h"
#include "base/settings.h"
#include "catalog/catalog.h"
#include "collection/collection.h"
#include "engine/engine.h"
#include "gateway/gateway.h"
#include "http/server.h"
#include "icerest/icerest.h"
#include "ingest/ingest.h"
#include "maintain/sweeper.h"
#include "query/query.h"
#include "s3api/s3api.h"
#include "store/secret.h"
#include "store/store.h"

struct parts {
    const struct settings *settings;
    struct arena arena; /* small things that live as long as the parts */
    struct metrics *metrics;
    const char *service;               /* "serve" or the service's name */
    char secret[STORE_SECRET_MAX + 1]; /* the services' token; empty until known */
    struct store *store;
    struct catalog *catalog;
    struct engine_pool *query_engines, *ingest_engines;
    struct query_service *query;
    struct query_service *upserts; /* of ingest */
    struct ingest *ingest;
    struct coll_service *vectors;
    struct vector_driver *vector_driver; /* of queryd alone */
    struct api_health api_health;
    struct api_storage api_storage;
    struct api_catalog api_catalog;
    struct icerest icerest;
    struct aws_vendor lender; /* of keys for tables at s3: URIs */
    struct api_sql *api_sql;
    struct api_vectors api_vectors;
    struct gateway *gateway;
    struct sweeper *sweeper; /* of serve and catalogd */
    struct http_server *server;
    /* the S3 API's own port, of serve and storaged; NULL: it is off */
    struct s3api *s3api;
    struct http_server *s3_server;
    struct s3api_folder *s3_folders;
    size_t s3_folder_count;
};

/** Build what `service` ("serve", "gateway", "storaged", ...) needs and mount its routes; nothing
 * listens yet. */
enum status parts_open(struct parts *parts, const char *service, const struct settings *settings,
                       struct err *err) MUST_USE;
/** From now on requests come. */
enum status parts_listen(struct parts *parts, struct err *err) MUST_USE;
/**
 * What waits for a store that is away does so no more (store_interrupt). Before parts_close, which
 * waits for whoever is in the store.
 *
 * Threads  any, between parts_open and parts_close
 */
void parts_interrupt(struct parts *parts);
/** Stop the server, then close everything. A half-built struct is fine. */
void parts_close(struct parts *parts);
/** Where engines spill: a private folder below the system's temporary one, unless the setting names
 * another. */
enum status parts_temp_dir(const struct settings *settings, const char *section, char *out,
                           size_t size, struct err *err) MUST_USE;
/** The first part of parts_ready. */
enum status parts_store_ready(struct parts *parts, struct err *err) MUST_USE;
/** For /ready: OK when everything below would work now. */
enum status parts_ready(void *ctx, struct err *err) MUST_USE;

#endif
