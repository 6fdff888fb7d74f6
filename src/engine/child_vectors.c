/*
 * vector_search and vector_items: the parent is asked, who knows whom to ask.
 *
 *   nearest  {"index","vector":base64 of float32 little endian,"k"?,"ef"?,"filter"?:text,
 *             "metadata":bool}
 *            -> {"results":[{"id","distance","metadata"?}],...}, nearest first
 *   items    {"index","after":text,"vectors":bool}
 *            -> a page of items in bytes (docs/reference/vectors.md)
 */
#include "base/encode.h"
#include "engine/child.h"
#include "engine/wire.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats travel as they lie in memory");

static enum status write_question(const struct duck_nearest *nearest, struct buf *out,
                                  struct err *err)
{
    AUTO(buf_done) struct buf vector;
    buf_init(&vector, 0);
    if (base64_append(&vector, nearest->vector, nearest->dimension * sizeof(float)) != OK) {
        return err_no_memory(err);
    }
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "index", nearest->index);
    jw_kv_str(&w, "vector", buf_str(&vector));
    if (nearest->has_k) {
        jw_kv_u64(&w, "k", nearest->k);
    }
    if (nearest->has_ef) {
        jw_kv_u64(&w, "ef", nearest->ef);
    }
    if (nearest->filter.len > 0) {
        jw_kv_str(&w, "filter", nearest->filter);
    }
    jw_kv_bool(&w, "metadata", nearest->with_metadata);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return out->len <= WIRE_CALL_ARGS_MAX
               ? OK
               : err_set(err, E_INVALID,
                         "vector_search with a vector of %zu numbers and a filter of %zu bytes: "
                         "together they are too long",
                         nearest->dimension, nearest->filter.len);
}

static enum status read_hit(yyjson_val *json, struct arena *arena, struct duck_hit *out,
                            struct err *err)
{
    struct str id;
    yyjson_val *metadata = NULL;
    TRY(json_get_str(json, "id", JSON_REQUIRED, &id, err));
    TRY(child_keep_text(arena, id, &out->id, err));
    TRY(json_get_double(json, "distance", JSON_REQUIRED, &out->distance, err));
    TRY(json_get_obj(json, "metadata", JSON_OPTIONAL, &metadata, err));
    if (metadata == NULL) {
        return OK;
    }
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_val(&w, metadata);
    return json_writer_end(&w) == OK ? child_keep_text(arena, buf_str(&text), &out->metadata, err)
                                     : err_no_memory(err);
}

static enum status read_hits(yyjson_val *root, struct arena *arena, const struct duck_hit **out,
                             size_t *count_out, struct err *err)
{
    yyjson_val *results = NULL;
    TRY(json_get_arr(root, "results", JSON_REQUIRED, &results, err));
    size_t count = yyjson_arr_size(results);
    struct duck_hit *hits = arena_array(arena, count + 1, sizeof(*hits));
    if (hits == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(results, i, max, at)
    {
        TRY(read_hit(at, arena, &hits[i], err));
    }
    *out = hits;
    *count_out = count;
    return OK;
}

/** An answer that cannot be read is no fault of the statement. */
static enum status not_theirs(struct err *err)
{
    struct err why = *err;
    return err_set(err, E_UPSTREAM, "the answer to vector_search: %s", why.msg);
}

static enum status search(void *ctx, const struct duck_nearest *nearest, struct arena *arena,
                          const struct duck_hit **out, size_t *count_out, struct err *err)
{
    AUTO(buf_done) struct buf question;
    AUTO(buf_done) struct buf reply;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&question, 0);
    buf_init(&reply, WIRE_PAYLOAD_MAX);
    TRY(write_question(nearest, &question, err));
    TRY(child_call(ctx, "nearest", buf_str(&question), &reply, NULL, err));
    enum status kind = json_parse(buf_str(&reply), &doc, err);
    kind = kind == OK ? read_hits(yyjson_doc_get_root(doc), arena, out, count_out, err) : kind;
    return kind == OK || kind == E_NO_MEMORY ? kind : not_theirs(err);
}

/* --- all items --- */

static enum status write_page_question(struct str index, struct str after, bool with_vectors,
                                       struct buf *out, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "index", index);
    jw_kv_str(&w, "after", after);
    jw_kv_bool(&w, "vectors", with_vectors);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/** The next two numbers of what is left, which moves behind them; false when they are not there. */
static bool take_pair(struct str *rest, uint32_t pair[2])
{
    enum { BYTES = 8 };
    if (rest->len < BYTES) {
        return false;
    }
    memcpy(pair, rest->ptr, BYTES);
    *rest = str_skip(*rest, BYTES);
    return true;
}

/** `len` bytes and what fills them up to a multiple of 4. */
static bool take_padded(struct str *rest, size_t len, struct str *out)
{
    size_t padded = (len + 3) / 4 * 4;
    if (rest->len < padded) {
        return false;
    }
    *out = str_take(*rest, len);
    *rest = str_skip(*rest, padded);
    return true;
}

static bool take_item(struct str *rest, uint32_t dimension, struct duck_item *out)
{
    uint32_t lens[2];
    size_t vector_bytes = dimension * sizeof(float);
    struct str texts;
    if (!take_pair(rest, lens) || rest->len < vector_bytes) {
        return false;
    }
    const char *vector = rest->ptr;
    *rest = str_skip(*rest, vector_bytes);
    if (!take_padded(rest, (size_t)lens[0] + lens[1], &texts)) {
        return false;
    }
    /* all lengths are multiples of 4, and so is where the page lies in memory */
    *out = (struct duck_item){ .id = str_take(texts, lens[0]),
                               .vector = dimension > 0 ? (const float *)(const void *)vector : NULL,
                               .metadata = str_skip(texts, lens[0]) };
    return true;
}

/** `bytes` lie in the arena, and the page points into them. */
static enum status read_page(struct str bytes, struct arena *arena, struct duck_page *out,
                             struct err *err)
{
    enum { ITEM_BYTES_MIN = 12 }; /* of which an id has at least one */
    uint32_t head[2];
    if (!take_pair(&bytes, head) || !take_padded(&bytes, head[1], &out->next)) {
        return err_set(err, E_UPSTREAM, "the answer to vector_items is cut short");
    }
    out->dimension = head[0];
    struct duck_item *items = arena_array(arena, bytes.len / ITEM_BYTES_MIN + 1, sizeof(*items));
    if (items == NULL) {
        return err_no_memory(err);
    }
    while (bytes.len > 0) {
        if (!take_item(&bytes, out->dimension, &items[out->count])) {
            return err_set(err, E_UPSTREAM, "the answer to vector_items is cut short");
        }
        out->count++;
    }
    out->items = items;
    return OK;
}

static enum status items(void *ctx, struct str index, struct str after, bool with_vectors,
                         struct arena *arena, struct duck_page *out, struct err *err)
{
    AUTO(buf_done) struct buf question;
    AUTO(buf_done) struct buf reply;
    buf_init(&question, 0);
    buf_init(&reply, WIRE_PAYLOAD_MAX);
    TRY(write_page_question(index, after, with_vectors, &question, err));
    TRY(child_call(ctx, "items", buf_str(&question), &reply, NULL, err));
    float *bytes = arena_array(arena, reply.len / sizeof(float) + 1, sizeof(float)); /* aligned */
    if (bytes == NULL) {
        return err_no_memory(err);
    }
    if (reply.len > 0) {
        memcpy(bytes, reply.ptr, reply.len);
    }
    return read_page(str_from((const char *)bytes, reply.len), arena, out, err);
}

struct duck_vectors child_vectors(struct child_job *job)
{
    return (struct duck_vectors){ .search = search, .items = items, .ctx = job };
}
