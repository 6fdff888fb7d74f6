/*
 * The library's own state of an index beside the items of a snapshot: rows, codes and links, so
 * that opening has nothing to link. It is derived: where it is missing or damaged the items are
 * added as if there were none.
 */
#ifndef COLLECTION_GRAPH_H
#define COLLECTION_GRAPH_H

#include "collection/coll_priv.h"

/**
 * Store the chunks, the manifest, and the slot of each item in the snapshot's order.
 *
 * Returns  *chunks_out, at least 1: what the pointer tells
 */
enum status graph_write(struct coll *coll, const struct coll_snapshot_ref *ref,
                        struct vec_snapshot *graph, const struct buf *slots, uint64_t *chunks_out,
                        struct err *err) MUST_USE;
/**
 * Read and check all of it. Slots are items' in the snapshot's order, the caller's to free with
 * buf_done.
 *
 * Errors   any: there is none that could be used
 */
enum status graph_read(struct coll *coll, const struct coll_snapshot_ref *ref,
                       struct vec_index **out, struct buf *slots_out, struct err *err) MUST_USE;

#endif
