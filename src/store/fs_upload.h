/*
 * Uploads in parts of the file driver. One lies in `_lake/uploads/<id>/`:
 *
 *      journal    what is known of it (fs_journal.h); the upload is there as long as this file is
 *      data       the object to come: parts whose size is known are written at their place
 *      p<n>-<x>   a part that could not have a place there
 *      object     made by a complete that cannot use `data`
 *
 * What a process knows of a journal is kept in struct fs_upload while it is in use, and a little
 * longer. An operation enters the upload: it has the struct's lock among threads and the journal's
 * file lock among processes, and reads what others appended meanwhile.
 */
#ifndef STORE_FS_UPLOAD_H
#define STORE_FS_UPLOAD_H

#include "store/fs_journal.h"
#include "store/fs_priv.h"

#define FS_UPLOAD_DATA "data"
#define FS_UPLOAD_OBJECT "object"
#define FS_UPLOAD_JOURNAL "journal"

struct fs_part {
    unsigned number;
    bool there; /* else it was only given a place */
    uint64_t offset, size;
    uint64_t spill; /* of its own file, or 0: in `data` */
    int64_t modified_ns;
    uint8_t md5[MD5_BYTES];
    struct fs_journal record_at; /* where its record starts */
    uint32_t record_len;
};

/* A writer of this process at a place in `data`: a complete ends its writing. */
struct fs_slot {
    struct fs_slot *next; /* guarded by the upload's lock */
    pthread_mutex_t lock; /* held while it writes; taken after the upload's */
    int fd;               /* has the lock of the place */
    bool ended;           /* written under both locks, read under one of them */
};

struct fs_upload {
    struct fs_upload *next; /* guarded by fs->uploads_lock */
    unsigned refs;          /* guarded by fs->uploads_lock */
    char id[STORE_UPLOAD_ID_MAX + 1];
    pthread_mutex_t lock; /* one operation at a time; the rest is guarded by it */
    struct fs_journal journal;
    size_t key_len;
    char key[STORE_KEY_MAX];
    uint32_t begin_len; /* of the first record */
    int64_t started_ns, changed_ns;
    uint64_t size_max;     /* of a part */
    struct fs_part *parts; /* by number */
    size_t count, cap;
    struct fs_slot *slots;
};

/* --- fs_upload.c: one upload --- */

/* An upload that is entered. */
struct fs_entered {
    struct fs_store *fs;
    struct fs_upload *upload;
    int dir_fd, journal_fd;
};
#define FS_ENTERED_NONE ((struct fs_entered){ .dir_fd = -1, .journal_fd = -1 })

enum fs_enter {
    FS_ENTER_READ,
    /* with the journal's lock among processes; what an interrupted complete left is ended */
    FS_ENTER_CHANGE,
    FS_ENTER_IDLE, /* the same, but only if nobody is in it */
};

/**
 * E_NOT_FOUND when it is not there, or `ref->key` is not its key (empty: any). E_UNAVAILABLE when
 * others are in it, for 30 s or (FS_ENTER_IDLE) now.
 */
enum status fs_upload_enter(struct fs_store *fs, const struct store_upload_ref *ref,
                            enum fs_enter how, struct fs_entered *out, struct err *err) MUST_USE;
void fs_upload_leave(struct fs_entered *in);
/** Another reference to an upload that is entered. */
struct fs_upload *fs_upload_ref(struct fs_entered *entered);
void fs_upload_unref(struct fs_store *fs, struct fs_upload *upload);
/** Append one record; durable when `sync`. Then the failure leaves the outcome unknown. */
enum status fs_upload_append(struct fs_entered *in, const struct fs_entry *entry, bool sync,
                             struct err *err) MUST_USE;
/** The bytes of a record, appended to `out`, and decoded. */
enum status fs_upload_record(const struct fs_entered *in, struct fs_journal at, uint32_t len,
                             struct buf *out, struct fs_entry *entry_out, struct err *err) MUST_USE;
/** NULL when there is none of this number. */
struct fs_part *fs_upload_part(const struct fs_upload *upload, unsigned number);
/** Delete it: durable once the journal has gone. */
enum status fs_upload_remove(struct fs_entered *in, struct err *err) MUST_USE;
/** Delete what there is of one that nobody can know yet, or that has no journal any more. */
void fs_upload_discard(struct fs_store *fs, const char *id);
void fs_upload_temp_name(const char *id, char out[64]);
void fs_spill_name(unsigned number, uint64_t spill, char out[64]);

extern const struct store_upload_ops fs_upload_ops;
void fs_uploads_init(struct fs_store *fs);
void fs_uploads_done(struct fs_store *fs);

/* --- fs_upload_list.c: all of them --- */

enum status fs_upload_list(struct store *, const struct store_uploads_opts *, struct arena *,
                           struct store_uploads *, struct err *);
enum status fs_upload_sweep(struct store *, int64_t before_ms, struct store_swept *out,
                            struct err *);
/** At the start: end the completes that were interrupted, delete what no upload needs. */
enum status fs_uploads_recover(struct fs_store *fs, struct err *err) MUST_USE;

/* --- fs_part.c --- */

enum status fs_part_open(struct store *, const struct store_upload_ref *, unsigned number,
                         int64_t size, struct store_writer **, struct err *);
/** Lock a piece of `data` (len 0: all of it) for this descriptor; false: somebody has it. */
bool fs_slot_lock(const struct fs_store *fs, int fd, uint64_t offset, uint64_t len, short type);

/* --- fs_complete.c --- */

enum status fs_upload_complete(struct store *, const struct store_upload_ref *,
                               const struct store_upload_how *, struct store_info *, struct err *);

#endif
