/*
 * What the files of icerest share.
 */
#ifndef ICEREST_ICEREST_PRIV_H
#define ICEREST_ICEREST_PRIV_H

#include "icerest/icerest.h"

/** Largest answer: a table's metadata with all snapshots. */
enum { ICEREST_JSON_MAX = 512 * 1024 * 1024, ICEREST_NS_LEVELS_MAX = 32 };

/** Of every request that reached a route. */
struct icerest_state {
    const char *missing; /* the type of E_NOT_FOUND: an exception's name of the specification */
};

/** One endpoint: a route, and how it is spelled in the answer of /v1/config. */
struct icerest_endpoint {
    enum http_method method;
    const char *pattern; /* behind "/v1/{prefix}" */
    const struct http_handler *handler;
    bool head; /* HEAD asks whether it exists; told as an endpoint of its own */
};

const struct icerest_endpoint *icerest_namespace_endpoints(size_t *count_out);
const struct icerest_endpoint *icerest_table_endpoints(size_t *count_out);

extern const struct http_handler icerest_tokens_handler; /* of /v1/oauth/tokens */

/** "/namespaces/{namespace}": the name of a namespace, one level of it. Several levels are
 * E_NOT_FOUND: a namespace has one here. */
enum status icerest_namespace_of(struct http_req *req, struct str *out) MUST_USE;
enum status icerest_table_of(struct http_req *req, struct table_name *out) MUST_USE;

/** E_NOT_FOUND will be told as `type`. */
void icerest_missing(struct http_req *req, const char *type);
/** Ends the writer and answers 200. */
enum http_step icerest_reply(struct http_req *req, struct json_writer *w, struct buf *json);

/** What a client asks for with a table (X-Iceberg-Access-Delegation). */
enum icerest_wish { ICEREST_NOTHING, ICEREST_KEY, ICEREST_SIGNING };
enum icerest_wish icerest_wish_of(struct http_req *req);

/** How a client reaches the files of a table. */
struct icerest_access {
    struct str location; /* of the table, without a slash at its end */
    bool on_s3;          /* and the S3 API's address is known */
    bool lent;           /* `key` is set */
    struct aws_vended key;
    int64_t expires_ms;
    struct str signer; /* where requests for it are signed; empty: not told */
};
/** For the table `name` at `location`, a URI. What is wished is given where this program can. */
enum status icerest_access_of(struct http_req *req, const struct table_name *name,
                              struct str location, enum icerest_wish wish,
                              struct icerest_access *out) MUST_USE;
/** "config", and "storage-credentials" where a key is lent. */
void icerest_write_access(struct json_writer *w, struct http_req *req,
                          const struct icerest_access *access);
/** "storage-credentials" alone. */
void icerest_write_credentials(struct json_writer *w, struct http_req *req,
                               const struct icerest_access *access);
/** Changes with the time after which a client must not go on with a lent key, for ETags. */
int64_t icerest_key_round(struct http_req *req);
/** The answer to a request that is to be signed with `access->key`. */
enum http_step icerest_sign(struct http_req *req, const struct icerest_access *access);

/** pageToken and pageSize: which of `count` names in order make the page. Tokens are names. */
struct icerest_page {
    size_t from, to; /* half open */
    bool more;       /* the token of the next page is names[to - 1] */
};
enum status icerest_page_of(struct http_req *req, const struct str *names, size_t count,
                            struct icerest_page *out) MUST_USE;
void icerest_write_next(struct json_writer *w, const struct icerest_page *page,
                        const struct str *names);

#endif
