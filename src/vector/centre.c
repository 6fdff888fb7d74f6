/*
 * Where the centre comes from, and what is done with it.
 */
#include "vector/centre.h"

#include <string.h>

#include "base/mem.h"
#include "vector/floats.h"

bool centre_wanted(const struct row_shape *shape, enum vec_metric metric)
{
    return !shape->floats || metric == VEC_DOT;
}

struct centre *centre_new(struct vec_index *index, const float *values)
{
    size_t bytes = index->shape.padded * sizeof(float);
    struct centre *centre = mem_zalloc(sizeof(*centre) + bytes);
    if (centre != NULL) {
        centre->serial = ++index->centres;
        if (values != NULL) {
            memcpy(centre->values, values, bytes);
        }
    }
    return centre;
}

/* --- choosing --- */

/* Of `n` values, at least one; they are sorted. */
static float median(float *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        float value = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] > value; at--) {
            values[at] = values[at - 1];
        }
        values[at] = value;
    }
    return values[n / 2];
}

static bool live(const struct vec_index *index, const struct view *view, uint32_t slot)
{
    return !row_dead(&index->shape, view_row(index, view, slot));
}

/* False when there is nothing to choose from. */
static bool choose(const struct vec_index *index, const struct view *view, uint32_t count,
                   float *out)
{
    size_t padded = index->shape.padded;
    uint32_t slots[CENTRE_ROWS_MAX];
    float values[CENTRE_ROWS_MAX];
    size_t n = 0;
    for (uint32_t slot = 0; slot < count; slot++) {
        if (live(index, view, slot)) {
            slots[n++] = slot;
        }
    }
    for (size_t i = 0; n > 0 && i < padded; i++) {
        for (size_t j = 0; j < n; j++) {
            values[j] = index->early[slots[j] * padded + i];
        }
        out[i] = median(values, n);
    }
    return n > 0;
}

/* --- while another one may come --- */

static size_t early_bytes(const struct vec_index *index)
{
    return CENTRE_ROWS_MAX * index->shape.padded * sizeof(*index->early);
}

/* From rows, as near as they are, where the vectors were not kept: after loading. */
static enum status early_begin(struct vec_index *index, const struct view *view, uint32_t count,
                               struct err *err)
{
    size_t padded = index->shape.padded;
    index->early = mem_zalloc(early_bytes(index));
    if (index->early == NULL) {
        return err_no_memory(err);
    }
    atomic_fetch_add_explicit(&index->memory_bytes, early_bytes(index), memory_order_relaxed);
    for (uint32_t slot = 0; slot < count; slot++) {
        if (live(index, view, slot)) {
            row_read(&index->shape, view_row(index, view, slot), index->early + slot * padded);
            centre_add(index, view->centre, index->early + slot * padded);
        }
    }
    return OK;
}

void centre_forget(struct vec_index *index)
{
    if (index->early != NULL) {
        mem_free(index->early);
        index->early = NULL;
        atomic_fetch_sub_explicit(&index->memory_bytes, early_bytes(index), memory_order_relaxed);
    }
}

void centre_after(struct vec_index *index, uint32_t slot, const float *vector)
{
    if (index->early != NULL && slot < CENTRE_ROWS_MAX) {
        row_normalise(&index->shape, index->opts.metric, vector,
                      index->early + slot * (size_t)index->shape.padded);
    }
}

void centre_rows_write(struct vec_index *index, const struct view *view, uint32_t count)
{
    float values[VEC_DIMENSION_MAX];
    size_t padded = index->shape.padded;
    index->norm2_max = 0;
    for (uint32_t slot = 0; slot < count; slot++) {
        if (!live(index, view, slot)) {
            continue;
        }
        uint8_t *row = view_row(index, view, slot);
        memcpy(values, index->early + slot * padded, padded * sizeof(*values));
        centre_subtract(index, view->centre, values);
        row_write(&index->shape, values, row);
        float norm2 = row_tail(&index->shape, row).norm2;
        if (index->opts.metric == VEC_DOT && norm2 > index->norm2_max) {
            link_norm_raise(index, view, norm2);
        }
    }
}

static bool due(const struct vec_index *index, uint32_t count)
{
    return count == 0 ||
           ((count == 4 || count == 16 || count == CENTRE_ROWS_MAX) && index->centred_at != count);
}

enum status centre_before(struct vec_index *index, const float *values, struct err *err)
{
    const struct view *view = atomic_load_explicit(&index->view, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&index->count, memory_order_relaxed);
    float chosen[VEC_DIMENSION_MAX];
    if (!centre_wanted(&index->shape, index->opts.metric)) {
        return OK;
    }
    if (view->codec != NULL || count > CENTRE_ROWS_MAX || view->first_slots > CENTRE_ROWS_MAX) {
        centre_forget(index);
        return OK;
    }
    if (index->early == NULL) {
        TRY(early_begin(index, view, count, err));
    }
    if (!due(index, count) || (count > 0 && !choose(index, view, count, chosen))) {
        return OK;
    }
    struct centre *centre = centre_new(index, count == 0 ? values : chosen);
    if (centre == NULL) {
        return err_no_memory(err);
    }
    pthread_rwlock_wrlock(&index->grow);
    enum status status = view_recentre(index, centre, err);
    pthread_rwlock_unlock(&index->grow);
    index->centred_at = status == OK ? count : index->centred_at;
    return status;
}

/* --- using --- */

void centre_subtract(const struct vec_index *index, const struct centre *centre, float *values)
{
    size_t n = centre == NULL ? 0 : index->shape.padded;
    for (size_t i = 0; i < n; i++) {
        values[i] -= centre->values[i];
    }
}

void centre_add(const struct vec_index *index, const struct centre *centre, float *values)
{
    size_t n = centre == NULL ? 0 : index->shape.padded;
    for (size_t i = 0; i < n; i++) {
        values[i] += centre->values[i];
    }
}

float centre_query(const struct vec_index *index, const struct centre *centre, float *values)
{
    if (centre == NULL) {
        return 0;
    }
    if (index->opts.metric == VEC_DOT) {
        return -(float)floats_dot(values, centre->values, index->shape.padded);
    }
    centre_subtract(index, centre, values);
    return 0;
}
