/*
 * The file driver's own header: one folder is the lake. fs.c has the map of its parts.
 */
#ifndef STORE_FS_PRIV_H
#define STORE_FS_PRIV_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/io_calls.h"
#include "base/map.h"
#include "store/fs_record.h"
#include "store/store_priv.h"

enum {
    /* bytes of one name; file systems hold 255, and temporary and side files want room */
    FS_SEGMENT_MAX = 200,
    /* of an open whose file is replaced meanwhile; chosen, not measured */
    FS_OPEN_TRIES = 64,
    FS_LOCKS = 256,
    FS_NURSERIES = 8, /* chosen, not measured */
    /* chosen, not measured: a lake has some dozen folders in use at a time */
    FS_DURABLE_SLOTS = 1024,
    /* of odd keys that are remembered: some 150,000; chosen, not measured */
    FS_ODD_BYTES_MAX = 32 * 1024 * 1024,
    FS_FOLDERS_KEPT = 256, /* chosen, not measured */
};

struct fs_upload; /* fs_upload.h */
struct fs_folder; /* fs_folder.h */

/** Folders whose names are remembered. */
struct fs_folders {
    pthread_mutex_t lock;
    struct fs_folder *kept[FS_FOLDERS_KEPT]; /* sets of 4 by inode; guarded by lock */
    size_t kept_bytes;                       /* guarded by lock */
    size_t hand;                             /* whose turn it is to go; guarded by lock */
    _Atomic size_t live_bytes; /* of all names, remembered or only in use; relaxed: a limit */
};

struct fs_store {
    struct store base;
    char *dir; /* absolute, without links */
    char *uri;
    int root_fd, tmp_fd, odd_fd, sums_fd, locks_fd, uploads_fd;
    /* where unnamed files are made, see nurseries_open in fs_own.c; -1: in tmp_fd */
    int new_fds[FS_NURSERIES];
    _Atomic unsigned new_turn; /* relaxed */
    bool read_only;
    bool remembers;             /* what listings saw: no network file system shows old times here */
    dev_t root_dev;             /* what is mounted below may be one, and is not remembered */
    bool folding;               /* the file system takes "A" and "a" for one name */
    _Atomic bool no_unnamed;    /* O_TMPFILE is not supported here; a hint, relaxed */
    _Atomic bool no_xattr;      /* xattrs are not supported here; a hint, relaxed */
    _Atomic bool no_getxattrat; /* the kernel does not know it; a hint, relaxed */
    _Atomic bool stopped;       /* an fsync failed: nothing is written any more */
    const struct lake_clock *clock;
    const struct io_calls *calls;
    struct store_fault_hook hook;
    /* among threads, taken before the file's lock */
    pthread_rwlock_t locks[FS_LOCKS];
    /* folders whose entry in their parent is on the disk; relaxed, a miss costs an fsync */
    _Atomic uint64_t durable_dirs[FS_DURABLE_SLOTS];
    pthread_mutex_t odd_lock;
    struct fs_folders folders;
    struct map odd_keys;          /* by SHA-256; guarded by odd_lock */
    size_t odd_bytes_left;        /* guarded by odd_lock */
    pthread_mutex_t uploads_lock; /* the last one to be taken */
    struct fs_upload *uploads;    /* those that were in use lately; guarded by uploads_lock */
};

/** A test's fault at this point, if there is one. */
enum status fs_fault(struct fs_store *fs, const char *op, struct str key, struct err *err) MUST_USE;
/** All of it, or an error that names the folder when there is no room. */
enum status fs_write_at(const struct fs_store *fs, int fd, const void *ptr, size_t len,
                        uint64_t offset, struct err *err) MUST_USE;
/** Names the folder in the error when there is no room; returns `status`. */
enum status fs_room(const struct fs_store *fs, enum status status, struct err *err) MUST_USE;
/** E_UNAVAILABLE once an fsync has failed, E_DENIED when the store is read-only. */
enum status fs_may_write(struct fs_store *fs, struct err *err) MUST_USE;
/**
 * fsync, or stop the store. `op` is this place's own name: the test that pulls the plug leaves out
 * each in turn. `after_rename`: the failure leaves the outcome unknown, E_UPSTREAM. A full disk
 * before that stops nothing: nobody was promised what did not fit.
 */
enum status fs_sync(struct fs_store *fs, int fd, const char *op, struct str key, bool after_rename,
                    struct err *err) MUST_USE;

/* --- fs_own.c: the lake's own folders --- */

/** Make what is missing of them, and open them. */
enum status fs_own_open(struct fs_store *fs, struct err *err) MUST_USE;
/**
 * What a failed call on `path` below the root means when the lake itself needs it: never that an
 * object is not there, or that a client may not have it.
 */
enum status fs_own_failed(const struct fs_store *fs, int errno_value, const char *path,
                          struct err *err);
/** E_UNAVAILABLE when the root was deleted under us: nothing can be said about any key then. */
enum status fs_root_check(const struct fs_store *fs, struct err *err) MUST_USE;
/** Call `each` with every name in an own folder but "." and "..", until it fails. */
enum status fs_own_each(const struct fs_store *fs, int dir_fd, const char *path,
                        enum status (*each)(void *ctx, const char *name, struct err *err),
                        void *ctx, struct err *err) MUST_USE;

/* --- fs_path.c: where a key lies --- */

/** Names below the root that are not objects: E_DENIED. */
enum status fs_key_allowed(struct str key, struct err *err) MUST_USE;
/** True for `_lake/tmp` and its like, as a path below the root. */
bool fs_path_reserved(struct str path);
/** True when the key's path can never hold it: empty, `.` and `..` segments are in no path. */
bool fs_key_is_odd(const struct fs_store *fs, struct str key);
/** The file name of a key below `_lake/odd`. */
void fs_odd_name(struct str key, char out[SHA256_HEX + 1]);

/** Open a folder below the root, following no link. E_NOT_FOUND. `path` "" is the root. */
enum status fs_dir_open(const struct fs_store *fs, struct str path, int *fd_out,
                        struct err *err) MUST_USE;

struct fs_place {
    int dir_fd; /* the folder, owned; -1 in an empty place */
    char name[NAME_MAX + 1];
    bool odd;
};
#define FS_PLACE_EMPTY ((struct fs_place){ .dir_fd = -1 })
void fs_place_done(struct fs_place *place);

/**
 * Open the file of a key, wherever it lies: its path first, then `_lake/odd`.
 *
 * Errors   E_NOT_FOUND, E_DENIED when a symbolic link is in the way
 */
enum status fs_file_open(const struct fs_store *fs, struct str key, int *fd_out, bool *odd_out,
                         struct stat *st_out, struct err *err) MUST_USE;
/**
 * The place to write a key to: where it lies, else its path with the folders made and durable, else
 * `_lake/odd`. `lies`: NULL when nothing is there, else whether it is an odd one.
 */
enum status fs_place_make(struct fs_store *fs, struct str key, const bool *lies_odd,
                          struct fs_place *out, struct err *err) MUST_USE;
/** The place of a file that is there. E_NOT_FOUND when its folder has gone. */
enum status fs_place_find(const struct fs_store *fs, struct str key, bool odd, struct fs_place *out,
                          struct err *err) MUST_USE;
/** Remove the folders above a deleted key that are empty now. */
void fs_dirs_prune(struct fs_store *fs, struct str key);

/* --- fs_odd.c: the keys of odd files --- */

void fs_odd_init(struct fs_store *fs);
void fs_odd_done(struct fs_store *fs);
/** The key of a file of `_lake/odd`, when it is known; else .ptr is NULL. Lives as long as the
 * store. */
struct str fs_odd_key(struct fs_store *fs, const char *name);
/** Remember the key of this file, if there is room. */
enum status fs_odd_learn(struct fs_store *fs, const char *name, struct str key,
                         struct err *err) MUST_USE;

/* --- fs_lock.c --- */

struct fs_lock {
    struct fs_store *fs;
    int fd;
    unsigned index;
    bool held, changing;
    bool reads_only; /* the file system became read-only: nothing can be settled */
};
enum fs_lock_mode { FS_LOCK_SHARED, FS_LOCK_EXCLUSIVE };
/** Among threads and processes. E_UNAVAILABLE after 30 s. */
enum status fs_lock_key(struct fs_store *fs, struct str key, enum fs_lock_mode mode,
                        struct fs_lock *out, struct err *err) MUST_USE;
/**
 * Before a name changes under an exclusive lock; fs_lock_done ends it. Whoever takes the lock of a
 * holder that died in between, or whose fsync failed, syncs before it believes what it sees.
 */
enum status fs_lock_change_begin(struct fs_lock *lock, struct err *err) MUST_USE;
void fs_lock_done(struct fs_lock *lock);
/** Wait for a whole file that other processes may hold. E_UNAVAILABLE after 30 s. */
enum status fs_lock_file(const struct fs_store *fs, int fd, enum fs_lock_mode mode, struct str key,
                         struct err *err) MUST_USE;
unsigned fs_lock_index(struct str key);
/** Try to lock a whole file (F_WRLCK or F_RDLCK) without waiting; false when somebody holds it. */
bool fs_lock_try(const struct fs_store *fs, int fd, short type);

/* --- fs_temp.c --- */

struct fs_temp {
    int fd;
    char name[64]; /* below _lake/tmp; empty: it has no name yet */
};
#define FS_TEMP_EMPTY ((struct fs_temp){ .fd = -1 })
enum status fs_temp_new(struct fs_store *fs, struct fs_temp *out, struct err *err) MUST_USE;
/** Give an unnamed file a name below _lake/tmp, so that it can be renamed. */
enum status fs_temp_name(struct fs_store *fs, struct fs_temp *temp, struct err *err) MUST_USE;
/** Link an open unnamed file; -1 and errno. */
int fs_link_fd(const struct fs_store *fs, int fd, int dir_fd, const char *name);
/** Close, and delete when it has a name. */
void fs_temp_drop(struct fs_store *fs, struct fs_temp *temp);
/** Delete what dead processes left in _lake/tmp. */
enum status fs_temp_sweep(struct fs_store *fs, struct err *err) MUST_USE;

/* --- fs_record.c holds the format; fs_sums.c where it lies --- */

enum fs_known {
    FS_FOREIGN, /* no record: somebody else's file */
    FS_XATTR,
    FS_SIDE,
    FS_BROKEN, /* a record that cannot be understood */
};

/** Set the xattr, or write the side file. */
enum status fs_record_store(struct fs_store *fs, int fd, struct str key,
                            const struct fs_record *record, struct err *err) MUST_USE;
/** Of an open file; `out` is filled unless that is foreign or broken. `fs` NULL: only the xattr is
 * looked at. An error is one of reading, and then nothing is known about the file. */
enum status fs_record_load(const struct fs_store *fs, int fd, struct str key, struct fs_record *out,
                           enum fs_known *known_out, struct err *err) MUST_USE;
/** True when the file was replaced or deleted, and its side file with it, before that was read:
 * open the key again. */
bool fs_record_vanished(const struct fs_store *fs, int fd, enum fs_known known);
/** fs_record_load for a file of `_lake/odd` whose key is not known yet. */
enum status fs_record_load_odd(const struct fs_store *fs, int fd, const char *odd_name,
                               struct fs_record *out, enum fs_known *known_out,
                               struct err *err) MUST_USE;
/** Delete the side file of a file that has gone. */
void fs_record_forget(struct fs_store *fs, struct str key, uint64_t side);
/** Delete the side files that belong to nothing. */
enum status fs_record_sweep(struct fs_store *fs, struct err *err) MUST_USE;
/** The hex of an MD5. */
void fs_md5_text(const uint8_t md5[MD5_BYTES], char out[MD5_HEX + 1]);
/** Size, ETag and time by record and stat. A foreign or changed file has a weak tag. */
void fs_info_fill(enum fs_known known, const struct fs_record *record, const struct stat *st,
                  struct store_info *out);

/**
 * The short record in the xattr of a file, asked for by its name in an open folder. False: there is
 * none, a part of it is beside, or it cannot be read: fs_record_load tells.
 */
bool fs_record_look(struct fs_store *fs, int dir_fd, const char *name,
                    struct fs_record *out) MUST_USE;

/** What lies under a key now. */
struct fs_current {
    bool there, odd;
    enum fs_known known;
    uint64_t side; /* the number of its side file, should it have one */
    struct store_info info;
};
enum status fs_current_get(struct fs_store *fs, struct str key, struct fs_current *out,
                           struct err *err) MUST_USE;

/* --- fs_write.c --- */

enum status fs_writer_open(struct store *, struct str key, const struct store_cond *,
                           struct store_writer **, struct err *);
enum status fs_writer_write(struct store_writer *, struct str bytes, struct err *);
enum status fs_writer_commit(struct store_writer *, struct store_info *, struct err *);
void fs_writer_abort(struct store_writer *);
enum status fs_put_fd(struct store *, struct str key, int fd, bool adopt, const struct store_cond *,
                      struct store_info *, struct err *);
enum status fs_spool(struct store *, int *fd_out, struct err *);

/**
 * Write the bytes of an open object under another key, or its own: checked, and hashed only when
 * they have no record.
 */
enum status fs_write_copy(struct fs_store *fs, struct store_object *object, struct str to,
                          const struct store_copy_how *how, const struct store_cond *cond,
                          struct store_info *info_out, struct err *err) MUST_USE;

/** The store's time with the machine's digits below a millisecond, so that two versions differ. */
int64_t fs_now_ns(const struct fs_store *fs);
/** What is written is complete and `record` says it: set time and record, sync, publish. */
enum status fs_finish(struct fs_store *fs, struct str key, struct fs_temp *temp,
                      struct fs_record *record, const struct store_cond *cond,
                      struct store_info *info_out, struct err *err) MUST_USE;

/* --- fs_change.c --- */

/**
 * Make a finished temporary file the object `key`, if `cond` holds, and make that durable. `record`
 * says what is in the file; it is stored and the file synced already.
 */
enum status fs_publish(struct fs_store *fs, struct str key, struct fs_temp *temp,
                       struct fs_record *record, const struct store_cond *cond,
                       struct err *err) MUST_USE;
enum status fs_remove(struct store *, struct str key, struct str if_match, struct err *);
enum status fs_copy(struct store *, struct str from, struct str to, const struct store_copy_how *,
                    struct store_info *, struct err *);

/* --- fs_read.c --- */

enum status fs_stat(struct store *, struct str key, struct store_info *, struct buf *attrs_out,
                    struct err *);
/** The record of an open object of this driver. E_CONFLICT when it was in a side file that went
 * with the object: open it again. */
enum status fs_object_record(const struct fs_store *fs, const struct store_object *base,
                             struct fs_record *out, enum fs_known *known_out,
                             struct err *err) MUST_USE;
enum status fs_open(struct store *, struct str key, struct store_object **, struct err *);

/* --- fs_seen.c: what is as it was, and the records that listings saw --- */

/** A file or folder that has not changed since. */
struct fs_mark {
    uint64_t dev, ino, size, mtime, ctime;
};
struct fs_mark fs_mark_of(const struct stat *st);
bool fs_mark_same(const struct fs_mark *a, const struct fs_mark *b);
/** The next change will be told from the last one, by its time. */
bool fs_mark_quiet(const struct stat *st);

/** Size, time, MD5 and number of parts of the record of this unchanged file, if they are
 * remembered. */
bool fs_seen_get(const struct stat *st, struct fs_record *out) MUST_USE;
/** Remember the record in the xattr of this file, if nothing speaks against it. `st` is older than
 * `record`. */
void fs_seen_put(const struct stat *st, const struct fs_record *record);

/* --- fs_folder.c: names of folders --- */

void fs_folders_init(struct fs_store *fs);
void fs_folders_done(struct fs_store *fs);

/* --- fs_list.c --- */

enum status fs_list(struct store *, const struct store_list_opts *, struct arena *,
                    struct store_list *, struct err *);

#endif
