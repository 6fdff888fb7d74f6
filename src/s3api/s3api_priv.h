/*
 * Inside the S3 API. The life of a request:
 *
 *     request.c   bucket, key, parameters from the target (and the Host)
 *     ops.c       which operation it is: one table
 *     auth.c      who sends it, and may they
 *     bucket.c    which store and prefix the bucket is
 *     body.c      bytes as they come: frames off, checksums over them
 *     object_*.c, list.c, upload*.c, bucket_*.c   the operations
 *     reply.c     errors and XML back
 */
#ifndef S3API_S3API_PRIV_H
#define S3API_S3API_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "aws/checksum.h"
#include "aws/frames.h"
#include "aws/keyring.h"
#include "aws/xml.h"
#include "base/map.h"
#include "s3api/s3api.h"
#include "store/send.h"
#include "store/upload.h"

enum {
    S3_KEY_MAX = 1024,
    S3_BUCKET_MAX = 63,
    S3_PAGE_MAX = 1000,     /* of every listing and of DeleteObjects */
    S3_BUCKETS_MAX = 10000, /* of a page of ListBuckets */
    S3_PARTS_MAX = 10000,
    S3_PART_BYTES_MIN = 5 * 1024 * 1024, /* of every part but the last */
    S3_META_BYTES_MAX = 2048,            /* names and values of x-amz-meta-* */
    S3_TAGS_MAX = 10,
    S3_XML_BYTES_MAX = 8 * 1024 * 1024, /* of a request: 1000 keys of 1024 bytes, escaped */
    S3_PARAMS_MAX = 64,
};

struct s3api {
    struct store *store;
    bool local; /* its reads wait for no network */
    struct aws_keyring *keyring;
    char *region, *domain;
    enum s3api_anonymous anonymous;
    struct s3api_folder *folders; /* names are ours */
    size_t folder_count;
    uint64_t object_bytes_max;
    int64_t started_ms;
    int64_t upload_idle_ms;
    _Atomic int64_t sweep_due_ms; /* one of those who find it past wins the work */
    struct metrics *metrics;
    const struct lake_clock *clock;
    pthread_mutex_t lock;
    struct map buckets; /* guarded by lock: name -> struct bucket_entry, for a second */
};

/** A bucket as one request sees it. Text is in the request's arena. */
struct s3api_bucket {
    struct str name;
    struct store *store;
    struct str prefix; /* of its keys in the store: "_buckets/<name>/", or "" */
    bool lake;         /* some of its keys are closed */
    bool read_only;
    bool fixed; /* not made by CreateBucket: cannot be deleted */
    int64_t created_ms;
    struct str acl;                /* canned: "private", "public-read", ... */
    struct str cors;               /* the XML as it was put; empty: none */
    struct str tags;               /* as x-amz-tagging: "a=b&c=d"; empty: none */
    char etag[STORE_ETAG_MAX + 1]; /* of its record; empty: it has none */
};

enum s3api_body_kind { S3_BODY_NONE, S3_BODY_XML, S3_BODY_DATA };
enum s3api_level { S3_SERVICE, S3_BUCKET, S3_OBJECT };

struct s3api_request;

struct s3api_op {
    const char *name; /* S3's: "PutObject" */
    enum http_method method;
    enum s3api_level level;
    const char *param;  /* the parameter that must be there; NULL: none */
    const char *header; /* the header that must be there; NULL: none */
    bool writes;
    enum s3api_body_kind body;
    /* of the request alone, before the bucket is looked for; may be NULL */
    enum status (*check)(struct s3api_request *r);
    /* before the body, DATA only: opens r->writer */
    enum status (*begin)(struct s3api_request *r);
    /* the body is there; makes the answer by s3api_reply_* or fails */
    enum status (*end)(struct s3api_request *r);
    enum aws_code refusal; /* instead of begin and end */
};

/** What is known of the body that comes, and is checked against it. */
struct s3api_body {
    struct aws_frames *frames; /* NULL: the bytes are the body */
    struct digest *sha256, *md5;
    struct aws_summer summer;
    enum aws_sum sum;     /* of summer; AWS_SUM_NONE: none is kept */
    struct str sum_given; /* base64; empty: none, or it comes in the trailer */
    bool sum_in_trailer;
    bool sum_default; /* nobody named it: it is what S3 takes then */
    /* of a part that brings another checksum than the CRC64NVME that its object will have */
    struct aws_summer whole;
    uint8_t md5_given[MD5_BYTES];
    int64_t length;                      /* decoded; -1: not known */
    uint64_t size;                       /* so far */
    char sum_text[AWS_SUM_TEXT_MAX + 1]; /* after the end */
};

/** The state of one exchange. */
struct s3api_request {
    struct s3api *api;
    struct http_req *http;
    struct arena *arena; /* of the request */
    struct err *err;
    enum aws_code code; /* of the error in *err; AWS_NONE: what its kind says */
    const struct s3api_op *op;
    bool in_place; /* on an HTTP thread, where nothing may take long */
    bool offload;  /* it would: call again on a worker */
    bool deferred; /* begins with the first bytes of its body: one hand-over less */
    bool has_bucket, has_key;
    struct str bucket_name, key; /* decoded */
    struct http_param params[S3_PARAMS_MAX];
    size_t param_count;
    struct aws_request aws;
    struct aws_auth auth;
    struct aws_signing_key signing_key;
    const struct aws_grant *grant; /* NULL: anonymous */
    struct s3api_bucket bucket;
    struct s3api_body body;
    struct buf xml_in; /* the body of S3_BODY_XML */
    struct store_writer *writer;
    struct store_cond cond;
    struct s3api_attrs *attrs; /* of a PUT, read from its head */
    struct store_send sent;    /* of a GET; its object is also that of a copy's source */
    unsigned part_number;
};

/* --- s3api.c --- */

/** The steps of every request; ctx is the struct s3api. */
extern const struct http_handler s3api_handler;

/* --- request.c --- */

enum status s3api_request_read(struct s3api_request *r) MUST_USE;
/** A parameter's value; .ptr NULL when it is not there, "" when it has none. */
struct str s3api_param(const struct s3api_request *r, const char *name);
struct str s3api_header(const struct s3api_request *r, const char *name);
/** A header that is a list and may stand several times: all of them, with commas. */
enum status s3api_header_list(struct s3api_request *r, const char *name, struct str *out) MUST_USE;
/** Percent-decoded, in the arena; what cannot be is `code`. */
enum status s3api_decode(struct s3api_request *r, struct str raw, bool plus_is_space,
                         enum aws_code code, struct str *out) MUST_USE;
/** The root element of that name of some XML; anything else is `code`. */
enum status s3api_xml_root(struct s3api_request *r, struct str xml, const char *name,
                           enum aws_code code, const struct xml_node **out) MUST_USE;
/** The key in the bucket's store, in the arena. */
enum status s3api_store_key(struct s3api_request *r, const struct s3api_bucket *bucket,
                            struct str key, struct str *out) MUST_USE;
/** A parameter that counts, 0 to max (more counts as max); `otherwise` when it is not there. */
enum status s3api_param_count(struct s3api_request *r, const char *name, uint64_t otherwise,
                              uint64_t max, uint64_t *out) MUST_USE;

/* --- ops.c --- */

/** Into r->op. AWS_METHOD_NOT_ALLOWED or AWS_NOT_IMPLEMENTED. */
enum status s3api_op_find(struct s3api_request *r) MUST_USE;

/* --- auth.c --- */

/** Who is it? r->grant, or NULL for nobody. */
enum status s3api_authenticate(struct s3api_request *r) MUST_USE;
/** May they do r->op on this key of r->bucket (or the bucket itself, with key .ptr NULL)? */
enum status s3api_authorize(struct s3api_request *r) MUST_USE;
/** Rights and closed keys for one key of a bucket, as DeleteObjects and copies need it. */
enum status s3api_may(struct s3api_request *r, const struct s3api_bucket *bucket, struct str key,
                      bool writes) MUST_USE;
/** Anonymous readers of an object whose bucket did not let them in: its own ACL decides. */
enum status s3api_may_read_object(struct s3api_request *r,
                                  const struct store_attrs *attrs) MUST_USE;
/** True when the grant reaches into the bucket. */
bool s3api_grant_sees(const struct aws_grant *grant, struct str bucket);

/* --- bucket.c --- */

/** S3's rules for names; E_INVALID. */
enum status s3api_bucket_name_check(struct str name, struct err *err) MUST_USE;
enum status s3api_bucket_find(struct s3api_request *r, struct str name,
                              struct s3api_bucket *out) MUST_USE;
/** True when finding the bucket takes no read. */
bool s3api_bucket_known(struct s3api *api, struct str name);
/** Replace the record of a bucket that was found; others may have changed it: E_CONFLICT. */
enum status s3api_bucket_save(struct s3api_request *r, const struct s3api_bucket *bucket) MUST_USE;
/** Save what differs from r->bucket; what others have changed meanwhile stays. */
enum status s3api_bucket_change(struct s3api_request *r,
                                const struct s3api_bucket *wanted) MUST_USE;
void s3api_buckets_done(struct s3api *api);
enum status s3api_list_buckets(struct s3api_request *r);
enum status s3api_create_bucket(struct s3api_request *r);
enum status s3api_head_bucket(struct s3api_request *r);
enum status s3api_delete_bucket(struct s3api_request *r);
enum status s3api_get_bucket_location(struct s3api_request *r);

/* --- bucket_config.c --- */

enum status s3api_get_bucket_acl(struct s3api_request *r);
enum status s3api_put_bucket_acl(struct s3api_request *r);
enum status s3api_get_bucket_cors(struct s3api_request *r);
enum status s3api_put_bucket_cors(struct s3api_request *r);
enum status s3api_delete_bucket_cors(struct s3api_request *r);
enum status s3api_get_bucket_tagging(struct s3api_request *r);
enum status s3api_put_bucket_tagging(struct s3api_request *r);
enum status s3api_delete_bucket_tagging(struct s3api_request *r);
enum status s3api_get_bucket_versioning(struct s3api_request *r);
enum status s3api_put_bucket_versioning(struct s3api_request *r);
enum status s3api_get_bucket_policy_status(struct s3api_request *r);
enum status s3api_get_request_payment(struct s3api_request *r);

/* --- acl.c --- */

/** The canned ACL that x-amz-acl or an XML body asks for; "private" without either. */
enum status s3api_acl_wanted(struct s3api_request *r, struct str *out) MUST_USE;
enum status s3api_reply_acl(struct s3api_request *r, struct str canned) MUST_USE;
/** True of the names of S3's canned ACLs. */
bool s3api_acl_is_canned(struct str text);
/** Does a canned ACL let everybody read (or write)? */
bool s3api_acl_public(struct str canned, bool writes);
enum status s3api_get_object_acl(struct s3api_request *r);
enum status s3api_put_object_acl(struct s3api_request *r);

/* --- cors.c --- */

enum status s3api_cors_check(struct s3api_request *r, struct str xml) MUST_USE;
/** Is it a header's name, with at most so many wildcards? */
bool s3api_cors_header_fits(struct str name, size_t stars);
/** The headers of an answer to a page's request. */
void s3api_cors_answer(struct s3api_request *r);
enum status s3api_preflight(struct s3api_request *r);

/* --- tags.c --- */

/** Checked, and as they are kept: "a=b&c=d". From a header or from XML. */
enum status s3api_tags_from_text(struct s3api_request *r, struct str text,
                                 struct str *out) MUST_USE;
enum status s3api_tags_from_xml(struct s3api_request *r, struct str *out) MUST_USE;
/** Those that are children of `set`, which may be NULL. */
enum status s3api_tags_from_set(struct s3api_request *r, const struct xml_node *set,
                                struct str *out) MUST_USE;
size_t s3api_tags_count(struct str packed);
enum status s3api_reply_tags(struct s3api_request *r, struct str packed) MUST_USE;
enum status s3api_get_object_tagging(struct s3api_request *r);
enum status s3api_put_object_tagging(struct s3api_request *r);
enum status s3api_delete_object_tagging(struct s3api_request *r);

/* --- attrs.c: what travels with an object --- */

#define S3_ATTR_TAGS "x-amz-tagging"
#define S3_ATTR_ACL "x-amz-acl"
#define S3_ATTR_SUM_TYPE "x-amz-checksum-type"
/* sizes of the parts, run by run: "3x5242880,1x77" */
#define S3_ATTR_PARTS "lakehouse-parts"
/* of a completed upload, so that a repeated Complete is known */
#define S3_ATTR_UPLOAD "lakehouse-upload"
/* of a part of an upload that was begun without a checksum: for that of the object */
#define S3_ATTR_SUM_WHOLE "lakehouse-crc64nvme"
/* of an upload that is open: "CRC32 FULL_OBJECT" */
#define S3_ATTR_SUM_WANTED "lakehouse-checksum"

/** A growing set of attributes; items and text in the request's arena. */
struct s3api_attrs {
    struct store_attr items[STORE_ATTRS_MAX];
    size_t count;
};
/** E_TOO_LARGE past the limits. An empty value removes, but for x-amz-meta-*. */
enum status s3api_attrs_set(struct s3api_request *r, struct s3api_attrs *attrs, struct str name,
                            struct str value) MUST_USE;
/** System and user metadata, tags and ACL from the request's headers. */
enum status s3api_attrs_from_headers(struct s3api_request *r, struct s3api_attrs *attrs) MUST_USE;
struct store_attrs s3api_attrs_view(const struct s3api_attrs *attrs);
/** .ptr NULL when it is not there. */
struct str s3api_attr(const struct store_attrs *attrs, const char *name);
/** The headers of a GET or HEAD but for the content type, which goes with the reply. */
enum status s3api_attrs_reply(struct s3api_request *r, const struct store_attrs *attrs,
                              bool checksums, const char **type_out) MUST_USE;
/** The body's checksum as an attribute; none where there is none. */
enum status s3api_attrs_set_sum(struct s3api_request *r, struct s3api_attrs *attrs) MUST_USE;
/** Set one attribute of r->key, or remove it by an empty value; the others stay as they are. */
enum status s3api_change_attr(struct s3api_request *r, const char *name, struct str value) MUST_USE;
/** The object's checksum; AWS_SUM_NONE: it has none. */
enum aws_sum s3api_attrs_sum(const struct store_attrs *attrs, struct str *text_out);
void s3api_sum_header(struct s3api_request *r, enum aws_sum sum, struct str text, struct str type);

/* --- body.c --- */

/** What the head of a signed request says of its body without it being looked at. */
enum status s3api_body_check(struct s3api_request *r) MUST_USE;
/** Reads the headers that say what the body must be. For XML bodies too. */
enum status s3api_body_begin(struct s3api_request *r) MUST_USE;
/** Bytes from the wire; they go to `sink`, which is the writer or the XML buffer. */
enum status s3api_body_take(struct s3api_request *r, struct str bytes) MUST_USE;
/** All there and as it was said? Then r->body.sum_text is the checksum. */
enum status s3api_body_end(struct s3api_request *r) MUST_USE;
/** More bytes under the running checksums. */
void s3api_sum_update(struct s3api_request *r, struct str bytes);
/** Ends the running checksum: into r->body.sum_text. */
void s3api_sum_text(struct s3api_request *r);
void s3api_body_done(struct s3api_request *r);

/* --- conditions.c --- */

/** An HTTP date, or one of XML ("2024-01-02T03:04:05.000Z"). */
bool s3api_time_parse(struct str text, int64_t *ms_out);
/** If-Match and If-None-Match of a write to r->key, as far as they can be told now; into
 * r->cond. */
enum status s3api_write_conditions(struct s3api_request *r, struct str store_key) MUST_USE;
/** What E_PRECONDITION of a write means: the object may be gone. */
enum status s3api_write_refused(struct s3api_request *r, struct str store_key,
                                enum status status) MUST_USE;

/* --- the operations on objects --- */

/**
 * Where part `number` of an object lies, by the runs of sizes that were kept (S3_ATTR_PARTS), and
 * how many there are. False: there is no such part, or the runs are none.
 */
bool s3api_part_place(struct str runs, uint64_t number, uint64_t *offset, uint64_t *length,
                      uint64_t *count);
enum status s3api_get_object(struct s3api_request *r);
/** partNumber, if there is one. */
enum status s3api_get_check(struct s3api_request *r);
enum status s3api_attributes_check(struct s3api_request *r);
enum status s3api_get_attributes(struct s3api_request *r);
enum status s3api_put_begin(struct s3api_request *r);
enum status s3api_put_end(struct s3api_request *r);
enum status s3api_copy_check(struct s3api_request *r);
enum status s3api_copy_object(struct s3api_request *r);
enum status s3api_delete_object(struct s3api_request *r);
enum status s3api_delete_objects(struct s3api_request *r);
enum status s3api_list_objects_v1(struct s3api_request *r);
enum status s3api_list_objects_v2(struct s3api_request *r);
enum status s3api_list_versions(struct s3api_request *r);
/** A token is the place in base64: opaque, and safe in XML whatever the key. */
enum status s3api_token_put(struct buf *xml, const char *name, struct str after) MUST_USE;
/** Into the arena; AWS_INVALID_ARGUMENT when it is none of ours. */
enum status s3api_token_read(struct s3api_request *r, struct str token, struct str *after) MUST_USE;

/* --- upload.c, upload_complete.c, upload_list.c: in parts --- */

/** E_NOT_FOUND of an upload is NoSuchUpload. */
enum status s3api_upload_failed(struct s3api_request *r, enum status status) MUST_USE;
/** The checksum that an upload was begun with, by its attributes, and its type. */
enum aws_sum s3api_upload_sum(const struct store_attrs *attrs, struct str *type_out);
enum status s3api_create_upload(struct s3api_request *r);
/** partNumber, into r->part_number. */
enum status s3api_upload_part_check(struct s3api_request *r);
enum status s3api_upload_part_begin(struct s3api_request *r);
enum status s3api_upload_part_end(struct s3api_request *r);
/** x-amz-copy-source-range of a source of `size` bytes, into r->sent. */
enum status s3api_copy_range(struct s3api_request *r, uint64_t size) MUST_USE;
enum status s3api_upload_part_copy(struct s3api_request *r);
enum status s3api_complete_upload(struct s3api_request *r);
enum status s3api_abort_upload(struct s3api_request *r);
enum status s3api_list_parts(struct s3api_request *r);
enum status s3api_list_uploads(struct s3api_request *r);

/** The source of a copy: x-amz-copy-source, checked for rights and conditions. */
struct s3api_source {
    struct s3api_bucket bucket;
    struct str store_key;
    struct store_object *object;
    struct store_info info;
    struct store_attrs attrs;
};
enum status s3api_source_open(struct s3api_request *r, struct s3api_source *out) MUST_USE;
/** Bytes of an open object into r->writer and the body's checksums. */
enum status s3api_pump(struct s3api_request *r, struct store_object *object, uint64_t offset,
                       uint64_t length) MUST_USE;

/* --- reply.c --- */

/** Sets *r->err and r->code; returns the code's kind. */
enum status s3api_err(struct s3api_request *r, enum aws_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/** The answer to a failure. */
enum http_step s3api_reply_failure(struct s3api_request *r, enum status kind);
const char *s3api_error_body(struct http_req *req, int http_status, struct buf *out);
/** The code of a failure: r->code, or what its kind is called. */
enum aws_code s3api_code_of(const struct s3api_request *r, enum status kind);
/** A whole answer of XML, taken from `xml`. */
enum status s3api_reply_xml(struct s3api_request *r, int http_status, struct buf *xml) MUST_USE;
enum status s3api_reply_empty(struct s3api_request *r, int http_status) MUST_USE;
/** `"<etag>"`, which XML and headers hold alike; room for STORE_ETAG_QUOTED. */
struct str s3api_etag_quoted(const struct store_info *info, char out[STORE_ETAG_MAX + 3]);
/** An element of a listing, percent-encoded where `encoding-type=url` was asked for. */
enum status s3api_xml_text(struct s3api_request *r, struct buf *xml, const char *name,
                           struct str text, bool encode) MUST_USE;
/** <ChecksumCRC32> or the like; nothing of AWS_SUM_NONE. */
enum status s3api_xml_sum(struct buf *xml, enum aws_sum sum, struct str text) MUST_USE;
/** A tag without its quotes, if it has them. */
struct str s3api_unquoted(struct str tag);
/** An <Owner> or the like: all objects have one owner. */
enum status s3api_xml_owner(struct buf *xml, const char *element) MUST_USE;
#define S3_OWNER "lakehouse"

#endif
