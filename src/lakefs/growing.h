/*
 * A file that is still being written by another process: reads past its end wait.
 *
 * How much is there says the file's own size, so nothing can be told wrong. `news_fd` is one end of
 * a stream socket that only wakes: a byte (whatever it is) means that there may be more, its end
 * that nothing will come any more.
 */
#ifndef LAKEFS_GROWING_H
#define LAKEFS_GROWING_H

#include "base/status.h"

struct growing;

/** `size` is what the file will have in the end. Takes neither descriptor: they must outlive it. */
enum status growing_new(int fd, int news_fd, uint64_t size, struct growing **out,
                        struct err *err) MUST_USE;
void growing_free(struct growing *g);
/**
 * Until `upto` bytes are there. Thread safe.
 *
 * Errors   E_UNAVAILABLE when they did not come in time: the writer is slow, try again when it has
 *          ended; E_CANCELED when it has ended before
 */
enum status growing_wait(struct growing *g, uint64_t upto, struct err *err) MUST_USE;

#endif
