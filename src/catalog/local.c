/*
 * The local driver: tables on a store, found by their pointers.
 *
 * Nothing is remembered that the store does not tell: every call reads the pointer fresh (one small
 * object), and only what never changes is cached. So several of these on one store, in any number
 * of processes, see each other's commits at once.
 */
#include "catalog/local.h"

#include <time.h>

#include "base/mem.h"
#include "catalog/batch.h"
#include "catalog/group.h"
#include "catalog/marks.h"
#include "catalog/mint.h"
#include "catalog/namespace.h"
#include "catalog/pin.h"
#include "catalog/plan.h"
#include "catalog/rename.h"
#include "catalog/table_name.h"
#include "catalog/tx.h"
#include "iceberg/sort_order.h"

enum { POINTER_BYTES_MAX = 16 * 1024 * 1024, READ_TRIES = 3, BACKOFF_MS = 50 };

/* One day, DESIGN's default of [catalogd] grace_seconds. */
#define GRACE_MS (24LL * 3600 * 1000)

static struct local *local_of(struct catalog *catalog)
{
    return (struct local *)catalog;
}

/* --- helpers for the other files --- */

void local_rng(struct local *local, struct rng *out)
{
    pthread_mutex_lock(&local->rng_lock);
    uint64_t seed = rng_next(&local->rng);
    pthread_mutex_unlock(&local->rng_lock);
    rng_seed(out, seed);
}

void local_backoff(struct local *local, int round, deadline_ms deadline)
{
    if (local->backoff_max_ms <= 0 || deadline_passed(deadline)) {
        return;
    }
    struct rng rng;
    local_rng(local, &rng);
    int64_t most = 2LL << (round < 16 ? round : 16);
    most = most < local->backoff_max_ms ? most : local->backoff_max_ms;
    int64_t ms = (int64_t)rng_below(&rng, (uint64_t)most + 1);
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000 };
    nanosleep(&pause, NULL);
}

enum status local_read_body(struct local *local, struct str key, struct arena *arena,
                            struct local_base *out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    struct store_info info;
    enum status status = OK;
    for (int i = 0; i < READ_TRIES; i++) {
        status = store_read(local->store, key, NULL, &body, &info, err);
        if (status != E_UPSTREAM && status != E_TIMEOUT) {
            break;
        }
    }
    struct local_base base = { 0 };
    if (status != E_NOT_FOUND) {
        TRY(status);
        base.found = true;
        memcpy(base.etag, info.etag, sizeof(base.etag));
        status = pointer_decode(arena, buf_str(&body), &base.pointer, err);
        if (status != OK) {
            (void)err_context(err, "\"%.*s\"", STR_ARG(key));
            return status;
        }
        base.live = base.pointer.state == POINTER_LIVE;
        base.renaming = base.pointer.state == POINTER_MOVED ||
                        base.pointer.state == POINTER_ARRIVING;
    }
    *out = base;
    return OK;
}

enum status local_read_raw(struct local *local, struct str key, struct arena *arena,
                           struct local_base *out, struct err *err)
{
    struct local_base base;
    TRY(local_read_body(local, key, arena, &base, err));
    if (base.found && base.pointer.tx_id.len > 0) {
        TRY(tx_settle(local, key, arena, &base, err));
    }
    *out = base;
    return OK;
}

enum status local_read_pointer(struct local *local, struct str key, struct arena *arena,
                               struct local_base *out, struct err *err)
{
    TRY(local_read_raw(local, key, arena, out, err));
    return out->found && out->pointer.state == POINTER_ARRIVING
               ? rename_resolve(local, key, arena, out, err)
               : OK;
}

enum status local_require(struct local *local, const struct table_name *name, struct arena *arena,
                          struct local_base *out, struct err *err)
{
    struct str key;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    TRY(local_read_pointer(local, key, arena, out, err));
    return out->live ? OK : local_not_found(local, name, err);
}

/* --- finding --- */

enum status local_find(struct catalog *catalog, const struct table_name *name, bool nocase,
                       struct arena *arena, struct table_summary *out, struct err *err)
{
    struct local *local = local_of(catalog);
    struct local_base base;
    struct str key;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    TRY(local_read_pointer(local, key, arena, &base, err));
    if (!base.live && nocase) {
        struct table_name twin;
        size_t twins = 0;
        TRY(local_case_twins(local, name, arena, &twins, &twin, err));
        if (twins > 1) {
            return err_set(
                err, E_INVALID,
                "\"%.*s\" could be any of %zu tables that differ only by case; spell it exactly",
                STR_ARG(name->name), twins);
        }
        if (twins == 1) {
            TRY(local_require(local, &twin, arena, &base, err));
        }
    }
    if (!base.live) {
        return local_not_found(local, name, err);
    }
    *out = base.pointer.table;
    return OK;
}

/* --- places and batches --- */

static enum status place_new(struct local *local, const struct table_name *name,
                             struct arena *arena, struct catalog_place *out, struct err *err)
{
    struct mint mint;
    TRY(mint_new(local, name, arena, &mint, err));
    *out = (struct catalog_place){
        .uuid = mint.uuid, .location_key = mint.location, .fingerprint = STR_EMPTY, .schema_id = -1
    };
    return OK;
}

/** A schema that lives in `arena`: through its JSON, because metadata may leave the cache. */
static enum status copy_schema(struct arena *arena, const struct ice_schema *schema,
                               const struct ice_schema **out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, POINTER_BYTES_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    ice_schema_write(&w, schema);
    struct ice_schema *copy = ARENA_NEW(arena, struct ice_schema);
    if (json_writer_end(&w) != OK || copy == NULL) {
        return err_no_memory(err);
    }
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(buf_str(&json), &doc, err));
    TRY(ice_schema_parse(arena, yyjson_doc_get_root(doc), copy, err));
    *out = copy;
    return OK;
}

static enum status place_existing(struct local *local, const struct local_base *base,
                                  const struct ice_metadata *metadata, struct arena *arena,
                                  struct catalog_place *out, struct err *err)
{
    struct catalog_place place = {
        .exists = true,
        .uuid = base->pointer.table.uuid,
        .fingerprint = base->pointer.table.fingerprint,
        .schema_id = metadata->current_schema_id,
        .last_column_id = metadata->last_column_id,
    };
    TRY(locate_key(local->base.reader->locate, metadata->location, arena, &place.location_key,
                   err));
    TRY(copy_schema(arena, metadata->schema, &place.schema, err));
    TRY(ice_sort_order_default(arena, metadata, &place.sort_order_id, &place.sort_fields, err));
    place.spec_id = metadata->default_spec_id;
    for (size_t i = 0; i < metadata->spec_count; i++) {
        const struct ice_spec *spec = &metadata->specs[i];
        if (spec->id == place.spec_id && spec->field_count > 0) {
            place.partition_fields = arena_str(arena, spec->fields_json);
            TRY(place.partition_fields.ptr == NULL ? err_no_memory(err) : OK);
        }
    }
    *out = place;
    return OK;
}

static enum status local_place(struct catalog *catalog, const struct table_name *name,
                               struct arena *arena, struct catalog_place *out, struct err *err)
{
    struct local *local = local_of(catalog);
    struct local_base base;
    struct str key;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    TRY(local_read_pointer(local, key, arena, &base, err));
    if (!base.live) {
        return place_new(local, name, arena, out, err);
    }
    if (base.pointer.table.is_view) {
        return err_set(err, E_CONFLICT, "\"%.*s\" is a view", STR_ARG(name->name));
    }
    const struct ice_metadata *metadata = NULL;
    TRY(reader_metadata(local->base.reader, base.pointer.table.metadata_location, &metadata, err));
    enum status status = place_existing(local, &base, metadata, arena, out, err);
    ice_metadata_unref(metadata);
    return status;
}

static enum status local_batch(struct catalog *catalog, const struct table_name *name,
                               struct str client_id, struct arena *arena, bool *found_out,
                               struct catalog_appended *out, struct err *err)
{
    struct local *local = local_of(catalog);
    struct local_base base;
    struct str key, id;
    *found_out = false;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    TRY(local_read_pointer(local, key, arena, &base, err));
    if (!base.live || base.pointer.table.is_view || client_id.len == 0) {
        return OK;
    }
    TRY(batch_id(arena, client_id, &id, err));
    const struct ice_metadata *metadata = NULL;
    TRY(reader_metadata(local->base.reader, base.pointer.table.metadata_location, &metadata, err));
    struct pointer_batch batch;
    bool found = false;
    enum status status = plan_find_batch(local, &base, metadata, id, arena, &found, &batch, err);
    ice_metadata_unref(metadata);
    TRY(status);
    if (found) {
        batch.id = client_id;
        TRY(plan_answer(&base.pointer.table, &batch, NULL, arena, out, err));
        *found_out = true;
    }
    return OK;
}

/* --- writing --- */

enum status local_append(struct catalog *catalog, const struct catalog_append *append,
                         struct arena *arena, struct catalog_appended *out, struct err *err)
{
    struct local *local = local_of(catalog);
    struct commit_request request = { .append = append, .arena = arena };
    metric_add(local->appends, 1);
    groups_append(local, &request);
    if (request.status != OK) {
        if (err != NULL) {
            *err = request.err;
        }
        return request.status;
    }
    *out = request.out;
    return OK;
}

/* --- life --- */

static enum status local_ready(struct catalog *catalog, struct err *err)
{
    return store_ready(local_of(catalog)->store, err);
}

static void local_close(struct catalog *catalog)
{
    struct local *local = local_of(catalog);
    groups_free(local->groups);
    marks_free(local->marks);
    tx_seen_free(local->tx_seen);
    reader_free(local->base.reader);
    pthread_mutex_destroy(&local->rng_lock);
    mem_free((char *)local->warehouse.ptr);
    mem_free(local);
}

static const struct catalog_ops local_ops = {
    .name = "local",
    .close = local_close,
    .list = local_list,
    .find = local_find,
    .append = local_append,
    .place = local_place,
    .batch = local_batch,
    .drop = local_drop,
    .change = local_change,
    .upkeep = local_upkeep,
    .create = local_create,
    .rename = local_rename,
    .namespace_create = local_namespace_create,
    .namespace_drop = local_namespace_drop,
    .namespaces = local_namespaces,
    .namespace = local_namespace,
    .ready = local_ready,
};

static void local_metrics(struct local *local, struct metrics *metrics)
{
    local->appends = metric_get(metrics, METRIC_COUNTER, "lakehouse_catalog_appends_total", "",
                                "Appends asked for");
    local->commits = metric_get(metrics, METRIC_COUNTER, "lakehouse_catalog_commits_total", "",
                                "Pointer swaps won");
    local->conflicts = metric_get(metrics, METRIC_COUNTER, "lakehouse_catalog_conflicts_total", "",
                                  "Pointer swaps lost to another writer");
    local->unknown = metric_get(metrics, METRIC_COUNTER, "lakehouse_catalog_unknown_total", "",
                                "Commits whose outcome could not be found out");
}

enum status catalog_local_open(const struct catalog_local_opts *opts, struct catalog **out,
                               struct err *err)
{
    struct local *local = mem_zalloc(sizeof(*local));
    if (local == NULL) {
        return err_no_memory(err);
    }
    const char *warehouse = opts->warehouse == NULL ? CATALOG_WAREHOUSE_DEFAULT : opts->warehouse;
    local->base.ops = &local_ops;
    local->store = opts->store;
    local->clock = opts->clock == NULL ? clock_real() : opts->clock;
    local->grace_ms = opts->grace_ms == 0 ? GRACE_MS : opts->grace_ms;
    local->group_wait_ms = opts->group_wait_ms;
    local->backoff_max_ms = opts->backoff_max_ms == 0 ? BACKOFF_MS : opts->backoff_max_ms;
    pthread_mutex_init(&local->rng_lock, NULL);
    rng_seed(&local->rng, opts->rng_seed == 0 ? random_u64() : opts->rng_seed);
    if (opts->metrics != NULL) {
        local_metrics(local, opts->metrics);
    }
    local->warehouse = str_from(mem_strndup(warehouse, strlen(warehouse)), strlen(warehouse));
    local->marks = marks_new();
    local->tx_seen = tx_seen_new();
    enum status status = local->warehouse.ptr == NULL || local->marks == NULL ||
                                 local->tx_seen == NULL
                             ? err_no_memory(err)
                             : OK;
    status = status == OK ? groups_new(&local->groups, err) : status;
    status = status == OK ? reader_new(opts->store, opts->cache_bytes, &local->base.reader, err)
                          : status;
    if (status == OK && opts->s3_root != NULL) {
        locate_offer(local->base.reader->locate, str_of(opts->s3_root), opts->uri);
    }
    if (status != OK) {
        local_close(&local->base);
        return status;
    }
    *out = &local->base;
    return OK;
}
