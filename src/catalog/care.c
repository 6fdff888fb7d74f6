/*
 * Pointers as the sweep sees them.
 *
 * A fence is a commit that changes nothing: the pointer's ETag moves, so a PUT that was made on the
 * old one, however late it lands, fails its condition; and its writer finds out that it has lost.
 */
#include "catalog/care.h"

#include "catalog/mint.h"
#include "catalog/names.h"
#include "catalog/swap.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"

enum {
    FENCE_TIMEOUT_MS = 30000,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    ONE_BYTES_MAX = 64 * 1024 * 1024
};

static enum status describe(struct local *local, const struct local_base *base, struct str key,
                            struct arena *arena, struct care_table *out, struct err *err)
{
    const struct pointer *pointer = &base->pointer;
    struct care_table table = { .live = base->live,
                                .purge = pointer->purge,
                                .is_view = pointer->is_view,
                                .location = STR_EMPTY,
                                .version = pointer->table.version };
    struct str location;
    TRY(table_name_copy(arena, &pointer->table.name, &table.name, err));
    table.key = arena_str(arena, key);
    table.uuid = arena_str(arena, pointer->table.uuid);
    table.metadata_location = arena_str(arena, pointer->table.metadata_location);
    if (table.key.ptr == NULL || table.uuid.ptr == NULL || table.metadata_location.ptr == NULL) {
        return err_no_memory(err);
    }
    if (!table.is_view &&
        locate_table(local->base.reader->locate, table.metadata_location, arena, &location, NULL) ==
            OK &&
        mint_is_ours(local->warehouse, table.uuid, location)) {
        table.location = location;
    }
    *out = table;
    return OK;
}

static enum status read_one(struct local *local, struct str key, struct arena *arena,
                            bool *found_out, struct care_table *out, struct err *err)
{
    struct arena once;
    struct local_base base;
    arena_init(&once, ONE_BYTES_MAX);
    enum status status = local_read_pointer(local, key, &once, &base, err);
    *found_out = status == OK && base.found;
    if (*found_out) {
        status = describe(local, &base, key, arena, out, err);
    }
    arena_done(&once);
    return status;
}

enum status care_tables(struct catalog *catalog, struct arena *arena, struct care_table **out,
                        size_t *count_out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct names names;
    TRY(names_list(local, STR_EMPTY, arena, &names, err));
    struct care_table *tables = arena_array(arena, names.count, sizeof(*tables));
    size_t count = 0;
    if (tables == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < names.count; i++) {
        bool found = false;
        TRY(read_one(local, names.entries[i].key, arena, &found, &tables[count], err));
        count += found ? 1 : 0;
    }
    *out = tables;
    *count_out = count;
    return OK;
}

enum status care_table(struct catalog *catalog, const struct table_name *name, struct arena *arena,
                       bool *found_out, struct care_table *out, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct str key;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    return read_one(local, key, arena, found_out, out, err);
}

/** The same pointer once more, or the tombstone of a table that never was. */
static enum status next_body(struct local *local, const struct local_base *base,
                             const struct table_name *name, struct str uuid, struct arena *arena,
                             struct pointer *next, struct err *err)
{
    struct rng rng;
    *next = (struct pointer){ .state = POINTER_DROPPED,
                              .table = { .name = *name, .uuid = uuid, .snapshot_id = -1 } };
    next->table.fingerprint = next->table.metadata_location = next->namespace_uuid = STR_EMPTY;
    if (base->found) {
        *next = base->pointer;
    }
    local_rng(local, &rng);
    return pointer_add_commit(arena, base->found ? &base->pointer : NULL, &rng, next, err);
}

static enum status fence(struct local *local, const struct table_name *name, struct str uuid,
                         struct arena *arena, enum swap_outcome *outcome, struct err *err)
{
    struct local_base base;
    struct pointer next;
    struct str key;
    TRY(pointer_key(arena, local->warehouse, name, &key, err));
    TRY(local_read_pointer(local, key, arena, &base, err));
    TRY(next_body(local, &base, name, uuid, arena, &next, err));
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    if (pointer_encode(&next, &body) != OK) {
        return err_no_memory(err);
    }
    struct swap swap = {
        .key = key,
        .base_etag = base.found ? str_of(base.etag) : STR_EMPTY,
        .body = buf_str(&body),
        .commit_id = next.commit_ids[next.commit_count - 1],
        .deadline = deadline_in(FENCE_TIMEOUT_MS),
    };
    return swap_pointer(local, &swap, outcome, err);
}

enum status care_fence(struct catalog *catalog, const struct table_name *name, struct str uuid,
                       struct err *err)
{
    struct arena arena;
    /* Won or lost: the pointer has moved off what was read. */
    enum swap_outcome outcome = SWAP_UNKNOWN;
    arena_init(&arena, ONE_BYTES_MAX);
    enum status status = fence((struct local *)catalog, name, uuid, &arena, &outcome, err);
    arena_done(&arena);
    return status;
}

enum status care_throw_away(struct catalog *catalog, struct str uuid, const struct str *keys,
                            size_t count, struct err *err)
{
    struct trash trash = {
        .kind = TRASH_ORPHANS, .uuid = uuid, .keys = keys, .key_count = count, .prefix = STR_EMPTY
    };
    return trash_write((struct local *)catalog, &trash, err);
}

enum status care_purge(struct catalog *catalog, const struct care_table *table, struct err *err)
{
    return trash_purge((struct local *)catalog, table->uuid, table->metadata_location, err);
}
