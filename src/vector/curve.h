/*
 * The curve: which beam finds which share of the nearest, as it was measured on this index.
 *
 * Measuring is work of vec_maintain, in steps of one search, for k = 10 and k = 100. Queries are
 * the last ones that were asked, a part of them; until there are enough, stored vectors, each left
 * out of its own search. The truth is a scan of all codes with the bound, which finds what a scan
 * of rows finds. A curve is measured when all is linked and there is none, when there have been as
 * many adds and deletes as there were vectors at the last time, and once when there are enough
 * queries.
 */
#ifndef VECTOR_CURVE_H
#define VECTOR_CURVE_H

#include "vector/vec_priv.h"

enum {
    CURVE_QUERIES = 200, /* recall of 0.9 at k = 10 is then known to about 0.007 */
    CURVE_QUERIES_MIN = 100,
    CURVE_POINTS = 24,
    CURVE_KS = 2,
};

/** Ascending in ef; point i is ef << 32 | recall as the bits of a float. */
struct curve {
    _Atomic uint32_t count[CURVE_KS];
    _Atomic uint64_t points[CURVE_KS][CURVE_POINTS];
    _Atomic bool there;
};

/** NULL when there is no memory. */
struct curves *curves_new(const struct vec_index *index);
void curves_free(struct curves *curves);

/** Slots have other numbers now: a measurement under way begins anew. Nobody else is here. */
void curve_renumbered(struct vec_index *index);

/** Remember a query, as row_normalise left it: one of many. Never waits. */
void curve_ask(struct vec_scratch *scratch);
/** The beam that reaches this recall; 0 when there is no curve, or none that does. *most_out is the
 * widest that was measured. */
uint32_t curve_ef(const struct vec_index *index, uint32_t k, float recall, uint32_t *most_out);
/** One step; *more_out: there are more. Nothing is left to be linked. */
MUST_USE enum status curve_step(struct vec_scratch *scratch, bool *more_out, struct err *err);

#endif
