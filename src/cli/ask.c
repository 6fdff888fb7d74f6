/*
 * One statement goes to the server, and its rows come out: a table held whole and aligned, or the
 * bytes of the format as they arrive.
 */
#include <unistd.h>

#include "cli/cli_priv.h"

/* TABLE_BYTES_MAX: a table must be held whole to be aligned; larger results go out as CSV or
 * NDJSON. TAIL_BYTES_MAX: what is kept of the end of a streamed answer; more than an error
 * takes. */
enum { TABLE_BYTES_MAX = 64 * 1024 * 1024, TAIL_BYTES_MAX = 8 * 1024 };

static bool wants_table(const struct cli_question *question)
{
    return strcmp(question->format, "table") == 0;
}

/* What a streamed answer goes through. */
struct sink {
    bool csv, quoted;  /* quoted: inside a quoted cell */
    struct buf pieces; /* of CSV, as it is printed */
    struct buf tail;   /* the end of the answer */
};

static void sink_done(struct sink *sink)
{
    buf_done(&sink->pieces);
    buf_done(&sink->tail);
}

/** Lines end with CR LF in the server's CSV, as RFC 4180 has it, and with LF for a shell. A CR that
 * belongs to a value stands in quotes. */
static enum status shell_lines(struct sink *sink, struct str bytes)
{
    buf_clear(&sink->pieces);
    size_t start = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] == '"') {
            sink->quoted = !sink->quoted;
        } else if (bytes.ptr[i] == '\r' && !sink->quoted) {
            TRY(buf_append_bytes(&sink->pieces, bytes.ptr + start, i - start));
            start = i + 1;
        }
    }
    return buf_append_bytes(&sink->pieces, bytes.ptr + start, bytes.len - start);
}

static enum status print_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct sink *sink = ctx;
    struct buf *tail = &sink->tail;
    if (sink->csv) {
        TRY(shell_lines(sink, bytes) == OK ? OK : err_no_memory(err));
        bytes = buf_str(&sink->pieces);
    }
    TRY(cli_print(bytes, err));
    if (bytes.len > TAIL_BYTES_MAX) {
        bytes = str_skip(bytes, bytes.len - TAIL_BYTES_MAX);
    }
    if (tail->len + bytes.len > TAIL_BYTES_MAX) {
        buf_consume(tail, tail->len + bytes.len - TAIL_BYTES_MAX);
    }
    return buf_append(tail, bytes) == OK ? OK : err_no_memory(err);
}

static enum status body_of(const struct cli_question *question, struct buf *out)
{
    bool table = wants_table(question);
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "sql", question->sql);
    jw_kv_cstr(&w, "format", table ? "json" : question->format);
    if (table) {
        jw_kv_cstr(&w, "row_format", "arrays");
    }
    if (question->params != NULL && question->params->count > 0) {
        jw_key(&w, STR("params"));
        jw_arr_begin(&w);
        for (size_t i = 0; i < question->params->count; i++) {
            jw_str(&w, str_of(question->params->items[i]));
        }
        jw_arr_end(&w);
    }
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static bool type_is_number(const char *type)
{
    static const char *const numbers[] = { "TINYINT", "SMALLINT", "INTEGER",   "BIGINT",
                                           "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
                                           "UBIGINT", "UHUGEINT", "FLOAT",     "DOUBLE" };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(type, numbers[i]) == 0) {
            return true;
        }
    }
    return strncmp(type, "DECIMAL", 7) == 0;
}

static struct str cell_text(struct arena *arena, yyjson_val *value)
{
    if (yyjson_is_str(value)) {
        return str_from(yyjson_get_str(value), yyjson_get_len(value));
    }
    if (yyjson_is_raw(value)) { /* a number, with all its digits */
        return str_from(yyjson_get_raw(value), yyjson_get_len(value));
    }
    if (yyjson_is_null(value)) {
        return str_of(cli_null);
    }
    size_t len = 0;
    char *text = yyjson_val_write(value, 0, &len);
    struct str copy = text != NULL ? arena_str(arena, str_from(text, len)) : STR_EMPTY;
    free(text);
    return copy;
}

static enum status fill(struct cli_table *table, yyjson_val *columns, yyjson_val *rows,
                        struct err *err)
{
    size_t i, max;
    yyjson_val *item;
    struct str *head = cli_table_row(table);
    if (head == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(columns, i, max, item)
    {
        const char *type = yyjson_get_str(yyjson_obj_get(item, "type"));
        head[i] = str_of(yyjson_get_str(yyjson_obj_get(item, "name")));
        table->right[i] = type != NULL && type_is_number(type);
    }
    yyjson_arr_foreach(rows, i, max, item)
    {
        struct str *row = cli_table_row(table);
        if (row == NULL) {
            return err_no_memory(err);
        }
        size_t c, columns_max;
        yyjson_val *value;
        yyjson_arr_foreach(item, c, columns_max, value)
        {
            if (c < table->column_count) {
                row[c] = cell_text(&table->arena, value);
            }
        }
    }
    return OK;
}

/** The plan that EXPLAIN gives is a drawing of many lines. */
static bool is_plan(yyjson_val *columns)
{
    return yyjson_arr_size(columns) == 2 &&
           yyjson_equals_str(yyjson_obj_get(yyjson_arr_get(columns, 0), "name"), "explain_key") &&
           yyjson_equals_str(yyjson_obj_get(yyjson_arr_get(columns, 1), "name"), "explain_value");
}

static enum status append_plan(yyjson_val *rows, struct buf *out)
{
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(rows, i, max, item)
    {
        yyjson_val *value = yyjson_arr_get(item, 1);
        struct str rest = str_from(yyjson_get_str(value), yyjson_get_len(value));
        while (rest.ptr != NULL && rest.len > 0) {
            TRY(cli_append_clean(out, str_split(&rest, '\n')));
            TRY(buf_append_char(out, '\n'));
        }
    }
    return OK;
}

static enum status append_table(yyjson_val *columns, yyjson_val *rows, struct buf *out,
                                struct err *err)
{
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, yyjson_arr_size(columns), err));
    table.paint = cli_paints(STDOUT_FILENO);
    TRY(fill(&table, columns, rows, err));
    struct str count = cli_count(&table.arena, (int64_t)yyjson_arr_size(rows));
    if (cli_table_print(&table, cli_screen_width(), out) != OK ||
        buf_printf(out, "(%.*s row%s)\n", STR_ARG(count), yyjson_arr_size(rows) == 1 ? "" : "s") !=
            OK) {
        return err_no_memory(err);
    }
    return OK;
}

/** The answer of a query as a table; an error that came after the first rows is told behind
 * them. */
static enum status print_table(struct str json, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    /* numbers stay text: a table shows every digit that the server sent */
    doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NUMBER_AS_RAW);
    if (doc == NULL) {
        return err_set(err, E_UPSTREAM, "the server's answer is no JSON");
    }
    yyjson_val *root = yyjson_doc_get_root(doc), *columns = NULL, *rows = NULL, *error;
    TRY(json_get_arr(root, "columns", JSON_REQUIRED, &columns, err));
    TRY(json_get_arr(root, "rows", JSON_REQUIRED, &rows, err));
    if (is_plan(columns)) {
        TRY(append_plan(rows, &out) == OK ? OK : err_no_memory(err));
    } else {
        TRY(append_table(columns, rows, &out, err));
    }
    TRY(cli_print(buf_str(&out), err));
    error = yyjson_obj_get(root, "error");
    if (error != NULL) {
        const char *message = yyjson_get_str(yyjson_obj_get(error, "message"));
        return err_set(err, E_INTERNAL, "%s (the rows above are not all)",
                       message != NULL ? message : "the answer is not whole");
    }
    return OK;
}

/**
 * Why a streamed answer ended too early: JSON and NDJSON end with `"error":{"message":..}}`; the
 * other formats have no place for it.
 */
static enum status explain_break(const char *format, struct str tail, struct err *err)
{
    static const struct str mark = STR_INIT("\"error\":");
    size_t at = SIZE_MAX;
    for (size_t next = str_find(tail, mark); next != SIZE_MAX;) {
        at = (at == SIZE_MAX ? 0 : at + mark.len) + next;
        next = str_find(str_skip(tail, at + mark.len), mark);
    }
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    bool tells = strcmp(format, "json") == 0 || strcmp(format, "ndjson") == 0;
    if (at != SIZE_MAX && tells) {
        struct str object = str_trim(str_skip(tail, at + mark.len));
        doc = yyjson_read(object.ptr, object.len, YYJSON_READ_STOP_WHEN_DONE);
    }
    const char *message = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "message"));
    if (message != NULL) {
        return err_set(err, E_INTERNAL, "%s (the rows above are not all)", message);
    }
    return err_set(err, E_INTERNAL,
                   "the server broke off in the middle of the answer: the rows above are not all%s",
                   tells ? "" : " (--format ndjson may tell why)");
}

enum status cli_ask(struct http_client *client, const struct cli_question *question,
                    struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(sink_done) struct sink sink = { .csv = strcmp(question->format, "csv") == 0 };
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    buf_init(&body, 0);
    buf_init(&sink.pieces, 0);
    buf_init(&sink.tail, 0);
    if (body_of(question, &body) != OK) {
        return err_no_memory(err);
    }
    bool table = wants_table(question);
    struct http_header headers[] = { { STR_INIT("Content-Type"), STR_INIT("application/json") } };
    enum status status = cli_call(client,
                                  &(struct http_call){
                                      .method = HTTP_POST,
                                      .target = STR("/v1/sql"),
                                      .headers = headers,
                                      .header_count = 1,
                                      .body = buf_str(&body),
                                      .write_body = table ? NULL : print_bytes,
                                      .ctx = &sink,
                                      .deadline = DEADLINE_NEVER,
                                      .body_bytes_max = TABLE_BYTES_MAX,
                                  },
                                  &answer, err);
    bool broke_off = status == E_UPSTREAM && answer.status == 200;
    if (table && status == E_TOO_LARGE && answer.status == 200) {
        return err_set(err, status,
                       "the result is too large for a table: use --format csv or ndjson");
    }
    if (table && (status == OK || (broke_off && answer.body.len > 0))) {
        struct err late = { 0 };
        enum status printed = print_table(buf_str(&answer.body), &late);
        if (broke_off && (printed == OK || printed == E_UPSTREAM)) {
            return status; /* cut without a word from the server: how it broke off is told */
        }
        return printed == OK ? OK : err_set(err, printed, "%s", late.msg);
    }
    if (status == OK && strcmp(question->format, "json") == 0) {
        return cli_print(STR("\n"), err);
    }
    return broke_off ? explain_break(question->format, buf_str(&sink.tail), err) : status;
}
