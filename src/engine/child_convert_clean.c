/*
 * A copy of a text file that DuckDB can read without a fault: bad records are left out when the
 * client said so, and all lines of a CSV end in the same way (DuckDB's strict reader takes no
 * mixture). The copy goes to a spool that the parent gives.
 */
#include "base/io.h"
#include "engine/child_convert_priv.h"
#include "engine/csv_scan.h"
#include "engine/json_scan.h"

enum { PIECE_BYTES = 256 * 1024 };

struct copy {
    struct convert *c;
    const struct duck_files *files;
    void *file;                  /* what is read */
    int fd;                      /* what is written */
    uint64_t size, record_count; /* of the copy */
    uint64_t row;                /* of the file, from 1; a header is row 0 */
    size_t excluded;             /* of c->excluded that have been met */
    struct buf piece;
};

static enum status read_input(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    struct copy *copy = ctx;
    return copy->files->read_at(copy->file, offset, ptr, len, got_out, err);
}

static enum status flush(struct copy *copy, struct err *err)
{
    TRY(io_write_full(copy->fd, copy->piece.ptr, copy->piece.len, err));
    copy->size += copy->piece.len;
    buf_clear(&copy->piece);
    return OK;
}

static enum status leave_out(void *ctx, uint64_t line, struct str reason, struct err *err);

static enum status keep(void *ctx, uint64_t line, struct str record, struct err *err)
{
    struct copy *copy = ctx;
    const struct convert *c = copy->c;
    uint64_t row = copy->row++;
    if (copy->excluded < c->excluded_count && c->excluded[copy->excluded].row == row) {
        return leave_out(copy, line, c->excluded[copy->excluded++].reason, err);
    }
    /* an empty line of a file with one column is a value, and quoted it is one in any place */
    struct str text = record.len > 0 ? record : STR("\"\"");
    if (buf_append(&copy->piece, text) != OK || buf_append_char(&copy->piece, '\n') != OK) {
        return err_no_memory(err);
    }
    copy->record_count++;
    return copy->piece.len >= PIECE_BYTES ? flush(copy, err) : OK;
}

static enum status leave_out(void *ctx, uint64_t line, struct str reason, struct err *err)
{
    struct copy *copy = ctx;
    struct convert *c = copy->c;
    if (!c->skip_bad) {
        return err_set(err, E_INVALID, "line %llu: %.*s", (unsigned long long)line,
                       STR_ARG(reason));
    }
    if (c->skipped_count < CONVERT_SKIPPED_TOLD_MAX) {
        struct convert_skipped *told = &c->skipped[c->skipped_count];
        *told = (struct convert_skipped){ line, arena_str(&c->job->arena, reason) };
        if (told->reason.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    c->skipped_count++;
    return OK;
}

static enum status leave_out_json(void *ctx, uint64_t line, uint64_t offset, uint64_t len,
                                  struct str reason, struct err *err)
{
    (void)offset, (void)len;
    /* the line stands in the reason of one that is too long */
    size_t colon = str_starts(reason, STR("line ")) ? str_find(reason, STR(": ")) : SIZE_MAX;
    return leave_out(ctx, line, colon == SIZE_MAX ? reason : str_skip(reason, colon + 2), err);
}

/** Ask the parent where the copy goes, and open what is copied. */
static enum status open_copy(struct copy *copy, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    uint64_t size;
    buf_init(&reply, 4096);
    buf_init(&copy->piece, 0);
    copy->row = copy->c->has_header ? 0 : 1;
    copy->c->skipped_count = 0;
    TRY(child_call(copy->c->job, "copy", STR("{}"), &reply, &copy->fd, err));
    if (copy->fd == -1) {
        return err_set(err, E_INTERNAL, "no spool came for a copy");
    }
    copy->files = lakefs_files(copy->c->job->lakefs);
    return copy->files->open(copy->files->ctx, STR("spool://in"), &copy->file, &size, err);
}

static void close_copy(struct copy *copy)
{
    if (copy->file != NULL) {
        copy->files->close(copy->file);
    }
    fd_done(&copy->fd);
    buf_done(&copy->piece);
}

/** From now on the copy is what is read. */
static enum status use_copy(struct copy *copy, struct err *err)
{
    struct convert *c = copy->c;
    TRY(flush(copy, err));
    uint64_t rows = copy->record_count - (c->has_header ? 1 : 0);
    if (copy->record_count == 0 || rows == 0) {
        return c->skipped_count > 0
                   ? err_set(err, E_INVALID, "the file has no good row; line %llu: %.*s",
                             (unsigned long long)c->skipped[0].line, STR_ARG(c->skipped[0].reason))
                   : err_set(err, E_INVALID, "the file has no rows");
    }
    c->rows_expected = (int64_t)rows;
    c->size = copy->size;
    c->is_copied = true;
    /* DuckDB may remember what a name stood for, so each copy has its own */
    c->input_name = arena_printf(&c->job->arena, "clean%u", ++c->copies);
    if (c->input_name.ptr == NULL) {
        return err_no_memory(err);
    }
    int fd = copy->fd;
    copy->fd = -1;
    return lakefs_add_input(c->job->lakefs, c->input_name, fd, copy->size, err);
}

enum status convert_point_source(struct convert *c, struct err *err)
{
    struct str scheme = STR("spool://");
    size_t at = str_find(c->source, scheme);
    assert(at != SIZE_MAX);
    struct str behind = str_skip(c->source, at + scheme.len);
    behind = str_skip(behind, str_find_char(behind, '\''));
    c->source = arena_printf(&c->job->arena, "%.*s%.*s%.*s", (int)(at + scheme.len), c->source.ptr,
                             STR_ARG(c->input_name), STR_ARG(behind));
    return c->source.ptr != NULL ? OK : err_no_memory(err);
}

enum status convert_clean_csv(struct convert *c, struct err *err)
{
    struct copy copy = { .c = c, .fd = -1 };
    struct csv_scan_opts opts = { .read = read_input,
                                  .delimiter = c->delimiter,
                                  .field_count = c->column_count,
                                  .record_bytes_max = c->line_bytes_max,
                                  .good = keep,
                                  .bad = leave_out,
                                  .ctx = &copy };
    enum status status = open_copy(&copy, err);
    status = status == OK ? csv_scan(&opts, err) : status;
    status = status == OK ? use_copy(&copy, err) : status;
    close_copy(&copy);
    TRY(status);
    return convert_point_source(c, err);
}

static enum status pass_over(void *ctx, uint64_t line, struct str record, struct err *err)
{
    (void)ctx, (void)line, (void)record, (void)err;
    return OK;
}

static enum status name_it(void *ctx, uint64_t line, struct str reason, struct err *err)
{
    (void)ctx;
    return err_set(err, E_INVALID, "line %llu: %.*s", (unsigned long long)line, STR_ARG(reason));
}

enum status convert_find_bad_csv(const struct convert *c, struct err *err)
{
    struct copy copy = { .files = lakefs_files(c->job->lakefs), .fd = -1 };
    struct csv_scan_opts opts = { .read = read_input,
                                  .delimiter = c->delimiter,
                                  .field_count = c->column_count,
                                  .record_bytes_max = c->line_bytes_max,
                                  .good = pass_over,
                                  .bad = name_it,
                                  .ctx = &copy };
    uint64_t size;
    TRY(copy.files->open(copy.files->ctx, STR("spool://in"), &copy.file, &size, err));
    enum status status = csv_scan(&opts, err);
    close_copy(&copy);
    return status;
}

enum status convert_scan_json(struct convert *c, struct json_shape *shape, struct json_scan *out,
                              struct err *err)
{
    struct copy copy = { .c = c, .fd = -1 };
    struct json_scan_opts opts = { .read = read_input,
                                   .record_bytes_max = c->line_bytes_max,
                                   .good = keep,
                                   .bad = leave_out_json,
                                   .ctx = &copy };
    enum status status = open_copy(&copy, err);
    status = status == OK ? json_scan(&opts, shape, out, err) : status;
    /* the other layouts have no lines to leave out, and are read as they are */
    if (status == OK && out->layout == JSON_LINES) {
        status = use_copy(&copy, err);
    }
    close_copy(&copy);
    return status;
}

void convert_write_skipped(const struct convert *c, struct json_writer *w)
{
    jw_kv_obj(w, "skipped");
    jw_kv_u64(w, "count", c->skipped_count);
    jw_kv_arr(w, "rows");
    for (size_t i = 0; i < c->skipped_count && i < CONVERT_SKIPPED_TOLD_MAX; i++) {
        jw_obj_begin(w);
        jw_kv_u64(w, "line", c->skipped[i].line);
        jw_kv_str(w, "reason", c->skipped[i].reason);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}
