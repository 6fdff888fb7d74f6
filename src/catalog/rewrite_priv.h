/*
 * What the files of a rewrite share: rewrite.c (its life, new files, the change), rewrite_carry.c
 * (the manifests that were there).
 */
#ifndef CATALOG_REWRITE_PRIV_H
#define CATALOG_REWRITE_PRIV_H

#include "base/map.h"
#include "catalog/reader.h"
#include "catalog/rewrite.h"
#include "catalog/written.h"

struct rewriting {
    struct catalog *catalog;
    const struct catalog_rewrite *request;
    struct arena *arena; /* of one attempt */
    struct catalog_pin *pin;
    const struct reader_list *list; /* NULL: the table has no data */
    struct cache_item *list_item;
    struct map removed, removed_deletes; /* URIs; the value tells whether it was met */
    size_t found_count;                  /* of both that were met */
    struct written written;
    int64_t data_sequence_number; /* of the snapshot that was read */
    bool was_outrun;
    struct ice_manifest_file *rows; /* of the new list; room for all that were there, and the new */
    size_t row_count;
    struct ice_data_file *gone; /* entries that go, for the summary */
    size_t gone_count, gone_cap;
};

/** The rows of the list before, behind those in r->rows, and r->gone. rewrite_carry.c */
enum status rewrite_carry(struct rewriting *r, struct err *err) MUST_USE;

#endif
