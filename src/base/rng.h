/*
 * Random numbers: a seeded generator for tests and ids (xoshiro256**), and the system's entropy.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/** In [0, bound), bound > 0, without bias. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/** From the system (getrandom); aborts the process when the system has none. Thread safe. */
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);

enum { UUID_TEXT = 36 };
/** Version 4, lower case, NUL-terminated. */
void uuid4(char out[UUID_TEXT + 1]);
bool uuid_valid(struct str text);

#ifdef __cplusplus
}
#endif

#endif
