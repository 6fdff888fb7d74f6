/* The smaller questions that clients ask of a bucket. */
#include "s3api/s3api_priv.h"

enum status s3api_get_bucket_tagging(struct s3api_request *r)
{
    return r->bucket.tags.len > 0 ? s3api_reply_tags(r, r->bucket.tags)
                                  : s3api_err(r, AWS_NO_SUCH_TAG_SET, "%s", "");
}

static enum status save_tags(struct s3api_request *r, struct str tags)
{
    struct s3api_bucket bucket = r->bucket;
    bucket.tags = tags;
    TRY(s3api_bucket_change(r, &bucket));
    return s3api_reply_empty(r, 204);
}

enum status s3api_put_bucket_tagging(struct s3api_request *r)
{
    struct str tags;
    TRY(s3api_tags_from_xml(r, &tags));
    return save_tags(r, tags);
}

enum status s3api_delete_bucket_tagging(struct s3api_request *r)
{
    return save_tags(r, STR_EMPTY);
}

/** An empty answer means that it never was on. */
enum status s3api_get_bucket_versioning(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "VersioningConfiguration"));
    TRY(xml_close(&xml, "VersioningConfiguration"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_put_bucket_versioning(struct s3api_request *r)
{
    const struct xml_node *root = NULL;
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "VersioningConfiguration", AWS_MALFORMED_XML,
                       &root));
    struct str wanted = xml_text(root, "Status");
    if (str_eq(wanted, STR("Suspended"))) {
        return s3api_reply_empty(r, 200); /* which is what it is */
    }
    return str_eq(wanted, STR("Enabled"))
               ? s3api_err(r, AWS_NOT_IMPLEMENTED, "versions of objects are not kept here")
               : s3api_err(r, AWS_MALFORMED_XML, "a Status is Enabled or Suspended");
}

enum status s3api_get_bucket_policy_status(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    bool open = r->api->anonymous == S3API_ANONYMOUS_READ ||
                (r->api->anonymous == S3API_ANONYMOUS_ACL &&
                 s3api_acl_public(r->bucket.acl, false));
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "PolicyStatus"));
    TRY(xml_put_bool(&xml, "IsPublic", open));
    TRY(xml_close(&xml, "PolicyStatus"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_get_request_payment(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "RequestPaymentConfiguration"));
    TRY(xml_put(&xml, "Payer", STR("BucketOwner")));
    TRY(xml_close(&xml, "RequestPaymentConfiguration"));
    return s3api_reply_xml(r, 200, &xml);
}
