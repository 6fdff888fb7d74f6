/*
 * Care of one index, asked for by somebody: done before the call returns.
 */
#include <malloc.h>

#include "collection/write.h"

static enum status link_all(struct coll_use *use, struct err *err)
{
    struct vec_scratch *scratch = NULL;
    bool left = true;
    TRY(body_scratch_take(use->body, &scratch, err));
    enum status status = OK;
    while (status == OK && left) {
        status = vec_maintain(use->body->vec, scratch, 1000 * 1000, &left, err);
    }
    body_scratch_give(use->body, scratch);
    return status;
}

enum status coll_settle(struct coll_service *service, struct str name, bool snapshot,
                        struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    TRY(use_begin(service, name, &use, err));
    TRY(link_all(&use, err));
    return snapshot ? snapshot_make(use.coll, err) : OK;
}

enum status coll_warm(struct coll_service *service, struct str name, struct err *err)
{
    return coll_settle(service, name, false, err);
}

/* --- a new body beside the old one --- */

/** Nobody writes: the last log objects, then it is the state. */
static enum status take_over_call(struct coll *coll, struct body *body, void *ctx, struct err *err)
{
    struct body **next = ctx;
    TRY(recover_tail(coll, next, err));
    if ((*next)->sequence != body->sequence) {
        return err_set(err, E_UNAVAILABLE, "index \"%s\" was changed elsewhere meanwhile",
                       coll->name);
    }
    atomic_store(&(*next)->tail_objects, atomic_load(&body->tail_objects));
    atomic_store(&(*next)->tail_bytes, atomic_load(&body->tail_bytes));
    coll_body_set(coll, *next);
    *next = NULL;
    return OK;
}

/** Read from the store, close the gaps that deletes left (the log's and the snapshot's parts have
 * them too), link, and switch: the graph is as if nothing had ever been replaced. */
static enum status build_anew(struct coll_use *use, struct err *err)
{
    struct coll *coll = use->coll;
    struct body *next = NULL;
    coll_body_account(coll->service, use->body);
    TRY(coll_beside_open(coll, use->body, true, &next, err));
    enum status status = body_has_gaps(next) ? coll_beside_pack(coll, &next, err) : OK;
    struct coll_use beside = { .coll = coll, .body = next };
    status = status == OK ? link_all(&beside, err) : status;
    if (status == OK) {
        struct write call = { .kind = WRITE_CALL, .call = take_over_call, .ctx = &next };
        status = write_run(coll, &call, err);
    }
    coll_beside_free(coll->service, next);
    return status;
}

enum status coll_rebuild(struct coll_service *service, struct str name, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    TRY(use_begin(service, name, &use, err));
    return build_anew(&use, err);
}

static enum status compact(struct coll_use *use, struct err *err)
{
    TRY(build_anew(use, err));
    if (use->coll->service->opts.read_only) {
        return OK;
    }
    /* so that whoever opens it next has no gaps either; of another's index that is his care */
    enum status status = snapshot_make(use->coll, err);
    return status == E_CONFLICT ? OK : status;
}

enum status coll_compact(struct coll_service *service, struct str name, struct err *err)
{
    struct coll_use use;
    TRY(use_begin(service, name, &use, err));
    bool gaps = body_has_gaps(use.body);
    enum status status = gaps ? compact(&use, err) : OK;
    use_end(&use);
    if (gaps) {
        (void)malloc_trim(0); /* the old body's pages are not the process' any more */
    }
    return status;
}
