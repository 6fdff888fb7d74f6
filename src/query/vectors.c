/*
 * `vector_search` and `vector_items`: the engine's question becomes the body of a search, or a page
 * that is asked for, for whoever knows vector indexes.
 */
#include "base/encode.h"
#include "base/float_text.h"
#include "query/query_priv.h"

enum { SEARCH_MS_MAX = 60000 }; /* as the routes of vectors take at most */

static void write_vector(struct json_writer *w, struct str bytes)
{
    jw_kv_arr(w, "vector");
    for (size_t at = 0; at + sizeof(float) <= bytes.len; at += sizeof(float)) {
        float value;
        char text[FLOAT_TEXT_MAX];
        memcpy(&value, bytes.ptr + at, sizeof(value));
        jw_raw(w, str_from(text, float_text_write(value, text)));
    }
    jw_arr_end(w);
}

/** The filter comes as text of the statement and stands in our JSON, so it must be one value. */
static enum status check_filter(struct str filter, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    return json_parse(filter, &doc, err) == OK ? OK : err_context(err, "the filter");
}

static enum status write_body(yyjson_val *args, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf vector;
    struct str encoded, filter = STR_EMPTY;
    bool metadata = true;
    buf_init(&vector, 0);
    TRY(json_get_str(args, "vector", JSON_REQUIRED, &encoded, err));
    TRY(json_get_str(args, "filter", JSON_OPTIONAL, &filter, err));
    TRY(json_get_bool(args, "metadata", JSON_OPTIONAL, &metadata, err));
    if (base64_decode(encoded, &vector) != OK) {
        return err_set(err, E_INTERNAL, "the engine sent a vector that is none");
    }
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    write_vector(&w, buf_str(&vector));
    static const char *const numbers[] = { "k", "ef" };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t value = UINT64_MAX;
        TRY(json_get_u64(args, numbers[i], JSON_OPTIONAL, &value, err));
        if (value != UINT64_MAX) {
            jw_kv_u64(&w, numbers[i], value);
        }
    }
    if (filter.len > 0) {
        TRY(check_filter(filter, err));
        jw_key(&w, STR("filter"));
        jw_raw(&w, filter);
    }
    jw_kv_bool(&w, "with_metadata", metadata);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/** A place in a body that the asker never saw says nothing: of `"vector": byte 12: the vector has`
 * the middle goes. */
static void drop_place(struct err *err)
{
    static const char word[] = "byte ";
    char *at = strstr(err->msg, word);
    if (at == NULL || (at != err->msg && at[-1] != ' ')) {
        return;
    }
    size_t digits = strspn(at + sizeof(word) - 1, "0123456789");
    const char *rest = at + sizeof(word) - 1 + digits;
    if (digits > 0 && rest[0] == ':' && rest[1] == ' ') {
        memmove(at, rest + 2, strlen(rest + 2) + 1);
    }
}

static enum status nobody_knows(const char *function, struct err *err)
{
    return err_set(err, E_UNSUPPORTED,
                   "%s: this server knows no vector indexes (queryd.vectord_url is empty)",
                   function);
}

/** Until when an answer may take. */
static deadline_ms latest_of(const struct query *query)
{
    deadline_ms latest = deadline_in(SEARCH_MS_MAX);
    return query->deadline != 0 && query->deadline < latest ? query->deadline : latest;
}

enum status query_items(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    const struct query_vectors *vectors = &query->service->opts.vectors;
    if (vectors->items == NULL) {
        return nobody_knows("vector_items", err);
    }
    struct query_items items = { .deadline = latest_of(query), .request_id = query->id };
    TRY(json_get_str(args, "index", JSON_REQUIRED, &items.index, err));
    TRY(json_get_str(args, "after", JSON_REQUIRED, &items.after, err));
    TRY(json_get_bool(args, "vectors", JSON_REQUIRED, &items.with_vectors, err));
    return vectors->items(vectors->ctx, &items, reply, err);
}

enum status query_nearest(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    const struct query_vectors *vectors = &query->service->opts.vectors;
    if (vectors->search == NULL) {
        return nobody_knows("vector_search", err);
    }
    AUTO(buf_done) struct buf body;
    struct query_nearest nearest = { .request_id = query->id };
    buf_init(&body, 0);
    TRY(json_get_str(args, "index", JSON_REQUIRED, &nearest.index, err));
    TRY(write_body(args, &body, err));
    nearest.body = buf_str(&body);
    nearest.deadline = latest_of(query);
    enum status kind = vectors->search(vectors->ctx, &nearest, reply, err);
    if (kind == E_INVALID) {
        drop_place(err);
    }
    return kind;
}
