/*
 * Rows that delete files take away. Both kinds become one thing per data file: a bitmap of the
 * positions that are gone, which DuckDB's Parquet scan looks at for every vector it reads.
 *
 * A delete file by position is read once per statement, for all data files that it names. Deletes
 * by value need the data file's columns: a join of these with the delete files finds the positions,
 * before the scan that asked begins, by field id, with NULL equal to NULL. Nothing is read for a
 * data file that pruning has left out.
 *
 * Bitmaps stay for the next statements on the same snapshot, as many as fit into a bound.
 *
 * Invariants: a file's bitmap is complete before anybody scans it, and never changes afterwards.
 *
 * Source   Apache Iceberg, table specification version 2, "Delete Formats" and "Scan Planning"
 */
#include "duck/duck_priv.hpp"

#include "duckdb/main/connection.hpp"
#include "duckdb/main/stream_query_result.hpp"

#include <algorithm>
#include <unordered_map>

using namespace duckdb;

namespace lake {

/** The positions of one data file that are gone. */
class GoneRows {
  public:
    void Add(uint64_t position)
    {
        if (position / 64 >= words.size()) {
            words.resize(position / 64 + 1);
        }
        words[position / 64] |= (uint64_t)1 << (position % 64);
    }
    bool Has(uint64_t position) const
    {
        return position / 64 < words.size() && (words[position / 64] >> (position % 64) & 1) != 0;
    }

    size_t Bytes() const { return words.capacity() * sizeof(uint64_t); }

  private:
    std::vector<uint64_t> words;
};

/** What is known of a snapshot's deleted rows. */
struct GoneTable {
    GoneTable(size_t deletes, size_t files) : is_read(deletes), is_known(files) {}

    std::mutex lock;
    std::vector<bool> is_read;  /* guarded by lock; by delete file: one by position was read */
    std::vector<bool> is_known; /* guarded by lock; by data file: its rows are complete */
    /* guarded by lock; an entry of a known file never changes again */
    std::unordered_map<uint32_t, shared_ptr<GoneRows>> rows;
    std::atomic<size_t> bytes{ 0 };
};

namespace {

/** The newest snapshots' bitmaps, from statement to statement. */
class GoneCache {
  public:
    shared_ptr<GoneTable> Take(const struct duck_table &table)
    {
        const string key = lake::to_string(table.key);
        std::lock_guard<std::mutex> guard(lock);
        for (size_t i = 0; i < entries.size(); i++) {
            if (entries[i].first == key) {
                std::rotate(entries.begin(), entries.begin() + (std::ptrdiff_t)i,
                            entries.begin() + (std::ptrdiff_t)i + 1);
                return entries[0].second;
            }
        }
        auto made = make_shared_ptr<GoneTable>(table.delete_count, table.file_count);
        entries.emplace(entries.begin(), key, made);
        size_t bytes = 0, fit = 1;
        while (fit < entries.size() && fit < ENTRIES_MAX &&
               (bytes += entries[fit].second->bytes) <= BYTES_MAX) {
            fit++;
        }
        entries.resize(fit, { string(), nullptr });
        return made;
    }

  private:
    /* chosen, not measured: bitmaps of half a billion rows */
    static constexpr size_t ENTRIES_MAX = 64, BYTES_MAX = 64 * 1024 * 1024;
    std::mutex lock;
    std::vector<std::pair<string, shared_ptr<GoneTable>>> entries; /* guarded; last used first */
};

GoneCache cache;

class RowFilter : public DeleteFilter {
  public:
    explicit RowFilter(shared_ptr<GoneRows> gone_p) : gone(std::move(gone_p)) {}
    idx_t Filter(row_t start, idx_t count, SelectionVector &left) override
    {
        idx_t kept = 0;
        left.Initialize(STANDARD_VECTOR_SIZE);
        for (idx_t i = 0; i < count; i++) {
            left.set_index(kept, i);
            kept += gone->Has((uint64_t)start + i) ? 0 : 1;
        }
        return kept;
    }

  private:
    shared_ptr<GoneRows> gone;
};

string quoted(const string &text)
{
    return "'" + StringUtil::Replace(text, "'", "''") + "'";
}

/** A connection for our own statements, with the files of the statement that asks. */
class OwnQuery {
  public:
    explicit OwnQuery(ClientContext &asker_p) : asker(asker_p), connection(*asker_p.db)
    {
        auto own = make_shared_ptr<SessionState>();
        own->files = SessionState::Of(asker)->files;
        own->trusted = true;
        connection.context->registered_state->Insert(SessionState::KEY, std::move(own));
    }
    template <class ROWS> void Run(const string &sql, ROWS rows)
    {
        auto result = connection.SendQuery(sql);
        for (;;) {
            Check(*result);
            auto chunk = result->Fetch();
            Check(*result);
            if (!chunk || chunk->size() == 0) {
                return;
            }
            chunk->Flatten();
            rows(*chunk);
        }
    }

  private:
    void Check(BaseQueryResult &result)
    {
        if (asker.IsInterrupted()) {
            throw InterruptException();
        }
        if (!result.HasError()) {
            return;
        }
        auto &error = result.GetErrorObject();
        if (!error.RawMessage().empty() && error.RawMessage()[0] == '{') {
            ErrorData(error.RawMessage()).Throw();
        }
        error.Throw();
    }

    ClientContext &asker;
    Connection connection;
};

/** `schema = MAP {id: {...}}`: the columns of a delete by value, found by field id. */
string schema_of(const struct duck_delete_file &file)
{
    string text;
    for (size_t i = 0; i < file.column_count; i++) {
        const string id = std::to_string(file.columns[i].id);
        text.append(i > 0 ? ", " : "").append(id).append(": {name: 'c").append(id);
        text.append("', type: ").append(quoted(lake::to_string(file.columns[i].type)));
        text.append(", default_value: NULL}");
    }
    return "schema = MAP {" + text + "}";
}

} // namespace

/* --- which delete files count for a data file --- */

bool Deletes::Counts(const struct duck_delete_file &deletes, uint32_t file) const
{
    const struct duck_table_file &data = table.files[file];
    if (deletes.by_value) {
        return data.sequence_number < deletes.sequence_number &&
               (deletes.partition < 0 || deletes.partition == data.partition);
    }
    return data.sequence_number <= deletes.sequence_number &&
           (deletes.file < 0 || deletes.file == file);
}

GoneRows &Deletes::RowsOf(uint32_t file)
{
    auto &rows = gone->rows[file];
    if (!rows) {
        rows = make_shared_ptr<GoneRows>();
    }
    return *rows;
}

/* --- by position --- */

/** Every row of a delete file, noted with the data file that it names. */
void Deletes::ReadPositions(ClientContext &context, size_t index)
{
    const struct duck_delete_file &source = table.deletes[index];
    if (paths.empty()) {
        for (size_t i = 0; i < table.file_count; i++) {
            paths.emplace(lake::to_string(table.files[i].uri), (uint32_t)i);
        }
    }
    string last; /* they are sorted by file */
    int64_t file = -1;
    OwnQuery(context).Run(
        "SELECT file_path::VARCHAR, pos::BIGINT FROM read_parquet(" +
            quoted(path_of_file(table, table.file_count + index)) + ")",
        [&](DataChunk &chunk) {
            auto names = FlatVector::GetData<string_t>(chunk.data[0]);
            auto positions = FlatVector::GetData<int64_t>(chunk.data[1]);
            for (idx_t row = 0; row < chunk.size(); row++) {
                if (FlatVector::IsNull(chunk.data[0], row) ||
                    FlatVector::IsNull(chunk.data[1], row) || positions[row] < 0) {
                    throw_status(E_CORRUPT,
                                 "a delete file names no position in row " + std::to_string(row));
                }
                if (names[row] != string_t(last.data(), (uint32_t)last.size())) {
                    last = names[row].GetString();
                    auto found = paths.find(last);
                    bool counts = found != paths.end() && Counts(source, found->second);
                    file = counts ? (int64_t)found->second : -1;
                }
                if (file >= 0 && positions[row] < table.files[file].row_count) {
                    RowsOf((uint32_t)file).Add((uint64_t)positions[row]);
                }
            }
        });
}

/* --- by value --- */

/** Delete files that compare the same columns are one join. */
void Deletes::ReadEqual(ClientContext &context, const std::vector<size_t> &group, uint32_t file)
{
    const struct duck_delete_file &first = table.deletes[group[0]];
    string lists, ids, same;
    for (auto index : group) {
        lists += (lists.empty() ? "" : ", ") +
                 quoted(path_of_file(table, table.file_count + index));
    }
    for (size_t i = 0; i < first.column_count; i++) {
        const string id = std::to_string(first.columns[i].id);
        ids += (i > 0 ? ", " : "") + id;
        same.append(i > 0 ? " AND " : "").append("e.c").append(id);
        same.append(" IS NOT DISTINCT FROM d.c").append(id);
    }
    GoneRows &rows = RowsOf(file);
    OwnQuery query(context);
    /* without ids every value would be read as NULL, and every NULL be taken away */
    query.Run(
        "SELECT count(DISTINCT field_id) FILTER (WHERE field_id IN (" + ids +
            ")) FROM parquet_schema([" + lists + "]) GROUP BY file_name",
        [&](DataChunk &chunk) {
            for (idx_t row = 0; row < chunk.size(); row++) {
                if (chunk.GetValue(0, row).GetValue<int64_t>() != (int64_t)first.column_count) {
                    throw_status(E_CORRUPT, "a delete file lacks a column that it is to compare");
                }
            }
        });
    query.Run("SELECT d.file_row_number FROM read_parquet(" + quoted(path_of_file(table, file)) +
                  ", " + schema_of(first) +
                  ", file_row_number = true) d WHERE EXISTS (SELECT 1 FROM read_parquet([" + lists +
                  "], " + schema_of(first) + ") e WHERE " + same + ")",
              [&](DataChunk &chunk) {
                  auto positions = FlatVector::GetData<int64_t>(chunk.data[0]);
                  for (idx_t row = 0; row < chunk.size(); row++) {
                      rows.Add((uint64_t)positions[row]);
                  }
              });
}

static bool same_columns(const struct duck_delete_file &a, const struct duck_delete_file &b)
{
    bool same = a.column_count == b.column_count;
    for (size_t i = 0; same && i < a.column_count; i++) {
        same = a.columns[i].id == b.columns[i].id;
    }
    return same;
}

void Deletes::ReadValues(ClientContext &context, uint32_t file, bool has_ids)
{
    std::vector<std::vector<size_t>> groups;
    for (size_t i = 0; i < table.delete_count; i++) {
        if (!table.deletes[i].by_value || !Counts(table.deletes[i], file)) {
            continue;
        }
        auto group = std::find_if(groups.begin(), groups.end(), [&](const std::vector<size_t> &g) {
            return same_columns(table.deletes[g[0]], table.deletes[i]);
        });
        if (group == groups.end()) {
            groups.push_back({ i });
        } else {
            group->push_back(i);
        }
    }
    if (!groups.empty() && !has_ids) {
        throw_status(E_UNSUPPORTED, "rows are deleted by value from a data file without field ids, "
                                    "which cannot be read");
    }
    for (auto &group : groups) {
        ReadEqual(context, group, file);
    }
}

/* --- the door --- */

Deletes::Deletes(const struct duck_table &table_p) : table(table_p), gone(cache.Take(table_p)) {}

Deletes::~Deletes() = default;

unique_ptr<DeleteFilter> Deletes::FilterOf(ClientContext &context, uint32_t file, bool has_ids)
{
    std::lock_guard<std::mutex> guard(gone->lock);
    for (size_t i = 0; i < table.delete_count && !gone->is_known[file]; i++) {
        if (!table.deletes[i].by_value && !gone->is_read[i] && Counts(table.deletes[i], file)) {
            ReadPositions(context, i);
            gone->is_read[i] = true;
        }
    }
    auto found = gone->rows.find(file);
    if (!gone->is_known[file]) {
        ReadValues(context, file, has_ids);
        gone->is_known[file] = true;
        found = gone->rows.find(file);
        gone->bytes += found == gone->rows.end() ? 0 : found->second->Bytes();
    }
    return found == gone->rows.end() ? nullptr
                                     : make_uniq_base<DeleteFilter, RowFilter>(found->second);
}

} // namespace lake
