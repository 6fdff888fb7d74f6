/*
 * A script's statements, ready to run.
 */
#ifndef DUCK_SCRIPT_HPP
#define DUCK_SCRIPT_HPP

#include "duckdb/parser/parser.hpp"

#include <string>
#include <vector>

namespace lake {

struct Step;
using Statements = duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>>;
/** Refuses a text without statements, and one with a NUL in it. */
Statements parse_text(const duckdb::ParserOptions &options, const std::string &sql);
/** Statements of `sql` as steps; a client's are guarded. */
std::vector<Step> make_script(Statements statements, const std::string &sql, bool guarded);

} // namespace lake

#endif
