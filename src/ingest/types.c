/*
 * The types that a client says for columns: "zip:string,price:decimal(10,2)".
 */
#include "ingest/ingest.h"

#include "base/json.h"

enum { TYPES_MAX = 10000 };

/** Cut at the first comma outside of parentheses. */
static struct str next_item(struct str *rest)
{
    int depth = 0;
    size_t i = 0;
    for (; i < rest->len && (depth > 0 || rest->ptr[i] != ','); i++) {
        depth += rest->ptr[i] == '(';
        depth -= rest->ptr[i] == ')' && depth > 0;
    }
    struct str item = str_take(*rest, i);
    *rest = i < rest->len ? str_skip(*rest, i + 1) : (struct str){ 0 };
    return item;
}

static enum status read_type(struct arena *arena, struct str text, struct ice_type *out,
                             struct err *err)
{
    AUTO(buf_done) struct buf json;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    buf_init(&json, 0);
    if (json_append_string(&json, text) != OK) {
        return err_no_memory(err);
    }
    TRY(json_parse(buf_str(&json), &doc, err));
    enum status status = ice_type_parse(arena, yyjson_doc_get_root(doc), out, NULL);
    if (status == E_NO_MEMORY) {
        return err_no_memory(err);
    }
    return status == OK && out->kind != ICE_OTHER
               ? OK
               : err_set(
                     err, E_INVALID,
                     "types: \"%.*s\" is no type; there are boolean, int, long, float, double, "
                     "decimal(p,s), date, time, timestamp, timestamptz, string, uuid and binary",
                     STR_ARG(text));
}

enum status ingest_types_parse(struct arena *arena, struct str text, struct ingest_type **out,
                               size_t *count_out, struct err *err)
{
    size_t count = 0, cap = 1;
    for (size_t i = 0; i < text.len; i++) {
        cap += text.ptr[i] == ',';
    }
    if (cap > TYPES_MAX) {
        return err_set(err, E_INVALID, "types: more than %d columns", TYPES_MAX);
    }
    struct ingest_type *types = arena_array(arena, cap, sizeof(*types));
    if (types == NULL) {
        return err_no_memory(err);
    }
    for (struct str rest = text; rest.ptr != NULL; count++) {
        struct str item = next_item(&rest);
        size_t colon = str_rfind_char(item, ':');
        if (colon == SIZE_MAX || str_trim(str_take(item, colon)).len == 0) {
            return err_set(err, E_INVALID, "types: \"%.*s\" is not \"column:type\"", STR_ARG(item));
        }
        types[count].name = arena_str(arena, str_trim(str_take(item, colon)));
        if (types[count].name.ptr == NULL) {
            return err_no_memory(err);
        }
        TRY(read_type(arena, str_trim(str_skip(item, colon + 1)), &types[count].type, err));
    }
    *out = types;
    *count_out = count;
    return OK;
}
