/*
 * A new table, as a client asks for it: its request becomes the updates that would make the table,
 * and those are applied to nothing. Field ids are given anew, so what refers to columns follows
 * them.
 */
#include "iceberg/change_priv.h"
#include "iceberg/schema_priv.h"

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

struct creation {
    const struct ice_create *in;
    struct ice_schema asked, schema; /* with the client's ids, and with ours */
    yyjson_val *properties;
    int64_t version;
};

/** Fields of a spec or an order, with the columns' new ids. */
static enum status write_sources(const struct creation *c, struct json_writer *w,
                                 yyjson_val *fields, struct err *err)
{
    size_t i, max, k, members;
    yyjson_val *field, *key, *val;
    jw_kv_arr(w, "fields");
    ARR_EACH(fields, i, max, field)
    {
        int64_t source = 0;
        TRY(change_get_i32(field, "source-id", 0, &source, err)); /* Spark counts from 0 */
        int32_t id = schema_moved_id(&c->asked.root, &c->schema.root, (int32_t)source);
        if (id == 0) {
            return err_set(err, E_INVALID, "\"source-id\" is %lld, which is no column",
                           (long long)source);
        }
        jw_obj_begin(w);
        jw_kv_i64(w, "source-id", id);
        OBJ_EACH(field, k, members, key, val)
        {
            if (!yyjson_equals_str(key, "source-id") && !yyjson_equals_str(key, "field-id")) {
                jw_key(w, val_str(key));
                jw_val(w, val);
            }
        }
        jw_obj_end(w);
    }
    jw_arr_end(w);
    return OK;
}

static void begin_update(struct json_writer *w, const char *action)
{
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", action);
}

/** An update of one member. */
static void write_text_update(struct json_writer *w, const char *action, const char *name,
                              struct str value)
{
    begin_update(w, action);
    jw_kv_str(w, name, value);
    jw_obj_end(w);
}

static void write_number_update(struct json_writer *w, const char *action, const char *name,
                                int64_t value)
{
    begin_update(w, action);
    jw_kv_i64(w, name, value);
    jw_obj_end(w);
}

/** add-spec or add-sort-order, and its choice; without fields that of no fields. */
static enum status write_fields_update(const struct creation *c, struct json_writer *w,
                                       const char *member, const char *action, const char *name,
                                       struct err *err)
{
    yyjson_val *asked = NULL, *fields = NULL;
    TRY(json_get_obj(c->in->request, member, JSON_OPTIONAL, &asked, err));
    if (asked != NULL) {
        TRY(json_get_arr(asked, "fields", JSON_REQUIRED, &fields, err));
    }
    begin_update(w, action);
    jw_kv_obj(w, name);
    TRY(write_sources(c, w, fields, err));
    jw_obj_end(w);
    jw_obj_end(w);
    return OK;
}

static void write_properties(const struct creation *c, struct json_writer *w)
{
    size_t i, max;
    yyjson_val *key, *val;
    begin_update(w, "set-properties");
    jw_kv_obj(w, "updates");
    for (size_t d = 0; d < c->in->default_count; d++) {
        struct str name = c->in->defaults[d].name;
        if (yyjson_obj_getn(c->properties, name.ptr, name.len) == NULL) {
            jw_key(w, name);
            jw_str(w, c->in->defaults[d].value);
        }
    }
    OBJ_EACH(c->properties, i, max, key, val)
    {
        if (!yyjson_equals_str(key, "format-version")) {
            jw_key(w, val_str(key));
            jw_val(w, val);
        }
    }
    jw_obj_end(w);
    jw_obj_end(w);
}

static enum status write_updates(const struct creation *c, struct json_writer *w, struct err *err)
{
    jw_arr_begin(w);
    write_text_update(w, "assign-uuid", "uuid", c->in->uuid);
    write_number_update(w, "upgrade-format-version", "format-version", c->version);
    begin_update(w, "add-schema");
    jw_key(w, STR("schema"));
    ice_schema_write(w, &c->schema);
    jw_obj_end(w);
    write_number_update(w, "set-current-schema", "schema-id", -1);
    TRY(write_fields_update(c, w, "partition-spec", "add-spec", "spec", err));
    write_number_update(w, "set-default-spec", "spec-id", -1);
    TRY(write_fields_update(c, w, "write-order", "add-sort-order", "sort-order", err));
    write_number_update(w, "set-default-sort-order", "sort-order-id", -1);
    write_text_update(w, "set-location", "location", c->in->location);
    write_properties(c, w);
    jw_arr_end(w);
    return OK;
}

/** The schema with our ids, and the version that the properties choose. */
static enum status read_request(struct creation *c, struct arena *arena, struct err *err)
{
    yyjson_val *schema = NULL;
    struct str version = STR("2");
    int32_t last_id = 0;
    TRY(json_get_obj(c->in->request, "schema", JSON_REQUIRED, &schema, err));
    TRY(json_get_obj(c->in->request, "properties", JSON_OPTIONAL, &c->properties, err));
    if (c->properties != NULL) {
        TRY(json_get_str(c->properties, "format-version", JSON_OPTIONAL, &version, err));
    }
    if (!str_to_i64(version, &c->version)) {
        return err_set(err, E_INVALID, "\"format-version\" is \"%.*s\"", STR_ARG(version));
    }
    enum status status = ice_schema_parse(arena, schema, &c->asked, err);
    if (status == E_CORRUPT && err != NULL) {
        return err_set(err, E_INVALID, "%s", err->msg);
    }
    TRY(status);
    TRY(ice_schema_assign_ids(arena, &c->asked, &last_id, &c->schema, err));
    c->schema.schema_id = 0;
    return OK;
}

static enum status make_table(const struct ice_create *in, struct arena *arena, struct buf *out,
                              struct err *err)
{
    struct creation c = { .in = in };
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    struct ice_change_result result;
    buf_init(&text, 0);
    TRY(read_request(&c, arena, err));
    json_writer_init(&w, &text);
    TRY(write_updates(&c, &w, err));
    enum status status = json_writer_end(&w);
    if (status != OK) {
        return err_set(err, status, "the table's metadata cannot be written");
    }
    TRY(json_parse(buf_str(&text), &doc, err));
    const struct ice_change change = { .updates = yyjson_doc_get_root(doc), .now_ms = in->now_ms };
    TRY(ice_change_apply(NULL, &change, arena, out, &result, err));
    ice_metadata_unref(result.metadata);
    return OK;
}

enum status ice_create_table(const struct ice_create *create, struct buf *out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = make_table(create, &arena, out, err);
    arena_done(&arena);
    return status;
}
