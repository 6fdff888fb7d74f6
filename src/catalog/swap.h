/*
 * The conditional write of a pointer, and what its answer means when it is lost.
 */
#ifndef CATALOG_SWAP_H
#define CATALOG_SWAP_H

#include "catalog/local.h"

struct swap {
    struct str key;
    struct str base_etag; /* empty: nothing is there, the pointer is created */
    struct str body;      /* ends in a commit id that no other body has */
    struct str commit_id;
    deadline_ms deadline;
    /* does a body have that commit id? NULL: the object is a pointer */
    enum status (*has_commit)(struct str body, struct str commit_id, bool *has_out,
                              struct err *err);
};

enum swap_outcome {
    SWAP_WON, /* the body was written, by this call as far as anyone can tell */
    /* it was not and never will be: the pointer has moved off the base without our commit id */
    SWAP_LOST,
    SWAP_REFUSED, /* it was not: the store said so before it wrote anything (the status returned) */
    SWAP_UNKNOWN, /* it may still be (the status returned) */
};
/** OK for WON and LOST. Re-sends the identical body while the answer is unknown. */
enum status swap_pointer(struct local *local, const struct swap *swap,
                         enum swap_outcome *outcome_out, struct err *err) MUST_USE;

#endif
