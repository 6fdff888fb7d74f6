/*
 * One DuckDB instance in memory, with the lake as its only database, and its settings as the second
 * wall behind the guard.
 *
 * The order matters: the lake is attached and the database `memory` detached while that is still
 * allowed, then external access is switched off with our two prefixes as the only exception, then
 * the configuration is locked, and the attach function is sealed.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/common/virtual_file_system.hpp"
#include "duckdb/main/connection.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/parallel/task_scheduler.hpp"

#include <cstring>

using namespace duckdb;

namespace lake {

namespace {

/* The library must be the one that the C++ headers belong to, to the commit: vtables and struct
 * layouts are not stable. */
constexpr const char *EXPECTED_VERSION = "v1.5.6";
constexpr const char *EXPECTED_SOURCE_ID = "069cc9f9b5";

constexpr uint64_t DEFAULT_MEMORY_BYTES = UINT64_C(1) << 30;
constexpr uint64_t DEFAULT_TEMP_BYTES = UINT64_C(16) << 30;

void check_library()
{
    if (strcmp(DuckDB::LibraryVersion(), EXPECTED_VERSION) != 0 ||
        strcmp(DuckDB::SourceID(), EXPECTED_SOURCE_ID) != 0) {
        throw_status(E_INTERNAL, string("the DuckDB library is ") + DuckDB::LibraryVersion() +
                                     " (" + DuckDB::SourceID() +
                                     "), but this program was built for " + EXPECTED_VERSION +
                                     " (" + EXPECTED_SOURCE_ID +
                                     "); run ./bootstrap and build again");
    }
}

void run(Connection &connection, const string &sql)
{
    auto result = connection.Query(sql);
    if (result->HasError()) {
        result->ThrowError();
    }
}

string quoted(const string &text)
{
    return KeywordHelper::WriteQuoted(text, '\'');
}

void set_limits(Connection &connection, const struct duck_opts &opts)
{
    uint64_t memory = opts.memory_limit_bytes ? opts.memory_limit_bytes : DEFAULT_MEMORY_BYTES;
    uint64_t temp = opts.temp_bytes_max ? opts.temp_bytes_max : DEFAULT_TEMP_BYTES;
    if (opts.threads) {
        run(connection, "SET threads=" + std::to_string(opts.threads));
    }
    run(connection, "SET memory_limit='" + std::to_string(memory) + "B'");
    run(connection, "SET temp_directory=" + quoted(opts.temp_dir ? opts.temp_dir : ""));
    run(connection, "SET max_temp_directory_size='" + std::to_string(temp) + "B'");
}

void set_behaviour(Connection &connection)
{
    run(connection, "SET autoinstall_known_extensions=false");
    run(connection, "SET autoload_known_extensions=false");
    run(connection, "SET allow_community_extensions=false");
    run(connection, "SET allow_persistent_secrets=false");
    /* Paths carry the token of one statement, so nothing is found again by path in the next one. */
    run(connection, "SET enable_external_file_cache=false");
    run(connection, "SET parquet_metadata_cache=false");
    run(connection, "SET TimeZone='UTC'");
    /* Rows of partitions come sorted by them, so a row group's worth for each thread is enough to
     * hold back, not four. A CSV of 1.5 million rows of 110 bytes goes into 20 partitions with a
     * memory limit of 256 MB, not with 200 (2 threads). */
    run(connection, "SET GLOBAL partitioned_write_flush_threshold=131072");
    /* Errors then keep their position until error.cc turns it into line and column. */
    run(connection, "SET GLOBAL errors_as_json=true");
}

void build_wall(Connection &connection)
{
    run(connection, "SET allowed_directories=['lake://', 'spool://']");
    run(connection, "SET enable_external_access=false");
    run(connection, "SET lock_configuration=true");
}

void open(struct duck &duck, const struct duck_opts &opts)
{
    check_library();
    DBConfig config;
    duck.db = make_uniq<DuckDB>(nullptr, &config);
    auto &instance = *duck.db->instance;
    instance.GetFileSystem().RegisterSubSystem(make_file_system());
    register_lake_catalog(instance);
    register_plan_guard(instance);
    register_text_functions(instance);
    register_bucket_functions(instance);
    register_vector_search(instance);
    register_vector_items(instance);

    Connection connection(*duck.db);
    set_limits(connection, opts);
    set_behaviour(connection);
    run(connection, string("ATTACH '' AS ") + CATALOG_NAME + " (TYPE lake)");
    connection.BeginTransaction();
    DatabaseManager::Get(instance).SetDefaultDatabase(*connection.context, CATALOG_NAME);
    connection.Commit();
    {
        /* This connection was born with `memory` as its database, a fresh one is not. */
        Connection fresh(*duck.db);
        run(fresh, "DETACH memory");
    }
    seal_lake_catalog(instance);
    build_wall(connection);
}

} // namespace

} // namespace lake

enum status duck_open(const struct duck_opts *opts, struct duck **out, struct err *err)
{
    struct duck *duck = nullptr;
    enum status status = lake::fenced(string(), err, [&] {
        duck = new struct duck();
        lake::open(*duck, *opts);
        duck->threads = (duckdb::idx_t)duckdb::TaskScheduler::GetScheduler(*duck->db->instance)
                            .NumberOfThreads();
        return OK;
    });
    if (status != OK) {
        duck_close(duck);
        return status;
    }
    *out = duck;
    return OK;
}

void duck_close(struct duck *duck)
{
    delete duck;
}

const char *duck_version(void)
{
    return lake::EXPECTED_VERSION;
}
