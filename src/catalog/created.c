/*
 * What could only be looked at before a table was made is looked at again after: whoever made
 * something that forbids it either saw our pointer, or we see theirs now.
 *
 *   namespace     dropped meanwhile: the table goes with it
 *   other case    `t` and `T` at the very same moment. Each has written its pointer before it
 *   lists.
 *                 The one that sorts first gives way when it sees the other; the one behind waits
 *                 for
 *                 that, and gives way itself unless it saw the tombstone. So of two that see each
 *                 other
 *                 one stays, and of one that is not seen the other knows nothing only if it came
 *                 first.
 *   its folder    two that chose the same one, or one inside the other: whoever sees the other
 *                 gives way, so both may
 *
 * Giving way is a swap of the very body that made the table: once somebody has appended to it, it
 * stays, because that append may have been acknowledged.
 */
#include "catalog/created.h"

#include "catalog/drop.h"
#include "catalog/names.h"
#include "catalog/namespace.h"
#include "catalog/rename.h"
#include "catalog/site.h"
#include "catalog/table_name.h"

enum { LOOKS = 8, LISTED_BYTES_MAX = 256 * 1024 * 1024 };

static enum status unknown(const struct err *why, struct err *err)
{
    struct err copy = *why;
    return err_set(err, E_UNAVAILABLE, "the outcome is unknown: %s; send the same batch again",
                   copy.msg);
}

/** Is the pointer still exactly what we wrote? */
static bool is_untouched(const struct created *created, const struct local_base *base)
{
    const struct pointer *as = created->as;
    return base->live && base->pointer.commit_count > 0 &&
           str_eq(base->pointer.table.uuid, as->table.uuid) &&
           str_eq(base->pointer.commit_ids[base->pointer.commit_count - 1],
                  as->commit_ids[as->commit_count - 1]);
}

/** *gone_out: a tombstone now. Otherwise somebody has changed it, and it stays. */
static enum status give_way(struct local *local, const struct created *created, struct arena *arena,
                            bool *gone_out, struct err *err)
{
    struct local_base base;
    enum swap_outcome outcome = SWAP_REFUSED;
    *gone_out = false;
    TRY(local_read_pointer(local, created->key, arena, &base, err));
    if (is_untouched(created, &base)) {
        struct drop how = { .purge = !created->keep_files, .deadline = created->deadline };
        TRY(drop_swap(local, created->key, &base, &how, arena, &outcome, err));
        *gone_out = outcome == SWAP_WON;
    }
    return OK;
}

/** The twin's pointer, once it is decided what it is: what is about to get that name by a rename
 * has to look again, and a transaction that makes it may have looked before we were there. */
static enum status read_decided(struct local *local, const struct created *created,
                                const struct name_entry *twin, struct arena *arena,
                                struct local_base *out, struct err *err)
{
    for (int i = 0;; i++) {
        TRY(rename_read_settled(local, twin->key, created->deadline, arena, out, err));
        if (out->live || !out->held) {
            return OK;
        }
        if (deadline_passed(created->deadline)) {
            return err_set(err, E_UNAVAILABLE, "a transaction that makes \"%.*s\" does not end",
                           STR_ARG(twin->text));
        }
        local_backoff(local, i, created->deadline);
    }
}

/** Is the twin still there after it had its time to give way? */
static enum status twin_stays(struct local *local, const struct created *created,
                              const struct name_entry *twin, struct arena *arena, bool *stays_out,
                              struct err *err)
{
    bool first = str_cmp(created->key, twin->key) < 0;
    for (int i = 0; i < (first ? 1 : LOOKS); i++) {
        struct local_base base;
        TRY(read_decided(local, created, twin, arena, &base, err));
        *stays_out = base.live;
        if (!base.live) {
            return OK;
        }
        if (!first) {
            local_backoff(local, i, created->deadline);
        }
    }
    return OK;
}

static enum status look_for_twins(struct local *local, const struct created *created,
                                  struct arena *arena, struct err *err)
{
    struct names names;
    struct table_name name = *created->name;
    TRY(names_list(local, STR_EMPTY, arena, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        bool same = str_eq(entry->name.ns, name.ns) && str_eq(entry->name.name, name.name);
        bool stays = false, gone = false;
        if (same || !table_name_eq_nocase(&entry->name, &name)) {
            continue;
        }
        TRY(twin_stays(local, created, entry, arena, &stays, err));
        if (stays) {
            TRY(give_way(local, created, arena, &gone, err));
        }
        if (gone) {
            return err_set(
                err, E_EXISTS,
                "table \"%.*s\" was made at the same moment; a name that differs from it only by case is refused",
                STR_ARG(entry->text));
        }
    }
    return OK;
}

static enum status check_namespace(struct local *local, const struct created *created,
                                   struct err *err)
{
    struct err why = { 0 }, undone = { 0 };
    if (namespace_check(local, created->name->ns, created->as->namespace_uuid, &why) !=
        E_CONFLICT) {
        return OK; /* or it cannot be read: a later drop of the namespace finds the table */
    }
    struct drop how = { .purge = !created->keep_files, .uuid = created->as->table.uuid };
    enum status status = drop_table(local, created->name, &how, &undone);
    if (status != OK && status != E_NOT_FOUND) {
        return unknown(&why, err);
    }
    return err_set(err, E_CONFLICT, "%s", why.msg);
}

enum status created_settle(struct local *local, const struct created *created, struct err *err)
{
    TRY(check_namespace(local, created, err));
    struct arena arena;
    struct err why = { 0 };
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = look_for_twins(local, created, &arena, &why);
    arena_done(&arena);
    if (status == OK) {
        return OK;
    }
    return status == E_EXISTS ? err_set(err, E_EXISTS, "%s", why.msg) : unknown(&why, err);
}

enum status created_settle_folder(struct local *local, const struct created *created,
                                  struct str folder, struct err *err)
{
    struct err why = { 0 };
    enum status status = site_check_free(local, created->name, folder, created->as->table.uuid,
                                         &why);
    if (status == E_CONFLICT || status == E_INVALID) {
        struct arena arena;
        struct err undone = { 0 };
        bool gone = false;
        arena_init(&arena, LISTED_BYTES_MAX);
        status = give_way(local, created, &arena, &gone, &undone);
        arena_done(&arena);
        if (status == OK && !gone) {
            return OK; /* others have gone on with it */
        }
        return status == OK ? err_set(err, why.kind, "%s", why.msg) : unknown(&why, err);
    }
    return status == OK ? OK : unknown(&why, err);
}
