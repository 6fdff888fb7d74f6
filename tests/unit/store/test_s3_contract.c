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

/** The store below a prefix, by a clock or the machine's. */
static struct store *open_at(const char *prefix, const struct lake_clock *clock)
{
    struct err err = { 0 };
    struct store *store = NULL;
    MUST(store_s3_open(&(struct store_s3_opts){ .endpoint = getenv("S3_ENDPOINT"),
                                                .bucket = getenv("S3_BUCKET"),
                                                .prefix = prefix,
                                                .access_key = from_env("S3_ACCESS_KEY"),
                                                .secret_key = from_env("S3_SECRET_KEY"),
                                                .single_writer = getenv("S3_LEASE_MS") != NULL,
                                                .lease_ms = atoi(from_env("S3_LEASE_MS").ptr),
                                                .virtual_host = getenv("S3_VIRTUAL_HOST") != NULL,
                                                .clock = clock },
                       &store, &err));
    return store;
}

/** A prefix of its own for each test: a bucket is shared and never empty. */
static void fresh_prefix(char out[64])
{
    char id[UUID_TEXT + 1];
    uuid4(id);
    (void)snprintf(out, 64, "contract/%s", id);
}

static struct store *open_store(void)
{
    char prefix[64];
    fresh_prefix(prefix);
    return open_at(prefix, NULL);
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
    struct store_swept swept = { .dropped = 9 };
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
        MUST(store_uploads_sweep(store, 3600 * 1000, &swept, &err));
        assert_int_equal(swept.dropped, 0);
        assert_int_equal(count_below(store, "_lake/uploads/open/"), 1);  /* the other one is used */
        assert_int_equal(count_below(store, "_lake/uploads/parts/"), 2); /* not long enough */
        MUST(store_uploads_sweep(store, -1000, &swept, &err));
        assert_int_equal(swept.dropped, 1);
        assert_int_equal(count_below(store, "_lake/uploads/"), 0);
    }
    arena_done(&arena);
}

/** Overwrite the record of the upload of `key` by what is none; its id. */
static struct str damage(struct store *store, struct str key, const char *text, struct arena *arena)
{
    struct store_list list;
    struct str id, prefix;
    struct err err = { 0 };
    MUST(store_upload_begin(store, key, NULL, arena, &id, &err));
    prefix = arena_printf(arena, "_lake/uploads/open/%.*s.", STR_ARG(id));
    MUST(store_list(store, &(struct store_list_opts){ .prefix = prefix }, arena, &list, &err));
    assert_int_equal(list.object_count, 1);
    MUST(store_put(store, list.objects[0].key, str_of(text), NULL, NULL, &err));
    return id;
}

static void what_cannot_be_read_stops_no_sweep_and_no_list(void **state)
{
    struct store *store = *state;
    struct arena arena;
    struct store_uploads uploads;
    struct store_swept swept;
    struct err err = { 0 };
    char key[200];
    arena_init(&arena, 0);
    memset(key, 'k', sizeof key); /* too long for a name: its record tells it */
    struct str long_key = str_from(key, sizeof key);
    struct str of_long = damage(store, long_key, "{", &arena);
    struct str of_short = damage(store, STR("u/damaged"), "[1]", &arena);
    (void)damage(store, STR("u/newer"), "{\"version\":9,\"key\":\"u/newer\",\"attrs\":\"\"}",
                 &arena);
    begin(store, &arena);
    MUST(store_upload_list(store, NULL, &arena, &uploads, &err));
    assert_int_equal(uploads.unreadable, 1); /* of the others the names tell enough */
    assert_int_equal(uploads.count, 3);
    assert_true(str_find(uploads.why, STR("it is no JSON")) != SIZE_MAX);
    MUST(store_uploads_sweep(store, -1000, &swept, &err));
    assert_int_equal(swept.dropped, 1);
    assert_int_equal(swept.unreadable, 3);
    assert_string_not_equal(swept.why.msg, "");
    assert_int_equal(count_below(store, "_lake/uploads/open/"), 3);
    /* who asks for it gets rid of what is damaged, not of what another version wrote */
    MUST(store_upload_abort(store, long_key, of_long, &err));
    MUST(store_upload_abort(store, STR("u/damaged"), of_short, &err));
    assert_int_equal(count_below(store, "_lake/uploads/open/"), 1);
    MUST(store_upload_list(store, NULL, &arena, &uploads, &err));
    assert_int_equal(uploads.count, 1);
    assert_int_equal(store_upload_abort(store, uploads.items[0].key, uploads.items[0].id, &err),
                     E_UNSUPPORTED);
    arena_done(&arena);
}

/* --- clocks --- */

static int64_t late_ms(void *ctx)
{
    (void)ctx;
    return clock_wall_ms(clock_real()) - 5 * 60 * 1000; /* as far as stores allow, and some */
}

static int64_t mono_ms(void *ctx)
{
    (void)ctx;
    return clock_mono_ms(clock_real());
}

static void send_part(struct store *store, struct str id, struct str bytes)
{
    struct store_writer *writer = NULL;
    struct err err = { 0 };
    MUST(store_part_open(store, STR("u/k"), id, 7, (int64_t)bytes.len, &writer, &err));
    MUST(store_writer_write(writer, bytes, &err));
    MUST(store_writer_commit(writer, NULL, &err));
}

static void a_part_sent_again_counts_whatever_the_clock_says(void **state)
{
    const struct lake_clock late = { .wall_ms = late_ms, .mono_ms = mono_ms };
    struct arena arena;
    struct store_parts parts;
    struct str id;
    struct err err = { 0 };
    char prefix[64];
    fresh_prefix(prefix);
    struct store *stores[] = { open_at(prefix, NULL), open_at(prefix, &late) };
    arena_init(&arena, 0);
    MUST(store_upload_begin(stores[0], STR("u/k"), NULL, &arena, &id, &err));
    for (int i = 0; i < 4; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%.*s", i + 1, "again");
        send_part(stores[i % 2], id, str_from(text, (size_t)len));
        MUST(store_upload_parts(stores[0], STR("u/k"), id, 0, 0, &arena, &parts, &err));
        assert_int_equal(parts.count, 1);
        assert_int_equal(parts.items[0].size, i + 1);
    }
    MUST(store_upload_abort(stores[0], STR("u/k"), id, &err));
    assert_int_equal(count_below(stores[0], "_lake/uploads/"), 0);
    arena_done(&arena);
    store_close(stores[0]);
    store_close(stores[1]);
    (void)state;
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
        cmocka_unit_test_setup_teardown(what_cannot_be_read_stops_no_sweep_and_no_list, setup,
                                        teardown),
        cmocka_unit_test(a_part_sent_again_counts_whatever_the_clock_says),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (getenv("S3_ENDPOINT") != NULL) {
        failed += cmocka_run_group_tests(of_uploads, NULL, NULL) + contract_run("s3", &driver);
    }
    return failed;
}
