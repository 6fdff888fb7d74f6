/*
 * Metadata of slots: checked, written canonically, kept in records; field indexes follow each
 * change.
 *
 * Nothing is changed before all that may fail has been done.
 */
#include "collection/meta.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "collection/collection.h"
#include "collection/meta_priv.h"

enum { DEPTH_MAX = 64 };

enum status meta_new(struct meta **out, struct err *err)
{
    struct meta *meta = mem_zalloc(sizeof(*meta));
    if (meta == NULL) {
        return err_no_memory(err);
    }
    meta->fields = fields_new();
    if (meta->fields == NULL) {
        mem_free(meta);
        return err_no_memory(err);
    }
    *out = meta;
    return OK;
}

void meta_free(struct meta *meta)
{
    if (meta != NULL) {
        fields_free(meta->fields);
        records_done(&meta->records);
        mem_free(meta->live);
        mem_free(meta);
    }
}

/* --- what may be put --- */

static int name_order(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str text_of(yyjson_val *string)
{
    return str_from(yyjson_get_str(string), yyjson_get_len(string));
}

static enum status check_names(yyjson_val *object, struct err *err)
{
    size_t i, count;
    yyjson_val *key, *value;
    if (yyjson_obj_size(object) < 2) {
        return OK;
    }
    struct str *names = mem_alloc(yyjson_obj_size(object) * sizeof(*names));
    if (names == NULL) {
        return err_no_memory(err);
    }
    yyjson_obj_foreach(object, i, count, key, value)
    {
        names[i] = text_of(key);
    }
    qsort(names, count, sizeof(*names), name_order);
    enum status status = OK;
    for (i = 1; i < count && status == OK; i++) {
        if (str_eq(names[i - 1], names[i])) {
            status = err_set(err, E_INVALID, "metadata has the name \"%.*s\" twice in one object",
                             STR_ARG(names[i]));
        }
    }
    mem_free(names);
    return status;
}

static enum status check_value(yyjson_val *value, unsigned depth, struct err *err)
{
    size_t i, count;
    yyjson_val *key, *item;
    if (!yyjson_is_ctn(value)) {
        return OK;
    }
    if (depth > DEPTH_MAX) {
        return err_set(err, E_INVALID, "metadata is nested deeper than %d", DEPTH_MAX);
    }
    yyjson_arr_foreach(value, i, count, item)
    {
        TRY(check_value(item, depth + 1, err));
    }
    TRY(yyjson_is_obj(value) ? check_names(value, err) : OK);
    yyjson_obj_foreach(value, i, count, key, item)
    {
        TRY(check_value(item, depth + 1, err));
    }
    return OK;
}

static enum status parse_object(struct str json, yyjson_doc **out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    if (json.len > COLL_METADATA_MAX) {
        return err_set(err, E_INVALID, "metadata of %zu bytes is larger than %d", json.len,
                       COLL_METADATA_MAX);
    }
    enum status status = json_parse(json, &doc, err);
    if (status != OK) {
        (void)err_context(err, "metadata");
        return status;
    }
    if (!yyjson_is_obj(yyjson_doc_get_root(doc))) {
        return err_set(err, E_INVALID, "metadata is no JSON object");
    }
    TRY(check_value(yyjson_doc_get_root(doc), 1, err));
    *out = doc;
    doc = NULL;
    return OK;
}

static enum status check_size(const struct buf *text, struct err *err)
{
    return text->len <= COLL_METADATA_MAX
               ? OK
               : err_set(err, E_INVALID, "metadata of %zu bytes is larger than %d", text->len,
                         COLL_METADATA_MAX);
}

/** As it is stored, appended. */
static enum status write_canonical(struct str json, struct buf *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(parse_object(json, &doc, err));
    if (value_write(yyjson_doc_get_root(doc), out) != OK) {
        return err_no_memory(err);
    }
    return check_size(out, err);
}

enum status meta_check(struct str json, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    return write_canonical(json, &text, err);
}

/* --- changes --- */

static enum status room(struct meta *meta, uint32_t slot)
{
    if (slot / 64 < meta->word_count) {
        return OK;
    }
    size_t count = slot / 64 + slot / 256 + 4;
    uint64_t *live = mem_realloc(meta->live, count * sizeof(*live));
    if (live == NULL) {
        return E_NO_MEMORY;
    }
    memset(live + meta->word_count, 0, (count - meta->word_count) * sizeof(*live));
    meta->live = live;
    meta->word_count = count;
    return OK;
}

static bool is_live(const struct meta *meta, uint32_t slot)
{
    return slot / 64 < meta->word_count && bit_is_set(meta->live, slot);
}

static void set_live(struct meta *meta, uint32_t slot, bool live)
{
    uint64_t bit = (uint64_t)1 << (slot % 64);
    meta->items += live && !is_live(meta, slot);
    meta->items -= !live && is_live(meta, slot);
    meta->live[slot / 64] = live ? meta->live[slot / 64] | bit : meta->live[slot / 64] & ~bit;
}

static void index_slot(struct meta *meta, uint32_t slot)
{
    if (is_live(meta, slot)) {
        fields_add(meta->fields, slot, meta_text(meta, slot));
    }
}

static void forget_slot(struct meta *meta, uint32_t slot)
{
    if (is_live(meta, slot)) {
        fields_remove(meta->fields, slot, meta_text(meta, slot));
    }
}

static enum status put(struct meta *meta, uint32_t slot, struct str text, struct err *err)
{
    bool empty = str_eq(text, STR("{}"));
    if (room(meta, slot) != OK) {
        return err_no_memory(err);
    }
    forget_slot(meta, slot);
    if (!empty && records_put(&meta->records, slot, text) != OK) {
        index_slot(meta, slot);
        return err_no_memory(err);
    }
    if (empty) {
        records_remove(&meta->records, slot);
    }
    set_live(meta, slot, true);
    index_slot(meta, slot);
    return OK;
}

enum status meta_set(struct meta *meta, uint32_t slot, struct str json, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    TRY(write_canonical(json, &text, err));
    return put(meta, slot, buf_str(&text), err);
}

enum status meta_add(struct meta *meta, uint32_t slot, struct err *err)
{
    return is_live(meta, slot) ? OK : put(meta, slot, STR("{}"), err);
}

void meta_remove(struct meta *meta, uint32_t slot)
{
    if (is_live(meta, slot)) {
        forget_slot(meta, slot);
        records_remove(&meta->records, slot);
        set_live(meta, slot, false);
    }
}

enum status meta_move(struct meta *meta, uint32_t from, uint32_t to, struct err *err)
{
    if (from == to) {
        return OK;
    }
    if (room(meta, from) != OK || room(meta, to) != OK) {
        return err_no_memory(err);
    }
    forget_slot(meta, from);
    forget_slot(meta, to);
    if (records_move(&meta->records, from, to) != OK) {
        index_slot(meta, from);
        index_slot(meta, to);
        return err_no_memory(err);
    }
    set_live(meta, to, is_live(meta, from));
    set_live(meta, from, false);
    index_slot(meta, to);
    return OK;
}

struct str meta_get(const struct meta *meta, uint32_t slot)
{
    struct str text = records_get(&meta->records, slot);
    return text.ptr != NULL ? text : STR("{}");
}

bool meta_matches(const struct meta *meta, const struct filter *filter, uint32_t slot)
{
    return is_live(meta, slot) && filter_matches(filter, meta_text(meta, slot));
}

void meta_stats(const struct meta *meta, struct meta_stats *out)
{
    *out = (struct meta_stats){
        .items = meta->items,
        .metadata_bytes = records_memory(&meta->records) + meta->word_count * sizeof(*meta->live),
        .index_bytes = fields_memory(meta->fields),
        .paths = fields_count(meta->fields),
    };
}

/* --- merging, RFC 7396 --- */

static yyjson_val *member(yyjson_val *object, yyjson_val *key)
{
    return yyjson_obj_getn(object, yyjson_get_str(key), yyjson_get_len(key));
}

/** `target` is NULL where there is nothing. */
static void merge(struct json_writer *w, yyjson_val *target, yyjson_val *patch)
{
    if (!yyjson_is_obj(patch)) {
        jw_val(w, patch);
        return;
    }
    size_t i, count;
    yyjson_val *key, *value;
    jw_obj_begin(w);
    yyjson_obj_foreach(target, i, count, key, value)
    { /* none when it is no object */
        yyjson_val *change = member(patch, key);
        if (!yyjson_is_null(change)) {
            jw_key(w, text_of(key));
            if (change == NULL) { /* stays as it is, nulls within it too */
                jw_val(w, value);
            } else {
                merge(w, value, change);
            }
        }
    }
    yyjson_obj_foreach(patch, i, count, key, value)
    {
        if (!yyjson_is_null(value) && member(target, key) == NULL) {
            jw_key(w, text_of(key));
            merge(w, NULL, value);
        }
    }
    jw_obj_end(w);
}

enum status meta_merged(const struct meta *meta, uint32_t slot, struct str patch,
                        struct arena *arena, struct str *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *target = NULL;
    AUTO(json_doc_done) yyjson_doc *changes = NULL;
    AUTO(buf_done) struct buf text;
    struct json_writer writer;
    buf_init(&text, 0);
    TRY(json_parse(meta_get(meta, slot), &target, err));
    TRY(parse_object(patch, &changes, err));
    json_writer_init(&writer, &text);
    merge(&writer, yyjson_doc_get_root(target), yyjson_doc_get_root(changes));
    if (json_writer_end(&writer) != OK) {
        return err_no_memory(err);
    }
    TRY(check_size(&text, err));
    struct str merged = arena_str(arena, buf_str(&text));
    if (merged.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = merged;
    return OK;
}
