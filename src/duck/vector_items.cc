/*
 * `vector_items('index')`: all items of a vector index, as a table of id, vector and metadata.
 *
 * Pages are asked for one after the other, as the statement takes rows, so memory holds one of them
 * whatever the index has. Vectors that no part of the statement wants are not asked for.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/function/table_function.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/tableref/table_function_ref.hpp"

using namespace duckdb;

namespace lake {

namespace {

enum column { ID, VECTOR, METADATA };

struct Named : public TableFunctionData {
    string index;

    unique_ptr<FunctionData> Copy() const override { return make_uniq<Named>(*this); }
    bool Equals(const FunctionData &other) const override
    {
        return index == other.Cast<Named>().index;
    }
};

/** One thread reads: pages come in order. */
struct Pages : public GlobalTableFunctionState {
    ScopedArena scoped; /* of the page */
    const struct duck_vectors *vectors = nullptr;
    std::vector<column_t> columns;
    bool with_vectors = false, begun = false;
    struct duck_page page = {};
    string after;
    size_t at = 0;  /* in the page */
    idx_t rows = 0; /* so far */
};

unique_ptr<FunctionData> bind(ClientContext &, TableFunctionBindInput &input,
                              vector<LogicalType> &types, vector<string> &names)
{
    auto named = make_uniq<Named>();
    auto &value = input.inputs[0];
    if (value.IsNull() || StringValue::Get(value).empty()) {
        throw_refusal(input.ref.query_location, "vector_items needs the name of an index");
    }
    named->index = StringValue::Get(value);
    names = { "id", "vector", "metadata" };
    types = { LogicalType::VARCHAR, LogicalType::LIST(LogicalType::FLOAT), LogicalType::JSON() };
    return std::move(named);
}

unique_ptr<GlobalTableFunctionState> init(ClientContext &context, TableFunctionInitInput &input)
{
    auto session = SessionState::Of(context);
    if (!session || session->vectors == nullptr || session->vectors->items == nullptr) {
        throw_status(E_UNSUPPORTED, "there are no vector indexes here");
    }
    auto state = make_uniq<Pages>();
    state->vectors = session->vectors;
    for (auto column : input.column_ids) {
        state->columns.push_back(column);
        state->with_vectors = state->with_vectors || column == VECTOR;
    }
    return std::move(state);
}

/** Until there is an item, or none is left. */
void next_page(Pages &state, const string &index)
{
    while (state.at == state.page.count && (!state.begun || !state.after.empty())) {
        struct err err = {};
        arena_reset(&state.scoped.arena);
        state.page = {};
        state.at = 0;
        if (state.vectors->items(state.vectors->ctx, to_str(index), to_str(state.after),
                                 state.with_vectors, &state.scoped.arena, &state.page,
                                 &err) != OK) {
            throw_err(err);
        }
        state.begun = true;
        state.after = string(state.page.next.ptr == nullptr ? "" : state.page.next.ptr,
                             state.page.next.len);
    }
}

void fill_vectors(const Pages &state, idx_t rows, Vector &out)
{
    idx_t dimension = state.page.dimension;
    ListVector::Reserve(out, rows * dimension);
    auto numbers = FlatVector::GetData<float>(ListVector::GetEntry(out));
    for (idx_t row = 0; row < rows; row++) {
        FlatVector::GetData<list_entry_t>(out)[row] = list_entry_t(row * dimension, dimension);
        memcpy(numbers + row * dimension, state.page.items[state.at + row].vector,
               dimension * sizeof(float));
    }
    ListVector::SetListSize(out, rows * dimension);
}

void fill(const Pages &state, idx_t rows, column_t column, Vector &out)
{
    if (column == VECTOR) {
        fill_vectors(state, rows, out);
        return;
    }
    for (idx_t row = 0; row < rows; row++) {
        auto &item = state.page.items[state.at + row];
        struct str text = column == ID ? item.id : item.metadata;
        if (column == COLUMN_IDENTIFIER_ROW_ID) {
            FlatVector::GetData<int64_t>(out)[row] = (int64_t)(state.rows + row);
        } else if (column == ID || (column == METADATA && text.len > 0)) {
            FlatVector::GetData<string_t>(out)[row] = StringVector::AddString(out, text.ptr,
                                                                              text.len);
        } else if (column == METADATA) {
            FlatVector::GetData<string_t>(out)[row] = StringVector::AddString(out, "{}");
        } else {
            FlatVector::SetNull(out, row, true);
        }
    }
}

void scan(ClientContext &, TableFunctionInput &input, DataChunk &output)
{
    auto &state = input.global_state->Cast<Pages>();
    next_page(state, input.bind_data->Cast<Named>().index);
    idx_t rows = MinValue<idx_t>(state.page.count - state.at, STANDARD_VECTOR_SIZE);
    for (idx_t i = 0; i < state.columns.size(); i++) {
        fill(state, rows, state.columns[i], output.data[i]);
    }
    state.at += rows;
    state.rows += rows;
    output.SetCardinality(rows);
}

InsertionOrderPreservingMap<string> describe(TableFunctionToStringInput &input)
{
    InsertionOrderPreservingMap<string> lines;
    lines["Index"] = input.bind_data->Cast<Named>().index;
    return lines;
}

} // namespace

void register_vector_items(DatabaseInstance &db)
{
    TableFunction function("vector_items", { LogicalType::VARCHAR }, scan, bind, init);
    function.projection_pushdown = true;
    function.to_string = describe;
    CreateTableFunctionInfo info(function);
    info.internal = true;
    Catalog::GetSystemCatalog(db).CreateTableFunction(CatalogTransaction::GetSystemTransaction(db),
                                                      info);
}

} // namespace lake
