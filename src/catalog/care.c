/*
 * Pointers as the sweep sees them.
 *
 * A fence is a commit that changes nothing: the pointer's ETag moves, so a PUT that was made on the
 * old one, however late it lands, fails its condition; and its writer finds out that it has lost.
 */
#include "catalog/care.h"

#include "catalog/mint.h"
#include "catalog/names.h"
#include "catalog/namespace.h"
#include "catalog/rename.h"
#include "catalog/swap.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "catalog/tx.h"

enum {
    FENCE_TIMEOUT_MS = 30000,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    ONE_BYTES_MAX = 64 * 1024 * 1024,
    LISTED_BYTES_MAX = 1024 * 1024 * 1024,
    LOOKS_MAX = 100,
    RENAME_AGE_MS = 60000
};

static enum status describe(struct local *local, const struct local_base *base, struct str key,
                            struct arena *arena, struct care_table *out, struct err *err)
{
    const struct pointer *pointer = &base->pointer;
    struct care_table table = { .live = base->live,
                                .held = base->held,
                                .purge = pointer->purge,
                                .is_view = pointer->table.is_view,
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
    if (locate_table(local->base.reader->locate, table.metadata_location, arena, &location, NULL) ==
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

/* --- all of them --- */

struct reading {
    struct local *local;
    struct arena *arena;
    struct names names; /* the latest listing */
    struct care_table *tables;
    size_t count, cap;
};

static struct care_table *find_read(struct reading *reading, struct str key)
{
    for (size_t i = 0; i < reading->count; i++) {
        if (str_eq(reading->tables[i].key, key)) {
            return &reading->tables[i];
        }
    }
    return NULL;
}

static enum status read_into(struct reading *reading, const struct name_entry *entry,
                             struct care_table *slot, struct err *err)
{
    bool found = false;
    TRY(read_one(reading->local, entry->key, reading->arena, &found, slot, err));
    if (found && slot == &reading->tables[reading->count]) {
        reading->count++;
    }
    return OK;
}

static enum status make_room(struct reading *reading, size_t more, struct err *err)
{
    if (reading->count + more <= reading->cap) {
        return OK;
    }
    size_t cap = reading->count + more;
    struct care_table *tables = arena_array(reading->arena, cap, sizeof(*tables));
    if (tables == NULL) {
        return err_no_memory(err);
    }
    if (reading->count > 0) {
        memcpy(tables, reading->tables, reading->count * sizeof(*tables));
    }
    reading->tables = tables;
    reading->cap = cap;
    return OK;
}

static bool same_tag(const struct name_entry *a, const struct name_entry *b)
{
    return str_eq(str_of(a->etag), str_of(b->etag)) && !a->etag_weak && a->etag[0] != '\0';
}

/**
 * A table that was renamed between two reads may have been at neither name. Its new pointer has
 * changed since the listing then, and was none of a live table before: those are read again.
 * *again_out: there was one.
 */
static enum status read_changed(struct reading *reading, bool *again_out, struct err *err)
{
    struct names old = reading->names;
    size_t k = 0;
    *again_out = false;
    TRY(names_list(reading->local, STR_EMPTY, reading->arena, &reading->names, err));
    TRY(make_room(reading, reading->names.count, err));
    for (size_t i = 0; i < reading->names.count; i++) { /* both lists are in the same order */
        const struct name_entry *entry = &reading->names.entries[i];
        while (k < old.count && str_cmp(old.entries[k].text, entry->text) < 0) {
            k++;
        }
        bool known = k < old.count && str_eq(old.entries[k].text, entry->text);
        if (known && same_tag(&old.entries[k], entry)) {
            continue;
        }
        struct care_table *slot = known ? find_read(reading, entry->key) : NULL;
        if (slot == NULL || !slot->live) {
            TRY(read_into(reading, entry, slot != NULL ? slot : &reading->tables[reading->count],
                          err));
            *again_out = true;
        }
    }
    return OK;
}

enum status care_tables(struct catalog *catalog, struct arena *arena, struct care_table **out,
                        size_t *count_out, struct err *err)
{
    struct reading reading = { .local = (struct local *)catalog, .arena = arena };
    bool again = true;
    TRY(names_list(reading.local, STR_EMPTY, arena, &reading.names, err));
    TRY(make_room(&reading, reading.names.count, err));
    for (size_t i = 0; i < reading.names.count; i++) {
        TRY(read_into(&reading, &reading.names.entries[i], &reading.tables[reading.count], err));
    }
    for (int look = 0; again && look < LOOKS_MAX; look++) {
        TRY(read_changed(&reading, &again, err));
    }
    *out = reading.tables;
    *count_out = reading.count;
    return again ? err_set(err, E_UNAVAILABLE, "tables are made and renamed too fast to list them")
                 : OK;
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
    if (base.held) { /* what holds it may still land */
        return err_set(err, E_UNAVAILABLE,
                       "a transaction holds table \"%.*s\": nothing was changed",
                       STR_ARG(name->name));
    }
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

/* --- transactions --- */

enum status care_transactions(struct catalog *catalog, struct arena *arena, struct str *prefix_out,
                              struct err *err)
{
    return tx_prefix((struct local *)catalog, arena, prefix_out, err);
}

enum status care_transaction_over(struct catalog *catalog, struct str key, bool *over_out,
                                  struct err *err)
{
    struct local *local = (struct local *)catalog;
    size_t slash = str_rfind_char(key, '/');
    struct str id = slash == SIZE_MAX ? key : str_skip(key, slash + 1);
    enum tx_state state = TX_MISSING;
    char etag[STORE_ETAG_MAX + 1] = "";
    if (!str_ends(id, STR(".json"))) {
        *over_out = false;
        return OK;
    }
    id = str_take(id, id.len - strlen(".json"));
    TRY(tx_read(local, id, &state, etag, err));
    *over_out = state != TX_PENDING;
    return *over_out ? OK
                     : tx_decide(local, id, TX_ABORTED, deadline_in(FENCE_TIMEOUT_MS), &state, err);
}

/* --- what others have left --- */

static enum status clear_pointer(struct local *local, struct str key, struct err *err)
{
    struct arena once;
    struct local_base base;
    arena_init(&once, ONE_BYTES_MAX);
    enum status status = local_read_raw(local, key, &once, &base, err);
    bool old = status == OK && base.renaming &&
               clock_wall_ms(local->clock) - base.pointer.rename.begun_ms >= RENAME_AGE_MS;
    arena_done(&once);
    return old ? rename_settle(local, key, deadline_in(FENCE_TIMEOUT_MS), err) : status;
}

static enum status clear_namespaces(struct local *local, struct arena *arena, struct err *err)
{
    struct str *names = NULL;
    size_t count = 0;
    TRY(namespace_children(local, STR_EMPTY, false, arena, &names, &count, err));
    for (size_t i = count; i > 0; i--) { /* what lies below comes first */
        struct namespace_base base;
        TRY(namespace_settled(local, names[i - 1], deadline_in(FENCE_TIMEOUT_MS), arena, &base,
                              err));
    }
    return OK;
}

enum status care_clear_up(struct catalog *catalog, struct err *err)
{
    struct local *local = (struct local *)catalog;
    struct arena arena;
    struct names names = { 0 };
    struct err why = { 0 };
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = names_list(local, STR_EMPTY, &arena, &names, err), first = OK;
    for (size_t i = 0; status == OK && i < names.count; i++) {
        enum status one = clear_pointer(local, names.entries[i].key, &why);
        first = first == OK ? one : first; /* a broken one hinders no other */
    }
    status = status == OK ? clear_namespaces(local, &arena, err) : status;
    arena_done(&arena);
    return status == OK && first != OK ? err_set(err, first, "%s", why.msg) : status;
}
