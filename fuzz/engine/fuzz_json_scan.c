/*
 * Any bytes as a JSON file, read in small pieces. What is taken must have a type, with and without
 * a table beside it, and the same bytes read at once must give the same.
 */
#include "engine/json_scan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD_BYTES_MAX = 4096 };

struct input {
    struct str bytes;
    size_t piece;
    uint64_t bad_lines;
};

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

static enum status read_piece(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    const struct input *input = ctx;
    struct str rest = str_skip(input->bytes, (size_t)offset);
    size_t got = rest.len < len ? rest.len : len;
    (void)err;
    got = got < input->piece ? got : input->piece;
    if (got > 0) {
        memcpy(ptr, rest.ptr, got);
    }
    *got_out = got;
    return OK;
}

static enum status bad(void *ctx, uint64_t line, uint64_t offset, uint64_t len, struct str reason,
                       struct err *err)
{
    struct input *input = ctx;
    (void)err;
    check(line > 0 && offset + len <= input->bytes.len && reason.len > 0);
    input->bad_lines++;
    return OK;
}

static void check_types(const struct json_shape *shape, struct arena *arena)
{
    for (size_t i = 0; i < json_shape_field_count(shape); i++) {
        struct ice_type own, again;
        if (json_shape_field_type(shape, i, NULL, arena, &own, NULL) == OK) {
            check(json_shape_field_type(shape, i, &own, arena, &again, NULL) == OK);
            check(ice_type_equal(&own, &again));
        }
    }
}

static enum status scan(struct input *input, bool skip, struct json_scan *out)
{
    struct arena arena;
    struct json_shape *shape = NULL;
    struct json_scan_opts opts = { .read = read_piece,
                                   .record_bytes_max = RECORD_BYTES_MAX,
                                   .bad = skip ? bad : NULL,
                                   .ctx = input };
    arena_init(&arena, 0);
    check(json_shape_new(&arena, &shape, NULL) == OK);
    enum status status = json_scan(&opts, shape, out, NULL);
    if (status == OK) {
        check_types(shape, &arena);
    }
    json_shape_free(shape);
    arena_done(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_scan whole = { 0 }, pieces = { 0 };
    struct input input = { .bytes = str_from((const char *)data, size), .piece = SIZE_MAX };
    enum status at_once = scan(&input, false, &whole);
    input.piece = 1 + size / 8;
    enum status in_pieces = scan(&input, false, &pieces);
    check(at_once == in_pieces && whole.record_count == pieces.record_count);
    enum status skipping = scan(&input, true, &pieces);
    check(at_once != OK || (skipping == OK && input.bad_lines == 0));
    return 0;
}
