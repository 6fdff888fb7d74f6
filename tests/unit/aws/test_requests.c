/*
 * Requests that other implementations signed (requests.txt, made by make_requests.py): each is
 * verified, bodies in frames are decoded, and nothing that was changed is let through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "aws/checksum.h"
#include "aws/frames.h"
#include "aws/keyring.h"
#include "base/encode.h"

static const int64_t now_ms = 1767323045000; /* 20260102T030405Z */
static const struct aws_grant grant = { STR_INIT("AKIDEXAMPLE/+="),
                                        STR_INIT("a secret/with+signs="), true, STR_INIT("") };

struct record {
    struct str name;
    struct aws_request request;
    struct http_headers headers;
    struct str body; /* on the wire */
};

struct lab {
    struct arena arena;
    struct aws_keyring *keyring;
    struct record *records;
    size_t count;
    enum aws_code code;
    struct err err;
};

static void read_line(struct lab *lab, struct str line)
{
    struct record *record = &lab->records[lab->count];
    struct str rest = line;
    struct str word = str_split(&rest, ' ');
    if (str_eq(word, STR("case"))) {
        record->name = rest;
    } else if (str_eq(word, STR("target"))) {
        record->request.method = str_split(&rest, ' ');
        record->request.path = str_split(&rest, '?');
        record->request.query = rest.ptr != NULL ? rest : STR_EMPTY;
    } else if (str_eq(word, STR("header"))) {
        struct str name = str_split(&rest, ':');
        assert_true(str_starts(rest, STR(" <")) && str_ends(rest, STR(">")));
        struct str value = str_take(str_skip(rest, 2), rest.len - 3);
        assert_int_equal(http_headers_add(&record->headers, &lab->arena, name, value), OK);
    } else if (str_eq(word, STR("body"))) {
        uint8_t *bytes = arena_alloc(&lab->arena, rest.len / 2 + 1);
        assert_non_null(bytes);
        assert_true(hex_decode(rest, bytes, rest.len / 2));
        record->body = str_from((char *)bytes, rest.len / 2);
    } else if (str_eq(word, STR("end"))) {
        record->request.headers = &record->headers;
        lab->count++;
    } else {
        assert_true(str_starts(line, STR("#")) || line.len == 0);
    }
}

static int setup(void **state)
{
    static struct lab lab;
    lab = (struct lab){ .code = AWS_NONE };
    arena_init(&lab.arena, 0);
    lab.records = arena_array(&lab.arena, 1000, sizeof(*lab.records));
    assert_non_null(lab.records);
    FILE *file = fopen("tests/unit/aws/requests.txt", "r");
    assert_non_null(file);
    size_t room = 1024 * 1024;
    char *text = arena_alloc(&lab.arena, room);
    assert_non_null(text);
    size_t len = fread(text, 1, room, file);
    fclose(file);
    assert_true(len > 0 && len < room);
    for (struct str rest = str_from(text, len); rest.ptr != NULL;) {
        read_line(&lab, str_split(&rest, '\n'));
    }
    assert_int_equal(aws_keyring_new(&grant, 1, STR("eu-west-7"), &lab.keyring, NULL), OK);
    *state = &lab;
    return 0;
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    aws_keyring_free(lab->keyring);
    arena_done(&lab->arena);
    return 0;
}

/** The claim, and whether it is true. */
static enum status judge(struct lab *lab, const struct aws_request *request, struct aws_auth *auth,
                         struct aws_signing_key *key)
{
    const struct aws_grant *found;
    lab->code = AWS_NONE;
    TRY(aws_auth_read(request, &lab->arena, auth, &lab->code, &lab->err));
    assert_int_not_equal(auth->form, AWS_AUTH_ANONYMOUS);
    auth->session_token = STR_EMPTY; /* the keyring would refuse it; here it is the signature */
    TRY(aws_keyring_verify(lab->keyring, auth, request, now_ms, &lab->arena, &found, key,
                           &lab->code, &lab->err));
    assert_true(str_eq(found->access_key, grant.access_key));
    return OK;
}

static void what_others_sign_is_verified(void **state)
{
    struct lab *lab = *state;
    size_t queries = 0;
    for (size_t i = 0; i < lab->count; i++) {
        struct aws_auth auth;
        struct aws_signing_key key;
        if (judge(lab, &lab->records[i].request, &auth, &key) != OK) {
            fail_msg("%.*s: %s: %s", STR_ARG(lab->records[i].name), aws_code_name(lab->code),
                     lab->err.msg);
        }
        queries += auth.form == AWS_AUTH_QUERY;
        if (auth.payload == AWS_PAYLOAD_HASH) {
            char hash[SHA256_HEX + 1];
            sha256_hex(lab->records[i].body, hash);
            assert_true(str_eq(auth.payload_text, str_of(hash)));
        }
    }
    assert_true(lab->count > 100 && queries > 40 && queries < lab->count - 60);
}

/** The same request for another key, by another method, with one more parameter, at another
 * host. */
static void what_was_changed_is_refused(void **state)
{
    struct lab *lab = *state;
    for (size_t i = 0; i < lab->count; i++) {
        const struct aws_request *signed_request = &lab->records[i].request;
        for (int change = 0; change < 4; change++) {
            struct aws_request request = *signed_request;
            struct http_headers headers = lab->records[i].headers;
            struct aws_auth auth;
            struct aws_signing_key key;
            struct http_header items[64];
            assert_true(headers.count <= ARRAY_LEN(items));
            memcpy(items, headers.items, headers.count * sizeof(*items));
            headers.items = items;
            request.headers = &headers;
            for (size_t k = 0; change == 0 && k < headers.count; k++) {
                if (str_eq_nocase(items[k].name, STR("host"))) {
                    items[k].value = STR("localhost:3121");
                }
            }
            request.path = change == 1
                               ? arena_printf(&lab->arena, "%.*s%%20", STR_ARG(request.path))
                               : request.path;
            request.method = change == 2 ? STR("DELETE") : request.method;
            request.query = change == 3
                                ? arena_printf(&lab->arena, "%.*s&acl", STR_ARG(request.query))
                                : request.query;
            assert_int_not_equal(judge(lab, &request, &auth, &key), OK);
            assert_int_equal(lab->code, AWS_SIGNATURE_DOES_NOT_MATCH);
        }
    }
}

/** The name of the checksum that is promised behind the body. */
static enum aws_sum promised(struct str trailer)
{
    assert_true(str_starts(trailer, STR("x-amz-checksum-")));
    return aws_sum_parse(str_skip(trailer, sizeof("x-amz-checksum-") - 1));
}

static void decode(const struct record *record, const struct aws_frames_opts *opts)
{
    struct aws_frames *frames;
    struct aws_summer summer;
    enum aws_code code = AWS_NONE;
    enum aws_sum sum = promised(opts->trailer_names);
    uint8_t claimed[AWS_SUM_BYTES_MAX], found[AWS_SUM_BYTES_MAX];
    uint64_t data_len = 0;
    assert_int_equal(aws_frames_new(opts, &frames, NULL), OK);
    assert_int_equal(aws_summer_init(&summer, sum, NULL), OK);
    for (struct str rest = record->body, data; rest.len > 0; data_len += data.len) {
        assert_int_equal(aws_frames_push(frames, &rest, &data, &code, NULL), OK);
        aws_summer_update(&summer, data);
    }
    assert_int_equal(aws_frames_end(frames, &code, NULL), OK);
    assert_int_equal(data_len, opts->decoded_length);
    assert_true(aws_sum_read(sum, aws_frames_trailer(frames, opts->trailer_names), claimed));
    aws_summer_final(&summer, found);
    assert_memory_equal(found, claimed, aws_sum_bytes(sum));
    aws_summer_done(&summer);
    aws_frames_free(frames);
}

static void streamed_bodies_have_the_checksum_behind_them(void **state)
{
    struct lab *lab = *state;
    bool seen[AWS_SUM_SHA256 + 1] = { false };
    for (size_t i = 0; i < lab->count; i++) {
        const struct record *record = &lab->records[i];
        struct aws_auth auth;
        assert_int_equal(aws_auth_read(&record->request, &lab->arena, &auth, &lab->code, NULL), OK);
        if (auth.payload < AWS_PAYLOAD_STREAM) {
            continue;
        }
        struct aws_frames_opts opts = {
            .payload = auth.payload,
            .trailer_names = http_headers_get(&record->headers, STR("x-amz-trailer")),
        };
        assert_true(
            str_to_u64(http_headers_get(&record->headers, STR("x-amz-decoded-content-length")),
                       &opts.decoded_length));
        decode(record, &opts);
        seen[promised(opts.trailer_names)] = true;
    }
    for (size_t sum = AWS_SUM_CRC32; sum < ARRAY_LEN(seen); sum++) {
        assert_true(seen[sum]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_others_sign_is_verified),
        cmocka_unit_test(what_was_changed_is_refused),
        cmocka_unit_test(streamed_bodies_have_the_checksum_behind_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
