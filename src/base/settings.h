/*
 * Settings: declared once in a table; defaults < file (TOML) < environment < flags.
 *
 * A definition names its section and name ([queryd] timeout_seconds); the environment variable is
 * LAKEHOUSE_QUERYD_TIMEOUT_SECONDS and the flag --queryd.timeout_seconds (or
 * -queryd.timeout_seconds). Some have a short flag too (--data, --listen). An unknown name anywhere
 * is refused with its place and the nearest known name.
 *
 * A section may be an array of tables in the file, [[s3api.keys]]. Its definitions say so, are of
 * type LIST, and entry i of each list is what the i-th table says, or the
 * default value. Environment and flags replace one of the lists as a whole.
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum setting_type {
    SETTING_STR,
    SETTING_INT,
    SETTING_BOOL,
    SETTING_BYTES, /* 268435456 or "256MiB", "1GB" */
    SETTING_LIST,  /* an array of strings; comma-separated in the environment and flags */
};

struct setting_def {
    const char *section; /* "queryd" */
    const char *name;    /* "timeout_seconds" */
    enum setting_type type;
    const char *default_value; /* as text; "" for empty */
    const char *unit;          /* "s", "bytes", NULL */
    const char *flag;          /* short flag without dashes, or NULL */
    bool secret;               /* printed as **** */
    bool in_array;             /* of [[section]], an array of tables; all of a section or none */
    int64_t min, max;          /* for INT and BYTES; both 0: no limits */
    const char *help;          /* one sentence */
};

enum setting_source { SETTING_DEFAULT, SETTING_FILE, SETTING_ENV, SETTING_FLAG };

struct settings;

/** `defs` is borrowed for ever. */
enum status settings_new(const struct setting_def *defs, size_t count, struct settings **out,
                         struct err *err) MUST_USE;
void settings_free(struct settings *settings);
/**
 * Errors name file and line. Arrays of tables ([[s3api.keys]]) of unknown names are refused like
 * everything unknown.
 */
enum status settings_load_file(struct settings *settings, const char *path,
                               struct err *err) MUST_USE;
/**
 * Every LAKEHOUSE_<SECTION>_<NAME> in environ; an unknown one whose section is known is refused.
 * LAKEHOUSE_SERVER, LAKEHOUSE_CACHE and those in `ignore` (NULL-terminated) are left alone.
 */
enum status settings_load_env(struct settings *settings, char **environ_, const char *const *ignore,
                              struct err *err) MUST_USE;
/**
 * Takes `--section.name=value`, `--section.name value`, one dash or two, and short flags. Entries
 * it does not know and that do not start with a dash are left in argv (compacted, *argc updated),
 * and so is everything behind `--`, which itself is taken out. A boolean flag alone means true.
 * `-config FILE` is the caller's to take out first.
 */
enum status settings_load_flags(struct settings *settings, int *argc, char **argv,
                                struct err *err) MUST_USE;
/** Set one by hand, as `source`. */
enum status settings_set(struct settings *settings, const char *section, const char *name,
                         struct str value, enum setting_source source, struct err *err) MUST_USE;

/* Values. Asking for a setting that is not in the table is a broken promise: assert. Text borrows
 * and is NUL-terminated. */
const char *settings_str(const struct settings *settings, const char *section, const char *name);
int64_t settings_int(const struct settings *settings, const char *section, const char *name);
uint64_t settings_bytes(const struct settings *settings, const char *section, const char *name);
bool settings_bool(const struct settings *settings, const char *section, const char *name);
/** The i-th entry of a list, NULL past the end. */
const char *settings_list(const struct settings *settings, const char *section, const char *name,
                          size_t i);
enum setting_source settings_source(const struct settings *settings, const char *section,
                                    const char *name);

/** `lakehouse config`: TOML with the source of each value as a comment, secrets masked. */
enum status settings_print(const struct settings *settings, struct buf *out) MUST_USE;
/** The reference page in Markdown, from the table alone. */
enum status settings_reference(const struct setting_def *defs, size_t count,
                               struct buf *out) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
