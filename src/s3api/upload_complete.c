/*
 * CompleteMultipartUpload. The parts that the client lists are held against those that are there,
 * the object's checksum is made of theirs, and the store makes one object of them in one step. A
 * client that never got the answer asks again: the object carries the upload's id, and so the same
 * answer.
 */
#include "s3api/s3api_priv.h"

#include <stdio.h>

struct completion {
    struct str key, id;
    struct store_attrs attrs; /* of the begin */
    struct store_part *parts; /* those that are there */
    size_t part_count;
    struct store_part_ref *wanted; /* those of the XML, in its order */
    const struct xml_node **nodes;
    size_t count;
    uint64_t size;
    /* of the object */
    enum aws_sum sum;
    bool sum_default; /* the upload was begun without: it is S3's own */
    struct str sum_type, sum_text, runs;
};

/* --- what the client lists --- */

static enum status read_list(struct s3api_request *r, struct completion *c)
{
    const struct xml_node *root = NULL;
    TRY(s3api_xml_root(r, buf_str(&r->xml_in), "CompleteMultipartUpload", AWS_MALFORMED_XML,
                       &root));
    const struct xml_node *first = xml_child(root, "Part");
    for (const struct xml_node *node = first; node != NULL; node = xml_again(node)) {
        c->count++;
    }
    if (c->count == 0 || c->count > S3_PARTS_MAX) {
        return s3api_err(r, AWS_MALFORMED_XML, "an upload has 1 to %d parts", S3_PARTS_MAX);
    }
    c->wanted = arena_array(r->arena, c->count, sizeof(*c->wanted));
    c->nodes = arena_array(r->arena, c->count, sizeof(struct xml_node *));
    if (c->wanted == NULL || c->nodes == NULL) {
        return err_no_memory(r->err);
    }
    size_t i = 0;
    for (const struct xml_node *node = first; node != NULL; node = xml_again(node), i++) {
        struct str etag = s3api_unquoted(xml_text(node, "ETag"));
        struct str text = xml_text(node, "PartNumber");
        int64_t number = 0;
        if (!str_to_i64(text, &number) || etag.len == 0) {
            return s3api_err(r, AWS_MALFORMED_XML, "a Part has a PartNumber and an ETag");
        }
        if (number < 1 || number > S3_PARTS_MAX) {
            return s3api_err(r, AWS_INVALID_ARGUMENT, "a PartNumber is from 1 to %d", S3_PARTS_MAX);
        }
        c->wanted[i] = (struct store_part_ref){ (unsigned)number, etag };
        c->nodes[i] = node;
        if (i > 0 && number <= c->wanted[i - 1].number) {
            return s3api_err(r, AWS_INVALID_PART_ORDER, "%s", "");
        }
    }
    return OK;
}

/* --- what is there --- */

static enum status read_parts(struct s3api_request *r, struct completion *c)
{
    unsigned after = 0;
    for (bool more = true; more;) {
        struct store_parts page;
        TRY(s3api_upload_failed(r, store_upload_parts(r->bucket.store, c->key, c->id, after, 0,
                                                      r->arena, &page, r->err)));
        struct store_part *all = arena_array(r->arena, c->part_count + page.count + 1,
                                             sizeof(*all));
        if (all == NULL) {
            return err_no_memory(r->err);
        }
        memcpy(all, c->parts != NULL ? c->parts : all, c->part_count * sizeof(*all));
        memcpy(all + c->part_count, page.count > 0 ? page.items : all, page.count * sizeof(*all));
        c->parts = all;
        c->part_count += page.count;
        after = page.count > 0 ? page.items[page.count - 1].number : after;
        more = page.truncated && page.count > 0;
    }
    return OK;
}

/** Both lists are in order. */
static const struct store_part *part_of(const struct completion *c, unsigned number, size_t *at)
{
    while (*at < c->part_count && c->parts[*at].number < number) {
        (*at)++;
    }
    return *at < c->part_count && c->parts[*at].number == number ? &c->parts[*at] : NULL;
}

/** The one checksum that a Part of the list names; *sum_out is AWS_SUM_NONE without. */
static enum status listed_sum(struct s3api_request *r, const struct xml_node *node,
                              enum aws_sum *sum_out, struct str *text_out)
{
    uint8_t bytes[AWS_SUM_BYTES_MAX];
    *sum_out = AWS_SUM_NONE;
    for (const struct xml_node *child = node->first; child != NULL; child = child->next) {
        enum aws_sum sum = aws_sum_of_element(child->name);
        if (sum == AWS_SUM_NONE) {
            continue;
        }
        if (*sum_out != AWS_SUM_NONE || !aws_sum_read(sum, str_trim(child->text), bytes)) {
            return s3api_err(r, AWS_INVALID_ARGUMENT, "a Part has one checksum, in base64");
        }
        *sum_out = sum;
        *text_out = str_trim(child->text);
    }
    return OK;
}

static enum status check_part_sum(struct s3api_request *r, const struct completion *c, size_t i,
                                  const struct store_part *part)
{
    struct str text = STR_EMPTY, given = STR_EMPTY;
    enum aws_sum sum = s3api_attrs_sum(&part->attrs, &text), listed = AWS_SUM_NONE;
    TRY(listed_sum(r, c->nodes[i], &listed, &given));
    if (listed == AWS_SUM_NONE) {
        return str_eq(c->sum_type, STR("COMPOSITE"))
                   ? s3api_err(r, AWS_INVALID_REQUEST,
                               "the upload was begun with %s: part %u of the list names none",
                               aws_sum_upper(c->sum), part->number)
                   : OK;
    }
    if (listed != sum && c->sum != AWS_SUM_NONE) {
        return s3api_err(r, AWS_BAD_DIGEST, "part %u has no %s", part->number,
                         aws_sum_upper(listed));
    }
    return listed != sum || str_eq(given, text)
               ? OK
               : s3api_err(r, AWS_INVALID_PART, "part %u has another checksum", part->number);
}

/** Also finds the whole size. */
static enum status check_parts(struct s3api_request *r, struct completion *c,
                               const struct store_part **chosen)
{
    size_t at = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct store_part *part = part_of(c, c->wanted[i].number, &at);
        if (part == NULL || !str_eq_nocase(c->wanted[i].etag, str_of(part->etag))) {
            return s3api_err(r, AWS_INVALID_PART, "part %u was never uploaded, or has another ETag",
                             c->wanted[i].number);
        }
        TRY(check_part_sum(r, c, i, part));
        c->wanted[i].etag = str_of(part->etag);
        c->size += part->size;
        chosen[i] = part;
    }
    for (size_t i = 0; i + 1 < c->count; i++) {
        if (chosen[i]->size < S3_PART_BYTES_MIN) {
            return s3api_err(r, AWS_ENTITY_TOO_SMALL,
                             "part %u has %llu bytes: all but the last need %d", chosen[i]->number,
                             (unsigned long long)chosen[i]->size, S3_PART_BYTES_MIN);
        }
    }
    return OK;
}

static enum status find_runs(struct s3api_request *r, struct completion *c,
                             const struct store_part *const *chosen)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, STORE_ATTRS_BYTES_MAX / 2);
    for (size_t i = 0; i < c->count;) {
        size_t end = i;
        while (end < c->count && chosen[end]->size == chosen[i]->size) {
            end++;
        }
        if (buf_printf(&text, "%s%zux%llu", i > 0 ? "," : "", end - i,
                       (unsigned long long)chosen[i]->size) != OK) {
            return OK; /* too many sizes to keep: it reads as one piece */
        }
        i = end;
    }
    c->runs = arena_str(r->arena, buf_str(&text));
    return c->runs.ptr != NULL ? OK : err_no_memory(r->err);
}

/* --- the object's checksum --- */

/** What a part has for the object's checksum; .ptr NULL: nothing. */
static struct str sum_of_part(const struct completion *c, const struct store_part *part)
{
    struct str text = { NULL, 0 };
    if (s3api_attrs_sum(&part->attrs, &text) != c->sum) {
        text = c->sum_default ? s3api_attr(&part->attrs, S3_ATTR_SUM_WHOLE)
                              : (struct str){ NULL, 0 };
    }
    return text;
}

static enum status part_bytes(struct s3api_request *r, const struct completion *c,
                              const struct store_part *part, uint8_t out[AWS_SUM_BYTES_MAX])
{
    return aws_sum_read(c->sum, sum_of_part(c, part), out)
               ? OK
               : s3api_err(r, AWS_INVALID_PART, "part %u has no %s", part->number,
                           aws_sum_upper(c->sum));
}

static enum status join_sums(struct s3api_request *r, struct completion *c,
                             const struct store_part *const *chosen)
{
    AUTO(buf_done) struct buf all;
    uint8_t bytes[AWS_SUM_BYTES_MAX], part[AWS_SUM_BYTES_MAX];
    char text[AWS_SUM_TEXT_MAX + 1];
    bool full = str_eq(c->sum_type, STR("FULL_OBJECT"));
    buf_init(&all, 0);
    for (size_t i = 0; i < c->count; i++) {
        TRY(part_bytes(r, c, chosen[i], i == 0 ? bytes : part));
        if (full && i > 0) {
            aws_sum_join(c->sum, bytes, part, chosen[i]->size);
        }
        TRY(buf_append_bytes(&all, i == 0 ? bytes : part, aws_sum_bytes(c->sum)));
    }
    if (!full) {
        TRY(aws_sum_composite(c->sum, buf_str(&all), bytes, r->err));
    }
    aws_sum_text(c->sum, bytes, text);
    c->sum_text = full ? arena_str(r->arena, str_of(text))
                       : arena_printf(r->arena, "%s-%zu", text, c->count);
    return c->sum_text.ptr != NULL ? OK : err_no_memory(r->err);
}

/** An upload that was begun without gets S3's own, if all of its parts have it. */
static void default_sum(struct completion *c, const struct store_part *const *chosen)
{
    c->sum = AWS_SUM_CRC64NVME;
    c->sum_type = STR("FULL_OBJECT");
    c->sum_default = true;
    for (size_t i = 0; i < c->count && c->sum_default; i++) {
        c->sum_default = sum_of_part(c, chosen[i]).ptr != NULL;
    }
    if (!c->sum_default) { /* of an older version */
        c->sum = AWS_SUM_NONE;
        c->sum_type = STR_EMPTY;
    }
}

/** The client may say what the whole must be. */
static enum status check_whole(struct s3api_request *r, const struct completion *c)
{
    struct str size = s3api_header(r, "x-amz-mp-object-size");
    uint64_t bytes = 0;
    if (size.ptr != NULL && (!str_to_u64(size, &bytes) || bytes != c->size)) {
        return s3api_err(r, AWS_INVALID_REQUEST, "the parts have %llu bytes together, not %.*s",
                         (unsigned long long)c->size, STR_ARG(size));
    }
    struct str type = s3api_header(r, "x-amz-checksum-type");
    if (type.ptr != NULL && !str_eq_nocase(type, c->sum_type)) {
        return s3api_err(r, AWS_INVALID_REQUEST, "the upload was begun with another checksum type");
    }
    if (c->sum == AWS_SUM_NONE) {
        return OK;
    }
    struct str given = s3api_header(r, aws_sum_header(c->sum));
    return given.ptr == NULL || str_eq(given, c->sum_text)
               ? OK
               : s3api_err(r, AWS_BAD_DIGEST, "the %s of the whole is %.*s, not %.*s",
                           aws_sum_upper(c->sum), STR_ARG(c->sum_text), STR_ARG(given));
}

static enum status object_attrs(struct s3api_request *r, const struct completion *c,
                                struct s3api_attrs *out)
{
    for (size_t i = 0; i < c->attrs.count; i++) {
        if (!str_eq(c->attrs.items[i].name, STR(S3_ATTR_SUM_WANTED))) {
            TRY(s3api_attrs_set(r, out, c->attrs.items[i].name, c->attrs.items[i].value));
        }
    }
    if (c->sum != AWS_SUM_NONE) {
        TRY(s3api_attrs_set(r, out, str_of(aws_sum_header(c->sum)), c->sum_text));
        TRY(s3api_attrs_set(r, out, STR(S3_ATTR_SUM_TYPE), c->sum_type));
    }
    TRY(s3api_attrs_set(r, out, STR(S3_ATTR_PARTS), c->runs));
    return s3api_attrs_set(r, out, STR(S3_ATTR_UPLOAD), c->id);
}

/* --- the answer --- */

static enum status reply(struct s3api_request *r, const struct completion *c,
                         const struct store_info *info)
{
    AUTO(buf_done) struct buf xml;
    char etag[STORE_ETAG_MAX + 3];
    buf_init(&xml, 0);
    TRY(xml_begin(&xml, "CompleteMultipartUploadResult"));
    TRY(xml_put(&xml, "Location",
                arena_printf(r->arena, "http://%.*s%.*s", STR_ARG(s3api_header(r, "host")),
                             STR_ARG(r->http->path))));
    TRY(xml_put(&xml, "Bucket", r->bucket_name));
    TRY(xml_put(&xml, "Key", r->key));
    TRY(xml_put(&xml, "ETag", s3api_etag_quoted(info, etag)));
    if (c->sum != AWS_SUM_NONE) {
        TRY(s3api_xml_sum(&xml, c->sum, c->sum_text));
        TRY(xml_put(&xml, "ChecksumType", c->sum_type));
    }
    TRY(xml_close(&xml, "CompleteMultipartUploadResult"));
    return s3api_reply_xml(r, 200, &xml);
}

/** The upload is gone. If the object came of it, this is the same request again. */
static enum status maybe_again(struct s3api_request *r, struct completion *c)
{
    struct store_info info;
    struct store_attrs attrs;
    struct err why = { 0 };
    if (store_stat_attrs(r->bucket.store, c->key, r->arena, &info, &attrs, &why) != OK ||
        !str_eq(s3api_attr(&attrs, S3_ATTR_UPLOAD), c->id)) {
        return s3api_err(r, AWS_NO_SUCH_UPLOAD, "%s", "");
    }
    *r->err = (struct err){ 0 };
    r->code = AWS_NONE;
    c->sum = s3api_attrs_sum(&attrs, &c->sum_text);
    c->sum_type = s3api_attr(&attrs, S3_ATTR_SUM_TYPE);
    return reply(r, c, &info);
}

static enum status complete(struct s3api_request *r, struct completion *c, struct store_info *info)
{
    struct s3api_attrs attrs = { .count = 0 };
    const struct store_part **chosen = arena_array(r->arena, c->count, sizeof(struct store_part *));
    if (chosen == NULL) {
        return err_no_memory(r->err);
    }
    TRY(s3api_write_conditions(r, c->key));
    TRY(read_parts(r, c));
    TRY(check_parts(r, c, chosen));
    TRY(find_runs(r, c, chosen));
    if (c->sum == AWS_SUM_NONE) {
        default_sum(c, chosen);
    }
    TRY(c->sum != AWS_SUM_NONE ? join_sums(r, c, chosen) : OK);
    TRY(check_whole(r, c));
    TRY(object_attrs(r, c, &attrs));
    struct store_attrs view = s3api_attrs_view(&attrs);
    enum status status = store_upload_complete(r->bucket.store, c->key, c->id, c->wanted, c->count,
                                               &view, &r->cond, info, r->err);
    if (status == E_CONFLICT) { /* a part was replaced while we looked */
        return s3api_err(r, AWS_INVALID_PART, "%s", r->err->msg);
    }
    return s3api_write_refused(r, c->key, status);
}

enum status s3api_complete_upload(struct s3api_request *r)
{
    struct completion c = { .id = s3api_param(r, "uploadId") };
    struct store_upload upload;
    struct store_info info;
    TRY(s3api_store_key(r, &r->bucket, r->key, &c.key));
    TRY(read_list(r, &c));
    enum status status = store_upload_get(r->bucket.store, c.key, c.id, r->arena, &upload, &c.attrs,
                                          r->err);
    if (status == OK) {
        c.sum = s3api_upload_sum(&c.attrs, &c.sum_type);
        status = complete(r, &c, &info);
    }
    if (status == E_NOT_FOUND && (r->code == AWS_NONE || r->code == AWS_NO_SUCH_UPLOAD)) {
        return maybe_again(r, &c);
    }
    TRY(status);
    return reply(r, &c, &info);
}
