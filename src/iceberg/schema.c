/*
 * Schemas: from JSON, to JSON, lookup by name and id, fresh ids, fingerprint, name mapping.
 *
 * A schema is a struct type with an id. Nothing here changes a schema; what would change one makes
 * another.
 */
#include "iceberg/schema_priv.h"

#include "base/digest.h"

#include <stdlib.h>

static enum status parse_identifiers(struct arena *arena, yyjson_val *json, struct ice_schema *out,
                                     struct err *err)
{
    yyjson_val *ids = NULL;
    TRY(json_get_arr(json, "identifier-field-ids", JSON_OPTIONAL, &ids, err));
    if (ids == NULL || yyjson_arr_size(ids) == 0) {
        return OK;
    }
    out->identifier_ids = arena_array(arena, yyjson_arr_size(ids), sizeof(int32_t));
    if (out->identifier_ids == NULL) {
        return err_no_memory(err);
    }
    size_t i = 0;
    size_t max = 0;
    yyjson_val *id = NULL;
    yyjson_arr_foreach(ids, i, max, id)
    {
        int64_t number = yyjson_get_sint(id);
        if (!yyjson_is_int(id) || number < INT32_MIN || number > INT32_MAX) {
            return err_set(err, E_INVALID,
                           "\"identifier-field-ids\" holds something else than field ids");
        }
        out->identifier_ids[out->identifier_count++] = (int32_t)number;
    }
    return OK;
}

enum status ice_schema_parse(struct arena *arena, yyjson_val *json, struct ice_schema *out,
                             struct err *err)
{
    struct ice_schema schema = { 0 };
    int64_t id = 0;
    if (!yyjson_is_obj(json)) {
        return err_set(err, E_INVALID, "a schema is no object");
    }
    TRY(json_get_i64(json, "schema-id", JSON_OPTIONAL, &id, err));
    if (id < INT32_MIN || id > INT32_MAX) {
        return err_set(err, E_INVALID, "schema-id %lld is no 32-bit number", (long long)id);
    }
    schema.schema_id = (int32_t)id;
    TRY(ice_type_parse(arena, json, &schema.root, err));
    if (schema.root.kind != ICE_STRUCT) {
        return err_set(err, E_INVALID, "a schema must be a struct");
    }
    TRY(parse_identifiers(arena, json, &schema, err));
    *out = schema;
    return OK;
}

void ice_schema_write(struct json_writer *w, const struct ice_schema *schema)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "type", "struct");
    jw_kv_i64(w, "schema-id", schema->schema_id);
    if (schema->identifier_count > 0) {
        jw_kv_arr(w, "identifier-field-ids");
        for (size_t i = 0; i < schema->identifier_count; i++) {
            jw_i64(w, schema->identifier_ids[i]);
        }
        jw_arr_end(w);
    }
    type_write_fields(w, &schema->root);
    jw_obj_end(w);
}

/** True when `type` nests no deeper than that; looks no deeper itself. */
static bool nests_within(const struct ice_type *type, unsigned depth)
{
    if (type->field_count > 0 && depth == 0) {
        return false;
    }
    for (size_t i = 0; i < type->field_count; i++) {
        if (!nests_within(&type->fields[i].type, depth - 1)) {
            return false;
        }
    }
    return true;
}

enum status ice_schema_check_depth(const struct ice_schema *schema, struct err *err)
{
    for (size_t i = 0; i < schema->root.field_count; i++) {
        const struct ice_field *field = &schema->root.fields[i];
        if (!nests_within(&field->type, ICE_TYPE_DEPTH_MAX)) {
            return err_set(err, E_INVALID, "column \"%.*s\" is nested deeper than %d",
                           STR_ARG(field->name), ICE_TYPE_DEPTH_MAX);
        }
    }
    return OK;
}

const struct ice_field *ice_schema_by_name(const struct ice_schema *schema, struct str name)
{
    for (size_t i = 0; i < schema->root.field_count; i++) {
        if (str_eq(schema->root.fields[i].name, name)) {
            return &schema->root.fields[i];
        }
    }
    return NULL;
}

static const struct ice_field *find_id(const struct ice_type *type, int32_t id)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (type->fields[i].id == id) {
            return &type->fields[i];
        }
        const struct ice_field *found = find_id(&type->fields[i].type, id);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

const struct ice_field *ice_schema_by_id(const struct ice_schema *schema, int32_t id)
{
    return find_id(&schema->root, id);
}

static int32_t type_max_id(const struct ice_type *type)
{
    int32_t max = 0;
    for (size_t i = 0; i < type->field_count; i++) {
        int32_t below = type_max_id(&type->fields[i].type);
        int32_t here = type->fields[i].id;
        max = below > max ? below : max;
        max = here > max ? here : max;
    }
    return max;
}

int32_t ice_schema_max_id(const struct ice_schema *schema)
{
    return type_max_id(&schema->root);
}

static bool type_same(const struct ice_type *a, const struct ice_type *b)
{
    if (!type_head_equal(a, b)) {
        return false;
    }
    for (size_t i = 0; i < a->field_count; i++) {
        const struct ice_field *x = &a->fields[i];
        const struct ice_field *y = &b->fields[i];
        if (x->id != y->id || x->required != y->required || !str_eq(x->name, y->name) ||
            (x->doc.ptr == NULL) != (y->doc.ptr == NULL) || !str_eq(x->doc, y->doc) ||
            !str_eq(x->extra_json, y->extra_json) || !type_same(&x->type, &y->type)) {
            return false;
        }
    }
    return true;
}

bool ice_schema_same(const struct ice_schema *a, const struct ice_schema *b)
{
    return a->identifier_count == b->identifier_count &&
           (a->identifier_count == 0 || memcmp(a->identifier_ids, b->identifier_ids,
                                               a->identifier_count * sizeof(int32_t)) == 0) &&
           type_same(&a->root, &b->root);
}

/* ---- fresh ids ---- */

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static enum status check_names(struct arena *arena, const struct ice_type *type, struct err *err)
{
    struct str *names = arena_array(arena, type->field_count, sizeof(*names));
    if (names == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < type->field_count; i++) {
        names[i] = type->fields[i].name;
    }
    qsort(names, type->field_count, sizeof(*names), compare_names);
    for (size_t i = 0; i < type->field_count; i++) {
        if (names[i].len == 0) {
            return err_set(err, E_INVALID, "a field has an empty name");
        }
        if (i > 0 && str_eq(names[i - 1], names[i])) {
            return err_set(err, E_INVALID, "field \"%.*s\" is there twice", STR_ARG(names[i]));
        }
    }
    return OK;
}

static enum status assign_type(struct arena *arena, const struct ice_type *in, int32_t *last_id,
                               struct ice_type *out, struct err *err)
{
    *out = *in;
    if (in->field_count == 0) {
        return OK;
    }
    if (in->kind == ICE_STRUCT) {
        TRY(check_names(arena, in, err));
    }
    out->fields = arena_array(arena, in->field_count, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->field_count; i++) {
        if (*last_id >= INT32_MAX - 1000) { /* the ids above are Iceberg's own columns */
            return err_set(err, E_TOO_LARGE, "the schema has used up its field ids");
        }
        out->fields[i] = in->fields[i];
        out->fields[i].id = ++*last_id;
    }
    for (size_t i = 0; i < in->field_count; i++) {
        TRY(assign_type(arena, &in->fields[i].type, last_id, &out->fields[i].type, err));
    }
    return OK;
}

int32_t schema_moved_id(const struct ice_type *old, const struct ice_type *new, int32_t old_id)
{
    for (size_t i = 0; i < old->field_count; i++) {
        if (old->fields[i].id == old_id) {
            return new->fields[i].id;
        }
        int32_t below = schema_moved_id(&old->fields[i].type, &new->fields[i].type, old_id);
        if (below != 0) {
            return below;
        }
    }
    return 0;
}

enum status ice_schema_assign_ids(struct arena *arena, const struct ice_schema *schema,
                                  int32_t *last_id, struct ice_schema *out, struct err *err)
{
    struct ice_schema result = *schema;
    int32_t last = *last_id;
    TRY(assign_type(arena, &schema->root, &last, &result.root, err));
    if (schema->identifier_count > 0) {
        result.identifier_ids = arena_array(arena, schema->identifier_count, sizeof(int32_t));
        if (result.identifier_ids == NULL) {
            return err_no_memory(err);
        }
    }
    for (size_t i = 0; i < schema->identifier_count; i++) {
        result.identifier_ids[i] = schema_moved_id(&schema->root, &result.root,
                                                   schema->identifier_ids[i]);
        if (result.identifier_ids[i] == 0) {
            return err_set(err, E_INVALID, "identifier field %d is not in the schema",
                           schema->identifier_ids[i]);
        }
    }
    *last_id = last;
    *out = result;
    return OK;
}

/* ---- fingerprint and name mapping ---- */

enum status ice_schema_fingerprint(const struct ice_schema *schema, char out[65], struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    for (size_t i = 0; i < schema->root.field_count; i++) {
        const struct ice_field *field = &schema->root.fields[i];
        if (buf_append(&text, field->name) != OK || buf_append_char(&text, ':') != OK ||
            ice_type_print(&field->type, &text) != OK ||
            buf_append(&text, field->required ? STR(":true\n") : STR(":false\n")) != OK) {
            return err_no_memory(err);
        }
    }
    sha256_hex(buf_str(&text), out);
    return OK;
}

static void write_mapping(struct json_writer *w, const struct ice_type *type)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_field *field = &type->fields[i];
        jw_obj_begin(w);
        jw_kv_i64(w, "field-id", field->id);
        jw_kv_arr(w, "names");
        jw_str(w, field->name);
        jw_arr_end(w);
        if (field->type.field_count > 0) {
            jw_key(w, STR("fields"));
            write_mapping(w, &field->type);
        }
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

enum status ice_name_mapping_write(const struct ice_schema *schema, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    write_mapping(&w, &schema->root);
    return json_writer_end(&w);
}
