/*
 * PIVOT without its values.
 *
 * DuckDB's parser turns `PIVOT t ON k USING sum(v)` into several statements: for each ON without IN
 * one that creates a type, an enum of what `SELECT DISTINCT k FROM t` gives, and then the SELECT
 * that names these types. Nothing is created here: the queries run by themselves, as guarded as any
 * other, and what they give is written into the SELECT as if the statement had said it.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/parser/parsed_data/create_type_info.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/parser/statement/multi_statement.hpp"
#include "duckdb/parser/tableref/pivotref.hpp"

#include <algorithm>

using namespace duckdb;

namespace lake {

namespace {

/* More columns than a table may have are a mistake. */
constexpr idx_t VALUES_MAX = 10000;

/** The query of `CREATE TEMPORARY TYPE name AS ENUM (query)`, else nothing. */
bool take_query(SQLStatement &statement, PivotValues &out)
{
    if (statement.type != StatementType::CREATE_STATEMENT) {
        return false;
    }
    auto &info = *statement.Cast<CreateStatement>().info;
    if (info.type != CatalogType::TYPE_ENTRY) {
        return false;
    }
    auto &type = info.Cast<CreateTypeInfo>();
    out.name = type.name;
    out.query = std::move(type.query);
    return out.query && out.query->type == StatementType::SELECT_STATEMENT;
}

} // namespace

Step make_step(unique_ptr<SQLStatement> statement)
{
    Step step;
    if (statement->type != StatementType::MULTI_STATEMENT) {
        step.statement = std::move(statement);
        return step;
    }
    auto &parts = statement->Cast<MultiStatement>().statements;
    for (idx_t i = 0; i + 1 < parts.size(); i++) {
        PivotValues values;
        if (!take_query(*parts[i], values)) {
            throw_refusal(optional_idx(), "this kind of statement is not allowed here: use SELECT");
        }
        step.values.push_back(std::move(values));
    }
    step.statement = std::move(parts.back());
    return step;
}

void PivotValues::Add(const Value &value)
{
    if (value.IsNull()) {
        return;
    }
    if (texts.size() >= VALUES_MAX) {
        throw_refusal(optional_idx(), "PIVOT would make more than " + std::to_string(VALUES_MAX) +
                                          " columns: name those you want with IN (value, ..)");
    }
    texts.push_back(value.ToString());
}

/** Write the values that were found into a PIVOT that waits for them; false when none are its. */
static bool fill(PivotColumn &pivot, const std::vector<PivotValues> &values)
{
    for (auto &found : values) {
        if (!found.known || found.name != pivot.pivot_enum) {
            continue;
        }
        for (auto &text : found.texts) {
            PivotColumnEntry entry;
            entry.values.emplace_back(text);
            entry.alias = text;
            pivot.entries.push_back(std::move(entry));
        }
        pivot.pivot_enum.clear();
        return true;
    }
    return false;
}

void Step::Fill()
{
    /* One that is filled is forgotten: the query that it stands in runs next, and is gone then. */
    pivots.erase(std::remove_if(pivots.begin(), pivots.end(),
                                [this](PivotColumn *pivot) { return fill(*pivot, values); }),
                 pivots.end());
}

} // namespace lake
