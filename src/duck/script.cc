/*
 * A text as the statements in it: parsed, told apart, each with its place, and guarded.
 */
#include "duck/script.hpp"
#include "duck/duck_priv.hpp"

using namespace duckdb;

namespace lake {

namespace {

/** Where each statement of a script begins: DuckDB's parser keeps only its text, which is a piece
 * of the script's. */
std::vector<optional_idx> positions_in(const Statements &statements, const string &sql)
{
    std::vector<optional_idx> positions;
    idx_t from = 0;
    for (auto &statement : statements) {
        optional_idx position;
        idx_t found = sql.find(statement->query, from);
        if (found != string::npos) {
            from = found + statement->query.size();
            idx_t begin = sql.find_first_not_of(" \t\r\n;", found);
            position = begin == string::npos ? found : begin;
        }
        positions.push_back(position);
    }
    return positions;
}

} // namespace

Statements parse_text(const ParserOptions &options, const string &sql)
{
    idx_t nul = sql.find('\0');
    if (nul != string::npos) { /* the parser would take it for the end */
        throw_refusal(nul, "the statement has a NUL character in it");
    }
    if (!str_is_utf8(to_str(sql))) {
        throw_refusal(optional_idx(), "the statement is not valid UTF-8");
    }
    Parser parser(options);
    parser.ParseQuery(sql);
    if (parser.statements.empty()) {
        throw_refusal(optional_idx(), "there is no statement in it");
    }
    return std::move(parser.statements);
}

std::vector<Step> make_script(Statements statements, const string &sql, bool guarded)
{
    auto positions = positions_in(statements, sql);
    std::vector<Step> steps;
    for (idx_t i = 0; i < statements.size(); i++) {
        steps.push_back(make_step(std::move(statements[i])));
        if (guarded) {
            guard_step(steps.back(), positions[i]);
        }
    }
    return steps;
}

} // namespace lake
