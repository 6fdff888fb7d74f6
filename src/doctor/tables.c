/*
 * Tables: from each pointer through its metadata and every snapshot to the files. A file that is
 * named is looked at once, whoever names it. Views: their metadata is all that they have.
 */
#include "base/map.h"
#include "catalog/pointer.h"
#include "doctor/doctor.h"
#include "iceberg/view.h"

enum {
    TOLD_MAX = 100,
    PAGE = 1000,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    VIEW_BYTES_MAX = 64 * 1024 * 1024
};

static const char advice_metadata[] =
    "restore the file from a backup of the folder; without one the table can only be dropped "
    "(DELETE /v1/catalog/table/NAME) and its data files registered anew";
static const char advice_view[] =
    "restore the file from a backup of the folder; without one the view can only be dropped and made "
    "again";
static const char advice_file[] =
    "restore the file from a backup of the folder; until then statements that need it fail";

struct look {
    const struct doctor *doctor;
    struct store *store;
    struct catalog *catalog;
    struct map seen; /* keys of files that a snapshot names */
    uint64_t tables, views, snapshots, files, bad, unnamed, unnamed_bytes;
    uint64_t begun; /* renames (by their new names) and drops of namespaces that did not end */
};

static void tell(struct look *look, const char *advice, const char *table, const struct err *why)
{
    if (look->bad++ < TOLD_MAX) {
        doctor_tell(look->doctor, DOCTOR_PROBLEM, "tables", advice, "table \"%s\": %s", table,
                    why->msg);
    }
}

/** One file that a snapshot names. */
static enum status look_at_file(struct look *look, const char *table, int64_t snapshot_id,
                                const struct catalog_file *file, struct err *err)
{
    static char here; /* any pointer but NULL */
    if (map_get(&look->seen, file->key) != NULL) {
        return OK;
    }
    TRY(map_put(&look->seen, file->key, &here, NULL) == OK ? OK : err_no_memory(err));
    look->files++;
    struct store_info info;
    struct err why = { 0 };
    enum status status = store_stat(look->store, file->key, &info, &why);
    if (status == E_NOT_FOUND) {
        err_set(&why, E_NOT_FOUND, "\"%.*s\", which snapshot %lld names, is not there",
                STR_ARG(file->key), (long long)snapshot_id);
    } else if (status == OK && file->file->size_bytes >= 0 &&
               info.size != (uint64_t)file->file->size_bytes) {
        status = err_set(&why, E_CORRUPT, "\"%.*s\" has %llu bytes, committed were %lld",
                         STR_ARG(file->key), (unsigned long long)info.size,
                         (long long)file->file->size_bytes);
    }
    if (status != OK) {
        tell(look, advice_file, table, &why);
    }
    return status == E_NO_MEMORY ? err_no_memory(err) : OK;
}

static enum status look_at_files(struct look *look, const char *table,
                                 const struct catalog_pin *pin, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    struct catalog_files files;
    struct err why = { 0 };
    arena_init(&arena, 1024ULL * 1024 * 1024);
    enum status status = catalog_files(look->catalog, pin, &arena, &files, &why);
    if (status != OK) {
        tell(look, advice_metadata, table, &why);
        return status == E_NO_MEMORY ? err_no_memory(err) : OK;
    }
    int64_t id = pin->snapshot != NULL ? pin->snapshot->id : -1;
    for (size_t i = 0; i < files.count; i++) {
        TRY(look_at_file(look, table, id, &files.files[i], err));
    }
    for (size_t i = 0; i < files.delete_count; i++) {
        TRY(look_at_file(look, table, id, &files.deletes[i], err));
    }
    return OK;
}

static enum status look_at_snapshot(struct look *look, const struct table_name *name,
                                    const char *table, int64_t id, struct err *err)
{
    struct catalog_pin *pin = NULL;
    struct err why = { 0 };
    struct catalog_at at = { .kind = CATALOG_AT_VERSION, .value = id };
    look->snapshots++;
    if (catalog_pin(look->catalog, name, false, &at, &pin, &why) != OK) {
        if (why.kind != E_NOT_FOUND) { /* expired meanwhile */
            tell(look, advice_metadata, table, &why);
        }
        return OK;
    }
    enum status status = look_at_files(look, table, pin, err);
    catalog_unpin(pin);
    return status;
}

static enum status look_at_table(struct look *look, const struct table_name *name,
                                 const char *table, struct err *err)
{
    struct catalog_pin *pin = NULL;
    struct err why = { 0 };
    look->tables++;
    enum status status = catalog_pin(look->catalog, name, false, NULL, &pin, &why);
    if (status == E_NOT_FOUND) { /* dropped meanwhile */
        return OK;
    }
    if (status != OK) {
        tell(look, advice_metadata, table, &why);
        return OK;
    }
    const struct ice_metadata *metadata = pin->metadata;
    for (size_t i = 0; i < metadata->snapshot_count && status == OK; i++) {
        status = look_at_snapshot(look, name, table, metadata->snapshots[i].id, err);
    }
    catalog_unpin(pin);
    return status;
}

/** Is its metadata there, and that of this very view? */
static enum status check_view(struct look *look, const struct table_summary *view, struct err *err)
{
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str uuid = STR_EMPTY;
    buf_init(&text, VIEW_BYTES_MAX);
    TRY(catalog_metadata_text(look->catalog, view->metadata_location, &text, err));
    TRY(json_parse(buf_str(&text), &doc, err));
    TRY(ice_view_check(yyjson_doc_get_root(doc), err));
    TRY(json_get_str(yyjson_doc_get_root(doc), "view-uuid", JSON_REQUIRED, &uuid, err));
    return str_eq_nocase(uuid, view->uuid)
               ? OK
               : err_set(err, E_CORRUPT, "its metadata is another view's: uuid %.*s, not %.*s",
                         STR_ARG(uuid), STR_ARG(view->uuid));
}

static enum status look_at_view(struct look *look, const struct table_name *name, const char *text,
                                struct err *err)
{
    AUTO(arena_done) struct arena arena;
    struct table_summary view;
    struct err why = { 0 };
    arena_init(&arena, 0);
    enum status status = catalog_find_view(look->catalog, name, false, &arena, &view, &why);
    if (status == E_NOT_FOUND) { /* dropped or renamed meanwhile */
        return OK;
    }
    look->views++;
    status = status == OK ? check_view(look, &view, &why) : status;
    if (status != OK && look->bad++ < TOLD_MAX) {
        doctor_tell(look->doctor, DOCTOR_PROBLEM, "tables", advice_view, "view \"%s\": %s", text,
                    why.msg);
    }
    return status == E_NO_MEMORY ? err_no_memory(err) : OK;
}

static enum status look_at_namespace(struct look *look, struct str key, struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str state = STR_EMPTY;
    struct err why = { 0 };
    buf_init(&body, POINTER_BYTES_MAX);
    enum status status = store_read(look->store, key, NULL, &body, NULL, &why);
    status = status == OK ? json_parse(buf_str(&body), &doc, &why) : status;
    status = status == OK
                 ? json_get_str(yyjson_doc_get_root(doc), "state", JSON_REQUIRED, &state, &why)
                 : status;
    if (status == OK || status == E_NOT_FOUND) {
        look->begun += str_eq(state, STR("dropping"));
        return OK;
    }
    if (look->bad++ < TOLD_MAX) {
        doctor_tell(look->doctor, DOCTOR_PROBLEM, "tables",
                    "restore it from a backup of the folder", "the namespace \"%.*s\": %s",
                    STR_ARG(key), why.msg);
    }
    return status == E_NO_MEMORY ? err_no_memory(err) : OK;
}

/** The pointer by itself first: a list of the catalogue would end at the first bad one. */
static enum status look_at_pointer(struct look *look, struct str prefix, struct str key,
                                   struct err *err)
{
    AUTO(arena_done) struct arena arena;
    AUTO(buf_done) struct buf body, text;
    arena_init(&arena, 0);
    buf_init(&body, POINTER_BYTES_MAX);
    buf_init(&text, 0);
    struct err why = { 0 };
    struct table_name name;
    struct pointer pointer;
    bool is_pointer = false;
    if (pointer_key_name(&arena, prefix, key, &is_pointer, &name, &why) != OK || !is_pointer) {
        return str_ends(key, STR("/_ns.json")) ? look_at_namespace(look, key, err) : OK;
    }
    TRY(table_name_print(&name, &text) == OK ? OK : err_no_memory(err));
    const char *table = buf_cstr(&text);
    if (table == NULL) {
        return err_no_memory(err);
    }
    enum status status = store_read(look->store, key, NULL, &body, NULL, &why);
    status = status == OK ? pointer_decode(&arena, buf_str(&body), &pointer, &why) : status;
    if (status == E_NOT_FOUND) {
        return OK;
    }
    if (status != OK) {
        (void)err_context(&why, "its pointer \"%.*s\"", STR_ARG(key));
        tell(look,
             status == E_UNSUPPORTED ? "a newer lakehouse wrote it: use that one"
                                     : "restore the pointer from a backup of the folder",
             table, &why);
        return OK;
    }
    look->begun += pointer.state == POINTER_ARRIVING;
    /* one that is arriving by a rename may be there already: the catalogue knows */
    if (pointer.state != POINTER_LIVE && pointer.state != POINTER_ARRIVING) {
        return OK;
    }
    return pointer.table.is_view ? look_at_view(look, &name, table, err)
                                 : look_at_table(look, &name, table, err);
}

/** A data file below wh/ that no snapshot names. */
static enum status look_for_unnamed(struct look *look, struct str prefix, struct str key,
                                    const struct store_info *info)
{
    if (str_find(key, STR("/data/")) != SIZE_MAX && map_get(&look->seen, key) == NULL) {
        look->unnamed++;
        look->unnamed_bytes += info->size;
    }
    return OK;
}

/** Call for every key below `prefix`. */
static enum status each_key(struct look *look, struct str prefix, bool pointers, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    AUTO(buf_done) struct buf after;
    arena_init(&arena, 0);
    buf_init(&after, 0);
    struct store_list page = { .truncated = true };
    while (page.truncated) {
        arena_reset(&arena);
        struct store_list_opts opts = { .prefix = prefix, .after = buf_str(&after), .limit = PAGE };
        TRY(store_list(look->store, &opts, &arena, &page, err));
        for (size_t i = 0; i < page.object_count; i++) {
            const struct store_info *info = &page.objects[i];
            TRY(pointers ? look_at_pointer(look, prefix, info->key, err)
                         : look_for_unnamed(look, prefix, info->key, info));
        }
        buf_clear(&after);
        TRY(buf_append(&after, page.next) == OK ? OK : err_no_memory(err));
    }
    return OK;
}

static void sum_up(const struct look *look)
{
    if (look->bad > TOLD_MAX) {
        doctor_tell(look->doctor, DOCTOR_PROBLEM, "tables", NULL, "%llu faults in all",
                    (unsigned long long)look->bad);
    }
    if (look->unnamed > 0) {
        doctor_tell(look->doctor, DOCTOR_NOTE, "tables", NULL,
                    "%llu data files (%llu bytes) that no snapshot names: left by writes that did "
                    "not end, or of dropped tables and expired snapshots in their grace",
                    (unsigned long long)look->unnamed, (unsigned long long)look->unnamed_bytes);
    }
    if (look->begun > 0) {
        doctor_tell(
            look->doctor, DOCTOR_NOTE, "tables", NULL,
            "%llu renames or drops of namespaces did not end: the next sweep finishes them or "
            "takes them back",
            (unsigned long long)look->begun);
    }
    if (look->bad == 0) {
        doctor_tell(look->doctor, DOCTOR_OK, "tables", NULL,
                    "%llu tables, %llu snapshots, %llu files, all there",
                    (unsigned long long)look->tables, (unsigned long long)look->snapshots,
                    (unsigned long long)look->files);
        if (look->views > 0) {
            doctor_tell(look->doctor, DOCTOR_OK, "tables", NULL, "%llu views, all there",
                        (unsigned long long)look->views);
        }
    }
}

enum status doctor_tables(const struct doctor *doctor, struct store *store, struct catalog *catalog,
                          struct err *err)
{
    struct look look = { .doctor = doctor, .store = store, .catalog = catalog };
    AUTO(arena_done) struct arena arena;
    struct str prefix;
    arena_init(&arena, 0);
    map_init(&look.seen);
    enum status status = pointer_prefix(&arena, STR("main"), &prefix, err);
    status = status == OK ? each_key(&look, prefix, true, err) : status;
    status = status == OK ? each_key(&look, STR("wh/"), false, err) : status;
    map_done(&look.seen);
    if (status == OK) {
        sum_up(&look);
    }
    return status;
}
