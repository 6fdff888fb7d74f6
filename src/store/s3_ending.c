/*
 * How an upload in parts ends: complete and abort. s3_parts.h has the idea, s3_settle.c what
 * becomes of a complete that did not end.
 *
 *      complete   S3's upload is begun with the final attributes; the record becomes COPYING with
 *                 its id; the bucket copies the parts; the record becomes COMMITTING; S3's
 *                 complete, under the caller's condition, is the commit; the record and the parts
 *                 go
 *      abort      the record becomes ENDED, which is the commit; it and the parts go
 *
 * Of several that end one upload the swap lets one through. In one process they wait for each
 * other, so that a complete whose condition fails leaves the upload to the next one.
 */
#include <errno.h>
#include <time.h>

#include "store/s3_parts.h"

enum {
    LAST_PART_BYTES_MIN = 5 * 1024 * 1024,
    WAIT_SECONDS = 600,
    SWAP_TRIES = 8,
    DISPLACED_MAX = 2
};

/* --- one at a time --- */

void s3_turns_init(struct s3_store *s3)
{
    pthread_mutex_init(&s3->turns_lock, NULL);
    s3_cond_init(&s3->turns_changed);
}

void s3_turns_wake(struct s3_store *s3)
{
    pthread_mutex_lock(&s3->turns_lock);
    pthread_cond_broadcast(&s3->turns_changed);
    pthread_mutex_unlock(&s3->turns_lock);
}

static bool is_taken(const struct s3_store *s3, struct str id)
{
    const struct s3_turn *turn = s3->turns;
    while (turn != NULL && !str_eq(turn->id, id)) {
        turn = turn->next;
    }
    return turn != NULL;
}

static enum status turn_take(struct s3_store *s3, struct s3_turn *turn, struct str id,
                             struct err *err)
{
    struct timespec until;
    enum status status = OK;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_SECONDS;
    turn->id = id;
    pthread_mutex_lock(&s3->turns_lock);
    while (is_taken(s3, id) && status == OK) {
        if (s3_interrupted(s3) ||
            pthread_cond_timedwait(&s3->turns_changed, &s3->turns_lock, &until) == ETIMEDOUT) {
            status = err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being ended by another call",
                             STR_ARG(id));
        }
    }
    if (status == OK) {
        turn->next = s3->turns;
        s3->turns = turn;
    }
    pthread_mutex_unlock(&s3->turns_lock);
    return status;
}

static void turn_give(struct s3_store *s3, struct s3_turn *turn)
{
    pthread_mutex_lock(&s3->turns_lock);
    struct s3_turn **at = &s3->turns;
    while (*at != turn) {
        at = &(*at)->next;
    }
    *at = turn->next;
    pthread_cond_broadcast(&s3->turns_changed);
    pthread_mutex_unlock(&s3->turns_lock);
}

/* --- abort --- */

/** Of a damaged record nothing is known but that it is there. Its client wants it gone. */
static enum status damaged(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct s3_record *out, struct err *err)
{
    char name[S3_RECORD_NAME_MAX + 1];
    struct store_info info;
    TRY(s3_record_name(ref, name, err));
    TRY(s3_stat(&s3->base, str_of(name), &info, NULL, err));
    *out = (struct s3_record){ .state = S3_RECORD_OPEN };
    memcpy(out->etag, info.etag, sizeof out->etag);
    return OK;
}

static enum status abort_alone(struct s3_store *s3, const struct store_upload_ref *ref,
                               bool also_damaged, struct err *err)
{
    struct arena arena;
    enum status status = E_PRECONDITION;
    arena_init(&arena, 0);
    for (int i = 0; i < SWAP_TRIES && status == E_PRECONDITION; i++) {
        struct s3_record record = { 0 }, ended = { .state = S3_RECORD_ENDED };
        status = s3_upload_settle(s3, ref, STR_EMPTY, &arena, &record, err);
        if (status == E_CORRUPT && also_damaged) {
            status = damaged(s3, ref, &record, err);
        }
        if (status == OK) {
            status = s3_record_swap(s3, ref, &record, &ended, err);
        }
    }
    arena_done(&arena);
    if (status == E_PRECONDITION) {
        return err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being ended by others",
                       STR_ARG(ref->id));
    }
    TRY(status);
    s3_upload_clear(s3, ref);
    return OK;
}

static enum status drop(struct s3_store *s3, const struct store_upload_ref *ref, bool also_damaged,
                        struct err *err)
{
    struct s3_turn turn;
    TRY(s3_may_write(s3, err));
    TRY(turn_take(s3, &turn, ref->id, err));
    enum status status = abort_alone(s3, ref, also_damaged, err);
    turn_give(s3, &turn);
    return status;
}

enum status s3_parts_abort(struct store *store, const struct store_upload_ref *ref, struct err *err)
{
    return drop((struct s3_store *)store, ref, true, err);
}

enum status s3_parts_drop_idle(struct s3_store *s3, const struct store_upload_ref *ref,
                               struct err *err)
{
    return drop(s3, ref, false, err);
}

/* --- complete --- */

struct joining {
    struct s3_store *s3;
    const struct store_upload_ref *ref;
    const struct store_upload_how *how;
    struct arena arena;
    struct s3_record record;
    struct s3_join_part *parts;     /* those that are wanted */
    char write_id[S3_WRITE_ID + 1]; /* of the last try; "": none */
};

/** Those that are wanted, held against those that are there. */
static enum status choose(struct joining *joining, struct err *err)
{
    const struct store_upload_how *how = joining->how;
    struct s3_part *there = NULL;
    size_t count = 0, at = 0;
    bool more = false;
    TRY(s3_parts_scan(joining->s3, joining->ref->id, 0, STORE_PARTS_MAX, &joining->arena, &there,
                      &count, &more, err));
    joining->parts = arena_array(&joining->arena, how->count, sizeof *joining->parts);
    if (joining->parts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < how->count; i++) {
        while (at < count && there[at].number < how->parts[i].number) {
            at++;
        }
        bool found = at < count && there[at].number == how->parts[i].number;
        TRY(store_part_ref_check(&how->parts[i], found ? there[at].md5 : NULL, err));
        joining->parts[i] = (struct s3_join_part){ .name = there[at].name,
                                                   .etag = there[at].etag,
                                                   .size = there[at].size };
    }
    for (size_t i = 0; i + 1 < how->count; i++) {
        if (joining->parts[i].size < LAST_PART_BYTES_MIN) {
            return err_set(err, E_INVALID,
                           "part %u has %llu bytes: all but the last need %d in a bucket",
                           how->parts[i].number, (unsigned long long)joining->parts[i].size,
                           LAST_PART_BYTES_MIN);
        }
    }
    return OK;
}

/** A condition that fails now need not be found out after all has been copied. */
static enum status look_before(const struct joining *joining, struct err *err)
{
    const struct store_cond *cond = &joining->how->cond;
    struct store_info info;
    if (!cond->if_absent && cond->if_match.len == 0) {
        return OK;
    }
    enum status status = s3_stat(&joining->s3->base, joining->ref->key, &info, NULL, err);
    if (status != OK && status != E_NOT_FOUND) {
        return status;
    }
    return store_cond_check(cond, joining->ref->key, status == OK ? &info : NULL, err);
}

/** The record of our complete goes on to `state`. E_NOT_FOUND: another process has changed it. */
static enum status step(struct joining *joining, enum s3_record_state state, struct err *err)
{
    struct s3_record next = joining->record;
    next.state = state;
    enum status status = s3_record_swap(joining->s3, joining->ref, &joining->record, &next, err);
    if (status == E_PRECONDITION) { /* not the caller's condition */
        return store_upload_not_found(joining->ref, err);
    }
    TRY(status);
    joining->record = next;
    return OK;
}

/** S3's upload becomes the object. *sent_out: it may have. */
static enum status join(struct joining *joining, struct s3_upload *upload, bool *sent_out,
                        struct store_info *info_out, struct err *err)
{
    joining->record.write_id = str_of(joining->write_id);
    joining->record.upload_id = upload->id;
    TRY(step(joining, S3_RECORD_COPYING, err));
    enum status status = s3_upload_join(upload, joining->parts, joining->how->count, err);
    if (status == OK) {
        *sent_out = true; /* or the record says so, whose swap may have an unknown outcome */
        status = step(joining, S3_RECORD_COMMITTING, err);
    }
    if (status == OK) {
        status = s3_upload_complete(upload, info_out, err);
    }
    /* dropped by another process, which will end it in its own way */
    return status == E_NOT_FOUND ? store_upload_not_found(joining->ref, err) : status;
}

/** A part that is not there may be one that an abort, or another complete, has just taken away:
 * then it is the upload that is missing. */
static enum status choose_or_gone(struct joining *joining, struct err *err)
{
    struct s3_record now;
    enum status status = choose(joining, err);
    if (status != E_CONFLICT) {
        return status;
    }
    enum status found = s3_record_read(joining->s3, joining->ref, &joining->arena, &now, NULL);
    bool gone = found == E_NOT_FOUND || (found == OK && now.state == S3_RECORD_ENDED);
    return gone ? store_upload_not_found(joining->ref, err) : status;
}

static enum status complete_alone(struct joining *joining, struct store_info *info_out,
                                  struct err *err)
{
    struct s3_store *s3 = joining->s3;
    const struct store_upload_how *how = joining->how;
    struct s3_write write;
    struct s3_upload upload;
    bool sent = false;
    TRY(s3_upload_settle(s3, joining->ref, STR_EMPTY, &joining->arena, &joining->record, err));
    TRY(choose_or_gone(joining, err));
    TRY(look_before(joining, err));
    s3_write_init(&write, joining->ref->key, &how->cond);
    TRY(s3_write_attrs(&write, how->attrs_new ? how->attrs : joining->record.attrs, &joining->arena,
                       err));
    TRY(s3_upload_begin(s3, &write, &upload, err));
    memcpy(joining->write_id, write.id, sizeof joining->write_id);
    enum status status = join(joining, &upload, &sent, info_out, err);
    if (status != OK && sent) {
        /* open again, if it was not made; what cannot be found out now is who comes next's */
        struct s3_record left;
        (void)!s3_upload_settle(s3, joining->ref, str_of(joining->write_id), &joining->arena, &left,
                                NULL);
    }
    s3_upload_end(&upload, sent);
    TRY(status);
    s3_upload_clear(s3, joining->ref);
    return OK;
}

static enum status in_other_hands(const struct joining *joining, struct err *err)
{
    return err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being completed by another server",
                   STR_ARG(joining->ref->id));
}

/** After a try that was not refused by what it asked for. E_UNAVAILABLE: another process completes
 * it now; who came last goes on. */
static enum status displaced(struct joining *joining, struct err *err)
{
    struct s3_record now;
    TRY(s3_record_read(joining->s3, joining->ref, &joining->arena, &now, err));
    bool other = now.write_id.len > 0 && !str_eq(now.write_id, str_of(joining->write_id));
    return other ? in_other_hands(joining, err) : OK;
}

enum status s3_parts_complete(struct store *store, const struct store_upload_ref *ref,
                              const struct store_upload_how *how, struct store_info *info_out,
                              struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct joining joining = { .s3 = s3, .ref = ref, .how = how };
    struct s3_turn turn;
    TRY(s3_may_make(s3, ref->key, err));
    TRY(turn_take(s3, &turn, ref->id, err));
    arena_init(&joining.arena, 0);
    enum status status = complete_alone(&joining, info_out, err);
    for (int tries = 1; joining.write_id[0] != '\0' && tries <= DISPLACED_MAX &&
                        (status == E_NOT_FOUND || status == E_INVALID || status == E_CONFLICT);
         tries++) {
        /* Another process has ended it, or was about to: stores say so in many ways. */
        enum status found = displaced(&joining, err);
        if (found != OK) {
            status = found;
        } else if (tries < DISPLACED_MAX) {
            status = complete_alone(&joining, info_out, err);
        } else if (status == E_NOT_FOUND) { /* it is there */
            status = in_other_hands(&joining, err);
        }
    }
    arena_done(&joining.arena);
    turn_give(s3, &turn);
    return status;
}
