/*
 * CREATE VIEW and DROP VIEW:
 *
 *   create_view  "request": {"namespace","name","if_not_exists","replace","sql",
 *                "schema_of_names"}, "schema": of its columns, without ids
 *   drop_view    "namespace","name","if_exists"
 *
 * OR REPLACE gives a view that is there its next version; of a table that is there it is a refusal.
 */
#include "base/clock.h"
#include "catalog/changes.h"
#include "query/ddl.h"
#include "query/query_priv.h"

enum { REQUEST_BYTES_MAX = 64 * 1024 * 1024 };

/** What is asked for. */
struct view_made {
    struct table_name name;
    struct ice_schema schema;
    struct str sql, names_schema; /* what names without a schema in it mean */
    bool if_not_exists, replace;
};

static enum status read_view(struct catalog *catalog, struct arena *arena, yyjson_val *asked,
                             struct view_made *out, struct err *err)
{
    yyjson_val *request = NULL, *schema = NULL;
    struct str ns, name, names_schema, namespaces[2];
    struct ice_schema plain;
    int32_t last_id = 0;
    size_t count = 0;
    TRY(json_get_obj(asked, "request", JSON_REQUIRED, &request, err));
    TRY(json_get_obj(asked, "schema", JSON_REQUIRED, &schema, err));
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(request, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_str(request, "sql", JSON_REQUIRED, &out->sql, err));
    TRY(json_get_str(request, "schema_of_names", JSON_REQUIRED, &names_schema, err));
    TRY(json_get_bool(request, "if_not_exists", JSON_OPTIONAL, &out->if_not_exists, err));
    TRY(json_get_bool(request, "replace", JSON_OPTIONAL, &out->replace, err));
    TRY(table_name_of_schema(arena, names_schema, namespaces, &count, err));
    out->names_schema = arena_str(arena, namespaces[0]);
    TRY(query_new_name(catalog, arena, ns, name, &out->name, err));
    TRY(ice_schema_parse(arena, schema, &plain, err));
    return ice_schema_assign_ids(arena, &plain, &last_id, &out->schema, err);
}

/** "view-version", of that schema. */
static void write_version(struct json_writer *w, const struct view_made *made, int64_t schema_id)
{
    jw_kv_obj(w, "view-version");
    jw_kv_i64(w, "version-id", 1);
    jw_kv_i64(w, "timestamp-ms", clock_wall_ms(clock_real()));
    jw_kv_i64(w, "schema-id", schema_id);
    jw_kv_obj(w, "summary");
    jw_kv_cstr(w, "engine-name", "lakehouse");
    jw_obj_end(w);
    jw_kv_arr(w, "representations");
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "sql");
    jw_kv_str(w, "sql", made->sql);
    jw_kv_cstr(w, "dialect", "duckdb");
    jw_obj_end(w);
    jw_arr_end(w);
    jw_kv_arr(w, "default-namespace");
    struct str rest = made->names_schema;
    while (rest.ptr != NULL) {
        jw_str(w, str_split(&rest, CATALOG_NS_SEPARATOR));
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

/** A CreateViewRequest. */
static void write_create(struct json_writer *w, const struct view_made *made)
{
    jw_obj_begin(w);
    jw_kv_str(w, "name", made->name.name);
    jw_key(w, STR("schema"));
    ice_schema_write(w, &made->schema);
    write_version(w, made, 0);
    jw_kv_obj(w, "properties");
    jw_obj_end(w);
    jw_obj_end(w);
}

static void begin_update(struct json_writer *w, const char *action)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", action);
}

/** A CommitViewRequest: the next version of the view of that uuid. */
static void write_replace(struct json_writer *w, const struct view_made *made, struct str uuid)
{
    jw_obj_begin(w);
    jw_kv_arr(w, "requirements");
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "assert-view-uuid");
    jw_kv_str(w, "uuid", uuid);
    jw_obj_end(w);
    jw_arr_end(w);
    jw_kv_arr(w, "updates");
    begin_update(w, "add-schema");
    jw_key(w, STR("schema"));
    ice_schema_write(w, &made->schema);
    jw_obj_end(w);
    begin_update(w, "add-view-version");
    write_version(w, made, -1);
    jw_obj_end(w);
    begin_update(w, "set-current-view-version");
    jw_kv_i64(w, "view-version-id", -1);
    jw_obj_end(w);
    jw_arr_end(w);
    jw_obj_end(w);
}

static enum status send(struct catalog *catalog, struct arena *arena, const struct view_made *made,
                        const struct table_summary *old, deadline_ms deadline, struct err *err)
{
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    struct json_writer w;
    enum status status;
    buf_init(&text, REQUEST_BYTES_MAX);
    json_writer_init(&w, &text);
    if (old != NULL) {
        write_replace(&w, made, old->uuid);
    } else {
        write_create(&w, made);
    }
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    TRY(json_parse(buf_str(&text), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (old != NULL) {
        const struct catalog_change change = {
            .name = old->name,
            .requirements = yyjson_obj_get(root, "requirements"),
            .updates = yyjson_obj_get(root, "updates"),
        };
        status = catalog_change_view(catalog, &change, deadline, arena, &loaded, err);
    } else {
        const struct catalog_create create = { .name = made->name,
                                               .request = root,
                                               .deadline = deadline };
        status = catalog_create_view(catalog, &create, arena, &loaded, err);
    }
    buf_done(&loaded.metadata);
    return status;
}

/** *again_out: it was made, dropped or made anew by somebody else since it was looked for. */
static enum status try_create(struct catalog *catalog, struct arena *arena,
                              const struct view_made *made, deadline_ms deadline, bool *again_out,
                              struct err *err)
{
    struct table_summary old;
    enum status status = catalog_find_view(catalog, &made->name, true, arena, &old, err);
    bool exists = status == OK;
    *again_out = false;
    TRY(status == E_NOT_FOUND ? OK : status);
    if (exists && !made->replace) {
        return made->if_not_exists ? OK
                                   : err_set(err, E_EXISTS, "view \"%.*s\" exists already",
                                             STR_ARG(made->name.name));
    }
    TRY(ddl_ensure_default(catalog, arena, &made->name, err));
    status = send(catalog, arena, made, exists ? &old : NULL, deadline, err);
    *again_out = exists ? status == E_NOT_FOUND || status == E_CONFLICT
                        : status == E_EXISTS && (made->replace || made->if_not_exists);
    return status;
}

enum status ddl_create_view(struct catalog *catalog, struct arena *arena, yyjson_val *asked,
                            deadline_ms deadline, struct err *err)
{
    struct view_made made = { .replace = false };
    enum status status = OK;
    bool again = true;
    TRY(read_view(catalog, arena, asked, &made, err));
    for (int i = 0; i < WRITE_ATTEMPTS_MAX && again; i++) {
        status = try_create(catalog, arena, &made, deadline, &again, err);
    }
    return status;
}

enum status ddl_drop_view(struct catalog *catalog, struct arena *arena, yyjson_val *request,
                          struct err *err)
{
    struct str ns, text;
    struct table_name name;
    struct table_summary view;
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(request, "name", JSON_REQUIRED, &text, err));
    TRY(query_new_name(catalog, arena, ns, text, &name, err));
    enum status status = catalog_find_view(catalog, &name, true, arena, &view, err);
    status = status == OK ? catalog_drop_view(catalog, &view.name, err) : status;
    return status == E_NOT_FOUND && yyjson_get_bool(yyjson_obj_get(request, "if_exists")) ? OK
                                                                                          : status;
}
