/*
 * Which data files a compaction rewrites, and which of them together. Pure.
 */
#ifndef QUERY_COMPACT_PLAN_H
#define QUERY_COMPACT_PLAN_H

#include "base/arena.h"
#include "base/status.h"

enum {
    COMPACT_BINS_MAX = 4096,       /* of one plan: each becomes a file that is open until the end */
    COMPACT_BIN_FILES_MAX = 10000, /* that are read for one */
};

/** A data file as the plan sees it. */
struct compact_file {
    int64_t size_bytes, rows, sequence;
    /* Files of one partition, and of one spec, have the same. [partition_count] */
    uint32_t partition;
    bool is_chosen; /* by the statement's condition */
    bool old_spec;  /* not of the spec that new files get: its rows are spread anew */
};
/** A delete file: it counts for data files that are not newer (by value: older) than it. */
struct compact_delete {
    bool by_value;
    int64_t rows, sequence;
    int64_t partition; /* -1: every one */
    int64_t file;      /* the one that it names; -1: any; compact_input's count: none of them */
};
struct compact_input {
    const struct compact_file *files;
    size_t count;
    const struct compact_delete *deletes;
    size_t delete_count;
    uint32_t partition_count;
};

struct compact_opts {
    int64_t target_bytes;
    int64_t max_bytes; /* that are read, in all; one bin is planned even if it is more */
    uint32_t min_input_files;
    /* so many delete files, or this share of rows that they name, make a file worth it */
    uint32_t delete_files_min;
    double delete_share_min;
    bool all; /* every file */
};

/** Files that become one, or several where they are more than one should have. */
struct compact_bin {
    uint32_t *files; /* [count] ascending */
    size_t count;
    int64_t bytes;      /* as they are */
    int64_t live_bytes; /* less those of deleted rows, about */
    bool spreads;       /* its rows go to the partitions of the new spec */
    bool splits;        /* into files of the target size */
    /* of the plan's making: something in it has to be rewritten, however few they are */
    bool forced;
    size_t cap;
};
struct compact_plan {
    struct compact_bin *bins;
    size_t count;
    size_t file_count; /* of all bins */
    int64_t bytes;     /* of all bins */
    size_t outputs;    /* about so many files come of them */
};

/**
 * A file is worth rewriting when it is smaller than 75 % or larger than 180 % of the target, has
 * deleted rows enough, or is of an old spec. Those of a partition share bins in the order that they
 * have, up to the target. A bin of small files only, and of few of them, stays as it is; so does
 * what would come out as it went in.
 *
 * Owns   in `arena`
 * Cost   n log n
 */
enum status compact_plan(struct arena *arena, const struct compact_input *in,
                         const struct compact_opts *opts, struct compact_plan *out,
                         struct err *err) MUST_USE;
/**
 * How many rows of each bin's files can be deleted at most; INT64_MAX where rows are deleted by
 * value.
 *
 * Shapes   out [plan->count]
 */
enum status compact_deleted_max(struct arena *arena, const struct compact_input *in,
                                const struct compact_plan *plan, int64_t *out,
                                struct err *err) MUST_USE;
/**
 * The delete files that count for no data file any more when some have gone.
 *
 * Shapes   gone [in->count]; needless_out [in->delete_count]
 * Returns  *count_out of them
 */
enum status compact_needless(struct arena *arena, const struct compact_input *in, const bool *gone,
                             bool *needless_out, size_t *count_out, struct err *err) MUST_USE;

#endif
