/*
 * Is a lake at rest well? Reads a store that was opened for reading only, and tells what it finds.
 * Nothing is changed, so it may run beside a server; what such a one adds and deletes meanwhile is
 * not taken for damage.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "catalog/catalog.h"

enum doctor_mark {
    DOCTOR_OK,
    DOCTOR_NOTE,    /* good to know */
    DOCTOR_WARNING, /* it will hurt one day */
    DOCTOR_PROBLEM, /* something is broken */
};

struct doctor_finding {
    enum doctor_mark mark;
    const char *check;   /* "objects" */
    const char *message; /* what was found */
    const char *advice;  /* what to do; NULL: nothing */
};

/* Where findings go. */
struct doctor {
    void (*report)(void *ctx, const struct doctor_finding *finding);
    /* NULL: not wanted. While objects are read */
    void (*progress)(void *ctx, uint64_t objects, uint64_t bytes);
    void *ctx;
    bool quick; /* sizes and names only: no object is read whole */
};

/** Printed by printf. A finding is told at once. */
void doctor_tell(const struct doctor *doctor, enum doctor_mark mark, const char *check,
                 const char *advice, const char *fmt, ...) PRINTF_LIKE(5, 6);

/**
 * Every object: can it be read, and are its bytes those that were written?
 *
 * Errors   when the list cannot be read; damage is a finding, not an error
 * Cost     reads the whole store, unless `quick`; a MiB of memory
 */
enum status doctor_objects(const struct doctor *doctor, struct store *store,
                           struct err *err) MUST_USE;

/** Uploads in parts that are open: how many there are, and whether they can be read. */
enum status doctor_uploads(const struct doctor *doctor, struct store *store,
                           struct err *err) MUST_USE;

/**
 * Every table: does its pointer lead to metadata, every snapshot to its files, and is each file
 * there with the size it was committed with? And which data files does nobody name?
 *
 * `catalog` stands on `store`. Cost: one look at each file; memory by the number of files.
 */
enum status doctor_tables(const struct doctor *doctor, struct store *store, struct catalog *catalog,
                          struct err *err) MUST_USE;

#endif
