/*
 * Objects: bytes under keys. One contract, many drivers (fs, s3, mem, http); no caller knows which
 * it has.
 *
 * A write is durable and atomic before it is acknowledged: a reader sees the old object or the new
 * one, whole. Conditions (create only if absent, swap only if unchanged) hold among all threads and
 * processes that share the store. A read never passes on bytes that are not what was written:
 * E_CORRUPT.
 *
 * Keys are 1 to 1100 bytes of UTF-8 without NUL: the 1024 of S3 behind the name of a bucket. Empty
 * segments, '.' and '..' mean nothing: they are text like any other. `_lake/` is ours: the API
 * refuses it to clients, the store does not.
 *
 * What an object carries besides its bytes are its attributes: written with it, atomically.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

struct io_calls;
struct metrics;
struct store;
struct store_writer; /* an object being written, invisible until committed */
struct store_object; /* an open object: one immutable version of it */

enum {
    STORE_KEY_MAX = 1100,
    STORE_KEY_PLAIN_MAX = 1024,
    STORE_ETAG_MAX = 64,
    STORE_LIST_MAX = 10000,
    STORE_ATTRS_MAX = 256,
    STORE_ATTRS_BYTES_MAX = 12 * 1024, /* names and values of one object together */
};

struct store_info {
    struct str key; /* set by list (in its arena); elsewhere empty */
    uint64_t size;
    /* opaque, without quotes; empty for a file that somebody else is changing */
    char etag[STORE_ETAG_MAX + 1];
    /* a foreign file without checksum: the tag is made of inode, size and mtime */
    bool etag_weak;
    int64_t modified_ms;
};

/**
 * An attribute of an object. Names are lower-case header names ("content-type",
 * "x-amz-meta-colour"), at most one of each; both sides are opaque bytes to the store, and a name
 * is not empty.
 */
struct store_attr {
    struct str name, value;
};
/** Those of one object; the store gives them by name in byte order. */
struct store_attrs {
    const struct store_attr *items;
    size_t count;
};

/** Conditions of a write. A failed one is E_PRECONDITION; nothing has changed then. */
struct store_cond {
    bool if_absent; /* If-None-Match: * */
    /* the ETag that must be there; empty: no condition. A missing object is E_PRECONDITION too */
    struct str if_match;
    /* No condition but leave: the ETag need not be the bytes' MD5, only differ from those of all
     * other writes. So the fs driver has nothing to compute for it; others may ignore it. For what
     * nobody compares by its tag. */
    bool opaque_etag;
};

/** E_INVALID names what is wrong with a key. */
enum status store_key_check(struct str key, struct err *err) MUST_USE;
/**
 * The narrower rule for keys that are also read as paths (routes, table metadata): at most 1024
 * bytes, no control characters, no leading '/', no empty segment except one at the very end (a
 * trailing '/'), no '.' or '..' segment.
 */
enum status store_key_check_plain(struct str key, struct err *err) MUST_USE;

/** NULL is fine. */
void store_close(struct store *store);
/**
 * For a stop, before threads that use the store are joined: from now on it does not wait for a
 * service that is away. A pause between two tries ends, with E_UNAVAILABLE where nothing was done;
 * a request that moves no byte for a second (in a bucket; five, of storaged's) is broken off, and
 * after that none is begun. What gets on is finished. It cannot be taken back.
 *
 * Threads  at any time, beside all other calls; again does no harm
 */
void store_interrupt(struct store *store);
/** From now on what it does is counted in `metrics`, which must outlive it. Before other threads
 * use it. */
void store_measure(struct store *store, struct metrics *metrics);

/**
 * Write a small object whole.
 *
 * Errors   E_INVALID (key), E_PRECONDITION, E_DISK_FULL, E_UNAVAILABLE (not written: a failed fsync
 *          has stopped this store, or another process holds the key's lock). E_UPSTREAM and
 *          E_TIMEOUT: the outcome is unknown, read it back (http driver: the answer was lost; fs
 *          driver: the folder's fsync failed after the rename)
 * Returns  *info_out (may be NULL): size, etag and time of what is there now
 */
enum status store_put(struct store *store, struct str key, struct str bytes,
                      const struct store_cond *cond, struct store_info *info_out,
                      struct err *err) MUST_USE;

/** Stream an object of unknown size. Memory is bounded. One thread per writer. */
enum status store_writer_open(struct store *store, struct str key, const struct store_cond *cond,
                              struct store_writer **out, struct err *err) MUST_USE;
enum status store_writer_write(struct store_writer *writer, struct str bytes,
                               struct err *err) MUST_USE;
/** Before the first bytes: the attributes will come when all of them were written. */
void store_writer_attrs_late(struct store_writer *writer);
/**
 * The attributes of the object to come, at any time before the commit. Copied; a second call
 * replaces those of the first. With the s3 driver those of an object above 16 MiB come before its
 * bytes, or store_writer_attrs_late says that they do not: it sends them when an upload begins.
 *
 * Errors   E_INVALID (a name is empty or there twice), E_TOO_LARGE (the limits above; the s3 driver
 *          tells it at the commit: S3 gives an object 2 KiB of metadata, which hold about 1.4 KiB
 *          of
 *          names and values)
 */
enum status store_writer_attrs(struct store_writer *writer, const struct store_attrs *attrs,
                               struct err *err) MUST_USE;
/** Makes it visible and frees the writer, whatever the outcome. */
enum status store_writer_commit(struct store_writer *writer, struct store_info *info_out,
                                struct err *err) MUST_USE;
/** Frees the writer and what it wrote. NULL is fine. */
void store_writer_abort(struct store_writer *writer);

/**
 * Put the content of an open file: `fd` from its start, whole. The fs driver copies with
 * copy_file_range or adopts an unnamed temporary file of its own file system by linking it
 * (`adopt`), so that bulk data is not written twice.
 */
enum status store_put_fd(struct store *store, struct str key, int fd, bool adopt,
                         const struct store_cond *cond, struct store_info *info_out,
                         struct err *err) MUST_USE;
/** An unnamed temporary file in a good place for store_put_fd(adopt): on the store's own file
 * system where it has one. */
enum status store_spool(struct store *store, int *fd_out, struct err *err) MUST_USE;

/** E_NOT_FOUND. */
enum status store_stat(struct store *store, struct str key, struct store_info *info_out,
                       struct err *err) MUST_USE;

/** The same with the attributes of that version, in the arena. */
enum status store_stat_attrs(struct store *store, struct str key, struct arena *arena,
                             struct store_info *info_out, struct store_attrs *attrs_out,
                             struct err *err) MUST_USE;

struct store_read_opts {
    uint64_t offset;    /* past the end: E_RANGE, unless 0 */
    uint64_t length;    /* 0: to the end */
    uint64_t bytes_max; /* more than this is E_TOO_LARGE; 0: 256 MiB */
};
/** Append an object, or a part of it, to `out`. `info_out` (may be NULL) is of the same version as
 * the bytes. */
enum status store_read(struct store *store, struct str key, const struct store_read_opts *opts,
                       struct buf *out, struct store_info *info_out, struct err *err) MUST_USE;

/**
 * Open one version of an object for reading in pieces. Later writes and deletes do not change what
 * is read; with the http driver they may end it: what is behind the first MiB is then E_CONFLICT,
 * never other bytes.
 */
enum status store_open(struct store *store, struct str key, struct store_object **out,
                       struct err *err) MUST_USE;
const struct store_info *store_object_info(const struct store_object *object);
/** Of this version; they live as long as the object. An object from store_fd_object has only those
 * that are in the file's xattr. */
struct store_attrs store_object_attrs(const struct store_object *object);
/** Fewer than `len` bytes only at the end. Thread safe. */
enum status store_object_read(struct store_object *object, uint64_t offset, void *ptr, size_t len,
                              size_t *got_out, struct err *err) MUST_USE;
/**
 * A descriptor of the object's bytes at offset 0, for sendfile or for handing to another process;
 * E_UNSUPPORTED where the driver has none. `[offset, offset+length)` has been checked against the
 * checksums first. Owns: the caller closes it.
 */
enum status store_object_fd(struct store_object *object, uint64_t offset, uint64_t length,
                            int *fd_out, struct err *err) MUST_USE;
/** True when the object is a file here: a read waits for a disk at most, and store_object_fd gives
 * its descriptor. */
bool store_object_is_file(const struct store_object *object);
/** True when store_object_fd of this range has nothing to read: it was checked before, and the file
 * is as it was. */
bool store_object_checked(struct store_object *object, uint64_t offset, uint64_t length);
/** The same, not checked: for a reader that checks for itself by store_fd_object (below). */
enum status store_object_raw_fd(struct store_object *object, int *fd_out, struct err *err) MUST_USE;
void store_object_close(struct store_object *object);

struct store_list_opts {
    struct str prefix;
    struct str delimiter; /* one or more bytes; empty: none */
    struct str after;     /* exclusive */
    size_t limit;         /* 0: 1000; at most STORE_LIST_MAX objects and common prefixes together */
};
struct store_list {
    struct store_info *objects; /* keys in byte order */
    size_t object_count;
    struct str *prefixes; /* common prefixes in byte order */
    size_t prefix_count;
    bool truncated;
    struct str next; /* give as `after` to go on */
};
enum status store_list(struct store *store, const struct store_list_opts *opts, struct arena *arena,
                       struct store_list *out, struct err *err) MUST_USE;

/** Missing is fine. Durable. */
enum status store_delete(struct store *store, struct str key, struct err *err) MUST_USE;
/** Like store_delete under a condition: E_PRECONDITION when the object is not the one of
 * `if_match`, or is not there. An empty `if_match` is none. */
enum status store_delete_if(struct store *store, struct str key, struct str if_match,
                            struct err *err) MUST_USE;
/** A copy with its attributes under a fresh key, by hard link or server-side copy; E_EXISTS when
 * `to` is there. */
enum status store_copy(struct store *store, struct str from, struct str to,
                       struct store_info *info_out, struct err *err) MUST_USE;

struct store_copy_opts {
    const struct store_attrs *attrs; /* NULL: those of the source */
    const struct store_cond *cond;   /* of the target; NULL: what is there is replaced */
    struct str if_match;             /* of the source; empty: any */
};
/**
 * Make the object `to` what `from` is now, in one step: one version of `from`, whole. `from` and
 * `to` may be one key. It costs a copy of the bytes.
 *
 * Errors   E_NOT_FOUND (`from`), E_PRECONDITION (a condition of either), and those of store_put
 */
enum status store_copy_with(struct store *store, struct str from, struct str to,
                            const struct store_copy_opts *opts, struct store_info *info_out,
                            struct err *err) MUST_USE;
/**
 * Replace the attributes of an object; its bytes, ETag and time stay (with the s3 driver its time
 * is now, and the ETag of one above 16 MiB changes). It costs a copy of the bytes.
 *
 * Errors   E_NOT_FOUND, E_PRECONDITION (`if_match`, when not empty), and those of store_put
 */
enum status store_set_attrs(struct store *store, struct str key, const struct store_attrs *attrs,
                            struct str if_match, struct store_info *info_out,
                            struct err *err) MUST_USE;

/** The URI of the root without trailing slash, as it goes into table metadata: "file:///srv/lake".
 * Lives as long as the store. */
struct str store_root_uri(const struct store *store);
/** Add a root to those that `_lake/format.json` has, if it is not among them: a URI under which
 * table metadata will name this store's objects. By a conditional write; made if missing. */
enum status store_add_root(struct store *store, struct str uri, struct err *err) MUST_USE;
/** True when reads wait for this machine's disk at most. */
bool store_is_local(const struct store *store);
/** OK when reads and writes would work now; else the one line for /ready. */
enum status store_ready(struct store *store, struct err *err) MUST_USE;

/* --- drivers --- */

/** Called at points where a crash, a delay or an error may be tried; tests only. `op` is "write",
 * "rename", "fsync", ... */
struct store_fault_hook {
    enum status (*at)(void *ctx, const char *op, struct str key, struct err *err);
    void *ctx;
};

struct store_fs_opts {
    const char *dir; /* made if missing */
    bool read_only;
    bool any_folder; /* with read_only: it need not be a lake */
    /* a network file system (NFS, SMB, FUSE, ...) is refused otherwise: its locks and renames
     * promise less */
    bool allow_network;
    const struct lake_clock *clock; /* NULL: the machine's */
    const struct io_calls *calls;   /* NULL: the machine's; tests only */
    struct store_fault_hook hook;
};
/** A directory. Temporary files left by a crash are removed (under a lock, only ones no living
 * process holds). */
enum status store_fs_open(const struct store_fs_opts *opts, struct store **out,
                          struct err *err) MUST_USE;

struct store_s3_opts {
    const char *endpoint; /* "http://127.0.0.1:9000" */
    const char *bucket;   /* it must be there */
    const char *prefix;   /* of all keys: "a/b"; NULL or "": none */
    const char *region;   /* NULL or "": what environment or shared files say, else us-east-1 */
    /* empty: the environment's and the shared files' (aws/credentials.h) */
    struct str access_key, secret_key, session_token;
    const char *profile; /* of the shared files; NULL or "": AWS_PROFILE */
    const char *ca_file; /* PEM; NULL or "": the system's */
    bool virtual_host;   /* bucket.host instead of host/bucket */
    bool read_only;
    int64_t retry_ms; /* how long a store that is away or busy is tried; 0: 30 s */
    /* For a store whose conditions do not hold: one process writes at a time, by a lease in the
     * bucket; others get E_UNAVAILABLE. Conditions then hold in this process only. */
    bool single_writer;
    int64_t lease_ms; /* 0: 30 s */
    const struct lake_clock *clock;
};
/**
 * A bucket of an S3-compatible store, or what is under a prefix of it. Nothing is sent yet: before
 * the first write, and by store_ready, the format is checked and 32 rivals try whether conditional
 * writes hold (E_UNSUPPORTED for good where they do not).
 *
 * store_delete_if is E_UNSUPPORTED where the store deletes without looking at the condition.
 *
 * Errors   E_INVALID names the setting
 */
enum status store_s3_open(const struct store_s3_opts *opts, struct store **out,
                          struct err *err) MUST_USE;

struct store_mem_opts {
    const struct lake_clock *clock;
    struct store_fault_hook
        hook; /* E_UPSTREAM from "answer" makes a write that happened look lost */
};
enum status store_mem_open(const struct store_mem_opts *opts, struct store **out,
                           struct err *err) MUST_USE;

struct store_http_opts {
    const char *url; /* storaged */
    struct str cluster_secret;
};
/** Another process' store, by its internal routes. The root URI is asked for at the first need. */
enum status store_http_open(const struct store_http_opts *opts, struct store **out,
                            struct err *err) MUST_USE;

/** Wrap a descriptor got from store_object_raw_fd (in another process): reads are checked against
 * the checksums in its xattr. Takes `fd`. */
enum status store_fd_object(int fd, struct store_object **out, struct err *err) MUST_USE;

#endif
