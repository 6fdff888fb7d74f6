/*
 * MERGE INTO as a SELECT: the target joined with the source, the number of the action that a row
 * gets, and what that action makes of each column.
 *
 *      SELECT t._file_index AS __file, t._file_row AS __row, action = some delete AS __gone,
 *             CASE action WHEN 1 THEN .. WHEN 2 THEN .. END AS a, ..
 *      FROM t FULL JOIN (SELECT *, true AS __given FROM source) AS s ON ..
 *      WHERE action > 0
 *
 * An action is the first of its kind whose condition holds; a row of the target that no condition
 * wants is left alone.
 */
#include "duck/write_priv.hpp"

#include "duckdb/parser/expression/list.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/merge_into_statement.hpp"
#include "duckdb/parser/tableref/joinref.hpp"
#include "duckdb/parser/tableref/subqueryref.hpp"

using namespace duckdb;

namespace lake {

namespace {

constexpr const char *GIVEN = "__given";

using Expr = Ptr<ParsedExpression>;

class Merge {
  public:
    Merge(struct duck_write &write_p, const Columns &columns_p)
        : write(write_p), columns(columns_p), merge(write.statement->Cast<MergeIntoStatement>()),
          target(alias_of(*merge.target)), source(alias_of(*merge.source))
    {}
    Ptr<SelectNode> Select();

  private:
    void CollectActions();
    void SourceNames();
    Expr IsSide(MergeActionCondition condition) const;
    Expr ActionNumber() const;
    Expr IsGone() const;
    Expr ColumnOf(size_t column);
    Expr ValueOf(MergeIntoAction &action, MergeActionCondition condition, size_t column);
    Expr Inserted(MergeIntoAction &action, size_t column);
    Expr Updated(MergeIntoAction &action, size_t column);
    Ptr<TableRef> From();
    int64_t SourceColumn(const string &name) const;

    struct duck_write &write;
    const Columns &columns;
    MergeIntoStatement &merge;
    const string target, source;
    std::vector<std::pair<MergeActionCondition, MergeIntoAction *>> actions;
    vector<string> source_names;
};

/** A condition is looked at more than once, so it must say the same each time. */
void refuse_volatile(const ParsedExpression &expr)
{
    if (expr.GetExpressionClass() == ExpressionClass::FUNCTION) {
        auto name = StringUtil::Lower(expr.Cast<FunctionExpression>().function_name);
        if (name == "random" || name == "uuid" || name == "uuidv4" || name == "uuidv7" ||
            name == "gen_random_uuid") {
            throw_refusal(expr.GetQueryLocation(),
                          name + "() cannot decide what MERGE does with a row");
        }
    }
    ParsedExpressionIterator::EnumerateChildren(
        expr, [](const ParsedExpression &child) { refuse_volatile(child); });
}

void Merge::CollectActions()
{
    for (auto &entry : merge.actions) {
        for (auto &action : entry.second) {
            actions.emplace_back(entry.first, action.get());
            if (action->condition) {
                refuse_volatile(*action->condition);
            }
        }
    }
}

/** The source's columns, for what is said by name or by star. */
void Merge::SourceNames()
{
    auto node = make_uniq<SelectNode>();
    node->select_list.push_back(make_uniq<StarExpression>());
    node->from_table = merge.source->Copy();
    node->cte_map = merge.cte_map.Copy();
    auto select = guarded(write, std::move(node));
    vector<LogicalType> types;
    bind_columns(*write.session->connection->context, *select, write.params, types, source_names);
}

int64_t Merge::SourceColumn(const string &name) const
{
    for (idx_t i = 0; i < source_names.size(); i++) {
        if (StringUtil::CIEquals(source_names[i], name)) {
            return (int64_t)i;
        }
    }
    return -1;
}

Expr is_null(Expr expr, bool negated)
{
    return make_uniq<OperatorExpression>(negated ? ExpressionType::OPERATOR_IS_NOT_NULL
                                                 : ExpressionType::OPERATOR_IS_NULL,
                                         std::move(expr));
}

Expr both(Expr left, Expr right)
{
    return make_uniq<ConjunctionExpression>(ExpressionType::CONJUNCTION_AND, std::move(left),
                                            std::move(right));
}

Expr equals(Expr left, int64_t number)
{
    return make_uniq<ComparisonExpression>(ExpressionType::COMPARE_EQUAL, std::move(left),
                                           constant(Value::INTEGER((int32_t)number)));
}

/** Has the joined row a part of the target, of the source, or of both? */
Expr Merge::IsSide(MergeActionCondition condition) const
{
    auto has_target = is_null(column_ref(target, "_file_row"),
                              condition != MergeActionCondition::WHEN_NOT_MATCHED_BY_TARGET);
    auto has_source = is_null(column_ref(source, GIVEN),
                              condition != MergeActionCondition::WHEN_NOT_MATCHED_BY_SOURCE);
    return both(std::move(has_target), std::move(has_source));
}

/** The action of a row, from 1 on; 0: none. */
Expr Merge::ActionNumber() const
{
    auto choice = make_uniq<CaseExpression>();
    for (size_t i = 0; i < actions.size(); i++) {
        auto &action = *actions[i].second;
        CaseCheck check;
        check.when_expr = IsSide(actions[i].first);
        if (action.condition) {
            check.when_expr = both(std::move(check.when_expr), action.condition->Copy());
        }
        if (action.action_type == MergeActionType::MERGE_ERROR) {
            vector<Expr> words;
            words.push_back(action.expressions.empty()
                                ? constant(Value("a row of MERGE came to its ERROR action"))
                                : action.expressions[0]->Copy());
            check.then_expr = make_uniq<FunctionExpression>("error", std::move(words));
        } else {
            bool nothing = action.action_type == MergeActionType::MERGE_DO_NOTHING;
            check.then_expr = constant(Value::INTEGER(nothing ? 0 : (int32_t)i + 1));
        }
        choice->case_checks.push_back(std::move(check));
    }
    choice->else_expr = constant(Value::INTEGER(0));
    return std::move(choice);
}

Expr Merge::IsGone() const
{
    auto choice = make_uniq<CaseExpression>();
    for (size_t i = 0; i < actions.size(); i++) {
        if (actions[i].second->action_type == MergeActionType::MERGE_DELETE) {
            CaseCheck check;
            check.when_expr = equals(ActionNumber(), (int64_t)i + 1);
            check.then_expr = constant(Value::BOOLEAN(true));
            choice->case_checks.push_back(std::move(check));
        }
    }
    choice->else_expr = constant(Value::BOOLEAN(false));
    if (choice->case_checks.empty()) {
        return std::move(choice->else_expr);
    }
    return std::move(choice);
}

Expr Merge::Inserted(MergeIntoAction &action, size_t column)
{
    auto name = to_string(columns[column].name);
    if (action.default_values) {
        return constant(Value());
    }
    if (action.expressions.empty()) { /* INSERT *, INSERT BY NAME */
        if (action.column_order == InsertColumnOrder::INSERT_BY_NAME) {
            int64_t at = SourceColumn(name);
            return at < 0 ? constant(Value()) : column_ref(source, source_names[(size_t)at]);
        }
        if (source_names.size() != columns.size()) {
            throw_refusal(optional_idx(), "MERGE inserts " + std::to_string(source_names.size()) +
                                              " columns into a table of " +
                                              std::to_string(columns.size()));
        }
        return column_ref(source, source_names[column]);
    }
    size_t wanted = action.insert_columns.empty() ? columns.size() : action.insert_columns.size();
    if (action.expressions.size() != wanted) {
        throw_refusal(optional_idx(), "MERGE inserts " + std::to_string(action.expressions.size()) +
                                          " values into " + std::to_string(wanted) + " columns");
    }
    if (action.insert_columns.empty()) {
        return action.expressions[column]->Copy();
    }
    for (size_t i = 0; i < action.insert_columns.size(); i++) {
        if (find_column(columns, action.insert_columns[i]) == (int64_t)column) {
            return action.expressions[i]->Copy();
        }
    }
    return constant(Value());
}

Expr Merge::Updated(MergeIntoAction &action, size_t column)
{
    auto name = to_string(columns[column].name);
    auto kept = column_ref(target, name);
    if (!action.update_info || action.update_info->columns.empty()) { /* UPDATE, UPDATE BY NAME */
        if (action.column_order == InsertColumnOrder::INSERT_BY_NAME) {
            int64_t at = SourceColumn(name);
            return at < 0 ? std::move(kept) : column_ref(source, source_names[(size_t)at]);
        }
        if (source_names.size() != columns.size()) {
            throw_refusal(optional_idx(), "MERGE updates a table of " +
                                              std::to_string(columns.size()) + " columns from " +
                                              std::to_string(source_names.size()));
        }
        return column_ref(source, source_names[column]);
    }
    auto &set = *action.update_info;
    for (size_t i = 0; i < set.columns.size(); i++) {
        if (find_column(columns, set.columns[i]) == (int64_t)column) {
            return set.expressions[i]->Copy();
        }
    }
    return kept;
}

Expr Merge::ColumnOf(size_t column)
{
    auto choice = make_uniq<CaseExpression>();
    for (size_t i = 0; i < actions.size(); i++) {
        auto &action = *actions[i].second;
        CaseCheck check;
        if (action.action_type == MergeActionType::MERGE_INSERT) {
            check.then_expr = Inserted(action, column);
        } else if (action.action_type == MergeActionType::MERGE_UPDATE) {
            check.then_expr = Updated(action, column);
        } else {
            continue;
        }
        /* each to its type by itself, so that two actions need not agree */
        check.then_expr = as_column(write, std::move(check.then_expr), columns[column]);
        check.then_expr->ClearAlias();
        check.when_expr = equals(ActionNumber(), (int64_t)i + 1);
        choice->case_checks.push_back(std::move(check));
    }
    choice->else_expr = constant(Value());
    if (choice->case_checks.empty()) {
        return as_column(write, std::move(choice->else_expr), columns[column]);
    }
    return as_column(write, std::move(choice), columns[column]);
}

Ptr<TableRef> Merge::From()
{
    auto node = make_uniq<SelectNode>();
    node->select_list.push_back(make_uniq<StarExpression>());
    auto given = constant(Value::BOOLEAN(true));
    given->SetAlias(GIVEN);
    node->select_list.push_back(std::move(given));
    node->from_table = std::move(merge.source);
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(node);
    bool needs[3] = { false, false, false };
    for (auto &action : actions) {
        needs[(int)action.first] = true;
    }
    bool all_target = needs[(int)MergeActionCondition::WHEN_NOT_MATCHED_BY_SOURCE];
    bool all_source = needs[(int)MergeActionCondition::WHEN_NOT_MATCHED_BY_TARGET];
    auto join = make_uniq<JoinRef>(JoinRefType::REGULAR);
    join->type = all_target && all_source ? JoinType::OUTER
                 : all_target             ? JoinType::LEFT
                 : all_source             ? JoinType::RIGHT
                                          : JoinType::INNER;
    join->left = std::move(merge.target);
    join->right = make_uniq<SubqueryRef>(std::move(select), source);
    join->condition = std::move(merge.join_condition);
    join->using_columns = merge.using_columns;
    return std::move(join);
}

void check_names(const struct duck_write &write, const Columns &columns,
                 const vector<string> &names)
{
    for (auto &name : names) {
        if (find_column(columns, name) < 0) {
            throw_refusal(optional_idx(),
                          "table \"" + write.name + "\" has no column \"" + name + "\"");
        }
    }
}

Ptr<SelectNode> Merge::Select()
{
    if (source.empty()) {
        throw_refusal(optional_idx(), "the source of MERGE needs a name: USING (..) AS s");
    }
    CollectActions();
    SourceNames();
    for (auto &action : actions) {
        check_names(write, columns, action.second->insert_columns);
        if (action.second->update_info) {
            check_names(write, columns, action.second->update_info->columns);
        }
    }
    auto node = make_uniq<SelectNode>();
    add_row_id(node->select_list, target);
    auto gone = IsGone();
    gone->SetAlias("__gone");
    node->select_list.push_back(std::move(gone));
    for (size_t c = 0; c < columns.size(); c++) {
        node->select_list.push_back(ColumnOf(c));
    }
    node->where_clause = make_uniq<ComparisonExpression>(
        ExpressionType::COMPARE_GREATERTHAN, ActionNumber(), constant(Value::INTEGER(0)));
    node->from_table = From();
    node->cte_map = merge.cte_map.Copy();
    return node;
}

} // namespace

Ptr<SelectStatement> select_merged(struct duck_write &write, const Columns &columns)
{
    return guarded(write, Merge(write, columns).Select());
}

} // namespace lake
