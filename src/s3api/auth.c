/*
 * Who sends a request, and may they. Rights are those of the access key: read or write, and a
 * prefix "bucket/some/key" that everything it touches must start with. Without a signature only
 * reads, and only as far as the setting allows.
 */
#include "s3api/s3api_priv.h"
#include "store/lake_keys.h"

enum status s3api_authenticate(struct s3api_request *r)
{
    enum aws_code code = AWS_NONE;
    enum status status = aws_auth_read(&r->aws, r->arena, &r->auth, &code, r->err);
    if (status == OK && r->auth.form != AWS_AUTH_ANONYMOUS) {
        status = aws_keyring_verify(r->api->keyring, &r->auth, &r->aws,
                                    clock_wall_ms(r->api->clock), r->arena, &r->grant,
                                    &r->signing_key, &code, r->err);
    }
    if (status != OK) {
        r->code = code;
        return status;
    }
    if (r->auth.form == AWS_AUTH_ANONYMOUS && s3api_param(r, "AWSAccessKeyId").ptr != NULL) {
        return s3api_err(r, AWS_INVALID_REQUEST,
                         "this is Signature Version 2; sign with AWS4-HMAC-SHA256");
    }
    return OK;
}

static enum status denied(struct s3api_request *r, const char *why)
{
    return s3api_err(r, AWS_ACCESS_DENIED, "%s", why);
}

bool s3api_grant_sees(const struct aws_grant *grant, struct str bucket)
{
    struct str prefix = grant->prefix;
    size_t slash = str_find_char(prefix, '/');
    struct str name = str_take(prefix, slash == SIZE_MAX ? prefix.len : slash);
    return prefix.len == 0 || str_eq(name, bucket);
}

/** A key whose own prefix lies in the tables' folder was given for just that. */
static bool grant_writes_tables(const struct aws_grant *grant)
{
    return grant != NULL && str_starts(grant->prefix, STR("lake/wh/"));
}

enum status s3api_may(struct s3api_request *r, const struct s3api_bucket *bucket, struct str key,
                      bool writes)
{
    if (bucket->lake && lake_key_closed(key)) {
        return denied(r, "these keys belong to the lake itself");
    }
    if (writes && bucket->read_only) {
        return denied(r, "this bucket is served read-only");
    }
    if (writes && bucket->lake && lake_key_of_tables(key) && !grant_writes_tables(r->grant)) {
        return denied(r,
                      "the tables' folder is written by keys with a prefix in \"lake/wh/\" only");
    }
    if (r->grant != NULL) {
        if (writes && !r->grant->write) {
            return denied(r, "this access key may only read");
        }
        struct str resource = arena_printf(r->arena, "%.*s/%.*s", STR_ARG(bucket->name),
                                           STR_ARG(key));
        if (resource.ptr == NULL) {
            return err_no_memory(r->err);
        }
        return aws_grant_covers(r->grant, resource)
                   ? OK
                   : denied(r, "this access key has rights for another prefix only");
    }
    if (!writes && r->api->anonymous == S3API_ANONYMOUS_READ) {
        return OK;
    }
    /* an object's own ACL is looked at when it is open */
    if (r->api->anonymous == S3API_ANONYMOUS_ACL) {
        return OK;
    }
    return denied(r, "requests without a signature are not allowed");
}

/** Without a signature: what ACLs can open. Objects tell by their own (s3api_may_read_object). */
static enum status may_anonymous(struct s3api_request *r)
{
    bool listing = r->op->end == s3api_list_objects_v1 || r->op->end == s3api_list_objects_v2 ||
                   r->op->end == s3api_head_bucket || r->op->end == s3api_list_versions;
    bool getting = r->op->end == s3api_get_object;
    if (r->api->anonymous == S3API_ANONYMOUS_READ && !r->op->writes && r->has_bucket) {
        return OK;
    }
    if (r->api->anonymous == S3API_ANONYMOUS_ACL && r->has_bucket) {
        if (listing && s3api_acl_public(r->bucket.acl, false)) {
            return OK;
        }
        if (getting) {
            return OK;
        }
        if (r->op->end == s3api_put_end && s3api_acl_public(r->bucket.acl, true)) {
            return OK;
        }
    }
    return denied(r, "requests without a signature are not allowed");
}

enum status s3api_may_read_object(struct s3api_request *r, const struct store_attrs *attrs)
{
    if (r->grant != NULL || r->api->anonymous == S3API_ANONYMOUS_READ ||
        s3api_acl_public(s3api_attr(attrs, S3_ATTR_ACL), false)) {
        return OK;
    }
    return denied(r, "this object is not public");
}

/** Listings show keys below `prefix` only, so that is what must be allowed. */
static enum status may_list(struct s3api_request *r)
{
    struct str prefix = s3api_param(r, "prefix");
    return s3api_may(r, &r->bucket, prefix.ptr != NULL ? prefix : STR(""), false);
}

/** A client that names the account it means does not want anybody else's bucket. */
static enum status check_owners(struct s3api_request *r)
{
    static const char *const names[] = { "x-amz-expected-bucket-owner",
                                         "x-amz-source-expected-bucket-owner" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct str owner = s3api_header(r, names[i]);
        if (owner.ptr != NULL && !str_eq(str_trim(owner), STR(S3_OWNER))) {
            return denied(r, "the bucket's owner is called \"" S3_OWNER "\" here");
        }
    }
    return OK;
}

enum status s3api_authorize(struct s3api_request *r)
{
    const struct aws_grant *grant = r->grant;
    TRY(check_owners(r));
    if (grant == NULL) {
        TRY(may_anonymous(r));
    }
    if (!r->has_bucket) {
        return OK; /* ListBuckets shows what the key sees */
    }
    if (r->has_key) {
        return s3api_may(r, &r->bucket, r->key, r->op->writes);
    }
    if (grant != NULL && r->op->writes && !grant->write) {
        return denied(r, "this access key may only read");
    }
    if (r->op->end == s3api_list_objects_v1 || r->op->end == s3api_list_objects_v2 ||
        r->op->end == s3api_list_versions || r->op->end == s3api_list_uploads) {
        return may_list(r);
    }
    if (r->op->end == s3api_delete_objects) {
        return OK; /* key by key */
    }
    if (grant == NULL) {
        return OK;
    }
    if (!s3api_grant_sees(grant, r->bucket_name)) {
        return denied(r, "this access key has rights for another bucket only");
    }
    bool whole = grant->prefix.len <= r->bucket_name.len + 1; /* "bucket/" */
    return !r->op->writes || whole
               ? OK
               : denied(r, "this access key has rights for a part of the bucket only");
}
