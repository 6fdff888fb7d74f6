/*
 * The server's side: read a request's claim, and judge it. What is read is checked for its form
 * only; nothing of it is believed before aws_auth_verify has said OK.
 */

#include <stdio.h>
#include <time.h>

#include "aws/sigv4_priv.h"
#include "base/clock.h"
#include "base/encode.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

/** Set both errors at once. */
static enum status refuse(enum aws_code *code_out, enum aws_code code, struct err *err,
                          const char *what)
{
    *code_out = code;
    return err_set(err, aws_code_kind(code), "%s", what);
}

static bool read_time(struct str text, struct aws_auth *out)
{
    if (text.len != AWS_TIME_LEN || text.ptr[8] != 'T' || text.ptr[15] != 'Z') {
        return false;
    }
    int part[6] = { 0 };
    static const size_t start[6] = { 0, 4, 6, 9, 11, 13 }, len[6] = { 4, 2, 2, 2, 2, 2 };
    for (size_t i = 0; i < 6; i++) {
        uint64_t value;
        if (!str_to_u64(str_take(str_skip(text, start[i]), len[i]), &value)) {
            return false;
        }
        part[i] = (int)value;
    }
    struct tm tm = { .tm_year = part[0] - 1900,
                     .tm_mon = part[1] - 1,
                     .tm_mday = part[2],
                     .tm_hour = part[3],
                     .tm_min = part[4],
                     .tm_sec = part[5] };
    struct tm same = tm;
    time_t seconds = timegm(&same);
    if (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday || same.tm_hour != tm.tm_hour ||
        same.tm_min != tm.tm_min || same.tm_sec != tm.tm_sec) {
        return false; /* the 31st of February */
    }
    out->time_ms = (int64_t)seconds * 1000;
    memcpy(out->time, text.ptr, AWS_TIME_LEN);
    out->time[AWS_TIME_LEN] = '\0';
    return true;
}

/** A date of HTTP. botocore's end in "-0000" where HTTP has GMT. */
static bool read_http_date(struct str text, struct aws_auth *out)
{
    char room[40];
    if (str_ends(text, STR(" -0000")) && text.len < sizeof(room)) {
        int len = snprintf(room, sizeof(room), "%.*s GMT", (int)text.len - 6, text.ptr);
        text = str_from(room, (size_t)len);
    }
    return time_parse_http(text, &out->time_ms);
}

/** x-amz-date, else Date, which may also have a form of HTTP. */
static bool read_date(const struct aws_request *request, struct aws_auth *out)
{
    struct str text = http_headers_get(request->headers, STR("x-amz-date"));
    if (text.ptr == NULL) {
        text = http_headers_get(request->headers, STR("date"));
    }
    if (read_time(text, out)) {
        return true;
    }
    if (!read_http_date(text, out)) {
        return false;
    }
    aws_write_time(out->time_ms, out->time);
    return true;
}

/** key/day/region/service/aws4_request; the access key may hold slashes itself. */
static bool read_credential(struct str text, struct aws_auth *out)
{
    struct str part[4];
    for (size_t i = 4; i-- > 0;) {
        size_t slash = str_rfind_char(text, '/');
        if (slash == SIZE_MAX) {
            return false;
        }
        part[i] = str_skip(text, slash + 1);
        text = str_take(text, slash);
    }
    out->access_key = text;
    out->day = part[0];
    out->region = part[1];
    out->service = part[2];
    return text.len > 0 && part[0].len == 8 && part[1].len > 0 &&
           str_eq(part[3], STR("aws4_request"));
}

static bool is_hex64(struct str text)
{
    uint8_t bytes[SHA256_BYTES];
    return hex_decode(text, bytes, sizeof(bytes));
}

/** Lower case, in order, each once, Host among them. */
static bool names_are_sound(struct str names)
{
    bool host = false;
    struct str last = STR_EMPTY;
    for (struct str rest = names; rest.ptr != NULL;) {
        struct str name = str_split(&rest, ';');
        for (size_t i = 0; i < name.len; i++) {
            if ((name.ptr[i] >= 'A' && name.ptr[i] <= 'Z') || (unsigned char)name.ptr[i] <= ' ') {
                return false;
            }
        }
        if (name.len == 0 || str_cmp(last, name) >= 0) {
            return false;
        }
        host = host || str_eq(name, STR("host"));
        last = name;
    }
    return host;
}

static bool names_hold(struct str names, struct str wanted)
{
    for (struct str rest = names; rest.ptr != NULL;) {
        if (str_eq_nocase(str_split(&rest, ';'), wanted)) {
            return true;
        }
    }
    return false;
}

static bool read_payload(struct str text, struct aws_auth *out)
{
    static const char *const words[] = {
        [AWS_PAYLOAD_UNSIGNED] = "UNSIGNED-PAYLOAD",
        [AWS_PAYLOAD_STREAM] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        [AWS_PAYLOAD_STREAM_TRAILER] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        [AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER] = "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    };
    out->payload_text = text;
    for (size_t i = AWS_PAYLOAD_UNSIGNED; i < ARRAY_LEN(words); i++) {
        if (str_eq(text, str_of(words[i]))) {
            out->payload = (enum aws_payload)i;
            return true;
        }
    }
    out->payload = AWS_PAYLOAD_HASH;
    return is_hex64(text);
}

static const char *read_fields(struct str value, struct aws_auth *out)
{
    bool credential = false;
    for (struct str rest = value; rest.ptr != NULL;) {
        struct str text = str_trim(str_split(&rest, ','));
        struct str name = str_split(&text, '=');
        if (text.ptr == NULL) {
            return "a field of the Authorization header has no \"=\"";
        }
        if (str_eq(name, STR("Credential")) && !credential) {
            credential = read_credential(text, out);
            if (!credential) {
                return "the Credential is not key/day/region/service/aws4_request";
            }
        } else if (str_eq(name, STR("SignedHeaders")) && out->signed_headers.len == 0) {
            out->signed_headers = text;
        } else if (str_eq(name, STR("Signature")) && out->signature.len == 0) {
            out->signature = text;
        } else {
            return "a field of the Authorization header is not known, or is there twice";
        }
    }
    return credential && out->signed_headers.len > 0 && out->signature.len > 0
               ? NULL
               : "the Authorization header needs Credential, SignedHeaders and Signature";
}

/**
 * What a request may do depends on its x-amz-* headers: x-amz-copy-source makes a copy of a PUT.
 * So they are signed, also those that come with a presigned URL. The digest of the body is in the
 * signature by itself.
 */
static enum status check_signed(const struct aws_request *request, const struct aws_auth *auth,
                                enum aws_code *code_out, struct err *err)
{
    for (size_t i = 0; i < request->headers->count; i++) {
        struct str name = request->headers->items[i].name;
        bool digest = auth->form == AWS_AUTH_QUERY &&
                      str_eq_nocase(name, STR("x-amz-content-sha256"));
        if (str_eq_nocase(str_take(name, 6), STR("x-amz-")) && !digest &&
            !names_hold(auth->signed_headers, name)) {
            return refuse(code_out, AWS_ACCESS_DENIED, err,
                          "an x-amz-* header of the request is not signed");
        }
    }
    return OK;
}

static enum status read_header(const struct aws_request *request, struct str value,
                               struct aws_auth *out, enum aws_code *code_out, struct err *err)
{
    const enum aws_code code = AWS_AUTHORIZATION_HEADER_MALFORMED;
    out->form = AWS_AUTH_HEADER;
    if (!str_starts(value, STR(ALGORITHM " "))) {
        bool old = str_starts(value, STR("AWS ")); /* Signature Version 2 */
        return refuse(code_out, old ? AWS_INVALID_REQUEST : AWS_INVALID_ARGUMENT, err,
                      "only signatures by " ALGORITHM " are known");
    }
    const char *fault = read_fields(str_skip(value, sizeof(ALGORITHM)), out);
    if (fault != NULL) {
        return refuse(code_out, code, err, fault);
    }
    if (!read_date(request, out)) {
        return refuse(code_out, AWS_ACCESS_DENIED, err,
                      "a signed request needs x-amz-date as 20240102T030405Z, or Date");
    }
    if (!read_payload(http_headers_get(request->headers, STR("x-amz-content-sha256")), out)) {
        return refuse(code_out, AWS_INVALID_ARGUMENT, err,
                      "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a streaming form or a hex "
                      "SHA-256");
    }
    out->session_token = http_headers_get(request->headers, STR("x-amz-security-token"));
    return OK;
}

/** Sorts the X-Amz-* parameters of a query into the claim. */
static enum status read_param(struct str name, struct str value, struct aws_auth *out,
                              struct str *algorithm, struct str *credential, struct str *time,
                              struct str *expires)
{
    struct {
        struct str name;
        struct str *to;
    } const places[] = {
        { STR("X-Amz-Algorithm"), algorithm },
        { STR("X-Amz-Credential"), credential },
        { STR("X-Amz-Date"), time },
        { STR("X-Amz-Expires"), expires },
        { STR("X-Amz-SignedHeaders"), &out->signed_headers },
        { STR("X-Amz-Signature"), &out->signature },
        { STR("X-Amz-Security-Token"), &out->session_token },
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (str_eq(name, places[i].name)) {
            if (places[i].to->ptr != NULL) {
                return E_INVALID;
            }
            *places[i].to = value;
        }
    }
    return OK;
}

static enum status read_query(const struct aws_request *request, struct arena *arena,
                              struct aws_auth *out, enum aws_code *code_out, struct err *err)
{
    const enum aws_code code = AWS_AUTHORIZATION_QUERY_PARAMETERS_ERROR;
    struct str algorithm = { 0 }, credential = { 0 }, when = { 0 }, expires = { 0 };
    for (struct str rest = request->query; rest.ptr != NULL;) {
        struct str raw = str_split(&rest, '&'), name, value;
        struct str raw_name = str_split(&raw, '=');
        enum status status = percent_decode(arena, raw_name, true, &name, err);
        if (status == OK) {
            status = percent_decode(arena, raw.ptr != NULL ? raw : STR_EMPTY, true, &value, err);
        }
        if (status != OK) {
            *code_out = status == E_INVALID ? AWS_INVALID_URI : AWS_INTERNAL_ERROR;
            return status;
        }
        if (read_param(name, value, out, &algorithm, &credential, &when, &expires) != OK) {
            return refuse(code_out, code, err, "a parameter of the signature is there twice");
        }
    }
    if (algorithm.ptr == NULL && out->signature.ptr == NULL) {
        return OK; /* anonymous */
    }
    out->form = AWS_AUTH_QUERY;
    if (!str_eq(algorithm, STR(ALGORITHM))) {
        return refuse(code_out, code, err, "X-Amz-Algorithm must be " ALGORITHM);
    }
    if (!read_credential(credential, out)) {
        return refuse(code_out, code, err,
                      "X-Amz-Credential is not key/day/region/service/aws4_request");
    }
    if (!read_time(when, out) || !str_to_i64(expires, &out->expires_s) || out->expires_s < 1 ||
        out->expires_s > AWS_EXPIRES_MAX_S) {
        return refuse(code_out, code, err,
                      "X-Amz-Date must be like 20240102T030405Z, X-Amz-Expires from 1 to 604800");
    }
    struct str payload = http_headers_get(request->headers, STR("x-amz-content-sha256"));
    return read_payload(payload.ptr != NULL ? payload : STR("UNSIGNED-PAYLOAD"), out)
               ? OK
               : refuse(code_out, AWS_INVALID_ARGUMENT, err, "x-amz-content-sha256 is not valid");
}

enum status aws_auth_read(const struct aws_request *request, struct arena *arena,
                          struct aws_auth *out, enum aws_code *code_out, struct err *err)
{
    struct aws_auth auth = { .form = AWS_AUTH_ANONYMOUS };
    struct str header = http_headers_get(request->headers, STR("authorization"));
    TRY(read_query(request, arena, &auth, code_out, err));
    if (header.ptr != NULL) {
        if (auth.form == AWS_AUTH_QUERY) {
            return refuse(code_out, AWS_INVALID_ARGUMENT, err,
                          "the request is signed twice: by header and by parameters");
        }
        auth = (struct aws_auth){ .form = AWS_AUTH_HEADER };
        TRY(read_header(request, header, &auth, code_out, err));
    }
    if (auth.form != AWS_AUTH_ANONYMOUS &&
        (!is_hex64(auth.signature) || !names_are_sound(auth.signed_headers))) {
        return refuse(code_out,
                      auth.form == AWS_AUTH_HEADER ? AWS_AUTHORIZATION_HEADER_MALFORMED
                                                   : AWS_AUTHORIZATION_QUERY_PARAMETERS_ERROR,
                      err,
                      "the signature must have 64 hex digits, and the signed headers be sorted, in "
                      "lower case, with host among them");
    }
    if (auth.form != AWS_AUTH_ANONYMOUS) {
        TRY(check_signed(request, &auth, code_out, err));
    }
    *out = auth;
    return OK;
}

static enum status check_time(const struct aws_auth *auth, int64_t now_ms, enum aws_code *code_out,
                              struct err *err)
{
    const int64_t skew_ms = (int64_t)AWS_SKEW_MAX_S * 1000;
    if (auth->form == AWS_AUTH_HEADER &&
        (auth->time_ms < now_ms - skew_ms || auth->time_ms > now_ms + skew_ms)) {
        *code_out = AWS_REQUEST_TIME_TOO_SKEWED;
        return err_set(err, aws_code_kind(*code_out),
                       "the request is of %s, the server's clock says %lld s since 1970",
                       auth->time, (long long)(now_ms / 1000));
    }
    if (auth->form == AWS_AUTH_QUERY && auth->time_ms > now_ms + skew_ms) {
        return refuse(code_out, AWS_ACCESS_DENIED, err, "the request is not valid yet");
    }
    if (auth->form == AWS_AUTH_QUERY && now_ms > auth->time_ms + auth->expires_s * 1000) {
        return refuse(code_out, AWS_ACCESS_DENIED, err, "the request has expired");
    }
    return OK;
}

enum status aws_auth_verify(const struct aws_auth *auth, const struct aws_request *request,
                            const struct aws_signing_key *key, struct str region, int64_t now_ms,
                            struct arena *arena, enum aws_code *code_out, struct err *err)
{
    assert(auth->form != AWS_AUTH_ANONYMOUS);
    TRY(check_time(auth, now_ms, code_out, err));
    if ((region.len > 0 && !str_eq(region, auth->region)) || !str_eq(auth->service, STR("s3")) ||
        !str_eq(auth->day, str_from(auth->time, 8))) {
        *code_out = auth->form == AWS_AUTH_QUERY ? AWS_AUTHORIZATION_QUERY_PARAMETERS_ERROR
                                                 : AWS_AUTHORIZATION_HEADER_MALFORMED;
        return err_set(err, aws_code_kind(*code_out),
                       "the signature is for \"%.*s/%.*s/%.*s\", not for %.8s/%.*s/s3",
                       STR_ARG(auth->day), STR_ARG(auth->region), STR_ARG(auth->service),
                       auth->time, STR_ARG(region.len > 0 ? region : auth->region));
    }
    struct str canonical;
    char signature[SHA256_HEX + 1];
    enum status status = aws_canonical(request, auth->signed_headers, auth->payload_text, arena,
                                       &canonical, err);
    struct str scope = arena_printf(arena, "%.*s/%.*s/%.*s/aws4_request", STR_ARG(auth->day),
                                    STR_ARG(auth->region), STR_ARG(auth->service));
    if (status == OK && scope.ptr != NULL) {
        status = aws_sign_canonical(key, canonical, auth->time, scope, arena, signature, err);
    } else if (status == OK) {
        status = err_no_memory(err);
    }
    if (status != OK) {
        *code_out = status == E_INVALID ? AWS_SIGNATURE_DOES_NOT_MATCH : AWS_INTERNAL_ERROR;
        return status;
    }
    if (!digest_equal(auth->signature, str_of(signature))) {
        *code_out = AWS_SIGNATURE_DOES_NOT_MATCH;
        return err_set(err, aws_code_kind(*code_out),
                       "the signature is not that of this request: %.*s", STR_ARG(canonical));
    }
    return OK;
}
