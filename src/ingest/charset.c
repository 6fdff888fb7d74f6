/*
 * UTF-8 passes as it is: whether it is valid is looked at where lines are known. The others are
 * written by one function for a code point.
 */
#include "ingest/charset.h"

bool charset_by_name(struct str name, enum charset *out)
{
    static const struct {
        const char *name;
        enum charset set;
    } names[] = {
        { "utf-8", CHARSET_UTF8 },          { "utf8", CHARSET_UTF8 },
        { "us-ascii", CHARSET_UTF8 },       { "ascii", CHARSET_UTF8 },
        { "iso-8859-1", CHARSET_LATIN1 },   { "iso8859-1", CHARSET_LATIN1 },
        { "latin1", CHARSET_LATIN1 },       { "latin-1", CHARSET_LATIN1 },
        { "windows-1252", CHARSET_LATIN1 }, { "cp1252", CHARSET_LATIN1 },
        { "utf-16", CHARSET_UTF16 },        { "utf16", CHARSET_UTF16 },
        { "utf-16le", CHARSET_UTF16LE },    { "utf-16be", CHARSET_UTF16BE },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_nocase(name, str_of(names[i].name))) {
            *out = names[i].set;
            return true;
        }
    }
    return false;
}

void charset_init(struct charset_reader *reader, enum charset set)
{
    *reader = (struct charset_reader){ .set = set, .line = 1 };
}

static size_t put(char *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xe0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

static size_t read_latin1(struct str bytes, char *out)
{
    /* 0x80 to 0x9f of windows-1252 (WHATWG Encoding, index windows-1252) */
    static const uint16_t upper[] = {
        0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
    };
    size_t len = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.ptr[i];
        len += put(out + len, byte >= 0x80 && byte < 0xa0 ? upper[byte - 0x80] : byte);
    }
    return len;
}

static enum status not_utf16(const struct charset_reader *reader, struct err *err)
{
    return err_set(err, E_INVALID, "line %llu: not valid UTF-16", (unsigned long long)reader->line);
}

/** One unit of 16 bits; *len_out grows by what it completes. */
static enum status read_unit(struct charset_reader *reader, uint16_t unit, char *out,
                             size_t *len_out, struct err *err)
{
    bool first = !reader->begun;
    reader->begun = true;
    if (first && unit == 0xfeff) {
        return OK;
    }
    if (first && unit == 0xfffe && reader->set == CHARSET_UTF16) {
        reader->set = CHARSET_UTF16BE;
        return OK;
    }
    bool is_high = unit >= 0xd800 && unit < 0xdc00, is_low = unit >= 0xdc00 && unit < 0xe000;
    if (is_low != (reader->high != 0)) {
        return not_utf16(reader, err);
    }
    if (is_high) {
        reader->high = unit;
        return OK;
    }
    reader->line += unit == '\n';
    uint32_t point = is_low ? 0x10000 + ((uint32_t)(reader->high - 0xd800) << 10) + (unit - 0xdc00u)
                            : unit;
    reader->high = 0;
    *len_out += put(out + *len_out, point);
    return OK;
}

static enum status read_utf16(struct charset_reader *reader, struct str bytes, char *out,
                              size_t *len_out, struct err *err)
{
    size_t len = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.ptr[i];
        if (!reader->has_odd) {
            reader->odd = byte;
            reader->has_odd = true;
            continue;
        }
        reader->has_odd = false;
        unsigned unit = reader->set == CHARSET_UTF16BE ? (unsigned)reader->odd << 8 | byte
                                                       : (unsigned)byte << 8 | reader->odd;
        TRY(read_unit(reader, (uint16_t)unit, out, &len, err));
    }
    *len_out = len;
    return OK;
}

enum status charset_read(struct charset_reader *reader, struct str bytes, char *out,
                         size_t *len_out, struct err *err)
{
    switch (reader->set) {
    case CHARSET_UTF8:
        if (bytes.len > 0) {
            memcpy(out, bytes.ptr, bytes.len);
        }
        *len_out = bytes.len;
        return OK;
    case CHARSET_LATIN1:
        *len_out = read_latin1(bytes, out);
        return OK;
    case CHARSET_UTF16:
    case CHARSET_UTF16LE:
    case CHARSET_UTF16BE:
        return read_utf16(reader, bytes, out, len_out, err);
    }
    return OK;
}

enum status charset_end(const struct charset_reader *reader, struct err *err)
{
    return reader->has_odd || reader->high != 0 ? not_utf16(reader, err) : OK;
}
