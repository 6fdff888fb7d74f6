/*
 * Keys from outside. The input is a list of operations on keys, one a line: '+' puts, '-' deletes,
 * '?' lists with the rest as prefix, '/' lists with it as prefix and a slash as delimiter, '>'
 * lists behind it. The file driver must do what the memory driver does, and never leave its folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "store/store.h"

enum { LINES_MAX = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store *mem, *fs;

static bool format_file(struct str key)
{
    return str_eq(key, STR("_lake/format.json"));
}

/** Keys that only the file driver keeps for itself. */
static bool own(struct str key)
{
    static const char *const names[] = { "_lake" };
    return str_starts(key, str_of(names[0]));
}

static void list_both(const struct store_list_opts *opts)
{
    struct arena arena;
    struct store_list a, b;
    arena_init(&arena, 0);
    enum status of_mem = store_list(mem, opts, &arena, &a, NULL);
    enum status of_fs = store_list(fs, opts, &arena, &b, NULL);
    assert(of_mem == of_fs);
    size_t i = 0;
    for (size_t j = 0; of_fs == OK && j < b.object_count; j++) {
        if (!format_file(b.objects[j].key)) {
            assert(i < a.object_count && str_eq(a.objects[i].key, b.objects[j].key));
            assert(strcmp(a.objects[i].etag, b.objects[j].etag) == 0);
            i++;
        }
    }
    assert(of_fs != OK || i == a.object_count);
    i = 0;
    for (size_t j = 0; of_fs == OK && j < b.prefix_count; j++) {
        if (!own(b.prefixes[j])) {
            assert(i < a.prefix_count && str_eq(a.prefixes[i], b.prefixes[j]));
            i++;
        }
    }
    assert(of_fs != OK || i == a.prefix_count);
    arena_done(&arena);
}

static void one(struct str line)
{
    struct str rest = str_skip(line, 1);
    if (line.len == 0 || own(rest)) {
        return;
    }
    switch (line.ptr[0]) {
    case '+':
        assert(store_put(mem, rest, rest, NULL, NULL, NULL) ==
               store_put(fs, rest, rest, NULL, NULL, NULL));
        break;
    case '-':
        assert(store_delete(mem, rest, NULL) == store_delete(fs, rest, NULL));
        break;
    case '?':
        list_both(&(struct store_list_opts){ .prefix = rest });
        break;
    case '/':
        list_both(&(struct store_list_opts){ .prefix = rest, .delimiter = STR("/") });
        break;
    case '>':
        list_both(&(struct store_list_opts){ .after = rest });
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char dir[] = "/dev/shm/fuzz-store-XXXXXX";
    struct str rest = str_from((const char *)data, size);
    if (mkdtemp(dir) == NULL) {
        return 0;
    }
    assert(store_mem_open(&(struct store_mem_opts){ 0 }, &mem, NULL) == OK);
    assert(store_fs_open(&(struct store_fs_opts){ .dir = dir }, &fs, NULL) == OK);
    for (int i = 0; i < LINES_MAX && rest.ptr != NULL && size > 0; i++) {
        one(str_split(&rest, '\n'));
    }
    list_both(NULL);
    store_close(mem);
    store_close(fs);
    assert(io_remove_tree(dir, NULL) == OK);
    return 0;
}
