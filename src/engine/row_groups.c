/*
 * A struct is fields, each with its type and number, and a stop. We go down along
 *
 *     FileMetaData.row_groups (4) -> RowGroup.columns (1) -> ColumnChunk.meta_data (3)
 *         -> ColumnMetaData.data_page_offset (9), .dictionary_page_offset (11)
 *
 * A row group begins with the first of its columns' pages; a column's dictionary, where there is
 * one, stands before its data.
 */
#include "engine/row_groups.h"

enum {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1,
    THRIFT_FALSE = 2,
    THRIFT_BYTE = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_STRUCT = 12,
};

enum { DEPTH_MAX = 16 /* a footer has six */, LIST_LONG = 15 };

struct reader {
    struct str rest;
    unsigned depth;
    bool bad;
};

static unsigned read_byte(struct reader *r)
{
    if (r->rest.len == 0) {
        r->bad = true;
        return 0;
    }
    unsigned byte = (unsigned char)r->rest.ptr[0];
    r->rest = str_skip(r->rest, 1);
    return byte;
}

static void skip_bytes(struct reader *r, uint64_t len)
{
    r->bad = r->bad || len > r->rest.len;
    r->rest = str_skip(r->rest, r->bad ? r->rest.len : (size_t)len);
}

static uint64_t read_varint(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned byte = read_byte(r);
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
    r->bad = true;
    return 0;
}

static int64_t read_integer(struct reader *r)
{
    uint64_t zigzag = read_varint(r);
    return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
}

/** The next field's type; *id is the last one's number, and becomes its own. */
static unsigned read_field(struct reader *r, int64_t *id)
{
    unsigned head = read_byte(r);
    if (r->bad || head == THRIFT_STOP) {
        return THRIFT_STOP;
    }
    *id = head >> 4 != 0 ? *id + (int64_t)(head >> 4) : read_integer(r);
    r->bad = r->bad || *id < INT16_MIN || *id > INT16_MAX;
    return r->bad ? THRIFT_STOP : head & 15;
}

static uint64_t read_list(struct reader *r, unsigned *type_out)
{
    unsigned head = read_byte(r);
    *type_out = head & 15;
    return head >> 4 == LIST_LONG ? read_varint(r) : head >> 4;
}

/** `in_list`: truth values take a byte there, and none as a field. */
static void skip_value(struct reader *r, unsigned type, bool in_list)
{
    unsigned inner;
    int64_t id = 0;
    if (r->bad || ++r->depth > DEPTH_MAX) {
        r->bad = true;
        return;
    }
    switch (type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        skip_bytes(r, in_list);
        break;
    case THRIFT_BYTE:
        skip_bytes(r, 1);
        break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        (void)read_varint(r);
        break;
    case THRIFT_DOUBLE:
        skip_bytes(r, 8);
        break;
    case THRIFT_BINARY:
        skip_bytes(r, read_varint(r));
        break;
    case THRIFT_LIST:
    case THRIFT_SET:
        for (uint64_t left = read_list(r, &inner); left > 0 && !r->bad; left--) {
            skip_value(r, inner, true);
        }
        break;
    case THRIFT_STRUCT:
        for (unsigned field; (field = read_field(r, &id)) != THRIFT_STOP;) {
            skip_value(r, field, false);
        }
        break;
    default: /* no map is in a footer */
        r->bad = true;
    }
    r->depth--;
}

/** The first page of a ColumnMetaData; INT64_MAX: it says none. */
static int64_t read_meta(struct reader *r)
{
    int64_t id = 0, first = INT64_MAX;
    for (unsigned type; (type = read_field(r, &id)) != THRIFT_STOP;) {
        if ((id == 9 || id == 11) && type == THRIFT_I64) {
            int64_t offset = read_integer(r);
            first = offset < first ? offset : first;
        } else {
            skip_value(r, type, false);
        }
    }
    return first;
}

static int64_t read_column(struct reader *r)
{
    int64_t id = 0, first = INT64_MAX;
    for (unsigned type; (type = read_field(r, &id)) != THRIFT_STOP;) {
        if (id == 3 && type == THRIFT_STRUCT) {
            first = read_meta(r);
        } else {
            skip_value(r, type, false);
        }
    }
    return first;
}

static int64_t read_columns(struct reader *r)
{
    unsigned type;
    int64_t first = INT64_MAX;
    uint64_t left = read_list(r, &type);
    r->bad = r->bad || type != THRIFT_STRUCT;
    for (; left > 0 && !r->bad; left--) {
        int64_t offset = read_column(r);
        first = offset < first ? offset : first;
    }
    return first;
}

static int64_t read_group(struct reader *r)
{
    int64_t id = 0, first = INT64_MAX;
    for (unsigned type; (type = read_field(r, &id)) != THRIFT_STOP;) {
        if (id == 1 && type == THRIFT_LIST) {
            first = read_columns(r);
        } else {
            skip_value(r, type, false);
        }
    }
    r->bad = r->bad || first < 0 || first == INT64_MAX;
    return first;
}

static enum status corrupt(struct err *err)
{
    return err_set(err, E_CORRUPT, "the footer of the Parquet file cannot be read");
}

enum status row_groups_read(struct str footer,
                            enum status (*group)(void *ctx, int64_t offset, struct err *err),
                            void *ctx, struct err *err)
{
    struct reader r = { .rest = footer };
    int64_t id = 0;
    for (unsigned type; (type = read_field(&r, &id)) != THRIFT_STOP;) {
        if (id != 4 || type != THRIFT_LIST) {
            skip_value(&r, type, false);
            continue;
        }
        uint64_t left = read_list(&r, &type);
        r.bad = r.bad || (left > 0 && type != THRIFT_STRUCT);
        for (; left > 0 && !r.bad; left--) {
            int64_t offset = read_group(&r);
            TRY(r.bad ? corrupt(err) : group(ctx, offset, err));
        }
    }
    return r.bad ? corrupt(err) : OK;
}
