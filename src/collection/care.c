/*
 * The background: threads that link what was added, in turns of a few milliseconds, and one that
 * looks after the rest: other processes' changes, snapshots that are due, objects of dropped
 * indexes.
 *
 * Nobody waits for it. It holds an index as any user does.
 */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "collection/write.h"

enum {
    TURN_US = 20 * 1000,
    LOOK_MS = 2000,         /* how often other processes' changes are looked for, */
    LOOK_REMOTE_MS = 10000, /* where looking is a request */
    RETRY_MS = 5000,        /* after something failed */
    LOG_SHARE = 2,          /* of what a snapshot writes */
    LINKERS_MAX = 64,
};

struct care {
    struct coll_service *service;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;         /* guarded by lock, as is: */
    uint64_t woken[2]; /* counts: of the linkers, of the keeper */
    uint64_t turn;     /* the linkers' place among the open indexes */
    pthread_t linkers[LINKERS_MAX], keeper;
    uint32_t linker_count;
    bool keeper_runs;
};

void care_wake(struct coll_service *service, enum care_work work)
{
    struct care *care = service->care;
    if (care != NULL) {
        pthread_mutex_lock(&care->lock);
        care->woken[work]++;
        pthread_cond_broadcast(&care->wake);
        pthread_mutex_unlock(&care->lock);
    }
}

static bool stopping(struct care *care)
{
    pthread_mutex_lock(&care->lock);
    bool stop = care->stop;
    pthread_mutex_unlock(&care->lock);
    return stop;
}

/** Until somebody wakes us, or it is time (ms; -1: never). False: stop. */
static bool wait_for_work(struct care *care, enum care_work work, uint64_t *seen, int64_t ms)
{
    struct timespec until = { 0 };
    deadline_ms deadline = ms < 0 ? DEADLINE_NEVER : deadline_in(ms);
    until.tv_sec = deadline / 1000;
    until.tv_nsec = (deadline % 1000) * 1000000;
    pthread_mutex_lock(&care->lock);
    while (!care->stop && care->woken[work] == *seen) {
        if (ms < 0) {
            pthread_cond_wait(&care->wake, &care->lock);
        } else if (pthread_cond_timedwait(&care->wake, &care->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    *seen = care->woken[work];
    bool go = !care->stop;
    pthread_mutex_unlock(&care->lock);
    return go;
}

/* --- linking --- */

/** An open index that has something to link, the next after the last one; with a user more. */
static struct coll *take_behind(struct care *care)
{
    struct coll_service *service = care->service;
    struct coll *first = NULL, *next = NULL;
    size_t pos = 0;
    pthread_mutex_lock(&care->lock);
    uint64_t turn = care->turn;
    pthread_mutex_unlock(&care->lock);
    uint64_t at = 0, first_at = 0, next_at = 0;
    pthread_mutex_lock(&service->lock);
    for (struct map_entry *entry; (entry = map_next(&service->by_name, &pos)) != NULL; at++) {
        struct coll *coll = entry->value;
        if (coll->body == NULL ||
            !atomic_load_explicit(&coll->body->behind, memory_order_acquire)) {
            continue;
        }
        first_at = first == NULL ? at : first_at;
        first = first == NULL ? coll : first;
        if (at >= turn && next == NULL) {
            next = coll;
            next_at = at;
        }
    }
    struct coll *coll = next != NULL ? next : first;
    if (coll != NULL) {
        coll->users++;
    }
    pthread_mutex_unlock(&service->lock);
    pthread_mutex_lock(&care->lock);
    care->turn = (next != NULL ? next_at : first_at) + 1;
    pthread_mutex_unlock(&care->lock);
    return coll;
}

/** One turn of linking. The mark is taken away first: who adds meanwhile sets it again. */
static enum status link_turn(struct coll_service *service, struct body *body, struct err *err)
{
    struct vec_scratch *scratch = NULL;
    bool left = false;
    TRY(body_scratch_take(body, &scratch, err));
    atomic_store_explicit(&body->behind, false, memory_order_seq_cst);
    enum status status = vec_maintain(body->vec, scratch, TURN_US, &left, err);
    body_scratch_give(body, scratch);
    (void)body_look(body);
    if (left || status != OK) {
        atomic_store_explicit(&body->behind, true, memory_order_release);
    } else {
        coll_body_account(service, body);
    }
    return status;
}

static void *linker_run(void *arg)
{
    struct care *care = arg;
    uint64_t seen = 0;
    while (!stopping(care)) {
        struct coll *coll = take_behind(care);
        if (coll == NULL) {
            (void)wait_for_work(care, CARE_LINK, &seen, -1);
            continue;
        }
        struct err err;
        struct body *body = coll_body_ref(coll);
        enum status status = body == NULL ? OK : link_turn(care->service, body, &err);
        if (body != NULL) {
            coll_body_unref(care->service, body);
        }
        coll_unref(coll);
        if (status != OK) { /* no memory: not again at once */
            (void)wait_for_work(care, CARE_LINK, &seen, RETRY_MS);
        }
    }
    return NULL;
}

/* --- keeping --- */

/** Is the uuid that of an index that is there? By the store, not by what we remember. */
static bool is_named(struct coll_service *service, struct str uuid)
{
    bool named = false;
    size_t pos = 0;
    pthread_mutex_lock(&service->lock);
    for (struct map_entry *entry; !named && (entry = map_next(&service->by_name, &pos)) != NULL;) {
        const struct coll *coll = entry->value;
        named = coll->index == NULL && str_eq(str_of(coll->uuid), uuid);
    }
    pthread_mutex_unlock(&service->lock);
    return named;
}

/** Whose objects are those of an index whose pointer cannot be read? Nobody's to delete. */
static enum status refuse_broken(struct coll_service *service, struct err *err)
{
    pthread_mutex_lock(&service->lock);
    enum status status = service->broken == NULL ? OK
                                                 : err_set(err, E_CORRUPT, "%s", service->broken);
    pthread_mutex_unlock(&service->lock);
    return status;
}

/** Delete what no pointer names. Folders are listed before pointers are read: an index's pointer is
 * there before its first object. */
static enum status sweep(struct coll_service *service, struct err *err)
{
    struct arena arena;
    struct store_list list = { .truncated = true };
    enum status status = OK;
    arena_init(&arena, SIZE_MAX);
    while (status == OK && list.truncated) {
        const struct store_list_opts opts = { .prefix = STR("_lake/vectors/by-id/"),
                                              .delimiter = STR("/"),
                                              .after = list.next,
                                              .limit = STORE_LIST_MAX };
        status = store_list(service->store, &opts, &arena, &list, err);
        status = status == OK ? names_refresh(service, err) : status;
        status = status == OK ? refuse_broken(service, err) : status;
        for (size_t i = 0; status == OK && i < list.prefix_count; i++) {
            struct str uuid = str_skip(list.prefixes[i], opts.prefix.len);
            uuid = str_take(uuid, uuid.len > 0 ? uuid.len - 1 : 0);
            if (uuid_valid(uuid) && !is_named(service, uuid)) {
                status = log_sweep(service->store, list.prefixes[i], err);
            }
        }
    }
    arena_done(&arena);
    return status;
}

static bool is_open(const struct coll *coll)
{
    return coll->body != NULL;
}

/** Nobody has opened it or looked at its log. */
static bool is_unknown(const struct coll *coll)
{
    return coll->index == NULL && !coll->looked_at && !coll->opening && coll->body == NULL;
}

/** All entries that `fits` (called under the service's lock), each with a user more. */
static enum status take(struct coll_service *service, bool (*fits)(const struct coll *coll),
                        struct arena *arena, struct coll ***out, size_t *count_out)
{
    size_t count = 0, pos = 0;
    pthread_mutex_lock(&service->lock);
    struct coll **all = arena_array(arena, service->by_name.count, sizeof *all);
    struct map_entry *entry;
    while (all != NULL && (entry = map_next(&service->by_name, &pos)) != NULL) {
        struct coll *coll = entry->value;
        if (fits(coll)) {
            coll->users++;
            all[count++] = coll;
        }
    }
    pthread_mutex_unlock(&service->lock);
    *out = all;
    *count_out = count;
    return all != NULL ? OK : E_NO_MEMORY;
}

static void look_at(struct coll *coll)
{
    struct err err;
    uint64_t length = 0;
    enum status status = recover_look(coll, true, &length, &err);
    if (status == E_CORRUPT || status == E_UNSUPPORTED) {
        coll_stop(coll, &err);
    } else if (status == OK) {
        pthread_mutex_lock(&coll->service->lock);
        coll->looked_at = true;
        coll->length = coll->length == UINT64_MAX ? length : coll->length;
        pthread_mutex_unlock(&coll->service->lock);
    }
}

/** Check the logs of those that nobody has opened, so that damage is told before it is met. */
static void look_at_all(struct care *care)
{
    struct arena arena;
    struct coll **all = NULL;
    size_t count = 0;
    arena_init(&arena, SIZE_MAX);
    if (take(care->service, is_unknown, &arena, &all, &count) == OK) {
        for (size_t i = 0; i < count; i++) {
            if (!stopping(care)) {
                look_at(all[i]);
            }
            coll_unref(all[i]);
        }
    }
    arena_done(&arena);
}

/** By the pointer as last read, whose first log object is told too. */
static bool is_writer(struct coll *coll, uint64_t *first_log_out)
{
    pthread_mutex_lock(&coll->service->lock);
    *first_log_out = coll->seen_first_log;
    bool ours = atomic_load_explicit(&coll->writable, memory_order_relaxed) &&
                coll->seen_epoch <= coll->own_epoch;
    pthread_mutex_unlock(&coll->service->lock);
    return ours;
}

static enum status follow_call(struct coll *coll, struct body *body, void *ctx, struct err *err)
{
    uint64_t first_log = 0;
    if (is_writer(coll, &first_log)) {
        return OK; /* nobody else writes */
    }
    if (atomic_load_explicit(&coll->writable, memory_order_relaxed)) {
        write_fenced(coll);
    }
    struct body *next = body;
    enum status status = recover_tail(coll, &next, err);
    bool trimmed = next->sequence + 1 < first_log; /* what we lack is in the snapshot alone */
    if (next != body) {
        coll_body_set(coll, next);
    }
    return status == OK && trimmed ? err_set(err, E_NOT_FOUND, "the log was trimmed") : status;
}

static enum status reopened_call(struct coll *coll, struct body *body, void *ctx, struct err *err)
{
    struct body **next = ctx;
    if (!atomic_load_explicit(&coll->writable, memory_order_relaxed) &&
        (*next)->sequence >= body->sequence) {
        coll_body_set(coll, *next);
        *next = NULL;
    }
    pthread_mutex_lock(&coll->service->lock);
    coll->stale = false;
    pthread_mutex_unlock(&coll->service->lock);
    return OK;
}

/** The log does not go on from what we have: it was trimmed behind a snapshot, or is damaged. Read
 * all anew, and switch; who uses the old state goes on with it. Where there is no room for both,
 * the next use that finds itself alone closes the old one first. */
static void reopen(struct coll *coll)
{
    struct err err = { 0 };
    struct body *next = NULL, *now = coll_body_ref(coll);
    if (now == NULL) {
        return;
    }
    enum status status = coll_beside_open(coll, now, false, &next, &err);
    coll_body_unref(coll->service, now);
    if (status == E_NO_MEMORY) {
        pthread_mutex_lock(&coll->service->lock);
        coll->stale = true;
        pthread_mutex_unlock(&coll->service->lock);
    } else if (status == E_CORRUPT || status == E_UNSUPPORTED) {
        coll_stop(coll, &err);
    } else if (status == OK) {
        struct write call = { .kind = WRITE_CALL, .call = reopened_call, .ctx = &next };
        status = write_run(coll, &call, &err);
    }
    coll_beside_free(coll->service, next);
}

/** Read what another process has written behind what we have. */
static void follow(struct coll *coll)
{
    struct err err = { 0 };
    struct write call = { .kind = WRITE_CALL, .call = follow_call };
    uint64_t first_log = 0;
    if (is_writer(coll, &first_log)) {
        return;
    }
    enum status status = write_run(coll, &call, &err);
    if (status == E_NOT_FOUND || status == E_CORRUPT) {
        reopen(coll);
    }
}

static bool is_stale(struct coll *coll)
{
    pthread_mutex_lock(&coll->service->lock);
    bool stale = coll->stale;
    pthread_mutex_unlock(&coll->service->lock);
    return stale;
}

/** Not while somebody makes one: what is left behind that one is known when it is through. */
static bool snapshot_due(struct coll *coll)
{
    pthread_mutex_lock(&coll->service->lock);
    bool shooting = coll->shooting;
    pthread_mutex_unlock(&coll->service->lock);
    if (shooting) {
        return false;
    }
    bool writable = atomic_load_explicit(&coll->writable, memory_order_acquire);
    struct body *body = writable ? coll_body_ref(coll) : NULL;
    if (body == NULL) {
        return false;
    }
    uint64_t tail = atomic_load_explicit(&body->tail_bytes, memory_order_relaxed);
    bool due = tail >= coll->service->opts.snapshot_log_bytes &&
               tail >= snapshot_cost(body) / LOG_SHARE;
    coll_body_unref(coll->service, body);
    return due;
}

/** Returns false when something failed and should be tried again. */
static bool keep_all(struct care *care, bool look)
{
    struct coll_service *service = care->service;
    struct err err;
    bool fine = true;
    pthread_mutex_lock(&service->lock);
    bool dropped = service->sweep;
    service->sweep = false;
    pthread_mutex_unlock(&service->lock);
    if (dropped && !service->opts.read_only && sweep(service, &err) != OK) {
        fine = false;
        pthread_mutex_lock(&service->lock);
        service->sweep = true;
        pthread_mutex_unlock(&service->lock);
    }
    if (look) {
        fine = names_refresh(service, &err) == OK && fine;
        look_at_all(care);
    }
    struct arena arena;
    struct coll **open = NULL;
    size_t count = 0;
    arena_init(&arena, SIZE_MAX);
    fine = take(service, is_open, &arena, &open, &count) == OK && fine;
    for (size_t i = 0; i < count; i++) {
        if ((look || is_stale(open[i])) && !stopping(care)) {
            follow(open[i]);
        }
        if (!stopping(care) && snapshot_due(open[i])) {
            fine = snapshot_make(open[i], &err) == OK && fine;
        }
        coll_unref(open[i]);
    }
    arena_done(&arena);
    return fine;
}

static void *keeper_run(void *arg)
{
    struct care *care = arg;
    int64_t every = store_is_local(care->service->store) ? LOOK_MS : LOOK_REMOTE_MS;
    int64_t next = 0, wait = 0;
    uint64_t seen = 0;
    do {
        int64_t begin = clock_now_us() / 1000;
        bool look = begin >= next;
        bool fine = keep_all(care, look);
        int64_t now = clock_now_us() / 1000, took = now - begin;
        if (look) { /* looking takes a hundredth of the time at most */
            next = now + (took * 100 > every ? took * 100 : every);
        }
        wait = fine || next - now < RETRY_MS ? next - now : RETRY_MS;
    } while (wait_for_work(care, CARE_KEEP, &seen, wait > 0 ? wait : 0));
    return NULL;
}

/* --- life --- */

enum status care_start(struct coll_service *service, struct err *err)
{
    struct care *care = mem_zalloc(sizeof *care);
    if (care == NULL) {
        return err_no_memory(err);
    }
    care->service = service;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&care->lock, NULL);
    pthread_cond_init(&care->wake, &attr);
    pthread_condattr_destroy(&attr);
    service->care = care;
    service->sweep = true; /* what an earlier process dropped */
    uint32_t count = service->opts.maintain_threads;
    count = count < LINKERS_MAX ? count : LINKERS_MAX;
    while (care->linker_count < count) {
        if (pthread_create(&care->linkers[care->linker_count], NULL, linker_run, care) != 0) {
            return err_set(err, E_UNAVAILABLE, "no thread for the vector indexes");
        }
        care->linker_count++;
    }
    care->keeper_runs = pthread_create(&care->keeper, NULL, keeper_run, care) == 0;
    return care->keeper_runs ? OK : err_set(err, E_UNAVAILABLE, "no thread for the vector indexes");
}

void care_stop(struct coll_service *service)
{
    struct care *care = service->care;
    if (care == NULL) {
        return;
    }
    pthread_mutex_lock(&care->lock);
    care->stop = true;
    pthread_cond_broadcast(&care->wake);
    pthread_mutex_unlock(&care->lock);
    for (uint32_t i = 0; i < care->linker_count; i++) {
        pthread_join(care->linkers[i], NULL);
    }
    if (care->keeper_runs) {
        pthread_join(care->keeper, NULL);
    }
    pthread_cond_destroy(&care->wake);
    pthread_mutex_destroy(&care->lock);
    mem_free(care);
    service->care = NULL;
}
