/* See helper.h. */
#include "helper.h"

struct str json_text(struct arena *arena, const char *text)
{
    char *copy = arena_cstr(arena, str_of(text));
    assert_non_null(copy);
    for (char *c = copy; *c != '\0'; c++) {
        *c = (char)(*c == '\'' ? '"' : *c);
    }
    return str_of(copy);
}

struct ice_schema schema_of(struct arena *arena, const char *text)
{
    struct err err = { 0 };
    struct ice_schema schema = { 0 };
    yyjson_doc *doc = NULL;
    MUST(json_parse(json_text(arena, text), &doc, &err));
    MUST(ice_schema_parse(arena, yyjson_doc_get_root(doc), &schema, &err));
    yyjson_doc_free(doc);
    return schema;
}

void must(enum status status, const struct err *err)
{
    if (status != OK) {
        fail_msg("%s: %s", status_name(status), err->msg);
    }
}
