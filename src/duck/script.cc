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
std::vector<optional_idx> positions_in(const vector<unique_ptr<SQLStatement>> &statements,
                                       const string &sql)
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

std::vector<Step> parse_script(const ParserOptions &options, const string &sql, bool guarded)
{
    idx_t nul = sql.find('\0');
    if (nul != string::npos) { /* the parser would take it for the end */
        throw_refusal(nul, "the statement has a NUL character in it");
    }
    Parser parser(options);
    parser.ParseQuery(sql);
    auto &statements = parser.statements;
    if (statements.empty()) {
        throw_refusal(optional_idx(), "there is no statement in it");
    }
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
