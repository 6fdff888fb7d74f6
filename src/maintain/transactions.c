/*
 * Records of transactions over several tables. One is swept when it is decided, an hour old, and no
 * pointer names it: who reads a pointer that does does what was decided (catalog/tx.c), so the look
 * at all pointers, which comes after the records were listed, leaves none.
 */
#include "maintain/sweep_priv.h"

#define AGE_MS (3600LL * 1000)

static enum status keep_old(void *ctx, const struct store_info *info, struct err *err)
{
    struct sweep_run *run = ctx;
    if (run->now - info->modified_ms < AGE_MS) {
        return OK;
    }
    if (run->record_count == run->record_cap) {
        size_t cap = 2 * run->record_cap + 16;
        struct str *more = arena_array(&run->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (run->record_count > 0) {
            memcpy(more, run->records, run->record_count * sizeof(*more));
        }
        run->records = more;
        run->record_cap = cap;
    }
    struct str key = arena_str(&run->arena, info->key);
    run->records[run->record_count++] = key;
    return key.ptr == NULL ? err_no_memory(err) : OK;
}

enum status sweep_list_transactions(struct sweep_run *run, struct err *err)
{
    struct str prefix;
    TRY(care_transactions(run->sweep->opts.catalog, &run->arena, &prefix, err));
    return run_list(run, prefix, keep_old, run, err);
}

enum status sweep_transactions(struct sweep_run *run, struct err *err)
{
    for (size_t i = 0; i < run->table_count; i++) {
        if (run->tables[i].held) {
            return OK; /* one is under way, or what it decided cannot be written now */
        }
    }
    for (size_t i = 0; i < run->record_count; i++) {
        bool over = false;
        TRY(care_transaction_over(run->sweep->opts.catalog, run->records[i], &over, err));
        if (over) {
            TRY(run_delete(run, run->records[i], -1, err));
        }
    }
    return OK;
}
