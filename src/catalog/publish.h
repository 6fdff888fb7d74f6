/*
 * A metadata document that is ready becomes the table's, or the view's: its file, then the pointer.
 */
#ifndef CATALOG_PUBLISH_H
#define CATALOG_PUBLISH_H

#include "catalog/swap.h"

struct publish {
    const struct table_name *name;
    struct str key;                      /* of the pointer */
    const struct local_base *base;       /* as it was read; not live: the table is made */
    struct str json;                     /* the document */
    const struct ice_metadata *metadata; /* the same, parsed; NULL: of a view */
    struct str uuid, location;           /* of a view; of a table the metadata has them */
    struct str folder;                   /* of the table, a key without trailing slash */
    struct pointer_batch *batch;         /* that comes with the new snapshot; NULL: none */
    struct str namespace_uuid;           /* of a table that is made; else the base's is kept */
    deadline_ms deadline;
    /* Once written: */
    struct str metadata_key, metadata_uri;
    struct pointer next;
};

/** Write the metadata file under a fresh name, and make `next`. All in `arena`. What was written
 * when it fails is deleted again. */
enum status publish_write(struct local *local, struct publish *publish, struct arena *arena,
                          struct err *err) MUST_USE;
/** Swap the pointer from `base` to `next`. When that is lost or refused the file is deleted. */
enum status publish_swap(struct local *local, struct publish *publish,
                         enum swap_outcome *outcome_out, struct err *err) MUST_USE;
/** The file is nobody's: delete it, because some readers of folders take the newest. */
void publish_discard(struct local *local, const struct publish *publish);

/** Of the table or the view that the document says. */
struct str publish_uuid(const struct publish *publish);

#endif
