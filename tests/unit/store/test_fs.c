/* What only the file driver promises: the layout, damage, links, processes, crashes, faults. */
#include "contract.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/io.h"
#include "store/fs_priv.h"

static char dir[64];

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/store-fs-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    return io_remove_tree(dir, NULL) != OK;
}

static struct store *open_with(struct store_fault_hook hook)
{
    struct err err = { 0 };
    struct store *store = NULL;
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir, .hook = hook }, &store, &err));
    return store;
}

static struct store *open_plain(void)
{
    return open_with((struct store_fault_hook){ 0 });
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int file_count(const char *name)
{
    struct arena arena;
    arena_init(&arena, 0);
    char command[600];
    snprintf(command, sizeof command, "find '%s/%s' -type f | wc -l", dir, name);
    FILE *pipe = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    arena_done(&arena);
    return count;
}

static enum status read_status(struct store *store, const char *key)
{
    struct buf out;
    buf_init(&out, 0);
    enum status status = store_read(store, str_of(key), NULL, &out, NULL, NULL);
    buf_done(&out);
    return status;
}

/* --- layout --- */

static void a_plain_key_is_its_path_with_its_bytes(void **state)
{
    struct store *store = open_plain();
    put_text(store, "wh/lake/main/t-01234567/data/a.parquet", "PAR1");
    struct buf got;
    buf_init(&got, 0);
    assert_int_equal(io_read_file(path_of("wh/lake/main/t-01234567/data/a.parquet"), &got, NULL),
                     OK);
    assert_true(str_eq(buf_str(&got), STR("PAR1")));
    buf_done(&got);
    store_close(store);
}

static void everything_is_there_after_reopening(void **state)
{
    struct store *store = open_plain();
    put_text(store, "a", "1");
    put_text(store, "a/b", "2");
    put_text(store, "c/", "3");
    store_close(store);
    store = open_plain();
    expect_text(store, "a", "1");
    expect_text(store, "a/b", "2");
    expect_text(store, "c/", "3");
    store_close(store);
}

static void files_of_others_are_objects_with_a_weak_tag(void **state)
{
    struct store *store = open_plain();
    struct store_info first, second;
    assert_int_equal(mkdir(path_of("theirs"), 0755), 0);
    write_file("theirs/x.csv", "a,b\n");
    expect_text(store, "theirs/x.csv", "a,b\n");
    assert_int_equal(store_stat(store, STR("theirs/x.csv"), &first, NULL), OK);
    assert_true(first.etag_weak);
    write_file("theirs/x.csv", "a,b,c\n");
    assert_int_equal(store_stat(store, STR("theirs/x.csv"), &second, NULL), OK);
    assert_string_not_equal(first.etag, second.etag);
    struct err err = { 0 };
    MUST(store_copy(store, STR("theirs/x.csv"), STR("ours/x.csv"), NULL, &err));
    write_file("theirs/x.csv", "changed in place");
    expect_text(store, "ours/x.csv", "a,b,c\n");
    MUST(store_put(store, STR("theirs/x.csv"), STR("put"), NULL, NULL, &err));
    expect_text(store, "theirs/x.csv", "put");
    store_close(store);
}

static void our_own_folders_hold_no_objects(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_info info;
    write_file("_lake/secret", "s");
    const char *keys[] = { "_lake/secret",   "_lake/tmp/x",    "_lake/odd/x",
                           "_lake/locks/00", "_lake/sums/x/y", "_lake/new/x" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(store_put(store, str_of(keys[i]), STR("x"), NULL, NULL, &err), E_DENIED);
        assert_int_equal(store_stat(store, str_of(keys[i]), &info, &err), E_DENIED);
        assert_int_equal(read_status(store, keys[i]), E_DENIED);
        assert_int_equal(store_delete(store, str_of(keys[i]), &err), E_DENIED);
    }
    put_text(store, "_lake/cat/w/x.json", "{}");
    struct arena arena;
    arena_init(&arena, 0);
    assert_string_equal(list_text(store, &arena, NULL), "_lake/cat/w/x.json");
    arena_done(&arena);
    store_close(store);
}

static void the_format_file_names_the_lake_and_its_roots(void **state)
{
    char moved[sizeof dir + 8], expected[200];
    store_close(open_plain());
    struct buf first, second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    assert_int_equal(io_read_file(path_of("_lake/format.json"), &first, NULL), OK);
    store_close(open_plain());
    assert_int_equal(io_read_file(path_of("_lake/format.json"), &second, NULL), OK);
    assert_true(str_eq(buf_str(&first), buf_str(&second)));
    snprintf(expected, sizeof expected, "\"roots\":[\"file://%s\"]}", dir);
    assert_true(str_ends(buf_str(&first), str_of(expected)));
    snprintf(moved, sizeof moved, "%s-moved", dir);
    snprintf(expected, sizeof expected, "\"roots\":[\"file://%s\",\"file://%s\"]}", dir, moved);
    assert_int_equal(rename(dir, moved), 0);
    memcpy(dir, moved, strlen(moved) + 1 < sizeof dir ? strlen(moved) + 1 : sizeof dir);
    store_close(open_plain());
    buf_clear(&second);
    assert_int_equal(io_read_file(path_of("_lake/format.json"), &second, NULL), OK);
    assert_true(str_ends(buf_str(&second), str_of(expected)));
    struct store *store = NULL;
    struct err err = { 0 };
    write_file("_lake/format.json", "{\"version\":2,\"cluster_id\":\"x\",\"roots\":[]}");
    assert_int_equal(removexattr(path_of("_lake/format.json"), "user.lakehouse"), 0);
    assert_int_equal(store_fs_open(&(struct store_fs_opts){ .dir = dir }, &store, &err),
                     E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "version 2"));
    buf_done(&first);
    buf_done(&second);
}

static void record_of_hello(struct fs_record *made)
{
    struct fs_hash hash;
    assert_int_equal(fs_hash_init(&hash, made, false, NULL), OK);
    fs_hash_update(&hash, STR("hello"));
    fs_hash_final(&hash);
    fs_hash_done(&hash);
    made->modified_ns = INT64_C(1704164645) * 1000000000;
}

/** The record has these bytes, and is none with any of them changed or cut off. */
static void expect_encoded(const struct fs_record *made, const uint8_t *example, size_t size)
{
    struct fs_record got;
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    assert_int_equal(fs_record_encode(made, bytes), size);
    assert_memory_equal(bytes, example, size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x10;
        assert_false(fs_record_decode(bytes, size, &got));
        bytes[i] ^= 0x10;
        assert_false(fs_record_decode(example, i, &got));
    }
}

static void a_record_with_attributes_has_the_documented_bytes(void **state)
{
    static const uint8_t example[] = {
        0x6c, 0x61, 0x6b, 0x65, 0x02, 0x14, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x32, 0x01, 0x30, 0xb7, 0x68, 0xa6, 0x17, 0x5d, 0x41, 0x40, 0x2a,
        0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92, 0x01, 0x00,
        0x00, 0x00, 0x6e, 0xcc, 0x88, 0xe6, 0x00, 0x00, 0x00, 0x00, 0x1a, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x4c, 0xbb, 0x71, 0x9a, 0x0c, 0x00,
        0x0a, 0x00, 0x63, 0x6f, 0x6e, 0x74, 0x65, 0x6e, 0x74, 0x2d, 0x74, 0x79, 0x70, 0x65,
        0x74, 0x65, 0x78, 0x74, 0x2f, 0x70, 0x6c, 0x61, 0x69, 0x6e,
    };
    struct fs_record made, got;
    uint8_t bytes[FS_RECORD_BYTES_MAX];
    char packed[] = "\x0c\0\x0a\0"
                    "content-type"
                    "text/plain";
    record_of_hello(&made);
    fs_record_attrs_set(&made, str_from(packed, sizeof packed - 1));
    expect_encoded(&made, example, sizeof example);
    /* An ETag of parts, in both the record and what others see. */
    struct stat st = { .st_size = 5 };
    struct store_info info;
    made.part_count = 10000;
    size_t len = fs_record_encode(&made, bytes);
    assert_true(fs_record_decode(bytes, len, &got));
    assert_true(str_eq(fs_record_attrs(&got), str_from(packed, sizeof packed - 1)));
    fs_info_fill(FS_XATTR, &got, &st, &info);
    assert_string_equal(info.etag, "5d41402abc4b2a76b9719d911017c592-10000");
}

/** Attributes that the xattr has no room for: their file is looked for, and goes with the
 * object. */
static void long_attributes_have_a_file_of_their_own(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    struct store_info info;
    static char value[STORE_ATTRS_BYTES_MAX - 1];
    memset(value, 'v', sizeof value);
    const struct store_attr attr = { STR("n"), str_from(value, sizeof value) };
    MUST(store_writer_open(store, STR("k"), NULL, &writer, &err));
    MUST(store_writer_attrs(writer, &(struct store_attrs){ &attr, 1 }, &err));
    MUST(store_writer_commit(writer, NULL, &err));
    MUST(store_stat(store, STR("k"), &info, &err));
    assert_false(info.etag_weak);
    if (file_count("_lake/sums") > 0) { /* some file systems have room for all of it */
        char command[200];
        /* A copy of the folder keeps them, although its inodes are others. */
        snprintf(command, sizeof command, "cd %s && cp -a k k2 && mv k2 k", dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(read_status(store, "k"), OK);
        snprintf(command, sizeof command, "rm %s/_lake/sums/*", dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(read_status(store, "k"), E_CORRUPT);
        MUST(store_writer_open(store, STR("k"), NULL, &writer, &err));
        MUST(store_writer_attrs(writer, &(struct store_attrs){ &attr, 1 }, &err));
        MUST(store_writer_commit(writer, NULL, &err));
        assert_int_equal(file_count("_lake/sums"), 1);
    }
    put_text(store, "k", "short");
    assert_int_equal(file_count("_lake/sums"), 0);
    store_close(store);
}

static void the_record_has_the_documented_bytes(void **state)
{
    /* The example of docs/formats/local-store.md: the object "hello", at 2024-01-02T03:04:05Z. */
    static const uint8_t example[] = {
        0x6c, 0x61, 0x6b, 0x65, 0x01, 0x14, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x32, 0x01, 0x30, 0xb7, 0x68, 0xa6, 0x17, 0x5d, 0x41,
        0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5,
        0x92, 0x01, 0x00, 0x00, 0x00, 0xb6, 0x30, 0xe0, 0x6e, 0x4c, 0xbb, 0x71, 0x9a,
    };
    struct fs_record made, got;
    record_of_hello(&made);
    expect_encoded(&made, example, sizeof example);
    assert_true(fs_record_decode(example, sizeof example, &got));
    assert_int_equal(got.size, 5);
    assert_int_equal(got.sums[0], 0x9a71bb4c);
}

static void checksums_of_a_huge_stream_are_joined_in_place(void **state)
{
    /* 641 MiB of a pattern: one block more than the list holds, so neighbours are joined into 2
     * MiB. */
    enum { MIB = 1024 * 1024, COUNT = 641 };
    char *bytes = malloc(2 * MIB);
    struct fs_record record;
    struct fs_hash hash;
    assert_int_equal(fs_hash_init(&hash, &record, false, NULL), OK);
    for (int i = 0; i < COUNT; i++) {
        memset(bytes, i, MIB);
        fs_hash_update(&hash, str_from(bytes, MIB));
    }
    fs_hash_update(&hash, STR("tail"));
    fs_hash_final(&hash);
    fs_hash_done(&hash);
    assert_int_equal(record.block_log2, 21);
    assert_int_equal(record.sum_count, 321);
    for (int i = 0; i < 320; i++) {
        memset(bytes, 2 * i, MIB);
        memset(bytes + MIB, 2 * i + 1, MIB);
        assert_int_equal(record.sums[i], crc32c(0, bytes, 2 * MIB));
    }
    memset(bytes, 640, MIB);
    memcpy(bytes + MIB, "tail", 4);
    assert_int_equal(record.sums[320], crc32c(0, bytes, MIB + 4));
    free(bytes);
}

/* --- damage --- */

static void flip_byte(const char *name, off_t offset)
{
    AUTO(fd_done) int fd = open(path_of(name), O_RDWR);
    char c;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, offset), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, offset), 1);
}

/** Random, so that the same bytes written twice are told apart, and in a form that no client takes
 * for an MD5. The checksums of the bytes are as ever. */
static void an_opaque_tag_is_fresh_and_no_md5(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_info info[2];
    const struct store_cond how = { .opaque_etag = true };
    for (int i = 0; i < 2; i++) {
        MUST(store_put(store, STR("opaque"), STR("hello"), &how, &info[i], &err));
        assert_int_equal(strlen(info[i].etag), MD5_HEX + 2);
        assert_string_equal(info[i].etag + MD5_HEX, "-1");
    }
    assert_string_not_equal(info[0].etag, info[1].etag);
    flip_byte("opaque", 1);
    assert_int_equal(read_status(store, "opaque"), E_CORRUPT);
    store_close(store);
}

static void a_damaged_byte_is_noticed_and_not_passed_on(void **state)
{
    enum { SIZE = 2 * 1024 * 1024 + 100 };
    struct err err = { 0 };
    for (int without_xattr = 0; without_xattr < 2; without_xattr++) {
        struct store *store = open_plain();
        ((struct fs_store *)store)->no_xattr = without_xattr;
        char *bytes = calloc(1, SIZE), *got = malloc(SIZE);
        struct store_object *object = NULL;
        size_t n = 0;
        int fd = -1;
        MUST(store_put(store, STR("d/x"), str_from(bytes, SIZE), NULL, NULL, &err));
        assert_int_equal(read_status(store, "d/x"), OK); /* remembered as checked now */
        flip_byte("d/x", 1024 * 1024 + 5);
        assert_int_equal(read_status(store, "d/x"), E_CORRUPT);
        MUST(store_open(store, STR("d/x"), &object, &err));
        MUST(store_object_read(object, 0, got, 1000, &n, &err)); /* another block */
        assert_int_equal(store_object_read(object, 1024 * 1024, got, 4, &n, &err), E_CORRUPT);
        assert_int_equal(store_object_read(object, 1024 * 1024 - 2, got, 4, &n, &err), E_CORRUPT);
        assert_int_equal(store_object_fd(object, 0, SIZE, &fd, &err), E_CORRUPT);
        MUST(store_object_fd(object, 0, 100, &fd, &err));
        fd_done(&fd);
        assert_int_equal(store_copy(store, STR("d/x"), STR("d/y"), NULL, &err),
                         without_xattr ? E_CORRUPT : OK);
        flip_byte("d/x", 1024 * 1024 + 5);
        assert_int_equal(read_status(store, "d/x"), OK);
        store_object_close(object);
        assert_int_equal(truncate(path_of("d/x"), SIZE - 1), 0);
        assert_int_equal(read_status(store, "d/x"), E_CORRUPT);
        put_text(store, "d/x", "whole again");
        expect_text(store, "d/x", "whole again");
        free(bytes);
        free(got);
        MUST(store_delete(store, STR("d/x"), &err));
        MUST(store_delete(store, STR("d/y"), &err));
        store_close(store);
    }
    assert_int_equal(file_count("_lake/sums"), 0);
}

static void a_file_cut_while_it_is_open_is_noticed(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_object *object = NULL;
    char got[10];
    size_t n = 0;
    put_text(store, "cut", "0123456789");
    MUST(store_open(store, STR("cut"), &object, &err));
    assert_int_equal(truncate(path_of("cut"), 5), 0);
    assert_int_equal(store_object_read(object, 0, got, 10, &n, &err), E_CORRUPT);
    store_object_close(object);
    store_close(store);
}

static void a_damaged_record_is_noticed(void **state)
{
    struct store *store = open_plain();
    put_text(store, "x", "hello");
    assert_int_equal(setxattr(path_of("x"), "user.lakehouse", "lake\x01nonsense", 13, 0), 0);
    assert_int_equal(read_status(store, "x"), E_CORRUPT);
    store_close(store);
}

/* --- no way out --- */

static void no_link_leads_out_of_the_root(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_info info;
    char outside[] = "/tmp/store-outside-XXXXXX", inside[100];
    assert_non_null(mkdtemp(outside));
    snprintf(inside, sizeof inside, "%s/secret.txt", outside);
    FILE *file = fopen(inside, "w");
    fputs("private", file);
    fclose(file);
    assert_int_equal(symlink(outside, path_of("out")), 0);
    assert_int_equal(symlink(inside, path_of("link.txt")), 0);
    put_text(store, "in/real", "x");
    assert_int_equal(symlink("in", path_of("alias")), 0);
    const char *keys[] = { "out/secret.txt", "link.txt", "alias/real" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(store_stat(store, str_of(keys[i]), &info, &err), E_DENIED);
        assert_int_equal(read_status(store, keys[i]), E_DENIED);
        assert_int_equal(store_put(store, str_of(keys[i]), STR("y"), NULL, NULL, &err), E_DENIED);
        assert_int_equal(store_delete(store, str_of(keys[i]), &err), E_DENIED);
    }
    assert_int_equal(store_put(store, STR("out/new"), STR("y"), NULL, NULL, &err), E_DENIED);
    struct arena arena;
    arena_init(&arena, 0);
    assert_string_equal(list_text(store, &arena, NULL), "in/real");
    assert_string_equal(
        list_text(store, &arena, &(struct store_list_opts){ .prefix = STR("out/") }), "");
    assert_string_equal(list_text(store, &arena, &(struct store_list_opts){ .prefix = STR("../") }),
                        "");
    assert_string_equal(
        list_text(store, &arena, &(struct store_list_opts){ .prefix = STR("in/../out/") }), "");
    assert_string_equal(
        list_text(store, &arena, &(struct store_list_opts){ .prefix = STR("in\0/../") }), "");
    arena_done(&arena);
    file = fopen(inside, "r");
    char text[20] = "";
    assert_non_null(fgets(text, sizeof text, file));
    assert_string_equal(text, "private");
    fclose(file);
    assert_int_equal(io_remove_tree(outside, NULL), OK);
    store_close(store);
}

static void a_pipe_or_a_folder_is_no_object(void **state)
{
    struct store *store = open_plain();
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    assert_int_equal(mkdir(path_of("folder"), 0755), 0);
    assert_int_equal(read_status(store, "pipe"), E_NOT_FOUND);
    assert_int_equal(read_status(store, "folder"), E_NOT_FOUND);
    store_close(store);
}

/* --- processes --- */

enum { PROCESSES = 4, SWAPS = 40 };

/** Each process adds one to a counter until it has won SWAPS times. */
static int count_up(void)
{
    struct store *store = NULL;
    struct err err = { 0 };
    if (store_fs_open(&(struct store_fs_opts){ .dir = dir }, &store, &err) != OK) {
        return 1;
    }
    for (int wins = 0; wins < SWAPS;) {
        struct buf text;
        struct store_info info;
        char next[64];
        buf_init(&text, 0);
        if (store_read(store, STR("_lake/cat/counter"), NULL, &text, &info, &err) != OK) {
            fprintf(stderr, "%s\n", err.msg);
            return 2;
        }
        snprintf(next, sizeof next, "%d", atoi(buf_cstr(&text)) + 1);
        buf_done(&text);
        enum status status = store_put(store, STR("_lake/cat/counter"), str_of(next),
                                       &(struct store_cond){ .if_match = str_of(info.etag) }, NULL,
                                       &err);
        if (status != OK && status != E_PRECONDITION) {
            fprintf(stderr, "%s\n", err.msg);
            return 3;
        }
        wins += status == OK;
    }
    store_close(store);
    return 0;
}

static void no_swap_of_another_process_is_lost(void **state)
{
    struct store *store = open_plain();
    char total[32];
    put_text(store, "_lake/cat/counter", "0");
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() == 0) {
            _exit(count_up());
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int code = 1;
        assert_true(wait(&code) > 0);
        assert_int_equal(code, 0);
    }
    snprintf(total, sizeof total, "%d", PROCESSES * SWAPS);
    expect_text(store, "_lake/cat/counter", total);
    store_close(store);
}

static void of_processes_that_create_one_wins(void **state)
{
    struct store *store = open_plain();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() == 0) {
            struct store *own = NULL;
            char wins[SWAPS];
            if (store_fs_open(&(struct store_fs_opts){ .dir = dir }, &own, NULL) != OK) {
                _exit(1);
            }
            for (int k = 0; k < SWAPS; k++) {
                char key[32];
                snprintf(key, sizeof key, k % 2 == 0 ? "once/%d" : "once/%d/", k);
                enum status status = store_put(own, str_of(key), STR("x"),
                                               &(struct store_cond){ .if_absent = true }, NULL,
                                               NULL);
                wins[k] = status == OK ? 1 : status == E_PRECONDITION ? 0 : 100;
            }
            _exit(write(ends[1], wins, sizeof wins) != sizeof wins);
        }
    }
    int sums[SWAPS] = { 0 };
    for (int i = 0; i < PROCESSES; i++) {
        char wins[SWAPS];
        int code = 1;
        assert_int_equal(read(ends[0], wins, sizeof wins), sizeof wins);
        assert_true(wait(&code) > 0);
        assert_int_equal(code, 0);
        for (int k = 0; k < SWAPS; k++) {
            sums[k] += wins[k];
        }
    }
    for (int k = 0; k < SWAPS; k++) {
        assert_int_equal(sums[k], 1);
    }
    close(ends[0]);
    close(ends[1]);
    store_close(store);
}

/* --- crashes --- */

static enum status die_at(void *ctx, const char *op, struct str key, struct err *err)
{
    if (!str_starts(key, STR("_lake/")) && strcmp(op, ctx) == 0 && key.len > 0) {
        _exit(77);
    }
    return OK;
}

/** A process that dies at `op` of a write; the object is the old or the new one, and nothing lies
 * around. */
static void crash_at(const char *op, bool named, bool replace)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    MUST(store_delete(store, STR("k/x"), &err));
    if (replace) {
        put_text(store, "k/x", "old");
    }
    store_close(store);
    pid_t pid = fork();
    if (pid == 0) {
        store = open_with((struct store_fault_hook){ .at = die_at, .ctx = (void *)op });
        ((struct fs_store *)store)->no_unnamed = named;
        (void)!store_put(store, STR("k/x"), STR("new"), NULL, NULL, &err);
        _exit(0);
    }
    int code = 0;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    store = open_plain();
    assert_int_equal(file_count("_lake/tmp"), 0);
    struct buf got;
    buf_init(&got, 0);
    enum status status = store_read(store, STR("k/x"), NULL, &got, NULL, &err);
    bool old = replace ? str_eq(buf_str(&got), STR("old")) : status == E_NOT_FOUND;
    bool fresh = status == OK && str_eq(buf_str(&got), STR("new"));
    assert_true(old || fresh);
    if (WEXITSTATUS(code) == 0) {
        assert_true(fresh);
    }
    buf_done(&got);
    put_text(store, "k/x", "next");
    store_close(store);
}

static void a_crash_leaves_the_old_or_the_new_object_and_no_litter(void **state)
{
    const char *ops[] = { "write", "record", "fsync",     "mkdir", "fsync_parent",
                          "link",  "rename", "fsync_dir", "answer" };
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        for (int bits = 0; bits < 4; bits++) {
            crash_at(ops[i], (bits & 1) != 0, (bits & 2) != 0);
        }
    }
}

static void the_sweep_spares_what_the_living_write(void **state)
{
    struct store *store = open_plain(), *other = NULL;
    struct err err = { 0 };
    struct store_writer *writer = NULL;
    ((struct fs_store *)store)->no_unnamed = true;
    MUST(store_writer_open(store, STR("alive"), NULL, &writer, &err));
    MUST(store_writer_write(writer, STR("hello"), &err));
    write_file("_lake/tmp/leftover", "of the dead");
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir }, &other, &err));
    assert_int_equal(file_count("_lake/tmp"), 1);
    MUST(store_writer_commit(writer, NULL, &err));
    expect_text(other, "alive", "hello");
    assert_int_equal(file_count("_lake/tmp"), 0);
    store_close(other);
    store_close(store);
}

/* --- faults --- */

struct fault {
    const char *op;
    enum status with;
    int count; /* fail the count-th time; -1: never */
};

static enum status fault_at(void *ctx, const char *op, struct str key, struct err *err)
{
    struct fault *fault = ctx;
    if (strcmp(op, fault->op) != 0 || fault->count < 0 || fault->count-- > 0) {
        return OK;
    }
    return err_set(err, fault->with, "made to fail at %s", op);
}

static void a_failed_fsync_stops_all_writing(void **state)
{
    struct fault fault = { .op = "fsync", .with = E_INTERNAL, .count = -1 };
    struct store *store = open_with((struct store_fault_hook){ .at = fault_at, .ctx = &fault });
    struct err err = { 0 };
    put_text(store, "a", "1");
    fault.count = 0;
    assert_int_equal(store_put(store, STR("a"), STR("2"), NULL, NULL, &err), E_UNAVAILABLE);
    expect_text(store, "a", "1");
    assert_int_equal(store_put(store, STR("b"), STR("3"), NULL, NULL, &err), E_UNAVAILABLE);
    assert_int_equal(store_delete(store, STR("a"), &err), E_UNAVAILABLE);
    assert_int_equal(store_ready(store, &err), E_UNAVAILABLE);
    expect_text(store, "a", "1");
    store_close(store);
}

static void a_failed_fsync_after_the_rename_is_unknown(void **state)
{
    struct fault fault = { .op = "fsync_dir", .with = E_INTERNAL, .count = -1 };
    struct store *store = open_with((struct store_fault_hook){ .at = fault_at, .ctx = &fault });
    struct err err = { 0 };
    put_text(store, "a", "1");
    fault.count = 0;
    assert_int_equal(store_put(store, STR("a"), STR("2"), NULL, NULL, &err), E_UPSTREAM);
    assert_int_equal(store_put(store, STR("a"), STR("3"), NULL, NULL, &err), E_UNAVAILABLE);
    store_close(store);
}

static void a_full_disk_says_so_and_writing_goes_on_later(void **state)
{
    struct fault fault = { .op = "write", .with = E_DISK_FULL, .count = -1 };
    struct store *store = open_with((struct store_fault_hook){ .at = fault_at, .ctx = &fault });
    struct err err = { 0 };
    put_text(store, "a", "1");
    fault.count = 0;
    assert_int_equal(store_put(store, STR("a"), STR("2"), NULL, NULL, &err), E_DISK_FULL);
    expect_text(store, "a", "1");
    put_text(store, "a", "3");
    expect_text(store, "a", "3");
    store_close(store);
}

/** Every point of a write fails once; afterwards the object is the old or the new one. */
static void any_failure_leaves_the_old_or_the_new_object(void **state)
{
    const char *ops[] = { "temp",         "write", "record", "fsync",     "mkdir",
                          "fsync_parent", "link",  "rename", "fsync_dir", "answer" };
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        for (int count = 0; count < 4; count++) {
            struct fault fault = { .op = ops[i], .with = E_INTERNAL, .count = -1 };
            struct store *store = open_with(
                (struct store_fault_hook){ .at = fault_at, .ctx = &fault });
            struct err err = { 0 };
            put_text(store, "f/x", "old");
            fault.count = count;
            enum status status = store_put(store, STR("f/x"), STR("new"), NULL, NULL, &err);
            enum status create = store_put(store, STR("f/fresh/x"), STR("new"), NULL, NULL, &err);
            struct buf got;
            buf_init(&got, 0);
            MUST(store_read(store, STR("f/x"), NULL, &got, NULL, &err));
            assert_true(str_eq(buf_str(&got), STR("new")) ||
                        (status != OK && str_eq(buf_str(&got), STR("old"))));
            buf_done(&got);
            if (create == OK) {
                expect_text(store, "f/fresh/x", "new");
            }
            store_close(store);
            store = open_plain();
            MUST(store_delete(store, STR("f/fresh/x"), &err));
            assert_int_equal(file_count("_lake/tmp"), 0);
            store_close(store);
        }
    }
}

/* --- the rest --- */

static void side_files_of_nothing_are_swept_when_they_are_old(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    char command[200];
    ((struct fs_store *)store)->no_xattr = true;
    put_text(store, "stays", "1");
    put_text(store, "odd/", "2");
    put_text(store, "goes", "3");
    put_text(store, "young", "4");
    assert_int_equal(file_count("_lake/sums"), 4);
    assert_int_equal(unlink(path_of("goes")), 0);
    store_close(store);
    store_close(open_plain());
    assert_int_equal(file_count("_lake/sums"), 4);
    snprintf(command, sizeof command, "touch -d '2 hours ago' %s/_lake/sums/*", dir);
    assert_int_equal(system(command), 0);
    store = open_plain();
    assert_int_equal(file_count("_lake/sums"), 3);
    struct store_info info;
    MUST(store_stat(store, STR("stays"), &info, &err));
    assert_false(info.etag_weak);
    expect_text(store, "odd/", "2");
    store_close(store);
}

static void a_read_only_store_reads_and_changes_nothing(void **state)
{
    struct store *store = open_plain(), *reader = NULL;
    struct err err = { 0 };
    put_text(store, "_lake/cat/p", "1");
    put_text(store, "q", "2");
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir, .read_only = true }, &reader, &err));
    expect_text(reader, "_lake/cat/p", "1");
    expect_text(reader, "q", "2");
    assert_int_equal(store_put(reader, STR("q"), STR("3"), NULL, NULL, &err), E_DENIED);
    assert_int_equal(store_delete(reader, STR("q"), &err), E_DENIED);
    store_close(reader);
    store_close(store);
}

static void a_big_folder_is_listed_in_pages(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct arena arena;
    char name[32], last[32] = "";
    size_t count = 0;
    arena_init(&arena, 0);
    assert_int_equal(mkdir(path_of("many"), 0755), 0);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "many/%04d", (i * 7919) % 3000);
        write_file(name, "x");
    }
    struct store_list list = { .next = STR("") };
    do {
        MUST(store_list(
            store,
            &(struct store_list_opts){ .prefix = STR("many/"), .after = list.next, .limit = 100 },
            &arena, &list, &err));
        for (size_t i = 0; i < list.object_count; i++) {
            assert_true(str_cmp(list.objects[i].key, str_of(last)) > 0);
            snprintf(last, sizeof last, "%.*s", STR_ARG(list.objects[i].key));
            count++;
        }
    } while (list.truncated);
    assert_int_equal(count, 3000);
    arena_done(&arena);
    store_close(store);
}

/** Their keys are remembered: what another process changes is seen all the same. */
static void odd_keys_are_listed_as_they_are_now(void **state)
{
    static const char *const before = "a/ b/ c/ other", *const after = "b/ c/ d/ other";
    for (int room = 0; room < 2; room++) {
        struct store *store = open_plain(), *other = open_plain();
        struct err err = { 0 };
        struct arena arena;
        arena_init(&arena, 0);
        ((struct fs_store *)store)->odd_bytes_left *= (size_t)room;
        put_text(store, "a/", "1");
        put_text(store, "b/", "1");
        put_text(store, "c/", "1");
        put_text(store, "other", "1");
        assert_int_equal(symlink("../../other", path_of("_lake/odd/link")), 0);
        write_file("_lake/odd/foreign", "x");
        for (int i = 0; i < 2; i++) {
            assert_string_equal(list_text(store, &arena, NULL), before);
        }
        assert_int_equal(((struct fs_store *)store)->odd_keys.count, room * 3);
        MUST(store_delete(other, STR("a/"), &err));
        put_text(other, "b/", "22");
        put_text(other, "d/", "1");
        assert_string_equal(list_text(store, &arena, NULL), after);
        struct store_list list;
        MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("b/") }, &arena, &list,
                        &err));
        assert_int_equal(list.objects[0].size, 2);
        arena_done(&arena);
        store_close(store);
        store_close(other);
        MUST(io_remove_tree(dir, &err));
        assert_int_equal(mkdir(dir, 0755), 0);
    }
}

static void empty_folders_go_with_their_last_object(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct stat st;
    put_text(store, "x/y/z/1", "1");
    put_text(store, "x/keep", "2");
    MUST(store_delete(store, STR("x/y/z/1"), &err));
    assert_int_not_equal(stat(path_of("x/y"), &st), 0);
    assert_int_equal(stat(path_of("x"), &st), 0);
    store_close(store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_plain_key_is_its_path_with_its_bytes),
        T(everything_is_there_after_reopening),
        T(files_of_others_are_objects_with_a_weak_tag),
        T(our_own_folders_hold_no_objects),
        T(the_format_file_names_the_lake_and_its_roots),
        T(the_record_has_the_documented_bytes),
        T(a_record_with_attributes_has_the_documented_bytes),
        T(long_attributes_have_a_file_of_their_own),
        T(checksums_of_a_huge_stream_are_joined_in_place),
        T(a_damaged_byte_is_noticed_and_not_passed_on),
        T(a_file_cut_while_it_is_open_is_noticed),
        T(an_opaque_tag_is_fresh_and_no_md5),
        T(a_damaged_record_is_noticed),
        T(no_link_leads_out_of_the_root),
        T(a_pipe_or_a_folder_is_no_object),
        T(no_swap_of_another_process_is_lost),
        T(of_processes_that_create_one_wins),
        T(a_crash_leaves_the_old_or_the_new_object_and_no_litter),
        T(the_sweep_spares_what_the_living_write),
        T(a_failed_fsync_stops_all_writing),
        T(a_failed_fsync_after_the_rename_is_unknown),
        T(a_full_disk_says_so_and_writing_goes_on_later),
        T(any_failure_leaves_the_old_or_the_new_object),
        T(side_files_of_nothing_are_swept_when_they_are_old),
        T(a_read_only_store_reads_and_changes_nothing),
        T(a_big_folder_is_listed_in_pages),
        T(odd_keys_are_listed_as_they_are_now),
        T(empty_folders_go_with_their_last_object),
    };
    return cmocka_run_group_tests_name("store fs own", tests, NULL, NULL);
}
