/*
 * Reading a JSON body in one pass, without a tree: for bodies that are mostly numbers. What is
 * asked for is found where it stands; text borrows from the body unless it has escapes.
 *
 * Each call takes white space in front. A failure is E_INVALID with the byte where it stands.
 */
#ifndef API_BODY_SCAN_H
#define API_BODY_SCAN_H

#include "base/arena.h"

struct body_scan {
    struct str body;
    size_t at;
    struct arena *arena; /* of strings with escapes */
    struct err *err;
};

/** The next character that is no white space, not taken; 0 at the end. */
char scan_peek(struct body_scan *scan);
/** Take it when it is `c`. */
bool scan_take(struct body_scan *scan, char c);
/** `byte 12: <what>` */
enum status scan_fail(struct body_scan *scan, const char *what);
/** Nothing but white space is left. */
enum status scan_end(struct body_scan *scan) MUST_USE;

enum status scan_string(struct body_scan *scan, struct str *out) MUST_USE;
/** A whole number from 0 to `max`. */
enum status scan_u32(struct body_scan *scan, uint32_t max, uint32_t *out) MUST_USE;
enum status scan_double(struct body_scan *scan, double *out) MUST_USE;
enum status scan_bool(struct body_scan *scan, bool *out) MUST_USE;
/** Any value, as the text it is. Only its ends are looked for: whose it is must parse it. */
enum status scan_raw(struct body_scan *scan, struct str *out) MUST_USE;
/**
 * An array of numbers as floats, the nearest to each.
 *
 * Shapes   out [count_max]; *count_out may be larger: then only count_max were kept
 * Errors   E_INVALID too for a number that no float can hold
 */
enum status scan_floats(struct body_scan *scan, float *out, size_t count_max,
                        size_t *count_out) MUST_USE;

/* --- objects --- */

struct scan_field {
    const char *name;
    enum status (*read)(struct body_scan *scan, void *ctx);
};
enum { SCAN_FIELDS_MAX = 32 };

/**
 * An object of known fields, each at most once, in any order; one that is null counts as missing.
 *
 * Errors   E_INVALID names a field that is not known, and the nearest that is
 */
enum status scan_object(struct body_scan *scan, const struct scan_field *fields, size_t count,
                        void *ctx) MUST_USE;
/** The elements of an array, one call each. */
enum status scan_array(struct body_scan *scan,
                       enum status (*read)(struct body_scan *scan, void *ctx), void *ctx) MUST_USE;

/** The name among `count` that an unknown one was meant to be; NULL when none is near. */
const char *scan_nearest(struct str unknown, const char *const *names, size_t count);
/** E_INVALID: `unknown field "kk", did you mean "k"?` */
enum status scan_unknown(struct str unknown, const char *const *names, size_t count,
                         struct err *err) MUST_USE;

#endif
