/*
 * What storaged's routes for clients and for services share.
 */
#ifndef API_STORAGE_PRIV_H
#define API_STORAGE_PRIV_H

#include "api/api_storage.h"
#include "store/send.h"

struct api_put {
    struct store_writer *writer;
    struct str key;
    uint64_t size;
    uint64_t bytes_max; /* 0: no limit */
    bool slot;          /* a client's slot is held */
    /* of a service's put: the body begins with the attributes */
    char *attrs;
    size_t attrs_len, attrs_got;
    bool opaque_etag;
};

/** The conditions in the head; one that does not hold now is E_PRECONDITION before the body is
 * read. */
enum status api_storage_cond(struct http_req *req, struct store *store, struct str key,
                             struct store_cond *cond) MUST_USE;
/** Open the writer of `struct api_put` in req->state. */
enum status api_storage_put_open(struct http_req *req, struct str key) MUST_USE;
enum http_step api_storage_put_body(struct http_req *req, struct str bytes);
enum status api_storage_put_commit(struct http_req *req, struct store_info *info_out) MUST_USE;
void api_storage_put_done(struct http_req *req);

/** Send what `struct store_send` in req->state says, by descriptor or by pulls. */
enum http_step api_storage_send(struct http_req *req, int http_status);
enum http_step api_storage_pull(struct http_req *req);
void api_storage_get_done(struct http_req *req);

/** prefix, delimiter, after and limit (0 when absent) of the query. */
enum status api_storage_list_opts(struct http_req *req, struct store_list_opts *out) MUST_USE;

#endif
