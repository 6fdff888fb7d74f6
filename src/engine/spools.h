/*
 * The files that a job writes into, by number: its parent has them, and answers the call "spool"
 * (child_write.h) with a descriptor.
 */
#ifndef ENGINE_SPOOLS_H
#define ENGINE_SPOOLS_H

#include "base/json.h"

enum { SPOOLS_MAX = 16384 };

struct spools {
    int *fds; /* by number; -1: closed */
    size_t count, cap;
    size_t closed; /* the first of them, which count no more */
};

/** Closes all; numbers go on, so that one that a job has had is not another's. */
void spools_clear(struct spools *spools);
void spools_done(struct spools *spools);
/**
 * Answer {"number"?} with {"spool":n} and a descriptor of it: of that one again, or of a new one,
 * which `make` opens.
 *
 * Errors   those of `make`; E_TOO_LARGE for too many, E_INTERNAL for a number that is none
 * Threads  the caller has its lock
 */
enum status spools_answer(struct spools *spools, yyjson_val *args,
                          enum status (*make)(void *ctx, int *fd_out, struct err *err), void *ctx,
                          struct buf *reply, int *fd_out, struct err *err) MUST_USE;
/** The descriptor of a number that a job reports; borrowed. E_INTERNAL. */
enum status spools_fd(const struct spools *spools, uint64_t number, int *out,
                      struct err *err) MUST_USE;

#endif
