/*
 * Which command: by the name the program was started with (links named after the services), else by
 * its first word.
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cmd/options.h"
#include "cmd/pages.h"
#include "cmd/version.h"

static const char *const services[] = { "gateway", "storaged", "catalogd",
                                        "ingestd", "queryd",   "vectord" };

static const char *service_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        if (strcmp(name, services[i]) == 0) {
            return services[i];
        }
    }
    return NULL;
}

bool cmd_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-help") == 0 ||
            strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/** argv begins with the word that named the service. */
static int run_service(const char *service, int argc, char **argv)
{
    if (cmd_wants_help(argc, argv)) {
        return cmd_help(service);
    }
    return cmd_serve(service, argc, argv);
}

static int serve_all(int argc, char **argv)
{
    return run_service("serve", argc, argv);
}

static int help(int argc, char **argv);

struct version_options {
    bool json;
};

static const struct cli_option version_options[] = { CLI_JSON(struct version_options, json) };

const struct cli_page cmd_version_page = {
    .command = "version",
    .summary = "print the version of the program",
    .synopsis = "[--json]",
    .text = "Prints the version of the program.",
    .options = version_options,
    .option_count = ARRAY_LEN(version_options),
};

static int version(int argc, char **argv)
{
    struct version_options options = { 0 };
    argc--;
    argv++;
    enum cli_parsed parsed = cli_parse(&cmd_version_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc > 0) {
        fprintf(stderr, "lakehouse version: unexpected \"%s\"\n", argv[0]);
        return 2;
    }
    printf(options.json ? "{\"version\":\"%s\"}\n" : "lakehouse %s\n", LAKEHOUSE_VERSION);
    return 0;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv begins with the command's own word */
} commands[] = {
    { "serve", serve_all },
    { "ingest", cli_ingest },
    { "sql", cli_sql },
    { "tables", cli_tables },
    { "describe", cli_describe },
    { "vectors", cli_vectors },
    { "maintain", cli_maintain },
    { "doctor", cmd_doctor },
    { "config", cmd_config },
    { "completion", cmd_completion },
    { "version", version },
    { "--version", version },
    { "help", help },
    { "--help", help },
    { "-h", help },
    { "reference", cmd_reference },
};

static int unknown_command(const char *word)
{
    const char *best = NULL;
    size_t best_distance = 3; /* two letters off is still a typing error */
    for (size_t i = 0; i < ARRAY_LEN(commands) + ARRAY_LEN(services); i++) {
        const char *name = i < ARRAY_LEN(commands) ? commands[i].name
                                                   : services[i - ARRAY_LEN(commands)];
        size_t distance = str_distance(str_of(word), str_of(name));
        if (distance < best_distance) {
            best_distance = distance;
            best = name;
        }
    }
    fprintf(stderr, "lakehouse: unknown command \"%s\"%s%s%s; lakehouse --help lists them\n", word,
            best ? ", did you mean \"" : "", best ? best : "", best ? "\"?" : "");
    return 2;
}

static int run_command(int argc, char **argv)
{
    const char *service = service_named(argv[0]);
    if (service != NULL) {
        return run_service(service, argc, argv);
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[0], commands[i].name) == 0) {
            return commands[i].run(argc, argv);
        }
    }
    return unknown_command(argv[0]);
}

int cmd_command_help(const char *command)
{
    char word[64], flag[] = "--help";
    snprintf(word, sizeof(word), "%s", command);
    char *asked[] = { word, flag, NULL };
    return run_command(2, asked);
}

/** `lakehouse help [COMMAND]`: the overview, or what COMMAND --help says. */
static int help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], argv[0]) == 0) {
        return cmd_overview(stdout);
    }
    return cmd_command_help(argv[1]);
}

/** By the program's name, else by its first word. */
static int run_named(int argc, char **argv)
{
    struct str path = str_of(argc > 0 ? argv[0] : "lakehouse");
    size_t slash = str_rfind_char(path, '/');
    const char *service = service_named(path.ptr + (slash == SIZE_MAX ? 0 : slash + 1));
    if (service != NULL) {
        return run_service(service, argc, argv);
    }
    if (argc < 2) {
        cmd_overview(stderr);
        return 2;
    }
    return run_command(argc - 1, argv + 1);
}

/**
 * A standard stream that the program was started without is held by a descriptor that cannot be
 * used: else the first file or socket would get its number, and log lines or rows be written there.
 */
static bool hold_standard_streams(void)
{
    static const int wrong_way[] = { O_WRONLY, O_RDONLY, O_RDONLY };
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", wrong_way[fd]) != fd) {
            return false;
        }
    }
    return true;
}

int cmd_main(int argc, char **argv)
{
    if (!hold_standard_streams()) {
        return 1;
    }
    int code = run_named(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        fprintf(stderr, "lakehouse: cannot write to standard output: %s\n", strerror(errno));
        return 1;
    }
    return code;
}
