/*
 * Settings as text: the effective values as TOML that can be loaded again (but for secrets), and
 * the reference page from the table of definitions.
 */
#include "base/settings.h"

#include "base/json.h"
#include "base/settings_priv.h"

static const char mask[] = "****";

static bool is_first_of_section(const struct setting_def *defs, size_t index);
static enum status print_section(const struct settings *settings, const char *section,
                                 struct buf *out);
static enum status print_array(const struct settings *settings, const char *section,
                               struct buf *out);
static enum status print_value(const struct settings *settings, size_t index, struct buf *out);
static enum status print_string(const struct setting_def *def, const char *text, struct buf *out);
static enum status print_list(const struct setting_def *def, const struct setting_value *value,
                              struct buf *out);
static enum status reference_section(const struct setting_def *defs, size_t count,
                                     const char *section, struct buf *out);
static enum status reference_row(const struct setting_def *def, struct buf *out);
static enum status append_variable(const struct setting_def *def, struct buf *out);
static enum status append_cell(const char *text, struct buf *out);

enum status settings_print(const struct settings *settings, struct buf *out)
{
    size_t start = out->len;
    enum status status = OK;
    for (size_t i = 0; i < settings->count && status == OK; i++) {
        if (!is_first_of_section(settings->defs, i)) {
            continue;
        }
        const char *section = settings->defs[i].section;
        status = i > 0 ? buf_append_char(out, '\n') : OK;
        if (status == OK) {
            status = settings->defs[i].in_array ? print_array(settings, section, out)
                                                : print_section(settings, section, out);
        }
    }
    if (status != OK) {
        out->len = start;
    }
    return status;
}

enum status settings_reference(const struct setting_def *defs, size_t count, struct buf *out)
{
    size_t start = out->len;
    enum status status = buf_printf(
        out, "# Settings\n\n"
             "Defaults are overridden by the file, the file by the environment, and all of them by "
             "flags.\nA flag is `--section.name=value`; some have a short form too.\n");
    for (size_t i = 0; i < count && status == OK; i++) {
        if (is_first_of_section(defs, i)) {
            status = reference_section(defs, count, defs[i].section, out);
        }
    }
    if (status != OK) {
        out->len = start;
    }
    return status;
}

static bool is_first_of_section(const struct setting_def *defs, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(defs[i].section, defs[index].section) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- effective values ---- */

static enum status print_section(const struct settings *settings, const char *section,
                                 struct buf *out)
{
    static const char *const source_names[] = {
        [SETTING_DEFAULT] = "default",
        [SETTING_FILE] = "file",
        [SETTING_ENV] = "environment",
        [SETTING_FLAG] = "flag",
    };
    TRY(buf_printf(out, "[%s]\n", section));
    for (size_t i = 0; i < settings->count; i++) {
        const struct setting_def *def = &settings->defs[i];
        if (strcmp(def->section, section) != 0) {
            continue;
        }
        TRY(buf_printf(out, "%s = ", def->name));
        TRY(print_value(settings, i, out));
        TRY(buf_printf(out, "  # %s\n", source_names[settings->values[i].source]));
    }
    return OK;
}

/** One [[section]] for each entry of its longest list. */
static enum status print_array(const struct settings *settings, const char *section,
                               struct buf *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < settings->count; i++) {
        size_t items = settings->values[i].item_count;
        if (strcmp(settings->defs[i].section, section) == 0 && items > rows) {
            rows = items;
        }
    }
    if (rows == 0) {
        return buf_printf(out, "# [[%s]]: none\n", section);
    }
    for (size_t row = 0; row < rows; row++) {
        TRY(buf_printf(out, "%s[[%s]]\n", row > 0 ? "\n" : "", section));
        for (size_t i = 0; i < settings->count; i++) {
            const struct setting_def *def = &settings->defs[i];
            const struct setting_value *value = &settings->values[i];
            if (strcmp(def->section, section) == 0 && row < value->item_count) {
                TRY(buf_printf(out, "%s = ", def->name));
                TRY(print_string(def, value->items[row], out));
                TRY(buf_append_char(out, '\n'));
            }
        }
    }
    return OK;
}

static enum status print_value(const struct settings *settings, size_t index, struct buf *out)
{
    const struct setting_def *def = &settings->defs[index];
    const struct setting_value *value = &settings->values[index];
    switch (def->type) {
    case SETTING_STR:
        return print_string(def, value->text, out);
    case SETTING_BOOL:
        return buf_append(out, value->number != 0 ? STR("true") : STR("false"));
    case SETTING_INT:
    case SETTING_BYTES:
        return buf_printf(out, "%lld", (long long)value->number);
    case SETTING_LIST:
        return print_list(def, value, out);
    }
    return E_INTERNAL;
}

/** A JSON string with its escapes is a TOML string too; only DEL needs an escape more. */
static enum status print_string(const struct setting_def *def, const char *text, struct buf *out)
{
    if (def->secret && text[0] != '\0') {
        text = mask;
    }
    struct str rest = str_of(text);
    if (str_find_char(rest, 0x7f) == SIZE_MAX) {
        return json_append_string(out, rest);
    }
    TRY(buf_append_char(out, '"'));
    while (rest.ptr != NULL) {
        size_t start = out->len;
        TRY(json_append_string(out, str_split(&rest, 0x7f)));
        /* Take the quotes off: the first by moving, the last by cutting. */
        memmove(out->ptr + start, out->ptr + start + 1, out->len - start - 1);
        out->len -= 2;
        TRY(rest.ptr != NULL ? buf_append(out, STR("\\u007f")) : OK);
    }
    return buf_append_char(out, '"');
}

static enum status print_list(const struct setting_def *def, const struct setting_value *value,
                              struct buf *out)
{
    TRY(buf_append_char(out, '['));
    for (size_t i = 0; i < value->item_count; i++) {
        TRY(i > 0 ? buf_append(out, STR(", ")) : OK);
        TRY(print_string(def, value->items[i], out));
    }
    return buf_append_char(out, ']');
}

/* ---- the reference page ---- */

static enum status reference_section(const struct setting_def *defs, size_t count,
                                     const char *section, struct buf *out)
{
    bool array = settings_is_array(defs, count, section);
    const char *once = array ? " (any number of them)" : "";
    const char *open = array ? "[[" : "[", *close = array ? "]]" : "]";
    TRY(buf_printf(out, "\n## `%s%s%s`%s\n\n", open, section, close, once));
    TRY(buf_append(out, STR("| setting | type | default | meaning | environment, short flag |\n"
                            "|---|---|---|---|---|\n")));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(defs[i].section, section) == 0) {
            TRY(reference_row(&defs[i], out));
        }
    }
    return OK;
}

static enum status reference_row(const struct setting_def *def, struct buf *out)
{
    static const char *const type_names[] = {
        [SETTING_STR] = "string",  [SETTING_INT] = "integer",          [SETTING_BOOL] = "boolean",
        [SETTING_BYTES] = "bytes", [SETTING_LIST] = "list of strings",
    };
    TRY(buf_printf(out, "| `%s` | %s", def->name,
                   def->in_array ? "string" : type_names[def->type]));
    if (def->unit != NULL && def->type != SETTING_BYTES) {
        TRY(buf_printf(out, ", %s", def->unit));
    }
    TRY(buf_append(out, STR(" | ")));
    if (def->default_value[0] != '\0') {
        TRY(buf_append_char(out, '`'));
        TRY(append_cell(def->default_value, out));
        TRY(buf_append_char(out, '`'));
    }
    TRY(buf_append(out, STR(" | ")));
    TRY(append_cell(def->help, out));
    if (def->min != 0 || def->max != 0) {
        TRY(buf_printf(out, " From %lld to %lld.", (long long)def->min, (long long)def->max));
    }
    TRY(buf_append(out, STR(" | `")));
    TRY(append_variable(def, out));
    TRY(buf_append_char(out, '`'));
    if (def->flag != NULL) {
        TRY(buf_printf(out, ", `--%s`", def->flag));
    }
    return buf_append(out, STR(" |\n"));
}

static enum status append_variable(const struct setting_def *def, struct buf *out)
{
    size_t start = out->len;
    TRY(buf_printf(out, "LAKEHOUSE_%s_%s", def->section, def->name));
    for (size_t i = start; i < out->len; i++) {
        char c = out->ptr[i];
        out->ptr[i] = c == '.' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
    }
    return OK;
}

/** A bar would end the cell, a line end the table. */
static enum status append_cell(const char *text, struct buf *out)
{
    for (const char *c = text; *c != '\0'; c++) {
        TRY(*c == '|'    ? buf_append(out, STR("\\|"))
            : *c == '\n' ? buf_append_char(out, ' ')
                         : buf_append_char(out, *c));
    }
    return OK;
}
