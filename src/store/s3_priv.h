/*
 * The S3 driver's own header. s3.c has the map of its parts.
 */
#ifndef STORE_S3_PRIV_H
#define STORE_S3_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "aws/code.h"
#include "aws/credentials.h"
#include "base/rng.h"
#include "http/client.h"
#include "store/s3_lease.h"
#include "store/store_priv.h"

enum {
    S3_PART_BYTES = 16 * 1024 * 1024, /* of an upload in parts; also how much a writer buffers */
    S3_PARTS_MAX = 10000,             /* S3's */
    S3_UPLOAD_THREADS = 4,            /* parts of one file that travel at a time; chosen */
    S3_PLACES = 16,                   /* listings that may go on where they stopped; chosen */
    S3_LIST_MAX = 1000,               /* S3's */
    S3_TARGET_BYTES_MAX = 16 * 1024,
};

struct s3_store {
    struct store base;
    struct http_client *client;
    struct aws_credentials *credentials;
    const struct lake_clock *clock;
    char *endpoint; /* as set, for messages */
    char *host;     /* the Host header */
    char *bucket;
    char *path;   /* "/bucket" in path style, "" in virtual-host style */
    char *prefix; /* "" or "a/b/" */
    char *region;
    char *ca_file; /* "": the system's */
    char *uri;     /* "s3://bucket/a/b" */
    int64_t retry_ms;
    struct s3_lease *lease; /* NULL: conditions hold by the store */
    bool read_only;
    /* Do deletes under a condition hold? Of s3_change.c; relaxed, for asking twice does no harm. */
    _Atomic int deletes_if;
    bool hides;           /* keeps "a/b" beside "a" and does not list it; set before `checked` */
    _Atomic bool checked; /* format and conditions; published with release */
    pthread_mutex_t places_lock;
    struct s3_place {
        char *name, *token;
    } places[S3_PLACES];    /* of s3_list.c; guarded by places_lock */
    unsigned place_next;    /* guarded by places_lock */
    char id[UUID_TEXT + 1]; /* of this store, among all that share the bucket */
    pthread_mutex_t turns_lock;
    pthread_cond_t turns_changed; /* waits by the monotonic clock */
    struct s3_turn {
        struct str id;
        struct s3_turn *next;
    } *turns; /* of s3_ending.c: uploads that are being ended; guarded by turns_lock */
    pthread_mutex_t stop_lock;
    pthread_cond_t stop_wake; /* waits by the monotonic clock */
    _Atomic bool interrupted; /* set under stop_lock; read without it, relaxed, as a hint */
    pthread_mutex_t lock;     /* recursive: the check itself writes */
    bool checking;            /* guarded by lock */
    enum status refused;      /* the check has failed for good; guarded by lock */
    struct err why;           /* guarded by lock */
};

/** One S3 operation. Zero is: a GET of the bucket. */
struct s3_request {
    enum http_method method;
    struct str key;   /* of the store, without the prefix; .ptr NULL: the bucket itself */
    struct str query; /* encoded, without '?' */
    struct http_header headers[12];
    size_t header_count;
    const struct http_header *more; /* of a write's attributes */
    size_t more_count;
    struct str body; /* or, with from_fd, `length` bytes of fd from `offset` on */
    bool from_fd;
    int fd;
    uint64_t offset, length;
    /* where the answer's body goes, if it is not an error; else it is collected in answer->body */
    char *into;
    size_t into_cap;
    size_t *into_len;
    /* a success may still hold an error in its body, and has no ETag in its head */
    bool body_tells;
    /* may be sent again when nobody knows whether it arrived */
    bool repeatable;
    deadline_ms deadline; /* of all tries; 0: the store's */
    int64_t try_ms;       /* of one; 0: by its size */
};

/* --- s3.c --- */

/** One that waits by the monotonic clock. */
void s3_cond_init(pthread_cond_t *cond);

/** Before each write: E_DENIED when read-only, and the check's failure until it has passed once. */
enum status s3_may_write(struct s3_store *s3, struct err *err) MUST_USE;
/** The same for making the object `key`: E_INVALID where the store would keep and not list it. */
enum status s3_may_make(struct s3_store *s3, struct str key, struct err *err) MUST_USE;

/* --- s3_call.c --- */

/**
 * Sign, send, and send again what may be repeated while the store is busy or away.
 *
 * Returns  OK with any HTTP status below 500; look at answer->status
 * Errors   E_UPSTREAM and E_TIMEOUT: whether it was done is not known. E_UNAVAILABLE: it was not
 *          (never reached, or told to slow down until the deadline). E_AUTH: no credentials
 * Owns     the caller runs http_answer_done, also after a failure
 */
enum status s3_call(struct s3_store *s3, const struct s3_request *request,
                    struct http_answer *answer, struct err *err) MUST_USE;
/** The same, and an answer that is no success becomes the error that it tells. */
enum status s3_call_ok(struct s3_store *s3, const struct s3_request *request,
                       struct http_answer *answer, struct err *err) MUST_USE;
/** What S3 says with an error status: the code, and a message that names the setting to look at. */
enum status s3_failed(struct s3_store *s3, const struct s3_request *request,
                      const struct http_answer *answer, struct err *err);
/** The code in an error's body, or what its status means without one. AWS_NONE: a success without
 * an error inside. */
enum aws_code s3_code(const struct http_answer *answer);
/** Wait before the next try: longer each time, by chance, never past the deadline. False when there
 * is no time left, or the store was interrupted. */
bool s3_pause(struct s3_store *s3, unsigned tries, deadline_ms deadline);
bool s3_interrupted(const struct s3_store *s3);

void s3_header(struct s3_request *request, struct str name, struct str value);
/** A tag from a header or XML, without quotes and the mark of a weak one; false when it is empty or
 * too long. */
bool s3_etag_read(struct str text, char out[STORE_ETAG_MAX + 1]) MUST_USE;
/** Size, ETag and time from the headers of a HEAD or GET. */
enum status s3_info(const struct http_answer *answer, struct store_info *out,
                    struct err *err) MUST_USE;

/* --- s3_write.c --- */

enum { S3_WRITE_ID = UUID_TEXT };

/** A write that can be recognised: its id travels as metadata of the object. */
struct s3_write {
    struct str key;
    const struct store_cond *cond;
    char id[S3_WRITE_ID + 1];
    char match[STORE_ETAG_QUOTED];
    const struct http_header *attrs; /* of s3_write_attrs; none without it */
    size_t attr_count;
    struct arena *attrs_arena;
};
void s3_write_init(struct s3_write *write, struct str key, const struct store_cond *cond);
/** If-None-Match or If-Match, where the write has a condition. E_PRECONDITION: it can never
 * hold. */
enum status s3_write_condition(struct s3_write *write, struct s3_request *request,
                               struct err *err) MUST_USE;
/** Its id, and what it is to carry. */
void s3_write_mark(const struct s3_write *write, struct s3_request *request);
/**
 * Send `request` until it is known what became of it: a lost answer is looked up by the write's id.
 *
 * Errors   E_PRECONDITION; E_UPSTREAM or E_TIMEOUT when the store is away for so long that it stays
 *          unknown
 */
enum status s3_write_send(struct s3_store *s3, struct s3_write *write, struct s3_request *request,
                          uint64_t size, struct store_info *info_out, struct err *err) MUST_USE;

/** Is what lies under `key` now what the write of this id wrote? E_UPSTREAM and its kin: not
 * known. */
enum status s3_write_landed(struct s3_store *s3, struct str key, struct str write_id, bool *out,
                            struct err *err) MUST_USE;

/** A whole object that is in memory. */
enum status s3_write_bytes(struct s3_store *s3, struct s3_write *write, struct str bytes,
                           struct store_info *info_out, struct err *err) MUST_USE;
/** What the object is to carry, as headers in the arena, which must live as long as the write.
 * E_TOO_LARGE: more than S3 keeps. */
enum status s3_write_attrs(struct s3_write *write, struct str packed, struct arena *arena,
                           struct err *err) MUST_USE;
/** Append the packed attributes that an answer to HEAD or GET tells. */
enum status s3_attrs_read(const struct http_answer *answer, struct buf *out,
                          struct err *err) MUST_USE;

enum status s3_put(struct store *, struct str key, struct str bytes, const struct store_cond *,
                   struct store_info *, struct err *);
enum status s3_put_fd(struct store *, struct str key, int fd, bool adopt, const struct store_cond *,
                      struct store_info *, struct err *);
enum status s3_writer_open(struct store *, struct str key, const struct store_cond *,
                           struct store_writer **, struct err *);
enum status s3_writer_write(struct store_writer *, struct str bytes, struct err *);
enum status s3_writer_commit(struct store_writer *, struct store_info *, struct err *);
void s3_writer_abort(struct store_writer *);
/** Another key than that of the open, which outlives the writer. Only with late attributes. */
void s3_writer_name(struct store_writer *, struct str key);

/* --- s3_change.c --- */

enum status s3_remove(struct store *, struct str key, struct str if_match, struct err *);
enum status s3_copy(struct store *, struct str from, struct str to, const struct store_copy_how *,
                    struct store_info *, struct err *);
/** "/bucket/key", encoded, as x-amz-copy-source has it. */
enum status s3_copy_source(const struct s3_store *s3, struct str key, struct buf *out,
                           struct err *err) MUST_USE;
/** Delete these, unconditionally, by few requests. What fails is not told. */
void s3_remove_all(struct s3_store *s3, const struct str *keys, size_t count);

/* --- s3_upload.c: in parts --- */

struct s3_upload {
    struct s3_store *s3;
    struct s3_write *write;
    struct arena arena;
    struct str id;    /* S3's, encoded for a query */
    struct buf parts; /* the XML of what is there so far, in order */
    unsigned count;
    uint64_t size;
};
/** The object's attributes are those that `write` has now. */
enum status s3_upload_begin(struct s3_store *s3, struct s3_write *write, struct s3_upload *out,
                            struct err *err) MUST_USE;
/** The next part, from memory. */
enum status s3_upload_part(struct s3_upload *upload, struct str bytes, struct err *err) MUST_USE;
/** All of an open file, several parts at a time. */
enum status s3_upload_file(struct s3_upload *upload, int fd, uint64_t size,
                           struct err *err) MUST_USE;
enum status s3_upload_copy(struct s3_upload *upload, struct str from, const char *etag,
                           uint64_t size, struct err *err) MUST_USE;
/** A part of it that another object holds whole. */
struct s3_join_part {
    struct str name;
    const char *etag;
    uint64_t size;
};
/** All of it: copies that the store makes by itself, several at a time. E_CONFLICT: one is gone. */
enum status s3_upload_join(struct s3_upload *upload, const struct s3_join_part *parts, size_t count,
                           struct err *err) MUST_USE;
/** Make it the object. After a failure it is still to be aborted. */
enum status s3_upload_complete(struct s3_upload *upload, struct store_info *info_out,
                               struct err *err) MUST_USE;
/** Frees it; what was not completed is removed from the store. */
void s3_upload_end(struct s3_upload *upload, bool completed);
/**
 * End an upload that anybody has begun, by its id as a query has it; OK when there is none. After
 * it that upload never becomes an object; it may have done so before.
 *
 * Returns  *there_out (NULL: not asked): it was there, so it had not
 */
enum status s3_upload_drop(struct s3_store *s3, struct str key, struct str id, bool *there_out,
                           struct err *err) MUST_USE;

/* --- s3_read.c --- */

enum status s3_stat(struct store *, struct str key, struct store_info *, struct buf *attrs_out,
                    struct err *);
enum status s3_open(struct store *, struct str key, struct store_object **, struct err *);
/** All of one version, at most `bytes_max`. E_CONFLICT: there is another one now. */
enum status s3_read_version(struct s3_store *s3, struct str key, const struct store_info *version,
                            struct buf *out, struct err *err) MUST_USE;

/* --- s3_list.c --- */

enum status s3_list(struct store *, const struct store_list_opts *, struct arena *,
                    struct store_list *, struct err *);

/* --- s3_probe.c --- */

/** Do conditions hold here? E_UNSUPPORTED says what went wrong. Sets s3->hides. */
enum status s3_probe(struct s3_store *s3, struct err *err) MUST_USE;

#endif
