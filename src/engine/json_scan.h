/*
 * A JSON file read once from front to back: where its records are, that each is well-formed, and
 * what shape they have.
 *
 * Three layouts: a record a line (NDJSON), one array of records, and records one behind the other
 * that may span lines (a single object, too). The parser is strict (RFC 8259): what it takes, every
 * other one takes.
 */
#ifndef ENGINE_JSON_SCAN_H
#define ENGINE_JSON_SCAN_H

#include "engine/json_shape.h"

enum json_layout { JSON_LINES, JSON_ARRAY, JSON_CONCATENATED };

struct json_scan_opts {
    /** Bytes at `offset`; *got_out 0 only at the end of the file. */
    enum status (*read)(void *ctx, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                        struct err *err);
    uint64_t record_bytes_max;
    /** May be NULL. Each good line of NDJSON. */
    enum status (*good)(void *ctx, uint64_t line, struct str record, struct err *err);
    /** May be NULL: then a bad record ends the scan with E_INVALID and its line. Else it is told
     * where the line lies, and the scan goes on behind it, in NDJSON only. */
    enum status (*bad)(void *ctx, uint64_t line, uint64_t offset, uint64_t len, struct str reason,
                       struct err *err);
    void *ctx; /* of all three */
};
struct json_scan {
    enum json_layout layout;
    uint64_t record_count; /* good ones */
};
/** Errors   E_INVALID "line 3: ..." (lines count from 1); those of `read` and `bad` */
enum status json_scan(const struct json_scan_opts *opts, struct json_shape *shape,
                      struct json_scan *out, struct err *err) MUST_USE;

#endif
