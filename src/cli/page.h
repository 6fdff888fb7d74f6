/*
 * A command described once: its options are parsed by the very table that its help, the man page
 * and the completion of shells are made of.
 */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include "base/buf.h"

/* The values of an option that may be given several times, in their order. */
enum { CLI_LIST_MAX = 100 };
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

enum cli_kind { CLI_SWITCH, CLI_VALUE, CLI_VALUES };

/** `--name VALUE`, `--name=VALUE` or a switch. One dash or two. */
struct cli_option {
    const char *name;
    const char *letter; /* "f": also as -f; NULL: none */
    enum cli_kind kind;
    /* offset in the command's own struct: a bool, a const char *, a struct cli_list */
    size_t at;
    /* of a value: what stands for it. "csv|json" are all there are; FILE, DIR and TABLE are
     * completed */
    const char *value;
    const char *help;
};

struct cli_page {
    const char *command;
    const char *summary;  /* one line without a full stop */
    const char *synopsis; /* a line each; behind the command's word unless it begins with "..." */
    const char *words;    /* plain words: "FILE", "TABLE", "csv|json"; NULL: nothing to complete */
    const char *text;     /* paragraphs; wrapped where they are printed */
    const struct cli_option *options;
    size_t option_count;
    const char *examples; /* a line each */
    /* options that are not in the table are somebody else's: they stay in argv */
    bool others;
};

/** Every client command has these. */
#define CLI_SERVER(type, member)                                                                   \
    { .name = "server",                                                                            \
      .kind = CLI_VALUE,                                                                           \
      .at = offsetof(type, member),                                                                \
      .value = "URL",                                                                              \
      .help = "where the server is; else LAKEHOUSE_SERVER, else http://127.0.0.1:3110" }
#define CLI_JSON(type, member)                                                                     \
    { .name = "json",                                                                              \
      .kind = CLI_SWITCH,                                                                          \
      .at = offsetof(type, member),                                                                \
      .help = "print JSON, for programs" }

enum cli_parsed {
    CLI_GO,
    CLI_HELP_SHOWN, /* --help or -h was asked for and printed: exit code 0 */
    CLI_WRONG,      /* a message was printed: exit code 2 */
};
/**
 * Take the options out of argv and into the struct at `values`; what is left are plain words,
 * *argc_io of them. `--` ends the options.
 */
enum cli_parsed cli_parse(const struct cli_page *page, void *values, int *argc_io,
                          char **argv) MUST_USE;

/** What COMMAND --help prints. */
enum status cli_page_append(const struct cli_page *page, struct buf *out) MUST_USE;
/** The same on standard output. Returns the exit code. */
int cli_page_print(const struct cli_page *page);
/** Paragraphs of `text`, none of whose lines is wider than the help. */
enum status cli_wrap(struct str text, size_t indent, struct buf *out) MUST_USE;

/** The pages of the client commands. */
const struct cli_page *const *cli_pages(size_t *count_out);

/** A completion script; `shell` is "bash" or "zsh". */
enum status cli_completion(const char *shell, const struct cli_page *const *pages, size_t count,
                           struct buf *out) MUST_USE;
/** lakehouse(1); `date` is the version's, YYYY-MM-DD. */
enum status cli_man(const struct cli_page *const *pages, size_t count,
                    const struct cli_option *settings, size_t setting_count, const char *version,
                    const char *date, struct buf *out) MUST_USE;

#endif
