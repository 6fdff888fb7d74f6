/*
 * The library's own state of an index beside the items of a snapshot: rows, codes and links, so
 * that opening has nothing to link. It is derived: where it is missing or damaged the items are
 * added as if there were none.
 */
#ifndef COLLECTION_GRAPH_H
#define COLLECTION_GRAPH_H

#include "collection/coll_priv.h"

/**
 * Store the chunks that `base` (NULL: nothing) has not, the manifest, and the slot of each item in
 * the snapshot's order. All chunks are entered into the list.
 *
 * Returns  *chunks_out, at least 1: what the pointer tells
 */
enum status graph_write(struct coll *coll, const struct coll_snapshot_ref *ref,
                        struct vec_snapshot *graph, const struct buf *slots,
                        const struct snap_list *base, struct snap_list *list, uint64_t *chunks_out,
                        struct err *err) MUST_USE;
/** The graph of `base` for these items; the slot of one that it has not, as it is now, is
 * UINT32_MAX. */
enum status graph_reuse(struct coll *coll, const struct coll_snapshot_ref *ref,
                        const struct buf *slots, const struct snap_list *base,
                        struct snap_list *list, uint64_t *chunks_out, struct err *err) MUST_USE;
/**
 * Read and check all of it, where the list says it is (NULL: in the snapshot's folder). Slots are
 * items' in the snapshot's order, the caller's to free with buf_done.
 *
 * Errors   any: there is none that could be used
 */
enum status graph_read(struct coll *coll, const struct coll_snapshot_ref *ref,
                       const struct snap_list *list, struct vec_index **out, struct buf *slots_out,
                       struct err *err) MUST_USE;

#endif
