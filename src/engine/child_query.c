/*
 * Jobs of kind "query": one statement in, its answer out as bytes.
 *
 *   payload   {"sql": text, "params": JSON text or "", "format": "json" | "json_arrays" | "ndjson"
 *             | "ndjson_arrays" | "csv" | "arrow" | "parquet"}
 *   HEAD      {"columns":[{"name","type"}]}, sent when the first chunk of rows is there: until then
 *             an error is the whole answer. Of Parquet, whose columns are known to DuckDB's writer
 *             only, {"columns":[]}
 *   DATA      the answer's bytes
 *   DONE      {"rows": n}
 *
 * A statement that writes (child_write.h) answers with one row: how many rows came, went or
 * changed, and the snapshot that it has made; CALL with the procedure's report.
 */
#include "base/clock.h"
#include "engine/child_write.h"

enum {
    SEND_BYTES = 64 * 1024, /* gathered before they are sent */
    /* or what there is after that, so that slow rows are seen as they come */
    SEND_MS = 20,
};
#define CHUNK_MAX ((size_t)1 << 30)

struct query_job {
    struct child_job *job;
    struct child_tables *tables;
    struct duck_vectors vectors;
    struct duck_session *session;
    struct duck_result *result;
    struct duck_encoder *encoder;
    struct buf out;
    bool head_sent;
    int64_t sent_ms;
};

static enum status parse_format(struct str name, enum duck_format *out, struct err *err)
{
    static const struct {
        const char *name;
        enum duck_format format;
    } known[] = {
        { "json", DUCK_JSON },     { "json_arrays", DUCK_JSON_ARRAYS },
        { "ndjson", DUCK_NDJSON }, { "ndjson_arrays", DUCK_NDJSON_ARRAYS },
        { "csv", DUCK_CSV },       { "arrow", DUCK_ARROW },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_eq(name, str_of(known[i].name))) {
            *out = known[i].format;
            return OK;
        }
    }
    return err_set(err, E_INVALID, "unknown format '%.*s'", STR_ARG(name));
}

static enum status send_head(struct query_job *q, struct err *err)
{
    AUTO(buf_done) struct buf json;
    buf_init(&json, 0);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "columns");
    size_t count = q->result == NULL ? 0 : duck_result_column_count(q->result);
    for (size_t i = 0; i < count; i++) {
        jw_obj_begin(&w);
        jw_kv_str(&w, "name", duck_result_column_name(q->result, i));
        jw_kv_str(&w, "type", duck_result_column_type(q->result, i));
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return child_head(q->job, buf_str(&json), err);
}

static enum status flush(struct query_job *q, struct err *err)
{
    if (!q->head_sent) {
        TRY(send_head(q, err));
        q->head_sent = true;
    }
    TRY(child_data(q->job, buf_str(&q->out), err));
    buf_clear(&q->out);
    q->sent_ms = clock_mono_ms(clock_real());
    return OK;
}

static enum status send_rows(struct query_job *q, struct err *err)
{
    TRY(duck_encoder_head(q->encoder, &q->out, err));
    for (bool done = false; !done;) {
        TRY(duck_encoder_next(q->encoder, &q->out, &done, err));
        child_set_rows(q->job, duck_encoder_rows(q->encoder));
        bool due = !q->head_sent || q->out.len >= SEND_BYTES ||
                   clock_mono_ms(clock_real()) - q->sent_ms >= SEND_MS;
        if (due && !done && q->out.len > 0) {
            TRY(flush(q, err));
        }
    }
    TRY(duck_encoder_tail(q->encoder, &q->out, err));
    return flush(q, err);
}

/* --- Parquet: bytes come from DuckDB's writer --- */

static enum status write_parquet(void *ctx, struct str bytes, struct err *err)
{
    struct query_job *q = ctx;
    if (buf_append(&q->out, bytes) != OK) {
        return err_no_memory(err);
    }
    return q->out.len >= SEND_BYTES ? flush(q, err) : OK;
}

static enum status run_parquet(struct query_job *q, struct str sql, struct str params,
                               uint64_t *rows_out, struct err *err)
{
    const struct lakefs_sink sink = { .write = write_parquet, .ctx = q };
    TRY(lakefs_add_sink(q->job->lakefs, STR("answer"), sink, err));
    TRY(duck_query_to_parquet(q->session, sql, params, STR("spool://answer"), rows_out, err));
    return flush(q, err);
}

static enum status run_rows(struct query_job *q, struct str sql, struct str params,
                            enum duck_format format, uint64_t *rows_out, struct err *err)
{
    TRY(duck_query(q->session, sql, params, &q->result, err));
    TRY(duck_encoder_new(q->result, format, &q->encoder, err));
    TRY(send_rows(q, err));
    *rows_out = duck_encoder_rows(q->encoder);
    return OK;
}

static enum status select_written(const struct child_written *written, struct buf *sql,
                                  struct err *err)
{
    if (written->report.len > 0) {
        return child_report_select(written->report, sql, err);
    }
    bool ok = buf_printf(sql, "SELECT CAST(%lld AS BIGINT) AS count, ", (long long)written->rows) ==
              OK;
    ok = ok && (written->has_snapshot
                    ? buf_printf(sql, "CAST(%lld AS BIGINT)", (long long)written->snapshot_id)
                    : buf_append(sql, STR("CAST(NULL AS BIGINT)"))) == OK;
    return ok && buf_append(sql, STR(" AS snapshot_id")) == OK ? OK : err_no_memory(err);
}

/** In place of the statement that has written, the SELECT of its answer, in a session of our
 * own. */
static enum status answer_write(struct query_job *q, struct duck_write *write, struct buf *sql,
                                struct err *err)
{
    struct child_written written;
    enum status status = child_write(q->job, q->session, write, &written, err);
    duck_write_free(write);
    TRY(status);
    TRY(select_written(&written, sql, err));
    child_set_session(q->job, NULL);
    duck_session_close(q->session);
    q->session = NULL;
    const struct duck_session_opts opts = { .files = lakefs_files(q->job->lakefs),
                                            .trusted = true };
    return duck_session_open(q->job->duck, &opts, &q->session, err);
}

static enum status run_query(struct query_job *q, struct buf *done, struct err *err)
{
    AUTO(buf_done) struct buf answer;
    struct duck_write *write = NULL;
    buf_init(&answer, 0);
    struct str sql;
    struct str params = STR_EMPTY;
    struct str format_name = STR_INIT("json");
    enum duck_format format = DUCK_JSON;
    TRY(json_get_str(q->job->payload, "sql", JSON_REQUIRED, &sql, err));
    TRY(json_get_str(q->job->payload, "params", JSON_OPTIONAL, &params, err));
    TRY(json_get_str(q->job->payload, "format", JSON_OPTIONAL, &format_name, err));
    bool parquet = str_eq(format_name, STR("parquet"));
    if (!parquet) {
        TRY(parse_format(format_name, &format, err));
    }
    TRY(child_tables_new(q->job, &q->tables, err));
    q->vectors = child_vectors(q->job);
    const struct duck_session_opts opts = { .lake = child_tables_lake(q->tables),
                                            .files = lakefs_files(q->job->lakefs),
                                            .vectors = &q->vectors };
    TRY(duck_session_open(q->job->duck, &opts, &q->session, err));
    child_set_session(q->job, q->session);
    TRY(duck_write_open(q->session, sql, params, &write, err));
    if (write != NULL) {
        TRY(answer_write(q, write, &answer, err));
        sql = buf_str(&answer);
        params = STR_EMPTY;
    }
    uint64_t rows = 0;
    TRY(parquet ? run_parquet(q, sql, params, &rows, err)
                : run_rows(q, sql, params, format, &rows, err));
    return buf_printf(done, "{\"rows\":%llu}", (unsigned long long)rows);
}

enum status child_query(struct child_job *job, struct buf *done, struct err *err)
{
    struct query_job q = { .job = job };
    buf_init(&q.out, CHUNK_MAX);
    enum status kind = run_query(&q, done, err);
    child_set_session(job, NULL);
    duck_encoder_free(q.encoder);
    duck_result_free(q.result);
    duck_session_close(q.session);
    child_tables_free(q.tables);
    buf_done(&q.out);
    return kind;
}
