/*
 * From the store to memory: the snapshot that the pointer names, then the log behind it, in strict
 * sequence. Nothing is believed that has not been checked whole; what does not fit stops the index.
 *
 * A writer elsewhere may trim the log while we read it. So an object that is missing is damage only
 * when the pointer, read again, is still the one that we began with.
 */
#include "collection/graph.h"

enum { OPEN_TRIES = 8, MEASURE_BYTES = 32 << 20 };

enum status recover_apply(struct body **body, struct str bytes, const struct record_head *head,
                          struct err *err)
{
    if (!body_clears(bytes, head)) {
        return body_apply(*body, bytes, head, err);
    }
    struct body *cleared = NULL;
    TRY(body_cleared(*body, &cleared, err));
    cleared->sequence = head->sequence;
    cleared->epoch = head->epoch;
    atomic_fetch_add_explicit(&cleared->tail_objects, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cleared->tail_bytes, bytes.len, memory_order_relaxed);
    *body = cleared;
    return OK;
}

/* --- the log --- */

static enum status check_memory(struct coll *coll, struct body *body, struct err *err)
{
    uint64_t bytes = body_measure(body), limit = coll->service->opts.index_memory_limit;
    return bytes <= limit
               ? OK
               : err_set(err, E_NO_MEMORY,
                         "index \"%s\" has more than %llu bytes in memory, which is its limit",
                         coll->name, (unsigned long long)limit);
}

/** *body may become another one; the old one is freed when `own` says that it is ours. */
static enum status tail_one(struct coll *coll, struct body **body, uint64_t sequence,
                            struct buf *bytes, struct err *err)
{
    struct record_head head;
    if (sequence != (*body)->sequence + 1) {
        return err_set(err, E_CORRUPT, "log object %llu is missing, and %llu is there",
                       (unsigned long long)(*body)->sequence + 1, (unsigned long long)sequence);
    }
    TRY(log_get(coll->service->store, str_of(coll->uuid), sequence, bytes, &head, err));
    if (head.epoch < (*body)->epoch) {
        return err_set(err, E_CORRUPT, "log object %llu is of epoch %llu, the one before of %llu",
                       (unsigned long long)sequence, (unsigned long long)head.epoch,
                       (unsigned long long)(*body)->epoch);
    }
    return recover_apply(body, buf_str(bytes), &head, err);
}

enum status recover_tail(struct coll *coll, struct body **body, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct arena arena;
    enum status status = OK;
    size_t count = 1;
    uint64_t looked = 0;
    buf_init(&bytes, LOG_OBJECT_BYTES_MAX);
    arena_init(&arena, 0);
    while (status == OK && count > 0) {
        uint64_t *sequences = NULL;
        arena_reset(&arena);
        status = log_list(coll->service->store, str_of(coll->uuid), (*body)->sequence + 1, &arena,
                          &sequences, &count, err);
        for (size_t i = 0; status == OK && i < count; i++) {
            struct body *before = *body;
            status = tail_one(coll, body, sequences[i], &bytes, err);
            if (*body != before && before != coll->body) {
                (*body)->accounted = before->accounted; /* coll_beside_open */
                body_free(before);                      /* nobody has seen it */
            }
            looked += bytes.len;
            if (status == OK && looked > MEASURE_BYTES) {
                looked = 0;
                status = check_memory(coll, *body, err);
            }
        }
    }
    arena_done(&arena);
    return status;
}

/* --- the snapshot --- */

/** One item; `slots` empty, or its own UINT32_MAX: its vector is added, else it is in its slot. */
static enum status load_item(struct body *body, const struct record *record,
                             const struct buf *slots, struct err *err)
{
    uint32_t slot = 0;
    size_t at = body->ids.live * sizeof slot;
    if (slots->len == 0) {
        return body_load(body, record, err);
    }
    if (at + sizeof slot > slots->len) {
        return err_set(err, E_CORRUPT, "the snapshot has more items than its pointer says");
    }
    memcpy(&slot, slots->ptr + at, sizeof slot);
    return slot == UINT32_MAX ? body_load(body, record, err)
                              : body_load_at(body, record, slot, err);
}

/** The object of an entry. `listed`: it may be of an earlier snapshot, with other items before
 * it. */
static enum status load_chunk(struct coll *coll, struct body *body, const struct snap_entry *entry,
                              bool listed, const struct buf *slots, struct buf *bytes,
                              struct err *err)
{
    char room[LOG_KEY_MAX];
    uint8_t mine[RECORD_UUID_BYTES];
    struct record_head head;
    struct str key = snap_entry_key(room, str_of(coll->uuid), entry);
    buf_clear(bytes);
    TRY(store_read(coll->service->store, key,
                   &(struct store_read_opts){ .bytes_max = LOG_OBJECT_BYTES_MAX }, bytes, NULL,
                   err));
    enum status status = record_check(buf_str(bytes), &head, err);
    log_uuid(str_of(coll->uuid), mine);
    if (status != OK) {
        return err_context(err, "snapshot chunk \"%.*s\"", STR_ARG(key)), status;
    }
    if (head.object != RECORD_SNAPSHOT || head.tag != entry->tag ||
        head.sequence != entry->object || head.dimension != coll->spec.dimension ||
        memcmp(mine, head.uuid, sizeof mine) != 0 ||
        (listed ? head.count != entry->items
                : head.length != atomic_load_explicit(&body->length, memory_order_relaxed))) {
        return err_set(err, E_CORRUPT, "snapshot chunk \"%.*s\" is of another snapshot",
                       STR_ARG(key));
    }
    size_t at = RECORD_HEAD_BYTES;
    struct record record;
    while (record_next(buf_str(bytes), head.dimension, &at, &record)) {
        if (record.kind != RECORD_PUT) {
            return err_set(err, E_CORRUPT, "snapshot chunk \"%.*s\" has more than items",
                           STR_ARG(key));
        }
        TRY(load_item(body, &record, slots, err));
    }
    return OK;
}

static enum status load_plain(struct coll *coll, struct body *body,
                              const struct coll_snapshot_ref *snapshot, const struct buf *slots,
                              struct buf *bytes, struct err *err)
{
    for (uint64_t i = 0; i < snapshot->chunks; i++) {
        const struct snap_entry entry = { .object = (uint32_t)i,
                                          .sequence = snapshot->sequence,
                                          .tag = snapshot->tag };
        TRY(load_chunk(coll, body, &entry, false, slots, bytes, err));
        TRY(i % 4 == 3 ? check_memory(coll, body, err) : OK);
    }
    return OK;
}

/** Each part's items go to its rows, so that what does not change need not be written again. */
static enum status load_parts(struct coll *coll, struct body *body, const struct buf *slots,
                              struct buf *bytes, struct err *err)
{
    const struct snap_list *list = &body->base;
    for (size_t i = 0; i < list->count && list->entries[i].kind == SNAP_ITEMS; i++) {
        const struct snap_entry *entry = &list->entries[i];
        uint64_t first = (uint64_t)entry->part * list->part_rows;
        uint64_t used = body->ids.row_count > first ? body->ids.row_count - first : 0;
        if (first + list->part_rows > IDS_NONE || used + entry->items > list->part_rows) {
            return err_set(err, E_CORRUPT, "the snapshot's list has too many items in a part");
        }
        if (ids_start_at(&body->ids, (uint32_t)first) != OK) {
            return err_no_memory(err);
        }
        TRY(load_chunk(coll, body, entry, true, slots, bytes, err));
        TRY(i % 4 == 3 ? check_memory(coll, body, err) : OK);
    }
    ids_start_anywhere(&body->ids);
    return OK;
}

static enum status read_list(struct coll *coll, struct body *body,
                             const struct coll_snapshot_ref *snapshot, struct buf *bytes,
                             struct err *err)
{
    char room[LOG_KEY_MAX];
    struct str key = snap_key(room, str_of(coll->uuid), snapshot->name, "list");
    buf_clear(bytes);
    TRY(store_read(coll->service->store, key,
                   &(struct store_read_opts){ .bytes_max = LOG_OBJECT_BYTES_MAX }, bytes, NULL,
                   err));
    TRY(snap_list_decode(buf_str(bytes), snapshot->tag, &body->base, err));
    body->base_sequence = snapshot->sequence;
    body->base_tag = snapshot->tag;
    return body->base.count == snapshot->entries
               ? OK
               : err_set(err, E_CORRUPT,
                         "the snapshot's list has %zu entries, its pointer says %llu",
                         body->base.count, (unsigned long long)snapshot->entries);
}

static enum status load_snapshot(struct coll *coll, struct body *body,
                                 const struct coll_snapshot_ref *snapshot, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    AUTO(buf_done) struct buf slots;
    struct vec_index *graph = NULL;
    buf_init(&bytes, LOG_OBJECT_BYTES_MAX);
    buf_init(&slots, SIZE_MAX);
    bool listed = snapshot->entries > 0;
    TRY(listed ? read_list(coll, body, snapshot, &bytes, err) : OK);
    /* without it, for whatever reason, the vectors are added, and linked behind */
    if (snapshot->graph_chunks > 0 &&
        graph_read(coll, snapshot, listed ? &body->base : NULL, &graph, &slots, NULL) == OK) {
        body_adopt(body, graph);
    } else {
        snap_list_drop_graph(&body->base); /* what is linked now has versions of its own */
    }
    TRY(listed ? load_parts(coll, body, &slots, &bytes, err)
               : load_plain(coll, body, snapshot, &slots, &bytes, err));
    if (body->ids.live != snapshot->items) {
        return err_set(err, E_CORRUPT, "the snapshot has %llu items, its pointer says %llu",
                       (unsigned long long)body->ids.live, (unsigned long long)snapshot->items);
    }
    TRY(body_load_end(body, err));
    body->sequence = snapshot->sequence;
    body->next_number = snapshot->next_number;
    return OK;
}

/* --- both --- */

static enum status load(struct coll *coll, const struct coll_pointer *pointer, bool anew,
                        struct body **out, struct err *err)
{
    struct body *body = NULL;
    if (pointer->first_log == 0 ||
        (pointer->snapshot.name.len > 0 && pointer->snapshot.sequence + 1 != pointer->first_log)) {
        return err_set(err, E_CORRUPT, "its pointer names a log that does not follow its snapshot");
    }
    TRY(body_new(&coll->spec, coll->service->spool, &body, err));
    enum status status = OK;
    if (pointer->snapshot.name.len > 0) {
        struct coll_snapshot_ref snapshot = pointer->snapshot;
        snapshot.graph_chunks = anew ? 0 : snapshot.graph_chunks;
        status = load_snapshot(coll, body, &snapshot, err);
    } else {
        body->sequence = pointer->first_log - 1;
    }
    status = status == OK ? recover_tail(coll, &body, err) : status;
    if (status != OK) {
        body_free(body);
        return status;
    }
    *out = body;
    return OK;
}

/** The pointer as it is. E_PRECONDITION: of another index; the map knows it then. */
static enum status read_pointer(struct coll *coll, struct arena *arena, struct coll_pointer *out,
                                struct err *err)
{
    bool believed = false;
    uint64_t seen = names_seen(coll->service);
    TRY(coll_pointer_read(coll->service->store, str_of(coll->name), arena, out, err));
    if (!out->dropped && out->kind == COLL_POINTER_INDEX && str_eq(out->uuid, str_of(coll->uuid))) {
        return OK;
    }
    enum status status = names_believe(coll->service, out, seen, &believed, err);
    return status != OK ? status
           : out->dropped
               ? err_set(err, E_NOT_FOUND, "index \"%s\" is not there", coll->name)
               : err_set(err, E_PRECONDITION, "index \"%s\" is another one now", coll->name);
}

enum status recover_open(struct coll *coll, bool anew, struct body **out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct coll_pointer pointer = { 0 }, again = { 0 };
    enum status status = read_pointer(coll, &arena, &pointer, err);
    bool more = status == OK;
    for (int i = 0; more && i < OPEN_TRIES; i++) {
        status = load(coll, &pointer, anew, out, err);
        more = false;
        if (status == E_NOT_FOUND || status == E_CORRUPT) {
            struct err second = { 0 };
            enum status looked = read_pointer(coll, &arena, &again, &second);
            more = looked == OK && strcmp(again.etag, pointer.etag) != 0;
            pointer = looked == OK ? again : pointer;
            if (looked != OK) {
                status = looked;
                if (err != NULL) {
                    *err = second;
                }
            } else if (!more && status == E_NOT_FOUND) {
                (void)err_context(err, "a part of it is missing");
                status = E_CORRUPT;
            }
        }
    }
    arena_done(&arena);
    return status;
}

/* --- without opening --- */

/** Walk over the log behind `first` - 1: no gap, and with `all` each object whole; else the last
 * one's head. *length_out stays where there is none. */
static enum status check_log(struct coll *coll, uint64_t first, bool all, uint64_t *length_out,
                             struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    struct arena arena;
    struct record_head head;
    uint64_t next = first;
    size_t count = 1;
    enum status status = OK;
    buf_init(&bytes, LOG_OBJECT_BYTES_MAX);
    arena_init(&arena, 0);
    while (status == OK && count > 0) {
        uint64_t *sequences = NULL;
        arena_reset(&arena);
        status = log_list(coll->service->store, str_of(coll->uuid), next, &arena, &sequences,
                          &count, err);
        for (size_t i = 0; status == OK && i < count; i++, next++) {
            if (sequences[i] != next) {
                status = err_set(err, E_CORRUPT, "log object %llu is missing, and %llu is there",
                                 (unsigned long long)next, (unsigned long long)sequences[i]);
            } else if (all || i + 1 == count) {
                status = log_get(coll->service->store, str_of(coll->uuid), next, &bytes, &head,
                                 err);
                *length_out = status == OK ? head.length : *length_out;
            }
        }
    }
    arena_done(&arena);
    return status;
}

enum status recover_look(struct coll *coll, bool all, uint64_t *length_out, struct err *err)
{
    struct arena arena;
    struct coll_pointer pointer = { 0 }, again = { 0 };
    arena_init(&arena, 0);
    enum status status = read_pointer(coll, &arena, &pointer, err);
    bool more = status == OK;
    for (int i = 0; more && i < OPEN_TRIES; i++) {
        uint64_t length = pointer.snapshot.items;
        status = check_log(coll, pointer.first_log, all, &length, err);
        *length_out = status == OK ? length : *length_out;
        /* who trims meanwhile has changed the pointer before */
        more = status != OK && read_pointer(coll, &arena, &again, NULL) == OK &&
               strcmp(again.etag, pointer.etag) != 0;
        pointer = more ? again : pointer;
    }
    arena_done(&arena);
    return status;
}
