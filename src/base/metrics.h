/*
 * Metrics: a registry of counters, gauges and histograms that renders Prometheus text.
 * Registering takes a lock and happens at start; counting is one relaxed atomic add.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct metrics;
struct metric;

enum { METRICS_SERIES_MAX = 10000 }; /* a label with endless values must not eat the memory */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics *metrics_new(void) MUST_USE;
void metrics_free(struct metrics *metrics);

/**
 * Find or make the series `name{labels}`. `labels` is ready-made text such as
 * `route="/sql",method="POST"` or "".
 * Histograms use fixed latency buckets from 0.5 ms to 60 s, observed in seconds.
 *
 * Returns  NULL only without memory or past METRICS_SERIES_MAX; every function below accepts NULL
 *          and does nothing
 * Owns     the registry owns it; name, labels and help are copied
 */
struct metric *metric_get(struct metrics *metrics, enum metric_kind kind, const char *name,
                          const char *labels, const char *help);
void metric_add(struct metric *metric, double amount);
void metric_set(struct metric *metric, double value);
void metric_observe(struct metric *metric, double seconds);
double metric_value(const struct metric *metric);

/** Called before each render, to set gauges from elsewhere. */
void metrics_on_render(struct metrics *metrics, void (*fn)(void *ctx), void *ctx);
/** Series of one name stand together below one HELP and TYPE line, in order of registration. */
enum status metrics_render(struct metrics *metrics, struct buf *out) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
