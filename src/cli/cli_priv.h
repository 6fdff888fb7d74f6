/*
 * What the client commands share: options, the connection, messages and tables for terminals.
 */
#ifndef CLI_CLI_PRIV_H
#define CLI_CLI_PRIV_H

#include "base/json.h"
#include "cli/cli.h"

/* --- options.c --- */

/** One option of a command: `--name VALUE` or `--name=VALUE`, or a switch. One dash or two. */
struct cli_option {
    const char *name;
    const char **value; /* where the value goes; NULL for a switch */
    bool *flag;         /* a switch */
};
/**
 * Take the options out of argv; what is left are plain words, *argc_io of them. `--` ends the
 * options. Prints a message (with the nearest known option) and returns false when something is
 * unknown.
 */
bool cli_options(const char *command, const struct cli_option *options, size_t count, int *argc_io,
                 char **argv);
/** `lakehouse sql: message` on standard error. Returns 2. */
int cli_usage(const char *command, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- connect.c --- */

enum status cli_connect(const char *server_option, struct http_client **out,
                        struct err *err) MUST_USE;
/** Print an error of the server for people, with a hint when nothing listens. Returns 1. */
int cli_failed(const char *command, const struct err *err);
/** GET a JSON document. */
enum status cli_get_json(struct http_client *client, struct str target, yyjson_doc **out,
                         struct err *err) MUST_USE;

/* --- table.c --- */

/** A table of text cells for a terminal, numbers to the right. */
struct cli_table {
    struct arena arena;
    struct str *cells; /* column_count per row, the first row is the head */
    bool *right;
    size_t column_count, row_count, row_cap;
};
enum status cli_table_init(struct cli_table *table, size_t column_count, struct err *err) MUST_USE;
void cli_table_done(struct cli_table *table);
/** The next row, column_count empty cells to fill; NULL without memory. Cells borrow (see
 * cli_table_copy). */
struct str *cli_table_row(struct cli_table *table);
enum status cli_table_print(const struct cli_table *table, struct buf *out) MUST_USE;
/** Columns that a terminal needs for UTF-8 text: wide and combining characters counted as such. */
size_t cli_display_width(struct str text);

/** "1.2 MB" */
struct str cli_size(struct arena *arena, uint64_t bytes);
/** "1,234,567" */
struct str cli_count(struct arena *arena, int64_t count);

#endif
