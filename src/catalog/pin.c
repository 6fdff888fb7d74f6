/*
 * Pinning a snapshot: by the pointer, by snapshot id, by branch or tag, by time.
 */
#include "catalog/pin.h"

#include "base/mem.h"
#include "catalog/table_name.h"

#include <pthread.h>

enum { PIN_BYTES_MAX = 1024 * 1024, NAMED_MAX = 12 };

struct pin_holds {
    pthread_mutex_t lock;
    struct cache_item **items; /* guarded by lock, like the rest */
    size_t count, cap;
};

enum status table_summary_copy(struct arena *arena, const struct table_summary *table,
                               struct table_summary *out, struct err *err)
{
    struct table_summary copy = *table;
    TRY(table_name_copy(arena, &table->name, &copy.name, err));
    copy.uuid = arena_str(arena, table->uuid);
    copy.fingerprint = arena_str(arena, table->fingerprint);
    copy.metadata_location = arena_str(arena, table->metadata_location);
    if (copy.uuid.ptr == NULL || copy.fingerprint.ptr == NULL ||
        copy.metadata_location.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = copy;
    return OK;
}

/** "it has 12, 5 and 3 more" for messages: what a reader could have meant. */
static void name_snapshots(const struct ice_metadata *metadata, struct buf *out)
{
    size_t count = metadata->snapshot_count;
    size_t shown = count < NAMED_MAX ? count : NAMED_MAX;
    enum status status = OK;
    for (size_t i = 0; i < shown && status == OK; i++) {
        const struct ice_snapshot *snapshot = &metadata->snapshots[count - 1 - i];
        status = buf_printf(out, "%s%lld", i == 0 ? "" : ", ", (long long)snapshot->id);
    }
    if (status == OK && count > shown) {
        status = buf_printf(out, " and %zu older", count - shown);
    }
    if (status != OK || count == 0) {
        buf_clear(out);
    }
}

static enum status no_version(const struct ice_metadata *metadata, const struct table_name *name,
                              const struct catalog_at *at, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 4096);
    name_snapshots(metadata, &text);
    if (at->ref.len == 0) {
        return err_set(err, E_NOT_FOUND,
                       "table \"%.*s\" has no version %lld; its versions are %.*s",
                       STR_ARG(name->name), (long long)at->value,
                       STR_ARG(text.len > 0 ? buf_str(&text) : STR("none")));
    }
    buf_clear(&text);
    for (size_t i = 0; i < metadata->ref_count && i < NAMED_MAX; i++) {
        if (buf_printf(&text, "%s\"%.*s\"", i == 0 ? "" : ", ",
                       STR_ARG(metadata->branches[i].name)) != OK) {
            break;
        }
    }
    return err_set(err, E_NOT_FOUND, "table \"%.*s\" has no branch or tag \"%.*s\"; it has %.*s",
                   STR_ARG(name->name), STR_ARG(at->ref),
                   STR_ARG(text.len > 0 ? buf_str(&text) : STR("none")));
}

static enum status no_time(const struct ice_metadata *metadata, const struct table_name *name,
                           const struct catalog_at *at, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 4096);
    enum status status = time_append_iso(&text, at->value);
    if (status == OK && metadata->log_count > 0) {
        status = buf_append(&text, STR("; its first version is of "));
        status = status == OK ? time_append_iso(&text, metadata->snapshot_log[0].timestamp_ms)
                              : status;
    } else if (status == OK) {
        status = buf_append(&text, STR("; it has no data yet"));
    }
    return err_set(err, E_NOT_FOUND, "table \"%.*s\" did not exist at %.*s", STR_ARG(name->name),
                   STR_ARG(buf_str(&text)));
}

static enum status choose(const struct ice_metadata *metadata, const struct table_name *name,
                          const struct catalog_at *at, const struct ice_snapshot **out,
                          struct err *err)
{
    switch (at == NULL ? CATALOG_AT_CURRENT : at->kind) {
    case CATALOG_AT_CURRENT:
        *out = metadata->current;
        return OK;
    case CATALOG_AT_VERSION:
        *out = at->ref.len > 0 ? ice_metadata_by_ref(metadata, at->ref)
                               : ice_metadata_snapshot(metadata, at->value);
        return *out != NULL ? OK : no_version(metadata, name, at, err);
    case CATALOG_AT_TIMESTAMP:
        *out = ice_metadata_as_of(metadata, at->value);
        return *out != NULL ? OK : no_time(metadata, name, at, err);
    }
    return err_set(err, E_INVALID, "an unknown kind of version");
}

static enum status fill(struct catalog_pin *pin, struct reader *reader,
                        const struct table_summary *table, const struct catalog_at *at,
                        struct err *err)
{
    TRY(table_summary_copy(&pin->arena, table, &pin->table, err));
    const struct ice_metadata *metadata = NULL;
    TRY(reader_metadata(reader, table->metadata_location, &metadata, err));
    /* the pin owns a reference; nobody changes it */
    pin->metadata = (struct ice_metadata *)metadata;
    if (!str_eq_nocase(metadata->table_uuid, table->uuid)) {
        return err_set(err, E_CORRUPT,
                       "the metadata of table \"%.*s\" is another table's: uuid %.*s, not %.*s",
                       STR_ARG(table->name.name), STR_ARG(metadata->table_uuid),
                       STR_ARG(table->uuid));
    }
    TRY(choose(metadata, &table->name, at, &pin->snapshot, err));
    pin->schema = metadata->schema;
    if (at != NULL && at->kind != CATALOG_AT_CURRENT && pin->snapshot->schema_id >= 0) {
        const struct ice_schema *then = ice_metadata_schema(metadata, pin->snapshot->schema_id);
        pin->schema = then != NULL ? then : pin->schema;
    }
    return OK;
}

enum status reader_pin_table(struct reader *reader, const struct table_summary *table,
                             const struct catalog_at *at, struct catalog_pin **out, struct err *err)
{
    struct catalog_pin *pin = mem_zalloc(sizeof(*pin));
    struct pin_holds *holds = mem_zalloc(sizeof(*holds));
    if (pin == NULL || holds == NULL) {
        mem_free(pin);
        mem_free(holds);
        return err_no_memory(err);
    }
    arena_init(&pin->arena, PIN_BYTES_MAX);
    pthread_mutex_init(&holds->lock, NULL);
    pin->holds = holds;
    enum status status = fill(pin, reader, table, at, err);
    if (status != OK) {
        catalog_unpin(pin);
        return status;
    }
    *out = pin;
    return OK;
}

enum status pin_hold(const struct catalog_pin *pin, struct cache_item *item, struct err *err)
{
    struct pin_holds *holds = pin->holds;
    pthread_mutex_lock(&holds->lock);
    if (holds->count == holds->cap) {
        size_t cap = holds->cap == 0 ? 8 : holds->cap * 2;
        struct cache_item **items = mem_realloc(holds->items, cap * sizeof(*items));
        if (items != NULL) {
            holds->items = items;
            holds->cap = cap;
        }
    }
    bool room = holds->count < holds->cap;
    if (room) {
        holds->items[holds->count++] = item;
    }
    pthread_mutex_unlock(&holds->lock);
    if (!room) {
        cache_release(item);
        return err_no_memory(err);
    }
    return OK;
}

void catalog_unpin(struct catalog_pin *pin)
{
    if (pin == NULL) {
        return;
    }
    for (size_t i = 0; i < pin->holds->count; i++) {
        cache_release(pin->holds->items[i]);
    }
    mem_free(pin->holds->items);
    pthread_mutex_destroy(&pin->holds->lock);
    mem_free(pin->holds);
    if (pin->metadata != NULL) {
        ice_metadata_unref(pin->metadata);
    }
    arena_done(&pin->arena);
    mem_free(pin);
}
