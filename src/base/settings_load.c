/*
 * Settings from a file, from the environment and from flags.
 *
 * Whatever is not known is refused with its place and the nearest known name: a misspelt setting
 * that is silently ignored costs its owner an evening.
 */
#include "base/settings.h"

#include <stdio.h>

#include "base/io.h"
#include "base/mem.h"
#include "base/settings_priv.h"
#include "base/toml.h"

enum {
    FILE_BYTES_MAX = 1024 * 1024, /* chosen: a settings file has some hundred lines */
    PLACE_BYTES = 512,
    NAME_BYTES = 256,
    SLIP_LETTERS = 2, /* chosen */
};

struct file_walk {
    struct settings *settings;
    const char *path;
    bool *cleared; /* [count]: lists of array tables that this file has begun to fill */
};

static enum status load_item(void *ctx, const struct toml_item *item, struct err *err);
static enum status load_array_item(struct file_walk *walk, const struct toml_item *item,
                                   const char *place, struct err *err);
static enum status begin_element(struct file_walk *walk, const char *section, struct err *err);
static enum status replace_last(struct settings *settings, size_t index, struct str text,
                                struct err *err);
static enum status load_value(struct settings *settings, size_t index, const struct toml_item *item,
                              const char *place, struct err *err);
static enum status fail_type(const struct setting_def *def, const char *place, struct err *err);
static enum status fail_section(const struct settings *settings, const char *place,
                                const char *section, struct err *err);
static enum status load_variable(struct settings *settings, struct str name, struct str value,
                                 struct err *err);
static bool is_ignored(struct str name, const char *const *ignore);
static void variable_name(const struct setting_def *def, char out[NAME_BYTES]);
static size_t nearest_variable(const struct settings *settings, struct str name,
                               char best[NAME_BYTES]);
static enum status load_flag(struct settings *settings, const char *arg, const char *next,
                             bool *took_next_out, struct err *err);
static size_t find_flag(const struct settings *settings, struct str name);
static enum status fail_flag(const struct settings *settings, struct str name, struct err *err);
static bool is_bool_text(const char *text);

enum status settings_load_file(struct settings *settings, const char *path, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    TRY(io_read_file(path, &text, err));
    struct file_walk walk = { .settings = settings, .path = path };
    walk.cleared = mem_zalloc(settings->count * sizeof(*walk.cleared));
    if (walk.cleared == NULL) {
        return err_no_memory(err);
    }
    enum status status = toml_walk(buf_str(&text), path, load_item, &walk, err);
    mem_free(walk.cleared);
    return status;
}

enum status settings_load_env(struct settings *settings, char **environ_, const char *const *ignore,
                              struct err *err)
{
    for (char **entry = environ_; *entry != NULL; entry++) {
        struct str value = str_of(*entry);
        struct str name = str_split(&value, '=');
        if (value.ptr == NULL || !str_starts(name, STR("LAKEHOUSE_")) || is_ignored(name, ignore)) {
            continue;
        }
        TRY(load_variable(settings, name, value, err));
    }
    return OK;
}

enum status settings_load_flags(struct settings *settings, int *argc, char **argv, struct err *err)
{
    int kept = *argc > 0 ? 1 : 0; /* argv[0] stays */
    bool flags_ended = false;
    for (int i = kept; i < *argc; i++) {
        const char *arg = argv[i];
        if (flags_ended || arg[0] != '-' || arg[1] == '\0') { /* "-" alone is standard input */
            argv[kept++] = argv[i];
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            flags_ended = true;
            continue;
        }
        bool took_next = false;
        TRY(load_flag(settings, arg, i + 1 < *argc ? argv[i + 1] : NULL, &took_next, err));
        i += took_next ? 1 : 0;
    }
    argv[kept] = NULL; /* argv[argc] is NULL in C, so there is room */
    *argc = kept;
    return OK;
}

/* ---- the file ---- */

static enum status load_item(void *ctx, const struct toml_item *item, struct err *err)
{
    struct file_walk *walk = ctx;
    struct settings *settings = walk->settings;
    char place[PLACE_BYTES];
    snprintf(place, sizeof(place), "%s:%u", walk->path, item->line);
    bool section_known = settings_has_section(settings, str_of(item->section));
    bool array_wanted = section_known &&
                        settings_is_array(settings->defs, settings->count, item->section);
    if (array_wanted && !item->in_array) {
        return err_set(err, E_INVALID, "%s: write [[%s]] with two brackets: there may be several",
                       place, item->section);
    }
    if (section_known && item->in_array && !array_wanted) {
        return err_set(err, E_INVALID, "%s: write [%s] with one bracket: there is only one", place,
                       item->section);
    }
    if (item->kind == TOML_TABLE && !section_known) {
        return fail_section(settings, place, item->section, err);
    }
    if (array_wanted) {
        return load_array_item(walk, item, place, err);
    }
    if (item->kind == TOML_TABLE) {
        return OK;
    }
    size_t index = settings_find(settings, str_of(item->section), str_of(item->name));
    if (index == SIZE_MAX) {
        char dotted[NAME_BYTES];
        bool top = item->section[0] == '\0';
        snprintf(dotted, sizeof(dotted), "%s%s%s", item->section, top ? "" : ".", item->name);
        return settings_fail_unknown(settings, place, str_of(dotted), err);
    }
    return load_value(settings, index, item, place, err);
}

/** An element of an array of tables begins, or one of its fields is set. */
static enum status load_array_item(struct file_walk *walk, const struct toml_item *item,
                                   const char *place, struct err *err)
{
    struct settings *settings = walk->settings;
    if (item->kind == TOML_TABLE) {
        return begin_element(walk, item->section, err);
    }
    size_t index = settings_find(settings, str_of(item->section), str_of(item->name));
    if (index == SIZE_MAX) {
        char dotted[NAME_BYTES];
        snprintf(dotted, sizeof(dotted), "%s.%s", item->section, item->name);
        return settings_fail_unknown(settings, place, str_of(dotted), err);
    }
    if (item->kind != TOML_STRING) {
        return err_set(err, E_INVALID, "%s: \"%s.%s\" must be a string in quotes", place,
                       item->section, item->name);
    }
    TRY(settings_check_nul(&settings->defs[index], item->text, place, err));
    return replace_last(settings, index, item->text, err);
}

/** One more entry in each list of the section: the default, until a field says otherwise. */
static enum status begin_element(struct file_walk *walk, const char *section, struct err *err)
{
    struct settings *settings = walk->settings;
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting_def *def = &settings->defs[i];
        if (strcmp(def->section, section) != 0) {
            continue;
        }
        assert(def->type == SETTING_LIST && "settings of an array of tables are lists");
        if (!walk->cleared[i]) {
            settings_clear_list(settings, i, SETTING_FILE);
            walk->cleared[i] = true;
        }
        TRY(settings_add_item(settings, i, str_of(def->default_value), err));
    }
    return OK;
}

static enum status replace_last(struct settings *settings, size_t index, struct str text,
                                struct err *err)
{
    struct setting_value *value = &settings->values[index];
    char *copy = mem_strndup(text.ptr, text.len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    char **last = &value->items[value->item_count - 1];
    mem_free(*last);
    *last = copy;
    return OK;
}

static enum status load_value(struct settings *settings, size_t index, const struct toml_item *item,
                              const char *place, struct err *err)
{
    const struct setting_def *def = &settings->defs[index];
    if (def->type == SETTING_LIST) {
        if (item->kind != TOML_STRINGS) {
            return fail_type(def, place, err);
        }
        for (size_t i = 0; i < item->string_count; i++) {
            TRY(settings_check_nul(def, item->strings[i], place, err));
        }
        settings_clear_list(settings, index, SETTING_FILE);
        for (size_t i = 0; i < item->string_count; i++) {
            TRY(settings_add_item(settings, index, item->strings[i], err));
        }
        return OK;
    }
    bool quoted = item->kind == TOML_STRING;
    bool fits = def->type == SETTING_STR     ? quoted
                : def->type == SETTING_BYTES ? quoted || item->kind == TOML_SCALAR
                                             : item->kind == TOML_SCALAR;
    if (!fits) {
        return fail_type(def, place, err);
    }
    return settings_assign(settings, index, item->text, SETTING_FILE, place, err);
}

static enum status fail_type(const struct setting_def *def, const char *place, struct err *err)
{
    static const char *const wanted[] = {
        [SETTING_STR] = "a string in quotes",
        [SETTING_INT] = "a whole number without quotes",
        [SETTING_BOOL] = "true or false without quotes",
        [SETTING_BYTES] = "a number of bytes such as 1048576 or \"256MiB\"",
        [SETTING_LIST] = "an array of strings such as [\"a\", \"b\"]",
    };
    return err_set(err, E_INVALID, "%s: \"%s.%s\" must be %s", place, def->section, def->name,
                   wanted[def->type]);
}

static enum status fail_section(const struct settings *settings, const char *place,
                                const char *section, struct err *err)
{
    const char *best = NULL;
    size_t best_distance = strlen(section) / 3 + 2; /* chosen */
    for (size_t i = 0; i < settings->count; i++) {
        const char *known = settings->defs[i].section;
        size_t distance = str_distance(str_of(section), str_of(known));
        if (distance < best_distance) {
            best = known;
            best_distance = distance;
        }
    }
    if (best == NULL) {
        return err_set(err, E_INVALID, "%s: unknown section \"%s\"", place, section);
    }
    return err_set(err, E_INVALID, "%s: unknown section \"%s\", did you mean \"%s\"?", place,
                   section, best);
}

/* ---- the environment ---- */

static enum status load_variable(struct settings *settings, struct str name, struct str value,
                                 struct err *err)
{
    for (size_t i = 0; i < settings->count; i++) {
        char known[NAME_BYTES];
        variable_name(&settings->defs[i], known);
        if (str_eq(name, str_of(known))) {
            return settings_assign(settings, i, value, SETTING_ENV, known, err);
        }
    }
    /* Other programs may have variables of this prefix; ours begin with the name of a section. */
    bool ours = false;
    for (size_t i = 0; i < settings->count; i++) {
        struct setting_def section = { .section = settings->defs[i].section, .name = "" };
        char prefix[NAME_BYTES];
        variable_name(&section, prefix);
        ours = ours || str_starts(name, str_of(prefix));
    }
    char best[NAME_BYTES];
    bool near = nearest_variable(settings, name, best) != SIZE_MAX;
    if (!ours && !near) {
        return OK;
    }
    return err_set(err, E_INVALID, "unknown setting in the environment variable \"%.*s\"%s%s%s",
                   STR_ARG(name), near ? ", did you mean \"" : " (`lakehouse config` lists all)",
                   best, near ? "\"?" : "");
}

static bool is_ignored(struct str name, const char *const *ignore)
{
    if (str_eq(name, STR("LAKEHOUSE_SERVER")) || str_eq(name, STR("LAKEHOUSE_CACHE"))) {
        return true;
    }
    for (; ignore != NULL && *ignore != NULL; ignore++) {
        if (str_eq(name, str_of(*ignore))) {
            return true;
        }
    }
    return false;
}

/** LAKEHOUSE_<SECTION>_<NAME>, with '_' for a dot. */
static void variable_name(const struct setting_def *def, char out[NAME_BYTES])
{
    int len = snprintf(out, NAME_BYTES, "LAKEHOUSE_%s_%s", def->section, def->name);
    assert(len > 0 && len < NAME_BYTES);
    (void)len;
    for (char *c = out; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - ('a' - 'A'));
        } else if (*c == '.') {
            *c = '_';
        }
    }
}

/**
 * How far `name` may be a slip for the variable of a setting, both without LAKEHOUSE_; SIZE_MAX
 * when it is too far to be one. Two letters may be wrong anywhere; in a section that is right, a
 * third of what follows, or whole words at its end may be missing. More would be a guess that
 * misleads.
 */
static size_t slip(struct str name, struct str known, size_t section_len)
{
    size_t distance = str_distance(name, known);
    if (distance <= SLIP_LETTERS || !str_starts(name, str_take(known, section_len))) {
        return distance <= SLIP_LETTERS ? distance : SIZE_MAX;
    }
    struct str rest = str_skip(name, section_len), wanted = str_skip(known, section_len);
    if (rest.len > 0 && str_starts(wanted, rest) && wanted.ptr[rest.len] == '_') {
        return SLIP_LETTERS;
    }
    distance = str_distance(rest, wanted);
    return distance <= rest.len / 3 ? distance : SIZE_MAX;
}

/** How far `name` is from the variable most like it, which goes to `best`; SIZE_MAX: none is. */
static size_t nearest_variable(const struct settings *settings, struct str name,
                               char best[NAME_BYTES])
{
    size_t prefix = strlen("LAKEHOUSE_"), best_distance = SIZE_MAX;
    best[0] = '\0';
    for (size_t i = 0; i < settings->count; i++) {
        char known[NAME_BYTES];
        variable_name(&settings->defs[i], known);
        size_t distance = slip(str_skip(name, prefix), str_skip(str_of(known), prefix),
                               strlen(settings->defs[i].section) + 1);
        if (distance < best_distance) {
            memcpy(best, known, NAME_BYTES);
            best_distance = distance;
        }
    }
    return best_distance;
}

/* ---- flags ---- */

/** `arg` begins with a dash; `next` is the argument behind it or NULL. */
static enum status load_flag(struct settings *settings, const char *arg, const char *next,
                             bool *took_next_out, struct err *err)
{
    struct str value = str_of(arg + (arg[1] == '-' ? 2 : 1));
    struct str name = str_split(&value, '=');
    char place[PLACE_BYTES];
    snprintf(place, sizeof(place), "--%.*s", STR_ARG(name));
    size_t index = find_flag(settings, name);
    if (index == SIZE_MAX && str_find_char(name, '.') == SIZE_MAX) {
        return fail_flag(settings, name, err);
    }
    if (index == SIZE_MAX) {
        return settings_fail_unknown(settings, place, name, err);
    }
    bool has_value = value.ptr != NULL;
    if (!has_value && settings->defs[index].type == SETTING_BOOL) {
        /* `--x` alone is true; a following word belongs to it only when it can be nothing else. */
        *took_next_out = is_bool_text(next);
        value = *took_next_out ? str_of(next) : STR("true");
    } else if (!has_value && next == NULL) {
        return err_set(err, E_INVALID, "%s: needs a value", place);
    } else if (!has_value) {
        *took_next_out = true;
        value = str_of(next);
    }
    return settings_assign(settings, index, value, SETTING_FLAG, place, err);
}

static size_t find_flag(const struct settings *settings, struct str name)
{
    for (size_t i = 0; i < settings->count; i++) {
        const char *flag = settings->defs[i].flag;
        if (flag != NULL && str_eq(name, str_of(flag))) {
            return i;
        }
    }
    return settings_find_dotted(settings, name);
}

/** A flag without a dot: a short one misspelt, or a setting's name without its section. */
static enum status fail_flag(const struct settings *settings, struct str name, struct err *err)
{
    const struct setting_def *best = NULL;
    bool by_flag = false;
    size_t best_distance = 3; /* two letters off is still a typing error */
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting_def *def = &settings->defs[i];
        size_t flag = def->flag != NULL ? str_distance(name, str_of(def->flag)) : SIZE_MAX;
        size_t bare = str_distance(name, str_of(def->name));
        size_t distance = flag < bare ? flag : bare;
        if (distance < best_distance) {
            best = def;
            best_distance = distance;
            by_flag = flag <= bare;
        }
    }
    struct str shown = str_take(name, 100);
    if (best == NULL) {
        return err_set(err, E_INVALID, "unknown flag \"--%.*s\"", STR_ARG(shown));
    }
    return err_set(err, E_INVALID, "unknown flag \"--%.*s\", did you mean \"--%s%s%s\"?",
                   STR_ARG(shown), by_flag ? "" : best->section, by_flag ? "" : ".",
                   by_flag ? best->flag : best->name);
}

static bool is_bool_text(const char *text)
{
    return text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0);
}
