/*
 * A text for each slot, in little memory: 4 bytes a slot, and of the text no more than 9 bytes
 * beside it. What is replaced leaves a gap; when gaps take a quarter, each later change moves some
 * texts together, and pages without any go.
 */
#ifndef COLLECTION_RECORDS_H
#define COLLECTION_RECORDS_H

#include "base/str.h"

struct records_page {
    char *bytes; /* NULL: the number is free */
    uint32_t size, used, live;
    bool old; /* from before the sweep that runs */
};

struct records {
    uint32_t *refs; /* [slot_count]: page and place in units of 8 bytes; 0: none */
    size_t slot_count;
    struct records_page *pages;
    uint32_t page_count, page_room;
    uint32_t current;           /* is appended to; none yet while there is no page */
    uint64_t used, live, bytes; /* of pages handed out, of texts that are there, of their text */
    bool sweeping;
    size_t sweep_at;
};

/* Begins as zeroes. */
void records_done(struct records *records);
/** Replaces. E_NO_MEMORY: what was there stays. `text` may be up to 1 MiB less 16 bytes. */
enum status records_put(struct records *records, uint32_t slot, struct str text) MUST_USE;
void records_remove(struct records *records, uint32_t slot);
/** Without copying; `to` loses what it had. */
enum status records_move(struct records *records, uint32_t from, uint32_t to) MUST_USE;
/** Until the next change of any slot; NULL when there is none. */
struct str records_get(const struct records *records, uint32_t slot);
uint64_t records_memory(const struct records *records);

#endif
