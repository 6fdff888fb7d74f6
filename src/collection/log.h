/*
 * The log of an index in the store: immutable objects in strict sequence, each created only if
 * absent.
 *
 * Threads  all calls are safe beside each other; one writer a sequence number is the caller's care
 */
#ifndef COLLECTION_LOG_H
#define COLLECTION_LOG_H

#include "base/arena.h"
#include "collection/record.h"
#include "store/store.h"

enum { LOG_OBJECT_BYTES_MAX = 1 << 30, LOG_KEY_MAX = 160 };

/** `_lake/vectors/by-id/<uuid>/`, then "log/" and 20 digits, or "snap/<name>/" and 6. */
struct str log_folder(char key[LOG_KEY_MAX], struct str uuid);
struct str log_key(char key[LOG_KEY_MAX], struct str uuid, uint64_t sequence);
struct str log_chunk_key(char key[LOG_KEY_MAX], struct str uuid, struct str snapshot,
                         uint64_t chunk);
/** False when it is no key of a log object. */
bool log_key_sequence(struct str key, uint64_t *sequence_out);
/** 16 bytes of a uuid's text. */
void log_uuid(struct str text, uint8_t out[RECORD_UUID_BYTES]);

/**
 * Create the object of this sequence; `bytes` has its head. Lost answers are resolved by reading
 * back.
 *
 * Errors   E_EXISTS: another writer's is there. E_UPSTREAM: nobody knows, and the same bytes must
 *          be offered again before any later sequence. E_UNAVAILABLE: nothing was written
 */
enum status log_put(struct store *store, struct str uuid, uint64_t sequence, struct str bytes,
                    struct err *err) MUST_USE;
/** The object, checked whole and for being this index's and of this sequence. E_NOT_FOUND,
 * E_CORRUPT. */
enum status log_get(struct store *store, struct str uuid, uint64_t sequence, struct buf *out,
                    struct record_head *head_out, struct err *err) MUST_USE;

/** The sequences that are there from `first` on, ascending, at most STORE_LIST_MAX. */
enum status log_list(struct store *store, struct str uuid, uint64_t first, struct arena *arena,
                     uint64_t **out, size_t *count_out, struct err *err) MUST_USE;
/** Delete [from, to] as far as they are there, oldest first. */
enum status log_trim(struct store *store, struct str uuid, uint64_t from, uint64_t to,
                     struct err *err) MUST_USE;
/** Delete all objects below a prefix. */
enum status log_sweep(struct store *store, struct str prefix, struct err *err) MUST_USE;

#endif
