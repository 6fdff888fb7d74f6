/*
 * A snapshot: all items at exactly one log position, written while writes and searches go on.
 *
 * The walk begins while nobody changes anything: that moment is its position. Then it goes through
 * the rows in steps. An item that came later has a higher number and is passed by; one that is
 * about to change before the walk has come to it is saved first by who changes it (body.c). Exact
 * vectors are read from slots that the snapshot's pin keeps from being used again.
 *
 * Rows are gone through in parts. One that has not changed since the snapshot before is not written
 * again: the list names the object that it has already, wherever it is. What a body knows of that
 * snapshot is of use only while the pointer still names it.
 *
 * One at a time of an index: the marks in the rows are one walk's, and the older of two would find
 * its folder swept by the newer one.
 *
 * The pointer is swapped when all chunks are durable. Then what is of no use any more goes: of
 * older snapshots what the list does not name, and log objects up to the position, oldest first.
 *
 * Log objects up to the one that our epoch began with stay for a while: a writer that lost its
 * epoch may have sent one that is still under way, and must find its place taken.
 */
#include "base/mem.h"
#include "collection/graph.h"
#include "collection/write.h"

enum {
    CHUNK_BYTES = 16 << 20,
    PART_BYTES = 4 << 20, /* of vectors */
    PART_ROWS_MAX = 16384,
    SPARSE = 4, /* this many rows an item: they are laid out anew */
    /* A graph serves until more than one vector in so many has come or gone, and no more than so
     * many in all: whoever loads it takes out and links what has. */
    REUSE_SHARE = 16,
    REUSE_MAX = 20000,
    STEP_ROWS = 256,
    STEP_BYTES = 1 << 20,
    SWAP_TRIES = 8,
    OLD_LOG_MS = 60 * 1000, /* twice what a late answer is believed for without looking, write.c */
};

struct shot {
    struct coll *coll;
    struct body *body;
    struct body_walk walk;
    struct coll_snapshot_ref ref;
    struct vec_scratch *scratch;       /* holds the pin */
    uint64_t tail_objects, tail_bytes; /* of the log, at the position */
    char name[SNAP_NAME_MAX];
    uint64_t named_sequence, named_tag; /* of the snapshot that the pointer named before */
    struct snap_list list;
    const struct snap_list *base; /* what may be shared; NULL: nothing */
    bool reuse;                   /* its graph */
    size_t base_at;               /* entries before it are of parts that are through */
    uint8_t *clean;               /* [part_count]: has not changed since */
    uint32_t part_rows, part_count, part, row_end;
    uint32_t objects;
    bool plain;       /* no parts: whoever loads it gives rows anew */
    bool offered;     /* a pointer that names it was sent, so it may be named for ever */
    struct buf step;  /* ids and metadata of some rows */
    struct buf chunk; /* an object to be */
    uint32_t chunk_count;
    float *vector;
    struct vec_snapshot *graph; /* NULL: nothing is linked, or there was no memory */
    struct buf slots;           /* of the items, in the order they were written */
};

/* --- the beginning --- */

static uint32_t part_rows(const struct coll *coll)
{
    uint32_t rows = coll->service->opts.snapshot_part_rows;
    if (rows == 0) {
        rows = (uint32_t)(PART_BYTES / (coll->spec.dimension * sizeof(float)));
        rows = rows < PART_ROWS_MAX ? rows : PART_ROWS_MAX;
    }
    return (rows + IDS_CHUNK - 1) / IDS_CHUNK * IDS_CHUNK;
}

/** The graph of the snapshot before will do. Guarded by the body's lock. */
static bool graph_lasts(const struct body *body)
{
    const struct snap_entry *graph = snap_list_manifest(&body->base);
    uint64_t changes = body->stored.changes;
    return graph != NULL && body->stored.slots != NULL && changes <= graph->items / REUSE_SHARE &&
           changes <= REUSE_MAX;
}

/** Nobody changes anything. */
static enum status parts_take(struct shot *shot, const struct body *body, struct err *err)
{
    const struct ids *ids = &body->ids;
    shot->row_end = ids->row_count;
    shot->plain = ids->live < shot->row_end / SPARSE;
    shot->part_rows = body->base.count > 0 ? body->base.part_rows : part_rows(shot->coll);
    shot->list.part_rows = shot->part_rows;
    shot->part_count = (shot->row_end + shot->part_rows - 1) / shot->part_rows;
    shot->clean = mem_zalloc(shot->part_count + 1);
    if (shot->clean == NULL) {
        return err_no_memory(err);
    }
    if (shot->plain || body->base.count == 0 || shot->named_tag != body->base_tag ||
        shot->named_sequence != body->base_sequence) {
        return OK;
    }
    shot->base = &body->base;
    memset(shot->clean, 1, shot->part_count);
    for (uint32_t row = 0; row < shot->row_end; row += IDS_CHUNK) {
        if (ids->rows[row / IDS_CHUNK]->changed > body->base_sequence) {
            shot->clean[row / shot->part_rows] = 0;
        }
    }
    shot->reuse = graph_lasts(body);
    return OK;
}

/** Nobody changes anything. Without memory it is made up when the snapshot is loaded. */
static void graph_take(struct shot *shot, struct body *body)
{
    struct err err;
    struct vec_stats stats;
    vec_stats(body->vec, &stats);
    /* a ghost is in the graph, but no item */
    if (shot->reuse || stats.linked == 0 || stats.count != atomic_load(&body->length)) {
        return;
    }
    if (vec_snapshot_take(body->vec, &shot->graph, &err) != OK) {
        shot->graph = NULL;
        return;
    }
    pthread_rwlock_wrlock(&body->lock);
    (void)body_stored_begin(body, &body->stored_next);
    pthread_rwlock_unlock(&body->lock);
}

static enum status begin_call(struct coll *coll, struct body *body, void *ctx, struct err *err)
{
    struct shot *shot = ctx;
    TRY(parts_take(shot, body, err));
    TRY(body_scratch_take(body, &shot->scratch, err));
    vec_pin(body->vec, shot->scratch);
    graph_take(shot, body);
    shot->body = body;
    shot->ref = (struct coll_snapshot_ref){ .tag = random_u64(),
                                            .sequence = body->sequence,
                                            .next_number = body->next_number };
    shot->tail_objects = atomic_load_explicit(&body->tail_objects, memory_order_relaxed);
    shot->tail_bytes = atomic_load_explicit(&body->tail_bytes, memory_order_relaxed);
    shot->walk = (struct body_walk){ .number_end = body->next_number };
    pthread_mutex_lock(&coll->service->lock);
    body->refs++;
    pthread_mutex_unlock(&coll->service->lock);
    pthread_rwlock_wrlock(&body->lock);
    body->walk = &shot->walk;
    pthread_rwlock_unlock(&body->lock);
    return OK;
}

/** Guarded by the body's lock, for writing. */
static void drop_saved(struct ids_rows *rows)
{
    while (rows->saved != NULL) {
        struct body_before *before = rows->saved;
        rows->saved = before->next;
        mem_free(before);
    }
}

static void end_walk(struct shot *shot)
{
    struct body *body = shot->body;
    pthread_rwlock_wrlock(&body->lock);
    body->walk = NULL;
    for (uint32_t row = shot->walk.row; row < body->ids.row_count; row++) {
        ids_row(&body->ids, row)->saved = false; /* nothing is left where all went well */
    }
    for (size_t i = 0; i < body->ids.row_chunks; i++) {
        drop_saved(body->ids.rows[i]);
    }
    body_stored_end(&body->stored_next);
    pthread_rwlock_unlock(&body->lock);
    vec_snapshot_free(shot->graph);
    vec_unpin(shot->scratch);
    body_scratch_give(body, shot->scratch);
    coll_body_unref(shot->coll->service, body);
}

/* --- chunks --- */

static enum status put_chunk(struct shot *shot, struct err *err)
{
    char room[LOG_KEY_MAX];
    const struct snap_entry entry = { .kind = SNAP_ITEMS,
                                      .part = shot->part,
                                      .object = shot->objects,
                                      .items = shot->chunk_count,
                                      .sequence = shot->ref.sequence,
                                      .tag = shot->ref.tag,
                                      .bytes = shot->chunk.len };
    struct record_head head = { .object = RECORD_SNAPSHOT,
                                .epoch = shot->coll->epoch,
                                .sequence = shot->objects,
                                .tag = shot->ref.tag,
                                .length = shot->ref.items - shot->chunk_count,
                                .count = shot->chunk_count,
                                .dimension = shot->coll->spec.dimension };
    log_uuid(str_of(shot->coll->uuid), head.uuid);
    record_finish(&shot->chunk, &head);
    TRY(snap_put(shot->coll->service->store, snap_entry_key(room, str_of(shot->coll->uuid), &entry),
                 buf_str(&shot->chunk), err));
    if (snap_list_add(&shot->list, &entry) != OK) {
        return err_no_memory(err);
    }
    shot->objects++;
    shot->ref.chunks++;
    shot->ref.bytes += shot->chunk.len;
    shot->chunk_count = 0;
    return record_begin(&shot->chunk) == OK ? OK : err_no_memory(err);
}

struct step_item {
    uint64_t number;
    uint32_t slot, metadata_len;
    uint16_t id_len;
    uint32_t graph_slot; /* what the graph's slots say of it */
};

static enum status add_item(struct shot *shot, const struct step_item *item, struct str id,
                            struct str metadata, struct err *err)
{
    TRY(floats_read(&shot->body->floats, item->slot, shot->vector, err));
    const struct record record = { .kind = RECORD_PUT,
                                   .number = item->number,
                                   .id = id,
                                   .has_vector = true,
                                   .vector = shot->vector,
                                   .has_metadata = !str_eq(metadata, STR("{}")),
                                   .metadata = metadata };
    if (record_append(&shot->chunk, &record, shot->coll->spec.dimension) != OK ||
        buf_append_bytes(&shot->slots, &item->graph_slot, sizeof item->graph_slot) != OK) {
        return err_no_memory(err);
    }
    shot->chunk_count++;
    shot->ref.items++;
    return shot->chunk.len >= CHUNK_BYTES ? put_chunk(shot, err) : OK;
}

/* --- the walk --- */

/** Guarded by the body's lock. */
static enum status step_append(struct shot *shot, struct step_item *item, struct str id,
                               struct str metadata)
{
    bool stored = !shot->reuse || body_stored_has(&shot->body->stored, item->slot);
    item->graph_slot = stored ? item->slot : UINT32_MAX;
    if (shot->clean[shot->part]) { /* its slot is all that is written */
        shot->ref.items++;
        return buf_append_bytes(&shot->slots, &item->graph_slot, sizeof item->graph_slot);
    }
    TRY(buf_append_bytes(&shot->step, item, sizeof *item));
    TRY(buf_append(&shot->step, id));
    return buf_append(&shot->step, metadata);
}

/** One row as it was when the snapshot began. Guarded by the body's lock. */
static enum status step_row(struct shot *shot, uint32_t at)
{
    const struct body *body = shot->body;
    const struct ids_row *row = ids_row(&body->ids, at);
    const struct body_before *before = body->ids.rows[at / IDS_CHUNK]->saved;
    while (before != NULL && before->row != at) {
        before = before->next;
    }
    if (before != NULL) {
        struct step_item item = { .number = before->number,
                                  .slot = before->slot,
                                  .metadata_len = before->metadata_len,
                                  .id_len = before->id_len };
        return step_append(shot, &item, str_from(before->bytes, before->id_len),
                           str_from(before->bytes + before->id_len, before->metadata_len));
    }
    if (!row->live || row->number >= shot->walk.number_end) {
        return OK;
    }
    struct str metadata = meta_get(body->meta, row->slot);
    struct step_item item = { .number = row->number,
                              .slot = row->slot,
                              .metadata_len = (uint32_t)metadata.len,
                              .id_len = row->id_len };
    return step_append(shot, &item, ids_id(row), metadata);
}

/** Copy what some rows up to `end` were. Under the lock for writing: marks go. */
static enum status copy_step(struct shot *shot, uint32_t end, struct err *err)
{
    struct body *body = shot->body;
    struct body_walk *walk = &shot->walk;
    enum status status = OK;
    buf_clear(&shot->step);
    pthread_rwlock_wrlock(&body->lock);
    for (uint32_t i = 0;
         status == OK && i < STEP_ROWS && walk->row < end && shot->step.len < STEP_BYTES; i++) {
        status = step_row(shot, walk->row);
        if (status == OK) {
            ids_row(&body->ids, walk->row)->saved = false;
            walk->row++;
        }
        if (status == OK && walk->row % IDS_CHUNK == 0) {
            drop_saved(body->ids.rows[walk->row / IDS_CHUNK - 1]);
        }
    }
    bool failed = walk->failed;
    pthread_rwlock_unlock(&body->lock);
    return status != OK || failed ? err_no_memory(err) : OK;
}

static enum status write_step(struct shot *shot, struct err *err)
{
    size_t at = 0;
    while (at < shot->step.len) {
        struct step_item item;
        memcpy(&item, shot->step.ptr + at, sizeof item);
        at += sizeof item;
        struct str id = str_from(shot->step.ptr + at, item.id_len);
        at += item.id_len;
        struct str metadata = str_from(shot->step.ptr + at, item.metadata_len);
        at += item.metadata_len;
        TRY(add_item(shot, &item, id, metadata, err));
    }
    return OK;
}

/** What the part has already. */
static enum status share_part(struct shot *shot, struct err *err)
{
    const struct snap_list *base = shot->base;
    for (; shot->base_at < base->count; shot->base_at++) {
        const struct snap_entry *entry = &base->entries[shot->base_at];
        if (entry->kind != SNAP_ITEMS || entry->part > shot->part) {
            break;
        }
        if (entry->part == shot->part) {
            if (snap_list_add(&shot->list, entry) != OK) {
                return err_no_memory(err);
            }
            shot->ref.chunks++;
            shot->ref.bytes += entry->bytes;
        }
    }
    return OK;
}

static enum status write_part(struct shot *shot, struct err *err)
{
    uint64_t end = (uint64_t)(shot->part + 1) * shot->part_rows;
    end = end < shot->row_end ? end : shot->row_end;
    while (shot->walk.row < end) {
        TRY(copy_step(shot, (uint32_t)end, err));
        TRY(write_step(shot, err));
    }
    if (shot->clean[shot->part]) {
        return share_part(shot, err);
    }
    return shot->chunk_count > 0 && !shot->plain ? put_chunk(shot, err) : OK;
}

/** All items are somewhere; else nothing is published. */
static enum status check_items(const struct shot *shot, struct err *err)
{
    uint64_t items = 0;
    for (size_t i = 0; i < shot->list.count; i++) {
        items += shot->list.entries[i].items;
    }
    return items == shot->ref.items
               ? OK
               : err_set(err, E_INTERNAL,
                         "the snapshot's parts have %llu items, the index has %llu",
                         (unsigned long long)items, (unsigned long long)shot->ref.items);
}

/** The list, where all is not as whoever has none would look for it. */
static enum status write_list(struct shot *shot, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    char room[LOG_KEY_MAX];
    bool listed = shot->list.count > 1;
    buf_init(&bytes, SIZE_MAX);
    for (size_t i = 0; i < shot->list.count; i++) {
        listed = listed || shot->list.entries[i].tag != shot->ref.tag;
    }
    if (shot->plain || !listed) {
        return OK;
    }
    if (snap_list_encode(&shot->list, shot->ref.tag, &bytes) != OK) {
        return err_no_memory(err);
    }
    shot->ref.entries = shot->list.count;
    return snap_put(shot->coll->service->store,
                    snap_key(room, str_of(shot->coll->uuid), shot->ref.name, "list"),
                    buf_str(&bytes), err);
}

static enum status write_graph(struct shot *shot, struct err *err)
{
    if (shot->reuse) {
        return graph_reuse(shot->coll, &shot->ref, &shot->slots, shot->base, &shot->list,
                           &shot->ref.graph_chunks, err);
    }
    if (shot->graph == NULL) {
        return OK;
    }
    enum status status = graph_write(shot->coll, &shot->ref, shot->graph, &shot->slots, shot->base,
                                     &shot->list, &shot->ref.graph_chunks, err);
    if (status == E_NO_MEMORY) { /* the library's copies: done without */
        snap_list_drop_graph(&shot->list);
        return OK;
    }
    return status;
}

static enum status write_all(struct shot *shot, struct err *err)
{
    if (record_begin(&shot->chunk) != OK) {
        return err_no_memory(err);
    }
    for (; shot->part < shot->part_count; shot->part++) {
        TRY(write_part(shot, err));
    }
    TRY(shot->chunk_count > 0 ? put_chunk(shot, err) : OK);
    TRY(check_items(shot, err));
    TRY(write_graph(shot, err));
    return write_list(shot, err);
}

/* --- the pointer --- */

/** Which snapshot the pointer names. While it goes on naming that one, which swap_once looks at,
 * nobody sweeps what it shares. */
static enum status named_take(struct shot *shot, struct err *err)
{
    struct coll *coll = shot->coll;
    struct arena arena;
    struct coll_pointer pointer = { 0 };
    arena_init(&arena, 0);
    enum status status = coll_pointer_read(coll->service->store, str_of(coll->name), &arena,
                                           &pointer, err);
    shot->named_sequence = pointer.snapshot.sequence;
    shot->named_tag = pointer.snapshot.tag;
    arena_done(&arena);
    return status;
}

/** What the next one of this body begins with. */
static void base_give(struct shot *shot)
{
    struct body *body = shot->body;
    pthread_rwlock_wrlock(&body->lock);
    snap_list_done(&body->base);
    if (shot->ref.entries > 0) {
        body->base = shot->list;
        shot->list = (struct snap_list){ 0 };
    }
    if (!shot->reuse) {
        body_stored_end(&body->stored);
        body->stored = body->stored_next;
        body->stored_next = (struct body_stored){ 0 };
    }
    body->base_sequence = shot->ref.sequence;
    body->base_tag = shot->ref.tag;
    pthread_rwlock_unlock(&body->lock);
}

static void remember_etag(struct coll *coll, const struct coll_pointer *pointer)
{
    pthread_mutex_lock(&coll->service->lock);
    memcpy(coll->etag, pointer->etag, sizeof pointer->etag);
    pthread_mutex_unlock(&coll->service->lock);
}

static enum status swap_once(struct shot *shot, struct arena *arena, struct coll_pointer *base,
                             struct err *err)
{
    struct coll *coll = shot->coll;
    struct coll_service *service = coll->service;
    TRY(coll_pointer_read(service->store, str_of(coll->name), arena, base, err));
    if (base->dropped || base->kind != COLL_POINTER_INDEX ||
        !str_eq(base->uuid, str_of(coll->uuid))) {
        return err_set(err, E_NOT_FOUND, "index \"%s\" was dropped", coll->name);
    }
    if (base->epoch != coll->epoch || base->first_log > shot->ref.sequence + 1) {
        return err_set(err, E_CONFLICT, "another process writes index \"%s\" now", coll->name);
    }
    if (shot->offered && base->snapshot.tag == shot->ref.tag) {
        /* it came through, its answer was lost, and somebody has written the pointer since */
        remember_etag(coll, base);
        return OK;
    }
    if (shot->base != NULL && base->snapshot.tag != shot->named_tag) {
        return err_set(err, E_CONFLICT, "the snapshot of index \"%s\" was changed meanwhile",
                       coll->name);
    }
    struct coll_pointer next = *base;
    next.snapshot = shot->ref;
    next.first_log = shot->ref.sequence + 1;
    shot->offered = true;
    TRY(coll_pointer_swap(service->store, base, arena, &next, err));
    remember_etag(coll, &next);
    return OK;
}

/** The pointer names ours: the old state may go. What stays goes the next time. */
static void trim(struct shot *shot, const struct coll_pointer *base)
{
    struct coll *coll = shot->coll;
    struct err err;
    /* named already, where the answer to the swap was lost */
    bool ours = base->snapshot.tag == shot->ref.tag;
    enum status status = snap_sweep(coll->service->store, str_of(coll->uuid), &shot->list,
                                    shot->ref.sequence, ours ? STR_EMPTY : base->snapshot.name,
                                    &err);
    bool young = clock_mono_ms(coll->service->clock) - coll->opened_ms < OLD_LOG_MS;
    uint64_t from = young ? coll->fence + 1 : 1;
    if (status == OK && from <= shot->ref.sequence) {
        status = log_trim(coll->service->store, str_of(coll->uuid), from, shot->ref.sequence, &err);
    }
    (void)status;
}

/** It was not finished. What cannot be deleted now goes with those that are older than the next. */
static void forget(const struct shot *shot)
{
    char room[LOG_KEY_MAX];
    struct err err;
    enum status status = log_sweep(shot->coll->service->store,
                                   snap_key(room, str_of(shot->coll->uuid), shot->ref.name, ""),
                                   &err);
    (void)status;
}

static enum status publish(struct shot *shot, struct err *err)
{
    struct arena arena;
    struct coll_pointer base = { 0 };
    enum status status = E_PRECONDITION;
    arena_init(&arena, 0);
    for (int i = 0; status == E_PRECONDITION && i < SWAP_TRIES; i++) {
        status = swap_once(shot, &arena, &base, err);
    }
    if (status == OK) {
        struct body *body = coll_body_ref(shot->coll); /* another one, where all was deleted */
        atomic_fetch_sub_explicit(&body->tail_objects, shot->tail_objects, memory_order_relaxed);
        atomic_fetch_sub_explicit(&body->tail_bytes, shot->tail_bytes, memory_order_relaxed);
        coll_body_unref(shot->coll->service, body);
        metric_add(shot->coll->service->metrics.snapshots, 1);
        trim(shot, &base);
        base_give(shot);
    } else if (!shot->offered) { /* else it may be named, if only in what a later writer read */
        forget(shot);
    }
    arena_done(&arena);
    return status;
}

/** Only one goes through the rows, and only one sweeps. */
static void turn_begin(struct coll *coll)
{
    struct coll_service *service = coll->service;
    pthread_mutex_lock(&service->lock);
    while (coll->shooting) {
        pthread_cond_wait(&service->changed, &service->lock);
    }
    coll->shooting = true;
    pthread_mutex_unlock(&service->lock);
}

static void turn_end(struct coll *coll)
{
    struct coll_service *service = coll->service;
    pthread_mutex_lock(&service->lock);
    coll->shooting = false;
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
}

static enum status make_one(struct coll *coll, struct err *err)
{
    struct shot shot = { .coll = coll };
    struct write begin = {
        .kind = WRITE_CALL, .call = begin_call, .ctx = &shot, .needs_epoch = true
    };
    shot.vector = mem_alloc(coll->spec.dimension * sizeof *shot.vector);
    if (shot.vector == NULL) {
        return err_no_memory(err);
    }
    buf_init(&shot.step, 0);
    buf_init(&shot.chunk, 0);
    buf_init(&shot.slots, SIZE_MAX);
    enum status status = named_take(&shot, err);
    status = status == OK ? write_run(coll, &begin, err) : status;
    if (status == OK) {
        shot.ref.name = snap_name(shot.name, shot.ref.sequence, shot.ref.tag);
        status = write_all(&shot, err);
        if (status == OK) {
            status = publish(&shot, err);
        } else {
            forget(&shot);
        }
        end_walk(&shot);
    }
    buf_done(&shot.step);
    buf_done(&shot.chunk);
    buf_done(&shot.slots);
    snap_list_done(&shot.list);
    mem_free(shot.clean);
    mem_free(shot.vector);
    return status;
}

uint64_t snapshot_cost(struct body *body)
{
    struct vec_stats stats;
    uint64_t rows = 0, end = 0;
    vec_stats(body->vec, &stats);
    pthread_rwlock_rdlock(&body->lock);
    const struct ids *ids = &body->ids;
    uint32_t part = body->base.count > 0 ? body->base.part_rows : IDS_CHUNK;
    for (uint64_t row = 0; row < ids->row_count; row += IDS_CHUNK) {
        if (row >= end &&
            (body->base.count == 0 || ids->rows[row / IDS_CHUNK]->changed > body->base_sequence)) {
            end = row / part * part + part;
            rows += part;
        }
    }
    bool reuse = graph_lasts(body);
    pthread_rwlock_unlock(&body->lock);
    /* a graph is as large as the rows are, and larger where these are short: it counts less */
    return rows * body->spec.dimension * sizeof(float) + (reuse ? 0 : stats.memory_bytes / 4);
}

enum status snapshot_make(struct coll *coll, struct err *err)
{
    turn_begin(coll);
    enum status status = make_one(coll, err);
    turn_end(coll);
    return status;
}
