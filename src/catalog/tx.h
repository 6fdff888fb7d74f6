/*
 * Transactions over several tables, as everybody meets them: a pointer that one holds, and the
 * record that decides. docs/formats/catalog.md, "Several tables at once". Making one is
 * transact.c's.
 */
#ifndef CATALOG_TX_H
#define CATALOG_TX_H

#include "catalog/swap.h"

enum tx_state { TX_MISSING, TX_PENDING, TX_COMMITTED, TX_ABORTED };

struct tx_seen;
struct tx_seen *tx_seen_new(void) MUST_USE; /* NULL when there is no memory */
void tx_seen_free(struct tx_seen *seen);

/** What the keys of all records begin with. */
enum status tx_prefix(struct local *local, struct arena *arena, struct str *out,
                      struct err *err) MUST_USE;
/** The record as it is: its state, and (unless missing) its ETag of STORE_ETAG_MAX + 1 bytes. */
enum status tx_read(struct local *local, struct str id, enum tx_state *state_out, char *etag_out,
                    struct err *err) MUST_USE;
/** Create the record as pending; `keys` are those of the pointers. */
enum status tx_begin(struct local *local, struct str id, const struct str *keys, size_t count,
                     deadline_ms deadline, enum swap_outcome *outcome_out,
                     struct err *err) MUST_USE;
/**
 * Swap it from pending to `to` (committed or aborted).
 *
 * Returns  OK with *now_out, how it was decided, by us or others: committed, aborted or missing.
 *          Else nobody knows yet (the status returned)
 */
enum status tx_decide(struct local *local, struct str id, enum tx_state to, deadline_ms deadline,
                      enum tx_state *now_out, struct err *err) MUST_USE;
/**
 * `base` was read by local_read_body and is held: bring the pointer to what was decided, and `base`
 * too. Not decided: `base` is the old content, and `held`. A record that has been pending for long
 * is aborted.
 */
enum status tx_settle(struct local *local, struct str key, struct arena *arena,
                      struct local_base *base, struct err *err) MUST_USE;

#endif
