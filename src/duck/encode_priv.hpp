/*
 * What the encoders share: bytes that grow without a check per character, and a vector made ready
 * to be read row by row.
 */
#ifndef DUCK_ENCODE_PRIV_HPP
#define DUCK_ENCODE_PRIV_HPP

#ifndef DUCK_DUCK_PRIV_HPP /* a precompiled header has no second inclusion, not even an empty one */
#include "duck/duck_priv.hpp"
#endif

#include "duckdb/common/types/vector.hpp"

#include <memory>
#include <vector>

namespace lake {

/**
 * The end of a struct buf, with the room for a whole value asked for at once. `sync` gives the
 * length back; until then the buffer is not touched by others.
 */
class Out {
  public:
    explicit Out(struct buf &target_p)
        : next(target_p.ptr + target_p.len), target(target_p), end(target_p.ptr + target_p.cap)
    {}
    /** Room for `len` more bytes. */
    void Room(size_t len)
    {
        if ((size_t)(end - next) < len) {
            Grow(len);
        }
    }
    /* These need Room first. */
    void Char(char c) { *next++ = c; }
    void Bytes(const char *ptr, size_t len)
    {
        memcpy(next, ptr, len);
        next += len;
    }
    template <size_t N> void Literal(const char (&text)[N]) { Bytes(text, N - 1); }
    /* This does not. */
    void Append(const char *ptr, size_t len)
    {
        Room(len);
        Bytes(ptr, len);
    }
    /** A text of at most SHORT bytes that has SHORT readable ones: no call for a few bytes. */
    static constexpr size_t SHORT = 32;
    void AppendShort(const char *ptr, size_t len)
    {
        Room(SHORT);
        memcpy(next, ptr, SHORT);
        next += len;
    }
    void Append(const string &text) { Append(text.data(), text.size()); }
    void Sync() { target.len = next ? (size_t)(next - target.ptr) : 0; }
    size_t Position() const { return next ? (size_t)(next - target.ptr) : 0; }
    void Rewind(size_t position) { next = target.ptr + position; }
    char *next;

  private:
    void Grow(size_t len);

    struct buf &target;
    char *end;
};

/** One vector of a chunk, in a form that any row of it can be read from; with its children when it
 * is nested. */
struct Cells;
typedef void (*write_value)(Out &out, const Cells &cells, idx_t slot);

struct Cells {
    duckdb::UnifiedVectorFormat format;
    duckdb::Vector *vector = nullptr;
    const duckdb::LogicalType *type = nullptr;
    write_value write = nullptr; /* of a value that is not NULL, at its slot in `format`'s data */
    /* what `write` gives never needs quotes or escapes: numbers, times */
    bool text_is_plain = false;
    bool is_json_number = false; /* ... and stands in JSON without quotes */
    uint8_t scale = 0;           /* of a DECIMAL */
    std::vector<std::unique_ptr<Cells>> children;

    /** Prepares `count` rows of `source`. */
    void Load(duckdb::Vector &source, idx_t count);
    idx_t Slot(idx_t row) const { return format.sel->get_index(row); }
    bool IsNull(idx_t slot) const { return !format.validity.RowIsValid(slot); }
};

/** The writer of a type's values, as JSON. */
void choose_writer(Cells &cells);
/** A JSON string, with quotes and escapes. */
void write_json_string(Out &out, const char *ptr, size_t len);
/** A value or `null`. */
inline void write_json_cell(Out &out, const Cells &cells, idx_t row)
{
    idx_t slot = cells.Slot(row);
    if (cells.IsNull(slot)) {
        out.Room(4);
        out.Literal("null");
        return;
    }
    cells.write(out, cells, slot);
}
/** A CSV field (RFC 4180): NULL is empty, an empty text is "". */
void write_csv_cell(Out &out, const Cells &cells, idx_t row);
void write_csv_text(Out &out, const char *ptr, size_t len);

/* --- the text of single values (encode_scalar.cc); the room is asked for inside --- */

void write_int(Out &out, int64_t value);
void write_uint(Out &out, uint64_t value);
void write_hugeint(Out &out, duckdb::hugeint_t value);
void write_uhugeint(Out &out, duckdb::uhugeint_t value);
void write_decimal(Out &out, duckdb::hugeint_t value, uint8_t scale);
void write_small_decimal(Out &out, int64_t value, uint8_t scale);
/** Shortest text that reads back as the same number; NaN and infinities as JSON strings. */
void write_double(Out &out, double value);
void write_float(Out &out, float value);
/* these write the text without quotes */
void write_date(Out &out, duckdb::date_t value);
void write_timestamp(Out &out, duckdb::timestamp_t value, bool utc);
void write_timestamp_ns(Out &out, duckdb::timestamp_t value);
void write_time(Out &out, int64_t micros);
void write_time_ns(Out &out, int64_t nanos);
void write_time_tz(Out &out, duckdb::dtime_tz_t value);
void write_interval(Out &out, duckdb::interval_t value);
void write_uuid(Out &out, duckdb::hugeint_t value);
void write_base64(Out &out, const char *ptr, size_t len);

} // namespace lake

#endif
