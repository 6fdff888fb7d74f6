/*
 * A result as an Arrow stream: DuckDB's chunks become arrays of Arrow's C interface, and these
 * become messages (arrow_ipc.c).
 *
 * Chunks of 2,048 rows are small for who reads columns, so several make a batch, but never at the
 * cost of a reader who waits: a chunk that took long to come leaves at once.
 */
#include "duck/duck_priv.hpp"

#include "duck/encode_arrow.hpp"

#include "duckdb/common/vector_operations/vector_operations.hpp"

extern "C" {
#include "base/clock.h"
}

using namespace duckdb;

namespace lake {

namespace {

constexpr idx_t BATCH_ROWS = 16 * STANDARD_VECTOR_SIZE; /* chosen, not measured */
constexpr size_t BATCH_BYTES = 4 << 20;
constexpr int64_t BATCH_MS = 20;

int64_t now_ms()
{
    return clock_mono_ms(clock_real());
}

void check(enum status status, const struct err &err)
{
    if (status != OK) {
        throw_err(err);
    }
}

} // namespace

ArrowEncoder::ArrowEncoder(struct duck_result &result, const std::vector<string> &names)
    : context(*result.session->connection->context), properties(context.GetClientProperties())
{
    for (auto &type : result.types) {
        types.push_back(export_type(type, false));
        casts = casts || types.back() != type;
    }
    properties.arrow_offset_size = ArrowOffsetSize::REGULAR;
    ArrowSchema schema;
    ArrowConverter::ToArrowSchema(&schema, types, vector<string>(names.begin(), names.end()),
                                  properties);
    struct err err = {};
    check(arrow_ipc_new(&schema, &ipc, &err), err);
}

void ArrowEncoder::Head(struct buf &out)
{
    struct err err = {};
    check(arrow_ipc_schema(ipc, &out, &err), err);
}

void ArrowEncoder::Append(DataChunk &chunk)
{
    if (!batch) {
        batch = make_uniq<ArrowAppender>(
            types, BATCH_ROWS, properties,
            unordered_map<idx_t, const shared_ptr<ArrowTypeExtensionData>>());
    }
    batch_bytes += chunk.GetAllocationSize();
    if (!casts) {
        batch->Append(chunk, 0, chunk.size(), chunk.size());
        return;
    }
    DataChunk cast;
    cast.Initialize(Allocator::Get(context), types, chunk.size());
    for (idx_t i = 0; i < types.size(); i++) {
        if (chunk.data[i].GetType() == types[i]) {
            cast.data[i].Reference(chunk.data[i]);
        } else {
            VectorOperations::Cast(context, chunk.data[i], cast.data[i], chunk.size());
        }
    }
    cast.SetCardinality(chunk.size());
    batch->Append(cast, 0, cast.size(), cast.size());
}

void ArrowEncoder::Batch(struct buf &out)
{
    ArrowArray array = batch->Finalize();
    batch = nullptr;
    batch_bytes = 0;
    struct err err = {};
    enum status status = arrow_ipc_batch(ipc, &array, &out, &err);
    array.release(&array);
    check(status, err);
    written_ms = now_ms();
}

void ArrowEncoder::Rows(DataChunk *chunk, struct buf &out)
{
    if (chunk) {
        Append(*chunk);
    }
    bool due = !chunk || batch->RowCount() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES ||
               now_ms() - written_ms >= BATCH_MS;
    if (batch && due) {
        Batch(out);
    }
}

void ArrowEncoder::Tail(struct buf &out)
{
    struct err err = {};
    check(arrow_ipc_end(ipc, &out, &err), err);
}

} // namespace lake
