/*
 * The one implementation of duck_files: what a job may read and write, and nothing else.
 *
 * A job opens `lake://<token>/<n>.parquet`, the n-th file that its statement pinned, under its
 * random 128-bit token; `spool://<name>` are descriptors that came with the job. Local bytes come
 * as a descriptor from the parent and are checked against their checksums here; remote bytes are
 * asked for in ranges, through a bounded block cache.
 */
#ifndef LAKEFS_LAKEFS_H
#define LAKEFS_LAKEFS_H

#include "duck/duck.h"
#include "store/store.h"

struct lakefs;

struct lakefs_host {
    /** The n-th pinned file: a descriptor (then the reads are ours) or -1 (then they go through
     * `read`). Thread safe. */
    enum status (*open)(void *ctx, uint32_t file, int *fd_out, uint64_t *size_out, struct err *err);
    enum status (*read)(void *ctx, uint32_t file, uint64_t offset, void *ptr, size_t len,
                        size_t *got_out, struct err *err);
    void *ctx;
};

struct lakefs_opts {
    struct lakefs_host host;
    uint64_t cache_bytes; /* of remote blocks; 0: 64 MiB */
};
enum status lakefs_new(const struct lakefs_opts *opts, struct lakefs **out,
                       struct err *err) MUST_USE;
void lakefs_free(struct lakefs *fs);

/** A new job: the token that its paths carry. Forgets all pins and spools of the last one. */
enum status lakefs_begin(struct lakefs *fs, struct str token, struct err *err) MUST_USE;
/** The job is over: an idle engine must not keep the room of deleted files and spools. */
void lakefs_end(struct lakefs *fs);
/** Files `first` to `first + count - 1` of this job may be opened. No work is done for each. */
enum status lakefs_pin(struct lakefs *fs, uint64_t first, uint64_t count, struct err *err) MUST_USE;
/** What the paths of this job's files begin with, "lake://<token>/", in `arena`; the number and
 * LAKEFS_SUFFIX follow. */
#define LAKEFS_SUFFIX ".parquet"
enum status lakefs_prefix(struct lakefs *fs, struct arena *arena, struct str *out,
                          struct err *err) MUST_USE;
/** "spool://<name>": readable from offset 0 to `size`, or writable from its start. Takes `fd`. */
enum status lakefs_add_input(struct lakefs *fs, struct str name, int fd, uint64_t size,
                             struct err *err) MUST_USE;
/** The same for one that is still being written, see growing.h. Takes both descriptors. */
enum status lakefs_add_growing(struct lakefs *fs, struct str name, int fd, int news_fd,
                               uint64_t size, struct err *err) MUST_USE;
enum status lakefs_add_output(struct lakefs *fs, struct str name, int fd, struct err *err) MUST_USE;
/** "spool://<name>" whose bytes go to a callback as they are written, from start to end. */
struct lakefs_sink {
    enum status (*write)(void *ctx, struct str bytes, struct err *err);
    void *ctx;
};
enum status lakefs_add_sink(struct lakefs *fs, struct str name, struct lakefs_sink sink,
                            struct err *err) MUST_USE;
/** "spool://<name>/...": a folder, each of whose paths gets its descriptor when it is created. */
struct lakefs_folder {
    /** On DuckDB's threads, several at once. *fd_out is owned and closed by lakefs. */
    enum status (*create)(void *ctx, struct str path, int *fd_out, struct err *err);
    void *ctx;
};
enum status lakefs_add_folder(struct lakefs *fs, struct str name, struct lakefs_folder folder,
                              struct err *err) MUST_USE;
const struct duck_files *lakefs_files(struct lakefs *fs);

#endif
