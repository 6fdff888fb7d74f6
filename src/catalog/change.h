/*
 * One change of another program on its way to a swap: requirements, updates, and what we require of
 * the document that comes out.
 */
#ifndef CATALOG_CHANGE_H
#define CATALOG_CHANGE_H

#include "catalog/changes.h"
#include "catalog/publish.h"
#include "iceberg/change.h"

struct change_try {
    const struct catalog_change *change;
    struct str key; /* of the pointer */
    struct arena arena;
    struct local_base base;
    struct buf text; /* the base's metadata, and its document */
    yyjson_doc *doc;
    struct buf json; /* the next one */
    struct ice_change_result result;
    bool creates, chosen; /* `chosen`: in a folder that no other table may overlap */
    bool repeat;          /* the base has taken this very change already */
    bool follows;         /* on a document that another change has made, and that is not written */
    struct pointer_batch batch; /* of the change, where it has one */
    struct publish publish;
};

/** Before a try. `change`, `key` and the deadline stay the caller's. */
void change_init(struct change_try *trial, const struct catalog_change *change, struct str key,
                 deadline_ms deadline);
void change_done(struct change_try *trial);
/** Read the base: has it taken this very change already (`repeat`)? Nothing else is judged. */
enum status change_read(struct local *local, struct change_try *trial, struct err *err) MUST_USE;
/**
 * May the change be made, and do its requirements hold; then the next document, judged too.
 * `publish` is ready for publish_write unless the change changes nothing (`result.changed` false).
 */
enum status change_apply(struct local *local, struct change_try *trial, struct err *err) MUST_USE;
/** One caller's change, and what becomes of it. */
struct changing {
    struct local *local;
    const struct catalog_change *change;
    deadline_ms deadline;
    struct str key;
    struct arena *arena; /* the caller's */
    struct catalog_loaded *out;
    enum status status; /* of one that shares */
    struct err err;
};
/** A change that makes no table and moves none may share its swap with others of its table. */
bool change_may_share(const struct catalog_change *change);
/** Changes of one table in order, in one swap; each gets its own status. A run for groups_share. */
bool change_run_shared(void *const *changings, size_t count);

/** What is left when it has landed: metadata that fell out of the log goes to the trash. */
void change_landed(struct local *local, const struct change_try *trial);

#endif
