/*
 * Any bytes as JSON from outside: refused with a message, or written again by our own writer to a
 * text that is taken again and gives the same text.
 */
#include <assert.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool again(struct str text, struct buf *out)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct err err = { 0 };
    struct json_writer w;
    if (json_parse(text, &doc, &err) != OK) {
        assert(err.kind != OK && err.msg[0] != '\0');
        return false;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str s;
    int64_t i;
    uint64_t u;
    double d;
    bool b;
    if (yyjson_is_obj(root)) { /* whatever is there, a wrong type is an error and no crash */
        (void)!json_get_str(root, "a", JSON_REQUIRED, &s, &err);
        (void)!json_get_i64(root, "a", JSON_REQUIRED, &i, &err);
        (void)!json_get_u64(root, "a", JSON_REQUIRED, &u, &err);
        (void)!json_get_double(root, "a", JSON_REQUIRED, &d, &err);
        (void)!json_get_bool(root, "a", JSON_REQUIRED, &b, &err);
    }
    json_writer_init(&w, out);
    jw_arr_begin(&w);
    jw_val(&w, root);
    jw_arr_end(&w);
    assert(json_writer_end(&w) == OK);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf first, second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    if (again(str_from((const char *)data, size), &first)) {
        /* the array around it is one level more than may be */
        struct str inner = str_take(str_skip(buf_str(&first), 1), first.len - 2);
        assert(again(inner, &second));
        assert(str_eq(buf_str(&first), buf_str(&second)));
    }
    buf_done(&first);
    buf_done(&second);
    return 0;
}
