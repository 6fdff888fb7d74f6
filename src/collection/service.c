/*
 * The service: opening an index on first use, closing the least used one when memory is short, and
 * counting who uses what. An entry with users stays; a body with references stays, so whoever holds
 * one goes on with it while another takes its place.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "collection/coll_priv.h"

enum { K_MAX_DEFAULT = 10000, OPEN_TRIES = 4 };

static uint64_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 4ULL << 30;
}

static void set_defaults(struct coll_service_opts *opts)
{
    opts->memory_limit = opts->memory_limit > 0 ? opts->memory_limit : machine_memory() / 2;
    opts->index_memory_limit = opts->index_memory_limit > 0 ? opts->index_memory_limit
                                                            : opts->memory_limit;
    opts->k_max = opts->k_max > 0 && opts->k_max <= VEC_K_MAX ? opts->k_max : K_MAX_DEFAULT;
    opts->maintain_threads = opts->maintain_threads > 0 ? opts->maintain_threads : 1;
    opts->snapshot_log_bytes = opts->snapshot_log_bytes > 0 ? opts->snapshot_log_bytes : 64U << 20;
    opts->clock = opts->clock != NULL ? opts->clock : clock_real();
}

static void metrics_init(struct coll_metrics *m, struct metrics *metrics)
{
    const struct {
        struct metric **out;
        enum metric_kind kind;
        const char *name, *help;
    } all[] = {
        { &m->log_objects, METRIC_COUNTER, "lakehouse_vector_log_objects_total",
          "log objects written; one may carry several requests" },
        { &m->log_bytes, METRIC_COUNTER, "lakehouse_vector_log_bytes_total", "bytes of them" },
        { &m->snapshots, METRIC_COUNTER, "lakehouse_vector_snapshots_total", "snapshots made" },
        { &m->fenced, METRIC_COUNTER, "lakehouse_vector_fenced_total",
          "indexes that another process took over" },
        { &m->stopped, METRIC_COUNTER, "lakehouse_vector_stopped_total",
          "indexes stopped because something of them is damaged" },
        { &m->open, METRIC_GAUGE, "lakehouse_vector_open_indexes", "indexes in memory" },
        { &m->memory, METRIC_GAUGE, "lakehouse_vector_memory_bytes", "memory of open indexes" },
    };
    for (size_t i = 0; metrics != NULL && i < ARRAY_LEN(all); i++) {
        *all[i].out = metric_get(metrics, all[i].kind, all[i].name, "", all[i].help);
    }
}

enum status coll_service_open(const struct coll_service_opts *opts, struct coll_service **out,
                              struct err *err)
{
    struct coll_service *service = mem_zalloc(sizeof *service);
    if (service == NULL) {
        return err_no_memory(err);
    }
    service->opts = *opts;
    set_defaults(&service->opts);
    service->store = opts->store;
    service->clock = service->opts.clock;
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->changed, NULL);
    map_init(&service->by_name);
    map_init(&service->gone);
    metrics_init(&service->metrics, opts->metrics);
    enum status status = spool_open(opts->cache_dir, &service->spool, err);
    status = status == OK ? care_start(service, err) : status;
    if (status != OK) {
        coll_service_close(service);
        return status;
    }
    *out = service;
    return OK;
}

void coll_service_close(struct coll_service *service)
{
    if (service == NULL) {
        return;
    }
    care_stop(service);
    if (service->spool != NULL) {
        spool_end(service->spool); /* ten thousand holes took longer than a stop may take */
    }
    size_t pos = 0;
    for (struct map_entry *entry; (entry = map_next(&service->by_name, &pos)) != NULL;) {
        struct coll *coll = entry->value;
        assert(coll->users == 0);
        body_free(coll->body);
        coll->body = NULL;
        names_free(coll);
    }
    map_done(&service->by_name);
    pos = 0;
    for (struct map_entry *entry; (entry = map_next(&service->gone, &pos)) != NULL;) {
        mem_free(entry->value);
    }
    map_done(&service->gone);
    mem_free(service->broken);
    spool_close(service->spool);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    mem_free(service);
}

enum status coll_service_ready(struct coll_service *service, struct err *err)
{
    size_t pos = 0;
    pthread_mutex_lock(&service->lock);
    enum status status = service->broken == NULL ? OK
                                                 : err_set(err, E_CORRUPT, "%s", service->broken);
    for (struct map_entry *entry;
         status == OK && (entry = map_next(&service->by_name, &pos)) != NULL;) {
        const struct coll *coll = entry->value;
        if (coll->stopped != NULL) {
            status = err_set(err, E_CORRUPT, "index \"%s\" is stopped: %s", coll->name,
                             coll->stopped);
        }
    }
    pthread_mutex_unlock(&service->lock);
    return status;
}

/* --- bodies --- */

/** Guarded by the service's lock. The body when nobody has it any more. */
static struct body *unref_locked(struct coll_service *service, struct body *body)
{
    if (body == NULL || --body->refs > 0) {
        return NULL;
    }
    service->memory_bytes -= body->accounted;
    metric_set(service->metrics.memory, (double)service->memory_bytes);
    return body;
}

struct body *coll_body_ref(struct coll *coll)
{
    pthread_mutex_lock(&coll->service->lock);
    struct body *body = coll->body;
    if (body != NULL) {
        body->refs++;
    }
    pthread_mutex_unlock(&coll->service->lock);
    return body;
}

void coll_body_unref(struct coll_service *service, struct body *body)
{
    pthread_mutex_lock(&service->lock);
    struct body *last = unref_locked(service, body);
    pthread_mutex_unlock(&service->lock);
    body_free(last);
}

void coll_body_set(struct coll *coll, struct body *body)
{
    struct coll_service *service = coll->service;
    pthread_mutex_lock(&service->lock);
    struct body *last = unref_locked(service, coll->body);
    coll->body = body;
    pthread_mutex_unlock(&service->lock);
    body_free(last);
    coll_body_account(service, body);
}

void coll_body_account(struct coll_service *service, struct body *body)
{
    uint64_t bytes = body_measure(body);
    pthread_mutex_lock(&service->lock);
    service->memory_bytes += bytes - body->accounted;
    body->accounted = bytes;
    metric_set(service->metrics.memory, (double)service->memory_bytes);
    pthread_mutex_unlock(&service->lock);
}

/** Guarded by the service's lock. The one that was used longest ago, of those nobody uses. */
static struct coll *least_used_locked(struct coll_service *service, const struct coll *keep)
{
    struct coll *least = NULL;
    size_t pos = 0;
    for (struct map_entry *entry; (entry = map_next(&service->by_name, &pos)) != NULL;) {
        struct coll *coll = entry->value;
        if (coll != keep && coll->body != NULL && coll->users == 0 && coll->pending.len == 0 &&
            (least == NULL || coll->used < least->used)) {
            least = coll;
        }
    }
    return least;
}

/** Guarded by the service's lock. Nobody uses it. The body, to be freed. */
static struct body *close_locked(struct coll_service *service, struct coll *coll)
{
    struct body *body = coll->body;
    metric_add(service->metrics.open, -1);
    coll->body = NULL;
    coll->length = atomic_load_explicit(&body->length, memory_order_relaxed);
    coll->stale = false;
    coll->fenced = false;
    atomic_store_explicit(&coll->writable, false, memory_order_relaxed);
    return unref_locked(service, body);
}

/** `take`: they count from now on. */
static enum status make_room(struct coll_service *service, const struct coll *keep, uint64_t bytes,
                             bool take, struct err *err)
{
    uint64_t limit = service->opts.memory_limit;
    bool more = true;
    while (more) {
        pthread_mutex_lock(&service->lock);
        bool over = service->memory_bytes + bytes > limit;
        uint64_t now = service->memory_bytes;
        struct coll *least = over ? least_used_locked(service, keep) : NULL;
        struct body *last = least != NULL ? close_locked(service, least) : NULL;
        if (!over && take) {
            service->memory_bytes += bytes;
            metric_set(service->metrics.memory, (double)service->memory_bytes);
        }
        pthread_mutex_unlock(&service->lock);
        body_free(last);
        if (over && least == NULL) {
            return err_set(err, E_NO_MEMORY,
                           "open indexes take %llu bytes of memory; the limit is %llu",
                           (unsigned long long)now, (unsigned long long)limit);
        }
        more = over;
    }
    return OK;
}

enum status service_room(struct coll_service *service, struct coll *keep, uint64_t bytes,
                         struct err *err)
{
    return make_room(service, keep, bytes, false, err);
}

/* --- a second body --- */

static void give_back(struct coll_service *service, uint64_t bytes)
{
    pthread_mutex_lock(&service->lock);
    service->memory_bytes -= bytes;
    metric_set(service->metrics.memory, (double)service->memory_bytes);
    pthread_mutex_unlock(&service->lock);
}

enum status coll_beside_open(struct coll *coll, const struct body *now, bool anew,
                             struct body **out, struct err *err)
{
    struct body *body = NULL;
    uint64_t bytes = atomic_load_explicit(&now->memory_bytes, memory_order_relaxed);
    TRY(make_room(coll->service, coll, bytes, true, err));
    enum status status = recover_open(coll, anew, &body, err);
    if (status != OK) {
        give_back(coll->service, bytes);
        return status;
    }
    body->accounted = bytes; /* nobody else has seen it */
    *out = body;
    return OK;
}

/** About what its items take without the gaps. */
static uint64_t packed_bytes(struct body *body)
{
    struct vec_stats stats;
    vec_stats(body->vec, &stats);
    uint64_t bytes = body_measure(body), slots = stats.slots > 0 ? stats.slots : 1;
    return (uint64_t)((double)bytes * (double)stats.count / (double)slots);
}

enum status coll_beside_pack(struct coll *coll, struct body **body, struct err *err)
{
    struct body *packed = NULL;
    uint64_t bytes = packed_bytes(*body);
    TRY(make_room(coll->service, coll, bytes, true, err));
    enum status status = body_packed(*body, &packed, err);
    give_back(coll->service, bytes);
    TRY(status);
    packed->accounted = (*body)->accounted;
    body_free(*body);
    *body = packed;
    return OK;
}

void coll_beside_free(struct coll_service *service, struct body *body)
{
    if (body != NULL) {
        give_back(service, body->accounted);
        body_free(body);
    }
}

/* --- uses --- */

void coll_unref(struct coll *coll)
{
    struct coll_service *service = coll->service;
    struct body *last = NULL;
    pthread_mutex_lock(&service->lock);
    bool gone = --coll->users == 0 && coll->dropped;
    if (gone) {
        metric_add(service->metrics.open, coll->body != NULL ? -1 : 0);
        last = unref_locked(service, coll->body);
        coll->body = NULL;
    }
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
    body_free(last);
    if (gone) {
        names_free(coll);
    }
}

void coll_stop(struct coll *coll, const struct err *err)
{
    char *text = mem_strndup(err->msg, strlen(err->msg));
    pthread_mutex_lock(&coll->service->lock);
    if (coll->stopped == NULL) {
        coll->stopped = text;
        coll->looked_at = true;
        text = NULL;
        metric_add(coll->service->metrics.stopped, 1);
    }
    pthread_mutex_unlock(&coll->service->lock);
    mem_free(text);
}

/** Guarded by the service's lock, released while the index is read. */
static enum status open_locked(struct coll *coll, struct err *err)
{
    struct coll_service *service = coll->service;
    struct body *body = NULL;
    coll->opening = true;
    pthread_mutex_unlock(&service->lock);
    struct err own = { 0 };
    enum status status = recover_open(coll, false, &body, &own);
    if (status == E_CORRUPT || status == E_UNSUPPORTED) {
        coll_stop(coll, &own);
    }
    if (status != OK && err != NULL) {
        *err = own;
    }
    pthread_mutex_lock(&service->lock);
    coll->opening = false;
    coll->looked_at = true;
    coll->body = body;
    metric_add(service->metrics.open, body != NULL);
    pthread_cond_broadcast(&service->changed);
    return status;
}

/** Guarded by the service's lock. What must be opened anew is closed, if nobody else uses it. */
static struct body *close_stale_locked(struct coll *coll)
{
    bool can = coll->stale && coll->body != NULL && coll->users == 1 && coll->pending.len == 0;
    return can ? close_locked(coll->service, coll) : NULL;
}

enum status use_open(struct coll *coll, struct coll_use *out, struct err *err)
{
    struct coll_service *service = coll->service;
    enum status status = OK;
    bool opened = false;
    pthread_mutex_lock(&service->lock);
    struct body *stale = close_stale_locked(coll);
    while (status == OK && coll->body == NULL) {
        if (coll->stopped != NULL) {
            status = err_set(err, E_CORRUPT, "index \"%s\" is stopped: %s", coll->name,
                             coll->stopped);
        } else if (coll->dropped) {
            status = err_set(err, E_NOT_FOUND, "index \"%s\" was dropped", coll->name);
        } else if (coll->opening) {
            pthread_cond_wait(&service->changed, &service->lock);
        } else {
            status = open_locked(coll, err);
            opened = status == OK;
        }
    }
    if (status == OK && coll->stopped != NULL) {
        status = err_set(err, E_CORRUPT, "index \"%s\" is stopped: %s", coll->name, coll->stopped);
    }
    if (status == OK) {
        coll->used = ++service->tick;
        coll->body->refs++;
        *out = (struct coll_use){ .coll = coll, .body = coll->body };
    }
    pthread_mutex_unlock(&service->lock);
    body_free(stale);
    if (opened) {
        coll_body_account(service, out->body);
        enum status room = service_room(service, coll, 0, NULL);
        (void)room; /* where all others are in use, what is added next is refused */
        care_wake(service, CARE_LINK);
    }
    return status;
}

enum status use_begin(struct coll_service *service, struct str name, struct coll_use *out,
                      struct err *err)
{
    enum status status = E_PRECONDITION; /* another index has the name now: look again */
    for (int i = 0; status == E_PRECONDITION && i < OPEN_TRIES; i++) {
        struct coll *coll = NULL;
        TRY(names_find(service, name, true, &coll, err));
        status = use_open(coll, out, err);
        if (status == E_NOT_FOUND && !str_eq(name, str_of(coll->name))) {
            status = E_PRECONDITION; /* the alias has another index now, or none */
        }
        if (status != OK) {
            coll_unref(coll);
        }
    }
    return status == E_PRECONDITION
               ? err_set(err, E_NOT_FOUND, "index \"%.*s\" is not there", STR_ARG(name))
               : status;
}

void use_end(struct coll_use *use)
{
    coll_body_unref(use->coll->service, use->body);
    coll_unref(use->coll);
}

void use_done(struct coll_use *use)
{
    if (use->coll != NULL) {
        use_end(use);
        use->coll = NULL;
    }
}
