/*
 * A document taken apart and put together.
 *
 * Members that no update touches are copied as they stand, known or not, in their order; a touched
 * list is written from its entries, of which those that nobody changed are copied as well. Members
 * that the document did not have come behind the others. Version 1 documents, which may have one
 * schema and one spec outside of the lists, are read with lists and written with both.
 */
#include "iceberg/change_priv.h"

static const struct {
    const char *name;
    const char *id; /* of its entries; NULL: they have none */
    bool is_map;
    bool is_needed; /* written also when it is empty */
} lists[LIST_COUNT] = {
    [LIST_SCHEMAS] = { "schemas", "schema-id", false, true },
    [LIST_SPECS] = { "partition-specs", "spec-id", false, true },
    [LIST_ORDERS] = { "sort-orders", "order-id", false, true },
    [LIST_PROPERTIES] = { "properties", NULL, true, true },
    [LIST_SNAPSHOTS] = { "snapshots", "snapshot-id", false, true },
    [LIST_REFS] = { "refs", NULL, true, true },
    [LIST_SNAPSHOT_LOG] = { "snapshot-log", "snapshot-id", false, true },
    [LIST_METADATA_LOG] = { "metadata-log", NULL, false, true },
    [LIST_STATISTICS] = { "statistics", "snapshot-id", false, false },
    [LIST_PARTITION_STATISTICS] = { "partition-statistics", "snapshot-id", false, false },
    [LIST_KEYS] = { "encryption-keys", NULL, false, false },
};

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

int64_t change_version(const struct change_doc *doc)
{
    return doc->format_version == 0 ? 2 : doc->format_version;
}

/* --- lists --- */

struct change_item *change_find(struct change_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].id == id) {
            return &list->items[i];
        }
    }
    return NULL;
}

struct change_item *change_find_key(struct change_list *list, struct str key)
{
    for (size_t i = 0; i < list->count; i++) {
        if (str_eq(list->items[i].key, key)) {
            return &list->items[i];
        }
    }
    return NULL;
}

enum status change_add(struct change_doc *doc, struct change_list *list, struct change_item **out,
                       struct err *err)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 8 : list->cap * 2;
        struct change_item *more = arena_array(doc->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (list->count > 0) {
            memcpy(more, list->items, list->count * sizeof(*more));
        }
        list->items = more;
        list->cap = cap;
    }
    *out = &list->items[list->count++];
    **out = (struct change_item){ .id = -1 };
    list->is_touched = true;
    return OK;
}

void change_remove(struct change_list *list, struct change_item *item)
{
    size_t at = (size_t)(item - list->items);
    memmove(item, item + 1, (list->count - at - 1) * sizeof(*item));
    list->count--;
    list->is_touched = true;
}

/* --- small things --- */

enum status change_made(struct change_doc *doc, struct json_writer *w, const struct buf *text,
                        yyjson_val **out, struct err *err)
{
    enum status status = json_writer_end(w);
    if (status != OK) {
        return err_set(err, status, "a part of the table's metadata cannot be written");
    }
    if (doc->made_count == doc->made_cap) {
        size_t cap = doc->made_cap == 0 ? 16 : doc->made_cap * 2;
        yyjson_doc **more = arena_array(doc->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (doc->made_count > 0) {
            memcpy(more, doc->made, doc->made_count * sizeof(*more));
        }
        doc->made = more;
        doc->made_cap = cap;
    }
    TRY(json_parse(buf_str(text), &doc->made[doc->made_count], err));
    *out = yyjson_doc_get_root(doc->made[doc->made_count++]);
    return OK;
}

enum status change_with_number(struct change_doc *doc, yyjson_val *val, const char *name,
                               int64_t number, yyjson_val **out, struct err *err)
{
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    size_t i, max;
    yyjson_val *key, *member;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, name, number);
    OBJ_EACH(val, i, max, key, member)
    {
        if (!yyjson_equals_str(key, name)) {
            jw_key(&w, val_str(key));
            jw_val(&w, member);
        }
    }
    jw_obj_end(&w);
    return change_made(doc, &w, &text, out, err);
}

enum status change_get_i32(yyjson_val *obj, const char *name, int64_t least, int64_t *out,
                           struct err *err)
{
    int64_t value = 0;
    TRY(json_get_i64(obj, name, JSON_REQUIRED, &value, err));
    if (value < least || value > INT32_MAX) {
        return err_set(err, E_INVALID, "\"%s\" is %lld, which is no id", name, (long long)value);
    }
    *out = value;
    return OK;
}

bool change_same(yyjson_val *a, yyjson_val *b)
{
    size_t i, max;
    yyjson_val *key, *val;
    if (yyjson_is_int(a) && yyjson_is_int(b)) {
        return yyjson_get_sint(a) == yyjson_get_sint(b);
    }
    if (!yyjson_is_obj(a) || !yyjson_is_obj(b)) {
        return yyjson_equals(a, b);
    }
    if (yyjson_obj_size(a) != yyjson_obj_size(b)) {
        return false;
    }
    yyjson_obj_foreach(a, i, max, key, val)
    {
        yyjson_val *other = yyjson_obj_getn(b, yyjson_get_str(key), yyjson_get_len(key));
        if (other == NULL || !change_same(val, other)) {
            return false;
        }
    }
    return true;
}

/* --- taking apart --- */

static enum status open_list(struct change_doc *doc, enum change_lists which, struct err *err)
{
    struct change_list *list = &doc->lists[which];
    yyjson_val *json = yyjson_obj_get(doc->base, lists[which].name);
    size_t i, max;
    yyjson_val *key, *val;
    struct change_item *item;
    if (lists[which].is_map && yyjson_is_obj(json)) {
        yyjson_obj_foreach(json, i, max, key, val)
        {
            TRY(change_add(doc, list, &item, err));
            item->key = val_str(key);
            item->val = val;
        }
    } else if (!lists[which].is_map && yyjson_is_arr(json)) {
        yyjson_arr_foreach(json, i, max, val)
        {
            TRY(change_add(doc, list, &item, err));
            item->val = val;
            if (lists[which].id != NULL) {
                item->id = yyjson_get_sint(yyjson_obj_get(val, lists[which].id));
            }
        }
    }
    list->is_touched = false;
    return OK;
}

/** A whole number of the document; -1 when it is not there. */
static int64_t number_of(const struct change_doc *doc, const char *name)
{
    yyjson_val *val = yyjson_obj_get(doc->base, name);
    return yyjson_is_int(val) ? yyjson_get_sint(val) : -1;
}

/** Fields of a version 1 spec may lack their ids: they count from 1000 in order. */
static void write_spec_fields(struct json_writer *w, yyjson_val *fields, int64_t *last_out)
{
    size_t i, max, k, members;
    yyjson_val *field, *key, *val;
    jw_arr_begin(w);
    ARR_EACH(fields, i, max, field)
    {
        yyjson_val *id = yyjson_obj_get(field, "field-id");
        int64_t field_id = yyjson_is_int(id) ? yyjson_get_sint(id)
                                             : CHANGE_PARTITION_ID_START + (int64_t)i;
        *last_out = field_id > *last_out ? field_id : *last_out;
        jw_obj_begin(w);
        OBJ_EACH(field, k, members, key, val)
        {
            if (!yyjson_equals_str(key, "field-id")) {
                jw_key(w, val_str(key));
                jw_val(w, val);
            }
        }
        jw_kv_i64(w, "field-id", field_id);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

/** What version 1 has outside of the lists. */
static enum status open_version_1(struct change_doc *doc, struct err *err)
{
    struct change_item *item;
    yyjson_val *schema = yyjson_obj_get(doc->base, "schema");
    yyjson_val *spec = yyjson_obj_get(doc->base, "partition-spec");
    if (doc->lists[LIST_SCHEMAS].count == 0 && yyjson_is_obj(schema)) {
        yyjson_val *id = yyjson_obj_get(schema, "schema-id");
        TRY(change_add(doc, &doc->lists[LIST_SCHEMAS], &item, err));
        item->id = yyjson_is_int(id) ? yyjson_get_sint(id) : 0;
        TRY(change_with_number(doc, schema, "schema-id", item->id, &item->val, err));
        doc->current_schema_id = item->id;
    }
    if (doc->lists[LIST_SPECS].count == 0) {
        AUTO(buf_done) struct buf text;
        struct json_writer w;
        int64_t last = CHANGE_PARTITION_ID_START - 1;
        buf_init(&text, 0);
        json_writer_init(&w, &text);
        jw_obj_begin(&w);
        jw_kv_i64(&w, "spec-id", 0);
        jw_key(&w, STR("fields"));
        write_spec_fields(&w, yyjson_is_arr(spec) ? spec : NULL, &last);
        jw_obj_end(&w);
        TRY(change_add(doc, &doc->lists[LIST_SPECS], &item, err));
        item->id = doc->default_spec_id = 0;
        TRY(change_made(doc, &w, &text, &item->val, err));
        doc->last_partition_id = doc->last_partition_id > last ? doc->last_partition_id : last;
    }
    return OK;
}

/** A document without refs has the one branch that there always is. */
static enum status open_main(struct change_doc *doc, struct err *err)
{
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    if (doc->current_snapshot_id < 0 ||
        change_find_key(&doc->lists[LIST_REFS], STR("main")) != NULL) {
        return OK;
    }
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "snapshot-id", doc->current_snapshot_id);
    jw_kv_cstr(&w, "type", "branch");
    jw_obj_end(&w);
    TRY(change_add(doc, &doc->lists[LIST_REFS], &item, err));
    item->key = STR("main");
    return change_made(doc, &w, &text, &item->val, err);
}

enum status change_add_empty(struct change_doc *doc, enum change_lists which, const char *id,
                             struct err *err)
{
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, id, 0);
    jw_kv_arr(&w, "fields");
    jw_arr_end(&w);
    jw_obj_end(&w);
    TRY(change_add(doc, &doc->lists[which], &item, err));
    item->id = 0;
    return change_made(doc, &w, &text, &item->val, err);
}

/** No time that is written may be before one that is there. */
static int64_t latest_of(const struct change_doc *doc)
{
    static const enum change_lists logs[] = { LIST_SNAPSHOT_LOG, LIST_METADATA_LOG };
    int64_t latest = doc->last_updated_ms > doc->change->now_ms ? doc->last_updated_ms
                                                                : doc->change->now_ms;
    for (size_t l = 0; l < ARRAY_LEN(logs); l++) {
        const struct change_list *list = &doc->lists[logs[l]];
        for (size_t i = 0; i < list->count; i++) {
            int64_t at = yyjson_get_sint(yyjson_obj_get(list->items[i].val, "timestamp-ms"));
            latest = at > latest ? at : latest;
        }
    }
    return latest;
}

static enum status open_numbers(struct change_doc *doc, struct err *err)
{
    doc->last_sequence_number = number_of(doc, "last-sequence-number");
    doc->last_updated_ms = number_of(doc, "last-updated-ms");
    doc->last_column_id = number_of(doc, "last-column-id");
    doc->current_schema_id = number_of(doc, "current-schema-id");
    doc->default_spec_id = number_of(doc, "default-spec-id");
    doc->last_partition_id = number_of(doc, "last-partition-id");
    doc->default_order_id = number_of(doc, "default-sort-order-id");
    doc->current_snapshot_id = number_of(doc, "current-snapshot-id");
    doc->next_row_id = number_of(doc, "next-row-id");
    doc->last_sequence_number = doc->last_sequence_number < 0 ? 0 : doc->last_sequence_number;
    if (doc->base == NULL) {
        return OK;
    }
    TRY(json_get_str(doc->base, "table-uuid", JSON_OPTIONAL, &doc->uuid, err));
    TRY(json_get_str(doc->base, "location", JSON_REQUIRED, &doc->location, err));
    TRY(json_get_i64(doc->base, "format-version", JSON_REQUIRED, &doc->format_version, err));
    if (doc->format_version < 1 || doc->format_version > CHANGE_VERSION_MAX) {
        return err_set(err, E_UNSUPPORTED, "the table has format version %lld, at most %d is known",
                       (long long)doc->format_version, CHANGE_VERSION_MAX);
    }
    return OK;
}

/** What the base says is current must be there; an older document may leave out which. */
static enum status check_current(struct change_doc *doc, struct err *err)
{
    const struct {
        int64_t *id;
        enum change_lists list;
        const char *what;
    } current[] = {
        { &doc->current_schema_id, LIST_SCHEMAS, "schema" },
        { &doc->default_spec_id, LIST_SPECS, "partition spec" },
        { &doc->default_order_id, LIST_ORDERS, "sort order" },
    };
    for (size_t i = 0; i < ARRAY_LEN(current); i++) {
        struct change_list *list = &doc->lists[current[i].list];
        if (*current[i].id < 0 && list->count > 0) {
            *current[i].id = list->items[0].id;
        }
        if (change_find(list, *current[i].id) == NULL) {
            return err_set(err, E_CORRUPT, "the table's current %s is not there", current[i].what);
        }
    }
    return OK;
}

enum status change_doc_open(struct change_doc *doc, yyjson_val *base,
                            const struct ice_change *change, struct arena *arena, struct err *err)
{
    *doc = (struct change_doc){ .arena = arena,
                                .base = base,
                                .change = change,
                                .added_schema = -1,
                                .added_spec = -1,
                                .added_order = -1 };
    TRY(open_numbers(doc, err));
    for (size_t i = 0; i < LIST_COUNT; i++) {
        TRY(open_list(doc, (enum change_lists)i, err));
    }
    if (base != NULL && doc->format_version == 1) {
        TRY(open_version_1(doc, err));
    }
    if (doc->lists[LIST_ORDERS].count == 0) {
        TRY(change_add_empty(doc, LIST_ORDERS, "order-id", err));
        doc->default_order_id = 0;
    }
    if (base == NULL) {
        doc->last_partition_id = CHANGE_PARTITION_ID_START - 1;
        doc->last_column_id = 0;
    } else {
        TRY(check_current(doc, err));
    }
    TRY(open_main(doc, err));
    doc->now_ms = latest_of(doc);
    return OK;
}

void change_doc_done(struct change_doc *doc)
{
    for (size_t i = 0; i < doc->made_count; i++) {
        yyjson_doc_free(doc->made[i]);
    }
    doc->made_count = 0;
}

/* --- putting together --- */

static void write_list(struct json_writer *w, const struct change_doc *doc, size_t which)
{
    const struct change_list *list = &doc->lists[which];
    if (lists[which].is_map) {
        jw_obj_begin(w);
        for (size_t i = 0; i < list->count; i++) {
            jw_key(w, list->items[i].key);
            jw_val(w, list->items[i].val);
        }
        jw_obj_end(w);
        return;
    }
    jw_arr_begin(w);
    for (size_t i = 0; i < list->count; i++) {
        jw_val(w, list->items[i].val);
    }
    jw_arr_end(w);
}

struct number_member {
    const char *name;
    int64_t value;
};
enum { NUMBERS_MAX = 10 };

/** The members that are one number, and are there. */
static size_t numbers_of(const struct change_doc *doc, struct number_member out[NUMBERS_MAX])
{
    int64_t version = change_version(doc);
    const struct number_member all[] = {
        { "format-version", version },
        { "last-sequence-number", version == 1 ? -1 : doc->last_sequence_number },
        { "last-updated-ms", doc->now_ms },
        { "last-column-id", doc->last_column_id },
        { "current-schema-id", doc->current_schema_id },
        { "default-spec-id", doc->default_spec_id },
        { "last-partition-id", doc->last_partition_id },
        { "default-sort-order-id", doc->default_order_id },
        { "next-row-id", version < 3 ? -1 : doc->next_row_id },
    };
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].value >= 0) {
            out[count++] = all[i];
        }
    }
    return count;
}

/** Version 1 readers look at these. */
static void write_version_1(struct json_writer *w, struct change_doc *doc)
{
    struct change_item *schema = change_find(&doc->lists[LIST_SCHEMAS], doc->current_schema_id);
    struct change_item *spec = change_find(&doc->lists[LIST_SPECS], doc->default_spec_id);
    jw_key(w, STR("schema"));
    jw_val(w, schema->val);
    jw_key(w, STR("partition-spec"));
    jw_val(w, yyjson_obj_get(spec->val, "fields"));
}

/** Is this member one of those that are written from what the document was taken apart into? */
static bool is_ours(const struct change_doc *doc, struct str key)
{
    static const char *const own[] = { "table-uuid", "location",       "current-snapshot-id",
                                       "schema",     "partition-spec", "last-sequence-number",
                                       "next-row-id" };
    struct number_member numbers[NUMBERS_MAX];
    size_t count = numbers_of(doc, numbers);
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (str_eq(key, str_of(own[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (str_eq(key, str_of(numbers[i].name))) {
            return true;
        }
    }
    for (size_t i = 0; i < LIST_COUNT; i++) {
        if (doc->lists[i].is_touched && str_eq(key, str_of(lists[i].name))) {
            return true;
        }
    }
    return false;
}

enum status change_doc_write(struct change_doc *doc, struct buf *out, struct err *err)
{
    struct json_writer w;
    struct number_member numbers[NUMBERS_MAX];
    size_t count = numbers_of(doc, numbers), i, max;
    yyjson_val *key, *val;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "table-uuid", doc->uuid);
    jw_kv_str(&w, "location", doc->location);
    for (size_t n = 0; n < count; n++) {
        jw_kv_i64(&w, numbers[n].name, numbers[n].value);
    }
    jw_kv_i64(&w, "current-snapshot-id", doc->current_snapshot_id);
    for (size_t l = 0; l < LIST_COUNT; l++) {
        bool is_there = yyjson_obj_get(doc->base, lists[l].name) != NULL;
        if (doc->lists[l].is_touched ? doc->lists[l].count > 0 || lists[l].is_needed
                                     : !is_there && lists[l].is_needed) {
            jw_key(&w, str_of(lists[l].name));
            write_list(&w, doc, l);
        }
    }
    if (change_version(doc) == 1) {
        write_version_1(&w, doc);
    }
    OBJ_EACH(doc->base, i, max, key, val)
    {
        if (!is_ours(doc, val_str(key))) {
            jw_key(&w, val_str(key));
            jw_val(&w, val);
        }
    }
    jw_obj_end(&w);
    enum status status = json_writer_end(&w);
    return status == OK ? OK : err_set(err, status, "the table's metadata cannot be written");
}
