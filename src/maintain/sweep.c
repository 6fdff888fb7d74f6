/*
 * One run of the sweep:
 *
 *      lease --> uuids that have markers --> every pointer --> trash that is due --> orphans -->
 *      markers --> care of tables
 *
 * What may refer to something is always read after that something was listed, so that what was made
 * meanwhile is either not on the list or seen as referenced. Whatever cannot be told (a pointer
 * that is broken, a path outside the lake) ends the run before anything that depends on it is
 * deleted.
 */
#include "base/mem.h"
#include "catalog/refs.h"
#include "maintain/sweep_priv.h"

enum {
    READER_CACHE_BYTES = 8 * 1024 * 1024,
    RUN_BYTES_MAX = 512 * 1024 * 1024,
    PAGE = 1000,
    ONE_KEY_BYTES_MAX = 64 * 1024,
    LOOKS_SPARE = 10000,
};

#define HOUR_MS (3600LL * 1000)

static void sweep_metrics(struct sweep *sweep, struct metrics *metrics)
{
    sweep->objects = metric_get(metrics, METRIC_COUNTER, "lakehouse_sweep_objects_total", "",
                                "Objects deleted by the sweep");
    sweep->bytes = metric_get(metrics, METRIC_COUNTER, "lakehouse_sweep_bytes_total", "",
                              "Bytes deleted by the sweep");
    sweep->runs = metric_get(metrics, METRIC_COUNTER, "lakehouse_sweep_runs_total", "",
                             "Runs of the sweep that came to their end");
    sweep->failures = metric_get(metrics, METRIC_COUNTER, "lakehouse_sweep_failures_total", "",
                                 "Runs of the sweep that an error ended");
    sweep->expired = metric_get(metrics, METRIC_COUNTER, "lakehouse_maintain_snapshots_total", "",
                                "Snapshots that the care of tables has let expire");
    sweep->merged = metric_get(metrics, METRIC_COUNTER, "lakehouse_maintain_manifests_total", "",
                               "Manifests that the care of tables has merged into others");
    sweep->last = metric_get(metrics, METRIC_GAUGE, "lakehouse_sweep_last_seconds", "",
                             "When the last run ended, in seconds since 1970");
}

enum status sweep_new(const struct sweep_opts *opts, struct sweep **out, struct err *err)
{
    struct sweep *sweep = mem_zalloc(sizeof(*sweep));
    if (sweep == NULL) {
        return err_no_memory(err);
    }
    sweep->opts = *opts;
    sweep->opts.clock = opts->clock == NULL ? clock_real() : opts->clock;
    sweep->opts.grace_ms = opts->grace_ms == 0 ? 24 * HOUR_MS : opts->grace_ms;
    sweep->opts.orphan_ms = opts->orphan_ms == 0 ? 72 * HOUR_MS : opts->orphan_ms;
    sweep->opts.unswapped_ms = opts->unswapped_ms == 0 ? HOUR_MS / 6 : opts->unswapped_ms;
    sweep->opts.look_ms = opts->look_ms == 0 ? 6 * HOUR_MS : opts->look_ms;
    map_init(&sweep->looked);
    map_init(&sweep->cared);
    uuid4(sweep->holder);
    if (opts->metrics != NULL) {
        sweep_metrics(sweep, opts->metrics);
    }
    enum status status = reader_new(opts->store, READER_CACHE_BYTES, &sweep->reader, err);
    if (status != OK) {
        sweep_free(sweep);
        return status;
    }
    *out = sweep;
    return OK;
}

static void looks_done(struct map *looked);

void sweep_free(struct sweep *sweep)
{
    if (sweep == NULL) {
        return;
    }
    looks_done(&sweep->looked);
    looks_done(&sweep->cared);
    reader_free(sweep->reader);
    mem_free(sweep);
}

/* --- what the parts share --- */

enum status run_step(struct sweep_run *run, struct err *err)
{
    const struct sweep_opts *opts = &run->sweep->opts;
    if (opts->go_on != NULL && !opts->go_on(opts->ctx)) {
        return err_set(err, E_CANCELED, "the sweep was told to stop");
    }
    return lease_renew(run, err);
}

enum status run_delete(struct sweep_run *run, struct str key, int64_t size, struct err *err)
{
    struct store *store = run->sweep->opts.store;
    struct store_info info = { 0 };
    TRY(run_step(run, err));
    if (size < 0) {
        enum status status = store_stat(store, key, &info, err);
        if (status == E_NOT_FOUND) {
            return OK;
        }
        TRY(status);
        size = (int64_t)info.size;
    }
    TRY(store_delete(store, key, err));
    run->result->objects++;
    run->result->bytes += (uint64_t)size;
    metric_add(run->sweep->objects, 1);
    metric_add(run->sweep->bytes, (double)size);
    return OK;
}

enum status run_list(struct sweep_run *run, struct str prefix,
                     enum status (*each)(void *ctx, const struct store_info *info, struct err *err),
                     void *ctx, struct err *err)
{
    struct store_list_opts opts = { .prefix = prefix, .limit = PAGE };
    struct arena pages[2]; /* a page's `next` lives until the one after it was read */
    enum status status = OK;
    bool more = true;
    arena_init(&pages[0], RUN_BYTES_MAX);
    arena_init(&pages[1], RUN_BYTES_MAX);
    for (int turn = 0; more && status == OK; turn = 1 - turn) {
        struct store_list list = { 0 };
        arena_reset(&pages[turn]);
        status = store_list(run->sweep->opts.store, &opts, &pages[turn], &list, err);
        for (size_t i = 0; i < list.object_count && status == OK; i++) {
            status = each(ctx, &list.objects[i], err);
        }
        more = list.truncated;
        opts.after = list.next;
    }
    arena_done(&pages[0]);
    arena_done(&pages[1]);
    return status;
}

struct care_table *run_table(const struct sweep_run *run, struct str uuid)
{
    return map_get(&run->by_uuid, uuid);
}

enum status run_strike(struct sweep_run *run, const struct care_table *table, bool files,
                       struct map *keys, struct err *err)
{
    struct reader *reader = run->sweep->reader;
    if (!table->is_view) {
        return refs_strike(reader, table->metadata_location, files, keys, err);
    }
    struct arena arena;
    struct str key;
    arena_init(&arena, ONE_KEY_BYTES_MAX);
    enum status status = locate_key(reader->locate, table->metadata_location, &arena, &key, err);
    if (status == OK) {
        (void)map_remove(keys, key);
    }
    arena_done(&arena);
    return status;
}

enum status run_strike_all(struct sweep_run *run, struct map *keys, struct err *err)
{
    for (size_t i = 0; i < run->table_count && keys->count > 0; i++) {
        if (care_names_files(&run->tables[i])) {
            TRY(run_step(run, err));
            TRY(run_strike(run, &run->tables[i], true, keys, err));
        }
    }
    return OK;
}

enum status run_gc_allowed(struct sweep_run *run, const struct care_table *table, bool *allowed_out,
                           struct err *err)
{
    const struct ice_metadata *metadata = NULL;
    if (table->is_view) {
        *allowed_out = true;
        return OK;
    }
    TRY(reader_metadata(run->sweep->reader, table->metadata_location, &metadata, err));
    *allowed_out = !str_eq_nocase(ice_metadata_property(metadata, STR("gc.enabled")), STR("false"));
    ice_metadata_unref(metadata);
    return OK;
}

/* --- when to look again --- */

enum status run_is_time(struct sweep_run *run, struct map *looked, struct str uuid,
                        int64_t every_ms, bool *time_out, struct err *err)
{
    struct look *look = map_get(looked, uuid);
    *time_out = look == NULL || run->now >= look->next_ms || every_ms < 0;
    if (look == NULL) {
        look = mem_zalloc(sizeof(*look));
        if (look == NULL || map_put(looked, uuid, look, NULL) != OK) {
            mem_free(look);
            return err_no_memory(err);
        }
    }
    if (*time_out) {
        look->next_ms = run->now + every_ms;
    }
    return OK;
}

static void looks_done(struct map *looked)
{
    size_t pos = 0;
    for (struct map_entry *at; (at = map_next(looked, &pos)) != NULL;) {
        mem_free(at->value);
    }
    map_done(looked);
    map_init(looked);
}

/** Tables come and go: what is remembered of those that went is forgotten with all the rest, which
 * are looked through once more then. */
void run_forget_looks(struct sweep_run *run, struct map *looked)
{
    if (looked->count > 2 * run->table_count + LOOKS_SPARE) {
        looks_done(looked);
    }
}

/* --- the run --- */

enum status run_read_tables(struct sweep_run *run, struct err *err)
{
    map_done(&run->by_uuid);
    map_init(&run->by_uuid);
    TRY(care_tables(run->sweep->opts.catalog, &run->arena, &run->tables, &run->table_count, err));
    for (size_t i = 0; i < run->table_count; i++) {
        struct care_table *table = &run->tables[i];
        const struct care_table *there = map_get(&run->by_uuid, table->uuid);
        if (there != NULL && (there->live || (!there->purge && !table->live))) {
            continue; /* one name that keeps its files is enough, and a live one says most */
        }
        if (map_put(&run->by_uuid, table->uuid, table, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

enum status run_forgive(struct sweep_run *run, enum status status, const struct err *err)
{
    if (status == OK || status == E_CANCELED || status == E_NO_MEMORY) {
        return status;
    }
    if (run->failed.kind == OK) {
        run->failed = *err;
    }
    return OK;
}

static enum status run_all(struct sweep_run *run, struct err *err)
{
    struct err why = { 0 }; /* what cannot be cleared up now is left for the next run */
    TRY(run_forgive(run, care_clear_up(run->sweep->opts.catalog, &why), &why));
    TRY(sweep_list_marked(run, err));
    TRY(sweep_list_transactions(run, err));
    TRY(run_read_tables(run, err));
    TRY(sweep_transactions(run, err));
    TRY(sweep_trash(run, err));
    TRY(sweep_orphans(run, err));
    TRY(sweep_marks(run, err));
    TRY(sweep_care(run, err));
    return run->failed.kind == OK ? OK : err_set(err, run->failed.kind, "%s", run->failed.msg);
}

enum status sweep_run(struct sweep *sweep, struct sweep_result *result, struct err *err)
{
    struct sweep_run run = { .sweep = sweep, .result = result };
    bool taken = false;
    *result = (struct sweep_result){ 0 };
    arena_init(&run.arena, RUN_BYTES_MAX);
    map_init(&run.by_uuid);
    enum status status = lease_take(&run, &taken, err);
    if (status == OK && taken) {
        status = run_all(&run, err);
        lease_end(&run);
    }
    result->skipped = status == OK && !taken;
    if (taken && status == OK) {
        metric_add(sweep->runs, 1);
        metric_set(sweep->last, (double)clock_wall_ms(sweep->opts.clock) / 1e3);
    } else if (status != OK && status != E_CANCELED) {
        metric_add(sweep->failures, 1);
    }
    map_done(&run.by_uuid);
    arena_done(&run.arena);
    return status;
}
