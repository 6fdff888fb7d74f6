/*
 * Which operation a request is: the first line of the table whose method and level fit and whose
 * parameter and header are there. What S3 has and we have not stands here too, so that nobody gets
 * a wrong success from a line further down.
 */
#include "s3api/s3api_priv.h"

#define GET HTTP_GET
#define PUT HTTP_PUT
#define POST HTTP_POST
#define DELETE HTTP_DELETE

/* name, method, level, parameter, what it needs */
#define REFUSED(name_, method_, level_, param_, code_)                                             \
    { .name = name_, .method = method_, .level = level_, .param = param_, .refusal = code_ }

static const struct s3api_op ops[] = {
    { .name = "Preflight", .method = HTTP_OPTIONS, .level = S3_BUCKET, .end = s3api_preflight },
    { .name = "Preflight", .method = HTTP_OPTIONS, .level = S3_OBJECT, .end = s3api_preflight },

    { .name = "ListBuckets", .method = GET, .level = S3_SERVICE, .end = s3api_list_buckets },

    { .name = "GetBucketLocation",
      .method = GET,
      .level = S3_BUCKET,
      .param = "location",
      .end = s3api_get_bucket_location },
    { .name = "GetBucketAcl",
      .method = GET,
      .level = S3_BUCKET,
      .param = "acl",
      .end = s3api_get_bucket_acl },
    { .name = "GetBucketCors",
      .method = GET,
      .level = S3_BUCKET,
      .param = "cors",
      .end = s3api_get_bucket_cors },
    { .name = "GetBucketTagging",
      .method = GET,
      .level = S3_BUCKET,
      .param = "tagging",
      .end = s3api_get_bucket_tagging },
    { .name = "GetBucketVersioning",
      .method = GET,
      .level = S3_BUCKET,
      .param = "versioning",
      .end = s3api_get_bucket_versioning },
    { .name = "GetBucketPolicyStatus",
      .method = GET,
      .level = S3_BUCKET,
      .param = "policyStatus",
      .end = s3api_get_bucket_policy_status },
    { .name = "GetBucketRequestPayment",
      .method = GET,
      .level = S3_BUCKET,
      .param = "requestPayment",
      .end = s3api_get_request_payment },
    { .name = "ListMultipartUploads",
      .method = GET,
      .level = S3_BUCKET,
      .param = "uploads",
      .end = s3api_list_uploads },
    { .name = "ListObjectVersions",
      .method = GET,
      .level = S3_BUCKET,
      .param = "versions",
      .end = s3api_list_versions },
    REFUSED("GetBucketPolicy", GET, S3_BUCKET, "policy", AWS_NO_SUCH_BUCKET_POLICY),
    REFUSED("GetBucketLifecycleConfiguration", GET, S3_BUCKET, "lifecycle",
            AWS_NO_SUCH_LIFECYCLE_CONFIGURATION),
    REFUSED("GetObjectLockConfiguration", GET, S3_BUCKET, "object-lock",
            AWS_OBJECT_LOCK_CONFIGURATION_NOT_FOUND),
    REFUSED("GetBucketEncryption", GET, S3_BUCKET, "encryption", AWS_ENCRYPTION_NOT_FOUND),
    REFUSED("GetBucketWebsite", GET, S3_BUCKET, "website", AWS_NO_SUCH_WEBSITE_CONFIGURATION),
    REFUSED("GetBucketReplication", GET, S3_BUCKET, "replication",
            AWS_REPLICATION_CONFIGURATION_NOT_FOUND),
    REFUSED("GetPublicAccessBlock", GET, S3_BUCKET, "publicAccessBlock",
            AWS_NO_SUCH_PUBLIC_ACCESS_BLOCK),
    REFUSED("GetBucketOwnershipControls", GET, S3_BUCKET, "ownershipControls",
            AWS_OWNERSHIP_CONTROLS_NOT_FOUND),
    { .name = "ListObjectsV2",
      .method = GET,
      .level = S3_BUCKET,
      .param = "list-type",
      .end = s3api_list_objects_v2 },

    { .name = "PutBucketAcl",
      .method = PUT,
      .level = S3_BUCKET,
      .param = "acl",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_bucket_acl },
    { .name = "PutBucketCors",
      .method = PUT,
      .level = S3_BUCKET,
      .param = "cors",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_bucket_cors },
    { .name = "PutBucketTagging",
      .method = PUT,
      .level = S3_BUCKET,
      .param = "tagging",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_bucket_tagging },
    { .name = "PutBucketVersioning",
      .method = PUT,
      .level = S3_BUCKET,
      .param = "versioning",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_bucket_versioning },
    { .name = "DeleteBucketCors",
      .method = DELETE,
      .level = S3_BUCKET,
      .param = "cors",
      .writes = true,
      .end = s3api_delete_bucket_cors },
    { .name = "DeleteBucketTagging",
      .method = DELETE,
      .level = S3_BUCKET,
      .param = "tagging",
      .writes = true,
      .end = s3api_delete_bucket_tagging },
    { .name = "DeleteObjects",
      .method = POST,
      .level = S3_BUCKET,
      .param = "delete",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_delete_objects },

    { .name = "GetObjectAcl",
      .method = GET,
      .level = S3_OBJECT,
      .param = "acl",
      .end = s3api_get_object_acl },
    { .name = "GetObjectTagging",
      .method = GET,
      .level = S3_OBJECT,
      .param = "tagging",
      .end = s3api_get_object_tagging },
    { .name = "GetObjectAttributes",
      .method = GET,
      .level = S3_OBJECT,
      .param = "attributes",
      .check = s3api_attributes_check,
      .end = s3api_get_attributes },
    { .name = "ListParts",
      .method = GET,
      .level = S3_OBJECT,
      .param = "uploadId",
      .end = s3api_list_parts },
    { .name = "PutObjectAcl",
      .method = PUT,
      .level = S3_OBJECT,
      .param = "acl",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_object_acl },
    { .name = "PutObjectTagging",
      .method = PUT,
      .level = S3_OBJECT,
      .param = "tagging",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_put_object_tagging },
    { .name = "DeleteObjectTagging",
      .method = DELETE,
      .level = S3_OBJECT,
      .param = "tagging",
      .writes = true,
      .end = s3api_delete_object_tagging },
    { .name = "UploadPartCopy",
      .method = PUT,
      .level = S3_OBJECT,
      .param = "uploadId",
      .header = "x-amz-copy-source",
      .writes = true,
      .check = s3api_upload_part_check,
      .end = s3api_upload_part_copy },
    { .name = "UploadPart",
      .method = PUT,
      .level = S3_OBJECT,
      .param = "uploadId",
      .writes = true,
      .body = S3_BODY_DATA,
      .check = s3api_upload_part_check,
      .begin = s3api_upload_part_begin,
      .end = s3api_upload_part_end },
    { .name = "CreateMultipartUpload",
      .method = POST,
      .level = S3_OBJECT,
      .param = "uploads",
      .writes = true,
      .end = s3api_create_upload },
    { .name = "CompleteMultipartUpload",
      .method = POST,
      .level = S3_OBJECT,
      .param = "uploadId",
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_complete_upload },
    { .name = "AbortMultipartUpload",
      .method = DELETE,
      .level = S3_OBJECT,
      .param = "uploadId",
      .writes = true,
      .end = s3api_abort_upload },
    REFUSED("GetObjectRetention", GET, S3_OBJECT, "retention",
            AWS_NO_SUCH_OBJECT_LOCK_CONFIGURATION),
    REFUSED("GetObjectLegalHold", GET, S3_OBJECT, "legal-hold",
            AWS_NO_SUCH_OBJECT_LOCK_CONFIGURATION),
};

/* Without a parameter; what names a subresource that is not above must not get here. */
static const struct s3api_op plain_ops[] = {
    { .name = "ListObjects", .method = GET, .level = S3_BUCKET, .end = s3api_list_objects_v1 },
    { .name = "HeadBucket", .method = HTTP_HEAD, .level = S3_BUCKET, .end = s3api_head_bucket },
    { .name = "CreateBucket",
      .method = PUT,
      .level = S3_BUCKET,
      .writes = true,
      .body = S3_BODY_XML,
      .end = s3api_create_bucket },
    { .name = "DeleteBucket",
      .method = DELETE,
      .level = S3_BUCKET,
      .writes = true,
      .end = s3api_delete_bucket },
    { .name = "GetObject",
      .method = GET,
      .level = S3_OBJECT,
      .check = s3api_get_check,
      .end = s3api_get_object },
    { .name = "HeadObject",
      .method = HTTP_HEAD,
      .level = S3_OBJECT,
      .check = s3api_get_check,
      .end = s3api_get_object },
    { .name = "CopyObject",
      .method = PUT,
      .level = S3_OBJECT,
      .header = "x-amz-copy-source",
      .writes = true,
      .check = s3api_copy_check,
      .end = s3api_copy_object },
    { .name = "PutObject",
      .method = PUT,
      .level = S3_OBJECT,
      .writes = true,
      .body = S3_BODY_DATA,
      .begin = s3api_put_begin,
      .end = s3api_put_end },
    { .name = "DeleteObject",
      .method = DELETE,
      .level = S3_OBJECT,
      .writes = true,
      .end = s3api_delete_object },
};

/* Source: the list of sub-resources in "Signing and authenticating REST requests", and what came
 * later. */
static const char *const subresources[] = {
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
};

static bool has(const struct s3api_request *r, const char *param)
{
    return s3api_param(r, param).ptr != NULL;
}

static const char *subresource_of(const struct s3api_request *r)
{
    for (size_t i = 0; i < ARRAY_LEN(subresources); i++) {
        if (has(r, subresources[i])) {
            return subresources[i];
        }
    }
    return NULL;
}

static bool fits(const struct s3api_request *r, const struct s3api_op *op, enum s3api_level level)
{
    return op->level == level && op->method == r->http->method &&
           (op->param == NULL || has(r, op->param)) &&
           (op->header == NULL || s3api_header(r, op->header).ptr != NULL);
}

/** What would be taken for something else than its sender means. */
static enum status check_place(struct s3api_request *r, enum s3api_level level)
{
    enum http_method method = r->http->method;
    bool copies = s3api_header(r, "x-amz-copy-source").ptr != NULL;
    bool part = has(r, "partNumber"), upload = has(r, "uploadId");
    if (copies &&
        (method == GET || method == HTTP_HEAD || method == DELETE || (method == POST && upload))) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "x-amz-copy-source is of requests that copy");
    }
    if (level != S3_OBJECT) {
        return OK;
    }
    if (method == GET && (has(r, "uploads") || has(r, "versions"))) {
        return s3api_err(r, AWS_INVALID_REQUEST, "\"?uploads\" and \"?versions\" are of a bucket");
    }
    if (method == PUT && part && !upload) {
        return s3api_err(r, AWS_INVALID_ARGUMENT, "a partNumber needs an uploadId");
    }
    if (method == PUT && upload && !part) {
        return s3api_err(r, AWS_METHOD_NOT_ALLOWED, "a part has a partNumber");
    }
    return OK;
}

enum status s3api_op_find(struct s3api_request *r)
{
    enum s3api_level level = r->has_key ? S3_OBJECT : r->has_bucket ? S3_BUCKET : S3_SERVICE;
    TRY(check_place(r, level));
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (fits(r, &ops[i], level)) {
            r->op = &ops[i];
            return OK;
        }
    }
    const char *subresource = subresource_of(r);
    if (subresource != NULL) {
        return s3api_err(r, AWS_NOT_IMPLEMENTED, "%.*s of \"?%s\" is not supported here",
                         STR_ARG(r->http->method_name), subresource);
    }
    for (size_t i = 0; i < ARRAY_LEN(plain_ops); i++) {
        if (fits(r, &plain_ops[i], level)) {
            r->op = &plain_ops[i];
            return OK;
        }
    }
    return s3api_err(r, AWS_METHOD_NOT_ALLOWED, "%.*s cannot be used on this resource",
                     STR_ARG(r->http->method_name));
}
