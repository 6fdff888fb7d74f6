/*
 * The files that a job has written: one in the upload's output, or (partitioned or sorted) several
 * in spools that it has asked for. They become objects of the table, and go again when the commit
 * has surely not landed.
 */
#include <sys/stat.h>

#include "ingest/ingest_priv.h"

enum { REPORTS_BYTES_MAX = 256 * 1024 * 1024 };

/** A file as the job reports it, and where it is. */
static enum status read_output(struct ingest_upload *upload, yyjson_val *report,
                               struct ingest_outputs *out, struct err *err)
{
    struct arena *arena = &upload->attempt_arena;
    struct ice_data_file *file = &out->files[out->count];
    uint64_t spool = 0;
    yyjson_val *parts = NULL;
    TRY(engine_file_report(arena, &upload->plan.target, report, file, err));
    TRY(json_get_u64(report, "spool", JSON_REQUIRED, &spool, err));
    TRY(spools_fd(&upload->plan.spools, spool, &out->fds[out->count], err));
    file->sort_order_id = upload->plan.sort_order_id;
    TRY(json_get_arr(report, "parts", JSON_OPTIONAL, &parts, err));
    if (yyjson_arr_size(parts) != upload->plan.spec.field_count) {
        return err_set(err, E_INTERNAL, "a data file of no partition");
    }
    struct str *texts = arena_array(arena, yyjson_arr_size(parts) + 1, sizeof(*texts));
    if (texts == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < yyjson_arr_size(parts); i++) {
        yyjson_val *part = yyjson_arr_get(parts, i);
        if (yyjson_is_str(part)) {
            texts[i] = arena_str(arena, str_from(yyjson_get_str(part), yyjson_get_len(part)));
            TRY(texts[i].ptr == NULL ? err_no_memory(err) : OK);
        } else {
            texts[i] = (struct str){ NULL, 0 };
        }
    }
    out->parts[out->count] = texts;
    out->rows += file->record_count;
    out->count += file->record_count > 0; /* a file of no rows is no file */
    return OK;
}

static enum status make_room(struct ingest_upload *upload, size_t count, struct ingest_outputs *out,
                             struct err *err)
{
    struct arena *arena = &upload->attempt_arena;
    *out = (struct ingest_outputs){
        .files = arena_array(arena, count + 1, sizeof(*out->files)),
        .parts = arena_array(arena, count + 1, sizeof(*out->parts)),
        .fds = arena_array(arena, count + 1, sizeof(*out->fds)),
    };
    return out->files == NULL || out->parts == NULL || out->fds == NULL ? err_no_memory(err) : OK;
}

/** Reports that were too long for a frame, as a list. */
static enum status read_long(struct ingest_upload *upload, uint64_t spool, yyjson_doc **doc_out,
                             struct err *err)
{
    AUTO(buf_done) struct buf text;
    struct stat info;
    size_t got = 0;
    int fd = -1;
    buf_init(&text, REPORTS_BYTES_MAX);
    TRY(spools_fd(&upload->plan.spools, spool, &fd, err));
    if (fstat(fd, &info) != 0 || buf_append_char(&text, '[') != OK) {
        return err_no_memory(err);
    }
    char *into = buf_reserve(&text, (size_t)info.st_size);
    if (into == NULL) {
        return err_no_memory(err);
    }
    TRY(io_pread(fd, into, (size_t)info.st_size, 0, &got, err));
    text.len += got;
    if (buf_append_char(&text, ']') != OK) {
        return err_no_memory(err);
    }
    return json_parse(buf_str(&text), doc_out, err);
}

/** The list of reports; *out NULL: the frame itself is the one. */
static enum status find_reports(struct ingest_upload *upload, yyjson_doc *done,
                                yyjson_doc **doc_out, yyjson_val **out, struct err *err)
{
    uint64_t spool = UINT64_MAX;
    yyjson_val *root = yyjson_doc_get_root(done);
    TRY(json_get_u64(root, "in_spool", JSON_OPTIONAL, &spool, err));
    if (spool != UINT64_MAX) {
        TRY(read_long(upload, spool, doc_out, err));
        *out = yyjson_doc_get_root(*doc_out);
        return OK;
    }
    return json_get_arr(root, "files", JSON_OPTIONAL, out, err);
}

enum status ingest_outputs_read(struct ingest_upload *upload, struct str done_json,
                                struct ingest_outputs *out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL, *reports = NULL;
    yyjson_val *list = NULL, *report;
    size_t i, max;
    TRY(json_parse(done_json, &doc, err));
    TRY(find_reports(upload, doc, &reports, &list, err));
    TRY(make_room(upload, list == NULL ? 1 : yyjson_arr_size(list), out, err));
    if (list == NULL) {
        TRY(engine_file_stats(&upload->attempt_arena, &upload->plan.target, done_json,
                              &out->files[0], err));
        out->fds[0] = upload->output_fd;
        out->rows = out->files[0].record_count;
        out->count = 1;
        return OK;
    }
    yyjson_arr_foreach(list, i, max, report)
    {
        TRY(read_output(upload, report, out, err));
    }
    return OK;
}

static enum status put(struct ingest_upload *upload, struct ice_data_file *file, int fd,
                       struct err *err)
{
    char name[UUID_TEXT + 1];
    struct store_info info;
    uuid4(name);
    struct str path = arena_printf(&upload->attempt_arena, "%.*s/data/%s.parquet",
                                   STR_ARG(upload->place.location_key), name);
    if (path.ptr == NULL) {
        return err_no_memory(err);
    }
    file->path = path; /* a lost answer may have put it */
    const struct store_cond cond = { .if_absent = true, .opaque_etag = true };
    TRY(store_put_fd(upload->ingest->opts.store, path, fd, true, &cond, &info, err));
    file->size_bytes = (int64_t)info.size;
    return OK;
}

void ingest_outputs_delete(struct ingest_upload *upload, const struct ingest_outputs *outputs)
{
    for (size_t i = 0; i < outputs->count; i++) {
        if (outputs->files[i].path.len > 0) {
            /* tidiness, not correctness: a failure leaves an orphan for the sweep */
            enum status ignored = store_delete(upload->ingest->opts.store, outputs->files[i].path,
                                               NULL);
            (void)ignored;
        }
    }
}

enum status ingest_outputs_put(struct ingest_upload *upload, struct ingest_outputs *outputs,
                               struct err *err)
{
    for (size_t i = 0; i < outputs->count; i++) {
        enum status status = put(upload, &outputs->files[i], outputs->fds[i], err);
        if (status != OK) {
            ingest_outputs_delete(upload, outputs);
            return status;
        }
    }
    return OK;
}

enum status ingest_outputs_keep(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                                struct err *err)
{
    struct ingest_result *result = &upload->result;
    result->files = arena_array(&upload->arena, outputs->count + 1, sizeof(*result->files));
    if (result->files == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < outputs->count; i++) {
        const struct ice_data_file *file = &outputs->files[i];
        result->files[i] = (struct ingest_file){ .key = arena_str(&upload->arena, file->path),
                                                 .size = file->size_bytes,
                                                 .row_count = file->record_count };
        TRY(result->files[i].key.ptr == NULL ? err_no_memory(err) : OK);
    }
    result->file_count = outputs->count;
    return OK;
}
