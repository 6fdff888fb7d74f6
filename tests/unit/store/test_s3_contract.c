/*
 * The contract suite over the S3 driver, against the store that the environment names:
 *
 *     S3_ENDPOINT  S3_BUCKET  S3_ACCESS_KEY  S3_SECRET_KEY  [S3_VIRTUAL_HOST]
 *     [S3_TREE]  it keeps objects in folders (contract.h)
 *     [S3_NO_DELETE_IF]  it deletes whatever the condition
 *     [S3_LEASE_MS]  its conditions do not hold, and a lease of that time does instead
 *
 * tests/integration/test_s3_store.py starts stores and runs it. Without S3_ENDPOINT only what needs
 * no store is tested: the settings.
 */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "store/upload.h"

static struct str from_env(const char *name)
{
    const char *value = getenv(name);
    return str_of(value != NULL ? value : "");
}

/** A prefix of its own for each test: a bucket is shared and never empty. */
static struct store *open_store(void)
{
    char prefix[64], id[UUID_TEXT + 1];
    struct err err = { 0 };
    struct store *store = NULL;
    uuid4(id);
    snprintf(prefix, sizeof prefix, "contract/%s", id);
    MUST(store_s3_open(&(struct store_s3_opts){ .endpoint = getenv("S3_ENDPOINT"),
                                                .bucket = getenv("S3_BUCKET"),
                                                .prefix = prefix,
                                                .access_key = from_env("S3_ACCESS_KEY"),
                                                .secret_key = from_env("S3_SECRET_KEY"),
                                                .single_writer = getenv("S3_LEASE_MS") != NULL,
                                                .lease_ms = atoi(from_env("S3_LEASE_MS").ptr),
                                                .virtual_host = getenv("S3_VIRTUAL_HOST") != NULL },
                       &store, &err));
    return store;
}

static void expect_refused(struct store_s3_opts opts, const char *words)
{
    struct store *store = NULL;
    struct err err = { 0 };
    assert_int_equal(store_s3_open(&opts, &store, &err), E_INVALID);
    assert_non_null(strstr(err.msg, words));
}

static void settings_that_cannot_be_are_refused_by_name(void **state)
{
    const struct store_s3_opts good = { .endpoint = "http://127.0.0.1:9000",
                                        .bucket = "lake",
                                        .access_key = STR("a"),
                                        .secret_key = STR("s") };
    struct store_s3_opts opts = good;
    opts.endpoint = "127.0.0.1:9000";
    expect_refused(opts, "s3.endpoint");
    opts.endpoint = "http://127.0.0.1:9000/path";
    expect_refused(opts, "has a path");
    opts = good;
    opts.bucket = "a/b";
    expect_refused(opts, "s3.bucket");
    opts = good;
    opts.prefix = "a/../b";
    expect_refused(opts, "s3.prefix");
    opts = good;
    opts.secret_key = STR_EMPTY;
    expect_refused(opts, "s3.secret_key is not");
    (void)state;
}

static void the_uri_names_bucket_and_prefix(void **state)
{
    struct store *store = NULL;
    struct err err = { 0 };
    MUST(store_s3_open(&(struct store_s3_opts){ .endpoint = "http://127.0.0.1:9000",
                                                .bucket = "lake",
                                                .prefix = "/a/b/",
                                                .access_key = STR("a"),
                                                .secret_key = STR("s") },
                       &store, &err));
    assert_true(str_eq(store_root_uri(store), STR("s3://lake/a/b")));
    store_close(store);
    (void)state;
}

/* --- what crashes leave of uploads in parts --- */

static int setup(void **state)
{
    *state = open_store();
    return *state == NULL;
}

static int teardown(void **state)
{
    store_close(*state);
    return 0;
}

static size_t count_below(struct store *store, const char *prefix)
{
    struct arena arena;
    struct store_list list;
    struct err err = { 0 };
    arena_init(&arena, 0);
    MUST(store_list(store, &(struct store_list_opts){ .prefix = str_of(prefix) }, &arena, &list,
                    &err));
    size_t count = list.object_count;
    arena_done(&arena);
    return count;
}

/** Begin an upload and send a part of it. */
static void begin(struct store *store, struct arena *arena)
{
    struct store_writer *writer = NULL;
    struct str id;
    struct err err = { 0 };
    MUST(store_upload_begin(store, STR("u/left"), NULL, arena, &id, &err));
    MUST(store_part_open(store, STR("u/left"), id, 1, 1, &writer, &err));
    MUST(store_writer_write(writer, STR("x"), &err));
    MUST(store_writer_commit(writer, NULL, &err));
}

static void parts_without_a_record_and_ended_records_are_swept(void **state)
{
    struct store *store = *state;
    struct arena arena;
    struct store_list list;
    struct err err = { 0 };
    size_t count = 9;
    arena_init(&arena, 0);
    for (int ended = 0; ended < 2; ended++) {
        begin(store, &arena);
        begin(store, &arena);
        MUST(store_list(store, &(struct store_list_opts){ .prefix = STR("_lake/uploads/open/") },
                        &arena, &list, &err));
        assert_int_equal(list.object_count, 2);
        /* of the first one the record is gone, or empty: whoever ended it was killed over it */
        MUST(ended ? store_put(store, list.objects[0].key, STR(""), NULL, NULL, &err)
                   : store_delete(store, list.objects[0].key, &err));
        MUST(store_uploads_sweep(store, 3600 * 1000, &count, &err));
        assert_int_equal(count, 0);
        assert_int_equal(count_below(store, "_lake/uploads/open/"), 1);  /* the other one is used */
        assert_int_equal(count_below(store, "_lake/uploads/parts/"), 2); /* not long enough */
        MUST(store_uploads_sweep(store, -1000, &count, &err));
        assert_int_equal(count, 1);
        assert_int_equal(count_below(store, "_lake/uploads/"), 0);
    }
    arena_done(&arena);
}

int main(void)
{
    const struct contract_driver driver = {
        .open = open_store,
        .close = store_close,
        .remote = true,
        .tree = getenv("S3_TREE") != NULL,
        .attrs_bytes_max = 1024,
        .new_times = true,
        .no_delete_if = getenv("S3_NO_DELETE_IF") != NULL,
        .plain_keys = true,
        .part_bytes_min = 5 * 1024 * 1024,
        .uri_scheme = "s3://",
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_cannot_be_are_refused_by_name),
        cmocka_unit_test(the_uri_names_bucket_and_prefix),
    };
    const struct CMUnitTest of_uploads[] = {
        cmocka_unit_test_setup_teardown(parts_without_a_record_and_ended_records_are_swept, setup,
                                        teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (getenv("S3_ENDPOINT") != NULL) {
        failed += cmocka_run_group_tests(of_uploads, NULL, NULL) + contract_run("s3", &driver);
    }
    return failed;
}
