/*
 * Which of DuckDB's functions a client may call. A test compares the lists with what the pinned
 * library has.
 */
#ifndef DUCK_GUARD_PRIV_HPP
#define DUCK_GUARD_PRIV_HPP

#include <string>

namespace lake {

/** In FROM; names in lower case. */
bool is_allowed_table_function(const std::string &name);
/** Where a view, a macro or SHOW needs more than a client may write. */
bool is_allowed_scan(const std::string &name);
/** Scalar, aggregate, window and macro names, in lower case. */
bool is_denied_function(const std::string &name);
/** Of the denied, those that DuckDB itself plans for harmless statements. */
bool is_inner_function(const std::string &name);
/** ": .." what to use instead, or nothing. */
std::string advice_for_table_function(const std::string &name);

} // namespace lake

#endif
