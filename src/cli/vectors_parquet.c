/*
 * Vectors in Parquet. A file to load is read by an engine process that the command starts, under
 * the limits of any other, and comes back as lines; what is exported the server writes, as the
 * answer of a statement.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/vectors_priv.h"
#include "engine/engine.h"

static enum status read_frames(struct engine_run *run,
                               enum status (*take)(void *ctx, struct str bytes, struct err *err),
                               void *ctx, struct err *err)
{
    for (;;) {
        struct engine_frame frame;
        TRY(engine_read_wait(run, &frame, err));
        if (frame.type == ENGINE_DONE) {
            return OK;
        }
        if (frame.type == ENGINE_DATA) {
            TRY(take(ctx, frame.bytes, err));
        }
    }
}

static enum status no_calls(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                            int *fd_out, struct err *err)
{
    (void)ctx, (void)args, (void)reply, (void)fd_out;
    return err_set(err, E_INTERNAL, "the engine asks for '%.*s', which nobody knows",
                   STR_ARG(name));
}

static enum status unpack(struct engine_pool *pool, FILE *file, uint64_t size,
                          enum status (*take)(void *ctx, struct str bytes, struct err *err),
                          void *ctx, struct err *err)
{
    char payload[64];
    struct engine_run *run = NULL;
    int len = snprintf(payload, sizeof(payload), "{\"size\":%llu}", (unsigned long long)size);
    const struct engine_job job = { .kind = "unpack",
                                    .payload = str_from(payload, (size_t)len),
                                    .fds = { fileno(file) },
                                    .fd_count = 1,
                                    .deadline = DEADLINE_NEVER,
                                    .call = no_calls };
    TRY(engine_start(pool, &job, &run, err));
    enum status status = read_frames(run, take, ctx, err);
    engine_free(run);
    return status;
}

enum status vectors_unpack(FILE *file,
                           enum status (*take)(void *ctx, struct str bytes, struct err *err),
                           void *ctx, struct err *err)
{
    struct stat info;
    struct engine_pool *pool = NULL;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        return err_set(err, E_INVALID, "a Parquet file is read from its end: it cannot be a pipe");
    }
    const struct engine_pool_opts opts = { .name = "vectors", .engines_max = 1 };
    TRY(engine_pool_open(&opts, &pool, err));
    enum status status = unpack(pool, file, (uint64_t)info.st_size, take, ctx, err);
    engine_pool_close(pool);
    return status;
}

static enum status print_piece(void *ctx, struct str bytes, struct err *err)
{
    (void)ctx;
    return cli_print(bytes, err);
}

static enum status export_body(struct str index, struct buf *out, struct err *err)
{
    AUTO(buf_done) struct buf sql;
    struct json_writer w;
    buf_init(&sql, 0);
    bool ok = buf_append(&sql, STR("SELECT * FROM vector_items('")) == OK;
    for (size_t i = 0; i < index.len && ok; i++) {
        ok = (index.ptr[i] != '\'' || buf_append_char(&sql, '\'') == OK) &&
             buf_append_char(&sql, index.ptr[i]) == OK;
    }
    ok = ok && buf_append(&sql, STR("')")) == OK;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "sql", buf_str(&sql));
    jw_kv_cstr(&w, "format", "parquet");
    jw_obj_end(&w);
    return ok && json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status vectors_export_parquet(struct http_client *client, struct str index, struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    struct http_header type = { STR_INIT("Content-Type"), STR_INIT("application/json") };
    buf_init(&body, 0);
    if (isatty(STDOUT_FILENO)) {
        return err_set(err, E_INVALID, "Parquet is bytes: send it to a file with > FILE");
    }
    TRY(export_body(index, &body, err));
    struct http_call call = { .method = HTTP_POST,
                              .target = STR("/v1/sql"),
                              .headers = &type,
                              .header_count = 1,
                              .body = buf_str(&body),
                              .write_body = print_piece,
                              .deadline = DEADLINE_NEVER };
    return cli_call(client, &call, &answer, err);
}
