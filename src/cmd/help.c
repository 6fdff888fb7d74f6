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

static bool belongs(const char *service, const struct setting_def *def)
{
    static const char *const shared[] = { "log", "http", "cluster" };
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        if (strcmp(def->section, shared[i]) == 0) {
            return true;
        }
    }
    return strcmp(service, "serve") == 0 ? strstr(def->name, "_url") == NULL
                                         : strcmp(def->section, service) == 0;
}

static int service_help(const char *service)
{
    printf("usage: lakehouse %s [-config FILE] [options]\n\n", service);
    printf(
        "Settings come from the table below, then FILE (TOML, [section] name = value), then LAKEHOUSE_<SECTION>_<NAME>, then\n"
        "these options (one dash or two; --name=value or --name value).\n\n");
    for (size_t i = 0; i < option_count; i++) {
        const struct setting_def *def = &option_defs[i];
        if (!belongs(service, def)) {
            continue;
        }
        char flag[96];
        snprintf(flag, sizeof(flag), "--%s.%s%s%s", def->section, def->name,
                 def->flag ? ", --" : "", def->flag ? def->flag : "");
        printf("  %s\n      %s [%s]\n", flag, def->help, def->default_value);
    }
    return 0;
}

int cmd_help(const char *service)
{
    if (service != NULL) {
        return service_help(service);
    }
    fputs(overview, stdout);
    return 0;
}

int cmd_config(int argc, char **argv)
{
    struct err err = { 0 };
    struct settings *settings = NULL;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    if (options_load(&argc, argv, &settings, &err) != OK) {
        fprintf(stderr, "lakehouse config: %s\n", err.msg);
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

/** `lakehouse reference settings`: the page docs/reference/settings.md. */
int cmd_reference(int argc, char **argv)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    if (argc != 2 || strcmp(argv[1], "settings") != 0) {
        fprintf(stderr, "usage: lakehouse reference settings\n");
        return 2;
    }
    if (settings_reference(option_defs, option_count, &out) != OK) {
        return 1;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return 0;
}
