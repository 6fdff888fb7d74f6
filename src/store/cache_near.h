/*
 * What is read beside what: a scan of a columnar file reads the same few chunks of every row group,
 * and some of them lie side by side. Asked for one by one each is a request; who has seen it in two
 * row groups asks for them as one in the next.
 *
 * Two reads of which one begins where the other ends, or so little behind it that what lies between
 * costs less than a request, make a link between their lengths, for a column's chunks are about as
 * long in every row group: "behind one of 93 kB one of 430 kB is read". A link that was seen twice
 * is used; one whose guesses are not read more than now and then is not used any more. Pure: no
 * lock, no allocation, no I/O.
 */
#ifndef STORE_CACHE_NEAR_H
#define STORE_CACHE_NEAR_H

#include <stddef.h>
#include <stdint.h>

enum { NEAR_READS = 64, NEAR_LINKS = 16, NEAR_GUESSES = 32 };

/** Zero is: nothing seen yet. The fields are cache_near.c's. */
struct near {
    struct near_read {
        uint64_t offset, end;
    } reads[NEAR_READS]; /* the last ones, a ring */
    struct near_link {
        uint64_t len, gap, next_len;
        unsigned seen, good, bad;
    } links[NEAR_LINKS];
    struct near_guess {
        uint64_t offset; /* where a read is expected to begin, about; 0: free */
        uint64_t gap;
        unsigned link;
    } guesses[NEAR_GUESSES]; /* a ring */
    unsigned next_read, next_guess;
};

/** A read of `len` bytes at `offset` comes. Returns how many bytes behind it are worth to be
 * fetched with it; 0: none. */
uint64_t near_note(struct near *near, uint64_t offset, size_t len);

#endif
