/*
 * Answers for who reads columns: which types they have in Arrow and in Parquet, and a SELECT as a
 * COPY to a Parquet file.
 *
 * What these formats have no common type for is text, as in JSON: enumerations, UUIDs, times with
 * an offset, bits, unions, integers of more than 38 digits. HUGEINT, which sums of integers have,
 * is a decimal; DuckDB by itself would write it to Parquet as DOUBLE.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/expression/positional_reference_expression.hpp"
#include "duckdb/parser/parsed_data/copy_info.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/copy_statement.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/subqueryref.hpp"
#include "duckdb/planner/planner.hpp"

#include <set>

using namespace duckdb;

namespace lake {

namespace {

LogicalType nested_type(const LogicalType &type, bool parquet)
{
    switch (type.id()) {
    case LogicalTypeId::STRUCT: {
        child_list_t<LogicalType> fields;
        for (auto &field : StructType::GetChildTypes(type)) {
            fields.emplace_back(field.first, export_type(field.second, parquet));
        }
        return LogicalType::STRUCT(std::move(fields));
    }
    case LogicalTypeId::LIST:
        return LogicalType::LIST(export_type(ListType::GetChildType(type), parquet));
    case LogicalTypeId::ARRAY: {
        auto element = export_type(ArrayType::GetChildType(type), parquet);
        return parquet ? LogicalType::LIST(element)
                       : LogicalType::ARRAY(element, ArrayType::GetSize(type));
    }
    default:
        return LogicalType::MAP(export_type(MapType::KeyType(type), parquet),
                                export_type(MapType::ValueType(type), parquet));
    }
}

} // namespace

LogicalType export_type(const LogicalType &type, bool parquet)
{
    switch (type.id()) {
    case LogicalTypeId::STRUCT:
    case LogicalTypeId::LIST:
    case LogicalTypeId::ARRAY:
    case LogicalTypeId::MAP:
        return nested_type(type, parquet);
    case LogicalTypeId::SQLNULL:
        return LogicalType::INTEGER; /* as in all answers */
    case LogicalTypeId::HUGEINT:
        return parquet ? LogicalType::DECIMAL(38, 0) : LogicalType::HUGEINT;
    case LogicalTypeId::INTERVAL:
        return parquet ? LogicalType::VARCHAR : LogicalType::INTERVAL;
    case LogicalTypeId::DECIMAL:
        return type;
    case LogicalTypeId::BOOLEAN:
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::SMALLINT:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::UTINYINT:
    case LogicalTypeId::USMALLINT:
    case LogicalTypeId::UINTEGER:
    case LogicalTypeId::UBIGINT:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_SEC:
    case LogicalTypeId::TIMESTAMP_MS:
    case LogicalTypeId::TIMESTAMP_NS:
    case LogicalTypeId::TIMESTAMP_TZ:
    case LogicalTypeId::BLOB:
        return LogicalType(type.id()); /* without an alias, which Arrow would take for a type */
    default:
        return LogicalType::VARCHAR;
    }
}

std::vector<string> unique_names(const vector<string> &names)
{
    std::set<string> taken(names.begin(), names.end());
    std::set<string> seen;
    std::vector<string> unique;
    for (auto &name : names) {
        string chosen = name;
        if (!seen.insert(name).second) {
            for (idx_t n = 1; !taken.insert(chosen = name + "_" + std::to_string(n)).second; n++) {
            }
        }
        unique.push_back(chosen);
    }
    return unique;
}

void bind_columns(ClientContext &context, const SQLStatement &select, const Params &params,
                  vector<LogicalType> &types, vector<string> &names)
{
    context.RunFunctionInTransaction([&] {
        Planner planner(context);
        planner.parameter_data = params;
        planner.CreatePlan(select.Copy());
        types = planner.types;
        names = planner.names;
    });
}

namespace {

/** `SELECT #1::T AS a, #2 AS b FROM (select)` */
unique_ptr<SelectNode> with_types(unique_ptr<SelectStatement> select,
                                  const vector<LogicalType> &types, const vector<string> &names)
{
    auto node = make_uniq<SelectNode>();
    node->from_table = make_uniq<SubqueryRef>(std::move(select), "answer");
    auto unique = unique_names(names);
    for (idx_t i = 0; i < types.size(); i++) {
        unique_ptr<ParsedExpression> column = make_uniq<PositionalReferenceExpression>(i + 1);
        auto type = export_type(types[i], true);
        if (type != types[i]) {
            column = make_uniq<CastExpression>(type, std::move(column));
        }
        column->SetAlias(unique[i]);
        node->select_list.push_back(std::move(column));
    }
    return node;
}

} // namespace

unique_ptr<SQLStatement> copy_to_parquet(ClientContext &context, unique_ptr<SQLStatement> statement,
                                         const Params &params, const string &path)
{
    if (statement->type != StatementType::SELECT_STATEMENT) {
        throw_refusal(optional_idx(), "only the rows of a SELECT become a Parquet file");
    }
    vector<LogicalType> types;
    vector<string> names;
    bind_columns(context, *statement, params, types, names);
    auto copy = make_uniq<CopyStatement>();
    copy->named_param_map = statement->named_param_map;
    copy->info->is_from = false;
    copy->info->format = "parquet";
    copy->info->file_path = path;
    copy->info->parsed_options["compression"] = make_uniq<ConstantExpression>(Value("zstd"));
    copy->info->select_statement = with_types(
        unique_ptr_cast<SQLStatement, SelectStatement>(std::move(statement)), types, names);
    return std::move(copy);
}

} // namespace lake
