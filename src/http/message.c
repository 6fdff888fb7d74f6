/*
 * What both ends of HTTP share: names of methods and statuses, header lists, ranges, ETag lists,
 * addresses and URLs, and the JSON form of our errors. Pure functions; nothing here knows a socket.
 *
 * The table of kinds below is the only mapping between our errors and HTTP.
 */
#include "http/message.h"

#include <arpa/inet.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

static const char *const method_names[] = {
    [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",          [HTTP_POST] = "POST",
    [HTTP_PUT] = "PUT",         [HTTP_DELETE] = "DELETE",      [HTTP_PATCH] = "PATCH",
    [HTTP_OPTIONS] = "OPTIONS", [HTTP_METHOD_OTHER] = "OTHER",
};

const char *http_method_name(enum http_method method)
{
    return method_names[method];
}

enum http_method http_method_parse(struct str name)
{
    for (int i = 0; i < HTTP_METHOD_OTHER; i++) {
        if (str_eq(name, str_of(method_names[i]))) {
            return (enum http_method)i;
        }
    }
    return HTTP_METHOD_OTHER;
}

/* --- header lists --- */

enum status http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                             struct str value)
{
    if (headers->count == headers->cap) {
        size_t cap = headers->cap == 0 ? 16 : headers->cap * 2;
        struct http_header *items = arena_array(arena, cap, sizeof(*items));
        if (items == NULL) {
            return E_NO_MEMORY;
        }
        if (headers->count > 0) {
            memcpy(items, headers->items, headers->count * sizeof(*items));
        }
        headers->items = items;
        headers->cap = cap;
    }
    struct http_header copy = { .name = arena_str(arena, name), .value = arena_str(arena, value) };
    if (copy.name.ptr == NULL || copy.value.ptr == NULL) {
        return E_NO_MEMORY;
    }
    headers->items[headers->count++] = copy;
    return OK;
}

struct str http_headers_get(const struct http_headers *headers, struct str name)
{
    for (size_t i = 0; i < headers->count; i++) {
        if (str_eq_nocase(headers->items[i].name, name)) {
            return headers->items[i].value;
        }
    }
    return (struct str){ NULL, 0 };
}

size_t http_headers_count(const struct http_headers *headers, struct str name)
{
    size_t count = 0;
    for (size_t i = 0; i < headers->count; i++) {
        count += str_eq_nocase(headers->items[i].name, name);
    }
    return count;
}

bool http_header_is_hop(const struct http_headers *headers, struct str name)
{
    /* RFC 9110 section 7.6.1, and Proxy-* of RFC 9110 section 11.7 */
    static const struct str hops[] = {
        STR_INIT("connection"), STR_INIT("keep-alive"),        STR_INIT("te"),
        STR_INIT("trailer"),    STR_INIT("transfer-encoding"), STR_INIT("upgrade"),
    };
    for (size_t i = 0; i < ARRAY_LEN(hops); i++) {
        if (str_eq_nocase(name, hops[i])) {
            return true;
        }
    }
    if (name.len >= 6 && str_eq_nocase(str_take(name, 6), STR("proxy-"))) {
        return true;
    }
    for (size_t i = 0; i < headers->count; i++) {
        if (!str_eq_nocase(headers->items[i].name, STR("connection"))) {
            continue;
        }
        struct str rest = headers->items[i].value;
        while (rest.ptr != NULL) {
            if (str_eq_nocase(str_trim(str_split(&rest, ',')), name)) {
                return true;
            }
        }
    }
    return false;
}

/* --- statuses --- */

int http_status_of(enum status kind)
{
    switch (kind) {
    case OK:
        return 200;
    case E_INVALID:
        return 400;
    case E_AUTH:
        return 401;
    case E_DENIED:
        return 403;
    case E_NOT_FOUND:
        return 404;
    case E_METHOD:
        return 405;
    case E_EXISTS:
    case E_CONFLICT:
        return 409;
    case E_PRECONDITION:
        return 412;
    case E_TOO_LARGE:
        return 413;
    case E_TYPE:
        return 415;
    case E_RANGE:
        return 416;
    case E_RATE:
        return 429;
    case E_CANCELED:
        return 499;
    case E_INTERNAL:
    case E_CORRUPT:
        return 500;
    case E_UNSUPPORTED:
        return 501;
    case E_UPSTREAM:
        return 502;
    case E_UNAVAILABLE:
        return 503;
    case E_TIMEOUT:
        return 504;
    case E_NO_MEMORY:
    case E_DISK_FULL:
        return 507;
    case E_KIND_COUNT:
        break;
    }
    return 500;
}

enum status http_status_kind(int http_status)
{
    if (http_status >= 200 && http_status < 300) {
        return OK;
    }
    switch (http_status) {
    case 401:
        return E_AUTH;
    case 403:
        return E_DENIED;
    case 404:
        return E_NOT_FOUND;
    case 405:
        return E_METHOD;
    case 408:
        return E_TIMEOUT;
    case 409:
        return E_CONFLICT;
    case 412:
        return E_PRECONDITION;
    case 413:
        return E_TOO_LARGE;
    case 415:
        return E_TYPE;
    case 416:
        return E_RANGE;
    case 429:
        return E_RATE;
    case 499:
        return E_CANCELED;
    case 500:
        return E_INTERNAL;
    case 501:
        return E_UNSUPPORTED;
    case 502:
        return E_UPSTREAM;
    case 503:
        return E_UNAVAILABLE;
    case 504:
        return E_TIMEOUT;
    case 507:
        return E_NO_MEMORY;
    default:
        return http_status >= 400 && http_status < 500 ? E_INVALID : E_UPSTREAM;
    }
}

const char *http_reason(int http_status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 499, "Client Closed Request" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == http_status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

/* --- errors as JSON --- */

enum status http_error_body(struct buf *out, const struct err *err, struct str request_id)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_obj(&w, "error");
    jw_kv_cstr(&w, "code", status_name(err->kind == OK ? E_INTERNAL : err->kind));
    jw_kv_cstr(&w, "message", err->msg);
    jw_kv_str(&w, "request_id", request_id);
    jw_obj_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

enum status http_error_parse(int http_status, struct str body, struct err *err)
{
    enum status kind = http_status_kind(http_status);
    if (kind == OK) {
        kind = E_UPSTREAM;
    }
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str code = STR_EMPTY, message = STR_EMPTY;
    if (json_parse(body, &doc, NULL) == OK) {
        yyjson_val *error = yyjson_obj_get(yyjson_doc_get_root(doc), "error");
        yyjson_val *value = yyjson_obj_get(error, "code");
        code = str_from(yyjson_get_str(value), yyjson_get_len(value));
        value = yyjson_obj_get(error, "message");
        message = str_from(yyjson_get_str(value), yyjson_get_len(value));
    }
    if (message.ptr == NULL || message.len == 0) {
        return err_set(err, kind, "the server answered %d %s", http_status,
                       http_reason(http_status));
    }
    char name[32] = "";
    if (code.ptr != NULL && code.len > 0 && code.len < sizeof(name)) {
        memcpy(name, code.ptr, code.len);
        enum status told = status_from_name(name);
        /* an unknown name gives E_INTERNAL; then the status knows better */
        if (told != OK && (told != E_INTERNAL || http_status == 500)) {
            kind = told;
        }
    }
    return err_set(err, kind, "%.*s", STR_ARG(message));
}

/* --- ranges and ETags --- */

enum status http_range_parse(struct str value, uint64_t size, bool *partial_out,
                             uint64_t *offset_out, uint64_t *length_out)
{
    struct str unit = STR("bytes=");
    value = str_trim(value);
    *partial_out = false;
    if (value.len <= unit.len || !str_eq_nocase(str_take(value, unit.len), unit)) {
        return OK; /* RFC 9110 section 14.2: what is not understood is ignored */
    }
    struct str spec = str_skip(value, unit.len); /* no blanks inside */
    size_t dash = str_find_char(spec, '-');
    if (dash == SIZE_MAX || str_find_char(spec, ',') != SIZE_MAX) {
        return OK; /* several ranges: the whole thing is a correct answer */
    }
    struct str first = str_take(spec, dash), last = str_skip(spec, dash + 1);
    uint64_t from = 0, to = 0;
    if (first.len == 0) {
        if (!str_to_u64(last, &to)) {
            return OK;
        }
        if (to == 0 || size == 0) {
            return E_RANGE;
        }
        from = to >= size ? 0 : size - to;
        to = size - 1;
    } else {
        if (!str_to_u64(first, &from)) {
            return OK;
        }
        if (last.len == 0) {
            to = UINT64_MAX;
        } else if (!str_to_u64(last, &to) || to < from) {
            return OK;
        }
        if (from >= size) {
            return E_RANGE;
        }
        to = to >= size ? size - 1 : to;
    }
    *partial_out = true;
    *offset_out = from;
    *length_out = to - from + 1;
    return OK;
}

bool http_etag_matches(struct str list, struct str etag)
{
    while (list.ptr != NULL) {
        struct str item = str_trim(str_split(&list, ','));
        if (str_eq(item, STR("*"))) {
            return true;
        }
        if (str_starts(item, STR("W/"))) {
            item = str_skip(item, 2);
        }
        if (item.len >= 2 && item.ptr[0] == '"' && item.ptr[item.len - 1] == '"') {
            item = str_from(item.ptr + 1, item.len - 2);
        }
        if (item.len > 0 && str_eq(item, etag)) {
            return true;
        }
    }
    return false;
}

static struct str prefixed(const struct http_headers *headers, const char *prefix, const char *name)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%s%s", prefix, name);
    return http_headers_get(headers, str_from(text, (size_t)len));
}

enum http_wanted http_conditions(const struct http_headers *headers, const char *prefix,
                                 struct str etag, int64_t modified_ms)
{
    struct str match = prefixed(headers, prefix, "if-match");
    struct str none = prefixed(headers, prefix, "if-none-match");
    struct str unmodified = prefixed(headers, prefix, "if-unmodified-since");
    struct str modified = prefixed(headers, prefix, "if-modified-since");
    int64_t since_ms = 0;
    if (match.ptr != NULL) {
        if (!http_etag_matches(match, etag)) {
            return HTTP_REFUSED;
        }
    } else if (unmodified.ptr != NULL && time_parse_http(unmodified, &since_ms) &&
               modified_ms / 1000 > since_ms / 1000) {
        return HTTP_REFUSED;
    }
    if (none.ptr != NULL) {
        return http_etag_matches(none, etag) ? HTTP_NOT_MODIFIED : HTTP_WANTED;
    }
    bool same = modified.ptr != NULL && time_parse_http(modified, &since_ms) &&
                modified_ms / 1000 <= since_ms / 1000;
    return same ? HTTP_NOT_MODIFIED : HTTP_WANTED;
}

/* --- addresses and URLs --- */

static enum status parse_port(struct str text, uint16_t *out, struct err *err)
{
    uint64_t port = 0;
    if (!str_to_u64(text, &port) || port > 65535) {
        return err_set(err, E_INVALID, "\"%.*s\" is no port; expected a number from 0 to 65535",
                       STR_ARG(text));
    }
    *out = (uint16_t)port;
    return OK;
}

/* Cuts "[v6]:port" or "host:port"; *port_out has a NULL pointer when there is none. */
static enum status split_host(struct str text, struct str *host_out, struct str *port_out,
                              struct err *err)
{
    *port_out = (struct str){ NULL, 0 };
    if (text.len > 0 && text.ptr[0] == '[') {
        size_t close = str_find_char(text, ']');
        if (close == SIZE_MAX) {
            return err_set(err, E_INVALID, "\"%.*s\" has a '[' without ']'", STR_ARG(text));
        }
        *host_out = str_from(text.ptr + 1, close - 1);
        struct str rest = str_skip(text, close + 1);
        if (rest.len > 0 && rest.ptr[0] != ':') {
            return err_set(err, E_INVALID, "\"%.*s\" has something after ']' that is no port",
                           STR_ARG(text));
        }
        if (rest.len > 0) {
            *port_out = str_skip(rest, 1);
        }
        return OK;
    }
    size_t colon = str_find_char(text, ':');
    if (colon != str_rfind_char(text, ':')) {
        return err_set(err, E_INVALID, "\"%.*s\" looks like IPv6; write it as [address]:port",
                       STR_ARG(text));
    }
    *host_out = str_take(text, colon == SIZE_MAX ? text.len : colon);
    if (colon != SIZE_MAX) {
        *port_out = str_skip(text, colon + 1);
        if (port_out->ptr == NULL) {
            *port_out = STR_EMPTY;
        }
    }
    return OK;
}

static enum status check_host(struct str host, struct str whole, struct err *err)
{
    if (host.len >= sizeof(((struct http_address *)0)->host)) {
        return err_set(err, E_INVALID, "the host name in \"%.*s\" is too long", STR_ARG(whole));
    }
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '-' || c == '.' || c == '_' || c == ':' || c == '%';
        if (!fine) {
            return err_set(err, E_INVALID, "\"%.*s\" holds a character that no host name has",
                           STR_ARG(whole));
        }
    }
    return OK;
}

enum status http_address_parse(struct str text, struct http_address *out, struct err *err)
{
    struct str host = STR_EMPTY, port = STR_EMPTY;
    if (text.len == 0) {
        return err_set(err, E_INVALID, "the address is empty; expected host:port");
    }
    if (str_find(text, STR("://")) != SIZE_MAX) {
        return err_set(err, E_INVALID, "\"%.*s\" is a URL; expected host:port without a scheme",
                       STR_ARG(text));
    }
    TRY(split_host(text, &host, &port, err));
    if (port.ptr == NULL) {
        return err_set(err, E_INVALID, "\"%.*s\" has no port; expected host:port", STR_ARG(text));
    }
    TRY(check_host(host, text, err));
    struct http_address address = { .port = 0 };
    TRY(parse_port(port, &address.port, err));
    if (host.len == 0) {
        host = STR("0.0.0.0"); /* ":port" means every address, as other servers read it */
    }
    memcpy(address.host, host.ptr, host.len);
    *out = address;
    return OK;
}

bool http_address_is_literal(const struct http_address *address)
{
    unsigned char binary[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, address->host, binary) == 1 ||
           inet_pton(AF_INET6, address->host, binary) == 1;
}

bool http_address_is_loopback(const struct http_address *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (str_eq_nocase(str_of(address->host), STR("localhost"))) {
        return true;
    }
    if (inet_pton(AF_INET, address->host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, address->host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    }
    return false;
}

/* Takes "http://" or "https://" off the front. */
static enum status parse_scheme(struct str text, bool *tls_out, struct str *rest_out,
                                struct err *err)
{
    size_t mark = str_find(text, STR("://"));
    if (mark == SIZE_MAX) {
        if (str_starts(text, STR("http:/")) || str_starts(text, STR("https:/"))) {
            return err_set(err, E_INVALID,
                           "\"%.*s\" needs two slashes after the scheme, as in http://host:port",
                           STR_ARG(text));
        }
        return err_set(err, E_INVALID, "\"%.*s\" has no scheme; did you mean \"http://%.*s\"?",
                       STR_ARG(text), STR_ARG(text));
    }
    struct str scheme = str_take(text, mark);
    *tls_out = str_eq_nocase(scheme, STR("https"));
    if (!*tls_out && !str_eq_nocase(scheme, STR("http"))) {
        return err_set(err, E_INVALID, "\"%.*s\" has the scheme \"%.*s\"; expected http or https",
                       STR_ARG(text), STR_ARG(scheme));
    }
    *rest_out = str_skip(text, mark + 3);
    return OK;
}

enum status http_url_parse(struct str text, struct http_url *out, struct err *err)
{
    struct http_url url = { .tls = false };
    struct str rest = STR_EMPTY, host = STR_EMPTY, port = STR_EMPTY;
    if (text.len == 0) {
        return err_set(err, E_INVALID, "the URL is empty; expected http://host:port");
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c >= 0x7f) {
            return err_set(err, E_INVALID,
                           "\"%.*s\" holds a space or a character that must be percent-encoded",
                           STR_ARG(text));
        }
    }
    TRY(parse_scheme(text, &url.tls, &rest, err));
    size_t slash = str_find_char(rest, '/');
    struct str path = slash == SIZE_MAX ? STR_EMPTY : str_skip(rest, slash);
    struct str authority = slash == SIZE_MAX ? rest : str_take(rest, slash);
    if (str_find_char(authority, '@') != SIZE_MAX) {
        return err_set(err, E_INVALID,
                       "the URL carries a user name; credentials have settings of their own");
    }
    if (str_find_char(rest, '?') != SIZE_MAX || str_find_char(rest, '#') != SIZE_MAX) {
        return err_set(err, E_INVALID,
                       "\"%.*s\" has a query or fragment; only a path may follow the host",
                       STR_ARG(text));
    }
    TRY(split_host(authority, &host, &port, err));
    TRY(check_host(host, text, err));
    if (host.len == 0) {
        return err_set(err, E_INVALID, "\"%.*s\" has no host", STR_ARG(text));
    }
    url.address.port = url.tls ? 443 : 80;
    if (port.ptr != NULL) {
        TRY(parse_port(port, &url.address.port, err));
        if (url.address.port == 0) {
            return err_set(err, E_INVALID, "\"%.*s\" has port 0; nobody can be reached there",
                           STR_ARG(text));
        }
    }
    while (path.len > 0 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    if (path.len >= sizeof(url.path)) {
        return err_set(err, E_INVALID, "the path of the URL is longer than %zu bytes",
                       sizeof(url.path) - 1);
    }
    memcpy(url.address.host, host.ptr, host.len);
    if (path.len > 0) {
        memcpy(url.path, path.ptr, path.len);
    }
    *out = url;
    return OK;
}
