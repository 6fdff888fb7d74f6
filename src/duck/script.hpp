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
/** The statements of a script; a client's are guarded. */
std::vector<Step> parse_script(const duckdb::ParserOptions &options, const std::string &sql,
                               bool guarded);

} // namespace lake

#endif
