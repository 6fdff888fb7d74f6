/*
 * Leader and followers.
 *
 * The first append to an idle table leads: it takes all that wait, commits them, and wakes them.
 * Whoever came meanwhile waits; when the leader is through, it names the longest waiting one leader
 * of the next commit and does the rest of its own (trash, markers that others left) beside it. Each
 * append writes its own marker, beside its neighbours: one after the other they would take longer
 * than the commit. A follower that is not taken yet leaves at its deadline; one that is taken stays
 * to the end, because the leader reads its append.
 *
 * A change of another program stands in the same queue. Some go alone, others take with them those
 * of their kind that are right behind. Its client
 * wins only on a base that stays still while the client works, so after one was told to read again
 * the next leader of appends holds back for a moment, and lets the change go first when it comes.
 */
#include "catalog/group.h"

#include "base/map.h"
#include "base/mem.h"

#include <errno.h>

enum {
    GROUP_MAX = 256,
    SHARED_MAX = 32,    /* each is a whole document in memory */
    HOLD_BACK_MS = 500, /* of appends for a client that reads again */
    EXPECTED_MAX = 64,
    NAME_BYTES_MAX = 64 * 1024,
};

struct waiter {
    struct commit_request *request;                 /* NULL: a change */
    bool (*share)(void *const *ctxs, size_t count); /* of a change; NULL: it goes alone */
    void *ctx;                                      /* with share */
    deadline_ms deadline;
    struct waiter *next;
    /* guarded by the groups' lock: */
    bool taken, leads, finished, late;
    bool held_back; /* once is enough */
    pthread_cond_t wake;
};

struct group {                   /* of one table; lives while anybody is in it */
    struct waiter *first, *last; /* waiting, oldest first */
    bool busy;                   /* somebody leads */
    size_t users;                /* threads that hold a pointer to it */
};

/** Clients that will come back, by table; two of one hash only cost a wait. */
struct expected {
    uint64_t table;
    deadline_ms until;
};

struct groups {
    pthread_mutex_t lock;
    struct map by_name;                     /* guarded by lock, groups too */
    struct expected expected[EXPECTED_MAX]; /* guarded by lock */
};

enum status groups_new(struct groups **out, struct err *err)
{
    struct groups *groups = mem_zalloc(sizeof(*groups));
    if (groups == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&groups->lock, NULL);
    map_init(&groups->by_name);
    *out = groups;
    return OK;
}

void groups_free(struct groups *groups)
{
    if (groups != NULL) {
        assert(groups->by_name.count == 0);
        map_done(&groups->by_name);
        pthread_mutex_destroy(&groups->lock);
        mem_free(groups);
    }
}

/** Guarded by lock. */
static struct group *group_get(struct groups *groups, struct str name)
{
    struct group *group = map_get(&groups->by_name, name);
    if (group == NULL) {
        group = mem_zalloc(sizeof(*group));
        if (group != NULL && map_put(&groups->by_name, name, group, NULL) != OK) {
            mem_free(group);
            group = NULL;
        }
    }
    if (group != NULL) {
        group->users++;
    }
    return group;
}

/** Guarded by lock. */
static void group_put(struct groups *groups, struct group *group, struct str name)
{
    if (--group->users == 0) {
        assert(!group->busy && group->first == NULL);
        (void)map_remove(&groups->by_name, name);
        mem_free(group);
    }
}

/** Guarded by lock. */
static void push(struct group *group, struct waiter *waiter)
{
    if (group->last != NULL) {
        group->last->next = waiter;
    } else {
        group->first = waiter;
    }
    group->last = waiter;
}

/** Guarded by lock. */
static void take_out(struct group *group, struct waiter *waiter)
{
    struct waiter **at = &group->first, *before = NULL;
    while (*at != waiter) {
        assert(*at != NULL);
        before = *at;
        at = &(*at)->next;
    }
    *at = waiter->next;
    if (group->last == waiter) {
        group->last = before;
    }
    waiter->next = NULL;
}

static struct timespec monotonic_at(deadline_ms deadline)
{
    return (struct timespec){ .tv_sec = deadline / 1000, .tv_nsec = (deadline % 1000) * 1000000 };
}

/** Guarded by lock. Until somebody leads for us, we are to lead, or our time is over (`late`). */
static void wait_turn(struct groups *groups, struct group *group, struct waiter *waiter)
{
    struct timespec until = monotonic_at(waiter->deadline);
    while (!waiter->finished && !waiter->leads) {
        if (waiter->taken || waiter->deadline == DEADLINE_NEVER) {
            pthread_cond_wait(&waiter->wake, &groups->lock);
        } else if (pthread_cond_timedwait(&waiter->wake, &groups->lock, &until) == ETIMEDOUT &&
                   !waiter->taken && !waiter->leads && !waiter->finished) {
            take_out(group, waiter);
            waiter->late = true;
            return;
        }
    }
}

/** Guarded by lock. The longest waiting one is next. */
static void pass_on(struct group *group)
{
    group->busy = group->first != NULL;
    if (group->first != NULL) {
        group->first->leads = true;
        pthread_cond_signal(&group->first->wake);
    }
}

static struct waiter *first_change(const struct group *group)
{
    struct waiter *at = group->first;
    while (at != NULL && at->request != NULL) {
        at = at->next;
    }
    return at;
}

/** Guarded by lock. Is a client of that table on its way back? */
static struct expected *expected_of(struct groups *groups, struct str name)
{
    uint64_t table = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < name.len; i++) {
        table = (table ^ (unsigned char)name.ptr[i]) * 1099511628211ULL;
    }
    struct expected *expected = &groups->expected[table % EXPECTED_MAX];
    if (expected->table != table) {
        *expected = (struct expected){ .table = table };
    }
    return expected;
}

/** Guarded by lock. A leader of appends waits for the change that is expected; true: it leads
 * now. */
static bool hold_back(struct groups *groups, struct group *group, struct waiter *self,
                      struct str name)
{
    deadline_ms until = expected_of(groups, name)->until;
    until = until < self->deadline ? until : self->deadline;
    struct timespec at = monotonic_at(until);
    bool waited = self->held_back;
    self->held_back = true;
    while (!waited && until > 0 && !deadline_passed(until)) {
        struct waiter *change = first_change(group);
        if (change != NULL) {
            take_out(group, change);
            change->next = group->first;
            group->first = change;
            self->leads = false;
            change->leads = true;
            pthread_cond_signal(&change->wake);
            return true;
        }
        waited = pthread_cond_timedwait(&self->wake, &groups->lock, &at) == ETIMEDOUT ||
                 expected_of(groups, name)->until == 0;
    }
    return false;
}

/** Guarded by lock. Let appends gather for a moment. */
static void gather(struct local *local, struct groups *groups, struct waiter *waiter)
{
    struct timespec until = monotonic_at(deadline_in(local->group_wait_ms));
    while (local->group_wait_ms > 0 &&
           pthread_cond_timedwait(&waiter->wake, &groups->lock, &until) != ETIMEDOUT) {
    }
}

/** Guarded by lock, which is released while the commit runs. We and all that wait. */
static void lead(struct local *local, struct groups *groups, struct group *group,
                 struct waiter *self, struct commit_rest *rest)
{
    struct waiter *taken[GROUP_MAX];
    struct commit_request *requests[GROUP_MAX];
    size_t count = 0;
    gather(local, groups, self);
    while (group->first != NULL && group->first->request != NULL && count < GROUP_MAX) {
        struct waiter *waiter = group->first;
        take_out(group, waiter);
        waiter->taken = true;
        taken[count] = waiter;
        requests[count++] = waiter->request;
    }
    pthread_mutex_unlock(&groups->lock);
    commit_run(local, requests, count, rest);
    pthread_mutex_lock(&groups->lock);
    for (size_t i = 0; i < count; i++) {
        taken[i]->finished = true;
        pthread_cond_signal(&taken[i]->wake);
    }
    pass_on(group);
}

/* --- the doors --- */

/** Both parts may hold any separator: with the length of one, two tables never share a name. */
static struct str group_name(struct arena *arena, const struct table_name *name)
{
    arena_init(arena, NAME_BYTES_MAX);
    return arena_printf(arena, "%zu/%.*s/%.*s", name->ns.len, STR_ARG(name->ns),
                        STR_ARG(name->name));
}

static void waiter_init(struct waiter *waiter)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->wake, &attr);
    pthread_condattr_destroy(&attr);
}

/** Guarded by lock. Stand in the queue until it is our turn, or no more ours. */
static void queue(struct groups *groups, struct group *group, struct waiter *self)
{
    push(group, self);
    self->leads = !group->busy;
    group->busy = true;
    wait_turn(groups, group, self);
}

/** Guarded by lock, which is released meanwhile. True when we led. */
static bool append_turn(struct local *local, struct group *group, struct waiter *self,
                        struct str name, struct commit_rest *rest)
{
    struct groups *groups = local->groups;
    queue(groups, group, self);
    while (self->leads && !self->finished && hold_back(groups, group, self, name)) {
        wait_turn(groups, group, self);
    }
    if (self->late) {
        self->request->status = err_set(
            &self->request->err, E_TIMEOUT,
            "the append waited for others until its deadline; nothing was committed");
        self->request->done = true;
    }
    bool leads = self->leads && !self->finished;
    if (leads) {
        lead(local, groups, group, self, rest);
    }
    return leads;
}

void groups_append(struct local *local, struct commit_request *request)
{
    struct groups *groups = local->groups;
    struct arena arena;
    struct str name = group_name(&arena, &request->append->name);
    struct waiter self = { .request = request, .deadline = request->append->deadline };
    waiter_init(&self);
    struct commit_rest rest;
    bool led = false;
    pthread_mutex_lock(&groups->lock);
    struct group *group = name.ptr == NULL ? NULL : group_get(groups, name);
    if (group == NULL) {
        request->status = err_no_memory(&request->err);
        request->done = true;
    } else {
        led = append_turn(local, group, &self, name, &rest);
        group_put(groups, group, name);
    }
    pthread_mutex_unlock(&groups->lock);
    commit_mark(local, request);
    if (led) {
        commit_finish(local, &rest);
    }
    pthread_cond_destroy(&self.wake);
    arena_done(&arena);
}

static enum status late(struct err *err)
{
    return err_set(err, E_TIMEOUT,
                   "the commit waited for others until its deadline; nothing was committed");
}

/** Guarded by lock, which is released while `run` runs. */
static enum status alone(struct groups *groups, struct group *group, struct waiter *self,
                         struct str name, enum status (*run)(void *ctx, struct err *err), void *ctx,
                         struct err *err)
{
    if (group->first != NULL) {
        pthread_cond_signal(&group->first->wake); /* it may be holding back for us */
    }
    queue(groups, group, self);
    if (self->late) {
        return late(err);
    }
    take_out(group, self);
    pthread_mutex_unlock(&groups->lock);
    enum status status = run(ctx, err);
    pthread_mutex_lock(&groups->lock);
    struct expected *expected = expected_of(groups, name);
    if (status == E_CONFLICT) {
        expected->until = deadline_in(HOLD_BACK_MS);
    } else if (status == OK) {
        expected->until = 0;
    }
    pass_on(group);
    return status;
}

enum status groups_alone(struct local *local, const struct table_name *name, deadline_ms deadline,
                         enum status (*run)(void *ctx, struct err *err), void *ctx, struct err *err)
{
    struct groups *groups = local->groups;
    struct arena arena;
    struct str text = group_name(&arena, name);
    struct waiter self = { .deadline = deadline };
    enum status status = OK;
    waiter_init(&self);
    pthread_mutex_lock(&groups->lock);
    struct group *group = text.ptr == NULL ? NULL : group_get(groups, text);
    if (group == NULL) {
        status = err_no_memory(err);
    } else {
        status = alone(groups, group, &self, text, run, ctx, err);
        group_put(groups, group, text);
    }
    pthread_mutex_unlock(&groups->lock);
    pthread_cond_destroy(&self.wake);
    arena_done(&arena);
    return status;
}

/** Guarded by lock, which is released while they run. We and those of our kind behind us. */
static void lead_changes(struct groups *groups, struct group *group, const struct waiter *self,
                         struct str name)
{
    struct waiter *taken[SHARED_MAX];
    void *ctxs[SHARED_MAX];
    size_t count = 0;
    while (group->first != NULL && group->first->share == self->share && count < SHARED_MAX) {
        struct waiter *waiter = group->first;
        take_out(group, waiter);
        waiter->taken = true;
        taken[count] = waiter;
        ctxs[count++] = waiter->ctx;
    }
    pthread_mutex_unlock(&groups->lock);
    bool conflict = self->share(ctxs, count);
    pthread_mutex_lock(&groups->lock);
    for (size_t i = 0; i < count; i++) {
        taken[i]->finished = true;
        pthread_cond_signal(&taken[i]->wake);
    }
    expected_of(groups, name)->until = conflict ? deadline_in(HOLD_BACK_MS) : 0;
    pass_on(group);
}

enum status groups_share(struct local *local, const struct table_name *name, deadline_ms deadline,
                         bool (*run)(void *const *ctxs, size_t count), void *ctx, struct err *err)
{
    struct groups *groups = local->groups;
    struct arena arena;
    struct str text = group_name(&arena, name);
    struct waiter self = { .deadline = deadline, .share = run, .ctx = ctx };
    enum status status = OK;
    waiter_init(&self);
    pthread_mutex_lock(&groups->lock);
    struct group *group = text.ptr == NULL ? NULL : group_get(groups, text);
    if (group == NULL) {
        status = err_no_memory(err);
    } else {
        if (group->first != NULL) {
            pthread_cond_signal(&group->first->wake); /* it may be holding back for us */
        }
        queue(groups, group, &self);
        if (self.late) {
            status = late(err);
        } else if (!self.finished) {
            lead_changes(groups, group, &self, text);
        }
        group_put(groups, group, text);
    }
    pthread_mutex_unlock(&groups->lock);
    pthread_cond_destroy(&self.wake);
    arena_done(&arena);
    return status;
}
