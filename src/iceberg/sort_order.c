/*
 * Sort orders out of table metadata. The document keeps them as they are; here they are only read.
 */
#include "iceberg/sort_order.h"

static enum status is_none(int32_t id, struct err *err)
{
    return err_set(err, E_CORRUPT, "sort order %d of a table is none", (int)id);
}

/** The array as text of its own, in `arena`. */
static enum status copy_fields(struct arena *arena, yyjson_val *fields, struct str *out,
                               struct err *err)
{
    AUTO(buf_done) struct buf json;
    struct json_writer w;
    buf_init(&json, 0);
    json_writer_init(&w, &json);
    jw_val(&w, fields);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    *out = arena_str(arena, buf_str(&json));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status ice_sort_order_default(struct arena *arena, const struct ice_metadata *metadata,
                                   int32_t *id_out, struct str *fields_json_out, struct err *err)
{
    yyjson_val *root = yyjson_doc_get_root(metadata->doc), *orders = NULL, *order;
    int64_t id = 0, number = 0;
    size_t i;
    size_t max;
    *id_out = 0;
    *fields_json_out = STR_EMPTY;
    TRY(json_get_i64(root, "default-sort-order-id", JSON_OPTIONAL, &id, err));
    if (id == 0) {
        return OK;
    }
    TRY(json_get_arr(root, "sort-orders", JSON_OPTIONAL, &orders, err));
    yyjson_arr_foreach(orders, i, max, order)
    {
        yyjson_val *fields = yyjson_obj_get(order, "fields");
        TRY(json_get_i64(order, "order-id", JSON_REQUIRED, &number, err));
        if (number == id && yyjson_is_arr(fields)) {
            *id_out = yyjson_arr_size(fields) == 0 ? 0 : (int32_t)id;
            return *id_out == 0 ? OK : copy_fields(arena, fields, fields_json_out, err);
        }
    }
    return is_none((int32_t)id, err);
}

static enum status read_field(yyjson_val *json, struct ice_sort_field *out, struct err *err)
{
    int64_t source = 0;
    struct str transform;
    struct str direction = STR_INIT("asc");
    struct str nulls = STR_EMPTY;
    TRY(json_get_i64(json, "source-id", JSON_REQUIRED, &source, err));
    TRY(json_get_str(json, "transform", JSON_REQUIRED, &transform, err));
    TRY(json_get_str(json, "direction", JSON_OPTIONAL, &direction, err));
    TRY(json_get_str(json, "null-order", JSON_OPTIONAL, &nulls, err));
    *out = (struct ice_sort_field){ .by = { .source_id = (int32_t)source } };
    out->by.transform = ice_transform_parse(transform, &out->by.width);
    out->descending = str_eq_nocase(direction, STR("desc"));
    out->nulls_last = nulls.len > 0 ? str_eq_nocase(nulls, STR("nulls-last")) : out->descending;
    return OK;
}

enum status ice_sort_order_parse(struct arena *arena, int32_t id, struct str fields_json,
                                 struct ice_sort_order *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct ice_sort_order order = { .id = id };
    if (fields_json.len > 0) {
        TRY(json_parse(fields_json, &doc, err));
    }
    yyjson_val *list = yyjson_doc_get_root(doc), *field;
    size_t i;
    size_t max;
    order.fields = arena_array(arena, yyjson_arr_size(list) + 1, sizeof(*order.fields));
    if (order.fields == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, field)
    {
        if (read_field(field, &order.fields[i], err) != OK) {
            return is_none(id, err);
        }
        order.field_count++;
    }
    *out = order;
    return OK;
}
