/*
 * Markers of batches. One is swept when its table is gone for good, or when what its batch brought
 * does not stand in the table any more (rolled back, truncated): then the batch may land once more
 * anyway.
 */
#include "catalog/batch.h"
#include "maintain/sweep_priv.h"

static bool is_old(const struct sweep_run *run, const struct store_info *info)
{
    return run->now - info->modified_ms >= run->sweep->opts.grace_ms;
}

enum status sweep_list_marked(struct sweep_run *run, struct err *err)
{
    struct store_list_opts opts = { .prefix = BATCH_PREFIX,
                                    .delimiter = STR("/"),
                                    .limit = STORE_LIST_MAX };
    struct store_list list = { .truncated = true };
    size_t cap = 0;
    while (list.truncated) {
        TRY(store_list(run->sweep->opts.store, &opts, &run->arena, &list, err));
        if (run->marked_count + list.prefix_count > cap) {
            cap = 2 * (run->marked_count + list.prefix_count);
            struct str *more = arena_array(&run->arena, cap, sizeof(*more));
            if (more == NULL) {
                return err_no_memory(err);
            }
            if (run->marked_count > 0) {
                memcpy(more, run->marked, run->marked_count * sizeof(*more));
            }
            run->marked = more;
        }
        for (size_t i = 0; i < list.prefix_count; i++) {
            struct str uuid = str_skip(list.prefixes[i], BATCH_PREFIX.len);
            run->marked[run->marked_count++] = str_take(uuid, uuid.len - 1);
        }
        opts.after = list.next;
    }
    return OK;
}

struct lapsing {
    struct sweep_run *run;
    const struct ice_metadata *metadata; /* NULL: of a table that is gone */
};

static enum status look_at_marker(void *ctx, const struct store_info *info, struct err *err)
{
    struct lapsing *lapsing = ctx;
    struct pointer_batch batch;
    bool found = false, counts = false;
    if (!is_old(lapsing->run, info)) {
        return OK;
    }
    if (lapsing->metadata != NULL) {
        struct arena arena;
        arena_init(&arena, 1024 * 1024);
        enum status status = batch_read_key(lapsing->run->sweep->opts.store, info->key, &arena,
                                            &found, &batch, err);
        counts = status != OK || !found || batch_counts(lapsing->metadata, &batch);
        arena_done(&arena);
        TRY(status);
    }
    return counts ? OK : run_delete(lapsing->run, info->key, (int64_t)info->size, err);
}

static enum status sweep_table(struct sweep_run *run, struct str uuid, struct err *err)
{
    const struct care_table *table = run_table(run, uuid);
    struct lapsing lapsing = { .run = run };
    TRY(run_step(run, err));
    if (table != NULL && (table->is_view || (!table->live && !table->purge))) {
        return OK; /* it may be registered again */
    }
    if (table != NULL && table->live) {
        TRY(reader_metadata(run->sweep->reader, table->metadata_location, &lapsing.metadata, err));
        if (!batch_may_lapse(lapsing.metadata)) {
            ice_metadata_unref(lapsing.metadata);
            return OK;
        }
    }
    struct str prefix = arena_printf(&run->arena, "%.*s%.*s/", STR_ARG(BATCH_PREFIX),
                                     STR_ARG(uuid));
    enum status status = prefix.ptr == NULL ? err_no_memory(err)
                                            : run_list(run, prefix, look_at_marker, &lapsing, err);
    if (lapsing.metadata != NULL) {
        ice_metadata_unref(lapsing.metadata);
    }
    return status;
}

enum status sweep_marks(struct sweep_run *run, struct err *err)
{
    for (size_t i = 0; i < run->marked_count; i++) {
        struct err why = { 0 };
        enum status status = run_forgive(run, sweep_table(run, run->marked[i], &why), &why);
        if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
    }
    return OK;
}
