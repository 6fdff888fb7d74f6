/*
 * llhttp with whole header fields instead of pieces, and only the final answer reported.
 */
#include "http/answer_parser.h"

#include <llhttp.h>

#include "base/mem.h"

enum { FIELD_BYTES_MAX = 256 * 1024 };

struct answer_parser {
    llhttp_t llhttp;
    llhttp_settings_t settings;
    struct answer_events events;
    bool no_body, head_done, done, in_value, bad_status;
    struct buf name, value;
};

static int keep_header(struct answer_parser *parser)
{
    if (!parser->in_value) {
        return 0;
    }
    parser->in_value = false;
    enum status status = parser->events.header(parser->events.ctx, buf_str(&parser->name),
                                               buf_str(&parser->value));
    buf_clear(&parser->name);
    buf_clear(&parser->value);
    return status == OK ? 0 : HPE_USER;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t length)
{
    struct answer_parser *parser = llhttp->data;
    if (parser->head_done) {
        return 0; /* a trailer: hop by hop, left out */
    }
    if (keep_header(parser) != 0) {
        return HPE_USER;
    }
    return buf_append(&parser->name, str_from(at, length)) == OK ? 0 : HPE_USER;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t length)
{
    struct answer_parser *parser = llhttp->data;
    if (parser->head_done) {
        return 0;
    }
    parser->in_value = true;
    return buf_append(&parser->value, str_from(at, length)) == OK ? 0 : HPE_USER;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct answer_parser *parser = llhttp->data;
    if (keep_header(parser) != 0) {
        return -1;
    }
    if (llhttp->status_code < 100) { /* to llhttp it may have a body */
        parser->bad_status = true;
        return -1;
    }
    if (llhttp->status_code < 200) {
        parser->events.interim(parser->events.ctx, llhttp->status_code);
        return 0;
    }
    parser->head_done = true;
    bool keep_alive = llhttp_should_keep_alive(llhttp) != 0;
    if (parser->events.head(parser->events.ctx, llhttp->status_code, keep_alive) != OK) {
        return -1;
    }
    return parser->no_body ? 1 : 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t length)
{
    struct answer_parser *parser = llhttp->data;
    return parser->events.body(parser->events.ctx, str_from(at, length)) == OK ? 0 : HPE_USER;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct answer_parser *parser = llhttp->data;
    if (!parser->head_done) {
        return 0; /* a 1xx */
    }
    parser->done = true;
    return HPE_PAUSED; /* what stands behind the answer belongs to nobody */
}

struct answer_parser *answer_parser_new(const struct answer_events *events, bool no_body)
{
    struct answer_parser *parser = mem_zalloc(sizeof(*parser));
    if (parser == NULL) {
        return NULL;
    }
    parser->events = *events;
    buf_init(&parser->name, FIELD_BYTES_MAX);
    buf_init(&parser->value, FIELD_BYTES_MAX);
    llhttp_settings_init(&parser->settings);
    parser->settings.on_header_field = on_header_field;
    parser->settings.on_header_value = on_header_value;
    parser->settings.on_headers_complete = on_headers_complete;
    parser->settings.on_body = on_body;
    parser->settings.on_message_complete = on_message_complete;
    answer_parser_reset(parser, no_body);
    return parser;
}

void answer_parser_free(struct answer_parser *parser)
{
    if (parser == NULL) {
        return;
    }
    buf_done(&parser->name);
    buf_done(&parser->value);
    mem_free(parser);
}

void answer_parser_reset(struct answer_parser *parser, bool no_body)
{
    parser->no_body = no_body;
    llhttp_init(&parser->llhttp, HTTP_RESPONSE, &parser->settings);
    parser->llhttp.data = parser;
    parser->head_done = parser->done = parser->in_value = parser->bad_status = false;
    buf_clear(&parser->name);
    buf_clear(&parser->value);
}

enum status answer_parser_feed(struct answer_parser *parser, struct str bytes, size_t *used_out,
                               struct err *err)
{
    enum llhttp_errno code = llhttp_execute(&parser->llhttp, bytes.ptr, bytes.len);
    if (code == HPE_OK) {
        *used_out = bytes.len;
        return OK;
    }
    if (code == HPE_PAUSED && parser->done) {
        *used_out = (size_t)(llhttp_get_error_pos(&parser->llhttp) - bytes.ptr);
        return OK;
    }
    const char *reason = parser->bad_status ? "its status is none"
                                            : llhttp_get_error_reason(&parser->llhttp);
    return err_set(err, E_UPSTREAM, "%s",
                   code == HPE_USER || reason == NULL ? "its answer is too large" : reason);
}

enum status answer_parser_end(struct answer_parser *parser, struct err *err)
{
    if (parser->done) {
        return OK;
    }
    /* on_message_complete notes that it was called, and its pause is what llhttp_finish gives */
    if (!parser->head_done || (llhttp_finish(&parser->llhttp) != HPE_OK && !parser->done)) {
        return err_set(err, E_UPSTREAM, "its answer is not whole");
    }
    parser->done = true;
    return OK;
}

bool answer_parser_done(const struct answer_parser *parser)
{
    return parser->done;
}
