/* What only the file driver promises of uploads in parts: where they lie, that bytes are written
 * once, what other processes, crashes and damage do. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/io.h"
#include "base/rng.h"
#include "store/fs_upload.h"

enum { MIB = 1024 * 1024, PART = 5 * MIB + 4 };

static char dir[64];
static struct store *store;
static struct arena arena;
static struct err err;
static struct str key, id;

static struct store *open_store(bool read_only)
{
    struct store *opened = NULL;
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir, .read_only = read_only }, &opened,
                       &err));
    return opened;
}

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/store-up-XXXXXX");
    arena_init(&arena, 0);
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    store = open_store(false);
    key = STR("a/object");
    MUST(store_upload_begin(store, key, NULL, &arena, &id, &err));
    return 0;
}

static int teardown(void **state)
{
    store_close(store);
    arena_done(&arena);
    return io_remove_tree(dir, NULL) != OK;
}

static void reopen(void)
{
    store_close(store);
    store = open_store(false);
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/** A file of the upload. */
static const char *own_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/_lake/uploads/%.*s/%s", dir, STR_ARG(id), name);
    return path;
}

static int count_files(const char *what)
{
    char command[600];
    int count = -1;
    snprintf(command, sizeof command, "ls '%s' 2>/dev/null | grep -c '%s'", own_path(""), what);
    FILE *pipe = popen(command, "r");
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return count;
}

static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/** Bytes of a part: its number all over. */
static void fill(char *bytes, size_t len, unsigned number)
{
    for (size_t i = 0; i < len; i += 4) {
        unsigned word = number * 2654435761u + (unsigned)i;
        memcpy(bytes + i, &word, len - i < 4 ? len - i : 4);
    }
}

static struct store_writer *part_begin(unsigned number, size_t size, bool known)
{
    struct store_writer *writer = NULL;
    MUST(store_part_open(store, key, id, number, known ? (int64_t)size : -1, &writer, &err));
    return writer;
}

static void part_write(struct store_writer *writer, unsigned number, size_t size)
{
    char *bytes = malloc(size + 1);
    fill(bytes, size, number);
    MUST(store_writer_write(writer, str_from(bytes, size), &err));
    free(bytes);
}

static void part(unsigned number, size_t size)
{
    struct store_writer *writer = part_begin(number, size, true);
    part_write(writer, number, size);
    MUST(store_writer_commit(writer, NULL, &err));
}

static enum status complete(unsigned count)
{
    struct store_parts parts;
    struct store_part_ref refs[64];
    TRY(store_upload_parts(store, key, id, 0, 0, &arena, &parts, &err));
    assert_int_equal(parts.count, count);
    for (size_t i = 0; i < count; i++) {
        refs[i] = (struct store_part_ref){ parts.items[i].number, str_of(parts.items[i].etag) };
    }
    return store_upload_complete(store, key, id, refs, count, NULL, NULL, NULL, &err);
}

/** The object is parts 1 to `count` of these sizes; read through the checksums. */
static void expect_object(const size_t *sizes, unsigned count)
{
    struct buf got;
    size_t at = 0;
    buf_init(&got, 0);
    MUST(store_read(store, key, NULL, &got, NULL, &err));
    for (unsigned i = 0; i < count; i++) {
        char *bytes = malloc(sizes[i] + 1);
        fill(bytes, sizes[i], i + 1);
        assert_true(got.len >= at + sizes[i]);
        assert_memory_equal(got.ptr + at, bytes, sizes[i]);
        at += sizes[i];
        free(bytes);
    }
    assert_int_equal(got.len, at);
    buf_done(&got);
}

/* --- written once --- */

struct shape {
    size_t sizes[8];
    unsigned order[8];
    int spilled; /* how many parts have a file of their own before the complete */
    bool beside; /* a new file has to be made */
};

static void check_shape(const struct shape *shape)
{
    unsigned count = 0;
    for (size_t i = 0; i < 8 && shape->order[i] > 0; i++) {
        part(shape->order[i], shape->sizes[shape->order[i] - 1]);
        count++;
    }
    ino_t data = inode_of(own_path("data"));
    assert_int_equal(count_files("^p"), shape->spilled);
    MUST(complete(count));
    assert_int_equal(inode_of(path_of("a/object")) == data, !shape->beside);
    expect_object(shape->sizes, count);
    assert_int_equal(access(own_path(""), F_OK), -1);
}

/** In these orders no byte is written twice, but those of a last one that came first. */
static void parts_at_their_place_become_the_object_as_they_lie(void **state)
{
    static const struct shape shapes[] = {
        { { MIB, MIB, MIB, 7 }, { 1, 2, 3, 4 }, 0, false },
        { { PART, PART, PART, PART }, { 3, 1, 4, 2 }, 0, false },
        { { PART, PART, PART, 7 }, { 3, 4, 2, 1 }, 0, false },
        { { 5, 3 * MIB, 70, MIB, 1 }, { 1, 2, 3, 4, 5 }, 0, false },
        { { PART, PART, 2 * PART, 2 * PART }, { 2, 1, 3, 4 }, 0, false },
        { { PART, PART, PART, 9 }, { 4, 3, 2, 1 }, 1, false }, /* the small one is moved */
        { { MIB }, { 1 }, 0, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        check_shape(&shapes[i]);
        MUST(store_upload_begin(store, key, NULL, &arena, &id, &err));
    }
}

/** A wrong guess costs the copy of the parts that it is about, or of all. */
static void wrong_guesses_cost_a_copy_and_are_right(void **state)
{
    static const struct shape shapes[] = {
        { { 2 * PART, 2 * PART, 2 * PART, PART }, { 4, 1, 2, 3 }, 1, true },
        { { 10, PART, PART, PART }, { 2, 1, 3, 4 }, 0, true },
        { { PART, 10, PART, 10 }, { 1, 3, 4, 2 }, 0, true },
        { { MIB, MIB, MIB, MIB }, { 3, 1, 4, 2 }, 2, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        check_shape(&shapes[i]);
        MUST(store_upload_begin(store, key, NULL, &arena, &id, &err));
    }
}

static void a_part_that_broke_off_gets_its_place_again(void **state)
{
    static const size_t sizes[] = { MIB, MIB, 5 };
    part(1, MIB);
    struct store_writer *broken = part_begin(2, MIB, true);
    part_write(broken, 9, MIB / 2);
    store_writer_abort(broken);
    part(3, 5);
    part(2, MIB);
    assert_int_equal(count_files("^p"), 0);
    ino_t data = inode_of(own_path("data"));
    MUST(complete(3));
    assert_int_equal(inode_of(path_of("a/object")), data);
    expect_object(sizes, 3);
}

static void two_writers_of_one_part_do_not_meet(void **state)
{
    static const size_t sizes[] = { MIB, MIB };
    struct store_writer *first = part_begin(1, MIB, true), *second = part_begin(1, MIB, true);
    part_write(first, 8, MIB);
    part_write(second, 1, MIB);
    assert_int_equal(count_files("^p"), 1);
    MUST(store_writer_commit(first, NULL, &err));
    MUST(store_writer_commit(second, NULL, &err));
    part(2, MIB);
    MUST(complete(2));
    expect_object(sizes, 2);
}

static void a_longer_try_that_broke_off_is_cut_away(void **state)
{
    static const size_t sizes[] = { MIB, 10 };
    part(1, MIB);
    struct store_writer *broken = part_begin(2, MIB, true);
    part_write(broken, 9, MIB / 2);
    store_writer_abort(broken);
    part(2, 10);
    MUST(complete(2));
    expect_object(sizes, 2);
}

/* --- restarts, processes --- */

static void uploads_survive_a_restart(void **state)
{
    static const size_t sizes[] = { MIB, MIB, 9 };
    part(2, MIB);
    struct store_writer *unknown = part_begin(3, 9, false);
    part_write(unknown, 3, 9);
    MUST(store_writer_commit(unknown, NULL, &err));
    reopen();
    part(1, MIB);
    reopen();
    MUST(complete(3));
    reopen();
    expect_object(sizes, 3);
    assert_int_equal(access(own_path(""), F_OK), -1);
}

/** What a crash has written half is written over; and cannot come back. */
static void a_torn_record_is_none(void **state)
{
    static const size_t sizes[] = { 5, 6 };
    part(1, 5);
    struct stat before, after;
    assert_int_equal(stat(own_path("journal"), &before), 0);
    part(2, 6);
    assert_int_equal(stat(own_path("journal"), &after), 0);
    for (off_t len = before.st_size; len < after.st_size; len++) {
        store_close(store);
        assert_int_equal(truncate(own_path("journal"), len), 0);
        store = open_store(false);
        struct store_parts parts;
        MUST(store_upload_parts(store, key, id, 0, 0, &arena, &parts, &err));
        assert_int_equal(parts.count, 1);
        part(2, 6);
    }
    MUST(complete(2));
    expect_object(sizes, 2);
}

/** A child that is in the middle of a part. */
static pid_t child_writes(int *go_out, int *ready_out)
{
    int go[2], ready[2];
    assert_int_equal(pipe(go) | pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *own = NULL;
        struct store_writer *writer = NULL;
        char c = 0;
        if (store_fs_open(&(struct store_fs_opts){ .dir = dir }, &own, &err) != OK ||
            store_part_open(own, key, id, 3, MIB, &writer, &err) != OK ||
            store_writer_write(writer, STR("half"), &err) != OK || write(ready[1], "x", 1) != 1 ||
            read(go[0], &c, 1) != 1) {
            _exit(1);
        }
        (void)!store_writer_write(writer, STR("never to be seen"), &err);
        enum status status = store_writer_commit(writer, NULL, &err);
        _exit(status == E_NOT_FOUND || status == E_INVALID ? 0 : 2);
    }
    *go_out = go[1];
    *ready_out = ready[0];
    return pid;
}

/** It had a place in the file; the object is another one then. */
static void a_writer_of_another_process_never_reaches_the_object(void **state)
{
    static const size_t sizes[] = { MIB, MIB };
    int go = -1, ready = -1, code = 1;
    char c = 0;
    part(1, MIB);
    part(2, MIB);
    pid_t pid = child_writes(&go, &ready);
    assert_int_equal(read(ready, &c, 1), 1);
    MUST(complete(2));
    expect_object(sizes, 2);
    assert_int_equal(write(go, "x", 1), 1);
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
    expect_object(sizes, 2);
    struct stat st;
    assert_int_equal(stat(path_of("a/object"), &st), 0);
    assert_int_equal(st.st_nlink, 1);
    close(go);
    close(ready);
}

static void parts_come_from_several_processes(void **state)
{
    static const size_t sizes[] = { PART, PART, PART, PART, PART, PART, PART, PART };
    for (unsigned child = 0; child < 4; child++) {
        if (fork() == 0) {
            store = open_store(false);
            part(child + 1, PART);
            part(8 - child, PART);
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++) {
        int code = 1;
        assert_true(wait(&code) > 0);
        assert_int_equal(code, 0);
    }
    ino_t data = inode_of(own_path("data"));
    MUST(complete(8));
    assert_int_equal(inode_of(path_of("a/object")), data);
    expect_object(sizes, 8);
}

/* --- what else lies there --- */

static void uploads_are_no_objects(void **state)
{
    char name[128];
    snprintf(name, sizeof name, "_lake/uploads/%.*s/data", STR_ARG(id));
    struct store_info info;
    struct store_list list;
    part(1, 5);
    assert_int_equal(store_stat(store, str_of(name), &info, &err), E_DENIED);
    assert_int_equal(store_put(store, str_of(name), STR("x"), NULL, NULL, &err), E_DENIED);
    MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("_lake/") }, &arena, &list,
                    &err));
    assert_int_equal(list.object_count, 1); /* format.json */
    struct str other;
    assert_int_equal(store_upload_begin(store, STR("_lake/tmp/x"), NULL, &arena, &other, &err),
                     E_DENIED);
}

static void folder_make(char path[200], const char *name, bool data)
{
    snprintf(path, 200, "%s/_lake/uploads/%s", dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
    if (data) {
        char file[220];
        snprintf(file, sizeof file, "%s/data", path);
        AUTO(fd_done) int fd = open(file, O_CREAT | O_WRONLY, 0644);
        assert_true(fd >= 0);
    }
}

/** An old one that was never begun, one that is just being begun, one whose removal was cut off. */
static void what_belongs_to_no_upload_is_deleted(void **state)
{
    struct store_uploads uploads;
    const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    char path[3][200];
    for (int round = 0; round < 2; round++) {
        folder_make(path[0], "0123", false);
        folder_make(path[1], "4567", false);
        folder_make(path[2], "89ab", true);
        assert_int_equal(utimensat(AT_FDCWD, path[0], old, 0), 0);
        assert_int_equal(utimensat(AT_FDCWD, own_path(""), old, 0), 0);
        if (round == 0) {
            reopen();
        } else {
            MUST(store_uploads_sweep(store, MIB, NULL, &err));
        }
        assert_int_equal(access(path[0], F_OK), -1);
        assert_int_equal(rmdir(path[1]), 0);
        assert_int_equal(access(path[2], F_OK), -1);
    }
    MUST(store_upload_list(store, NULL, &arena, &uploads, &err));
    assert_int_equal(uploads.count, 1);
    assert_true(str_eq(uploads.items[0].id, id));
}

static void a_read_only_store_shows_uploads_and_changes_none(void **state)
{
    struct store_uploads uploads;
    struct store_parts parts;
    struct store_writer *writer = NULL;
    struct str other;
    part(1, 5);
    store_close(store);
    store = open_store(true);
    MUST(store_upload_list(store, NULL, &arena, &uploads, &err));
    assert_int_equal(uploads.count, 1);
    MUST(store_upload_parts(store, key, id, 0, 0, &arena, &parts, &err));
    assert_int_equal(parts.count, 1);
    assert_int_equal(store_upload_begin(store, key, NULL, &arena, &other, &err), E_DENIED);
    assert_int_equal(store_part_open(store, key, id, 1, 5, &writer, &err), E_DENIED);
    assert_int_equal(complete(1), E_DENIED);
    assert_int_equal(store_upload_abort(store, key, id, &err), E_DENIED);
    assert_int_equal(store_uploads_sweep(store, 0, NULL, &err), E_DENIED);
}

/* --- damage --- */

static void flip_byte(const char *path, off_t offset)
{
    AUTO(fd_done) int fd = open(path, O_RDWR);
    char c = 0;
    assert_int_equal(pread(fd, &c, 1, offset), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, offset), 1);
}

static void a_damaged_part_is_noticed(void **state)
{
    char name[64], path[600];
    struct store_writer *unknown = part_begin(2, 1000, false);
    part(1, MIB);
    part_write(unknown, 2, 1000);
    MUST(store_writer_commit(unknown, NULL, &err));
    snprintf(path, sizeof path, "ls '%s' | grep '^p'", own_path(""));
    FILE *pipe = popen(path, "r");
    assert_int_equal(fscanf(pipe, "%63s", name), 1);
    pclose(pipe);
    flip_byte(own_path(name), 500);
    assert_int_equal(complete(2), E_CORRUPT); /* it is moved */
    flip_byte(own_path(name), 500);
    flip_byte(own_path("data"), 500);
    MUST(complete(2)); /* nothing is read of what stays */
    struct buf got;
    buf_init(&got, 0);
    assert_int_equal(store_read(store, key, NULL, &got, NULL, &err), E_CORRUPT);
    buf_done(&got);
}

/* --- formats --- */

static void the_journal_has_the_documented_bytes(void **state)
{
    /* The example of docs/formats/local-store.md. */
    static const unsigned char example[] = {
        0x4f, 0x00, 0x00, 0x00, 0x85, 0x18, 0x84, 0x5b, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x32, 0x01, 0x30, 0xb7,
        0x68, 0xa6, 0x17, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x01, 0x00, 0x6b, 0x01, 0x00,
        0x01, 0x00, 0x61, 0x62, 0x4c, 0x00, 0x00, 0x00, 0xc8, 0xc8, 0x10, 0x2b, 0x03, 0x14, 0x00,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x32, 0x01, 0x30, 0xb7, 0x68, 0xa6, 0x17, 0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76,
        0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
        0x00, 0x4c, 0xbb, 0x71, 0x9a,
    };
    const struct store_attr attr = { STR("a"), STR("b") };
    const uint32_t sums[] = { 0x9a71bb4c };
    struct buf packed, bytes;
    struct fs_journal journal = { 0 }, back = { 0 };
    struct fs_entry entry = { .kind = FS_ENTRY_BEGIN,
                              .time_ns = 1704164645000000000,
                              .key = STR("k") };
    buf_init(&packed, 0);
    buf_init(&bytes, 0);
    MUST(attrs_pack(&(struct store_attrs){ &attr, 1 }, &packed, &err));
    entry.attrs = buf_str(&packed);
    assert_int_equal(fs_entry_encode(&entry, &journal, &bytes), OK);
    entry = (struct fs_entry){ .kind = FS_ENTRY_PART,
                               .number = 1,
                               .size = 5,
                               .time_ns = 1704164645000000000,
                               .sums = sums,
                               .sum_count = 1,
                               .block_log2 = 20 };
    assert_true(hex_decode(STR("5d41402abc4b2a76b9719d911017c592"), entry.md5, MD5_BYTES));
    assert_int_equal(fs_entry_encode(&entry, &journal, &bytes), OK);
    assert_int_equal(bytes.len, sizeof example);
    assert_memory_equal(bytes.ptr, example, sizeof example);
    struct fs_entry got;
    assert_true(fs_entry_decode(buf_str(&bytes), &back, &got));
    assert_true(got.kind == FS_ENTRY_BEGIN && str_eq(got.key, STR("k")));
    assert_true(str_eq(got.attrs, buf_str(&packed)));
    assert_true(fs_entry_decode(str_skip(buf_str(&bytes), back.len), &back, &got));
    assert_true(got.kind == FS_ENTRY_PART && got.size == 5 && got.number == 1);
    assert_int_equal(back.len, bytes.len);
    /* not without the one before it */
    back = (struct fs_journal){ .len = 1 };
    assert_false(fs_entry_decode(str_skip(buf_str(&bytes), bytes.len - 76), &back, &got));
    buf_done(&packed);
    buf_done(&bytes);
}

/** Pieces of any sizes, cut and joined, are what hashing the whole gives. */
static void check_cuts(struct rng *rng, uint64_t size, uint64_t piece_max)
{
    struct fs_record whole, joined = { .size = size };
    struct fs_hash hash;
    struct fs_cuts cuts;
    char *bytes = malloc(MIB);
    assert_int_equal(fs_hash_init(&hash, &whole, false, NULL), OK);
    fs_cuts_target(&joined);
    for (uint64_t at = 0; at < size;) {
        uint64_t piece = 1 + rng_below(rng, piece_max);
        piece = piece < size - at ? piece : size - at;
        fs_cuts_init(&cuts, at);
        for (uint64_t done = 0; done < piece;) {
            size_t len = 1 + (size_t)rng_below(rng, MIB);
            len = len < piece - done ? len : (size_t)(piece - done);
            memset(bytes, (int)rng_below(rng, 256), len);
            fs_hash_update(&hash, str_from(bytes, len));
            fs_cuts_update(&cuts, str_from(bytes, len));
            done += len;
        }
        fs_cuts_final(&cuts);
        assert_true(fs_cuts_join(&joined, &cuts));
        at += piece;
    }
    fs_hash_final(&hash);
    fs_hash_done(&hash);
    assert_int_equal(joined.block_log2, whole.block_log2);
    assert_int_equal(joined.sum_count, whole.sum_count);
    assert_memory_equal(joined.sums, whole.sums, whole.sum_count * sizeof whole.sums[0]);
    free(bytes);
}

static void checksums_of_pieces_are_those_of_the_whole(void **state)
{
    struct rng rng;
    rng_seed(&rng, 11);
    check_cuts(&rng, 0, 1);
    check_cuts(&rng, 5, 2);
    check_cuts(&rng, MIB, MIB);
    check_cuts(&rng, 640ull * MIB, 200 * MIB);
    check_cuts(&rng, 640ull * MIB + 1, 640ull * MIB);
    check_cuts(&rng, 1400ull * MIB + 77, 1400ull * MIB);
    for (int i = 0; i < 20; i++) {
        check_cuts(&rng, rng_below(&rng, 20 * MIB), 1 + rng_below(&rng, 6 * MIB));
    }
}

int main(void)
{
#define UPLOAD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        UPLOAD_TEST(parts_at_their_place_become_the_object_as_they_lie),
        UPLOAD_TEST(wrong_guesses_cost_a_copy_and_are_right),
        UPLOAD_TEST(a_part_that_broke_off_gets_its_place_again),
        UPLOAD_TEST(two_writers_of_one_part_do_not_meet),
        UPLOAD_TEST(a_longer_try_that_broke_off_is_cut_away),
        UPLOAD_TEST(uploads_survive_a_restart),
        UPLOAD_TEST(a_torn_record_is_none),
        UPLOAD_TEST(a_writer_of_another_process_never_reaches_the_object),
        UPLOAD_TEST(parts_come_from_several_processes),
        UPLOAD_TEST(uploads_are_no_objects),
        UPLOAD_TEST(what_belongs_to_no_upload_is_deleted),
        UPLOAD_TEST(a_read_only_store_shows_uploads_and_changes_none),
        UPLOAD_TEST(a_damaged_part_is_noticed),
        UPLOAD_TEST(the_journal_has_the_documented_bytes),
        UPLOAD_TEST(checksums_of_pieces_are_those_of_the_whole),
    };
    return cmocka_run_group_tests_name("store fs uploads", tests, NULL, NULL);
}
