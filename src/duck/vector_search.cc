/*
 * `vector_search('index', [0.1, ...], k := 10)`: the items of a vector index that are nearest to a
 * vector, as a table of id, distance and metadata, nearest first.
 *
 * Binding only looks at the arguments. The index is asked once per scan, when the statement begins
 * to run: EXPLAIN asks nobody, and an unknown index is told before the first row. Metadata that no
 * part of the statement wants is not asked for.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/function/table_function.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/tableref/table_function_ref.hpp"
#include "duckdb/storage/statistics/node_statistics.hpp"

#include <cmath>

using namespace duckdb;

namespace lake {

namespace {

constexpr idx_t K_DEFAULT = 10; /* the vectors API's */

enum column { ID, DISTANCE, METADATA };

/** A number that may be left out. */
struct Given {
    bool given = false;
    uint32_t value = 0;

    bool operator==(const Given &other) const
    {
        return given == other.given && value == other.value;
    }
};

struct Ask : public TableFunctionData {
    string index, filter;
    std::vector<float> vector;
    Given k, ef;

    unique_ptr<FunctionData> Copy() const override { return make_uniq<Ask>(*this); }
    bool Equals(const FunctionData &other_p) const override
    {
        auto &other = other_p.Cast<Ask>();
        return index == other.index && filter == other.filter && vector == other.vector &&
               k == other.k && ef == other.ef;
    }
    idx_t Rows() const { return k.given ? k.value : K_DEFAULT; }
};

struct Hits : public GlobalTableFunctionState {
    ScopedArena scoped;
    std::vector<column_t> columns;
    const struct duck_hit *hits = nullptr;
    size_t count = 0, next = 0;
};

/* --- arguments --- */

string read_index(const Value &value, optional_idx position)
{
    if (value.IsNull() || StringValue::Get(value).empty()) {
        throw_refusal(position, "vector_search needs the name of an index");
    }
    return StringValue::Get(value);
}

/** DuckDB's binder leaves lists as they were written: of integers, decimals, floats. */
std::vector<float> read_vector(const Value &given, optional_idx position)
{
    std::vector<float> out;
    if (given.IsNull()) {
        throw_refusal(position, "the vector of vector_search is NULL");
    }
    Value value = given.DefaultCastAs(LogicalType::LIST(LogicalType::DOUBLE));
    for (auto &element : ListValue::GetChildren(value)) {
        float number = element.IsNull() ? NAN : (float)DoubleValue::Get(element);
        if (!std::isfinite(number)) {
            throw_refusal(position, "number " + std::to_string(out.size() + 1) +
                                        " of the vector is " + element.ToString() +
                                        ": one that a float can hold is expected");
        }
        out.push_back(number);
    }
    return out;
}

Given read_number(const string &name, const Value &value, optional_idx position)
{
    Given out;
    if (value.IsNull()) {
        return out; /* as if it were left out */
    }
    int64_t number = BigIntValue::Get(value);
    if (number < 0 || number > UINT32_MAX) {
        throw_refusal(position, "\"" + name + "\" is " + std::to_string(number) +
                                    ": it is a number from 1 on");
    }
    out.given = true;
    out.value = (uint32_t)number;
    return out;
}

unique_ptr<FunctionData> bind(ClientContext &, TableFunctionBindInput &input,
                              vector<LogicalType> &types, vector<string> &names)
{
    auto position = input.ref.query_location;
    auto ask = make_uniq<Ask>();
    ask->index = read_index(input.inputs[0], position);
    ask->vector = read_vector(input.inputs[1], position);
    for (auto &named : input.named_parameters) {
        if (StringUtil::CIEquals(named.first, "k")) {
            ask->k = read_number("k", named.second, position);
        } else if (StringUtil::CIEquals(named.first, "ef")) {
            ask->ef = read_number("ef", named.second, position);
        } else if (!named.second.IsNull()) {
            ask->filter = StringValue::Get(named.second);
            if (ask->filter.empty()) {
                throw_refusal(position, "the filter of vector_search is empty: leave it out, or "
                                        "give a JSON object");
            }
        }
    }
    names = { "id", "distance", "metadata" };
    types = { LogicalType::VARCHAR, LogicalType::DOUBLE, LogicalType::JSON() };
    return std::move(ask);
}

/* --- the scan --- */

unique_ptr<GlobalTableFunctionState> init(ClientContext &context, TableFunctionInitInput &input)
{
    auto &ask = input.bind_data->Cast<Ask>();
    auto session = SessionState::Of(context);
    if (!session || session->vectors == nullptr) {
        throw_status(E_UNSUPPORTED, "there are no vector indexes here");
    }
    auto state = make_uniq<Hits>();
    struct duck_nearest nearest = {};
    for (auto column : input.column_ids) {
        state->columns.push_back(column);
        nearest.with_metadata = nearest.with_metadata || column == METADATA;
    }
    nearest.index = to_str(ask.index);
    nearest.vector = ask.vector.data();
    nearest.dimension = ask.vector.size();
    nearest.has_k = ask.k.given;
    nearest.k = ask.k.value;
    nearest.has_ef = ask.ef.given;
    nearest.ef = ask.ef.value;
    nearest.filter = to_str(ask.filter);
    struct err err = {};
    const struct duck_vectors *vectors = session->vectors;
    if (vectors->search(vectors->ctx, &nearest, &state->scoped.arena, &state->hits, &state->count,
                        &err) != OK) {
        throw_err(err);
    }
    return std::move(state);
}

void fill(const Hits &state, idx_t rows, column_t column, Vector &out)
{
    for (idx_t row = 0; row < rows; row++) {
        auto &hit = state.hits[state.next + row];
        struct str text = column == ID ? hit.id : hit.metadata;
        if (column == DISTANCE) {
            FlatVector::GetData<double>(out)[row] = hit.distance;
        } else if (column == ID || (column == METADATA && text.ptr != nullptr)) {
            FlatVector::GetData<string_t>(out)[row] = StringVector::AddString(out, text.ptr,
                                                                              text.len);
        } else if (column == COLUMN_IDENTIFIER_ROW_ID) {
            FlatVector::GetData<int64_t>(out)[row] = (int64_t)(state.next + row);
        } else {
            FlatVector::SetNull(out, row, true);
        }
    }
}

void scan(ClientContext &, TableFunctionInput &input, DataChunk &output)
{
    auto &state = input.global_state->Cast<Hits>();
    idx_t rows = MinValue<idx_t>(state.count - state.next, STANDARD_VECTOR_SIZE);
    for (idx_t i = 0; i < state.columns.size(); i++) {
        fill(state, rows, state.columns[i], output.data[i]);
    }
    state.next += rows;
    output.SetCardinality(rows);
}

unique_ptr<NodeStatistics> cardinality(ClientContext &, const FunctionData *bind_data)
{
    idx_t rows = bind_data->Cast<Ask>().Rows();
    return make_uniq<NodeStatistics>(rows, rows);
}

InsertionOrderPreservingMap<string> describe(TableFunctionToStringInput &input)
{
    auto &ask = input.bind_data->Cast<Ask>();
    InsertionOrderPreservingMap<string> lines;
    lines["Index"] = ask.index;
    lines["k"] = std::to_string(ask.Rows());
    if (!ask.filter.empty()) {
        lines["Filter"] = ask.filter;
    }
    return lines;
}

} // namespace

void register_vector_search(DatabaseInstance &db)
{
    TableFunction function("vector_search",
                           { LogicalType::VARCHAR, LogicalType::LIST(LogicalType::DOUBLE) }, scan,
                           bind, init);
    function.named_parameters["k"] = LogicalType::BIGINT;
    function.named_parameters["ef"] = LogicalType::BIGINT;
    function.named_parameters["filter"] = LogicalType::VARCHAR;
    function.projection_pushdown = true;
    function.cardinality = cardinality;
    function.to_string = describe;
    CreateTableFunctionInfo info(function);
    info.internal = true;
    Catalog::GetSystemCatalog(db).CreateTableFunction(CatalogTransaction::GetSystemTransaction(db),
                                                      info);
}

} // namespace lake
