/*
 * From a target (and a Host) to bucket, key and parameters. Keys are bytes: they are decoded once,
 * and a plus stays a plus.
 */
#include "s3api/s3api_priv.h"

#include "base/encode.h"

/** The bucket in "bucket.domain[:port]"; .ptr NULL when the Host names none. */
static struct str host_bucket(const struct s3api_request *r)
{
    struct str host = s3api_header(r, "host"), domain = str_of(r->api->domain);
    size_t colon = str_rfind_char(host, ':');
    if (colon != SIZE_MAX && str_find_char(host, ']') == SIZE_MAX) {
        host = str_take(host, colon);
    }
    if (domain.len == 0 || host.len < domain.len + 2) {
        return (struct str){ NULL, 0 };
    }
    size_t at = host.len - domain.len;
    if (host.ptr[at - 1] != '.' || !str_eq_nocase(str_skip(host, at), domain)) {
        return (struct str){ NULL, 0 };
    }
    return str_take(host, at - 1);
}

enum status s3api_xml_root(struct s3api_request *r, struct str xml, const char *name,
                           enum aws_code code, const struct xml_node **out)
{
    struct xml_node *root = NULL;
    struct err why = { 0 };
    enum status status = xml_read(xml, r->arena, &root, &why);
    if (status == E_NO_MEMORY) {
        return err_no_memory(r->err);
    }
    if (status != OK || !str_eq(root->name, str_of(name))) {
        return s3api_err(r, code, "%s", why.msg);
    }
    *out = root;
    return OK;
}

enum status s3api_decode(struct s3api_request *r, struct str raw, bool plus_is_space,
                         enum aws_code code, struct str *out)
{
    struct err why = { 0 };
    enum status status = percent_decode(r->arena, raw, plus_is_space, out, &why);
    if (status != OK) {
        return status == E_NO_MEMORY ? err_no_memory(r->err) : s3api_err(r, code, "%s", why.msg);
    }
    if (out->ptr == NULL) {
        *out = STR("");
    }
    return OK;
}

static enum status read_params(struct s3api_request *r)
{
    struct str rest = r->http->query;
    while (rest.ptr != NULL && rest.len > 0) {
        struct str pair = str_split(&rest, '&');
        size_t equals = str_find_char(pair, '=');
        if (pair.len == 0) {
            continue;
        }
        if (r->param_count == S3_PARAMS_MAX) {
            return s3api_err(r, AWS_INVALID_ARGUMENT, "more than %d parameters", S3_PARAMS_MAX);
        }
        struct http_param *param = &r->params[r->param_count++];
        TRY(s3api_decode(r, str_take(pair, equals == SIZE_MAX ? pair.len : equals), true,
                         AWS_INVALID_URI, &param->name));
        TRY(s3api_decode(r, equals == SIZE_MAX ? STR_EMPTY : str_skip(pair, equals + 1), true,
                         AWS_INVALID_URI, &param->value));
    }
    return OK;
}

static enum status check_key(struct s3api_request *r, struct str key)
{
    if (key.len > S3_KEY_MAX) {
        return s3api_err(r, AWS_KEY_TOO_LONG, "the key has %zu bytes: at most %d", key.len,
                         S3_KEY_MAX);
    }
    if (!str_is_utf8(key) || str_find_char(key, '\0') != SIZE_MAX) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "the key is no UTF-8, or holds a NUL");
    }
    return OK;
}

enum status s3api_request_read(struct s3api_request *r)
{
    struct str path = str_skip(r->http->path, 1);
    struct str bucket = host_bucket(r);
    r->aws = (struct aws_request){ .method = r->http->method_name,
                                   .path = r->http->path,
                                   .query = r->http->query,
                                   .headers = &r->http->headers };
    if (bucket.ptr == NULL) {
        size_t slash = str_find_char(path, '/');
        bucket = str_take(path, slash == SIZE_MAX ? path.len : slash);
        path = slash == SIZE_MAX ? STR_EMPTY : str_skip(path, slash + 1);
    }
    r->has_key = path.len > 0;
    r->has_bucket = bucket.len > 0 || r->has_key; /* "//key": of a bucket that cannot be */
    TRY(s3api_decode(r, bucket, false, AWS_INVALID_URI, &r->bucket_name));
    TRY(s3api_decode(r, path, false, AWS_INVALID_URI, &r->key));
    if (r->has_key) {
        TRY(check_key(r, r->key));
    }
    return read_params(r);
}

struct str s3api_param(const struct s3api_request *r, const char *name)
{
    for (size_t i = 0; i < r->param_count; i++) {
        if (str_eq(r->params[i].name, str_of(name))) {
            return r->params[i].value;
        }
    }
    return (struct str){ NULL, 0 };
}

struct str s3api_header(const struct s3api_request *r, const char *name)
{
    return http_headers_get(&r->http->headers, str_of(name));
}

enum status s3api_header_list(struct s3api_request *r, const char *name, struct str *out)
{
    struct str all = { NULL, 0 };
    for (size_t i = 0; i < r->http->headers.count; i++) {
        const struct http_header *header = &r->http->headers.items[i];
        if (!str_eq_nocase(header->name, str_of(name))) {
            continue;
        }
        all = all.ptr == NULL
                  ? header->value
                  : arena_printf(r->arena, "%.*s,%.*s", STR_ARG(all), STR_ARG(header->value));
        if (all.ptr == NULL) {
            return err_no_memory(r->err);
        }
    }
    *out = all;
    return OK;
}

enum status s3api_store_key(struct s3api_request *r, const struct s3api_bucket *bucket,
                            struct str key, struct str *out)
{
    TRY(check_key(r, key));
    if (bucket->prefix.len == 0) {
        *out = key;
        return OK;
    }
    *out = arena_printf(r->arena, "%.*s%.*s", STR_ARG(bucket->prefix), STR_ARG(key));
    return out->ptr != NULL ? OK : err_no_memory(r->err);
}

enum status s3api_param_count(struct s3api_request *r, const char *name, uint64_t otherwise,
                              uint64_t max, uint64_t *out)
{
    struct str text = s3api_param(r, name);
    if (text.ptr == NULL || text.len == 0) {
        *out = otherwise;
        return OK;
    }
    if (!str_to_u64(text, out) || *out > INT32_MAX) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "%s is a number from 0 to %d", name, INT32_MAX);
    }
    *out = *out < max ? *out : max;
    return OK;
}
