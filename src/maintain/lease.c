/*
 * `_lake/sweep.json`: who sweeps, or when the last run ended.
 *
 * It only spares work. Two sweeps at once delete the same things, each of which is right to delete;
 * so a holder that was thought dead and was not does no harm.
 */
#include "maintain/sweep_priv.h"

enum { LEASE_BYTES_MAX = 64 * 1024, LEASE_MS = 10 * 60 * 1000 };

#define LEASE_KEY STR("_lake/sweep.json")

static enum status encode(const struct sweep_run *run, bool running, struct buf *out)
{
    struct json_writer w;
    char fresh[UUID_TEXT + 1];
    uuid4(fresh); /* so that no two bodies, and no two ETags, are equal */
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", 1);
    jw_kv_cstr(&w, "state", running ? "running" : "done");
    jw_kv_cstr(&w, "holder", run->sweep->holder);
    jw_kv_cstr(&w, "id", fresh);
    jw_kv_u64(&w, "deleted_objects", run->result->objects);
    jw_kv_u64(&w, "deleted_bytes", run->result->bytes);
    jw_kv_u64(&w, "noted", run->result->noted);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status put(struct sweep_run *run, bool running, const struct store_cond *cond,
                       struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct store_info info;
    buf_init(&body, LEASE_BYTES_MAX);
    if (encode(run, running, &body) != OK) {
        return err_no_memory(err);
    }
    TRY(store_put(run->sweep->opts.store, LEASE_KEY, buf_str(&body), cond, &info, err));
    memcpy(run->lease.etag, info.etag, sizeof(info.etag));
    run->lease.renew_at = clock_mono_ms(run->sweep->opts.clock) + LEASE_MS / 4;
    /* The store's own clock: ages are told by it. */
    run->now = info.modified_ms;
    return OK;
}

/** Is it ours to take: nobody's, long done, or of somebody who has not been heard of? */
static bool is_free(const struct sweep *sweep, struct str json, const struct store_info *info)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str state = STR_EMPTY, holder = STR_EMPTY;
    if (json_parse(json, &doc, NULL) != OK ||
        json_get_str(yyjson_doc_get_root(doc), "state", JSON_REQUIRED, &state, NULL) != OK ||
        json_get_str(yyjson_doc_get_root(doc), "holder", JSON_REQUIRED, &holder, NULL) != OK) {
        return true; /* broken: it only spares work */
    }
    int64_t age = clock_wall_ms(sweep->opts.clock) - info->modified_ms;
    if (str_eq(state, STR("running"))) {
        return str_eq(holder, str_of(sweep->holder)) || age > LEASE_MS || age < -LEASE_MS;
    }
    /* A little early is fine: our clock and the store's may differ. */
    return age < 0 || age >= sweep->opts.interval_ms - sweep->opts.interval_ms / 10;
}

enum status lease_take(struct sweep_run *run, bool *taken_out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct store_info info;
    struct store_cond cond = { .if_absent = true };
    buf_init(&body, LEASE_BYTES_MAX);
    *taken_out = false;
    enum status status = store_read(run->sweep->opts.store, LEASE_KEY, NULL, &body, &info, err);
    if (status == OK) {
        if (!is_free(run->sweep, buf_str(&body), &info)) {
            return OK;
        }
        cond = (struct store_cond){ .if_match = str_of(info.etag) };
    } else if (status != E_NOT_FOUND) {
        return status;
    }
    status = put(run, true, &cond, err);
    *taken_out = status == OK;
    return status == E_PRECONDITION ? OK : status;
}

enum status lease_renew(struct sweep_run *run, struct err *err)
{
    struct store_cond cond = { .if_match = str_of(run->lease.etag) };
    int64_t now = run->now;
    if (clock_mono_ms(run->sweep->opts.clock) < run->lease.renew_at) {
        return OK;
    }
    char etag[STORE_ETAG_MAX + 1];
    memcpy(etag, run->lease.etag, sizeof(etag));
    cond.if_match = str_of(etag);
    enum status status = put(run, true, &cond, err);
    run->now = now; /* what is due was decided at the start */
    return status == E_PRECONDITION ? err_set(err, E_CANCELED, "another process has taken over")
                                    : status;
}

void lease_end(struct sweep_run *run)
{
    char etag[STORE_ETAG_MAX + 1];
    memcpy(etag, run->lease.etag, sizeof(etag));
    enum status ignored = put(run, false, &(struct store_cond){ .if_match = str_of(etag) }, NULL);
    (void)ignored; /* then it ends by its age */
}
