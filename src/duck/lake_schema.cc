/*
 * A namespace of the lake as one of DuckDB's schemas: it finds tables by name, lists them, and refuses everything that would change it.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/catalog/catalog_transaction.hpp"
#include "duckdb/common/string_util.hpp"

using namespace duckdb;

namespace lake {

namespace {

/** The names of this namespace's tables. */
vector<string> table_names(ClientContext &context, const string &ns)
{
    ScopedArena scratch;
    struct duck_table *tables;
    size_t count;
    list_tables(context, scratch.arena, tables, count);
    vector<string> names;
    for (size_t i = 0; i < count; i++) {
        if (tables[i].name.len > 0 && str_eq(tables[i].ns, to_str(ns))) {
            names.push_back(to_string(tables[i].name));
        }
    }
    return names;
}

} // namespace

bool is_reserved_table(const string &ns, const string &table)
{
    auto lower = StringUtil::Lower(table);
    return ns == DEFAULT_NAMESPACE && (StringUtil::StartsWith(lower, "duckdb_") || StringUtil::StartsWith(lower, "sqlite_") ||
                                       StringUtil::StartsWith(lower, "pragma_"));
}

optional_ptr<CatalogEntry> LakeSchema::LookupEntry(CatalogTransaction transaction, const EntryLookupInfo &lookup)
{
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY && lookup.GetCatalogType() != CatalogType::VIEW_ENTRY) {
        return nullptr;
    }
    if (!transaction.HasContext() || is_reserved_table(name, lookup.GetEntryName())) {
        return nullptr;
    }
    auto &ours = transaction.transaction->Cast<LakeTransaction>();
    return ours.Table(transaction.GetContext(), *this, lookup.GetEntryName(), true, lookup.GetAtClause()).get();
}

void LakeSchema::Scan(ClientContext &context, CatalogType wanted, const ScanCallback &callback)
{
    if (wanted != CatalogType::TABLE_ENTRY) {
        return;
    }
    auto &transaction = Transaction::Get(context, catalog).Cast<LakeTransaction>();
    for (auto &table : table_names(context, name)) {
        /* A table that was dropped since it was listed is not there any more, that is all. */
        auto entry = transaction.Table(context, *this, table, false, nullptr);
        if (entry) {
            callback(*entry);
        }
    }
}

void LakeSchema::Scan(CatalogType, const ScanCallback &)
{
    /* Without a connection there is no session to ask. */
}

/** "Did you mean": by names alone, no table is resolved for it. */
SimilarCatalogEntry LakeSchema::GetSimilarEntry(CatalogTransaction transaction, const EntryLookupInfo &lookup)
{
    SimilarCatalogEntry best;
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY || !transaction.HasContext()) {
        return best;
    }
    for (auto &table : table_names(transaction.GetContext(), name)) {
        double score = StringUtil::SimilarityRating(table, lookup.GetEntryName());
        if (score > best.score) {
            best.score = score;
            best.name = table;
            best.schema = this;
        }
    }
    return best;
}

LakeSchema::Entry LakeSchema::CreateIndex(CatalogTransaction, CreateIndexInfo &, TableCatalogEntry &)
{
    refuse_write("CREATE INDEX");
}
LakeSchema::Entry LakeSchema::CreateFunction(CatalogTransaction, CreateFunctionInfo &)
{
    refuse_write("CREATE FUNCTION");
}
LakeSchema::Entry LakeSchema::CreateTable(CatalogTransaction, BoundCreateTableInfo &)
{
    refuse_write("CREATE TABLE");
}
LakeSchema::Entry LakeSchema::CreateView(CatalogTransaction, CreateViewInfo &)
{
    refuse_write("CREATE VIEW");
}
LakeSchema::Entry LakeSchema::CreateSequence(CatalogTransaction, CreateSequenceInfo &)
{
    refuse_write("CREATE SEQUENCE");
}
LakeSchema::Entry LakeSchema::CreateTableFunction(CatalogTransaction, CreateTableFunctionInfo &)
{
    refuse_write("CREATE FUNCTION");
}
LakeSchema::Entry LakeSchema::CreateCopyFunction(CatalogTransaction, CreateCopyFunctionInfo &)
{
    refuse_write("CREATE FUNCTION");
}
LakeSchema::Entry LakeSchema::CreatePragmaFunction(CatalogTransaction, CreatePragmaFunctionInfo &)
{
    refuse_write("CREATE FUNCTION");
}
LakeSchema::Entry LakeSchema::CreateCollation(CatalogTransaction, CreateCollationInfo &)
{
    refuse_write("CREATE COLLATION");
}
LakeSchema::Entry LakeSchema::CreateType(CatalogTransaction, CreateTypeInfo &)
{
    refuse_write("CREATE TYPE");
}
void LakeSchema::DropEntry(ClientContext &, DropInfo &)
{
    refuse_write("DROP");
}
void LakeSchema::Alter(CatalogTransaction, AlterInfo &)
{
    refuse_write("ALTER");
}

} // namespace lake
