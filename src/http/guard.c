/*
 * The guards of the edge. libmicrohttpd already refuses malformed heads; these are the well-formed
 * requests that still mean two things to two readers, or come from a page that has no business
 * here.
 */
#include "http/guard.h"

#include <arpa/inet.h>
#include <ctype.h>

static enum status guard_segments(struct str path, struct err *err)
{
    struct str rest = str_skip(path, 1);
    if (rest.len == 0) {
        return OK; /* "/" alone */
    }
    while (rest.ptr != NULL) {
        struct str segment = str_split(&rest, '/');
        if (segment.len == 0 && rest.ptr != NULL) {
            return err_set(
                err, E_INVALID,
                "the path holds \"//\"; an empty segment names nothing (encode slashes in names as %%2F)");
        }
        if (str_eq(segment, STR(".")) || str_eq(segment, STR(".."))) {
            return err_set(err, E_INVALID, "the path holds a \"%.*s\" segment; send it resolved",
                           STR_ARG(segment));
        }
    }
    return OK;
}

enum status guard_target(struct str target, bool any_segments, struct err *err)
{
    if (target.len == 0 || target.ptr[0] != '/') {
        return err_set(err, E_INVALID, "the request target must be a path that starts with \"/\"");
    }
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];
        if (c <= 0x20 || c >= 0x7f) {
            return err_set(err, E_INVALID,
                           "the request target holds the raw byte 0x%02x; encode it as %%%02X", c,
                           c);
        }
    }
    if (any_segments) {
        return OK;
    }
    size_t question = str_find_char(target, '?');
    return guard_segments(str_take(target, question == SIZE_MAX ? target.len : question), err);
}

enum status guard_framing(const struct http_headers *headers, bool http10, struct err *err)
{
    size_t lengths = http_headers_count(headers, STR("content-length"));
    size_t encodings = http_headers_count(headers, STR("transfer-encoding"));
    if (http_headers_count(headers, STR("host")) > 1) {
        return err_set(err, E_INVALID, "the request has two Host headers");
    }
    if (lengths > 1) {
        return err_set(err, E_INVALID, "the request has two Content-Length headers");
    }
    uint64_t length = 0;
    struct str declared = http_headers_get(headers, STR("content-length"));
    if (lengths == 1 && (!str_to_u64(declared, &length) || length > INT64_MAX)) {
        return err_set(err, E_INVALID, "\"%.*s\" is no length that a body may have",
                       STR_ARG(declared));
    }
    if (encodings > 1) {
        return err_set(err, E_INVALID, "the request has two Transfer-Encoding headers");
    }
    if (lengths + encodings > 1) {
        return err_set(err, E_INVALID, "the request has both Content-Length and Transfer-Encoding");
    }
    if (http10 && encodings > 0) {
        return err_set(err, E_INVALID, "Transfer-Encoding does not exist in HTTP/1.0");
    }
    return OK;
}

/* The name in "name:port" or "[v6]:port"; false when it is neither. */
static bool host_name(struct str host, struct str *name_out, bool *v6_out)
{
    size_t end = host.len;
    *v6_out = host.len > 0 && host.ptr[0] == '[';
    if (*v6_out) {
        size_t close = str_find_char(host, ']');
        if (close == SIZE_MAX) {
            return false;
        }
        *name_out = str_from(host.ptr + 1, close - 1);
        end = close + 1;
    } else {
        size_t colon = str_find_char(host, ':');
        end = colon == SIZE_MAX ? host.len : colon;
        *name_out = str_take(host, end);
    }
    struct str port = str_skip(host, end);
    uint64_t number = 0;
    return port.len == 0 ||
           (port.ptr[0] == ':' &&
            (port.len == 1 || (str_to_u64(str_skip(port, 1), &number) && number <= 65535)));
}

bool guard_host(struct str host, const char *const *hosts)
{
    struct str name = STR_EMPTY;
    bool v6 = false;
    char text[INET6_ADDRSTRLEN + 1] = "";
    unsigned char address[sizeof(struct in6_addr)];
    if (!host_name(host, &name, &v6) || name.len == 0) {
        return false;
    }
    if (name.len < sizeof(text)) {
        memcpy(text, name.ptr, name.len);
        /* a NUL would end the text early */
        if (strlen(text) == name.len && inet_pton(v6 ? AF_INET6 : AF_INET, text, address) == 1) {
            return true;
        }
    }
    if (v6) {
        return false;
    }
    if (str_eq_nocase(name, STR("localhost"))) {
        return true;
    }
    for (; hosts != NULL && *hosts != NULL; hosts++) {
        if (str_eq_nocase(name, str_of(*hosts)) || str_eq_nocase(host, str_of(*hosts))) {
            return true;
        }
    }
    return false;
}

enum guard_origin guard_origin(struct str origin, struct str host, const char *const *origins)
{
    if (origin.ptr == NULL) {
        return GUARD_ORIGIN_OWN;
    }
    /* behind a proxy that ends TLS the page's own origin is https */
    static const struct str schemes[] = { STR_INIT("http://"), STR_INIT("https://") };
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (host.len > 0 && str_starts(origin, schemes[i]) &&
            str_eq_nocase(str_skip(origin, schemes[i].len), host)) {
            return GUARD_ORIGIN_OWN;
        }
    }
    for (; origins != NULL && *origins != NULL; origins++) {
        if (str_eq_nocase(origin, str_of(*origins))) {
            return GUARD_ORIGIN_LISTED;
        }
    }
    return GUARD_ORIGIN_FOREIGN;
}

bool guard_is_json(struct str content_type)
{
    size_t semicolon = str_find_char(content_type, ';');
    struct str type = str_trim(
        str_take(content_type, semicolon == SIZE_MAX ? content_type.len : semicolon));
    if (str_eq_nocase(type, STR("application/json"))) {
        return true;
    }
    struct str tail = STR("+json");
    return type.len > tail.len && str_eq_nocase(str_skip(type, type.len - tail.len), tail);
}

bool guard_has_encoded_trick(struct str path)
{
    for (size_t i = 0; i + 2 < path.len; i++) {
        if (path.ptr[i] != '%') {
            continue;
        }
        char high = path.ptr[i + 1], low = (char)tolower((unsigned char)path.ptr[i + 2]);
        if ((high == '2' && (low == 'f' || low == 'e')) || (high == '5' && low == 'c') ||
            (high == '0' && low == '0')) {
            return true;
        }
    }
    return false;
}

/* One byte of a raw path, decoded; *at moves behind it. What is no escape stands for itself. */
static char next_byte(struct str path, size_t *at)
{
    static const char digits[] = "0123456789abcdef";
    char c = path.ptr[(*at)++];
    if (c != '%' || *at + 2 > path.len) {
        return c;
    }
    size_t high = str_find_char(str_of(digits), (char)tolower((unsigned char)path.ptr[*at]));
    size_t low = str_find_char(str_of(digits), (char)tolower((unsigned char)path.ptr[*at + 1]));
    if (high == SIZE_MAX || low == SIZE_MAX) {
        return c;
    }
    *at += 2;
    return (char)(high << 4 | low);
}

bool guard_climbs(struct str path)
{
    size_t dots = 0, others = 0;
    for (size_t at = 0; at < path.len;) {
        char c = next_byte(path, &at);
        if (c == '/' || c == '\\') {
            if (dots == 2 && others == 0) {
                return true;
            }
            dots = others = 0;
        } else if (c == '.') {
            dots++;
        } else {
            others++;
        }
    }
    return dots == 2 && others == 0;
}

bool guard_request_id(struct str id)
{
    if (id.ptr == NULL || id.len == 0 || id.len > 128) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        unsigned char c = (unsigned char)id.ptr[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == '_' || c == '-';
        if (!fine) {
            return false;
        }
    }
    return true;
}

bool guard_secret_eq(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    unsigned char difference = 0;
    for (size_t i = 0; i < a.len; i++) {
        difference |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    }
    return difference == 0;
}
