/*
 * What a store does, in figures: operations by outcome and bytes both ways. Counted at the one door
 * (store.c), so every driver has them, and a service that uses the store in process as well.
 */
#ifndef STORE_METER_H
#define STORE_METER_H

#include "base/metrics.h"
#include "base/status.h"

enum store_operation {
    STORE_PUT,
    STORE_DELETE,
    STORE_COPY,
    STORE_STAT,
    STORE_OPEN,
    STORE_LIST,
    STORE_OPERATIONS /* how many */
};

enum store_outcome {
    STORE_DONE,
    STORE_REFUSED, /* not there, a condition that does not hold, a key that is wrong */
    STORE_FAILED,
    STORE_OUTCOMES /* how many */
};

/** All zero: counts nothing. */
struct store_meter {
    struct metric *operations[STORE_OPERATIONS][STORE_OUTCOMES];
    struct metric *read, *written, *corrupt;
};

void store_meter_init(struct store_meter *meter, struct metrics *metrics);
/** Counts an operation by how it ended; returns `status`. */
enum status store_meter_count(struct store_meter *meter, enum store_operation operation,
                              enum status status);
/** Bytes that were read, or the damage that was found instead; returns `status`. The meter of an
 * object without a store is NULL. */
enum status store_meter_read(struct store_meter *meter, uint64_t len, enum status status);

#endif
