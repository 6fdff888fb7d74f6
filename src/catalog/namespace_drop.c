/*
 * Giving a namespace up, without a lock: whoever makes a table in it or a namespace below it writes
 * first and looks at this object after, and who drops it does the opposite.
 *
 *   live --swap--> dropping --look: nothing in it-----> dropped
 *    ^                 |
 *    '------ swap -----'---- look: something is
 *
 * So one of the two sees the other. Whoever meets `dropping` does the rest of it: the one who began
 * may be dead. Every swap names what was read, so of two that look and find different things, one
 * wins, and what a later one has put in was seen or sees.
 */
#include "catalog/namespace.h"

#include "catalog/drop.h"
#include "catalog/names.h"
#include "catalog/rename.h"
#include "catalog/table_name.h"

enum { LISTED_BYTES_MAX = 256 * 1024 * 1024, POINTER_BYTES_MAX = 64 * 1024 * 1024 };

/** Is there a table or a view? What is about to be renamed into it is taken back. */
static enum status has_tables(struct local *local, struct str ns, deadline_ms deadline,
                              struct arena *arena, bool *out, struct err *err)
{
    struct names names;
    TRY(names_list(local, ns, arena, &names, err));
    *out = false;
    for (size_t i = 0; i < names.count && !*out; i++) {
        struct arena once;
        struct local_base base;
        arena_init(&once, POINTER_BYTES_MAX);
        enum status status = rename_read_settled(local, names.entries[i].key, deadline, &once,
                                                 &base, err);
        *out = status == OK && (base.live || base.held); /* one may be made just now */
        arena_done(&once);
        TRY(status);
    }
    return OK;
}

/** A namespace below that is itself being dropped counts until it is: its drop comes first. */
static enum status has_children(struct local *local, struct str ns, struct arena *arena, bool *out,
                                struct err *err)
{
    struct str *names = NULL;
    size_t count = 0;
    TRY(namespace_children(local, ns, false, arena, &names, &count, err));
    *out = false;
    for (size_t i = 0; i < count && !*out; i++) {
        struct namespace_base base;
        TRY(namespace_read(local, names[i], arena, &base, err));
        *out = base.state == NAMESPACE_LIVE || base.state == NAMESPACE_DROPPING;
    }
    return OK;
}

static enum status is_occupied(struct local *local, struct str ns, deadline_ms deadline, bool *out,
                               struct err *err)
{
    struct arena arena;
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = has_tables(local, ns, deadline, &arena, out, err);
    if (status == OK && !*out) {
        status = has_children(local, ns, &arena, out, err);
    }
    arena_done(&arena);
    return status;
}

/** What follows `dropping`. */
static enum status finish(struct local *local, struct str ns, const struct namespace_base *base,
                          deadline_ms deadline, struct err *err)
{
    bool occupied = false;
    enum swap_outcome outcome = SWAP_REFUSED;
    TRY(is_occupied(local, ns, deadline, &occupied, err));
    return namespace_swap(local, ns, base, occupied ? NAMESPACE_LIVE : NAMESPACE_DROPPED, &base->ns,
                          deadline, &outcome, err);
}

static enum status busy(struct str ns, struct err *err)
{
    return err_set(err, E_UNAVAILABLE, "namespace \"%.*s\" is being dropped by others; try again",
                   STR_ARG(ns));
}

enum status namespace_settled(struct local *local, struct str ns, deadline_ms deadline,
                              struct arena *arena, struct namespace_base *out, struct err *err)
{
    for (int round = 0;; round++) {
        struct namespace_base base;
        TRY(namespace_read(local, ns, arena, &base, err));
        if (base.state != NAMESPACE_DROPPING) {
            *out = base;
            return OK;
        }
        TRY(finish(local, ns, &base, deadline, err));
        if (deadline_passed(deadline)) {
            return busy(ns, err);
        }
        local_backoff(local, round, deadline);
    }
}

/** Drops of namespaces below that somebody did not live to finish. */
static enum status settle_below(struct local *local, struct str ns, deadline_ms deadline,
                                struct arena *arena, struct err *err)
{
    struct str *names = NULL;
    size_t count = 0;
    TRY(namespace_children(local, ns, false, arena, &names, &count, err));
    for (size_t i = count; i > 0; i--) { /* the deepest of a branch first */
        struct namespace_base base;
        TRY(namespace_settled(local, names[i - 1], deadline, arena, &base, err));
    }
    return OK;
}

/* --- drop --- */

struct dropping {
    struct local *local;
    struct str ns;
    deadline_ms deadline;
    /* of the one whose drop was begun, by us or by somebody whose work we do; empty: none yet */
    struct str uuid;
    bool done;
};

static enum status begin(struct dropping *dropping, const struct namespace_base *base,
                         struct arena *arena, struct err *err)
{
    dropping->uuid = arena_str(arena, base->ns.uuid);
    return dropping->uuid.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status step(struct dropping *dropping, const struct namespace_base *base,
                        struct arena *arena, struct err *err)
{
    bool begun = dropping->uuid.len > 0;
    bool same = begun && str_eq(base->ns.uuid, dropping->uuid);
    enum swap_outcome outcome = SWAP_REFUSED;
    if (base->state == NAMESPACE_DROPPING) {
        TRY(begun ? OK : begin(dropping, base, arena, err));
        return finish(dropping->local, dropping->ns, base, dropping->deadline, err);
    }
    if (begun && same && base->state == NAMESPACE_LIVE) {
        return err_set(
            err, E_CONFLICT,
            "namespace \"%.*s\" is not empty: drop its tables, views and namespaces first",
            STR_ARG(dropping->ns));
    }
    if (begun) {
        dropping->done = true; /* dropped, and perhaps made again since */
        return OK;
    }
    if (base->state != NAMESPACE_LIVE) {
        return namespace_missing(dropping->ns, err);
    }
    TRY(namespace_swap(dropping->local, dropping->ns, base, NAMESPACE_DROPPING, &base->ns,
                       dropping->deadline, &outcome, err));
    return outcome == SWAP_WON ? begin(dropping, base, arena, err) : OK;
}

enum status local_namespace_drop(struct catalog *catalog, struct str ns, struct err *err)
{
    assert(catalog->ops->namespace != NULL);
    struct dropping dropping = { .local = (struct local *)catalog,
                                 .ns = ns,
                                 .deadline = deadline_in(NAMESPACE_TIMEOUT_MS),
                                 .uuid = STR_EMPTY };
    struct arena arena;
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = table_name_check_ns(ns, NULL) == OK ? OK : namespace_missing(ns, err);
    status = status == OK ? settle_below(dropping.local, ns, dropping.deadline, &arena, err)
                          : status;
    for (int round = 0; status == OK && !dropping.done; round++) {
        struct namespace_base base;
        status = namespace_read(dropping.local, ns, &arena, &base, err);
        status = status == OK ? step(&dropping, &base, &arena, err) : status;
        if (status == OK && !dropping.done && deadline_passed(dropping.deadline)) {
            status = busy(ns, err);
        }
        if (round > 1) { /* the usual way is three rounds without a rival */
            local_backoff(dropping.local, round, dropping.deadline);
        }
    }
    arena_done(&arena);
    return status;
}

/* --- what is left of a dropped one --- */

static enum status clear_one(struct local *local, struct str key, struct str uuid,
                             deadline_ms deadline, struct err *err)
{
    struct arena arena;
    struct local_base base;
    enum swap_outcome outcome = SWAP_REFUSED;
    arena_init(&arena, POINTER_BYTES_MAX);
    enum status status = local_read_pointer(local, key, &arena, &base, err);
    if (status == OK && base.live && str_eq(base.pointer.namespace_uuid, uuid)) {
        struct drop how = { .purge = false, .deadline = deadline };
        status = drop_swap(local, key, &base, &how, &arena, &outcome, err);
    }
    arena_done(&arena);
    return status;
}

enum status namespace_clear(struct local *local, struct str ns, struct str uuid,
                            deadline_ms deadline, struct err *err)
{
    struct arena arena;
    struct names names = { 0 };
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = names_list(local, ns, &arena, &names, err);
    for (size_t i = 0; status == OK && i < names.count; i++) {
        status = clear_one(local, names.entries[i].key, uuid, deadline, err);
    }
    arena_done(&arena);
    return status;
}
