/*
 * Tables for terminals: aligned columns, numbers to the right, UTF-8 counted in display columns.
 *
 *   species        strikes
 *   -------------  -------
 *   Mourning dove    1,204
 */
#include <stdlib.h>
#include <wchar.h>

#include "base/mem.h"
#include "cli/cli_priv.h"

/* a longer cell is cut: chosen so that a few columns fit a screen */
enum { CELL_WIDTH_MAX = 60, GAP = 2 };

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

/** The code point at `text[*at]`, moving *at behind it; bytes that are no UTF-8 count one each. */
static uint32_t next_code_point(struct str text, size_t *at)
{
    unsigned char lead = (unsigned char)text.ptr[*at];
    size_t extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    uint32_t code = extra == 3   ? lead & 7u
                    : extra == 2 ? lead & 15u
                    : extra == 1 ? lead & 31u
                                 : lead;
    *at += 1;
    while (extra-- > 0 && *at < text.len && ((unsigned char)text.ptr[*at] & 0xc0) == 0x80) {
        code = code << 6 | ((unsigned char)text.ptr[(*at)++] & 0x3fu);
    }
    return code;
}

/** East Asian wide and emoji blocks take two columns, combining marks none. Blocks from Unicode's
 * EastAsianWidth, coarse. */
static size_t code_point_width(uint32_t code)
{
    if ((code >= 0x300 && code <= 0x36f) || code == 0x200d || (code >= 0xfe00 && code <= 0xfe0f)) {
        return 0;
    }
    bool wide = (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf) ||
                (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff) ||
                (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) ||
                (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd);
    return wide ? 2 : 1;
}

size_t cli_display_width(struct str text)
{
    size_t width = 0;
    for (size_t at = 0; at < text.len;) {
        width += code_point_width(next_code_point(text, &at));
    }
    return width;
}

/** Bytes of `text` that fit in `width` columns. */
static size_t fitting_bytes(struct str text, size_t width)
{
    size_t used = 0;
    for (size_t at = 0; at < text.len;) {
        size_t before = at;
        used += code_point_width(next_code_point(text, &at));
        if (used > width) {
            return before;
        }
    }
    return text.len;
}

static enum status spaces(struct buf *out, size_t count, char c)
{
    while (count-- > 0) {
        TRY(buf_append_char(out, c));
    }
    return OK;
}

/** Control characters would move the cursor: they are shown as a dot. */
static enum status append_clean(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        TRY(buf_append_char(out, c < 0x20 || c == 0x7f ? '.' : (char)c));
    }
    return OK;
}

static enum status print_cell(struct buf *out, struct str cell, size_t width, bool right, bool last)
{
    size_t wide = cli_display_width(cell);
    bool cut = wide > width;
    struct str shown = cut ? str_take(cell, fitting_bytes(cell, width - 1)) : cell;
    size_t used = cli_display_width(shown) + (cut ? 1 : 0);
    if (right) {
        TRY(spaces(out, width - used, ' '));
    }
    TRY(append_clean(out, shown));
    if (cut) {
        TRY(buf_append(out, STR("\xe2\x80\xa6")));
    }
    if (!right && !last) {
        TRY(spaces(out, width - used, ' '));
    }
    return last ? OK : spaces(out, GAP, ' ');
}

static enum status print_row(const struct cli_table *table, const struct str *row,
                             const size_t *widths, struct buf *out)
{
    for (size_t c = 0; c < table->column_count; c++) {
        TRY(print_cell(out, row[c], widths[c], table->right[c], c + 1 == table->column_count));
    }
    return buf_append_char(out, '\n');
}

enum status cli_table_print(const struct cli_table *table, struct buf *out)
{
    if (table->column_count == 0 || table->row_count == 0) {
        return OK;
    }
    size_t *widths = mem_zalloc(table->column_count * sizeof(*widths));
    if (widths == NULL) {
        return E_NO_MEMORY;
    }
    for (size_t i = 0; i < table->row_count * table->column_count; i++) {
        size_t width = cli_display_width(table->cells[i]);
        size_t *widest = &widths[i % table->column_count];
        width = width > CELL_WIDTH_MAX ? CELL_WIDTH_MAX : width;
        *widest = width > *widest ? width : *widest;
    }
    enum status status = OK;
    for (size_t r = 0; r < table->row_count && status == OK; r++) {
        status = print_row(table, table->cells + r * table->column_count, widths, out);
        for (size_t c = 0; r == 0 && c < table->column_count && status == OK; c++) {
            status = spaces(out, widths[c], '-');
            status = status == OK && c + 1 < table->column_count ? spaces(out, GAP, ' ') : status;
        }
        status = r == 0 && status == OK ? buf_append_char(out, '\n') : status;
    }
    mem_free(widths);
    return status;
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
