/*
 * ALTER TABLE: the next schema, spec or properties, as a change of the table (catalog/changes.h)
 * that holds only while its schema is the one that was read; another one meanwhile: again.
 *
 *   "change": rename            "to"
 *             add_column        "path" of the struct it goes into, "column", "if_not_exists"
 *             drop_column       "path", "column_if_exists"
 *             rename_column     "path", "to"
 *             type              "path", "column"
 *             drop_not_null     "path"
 *             set_properties    "properties"
 *             unset_properties  "path": their names
 *             partition         "partition"
 */
#include "catalog/changes.h"
#include "iceberg/shape.h"
#include "query/ddl.h"
#include "query/query_priv.h"

enum { ATTEMPTS_MAX = 16, CHANGE_BYTES_MAX = 64 * 1024 * 1024, PATH_MAX_PARTS = 32 };

struct altering {
    struct arena *arena;
    yyjson_val *request;
    const struct ice_metadata *metadata;
    int32_t last_id;
    bool nothing; /* IF [NOT] EXISTS, and so it is */
};

/* --- the schema --- */

/** A copy of a type's fields, with room for one more; what is below them is shared. */
static enum status copy_fields(struct altering *a, struct ice_type *type, struct err *err)
{
    struct ice_field *fields = arena_array(a->arena, type->field_count + 1, sizeof(*fields));
    if (fields == NULL) {
        return err_no_memory(err);
    }
    if (type->field_count > 0) {
        memcpy(fields, type->fields, type->field_count * sizeof(*fields));
    }
    type->fields = fields;
    return OK;
}

/** A part of a path inside of a type: a field of a struct, the element of a list, .. */
static struct ice_field *part_of(struct ice_type *type, struct str name)
{
    const struct ice_field *found = ice_shape_column(type, name);
    return found == NULL ? NULL : &type->fields[found - type->fields];
}

static enum status read_path(const struct altering *a, struct str parts[PATH_MAX_PARTS],
                             size_t *count_out, struct err *err)
{
    yyjson_val *path = NULL, *part;
    size_t i, max;
    TRY(json_get_arr(a->request, "path", JSON_REQUIRED, &path, err));
    if (yyjson_arr_size(path) > PATH_MAX_PARTS) {
        return err_set(err, E_INVALID, "a path of more than %d parts", (int)PATH_MAX_PARTS);
    }
    *count_out = yyjson_arr_size(path);
    yyjson_arr_foreach(path, i, max, part)
    {
        parts[i] = str_from(yyjson_get_str(part), yyjson_get_len(part));
    }
    return OK;
}

static enum status no_such(struct str name, struct err *err)
{
    return err_set(err, E_NOT_FOUND, "there is no column \"%.*s\"", STR_ARG(name));
}

/** Down to the type that the first `count` parts name; all on the way is copied. */
static enum status descend(struct altering *a, struct ice_type *root, const struct str *parts,
                           size_t count, struct ice_type **out, struct err *err)
{
    struct ice_type *type = root;
    TRY(copy_fields(a, type, err));
    for (size_t i = 0; i < count; i++) {
        struct ice_field *field = part_of(type, parts[i]);
        if (field == NULL) {
            return no_such(parts[i], err);
        }
        type = &field->type;
        TRY(copy_fields(a, type, err));
    }
    *out = type;
    return OK;
}

/** The field at the end of the path, in a copy of the schema. */
static enum status find(struct altering *a, struct ice_schema *schema, struct ice_type **parent_out,
                        struct ice_field **out, struct err *err)
{
    struct str parts[PATH_MAX_PARTS] = { 0 };
    size_t count = 0;
    TRY(read_path(a, parts, &count, err));
    if (count == 0) {
        return err_set(err, E_INTERNAL, "a change of no column");
    }
    TRY(descend(a, &schema->root, parts, count - 1, parent_out, err));
    *out = part_of(*parent_out, parts[count - 1]);
    return *out == NULL ? no_such(parts[count - 1], err) : OK;
}

static enum status add_column(struct altering *a, struct ice_schema *schema, struct err *err)
{
    struct str parts[PATH_MAX_PARTS] = { 0 };
    size_t count = 0;
    struct ice_type *parent = NULL;
    yyjson_val *column = NULL;
    struct ice_schema one = { .root = { .kind = ICE_STRUCT, .field_count = 1 } };
    struct ice_schema numbered;
    struct ice_field field;
    TRY(read_path(a, parts, &count, err));
    TRY(json_get_obj(a->request, "column", JSON_REQUIRED, &column, err));
    TRY(ddl_column_type(a->arena, column, &field, err));
    TRY(descend(a, &schema->root, parts, count, &parent, err));
    if (parent->kind != ICE_STRUCT) {
        return err_set(err, E_INVALID, "\"%.*s\" is no struct that a field could be added to",
                       STR_ARG(parts[count - 1]));
    }
    if (part_of(parent, field.name) != NULL) {
        a->nothing = yyjson_get_bool(yyjson_obj_get(a->request, "if_not_exists"));
        return a->nothing ? OK
                          : err_set(err, E_EXISTS, "column \"%.*s\" is there already",
                                    STR_ARG(field.name));
    }
    one.root.fields = &field;
    TRY(ice_schema_assign_ids(a->arena, &one, &a->last_id, &numbered, err));
    parent->fields[parent->field_count++] = numbered.root.fields[0];
    return ice_schema_check_depth(schema, err);
}

static enum status drop_column(struct altering *a, struct ice_schema *schema, struct err *err)
{
    struct ice_type *parent = NULL;
    struct ice_field *field = NULL;
    enum status status = find(a, schema, &parent, &field, err);
    if (status == E_NOT_FOUND && yyjson_get_bool(yyjson_obj_get(a->request, "column_if_exists"))) {
        a->nothing = true;
        return OK;
    }
    TRY(status);
    if (parent->kind != ICE_STRUCT || parent->field_count == 1) {
        return err_set(err, E_INVALID, "column \"%.*s\" cannot go: it is all that there is",
                       STR_ARG(field->name));
    }
    size_t place = (size_t)(field - parent->fields);
    memmove(field, field + 1, (parent->field_count - place - 1) * sizeof(*field));
    parent->field_count--;
    return OK;
}

static enum status rename_column(struct altering *a, struct ice_schema *schema, struct err *err)
{
    struct ice_type *parent = NULL;
    struct ice_field *field = NULL;
    struct str to;
    TRY(json_get_str(a->request, "to", JSON_REQUIRED, &to, err));
    TRY(find(a, schema, &parent, &field, err));
    const struct ice_field *other = part_of(parent, to);
    if (parent->kind != ICE_STRUCT) {
        return err_set(err, E_INVALID, "only fields of structs have names of their own");
    }
    if (other != NULL && other != field) {
        return err_set(err, E_EXISTS, "column \"%.*s\" is there already", STR_ARG(to));
    }
    field->name = arena_str(a->arena, to);
    return field->name.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status change_type(struct altering *a, struct ice_schema *schema, struct err *err)
{
    struct ice_type *parent = NULL;
    struct ice_field *field = NULL, wanted;
    yyjson_val *column = NULL;
    TRY(json_get_obj(a->request, "column", JSON_REQUIRED, &column, err));
    TRY(ddl_column_type(a->arena, column, &wanted, err));
    TRY(find(a, schema, &parent, &field, err));
    if (ice_type_equal(&field->type, &wanted.type)) {
        a->nothing = true;
        return OK;
    }
    if (!ice_type_widens(&field->type, &wanted.type)) {
        AUTO(buf_done) struct buf from, to;
        buf_init(&from, 0);
        buf_init(&to, 0);
        if (ice_type_print(&field->type, &from) != OK || ice_type_print(&wanted.type, &to) != OK) {
            return err_no_memory(err);
        }
        return err_set(err, E_INVALID,
                       "column \"%.*s\" is %.*s and cannot become %.*s: int can become long, float "
                       "double, a decimal one of more digits",
                       STR_ARG(field->name), STR_ARG(buf_str(&from)), STR_ARG(buf_str(&to)));
    }
    field->type = wanted.type;
    return OK;
}

static enum status drop_not_null(struct altering *a, struct ice_schema *schema, struct err *err)
{
    struct ice_type *parent = NULL;
    struct ice_field *field = NULL;
    TRY(find(a, schema, &parent, &field, err));
    a->nothing = !field->required;
    field->required = false;
    return OK;
}

static enum status next_schema(struct altering *a, struct str change, struct ice_schema *out,
                               struct err *err)
{
    static const struct {
        const char *change;
        enum status (*apply)(struct altering *, struct ice_schema *, struct err *);
    } known[] = {
        { "add_column", add_column },       { "drop_column", drop_column },
        { "rename_column", rename_column }, { "type", change_type },
        { "drop_not_null", drop_not_null },
    };
    *out = *a->metadata->schema;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_eq(change, str_of(known[i].change))) {
            return known[i].apply(a, out, err);
        }
    }
    return err_set(err, E_INTERNAL, "nobody knows the change \"%.*s\"", STR_ARG(change));
}

/* --- the change --- */

static void write_schema_updates(const struct altering *a, const struct ice_schema *schema,
                                 struct json_writer *w)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "add-schema");
    jw_key(w, STR("schema"));
    ice_schema_write(w, schema);
    jw_kv_i64(w, "last-column-id", a->last_id);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "set-current-schema");
    jw_kv_i64(w, "schema-id", -1);
    jw_obj_end(w);
}

static enum status write_spec_updates(const struct altering *a, struct json_writer *w,
                                      struct err *err)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "add-spec");
    jw_kv_obj(w, "spec");
    enum status status = ddl_write_fields(w, a->arena, a->metadata->schema,
                                          yyjson_obj_get(a->request, "partition"), false, err);
    jw_obj_end(w);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "set-default-spec");
    jw_kv_i64(w, "spec-id", -1);
    jw_obj_end(w);
    return status;
}

static enum status write_updates(struct altering *a, struct json_writer *w, struct err *err)
{
    struct str change;
    struct ice_schema schema;
    TRY(json_get_str(a->request, "change", JSON_REQUIRED, &change, err));
    if (str_eq(change, STR("set_properties"))) {
        jw_obj_begin(w);
        jw_kv_cstr(w, "action", "set-properties");
        jw_key(w, STR("updates"));
        jw_val(w, yyjson_obj_get(a->request, "properties"));
        jw_obj_end(w);
        return OK;
    }
    if (str_eq(change, STR("unset_properties"))) {
        jw_obj_begin(w);
        jw_kv_cstr(w, "action", "remove-properties");
        jw_key(w, STR("removals"));
        jw_val(w, yyjson_obj_get(a->request, "path"));
        jw_obj_end(w);
        return OK;
    }
    if (str_eq(change, STR("partition"))) {
        return write_spec_updates(a, w, err);
    }
    TRY(next_schema(a, change, &schema, err));
    write_schema_updates(a, &schema, w);
    return OK;
}

/** {"requirements":[..],"updates":[..]} */
static enum status write_change(struct altering *a, struct buf *out, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "requirements");
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-table-uuid");
    jw_kv_str(&w, "uuid", a->metadata->table_uuid);
    jw_obj_end(&w);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "type", "assert-current-schema-id");
    jw_kv_i64(&w, "current-schema-id", a->metadata->current_schema_id);
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_kv_arr(&w, "updates");
    enum status status = write_updates(a, &w, err);
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (status != OK) {
        return status; /* it stopped in the middle */
    }
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status alter_pinned(struct catalog *catalog, struct altering *a,
                                const struct table_name *name, deadline_ms deadline,
                                struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct catalog_loaded loaded = { 0 };
    buf_init(&json, CHANGE_BYTES_MAX);
    if (a->metadata->format_version > 2) {
        return err_set(err, E_INVALID,
                       "table \"%.*s\" has format version %d; only versions 1 and 2 are changed",
                       STR_ARG(name->name), (int)a->metadata->format_version);
    }
    a->last_id = a->metadata->last_column_id;
    TRY(write_change(a, &json, err));
    if (a->nothing) {
        return OK;
    }
    TRY(json_parse(buf_str(&json), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct catalog_change change = {
        .name = *name,
        .requirements = yyjson_obj_get(root, "requirements"),
        .updates = yyjson_obj_get(root, "updates"),
    };
    enum status status = catalog_change_table(catalog, &change, deadline, a->arena, &loaded, err);
    buf_done(&loaded.metadata);
    return status;
}

static enum status attempt(struct catalog *catalog, const struct table_name *name,
                           yyjson_val *request, deadline_ms deadline, struct err *err)
{
    struct arena arena;
    struct catalog_pin *pin = NULL;
    TRY(catalog_pin(catalog, name, false, NULL, &pin, err));
    arena_init(&arena, 0);
    struct altering a = { .arena = &arena, .request = request, .metadata = pin->metadata };
    enum status status = alter_pinned(catalog, &a, name, deadline, err);
    arena_done(&arena);
    catalog_unpin(pin);
    return status;
}

static enum status rename_table(struct catalog *catalog, const struct table_name *name,
                                yyjson_val *request, struct err *err)
{
    struct table_name to = *name;
    bool missing = false;
    TRY(json_get_str(request, "to", JSON_REQUIRED, &to.name, err));
    return catalog_rename(catalog, CATALOG_TABLE, name, &to, &missing, err);
}

enum status ddl_alter(struct catalog *catalog, const struct table_name *name, yyjson_val *request,
                      deadline_ms deadline, struct err *err)
{
    if (yyjson_equals_str(yyjson_obj_get(request, "change"), "rename")) {
        return rename_table(catalog, name, request, err);
    }
    enum status status = E_CONFLICT;
    for (int i = 0; i < ATTEMPTS_MAX && status == E_CONFLICT; i++) {
        status = attempt(catalog, name, request, deadline, err);
    }
    return status;
}
