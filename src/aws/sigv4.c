/*
 * Canonical requests, strings to sign, signatures: what both sides compute alike, and the two ways
 * to sign. Reading a claim and judging it is sigv4_verify.c.
 *
 *     canonical request   method, path, query, headers, names of headers, payload; one a line
 *     string to sign      algorithm, time, scope, SHA-256 of the canonical request
 *     signature           HMAC of that under the day's key
 */
#include "aws/sigv4.h"

#include <stdlib.h>
#include <time.h>

#include "aws/sigv4_priv.h"
#include "base/encode.h"

enum {
    CANONICAL_BYTES_MAX = 256 * 1024, /* chosen: heads are some 64 KiB, encoding triples them */
    PARAMS_MAX = 1000,                /* of a query, without its signature; chosen */
};

struct param {
    struct str name, value; /* encoded again */
};

static int by_name_and_value(const void *a, const void *b)
{
    const struct param *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order != 0 ? order : str_cmp(left->value, right->value);
}

/** `raw` percent-encoded, in the arena. */
static enum status encode(struct str raw, const char *keep, struct arena *arena, struct str *out,
                          struct err *err)
{
    struct buf text;
    buf_init(&text, CANONICAL_BYTES_MAX);
    enum status status = percent_append(&text, raw, keep);
    if (status == OK) {
        *out = arena_str(arena, text.len == 0 ? STR_EMPTY : buf_str(&text));
        status = out->ptr != NULL ? OK : E_NO_MEMORY;
    }
    buf_done(&text);
    return status == OK ? OK : err_set(err, status, "the request is too large to be signed");
}

static enum status recode(struct str raw, bool query, struct arena *arena, struct str *out,
                          struct err *err)
{
    struct str plain;
    TRY(percent_decode(arena, raw, query, &plain, err));
    return encode(plain, query ? "" : "/", arena, out, err);
}

static enum status canonical_query(struct str query, struct arena *arena, struct buf *out,
                                   struct err *err)
{
    size_t max = 1;
    for (size_t i = 0; i < query.len; i++) {
        max += query.ptr[i] == '&';
    }
    struct param *params = arena_array(arena, max, sizeof(*params));
    if (params == NULL) {
        return err_no_memory(err);
    }
    size_t count = 0;
    for (struct str rest = query; rest.ptr != NULL;) {
        struct str value = str_split(&rest, '&');
        if (value.len == 0) {
            continue;
        }
        struct str name = str_split(&value, '=');
        if (count == PARAMS_MAX) {
            return err_set(err, E_TOO_LARGE, "the query has more than %d parameters", PARAMS_MAX);
        }
        struct param *param = &params[count];
        TRY(recode(name, true, arena, &param->name, err));
        TRY(recode(value.ptr != NULL ? value : STR_EMPTY, true, arena, &param->value, err));
        count += !str_eq(param->name, STR("X-Amz-Signature"));
    }
    qsort(params, count, sizeof(*params), by_name_and_value);
    for (size_t i = 0; i < count; i++) {
        if (buf_append(out, i > 0 ? STR("&") : STR_EMPTY) != OK ||
            buf_append(out, params[i].name) != OK || buf_append_char(out, '=') != OK ||
            buf_append(out, params[i].value) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

/** A value without white space around it, runs of spaces inside as one. */
static enum status append_value(struct buf *out, struct str value)
{
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] != ' ' || value.ptr[i - 1] != ' ') {
            TRY(buf_append_char(out, value.ptr[i]));
        }
    }
    return OK;
}

/** All headers of a name, joined by commas; E_INVALID when there is none. */
static enum status append_header(struct buf *out, const struct http_headers *headers,
                                 struct str name)
{
    size_t found = 0;
    TRY(buf_append(out, name));
    TRY(buf_append_char(out, ':'));
    for (size_t i = 0; i < headers->count; i++) {
        if (str_eq_nocase(headers->items[i].name, name)) {
            TRY(found++ > 0 ? buf_append_char(out, ',') : OK);
            TRY(append_value(out, headers->items[i].value));
        }
    }
    TRY(buf_append_char(out, '\n'));
    return found > 0 ? OK : E_INVALID;
}

static enum status write_canonical(const struct aws_request *request, struct str signed_headers,
                                   struct str payload, struct arena *arena, struct buf *out,
                                   struct err *err)
{
    struct str path;
    TRY(recode(request->path.len > 0 ? request->path : STR("/"), false, arena, &path, err));
    if (buf_printf(out, "%.*s\n%.*s\n", STR_ARG(request->method), STR_ARG(path)) != OK) {
        return err_no_memory(err);
    }
    TRY(canonical_query(request->query, arena, out, err));
    TRY(buf_append_char(out, '\n'));
    for (struct str rest = signed_headers; rest.ptr != NULL;) {
        struct str name = str_split(&rest, ';');
        enum status status = append_header(out, request->headers, name);
        if (status == E_INVALID) {
            return err_set(err, status, "the signed header \"%.*s\" is not in the request",
                           STR_ARG(name));
        }
        TRY(status);
    }
    return buf_printf(out, "\n%.*s\n%.*s", STR_ARG(signed_headers), STR_ARG(payload)) == OK
               ? OK
               : err_no_memory(err);
}

enum status aws_canonical(const struct aws_request *request, struct str signed_headers,
                          struct str payload, struct arena *arena, struct str *out, struct err *err)
{
    struct buf text;
    buf_init(&text, CANONICAL_BYTES_MAX);
    enum status status = write_canonical(request, signed_headers, payload, arena, &text, err);
    if (status == OK) {
        *out = arena_str(arena, buf_str(&text));
        status = out->ptr != NULL ? OK : err_no_memory(err);
    } else if (status == E_TOO_LARGE) {
        err_set(err, status, "the request is too large to be signed");
    }
    buf_done(&text);
    return status;
}

void aws_signing_key_make(struct str secret, struct str day, struct str region, struct str service,
                          struct aws_signing_key *out)
{
    char first[4 + AWS_SECRET_MAX] = "AWS4";
    size_t len = secret.len;
    assert(len <= AWS_SECRET_MAX);
    if (len > 0) {
        memcpy(first + 4, secret.ptr, len);
    }
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    hmac_sha256(str_from(first, 4 + len), day, a);
    hmac_sha256(str_from((char *)a, sizeof(a)), region, b);
    hmac_sha256(str_from((char *)b, sizeof(b)), service, a);
    hmac_sha256(str_from((char *)a, sizeof(a)), STR("aws4_request"), out->bytes);
    explicit_bzero(first, sizeof(first));
}

void aws_signature(const struct aws_signing_key *key, struct str to_sign, char out[SHA256_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t mac[SHA256_BYTES];
    hmac_sha256(str_from((const char *)key->bytes, sizeof(key->bytes)), to_sign, mac);
    for (size_t i = 0; i < sizeof(mac); i++) {
        out[2 * i] = digits[mac[i] >> 4];
        out[2 * i + 1] = digits[mac[i] & 15];
    }
    out[SHA256_HEX] = '\0';
}

enum status aws_sign_canonical(const struct aws_signing_key *key, struct str canonical,
                               const char *time, struct str scope, struct arena *arena,
                               char out[SHA256_HEX + 1], struct err *err)
{
    char hash[SHA256_HEX + 1];
    sha256_hex(canonical, hash);
    struct str text = arena_printf(arena, "AWS4-HMAC-SHA256\n%s\n%.*s\n%s", time, STR_ARG(scope),
                                   hash);
    if (text.ptr == NULL) {
        return err_no_memory(err);
    }
    aws_signature(key, text, out);
    return OK;
}

/* --- signing --- */

static enum status check_secret(const struct aws_sign_opts *opts, struct err *err)
{
    return opts->key.secret_key.len <= AWS_SECRET_MAX
               ? OK
               : err_set(err, E_INVALID, "the secret key is longer than %d bytes", AWS_SECRET_MAX);
}

void aws_write_time(int64_t now_ms, char out[AWS_TIME_LEN + 1])
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL ||
        strftime(out, AWS_TIME_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) != AWS_TIME_LEN) {
        memcpy(out, "19700101T000000Z", AWS_TIME_LEN + 1);
    }
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool is_signed(const struct http_headers *headers, struct str name)
{
    return !str_eq_nocase(name, STR("user-agent")) && !str_eq_nocase(name, STR("expect")) &&
           !str_eq_nocase(name, STR("content-length")) &&
           !str_eq_nocase(name, STR("authorization")) && !http_header_is_hop(headers, name);
}

/** The names to be signed: lower case, sorted, each once, joined by ';'. */
static enum status names_to_sign(const struct http_headers *headers, struct arena *arena,
                                 struct str *out, struct err *err)
{
    struct str *names = arena_array(arena, headers->count + 1, sizeof(*names));
    size_t count = 0, bytes = 0, len = 0;
    for (size_t i = 0; names != NULL && i < headers->count; i++) {
        struct str name = headers->items[i].name;
        char *lower = is_signed(headers, name) ? arena_cstr(arena, name) : NULL;
        for (size_t k = 0; lower != NULL && k < name.len; k++) {
            lower[k] = (char)(lower[k] >= 'A' && lower[k] <= 'Z' ? lower[k] + 32 : lower[k]);
        }
        if (lower != NULL) {
            names[count++] = str_from(lower, name.len);
            bytes += name.len + 1;
        }
    }
    char *text = arena_alloc(arena, bytes + 1);
    if (names == NULL || text == NULL) {
        return err_no_memory(err);
    }
    qsort(names, count, sizeof(*names), by_text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && str_eq(names[i], names[i - 1])) {
            continue;
        }
        if (len > 0) {
            text[len++] = ';';
        }
        memcpy(text + len, names[i].ptr, names[i].len);
        len += names[i].len;
    }
    *out = str_from(text, len);
    return OK;
}

/** Day and scope of a signature made now. */
static struct str make_scope(const struct aws_sign_opts *opts, const char *time,
                             struct arena *arena, struct aws_signing_key *key)
{
    struct str service = opts->service.len > 0 ? opts->service : STR("s3");
    aws_signing_key_make(opts->key.secret_key, str_from(time, 8), opts->region, service, key);
    return arena_printf(arena, "%.8s/%.*s/%.*s/aws4_request", time, STR_ARG(opts->region),
                        STR_ARG(service));
}

enum status aws_sign(const struct aws_request *request, const struct aws_sign_opts *opts,
                     struct http_headers *headers, struct arena *arena, struct err *err)
{
    TRY(check_secret(opts, err));
    char time[AWS_TIME_LEN + 1], signature[SHA256_HEX + 1];
    struct aws_signing_key key;
    aws_write_time(opts->now_ms, time);
    struct str scope = make_scope(opts, time, arena, &key), names, canonical;
    if (scope.ptr == NULL ||
        http_headers_add(headers, arena, STR("x-amz-date"), str_of(time)) != OK ||
        http_headers_add(headers, arena, STR("x-amz-content-sha256"), opts->payload) != OK ||
        (opts->key.session_token.len > 0 &&
         http_headers_add(headers, arena, STR("x-amz-security-token"), opts->key.session_token) !=
             OK)) {
        return err_no_memory(err);
    }
    TRY(names_to_sign(headers, arena, &names, err));
    struct aws_request whole = *request;
    whole.headers = headers;
    TRY(aws_canonical(&whole, names, opts->payload, arena, &canonical, err));
    TRY(aws_sign_canonical(&key, canonical, time, scope, arena, signature, err));
    struct str value = arena_printf(
        arena, "AWS4-HMAC-SHA256 Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%s",
        STR_ARG(opts->key.access_key), STR_ARG(scope), STR_ARG(names), signature);
    return value.ptr != NULL && http_headers_add(headers, arena, STR("Authorization"), value) == OK
               ? OK
               : err_no_memory(err);
}

enum status aws_presign(const struct aws_request *request, const struct aws_sign_opts *opts,
                        int64_t expires_s, struct arena *arena, struct str *target_out,
                        struct err *err)
{
    TRY(check_secret(opts, err));
    if (expires_s < 1 || expires_s > AWS_EXPIRES_MAX_S) {
        return err_set(err, E_INVALID, "a presigned request lives from 1 to %d seconds, not %lld",
                       AWS_EXPIRES_MAX_S, (long long)expires_s);
    }
    char time[AWS_TIME_LEN + 1], signature[SHA256_HEX + 1];
    struct aws_signing_key key;
    aws_write_time(opts->now_ms, time);
    struct str scope = make_scope(opts, time, arena, &key);
    struct str names, credential, token, canonical, path;
    if (scope.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(names_to_sign(request->headers, arena, &names, err));
    struct str plain = arena_printf(arena, "%.*s/%.*s", STR_ARG(opts->key.access_key),
                                    STR_ARG(scope));
    if (plain.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(encode(plain, "", arena, &credential, err));
    TRY(encode(names, "", arena, &plain, err));
    TRY(encode(opts->key.session_token, "", arena, &token, err));
    TRY(recode(request->path, false, arena, &path, err));
    struct aws_request whole = *request;
    whole.query = arena_printf(
        arena,
        "%.*s%sX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%.*s&X-Amz-Date=%s&X-Amz-Expires="
        "%lld&X-Amz-SignedHeaders=%.*s%s%.*s",
        STR_ARG(request->query), request->query.len > 0 ? "&" : "", STR_ARG(credential), time,
        (long long)expires_s, STR_ARG(plain), token.len > 0 ? "&X-Amz-Security-Token=" : "",
        STR_ARG(token));
    if (whole.query.ptr == NULL) {
        return err_no_memory(err);
    }
    struct str payload = opts->payload.len > 0 ? opts->payload : STR("UNSIGNED-PAYLOAD");
    TRY(aws_canonical(&whole, names, payload, arena, &canonical, err));
    TRY(aws_sign_canonical(&key, canonical, time, scope, arena, signature, err));
    *target_out = arena_printf(arena, "%.*s?%.*s&X-Amz-Signature=%s", STR_ARG(path),
                               STR_ARG(whole.query), signature);
    return target_out->ptr != NULL ? OK : err_no_memory(err);
}
