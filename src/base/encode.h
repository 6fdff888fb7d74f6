/*
 * Text forms of bytes: hex, base64, percent-encoding (RFC 3986), and checks of names.
 */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include "base/arena.h"
#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum status hex_append(struct buf *out, const void *bytes, size_t len) MUST_USE;
/** Lower or upper case; false when it is no hex or not exactly `len` bytes. */
bool hex_decode(struct str text, uint8_t *out, size_t len) MUST_USE;
/** Standard alphabet with padding. */
enum status base64_append(struct buf *out, const void *bytes, size_t len) MUST_USE;
enum status base64_decode(struct str text, struct buf *out) MUST_USE;

/** Unreserved characters of RFC 3986 and those in `keep` stay; the rest becomes %XX. */
enum status percent_append(struct buf *out, struct str raw, const char *keep) MUST_USE;
/**
 * Decodes %XX; a broken escape is E_INVALID. `plus_is_space` for query strings and forms. Into the
 * arena.
 */
enum status percent_decode(struct arena *arena, struct str text, bool plus_is_space,
                           struct str *out, struct err *err) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
