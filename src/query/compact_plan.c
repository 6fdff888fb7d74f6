/*
 * The plan of a compaction: what is known of each file, bins of those that are worth it, and what
 * is left of them when nothing would get better.
 *
 * Deletes are counted without looking at pairs of files. Of each partition, and of those that count
 * everywhere, they are sorted by the newest data that they still count for; what counts for a file
 * is then all behind a place that a binary search finds.
 */
#include "query/compact_plan.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL_PERCENT = 75,
    LARGE_PERCENT = 180,
    PERCENT = 100,
    /* rows of an old spec go to many partitions: more of them at once, so that these get files of
     * some size */
    SPREAD_TARGETS = 8,
};

/* --- deletes --- */

/** A delete that names no single file, by what it counts for. */
struct reach {
    int64_t partition;
    int64_t newest;                 /* data of this sequence number, and older */
    int64_t positions, files_after; /* of it and of all behind it in its partition */
};
struct load {
    uint32_t files; /* delete files that count */
    double rows;    /* that those by position take, about */
};
struct deletes {
    struct reach *reaches;
    size_t count;
    int64_t *partition_rows;
    struct load *named; /* of deletes that name one file, by file */
};

static int64_t newest_of(const struct compact_delete *one)
{
    return one->by_value ? one->sequence - 1 : one->sequence;
}

static int compare_reaches(const void *a, const void *b)
{
    const struct reach *x = a, *y = b;
    return x->partition != y->partition ? (x->partition > y->partition ? 1 : -1)
                                        : (x->newest > y->newest) - (x->newest < y->newest);
}

static enum status sort_deletes(struct arena *arena, const struct compact_input *in,
                                struct deletes *out, struct err *err)
{
    out->reaches = arena_array(arena, in->delete_count + 1, sizeof(*out->reaches));
    out->named = arena_array(arena, in->count + 1, sizeof(*out->named));
    out->partition_rows = arena_array(arena, (size_t)in->partition_count + 1,
                                      sizeof(*out->partition_rows));
    if (out->reaches == NULL || out->named == NULL || out->partition_rows == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->count; i++) {
        out->partition_rows[in->files[i].partition] += in->files[i].rows;
    }
    for (size_t i = 0; i < in->delete_count; i++) {
        const struct compact_delete *one = &in->deletes[i];
        if (one->file < 0) {
            out->reaches[out->count++] = (struct reach){ .partition = one->partition,
                                                         .newest = newest_of(one),
                                                         .positions = one->by_value ? 0 : one->rows,
                                                         .files_after = 1 };
        } else if ((size_t)one->file < in->count &&
                   in->files[one->file].sequence <= newest_of(one)) {
            out->named[one->file].files++;
            out->named[one->file].rows += one->by_value ? 0 : (double)one->rows;
        }
    }
    qsort(out->reaches, out->count, sizeof(*out->reaches), compare_reaches);
    for (size_t i = out->count; i-- > 1;) {
        if (out->reaches[i - 1].partition == out->reaches[i].partition) {
            out->reaches[i - 1].positions += out->reaches[i].positions;
            out->reaches[i - 1].files_after += out->reaches[i].files_after;
        }
    }
    return OK;
}

/** The first of a partition that counts for data of that sequence number, or NULL. */
static const struct reach *first_reach(const struct deletes *deletes, int64_t partition,
                                       int64_t sequence)
{
    const struct reach wanted = { .partition = partition, .newest = sequence };
    size_t low = 0, high = deletes->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_reaches(&deletes->reaches[mid], &wanted) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    bool found = low < deletes->count && deletes->reaches[low].partition == partition;
    return found ? &deletes->reaches[low] : NULL;
}

static struct load load_of(const struct deletes *deletes, const struct compact_input *in, size_t i)
{
    const struct compact_file *file = &in->files[i];
    struct load load = deletes->named[i];
    const struct reach *own = first_reach(deletes, file->partition, file->sequence);
    const struct reach *any = first_reach(deletes, -1, file->sequence);
    int64_t rows = deletes->partition_rows[file->partition];
    load.files += own == NULL ? 0 : (uint32_t)own->files_after;
    load.files += any == NULL ? 0 : (uint32_t)any->files_after;
    if (own != NULL && rows > 0) { /* nobody says whose: everybody's, by size */
        load.rows += (double)own->positions * (double)file->rows / (double)rows;
    }
    return load;
}

/* --- bins --- */

struct planning {
    struct arena *arena;
    const struct compact_input *in;
    const struct compact_opts *opts;
    struct deletes deletes;
    struct compact_plan *plan;
    size_t cap;
    size_t *open;   /* by partition, plus 1: the bin that still takes files */
    size_t spreads; /* the one of old specs, plus 1 */
};

static int64_t percent_of(int64_t bytes, int64_t percent)
{
    return bytes / PERCENT * percent;
}

static enum status grow(struct planning *p, struct err *err)
{
    struct compact_plan *plan = p->plan;
    if (plan->count < p->cap) {
        return OK;
    }
    size_t cap = p->cap == 0 ? 64 : p->cap * 2;
    struct compact_bin *bins = arena_array(p->arena, cap, sizeof(*bins));
    if (bins == NULL) {
        return err_no_memory(err);
    }
    if (plan->count > 0) {
        memcpy(bins, plan->bins, plan->count * sizeof(*bins));
    }
    plan->bins = bins;
    p->cap = cap;
    return OK;
}

/** The bin that a file of `live` bytes joins; a new one where the last has no room. What is too
 * much for any bin gets one that nothing else joins. */
static enum status bin_for(struct planning *p, const struct compact_file *file, int64_t live,
                           struct compact_bin **out, struct err *err)
{
    int64_t limit = p->opts->target_bytes * (file->old_spec ? SPREAD_TARGETS : 1);
    size_t alone = 0;
    size_t *open = live > limit ? &alone : file->old_spec ? &p->spreads : &p->open[file->partition];
    const struct compact_bin *last = *open == 0 ? NULL : &p->plan->bins[*open - 1];
    if (last == NULL || last->live_bytes + live > limit || last->count == COMPACT_BIN_FILES_MAX) {
        TRY(grow(p, err));
        p->plan->bins[p->plan->count] = (struct compact_bin){ .spreads = file->old_spec };
        *open = ++p->plan->count;
    }
    *out = &p->plan->bins[*open - 1];
    return OK;
}

static enum status put(struct planning *p, struct compact_bin *bin, uint32_t file, int64_t live,
                       struct err *err)
{
    if (bin->count == bin->cap) {
        size_t cap = bin->count == 0 ? 8 : bin->count * 2;
        uint32_t *more = arena_array(p->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (bin->count > 0) {
            memcpy(more, bin->files, bin->count * sizeof(*more));
        }
        bin->files = more;
        bin->cap = cap;
    }
    bin->files[bin->count++] = file;
    bin->bytes += p->in->files[file].size_bytes;
    bin->live_bytes += live;
    return OK;
}

static enum status consider(struct planning *p, uint32_t i, struct err *err)
{
    const struct compact_file *file = &p->in->files[i];
    const struct compact_opts *opts = p->opts;
    if (!file->is_chosen) {
        return OK;
    }
    struct load load = load_of(&p->deletes, p->in, i);
    double rows = file->rows > 0 ? (double)file->rows : 1;
    double share = load.rows < rows ? load.rows / rows : 1;
    bool small = file->size_bytes < percent_of(opts->target_bytes, SMALL_PERCENT);
    bool large = file->size_bytes > percent_of(opts->target_bytes, LARGE_PERCENT);
    bool dirty = load.files > 0 &&
                 (load.files >= opts->delete_files_min || share >= opts->delete_share_min);
    if (!small && !large && !dirty && !file->old_spec && !opts->all) {
        return OK;
    }
    int64_t live = (int64_t)((double)file->size_bytes * (1 - share));
    struct compact_bin *bin = NULL;
    TRY(bin_for(p, file, live, &bin, err));
    bin->forced = bin->forced || large || dirty || file->old_spec || opts->all;
    return put(p, bin, i, live, err);
}

static bool is_worth_it(const struct planning *p, const struct compact_bin *bin)
{
    return bin->forced || bin->count >= p->opts->min_input_files ||
           (bin->count > 1 && bin->live_bytes >= percent_of(p->opts->target_bytes, SMALL_PERCENT));
}

/** Of the bins those that are worth it, as many as may be. */
static void choose(struct planning *p)
{
    struct compact_plan *plan = p->plan;
    int64_t target = p->opts->target_bytes;
    size_t kept = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct compact_bin *bin = &plan->bins[i];
        if (!is_worth_it(p, bin) || kept == COMPACT_BINS_MAX ||
            (kept > 0 && plan->bytes + bin->bytes > p->opts->max_bytes)) {
            continue;
        }
        bin->splits = bin->live_bytes > percent_of(target, LARGE_PERCENT);
        plan->bytes += bin->bytes;
        plan->file_count += bin->count;
        plan->outputs += bin->splits ? (size_t)((bin->live_bytes + target - 1) / target) : 1;
        plan->bins[kept++] = *bin;
    }
    plan->count = kept;
}

enum status compact_plan(struct arena *arena, const struct compact_input *in,
                         const struct compact_opts *opts, struct compact_plan *out, struct err *err)
{
    struct planning p = { .arena = arena, .in = in, .opts = opts, .plan = out };
    *out = (struct compact_plan){ 0 };
    p.open = arena_array(arena, (size_t)in->partition_count + 1, sizeof(*p.open));
    if (p.open == NULL) {
        return err_no_memory(err);
    }
    TRY(sort_deletes(arena, in, &p.deletes, err));
    for (size_t i = 0; i < in->count; i++) {
        TRY(consider(&p, (uint32_t)i, err));
    }
    choose(&p);
    return OK;
}

/* --- how many rows may be missing --- */

static int64_t plus(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

enum status compact_deleted_max(struct arena *arena, const struct compact_input *in,
                                const struct compact_plan *plan, int64_t *out, struct err *err)
{
    int64_t *of_file = arena_array(arena, in->count + 1, sizeof(*of_file));
    int64_t *of_partition = arena_array(arena, (size_t)in->partition_count + 1,
                                        sizeof(*of_partition));
    bool *seen = arena_array(arena, (size_t)in->partition_count + 1, sizeof(*seen));
    int64_t of_all = 0;
    if (of_file == NULL || of_partition == NULL || seen == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < in->delete_count; i++) {
        const struct compact_delete *one = &in->deletes[i];
        int64_t *sum = one->file >= 0 ? &of_file[(size_t)one->file < in->count ? one->file
                                                                               : (int64_t)in->count]
                       : one->by_value && one->partition >= 0 ? &of_partition[one->partition]
                                                              : &of_all; /* by path alone */
        *sum = plus(*sum, one->by_value ? INT64_MAX : one->rows);
    }
    for (size_t b = 0; b < plan->count; b++) {
        const struct compact_bin *bin = &plan->bins[b];
        out[b] = of_all;
        for (size_t i = 0; i < bin->count; i++) {
            uint32_t partition = in->files[bin->files[i]].partition;
            out[b] = plus(out[b], of_file[bin->files[i]]);
            out[b] = seen[partition] ? out[b] : plus(out[b], of_partition[partition]);
            seen[partition] = true;
        }
        for (size_t i = 0; i < bin->count; i++) {
            seen[in->files[bin->files[i]].partition] = false;
        }
    }
    return OK;
}

/* --- what is not needed any more --- */

enum status compact_needless(struct arena *arena, const struct compact_input *in, const bool *gone,
                             bool *needless_out, size_t *count_out, struct err *err)
{
    int64_t *oldest = arena_array(arena, (size_t)in->partition_count + 1, sizeof(*oldest));
    int64_t oldest_of_all = INT64_MAX;
    if (oldest == NULL) {
        return err_no_memory(err);
    }
    for (uint32_t i = 0; i < in->partition_count; i++) {
        oldest[i] = INT64_MAX;
    }
    for (size_t i = 0; i < in->count; i++) {
        const struct compact_file *file = &in->files[i];
        if (!gone[i] && file->sequence < oldest[file->partition]) {
            oldest[file->partition] = file->sequence;
        }
        if (!gone[i] && file->sequence < oldest_of_all) {
            oldest_of_all = file->sequence;
        }
    }
    *count_out = 0;
    for (size_t i = 0; i < in->delete_count; i++) {
        const struct compact_delete *one = &in->deletes[i];
        size_t file = (size_t)one->file;
        int64_t first = one->file >= 0 ? (file < in->count && !gone[file] ? in->files[file].sequence
                                                                          : INT64_MAX)
                        : one->partition < 0 ? oldest_of_all
                                             : oldest[one->partition];
        needless_out[i] = first > newest_of(one);
        *count_out += needless_out[i] ? 1 : 0;
    }
    return OK;
}
