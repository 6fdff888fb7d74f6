/*
 * One commit of a group of appends.
 *
 *      read the pointer and its metadata --> plan: which appends fit --> write manifest, list,
 *      metadata --> swap
 *            ^
 *            |
 *            '------- lost: delete what was written, look at the new base
 *            ----------------------------------+
 *                                                                                won: everybody
 *                                                                                gets an answer
 *                                                                                unknown: say so,
 *                                                                                touch nothing
 *
 * Invariants: an append is answered with success only after a swap that carries its batch was seen
 * to land; with a failure only when no body with it can land any more, or with "the outcome is
 * unknown". What a swap may still point to is never deleted.
 */
#include "catalog/commit.h"

#include "catalog/batch.h"
#include "catalog/carry.h"
#include "catalog/created.h"
#include "catalog/marks.h"
#include "catalog/namespace.h"
#include "catalog/plan.h"
#include "catalog/rename.h"
#include "catalog/snapshot.h"
#include "catalog/swap.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"

enum { ATTEMPT_BYTES_MAX = 1024 * 1024 * 1024, POINTER_BYTES_MAX = 16 * 1024 * 1024 };

/** The whole commit: what stays the same over its attempts. */
struct commit {
    struct local *local;
    struct commit_request **requests;
    size_t count;
    struct commit_rest *rest;
    struct str key;       /* of the pointer */
    deadline_ms deadline; /* the last of the requests' */
    struct arena arena;   /* for the whole commit */
    /* One attempt: */
    struct arena attempt;
    struct local_base base;
    const struct ice_metadata *metadata; /* referenced */
    struct plan plan;
    struct str ns_uuid;
    struct snapshot snapshot;
    struct pointer next;
};

enum attempt_result { ATTEMPT_DONE, ATTEMPT_AGAIN };

static enum attempt_result attempt(struct commit *commit, int round);

/** End every request that is not done yet with one error. */
static void fail_all(struct commit *commit, enum status status, const struct err *err)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_request *request = commit->requests[i];
        if (!request->done) {
            request->status = status;
            request->err = *err;
            request->done = true;
        }
    }
}

static bool any_left(const struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        if (!commit->requests[i]->done) {
            return true;
        }
    }
    return false;
}

static enum status prepare(struct commit *commit, struct err *err)
{
    commit->deadline = 0;
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_request *request = commit->requests[i];
        deadline_ms deadline = request->append->deadline;
        commit->deadline = deadline > commit->deadline ? deadline : commit->deadline;
        request->batch_id = STR_EMPTY;
        if (request->append->batch_id.len > 0) {
            TRY(batch_id(&commit->arena, request->append->batch_id, &request->batch_id, err));
        }
    }
    return pointer_key(&commit->arena, commit->local->warehouse, &commit->requests[0]->append->name,
                       &commit->key, err);
}

void commit_run(struct local *local, struct commit_request **requests, size_t count,
                struct commit_rest *rest)
{
    struct commit commit = { .local = local, .requests = requests, .count = count, .rest = rest };
    struct err err = { 0 };
    *rest = (struct commit_rest){ 0 };
    arena_init(&rest->arena, ATTEMPT_BYTES_MAX);
    arena_init(&commit.arena, POINTER_BYTES_MAX);
    enum status status = prepare(&commit, &err);
    if (status != OK) {
        fail_all(&commit, status, &err);
    }
    for (int round = 0; any_left(&commit); round++) {
        arena_init(&commit.attempt, ATTEMPT_BYTES_MAX);
        enum attempt_result result = attempt(&commit, round);
        plan_done(&commit.plan);
        if (commit.metadata != NULL) {
            ice_metadata_unref(commit.metadata);
            commit.metadata = NULL;
        }
        arena_done(&commit.attempt);
        if (result == ATTEMPT_DONE) {
            break;
        }
    }
    assert(!any_left(&commit));
    arena_done(&commit.arena);
}

/* --- one attempt --- */

static enum status read_base(struct commit *commit, struct err *err)
{
    TRY(rename_read_settled(commit->local, commit->key, commit->deadline, &commit->attempt,
                            &commit->base, err));
    if (!commit->base.live) {
        return OK;
    }
    const struct pointer *pointer = &commit->base.pointer;
    if (pointer->table.is_view) {
        return err_set(err, E_CONFLICT, "\"%.*s\" is a view", STR_ARG(pointer->table.name.name));
    }
    TRY(reader_metadata(commit->local->base.reader, pointer->table.metadata_location,
                        &commit->metadata, err));
    if (!str_eq_nocase(commit->metadata->table_uuid, pointer->table.uuid)) {
        return err_set(err, E_CORRUPT,
                       "the pointer of \"%.*s\" names the metadata of another table",
                       STR_ARG(pointer->table.name.name));
    }
    return OK;
}

/** A batch that is in this commit already: answered with the first one. */
static bool is_twin(struct commit *commit, size_t index)
{
    struct commit_request *request = commit->requests[index];
    for (size_t i = 0; i < index && request->batch_id.len > 0; i++) {
        if (commit->requests[i]->accepted &&
            str_eq(commit->requests[i]->batch_id, request->batch_id)) {
            request->twin = commit->requests[i];
            return true;
        }
    }
    return false;
}

static enum status plan_all(struct commit *commit, struct err *err)
{
    TRY(plan_init(&commit->plan, &commit->attempt, &commit->base, commit->metadata,
                  commit->requests, commit->count, err));
    for (size_t i = 0; i < commit->count; i++) {
        if (!commit->requests[i]->done && !is_twin(commit, i)) {
            plan_request(commit->local, &commit->plan, commit->requests[i]);
        }
    }
    return OK;
}

/** The old pointer's batches that have no marker yet, and the new ones. */
static enum status add_batches(struct commit *commit, struct pointer *next, struct err *err)
{
    TRY(carry_batches(commit->local, &commit->base, commit->plan.batch_count, &commit->attempt,
                      next, err));
    for (size_t i = 0; i < commit->plan.batch_count; i++) {
        struct pointer_batch *batch = &next->batches[next->batch_count++];
        *batch = commit->plan.batches[i];
        batch->snapshot_id = commit->snapshot.id;
        batch->sequence_number = commit->snapshot.sequence_number;
        batch->committed_ms = commit->snapshot.timestamp_ms;
    }
    return OK;
}

/** A total of the current snapshot's summary; `known` when the summary does not say. */
static int64_t total(const struct ice_metadata *metadata, const char *name, int64_t known)
{
    int64_t number = known;
    yyjson_val *value = metadata->current == NULL || metadata->current->summary == NULL
                            ? NULL
                            : yyjson_obj_get(metadata->current->summary, name);
    if (yyjson_is_str(value) &&
        !str_to_i64(str_from(yyjson_get_str(value), yyjson_get_len(value)), &number)) {
        number = known;
    }
    return number;
}

static enum status make_summary(struct commit *commit, struct table_summary *out, struct err *err)
{
    const struct ice_metadata *metadata = commit->snapshot.metadata;
    const struct table_summary *old = &commit->base.pointer.table;
    bool live = commit->base.live;
    char fingerprint[65];
    TRY(ice_schema_fingerprint(metadata->schema, fingerprint, err));
    *out = (struct table_summary){
        .name = commit->requests[0]->append->name,
        .uuid = live ? old->uuid : commit->plan.place->uuid,
        .fingerprint = arena_str(&commit->attempt, str_of(fingerprint)),
        .snapshot_id = metadata->current == NULL ? -1 : metadata->current->id,
        .updated_ms = commit->snapshot.timestamp_ms,
        .metadata_location = commit->snapshot.metadata_uri,
        .version = commit->snapshot.version,
        .row_count = live ? old->row_count : 0,
        .file_count = live ? old->file_count : 0,
        .size_bytes = live ? old->size_bytes : 0,
    };
    if (out->fingerprint.ptr == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < commit->plan.file_count; i++) {
        out->row_count += commit->plan.files[i].record_count;
        out->size_bytes += commit->plan.files[i].size_bytes;
    }
    out->file_count += (int64_t)commit->plan.file_count;
    out->row_count = total(metadata, "total-records", out->row_count);
    out->file_count = total(metadata, "total-data-files", out->file_count);
    out->size_bytes = total(metadata, "total-files-size", out->size_bytes);
    return OK;
}

static enum status make_pointer(struct commit *commit, struct err *err)
{
    struct pointer *next = &commit->next;
    *next = (struct pointer){
        .state = POINTER_LIVE,
        .namespace_uuid = commit->base.live ? commit->base.pointer.namespace_uuid : commit->ns_uuid,
    };
    TRY(make_summary(commit, &next->table, err));
    TRY(add_batches(commit, next, err));
    struct rng rng;
    local_rng(commit->local, &rng);
    return pointer_add_commit(&commit->attempt, commit->base.found ? &commit->base.pointer : NULL,
                              &rng, next, err);
}

/* --- answers --- */

static enum status answer(struct commit *commit, struct commit_request *request, struct err *err)
{
    const struct commit_request *first = request->twin != NULL ? request->twin : request;
    struct pointer_batch batch = {
        .snapshot_id = commit->snapshot.id >= 0 ? commit->snapshot.id
                                                : commit->next.table.snapshot_id,
        .row_count = first->row_count,
        .committed_ms = commit->snapshot.timestamp_ms,
        .file = first->append->file_count > 0 ? first->append->files[0].path : STR_EMPTY,
    };
    TRY(plan_answer(&commit->next.table, &batch, request->append, request->arena, &request->out,
                    err));
    if (request->twin == NULL) {
        request->out.deduplicated = false;
        request->out.created = request->creates;
        request->out.files_added = request->file_count;
    }
    return OK;
}

static void answer_all(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_request *request = commit->requests[i];
        if (!request->done) {
            request->status = answer(commit, request, &request->err);
            if (request->status != OK) { /* it has landed: that must not look like a failure */
                request->status = err_set(&request->err, E_UNAVAILABLE,
                                          "the outcome is unknown: there is no memory for the "
                                          "answer; send the same batch again");
            }
            request->done = true;
        }
    }
}

static bool copy_batch(struct arena *arena, const struct pointer_batch *from,
                       struct pointer_batch *to)
{
    *to = *from;
    to->id = arena_str(arena, from->id);
    to->file = arena_str(arena, from->file);
    to->source = arena_str(arena, from->source);
    return to->id.ptr != NULL && to->file.ptr != NULL && to->source.ptr != NULL;
}

/** Give each request the markers that it has to write; without memory they are the next
 * commit's. */
static void keep_marks(struct commit *commit)
{
    const struct pointer *next = &commit->next;
    const struct pointer_batch *fresh = next->batches + next->batch_count -
                                        commit->plan.batch_count;
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_request *request = commit->requests[i];
        if (!request->accepted || request->done) {
            continue;
        }
        request->mark_uuid = arena_str(request->arena, next->table.uuid);
        request->marks = arena_array(request->arena, request->batch_count, sizeof(*request->marks));
        for (size_t b = 0;
             request->mark_uuid.ptr != NULL && request->marks != NULL && b < request->batch_count &&
             copy_batch(request->arena, &fresh[request->batch_from + b],
                        &request->marks[request->mark_count]);
             b++) {
            marks_take(commit->local->marks, request->mark_uuid,
                       &request->marks[request->mark_count++]);
        }
    }
}

/** Remember for commit_finish; without memory the markers and the trash are left to the next commit
 * and the sweep. */
static void keep_rest(struct commit *commit)
{
    struct commit_rest *rest = commit->rest;
    struct arena *arena = &rest->arena;
    rest->metadata = ice_metadata_ref(commit->snapshot.metadata);
    rest->uuid = arena_str(arena, commit->next.table.uuid);
    rest->minted = commit->metadata == NULL ? arena_str(arena, commit->plan.place->location_key)
                                            : STR_EMPTY;
    rest->batches = arena_array(arena, commit->next.batch_count, sizeof(*rest->batches));
    rest->dropped = arena_array(arena, commit->snapshot.edit.dropped_metadata_count,
                                sizeof(*rest->dropped));
    rest->expired = arena_array(arena, commit->snapshot.edit.expired_count, sizeof(*rest->expired));
    if (rest->uuid.ptr == NULL || rest->batches == NULL || rest->dropped == NULL ||
        rest->expired == NULL) {
        return;
    }
    for (size_t i = 0; i < commit->next.batch_count - commit->plan.batch_count; i++) {
        const struct pointer_batch *batch = &commit->next.batches[i];
        if (!marks_is_taken(commit->local->marks, rest->uuid, batch) &&
            copy_batch(arena, batch, &rest->batches[rest->batch_count])) {
            rest->batch_count++;
        }
    }
    for (size_t i = 0; i < commit->snapshot.edit.dropped_metadata_count; i++) {
        rest->dropped[rest->dropped_count++] = arena_str(arena,
                                                         commit->snapshot.edit.dropped_metadata[i]);
    }
    for (size_t i = 0; i < commit->snapshot.edit.expired_count; i++) {
        rest->expired[i] = commit->snapshot.edit.expired[i];
        rest->expired[i].manifest_list = arena_str(arena, rest->expired[i].manifest_list);
        rest->expired_count++;
    }
}

/* --- the swap --- */

static void won(struct commit *commit)
{
    metric_add(commit->local->commits, 1);
    reader_keep_metadata(commit->local->base.reader, commit->snapshot.metadata_uri,
                         commit->snapshot.metadata);
    struct err err = { 0 };
    if (commit->metadata == NULL) {
        struct created created = { .name = &commit->requests[0]->append->name,
                                   .key = commit->key,
                                   .as = &commit->next,
                                   .deadline = commit->deadline };
        enum status status = created_settle(commit->local, &created, &err);
        if (status != OK) {
            fail_all(commit, status, &err);
            return;
        }
    }
    keep_rest(commit);
    keep_marks(commit);
    answer_all(commit);
}

/** Nothing of this attempt can land. */
static enum attempt_result again(struct commit *commit, int round)
{
    struct err err = { 0 };
    if (deadline_passed(commit->deadline)) {
        err_set(
            &err, E_UNAVAILABLE,
            "table \"%.*s\" is too busy: others won every race until the deadline; nothing was committed",
            STR_ARG(commit->requests[0]->append->name.name));
        err.retry_after_s = 1;
        fail_all(commit, E_UNAVAILABLE, &err);
        return ATTEMPT_DONE;
    }
    local_backoff(commit->local, round, commit->deadline);
    return ATTEMPT_AGAIN;
}

static enum attempt_result swap(struct commit *commit, int round)
{
    struct err err = { 0 };
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    enum swap_outcome outcome = SWAP_REFUSED;
    enum status status = make_pointer(commit, &err);
    if (status == OK) {
        status = pointer_encode(&commit->next, &body);
        if (status == E_TOO_LARGE) {
            status = err_set(&err, status, "the pointer of the table would be larger than %d bytes",
                             POINTER_BYTES_MAX);
        } else if (status != OK) {
            status = err_no_memory(&err);
        }
    }
    if (status == OK) {
        struct swap swap = {
            .key = commit->key,
            .base_etag = commit->base.found ? str_of(commit->base.etag) : STR_EMPTY,
            .body = buf_str(&body),
            .commit_id = commit->next.commit_ids[commit->next.commit_count - 1],
            .deadline = commit->deadline,
        };
        status = swap_pointer(commit->local, &swap, &outcome, &err);
    }
    switch (outcome) {
    case SWAP_WON:
        won(commit);
        return ATTEMPT_DONE;
    case SWAP_UNKNOWN:
        fail_all(commit, status, &err);
        return ATTEMPT_DONE;
    case SWAP_REFUSED:
        snapshot_discard(commit->local, &commit->snapshot);
        fail_all(commit, status, &err);
        return ATTEMPT_DONE;
    case SWAP_LOST:
        break;
    }
    metric_add(commit->local->conflicts, 1);
    snapshot_discard(commit->local, &commit->snapshot);
    return again(commit, round);
}

/** The namespace is there, and what the name stood for before is in the trash: its tombstone, which
 * says so too, will be gone. */
static enum status prepare_create(struct commit *commit, struct err *err)
{
    const struct local_base *base = &commit->base;
    if (base->found && base->pointer.purge) {
        TRY(trash_purge(commit->local, base->pointer.table.uuid,
                        base->pointer.table.metadata_location, err));
    }
    return namespace_ensure(commit->local, commit->requests[0]->append->name.ns, &commit->attempt,
                            &commit->ns_uuid, err);
}

static enum attempt_result attempt(struct commit *commit, int round)
{
    struct err err = { 0 };
    enum status status = read_base(commit, &err);
    if (status == OK && commit->base.held) {
        return again(commit, round);
    }
    status = status == OK ? plan_all(commit, &err) : status;
    if (status == OK && commit->plan.accepted > 0) {
        if (commit->metadata == NULL) {
            status = prepare_create(commit, &err);
        }
        status = status == OK
                     ? snapshot_write(commit->local, &commit->plan, &commit->snapshot, &err)
                     : status;
    }
    if (status != OK) {
        fail_all(commit, status, &err);
        return ATTEMPT_DONE;
    }
    if (commit->plan.accepted == 0) {
        return ATTEMPT_DONE; /* every request has its own answer */
    }
    enum attempt_result result = swap(commit, round);
    snapshot_done(&commit->snapshot);
    return result;
}
