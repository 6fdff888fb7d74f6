/*
 * Access control lists: the canned ones. There is one owner; what an ACL can say beyond that is
 * whether everybody may read or write, and it means something only where the settings let anonymous
 * requests in (s3api.anonymous = "acl"). Grants to anybody else are not supported, and say so.
 */
#include "s3api/s3api_priv.h"

#define ALL_USERS "http://acs.amazonaws.com/groups/global/AllUsers"
#define KNOWN_USERS "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"

static const struct str canned_acls[] = {
    STR_INIT("private"),
    STR_INIT("public-read"),
    STR_INIT("public-read-write"),
    STR_INIT("authenticated-read"),
    /* of one owner they are private */
    STR_INIT("bucket-owner-read"),
    STR_INIT("bucket-owner-full-control"),
};

bool s3api_acl_public(struct str canned, bool writes)
{
    return str_eq(canned, STR("public-read-write")) ||
           (!writes && str_eq(canned, STR("public-read")));
}

bool s3api_acl_is_canned(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(canned_acls); i++) {
        if (str_eq(text, canned_acls[i])) {
            return true;
        }
    }
    return false;
}

/** What a list of grants adds up to; AWS_NOT_IMPLEMENTED when that is no canned one. */
static enum status from_grants(struct s3api_request *r, const struct xml_node *list,
                               struct str *out)
{
    bool all_read = false, all_write = false, known_read = false;
    const struct xml_node *grant = xml_child(list, "Grant");
    for (; grant != NULL; grant = xml_again(grant)) {
        const struct xml_node *who = xml_child(grant, "Grantee");
        struct str permission = xml_text(grant, "Permission"), uri = xml_text(who, "URI"),
                   id = xml_text(who, "ID");
        bool reads = str_eq(permission, STR("READ")), writes = str_eq(permission, STR("WRITE"));
        if (str_eq(id, STR(S3_OWNER)) && uri.len == 0) {
            continue;
        }
        if (str_eq(uri, STR(ALL_USERS)) && (reads || writes)) {
            all_read |= reads;
            all_write |= writes;
        } else if (str_eq(uri, STR(KNOWN_USERS)) && reads) {
            known_read = true;
        } else {
            return s3api_err(
                r, AWS_NOT_IMPLEMENTED,
                "grants go to the owner, to all users or to authenticated users to read");
        }
    }
    if ((all_write && !all_read) || (known_read && (all_read || all_write))) {
        return s3api_err(r, AWS_NOT_IMPLEMENTED, "this list of grants is none of the canned ACLs");
    }
    *out = all_write    ? STR("public-read-write")
           : all_read   ? STR("public-read")
           : known_read ? STR("authenticated-read")
                        : STR("private");
    return OK;
}

enum status s3api_acl_wanted(struct s3api_request *r, struct str *out)
{
    struct str header = s3api_header(r, "x-amz-acl");
    const struct xml_node *root = NULL;
    *out = STR("private");
    if (header.ptr != NULL) {
        *out = header;
        return s3api_acl_is_canned(header)
                   ? OK
                   : s3api_err(r, AWS_INVALID_ARGUMENT, "\"%.*s\" is no canned ACL",
                               STR_ARG(header));
    }
    bool asked = r->op->end == s3api_put_bucket_acl || r->op->end == s3api_put_object_acl;
    if (!asked) {
        return OK;
    }
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "AccessControlPolicy", AWS_MALFORMED_ACL, &root));
    return from_grants(r, xml_child(root, "AccessControlList"), out);
}

static enum status grant_xml(struct buf *xml, const char *uri, const char *permission)
{
    TRY(xml_open(xml, "Grant"));
    TRY(buf_printf(xml,
                   "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                   "xsi:type=\"%s\">",
                   uri == NULL ? "CanonicalUser" : "Group"));
    if (uri == NULL) {
        TRY(xml_put(xml, "ID", STR(S3_OWNER)));
        TRY(xml_put(xml, "DisplayName", STR(S3_OWNER)));
    } else {
        TRY(xml_put(xml, "URI", str_of(uri)));
    }
    TRY(xml_close(xml, "Grantee"));
    TRY(xml_put(xml, "Permission", str_of(permission)));
    return xml_close(xml, "Grant");
}

enum status s3api_reply_acl(struct s3api_request *r, struct str canned)
{
    AUTO(buf_done) struct buf xml;
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "AccessControlPolicy"));
    TRY(s3api_xml_owner(&xml, "Owner"));
    TRY(xml_open(&xml, "AccessControlList"));
    TRY(grant_xml(&xml, NULL, "FULL_CONTROL"));
    if (s3api_acl_public(canned, false)) {
        TRY(grant_xml(&xml, ALL_USERS, "READ"));
    }
    if (s3api_acl_public(canned, true)) {
        TRY(grant_xml(&xml, ALL_USERS, "WRITE"));
    }
    if (str_eq(canned, STR("authenticated-read"))) {
        TRY(grant_xml(&xml, KNOWN_USERS, "READ"));
    }
    TRY(xml_close(&xml, "AccessControlList"));
    TRY(xml_close(&xml, "AccessControlPolicy"));
    return s3api_reply_xml(r, 200, &xml);
}

enum status s3api_get_object_acl(struct s3api_request *r)
{
    struct store_attrs attrs;
    struct store_info info;
    struct str key;
    TRY(s3api_store_key(r, &r->bucket, r->key, &key));
    TRY(store_stat_attrs(r->bucket.store, key, r->arena, &info, &attrs, r->err));
    return s3api_reply_acl(r, s3api_attr(&attrs, S3_ATTR_ACL));
}

enum status s3api_put_object_acl(struct s3api_request *r)
{
    struct str canned;
    TRY(s3api_acl_wanted(r, &canned));
    TRY(s3api_change_attr(r, S3_ATTR_ACL, str_eq(canned, STR("private")) ? STR_EMPTY : canned));
    return s3api_reply_empty(r, 200);
}

enum status s3api_get_bucket_acl(struct s3api_request *r)
{
    return s3api_reply_acl(r, r->bucket.acl);
}

enum status s3api_put_bucket_acl(struct s3api_request *r)
{
    struct s3api_bucket bucket = r->bucket;
    TRY(s3api_acl_wanted(r, &bucket.acl));
    TRY(s3api_bucket_change(r, &bucket));
    return s3api_reply_empty(r, 200);
}
