/*
 * The rows that INSERT, UPDATE and DELETE make or take away, as a SELECT of the statement's parts.
 *
 *      INSERT INTO t (b) q           SELECT CAST(NULL AS A) AS a, CAST(#1 AS B) AS b FROM (q)
 *      DELETE FROM t WHERE c         SELECT DISTINCT t._file_index, t._file_row FROM t WHERE c
 *      UPDATE t SET b = e WHERE c    SELECT t._file_index, t._file_row, false, t.a, CAST(e AS B)
 *                                    FROM t WHERE c
 */
#include "duck/guard_priv.hpp"
#include "duck/write_priv.hpp"

#include "duckdb/parser/expression/list.hpp"
#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/result_modifier.hpp"
#include "duckdb/parser/statement/list.hpp"
#include "duckdb/parser/tableref/list.hpp"

using namespace duckdb;

namespace lake {

Ptr<ParsedExpression> column_ref(const string &table, const string &column)
{
    return make_uniq<ColumnRefExpression>(column, table);
}

Ptr<ParsedExpression> constant(const Value &value)
{
    return make_uniq<ConstantExpression>(value);
}

LogicalType sql_type(struct duck_write &write, struct str text)
{
    auto &context = *write.session->connection->context;
    LogicalType type;
    context.RunFunctionInTransaction([&] { type = type_of(context, text); });
    return type;
}

namespace {

Ptr<ParsedExpression> cast_to(struct duck_write &write, Ptr<ParsedExpression> expr,
                              const struct duck_write_column &column)
{
    if (expr->GetExpressionType() == ExpressionType::VALUE_DEFAULT) {
        expr = constant(Value()); /* tables have no default values */
    }
    return make_uniq<CastExpression>(sql_type(write, column.type), std::move(expr));
}

} // namespace

Ptr<ParsedExpression> as_column(struct duck_write &write, Ptr<ParsedExpression> expr,
                                const struct duck_write_column &column)
{
    auto made = cast_to(write, std::move(expr), column);
    made->SetAlias(to_string(column.name));
    return made;
}

int64_t find_column(const Columns &columns, const string &name)
{
    int64_t found = -1;
    for (size_t i = 0; i < columns.size(); i++) {
        auto known = to_string(columns[i].name);
        if (known == name) {
            return (int64_t)i;
        }
        if (found < 0 && StringUtil::CIEquals(known, name)) {
            found = (int64_t)i;
        }
    }
    return found;
}

string alias_of(const TableRef &ref)
{
    if (!ref.alias.empty() || ref.type != TableReferenceType::BASE_TABLE) {
        return ref.alias;
    }
    return ref.Cast<BaseTableRef>().table_name;
}

BaseTableRef &plain_table(TableRef &ref)
{
    if (ref.type != TableReferenceType::BASE_TABLE) {
        throw_refusal(ref.query_location, "only a table of the lake can be changed");
    }
    auto &table = ref.Cast<BaseTableRef>();
    if (table.at_clause) {
        throw_refusal(ref.query_location, "a table as it was (AT) cannot be changed");
    }
    return table;
}

void add_row_id(vector<Ptr<ParsedExpression>> &list, const string &table)
{
    auto file = column_ref(table, "_file_index");
    auto row = column_ref(table, "_file_row");
    file->SetAlias("__file");
    row->SetAlias("__row");
    list.push_back(std::move(file));
    list.push_back(std::move(row));
}

Ptr<SelectStatement> guarded(struct duck_write &write, Ptr<QueryNode> node)
{
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(node);
    select->named_param_map = write.statement->named_param_map;
    Step step;
    step.statement = std::move(select);
    guard_step(step, optional_idx(0));
    return unique_ptr_cast<SQLStatement, SelectStatement>(std::move(step.statement));
}

void set_target(struct duck_write &write, const string &catalog, const string &schema,
                const string &name)
{
    bool of_lake = catalog.empty() || StringUtil::CIEquals(catalog, CATALOG_NAME);
    write.ns = schema.empty() ? DEFAULT_NAMESPACE : schema;
    write.name = name;
    if (catalog.empty() && StringUtil::CIEquals(schema, CATALOG_NAME)) {
        write.ns = DEFAULT_NAMESPACE;
    }
    if (!of_lake || StringUtil::CIEquals(write.ns, "information_schema") ||
        StringUtil::CIEquals(write.ns, "pg_catalog") || is_reserved_table(write.ns, name)) {
        throw_refusal(optional_idx(), "\"" + (catalog.empty() ? string() : catalog + ".") +
                                          write.ns + "." + name +
                                          "\" cannot be written: tables of the lake are "
                                          "namespace.table");
    }
}

/* --- what may be asked --- */

namespace {

void refuse_returning(const vector<Ptr<ParsedExpression>> &list)
{
    if (!list.empty()) {
        throw_refusal(optional_idx(), "RETURNING is not supported: a statement that writes answers "
                                      "with a row count and its snapshot");
    }
}

void describe_insert(struct duck_write &write)
{
    auto &insert = write.statement->Cast<InsertStatement>();
    refuse_returning(insert.returning_list);
    if (insert.on_conflict_info) {
        throw_refusal(optional_idx(), "ON CONFLICT is not supported, tables have no keys: use "
                                      "MERGE INTO");
    }
    set_target(write, insert.catalog, insert.schema, insert.table);
    write.kind = DUCK_WRITE_INSERT;
}

void set_target(struct duck_write &write, TableRef &ref)
{
    auto &table = plain_table(ref);
    lake::set_target(write, table.catalog_name, table.schema_name, table.table_name);
}

} // namespace

void describe_rows(struct duck_write &write)
{
    switch (write.statement->type) {
    case StatementType::INSERT_STATEMENT:
        describe_insert(write);
        break;
    case StatementType::DELETE_STATEMENT: {
        auto &erase = write.statement->Cast<DeleteStatement>();
        refuse_returning(erase.returning_list);
        set_target(write, *erase.table);
        bool all = !erase.condition && erase.using_clauses.empty();
        write.kind = all ? DUCK_WRITE_TRUNCATE : DUCK_WRITE_DELETE;
        break;
    }
    case StatementType::UPDATE_STATEMENT: {
        auto &update = write.statement->Cast<UpdateStatement>();
        refuse_returning(update.returning_list);
        set_target(write, *update.table);
        write.kind = DUCK_WRITE_UPDATE;
        break;
    }
    default: {
        auto &merge = write.statement->Cast<MergeIntoStatement>();
        refuse_returning(merge.returning_list);
        set_target(write, *merge.target);
        write.kind = DUCK_WRITE_MERGE;
    }
    }
}

/* --- INSERT --- */

namespace {

/** Where each column of the table comes from: its place in the source, or -1. */
struct Mapping {
    std::vector<int64_t> places;
    idx_t source_count = 0;
};

void check_count(const struct duck_write &write, idx_t wanted, idx_t given)
{
    if (wanted != given) {
        throw_refusal(optional_idx(), "table \"" + write.name + "\" takes " +
                                          std::to_string(wanted) + " columns here, but " +
                                          std::to_string(given) + " are given");
    }
}

Mapping map_names(const struct duck_write &write, const Columns &columns,
                  const vector<string> &names)
{
    Mapping mapping;
    mapping.places.assign(columns.size(), -1);
    mapping.source_count = names.size();
    for (idx_t i = 0; i < names.size(); i++) {
        int64_t at = find_column(columns, names[i]);
        if (at < 0) {
            throw_refusal(optional_idx(),
                          "table \"" + write.name + "\" has no column \"" + names[i] + "\"");
        }
        if (mapping.places[(size_t)at] >= 0) {
            throw_refusal(optional_idx(), "column \"" + names[i] + "\" is given twice");
        }
        mapping.places[(size_t)at] = (int64_t)i;
    }
    return mapping;
}

Mapping map_all(const Columns &columns)
{
    Mapping mapping;
    mapping.source_count = columns.size();
    for (size_t i = 0; i < columns.size(); i++) {
        mapping.places.push_back((int64_t)i);
    }
    return mapping;
}

/** VALUES: each value is of its column's type by itself, whatever the other rows have. */
void cast_values(struct duck_write &write, ExpressionListRef &list, const Mapping &mapping,
                 const Columns &columns)
{
    for (auto &row : list.values) {
        check_count(write, mapping.source_count, row.size());
        for (size_t c = 0; c < columns.size(); c++) {
            if (mapping.places[c] >= 0) {
                auto &cell = row[(size_t)mapping.places[c]];
                cell = cast_to(write, std::move(cell), columns[c]);
            }
        }
    }
}

void source_columns(struct duck_write &write, const QueryNode &node,
                    const CommonTableExpressionMap &ctes, vector<string> &names)
{
    auto copy = node.Copy();
    for (auto &cte : ctes.map) {
        copy->cte_map.map.insert(cte.first, cte.second->Copy());
    }
    auto select = guarded(write, std::move(copy));
    vector<LogicalType> types;
    bind_columns(*write.session->connection->context, *select, write.params, types, names);
}

/** SELECT what the mapping says FROM (source) */
Ptr<SelectNode> project(struct duck_write &write, Ptr<QueryNode> source, const Mapping &mapping,
                        const Columns &columns)
{
    auto node = make_uniq<SelectNode>();
    auto inner = make_uniq<SelectStatement>();
    inner->node = std::move(source);
    node->from_table = make_uniq<SubqueryRef>(std::move(inner), "source");
    for (size_t c = 0; c < columns.size(); c++) {
        Ptr<ParsedExpression> value;
        if (mapping.places[c] >= 0) {
            value = make_uniq<PositionalReferenceExpression>((idx_t)mapping.places[c] + 1);
        } else {
            value = constant(Value());
        }
        node->select_list.push_back(as_column(write, std::move(value), columns[c]));
    }
    return node;
}

/** Around it, where a column is required: CASE WHEN a IS NULL THEN error(..) ELSE a END */
Ptr<SelectNode> without_nulls(Ptr<SelectNode> inner, const Columns &columns)
{
    bool any = false;
    for (auto &column : columns) {
        any = any || column.required;
    }
    if (!any) {
        return inner;
    }
    auto node = make_uniq<SelectNode>();
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(inner);
    node->from_table = make_uniq<SubqueryRef>(std::move(select), "typed");
    for (size_t c = 0; c < columns.size(); c++) {
        auto name = to_string(columns[c].name);
        Ptr<ParsedExpression> value = make_uniq<PositionalReferenceExpression>(c + 1);
        if (columns[c].required) {
            auto choice = make_uniq<CaseExpression>();
            CaseCheck check;
            check.when_expr = make_uniq<OperatorExpression>(ExpressionType::OPERATOR_IS_NULL,
                                                            value->Copy());
            vector<Ptr<ParsedExpression>> words;
            words.push_back(constant(Value("column \"" + name +
                                           "\" is NOT NULL, but a row has no "
                                           "value for it")));
            check.then_expr = make_uniq<FunctionExpression>("error", std::move(words));
            choice->case_checks.push_back(std::move(check));
            choice->else_expr = std::move(value);
            value = std::move(choice);
        }
        value->SetAlias(name);
        node->select_list.push_back(std::move(value));
    }
    return node;
}

Ptr<SelectNode> no_values()
{
    auto node = make_uniq<SelectNode>();
    node->select_list.push_back(constant(Value()));
    node->from_table = make_uniq<EmptyTableRef>();
    return node;
}

Ptr<SelectNode> select_inserted(struct duck_write &write, const Columns &columns)
{
    auto &insert = write.statement->Cast<InsertStatement>();
    Mapping mapping = map_all(columns);
    if (insert.default_values) {
        mapping.places.assign(columns.size(), -1);
        return project(write, no_values(), mapping, columns);
    }
    if (!insert.columns.empty()) {
        mapping = map_names(write, columns, insert.columns);
    }
    auto &source = *insert.select_statement->node;
    auto values = insert.GetValuesList();
    if (values) {
        cast_values(write, *values, mapping, columns);
    } else {
        vector<string> names;
        source_columns(write, source, insert.cte_map, names);
        if (insert.column_order == InsertColumnOrder::INSERT_BY_NAME) {
            mapping = map_names(write, columns, names);
        }
        check_count(write, mapping.source_count, names.size());
    }
    auto node = project(write, std::move(insert.select_statement->node), mapping, columns);
    node->cte_map = insert.cte_map.Copy();
    return node;
}

} // namespace

Ptr<SelectStatement> select_source(struct duck_write &write)
{
    auto &info = *write.statement->Cast<CreateStatement>().info;
    if (write.kind == DUCK_WRITE_VIEW) {
        write.session->state->makes_view = spelled(write.ns, write.name);
        return guarded(write, info.Cast<CreateViewInfo>().query->node->Copy());
    }
    return guarded(write, info.Cast<CreateTableInfo>().query->node->Copy());
}

namespace {

/** Rows of one file one behind the other, each file's in the table's order: ORDER BY __part_0, ..,
 * terms. With few files open at a time there are few files. */
void add_order(struct duck_write &write, SelectNode &node, const struct duck_write_split &split)
{
    auto options = write.session->connection->context->GetParserOptions();
    auto order = make_uniq<OrderModifier>();
    for (size_t i = 0; i < split.count; i++) {
        order->orders.emplace_back(
            OrderType::ASCENDING, OrderByNullType::NULLS_FIRST,
            make_uniq<ColumnRefExpression>(DUCK_WRITE_PART + std::to_string(i)));
    }
    for (size_t i = 0; i < split.order_count; i++) {
        for (auto &term : Parser::ParseOrderList(to_string(split.order[i]), options)) {
            order->orders.push_back(std::move(term));
        }
    }
    node.modifiers.push_back(std::move(order));
}

/** Around it, what spreads the rows: SELECT *, expression AS __part_0, .. ORDER BY .. */
Ptr<SelectNode> with_parts(struct duck_write &write, Ptr<SelectNode> inner,
                           const struct duck_write_split &split)
{
    if (split.count == 0 && split.order_count == 0) {
        return inner;
    }
    auto node = make_uniq<SelectNode>();
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(inner);
    node->from_table = make_uniq<SubqueryRef>(std::move(select), "made");
    node->select_list.push_back(make_uniq<StarExpression>());
    for (size_t i = 0; i < split.count; i++) {
        auto list = Parser::ParseExpressionList(
            to_string(split.sql[i]), write.session->connection->context->GetParserOptions());
        list[0]->SetAlias(DUCK_WRITE_PART + std::to_string(i));
        node->select_list.push_back(std::move(list[0]));
    }
    add_order(write, *node, split);
    return node;
}

} // namespace

Ptr<SelectStatement> select_new(struct duck_write &write, const Columns &columns,
                                const struct duck_write_split &split)
{
    Ptr<SelectNode> node;
    if (write.kind == DUCK_WRITE_INSERT) {
        node = select_inserted(write, columns);
    } else {
        auto &info = write.statement->Cast<CreateStatement>().info->Cast<CreateTableInfo>();
        node = project(write, std::move(info.query->node), map_all(columns), columns);
    }
    return guarded(write, with_parts(write, without_nulls(std::move(node), columns), split));
}

/* --- DELETE and UPDATE --- */

namespace {

Ptr<TableRef> cross(Ptr<TableRef> left, Ptr<TableRef> right)
{
    auto join = make_uniq<JoinRef>(JoinRefType::CROSS);
    join->left = std::move(left);
    join->right = std::move(right);
    return std::move(join);
}

Ptr<SelectNode> select_deleted(struct duck_write &write)
{
    auto &erase = write.statement->Cast<DeleteStatement>();
    auto node = make_uniq<SelectNode>();
    add_row_id(node->select_list, alias_of(*erase.table));
    node->from_table = std::move(erase.table);
    for (auto &other : erase.using_clauses) {
        node->from_table = cross(std::move(node->from_table), std::move(other));
    }
    node->where_clause = std::move(erase.condition);
    node->modifiers.push_back(make_uniq<DistinctModifier>());
    node->cte_map = erase.cte_map.Copy();
    return node;
}

Ptr<SelectNode> select_updated(struct duck_write &write, const Columns &columns)
{
    auto &update = write.statement->Cast<UpdateStatement>();
    auto &set = *update.set_info;
    auto node = make_uniq<SelectNode>();
    auto table = alias_of(*update.table);
    add_row_id(node->select_list, table);
    auto gone = constant(Value::BOOLEAN(false));
    gone->SetAlias("__gone");
    node->select_list.push_back(std::move(gone));
    auto mapping = map_names(write, columns, set.columns);
    for (size_t c = 0; c < columns.size(); c++) {
        auto value = mapping.places[c] >= 0 ? std::move(set.expressions[(size_t)mapping.places[c]])
                                            : column_ref(table, to_string(columns[c].name));
        node->select_list.push_back(as_column(write, std::move(value), columns[c]));
    }
    node->from_table = std::move(update.table);
    if (update.from_table) {
        node->from_table = cross(std::move(node->from_table), std::move(update.from_table));
    }
    node->where_clause = std::move(set.condition);
    node->cte_map = update.cte_map.Copy();
    return node;
}

} // namespace

Ptr<SelectStatement> select_changed(struct duck_write &write, const Columns &columns)
{
    switch (write.kind) {
    case DUCK_WRITE_DELETE:
        return guarded(write, select_deleted(write));
    case DUCK_WRITE_UPDATE:
        return guarded(write, select_updated(write, columns));
    default:
        return select_merged(write, columns);
    }
}

} // namespace lake
