/*
 * Tables for terminals: aligned columns, numbers to the right, UTF-8 counted in display columns.
 *
 *   species        strikes
 *   -------------  -------
 *   Mourning dove    1,204
 *
 * A table that is wider than the screen has its widest text columns cut, numbers never. When even
 * that does not make it fit, each row is shown as a record, one line a column:
 *
 *   -- row 1 --
 *   species  Mourning dove
 *   strikes  1,204
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli_priv.h"

/* CELL_WIDTH_MAX: of a table that goes to no screen; CUT_WIDTH_MIN: text is not cut shorter than
 * this to make a table fit; both chosen so that a few columns fit 80 */
enum { CELL_WIDTH_MAX = 60, CUT_WIDTH_MIN = 12, GAP = 2 };

enum status cli_table_init(struct cli_table *table, size_t column_count, struct err *err)
{
    *table = (struct cli_table){ .column_count = column_count };
    arena_init(&table->arena, 1024ULL * 1024 * 1024);
    table->right = arena_array(&table->arena, column_count + 1, sizeof(*table->right));
    return table->right == NULL ? err_no_memory(err) : OK;
}

void cli_table_done(struct cli_table *table)
{
    mem_free(table->cells);
    arena_done(&table->arena);
    *table = (struct cli_table){ 0 };
}

struct str *cli_table_row(struct cli_table *table)
{
    if (table->row_count == table->row_cap) {
        size_t cap = table->row_cap ? table->row_cap * 2 : 64;
        size_t bytes;
        if (!size_mul(cap, table->column_count * sizeof(struct str), &bytes)) {
            return NULL;
        }
        struct str *cells = mem_realloc(table->cells, bytes + 1);
        if (cells == NULL) {
            return NULL;
        }
        table->cells = cells;
        table->row_cap = cap;
    }
    struct str *row = table->cells + table->row_count++ * table->column_count;
    memset(row, 0, table->column_count * sizeof(*row));
    return row;
}

const char cli_null[] = "NULL";

static enum status spaces(struct buf *out, size_t count, char c)
{
    while (count-- > 0) {
        TRY(buf_append_char(out, c));
    }
    return OK;
}

static const char style_bold[] = "\033[1m", style_dim[] = "\033[2m", style_end[] = "\033[0m";

/** How a cell is painted; NULL: as it is. */
static const char *style_of(const struct cli_table *table, size_t row, struct str cell)
{
    bool dim = row > 0 && cell.ptr == cli_null;
    return !table->paint ? NULL : row == 0 ? style_bold : dim ? style_dim : NULL;
}

static enum status print_styled(struct buf *out, struct str text, bool cut, const char *style)
{
    TRY(style != NULL ? buf_append(out, str_of(style)) : OK);
    TRY(cli_append_clean(out, text));
    TRY(cut ? buf_append(out, STR("\xe2\x80\xa6")) : OK);
    return style != NULL ? buf_append(out, str_of(style_end)) : OK;
}

static enum status print_cell(struct buf *out, struct str cell, const char *style, size_t width,
                              bool right, bool last)
{
    size_t wide = cli_display_width(cell);
    bool cut = wide > width;
    struct str shown = cut ? cli_fitting(cell, width - 1) : cell;
    size_t used = cli_display_width(shown) + (cut ? 1 : 0);
    if (right) {
        TRY(spaces(out, width - used, ' '));
    }
    TRY(print_styled(out, shown, cut, style));
    if (!right && !last) {
        TRY(spaces(out, width - used, ' '));
    }
    return last ? OK : spaces(out, GAP, ' ');
}

static enum status print_row(const struct cli_table *table, size_t r, const size_t *widths,
                             struct buf *out)
{
    const struct str *row = table->cells + r * table->column_count;
    for (size_t c = 0; c < table->column_count; c++) {
        TRY(print_cell(out, row[c], style_of(table, r, row[c]), widths[c], table->right[c],
                       c + 1 == table->column_count));
    }
    return buf_append_char(out, '\n');
}

static enum status print_rule(const struct cli_table *table, const size_t *widths, struct buf *out)
{
    for (size_t c = 0; c < table->column_count; c++) {
        TRY(spaces(out, widths[c], '-'));
        TRY(c + 1 < table->column_count ? spaces(out, GAP, ' ') : OK);
    }
    return buf_append_char(out, '\n');
}

static void measure(const struct cli_table *table, size_t *widths)
{
    for (size_t i = 0; i < table->row_count * table->column_count; i++) {
        size_t width = cli_display_width(table->cells[i]);
        size_t *widest = &widths[i % table->column_count];
        *widest = width > *widest ? width : *widest;
    }
}

/** Cut the widest text columns, one display column at a time, until all fit; false when they do
 * not. */
static bool fit(const struct cli_table *table, size_t *widths, size_t screen_width)
{
    size_t total = GAP * (table->column_count - 1);
    for (size_t c = 0; c < table->column_count; c++) {
        total += widths[c];
    }
    while (total > screen_width) {
        size_t *widest = NULL, second = CUT_WIDTH_MIN;
        for (size_t c = 0; c < table->column_count; c++) {
            if (table->right[c] || widths[c] <= CUT_WIDTH_MIN) {
                continue;
            }
            if (widest == NULL || widths[c] > *widest) {
                second = widest != NULL ? *widest : second;
                widest = &widths[c];
            } else if (widths[c] > second) {
                second = widths[c];
            }
        }
        if (widest == NULL) {
            return false;
        }
        size_t less = *widest > second ? *widest - second : 1;
        less = less > total - screen_width ? total - screen_width : less;
        *widest -= less;
        total -= less;
    }
    return true;
}

/** Rows one below the other, for a table that no screen holds. */
static enum status print_records(const struct cli_table *table, size_t screen_width,
                                 struct buf *out)
{
    size_t label = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        size_t width = cli_display_width(table->cells[c]);
        label = width > label ? width : label;
    }
    size_t label_max = screen_width / 2 > CUT_WIDTH_MIN ? screen_width / 2 : CUT_WIDTH_MIN;
    label = label > label_max ? label_max : label;
    size_t rest = screen_width > label + GAP + CUT_WIDTH_MIN ? screen_width - label - GAP
                                                             : CUT_WIDTH_MIN;
    for (size_t r = 1; r < table->row_count; r++) {
        TRY(buf_printf(out, "-- row %zu --\n", r));
        for (size_t c = 0; c < table->column_count; c++) {
            struct str cell = table->cells[r * table->column_count + c];
            size_t width = table->right[c] ? cli_display_width(cell) : rest;
            struct str name = table->cells[c];
            TRY(print_cell(out, name, style_of(table, 0, name), label, false, false));
            TRY(print_cell(out, cell, style_of(table, r, cell), width, false, true));
            TRY(buf_append_char(out, '\n'));
        }
    }
    return OK;
}

static enum status print_grid(const struct cli_table *table, const size_t *widths, struct buf *out)
{
    TRY(print_row(table, 0, widths, out));
    TRY(print_rule(table, widths, out));
    for (size_t r = 1; r < table->row_count; r++) {
        TRY(print_row(table, r, widths, out));
    }
    return OK;
}

enum status cli_table_print(const struct cli_table *table, size_t screen_width, struct buf *out)
{
    if (table->column_count == 0 || table->row_count == 0) {
        return OK;
    }
    size_t *widths = mem_zalloc(table->column_count * sizeof(*widths));
    if (widths == NULL) {
        return E_NO_MEMORY;
    }
    measure(table, widths);
    bool fits = true;
    if (screen_width > 0) {
        fits = fit(table, widths, screen_width);
    } else {
        for (size_t c = 0; c < table->column_count; c++) {
            bool cut = !table->right[c] && widths[c] > CELL_WIDTH_MAX;
            widths[c] = cut ? CELL_WIDTH_MAX : widths[c];
        }
    }
    enum status status = fits || table->row_count == 1 ? print_grid(table, widths, out)
                                                       : print_records(table, screen_width, out);
    mem_free(widths);
    return status;
}

/** RFC 4180: quotes around what holds a comma, a quote or a line break. */
static enum status print_csv_cell(struct str cell, struct buf *out)
{
    bool plain = str_find_char(cell, ',') == SIZE_MAX && str_find_char(cell, '"') == SIZE_MAX &&
                 str_find_char(cell, '\n') == SIZE_MAX && str_find_char(cell, '\r') == SIZE_MAX;
    if (plain) {
        return buf_append(out, cell);
    }
    TRY(buf_append_char(out, '"'));
    for (size_t i = 0; i < cell.len; i++) {
        TRY(cell.ptr[i] == '"' ? buf_append_char(out, '"') : OK);
        TRY(buf_append_char(out, cell.ptr[i]));
    }
    return buf_append_char(out, '"');
}

enum status cli_table_print_csv(const struct cli_table *table, struct buf *out)
{
    for (size_t i = 0; i < table->row_count * table->column_count; i++) {
        TRY(print_csv_cell(table->cells[i], out));
        TRY(buf_append_char(out, (i + 1) % table->column_count == 0 ? '\n' : ','));
    }
    return OK;
}

struct str cli_size(struct arena *arena, uint64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1000;
        unit++;
    }
    return arena_printf(arena, unit == 0 || value >= 99.5 ? "%.0f %s" : "%.1f %s", value,
                        units[unit]);
}

struct str cli_count(struct arena *arena, int64_t count)
{
    char digits[32], text[48];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)count);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    return arena_str(arena, str_from(text, at));
}

enum status cli_table_show(struct cli_table *table, struct err *err)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    size_t screen_width = cli_screen_width();
    table->paint = cli_paints(STDOUT_FILENO);
    enum status status = screen_width > 0 ? cli_table_print(table, screen_width, &out)
                                          : cli_table_print_csv(table, &out);
    return status == OK ? cli_print(buf_str(&out), err) : err_no_memory(err);
}
