/* Which files a compaction rewrites, which together, and which delete files it makes needless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "query/compact_plan.h"

enum { FILES_MAX = 12, DELETES_MAX = 6 };

/* In these tables a target is 100 bytes, a file has as many rows as bytes, and 3 files are
 * enough. */
struct plan_case {
    const char *what;
    struct compact_file files[FILES_MAX];       /* until one without a size */
    struct compact_delete deletes[DELETES_MAX]; /* until one without a sequence */
    const char *wanted;                         /* "0,1,2 3s": bins, and s splits, p spreads */
    bool all;
    int64_t max_bytes; /* 0: any */
};

#define FILE_OF(size, of) { .size_bytes = (size), .rows = (size), .sequence = 5, .partition = (of) }
#define OLD(size, of)                                                                              \
    { .size_bytes = (size), .rows = (size), .sequence = 5, .partition = (of), .old_spec = true }

static const struct plan_case plans[] = {
    { "nothing", { { 0 } }, { { 0 } }, "", false, 0 },
    { "few small files", { FILE_OF(10, 0), FILE_OF(10, 0) }, { { 0 } }, "", false, 0 },
    { "enough small files",
      { FILE_OF(10, 0), FILE_OF(80, 0), FILE_OF(10, 0), FILE_OF(10, 0) },
      { { 0 } },
      "0,2,3",
      false,
      0 },
    { "few that fill the target", { FILE_OF(40, 0), FILE_OF(40, 0) }, { { 0 } }, "0,1", false, 0 },
    { "of each partition by itself",
      { FILE_OF(9, 0), FILE_OF(9, 1), FILE_OF(9, 0), FILE_OF(9, 1), FILE_OF(9, 0) },
      { { 0 } },
      "0,2,4",
      false,
      0 },
    { "bins do not grow over the target",
      { FILE_OF(50, 0), FILE_OF(50, 0), FILE_OF(50, 0), FILE_OF(50, 0), FILE_OF(5, 0) },
      { { 0 } },
      "0,1 2,3",
      false,
      0 },
    { "one that is too large", { FILE_OF(181, 0), FILE_OF(180, 0) }, { { 0 } }, "0s", false, 0 },
    { "a large one between small ones",
      { FILE_OF(30, 0), FILE_OF(500, 0), FILE_OF(30, 0), FILE_OF(30, 0) },
      { { 0 } },
      "0,2,3 1s",
      false,
      0 },
    { "an old spec, whatever its size",
      { OLD(90, 0), FILE_OF(90, 1), OLD(90, 2) },
      { { 0 } },
      "0,2p",
      false,
      0 },
    { "all", { FILE_OF(90, 0), FILE_OF(90, 0) }, { { 0 } }, "0 1", true, 0 },
    { "no more bytes than asked",
      { FILE_OF(40, 0), FILE_OF(40, 0), FILE_OF(40, 1), FILE_OF(40, 1) },
      { { 0 } },
      "0,1",
      false,
      100 },
    { "one bin, even if that is more",
      { FILE_OF(40, 0), FILE_OF(40, 0) },
      { { 0 } },
      "0,1",
      false,
      10 },
    { "too many rows deleted",
      { FILE_OF(90, 0), FILE_OF(90, 0) },
      { { .rows = 30, .sequence = 6, .file = 1 } },
      "1",
      false,
      0 },
    { "few rows deleted",
      { FILE_OF(90, 0), FILE_OF(90, 0) },
      { { .rows = 20, .sequence = 6, .file = 1 } },
      "",
      false,
      0 },
    { "deleted before the file came",
      { FILE_OF(90, 0) },
      { { .rows = 80, .sequence = 4, .file = 0 } },
      "",
      false,
      0 },
    { "deleted by the same commit",
      { FILE_OF(90, 0) },
      { { .rows = 80, .sequence = 5, .file = 0 } },
      "0",
      false,
      0 },
    { "deleted somewhere in the partition",
      { FILE_OF(90, 0), FILE_OF(90, 0), FILE_OF(90, 1) },
      { { .rows = 60, .sequence = 6, .file = -1 } },
      "0 1",
      false,
      0 },
    { "many delete files",
      { FILE_OF(900, 1), FILE_OF(90, 0) },
      { { .by_value = true, .rows = 1, .sequence = 6, .partition = -1, .file = -1 },
        { .by_value = true, .rows = 1, .sequence = 7, .partition = 0, .file = -1 },
        { .rows = 1, .sequence = 7, .partition = 0, .file = -1 } },
      "0s 1",
      false,
      0 },
    { "by value: only what is older",
      { FILE_OF(90, 0) },
      { { .by_value = true, .rows = 1, .sequence = 5, .partition = -1, .file = -1 },
        { .by_value = true, .rows = 1, .sequence = 5, .partition = 0, .file = -1 },
        { .by_value = true, .rows = 1, .sequence = 6, .partition = 0, .file = -1 } },
      "",
      false,
      0 },
    { "what is left of them counts",
      { FILE_OF(90, 0), FILE_OF(90, 0) },
      { { .rows = 80, .sequence = 6, .file = 0 }, { .rows = 80, .sequence = 6, .file = 1 } },
      "0,1",
      false,
      0 },
};

static struct compact_input input_of(const struct plan_case *c, struct compact_file *files)
{
    struct compact_input in = { .files = files, .deletes = c->deletes, .partition_count = 3 };
    memcpy(files, c->files, sizeof(c->files));
    while (in.count < FILES_MAX && files[in.count].size_bytes > 0) {
        files[in.count++].is_chosen = true;
    }
    while (in.delete_count < DELETES_MAX && c->deletes[in.delete_count].sequence > 0) {
        in.delete_count++;
    }
    return in;
}

static const struct compact_opts some = { .target_bytes = 100,
                                          .max_bytes = 1 << 20,
                                          .min_input_files = 3,
                                          .delete_files_min = 3,
                                          .delete_share_min = 0.3 };

static void plans_are_as_they_should_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        const struct plan_case *c = &plans[i];
        struct compact_file files[FILES_MAX];
        struct compact_input in = input_of(c, files);
        struct compact_opts opts = some;
        struct compact_plan plan;
        struct arena arena;
        char got[256] = "";
        size_t len = 0;
        opts.all = c->all;
        opts.max_bytes = c->max_bytes > 0 ? c->max_bytes : opts.max_bytes;
        arena_init(&arena, 0);
        assert_int_equal(compact_plan(&arena, &in, &opts, &plan, NULL), OK);
        for (size_t b = 0; b < plan.count; b++) {
            for (size_t k = 0; k < plan.bins[b].count; k++) {
                len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%u",
                                        k > 0   ? ","
                                        : b > 0 ? " "
                                                : "",
                                        plan.bins[b].files[k]);
            }
            len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%s",
                                    plan.bins[b].splits ? "s" : "",
                                    plan.bins[b].spreads ? "p" : "");
        }
        if (strcmp(got, c->wanted) != 0) {
            fail_msg("%s: \"%s\", not \"%s\"", c->what, got, c->wanted);
        }
        arena_done(&arena);
    }
}

static void files_that_are_not_chosen_stay(void **state)
{
    (void)state;
    struct compact_file files[] = { FILE_OF(10, 0), FILE_OF(10, 0), FILE_OF(10, 0),
                                    FILE_OF(10, 0) };
    const struct compact_input in = { .files = files, .count = 4, .partition_count = 1 };
    struct compact_plan plan;
    struct arena arena;
    arena_init(&arena, 0);
    files[0].is_chosen = files[1].is_chosen = files[3].is_chosen = true;
    assert_int_equal(compact_plan(&arena, &in, &some, &plan, NULL), OK);
    assert_int_equal(plan.count, 1);
    assert_int_equal(plan.file_count, 3);
    assert_int_equal(plan.bytes, 30);
    assert_int_equal(plan.outputs, 1);
    assert_int_equal(plan.bins[0].files[2], 3);
    arena_done(&arena);
}

static struct rng rng;

static int draw(int below)
{
    return (int)rng_below(&rng, (uint64_t)below);
}

/** Every file is in one bin at most, whatever comes, and a bin is never more than it may be. */
static void random_plans_hold_what_they_promise(void **state)
{
    (void)state;
    enum { MANY = 3000, PARTITIONS = 7, DELETES = 200 };
    static struct compact_file files[MANY];
    static struct compact_delete deletes[DELETES];
    static bool seen[MANY];
    rng_seed(&rng, 7);
    for (int round = 0; round < 20; round++) {
        struct compact_plan plan;
        struct arena arena;
        const struct compact_input in = { .files = files,
                                          .count = MANY,
                                          .deletes = deletes,
                                          .delete_count = DELETES,
                                          .partition_count = PARTITIONS };
        memset(seen, 0, sizeof(seen));
        for (size_t i = 0; i < MANY; i++) {
            files[i] = (struct compact_file){ .size_bytes = draw(300),
                                              .rows = draw(300),
                                              .sequence = draw(50),
                                              .partition = (uint32_t)(draw(PARTITIONS)),
                                              .is_chosen = draw(8) > 0,
                                              .old_spec = draw(9) == 0 };
        }
        for (size_t i = 0; i < DELETES; i++) {
            deletes[i] = (struct compact_delete){ .by_value = draw(2) == 0,
                                                  .rows = draw(100),
                                                  .sequence = draw(50),
                                                  .partition = draw(PARTITIONS),
                                                  .file = draw(2) == 0 ? -1 : draw(MANY + 1) };
            deletes[i].partition = deletes[i].by_value && draw(4) == 0 ? -1 : deletes[i].partition;
            deletes[i].file = deletes[i].by_value ? -1 : deletes[i].file;
        }
        arena_init(&arena, 0);
        assert_int_equal(compact_plan(&arena, &in, &some, &plan, NULL), OK);
        assert_true(plan.count > 0);
        for (size_t b = 0; b < plan.count; b++) {
            const struct compact_bin *bin = &plan.bins[b];
            assert_true(bin->count == 1 || bin->live_bytes <= 100 * (bin->spreads ? 8 : 1));
            for (size_t k = 0; k < bin->count; k++) {
                const struct compact_file *file = &files[bin->files[k]];
                assert_false(seen[bin->files[k]]);
                assert_true(file->is_chosen);
                assert_int_equal(file->old_spec, bin->spreads);
                assert_true(bin->spreads || file->partition == files[bin->files[0]].partition);
                assert_true(k == 0 || bin->files[k] > bin->files[k - 1]);
                seen[bin->files[k]] = true;
            }
        }
        arena_done(&arena);
    }
}

/* --- delete files --- */

/** Pair by pair, as the specification has it. */
static bool counts(const struct compact_input *in, const struct compact_delete *one, size_t i)
{
    const struct compact_file *file = &in->files[i];
    if (one->file >= 0) {
        return one->file == (int64_t)i && file->sequence <= one->sequence;
    }
    bool there = one->partition < 0 || one->partition == (int64_t)file->partition;
    return there &&
           (one->by_value ? file->sequence < one->sequence : file->sequence <= one->sequence);
}

static void a_delete_file_is_needless_when_it_counts_for_no_file(void **state)
{
    (void)state;
    enum { MANY = 12, PARTITIONS = 3, DELETES = 20 };
    struct compact_file files[MANY];
    struct compact_delete deletes[DELETES];
    size_t needless_in_all = 0;
    rng_seed(&rng, 11);
    for (int round = 0; round < 300; round++) {
        bool gone[MANY], needless[DELETES];
        size_t count = 0, expected = 0;
        struct arena arena;
        const struct compact_input in = { .files = files,
                                          .count = MANY,
                                          .deletes = deletes,
                                          .delete_count = DELETES,
                                          .partition_count = PARTITIONS };
        for (size_t i = 0; i < MANY; i++) {
            files[i] = (struct compact_file){ .sequence = draw(6),
                                              .partition = (uint32_t)(draw(PARTITIONS)) };
            gone[i] = draw(3) > 0;
        }
        for (size_t i = 0; i < DELETES; i++) {
            bool by_value = draw(2) == 0;
            deletes[i] = (struct compact_delete){
                .by_value = by_value,
                .sequence = draw(6),
                .partition = by_value && draw(3) == 0 ? -1 : draw(PARTITIONS),
                .file = by_value || draw(2) == 0 ? -1 : draw(MANY + 1),
            };
        }
        arena_init(&arena, 0);
        assert_int_equal(compact_needless(&arena, &in, gone, needless, &count, NULL), OK);
        for (size_t d = 0; d < DELETES; d++) {
            bool needed = false;
            for (size_t i = 0; i < MANY; i++) {
                needed = needed || (!gone[i] && counts(&in, &deletes[d], i));
            }
            assert_int_equal(needless[d], !needed);
            expected += needed ? 0 : 1;
        }
        assert_int_equal(count, expected);
        needless_in_all += count;
        arena_done(&arena);
    }
    assert_true(needless_in_all > 100);
}

/** A bin of files 0 and 2, one of file 1. */
static void rows_that_may_be_missing_are_those_of_deletes(void **state)
{
    (void)state;
    static const struct compact_file files[] = { { .rows = 9 },
                                                 { .rows = 9, .partition = 1 },
                                                 { .rows = 9 } };
    struct compact_delete deletes[] = { { .rows = 3, .partition = 0, .file = 2 },
                                        { .rows = 2, .partition = 0, .file = -1 },
                                        { .rows = 1, .partition = -1, .file = 3 /* no more */ } };
    const struct compact_input in = { .files = files,
                                      .count = ARRAY_LEN(files),
                                      .deletes = deletes,
                                      .delete_count = ARRAY_LEN(deletes),
                                      .partition_count = 2 };
    struct compact_bin bins[] = { { .files = (uint32_t[]){ 0, 2 }, .count = 2 },
                                  { .files = (uint32_t[]){ 1 }, .count = 1 } };
    const struct compact_plan plan = { .bins = bins, .count = ARRAY_LEN(bins) };
    int64_t out[2];
    struct arena arena;
    arena_init(&arena, 0);
    assert_int_equal(compact_deleted_max(&arena, &in, &plan, out, NULL), OK);
    assert_int_equal(out[0], 5);
    assert_int_equal(out[1], 2);
    deletes[1] = (struct compact_delete){ .by_value = true, .rows = 1, .partition = 1, .file = -1 };
    assert_int_equal(compact_deleted_max(&arena, &in, &plan, out, NULL), OK);
    assert_int_equal(out[0], 3);
    assert_true(out[1] == INT64_MAX);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_as_they_should_be),
        cmocka_unit_test(files_that_are_not_chosen_stay),
        cmocka_unit_test(random_plans_hold_what_they_promise),
        cmocka_unit_test(a_delete_file_is_needless_when_it_counts_for_no_file),
        cmocka_unit_test(rows_that_may_be_missing_are_those_of_deletes),
    };
    return cmocka_run_group_tests_name("compact_plan", tests, NULL, NULL);
}
