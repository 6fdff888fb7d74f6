/*
 * One signed request, again and again while that is safe and there is time.
 *
 * What may be repeated: everything that was never sent, everything that S3 has refused with "slow
 * down", and after that only requests that do the same however often they are done (the request
 * says so). The wait between two tries grows and is drawn by chance, so that many clients of a busy
 * store do not come back together.
 */
#include <stdlib.h>
#include <time.h>

#include "aws/xml.h"
#include "base/encode.h"
#include "base/io.h"
#include "base/mem.h"
#include "store/s3_priv.h"

enum {
    TRY_MS = 60 * 1000,
    BYTES_PER_MS_MIN = 1024, /* a body that moves at 1 MB/s or faster is in time */
    PAUSE_MS = 50,
    PAUSE_MS_MAX = 5000,
    HASH_CHUNK_BYTES = 256 * 1024,
    SCRATCH_BYTES_MAX = 1024 * 1024,
};

void s3_header(struct s3_request *request, struct str name, struct str value)
{
    assert(request->header_count < ARRAY_LEN(request->headers));
    request->headers[request->header_count++] = (struct http_header){ name, value };
}

/* --- signing --- */

static enum status target_of(const struct s3_store *s3, const struct s3_request *request,
                             struct buf *out, struct err *err)
{
    bool fine = buf_append(out, str_of(s3->path)) == OK;
    if (request->key.ptr != NULL || s3->path[0] == '\0') {
        fine = fine && buf_append_char(out, '/') == OK;
    }
    if (request->key.ptr != NULL) {
        fine = fine && percent_append(out, str_of(s3->prefix), "/") == OK &&
               percent_append(out, request->key, "/") == OK;
    }
    if (request->query.len > 0) {
        fine = fine && buf_printf(out, "?%.*s", STR_ARG(request->query)) == OK;
    }
    return fine ? OK : err_no_memory(err);
}

static enum status hash_fd(const struct s3_request *request, char out[SHA256_HEX + 1],
                           struct err *err)
{
    struct digest *digest = digest_new(DIGEST_SHA256);
    char *chunk = mem_alloc(HASH_CHUNK_BYTES);
    enum status status = digest == NULL || chunk == NULL ? err_no_memory(err) : OK;
    for (uint64_t done = 0; status == OK && done < request->length;) {
        size_t got = 0, want = request->length - done < HASH_CHUNK_BYTES
                                   ? (size_t)(request->length - done)
                                   : (size_t)HASH_CHUNK_BYTES;
        status = io_pread(request->fd, chunk, want, request->offset + done, &got, err);
        if (status == OK && got == 0) {
            status = err_set(err, E_CORRUPT, "the file for key \"%.*s\" was cut short",
                             STR_ARG(request->key));
        }
        if (status == OK) {
            digest_update(digest, chunk, got);
            done += got;
        }
    }
    if (status == OK) {
        uint8_t hash[SHA256_BYTES];
        struct buf text;
        digest_final(digest, hash);
        buf_init(&text, SHA256_HEX + 1);
        status = hex_append(&text, hash, sizeof hash) == OK ? OK : err_no_memory(err);
        if (status == OK) {
            memcpy(out, text.ptr, SHA256_HEX);
            out[SHA256_HEX] = '\0';
        }
        buf_done(&text);
    }
    digest_free(digest);
    mem_free(chunk);
    return status;
}

static enum status sign(struct s3_store *s3, const struct s3_request *request, struct str target,
                        struct str payload, struct http_headers *headers, struct arena *arena,
                        struct err *err)
{
    struct aws_sign_opts opts = {
        .region = str_of(s3->region),
        .now_ms = clock_wall_ms(s3->clock),
        .payload = payload,
    };
    TRY(aws_credentials_get(s3->credentials, arena, &opts.key, err));
    if (http_headers_add(headers, arena, STR("Host"), str_of(s3->host)) != OK) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        if (http_headers_add(headers, arena, request->headers[i].name, request->headers[i].value) !=
            OK) {
            return err_no_memory(err);
        }
    }
    for (size_t i = 0; i < request->more_count; i++) {
        if (http_headers_add(headers, arena, request->more[i].name, request->more[i].value) != OK) {
            return err_no_memory(err);
        }
    }
    size_t mark = str_find_char(target, '?');
    struct aws_request canonical = {
        .method = str_of(http_method_name(request->method)),
        .path = mark == SIZE_MAX ? target : str_take(target, mark),
        .query = mark == SIZE_MAX ? STR_EMPTY : str_skip(target, mark + 1),
    };
    return aws_sign(&canonical, &opts, headers, arena, err);
}

/* --- bodies --- */

struct bodies {
    const struct s3_request *request;
    uint64_t sent;
};

static enum status body_read(void *ctx, char *ptr, size_t cap, size_t *got_out, struct err *err)
{
    struct bodies *bodies = ctx;
    const struct s3_request *request = bodies->request;
    uint64_t left = request->length - bodies->sent;
    size_t want = left < cap ? (size_t)left : cap;
    TRY(io_pread(request->fd, ptr, want, request->offset + bodies->sent, got_out, err));
    bodies->sent += *got_out;
    return OK;
}

static enum status body_write(void *ctx, struct str bytes, struct err *err)
{
    const struct s3_request *request = ((struct bodies *)ctx)->request;
    if (bytes.len > request->into_cap - *request->into_len) {
        return err_set(err, E_UPSTREAM, "the store sends more of \"%.*s\" than was asked for",
                       STR_ARG(request->key));
    }
    memcpy(request->into + *request->into_len, bytes.ptr, bytes.len);
    *request->into_len += bytes.len;
    return OK;
}

/* --- one try --- */

static enum status send_once(struct s3_store *s3, const struct s3_request *request,
                             struct str payload, struct http_answer *answer, struct err *err)
{
    struct arena arena;
    struct buf target;
    struct http_headers headers = { 0 };
    struct bodies bodies = { .request = request };
    uint64_t moved = request->from_fd ? request->length : request->body.len + request->into_cap;
    int64_t try_ms = TRY_MS + (int64_t)(moved / BYTES_PER_MS_MIN);
    try_ms = request->try_ms > 0 && request->try_ms < try_ms ? request->try_ms : try_ms;
    *answer = (struct http_answer){ 0 };
    arena_init(&arena, SCRATCH_BYTES_MAX);
    buf_init(&target, S3_TARGET_BYTES_MAX);
    enum status status = target_of(s3, request, &target, err);
    if (status == OK) {
        status = sign(s3, request, buf_str(&target), payload, &headers, &arena, err);
    }
    if (status == OK) {
        struct http_call call = {
            .method = request->method,
            .target = buf_str(&target),
            .headers = headers.items,
            .header_count = headers.count,
            .body = request->body,
            .read_body = request->from_fd && request->length > 0 ? body_read : NULL,
            .body_length = (int64_t)request->length,
            .write_body = request->into != NULL ? body_write : NULL,
            .ctx = &bodies,
            .repeatable = request->repeatable,
            .deadline = deadline_in(try_ms),
        };
        if (request->into != NULL) {
            *request->into_len = 0;
        }
        status = http_client_call(s3->client, &call, answer, err);
    }
    buf_done(&target);
    arena_done(&arena);
    return status;
}

bool s3_interrupted(const struct s3_store *s3)
{
    return atomic_load_explicit(&s3->interrupted, memory_order_relaxed);
}

bool s3_pause(struct s3_store *s3, unsigned tries, deadline_ms deadline)
{
    int64_t most = PAUSE_MS;
    for (unsigned i = 0; i < tries && most < PAUSE_MS_MAX; i++) {
        most *= 2;
    }
    most = most < PAUSE_MS_MAX ? most : PAUSE_MS_MAX;
    int64_t wait = most / 2 + (int64_t)(random_u64() % (uint64_t)(most / 2 + 1));
    int left = deadline_poll_ms(deadline);
    if (left >= 0 && left <= wait) {
        return false;
    }
    deadline_ms end = deadline_in(wait);
    struct timespec until = { .tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000 };
    int rc = 0;
    pthread_mutex_lock(&s3->stop_lock);
    while (!s3_interrupted(s3) && rc == 0) {
        rc = pthread_cond_timedwait(&s3->stop_wake, &s3->stop_lock, &until);
    }
    bool go_on = !s3_interrupted(s3);
    pthread_mutex_unlock(&s3->stop_lock);
    return go_on;
}

/** The store says that it has not done it, and that it may be asked again. */
static bool refused_for_now(const struct http_answer *answer)
{
    enum aws_code code = answer->status >= 400 ? s3_code(answer) : AWS_NONE;
    return answer->status == 429 || code == AWS_SLOW_DOWN || code == AWS_REQUEST_TIMEOUT ||
           code == AWS_OPERATION_ABORTED;
}

/** Another try would end alike. */
static enum status untrusted(const struct s3_store *s3, struct err *err)
{
    return s3->ca_file[0] != '\0'
               ? err_set(
                     err, E_UNAVAILABLE,
                     "s3.ca_file = \"%s\" does not vouch for the certificate of %s, or cannot be "
                     "read",
                     s3->ca_file, s3->endpoint)
               : err_set(err, E_UNAVAILABLE,
                         "nobody whom this machine trusts vouches for the certificate of %s: if it "
                         "is your own, s3.ca_file names its CA",
                         s3->endpoint);
}

enum status s3_call(struct s3_store *s3, const struct s3_request *request,
                    struct http_answer *answer, struct err *err)
{
    char payload[SHA256_HEX + 1];
    deadline_ms deadline = request->deadline != 0 ? request->deadline : deadline_in(s3->retry_ms);
    *answer = (struct http_answer){ 0 };
    if (request->from_fd) {
        TRY(hash_fd(request, payload, err));
    } else {
        sha256_hex(request->body, payload);
    }
    for (unsigned tries = 0;; tries++) {
        enum status status = send_once(s3, request, str_of(payload), answer, err);
        bool away = status == E_UPSTREAM || status == E_TIMEOUT, unsent = away && answer->unreached;
        bool broken = status == OK && answer->status >= 500;
        bool refused = status == OK && refused_for_now(answer);
        if (!away && !broken && !refused) {
            return status;
        }
        if (unsent && answer->untrusted) {
            return untrusted(s3, err);
        }
        bool again = unsent || refused || request->repeatable;
        if (again && s3_pause(s3, tries, deadline)) {
            http_answer_done(answer);
            continue;
        }
        if (unsent) {
            return err_set(err, E_UNAVAILABLE, "s3.endpoint = \"%s\" cannot be reached",
                           s3->endpoint);
        }
        if (away) {
            return status;
        }
        return s3_failed(s3, request, answer, err);
    }
}

enum status s3_call_ok(struct s3_store *s3, const struct s3_request *request,
                       struct http_answer *answer, struct err *err)
{
    TRY(s3_call(s3, request, answer, err));
    return answer->status < 300 ? OK : s3_failed(s3, request, answer, err);
}

/* --- errors --- */

/** HEAD has no body, and proxies have bodies of their own. */
static enum aws_code code_of_status(int status)
{
    switch (status) {
    case 301:
    case 307:
        return AWS_PERMANENT_REDIRECT;
    case 403:
        return AWS_ACCESS_DENIED;
    case 404:
        return AWS_NO_SUCH_KEY;
    case 409:
        return AWS_CONDITIONAL_REQUEST_CONFLICT;
    case 412:
        return AWS_PRECONDITION_FAILED;
    case 416:
        return AWS_INVALID_RANGE;
    case 501:
        return AWS_NOT_IMPLEMENTED;
    case 503:
        return AWS_SERVICE_UNAVAILABLE;
    default:
        return status >= 500 ? AWS_INTERNAL_ERROR : AWS_INVALID_REQUEST;
    }
}

static bool error_read(const struct http_answer *answer, struct arena *arena, struct str *code_out,
                       struct str *message_out)
{
    struct xml_node *root = NULL;
    if (answer->body.len == 0 || xml_read(buf_str(&answer->body), arena, &root, NULL) != OK ||
        !str_eq(root->name, STR("Error"))) {
        return false;
    }
    *code_out = xml_text(root, "Code");
    *message_out = xml_text(root, "Message");
    return code_out->ptr != NULL;
}

enum aws_code s3_code(const struct http_answer *answer)
{
    struct arena arena;
    struct str name = STR_EMPTY, message;
    enum aws_code code = AWS_NONE;
    arena_init(&arena, SCRATCH_BYTES_MAX);
    bool named = error_read(answer, &arena, &name, &message);
    if (named) {
        code = aws_code_parse(name);
    }
    arena_done(&arena);
    if (code != AWS_NONE || answer->status < 300) {
        return code;
    }
    /* Stores have codes of their own, most of them with 400 or 409 for a name that they cannot
     * keep. Such a 409 is not the one that asks to try again. */
    return named && answer->status == 409 ? AWS_INVALID_REQUEST : code_of_status(answer->status);
}

/** Failures that are the set-up's: one line that names the setting. OK: it is none of them. */
static enum status setting_failed(struct s3_store *s3, enum aws_code code,
                                  const struct http_answer *answer, struct err *err)
{
    struct str region = http_headers_get(&answer->headers, STR("x-amz-bucket-region"));
    struct str date = http_headers_get(&answer->headers, STR("date"));
    int64_t theirs = 0;
    if (code == AWS_REQUEST_TIME_TOO_SKEWED) {
        long long off = time_parse_http(date, &theirs)
                            ? (long long)(clock_wall_ms(s3->clock) - theirs) / 1000
                            : 0;
        return err_set(err, E_UNAVAILABLE,
                       "the clock of this machine is %lld s %s that of %s: set it right",
                       llabs(off), off < 0 ? "behind" : "ahead of", s3->endpoint);
    }
    if (code == AWS_NO_SUCH_BUCKET) {
        return err_set(err, E_UNAVAILABLE, "s3.bucket = \"%s\": %s has no such bucket", s3->bucket,
                       s3->endpoint);
    }
    if (code == AWS_INVALID_ACCESS_KEY_ID || code == AWS_SIGNATURE_DOES_NOT_MATCH) {
        bool secret = code == AWS_SIGNATURE_DOES_NOT_MATCH;
        return err_set(err, E_UNAVAILABLE, "s3.%s is not what %s knows",
                       secret ? "secret_key" : "access_key", s3->endpoint);
    }
    if (code == AWS_EXPIRED_TOKEN || code == AWS_INVALID_TOKEN) {
        return err_set(err, E_UNAVAILABLE, "s3.session_token is not valid any more for %s",
                       s3->endpoint);
    }
    if (code == AWS_PERMANENT_REDIRECT || code == AWS_AUTHORIZATION_HEADER_MALFORMED) {
        return err_set(err, E_UNAVAILABLE, "s3.region = \"%s\": the bucket \"%s\" is in \"%.*s\"",
                       s3->region, s3->bucket, STR_ARG(region));
    }
    return OK;
}

enum status s3_failed(struct s3_store *s3, const struct s3_request *request,
                      const struct http_answer *answer, struct err *err)
{
    enum aws_code code = s3_code(answer);
    enum status kind = setting_failed(s3, code, answer, err);
    if (kind != OK) {
        return kind;
    }
    struct arena arena;
    struct str name = STR_EMPTY, message = STR_EMPTY;
    arena_init(&arena, SCRATCH_BYTES_MAX);
    if (!error_read(answer, &arena, &name, &message)) {
        name = str_of(aws_code_name(code));
        message = str_of(aws_code_message(code));
    }
    kind = aws_code_kind(code);
    if (answer->status >= 500 && kind == E_INTERNAL) {
        kind = E_UPSTREAM;
    }
    kind = err_set(err, kind, "%s \"%.*s\": %.*s: %.*s (HTTP %d)",
                   request->key.ptr != NULL ? "object" : "bucket",
                   STR_ARG(request->key.ptr != NULL ? request->key : str_of(s3->bucket)),
                   STR_ARG(name), STR_ARG(str_take(message, 300)), answer->status);
    arena_done(&arena);
    return kind;
}

/* --- what headers tell --- */

bool s3_etag_read(struct str text, char out[STORE_ETAG_MAX + 1])
{
    text = str_starts(text, STR("W/")) ? str_skip(text, 2) : text;
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"') {
        text = str_take(str_skip(text, 1), text.len - 2);
    }
    if (text.len == 0 || text.len > STORE_ETAG_MAX) {
        return false;
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

enum status s3_info(const struct http_answer *answer, struct store_info *out, struct err *err)
{
    struct store_info info = { 0 };
    struct str range = http_headers_get(&answer->headers, STR("content-range"));
    size_t slash = str_find_char(range, '/');
    struct str size = slash != SIZE_MAX ? str_skip(range, slash + 1)
                                        : http_headers_get(&answer->headers, STR("content-length"));
    struct str modified = http_headers_get(&answer->headers, STR("last-modified"));
    if (!s3_etag_read(http_headers_get(&answer->headers, STR("etag")), info.etag)) {
        return err_set(err, E_UPSTREAM, "the store's answer has no usable ETag");
    }
    if (size.len > 0 && !str_to_u64(size, &info.size)) {
        return err_set(err, E_UPSTREAM, "the store's answer has no usable size");
    }
    if (modified.ptr == NULL) {
        modified = http_headers_get(&answer->headers, STR("date"));
    }
    (void)!time_parse_http(modified, &info.modified_ms);
    *out = info;
    return OK;
}
