/*
 * Options of a command by its page, and messages about their use.
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

static const struct cli_option *find(const struct cli_page *page, struct str name)
{
    for (size_t i = 0; i < page->option_count; i++) {
        const struct cli_option *option = &page->options[i];
        if (str_eq(name, str_of(option->name)) ||
            (option->letter != NULL && str_eq(name, str_of(option->letter)))) {
            return option;
        }
    }
    return NULL;
}

static void unknown(const struct cli_page *page, struct str name)
{
    const char *best = NULL;
    size_t best_distance = 4; /* three letters off is still a typing error */
    for (size_t i = 0; i < page->option_count; i++) {
        size_t distance = str_distance(name, str_of(page->options[i].name));
        if (distance < best_distance) {
            best_distance = distance;
            best = page->options[i].name;
        }
    }
    cli_usage(page->command, "unknown option \"--%.*s\"%s%s%s (lakehouse %s --help)", STR_ARG(name),
              best ? ", did you mean \"--" : "", best ? best : "", best ? "\"?" : "",
              page->command);
}

/** False when there is no room for one more. */
static bool take_value(const struct cli_option *option, void *values, const char *value)
{
    char *place = (char *)values + option->at;
    if (option->kind == CLI_VALUE) {
        *(const char **)(void *)place = value;
        return true;
    }
    struct cli_list *list = (struct cli_list *)(void *)place;
    if (list->count == CLI_LIST_MAX) {
        return false;
    }
    list->items[list->count++] = value;
    return true;
}

/** The option at argv[*at]; its value may be the next word, which is then taken too. */
static bool take(const struct cli_page *page, const struct cli_option *option, void *values,
                 struct str value, int *at, int argc, char **argv)
{
    if (option->kind == CLI_SWITCH) {
        if (value.ptr != NULL) {
            cli_usage(page->command, "\"--%s\" takes no value", option->name);
            return false;
        }
        *(bool *)((char *)values + option->at) = true;
        return true;
    }
    if (value.ptr == NULL && *at + 1 == argc) {
        cli_usage(page->command, "\"--%s\" wants a value", option->name);
        return false;
    }
    if (!take_value(option, values, value.ptr != NULL ? value.ptr : argv[++*at])) {
        cli_usage(page->command, "\"--%s\" is there more than %d times", option->name,
                  CLI_LIST_MAX);
        return false;
    }
    return true;
}

enum cli_parsed cli_parse(const struct cli_page *page, void *values, int *argc_io, char **argv)
{
    int kept = 0;
    bool ended = false, help = false;
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
        const struct cli_option *option = find(page, name);
        if (option == NULL && (str_eq(name, STR("help")) || str_eq(name, STR("h")))) {
            if (value.ptr != NULL) {
                cli_usage(page->command, "\"--help\" takes no value");
                return CLI_WRONG;
            }
            help = true;
        } else if (option == NULL && page->others) {
            argv[kept++] = word;
        } else if (option == NULL) {
            unknown(page, name);
            return CLI_WRONG;
        } else if (!take(page, option, values, value, &i, *argc_io, argv)) {
            return CLI_WRONG;
        }
    }
    *argc_io = kept;
    argv[kept] = NULL;
    return help && cli_page_print(page) == 0 ? CLI_HELP_SHOWN : help ? CLI_WRONG : CLI_GO;
}
