/*
 * The files of one scan, and which of them a filter leaves over.
 *
 * DuckDB offers its filters twice: while it plans (then the estimates get better too) and when the
 * scan starts (then filters that a join has found meanwhile are there as well). Both make a shorter
 * list with the ordinals of the whole table kept.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/table_filter.hpp"
#include "duckdb/storage/statistics/node_statistics.hpp"

using namespace duckdb;

namespace lake {

namespace {

const char *const ORDINAL_KEY = "lake_ordinal";

/* DuckDB scans a single file that it has not opened while planning on one thread; above this many
 * rows (a row group's size) it shall use all. */
constexpr int64_t MANY_ROWS = 122880;

/** For EXPLAIN: the filters that have left files out, and how many are left over. */
void tell_in_plan(ExtraOperatorInfo &plan, const vector<unique_ptr<Expression>> &filters,
                  const std::vector<bool> &used, idx_t total, idx_t left)
{
    for (idx_t i = 0; i < filters.size(); i++) {
        if (used[i]) {
            plan.file_filters += (plan.file_filters.empty() ? "" : " AND ") +
                                 filters[i]->ToString();
        }
    }
    plan.total_files = total;
    plan.filtered_files = left;
}

} // namespace

string path_of_file(const struct duck_table &table, idx_t i)
{
    auto &own = i < table.file_count ? table.files[i].path
                                     : table.deletes[i - table.file_count].path;
    return own.ptr ? lake::to_string(own)
                   : lake::to_string(table.path_prefix) + std::to_string(table.first_file + i) +
                         lake::to_string(table.path_suffix);
}

LakeFileList::LakeFileList(shared_ptr<LakeTable> table_p)
    : table(std::move(table_p)), info(table->WithFiles())
{
    kept.reserve(info.file_count);
    for (size_t i = 0; i < info.file_count; i++) {
        kept.push_back((uint32_t)i);
    }
}

LakeFileList::LakeFileList(shared_ptr<LakeTable> table_p, vector<uint32_t> kept_p)
    : table(std::move(table_p)), info(table->WithFiles()), kept(std::move(kept_p))
{}

const struct duck_table_file &LakeFileList::File(idx_t i) const
{
    return info.files[kept[i]];
}

OpenFileInfo LakeFileList::GetFile(idx_t i) const
{
    if (i >= kept.size()) {
        return OpenFileInfo(string());
    }
    OpenFileInfo file(path_of_file(info, kept[i]));
    file.extended_info = make_shared_ptr<ExtendedOpenFileInfo>();
    file.extended_info->options[ORDINAL_KEY] = Value::UINTEGER(kept[i]);
    return file;
}

uint32_t LakeFileList::OrdinalOf(const OpenFileInfo &file)
{
    return file.extended_info->options.at(ORDINAL_KEY).GetValue<uint32_t>();
}

vector<OpenFileInfo> LakeFileList::GetAllFiles() const
{
    vector<OpenFileInfo> files;
    for (idx_t i = 0; i < kept.size(); i++) {
        files.push_back(GetFile(i));
    }
    return files;
}

FileExpandResult LakeFileList::GetExpandResult() const
{
    if (kept.empty()) {
        return FileExpandResult::NO_FILES;
    }
    if (kept.size() == 1 && File(0).row_count >= 0 && File(0).row_count <= MANY_ROWS) {
        return FileExpandResult::SINGLE_FILE;
    }
    return FileExpandResult::MULTIPLE_FILES;
}

idx_t LakeFileList::GetTotalFileCount() const
{
    return kept.size();
}

bool LakeFileList::RowCount(idx_t &out) const
{
    idx_t rows = 0;
    for (idx_t i = 0; i < kept.size(); i++) {
        if (File(i).row_count < 0) {
            return false;
        }
        rows += (idx_t)File(i).row_count;
    }
    out = rows;
    return true;
}

unique_ptr<NodeStatistics> LakeFileList::GetCardinality(ClientContext &) const
{
    idx_t rows;
    if (RowCount(rows)) {
        return make_uniq<NodeStatistics>(rows, rows);
    }
    return make_uniq<NodeStatistics>((idx_t)MANY_ROWS * kept.size());
}

unique_ptr<MultiFileList> LakeFileList::Copy() const
{
    return make_uniq<LakeFileList>(table, kept);
}

unique_ptr<MultiFileList> LakeFileList::ComplexFilterPushdown(
    ClientContext &, const MultiFileOptions &, MultiFilePushdownInfo &push,
    vector<unique_ptr<Expression>> &filters) const
{
    if (!info.bounds || filters.empty()) {
        return nullptr;
    }
    vector<LogicalType> types;
    for (auto &field : table->Fields()) {
        types.push_back(field.type);
    }
    auto column_of = [&](idx_t binding) -> int64_t {
        return binding < push.column_ids.size() && !IsVirtualColumn(push.column_ids[binding])
                   ? (int64_t)push.column_ids[binding]
                   : -1;
    };
    vector<uint32_t> left;
    std::vector<bool> used(filters.size());
    for (auto file : kept) {
        bool out = false;
        for (idx_t i = 0; i < filters.size() && !out; i++) {
            out = file_is_out(*filters[i], info, types, column_of, file);
            used[i] = used[i] || out;
        }
        if (!out) {
            left.push_back(file);
        }
    }
    if (left.size() == kept.size()) {
        return nullptr;
    }
    tell_in_plan(push.extra_info, filters, used, info.file_count, left.size());
    return make_uniq<LakeFileList>(table, std::move(left));
}

unique_ptr<MultiFileList> LakeFileList::DynamicFilterPushdown(ClientContext &,
                                                              const MultiFileOptions &,
                                                              const vector<string> &,
                                                              const vector<LogicalType> &types,
                                                              const vector<column_t> &column_ids,
                                                              TableFilterSet &filters) const
{
    vector<uint32_t> left;
    for (auto file : kept) {
        bool out = false;
        for (auto &entry : filters.filters) {
            column_t id = column_ids[entry.first];
            if (id == MultiFileReader::COLUMN_IDENTIFIER_FILE_INDEX) {
                out = out || ordinal_is_out(*entry.second, file);
            } else if (!IsVirtualColumn(id) && info.bounds) {
                out = out || file_is_out(*entry.second, info, info.columns[id], types[id], file);
            }
        }
        if (!out) {
            left.push_back(file);
        }
    }
    if (left.size() == kept.size()) {
        return nullptr;
    }
    return make_uniq<LakeFileList>(table, std::move(left));
}

} // namespace lake
