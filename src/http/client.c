/*
 * The blocking client: one libcurl easy handle for each call at a time, kept afterwards with its
 * connection.
 *
 * What libcurl would do by itself and must not: follow redirects, use a proxy for loopback, resolve
 * dots in paths, send a request again that is not safe to repeat (it does when a kept connection
 * dies before the answer, also for POST; so those always get a connection of their own), and wait a
 * second for `100 Continue` with bodies that are small.
 */
#include "http/client.h"

#include <curl/curl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"

enum {
    KEPT_DEFAULT = 16,
    CONNECT_MS_DEFAULT = 5000,
    CALL_MS_DEFAULT = 60 * 1000,
    /* larger bodies ask first, so that a refusal comes before they are sent */
    EXPECT_BYTES = 1024 * 1024,
    EXPECT_MS = 1000,
    ERROR_BODY_MAX = 1024 * 1024, /* of an error answer whose caller streams the good ones */
};

struct http_client {
    char *base_url;
    char *service;
    char *authorization; /* "Authorization: ..." or NULL */
    char *ca_file;       /* or NULL */
    bool loopback;
    int64_t connect_timeout_ms;
    pthread_mutex_t lock;
    CURL **kept;       /* [kept_max]; guarded by lock */
    size_t kept_count; /* guarded by lock */
    size_t kept_max;
    int64_t grace_ms; /* published by `interrupted` */
    /* Since when, ms of the monotonic clock; 0: it is not. Published with release. */
    _Atomic int64_t interrupted;
    _Atomic bool given_up; /* relaxed: a hint that spares a wait */
};

/* One call under way, for libcurl's callbacks. */
struct transfer {
    const struct http_call *call;
    struct http_answer *answer;
    struct str body_left;
    struct err err; /* of a callback of the caller's, or ours */
    struct http_client *client;
    curl_off_t moved; /* bytes up to the last look, in both directions */
    int64_t moved_ms; /* when that grew; of the monotonic clock */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_setup(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- life --- */

enum status http_client_new(const struct http_client_opts *opts, struct http_client **out,
                            struct err *err)
{
    struct http_url url;
    TRY(http_url_parse(str_of(opts->base_url), &url, err));
    (void)pthread_once(&curl_once, curl_setup);
    struct http_client *client = mem_zalloc(sizeof(*client));
    if (client == NULL) {
        return err_no_memory(err);
    }
    struct str base = str_of(opts->base_url),
               service = str_of(opts->service != NULL ? opts->service : "the server");
    while (base.len > 0 && base.ptr[base.len - 1] == '/') {
        base.len--;
    }
    client->kept_max = opts->connections_max > 0 ? opts->connections_max : KEPT_DEFAULT;
    client->connect_timeout_ms = opts->connect_timeout_ms > 0 ? opts->connect_timeout_ms
                                                              : CONNECT_MS_DEFAULT;
    client->loopback = http_address_is_loopback(&url.address);
    client->base_url = mem_strndup(base.ptr, base.len);
    client->service = mem_strndup(service.ptr, service.len);
    client->kept = mem_zalloc(client->kept_max * sizeof(CURL *));
    pthread_mutex_init(&client->lock, NULL);
    bool whole = client->base_url != NULL && client->service != NULL && client->kept != NULL;
    if (opts->ca_file != NULL && opts->ca_file[0] != '\0') {
        client->ca_file = mem_strndup(opts->ca_file, strlen(opts->ca_file));
        whole = whole && client->ca_file != NULL;
    }
    if (opts->authorization.len > 0) {
        struct str name = STR("Authorization: ");
        client->authorization = mem_alloc(name.len + opts->authorization.len + 1);
        whole = whole && client->authorization != NULL;
        if (client->authorization != NULL) {
            memcpy(client->authorization, name.ptr, name.len);
            memcpy(client->authorization + name.len, opts->authorization.ptr,
                   opts->authorization.len);
            client->authorization[name.len + opts->authorization.len] = '\0';
        }
    }
    if (!whole) {
        http_client_free(client);
        return err_no_memory(err);
    }
    *out = client;
    return OK;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL) {
        return;
    }
    for (size_t i = 0; i < client->kept_count; i++) {
        curl_easy_cleanup(client->kept[i]);
    }
    pthread_mutex_destroy(&client->lock);
    mem_free(client->kept);
    mem_free(client->base_url);
    mem_free(client->service);
    mem_free(client->authorization);
    mem_free(client->ca_file);
    mem_free(client);
}

void http_client_interrupt(struct http_client *client, int64_t grace_ms)
{
    int64_t before = 0;
    client->grace_ms = grace_ms;
    (void)atomic_compare_exchange_strong_explicit(&client->interrupted, &before,
                                                  clock_mono_ms(clock_real()), memory_order_release,
                                                  memory_order_relaxed);
}

static CURL *take_handle(struct http_client *client)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->kept_count > 0) {
        curl = client->kept[--client->kept_count];
    }
    pthread_mutex_unlock(&client->lock);
    if (curl == NULL) {
        return curl_easy_init();
    }
    curl_easy_reset(curl); /* keeps its connections */
    return curl;
}

/** `whole`: its last call has come to its end. What libcurl remembers of one that has not survives
 * curl_easy_reset (7.88: that the body is to be rewound), and would be the next call's. */
static void keep_handle(struct http_client *client, CURL *curl, bool whole)
{
    pthread_mutex_lock(&client->lock);
    bool room = whole && client->kept_count < client->kept_max;
    if (room) {
        client->kept[client->kept_count++] = curl;
    }
    pthread_mutex_unlock(&client->lock);
    if (!room) {
        curl_easy_cleanup(curl);
    }
}

/* --- libcurl's callbacks --- */

static size_t on_header(char *ptr, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct http_answer *answer = transfer->answer;
    struct str line = str_trim(str_from(ptr, size * count));
    if (str_starts(line, STR("HTTP/"))) { /* also the one after a 100 */
        size_t space = str_find_char(line, ' ');
        uint64_t status = 0;
        struct str digits = space == SIZE_MAX ? STR_EMPTY : str_take(str_skip(line, space + 1), 3);
        if (!str_to_u64(digits, &status)) {
            (void)err_set(&transfer->err, E_UPSTREAM, "the answer begins with \"%.*s\"",
                          STR_ARG(str_take(line, 100)));
            return 0;
        }
        answer->status = (int)status;
        answer->headers.count = 0;
        return size * count;
    }
    size_t colon = str_find_char(line, ':');
    if (colon == SIZE_MAX) {
        return size * count;
    }
    if (http_headers_add(&answer->headers, &answer->arena, str_trim(str_take(line, colon)),
                         str_trim(str_skip(line, colon + 1))) != OK) {
        (void)err_no_memory(&transfer->err);
        return 0;
    }
    return size * count;
}

static size_t on_body(char *ptr, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    struct str bytes = str_from(ptr, size * count);
    bool good = transfer->answer->status >= 200 && transfer->answer->status < 300;
    if (good && transfer->call->write_body != NULL) {
        enum status kind = transfer->call->write_body(transfer->call->ctx, bytes, &transfer->err);
        if (kind != OK && transfer->err.kind == OK) {
            (void)err_set(&transfer->err, kind, "the answer could not be taken");
        }
        return kind == OK ? bytes.len : 0;
    }
    enum status kind = buf_append(&transfer->answer->body, bytes);
    if (kind == E_TOO_LARGE) {
        (void)err_set(&transfer->err, E_TOO_LARGE,
                      "the answer is larger than the limit of %zu bytes",
                      transfer->answer->body.max);
    } else if (kind != OK) {
        (void)err_no_memory(&transfer->err);
    }
    return kind == OK ? bytes.len : 0;
}

static size_t on_read(char *ptr, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    size_t cap = size * count, got = 0;
    if (transfer->call->read_body == NULL) {
        got = transfer->body_left.len < cap ? transfer->body_left.len : cap;
        if (got > 0) {
            memcpy(ptr, transfer->body_left.ptr, got);
            transfer->body_left = str_skip(transfer->body_left, got);
        }
        return got;
    }
    enum status kind = transfer->call->read_body(transfer->call->ctx, ptr, cap, &got,
                                                 &transfer->err);
    if (kind != OK) {
        if (transfer->err.kind == OK) {
            (void)err_set(&transfer->err, kind, "the body could not be read");
        }
        return CURL_READFUNC_ABORT;
    }
    return got;
}

/* libcurl goes back to the start when it repeats a request over a fresh connection. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *transfer = ctx;
    if (transfer->call->read_body != NULL || origin != SEEK_SET || offset < 0 ||
        (uint64_t)offset > transfer->call->body.len) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    transfer->body_left = str_skip(transfer->call->body, (size_t)offset);
    return CURL_SEEKFUNC_OK;
}

/* Called when something has moved, and at least once a second. */
static int on_progress(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    struct transfer *transfer = ctx;
    struct http_client *client = transfer->client;
    int64_t since = atomic_load_explicit(&client->interrupted, memory_order_acquire);
    (void)down_all;
    (void)up_all;
    if (since == 0) {
        return 0;
    }
    int64_t now = clock_mono_ms(clock_real());
    transfer->moved_ms = down + up > transfer->moved ? now : transfer->moved_ms;
    transfer->moved = down + up;
    int64_t still_since = transfer->moved_ms > since ? transfer->moved_ms : since;
    if (now - still_since < client->grace_ms) {
        return 0;
    }
    atomic_store_explicit(&client->given_up, true, memory_order_relaxed);
    (void)err_set(&transfer->err, E_UPSTREAM,
                  "%s at %s did not answer while this process waited to stop", client->service,
                  client->base_url);
    return 1;
}

/* --- one call --- */

static bool has_condition(const struct http_call *call)
{
    for (size_t i = 0; i < call->header_count; i++) {
        if (str_eq_nocase(call->headers[i].name, STR("if-match")) ||
            str_eq_nocase(call->headers[i].name, STR("if-none-match"))) {
            return true;
        }
    }
    return false;
}

static bool may_repeat(const struct http_call *call)
{
    if (call->read_body != NULL) {
        return false; /* it cannot be read twice */
    }
    if (call->repeatable) {
        return true;
    }
    switch (call->method) {
    case HTTP_GET:
    case HTTP_HEAD:
    case HTTP_OPTIONS:
    case HTTP_DELETE:
        return true;
    case HTTP_PUT:
        return !has_condition(call);
    case HTTP_POST:
    case HTTP_PATCH:
    case HTTP_METHOD_OTHER:
        break;
    }
    return false;
}

static bool add_line(struct curl_slist **list, struct buf *scratch)
{
    const char *text = buf_cstr(scratch);
    struct curl_slist *longer = text == NULL ? NULL : curl_slist_append(*list, text);
    buf_clear(scratch);
    *list = longer != NULL ? longer : *list;
    return longer != NULL;
}

static enum status make_headers(const struct http_client *client, const struct http_call *call,
                                struct curl_slist **list, struct err *err)
{
    struct buf line;
    buf_init(&line, 64 * 1024);
    bool fine = true, big = call->read_body != NULL
                                ? call->body_length < 0 || call->body_length > EXPECT_BYTES
                                : call->body.len > EXPECT_BYTES;
    for (size_t i = 0; i < call->header_count && fine; i++) {
        const struct http_header *header = &call->headers[i];
        if (str_has_control(header->name) || str_has_control(header->value) ||
            header->name.len + header->value.len > 60 * 1024) {
            buf_done(&line);
            return err_set(err, E_INVALID, "a header of the call to %s cannot be sent",
                           client->service);
        }
        /* "Name;" is how libcurl is told to send an empty one */
        fine = buf_printf(&line, header->value.len > 0 ? "%.*s: %.*s" : "%.*s;%.*s",
                          STR_ARG(header->name), STR_ARG(header->value)) == OK &&
               add_line(list, &line);
    }
    if (fine && call->request_id.len > 0) {
        fine = buf_printf(&line, "X-Request-Id: %.*s", STR_ARG(call->request_id)) == OK &&
               add_line(list, &line);
    }
    if (fine && client->authorization != NULL) {
        fine = buf_append(&line, str_of(client->authorization)) == OK && add_line(list, &line);
    }
    fine = fine && buf_append(&line, big ? STR("Expect: 100-continue") : STR("Expect:")) == OK &&
           add_line(list, &line);
    buf_done(&line);
    return fine ? OK : err_no_memory(err);
}

static void set_method(CURL *curl, const struct http_call *call)
{
    bool body = call->read_body != NULL || call->body.len > 0;
    bool wants_body = call->method == HTTP_POST || call->method == HTTP_PUT ||
                      call->method == HTTP_PATCH;
    if (call->method == HTTP_HEAD) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        return;
    }
    if (body || wants_body) {
        curl_off_t length = call->read_body != NULL ? (curl_off_t)call->body_length
                                                    : (curl_off_t)call->body.len;
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, length);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http_method_name(call->method));
}

static void set_options(const struct http_client *client, CURL *curl, struct transfer *transfer,
                        int64_t timeout_ms)
{
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (client->loopback) {
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    }
    if (client->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca_file);
    }
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_MS);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    if (!may_repeat(transfer->call)) {
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    }
}

/* What libcurl's result means to the caller. */
static enum status judge(const struct http_client *client, CURLcode code, const char *detail,
                         struct transfer *transfer, struct err *err)
{
    if (code == CURLE_OK) {
        return OK;
    }
    if (transfer->err.kind != OK) {
        unsigned retry_after_s = transfer->err.retry_after_s;
        enum status kind = err_set(err, transfer->err.kind, "%s", transfer->err.msg);
        if (err != NULL) {
            err->retry_after_s = retry_after_s;
        }
        return kind;
    }
    const char *why = detail[0] != '\0' ? detail : curl_easy_strerror(code);
    bool unreached = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
                     code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
                     code == CURLE_SSL_CACERT_BADFILE;
    transfer->answer->unreached = unreached;
    transfer->answer->untrusted = code == CURLE_PEER_FAILED_VERIFICATION ||
                                  code == CURLE_SSL_CACERT_BADFILE;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        return err_set(err, E_TIMEOUT, "%s at %s did not answer in time", client->service,
                       client->base_url);
    }
    if (code == CURLE_OUT_OF_MEMORY) {
        return err_no_memory(err);
    }
    return err_set(err, E_UPSTREAM,
                   unreached ? "%s cannot be reached at %s: %s" : "%s at %s broke off: %s",
                   client->service, client->base_url, why);
}

enum status http_client_call(struct http_client *client, const struct http_call *call,
                             struct http_answer *answer, struct err *err)
{
    struct transfer transfer = { .call = call,
                                 .answer = answer,
                                 .body_left = call->body,
                                 .client = client,
                                 .moved_ms = clock_mono_ms(clock_real()) };
    uint64_t body_max = call->body_bytes_max > 0 ? call->body_bytes_max : 64 * 1024 * 1024;
    *answer = (struct http_answer){ .status = 0 };
    arena_init(&answer->arena, 0);
    buf_init(&answer->body, call->write_body != NULL ? ERROR_BODY_MAX : body_max);
    if (call->target.len == 0 || call->target.ptr[0] != '/' || str_has_control(call->target)) {
        return err_set(err, E_INVALID, "the target \"%.*s\" is no encoded path",
                       STR_ARG(call->target));
    }
    if (atomic_load_explicit(&client->given_up, memory_order_relaxed)) {
        answer->unreached = true;
        return err_set(err, E_UPSTREAM, "%s was not asked: this process stops", client->service);
    }
    int64_t timeout_ms = CALL_MS_DEFAULT;
    if (call->deadline == DEADLINE_NEVER) {
        timeout_ms = 0;
    } else if (call->deadline != 0) {
        timeout_ms = deadline_poll_ms(call->deadline);
        if (timeout_ms <= 0) {
            answer->unreached = true;
            return err_set(err, E_TIMEOUT, "no time was left to ask %s", client->service);
        }
    }
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    struct str url = arena_printf(&answer->arena, "%s%.*s", client->base_url,
                                  STR_ARG(call->target));
    CURL *curl = url.ptr == NULL ? NULL : take_handle(client);
    if (curl == NULL) {
        return err_no_memory(err);
    }
    CURLcode code = CURLE_OK;
    enum status kind = make_headers(client, call, &headers, err);
    if (kind == OK) {
        set_options(client, curl, &transfer, timeout_ms);
        set_method(curl, call);
        curl_easy_setopt(curl, CURLOPT_URL, url.ptr);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
        code = curl_easy_perform(curl);
        kind = judge(client, code, detail, &transfer, err);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    }
    curl_slist_free_all(headers);
    keep_handle(client, curl, code == CURLE_OK);
    return kind;
}

enum status http_client_call_ok(struct http_client *client, const struct http_call *call,
                                struct http_answer *answer, struct err *err)
{
    TRY(http_client_call(client, call, answer, err));
    if (answer->status < 400) {
        return OK;
    }
    enum status kind = http_error_parse(answer->status, buf_str(&answer->body), err);
    uint64_t seconds = 0;
    if (err != NULL &&
        str_to_u64(http_headers_get(&answer->headers, STR("retry-after")), &seconds) &&
        seconds < UINT_MAX) {
        err->retry_after_s = (unsigned)seconds;
    }
    return kind;
}

void http_answer_done(struct http_answer *answer)
{
    buf_done(&answer->body);
    arena_done(&answer->arena);
    answer->headers = (struct http_headers){ .items = NULL };
}
