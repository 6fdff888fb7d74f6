/*
 * Invariants, outside the lock:
 *   - each live row's slot holds its vector, its exact floats and its metadata;
 *   - a slot that no row has, or that is marked retired, is not an item: it is about to become one,
 *     or to be deleted (a ghost).
 * Everything that can fail is done before the one step, under the lock, that makes it so.
 */
#include "collection/body.h"

#include "base/mem.h"

/* --- life --- */

static void lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr; /* else searches that overlap would keep the writer out for ever */
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
}

enum status body_new(const struct coll_spec *spec, struct spool *spool, struct body **out,
                     struct err *err)
{
    struct body *body = mem_zalloc(sizeof *body);
    if (body == NULL) {
        return err_no_memory(err);
    }
    body->spec = *spec;
    body->spec.name = STR_EMPTY;
    lock_init(&body->lock);
    pthread_mutex_init(&body->scratch_lock, NULL);
    ids_init(&body->ids);
    floats_init(&body->floats, spool, spec->dimension);
    body->refs = 1;
    const struct vec_opts opts = { .dimension = spec->dimension,
                                   .metric = spec->metric,
                                   .m = spec->m,
                                   .ef_construction = spec->ef_construction,
                                   .graph_min = BODY_GRAPH_MIN };
    enum status status = vec_new(&opts, &body->vec, err);
    status = status == OK ? meta_new(&body->meta, err) : status;
    if (status != OK) {
        body_free(body);
        return status;
    }
    *out = body;
    return OK;
}

void body_free(struct body *body)
{
    if (body == NULL) {
        return;
    }
    for (uint32_t i = 0; i < body->scratch_count; i++) {
        vec_scratch_free(body->scratches[i]);
    }
    vec_free(body->vec);
    meta_free(body->meta);
    ids_done(&body->ids);
    floats_done(&body->floats);
    snap_list_done(&body->base);
    body_stored_end(&body->stored);
    body_stored_end(&body->stored_next);
    pthread_mutex_destroy(&body->scratch_lock);
    pthread_rwlock_destroy(&body->lock);
    mem_free(body);
}

enum status body_scratch_take(struct body *body, struct vec_scratch **out, struct err *err)
{
    struct vec_scratch *scratch = NULL;
    pthread_mutex_lock(&body->scratch_lock);
    if (body->scratch_count > 0) {
        scratch = body->scratches[--body->scratch_count];
    }
    pthread_mutex_unlock(&body->scratch_lock);
    if (scratch == NULL) {
        TRY(vec_scratch_new(body->vec, &scratch, err));
    }
    *out = scratch;
    return OK;
}

void body_scratch_give(struct body *body, struct vec_scratch *scratch)
{
    pthread_mutex_lock(&body->scratch_lock);
    bool kept = scratch != NULL && body->scratch_count < BODY_SCRATCHES;
    if (kept) {
        body->scratches[body->scratch_count++] = scratch;
    }
    pthread_mutex_unlock(&body->scratch_lock);
    if (!kept) {
        vec_scratch_free(scratch);
    }
}

uint64_t body_measure(struct body *body)
{
    struct vec_stats graph;
    struct meta_stats meta;
    vec_stats(body->vec, &graph);
    pthread_rwlock_rdlock(&body->lock);
    meta_stats(body->meta, &meta);
    uint64_t bytes = sizeof *body + graph.memory_bytes + body->ids.bytes + meta.metadata_bytes +
                     meta.index_bytes;
    pthread_rwlock_unlock(&body->lock);
    atomic_store_explicit(&body->memory_bytes, bytes, memory_order_relaxed);
    return bytes;
}

/* --- what is stored as it is --- */

bool body_stored_begin(struct body *body, struct body_stored *stored)
{
    struct vec_stats stats;
    body_stored_end(stored);
    vec_stats(body->vec, &stats);
    size_t bytes = (stats.slots / 64 + 1) * sizeof *stored->slots;
    stored->slots = mem_alloc(bytes);
    if (stored->slots != NULL) {
        memset(stored->slots, 0xff, bytes);
        stored->slot_count = stats.slots;
    }
    return stored->slots != NULL;
}

void body_stored_end(struct body_stored *stored)
{
    mem_free(stored->slots);
    *stored = (struct body_stored){ 0 };
}

bool body_stored_has(const struct body_stored *stored, uint32_t slot)
{
    return slot < stored->slot_count && (stored->slots[slot / 64] >> slot % 64 & 1) != 0;
}

static void stored_put(struct body_stored *stored, uint32_t slot)
{
    stored->changes++;
    if (slot < stored->slot_count) {
        stored->slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
    }
}

/* --- what a snapshot must still see --- */

/** Guarded by lock, for writing. The item is about to change: the next snapshot writes its part
 * anew, and one that is made now may want what it was. */
static void will_change(struct body *body, uint32_t row)
{
    struct body_walk *walk = body->walk;
    struct ids_row *r = ids_row(&body->ids, row);
    struct ids_rows *chunk = body->ids.rows[row / IDS_CHUNK];
    chunk->changed = body->sequence + 1; /* of the object that is being applied */
    if (walk == NULL || row < walk->row || r->number >= walk->number_end || r->saved) {
        return;
    }
    struct str metadata = meta_get(body->meta, r->slot);
    struct body_before *before = mem_alloc(sizeof *before + r->id_len + metadata.len);
    if (before == NULL) {
        walk->failed = true; /* it begins again another time */
        return;
    }
    *before = (struct body_before){ .number = r->number,
                                    .row = row,
                                    .slot = r->slot,
                                    .id_len = r->id_len,
                                    .metadata_len = (uint32_t)metadata.len,
                                    .next = chunk->saved };
    memcpy(before->bytes, r->id, r->id_len);
    memcpy(before->bytes + r->id_len, metadata.ptr, metadata.len);
    chunk->saved = before;
    r->saved = true;
}

/* --- changes --- */

static enum status own_begin(struct body *body, struct err *err)
{
    return body_scratch_take(body, &body->own, err);
}

static void own_end(struct body *body)
{
    body_scratch_give(body, body->own);
    body->own = NULL;
}

/** Take a vector out that is no item any more. Without memory it is tried again later; meanwhile
 * searches that meet it find nobody. */
static void slot_delete(struct body *body, uint32_t slot)
{
    struct err err;
    pthread_rwlock_wrlock(&body->lock);
    body->stored.changes++;
    body->stored_next.changes++;
    pthread_rwlock_unlock(&body->lock);
    if (vec_delete(body->vec, body->own, slot, &err) == OK) {
        return;
    }
    pthread_rwlock_wrlock(&body->lock);
    ids_forget_slot(&body->ids, slot);
    pthread_rwlock_unlock(&body->lock);
    if (body->ghost_count < BODY_GHOSTS) {
        body->ghosts[body->ghost_count++] = slot;
    }
}

static void ghosts_delete(struct body *body)
{
    struct err err;
    while (body->ghost_count > 0 &&
           vec_delete(body->vec, body->own, body->ghosts[body->ghost_count - 1], &err) !=
               E_NO_MEMORY) {
        body->ghost_count--;
    }
}

/** Guarded by lock, for writing. The vector in `slot` becomes the item's; all or nothing. */
static enum status put_locked(struct body *body, const struct record *record, uint64_t number,
                              uint32_t slot, uint32_t *old_out, struct err *err)
{
    if (ids_reserve(&body->ids, slot) != OK) {
        return err_no_memory(err);
    }
    uint32_t row = ids_find(&body->ids, record->id);
    *old_out = IDS_NONE;
    if (row == IDS_NONE) {
        TRY(record->has_metadata ? meta_set(body->meta, slot, record->metadata, err)
                                 : meta_add(body->meta, slot, err));
        if (ids_insert(&body->ids, record->id, number, slot, &row) != OK) {
            meta_remove(body->meta, slot);
            return err_no_memory(err);
        }
        body->ids.rows[row / IDS_CHUNK]->changed = body->sequence + 1;
        return OK;
    }
    uint32_t old = ids_row(&body->ids, row)->slot;
    will_change(body, row);
    if (record->has_metadata) {
        TRY(meta_set(body->meta, slot, record->metadata, err));
        meta_remove(body->meta, old);
    } else {
        TRY(meta_move(body->meta, old, slot, err));
    }
    /* release: what the search sees next was there before */
    uint64_t stamp = atomic_fetch_add_explicit(&body->stamp, 1, memory_order_release) + 1;
    ids_move(&body->ids, row, slot, stamp);
    *old_out = old;
    return OK;
}

static enum status put(struct body *body, const struct record *record, uint64_t number,
                       struct err *err)
{
    uint32_t slot = 0, old = IDS_NONE;
    TRY(vec_add(body->vec, record->vector, &slot, err));
    enum status status = floats_write(&body->floats, slot, record->vector, err);
    if (status == OK) {
        pthread_rwlock_wrlock(&body->lock);
        stored_put(&body->stored, slot);
        stored_put(&body->stored_next, slot);
        status = put_locked(body, record, number, slot, &old, err);
        atomic_store_explicit(&body->length, body->ids.live, memory_order_relaxed);
        pthread_rwlock_unlock(&body->lock);
    }
    if (status != OK) {
        slot_delete(body, slot);
        return status;
    }
    if (old != IDS_NONE) {
        slot_delete(body, old);
    }
    return OK;
}

static void delete (struct body *body, struct str id)
{
    uint32_t slot = IDS_NONE;
    pthread_rwlock_wrlock(&body->lock);
    uint32_t row = ids_find(&body->ids, id);
    if (row != IDS_NONE) {
        will_change(body, row);
        slot = ids_row(&body->ids, row)->slot;
        meta_remove(body->meta, slot);
        ids_remove(&body->ids, row);
        atomic_store_explicit(&body->length, body->ids.live, memory_order_relaxed);
    }
    pthread_rwlock_unlock(&body->lock);
    if (slot != IDS_NONE) {
        slot_delete(body, slot);
    }
}

static enum status patch(struct body *body, const struct record *record, struct err *err)
{
    enum status status = OK;
    pthread_rwlock_wrlock(&body->lock);
    uint32_t row = ids_find(&body->ids, record->id);
    if (row != IDS_NONE) {
        will_change(body, row);
        status = meta_set(body->meta, ids_row(&body->ids, row)->slot, record->metadata, err);
    }
    pthread_rwlock_unlock(&body->lock);
    return status;
}

/* --- objects --- */

bool body_clears(struct str bytes, const struct record_head *head)
{
    struct record record;
    size_t at = RECORD_HEAD_BYTES;
    return head->count == 1 && record_next(bytes, head->dimension, &at, &record) &&
           record.kind == RECORD_CLEAR;
}

enum status body_cleared(const struct body *from, struct body **out, struct err *err)
{
    struct body *body = NULL;
    TRY(body_new(&from->spec, from->floats.spool, &body, err));
    body->sequence = from->sequence;
    body->epoch = from->epoch;
    body->next_number = from->next_number;
    atomic_init(&body->tail_objects,
                atomic_load_explicit(&from->tail_objects, memory_order_relaxed));
    atomic_init(&body->tail_bytes, atomic_load_explicit(&from->tail_bytes, memory_order_relaxed));
    *out = body;
    return OK;
}

/** Numbers are given in the order of the log, so that every reading of it gives the same. */
static enum status put_next(struct body *body, const struct record *record, struct err *err)
{
    pthread_rwlock_rdlock(&body->lock);
    bool new = ids_find(&body->ids, record->id) == IDS_NONE;
    pthread_rwlock_unlock(&body->lock);
    TRY(put(body, record, body->next_number, err));
    body->next_number += new;
    return OK;
}

static enum status apply_record(struct body *body, const struct record *record, struct err *err)
{
    switch (record->kind) {
    case RECORD_PUT:
        return put_next(body, record, err);
    case RECORD_DELETE:
        delete (body, record->id);
        return OK;
    case RECORD_META:
        return patch(body, record, err);
    case RECORD_CLEAR:
        break;
    }
    return err_set(err, E_CORRUPT, "a log object empties the index beside other changes");
}

bool body_look(struct body *body)
{
    struct vec_stats stats;
    vec_stats(body->vec, &stats);
    uint64_t scanned = stats.count > stats.linked ? stats.count - stats.linked : 0;
    atomic_store_explicit(&body->scanned, scanned, memory_order_relaxed);
    return stats.slots >= BODY_GRAPH_MIN;
}

/** Small indexes have no graph, and nothing that wants to be done behind. */
static void mark_behind(struct body *body)
{
    if (body_look(body)) {
        atomic_store_explicit(&body->behind, true, memory_order_release);
    }
}

enum status body_apply(struct body *body, struct str bytes, const struct record_head *head,
                       struct err *err)
{
    if (head->dimension != body->spec.dimension) {
        return err_set(err, E_CORRUPT, "a log object has vectors of %u dimensions, the index of %u",
                       head->dimension, body->spec.dimension);
    }
    TRY(own_begin(body, err));
    ghosts_delete(body);
    struct record record;
    enum status status = OK;
    size_t at = body->resume > 0 ? body->resume : RECORD_HEAD_BYTES;
    body->resume = at;
    while (status == OK && record_next(bytes, head->dimension, &at, &record)) {
        status = apply_record(body, &record, err);
        body->resume = status == OK ? at : body->resume;
    }
    own_end(body);
    TRY(status);
    body->resume = 0;
    body->sequence = head->sequence;
    body->epoch = head->epoch;
    atomic_fetch_add_explicit(&body->tail_objects, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&body->tail_bytes, bytes.len, memory_order_relaxed);
    mark_behind(body);
    return OK;
}

enum status body_load(struct body *body, const struct record *record, struct err *err)
{
    TRY(own_begin(body, err));
    enum status status = put(body, record, record->number, err);
    own_end(body);
    TRY(status);
    mark_behind(body);
    return OK;
}

enum status body_load_at(struct body *body, const struct record *record, uint32_t slot,
                         struct err *err)
{
    uint64_t retired = 0;
    uint32_t old = IDS_NONE;
    if (ids_at_slot(&body->ids, slot, &retired) != IDS_NONE ||
        ids_find(&body->ids, record->id) != IDS_NONE) {
        return err_set(err, E_CORRUPT, "two items of the snapshot are one");
    }
    TRY(floats_write(&body->floats, slot, record->vector, err));
    pthread_rwlock_wrlock(&body->lock);
    enum status status = put_locked(body, record, record->number, slot, &old, err);
    atomic_store_explicit(&body->length, body->ids.live, memory_order_relaxed);
    pthread_rwlock_unlock(&body->lock);
    return status;
}

enum status body_load_end(struct body *body, struct err *err)
{
    struct vec_stats stats;
    uint64_t retired = 0;
    vec_stats(body->vec, &stats);
    TRY(stats.count > body->ids.live ? own_begin(body, err) : OK);
    enum status status = OK;
    for (uint64_t slot = 0; status == OK && body->own != NULL && slot < stats.slots; slot++) {
        if (ids_at_slot(&body->ids, (uint32_t)slot, &retired) == IDS_NONE) {
            status = vec_delete(body->vec, body->own, (uint32_t)slot, err);
            body->stored.changes += status == OK;
            status = status == E_NOT_FOUND ? OK : status; /* it is free */
        }
    }
    if (body->own != NULL) {
        own_end(body);
    }
    TRY(status);
    vec_stats(body->vec, &stats);
    return stats.count == body->ids.live
               ? OK
               : err_set(err, E_CORRUPT, "the graph has %llu vectors, the snapshot %llu items",
                         (unsigned long long)stats.count, (unsigned long long)body->ids.live);
}

/* --- without gaps --- */

bool body_has_gaps(struct body *body)
{
    struct vec_stats stats;
    vec_stats(body->vec, &stats);
    pthread_rwlock_rdlock(&body->lock);
    bool rows = body->ids.row_count > body->ids.live;
    pthread_rwlock_unlock(&body->lock);
    return rows || stats.slots > stats.count;
}

static enum status pack_all(struct body *from, struct body *to, float *vector, struct err *err)
{
    for (uint32_t i = 0; i < from->ids.row_count; i++) {
        const struct ids_row *row = ids_row(&from->ids, i);
        if (!row->live) {
            continue;
        }
        struct str metadata = meta_get(from->meta, row->slot);
        TRY(floats_read(&from->floats, row->slot, vector, err));
        TRY(body_load(to,
                      &(struct record){ .kind = RECORD_PUT,
                                        .number = row->number,
                                        .id = ids_id(row),
                                        .has_vector = true,
                                        .vector = vector,
                                        .has_metadata = !str_eq(metadata, STR("{}")),
                                        .metadata = metadata },
                      err));
    }
    return body_load_end(to, err);
}

enum status body_packed(struct body *from, struct body **out, struct err *err)
{
    struct body *to = NULL;
    TRY(body_cleared(from, &to, err));
    float *vector = mem_alloc(from->spec.dimension * sizeof *vector);
    to->sequence -= to->sequence > 0; /* rows say that the last object changed them, not the next */
    enum status status = vector != NULL ? pack_all(from, to, vector, err) : err_no_memory(err);
    to->sequence = from->sequence;
    mem_free(vector);
    if (status != OK) {
        body_free(to);
        return status;
    }
    *out = to;
    return OK;
}

void body_adopt(struct body *body, struct vec_index *vec)
{
    assert(body->scratch_count == 0 && body->own == NULL);
    vec_free(body->vec);
    body->vec = vec;
    (void)body_stored_begin(body, &body->stored); /* else it is stored anew the next time */
    (void)body_look(body);
    atomic_store_explicit(&body->behind, true, memory_order_relaxed);
}
