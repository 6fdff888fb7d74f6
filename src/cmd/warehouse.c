#include "cmd/warehouse.h"

#include "cmd/backend.h"

static const char WAREHOUSE[] = "warehouse";

static struct str entry(const struct settings *settings, const char *name)
{
    const char *text = settings_list(settings, WAREHOUSE, name, 0);
    return text != NULL ? str_of(text) : STR_EMPTY;
}

/** The tables of the one warehouse there is are found by its name, so no other may stand there. */
static enum status check_names(const struct settings *settings, struct err *err)
{
    for (size_t i = 0; settings_list(settings, WAREHOUSE, "name", i) != NULL; i++) {
        const char *name = settings_list(settings, WAREHOUSE, "name", i);
        if (i > 0 || !str_eq(str_of(name), STR("main"))) {
            return err_set(err, E_UNSUPPORTED,
                           "warehouse[%zu].name = \"%s\": there is one warehouse, \"main\"", i,
                           name);
        }
    }
    return OK;
}

static enum status read_uri(const struct parts *parts, enum catalog_uri *out, struct err *err)
{
    struct str uri = entry(parts->settings, "uri");
    if (uri.len == 0) {
        *out = CATALOG_URI_STORE;
    } else if (str_eq(uri, STR("file"))) {
        *out = CATALOG_URI_FILE;
    } else if (str_eq(uri, STR("s3"))) {
        *out = CATALOG_URI_S3;
    } else {
        return err_set(err, E_INVALID, "warehouse[0].uri = \"%.*s\": it is \"file\" or \"s3\"",
                       STR_ARG(uri));
    }
    bool bucket = false;
    TRY(backend_is_s3(parts->settings, &bucket, err));
    if (*out == CATALOG_URI_FILE && bucket) {
        return err_set(err, E_INVALID,
                       "warehouse[0].uri = \"file\" does not go with storaged.backend = \"s3\"");
    }
    return OK;
}

static const char *public_url(const struct parts *parts)
{
    struct str url = entry(parts->settings, "s3_public_url");
    return url.len > 0 ? url.ptr : NULL;
}

enum status warehouse_of(const struct parts *parts, struct catalog_local_opts *opts,
                         struct err *err)
{
    TRY(check_names(parts->settings, err));
    TRY(read_uri(parts, &opts->uri, err));
    const char *url = public_url(parts);
    struct http_url parsed;
    struct err why = { 0 };
    if (url != NULL && http_url_parse(str_of(url), &parsed, &why) != OK) {
        return err_set(err, E_INVALID, "warehouse[0].s3_public_url = \"%s\": %s", url, why.msg);
    }
    opts->s3_root = "s3://" S3API_LAKE;
    return OK;
}

bool warehouse_on_s3api(const struct parts *parts)
{
    enum catalog_uri uri = CATALOG_URI_STORE;
    bool bucket = true;
    return read_uri(parts, &uri, NULL) == OK && uri == CATALOG_URI_S3 &&
           backend_is_s3(parts->settings, &bucket, NULL) == OK && !bucket;
}

/** Of "address:port", what a client can call. */
static bool is_callable(struct str address)
{
    size_t colon = str_rfind_char(address, ':');
    return colon != SIZE_MAX && !str_eq(str_skip(address, colon + 1), STR("0")) &&
           !str_starts(address, STR("0.0.0.0:")) && !str_starts(address, STR("[::]:"));
}

const char *warehouse_s3_url(struct parts *parts)
{
    const char *url = public_url(parts);
    if (url != NULL || !warehouse_on_s3api(parts)) {
        return url;
    }
    const char *address = parts->s3_server != NULL ? http_server_address(parts->s3_server)
                                                   : settings_str(parts->settings, "s3api", "bind");
    if (!is_callable(str_of(address))) {
        return NULL;
    }
    return arena_printf(&parts->arena, "http://%s", address).ptr;
}
