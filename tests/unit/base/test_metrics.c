/* Metrics: counting and the Prometheus text. */
#include "testing.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/metrics.h"

static void counters_add_whole_and_broken_amounts(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metric *metric = metric_get(metrics, METRIC_COUNTER, "c", "", "help");
    metric_add(metric, 3);
    metric_add(metric, 0.25);
    metric_add(metric, 1e18);
    assert_true(metric_value(metric) == 1e18 + 3.25);
    metrics_free(metrics);
}

static void the_same_series_is_found_again_and_labels_make_another(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metric *a = metric_get(metrics, METRIC_COUNTER, "c", "x=\"1\"", "help");
    assert_ptr_equal(metric_get(metrics, METRIC_COUNTER, "c", "x=\"1\"", "other help"), a);
    assert_ptr_not_equal(metric_get(metrics, METRIC_COUNTER, "c", "x=\"2\"", "help"), a);
    assert_ptr_not_equal(metric_get(metrics, METRIC_COUNTER, "d", "x=\"1\"", "help"), a);
    metrics_free(metrics);
}

static void null_counts_nowhere(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_null(metric_get(NULL, METRIC_COUNTER, "c", "", ""));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe(NULL, 1);
    assert_true(metric_value(NULL) == 0);
    metrics_on_render(NULL, NULL, NULL);
    assert_int_equal(metrics_render(NULL, &out), OK);
    assert_int_equal(out.len, 0);
    metrics_free(NULL);
}

static void families_stand_together_in_order_of_registration(void **state)
{
    struct metrics *metrics = metrics_new();
    metric_add(metric_get(metrics, METRIC_COUNTER, "b_total", "r=\"/x\"", "two\nlines \\"), 2);
    metric_set(metric_get(metrics, METRIC_GAUGE, "a", "", "A gauge."), -0.1);
    metric_add(metric_get(metrics, METRIC_COUNTER, "b_total", "r=\"/y\"", ""), 3000000000);
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(metrics_render(metrics, &out), OK);
    assert_str(buf_str(&out), "# HELP b_total two\\nlines \\\\\n"
                              "# TYPE b_total counter\n"
                              "b_total{r=\"/x\"} 2\n"
                              "b_total{r=\"/y\"} 3000000000\n"
                              "# HELP a A gauge.\n"
                              "# TYPE a gauge\n"
                              "a -0.1\n");
    buf_done(&out);
    metrics_free(metrics);
}

static void odd_gauges_are_written_as_prometheus_reads_them(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metric *gauge = metric_get(metrics, METRIC_GAUGE, "g", "", "");
    static const struct {
        double value;
        const char *text;
    } cases[] = { { NAN, "\ng NaN\n" }, { INFINITY, "\ng +Inf\n" }, { -INFINITY, "\ng -Inf\n" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        buf_init(&out, 0);
        metric_set(gauge, cases[i].value);
        assert_int_equal(metrics_render(metrics, &out), OK);
        assert_true(str_ends(buf_str(&out), str_of(cases[i].text)));
        buf_done(&out);
    }
    metrics_free(metrics);
}

static void histograms_are_cumulative_and_bounds_belong_to_their_bucket(void **state)
{
    struct metrics *metrics = metrics_new();
    struct metric *h = metric_get(metrics, METRIC_HISTOGRAM, "h", "r=\"/\"", "H");
    metric_observe(h, 0.000244140625); /* 2^-12: sums stay exact */
    metric_observe(h, 0.25);
    metric_observe(h, 60);
    metric_observe(h, 61);
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(metrics_render(metrics, &out), OK);
    struct str text = buf_str(&out);
    static const char *const lines[] = {
        "# TYPE h histogram\n",
        "\nh_bucket{r=\"/\",le=\"0.0005\"} 1\n",
        "\nh_bucket{r=\"/\",le=\"0.1\"} 1\n",
        "\nh_bucket{r=\"/\",le=\"0.25\"} 2\n",
        "\nh_bucket{r=\"/\",le=\"30\"} 2\n",
        "\nh_bucket{r=\"/\",le=\"60\"} 3\n",
        "\nh_bucket{r=\"/\",le=\"+Inf\"} 4\n",
        "\nh_sum{r=\"/\"} 121.250244140625\n",
        "\nh_count{r=\"/\"} 4\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (str_find(text, str_of(lines[i])) == SIZE_MAX) {
            fail_msg("no \"%s\" in:\n%.*s", lines[i], STR_ARG(text));
        }
    }
    buf_done(&out);
    metrics_free(metrics);
}

static void set_from_hook(void *ctx)
{
    metric_set(metric_get(ctx, METRIC_GAUGE, "late", "", "set by the hook"), 7);
}

static void hooks_run_before_rendering_and_may_register(void **state)
{
    struct metrics *metrics = metrics_new();
    struct buf out;
    buf_init(&out, 0);
    metrics_on_render(metrics, set_from_hook, metrics);
    assert_int_equal(metrics_render(metrics, &out), OK);
    assert_true(str_ends(buf_str(&out), STR("\nlate 7\n")));
    buf_done(&out);
    metrics_free(metrics);
}

static void *count_much(void *arg)
{
    struct metric *counter = metric_get(arg, METRIC_COUNTER, "c", "", "");
    struct metric *histogram = metric_get(arg, METRIC_HISTOGRAM, "h", "", "");
    for (int i = 0; i < 10000; i++) {
        metric_add(counter, 1);
        metric_add(counter, 0.5);
        metric_observe(histogram, 0.25);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    struct metrics *metrics = metrics_new();
    struct buf out;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, metrics), 0);
    }
    buf_init(&out, 0);
    for (int i = 0; i < 50; i++) { /* reading meanwhile is fine */
        buf_clear(&out);
        assert_int_equal(metrics_render(metrics, &out), OK);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(metric_value(metric_get(metrics, METRIC_COUNTER, "c", "", "")) == 60000);
    assert_true(metric_value(metric_get(metrics, METRIC_HISTOGRAM, "h", "", "")) == 10000);
    buf_done(&out);
    metrics_free(metrics);
}

static void the_number_of_series_is_limited(void **state)
{
    struct metrics *metrics = metrics_new();
    char labels[32];
    for (int i = 0; i < METRICS_SERIES_MAX; i++) {
        snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        assert_non_null(metric_get(metrics, METRIC_COUNTER, "c", labels, ""));
    }
    assert_null(metric_get(metrics, METRIC_COUNTER, "c", "i=\"more\"", ""));
    assert_non_null(metric_get(metrics, METRIC_COUNTER, "c", "i=\"0\"", ""));
    metrics_free(metrics);
}

static enum status register_all(void)
{
    struct metrics *metrics = metrics_new();
    if (metrics == NULL) {
        return E_NO_MEMORY;
    }
    struct metric *a = metric_get(metrics, METRIC_COUNTER, "a", "", "");
    struct metric *b = metric_get(metrics, METRIC_HISTOGRAM, "b", "", "");
    struct buf out;
    buf_init(&out, 0);
    enum status status = a == NULL || b == NULL ? E_NO_MEMORY : metrics_render(metrics, &out);
    buf_done(&out);
    metrics_free(metrics);
    return status;
}

static void without_memory_a_series_is_null_and_nothing_leaks(void **state)
{
    FAIL_EVERY_ALLOCATION(register_all(), {});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_add_whole_and_broken_amounts),
        cmocka_unit_test(the_same_series_is_found_again_and_labels_make_another),
        cmocka_unit_test(null_counts_nowhere),
        cmocka_unit_test(families_stand_together_in_order_of_registration),
        cmocka_unit_test(odd_gauges_are_written_as_prometheus_reads_them),
        cmocka_unit_test(histograms_are_cumulative_and_bounds_belong_to_their_bucket),
        cmocka_unit_test(hooks_run_before_rendering_and_may_register),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(the_number_of_series_is_limited),
        cmocka_unit_test(without_memory_a_series_is_null_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
