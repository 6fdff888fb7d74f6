#include "store/meter.h"

#include <stdio.h>

static const char *const operation_names[STORE_OPERATIONS] = {
    [STORE_PUT] = "put",   [STORE_DELETE] = "delete", [STORE_COPY] = "copy",
    [STORE_STAT] = "stat", [STORE_OPEN] = "open",     [STORE_LIST] = "list",
};
static const char *const outcome_names[STORE_OUTCOMES] = {
    [STORE_DONE] = "done",
    [STORE_REFUSED] = "refused",
    [STORE_FAILED] = "failed",
};

void store_meter_init(struct store_meter *meter, struct metrics *metrics)
{
    for (int operation = 0; operation < STORE_OPERATIONS; operation++) {
        for (int outcome = 0; outcome < STORE_OUTCOMES; outcome++) {
            char labels[64];
            (void)snprintf(labels, sizeof(labels), "operation=\"%s\",outcome=\"%s\"",
                           operation_names[operation], outcome_names[outcome]);
            meter->operations[operation][outcome] = metric_get(
                metrics, METRIC_COUNTER, "lakehouse_store_operations_total", labels,
                "Operations on the object store by how they ended.");
        }
    }
    meter->read = metric_get(metrics, METRIC_COUNTER, "lakehouse_store_read_bytes_total", "",
                             "Bytes of objects read.");
    meter->written = metric_get(metrics, METRIC_COUNTER, "lakehouse_store_written_bytes_total", "",
                                "Bytes of objects written.");
    meter->corrupt = metric_get(metrics, METRIC_COUNTER, "lakehouse_store_corrupt_total", "",
                                "Reads that found an object damaged.");
}

/* What the caller may expect to happen; any other error is the store's own. */
static const bool refusals[E_KIND_COUNT] = {
    [E_NOT_FOUND] = true, [E_EXISTS] = true, [E_PRECONDITION] = true, [E_INVALID] = true,
    [E_DENIED] = true,    [E_RANGE] = true,  [E_TOO_LARGE] = true,    [E_UNSUPPORTED] = true,
};

static enum store_outcome outcome_of(enum status status)
{
    return status == OK ? STORE_DONE : refusals[status] ? STORE_REFUSED : STORE_FAILED;
}

enum status store_meter_count(struct store_meter *meter, enum store_operation operation,
                              enum status status)
{
    metric_add(meter->operations[operation][outcome_of(status)], 1);
    if (status == E_CORRUPT) {
        metric_add(meter->corrupt, 1);
    }
    return status;
}

enum status store_meter_read(struct store_meter *meter, uint64_t len, enum status status)
{
    if (meter == NULL) {
        return status;
    }
    if (status == OK) {
        metric_add(meter->read, (double)len);
    } else if (status == E_CORRUPT) {
        metric_add(meter->corrupt, 1);
    }
    return status;
}
