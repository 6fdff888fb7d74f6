/*
 * Building services. Each `open_*` makes one part and what it stands on, once; `parts_open` calls
 * those that a service needs and mounts its routes.
 *
 *   serve      everything over the local drivers, under /v1
 *   storaged   store (fs or s3)               /storage, /internal/store
 *   catalogd   store (http), catalog (local)  /catalog, /internal/catalog
 *   ingestd    store, catalog (http)          /ingest
 *   queryd     store, catalog, vectors (http) /sql
 *   vectord    store (http)                   /vectors
 *   gateway    nothing but upstreams          /v1/...
 */
#include "cmd/parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/log.h"
#include "base/rng.h"
#include "cmd/backend.h"
#include "cmd/s3_door.h"
#include "cmd/version.h"
#include "cmd/warehouse.h"
#include "store/secret.h"

static bool is(const struct parts *parts, const char *service)
{
    return strcmp(parts->service, service) == 0;
}

/** Inside `serve` everything is local. */
static bool alone(const struct parts *parts)
{
    return !is(parts, "serve");
}

static const char *text(const struct parts *parts, const char *section, const char *name)
{
    return settings_str(parts->settings, section, name);
}

/** Milliseconds of a setting in seconds. To the layers below 0 means their default; a user who says
 * 0 means 0, so the least there is. */
static int64_t ms_of(const struct settings *settings, const char *section, const char *name)
{
    int64_t seconds = settings_int(settings, section, name);
    return seconds > 0 ? seconds * 1000 : 1;
}

/* --- store and secret --- */

static enum status check_url(const struct parts *parts, const char *section, const char *name,
                             struct err *err)
{
    struct http_url url;
    struct err why = { 0 };
    if (http_url_parse(str_of(text(parts, section, name)), &url, &why) == OK) {
        return OK;
    }
    return err_set(err, E_INVALID, "%s.%s = \"%s\": %s", section, name, text(parts, section, name),
                   why.msg);
}

/** There is no folder to keep one in: `serve` talks to nobody else, services by themselves do. */
static enum status bucket_secret(struct parts *parts, struct err *err)
{
    if (alone(parts)) {
        return err_set(
            err, E_INVALID,
            "cluster.secret is empty, and with storaged.backend = \"s3\" there is no folder that keeps one: set it to one text for all services");
    }
    uint8_t bytes[32];
    struct buf hex;
    random_bytes(bytes, sizeof bytes);
    buf_init(&hex, STORE_SECRET_MAX + 1);
    enum status status = hex_append(&hex, bytes, sizeof bytes);
    const char *made = status == OK ? buf_cstr(&hex) : NULL;
    if (made != NULL) {
        memcpy(parts->secret, made, hex.len + 1);
    }
    buf_done(&hex);
    return made != NULL ? OK : err_no_memory(err);
}

/**
 * The services' token: the setting, else the one that lies in the data folder. A service on another
 * machine has no such folder and must be told.
 */
static enum status open_secret(struct parts *parts, struct err *err)
{
    const char *given = text(parts, "cluster", "secret"), *dir = text(parts, "storaged", "dir");
    size_t len = strlen(given);
    bool s3 = false;
    TRY(backend_is_s3(parts->settings, &s3, err));
    if (len == 0 && s3) {
        return bucket_secret(parts, err);
    }
    if (len == 0) {
        struct stat info;
        bool local = !alone(parts) || is(parts, "storaged") || stat(dir, &info) == 0;
        if (!local) {
            return err_set(
                err, E_INVALID,
                "cluster.secret is empty and there is no data folder \"%s\" to take it from: set it to what storaged has",
                dir);
        }
        return store_secret_load(dir, parts->secret, err);
    }
    if (len < STORE_SECRET_MIN || len > STORE_SECRET_MAX) {
        return err_set(err, E_INVALID, "cluster.secret has %zu characters: it takes %d to %d", len,
                       STORE_SECRET_MIN, STORE_SECRET_MAX);
    }
    memcpy(parts->secret, given, len + 1);
    return OK;
}

static enum status open_store(struct parts *parts, struct err *err)
{
    if (!alone(parts) || is(parts, "storaged")) {
        TRY(backend_open(parts->settings, false, &parts->store, err));
        store_measure(parts->store, parts->metrics);
        return open_secret(parts, err);
    }
    TRY(check_url(parts, parts->service, "storaged_url", err));
    TRY(open_secret(parts, err));
    TRY(store_http_open(
        &(struct store_http_opts){ .url = text(parts, parts->service, "storaged_url"),
                                   .cluster_secret = str_of(parts->secret) },
        &parts->store, err));
    store_measure(parts->store, parts->metrics);
    return OK;
}

/* --- catalogue --- */

static enum status open_catalog(struct parts *parts, struct err *err)
{
    if (!alone(parts) || is(parts, "catalogd")) {
        struct catalog_local_opts opts = {
            .store = parts->store,
            .metrics = parts->metrics,
            .cache_bytes = settings_bytes(parts->settings, "catalogd", "cache_bytes"),
            .grace_ms = ms_of(parts->settings, "catalogd", "grace_seconds"),
        };
        TRY(warehouse_of(parts, &opts, err));
        return catalog_local_open(&opts, &parts->catalog, err);
    }
    TRY(check_url(parts, parts->service, "catalogd_url", err));
    struct catalog_http_opts opts = {
        .url = text(parts, parts->service, "catalogd_url"),
        .cluster_secret = str_of(parts->secret),
        .store = parts->store,
        .cache_bytes = settings_bytes(parts->settings, "catalogd", "cache_bytes"),
    };
    return catalog_http_open(&opts, &parts->catalog, err);
}

/* --- the sweep --- */

static void report_sweep(void *ctx, const struct sweep_result *result, enum status status,
                         const struct err *err)
{
    (void)ctx;
    if (status != OK) {
        LOG(LOG_WARN, "sweep_failed", L_STR("error", str_of(err->msg)),
            L_I64("objects", result->objects), L_I64("bytes", result->bytes));
    } else if (result->objects + result->noted > 0) {
        LOG(LOG_INFO, "swept", L_I64("objects", result->objects), L_I64("bytes", result->bytes),
            L_I64("noted", result->noted));
    }
    if (result->expired_snapshots + result->expired_refs + result->merged_manifests > 0) {
        LOG(LOG_INFO, "maintained", L_I64("expired_snapshots", result->expired_snapshots),
            L_I64("expired_refs", result->expired_refs),
            L_I64("merged_manifests", result->merged_manifests));
    }
}

static struct sweep_opts sweep_opts_of(struct parts *parts)
{
    return (struct sweep_opts){
        .store = parts->store,
        .catalog = parts->catalog,
        .metrics = parts->metrics,
        .grace_ms = ms_of(parts->settings, "catalogd", "grace_seconds"),
        .interval_ms = ms_of(parts->settings, "catalogd", "sweep_seconds"),
        .care_ms = ms_of(parts->settings, "maintain", "interval_seconds"),
    };
}

/** For CALL remove_orphan_files: the catalogue stands below the sweep. */
static enum status find_orphans(void *ctx, const struct upkeep_orphans *request,
                                struct arena *arena, struct upkeep_found *out, struct err *err)
{
    const struct sweep_opts opts = sweep_opts_of(ctx);
    return sweep_find_orphans(&opts, request, arena, out, err);
}

static enum status open_sweeper(struct parts *parts, struct err *err)
{
    catalog_upkeep_set_orphans(parts->catalog, find_orphans, parts);
    if (settings_int(parts->settings, "catalogd", "sweep_seconds") == 0) {
        return OK;
    }
    struct sweeper_opts opts = {
        .sweep = sweep_opts_of(parts),
        .report = report_sweep,
    };
    return sweeper_start(&opts, &parts->sweeper, err);
}

/* --- engines --- */

enum status parts_temp_dir(const struct settings *settings, const char *section, char *out,
                           size_t size, struct err *err)
{
    const char *given = settings_str(settings, section, "temp_dir"), *base = getenv("TMPDIR");
    struct stat info;
    if (given[0] != '\0') {
        snprintf(out, size, "%s", given);
        return OK;
    }
    snprintf(out, size, "%s/lakehouse-%u", base != NULL && base[0] == '/' ? base : "/tmp",
             (unsigned)getuid());
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return err_errno(err, errno, "%s.temp_dir: cannot make \"%s\"", section, out);
    }
    if (lstat(out, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != getuid()) {
        return err_set(err, E_INVALID, "%s.temp_dir: \"%s\" is not a folder of yours", section,
                       out);
    }
    return OK;
}

static enum status open_engines(struct parts *parts, const char *section, size_t queue_max,
                                struct engine_pool **out, struct err *err)
{
    const struct settings *settings = parts->settings;
    char spill[4096];
    TRY(parts_temp_dir(settings, section, spill, sizeof(spill), err));
    uint64_t temp_bytes = settings_bytes(settings, section, "temp_bytes_max");
    struct engine_pool_opts opts = {
        .name = section,
        .engines_max = (unsigned)settings_int(settings, section, "engines"),
        .queue_max = queue_max,
        .threads = (unsigned)settings_int(settings, section, "threads"),
        .memory_limit_bytes = settings_bytes(settings, section, "memory_limit"),
        .temp_dir = spill,
        .temp_bytes_max = temp_bytes > 0 ? temp_bytes : 1, /* 0 would be the default, not none */
        .metrics = parts->metrics,
    };
    return engine_pool_open(&opts, out, err);
}

/** What vector_search asks: our own indexes, vectord, or nobody. */
static enum status open_vector_driver(struct parts *parts, struct query_vectors *out,
                                      struct err *err)
{
    const char *url = text(parts, "queryd", "vectord_url");
    if (!alone(parts)) {
        *out = vector_driver_local(&parts->api_vectors);
        return OK;
    }
    if (url[0] == '\0') {
        return OK;
    }
    TRY(check_url(parts, "queryd", "vectord_url", err));
    const struct vector_driver_opts opts = { .url = url, .cluster_secret = str_of(parts->secret) };
    TRY(vector_driver_http(&opts, &parts->vector_driver, err));
    *out = vector_driver_ops(parts->vector_driver);
    return OK;
}

static enum status open_query(struct parts *parts, struct err *err)
{
    size_t queue_max = (size_t)settings_int(parts->settings, "queryd", "queue");
    TRY(open_engines(parts, "queryd", queue_max, &parts->query_engines, err));
    struct query_service_opts opts = { .catalog = parts->catalog,
                                       .store = parts->store,
                                       .engines = parts->query_engines,
                                       .writes = !settings_bool(parts->settings, "queryd",
                                                                "read_only") };
    TRY(open_vector_driver(parts, &opts.vectors, err));
    TRY(query_service_open(&opts, &parts->query, err));
    struct api_sql_opts api = { .service = parts->query,
                                .metrics = parts->metrics,
                                .timeout_ms = ms_of(parts->settings, "queryd", "timeout_seconds") };
    return api_sql_new(&api, &parts->api_sql, err);
}

/* Rows by keys are a statement's work: a service of ingestd's own, on its engines, so that it does
 * not ask whether queryd only reads. */

static enum status upsert_start(void *ctx, const struct ingest_upsert *upsert, void **run_out,
                                struct err *err)
{
    const struct query_upsert asked = {
        .table = upsert->table,
        .fd = upsert->fd,
        .size = upsert->size,
        .uuid = upsert->uuid,
        .schema_id = upsert->schema_id,
        .keys = upsert->keys,
        .key_count = upsert->key_count,
        .batch_id = upsert->batch_id,
        .deadline = upsert->deadline,
    };
    struct query *query = NULL;
    TRY(query_upsert_start(ctx, &asked, &query, err));
    *run_out = query;
    return OK;
}

static enum status upsert_read(void *run, struct engine_frame *frame_out, struct err *err)
{
    return query_read(run, frame_out, err);
}

static int upsert_fd(const void *run)
{
    return query_fd(run);
}

static void upsert_free(void *run)
{
    query_free(run);
}

static enum status open_upserts(struct parts *parts, struct err *err)
{
    const struct query_service_opts opts = { .catalog = parts->catalog,
                                             .store = parts->store,
                                             .engines = parts->ingest_engines,
                                             .writes = true };
    return query_service_open(&opts, &parts->upserts, err);
}

static enum status open_ingest(struct parts *parts, struct err *err)
{
    const struct settings *settings = parts->settings;
    TRY(open_engines(parts, "ingestd", 0, &parts->ingest_engines, err));
    TRY(open_upserts(parts, err));
    struct ingest_service_opts opts = {
        .upserter = { upsert_start, upsert_read, upsert_fd, upsert_free, parts->upserts },
        .engines = parts->ingest_engines,
        .catalog = parts->catalog,
        .store = parts->store,
        .metrics = parts->metrics,
        .columns_max = (size_t)settings_int(settings, "ingestd", "max_columns"),
        .line_bytes_max = (size_t)settings_bytes(settings, "ingestd", "max_line_bytes"),
        .unpacked_bytes_max = settings_bytes(settings, "ingestd", "max_unpacked_bytes"),
        .expansion_max = (uint64_t)settings_int(settings, "ingestd", "max_expansion"),
        .timeout_ms = ms_of(settings, "ingestd", "timeout_seconds"),
    };
    return ingest_open(&opts, &parts->ingest, err);
}

static enum status open_vectors(struct parts *parts, struct err *err)
{
    const struct settings *settings = parts->settings;
    const char *cache_dir = text(parts, "vectord", "cache_dir");
    struct coll_service_opts opts = {
        .store = parts->store,
        .metrics = parts->metrics,
        .cache_dir = cache_dir[0] != '\0' ? cache_dir : NULL,
        .memory_limit = settings_bytes(settings, "vectord", "memory_limit"),
        .index_memory_limit = settings_bytes(settings, "vectord", "index_memory_limit"),
        .k_max = (uint32_t)settings_int(settings, "vectord", "k_max"),
        .maintain_threads = (uint32_t)settings_int(settings, "vectord", "maintain_threads"),
        .snapshot_log_bytes = settings_bytes(settings, "vectord", "snapshot_log_bytes"),
        .read_only = settings_bool(settings, "vectord", "read_only"),
    };
    TRY(coll_service_open(&opts, &parts->vectors, err));
    parts->api_vectors = (struct api_vectors){
        .service = parts->vectors,
        .k_max = opts.k_max,
        .add_bytes_max = settings_bytes(settings, "vectord", "max_add_bytes"),
        .metrics = parts->metrics,
    };
    return OK;
}

/* --- the server --- */

static enum status list_of(const struct settings *settings, const char *section, const char *name,
                           const char ***out, struct arena *arena, struct err *err)
{
    size_t count = 0;
    while (settings_list(settings, section, name, count) != NULL) {
        count++;
    }
    *out = arena_array(arena, count + 1, sizeof(**out));
    if (*out == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = settings_list(settings, section, name, i);
    }
    return OK;
}

/** The address to listen on, checked here so that what is wrong with it names its setting. */
static enum status bind_of(const struct parts *parts, const char **out, struct err *err)
{
    const char *section = alone(parts) ? parts->service : "gateway";
    struct http_address address;
    struct err why = { 0 };
    *out = text(parts, section, "bind");
    if (http_address_parse(str_of(*out), &address, &why) == OK) {
        return OK;
    }
    return err_set(err, E_INVALID, "%s.bind: %s", section, why.msg);
}

static enum status open_server(struct parts *parts, struct err *err)
{
    const struct settings *settings = parts->settings;
    const char **hosts, **origins, *bind;
    TRY(bind_of(parts, &bind, err));
    TRY(list_of(settings, "gateway", "hosts", &hosts, &parts->arena, err));
    TRY(list_of(settings, "gateway", "origins", &origins, &parts->arena, err));
    struct http_server_opts opts = {
        .service = alone(parts) ? parts->service : "gateway",
        .version = LAKEHOUSE_VERSION,
        .bind = bind,
        .allow_remote = settings_bool(settings, "http", "allow_remote"),
        .metrics = parts->metrics,
        .cluster_secret = str_of(parts->secret),
        .workers = (unsigned)settings_int(settings, "http", "workers"),
        .queue_max = (size_t)settings_int(settings, "http", "queue"),
        .connections_max = (unsigned)settings_int(settings, "http", "connections_max"),
        .header_bytes_max = (size_t)settings_bytes(settings, "http", "header_bytes_max"),
        .body_bytes_max = settings_bytes(settings, "http", "body_bytes_max"),
        .idle_timeout_ms = ms_of(settings, "http", "idle_timeout_seconds"),
        .body_rate_min = (uint64_t)settings_int(settings, "http", "body_rate_min"),
        .drain_ms = ms_of(settings, "http", "drain_seconds"),
        .hosts = hosts,
        .origins = origins,
        .trust_request_id = true,
        .error_body = is(parts, "gateway") ? icerest_error_body_afar : icerest_error_body,
    };
    TRY(http_server_new(&opts, &parts->server, err));
    TRY(http_server_mount_ops(parts->server, "", parts_ready, parts, err));
    return !alone(parts) || is(parts, "storaged") ? s3_door_open(parts, &opts, err) : OK;
}

/* --- routes --- */

/** Of a service behind a gateway it is asked through the gateway, and this is its own answer. */
static enum status mount_health(struct parts *parts, const char *prefix, struct err *err)
{
    static const char *const services[] = { "storaged", "catalogd", "ingestd",
                                            "queryd",   "vectord",  NULL };
    parts->api_health = (struct api_health){ .services = services, .version = LAKEHOUSE_VERSION };
    size_t count;
    const struct http_route *routes = api_health_routes(&count);
    return http_server_mount(parts->server, prefix, routes, count, &parts->api_health, err);
}

static enum status mount_storage(struct parts *parts, const char *prefix, struct err *err)
{
    parts->api_storage.store = parts->store;
    parts->api_storage.object_bytes_max = settings_bytes(parts->settings, "storaged",
                                                         "max_object_bytes");
    parts->api_storage.put_slots = (unsigned)settings_int(parts->settings, "storaged", "put_slots");
    size_t count;
    const struct http_route *routes = api_storage_routes(&count);
    TRY(http_server_mount(parts->server, prefix, routes, count, &parts->api_storage, err));
    if (!alone(parts)) {
        return OK; /* nobody calls in: the other services are in this process */
    }
    routes = api_storage_internal_routes(&count);
    return http_server_mount(parts->server, "", routes, count, &parts->api_storage, err);
}

static enum status mount_catalog(struct parts *parts, const char *prefix, struct err *err)
{
    parts->api_catalog.catalog = parts->catalog;
    parts->api_catalog.store = parts->store;
    parts->api_catalog.s3_region = text(parts, "s3api", "region");
    parts->api_catalog.inspector = ingest_inspector(parts->ingest);
    size_t count;
    const struct http_route *routes = api_catalog_routes(&count);
    TRY(http_server_mount(parts->server, prefix, routes, count, &parts->api_catalog, err));
    parts->icerest = (struct icerest){ .catalog = parts->catalog,
                                       .warehouse = CATALOG_WAREHOUSE_DEFAULT,
                                       .s3_region = parts->api_catalog.s3_region,
                                       .clock = clock_real() };
    if (warehouse_on_s3api(parts)) {
        aws_vendor_init(&parts->lender, str_of(parts->secret));
        parts->icerest.lender = &parts->lender;
        parts->icerest.s3_bucket = S3API_LAKE;
    }
    TRY(icerest_mount(&parts->icerest, parts->server, err));
    if (!alone(parts)) {
        return OK;
    }
    routes = api_catalog_internal_routes(&count);
    return http_server_mount(parts->server, "", routes, count, &parts->api_catalog, err);
}

/** The description of the whole surface stands at the door, whoever is behind it. */
static enum status mount_openapi(struct parts *parts, struct err *err)
{
    size_t count;
    const struct http_route *routes = api_openapi_routes(&count);
    return http_server_mount(parts->server, "", routes, count, NULL, err);
}

static enum status open_gateway(struct parts *parts, struct err *err)
{
    static const char *const areas[][3] = {
        { "storage", "storaged", "storaged_url" }, { "catalog", "catalogd", "catalogd_url" },
        { "ingest", "ingestd", "ingestd_url" },    { "sql", "queryd", "queryd_url" },
        { "vectors", "vectord", "vectord_url" },   { "iceberg", "catalogd", "catalogd_url" },
    };
    struct gateway_upstream upstreams[ARRAY_LEN(areas)];
    char settings_names[ARRAY_LEN(areas)][64];
    for (size_t i = 0; i < ARRAY_LEN(areas); i++) {
        snprintf(settings_names[i], sizeof(settings_names[i]), "gateway.%s", areas[i][2]);
        upstreams[i] = (struct gateway_upstream){ .area = areas[i][0],
                                                  .bare = strcmp(areas[i][0], "iceberg") == 0,
                                                  .busy_is_rate = strcmp(areas[i][0], "iceberg") ==
                                                                  0,
                                                  .service = areas[i][1],
                                                  .setting = settings_names[i],
                                                  .url = text(parts, "gateway", areas[i][2]) };
    }
    struct gateway_opts opts = { .upstreams = upstreams,
                                 .upstream_count = ARRAY_LEN(areas),
                                 .head_timeout_ms = ms_of(parts->settings, "gateway",
                                                          "head_timeout_seconds") };
    TRY(gateway_new(&opts, &parts->gateway, err));
    TRY(open_server(parts, err));
    TRY(mount_openapi(parts, err));
    return gateway_mount(parts->gateway, parts->server, err);
}

static enum status open_services(struct parts *parts, struct err *err)
{
    bool all = is(parts, "serve");
    const char *prefix = all ? "/v1" : "";
    TRY(open_store(parts, err));
    if (!is(parts, "storaged") && !is(parts, "vectord")) {
        TRY(open_catalog(parts, err));
    }
    if (all || is(parts, "queryd")) {
        TRY(open_query(parts, err));
    }
    if (all || is(parts, "ingestd") || is(parts, "catalogd")) {
        TRY(open_ingest(parts, err));
    }
    if (all || is(parts, "vectord")) {
        TRY(open_vectors(parts, err));
    }
    TRY(open_server(parts, err));
    if (all) {
        TRY(mount_openapi(parts, err));
        TRY(mount_health(parts, prefix, err));
    }
    if (all || is(parts, "storaged")) {
        TRY(mount_storage(parts, prefix, err));
    }
    if (all || is(parts, "catalogd")) {
        TRY(mount_catalog(parts, prefix, err));
        TRY(open_sweeper(parts, err));
    }
    if (all || is(parts, "ingestd")) {
        TRY(api_ingest_mount(parts->server, prefix, parts->ingest, err));
    }
    if (all || is(parts, "queryd")) {
        TRY(api_sql_mount(parts->api_sql, parts->server, prefix, err));
    }
    if (all || is(parts, "vectord")) {
        TRY(api_vectors_mount(&parts->api_vectors, parts->server, prefix, err));
    }
    return OK;
}

enum status parts_open(struct parts *parts, const char *service, const struct settings *settings,
                       struct err *err)
{
    parts->service = service;
    parts->settings = settings;
    arena_init(&parts->arena, 0);
    parts->metrics = metrics_new();
    if (parts->metrics == NULL) {
        return err_no_memory(err);
    }
    return is(parts, "gateway") ? open_gateway(parts, err) : open_services(parts, err);
}

void parts_interrupt(struct parts *parts)
{
    if (parts->store != NULL) {
        store_interrupt(parts->store);
    }
}

void parts_close(struct parts *parts)
{
    s3_door_close(parts);
    if (parts->server != NULL) {
        http_server_stop(parts->server);
        http_server_free(parts->server);
    }
    sweeper_stop(parts->sweeper);
    gateway_free(parts->gateway);
    api_sql_free(parts->api_sql);
    query_service_close(parts->query);
    vector_driver_free(parts->vector_driver);
    ingest_close(parts->ingest);
    query_service_close(parts->upserts);
    engine_pool_close(parts->query_engines);
    engine_pool_close(parts->ingest_engines);
    coll_service_close(parts->vectors);
    catalog_close(parts->catalog);
    store_close(parts->store);
    metrics_free(parts->metrics);
    arena_done(&parts->arena);
    aws_vendor_done(&parts->lender);
    *parts = (struct parts){ 0 };
}

enum status parts_listen(struct parts *parts, struct err *err)
{
    if (parts->s3_server != NULL) {
        TRY(http_server_start(parts->s3_server, err));
    }
    /* now it is known where that one listens */
    parts->api_catalog.s3_url = parts->icerest.s3_url = warehouse_s3_url(parts);
    return http_server_start(parts->server, err);
}

enum status parts_store_ready(struct parts *parts, struct err *err)
{
    return parts->store != NULL ? store_ready(parts->store, err) : OK;
}

enum status parts_ready(void *ctx, struct err *err)
{
    struct parts *parts = ctx;
    TRY(parts_store_ready(parts, err));
    if (parts->catalog != NULL) {
        TRY(catalog_ready(parts->catalog, err));
    }
    if (parts->query != NULL) {
        TRY(query_service_ready(parts->query, err));
    }
    if (parts->vectors != NULL) {
        TRY(coll_service_ready(parts->vectors, err));
    }
    return parts->ingest_engines != NULL ? engine_pool_ready(parts->ingest_engines, err) : OK;
}
