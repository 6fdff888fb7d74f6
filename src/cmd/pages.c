/*
 * The pages of the services, made of the table of settings, and all pages in one list.
 */
#include "cmd/pages.h"

#include <stdio.h>

#include "base/mem.h"
#include "cmd/options.h"

/* What each service is, and the settings it reads: whole sections ("queryd") and single ones. */
static const struct service {
    const char *settings[14]; /* up to the NULL */
    struct cli_page page;
} services[] = {
    { { "gateway", "storaged", "s3", "s3api", "s3api.keys", "s3api.buckets", "catalogd", "maintain",
        "warehouse", "ingestd", "queryd", "vectord", "cluster" },
      { .command = "serve",
        .summary = "everything in one process, on one port",
        .synopsis = "[-config FILE] [options]",
        .text = "Everything in one process, on one port: objects, tables, ingest, SQL and vectors "
                "over one data folder or bucket.",
        .examples = "lakehouse serve                        "
                    "http://127.0.0.1:3110, data in ./data\n"
                    "lakehouse serve --data /srv/lake --listen 127.0.0.1:8080\n"
                    "lakehouse serve -config lakehouse.toml" } },
    { { "gateway" },
      { .command = "gateway",
        .summary = "the one door in front of services of their own",
        .synopsis = "[-config FILE] [options]",
        .text = "The one door in front of services that run as processes of their own: forwards "
                "/v1/* to them." } },
    { { "storaged", "s3", "s3api", "s3api.keys", "s3api.buckets", "gateway.hosts",
        "gateway.origins", "cluster" },
      { .command = "storaged",
        .summary = "objects, as a service of its own",
        .synopsis = "[-config FILE] [options]",
        .text = "Objects: bytes under keys in one data folder or bucket." } },
    { { "catalogd", "maintain", "warehouse", "s3api.region", "ingestd", "storaged.dir",
        "gateway.hosts", "gateway.origins", "cluster" },
      { .command = "catalogd",
        .summary = "tables, as a service of its own",
        .synopsis = "[-config FILE] [options]",
        .text = "Tables: what exists, of which files, and every commit. Stands on storaged." } },
    { { "ingestd", "catalogd.cache_bytes", "storaged.dir", "gateway.hosts", "gateway.origins",
        "cluster" },
      { .command = "ingestd",
        .summary = "files in, as a service of its own",
        .synopsis = "[-config FILE] [options]",
        .text = "Files in: CSV, JSON and Parquet become rows of tables. Stands on storaged and "
                "catalogd." } },
    { { "queryd", "catalogd.cache_bytes", "storaged.dir", "gateway.hosts", "gateway.origins",
        "cluster" },
      { .command = "queryd",
        .summary = "SQL, as a service of its own",
        .synopsis = "[-config FILE] [options]",
        .text = "SQL over the tables. Stands on storaged and catalogd, and asks vectord for "
                "vector_search." } },
    { { "vectord", "storaged.dir", "gateway.hosts", "gateway.origins", "cluster" },
      { .command = "vectord",
        .summary = "vector indexes, as a service of its own",
        .synopsis = "[-config FILE] [options]",
        .text = "Named vector indexes: items with metadata in, the nearest ones out. Stands on "
                "storaged." } },
};

/** What only the service itself reads: its door, and whom it calls. */
static bool is_inner(const struct setting_def *def)
{
    bool gateway = strcmp(def->section, "gateway") == 0;
    bool door = gateway || strcmp(def->section, "s3api") == 0;
    return strstr(def->name, "_url") != NULL || (!door && strcmp(def->name, "bind") == 0) ||
           (gateway && strcmp(def->name, "head_timeout_seconds") == 0);
}

static bool reads(const struct service *service, const struct setting_def *def)
{
    if (strcmp(service->page.command, def->section) != 0 && is_inner(def)) {
        return false;
    }
    bool listed = strcmp(def->section, "log") == 0 || strcmp(def->section, "http") == 0;
    for (size_t i = 0; i < ARRAY_LEN(service->settings) && service->settings[i] != NULL; i++) {
        struct str wanted = str_of(service->settings[i]);
        struct str section = str_split(&wanted, '.'); /* wanted is now the name, if there is one */
        listed = listed || strcmp(service->settings[i], def->section) == 0 ||
                 (str_eq(section, str_of(def->section)) &&
                  (wanted.ptr == NULL || str_eq(wanted, str_of(def->name))));
    }
    return listed;
}

bool cmd_page_has_setting(const char *service, const struct setting_def *def)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        if (strcmp(services[i].page.command, service) == 0) {
            return reads(&services[i], def);
        }
    }
    return false;
}

/* --- settings as options --- */

static const char *value_of(const struct setting_def *def)
{
    switch (def->type) {
    case SETTING_BOOL:
        return "true|false";
    case SETTING_INT:
        return "NUMBER";
    case SETTING_BYTES:
        return "BYTES";
    case SETTING_LIST:
        return "A,B";
    case SETTING_STR:
        break;
    }
    return strcmp(def->name, "dir") == 0 || strcmp(def->name, "temp_dir") == 0 ? "DIR"
           : strcmp(def->name, "bind") == 0                                    ? "HOST:PORT"
           : strcmp(def->name, "level") == 0 ? "debug|info|warn|error"
           : strstr(def->name, "_url")       ? "URL"
                                             : "TEXT";
}

static void add(struct cli_option *options, size_t *count, const char *name,
                const struct setting_def *def)
{
    options[(*count)++] = (struct cli_option){
        .name = name,
        .kind = CLI_VALUE,
        .value = value_of(def),
        .help = def->help,
    };
}

/** "-config FILE" and the settings that `service` reads (NULL: all), short names too. */
static struct cli_option *options_of(const struct service *service, size_t *count_out)
{
    /* for the life of the program, like the tables that they are made of */
    struct cli_option *options = xmalloc((1 + 2 * option_count) * sizeof(*options));
    size_t count = 0;
    options[count++] = (struct cli_option){
        .name = "config", .kind = CLI_VALUE, .value = "FILE", .help = "the file of settings (TOML)"
    };
    for (size_t i = 0; i < option_count; i++) {
        const struct setting_def *def = &option_defs[i];
        if (service != NULL && !reads(service, def)) {
            continue;
        }
        size_t bytes = strlen(def->section) + strlen(def->name) + 2;
        char *name = xmalloc(bytes);
        snprintf(name, bytes, "%s.%s", def->section, def->name);
        add(options, &count, name, def);
        if (def->flag != NULL) {
            add(options, &count, def->flag, def);
        }
    }
    *count_out = count;
    return options;
}

const struct cmd_pages *cmd_pages(void)
{
    enum { OTHERS = 16 }; /* more than there are client commands and the four at the end */
    static struct cmd_pages all;
    static struct cli_page made[ARRAY_LEN(services)];
    static const struct cli_page *list[ARRAY_LEN(services) + OTHERS];
    if (all.count > 0) {
        return &all;
    }
    size_t clients, count = 0;
    const struct cli_page *const *client_pages = cli_pages(&clients);
    assert(clients + 4 <= OTHERS);
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        made[i] = services[i].page;
        made[i].options = options_of(&services[i], &made[i].option_count);
        list[count++] = &made[i];
    }
    for (size_t i = 0; i < clients; i++) {
        list[count++] = client_pages[i];
    }
    const struct cli_page *const rest[] = { &cmd_doctor_page, &cmd_config_page,
                                            &cmd_completion_page, &cmd_version_page };
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        list[count++] = rest[i];
    }
    all.settings = options_of(NULL, &all.setting_count);
    all.pages = list;
    all.count = count;
    return &all;
}
