/*
 * What became of a complete that did not end: its process died, or never heard the answer.
 *
 * S3's complete is the commit, and happens at most once; the record says how far it can have come.
 *
 *      OPEN        --> COPYING     a complete begins
 *      COPYING     --> COMMITTING  all is copied, and S3 will be asked to make the object
 *                  --> OPEN        broken off by somebody else
 *      COMMITTING  --> SETTLING    somebody finds out what became of that; one at a time
 *      SETTLING    --> OPEN        S3's upload was still there, and was dropped
 *                  --> ENDED       the object carries the write's id, or S3's upload had gone
 *
 * Each arrow is a swap of the record. While it says COPYING nothing can have been committed: who
 * commits must swap it first. In COMMITTING the object is asked for the write's id. That it carries
 * another one does not say that nothing was committed, for a newer write may have replaced it
 * since, and to commit again would undo that one. So S3's upload is asked as well: it is there
 * until it is completed or dropped, and only who holds the record in SETTLING drops it. When it has
 * gone and the object is not of it, it is taken for completed: an upload that is refused can be
 * sent again, a newer object that was undone is lost.
 */
#include <stdio.h>

#include "store/s3_parts.h"

enum { LOOKS_MAX = 16 };

void s3_upload_clear(struct s3_store *s3, const struct store_upload_ref *ref)
{
    char name[S3_RECORD_NAME_MAX + 1];
    s3_parts_drop(s3, ref->id, INT64_MAX);
    if (s3_record_name(ref, name, NULL) == OK) {
        (void)!s3_remove(&s3->base, str_of(name), STR_EMPTY, NULL);
    }
}

enum status s3_record_swap(struct s3_store *s3, const struct store_upload_ref *ref,
                           const struct s3_record *record, struct s3_record *next, struct err *err)
{
    const struct store_cond cond = { .if_match = str_of(record->etag) };
    return s3_record_write(s3, ref, next, &cond, err);
}

/** OPEN again; E_PRECONDITION: somebody else was faster. */
static enum status reopen(struct s3_store *s3, const struct store_upload_ref *ref,
                          struct s3_record *record, struct err *err)
{
    struct s3_record open = *record;
    open.state = S3_RECORD_OPEN;
    TRY(s3_record_swap(s3, ref, record, &open, err));
    *record = open;
    return OK;
}

/** Of a complete that copies. Only when its process can commit no more S3's upload is dropped: else
 * who looks after that would take it for completed. */
static enum status break_off(struct s3_store *s3, const struct store_upload_ref *ref,
                             struct s3_record *record, struct err *err)
{
    TRY(reopen(s3, ref, record, err));
    (void)!s3_upload_drop(s3, record->key, record->upload_id, NULL, NULL);
    return OK;
}

static enum status end(struct s3_store *s3, const struct store_upload_ref *ref,
                       const struct s3_record *record, struct err *err)
{
    struct s3_record ended = { .state = S3_RECORD_ENDED };
    TRY(s3_record_swap(s3, ref, record, &ended, err));
    s3_upload_clear(s3, ref);
    return store_upload_not_found(ref, err);
}

/** Of a complete that may have been sent. The record is swapped first: who looks beside us would
 * find that we have dropped S3's upload, and take it for completed. */
static enum status decide(struct s3_store *s3, const struct store_upload_ref *ref,
                          struct s3_record *record, struct err *err)
{
    struct s3_record ours = *record;
    char by[UUID_TEXT + 32];
    bool there = false, landed = false;
    (void)snprintf(by, sizeof by, "%s.%llx", s3->id, (unsigned long long)random_u64());
    ours.state = S3_RECORD_SETTLING;
    ours.by = str_of(by);
    TRY(s3_record_swap(s3, ref, record, &ours, err));
    ours.by = STR_EMPTY;
    *record = ours;
    TRY(s3_upload_drop(s3, record->key, record->upload_id, &there, err));
    TRY(s3_write_landed(s3, record->key, record->write_id, &landed, err));
    return there && !landed ? reopen(s3, ref, record, err) : end(s3, ref, record, err);
}

/** Another one who settles it is waited for; when he has not got on for as long as a request may
 * take, he has died. */
struct waiting {
    char seen[STORE_ETAG_MAX + 1];
    deadline_ms until;
};

static bool wait_for_other(struct s3_store *s3, const struct s3_record *record,
                           struct waiting *waiting)
{
    if (strcmp(waiting->seen, record->etag) != 0) {
        memcpy(waiting->seen, record->etag, sizeof waiting->seen);
        waiting->until = deadline_in(s3->retry_ms);
    }
    return s3_pause(s3, 0, waiting->until);
}

/** One look at the record, and what follows. E_PRECONDITION: it changed meanwhile. */
static enum status settle_once(struct s3_store *s3, const struct store_upload_ref *ref,
                               struct s3_record *record, struct waiting *waiting, bool *waits_out,
                               struct err *err)
{
    *waits_out = false;
    switch (record->state) {
    case S3_RECORD_OPEN:
        return OK;
    case S3_RECORD_COPYING:
        return break_off(s3, ref, record, err);
    case S3_RECORD_SETTLING:
        if (str_starts(record->by, str_of(s3->id))) { /* a try before could not find it out */
            return decide(s3, ref, record, err);
        }
        if (wait_for_other(s3, record, waiting)) {
            *waits_out = true;
            return OK;
        }
        if (s3_interrupted(s3)) {
            return err_set(err, E_UNAVAILABLE, "this process stops");
        }
        return decide(s3, ref, record, err);
    case S3_RECORD_COMMITTING:
        return decide(s3, ref, record, err);
    case S3_RECORD_ENDED:
        break;
    }
    s3_upload_clear(s3, ref);
    return store_upload_not_found(ref, err);
}

enum status s3_upload_settle(struct s3_store *s3, const struct store_upload_ref *ref,
                             struct str write_id, struct arena *arena, struct s3_record *out,
                             struct err *err)
{
    struct waiting waiting = { 0 };
    for (int looks = 0; looks < LOOKS_MAX;) {
        struct s3_record record;
        bool waits = false;
        TRY(s3_record_read(s3, ref, arena, &record, err));
        if (write_id.len > 0 && !str_eq(record.write_id, write_id)) {
            return OK;
        }
        enum status status = settle_once(s3, ref, &record, &waiting, &waits, err);
        if (status == OK && !waits) {
            *out = record;
            return OK;
        }
        if (status != OK && status != E_PRECONDITION) {
            return status;
        }
        looks += !waits;
    }
    return err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being ended by others",
                   STR_ARG(ref->id));
}
