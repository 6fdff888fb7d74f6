/*
 * Marking:
 *
 *      must    what refs name, and the newest of each branch
 *      young   of a branch's history, down to the first that is older than the branch keeps; of
 *              what no ref leads to (a commit that was staged, or rolled back), by its own age
 *
 * What is neither goes. With a bound on the number, what is young but not a must goes as well, the
 * oldest first.
 */
#include "iceberg/expiry.h"

#include <stdlib.h>

enum { SLACK = 4 }; /* what is too long loses a quarter: one commit in 250 (of 1000) has to */

struct slot {
    int64_t key;
    size_t index;
};

struct planning {
    const struct ice_expiry_table *table;
    const struct ice_expiry_rule *rule;
    struct slot *by_id; /* sorted */
    bool *must, *young, *reached;
    struct ice_expiry *out;
};

static int compare_slots(const void *a, const void *b)
{
    const struct slot *x = a;
    const struct slot *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

/** SIZE_MAX: it is not there. */
static size_t find(const struct planning *p, int64_t id)
{
    size_t low = 0;
    size_t high = p->table->snapshot_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->by_id[middle].key < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < p->table->snapshot_count && p->by_id[low].key == id ? p->by_id[low].index
                                                                     : SIZE_MAX;
}

size_t ice_expiry_cut(size_t count, size_t max)
{
    return count <= max ? count : max - max / SLACK;
}

static bool is_main(const struct ice_expiry_ref *ref)
{
    return str_eq(ref->name, STR("main"));
}

/** now - age; ages may be as large as they like. */
static int64_t moment_before(int64_t now_ms, int64_t age_ms)
{
    return age_ms > now_ms ? INT64_MIN : now_ms - age_ms;
}

/** A ref that names nothing, or something older than the ref may become. */
static bool ref_goes(const struct planning *p, const struct ice_expiry_ref *ref)
{
    size_t at = find(p, ref->snapshot_id);
    int64_t age = ref->ref_age_max_ms > 0 ? ref->ref_age_max_ms : p->rule->ref_age_max_ms;
    if (is_main(ref) || p->rule->main_only) {
        return false;
    }
    return at == SIZE_MAX ||
           (age > 0 && p->table->snapshots[at].timestamp_ms < moment_before(p->rule->now_ms, age));
}

/** A branch's history, newest first. Ends where it was cut, and where it would go round. */
static void mark_branch(struct planning *p, const struct ice_expiry_ref *ref)
{
    const struct ice_expiry_rule *rule = p->rule;
    bool whole = rule->main_only && !is_main(ref);
    int64_t keep = ref->keep_min > 0 ? ref->keep_min : rule->keep_min;
    int64_t coming = is_main(ref) ? (int64_t)rule->coming : 0;
    int64_t since = ref->snapshot_age_max_ms > 0
                        ? moment_before(rule->now_ms, ref->snapshot_age_max_ms)
                        : rule->older_than_ms;
    bool is_young = true;
    size_t at = find(p, ref->snapshot_id);
    keep = keep < 1 ? 1 : keep;
    for (size_t i = 0; at != SIZE_MAX && i < p->table->snapshot_count; i++) {
        is_young = is_young && p->table->snapshots[at].timestamp_ms >= since;
        p->reached[at] = true;
        p->must[at] = p->must[at] || whole || (int64_t)i < keep - coming;
        p->young[at] = p->young[at] || is_young;
        at = find(p, p->table->snapshots[at].parent_id);
    }
}

static void mark(struct planning *p)
{
    for (size_t i = 0; i < p->table->ref_count; i++) {
        const struct ice_expiry_ref *ref = &p->table->refs[i];
        size_t at = find(p, ref->snapshot_id);
        p->out->ref_goes[i] = ref_goes(p, ref);
        p->out->ref_gone_count += p->out->ref_goes[i] ? 1 : 0;
        if (p->out->ref_goes[i] || at == SIZE_MAX) {
            continue;
        }
        if (ref->is_tag) {
            p->must[at] = p->reached[at] = true;
        } else {
            mark_branch(p, ref);
        }
        p->must[at] = p->must[at] || !is_main(ref) || p->rule->coming == 0;
    }
    for (size_t i = 0; i < p->table->snapshot_count; i++) {
        if (!p->reached[i]) {
            p->young[i] = p->table->snapshots[i].timestamp_ms >= p->rule->older_than_ms;
        }
    }
}

/** The oldest first, while they are old or there are too many. */
static void choose(struct planning *p, struct slot *by_time)
{
    size_t left = p->table->snapshot_count + p->rule->coming;
    size_t most = p->rule->snapshots_max > 0 ? ice_expiry_cut(left, p->rule->snapshots_max) : left;
    for (size_t i = 0; i < p->table->snapshot_count; i++) {
        size_t at = by_time[i].index;
        if (!p->must[at] && (!p->young[at] || left > most)) {
            p->out->expired[at] = true;
            p->out->expired_count++;
            left--;
        }
    }
}

enum status ice_expiry_plan(const struct ice_expiry_table *table,
                            const struct ice_expiry_rule *rule, struct arena *arena,
                            struct ice_expiry *out, struct err *err)
{
    size_t count = table->snapshot_count;
    struct slot *by_time = arena_array(arena, count + 1, sizeof(*by_time));
    struct ice_expiry made = {
        .expired = arena_array(arena, count + 1, sizeof(bool)),
        .ref_goes = arena_array(arena, table->ref_count + 1, sizeof(bool)),
    };
    struct planning p = {
        .table = table,
        .rule = rule,
        .by_id = arena_array(arena, count + 1, sizeof(struct slot)),
        .must = arena_array(arena, count + 1, sizeof(bool)),
        .young = arena_array(arena, count + 1, sizeof(bool)),
        .reached = arena_array(arena, count + 1, sizeof(bool)),
        .out = &made,
    };
    if (by_time == NULL || made.expired == NULL || made.ref_goes == NULL || p.by_id == NULL ||
        p.must == NULL || p.young == NULL || p.reached == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        p.by_id[i] = (struct slot){ table->snapshots[i].id, i };
        by_time[i] = (struct slot){ table->snapshots[i].timestamp_ms, i };
    }
    qsort(p.by_id, count, sizeof(*p.by_id), compare_slots);
    qsort(by_time, count, sizeof(*by_time), compare_slots);
    mark(&p);
    choose(&p, by_time);
    *out = made;
    return OK;
}
