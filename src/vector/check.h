/*
 * Whether what was loaded is what was stored: by unit, before it is read, and all of it before
 * anything of it is changed. Nothing is done, at the cost of one load, when all was checked.
 */
#ifndef VECTOR_CHECK_H
#define VECTOR_CHECK_H

#include "vector/vec_priv.h"

/** One unit more; *done_out when it was the last. E_CORRUPT, and again each time. */
MUST_USE enum status check_some(struct vec_index *index, bool *done_out, struct err *err);
/** What is left, and what can be told only of the whole. */
MUST_USE enum status check_all(struct vec_index *index, struct err *err);
/** The row of a slot, if there is one. */
MUST_USE enum status check_row(struct vec_index *index, uint32_t slot, struct err *err);
/** What a search with this beam, and no filter, reads: by going its way. scratch->row.f is the
 * query. */
MUST_USE enum status check_search(struct vec_scratch *scratch, uint32_t ef, struct err *err);

#endif
