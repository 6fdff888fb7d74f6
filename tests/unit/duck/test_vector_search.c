/*
 * vector_search against an index that we play ourselves: what is asked, and what becomes of the
 * answer.
 */
#include "lab.h"

#include <stdio.h>

/* What the last statement asked. */
static struct {
    unsigned times;
    char index[64], filter[64];
    float vector[8];
    struct duck_nearest nearest;
} asked;

static enum status refusal;

enum { HITS = 5000 }; /* more than one chunk */

static enum status search(void *ctx, const struct duck_nearest *nearest, struct arena *arena,
                          const struct duck_hit **out, size_t *count_out, struct err *err)
{
    assert_ptr_equal(ctx, &asked);
    asked.times++;
    asked.nearest = *nearest;
    snprintf(asked.index, sizeof asked.index, "%.*s", STR_ARG(nearest->index));
    snprintf(asked.filter, sizeof asked.filter, "%.*s", STR_ARG(nearest->filter));
    for (size_t i = 0; i < nearest->dimension && i < ARRAY_LEN(asked.vector); i++) {
        asked.vector[i] = nearest->vector[i];
    }
    if (refusal != OK) {
        return err_set(err, refusal, "index \"%s\" says no", asked.index);
    }
    size_t count = nearest->has_k ? nearest->k : 3;
    struct duck_hit *hits = arena_array(arena, count + 1, sizeof *hits);
    assert_non_null(hits);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "id %zu", i);
        hits[i].id = arena_str(arena, str_from(text, (size_t)len));
        hits[i].distance = (double)i / 4;
        hits[i].metadata = i == 1 ? (struct str){ NULL, 0 } : STR("{\"a\":[1,2]}");
    }
    *out = hits;
    *count_out = count;
    return OK;
}

static const struct duck_vectors vectors = { .search = search, .ctx = &asked };

static int fresh(void **state)
{
    lab_reset(state);
    memset(&asked, 0, sizeof asked);
    refusal = OK;
    lab_vectors(&vectors);
    return 0;
}

static int without(void **state)
{
    lab_vectors(NULL);
    return 0;
}

static void vector_search_gives_what_was_found_in_its_order(void **state)
{
    assert_string_equal(lab_rows("SELECT * FROM vector_search('docs', [1, 0.5, -2])"),
                        "[\"id 0\",0.0,\"{\\\"a\\\":[1,2]}\"],[\"id 1\",0.25,null],"
                        "[\"id 2\",0.5,\"{\\\"a\\\":[1,2]}\"]");
    assert_string_equal(asked.index, "docs");
    assert_int_equal(asked.nearest.dimension, 3);
    assert_true(asked.vector[0] == 1.0F && asked.vector[1] == 0.5F && asked.vector[2] == -2.0F);
    assert_true(!asked.nearest.has_k && !asked.nearest.has_ef && asked.nearest.with_metadata);
    assert_string_equal(asked.filter, "");
    assert_int_equal(asked.times, 1);
}

static void vector_search_passes_its_arguments_on(void **state)
{
    (void)lab_rows("SELECT id FROM vector_search('a b', ['0.1', '0.2']::FLOAT[2], K := 7, ef := 90,"
                   " filter := '{\"x\":1}')");
    assert_string_equal(asked.index, "a b");
    assert_string_equal(asked.filter, "{\"x\":1}");
    assert_true(asked.nearest.has_k && asked.nearest.k == 7);
    assert_true(asked.nearest.has_ef && asked.nearest.ef == 90);
    assert_true(asked.vector[0] == 0.1F && asked.vector[1] == 0.2F);
    assert_false(asked.nearest.with_metadata); /* nobody reads it */
    (void)lab_rows("SELECT id FROM vector_search('x', [1], k := 4294967295) WHERE false");
    (void)lab_rows("SELECT id FROM vector_search('x', [1], k := NULL, filter := NULL)");
    assert_true(!asked.nearest.has_k && asked.nearest.filter.len == 0);
    assert_string_equal(lab_query(DUCK_NDJSON_ARRAYS,
                                  "SELECT id FROM vector_search($i, $v::FLOAT[], k := $k)",
                                  "{\"i\":\"p\",\"v\":\"[3,4]\",\"k\":1}"),
                        "[\"id 0\"]\n");
    assert_true(asked.vector[0] == 3 && asked.vector[1] == 4);
}

static void vector_search_gives_many_chunks(void **state)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*), count(DISTINCT id), max(distance), count(metadata) "
             "FROM vector_search('x', [1], k := %d)",
             HITS);
    assert_string_equal(lab_rows(sql), "[5000,5000,1249.75,4999]");
    assert_string_equal(lab_rows("SELECT count(*) FROM vector_search('x', [1], k := 2048)"),
                        "[2048]");
    assert_string_equal(lab_rows("SELECT count(*) FROM vector_search('x', [1], k := 0)"), "[0]");
}

static void vector_search_is_asked_when_it_runs_and_not_by_explain(void **state)
{
    const char *plan = lab_query(DUCK_CSV, "EXPLAIN SELECT id FROM vector_search('far', [1])",
                                 NULL);
    assert_non_null(strstr(plan, "VECTOR_SEARCH"));
    assert_non_null(strstr(plan, "far"));
    (void)lab_rows("DESCRIBE SELECT * FROM vector_search('far', [1])");
    assert_int_equal(asked.times, 0);
    (void)lab_rows("WITH v AS NOT MATERIALIZED (SELECT * FROM vector_search('far', [1])) "
                   "SELECT count(*) FROM v a JOIN v b USING (id)");
    assert_in_range(asked.times, 1, 2);
}

static void vector_search_refuses_arguments_that_are_none(void **state)
{
    assert_fails("SELECT * FROM vector_search('', [1])", E_INVALID, "line 1, column 15: ");
    assert_fails("SELECT * FROM vector_search(NULL, [1])", E_INVALID, "the name of an index");
    assert_fails("SELECT * FROM vector_search('x', NULL::FLOAT[])", E_INVALID, "is NULL");
    assert_fails("SELECT * FROM vector_search('x', [1, NULL])", E_INVALID, "number 2 of the");
    assert_fails("SELECT * FROM vector_search('x', ['inf'::DOUBLE])", E_INVALID, "number 1 of the");
    assert_fails("SELECT * FROM vector_search('x', [1e39])", E_INVALID, "a float can hold");
    assert_fails("SELECT * FROM vector_search('x', ['a'])", E_INVALID, "");
    assert_fails("SELECT * FROM vector_search('x', [1], k := -1)", E_INVALID, "\"k\" is -1");
    assert_fails("SELECT * FROM vector_search('x', [1], ef := 4294967296)", E_INVALID,
                 "\"ef\" is 4294967296");
    assert_fails("SELECT * FROM vector_search('x', [1], filter := '')", E_INVALID, "empty");
    assert_fails("SELECT * FROM vector_search('x', [1], deep := 1)", E_INVALID, "deep");
    assert_int_equal(asked.times, 0);
}

static void vector_search_tells_what_the_index_says(void **state)
{
    static const enum status kinds[] = { E_NOT_FOUND, E_INVALID,   E_UPSTREAM,
                                         E_TIMEOUT,   E_TOO_LARGE, E_UNAVAILABLE };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        refusal = kinds[i];
        assert_fails("SELECT * FROM vector_search('docs', [1])", kinds[i],
                     "index \"docs\" says no");
        assert_fails("SELECT t.* FROM t JOIN vector_search('docs', [1]) v ON v.id = t.b", kinds[i],
                     "index \"docs\" says no");
    }
}

static void vector_search_without_vectors_says_so(void **state)
{
    lab_vectors(NULL);
    assert_fails("SELECT * FROM vector_search('docs', [1])", E_UNSUPPORTED, "no vector indexes");
}

static const struct duck_column simple[] = {
    { .name = STR_INIT("a"), .id = 1, .type = STR_INIT("BIGINT") },
    { .name = STR_INIT("b"), .id = 2, .type = STR_INIT("VARCHAR") },
};

static int with_table(void **state)
{
    fresh(state);
    lab_write(lab_add("main", "t", simple, 2), "t.parquet",
              "SELECT i a, 'id ' || i b FROM range(3) r(i)", ", FIELD_IDS {a: 1, b: 2}");
    return 0;
}

static void vector_search_joins_with_a_table(void **state)
{
    assert_string_equal(lab_rows("SELECT t.a, v.distance FROM vector_search('docs', [1], k := 2) v "
                                 "JOIN t ON t.b = v.id ORDER BY v.distance DESC"),
                        "[1,0.25],[0,0.0]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_table, without)
        TEST(vector_search_gives_what_was_found_in_its_order),
        TEST(vector_search_passes_its_arguments_on),
        TEST(vector_search_gives_many_chunks),
        TEST(vector_search_is_asked_when_it_runs_and_not_by_explain),
        TEST(vector_search_refuses_arguments_that_are_none),
        TEST(vector_search_tells_what_the_index_says),
        TEST(vector_search_without_vectors_says_so),
        TEST(vector_search_joins_with_a_table),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
