/*
 * A request from outside, as text:
 *
 *     METHOD SP target LF
 *     name: value LF ...
 *
 * Its claim may be read or refused, and is judged without harm; it is never true, for nobody knows
 * the secret. Then the same request is signed by us in both forms, and what we sign we accept.
 */
#include <stdlib.h>

#include "aws/sigv4.h"
#include "base/encode.h"

static const int64_t now_ms = 1369353600000; /* 20130524T000000Z */

struct lab {
    struct arena arena;
    struct http_headers headers; /* as they came */
    struct http_headers plain;   /* without those that say who signed, and that every hop drops */
    struct aws_request request;
    bool has_claim; /* in its query */
};

/** What the HTTP server lets through as a name. */
static bool is_token(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

static bool is_claim(struct str name)
{
    static const char *const names[] = { "authorization", "x-amz-date", "x-amz-content-sha256",
                                         "x-amz-security-token", "connection" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_nocase(name, str_of(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool add(struct lab *lab, struct http_headers *to, struct str name, struct str value)
{
    return http_headers_add(to, &lab->arena, name, value) == OK;
}

/** False when there is no memory, or the HTTP server would not let it through. */
static bool read_request(struct lab *lab, struct str text)
{
    struct str line = str_split(&text, '\n');
    if (str_has_control(line)) {
        return false;
    }
    lab->request.method = str_split(&line, ' ');
    lab->request.path = str_split(&line, '?');
    lab->request.query = line.ptr != NULL ? line : STR_EMPTY;
    struct str plain = STR_EMPTY; /* a broken escape: nothing of it can be signed */
    lab->has_claim = percent_decode(&lab->arena, lab->request.query, true, &plain, NULL) == OK &&
                     str_find(plain, STR("X-Amz-")) != SIZE_MAX;
    bool host = false;
    while (text.ptr != NULL) {
        struct str value = str_split(&text, '\n');
        struct str name = str_split(&value, ':');
        value = str_trim(value.ptr != NULL ? value : STR_EMPTY);
        if (!is_token(name)) {
            continue;
        }
        host = host || str_eq_nocase(name, STR("host"));
        if (!add(lab, &lab->headers, name, value) ||
            (!is_claim(name) && !add(lab, &lab->plain, name, value))) {
            return false;
        }
    }
    return host || (add(lab, &lab->headers, STR("Host"), STR("localhost")) &&
                    add(lab, &lab->plain, STR("Host"), STR("localhost")));
}

static enum status judge(struct lab *lab, const struct aws_request *request, struct str secret,
                         enum aws_code *code)
{
    struct aws_auth auth;
    struct aws_signing_key key;
    struct err err;
    enum status status = aws_auth_read(request, &lab->arena, &auth, code, &err);
    if (status != OK || auth.form == AWS_AUTH_ANONYMOUS) {
        return status != OK ? status : E_AUTH;
    }
    assert(auth.day.len == 8 && auth.signature.len == SHA256_HEX && auth.access_key.len > 0);
    aws_signing_key_make(secret, auth.day, auth.region, auth.service, &key);
    return aws_auth_verify(&auth, request, &key, STR_EMPTY, now_ms, &lab->arena, code, &err);
}

static const struct aws_sign_opts ours = {
    .key = { STR_INIT("an/access/key"), STR_INIT("a secret"), STR_INIT("a+token/=") },
    .region = STR_INIT("us-east-1"),
    .now_ms = now_ms,
    .payload = STR_INIT("UNSIGNED-PAYLOAD"),
};

static void sign_and_judge(struct lab *lab)
{
    enum aws_code code = AWS_NONE;
    struct aws_request request = lab->request;
    request.headers = &lab->plain;
    struct str target;
    if (aws_presign(&request, &ours, 60, &lab->arena, &target, NULL) == OK) {
        struct aws_request presigned = request;
        presigned.path = str_split(&target, '?');
        presigned.query = target;
        if (judge(lab, &presigned, STR("a secret"), &code) != OK) {
            abort();
        }
        if (judge(lab, &presigned, STR("another"), &code) == OK ||
            code != AWS_SIGNATURE_DOES_NOT_MATCH) {
            abort();
        }
    }
    struct http_headers headers = { 0 };
    for (size_t i = 0; i < lab->plain.count; i++) {
        if (!add(lab, &headers, lab->plain.items[i].name, lab->plain.items[i].value)) {
            return;
        }
    }
    if (aws_sign(&request, &ours, &headers, &lab->arena, NULL) == OK) {
        request.headers = &headers;
        if (judge(lab, &request, STR("a secret"), &code) != OK) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lab lab = { .has_claim = false };
    enum aws_code code = AWS_NONE;
    arena_init(&lab.arena, 0);
    lab.request.headers = &lab.headers;
    if (size < 32 * 1024 && read_request(&lab, str_from((const char *)data, size))) {
        enum status status = judge(&lab, &lab.request, STR("nobody knows it"), &code);
        assert(status != OK);
        if (!lab.has_claim) {
            sign_and_judge(&lab);
        }
    }
    arena_done(&lab.arena);
    return 0;
}
