/*
 * Dropping a table: its pointer becomes a tombstone, and what it owned is noted in the trash.
 *
 * The tombstone keeps the metadata location, so that a crash before the trash was written leaves
 * something to find.
 */
#include "catalog/local.h"
#include "catalog/pin.h"
#include "catalog/swap.h"
#include "catalog/trash.h"

enum { DROP_TIMEOUT_MS = 30000, POINTER_BYTES_MAX = 16 * 1024 * 1024 };

static enum status swap_tombstone(struct local *local, struct str key,
                                  const struct local_base *base, deadline_ms deadline,
                                  struct arena *arena, enum swap_outcome *outcome, struct err *err)
{
    struct pointer next = {
        .state = POINTER_DROPPED,
        .purge = true,
        .table = base->pointer.table,
        .is_view = base->pointer.is_view,
        .namespace_uuid = base->pointer.namespace_uuid,
    };
    next.table.version++;
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
        .deadline = deadline,
    };
    return swap_pointer(local, &swap, outcome, err);
}

/** Live files that lie outside the table's own folder (a first append that lost the race to create
 * it). */
static enum status outside_keys(struct local *local, const struct catalog_pin *pin,
                                struct str prefix, struct arena *arena, struct str **keys_out,
                                size_t *count_out, struct err *err)
{
    struct catalog_files files;
    TRY(catalog_files(&local->base, pin, arena, &files, err));
    struct str *keys = arena_array(arena, files.count, sizeof(*keys));
    if (keys == NULL) {
        return err_no_memory(err);
    }
    size_t count = 0;
    for (size_t i = 0; i < files.count; i++) {
        if (!str_starts(files.files[i].key, prefix)) {
            keys[count++] = files.files[i].key;
        }
    }
    *keys_out = keys;
    *count_out = count;
    return OK;
}

static enum status throw_away(struct local *local, const struct table_summary *table,
                              struct arena *arena, struct err *err)
{
    struct catalog_pin *pin = NULL;
    TRY(reader_pin(local->base.reader, table, NULL, &pin, err));
    struct trash trash = { .uuid = table->uuid };
    struct str location, *keys = NULL;
    enum status status = locate_key(local->base.reader->locate, pin->metadata->location, arena,
                                    &location, err);
    if (status == OK) {
        trash.prefix = arena_printf(arena, "%.*s/", STR_ARG(location));
        status = trash.prefix.ptr == NULL ? err_no_memory(err) : OK;
    }
    if (status == OK) {
        status = outside_keys(local, pin, trash.prefix, arena, &keys, &trash.key_count, err);
        trash.keys = keys;
    }
    catalog_unpin(pin);
    return status == OK ? trash_write(local, &trash, err) : status;
}

enum status local_drop(struct catalog *catalog, const struct table_name *name, struct err *err)
{
    struct local *local = (struct local *)catalog;
    deadline_ms deadline = deadline_in(DROP_TIMEOUT_MS);
    for (int round = 0;; round++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct local_base base;
        struct str key;
        enum swap_outcome outcome = SWAP_REFUSED;
        enum status status = pointer_key(&arena, local->warehouse, name, &key, err);
        status = status == OK ? local_require(local, name, &arena, &base, err) : status;
        status = status == OK ? swap_tombstone(local, key, &base, deadline, &arena, &outcome, err)
                              : status;
        if (status == OK && outcome == SWAP_WON) {
            /* The table is gone whether or not its trash can be noted now: the tombstone says
             * purge. */
            enum status ignored = throw_away(local, &base.pointer.table, &arena, NULL);
            (void)ignored;
        }
        arena_done(&arena);
        if (status != OK || outcome == SWAP_WON) {
            return status;
        }
        if (deadline_passed(deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "table \"%.*s\" is too busy to be dropped; nothing was changed",
                           STR_ARG(name->name));
        }
        local_backoff(local, round, deadline);
    }
}
