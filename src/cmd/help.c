/*
 * Help that teaches, and what is printed from the table of settings.
 */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/pages.h"
#include "cmd/version.h"

static const char overview[] =
    "lakehouse: drop data in, ask it anything, keep it open\n"
    "\n"
    "  lakehouse serve                  everything in one process on\n"
    "                                   http://127.0.0.1:3110, data in ./data\n"
    "  lakehouse ingest birds.csv       a file becomes a table: CSV, JSON, NDJSON, Parquet\n"
    "  lakehouse sql \"SELECT count(*) FROM birds\"\n"
    "  lakehouse sql                    a prompt for statements\n"
    "  lakehouse tables                 what is there\n"
    "  lakehouse describe birds         columns, size, and where the Iceberg metadata lies\n"
    "  lakehouse vectors load|search... what is near what: named indexes of vectors\n"
    "\n"
    "  lakehouse maintain [TABLE...]    compact, merge, expire: tables stay quick and small\n"
    "  lakehouse doctor [options]       is the lake well, and what to do when it is not\n"
    "  lakehouse config [options]       the settings in force, and where each comes from\n"
    "  lakehouse completion bash|zsh    a completion script for the shell\n"
    "  lakehouse gateway|storaged|catalogd|ingestd|queryd|vectord [options]\n"
    "                                   one service each, behind the gateway\n"
    "  lakehouse version\n"
    "\n"
    "lakehouse COMMAND --help says more. Without the command line: curl works as well.\n"
    "\n"
    "  curl --data-binary @birds.csv 'http://127.0.0.1:3110/v1/ingest?name=birds'\n"
    "  curl -H 'Content-Type: application/json' http://127.0.0.1:3110/v1/sql \\\n"
    "       -d '{\"sql\":\"SELECT count(*) FROM birds\"}'\n";

int cmd_overview(FILE *out)
{
    fputs(overview, out);
    return 0;
}

static void print_setting(const struct setting_def *def)
{
    printf("  --%s.%s%s%s\n      %s", def->section, def->name, def->flag ? ", --" : "",
           def->flag ? def->flag : "", def->help);
    if (def->default_value[0] != '\0') {
        printf(" [%s]", def->default_value);
    }
    putchar('\n');
}

static const struct cli_page *page_of(const char *command)
{
    const struct cmd_pages *all = cmd_pages();
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->pages[i]->command, command) == 0) {
            return all->pages[i];
        }
    }
    assert(!"a command without a page");
    return NULL;
}

/** A page without its options: those of a service are settings, with a place of their own. */
static int print_head(const char *command)
{
    struct cli_page page = *page_of(command);
    page.option_count = 0;
    return cli_page_print(&page);
}

int cmd_help(const char *service)
{
    if (print_head(service) != 0) {
        return 1;
    }
    fputs("\n"
          "Settings come from their defaults (in brackets), then FILE (TOML: [section]\n"
          "name = value), then the environment (LAKEHOUSE_SECTION_NAME), then these\n"
          "options (one dash or two; --name=value or --name value). `lakehouse config`\n"
          "with the same options prints what would be in force.\n\n",
          stdout);
    for (size_t i = 0; i < option_count; i++) {
        if (cmd_page_has_setting(service, &option_defs[i])) {
            print_setting(&option_defs[i]);
        }
    }
    return 0;
}

static int reference_settings(void)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    if (settings_reference(option_defs, option_count, &out) != OK) {
        return 1;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return 0;
}

static bool is_service(const struct cli_page *page)
{
    return page->option_count > 0 && strcmp(page->options[0].name, "config") == 0;
}

static int reference_commands(void)
{
    const struct cmd_pages *all = cmd_pages();
    fputs("# Commands\n\n"
          "What `lakehouse COMMAND --help` says; `man lakehouse` has it too. Exit codes: 0 done, 1 "
          "the request failed (the server\nrefused it, or none answered), 2 called or set up "
          "wrongly. Results go to standard output, everything else to standard\nerror. `--json` "
          "makes every client command print JSON.\n",
          stdout);
    for (size_t i = 0; i < all->count; i++) {
        const struct cli_page *page = all->pages[i];
        printf("\n## %s\n\n```\n", page->command);
        if (is_service(page)) {
            print_head(page->command);
        } else {
            cli_page_print(page);
        }
        printf("```\n");
        if (is_service(page)) {
            printf(
                "\nOptions: [settings.md](settings.md), as far as `lakehouse %s --help` lists them.\n",
                page->command);
        }
    }
    return 0;
}

/** The man page has the settings once, not with each service. */
static enum status man(struct buf *out)
{
    enum { PAGES_MAX = 32 };
    const struct cmd_pages *all = cmd_pages();
    struct cli_page copies[PAGES_MAX];
    const struct cli_page *pages[PAGES_MAX];
    assert(all->count <= PAGES_MAX);
    for (size_t i = 0; i < all->count; i++) {
        copies[i] = *all->pages[i];
        copies[i].option_count = is_service(all->pages[i]) ? 0 : copies[i].option_count;
        pages[i] = &copies[i];
    }
    return cli_man(pages, all->count, all->settings, all->setting_count, LAKEHOUSE_VERSION,
                   LAKEHOUSE_VERSION_DATE, out);
}

static int print_or_fail(enum status status, const char *command, const struct buf *out)
{
    if (status != OK) {
        fprintf(stderr, "lakehouse %s: out of memory\n", command);
        return 1;
    }
    fwrite(out->ptr, 1, out->len, stdout);
    return 0;
}

static int reference_man(void)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    enum status status = man(&out);
    return print_or_fail(status, "reference", &out);
}

/** `lakehouse reference settings|commands`: the pages of these names in docs/reference; `man`:
 * lakehouse(1). */
int cmd_reference(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "settings") == 0) {
        return reference_settings();
    }
    if (argc == 2 && strcmp(argv[1], "commands") == 0) {
        return reference_commands();
    }
    if (argc == 2 && strcmp(argv[1], "man") == 0) {
        return reference_man();
    }
    fprintf(stderr, "usage: lakehouse reference settings|commands|man\n");
    return 2;
}

const struct cli_page cmd_completion_page = {
    .command = "completion",
    .summary = "print a completion script for a shell",
    .synopsis = "bash|zsh",
    .words = "bash|zsh",
    .text = "Prints a script that lets the shell complete commands, options, files and the names "
            "of tables. `make install` puts both where the shells look for them.",
    .examples = "source <(lakehouse completion bash)               # in ~/.bashrc\n"
                "lakehouse completion zsh > ~/.zfunc/_lakehouse    # a folder of $fpath",
};

int cmd_completion(int argc, char **argv)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    argc--;
    argv++;
    enum cli_parsed parsed = cli_parse(&cmd_completion_page, NULL, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc != 1 || (strcmp(argv[0], "bash") != 0 && strcmp(argv[0], "zsh") != 0)) {
        fprintf(stderr, "lakehouse completion: which shell? (bash or zsh)\n");
        return 2;
    }
    const struct cmd_pages *all = cmd_pages();
    enum status status = cli_completion(argv[0], all->pages, all->count, &out);
    return print_or_fail(status, "completion", &out);
}
