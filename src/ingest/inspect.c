/*
 * What a registered Parquet object consists of: an engine reads its footer.
 */
#include "ingest/ingest_priv.h"

#include "base/io.h"

enum { PIECE_BYTES = 1024 * 1024 };

/** A store without descriptors: the object is copied to a spool first. */
static enum status spool_object(struct store *store, struct store_object *object,
                                struct arena *arena, int *fd_out, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    char *piece = arena_alloc(arena, PIECE_BYTES);
    if (piece == NULL) {
        return err_no_memory(err);
    }
    TRY(store_spool(store, &fd, err));
    for (uint64_t offset = 0;;) {
        size_t got;
        TRY(store_object_read(object, offset, piece, PIECE_BYTES, &got, err));
        if (got == 0) {
            break;
        }
        TRY(io_write_full(fd, piece, got, err));
        offset += got;
    }
    *fd_out = fd;
    fd = -1;
    return OK;
}

static enum status run_job(struct ingest *ingest, int fd, uint64_t size, struct arena *arena,
                           struct str *done_out, struct err *err)
{
    struct engine_run *run = NULL;
    struct engine_frame frame = { 0 };
    struct str payload = arena_printf(arena, "{\"size\":%llu}", (unsigned long long)size);
    if (payload.ptr == NULL) {
        return err_no_memory(err);
    }
    struct engine_job job = { .kind = "inspect",
                              .payload = payload,
                              .fds = { fd },
                              .fd_count = 1,
                              .deadline = deadline_in(ingest->opts.timeout_ms) };
    TRY(engine_start(ingest->opts.engines, &job, &run, err));
    enum status status = OK;
    while (status == OK && frame.type != ENGINE_DONE) {
        status = engine_read_wait(run, &frame, err);
    }
    if (status == OK) {
        *done_out = arena_str(arena, frame.bytes);
        status = done_out->ptr != NULL ? OK : err_no_memory(err);
    }
    engine_free(run);
    return status;
}

static enum status read_answer(struct str json, struct arena *arena, struct catalog_inspected *out,
                               struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *schema_json = NULL;
    struct ice_schema *schema = ARENA_NEW(arena, struct ice_schema);
    if (schema == NULL) {
        return err_no_memory(err);
    }
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(json_get_obj(root, "schema", JSON_REQUIRED, &schema_json, err));
    TRY(json_get_bool(root, "has_ids", JSON_REQUIRED, &out->has_ids, err));
    TRY(ice_schema_parse(arena, schema_json, schema, err));
    TRY(engine_file_stats(arena, schema, json, &out->file, err));
    out->schema = schema;
    return OK;
}

static enum status inspect(void *ctx, struct str key, struct store_object *object,
                           struct arena *arena, struct catalog_inspected *out, struct err *err)
{
    struct ingest *ingest = ctx;
    AUTO(fd_done) int fd = -1;
    struct str done;
    uint64_t size = store_object_info(object)->size;
    enum status status = store_object_raw_fd(object, &fd, err);
    if (status == E_UNSUPPORTED) {
        status = spool_object(ingest->opts.store, object, arena, &fd, err);
    }
    TRY(status);
    if (run_job(ingest, fd, size, arena, &done, err) != OK) {
        struct err why = err != NULL ? *err : (struct err){ .kind = E_INTERNAL };
        return err_set(err, why.kind, "\"%.*s\": %s", STR_ARG(key), why.msg);
    }
    TRY(read_answer(done, arena, out, err));
    out->file.size_bytes = (int64_t)size;
    return OK;
}

struct catalog_inspector ingest_inspector(struct ingest *ingest)
{
    return (struct catalog_inspector){ inspect, ingest };
}
