/*
 * The guards of the edge: what is refused before a route is looked up, so that nothing behind us
 * ever has to think about it. Pure functions over what the client sent.
 */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include "http/message.h"

/** Errors   E_INVALID for absolute-form and other targets than `/path?query`, for control bytes and
 * non-ASCII, and unless `any_segments` for `//`, `.` and `..` segments */
enum status guard_target(struct str target, bool any_segments, struct err *err) MUST_USE;

/**
 * Two lengths, one beyond 63 bits, length and chunked, chunked before HTTP/1.1, two Hosts: whoever
 * reads such a request together with a proxy may see two different ones (RFC 9112 section 11.2).
 * The connection must be closed after the answer.
 */
enum status guard_framing(const struct http_headers *headers, bool http10,
                          struct err *err) MUST_USE;

/**
 * Against pages in the user's own browser that reach us by a name of theirs (DNS rebinding).
 *
 * Returns  false when Host is neither an IP literal, nor `localhost`, nor in `hosts`
 * (NULL-terminated, may be NULL)
 */
bool guard_host(struct str host, const char *const *hosts);

/** What a request's Origin header means to us. */
enum guard_origin { GUARD_ORIGIN_OWN, GUARD_ORIGIN_LISTED, GUARD_ORIGIN_FOREIGN };
/** `origin` without .ptr counts as our own. `host` is the Host header. */
enum guard_origin guard_origin(struct str origin, struct str host, const char *const *origins);

/** application/json or anything ending in +json, parameters ignored. */
bool guard_is_json(struct str content_type);

/** True when `path` holds an encoded slash, backslash or dot: never an honest spelling of a
 * route. */
bool guard_has_encoded_trick(struct str path);

/** True when a component of the raw `path` is `..` to somebody who decodes it, slashes and
 * backslashes included. */
bool guard_climbs(struct str path);

/** 1 to 128 of A-Z a-z 0-9 . _ - */
bool guard_request_id(struct str id);

/** Compares in a time that tells nothing about where two secrets differ. */
bool guard_secret_eq(struct str a, struct str b);

#endif
