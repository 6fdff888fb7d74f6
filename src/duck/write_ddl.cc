/*
 * CREATE, ALTER and DROP as what they ask of the catalogue, in JSON: {"do": verb, ...}. The other
 * side is src/query/ddl.c.
 */
#include "duck/write_priv.hpp"

#include "duckdb/parser/constraints/list.hpp"
#include "duckdb/parser/expression/columnref_expression.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/expression/star_expression.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/alter_statement.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/parser/statement/drop_statement.hpp"
#include "duckdb/parser/tableref/subqueryref.hpp"

using namespace duckdb;

namespace lake {

void Request::End()
{
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        throw std::bad_alloc();
    }
    write.request = lake::to_string(buf_str(&json));
}

void Request::Path(const vector<string> &path)
{
    jw_kv_arr(&w, "path");
    for (auto &part : path) {
        jw_str(&w, to_str(part));
    }
    jw_arr_end(&w);
}

void Request::Column(const ColumnDefinition &column, bool required)
{
    if (column.Generated() || column.HasDefaultValue()) {
        throw_refusal(optional_idx(), "column \"" + column.Name() +
                                          "\" cannot have a value of its own: tables have no "
                                          "DEFAULT and no generated columns");
    }
    auto text = column.Type().ToString();
    auto type = sql_type(write, to_str(text)).ToString();
    jw_obj_begin(&w);
    jw_kv_str(&w, "name", to_str(column.Name()));
    jw_kv_str(&w, "type", to_str(type));
    jw_kv_bool(&w, "required", required);
    jw_obj_end(&w);
}

namespace {

[[noreturn]] void refuse_field(const ParsedExpression &expr)
{
    throw_refusal(expr.GetQueryLocation(),
                  "\"" + expr.ToString() +
                      "\" is no partition field: use column, year(column), month(column), "
                      "day(column), hour(column), bucket(n, column) or truncate(n, column)");
}

string column_text(const ParsedExpression &expr)
{
    if (expr.GetExpressionClass() != ExpressionClass::COLUMN_REF) {
        refuse_field(expr);
    }
    string text;
    for (auto &part : expr.Cast<ColumnRefExpression>().column_names) {
        text += (text.empty() ? "" : ".") + part;
    }
    return text;
}

/** column -> identity; year(column); bucket(16, column), in either order */
void field_of_expression(const ParsedExpression &expr, string &transform, string &column)
{
    if (expr.GetExpressionClass() == ExpressionClass::COLUMN_REF) {
        transform = "identity";
        column = column_text(expr);
        return;
    }
    if (expr.GetExpressionClass() != ExpressionClass::FUNCTION) {
        refuse_field(expr);
    }
    auto &call = expr.Cast<FunctionExpression>();
    transform = StringUtil::Lower(call.function_name);
    if (call.children.size() == 1) {
        if (transform.size() > 1 && transform.back() == 's') {
            transform.pop_back(); /* Spark's years, days, .. */
        }
        if (transform != "year" && transform != "month" && transform != "day" &&
            transform != "hour") {
            refuse_field(expr);
        }
        column = column_text(*call.children[0]);
        return;
    }
    if (call.children.size() != 2 || (transform != "bucket" && transform != "truncate")) {
        refuse_field(expr);
    }
    idx_t number = call.children[0]->GetExpressionClass() == ExpressionClass::CONSTANT ? 0 : 1;
    if (call.children[number]->GetExpressionClass() != ExpressionClass::CONSTANT) {
        refuse_field(expr);
    }
    transform += "[" + call.children[number]->Cast<ConstantExpression>().value.ToString() + "]";
    column = column_text(*call.children[1 - number]);
}

} // namespace

void Request::Fields(const char *name, const vector<Ptr<ParsedExpression>> &fields)
{
    jw_kv_arr(&w, name);
    for (auto &field : fields) {
        string transform, column;
        field_of_expression(*field, transform, column);
        jw_obj_begin(&w);
        Text("transform", transform);
        Text("column", column);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
}

void Request::Options(const case_insensitive_map_t<Ptr<ParsedExpression>> &options)
{
    jw_kv_obj(&w, "properties");
    for (auto &option : options) {
        if (!option.second || option.second->GetExpressionClass() != ExpressionClass::CONSTANT) {
            throw_refusal(optional_idx(), "the property \"" + option.first + "\" needs a text");
        }
        auto value = option.second->Cast<ConstantExpression>().value.ToString();
        jw_kv_str(&w, option.first.c_str(), to_str(value));
    }
    jw_obj_end(&w);
}

/* --- CREATE --- */

namespace {

void refuse_temporary(const CreateInfo &info, const char *what)
{
    if (info.temporary) {
        throw_refusal(optional_idx(), string("a temporary ") + what +
                                          " would be gone with its statement: use WITH");
    }
}

bool if_not_exists(const CreateInfo &info, const char *what)
{
    refuse_temporary(info, what);
    if (info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT) {
        throw_refusal(optional_idx(),
                      string("CREATE OR REPLACE ") + what + " is not supported: drop it first");
    }
    return info.on_conflict == OnCreateConflict::IGNORE_ON_CONFLICT;
}

std::vector<bool> required_columns(const CreateTableInfo &info)
{
    std::vector<bool> required(info.columns.LogicalColumnCount(), false);
    for (auto &constraint : info.constraints) {
        if (constraint->type != ConstraintType::NOT_NULL) {
            throw_refusal(optional_idx(), "tables know no constraint but NOT NULL: \"" +
                                              constraint->ToString() + "\" cannot be kept");
        }
        required[constraint->Cast<NotNullConstraint>().index.index] = true;
    }
    return required;
}

/** CREATE VIEW v (a, b) AS query: SELECT * FROM (query) AS v (a, b) */
void name_columns(CreateViewInfo &info)
{
    auto node = make_uniq<SelectNode>();
    auto text = make_uniq<SubqueryRef>(std::move(info.query), info.view_name);
    for (auto &alias : info.aliases) {
        text->column_name_alias.push_back(alias);
    }
    node->select_list.push_back(make_uniq<StarExpression>());
    node->from_table = std::move(text);
    info.query = make_uniq<SelectStatement>();
    info.query->node = std::move(node);
    info.aliases.clear();
}

void describe_table(struct duck_write &write, CreateTableInfo &info)
{
    bool ignore = if_not_exists(info, "table");
    set_target(write, info.catalog, info.schema, info.table);
    write.kind = info.query ? DUCK_WRITE_CREATE_AS : DUCK_WRITE_REQUEST;
    auto required = required_columns(info);
    Request request(write, "create_table");
    request.Flag("if_not_exists", ignore);
    jw_kv_arr(&request.w, "columns");
    if (!info.query) {
        idx_t i = 0;
        for (auto &column : info.columns.Logical()) {
            request.Column(column, required[i++]);
        }
    } else if (info.columns.LogicalColumnCount() > 0) {
        throw_refusal(optional_idx(), "CREATE TABLE .. AS takes its columns from the query: name "
                                      "them there");
    }
    jw_arr_end(&request.w);
    request.Fields("partition", info.partition_keys);
    request.Fields("sort", info.sort_keys);
    request.Options(info.options);
    request.End();
}

/** The text is DuckDB's spelling of the query; names without a schema are those of the default
 * one. */
void describe_view(struct duck_write &write, CreateViewInfo &info)
{
    refuse_temporary(info, "view");
    set_target(write, info.catalog, info.schema, info.view_name);
    if (!write.statement->named_param_map.empty()) {
        throw_refusal(optional_idx(), "a view has no parameters");
    }
    if (!info.aliases.empty()) {
        name_columns(info);
    }
    check_view(*write.session->connection->context, info.query->ToString());
    write.kind = DUCK_WRITE_VIEW;
    Request request(write, "create_view");
    request.Flag("if_not_exists", info.on_conflict == OnCreateConflict::IGNORE_ON_CONFLICT);
    request.Flag("replace", info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT);
    request.Text("sql", info.query->ToString());
    request.Text("schema_of_names", DEFAULT_NAMESPACE);
    request.End();
}

/** A schema's name: `a`, or `lake.a`. */
void set_namespace(struct duck_write &write, const string &catalog, const string &schema)
{
    if (!catalog.empty() && !StringUtil::CIEquals(catalog, CATALOG_NAME)) {
        throw_refusal(optional_idx(), "\"" + catalog + "." + schema +
                                          "\" is not in the lake: several levels of a namespace "
                                          "are one name, \"a.b\"");
    }
    write.ns = schema;
    write.name.clear();
}

void describe_create(struct duck_write &write)
{
    auto &info = *write.statement->Cast<CreateStatement>().info;
    switch (info.type) {
    case CatalogType::TABLE_ENTRY:
        describe_table(write, info.Cast<CreateTableInfo>());
        return;
    case CatalogType::VIEW_ENTRY:
        describe_view(write, info.Cast<CreateViewInfo>());
        return;
    case CatalogType::SCHEMA_ENTRY: {
        bool ignore = if_not_exists(info, "schema");
        set_namespace(write, info.catalog, info.schema);
        Request request(write, "create_schema");
        request.Flag("if_not_exists", ignore);
        request.End();
        return;
    }
    default:
        throw_refusal(optional_idx(),
                      "CREATE " + CatalogTypeToString(info.type) +
                          " is not allowed here: tables, views and schemas can be made");
    }
}

/* --- DROP --- */

void describe_drop(struct duck_write &write)
{
    auto &info = *write.statement->Cast<DropStatement>().info;
    const char *verb = info.type == CatalogType::TABLE_ENTRY    ? "drop_table"
                       : info.type == CatalogType::VIEW_ENTRY   ? "drop_view"
                       : info.type == CatalogType::SCHEMA_ENTRY ? "drop_schema"
                                                                : nullptr;
    if (!verb) {
        throw_refusal(optional_idx(), "DROP " + CatalogTypeToString(info.type) +
                                          " is not allowed here: tables, views and schemas can go");
    }
    if (info.cascade) {
        throw_refusal(optional_idx(), "DROP .. CASCADE is not supported: drop what is in it first");
    }
    if (info.type == CatalogType::SCHEMA_ENTRY) {
        set_namespace(write, info.catalog, info.name);
    } else {
        set_target(write, info.catalog, info.schema, info.name);
    }
    Request request(write, verb);
    request.Flag("if_exists", info.if_not_found == OnEntryNotFound::RETURN_NULL);
    request.End();
}

/* --- ALTER --- */

void add_column(Request &request, const vector<string> &path, const ColumnDefinition &column,
                bool if_missing)
{
    request.Text("change", "add_column");
    request.Path(path);
    request.Flag("if_not_exists", if_missing);
    jw_key(&request.w, STR("column"));
    request.Column(column, false);
}

void drop_column(Request &request, const vector<string> &path, bool if_exists)
{
    request.Text("change", "drop_column");
    request.Path(path);
    request.Flag("column_if_exists", if_exists);
}

void rename_column(Request &request, const vector<string> &path, const string &to)
{
    request.Text("change", "rename_column");
    request.Path(path);
    request.Text("to", to);
}

void change_type(Request &request, const ChangeColumnTypeInfo &info)
{
    if (info.expression && info.expression->GetExpressionClass() != ExpressionClass::CAST) {
        throw_refusal(optional_idx(), "ALTER .. TYPE .. USING is not supported: a type can only "
                                      "become a wider one");
    }
    request.Text("change", "type");
    request.Path({ info.column_name });
    jw_key(&request.w, STR("column"));
    request.Column(ColumnDefinition(info.column_name, info.target_type), false);
}

void write_change(Request &request, AlterTableInfo &info)
{
    switch (info.alter_table_type) {
    case AlterTableType::RENAME_TABLE:
        request.Text("change", "rename");
        request.Text("to", info.Cast<RenameTableInfo>().new_table_name);
        return;
    case AlterTableType::ADD_COLUMN: {
        auto &add = info.Cast<AddColumnInfo>();
        add_column(request, {}, add.new_column, add.if_column_not_exists);
        return;
    }
    case AlterTableType::ADD_FIELD: {
        auto &add = info.Cast<AddFieldInfo>();
        add_column(request, add.column_path, add.new_field, add.if_field_not_exists);
        return;
    }
    case AlterTableType::REMOVE_COLUMN:
        drop_column(request, { info.Cast<RemoveColumnInfo>().removed_column },
                    info.Cast<RemoveColumnInfo>().if_column_exists);
        return;
    case AlterTableType::REMOVE_FIELD:
        drop_column(request, info.Cast<RemoveFieldInfo>().column_path,
                    info.Cast<RemoveFieldInfo>().if_column_exists);
        return;
    case AlterTableType::RENAME_COLUMN:
        rename_column(request, { info.Cast<RenameColumnInfo>().old_name },
                      info.Cast<RenameColumnInfo>().new_name);
        return;
    case AlterTableType::RENAME_FIELD:
        rename_column(request, info.Cast<RenameFieldInfo>().column_path,
                      info.Cast<RenameFieldInfo>().new_name);
        return;
    case AlterTableType::ALTER_COLUMN_TYPE:
        change_type(request, info.Cast<ChangeColumnTypeInfo>());
        return;
    case AlterTableType::DROP_NOT_NULL:
        request.Text("change", "drop_not_null");
        request.Path({ info.Cast<DropNotNullInfo>().column_name });
        return;
    case AlterTableType::SET_TABLE_OPTIONS:
        request.Text("change", "set_properties");
        request.Options(info.Cast<SetTableOptionsInfo>().table_options);
        return;
    case AlterTableType::RESET_TABLE_OPTIONS: {
        request.Text("change", "unset_properties");
        auto &options = info.Cast<ResetTableOptionsInfo>().table_options;
        request.Path(vector<string>(options.begin(), options.end()));
        return;
    }
    case AlterTableType::SET_PARTITIONED_BY:
        request.Text("change", "partition");
        request.Fields("partition", info.Cast<SetPartitionedByInfo>().partition_keys);
        return;
    default:
        throw_refusal(optional_idx(), "this change of a table is not supported: columns can be "
                                      "added, dropped, renamed and widened, tables renamed, "
                                      "properties set");
    }
}

void describe_alter(struct duck_write &write)
{
    auto &info = *write.statement->Cast<AlterStatement>().info;
    if (info.type != AlterType::ALTER_TABLE) {
        throw_refusal(optional_idx(), "only tables can be altered");
    }
    set_target(write, info.catalog, info.schema, info.name);
    Request request(write, "alter_table");
    request.Flag("if_exists", info.if_not_found == OnEntryNotFound::RETURN_NULL);
    write_change(request, info.Cast<AlterTableInfo>());
    request.End();
}

} // namespace

void describe_request(struct duck_write &write)
{
    write.kind = DUCK_WRITE_REQUEST;
    switch (write.statement->type) {
    case StatementType::CREATE_STATEMENT:
        describe_create(write);
        break;
    case StatementType::DROP_STATEMENT:
        describe_drop(write);
        break;
    default:
        describe_alter(write);
    }
}

} // namespace lake
