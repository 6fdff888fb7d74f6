/*
 * A table of the lake: its columns as DuckDB's, with their field ids beside them, and its files
 * once a statement scans it.
 *
 * Listing many tables (SHOW TABLES) must stay cheap, so a listed table has no files; one that is
 * named in a statement gets them with its columns.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/parser/constraints/not_null_constraint.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/planner/tableref/bound_at_clause.hpp"
#include "duckdb/storage/statistics/base_statistics.hpp"
#include "duckdb/storage/table_storage_info.hpp"

using namespace duckdb;

namespace lake {

/* --- AT --- */

AtKey AtKey::From(optional_ptr<BoundAtClause> clause)
{
    AtKey key;
    if (!clause) {
        return key;
    }
    auto value = clause->GetValue();
    if (value.IsNull()) {
        throw_refusal(optional_idx(), "AT (" + clause->Unit() + " => NULL) names no version");
    }
    if (StringUtil::CIEquals(clause->Unit(), "version")) {
        key.kind = DUCK_AT_VERSION;
        key.text = value.ToString();
        return key;
    }
    if (!StringUtil::CIEquals(clause->Unit(), "timestamp")) {
        throw_refusal(optional_idx(), "AT knows VERSION and TIMESTAMP, not " + clause->Unit());
    }
    /* A TIMESTAMP WITH TIME ZONE arrives as an instant; one without, and a text without offset, is
     * taken as UTC. */
    Value instant;
    string problem;
    if (!value.DefaultTryCastAs(LogicalType::TIMESTAMP_TZ, instant, &problem)) {
        throw_refusal(optional_idx(), "AT (TIMESTAMP => ..) cannot read \"" + value.ToString() +
                                          "\" as a time such as '2026-01-31 12:00:00+00'");
    }
    key.kind = DUCK_AT_TIMESTAMP;
    key.text = std::to_string(
        Timestamp::GetEpochMs(timestamp_t(instant.GetValueUnsafe<int64_t>())));
    return key;
}

struct duck_at AtKey::Get() const
{
    struct duck_at at = {};
    at.kind = (enum duck_at_kind)kind;
    if (kind == DUCK_AT_VERSION) {
        at.version = to_str(text);
    } else if (kind == DUCK_AT_TIMESTAMP) {
        at.timestamp_ms = std::stoll(text);
    }
    return at;
}

/* --- columns --- */

LogicalType type_of(ClientContext &context, struct str sql_type)
{
    string text = to_string(sql_type);
    /* The names of plain types need no parser, and most columns have one. */
    LogicalTypeId plain = TransformStringToLogicalTypeId(text);
    switch (plain) {
    case LogicalTypeId::BOOLEAN:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
    case LogicalTypeId::VARCHAR:
    case LogicalTypeId::BLOB:
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_TZ:
    case LogicalTypeId::UUID:
        return LogicalType(plain);
    default:
        return TransformStringToLogicalType(text, context);
    }
}

namespace {

/**
 * A column with its field id and those of its fields, elements, keys and values. Types of children
 * are taken from the parent's type, so that the two never differ in spelling.
 */
MultiFileColumnDefinition field_of(const struct duck_column &column, const string &name,
                                   const LogicalType &type)
{
    MultiFileColumnDefinition field(name, type);
    field.identifier = Value::INTEGER(column.id);
    field.default_expression = make_uniq<ConstantExpression>(Value(type));
    vector<std::pair<string, LogicalType>> children;
    switch (type.id()) {
    case LogicalTypeId::STRUCT:
        for (auto &child : StructType::GetChildTypes(type)) {
            children.emplace_back(child.first, child.second);
        }
        break;
    case LogicalTypeId::LIST:
        children.emplace_back("element", ListType::GetChildType(type));
        break;
    case LogicalTypeId::MAP:
        children.emplace_back("key", MapType::KeyType(type));
        children.emplace_back("value", MapType::ValueType(type));
        break;
    default:
        break;
    }
    if (children.size() != column.child_count) {
        throw_status(E_CORRUPT, "column \"" + name + "\" has type " + type.ToString() + " but " +
                                    std::to_string(column.child_count) + " described parts");
    }
    for (idx_t i = 0; i < children.size(); i++) {
        field.children.push_back(
            field_of(column.children[i], children[i].first, children[i].second));
    }
    return field;
}

} // namespace

/* --- the table --- */

LakeTable::LakeTable(Catalog &catalog_p, SchemaCatalogEntry &schema_p, CreateTableInfo &create,
                     shared_ptr<SessionState> session_p, const struct duck_table *table_p,
                     AtKey at_p)
    : TableCatalogEntry(catalog_p, schema_p, create), session(std::move(session_p)), table(table_p),
      at(std::move(at_p))
{
    idx_t i = 0;
    for (auto &column : columns.Logical()) {
        fields.push_back(field_of(table->columns[i++], column.Name(), column.Type()));
    }
}

shared_ptr<LakeTable> LakeTable::Make(ClientContext &context, LakeSchema &schema,
                                      const struct duck_table *table, bool has_files, AtKey at)
{
    CreateTableInfo info(schema, lake::to_string(table->name));
    /* Other engines may have written columns that differ only by case: the second is seen as
     * name_1. */
    info.columns = ColumnList(true);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct duck_column &column = table->columns[i];
        info.columns.AddColumn(
            ColumnDefinition(to_string(column.name), type_of(context, column.type)));
        if (column.required) {
            info.constraints.push_back(make_uniq<NotNullConstraint>(LogicalIndex(i)));
        }
    }
    auto made = make_shared_ptr<LakeTable>(schema.ParentCatalog(), schema, info,
                                           SessionState::Of(context), table, std::move(at));
    made->with_files = has_files ? table : nullptr;
    return made;
}

const struct duck_table &LakeTable::WithFiles()
{
    if (with_files) {
        return *with_files;
    }
    const struct duck_table *found = nullptr;
    struct err err = {};
    struct duck_at when = at.Get();
    if (session->tables->resolve(session->tables->ctx, table->ns, table->name, &when, true, &found,
                                 &err) != OK) {
        throw_err(err);
    }
    if (found->column_count != table->column_count) {
        throw_status(E_CONFLICT,
                     "table \"" + name + "\" changed while the statement was planned; try again");
    }
    with_files = found;
    return *with_files;
}

Deletes *LakeTable::DeletesOf()
{
    auto &info = WithFiles();
    if (info.delete_count == 0) {
        return nullptr;
    }
    std::call_once(deletes_once, [&] { deletes = make_uniq<Deletes>(info); });
    return deletes.get();
}

unique_ptr<BaseStatistics> LakeTable::GetStatistics(ClientContext &, column_t)
{
    return nullptr;
}

TableFunction LakeTable::GetScanFunction(ClientContext &context,
                                         unique_ptr<FunctionData> &bind_data)
{
    return table->rows ? make_row_scan(shared_from_this(), bind_data)
                       : make_scan(context, shared_from_this(), bind_data);
}

TableStorageInfo LakeTable::GetStorageInfo(ClientContext &)
{
    TableStorageInfo info;
    if (table->row_count >= 0) {
        info.cardinality = (idx_t)table->row_count;
    }
    return info;
}

virtual_column_map_t LakeTable::GetVirtualColumns() const
{
    return table->rows ? virtual_column_map_t() : row_id_columns();
}

vector<column_t> LakeTable::GetRowIdColumns() const
{
    if (table->rows) {
        return {};
    }
    return { MultiFileReader::COLUMN_IDENTIFIER_FILE_INDEX,
             MultiFileReader::COLUMN_IDENTIFIER_FILE_ROW_NUMBER };
}

} // namespace lake
