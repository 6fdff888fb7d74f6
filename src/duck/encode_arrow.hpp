/*
 * A result as an Arrow stream. Private to this folder.
 */
#ifndef DUCK_ENCODE_ARROW_HPP
#define DUCK_ENCODE_ARROW_HPP

#ifndef DUCK_DUCK_PRIV_HPP /* a precompiled header has no second inclusion, not even an empty one */
#include "duck/duck_priv.hpp"
#endif

#include "duckdb/common/arrow/arrow_appender.hpp"

extern "C" {
#include "duck/arrow_ipc.h"
}

namespace lake {

class ArrowEncoder {
  public:
    ArrowEncoder(struct duck_result &result, const std::vector<string> &names);
    ~ArrowEncoder() { arrow_ipc_free(ipc); }
    ArrowEncoder(const ArrowEncoder &) = delete;
    ArrowEncoder &operator=(const ArrowEncoder &) = delete;

    /* All of them append to `out` and throw; the caller puts `out` back. */
    void Head(struct buf &out);
    /** Takes a chunk; writes a batch when one is due. NULL is the end of the rows. */
    void Rows(duckdb::DataChunk *chunk, struct buf &out);
    void Tail(struct buf &out);

  private:
    void Append(duckdb::DataChunk &chunk);
    void Batch(struct buf &out);

    duckdb::ClientContext &context;
    duckdb::ClientProperties properties;
    duckdb::vector<duckdb::LogicalType> types; /* as Arrow has them */
    bool casts = false;                        /* some of them are not the result's */
    struct arrow_ipc *ipc = nullptr;
    /* rows of the next batch */
    duckdb::unique_ptr<duckdb::ArrowAppender> batch;
    size_t batch_bytes = 0;
    int64_t written_ms = 0;
};

} // namespace lake

#endif
