/*
 * Uploads in parts by clients of the store (store/upload.h), in a bucket. Not to be mixed up with
 * s3_upload.c, which is how one object is sent to the bucket in several requests.
 *
 *      _lake/uploads/open/<id>.<key>       the record of an open upload (s3_record, below)
 *      _lake/uploads/parts/<id>/<part>     a part: an object of its own
 *
 * docs/formats/s3-uploads.md has both. S3's own uploads cannot carry these: they take the object's
 * attributes when they begin, and here they come at the end; parts have no attributes there; and
 * MinIO lists only the uploads of one key.
 *
 * A complete makes an upload of S3's with the final attributes, into which the bucket copies the
 * parts by itself. Before that it notes in the record which upload of S3's it is, and which id the
 * object will carry; and before it asks S3 to complete it, that it does. So whoever finds a record
 * in such a state, after a crash or beside another process, can settle it: s3_settle.c.
 */
#ifndef STORE_S3_PARTS_H
#define STORE_S3_PARTS_H

#include "base/digest.h"
#include "store/s3_priv.h"

enum { S3_PART_NAME_MAX = 255, S3_RECORD_NAME_MAX = 256 };

enum s3_record_state {
    S3_RECORD_OPEN,
    S3_RECORD_COPYING,    /* a complete is under way, or was when its process died */
    S3_RECORD_COMMITTING, /* and may have asked S3 to make the object */
    S3_RECORD_SETTLING,   /* and somebody finds out what became of that */
    S3_RECORD_ENDED,      /* nothing is to be found here any more; an empty object */
};

/** What lies under _lake/uploads/open. */
struct s3_record {
    enum s3_record_state state;
    struct str key, attrs; /* packed */
    struct str write_id;   /* neither OPEN nor ENDED: what the object will carry */
    struct str upload_id;  /* the same: S3's, encoded for a query */
    struct str by;         /* SETTLING: which store, and a number, for no two are to be equal */
    char etag[STORE_ETAG_MAX + 1];
};

/** A committed part. */
struct s3_part {
    unsigned number;
    uint64_t size;
    int64_t modified_ms;
    struct str name; /* the whole key */
    char md5[MD5_HEX + 1];
    char etag[STORE_ETAG_MAX + 1]; /* of the object that holds it */
    bool attrs_apart;              /* they are the object's, and not in its name */
    struct str attrs;              /* packed */
};

/** Is that what reading a record says that is damaged, or of a newer version? */
bool s3_record_unreadable(enum status status);
/** "_lake/uploads/open/..." in `out`. E_NOT_FOUND: it is no id of ours. */
enum status s3_record_name(const struct store_upload_ref *ref, char out[S3_RECORD_NAME_MAX + 1],
                           struct err *err) MUST_USE;
/** What the object under `name` holds. Into the arena. */
enum status s3_record_take(struct store_object *object, struct str name, struct arena *arena,
                           struct s3_record *out, struct err *err) MUST_USE;
/** As it lies there. E_NOT_FOUND. Into the arena. */
enum status s3_record_read(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct arena *arena, struct s3_record *out, struct err *err) MUST_USE;
/** E_PRECONDITION: somebody else has changed it. Sets the record's ETag. */
enum status s3_record_write(struct s3_store *s3, const struct store_upload_ref *ref,
                            struct s3_record *record, const struct store_cond *cond,
                            struct err *err) MUST_USE;
/** That of an upload that is open: E_NOT_FOUND also when it is ended, or has become the object. */
enum status s3_record_live(struct s3_store *s3, const struct store_upload_ref *ref,
                           struct arena *arena, struct s3_record *out, struct err *err) MUST_USE;

/** The upload that an object of S3_OPEN_PREFIX is the record of; its key may have to be read. OK
 * with an empty id: none. */
enum status s3_upload_of(struct s3_store *s3, const struct store_info *info, struct arena *arena,
                         struct store_upload *out, struct err *err) MUST_USE;

/** The last committed ones of each number above `after`, at most `limit`, into the arena. */
enum status s3_parts_scan(struct s3_store *s3, struct str id, unsigned after, size_t limit,
                          struct arena *arena, struct s3_part **out, size_t *count_out,
                          bool *more_out, struct err *err) MUST_USE;
/** Delete all parts that have not changed since `before_ms`. What cannot be deleted is the next
 * sweep's. */
void s3_parts_drop(struct s3_store *s3, struct str id, int64_t before_ms);

/* --- s3_uploads.c --- */

enum status s3_uploads_list(struct store *, const struct store_uploads_opts *, struct arena *,
                            struct store_uploads *, struct err *);
/** Where the next page starts, copied: the page's arena may go. */
struct str s3_page_end(const struct store_list *page, char text[STORE_KEY_MAX]);

/* --- s3_settle.c --- */

/** The record as it was read becomes `next`. E_PRECONDITION: another process was faster. */
enum status s3_record_swap(struct s3_store *s3, const struct store_upload_ref *ref,
                           const struct s3_record *record, struct s3_record *next,
                           struct err *err) MUST_USE;
/**
 * The record of an upload that is OPEN, after what became of an earlier complete was found out;
 * that of another process that is still at it is broken off. With a `write_id` only the complete of
 * that id is looked at, and `out` is not set when the record has another one, or none.
 *
 * Errors   E_NOT_FOUND: there is none, or it was completed or aborted, and what was left is cleared
 */
enum status s3_upload_settle(struct s3_store *s3, const struct store_upload_ref *ref,
                             struct str write_id, struct arena *arena, struct s3_record *out,
                             struct err *err) MUST_USE;
/** Remove the parts and the record of an upload that is none any more. What stays is the
 * sweep's. */
void s3_upload_clear(struct s3_store *s3, const struct store_upload_ref *ref);

/* --- s3_ending.c --- */

void s3_turns_init(struct s3_store *s3);
/** Whoever waits for his turn looks whether the store was interrupted. */
void s3_turns_wake(struct s3_store *s3);
enum status s3_parts_complete(struct store *, const struct store_upload_ref *,
                              const struct store_upload_how *, struct store_info *, struct err *);
enum status s3_parts_abort(struct store *, const struct store_upload_ref *, struct err *);
/** An abort that nobody asked for: E_CORRUPT where the record cannot be read. */
enum status s3_parts_drop_idle(struct s3_store *s3, const struct store_upload_ref *ref,
                               struct err *err) MUST_USE;

/* --- s3_sweep.c --- */

enum status s3_parts_sweep(struct store *, int64_t before_ms, struct store_swept *, struct err *);

#define S3_OPEN_PREFIX "_lake/uploads/open/"
#define S3_PARTS_PREFIX "_lake/uploads/parts/"

extern const struct store_upload_ops s3_parts_ops;

#endif
