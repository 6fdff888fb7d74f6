/*
 * The first metadata of a table that an append makes: plain, or with the partitions, the order and
 * the properties that the append asks for (its shape), as another program's CreateTableRequest
 * would.
 */
#include "catalog/fresh.h"

#include "catalog/fit.h"
#include "iceberg/change.h"

enum { BODY_BYTES_MAX = 512 * 1024 * 1024 };

static const struct ice_property defaults[] = {
    /* other writers must not starve behind our group commits */
    { STR_INIT("commit.retry.num-retries"), STR_INIT("20") },
    { STR_INIT("lakehouse.expire-snapshots"), STR_INIT("true") },
};

static enum status write_plain(const struct catalog_append *append, struct str location,
                               int64_t now_ms, struct buf *json, struct err *err)
{
    const struct ice_new_table table = {
        .uuid = append->place->uuid,
        .location = location,
        .schema = append->schema,
        .last_column_id = ice_schema_max_id(append->schema),
        .properties = defaults,
        .property_count = ARRAY_LEN(defaults),
        .now_ms = now_ms,
    };
    return ice_metadata_new(&table, json, err);
}

/** {"schema":.., and what the shape has} */
static enum status write_request(const struct catalog_append *append, struct buf *out,
                                 struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    size_t i, max;
    yyjson_val *key, *value;
    TRY(json_parse(append->shape, &doc, err));
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, append->schema);
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, key, value)
    {
        jw_key(&w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        jw_val(&w, value);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status write_shaped(const struct catalog_append *append, struct str location,
                                int64_t now_ms, struct buf *json, struct err *err)
{
    AUTO(buf_done) struct buf request;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&request, BODY_BYTES_MAX);
    TRY(write_request(append, &request, err));
    TRY(json_parse(buf_str(&request), &doc, err));
    const struct ice_create create = {
        .request = yyjson_doc_get_root(doc),
        .uuid = append->place->uuid,
        .location = location,
        .defaults = defaults,
        .default_count = ARRAY_LEN(defaults),
        .now_ms = now_ms,
    };
    return ice_create_table(&create, json, err);
}

/** Files have been written with the append's ids: the table must have the same. */
static enum status check(const struct catalog_append *append, const struct ice_metadata *made,
                         struct err *err)
{
    if (made->format_version != 2) {
        return err_set(err, E_INVALID, "a table of format version %d is not written, only 2 is",
                       (int)made->format_version);
    }
    return fit_reads(append->schema, made->schema, err);
}

enum status fresh_metadata(struct local *local, const struct catalog_append *append,
                           struct arena *arena, const struct ice_metadata **out, struct err *err)
{
    AUTO(buf_done) struct buf json;
    struct str location;
    struct ice_metadata *made = NULL;
    int64_t now_ms = clock_wall_ms(local->clock);
    buf_init(&json, BODY_BYTES_MAX);
    TRY(locate_uri(local->base.reader->locate, STR_EMPTY, append->place->location_key, arena,
                   &location, err));
    TRY(append->shape.len == 0 ? write_plain(append, location, now_ms, &json, err)
                               : write_shaped(append, location, now_ms, &json, err));
    TRY(ice_metadata_parse(buf_str(&json), &made, err));
    enum status status = check(append, made, err);
    if (status != OK) {
        ice_metadata_unref(made);
        return status;
    }
    *out = made;
    return OK;
}
