/*
 * How clients reach the files of tables.
 *
 * Those of a table at an s3: URI are read and written through our own S3 API. Its address is told
 * with each table, and a client that asks for it (X-Iceberg-Access-Delegation: vended-credentials)
 * is lent a key for an hour, which opens that table's folder and nothing else. So a client needs to
 * be told of the catalogue only. One that wants no key (remote-signing) is told where its requests
 * are signed for it (sign.c).
 *
 * Clients keep what they were told by its ETag. The ETag of an answer with a key in it changes
 * every half hour, so a key that a client finds in its own cache has half an hour left at least.
 */
#include "icerest/icerest_priv.h"

#include "base/encode.h"

enum { KEY_MS = 3600 * 1000, ROUND_MS = KEY_MS / 2 };

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

/** One word of a list with commas. */
static bool has_word(struct str list, struct str word)
{
    while (list.len > 0) {
        if (str_eq_nocase(str_trim(str_split(&list, ',')), word)) {
            return true;
        }
    }
    return false;
}

enum icerest_wish icerest_wish_of(struct http_req *req)
{
    struct str wish = http_headers_get(&req->headers, STR("X-Iceberg-Access-Delegation"));
    if (icerest_of(req)->lender == NULL) {
        return ICEREST_NOTHING;
    }
    return has_word(wish, STR("vended-credentials")) ? ICEREST_KEY
           : has_word(wish, STR("remote-signing"))   ? ICEREST_SIGNING
                                                     : ICEREST_NOTHING;
}

int64_t icerest_key_round(struct http_req *req)
{
    return clock_wall_ms(icerest_of(req)->clock) / ROUND_MS;
}

/** "lake/wh/main/ns/t-1a2b/": what a key for that location opens; empty where the S3 API has
 * nothing of it, or more than one table could lie below. */
static enum status prefix_of(struct http_req *req, struct str location, struct str *out)
{
    const struct icerest *icerest = icerest_of(req);
    struct str root = arena_printf(&req->arena, "s3://%s/wh/%s/", icerest->s3_bucket,
                                   icerest->warehouse);
    *out = STR_EMPTY;
    if (root.ptr == NULL) {
        return err_no_memory(&req->err);
    }
    struct str below = str_skip(location, str_starts(location, root) ? root.len : location.len);
    size_t slash = str_find_char(below, '/');
    if (slash == SIZE_MAX || slash == 0 || slash + 1 == below.len) {
        return OK;
    }
    *out = arena_printf(&req->arena, "%.*s/", STR_ARG(str_skip(location, strlen("s3://"))));
    return out->ptr == NULL ? err_no_memory(&req->err) : OK;
}

/** "v1/main/namespaces/geo/tables/towns/sign", behind the catalogue's URL. */
static enum status signer_of(struct http_req *req, const struct table_name *name, struct str *out)
{
    AUTO(buf_done) struct buf path;
    buf_init(&path, 16 * 1024);
    if (buf_printf(&path, "v1/%s/namespaces/", icerest_of(req)->warehouse) != OK ||
        percent_append(&path, name->ns, "") != OK || buf_append(&path, STR("/tables/")) != OK ||
        percent_append(&path, name->name, "") != OK || buf_append(&path, STR("/sign")) != OK) {
        return err_no_memory(&req->err);
    }
    *out = arena_str(&req->arena, buf_str(&path));
    return out->ptr == NULL ? err_no_memory(&req->err) : OK;
}

enum status icerest_access_of(struct http_req *req, const struct table_name *name,
                              struct str location, enum icerest_wish wish,
                              struct icerest_access *out)
{
    const struct icerest *icerest = icerest_of(req);
    struct icerest_access access = {
        .location = location,
        .on_s3 = icerest->s3_url != NULL && str_starts(location, STR("s3:")),
        .expires_ms = clock_wall_ms(icerest->clock) + KEY_MS,
    };
    struct str prefix = STR_EMPTY;
    if (access.on_s3 && icerest->lender != NULL) {
        TRY(prefix_of(req, location, &prefix));
    }
    if (prefix.len > 0 && wish == ICEREST_KEY) {
        TRY(aws_vend(icerest->lender, prefix, true, access.expires_ms, &req->arena, &access.key,
                     &req->err));
        access.lent = true;
    } else if (prefix.len > 0 && wish == ICEREST_SIGNING) {
        TRY(signer_of(req, name, &access.signer));
    }
    *out = access;
    return OK;
}

/** ClickHouse joins endpoint and key as they are. */
static void write_endpoint(struct json_writer *w, struct http_req *req)
{
    struct str agent = http_headers_get(&req->headers, STR("User-Agent"));
    struct str url = str_of(icerest_of(req)->s3_url), with_slash;
    if (!str_starts(agent, STR("ClickHouse")) || str_ends(url, STR("/"))) {
        jw_kv_str(w, "s3.endpoint", url);
        return;
    }
    with_slash = arena_printf(&req->arena, "%.*s/", STR_ARG(url));
    jw_kv_str(w, "s3.endpoint", with_slash.ptr != NULL ? with_slash : url);
}

static void write_properties(struct json_writer *w, struct http_req *req,
                             const struct icerest_access *access)
{
    const struct icerest *icerest = icerest_of(req);
    if (!access->on_s3) {
        return;
    }
    write_endpoint(w, req);
    jw_kv_cstr(w, "s3.region", icerest->s3_region);
    jw_kv_cstr(w, "client.region", icerest->s3_region);
    jw_kv_cstr(w, "s3.path-style-access", "true");
    if (access->lent) {
        char expires[24];
        snprintf(expires, sizeof(expires), "%lld", (long long)access->expires_ms);
        jw_kv_cstr(w, "s3.access-key-id", access->key.access_key);
        jw_kv_cstr(w, "s3.secret-access-key", access->key.secret_key);
        jw_kv_str(w, "s3.session-token", access->key.session_token);
        jw_kv_cstr(w, "s3.session-token-expires-at-ms", expires);
    }
    if (access->signer.len > 0) {
        jw_kv_cstr(w, "s3.remote-signing-enabled", "true");
        jw_kv_cstr(w, "s3.signer", "S3V4RestSigner"); /* PyIceberg's name for it */
        jw_kv_str(w, "s3.signer.endpoint", access->signer);
        jw_kv_str(w, "signer.endpoint", access->signer);
    }
}

void icerest_write_credentials(struct json_writer *w, struct http_req *req,
                               const struct icerest_access *access)
{
    jw_kv_arr(w, "storage-credentials");
    if (access->lent) {
        jw_obj_begin(w);
        jw_kv_str(w, "prefix", access->location);
        jw_kv_obj(w, "config");
        write_properties(w, req, access);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void icerest_write_access(struct json_writer *w, struct http_req *req,
                          const struct icerest_access *access)
{
    jw_kv_obj(w, "config");
    write_properties(w, req, access);
    jw_obj_end(w);
    if (access->lent) {
        icerest_write_credentials(w, req, access);
    }
}
