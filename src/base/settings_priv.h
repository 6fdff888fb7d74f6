/*
 * What the three files of settings share: settings.c keeps and converts values, settings_load.c
 * reads them from a file, the environment and flags, settings_print.c writes them.
 */
#ifndef BASE_SETTINGS_PRIV_H
#define BASE_SETTINGS_PRIV_H

#include "base/settings.h"

/** The effective value of one definition; which fields count depends on its type. */
struct setting_value {
    enum setting_source source;
    char *text;     /* STR, and every other type but LIST as it was written */
    int64_t number; /* INT, BYTES, BOOL */
    char **items;   /* LIST */
    size_t item_count;
};

struct settings {
    const struct setting_def *defs;
    struct setting_value *values; /* [count], one for each definition */
    size_t count;
};

/** Index of a definition; SIZE_MAX when there is none. */
size_t settings_find(const struct settings *settings, struct str section, struct str name);
/** The same by the dotted name, "queryd.threads". */
size_t settings_find_dotted(const struct settings *settings, struct str dotted);
/** Does any definition have this section? */
bool settings_has_section(const struct settings *settings, struct str section);
/** True when the section is an array of tables in the file. */
bool settings_is_array(const struct setting_def *defs, size_t count, const char *section);

/**
 * Convert `text` and make it the value. Messages begin with `place` ("lakehouse.toml:12",
 * "LAKEHOUSE_QUERYD_THREADS", "--queryd.threads").
 */
enum status settings_assign(struct settings *settings, size_t index, struct str text,
                            enum setting_source source, const char *place,
                            struct err *err) MUST_USE;
/** E_INVALID when a NUL byte is in `text`: values are handed out NUL-terminated. */
enum status settings_check_nul(const struct setting_def *def, struct str text, const char *place,
                               struct err *err) MUST_USE;
/** Make the list empty. */
void settings_clear_list(struct settings *settings, size_t index, enum setting_source source);
/** One more entry of a list. */
enum status settings_add_item(struct settings *settings, size_t index, struct str item,
                              struct err *err) MUST_USE;

/** `<place>: unknown setting "a.b", did you mean "a.c"?` for a dotted name. */
enum status settings_fail_unknown(const struct settings *settings, const char *place,
                                  struct str dotted, struct err *err);

#endif
