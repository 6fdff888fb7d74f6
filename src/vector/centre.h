/*
 * What stored rows are counted from. A row is x - centre, so that 12 bits tell vectors apart that
 * lie far from the origin and near each other. Squared distances are the same: a query is counted
 * from there too. Under dot product the query stays as it is, and all distances lack the same
 * -dot(query, centre): it is added last. So nothing else knows that there is a centre.
 *
 * It belongs to a view. The first vector is the centre, then that of the first 4, 16 and 32: in
 * each dimension the median, so that a few strange ones do no harm. Until then vectors are kept as
 * floats beside the rows, which are written anew from them. When there is a graph, or there are
 * more rows, it never changes.
 */
#ifndef VECTOR_CENTRE_H
#define VECTOR_CENTRE_H

#include "vector/vec_priv.h"

enum { CENTRE_ROWS_MAX = 32 };

struct centre {
    uint64_t serial; /* another one for each centre that an index has had */
    float values[];  /* [padded] */
};

static inline uint64_t centre_serial(const struct view *view)
{
    return view->centre == NULL ? 0 : view->centre->serial;
}

/** Few dimensions are floats, which lose nothing; but where all lengths are made equal, what is
 * common to all would hide what is not. */
bool centre_wanted(const struct row_shape *shape, enum vec_metric metric);
/** NULL: no memory. The values are zeros when they are NULL. */
struct centre *centre_new(struct vec_index *index, const float *values) MUST_USE;

/** Before a vector is added, as row_normalise left it: another centre when it is time. Holds add;
 * takes grow. */
MUST_USE enum status centre_before(struct vec_index *index, const float *values, struct err *err);
/** After: it is kept while another centre may come. Holds add. */
void centre_after(struct vec_index *index, uint32_t slot, const float *vector);
/** Slots are others now, or nobody is left. Holds add. */
void centre_forget(struct vec_index *index);
/** Rows of a view that is not published yet, from what was kept. Holds add and grow. */
void centre_rows_write(struct vec_index *index, const struct view *view, uint32_t count);

/** What is stored of a vector, and the vector of what is stored. In place. */
void centre_subtract(const struct vec_index *index, const struct centre *centre, float *values);
void centre_add(const struct vec_index *index, const struct centre *centre, float *values);
/** A query that row_normalise has left; returns what its distances lack. */
float centre_query(const struct vec_index *index, const struct centre *centre, float *values);

#endif
