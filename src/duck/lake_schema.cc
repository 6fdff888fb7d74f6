/*
 * A namespace of the lake as one of DuckDB's schemas: it finds tables by name, lists them, and
 * refuses everything that would change it.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/catalog/catalog_transaction.hpp"
#include "duckdb/common/string_util.hpp"

#include <algorithm>

using namespace duckdb;

namespace lake {

namespace {

struct Name {
    string ns, name;
    bool is_view;
};

/** Every table and view of the lake. */
std::vector<Name> all_names(ClientContext &context)
{
    ScopedArena scratch;
    struct duck_table *tables;
    size_t count;
    list_tables(context, scratch.arena, tables, count);
    std::vector<Name> names;
    for (size_t i = 0; i < count; i++) {
        if (tables[i].name.len > 0) {
            names.push_back({ lake::to_string(tables[i].ns), lake::to_string(tables[i].name),
                              tables[i].is_view });
        }
    }
    return names;
}

/** The names most like the wanted one, best first, three at most. */
string near_misses(ClientContext &context, const string &ns, const string &table)
{
    constexpr double LIKE_ENOUGH = 0.6; /* chosen, not measured */
    std::vector<std::pair<double, string>> found;
    auto wanted = StringUtil::Lower(table);
    for (auto &known : all_names(context)) {
        auto name = spelled(known.ns, known.name);
        double score = known.ns == ns || ns == DEFAULT_NAMESPACE
                           ? StringUtil::SimilarityRating(StringUtil::Lower(known.name), wanted)
                           : StringUtil::SimilarityRating(StringUtil::Lower(name),
                                                          StringUtil::Lower(spelled(ns, table)));
        if (score >= LIKE_ENOUGH) {
            found.emplace_back(-score, name);
        }
    }
    std::sort(found.begin(), found.end());
    string text;
    for (idx_t i = 0; i < found.size() && i < 3; i++) {
        text += (i == 0                                      ? "; did you mean \""
                 : i + 1 == std::min<idx_t>(found.size(), 3) ? " or \""
                                                             : ", \"") +
                found[i].second + "\"";
    }
    return text.empty() ? "; SHOW TABLES lists those that do" : text + "?";
}

} // namespace

string spelled(const string &ns, const string &table)
{
    return ns == DEFAULT_NAMESPACE ? table : ns + "." + table;
}

bool is_reserved_table(const string &ns, const string &table)
{
    auto lower = StringUtil::Lower(table);
    return ns == DEFAULT_NAMESPACE &&
           (StringUtil::StartsWith(lower, "duckdb_") || StringUtil::StartsWith(lower, "sqlite_") ||
            StringUtil::StartsWith(lower, "pragma_"));
}

optional_ptr<CatalogEntry> LakeSchema::LookupEntry(CatalogTransaction transaction,
                                                   const EntryLookupInfo &lookup)
{
    if (lookup.GetCatalogType() != CatalogType::TABLE_ENTRY &&
        lookup.GetCatalogType() != CatalogType::VIEW_ENTRY) {
        return nullptr;
    }
    if (!transaction.HasContext() || is_reserved_table(name, lookup.GetEntryName())) {
        return nullptr;
    }
    auto &context = transaction.GetContext();
    auto &ours = transaction.transaction->Cast<LakeTransaction>();
    auto &table = lookup.GetEntryName();
    auto position = lookup.GetErrorContext().query_location;
    auto found = ours.Entry(context, *this, table, true, lookup.GetAtClause(), position);
    if (!found && !SessionState::Of(context)->trusted) {
        /* The guard has qualified every name, so there is no other place where DuckDB would look,
         * and its own advice names its own views. */
        throw_status(E_NOT_FOUND,
                     "table \"" + spelled(name, table) + "\" does not exist" +
                         near_misses(context, name, table),
                     position);
    }
    return found.get();
}

void LakeSchema::Scan(ClientContext &context, CatalogType wanted, const ScanCallback &callback)
{
    /* As in DuckDB's own schemas both kinds come under either: who asks looks at what it gets. */
    if (wanted != CatalogType::TABLE_ENTRY && wanted != CatalogType::VIEW_ENTRY) {
        return;
    }
    auto &transaction = Transaction::Get(context, catalog).Cast<LakeTransaction>();
    for (auto &table : all_names(context)) {
        if (table.ns != name) {
            continue;
        }
        /* A table that was dropped since it was listed is not there any more, that is all. */
        auto entry = transaction.Listed(context, *this, table.name, table.is_view);
        if (entry) {
            callback(*entry);
        }
    }
}

void LakeSchema::Scan(CatalogType, const ScanCallback &)
{
    /* Without a connection there is no session to ask. */
}

/** DuckDB asks for names like a missing one; ours are told where the miss is found. */
SimilarCatalogEntry LakeSchema::GetSimilarEntry(CatalogTransaction, const EntryLookupInfo &)
{
    return SimilarCatalogEntry();
}

LakeSchema::Entry LakeSchema::CreateIndex(CatalogTransaction, CreateIndexInfo &,
                                          TableCatalogEntry &)
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
