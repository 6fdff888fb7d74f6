/*
 * Uploads in parts. What is begun is either completed or aborted: parts that nobody completes are
 * stored and paid for, and no listing shows them.
 */
#include <pthread.h>
#include <stdio.h>

#include "aws/xml.h"
#include "base/encode.h"
#include "store/s3_priv.h"

enum { ID_BYTES_MAX = 4096, PARTS_XML_MAX = 4 * 1024 * 1024, COPY_PART_BYTES = 1 << 30 };

enum status s3_upload_begin(struct s3_store *s3, struct s3_write *write, struct s3_upload *out,
                            struct err *err)
{
    struct s3_request request = {
        .method = HTTP_POST, .key = write->key, .query = STR("uploads="), .repeatable = true
    };
    struct http_answer answer;
    struct xml_node *root = NULL;
    struct buf id;
    *out = (struct s3_upload){ .s3 = s3, .write = write };
    arena_init(&out->arena, 0);
    buf_init(&out->parts, PARTS_XML_MAX);
    buf_init(&id, ID_BYTES_MAX);
    s3_write_mark(write, &request);
    enum status status = s3_call_ok(s3, &request, &answer, err);
    if (status == OK && (xml_read(buf_str(&answer.body), &out->arena, &root, err) != OK ||
                         xml_text(root, "UploadId").len == 0)) {
        status = err_set(err, E_UPSTREAM, "the store begins an upload of \"%.*s\" without an id",
                         STR_ARG(write->key));
    }
    if (status == OK && percent_append(&id, xml_text(root, "UploadId"), "") == OK) {
        out->id = arena_str(&out->arena, buf_str(&id));
    }
    if (status == OK && out->id.ptr == NULL) {
        status = err_no_memory(err);
    }
    http_answer_done(&answer);
    buf_done(&id);
    if (status != OK) {
        buf_done(&out->parts);
        arena_done(&out->arena);
    }
    return status;
}

static enum status part_add(struct s3_upload *upload, unsigned number, const char *etag,
                            struct err *err)
{
    struct buf *out = &upload->parts;
    bool fine = xml_open(out, "Part") == OK && xml_put_u64(out, "PartNumber", number) == OK &&
                buf_printf(out, "<ETag>&quot;%s&quot;</ETag>", etag) == OK &&
                xml_close(out, "Part") == OK;
    return fine ? OK : err_no_memory(err);
}

static struct str part_query(const struct s3_upload *upload, unsigned number, struct buf *out)
{
    return buf_printf(out, "partNumber=%u&uploadId=%.*s", number, STR_ARG(upload->id)) == OK
               ? buf_str(out)
               : STR_EMPTY;
}

/** Sends `request`, of which only the body is set, as part `number`. */
static enum status part_send(struct s3_upload *upload, struct s3_request *request, unsigned number,
                             char etag_out[STORE_ETAG_MAX + 1], struct err *err)
{
    struct http_answer answer = { 0 };
    struct store_info info;
    struct buf query;
    buf_init(&query, ID_BYTES_MAX + 64);
    request->method = HTTP_PUT;
    request->key = upload->write->key;
    request->query = part_query(upload, number, &query);
    request->repeatable = true;
    enum status status = request->query.len > 0 ? s3_call_ok(upload->s3, request, &answer, err)
                                                : err_no_memory(err);
    if (status == OK) {
        status = s3_info(&answer, &info, err);
    }
    if (status == OK) {
        memcpy(etag_out, info.etag, sizeof info.etag);
    }
    http_answer_done(&answer);
    buf_done(&query);
    return status;
}

enum status s3_upload_part(struct s3_upload *upload, struct str bytes, struct err *err)
{
    char etag[STORE_ETAG_MAX + 1];
    struct s3_request request = { .body = bytes };
    if (upload->count == S3_PARTS_MAX) {
        return err_set(err, E_TOO_LARGE, "object \"%.*s\" is larger than %d parts of %d bytes",
                       STR_ARG(upload->write->key), S3_PARTS_MAX, S3_PART_BYTES);
    }
    TRY(part_send(upload, &request, upload->count + 1, etag, err));
    TRY(part_add(upload, upload->count + 1, etag, err));
    upload->count++;
    upload->size += bytes.len;
    return OK;
}

/* --- several parts at a time --- */

typedef enum status part_sender(void *ctx, unsigned part, char etag_out[STORE_ETAG_MAX + 1],
                                struct err *err);

struct sending {
    part_sender *send;
    void *ctx;
    unsigned count;
    char (*etags)[STORE_ETAG_MAX + 1]; /* [count]; each written by the thread that sent the part */
    pthread_mutex_t lock;
    unsigned next;      /* guarded by lock */
    enum status status; /* the first failure; guarded by lock */
    struct err err;     /* guarded by lock */
};

static unsigned next_part(struct sending *sending)
{
    pthread_mutex_lock(&sending->lock);
    unsigned next = sending->status == OK && sending->next < sending->count ? sending->next++
                                                                            : sending->count;
    pthread_mutex_unlock(&sending->lock);
    return next;
}

static void *parts_run(void *arg)
{
    struct sending *sending = arg;
    for (unsigned part = next_part(sending); part < sending->count; part = next_part(sending)) {
        struct err err = { 0 };
        enum status status = sending->send(sending->ctx, part, sending->etags[part], &err);
        if (status != OK) {
            pthread_mutex_lock(&sending->lock);
            if (sending->status == OK) {
                sending->status = status;
                sending->err = err;
            }
            pthread_mutex_unlock(&sending->lock);
        }
    }
    return NULL;
}

/** The first `count` parts by `send`, which runs on several threads. */
static enum status send_parts(struct s3_upload *upload, unsigned count, part_sender *send,
                              void *ctx, struct err *err)
{
    struct sending sending = { .send = send, .ctx = ctx, .count = count };
    sending.etags = arena_array(&upload->arena, count, sizeof *sending.etags);
    if (sending.etags == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&sending.lock, NULL);
    pthread_t threads[S3_UPLOAD_THREADS - 1];
    unsigned started = 0;
    while (started < ARRAY_LEN(threads) && started + 1 < count &&
           pthread_create(&threads[started], NULL, parts_run, &sending) == 0) {
        started++;
    }
    (void)parts_run(&sending);
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&sending.lock);
    if (sending.status != OK) {
        return err_set(err, sending.status, "%s", sending.err.msg);
    }
    for (unsigned i = 0; i < count; i++) {
        TRY(part_add(upload, i + 1, sending.etags[i], err));
    }
    upload->count = count;
    return OK;
}

/* --- a file --- */

struct file_upload {
    struct s3_upload *upload;
    int fd;
    uint64_t size, part_bytes;
};

static enum status file_part(void *ctx, unsigned part, char etag_out[STORE_ETAG_MAX + 1],
                             struct err *err)
{
    const struct file_upload *file = ctx;
    uint64_t offset = part * file->part_bytes, left = file->size - offset;
    struct s3_request request = {
        .from_fd = true,
        .fd = file->fd,
        .offset = offset,
        .length = left < file->part_bytes ? left : file->part_bytes,
    };
    return part_send(file->upload, &request, part + 1, etag_out, err);
}

enum status s3_upload_file(struct s3_upload *upload, int fd, uint64_t size, struct err *err)
{
    struct file_upload file = {
        .upload = upload, .fd = fd, .size = size, .part_bytes = S3_PART_BYTES
    };
    while (size / file.part_bytes >= S3_PARTS_MAX) {
        file.part_bytes *= 2;
    }
    unsigned count = (unsigned)((size + file.part_bytes - 1) / file.part_bytes);
    TRY(send_parts(upload, count, file_part, &file, err));
    upload->size = size;
    return OK;
}

/* --- parts from other objects --- */

/** Part `number` is what `from` has: of `range`, or all of it where that is empty. */
static enum status part_copy(struct s3_upload *upload, struct str from, const char *etag,
                             struct str range, unsigned number, char etag_out[STORE_ETAG_MAX + 1],
                             struct err *err)
{
    char match[STORE_ETAG_QUOTED];
    struct str quoted;
    struct s3_request request = { .method = HTTP_PUT,
                                  .key = upload->write->key,
                                  .repeatable = true };
    struct http_answer answer = { 0 };
    struct arena scratch;
    struct xml_node *root = NULL;
    struct buf query;
    bool told = false;
    TRY(store_etag_quote(str_of(etag), match, &quoted, err));
    buf_init(&query, ID_BYTES_MAX + 64);
    arena_init(&scratch, 0);
    s3_header(&request, STR("x-amz-copy-source"), from);
    s3_header(&request, STR("x-amz-copy-source-if-match"), quoted);
    if (range.len > 0) {
        s3_header(&request, STR("x-amz-copy-source-range"), range);
    }
    request.query = part_query(upload, number, &query);
    enum status status = request.query.len > 0 ? s3_call_ok(upload->s3, &request, &answer, err)
                                               : err_no_memory(err);
    if (status == OK && xml_read(buf_str(&answer.body), &scratch, &root, err) == OK) {
        told = s3_etag_read(xml_text(root, "ETag"), etag_out);
    }
    if (status == OK && !told) {
        status = err_set(err, E_UPSTREAM, "the store copies a part of \"%.*s\" without an ETag",
                         STR_ARG(upload->write->key));
    }
    http_answer_done(&answer);
    arena_done(&scratch);
    buf_done(&query);
    return status;
}

enum status s3_upload_copy(struct s3_upload *upload, struct str from, const char *etag,
                           uint64_t size, struct err *err)
{
    for (uint64_t offset = 0; offset < size; offset += COPY_PART_BYTES) {
        uint64_t end = size - offset < COPY_PART_BYTES ? size : offset + COPY_PART_BYTES;
        char range[64], tag[STORE_ETAG_MAX + 1];
        int len = snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
                           (unsigned long long)(end - 1));
        TRY(part_copy(upload, from, etag, str_from(range, (size_t)len), upload->count + 1, tag,
                      err));
        TRY(part_add(upload, upload->count + 1, tag, err));
        upload->count++;
    }
    upload->size = size;
    return OK;
}

struct join_upload {
    struct s3_upload *upload;
    const struct s3_join_part *parts;
};

static enum status join_part(void *ctx, unsigned part, char etag_out[STORE_ETAG_MAX + 1],
                             struct err *err)
{
    const struct join_upload *join = ctx;
    const struct s3_join_part *from = &join->parts[part];
    AUTO(buf_done) struct buf source;
    buf_init(&source, S3_TARGET_BYTES_MAX);
    if (from->size == 0) { /* of nothing no range can be copied */
        return part_send(join->upload, &(struct s3_request){ 0 }, part + 1, etag_out, err);
    }
    TRY(s3_copy_source(join->upload->s3, from->name, &source, err));
    enum status status = part_copy(join->upload, buf_str(&source), from->etag, STR_EMPTY, part + 1,
                                   etag_out, err);
    return status == E_PRECONDITION ? E_CONFLICT : status;
}

enum status s3_upload_join(struct s3_upload *upload, const struct s3_join_part *parts, size_t count,
                           struct err *err)
{
    struct join_upload join = { upload, parts };
    TRY(send_parts(upload, (unsigned)count, join_part, &join, err));
    upload->size = 0;
    for (size_t i = 0; i < count; i++) {
        upload->size += parts[i].size;
    }
    return OK;
}

/* --- the end --- */

enum status s3_upload_complete(struct s3_upload *upload, struct store_info *info_out,
                               struct err *err)
{
    struct buf body, query;
    buf_init(&body, PARTS_XML_MAX + 1024);
    buf_init(&query, ID_BYTES_MAX + 64);
    bool fine = xml_begin(&body, "CompleteMultipartUpload") == OK &&
                buf_append(&body, buf_str(&upload->parts)) == OK &&
                xml_close(&body, "CompleteMultipartUpload") == OK &&
                buf_printf(&query, "uploadId=%.*s", STR_ARG(upload->id)) == OK;
    struct s3_request request = {
        .method = HTTP_POST,
        .key = upload->write->key,
        .query = buf_str(&query),
        .body = buf_str(&body),
        .body_tells = true,
    };
    s3_header(&request, STR("content-type"), STR("application/xml"));
    enum status status = fine ? s3_write_condition(upload->write, &request, err)
                              : err_no_memory(err);
    if (status == OK) {
        status = s3_write_send(upload->s3, upload->write, &request, upload->size, info_out, err);
    }
    buf_done(&body);
    buf_done(&query);
    return status;
}

/** GET or DELETE of an upload. *there_out: there was one. */
static enum status upload_ask(struct s3_store *s3, struct s3_request *request, bool *there_out,
                              struct err *err)
{
    struct http_answer answer = { 0 };
    enum status status = s3_call(s3, request, &answer, err);
    *there_out = status == OK && answer.status < 300;
    if (status == OK && answer.status >= 300 && s3_code(&answer) != AWS_NO_SUCH_UPLOAD) {
        status = s3_failed(s3, request, &answer, err);
    }
    http_answer_done(&answer);
    return status;
}

enum status s3_upload_drop(struct s3_store *s3, struct str key, struct str id, bool *there_out,
                           struct err *err)
{
    AUTO(buf_done) struct buf query;
    bool seen = true, dropped = false;
    buf_init(&query, ID_BYTES_MAX + 64);
    if (buf_printf(&query, "uploadId=%.*s", STR_ARG(id)) != OK) {
        return err_no_memory(err);
    }
    struct s3_request look = { .key = key, .query = buf_str(&query), .repeatable = true };
    struct s3_request drop = { .method = HTTP_DELETE, .key = key, .query = buf_str(&query) };
    if (there_out == NULL) {
        drop.repeatable = true;
        return upload_ask(s3, &drop, &dropped, err);
    }
    /* Two witnesses: a store may answer a second DELETE as the first one, and the first answer may
     * be lost, after which a repeat finds nothing, whoever has dropped it. */
    TRY(upload_ask(s3, &look, &seen, err));
    enum status status = upload_ask(s3, &drop, &dropped, err);
    if (status == E_UPSTREAM || status == E_TIMEOUT) {
        drop.repeatable = true;
        status = upload_ask(s3, &drop, &dropped, err);
        dropped = true;
    }
    TRY(status);
    *there_out = seen && dropped;
    return OK;
}

void s3_upload_end(struct s3_upload *upload, bool completed)
{
    if (!completed) {
        /* It has failed already; what cannot be removed is told by the store's own listing. */
        (void)!s3_upload_drop(upload->s3, upload->write->key, upload->id, NULL, NULL);
    }
    buf_done(&upload->parts);
    arena_done(&upload->arena);
}
