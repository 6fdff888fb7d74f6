/*
 * Completion at the prompt: keywords, tables, and the columns of the tables that the statement
 * names. Asked from the server when they are wanted, with a short limit, and kept for some seconds:
 * a server that does not answer costs a completion, nothing else.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/prompt_priv.h"

/* chosen: what a person waits for a Tab; what a list may be old; how many tables of a statement are
 * asked for; how much a list may hold */
enum {
    WAIT_MS = 2000,
    FRESH_US = 10 * 1000 * 1000,
    TABLES_ASKED_MAX = 8,
    LISTS_BYTES_MAX = 16 * 1024 * 1024,
    MATCHES_MAX = 2000
};

static const char *const keywords[] = {
    "ALL",      "AND",       "AS",      "ASC",       "AT",        "BETWEEN", "BY",
    "CASE",     "CAST",      "COUNT",   "CROSS",     "DATE",      "DESC",    "DESCRIBE",
    "DISTINCT", "ELSE",      "END",     "EXCEPT",    "EXCLUDE",   "EXISTS",  "EXPLAIN",
    "FALSE",    "FILTER",    "FIRST",   "FROM",      "FULL",      "GROUP",   "HAVING",
    "ILIKE",    "IN",        "INNER",   "INTERSECT", "INTERVAL",  "IS",      "JOIN",
    "LAST",     "LEFT",      "LIKE",    "LIMIT",     "NATURAL",   "NOT",     "NULL",
    "NULLS",    "OFFSET",    "ON",      "OR",        "ORDER",     "OVER",    "PARTITION",
    "PIVOT",    "QUALIFY",   "REPLACE", "RIGHT",     "SAMPLE",    "SELECT",  "SEMI",
    "SHOW",     "SUMMARIZE", "TABLES",  "THEN",      "TIMESTAMP", "TRUE",    "UNION",
    "UNNEST",   "USING",     "VALUES",  "VERSION",   "WHEN",      "WHERE",   "WINDOW",
    "WITH",
};
static const char *const before_tables[] = { "FROM", "JOIN", "DESCRIBE", "SUMMARIZE" };
static const char *const commands[] = { "\\?", "\\d", "\\dt", "\\q", "\\timing" };

struct prompt_names {
    struct http_client *client;
    struct arena arena; /* of the lists; made anew with them */
    struct str *tables;
    size_t table_count;
    int64_t tables_us; /* when they were asked for; 0: never */
    struct columns {
        struct str table;
        struct str *names;
        size_t count;
    } columns[TABLES_ASKED_MAX];
    size_t column_lists;
};

enum status prompt_names_new(struct http_client *client, struct prompt_names **out, struct err *err)
{
    struct prompt_names *names = mem_zalloc(sizeof(*names));
    if (names == NULL) {
        return err_no_memory(err);
    }
    names->client = client;
    arena_init(&names->arena, LISTS_BYTES_MAX);
    *out = names;
    return OK;
}

void prompt_names_free(struct prompt_names *names)
{
    if (names != NULL) {
        arena_done(&names->arena);
        mem_free(names);
    }
}

void prompt_names_forget(struct prompt_names *names)
{
    arena_done(&names->arena);
    arena_init(&names->arena, LISTS_BYTES_MAX);
    names->tables = NULL;
    names->table_count = names->column_lists = 0;
    names->tables_us = 0;
}

/* --- what the server has --- */

/** The "name" of each object of an array, copied. */
static enum status copy_names(struct arena *arena, yyjson_val *array, struct str **out,
                              size_t *count_out)
{
    size_t i, max, count = 0;
    yyjson_val *item;
    struct str *list = arena_array(arena, yyjson_arr_size(array) + 1, sizeof(*list));
    if (list == NULL) {
        return E_NO_MEMORY;
    }
    yyjson_arr_foreach(array, i, max, item)
    {
        yyjson_val *name = yyjson_obj_get(item, "name");
        if (yyjson_is_str(name)) {
            list[count] = arena_str(arena, str_from(yyjson_get_str(name), yyjson_get_len(name)));
            count += list[count].ptr != NULL;
        }
    }
    *out = list;
    *count_out = count;
    return OK;
}

static void ask_tables(struct prompt_names *names)
{
    int64_t now_us = clock_now_us();
    if (names->tables_us != 0 && now_us - names->tables_us < FRESH_US) {
        return;
    }
    prompt_names_forget(names);
    names->tables_us = now_us;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct err err = { 0 };
    if (cli_get_json(names->client, STR("/v1/catalog/list?limit=1000"), deadline_in(WAIT_MS), &doc,
                     &err) != OK ||
        copy_names(&names->arena, yyjson_obj_get(yyjson_doc_get_root(doc), "tables"),
                   &names->tables, &names->table_count) != OK) {
        names->table_count = 0;
    }
}

/** The columns of a table; NULL when there is no room for one more list, or no answer. */
static const struct columns *columns_of(struct prompt_names *names, struct str table)
{
    for (size_t i = 0; i < names->column_lists; i++) {
        if (str_eq(names->columns[i].table, table)) {
            return &names->columns[i];
        }
    }
    if (names->column_lists == TABLES_ASKED_MAX) {
        return NULL;
    }
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct columns *columns = &names->columns[names->column_lists];
    struct err err = { 0 };
    if (cli_get_table(names->client, table, deadline_in(WAIT_MS), &doc, &err) != OK) {
        return NULL;
    }
    yyjson_val *schema = yyjson_obj_get(yyjson_doc_get_root(doc), "schema");
    if (copy_names(&names->arena, yyjson_obj_get(schema, "fields"), &columns->names,
                   &columns->count) != OK) {
        return NULL;
    }
    columns->table = table;
    names->column_lists++;
    return columns;
}

/** Whether `text` names the table: as a word of its own, quoted or not. */
static bool mentions(struct str text, struct str table)
{
    for (size_t at = 0; at + table.len <= text.len; at++) {
        if (!str_eq_nocase(str_from(text.ptr + at, table.len), table)) {
            continue;
        }
        bool left = at == 0 || !cli_is_name_char(text.ptr[at - 1]);
        bool right = at + table.len == text.len || !cli_is_name_char(text.ptr[at + table.len]);
        if (left && right) {
            return true;
        }
    }
    return false;
}

/* Where the cursor is. */
struct spot {
    struct str text, behind; /* the statement up to it, and what stands behind it */
    bool quoted;             /* inside a quoted name */
};

static bool is_named(const struct spot *spot, struct str table)
{
    size_t dot = str_rfind_char(table, '.');
    struct str bare = dot == SIZE_MAX ? table : str_skip(table, dot + 1);
    return mentions(spot->text, bare) || mentions(spot->behind, bare);
}

/* --- what fits --- */

static bool starts_nocase(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq_nocase(str_take(s, prefix.len), prefix);
}

static bool is_keyword(struct str word)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (str_eq_nocase(word, str_of(keywords[i]))) {
            return true;
        }
    }
    return false;
}

static enum status add_text(struct prompt_matches *out, struct str text)
{
    if (out->count == MATCHES_MAX) {
        return OK;
    }
    struct str copy = arena_str(&out->arena, text);
    out->items[out->count++] = copy;
    return copy.ptr != NULL ? OK : E_NO_MEMORY;
}

/** A name that begins with `typed`, behind `before` (an alias and its dot). A quote that was opened
 * stays one. */
static enum status add_name(struct prompt_matches *out, struct str before, struct str name,
                            struct str typed, bool quoted, bool dotted)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 4096);
    if (!starts_nocase(name, typed)) {
        return OK;
    }
    TRY(buf_append(&text, before));
    size_t start = text.len;
    TRY(cli_append_name(&text, name, dotted));
    bool bare = text.len > start && text.ptr[start] != '"';
    if (bare && (quoted || is_keyword(name))) {
        text.len = start;
        TRY(buf_printf(&text, "\"%.*s\"", STR_ARG(name)));
    }
    return add_text(out, buf_str(&text));
}

/** Columns of the tables that the statement names; of the first ones as long as it names none. */
static enum status add_columns(struct prompt_names *names, struct prompt_matches *out,
                               const struct spot *spot, struct str before, struct str typed)
{
    bool any = false;
    for (size_t t = 0; t < names->table_count; t++) {
        any = any || is_named(spot, names->tables[t]);
    }
    for (size_t t = 0; t < names->table_count && (any || t < TABLES_ASKED_MAX); t++) {
        struct str table = names->tables[t];
        const struct columns *columns = !any || is_named(spot, table) ? columns_of(names, table)
                                                                      : NULL;
        for (size_t c = 0; columns != NULL && c < columns->count; c++) {
            TRY(add_name(out, before, columns->names[c], typed, spot->quoted, false));
        }
    }
    return OK;
}

static enum status add_tables(const struct prompt_names *names, struct prompt_matches *out,
                              struct str typed, bool quoted)
{
    for (size_t t = 0; t < names->table_count; t++) {
        TRY(add_name(out, STR_EMPTY, names->tables[t], typed, quoted, true));
    }
    return OK;
}

/** As it was begun: in small letters where the first one is small. */
static enum status add_keywords(struct prompt_matches *out, struct str typed)
{
    bool small = typed.len > 0 && typed.ptr[0] >= 'a' && typed.ptr[0] <= 'z';
    for (size_t i = 0; i < ARRAY_LEN(keywords) && typed.len > 0; i++) {
        char word[32];
        size_t len = strlen(keywords[i]);
        for (size_t c = 0; c <= len; c++) {
            char letter = keywords[i][c];
            word[c] = small && letter >= 'A' && letter <= 'Z' ? (char)(letter + ('a' - 'A'))
                                                              : letter;
        }
        if (starts_nocase(str_from(word, len), typed)) {
            TRY(add_text(out, str_from(word, len)));
        }
    }
    return OK;
}

/** The word before the one at `start`, if only blanks are between. */
static struct str word_before(struct str text, size_t start)
{
    size_t end = start;
    while (end > 0 && (text.ptr[end - 1] == ' ' || text.ptr[end - 1] == '\n')) {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && cli_is_name_char(text.ptr[begin - 1])) {
        begin--;
    }
    return str_from(text.ptr + begin, end - begin);
}

static bool wants_table(struct str text, size_t start)
{
    struct str before = word_before(text, start);
    for (size_t i = 0; i < ARRAY_LEN(before_tables); i++) {
        if (str_eq_nocase(before, str_of(before_tables[i]))) {
            return true;
        }
    }
    return str_starts(text, STR("\\d"));
}

static enum status match_command(struct prompt_matches *out, struct str text)
{
    out->replace = text.len;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (str_starts(str_of(commands[i]), text)) {
            TRY(add_text(out, str_of(commands[i])));
        }
    }
    return OK;
}

static int by_text(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void sort_once(struct prompt_matches *out)
{
    size_t kept = 0;
    if (out->count > 0) {
        qsort(out->items, out->count, sizeof(*out->items), by_text);
    }
    for (size_t i = 0; i < out->count; i++) {
        if (kept == 0 || !str_eq(out->items[kept - 1], out->items[i])) {
            out->items[kept++] = out->items[i];
        }
    }
    out->count = kept;
}

static enum status match_name(struct prompt_names *names, const struct spot *spot,
                              size_t place_start, struct prompt_matches *out)
{
    struct str text = spot->text;
    size_t start = spot->quoted ? place_start : text.len;
    while (!spot->quoted && start > 0 &&
           (cli_is_name_char(text.ptr[start - 1]) || text.ptr[start - 1] == '.')) {
        start--;
    }
    struct str typed = str_skip(text, start + (spot->quoted ? 1 : 0));
    size_t dot = spot->quoted ? SIZE_MAX : str_rfind_char(typed, '.');
    struct str before = dot == SIZE_MAX ? STR_EMPTY : str_take(typed, dot + 1);
    out->replace = text.len - start;
    ask_tables(names);
    TRY(add_tables(names, out, typed, spot->quoted));
    if (!wants_table(text, start)) {
        TRY(add_columns(names, out, spot, before,
                        dot == SIZE_MAX ? typed : str_skip(typed, dot + 1)));
        TRY(spot->quoted || dot != SIZE_MAX ? OK : add_keywords(out, typed));
    }
    return OK;
}

enum status prompt_names_match(struct prompt_names *names, struct str text, struct str behind,
                               struct prompt_matches *out)
{
    struct cli_scan scan;
    cli_statement_scan(text, &scan);
    while (scan.end != SIZE_MAX) { /* the statement at the cursor may stand behind others */
        text = str_skip(text, scan.end);
        cli_statement_scan(text, &scan);
    }
    *out = (struct prompt_matches){ .count = 0 };
    arena_init(&out->arena, 0);
    out->items = arena_array(&out->arena, MATCHES_MAX, sizeof(*out->items));
    if (out->items == NULL) {
        return E_NO_MEMORY;
    }
    if (str_starts(text, STR("\\")) && str_find_char(text, ' ') == SIZE_MAX) {
        return match_command(out, text);
    }
    if (scan.place == CLI_IN_TEXT) {
        return OK;
    }
    struct spot spot = { .text = text, .behind = behind, .quoted = scan.place == CLI_IN_NAME };
    TRY(match_name(names, &spot, scan.place_start, out));
    sort_once(out);
    return OK;
}

void prompt_matches_done(struct prompt_matches *matches)
{
    arena_done(&matches->arena);
}
