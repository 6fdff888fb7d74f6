/*
 * `lakehouse sql`: a statement from the command line, a file or standard input; without one, on a
 * terminal, the prompt.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli_priv.h"

struct sql_options {
    const char *server, *format, *path;
    struct cli_list params;
    bool json;
};

static const struct cli_option sql_options[] = {
    { .name = "param",
      .kind = CLI_VALUES,
      .at = offsetof(struct sql_options, params),
      .value = "VALUE",
      .help = "a value for the next ? of the statement, as text (any number of them)" },
    { .name = "file",
      .letter = "f",
      .kind = CLI_VALUE,
      .at = offsetof(struct sql_options, path),
      .value = "FILE",
      .help = "read the statement from a file" },
    { .name = "format",
      .kind = CLI_VALUE,
      .at = offsetof(struct sql_options, format),
      .value = "table|csv|json|ndjson|arrow|parquet",
      .help = "how rows are printed; arrow (the IPC stream) and parquet are for files and pipes" },
    CLI_JSON(struct sql_options, json),
    CLI_SERVER(struct sql_options, server),
};

const struct cli_page cli_sql_page = {
    .command = "sql",
    .summary = "run a statement, or ask for some at a prompt",
    .synopsis = "[options] \"SELECT ...\"\n"
                "[options] --file query.sql\n"
                "[options]\n"
                "... | lakehouse sql [options]",
    .text = "Runs one statement and prints its rows: a table on a terminal, CSV when piped. "
            "Without a statement it is read from standard input (also with \"-\"); on a terminal "
            "a prompt asks for statements.\n"
            "\n"
            "A table is cut to the screen, or shows one value a line where the screen is too "
            "narrow; the other formats are always whole. Ctrl-C ends the statement, on the server "
            "too.\n"
            "\n"
            "At the prompt a statement ends with a semicolon and may have many lines. Tab "
            "completes keywords and the names of tables and columns, the history is kept in "
            "$XDG_STATE_HOME/lakehouse/history (~/.local/state), and \\? lists the commands.",
    .options = sql_options,
    .option_count = ARRAY_LEN(sql_options),
    .examples =
        "lakehouse sql \"SELECT count(*) FROM birdstrikes\"\n"
        "lakehouse sql \"SHOW TABLES\"\n"
        "lakehouse sql --param \"$city\" \"SELECT * FROM airports WHERE city = ?\"\n"
        "lakehouse sql \"SELECT * FROM flights AT (VERSION => 123) LIMIT 5\"\n"
        "lakehouse sql \"FROM flights AT (TIMESTAMP => TIMESTAMP '2025-01-31 12:00') LIMIT 5\"\n"
        "lakehouse sql --format parquet \"FROM airports\" > airports.parquet\n"
        "lakehouse sql",
};

static enum status read_statement(FILE *file, struct buf *out, struct err *err)
{
    char piece[4096];
    size_t n;
    do {
        n = fread(piece, 1, sizeof(piece), file);
        if (buf_append_bytes(out, piece, n) != OK) {
            return err_no_memory(err);
        }
    } while (n == sizeof(piece));
    return ferror(file) ? err_errno(err, errno, "cannot read the statement") : OK;
}

/** The statement: the word, the file's text, or what stands on standard input. */
static enum status statement_of(const char *word, const char *path, struct buf *out,
                                struct err *err)
{
    if (path == NULL && word != NULL && strcmp(word, "-") != 0) {
        return buf_append(out, str_of(word)) == OK ? OK : err_no_memory(err);
    }
    if (path == NULL || strcmp(path, "-") == 0) {
        return read_statement(stdin, out, err);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return err_errno(err, errno, "cannot open \"%s\"", path);
    }
    enum status status = read_statement(file, out, err);
    (void)fclose(file);
    return status;
}

static bool known_format(const char *format)
{
    static const char *const formats[] = { "table", "csv", "json", "ndjson", "arrow", "parquet" };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (strcmp(format, formats[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int run(const char *word, const struct sql_options *options)
{
    struct err err = { 0 };
    struct http_client *client = NULL;
    AUTO(buf_done) struct buf statement;
    buf_init(&statement, 0);
    if (statement_of(word, options->path, &statement, &err) != OK) {
        return cli_failed("sql", &err);
    }
    struct cli_question question = { .format = options->format,
                                     .sql = buf_str(&statement),
                                     .params = &options->params };
    if (str_trim(question.sql).len == 0) {
        return cli_usage("sql", "the statement is empty (lakehouse sql --help)");
    }
    if (cli_connect(options->server, &client, &err) != OK) {
        return cli_usage("sql", "%s", err.msg);
    }
    enum status status = cli_ask(client, &question, &err);
    http_client_free(client);
    return status == OK ? 0 : cli_failed("sql", &err);
}

static bool is_binary(const char *format)
{
    return strcmp(format, "arrow") == 0 || strcmp(format, "parquet") == 0;
}

/** The format, or an exit code when what was asked for cannot be. */
static int choose_format(struct sql_options *options)
{
    if (options->json && options->format != NULL && strcmp(options->format, "json") != 0) {
        return cli_usage("sql", "--json, or --format: not both");
    }
    if (options->json) {
        options->format = "json";
    } else if (options->format == NULL) {
        options->format = isatty(STDOUT_FILENO) ? "table" : "csv";
    } else if (!known_format(options->format)) {
        return cli_usage("sql",
                         "--format is table, csv, json, ndjson, arrow or parquet, not \"%s\"",
                         options->format);
    } else if (is_binary(options->format) && isatty(STDOUT_FILENO)) {
        return cli_usage("sql", "%s is not for a terminal: send it to a file", options->format);
    }
    return 0;
}

int cli_sql(int argc, char **argv)
{
    argc--;
    argv++;
    struct sql_options options = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_sql_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc > 1) {
        return cli_usage("sql", "one statement, please: put it in quotes");
    }
    if (argc == 1 && options.path != NULL) {
        return cli_usage("sql", "a statement, or --file: not both");
    }
    int code = choose_format(&options);
    if (code != 0) {
        return code;
    }
    if (argc == 0 && options.path == NULL && isatty(STDIN_FILENO)) {
        if (!isatty(STDOUT_FILENO) || options.params.count > 0) {
            return cli_usage("sql", "which statement? (lakehouse sql --help)");
        }
        return cli_prompt(options.server, options.format);
    }
    return run(argc == 1 ? argv[0] : NULL, &options);
}
