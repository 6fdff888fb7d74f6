/*
 * One commit: any number of appends to one table, one manifest, one snapshot, one swap.
 */
#ifndef CATALOG_COMMIT_H
#define CATALOG_COMMIT_H

#include "catalog/local.h"

/** One caller's append on its way through a commit. */
struct commit_request {
    const struct catalog_append *append;
    struct arena *arena; /* the caller's; the results go there */
    struct catalog_appended out;
    enum status status;
    struct err err;
    bool done; /* status, err and out are final */
    /* While a commit is planned: */
    struct str batch_id; /* stored form; empty: none */
    bool accepted, creates;
    size_t file_count; /* of its files, those that this commit brings */
    int64_t row_count;
    const struct commit_request *twin; /* the same batch, earlier in the same commit */
    size_t batch_from, batch_count;    /* its entries among the plan's */
    /* Once it has landed: the batches whose markers it has to write (commit_mark). */
    struct str mark_uuid;
    struct pointer_batch *marks;
    size_t mark_count;
};

/** What is left to do once the callers have their answers: markers of earlier commits, and
 * trash. */
struct commit_rest {
    struct arena arena;
    struct str uuid;
    struct str minted;             /* the location whose claim is done with; empty: none */
    struct pointer_batch *batches; /* in the pointer, without a marker as far as we know */
    size_t batch_count;
    /* after the commit; referenced; NULL: nothing was committed */
    const struct ice_metadata *metadata;
    struct str *dropped; /* URIs of metadata files that fell out of the log */
    size_t dropped_count;
    struct ice_snapshot *expired;
    size_t expired_count;
};

/** Every request is done afterwards. `rest` is for commit_finish, always; each request is for
 * commit_mark. */
void commit_run(struct local *local, struct commit_request **requests, size_t count,
                struct commit_rest *rest);
/** Write the markers of a request that has landed. Each caller its own, so that a group's go side
 * by side. */
void commit_mark(struct local *local, struct commit_request *request);
/** Markers that earlier commits left, then trash. Failures are nobody's: the next commit writes the
 * markers again, the sweep finds the rest. */
void commit_finish(struct local *local, struct commit_rest *rest);

#endif
