/*
 * What the engine asks while a query runs, in JSON; engine/child_tables.c has the shapes and is the
 * other side.
 *
 * A snapshot is named by a key of what it consists of: table uuid, snapshot, schema and
 * metadata file. When the
 * engine has a snapshot of that key already, its columns and files are not sent again.
 */
#include "base/digest.h"
#include "engine/sql_type.h"
#include "query/inspect.h"

static enum status read_at(yyjson_val *args, struct catalog_at *out, struct err *err)
{
    *out = (struct catalog_at){ .kind = CATALOG_AT_CURRENT, .ref = STR_EMPTY };
    struct str version = { NULL, 0 };
    TRY(json_get_str(args, "version", JSON_OPTIONAL, &version, err));
    if (version.ptr != NULL) {
        out->kind = CATALOG_AT_VERSION;
        if (!str_to_i64(version, &out->value)) {
            out->ref = version;
        }
        return OK;
    }
    if (yyjson_obj_get(args, "timestamp_ms") != NULL) {
        out->kind = CATALOG_AT_TIMESTAMP;
        return json_get_i64(args, "timestamp_ms", JSON_REQUIRED, &out->value, err);
    }
    return OK;
}

/* --- resolve --- */

static enum status write_columns(struct json_writer *w, const struct ice_field *fields,
                                 size_t count, struct err *err);

static enum status write_column(struct json_writer *w, const struct ice_field *field,
                                struct err *err)
{
    AUTO(buf_done) struct buf type;
    buf_init(&type, 0);
    enum status kind = sql_type_print(&field->type, &type, err);
    if (kind != OK) {
        return err_context(err, "column \"%.*s\"", STR_ARG(field->name));
    }
    jw_obj_begin(w);
    jw_kv_str(w, "name", field->name);
    jw_kv_i64(w, "id", field->id);
    jw_kv_str(w, "type", buf_str(&type));
    jw_kv_bool(w, "required", field->required);
    if (field->type.field_count > 0) {
        jw_key(w, STR("children"));
        TRY(write_columns(w, field->type.fields, field->type.field_count, err));
    }
    jw_obj_end(w);
    return OK;
}

static enum status write_columns(struct json_writer *w, const struct ice_field *fields,
                                 size_t count, struct err *err)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < count; i++) {
        TRY(write_column(w, &fields[i], err));
    }
    jw_arr_end(w);
    return OK;
}

/** A file may be without field ids only if its table has a name mapping; the engine, which sees its
 * footer, decides. */
static enum status write_files(struct json_writer *w, const struct query_pin *pin, struct err *err)
{
    bool by_name = ice_metadata_property(pin->pin->metadata, STR("schema.name-mapping.default"))
                       .ptr != NULL;
    if (pin->files.delete_count > 0) {
        return query_deletes_write(w, pin, by_name, err);
    }
    jw_kv_arr(w, "files");
    for (size_t i = 0; i < pin->files.count; i++) {
        const struct ice_data_file *file = pin->files.files[i].file;
        jw_arr_begin(w);
        jw_i64(w, file->record_count);
        jw_i64(w, file->size_bytes);
        jw_bool(w, by_name);
        jw_arr_end(w);
    }
    jw_arr_end(w);
    return OK;
}

static int64_t count_rows(const struct query_pin *pin, bool with_files)
{
    if (!with_files) {
        return pin->at.kind == CATALOG_AT_CURRENT ? pin->pin->table.row_count : -1;
    }
    int64_t rows = 0;
    for (size_t i = 0; i < pin->files.count; i++) {
        rows += pin->files.files[i].file->record_count;
    }
    return rows;
}

/** What the engine has: [key, number of files]. */
static bool has_key(yyjson_val *args, struct str key, uint64_t *files_out)
{
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_val *have = yyjson_obj_get(args, "have");
    yyjson_arr_foreach(have, i, max, at)
    {
        yyjson_val *name = yyjson_arr_get(at, 0);
        if (yyjson_is_str(name) &&
            str_eq(str_from(yyjson_get_str(name), yyjson_get_len(name)), key)) {
            *files_out = yyjson_get_uint(yyjson_arr_get(at, 1));
            return true;
        }
    }
    return false;
}

/** "uuid:snapshot:schema:<hash of the metadata file's name>", ":f" with files. The ids alone do not
 * say it: a snapshot or a schema may be taken out and another one added under its id, and a name
 * mapping may come without a snapshot. */
static enum status snapshot_key(const struct query_pin *pin, bool with_files, char *out, size_t cap,
                                struct err *err)
{
    const struct catalog_pin *at = pin->pin;
    char hash[SHA256_HEX + 1];
    sha256_hex(at->table.metadata_location, hash);
    int len = snprintf(out, cap, "%.*s:%lld:%d:%.32s%s", STR_ARG(at->table.uuid),
                       at->snapshot == NULL ? -1ll : (long long)at->snapshot->id,
                       (int)at->schema->schema_id, hash, with_files ? ":f" : "");
    return len > 0 && (size_t)len < cap
               ? OK
               : err_set(err, E_CORRUPT, "the uuid of table '%.*s' is too long",
                         STR_ARG(pin->name));
}

enum status query_write_schema(struct json_writer *w, struct str ns, struct err *err)
{
    AUTO(buf_done) struct buf schema;
    buf_init(&schema, 0);
    if (table_name_schema(ns, &schema) != OK) {
        return err_no_memory(err);
    }
    jw_str(w, buf_str(&schema));
    return OK;
}

/** By any of its specs. */
static bool is_partitioned(const struct ice_metadata *metadata)
{
    for (size_t i = 0; i < metadata->spec_count; i++) {
        if (metadata->specs[i].field_count > 0) {
            return true;
        }
    }
    return false;
}

/** Which files an engine that has the snapshot means is known by their numbers: the manifests are
 * read when one of them is asked for. */
static enum status write_resolved(struct query *query, struct query_pin *pin, yyjson_val *args,
                                  bool with_files, struct json_writer *w, struct err *err)
{
    char key[128];
    uint64_t files = 0;
    TRY(snapshot_key(pin, with_files, key, sizeof(key), err));
    bool has = has_key(args, str_of(key), &files);
    if (with_files) {
        TRY(has ? query_pin_numbers(query, pin, files, err) : query_pin_files(query, pin, err));
    }
    jw_obj_begin(w);
    jw_kv_u64(w, "pin", pin->number);
    jw_kv_u64(w, "first", with_files ? pin->first : 0);
    jw_kv_cstr(w, "key", key);
    jw_key(w, STR("ns"));
    TRY(query_write_schema(w, pin->pin->table.name.ns, err));
    jw_kv_str(w, "name", pin->pin->table.name.name);
    if (!has) {
        jw_kv_i64(w, "rows", count_rows(pin, with_files));
        jw_key(w, STR("columns"));
        TRY(write_columns(w, pin->pin->schema->root.fields, pin->pin->schema->root.field_count,
                          err));
        if (with_files) {
            jw_kv_bool(w, "partitioned", is_partitioned(pin->pin->metadata));
            TRY(write_files(w, pin, err));
        }
    }
    jw_obj_end(w);
    return OK;
}

static enum status finish(struct json_writer *w, enum status kind, struct err *err)
{
    if (kind != OK) {
        return kind; /* it stopped in the middle */
    }
    return json_writer_end(w) == OK ? OK : err_no_memory(err);
}

/* A metadata table: its rows come by "inspect", and what it looks like hangs on more than its
 * snapshot, so that the key names the version of the table. */

static enum status write_inspection(struct query *query, struct query_pin *pin,
                                    enum inspect_kind kind, yyjson_val *args, struct json_writer *w,
                                    struct err *err)
{
    char key[160];
    char name[32];
    uint64_t none = 0;
    const struct catalog_pin *at = pin->pin;
    AUTO(buf_done) struct buf full;
    buf_init(&full, 0);
    snprintf(name, sizeof(name), "$%s", inspect_name(kind));
    int len = snprintf(key, sizeof(key), "%.*s:%lld:%d%s", STR_ARG(at->table.uuid),
                       (long long)at->table.version, (int)at->schema->schema_id, name);
    if (len < 0 || (size_t)len >= sizeof(key)) {
        return err_set(err, E_CORRUPT, "the uuid of table '%.*s' is too long", STR_ARG(pin->name));
    }
    if (buf_printf(&full, "%.*s%s", STR_ARG(at->table.name.name), name) != OK) {
        return err_no_memory(err);
    }
    jw_obj_begin(w);
    jw_kv_u64(w, "pin", pin->number);
    jw_kv_cstr(w, "inspect", inspect_name(kind));
    jw_kv_u64(w, "first", 0);
    jw_kv_cstr(w, "key", key);
    jw_key(w, STR("ns"));
    TRY(query_write_schema(w, at->table.name.ns, err));
    jw_kv_str(w, "name", buf_str(&full));
    if (!has_key(args, str_of(key), &none)) {
        struct ice_type columns = { 0 };
        TRY(inspect_write_columns(query, pin, kind, &columns, err));
        jw_kv_i64(w, "rows", -1);
        jw_key(w, STR("columns"));
        TRY(write_columns(w, columns.fields, columns.field_count, err));
    }
    jw_obj_end(w);
    return OK;
}

static enum status resolve_inspection(struct query *query, yyjson_val *args,
                                      const struct catalog_at *at, struct buf *reply,
                                      struct err *err)
{
    struct str ns;
    struct str name;
    struct query_pin *pin = NULL;
    enum inspect_kind kind = INSPECT_KINDS;
    TRY(json_get_str(args, "ns", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(args, "name", JSON_REQUIRED, &name, err));
    TRY(inspect_resolve(query, ns, name, at, &pin, &kind, err));
    struct json_writer w;
    json_writer_init(&w, reply);
    return finish(&w, write_inspection(query, pin, kind, args, &w, err), err);
}

/** A table of that very name comes before a metadata table; only a name with a `$` can be both. */
static enum status look_for_table(struct query *query, struct str ns, struct str name,
                                  bool *is_table_out, struct err *err)
{
    const struct catalog_at now = { .kind = CATALOG_AT_CURRENT };
    struct query_pin *pin = NULL;
    enum status kind = memchr(name.ptr, '$', name.len) == NULL
                           ? OK
                           : query_pin_get(query, ns, name, &now, &pin, err);
    *is_table_out = kind == OK;
    return kind == E_NOT_FOUND ? OK : kind;
}

static enum status resolve(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err)
{
    struct str ns;
    struct str name;
    struct catalog_at at;
    bool with_files = false;
    struct query_pin *pin = NULL;
    bool is_table = false;
    TRY(json_get_str(args, "ns", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(args, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_bool(args, "files", JSON_REQUIRED, &with_files, err));
    TRY(read_at(args, &at, err));
    TRY(look_for_table(query, ns, name, &is_table, err));
    if (!is_table) {
        return resolve_inspection(query, args, &at, reply, err);
    }
    TRY(query_pin_get(query, ns, name, &at, &pin, err));
    if (pin->pin == NULL) {
        return buf_append(reply, pin->view) == OK ? OK : err_no_memory(err);
    }
    struct json_writer w;
    json_writer_init(&w, reply);
    return finish(&w, write_resolved(query, pin, args, with_files, &w, err), err);
}

/* --- list --- */

static enum status write_names(struct json_writer *w, const struct catalog_list *page,
                               struct err *err)
{
    for (size_t i = 0; i < page->count; i++) {
        jw_arr_begin(w);
        TRY(query_write_schema(w, page->tables[i].name.ns, err));
        jw_str(w, page->tables[i].name.name);
        jw_bool(w, page->tables[i].is_view);
        jw_arr_end(w);
    }
    return OK;
}

static enum status list(struct query *query, struct buf *reply, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    struct json_writer w;
    struct catalog_list_opts opts = {
        .ns = STR_EMPTY, .after = STR_EMPTY, .limit = 10000, .kind = CATALOG_EITHER
    };
    enum status kind = OK;
    arena_init(&arena, 0);
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "tables");
    for (bool more = true; more && kind == OK;) {
        struct catalog_list page = { .count = 0 };
        kind = catalog_list(query->service->opts.catalog, &opts, &arena, &page, err);
        kind = kind == OK ? write_names(&w, &page, err) : kind;
        more = kind == OK && page.next.len > 0;
        opts.after = page.next;
    }
    if (kind == OK) {
        jw_arr_end(&w);
        jw_obj_end(&w);
    }
    return finish(&w, kind, err);
}

/* --- bytes --- */

static enum status open_file(struct query *query, yyjson_val *args, struct buf *reply, int *fd_out,
                             struct err *err)
{
    uint64_t file = 0;
    uint64_t size = 0;
    TRY(json_get_u64(args, "file", JSON_REQUIRED, &file, err));
    TRY(query_file_open(query, file, fd_out, &size, err));
    return buf_printf(reply, "{\"size\":%llu}", (unsigned long long)size) == OK
               ? OK
               : err_no_memory(err);
}

static enum status read_file(struct query *query, yyjson_val *args, struct buf *reply,
                             struct err *err)
{
    uint64_t file = 0;
    uint64_t offset = 0;
    uint64_t length = 0;
    TRY(json_get_u64(args, "file", JSON_REQUIRED, &file, err));
    TRY(json_get_u64(args, "offset", JSON_REQUIRED, &offset, err));
    TRY(json_get_u64(args, "length", JSON_REQUIRED, &length, err));
    return query_file_read(query, file, offset, length, reply, err);
}

enum status query_answer(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                         int *fd_out, struct err *err)
{
    struct query *query = ctx;
    if (str_eq(name, STR("resolve"))) {
        return resolve(query, args, reply, err);
    }
    if (str_eq(name, STR("bounds"))) {
        return query_bounds(query, args, reply, err);
    }
    if (str_eq(name, STR("inspect"))) {
        return inspect_answer(query, args, reply, err);
    }
    if (str_eq(name, STR("list"))) {
        return list(query, reply, err);
    }
    if (str_eq(name, STR("open"))) {
        return open_file(query, args, reply, fd_out, err);
    }
    if (str_eq(name, STR("read"))) {
        return read_file(query, args, reply, err);
    }
    if (str_eq(name, STR("nearest"))) {
        return query_nearest(query, args, reply, err);
    }
    if (str_eq(name, STR("items"))) {
        return query_items(query, args, reply, err);
    }
    bool known = false;
    TRY(query_write_answer(query, name, args, reply, fd_out, &known, err));
    return known ? OK
                 : err_set(err, E_INTERNAL, "the engine asks for '%.*s', which nobody knows",
                           STR_ARG(name));
}
