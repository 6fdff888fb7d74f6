/*
 * Signing requests for clients that hold no key: the client sends what it is about to ask of the S3
 * API, and gets the headers that make it a signed request.
 *
 * It is signed with a key that is lent for the table. So what may be asked is judged where every
 * request is, by the S3 API and that key's prefix; nothing is judged twice.
 *
 * Source   Apache Iceberg, rest-catalog-open-api.yaml (RemoteSignRequest), and s3-signer-open-api
 */
#include "icerest/icerest_priv.h"

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

/** The request of the client as the S3 API will see it. */
struct wanted {
    struct str method, region, uri, path, query;
    struct http_headers headers;
    struct str payload;
    bool has_payload; /* the client sends x-amz-content-sha256 itself */
};

/** Path and query behind the S3 API's own URL; another server's requests are not signed. */
static enum status read_uri(struct http_req *req, struct wanted *w)
{
    struct str base = str_of(icerest_of(req)->s3_url);
    base.len -= str_ends(base, STR("/")) ? 1 : 0;
    struct str rest = str_skip(w->uri, str_starts(w->uri, base) ? base.len : w->uri.len);
    if (rest.len == 0 || rest.ptr[0] != '/') {
        return err_set(&req->err, E_INVALID, "\"uri\" must begin with \"%.*s/\"", STR_ARG(base));
    }
    struct str host = str_skip(base, str_starts(base, STR("https://")) ? 8 : 7);
    size_t slash = str_find_char(host, '/');
    size_t question = str_find_char(rest, '?');
    w->path = question == SIZE_MAX ? rest : str_take(rest, question);
    w->query = question == SIZE_MAX ? STR_EMPTY : str_skip(rest, question + 1);
    return http_headers_add(&w->headers, &req->arena, STR("Host"),
                            slash == SIZE_MAX ? host : str_take(host, slash)) == OK
               ? OK
               : err_no_memory(&req->err);
}

/** What the S3 API wants signed; others may change on their way. Those that signing sets are
 * dropped. */
static bool is_signed(struct str name)
{
    static const char *const set[] = { "x-amz-date", "x-amz-content-sha256",
                                       "x-amz-security-token" };
    for (size_t i = 0; i < ARRAY_LEN(set); i++) {
        if (str_eq_nocase(name, str_of(set[i]))) {
            return false;
        }
    }
    return str_eq_nocase(name, STR("content-type")) || str_eq_nocase(name, STR("content-md5")) ||
           (name.len > 6 && str_eq_nocase(str_take(name, 6), STR("x-amz-")));
}

static enum status take_header(struct http_req *req, struct wanted *w, struct str name,
                               yyjson_val *values)
{
    size_t i, max;
    yyjson_val *value;
    if (!yyjson_is_arr(values)) {
        return err_set(&req->err, E_INVALID, "\"headers\" must hold lists of texts");
    }
    yyjson_arr_foreach(values, i, max, value)
    {
        struct str text = str_from(yyjson_get_str(value), yyjson_get_len(value));
        if (text.ptr == NULL || str_has_control(text) || str_has_control(name)) {
            return err_set(&req->err, E_INVALID, "\"headers\" must hold lists of texts");
        }
        if (str_eq_nocase(name, STR("x-amz-content-sha256"))) {
            w->payload = text;
            w->has_payload = true;
        }
        if (is_signed(name) && http_headers_add(&w->headers, &req->arena, name, text) != OK) {
            return err_no_memory(&req->err);
        }
    }
    return OK;
}

static enum status read_request(struct http_req *req, struct wanted *w)
{
    size_t i, max;
    yyjson_val *root, *key, *values, *headers = NULL;
    struct err *err = &req->err;
    *w = (struct wanted){ .payload = STR("UNSIGNED-PAYLOAD") };
    TRY(http_body_json(req, &root));
    TRY(json_get_str(root, "method", JSON_REQUIRED, &w->method, err));
    TRY(json_get_str(root, "region", JSON_REQUIRED, &w->region, err));
    TRY(json_get_str(root, "uri", JSON_REQUIRED, &w->uri, err));
    TRY(json_get_obj(root, "headers", JSON_REQUIRED, &headers, err));
    TRY(read_uri(req, w));
    yyjson_obj_foreach(headers, i, max, key, values)
    {
        TRY(take_header(req, w, str_from(yyjson_get_str(key), yyjson_get_len(key)), values));
    }
    if (str_starts(w->payload, STR("STREAMING-AWS4"))) {
        return err_set(err, E_INVALID,
                       "a body in signed frames needs the key itself: send UNSIGNED-PAYLOAD");
    }
    return OK;
}

/** The headers that make it a signed request, behind the first `from`. */
static enum status sign(struct http_req *req, struct wanted *w, const struct aws_vended *key)
{
    const struct aws_request request = { w->method, w->path, w->query, NULL };
    const struct aws_sign_opts opts = {
        .key = { str_of(key->access_key), str_of(key->secret_key), key->session_token },
        .region = w->region,
        .now_ms = clock_wall_ms(icerest_of(req)->clock),
        .payload = w->payload,
    };
    return aws_sign(&request, &opts, &w->headers, &req->arena, &req->err);
}

static void write_header(struct json_writer *w, const struct http_header *header)
{
    jw_key(w, header->name);
    jw_arr_begin(w);
    jw_str(w, header->value);
    jw_arr_end(w);
}

static enum http_step sign_reply(struct http_req *req, const struct wanted *wanted, size_t from)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "uri", wanted->uri);
    jw_kv_obj(&w, "headers");
    for (size_t i = from; i < wanted->headers.count; i++) {
        const struct http_header *header = &wanted->headers.items[i];
        if (!wanted->has_payload || !str_eq(header->name, STR("x-amz-content-sha256"))) {
            write_header(&w, header);
        }
    }
    jw_obj_end(&w);
    jw_obj_end(&w);
    http_reply_header(req, "Cache-Control", STR("no-store"));
    return icerest_reply(req, &w, &json);
}

enum http_step icerest_sign(struct http_req *req, const struct icerest_access *access)
{
    struct wanted wanted;
    if (!access->lent) {
        return http_fail(req,
                         err_set(&req->err, E_INVALID, "nothing is signed for tables at \"%.*s\"",
                                 STR_ARG(access->location)));
    }
    enum status status = read_request(req, &wanted);
    size_t from = wanted.headers.count;
    status = status == OK ? sign(req, &wanted, &access->key) : status;
    return status == OK ? sign_reply(req, &wanted, from) : http_fail(req, status);
}
