/*
 * Indexes and aliases as names: each change is one compare-and-swap of a pointer. Indexes and
 * aliases share the names, so that two of one name cannot be; what is dropped stays as a tombstone.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "collection/coll_priv.h"

enum {
    SWAP_TRIES = 8,
    LIST_ASK_US = 300 * 1000, /* for lengths that nobody knows yet, in a list */
};

/* --- changing a pointer --- */

/** What should stand where `base` is (NULL: nothing). E_PRECONDITION is never its answer. */
typedef enum status (*change_fn)(const struct coll_pointer *base, struct coll_pointer *next,
                                 const void *ctx, struct err *err);

/** The map has it, now or by the next look into the store. */
static void keep(struct coll_service *service, const struct coll_pointer *pointer)
{
    pthread_mutex_lock(&service->lock);
    service->names_changed++;
    if (names_set_locked(service, pointer, NULL) != OK) {
        struct coll *coll = map_get(&service->by_name, pointer->name);
        if (coll != NULL) {
            coll->etag[0] = '\0'; /* it is read again */
        }
    }
    service->sweep = service->sweep || (pointer->dropped && pointer->kind == COLL_POINTER_INDEX);
    pthread_mutex_unlock(&service->lock);
    care_wake(service, CARE_KEEP);
}

static enum status change(struct coll_service *service, struct str name, change_fn fn,
                          const void *ctx, struct arena *arena, struct err *err)
{
    TRY(coll_name_check(name, err));
    if (service->opts.read_only) {
        return err_set(err, E_CONFLICT, "this process reads only");
    }
    for (int i = 0; i < SWAP_TRIES; i++) {
        struct coll_pointer base = { 0 }, next = { 0 };
        enum status status = coll_pointer_read(service->store, name, arena, &base, err);
        bool there = status == OK;
        if (status != OK && status != E_NOT_FOUND) {
            return status;
        }
        TRY(fn(there ? &base : NULL, &next, ctx, err));
        next.name = name;
        status = coll_pointer_swap(service->store, there ? &base : NULL, arena, &next, err);
        if (status == OK) {
            keep(service, &next);
            return OK;
        }
        if (status != E_PRECONDITION) {
            return status;
        }
    }
    return err_set(err, E_UNAVAILABLE, "others change \"%.*s\" all the time", STR_ARG(name));
}

static enum status refuse_existing(const struct coll_pointer *base, struct err *err)
{
    return err_set(err, E_EXISTS, "%s \"%.*s\" is there already",
                   base->kind == COLL_POINTER_ALIAS ? "an alias" : "index", STR_ARG(base->name));
}

/* --- create and drop --- */

struct creating {
    const struct coll_spec *spec;
    char uuid[UUID_TEXT + 1];
};

static enum status create_change(const struct coll_pointer *base, struct coll_pointer *next,
                                 const void *ctx, struct err *err)
{
    const struct creating *creating = ctx;
    if (base != NULL && !base->dropped) {
        return refuse_existing(base, err);
    }
    *next = (struct coll_pointer){ .kind = COLL_POINTER_INDEX,
                                   .uuid = str_from(creating->uuid, UUID_TEXT),
                                   .first_log = 1,
                                   .spec = *creating->spec };
    return OK;
}

static enum status check_spec(const struct coll_spec *spec, struct err *err)
{
    struct vec_index *trial = NULL;
    const struct vec_opts opts = { .dimension = spec->dimension,
                                   .metric = spec->metric,
                                   .m = spec->m,
                                   .ef_construction = spec->ef_construction,
                                   .preset = spec->preset };
    TRY(coll_name_check(spec->name, err));
    TRY(vec_new(&opts, &trial, err));
    vec_free(trial);
    return spec->ef_search <= VEC_EF_MAX
               ? OK
               : err_set(err, E_INVALID, "ef_search is %u; the most is %d", spec->ef_search,
                         VEC_EF_MAX);
}

/** As it is told: with the defaults in place of zeros. */
static struct coll_spec spec_told(const struct coll_spec *spec)
{
    struct coll_spec told = *spec;
    told.m = told.m > 0 ? told.m : VEC_M_DEFAULT;
    told.ef_construction = told.ef_construction > 0 ? told.ef_construction
                                                    : VEC_EF_CONSTRUCTION_DEFAULT;
    told.ef_search = told.ef_search > 0 ? told.ef_search : VEC_EF_DEFAULT;
    return told;
}

/** As it is stored: the preset's numbers in place of zeros, and no preset. */
static struct coll_spec spec_stored(const struct coll_spec *spec)
{
    struct coll_spec stored = *spec;
    if (spec->preset == VEC_PRESET_FAST_BUILD) {
        stored.m = spec->m > 0 ? spec->m : VEC_M_FAST_BUILD;
        stored.ef_construction = spec->ef_construction > 0 ? spec->ef_construction
                                                           : VEC_EF_CONSTRUCTION_FAST_BUILD;
    }
    stored.preset = VEC_PRESET_NONE;
    return stored;
}

enum status coll_create(struct coll_service *service, const struct coll_spec *spec,
                        struct arena *arena, struct coll_info *info_out, struct err *err)
{
    TRY(check_spec(spec, err));
    const struct coll_spec stored = spec_stored(spec);
    struct creating creating = { .spec = &stored };
    uuid4(creating.uuid);
    TRY(change(service, spec->name, create_change, &creating, arena, err));
    struct coll_info info = { .spec = spec_told(&stored), .writable = true, .length_known = true };
    info.spec.name = arena_str(arena, spec->name);
    info.uuid = arena_str(arena, str_from(creating.uuid, UUID_TEXT));
    info.stopped = STR_EMPTY;
    if (info.spec.name.ptr == NULL || info.uuid.ptr == NULL) {
        return err_no_memory(err);
    }
    *info_out = info;
    return OK;
}

static enum status drop_change(const struct coll_pointer *base, struct coll_pointer *next,
                               const void *ctx, struct err *err)
{
    enum coll_pointer_kind kind = *(const enum coll_pointer_kind *)ctx;
    if (base == NULL || base->dropped || base->kind != kind) {
        return err_set(err, E_NOT_FOUND, "there is no %s of that name",
                       kind == COLL_POINTER_ALIAS ? "alias" : "index");
    }
    *next = *base;
    next->dropped = true;
    return OK;
}

static enum status drop(struct coll_service *service, struct str name, enum coll_pointer_kind kind,
                        struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = change(service, name, drop_change, &kind, &arena, err);
    arena_done(&arena);
    return status;
}

enum status coll_drop(struct coll_service *service, struct str name, struct err *err)
{
    return drop(service, name, COLL_POINTER_INDEX, err);
}

/* --- aliases --- */

static enum status alias_change(const struct coll_pointer *base, struct coll_pointer *next,
                                const void *ctx, struct err *err)
{
    if (base != NULL && !base->dropped && base->kind != COLL_POINTER_ALIAS) {
        return refuse_existing(base, err);
    }
    *next = (struct coll_pointer){ .kind = COLL_POINTER_ALIAS, .index = *(const struct str *)ctx };
    return OK;
}

enum status coll_alias_set(struct coll_service *service, struct str alias, struct str index,
                           struct err *err)
{
    struct arena arena;
    struct coll *coll = NULL;
    TRY(names_find(service, index, false, &coll, err));
    bool is_alias = coll->index != NULL;
    coll_unref(coll);
    if (is_alias) {
        return err_set(err, E_NOT_FOUND, "\"%.*s\" is an alias itself", STR_ARG(index));
    }
    arena_init(&arena, 0);
    enum status status = change(service, alias, alias_change, &index, &arena, err);
    arena_done(&arena);
    return status;
}

enum status coll_alias_drop(struct coll_service *service, struct str alias, struct err *err)
{
    return drop(service, alias, COLL_POINTER_ALIAS, err);
}

/* --- lists --- */

static int by_name(const void *a, const void *b)
{
    const struct coll *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/** All entries of a kind by name, with a user more each. */
static enum status take_all(struct coll_service *service, bool aliases, struct arena *arena,
                            struct coll ***out, size_t *count_out, struct err *err)
{
    pthread_mutex_lock(&service->lock);
    struct coll **all = arena_array(arena, service->by_name.count, sizeof *all);
    size_t count = 0, pos = 0;
    if (all != NULL) {
        for (struct map_entry *entry; (entry = map_next(&service->by_name, &pos)) != NULL;) {
            struct coll *coll = entry->value;
            if ((coll->index != NULL) == aliases) {
                coll->users++;
                all[count++] = coll;
            }
        }
    }
    pthread_mutex_unlock(&service->lock);
    if (all == NULL) {
        return err_no_memory(err);
    }
    if (count > 1) {
        qsort(all, count, sizeof *all, by_name);
    }
    *out = all;
    *count_out = count;
    return OK;
}

static void give_all(struct coll **all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        coll_unref(all[i]);
    }
}

enum status coll_alias_list(struct coll_service *service, struct arena *arena,
                            struct coll_alias **out, size_t *count_out, struct err *err)
{
    struct coll **all = NULL;
    size_t count = 0;
    TRY(names_refresh(service, err));
    TRY(take_all(service, true, arena, &all, &count, err));
    struct coll_alias *list = arena_array(arena, count, sizeof *list);
    bool memory = list != NULL;
    for (size_t i = 0; memory && i < count; i++) {
        list[i].alias = arena_str(arena, str_of(all[i]->name));
        list[i].index = arena_str(arena, str_of(all[i]->index));
        memory = list[i].alias.ptr != NULL && list[i].index.ptr != NULL;
    }
    give_all(all, count);
    if (!memory) {
        return err_no_memory(err);
    }
    *out = list;
    *count_out = count;
    return OK;
}

/** What is known of a closed index' length; `ask`: else it is read, once. UINT64_MAX: unknown. */
static uint64_t closed_length(struct coll *coll, bool ask)
{
    pthread_mutex_lock(&coll->service->lock);
    uint64_t length = coll->length;
    ask = ask && coll->body == NULL && coll->stopped == NULL && length == UINT64_MAX;
    pthread_mutex_unlock(&coll->service->lock);
    if (ask && recover_look(coll, false, &length, NULL) == OK) {
        pthread_mutex_lock(&coll->service->lock);
        if (coll->length == UINT64_MAX) { /* else it was opened and closed meanwhile */
            coll->length = length;
        }
        length = coll->length;
        pthread_mutex_unlock(&coll->service->lock);
    }
    return length;
}

static enum status fill_info(struct coll *coll, bool ask, struct arena *arena,
                             struct coll_info *out, struct err *err)
{
    struct coll_info info = { .spec = spec_told(&coll->spec) };
    uint64_t length = closed_length(coll, ask);
    info.length_known = length != UINT64_MAX;
    info.length = info.length_known ? length : 0;
    info.spec.name = arena_str(arena, str_of(coll->name));
    info.uuid = arena_str(arena, str_of(coll->uuid));
    pthread_mutex_lock(&coll->service->lock);
    info.stopped = arena_str(arena, coll->stopped == NULL ? STR_EMPTY : str_of(coll->stopped));
    info.open = coll->body != NULL;
    if (coll->body != NULL) {
        info.length = atomic_load_explicit(&coll->body->length, memory_order_relaxed);
        info.length_known = true;
        info.memory_bytes = coll->body->accounted;
    }
    pthread_mutex_unlock(&coll->service->lock);
    info.writable = atomic_load_explicit(&coll->writable, memory_order_relaxed);
    if (info.spec.name.ptr == NULL || info.uuid.ptr == NULL || info.stopped.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = info;
    return OK;
}

enum status coll_info(struct coll_service *service, struct str name, struct arena *arena,
                      struct coll_info *info_out, struct err *err)
{
    struct coll *coll = NULL;
    TRY(names_find(service, name, true, &coll, err));
    enum status status = fill_info(coll, true, arena, info_out, err);
    coll_unref(coll);
    return status;
}

enum status coll_list(struct coll_service *service, struct arena *arena, struct coll_info **out,
                      size_t *count_out, struct err *err)
{
    struct coll **all = NULL;
    size_t count = 0;
    TRY(names_refresh(service, err));
    TRY(take_all(service, false, arena, &all, &count, err));
    struct coll_info *list = arena_array(arena, count, sizeof *list);
    enum status status = list != NULL ? OK : err_no_memory(err);
    int64_t until = clock_now_us() + LIST_ASK_US;
    for (size_t i = 0; status == OK && i < count; i++) {
        status = fill_info(all[i], clock_now_us() < until, arena, &list[i], err);
    }
    give_all(all, count);
    TRY(status);
    *out = list;
    *count_out = count;
    return OK;
}

enum status coll_dimension(struct coll_service *service, struct str name, uint32_t *out,
                           struct err *err)
{
    struct coll *coll = NULL;
    TRY(names_find(service, name, true, &coll, err));
    *out = coll->spec.dimension;
    coll_unref(coll);
    return OK;
}

enum status coll_stats(struct coll_service *service, struct str name, struct arena *arena,
                       struct coll_stats *out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    struct coll_stats stats = { 0 };
    struct meta_stats meta;
    struct arena scrap;
    struct coll_pointer pointer = { 0 };
    TRY(use_begin(service, name, &use, err));
    struct body *body = use.body;
    TRY(fill_info(use.coll, false, arena, &stats.info, err));
    vec_stats(body->vec, &stats.graph);
    stats.recall = vec_recall(body->vec, body->spec.ef_search);
    pthread_rwlock_rdlock(&body->lock);
    meta_stats(body->meta, &meta);
    stats.id_bytes = body->ids.bytes;
    pthread_rwlock_unlock(&body->lock);
    stats.deleted = stats.graph.slots - stats.graph.count;
    stats.vector_bytes = stats.graph.memory_bytes;
    stats.metadata_bytes = meta.metadata_bytes;
    stats.field_index_bytes = meta.index_bytes;
    stats.log_tail_objects = atomic_load_explicit(&body->tail_objects, memory_order_relaxed);
    stats.log_tail_bytes = atomic_load_explicit(&body->tail_bytes, memory_order_relaxed);
    stats.plans_graph = atomic_load_explicit(&body->plans_graph, memory_order_relaxed);
    stats.plans_scan = atomic_load_explicit(&body->plans_scan, memory_order_relaxed);
    stats.plans_exact = atomic_load_explicit(&body->plans_exact, memory_order_relaxed);
    arena_init(&scrap, 0);
    enum status status = coll_pointer_read(service->store, str_of(use.coll->name), &scrap, &pointer,
                                           err);
    stats.snapshot_sequence = pointer.snapshot.sequence;
    arena_done(&scrap);
    if (status == OK) {
        *out = stats;
    }
    return status;
}
