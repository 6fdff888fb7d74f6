/*
 * Settings: the effective values of a table of definitions.
 *
 * Every value is converted and checked when it is set, so reading one cannot fail. Sources are
 * applied from the weakest to the strongest by the caller (defaults, file, environment, flags); a
 * later one replaces an earlier one.
 *
 * The settings of an array of tables in the file ([[s3api.keys]]) are lists that belong together:
 * entry i of each is what the i-th table says.
 */
#include "base/settings.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/settings_priv.h"

static const struct setting_value *get_value(const struct settings *settings, const char *section,
                                             const char *name, enum setting_type type);
static enum status set_number(struct setting_value *value, const struct setting_def *def,
                              struct str text, enum setting_source source, const char *place,
                              struct err *err);
static enum status set_text(struct setting_value *value, int64_t number, struct str text,
                            enum setting_source source, struct err *err);
static enum status set_list(struct setting_value *value, struct str text,
                            enum setting_source source, struct err *err);
static enum status add_item(struct setting_value *value, struct str item, struct err *err);
static void free_items(struct setting_value *value);
static bool parse_bool(struct str text, int64_t *out);
static bool parse_bytes(struct str text, int64_t *out);
static enum status fail_value(const struct setting_def *def, const char *place, struct str text,
                              struct err *err);
static size_t nearest(const struct settings *settings, struct str dotted);

enum status settings_new(const struct setting_def *defs, size_t count, struct settings **out,
                         struct err *err)
{
    struct settings *settings = mem_zalloc(sizeof(*settings));
    size_t bytes;
    if (settings == NULL || !size_mul(count, sizeof(*settings->values), &bytes)) {
        mem_free(settings);
        return err_no_memory(err);
    }
    settings->values = mem_zalloc(bytes);
    if (settings->values == NULL) {
        mem_free(settings);
        return err_no_memory(err);
    }
    settings->defs = defs;
    settings->count = count;
    enum status status = OK;
    for (size_t i = 0; i < count && status == OK; i++) {
        if (!defs[i].in_array) { /* no table at all is the default there */
            status = settings_assign(settings, i, str_of(defs[i].default_value), SETTING_DEFAULT,
                                     "default", err);
        }
    }
    if (status != OK) {
        settings_free(settings);
        return status;
    }
    *out = settings;
    return OK;
}

void settings_free(struct settings *settings)
{
    if (settings == NULL) {
        return;
    }
    for (size_t i = 0; i < settings->count; i++) {
        mem_free(settings->values[i].text);
        free_items(&settings->values[i]);
    }
    mem_free(settings->values);
    mem_free(settings);
}

enum status settings_set(struct settings *settings, const char *section, const char *name,
                         struct str value, enum setting_source source, struct err *err)
{
    size_t index = settings_find(settings, str_of(section), str_of(name));
    if (index == SIZE_MAX) {
        return err_set(err, E_INVALID, "unknown setting \"%s.%s\"", section, name);
    }
    return settings_assign(settings, index, value, source, "setting", err);
}

const char *settings_str(const struct settings *settings, const char *section, const char *name)
{
    return get_value(settings, section, name, SETTING_STR)->text;
}

int64_t settings_int(const struct settings *settings, const char *section, const char *name)
{
    return get_value(settings, section, name, SETTING_INT)->number;
}

uint64_t settings_bytes(const struct settings *settings, const char *section, const char *name)
{
    return (uint64_t)get_value(settings, section, name, SETTING_BYTES)->number;
}

bool settings_bool(const struct settings *settings, const char *section, const char *name)
{
    return get_value(settings, section, name, SETTING_BOOL)->number != 0;
}

const char *settings_list(const struct settings *settings, const char *section, const char *name,
                          size_t i)
{
    const struct setting_value *value = get_value(settings, section, name, SETTING_LIST);
    return i < value->item_count ? value->items[i] : NULL;
}

enum setting_source settings_source(const struct settings *settings, const char *section,
                                    const char *name)
{
    size_t index = settings_find(settings, str_of(section), str_of(name));
    assert(index != SIZE_MAX);
    return settings->values[index].source;
}

/* ---- for the other two files ---- */

size_t settings_find(const struct settings *settings, struct str section, struct str name)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (str_eq(section, str_of(settings->defs[i].section)) &&
            str_eq(name, str_of(settings->defs[i].name))) {
            return i;
        }
    }
    return SIZE_MAX;
}

size_t settings_find_dotted(const struct settings *settings, struct str dotted)
{
    size_t dot = str_rfind_char(dotted, '.'); /* names have no dot, sections may */
    if (dot == SIZE_MAX) {
        return SIZE_MAX;
    }
    return settings_find(settings, str_take(dotted, dot), str_skip(dotted, dot + 1));
}

bool settings_has_section(const struct settings *settings, struct str section)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (str_eq(section, str_of(settings->defs[i].section))) {
            return true;
        }
    }
    return false;
}

bool settings_is_array(const struct setting_def *defs, size_t count, const char *section)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(defs[i].section, section) == 0) {
            return defs[i].in_array;
        }
    }
    return false;
}

enum status settings_assign(struct settings *settings, size_t index, struct str text,
                            enum setting_source source, const char *place, struct err *err)
{
    const struct setting_def *def = &settings->defs[index];
    struct setting_value *value = &settings->values[index];
    TRY(settings_check_nul(def, text, place, err));
    switch (def->type) {
    case SETTING_STR:
        return set_text(value, 0, text, source, err);
    case SETTING_LIST:
        return set_list(value, text, source, err);
    case SETTING_INT:
    case SETTING_BOOL:
    case SETTING_BYTES:
        return set_number(value, def, text, source, place, err);
    }
    assert(!"a setting of a type that does not exist");
    return E_INTERNAL;
}

enum status settings_check_nul(const struct setting_def *def, struct str text, const char *place,
                               struct err *err)
{
    if (str_find_char(text, '\0') == SIZE_MAX) {
        return OK;
    }
    return err_set(err, E_INVALID, "%s: \"%s.%s\" must not contain a NUL byte", place, def->section,
                   def->name);
}

void settings_clear_list(struct settings *settings, size_t index, enum setting_source source)
{
    free_items(&settings->values[index]);
    settings->values[index].source = source;
}

enum status settings_add_item(struct settings *settings, size_t index, struct str item,
                              struct err *err)
{
    return add_item(&settings->values[index], item, err);
}

enum status settings_fail_unknown(const struct settings *settings, const char *place,
                                  struct str dotted, struct err *err)
{
    size_t index = nearest(settings, dotted);
    if (index == SIZE_MAX) {
        return err_set(err, E_INVALID,
                       "%s: unknown setting \"%.*s\" (`lakehouse config` lists all)", place,
                       STR_ARG(dotted));
    }
    const struct setting_def *def = &settings->defs[index];
    return err_set(err, E_INVALID, "%s: unknown setting \"%.*s\", did you mean \"%s.%s\"?", place,
                   STR_ARG(dotted), def->section, def->name);
}

/* ---- helpers ---- */

static const struct setting_value *get_value(const struct settings *settings, const char *section,
                                             const char *name, enum setting_type type)
{
    size_t index = settings_find(settings, str_of(section), str_of(name));
    assert(index != SIZE_MAX && "a setting that is not in the table");
    assert(settings->defs[index].type == type && "a setting asked for as another type");
    (void)type;
    return &settings->values[index];
}

static enum status set_number(struct setting_value *value, const struct setting_def *def,
                              struct str text, enum setting_source source, const char *place,
                              struct err *err)
{
    struct str trimmed = str_trim(text);
    int64_t number;
    bool valid = def->type == SETTING_INT    ? str_to_i64(trimmed, &number)
                 : def->type == SETTING_BOOL ? parse_bool(trimmed, &number)
                                             : parse_bytes(trimmed, &number);
    if (!valid) {
        return fail_value(def, place, text, err);
    }
    bool limited = def->min != 0 || def->max != 0;
    if (limited && (number < def->min || number > def->max)) {
        return err_set(err, E_INVALID, "%s: \"%s.%s\" must be between %lld and %lld, not %.*s",
                       place, def->section, def->name, (long long)def->min, (long long)def->max,
                       STR_ARG(trimmed));
    }
    return set_text(value, number, trimmed, source, err);
}

static enum status set_text(struct setting_value *value, int64_t number, struct str text,
                            enum setting_source source, struct err *err)
{
    char *copy = mem_strndup(text.ptr, text.len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    mem_free(value->text);
    value->text = copy;
    value->number = number;
    value->source = source;
    return OK;
}

/** Comma-separated; white space around entries does not count, and "" is the empty list. */
static enum status set_list(struct setting_value *value, struct str text,
                            enum setting_source source, struct err *err)
{
    struct setting_value fresh = { .source = source };
    struct str rest = str_trim(text).len > 0 ? text : str_from(NULL, 0);
    while (rest.ptr != NULL) {
        enum status status = add_item(&fresh, str_trim(str_split(&rest, ',')), err);
        if (status != OK) {
            free_items(&fresh);
            return status;
        }
    }
    free_items(value);
    *value = fresh;
    return OK;
}

static enum status add_item(struct setting_value *value, struct str item, struct err *err)
{
    char *copy = mem_strndup(item.ptr, item.len);
    char **items = NULL;
    if (copy != NULL) {
        items = mem_realloc(value->items, (value->item_count + 1) * sizeof(*items));
    }
    if (items == NULL) {
        mem_free(copy);
        return err_no_memory(err);
    }
    items[value->item_count++] = copy;
    value->items = items;
    return OK;
}

static void free_items(struct setting_value *value)
{
    for (size_t i = 0; i < value->item_count; i++) {
        mem_free(value->items[i]);
    }
    mem_free(value->items);
    value->items = NULL;
    value->item_count = 0;
}

static bool parse_bool(struct str text, int64_t *out)
{
    static const char *const yes[] = { "true", "1", "yes", "on" };
    static const char *const no[] = { "false", "0", "no", "off" };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_nocase(text, str_of(yes[i]))) {
            *out = 1;
            return true;
        }
        if (str_eq_nocase(text, str_of(no[i]))) {
            *out = 0;
            return true;
        }
    }
    return false;
}

/** "268435456", "256MiB", "1 GB", "64k": the letter alone and with "iB" counts in 1024. */
static bool parse_bytes(struct str text, int64_t *out)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {
        { "", 1 },
        { "b", 1 },
        { "k", 1LL << 10 },
        { "kib", 1LL << 10 },
        { "kb", 1000LL },
        { "m", 1LL << 20 },
        { "mib", 1LL << 20 },
        { "mb", 1000000LL },
        { "g", 1LL << 30 },
        { "gib", 1LL << 30 },
        { "gb", 1000000000LL },
        { "t", 1LL << 40 },
        { "tib", 1LL << 40 },
        { "tb", 1000000000000LL },
    };
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    int64_t number;
    if (!str_to_i64(str_take(text, digits), &number)) {
        return false;
    }
    struct str unit = str_trim(str_skip(text, digits));
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq_nocase(unit, str_of(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, out);
        }
    }
    return false;
}

static enum status fail_value(const struct setting_def *def, const char *place, struct str text,
                              struct err *err)
{
    bool seconds = def->unit != NULL && strcmp(def->unit, "s") == 0;
    const char *wanted = seconds                     ? "a whole number of seconds"
                         : def->type == SETTING_INT  ? "a whole number"
                         : def->type == SETTING_BOOL ? "true or false"
                                                     : "a number of bytes such as 1048576 or "
                                                       "\"256MiB\"";
    if (def->secret) {
        return err_set(err, E_INVALID, "%s: \"%s.%s\" must be %s", place, def->section, def->name,
                       wanted);
    }
    return err_set(err, E_INVALID, "%s: \"%s.%s\" must be %s, not \"%.*s\"", place, def->section,
                   def->name, wanted, STR_ARG(str_take(text, 100)));
}

/** The definition with the most similar dotted name, or SIZE_MAX when none is similar. */
static size_t nearest(const struct settings *settings, struct str dotted)
{
    size_t best = SIZE_MAX;
    size_t best_distance = dotted.len / 3 > 2 ? dotted.len / 3 + 1 : 3; /* chosen */
    for (size_t i = 0; i < settings->count; i++) {
        char known[128];
        const struct setting_def *def = &settings->defs[i];
        int len = snprintf(known, sizeof(known), "%s.%s", def->section, def->name);
        assert(len > 0 && (size_t)len < sizeof(known));
        size_t distance = str_distance(dotted, str_from(known, (size_t)len));
        if (distance < best_distance) {
            best = i;
            best_distance = distance;
        }
    }
    return best;
}
