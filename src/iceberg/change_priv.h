/*
 * What the files of the change module share: a document taken apart, so that updates are edits of
 * short lists and numbers, and put together again with everything else as it was.
 *
 *   change.c           requirements, repeats, and the updates in order
 *   change_doc.c       taking apart and putting together
 *   change_schema.c    schemas, partition specs, sort orders
 *   change_snapshot.c  snapshots, refs, their log, statistics
 *   change_expire.c    snapshots and refs that nobody needs any more
 *   change_create.c    a new table: the updates of a create, made of its request
 */
#ifndef ICEBERG_CHANGE_PRIV_H
#define ICEBERG_CHANGE_PRIV_H

#include "iceberg/change.h"
#include "iceberg/metadata_priv.h"

enum { CHANGE_VERSION_MAX = 3, CHANGE_PARTITION_ID_START = 1000 };

/** An entry of a list or a map of the document. */
struct change_item {
    struct str key; /* of a map */
    int64_t id;     /* of a list whose entries have one; else -1 */
    yyjson_val *val;
};
struct change_list {
    struct change_item *items; /* in the arena */
    size_t count, cap;
    bool is_touched; /* else the document's own member is copied */
};

enum change_lists {
    LIST_SCHEMAS,
    LIST_SPECS,
    LIST_ORDERS,
    LIST_PROPERTIES,
    LIST_SNAPSHOTS,
    LIST_REFS,
    LIST_SNAPSHOT_LOG,
    LIST_METADATA_LOG,
    LIST_STATISTICS,
    LIST_PARTITION_STATISTICS,
    LIST_KEYS,
    LIST_COUNT
};

/** -1 in a number: it is not there. */
struct change_doc {
    struct arena *arena;
    yyjson_val *base; /* NULL: a new table */
    const struct ice_change *change;
    struct change_list lists[LIST_COUNT];
    int64_t format_version; /* 0: a new table's, not said yet */
    int64_t last_sequence_number, last_updated_ms, last_column_id;
    int64_t current_schema_id, default_spec_id, last_partition_id, default_order_id;
    int64_t current_snapshot_id, next_row_id;
    struct str uuid, location;
    int64_t now_ms;
    /* of the last schema, spec and order that this change has added: what -1 means in it */
    int64_t added_schema, added_spec, added_order;
    struct change_list added_snapshots; /* ids */
    struct change_list main_was;        /* ids that main had on the way */
    bool changed, sets_location, removed_snapshots;
    struct change_list removed_manifest_lists; /* keys */
    yyjson_doc **made; /* what was written here, for reading; in the arena, freed by done */
    size_t made_count, made_cap;
};

/* --- the document (change_doc.c) --- */

enum status change_doc_open(struct change_doc *doc, yyjson_val *base,
                            const struct ice_change *change, struct arena *arena,
                            struct err *err) MUST_USE;
void change_doc_done(struct change_doc *doc); /* for AUTO(); fine on a zeroed one */
enum status change_doc_write(struct change_doc *doc, struct buf *out, struct err *err) MUST_USE;

/** The effective version: of a new table without a word of it, 2. */
int64_t change_version(const struct change_doc *doc);
/** NULL. Of a list by id, of a map by key. */
struct change_item *change_find(struct change_list *list, int64_t id);
struct change_item *change_find_key(struct change_list *list, struct str key);
/** A zeroed entry at the end. */
enum status change_add(struct change_doc *doc, struct change_list *list, struct change_item **out,
                       struct err *err) MUST_USE;
void change_remove(struct change_list *list, struct change_item *item);
/** `val`, an object, with the member `name` as `number`. */
enum status change_with_number(struct change_doc *doc, yyjson_val *val, const char *name,
                               int64_t number, yyjson_val **out, struct err *err) MUST_USE;
/** What a writer has made, as a value that lives as long as the document. Ends the writer. */
enum status change_made(struct change_doc *doc, struct json_writer *w, const struct buf *text,
                        yyjson_val **out, struct err *err) MUST_USE;
/** A spec or an order without fields, under id 0. */
enum status change_add_empty(struct change_doc *doc, enum change_lists which, const char *id,
                             struct err *err) MUST_USE;
/** A whole number that must fit 32 bits and not be below `least`. */
enum status change_get_i32(yyjson_val *obj, const char *name, int64_t least, int64_t *out,
                           struct err *err) MUST_USE;
/** Two values that mean the same: numbers by value, objects whatever the order of members. */
bool change_same(yyjson_val *a, yyjson_val *b);

/* --- one update each --- */

typedef enum status change_update(struct change_doc *doc, yyjson_val *update, struct err *err);

change_update change_add_schema, change_set_current_schema, change_remove_schemas;
change_update change_add_spec, change_set_default_spec, change_remove_specs;
change_update change_add_order, change_set_default_order;
change_update change_add_snapshot, change_remove_snapshots, change_set_ref, change_remove_ref;
change_update change_expire_snapshots;
change_update change_set_statistics, change_remove_statistics;
change_update change_set_partition_statistics, change_remove_partition_statistics;

/** After all updates: refs and logs hold. */
enum status change_settle_snapshots(struct change_doc *doc, struct err *err) MUST_USE;

#endif
