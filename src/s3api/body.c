/*
 * A body as it comes: aws-chunked frames are taken off, and what was promised of it (length,
 * SHA-256, MD5, a checksum in a header or in the trailer) is computed beside the write. Nothing
 * becomes visible before s3api_body_end has found all of it true.
 */
#include "s3api/s3api_priv.h"

#include "base/encode.h"

/* --- what is promised --- */

static enum status read_md5(struct s3api_request *r)
{
    struct str text = s3api_header(r, "content-md5");
    AUTO(buf_done) struct buf bytes;
    buf_init(&bytes, 64);
    if (text.ptr == NULL) {
        return OK;
    }
    enum status status = base64_decode(str_trim(text), &bytes);
    if (status == E_NO_MEMORY) {
        return err_no_memory(r->err);
    }
    if (status != OK || bytes.len != MD5_BYTES) {
        return s3api_err(r, AWS_INVALID_DIGEST, "Content-MD5 is no MD5 in base64");
    }
    memcpy(r->body.md5_given, bytes.ptr, MD5_BYTES);
    r->body.md5 = digest_new(DIGEST_MD5);
    return r->body.md5 != NULL ? OK : err_no_memory(r->err);
}

/** A checksum that nobody here can check must not be taken for one that was. */
static enum status check_unknown_sum(struct s3api_request *r, struct str header)
{
    static const struct str others[] = { STR_INIT("type"), STR_INIT("algorithm"),
                                         STR_INIT("mode") };
    size_t len = sizeof AWS_SUM_HEADER - 1;
    if (!str_eq_nocase(str_take(header, len), STR(AWS_SUM_HEADER))) {
        return OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (str_eq_nocase(str_skip(header, len), others[i])) {
            return OK;
        }
    }
    return s3api_err(r, AWS_INVALID_REQUEST, "%.*s is a checksum that is not known here",
                     STR_ARG(header));
}

/** The algorithm whose x-amz-checksum-* header is there, with its value. */
static enum status read_sum_header(struct s3api_request *r)
{
    uint8_t bytes[AWS_SUM_BYTES_MAX];
    /* There it is that of the object, not of the list of parts; a composite one ends in -N. */
    bool of_object = r->op->end == s3api_complete_upload;
    size_t found = 0;
    for (size_t i = 0; i < r->http->headers.count; i++) {
        const struct http_header *header = &r->http->headers.items[i];
        enum aws_sum sum = aws_sum_of_header(header->name);
        if (sum == AWS_SUM_NONE) {
            TRY(check_unknown_sum(r, header->name));
            continue;
        }
        if (found++ > 0) {
            return s3api_err(r, AWS_INVALID_REQUEST, "one checksum at a time, please");
        }
        struct str value = str_trim(header->value), base = value;
        uint64_t parts = 0;
        size_t dash = of_object ? str_rfind_char(value, '-') : SIZE_MAX;
        if (dash != SIZE_MAX) {
            base = str_take(value, dash);
        }
        if (!aws_sum_read(sum, base, bytes) ||
            (dash != SIZE_MAX && !str_to_u64(str_skip(value, dash + 1), &parts))) {
            return s3api_err(r, AWS_INVALID_REQUEST, "the value of %.*s is no such checksum",
                             STR_ARG(header->name));
        }
        if (!of_object) {
            r->body.sum = sum;
            r->body.sum_given = value;
        }
    }
    return OK;
}

static enum status read_sum_trailer(struct s3api_request *r)
{
    struct str rest = s3api_header(r, "x-amz-trailer");
    while (rest.ptr != NULL) {
        struct str name = str_trim(str_split(&rest, ','));
        if (!str_eq_nocase(str_take(name, sizeof AWS_SUM_HEADER - 1), STR(AWS_SUM_HEADER))) {
            continue;
        }
        enum aws_sum sum = aws_sum_of_header(name);
        if (sum == AWS_SUM_NONE || r->body.sum != AWS_SUM_NONE) {
            return s3api_err(r, AWS_INVALID_REQUEST, "the trailer promises \"%.*s\"",
                             STR_ARG(name));
        }
        r->body.sum = sum;
        r->body.sum_in_trailer = true;
    }
    return OK;
}

static enum status read_sum(struct s3api_request *r)
{
    TRY(read_sum_header(r));
    TRY(read_sum_trailer(r));
    struct str wanted = s3api_header(r, "x-amz-sdk-checksum-algorithm");
    if (wanted.ptr != NULL && aws_sum_parse(wanted) == AWS_SUM_NONE) {
        return s3api_err(r, AWS_INVALID_REQUEST, "there is no checksum algorithm \"%.*s\" here",
                         STR_ARG(wanted));
    }
    if (wanted.ptr != NULL && r->body.sum != AWS_SUM_NONE && aws_sum_parse(wanted) != r->body.sum) {
        return s3api_err(r, AWS_INVALID_REQUEST,
                         "x-amz-sdk-checksum-algorithm is %.*s, the checksum that is sent is %s",
                         STR_ARG(wanted), aws_sum_upper(r->body.sum));
    }
    /* a presigned URL may name an algorithm that its user knows nothing of */
    if (wanted.ptr != NULL && r->body.sum == AWS_SUM_NONE && r->op->body == S3_BODY_DATA &&
        r->auth.form == AWS_AUTH_HEADER) {
        return s3api_err(
            r, AWS_INVALID_REQUEST,
            "x-amz-sdk-checksum-algorithm is there, but neither the checksum nor a trailer that promises it");
    }
    if (r->body.sum == AWS_SUM_NONE && r->op->body == S3_BODY_DATA) {
        r->body.sum = AWS_SUM_CRC64NVME; /* S3's own, of what comes without */
        r->body.sum_default = true;
    }
    return r->body.sum != AWS_SUM_NONE ? aws_summer_init(&r->body.summer, r->body.sum, r->err) : OK;
}

static bool streams(enum aws_payload payload)
{
    return payload == AWS_PAYLOAD_STREAM || payload == AWS_PAYLOAD_STREAM_TRAILER ||
           payload == AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
}

/** Takes the frames off. The length is that of what is inside. */
static enum status open_frames(struct s3api_request *r)
{
    struct str length = s3api_header(r, "x-amz-decoded-content-length");
    uint64_t decoded = 0;
    if (length.ptr == NULL || !str_to_u64(str_trim(length), &decoded) || decoded > INT64_MAX) {
        return s3api_err(r, AWS_MISSING_CONTENT_LENGTH, "x-amz-decoded-content-length is needed");
    }
    r->body.length = (int64_t)decoded;
    struct aws_frames_opts opts = {
        .payload = r->auth.payload,
        .key = r->signing_key,
        .seed = r->auth.signature,
        .time = str_of(r->auth.time),
        .scope = arena_printf(r->arena, "%.*s/%.*s/%.*s/aws4_request", STR_ARG(r->auth.day),
                              STR_ARG(r->auth.region), STR_ARG(r->auth.service)),
        .decoded_length = decoded,
        .trailer_names = s3api_header(r, "x-amz-trailer"),
    };
    return opts.scope.ptr != NULL ? aws_frames_new(&opts, &r->body.frames, r->err)
                                  : err_no_memory(r->err);
}

enum status s3api_body_check(struct s3api_request *r)
{
    if (r->auth.form == AWS_AUTH_ANONYMOUS) {
        return OK;
    }
    if (streams(r->auth.payload) && r->op->body != S3_BODY_DATA) {
        return s3api_err(r, AWS_INVALID_REQUEST, "%s takes no body in chunks", r->op->name);
    }
    return r->http->has_body || r->auth.payload != AWS_PAYLOAD_HASH ||
                   str_eq_nocase(r->auth.payload_text, STR(AWS_EMPTY_SHA256))
               ? OK
               : s3api_err(r, AWS_CONTENT_SHA256_MISMATCH, "%s", "");
}

enum status s3api_body_begin(struct s3api_request *r)
{
    struct s3api_body *body = &r->body;
    body->length = r->http->has_body ? r->http->content_length : 0;
    if (r->op->body == S3_BODY_NONE) {
        return OK;
    }
    TRY(read_md5(r));
    TRY(read_sum(r));
    if (streams(r->auth.payload) && r->auth.form == AWS_AUTH_HEADER) {
        TRY(open_frames(r));
    } else if (r->auth.form == AWS_AUTH_HEADER && r->auth.payload == AWS_PAYLOAD_HASH) {
        body->sha256 = digest_new(DIGEST_SHA256);
        if (body->sha256 == NULL) {
            return err_no_memory(r->err);
        }
    }
    uint64_t max = r->op->body == S3_BODY_DATA ? r->api->object_bytes_max : S3_XML_BYTES_MAX;
    if (body->length > 0 && (uint64_t)body->length > max) {
        return r->op->body == S3_BODY_DATA
                   ? s3api_err(r, AWS_ENTITY_TOO_LARGE, "an upload may have %llu bytes at a time",
                               (unsigned long long)max)
                   : s3api_err(r, AWS_MALFORMED_XML, "the XML is larger than %llu bytes",
                               (unsigned long long)max);
    }
    return OK;
}

/* --- as it comes --- */

static enum status take_decoded(struct s3api_request *r, struct str bytes)
{
    struct s3api_body *body = &r->body;
    body->size += bytes.len;
    if (body->sha256 != NULL) {
        digest_update(body->sha256, bytes.ptr, bytes.len);
    }
    if (body->md5 != NULL) {
        digest_update(body->md5, bytes.ptr, bytes.len);
    }
    s3api_sum_update(r, bytes);
    if (r->op->body == S3_BODY_XML) {
        enum status status = buf_append(&r->xml_in, bytes);
        return status == OK ? OK
               : status == E_NO_MEMORY
                   ? err_no_memory(r->err)
                   : s3api_err(r, AWS_MALFORMED_XML, "the XML is larger than %d bytes",
                               S3_XML_BYTES_MAX);
    }
    if (body->size > r->api->object_bytes_max) {
        return s3api_err(r, AWS_ENTITY_TOO_LARGE, "an upload may have %llu bytes at a time",
                         (unsigned long long)r->api->object_bytes_max);
    }
    return store_writer_write(r->writer, bytes, r->err);
}

enum status s3api_body_take(struct s3api_request *r, struct str bytes)
{
    if (r->body.frames == NULL) {
        return take_decoded(r, bytes);
    }
    while (bytes.len > 0) {
        struct str data = STR_EMPTY;
        enum aws_code code = AWS_NONE;
        if (aws_frames_push(r->body.frames, &bytes, &data, &code, r->err) != OK) {
            r->code = code;
            return r->err->kind;
        }
        if (data.len > 0) {
            TRY(take_decoded(r, data));
        }
    }
    return OK;
}

/* --- at the end --- */

void s3api_sum_update(struct s3api_request *r, struct str bytes)
{
    aws_summer_update(&r->body.summer, bytes);
    aws_summer_update(&r->body.whole, bytes);
}

void s3api_sum_text(struct s3api_request *r)
{
    uint8_t bytes[AWS_SUM_BYTES_MAX];
    if (r->body.sum != AWS_SUM_NONE) {
        aws_summer_final(&r->body.summer, bytes);
        aws_sum_text(r->body.sum, bytes, r->body.sum_text);
    }
}

static enum status check_sum(struct s3api_request *r)
{
    struct s3api_body *body = &r->body;
    if (body->sum == AWS_SUM_NONE) {
        return OK;
    }
    s3api_sum_text(r);
    struct str given = body->sum_given;
    if (body->sum_in_trailer) {
        given = str_trim(aws_frames_trailer(body->frames, str_of(aws_sum_header(body->sum))));
        if (given.ptr == NULL) {
            return s3api_err(r, AWS_INVALID_REQUEST, "the promised trailer did not come");
        }
        uint8_t bytes[AWS_SUM_BYTES_MAX];
        if (!aws_sum_read(body->sum, given, bytes)) {
            return s3api_err(r, AWS_INVALID_REQUEST, "the trailer is no checksum");
        }
    }
    return given.ptr == NULL || str_eq(given, str_of(body->sum_text))
               ? OK
               : s3api_err(r, AWS_BAD_DIGEST, "the %s of the body is %s, not %.*s",
                           aws_sum_upper(body->sum), body->sum_text, STR_ARG(given));
}

static enum status check_digests(struct s3api_request *r)
{
    struct s3api_body *body = &r->body;
    uint8_t bytes[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    if (body->md5 != NULL) {
        digest_final(body->md5, bytes);
        if (memcmp(bytes, body->md5_given, MD5_BYTES) != 0) {
            return s3api_err(r, AWS_BAD_DIGEST, "the body does not have the MD5 of Content-MD5");
        }
    }
    if (body->sha256 == NULL) {
        return OK;
    }
    digest_final(body->sha256, bytes);
    AUTO(buf_done) struct buf text;
    buf_init(&text, sizeof hex);
    TRY(hex_append(&text, bytes, SHA256_BYTES));
    return str_eq_nocase(buf_str(&text), r->auth.payload_text)
               ? OK
               : s3api_err(r, AWS_CONTENT_SHA256_MISMATCH, "%s", "");
}

enum status s3api_body_end(struct s3api_request *r)
{
    struct s3api_body *body = &r->body;
    enum aws_code code = AWS_NONE;
    if (body->frames != NULL && aws_frames_end(body->frames, &code, r->err) != OK) {
        r->code = code;
        return r->err->kind;
    }
    if (body->length >= 0 && body->size != (uint64_t)body->length) {
        return s3api_err(r, AWS_INCOMPLETE_BODY, "%llu bytes came of %lld",
                         (unsigned long long)body->size, (long long)body->length);
    }
    TRY(check_digests(r));
    return check_sum(r);
}

void s3api_body_done(struct s3api_request *r)
{
    aws_frames_free(r->body.frames);
    digest_free(r->body.sha256);
    digest_free(r->body.md5);
    aws_summer_done(&r->body.summer);
    aws_summer_done(&r->body.whole);
}
