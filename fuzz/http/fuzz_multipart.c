/*
 * Any bytes as a form. The first line is the Content-Type, the rest the body. However the body is
 * cut into pieces, the same file must come out of it, and nothing that was not in it.
 */
#include "http/multipart.h"

#include <assert.h>
#include <stdint.h>

enum { BODY_MAX = 256 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t parts;
    struct buf names, bytes;
};

static enum status on_part(void *ctx, const struct multipart_part *part, struct err *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->parts++;
    assert(seen->parts == 1 && part->has_file_name);
    assert(buf_append(&seen->names, part->field) == OK);
    assert(buf_append(&seen->names, part->file_name) == OK);
    assert(buf_append(&seen->names, part->content_type) == OK);
    return OK;
}

static enum status on_data(void *ctx, struct str bytes, struct err *err)
{
    struct seen *seen = ctx;
    (void)err;
    assert(seen->parts == 1);
    assert(buf_append(&seen->bytes, bytes) == OK);
    return OK;
}

/* Feeds pieces of `piece` bytes (0: all at once), every other one of a byte. */
static enum status take(struct str type, struct str body, size_t piece, struct seen *seen)
{
    struct multipart *multipart = NULL;
    struct multipart_events events = { on_part, on_data, seen };
    buf_init(&seen->names, 0);
    buf_init(&seen->bytes, 0);
    enum status status = multipart_new(type, &events, &multipart, NULL);
    for (size_t at = 0, turn = 0; status == OK && at < body.len; turn++) {
        size_t want = piece == 0 ? body.len : turn % 2 == 0 ? piece : 1;
        size_t len = want < body.len - at ? want : body.len - at;
        status = multipart_feed(multipart, str_from(body.ptr + at, len), NULL);
        at += len;
    }
    if (status == OK) {
        status = multipart_end(multipart, NULL);
    }
    multipart_free(multipart);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = str_from((const char *)data, size < BODY_MAX ? size : BODY_MAX);
    struct str type = str_split(&body, '\n');
    struct seen whole = { 0 }, pieces = { 0 };
    if (body.ptr == NULL) {
        body = STR_EMPTY;
    }
    (void)multipart_is(type);
    enum status of_whole = take(type, body, 0, &whole);
    enum status of_pieces = take(type, body, 1 + size % 61, &pieces);
    assert(of_whole == of_pieces);
    if (of_whole == OK) {
        assert(whole.parts == 1 && whole.bytes.len < body.len);
        assert(str_eq(buf_str(&whole.names), buf_str(&pieces.names)));
        assert(str_eq(buf_str(&whole.bytes), buf_str(&pieces.bytes)));
    }
    buf_done(&whole.names);
    buf_done(&whole.bytes);
    buf_done(&pieces.names);
    buf_done(&pieces.bytes);
    return 0;
}
