/*
 * Measuring recall, a search at a time; see curve.h.
 */
#include "vector/curve.h"
#include "vector/centre.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    ASK_EVERY = 16, /* of queries that come when there are enough */
    TRUTH = 100,
};
static const uint32_t KS[CURVE_KS] = { 10, 100 };
/* Recall from which on wider beams are not tried: the highest that can be asked for, and a bit. */
static const double ENOUGH = 0.9993;

/* A measurement under way. */
struct measure {
    bool on;
    bool asked;     /* by queries that were asked, not stored vectors */
    uint64_t begun; /* as many adds and deletes there were */
    uint32_t queries;
    uint32_t at;    /* which of them is next */
    uint32_t which; /* of KS, CURVE_KS while the truth is found */
    uint32_t point;
    uint32_t ef;
    double scan_ns; /* what a walk may cost, or else all is scanned */
    double right;
    uint64_t points[CURVE_KS][CURVE_POINTS];
    uint32_t counts[CURVE_KS];
    uint32_t slots[CURVE_QUERIES]; /* of stored vectors, NO_SLOT of others */
    uint32_t found[CURVE_QUERIES];
    uint32_t truth[CURVE_QUERIES][TRUTH];
};

struct curves {
    struct curve curve;
    _Atomic bool busy;  /* whoever has set it may use what follows */
    float *asked;       /* [CURVE_QUERIES][padded] */
    uint64_t asked_all; /* queries that were remembered, the last over the first */
    uint64_t measured;  /* as many adds and deletes there were, and vectors */
    uint64_t live;
    bool measured_asked;
    struct measure measure;
};

struct curves *curves_new(const struct vec_index *index)
{
    struct curves *curves = mem_zalloc(sizeof(*curves));
    if (curves != NULL) {
        curves->asked = mem_alloc((size_t)CURVE_QUERIES * index->shape.padded *
                                  sizeof(*curves->asked));
        if (curves->asked == NULL) {
            mem_free(curves);
            return NULL;
        }
    }
    return curves;
}

void curves_free(struct curves *curves)
{
    if (curves != NULL) {
        mem_free(curves->asked);
        mem_free(curves);
    }
}

void curve_renumbered(struct vec_index *index)
{
    struct curves *curves = atomic_load_explicit(&index->curves, memory_order_acquire);
    if (curves != NULL) {
        curves->measure.on = false;
    }
}

static bool take(struct curves *curves)
{
    return !atomic_exchange_explicit(&curves->busy, true, memory_order_acquire);
}

static void give(struct curves *curves)
{
    atomic_store_explicit(&curves->busy, false, memory_order_release);
}

void curve_ask(struct vec_scratch *scratch)
{
    struct curves *curves = atomic_load_explicit(&scratch->index->curves, memory_order_acquire);
    size_t padded = scratch->index->shape.padded;
    bool due = scratch->asked < CURVE_QUERIES || scratch->asked % ASK_EVERY == 0;
    if (curves == NULL) {
        return;
    }
    scratch->asked++;
    if (due && take(curves)) {
        if (!curves->measure.on) { /* else the measurement reads them */
            memcpy(curves->asked + curves->asked_all++ % CURVE_QUERIES * padded, scratch->row.f,
                   padded * sizeof(*curves->asked));
        }
        give(curves);
    }
}

/* --- the beam for a recall --- */

static float point_recall(uint64_t point)
{
    uint32_t bits = (uint32_t)point;
    float recall;
    memcpy(&recall, &bits, sizeof(recall));
    return recall;
}

/* Between two points recall is taken to grow as the logarithm of what is missing falls. */
static double ef_for(const struct curve *curve, uint32_t which, double recall)
{
    uint32_t count = atomic_load_explicit(&curve->count[which], memory_order_relaxed);
    double before_ef = 0;
    double before = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t point = atomic_load_explicit(&curve->points[which][i], memory_order_relaxed);
        double here = (double)point_recall(point);
        double ef = (double)(point >> 32);
        if (here >= recall) {
            if (i == 0) {
                return ef;
            }
            double missing = fmax(1 - here, 1e-5);
            double part = log((1 - before) / (1 - recall)) / log((1 - before) / missing);
            return before_ef * pow(ef / before_ef, fmin(part, 1));
        }
        before_ef = ef;
        before = here;
    }
    return 0;
}

uint32_t curve_ef(const struct vec_index *index, uint32_t k, float recall, uint32_t *most_out)
{
    const struct curves *curves = atomic_load_explicit(&index->curves, memory_order_acquire);
    *most_out = 0;
    if (curves == NULL || !atomic_load_explicit(&curves->curve.there, memory_order_acquire)) {
        return 0;
    }
    const struct curve *curve = &curves->curve;
    for (uint32_t which = 0; which < CURVE_KS; which++) {
        uint32_t count = atomic_load_explicit(&curve->count[which], memory_order_relaxed);
        uint32_t last = count == 0
                            ? 0
                            : (uint32_t)(atomic_load_explicit(&curve->points[which][count - 1],
                                                              memory_order_relaxed) >>
                                         32);
        *most_out = last > *most_out ? last : *most_out;
    }
    double low = ef_for(curve, 0, (double)recall);
    double high = ef_for(curve, 1, (double)recall);
    double ef = low;
    if (k > KS[0]) {
        /* As much wider as more are wanted; and between the two no less than on the way from one to
         * the other: where clusters are smaller than k, it is nearer to the wider one. */
        double way = log((double)k / KS[0]) / log((double)KS[1] / KS[0]);
        ef = high * k / KS[1];
        ef = k < KS[1] && ef > 0 ? fmax(ef, low * pow(high / low, way)) : ef;
    }
    ef = ef > 0 && ef < k ? k : ceil(ef);
    return ef > VEC_EF_MAX ? 0 : (uint32_t)ef;
}

/** The way back of ef_for. */
static double recall_at(const struct curve *curve, uint32_t which, double wanted)
{
    uint32_t count = atomic_load_explicit(&curve->count[which], memory_order_relaxed);
    double before_ef = 0, before = -1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t point = atomic_load_explicit(&curve->points[which][i], memory_order_relaxed);
        double here = (double)point_recall(point), ef = (double)(point >> 32);
        if (ef >= wanted) {
            if (i == 0 || ef <= before_ef) {
                return here;
            }
            double missed = fmax(1 - before, 1e-5), missing = fmax(1 - here, 1e-5);
            double part = log(wanted / before_ef) / log(ef / before_ef);
            return fmin(fmax(here, before), 1 - missed * pow(missing / missed, part));
        }
        before_ef = ef;
        before = here;
    }
    return before;
}

double vec_recall(const struct vec_index *index, uint32_t ef)
{
    const struct curves *curves = atomic_load_explicit(&index->curves, memory_order_acquire);
    if (curves == NULL || !atomic_load_explicit(&curves->curve.there, memory_order_acquire)) {
        return -1;
    }
    return recall_at(&curves->curve, 0, ef > 0 ? ef : VEC_EF_DEFAULT);
}

/* --- measuring --- */

static uint64_t operations(const struct vec_index *index)
{
    return (uint64_t)atomic_load_explicit(&index->count, memory_order_relaxed) +
           atomic_load_explicit(&index->reborn.total, memory_order_relaxed) +
           atomic_load_explicit(&index->gone.total, memory_order_relaxed);
}

static bool is_due(const struct vec_index *index, const struct curves *curves)
{
    bool there = atomic_load_explicit(&curves->curve.there, memory_order_relaxed);
    uint64_t many = curves->live > index->opts.graph_min ? curves->live : index->opts.graph_min;
    return !there || operations(index) - curves->measured >= many ||
           (!curves->measured_asked && curves->asked_all >= CURVE_QUERIES_MIN);
}

/* Stored vectors, spread over all. */
static void choose_stored(const struct vec_index *index, const struct view *view,
                          struct measure *measure)
{
    uint32_t slots = atomic_load_explicit(&index->linked, memory_order_acquire);
    measure->queries = 0;
    for (uint32_t i = 0; i < CURVE_QUERIES; i++) {
        uint32_t slot = (uint32_t)((uint64_t)i * slots / CURVE_QUERIES);
        uint32_t end = (uint32_t)((uint64_t)(i + 1) * slots / CURVE_QUERIES);
        while (slot < end && row_dead(&index->shape, view_row(index, view, slot))) {
            slot++;
        }
        if (slot < end) {
            measure->slots[measure->queries++] = slot;
        }
    }
}

static void begin(struct curves *curves, struct vec_scratch *scratch)
{
    struct measure *measure = &curves->measure;
    *measure = (struct measure){ .on = true,
                                 .which = CURVE_KS,
                                 .begun = operations(scratch->index),
                                 .asked = curves->asked_all >= CURVE_QUERIES_MIN };
    measure->scan_ns = search_scan_ns(scratch);
    if (!measure->asked) {
        choose_stored(scratch->index, reader_view(scratch), measure);
        return;
    }
    measure->queries = curves->asked_all < CURVE_QUERIES ? (uint32_t)curves->asked_all
                                                         : CURVE_QUERIES;
    for (uint32_t i = 0; i < measure->queries; i++) {
        measure->slots[i] = NO_SLOT;
    }
}

static bool query_read(const struct curves *curves, struct vec_scratch *scratch)
{
    const struct vec_index *index = scratch->index;
    const struct measure *measure = &curves->measure;
    uint32_t slot = measure->slots[measure->at];
    if (slot == NO_SLOT) {
        memcpy(scratch->row.f, curves->asked + (size_t)measure->at * index->shape.padded,
               index->shape.padded * sizeof(*curves->asked));
    } else {
        const uint8_t *row = view_row(index, reader_view(scratch), slot);
        if (row_dead(&index->shape, row)) {
            return false;
        }
        row_read(&index->shape, row, scratch->row.f);
        if (index->opts.metric == VEC_DOT) { /* else queries are counted from the centre too */
            centre_add(index, reader_view(scratch)->centre, scratch->row.f);
        }
    }
    row_query_prepare(&index->shape, &scratch->row);
    return true;
}

static void truth_take(struct measure *measure, const struct beam *nearest)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < nearest->count && n < TRUTH; i++) {
        if (nearest->slot[i] != measure->slots[measure->at]) {
            measure->truth[measure->at][n++] = nearest->slot[i];
        }
    }
    measure->found[measure->at] = n;
}

static double share_right(const struct measure *measure, const struct beam *nearest)
{
    uint32_t k = KS[measure->which];
    const uint32_t *truth = measure->truth[measure->at];
    uint32_t count = measure->found[measure->at];
    uint32_t right = 0;
    count = count < k ? count : k;
    for (uint32_t i = 0; i < nearest->count; i++) {
        for (uint32_t t = 0; t < count; t++) {
            right += (nearest->slot[i] & ~BEAM_DONE) == truth[t];
        }
    }
    return count == 0 ? 1 : (double)right / count;
}

/* Half as wide again at each point. */
static uint32_t ef_next(uint32_t ef)
{
    return ef + ef / 2 < VEC_EF_MAX ? ef + ef / 2 : VEC_EF_MAX;
}

static void finish(struct curves *curves, const struct vec_index *index)
{
    struct measure *measure = &curves->measure;
    struct curve *curve = &curves->curve;
    for (uint32_t which = 0; which < CURVE_KS; which++) {
        for (uint32_t i = 0; i < measure->counts[which]; i++) {
            atomic_store_explicit(&curve->points[which][i], measure->points[which][i],
                                  memory_order_relaxed);
        }
        atomic_store_explicit(&curve->count[which], measure->counts[which], memory_order_relaxed);
    }
    curves->measured = measure->begun;
    curves->live = atomic_load_explicit(&index->live, memory_order_relaxed);
    curves->measured_asked = measure->asked;
    measure->on = false;
    atomic_store_explicit(&curve->there, true, memory_order_release);
}

/* All queries were searched with this beam: to the next one, or the next k. */
static void point_end(struct curves *curves, const struct vec_index *index)
{
    struct measure *measure = &curves->measure;
    measure->at = 0;
    if (measure->which == CURVE_KS) {
        measure->which = 0;
        measure->ef = KS[0];
        return;
    }
    float recall = measure->queries == 0 ? 1 : (float)(measure->right / measure->queries);
    uint32_t bits;
    memcpy(&bits, &recall, sizeof(bits));
    uint32_t *count = &measure->counts[measure->which];
    measure->points[measure->which][(*count)++] = (uint64_t)measure->ef << 32 | bits;
    measure->right = 0;
    if ((double)recall < ENOUGH && measure->ef < VEC_EF_MAX && *count < CURVE_POINTS &&
        filtered_walk_ns(measure->ef) < measure->scan_ns) {
        measure->ef = ef_next(measure->ef);
        return;
    }
    if (++measure->which < CURVE_KS) {
        measure->ef = KS[measure->which];
    } else {
        finish(curves, index);
    }
}

/* One query, pinned. */
static enum status step(struct curves *curves, struct vec_scratch *scratch, struct err *err)
{
    struct measure *measure = &curves->measure;
    if (!measure->on) {
        begin(curves, scratch);
    }
    bool truth = measure->which == CURVE_KS;
    if (measure->at < measure->queries && query_read(curves, scratch)) {
        const struct beam *nearest = NULL;
        uint32_t k = truth ? TRUTH + 1 : KS[measure->which];
        TRY(search_measure(scratch, k, truth ? 0 : measure->ef, measure->slots[measure->at],
                           &nearest, err));
        if (truth) {
            truth_take(measure, nearest);
        } else {
            measure->right += share_right(measure, nearest);
        }
    } else if (!truth) {
        measure->right++; /* it is gone: as if nothing was to be found */
    }
    if (++measure->at >= measure->queries) {
        point_end(curves, scratch->index);
    }
    return OK;
}

static enum status curves_there(struct vec_index *index, struct curves **out, struct err *err)
{
    struct curves *curves = atomic_load_explicit(&index->curves, memory_order_acquire);
    if (curves == NULL) {
        struct curves *fresh = curves_new(index);
        if (fresh == NULL) {
            return err_no_memory(err);
        }
        if (atomic_compare_exchange_strong(&index->curves, &curves, fresh)) {
            curves = fresh;
        } else {
            curves_free(fresh);
        }
    }
    *out = curves;
    return OK;
}

enum status curve_step(struct vec_scratch *scratch, bool *more_out, struct err *err)
{
    struct vec_index *index = scratch->index;
    struct curves *curves = NULL;
    *more_out = false;
    TRY(curves_there(index, &curves, err));
    if (!take(curves)) {
        return OK; /* somebody else is at it */
    }
    struct measure *measure = &curves->measure;
    uint64_t live = atomic_load_explicit(&index->live, memory_order_relaxed);
    if (measure->on && operations(index) - measure->begun > live / 16) {
        measure->on = false; /* too much has changed: begin anew, when it is due */
    }
    enum status status = OK;
    if (measure->on || is_due(index, curves)) {
        reader_pin(scratch);
        status = step(curves, scratch, err);
        reader_unpin(scratch);
        *more_out = measure->on || is_due(index, curves);
    }
    give(curves);
    return status;
}
