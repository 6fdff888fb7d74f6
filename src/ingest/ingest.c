/*
 * Uploads: spool and hash, convert in an engine, put the Parquet file, commit.
 *
 * An attempt is: look for the batch, ask where the table's files go (catalog_place), run the engine
 * job, put the file, append. When the schema has moved on between place and append (E_CONFLICT) the
 * attempt is made again from the spool, a bounded number of times. What an attempt put into the
 * store and did not commit is deleted at once, unless the outcome of its commit is unknown: then
 * the file may be the table's.
 */
#include "ingest/ingest.h"

#include <pthread.h>

#include "base/digest.h"
#include "base/mem.h"
#include "ingest/ingest_priv.h"

/* each lost one means that somebody else changed the schema meanwhile */
enum { ATTEMPTS_MAX = 16, HEAD_BYTES = 4096 /* looked at for the format */ };

enum status ingest_open(const struct ingest_service_opts *opts, struct ingest **out,
                        struct err *err)
{
    struct ingest *ingest = mem_zalloc(sizeof(*ingest));
    if (ingest == NULL) {
        return err_no_memory(err);
    }
    ingest->opts = *opts;
    ingest->opts.columns_max = opts->columns_max ? opts->columns_max : 10000;
    ingest->opts.line_bytes_max = opts->line_bytes_max ? opts->line_bytes_max : 16u * 1024 * 1024;
    ingest->opts.unpacked_bytes_max = opts->unpacked_bytes_max ? opts->unpacked_bytes_max
                                                               : UINT64_C(64) << 30;
    ingest->opts.expansion_max = opts->expansion_max ? opts->expansion_max : 200;
    ingest->opts.timeout_ms = opts->timeout_ms ? opts->timeout_ms : 3600 * 1000;
    struct metrics *metrics = opts->metrics;
    ingest->files = metric_get(metrics, METRIC_COUNTER, "lakehouse_ingest_files_total",
                               "result=\"committed\"", "Files ingested.");
    ingest->deduplicated = metric_get(metrics, METRIC_COUNTER, "lakehouse_ingest_files_total",
                                      "result=\"deduplicated\"", "Files ingested.");
    ingest->failed = metric_get(metrics, METRIC_COUNTER, "lakehouse_ingest_files_total",
                                "result=\"failed\"", "Files ingested.");
    ingest->rows = metric_get(metrics, METRIC_COUNTER, "lakehouse_ingest_rows_total", "",
                              "Rows committed.");
    ingest->bytes = metric_get(metrics, METRIC_COUNTER, "lakehouse_ingest_bytes_total", "",
                               "Bytes received.");
    *out = ingest;
    return OK;
}

void ingest_close(struct ingest *ingest)
{
    mem_free(ingest);
}

/* --- receiving --- */

static enum status spool(void *ctx, struct str bytes, struct err *err)
{
    struct ingest_upload *upload = ctx;
    enum status status = io_write_full(upload->spool_fd, bytes.ptr, bytes.len, err);
    if (status != OK) {
        (void)err_context(err, "the upload on its way to \"%.*s\"",
                          STR_ARG(store_root_uri(upload->ingest->opts.store)));
        return status;
    }
    upload->size += bytes.len;
    upload->params.size_expected = body_file_bytes(upload->body, upload->bytes_expected);
    early_received(upload);
    return OK;
}

static enum status open_body(struct ingest_upload *upload, struct err *err)
{
    struct body_opts opts = {
        .encoding = upload->params.encoding,
        .named = upload->params.packing,
        .charset = upload->params.charset,
        .charset_given = upload->params.charset_given,
        .binary = upload->params.format == INGEST_PARQUET,
        .plain_bytes_max = upload->ingest->opts.unpacked_bytes_max,
        .expansion_max = upload->ingest->opts.expansion_max,
        .sink = spool,
        .ctx = upload,
    };
    return ingest_body_new(&opts, &upload->body, err);
}

enum status ingest_begin(struct ingest *ingest, const struct ingest_params *params,
                         struct ingest_upload **out, struct err *err)
{
    if (params->mode == INGEST_UPSERT && ingest->opts.upserter.start == NULL) {
        return err_set(err, E_UNSUPPORTED, "this server does not take mode=upsert");
    }
    struct ingest_upload *upload = mem_zalloc(sizeof(*upload));
    if (upload == NULL) {
        return err_no_memory(err);
    }
    upload->ingest = ingest;
    upload->spool_fd = upload->output_fd = upload->news_fd = -1;
    upload->started_ms = clock_mono_ms(clock_real());
    arena_init(&upload->arena, 0);
    arena_init(&upload->attempt_arena, 1024u * 1024 * 1024);
    arena_init(&upload->plan.arena, 1024u * 1024 * 1024);
    pthread_mutex_init(&upload->plan.lock, NULL);
    upload->params = *params;
    upload->params.table.ns = arena_str(&upload->arena, params->table.ns);
    upload->params.table.name = arena_str(&upload->arena, params->table.name);
    upload->params.batch_key = arena_str(&upload->arena, params->batch_key);
    upload->params.partition_by = arena_str(&upload->arena, params->partition_by);
    upload->params.sort_by = arena_str(&upload->arena, params->sort_by);
    upload->digest = digest_new(DIGEST_SHA256);
    enum status status = OK;
    if (upload->digest == NULL || upload->params.table.ns.ptr == NULL ||
        upload->params.table.name.ptr == NULL || upload->params.partition_by.ptr == NULL ||
        upload->params.sort_by.ptr == NULL) {
        status = err_no_memory(err);
    }
    if (status == OK) {
        status = store_spool(ingest->opts.store, &upload->spool_fd, err);
    }
    if (status == OK) {
        upload->bytes_expected = params->size_expected;
        status = open_body(upload, err);
    }
    if (status != OK) {
        ingest_upload_free(upload);
        return status;
    }
    *out = upload;
    return OK;
}

enum status ingest_write(struct ingest_upload *upload, struct str bytes, struct err *err)
{
    assert(upload->state == UPLOAD_RECEIVING);
    digest_update(upload->digest, bytes.ptr, bytes.len);
    metric_add(upload->ingest->bytes, (double)bytes.len);
    return body_feed(upload->body, bytes, err);
}

static enum status write_types(struct json_writer *w, const struct ingest_params *params,
                               struct err *err)
{
    AUTO(buf_done) struct buf type;
    buf_init(&type, 0);
    jw_kv_arr(w, "types");
    for (size_t i = 0; i < params->type_count; i++) {
        buf_clear(&type);
        if (ice_type_print(&params->types[i].type, &type) != OK) {
            return err_no_memory(err);
        }
        jw_obj_begin(w);
        jw_kv_str(w, "name", params->types[i].name);
        jw_kv_str(w, "type", buf_str(&type));
        jw_obj_end(w);
    }
    jw_arr_end(w);
    return OK;
}

/** Types are many and long: by their hash. */
static enum status name_types(const struct ingest_upload *upload, struct buf *out)
{
    AUTO(buf_done) struct buf types;
    char hex[SHA256_HEX + 1];
    struct json_writer w;
    buf_init(&types, 0);
    json_writer_init(&w, &types);
    jw_obj_begin(&w);
    TRY(write_types(&w, &upload->params, NULL));
    jw_obj_end(&w);
    TRY(json_writer_end(&w));
    sha256_hex(buf_str(&types), hex);
    return buf_printf(out, "-t%.16s", hex);
}

/** The same file may be appended, and replace rows, by these keys or by others. */
static enum status name_mode(const struct ingest_upload *upload, struct buf *out)
{
    const struct ingest_params *params = &upload->params;
    AUTO(buf_done) struct buf keys;
    char hex[SHA256_HEX + 1];
    buf_init(&keys, 0);
    if (params->mode != INGEST_UPSERT) {
        return params->mode == INGEST_OVERWRITE ? buf_append(out, STR("-o")) : OK;
    }
    for (size_t i = 0; i < params->key_count; i++) {
        TRY(buf_printf(&keys, "%zu:", params->keys[i].len));
        TRY(buf_append(&keys, params->keys[i]));
    }
    sha256_hex(buf_str(&keys), hex);
    return buf_printf(out, "-u%.16s", hex);
}

enum status ingest_sniff(const struct ingest_upload *upload, enum ingest_format *out,
                         struct err *err)
{
    char head[HEAD_BYTES];
    size_t got;
    TRY(io_pread(upload->spool_fd, head, sizeof(head), 0, &got, err));
    *out = ingest_format_of_bytes(str_from(head, got));
    return OK;
}

/** Is the file read in another way than its bytes ask for? Only then is what was said of its format
 * a part of what it is; either name of JSON may hold an array or lines. */
static bool is_read_otherwise(enum ingest_format said, enum ingest_format sniffed)
{
    bool both_json = (said == INGEST_JSON || said == INGEST_NDJSON) &&
                     (sniffed == INGEST_JSON || sniffed == INGEST_NDJSON);
    return said != INGEST_GUESS && said != sniffed && !both_json;
}

/**
 * The batch id: the client's key, else what the file is and what would change its rows. `evolve`
 * does not: it decides whether a file may land, not what lands.
 */
static enum status name_batch(struct ingest_upload *upload, struct err *err)
{
    uint8_t digest[SHA256_BYTES];
    AUTO(buf_done) struct buf text;
    enum ingest_format sniffed;
    buf_init(&text, 4096);
    digest_final(upload->digest, digest);
    TRY(ingest_sniff(upload, &sniffed, err));
    enum status status;
    if (upload->params.dedup_off) {
        char name[UUID_TEXT + 1];
        uuid4(name);
        status = buf_printf(&text, "once-%s", name);
    } else if (upload->params.batch_key.len > 0) {
        char hex[SHA256_HEX + 1];
        sha256_hex(upload->params.batch_key, hex);
        status = buf_printf(&text, "key-%s", hex);
    } else {
        status = hex_append(&text, digest, sizeof(digest));
        if (status == OK && is_read_otherwise(upload->params.format, sniffed)) {
            status = buf_printf(&text, "-f%d", (int)upload->params.format);
        }
        if (status == OK && upload->params.charset_given) {
            status = buf_printf(&text, "-c%d", (int)upload->params.charset);
        }
        if (status == OK && upload->params.skip_bad) {
            status = buf_append(&text, STR("-skip"));
        }
        if (status == OK) {
            status = name_mode(upload, &text);
        }
        if (status == OK && upload->params.type_count > 0) {
            status = name_types(upload, &text);
        }
    }
    upload->batch_id = status == OK ? arena_str(&upload->arena, buf_str(&text)) : (struct str){ 0 };
    return upload->batch_id.ptr != NULL ? OK : err_no_memory(err);
}

enum status ingest_end(struct ingest_upload *upload, struct err *err)
{
    assert(upload->state == UPLOAD_RECEIVING);
    TRY(body_end(upload->body, err));
    if (upload->size == 0) {
        return err_set(err, E_INVALID, "the file is empty");
    }
    TRY(name_batch(upload, err));
    early_end(upload);
    if (!upload->early) {
        upload->deadline = deadline_in(upload->ingest->opts.timeout_ms);
    }
    upload->state = UPLOAD_STARTING;
    return OK;
}

/* --- an attempt --- */

/** An earlier batch with this id is the answer. */
static enum status finish_with(struct ingest_upload *upload,
                               const struct catalog_appended *appended, struct err *err)
{
    struct ingest_result *result = &upload->result;
    AUTO(buf_done) struct buf name;
    buf_init(&name, 4096);
    if (table_name_print(&upload->params.table, &name) != OK) {
        return err_no_memory(err);
    }
    result->table = arena_str(&upload->arena, buf_str(&name));
    result->dataset_id = arena_str(&upload->arena, appended->uuid);
    result->fingerprint = arena_str(&upload->arena, appended->fingerprint);
    result->rows = appended->row_count;
    result->snapshot_id = appended->snapshot_id;
    result->created = appended->created;
    result->deduplicated = appended->deduplicated;
    upload->state = UPLOAD_DONE;
    metric_add(appended->deduplicated ? upload->ingest->deduplicated : upload->ingest->files, 1);
    metric_add(upload->ingest->rows, appended->deduplicated ? 0 : (double)appended->row_count);
    return OK;
}

static enum status write_payload(struct ingest_upload *upload, bool growing, struct buf *out,
                                 struct err *err)
{
    static const char *const formats[] = { [INGEST_CSV] = "csv",
                                           [INGEST_TSV] = "tsv",
                                           [INGEST_JSON] = "json",
                                           [INGEST_NDJSON] = "ndjson",
                                           [INGEST_PARQUET] = "parquet" };
    enum ingest_format format = upload->params.format;
    if (format == INGEST_GUESS) {
        TRY(ingest_sniff(upload, &format, err));
    }
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "format", formats[format]);
    jw_kv_u64(&w, "size", growing ? upload->params.size_expected : upload->size);
    jw_kv_u64(&w, "columns_max", upload->ingest->opts.columns_max);
    jw_kv_u64(&w, "line_bytes_max", upload->ingest->opts.line_bytes_max);
    if (upload->params.skip_bad) {
        jw_kv_bool(&w, "skip_bad", true);
    }
    if (upload->params.type_count > 0) {
        TRY(write_types(&w, &upload->params, err));
    }
    if (upload->place.exists) {
        jw_key(&w, STR("table"));
        ice_schema_write(&w, upload->place.schema);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status ingest_start_job(struct ingest_upload *upload, int news_fd, struct err *err)
{
    const struct ingest_service_opts *opts = &upload->ingest->opts;
    bool growing = news_fd >= 0;
    TRY(catalog_place(opts->catalog, &upload->params.table, &upload->attempt_arena, &upload->place,
                      err));
    fd_done(&upload->output_fd);
    TRY(store_spool(opts->store, &upload->output_fd, err));
    upload->copies_given = 0; /* no job runs */
    AUTO(buf_done) struct buf payload;
    buf_init(&payload, 0);
    TRY(write_payload(upload, growing, &payload, err));
    struct engine_job job = {
        .kind = "convert",
        .payload = buf_str(&payload),
        .fds = { upload->spool_fd, upload->output_fd, news_fd },
        .fd_count = growing ? 3 : 2,
        .only_if_idle = growing,
        .deadline = upload->deadline,
        .call = ingest_on_call,
        .ctx = upload,
    };
    return engine_start(opts->engines, &job, &upload->run, err);
}

static enum status start_attempt(struct ingest_upload *upload, struct err *err)
{
    struct catalog_appended appended;
    bool found = false;
    if (++upload->attempts > ATTEMPTS_MAX) {
        return err_set(err, E_CONFLICT,
                       "the table keeps changing under this file, try again later");
    }
    if (!upload->early) {
        arena_reset(&upload->attempt_arena);
    }
    TRY(catalog_batch(upload->ingest->opts.catalog, &upload->params.table, upload->batch_id,
                      &upload->attempt_arena, &found, &appended, err));
    if (found) {
        early_give_up(upload);
        appended.deduplicated = true;
        return finish_with(upload, &appended, err);
    }
    if (!upload->early) {
        TRY(ingest_start_job(upload, -1, err));
    }
    upload->state = UPLOAD_CONVERTING;
    return OK;
}

/** True when `status` says for sure that a commit did not happen. */
static bool surely_not_committed(enum status status)
{
    return status == E_CONFLICT || status == E_NOT_FOUND || status == E_EXISTS ||
           status == E_INVALID || status == E_UNSUPPORTED;
}

/** The append of what was written. */
static enum status append(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                          struct catalog_appended *out, struct err *err)
{
    const struct ingest_plan *plan = &upload->plan;
    const struct catalog_append append = {
        .name = upload->params.table,
        .batch_id = upload->batch_id,
        .schema = &plan->target,
        .files = outputs->files,
        .file_count = outputs->count,
        .create = true,
        .only_new = upload->params.mode != INGEST_APPEND,
        .place = &upload->place,
        .expected_schema_id = upload->place.schema_id,
        .expected_spec_id = upload->place.spec_id,
        .parts = plan->spec.field_count > 0 ? outputs->parts : NULL,
        .part_count = plan->spec.field_count,
        .shape = upload->place.exists ? STR_EMPTY : plan->shape,
        .evolved = upload->place.exists && plan->changed ? &plan->target : NULL,
        .evolved_last_column_id = plan->last_id,
        .deadline = upload->deadline,
    };
    return catalog_append(upload->ingest->opts.catalog, &append, &upload->attempt_arena, out, err);
}

/** Rows are replaced in a table that is there, and has the file's columns. */
static bool must_prepare(const struct ingest_upload *upload)
{
    switch (upload->params.mode) {
    case INGEST_APPEND:
        return false;
    case INGEST_OVERWRITE:
        return upload->place.exists && upload->plan.changed;
    case INGEST_UPSERT:
        return !upload->place.exists || upload->plan.changed;
    }
    return false;
}

/** Begin again with the table as it is now. */
static enum status begin_again(struct ingest_upload *upload)
{
    upload->state = UPLOAD_STARTING;
    return OK;
}

static enum status prepare(struct ingest_upload *upload, struct err *err)
{
    enum status status = ingest_prepare_table(upload, err);
    return status == OK || status == E_CONFLICT ? begin_again(upload) : status;
}

static enum status commit_files(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                                struct catalog_appended *out, struct err *err)
{
    bool replaces = upload->params.mode == INGEST_OVERWRITE && upload->place.exists;
    return replaces ? ingest_overwrite(upload, outputs, out, err)
                    : append(upload, outputs, out, err);
}

/** The job is done: put its files and commit. */
static enum status commit(struct ingest_upload *upload, struct str done_json, struct err *err)
{
    struct ingest_outputs outputs;
    struct catalog_appended appended;
    if (must_prepare(upload)) {
        return prepare(upload, err);
    }
    if (upload->params.mode == INGEST_UPSERT) {
        if (upload->params.skip_bad) {
            TRY(ingest_read_skipped(&upload->arena, done_json, &upload->result, err));
        }
        upload->state = UPLOAD_UPSERTING;
        return ingest_upsert_start(upload, err);
    }
    TRY(ingest_outputs_read(upload, done_json, &outputs, err));
    if (upload->params.skip_bad) {
        TRY(ingest_read_skipped(&upload->arena, done_json, &upload->result, err));
    }
    TRY(ingest_outputs_put(upload, &outputs, err));
    enum status status = commit_files(upload, &outputs, &appended, err);
    bool landed_before = status == E_EXISTS && upload->params.mode == INGEST_OVERWRITE &&
                         upload->place.exists;
    if (status == E_CONFLICT || landed_before) { /* the table moved on, or the batch is in it */
        ingest_outputs_delete(upload, &outputs);
        return begin_again(upload);
    }
    if (status != OK) {
        if (surely_not_committed(status)) {
            ingest_outputs_delete(upload, &outputs);
        }
        return status;
    }
    if (appended.deduplicated) {
        ingest_outputs_delete(upload, &outputs); /* the same bytes won meanwhile */
    } else {
        appended.row_count = outputs.rows;
        TRY(ingest_outputs_keep(upload, &outputs, err));
    }
    return finish_with(upload, &appended, err);
}

/** Read what the engine says; DONE leads to the commit. */
static enum status converse(struct ingest_upload *upload, struct err *err)
{
    struct engine_frame frame = { 0 };
    enum status status = engine_read(upload->run, &frame, err);
    if (status == E_UNAVAILABLE && upload->early) {
        early_give_up(upload); /* the file came too slowly to be read along */
        upload->state = UPLOAD_STARTING;
        return OK;
    }
    TRY(status);
    if (frame.type != ENGINE_DONE) {
        return OK;
    }
    struct str done = arena_str(&upload->attempt_arena, frame.bytes);
    engine_free(upload->run);
    upload->run = NULL;
    upload->early = false;
    if (done.ptr == NULL) {
        return err_no_memory(err);
    }
    return commit(upload, done, err);
}

/** Rows are being replaced. */
static enum status upsert(struct ingest_upload *upload, struct err *err)
{
    struct catalog_appended appended;
    bool done = false;
    enum status status = ingest_upsert_step(upload, &done, &appended, err);
    if (status == E_CONFLICT || status == E_EXISTS) { /* moved on; or the batch is in it */
        return begin_again(upload);
    }
    TRY(status);
    return done ? finish_with(upload, &appended, err) : OK;
}

enum status ingest_step(struct ingest_upload *upload, bool *done_out, struct err *err)
{
    enum status status = OK;
    if (upload->state == UPLOAD_STARTING) {
        status = start_attempt(upload, err);
    }
    if (status == OK && upload->state == UPLOAD_CONVERTING) {
        status = converse(upload, err);
    } else if (status == OK && upload->state == UPLOAD_UPSERTING) {
        status = upsert(upload, err);
    }
    if (status != OK) {
        metric_add(upload->ingest->failed, 1);
        return status;
    }
    *done_out = upload->state == UPLOAD_DONE;
    return OK;
}

int ingest_fd(const struct ingest_upload *upload)
{
    if (upload->upserting != NULL) {
        return upload->ingest->opts.upserter.fd(upload->upserting);
    }
    return upload->run != NULL ? engine_fd(upload->run) : -1;
}

const struct ingest_result *ingest_result(const struct ingest_upload *upload)
{
    assert(upload->state == UPLOAD_DONE);
    return &upload->result;
}

void ingest_upload_free(struct ingest_upload *upload)
{
    if (upload == NULL) {
        return;
    }
    engine_free(upload->run); /* no call runs any more */
    if (upload->upserting != NULL) {
        upload->ingest->opts.upserter.free(upload->upserting);
    }
    fd_done(&upload->news_fd);
    fd_done(&upload->spool_fd);
    fd_done(&upload->output_fd);
    spools_done(&upload->plan.spools);
    digest_free(upload->digest);
    ingest_body_free(upload->body);
    pthread_mutex_destroy(&upload->plan.lock);
    arena_done(&upload->plan.arena);
    arena_done(&upload->attempt_arena);
    arena_done(&upload->arena);
    mem_free(upload);
}
