/*
 * What the files of this folder share: the state that a session carries through DuckDB, and the
 * classes that stand where DuckDB lets an engine be extended. C++ and DuckDB types stay in this
 * folder; the door is duck.h.
 */
#ifndef DUCK_DUCK_PRIV_HPP
#define DUCK_DUCK_PRIV_HPP

#include "duckdb.hpp"
#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/view_catalog_entry.hpp"
#include "duckdb/common/file_system.hpp"
#include "duckdb/common/multi_file/multi_file_list.hpp"
#include "duckdb/common/multi_file/multi_file_reader.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/client_context_state.hpp"
#include "duckdb/main/query_result.hpp"
#include "duckdb/parser/sql_statement.hpp"
#include "duckdb/transaction/transaction.hpp"
#include "duckdb/transaction/transaction_manager.hpp"

namespace duckdb {
struct PivotColumn;
}

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

extern "C" {
#include "base/json.h"
#include "duck/duck.h"
}

namespace lake {

using duckdb::idx_t;
using duckdb::string;

inline struct str to_str(const string &text)
{
    return str_from(text.data(), text.size());
}
inline string to_string(struct str text)
{
    return text.len == 0 ? string() : string(text.ptr, text.len);
}

/** An arena that an exception does not leak. */
struct ScopedArena {
    struct arena arena;
    ScopedArena() { arena_init(&arena, 0); }
    ~ScopedArena() { arena_done(&arena); }
    ScopedArena(const ScopedArena &) = delete;
    ScopedArena &operator=(const ScopedArena &) = delete;
};

/* --- errors (error.cc) --- */

/** Leaves by exception, with the kind riding along, so that error_out finds it again on the other
 * side of DuckDB. */
[[noreturn]] void throw_status(enum status kind, const string &message,
                               duckdb::optional_idx position = duckdb::optional_idx());
[[noreturn]] void throw_err(const struct err &err,
                            duckdb::optional_idx position = duckdb::optional_idx());
/** The guard's refusals: E_INVALID at a byte offset of the statement. */
[[noreturn]] void throw_refusal(duckdb::optional_idx position, const string &message);
/** The exception or result that DuckDB hands over, as our kind and message; `sql` gives the
 * position its line and column. */
enum status error_out(const duckdb::ErrorData &error, const string &sql, struct err *err);

/** Run `body`; whatever it throws becomes a status. Every function of duck.h goes through here. */
template <class BODY> enum status fenced(const string &sql, struct err *err, BODY body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return err_set(err, E_NO_MEMORY, "not enough memory for this statement");
    } catch (const std::exception &ex) {
        try {
            return error_out(duckdb::ErrorData(ex), sql, err);
        } catch (...) {
            return err_set(err, E_NO_MEMORY, "not enough memory to report an error");
        }
    } catch (...) {
        return err_set(err, E_INTERNAL, "an unknown exception left DuckDB");
    }
}

/* --- who asks: the state of a session, found by its connection (session.cc) --- */

struct SessionState : public duckdb::ClientContextState {
    static constexpr const char *KEY = "lakehouse";

    const struct duck_lake *tables = nullptr;
    const struct duck_files *files = nullptr;
    const struct duck_vectors *vectors = nullptr;
    bool trusted = false;
    string sink; /* the one path that a client's statement writes its answer to; empty: none */
    /* the view that it makes, as `spelled`: no view that it names may be made of it */
    string makes_view;
    bool gathers = false; /* its rows go into the temporary table of a statement that writes */
    /* what the first of the statement's threads failed with, kept while the executor goes away */
    duckdb::ErrorData first_error;

    static duckdb::shared_ptr<SessionState> Of(duckdb::ClientContext &context);
};

/* --- bytes (file_system.cc) --- */

duckdb::unique_ptr<duckdb::FileSystem> make_file_system();

/* --- names (lake_catalog.cc, lake_schema.cc) --- */

constexpr const char *CATALOG_NAME = "lake";
constexpr const char *DEFAULT_NAMESPACE = "main";

/** Registers the catalogue class under the ATTACH type `lake`; sealed after `seal_lake_catalog`. */
void register_lake_catalog(duckdb::DatabaseInstance &db);
void seal_lake_catalog(duckdb::DatabaseInstance &db);

class LakeSchema;
class LakeTable;
class LakeView;

/** The views in whose texts a name stands, from the innermost out. */
struct ViewChain {
    const ViewChain *above;
    string name; /* as SQL spells it */
    unsigned depth;
};

/** Owns every schema and table that the statement named: names are resolved once, and stay as they
 * were. */
class LakeTransaction : public duckdb::Transaction {
  public:
    LakeTransaction(duckdb::TransactionManager &owner, duckdb::ClientContext &asker);
    ~LakeTransaction() override;

    LakeSchema &Schema(duckdb::Catalog &catalog, const string &ns);
    /** A LakeTable or a LakeView; NULL when the lake has none of that name. `position` in the
     * statement is for errors; `above`: it is a view's text that names it. */
    duckdb::optional_ptr<duckdb::CatalogEntry> Entry(
        duckdb::ClientContext &asker, LakeSchema &schema, const string &name, bool want_files,
        duckdb::optional_ptr<duckdb::BoundAtClause> clause = nullptr,
        duckdb::optional_idx position = duckdb::optional_idx(), const ViewChain *above = nullptr);

    /** The same for a list: a view that cannot be read is there by its name. */
    duckdb::optional_ptr<duckdb::CatalogEntry> Listed(duckdb::ClientContext &asker,
                                                      LakeSchema &schema, const string &name,
                                                      bool is_view);

  private:
    using Key = std::tuple<string, string, int, string>;
    std::mutex lock;
    std::map<string, duckdb::unique_ptr<LakeSchema>> schemas; /* guarded by lock */
    /* guarded by lock; NULL: known to be missing */
    std::map<Key, duckdb::shared_ptr<LakeTable>> tables;
    std::map<Key, duckdb::unique_ptr<LakeView>> views; /* guarded by lock */
};

class LakeSchema : public duckdb::SchemaCatalogEntry {
  public:
    LakeSchema(duckdb::Catalog &owner, duckdb::CreateSchemaInfo &info)
        : SchemaCatalogEntry(owner, info)
    {}

    using ScanCallback = std::function<void(duckdb::CatalogEntry &)>;
    void Scan(duckdb::ClientContext &context, duckdb::CatalogType wanted,
              const ScanCallback &callback) override;
    void Scan(duckdb::CatalogType type, const ScanCallback &callback) override;
    duckdb::optional_ptr<duckdb::CatalogEntry> LookupEntry(
        duckdb::CatalogTransaction transaction, const duckdb::EntryLookupInfo &lookup) override;
    duckdb::SimilarCatalogEntry GetSimilarEntry(duckdb::CatalogTransaction transaction,
                                                const duckdb::EntryLookupInfo &lookup) override;

    using Entry = duckdb::optional_ptr<duckdb::CatalogEntry>;
    Entry CreateIndex(duckdb::CatalogTransaction, duckdb::CreateIndexInfo &,
                      duckdb::TableCatalogEntry &) override;
    Entry CreateFunction(duckdb::CatalogTransaction, duckdb::CreateFunctionInfo &) override;
    Entry CreateTable(duckdb::CatalogTransaction, duckdb::BoundCreateTableInfo &) override;
    Entry CreateView(duckdb::CatalogTransaction, duckdb::CreateViewInfo &) override;
    Entry CreateSequence(duckdb::CatalogTransaction, duckdb::CreateSequenceInfo &) override;
    Entry CreateTableFunction(duckdb::CatalogTransaction,
                              duckdb::CreateTableFunctionInfo &) override;
    Entry CreateCopyFunction(duckdb::CatalogTransaction, duckdb::CreateCopyFunctionInfo &) override;
    Entry CreatePragmaFunction(duckdb::CatalogTransaction,
                               duckdb::CreatePragmaFunctionInfo &) override;
    Entry CreateCollation(duckdb::CatalogTransaction, duckdb::CreateCollationInfo &) override;
    Entry CreateType(duckdb::CatalogTransaction, duckdb::CreateTypeInfo &) override;
    void DropEntry(duckdb::ClientContext &, duckdb::DropInfo &) override;
    void Alter(duckdb::CatalogTransaction, duckdb::AlterInfo &) override;
};

/**
 * Names in `main` that DuckDB's own views have. Its SHOW and its information_schema ask for them
 * without saying where, and would find a table of the lake before them.
 */
bool is_reserved_table(const string &ns, const string &table);
/** "t" of the default namespace, else "ns.t". */
string spelled(const string &ns, const string &table);
/** What the lake answers to every attempt to write through its catalogue. */
[[noreturn]] void refuse_write(const char *what);
/** All names of the lake, in `arena`. */
void list_tables(duckdb::ClientContext &context, struct arena &arena, struct duck_table *&tables,
                 size_t &count);

/* --- tables and their scans (lake_table.cc, lake_scan.cc, lake_files.cc) --- */

/** An AT clause, with the texts that `at` borrows. */
struct AtKey {
    int kind = DUCK_AT_CURRENT;
    string text; /* the version, or the milliseconds in decimal */

    static AtKey From(duckdb::optional_ptr<duckdb::BoundAtClause> clause);
    struct duck_at Get() const;
};

struct GoneTable;
class GoneRows;

/** The rows that a table's delete files take away (lake_deletes.cc). */
class Deletes {
  public:
    explicit Deletes(const struct duck_table &table);
    ~Deletes();
    /**
     * What the scan of a data file has to look at; NULL: all of its rows are there. Reads what it
     * needs, on the caller's thread; several may ask at once.
     */
    duckdb::unique_ptr<duckdb::DeleteFilter> FilterOf(duckdb::ClientContext &context, uint32_t file,
                                                      bool has_ids);

  private:
    bool Counts(const struct duck_delete_file &deletes, uint32_t file) const;
    GoneRows &RowsOf(uint32_t file);
    void ReadPositions(duckdb::ClientContext &context, size_t index);
    void ReadEqual(duckdb::ClientContext &context, const std::vector<size_t> &group, uint32_t file);
    void ReadValues(duckdb::ClientContext &context, uint32_t file, bool has_ids);

    const struct duck_table &table;             /* with files; lives as long as the session */
    const duckdb::shared_ptr<GoneTable> gone;   /* this statement's, or shared with others */
    std::unordered_map<string, uint32_t> paths; /* guarded by gone->lock; of the data files */
};

class LakeTable : public duckdb::TableCatalogEntry,
                  public duckdb::enable_shared_from_this<LakeTable> {
  public:
    LakeTable(duckdb::Catalog &catalog, duckdb::SchemaCatalogEntry &schema,
              duckdb::CreateTableInfo &create, duckdb::shared_ptr<SessionState> session,
              const struct duck_table *table, AtKey at);

    static duckdb::shared_ptr<LakeTable> Make(duckdb::ClientContext &context, LakeSchema &schema,
                                              const struct duck_table *table, bool has_files,
                                              AtKey at);

    using duckdb::TableCatalogEntry::GetScanFunction;
    duckdb::unique_ptr<duckdb::BaseStatistics> GetStatistics(duckdb::ClientContext &,
                                                             duckdb::column_t) override;
    duckdb::TableFunction GetScanFunction(
        duckdb::ClientContext &context,
        duckdb::unique_ptr<duckdb::FunctionData> &bind_data) override;
    duckdb::TableStorageInfo GetStorageInfo(duckdb::ClientContext &context) override;
    duckdb::virtual_column_map_t GetVirtualColumns() const override;
    duckdb::vector<duckdb::column_t> GetRowIdColumns() const override;

    /** The same table with its files. */
    const struct duck_table &WithFiles();
    /** Of the files; NULL where there are none. */
    Deletes *DeletesOf();
    /** The columns with their field ids, for the mapping of files. */
    const duckdb::vector<duckdb::MultiFileColumnDefinition> &Fields() const { return fields; }
    const struct duck_table &Info() const { return *table; }

  private:
    duckdb::shared_ptr<SessionState> session;
    const struct duck_table *table; /* lives as long as the session */
    const struct duck_table *with_files = nullptr;
    std::once_flag deletes_once;
    duckdb::unique_ptr<Deletes> deletes;
    AtKey at;
    duckdb::vector<duckdb::MultiFileColumnDefinition> fields;
};

/* --- views (lake_view.cc) --- */

/**
 * A view: DuckDB binds its query where the view's name stands. The text was parsed and guarded when
 * the statement named it, with all that it names in turn, so it is of the statement's moment.
 */
class LakeView : public duckdb::ViewCatalogEntry {
  public:
    LakeView(duckdb::Catalog &owner, duckdb::SchemaCatalogEntry &holder,
             duckdb::CreateViewInfo &create);

    /** Throws what is wrong with it: E_INVALID names the view, and the dialect of its text. */
    static duckdb::unique_ptr<LakeView> Make(duckdb::ClientContext &context,
                                             LakeTransaction &transaction, LakeSchema &schema,
                                             const struct duck_table &found, bool want_files,
                                             const ViewChain *above);
    /** One that is only listed: its text may be anything. */
    static duckdb::unique_ptr<LakeView> MakeListed(LakeSchema &schema, const string &name);
    /** May it stand below `above`? Throws when that is too deep. */
    void CheckDepth(const ViewChain *above) const;
    void BindView(duckdb::ClientContext &context, duckdb::BindViewAction action) override;

  private:
    unsigned depth = 1;  /* views below one another, this one included */
    unsigned weight = 1; /* tables and views that its text becomes */
};

/** The type that SQL text names. */
duckdb::LogicalType type_of(duckdb::ClientContext &context, struct str sql_type);
/** The virtual columns by which DuckDB finds a row again (late materialisation). */
duckdb::virtual_column_map_t row_id_columns();
duckdb::TableFunction make_scan(duckdb::ClientContext &context, duckdb::shared_ptr<LakeTable> table,
                                duckdb::unique_ptr<duckdb::FunctionData> &bind_data);

/** The scan of a table that has rows and no files (lake_rows.cc). */
duckdb::TableFunction make_row_scan(duckdb::shared_ptr<LakeTable> table,
                                    duckdb::unique_ptr<duckdb::FunctionData> &bind_data);

/** The path by which a file is opened; delete files come behind the data files. */
string path_of_file(const struct duck_table &table, idx_t i);

/**
 * The files of one scan. A pruned list keeps the ordinals of the whole one: late materialisation
 * joins two scans of a table on them, and they need not have been pruned alike.
 */
class LakeFileList : public duckdb::MultiFileList {
  public:
    explicit LakeFileList(duckdb::shared_ptr<LakeTable> table);
    LakeFileList(duckdb::shared_ptr<LakeTable> table, duckdb::vector<uint32_t> kept);

    duckdb::vector<duckdb::OpenFileInfo> GetAllFiles() const override;
    duckdb::FileExpandResult GetExpandResult() const override;
    idx_t GetTotalFileCount() const override;
    duckdb::unique_ptr<duckdb::NodeStatistics> GetCardinality(
        duckdb::ClientContext &context) const override;
    duckdb::unique_ptr<duckdb::MultiFileList> Copy() const override;
    duckdb::unique_ptr<duckdb::MultiFileList> ComplexFilterPushdown(
        duckdb::ClientContext &context, const duckdb::MultiFileOptions &options,
        duckdb::MultiFilePushdownInfo &push,
        duckdb::vector<duckdb::unique_ptr<duckdb::Expression>> &filters) const override;
    duckdb::unique_ptr<duckdb::MultiFileList> DynamicFilterPushdown(
        duckdb::ClientContext &context, const duckdb::MultiFileOptions &options,
        const duckdb::vector<string> &names, const duckdb::vector<duckdb::LogicalType> &types,
        const duckdb::vector<duckdb::column_t> &column_ids,
        duckdb::TableFilterSet &filters) const override;

    const duckdb::vector<uint32_t> &Kept() const { return kept; }
    /** Some rows of the files may be gone, which only their scan tells. */
    bool HasDeletes() const { return info.delete_count > 0; }
    /** Rows in the kept files; false when a file's count is unknown. */
    bool RowCount(idx_t &out) const;
    const struct duck_table_file &File(idx_t i) const;
    static uint32_t OrdinalOf(const duckdb::OpenFileInfo &file);

  protected:
    duckdb::OpenFileInfo GetFile(idx_t i) const override;

  private:
    duckdb::shared_ptr<LakeTable> table;
    const struct duck_table &info;
    duckdb::vector<uint32_t> kept; /* ordinals in info.files, ascending */
};

/** Maps the columns of each file to the table's: by field id, or by name where a file has none. */
class LakeReader : public duckdb::MultiFileReader {
  public:
    explicit LakeReader(duckdb::shared_ptr<LakeTable> table_p) : table(std::move(table_p)) {}

    duckdb::shared_ptr<duckdb::MultiFileList> CreateFileList(
        duckdb::ClientContext &, const duckdb::vector<string> &,
        const duckdb::FileGlobInput &) override;
    bool Bind(duckdb::MultiFileOptions &options, duckdb::MultiFileList &files,
              duckdb::vector<duckdb::LogicalType> &types, duckdb::vector<string> &names,
              duckdb::MultiFileReaderBindData &bind) override;
    void FinalizeBind(duckdb::MultiFileReaderData &data, const duckdb::MultiFileOptions &options,
                      const duckdb::MultiFileReaderBindData &bind,
                      const duckdb::vector<duckdb::MultiFileColumnDefinition> &columns,
                      const duckdb::vector<duckdb::ColumnIndex> &column_ids,
                      duckdb::ClientContext &context,
                      duckdb::optional_ptr<duckdb::MultiFileReaderGlobalState> state) override;
    duckdb::ReaderInitializeType CreateMapping(
        duckdb::ClientContext &context, duckdb::MultiFileReaderData &data,
        const duckdb::vector<duckdb::MultiFileColumnDefinition> &columns,
        const duckdb::vector<duckdb::ColumnIndex> &column_ids,
        duckdb::optional_ptr<duckdb::TableFilterSet> filters, duckdb::MultiFileList &files,
        const duckdb::MultiFileReaderBindData &bind,
        const duckdb::virtual_column_map_t &virtual_columns,
        duckdb::MultiFileColumnMappingMode mode) override;
    duckdb::unique_ptr<duckdb::MultiFileReader> Copy() const override;

    const duckdb::shared_ptr<LakeTable> table;
};

/* --- pruning by bounds (lake_prune.cc) --- */

/** True when the bounds say that no row of the file can pass the filter. */
bool file_is_out(const duckdb::TableFilter &filter, const struct duck_table &table,
                 const struct duck_column &column, const duckdb::LogicalType &type, uint32_t file);
/** The same for a filter on the file's own ordinal. */
bool ordinal_is_out(const duckdb::TableFilter &filter, uint32_t ordinal);
/** The same for an expression over the columns of a scan; `column_of` gives a binding's place in
 * the table, or -1. */
bool file_is_out(const duckdb::Expression &filter, const struct duck_table &table,
                 const duckdb::vector<duckdb::LogicalType> &types,
                 const std::function<int64_t(idx_t)> &column_of, uint32_t file);

/* --- PIVOT without its values (pivot.cc) --- */

/** A query whose rows are the values of one ON without IN. */
struct PivotValues {
    string name; /* by which the PIVOT names them */
    duckdb::unique_ptr<duckdb::SQLStatement> query;
    std::vector<string> texts;
    bool known = false; /* it has run */

    void Add(const duckdb::Value &value);
};

/** One statement of a script, with the queries that must run before it. */
struct Step {
    duckdb::unique_ptr<duckdb::SQLStatement> statement;
    std::vector<PivotValues> values;
    /* those that wait for their values, in the statement and in these queries: the guard finds
     * them */
    std::vector<duckdb::PivotColumn *> pivots;

    /** Write the values that are known into the statement, and into queries that pivot as well. */
    void Fill();
};
Step make_step(duckdb::unique_ptr<duckdb::SQLStatement> statement);

/* --- the statement guard (guard.cc) --- */

/** Throws a refusal, or leaves the statement with every table name qualified by the lake. It begins
 * at `position` of the text. */
void guard_step(Step &step, duckdb::optional_idx position);
/** What names mean in a view's text, and those that it has, qualified. */
struct ViewScope {
    string catalog, schema;
    std::vector<std::pair<string, string>> names; /* schema and table, of those without AT */
};
/** The same for the text of a view: a SELECT without parameters. Its positions are taken out of it:
 * they would be shown as the statement's. */
void guard_view(duckdb::SQLStatement &statement, ViewScope &view);
/** Throws unless it can be the text of a view. */
void check_view(duckdb::ClientContext &context, const string &sql);
/** The second look, at the bound plan: what views and macros turned into. */
void register_plan_guard(duckdb::DatabaseInstance &db);

/* --- texts of files as values (text_functions.cc) --- */

void register_text_functions(duckdb::DatabaseInstance &db);

/* --- Iceberg's buckets (bucket_function.cc) --- */

void register_bucket_functions(duckdb::DatabaseInstance &db);

/* --- the nearest of a vector index (vector_search.cc) --- */

void register_vector_search(duckdb::DatabaseInstance &db);

/* --- all items of a vector index (vector_items.cc) --- */

void register_vector_items(duckdb::DatabaseInstance &db);

/* --- parameters (params.cc) --- */

using Params = duckdb::case_insensitive_map_t<duckdb::BoundParameterData>;
Params parse_params(struct str json);
/** The ones that `statement` uses; throws when one is missing. */
Params params_for(const duckdb::SQLStatement &statement, const Params &all);

/* --- answers for who reads columns (export.cc) --- */

/** The type that a column of `type` has in Parquet or Arrow. */
duckdb::LogicalType export_type(const duckdb::LogicalType &type, bool parquet);
/** Of several equal names the second becomes name_1, and so on past names that are taken. */
std::vector<string> unique_names(const duckdb::vector<string> &names);
/** The columns of a SELECT, without running it. */
void bind_columns(duckdb::ClientContext &context, const duckdb::SQLStatement &select,
                  const Params &params, duckdb::vector<duckdb::LogicalType> &types,
                  duckdb::vector<string> &names);
/** A guarded SELECT as a COPY of its rows to `path`. */
duckdb::unique_ptr<duckdb::SQLStatement> copy_to_parquet(
    duckdb::ClientContext &context, duckdb::unique_ptr<duckdb::SQLStatement> statement,
    const Params &params, const string &path);

} // namespace lake

struct duck {
    duckdb::unique_ptr<duckdb::DuckDB> db;
    duckdb::idx_t threads = 1; /* as it was opened with */
};

struct duck_session {
    struct duck *duck = nullptr;
    duckdb::unique_ptr<duckdb::Connection> connection;
    duckdb::shared_ptr<lake::SessionState> state;
    /* set before the interrupt, so that one that comes too early is not lost */
    std::atomic<bool> canceled{ false };
    /* what duck_write_open found to be no statement that writes, for the duck_query of that text */
    std::string parsed_sql;
    duckdb::vector<duckdb::unique_ptr<duckdb::SQLStatement>> parsed;
};

struct duck_result {
    struct duck_session *session = nullptr;
    std::string sql;
    duckdb::unique_ptr<duckdb::QueryResult> result;
    duckdb::vector<std::string> names;
    duckdb::vector<std::string> type_names;
    duckdb::vector<duckdb::LogicalType> types;
};

namespace lake {
/** Start a statement that is guarded, or ours, with the parameters that it uses; throws. */
duckdb::unique_ptr<duckdb::QueryResult> start(struct duck_session &session,
                                              duckdb::unique_ptr<duckdb::SQLStatement> statement,
                                              Params params);
/** A parameter that none of the maps has is a mistake worth telling. */
void check_used(const duckdb::case_insensitive_map_t<idx_t> &used, const Params &params);
/** The next chunk, or NULL at the end; throws. */
duckdb::unique_ptr<duckdb::DataChunk> fetch(struct duck_result &result);
} // namespace lake

#endif
