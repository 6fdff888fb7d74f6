/*
 * Tokens. There is no authentication yet: requests are answered with any token and with none. But a
 * client that is given a credential asks for a token first and goes on only when it gets one, so
 * whoever asks gets one; nobody looks at it again.
 *
 * Errors here have OAuth's shape, not Iceberg's.
 *
 * Source   RFC 6749 sections 4.4, 5.1 and 5.2; RFC 8693 (token exchange)
 */
#include "icerest/icerest_priv.h"

#include "base/encode.h"
#include "base/rng.h"

#define ISSUED_TYPE "urn:ietf:params:oauth:token-type:access_token"
#define EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"

enum { TOKEN_BYTES = 16 };

/** A field of application/x-www-form-urlencoded; .ptr NULL when it is absent. */
static enum status form_field(struct http_req *req, struct str name, struct str *out)
{
    struct str rest = req->body;
    *out = (struct str){ 0 };
    while (rest.len > 0) {
        struct str value = str_split(&rest, '&'), key = str_split(&value, '=');
        if (str_eq(key, name)) {
            return percent_decode(&req->arena, value, true, out, &req->err);
        }
    }
    return OK;
}

static enum http_step refuse(struct http_req *req, const char *error, const char *why)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "error", error);
    jw_kv_cstr(&w, "error_description", why);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    return http_reply_json(req, 400, &json);
}

static enum http_step tokens_end(struct http_req *req)
{
    struct str grant, scope;
    if (form_field(req, STR("grant_type"), &grant) != OK ||
        form_field(req, STR("scope"), &scope) != OK) {
        return refuse(req, "invalid_request", "the body is no form");
    }
    if (grant.len == 0) {
        return refuse(req, "invalid_request", "grant_type is missing");
    }
    if (!str_eq(grant, STR("client_credentials")) && !str_eq(grant, STR(EXCHANGE))) {
        return refuse(req, "unsupported_grant_type", "client_credentials and token-exchange are");
    }
    uint8_t bytes[TOKEN_BYTES];
    AUTO(buf_done) struct buf token, json;
    buf_init(&token, 2 * TOKEN_BYTES + 1);
    buf_init(&json, ICEREST_JSON_MAX);
    random_bytes(bytes, sizeof(bytes));
    if (hex_append(&token, bytes, sizeof(bytes)) != OK) {
        return http_fail(req, err_no_memory(&req->err));
    }
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "access_token", buf_str(&token));
    jw_kv_cstr(&w, "token_type", "bearer");
    jw_kv_cstr(&w, "issued_token_type", ISSUED_TYPE);
    if (scope.len > 0) {
        jw_kv_str(&w, "scope", scope);
    }
    jw_obj_end(&w);
    http_reply_header(req, "Cache-Control", STR("no-store"));
    return icerest_reply(req, &w, &json);
}

const struct http_handler icerest_tokens_handler = { .end = tokens_end,
                                                     .state_bytes = sizeof(struct icerest_state) };
