/*
 * A client may choose its table's folder, but only one of its own, below the warehouse. Clients cut
 * paths at '#' and '?' and decode '%', so a name with one of them would be written to one place and
 * read from another.
 */
#include "catalog/site.h"

#include "catalog/names.h"
#include "catalog/table_name.h"

enum {
    /* "wh/<warehouse>/<namespace>/<table>": what is above belongs to many */
    DEPTH_MIN = 4,
    LISTED_BYTES_MAX = 256 * 1024 * 1024
};

static bool is_plain(struct str uri)
{
    return !str_has_control(uri) && str_find_char(uri, '#') == SIZE_MAX &&
           str_find_char(uri, '?') == SIZE_MAX && str_find_char(uri, '%') == SIZE_MAX;
}

static size_t depth(struct str key)
{
    size_t count = 0;
    while (key.len > 0) {
        count += str_split(&key, '/').len > 0 ? 1 : 0;
    }
    return count;
}

static enum status warehouse_key(struct local *local, const char *what, struct str uri,
                                 struct arena *arena, struct str *out, struct err *err)
{
    struct str key, prefix = arena_printf(arena, "wh/%.*s/", STR_ARG(local->warehouse));
    if (prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    if (!is_plain(uri)) {
        return err_set(err, E_INVALID,
                       "%s \"%.*s\" holds '#', '?', '%%' or a control character, which programs "
                       "read in different ways",
                       what, STR_ARG(uri));
    }
    TRY(locate_key(local->base.reader->locate, uri, arena, &key, err));
    if (!str_starts(key, prefix)) {
        return err_set(err, E_INVALID, "%s \"%.*s\" lies outside of the warehouse \"%.*s\"", what,
                       STR_ARG(uri), STR_ARG(local->warehouse));
    }
    *out = key;
    return OK;
}

enum status site_key(struct local *local, struct str uri, struct arena *arena, struct str *out,
                     struct err *err)
{
    struct str key;
    TRY(warehouse_key(local, "the location", uri, arena, &key, err));
    if (depth(key) < DEPTH_MIN) {
        return err_set(err, E_INVALID,
                       "the location \"%.*s\" is not one table's own: a folder below that of a "
                       "namespace is expected",
                       STR_ARG(uri));
    }
    *out = key;
    return OK;
}

enum status site_check_file(struct local *local, const char *what, struct str uri, struct err *err)
{
    struct arena arena;
    struct str key;
    arena_init(&arena, 64 * 1024);
    enum status status = warehouse_key(local, what, uri, &arena, &key, err);
    arena_done(&arena);
    return status;
}

bool site_overlaps(struct str a, struct str b)
{
    struct str shorter = a.len < b.len ? a : b, longer = a.len < b.len ? b : a;
    return str_starts(longer, shorter) &&
           (longer.len == shorter.len || longer.ptr[shorter.len] == '/');
}

static enum status check_other(struct local *local, const struct table_summary *other,
                               struct str key, struct str uuid, struct arena *arena,
                               struct err *err)
{
    struct str folder;
    if (str_eq_nocase(other->uuid, uuid)) {
        return err_set(err, E_CONFLICT, "%s \"%.*s\" has the uuid %.*s already",
                       other->is_view ? "view" : "table", STR_ARG(other->name.name), STR_ARG(uuid));
    }
    /* One whose metadata lies in no folder of ours cannot be met in one. */
    if (locate_table(local->base.reader->locate, other->metadata_location, arena, &folder, NULL) ==
            OK &&
        site_overlaps(folder, key)) {
        return err_set(err, E_INVALID, "the location \"%.*s\" overlaps that of %s \"%.*s\"",
                       STR_ARG(key), other->is_view ? "view" : "table", STR_ARG(other->name.name));
    }
    return OK;
}

static enum status look_around(struct local *local, const struct table_name *name, struct str key,
                               struct str uuid, struct arena *arena, struct err *err)
{
    struct names names;
    TRY(names_list(local, STR_EMPTY, arena, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        bool live = false;
        struct table_summary other;
        if (str_eq(entry->name.ns, name->ns) && str_eq(entry->name.name, name->name)) {
            continue;
        }
        enum status status = names_summary(local, entry, arena, &live, &other, err);
        if (status == E_CORRUPT || status == E_UNSUPPORTED) {
            continue; /* a damaged table must not stop all others from being made */
        }
        TRY(status);
        if (live) {
            TRY(check_other(local, &other, key, uuid, arena, err));
        }
    }
    return OK;
}

enum status site_check_free(struct local *local, const struct table_name *name, struct str key,
                            struct str uuid, struct err *err)
{
    struct arena arena;
    arena_init(&arena, LISTED_BYTES_MAX);
    enum status status = look_around(local, name, key, uuid, &arena, err);
    arena_done(&arena);
    return status;
}
