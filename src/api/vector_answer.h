/*
 * Items and results as JSON.
 */
#ifndef API_VECTOR_ANSWER_H
#define API_VECTOR_ANSWER_H

#include "api/vector_request.h"
#include "base/json.h"

/** {"id","vector","metadata"}; the vector only when the item has one. */
void vector_answer_item(struct json_writer *w, const struct coll_item *item, uint32_t dimension);
/**
 * A page in bytes (docs/reference/vectors.md): dimension, `next`, then items as an addition has
 * them. A dimension of 0: without vectors.
 */
enum status vector_answer_page(struct buf *out, const struct coll_item *items, size_t count,
                               uint32_t dimension, struct str next, struct err *err) MUST_USE;
/** {"results":[...],"ef_used",...} */
void vector_answer_search(struct json_writer *w, const struct vector_search *search,
                          const struct coll_answer *answer);
/** Those fields of the metadata, each under its path: {"a":1,"b.c":2}. A dot in a name is `\.`. */
void vector_answer_fields(struct json_writer *w, struct str metadata, const struct str *fields,
                          size_t count);

#endif
