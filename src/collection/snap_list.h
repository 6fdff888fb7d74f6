/*
 * What a snapshot is made of: for each part of the items and each chunk of the graph the object
 * that holds it, in the snapshot's own folder or in that of an earlier one. See
 * docs/formats/vector-collection.md.
 *
 * A part is the items of `part_rows` rows one after the other; one that has not changed since the
 * last snapshot is not written again.
 */
#ifndef COLLECTION_SNAP_LIST_H
#define COLLECTION_SNAP_LIST_H

#include "collection/log.h"

enum { SNAP_NAME_MAX = 48, SNAP_ENTRY_BYTES = 48 };

enum snap_kind { SNAP_ITEMS = 0, SNAP_GRAPH = 1, SNAP_MANIFEST = 2 /* of the graph */ };

struct snap_entry {
    enum snap_kind kind;
    uint32_t part;          /* of the items; number of the graph's chunk */
    uint32_t object;        /* its number in the folder */
    uint32_t items;         /* vectors in the graph, of its manifest; 0 of its chunks */
    uint64_t sequence, tag; /* whose folder it is in */
    uint64_t bytes;
    uint64_t version; /* the library's, of a chunk of the graph; else 0 */
};

/** Entries of items by part, then those of the graph by number, then its manifest. */
struct snap_list {
    struct snap_entry *entries;
    size_t count, room;
    uint32_t part_rows;
};

void snap_list_done(struct snap_list *list);
enum status snap_list_add(struct snap_list *list, const struct snap_entry *entry) MUST_USE;
/** The graph's are of no use: they come last, and go. */
void snap_list_drop_graph(struct snap_list *list);
/** Of a chunk of the graph; NULL: there is none. */
const struct snap_entry *snap_list_graph(const struct snap_list *list, uint32_t number);
/** Of its manifest; NULL: there is no graph. */
const struct snap_entry *snap_list_manifest(const struct snap_list *list);
/** Whether an entry is in the folder of that sequence and tag. */
bool snap_list_uses(const struct snap_list *list, uint64_t sequence, uint64_t tag);

enum status snap_list_encode(const struct snap_list *list, uint64_t tag, struct buf *out) MUST_USE;
/** Begins with an empty list. E_CORRUPT; E_NO_MEMORY: the list is empty still. */
enum status snap_list_decode(struct str bytes, uint64_t tag, struct snap_list *out,
                             struct err *err) MUST_USE;

/** The name of a snapshot's folder. */
struct str snap_name(char room[SNAP_NAME_MAX], uint64_t sequence, uint64_t tag);
bool snap_name_read(struct str name, uint64_t *sequence_out, uint64_t *tag_out);
struct str snap_entry_key(char room[LOG_KEY_MAX], struct str uuid, const struct snap_entry *entry);
/** Of another object of a snapshot: "list", "graph", "slots". */
struct str snap_key(char room[LOG_KEY_MAX], struct str uuid, struct str snapshot, const char *what);

/** Nobody else writes under this name: an answer that was lost does no harm. */
enum status snap_put(struct store *store, struct str key, struct str bytes,
                     struct err *err) MUST_USE;
/**
 * Delete what no entry names, of all snapshots at positions before `sequence`, and of `old` (empty:
 * none).
 *
 * A snapshot that is published later names nothing in those folders that the list has not: whoever
 * made it began with this one. So a sweep may come late and does no harm.
 */
enum status snap_sweep(struct store *store, struct str uuid, const struct snap_list *list,
                       uint64_t sequence, struct str old, struct err *err) MUST_USE;

#endif
