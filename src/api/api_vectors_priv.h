/*
 * What the routes of vectors share.
 */
#ifndef API_API_VECTORS_PRIV_H
#define API_API_VECTORS_PRIV_H

#include "api/api_vectors.h"

static inline struct coll_service *vectors_of(const struct http_req *req)
{
    return ((const struct api_vectors *)req->ctx)->service;
}

/** The greatest `k` of a search. */
static inline uint32_t vectors_k_max(const struct api_vectors *api)
{
    return api->k_max > 0 ? api->k_max : 10000;
}

/** Without metrics the metric is NULL. */
static inline void vectors_tally(struct metric *metric, uint64_t by)
{
    if (metric != NULL) {
        metric_add(metric, (double)by);
    }
}
/** A search was answered. */
static inline void vectors_tally_answer(const struct api_vectors *api,
                                        const struct coll_answer *answer)
{
    vectors_tally(api->searches, answer->query_count);
    for (size_t i = 0; i < answer->query_count; i++) {
        vectors_tally(api->results, answer->queries[i].count);
    }
}

/** Answer 200 (or given) with what the writer wrote; the buffer is freed. */
enum http_step vectors_reply(struct http_req *req, int http_status, struct json_writer *w,
                             struct buf *json);
/** req->body as an object that has no other fields than these. */
enum status vectors_body(struct http_req *req, const char *const *names, size_t count,
                         yyjson_val **root_out) MUST_USE;
/** true or false; absent leaves *out. */
enum status vectors_query_bool(struct http_req *req, const char *name, bool *out) MUST_USE;
/** The filter as text again; empty when there is none. */
enum status vectors_filter(yyjson_val *root, struct buf *out, struct err *err) MUST_USE;

extern const struct http_handler vectors_add, vectors_search, vectors_item_get, vectors_item_patch,
    vectors_item_delete, vectors_delete, vectors_count, vectors_items;

#endif
