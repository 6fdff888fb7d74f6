/*
 * What the client commands share: options, the connection, messages and tables for terminals.
 */
#ifndef CLI_CLI_PRIV_H
#define CLI_CLI_PRIV_H

#include "base/json.h"
#include "cli/cli.h"

/* --- options.c --- */

/* The values of an option that may be given several times, in their order. */
enum { CLI_LIST_MAX = 100 };
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};
/** One option of a command: `--name VALUE` or `--name=VALUE`, or a switch. One dash or two. */
struct cli_option {
    const char *name;
    const char **value;    /* where the value goes; the last one counts */
    bool *flag;            /* or: a switch */
    struct cli_list *list; /* or: any number of values */
};
/**
 * Take the options out of argv; what is left are plain words, *argc_io of them. `--` ends the
 * options. Prints a message (with the nearest known option) and returns false when something is
 * unknown.
 */
bool cli_options(const char *command, const struct cli_option *options, size_t count, int *argc_io,
                 char **argv);
/** Print the help of a command, which was asked for. Returns 0. */
int cli_help(const char *usage);
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
/** For a screen of so many columns: cut, or as records, so that it fits. 0: no screen, as wide as
 * it
 * takes. */
enum status cli_table_print(const struct cli_table *table, size_t screen_width,
                            struct buf *out) MUST_USE;
enum status cli_table_print_csv(const struct cli_table *table, struct buf *out) MUST_USE;
/** Columns of the terminal that standard output is; 0 when it is none. */
size_t cli_screen_width(void);

/** "1.2 MB" */
struct str cli_size(struct arena *arena, uint64_t bytes);
/** "1,234,567" */
struct str cli_count(struct arena *arena, int64_t count);

/* --- text.c --- */

/** Columns that a terminal needs for UTF-8 text: wide and combining characters counted as such. */
size_t cli_display_width(struct str text);
/** The longest beginning of `text` that fits in `width` columns. */
struct str cli_fitting(struct str text, size_t width);
/** Append text with a visible sign for each character that would move the cursor. */
enum status cli_append_clean(struct buf *out, struct str text) MUST_USE;

#endif
