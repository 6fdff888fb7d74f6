/* Which snapshots and refs go, by the specification's rules and by ours. */
#include "helper.h"

#include <stdio.h>

#include "iceberg/change.h"
#include "iceberg/expiry.h"

/*
 * Snapshots by id; each stands on the one that is given, at that time:
 *
 *      10 (1000) <- 20 (2000) <- 30 (3000) <- 40 (4000)        main
 *                        ^------ 25 (2500) <- 26 (2600)        a branch
 *      90 (3500)                                               staged: no ref leads to it
 */
static const struct ice_expiry_snapshot snapshots[] = {
    { 10, -1, 1000 }, { 20, 10, 2000 }, { 30, 20, 3000 }, { 40, 30, 4000 },
    { 25, 20, 2500 }, { 26, 25, 2600 }, { 90, 20, 3500 },
};

#define MAIN { .name = STR("main"), .snapshot_id = 40 }
#define REF(text, id, ...) { .name = STR(text), .snapshot_id = (id), __VA_ARGS__ }

struct expiry_case {
    const char *what;
    struct ice_expiry_ref refs[3];
    size_t ref_count;
    struct ice_expiry_rule rule;
    const char *expired, *refs_gone;
};

static const struct expiry_case cases[] = {
    { "nothing is old", { MAIN }, 1, { .now_ms = 5000, .older_than_ms = 1000 }, "", "" },
    { "by age, and what no ref leads to by its own",
      { MAIN },
      1,
      { .now_ms = 5000, .older_than_ms = 3000 },
      "10 20 25 26",
      "" },
    { "all are old: what main names stays",
      { MAIN },
      1,
      { .now_ms = 9000, .older_than_ms = 9000 },
      "10 20 30 25 26 90",
      "" },
    { "the newest of main stay",
      { MAIN },
      1,
      { .now_ms = 9000, .older_than_ms = 9000, .keep_min = 3 },
      "10 25 26 90",
      "" },
    { "what main says of itself goes before the rule",
      { REF("main", 40, .keep_min = 2, .snapshot_age_max_ms = 1000) },
      1,
      { .now_ms = 9000, .older_than_ms = 0, .keep_min = 4 },
      "10 20",
      "" },
    { "a branch keeps its own history",
      { MAIN, REF("b", 26, .snapshot_age_max_ms = 6600) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000 },
      "10 20 30 90", /* 25 is 6500 old */
      "" },
    { "a branch's newest by number",
      { MAIN, REF("b", 26, .keep_min = 3) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000 },
      "10 30 90",
      "" },
    { "a tag keeps one",
      { MAIN, REF("t", 20, .is_tag = true, .keep_min = 5) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000 },
      "10 30 25 26 90",
      "" },
    { "a ref that is too old goes, by what it says or by the rule",
      { MAIN, REF("b", 26, .ref_age_max_ms = 6000), REF("t", 20, .is_tag = true) },
      3,
      { .now_ms = 9000, .older_than_ms = 9000, .ref_age_max_ms = 6500 },
      "10 20 30 25 26 90",
      "b t" },
    { "main never goes, nor a ref that says longer",
      { REF("main", 40, .ref_age_max_ms = 1),
        REF("t", 20, .is_tag = true, .ref_age_max_ms = 7000) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000, .ref_age_max_ms = 1 },
      "10 30 25 26 90",
      "" },
    { "a ref to nothing goes",
      { MAIN, REF("b", 77) },
      2,
      { .now_ms = 5000, .older_than_ms = 0 },
      "",
      "b" },
    { "a table without refs keeps what is young",
      { MAIN },
      0,
      { .now_ms = 5000, .older_than_ms = 3000 },
      "10 20 25 26",
      "" },
    { "a bound on the number takes the oldest, young or not",
      { MAIN },
      1,
      { .now_ms = 5000, .older_than_ms = 0, .snapshots_max = 4 }, /* cut to 3 */
      "10 20 25 26",
      "" },
    { "and never what must stay",
      { MAIN, REF("t", 10, .is_tag = true) },
      2,
      { .now_ms = 5000, .older_than_ms = 0, .keep_min = 2, .snapshots_max = 1 },
      "20 25 26 90",
      "" },
    { "our commits: other branches stay whole, main's newest is to come",
      { MAIN, REF("b", 26, .ref_age_max_ms = 1) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000, .coming = 1, .main_only = true },
      "30 40 90",
      "" },
    { "ages larger than time itself",
      { REF("main", 40, .snapshot_age_max_ms = INT64_MAX),
        REF("b", 26, .ref_age_max_ms = INT64_MAX, .keep_min = INT64_MAX) },
      2,
      { .now_ms = 9000, .older_than_ms = 9000 },
      "90",
      "" },
};

static void each_case_lets_go_what_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct expiry_case *c = &cases[i];
        struct arena arena;
        struct ice_expiry plan;
        struct ice_expiry_table table = { .snapshots = snapshots,
                                          .snapshot_count = ARRAY_LEN(snapshots),
                                          .refs = c->refs,
                                          .ref_count = c->ref_count };
        char expired[200] = "", refs[200] = "";
        size_t at = 0, ref_at = 0, count = 0;
        arena_init(&arena, 0);
        assert_int_equal(ice_expiry_plan(&table, &c->rule, &arena, &plan, NULL), OK);
        for (size_t s = 0; s < ARRAY_LEN(snapshots); s++) {
            if (plan.expired[s]) {
                count++;
                at += (size_t)snprintf(expired + at, sizeof(expired) - at, "%s%lld",
                                       at == 0 ? "" : " ", (long long)snapshots[s].id);
            }
        }
        for (size_t r = 0; r < c->ref_count; r++) {
            if (plan.ref_goes[r]) {
                ref_at += (size_t)snprintf(refs + ref_at, sizeof(refs) - ref_at, "%s%.*s",
                                           ref_at == 0 ? "" : " ", STR_ARG(c->refs[r].name));
            }
        }
        if (strcmp(expired, c->expired) != 0 || strcmp(refs, c->refs_gone) != 0) {
            fail_msg("%s: \"%s\" and refs \"%s\" went, not \"%s\" and \"%s\"", c->what, expired,
                     refs, c->expired, c->refs_gone);
        }
        assert_int_equal(plan.expired_count, count);
        arena_done(&arena);
    }
}

static void a_circle_of_parents_ends(void **state)
{
    (void)state;
    static const struct ice_expiry_snapshot circle[] = { { 1, 2, 1 }, { 2, 1, 2 } };
    const struct ice_expiry_ref main_ref = { .name = STR("main"), .snapshot_id = 2 };
    struct ice_expiry_table table = {
        .snapshots = circle, .snapshot_count = 2, .refs = &main_ref, .ref_count = 1
    };
    struct ice_expiry_rule rule = { .now_ms = 9, .older_than_ms = 9, .keep_min = 100 };
    struct ice_expiry plan;
    struct arena arena;
    arena_init(&arena, 0);
    assert_int_equal(ice_expiry_plan(&table, &rule, &arena, &plan, NULL), OK);
    assert_int_equal(plan.expired_count, 0);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_case_lets_go_what_it_should),
        cmocka_unit_test(a_circle_of_parents_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
