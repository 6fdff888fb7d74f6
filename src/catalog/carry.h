/*
 * What every new body of a live pointer takes over from the one before.
 */
#ifndef CATALOG_CARRY_H
#define CATALOG_CARRY_H

#include "catalog/local.h"

/**
 * `next->batches`: those of `base` that no marker is known to stand for, with room for `extra` more
 * behind them. In `arena`; their strings are the base's.
 */
enum status carry_batches(struct local *local, const struct local_base *base, size_t extra,
                          struct arena *arena, struct pointer *next, struct err *err) MUST_USE;

#endif
