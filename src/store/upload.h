/*
 * Uploads in parts: an object that comes in pieces, in any order, several at once, each of which
 * may be replaced, and that becomes one object in one step. An open upload is in no list of objects
 * (with the s3 driver its parts are below `_lake/uploads/`) and survives a restart of the process.
 *
 * Drivers fs, s3 and mem have them, and the block cache where what is behind it has; the http
 * driver answers E_UNSUPPORTED.
 *
 * Every function is safe beside the others, also on one upload: what has been completed or aborted
 * meanwhile is E_NOT_FOUND, and a part that is not committed when the upload is completed is none.
 */
#ifndef STORE_UPLOAD_H
#define STORE_UPLOAD_H

#include "store/store.h"

enum {
    STORE_PARTS_MAX = 10000,
    STORE_UPLOAD_ID_MAX = 128,
    STORE_UPLOAD_PAGE_MAX = 1000, /* of parts, and of uploads */
};

struct store_upload {
    struct str key;
    struct str id; /* 1 to 128 of [A-Za-z0-9._~-]; of one key in the order of their beginning */
    int64_t started_ms;
};

/**
 * Begin an upload. `attrs` (NULL: none) are those of the object to come. There may be any number
 * for one key.
 *
 * Returns  *id_out, in the arena
 * Errors   those of store_put; of the attributes, those of store_writer_attrs
 */
enum status store_upload_begin(struct store *store, struct str key, const struct store_attrs *attrs,
                               struct arena *arena, struct str *id_out, struct err *err) MUST_USE;

/**
 * A writer of one part: store_writer_write, store_writer_attrs (the part's own, a checksum of it),
 * and store_writer_commit, which makes it durable, in the place of one with this number if there
 * was one, and tells its size, time and ETag, the MD5 of its bytes.
 *
 * `number` is 1 to STORE_PARTS_MAX. `size` is what will be written, -1 when that is not known.
 * Where sizes are known and all but the last are equal, the fs driver writes each byte once only,
 * at its place of the whole.
 *
 * Errors   E_NOT_FOUND (upload; at the commit too), E_INVALID (number; when another size is
 *          written), E_TOO_LARGE (the s3 driver: above 5 GiB), and those of store_writer_open and
 *          store_writer_commit
 */
enum status store_part_open(struct store *store, struct str key, struct str id, unsigned number,
                            int64_t size, struct store_writer **out, struct err *err) MUST_USE;

/** E_NOT_FOUND. `*out` and `*attrs_out` (may be NULL; those of the begin) are in the arena. */
enum status store_upload_get(struct store *store, struct str key, struct str id,
                             struct arena *arena, struct store_upload *out,
                             struct store_attrs *attrs_out, struct err *err) MUST_USE;

struct store_part {
    unsigned number;
    uint64_t size;
    char etag[STORE_ETAG_MAX + 1];
    int64_t modified_ms;
    struct store_attrs attrs; /* the part's own */
};
struct store_parts {
    struct store_part *items; /* by number */
    size_t count;
    bool truncated; /* go on after the last one's number */
};
/**
 * The committed parts with a number above `after`.
 *
 * `limit` is 1 to STORE_UPLOAD_PAGE_MAX; 0: that many. E_NOT_FOUND.
 */
enum status store_upload_parts(struct store *store, struct str key, struct str id, unsigned after,
                               size_t limit, struct arena *arena, struct store_parts *out,
                               struct err *err) MUST_USE;

struct store_part_ref {
    unsigned number;
    struct str etag; /* without quotes; it must be the part's */
};
/**
 * Make one object of these parts, numbers ascending; other parts are dropped. All or nothing, and
 * durable: after a crash either the object is there or the whole upload. It replaces what is under
 * the key, unless `cond` (NULL: none) says otherwise. The upload is gone afterwards, its id is
 * forgotten: whether a call whose answer was lost has happened, the caller sees by the object.
 *
 * `attrs`  of the object; NULL: those of the begin
 * Returns  *info_out (may be NULL): the ETag is the MD5 of the parts' binary MD5s in hex, "-", and
 *          their number
 * Errors   E_INVALID   no part, too many, or not ascending; with the s3 driver, one but the last of
 *                      less than 5 MiB
 *          E_CONFLICT  a part is not there, or has another ETag (the message names it)
 *          E_NOT_FOUND (upload), E_PRECONDITION (`cond`): nothing has changed; those of store_put
 */
enum status store_upload_complete(struct store *store, struct str key, struct str id,
                                  const struct store_part_ref *parts, size_t count,
                                  const struct store_attrs *attrs, const struct store_cond *cond,
                                  struct store_info *info_out, struct err *err) MUST_USE;

/** Drop the upload and its parts, also one that cannot be read (E_CORRUPT elsewhere). Durable.
 * E_NOT_FOUND. */
enum status store_upload_abort(struct store *store, struct str key, struct str id,
                               struct err *err) MUST_USE;

struct store_uploads_opts {
    struct str prefix; /* of the key */
    /* behind this key, or behind this id of this key when `after_id` is not empty */
    struct str after_key, after_id;
    size_t limit; /* at most STORE_UPLOAD_PAGE_MAX; 0: that many */
};
struct store_uploads {
    struct store_upload *items; /* by key, then id, in byte order */
    size_t count;
    bool truncated; /* go on after the last one's key and id */
    /* of all, not of this page: those that cannot be read, not even whose they are, and what is
     * wrong with the first one */
    size_t unreadable;
    struct str why;
};
/** Open uploads. `opts` may be NULL. */
enum status store_upload_list(struct store *store, const struct store_uploads_opts *opts,
                              struct arena *arena, struct store_uploads *out,
                              struct err *err) MUST_USE;

struct store_swept {
    size_t dropped;
    size_t unreadable; /* left alone, for nobody knows what they are */
    struct err why;    /* of the first of those */
};
/**
 * Drop the uploads in which nothing has happened for `idle_ms`, by the store's clock: neither their
 * begin nor a part's commit. A part that is being written then is refused at its commit.
 *
 * Returns  *out (may be NULL), also after a failure
 */
enum status store_uploads_sweep(struct store *store, int64_t idle_ms, struct store_swept *out,
                                struct err *err) MUST_USE;

#endif
