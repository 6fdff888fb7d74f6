/*
 * Iceberg's bucket transform as functions of SQL, `__lake_bucket_<kind>(n, x)`: long (whole
 * numbers, and moments as their number), text, bytes, and decimal, of its text. They read nothing
 * but their arguments, so a client may call them too.
 *
 * Source: Apache Iceberg, table specification, "Bucket Transform Details" and appendix B.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/catalog/catalog_transaction.hpp"
#include "duckdb/common/vector_operations/binary_executor.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/parser/parsed_data/create_scalar_function_info.hpp"

extern "C" {
#include "base/murmur3.h"
}

using namespace duckdb;

namespace lake {

namespace {

int32_t bucket_of(int32_t count, struct str bytes)
{
    if (count < 1) {
        throw_status(E_INVALID, "a table has at least one bucket");
    }
    return (int32_t)((murmur3_32(bytes) & 0x7fffffffu) % (uint32_t)count);
}

int32_t bucket_long(int32_t count, int64_t value)
{
    char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)((uint64_t)value >> (8 * i));
    }
    return bucket_of(count, str_from(bytes, sizeof(bytes)));
}

int32_t bucket_text(int32_t count, string_t text)
{
    return bucket_of(count, str_from(text.GetData(), text.GetSize()));
}

/** The unscaled number in as few bytes as it needs, the highest first. */
int32_t bucket_decimal(int32_t count, string_t text)
{
    unsigned __int128 number = 0;
    bool negative = false;
    for (idx_t i = 0; i < text.GetSize(); i++) {
        char c = text.GetData()[i];
        negative = negative || c == '-';
        if (c >= '0' && c <= '9') {
            number = number * 10 + (unsigned)(c - '0');
        }
    }
    number = negative ? -number : number;
    char bytes[16];
    for (int i = 0; i < 16; i++) {
        bytes[15 - i] = (char)(number >> (8 * i));
    }
    size_t from = 0;
    char fill = negative ? (char)0xff : (char)0;
    while (from < 15 && bytes[from] == fill && (bytes[from + 1] & 0x80) == (fill & 0x80)) {
        from++;
    }
    return bucket_of(count, str_from(bytes + from, sizeof(bytes) - from));
}

template <class ARG, int32_t (*BUCKET)(int32_t, ARG)>
void run(DataChunk &args, ExpressionState &, Vector &result)
{
    BinaryExecutor::Execute<int32_t, ARG, int32_t>(args.data[0], args.data[1], result, args.size(),
                                                   BUCKET);
}

void add(DatabaseInstance &db, CatalogTransaction transaction, const char *name, LogicalType type,
         scalar_function_t function)
{
    ScalarFunction scalar(name, { LogicalType::INTEGER, std::move(type) }, LogicalType::INTEGER,
                          std::move(function));
    scalar.SetFallible();
    CreateScalarFunctionInfo info(scalar);
    info.internal = true;
    info.on_conflict = OnCreateConflict::ALTER_ON_CONFLICT;
    Catalog::GetSystemCatalog(db).CreateFunction(transaction, info);
}

} // namespace

void register_bucket_functions(DatabaseInstance &db)
{
    auto transaction = CatalogTransaction::GetSystemTransaction(db);
    add(db, transaction, "__lake_bucket_long", LogicalType::BIGINT, run<int64_t, bucket_long>);
    add(db, transaction, "__lake_bucket_text", LogicalType::VARCHAR, run<string_t, bucket_text>);
    add(db, transaction, "__lake_bucket_bytes", LogicalType::BLOB, run<string_t, bucket_text>);
    add(db, transaction, "__lake_bucket_decimal", LogicalType::VARCHAR,
        run<string_t, bucket_decimal>);
}

} // namespace lake
