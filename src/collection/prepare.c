/*
 * From changes to records. Counts are told from the ids' state before the object and an overlay of
 * what the object has done so far, so they are known before anything is written.
 */
#include "base/mem.h"
#include "collection/write.h"

enum { OVERLAY_CAP_MIN = 64 };

/* --- the overlay --- */

static size_t overlay_place(const struct overlay *overlay, struct str id)
{
    size_t at = ids_hash(id) & (overlay->cap - 1);
    while (overlay->entries[at].id.ptr != NULL && !str_eq(overlay->entries[at].id, id)) {
        at = (at + 1) & (overlay->cap - 1);
    }
    return at;
}

static enum status overlay_room(struct overlay *overlay, size_t more)
{
    size_t cap = overlay->cap > 0 ? overlay->cap : OVERLAY_CAP_MIN;
    while ((overlay->count + more) * 2 > cap) {
        cap *= 2;
    }
    if (cap == overlay->cap) {
        return OK;
    }
    struct overlay bigger = { .count = overlay->count, .cap = cap };
    bigger.entries = mem_zalloc(cap * sizeof *bigger.entries);
    if (bigger.entries == NULL) {
        return E_NO_MEMORY;
    }
    for (size_t i = 0; i < overlay->cap; i++) {
        if (overlay->entries[i].id.ptr != NULL) {
            bigger.entries[overlay_place(&bigger, overlay->entries[i].id)] = overlay->entries[i];
        }
    }
    mem_free(overlay->entries);
    *overlay = bigger;
    return OK;
}

/** Room was made. The entry of an id, as the body has it when it is new. */
static struct overlay_entry *overlay_get(struct prepare *prepare, struct str id)
{
    struct overlay *overlay = &prepare->overlay;
    struct overlay_entry *entry = &overlay->entries[overlay_place(overlay, id)];
    if (entry->id.ptr == NULL) {
        pthread_rwlock_rdlock(&prepare->body->lock);
        bool there = ids_find(&prepare->body->ids, id) != IDS_NONE;
        pthread_rwlock_unlock(&prepare->body->lock);
        *entry = (struct overlay_entry){ .id = id, .there = there };
        overlay->count++;
    }
    return entry;
}

/* --- memory --- */

/** About what an item takes in memory: its row of 12 bits a dimension and codes, links, id. */
static uint64_t item_bytes(const struct coll_spec *spec, struct str id, struct str metadata)
{
    uint64_t m = spec->m > 0 ? spec->m : 32;
    return (uint64_t)spec->dimension * 5 / 2 + m * 10 + id.len + metadata.len * 3 / 2 + 128;
}

static enum status room_for(struct prepare *prepare, const struct write *write, struct err *err)
{
    struct coll_service *service = prepare->coll->service;
    uint64_t bytes = 0;
    for (size_t i = 0; i < write->count; i++) {
        bytes += item_bytes(&prepare->body->spec, write->items[i].id, write->items[i].metadata);
    }
    bytes += (write->kind == WRITE_PATCH ? write->metadata.len * 2 : 0);
    uint64_t now = atomic_load_explicit(&prepare->body->memory_bytes, memory_order_relaxed);
    uint64_t limit = service->opts.index_memory_limit;
    if (bytes > 0 && now + bytes > limit) {
        return err_set(err, E_NO_MEMORY,
                       "index \"%s\" has %llu bytes in memory; this would pass its limit of %llu",
                       prepare->coll->name, (unsigned long long)now, (unsigned long long)limit);
    }
    return bytes > 0 ? service_room(service, prepare->coll, bytes, err) : OK;
}

/* --- writes --- */

static enum status emit(struct prepare *prepare, const struct record *record, struct err *err)
{
    enum status status = record_append(prepare->bytes, record, prepare->body->spec.dimension);
    prepare->count += status == OK;
    return status == OK            ? OK
           : status == E_TOO_LARGE ? err_set(err, E_TOO_LARGE, "the batch is too large")
                                   : err_no_memory(err);
}

/** Of an insert or update, which go alone: nothing is in the overlay but what it has done. */
static enum status mode_check(struct prepare *prepare, const struct write *write, size_t i,
                              struct err *err)
{
    struct str id = write->items[i].id;
    const struct overlay_entry *entry = overlay_get(prepare, id);
    if (write->mode == COLL_INSERT && entry->there) {
        return err_set(err, E_EXISTS, "item %zu: id \"%.*s\" is there already", i, STR_ARG(id));
    }
    if (write->mode == COLL_UPDATE && !entry->there) {
        return err_set(err, E_NOT_FOUND, "item %zu: id \"%.*s\" is not there", i, STR_ARG(id));
    }
    return OK;
}

static enum status prepare_add(struct prepare *prepare, struct write *write, struct err *err)
{
    TRY(room_for(prepare, write, err));
    if (overlay_room(&prepare->overlay, write->count) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < write->count; i++) {
        const struct coll_item *item = &write->items[i];
        if (write->mode != COLL_UPSERT) {
            TRY(mode_check(prepare, write, i, err));
        }
        TRY(emit(prepare,
                 &(struct record){ .kind = RECORD_PUT,
                                   .id = item->id,
                                   .has_vector = true,
                                   .vector = item->vector,
                                   .has_metadata = item->metadata.len > 0,
                                   .metadata = item->metadata },
                 err));
        struct overlay_entry *entry = overlay_get(prepare, item->id);
        if (entry->owner != prepare->batch) {
            entry->owner = prepare->batch;
            write->added += !entry->there;
            write->updated += entry->there;
        }
        prepare->length += !entry->there;
        entry->there = true;
    }
    write->length = prepare->length;
    return OK;
}

static enum status delete_id(struct prepare *prepare, struct str id, struct write *write,
                             struct err *err)
{
    struct overlay_entry *entry = overlay_get(prepare, id);
    if (entry->there) {
        TRY(emit(prepare, &(struct record){ .kind = RECORD_DELETE, .id = id }, err));
        entry->there = false;
        entry->owner = prepare->batch;
        prepare->length--;
        write->deleted++;
    }
    return OK;
}

static enum status prepare_delete(struct prepare *prepare, struct write *write, struct err *err)
{
    if (overlay_room(&prepare->overlay, write->id_count) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < write->id_count; i++) {
        TRY(delete_id(prepare, write->ids[i], write, err));
    }
    write->length = prepare->length;
    return OK;
}

static bool match_has(const struct meta_match *match, uint32_t slot)
{
    return match->bits != NULL && slot / 64 < match->word_count &&
           (match->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

/** Guarded by the body's lock. */
static enum status delete_matched(struct prepare *prepare, const struct meta_match *match,
                                  struct write *write, struct err *err)
{
    const struct ids *ids = &prepare->body->ids;
    uint64_t slots = match->slots != NULL ? match->count : match->word_count * 64;
    for (uint64_t i = 0; i < slots; i++) {
        uint32_t slot = match->slots != NULL ? match->slots[i] : (uint32_t)i;
        uint64_t retired = 0;
        uint32_t row = match->slots != NULL || match_has(match, slot)
                           ? ids_at_slot(ids, slot, &retired)
                           : IDS_NONE;
        if (row == IDS_NONE || retired != 0) {
            continue;
        }
        struct record record = { .kind = RECORD_DELETE, .id = ids_id(ids_row(ids, row)) };
        TRY(emit(prepare, &record, err));
        write->deleted++;
        prepare->length--;
    }
    return OK;
}

static enum status prepare_filter(struct prepare *prepare, struct write *write, struct err *err)
{
    struct arena arena;
    struct meta_match match = { 0 };
    arena_init(&arena, SIZE_MAX);
    pthread_rwlock_rdlock(&prepare->body->lock);
    enum status status = meta_match(prepare->body->meta, write->filter, &arena, &match, err);
    if (status == OK) {
        status = delete_matched(prepare, &match, write, err);
    }
    pthread_rwlock_unlock(&prepare->body->lock);
    arena_done(&arena);
    write->length = prepare->length;
    return status;
}

static enum status prepare_clear(struct prepare *prepare, struct write *write, struct err *err)
{
    write->deleted = prepare->length;
    if (prepare->length > 0) {
        TRY(emit(prepare, &(struct record){ .kind = RECORD_CLEAR }, err));
    }
    prepare->length = write->length = 0;
    return OK;
}

static enum status prepare_patch(struct prepare *prepare, struct write *write, struct err *err)
{
    struct arena arena;
    struct str metadata = write->metadata;
    enum status status = room_for(prepare, write, err);
    arena_init(&arena, 0);
    pthread_rwlock_rdlock(&prepare->body->lock);
    uint32_t row = ids_find(&prepare->body->ids, write->id);
    if (status == OK && row != IDS_NONE && write->merge) {
        status = meta_merged(prepare->body->meta, ids_row(&prepare->body->ids, row)->slot,
                             write->metadata, &arena, &metadata, err);
    }
    pthread_rwlock_unlock(&prepare->body->lock);
    if (status == OK && row == IDS_NONE) {
        status = err_set(err, E_NOT_FOUND, "id \"%.*s\" is not there", STR_ARG(write->id));
    }
    status = status == OK ? meta_check(metadata, err) : status;
    if (status == OK) {
        status = emit(
            prepare,
            &(struct record){
                .kind = RECORD_META, .id = write->id, .has_metadata = true, .metadata = metadata },
            err);
    }
    arena_done(&arena);
    write->length = prepare->length;
    return status;
}

enum status prepare_begin(struct prepare *prepare, struct coll *coll, struct body *body,
                          struct buf *bytes, struct err *err)
{
    *prepare = (struct prepare){ .coll = coll,
                                 .body = body,
                                 .bytes = bytes,
                                 .length = atomic_load_explicit(&body->length,
                                                                memory_order_relaxed) };
    return record_begin(bytes) == OK ? OK : err_no_memory(err);
}

void prepare_done(struct prepare *prepare)
{
    mem_free(prepare->overlay.entries);
    prepare->overlay = (struct overlay){ 0 };
}

enum status prepare_write(struct prepare *prepare, struct write *write, struct err *err)
{
    prepare->batch++;
    switch (write->kind) {
    case WRITE_ADD:
        return prepare_add(prepare, write, err);
    case WRITE_DELETE:
        return prepare_delete(prepare, write, err);
    case WRITE_DELETE_FILTER:
        return prepare_filter(prepare, write, err);
    case WRITE_CLEAR:
        return prepare_clear(prepare, write, err);
    case WRITE_PATCH:
        return prepare_patch(prepare, write, err);
    case WRITE_CALL:
        break;
    }
    return OK;
}
