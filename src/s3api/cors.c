/*
 * CORS of a bucket: which pages may call. The rules are kept as the XML that was put, and read
 * again when a request names an Origin, which clients other than browsers do not.
 */
#include "s3api/s3api_priv.h"

#include <ctype.h>
#include <string.h>

enum { RULES_MAX = 100, CORS_BYTES_MAX = 64 * 1024 }; /* S3's */

static enum status rules_of(struct s3api_request *r, struct str xml, const struct xml_node **out)
{
    const struct xml_node *root = NULL;
    TRY(s3api_xml_root(r, xml, "CORSConfiguration", AWS_MALFORMED_XML, &root));
    *out = xml_child(root, "CORSRule");
    return OK;
}

static bool known_method(struct str method)
{
    enum http_method known = http_method_parse(method);
    return known == HTTP_GET || known == HTTP_PUT || known == HTTP_POST || known == HTTP_DELETE ||
           known == HTTP_HEAD;
}

/** A header's name (RFC 9110, section 5.6.2), with at most `stars` wildcards. */
bool s3api_cors_header_fits(struct str name, size_t stars)
{
    size_t found = 0;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        found += c == '*';
        if (!isalnum(c) && (c == '\0' || c >= 0x80 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0 && found <= stars;
}

static enum status check_headers(struct s3api_request *r, const struct xml_node *rule,
                                 const char *element, size_t stars)
{
    const struct xml_node *node = xml_child(rule, element);
    for (; node != NULL; node = xml_again(node)) {
        if (!s3api_cors_header_fits(str_trim(node->text), stars)) {
            return s3api_err(r, AWS_INVALID_REQUEST, "\"%.*s\" is no header's name for %s",
                             STR_ARG(node->text), element);
        }
    }
    return OK;
}

static size_t stars(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '*';
    }
    return count;
}

enum status s3api_cors_check(struct s3api_request *r, struct str xml)
{
    const struct xml_node *rule = NULL;
    size_t count = 0;
    if (xml.len > CORS_BYTES_MAX) {
        return s3api_err(r, AWS_MALFORMED_XML, "CORS rules may have %d bytes", CORS_BYTES_MAX);
    }
    TRY(rules_of(r, xml, &rule));
    for (; rule != NULL; rule = xml_again(rule), count++) {
        const struct xml_node *method = xml_child(rule, "AllowedMethod");
        const struct xml_node *origin = xml_child(rule, "AllowedOrigin");
        if (method == NULL || origin == NULL) {
            return s3api_err(r, AWS_MALFORMED_XML, "a rule has AllowedMethod and AllowedOrigin");
        }
        for (; method != NULL; method = xml_again(method)) {
            if (!known_method(str_trim(method->text))) {
                return s3api_err(r, AWS_INVALID_REQUEST, "\"%.*s\" is no method for a CORS rule",
                                 STR_ARG(method->text));
            }
        }
        for (; origin != NULL; origin = xml_again(origin)) {
            if (stars(origin->text) > 1) {
                return s3api_err(r, AWS_INVALID_REQUEST, "an AllowedOrigin has one \"*\" at most");
            }
        }
        TRY(check_headers(r, rule, "AllowedHeader", 1));
        TRY(check_headers(r, rule, "ExposeHeader", 0));
    }
    return count > 0 && count <= RULES_MAX
               ? OK
               : s3api_err(r, AWS_MALFORMED_XML, "there are 1 to %d rules", RULES_MAX);
}

/** One star of the pattern fits anything. */
static bool wildcard_fits(struct str pattern, struct str text)
{
    size_t star = str_find_char(pattern, '*');
    if (star == SIZE_MAX) {
        return str_eq_nocase(pattern, text);
    }
    struct str head = str_take(pattern, star), tail = str_skip(pattern, star + 1);
    return text.len >= head.len + tail.len && str_eq_nocase(str_take(text, head.len), head) &&
           str_eq_nocase(str_skip(text, text.len - tail.len), tail);
}

static bool any_fits(const struct xml_node *rule, const char *name, struct str text)
{
    const struct xml_node *node = xml_child(rule, name);
    for (; node != NULL; node = xml_again(node)) {
        if (wildcard_fits(str_trim(node->text), text)) {
            return true;
        }
    }
    return false;
}

static bool headers_fit(const struct xml_node *rule, struct str list)
{
    struct str rest = list;
    while (rest.ptr != NULL) {
        struct str name = str_trim(str_split(&rest, ','));
        if (name.len > 0 && !any_fits(rule, "AllowedHeader", name)) {
            return false;
        }
    }
    return true;
}

/** The rule that lets it in; NULL: none does. */
static enum status rule_for(struct s3api_request *r, struct str origin, struct str method,
                            struct str headers, const struct xml_node **out)
{
    const struct xml_node *rule = NULL;
    if (r->bucket.cors.len > 0) {
        TRY(rules_of(r, r->bucket.cors, &rule));
    }
    for (; rule != NULL; rule = xml_again(rule)) {
        if (any_fits(rule, "AllowedOrigin", origin) && any_fits(rule, "AllowedMethod", method) &&
            headers_fit(rule, headers)) {
            break;
        }
    }
    *out = rule;
    return OK;
}

/** All texts of one name, with commas; empty without memory. */
static struct str joined(struct s3api_request *r, const struct xml_node *rule, const char *name)
{
    struct str all = STR_EMPTY;
    const struct xml_node *node = xml_child(rule, name);
    for (; node != NULL; node = xml_again(node)) {
        struct str text = str_trim(node->text);
        all = all.len == 0 ? text
                           : arena_printf(r->arena, "%.*s, %.*s", STR_ARG(all), STR_ARG(text));
    }
    return all;
}

static void allow(struct s3api_request *r, const struct xml_node *rule, struct str origin)
{
    bool everybody = any_fits(rule, "AllowedOrigin", STR("*"));
    for (const struct xml_node *node = xml_child(rule, "AllowedOrigin"); node != NULL;
         node = xml_again(node)) {
        everybody = everybody || str_eq(str_trim(node->text), STR("*"));
    }
    http_reply_header(r->http, "Access-Control-Allow-Origin", everybody ? STR("*") : origin);
    http_reply_header(r->http, "Access-Control-Allow-Methods", joined(r, rule, "AllowedMethod"));
    http_reply_header(r->http, "Access-Control-Expose-Headers", joined(r, rule, "ExposeHeader"));
    http_reply_header(r->http, "Access-Control-Max-Age", xml_text(rule, "MaxAgeSeconds"));
    if (!everybody) {
        http_reply_header(r->http, "Access-Control-Allow-Credentials", STR("true"));
    }
    http_reply_header(r->http, "Vary",
                      STR("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"));
}

void s3api_cors_answer(struct s3api_request *r)
{
    struct str origin = s3api_header(r, "origin");
    if (origin.len == 0 || r->http->method == HTTP_OPTIONS) {
        return;
    }
    struct str method = r->http->method == HTTP_HEAD ? STR("HEAD") : r->http->method_name;
    const struct xml_node *rule = NULL;
    enum aws_code code = r->code;
    struct err err = *r->err;
    if (rule_for(r, origin, method, STR_EMPTY, &rule) == OK && rule != NULL) {
        allow(r, rule, origin);
    }
    r->code = code; /* the answer's own error counts */
    *r->err = err;
}

enum status s3api_preflight(struct s3api_request *r)
{
    struct str origin = s3api_header(r, "origin");
    struct str method = s3api_header(r, "access-control-request-method");
    struct str headers = s3api_header(r, "access-control-request-headers");
    if (origin.len == 0 || !known_method(method)) {
        return s3api_err(
            r, AWS_BAD_REQUEST,
            "a preflight has Origin, and a method in Access-Control-Request-Method that CORS knows");
    }
    for (struct str rest = headers; rest.ptr != NULL && headers.len > 0;) {
        struct str name = str_trim(str_split(&rest, ','));
        if (name.len > 0 && !s3api_cors_header_fits(name, 0)) {
            return s3api_err(r, AWS_BAD_REQUEST,
                             "Access-Control-Request-Headers: \"%.*s\" is no header's name",
                             STR_ARG(name));
        }
    }
    const struct xml_node *rule = NULL;
    TRY(rule_for(r, origin, method, headers, &rule));
    if (rule == NULL) {
        return s3api_err(r, AWS_ACCESS_FORBIDDEN,
                         r->bucket.cors.len > 0 ? "no CORS rule of the bucket allows this"
                                                : "the bucket has no CORS rules");
    }
    allow(r, rule, origin);
    http_reply_header(r->http, "Access-Control-Allow-Headers", headers);
    return s3api_reply_empty(r, 200);
}

/* --- the configuration --- */

enum status s3api_get_bucket_cors(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    buf_init(&xml, 0);
    if (r->bucket.cors.len == 0) {
        return s3api_err(r, AWS_NO_SUCH_CORS_CONFIGURATION, "%s", "");
    }
    TRY(buf_append(&xml, r->bucket.cors));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_put_bucket_cors(struct s3api_request *r)
{
    struct s3api_bucket bucket = r->bucket;
    bucket.cors = buf_str(&r->xml_in);
    TRY(s3api_cors_check(r, bucket.cors));
    TRY(s3api_bucket_change(r, &bucket));
    return s3api_reply_empty(r, 200);
}

enum status s3api_delete_bucket_cors(struct s3api_request *r)
{
    struct s3api_bucket bucket = r->bucket;
    bucket.cors = STR_EMPTY;
    TRY(s3api_bucket_change(r, &bucket));
    return s3api_reply_empty(r, 204);
}
