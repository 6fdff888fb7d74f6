/*
 * Compare-and-swap on one object over a store that may lose answers.
 *
 *   put --- OK ------------------------------------------------> won
 *    |----- refused before writing, and never in doubt --------> refused
 *    '----- 412, timeout, broken answer --> read the pointer
 *                 our commit id is in it ----------------------> won    (412 may be our own
 *                 success, repeated)
 *                 it moved off the base without our id --------> lost   (a late PUT can no longer
 *                 match the ETag)
 *                 it has not moved, or cannot be read ---------> put the same bytes again, or give
 *                 up: unknown
 *
 * Sending the same bytes twice is safe: the first to land changes the ETag, because no two bodies
 * are equal.
 */
#include "catalog/swap.h"

enum { SWAP_TRIES = 8, POINTER_BYTES_MAX = 16 * 1024 * 1024 };

/** Kinds that a store gives only before it has written anything. */
static bool is_refusal(enum status status)
{
    return status == E_INVALID || status == E_DISK_FULL || status == E_NO_MEMORY ||
           status == E_UNAVAILABLE || status == E_TOO_LARGE || status == E_DENIED ||
           status == E_AUTH || status == E_RATE || status == E_UNSUPPORTED;
}

static enum status has_pointer_commit(struct str body, struct str commit_id, bool *has_out,
                                      struct err *err)
{
    struct arena arena;
    struct pointer pointer;
    arena_init(&arena, 2 * POINTER_BYTES_MAX);
    enum status status = pointer_decode(&arena, body, &pointer, err);
    if (status == OK) {
        *has_out = pointer_has_commit(&pointer, commit_id);
    }
    arena_done(&arena);
    return status;
}

/** *moved_out: the pointer is not what the swap was based on any more; then *won_out tells whether
 * by us. */
static enum status look(struct local *local, const struct swap *swap, bool *moved_out,
                        bool *won_out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, POINTER_BYTES_MAX);
    struct store_info info;
    *moved_out = false;
    enum status status = store_read(local->store, swap->key, NULL, &body, &info, err);
    if (status == E_NOT_FOUND && swap->base_etag.len == 0) {
        return OK;
    }
    TRY(status);
    if (swap->base_etag.len > 0 && str_eq(str_of(info.etag), swap->base_etag)) {
        return OK;
    }
    TRY((swap->has_commit != NULL ? swap->has_commit : has_pointer_commit)(
        buf_str(&body), swap->commit_id, won_out, err));
    *moved_out = true;
    return OK;
}

enum status swap_pointer(struct local *local, const struct swap *swap,
                         enum swap_outcome *outcome_out, struct err *err)
{
    struct store_cond cond = { .if_absent = swap->base_etag.len == 0, .if_match = swap->base_etag };
    bool in_doubt = false;
    *outcome_out = SWAP_UNKNOWN;
    for (int i = 0; i < SWAP_TRIES; i++) {
        enum status status = store_put(local->store, swap->key, swap->body, &cond, NULL, err);
        if (status == OK) {
            *outcome_out = SWAP_WON;
            return OK;
        }
        if (is_refusal(status) && !in_doubt) {
            *outcome_out = SWAP_REFUSED;
            return status;
        }
        in_doubt = true;
        bool moved = false, won = false;
        if (look(local, swap, &moved, &won, err) == OK && moved) {
            *outcome_out = won ? SWAP_WON : SWAP_LOST;
            return OK;
        }
        if (deadline_passed(swap->deadline)) {
            break;
        }
        local_backoff(local, i, swap->deadline);
    }
    metric_add(local->unknown, 1);
    return err_set(
        err, E_UNAVAILABLE,
        "the outcome is unknown: the store gave no answer to the commit; send the same batch again");
}
