/*
 * Several tables at once, all or nothing.
 *
 *      read all --> a repeat? --> requirements, updates --> metadata files --> record: pending
 *      hold each pointer in key order --> record: committed --> each pointer to its next body
 *                |                              |
 *                '-- a requirement fails ------ '-- aborted by somebody who was impatient:
 *                    now: record aborted            from the start
 *
 * Invariants: the record's swap is the commit; a failure is said only once the record is aborted
 * for certain (or never was), and metadata files go only then. Ends that are left to do (a crash,
 * a lost answer) are done by whoever reads a pointer (tx.c).
 *
 * In one process the tables' queues are entered in key order, so appends wait and nothing locks up.
 */
#include <stdlib.h>

#include "catalog/change.h"
#include "catalog/group.h"
#include "catalog/names.h"
#include "catalog/namespace.h"
#include "catalog/site.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "catalog/tx.h"

enum {
    TRANSACT_TIMEOUT_MS = 60000,
    TABLES_MAX = 100, /* each waits in a queue of its own, one inside the other */
    LOOKS = 2,
    LISTED_BYTES_MAX = 256 * 1024 * 1024,
    POINTER_BYTES_MAX = 16 * 1024 * 1024
};

struct member {
    const struct catalog_change *change;
    struct str key; /* of the pointer */
    struct change_try trial;
    bool written; /* its metadata file is there */
};

struct transact {
    struct local *local;
    struct member *members; /* in key order */
    size_t count;
    deadline_ms deadline;
    struct arena arena; /* for all rounds */
    struct str *keys;   /* of the members, for the record */
    /* One round: */
    char id[UUID_TEXT + 1];
    bool begun; /* the record may be there */
};

/* --- one member's part --- */

/** E_CONFLICT and the like: the transaction cannot be. *held_out: not now. */
static enum status prepare(struct transact *transact, struct member *member, bool *held_out,
                           struct err *err)
{
    struct change_try *trial = &member->trial;
    *held_out = trial->base.held;
    if (trial->base.held) {
        return OK;
    }
    TRY(change_apply(transact->local, trial, err));
    if (!trial->result.changed) { /* it holds the others to what it requires */
        trial->publish.next = trial->base.pointer;
        return OK;
    }
    if (trial->chosen) {
        TRY(site_check_free(transact->local, &member->change->name, trial->publish.folder,
                            trial->result.metadata->table_uuid, err));
    }
    if (!trial->base.live && trial->base.found && trial->base.pointer.purge) {
        /* its tombstone, which says so too, will be gone */
        TRY(trash_purge(transact->local, trial->base.pointer.table.uuid,
                        trial->base.pointer.table.metadata_location, err));
    }
    TRY(publish_write(transact->local, &trial->publish, &trial->arena, err));
    member->written = true;
    return OK;
}

/** The body that holds the pointer: what it was, and what will be. */
static enum status hold_body(struct transact *transact, struct member *member, struct pointer *held,
                             struct buf *out, struct err *err)
{
    struct change_try *trial = &member->trial;
    struct pointer *next = &trial->publish.next;
    struct rng rng;
    AUTO(buf_done) struct buf json;
    buf_init(&json, POINTER_BYTES_MAX);
    local_rng(transact->local, &rng);
    if (trial->base.found) {
        *held = trial->base.pointer;
    } else {
        *held = (struct pointer){ .state = POINTER_DROPPED,
                                  .table = { .name = member->change->name, .snapshot_id = -1 } };
        held->table.uuid = held->table.fingerprint = held->table.metadata_location = STR_EMPTY;
        held->namespace_uuid = STR_EMPTY;
    }
    TRY(pointer_add_commit(&trial->arena, trial->base.found ? &trial->base.pointer : NULL, &rng,
                           held, err));
    TRY(pointer_add_commit(&trial->arena, held, &rng, next, err));
    enum status status = pointer_encode(next, &json);
    held->tx_id = str_of(transact->id);
    held->tx_next = buf_str(&json);
    status = status == OK ? pointer_encode(held, out) : status;
    held->tx_next = STR_EMPTY; /* `json` goes */
    return status == E_TOO_LARGE
               ? err_set(err, status, "the pointer of \"%.*s\" would be larger than %d bytes",
                         STR_ARG(member->change->name.name), POINTER_BYTES_MAX)
           : status != OK ? err_no_memory(err)
                          : OK;
}

static enum status hold_once(struct transact *transact, struct member *member,
                             enum swap_outcome *outcome, struct err *err)
{
    struct pointer held;
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    TRY(hold_body(transact, member, &held, &body, err));
    struct swap swap = {
        .key = member->key,
        .base_etag = member->trial.base.found ? str_of(member->trial.base.etag) : STR_EMPTY,
        .body = buf_str(&body),
        .commit_id = held.commit_ids[held.commit_count - 1],
        .deadline = transact->deadline,
    };
    return swap_pointer(transact->local, &swap, outcome, err);
}

static void member_renew(struct transact *transact, struct member *member)
{
    change_done(&member->trial);
    change_init(&member->trial, member->change, member->key, transact->deadline);
    member->written = false;
}

static enum status busy(struct err *err)
{
    return err_set(err, E_UNAVAILABLE,
                   "the tables are too busy: others won every race until the deadline; nothing was "
                   "committed");
}

/** Somebody was faster: everything of this member again, on the base that is there now. */
static enum status renew(struct transact *transact, struct member *member, struct err *err)
{
    if (member->written) {
        publish_discard(transact->local, &member->trial.publish);
    }
    for (int round = 0;; round++) {
        bool held = false;
        member_renew(transact, member);
        if (deadline_passed(transact->deadline)) {
            return busy(err);
        }
        local_backoff(transact->local, round, transact->deadline);
        TRY(change_read(transact->local, &member->trial, err));
        TRY(prepare(transact, member, &held, err));
        if (!held) {
            return OK;
        }
    }
}

static enum status hold(struct transact *transact, struct member *member, struct err *err)
{
    for (;;) {
        enum swap_outcome outcome = SWAP_REFUSED;
        TRY(hold_once(transact, member, &outcome, err)); /* unknown: the record will be aborted */
        if (outcome == SWAP_WON) {
            return OK;
        }
        TRY(renew(transact, member, err));
    }
}

/* --- what others may do at the same moment ---
 *
 * With all pointers held, so that of two who forbid each other one sees the other. */

static bool is_member(const struct transact *transact, struct str key)
{
    for (size_t i = 0; i < transact->count; i++) {
        if (str_eq(transact->keys[i], key)) {
            return true;
        }
    }
    return false;
}

/** No other name differs from that of a new table only by case; one that another transaction is
 * about to make counts. */
static enum status check_twins(struct transact *transact, const struct table_name *name,
                               struct arena *arena, struct err *err)
{
    struct names names;
    TRY(names_list(transact->local, STR_EMPTY, arena, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        struct local_base base;
        if (!table_name_eq_nocase(&entry->name, name) || is_member(transact, entry->key)) {
            continue;
        }
        TRY(local_read_pointer(transact->local, entry->key, arena, &base, err));
        if (base.live || base.held) {
            return err_set(err, E_EXISTS,
                           "table \"%.*s\" was made at the same moment; a name that differs from "
                           "it only by case is refused",
                           STR_ARG(entry->text));
        }
    }
    return OK;
}

/** Two new or moved tables of one transaction. */
static enum status check_pair(const struct member *a, const struct member *b, struct err *err)
{
    const struct change_try *x = &a->trial, *y = &b->trial;
    struct str name = a->change->name.name, other = b->change->name.name;
    if (!x->result.changed || !y->result.changed) {
        return OK;
    }
    if (x->creates && y->creates && table_name_eq_nocase(&a->change->name, &b->change->name)) {
        return err_set(err, E_EXISTS, "the names \"%.*s\" and \"%.*s\" differ only by case",
                       STR_ARG(name), STR_ARG(other));
    }
    if (str_eq_nocase(x->result.metadata->table_uuid, y->result.metadata->table_uuid)) {
        return err_set(err, E_INVALID, "tables \"%.*s\" and \"%.*s\" have one uuid", STR_ARG(name),
                       STR_ARG(other));
    }
    if ((x->chosen || y->chosen) && site_overlaps(x->publish.folder, y->publish.folder)) {
        return err_set(err, E_INVALID, "the locations of \"%.*s\" and \"%.*s\" overlap",
                       STR_ARG(name), STR_ARG(other));
    }
    return OK;
}

static enum status check_places(struct transact *transact, struct err *err)
{
    for (size_t i = 0; i < transact->count; i++) {
        const struct member *member = &transact->members[i];
        for (size_t k = 0; k < i; k++) {
            TRY(check_pair(&transact->members[k], member, err));
        }
        if (member->trial.result.changed && member->trial.chosen) {
            TRY(site_check_free(transact->local, &member->change->name,
                                member->trial.publish.folder,
                                member->trial.result.metadata->table_uuid, err));
        }
        if (member->trial.creates) {
            struct arena arena;
            arena_init(&arena, LISTED_BYTES_MAX);
            enum status status = check_twins(transact, &member->change->name, &arena, err);
            arena_done(&arena);
            TRY(status);
        }
    }
    return OK;
}

/** With all pointers held: the namespaces of new tables are still there. Who drops one sees the
 * hold, or we see the drop. */
static enum status check_namespaces(struct transact *transact, struct err *err)
{
    for (size_t i = 0; i < transact->count; i++) {
        const struct member *member = &transact->members[i];
        if (member->trial.creates &&
            namespace_check(transact->local, member->change->name.ns,
                            member->trial.publish.namespace_uuid, err) == E_CONFLICT) {
            struct err why = err == NULL ? (struct err){ 0 } : *err;
            return err_set(err, E_NOT_FOUND, "%s", why.msg);
        }
    }
    return OK;
}

/* --- ends --- */

/** Bring the pointers to what was decided; what fails here, the next reader does. */
static void settle_all(struct transact *transact)
{
    for (size_t i = 0; i < transact->count; i++) {
        struct arena arena;
        struct local_base base;
        arena_init(&arena, 0);
        enum status ignored = local_read_pointer(transact->local, transact->members[i].key, &arena,
                                                 &base, NULL);
        (void)ignored;
        arena_done(&arena);
    }
}

static void discard_all(struct transact *transact)
{
    for (size_t i = 0; i < transact->count; i++) {
        struct member *member = &transact->members[i];
        if (member->written) {
            publish_discard(transact->local, &member->trial.publish);
            member->written = false;
        }
    }
}

static void landed_all(struct transact *transact)
{
    settle_all(transact);
    metric_add(transact->local->commits, 1);
    for (size_t i = 0; i < transact->count; i++) {
        struct member *member = &transact->members[i];
        if (member->written) {
            reader_keep_metadata(transact->local->base.reader, member->trial.publish.metadata_uri,
                                 member->trial.publish.metadata);
            change_landed(transact->local, &member->trial);
        }
    }
}

static enum status unknown(struct err *err)
{
    return err_set(err, E_UNAVAILABLE,
                   "the outcome is unknown: the store gave no answer to the transaction");
}

/** It fails with `status`, unless it turns out to be committed, or nobody can say. */
static enum status fail(struct transact *transact, enum status status, struct err *err)
{
    enum tx_state now = TX_ABORTED;
    if (transact->begun && tx_decide(transact->local, str_of(transact->id), TX_ABORTED,
                                     transact->deadline, &now, NULL) != OK) {
        return unknown(err);
    }
    if (now == TX_COMMITTED) {
        landed_all(transact);
        return OK;
    }
    if (transact->begun) {
        settle_all(transact);
    }
    discard_all(transact);
    if (status == E_UNAVAILABLE) { /* whatever was in doubt of a part, the whole is not */
        return err_set(err, status, "the store does not answer; nothing was committed");
    }
    return status;
}

/* --- one round --- */

/** Does a table show whether it has taken this change? */
static bool can_tell(const struct catalog_change *change)
{
    size_t i, max;
    yyjson_val *update;
    if (ice_change_creates(change->requirements)) {
        return true;
    }
    yyjson_arr_foreach(change->updates, i, max, update)
    {
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), "add-snapshot")) {
            return true;
        }
    }
    return false;
}

/** *repeat_out: the transaction has landed before, by all that can be seen. What is there of it in
 * part has either landed and lost a part since, or not landed as this transaction: a second look
 * is for one that lands just now. */
static enum status read_all(struct transact *transact, bool *repeat_out, struct err *err)
{
    for (int look = 0; look < LOOKS; look++) {
        size_t there = 0, missing = 0;
        for (size_t i = 0; i < transact->count; i++) {
            struct member *member = &transact->members[i];
            member_renew(transact, member);
            TRY(change_read(transact->local, &member->trial, err));
            there += member->trial.repeat ? 1 : 0;
            missing += !member->trial.repeat && can_tell(member->change) ? 1 : 0;
        }
        *repeat_out = there > 0;
        if (there == 0 || missing == 0) {
            return OK;
        }
    }
    return err_set(err, E_UNAVAILABLE,
                   "the outcome is unknown: a part of the transaction is in its tables, and a part "
                   "is not");
}

static enum status prepare_all(struct transact *transact, bool *held_out, struct err *err)
{
    *held_out = false;
    for (size_t i = 0; i < transact->count && !*held_out; i++) {
        TRY(prepare(transact, &transact->members[i], held_out, err));
    }
    return OK;
}

static enum status begin(struct transact *transact, struct err *err)
{
    enum swap_outcome outcome = SWAP_REFUSED;
    transact->begun = true;
    enum status status = tx_begin(transact->local, str_of(transact->id), transact->keys,
                                  transact->count, transact->deadline, &outcome, err);
    /* A record that may still come is harmless: no pointer names it. */
    transact->begun = outcome == SWAP_WON;
    if (status == OK && outcome != SWAP_WON) {
        status = busy(err);
    }
    return status;
}

static enum status hold_all(struct transact *transact, struct err *err)
{
    for (size_t i = 0; i < transact->count; i++) {
        TRY(hold(transact, &transact->members[i], err));
    }
    TRY(check_places(transact, err));
    return check_namespaces(transact, err);
}

/** *again_out: somebody has aborted it; nothing was committed. */
static enum status commit(struct transact *transact, bool *again_out, struct err *err)
{
    enum tx_state now = TX_PENDING;
    enum status status = tx_decide(transact->local, str_of(transact->id), TX_COMMITTED,
                                   transact->deadline, &now, err);
    if (status != OK) { /* not before it is decided may anything be said */
        return fail(transact, E_UNAVAILABLE, err);
    }
    if (now == TX_COMMITTED) {
        landed_all(transact);
        return OK;
    }
    settle_all(transact);
    discard_all(transact);
    *again_out = true;
    return OK;
}

static enum status round_of(struct transact *transact, bool *again_out, struct err *err)
{
    bool repeat = false, held = false;
    uuid4(transact->id);
    transact->begun = false;
    TRY(read_all(transact, &repeat, err));
    if (repeat) {
        return OK;
    }
    enum status status = prepare_all(transact, &held, err);
    *again_out = status == OK && held;
    if (held || status != OK) {
        discard_all(transact);
        return status;
    }
    status = begin(transact, err);
    status = status == OK ? hold_all(transact, err) : status;
    return status == OK ? commit(transact, again_out, err) : fail(transact, status, err);
}

static enum status run(struct transact *transact, struct err *err)
{
    for (int round = 0;; round++) {
        bool again = false;
        enum status status = round_of(transact, &again, err);
        if (status != OK || !again) {
            return status;
        }
        if (deadline_passed(transact->deadline)) {
            return busy(err);
        }
        local_backoff(transact->local, round, transact->deadline);
    }
}

/* --- queues, and the door --- */

struct level {
    struct transact *transact;
    size_t at;
};

/** Enter the queue of each table in key order, one inside the other. */
static enum status enter(void *ctx, struct err *err)
{
    const struct level *level = ctx;
    struct transact *transact = level->transact;
    if (level->at == transact->count) {
        return run(transact, err);
    }
    struct level next = { .transact = transact, .at = level->at + 1 };
    return groups_alone(transact->local, &transact->members[level->at].change->name,
                        transact->deadline, enter, &next, err);
}

static int compare_members(const void *a, const void *b)
{
    return str_cmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static enum status fill(struct transact *transact, const struct catalog_change *changes,
                        struct err *err)
{
    transact->members = arena_array(&transact->arena, transact->count, sizeof(*transact->members));
    transact->keys = arena_array(&transact->arena, transact->count, sizeof(*transact->keys));
    if (transact->members == NULL || transact->keys == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < transact->count; i++) {
        struct member *member = &transact->members[i];
        *member = (struct member){ .change = &changes[i] };
        TRY(table_name_check(&changes[i].name, err));
        TRY(pointer_key(&transact->arena, transact->local->warehouse, &changes[i].name,
                        &member->key, err));
    }
    qsort(transact->members, transact->count, sizeof(*transact->members), compare_members);
    for (size_t i = 0; i < transact->count; i++) {
        transact->keys[i] = transact->members[i].key;
        if (i > 0 && str_eq(transact->keys[i], transact->keys[i - 1])) {
            return err_set(err, E_INVALID, "the transaction changes table \"%.*s\" twice",
                           STR_ARG(transact->members[i].change->name.name));
        }
    }
    return OK;
}

static enum status change_one(struct catalog *catalog, const struct catalog_change *change,
                              deadline_ms deadline, struct err *err)
{
    struct arena arena;
    struct catalog_loaded loaded;
    arena_init(&arena, 0);
    enum status status = catalog_change_table(catalog, change, deadline, &arena, &loaded, err);
    if (status == OK) {
        buf_done(&loaded.metadata);
    }
    arena_done(&arena);
    return status;
}

enum status catalog_transact(struct catalog *catalog, const struct catalog_change *changes,
                             size_t count, deadline_ms deadline, struct err *err)
{
    if (count == 1) {
        return change_one(catalog, changes, deadline, err);
    }
    if (count == 0 || count > TABLES_MAX) {
        return err_set(err, E_INVALID, "a transaction changes %zu tables: 1 to %d are expected",
                       count, TABLES_MAX);
    }
    struct transact transact = {
        .local = (struct local *)catalog,
        .count = count,
        .deadline = deadline == 0 ? deadline_in(TRANSACT_TIMEOUT_MS) : deadline,
    };
    struct level level = { .transact = &transact };
    arena_init(&transact.arena, 0);
    enum status status = fill(&transact, changes, err);
    for (size_t i = 0; i < count && status == OK; i++) {
        struct member *member = &transact.members[i];
        change_init(&member->trial, member->change, member->key, transact.deadline);
    }
    if (status == OK) {
        status = enter(&level, err);
        for (size_t i = 0; i < count; i++) {
            change_done(&transact.members[i].trial);
        }
    }
    arena_done(&transact.arena);
    return status;
}
