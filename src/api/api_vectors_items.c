/*
 * Items of an index: adding, searching, one item, deleting, counting, pages and export.
 *
 * Additions and searches are JSON or bytes, by their content type. A small search of an index that
 * is open waits for nothing but other searches' short locks, so it runs on the HTTP thread. GET
 * .../items is a page of JSON, with `Accept: application/octet-stream` one of bytes, or with
 * `application/x-ndjson` all items, a line each, page after page while the client takes them.
 */
#include "api/api_vectors_priv.h"
#include "api/vector_answer.h"
#include "http/guard.h"

enum {
    ANSWER_BYTES_MAX = 1024 * 1024 * 1024,
    PAGE_DEFAULT = 1000,
    /* a line takes at most 4,096 floats of 25 characters, 64 KiB of metadata and an id */
    PIECE_BYTES = 64 * 1024,
    EXPORT_PAGE = 256,
    /* what a search on an HTTP thread may ask for: chosen, so that it takes well under 1 ms */
    INPLACE_BODY_MAX = 64 * 1024,
    INPLACE_K_MAX = 100,
    INPLACE_EF_MAX = 200,
};

struct search_state {
    bool on_worker;
};

static struct str index_of(const struct http_req *req)
{
    return http_param(req, "name");
}

/** JSON or bytes; else 415. */
static enum status body_kind(struct http_req *req, bool *json_out)
{
    struct str type = http_headers_get(&req->headers, STR("Content-Type"));
    struct str media = type;
    media = type.ptr != NULL ? str_trim(str_split(&media, ';')) : STR_EMPTY;
    *json_out = guard_is_json(type);
    return *json_out || str_eq_nocase(media, STR("application/octet-stream"))
               ? OK
               : err_set(&req->err, E_TYPE,
                         "this route takes Content-Type: application/json, or "
                         "application/octet-stream");
}

static const struct api_vectors *api_of(const struct http_req *req)
{
    return req->ctx;
}

/* --- add --- */

static enum status add_request(struct http_req *req, struct arena *arena, struct vector_add *add)
{
    bool json;
    struct str mode;
    TRY(body_kind(req, &json));
    TRY(coll_dimension(vectors_of(req), index_of(req), &add->dimension, &req->err));
    if (json) {
        return vector_add_read_json(req->body, arena, add, &req->err);
    }
    TRY(http_query(req, "mode", &mode));
    TRY(mode.ptr != NULL ? vector_add_mode(mode, &add->mode, &req->err) : OK);
    return vector_add_read_binary(req->body, add, &req->err);
}

static enum http_step add_reply(struct http_req *req, const struct coll_added *added)
{
    struct buf json;
    struct json_writer w;
    buf_init(&json, 0);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_u64(&w, "added", added->added);
    jw_kv_u64(&w, "updated", added->updated);
    jw_kv_u64(&w, "length", added->length);
    jw_obj_end(&w);
    vectors_tally(api_of(req)->written, added->added + added->updated);
    http_log_field_i64(req, "added", (int64_t)added->added);
    http_log_field_i64(req, "updated", (int64_t)added->updated);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step add_end(struct http_req *req)
{
    struct vector_add add = { 0 };
    struct coll_added added = { 0 };
    struct arena arena; /* a body may have more ids with escapes than a request's arena holds */
    arena_init(&arena, ANSWER_BYTES_MAX);
    enum status status = add_request(req, &arena, &add);
    if (status == OK) {
        status = coll_add(vectors_of(req), index_of(req), add.items, add.count, add.mode, &added,
                          &req->err);
    }
    vector_add_done(&add);
    arena_done(&arena);
    return status == OK ? add_reply(req, &added) : http_fail(req, status);
}

/* --- search --- */

static enum status query_u32(struct http_req *req, const char *name, bool *given_out, uint32_t *out)
{
    struct str value;
    uint64_t number = 0;
    TRY(http_query(req, name, &value));
    *given_out = value.ptr != NULL;
    if (value.ptr != NULL && (!str_to_u64(value, &number) || number > UINT32_MAX)) {
        return err_set(&req->err, E_INVALID, "%s=%.*s: a whole number is expected", name,
                       STR_ARG(str_take(value, 100)));
    }
    *out = (uint32_t)number;
    return OK;
}

static enum status query_double(struct http_req *req, const char *name, bool *given_out,
                                double *out)
{
    struct str value;
    TRY(http_query(req, name, &value));
    *given_out = value.ptr != NULL;
    return value.ptr == NULL || str_to_double(value, out)
               ? OK
               : err_set(&req->err, E_INVALID, "%s=%.*s: a number is expected", name,
                         STR_ARG(str_take(value, 100)));
}

static enum status query_fields(struct http_req *req, struct vector_search *search)
{
    struct str rest;
    TRY(http_query(req, "fields", &rest));
    while (rest.ptr != NULL) {
        if (search->field_count == VECTOR_FIELDS_MAX) {
            return err_set(&req->err, E_INVALID, "fields: at most %d", VECTOR_FIELDS_MAX);
        }
        search->fields[search->field_count++] = str_split(&rest, ',');
    }
    return OK;
}

/** All but the vectors of a search in bytes. */
static enum status query_search(struct http_req *req, struct vector_search *search)
{
    struct coll_query *query = &search->query;
    double target = 0;
    bool has_target = false;
    query->with_metadata = true;
    TRY(query_u32(req, "k", &search->has_k, &query->k));
    TRY(query_u32(req, "ef", &search->has_ef, &query->ef));
    TRY(query_double(req, "recall_target", &has_target, &target));
    TRY(query_double(req, "max_distance", &query->has_max_distance, &query->max_distance));
    TRY(http_query(req, "filter", &query->filter));
    TRY(vectors_query_bool(req, "exact", &query->exact));
    TRY(vectors_query_bool(req, "with_vectors", &query->with_vectors));
    TRY(vectors_query_bool(req, "with_metadata", &query->with_metadata));
    TRY(vectors_query_bool(req, "batch", &search->batch));
    TRY(query_fields(req, search));
    query->recall_target = (float)target;
    return !has_target || (target > 0 && target < 1)
               ? OK
               : err_set(&req->err, E_INVALID, "recall_target lies between 0 and 1");
}

static enum status search_request(struct http_req *req, struct vector_search *search)
{
    bool json;
    TRY(body_kind(req, &json));
    TRY(coll_dimension(vectors_of(req), index_of(req), &search->dimension, &req->err));
    if (json) {
        return vector_search_read_json(req->body, &req->arena, search, &req->err);
    }
    TRY(query_search(req, search));
    TRY(vector_search_read_binary(req->body, search, &req->err));
    return vector_search_check(search, &req->err);
}

/** Small enough to be done where the bytes are, without a worker? */
static bool is_small(const struct vector_search *search)
{
    const struct coll_query *query = &search->query;
    return search->vector_count <= 1 && query->k <= INPLACE_K_MAX && query->ef <= INPLACE_EF_MAX &&
           query->filter.len == 0 && query->recall_target == 0 && !query->exact;
}

static enum http_step search_run(struct http_req *req, struct vector_search *search,
                                 struct arena *arena)
{
    struct search_state *state = req->state;
    struct coll_answer answer = { 0 };
    enum status status = search_request(req, search);
    if (status == OK && !state->on_worker && !is_small(search)) {
        state->on_worker = true;
        return HTTP_OFFLOAD;
    }
    if (status == OK) {
        status = coll_search(vectors_of(req), index_of(req), &search->query, arena, &answer,
                             &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    vectors_tally_answer(api_of(req), &answer);
    struct buf json;
    struct json_writer w;
    buf_init(&json, ANSWER_BYTES_MAX);
    json_writer_init(&w, &json);
    vector_answer_search(&w, search, &answer);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step search_end(struct http_req *req)
{
    const struct api_vectors *api = req->ctx;
    struct search_state *state = req->state;
    struct vector_search search = { .k_max = vectors_k_max(api) };
    if (!state->on_worker &&
        (req->body.len > INPLACE_BODY_MAX || !coll_is_quick(api->service, index_of(req)))) {
        state->on_worker = true;
        return HTTP_OFFLOAD;
    }
    struct arena arena; /* of results: up to a million with their vectors */
    arena_init(&arena, ANSWER_BYTES_MAX);
    enum http_step step = search_run(req, &search, &arena);
    vector_search_done(&search);
    arena_done(&arena);
    return step;
}

/* --- one item --- */

static enum http_step item_get_end(struct http_req *req)
{
    bool with_vectors = true;
    uint32_t dimension = 0;
    struct coll_item item = { 0 };
    enum status status = vectors_query_bool(req, "with_vectors", &with_vectors);
    status = status == OK ? coll_dimension(vectors_of(req), index_of(req), &dimension, &req->err)
                          : status;
    status = status == OK ? coll_get(vectors_of(req), index_of(req), http_param(req, "id"),
                                     with_vectors, &req->arena, &item, &req->err)
                          : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, ANSWER_BYTES_MAX);
    json_writer_init(&w, &json);
    vector_answer_item(&w, &item, dimension);
    return vectors_reply(req, 200, &w, &json);
}

static enum status patch_request(struct http_req *req, struct buf *metadata, bool *merge_out)
{
    static const char *const names[] = { "metadata", "merge" };
    yyjson_val *root = NULL, *object = NULL;
    struct json_writer w;
    TRY(vectors_body(req, names, ARRAY_LEN(names), &root));
    TRY(json_get_obj(root, "metadata", JSON_REQUIRED, &object, &req->err));
    TRY(json_get_bool(root, "merge", JSON_OPTIONAL, merge_out, &req->err));
    json_writer_init(&w, metadata);
    jw_val(&w, object);
    return json_writer_end(&w) == OK ? OK : err_no_memory(&req->err);
}

static enum http_step item_patch_end(struct http_req *req)
{
    bool merge = false;
    AUTO(buf_done) struct buf metadata;
    buf_init(&metadata, 0);
    enum status status = patch_request(req, &metadata, &merge);
    if (status == OK) {
        status = coll_patch(vectors_of(req), index_of(req), http_param(req, "id"),
                            buf_str(&metadata), merge, &req->err);
    }
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

static enum http_step item_delete_end(struct http_req *req)
{
    struct str id = http_param(req, "id");
    uint64_t deleted = 0;
    enum status status = coll_delete(vectors_of(req), index_of(req),
                                     &(struct coll_which){ .ids = &id, .id_count = 1 }, &deleted,
                                     &req->err);
    vectors_tally(api_of(req)->deleted, deleted);
    if (status == OK && deleted == 0) {
        status = err_set(&req->err, E_NOT_FOUND, "there is no item \"%.*s\"",
                         STR_ARG(str_take(id, 200)));
    }
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

/* --- delete and count --- */

static enum http_step number_reply(struct http_req *req, const char *name, uint64_t number)
{
    struct buf json;
    struct json_writer w;
    buf_init(&json, 0);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_u64(&w, name, number);
    jw_obj_end(&w);
    return vectors_reply(req, 200, &w, &json);
}

static enum status read_ids(struct http_req *req, yyjson_val *list, struct coll_which *out)
{
    size_t i, max;
    yyjson_val *value;
    struct str *ids = arena_array(&req->arena, yyjson_arr_size(list) + 1, sizeof(*ids));
    if (ids == NULL) {
        return err_no_memory(&req->err);
    }
    yyjson_arr_foreach(list, i, max, value)
    {
        if (!yyjson_is_str(value)) {
            return err_set(&req->err, E_INVALID, "\"ids\": entry %zu is no text", i);
        }
        ids[i] = str_from(yyjson_get_str(value), yyjson_get_len(value));
    }
    out->ids = ids;
    out->id_count = yyjson_arr_size(list);
    return OK;
}

static enum status delete_request(struct http_req *req, struct buf *filter, struct coll_which *out)
{
    static const char *const names[] = { "ids", "filter", "all" };
    yyjson_val *root = NULL, *list = NULL;
    TRY(vectors_body(req, names, ARRAY_LEN(names), &root));
    TRY(json_get_arr(root, "ids", JSON_OPTIONAL, &list, &req->err));
    TRY(json_get_bool(root, "all", JSON_OPTIONAL, &out->all, &req->err));
    TRY(vectors_filter(root, filter, &req->err));
    bool empty = str_eq(buf_str(filter), STR("{}"));
    if (list != NULL ? filter->len > 0 || out->all : filter->len == 0 && !out->all) {
        return err_set(&req->err, E_INVALID,
                       "delete which? give \"ids\", or a \"filter\", or \"all\": true");
    }
    if (empty && !out->all) {
        return err_set(&req->err, E_INVALID,
                       "an empty filter means all items: say \"all\": true as well");
    }
    if (filter->len > 0 && !empty && out->all) {
        return err_set(&req->err, E_INVALID, "a \"filter\", or \"all\": true: not both");
    }
    if (!out->all) {
        out->filter = buf_str(filter);
    }
    return list != NULL ? read_ids(req, list, out) : OK;
}

static enum http_step delete_end(struct http_req *req)
{
    struct coll_which which = { .filter = STR_EMPTY };
    uint64_t deleted = 0;
    AUTO(buf_done) struct buf filter;
    buf_init(&filter, 0);
    enum status status = delete_request(req, &filter, &which);
    /* none of them: the index must be there all the same */
    if (status == OK && which.ids != NULL && which.id_count == 0) {
        uint32_t dimension = 0;
        status = coll_dimension(vectors_of(req), index_of(req), &dimension, &req->err);
    } else if (status == OK) {
        status = coll_delete(vectors_of(req), index_of(req), &which, &deleted, &req->err);
        vectors_tally(api_of(req)->deleted, deleted);
    }
    return status == OK ? number_reply(req, "deleted", deleted) : http_fail(req, status);
}

static enum http_step count_end(struct http_req *req)
{
    static const char *const names[] = { "filter" };
    yyjson_val *root = NULL;
    uint64_t number = 0;
    AUTO(buf_done) struct buf filter;
    buf_init(&filter, 0);
    enum status status = vectors_body(req, names, ARRAY_LEN(names), &root);
    status = status == OK ? vectors_filter(root, &filter, &req->err) : status;
    if (status == OK) {
        status = coll_count(vectors_of(req), index_of(req), buf_str(&filter), &number, &req->err);
    }
    return status == OK ? number_reply(req, "count", number) : http_fail(req, status);
}

/* --- pages and export --- */

struct export
{
    struct coll_page page;
    struct str index;
    uint32_t dimension;
    bool open;
    struct arena arenas[2]; /* of the page being sent, and of the one before, which had `after` */
    unsigned turn;
    struct coll_item *items;
    size_t count, at;
    struct str next;
};

/** `vectors`: with them, unless it is said. */
static enum status page_request(struct http_req *req, bool all, bool vectors,
                                struct coll_page *page)
{
    struct str limit;
    uint64_t number = PAGE_DEFAULT;
    page->with_vectors = vectors;
    TRY(http_query(req, "after", &page->after));
    TRY(http_query(req, "limit", &limit));
    TRY(vectors_query_bool(req, "with_vectors", &page->with_vectors));
    if (limit.ptr != NULL &&
        (!str_to_u64(limit, &number) || number == 0 || number > COLL_PAGE_MAX)) {
        return err_set(&req->err, E_INVALID, "limit=%.*s: a number from 1 to %d is expected",
                       STR_ARG(str_take(limit, 100)), COLL_PAGE_MAX);
    }
    page->limit = all ? EXPORT_PAGE : (size_t)number;
    return OK;
}

static enum status next_page(struct http_req *req, struct export *export)
{
    export->turn = 1 - export->turn;
    struct arena *arena = &export->arenas[export->turn];
    arena_reset(arena);
    export->at = 0;
    export->count = 0;
    TRY(coll_items(vectors_of(req), export->index, &export->page, arena, &export->items,
                   &export->count, &export->next, &req->err));
    export->page.after = export->next;
    return OK;
}

static enum http_step page_reply(struct http_req *req, const struct export *export)
{
    struct buf json;
    struct json_writer w;
    buf_init(&json, ANSWER_BYTES_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "items");
    for (size_t i = 0; i < export->count; i++) {
        vector_answer_item(&w, &export->items[i], export->dimension);
    }
    jw_arr_end(&w);
    jw_key(&w, STR("next"));
    if (export->next.len > 0) {
        jw_str(&w, export->next);
    } else {
        jw_null(&w);
    }
    jw_obj_end(&w);
    return vectors_reply(req, 200, &w, &json);
}

static enum http_step packed_reply(struct http_req *req, const struct export *export)
{
    struct buf bytes;
    buf_init(&bytes, ANSWER_BYTES_MAX);
    enum status status = vector_answer_page(&bytes, export->items, export->count,
                                            export->page.with_vectors ? export->dimension : 0,
                                            export->next, &req->err);
    if (status == OK) {
        return http_reply_buf(req, 200, "application/octet-stream", &bytes);
    }
    buf_done(&bytes);
    return http_fail(req, status);
}

static bool wants(const struct http_req *req, const char *type)
{
    struct str accept = http_headers_get(&req->headers, STR("Accept"));
    return accept.ptr != NULL && str_find(accept, str_of(type)) != SIZE_MAX;
}

static enum http_step items_end(struct http_req *req)
{
    struct export *export = req->state;
    bool all = wants(req, "application/x-ndjson");
    bool packed = !all && wants(req, "application/octet-stream");
    export->index = index_of(req);
    export->page.after = STR_EMPTY;
    export->open = true;
    arena_init(&export->arenas[0], ANSWER_BYTES_MAX);
    arena_init(&export->arenas[1], ANSWER_BYTES_MAX);
    enum status status = page_request(req, all, all || packed, &export->page);
    if (status == OK) {
        status = coll_dimension(vectors_of(req), export->index, &export->dimension, &req->err);
    }
    status = status == OK ? next_page(req, export) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    return all      ? http_stream(req, 200, "application/x-ndjson", -1)
           : packed ? packed_reply(req, export)
                    : page_reply(req, export);
}

/** Lines of the page, until there are enough for a piece. */
static enum status fill_piece(struct export *export, struct buf *out)
{
    while (export->at < export->count && out->len < PIECE_BYTES) {
        struct json_writer w;
        json_writer_init(&w, out);
        vector_answer_item(&w, &export->items[export->at++], export->dimension);
        TRY(json_writer_end(&w));
        TRY(buf_append_char(out, '\n'));
    }
    return OK;
}

/** A last line with the error, and no last chunk: a client that reads to the end sees both. */
static enum http_step export_cut(struct http_req *req, enum status kind)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    req->err.kind = kind;
    http_log_field_str(req, "error", str_of(status_name(kind)));
    if (http_error_body(&text, &req->err, req->request_id) == OK &&
        buf_append_char(&text, '\n') == OK) {
        enum status written = http_write(req, text.ptr, text.len);
        (void)written; /* cut in any case */
    }
    return HTTP_CUT;
}

static enum http_step items_pull(struct http_req *req)
{
    struct export *export = req->state;
    AUTO(buf_done) struct buf text;
    buf_init(&text, HTTP_CHUNK_BYTES);
    enum status status = OK;
    if (export->at == export->count && export->next.len > 0) {
        status = next_page(req, export);
    }
    if (status == OK) {
        status = fill_piece(export, &text);
        if (status != OK) {
            status = err_set(&req->err, status, "the item could not be written");
        }
    }
    if (status == OK && text.len > 0) {
        status = http_write(req, text.ptr, text.len);
    }
    if (status != OK) {
        return export_cut(req, status);
    }
    return export->at < export->count || export->next.len > 0 ? HTTP_AGAIN : HTTP_END;
}

static void items_done(struct http_req *req)
{
    struct export *export = req->state;
    if (export->open) {
        arena_done(&export->arenas[0]);
        arena_done(&export->arenas[1]);
    }
}

const struct http_handler vectors_add = { .end = add_end };
const struct http_handler vectors_search = { .end = search_end,
                                             .state_bytes = sizeof(struct search_state) };
const struct http_handler vectors_item_get = { .end = item_get_end };
const struct http_handler vectors_item_patch = { .end = item_patch_end };
const struct http_handler vectors_item_delete = { .end = item_delete_end };
const struct http_handler vectors_delete = { .end = delete_end };
const struct http_handler vectors_count = { .end = count_end };
const struct http_handler vectors_items = {
    .end = items_end, .pull = items_pull, .done = items_done, .state_bytes = sizeof(struct export)
};
