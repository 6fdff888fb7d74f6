/*
 * The scan of a table that has rows and no files: metadata tables. Pages are asked for one after
 * the other, as the statement takes rows, with the columns that it wants; memory holds one of them.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/function/table_function.hpp"

using namespace duckdb;

namespace lake {

namespace {

constexpr size_t PAGE_BYTES_MAX = 64ul * 1024 * 1024; /* as an answer may have at most */

struct Bound : public TableFunctionData {
    explicit Bound(shared_ptr<LakeTable> table_p) : table(std::move(table_p)) {}
    unique_ptr<FunctionData> Copy() const override { return make_uniq<Bound>(table); }
    bool Equals(const FunctionData &other) const override
    {
        return table == other.Cast<Bound>().table;
    }

    const shared_ptr<LakeTable> table;
};

/** One thread reads: pages come in order. */
struct Pages : public GlobalTableFunctionState {
    ~Pages() override { json_doc_done(&page); }

    std::vector<column_t> columns; /* of the scan: places in the table, or no column of it */
    std::vector<int32_t> ids;      /* of those that are columns */
    yyjson_doc *page = nullptr;
    yyjson_arr_iter rows = {}; /* those left of the page */
    uint64_t after = 0;
    bool more = true; /* there is a page behind this one */
};

unique_ptr<GlobalTableFunctionState> init(ClientContext &, TableFunctionInitInput &input)
{
    auto &info = input.bind_data->Cast<Bound>().table->Info();
    auto state = make_uniq<Pages>();
    for (auto column : input.column_ids) {
        bool is_ours = column < info.column_count;
        state->columns.push_back(is_ours ? column : COLUMN_IDENTIFIER_EMPTY);
        if (is_ours) {
            state->ids.push_back(info.columns[column].id);
        }
    }
    return std::move(state);
}

void read_page(Pages &state, const struct duck_table &info)
{
    struct err err = {};
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    json_doc_done(&state.page);
    enum status status = info.rows(info.rows_ctx, state.ids.data(), state.ids.size(), state.after,
                                   &text, &err);
    yyjson_val *rows = nullptr;
    uint64_t next = 0;
    status = status == OK ? json_parse(buf_str(&text), &state.page, &err) : status;
    buf_done(&text);
    if (status == OK) {
        auto root = yyjson_doc_get_root(state.page);
        status = json_get_arr(root, "rows", JSON_REQUIRED, &rows, &err);
        status = status == OK ? json_get_u64(root, "next", JSON_OPTIONAL, &next, &err) : status;
    }
    if (status != OK) {
        throw_err(err);
    }
    yyjson_arr_iter_init(rows, &state.rows);
    state.after = next;
    state.more = next > 0;
}

/** The next row, or NULL behind the last. */
yyjson_val *next_row(Pages &state, const struct duck_table &info)
{
    while (!yyjson_arr_iter_has_next(&state.rows)) {
        if (!state.more) {
            return nullptr;
        }
        read_page(state, info);
    }
    return yyjson_arr_iter_next(&state.rows);
}

Value value_of(yyjson_val *cell, const LogicalType &type);

Value struct_of(yyjson_val *cell, const LogicalType &type)
{
    child_list_t<Value> values;
    idx_t i = 0;
    for (auto &child : StructType::GetChildTypes(type)) {
        values.emplace_back(child.first, value_of(yyjson_arr_get(cell, i++), child.second));
    }
    return Value::STRUCT(std::move(values));
}

Value list_of(yyjson_val *cell, const LogicalType &type)
{
    vector<Value> values;
    size_t i;
    size_t max;
    yyjson_val *item;
    yyjson_arr_foreach(cell, i, max, item)
    {
        values.push_back(value_of(item, type));
    }
    return Value::LIST(type, std::move(values));
}

Value map_of(yyjson_val *cell, const LogicalType &type)
{
    vector<Value> keys, values;
    size_t i;
    size_t max;
    yyjson_val *pair;
    yyjson_arr_foreach(cell, i, max, pair)
    {
        keys.push_back(value_of(yyjson_arr_get(pair, 0), MapType::KeyType(type)));
        values.push_back(value_of(yyjson_arr_get(pair, 1), MapType::ValueType(type)));
    }
    return Value::MAP(MapType::KeyType(type), MapType::ValueType(type), std::move(keys),
                      std::move(values));
}

/** A text that does not cast is NULL: it is somebody's statistic, and damaged. */
Value text_as(yyjson_val *cell, const LogicalType &type)
{
    Value text(string(yyjson_get_str(cell), yyjson_get_len(cell)));
    Value value;
    string problem;
    return type.id() == LogicalTypeId::VARCHAR            ? text
           : text.DefaultTryCastAs(type, value, &problem) ? value
                                                          : Value(type);
}

Value value_of(yyjson_val *cell, const LogicalType &type)
{
    if (yyjson_is_str(cell)) {
        return text_as(cell, type);
    }
    if (yyjson_is_arr(cell)) {
        switch (type.id()) {
        case LogicalTypeId::STRUCT:
            return struct_of(cell, type);
        case LogicalTypeId::LIST:
            return list_of(cell, ListType::GetChildType(type));
        case LogicalTypeId::MAP:
            return map_of(cell, type);
        default:
            return Value(type);
        }
    }
    if (yyjson_is_bool(cell)) {
        return Value::BOOLEAN(yyjson_get_bool(cell));
    }
    if (!yyjson_is_int(cell)) {
        return Value(type);
    }
    int64_t number = yyjson_get_sint(cell);
    return type.id() == LogicalTypeId::TIMESTAMP_TZ ? Value::TIMESTAMPTZ(timestamp_tz_t(number))
           : type.id() == LogicalTypeId::INTEGER    ? Value::INTEGER((int32_t)number)
                                                    : Value::BIGINT(number);
}

void scan(ClientContext &, TableFunctionInput &input, DataChunk &output)
{
    auto &state = input.global_state->Cast<Pages>();
    auto &info = input.bind_data->Cast<Bound>().table->Info();
    idx_t count = 0;
    while (count < STANDARD_VECTOR_SIZE) {
        auto row = next_row(state, info);
        if (!row) {
            break;
        }
        size_t place = 0;
        for (idx_t i = 0; i < state.columns.size(); i++) {
            auto &out = output.data[i];
            if (state.columns[i] == COLUMN_IDENTIFIER_EMPTY) {
                FlatVector::SetNull(out, count, true);
            } else {
                output.SetValue(i, count, value_of(yyjson_arr_get(row, place++), out.GetType()));
            }
        }
        count++;
    }
    output.SetCardinality(count);
}

/** What makes the scan a table for DuckDB: `main.t.x` binds. */
BindInfo bind_info(const optional_ptr<FunctionData> bind_data)
{
    return BindInfo(*bind_data->Cast<Bound>().table);
}

} // namespace

TableFunction make_row_scan(shared_ptr<LakeTable> table, unique_ptr<FunctionData> &bind_data)
{
    TableFunction function("lake_rows", {}, scan, nullptr, init);
    function.projection_pushdown = true;
    function.get_bind_info = bind_info;
    bind_data = make_uniq<Bound>(std::move(table));
    return function;
}

} // namespace lake
