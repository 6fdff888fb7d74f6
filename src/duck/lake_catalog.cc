/*
 * The catalogue `lake`: DuckDB's names become questions to the session's duck_lake.
 *
 *      bind `FROM ns.t AT (..)`  ->  LakeCatalog::LookupSchema  ->  LakeSchema::LookupEntry  ->
 *      LakeTransaction::Entry  ->  duck_lake.resolve
 *
 * A transaction (here: one statement) asks for each name once and keeps the answer, hits and misses
 * alike, so that a statement sees one snapshot of a table however often it names it. Two
 * scans of duckdb_tables() may ask from two threads; its lock is not held while the lake is asked.
 *
 * Writing is not implemented on this class yet: every hook for it refuses.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/catalog/catalog_transaction.hpp"
#include "duckdb/common/reference_map.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/storage/database_size.hpp"
#include "duckdb/storage/storage_extension.hpp"

#include <set>

using namespace duckdb;

namespace lake {

void refuse_write(const char *what)
{
    throw_refusal(optional_idx(),
                  string(what) + " is not possible here: data comes in through POST /v1/ingest");
}

void list_tables(ClientContext &context, struct arena &arena, struct duck_table *&tables,
                 size_t &count)
{
    auto session = SessionState::Of(context);
    tables = nullptr;
    count = 0;
    if (!session || !session->tables || !session->tables->list) {
        return;
    }
    struct err err = {};
    if (session->tables->list(session->tables->ctx, &arena, &tables, &count, &err) != OK) {
        throw_err(err);
    }
}

/* --- the transaction: what this statement has resolved --- */

LakeTransaction::LakeTransaction(TransactionManager &owner, ClientContext &asker)
    : Transaction(owner, asker)
{}

LakeTransaction::~LakeTransaction() = default;

LakeSchema &LakeTransaction::Schema(Catalog &catalog, const string &ns)
{
    std::lock_guard<std::mutex> guard(lock);
    auto &slot = schemas[ns];
    if (!slot) {
        CreateSchemaInfo info;
        info.schema = ns;
        slot = make_uniq<LakeSchema>(catalog, info);
    }
    return *slot;
}

optional_ptr<CatalogEntry> LakeTransaction::Entry(ClientContext &asker, LakeSchema &schema,
                                                  const string &name, bool want_files,
                                                  optional_ptr<BoundAtClause> clause,
                                                  optional_idx position, const ViewChain *above)
{
    AtKey at = AtKey::From(clause);
    Key key(schema.name, name, at.kind, at.text);
    {
        std::lock_guard<std::mutex> guard(lock);
        auto known = tables.find(key);
        if (known != tables.end()) {
            return known->second.get();
        }
        auto view = views.find(key);
        if (view != views.end()) {
            view->second->CheckDepth(above);
            return view->second.get();
        }
    }
    auto session = SessionState::Of(asker);
    const struct duck_table *found = nullptr;
    struct err err = {};
    enum status status = E_NOT_FOUND;
    if (session && session->tables) {
        struct duck_at when = at.Get();
        status = session->tables->resolve(session->tables->ctx, to_str(schema.name), to_str(name),
                                          &when, want_files, &found, &err);
    }
    if (status != OK && (status != E_NOT_FOUND || at.kind != DUCK_AT_CURRENT)) {
        throw_err(err, position);
    }
    if (status == OK && found->view) {
        if (at.kind != DUCK_AT_CURRENT) {
            throw_refusal(position, "\"" + name +
                                        "\" is a view, which AT cannot go back to: "
                                        "write AT behind the tables of its query");
        }
        auto view = LakeView::Make(asker, *this, schema, *found, want_files, above);
        std::lock_guard<std::mutex> guard(lock);
        return views.emplace(std::move(key), std::move(view)).first->second.get();
    }
    auto table = status == OK ? LakeTable::Make(asker, schema, found, want_files, std::move(at))
                              : nullptr;
    std::lock_guard<std::mutex> guard(lock);
    return tables.emplace(std::move(key), std::move(table)).first->second.get();
}

optional_ptr<CatalogEntry> LakeTransaction::Listed(ClientContext &asker, LakeSchema &schema,
                                                   const string &name, bool is_view)
{
    if (!is_view) {
        return Entry(asker, schema, name, false);
    }
    try {
        return Entry(asker, schema, name, false);
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &ex) {
        if (ErrorData(ex).Type() == ExceptionType::INTERRUPT) {
            throw;
        }
    }
    Key key(schema.name, name, -1, string()); /* no AT has that kind */
    std::lock_guard<std::mutex> guard(lock);
    auto &slot = views[key];
    if (!slot) {
        slot = LakeView::MakeListed(schema, name);
    }
    return slot.get();
}

namespace {

/* --- its manager: there is nothing to commit --- */

class LakeTransactionManager : public TransactionManager {
  public:
    explicit LakeTransactionManager(AttachedDatabase &attached) : TransactionManager(attached) {}
    Transaction &StartTransaction(ClientContext &context) override
    {
        auto transaction = make_uniq<LakeTransaction>(*this, context);
        auto &result = *transaction;
        std::lock_guard<std::mutex> guard(lock);
        running.emplace(&result, std::move(transaction));
        return result;
    }
    ErrorData CommitTransaction(ClientContext &, Transaction &transaction) override
    {
        End(transaction);
        return ErrorData();
    }
    void RollbackTransaction(Transaction &transaction) override { End(transaction); }
    void Checkpoint(ClientContext &, bool) override {}

  private:
    void End(Transaction &transaction)
    {
        unique_ptr<LakeTransaction> ended;
        std::lock_guard<std::mutex> guard(lock);
        auto entry = running.find(&transaction);
        if (entry != running.end()) {
            ended = std::move(entry->second);
            running.erase(entry);
        }
    }

    std::mutex lock;
    std::map<Transaction *, unique_ptr<LakeTransaction>> running; /* guarded by lock */
};

/* --- the catalogue --- */

class LakeCatalog : public Catalog {
  public:
    explicit LakeCatalog(AttachedDatabase &attached) : Catalog(attached) {}
    void Initialize(bool) override {}
    string GetCatalogType() override { return "lake"; }
    optional_ptr<SchemaCatalogEntry> LookupSchema(CatalogTransaction transaction,
                                                  const EntryLookupInfo &lookup,
                                                  OnEntryNotFound if_not_found) override;
    void ScanSchemas(ClientContext &context,
                     std::function<void(SchemaCatalogEntry &)> callback) override;
    CatalogLookupBehavior CatalogTypeLookupRule(CatalogType type) const override
    {
        return type == CatalogType::TABLE_ENTRY || type == CatalogType::VIEW_ENTRY
                   ? CatalogLookupBehavior::STANDARD
                   : CatalogLookupBehavior::NEVER_LOOKUP;
    }
    bool CheckAmbiguousCatalogOrSchema(ClientContext &, const string &) override { return false; }
    bool SupportsTimeTravel() const override { return true; }
    bool InMemory() override { return false; }
    string GetDBPath() override { return string(); }
    string GetDefaultSchema() const override { return DEFAULT_NAMESPACE; }
    DatabaseSize GetDatabaseSize(ClientContext &) override { return DatabaseSize(); }

    optional_ptr<CatalogEntry> CreateSchema(CatalogTransaction, CreateSchemaInfo &) override
    {
        refuse_write("CREATE SCHEMA");
    }
    void DropSchema(ClientContext &, DropInfo &) override { refuse_write("DROP SCHEMA"); }
    PhysicalOperator &PlanCreateTableAs(ClientContext &, PhysicalPlanGenerator &,
                                        LogicalCreateTable &, PhysicalOperator &) override
    {
        refuse_write("CREATE TABLE");
    }
    PhysicalOperator &PlanInsert(ClientContext &, PhysicalPlanGenerator &, LogicalInsert &,
                                 optional_ptr<PhysicalOperator>) override
    {
        refuse_write("INSERT");
    }
    using Catalog::PlanDelete;
    PhysicalOperator &PlanDelete(ClientContext &, PhysicalPlanGenerator &, LogicalDelete &,
                                 PhysicalOperator &) override
    {
        refuse_write("DELETE");
    }
    using Catalog::PlanUpdate;
    PhysicalOperator &PlanUpdate(ClientContext &, PhysicalPlanGenerator &, LogicalUpdate &,
                                 PhysicalOperator &) override
    {
        refuse_write("UPDATE");
    }
    PhysicalOperator &PlanMergeInto(ClientContext &, PhysicalPlanGenerator &, LogicalMergeInto &,
                                    PhysicalOperator &) override
    {
        refuse_write("MERGE");
    }
    unique_ptr<LogicalOperator> BindCreateIndex(Binder &, CreateStatement &, TableCatalogEntry &,
                                                unique_ptr<LogicalOperator>) override
    {
        refuse_write("CREATE INDEX");
    }
    unique_ptr<LogicalOperator> BindAlterAddIndex(Binder &, TableCatalogEntry &,
                                                  unique_ptr<LogicalOperator>,
                                                  unique_ptr<CreateIndexInfo>,
                                                  unique_ptr<AlterTableInfo>) override
    {
        refuse_write("ALTER TABLE");
    }
};

/**
 * Any name is a schema here: whether its table exists is asked at once anyway, and one question is
 * cheaper than two. The names of DuckDB's own schemas stay its own.
 */
optional_ptr<SchemaCatalogEntry> LakeCatalog::LookupSchema(CatalogTransaction transaction,
                                                           const EntryLookupInfo &lookup,
                                                           OnEntryNotFound if_not_found)
{
    auto &name = lookup.GetEntryName();
    if (name == "information_schema" || name == "pg_catalog") {
        if (if_not_found == OnEntryNotFound::THROW_EXCEPTION) {
            throw CatalogException(lookup.GetErrorContext(), "Schema \"%s\" is not in the lake",
                                   name);
        }
        return nullptr;
    }
    return &transaction.transaction->Cast<LakeTransaction>().Schema(*this, name);
}

void LakeCatalog::ScanSchemas(ClientContext &context,
                              std::function<void(SchemaCatalogEntry &)> callback)
{
    ScopedArena scratch;
    struct duck_table *tables;
    size_t count;
    list_tables(context, scratch.arena, tables, count);
    std::set<string> names = { DEFAULT_NAMESPACE };
    for (size_t i = 0; i < count; i++) {
        names.insert(to_string(tables[i].ns));
    }
    auto &transaction = Transaction::Get(context, *this).Cast<LakeTransaction>();
    for (auto &name : names) {
        callback(transaction.Schema(*this, name));
    }
}

/* --- the extension point: ATTACH .. (TYPE lake) --- */

struct LakeStorageInfo : public StorageExtensionInfo {
    std::atomic<bool> sealed{ false };
};

unique_ptr<Catalog> attach(optional_ptr<StorageExtensionInfo> info, ClientContext &,
                           AttachedDatabase &db, const string &, AttachInfo &, AttachOptions &)
{
    if (static_cast<LakeStorageInfo &>(*info).sealed.load(std::memory_order_acquire)) {
        throw_refusal(optional_idx(),
                      "ATTACH is not allowed here: all tables are in the lake already");
    }
    return make_uniq<LakeCatalog>(db);
}

unique_ptr<TransactionManager> make_manager(optional_ptr<StorageExtensionInfo>,
                                            AttachedDatabase &db, Catalog &)
{
    return make_uniq<LakeTransactionManager>(db);
}

} // namespace

void register_lake_catalog(DatabaseInstance &db)
{
    auto extension = make_shared_ptr<StorageExtension>();
    extension->attach = attach;
    extension->create_transaction_manager = make_manager;
    extension->storage_info = make_shared_ptr<LakeStorageInfo>();
    StorageExtension::Register(DBConfig::GetConfig(db), "lake", std::move(extension));
}

void seal_lake_catalog(DatabaseInstance &db)
{
    auto extension = StorageExtension::Find(DBConfig::GetConfig(db), "lake");
    static_cast<LakeStorageInfo &>(*extension->storage_info)
        .sealed.store(true, std::memory_order_release);
}

} // namespace lake
