/*
 * What the files of icerest share.
 */
#ifndef ICEREST_ICEREST_PRIV_H
#define ICEREST_ICEREST_PRIV_H

#include "catalog/changes.h"
#include "icerest/icerest.h"

/** Largest answer: a table's metadata with all snapshots. */
enum { ICEREST_JSON_MAX = 512 * 1024 * 1024 };

/** Of every request that reached a route. */
struct icerest_state {
    /* what E_NOT_FOUND and E_CONFLICT are told as: exceptions' names of the specification. NULL:
     * NoSuchRouteException, CommitFailedException. E_EXISTS is always AlreadyExistsException */
    const char *missing, *conflict;
    const char *type; /* of whatever error it is; NULL: by its code */
    /* what the request is about: icerest_about */
    enum icerest_thing { ICEREST_NO_THING, ICEREST_NAMESPACE, ICEREST_TABLE, ICEREST_VIEW } thing;
    struct str ns, name;
};

/** One endpoint: a route, and how it is spelled in the answer of /v1/config. */
struct icerest_endpoint {
    enum http_method method;
    const char *pattern; /* behind "/v1/{prefix}" */
    const struct http_handler *handler;
    bool head;      /* HEAD asks whether it exists; told as an endpoint of its own */
    unsigned flags; /* enum http_route_flags */
};

const struct icerest_endpoint *icerest_namespace_endpoints(size_t *count_out);
const struct icerest_endpoint *icerest_table_endpoints(size_t *count_out);
const struct icerest_endpoint *icerest_move_endpoints(size_t *count_out);
const struct icerest_endpoint *icerest_commit_endpoints(size_t *count_out);

const struct icerest_endpoint *icerest_view_endpoints(size_t *count_out);

extern const struct http_handler icerest_tokens_handler; /* of /v1/oauth/tokens */

/** "/namespaces/{namespace}": its levels as the catalogue has them, joined by 0x1F. */
enum status icerest_namespace_of(struct http_req *req, struct str *out) MUST_USE;
enum status icerest_table_of(struct http_req *req, struct table_name *out) MUST_USE;
enum status icerest_view_of(struct http_req *req, struct table_name *out) MUST_USE;

/** A namespace of a body: an array of levels. Required; E_INVALID when it can be none. */
enum status icerest_levels(struct http_req *req, yyjson_val *obj, const char *name,
                           struct str *out) MUST_USE;
/** The other way: `["a","b"]`. */
void icerest_write_levels(struct json_writer *w, struct str ns);

/**
 * What is missing or exists already, should that be the answer: then the message is the one that
 * Java's own catalogues give, on which programs and the reference suite rely ("Table does not
 * exist: a.b.t"). icerest_namespace_of and icerest_table_of say it of the path. `name` empty: of a
 * namespace.
 */
void icerest_about(struct http_req *req, enum icerest_thing thing, struct str ns, struct str name);
/** E_NOT_FOUND will be told as `type`, or E_CONFLICT. */
void icerest_missing(struct http_req *req, const char *type);
void icerest_conflict(struct http_req *req, const char *type);
/** Answer req->err with a status that no kind of error has (422). */
enum http_step icerest_refuse(struct http_req *req, int http_status);
/** The error that is answered next will be told as `type`. */
void icerest_type(struct http_req *req, const char *type);
/** The ETag of a table's whole metadata, as loading it without a key tells. */
enum status icerest_tell_etag(struct http_req *req, struct str metadata_location) MUST_USE;
/** Ends the writer and answers 200. */
enum http_step icerest_reply(struct http_req *req, struct json_writer *w, struct buf *json);

/** Answer with a page of the names in the path's namespace. */
enum http_step icerest_list(struct http_req *req, enum catalog_kind kind);
/** The metadata at `location` could not be read. A file that is gone is told as Java's catalogues
 * do: 404, but not as a table that does not exist. */
enum http_step icerest_fail_load(struct http_req *req, enum status status, struct str location);
/** The answer to a change that failed: "unknown" only when it is, else what a client may try again
 * after. */
enum http_step icerest_fail_change(struct http_req *req, enum status status);
/** The body that makes a table or view in the path's namespace. commits.c */
enum status icerest_read_create(struct http_req *req, enum icerest_thing thing,
                                struct catalog_create *out) MUST_USE;
/** {"namespace":[...],"name":"..."}, the member of a body. */
enum status icerest_identifier(struct http_req *req, yyjson_val *root, const char *member,
                               struct table_name *out) MUST_USE;
/** "/tables/rename" and "/views/rename". */
enum http_step icerest_rename(struct http_req *req, enum catalog_kind kind);

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
