/*
 * Care of the tables that ask for it, once in a while each: their snapshots expire, and small
 * manifests are merged.
 *
 * A table asks with lakehouse.expire-snapshots=true, which the tables have that ingest and SQL
 * make, or by saying itself how long its history is kept (history.expire.*). All others are left
 * alone: their programs look after them.
 */
#include "iceberg/expiry.h"
#include "maintain/sweep_priv.h"

enum {
    TABLE_TIMEOUT_MS = 60000,
    FEWER_MANIFESTS_MIN = 30 /* chosen: less is not worth a commit that nobody has asked for */
};

/** What the table says of itself; of one without a snapshot to spare there is nothing to do. */
static enum status judge(struct sweep_run *run, const struct care_table *table, bool *asks_out,
                         struct err *err)
{
    const struct ice_metadata *metadata = NULL;
    TRY(reader_metadata(run->sweep->reader, table->metadata_location, &metadata, err));
    struct str expire = ice_metadata_property(metadata, STR("lakehouse.expire-snapshots"));
    bool own = ice_metadata_property(metadata, ICE_EXPIRY_AGE_PROPERTY).ptr != NULL ||
               ice_metadata_property(metadata, ICE_EXPIRY_KEEP_PROPERTY).ptr != NULL ||
               ice_metadata_property(metadata, ICE_EXPIRY_REF_AGE_PROPERTY).ptr != NULL;
    struct str gc = ice_metadata_property(metadata, STR("gc.enabled"));
    *asks_out = (str_eq(expire, STR("true")) || (own && !str_eq(expire, STR("false")))) &&
                !str_eq_nocase(gc, STR("false")) && metadata->current != NULL;
    ice_metadata_unref(metadata);
    return OK;
}

static enum status expire(struct sweep_run *run, const struct care_table *table,
                          struct arena *arena, struct err *err)
{
    const struct upkeep_expire request = { .name = table->name,
                                           .deadline = deadline_in(TABLE_TIMEOUT_MS) };
    struct upkeep_expired out;
    TRY(catalog_expire_snapshots(run->sweep->opts.catalog, &request, arena, &out, err));
    run->result->expired_snapshots += (uint64_t)out.snapshots;
    run->result->expired_refs += (uint64_t)out.refs;
    metric_add(run->sweep->expired, (double)out.snapshots);
    return OK;
}

static enum status merge(struct sweep_run *run, const struct care_table *table, struct arena *arena,
                         struct err *err)
{
    const struct upkeep_manifests request = { .name = table->name,
                                              .fewer_min = FEWER_MANIFESTS_MIN,
                                              .deadline = deadline_in(TABLE_TIMEOUT_MS) };
    struct upkeep_rewritten out;
    enum status status = catalog_rewrite_manifests(run->sweep->opts.catalog, &request, arena, &out,
                                                   err);
    if (status == E_INVALID) {
        return OK; /* of a version that is not written */
    }
    TRY(status);
    run->result->merged_manifests += (uint64_t)out.rewritten;
    metric_add(run->sweep->merged, (double)out.rewritten);
    return OK;
}

static enum status care_for(struct sweep_run *run, const struct care_table *table, struct err *err)
{
    bool time = false, asks = false;
    if (!table->live || table->is_view || table->held) {
        return OK;
    }
    TRY(run_is_time(run, &run->sweep->cared, table->uuid, run->sweep->opts.care_ms, &time, err));
    if (!time) {
        return OK;
    }
    TRY(run_step(run, err));
    TRY(judge(run, table, &asks, err));
    if (!asks) {
        return OK;
    }
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = expire(run, table, &arena, err);
    status = status == OK ? merge(run, table, &arena, err) : status;
    arena_done(&arena);
    return status == E_NOT_FOUND ? OK : status; /* dropped or renamed meanwhile */
}

enum status sweep_care(struct sweep_run *run, struct err *err)
{
    if (run->sweep->opts.care_ms == 0) {
        return OK;
    }
    run_forget_looks(run, &run->sweep->cared);
    for (size_t i = 0; i < run->table_count; i++) {
        struct err why = { 0 };
        enum status status = run_forgive(run, care_for(run, &run->tables[i], &why), &why);
        if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
    }
    return OK;
}
