/*
 * POST /sql. The body is {"sql", "params", "format", "row_format"}; the answer streams. GET and
 * DELETE /sql/running list and cancel what runs.
 *
 * The head of the answer leaves when the engine has its first rows, so an error until then has its
 * own status. A later one is told in the body where the format has a place for it (NDJSON: a last
 * line; JSON: "error" behind the rows) and every format ends cut, so that a client that reads only
 * rows sees it as well. No thread waits for an engine: the request is parked on the query's
 * descriptor.
 */
#include "api/api_sql.h"

#include <poll.h>

#include "api/sql_request.h"
#include "base/mem.h"

/* after the deadline; the engine pool ends a query by itself before that */
enum { LATE_MS = 5000, RUNNING_BYTES_MAX = 16 * 1024 * 1024 };

struct api_sql {
    struct api_sql_opts opts;
    struct metric *queries, *rows, *bytes;
    struct metric *errors[E_KIND_COUNT];
};

struct sql_state {
    struct query *query;
    enum query_format format;
    deadline_ms deadline;
    uint64_t bytes;
    bool in_piece; /* the last bytes written end in the middle of rows */
};

/* --- the request --- */

static enum status start(struct http_req *req, struct sql_state *state)
{
    const struct api_sql *api = req->ctx;
    AUTO(buf_done) struct buf params;
    yyjson_val *body = NULL;
    struct query_opts opts = { .deadline = deadline_in(api->opts.timeout_ms) };
    buf_init(&params, 0);
    TRY(http_body_json(req, &body));
    TRY(sql_request_read(body, http_headers_get(&req->headers, STR("Accept")), &params, &opts,
                         &req->err));
    opts.id = req->request_id;
    state->format = opts.format;
    state->deadline = opts.deadline;
    return query_start(api->opts.service, &opts, &state->query, &req->err);
}

/* --- the answer --- */

static const char *content_type(enum query_format format)
{
    switch (format) {
    case QUERY_JSON:
    case QUERY_JSON_ARRAYS:
        return "application/json";
    case QUERY_NDJSON:
    case QUERY_NDJSON_ARRAYS:
        return "application/x-ndjson";
    case QUERY_ARROW:
        return "application/vnd.apache.arrow.stream";
    case QUERY_PARQUET:
        return "application/vnd.apache.parquet";
    case QUERY_CSV:
        break;
    }
    return "text/csv; charset=utf-8; header=present";
}

/** Every kind has its series from the start, so that counting needs no lock. */
static void make_metrics(struct api_sql *api)
{
    struct metrics *all = api->opts.metrics;
    api->queries = metric_get(all, METRIC_COUNTER, "lakehouse_queries_total", "",
                              "Statements that came in");
    api->rows = metric_get(all, METRIC_COUNTER, "lakehouse_query_rows_total", "",
                           "Rows of answers that ended well");
    api->bytes = metric_get(all, METRIC_COUNTER, "lakehouse_query_bytes_total", "",
                            "Bytes of answers that ended well");
    for (int kind = OK + 1; kind < E_KIND_COUNT; kind++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "code=\"%s\"", status_name((enum status)kind));
        api->errors[kind] = metric_get(all, METRIC_COUNTER, "lakehouse_query_errors_total", labels,
                                       "Statements that failed, by kind");
    }
}

static void count_error(const struct api_sql *api, enum status kind)
{
    metric_add(api->errors[kind], 1);
}

/** Parked until the engine speaks. */
static enum http_step wait(struct http_req *req, struct sql_state *state)
{
    return http_wait(req, query_fd(state->query), POLLIN, state->deadline + LATE_MS);
}

static enum status read_frame(struct http_req *req, struct sql_state *state,
                              struct engine_frame *frame)
{
    TRY(query_read(state->query, frame, &req->err));
    if (frame->type == ENGINE_NOTHING_YET && deadline_passed(state->deadline + LATE_MS)) {
        return err_set(&req->err, E_TIMEOUT, "the statement did not end within its time limit");
    }
    return OK;
}

/** Runs again each time the engine may have spoken, until the first rows are there. */
static enum http_step sql_end(struct http_req *req)
{
    struct sql_state *state = req->state;
    const struct api_sql *api = req->ctx;
    struct engine_frame frame;
    enum status kind = OK;
    if (state->query == NULL) {
        metric_add(api->queries, 1);
        kind = start(req, state);
    }
    if (kind == OK) {
        kind = read_frame(req, state, &frame);
    }
    if (kind != OK) {
        count_error(api, kind);
        return http_fail(req, kind);
    }
    if (frame.type == ENGINE_NOTHING_YET) {
        return wait(req, state);
    }
    /* the head; its columns are in the data too */
    return http_stream(req, 200, content_type(state->format), -1);
}

/** What the format has for an error behind rows. */
static enum status print_late_error(struct http_req *req, const struct sql_state *state,
                                    struct buf *out)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, 0);
    switch (state->format) {
    case QUERY_JSON:
    case QUERY_JSON_ARRAYS:
        TRY(http_error_body(&body, &req->err, req->request_id));
        TRY(buf_append(out, STR("],")));
        return buf_append(out, str_skip(buf_str(&body), 1));
    case QUERY_NDJSON:
    case QUERY_NDJSON_ARRAYS:
        TRY(http_error_body(out, &req->err, req->request_id));
        return buf_append_char(out, '\n');
    case QUERY_CSV:
    case QUERY_ARROW:
    case QUERY_PARQUET:
        break;
    }
    return OK;
}

static enum http_step fail_late(struct http_req *req, struct sql_state *state, enum status kind)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    req->err.kind = kind;
    count_error(req->ctx, kind);
    http_log_field_str(req, "error", str_of(status_name(kind)));
    if (!state->in_piece && print_late_error(req, state, &text) == OK && text.len > 0) {
        enum status written = http_write(req, text.ptr, text.len);
        (void)written; /* cut in any case */
    }
    return HTTP_CUT;
}

static enum http_step finish(struct http_req *req, const struct sql_state *state, struct str done)
{
    const struct api_sql *api = req->ctx;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    int64_t rows = 0;
    if (json_parse(done, &doc, NULL) == OK &&
        json_get_i64(yyjson_doc_get_root(doc), "rows", JSON_REQUIRED, &rows, NULL) == OK) {
        http_log_field_i64(req, "rows", rows);
        metric_add(api->rows, (double)rows);
    }
    metric_add(api->bytes, (double)state->bytes);
    return HTTP_END;
}

/** One frame a step: at most a chunk. */
static enum http_step sql_pull(struct http_req *req)
{
    struct sql_state *state = req->state;
    struct engine_frame frame;
    enum status kind = read_frame(req, state, &frame);
    if (kind == OK && frame.type == ENGINE_DATA) {
        kind = frame.bytes.len > HTTP_CHUNK_BYTES
                   ? err_set(&req->err, E_INTERNAL, "the engine sent %zu bytes at once",
                             frame.bytes.len)
                   : http_write(req, frame.bytes.ptr, frame.bytes.len);
        if (kind == OK) {
            state->bytes += frame.bytes.len;
            state->in_piece = frame.bytes.len == ENGINE_DATA_MAX;
        }
    }
    if (kind != OK) {
        return fail_late(req, state, kind);
    }
    switch (frame.type) {
    case ENGINE_NOTHING_YET:
        return wait(req, state);
    case ENGINE_DONE:
        return finish(req, state, frame.bytes);
    case ENGINE_HEAD:
    case ENGINE_DATA:
        break;
    }
    return HTTP_AGAIN;
}

static void sql_done(struct http_req *req)
{
    struct sql_state *state = req->state;
    query_free(state->query); /* which ends it, if the client has left */
    state->query = NULL;
}

static const struct http_handler sql_handler = {
    .end = sql_end, .pull = sql_pull, .done = sql_done, .state_bytes = sizeof(struct sql_state)
};

/* --- what runs now --- */

static void write_running(struct json_writer *w, const struct query_running *one)
{
    AUTO(buf_done) struct buf since;
    buf_init(&since, 64);
    jw_obj_begin(w);
    jw_kv_str(w, "request_id", one->id);
    jw_kv_str(w, "sql", one->sql);
    jw_kv_bool(w, "sql_is_cut", one->sql_is_cut);
    jw_kv_cstr(w, "state", one->progress.running ? "running" : "waiting");
    if (time_append_iso(&since, one->since_ms) == OK) {
        jw_kv_str(w, "since", buf_str(&since));
    }
    jw_kv_i64(w, "elapsed_ms", one->elapsed_ms);
    jw_kv_u64(w, "rows", one->progress.rows);
    jw_key(w, STR("share_done"));
    if (one->progress.share < 0) {
        jw_null(w);
    } else {
        jw_double(w, one->progress.share);
    }
    jw_obj_end(w);
}

static enum http_step running_end(struct http_req *req)
{
    const struct api_sql *api = req->ctx;
    struct query_running *list = NULL;
    size_t count = 0;
    enum status kind = query_running_list(api->opts.service, &req->arena, &list, &count, &req->err);
    if (kind != OK) {
        return http_fail(req, kind);
    }
    struct buf json;
    struct json_writer w;
    buf_init(&json, RUNNING_BYTES_MAX);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "running");
    for (size_t i = 0; i < count; i++) {
        write_running(&w, &list[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        buf_done(&json);
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static enum http_step cancel_end(struct http_req *req)
{
    const struct api_sql *api = req->ctx;
    struct str id = http_param(req, "id");
    if (query_cancel(api->opts.service, id) == 0) {
        return http_fail(req, err_set(&req->err, E_NOT_FOUND,
                                      "no statement with the request id '%.*s' runs", STR_ARG(id)));
    }
    return http_reply_empty(req, 204);
}

static const struct http_handler running_handler = { .end = running_end };
static const struct http_handler cancel_handler = { .end = cancel_end };

static const struct http_route routes[] = {
    { .method = HTTP_POST, .pattern = "/sql", .handler = &sql_handler, .flags = HTTP_JSON_BODY },
    { .method = HTTP_GET, .pattern = "/sql/running", .handler = &running_handler },
    { .method = HTTP_DELETE, .pattern = "/sql/running/{id}", .handler = &cancel_handler },
};

enum status api_sql_new(const struct api_sql_opts *opts, struct api_sql **out, struct err *err)
{
    const int64_t timeout_default_ms = 300 * 1000;
    struct api_sql *api = mem_zalloc(sizeof(*api));
    if (api == NULL) {
        return err_no_memory(err);
    }
    api->opts = *opts;
    if (api->opts.timeout_ms <= 0) {
        api->opts.timeout_ms = timeout_default_ms;
    }
    if (opts->metrics != NULL) {
        make_metrics(api);
    }
    *out = api;
    return OK;
}

void api_sql_free(struct api_sql *api)
{
    mem_free(api);
}

enum status api_sql_mount(struct api_sql *api, struct http_server *server, const char *prefix,
                          struct err *err)
{
    return http_server_mount(server, prefix, routes, ARRAY_LEN(routes), api, err);
}
