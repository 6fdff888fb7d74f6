/*
 * Metrics in the Prometheus text format 0.0.4.
 *
 *     registry -> family (name, kind, help) -> series (labels, numbers) -> series -> ...
 *              -> family ...
 *
 * Families and series are only ever added, so a `struct metric *` stays good until metrics_free
 * and counting needs no lock. All counting is relaxed: a number publishes nothing but itself.
 *
 * A counter's whole numbers go through one atomic add; fractions and gauges are doubles kept as
 * bits, added by compare-and-swap. The value is the sum of both parts.
 */
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"

/* Upper bounds in seconds; chosen: cached answers take about 1 ms, a query may take a minute. */
static const double bucket_bounds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                        0.25,   0.5,   1,      2.5,   5,    10,    30,   60 };
enum { BUCKET_COUNT = ARRAY_LEN(bucket_bounds) + 1 /* the last has no bound */ };

struct metric {
    struct metric *next; /* in the family; guarded by the registry's lock */
    char *labels;
    enum metric_kind kind;
    atomic_int_fast64_t whole;      /* counters: the sum of whole amounts */
    atomic_uint_fast64_t real_bits; /* a double: gauges, fractions, a histogram's sum */
    atomic_uint_fast64_t *buckets;  /* [BUCKET_COUNT], not cumulative; NULL unless a histogram */
};

struct family {
    struct family *next;
    char *name;
    char *help;
    enum metric_kind kind;
    struct metric *first;
    struct metric *last;
};

struct hook {
    struct hook *next;
    void (*fn)(void *ctx);
    void *ctx;
};

struct metrics {
    pthread_mutex_t lock;
    struct map families;  /* by name; guarded by lock */
    struct map series;    /* by name{labels}; guarded by lock */
    struct family *first; /* guarded by lock */
    struct family *last;  /* guarded by lock */
    struct hook *hooks;   /* guarded by lock; only added in front */
};

static struct metric *find_or_make(struct metrics *metrics, enum metric_kind kind, const char *name,
                                   const char *labels, const char *help);
static struct family *get_family(struct metrics *metrics, enum metric_kind kind, const char *name,
                                 const char *help);
static struct metric *make_metric(enum metric_kind kind, const char *labels);
static void free_metric(struct metric *metric);
static void free_family(struct family *family);
static void add_real(struct metric *metric, double amount);
static double bits_to_double(uint64_t bits);
static uint64_t double_to_bits(double value);
static enum status render_family(const struct family *family, struct buf *out);
static enum status render_help(const struct family *family, struct buf *out);
static enum status render_histogram(const struct family *family, const struct metric *metric,
                                    struct buf *out);
static enum status append_sample(struct buf *out, const char *name, const char *suffix,
                                 const char *labels, double value);
static enum status append_number(struct buf *out, double value);

struct metrics *metrics_new(void)
{
    struct metrics *metrics = mem_zalloc(sizeof(*metrics));
    if (metrics == NULL) {
        return NULL;
    }
    pthread_mutex_init(&metrics->lock, NULL);
    map_init(&metrics->families);
    map_init(&metrics->series);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    while (metrics->first != NULL) {
        struct family *family = metrics->first;
        metrics->first = family->next;
        free_family(family);
    }
    while (metrics->hooks != NULL) {
        struct hook *hook = metrics->hooks;
        metrics->hooks = hook->next;
        mem_free(hook);
    }
    map_done(&metrics->families);
    map_done(&metrics->series);
    pthread_mutex_destroy(&metrics->lock);
    mem_free(metrics);
}

struct metric *metric_get(struct metrics *metrics, enum metric_kind kind, const char *name,
                          const char *labels, const char *help)
{
    if (metrics == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&metrics->lock);
    struct metric *metric = find_or_make(metrics, kind, name, labels, help);
    pthread_mutex_unlock(&metrics->lock);
    return metric;
}

void metric_add(struct metric *metric, double amount)
{
    if (metric == NULL) {
        return;
    }
    /* 2^53: above it doubles skip whole numbers. */
    bool whole = fabs(amount) <= 9007199254740992.0 && amount == (double)(int64_t)amount;
    if (metric->kind == METRIC_COUNTER && whole) {
        atomic_fetch_add_explicit(&metric->whole, (int64_t)amount, memory_order_relaxed);
    } else {
        add_real(metric, amount);
    }
}

void metric_set(struct metric *metric, double value)
{
    if (metric != NULL) {
        assert(metric->kind == METRIC_GAUGE);
        atomic_store_explicit(&metric->real_bits, double_to_bits(value), memory_order_relaxed);
    }
}

void metric_observe(struct metric *metric, double seconds)
{
    if (metric == NULL) {
        return;
    }
    assert(metric->kind == METRIC_HISTOGRAM);
    size_t bucket = 0;
    while (bucket < ARRAY_LEN(bucket_bounds) && !(seconds <= bucket_bounds[bucket])) {
        bucket++;
    }
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    add_real(metric, seconds);
}

double metric_value(const struct metric *metric)
{
    if (metric == NULL) {
        return 0;
    }
    int64_t whole = atomic_load_explicit(&metric->whole, memory_order_relaxed);
    uint64_t bits = atomic_load_explicit(&metric->real_bits, memory_order_relaxed);
    return (double)whole + bits_to_double(bits);
}

void metrics_on_render(struct metrics *metrics, void (*fn)(void *ctx), void *ctx)
{
    if (metrics == NULL) {
        return;
    }
    struct hook *hook = xmalloc(sizeof(*hook)); /* happens at start */
    pthread_mutex_lock(&metrics->lock);
    *hook = (struct hook){ .next = metrics->hooks, .fn = fn, .ctx = ctx };
    metrics->hooks = hook;
    pthread_mutex_unlock(&metrics->lock);
}

enum status metrics_render(struct metrics *metrics, struct buf *out)
{
    if (metrics == NULL) {
        return OK;
    }
    pthread_mutex_lock(&metrics->lock);
    const struct hook *hooks = metrics->hooks;
    pthread_mutex_unlock(&metrics->lock);
    for (const struct hook *hook = hooks; hook != NULL; hook = hook->next) {
        hook->fn(hook->ctx); /* without the lock: it may register */
    }
    size_t start = out->len;
    enum status status = OK;
    pthread_mutex_lock(&metrics->lock);
    for (const struct family *f = metrics->first; f != NULL && status == OK; f = f->next) {
        status = render_family(f, out);
    }
    pthread_mutex_unlock(&metrics->lock);
    if (status != OK) {
        out->len = start;
    }
    return status;
}

/* ---- registering ---- */

/** Called with the lock. */
static struct metric *find_or_make(struct metrics *metrics, enum metric_kind kind, const char *name,
                                   const char *labels, const char *help)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, 0);
    if (buf_printf(&key, "%s{%s}", name, labels) != OK) {
        return NULL;
    }
    struct metric *metric = map_get(&metrics->series, buf_str(&key));
    if (metric != NULL) {
        assert(metric->kind == kind);
        return metric;
    }
    struct family *family = get_family(metrics, kind, name, help);
    if (family == NULL || metrics->series.count >= METRICS_SERIES_MAX) {
        return NULL;
    }
    metric = make_metric(kind, labels);
    if (metric == NULL) {
        return NULL;
    }
    if (map_put(&metrics->series, buf_str(&key), metric, NULL) != OK) {
        free_metric(metric);
        return NULL;
    }
    if (family->last == NULL) {
        family->first = metric;
    } else {
        family->last->next = metric;
    }
    family->last = metric;
    return metric;
}

static struct family *get_family(struct metrics *metrics, enum metric_kind kind, const char *name,
                                 const char *help)
{
    struct family *family = map_get(&metrics->families, str_of(name));
    if (family != NULL) {
        assert(family->kind == kind); /* one name, one kind */
        return family;
    }
    family = mem_zalloc(sizeof(*family));
    if (family == NULL) {
        return NULL;
    }
    family->kind = kind;
    family->name = mem_strndup(name, strlen(name));
    family->help = mem_strndup(help, strlen(help));
    if (family->name == NULL || family->help == NULL ||
        map_put(&metrics->families, str_of(name), family, NULL) != OK) {
        free_family(family);
        return NULL;
    }
    if (metrics->last == NULL) {
        metrics->first = family;
    } else {
        metrics->last->next = family;
    }
    metrics->last = family;
    return family;
}

static struct metric *make_metric(enum metric_kind kind, const char *labels)
{
    struct metric *metric = mem_zalloc(sizeof(*metric)); /* zero bits are the double 0 */
    if (metric == NULL) {
        return NULL;
    }
    metric->kind = kind;
    metric->labels = mem_strndup(labels, strlen(labels));
    if (kind == METRIC_HISTOGRAM) {
        metric->buckets = mem_zalloc(BUCKET_COUNT * sizeof(*metric->buckets));
    }
    if (metric->labels == NULL || (kind == METRIC_HISTOGRAM && metric->buckets == NULL)) {
        free_metric(metric);
        return NULL;
    }
    return metric;
}

static void free_metric(struct metric *metric)
{
    mem_free(metric->labels);
    mem_free(metric->buckets);
    mem_free(metric);
}

static void free_family(struct family *family)
{
    while (family->first != NULL) {
        struct metric *metric = family->first;
        family->first = metric->next;
        free_metric(metric);
    }
    mem_free(family->name);
    mem_free(family->help);
    mem_free(family);
}

/* ---- numbers ---- */

static void add_real(struct metric *metric, double amount)
{
    uint64_t before = atomic_load_explicit(&metric->real_bits, memory_order_relaxed);
    uint64_t after;
    do {
        after = double_to_bits(bits_to_double(before) + amount);
    } while (!atomic_compare_exchange_weak_explicit(&metric->real_bits, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
}

static double bits_to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t double_to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* ---- rendering ---- */

static enum status render_family(const struct family *family, struct buf *out)
{
    TRY(render_help(family, out));
    for (const struct metric *metric = family->first; metric != NULL; metric = metric->next) {
        if (family->kind == METRIC_HISTOGRAM) {
            TRY(render_histogram(family, metric, out));
        } else {
            TRY(append_sample(out, family->name, "", metric->labels, metric_value(metric)));
        }
    }
    return OK;
}

static enum status render_help(const struct family *family, struct buf *out)
{
    static const char *const kind_names[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    TRY(buf_printf(out, "# HELP %s ", family->name));
    for (const char *c = family->help; *c != '\0'; c++) {
        TRY(*c == '\n'   ? buf_append(out, STR("\\n"))
            : *c == '\\' ? buf_append(out, STR("\\\\"))
                         : buf_append_char(out, *c));
    }
    return buf_printf(out, "\n# TYPE %s %s\n", family->name, kind_names[family->kind]);
}

/** The count is the sum of the buckets that were read, so that the lines agree with each other. */
static enum status render_histogram(const struct family *family, const struct metric *metric,
                                    struct buf *out)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        TRY(buf_printf(out, "%s_bucket{%s%sle=\"", family->name, metric->labels, comma));
        TRY(append_number(out, i < ARRAY_LEN(bucket_bounds) ? bucket_bounds[i] : INFINITY));
        TRY(buf_printf(out, "\"} %llu\n", (unsigned long long)count));
    }
    TRY(append_sample(out, family->name, "_sum", metric->labels, metric_value(metric)));
    return append_sample(out, family->name, "_count", metric->labels, (double)count);
}

static enum status append_sample(struct buf *out, const char *name, const char *suffix,
                                 const char *labels, double value)
{
    bool braces = labels[0] != '\0';
    TRY(buf_printf(out, "%s%s%s%s%s ", name, suffix, braces ? "{" : "", labels, braces ? "}" : ""));
    TRY(append_number(out, value));
    return buf_append_char(out, '\n');
}

/** The shortest of three precisions that reads back as the same double. */
static enum status append_number(struct buf *out, double value)
{
    if (isnan(value)) {
        return buf_append(out, STR("NaN"));
    }
    if (isinf(value)) {
        return buf_append(out, value > 0 ? STR("+Inf") : STR("-Inf"));
    }
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        double back;
        int len = snprintf(text, sizeof(text), "%.*g", digits, value);
        if (str_to_double(str_from(text, (size_t)len), &back) && back == value) {
            break;
        }
    }
    return buf_append(out, str_of(text));
}
