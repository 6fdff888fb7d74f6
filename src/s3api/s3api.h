/*
 * The S3 API: our objects for every client that speaks to Amazon's.
 *
 * Buckets are prefixes of one store: `lake` is the lake itself (`_lake/` and `_buckets/` are
 * closed, `wh/` belongs to the tables), every other one lies below `_buckets/<name>/`, and a folder
 * that somebody already has may be served under a name. What S3 knows of a bucket besides its
 * objects is one small object, `_lake/s3/<name>.json` (docs/formats/s3-buckets.md).
 *
 * Threads  everything here may be called from many
 */
#ifndef S3API_S3API_H
#define S3API_S3API_H

#include "base/clock.h"
#include "http/server.h"
#include "store/store.h"

struct aws_grant;
struct s3api;

/** The bucket that is the lake itself. */
#define S3API_LAKE "lake"

/** Who may come without a signature. */
enum s3api_anonymous {
    S3API_ANONYMOUS_NO,   /* nobody */
    S3API_ANONYMOUS_ACL,  /* reads, where the ACL of a bucket or an object is public-read */
    S3API_ANONYMOUS_READ, /* reads, everywhere */
};

/** A folder that is served as a bucket. */
struct s3api_folder {
    const char *name;
    struct store *store; /* of this folder; the caller's */
    bool read_only;
};

struct s3api_opts {
    struct store *store;
    const struct aws_grant *grants;
    size_t grant_count;
    /* keys that it lends are taken, too (aws/vended.h); empty: none are */
    struct str cluster_secret;
    const char *region; /* requests may name any; this is what GetBucketLocation says */
    enum s3api_anonymous anonymous;
    const char *domain; /* also take `bucket.domain` as Host; NULL or "": paths only */
    const struct s3api_folder *folders;
    size_t folder_count;
    uint64_t object_bytes_max; /* of one PUT or part; 0: S3's 5 GiB */
    int64_t upload_idle_ms;    /* an upload that nobody goes on with is dropped; 0: 7 days */
    struct metrics *metrics;
    const struct lake_clock *clock; /* NULL: the machine's */
};

/** Copies the texts. Errors: E_INVALID names the setting. */
enum status s3api_new(const struct s3api_opts *opts, struct s3api **out, struct err *err) MUST_USE;
void s3api_free(struct s3api *api);
/** What a server must be told before http_server_new. */
void s3api_edge(struct http_server_opts *opts);
/** All of S3's paths; nothing else fits on this server but /health and its kin. */
enum status s3api_mount(struct s3api *api, struct http_server *server, struct err *err) MUST_USE;

#endif
