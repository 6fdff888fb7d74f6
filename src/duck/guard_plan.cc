/*
 * The second look: the bound plan of a client's statement, before anything of it runs.
 *
 * The first look judges names; this one judges what they became. Views, macros and SHOW turn into
 * other tables and functions while they are bound, so a scan that is not on the list ends the
 * statement here even if a way was found to have it bound.
 */
#include "duck/duck_priv.hpp"
#include "duck/guard_priv.hpp"

#include "duckdb/optimizer/optimizer.hpp"
#include "duckdb/optimizer/optimizer_extension.hpp"
#include "duckdb/planner/expression/bound_aggregate_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator_visitor.hpp"
#include "duckdb/planner/operator/logical_copy_to_file.hpp"
#include "duckdb/planner/operator/logical_get.hpp"

using namespace duckdb;

namespace lake {

namespace {

bool is_write(LogicalOperatorType type)
{
    switch (type) {
    case LogicalOperatorType::LOGICAL_INSERT:
    case LogicalOperatorType::LOGICAL_DELETE:
    case LogicalOperatorType::LOGICAL_UPDATE:
    case LogicalOperatorType::LOGICAL_MERGE_INTO:
    case LogicalOperatorType::LOGICAL_ALTER:
    case LogicalOperatorType::LOGICAL_CREATE_TABLE:
    case LogicalOperatorType::LOGICAL_CREATE_INDEX:
    case LogicalOperatorType::LOGICAL_CREATE_SEQUENCE:
    case LogicalOperatorType::LOGICAL_CREATE_VIEW:
    case LogicalOperatorType::LOGICAL_CREATE_SCHEMA:
    case LogicalOperatorType::LOGICAL_CREATE_MACRO:
    case LogicalOperatorType::LOGICAL_DROP:
    case LogicalOperatorType::LOGICAL_PRAGMA:
    case LogicalOperatorType::LOGICAL_TRANSACTION:
    case LogicalOperatorType::LOGICAL_CREATE_TYPE:
    case LogicalOperatorType::LOGICAL_ATTACH:
    case LogicalOperatorType::LOGICAL_DETACH:
    case LogicalOperatorType::LOGICAL_COPY_TO_FILE:
    case LogicalOperatorType::LOGICAL_COPY_DATABASE:
    case LogicalOperatorType::LOGICAL_EXPORT:
    case LogicalOperatorType::LOGICAL_VACUUM:
    case LogicalOperatorType::LOGICAL_SET:
    case LogicalOperatorType::LOGICAL_RESET:
    case LogicalOperatorType::LOGICAL_LOAD:
    case LogicalOperatorType::LOGICAL_PREPARE:
    case LogicalOperatorType::LOGICAL_EXECUTE:
    case LogicalOperatorType::LOGICAL_UPDATE_EXTENSIONS:
    case LogicalOperatorType::LOGICAL_EXTENSION_OPERATOR:
        return true;
    default:
        return false;
    }
}

void check_expression(const Expression &expr)
{
    if (expr.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION) {
        auto &call = expr.Cast<BoundFunctionExpression>();
        /* DuckDB itself plans some inner functions (sort keys, struct remapping); only what reads
         * or writes the process matters here. */
        if (is_denied_function(call.function.name) && !is_inner_function(call.function.name)) {
            throw_refusal(expr.GetQueryLocation(),
                          "the function \"" + call.function.name + "\" is not allowed here");
        }
    }
    ExpressionIterator::EnumerateChildren(expr,
                                          [](const Expression &child) { check_expression(child); });
}

void check_operator(LogicalOperator &op)
{
    if (is_write(op.type)) {
        throw_refusal(optional_idx(), op.GetName() + " is not allowed here: use SELECT");
    }
    if (op.type == LogicalOperatorType::LOGICAL_GET) {
        auto &get = op.Cast<LogicalGet>();
        if (!is_allowed_scan(get.function.name)) {
            throw_refusal(optional_idx(),
                          "the table function \"" + get.function.name + "\" is not allowed here");
        }
    }
    LogicalOperatorVisitor::EnumerateExpressions(
        op, [](unique_ptr<Expression> *expr) { check_expression(**expr); });
    for (auto &child : op.children) {
        check_operator(*child);
    }
}

/** The COPY that we made of a client's SELECT, as a whole plan and to the one path. */
bool is_answer(const SessionState &session, LogicalOperator &plan)
{
    return !session.sink.empty() && plan.type == LogicalOperatorType::LOGICAL_COPY_TO_FILE &&
           plan.Cast<LogicalCopyToFile>().file_path == session.sink && plan.children.size() == 1;
}

/** The temporary table that we make of a client's rows. */
bool is_gathering(const SessionState &session, LogicalOperator &plan)
{
    return session.gathers && plan.type == LogicalOperatorType::LOGICAL_CREATE_TABLE &&
           plan.children.size() == 1;
}

void look_at_plan(OptimizerExtensionInput &input, unique_ptr<LogicalOperator> &plan)
{
    auto session = SessionState::Of(input.context);
    if (!session || session->trusted) {
        return;
    }
    if (is_answer(*session, *plan) || is_gathering(*session, *plan)) {
        check_operator(*plan->children[0]);
    } else {
        check_operator(*plan);
    }
}

} // namespace

void register_plan_guard(DatabaseInstance &db)
{
    OptimizerExtension extension;
    extension.pre_optimize_function = look_at_plan;
    OptimizerExtension::Register(DBConfig::GetConfig(db), extension);
}

} // namespace lake
