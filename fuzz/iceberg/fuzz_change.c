/*
 * Any JSON as what another program asks of a table: {"base","requirements","updates"} of a change,
 * or {"create"} of a new table. What comes out must be readable, keep what no update names, and be
 * left alone by the same requirements and no updates.
 */
#include "iceberg/change.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

/** A new document is a base that changes: nothing for no updates, a property for one. */
static void change_again(struct arena *arena, struct str text)
{
    yyjson_doc *doc = NULL, *updates = NULL;
    struct ice_change change = { .now_ms = 1 };
    struct ice_change_result result;
    struct buf out;
    struct err err = { 0 };
    buf_init(&out, 0);
    check(json_parse(text, &doc, &err) == OK);
    check(ice_change_apply(yyjson_doc_get_root(doc), &change, arena, &out, &result, &err) == OK);
    check(!result.changed && result.metadata == NULL && out.len == 0);
    check(json_parse(STR("[{\"action\":\"set-properties\",\"updates\":{\"fuzz\":\"x\"}},"
                         "{\"action\":\"remove-properties\",\"removals\":[\"fuzz\"]},"
                         "{\"action\":\"set-properties\",\"updates\":{\"fuzz\":\"y\"}}]"),
                     &updates, &err) == OK);
    change.updates = yyjson_doc_get_root(updates);
    check(ice_change_apply(yyjson_doc_get_root(doc), &change, arena, &out, &result, &err) == OK);
    check(result.changed);
    check(str_eq(ice_metadata_property(result.metadata, STR("fuzz")), STR("y")));
    ice_metadata_unref(result.metadata);
    json_doc_done(&doc);
    json_doc_done(&updates);
    buf_done(&out);
}

static void change(struct arena *arena, yyjson_val *root)
{
    yyjson_val *base = yyjson_obj_get(root, "base");
    struct ice_change change = { .requirements = yyjson_obj_get(root, "requirements"),
                                 .updates = yyjson_obj_get(root, "updates"),
                                 .previous_metadata_location = STR("s3://m"),
                                 .now_ms = 1 };
    struct ice_metadata *metadata = NULL;
    struct ice_change_result result;
    struct buf out, text;
    struct json_writer w;
    buf_init(&out, 0);
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_val(&w, base);
    bool known = base == NULL || (json_writer_end(&w) == OK &&
                                  ice_metadata_parse(buf_str(&text), &metadata, NULL) == OK);
    ice_metadata_unref(metadata);
    if (known) {
        (void)ice_change_is_repeat(base, &change);
        (void)!ice_change_require(base, change.requirements, NULL);
        if (ice_change_apply(base, &change, arena, &out, &result, NULL) == OK && result.changed) {
            ice_metadata_unref(result.metadata);
            change_again(arena, buf_str(&out));
        }
    }
    buf_done(&out);
    buf_done(&text);
}

static void create(struct arena *arena, yyjson_val *request)
{
    const struct ice_property defaults[] = { { STR("commit.retry.num-retries"), STR("20") } };
    const struct ice_create asked = { .request = request,
                                      .uuid = STR("9c12d441-03fe-4693-9a96-a0705ddf69c1"),
                                      .location = STR("s3://lake/t"),
                                      .defaults = defaults,
                                      .default_count = 1,
                                      .now_ms = 1 };
    struct buf out;
    buf_init(&out, 0);
    if (ice_create_table(&asked, &out, NULL) == OK) {
        change_again(arena, buf_str(&out));
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    yyjson_doc *doc = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    if (json_parse(str_from((const char *)data, size), &doc, NULL) == OK) {
        yyjson_val *root = yyjson_doc_get_root(doc);
        if (yyjson_obj_get(root, "create") != NULL) {
            create(&arena, yyjson_obj_get(root, "create"));
        } else {
            change(&arena, root);
        }
        json_doc_done(&doc);
    }
    arena_done(&arena);
    return 0;
}
