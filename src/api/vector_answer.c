/*
 * Metadata goes out as it is stored; only a choice of fields parses it. Floats are written with as
 * few digits as read back the same.
 */
#include "api/vector_answer.h"

#include "base/float_text.h"

static void fail(struct json_writer *w, enum status status)
{
    w->status = w->status == OK ? status : w->status;
}

static void write_vector(struct json_writer *w, const float *vector, uint32_t dimension)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    char *p = buf_reserve(&text, (size_t)dimension * (FLOAT_TEXT_MAX + 1) + 2), *start = p;
    if (p == NULL) {
        fail(w, E_NO_MEMORY);
        return;
    }
    *p++ = '[';
    for (uint32_t i = 0; i < dimension; i++) {
        if (i > 0) {
            *p++ = ',';
        }
        p += float_text_write(vector[i], p);
    }
    *p++ = ']';
    jw_key(w, STR("vector"));
    jw_raw(w, str_from(start, (size_t)(p - start)));
}

static void write_metadata(struct json_writer *w, struct str metadata)
{
    jw_key(w, STR("metadata"));
    jw_raw(w, metadata.len > 0 ? metadata : STR("{}"));
}

void vector_answer_item(struct json_writer *w, const struct coll_item *item, uint32_t dimension)
{
    jw_obj_begin(w);
    jw_kv_str(w, "id", item->id);
    if (item->vector != NULL) {
        write_vector(w, item->vector, dimension);
    }
    write_metadata(w, item->metadata);
    jw_obj_end(w);
}

/* --- pages in bytes --- */

/** Up to a multiple of 4. */
static enum status pad(struct buf *out, size_t len)
{
    static const char zeros[4];
    return buf_append_bytes(out, zeros, (4 - len % 4) % 4);
}

static enum status write_packed(struct buf *out, const struct coll_item *item, uint32_t dimension)
{
    const uint32_t head[2] = { (uint32_t)item->id.len, (uint32_t)item->metadata.len };
    TRY(buf_append_bytes(out, head, sizeof(head)));
    if (dimension > 0) {
        TRY(buf_append_bytes(out, item->vector, dimension * sizeof(float)));
    }
    TRY(buf_append(out, item->id));
    TRY(buf_append(out, item->metadata));
    return pad(out, item->id.len + item->metadata.len);
}

enum status vector_answer_page(struct buf *out, const struct coll_item *items, size_t count,
                               uint32_t dimension, struct str next, struct err *err)
{
    const uint32_t head[2] = { dimension, (uint32_t)next.len };
    bool ok = buf_append_bytes(out, head, sizeof(head)) == OK && buf_append(out, next) == OK &&
              pad(out, next.len) == OK;
    for (size_t i = 0; i < count && ok; i++) {
        ok = write_packed(out, &items[i], dimension) == OK;
    }
    return ok ? OK : err_no_memory(err);
}

/* --- fields --- */

/** The next name of a dotted path, its escapes undone in `out` (as large as the path). */
static struct str next_name(struct str *path, char *out)
{
    size_t len = 0, i = 0;
    for (; i < path->len && path->ptr[i] != '.'; i++) {
        if (path->ptr[i] == '\\' && i + 1 < path->len && path->ptr[i + 1] == '.') {
            i++;
        }
        out[len++] = path->ptr[i];
    }
    *path = i < path->len ? str_skip(*path, i + 1) : (struct str){ NULL, 0 };
    return str_from(out, len);
}

static yyjson_val *find_field(yyjson_val *root, struct str path, char *scratch)
{
    yyjson_val *at = root;
    while (at != NULL && path.ptr != NULL) {
        struct str name = next_name(&path, scratch);
        at = yyjson_obj_getn(at, name.ptr, name.len); /* NULL for what is no object */
    }
    return at;
}

void vector_answer_fields(struct json_writer *w, struct str metadata, const struct str *fields,
                          size_t count)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf scratch;
    enum status status = json_parse(metadata.len > 0 ? metadata : STR("{}"), &doc, NULL);
    buf_init(&scratch, 0);
    if (status != OK) {
        fail(w, status);
        return;
    }
    jw_obj_begin(w);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&scratch);
        char *room = buf_reserve(&scratch, fields[i].len + 1);
        if (room == NULL) {
            fail(w, E_NO_MEMORY);
            return;
        }
        yyjson_val *value = find_field(yyjson_doc_get_root(doc), fields[i], room);
        if (value != NULL) {
            jw_key(w, fields[i]);
            jw_val(w, value);
        }
    }
    jw_obj_end(w);
}

/* --- results --- */

static void write_hit(struct json_writer *w, const struct vector_search *search,
                      const struct coll_hit *hit)
{
    jw_obj_begin(w);
    jw_kv_str(w, "id", hit->id);
    jw_key(w, STR("distance"));
    jw_double(w, hit->distance);
    if (search->query.with_vectors && hit->vector != NULL) {
        write_vector(w, hit->vector, search->dimension);
    }
    if (search->query.with_metadata && search->field_count > 0) {
        jw_key(w, STR("metadata"));
        vector_answer_fields(w, hit->metadata, search->fields, search->field_count);
    } else if (search->query.with_metadata) {
        write_metadata(w, hit->metadata);
    }
    jw_obj_end(w);
}

static void write_hits(struct json_writer *w, const struct vector_search *search,
                       const struct coll_hits *hits)
{
    jw_arr_begin(w);
    for (size_t i = 0; i < hits->count; i++) {
        write_hit(w, search, &hits->items[i]);
    }
    jw_arr_end(w);
}

void vector_answer_search(struct json_writer *w, const struct vector_search *search,
                          const struct coll_answer *answer)
{
    jw_obj_begin(w);
    jw_key(w, STR("results"));
    if (search->batch) {
        jw_arr_begin(w);
        for (size_t i = 0; i < answer->query_count; i++) {
            write_hits(w, search, &answer->queries[i]);
        }
        jw_arr_end(w);
    } else {
        const struct coll_hits none = { 0 };
        write_hits(w, search, answer->query_count > 0 ? &answer->queries[0] : &none);
    }
    jw_kv_u64(w, "ef_used", answer->ef_used);
    if (search->query.recall_target > 0) {
        jw_kv_bool(w, "target_missed", answer->target_missed);
    }
    jw_kv_cstr(w, "plan", answer->plan != NULL ? answer->plan : "");
    if (search->query.filter.len > 0 || search->query.filters != NULL) {
        jw_kv_u64(w, "filter_count", answer->filter_count);
    }
    jw_obj_end(w);
}
