/*
 * A snapshot: all items at exactly one log position, written while writes and searches go on.
 *
 * The walk begins while nobody changes anything: that moment is its position. Then it goes through
 * the rows in steps. An item that came later has a higher number and is passed by; one that is
 * about to change before the walk has come to it is saved first by who changes it (body.c). Exact
 * vectors are read from slots that the snapshot's pin keeps from being used again.
 *
 * One at a time of an index: the marks in the rows are one walk's, and the older of two would find
 * its folder swept by the newer one.
 *
 * The pointer is swapped when all chunks are durable. Then what is of no use any more goes: the old
 * snapshot, and log objects up to the position, oldest first.
 *
 * Log objects up to the one that our epoch began with stay for a while: a writer that lost its
 * epoch may have sent one that is still under way, and must find its place taken.
 */
#include <stdio.h>

#include "base/mem.h"
#include "collection/graph.h"
#include "collection/write.h"

enum {
    CHUNK_BYTES = 16 << 20,
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
    uint64_t number_end;
    char name[48];
    struct buf step;  /* ids and metadata of some rows */
    struct buf chunk; /* an object to be */
    uint32_t chunk_count;
    float *vector;
    struct vec_snapshot *graph; /* NULL: nothing is linked, or there was no memory */
    struct buf slots;           /* of the items, in the order they were written */
};

/* --- the beginning --- */

static enum status begin_call(struct coll *coll, struct body *body, void *ctx, struct err *err)
{
    struct shot *shot = ctx;
    struct vec_stats stats;
    TRY(body_scratch_take(body, &shot->scratch, err));
    vec_pin(body->vec, shot->scratch);
    vec_stats(body->vec, &stats);
    /* a ghost is in the graph, but no item */
    if (stats.linked > 0 && stats.count == atomic_load(&body->length) &&
        vec_snapshot_take(body->vec, &shot->graph, err) != OK) {
        shot->graph = NULL; /* it is made up when the snapshot is loaded */
    }
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

static void end_walk(struct shot *shot)
{
    struct body *body = shot->body;
    pthread_rwlock_wrlock(&body->lock);
    body->walk = NULL;
    for (uint32_t row = shot->walk.row; row < body->ids.row_count; row++) {
        ids_row(&body->ids, row)->saved = false; /* nothing is left where all went well */
    }
    pthread_rwlock_unlock(&body->lock);
    for (struct body_before *next = shot->walk.saved; next != NULL;) {
        struct body_before *before = next;
        next = before->next;
        mem_free(before);
    }
    vec_snapshot_free(shot->graph);
    vec_unpin(shot->scratch);
    body_scratch_give(body, shot->scratch);
    coll_body_unref(shot->coll->service, body);
}

/* --- chunks --- */

static enum status put_chunk(struct shot *shot, struct err *err)
{
    char room[LOG_KEY_MAX];
    struct record_head head = { .object = RECORD_SNAPSHOT,
                                .epoch = shot->coll->epoch,
                                .sequence = shot->ref.chunks,
                                .tag = shot->ref.tag,
                                .length = shot->ref.items - shot->chunk_count,
                                .count = shot->chunk_count,
                                .dimension = shot->coll->spec.dimension };
    log_uuid(str_of(shot->coll->uuid), head.uuid);
    record_finish(&shot->chunk, &head);
    struct str key = log_chunk_key(room, str_of(shot->coll->uuid), shot->ref.name,
                                   shot->ref.chunks);
    /* Nobody else writes under this name: an answer that was lost does no harm. */
    enum status status = E_UPSTREAM;
    for (int i = 0; i < 3 && (status == E_UPSTREAM || status == E_TIMEOUT); i++) {
        status = store_put(shot->coll->service->store, key, buf_str(&shot->chunk),
                           &(struct store_cond){ .opaque_etag = true }, NULL, err);
    }
    TRY(status);
    shot->ref.chunks++;
    shot->ref.bytes += shot->chunk.len;
    shot->chunk_count = 0;
    return record_begin(&shot->chunk) == OK ? OK : err_no_memory(err);
}

static enum status add_item(struct shot *shot, struct str id, struct str metadata, uint64_t number,
                            uint32_t slot, struct err *err)
{
    TRY(floats_read(&shot->body->floats, slot, shot->vector, err));
    const struct record record = { .kind = RECORD_PUT,
                                   .number = number,
                                   .id = id,
                                   .has_vector = true,
                                   .vector = shot->vector,
                                   .has_metadata = !str_eq(metadata, STR("{}")),
                                   .metadata = metadata };
    if (record_append(&shot->chunk, &record, shot->coll->spec.dimension) != OK ||
        buf_append_bytes(&shot->slots, &slot, sizeof slot) != OK) {
        return err_no_memory(err);
    }
    shot->chunk_count++;
    shot->ref.items++;
    return shot->chunk.len >= CHUNK_BYTES ? put_chunk(shot, err) : OK;
}

/* --- the walk --- */

struct step_item {
    uint64_t number;
    uint32_t slot, metadata_len;
    uint16_t id_len;
};

/** Guarded by the body's lock. */
static enum status step_append(struct shot *shot, const struct ids_row *row)
{
    struct str metadata = meta_get(shot->body->meta, row->slot);
    const struct step_item item = { .number = row->number,
                                    .slot = row->slot,
                                    .metadata_len = (uint32_t)metadata.len,
                                    .id_len = row->id_len };
    TRY(buf_append_bytes(&shot->step, &item, sizeof item));
    TRY(buf_append(&shot->step, ids_id(row)));
    return buf_append(&shot->step, metadata);
}

/** Copy what some rows are; *more_out: there are others. Under the lock for writing: marks go. */
static enum status copy_step(struct shot *shot, bool *more_out, struct err *err)
{
    struct body *body = shot->body;
    enum status status = OK;
    buf_clear(&shot->step);
    pthread_rwlock_wrlock(&body->lock);
    struct body_walk *walk = &shot->walk;
    for (uint32_t i = 0; status == OK && i < STEP_ROWS && walk->row < body->ids.row_count &&
                         shot->step.len < STEP_BYTES;
         i++) {
        struct ids_row *row = ids_row(&body->ids, walk->row);
        if (row->live && !row->saved && row->number < walk->number_end) {
            status = step_append(shot, row);
        }
        row->saved = false;
        walk->row += status == OK;
    }
    *more_out = walk->row < body->ids.row_count;
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
        TRY(add_item(shot, id, metadata, item.number, item.slot, err));
    }
    return OK;
}

/** What was saved by those who changed it; nobody adds to it any more. */
static enum status write_saved(struct shot *shot, struct err *err)
{
    pthread_rwlock_rdlock(&shot->body->lock);
    const struct body_before *before = shot->walk.saved;
    pthread_rwlock_unlock(&shot->body->lock);
    for (; before != NULL; before = before->next) {
        TRY(add_item(shot, str_from(before->bytes, before->id_len),
                     str_from(before->bytes + before->id_len, before->metadata_len), before->number,
                     before->slot, err));
    }
    return OK;
}

static enum status write_all(struct shot *shot, struct err *err)
{
    if (record_begin(&shot->chunk) != OK) {
        return err_no_memory(err);
    }
    bool more = true;
    while (more) {
        TRY(copy_step(shot, &more, err));
        TRY(write_step(shot, err));
    }
    TRY(write_saved(shot, err));
    TRY(shot->chunk_count > 0 ? put_chunk(shot, err) : OK);
    if (shot->graph == NULL) {
        return OK;
    }
    enum status status = graph_write(shot->coll, &shot->ref, shot->graph, &shot->slots,
                                     &shot->ref.graph_chunks, err);
    return status == E_NO_MEMORY ? OK : status; /* the library's copies: done without */
}

/* --- the pointer --- */

static enum status sweep_snapshot(struct coll *coll, struct str name, struct err *err)
{
    char room[LOG_KEY_MAX];
    struct str key = log_chunk_key(room, str_of(coll->uuid), name, 0);
    return log_sweep(coll->service->store, str_take(key, key.len - 6), err);
}

/** Those of an earlier position than the pointer's, whoever left them: none of them can be named
 * any more. */
static enum status sweep_older(struct coll *coll, uint64_t sequence, struct err *err)
{
    char room[LOG_KEY_MAX];
    struct arena arena;
    struct store_list list = { 0 };
    struct str folder = log_chunk_key(room, str_of(coll->uuid), STR_EMPTY, 0);
    const struct store_list_opts opts = { .prefix = str_take(folder, folder.len - 7),
                                          .delimiter = STR("/") };
    arena_init(&arena, 0);
    enum status status = store_list(coll->service->store, &opts, &arena, &list, err);
    for (size_t i = 0; status == OK && i < list.prefix_count; i++) {
        uint64_t of = 0;
        struct str name = str_skip(list.prefixes[i], opts.prefix.len);
        if (str_to_u64(str_take(name, 20), &of) && of < sequence) {
            status = log_sweep(coll->service->store, list.prefixes[i], err);
        }
    }
    arena_done(&arena);
    return status;
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
    struct coll_pointer next = *base;
    next.snapshot = shot->ref;
    next.first_log = shot->ref.sequence + 1;
    TRY(coll_pointer_swap(service->store, base, arena, &next, err));
    pthread_mutex_lock(&service->lock);
    memcpy(coll->etag, next.etag, sizeof next.etag);
    pthread_mutex_unlock(&service->lock);
    return OK;
}

/** The pointer names ours: the old state may go. What stays goes the next time. */
static void trim(struct shot *shot, const struct coll_pointer *base)
{
    struct coll *coll = shot->coll;
    struct err err;
    enum status status = OK;
    if (base->snapshot.name.len > 0) {
        status = sweep_snapshot(coll, base->snapshot.name, &err);
    }
    status = status == OK ? sweep_older(coll, shot->ref.sequence, &err) : status;
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
    struct err err;
    enum status status = sweep_snapshot(shot->coll, shot->ref.name, &err);
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
    } else if (status != E_UPSTREAM) { /* unknown: it may be named */
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
    enum status status = write_run(coll, &begin, err);
    if (status == OK) {
        int len = snprintf(shot.name, sizeof shot.name, "%020llu-%016llx",
                           (unsigned long long)shot.ref.sequence, (unsigned long long)shot.ref.tag);
        shot.ref.name = str_from(shot.name, (size_t)len);
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
    mem_free(shot.vector);
    return status;
}

enum status snapshot_make(struct coll *coll, struct err *err)
{
    turn_begin(coll);
    enum status status = make_one(coll, err);
    turn_end(coll);
    return status;
}
