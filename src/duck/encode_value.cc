/*
 * Values of every type as JSON, read straight from DuckDB's vectors; and as CSV, where a nested
 * value is its JSON text.
 *
 * The writer of a column is chosen once per chunk. A nested column has prepared children, so that a
 * list of a million numbers costs what a column of a million numbers costs.
 */
#include "duck/duck_priv.hpp"

#include "duck/encode_priv.hpp"

#include "duckdb/common/types/bit.hpp"
#include "duckdb/common/types/date.hpp"
#include "duckdb/common/types/timestamp.hpp"

#include <cstring>

using namespace duckdb;

namespace lake {

/* --- strings --- */

namespace {

/* 0: as it is; 'u': \u00XX; else the letter behind the backslash (RFC 8259, section 7). */
struct EscapeTable {
    char of[256] = {};
    constexpr EscapeTable()
    {
        for (int c = 0; c < 0x20; c++) {
            of[c] = 'u';
        }
        of[(unsigned char)'"'] = '"';
        of[(unsigned char)'\\'] = '\\';
        of[(unsigned char)'\b'] = 'b';
        of[(unsigned char)'\f'] = 'f';
        of[(unsigned char)'\n'] = 'n';
        of[(unsigned char)'\r'] = 'r';
        of[(unsigned char)'\t'] = 't';
    }
};
constexpr EscapeTable ESCAPES;

/** True when one of eight bytes is below 0x20, a quote or a backslash. */
bool needs_escape(uint64_t word)
{
    constexpr uint64_t ONES = UINT64_C(0x0101010101010101);
    constexpr uint64_t HIGH = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ONES * '"');
    uint64_t backslash = word ^ (ONES * '\\');
    uint64_t control = (word - ONES * 0x20) & ~word;
    return (((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash) | control) & HIGH;
}

void escape_char(Out &out, unsigned char c)
{
    static const char HEX[] = "0123456789abcdef";
    char how = ESCAPES.of[c];
    out.Char('\\');
    out.Char(how);
    if (how == 'u') {
        out.Literal("00");
        out.Char(HEX[c >> 4]);
        out.Char(HEX[c & 15]);
    }
}

} // namespace

void write_json_string(Out &out, const char *ptr, size_t len)
{
    /* the worst case is six bytes for one, and that room is asked for by the piece */
    constexpr size_t PIECE = 4096;
    out.Room(2);
    out.Char('"');
    size_t i = 0;
    while (i < len) {
        size_t stop = len - i > PIECE ? i + PIECE : len;
        out.Room((stop - i) * 6 + 2);
        while (i < stop) {
            uint64_t word;
            while (stop - i >= 8 && (memcpy(&word, ptr + i, 8), !needs_escape(word))) {
                memcpy(out.next, &word, 8);
                out.next += 8;
                i += 8;
            }
            for (size_t n = 0; n < 8 && i < stop; n++, i++) {
                unsigned char c = (unsigned char)ptr[i];
                if (ESCAPES.of[c] == 0) {
                    out.Char((char)c);
                } else {
                    escape_char(out, c);
                }
            }
        }
    }
    out.Char('"');
}

namespace {

/* --- scalars: each reads its slot; quoted kinds add their own quotes --- */

template <class T> T at(const Cells &cells, idx_t slot)
{
    return UnifiedVectorFormat::GetData<T>(cells.format)[slot];
}

void json_bool(Out &out, const Cells &cells, idx_t slot)
{
    out.Room(5);
    if (at<bool>(cells, slot)) {
        out.Literal("true");
    } else {
        out.Literal("false");
    }
}

template <class T> void json_int(Out &out, const Cells &cells, idx_t slot)
{
    write_int(out, at<T>(cells, slot));
}

template <class T> void json_uint(Out &out, const Cells &cells, idx_t slot)
{
    write_uint(out, at<T>(cells, slot));
}

void json_hugeint(Out &out, const Cells &cells, idx_t slot)
{
    write_hugeint(out, at<hugeint_t>(cells, slot));
}

void json_uhugeint(Out &out, const Cells &cells, idx_t slot)
{
    write_uhugeint(out, at<uhugeint_t>(cells, slot));
}

void json_float(Out &out, const Cells &cells, idx_t slot)
{
    write_float(out, at<float>(cells, slot));
}

void json_double(Out &out, const Cells &cells, idx_t slot)
{
    write_double(out, at<double>(cells, slot));
}

template <class T> void json_decimal(Out &out, const Cells &cells, idx_t slot)
{
    write_small_decimal(out, at<T>(cells, slot), cells.scale);
}

void json_big_decimal(Out &out, const Cells &cells, idx_t slot)
{
    write_decimal(out, at<hugeint_t>(cells, slot), cells.scale);
}

/** Quotes around what `text` writes. */
template <class TEXT> void quoted(Out &out, TEXT text)
{
    out.Room(1);
    out.Char('"');
    text();
    out.Room(1);
    out.Char('"');
}

void json_date(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_date(out, at<date_t>(cells, slot)); });
}

void json_timestamp(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_timestamp(out, at<timestamp_t>(cells, slot), false); });
}

void json_timestamp_tz(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_timestamp(out, at<timestamp_t>(cells, slot), true); });
}

template <int64_t FACTOR> void json_timestamp_coarse(Out &out, const Cells &cells, idx_t slot)
{
    auto value = at<timestamp_t>(cells, slot);
    quoted(out, [&] {
        write_timestamp(out, Timestamp::IsFinite(value) ? timestamp_t(value.value * FACTOR) : value,
                        false);
    });
}

void json_timestamp_ns(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_timestamp_ns(out, at<timestamp_t>(cells, slot)); });
}

void json_time(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_time(out, at<dtime_t>(cells, slot).micros); });
}

void json_time_ns(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_time_ns(out, at<dtime_ns_t>(cells, slot).micros); });
}

void json_time_tz(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_time_tz(out, at<dtime_tz_t>(cells, slot)); });
}

void json_interval(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_interval(out, at<interval_t>(cells, slot)); });
}

void json_uuid(Out &out, const Cells &cells, idx_t slot)
{
    quoted(out, [&] { write_uuid(out, at<hugeint_t>(cells, slot)); });
}

void json_text(Out &out, const Cells &cells, idx_t slot)
{
    auto &text = UnifiedVectorFormat::GetData<string_t>(cells.format)[slot];
    write_json_string(out, text.GetData(), text.GetSize());
}

void json_blob(Out &out, const Cells &cells, idx_t slot)
{
    auto &bytes = UnifiedVectorFormat::GetData<string_t>(cells.format)[slot];
    quoted(out, [&] { write_base64(out, bytes.GetData(), bytes.GetSize()); });
}

void json_bit(Out &out, const Cells &cells, idx_t slot)
{
    string text = Bit::ToString(UnifiedVectorFormat::GetData<string_t>(cells.format)[slot]);
    write_json_string(out, text.data(), text.size());
}

template <class T> void json_enum(Out &out, const Cells &cells, idx_t slot)
{
    auto text = EnumType::GetString(*cells.type, at<T>(cells, slot));
    write_json_string(out, text.GetData(), text.GetSize());
}

/** A type without a rule of its own: DuckDB's text. BIGNUM's is a number. */
void json_other(Out &out, const Cells &cells, idx_t slot)
{
    string text = cells.vector->GetValue(slot).ToString();
    if (cells.type->id() == LogicalTypeId::BIGNUM) {
        out.Append(text);
        return;
    }
    write_json_string(out, text.data(), text.size());
}

void json_null(Out &out, const Cells &, idx_t)
{
    out.Room(4);
    out.Literal("null");
}

/* --- nested values --- */

void elements(Out &out, const Cells &child, idx_t begin, idx_t count)
{
    out.Room(1);
    out.Char('[');
    for (idx_t i = 0; i < count; i++) {
        if (i > 0) {
            out.Room(1);
            out.Char(',');
        }
        write_json_cell(out, child, begin + i);
    }
    out.Room(1);
    out.Char(']');
}

void json_list(Out &out, const Cells &cells, idx_t slot)
{
    auto entry = at<list_entry_t>(cells, slot);
    elements(out, *cells.children[0], entry.offset, entry.length);
}

void json_array(Out &out, const Cells &cells, idx_t slot)
{
    idx_t size = ArrayType::GetSize(*cells.type);
    elements(out, *cells.children[0], slot * size, size);
}

/** A named struct is an object, a row without names an array. */
void json_struct(Out &out, const Cells &cells, idx_t slot)
{
    auto &types = StructType::GetChildTypes(*cells.type);
    bool named = !StructType::IsUnnamed(*cells.type);
    out.Room(1);
    out.Char(named ? '{' : '[');
    for (idx_t i = 0; i < types.size(); i++) {
        if (i > 0) {
            out.Room(1);
            out.Char(',');
        }
        if (named) {
            write_json_string(out, types[i].first.data(), types[i].first.size());
            out.Room(1);
            out.Char(':');
        }
        write_json_cell(out, *cells.children[i], slot);
    }
    out.Room(1);
    out.Char(named ? '}' : ']');
}

/** The member that it holds; which one that is stays in DuckDB (union_tag). */
void json_union(Out &out, const Cells &cells, idx_t slot)
{
    auto &tags = *cells.children[0];
    idx_t tag_slot = tags.Slot(slot);
    idx_t tag = UnifiedVectorFormat::GetData<uint8_t>(tags.format)[tag_slot];
    if (tags.IsNull(tag_slot) || tag + 1 >= cells.children.size()) {
        json_null(out, cells, slot);
        return;
    }
    write_json_cell(out, *cells.children[tag + 1], slot);
}

void json_map(Out &out, const Cells &cells, idx_t slot)
{
    auto entry = at<list_entry_t>(cells, slot);
    auto &pairs = *cells.children[0];
    auto &keys = *pairs.children[0];
    auto &values = *pairs.children[1];
    bool text_keys = keys.type->id() == LogicalTypeId::VARCHAR ||
                     keys.type->id() == LogicalTypeId::ENUM;
    out.Room(1);
    out.Char(text_keys ? '{' : '[');
    for (idx_t i = 0; i < entry.length; i++) {
        if (i > 0) {
            out.Room(1);
            out.Char(',');
        }
        idx_t row = pairs.Slot(entry.offset + i);
        if (text_keys) {
            write_json_cell(out, keys, row);
            out.Room(1);
            out.Char(':');
            write_json_cell(out, values, row);
            continue;
        }
        out.Room(7);
        out.Literal("{\"key\":");
        write_json_cell(out, keys, row);
        out.Room(9);
        out.Literal(",\"value\":");
        write_json_cell(out, values, row);
        out.Room(1);
        out.Char('}');
    }
    out.Room(1);
    out.Char(text_keys ? '}' : ']');
}

write_value decimal_writer(const LogicalType &type)
{
    switch (type.InternalType()) {
    case PhysicalType::INT16:
        return json_decimal<int16_t>;
    case PhysicalType::INT32:
        return json_decimal<int32_t>;
    case PhysicalType::INT64:
        return json_decimal<int64_t>;
    default:
        return json_big_decimal;
    }
}

write_value enum_writer(const LogicalType &type)
{
    switch (type.InternalType()) {
    case PhysicalType::UINT8:
        return json_enum<uint8_t>;
    case PhysicalType::UINT16:
        return json_enum<uint16_t>;
    default:
        return json_enum<uint32_t>;
    }
}

write_value number_writer(const LogicalType &type)
{
    switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
        return json_bool;
    case LogicalTypeId::TINYINT:
        return json_int<int8_t>;
    case LogicalTypeId::SMALLINT:
        return json_int<int16_t>;
    case LogicalTypeId::INTEGER:
        return json_int<int32_t>;
    case LogicalTypeId::BIGINT:
        return json_int<int64_t>;
    case LogicalTypeId::UTINYINT:
        return json_uint<uint8_t>;
    case LogicalTypeId::USMALLINT:
        return json_uint<uint16_t>;
    case LogicalTypeId::UINTEGER:
        return json_uint<uint32_t>;
    case LogicalTypeId::UBIGINT:
        return json_uint<uint64_t>;
    case LogicalTypeId::HUGEINT:
        return json_hugeint;
    case LogicalTypeId::UHUGEINT:
        return json_uhugeint;
    case LogicalTypeId::FLOAT:
        return json_float;
    case LogicalTypeId::DOUBLE:
        return json_double;
    case LogicalTypeId::DECIMAL:
        return decimal_writer(type);
    default:
        return nullptr;
    }
}

write_value time_writer(const LogicalType &type)
{
    switch (type.id()) {
    case LogicalTypeId::DATE:
        return json_date;
    case LogicalTypeId::TIME:
        return json_time;
    case LogicalTypeId::TIME_NS:
        return json_time_ns;
    case LogicalTypeId::TIME_TZ:
        return json_time_tz;
    case LogicalTypeId::TIMESTAMP:
        return json_timestamp;
    case LogicalTypeId::TIMESTAMP_TZ:
        return json_timestamp_tz;
    case LogicalTypeId::TIMESTAMP_SEC:
        return json_timestamp_coarse<1000000>;
    case LogicalTypeId::TIMESTAMP_MS:
        return json_timestamp_coarse<1000>;
    case LogicalTypeId::TIMESTAMP_NS:
        return json_timestamp_ns;
    case LogicalTypeId::INTERVAL:
        return json_interval;
    case LogicalTypeId::UUID:
        return json_uuid;
    default:
        return nullptr;
    }
}

write_value other_writer(const LogicalType &type)
{
    switch (type.id()) {
    case LogicalTypeId::VARCHAR:
        return json_text;
    case LogicalTypeId::BLOB:
        return json_blob;
    case LogicalTypeId::BIT:
        return json_bit;
    case LogicalTypeId::ENUM:
        return enum_writer(type);
    case LogicalTypeId::LIST:
        return json_list;
    case LogicalTypeId::ARRAY:
        return json_array;
    case LogicalTypeId::STRUCT:
        return json_struct;
    case LogicalTypeId::UNION:
        return json_union;
    case LogicalTypeId::MAP:
        return json_map;
    case LogicalTypeId::SQLNULL:
        return json_null;
    default:
        return json_other;
    }
}

bool is_nested(const LogicalType &type)
{
    switch (type.id()) {
    case LogicalTypeId::LIST:
    case LogicalTypeId::ARRAY:
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::UNION:
    case LogicalTypeId::MAP:
        return true;
    default:
        return false;
    }
}

/** The vectors inside a flat nested vector, and how many rows each has. */
std::vector<std::pair<Vector *, idx_t>> inner_vectors(Vector &source, idx_t count)
{
    std::vector<std::pair<Vector *, idx_t>> inner;
    switch (source.GetType().id()) {
    case LogicalTypeId::LIST:
    case LogicalTypeId::MAP:
        inner.emplace_back(&ListVector::GetEntry(source), ListVector::GetListSize(source));
        break;
    case LogicalTypeId::ARRAY:
        inner.emplace_back(&ArrayVector::GetEntry(source),
                           count * ArrayType::GetSize(source.GetType()));
        break;
    default:
        for (auto &entry : StructVector::GetEntries(source)) {
            inner.emplace_back(entry.get(), count);
        }
        break;
    }
    return inner;
}

} // namespace

void choose_writer(Cells &cells)
{
    auto &type = *cells.type;
    cells.scale = type.id() == LogicalTypeId::DECIMAL ? DecimalType::GetScale(type) : 0;
    cells.write = number_writer(type);
    cells.is_json_number = cells.write != nullptr;
    if (!cells.write) {
        cells.write = time_writer(type);
    }
    cells.text_is_plain = cells.write != nullptr;
    if (!cells.write) {
        cells.write = other_writer(type);
    }
}

void Cells::Load(Vector &source, idx_t count)
{
    type = &source.GetType(); /* the last chunk's is gone, but a column's type never changes */
    if (!write) {
        choose_writer(*this);
    }
    vector = &source;
    if (!is_nested(*type)) {
        if (write == json_other) {
            source.Flatten(count); /* GetValue goes by row, `slot` is then the row */
        }
        source.ToUnifiedFormat(count, format);
        return;
    }
    source.Flatten(count);
    source.ToUnifiedFormat(count, format);
    auto inner = inner_vectors(source, count);
    children.resize(inner.size());
    for (idx_t i = 0; i < inner.size(); i++) {
        if (!children[i]) {
            children[i] = std::make_unique<Cells>();
        }
        children[i]->Load(*inner[i].first, inner[i].second);
    }
}

/* --- CSV --- */

void write_csv_text(Out &out, const char *ptr, size_t len)
{
    bool quote = len == 0;
    for (size_t i = 0; i < len && !quote; i++) {
        quote = ptr[i] == '"' || ptr[i] == ',' || ptr[i] == '\n' || ptr[i] == '\r';
    }
    if (!quote) {
        out.Append(ptr, len);
        return;
    }
    constexpr size_t PIECE = 4096;
    out.Room(1);
    out.Char('"');
    for (size_t begin = 0; begin < len; begin += PIECE) {
        size_t stop = len - begin > PIECE ? begin + PIECE : len;
        out.Room((stop - begin) * 2);
        for (size_t i = begin; i < stop; i++) {
            if (ptr[i] == '"') {
                out.Char('"');
            }
            out.Char(ptr[i]);
        }
    }
    out.Room(1);
    out.Char('"');
}

void write_csv_cell(Out &out, const Cells &cells, idx_t row)
{
    idx_t slot = cells.Slot(row);
    if (cells.IsNull(slot)) {
        return;
    }
    if (cells.write == json_text) {
        auto &text = UnifiedVectorFormat::GetData<string_t>(cells.format)[slot];
        write_csv_text(out, text.GetData(), text.GetSize());
        return;
    }
    size_t before = out.Position();
    cells.write(out, cells, slot);
    if (cells.is_json_number && out.next[-1] != '"') {
        return;
    }
    /* What the JSON rule put in quotes stands without them here, and the rest gets CSV's own where
     * it needs them. */
    size_t len = out.Position() - before;
    char *json = out.next - len;
    if (cells.text_is_plain || cells.write == json_blob || cells.write == json_bit) {
        memmove(json, json + 1, len - 2);
        out.next -= 2;
        return;
    }
    string text(json, len);
    out.Rewind(before);
    if (!is_nested(*cells.type) && len > 0 && text[0] == '"') {
        /* an ENUM, or a type without a rule of its own */
        text = cells.vector->GetValue(row).ToString();
    }
    write_csv_text(out, text.data(), text.size());
}

} // namespace lake
