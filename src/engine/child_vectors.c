/*
 * vector_search: the parent is asked, who knows whom to ask.
 *
 *   nearest  {"index","vector":base64 of float32 little endian,"k"?,"ef"?,"filter"?:text,
 *             "metadata":bool}
 *            -> {"results":[{"id","distance","metadata"?}],...}, nearest first
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

struct duck_vectors child_vectors(struct child_job *job)
{
    return (struct duck_vectors){ .search = search, .ctx = job };
}
