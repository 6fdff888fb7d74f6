/*
 * HTTP/1.1 answers as they arrive, by llhttp, behind names of our own (llhttp's and
 * http/message.h's enumerators do not fit into one file).
 */
#ifndef HTTP_ANSWER_PARSER_H
#define HTTP_ANSWER_PARSER_H

#include "base/buf.h"

struct answer_parser;

/** Called while bytes are fed; a failure ends the parsing. The slices are valid during the call
 * only. */
struct answer_events {
    enum status (*header)(void *ctx, struct str name, struct str value);
    /* of the final answer; 1xx are dropped */
    enum status (*head)(void *ctx, int status, bool keep_alive);
    /* a 1xx ended: forget the headers so far */
    void (*interim)(void *ctx, int status);
    enum status (*body)(void *ctx, struct str bytes);
    void *ctx;
};

/** `events` is copied. `no_body`: the answer to a HEAD. NULL without memory. */
struct answer_parser *answer_parser_new(const struct answer_events *events, bool no_body) MUST_USE;
void answer_parser_free(struct answer_parser *parser);
/** For a new answer. */
void answer_parser_reset(struct answer_parser *parser, bool no_body);
/** Feed bytes; *used_out < bytes.len only when the answer is whole and more stands behind it.
 * E_UPSTREAM with a reason. */
enum status answer_parser_feed(struct answer_parser *parser, struct str bytes, size_t *used_out,
                               struct err *err) MUST_USE;
/** The connection has ended; E_UPSTREAM when the answer needed more. */
enum status answer_parser_end(struct answer_parser *parser, struct err *err) MUST_USE;
/** The answer is whole. */
bool answer_parser_done(const struct answer_parser *parser);

#endif
