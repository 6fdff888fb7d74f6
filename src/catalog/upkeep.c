/*
 * Upkeep by name, with arguments and a report in JSON, and what all kinds of it share.
 */
#include "catalog/upkeep_priv.h"

#include "base/mem.h"

enum { TIMEOUT_MS = 600000, CACHE_BYTES = 16 * 1024 * 1024 };

deadline_ms upkeep_deadline(deadline_ms deadline)
{
    return deadline == 0 ? deadline_in(TIMEOUT_MS) : deadline;
}

enum status upkeep_name(struct upkeep_names *names, struct arena *arena, struct str name,
                        struct err *err)
{
    if (names->count == UPKEEP_NAMES_MAX) {
        return OK;
    }
    if (names->names == NULL) {
        names->names = arena_array(arena, UPKEEP_NAMES_MAX, sizeof(*names->names));
    }
    struct str copy = names->names == NULL ? (struct str){ NULL, 0 } : arena_str(arena, name);
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    names->names[names->count++] = copy;
    return OK;
}

enum status upkeep_reader(struct local *local, struct reader **out, struct err *err)
{
    struct reader *reader = mem_zalloc(sizeof(*reader));
    if (reader == NULL) {
        return err_no_memory(err);
    }
    *reader = *local->base.reader;
    enum status status = cache_new(CACHE_BYTES, &reader->cache, err);
    if (status != OK) {
        mem_free(reader);
        return status;
    }
    *out = reader;
    return OK;
}

void upkeep_reader_done(struct reader *reader)
{
    if (reader != NULL) {
        cache_free(reader->cache);
        mem_free(reader);
    }
}

/* --- by name --- */

struct running {
    struct local *local;
    const struct catalog_upkeep *call;
    struct arena arena;
    struct json_writer w;
};

static void write_names(struct json_writer *w, const char *member, const struct upkeep_names *names)
{
    jw_kv_arr(w, member);
    for (size_t i = 0; i < names->count; i++) {
        jw_str(w, names->names[i]);
    }
    jw_arr_end(w);
}

static enum status read_moment(struct running *r, int64_t *out, struct err *err)
{
    TRY(json_get_i64(r->call->args, "older_than", JSON_OPTIONAL, out, err));
    return yyjson_obj_get(r->call->args, "older_than") != NULL && *out <= 0
               ? err_set(err, E_INVALID, "\"older_than\" must be a moment after 1970")
               : OK;
}

static enum status run_expire(struct running *r, struct err *err)
{
    struct upkeep_expire request = { .name = r->call->name, .deadline = r->call->deadline };
    struct upkeep_expired out;
    TRY(read_moment(r, &request.older_than_ms, err));
    TRY(json_get_i64(r->call->args, "retain_last", JSON_OPTIONAL, &request.retain_last, err));
    TRY(json_get_bool(r->call->args, "dry_run", JSON_OPTIONAL, &request.dry_run, err));
    if (yyjson_obj_get(r->call->args, "retain_last") != NULL && request.retain_last < 1) {
        return err_set(err, E_INVALID, "\"retain_last\" must be at least 1");
    }
    TRY(catalog_expire_snapshots(&r->local->base, &request, &r->arena, &out, err));
    jw_kv_i64(&r->w, "expired_snapshots_count", out.snapshots);
    jw_kv_i64(&r->w, "removed_refs_count", out.refs);
    jw_kv_i64(&r->w, "deleted_data_files_count", out.data_files);
    jw_kv_i64(&r->w, "deleted_position_delete_files_count", out.position_deletes);
    jw_kv_i64(&r->w, "deleted_equality_delete_files_count", out.equality_deletes);
    jw_kv_i64(&r->w, "deleted_manifest_files_count", out.manifests);
    jw_kv_i64(&r->w, "deleted_manifest_lists_count", out.manifest_lists);
    jw_kv_i64(&r->w, "deleted_statistics_files_count", out.statistics);
    jw_kv_i64(&r->w, "deleted_bytes_count", out.bytes);
    jw_kv_i64(&r->w, "kept_files_count", out.kept_files);
    write_names(&r->w, "removed_refs", &out.refs_gone);
    write_names(&r->w, "files", &out.files);
    return OK;
}

static enum status run_manifests(struct running *r, struct err *err)
{
    struct upkeep_manifests request = { .name = r->call->name, .deadline = r->call->deadline };
    struct upkeep_rewritten out;
    TRY(json_get_bool(r->call->args, "dry_run", JSON_OPTIONAL, &request.dry_run, err));
    TRY(catalog_rewrite_manifests(&r->local->base, &request, &r->arena, &out, err));
    jw_kv_i64(&r->w, "rewritten_manifests_count", out.rewritten);
    jw_kv_i64(&r->w, "added_manifests_count", out.added);
    jw_kv_i64(&r->w, "kept_manifests_count", out.kept);
    jw_kv_i64(&r->w, "entries_count", out.entries);
    jw_kv_i64(&r->w, "rewritten_bytes_count", out.rewritten_bytes);
    jw_kv_i64(&r->w, "added_bytes_count", out.added_bytes);
    jw_key(&r->w, STR("snapshot_id"));
    if (out.snapshot_id < 0) {
        jw_null(&r->w);
    } else {
        jw_i64(&r->w, out.snapshot_id);
    }
    write_names(&r->w, "files", &out.files);
    return OK;
}

static enum status run_orphans(struct running *r, struct err *err)
{
    struct upkeep_orphans request = { .name = r->call->name };
    struct upkeep_found out = { 0 };
    TRY(read_moment(r, &request.older_than_ms, err));
    TRY(json_get_bool(r->call->args, "dry_run", JSON_OPTIONAL, &request.dry_run, err));
    if (r->local->find_orphans == NULL) {
        return err_set(err, E_UNSUPPORTED, "orphans are not looked for here");
    }
    TRY(r->local->find_orphans(r->local->find_orphans_ctx, &request, &r->arena, &out, err));
    jw_kv_i64(&r->w, "orphan_files_count", out.files);
    jw_kv_i64(&r->w, "orphan_bytes_count", out.bytes);
    write_names(&r->w, "files", &out.names);
    return OK;
}

static const struct {
    const char *name;
    enum status (*run)(struct running *r, struct err *err);
} procedures[] = {
    { "expire_snapshots", run_expire },
    { "rewrite_manifests", run_manifests },
    { "remove_orphan_files", run_orphans },
};

static enum status run_one(struct running *r, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(procedures); i++) {
        if (str_eq(r->call->procedure, str_of(procedures[i].name))) {
            return procedures[i].run(r, err);
        }
    }
    return err_set(err, E_INVALID, "there is no procedure \"%.*s\"", STR_ARG(r->call->procedure));
}

enum status local_upkeep(struct catalog *catalog, const struct catalog_upkeep *upkeep,
                         struct buf *report, struct err *err)
{
    struct running r = { .local = (struct local *)catalog, .call = upkeep };
    size_t before = report->len;
    arena_init(&r.arena, 0);
    json_writer_init(&r.w, report);
    jw_obj_begin(&r.w);
    enum status status = run_one(&r, err);
    if (status == OK) {
        jw_obj_end(&r.w);
        status = json_writer_end(&r.w) == OK ? OK : err_no_memory(err);
    }
    if (status != OK) {
        report->len = before;
    }
    arena_done(&r.arena);
    return status;
}

void catalog_upkeep_set_orphans(struct catalog *catalog, upkeep_find_orphans *find, void *ctx)
{
    struct local *local = (struct local *)catalog;
    local->find_orphans = find;
    local->find_orphans_ctx = ctx;
}
