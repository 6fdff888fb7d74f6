/*
 * Changes of one table that wait together share one metadata file and one swap.
 *
 * They are applied one after the other, each on the document that the one before has made, as if
 * each had been alone; only the last document is written. One that does not fit is told so and
 * leaves the others alone. Nothing is told before the swap has landed: when it is lost, all of them
 * look at the new base.
 */
#include "catalog/change.h"

#include "base/mem.h"
#include "catalog/table_name.h"

enum { JSON_BYTES_MAX = 512 * 1024 * 1024 };

struct member {
    struct changing *changing;
    struct change_try trial;
    yyjson_doc *doc; /* of the document that it makes */
    bool failed;     /* status and err of `changing` are its answer */
};

struct shared {
    struct local *local;
    struct member *members;
    size_t count;
    deadline_ms deadline; /* the last of theirs */
    /* One round: */
    struct change_try base;
    struct member *last; /* the last that has changed something; NULL: none */
};

bool change_may_share(const struct catalog_change *change)
{
    size_t i, max;
    yyjson_val *update;
    if (ice_change_creates(change->requirements) || change->batch != NULL) {
        return false;
    }
    if (!yyjson_is_arr(change->updates)) {
        return true;
    }
    yyjson_arr_foreach(change->updates, i, max, update)
    {
        yyjson_val *action = yyjson_obj_get(update, "action");
        if (yyjson_equals_str(action, "set-location") || yyjson_equals_str(action, "assign-uuid")) {
            return false;
        }
    }
    return true;
}

/* --- one member --- */

static enum status apply(struct shared *shared, struct member *member, yyjson_doc *doc,
                         struct err *err)
{
    struct change_try *trial = &member->trial;
    struct ice_change change = { .requirements = member->changing->change->requirements,
                                 .updates = member->changing->change->updates };
    trial->base = shared->base.base;
    trial->follows = shared->last != NULL;
    trial->repeat = doc != NULL && ice_change_is_repeat(yyjson_doc_get_root(doc), &change);
    if (trial->repeat) {
        return OK;
    }
    trial->doc = doc;
    enum status status = change_apply(shared->local, trial, err);
    trial->doc = NULL; /* it is another's */
    TRY(status);
    if (trial->result.changed) {
        TRY(json_parse(trial->publish.json, &member->doc, err));
        shared->last = member;
    }
    return OK;
}

static void apply_all(struct shared *shared)
{
    for (size_t i = 0; i < shared->count; i++) {
        struct member *member = &shared->members[i];
        struct changing *changing = member->changing;
        yyjson_doc *doc = shared->last != NULL ? shared->last->doc : shared->base.doc;
        changing->err = (struct err){ 0 };
        changing->status = apply(shared, member, doc, &changing->err);
        member->failed = changing->status != OK;
    }
}

/* --- answers --- */

static void fail_rest(struct shared *shared, enum status status, const struct err *err)
{
    for (size_t i = 0; i < shared->count; i++) {
        struct member *member = &shared->members[i];
        if (!member->failed) {
            member->changing->status = status;
            member->changing->err = *err;
        }
    }
}

static enum status answer(const struct shared *shared, struct changing *changing, struct err *err)
{
    const struct change_try *last = shared->last != NULL ? &shared->last->trial : NULL;
    struct str location = STR_EMPTY;
    struct str text = last != NULL ? last->publish.json : buf_str(&shared->base.text);
    struct str uri = last != NULL ? last->publish.metadata_uri
                                  : shared->base.base.pointer.table.metadata_location;
    yyjson_doc *doc = shared->last != NULL ? shared->last->doc : shared->base.doc;
    TRY(json_get_str(yyjson_doc_get_root(doc), "location", JSON_REQUIRED, &location, err));
    while (location.len > 0 && location.ptr[location.len - 1] == '/') {
        location.len--;
    }
    struct catalog_loaded loaded = { .metadata_location = arena_str(changing->arena, uri),
                                     .location = arena_str(changing->arena, location) };
    buf_init(&loaded.metadata, JSON_BYTES_MAX);
    if (loaded.metadata_location.ptr == NULL || loaded.location.ptr == NULL ||
        buf_append(&loaded.metadata, text) != OK) {
        buf_done(&loaded.metadata);
        return err_set(err, E_UNAVAILABLE,
                       "the outcome is unknown: there is no memory for the answer");
    }
    *changing->out = loaded;
    return OK;
}

static void answer_all(struct shared *shared)
{
    for (size_t i = 0; i < shared->count; i++) {
        struct member *member = &shared->members[i];
        if (!member->failed) {
            member->changing->status = answer(shared, member->changing, &member->changing->err);
        }
        if (member->trial.result.changed && !member->failed) {
            change_landed(shared->local, &member->trial);
        }
    }
}

/* --- rounds --- */

/** True: nothing can land of this round, and all may try again. */
static bool attempt(struct shared *shared)
{
    struct err err = { 0 };
    enum swap_outcome outcome = SWAP_REFUSED;
    enum status status = change_read(shared->local, &shared->base, &err);
    if (status == OK && shared->base.base.held) {
        return true;
    }
    if (status == OK) {
        apply_all(shared);
    }
    if (status == OK && shared->last != NULL) {
        struct change_try *last = &shared->last->trial;
        status = publish_write(shared->local, &last->publish, &last->arena, &err);
        status = status == OK ? publish_swap(shared->local, &last->publish, &outcome, &err)
                              : status;
        if (outcome == SWAP_LOST) {
            return true;
        }
    }
    if (status == OK) {
        answer_all(shared);
    } else {
        fail_rest(shared, status, &err);
    }
    return false;
}

static bool run_round(struct shared *shared)
{
    const struct changing *first = shared->members[0].changing;
    shared->last = NULL;
    change_init(&shared->base, first->change, first->key, shared->deadline);
    for (size_t i = 0; i < shared->count; i++) {
        struct member *member = &shared->members[i];
        change_init(&member->trial, member->changing->change, first->key, shared->deadline);
        member->doc = NULL;
        member->failed = false;
    }
    bool again = attempt(shared);
    for (size_t i = 0; i < shared->count; i++) {
        json_doc_done(&shared->members[i].doc);
        change_done(&shared->members[i].trial);
    }
    change_done(&shared->base);
    return again;
}

static void run_rounds(struct shared *shared)
{
    for (int round = 0; run_round(shared); round++) {
        if (deadline_passed(shared->deadline)) {
            struct err err = { 0 };
            enum status status = err_set(
                &err, E_UNAVAILABLE,
                "table \"%.*s\" is too busy: others won every race until the deadline; nothing was "
                "committed",
                STR_ARG(shared->members[0].changing->change->name.name));
            fail_rest(shared, status, &err);
            return;
        }
        local_backoff(shared->local, round, shared->deadline);
    }
}

bool change_run_shared(void *const *changings, size_t count)
{
    struct changing *const *all = (struct changing *const *)changings;
    struct shared shared = { .local = all[0]->local, .count = count, .deadline = 0 };
    bool conflict = false;
    shared.members = mem_zalloc(count * sizeof(*shared.members));
    for (size_t i = 0; i < count; i++) {
        shared.deadline = all[i]->deadline > shared.deadline ? all[i]->deadline : shared.deadline;
        if (shared.members == NULL) {
            all[i]->status = err_no_memory(&all[i]->err);
        } else {
            shared.members[i].changing = all[i];
        }
    }
    if (shared.members != NULL) {
        run_rounds(&shared);
    }
    for (size_t i = 0; i < count; i++) {
        conflict = conflict || all[i]->status == E_CONFLICT;
    }
    mem_free(shared.members);
    return conflict;
}
