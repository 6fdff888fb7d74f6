/*
 * Giving a table another name: within its namespace or in another one. Its files stay where they
 * are, and so do its uuid, its snapshots and what is known of batches.
 *
 * The order is in rename.h. What could forbid the new name (its namespace is dropped, a name that
 * differs only by case) is looked at while the new pointer is `arriving`: those who come after see
 * it, those who came before are seen.
 */
#include "catalog/rename.h"

#include "catalog/changes.h"
#include "catalog/names.h"
#include "catalog/namespace.h"
#include "catalog/swap.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"

enum {
    RENAME_TIMEOUT_MS = 30000,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    ROUND_BYTES_MAX = 256 * 1024 * 1024
};

enum step_result { STEP_DONE, STEP_AGAIN };

struct renaming {
    struct local *local;
    enum catalog_kind kind;
    const struct table_name *from, *to;
    struct str from_key, to_key; /* in the call's arena */
    deadline_ms deadline;
    /* of one round, in its arena */
    struct arena arena;
    struct str id, uuid, namespace_uuid;
    bool missing_ns;
};

static enum status swap(struct renaming *renaming, struct str key, const struct local_base *base,
                        struct pointer *next, enum swap_outcome *outcome, struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct rng rng;
    buf_init(&body, POINTER_BYTES_MAX);
    local_rng(renaming->local, &rng);
    TRY(pointer_add_commit(&renaming->arena, base->found ? &base->pointer : NULL, &rng, next, err));
    if (pointer_encode(next, &body) != OK) {
        return err_no_memory(err);
    }
    struct swap how = {
        .key = key,
        .base_etag = base->found ? str_of(base->etag) : STR_EMPTY,
        .body = buf_str(&body),
        .commit_id = next->commit_ids[next->commit_count - 1],
        .deadline = renaming->deadline,
    };
    return swap_pointer(renaming->local, &how, outcome, err);
}

static enum status not_there(struct renaming *renaming, struct err *err)
{
    return renaming->kind == CATALOG_VIEW
               ? err_set(err, E_NOT_FOUND, "view \"%.*s\" does not exist",
                         STR_ARG(renaming->from->name))
               : local_not_found(renaming->local, renaming->from, err);
}

/** The pointer of the old name, live and of the kind that is meant. */
static enum status read_from(struct renaming *renaming, struct local_base *out, struct err *err)
{
    struct local_base base = { 0 };
    TRY(rename_read_settled(renaming->local, renaming->from_key, renaming->deadline,
                            &renaming->arena, &base, err));
    bool same = renaming->uuid.len == 0 || str_eq(renaming->uuid, base.pointer.table.uuid);
    if (!base.live || base.pointer.table.is_view != (renaming->kind == CATALOG_VIEW) || !same) {
        return not_there(renaming, err);
    }
    *out = base;
    return OK;
}

static enum status exists(const struct table_name *name, bool is_view, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64 * 1024);
    bool printed = table_name_print(name, &text) == OK;
    return err_set(err, E_EXISTS, "%s \"%.*s\" exists already", is_view ? "view" : "table",
                   STR_ARG(printed ? buf_str(&text) : name->name));
}

/* --- the new name --- */

/** Swap it to `arriving`. */
static enum status arrive(struct renaming *renaming, enum swap_outcome *outcome, struct err *err)
{
    struct local_base to = { 0 };
    TRY(rename_read_settled(renaming->local, renaming->to_key, renaming->deadline, &renaming->arena,
                            &to, err));
    if (to.live) {
        return exists(renaming->to, to.pointer.table.is_view, err);
    }
    if (to.found && to.pointer.purge) { /* its tombstone, which says so too, will be gone */
        TRY(trash_purge(renaming->local, to.pointer.table.uuid, to.pointer.table.metadata_location,
                        err));
    }
    struct pointer next = {
        .state = POINTER_ARRIVING,
        .namespace_uuid = renaming->namespace_uuid,
        .table = { .name = *renaming->to,
                   .uuid = STR_EMPTY,
                   .fingerprint = STR_EMPTY,
                   .metadata_location = STR_EMPTY,
                   .is_view = renaming->kind == CATALOG_VIEW,
                   .snapshot_id = -1 },
        .rename = { .id = renaming->id,
                    .peer = *renaming->from,
                    .begun_ms = clock_wall_ms(renaming->local->clock) },
    };
    return swap(renaming, renaming->to_key, &to, &next, outcome, err);
}

/** E_EXISTS when another table's name differs from the new one only by case. */
static enum status check_twins(struct renaming *renaming, struct err *err)
{
    struct names names;
    TRY(names_list(renaming->local, STR_EMPTY, &renaming->arena, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        struct local_base twin;
        if (str_eq(entry->key, renaming->from_key) || str_eq(entry->key, renaming->to_key) ||
            !table_name_eq_nocase(&entry->name, renaming->to)) {
            continue;
        }
        TRY(rename_read_settled(renaming->local, entry->key, renaming->deadline, &renaming->arena,
                                &twin, err));
        if (twin.live) {
            return err_set(err, E_EXISTS,
                           "\"%.*s\" exists; a name that differs from it only by case is refused",
                           STR_ARG(entry->text));
        }
    }
    return OK;
}

static enum status check_namespace(struct renaming *renaming, struct err *err)
{
    enum status status = namespace_check(renaming->local, renaming->to->ns,
                                         renaming->namespace_uuid, err);
    renaming->missing_ns = status == E_CONFLICT;
    return renaming->missing_ns ? namespace_missing(renaming->to->ns, err) : status;
}

/* --- the decision --- */

/** Swap the old name to `moved`. STEP_AGAIN: the new one is not `arriving` for us any more. */
static enum status decide(struct renaming *renaming, enum step_result *result, struct err *err)
{
    for (int round = 0;; round++) {
        struct local_base from = { 0 }, to = { 0 };
        enum swap_outcome outcome = SWAP_REFUSED;
        /* In this order: who takes back refuses first, and moves the old pointer then. */
        TRY(read_from(renaming, &from, err));
        TRY(local_read_raw(renaming->local, renaming->to_key, &renaming->arena, &to, err));
        if (!to.found || to.pointer.state != POINTER_ARRIVING || to.pointer.rename.refused ||
            !str_eq(to.pointer.rename.id, renaming->id)) {
            *result = STEP_AGAIN;
            return OK;
        }
        struct pointer next = from.pointer;
        next.state = POINTER_MOVED;
        next.rename = (struct pointer_rename){ .id = renaming->id,
                                               .peer = *renaming->to,
                                               .begun_ms = to.pointer.rename.begun_ms };
        TRY(swap(renaming, renaming->from_key, &from, &next, &outcome, err));
        if (outcome == SWAP_WON) {
            *result = STEP_DONE;
            return OK;
        }
        if (deadline_passed(renaming->deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "\"%.*s\" is too busy to be renamed; nothing was changed",
                           STR_ARG(renaming->from->name));
        }
        local_backoff(renaming->local, round, renaming->deadline);
    }
}

static enum status fresh_id(struct renaming *renaming, struct err *err)
{
    struct rng rng;
    local_rng(renaming->local, &rng);
    renaming->id = arena_printf(&renaming->arena, "%016llx", (unsigned long long)rng_next(&rng));
    return renaming->id.ptr == NULL ? err_no_memory(err) : OK;
}

/** What is looked at while `arriving`, and the decision. */
static enum status go(struct renaming *renaming, enum step_result *result, struct err *err)
{
    TRY(check_namespace(renaming, err));
    TRY(check_twins(renaming, err));
    return decide(renaming, result, err);
}

static enum status try_once(struct renaming *renaming, enum step_result *result, struct err *err)
{
    struct local_base from = { 0 };
    enum swap_outcome outcome = SWAP_REFUSED;
    *result = STEP_AGAIN;
    renaming->uuid = STR_EMPTY;
    TRY(fresh_id(renaming, err));
    TRY(read_from(renaming, &from, err));
    renaming->uuid = from.pointer.table.uuid;
    enum status status = namespace_require(renaming->local, renaming->to->ns, &renaming->arena,
                                           &renaming->namespace_uuid, err);
    renaming->missing_ns = status == E_NOT_FOUND;
    TRY(status);
    TRY(arrive(renaming, &outcome, err));
    if (outcome != SWAP_WON) {
        return OK;
    }
    status = go(renaming, result, err);
    if (status != OK || *result == STEP_AGAIN) {
        /* Nothing was renamed, or nobody knows: then this finds out. What is left is harmless. */
        enum status ignored = status == E_UNAVAILABLE || status == E_TIMEOUT
                                  ? OK
                                  : rename_settle(renaming->local, renaming->to_key,
                                                  renaming->deadline, NULL);
        (void)ignored;
    }
    return status;
}

static enum status rename_all(struct renaming *renaming, struct err *err)
{
    enum step_result result = STEP_AGAIN;
    for (int round = 0; result == STEP_AGAIN; round++) {
        arena_init(&renaming->arena, ROUND_BYTES_MAX);
        enum status status = try_once(renaming, &result, err);
        arena_done(&renaming->arena);
        TRY(status);
        if (result == STEP_AGAIN && deadline_passed(renaming->deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "\"%.*s\" cannot be renamed: others want the new name too; "
                           "nothing was changed",
                           STR_ARG(renaming->from->name));
        }
        if (result == STEP_AGAIN) {
            local_backoff(renaming->local, round, renaming->deadline);
        }
    }
    /* It is renamed for everybody; this only clears up. */
    enum status ignored = rename_settle(renaming->local, renaming->from_key, renaming->deadline,
                                        NULL);
    (void)ignored;
    return OK;
}

enum status local_rename(struct catalog *catalog, enum catalog_kind kind,
                         const struct table_name *from, const struct table_name *to,
                         bool *missing_ns_out, struct err *err)
{
    assert(catalog->ops->namespace != NULL);
    struct renaming renaming = { .local = (struct local *)catalog,
                                 .kind = kind,
                                 .from = from,
                                 .to = to,
                                 .deadline = deadline_in(RENAME_TIMEOUT_MS) };
    struct arena keys;
    *missing_ns_out = false;
    TRY(table_name_check(to, err));
    TRY(table_name_check_new(to, err));
    arena_init(&keys, 64 * 1024);
    enum status status = pointer_key(&keys, renaming.local->warehouse, to, &renaming.to_key, err);
    if (status == OK) {
        status = table_name_check(from, err);
        status = status == OK
                     ? pointer_key(&keys, renaming.local->warehouse, from, &renaming.from_key, err)
                     : status;
        status = status == E_INVALID ? not_there(&renaming, err) : status; /* no table can be it */
    }
    status = status == OK ? rename_all(&renaming, err) : status;
    *missing_ns_out = status == E_NOT_FOUND && renaming.missing_ns;
    arena_done(&keys);
    return status;
}
