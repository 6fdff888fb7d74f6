/*
 * Any bytes as what a service answers. The first byte says whether it was asked by HEAD and how the
 * rest is cut; however that is, the same answer must come out, or the same refusal.
 */
#include "http/answer_parser.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct buf headers, body;
    int status;
    bool keep_alive;
    size_t heads, interims, used;
    bool done;
};

static enum status on_header(void *ctx, struct str name, struct str value)
{
    struct seen *seen = ctx;
    assert(seen->heads == 0 && str_find_char(name, ':') == SIZE_MAX);
    assert(str_find_char(value, '\n') == SIZE_MAX && str_find_char(value, '\0') == SIZE_MAX);
    assert(buf_append(&seen->headers, name) == OK && buf_append_char(&seen->headers, ':') == OK);
    assert(buf_append(&seen->headers, value) == OK && buf_append_char(&seen->headers, '\n') == OK);
    return OK;
}

static enum status on_head(void *ctx, int status, bool keep_alive)
{
    struct seen *seen = ctx;
    seen->heads++;
    assert(seen->heads == 1 && status >= 200 && status <= 999);
    seen->status = status;
    seen->keep_alive = keep_alive;
    return OK;
}

static void on_interim(void *ctx, int status)
{
    struct seen *seen = ctx;
    assert(seen->heads == 0 && status < 200);
    seen->interims++;
    buf_clear(&seen->headers);
}

static enum status on_body(void *ctx, struct str bytes)
{
    struct seen *seen = ctx;
    assert(seen->heads == 1 && !seen->done);
    return buf_append(&seen->body, bytes);
}

static enum status take(struct str text, bool head_only, size_t piece, struct seen *seen)
{
    *seen = (struct seen){ .status = 0 };
    buf_init(&seen->headers, 0);
    buf_init(&seen->body, 0);
    struct answer_events events = { on_header, on_head, on_interim, on_body, seen };
    struct answer_parser *parser = answer_parser_new(&events, head_only);
    assert(parser != NULL);
    enum status status = OK;
    while (status == OK && seen->used < text.len && !answer_parser_done(parser)) {
        size_t left = text.len - seen->used, used = 0;
        struct str bytes = str_from(text.ptr + seen->used, piece < left ? piece : left);
        status = answer_parser_feed(parser, bytes, &used, NULL);
        if (status == OK) {
            assert(used <= bytes.len && (used == bytes.len || answer_parser_done(parser)));
            seen->used += used;
        }
    }
    if (status == OK) {
        status = answer_parser_end(parser, NULL);
    }
    seen->done = answer_parser_done(parser);
    assert(!seen->done || status == OK);
    assert(!seen->done || (seen->heads == 1 && (!head_only || seen->body.len == 0)));
    answer_parser_free(parser);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct str text = str_from((const char *)data + 1, size - 1);
    struct seen whole, pieces;
    bool head_only = (data[0] & 1) != 0;
    enum status of_whole = take(text, head_only, SIZE_MAX, &whole);
    enum status of_pieces = take(text, head_only, 1 + (data[0] >> 1) % 17, &pieces);
    assert(of_whole == of_pieces);
    if (of_whole == OK) {
        assert(whole.status == pieces.status && whole.keep_alive == pieces.keep_alive);
        assert(whole.used == pieces.used && whole.interims == pieces.interims);
        assert(str_eq(buf_str(&whole.headers), buf_str(&pieces.headers)));
        assert(str_eq(buf_str(&whole.body), buf_str(&pieces.body)));
    }
    buf_done(&whole.headers);
    buf_done(&whole.body);
    buf_done(&pieces.headers);
    buf_done(&pieces.body);
    return 0;
}
