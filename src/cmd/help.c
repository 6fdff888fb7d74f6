/*
 * Help that teaches, and what is printed from the table of settings.
 */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/options.h"

static const char overview[] =
    "lakehouse: drop data in, ask it anything, keep it open\n"
    "\n"
    "  lakehouse serve                          everything in one process on http://127.0.0.1:3110, data in ./data\n"
    "  lakehouse ingest birdstrikes.csv         a file becomes a table: CSV, JSON, NDJSON, Parquet\n"
    "  lakehouse sql \"SELECT count(*) FROM birdstrikes\"\n"
    "  lakehouse tables                         what is there\n"
    "  lakehouse describe birdstrikes           columns, size, and where the Iceberg metadata lies\n"
    "\n"
    "  lakehouse config [options]               the settings in force, and where each comes from\n"
    "  lakehouse gateway|storaged|catalogd|ingestd|queryd [options]\n"
    "                                           one service each, behind the gateway\n"
    "  lakehouse version\n"
    "\n"
    "lakehouse COMMAND --help says more. Without the command line: curl works as well.\n"
    "\n"
    "  curl --data-binary @birdstrikes.csv 'http://127.0.0.1:3110/v1/ingest?name=birdstrikes'\n"
    "  curl -H 'Content-Type: application/json' -d '{\"sql\":\"SELECT count(*) FROM birdstrikes\"}' http://127.0.0.1:3110/v1/sql\n";

int cmd_overview(FILE *out)
{
    fputs(overview, out);
    return 0;
}

/* What each service is, and the settings it reads: whole sections ("queryd") and single ones. */
static const struct service_page {
    const char *service;
    const char *settings[8]; /* up to the NULL */
    const char *text;
} pages[] = {
    { "serve",
      { "gateway", "storaged", "catalogd", "ingestd", "queryd", "cluster" },
      "Everything in one process, on one port: objects, tables, ingest and SQL over one data folder.\n"
      "\n"
      "  lakehouse serve                                    http://127.0.0.1:3110, data in ./data\n"
      "  lakehouse serve --data /srv/lake --listen 127.0.0.1:8080\n"
      "  lakehouse serve -config lakehouse.toml\n" },
    { "gateway",
      { "gateway" },
      "The one door in front of services that run as processes of their own: forwards /v1/* to them.\n" },
    { "storaged",
      { "storaged", "gateway.hosts", "gateway.origins", "cluster" },
      "Objects: bytes under keys in one data folder.\n" },
    { "catalogd",
      { "catalogd", "ingestd", "storaged.dir", "gateway.hosts", "gateway.origins", "cluster" },
      "Tables: what exists, of which files, and every commit. Stands on storaged.\n" },
    { "ingestd",
      { "ingestd", "catalogd.cache_bytes", "storaged.dir", "gateway.hosts", "gateway.origins",
        "cluster" },
      "Files in: CSV, JSON and Parquet become rows of tables. Stands on storaged and catalogd.\n" },
    { "queryd",
      { "queryd", "catalogd.cache_bytes", "storaged.dir", "gateway.hosts", "gateway.origins",
        "cluster" },
      "SQL over the tables. Stands on storaged and catalogd.\n" },
};

static const struct service_page *page_of(const char *service)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i].service, service) == 0) {
            return &pages[i];
        }
    }
    assert(!"a service without a page of help");
    return NULL;
}

/** What only the service itself reads: its door, and whom it calls. */
static bool is_inner(const struct setting_def *def)
{
    bool gateway = strcmp(def->section, "gateway") == 0;
    return strstr(def->name, "_url") != NULL || (!gateway && strcmp(def->name, "bind") == 0) ||
           (gateway && strcmp(def->name, "head_timeout_seconds") == 0);
}

static bool belongs(const struct service_page *page, const struct setting_def *def)
{
    if (strcmp(page->service, def->section) != 0 && is_inner(def)) {
        return false;
    }
    bool listed = strcmp(def->section, "log") == 0 || strcmp(def->section, "http") == 0;
    for (size_t i = 0; i < ARRAY_LEN(page->settings) && page->settings[i] != NULL; i++) {
        struct str wanted = str_of(page->settings[i]);
        struct str section = str_split(&wanted, '.'); /* wanted is now the name, if there is one */
        listed = listed || (str_eq(section, str_of(def->section)) &&
                            (wanted.ptr == NULL || str_eq(wanted, str_of(def->name))));
    }
    return listed;
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

static void print_head(const struct service_page *page)
{
    printf("usage: lakehouse %s [-config FILE] [options]\n\n%s", page->service, page->text);
}

int cmd_help(const char *service)
{
    const struct service_page *page = page_of(service);
    print_head(page);
    printf(
        "\nSettings come from their defaults (in brackets), then FILE (TOML: [section] name = value), then the environment\n"
        "(LAKEHOUSE_SECTION_NAME), then these options (one dash or two; --name=value or --name value).\n"
        "`lakehouse config` with the same options prints what would be in force.\n\n");
    for (size_t i = 0; i < option_count; i++) {
        if (belongs(page, &option_defs[i])) {
            print_setting(&option_defs[i]);
        }
    }
    return 0;
}

static const char config_usage[] =
    "usage: lakehouse config [-config FILE] [options]\n"
    "\n"
    "Prints every setting with the value in force and where that comes from: default, file, environment or flag. Secrets are\n"
    "masked. The output is TOML: a file to begin with. The options are those of the services.\n"
    "\n"
    "  lakehouse config\n"
    "  lakehouse config -config lakehouse.toml --queryd.threads 4\n";

int cmd_config(int argc, char **argv)
{
    struct err err = { 0 };
    struct settings *settings = NULL;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    if (cmd_wants_help(argc, argv)) {
        fputs(config_usage, stdout);
        return 0;
    }
    if (options_load(&argc, argv, &settings, &err) != OK) {
        fprintf(stderr, "lakehouse config: %s\n", err.msg);
        return 2;
    }
    if (argc > 1) {
        fprintf(stderr, "lakehouse config: unexpected \"%s\" (lakehouse config --help)\n", argv[1]);
        settings_free(settings);
        return 2;
    }
    enum status status = settings_print(settings, &out);
    settings_free(settings);
    if (status != OK) {
        fprintf(stderr, "lakehouse config: out of memory\n");
        return 1;
    }
    fwrite(out.ptr, 1, out.len, stdout);
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

static int reference_commands(void)
{
    static const char *const commands[] = { "ingest",   "sql",    "tables",
                                            "describe", "config", "version" };
    fputs(
        "# Commands\n\n"
        "What `lakehouse COMMAND --help` says. Exit codes: 0 done, 1 the request failed (the server "
        "refused it, or none answered),\n2 called or set up wrongly. Results go to standard output, "
        "everything else to standard error.\n",
        stdout);
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        printf("\n## %s\n\n```\n", pages[i].service);
        print_head(&pages[i]);
        printf(
            "```\n\nOptions: [settings.md](settings.md), as far as `lakehouse %s --help` lists them.\n",
            pages[i].service);
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        printf("\n## %s\n\n```\n", commands[i]);
        cmd_command_help(commands[i]);
        printf("```\n");
    }
    return 0;
}

/** `lakehouse reference settings|commands`: the pages of these names in docs/reference. */
int cmd_reference(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "settings") == 0) {
        return reference_settings();
    }
    if (argc == 2 && strcmp(argv[1], "commands") == 0) {
        return reference_commands();
    }
    fprintf(stderr, "usage: lakehouse reference settings|commands\n");
    return 2;
}
