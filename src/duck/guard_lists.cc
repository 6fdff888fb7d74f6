/*
 * The lists of the guard.
 *
 * Table functions by what is allowed, because a new one may read or write anything. Scalar
 * functions by what is denied, because nearly all are harmless: denied are those that read the
 * process (its environment, settings, variables, logs), that write anything, or that are DuckDB's
 * own inner parts and trust their arguments.
 */
#include "duck/guard_priv.hpp"

extern "C" {
#include "duck/duck.h"
}

#include <string_view>
#include <unordered_set>

namespace lake {

namespace {

using names = std::unordered_set<std::string_view>;

const names TABLE_FUNCTIONS = {
    "unnest",          "range",          "generate_series",
    "repeat",          "repeat_row",     "json_each",
    "json_tree",       "duckdb_columns", "duckdb_functions",
    "duckdb_keywords", "duckdb_schemas", "duckdb_tables",
    "duckdb_types",    "duckdb_views",   "pg_timezone_names",
    "test_all_types",  "summary",        "icu_calendar_names",
    "vector_search",   "vector_items",
};

/* Scans that information_schema, SHOW and our own tables are made of. */
const names INNER_SCANS = {
    "lake_scan",        "lake_rows",      "duckdb_constraints",
    "duckdb_databases", "duckdb_indexes", "duckdb_sequences",
};

const names DENIED = {
    /* read the process and its settings */
    "getenv",
    "current_setting",
    "getvariable",
    "pg_conf_load_time",
    "pg_postmaster_start_time",
    /* write */
    "write_log",
    "nextval",
    "currval",
    /* plan or run text as a statement, past this guard */
    "json_serialize_plan",
    "json_execute_serialized_sql",
    "query",
    "query_table",
    /* read logs */
    "parse_duckdb_log_message",
    /* trust the bytes that they are given */
    "combine",
    "finalize",
    "variant_bytes_to_variant",
    "variant_to_parquet_variant",
};

/* Denied as well: parts of DuckDB's own plans, which trust what they are given. */
const names INNER = {
    "invoke",
    "remap_struct",
    "create_sort_key",
    "constant_or_null",
};

bool starts_with(const std::string &name, std::string_view prefix)
{
    return name.compare(0, prefix.size(), prefix) == 0;
}

} // namespace

bool is_allowed_table_function(const std::string &name)
{
    return TABLE_FUNCTIONS.count(name) > 0;
}

bool is_allowed_scan(const std::string &name)
{
    return TABLE_FUNCTIONS.count(name) > 0 || INNER_SCANS.count(name) > 0;
}

bool is_denied_function(const std::string &name)
{
    return DENIED.count(name) > 0 || is_inner_function(name) ||
           starts_with(name, DUCK_TEXT_FUNCTIONS);
}

bool is_inner_function(const std::string &name)
{
    return INNER.count(name) > 0 || starts_with(name, "__internal");
}

std::string advice_for_table_function(const std::string &name)
{
    if (starts_with(name, "read_") || name == "parquet_scan" || name == "glob" ||
        starts_with(name, "sniff_")) {
        return ": bring the file in with POST /v1/ingest and select from its table";
    }
    if (starts_with(name, "duckdb_") || starts_with(name, "pragma_")) {
        return ": use information_schema";
    }
    return "";
}

} // namespace lake
