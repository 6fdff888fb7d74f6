/*
 * Exactly once: batch ids, and the marker objects `_lake/ingest/<table-uuid>/<batch>.json` that
 * remember them for good.
 *
 * A batch is first recorded in the swapped pointer itself (so that it lands with its snapshot or
 * not at all), and after the swap in a marker; only then may the pointer forget it.
 */
#ifndef CATALOG_BATCH_H
#define CATALOG_BATCH_H

#include "catalog/pointer.h"

enum { BATCH_SOURCE_ID_LEN = 4 + 64 };

/** The stored form of a client's batch id: itself when it is short and plain, else "sha-" and its
 * SHA-256. */
enum status batch_id(struct arena *arena, struct str client_id, struct str *out,
                     struct err *err) MUST_USE;
/** "src-" and the SHA-256 of a registered object's key: a batch of its own. */
enum status batch_source_id(struct arena *arena, struct str source_key, struct str *out,
                            struct err *err) MUST_USE;
/** The file name "reg-<hash>-<uuid>.parquet" of a copy of a registered object. */
enum status batch_source_file(struct arena *arena, struct str source_key, struct str *out,
                              struct err *err) MUST_USE;
/** The source id behind such a file's key, as "src-<hash>"; false for any other file. Borrows a
 * thread's buffer: use it at once. */
bool batch_source_of_file(struct str key, struct str *id_out);

enum status batch_write(struct store *store, struct str uuid, const struct pointer_batch *batch,
                        struct err *err) MUST_USE;
enum status batch_read(struct store *store, struct str uuid, struct str id, struct arena *arena,
                       bool *found_out, struct pointer_batch *out, struct err *err) MUST_USE;
/** The same for the key of a marker, below `BATCH_PREFIX<table-uuid>/`. */
enum status batch_read_key(struct store *store, struct str key, struct arena *arena,
                           bool *found_out, struct pointer_batch *out, struct err *err) MUST_USE;
#define BATCH_PREFIX STR("_lake/ingest/")
/** In the summary of a snapshot of ours that takes files away and writes their rows anew:
 * "true". */
#define BATCH_ROWS_STAY "lakehouse.rows-stay"
/**
 * Does what the batch brought still stand in the table? False when its snapshot is no ancestor of
 * the current one (a rollback), or everything was removed or replaced since (TRUNCATE, overwrite of
 * all files).
 */
bool batch_counts(const struct ice_metadata *metadata, const struct pointer_batch *batch);
/** Can there be a batch that does not count? False for a table of appends, whose markers need not
 * be looked at. */
bool batch_may_lapse(const struct ice_metadata *metadata);

#endif
