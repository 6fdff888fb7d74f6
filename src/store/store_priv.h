/*
 * What a driver implements. Arguments are already checked by store.c (keys, limits); the meanings
 * are those of store.h.
 */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "store/attrs.h"
#include "store/meter.h"
#include "store/store.h"
#include "store/upload.h"

/** How a copy is to be made: store_copy_opts, with store_set_attrs being one onto itself. */
struct store_copy_how {
    bool fresh;       /* store_copy: E_EXISTS when the target is there */
    bool keep_time;   /* of the source */
    bool attrs_new;   /* else those of the source */
    struct str attrs; /* packed */
    struct store_cond cond;
    struct str if_match;
};

/** Which upload. */
struct store_upload_ref {
    struct str key, id;
};
/** How one is to be completed. */
struct store_upload_how {
    const struct store_part_ref *parts; /* 1 to STORE_PARTS_MAX, ascending */
    size_t count;
    bool attrs_new;   /* else those of the begin */
    struct str attrs; /* packed */
    struct store_cond cond;
};

/** Uploads in parts; the writer of a part has a table of its own with the writer's functions. */
struct store_upload_ops {
    enum status (*begin)(struct store *, struct str key, struct str attrs,
                         char id_out[STORE_UPLOAD_ID_MAX + 1], struct err *);
    enum status (*part_open)(struct store *, const struct store_upload_ref *, unsigned number,
                             int64_t size, struct store_writer **, struct err *);
    /* appends the packed attributes unless `attrs_out` is NULL */
    enum status (*get)(struct store *, const struct store_upload_ref *, int64_t *started_ms_out,
                       struct buf *attrs_out, struct err *);
    enum status (*parts)(struct store *, const struct store_upload_ref *, unsigned after,
                         size_t limit, struct arena *, struct store_parts *, struct err *);
    enum status (*complete)(struct store *, const struct store_upload_ref *,
                            const struct store_upload_how *, struct store_info *, struct err *);
    enum status (*abort)(struct store *, const struct store_upload_ref *, struct err *);
    enum status (*list)(struct store *, const struct store_uploads_opts *, struct arena *,
                        struct store_uploads *, struct err *);
    /* those that have not changed since `before_ms` */
    enum status (*sweep)(struct store *, int64_t before_ms, struct store_swept *out, struct err *);
    /* the store's clock */
    int64_t (*now_ms)(const struct store *);
};

struct store_ops {
    const char *name;
    bool local;                             /* reads wait for this machine's disk at most */
    const struct store_upload_ops *uploads; /* NULL: none */
    void (*close)(struct store *store);
    void (*interrupt)(struct store *);                 /* NULL: it waits for nobody */
    void (*measure)(struct store *, struct metrics *); /* NULL: nothing of its own */
    enum status (*writer_open)(struct store *, struct str key, const struct store_cond *,
                               struct store_writer **, struct err *);
    enum status (*writer_write)(struct store_writer *, struct str bytes, struct err *);
    enum status (*writer_commit)(struct store_writer *, struct store_info *, struct err *);
    void (*writer_abort)(struct store_writer *);
    enum status (*put)(struct store *, struct str key, struct str bytes, const struct store_cond *,
                       struct store_info *, struct err *);
    enum status (*put_fd)(struct store *, struct str key, int fd, bool adopt,
                          const struct store_cond *, struct store_info *, struct err *);
    enum status (*spool)(struct store *, int *fd_out, struct err *);
    /* appends the packed attributes unless `attrs_out` is NULL */
    enum status (*stat)(struct store *, struct str key, struct store_info *, struct buf *attrs_out,
                        struct err *);
    enum status (*open)(struct store *, struct str key, struct store_object **, struct err *);
    enum status (*list)(struct store *, const struct store_list_opts *, struct arena *,
                        struct store_list *, struct err *);
    enum status (*remove)(struct store *, struct str key, struct str if_match, struct err *);
    enum status (*copy)(struct store *, struct str from, struct str to,
                        const struct store_copy_how *, struct store_info *, struct err *);
    struct str (*root_uri)(const struct store *);
    enum status (*ready)(struct store *, struct err *);
};

struct store_object_ops {
    enum status (*read)(struct store_object *, uint64_t offset, void *ptr, size_t len,
                        size_t *got_out, struct err *);
    enum status (*raw_fd)(struct store_object *, int *fd_out, struct err *); /* NULL: none */
    /* before an fd is handed out */
    enum status (*check)(struct store_object *, uint64_t offset, uint64_t length, struct err *);
    /* would check have nothing to read? NULL: it would not */
    bool (*checked)(struct store_object *, uint64_t offset, uint64_t length);
    void (*close)(struct store_object *);
};

/** First member of each driver's own struct. The meters are store.c's. */
struct store {
    const struct store_ops *ops;
    struct store_meter meter;
};
struct store_writer {
    const struct store_ops *ops;
    struct store_meter *meter;
    struct str attrs; /* packed; store.c's, the driver only reads it */
    bool attrs_late;  /* they may change until the commit, however many bytes there are */
};
struct store_object {
    const struct store_object_ops *ops;
    struct store_info info;
    struct store_meter *meter;
    struct store_attrs attrs;
    void *attrs_block; /* of attrs_unpack_block; freed by store.c */
};

/* --- what drivers share (store.c) --- */

/** E_PRECONDITION when `cond` does not hold; `current` is NULL when nothing is there. */
enum status store_cond_check(const struct store_cond *cond, struct str key,
                             const struct store_info *current, struct err *err) MUST_USE;
enum { STORE_ETAG_QUOTED = STORE_ETAG_MAX + 3 };
/** A tag in quotes, as headers have it; *quoted_out is in `text`. E_PRECONDITION: it is longer than
 * any object's. */
enum status store_etag_quote(struct str etag, char text[STORE_ETAG_QUOTED], struct str *quoted_out,
                             struct err *err) MUST_USE;
/** What a writer is to become, kept until its commit: copies, which it points to itself. */
struct store_target {
    struct str key;
    struct store_cond cond;
    char key_text[STORE_KEY_MAX];
    char if_match[STORE_ETAG_MAX + 1]; /* a tag too long for us stays so, and matches nothing */
};
void store_target_keep(struct store_target *target, struct str key, const struct store_cond *cond);
/** store_writer_attrs with packed ones that are valid. */
enum status store_writer_packed(struct store_writer *writer, struct str packed,
                                struct err *err) MUST_USE;
/** put_fd for drivers that can only stream; also where an adoption is not possible. */
enum status store_put_fd_by_writer(struct store *store, struct str key, int fd,
                                   const struct store_cond *cond, struct store_info *info_out,
                                   struct err *err) MUST_USE;

/** An unnamed file in TMPDIR, for drivers without a file system of their own. */
enum status store_spool_temp(struct store *store, int *fd_out, struct err *err) MUST_USE;

/* --- upload.c --- */

/** A fresh id: those made later are behind, in byte order. */
void store_upload_id_make(int64_t now_ms, char out[STORE_UPLOAD_ID_MAX + 1]);
enum status store_upload_not_found(const struct store_upload_ref *ref, struct err *err);
/** E_INVALID: a part has another size than was said. */
enum status store_part_size_check(unsigned number, int64_t size, uint64_t written, bool whole,
                                  struct err *err) MUST_USE;
/** E_CONFLICT unless this is the part that is wanted; `etag` NULL: there is none. */
enum status store_part_ref_check(const struct store_part_ref *part, const char *etag,
                                 struct err *err) MUST_USE;
/** True when this one is behind where a page starts, and has its prefix. */
bool store_upload_wanted(const struct store_uploads_opts *opts, struct str key, struct str id);

/* --- format.c --- */

/** Make _lake/format.json or check it, and add `uri` to its roots. `name` is for messages. */
enum status store_format_check(struct store *store, struct str uri, const char *name,
                               bool read_only, struct err *err) MUST_USE;

#endif
