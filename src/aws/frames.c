/*
 * The decoder of aws-chunked bodies: a state machine over bytes. Only heads of frames and the
 * trailers are gathered (they may be cut anywhere), data passes through.
 *
 *     HEAD -> DATA -> DATA_CR -> DATA_LF -> HEAD ... HEAD of size 0 -> TRAILERS
 *
 * What stands behind the last frame is gathered until the body is over and read then, so that each
 * client's way to end a line is one case. A frame's signature is checked with its last byte of
 * data, before that is given out.
 */
#include "aws/frames.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"

#define HEAD_FIELD "chunk-signature="

enum {
    SIZE_DIGITS_MAX = 16,
    SCOPE_MAX = 1024, /* bytes; some 40 are usual; chosen */
    TO_SIGN_MAX = SCOPE_MAX + 512,
};

enum state { HEAD, DATA, DATA_CR, DATA_LF, TRAILERS, ENDED, BROKEN };

struct trailer {
    struct str name;  /* as promised, without case */
    struct str value; /* .ptr NULL: has not come */
};

struct aws_frames {
    enum state state;
    bool is_signed, has_trailers;
    struct aws_signing_key key;
    struct arena arena; /* names of trailers, time and scope */
    struct str time, scope;
    char last[SHA256_HEX + 1];    /* the last signature that was right: the next covers it */
    char claimed[SHA256_HEX + 1]; /* of the frame at work */
    struct digest *digest;        /* of its data */
    uint64_t frame_left;          /* bytes of its data that have not come */
    uint64_t left;                /* of the whole body's */
    struct trailer trailers[AWS_TRAILERS_MAX];
    size_t trailer_count;
    size_t len;                           /* of gathered */
    char gathered[AWS_TRAILER_BYTES_MAX]; /* a head, or the trailers */
};

_Static_assert((int)AWS_FRAME_HEAD_MAX <= (int)AWS_TRAILER_BYTES_MAX, "one place for both");

static enum status fail(struct aws_frames *frames, enum aws_code code, enum aws_code *code_out,
                        struct err *err, const char *what)
{
    frames->state = BROKEN;
    *code_out = code;
    return code == AWS_INTERNAL_ERROR ? err_no_memory(err)
                                      : err_set(err, aws_code_kind(code), "%s", what);
}

/* --- made and freed --- */

static enum status promise(struct aws_frames *frames, struct str names, struct err *err)
{
    for (struct str rest = names; rest.ptr != NULL && names.len > 0;) {
        struct str name = str_trim(str_split(&rest, ','));
        if (name.len == 0) {
            continue;
        }
        if (frames->trailer_count == AWS_TRAILERS_MAX || !frames->has_trailers) {
            return err_set(err, E_INVALID, "x-amz-trailer promises %s",
                           frames->has_trailers ? "too many trailers"
                                                : "trailers, x-amz-content-sha256 has none");
        }
        frames->trailers[frames->trailer_count++].name = name;
    }
    return OK;
}

enum status aws_frames_new(const struct aws_frames_opts *opts, struct aws_frames **out,
                           struct err *err)
{
    assert(opts->payload >= AWS_PAYLOAD_STREAM);
    if (opts->scope.len > SCOPE_MAX || opts->time.len > AWS_TIME_LEN) {
        return err_set(err, E_INVALID, "the scope of the signature is too long");
    }
    struct aws_frames *frames = mem_zalloc(sizeof(*frames));
    if (frames == NULL) {
        return err_no_memory(err);
    }
    frames->is_signed = opts->payload != AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
    frames->has_trailers = opts->payload != AWS_PAYLOAD_STREAM;
    frames->key = opts->key;
    frames->left = opts->decoded_length;
    arena_init(&frames->arena, 0);
    frames->time = arena_str(&frames->arena, opts->time);
    frames->scope = arena_str(&frames->arena, opts->scope);
    struct str names = arena_str(&frames->arena, opts->trailer_names);
    enum status status = frames->time.ptr != NULL && frames->scope.ptr != NULL && names.ptr != NULL
                             ? promise(frames, names, err)
                             : err_no_memory(err);
    if (status != OK) {
        aws_frames_free(frames);
        return status;
    }
    if (frames->is_signed) {
        assert(opts->seed.len == SHA256_HEX);
        memcpy(frames->last, opts->seed.ptr, SHA256_HEX);
    }
    *out = frames;
    return OK;
}

void aws_frames_free(struct aws_frames *frames)
{
    if (frames != NULL) {
        digest_free(frames->digest);
        arena_done(&frames->arena);
        explicit_bzero(&frames->key, sizeof(frames->key));
        mem_free(frames);
    }
}

/* --- signatures --- */

/** A buffer in memory of our own that is large enough: it never allocates, so it cannot fail. */
static struct buf own_buf(char *room, size_t cap, size_t len)
{
    assert(len < cap);
    return (struct buf){ .ptr = room, .len = len, .cap = cap, .max = cap };
}

static void must_fit(enum status status)
{
    assert(status == OK);
    (void)status;
}

/** Is `claimed` what `kind` and the rest of the string to sign give? It becomes the last one. */
static enum status check(struct aws_frames *frames, const char *kind, const char *rest,
                         struct str hash, struct str claimed, enum aws_code *code_out,
                         struct err *err)
{
    char right[SHA256_HEX + 1], text[TO_SIGN_MAX];
    int len = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256-%s\n%.*s\n%.*s\n%s\n%s", kind,
                       STR_ARG(frames->time), STR_ARG(frames->scope), frames->last, rest);
    struct buf to_sign = own_buf(text, sizeof(text), (size_t)len);
    must_fit(hex_append(&to_sign, hash.ptr, hash.len));
    aws_signature(&frames->key, buf_str(&to_sign), right);
    if (!digest_equal(claimed, str_from(right, SHA256_HEX))) {
        return fail(frames, AWS_SIGNATURE_DOES_NOT_MATCH, code_out, err,
                    "a signature in the body is not that of what it covers");
    }
    memcpy(frames->last, right, SHA256_HEX);
    return OK;
}

/** All data of a signed frame is there. */
static enum status check_frame(struct aws_frames *frames, enum aws_code *code_out, struct err *err)
{
    uint8_t hash[SHA256_BYTES];
    digest_final(frames->digest, hash);
    digest_free(frames->digest);
    frames->digest = NULL;
    return check(frames, "PAYLOAD", AWS_EMPTY_SHA256 "\n", str_from((char *)hash, sizeof(hash)),
                 str_from(frames->claimed, SHA256_HEX), code_out, err);
}

/* --- frames --- */

/** Hex digits of either case, at least one, without a prefix. */
static bool read_size(struct str text, uint64_t *out)
{
    uint64_t size = 0;
    if (text.len == 0 || text.len > SIZE_DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        char letter = (char)(c | 0x20);
        if (!(c >= '0' && c <= '9') && !(letter >= 'a' && letter <= 'f')) {
            return false;
        }
        size = size << 4 | (uint64_t)(c <= '9' ? c - '0' : letter - 'a' + 10);
    }
    *out = size;
    return true;
}

/** Sets the size and the signature that is claimed. */
static bool read_head(struct aws_frames *frames, struct str line, uint64_t *size_out)
{
    struct str signature = line;
    struct str size = str_split(&signature, ';');
    if (!frames->is_signed) {
        return signature.ptr == NULL && read_size(size, size_out);
    }
    if (signature.ptr == NULL || !str_starts(signature, STR(HEAD_FIELD))) {
        return false;
    }
    signature = str_skip(signature, sizeof(HEAD_FIELD) - 1);
    if (signature.len != SHA256_HEX) {
        return false;
    }
    memcpy(frames->claimed, signature.ptr, SHA256_HEX);
    return read_size(size, size_out);
}

static enum status begin_frame(struct aws_frames *frames, enum aws_code *code_out, struct err *err)
{
    struct str line = str_from(frames->gathered, frames->len);
    uint64_t size;
    if (!str_ends(line, STR("\r\n")) || !read_head(frames, str_take(line, line.len - 2), &size)) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    frames->is_signed
                        ? "a frame of the body does not begin with size;chunk-signature="
                        : "a frame of the body does not begin with its size");
    }
    if (size > frames->left) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    "the body is longer than x-amz-decoded-content-length says");
    }
    frames->len = 0;
    frames->frame_left = size;
    frames->left -= size;
    frames->state = size > 0 ? DATA : TRAILERS;
    if (frames->is_signed) {
        frames->digest = digest_new(DIGEST_SHA256);
        if (frames->digest == NULL) {
            return fail(frames, AWS_INTERNAL_ERROR, code_out, err, NULL);
        }
        return size > 0 ? OK : check_frame(frames, code_out, err);
    }
    return OK;
}

static enum status push_head(struct aws_frames *frames, struct str *rest, enum aws_code *code_out,
                             struct err *err)
{
    size_t at = str_find_char(*rest, '\n');
    struct str piece = str_take(*rest, at == SIZE_MAX ? rest->len : at + 1);
    if (piece.len > AWS_FRAME_HEAD_MAX - frames->len) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    "the head of a frame of the body is too long");
    }
    memcpy(frames->gathered + frames->len, piece.ptr, piece.len);
    frames->len += piece.len;
    *rest = str_skip(*rest, piece.len);
    return at == SIZE_MAX ? OK : begin_frame(frames, code_out, err);
}

static enum status push_data(struct aws_frames *frames, struct str *rest, struct str *data_out,
                             enum aws_code *code_out, struct err *err)
{
    struct str piece = *rest;
    if (piece.len > frames->frame_left) {
        piece.len = (size_t)frames->frame_left;
    }
    frames->frame_left -= piece.len;
    if (frames->is_signed) {
        digest_update(frames->digest, piece.ptr, piece.len);
    }
    if (frames->frame_left == 0) {
        frames->state = DATA_CR;
        TRY(frames->is_signed ? check_frame(frames, code_out, err) : OK);
    }
    *rest = str_skip(*rest, piece.len);
    *data_out = piece;
    return OK;
}

static enum status push_line_end(struct aws_frames *frames, struct str *rest,
                                 enum aws_code *code_out, struct err *err)
{
    if (rest->ptr[0] != (frames->state == DATA_CR ? '\r' : '\n')) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    "the data of a frame of the body is not as long as its head says");
    }
    frames->state = frames->state == DATA_CR ? DATA_LF : HEAD;
    *rest = str_skip(*rest, 1);
    return OK;
}

static enum status push_trailers(struct aws_frames *frames, struct str *rest,
                                 enum aws_code *code_out, struct err *err)
{
    if (rest->len > sizeof(frames->gathered) - frames->len) {
        return fail(frames, AWS_MALFORMED_TRAILER, code_out, err,
                    "there are too many bytes behind the last frame of the body");
    }
    memcpy(frames->gathered + frames->len, rest->ptr, rest->len);
    frames->len += rest->len;
    *rest = str_skip(*rest, rest->len);
    return OK;
}

enum status aws_frames_push(struct aws_frames *frames, struct str *rest, struct str *data_out,
                            enum aws_code *code_out, struct err *err)
{
    struct str data = STR_EMPTY, left = *rest;
    enum status status = OK;
    while (status == OK && left.len > 0 && data.len == 0) {
        switch (frames->state) {
        case HEAD:
            status = push_head(frames, &left, code_out, err);
            break;
        case DATA:
            status = push_data(frames, &left, &data, code_out, err);
            break;
        case DATA_CR:
        case DATA_LF:
            status = push_line_end(frames, &left, code_out, err);
            break;
        case TRAILERS:
            status = push_trailers(frames, &left, code_out, err);
            break;
        case ENDED:
        case BROKEN:
            status = fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                          "the body was over, or broken, before");
            break;
        }
    }
    if (status == OK) {
        *rest = left;
        *data_out = data;
    }
    return status;
}

/* --- trailers --- */

static struct trailer *find(const struct aws_frames *frames, struct str name)
{
    for (size_t i = 0; i < frames->trailer_count; i++) {
        if (str_eq_nocase(frames->trailers[i].name, name)) {
            return (struct trailer *)&frames->trailers[i];
        }
    }
    return NULL;
}

/** One line that is not empty. `canonical` takes it as "name:value LF", for the signature. */
static const char *read_trailer(struct aws_frames *frames, struct str line, struct buf *canonical,
                                struct str *signature)
{
    struct str value = line;
    struct str name = str_split(&value, ':');
    if (value.ptr == NULL) {
        return "a trailer has no colon";
    }
    value = str_trim(value);
    if (frames->is_signed && str_eq_nocase(name, STR("x-amz-trailer-signature"))) {
        if (signature->ptr != NULL) {
            return "the signature of the trailers is there twice";
        }
        *signature = value;
        return NULL;
    }
    struct trailer *trailer = find(frames, name);
    if (trailer == NULL || trailer->value.ptr != NULL) {
        return "a trailer is not in x-amz-trailer, or is there twice";
    }
    if (signature->ptr != NULL) {
        return "a trailer stands behind the signature of the trailers";
    }
    trailer->value = value;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        must_fit(buf_append_char(canonical, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c)));
    }
    must_fit(buf_append_char(canonical, ':'));
    must_fit(buf_append(canonical, value));
    must_fit(buf_append_char(canonical, '\n'));
    return NULL;
}

static enum status read_trailers(struct aws_frames *frames, struct buf *canonical,
                                 struct str *signature, enum aws_code *code_out, struct err *err)
{
    for (struct str rest = str_from(frames->gathered, frames->len); rest.ptr != NULL;) {
        struct str line = str_split(&rest, '\n');
        line = str_ends(line, STR("\r")) ? str_take(line, line.len - 1) : line;
        const char *fault = line.len > 0 ? read_trailer(frames, line, canonical, signature) : NULL;
        if (fault != NULL) {
            return fail(frames, AWS_MALFORMED_TRAILER, code_out, err, fault);
        }
    }
    for (size_t i = 0; i < frames->trailer_count; i++) {
        if (frames->trailers[i].value.ptr == NULL) {
            return fail(frames, AWS_MALFORMED_TRAILER, code_out, err,
                        "a trailer that x-amz-trailer promises is not there");
        }
    }
    return OK;
}

static enum status end_trailers(struct aws_frames *frames, enum aws_code *code_out, struct err *err)
{
    /* A line of a trailer is not longer there than here, where its end counts too. */
    char room[AWS_TRAILER_BYTES_MAX + 1];
    struct buf canonical = own_buf(room, sizeof(room), 0);
    struct str signature = { 0 };
    TRY(read_trailers(frames, &canonical, &signature, code_out, err));
    if (!frames->is_signed) {
        return OK;
    }
    uint8_t hash[SHA256_BYTES];
    sha256(buf_str(&canonical), hash);
    return check(frames, "TRAILER", "", str_from((char *)hash, sizeof(hash)), signature, code_out,
                 err);
}

enum status aws_frames_end(struct aws_frames *frames, enum aws_code *code_out, struct err *err)
{
    struct str text = str_from(frames->gathered, frames->len);
    if (frames->state == BROKEN) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err, "the body was broken before");
    }
    /* An empty line ends it, alone or behind trailers. */
    if (frames->state != TRAILERS || frames->left > 0 ||
        !(str_eq(text, STR("\r\n")) || str_ends(text, STR("\n\r\n")))) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    frames->state == TRAILERS && frames->left > 0
                        ? "the body is shorter than x-amz-decoded-content-length says"
                        : "the body ends before its last frame does");
    }
    if (frames->has_trailers) {
        TRY(end_trailers(frames, code_out, err));
    } else if (text.len != 2) {
        return fail(frames, AWS_INCOMPLETE_BODY, code_out, err,
                    "there are bytes behind the last frame of the body");
    }
    frames->state = ENDED;
    return OK;
}

struct str aws_frames_trailer(const struct aws_frames *frames, struct str name)
{
    const struct trailer *trailer = frames->state == ENDED ? find(frames, name) : NULL;
    return trailer != NULL ? trailer->value : str_from(NULL, 0);
}
