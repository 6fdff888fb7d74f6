/*
 * Three stages, each called by the one before. A stage that has to see the first bytes collects
 * them in its `head`, decides, and then sends them on with all the rest.
 */
#include "ingest/body.h"

#include "base/mem.h"

enum { HEAD_BYTES = INFLATE_MAGIC_BYTES, PIECE_BYTES = 16 * 1024 };

struct head {
    char bytes[HEAD_BYTES];
    size_t len;
    bool decided;
};

struct body {
    struct body_opts opts;
    struct inflate *transport; /* of Content-Encoding; NULL: none */
    struct inflate *packing;   /* of the file itself; NULL: none, or not decided */
    struct head packed, plain;
    bool decode;    /* by `charset` */
    size_t dropped; /* bytes of a mark in front of UTF-8 */
    struct charset_reader charset;
    uint64_t handed_on; /* bytes that the sink has got */
    char piece[CHARSET_BYTES_MAX * (PIECE_BYTES + 1)];
};

enum status ingest_body_new(const struct body_opts *opts, struct body **out, struct err *err)
{
    struct body *body = mem_zalloc(sizeof(*body));
    if (body == NULL) {
        return err_no_memory(err);
    }
    body->opts = *opts;
    if (opts->encoding != INFLATE_NONE) {
        struct inflate_opts inflate = { opts->encoding, opts->plain_bytes_max,
                                        opts->expansion_max };
        enum status status = inflate_new(&inflate, &body->transport, err);
        if (status != OK) {
            ingest_body_free(body);
            return status;
        }
    }
    *out = body;
    return OK;
}

void ingest_body_free(struct body *body)
{
    if (body == NULL) {
        return;
    }
    inflate_free(body->transport);
    inflate_free(body->packing);
    mem_free(body);
}

/** Collect first bytes; what is left of `bytes` stays in it. True when there are enough. */
static bool collect(struct head *head, struct str *bytes)
{
    size_t room = HEAD_BYTES - head->len, take = bytes->len < room ? bytes->len : room;
    if (take > 0) {
        memcpy(head->bytes + head->len, bytes->ptr, take);
    }
    head->len += take;
    *bytes = str_skip(*bytes, take);
    return head->len == HEAD_BYTES;
}

/* --- third: the character set --- */

/** No text format has NUL, and DuckDB would take it for one more character. */
static enum status hand_on(struct body *body, struct str text, struct err *err)
{
    const char *nul = !body->opts.binary && text.len > 0 ? memchr(text.ptr, '\0', text.len) : NULL;
    if (nul != NULL) {
        return err_set(
            err, E_INVALID,
            "the file is not text: byte %llu is NUL (say charset=utf-16 if it is UTF-16)",
            (unsigned long long)(body->handed_on + (uint64_t)(nul - text.ptr)));
    }
    body->handed_on += text.len;
    return text.len > 0 ? body->opts.sink(body->opts.ctx, text, err) : OK;
}

static enum status decode(struct body *body, struct str bytes, struct err *err)
{
    if (!body->decode) {
        return hand_on(body, bytes, err);
    }
    while (bytes.len > 0) {
        size_t len;
        TRY(charset_read(&body->charset, str_take(bytes, PIECE_BYTES), body->piece, &len, err));
        bytes = str_skip(bytes, PIECE_BYTES);
        TRY(hand_on(body, str_from(body->piece, len), err));
    }
    return OK;
}

/** By the first bytes: Parquet is no text; byte order marks. */
static enum status begin_text(struct body *body, struct err *err)
{
    struct str head = str_from(body->plain.bytes, body->plain.len);
    enum charset charset = body->opts.charset;
    body->plain.decided = true;
    if (!body->opts.charset_given &&
        (str_starts(head, STR("\xff\xfe")) || str_starts(head, STR("\xfe\xff")))) {
        charset = CHARSET_UTF16;
    }
    body->opts.binary = body->opts.binary || str_starts(head, STR("PAR1"));
    charset = body->opts.binary ? CHARSET_UTF8 : charset;
    if (charset == CHARSET_UTF8 && !body->opts.binary && str_starts(head, STR("\xef\xbb\xbf"))) {
        body->dropped = 3;
        head = str_skip(head, body->dropped);
    }
    body->decode = charset != CHARSET_UTF8;
    charset_init(&body->charset, charset);
    return decode(body, head, err);
}

static enum status take_plain(void *ctx, struct str bytes, struct err *err)
{
    struct body *body = ctx;
    if (!body->plain.decided) {
        if (!collect(&body->plain, &bytes)) {
            return OK;
        }
        TRY(begin_text(body, err));
    }
    return decode(body, bytes, err);
}

/* --- second: the file's own packing --- */

static enum status unpack(struct body *body, struct str bytes, struct err *err)
{
    return body->packing != NULL ? inflate_feed(body->packing, bytes, take_plain, body, err)
                                 : take_plain(body, bytes, err);
}

static enum status begin_packing(struct body *body, struct err *err)
{
    struct str head = str_from(body->packed.bytes, body->packed.len);
    enum inflate_kind kind = inflate_sniff(head);
    body->packed.decided = true;
    if (body->opts.named != INFLATE_NONE && kind != body->opts.named) {
        return err_set(err, E_INVALID, "the file is named as one packed by %s, and is none",
                       inflate_name(body->opts.named));
    }
    if (kind != INFLATE_NONE) {
        struct inflate_opts inflate = { kind, body->opts.plain_bytes_max,
                                        body->opts.expansion_max };
        TRY(inflate_new(&inflate, &body->packing, err));
    }
    return unpack(body, head, err);
}

static enum status take_file(void *ctx, struct str bytes, struct err *err)
{
    struct body *body = ctx;
    if (!body->packed.decided) {
        if (!collect(&body->packed, &bytes)) {
            return OK;
        }
        TRY(begin_packing(body, err));
    }
    return unpack(body, bytes, err);
}

uint64_t body_file_bytes(const struct body *body, uint64_t wire_bytes)
{
    bool passes = body->transport == NULL && body->packing == NULL && body->plain.decided &&
                  !body->decode;
    return passes && wire_bytes > body->dropped ? wire_bytes - body->dropped : 0;
}

/* --- first: Content-Encoding --- */

enum status body_feed(struct body *body, struct str bytes, struct err *err)
{
    return body->transport != NULL ? inflate_feed(body->transport, bytes, take_file, body, err)
                                   : take_file(body, bytes, err);
}

enum status body_end(struct body *body, struct err *err)
{
    if (body->transport != NULL) {
        TRY(inflate_end(body->transport, err));
    }
    if (!body->packed.decided) {
        TRY(begin_packing(body, err));
    }
    if (body->packing != NULL) {
        TRY(inflate_end(body->packing, err));
    }
    if (!body->plain.decided) {
        TRY(begin_text(body, err));
    }
    return body->decode ? charset_end(&body->charset, err) : OK;
}
