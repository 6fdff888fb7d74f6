/*
 * Objects: all bytes are read once, in pieces, so that the store's own checks see each of them.
 */
#include "base/mem.h"
#include "doctor/doctor.h"

#include <stdio.h>

/* PIECE: the store's checksums are of one MiB. TOLD_MAX: a disk that dies damages thousands; the
 * count says the rest. */
enum { PIECE_BYTES = 1024 * 1024, TOLD_MAX = 100, PAGE = 1000 };

struct tally {
    uint64_t objects, bytes, foreign, damaged, unreadable;
};

void doctor_tell(const struct doctor *doctor, enum doctor_mark mark, const char *check,
                 const char *advice, const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?'; /* of a key; it goes to a terminal */
        }
    }
    struct doctor_finding finding = {
        .mark = mark, .check = check, .message = text, .advice = advice
    };
    doctor->report(doctor->ctx, &finding);
}

static enum status read_whole(struct store *store, struct str key, char *piece, struct err *err)
{
    struct store_object *object = NULL;
    TRY(store_open(store, key, &object, err));
    uint64_t size = store_object_info(object)->size;
    enum status status = OK;
    for (uint64_t at = 0; at < size && status == OK; at += PIECE_BYTES) {
        size_t got = 0;
        status = store_object_read(object, at, piece, PIECE_BYTES, &got, err);
    }
    store_object_close(object);
    return status;
}

static void tell_bad(const struct doctor *doctor, struct str key, const struct err *why,
                     struct tally *tally)
{
    bool damaged = why->kind == E_CORRUPT;
    uint64_t *count = damaged ? &tally->damaged : &tally->unreadable;
    if ((*count)++ >= TOLD_MAX) {
        return;
    }
    doctor_tell(
        doctor, DOCTOR_PROBLEM, "objects",
        damaged ? "restore this file from a backup (cp -a keeps its checksums); if somebody "
                  "changed it on purpose: setfattr -x user.lakehouse FILE"
                : "look at the file's owner and mode, and at the disk (dmesg)",
        "\"%.*s\" %s: %s", STR_ARG(key), damaged ? "is damaged" : "cannot be read", why->msg);
}

static enum status look_at(const struct doctor *doctor, struct store *store,
                           const struct store_info *info, char *piece, struct tally *tally)
{
    struct err why = { 0 };
    tally->objects++;
    tally->bytes += info->size;
    tally->foreign += info->etag_weak;
    enum status status = doctor->quick ? OK : read_whole(store, info->key, piece, &why);
    if (status == E_NO_MEMORY) {
        return status;
    }
    if (status != OK && status != E_NOT_FOUND) { /* deleted meanwhile: nothing is wrong */
        tell_bad(doctor, info->key, &why, tally);
    }
    if (doctor->progress != NULL) {
        doctor->progress(doctor->ctx, tally->objects, tally->bytes);
    }
    return OK;
}

static void sum_up(const struct doctor *doctor, const struct tally *tally)
{
    unsigned long long objects = tally->objects, bytes = tally->bytes;
    uint64_t bad = tally->damaged + tally->unreadable;
    if (tally->damaged > TOLD_MAX || tally->unreadable > TOLD_MAX) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "objects", NULL, "%llu objects are bad in all",
                    (unsigned long long)bad);
    }
    if (tally->foreign > 0 && tally->foreign == tally->objects) {
        doctor_tell(doctor, DOCTOR_WARNING, "objects",
                    "copy a lake with its extended attributes: cp -a, rsync -aX, tar --xattrs",
                    "no object has checksums: the folder was copied without them");
    } else if (tally->foreign > 0) {
        doctor_tell(doctor, DOCTOR_NOTE, "objects", NULL,
                    "%llu of them were put there by others and have no checksums",
                    (unsigned long long)tally->foreign);
    }
    if (bad == 0) {
        doctor_tell(doctor, DOCTOR_OK, "objects", NULL, "%llu objects, %llu bytes, %s", objects,
                    bytes, doctor->quick ? "not read (--quick)" : "none damaged");
    }
}

enum status doctor_objects(const struct doctor *doctor, struct store *store, struct err *err)
{
    struct tally tally = { 0 };
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, 0);
    char after[STORE_KEY_MAX + 1] = "";
    char *piece = mem_alloc(PIECE_BYTES);
    if (piece == NULL) {
        return err_no_memory(err);
    }
    struct store_list page = { .truncated = true };
    enum status status = OK;
    while (page.truncated && status == OK) {
        arena_reset(&arena);
        status = store_list(store,
                            &(struct store_list_opts){ .after = str_of(after), .limit = PAGE },
                            &arena, &page, err);
        for (size_t i = 0; i < page.object_count && status == OK; i++) {
            status = look_at(doctor, store, &page.objects[i], piece, &tally);
        }
        if (status == OK && page.truncated) {
            assert(page.next.len <= STORE_KEY_MAX);
            memcpy(after, page.next.ptr, page.next.len);
            after[page.next.len] = '\0';
        }
    }
    mem_free(piece);
    if (status == OK) {
        sum_up(doctor, &tally);
    }
    return status == E_NO_MEMORY ? err_no_memory(err) : status;
}
