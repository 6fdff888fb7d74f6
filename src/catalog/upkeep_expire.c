/*
 * Expiry on request.
 *
 *      the change "lakehouse.expire-snapshots" (iceberg/change.h), made on the base that it lands
 *      on
 *      --> what was there before and is not now --> files that only it named --> trash
 *
 * A dry run makes the change on the base of this moment, and publishes nothing.
 */
#include "catalog/gone.h"
#include "catalog/local.h"
#include "catalog/mint.h"
#include "catalog/snapshot.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "catalog/upkeep_priv.h"
#include "iceberg/change.h"

enum { CHANGE_BYTES_MAX = 4096, METADATA_BYTES_MAX = 512 * 1024 * 1024 };

struct expiring {
    struct local *local;
    const struct upkeep_expire *request;
    struct arena *arena;        /* of the report */
    struct arena own;           /* of this run */
    struct catalog_pin *pin;    /* before */
    struct ice_metadata *after; /* NULL: nothing has changed */
    struct reader *reader;      /* its own small cache */
    struct upkeep_expired *out;
};

/* --- the change --- */

static enum status write_change(struct expiring *e, struct buf *out, struct err *err)
{
    struct json_writer w;
    const struct ice_metadata *metadata = e->pin->metadata;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "requirements");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-table-uuid");
    jw_kv_str(&w, "uuid", metadata->table_uuid);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_kv_arr(&w, "updates");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "action", ICE_CHANGE_EXPIRE);
    if (e->request->older_than_ms != 0) {
        jw_kv_i64(&w, "older-than-ms", e->request->older_than_ms);
    }
    if (e->request->retain_last != 0) {
        jw_kv_i64(&w, "retain-last", e->request->retain_last);
    }
    if (snapshot_expires(metadata)) {
        jw_kv_u64(&w, "snapshots-max",
                  snapshot_count_max(metadata, 0, clock_wall_ms(e->local->clock)));
    }
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status parse_after(struct expiring *e, const struct buf *json, struct err *err)
{
    return ice_metadata_parse(buf_str(json), &e->after, err);
}

static enum status commit(struct expiring *e, const struct catalog_change *change, struct err *err)
{
    struct catalog_loaded loaded = { 0 };
    deadline_ms deadline = upkeep_deadline(e->request->deadline);
    TRY(local_change(&e->local->base, CATALOG_TABLE, change, deadline, &e->own, &loaded, err));
    enum status status = parse_after(e, &loaded.metadata, err);
    buf_done(&loaded.metadata);
    return status;
}

/** The same change on the base of this moment, for nobody. */
static enum status rehearse(struct expiring *e, const struct catalog_change *change,
                            struct err *err)
{
    AUTO(buf_done) struct buf text, made;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct ice_change_result result = { 0 };
    const struct ice_change how = {
        .updates = change->updates,
        .now_ms = clock_wall_ms(e->local->clock),
        .previous_metadata_location = e->pin->table.metadata_location,
    };
    buf_init(&text, METADATA_BYTES_MAX);
    buf_init(&made, METADATA_BYTES_MAX);
    TRY(reader_bytes(e->local->base.reader, e->pin->table.metadata_location, &text, err));
    TRY(json_parse(buf_str(&text), &doc, err));
    TRY(ice_change_apply(yyjson_doc_get_root(doc), &how, &e->own, &made, &result, err));
    e->after = result.metadata;
    return OK;
}

static enum status change(struct expiring *e, struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&json, CHANGE_BYTES_MAX);
    TRY(write_change(e, &json, err));
    TRY(json_parse(buf_str(&json), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = e->request->name,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
    };
    enum status status = e->request->dry_run ? rehearse(e, &change, err) : commit(e, &change, err);
    if (status == E_INVALID && err != NULL) {
        struct err why = *err;
        return err_set(err, E_INVALID, "table \"%.*s\": %s", STR_ARG(e->request->name.name),
                       why.msg);
    }
    return status;
}

/* --- what it has let go --- */

static enum status take(void *ctx, const struct str *keys, size_t count, struct err *err)
{
    struct expiring *e = ctx;
    const struct trash trash = { .kind = TRASH_FILES,
                                 .uuid = e->pin->table.uuid,
                                 .keys = keys,
                                 .key_count = count,
                                 .prefix = STR_EMPTY };
    for (size_t i = 0; i < count; i++) {
        TRY(upkeep_name(&e->out->files, e->arena, keys[i], err));
    }
    return e->request->dry_run ? OK : trash_write(e->local, &trash, err);
}

/** The folder whose files may go: the table's, when we have minted it; else none at all. */
static enum status find_folder(struct expiring *e, struct str *out, struct err *err)
{
    struct str key;
    TRY(locate_key(e->reader->locate, e->pin->metadata->location, &e->own, &key, err));
    while (str_ends(key, STR("/"))) {
        key.len--;
    }
    bool ours = mint_is_ours(e->local->warehouse, e->pin->table.uuid, key);
    *out = arena_printf(&e->own, "%.*s/", STR_ARG(ours ? key : STR("/")));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static bool has_ref(const struct ice_metadata *metadata, struct str name)
{
    for (size_t i = 0; i < metadata->ref_count; i++) {
        if (str_eq(metadata->branches[i].name, name)) {
            return true;
        }
    }
    return false;
}

static enum status tell_refs(struct expiring *e, struct err *err)
{
    const struct ice_metadata *before = e->pin->metadata;
    for (size_t i = 0; i < before->ref_count; i++) {
        if (!has_ref(e->after, before->branches[i].name)) {
            e->out->refs++;
            TRY(upkeep_name(&e->out->refs_gone, e->arena, before->branches[i].name, err));
        }
    }
    return OK;
}

static enum status tell_snapshots(struct expiring *e, struct err *err)
{
    const struct ice_metadata *before = e->pin->metadata;
    struct ice_snapshot *went = arena_array(&e->own, before->snapshot_count + 1, sizeof(*went));
    struct gone gone = { .reader = e->reader,
                         .snapshots = went,
                         .before = before,
                         .after = e->after,
                         .take = take,
                         .ctx = e };
    struct gone_found found = { 0 };
    if (went == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < before->snapshot_count; i++) {
        if (ice_metadata_snapshot(e->after, before->snapshots[i].id) == NULL) {
            went[gone.snapshot_count++] = before->snapshots[i];
        }
    }
    e->out->snapshots = (int64_t)gone.snapshot_count;
    TRY(find_folder(e, &gone.folder, err));
    enum status status = gone_find(&gone, &found, err);
    e->out->data_files = found.files[GONE_DATA];
    e->out->position_deletes = found.files[GONE_POSITION_DELETES];
    e->out->equality_deletes = found.files[GONE_EQUALITY_DELETES];
    e->out->manifests = found.files[GONE_MANIFEST];
    e->out->manifest_lists = found.files[GONE_LIST];
    e->out->statistics = found.files[GONE_STATISTICS];
    e->out->bytes = found.bytes;
    e->out->kept_files = found.outside;
    return status;
}

static enum status run(struct expiring *e, struct err *err)
{
    TRY(catalog_pin(&e->local->base, &e->request->name, false, NULL, &e->pin, err));
    TRY(upkeep_reader(e->local, &e->reader, err));
    TRY(change(e, err));
    if (e->after == NULL) {
        return OK;
    }
    TRY(tell_refs(e, err));
    struct err why = { 0 };
    enum status status = tell_snapshots(e, &why);
    /* it is done, and what was not noted is swept as an orphan; of a dry run it is the answer */
    return e->request->dry_run && status != OK ? err_set(err, status, "%s", why.msg) : OK;
}

enum status catalog_expire_snapshots(struct catalog *catalog, const struct upkeep_expire *expire,
                                     struct arena *arena, struct upkeep_expired *out,
                                     struct err *err)
{
    struct expiring e = {
        .local = (struct local *)catalog, .request = expire, .arena = arena, .out = out
    };
    *out = (struct upkeep_expired){ 0 };
    TRY(table_name_check(&expire->name, err));
    arena_init(&e.own, 0);
    enum status status = run(&e, err);
    if (e.after != NULL) {
        ice_metadata_unref(e.after);
    }
    upkeep_reader_done(e.reader);
    catalog_unpin(e.pin);
    arena_done(&e.own);
    return status;
}
