/*
 * CREATE, ALTER and DROP, as src/duck/write_ddl.cc tells them:
 *
 *   create_table   "namespace","name","if_not_exists","columns":[{"name","type","required"}],
 *                  "partition":[{"transform","column"}],"sort":[..],"properties":{..}
 *   drop_table     "namespace","name","if_exists"
 *   create_schema  "namespace","if_not_exists"
 *   drop_schema    "namespace","if_exists"
 *   create_view, drop_view         see ddl_view.c
 *   alter_table    "namespace","name","if_exists","change": see alter.c
 */
#include "query/ddl.h"
#include "catalog/changes.h"
#include "engine/sql_type.h"
#include "iceberg/shape.h"
#include "query/query_priv.h"

enum { REQUEST_BYTES_MAX = 64 * 1024 * 1024 };

/* --- names --- */

enum status query_new_name(struct catalog *catalog, struct arena *arena, struct str ns,
                           struct str name, struct table_name *out, struct err *err)
{
    struct str namespaces[2];
    size_t count = 0;
    (void)catalog; /* what a schema's text can mean is decided by the text */
    TRY(table_name_of_schema(arena, ns, namespaces, &count, err));
    *out = (struct table_name){ arena_str(arena, namespaces[0]), arena_str(arena, name) };
    return out->ns.ptr == NULL || out->name.ptr == NULL ? err_no_memory(err) : OK;
}

enum status query_table_exists(struct catalog *catalog, const struct table_name *name,
                               struct arena *arena, bool *out, struct err *err)
{
    struct table_summary found;
    enum status status = catalog_find(catalog, name, true, arena, &found, err);
    *out = status == OK;
    return status == E_NOT_FOUND ? OK : status;
}

enum status ddl_find_table(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                           struct table_summary *out, struct err *err)
{
    struct str ns, name, namespaces[2];
    size_t count = 0;
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(request, "name", JSON_REQUIRED, &name, err));
    TRY(table_name_of_schema(arena, ns, namespaces, &count, err));
    struct err first = { 0 };
    enum status status = E_NOT_FOUND;
    for (size_t i = 0; i < count && status == E_NOT_FOUND; i++) {
        const struct table_name asked = { namespaces[i], name };
        status = catalog_find(catalog, &asked, true, arena, out, i == 0 ? &first : err);
    }
    if (status == E_NOT_FOUND && err != NULL) {
        *err = first;
    } else if (status != OK && count == 1 && err != NULL) {
        *err = first;
    }
    return status;
}

static bool flag(yyjson_val *request, const char *name)
{
    return yyjson_get_bool(yyjson_obj_get(request, name));
}

/* --- CREATE TABLE --- */

enum status ddl_column_type(struct arena *arena, yyjson_val *column, struct ice_field *out,
                            struct err *err)
{
    struct str name, type;
    TRY(json_get_str(column, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_str(column, "type", JSON_REQUIRED, &type, err));
    *out = (struct ice_field){ .name = arena_str(arena, name),
                               .required = flag(column, "required") };
    if (out->name.ptr == NULL) {
        return err_no_memory(err);
    }
    enum status status = sql_type_parse(arena, type, &out->type, err);
    return status == OK ? OK : err_context(err, "column \"%.*s\"", STR_ARG(name));
}

static enum status read_columns(struct arena *arena, yyjson_val *request, struct ice_schema *out,
                                struct err *err)
{
    yyjson_val *list = NULL, *column;
    size_t i, max;
    int32_t last_id = 0;
    TRY(json_get_arr(request, "columns", JSON_REQUIRED, &list, err));
    struct ice_schema schema = { .root = { .kind = ICE_STRUCT } };
    schema.root.fields = arena_array(arena, yyjson_arr_size(list) + 1, sizeof(struct ice_field));
    if (schema.root.fields == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, column)
    {
        TRY(ddl_column_type(arena, column, &schema.root.fields[i], err));
        schema.root.field_count++;
    }
    TRY(ice_schema_check_depth(&schema, err));
    return ice_schema_assign_ids(arena, &schema, &last_id, out, err);
}

enum status ddl_write_fields(struct json_writer *w, struct arena *arena,
                             const struct ice_schema *schema, yyjson_val *fields, bool sort,
                             struct err *err)
{
    size_t i, max, count = 0;
    yyjson_val *field;
    struct ice_shape_field *said = arena_array(arena, yyjson_arr_size(fields) + 1, sizeof(*said));
    if (said == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(fields, i, max, field)
    {
        said[count] = (struct ice_shape_field){ .descending = false };
        TRY(json_get_str(field, "column", JSON_REQUIRED, &said[count].column, err));
        TRY(json_get_str(field, "transform", JSON_REQUIRED, &said[count].transform, err));
        count++;
    }
    jw_key(w, STR("fields"));
    return ice_shape_write(w, arena, schema, said, count, sort, err);
}

/** Those of the statement. A table's old snapshots expire like those of tables that ingest makes,
 * unless it says otherwise. */
static void write_properties(struct json_writer *w, yyjson_val *properties)
{
    static const char expire[] = "lakehouse.expire-snapshots";
    size_t i, max;
    yyjson_val *key, *value;
    jw_kv_obj(w, "properties");
    if (yyjson_obj_get(properties, expire) == NULL) {
        jw_kv_cstr(w, expire, "true");
    }
    yyjson_obj_foreach(properties, i, max, key, value)
    {
        jw_key(w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        jw_val(w, value);
    }
    jw_obj_end(w);
}

/** The members "partition-spec", "write-order" and "properties". */
static enum status write_shape(struct json_writer *w, struct arena *arena,
                               const struct ice_schema *schema, yyjson_val *request,
                               struct err *err)
{
    jw_kv_obj(w, "partition-spec");
    TRY(ddl_write_fields(w, arena, schema, yyjson_obj_get(request, "partition"), false, err));
    jw_obj_end(w);
    yyjson_val *sort = yyjson_obj_get(request, "sort");
    if (yyjson_arr_size(sort) > 0) {
        jw_kv_obj(w, "write-order");
        TRY(ddl_write_fields(w, arena, schema, sort, true, err));
        jw_obj_end(w);
    }
    write_properties(w, yyjson_obj_get(request, "properties"));
    return OK;
}

static bool has_any(yyjson_val *request, const char *name)
{
    yyjson_val *member = yyjson_obj_get(request, name);
    return yyjson_arr_size(member) > 0 || yyjson_obj_size(member) > 0;
}

enum status ddl_write_shape(struct arena *arena, const struct ice_schema *schema,
                            yyjson_val *request, struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    struct json_writer w;
    buf_init(&json, REQUEST_BYTES_MAX);
    *out = STR_EMPTY;
    if (!has_any(request, "partition") && !has_any(request, "sort") &&
        !has_any(request, "properties")) {
        return OK;
    }
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    TRY(write_shape(&w, arena, schema, request, err));
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    *out = arena_str(arena, buf_str(&json));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

/** A CreateTableRequest. */
static enum status write_create(struct arena *arena, yyjson_val *request, struct str name,
                                struct buf *out, struct err *err)
{
    struct ice_schema schema;
    struct json_writer w;
    TRY(read_columns(arena, request, &schema, err));
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "name", name);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &schema);
    enum status status = write_shape(&w, arena, &schema, request, err);
    jw_obj_end(&w);
    if (status != OK) {
        return status; /* it stopped in the middle */
    }
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status ddl_ensure_default(struct catalog *catalog, struct arena *arena,
                               const struct table_name *name, struct err *err)
{
    struct catalog_namespace made;
    if (!str_eq(name->ns, STR("main"))) {
        return OK;
    }
    enum status status = catalog_namespace_create(catalog, name->ns, NULL, 0, arena, &made, err);
    return status == E_EXISTS ? OK : status;
}

static enum status create_table(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                                deadline_ms deadline, struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str ns, text;
    struct table_name name;
    struct catalog_loaded loaded = { 0 };
    bool exists = false;
    buf_init(&body, REQUEST_BYTES_MAX);
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(request, "name", JSON_REQUIRED, &text, err));
    TRY(query_new_name(catalog, arena, ns, text, &name, err));
    TRY(query_table_exists(catalog, &name, arena, &exists, err));
    if (exists) {
        return flag(request, "if_not_exists")
                   ? OK
                   : err_set(err, E_EXISTS, "table \"%.*s\" exists already", STR_ARG(text));
    }
    TRY(write_create(arena, request, name.name, &body, err));
    TRY(json_parse(buf_str(&body), &doc, err));
    TRY(ddl_ensure_default(catalog, arena, &name, err));
    const struct catalog_create create = { .name = name,
                                           .request = yyjson_doc_get_root(doc),
                                           .deadline = deadline };
    enum status status = catalog_create_table(catalog, &create, arena, &loaded, err);
    buf_done(&loaded.metadata);
    return status == E_EXISTS && flag(request, "if_not_exists") ? OK : status;
}

/* --- DROP, schemas --- */

static enum status drop_table(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                              struct err *err)
{
    struct table_summary table;
    enum status status = ddl_find_table(catalog, arena, request, &table, err);
    status = status == OK ? catalog_drop(catalog, &table.name, err) : status;
    return status == E_NOT_FOUND && flag(request, "if_exists") ? OK : status;
}

static enum status find_namespace(struct arena *arena, yyjson_val *request, struct str *out,
                                  struct err *err)
{
    struct str text, namespaces[2];
    size_t count = 0;
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &text, err));
    TRY(table_name_of_schema(arena, text, namespaces, &count, err));
    *out = arena_str(arena, namespaces[0]);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status create_schema(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                                 struct err *err)
{
    struct str ns;
    struct catalog_namespace made;
    TRY(find_namespace(arena, request, &ns, err));
    enum status status = catalog_namespace_create(catalog, ns, NULL, 0, arena, &made, err);
    return status == E_EXISTS && flag(request, "if_not_exists") ? OK : status;
}

static enum status drop_schema(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                               struct err *err)
{
    struct str ns;
    TRY(find_namespace(arena, request, &ns, err));
    enum status status = catalog_namespace_drop(catalog, ns, err);
    return status == E_NOT_FOUND && flag(request, "if_exists") ? OK : status;
}

static enum status alter_table(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                               deadline_ms deadline, struct err *err)
{
    struct table_summary table;
    enum status status = ddl_find_table(catalog, arena, request, &table, err);
    if (status == E_NOT_FOUND && flag(request, "if_exists")) {
        return OK;
    }
    TRY(status);
    return ddl_alter(catalog, &table.name, request, deadline, err);
}

static enum status run(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                       deadline_ms deadline, struct err *err)
{
    struct str verb;
    TRY(json_get_str(request, "do", JSON_REQUIRED, &verb, err));
    if (str_eq(verb, STR("create_table"))) {
        return create_table(catalog, arena, request, deadline, err);
    }
    if (str_eq(verb, STR("drop_table"))) {
        return drop_table(catalog, arena, request, err);
    }
    if (str_eq(verb, STR("create_view"))) {
        return ddl_create_view(catalog, arena, request, deadline, err);
    }
    if (str_eq(verb, STR("drop_view"))) {
        return ddl_drop_view(catalog, arena, request, err);
    }
    if (str_eq(verb, STR("create_schema"))) {
        return create_schema(catalog, arena, request, err);
    }
    if (str_eq(verb, STR("drop_schema"))) {
        return drop_schema(catalog, arena, request, err);
    }
    if (str_eq(verb, STR("alter_table"))) {
        return alter_table(catalog, arena, request, deadline, err);
    }
    return err_set(err, E_INTERNAL, "nobody knows how to \"%.*s\"", STR_ARG(verb));
}

enum status query_ddl(struct catalog *catalog, yyjson_val *request, deadline_ms deadline,
                      struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = run(catalog, &arena, request, deadline, err);
    arena_done(&arena);
    return status;
}
