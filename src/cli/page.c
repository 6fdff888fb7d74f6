/*
 * The help of a command, made of its page.
 */
#include "cli/page.h"

#include <stdio.h>

#include "cli/cli_priv.h"

/* HELP_WIDTH: chosen: fits the narrowest usual terminal. */
enum { HELP_WIDTH = 80, OPTION_INDENT = 2, HELP_INDENT = 6 };

enum status cli_wrap(struct str text, size_t indent, struct buf *out)
{
    while (text.ptr != NULL && text.len > 0) {
        struct str line = str_split(&text, '\n');
        size_t used = 0;
        while (line.ptr != NULL && line.len > 0) {
            struct str word = str_split(&line, ' ');
            bool breaks = used > 0 && used + 1 + cli_display_width(word) > HELP_WIDTH;
            if (breaks) {
                TRY(buf_append_char(out, '\n'));
                used = 0;
            }
            if (used == 0) {
                TRY(buf_printf(out, "%*s", (int)indent, ""));
                used = indent;
            } else {
                TRY(buf_append_char(out, ' '));
                used++;
            }
            TRY(buf_append(out, word));
            used += cli_display_width(word);
        }
        TRY(buf_append_char(out, '\n'));
    }
    return OK;
}

static enum status append_synopsis(const struct cli_page *page, struct buf *out)
{
    struct str rest = str_of(page->synopsis);
    const char *label = "usage:";
    while (rest.ptr != NULL) {
        struct str line = str_split(&rest, '\n');
        bool piped = str_starts(line, STR("..."));
        TRY(buf_printf(out, "%s ", label));
        if (!piped) {
            TRY(buf_printf(out, "lakehouse %s%s", page->command, line.len > 0 ? " " : ""));
        }
        TRY(buf_append(out, line));
        TRY(buf_append_char(out, '\n'));
        label = "      ";
    }
    return OK;
}

static enum status append_option(const struct cli_option *option, struct buf *out)
{
    TRY(buf_printf(out, "%*s--%s", OPTION_INDENT, "", option->name));
    if (option->letter != NULL) {
        TRY(buf_printf(out, ", -%s", option->letter));
    }
    if (option->kind != CLI_SWITCH) {
        TRY(buf_printf(out, " %s", option->value));
    }
    TRY(buf_append_char(out, '\n'));
    return cli_wrap(str_of(option->help), HELP_INDENT, out);
}

enum status cli_page_append(const struct cli_page *page, struct buf *out)
{
    TRY(append_synopsis(page, out));
    TRY(buf_append_char(out, '\n'));
    TRY(cli_wrap(str_of(page->text), 0, out));
    for (size_t i = 0; i < page->option_count; i++) {
        TRY(i == 0 ? buf_append_char(out, '\n') : OK);
        TRY(append_option(&page->options[i], out));
    }
    struct str rest = str_of(page->examples);
    for (bool first = true; rest.ptr != NULL && rest.len > 0; first = false) {
        struct str line = str_split(&rest, '\n');
        TRY(buf_printf(out, "%s  %.*s\n", first ? "\n" : "", STR_ARG(line)));
    }
    return OK;
}

int cli_page_print(const struct cli_page *page)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    if (cli_page_append(page, &out) != OK) {
        fprintf(stderr, "lakehouse %s: out of memory\n", page->command);
        return 1;
    }
    fwrite(out.ptr, 1, out.len, stdout); /* a disk that is full is noticed at the program's end */
    return 0;
}

const struct cli_page *const *cli_pages(size_t *count_out)
{
    static const struct cli_page *const pages[] = { &cli_ingest_page,  &cli_sql_page,
                                                    &cli_tables_page,  &cli_describe_page,
                                                    &cli_vectors_page, &cli_maintain_page };
    *count_out = ARRAY_LEN(pages);
    return pages;
}
