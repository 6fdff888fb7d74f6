/*
 * One writer at a time, for a store whose conditions do not hold: whoever holds `_lake/writer.json`
 * writes, and conditions are then a look and a plain request under a lock of this process.
 *
 * It is taken by a put and a look back after a settling time, and renewed by a put while it is
 * still ours. All times are of this machine's monotonic clock, of `lease_ms`:
 *
 *      renewed every third; who could not renew for two thirds stops writing by itself
 *      taken by another only when nothing has changed for the whole of it, as that one saw
 *
 * What it cannot promise: two that take in the same moment, the slower put arriving after the other
 * has looked back, may both write until the next renewal; and a request that was sent in time may
 * arrive late.
 */
#ifndef STORE_S3_LEASE_H
#define STORE_S3_LEASE_H

#include "base/status.h"
#include "base/str.h"

struct s3_store;
struct s3_lease;

enum status s3_lease_new(struct s3_store *s3, int64_t lease_ms, struct s3_lease **out,
                         struct err *err) MUST_USE;
/** Stops renewing and gives the lease back. NULL is fine. */
void s3_lease_free(struct s3_lease *lease);
/** OK while it is held; takes it where it is free, which lasts for the settling time. E_UNAVAILABLE
 * tells who holds it, or that it could not be renewed. Thread safe. */
enum status s3_lease_need(struct s3_lease *lease, struct err *err) MUST_USE;
/** The store was interrupted: who takes the lease gives up. */
void s3_lease_wake(struct s3_lease *lease);
/** How long a request may take that is sent now; 0 or less: none may be sent. */
int64_t s3_lease_left_ms(struct s3_lease *lease);
/** Around a look at `key` and the change that follows from it. */
void s3_lease_lock(struct s3_lease *lease, struct str key);
void s3_lease_unlock(struct s3_lease *lease, struct str key);

#endif
