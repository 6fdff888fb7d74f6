/*
 * A CSV file read record by record, strictly (RFC 4180): for files in which bad records are to be
 * left out, and for those that end lines in several ways.
 */
#ifndef ENGINE_CSV_SCAN_H
#define ENGINE_CSV_SCAN_H

#include "base/str.h"

struct csv_scan_opts {
    enum status (*read)(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                        struct err *err); /* as window.h has it */
    char delimiter;
    size_t field_count; /* of a good record */
    uint64_t record_bytes_max;
    /** A good record without its line's end, and the line that it begins in. */
    enum status (*good)(void *ctx, uint64_t line, struct str record, struct err *err);
    /** A bad one, by the line that it begins in; the scan goes on with the next line. */
    enum status (*bad)(void *ctx, uint64_t line, struct str reason, struct err *err);
    void *ctx; /* of all three */
};
/**
 * Empty lines are passed over, unless a record has one field: then they are records.
 *
 * Errors   those of the callbacks; E_NO_MEMORY
 */
enum status csv_scan(const struct csv_scan_opts *opts, struct err *err) MUST_USE;

#endif
