/*
 * Renames that somebody has begun: what they mean, finishing them, taking them back.
 *
 * Whoever finds an `arriving` pointer reads the one it comes from. It is `moved` under the same id:
 * the rename has happened, and the new pointer gets what the old one keeps for it. Otherwise it has
 * not. `arriving` goes before `moved` becomes a plain tombstone, so one who reads in this order and
 * finds no `moved` looks once more whether it is still `arriving`.
 */
#include "catalog/rename.h"

#include "catalog/swap.h"

enum { LOOKS = 100, POINTER_BYTES_MAX = 16 * 1024 * 1024, ONE_BYTES_MAX = 64 * 1024 * 1024 };

static bool is_moved(const struct local_base *from, struct str id)
{
    return from->found && from->pointer.state == POINTER_MOVED &&
           str_eq(from->pointer.rename.id, id);
}

static bool is_arriving(const struct local_base *to, struct str id)
{
    return to->found && to->pointer.state == POINTER_ARRIVING && str_eq(to->pointer.rename.id, id);
}

static enum status read_peer(struct local *local, const struct local_base *base,
                             struct arena *arena, struct str *key_out, struct local_base *out,
                             struct err *err)
{
    TRY(pointer_key(arena, local->warehouse, &base->pointer.rename.peer, key_out, err));
    return local_read_raw(local, *key_out, arena, out, err);
}

/** `to` with the table of `from`. */
static struct pointer arrived(const struct pointer *to, const struct pointer *from)
{
    struct pointer next = *from;
    next.state = POINTER_LIVE;
    next.rename = (struct pointer_rename){ 0 };
    next.table.name = to->table.name;
    next.namespace_uuid = to->namespace_uuid;
    next.commit_ids = to->commit_ids; /* those of the bodies under this key */
    next.commit_count = to->commit_count;
    return next;
}

enum status rename_resolve(struct local *local, struct str key, struct arena *arena,
                           struct local_base *base, struct err *err)
{
    for (int i = 0; i < LOOKS; i++) {
        struct local_base from, again;
        struct str from_key;
        if (base->pointer.state != POINTER_ARRIVING || !base->found) {
            return OK;
        }
        TRY(read_peer(local, base, arena, &from_key, &from, err));
        if (is_moved(&from, base->pointer.rename.id)) {
            base->pointer = arrived(&base->pointer, &from.pointer);
            base->live = true;
            return OK;
        }
        TRY(local_read_raw(local, key, arena, &again, err));
        bool same = again.found && str_eq(str_of(again.etag), str_of(base->etag));
        *base = again;
        if (same) {
            return OK; /* not live */
        }
    }
    return err_set(err, E_UNAVAILABLE, "\"%.*s\" changes too fast to be read", STR_ARG(key));
}

/* --- steps --- */

static enum status swap(struct local *local, struct str key, const struct local_base *base,
                        struct pointer *next, deadline_ms deadline, struct arena *arena,
                        struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct rng rng;
    enum swap_outcome ignored; /* whoever won, it is read again */
    buf_init(&body, POINTER_BYTES_MAX);
    local_rng(local, &rng);
    TRY(pointer_add_commit(arena, &base->pointer, &rng, next, err));
    if (pointer_encode(next, &body) != OK) {
        return err_no_memory(err);
    }
    struct swap how = {
        .key = key,
        .base_etag = str_of(base->etag),
        .body = buf_str(&body),
        .commit_id = next->commit_ids[next->commit_count - 1],
        .deadline = deadline,
    };
    return swap_pointer(local, &how, &ignored, err);
}

/** A tombstone that stands for no table. */
static struct pointer nothing(const struct pointer *pointer)
{
    return (struct pointer){
        .state = POINTER_DROPPED,
        .namespace_uuid = pointer->namespace_uuid,
        .table = { .name = pointer->table.name,
                   .uuid = STR_EMPTY,
                   .fingerprint = STR_EMPTY,
                   .metadata_location = STR_EMPTY,
                   .version = pointer->table.version,
                   .is_view = pointer->table.is_view,
                   .snapshot_id = -1 },
    };
}

/** The rename has happened: the new pointer is made live. */
static enum status forward(struct local *local, struct str to_key, const struct local_base *to,
                           const struct local_base *from, deadline_ms deadline, struct arena *arena,
                           struct err *err)
{
    struct pointer next = arrived(&to->pointer, &from->pointer);
    return swap(local, to_key, to, &next, deadline, arena, err);
}

/** One step of taking back what has not happened. */
static enum status take_back(struct local *local, struct str to_key, const struct local_base *to,
                             struct str from_key, const struct local_base *from,
                             deadline_ms deadline, struct arena *arena, struct err *err)
{
    if (!to->pointer.rename.refused) {
        struct pointer next = to->pointer;
        next.rename.refused = true;
        return swap(local, to_key, to, &next, deadline, arena, err);
    }
    /* `from` was read after `to` was refused. When it moves off what was read, the one that renames
     * has to read both again, and gives up. */
    if (from->live) {
        struct local_base now;
        struct pointer same = from->pointer;
        TRY(swap(local, from_key, from, &same, deadline, arena, err));
        TRY(local_read_raw(local, from_key, arena, &now, err));
        if (is_moved(&now, to->pointer.rename.id)) {
            return OK; /* it has happened after all */
        }
    }
    struct pointer next = nothing(&to->pointer);
    return swap(local, to_key, to, &next, deadline, arena, err);
}

static enum status step_arriving(struct local *local, struct str key, const struct local_base *to,
                                 deadline_ms deadline, struct arena *arena, struct err *err)
{
    struct local_base from;
    struct str from_key;
    TRY(read_peer(local, to, arena, &from_key, &from, err));
    return is_moved(&from, to->pointer.rename.id)
               ? forward(local, key, to, &from, deadline, arena, err)
               : take_back(local, key, to, from_key, &from, deadline, arena, err);
}

static enum status step_moved(struct local *local, struct str key, const struct local_base *from,
                              deadline_ms deadline, struct arena *arena, struct err *err)
{
    struct local_base to;
    struct str to_key;
    TRY(read_peer(local, from, arena, &to_key, &to, err));
    if (is_arriving(&to, from->pointer.rename.id)) {
        return forward(local, to_key, &to, from, deadline, arena, err);
    }
    struct pointer next = nothing(&from->pointer);
    return swap(local, key, from, &next, deadline, arena, err);
}

enum status rename_settle(struct local *local, struct str key, deadline_ms deadline,
                          struct err *err)
{
    enum status status = OK;
    bool settled = false;
    for (int round = 0; status == OK && !settled; round++) {
        struct arena arena;
        struct local_base base;
        arena_init(&arena, ONE_BYTES_MAX);
        status = local_read_raw(local, key, &arena, &base, err);
        settled = status != OK || !base.renaming;
        if (!settled) {
            status = base.pointer.state == POINTER_ARRIVING
                         ? step_arriving(local, key, &base, deadline, &arena, err)
                         : step_moved(local, key, &base, deadline, &arena, err);
        }
        arena_done(&arena);
        if (status == OK && !settled && round > 4) { /* without a rival it takes four */
            if (deadline_passed(deadline)) {
                return err_set(err, E_UNAVAILABLE, "a rename at \"%.*s\" goes on and on; try again",
                               STR_ARG(key));
            }
            local_backoff(local, round, deadline);
        }
    }
    return status;
}

enum status rename_read_settled(struct local *local, struct str key, deadline_ms deadline,
                                struct arena *arena, struct local_base *out, struct err *err)
{
    TRY(local_read_raw(local, key, arena, out, err));
    while (out->renaming) {
        TRY(rename_settle(local, key, deadline, err));
        TRY(local_read_raw(local, key, arena, out, err));
    }
    return OK;
}
