/* aws-chunked bodies: the two published examples, every cut, every changed byte, broken frames. */
#include "aws/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aws/checksum.h"
#include "base/mem.h"

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SEED "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define SCOPE "20130524/us-east-1/s3/aws4_request"
#define TIME "20130524T000000Z"

struct lab {
    struct aws_frames_opts opts;
    struct buf body; /* on the wire */
    struct buf data; /* what came out of it */
    struct str trailer_value;
    char trailer_room[256];
    char last[SHA256_HEX + 1]; /* of the writer here */
    enum aws_code code;
    struct err err;
};

static int setup(void **state)
{
    static struct lab lab;
    lab = (struct lab){ .code = AWS_NONE };
    lab.opts = (struct aws_frames_opts){
        .payload = AWS_PAYLOAD_STREAM,
        .seed = STR(SEED),
        .time = STR(TIME),
        .scope = STR(SCOPE),
    };
    aws_signing_key_make(STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), STR("20130524"),
                         STR("us-east-1"), STR("s3"), &lab.opts.key);
    memcpy(lab.last, SEED, sizeof(SEED));
    buf_init(&lab.body, 0);
    buf_init(&lab.data, 0);
    *state = &lab;
    return 0;
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    buf_done(&lab->body);
    buf_done(&lab->data);
    return 0;
}

static void put(struct lab *lab, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put(struct lab *lab, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert_true(len >= 0 && len < (int)sizeof(text));
    assert_int_equal(buf_append_bytes(&lab->body, text, (size_t)len), OK);
}

/** The next signature, by the words of the documentation. */
static void sign(struct lab *lab, const char *kind, const char *rest, struct str text)
{
    char hash[SHA256_HEX + 1], to_sign[1024];
    sha256_hex(text, hash);
    snprintf(to_sign, sizeof(to_sign), "AWS4-HMAC-SHA256-%s\n" TIME "\n" SCOPE "\n%s\n%s%s", kind,
             lab->last, rest, hash);
    aws_signature(&lab->opts.key, str_of(to_sign), lab->last);
}

static bool is_signed(const struct lab *lab)
{
    return lab->opts.payload != AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
}

static void frame(struct lab *lab, struct str data)
{
    if (is_signed(lab)) {
        sign(lab, "PAYLOAD", EMPTY_HASH "\n", data);
        put(lab, "%zx;chunk-signature=%s\r\n", data.len, lab->last);
    } else {
        put(lab, "%zx\r\n", data.len);
    }
    assert_int_equal(buf_append(&lab->body, data), OK);
    if (data.len > 0) {
        put(lab, "\r\n");
        lab->opts.decoded_length += data.len;
    }
}

/** One trailer and its signature, each line with an end of its own. */
static void trailer(struct lab *lab, const char *line, const char *end)
{
    char canonical[256];
    snprintf(canonical, sizeof(canonical), "%s\n", line);
    put(lab, "%s%s", line, end);
    if (is_signed(lab)) {
        sign(lab, "TRAILER", "", str_of(canonical));
        put(lab, "x-amz-trailer-signature:%s\r\n", lab->last);
    }
}

/** Push the body in pieces of `first` bytes, then `step` each, and end it. */
static enum status decode_pieces(struct lab *lab, struct str body, size_t first, size_t step)
{
    struct aws_frames *frames;
    buf_clear(&lab->data);
    lab->code = AWS_NONE;
    TRY(aws_frames_new(&lab->opts, &frames, &lab->err));
    enum status status = OK;
    for (size_t at = 0, len = first; status == OK && at < body.len; at += len, len = step) {
        struct str rest = str_take(str_skip(body, at), len);
        while (status == OK && rest.len > 0) {
            struct str data;
            status = aws_frames_push(frames, &rest, &data, &lab->code, &lab->err);
            assert_int_equal(status == OK ? buf_append(&lab->data, data) : OK, OK);
        }
    }
    status = status == OK ? aws_frames_end(frames, &lab->code, &lab->err) : status;
    struct str value = aws_frames_trailer(frames, STR("x-amz-checksum-crc32c"));
    assert_true(value.len <= sizeof(lab->trailer_room));
    memcpy(lab->trailer_room, value.ptr != NULL ? value.ptr : "", value.len);
    lab->trailer_value = str_from(value.ptr != NULL ? lab->trailer_room : NULL, value.len);
    assert_true((status == OK) == (lab->code == AWS_NONE));
    assert_int_equal(status,
                     lab->code == AWS_INTERNAL_ERROR ? E_NO_MEMORY : aws_code_kind(lab->code));
    aws_frames_free(frames);
    return status;
}

static enum status decode(struct lab *lab)
{
    return decode_pieces(lab, buf_str(&lab->body), lab->body.len, 1);
}

/** The frames of both published examples: 65536 and 1024 times the letter a. */
static char *published_data(void)
{
    char *data = malloc(66560);
    assert_non_null(data);
    memset(data, 'a', 66560);
    return data;
}

static void the_published_chunks_are_signed_as_published(void **state)
{
    struct lab *lab = *state;
    char *data = published_data();
    put(lab, "10000;chunk-signature="
             "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n");
    assert_int_equal(buf_append_bytes(&lab->body, data, 65536), OK);
    put(lab, "\r\n400;chunk-signature="
             "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n");
    assert_int_equal(buf_append_bytes(&lab->body, data, 1024), OK);
    put(lab, "\r\n0;chunk-signature="
             "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n");
    assert_int_equal(lab->body.len, 66824); /* the published Content-Length */
    lab->opts.decoded_length = 66560;
    assert_int_equal(decode(lab), OK);
    assert_int_equal(lab->data.len, 66560);
    assert_memory_equal(lab->data.ptr, data, 66560);
    assert_null(lab->trailer_value.ptr);
    free(data);
}

static void the_published_trailer_is_signed_as_published(void **state)
{
    struct lab *lab = *state;
    char *data = published_data();
    lab->opts.payload = AWS_PAYLOAD_STREAM_TRAILER;
    lab->opts.seed = STR("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    lab->opts.trailer_names = STR("x-amz-checksum-crc32c");
    put(lab, "10000;chunk-signature="
             "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n");
    assert_int_equal(buf_append_bytes(&lab->body, data, 65536), OK);
    put(lab, "\r\n400;chunk-signature="
             "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n");
    assert_int_equal(buf_append_bytes(&lab->body, data, 1024), OK);
    put(lab, "\r\n0;chunk-signature="
             "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
             "x-amz-checksum-crc32c:sOO8/Q==\r\n"
             "x-amz-trailer-signature:"
             "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
    lab->opts.decoded_length = 66560;
    assert_int_equal(decode(lab), OK);
    assert_memory_equal(lab->data.ptr, data, 66560);
    assert_true(str_eq(lab->trailer_value, STR("sOO8/Q==")));
    uint8_t claimed[AWS_SUM_BYTES_MAX], sum[AWS_SUM_BYTES_MAX];
    assert_true(aws_sum_read(AWS_SUM_CRC32C, lab->trailer_value, claimed));
    assert_int_equal(aws_sum_composite(AWS_SUM_CRC32C, str_from(data, 66560), sum, NULL), OK);
    assert_memory_equal(sum, claimed, 4);
    free(data);
}

/** A small body of the form: two frames and, where the form has them, a trailer. */
static void small_body(struct lab *lab, enum aws_payload payload)
{
    lab->opts.payload = payload;
    frame(lab, STR("hello, "));
    frame(lab, STR("world of frames"));
    frame(lab, STR_EMPTY);
    if (payload != AWS_PAYLOAD_STREAM) {
        lab->opts.trailer_names = STR(" X-Amz-Checksum-Crc32c ");
        trailer(lab, "x-amz-checksum-crc32c:sOO8/Q==", "\r\n");
    }
    put(lab, "\r\n");
}

static const enum aws_payload forms[] = { AWS_PAYLOAD_STREAM, AWS_PAYLOAD_STREAM_TRAILER,
                                          AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER };

static void expect_whole(const struct lab *lab)
{
    assert_true(str_eq(buf_str(&lab->data), STR("hello, world of frames")));
    assert_true(lab->opts.payload == AWS_PAYLOAD_STREAM
                    ? lab->trailer_value.ptr == NULL
                    : str_eq(lab->trailer_value, STR("sOO8/Q==")));
}

static void a_body_may_be_cut_anywhere(void **state)
{
    struct lab *lab = *state;
    for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
        small_body(lab, forms[form]);
        struct str body = buf_str(&lab->body);
        for (size_t first = 0; first <= body.len; first++) {
            assert_int_equal(decode_pieces(lab, body, first, body.len), OK);
            expect_whole(lab);
        }
        for (size_t step = 1; step < 40; step++) {
            assert_int_equal(decode_pieces(lab, body, step, step), OK);
            expect_whole(lab);
        }
        teardown(state);
        setup(state);
    }
}

static void a_body_that_ends_early_is_refused(void **state)
{
    struct lab *lab = *state;
    for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
        small_body(lab, forms[form]);
        for (size_t len = 0; len < lab->body.len; len++) {
            assert_int_not_equal(decode_pieces(lab, str_take(buf_str(&lab->body), len), len, 1),
                                 OK);
        }
        teardown(state);
        setup(state);
    }
}

static void no_changed_bit_changes_what_is_signed(void **state)
{
    struct lab *lab = *state;
    for (size_t form = 0; form < 2; form++) {
        small_body(lab, forms[form]);
        size_t taken = 0;
        for (size_t bit = 0; bit < 8 * lab->body.len; bit++) {
            lab->body.ptr[bit / 8] ^= (char)(1 << bit % 8);
            if (decode(lab) == OK) { /* the case of a name, or of a size's digit */
                expect_whole(lab);
                taken++;
            }
            lab->body.ptr[bit / 8] ^= (char)(1 << bit % 8);
        }
        assert_true(taken < 64);
        assert_int_equal(decode(lab), OK);
        teardown(state);
        setup(state);
    }
}

/** Put together again from pieces of a sound body. */
static enum status rebuilt(struct lab *lab, const size_t *order, size_t count)
{
    struct str body = buf_str(&lab->body);
    size_t second = str_find(body, STR("\r\nf;")) + 2, last = str_find(body, STR("\r\n0;")) + 2;
    struct str pieces[] = { str_take(body, second), str_take(str_skip(body, second), last - second),
                            str_skip(body, last) };
    struct buf other;
    buf_init(&other, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buf_append(&other, pieces[order[i]]), OK);
    }
    enum status status = decode_pieces(lab, buf_str(&other), other.len, 1);
    buf_done(&other);
    return status;
}

static void frames_cannot_be_repeated_moved_or_left_out(void **state)
{
    struct lab *lab = *state;
    small_body(lab, AWS_PAYLOAD_STREAM_TRAILER);
    assert_int_equal(rebuilt(lab, (size_t[]){ 0, 1, 2 }, 3), OK);
    static const size_t wrong[][4] = { { 0, 0, 1, 2 }, { 0, 1, 1, 2 }, { 1, 0, 2, 9 },
                                       { 0, 2, 9, 9 }, { 1, 2, 9, 9 }, { 2, 9, 9, 9 } };
    static const size_t counts[] = { 4, 4, 3, 2, 2, 1 };
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        lab->opts.decoded_length = 1000;
        assert_int_not_equal(rebuilt(lab, wrong[i], counts[i]), OK);
        /* Without its last frame's promise of a length, it is the length that is wrong. */
        assert_int_equal(lab->code, i < 5 ? AWS_SIGNATURE_DOES_NOT_MATCH : lab->code);
    }
}

static void the_length_must_be_what_was_said(void **state)
{
    struct lab *lab = *state;
    small_body(lab, AWS_PAYLOAD_STREAM);
    lab->opts.decoded_length++;
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_INCOMPLETE_BODY);
    lab->opts.decoded_length -= 2;
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_INCOMPLETE_BODY);
    assert_int_equal(lab->data.len, 7); /* the second frame is refused by its head */
}

struct fault {
    enum aws_payload payload;
    const char *body;
    enum aws_code code;
    uint64_t length; /* as declared */
};

static void broken_frames_are_refused(void **state)
{
    struct lab *lab = *state;
    const enum aws_payload plain = AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER, sealed = AWS_PAYLOAD_STREAM;
    const struct fault faults[] = {
        { plain, "", AWS_INCOMPLETE_BODY, 0 },
        { plain, "0", AWS_INCOMPLETE_BODY, 0 },
        { plain, "0\r\n", AWS_INCOMPLETE_BODY, 0 },
        { plain, "3\r\nabc\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3\r\nab", AWS_INCOMPLETE_BODY, 3 },
        { plain, "\r\n", AWS_INCOMPLETE_BODY, 0 },
        { plain, "3\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3\r\nabcd\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3\r\nabc\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3\r\nabc\r0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "0x3\r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "+3\r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3 \r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "-1\r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "g\r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "3;name=value\r\nabc\r\n0\r\n\r\n", AWS_INCOMPLETE_BODY, 3 },
        { plain, "ffffffffffffffff\r\nabc", AWS_INCOMPLETE_BODY, 1 << 20 },
        { plain, "10000000000000000\r\nabc", AWS_INCOMPLETE_BODY, 3 },
        { plain, "00000000000000003\r\nabc", AWS_INCOMPLETE_BODY, 3 },
        { plain, "0\r\n\r\n0\r\n\r\n", AWS_MALFORMED_TRAILER, 0 },
        { sealed, "0\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0;\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0;chunk-signature=\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0;chunk-signature=" EMPTY_HASH "0\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0; chunk-signature=" EMPTY_HASH "\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0;chunk-signature=" EMPTY_HASH ";a=b\r\n\r\n", AWS_INCOMPLETE_BODY, 0 },
        { sealed, "0;chunk-signature=" EMPTY_HASH "\r\n\r\n", AWS_SIGNATURE_DOES_NOT_MATCH, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        lab->opts.payload = faults[i].payload;
        lab->opts.decoded_length = faults[i].length;
        for (size_t step = 1; step < 100; step += 98) {
            enum status status = decode_pieces(lab, str_of(faults[i].body), step, step);
            if (status == OK || lab->code != faults[i].code) {
                fail_msg("%s: %s", faults[i].body, aws_code_name(lab->code));
            }
        }
    }
}

static void a_head_or_trailers_without_end_are_refused(void **state)
{
    struct lab *lab = *state;
    char many[AWS_TRAILER_BYTES_MAX + 8];
    memset(many, '0', sizeof(many));
    lab->opts.payload = AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
    for (size_t step = 1; step < 10000; step *= 9) {
        assert_int_not_equal(decode_pieces(lab, str_from(many, 257), step, step), OK);
        assert_int_equal(lab->code, AWS_INCOMPLETE_BODY);
        assert_non_null(strstr(lab->err.msg, "too long"));
        memcpy(many, "0\r\n", 3);
        memset(many + 3, '\n', sizeof(many) - 3);
        assert_int_not_equal(decode_pieces(lab, str_from(many, sizeof(many)), step, step), OK);
        assert_int_equal(lab->code, AWS_MALFORMED_TRAILER);
        memset(many, '0', sizeof(many));
    }
}

/** The lines behind the last frame, of an unsigned body without data. */
static enum status decode_trailers(struct lab *lab, const char *promised, const char *lines)
{
    lab->opts.payload = AWS_PAYLOAD_STREAM_UNSIGNED_TRAILER;
    lab->opts.decoded_length = 0;
    lab->opts.trailer_names = str_of(promised);
    buf_clear(&lab->body);
    put(lab, "0\r\n%s", lines);
    return decode(lab);
}

static void trailers_are_those_that_were_promised(void **state)
{
    struct lab *lab = *state;
    static const struct {
        const char *promised, *lines;
        bool fine;
    } cases[] = {
        { "", "\r\n", true },
        { "x-amz-checksum-crc32c", "x-amz-checksum-crc32c:AAAAAA==\r\n\r\n", true },
        { "x-amz-checksum-crc32c, b", "B:\r\nX-AMZ-Checksum-Crc32c: AAAAAA== \r\n\r\n", true },
        { "x-amz-checksum-crc32c", "x-amz-checksum-crc32c:AAAAAA==\n\r\n\r\n\r\n", true },
        { "x-amz-checksum-crc32c", "\r\n", false },
        { "", "x-amz-checksum-crc32c:AAAAAA==\r\n\r\n", false },
        { "a", "x-amz-checksum-crc32c:AAAAAA==\r\n\r\n", false },
        { "a", "a:1\r\na:1\r\n\r\n", false },
        { "a", "a\r\n\r\n", false },
        { "a", "a :1\r\n\r\n", false },
        { "a", ":1\r\n\r\n", false },
        { "", "x-amz-trailer-signature:" EMPTY_HASH "\r\n\r\n", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum status status = decode_trailers(lab, cases[i].promised, cases[i].lines);
        assert_int_equal(status == OK, cases[i].fine);
        assert_int_equal(lab->code, cases[i].fine ? AWS_NONE : AWS_MALFORMED_TRAILER);
        if (cases[i].fine && i > 0) {
            assert_true(str_eq(lab->trailer_value, STR("AAAAAA==")));
        }
    }
}

static void signed_trailers_end_as_clients_end_them(void **state)
{
    struct lab *lab = *state;
    static const char *const ends[] = { "\r\n", "\n\r\n", "\n" };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        lab->opts.payload = AWS_PAYLOAD_STREAM_TRAILER;
        lab->opts.trailer_names = STR("x-amz-checksum-crc32c");
        frame(lab, STR_EMPTY);
        trailer(lab, "x-amz-checksum-crc32c:AAAAAA==", ends[i]);
        put(lab, "\r\n");
        assert_int_equal(decode(lab), OK);
        teardown(state);
        setup(state);
    }
}

static void signed_trailers_need_their_signature_and_end_with_it(void **state)
{
    struct lab *lab = *state;
    lab->opts.payload = AWS_PAYLOAD_STREAM_TRAILER;
    lab->opts.trailer_names = STR("x-amz-checksum-crc32c");
    frame(lab, STR_EMPTY);
    size_t start = lab->body.len;
    put(lab, "x-amz-checksum-crc32c:AAAAAA==\r\n\r\n");
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_SIGNATURE_DOES_NOT_MATCH);

    lab->body.len = start;
    sign(lab, "TRAILER", "", STR("x-amz-checksum-crc32c:AAAAAA==\n"));
    put(lab, "x-amz-trailer-signature:%s\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n", lab->last);
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_MALFORMED_TRAILER);

    lab->body.len = start;
    put(lab, "x-amz-checksum-crc32c:AAAAAA==\r\nx-amz-trailer-signature:%s\r\n", lab->last);
    put(lab, "x-amz-trailer-signature:%s\r\n\r\n", lab->last);
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_MALFORMED_TRAILER);
}

static void a_form_without_trailers_promises_none(void **state)
{
    struct lab *lab = *state;
    struct aws_frames *frames;
    lab->opts.trailer_names = STR("a");
    assert_int_equal(aws_frames_new(&lab->opts, &frames, &lab->err), E_INVALID);
    lab->opts.payload = AWS_PAYLOAD_STREAM_TRAILER;
    lab->opts.trailer_names = STR("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q");
    assert_int_equal(aws_frames_new(&lab->opts, &frames, &lab->err), E_INVALID);
    small_body(lab, AWS_PAYLOAD_STREAM);
    lab->opts.trailer_names = STR_EMPTY;
    lab->body.len -= 2;
    put(lab, "a:b\r\n\r\n");
    assert_int_not_equal(decode(lab), OK);
    assert_int_equal(lab->code, AWS_INCOMPLETE_BODY);
}

static void after_a_failure_or_the_end_nothing_is_taken(void **state)
{
    struct lab *lab = *state;
    struct aws_frames *frames;
    struct str data, rest = STR("zzz\r\n");
    assert_int_equal(aws_frames_new(&lab->opts, &frames, NULL), OK);
    assert_int_not_equal(aws_frames_push(frames, &rest, &data, &lab->code, NULL), OK);
    assert_int_not_equal(aws_frames_push(frames, &rest, &data, &lab->code, NULL), OK);
    assert_int_not_equal(aws_frames_end(frames, &lab->code, NULL), OK);
    aws_frames_free(frames);
    frame(lab, STR_EMPTY);
    put(lab, "\r\n");
    rest = buf_str(&lab->body);
    assert_int_equal(aws_frames_new(&lab->opts, &frames, NULL), OK);
    assert_int_equal(aws_frames_push(frames, &rest, &data, &lab->code, NULL), OK);
    assert_int_equal(aws_frames_end(frames, &lab->code, NULL), OK);
    rest = STR("\r\n");
    assert_int_not_equal(aws_frames_push(frames, &rest, &data, &lab->code, NULL), OK);
    aws_frames_free(frames);
    aws_frames_free(NULL);
}

static void without_memory_a_body_is_refused_as_our_fault(void **state)
{
    struct lab *lab = *state;
    small_body(lab, AWS_PAYLOAD_STREAM_TRAILER);
    assert_int_equal(decode(lab), OK); /* the buffer for the data has its size now */
    size_t failures = 0;
    for (long nth = 0;; nth++) {
        mem_fail_nth(nth);
        enum status status = decode(lab);
        bool happened = mem_fail_happened();
        mem_fail_nth(-1);
        if (!happened) {
            assert_int_equal(status, OK);
            break;
        }
        failures++;
        assert_int_not_equal(status, OK);
        assert_true(lab->code == AWS_NONE || lab->code == AWS_INTERNAL_ERROR);
    }
    assert_true(failures > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_published_chunks_are_signed_as_published, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_published_trailer_is_signed_as_published, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_body_may_be_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_ends_early_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(no_changed_bit_changes_what_is_signed, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_cannot_be_repeated_moved_or_left_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_length_must_be_what_was_said, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_frames_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_head_or_trailers_without_end_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(trailers_are_those_that_were_promised, setup, teardown),
        cmocka_unit_test_setup_teardown(signed_trailers_end_as_clients_end_them, setup, teardown),
        cmocka_unit_test_setup_teardown(signed_trailers_need_their_signature_and_end_with_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_form_without_trailers_promises_none, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_failure_or_the_end_nothing_is_taken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_memory_a_body_is_refused_as_our_fault, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
