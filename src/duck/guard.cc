/*
 * The statement guard: what a client may ask at all.
 *
 * The tree that the parser made is walked as a whole before anything is bound. Only SELECT and
 * EXPLAIN of a SELECT pass (SHOW, DESCRIBE and SUMMARIZE are SELECTs to DuckDB); one that writes
 * becomes a SELECT of its rows before it comes here (write.cc). Table functions
 * need to be on a list, scalar functions must not be on another. Every table name that is not a
 * common table expression in scope is qualified with the lake here and now, so that it can resolve
 * to nothing else: DuckDB's own views (duckdb_logs, duckdb_settings, ...) have names too.
 *
 * A second look follows at the bound plan (guard_plan.cc), for what views and macros turned into.
 */
#include "duck/duck_priv.hpp"
#include "duck/guard_priv.hpp"

#include "duckdb/parser/expression/list.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/parser/query_node/list.hpp"
#include "duckdb/parser/statement/list.hpp"
#include "duckdb/parser/tableref/list.hpp"

#include <algorithm>

using namespace duckdb;

namespace lake {

namespace {

/* Deeper nesting than this is refused: DuckDB's binder and our walk are recursive. */
constexpr unsigned DEPTH_MAX = 1000;

struct Refusal {
    StatementType type;
    const char *name;
    const char *instead;
};

constexpr const char
    *STANDS_ALONE = "a statement that writes stands alone, and cannot be explained";
constexpr const char *USE_INGEST = "data comes in through POST /v1/ingest";
constexpr const char *USE_SETTINGS = "settings belong to the server's configuration";
constexpr const char *USE_PARAMS = "send the statement itself, with its parameters in \"params\"";
constexpr const char *ONE_SNAPSHOT = "every statement sees one snapshot of the lake by itself";
constexpr const char *ALL_IN_LAKE = "all tables are in the lake already";

const Refusal REFUSALS[] = {
    { StatementType::INSERT_STATEMENT, "INSERT", STANDS_ALONE },
    { StatementType::UPDATE_STATEMENT, "UPDATE", STANDS_ALONE },
    { StatementType::DELETE_STATEMENT, "DELETE", STANDS_ALONE },
    { StatementType::MERGE_INTO_STATEMENT, "MERGE", STANDS_ALONE },
    { StatementType::CREATE_STATEMENT, "CREATE", STANDS_ALONE },
    { StatementType::CREATE_FUNC_STATEMENT, "CREATE FUNCTION",
      "write the expression where it is used" },
    { StatementType::ALTER_STATEMENT, "ALTER", STANDS_ALONE },
    { StatementType::DROP_STATEMENT, "DROP", STANDS_ALONE },
    { StatementType::COPY_STATEMENT, "COPY",
      "a SELECT answers as CSV, Arrow or Parquet with \"format\"" },
    { StatementType::EXPORT_STATEMENT, "EXPORT",
      "a SELECT answers as CSV, Arrow or Parquet with \"format\"" },
    { StatementType::COPY_DATABASE_STATEMENT, "COPY DATABASE", USE_INGEST },
    { StatementType::PREPARE_STATEMENT, "PREPARE", USE_PARAMS },
    { StatementType::EXECUTE_STATEMENT, "EXECUTE", USE_PARAMS },
    { StatementType::TRANSACTION_STATEMENT, "a transaction", ONE_SNAPSHOT },
    { StatementType::ATTACH_STATEMENT, "ATTACH", ALL_IN_LAKE },
    { StatementType::DETACH_STATEMENT, "DETACH", ALL_IN_LAKE },
    { StatementType::SET_STATEMENT, "SET", USE_SETTINGS },
    { StatementType::VARIABLE_SET_STATEMENT, "SET", USE_SETTINGS },
    { StatementType::PRAGMA_STATEMENT, "PRAGMA", USE_SETTINGS },
    { StatementType::LOAD_STATEMENT, "LOAD", "extensions are not part of this server" },
    { StatementType::UPDATE_EXTENSIONS_STATEMENT, "UPDATE EXTENSIONS",
      "extensions are not part of this server" },
    { StatementType::CALL_STATEMENT, "CALL", "it stands alone" },
    { StatementType::VACUUM_STATEMENT, "VACUUM", "files are kept in order by the server" },
    { StatementType::ANALYZE_STATEMENT, "ANALYZE", "statistics are kept by the server" },
};

[[noreturn]] void refuse_statement(StatementType type, optional_idx position)
{
    for (auto &refusal : REFUSALS) {
        if (refusal.type == type) {
            throw_refusal(position,
                          string(refusal.name) + " is not allowed here: " + refusal.instead);
        }
    }
    throw_refusal(position, StatementTypeToString(type) + " is not allowed here: use SELECT");
}

class Guard {
  public:
    explicit Guard(Step &step_p, ViewScope *view_p = nullptr) : step(step_p), view(view_p) {}
    void Statement(SQLStatement &statement, optional_idx position);

  private:
    void Node(QueryNode &node);
    void Ctes(CommonTableExpressionMap &ctes);
    void Select(SelectNode &node);
    void Recursive(RecursiveCTENode &node);
    void Modifiers(QueryNode &node);
    void Table(TableRef &ref);
    void BaseTable(BaseTableRef &ref);
    void OfView(BaseTableRef &ref);
    void Show(ShowRef &ref);
    void Pivot(PivotRef &ref);
    void PivotOf(PivotRef &ref, PivotColumn &pivot);
    void Function(TableFunctionRef &ref);
    void Expression(ParsedExpression &expr);
    void Maybe(unique_ptr<ParsedExpression> &expr)
    {
        if (expr) {
            Expression(*expr);
        }
    }
    bool InScope(const string &name) const
    {
        return std::find(scope.begin(), scope.end(), StringUtil::Lower(name)) != scope.end();
    }

    struct Deeper {
        explicit Deeper(Guard &guard_p) : guard(guard_p)
        {
            if (++guard.depth > DEPTH_MAX) {
                throw_refusal(optional_idx(),
                              "the statement is nested deeper than " + std::to_string(DEPTH_MAX));
            }
        }
        ~Deeper() { guard.depth--; }
        Guard &guard;
    };

    Step &step;
    ViewScope *view; /* NULL: the client's own text */
    /* names of the common table expressions that a name may mean here, in lower case */
    std::vector<string> scope;
    unsigned depth = 0;
};

void Guard::Statement(SQLStatement &statement, optional_idx position)
{
    if (statement.type == StatementType::SELECT_STATEMENT) {
        Node(*statement.Cast<SelectStatement>().node);
        return;
    }
    if (statement.type == StatementType::EXPLAIN_STATEMENT) {
        auto &inner = *statement.Cast<ExplainStatement>().stmt;
        if (inner.type != StatementType::SELECT_STATEMENT) {
            refuse_statement(inner.type, position);
        }
        Node(*inner.Cast<SelectStatement>().node);
        return;
    }
    refuse_statement(statement.type, position);
}

void Guard::Node(QueryNode &node)
{
    Deeper deeper(*this);
    size_t outer = scope.size();
    Ctes(node.cte_map);
    switch (node.type) {
    case QueryNodeType::SELECT_NODE:
        Select(node.Cast<SelectNode>());
        break;
    case QueryNodeType::SET_OPERATION_NODE:
        for (auto &child : node.Cast<SetOperationNode>().children) {
            Node(*child);
        }
        break;
    case QueryNodeType::RECURSIVE_CTE_NODE:
        Recursive(node.Cast<RecursiveCTENode>());
        break;
    case QueryNodeType::CTE_NODE: {
        auto &cte = node.Cast<CTENode>();
        Node(*cte.query);
        scope.push_back(StringUtil::Lower(cte.ctename));
        Node(*cte.child);
        break;
    }
    case QueryNodeType::STATEMENT_NODE:
        refuse_statement(node.Cast<StatementNode>().stmt.type,
                         node.Cast<StatementNode>().stmt.stmt_location);
    default:
        throw_refusal(optional_idx(), "this kind of query is not allowed here");
    }
    Modifiers(node);
    scope.resize(outer);
}

/** A common table expression sees those before it; itself only where it is recursive. */
void Guard::Ctes(CommonTableExpressionMap &ctes)
{
    for (auto &entry : ctes.map) {
        auto &info = *entry.second;
        Node(*info.query->node);
        for (auto &key : info.key_targets) {
            Maybe(key);
        }
        scope.push_back(StringUtil::Lower(entry.first));
    }
}

void Guard::Recursive(RecursiveCTENode &node)
{
    Node(*node.left);
    scope.push_back(StringUtil::Lower(node.ctename));
    Node(*node.right);
    for (auto &key : node.key_targets) {
        Maybe(key);
    }
}

void Guard::Select(SelectNode &node)
{
    if (node.from_table) {
        Table(*node.from_table);
    }
    for (auto &expr : node.select_list) {
        Maybe(expr);
    }
    for (auto &expr : node.groups.group_expressions) {
        Maybe(expr);
    }
    Maybe(node.where_clause);
    Maybe(node.having);
    Maybe(node.qualify);
}

void Guard::Modifiers(QueryNode &node)
{
    ParsedExpressionIterator::EnumerateQueryNodeModifiers(
        node, [&](unique_ptr<ParsedExpression> &expr) { Maybe(expr); });
}

void Guard::Table(TableRef &ref)
{
    Deeper deeper(*this);
    if (view) {
        ref.query_location = optional_idx();
    }
    switch (ref.type) {
    case TableReferenceType::BASE_TABLE:
        BaseTable(ref.Cast<BaseTableRef>());
        break;
    case TableReferenceType::SUBQUERY:
        Node(*ref.Cast<SubqueryRef>().subquery->node);
        break;
    case TableReferenceType::JOIN: {
        auto &join = ref.Cast<JoinRef>();
        Table(*join.left);
        Table(*join.right);
        Maybe(join.condition);
        break;
    }
    case TableReferenceType::TABLE_FUNCTION:
        Function(ref.Cast<TableFunctionRef>());
        break;
    case TableReferenceType::EXPRESSION_LIST:
        for (auto &row : ref.Cast<ExpressionListRef>().values) {
            for (auto &expr : row) {
                Maybe(expr);
            }
        }
        break;
    case TableReferenceType::PIVOT:
        Pivot(ref.Cast<PivotRef>());
        break;
    case TableReferenceType::SHOW_REF:
        Show(ref.Cast<ShowRef>());
        break;
    case TableReferenceType::EMPTY_FROM:
        break;
    default:
        throw_refusal(ref.query_location, "this kind of table is not allowed here");
    }
}

void Guard::BaseTable(BaseTableRef &ref)
{
    if (ref.at_clause) {
        Maybe(ref.at_clause->ExpressionMutable());
    }
    bool recurring = StringUtil::CIEquals(ref.schema_name, "recurring");
    if (ref.catalog_name.empty() && (ref.schema_name.empty() || recurring) &&
        InScope(ref.table_name)) {
        return;
    }
    if (view) {
        OfView(ref);
    }
    bool of_lake = ref.catalog_name.empty() || StringUtil::CIEquals(ref.catalog_name, CATALOG_NAME);
    if (StringUtil::CIEquals(ref.schema_name, "information_schema") &&
        (of_lake || StringUtil::CIEquals(ref.catalog_name, "system"))) {
        ref.catalog_name = "system";
        ref.schema_name = "information_schema";
        return;
    }
    if (!of_lake) {
        throw_refusal(ref.query_location, "\"" + ref.catalog_name + "." + ref.schema_name + "." +
                                              ref.table_name +
                                              "\" is not in the lake: tables are namespace.table; "
                                              "several levels are one name, \"a.b\".table");
    }
    if (StringUtil::CIEquals(ref.schema_name, "pg_catalog")) {
        throw_refusal(ref.query_location, "\"pg_catalog." + ref.table_name +
                                              "\" is not allowed here: use information_schema");
    }
    if (is_reserved_table(ref.schema_name.empty() ? DEFAULT_NAMESPACE
                                                  : StringUtil::Lower(ref.schema_name),
                          ref.table_name)) {
        throw_refusal(ref.query_location,
                      "\"" + ref.table_name + "\" is not allowed here: use information_schema");
    }
    ref.catalog_name = CATALOG_NAME;
    if (ref.schema_name.empty()) {
        ref.schema_name = DEFAULT_NAMESPACE;
    }
    if (view && !ref.at_clause) {
        view->names.emplace_back(ref.schema_name, ref.table_name);
    }
}

/** Its writer's name for the catalogue is the lake, and names alone are in its own namespace. */
void Guard::OfView(BaseTableRef &ref)
{
    if (!view->catalog.empty() && StringUtil::CIEquals(ref.catalog_name, view->catalog)) {
        ref.catalog_name = CATALOG_NAME;
    }
    if (ref.schema_name.empty()) {
        ref.schema_name = view->schema;
    }
}

/** DESCRIBE and SUMMARIZE have a query; SHOW has a name from a short list, or a namespace. */
void Guard::Show(ShowRef &ref)
{
    if (ref.query) {
        Node(*ref.query);
        return;
    }
    if (ref.show_type == ShowType::SHOW_FROM) {
        if (!ref.catalog_name.empty() && !StringUtil::CIEquals(ref.catalog_name, CATALOG_NAME)) {
            throw_refusal(ref.query_location,
                          "\"" + ref.catalog_name +
                              "\" is not in the lake: use SHOW TABLES FROM namespace");
        }
        if (ref.catalog_name.empty() && StringUtil::CIEquals(ref.schema_name, CATALOG_NAME)) {
            ref.schema_name.clear();
        }
        ref.catalog_name = CATALOG_NAME;
        return;
    }
    for (auto known : { "\"tables\"", "\"schemas\"", "__show_tables_expanded" }) {
        if (ref.table_name == known) {
            return;
        }
    }
    throw_refusal(ref.query_location,
                  "SHOW " + ref.table_name +
                      " is not allowed here: use SHOW TABLES or DESCRIBE table");
}

void Guard::Pivot(PivotRef &ref)
{
    Table(*ref.source);
    for (auto &expr : ref.aggregates) {
        Maybe(expr);
    }
    for (auto &pivot : ref.pivots) {
        if (pivot.subquery) {
            throw_refusal(ref.query_location, "this kind of PIVOT is not allowed here");
        }
        if (!pivot.pivot_enum.empty()) {
            PivotOf(ref, pivot);
        }
        for (auto &expr : pivot.pivot_expressions) {
            Maybe(expr);
        }
        for (auto &entry : pivot.entries) {
            Maybe(entry.expr);
        }
    }
}

/** The values come from a query of this step, never from a type of the catalogue. */
void Guard::PivotOf(PivotRef &ref, PivotColumn &pivot)
{
    for (auto &values : step.values) {
        if (values.name == pivot.pivot_enum) {
            step.pivots.push_back(&pivot);
            return;
        }
    }
    throw_refusal(ref.query_location,
                  "PIVOT .. IN a type is not allowed here: name the values, or leave out IN");
}

void Guard::Function(TableFunctionRef &ref)
{
    if (ref.subquery) {
        Node(*ref.subquery->node);
    }
    if (ref.function->GetExpressionClass() != ExpressionClass::FUNCTION) {
        throw_refusal(ref.query_location, "this kind of table function is not allowed here");
    }
    auto &call = ref.function->Cast<FunctionExpression>();
    if (!is_allowed_table_function(StringUtil::Lower(call.function_name))) {
        throw_refusal(ref.query_location.IsValid() ? ref.query_location : call.GetQueryLocation(),
                      "the table function \"" + call.function_name + "\" is not allowed here" +
                          advice_for_table_function(StringUtil::Lower(call.function_name)));
    }
    for (auto &child : call.children) {
        Maybe(child);
    }
}

void Guard::Expression(ParsedExpression &expr)
{
    Deeper deeper(*this);
    if (view) {
        expr.SetQueryLocation(optional_idx());
        if (expr.GetExpressionClass() == ExpressionClass::PARAMETER) {
            throw_refusal(optional_idx(), "parameters are not allowed in it");
        }
    }
    if (expr.GetExpressionClass() == ExpressionClass::FUNCTION) {
        auto &call = expr.Cast<FunctionExpression>();
        if (is_denied_function(StringUtil::Lower(call.function_name)) || call.export_state) {
            throw_refusal(expr.GetQueryLocation(),
                          "the function \"" + call.function_name + "\" is not allowed here");
        }
    } else if (expr.GetExpressionClass() == ExpressionClass::WINDOW) {
        auto &call = expr.Cast<WindowExpression>();
        if (is_denied_function(StringUtil::Lower(call.function_name))) {
            throw_refusal(expr.GetQueryLocation(),
                          "the function \"" + call.function_name + "\" is not allowed here");
        }
    } else if (expr.GetExpressionClass() == ExpressionClass::SUBQUERY) {
        Node(*expr.Cast<SubqueryExpression>().subquery->node);
    }
    ParsedExpressionIterator::EnumerateChildren(
        expr, [&](unique_ptr<ParsedExpression> &child) { Maybe(child); });
}

} // namespace

void guard_step(Step &step, optional_idx position)
{
    Guard guard(step);
    for (auto &values : step.values) {
        guard.Statement(*values.query, position);
    }
    guard.Statement(*step.statement, position);
}

void guard_view(SQLStatement &statement, ViewScope &view)
{
    Step none;
    if (statement.type != StatementType::SELECT_STATEMENT) {
        refuse_statement(statement.type, optional_idx());
    }
    Guard(none, &view).Statement(statement, optional_idx());
}

} // namespace lake
