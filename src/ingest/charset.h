/*
 * Text in another character set as UTF-8, as it streams by.
 */
#ifndef INGEST_CHARSET_H
#define INGEST_CHARSET_H

#include "base/str.h"

enum charset {
    CHARSET_UTF8,
    /* As windows-1252, like every browser reads it (WHATWG Encoding, 4.2): the 27 characters that
     * the one has more stand where the other has control characters. */
    CHARSET_LATIN1,
    CHARSET_UTF16, /* a byte order mark says which; little-endian without one */
    CHARSET_UTF16LE,
    CHARSET_UTF16BE
};

/** By a name as it stands in a content type: "ISO-8859-1". False when it is not known. */
bool charset_by_name(struct str name, enum charset *out);

struct charset_reader {
    enum charset set;
    unsigned char odd; /* the first byte of a unit whose second has not come */
    bool has_odd;
    uint16_t high; /* the first half of a pair; 0: none */
    bool begun;    /* some unit has been seen, so there comes no byte order mark any more */
    uint64_t line; /* from 1 */
};
void charset_init(struct charset_reader *reader, enum charset set);

/** What one byte can become at most, and what may be held back from before. */
enum { CHARSET_BYTES_MAX = 3 };
/**
 * Read `bytes`, all of them; `out` has room for CHARSET_BYTES_MAX times (their number + 1).
 *
 * Returns  *len_out bytes written
 * Errors   E_INVALID "line 3: not valid UTF-16"
 */
enum status charset_read(struct charset_reader *reader, struct str bytes, char *out,
                         size_t *len_out, struct err *err) MUST_USE;
/** The text has ended: E_INVALID inside a character. */
enum status charset_end(const struct charset_reader *reader, struct err *err) MUST_USE;

#endif
