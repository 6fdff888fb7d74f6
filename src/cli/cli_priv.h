/*
 * What the client commands share: options, the connection, messages and tables for terminals.
 */
#ifndef CLI_CLI_PRIV_H
#define CLI_CLI_PRIV_H

#include "base/json.h"
#include "cli/cli.h"

/* --- the pages, each beside its command --- */

extern const struct cli_page cli_sql_page, cli_ingest_page, cli_tables_page, cli_describe_page,
    cli_vectors_page, cli_maintain_page;

/* --- options.c --- */

/** `lakehouse sql: message` on standard error. Returns 2. */
int cli_usage(const char *command, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- connect.c --- */

/** Connect to --server, else LAKEHOUSE_SERVER, else the default. E_INVALID when it is no URL. */
enum status cli_connect(const char *server_option, struct http_client **out,
                        struct err *err) MUST_USE;
/** http_client_call_ok; when nobody answers at all, the message says what to do, and what is the
 * server's fault can be looked up in its log. */
enum status cli_call(struct http_client *client, const struct http_call *call,
                     struct http_answer *answer, struct err *err) MUST_USE;
/** Print an error for people. Returns the exit code 1. */
int cli_failed(const char *command, const struct err *err);
/** Write to standard output, and fail when it takes nothing more (a full disk). */
enum status cli_print(struct str text, struct err *err) MUST_USE;
/** GET a JSON document. `deadline` 0: 60 s from now. */
enum status cli_get_json(struct http_client *client, struct str target, deadline_ms deadline,
                         yyjson_doc **out, struct err *err) MUST_USE;

/* --- table.c --- */

/** A table of text cells for a terminal, numbers to the right. */
struct cli_table {
    struct arena arena;
    struct str *cells; /* column_count per row, the first row is the head */
    bool *right;
    size_t column_count, row_count, row_cap;
    bool paint; /* the head bold, NULL dim */
};
enum status cli_table_init(struct cli_table *table, size_t column_count, struct err *err) MUST_USE;
void cli_table_done(struct cli_table *table);
/** The next row, column_count empty cells to fill; NULL without memory. Cells borrow (see
 * cli_table_copy). */
struct str *cli_table_row(struct cli_table *table);
/** For a screen of so many columns: cut, or as records, so that it fits. 0: no screen, as wide as
 * it takes. */
enum status cli_table_print(const struct cli_table *table, size_t screen_width,
                            struct buf *out) MUST_USE;
enum status cli_table_print_csv(const struct cli_table *table, struct buf *out) MUST_USE;
/** Print it: on a terminal aligned, piped as CSV. */
enum status cli_table_show(struct cli_table *table, struct err *err) MUST_USE;
/** What a cell of no value is: this very text, told apart from a value of the same letters. */
extern const char cli_null[];

/** "1.2 MB" */
struct str cli_size(struct arena *arena, uint64_t bytes);
/** "1,234,567" */
struct str cli_count(struct arena *arena, int64_t count);

/* --- terminal.c --- */

/** Columns of the terminal that standard output is; 0 when it is none. */
size_t cli_screen_width(void);

/* --- ask.c --- */

struct cli_question {
    const char *format; /* table, csv, json, ndjson, arrow or parquet */
    struct str sql;
    const struct cli_list *params; /* NULL: none */
};
/** Send a statement and print its rows. */
enum status cli_ask(struct http_client *client, const struct cli_question *question,
                    struct err *err) MUST_USE;

/* --- tables.c --- */

/** A page of the list of tables, {"tables":[..]}; `after` moves to what the next one begins behind,
 * or becomes empty. Damaged ones go to standard error. */
enum status cli_list_page(struct http_client *client, struct str ns, struct str *after,
                          struct arena *arena, yyjson_doc **out, struct err *err) MUST_USE;
/** What `tables` and `describe TABLE` print. */
enum status cli_list(struct http_client *client, struct err *err) MUST_USE;
enum status cli_show_table(struct http_client *client, struct str name, struct err *err) MUST_USE;
/** The catalogue's word on a table. `deadline` 0: 60 s from now. */
enum status cli_get_table(struct http_client *client, struct str name, deadline_ms deadline,
                          yyjson_doc **out, struct err *err) MUST_USE;

/* --- progress.c --- */

/** A bar on standard error while bytes leave, drawn only where it can be drawn again. */
struct cli_progress {
    const char *name;
    uint64_t done, total; /* bytes; total 0: nobody knows */
    int64_t start_us, drawn_us;
    bool on, drawn;
};
void cli_progress_start(struct cli_progress *progress, const char *name, uint64_t total);
void cli_progress_add(struct cli_progress *progress, size_t bytes);
/** Takes the bar away. */
void cli_progress_end(struct cli_progress *progress);
/** The bar as text, for a screen of so many columns. */
enum status cli_progress_line(const struct cli_progress *progress, int64_t now_us,
                              size_t screen_width, struct buf *out) MUST_USE;

/* --- prompt.c --- */

/** Statements from a keyboard, until its end or \q. Returns the exit code. */
int cli_prompt(const char *server_option, const char *format);

/* --- text.c --- */

/** Columns that a terminal needs for UTF-8 text: wide and combining characters counted as such. */
size_t cli_display_width(struct str text);
/** The longest beginning of `text` that fits in `width` columns. */
struct str cli_fitting(struct str text, size_t width);
/** Append text with a visible sign for each character that would move the cursor. */
enum status cli_append_clean(struct buf *out, struct str text) MUST_USE;

#endif
