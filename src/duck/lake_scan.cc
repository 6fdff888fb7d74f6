/*
 * The scan of a lake table: DuckDB's own Parquet scan with our list of files and our mapping of
 * columns.
 *
 * Columns are matched by field id, at every depth, so a rename, a new order, a promotion or a new
 * column needs no rewriting of files: what a file does not have is NULL. A file without ids
 * (registered, not written by us) is matched by name. The plain function's silent traps are closed
 * here: a file that should have ids and has none is an error, not a table of NULLs.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp"
#include "duckdb/common/multi_file/multi_file_function.hpp"
#include "duckdb/function/partition_stats.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/tableref/table_function_ref.hpp"

#include <algorithm>

using namespace duckdb;

namespace lake {

namespace {

struct LakeScanInfo : public TableFunctionInfo {
    explicit LakeScanInfo(shared_ptr<LakeTable> table_p) : table(std::move(table_p)) {}
    const shared_ptr<LakeTable> table;
};

unique_ptr<MultiFileReader> reader_for(const TableFunction &function)
{
    return make_uniq<LakeReader>(function.function_info->Cast<LakeScanInfo>().table);
}

/** What makes the scan a table for DuckDB: `main.t.x` binds, DESCRIBE sees the constraints. */
BindInfo bind_info(const optional_ptr<FunctionData> bind_data)
{
    auto &reader = *bind_data->Cast<MultiFileBindData>().multi_file_reader;
    return BindInfo(*static_cast<LakeReader &>(reader).table);
}

virtual_column_map_t virtual_columns(ClientContext &, optional_ptr<FunctionData> bind_data)
{
    auto columns = row_id_columns();
    bind_data->Cast<MultiFileBindData>().virtual_columns = columns;
    return columns;
}

/** The files' row counts are exact, so count(*) reads no byte where no row was deleted. */
vector<PartitionStatistics> partition_stats(ClientContext &, GetPartitionStatsInput &input)
{
    vector<PartitionStatistics> result;
    auto &files = static_cast<LakeFileList &>(
        *input.bind_data->Cast<MultiFileBindData>().file_list);
    idx_t rows;
    if (files.HasDeletes() || !files.RowCount(rows)) {
        return result;
    }
    PartitionStatistics all;
    all.count = rows;
    all.count_type = CountType::COUNT_EXACT;
    result.push_back(std::move(all));
    return result;
}

} // namespace

virtual_column_map_t row_id_columns()
{
    virtual_column_map_t columns;
    columns.insert({ MultiFileReader::COLUMN_IDENTIFIER_FILE_INDEX,
                     TableColumn("_file_index", LogicalType::UBIGINT) });
    columns.insert({ MultiFileReader::COLUMN_IDENTIFIER_FILE_ROW_NUMBER,
                     TableColumn("_file_row", LogicalType::BIGINT) });
    columns.insert({ COLUMN_IDENTIFIER_EMPTY, TableColumn("", LogicalType::BOOLEAN) });
    return columns;
}

TableFunction make_scan(ClientContext &context, shared_ptr<LakeTable> table,
                        unique_ptr<FunctionData> &bind_data)
{
    auto &entry = Catalog::GetSystemCatalog(context).GetEntry<TableFunctionCatalogEntry>(
        context, DEFAULT_SCHEMA, "parquet_scan");
    TableFunction scan = entry.functions.GetFunctionByArguments(context, { LogicalType::VARCHAR });
    scan.name = "lake_scan";
    scan.function_info = make_shared_ptr<LakeScanInfo>(std::move(table));
    scan.get_multi_file_reader = reader_for;
    scan.get_bind_info = bind_info;
    scan.get_virtual_columns = virtual_columns;
    scan.get_partition_stats = partition_stats;
    scan.statistics = nullptr;        /* they would be those of one file */
    scan.dynamic_to_string = nullptr; /* it prints paths, and with them the token of the query */
    scan.serialize = nullptr;
    scan.deserialize = nullptr;
    scan.verify_serialization = false;

    vector<Value> inputs = { Value("lake") }; /* not looked at: the reader makes its own list */
    named_parameter_map_t named;
    vector<LogicalType> input_types;
    vector<string> input_names;
    TableFunctionRef ref;
    TableFunctionBindInput input(inputs, named, input_types, input_names, scan.function_info.get(),
                                 nullptr, scan, ref);
    vector<LogicalType> types;
    vector<string> names;
    bind_data = scan.bind(context, input, types, names);
    virtual_columns(context, bind_data.get());
    return scan;
}

/* --- the reader --- */

shared_ptr<MultiFileList> LakeReader::CreateFileList(ClientContext &, const vector<string> &,
                                                     const FileGlobInput &)
{
    return make_shared_ptr<LakeFileList>(table);
}

bool LakeReader::Bind(MultiFileOptions &options, MultiFileList &, vector<LogicalType> &types,
                      vector<string> &names, MultiFileReaderBindData &bind)
{
    options.auto_detect_hive_partitioning = false;
    options.hive_partitioning = false;
    options.union_by_name = false;
    for (auto &field : table->Fields()) {
        types.push_back(field.type);
        names.push_back(field.name);
        bind.schema.push_back(field);
    }
    bind.mapping = MultiFileColumnMappingMode::BY_FIELD_ID;
    return true;
}

namespace {

/**
 * The table's columns as a file without ids names them: structs by name, and the single parts of
 * lists and maps by place, since writers call them element, item, array, ...
 */
MultiFileColumnDefinition named_like(const MultiFileColumnDefinition &field,
                                     const MultiFileColumnDefinition *local)
{
    MultiFileColumnDefinition named(field);
    named.identifier = Value(local ? local->name : field.name);
    const vector<MultiFileColumnDefinition> *inner = local ? &local->children : nullptr;
    if (field.type.id() == LogicalTypeId::MAP && inner && inner->size() == 1) {
        inner = &(*inner)[0].children; /* the repeated key_value group */
    }
    bool by_place = field.type.id() == LogicalTypeId::LIST || field.type.id() == LogicalTypeId::MAP;
    for (idx_t i = 0; i < field.children.size(); i++) {
        const MultiFileColumnDefinition *match = nullptr;
        if (inner && by_place && i < inner->size()) {
            match = &(*inner)[i];
        } else if (inner && !by_place) {
            for (auto &candidate : *inner) {
                if (StringUtil::CIEquals(candidate.name, field.children[i].name)) {
                    match = &candidate;
                }
            }
        }
        named.children[i] = named_like(field.children[i], match);
    }
    return named;
}

vector<MultiFileColumnDefinition> by_name_schema(const vector<MultiFileColumnDefinition> &fields,
                                                 const vector<MultiFileColumnDefinition> &locals)
{
    vector<MultiFileColumnDefinition> schema;
    for (auto &field : fields) {
        const MultiFileColumnDefinition *match = nullptr;
        for (auto &local : locals) {
            /* The exact spelling first, else the first that differs by case only. */
            if (local.name == field.name ||
                (!match && StringUtil::CIEquals(local.name, field.name))) {
                match = &local;
            }
        }
        schema.push_back(named_like(field, match));
    }
    return schema;
}

/** Whether a column of a file and all inside it have ids. The repeated group of a map never has. */
bool has_ids(const MultiFileColumnDefinition &column)
{
    bool group = column.type.id() == LogicalTypeId::MAP && column.children.size() == 1;
    auto &inner = group ? column.children[0].children : column.children;
    return !column.identifier.IsNull() && std::all_of(inner.begin(), inner.end(), has_ids);
}

/** DuckDB's mapper stops looking at the first column without an id, so a gap would silently become
 * NULLs. */
void check_ids(const BaseFileReader &reader)
{
    for (auto &column : reader.GetColumns()) {
        if (column.identifier.IsNull()) {
            throw_status(E_CORRUPT, "a data file has no field id for its column \"" + column.name +
                                        "\", although its table says that it has");
        }
    }
}

bool has_column(const vector<MultiFileColumnDefinition> &locals,
                const MultiFileColumnDefinition &wanted, bool by_id)
{
    return std::any_of(locals.begin(), locals.end(), [&](auto &local) {
        return by_id ? local.identifier == wanted.identifier : local.name == wanted.name;
    });
}

/**
 * What a file leaves to its partition: a column that it does not have, and of which every row has
 * one value. Source: the table specification, "Column Projection".
 */
void take_from_partition(const struct duck_table &info, uint32_t file,
                         const vector<MultiFileColumnDefinition> &locals,
                         const vector<ColumnIndex> &wanted, bool by_id,
                         vector<MultiFileColumnDefinition> &schema)
{
    for (auto &index : wanted) {
        idx_t place = index.GetPrimaryIndex();
        if (place >= schema.size() || has_column(locals, schema[place], by_id)) {
            continue;
        }
        struct duck_bounds bounds = {};
        struct err err = {};
        if (info.bounds(info.bounds_ctx, file, info.columns[place].id, &bounds, &err) != OK) {
            throw_err(err);
        }
        if (bounds.is_value) {
            auto value = Value(lake::to_string(bounds.lower)).DefaultCastAs(schema[place].type);
            schema[place].default_expression = make_uniq<ConstantExpression>(std::move(value));
        }
    }
}

} // namespace

ReaderInitializeType LakeReader::CreateMapping(
    ClientContext &context, MultiFileReaderData &data,
    const vector<MultiFileColumnDefinition> &columns, const vector<ColumnIndex> &column_ids,
    optional_ptr<TableFilterSet> filters, MultiFileList &files, const MultiFileReaderBindData &bind,
    const virtual_column_map_t &virtual_columns, MultiFileColumnMappingMode)
{
    auto &info = table->WithFiles();
    auto &locals = data.reader->GetColumns();
    uint32_t file = LakeFileList::OrdinalOf(data.reader->file);
    bool leaves_some = info.partitioned && info.bounds;
    /* A name may have gone over to another column since the file was written; an id never does. */
    if (!info.files[file].by_name || std::all_of(locals.begin(), locals.end(), has_ids)) {
        check_ids(*data.reader);
        auto schema = columns;
        if (leaves_some) {
            take_from_partition(info, file, locals, column_ids, true, schema);
        }
        return MultiFileReader::CreateMapping(context, data, schema, column_ids, filters, files,
                                              bind, virtual_columns,
                                              MultiFileColumnMappingMode::BY_FIELD_ID);
    }
    auto schema = by_name_schema(columns, locals);
    if (leaves_some) {
        auto named = schema;
        for (auto &column : named) {
            column.name = column.identifier.ToString();
        }
        take_from_partition(info, file, locals, column_ids, false, named);
        for (idx_t i = 0; i < schema.size(); i++) {
            schema[i].default_expression = std::move(named[i].default_expression);
        }
    }
    return MultiFileReader::CreateMapping(context, data, schema, column_ids, filters, files, bind,
                                          virtual_columns, MultiFileColumnMappingMode::BY_NAME);
}

void LakeReader::FinalizeBind(MultiFileReaderData &data, const MultiFileOptions &options,
                              const MultiFileReaderBindData &bind,
                              const vector<MultiFileColumnDefinition> &columns,
                              const vector<ColumnIndex> &column_ids, ClientContext &context,
                              optional_ptr<MultiFileReaderGlobalState> state)
{
    /* DuckDB numbers the files of this scan; a row's identity needs their numbers in the table. */
    data.reader->file_list_idx = LakeFileList::OrdinalOf(data.reader->file);
    MultiFileReader::FinalizeBind(data, options, bind, columns, column_ids, context, state);
    if (auto deletes = table->DeletesOf()) {
        auto &locals = data.reader->GetColumns();
        bool with_ids = std::all_of(locals.begin(), locals.end(), has_ids);
        data.reader->deletion_filter = deletes->FilterOf(
            context, LakeFileList::OrdinalOf(data.reader->file), with_ids);
    }
}

unique_ptr<MultiFileReader> LakeReader::Copy() const
{
    return make_uniq<LakeReader>(table);
}

} // namespace lake
