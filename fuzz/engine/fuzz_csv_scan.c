/*
 * Any bytes as a CSV file, read at once and in small pieces: the same records are good and the same
 * lines bad, and a file of the good ones has no bad one.
 */
#include "base/buf.h"
#include "engine/csv_scan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD_BYTES_MAX = 4096, FIELDS = 3 };

struct file {
    struct str bytes;
    size_t piece;
    struct buf good;
    uint64_t good_count, bad_count, bad_lines;
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
    const struct file *file = ctx;
    struct str rest = str_take(str_skip(file->bytes, (size_t)offset), file->piece);
    (void)err;
    *got_out = rest.len < len ? rest.len : len;
    if (*got_out > 0) {
        memcpy(ptr, rest.ptr, *got_out);
    }
    return OK;
}

static enum status good(void *ctx, uint64_t line, struct str record, struct err *err)
{
    struct file *file = ctx;
    (void)err;
    check(line > 0);
    check(buf_append(&file->good, record) == OK && buf_append_char(&file->good, '\n') == OK);
    file->good_count++;
    return OK;
}

static enum status bad(void *ctx, uint64_t line, struct str reason, struct err *err)
{
    struct file *file = ctx;
    (void)err;
    check(reason.len > 0 && line > file->bad_lines);
    file->bad_count++;
    file->bad_lines = line;
    return OK;
}

static void scan(struct file *file)
{
    struct csv_scan_opts opts = { .read = read_piece,
                                  .delimiter = ',',
                                  .field_count = FIELDS,
                                  .record_bytes_max = RECORD_BYTES_MAX,
                                  .good = good,
                                  .bad = bad,
                                  .ctx = file };
    buf_init(&file->good, 0);
    check(csv_scan(&opts, NULL) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_from((const char *)data, size);
    struct file whole = { .bytes = bytes, .piece = SIZE_MAX };
    struct file pieces = { .bytes = bytes, .piece = 1 + size / 8 };
    scan(&whole);
    scan(&pieces);
    check(str_eq(buf_str(&whole.good), buf_str(&pieces.good)));
    check(whole.bad_count == pieces.bad_count && whole.bad_lines == pieces.bad_lines);
    struct file again = { .bytes = buf_str(&whole.good), .piece = SIZE_MAX };
    scan(&again);
    check(again.bad_count == 0 && again.good_count == whole.good_count);
    buf_done(&whole.good);
    buf_done(&pieces.good);
    buf_done(&again.good);
    return 0;
}
