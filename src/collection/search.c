/*
 * Searching: slots from the index, then ids under the same pin, then exact distances from the file
 * of vectors as they were put.
 *
 * A slot that an item left after the pin was set still holds the vector it had, so the hit counts:
 * it was current during the search. One that was left before is somebody else's by now, or
 * nobody's. With a filter the lock is held from matching to mapping, so that what it let through
 * stays what it is.
 *
 * Rows are rounded, so hits are ranked again by their exact distances, which are also what is told.
 */
#include <math.h>
#include <stdlib.h>

#include "collection/read.h"
#include "vector/floats.h"
#include "vector/rows.h"

enum { K_DEFAULT = 10, TRIES = 4, GROUP = 16 /* queries behind one pin; chosen, not measured */ };

struct mapped { /* a hit that is somebody's */
    uint32_t slot, row;
    uint64_t number; /* of the item: the row may be another one's by and by */
    double distance;
};

/** One call, for all its queries. */
struct search {
    struct body *body;
    const struct coll_query *query;
    uint32_t k, ef;
    struct filter *filter;   /* of the query at hand; NULL: none */
    struct filter **filters; /* of each query; NULL: all have the one above */
    struct meta_match match; /* of one query, under the lock */
    struct vec_scratch *scratch;
    struct vec_hit *hits; /* [k + what is asked for more] */
    struct mapped *mapped;
    float *vector;      /* of one hit */
    struct arena scrap; /* dies with each query */
    struct coll_answer *answer;
};

/* --- distances --- */

static double exact_distance(enum vec_metric metric, const float *a, const float *b, uint32_t n)
{
    if (metric == VEC_L2) {
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            double difference = (double)a[i] - (double)b[i];
            sum += difference * difference;
        }
        return sqrt(sum);
    }
    double dot = floats_dot(a, b, n);
    if (metric == VEC_DOT) {
        return -dot;
    }
    double distance = 1 - dot / sqrt(floats_dot(a, a, n) * floats_dot(b, b, n));
    return distance < 0 ? 0 : distance > 2 ? 2 : distance;
}

static int by_distance(const void *a, const void *b)
{
    const struct mapped *x = a, *y = b;
    return x->distance != y->distance ? (x->distance < y->distance ? -1 : 1)
                                      : (x->slot > y->slot) - (x->slot < y->slot);
}

/* --- one query --- */

static bool is_met(const struct mapped *mapped, size_t count, uint32_t row)
{
    for (size_t i = 0; i < count; i++) {
        if (mapped[i].row == row) {
            return true;
        }
    }
    return false;
}

/** Guarded by the body's lock. Hits that are items now, or were when `stamp` was read. */
static size_t map_hits_locked(struct search *search, uint32_t found, uint64_t stamp)
{
    const struct ids *ids = &search->body->ids;
    size_t count = 0;
    bool replaced = false;
    for (uint32_t i = 0; i < found; i++) {
        uint64_t retired = 0;
        uint32_t slot = search->hits[i].slot, row = ids_at_slot(ids, slot, &retired);
        if (row == IDS_NONE || !ids_row(ids, row)->live || (retired != 0 && retired <= stamp)) {
            continue;
        }
        replaced = replaced || retired != 0;
        if (replaced && is_met(search->mapped, count, row)) {
            continue; /* both versions were met; the nearer one comes first */
        }
        search->mapped[count++] = (struct mapped){ .slot = slot,
                                                   .row = row,
                                                   .number = ids_row(ids, row)->number };
    }
    return count;
}

/** What the library tells of `count` queries goes into the answer and the counters. */
static void take_report(struct search *search, const struct vec_report *report, size_t count)
{
    struct body *body = search->body;
    bool exact = search->query->exact, graph = !exact && report->plan == VEC_PLAN_GRAPH;
    if (report->ef_used > search->answer->ef_used && graph) {
        search->answer->ef_used = report->ef_used;
    }
    search->answer->target_missed = search->answer->target_missed || report->target_missed;
    _Atomic uint64_t *counter = exact   ? &body->plans_exact
                                : graph ? &body->plans_graph
                                        : &body->plans_scan;
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
    static const char *const plans[4][3] = {
        { "graph", "scan", "exact" },
        { "filter:index+graph", "filter:index+scan", "filter:index+exact" },
        { "filter:index+scan+graph", "filter:index+scan+scan", "filter:index+scan+exact" },
        { "filter:scan+graph", "filter:scan+scan", "filter:scan+exact" },
    };
    int how = search->filter == NULL                          ? 0
              : strcmp(search->match.plan, "index") == 0      ? 1
              : strcmp(search->match.plan, "index+scan") == 0 ? 2
                                                              : 3;
    search->answer->plan = plans[how][exact ? 2 : graph ? 0 : 1];
}

static enum status find(struct search *search, const float *query, uint32_t k, uint32_t *found_out,
                        struct err *err)
{
    struct vec_filter allowed = { .slots = search->match.slots,
                                  .bits = search->match.bits,
                                  .slot_count = search->match.count,
                                  .word_count = search->match.word_count };
    struct vec_report report = { 0 };
    const struct vec_search_opts opts = { .k = k,
                                          .ef = search->query->recall_target > 0 ? 0 : search->ef,
                                          .recall_target = search->query->recall_target,
                                          .filter = search->filter != NULL ? &allowed : NULL,
                                          .report = &report };
    struct body *body = search->body;
    if (search->query->exact) {
        TRY(vec_exact(body->vec, search->scratch, query, &opts, search->hits, found_out, err));
    } else {
        TRY(vec_search(body->vec, search->scratch, query, &opts, search->hits, found_out, err));
    }
    take_report(search, &report, 1);
    return OK;
}

/** Behind the pin. More than k are asked for when some of them turn out to be nobody's. */
static enum status find_mapped(struct search *search, const float *query, size_t *count_out,
                               struct err *err)
{
    struct body *body = search->body;
    uint32_t k = search->k;
    for (int i = 0; i < TRIES; i++) {
        /* acquire: the pin that was set before holds what is retired from here on */
        uint64_t stamp = atomic_load_explicit(&body->stamp, memory_order_acquire);
        uint32_t found = 0;
        bool locked = search->filter != NULL;
        if (locked) {
            pthread_rwlock_rdlock(&body->lock);
            enum status status = meta_match(body->meta, search->filter, &search->scrap,
                                            &search->match, err);
            status = status == OK ? find(search, query, k, &found, err) : status;
            search->answer->filter_count = search->match.count;
            if (status != OK) {
                pthread_rwlock_unlock(&body->lock);
                return status;
            }
        } else {
            TRY(find(search, query, k, &found, err));
            pthread_rwlock_rdlock(&body->lock);
        }
        *count_out = map_hits_locked(search, found, stamp);
        pthread_rwlock_unlock(&body->lock);
        uint32_t lost = found - (uint32_t)*count_out;
        if (lost == 0 || *count_out >= search->k || found < k || k == VEC_K_MAX) {
            break;
        }
        k = search->k + 2 * lost < VEC_K_MAX ? search->k + 2 * lost : VEC_K_MAX;
        search->hits = arena_array(&search->scrap, k, sizeof *search->hits);
        search->mapped = arena_array(&search->scrap, k, sizeof *search->mapped);
        if (search->hits == NULL || search->mapped == NULL) {
            return err_no_memory(err);
        }
    }
    *count_out = *count_out < search->k ? *count_out : search->k;
    return OK;
}

/** Behind the pin. */
static enum status rank(struct search *search, const float *query, size_t count, struct err *err)
{
    struct body *body = search->body;
    for (size_t i = 0; i < count; i++) {
        TRY(floats_read(&body->floats, search->mapped[i].slot, search->vector, err));
        search->mapped[i].distance = exact_distance(body->spec.metric, query, search->vector,
                                                    body->spec.dimension);
    }
    if (count > 1) {
        qsort(search->mapped, count, sizeof *search->mapped, by_distance);
    }
    return OK;
}

/** Behind the pin. What is asked for of each hit; who was deleted meanwhile is left out. */
static enum status tell(struct search *search, size_t count, struct arena *arena,
                        struct coll_hits *out, struct err *err)
{
    const struct coll_query *query = search->query;
    struct body *body = search->body;
    struct coll_hits hits = { .items = arena_array(arena, count, sizeof *hits.items) };
    if (hits.items == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct mapped *mapped = &search->mapped[i];
        struct coll_hit *hit = &hits.items[hits.count];
        struct coll_item item = { 0 };
        if (query->has_max_distance && mapped->distance > query->max_distance) {
            break;
        }
        pthread_rwlock_rdlock(&body->lock);
        const struct ids_row *row = ids_row(&body->ids, mapped->row);
        bool there = row->live && row->number == mapped->number;
        enum status status = there ? read_item_locked(body, mapped->row, query->with_metadata,
                                                      arena, &item, err)
                                   : OK;
        pthread_rwlock_unlock(&body->lock);
        if (status == OK && there && query->with_vectors) {
            status = read_vector(body, mapped->slot, arena, &hit->vector, err);
        }
        TRY(status);
        hit->id = item.id;
        hit->metadata = item.metadata;
        hit->distance = mapped->distance;
        hits.count += there;
    }
    *out = hits;
    return OK;
}

/** What `queries` need until the next call. */
static enum status make_room(struct search *search, size_t queries, struct err *err)
{
    arena_reset(&search->scrap);
    search->hits = arena_array(&search->scrap, search->k * queries, sizeof *search->hits);
    search->mapped = arena_array(&search->scrap, search->k, sizeof *search->mapped);
    search->vector = arena_array(&search->scrap, search->body->spec.dimension,
                                 sizeof *search->vector);
    bool memory = search->hits != NULL && search->mapped != NULL && search->vector != NULL;
    return memory ? OK : err_no_memory(err);
}

static enum status search_one(struct search *search, const float *query, struct arena *arena,
                              struct coll_hits *out, struct err *err)
{
    size_t count = 0;
    TRY(make_room(search, 1, err));
    vec_pin(search->body->vec, search->scratch);
    enum status status = find_mapped(search, query, &count, err);
    status = status == OK ? rank(search, query, count, err) : status;
    status = status == OK ? tell(search, count, arena, out, err) : status;
    vec_unpin(search->scratch);
    return status;
}

/** Behind the pin. The hits of one query of a group; *again_out: of some that were nobody's others
 * may take the place, so it is searched by itself. */
static enum status finish_one(struct search *search, const float *query, uint32_t found,
                              uint64_t stamp, struct arena *arena, struct coll_hits *out,
                              bool *again_out, struct err *err)
{
    pthread_rwlock_rdlock(&search->body->lock);
    size_t count = map_hits_locked(search, found, stamp);
    pthread_rwlock_unlock(&search->body->lock);
    *again_out = count < found && found == search->k;
    if (*again_out) {
        return OK;
    }
    TRY(rank(search, query, count, err));
    return tell(search, count, arena, out, err);
}

/** Up to GROUP queries without a filter walk beside each other: one computes while another waits
 * for memory. */
static enum status search_group(struct search *search, const float *queries, size_t count,
                                struct arena *arena, struct coll_hits *out, struct err *err)
{
    struct body *body = search->body;
    uint32_t found[GROUP], dimension = body->spec.dimension, k = search->k;
    bool again[GROUP] = { false };
    struct vec_report report = { 0 };
    const struct vec_search_opts opts = { .k = k,
                                          .ef = search->query->recall_target > 0 ? 0 : search->ef,
                                          .recall_target = search->query->recall_target,
                                          .report = &report };
    TRY(make_room(search, count, err));
    vec_pin(body->vec, search->scratch);
    uint64_t stamp = atomic_load_explicit(&body->stamp, memory_order_acquire); /* find_mapped */
    enum status status = vec_search_batch(body->vec, search->scratch, queries, (uint32_t)count,
                                          &opts, search->hits, found, err);
    for (size_t i = 0; status == OK && i < count; i++, search->hits += k) {
        status = finish_one(search, queries + i * dimension, found[i], stamp, arena, &out[i],
                            &again[i], err);
    }
    vec_unpin(search->scratch);
    if (status == OK) {
        take_report(search, &report, count);
    }
    for (size_t i = 0; status == OK && i < count; i++) {
        if (again[i]) {
            status = search_one(search, queries + i * dimension, arena, &out[i], err);
        }
    }
    return status;
}

/* --- the call --- */

static enum status check_query(const struct coll_service *service, const struct body *body,
                               const struct coll_query *query, struct err *err)
{
    if (query->k > service->opts.k_max) {
        return err_set(err, E_INVALID, "k is %u; it goes from 1 to %u", query->k,
                       service->opts.k_max);
    }
    if (query->ef > VEC_EF_MAX) {
        return err_set(err, E_INVALID, "ef is %u; the most is %d", query->ef, VEC_EF_MAX);
    }
    if (query->recall_target != 0 &&
        !(query->recall_target >= 0.90F && query->recall_target <= 0.999F)) {
        return err_set(err, E_INVALID, "recall_target goes from 0.90 to 0.999");
    }
    if (query->recall_target != 0 && query->ef != 0) {
        return err_set(err, E_INVALID, "give ef or recall_target, not both");
    }
    if (query->has_max_distance && isnan(query->max_distance)) {
        return err_set(err, E_INVALID, "max_distance is no number");
    }
    for (size_t i = 0; query->vectors != NULL && i < query->vector_count; i++) {
        const char *refused = row_refused(query->vectors + i * body->spec.dimension,
                                          body->spec.dimension, body->spec.metric);
        if (refused != NULL) {
            return err_set(err, E_INVALID, "vector %zu %s", i, refused);
        }
    }
    return OK;
}

static enum status vector_of(struct search *search, struct str id, struct arena *arena,
                             const float **out, struct err *err)
{
    struct body *body = search->body;
    vec_pin(body->vec, search->scratch);
    pthread_rwlock_rdlock(&body->lock);
    uint32_t row = ids_find(&body->ids, id);
    uint32_t slot = row == IDS_NONE ? 0 : ids_row(&body->ids, row)->slot;
    pthread_rwlock_unlock(&body->lock);
    enum status status = row == IDS_NONE
                             ? err_set(err, E_NOT_FOUND, "id \"%.*s\" is not there", STR_ARG(id))
                             : read_vector(body, slot, arena, out, err);
    vec_unpin(search->scratch);
    return status;
}

static enum status search_all(struct search *search, struct arena *arena, struct err *err)
{
    const struct coll_query *query = search->query;
    const float *vectors = query->vectors;
    size_t count = vectors == NULL ? 1 : query->vector_count;
    struct coll_answer *answer = search->answer;
    answer->queries = arena_array(arena, count, sizeof *answer->queries);
    answer->query_count = count;
    if (answer->queries == NULL) {
        return err_no_memory(err);
    }
    if (vectors == NULL) {
        TRY(vector_of(search, query->id, arena, &vectors, err));
    }
    /* what a filter lets through is what it is only for as long as the lock is held */
    bool each = search->filters != NULL;
    size_t most = search->filter == NULL && !each && !query->exact ? GROUP : 1,
           dimension = search->body->spec.dimension;
    for (size_t i = 0; i < count; i += most) {
        size_t some = count - i < most ? count - i : most;
        const float *from = vectors + i * dimension;
        if (each) {
            search->filter = search->filters[i];
            answer->filter_count = atomic_load_explicit(&search->body->length,
                                                        memory_order_relaxed);
        }
        TRY(some == 1 ? search_one(search, from, arena, &answer->queries[i], err)
                      : search_group(search, from, some, arena, &answer->queries[i], err));
    }
    return OK;
}

/** NULL where it is empty, or lets all through. */
static enum status parse_filter(struct str text, struct arena *arena, struct filter **out,
                                struct err *err)
{
    struct filter *filter = NULL;
    TRY(text.len > 0 ? filter_parse(text, arena, &filter, err) : OK);
    *out = filter == NULL || filter_is_empty(filter) ? NULL : filter;
    return OK;
}

static enum status parse_filters(struct search *search, struct arena *arena, struct err *err)
{
    const struct coll_query *query = search->query;
    if (query->filters == NULL) {
        return parse_filter(query->filter, arena, &search->filter, err);
    }
    if (query->vectors == NULL || query->filter.len > 0) {
        return err_set(err, E_INVALID, "filters are one a vector, and no other filter beside them");
    }
    search->filters = arena_array(arena, query->vector_count, sizeof *search->filters);
    if (search->filters == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < query->vector_count; i++) {
        enum status status = parse_filter(query->filters[i], arena, &search->filters[i], err);
        if (status != OK) {
            return err_context(err, "filter %zu", i), status;
        }
    }
    return OK;
}

enum status coll_search(struct coll_service *service, struct str name,
                        const struct coll_query *query, struct arena *arena,
                        struct coll_answer *out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    struct coll_answer answer = { .plan = "scan" };
    TRY(use_begin(service, name, &use, err));
    TRY(check_query(service, use.body, query, err));
    struct search search = { .body = use.body,
                             .query = query,
                             .k = query->k > 0 ? query->k : K_DEFAULT,
                             .ef = query->ef > 0 ? query->ef : use.coll->spec.ef_search,
                             .answer = &answer };
    search.k = search.k < service->opts.k_max ? search.k : service->opts.k_max;
    TRY(parse_filters(&search, arena, err));
    answer.filter_count = atomic_load_explicit(&use.body->length, memory_order_relaxed);
    TRY(body_scratch_take(use.body, &search.scratch, err));
    arena_init(&search.scrap, SIZE_MAX);
    enum status status = search_all(&search, arena, err);
    arena_done(&search.scrap);
    body_scratch_give(use.body, search.scratch);
    if (status == OK) {
        *out = answer;
    }
    return status;
}
