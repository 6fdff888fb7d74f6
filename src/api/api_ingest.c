/*
 * POST /ingest?name=T[&evolve=true][&format=csv]: a raw body, or the first file part of a multipart
 * form, becomes rows of a table.
 *
 *   begin   name and parameters, so that a bad request is refused before its body is read
 *   body    pieces go to the spool (through the multipart scanner where there is one)
 *   end     convert and commit; waits for the engine without a thread
 */
#include "api/api_ingest.h"

#include <poll.h>

#include "http/multipart.h"

struct ingest_request {
    struct ingest_upload *upload;
    struct multipart *multipart; /* NULL: a raw body */
    struct ingest_params params;
    bool format_given;
    bool ended;
    struct http_req *req;
};

static enum http_step ingest_step_begin(struct http_req *req);
static enum http_step ingest_step_body(struct http_req *req, struct str bytes);
static enum http_step ingest_step_end(struct http_req *req);
static void ingest_step_done(struct http_req *req);

static const struct http_handler ingest_handler = {
    .begin = ingest_step_begin,
    .body = ingest_step_body,
    .end = ingest_step_end,
    .done = ingest_step_done,
    .state_bytes = sizeof(struct ingest_request),
};

static const struct http_route routes[] = {
    { .method = HTTP_POST,
      .pattern = "/ingest",
      .handler = &ingest_handler,
      .timeout_ms = 24LL * 3600 * 1000 },
};

enum status api_ingest_mount(struct http_server *server, const char *prefix, struct ingest *ingest,
                             struct err *err)
{
    return http_server_mount(server, prefix, routes, ARRAY_LEN(routes), ingest, err);
}

/* --- parameters --- */

static enum status query_bool(struct http_req *req, const char *name, bool *out)
{
    struct str value;
    TRY(http_query(req, name, &value));
    if (value.ptr == NULL || str_eq(value, STR("false")) || str_eq(value, STR("0"))) {
        return OK;
    }
    if (!str_eq(value, STR("true")) && !str_eq(value, STR("1"))) {
        return err_set(&req->err, E_INVALID, "%s=%.*s: it is true or false", name, STR_ARG(value));
    }
    *out = true;
    return OK;
}

static enum status query_choice(struct http_req *req, const char *name, struct str usual,
                                struct str other, bool *other_out)
{
    struct str value;
    TRY(http_query(req, name, &value));
    *other_out = value.ptr != NULL && str_eq(value, other);
    return value.ptr == NULL || *other_out || str_eq(value, usual)
               ? OK
               : err_set(&req->err, E_INVALID, "%s=%.*s: it is %.*s or %.*s", name, STR_ARG(value),
                         STR_ARG(usual), STR_ARG(other));
}

/** Empty where it is not there. */
static enum status query_text(struct http_req *req, const char *name, struct str *out)
{
    struct str value;
    TRY(http_query(req, name, &value));
    *out = value.ptr == NULL ? STR_EMPTY : str_trim(value);
    return OK;
}

/** "a,b" */
static enum status read_keys(struct http_req *req, struct str text, struct ingest_params *params)
{
    size_t cap = 1;
    for (size_t i = 0; i < text.len; i++) {
        cap += text.ptr[i] == ',';
    }
    struct str *keys = arena_array(&req->arena, cap, sizeof(*keys));
    if (keys == NULL) {
        return err_no_memory(&req->err);
    }
    for (size_t i = 0; text.len > 0 && i < cap; i++) {
        keys[i] = str_trim(str_split(&text, ','));
        params->key_count++;
        if (keys[i].len == 0) {
            return err_set(&req->err, E_INVALID, "key= names a column that has no name");
        }
    }
    params->keys = keys;
    return OK;
}

static enum status read_mode(struct http_req *req, struct ingest_params *params)
{
    struct str mode, keys;
    TRY(query_text(req, "mode", &mode));
    if (str_eq(mode, STR("overwrite"))) {
        params->mode = INGEST_OVERWRITE;
    } else if (str_eq(mode, STR("upsert"))) {
        params->mode = INGEST_UPSERT;
    } else if (mode.len > 0 && !str_eq(mode, STR("append"))) {
        return err_set(&req->err, E_INVALID, "mode=%.*s: it is append, overwrite or upsert",
                       STR_ARG(mode));
    }
    TRY(query_text(req, "key", &keys));
    if ((params->mode == INGEST_UPSERT) != (keys.len > 0)) {
        return err_set(&req->err, E_INVALID,
                       "mode=upsert and key= go together: by which columns are rows the same?");
    }
    return read_keys(req, keys, params);
}

static enum status read_params(struct http_req *req, struct ingest_params *params,
                               bool *format_given)
{
    struct str name, format;
    TRY(http_query(req, "name", &name));
    if (name.ptr == NULL || name.len == 0) {
        return err_set(&req->err, E_INVALID, "which table? say ?name=T");
    }
    TRY(table_name_parse(&req->arena, name, &params->table, &req->err));
    TRY(table_name_check_plain(&params->table, &req->err));
    TRY(query_bool(req, "evolve", &params->evolve));
    TRY(query_choice(req, "on_error", STR("fail"), STR("skip"), &params->skip_bad));
    TRY(query_choice(req, "dedup", STR("on"), STR("off"), &params->dedup_off));
    TRY(http_query(req, "format", &format));
    *format_given = format.ptr != NULL;
    if (*format_given) {
        params->format = ingest_format_of(format, STR_EMPTY, STR_EMPTY);
        if (params->format == INGEST_GUESS) {
            return err_set(&req->err, E_INVALID,
                           "format=%.*s: it is csv, tsv, json, ndjson or parquet", STR_ARG(format));
        }
    }
    struct str types;
    TRY(http_query(req, "types", &types));
    if (types.ptr != NULL && types.len > 0) {
        TRY(ingest_types_parse(&req->arena, types, &params->types, &params->type_count, &req->err));
    }
    TRY(read_mode(req, params));
    TRY(query_text(req, "partition_by", &params->partition_by));
    TRY(query_text(req, "sort_by", &params->sort_by));
    struct str key = http_headers_get(&req->headers, STR("Idempotency-Key"));
    params->batch_key = key.ptr != NULL ? key : STR_EMPTY;
    return params->dedup_off && params->batch_key.len > 0
               ? err_set(&req->err, E_INVALID,
                         "dedup=off and Idempotency-Key say opposite things: send one of them")
               : OK;
}

/* --- the body --- */

/** The character set that a content type names. */
static enum status read_charset(struct http_req *req, struct str content_type,
                                struct ingest_params *params)
{
    struct str name = multipart_parameter(&req->arena, content_type, STR("charset"));
    if (name.ptr == NULL) {
        return OK;
    }
    params->charset_given = true;
    return charset_by_name(name, &params->charset)
               ? OK
               : err_set(
                     &req->err, E_TYPE,
                     "charset=%.*s: it is utf-8, iso-8859-1, windows-1252, utf-16, utf-16le or utf-16be",
                     STR_ARG(name));
}

static enum status open_upload(struct ingest_request *request, struct str content_type,
                               struct str file_name)
{
    struct http_req *req = request->req;
    if (!request->format_given) {
        request->params.format = ingest_format_of(STR_EMPTY, content_type, file_name);
    }
    request->params.packing = ingest_packing_of(file_name);
    TRY(read_charset(req, content_type, &request->params));
    return ingest_begin(req->ctx, &request->params, &request->upload, &req->err);
}

static enum status read_encoding(struct http_req *req, bool is_form, enum inflate_kind *out)
{
    struct str name = http_headers_get(&req->headers, STR("Content-Encoding"));
    if (name.ptr == NULL || name.len == 0 || str_eq_nocase(name, STR("identity"))) {
        return OK;
    }
    if (str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip"))) {
        *out = INFLATE_GZIP;
    } else if (str_eq_nocase(name, STR("zstd"))) {
        *out = INFLATE_ZSTD;
    } else {
        return err_set(&req->err, E_TYPE, "Content-Encoding: %.*s: it is gzip or zstd",
                       STR_ARG(name));
    }
    return !is_form
               ? OK
               : err_set(&req->err, E_TYPE,
                         "a form comes without Content-Encoding; the file in it may be packed");
}

static enum status on_part(void *ctx, const struct multipart_part *part, struct err *err)
{
    (void)err; /* request->req->err */
    return open_upload(ctx, part->content_type, part->file_name);
}

static enum status on_data(void *ctx, struct str bytes, struct err *err)
{
    struct ingest_request *request = ctx;
    return ingest_write(request->upload, bytes, err);
}

static enum http_step ingest_step_begin(struct http_req *req)
{
    struct ingest_request *request = req->state;
    request->req = req;
    enum status status = read_params(req, &request->params, &request->format_given);
    if (status == OK && !req->has_body) {
        status = err_set(&req->err, E_INVALID, "the request has no body: send the file in it");
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    struct str type = http_headers_get(&req->headers, STR("Content-Type"));
    status = read_encoding(req, multipart_is(type), &request->params.encoding);
    if (status != OK) {
        return http_fail(req, status);
    }
    if (multipart_is(type)) {
        struct multipart_events events = { on_part, on_data, request };
        status = multipart_new(type, &events, &request->multipart, &req->err);
    } else {
        request->params.size_expected = req->content_length > 0 ? (uint64_t)req->content_length : 0;
        status = open_upload(request, type, STR_EMPTY);
    }
    return status == OK ? HTTP_NEXT : http_fail(req, status);
}

static enum http_step ingest_step_body(struct http_req *req, struct str bytes)
{
    struct ingest_request *request = req->state;
    enum status status = request->multipart != NULL
                             ? multipart_feed(request->multipart, bytes, &req->err)
                             : ingest_write(request->upload, bytes, &req->err);
    return status == OK ? HTTP_NEXT : http_fail(req, status);
}

/* --- the answer --- */

static void write_skipped(struct json_writer *w, const struct ingest_result *result)
{
    jw_kv_obj(w, "skipped");
    jw_kv_u64(w, "count", result->skipped_count);
    jw_kv_arr(w, "rows");
    for (size_t i = 0; i < result->skipped_told; i++) {
        jw_obj_begin(w);
        jw_kv_u64(w, "line", result->skipped[i].line);
        jw_kv_str(w, "reason", result->skipped[i].reason);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static enum http_step answer(struct http_req *req, const struct ingest_result *result, bool upserts)
{
    struct buf json;
    struct json_writer w;
    buf_init(&json, 0);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "table", result->table);
    jw_kv_str(&w, "dataset_id", result->dataset_id);
    jw_kv_i64(&w, "rows", result->rows);
    jw_kv_i64(&w, "snapshot_id", result->snapshot_id);
    jw_kv_str(&w, "fingerprint", result->fingerprint);
    jw_kv_bool(&w, "created", result->created);
    jw_kv_bool(&w, "deduplicated", result->deduplicated);
    if (upserts) {
        jw_kv_i64(&w, "replaced", result->replaced);
    }
    jw_kv_arr(&w, "files");
    for (size_t i = 0; i < result->file_count; i++) {
        jw_obj_begin(&w);
        jw_kv_str(&w, "key", result->files[i].key);
        jw_kv_i64(&w, "size", result->files[i].size);
        jw_kv_i64(&w, "row_count", result->files[i].row_count);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    if (result->skipped != NULL) {
        write_skipped(&w, result);
        http_log_field_i64(req, "skipped", (int64_t)result->skipped_count);
    }
    jw_obj_end(&w);
    http_log_field_str(req, "table", result->table);
    http_log_field_i64(req, "rows", result->rows);
    if (json_writer_end(&w) != OK) {
        buf_done(&json);
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 200, &json);
}

static enum status end_body(struct ingest_request *request)
{
    struct http_req *req = request->req;
    if (request->multipart != NULL) {
        TRY(multipart_end(request->multipart, &req->err));
    }
    return ingest_end(request->upload, &req->err);
}

static enum http_step ingest_step_end(struct http_req *req)
{
    struct ingest_request *request = req->state;
    enum status status = OK;
    if (!request->ended) {
        request->ended = true;
        status = end_body(request);
    }
    bool done = false;
    if (status == OK) {
        status = ingest_step(request->upload, &done, &req->err);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    if (done) {
        return answer(req, ingest_result(request->upload), request->params.mode == INGEST_UPSERT);
    }
    int fd = ingest_fd(request->upload);
    return http_wait(req, fd, POLLIN, fd == -1 ? deadline_in(0) : req->deadline);
}

static void ingest_step_done(struct http_req *req)
{
    struct ingest_request *request = req->state;
    multipart_free(request->multipart);
    ingest_upload_free(request->upload);
}
