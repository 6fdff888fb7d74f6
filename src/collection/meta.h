/*
 * Metadata of items by slot, the field indexes over it, and filters. In memory; no I/O.
 *
 * Metadata is a JSON object a slot, kept as compact bytes and given back with the values that were
 * put. Filters have MongoDB's meaning for missing fields, arrays and numbers: see filter.h.
 *
 * Threads  one writer at a time; readers beside each other, not beside a writer: the caller holds a
 *          lock (the collection's), shared for the calls that take a const meta. A filter may make
 *          an index under it; another that wants the same one waits.
 */
#ifndef COLLECTION_META_H
#define COLLECTION_META_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "collection/filter.h"

enum { META_PATHS_MAX = 256 };

struct meta;

enum status meta_new(struct meta **out, struct err *err) MUST_USE;
void meta_free(struct meta *meta);

/** Nothing is kept: is this text a JSON object that meta_set would take? Duplicate names, depth
 * above 64 and more than COLL_METADATA_MAX bytes are E_INVALID. */
enum status meta_check(struct str json, struct err *err) MUST_USE;
/** `{}` is the same as having none. E_NO_MEMORY: what was there stays. */
enum status meta_set(struct meta *meta, uint32_t slot, struct str json, struct err *err) MUST_USE;
/** The item is gone. Missing is fine. Never fails. */
void meta_remove(struct meta *meta, uint32_t slot);
/** The item moves to another slot, with what it has (a replaced vector, compaction). */
enum status meta_move(struct meta *meta, uint32_t from, uint32_t to, struct err *err) MUST_USE;
/** An item without metadata is there: filters that look for what is missing find it. */
enum status meta_add(struct meta *meta, uint32_t slot, struct err *err) MUST_USE;
/** "{}" when it has none. Lives until the next change of any slot: copy it under the lock. */
struct str meta_get(const struct meta *meta, uint32_t slot);
/** RFC 7396: `patch` into what the slot has, as text in the arena; not stored. */
enum status meta_merged(const struct meta *meta, uint32_t slot, struct str patch,
                        struct arena *arena, struct str *out, struct err *err) MUST_USE;

/** The slots that a filter lets through: a list when they are few, else bits. In the arena. */
struct meta_match {
    uint32_t *slots; /* ascending; NULL: bits */
    uint64_t *bits;
    uint64_t count, word_count;
    const char *plan; /* "index", "index+scan", "scan" */
};
/**
 * By field indexes, and by reading metadata where few items are left or no index answers. An index
 * is made by the first filter that would have to read many items for its path, which takes a
 * second or so a million; it is kept until the meta goes. Together they take at most 64 MiB or four
 * times what metadata takes; a path beyond that, or beyond META_PATHS_MAX, is read.
 */
enum status meta_match(const struct meta *meta, const struct filter *filter, struct arena *arena,
                       struct meta_match *out, struct err *err) MUST_USE;
/** One item. */
bool meta_matches(const struct meta *meta, const struct filter *filter, uint32_t slot);

struct meta_stats {
    uint64_t items, metadata_bytes, index_bytes; /* what is held, not only the text */
    uint32_t paths;                              /* indexed */
};
void meta_stats(const struct meta *meta, struct meta_stats *out);

#endif
