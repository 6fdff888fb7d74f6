/*
 * The router: which route a path belongs to, and the values of the {names} in its pattern.
 *
 * Segments are compared raw, so an encoded spelling of a route's literal never matches. Of several
 * patterns that match the most literal one wins, segment by segment: a literal before {x} before
 * {x*}.
 */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include "http/server.h"

struct router_entry {
    struct http_route route;
    void *ctx;
    char *pattern;        /* prefix and pattern; the label of metrics */
    struct str *segments; /* into pattern */
    size_t segment_count;
    char *rank; /* 'a' literal, 'b' {x}, 'c' {x*}: compares as text */
    size_t index;
};

struct router {
    struct router_entry **entries;
    size_t count, cap;
};

void router_init(struct router *router);
void router_done(struct router *router);

/** Errors   E_INVALID for a pattern that makes no sense or stands twice; E_NO_MEMORY */
enum status router_add(struct router *router, const char *prefix, const struct http_route *route,
                       void *ctx, struct err *err) MUST_USE;

/**
 * Find the route of req->path and req->method and fill req->params.
 *
 * Errors   E_NOT_FOUND; E_METHOD with *allow_out a list like "GET, HEAD, POST" in the request's
 *          arena; E_INVALID for encoded slashes, backslashes and dots where a route's own part
 *          stands, and for parameters with broken escapes or NUL
 */
enum status router_find(const struct router *router, struct http_req *req,
                        const struct router_entry **entry_out, struct str *allow_out,
                        struct err *err) MUST_USE;

#endif
