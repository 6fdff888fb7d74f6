/*
 * The prompt's own parts: its history file, and the names that it completes.
 */
#ifndef CLI_PROMPT_PRIV_H
#define CLI_PROMPT_PRIV_H

#include "cli/cli_priv.h"
#include "cli/statement.h"

/* --- prompt_history.c: what was typed, in a file that several prompts may share --- */

enum { HISTORY_ENTRIES_MAX = 1000 };

struct prompt_history {
    char path[4096]; /* empty: there is no place for it, and nothing is kept */
};

/** The place: $XDG_STATE_HOME/lakehouse/history, else below ~/.local/state. Its folder is made. */
void prompt_history_open(struct prompt_history *history);
/** The newest entries, oldest first. A file that cannot be read is an empty one. */
void prompt_history_load(const struct prompt_history *history,
                         void (*each)(void *ctx, const char *entry), void *ctx);
/** Add one at the end. What fails is not worth a word. */
void prompt_history_add(const struct prompt_history *history, struct str entry);

/* --- prompt_names.c --- */

struct prompt_names;

/** `client` is borrowed: names are asked for when they are wanted, and kept for some seconds. */
enum status prompt_names_new(struct http_client *client, struct prompt_names **out,
                             struct err *err) MUST_USE;
void prompt_names_free(struct prompt_names *names);
/** A statement was run: look again. */
void prompt_names_forget(struct prompt_names *names);

/* What may stand at the cursor. */
struct prompt_matches {
    struct arena arena;
    struct str *items; /* as they are inserted, in order, without doubles */
    size_t count;
    size_t replace; /* bytes before the cursor that an item takes the place of */
};
/** `text`: the statement up to the cursor; `behind`: what stands behind it, which may name the
 * tables. E_NO_MEMORY. */
enum status prompt_names_match(struct prompt_names *names, struct str text, struct str behind,
                               struct prompt_matches *out) MUST_USE;
void prompt_matches_done(struct prompt_matches *matches);

#endif
