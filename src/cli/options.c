/*
 * Options of the client commands, and messages about their use.
 */
#include <stdio.h>

#include "cli/cli_priv.h"

int cli_usage(const char *command, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "lakehouse %s: ", command);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    return 2;
}

int cli_help(const char *usage)
{
    fputs(usage, stdout); /* a disk that is full is noticed at the end of the program */
    return 0;
}

static const struct cli_option *find(const struct cli_option *options, size_t count,
                                     struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(name, str_of(options[i].name))) {
            return &options[i];
        }
    }
    return NULL;
}

static bool unknown(const char *command, const struct cli_option *options, size_t count,
                    struct str name)
{
    const char *best = NULL;
    size_t best_distance = 4; /* three letters off is still a typing error */
    for (size_t i = 0; i < count; i++) {
        if (options[i].name[1] == '\0') {
            continue; /* any letter is near to a letter */
        }
        size_t distance = str_distance(name, str_of(options[i].name));
        if (distance < best_distance) {
            best_distance = distance;
            best = options[i].name;
        }
    }
    cli_usage(command, "unknown option \"--%.*s\"%s%s%s (lakehouse %s --help)", STR_ARG(name),
              best ? ", did you mean \"--" : "", best ? best : "", best ? "\"?" : "", command);
    return false;
}

static bool take_value(const struct cli_option *option, const char *value)
{
    if (option->list == NULL) {
        *option->value = value;
        return true;
    }
    if (option->list->count == CLI_LIST_MAX) {
        return false;
    }
    option->list->items[option->list->count++] = value;
    return true;
}

bool cli_options(const char *command, const struct cli_option *options, size_t count, int *argc_io,
                 char **argv)
{
    int kept = 0;
    bool ended = false;
    for (int i = 0; i < *argc_io; i++) {
        char *word = argv[i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            argv[kept++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            ended = true;
            continue;
        }
        struct str value = str_of(word + 1 + (word[1] == '-'));
        struct str name = str_split(&value, '=');
        const struct cli_option *option = find(options, count, name);
        if (option == NULL) {
            return unknown(command, options, count, name);
        }
        if (option->flag != NULL) {
            if (value.ptr != NULL) {
                cli_usage(command, "\"--%s\" takes no value", option->name);
                return false;
            }
            *option->flag = true;
        } else if (value.ptr == NULL && i + 1 == *argc_io) {
            cli_usage(command, "\"--%s\" wants a value", option->name);
            return false;
        } else if (!take_value(option, value.ptr != NULL ? value.ptr : argv[++i])) {
            cli_usage(command, "\"--%s\" is there more than %d times", option->name, CLI_LIST_MAX);
            return false;
        }
    }
    *argc_io = kept;
    return true;
}
