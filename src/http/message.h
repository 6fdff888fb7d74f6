/*
 * What server, client and gateway share: methods, header lists, status texts, and the one table
 * from kinds of errors to HTTP statuses.
 */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include "base/arena.h"
#include "base/buf.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_PATCH,
    HTTP_OPTIONS,
    HTTP_METHOD_OTHER
};

const char *http_method_name(enum http_method method);
enum http_method http_method_parse(struct str name);

struct http_header {
    struct str name; /* any case; compare with str_eq_nocase */
    struct str value;
};

struct http_headers {
    struct http_header *items; /* in the owner's arena */
    size_t count, cap;
};

/** Copies both into the arena. E_NO_MEMORY at the arena's limit. */
enum status http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                             struct str value) MUST_USE;
/** The first of that name; .ptr NULL when there is none. */
struct str http_headers_get(const struct http_headers *headers, struct str name);
size_t http_headers_count(const struct http_headers *headers, struct str name);
/** True for Connection, Keep-Alive, TE, Trailer, Transfer-Encoding, Upgrade, Proxy-*, and what
 * `Connection:` names. */
bool http_header_is_hop(const struct http_headers *headers, struct str name);

/** 404 for E_NOT_FOUND and so on; CONVENTIONS section 4. */
int http_status_of(enum status kind);
/** The kind nearest to a status, for clients: 404 is E_NOT_FOUND. 2xx is OK. */
enum status http_status_kind(int http_status);
const char *http_reason(int http_status);

/** Append {"error":{"code","message","request_id"}} */
enum status http_error_body(struct buf *out, const struct err *err, struct str request_id) MUST_USE;
/**
 * Fill `err` from an error answer of one of our services (or from its status alone) and return the
 * kind.
 */
enum status http_error_parse(int http_status, struct str body, struct err *err);

/** `bytes=a-b`, `a-`, `-n` against `size`. OK with *partial_out false when there is no (usable)
 * range; E_RANGE when none can be met. */
enum status http_range_parse(struct str value, uint64_t size, bool *partial_out,
                             uint64_t *offset_out, uint64_t *length_out) MUST_USE;
/** If-Match / If-None-Match lists, weak marks ignored: true when `etag` (no quotes) or `*` is in
 * it. */
bool http_etag_matches(struct str list, struct str etag);

enum http_wanted { HTTP_WANTED, HTTP_NOT_MODIFIED, HTTP_REFUSED };
/**
 * What If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since of a read mean for what
 * is there: the tags count before the dates (RFC 9110, section 13.2.2). `prefix` stands before each
 * header's name, as in S3's "x-amz-copy-source-"; "" for none.
 */
enum http_wanted http_conditions(const struct http_headers *headers, const char *prefix,
                                 struct str etag, int64_t modified_ms);

/** host:port, [v6]:port, or :port; a port from 0 to 65535. The message names what is wrong. */
struct http_address {
    char host[256];
    uint16_t port;
};
enum status http_address_parse(struct str text, struct http_address *out, struct err *err) MUST_USE;
/** An IP literal: nobody has to be asked for it. */
bool http_address_is_literal(const struct http_address *address);
bool http_address_is_loopback(const struct http_address *address);

/** http(s)://host[:port][/path]; missing scheme and typing errors are E_INVALID with a hint. */
struct http_url {
    bool tls;
    struct http_address address;
    char path[1024]; /* without trailing slash, "" for none */
};
enum status http_url_parse(struct str text, struct http_url *out, struct err *err) MUST_USE;

#endif
