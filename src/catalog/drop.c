/*
 * Dropping a table: its pointer becomes a tombstone, and its folder is noted in the trash, unless
 * the files are to stay: then the tombstone names them, and keeps the batches that have no marker
 * yet, because the table may be registered again.
 *
 * A view's folder goes with it, always: it holds the view's own metadata and nothing else, and the
 * drop of a view has no way to say otherwise.
 *
 * The tombstone keeps the metadata location, so that a crash before the trash was written leaves
 * something to find: the sweep writes it then, or whoever makes the name again. Files of a table
 * with gc.enabled=false are somebody else's business: such a tombstone says no purge.
 */
#include "catalog/drop.h"

#include "catalog/changes.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"

enum { DROP_TIMEOUT_MS = 30000, POINTER_BYTES_MAX = 16 * 1024 * 1024 };

/** May the files go with the table? Not those of a table that is broken: it can still be dropped,
 * and somebody may want to look at it. */
static enum status may_purge(struct local *local, const struct pointer *pointer, bool *may_out,
                             struct err *err)
{
    const struct ice_metadata *metadata = NULL;
    *may_out = false;
    if (pointer->table.is_view) { /* its folder holds nothing but its own metadata */
        *may_out = true;
        return OK;
    }
    enum status status = reader_metadata(local->base.reader, pointer->table.metadata_location,
                                         &metadata, err);
    if (status == E_CORRUPT || status == E_INVALID || status == E_UNSUPPORTED) {
        return OK;
    }
    TRY(status);
    *may_out = !str_eq_nocase(ice_metadata_property(metadata, STR("gc.enabled")), STR("false"));
    ice_metadata_unref(metadata);
    return OK;
}

enum status drop_swap(struct local *local, struct str key, const struct local_base *base,
                      const struct drop *how, struct arena *arena, enum swap_outcome *outcome,
                      struct err *err)
{
    struct pointer next = {
        .state = POINTER_DROPPED,
        .table = base->pointer.table,
        .namespace_uuid = base->pointer.namespace_uuid,
    };
    next.table.version++;
    TRY(how->purge ? may_purge(local, &base->pointer, &next.purge, err) : OK);
    if (!next.purge) {
        next.batches = base->pointer.batches;
        next.batch_count = base->pointer.batch_count;
    }
    struct rng rng;
    local_rng(local, &rng);
    TRY(pointer_add_commit(arena, &base->pointer, &rng, &next, err));
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    if (pointer_encode(&next, &body) != OK) {
        return err_no_memory(err);
    }
    struct swap swap = {
        .key = key,
        .base_etag = str_of(base->etag),
        .body = buf_str(&body),
        .commit_id = next.commit_ids[next.commit_count - 1],
        .deadline = how->deadline,
    };
    TRY(swap_pointer(local, &swap, outcome, err));
    if (*outcome == SWAP_WON && next.purge) {
        /* The table is gone whether or not its trash can be noted now: the tombstone says purge. */
        enum status ignored = trash_purge(local, next.table.uuid, next.table.metadata_location,
                                          NULL);
        (void)ignored;
    }
    return OK;
}

static enum status require(struct local *local, const struct table_name *name,
                           const struct drop *how, struct arena *arena, struct local_base *out,
                           struct err *err)
{
    enum status status = local_require(local, name, arena, out, err);
    if (how->views_only &&
        (status == E_NOT_FOUND || (status == OK && !out->pointer.table.is_view))) {
        return err_set(err, E_NOT_FOUND, "view \"%.*s\" does not exist", STR_ARG(name->name));
    }
    TRY(status);
    if (how->tables_only && out->pointer.table.is_view) {
        return err_set(err, E_NOT_FOUND, "\"%.*s\" is a view and no table", STR_ARG(name->name));
    }
    if (how->uuid.len > 0 && !str_eq(out->pointer.table.uuid, how->uuid)) {
        return err_set(err, E_NOT_FOUND, "table \"%.*s\" is another one now", STR_ARG(name->name));
    }
    return OK;
}

enum status drop_table(struct local *local, const struct table_name *name, const struct drop *asked,
                       struct err *err)
{
    struct drop how = *asked;
    how.deadline = how.deadline == 0 ? deadline_in(DROP_TIMEOUT_MS) : how.deadline;
    for (int round = 0;; round++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct local_base base;
        struct str key;
        enum swap_outcome outcome = SWAP_REFUSED;
        enum status status = pointer_key(&arena, local->warehouse, name, &key, err);
        status = status == OK ? require(local, name, &how, &arena, &base, err) : status;
        status = status == OK ? drop_swap(local, key, &base, &how, &arena, &outcome, err) : status;
        arena_done(&arena);
        if (status != OK || outcome == SWAP_WON) {
            return status;
        }
        if (deadline_passed(how.deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "\"%.*s\" is too busy to be dropped; nothing was changed",
                           STR_ARG(name->name));
        }
        local_backoff(local, round, how.deadline);
    }
}

enum status local_drop(struct catalog *catalog, enum catalog_kind kind,
                       const struct table_name *name, struct err *err)
{
    const struct drop how = { .purge = true,
                              .tables_only = kind == CATALOG_TABLE,
                              .views_only = kind == CATALOG_VIEW };
    return drop_table((struct local *)catalog, name, &how, err);
}

enum status catalog_drop_table(struct catalog *catalog, const struct table_name *name, bool purge,
                               struct err *err)
{
    assert(catalog->ops->namespace != NULL);
    if (table_name_check(name, NULL) != OK) {
        return err_set(err, E_NOT_FOUND, "no table can have that name");
    }
    enum status status = drop_table((struct local *)catalog, name,
                                    &(struct drop){ .purge = purge, .tables_only = true }, err);
    /* a name whose key would be too long for a store is one that no table has */
    return status == E_INVALID
               ? err_set(err, E_NOT_FOUND, "table \"%.*s\" does not exist", STR_ARG(name->name))
               : status;
}
