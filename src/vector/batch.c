/*
 * Many queries: those that walk do so a few at once, each in working memory of its own.
 */
#include "vector/check.h"
#include "vector/vec_priv.h"

struct group {
    struct search searches[WALKS_MAX];
    bool again[WALKS_MAX];
    uint32_t count;
};

static enum status scratches_ready(struct vec_scratch *scratch, uint32_t count, struct err *err)
{
    for (uint32_t i = 1; i < count && i < WALKS_MAX; i++) {
        if (scratch->others[i - 1] == NULL) {
            TRY(vec_scratch_new(scratch->index, &scratch->others[i - 1], err));
        }
    }
    return OK;
}

static struct vec_scratch *scratch_of(struct vec_scratch *scratch, uint32_t i)
{
    return i == 0 ? scratch : scratch->others[i - 1];
}

/* What waits for its walk walks with the others; all are pinned. */
static enum status group_find(struct group *group, struct err *err)
{
    struct search *walking[WALKS_MAX];
    const struct view *view = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        struct search *search = &group->searches[i];
        search->waits = true;
        TRY(search_front(search, &group->again[i], err));
        view = view == NULL ? search->view : view;
        if (search->waits && search->view != view) {
            group->again[i] = true; /* its codec may be another */
        }
        if (search->waits && !group->again[i]) {
            walking[n++] = search;
        }
    }
    graph_walk_many(walking, n);
    for (uint32_t i = 0; i < group->count; i++) {
        if (!group->again[i]) {
            search_back(&group->searches[i], &group->again[i]);
        }
    }
    return OK;
}

static enum status group_run(struct group *group, struct err *err)
{
    for (uint32_t i = 0; i < group->count; i++) {
        reader_pin(group->searches[i].scratch);
    }
    enum status status = group_find(group, err);
    for (uint32_t i = 0; i < group->count; i++) {
        reader_unpin(group->searches[i].scratch);
    }
    for (uint32_t i = 0; status == OK && i < group->count; i++) {
        if (group->again[i]) {
            status = search_run(&group->searches[i], err);
        }
    }
    return status;
}

enum status vec_search_batch(struct vec_index *index, struct vec_scratch *scratch,
                             const float *queries, uint32_t count,
                             const struct vec_search_opts *opts, struct vec_hit *hits_out,
                             uint32_t *found_out, struct err *err)
{
    uint32_t k = opts->k == 0 ? 10 : opts->k;
    bool missed = false;
    for (uint32_t i = 0; i < count; i++) { /* before anything is searched */
        TRY(search_check(index, queries + (size_t)i * index->shape.dimension, opts, err));
    }
    TRY(check_all(index, err));
    TRY(scratches_ready(scratch, count, err));
    for (uint32_t from = 0; from < count; from += WALKS_MAX) {
        struct group group = { .count = count - from < WALKS_MAX ? count - from : WALKS_MAX };
        for (uint32_t i = 0; i < group.count; i++) {
            const float *query = queries + (size_t)(from + i) * index->shape.dimension;
            group.searches[i].scratch = scratch_of(scratch, i);
            TRY(search_prepare(&group.searches[i], query, opts, err));
        }
        TRY(group_run(&group, err));
        for (uint32_t i = 0; i < group.count; i++) {
            found_out[from + i] = search_hits(&group.searches[i], opts,
                                              hits_out + (size_t)(from + i) * k);
            missed = missed || (opts->report != NULL && opts->report->target_missed);
        }
    }
    if (opts->report != NULL && count > 0) {
        opts->report->target_missed = missed;
    }
    return OK;
}
