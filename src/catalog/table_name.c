/*
 * Names of tables: "t" and "ns.t" in text, percent-encoded segments in keys.
 */
#include "catalog/table_name.h"

#include "base/encode.h"

enum { NAME_CHARS_MAX = 80 };

static enum status check_part(struct str part, const char *what, struct err *err)
{
    if (part.len == 0) {
        return err_set(err, E_INVALID, "the %s of a table is empty", what);
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
        if (len == 1 && strchr("/.\"'`", rest.ptr[0]) != NULL) {
            return err_set(err, E_INVALID, "the %s \"%.*s\" holds '%c', which a name may not", what,
                           STR_ARG(part), rest.ptr[0]);
        }
        rest = str_skip(rest, len);
    }
    if (chars > NAME_CHARS_MAX) {
        return err_set(err, E_INVALID, "the %s of a table has %zu characters, at most %d may be",
                       what, chars, NAME_CHARS_MAX);
    }
    return OK;
}

enum status table_name_check(const struct table_name *name, struct err *err)
{
    TRY(check_part(name->ns, "namespace", err));
    return check_part(name->name, "name", err);
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

enum status table_name_parse(struct str text, struct table_name *out, struct err *err)
{
    struct table_name name = { .ns = STR("main"), .name = text };
    size_t dot = str_find_char(text, '.');
    if (dot != SIZE_MAX) {
        name.ns = str_take(text, dot);
        name.name = str_skip(text, dot + 1);
    }
    TRY(table_name_check(&name, err));
    *out = name;
    return OK;
}

enum status table_name_print(const struct table_name *name, struct buf *out)
{
    if (str_eq(name->ns, STR("main"))) {
        return buf_append(out, name->name);
    }
    return buf_printf(out, "%.*s.%.*s", STR_ARG(name->ns), STR_ARG(name->name));
}

enum status table_name_text(const struct table_name *name, struct arena *arena, struct str *out,
                            struct err *err)
{
    bool bare = str_eq(name->ns, STR("main"));
    struct str text = bare ? arena_str(arena, name->name)
                           : arena_printf(arena, "%.*s.%.*s", STR_ARG(name->ns),
                                          STR_ARG(name->name));
    if (text.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = text;
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
