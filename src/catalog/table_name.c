/*
 * Names of tables in text and as SQL has them.
 *
 * Inside, a namespace is its levels joined by the byte 0x1F, which no level can hold. In text the
 * levels and the name are joined by dots, and a part with a dot, a slash or a quote in it stands in
 * double quotes: `t`, `geo.t`, `a.b.t`, `"a.b"."tab/le"`. SQL knows one schema before a table, so
 * there several levels are one identifier: "a.b".t.
 */
#include "catalog/table_name.h"

#include "base/encode.h"

enum { NAME_CHARS_MAX = 80 };

/** Characters for which a part stands in quotes. */
static const char odd[] = "/.\"'`";

static bool is_odd(struct str part)
{
    for (size_t i = 0; i < part.len; i++) {
        if (strchr(odd, part.ptr[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/** One level, or the name. */
static enum status check_part(struct str part, const char *what, struct err *err)
{
    if (part.len == 0) {
        return err_set(err, E_INVALID, "the %s of a table is empty", what);
    }
    if (str_eq(part, STR(".")) || str_eq(part, STR(".."))) {
        return err_set(err, E_INVALID, "the %s of a table is \"%.*s\", which no path can name",
                       what, STR_ARG(part));
    }
    if (str_has_control(part)) {
        return err_set(err, E_INVALID, "the %s of a table holds a control character", what);
    }
    size_t chars = 0;
    for (struct str rest = part; rest.len > 0; chars++) {
        size_t len = str_utf8_len(rest);
        if (len == 0) {
            return err_set(err, E_INVALID, "the %s of a table is not UTF-8", what);
        }
        rest = str_skip(rest, len);
    }
    if (chars > NAME_CHARS_MAX) {
        return err_set(err, E_INVALID, "the %s of a table has %zu characters, at most %d may be",
                       what, chars, NAME_CHARS_MAX);
    }
    return OK;
}

enum status table_name_check_ns(struct str ns, struct err *err)
{
    int levels = 0;
    struct str rest = ns;
    TRY(ns.len == 0 ? check_part(ns, "namespace", err) : OK);
    for (bool more = true; more; levels++) {
        struct str level = str_split(&rest, CATALOG_NS_SEPARATOR);
        TRY(check_part(level, "namespace", err));
        more = rest.ptr != NULL;
    }
    if (levels > CATALOG_NS_LEVELS_MAX) {
        return err_set(err, E_INVALID, "a namespace has %d levels, at most %d may be", levels,
                       CATALOG_NS_LEVELS_MAX);
    }
    return OK;
}

enum status table_name_check(const struct table_name *name, struct err *err)
{
    TRY(table_name_check_ns(name->ns, err));
    return check_part(name->name, "name", err);
}

static enum status check_plain(struct str part, const char *what, struct err *err)
{
    for (size_t i = 0; i < part.len; i++) {
        if (part.ptr[i] == CATALOG_NS_SEPARATOR) {
            return err_set(err, E_INVALID, "the %s of a table has one level here", what);
        }
        if (strchr(odd, part.ptr[i]) != NULL) {
            return err_set(err, E_INVALID, "the %s \"%.*s\" holds '%c', which a name may not here",
                           what, STR_ARG(part), part.ptr[i]);
        }
    }
    return OK;
}

enum status table_name_check_plain(const struct table_name *name, struct err *err)
{
    TRY(check_plain(name->ns, "namespace", err));
    return check_plain(name->name, "name", err);
}

enum status table_name_check_new(const struct table_name *name, struct err *err)
{
    static const struct str schemas[] = { STR_INIT("information_schema"), STR_INIT("pg_catalog") };
    static const struct str prefixes[] = { STR_INIT("duckdb_"), STR_INIT("sqlite_"),
                                           STR_INIT("pragma_") };
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        if (str_eq_nocase(name->ns, schemas[i])) {
            return err_set(err, E_INVALID, "the namespace \"%.*s\" is SQL's own",
                           STR_ARG(name->ns));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (str_eq_nocase(str_take(name->name, prefixes[i].len), prefixes[i])) {
            return err_set(err, E_INVALID, "\"%.*s\": names that begin with %.*s are SQL's own",
                           STR_ARG(name->name), STR_ARG(prefixes[i]));
        }
    }
    return OK;
}

/* --- text --- */

/** A quoted part behind its opening quote; `*rest` moves behind the closing one. */
static enum status read_quoted(struct str *rest, struct buf *out, struct err *err)
{
    for (;;) {
        size_t end = str_find_char(*rest, '"');
        if (end == SIZE_MAX) {
            return err_set(err, E_INVALID, "a double quote in the name is not closed");
        }
        TRY(buf_append(out, str_take(*rest, end)) == OK ? OK : err_no_memory(err));
        *rest = str_skip(*rest, end + 1);
        if (rest->len == 0 || rest->ptr[0] != '"') {
            return OK;
        }
        TRY(buf_append_char(out, '"') == OK ? OK : err_no_memory(err));
        *rest = str_skip(*rest, 1);
    }
}

/** One part; `*more_out`: a dot and another one follow. Of `bare` parts only those without odd
 * characters are taken, where `strict`. */
static enum status read_part(struct str *rest, bool strict, struct buf *out, bool *more_out,
                             struct err *err)
{
    if (rest->len > 0 && rest->ptr[0] == '"') {
        *rest = str_skip(*rest, 1);
        TRY(read_quoted(rest, out, err));
        if (rest->len > 0 && rest->ptr[0] != '.') {
            return err_set(err, E_INVALID, "'%c' stands behind a quoted part of the name",
                           rest->ptr[0]);
        }
    } else {
        size_t dot = str_find_char(*rest, '.');
        struct str part = dot == SIZE_MAX ? *rest : str_take(*rest, dot);
        if (strict && is_odd(part)) {
            return err_set(err, E_INVALID,
                           "the name \"%.*s\" holds a quote or a slash: put it in double quotes",
                           STR_ARG(part));
        }
        TRY(buf_append(out, part) == OK ? OK : err_no_memory(err));
        *rest = str_skip(*rest, part.len);
    }
    *more_out = rest->len > 0;
    *rest = str_skip(*rest, *more_out ? 1 : 0);
    return OK;
}

/** The parts of `text`, joined by the separator; `*last_out`: where the last one begins. */
static enum status read_parts(struct str text, bool strict, struct buf *out, size_t *last_out,
                              struct err *err)
{
    struct str rest = text;
    for (bool more = true; more;) {
        *last_out = out->len;
        TRY(read_part(&rest, strict, out, &more, err));
        struct str part = str_skip(buf_str(out), *last_out);
        TRY(check_part(part, more ? "namespace" : "name", err));
        if (more) {
            TRY(buf_append_char(out, CATALOG_NS_SEPARATOR) == OK ? OK : err_no_memory(err));
        }
    }
    return OK;
}

enum status table_name_parse(struct arena *arena, struct str text, struct table_name *out,
                             struct err *err)
{
    AUTO(buf_done) struct buf parts;
    size_t last = 0;
    buf_init(&parts, 64 * 1024);
    TRY(read_parts(text, true, &parts, &last, err));
    struct str joined = arena_str(arena, buf_str(&parts));
    if (joined.ptr == NULL) {
        return err_no_memory(err);
    }
    struct table_name name = { .ns = last == 0 ? STR("main") : str_take(joined, last - 1),
                               .name = str_skip(joined, last) };
    TRY(table_name_check(&name, err));
    *out = name;
    return OK;
}

enum status table_name_parse_ns(struct arena *arena, struct str text, struct str *out,
                                struct err *err)
{
    AUTO(buf_done) struct buf parts;
    size_t last = 0;
    buf_init(&parts, 64 * 1024);
    TRY(read_parts(text, true, &parts, &last, err));
    struct str joined = arena_str(arena, buf_str(&parts));
    if (joined.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(table_name_check_ns(joined, err));
    *out = joined;
    return OK;
}

static enum status print_part(struct buf *out, struct str part, bool quoted)
{
    if (!quoted) {
        return buf_append(out, part);
    }
    TRY(buf_append_char(out, '"'));
    for (struct str rest = part; rest.ptr != NULL;) {
        TRY(buf_append(out, str_split(&rest, '"')));
        TRY(rest.ptr == NULL ? OK : buf_append(out, STR("\"\"")));
    }
    return buf_append_char(out, '"');
}

enum status table_name_print_ns(struct str ns, struct buf *out)
{
    for (struct str rest = ns; rest.ptr != NULL;) {
        struct str level = str_split(&rest, CATALOG_NS_SEPARATOR);
        TRY(print_part(out, level, is_odd(level)));
        TRY(rest.ptr == NULL ? OK : buf_append_char(out, '.'));
    }
    return OK;
}

enum status table_name_print(const struct table_name *name, struct buf *out)
{
    if (!str_eq(name->ns, STR("main"))) {
        TRY(table_name_print_ns(name->ns, out));
        TRY(buf_append_char(out, '.'));
    }
    return print_part(out, name->name, is_odd(name->name));
}

/* --- SQL --- */

enum status table_name_schema(struct str ns, struct buf *out)
{
    bool nested = str_find_char(ns, CATALOG_NS_SEPARATOR) != SIZE_MAX;
    if (!nested && (ns.len == 0 || ns.ptr[0] != '"')) {
        return buf_append(out, ns);
    }
    for (struct str rest = ns; rest.ptr != NULL;) {
        struct str level = str_split(&rest, CATALOG_NS_SEPARATOR);
        TRY(print_part(out, level,
                       str_find_char(level, '.') != SIZE_MAX ||
                           str_find_char(level, '"') != SIZE_MAX));
        TRY(rest.ptr == NULL ? OK : buf_append_char(out, '.'));
    }
    return OK;
}

enum status table_name_of_schema(struct arena *arena, struct str schema, struct str out[2],
                                 size_t *count_out, struct err *err)
{
    size_t count = 0, last = 0;
    bool quoted = schema.len > 0 && schema.ptr[0] == '"';
    if (!quoted) {
        out[count++] = schema;
    }
    if (quoted || str_find_char(schema, '.') != SIZE_MAX) {
        AUTO(buf_done) struct buf parts;
        buf_init(&parts, 64 * 1024);
        if (read_parts(schema, false, &parts, &last, NULL) == OK) {
            out[count] = arena_str(arena, buf_str(&parts));
            TRY(out[count++].ptr == NULL ? err_no_memory(err) : OK);
        }
    }
    if (quoted) {
        out[count++] = schema;
    }
    *count_out = count;
    return OK;
}

/* --- copies --- */

enum status table_name_text(const struct table_name *name, struct arena *arena, struct str *out,
                            struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 64 * 1024);
    struct str copy = table_name_print(name, &text) == OK ? arena_str(arena, buf_str(&text))
                                                          : STR_EMPTY;
    if (copy.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = copy;
    return OK;
}

enum status table_name_copy(struct arena *arena, const struct table_name *name,
                            struct table_name *out, struct err *err)
{
    struct table_name copy = { .ns = arena_str(arena, name->ns),
                               .name = arena_str(arena, name->name) };
    if (copy.ns.ptr == NULL || copy.name.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = copy;
    return OK;
}

bool table_name_eq_nocase(const struct table_name *a, const struct table_name *b)
{
    return str_eq_nocase(a->ns, b->ns) && str_eq_nocase(a->name, b->name);
}
