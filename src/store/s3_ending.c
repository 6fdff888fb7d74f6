/*
 * How an upload in parts ends: complete, abort, and the sweep. s3_parts.h has the idea.
 *
 *      complete   S3's upload is begun with the final attributes; the record becomes ENDING with
 *                 its
 *                 id, by a swap; the bucket copies the parts; S3's complete, under the caller's
 *                 condition, is the commit; the record and the parts go
 *      abort      the record becomes ENDED, by a swap, which is the commit; it and the parts go
 *
 * Of several that end one upload the swap lets one through. In one process they wait for each
 * other, so that a complete whose condition fails leaves the upload to the next one.
 */
#include <errno.h>
#include <time.h>

#include "store/s3_parts.h"

enum { LAST_PART_BYTES_MIN = 5 * 1024 * 1024, WAIT_SECONDS = 600, SWAP_TRIES = 8 };

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

/* --- what is there is settled first --- */

/** The parts and the record of an upload that is none any more. What stays is the sweep's. */
static void clear(struct s3_store *s3, const struct store_upload_ref *ref)
{
    char name[S3_RECORD_NAME_MAX + 1];
    s3_parts_drop(s3, ref->id, INT64_MAX);
    if (s3_record_name(ref, name, NULL) == OK) {
        (void)!s3_remove(&s3->base, str_of(name), STR_EMPTY, NULL);
    }
}

/** The record of an upload that nothing else can end now but by a swap. E_NOT_FOUND. */
static enum status settled(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct arena *arena, struct s3_record *out, struct err *err)
{
    struct s3_record record;
    bool landed = false;
    TRY(s3_record_read(s3, ref, arena, &record, err));
    if (record.state == S3_RECORD_ENDING) {
        TRY(s3_upload_drop(s3, record.key, record.upload_id, err));
        TRY(s3_write_landed(s3, record.key, record.write_id, &landed, err));
    }
    if (record.state == S3_RECORD_ENDED || landed) {
        clear(s3, ref);
        return store_upload_not_found(ref, err);
    }
    *out = record;
    return OK;
}

/** The record as it was read becomes `next`. E_PRECONDITION: another process was faster. */
static enum status swap(struct s3_store *s3, const struct store_upload_ref *ref,
                        const struct s3_record *record, struct s3_record *next, struct err *err)
{
    const struct store_cond cond = { .if_match = str_of(record->etag) };
    return s3_record_write(s3, ref, next, &cond, err);
}

/* --- abort --- */

static enum status abort_alone(struct s3_store *s3, const struct store_upload_ref *ref,
                               struct err *err)
{
    struct arena arena;
    struct s3_record record, ended = { .state = S3_RECORD_ENDED };
    enum status status = E_PRECONDITION;
    arena_init(&arena, 0);
    for (int i = 0; i < SWAP_TRIES && status == E_PRECONDITION; i++) {
        status = settled(s3, ref, &arena, &record, err);
        if (status == OK) {
            status = swap(s3, ref, &record, &ended, err);
        }
    }
    arena_done(&arena);
    if (status == E_PRECONDITION) {
        return err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being ended by others",
                       STR_ARG(ref->id));
    }
    TRY(status);
    clear(s3, ref);
    return OK;
}

enum status s3_parts_abort(struct store *store, const struct store_upload_ref *ref, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct s3_turn turn;
    TRY(s3_may_write(s3, err));
    TRY(turn_take(s3, &turn, ref->id, err));
    enum status status = abort_alone(s3, ref, err);
    turn_give(s3, &turn);
    return status;
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

/** S3's upload becomes the object. */
static enum status join(struct joining *joining, struct s3_write *write, struct s3_upload *upload,
                        struct store_info *info_out, struct err *err)
{
    struct s3_record ending = joining->record;
    ending.state = S3_RECORD_ENDING;
    ending.write_id = str_from(write->id, S3_WRITE_ID);
    ending.upload_id = upload->id;
    enum status status = swap(joining->s3, joining->ref, &joining->record, &ending, err);
    if (status == E_PRECONDITION) { /* not the caller's condition */
        return store_upload_not_found(joining->ref, err);
    }
    TRY(status);
    status = s3_upload_join(upload, joining->parts, joining->how->count, err);
    if (status == OK) {
        status = s3_upload_complete(upload, info_out, err);
    }
    /* dropped by another process, which will end it in its own way */
    return status == E_NOT_FOUND ? store_upload_not_found(joining->ref, err) : status;
}

static enum status complete_alone(struct joining *joining, struct store_info *info_out,
                                  struct err *err)
{
    struct s3_store *s3 = joining->s3;
    const struct store_upload_how *how = joining->how;
    struct s3_write write;
    struct s3_upload upload;
    TRY(settled(s3, joining->ref, &joining->arena, &joining->record, err));
    TRY(choose(joining, err));
    TRY(look_before(joining, err));
    s3_write_init(&write, joining->ref->key, &how->cond);
    TRY(s3_write_attrs(&write, how->attrs_new ? how->attrs : joining->record.attrs, &joining->arena,
                       err));
    TRY(s3_upload_begin(s3, &write, &upload, err));
    memcpy(joining->write_id, write.id, sizeof joining->write_id);
    enum status status = join(joining, &write, &upload, info_out, err);
    s3_upload_end(&upload, status == OK);
    TRY(status);
    clear(s3, joining->ref);
    return OK;
}

/** After a try that was not refused by what it asked for. E_UNAVAILABLE: another process completes
 * it now; who came last goes on. */
static enum status displaced(struct joining *joining, struct err *err)
{
    struct s3_record now;
    TRY(s3_record_read(joining->s3, joining->ref, &joining->arena, &now, err));
    if (now.state == S3_RECORD_ENDING && !str_eq(now.write_id, str_of(joining->write_id))) {
        return err_set(err, E_UNAVAILABLE, "upload \"%.*s\" is being completed by another server",
                       STR_ARG(joining->ref->id));
    }
    return OK;
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
    if (joining.write_id[0] != '\0' &&
        (status == E_NOT_FOUND || status == E_INVALID || status == E_CONFLICT)) {
        /* Another process has ended it, or was about to: stores say so in many ways. */
        status = displaced(&joining, err);
        if (status == OK) {
            status = complete_alone(&joining, info_out, err);
        }
    }
    arena_done(&joining.arena);
    turn_give(s3, &turn);
    return status;
}

/* --- the sweep --- */

/** Has nothing happened in it since? */
static enum status idle(struct s3_store *s3, const struct store_upload *upload,
                        const struct store_info *record, int64_t before_ms, bool *out,
                        struct err *err)
{
    struct arena arena;
    struct s3_part *parts = NULL;
    size_t count = 0;
    bool more = false;
    *out = record->modified_ms <= before_ms;
    if (!*out) {
        return OK;
    }
    arena_init(&arena, 0);
    enum status status = s3_parts_scan(s3, upload->id, 0, STORE_PARTS_MAX, &arena, &parts, &count,
                                       &more, err);
    for (size_t i = 0; status == OK && i < count; i++) {
        *out = *out && parts[i].modified_ms <= before_ms;
    }
    arena_done(&arena);
    return status;
}

static enum status sweep_record(struct s3_store *s3, const struct store_info *record,
                                int64_t before_ms, size_t *count_out, struct err *err)
{
    struct arena arena;
    struct store_upload upload;
    bool is_idle = false;
    arena_init(&arena, 0);
    enum status status = s3_upload_of(s3, record, &arena, &upload, err);
    if (status == OK && upload.id.len > 0) {
        status = idle(s3, &upload, record, before_ms, &is_idle, err);
    } else if (status == OK && record->size == 0) { /* whoever ended it has died over it */
        (void)!s3_remove(&s3->base, record->key, STR_EMPTY, NULL);
    }
    if (status == OK && is_idle) {
        const struct store_upload_ref ref = { upload.key, upload.id };
        status = s3_parts_abort(&s3->base, &ref, err);
        *count_out += status == OK;
        status = status == E_NOT_FOUND ? OK : status;
    }
    arena_done(&arena);
    return status;
}

/** Parts whose record is gone: of a complete that was killed, or sent while it ended. */
static enum status sweep_orphans(struct s3_store *s3, int64_t before_ms, struct arena *arena,
                                 struct err *err)
{
    struct store_list_opts opts = { .prefix = STR(S3_PARTS_PREFIX),
                                    .delimiter = STR("/"),
                                    .limit = S3_LIST_MAX };
    for (bool more = true; more;) {
        struct store_list page;
        TRY(s3_list(&s3->base, &opts, arena, &page, err));
        for (size_t i = 0; i < page.prefix_count; i++) {
            struct str id = str_skip(page.prefixes[i], sizeof S3_PARTS_PREFIX - 1);
            struct store_list_opts record = { .limit = 1 };
            struct store_list found;
            id.len--; /* the slash */
            record.prefix = arena_printf(arena, S3_OPEN_PREFIX "%.*s.", STR_ARG(id));
            if (record.prefix.ptr == NULL) {
                return err_no_memory(err);
            }
            TRY(s3_list(&s3->base, &record, arena, &found, err));
            if (found.object_count == 0) {
                s3_parts_drop(s3, id, before_ms);
            }
        }
        opts.after = page.next;
        more = page.truncated;
    }
    return OK;
}

enum status s3_parts_sweep(struct store *store, int64_t before_ms, size_t *count_out,
                           struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct store_list_opts opts = { .prefix = STR(S3_OPEN_PREFIX), .limit = STORE_LIST_MAX };
    struct arena arena;
    enum status status = s3_may_write(s3, err);
    arena_init(&arena, 0);
    for (bool more = status == OK; more;) {
        struct store_list page = { 0 };
        status = s3_list(&s3->base, &opts, &arena, &page, err);
        for (size_t i = 0; status == OK && i < page.object_count; i++) {
            status = sweep_record(s3, &page.objects[i], before_ms, count_out, err);
        }
        opts.after = page.next;
        more = status == OK && page.truncated;
    }
    if (status == OK) {
        status = sweep_orphans(s3, before_ms, &arena, err);
    }
    arena_done(&arena);
    return status;
}
