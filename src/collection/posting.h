/*
 * A set of slots that grows and shrinks: an ascending list while it is short, beyond that 2 bytes a
 * slot or a bit for each of 65,536, whichever is less.
 */
#ifndef COLLECTION_POSTING_H
#define COLLECTION_POSTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct posting;

/** NULL when there is no memory. */
struct posting *posting_new(void) MUST_USE;
void posting_free(struct posting *posting);
/** A slot that is in it already is fine. E_NO_MEMORY: as before. */
enum status posting_add(struct posting *posting, uint32_t slot) MUST_USE;
void posting_remove(struct posting *posting, uint32_t slot);
uint64_t posting_count(const struct posting *posting);
/** Sets the bits of those below word_count * 64. */
void posting_mark(const struct posting *posting, uint64_t *bits, size_t word_count);
uint64_t posting_memory(const struct posting *posting);

#endif
