/*
 * text_value.h as SQL, for our own statements: `__lake_text_fits(x)` is the sum of the types that a
 * text fits, `__lake_text_<type>(x)` its value, or the error DUCK_TEXT_MISFIT, which ends the
 * statement. NULL stays NULL. The guard denies them to everybody else by their prefix.
 */
#include "duck/duck_priv.hpp"

#include "duck/text_value.h"
#include "duckdb/common/vector_operations/unary_executor.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/parser/parsed_data/create_scalar_function_info.hpp"

using namespace duckdb;

namespace lake {

namespace {

inline struct str text_of(const string_t &text)
{
    return str_from(text.GetData(), text.GetSize());
}

void fits(DataChunk &args, ExpressionState &, Vector &result)
{
    UnaryExecutor::Execute<string_t, uint32_t>(
        args.data[0], result, args.size(),
        [](string_t text) { return (uint32_t)text_fits(text_of(text)); });
}

template <class VALUE, class RAW, bool (*CONVERT)(struct str, RAW *)>
void value(DataChunk &args, ExpressionState &, Vector &result)
{
    UnaryExecutor::Execute<string_t, VALUE>(args.data[0], result, args.size(), [](string_t text) {
        RAW raw;
        if (!CONVERT(text_of(text), &raw)) {
            throw_status(E_INVALID, DUCK_TEXT_MISFIT);
        }
        return VALUE(raw);
    });
}

void add(DatabaseInstance &db, CatalogTransaction transaction, const char *name, LogicalType type,
         scalar_function_t function)
{
    ScalarFunction scalar(string(DUCK_TEXT_FUNCTIONS) + name, { LogicalType::VARCHAR },
                          std::move(type), std::move(function));
    scalar.SetFallible();
    CreateScalarFunctionInfo info(scalar);
    info.internal = true;
    Catalog::GetSystemCatalog(db).CreateFunction(transaction, info);
}

} // namespace

void register_text_functions(DatabaseInstance &db)
{
    auto transaction = CatalogTransaction::GetSystemTransaction(db);
    add(db, transaction, "fits", LogicalType::UINTEGER, fits);
    add(db, transaction, "int", LogicalType::INTEGER, value<int32_t, int32_t, text_to_int>);
    add(db, transaction, "long", LogicalType::BIGINT, value<int64_t, int64_t, text_to_long>);
    add(db, transaction, "double", LogicalType::DOUBLE, value<double, double, text_to_double>);
    add(db, transaction, "boolean", LogicalType::BOOLEAN, value<bool, bool, text_to_boolean>);
    add(db, transaction, "date", LogicalType::DATE, value<date_t, int32_t, text_to_date>);
    add(db, transaction, "timestamp", LogicalType::TIMESTAMP,
        value<timestamp_t, int64_t, text_to_timestamp>);
    add(db, transaction, "timestamptz", LogicalType::TIMESTAMP_TZ,
        value<timestamp_t, int64_t, text_to_timestamptz>);
}

} // namespace lake
