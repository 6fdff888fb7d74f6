/*
 * gzip and zstd as they stream by: packed pieces in, plain pieces out, in bounded memory.
 *
 * A bomb is stopped by two limits: the plain bytes in all, and, once there are INFLATE_FREE_BYTES
 * of them, how many times more there are than packed ones. Members and frames one behind the other
 * are one stream (RFC 1952, 2.2; RFC 8878, 3.1).
 */
#ifndef BASE_INFLATE_H
#define BASE_INFLATE_H

#include "base/str.h"

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD };
/** Bytes that tell the kind. */
enum { INFLATE_MAGIC_BYTES = 4 };
/** Plain bytes that may come of however few packed ones. */
enum { INFLATE_FREE_BYTES = 64 * 1024 * 1024 };

/** By the first bytes; INFLATE_NONE when they are neither's. */
enum inflate_kind inflate_sniff(struct str head);
/** "gzip" or "zstd". */
const char *inflate_name(enum inflate_kind kind);

struct inflate_opts {
    enum inflate_kind kind;   /* not INFLATE_NONE */
    uint64_t plain_bytes_max; /* 0: no limit */
    uint64_t expansion_max;   /* plain bytes for each packed one; 0: no limit */
};
struct inflate;

enum status inflate_new(const struct inflate_opts *opts, struct inflate **out,
                        struct err *err) MUST_USE;
void inflate_free(struct inflate *in);
/**
 * Take packed bytes; `plain` is called for each piece that comes out (64 KiB at most), and its
 * failure ends it.
 *
 * Errors   E_INVALID when it is no such stream or damaged, E_TOO_LARGE for a bomb
 */
enum status inflate_feed(struct inflate *in, struct str packed,
                         enum status (*plain)(void *ctx, struct str bytes, struct err *err),
                         void *ctx, struct err *err) MUST_USE;
/** The packed bytes have ended: E_INVALID when the stream has not. */
enum status inflate_end(struct inflate *in, struct err *err) MUST_USE;

#endif
