/*
 * Leader and followers.
 *
 * The first append to an idle table leads: it takes all that wait, commits them, and wakes them.
 * Whoever came meanwhile waits; when the leader is through, it names the longest waiting one leader
 * of the next commit and does the rest of its own (trash, markers that others left) beside it. Each
 * append writes its own marker, beside its neighbours: one after the other they would take longer
 * than the commit. A follower that is not taken yet leaves at its deadline; one that is taken stays
 * to the end, because the leader reads its append.
 */
#include "catalog/group.h"

#include "base/map.h"
#include "base/mem.h"

#include <errno.h>

enum { GROUP_MAX = 256 };

struct waiter {
    struct commit_request *request;
    struct waiter *next;
    bool taken, leads, finished; /* guarded by the groups' lock */
    pthread_cond_t wake;
};

struct group {                   /* of one table; lives while anybody is in it */
    struct waiter *first, *last; /* waiting, oldest first */
    bool busy;                   /* somebody leads */
    size_t users;                /* threads that hold a pointer to it */
};

struct groups {
    pthread_mutex_t lock;
    struct map by_name; /* guarded by lock, groups too */
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

/** Guarded by lock. Until somebody leads for us, we are to lead, or our time is over. */
static void wait_turn(struct groups *groups, struct group *group, struct waiter *waiter)
{
    deadline_ms deadline = waiter->request->append->deadline;
    struct timespec until = monotonic_at(deadline);
    while (!waiter->finished && !waiter->leads) {
        if (waiter->taken || deadline == DEADLINE_NEVER) {
            pthread_cond_wait(&waiter->wake, &groups->lock);
        } else if (pthread_cond_timedwait(&waiter->wake, &groups->lock, &until) == ETIMEDOUT &&
                   !waiter->taken && !waiter->leads && !waiter->finished) {
            take_out(group, waiter);
            waiter->request->status = err_set(
                &waiter->request->err, E_TIMEOUT,
                "the append waited for others until its deadline; nothing was committed");
            waiter->request->done = true;
            return;
        }
    }
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
    while (group->first != NULL && count < GROUP_MAX) {
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
    group->busy = group->first != NULL;
    if (group->first != NULL) {
        group->first->leads = true;
        pthread_cond_signal(&group->first->wake);
    }
}

void groups_append(struct local *local, struct commit_request *request)
{
    struct groups *groups = local->groups;
    struct arena arena;
    arena_init(&arena, 4096);
    struct str name = arena_printf(&arena, "%.*s/%.*s", STR_ARG(request->append->name.ns),
                                   STR_ARG(request->append->name.name));
    struct waiter self = { .request = request };
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&self.wake, &attr);
    pthread_condattr_destroy(&attr);
    struct commit_rest rest;
    bool led = false;
    pthread_mutex_lock(&groups->lock);
    struct group *group = name.ptr == NULL ? NULL : group_get(groups, name);
    if (group == NULL) {
        request->status = err_no_memory(&request->err);
        request->done = true;
    } else {
        push(group, &self);
        self.leads = !group->busy;
        group->busy = true;
        wait_turn(groups, group, &self);
        led = self.leads && !self.finished;
        if (led) {
            lead(local, groups, group, &self, &rest);
        }
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
