/*
 * Keys have 20 digits, so that names are in order. What is written once is never written again:
 * whoever finds another writer's object where he wanted his own has learned of it that way, which
 * is all the fencing there is.
 */
#include "collection/log.h"

#include <stdio.h>

#include "base/encode.h"

enum { PUT_TRIES = 4, SEQUENCE_DIGITS = 20 };

/* --- keys --- */

static struct str print_key(char key[LOG_KEY_MAX], int len)
{
    assert(len > 0 && len < LOG_KEY_MAX);
    return str_from(key, (size_t)len);
}

struct str log_folder(char key[LOG_KEY_MAX], struct str uuid)
{
    return print_key(key, snprintf(key, LOG_KEY_MAX, "_lake/vectors/by-id/%.*s/", STR_ARG(uuid)));
}

struct str log_key(char key[LOG_KEY_MAX], struct str uuid, uint64_t sequence)
{
    return print_key(key, snprintf(key, LOG_KEY_MAX, "_lake/vectors/by-id/%.*s/log/%020llu",
                                   STR_ARG(uuid), (unsigned long long)sequence));
}

struct str log_chunk_key(char key[LOG_KEY_MAX], struct str uuid, struct str snapshot,
                         uint64_t chunk)
{
    return print_key(key, snprintf(key, LOG_KEY_MAX, "_lake/vectors/by-id/%.*s/snap/%.*s/%06llu",
                                   STR_ARG(uuid), STR_ARG(snapshot), (unsigned long long)chunk));
}

bool log_key_sequence(struct str key, uint64_t *sequence_out)
{
    size_t slash = str_rfind_char(key, '/');
    struct str digits = slash == SIZE_MAX ? STR_EMPTY : str_skip(key, slash + 1);
    return digits.len == SEQUENCE_DIGITS && str_to_u64(digits, sequence_out);
}

void log_uuid(struct str text, uint8_t out[RECORD_UUID_BYTES])
{
    char hex[2 * RECORD_UUID_BYTES];
    size_t count = 0;
    for (size_t i = 0; i < text.len && count < sizeof hex; i++) {
        if (text.ptr[i] != '-') {
            hex[count++] = text.ptr[i];
        }
    }
    bool ok = hex_decode(str_from(hex, count), out, RECORD_UUID_BYTES);
    assert(ok);
}

/* --- writing --- */

/** OK: `tag` is there; E_EXISTS: another one; E_NOT_FOUND: none; E_UPSTREAM: nobody knows. */
static enum status look_back(struct store *store, struct str key, uint64_t tag)
{
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 0);
    struct record_head head;
    enum status status = store_read(
        store, key, &(struct store_read_opts){ .length = RECORD_HEAD_BYTES }, &bytes, NULL, NULL);
    if (status != OK) {
        return status == E_NOT_FOUND ? E_NOT_FOUND : E_UPSTREAM;
    }
    return record_head_read(buf_str(&bytes), &head, NULL) == OK && head.tag == tag ? OK : E_EXISTS;
}

enum status log_put(struct store *store, struct str uuid, uint64_t sequence, struct str bytes,
                    struct err *err)
{
    char room[LOG_KEY_MAX];
    struct str key = log_key(room, uuid, sequence);
    struct record_head head;
    TRY(record_head_read(str_take(bytes, RECORD_HEAD_BYTES), &head, err));
    const struct store_cond cond = { .if_absent = true };
    bool unsure = false;
    for (int i = 0; i < PUT_TRIES; i++) {
        enum status status = store_put(store, key, bytes, &cond, NULL, err);
        if (status == OK) {
            return OK;
        }
        if (status != E_PRECONDITION && status != E_UPSTREAM && status != E_TIMEOUT) {
            if (!unsure) {
                (void)err_context(err, "nothing was changed: the log could not be written");
                if (err != NULL) {
                    err->kind = E_UNAVAILABLE;
                    err->retry_after_s = 1;
                }
                return E_UNAVAILABLE;
            }
            break;
        }
        enum status seen = look_back(store, key, head.tag);
        if (seen == OK) {
            return OK;
        }
        if (seen == E_EXISTS) {
            return err_set(err, E_EXISTS, "another writer's log object is at %llu",
                           (unsigned long long)sequence);
        }
        unsure = true; /* the same bytes again: a late one of ours does no harm */
    }
    return err_set(err, E_UPSTREAM,
                   "nobody knows whether the change is there: the store did not answer");
}

/* --- reading --- */

enum status log_get(struct store *store, struct str uuid, uint64_t sequence, struct buf *out,
                    struct record_head *head_out, struct err *err)
{
    char room[LOG_KEY_MAX];
    uint8_t mine[RECORD_UUID_BYTES];
    struct str key = log_key(room, uuid, sequence);
    buf_clear(out);
    TRY(store_read(store, key, &(struct store_read_opts){ .bytes_max = LOG_OBJECT_BYTES_MAX }, out,
                   NULL, err));
    enum status status = record_check(buf_str(out), head_out, err);
    if (status != OK) {
        return err_context(err, "log object \"%.*s\"", STR_ARG(key)), status;
    }
    log_uuid(uuid, mine);
    if (memcmp(mine, head_out->uuid, sizeof mine) != 0) {
        return err_set(err, E_CORRUPT, "log object \"%.*s\" is another index's", STR_ARG(key));
    }
    if (head_out->object != RECORD_LOG || head_out->sequence != sequence) {
        return err_set(err, E_CORRUPT, "log object \"%.*s\" was written for another place: %llu",
                       STR_ARG(key), (unsigned long long)head_out->sequence);
    }
    return OK;
}

enum status log_list(struct store *store, struct str uuid, uint64_t first, struct arena *arena,
                     uint64_t **out, size_t *count_out, struct err *err)
{
    char prefix_room[LOG_KEY_MAX], after_room[LOG_KEY_MAX];
    struct str after = first > 0 ? log_key(after_room, uuid, first - 1) : STR_EMPTY;
    struct str any = log_key(prefix_room, uuid, 0);
    struct store_list list = { 0 };
    const struct store_list_opts opts = { .prefix = str_take(any, any.len - SEQUENCE_DIGITS),
                                          .after = after,
                                          .limit = STORE_LIST_MAX };
    TRY(store_list(store, &opts, arena, &list, err));
    uint64_t *sequences = arena_array(arena, list.object_count, sizeof *sequences);
    if (sequences == NULL) {
        return err_no_memory(err);
    }
    size_t count = 0;
    for (size_t i = 0; i < list.object_count; i++) {
        uint64_t sequence = 0;
        if (log_key_sequence(list.objects[i].key, &sequence) && sequence >= first) {
            sequences[count++] = sequence;
        }
    }
    *out = sequences;
    *count_out = count;
    return OK;
}

/* --- deleting --- */

enum status log_trim(struct store *store, struct str uuid, uint64_t from, uint64_t to,
                     struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = OK;
    bool more = true;
    while (status == OK && more && from <= to) {
        uint64_t *sequences = NULL;
        size_t count = 0;
        arena_reset(&arena);
        status = log_list(store, uuid, from, &arena, &sequences, &count, err);
        more = status == OK && count > 0 && sequences[0] <= to;
        for (size_t i = 0; status == OK && i < count && sequences[i] <= to; i++) {
            char room[LOG_KEY_MAX];
            status = store_delete(store, log_key(room, uuid, sequences[i]), err);
            from = sequences[i] + 1;
        }
    }
    arena_done(&arena);
    return status;
}

enum status log_sweep(struct store *store, struct str prefix, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = OK;
    bool more = true;
    while (status == OK && more) {
        struct store_list list = { 0 };
        arena_reset(&arena);
        status = store_list(store, &(struct store_list_opts){ .prefix = prefix }, &arena, &list,
                            err);
        more = status == OK && list.object_count > 0;
        for (size_t i = 0; status == OK && i < list.object_count; i++) {
            status = store_delete(store, list.objects[i].key, err);
        }
    }
    arena_done(&arena);
    return status;
}
