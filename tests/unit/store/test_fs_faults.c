/* What the file driver says when its folder or disk fails, and what holds afterwards. */
#include "contract.h"
#include "disk.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/mem.h"
#include "store/fs_priv.h"

static char dir[64];

static int setup(void **state)
{
    snprintf(dir, sizeof dir, "%s/store-faults-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    disk_done();
    return io_remove_tree(dir, NULL) != OK;
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static struct store *open_with(const struct io_calls *calls, struct store_fault_hook hook)
{
    struct err err = { 0 };
    struct store *store = NULL;
    MUST(store_fs_open(&(struct store_fs_opts){ .dir = dir, .calls = calls, .hook = hook }, &store,
                       &err));
    return store;
}

static struct store *open_plain(void)
{
    return open_with(NULL, (struct store_fault_hook){ 0 });
}

static enum status read_status(struct store *store, const char *key)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    return store_read(store, str_of(key), NULL, &out, NULL, NULL);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* --- the folder --- */

static void a_deleted_lake_is_unavailable_and_not_empty(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct store_info info;
    struct store_list list;
    struct arena arena;
    arena_init(&arena, 0);
    put_text(store, "a/b", "1");
    put_text(store, "_lake/cat/p", "2");
    MUST(io_remove_tree(dir, &err));
    assert_int_equal(read_status(store, "a/b"), E_UNAVAILABLE);
    assert_int_equal(read_status(store, "_lake/cat/p"), E_UNAVAILABLE);
    assert_int_equal(store_stat(store, STR("never"), &info, &err), E_UNAVAILABLE);
    assert_int_equal(store_list(store, NULL, &arena, &list, &err), E_UNAVAILABLE);
    assert_int_equal(store_put(store, STR("a/c"), STR("x"), NULL, NULL, &err), E_UNAVAILABLE);
    assert_int_equal(store_delete(store, STR("a/b"), &err), E_UNAVAILABLE);
    assert_int_equal(store_copy(store, STR("a/b"), STR("a/d"), NULL, &err), E_UNAVAILABLE);
    assert_int_equal(store_ready(store, &err), E_UNAVAILABLE);
    assert_non_null(strstr(err.msg, dir));
    assert_non_null(strstr(err.msg, "start the service again"));
    arena_done(&arena);
    store_close(store);
    assert_int_equal(mkdir(dir, 0755), 0);
}

static void a_lost_folder_of_the_lake_itself_is_no_news_about_keys(void **state)
{
    const char *names[] = { "_lake/locks", "_lake/tmp" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct store *store = open_plain();
        struct err err = { 0 };
        put_text(store, "_lake/cat/p", "1");
        MUST(io_remove_tree(path_of(names[i]), &err));
        enum status status = read_status(store, "_lake/cat/p");
        assert_true(status == OK || status == E_UNAVAILABLE);
        assert_int_equal(store_put(store, STR("_lake/cat/p"), STR("2"), NULL, NULL, &err),
                         E_UNAVAILABLE);
        store_close(store);
        store = open_plain();
        expect_text(store, "_lake/cat/p", "1");
        put_text(store, "_lake/cat/p", "3");
        store_close(store);
    }
}

/** They only say to the file system where a file should lie. */
static void folders_of_unnamed_files_stay_empty_and_may_be_lost(void **state)
{
    struct store *store = open_plain();
    struct err err = { 0 };
    struct stat st;
    for (int i = 0; i < 2 * FS_NURSERIES; i++) {
        put_text(store, i % 2 == 0 ? "a" : "b", "1");
    }
    for (int i = 0; i < FS_NURSERIES; i++) {
        char name[] = "_lake/new/0";
        name[sizeof name - 2] = (char)('0' + i);
        assert_int_equal(rmdir(path_of(name)), 0); /* nothing in it */
    }
    MUST(io_remove_tree(path_of("_lake/new"), &err));
    for (int i = 0; i < FS_NURSERIES; i++) {
        put_text(store, "a", "2");
    }
    store_close(store);
    write_file("_lake/new", "no folder");
    store = open_plain();
    put_text(store, "a", "3");
    store_close(store);
    assert_int_equal(unlink(path_of("_lake/new")), 0);
    store = open_plain();
    expect_text(store, "a", "3");
    assert_int_equal(stat(path_of("_lake/new/7"), &st), 0);
    store_close(store);
}

/** What is the user's own may be closed to us: lost+found, files of mode 0600. */
static void what_may_not_be_read_is_not_listed(void **state)
{
    struct store *store = open_plain();
    put_text(store, "seen/a", "1");
    assert_int_equal(mkdir(path_of("lost+found"), 0700), 0);
    write_file("lost+found/x", "x");
    write_file("seen/private", "x");
    assert_int_equal(chmod(path_of("seen/private"), 0), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0) {
            (void)!seteuid(65534);
        } else {
            (void)!chmod(path_of("lost+found"), 0);
        }
        struct arena arena;
        arena_init(&arena, 0);
        bool right = strcmp(list_text(store, &arena, NULL), "seen/a") == 0 &&
                     read_status(store, "seen/private") == E_DENIED;
        _exit(right ? 0 : 1);
    }
    int code = 1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
    assert_int_equal(chmod(path_of("lost+found"), 0700), 0);
    store_close(store);
}

/* --- what is seen must last --- */

struct watch {
    const char *fail; /* this op fails */
    enum status with;
    const char *die; /* the process ends there */
    int syncs;
};

static enum status watch_at(void *ctx, const char *op, struct str key, struct err *err)
{
    struct watch *watch = ctx;
    watch->syncs += strcmp(op, "syncfs") == 0;
    if (watch->die != NULL && strcmp(op, watch->die) == 0 && str_starts(key, STR("_lake/cat/"))) {
        _exit(0);
    }
    return watch->fail != NULL && strcmp(op, watch->fail) == 0
               ? err_set(err, watch->with, "made to fail")
               : OK;
}

static void what_another_left_half_done_is_synced_before_it_is_believed(void **state)
{
    struct watch watch = { 0 };
    struct store *store = open_with(NULL, (struct store_fault_hook){ watch_at, &watch });
    put_text(store, "_lake/cat/p", "old");
    pid_t pid = fork();
    if (pid == 0) {
        watch.die = "fsync_dir";
        (void)!store_put(store, STR("_lake/cat/p"), STR("new"), NULL, NULL, NULL);
        _exit(1);
    }
    int code = 1;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
    expect_text(store, "_lake/cat/p", "new");
    assert_int_equal(watch.syncs, 1);
    expect_text(store, "_lake/cat/p", "new");
    put_text(store, "_lake/cat/p", "newer");
    expect_text(store, "_lake/cat/p", "newer");
    assert_int_equal(watch.syncs, 1);
    store_close(store);
}

static void a_pointer_whose_fsync_failed_is_not_read_as_if_it_were_safe(void **state)
{
    struct watch watch = { 0 };
    struct store *store = open_with(NULL, (struct store_fault_hook){ watch_at, &watch });
    struct err err = { 0 };
    put_text(store, "_lake/cat/p", "old");
    put_text(store, "_lake/cat/other", "1");
    watch = (struct watch){ .fail = "fsync_dir", .with = E_INTERNAL };
    assert_int_equal(store_put(store, STR("_lake/cat/p"), STR("new"), NULL, NULL, &err),
                     E_UPSTREAM);
    assert_int_equal(read_status(store, "_lake/cat/p"), E_UNAVAILABLE);
    expect_text(store, "_lake/cat/other", "1");
    store_close(store);
    watch.fail = NULL;
    store = open_with(NULL, (struct store_fault_hook){ watch_at, &watch });
    expect_text(store, "_lake/cat/p", "new");
    assert_int_equal(watch.syncs, 1);
    store_close(store);
}

static void a_disk_that_is_full_at_an_fsync_stops_nothing(void **state)
{
    struct watch watch = { 0 };
    struct store *store = open_with(NULL, (struct store_fault_hook){ watch_at, &watch });
    struct err err = { 0 };
    put_text(store, "a", "1");
    watch = (struct watch){ .fail = "fsync", .with = E_DISK_FULL };
    assert_int_equal(store_put(store, STR("a"), STR("2"), NULL, NULL, &err), E_DISK_FULL);
    watch.fail = NULL;
    expect_text(store, "a", "1");
    put_text(store, "a", "3");
    expect_text(store, "a", "3");
    store_close(store);
}

/* --- every call and every allocation fails once --- */

enum deed {
    PUT,
    CREATE,
    PUT_ODD,
    PUT_ATTRS,
    SET_ATTRS,
    READ,
    STAT,
    LIST,
    DELETE,
    COPY,
    ADOPT,
    OPEN,
    DEEDS
};

static enum status adopt(struct store *store, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    TRY(store_spool(store, &fd, err));
    assert_int_equal(pwrite(fd, "new", 3, 0), 3);
    return store_put_fd(store, STR("adopted"), fd, true, NULL, NULL, err);
}

/** More than an xattr holds. */
static enum status with_attrs(struct store *store, bool put, struct err *err)
{
    struct store_writer *writer = NULL;
    char value[5000];
    memset(value, 'v', sizeof value);
    const struct store_attr attr = { STR("n"), str_from(value, sizeof value) };
    const struct store_attrs attrs = { &attr, 1 };
    if (!put) {
        return store_set_attrs(store, STR("k"), &attrs, STR_EMPTY, NULL, err);
    }
    TRY(store_writer_open(store, STR("k"), NULL, &writer, err));
    enum status status = store_writer_write(writer, STR("new"), err);
    if (status == OK) {
        status = store_writer_attrs(writer, &attrs, err);
    }
    if (status != OK) {
        store_writer_abort(writer);
        return status;
    }
    return store_writer_commit(writer, NULL, err);
}

/** Whole or none. */
static void attrs_right(struct store *store, enum deed deed, enum status said)
{
    struct err err = { 0 };
    struct arena arena;
    struct store_info info;
    struct store_attrs attrs = { NULL, 0 };
    arena_init(&arena, 0);
    enum status status = store_stat_attrs(store, STR("k"), &arena, &info, &attrs, &err);
    bool must = said == OK && (deed == PUT_ATTRS || deed == SET_ATTRS);
    assert_true(status == OK || (status == E_NOT_FOUND && !must));
    assert_true(!must || attrs.count == 1);
    assert_true(attrs.count == 0 || attrs.items[0].value.len == 5000);
    arena_done(&arena);
}

static enum status list_all(struct store *store, struct err *err)
{
    struct arena arena;
    struct store_list list;
    arena_init(&arena, 0);
    enum status status = store_list(store, NULL, &arena, &list, err);
    /* never a page that lacks something */
    assert_true(status != OK || list.object_count == 4);
    arena_done(&arena);
    return status;
}

static enum status read_right(struct store *store, const char *key, struct err *err)
{
    AUTO(buf_done) struct buf out;
    struct store_info info;
    buf_init(&out, 0);
    enum status status = store_read(store, str_of(key), NULL, &out, &info, err);
    assert_true(status == OK ? str_eq(buf_str(&out), STR("old")) && !info.etag_weak : out.len == 0);
    return status;
}

static enum status stat_right(struct store *store, const char *key, struct err *err)
{
    struct store_info info = { 0 };
    enum status status = store_stat(store, str_of(key), &info, err);
    assert_true(status != OK || (info.size == 3 && !info.etag_weak));
    return status;
}

static enum status open_again(struct err *err)
{
    struct store *store = NULL;
    TRY(store_fs_open(&(struct store_fs_opts){ .dir = dir, .calls = &disk_calls }, &store, err));
    store_close(store);
    return OK;
}

static enum status do_deed(struct store *store, enum deed deed, struct err *err)
{
    switch (deed) {
    case PUT:
        return store_put(store, STR("k"), STR("new"), NULL, NULL, err);
    case CREATE:
        return store_put(store, STR("c/d/e"), STR("new"), &(struct store_cond){ .if_absent = true },
                         NULL, err);
    case PUT_ODD:
        return store_put(store, STR("k/below"), STR("new"), NULL, NULL, err);
    case PUT_ATTRS:
    case SET_ATTRS:
        return with_attrs(store, deed == PUT_ATTRS, err);
    case READ:
        TRY(read_right(store, "_lake/cat/p", err));
        return read_right(store, "k/below", err);
    case STAT:
        TRY(stat_right(store, "_lake/cat/p", err));
        return stat_right(store, "k/below", err);
    case LIST:
        return list_all(store, err);
    case DELETE:
        return store_delete(store, STR("k"), err);
    case COPY:
        TRY(store_copy(store, STR("k"), STR("copied"), NULL, err));
        return store_copy(store, STR("k/below"), STR("copied/too"), NULL, err);
    case ADOPT:
        return adopt(store, err);
    case OPEN:
        return open_again(err);
    case DEEDS:
    default:
        fail();
        return OK;
    }
}

/** Each object is what it was or what it should be; whole, with its checksums, and listed. */
static void expect_old_or_new(const char *what, enum deed deed, enum status said)
{
    struct err err = { 0 };
    const char *keys[] = {
        "k", "k/below", "_lake/cat/p", "c/d/e", "copied", "copied/too", "adopted"
    };
    struct store *store = open_with(&disk_calls, (struct store_fault_hook){ 0 });
    attrs_right(store, deed, said);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        AUTO(buf_done) struct buf got;
        struct store_info info = { 0 };
        buf_init(&got, 0);
        enum status status = store_read(store, str_of(keys[i]), NULL, &got, &info, &err);
        const char *must = said != OK        ? NULL
                           : deed == PUT     ? "k"
                           : deed == CREATE  ? "c/d/e"
                           : deed == PUT_ODD ? "k/below"
                           : deed == ADOPT   ? "adopted"
                                             : NULL;
        if (must != NULL && strcmp(must, keys[i]) == 0) {
            assert_true(str_eq(buf_str(&got), STR("new")));
        }
        assert_true(said != OK || deed != DELETE || i != 0 || status == E_NOT_FOUND);
        assert_true(said != OK || deed != COPY || (i != 4 && i != 5) || status == OK);
        bool right = status == OK ? !info.etag_weak && (str_eq(buf_str(&got), STR("old")) ||
                                                        str_eq(buf_str(&got), STR("new")))
                                  : status == E_NOT_FOUND && (i > 2 || i == 0);
        if (!right) {
            fail_msg("after a failed %s \"%s\" is %s: %s%.*s", what, keys[i], status_name(status),
                     err.msg, (int)got.len, got.ptr == NULL ? "" : got.ptr);
        }
    }
    struct stat st;
    assert_int_equal(stat(path_of("_lake/tmp"), &st), 0);
    assert_true(st.st_nlink <= 2);
    store_close(store);
}

static struct store *prepare(int lacking)
{
    struct err err = { 0 };
    MUST(io_remove_tree(dir, &err));
    assert_int_equal(mkdir(dir, 0755), 0);
    disk_start(dir);
    disk_lacks((lacking & 1) != 0, (lacking & 2) != 0);
    struct store *store = open_with(&disk_calls, (struct store_fault_hook){ 0 });
    put_text(store, "k", "old");
    put_text(store, "k/below", "old");
    put_text(store, "_lake/cat/p", "old");
    return store;
}

static void every_failed_call_is_an_error_and_harms_nothing(void **state)
{
    static const int errnos[] = { EIO, ENOSPC, EMFILE };
    for (size_t kind = 0; kind < ARRAY_LEN(errnos); kind++) {
        for (enum deed deed = PUT; deed < DEEDS; deed++) {
            int lacking = (int)(kind + deed) % 4;
            for (long n = 0;; n++) {
                struct store *store = prepare(lacking);
                struct err err = { 0 };
                disk_fail(n, errnos[kind]);
                enum status status = do_deed(store, deed, &err);
                const char *failed = disk_failed();
                disk_fail(-1, 0);
                store_close(store);
                /* Not to be found, not to be allowed or to be damaged would be a lie. */
                bool right = status == OK || status == E_INTERNAL || status == E_DISK_FULL ||
                             status == E_UNAVAILABLE || status == E_UPSTREAM;
                if (!right || (status != OK && err.kind != status) ||
                    (status != OK && failed == NULL)) {
                    fail_msg("deed %d, call %ld (%s): %s %s", (int)deed, n, failed,
                             status_name(status), err.msg);
                }
                expect_old_or_new(failed, deed, status);
                if (failed == NULL) {
                    assert_true(n > 3);
                    break;
                }
            }
        }
    }
}

static void every_failed_allocation_is_reported_and_harms_nothing(void **state)
{
    for (enum deed deed = PUT; deed < DEEDS; deed++) {
        for (long n = 0;; n++) {
            struct store *store = prepare(0);
            struct err err = { 0 };
            mem_fail_nth(n);
            enum status status = do_deed(store, deed, &err);
            bool happened = mem_fail_happened();
            mem_fail_nth(-1);
            store_close(store);
            if (happened ? status != E_NO_MEMORY || err.kind != E_NO_MEMORY : status != OK) {
                fail_msg("deed %d, allocation %ld: %s %s", (int)deed, n, status_name(status),
                         err.msg);
            }
            expect_old_or_new("allocation", deed, status);
            if (!happened) {
                break;
            }
        }
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_deleted_lake_is_unavailable_and_not_empty),
        T(a_lost_folder_of_the_lake_itself_is_no_news_about_keys),
        T(folders_of_unnamed_files_stay_empty_and_may_be_lost),
        T(what_may_not_be_read_is_not_listed),
        T(what_another_left_half_done_is_synced_before_it_is_believed),
        T(a_pointer_whose_fsync_failed_is_not_read_as_if_it_were_safe),
        T(a_disk_that_is_full_at_an_fsync_stops_nothing),
        T(every_failed_call_is_an_error_and_harms_nothing),
        T(every_failed_allocation_is_reported_and_harms_nothing),
    };
    return cmocka_run_group_tests_name("store fs faults", tests, NULL, NULL);
}
