/*
 * The S3 API as a service: settings into an object, and the steps of a request. One handler takes
 * all paths: what a request is follows from its parameters, not from its path.
 */
#include "s3api/s3api_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    BODY_TIMEOUT_MS = 3600 * 1000,
    UPLOAD_IDLE_MS_DEFAULT = 7 * 24 * 3600 * 1000,
    IGNORED_BODY_BYTES_MAX = 64 * 1024, /* of an operation that takes none */
};
static const uint64_t OBJECT_BYTES_MAX_DEFAULT = 5368709120; /* S3's, of one PUT */

/* --- life --- */

static enum status copy_text(const char *text, char **out, struct err *err)
{
    struct str from = str_of(text);
    *out = mem_zalloc(from.len + 1);
    if (*out == NULL) {
        return err_no_memory(err);
    }
    memcpy(*out, from.len > 0 ? from.ptr : "", from.len);
    return OK;
}

static enum status copy_folders(struct s3api *api, const struct s3api_opts *opts, struct err *err)
{
    api->folders = mem_zalloc((opts->folder_count + 1) * sizeof(*api->folders));
    if (api->folders == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < opts->folder_count; i++) {
        char *name = NULL;
        TRY(s3api_bucket_name_check(str_of(opts->folders[i].name), err));
        TRY(copy_text(opts->folders[i].name, &name, err));
        api->folders[i] = opts->folders[i];
        api->folders[i].name = name;
        api->folder_count++;
    }
    return OK;
}

enum status s3api_new(const struct s3api_opts *opts, struct s3api **out, struct err *err)
{
    struct s3api *api = mem_zalloc(sizeof(*api));
    enum status status = OK;
    if (api == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&api->lock, NULL);
    map_init(&api->buckets);
    api->store = opts->store;
    api->local = store_is_local(opts->store);
    api->anonymous = opts->anonymous;
    api->metrics = opts->metrics;
    api->clock = opts->clock != NULL ? opts->clock : clock_real();
    api->object_bytes_max = opts->object_bytes_max != 0 ? opts->object_bytes_max
                                                        : OBJECT_BYTES_MAX_DEFAULT;
    api->started_ms = clock_wall_ms(api->clock);
    api->upload_idle_ms = opts->upload_idle_ms != 0 ? opts->upload_idle_ms : UPLOAD_IDLE_MS_DEFAULT;
    if ((status = copy_text(opts->region, &api->region, err)) != OK ||
        (status = copy_text(opts->domain, &api->domain, err)) != OK ||
        (status = copy_folders(api, opts, err)) != OK ||
        (status = aws_keyring_new(opts->grants, opts->grant_count, STR_EMPTY, &api->keyring,
                                  err)) != OK) {
        s3api_free(api);
        return status;
    }
    if (opts->cluster_secret.len > 0) {
        aws_keyring_take_lent(api->keyring, opts->cluster_secret);
    }
    *out = api;
    return OK;
}

void s3api_free(struct s3api *api)
{
    if (api == NULL) {
        return;
    }
    s3api_buckets_done(api);
    map_done(&api->buckets);
    for (size_t i = 0; i < api->folder_count; i++) {
        mem_free((char *)(uintptr_t)api->folders[i].name);
    }
    mem_free(api->folders);
    aws_keyring_free(api->keyring);
    mem_free(api->region);
    mem_free(api->domain);
    pthread_mutex_destroy(&api->lock);
    mem_free(api);
}

/* --- steps --- */

/** What needs nothing but the request: on the HTTP thread. */
static enum status look(struct s3api_request *r)
{
    TRY(s3api_request_read(r));
    TRY(s3api_op_find(r));
    http_log_field_str(r->http, "operation", str_of(r->op->name));
    if (r->op->method != HTTP_OPTIONS) {
        TRY(s3api_authenticate(r));
        TRY(s3api_body_check(r));
    }
    return r->op->check != NULL ? r->op->check(r) : OK;
}

static enum status begin(struct s3api_request *r)
{
    if (r->has_bucket && r->op->end != s3api_create_bucket) {
        TRY(s3api_bucket_find(r, r->bucket_name, &r->bucket));
    }
    if (r->op->method != HTTP_OPTIONS) {
        TRY(s3api_authorize(r));
    }
    if (r->op->refusal != AWS_NONE) {
        return s3api_err(r, r->op->refusal, "%s", "");
    }
    TRY(s3api_body_begin(r));
    return r->op->begin != NULL ? r->op->begin(r) : OK;
}

static enum status finish(struct s3api_request *r)
{
    if (r->op->body != S3_BODY_NONE) {
        TRY(s3api_body_end(r));
    }
    return r->op->end(r);
}

static enum http_step on_end(struct http_req *req)
{
    struct s3api_request *r = req->state;
    enum status status = finish(r);
    req->done_is_quick = r->writer == NULL && r->sent.object == NULL;
    return status == OK ? HTTP_END : s3api_reply_failure(r, status);
}

/** Reads of a file that is likely in memory are made in place: handing over costs several times as
 * much. Sent it is by sendfile, which happens there anyway. */
static bool quick(const struct s3api_request *r)
{
    return r->op->end == s3api_get_object && r->api->local &&
           s3api_bucket_known(r->api, r->bucket_name);
}

/** A body that comes in one piece is waited for: to begin, to take it and to end are then one step
 * on a worker. A client that asks first is told before it sends. */
static bool deferrable(const struct http_req *req)
{
    const struct s3api_request *r = req->state;
    return r->op->body != S3_BODY_NONE && req->content_length > 0 &&
           req->content_length <= HTTP_CHUNK_BYTES && !http_client_expects(req);
}

static enum http_step on_begin(struct http_req *req)
{
    struct s3api_request *r = req->state;
    if (r->api == NULL) {
        r->api = req->ctx;
        r->http = req;
        r->arena = &req->arena;
        r->err = &req->err;
        buf_init(&r->xml_in, S3_XML_BYTES_MAX);
        enum status status = look(r);
        if (status != OK) {
            return s3api_reply_failure(r, status);
        }
        r->in_place = quick(r);
        if (!r->in_place) {
            r->deferred = deferrable(req);
            return r->deferred ? HTTP_NEXT : HTTP_OFFLOAD;
        }
    } else {
        r->in_place = r->offload = false;
    }
    enum status status = begin(r);
    if (status != OK) {
        return s3api_reply_failure(r, status);
    }
    /* nothing more will come: no need to be called again */
    enum http_step step = req->has_body ? HTTP_NEXT : on_end(req);
    return r->offload ? HTTP_OFFLOAD : step;
}

static enum http_step on_body(struct http_req *req, struct str bytes)
{
    struct s3api_request *r = req->state;
    enum status status = OK;
    if (r->deferred && !r->offload) {
        r->offload = true;
        return HTTP_OFFLOAD;
    }
    if (r->deferred) {
        r->deferred = r->offload = false;
        status = begin(r);
        if (status != OK) {
            return s3api_reply_failure(r, status);
        }
    }
    if (r->op->body == S3_BODY_NONE) {
        r->body.size += bytes.len;
        status = r->body.size > IGNORED_BODY_BYTES_MAX
                     ? s3api_err(r, AWS_INVALID_REQUEST, "%s takes no body", r->op->name)
                     : OK;
    } else {
        status = s3api_body_take(r, bytes);
    }
    return status == OK ? HTTP_NEXT : s3api_reply_failure(r, status);
}

static enum http_step on_pull(struct http_req *req)
{
    struct s3api_request *r = req->state;
    return store_send_pull(req, &r->sent);
}

static void count(const struct s3api_request *r, bool failed)
{
    char labels[128];
    snprintf(labels, sizeof labels, "operation=\"%s\",failed=\"%s\"",
             r->op != NULL ? r->op->name : "(none)", failed ? "yes" : "no");
    metric_add(metric_get(r->api->metrics, METRIC_COUNTER, "lakehouse_s3_requests_total", labels,
                          "Requests of the S3 API by operation."),
               1);
}

static void on_done(struct http_req *req)
{
    struct s3api_request *r = req->state;
    store_writer_abort(r->writer);
    store_object_close(r->sent.object);
    s3api_body_done(r);
    buf_done(&r->xml_in);
    count(r, req->failed || req->err.kind != OK);
}

const struct http_handler s3api_handler = {
    .begin = on_begin,
    .body = on_body,
    .end = on_end,
    .pull = on_pull,
    .done = on_done,
    .state_bytes = sizeof(struct s3api_request),
};

void s3api_edge(struct http_server_opts *opts)
{
    opts->signed_edge = true;
    opts->error_body = s3api_error_body;
    opts->labels = "door=\"s3\"";
}

enum status s3api_mount(struct s3api *api, struct http_server *server, struct err *err)
{
    static const struct http_route routes[] = {
        { .method = HTTP_METHOD_OTHER,
          .pattern = "/",
          .handler = &s3api_handler,
          .flags = HTTP_INLINE,
          .timeout_ms = BODY_TIMEOUT_MS },
        { .method = HTTP_METHOD_OTHER,
          .pattern = "/{path*}",
          .handler = &s3api_handler,
          .flags = HTTP_ANY_TAIL | HTTP_INLINE,
          .timeout_ms = BODY_TIMEOUT_MS },
    };
    return http_server_mount(server, "", routes, ARRAY_LEN(routes), api, err);
}
