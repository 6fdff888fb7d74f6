/* DeleteObject and DeleteObjects. What is not there counts as deleted. */
#include "s3api/s3api_priv.h"

/** What a conditional delete asks; texts without .ptr are not asked. */
struct delete_cond {
    struct str etag, size, modified;
};

static enum status refused(struct s3api_request *r)
{
    return s3api_err(r, AWS_PRECONDITION_FAILED, "the object is not the one that was meant");
}

static enum status check(struct s3api_request *r, const struct delete_cond *cond,
                         const struct store_info *info)
{
    uint64_t size = 0;
    int64_t modified_ms = 0;
    struct str tag = s3api_unquoted(str_trim(cond->etag));
    if (cond->etag.ptr != NULL && !str_eq(tag, STR("*")) && !str_eq(tag, str_of(info->etag))) {
        return refused(r);
    }
    if (cond->size.ptr != NULL && (!str_to_u64(cond->size, &size) || size != info->size)) {
        return refused(r);
    }
    if (cond->modified.ptr != NULL && (!s3api_time_parse(cond->modified, &modified_ms) ||
                                       modified_ms / 1000 != info->modified_ms / 1000)) {
        return refused(r);
    }
    return OK;
}

static enum status remove_one(struct s3api_request *r, struct str key,
                              const struct delete_cond *cond)
{
    struct str store_key;
    struct store_info info;
    bool asked = cond->etag.ptr != NULL || cond->size.ptr != NULL || cond->modified.ptr != NULL;
    TRY(s3api_may(r, &r->bucket, key, true));
    TRY(s3api_store_key(r, &r->bucket, key, &store_key));
    if (!asked) {
        return store_delete(r->bucket.store, store_key, r->err);
    }
    enum status status = store_stat(r->bucket.store, store_key, &info, r->err);
    if (status == E_NOT_FOUND) {
        *r->err = (struct err){ 0 };
        return OK;
    }
    TRY(status);
    TRY(check(r, cond, &info));
    status = store_delete_if(r->bucket.store, store_key, str_of(info.etag), r->err);
    return status == E_PRECONDITION ? refused(r) : status;
}

enum status s3api_delete_object(struct s3api_request *r)
{
    struct delete_cond cond = { .etag = s3api_header(r, "if-match"),
                                .size = s3api_header(r, "x-amz-if-match-size"),
                                .modified = s3api_header(r, "x-amz-if-match-last-modified-time") };
    struct str version = s3api_param(r, "versionId");
    if (version.len > 0 && !str_eq(version, STR("null"))) {
        return s3api_err(r, AWS_NO_SUCH_VERSION, "%s", "");
    }
    TRY(remove_one(r, r->key, &cond));
    return s3api_reply_empty(r, 204);
}

/* --- many --- */

static enum status error_line(struct s3api_request *r, struct buf *xml, struct str key,
                              enum status kind)
{
    enum aws_code code = s3api_code_of(r, kind);
    TRY(xml_open(xml, "Error"));
    TRY(xml_put(xml, "Key", key));
    TRY(xml_put(xml, "Code", str_of(aws_code_name(code))));
    TRY(xml_put(xml, "Message", str_of(r->err->msg)));
    return xml_close(xml, "Error");
}

static enum status one_of_many(struct s3api_request *r, const struct xml_node *object, bool quiet,
                               struct buf *xml)
{
    /* keys may begin and end with white space */
    const struct xml_node *node = xml_child(object, "Key");
    struct delete_cond cond = { .etag = xml_text(object, "ETag"),
                                .size = xml_text(object, "Size"),
                                .modified = xml_text(object, "LastModifiedTime") };
    struct str version = xml_text(object, "VersionId");
    if (node == NULL) {
        return s3api_err(r, AWS_MALFORMED_XML, "an Object has no Key");
    }
    enum status status = version.len > 0 && !str_eq(version, STR("null"))
                             ? s3api_err(r, AWS_NO_SUCH_VERSION, "%s", "")
                             : remove_one(r, node->text, &cond);
    if (status != OK) {
        TRY(error_line(r, xml, node->text, status));
        *r->err = (struct err){ 0 };
        r->code = AWS_NONE;
        return OK;
    }
    if (quiet) {
        return OK;
    }
    TRY(xml_open(xml, "Deleted"));
    TRY(xml_put(xml, "Key", node->text));
    if (version.len > 0) {
        TRY(xml_put(xml, "VersionId", version));
    }
    return xml_close(xml, "Deleted");
}

enum status s3api_delete_objects(struct s3api_request *r)
{
    AUTO(buf_done) struct buf xml;
    const struct xml_node *root = NULL;
    size_t count = 0;
    buf_init(&xml, 0);
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "Delete", AWS_MALFORMED_XML, &root));
    const struct xml_node *object = xml_child(root, "Object");
    for (const struct xml_node *node = object; node != NULL; node = xml_again(node)) {
        count++;
    }
    if (count == 0 || count > S3_PAGE_MAX) {
        return s3api_err(r, AWS_MALFORMED_XML, "1 to %d objects can be deleted at a time",
                         S3_PAGE_MAX);
    }
    bool quiet = str_eq(xml_text(root, "Quiet"), STR("true"));
    TRY(xml_begin(&xml, "DeleteResult"));
    for (; object != NULL; object = xml_again(object)) {
        TRY(one_of_many(r, object, quiet, &xml));
    }
    TRY(xml_close(&xml, "DeleteResult"));
    return s3api_reply_xml(r, 200, &xml);
}
