/*
 * `lakehouse sql`: one statement, its rows as a table on a terminal, as CSV when piped, or as asked
 * for.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli_priv.h"

/* a table must be held whole to be aligned; larger results go out as CSV or NDJSON */
enum { TABLE_BYTES_MAX = 64 * 1024 * 1024 };

static const char usage[] =
    "usage: lakehouse sql [--format table|csv|json|ndjson] [--server URL] \"SELECT ...\"\n"
    "\n"
    "Runs one statement and prints its rows: a table on a terminal, CSV when piped. \"-\" reads the statement from standard input.\n"
    "\n"
    "  lakehouse sql \"SELECT count(*) FROM birdstrikes\"\n"
    "  lakehouse sql \"SHOW TABLES\"\n"
    "  lakehouse sql \"SELECT * FROM flights AT (VERSION => 123) LIMIT 5\"\n"
    "  lakehouse sql --format ndjson \"FROM airports\" > airports.ndjson\n";

static enum status print_bytes(void *ctx, struct str bytes, struct err *err)
{
    FILE *out = ctx;
    if (fwrite(bytes.ptr, 1, bytes.len, out) != bytes.len) {
        return err_set(err, E_INTERNAL, "cannot write to standard output");
    }
    return OK;
}

static enum status body_of(struct str sql, const char *format, struct buf *out)
{
    bool table = strcmp(format, "table") == 0;
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "sql", sql);
    jw_kv_cstr(&w, "format", table ? "json" : format);
    if (table) {
        jw_kv_cstr(&w, "row_format", "arrays");
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
    if (yyjson_is_null(value)) {
        return STR("NULL");
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

/** The answer of a query as a table; an error that came after the first rows is told behind
 * them. */
static enum status print_table(struct str json, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc), *columns = NULL, *rows = NULL, *error;
    TRY(json_get_arr(root, "columns", JSON_REQUIRED, &columns, err));
    TRY(json_get_arr(root, "rows", JSON_REQUIRED, &rows, err));
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, yyjson_arr_size(columns), err));
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    TRY(fill(&table, columns, rows, err));
    if (cli_table_print(&table, &out) != OK) {
        return err_no_memory(err);
    }
    fwrite(out.ptr, 1, out.len, stdout);
    printf("(%zu row%s)\n", yyjson_arr_size(rows), yyjson_arr_size(rows) == 1 ? "" : "s");
    error = yyjson_obj_get(root, "error");
    if (error != NULL) {
        const char *message = yyjson_get_str(yyjson_obj_get(error, "message"));
        return err_set(err, E_INTERNAL, "%s",
                       message != NULL ? message : "the answer is not whole");
    }
    return OK;
}

static enum status run(const char *server, struct str sql, const char *format, struct err *err)
{
    struct http_client *client = NULL;
    bool table = strcmp(format, "table") == 0;
    AUTO(buf_done) struct buf body;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    buf_init(&body, 0);
    if (body_of(sql, format, &body) != OK) {
        return err_no_memory(err);
    }
    TRY(cli_connect(server, &client, err));
    struct http_header headers[] = { { STR_INIT("Content-Type"), STR_INIT("application/json") } };
    enum status status = http_client_call_ok(client,
                                             &(struct http_call){
                                                 .method = HTTP_POST,
                                                 .target = STR("/v1/sql"),
                                                 .headers = headers,
                                                 .header_count = 1,
                                                 .body = buf_str(&body),
                                                 .write_body = table ? NULL : print_bytes,
                                                 .ctx = stdout,
                                                 .deadline = DEADLINE_NEVER,
                                                 .body_bytes_max = TABLE_BYTES_MAX,
                                             },
                                             &answer, err);
    http_client_free(client);
    if (status == E_TOO_LARGE && table) {
        return err_set(err, status,
                       "the result is too large for a table: use --format csv or ndjson");
    }
    return status == OK && table ? print_table(buf_str(&answer.body), err) : status;
}

static enum status read_statement(struct buf *out, struct err *err)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0) {
        if (buf_append_bytes(out, piece, n) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

int cli_sql(int argc, char **argv)
{
    argc--;
    argv++;
    const char *server = NULL, *format = NULL;
    bool help = false;
    struct cli_option options[] = {
        { "server", &server, NULL },
        { "format", &format, NULL },
        { "help", NULL, &help },
        { "h", NULL, &help },
    };
    if (!cli_options("sql", options, ARRAY_LEN(options), &argc, argv)) {
        return 2;
    }
    if (help) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc != 1) {
        return cli_usage("sql", argc == 0 ? "which statement? (lakehouse sql --help)"
                                          : "one statement, please: put it in quotes");
    }
    static const char *const formats[] = { "table", "csv", "json", "ndjson" };
    bool known = format == NULL;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        known = known || strcmp(format, formats[i]) == 0;
    }
    if (!known) {
        return cli_usage("sql", "--format is table, csv, json or ndjson, not \"%s\"", format);
    }
    struct err err = { 0 };
    AUTO(buf_done) struct buf statement;
    buf_init(&statement, 0);
    struct str sql = str_of(argv[0]);
    if (str_eq(sql, STR("-"))) {
        if (read_statement(&statement, &err) != OK) {
            return cli_failed("sql", &err);
        }
        sql = buf_str(&statement);
    }
    if (run(server, sql,
            format != NULL          ? format
            : isatty(STDOUT_FILENO) ? "table"
                                    : "csv",
            &err) != OK ||
        fflush(stdout) != 0) {
        return cli_failed("sql", &err);
    }
    return 0;
}
