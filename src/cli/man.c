/*
 * lakehouse(1), made of the pages of the commands. The language is man(7): every man program reads
 * it.
 */
#include <stdio.h>

#include "cli/cli_priv.h"

/** Text of a line, with what roff gives a meaning escaped. */
static enum status append_text(struct buf *out, struct str text)
{
    if (text.len > 0 && (text.ptr[0] == '.' || text.ptr[0] == '\'')) {
        TRY(buf_append(out, STR("\\&")));
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\') {
            TRY(buf_append(out, STR("\\e")));
        } else if (c == '-') {
            TRY(buf_append(out, STR("\\-")));
        } else {
            TRY(buf_append_char(out, c));
        }
    }
    return OK;
}

static enum status append_line(struct buf *out, const char *before, struct str text)
{
    TRY(buf_append(out, str_of(before)));
    TRY(append_text(out, text));
    return buf_append_char(out, '\n');
}

/** Paragraphs, one text line each. */
static enum status append_paragraphs(struct buf *out, struct str text)
{
    bool fresh = false;
    while (text.ptr != NULL && text.len > 0) {
        struct str line = str_split(&text, '\n');
        if (line.len == 0) {
            fresh = true;
            continue;
        }
        TRY(fresh ? buf_append(out, STR(".PP\n")) : OK);
        fresh = false;
        if (line.ptr[0] == ' ') { /* a line that is to stay as it is */
            TRY(buf_append(out, STR(".br\n")));
            line = str_trim(line);
        }
        TRY(append_line(out, "", line));
    }
    return OK;
}

static enum status append_option(struct buf *out, const struct cli_option *option)
{
    TRY(buf_append(out, STR(".TP\n\\fB\\-\\-")));
    TRY(append_text(out, str_of(option->name)));
    if (option->letter != NULL) {
        TRY(buf_printf(out, "\\fR, \\fB\\-%s", option->letter));
    }
    TRY(buf_append(out, STR("\\fR")));
    if (option->kind != CLI_SWITCH) {
        TRY(buf_append(out, STR(" \\fI")));
        TRY(append_text(out, str_of(option->value)));
        TRY(buf_append(out, STR("\\fR")));
    }
    TRY(buf_append_char(out, '\n'));
    return append_paragraphs(out, str_of(option->help));
}

static enum status append_verbatim(struct buf *out, struct str lines, const char *before)
{
    TRY(buf_append(out, STR(".nf\n")));
    while (lines.ptr != NULL && lines.len > 0) {
        struct str line = str_split(&lines, '\n');
        bool piped = str_starts(line, STR("..."));
        TRY(append_line(out, piped ? "" : before, line));
    }
    return buf_append(out, STR(".fi\n"));
}

static enum status append_command(struct buf *out, const struct cli_page *page)
{
    char before[96];
    snprintf(before, sizeof(before), "lakehouse %s ", page->command);
    struct str synopsis = str_of(page->synopsis);
    TRY(append_line(out, ".SS lakehouse ", str_of(page->command)));
    TRY(append_verbatim(out, synopsis.len > 0 ? synopsis : STR(" "), before));
    TRY(buf_append(out, STR(".PP\n")));
    TRY(append_paragraphs(out, str_of(page->text)));
    for (size_t i = 0; i < page->option_count; i++) {
        TRY(append_option(out, &page->options[i]));
    }
    if (page->examples != NULL) {
        TRY(buf_append(out, STR(".PP\n")));
        TRY(append_verbatim(out, str_of(page->examples), ""));
    }
    return OK;
}

static const char head[] =
    ".SH NAME\n"
    "lakehouse \\- a self\\-hosted lakehouse in one program\n"
    ".SH SYNOPSIS\n"
    ".B lakehouse\n"
    ".I command\n"
    ".RI [ options ]\n"
    ".SH DESCRIPTION\n"
    "Put a file in, ask it with SQL a moment later, keep it open: the tables are plain Apache\n"
    "Iceberg on a plain folder.\n"
    ".B lakehouse serve\n"
    "runs everything in one process; the other commands are its clients and talk to it over HTTP.\n"
    ".SH COMMANDS\n";

static const char tail[] =
    ".SH EXIT STATUS\n"
    "0: done. 1: the request failed (the server refused it, or none answered). 2: called or set\n"
    "up wrongly.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n"
    "\\fBLAKEHOUSE_SERVER\\fR\n"
    "The URL of the server, for the client commands.\n"
    ".TP\n"
    "\\fBLAKEHOUSE_\\fISECTION\\fB_\\fINAME\\fR\n"
    "A setting of the services, over the file and under the options.\n"
    ".TP\n"
    "\\fBNO_COLOR\\fR\n"
    "When set and not empty, nothing is printed in colour.\n"
    ".SH FILES\n"
    ".TP\n"
    "\\fI$XDG_STATE_HOME/lakehouse/history\\fR\n"
    "The history of the prompt; without the variable below\n"
    ".IR ~/.local/state .\n";

static const char settings_head[] =
    ".SH SETTINGS\n"
    "What the services read, from their defaults, then the file that \\fB\\-config\\fR names (TOML:\n"
    "[section] name = value), then the environment, then these options.\n"
    ".B lakehouse config\n"
    "prints what is in force.\n";

enum status cli_man(const struct cli_page *const *pages, size_t count,
                    const struct cli_option *settings, size_t setting_count, const char *version,
                    const char *date, struct buf *out)
{
    TRY(buf_append(out, STR(".\\\" made by: lakehouse reference man\n")));
    TRY(buf_printf(out, ".TH LAKEHOUSE 1 \"%s\" \"lakehouse %s\" \"User Commands\"\n", date,
                   version));
    TRY(buf_append(out, str_of(head)));
    for (size_t i = 0; i < count; i++) {
        TRY(append_command(out, pages[i]));
    }
    TRY(buf_append(out, str_of(settings_head)));
    for (size_t i = 0; i < setting_count; i++) {
        TRY(append_option(out, &settings[i]));
    }
    return buf_append(out, str_of(tail));
}
