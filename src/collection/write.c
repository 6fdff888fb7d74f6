/*
 * Leader and followers, as the catalogue's group commit: the first write to an idle index leads. It
 * takes those that wait and fit into one object, writes it, applies it, and wakes them; then the
 * longest waiting one leads. A write that is taken stays to the end.
 *
 * An object whose fate is unknown stays `pending`, with its bytes: before anything else is written
 * the same bytes are offered again, until it is known to be there (and is applied then, although
 * its writers were told that nobody knows) or another writer's is in its place. One that is there
 * and could not be applied for want of memory is pending too.
 *
 * The epoch. Whoever writes first raises it in the pointer and writes an empty log object under it.
 * From then on nobody of an older epoch can create the next sequence, so he learns of it before he
 * acknowledges anything. But objects are trimmed, and then their places are free again: an object
 * that was created is believed only when the pointer had our epoch less than LATE_MS before, or has
 * it still. So a writer that was idle, or stopped, while another came and went finds out.
 */
#include "collection/write.h"

#include "base/mem.h"

enum {
    GROUP_MAX = 256,
    GROUP_BYTES = 8 << 20, /* from here on an object takes no further write */
    EPOCH_TRIES = 8,
    /* two that both write change places no oftener than this; chosen, not measured */
    SILENCE_MS = 5 * 1000,
    LATE_MS = 30 * 1000, /* see snapshot.c: it leaves old log objects for twice as long */
};

/* --- the queue --- */

/** Guarded by the queue's lock. */
static struct write *pop(struct coll *coll)
{
    struct write *write = coll->first;
    coll->first = write->next;
    coll->last = coll->first == NULL ? NULL : coll->last;
    write->next = NULL;
    return write;
}

static bool goes_alone(const struct write *write)
{
    return write->kind >= WRITE_DELETE_FILTER ||
           (write->kind == WRITE_ADD && write->mode != COLL_UPSERT);
}

/** Guarded by the queue's lock. */
static size_t take(struct coll *coll, struct write **taken)
{
    size_t count = 0;
    while (coll->first != NULL && count < GROUP_MAX) {
        if (count > 0 && (goes_alone(coll->first) || goes_alone(taken[0]))) {
            break;
        }
        taken[count++] = pop(coll);
        taken[count - 1]->taken = true;
    }
    return count;
}

/** Guarded by the queue's lock. Those that did not fit come first again. */
static void put_back(struct coll *coll, struct write **writes, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        writes[i - 1]->taken = false;
        writes[i - 1]->next = coll->first;
        coll->first = writes[i - 1];
        coll->last = coll->last == NULL ? writes[i - 1] : coll->last;
    }
}

static void run_group(struct coll *coll, struct write **writes, size_t count, size_t *done_out);

/** Guarded by the queue's lock, which is released while the group runs. */
static void lead(struct coll *coll)
{
    struct write *taken[GROUP_MAX];
    size_t count = take(coll, taken), done = 0;
    assert(count > 0); /* at least the one that leads */
    pthread_mutex_unlock(&coll->lock);
    run_group(coll, taken, count, &done);
    pthread_mutex_lock(&coll->lock);
    put_back(coll, taken + done, count - done);
    for (size_t i = 0; i < done; i++) {
        taken[i]->finished = true;
        pthread_cond_signal(&taken[i]->wake);
    }
    coll->busy = coll->first != NULL;
    if (coll->first != NULL) {
        coll->first->leads = true;
        pthread_cond_signal(&coll->first->wake);
    }
}

enum status write_run(struct coll *coll, struct write *write, struct err *err)
{
    pthread_cond_init(&write->wake, NULL);
    pthread_mutex_lock(&coll->lock);
    if (coll->last != NULL) {
        coll->last->next = write;
    } else {
        coll->first = write;
    }
    coll->last = write;
    write->leads = !coll->busy;
    coll->busy = true;
    while (!write->finished) {
        if (write->leads) {
            write->leads = false;
            lead(coll);
        } else {
            pthread_cond_wait(&write->wake, &coll->lock);
        }
    }
    pthread_mutex_unlock(&coll->lock);
    pthread_cond_destroy(&write->wake);
    if (write->status != OK && err != NULL) {
        *err = write->err;
    }
    return write->status;
}

/* --- the epoch --- */

void write_fenced(struct coll *coll)
{
    if (!coll->fenced) {
        metric_add(coll->service->metrics.fenced, 1);
        coll->fenced = true;
        coll->quiet_ms = clock_mono_ms(coll->service->clock);
        coll->quiet_sequence = coll->body->sequence;
    }
    atomic_store_explicit(&coll->writable, false, memory_order_release);
}

static enum status conflict(struct coll *coll, struct err *err)
{
    write_fenced(coll);
    return err_set(err, E_CONFLICT, "another process writes index \"%s\" now", coll->name);
}

/** The writer's role may be taken back from a process that does not use it. OK: it has written
 * nothing for a while. */
static enum status wait_for_silence(struct coll *coll, struct err *err)
{
    struct body *next = coll->body;
    int64_t now = clock_mono_ms(coll->service->clock);
    enum status status = recover_tail(coll, &next, err);
    if (next != coll->body) {
        coll_body_set(coll, next);
    }
    bool behind = status == E_NOT_FOUND || status == E_CORRUPT; /* care.c reads it all anew */
    if (status != OK && !behind) {
        return status;
    }
    if (behind || coll->body->sequence != coll->quiet_sequence) {
        coll->quiet_sequence = coll->body->sequence;
        coll->quiet_ms = now;
    }
    if (now - coll->quiet_ms < SILENCE_MS) {
        return err_set(err, E_CONFLICT,
                       "another process writes index \"%s\" now; this one may when that has "
                       "written nothing for %d s",
                       coll->name, SILENCE_MS / 1000);
    }
    return OK;
}

/** Apply an object to the index's body; what empties it makes a new one. */
static enum status apply(struct coll *coll, struct str bytes, const struct record_head *head,
                         struct err *err)
{
    struct body *body = coll->body;
    enum status status = recover_apply(&body, bytes, head, err);
    if (body != coll->body) {
        coll_body_set(coll, body);
    }
    return status;
}

/** Somebody's object is where ours should be: apply it, unless it is of a later epoch. */
static enum status take_others(struct coll *coll, uint64_t epoch, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 0);
    struct record_head head;
    enum status status = log_get(coll->service->store, str_of(coll->uuid), coll->body->sequence + 1,
                                 &bytes, &head, err);
    if (status == E_NOT_FOUND) { /* trimmed since: the index is there */
        return err_set(err, E_UNAVAILABLE, "index \"%s\" is written elsewhere", coll->name);
    }
    TRY(status);
    if (head.epoch > epoch) {
        return conflict(coll, err);
    }
    return apply(coll, buf_str(&bytes), &head, err);
}

static void head_set(const struct coll *coll, struct record_head *head, uint64_t epoch)
{
    *head = (struct record_head){ .object = RECORD_LOG,
                                  .epoch = epoch,
                                  .sequence = coll->body->sequence + 1,
                                  .tag = random_u64(),
                                  .dimension = coll->spec.dimension };
    log_uuid(str_of(coll->uuid), head->uuid);
}

/** The empty object that an epoch begins with. */
static enum status write_fence(struct coll *coll, uint64_t epoch, struct err *err)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 4096);
    enum status status = E_EXISTS;
    while (status == E_EXISTS) {
        struct record_head head;
        head_set(coll, &head, epoch);
        head.length = atomic_load_explicit(&coll->body->length, memory_order_relaxed);
        if (record_begin(&bytes) != OK) {
            return err_no_memory(err);
        }
        record_finish(&bytes, &head);
        status = log_put(coll->service->store, str_of(coll->uuid), head.sequence, buf_str(&bytes),
                         err);
        if (status == E_EXISTS) {
            TRY(take_others(coll, epoch, err));
        } else if (status == OK) {
            status = apply(coll, buf_str(&bytes), &head, err);
            coll->fence = head.sequence;
        }
    }
    return status;
}

/** One more in the pointer. E_PRECONDITION: somebody else changed it. */
static enum status raise_epoch(struct coll *coll, uint64_t *epoch_out, struct err *err)
{
    struct coll_service *service = coll->service;
    struct coll_pointer base = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = coll_pointer_read(service->store, str_of(coll->name), &arena, &base, err);
    if (status == OK && (base.dropped || base.kind != COLL_POINTER_INDEX ||
                         !str_eq(base.uuid, str_of(coll->uuid)))) {
        status = err_set(err, E_NOT_FOUND, "index \"%s\" was dropped", coll->name);
    }
    if (status == OK && base.first_log > coll->body->sequence + 1) {
        pthread_mutex_lock(&service->lock);
        coll->stale = true;
        pthread_mutex_unlock(&service->lock);
        status = err_set(err, E_UNAVAILABLE,
                         "index \"%s\" was written elsewhere and must be opened anew", coll->name);
        care_wake(service, CARE_KEEP);
    }
    if (status == OK) {
        struct coll_pointer next = base;
        next.epoch++;
        status = coll_pointer_swap(service->store, &base, &arena, &next, err);
        if (status == OK) {
            *epoch_out = next.epoch;
            pthread_mutex_lock(&service->lock);
            memcpy(coll->etag, next.etag, sizeof next.etag);
            coll->own_epoch = next.epoch;
            pthread_mutex_unlock(&service->lock);
        }
    }
    arena_done(&arena);
    return status;
}

static enum status ensure_writable(struct coll *coll, struct err *err)
{
    if (coll->service->opts.read_only) {
        return err_set(err, E_CONFLICT, "this process reads only");
    }
    pthread_mutex_lock(&coll->service->lock);
    bool dropped = coll->dropped;
    pthread_mutex_unlock(&coll->service->lock);
    if (dropped) {
        return err_set(err, E_NOT_FOUND, "index \"%s\" was dropped", coll->name);
    }
    if (coll->fenced) {
        TRY(wait_for_silence(coll, err));
    }
    if (atomic_load_explicit(&coll->writable, memory_order_relaxed)) {
        return OK;
    }
    uint64_t epoch = 0;
    int64_t now = clock_boot_ms(coll->service->clock);
    enum status status = E_PRECONDITION;
    for (int i = 0; status == E_PRECONDITION && i < EPOCH_TRIES; i++) {
        status = raise_epoch(coll, &epoch, err);
    }
    if (status == E_PRECONDITION) {
        status = err_set(err, E_UNAVAILABLE, "others change index \"%s\" all the time", coll->name);
    }
    TRY(status);
    TRY(write_fence(coll, epoch, err));
    coll->epoch = epoch;
    coll->fenced = false;
    coll->confirmed_ms = now;
    coll->opened_ms = clock_mono_ms(coll->service->clock);
    atomic_store_explicit(&coll->writable, true, memory_order_release);
    return OK;
}

/* --- one object --- */

/** Our epoch still is the pointer's: nobody can have trimmed what we have written. E_CONFLICT: it
 * is another's; others: nobody knows. */
static enum status check_epoch(struct coll *coll, struct err *err)
{
    int64_t begin = clock_boot_ms(coll->service->clock);
    struct coll_pointer now = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = coll_pointer_read(coll->service->store, str_of(coll->name), &arena, &now,
                                           err);
    bool ours = status == OK && !now.dropped && str_eq(now.uuid, str_of(coll->uuid)) &&
                now.epoch == coll->epoch;
    arena_done(&arena);
    coll->confirmed_ms = ours ? begin : coll->confirmed_ms;
    if (status != OK && status != E_NOT_FOUND) {
        return err_set(err, E_UPSTREAM,
                       "nobody knows whether another process writes index \"%s\" now", coll->name);
    }
    return ours ? OK : conflict(coll, err);
}

/** coll->pending into the store. OK: it is durable. */
static enum status put_pending(struct coll *coll, const struct record_head *head, struct err *err)
{
    enum status status = log_put(coll->service->store, str_of(coll->uuid), head->sequence,
                                 buf_str(&coll->pending), err);
    if (status == E_EXISTS) {
        status = take_others(coll, coll->epoch, err);
        return status == OK ? err_set(err, E_UNAVAILABLE, "another object came first; try again")
                            : status;
    }
    if (status == OK && clock_boot_ms(coll->service->clock) - coll->confirmed_ms > LATE_MS) {
        TRY(check_epoch(coll, err));
    }
    return status;
}

/** Write and apply coll->pending; it stays where its fate or its effect is open. */
static enum status settle_pending(struct coll *coll, struct err *err)
{
    struct record_head head;
    TRY(record_head_read(buf_str(&coll->pending), &head, err));
    if (!coll->pending_durable) {
        enum status status = put_pending(coll, &head, err);
        if (status != OK) {
            if (status != E_UPSTREAM) {
                buf_done(&coll->pending);
            }
            return status;
        }
        coll->pending_durable = true;
    }
    enum status status = apply(coll, buf_str(&coll->pending), &head, err);
    for (int i = 0; i < 2 && status == E_NO_MEMORY; i++) {
        status = apply(coll, buf_str(&coll->pending), &head, err);
    }
    if (status != OK) {
        return err_context(err, "the change is durable, but not applied yet"), status;
    }
    buf_done(&coll->pending); /* ten thousand indexes keep nothing of the kind */
    coll->pending_durable = false;
    return OK;
}

/** What was left open before; nothing else is written until it is settled. */
static enum status settle_before(struct coll *coll, struct err *err)
{
    if (coll->pending.len == 0) {
        return OK;
    }
    enum status status = settle_pending(coll, err);
    if (status == E_UPSTREAM) {
        return err_set(err, E_UNAVAILABLE,
                       "the fate of an earlier change is still open: the store does not answer");
    }
    return coll->pending.len == 0 ? OK : status;
}

static void count_object(struct coll_service *service, size_t bytes)
{
    metric_add(service->metrics.log_objects, 1);
    metric_add(service->metrics.log_bytes, (double)bytes);
}

/** The writes of one object. *done_out: how many of them are answered; the rest comes later. */
static void run_writes(struct coll *coll, struct write **writes, size_t count, size_t *done_out)
{
    struct prepare prepare;
    struct err err = { 0 };
    size_t done = 0;
    enum status status = prepare_begin(&prepare, coll, coll->body, &coll->pending, &err);
    bool more = status == OK;
    while (more && done < count) {
        struct write *write = writes[done++];
        size_t len = coll->pending.len;
        struct prepare before = prepare;
        write->status = prepare_write(&prepare, write, &write->err);
        if (write->status != OK) {
            coll->pending.len = len;
            prepare.count = before.count;
            prepare.length = before.length;
            break; /* the overlay has what is not in the object: those behind go into the next */
        }
        more = coll->pending.len < GROUP_BYTES;
    }
    if (status == OK && prepare.count > 0) {
        struct record_head head;
        head_set(coll, &head, coll->epoch);
        head.length = prepare.length;
        head.count = prepare.count;
        record_finish(&coll->pending, &head);
        coll->pending_durable = false;
        size_t bytes = coll->pending.len;
        status = settle_pending(coll, &err);
        if (status == OK) {
            count_object(coll->service, bytes);
        }
        coll_body_account(coll->service, coll->body);
    } else {
        buf_done(&coll->pending);
    }
    prepare_done(&prepare);
    done = done == 0 ? count : done;
    for (size_t i = 0; i < done; i++) {
        if (status != OK && writes[i]->status == OK) {
            writes[i]->status = status;
            writes[i]->err = err;
        }
    }
    *done_out = done;
}

static void fail_all(struct write **writes, size_t count, enum status status, const struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        writes[i]->status = status;
        writes[i]->err = *err;
    }
}

static void wake_care(struct coll *coll)
{
    struct coll_service *service = coll->service;
    if (coll->body != NULL && atomic_load_explicit(&coll->body->behind, memory_order_relaxed)) {
        care_wake(service, CARE_LINK);
    }
    if (coll->body != NULL && atomic_load_explicit(&coll->body->tail_bytes, memory_order_relaxed) >=
                                  service->opts.snapshot_log_bytes) {
        care_wake(service, CARE_KEEP);
    }
}

static void run_group(struct coll *coll, struct write **writes, size_t count, size_t *done_out)
{
    struct err err = { 0 };
    bool call = writes[0]->kind == WRITE_CALL;
    enum status status = settle_before(coll, &err);
    if (status == OK && (!call || writes[0]->needs_epoch)) {
        status = ensure_writable(coll, &err);
    }
    if (status == E_CORRUPT) {
        coll_stop(coll, &err);
    }
    *done_out = count;
    if (status != OK) {
        fail_all(writes, count, status, &err);
    } else if (call) {
        writes[0]->status = writes[0]->call(coll, coll->body, writes[0]->ctx, &writes[0]->err);
    } else {
        run_writes(coll, writes, count, done_out);
    }
    wake_care(coll);
}
