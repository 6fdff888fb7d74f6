/*
 * Which snapshots of a table may go, and which of its refs. Pure: ids, times and refs in, marks
 * out. Whoever expires snapshots asks here: our own commits (metadata_edit.c), and a request or the
 * timer (change_expire.c).
 *
 * Source   Apache Iceberg's table specification, "Snapshot Retention Policy": refs too old go; what
 *          a ref names stays; of a branch its newest ones and all that are young; the rest goes
 */
#ifndef ICEBERG_EXPIRY_H
#define ICEBERG_EXPIRY_H

#include "iceberg/metadata.h"

struct ice_expiry_snapshot {
    int64_t id, parent_id /* -1 none */, timestamp_ms;
};
struct ice_expiry_ref {
    struct str name;
    int64_t snapshot_id;
    bool is_tag;
    /* what the ref says itself; 0: nothing, the rule's holds */
    int64_t ref_age_max_ms, snapshot_age_max_ms, keep_min;
};
struct ice_expiry_table {
    const struct ice_expiry_snapshot *snapshots;
    size_t snapshot_count;
    const struct ice_expiry_ref *refs; /* "main" among them, if there is one */
    size_t ref_count;
};
struct ice_expiry_rule {
    int64_t now_ms;
    int64_t older_than_ms;  /* a moment: what is from before it is old. INT64_MIN: nothing is */
    int64_t keep_min;       /* newest of each branch; below 1: 1 */
    int64_t ref_age_max_ms; /* 0: refs stay */
    /* 0: no bound. Else more than so many are cut to a quarter less, the oldest first, young or
     * not */
    size_t snapshots_max;
    size_t coming; /* on main with the same commit; they count as its newest */
    /* our own commits: of branches besides main everything stays, and no ref goes */
    bool main_only;
};
/** Marks, by place in the table's lists. In the arena that was given. */
struct ice_expiry {
    bool *expired, *ref_goes;
    size_t expired_count, ref_gone_count;
};
/** What goes. Never what a ref that stays names, and never main. Cost: n log n, and the histories
 * of all branches. Errors: E_NO_MEMORY. */
enum status ice_expiry_plan(const struct ice_expiry_table *table,
                            const struct ice_expiry_rule *rule, struct arena *arena,
                            struct ice_expiry *out, struct err *err) MUST_USE;

/* What a table says of itself, and Iceberg's defaults. */
#define ICE_EXPIRY_AGE_PROPERTY STR("history.expire.max-snapshot-age-ms")
#define ICE_EXPIRY_KEEP_PROPERTY STR("history.expire.min-snapshots-to-keep")
#define ICE_EXPIRY_REF_AGE_PROPERTY STR("history.expire.max-ref-age-ms")
#define ICE_EXPIRY_AGE_MS (5LL * 24 * 3600 * 1000)
/** How many of `count` stay when at most `max` may: what is too long is cut well below its bound,
 * so that most commits drop nothing. */
size_t ice_expiry_cut(size_t count, size_t max);

#endif
