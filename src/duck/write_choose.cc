/*
 * The data files of a table in which a condition holds for a row: what a compaction of a part of a
 * table reads first. The condition is a client's text, so its SELECT goes through the guard.
 */
#include "duck/guard_priv.hpp"
#include "duck/write_priv.hpp"

#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/result_modifier.hpp"
#include "duckdb/parser/statement/create_statement.hpp"

using namespace duckdb;

namespace lake {

namespace {

Ptr<ParsedExpression> parse_condition(ClientContext &context, const string &text)
{
    auto list = Parser::ParseExpressionList(text, context.GetParserOptions());
    if (list.size() != 1) {
        throw_refusal(optional_idx(), "\"where\" is one condition over the table's columns");
    }
    return std::move(list[0]);
}

/** SELECT DISTINCT _file_index AS __file FROM ns.name WHERE condition, guarded. */
Ptr<SelectStatement> select_files(ClientContext &context, const string &ns, const string &name,
                                  const string &condition)
{
    auto node = make_uniq<SelectNode>();
    auto table = make_uniq<BaseTableRef>();
    auto file = column_ref(name, "_file_index");
    file->SetAlias("__file");
    node->select_list.push_back(std::move(file));
    table->schema_name = ns;
    table->table_name = name;
    node->from_table = std::move(table);
    node->where_clause = parse_condition(context, condition);
    node->modifiers.push_back(make_uniq<DistinctModifier>());
    Step step;
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(node);
    step.statement = std::move(select);
    guard_step(step, optional_idx(0));
    return unique_ptr_cast<SQLStatement, SelectStatement>(std::move(step.statement));
}

void choose_files(struct duck_session &session, const string &ns, const string &name,
                  const string &condition)
{
    auto &context = *session.connection->context;
    auto create = make_uniq<CreateStatement>();
    auto info = make_uniq<CreateTableInfo>(TEMP_CATALOG, DEFAULT_SCHEMA, ROWS_TABLE);
    info->temporary = true;
    info->query = select_files(context, ns, name, condition);
    create->info = std::move(info);
    session.state->gathers = true;
    auto result = start(session, std::move(create), Params());
    while (result->FetchRaw()) {
    }
    if (result->HasError()) {
        result->ThrowError();
    }
    session.state->gathers = false;
}

} // namespace

} // namespace lake

enum status duck_write_choose(struct duck_write *write, struct str ns, struct str name,
                              struct str condition, struct err *err)
{
    auto &session = *write->session;
    return lake::fenced(write->sql, err, [&] {
        if (condition.len > 0) {
            lake::choose_files(session, lake::to_string(ns), lake::to_string(name),
                               lake::to_string(condition));
        }
        session.state->trusted = true;
        return OK;
    });
}
