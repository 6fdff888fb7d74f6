/*
 * What a client says when it lists: lines of prefix, delimiter, after and limit, then keys, one a
 * line. All pages together must be the one long page, in order and without end, and the file
 * driver must give the same as the memory driver.
 */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "store/store.h"

enum { KEYS_MAX = 24, PAGES_MAX = 2 * KEYS_MAX /* more would be for ever */ };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Appends each line of the page; returns how many. */
static size_t page_text(struct arena *arena, const struct store_list *list, struct str *text)
{
    size_t o = 0, p = 0;
    while (o < list->object_count || p < list->prefix_count) {
        bool object = p == list->prefix_count ||
                      (o < list->object_count &&
                       str_cmp(list->objects[o].key, list->prefixes[p]) < 0);
        struct str line = object ? list->objects[o++].key : list->prefixes[p++];
        *text = arena_printf(arena, "%.*s%c%.*s\n", STR_ARG(*text), object ? '=' : '/',
                             STR_ARG(line));
        assert(text->ptr != NULL);
    }
    return o + p;
}

static struct str list_in_pages(struct store *store, struct store_list_opts opts,
                                struct arena *arena)
{
    struct str text = STR_EMPTY;
    for (int i = 0;; i++) {
        struct store_list list;
        assert(i < PAGES_MAX);
        if (store_list(store, &opts, arena, &list, NULL) != OK) {
            return STR("refused");
        }
        size_t count = page_text(arena, &list, &text);
        assert(opts.limit == 0 || count <= opts.limit);
        if (!list.truncated) {
            return text;
        }
        /* the first `after` is the client's: it may be inside a common prefix that comes next */
        assert(i == 0 || str_cmp(list.next, opts.after) > 0);
        opts.after = list.next;
    }
}

static void put_all(struct store *store, struct str keys)
{
    for (int i = 0; i < KEYS_MAX && keys.ptr != NULL; i++) {
        struct str key = str_split(&keys, '\n');
        if (!str_starts(key, STR("_lake"))) {
            (void)!store_put(store, key, STR("x"), NULL, NULL, NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/dev/shm/fuzz-pages-XXXXXX";
    struct store *mem = NULL, *fs = NULL;
    struct arena arena;
    struct str rest = str_from((const char *)data, size);
    if (size == 0 || mkdtemp(dir) == NULL) {
        return 0;
    }
    struct store_list_opts opts = { 0 };
    opts.prefix = str_split(&rest, '\n');
    opts.delimiter = rest.ptr != NULL ? str_split(&rest, '\n') : STR_EMPTY;
    opts.after = rest.ptr != NULL ? str_split(&rest, '\n') : STR_EMPTY;
    struct str limit = rest.ptr != NULL ? str_split(&rest, '\n') : STR_EMPTY;
    arena_init(&arena, 0);
    assert(store_mem_open(&(struct store_mem_opts){ 0 }, &mem, NULL) == OK);
    assert(store_fs_open(&(struct store_fs_opts){ .dir = dir }, &fs, NULL) == OK);
    /* the file driver's own */
    assert(store_put(mem, STR("_lake/format.json"), STR("x"), NULL, NULL, NULL) == OK);
    put_all(mem, rest);
    put_all(fs, rest);
    struct str whole = list_in_pages(mem, opts, &arena);
    assert(str_eq(whole, list_in_pages(fs, opts, &arena)));
    opts.limit = 1 + (limit.len > 0 ? (unsigned char)limit.ptr[0] % 5 : 0);
    assert(str_eq(whole, list_in_pages(mem, opts, &arena)));
    assert(str_eq(whole, list_in_pages(fs, opts, &arena)));
    store_close(mem);
    store_close(fs);
    arena_done(&arena);
    assert(io_remove_tree(dir, NULL) == OK);
    return 0;
}
