/*
 * Updates of schemas, partition specs and sort orders.
 *
 * What is added under an id that the client has made up gets the next one of the table, or that of
 * an equal one that is there; -1 means what this change has added last. Partition fields keep the
 * id that they come with; without one they get that of an equal field of an older spec, else the
 * next.
 */
#include "iceberg/change_priv.h"

/* Behind it are those of metadata columns. Source: the table specification, "Reserved Field IDs" */
enum { FIELD_ID_MAX = 2147483447 };

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/** The highest id of a list, plus one, and at least `least`. */
static int64_t next_id(const struct change_list *list, int64_t least)
{
    int64_t next = least;
    for (size_t i = 0; i < list->count; i++) {
        next = list->items[i].id >= next ? list->items[i].id + 1 : next;
    }
    return next;
}

/** An id among a list's, or -1 for the one that was added last. */
static enum status chosen_id(yyjson_val *update, const char *name, struct change_list *list,
                             int64_t added, int64_t *out, struct err *err)
{
    int64_t id = 0;
    TRY(json_get_i64(update, name, JSON_REQUIRED, &id, err));
    if (id == -1 && added < 0) {
        return err_set(err, E_INVALID, "\"%s\" is -1, but nothing was added before", name);
    }
    id = id == -1 ? added : id;
    if (change_find(list, id) == NULL) {
        return err_set(err, E_INVALID, "\"%s\" is %lld, which is not there", name, (long long)id);
    }
    *out = id;
    return OK;
}

static void set_number(struct change_doc *doc, int64_t *number, int64_t value)
{
    doc->changed = doc->changed || *number != value;
    *number = value;
}

/* --- schemas --- */

/** The first version that has a type which is none of the plain ones; 0: there is none such. */
static int64_t version_of_type(struct str name)
{
    static const char *const third[] = { "timestamp_ns", "timestamptz_ns", "unknown",
                                         "variant",      "geometry",       "geography" };
    for (size_t i = 0; i < ARRAY_LEN(third); i++) {
        struct str known = str_of(third[i]);
        if (str_starts(name, known) && (name.len == known.len || name.ptr[known.len] == '(')) {
            return 3;
        }
    }
    return 0;
}

static enum status check_type(const struct ice_type *type, int64_t version, struct err *err)
{
    if (type->kind == ICE_OTHER) {
        int64_t since = version_of_type(type->name);
        if (since == 0 || since > version) {
            return err_set(err, E_INVALID, "type \"%.*s\" is not one of format version %lld",
                           STR_ARG(type->name), (long long)version);
        }
    }
    for (size_t i = 0; i < type->field_count; i++) {
        const struct ice_field *field = &type->fields[i];
        if (field->id <= 0) {
            return err_set(err, E_INVALID, "column \"%.*s\" has the id %d", STR_ARG(field->name),
                           field->id);
        }
        if (version < 3 && field->extra_json.ptr != NULL &&
            str_find(field->extra_json, STR("\"initial-default\"")) != SIZE_MAX) {
            return err_set(err, E_INVALID,
                           "column \"%.*s\" has an initial default, which is of format version 3",
                           STR_ARG(field->name));
        }
        TRY(check_type(&field->type, version, err));
    }
    return OK;
}

struct id_list {
    int32_t *ids;
    size_t count;
};

static int compare_ids(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static size_t count_fields(const struct ice_type *type)
{
    size_t count = type->field_count;
    for (size_t i = 0; i < type->field_count; i++) {
        count += count_fields(&type->fields[i].type);
    }
    return count;
}

static void collect_ids(const struct ice_type *type, struct id_list *list)
{
    for (size_t i = 0; i < type->field_count; i++) {
        list->ids[list->count++] = type->fields[i].id;
        collect_ids(&type->fields[i].type, list);
    }
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/** No name twice among the fields of one struct. */
static enum status check_names(struct change_doc *doc, const struct ice_type *type, struct err *err)
{
    struct str *names = arena_array(doc->arena, type->field_count + 1, sizeof(*names));
    if (names == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < type->field_count; i++) {
        names[i] = type->fields[i].name;
        TRY(check_names(doc, &type->fields[i].type, err));
    }
    qsort(names, type->field_count, sizeof(*names), compare_names);
    for (size_t i = 1; i < type->field_count; i++) {
        if (str_eq(names[i], names[i - 1])) {
            return err_set(err, E_INVALID, "two columns are called \"%.*s\"", STR_ARG(names[i]));
        }
    }
    return OK;
}

/** No id twice at any depth, no name twice in one struct. */
static enum status check_unique(struct change_doc *doc, const struct ice_schema *schema,
                                struct err *err)
{
    struct id_list list = { .ids = arena_array(doc->arena, count_fields(&schema->root) + 1,
                                               sizeof(int32_t)) };
    if (list.ids == NULL) {
        return err_no_memory(err);
    }
    TRY(check_names(doc, &schema->root, err));
    collect_ids(&schema->root, &list);
    qsort(list.ids, list.count, sizeof(*list.ids), compare_ids);
    for (size_t i = 1; i < list.count; i++) {
        if (list.ids[i] == list.ids[i - 1]) {
            return err_set(err, E_INVALID, "two columns have the id %d", list.ids[i]);
        }
    }
    for (size_t i = 0; i < schema->identifier_count; i++) {
        if (ice_schema_by_id(schema, schema->identifier_ids[i]) == NULL) {
            return err_set(err, E_INVALID, "identifier field %d is not in the schema",
                           schema->identifier_ids[i]);
        }
    }
    return OK;
}

static enum status parse_schema(struct change_doc *doc, yyjson_val *json, struct ice_schema *out,
                                struct err *err)
{
    enum status status = ice_schema_parse(doc->arena, json, out, err);
    return status == E_CORRUPT && err != NULL ? err_set(err, E_INVALID, "%s", err->msg) : status;
}

enum status change_add_schema(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct change_list *list = &doc->lists[LIST_SCHEMAS];
    struct ice_schema schema, known;
    struct change_item *item;
    yyjson_val *json = NULL;
    int64_t last = 0;
    TRY(json_get_obj(update, "schema", JSON_REQUIRED, &json, err));
    TRY(json_get_i64(update, "last-column-id", JSON_OPTIONAL, &last, err));
    TRY(parse_schema(doc, json, &schema, err));
    TRY(check_type(&schema.root, change_version(doc), err));
    TRY(check_unique(doc, &schema, err));
    int64_t highest = ice_schema_max_id(&schema);
    last = last > highest ? last : highest;
    if (last > FIELD_ID_MAX) {
        return err_set(err, E_INVALID, "a column's id is %lld; %d is the last that is not reserved",
                       (long long)last, FIELD_ID_MAX);
    }
    if (last > doc->last_column_id) {
        set_number(doc, &doc->last_column_id, last);
    }
    for (size_t i = 0; i < list->count; i++) {
        TRY(ice_schema_parse(doc->arena, list->items[i].val, &known, err));
        if (ice_schema_same(&schema, &known)) {
            doc->added_schema = list->items[i].id;
            return OK;
        }
    }
    int64_t id = next_id(list, 0);
    if (id > INT32_MAX) {
        return err_set(err, E_INVALID, "there is no schema id left");
    }
    TRY(change_add(doc, list, &item, err));
    item->id = doc->added_schema = id;
    doc->changed = true;
    return change_with_number(doc, json, "schema-id", id, &item->val, err);
}

enum status change_set_current_schema(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    int64_t id;
    TRY(chosen_id(update, "schema-id", &doc->lists[LIST_SCHEMAS], doc->added_schema, &id, err));
    set_number(doc, &doc->current_schema_id, id);
    return OK;
}

/** Remove the entries of a list of ids; `kept` may not be among them. */
static enum status remove_ids(struct change_doc *doc, yyjson_val *update, const char *name,
                              struct change_list *list, int64_t kept, struct err *err)
{
    yyjson_val *ids = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(update, name, JSON_REQUIRED, &ids, err));
    yyjson_arr_foreach(ids, i, max, val)
    {
        struct change_item *item = yyjson_is_int(val) ? change_find(list, yyjson_get_sint(val))
                                                      : NULL;
        if (!yyjson_is_int(val) || yyjson_get_sint(val) == kept) {
            return err_set(err, E_INVALID, "\"%s\" holds what is in use, or no number", name);
        }
        if (item != NULL) {
            change_remove(list, item);
            doc->changed = true;
        }
    }
    return OK;
}

enum status change_remove_schemas(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    return remove_ids(doc, update, "schema-ids", &doc->lists[LIST_SCHEMAS], doc->current_schema_id,
                      err);
}

/* --- partition specs --- */

/** "bucket[16]": the word before the bracket, and a whole number in it. */
static bool has_width(struct str transform, struct str word)
{
    uint64_t width = 0;
    if (!str_starts(transform, word) || transform.len < word.len + 3 ||
        transform.ptr[word.len] != '[' || transform.ptr[transform.len - 1] != ']') {
        return false;
    }
    struct str digits = str_from(transform.ptr + word.len + 1, transform.len - word.len - 2);
    return str_to_u64(digits, &width) && width > 0 && width <= INT32_MAX;
}

static bool is_transform(struct str transform)
{
    static const char *const plain[] = { "identity", "void", "year", "month", "day", "hour" };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (str_eq_nocase(transform, str_of(plain[i]))) {
            return true;
        }
    }
    return has_width(transform, STR("bucket")) || has_width(transform, STR("truncate"));
}

/** The schema that ids of specs and orders are of: the current one, or in a create the last. */
static enum status schema_now(struct change_doc *doc, struct ice_schema *out, struct err *err)
{
    int64_t id = doc->current_schema_id >= 0 ? doc->current_schema_id : doc->added_schema;
    struct change_item *item = change_find(&doc->lists[LIST_SCHEMAS], id);
    if (item == NULL) {
        return err_set(err, E_INVALID, "there is no schema yet whose columns could be meant");
    }
    return ice_schema_parse(doc->arena, item->val, out, err);
}

/** The source of a partition or sort field, a column that is no struct, list or map. Version 3
 * knows sources of several columns, whose transforms nobody has yet. */
static enum status check_source(const struct ice_schema *schema, yyjson_val *field, struct err *err)
{
    int64_t source = 0;
    struct str transform;
    TRY(json_get_str(field, "transform", JSON_REQUIRED, &transform, err));
    if (!is_transform(transform)) {
        return err_set(err, E_INVALID, "transform \"%.*s\" is not known", STR_ARG(transform));
    }
    TRY(change_get_i32(field, "source-id", 1, &source, err));
    const struct ice_field *column = ice_schema_by_id(schema, (int32_t)source);
    if (str_eq_nocase(transform, STR("void"))) {
        return OK; /* its column may be gone */
    }
    if (column == NULL || column->type.field_count > 0) {
        return err_set(err, E_INVALID, "\"source-id\" is %lld, which is no plain column",
                       (long long)source);
    }
    return OK;
}

/** A partition's name may be a column's only where it holds just that column. */
static enum status check_partition_name(const struct ice_schema *schema, yyjson_val *fields,
                                        size_t index, struct err *err)
{
    size_t i, max;
    yyjson_val *field = yyjson_arr_get(fields, index), *other;
    struct str name, transform;
    TRY(json_get_str(field, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_str(field, "transform", JSON_REQUIRED, &transform, err));
    const struct ice_field *column = ice_schema_by_name(schema, name);
    bool same = column != NULL && str_eq_nocase(transform, STR("identity")) &&
                column->id == yyjson_get_sint(yyjson_obj_get(field, "source-id"));
    if (name.len == 0 || (column != NULL && !same && !str_eq_nocase(transform, STR("void")))) {
        return err_set(err, E_INVALID, "a partition field cannot be called \"%.*s\"",
                       STR_ARG(name));
    }
    yyjson_arr_foreach(fields, i, max, other)
    {
        if (i < index && str_eq(val_str(yyjson_obj_get(other, "name")), name)) {
            return err_set(err, E_INVALID, "two partition fields are called \"%.*s\"",
                           STR_ARG(name));
        }
    }
    return OK;
}

static bool same_partition_field(yyjson_val *a, yyjson_val *b)
{
    return change_same(yyjson_obj_get(a, "source-id"), yyjson_obj_get(b, "source-id")) &&
           str_eq_nocase(val_str(yyjson_obj_get(a, "transform")),
                         val_str(yyjson_obj_get(b, "transform")));
}

static bool same_spec(yyjson_val *a, yyjson_val *b)
{
    size_t count = yyjson_arr_size(a);
    bool same = count == yyjson_arr_size(b);
    for (size_t i = 0; same && i < count; i++) {
        yyjson_val *x = yyjson_arr_get(a, i), *y = yyjson_arr_get(b, i);
        same = same_partition_field(x, y) &&
               change_same(yyjson_obj_get(x, "name"), yyjson_obj_get(y, "name"));
    }
    return same;
}

/** The id of a partition field: its own, that of an equal one of an older spec, or the next. */
static enum status partition_id(struct change_doc *doc, yyjson_val *field, int64_t *out,
                                struct err *err)
{
    const struct change_list *specs = &doc->lists[LIST_SPECS];
    size_t k, max;
    yyjson_val *known;
    if (yyjson_obj_get(field, "field-id") != NULL &&
        !yyjson_is_null(yyjson_obj_get(field, "field-id"))) {
        return change_get_i32(field, "field-id", CHANGE_PARTITION_ID_START, out, err);
    }
    for (size_t i = 0; i < specs->count; i++) {
        yyjson_val *fields = yyjson_obj_get(specs->items[i].val, "fields");
        ARR_EACH(fields, k, max, known)
        {
            yyjson_val *id = yyjson_obj_get(known, "field-id");
            if (same_partition_field(field, known) && yyjson_is_int(id)) {
                *out = yyjson_get_sint(id);
                return OK;
            }
        }
    }
    *out = doc->last_partition_id + 1;
    return *out <= INT32_MAX ? OK : err_set(err, E_INVALID, "there is no partition id left");
}

/** The fields with their ids, none of them twice. */
static enum status write_partition_fields(struct change_doc *doc, yyjson_val *fields,
                                          struct json_writer *w, struct err *err)
{
    size_t i, max, k, members;
    yyjson_val *field, *key, *val;
    int64_t *ids = arena_array(doc->arena, yyjson_arr_size(fields) + 1, sizeof(*ids));
    if (ids == NULL) {
        return err_no_memory(err);
    }
    jw_arr_begin(w);
    yyjson_arr_foreach(fields, i, max, field)
    {
        TRY(partition_id(doc, field, &ids[i], err));
        for (size_t before = 0; before < i; before++) {
            if (ids[before] == ids[i]) {
                return err_set(err, E_INVALID, "two partition fields have the id %lld",
                               (long long)ids[i]);
            }
        }
        doc->last_partition_id = ids[i] > doc->last_partition_id ? ids[i] : doc->last_partition_id;
        jw_obj_begin(w);
        jw_kv_i64(w, "field-id", ids[i]);
        OBJ_EACH(field, k, members, key, val)
        {
            if (!yyjson_equals_str(key, "field-id")) {
                jw_key(w, val_str(key));
                jw_val(w, val);
            }
        }
        jw_obj_end(w);
    }
    jw_arr_end(w);
    return OK;
}

static enum status check_spec(struct change_doc *doc, yyjson_val *fields, struct err *err)
{
    struct ice_schema schema;
    TRY(schema_now(doc, &schema, err));
    for (size_t i = 0; i < yyjson_arr_size(fields); i++) {
        yyjson_val *field = yyjson_arr_get(fields, i);
        if (!yyjson_is_obj(field)) {
            return err_set(err, E_INVALID, "\"fields\" must hold objects");
        }
        TRY(check_source(&schema, field, err));
        TRY(check_partition_name(&schema, fields, i, err));
    }
    return OK;
}

enum { SPEC_FIELDS_MAX = 1000 }; /* checks of names and ids are of each with each */

enum status change_add_spec(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct change_list *list = &doc->lists[LIST_SPECS];
    yyjson_val *spec = NULL, *fields = NULL;
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    TRY(json_get_obj(update, "spec", JSON_REQUIRED, &spec, err));
    TRY(json_get_arr(spec, "fields", JSON_REQUIRED, &fields, err));
    if (yyjson_arr_size(fields) > SPEC_FIELDS_MAX) {
        return err_set(err, E_INVALID, "a partition spec of more than %d fields", SPEC_FIELDS_MAX);
    }
    TRY(check_spec(doc, fields, err));
    for (size_t i = 0; i < list->count; i++) {
        if (same_spec(fields, yyjson_obj_get(list->items[i].val, "fields"))) {
            doc->added_spec = list->items[i].id;
            return OK;
        }
    }
    int64_t id = next_id(list, 0);
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "spec-id", id);
    jw_key(&w, STR("fields"));
    TRY(write_partition_fields(doc, fields, &w, err));
    jw_obj_end(&w);
    TRY(change_add(doc, list, &item, err));
    item->id = doc->added_spec = id;
    doc->changed = true;
    return change_made(doc, &w, &text, &item->val, err);
}

enum status change_set_default_spec(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    int64_t id;
    TRY(chosen_id(update, "spec-id", &doc->lists[LIST_SPECS], doc->added_spec, &id, err));
    set_number(doc, &doc->default_spec_id, id);
    return OK;
}

enum status change_remove_specs(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    return remove_ids(doc, update, "spec-ids", &doc->lists[LIST_SPECS], doc->default_spec_id, err);
}

/* --- sort orders --- */

static enum status check_order(struct change_doc *doc, yyjson_val *fields, struct err *err)
{
    struct ice_schema schema;
    size_t i, max;
    yyjson_val *field;
    struct str direction, nulls;
    TRY(schema_now(doc, &schema, err));
    yyjson_arr_foreach(fields, i, max, field)
    {
        TRY(check_source(&schema, field, err));
        TRY(json_get_str(field, "direction", JSON_REQUIRED, &direction, err));
        TRY(json_get_str(field, "null-order", JSON_REQUIRED, &nulls, err));
        if ((!str_eq_nocase(direction, STR("asc")) && !str_eq_nocase(direction, STR("desc"))) ||
            (!str_eq_nocase(nulls, STR("nulls-first")) &&
             !str_eq_nocase(nulls, STR("nulls-last")))) {
            return err_set(err, E_INVALID,
                           "a sort field is \"asc\" or \"desc\", and \"nulls-first\" or "
                           "\"nulls-last\"");
        }
    }
    return OK;
}

enum status change_add_order(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct change_list *list = &doc->lists[LIST_ORDERS];
    yyjson_val *order = NULL, *fields = NULL;
    struct change_item *item;
    TRY(json_get_obj(update, "sort-order", JSON_REQUIRED, &order, err));
    TRY(json_get_arr(order, "fields", JSON_REQUIRED, &fields, err));
    TRY(check_order(doc, fields, err));
    for (size_t i = 0; i < list->count; i++) {
        if (yyjson_equals(fields, yyjson_obj_get(list->items[i].val, "fields"))) {
            doc->added_order = list->items[i].id;
            return OK;
        }
    }
    int64_t id = yyjson_arr_size(fields) == 0 ? 0 : next_id(list, 1);
    TRY(change_add(doc, list, &item, err));
    item->id = doc->added_order = id;
    doc->changed = true;
    return change_with_number(doc, order, "order-id", id, &item->val, err);
}

enum status change_set_default_order(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    int64_t id;
    TRY(chosen_id(update, "sort-order-id", &doc->lists[LIST_ORDERS], doc->added_order, &id, err));
    set_number(doc, &doc->default_order_id, id);
    return OK;
}
