/*
 * Paths: cut at dots, followed through canonical text.
 *
 * Through objects a path has one way. An array in the middle is left by each of its objects, which
 * take no part of the path, and by the element whose position the next part names, which takes it.
 */
#include "collection/path.h"

#include "base/json.h"
#include "collection/value.h"

struct walk {
    const struct path *path;
    bool (*visit)(void *ctx, const char *value);
    void *ctx;
};

static uint32_t position_of(struct str name)
{
    uint64_t value;
    bool plain = name.len > 0 && (name.len == 1 || name.ptr[0] != '0') && str_to_u64(name, &value);
    return plain && value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

/** One name, without its escapes; moves `*at` behind the dot that ends it, or to the end. */
static enum status cut(struct str text, size_t *at, bool *more, struct buf *name, struct err *err)
{
    *more = false;
    while (*at < text.len) {
        char c = text.ptr[(*at)++];
        if (c == '.') {
            *more = true;
            return OK;
        }
        if (c == '\\') {
            c = *at < text.len ? text.ptr[(*at)++] : '\0';
            if (c != '.' && c != '\\') {
                return err_set(err, E_INVALID,
                               "filter: path \"%.*s\": a backslash stands before '.' or '\\' alone",
                               STR_ARG(text));
            }
        }
        if (buf_append_char(name, c) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

static enum status add_part(struct path *path, struct str name, struct arena *arena,
                            struct err *err)
{
    AUTO(buf_done) struct buf text;
    yyjson_val value = { 0 };
    buf_init(&text, 0);
    if (path->count == PATH_PARTS_MAX) {
        return err_set(err, E_INVALID, "filter: path \"%.*s\" has more than %d names",
                       STR_ARG(path->text), PATH_PARTS_MAX);
    }
    bool set = yyjson_set_strn(&value, name.ptr != NULL ? name.ptr : "", name.len);
    assert(set);
    (void)set;
    if (value_write(&value, &text) != OK) {
        return err_no_memory(err);
    }
    struct str key = arena_str(arena, str_from(text.ptr + 1, text.len - 2));
    if (key.ptr == NULL) {
        return err_no_memory(err);
    }
    path->parts[path->count++] = (struct path_part){ .key = key, .position = position_of(name) };
    return OK;
}

enum status path_parse(struct str text, struct arena *arena, struct path **out, struct err *err)
{
    AUTO(buf_done) struct buf name;
    struct path *path = ARENA_NEW(arena, struct path);
    buf_init(&name, 0);
    if (path == NULL) {
        return err_no_memory(err);
    }
    path->text = arena_str(arena, text);
    path->hash = str_hash(text, 0);
    path->parts = arena_array(arena, PATH_PARTS_MAX, sizeof(*path->parts));
    if (path->text.ptr == NULL || path->parts == NULL) {
        return err_no_memory(err);
    }
    size_t at = 0;
    bool more = true;
    while (more) {
        buf_clear(&name);
        TRY(cut(text, &at, &more, &name, err));
        TRY(add_part(path, buf_str(&name), arena, err));
    }
    *out = path;
    return OK;
}

static bool walk_leaf(const struct walk *walk, const char *value)
{
    if (value_kind(value) == VALUE_ARRAY) {
        const char *at = value;
        for (const char *item; (item = value_next_item(&at)) != NULL;) {
            if (walk->visit(walk->ctx, item)) {
                return true;
            }
        }
    }
    return walk->visit(walk->ctx, value);
}

static bool walk_array(const struct walk *walk, const char *array, size_t part);

static bool walk_object(const struct walk *walk, const char *object, size_t part)
{
    for (;;) {
        const char *value = value_member(object, walk->path->parts[part].key);
        part++;
        if (value == NULL) {
            return walk->visit(walk->ctx, NULL);
        }
        if (part == walk->path->count) {
            return walk_leaf(walk, value);
        }
        switch (value_kind(value)) {
        case VALUE_OBJECT:
            object = value;
            break;
        case VALUE_ARRAY:
            return walk_array(walk, value, part);
        case VALUE_MISSING:
        case VALUE_NULL:
        case VALUE_FALSE:
        case VALUE_TRUE:
        case VALUE_NUMBER:
        case VALUE_STRING:
            return walk->visit(walk->ctx, NULL);
        }
    }
}

/** The element that a part names by its position. */
static bool walk_position(const struct walk *walk, const char *item, size_t part)
{
    part++;
    if (part == walk->path->count) {
        return walk->visit(walk->ctx, item);
    }
    enum value_kind kind = value_kind(item);
    if (kind == VALUE_OBJECT) {
        return walk_object(walk, item, part);
    }
    return kind == VALUE_ARRAY && walk_array(walk, item, part);
}

static bool walk_array(const struct walk *walk, const char *array, size_t part)
{
    uint32_t position = 0;
    for (const char *item; (item = value_next_item(&array)) != NULL; position++) {
        if (value_kind(item) == VALUE_OBJECT && walk_object(walk, item, part)) {
            return true;
        }
        if (position == walk->path->parts[part].position && walk_position(walk, item, part)) {
            return true;
        }
    }
    return false;
}

bool path_walk(const struct path *path, const char *object,
               bool (*visit)(void *ctx, const char *value), void *ctx)
{
    struct walk walk = { .path = path, .visit = visit, .ctx = ctx };
    return walk_object(&walk, object, 0);
}
