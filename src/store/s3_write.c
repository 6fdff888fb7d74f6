/*
 * Writes whose outcome is known.
 *
 * Each carries an id of its own in the object's metadata. When an answer is lost the object is
 * looked at: our id means done; another version where ours could only have won over the one that is
 * gone means refused; else it may still be on its way, and the same request is sent again, which
 * under its condition does nothing if the first one landed. So a conditional write is as good as
 * one that was answered, as long as the store comes back in time.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "store/s3_priv.h"

#define WRITE_ID_HEADER STR("x-amz-meta-lakehouse-write")

/* --- a write --- */

void s3_write_init(struct s3_write *write, struct str key, const struct store_cond *cond)
{
    *write = (struct s3_write){ .key = key, .cond = cond };
    uuid4(write->id);
}

enum status s3_write_condition(struct s3_write *write, struct s3_request *request, struct err *err)
{
    struct str quoted;
    if (write->cond->if_absent) {
        s3_header(request, STR("if-none-match"), STR("*"));
    }
    if (write->cond->if_match.len > 0) {
        TRY(store_etag_quote(write->cond->if_match, write->match, &quoted, err));
        s3_header(request, STR("if-match"), quoted);
    }
    return OK;
}

void s3_write_mark(const struct s3_write *write, struct s3_request *request)
{
    static const struct http_header none = { STR_INIT("content-type"),
                                             STR_INIT("binary/octet-stream") };
    s3_header(request, WRITE_ID_HEADER, str_from(write->id, S3_WRITE_ID));
    request->more = write->attrs != NULL ? write->attrs : &none;
    request->more_count = write->attrs != NULL ? write->attr_count : 1;
}

enum landed { LANDED_OURS, LANDED_NOT, LANDED_OTHER, LANDED_UNKNOWN };

/** What lies under the key now, as seen from this write. */
static enum landed look(struct s3_store *s3, const struct s3_write *write,
                        struct store_info *info_out)
{
    struct s3_request request = { .method = HTTP_HEAD, .key = write->key, .repeatable = true };
    struct http_answer answer;
    struct store_info info;
    enum landed landed = LANDED_UNKNOWN;
    if (s3_call(s3, &request, &answer, NULL) != OK) {
        landed = LANDED_UNKNOWN;
    } else if (answer.status == 404) {
        landed = write->cond->if_match.len > 0 ? LANDED_OTHER : LANDED_NOT;
    } else if (answer.status == 200 && s3_info(&answer, &info, NULL) == OK) {
        if (str_eq(http_headers_get(&answer.headers, WRITE_ID_HEADER),
                   str_from(write->id, S3_WRITE_ID))) {
            *info_out = info;
            landed = LANDED_OURS;
        } else {
            landed = str_eq(str_of(info.etag), write->cond->if_match) ? LANDED_NOT : LANDED_OTHER;
        }
    }
    http_answer_done(&answer);
    return landed;
}

enum status s3_write_landed(struct s3_store *s3, struct str key, struct str write_id, bool *out,
                            struct err *err)
{
    struct s3_request request = { .method = HTTP_HEAD, .key = key, .repeatable = true };
    struct http_answer answer;
    enum status status = s3_call(s3, &request, &answer, err);
    if (status == OK && answer.status != 200 && answer.status != 404) {
        status = s3_failed(s3, &request, &answer, err);
    }
    if (status == OK) {
        *out = answer.status == 200 &&
               str_eq(http_headers_get(&answer.headers, WRITE_ID_HEADER), write_id);
    }
    http_answer_done(&answer);
    return status;
}

static enum status condition_failed(const struct s3_write *write, struct err *err)
{
    return err_set(err, E_PRECONDITION,
                   write->cond->if_absent ? "object \"%.*s\" is there already"
                                          : "object \"%.*s\" has changed",
                   STR_ARG(write->key));
}

/**
 * After an answer that does not tell what became of the write: none, one that was lost, or a 412,
 * which may be about a repeat of our own success that something on the way has made.
 *
 * Returns  OK with *again_out when nothing is settled yet
 */
static enum status settle(struct s3_store *s3, const struct s3_write *write, bool *again_out,
                          struct store_info *info_out, struct err *err)
{
    bool conditional = write->cond->if_absent || write->cond->if_match.len > 0;
    enum landed landed = look(s3, write, info_out);
    *again_out = landed != LANDED_OURS;
    return landed == LANDED_OTHER && conditional ? condition_failed(write, err) : OK;
}

/** What one answer means. OK with *again_out: nothing is known yet, or nothing was done. */
static enum status judge(struct s3_store *s3, const struct s3_write *write,
                         const struct s3_request *request, const struct http_answer *answer,
                         bool *again_out, struct store_info *info_out, struct err *err)
{
    bool conditional = write->cond->if_absent || write->cond->if_match.len > 0;
    enum aws_code code = answer->status >= 300 || request->body_tells ? s3_code(answer) : AWS_NONE;
    *again_out = false;
    if (answer->status < 300 && !request->body_tells) {
        return s3_info(answer, info_out, err);
    }
    if (code == AWS_CONDITIONAL_REQUEST_CONFLICT) {
        *again_out = true;
        return OK;
    }
    if ((answer->status < 300 && code == AWS_NONE) || code == AWS_PRECONDITION_FAILED ||
        (code == AWS_NO_SUCH_KEY && conditional)) {
        return settle(s3, write, again_out, info_out, err);
    }
    if (code == AWS_NO_SUCH_UPLOAD && look(s3, write, info_out) == LANDED_OURS) {
        return OK; /* a repeat, of which somebody on the way or we did not hear the first answer */
    }
    return s3_failed(s3, request, answer, err);
}

/** There was no memory: to send it, or to hear the answer. */
static enum status unheard(struct s3_store *s3, const struct s3_write *write,
                           struct store_info *info_out, struct err *err)
{
    enum landed landed = look(s3, write, info_out);
    if (landed == LANDED_UNKNOWN) {
        return err_set(err, E_UPSTREAM, "whether object \"%.*s\" was written is not known",
                       STR_ARG(write->key));
    }
    return landed == LANDED_OURS ? OK : err_no_memory(err);
}

static enum status send_known(struct s3_store *s3, struct s3_write *write,
                              struct s3_request *request, uint64_t size,
                              struct store_info *info_out, struct err *err)
{
    deadline_ms deadline = deadline_in(s3->retry_ms);
    request->repeatable = !write->cond->if_absent && write->cond->if_match.len == 0;
    request->deadline = deadline;
    for (unsigned tries = 0;; tries++) {
        struct http_answer answer;
        struct err why = { 0 };
        bool again = false;
        enum status status = s3_call(s3, request, &answer, &why);
        enum status unknown = status == E_UPSTREAM || status == E_TIMEOUT ? status : OK;
        if (status == OK) {
            status = judge(s3, write, request, &answer, &again, info_out, &why);
        } else if (unknown != OK) {
            status = settle(s3, write, &again, info_out, &why);
        } else if (status == E_NO_MEMORY) {
            status = unheard(s3, write, info_out, &why);
        }
        http_answer_done(&answer);
        if (status == OK && !again) {
            info_out->size = size;
            return OK;
        }
        if (status != OK) {
            return err_set(err, status, "%s", why.msg);
        }
        if (!s3_pause(s3, tries, deadline)) {
            return err_set(err, unknown != OK ? unknown : E_UPSTREAM,
                           "whether object \"%.*s\" was written is not known%s%s",
                           STR_ARG(write->key), why.msg[0] != '\0' ? ": " : "", why.msg);
        }
    }
}

/** Its condition by a look: nobody else writes, and this process not to the same key. */
static enum status send_alone(struct s3_store *s3, struct s3_write *write,
                              struct s3_request *request, uint64_t size,
                              struct store_info *info_out, struct err *err)
{
    static const struct store_cond none;
    const struct store_cond *cond = write->cond;
    struct store_info there;
    size_t kept = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (!str_starts(request->headers[i].name, STR("if-"))) {
            request->headers[kept++] = request->headers[i];
        }
    }
    request->header_count = kept;
    s3_lease_lock(s3->lease, write->key);
    enum status status = OK;
    if (cond->if_absent || cond->if_match.len > 0) {
        status = s3_stat(&s3->base, write->key, &there, NULL, err);
        if (status == OK || status == E_NOT_FOUND) {
            status = store_cond_check(cond, write->key, status == OK ? &there : NULL, err);
        }
    }
    request->try_ms = s3_lease_left_ms(s3->lease);
    if (status == OK && request->try_ms <= 0) {
        status = s3_lease_need(s3->lease, err);
        request->try_ms = s3_lease_left_ms(s3->lease);
    }
    if (status == OK) {
        write->cond = &none;
        status = send_known(s3, write, request, size, info_out, err);
        write->cond = cond;
    }
    s3_lease_unlock(s3->lease, write->key);
    return status;
}

enum status s3_write_send(struct s3_store *s3, struct s3_write *write, struct s3_request *request,
                          uint64_t size, struct store_info *info_out, struct err *err)
{
    return s3->lease != NULL ? send_alone(s3, write, request, size, info_out, err)
                             : send_known(s3, write, request, size, info_out, err);
}

/* --- whole objects --- */

enum status s3_write_bytes(struct s3_store *s3, struct s3_write *write, struct str bytes,
                           struct store_info *info_out, struct err *err)
{
    struct s3_request request = { .method = HTTP_PUT, .key = write->key, .body = bytes };
    TRY(s3_write_condition(write, &request, err));
    s3_write_mark(write, &request);
    return s3_write_send(s3, write, &request, bytes.len, info_out, err);
}

enum status s3_put(struct store *store, struct str key, struct str bytes,
                   const struct store_cond *cond, struct store_info *info_out, struct err *err)
{
    struct s3_write write;
    TRY(s3_may_make((struct s3_store *)store, key, err));
    s3_write_init(&write, key, cond);
    return s3_write_bytes((struct s3_store *)store, &write, bytes, info_out, err);
}

static enum status put_file(struct s3_store *s3, struct s3_write *write, int fd,
                            struct store_info *info_out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "file for key \"%.*s\"", STR_ARG(write->key));
    }
    uint64_t size = (uint64_t)st.st_size;
    if (size <= S3_PART_BYTES) {
        struct s3_request request = {
            .method = HTTP_PUT, .key = write->key, .from_fd = true, .fd = fd, .length = size
        };
        TRY(s3_write_condition(write, &request, err));
        s3_write_mark(write, &request);
        return s3_write_send(s3, write, &request, size, info_out, err);
    }
    struct s3_upload upload;
    TRY(s3_upload_begin(s3, write, &upload, err));
    enum status status = s3_upload_file(&upload, fd, size, err);
    if (status == OK) {
        status = s3_upload_complete(&upload, info_out, err);
    }
    s3_upload_end(&upload, status == OK);
    return status;
}

enum status s3_put_fd(struct store *store, struct str key, int fd, bool adopt,
                      const struct store_cond *cond, struct store_info *info_out, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    struct s3_write write;
    TRY(s3_may_make(s3, key, err));
    s3_write_init(&write, key, cond);
    return put_file(s3, &write, fd, info_out, err);
}

/* --- streams --- */

/*
 * A stream of more than a part goes up part by part, with the attributes that it has then: S3 takes
 * them when an upload begins. One whose attributes come at its end (a checksum is among them) waits
 * in a file without a name.
 */
struct s3_writer {
    struct store_writer base;
    struct s3_store *s3;
    struct s3_write write;
    struct store_target target;
    struct arena arena; /* of the attributes */
    struct buf buffer;  /* at most one part */
    struct s3_upload upload;
    struct str begun; /* the attributes that the upload has */
    bool uploading;
    int spool; /* -1: none */
    uint64_t spooled;
};

enum status s3_writer_open(struct store *store, struct str key, const struct store_cond *cond,
                           struct store_writer **out, struct err *err)
{
    TRY(s3_may_make((struct s3_store *)store, key, err));
    struct s3_writer *writer = mem_zalloc(sizeof *writer);
    if (writer == NULL) {
        return err_no_memory(err);
    }
    writer->base.ops = store->ops;
    writer->s3 = (struct s3_store *)store;
    writer->spool = -1;
    store_target_keep(&writer->target, key, cond);
    s3_write_init(&writer->write, writer->target.key, &writer->target.cond);
    arena_init(&writer->arena, 0);
    buf_init(&writer->buffer, S3_PART_BYTES);
    *out = &writer->base;
    return OK;
}

static enum status begin(struct s3_writer *writer, struct err *err)
{
    writer->begun = arena_str(&writer->arena, writer->base.attrs);
    if (writer->begun.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(s3_write_attrs(&writer->write, writer->begun, &writer->arena, err));
    TRY(s3_upload_begin(writer->s3, &writer->write, &writer->upload, err));
    writer->uploading = true;
    return OK;
}

static enum status part_send(struct s3_writer *writer, struct err *err)
{
    if (writer->base.attrs_late) {
        if (writer->spool < 0) {
            TRY(store_spool_temp(&writer->s3->base, &writer->spool, err));
        }
        TRY(io_pwrite_full(writer->spool, writer->buffer.ptr, writer->buffer.len, writer->spooled,
                           err));
        writer->spooled += writer->buffer.len;
    } else {
        if (!writer->uploading) {
            TRY(begin(writer, err));
        }
        TRY(s3_upload_part(&writer->upload, buf_str(&writer->buffer), err));
    }
    buf_clear(&writer->buffer);
    return OK;
}

enum status s3_writer_write(struct store_writer *base, struct str bytes, struct err *err)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    while (bytes.len > 0) {
        if (writer->buffer.len == S3_PART_BYTES) {
            TRY(part_send(writer, err));
        }
        size_t room = S3_PART_BYTES - writer->buffer.len;
        struct str piece = str_take(bytes, room < bytes.len ? room : bytes.len);
        if (buf_append(&writer->buffer, piece) != OK) {
            return err_no_memory(err);
        }
        bytes = str_skip(bytes, piece.len);
    }
    return OK;
}

void s3_writer_name(struct store_writer *base, struct str key)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    assert(base->attrs_late);
    writer->write.key = key;
}

void s3_writer_abort(struct store_writer *base)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    if (writer->uploading) {
        s3_upload_end(&writer->upload, false);
    }
    if (writer->spool >= 0) {
        (void)close(writer->spool);
    }
    buf_done(&writer->buffer);
    arena_done(&writer->arena);
    mem_free(writer);
}

static enum status commit_upload(struct s3_writer *writer, struct store_info *info_out,
                                 struct err *err)
{
    enum status status = OK;
    if (!str_eq(writer->begun, writer->base.attrs)) {
        status = err_set(err, E_INVALID,
                         "object \"%.*s\": the attributes of more than %d bytes come before them, "
                         "or are said to come late",
                         STR_ARG(writer->target.key), S3_PART_BYTES);
    } else if (writer->buffer.len > 0) {
        status = part_send(writer, err);
    }
    if (status == OK) {
        status = s3_upload_complete(&writer->upload, info_out, err);
    }
    s3_upload_end(&writer->upload, status == OK);
    writer->uploading = false;
    return status;
}

static enum status commit_rest(struct s3_writer *writer, struct store_info *info_out,
                               struct err *err)
{
    TRY(s3_write_attrs(&writer->write, writer->base.attrs, &writer->arena, err));
    if (writer->spool < 0) {
        return s3_write_bytes(writer->s3, &writer->write, buf_str(&writer->buffer), info_out, err);
    }
    TRY(part_send(writer, err));
    return put_file(writer->s3, &writer->write, writer->spool, info_out, err);
}

enum status s3_writer_commit(struct store_writer *base, struct store_info *info_out,
                             struct err *err)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    enum status status = writer->uploading ? commit_upload(writer, info_out, err)
                                           : commit_rest(writer, info_out, err);
    s3_writer_abort(base);
    return status;
}
