/*
 * Completion scripts for shells, made of the pages of the commands: words, options, and the values
 * of options where they are a list, files, folders or tables.
 */
#include "cli/cli_priv.h"

/* What a shell can offer where a value stands. */
enum offer { OFFER_NOTHING, OFFER_WORDS, OFFER_FILES, OFFER_FOLDERS, OFFER_TABLES };

static enum offer offer_of(const char *value)
{
    if (value == NULL) {
        return OFFER_NOTHING;
    }
    return strcmp(value, "FILE") == 0    ? OFFER_FILES
           : strcmp(value, "DIR") == 0   ? OFFER_FOLDERS
           : strcmp(value, "TABLE") == 0 ? OFFER_TABLES
           : strchr(value, '|') != NULL  ? OFFER_WORDS
                                         : OFFER_NOTHING;
}

/** "csv|json" as "csv json" */
static enum status append_words(struct buf *out, const char *words)
{
    for (; *words != '\0'; words++) {
        TRY(buf_append_char(out, *words == '|' ? ' ' : *words));
    }
    return OK;
}

/* --- bash --- */

static const char bash_head[] =
    "# bash completion for lakehouse; made by: lakehouse completion bash\n"
    "\n"
    "_lakehouse_tables() {\n"
    "    local name\n"
    "    while IFS= read -r name; do\n"
    "        [[ $name == \"$cur\"* ]] && COMPREPLY+=(\"$(printf %q \"$name\")\")\n"
    "    done < <(\"${COMP_WORDS[0]}\" tables </dev/null 2>/dev/null | sed -e 1d -e 's/,.*//')\n"
    "}\n"
    "\n"
    "_lakehouse() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options=\n"
    "    COMPREPLY=()\n"
    "    # --format=csv comes as three words\n"
    "    if [[ $cur == = ]]; then\n"
    "        cur=\n"
    "    elif [[ $prev == = && $COMP_CWORD -ge 3 ]]; then\n"
    "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n"
    "    if [[ $COMP_CWORD -eq 1 ]]; then\n";

static enum status bash_offer(struct buf *out, const char *value)
{
    switch (offer_of(value)) {
    case OFFER_WORDS:
        TRY(buf_append(out, STR("COMPREPLY=($(compgen -W \"")));
        TRY(append_words(out, value));
        return buf_append(out, STR("\" -- \"$cur\"))"));
    case OFFER_FILES:
        return buf_append(
            out, STR("compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")"));
    case OFFER_FOLDERS:
        return buf_append(
            out, STR("compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")"));
    case OFFER_TABLES:
        return buf_append(out, STR("_lakehouse_tables"));
    case OFFER_NOTHING:
        break;
    }
    return buf_append_char(out, ':');
}

static enum status bash_command(struct buf *out, const struct cli_page *page)
{
    TRY(buf_printf(out, "    %s)\n        options=\"--help", page->command));
    for (size_t i = 0; i < page->option_count; i++) {
        TRY(buf_printf(out, " --%s", page->options[i].name));
    }
    TRY(buf_append(out, STR("\"\n        case $prev in\n")));
    for (size_t i = 0; i < page->option_count; i++) {
        const struct cli_option *option = &page->options[i];
        if (option->kind == CLI_SWITCH) {
            continue;
        }
        TRY(buf_printf(out, "        --%s|-%s", option->name, option->name));
        TRY(option->letter != NULL ? buf_printf(out, "|-%s", option->letter) : OK);
        TRY(buf_append(out, STR(") ")));
        TRY(bash_offer(out, option->value));
        TRY(buf_append(out, STR("; return ;;\n")));
    }
    TRY(buf_append(out, STR("        esac\n        [[ $cur == -* ]] || { ")));
    TRY(bash_offer(out, page->words));
    return buf_append(out, STR("; return; }\n        ;;\n"));
}

static enum status bash(const struct cli_page *const *pages, size_t count, struct buf *out)
{
    TRY(buf_append(out, str_of(bash_head)));
    TRY(buf_append(out, STR("        COMPREPLY=($(compgen -W \"help")));
    for (size_t i = 0; i < count; i++) {
        TRY(buf_printf(out, " %s", pages[i]->command));
    }
    TRY(buf_append(
        out, STR("\" -- \"$cur\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n")));
    for (size_t i = 0; i < count; i++) {
        TRY(bash_command(out, pages[i]));
    }
    return buf_append(out, STR("    esac\n"
                               "    COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                               "}\n"
                               "complete -F _lakehouse lakehouse\n"));
}

/* --- zsh --- */

static const char zsh_head[] =
    "#compdef lakehouse\n"
    "# zsh completion for lakehouse; made by: lakehouse completion zsh\n"
    "\n"
    "_lakehouse_tables() {\n"
    "    local -a names\n"
    "    names=(${(f)\"$(lakehouse tables </dev/null 2>/dev/null | sed -e 1d -e 's/,.*//')\"})\n"
    "    compadd -a names\n"
    "}\n"
    "\n"
    "_lakehouse() {\n"
    "    local line state\n"
    "    local -a commands\n"
    "    commands=(\n";

/** Inside single quotes, with the signs that _arguments and _describe give a meaning escaped. */
static enum status zsh_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\'') {
            TRY(buf_append(out, STR("'\\''")));
            continue;
        }
        TRY(c == '[' || c == ']' || c == ':' || c == '\\' ? buf_append_char(out, '\\') : OK);
        TRY(buf_append_char(out, c));
    }
    return OK;
}

static enum status zsh_offer(struct buf *out, const char *value)
{
    switch (offer_of(value)) {
    case OFFER_WORDS:
        TRY(buf_append_char(out, '('));
        TRY(append_words(out, value));
        return buf_append_char(out, ')');
    case OFFER_FILES:
        return buf_append(out, STR("_files"));
    case OFFER_FOLDERS:
        return buf_append(out, STR("_files -/"));
    case OFFER_TABLES:
        return buf_append(out, STR("_lakehouse_tables"));
    case OFFER_NOTHING:
        break;
    }
    return buf_append_char(out, ' ');
}

static enum status zsh_option(struct buf *out, const struct cli_option *option)
{
    const char *names[] = { option->name, option->letter };
    for (size_t i = 0; i < ARRAY_LEN(names) && names[i] != NULL; i++) {
        TRY(buf_printf(out, " \\\n            '%s%s%s[", option->kind == CLI_VALUES ? "*" : "",
                       i == 0 ? "--" : "-", names[i]));
        struct str help = str_of(option->help);
        TRY(zsh_text(out, str_split(&help, '\n')));
        TRY(buf_append_char(out, ']'));
        if (option->kind != CLI_SWITCH) {
            TRY(buf_append_char(out, ':'));
            TRY(zsh_text(out, offer_of(option->value) == OFFER_WORDS ? str_of(option->name)
                                                                     : str_of(option->value)));
            TRY(buf_append_char(out, ':'));
            TRY(zsh_offer(out, option->value));
        }
        TRY(buf_append_char(out, '\''));
    }
    return OK;
}

static enum status zsh_command(struct buf *out, const struct cli_page *page)
{
    TRY(buf_printf(out, "        %s)\n            _arguments '--help[show the help]'",
                   page->command));
    for (size_t i = 0; i < page->option_count; i++) {
        TRY(zsh_option(out, &page->options[i]));
    }
    if (page->words != NULL) {
        TRY(buf_append(out, STR(" \\\n            '*:word:")));
        TRY(zsh_offer(out, page->words));
        TRY(buf_append_char(out, '\''));
    }
    return buf_append(out, STR(" ;;\n"));
}

static enum status zsh(const struct cli_page *const *pages, size_t count, struct buf *out)
{
    TRY(buf_append(out, str_of(zsh_head)));
    for (size_t i = 0; i < count; i++) {
        TRY(buf_printf(out, "        '%s:", pages[i]->command));
        TRY(zsh_text(out, str_of(pages[i]->summary)));
        TRY(buf_append(out, STR("'\n")));
    }
    TRY(buf_append(out, STR("        'help:show the help of a command'\n"
                            "    )\n"
                            "    _arguments -C '1:command:->command' '*::word:->word'\n"
                            "    case $state in\n"
                            "    command) _describe command commands ;;\n"
                            "    word)\n"
                            "        case $words[1] in\n")));
    for (size_t i = 0; i < count; i++) {
        TRY(zsh_command(out, pages[i]));
    }
    return buf_append(out, STR("        esac ;;\n"
                               "    esac\n"
                               "}\n"
                               "if [ \"$funcstack[1]\" = _lakehouse ]; then\n"
                               "    _lakehouse \"$@\"\n"
                               "else\n"
                               "    compdef _lakehouse lakehouse\n"
                               "fi\n"));
}

enum status cli_completion(const char *shell, const struct cli_page *const *pages, size_t count,
                           struct buf *out)
{
    return strcmp(shell, "bash") == 0 ? bash(pages, count, out) : zsh(pages, count, out);
}
