/*
 * The one door: forwards `/v1/<area>/...` to the service of that area, byte for byte, streaming in
 * both directions. Knows HTTP, knows no lakehouse.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "http/server.h"
#include "http/upstream.h"

struct gateway;

/** One area of paths and the service behind it. */
struct gateway_upstream {
    const char *area;    /* "storage": takes /v1/storage and /v1/storage/... */
    bool bare;           /* takes /<area> and /<area>/..., and nothing is stripped */
    bool busy_is_rate;   /* HTTP_BUSY_IS_RATE for all of it */
    const char *service; /* "storaged", for errors and /v1/health/{service} */
    const char *setting; /* "gateway.storaged_url", for the message about a bad URL */
    const char *url;
};

struct gateway_opts {
    const struct gateway_upstream *upstreams;
    size_t upstream_count;
    int64_t head_timeout_ms; /* 0: 310 s */
};

/** E_INVALID names the setting whose URL has no scheme or is wrong. */
enum status gateway_new(const struct gateway_opts *opts, struct gateway **out,
                        struct err *err) MUST_USE;
/** Mounts /v1/<area> (or /<area>) and /v1/health/{service}; before http_server_start. */
enum status gateway_mount(struct gateway *gateway, struct http_server *server,
                          struct err *err) MUST_USE;
/** After http_server_stop. */
void gateway_free(struct gateway *gateway);

#endif
