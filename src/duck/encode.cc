/*
 * A result as bytes: JSON, NDJSON, CSV or Arrow, chunk by chunk, appended to the caller's buffer.
 *
 *      JSON           {"columns":[{"name","type"}],"rows":[{"a":1},{"a":2}],"row_count":2}
 *      JSON_ARRAYS    the same with "rows":[[1],[2]]
 *      NDJSON         {"a":1}\n{"a":2}\n        NDJSON_ARRAYS  [1]\n[2]\n
 *      CSV            a\r\n1\r\n2\r\n           (RFC 4180)
 *      ARROW          the streaming format of Arrow's IPC: encode_arrow.cc
 */
#include "duck/duck_priv.hpp"

#include "duck/encode_arrow.hpp"
#include "duck/encode_priv.hpp"

#include "duckdb/common/types/data_chunk.hpp"

#include <algorithm>

using namespace duckdb;

namespace lake {

/** `"name":`, from the second column on with a comma in front; padded for Out::AppendShort. */
struct Key {
    std::string text;
    size_t len = 0;
};

} // namespace lake

struct duck_encoder {
    struct duck_result *result = nullptr;
    enum duck_format format = DUCK_JSON;
    uint64_t row_count = 0;
    std::vector<std::unique_ptr<lake::Cells>> columns;
    std::vector<lake::Key> keys; /* for rows of objects */
    std::unique_ptr<lake::ArrowEncoder> arrow;
};

namespace lake {

namespace {

bool rows_are_objects(enum duck_format format)
{
    return format == DUCK_JSON || format == DUCK_NDJSON;
}

std::string json_string(const std::string &text)
{
    struct buf buf;
    buf_init(&buf, 0);
    std::string json;
    try {
        Out out(buf);
        write_json_string(out, text.data(), text.size());
        out.Sync();
        json.assign(buf.ptr, buf.len);
    } catch (...) {
        buf_done(&buf);
        throw;
    }
    buf_done(&buf);
    return json;
}

void write_head(struct duck_encoder &encoder, Out &out)
{
    auto &result = *encoder.result;
    if (encoder.format == DUCK_CSV) {
        for (idx_t i = 0; i < result.names.size(); i++) {
            if (i > 0) {
                out.Append(",", 1);
            }
            write_csv_text(out, result.names[i].data(), result.names[i].size());
        }
        out.Append("\r\n", 2);
        return;
    }
    if (encoder.format != DUCK_JSON && encoder.format != DUCK_JSON_ARRAYS) {
        return;
    }
    auto names = rows_are_objects(encoder.format)
                     ? unique_names(result.names)
                     : std::vector<std::string>(result.names.begin(), result.names.end());
    out.Append(std::string("{\"columns\":["));
    for (idx_t i = 0; i < names.size(); i++) {
        out.Append(std::string(i > 0 ? "," : "") + "{\"name\":" + json_string(names[i]) +
                   ",\"type\":" + json_string(result.type_names[i]) + "}");
    }
    out.Append(std::string("],\"rows\":["));
}

void write_key(Out &out, const Key &key)
{
    if (key.len <= Out::SHORT) {
        out.AppendShort(key.text.data(), key.len);
    } else {
        out.Append(key.text.data(), key.len);
    }
}

void write_json_rows(struct duck_encoder &encoder, Out &out, idx_t count)
{
    bool objects = rows_are_objects(encoder.format);
    bool lines = encoder.format == DUCK_NDJSON || encoder.format == DUCK_NDJSON_ARRAYS;
    auto &columns = encoder.columns;
    for (idx_t row = 0; row < count; row++) {
        out.Room(2);
        if (!lines && (row > 0 || encoder.row_count > 0)) {
            out.Char(',');
        }
        out.Char(objects ? '{' : '[');
        for (idx_t c = 0; c < columns.size(); c++) {
            if (objects) {
                write_key(out, encoder.keys[c]);
            } else if (c > 0) {
                out.Room(1);
                out.Char(',');
            }
            write_json_cell(out, *columns[c], row);
        }
        out.Room(2);
        out.Char(objects ? '}' : ']');
        if (lines) {
            out.Char('\n');
        }
    }
}

void write_csv_rows(struct duck_encoder &encoder, Out &out, idx_t count)
{
    auto &columns = encoder.columns;
    for (idx_t row = 0; row < count; row++) {
        for (idx_t c = 0; c < columns.size(); c++) {
            if (c > 0) {
                out.Room(1);
                out.Char(',');
            }
            write_csv_cell(out, *columns[c], row);
        }
        out.Append("\r\n", 2);
    }
}

void write_chunk(struct duck_encoder &encoder, DataChunk &chunk, struct buf &buf)
{
    Out out(buf);
    for (idx_t c = 0; c < chunk.ColumnCount(); c++) {
        encoder.columns[c]->Load(chunk.data[c], chunk.size());
    }
    if (encoder.format == DUCK_CSV) {
        write_csv_rows(encoder, out, chunk.size());
    } else {
        write_json_rows(encoder, out, chunk.size());
    }
    out.Sync();
}

/** Run `body` on the end of `buf`, which is put back on failure. */
template <class BODY>
enum status appended(struct duck_encoder &encoder, struct buf *buf, struct err *err, BODY body)
{
    size_t before = buf->len;
    enum status status = fenced(encoder.result->sql, err, [&] {
        body(*buf);
        return OK;
    });
    if (status != OK) {
        buf->len = before;
    }
    return status;
}

} // namespace

} // namespace lake

enum status duck_encoder_new(struct duck_result *result, enum duck_format format,
                             struct duck_encoder **out, struct err *err)
{
    struct duck_encoder *encoder = nullptr;
    enum status status = lake::fenced(std::string(), err, [&] {
        encoder = new struct duck_encoder();
        encoder->result = result;
        encoder->format = format;
        auto names = lake::unique_names(result->names);
        if (format == DUCK_ARROW) {
            encoder->arrow = std::make_unique<lake::ArrowEncoder>(*result, names);
            return OK;
        }
        for (idx_t i = 0; i < names.size(); i++) {
            encoder->columns.push_back(std::make_unique<lake::Cells>());
            lake::Key key;
            key.text = (i > 0 ? "," : "") + lake::json_string(names[i]) + ":";
            key.len = key.text.size();
            key.text.resize(std::max<size_t>(key.len, lake::Out::SHORT));
            encoder->keys.push_back(std::move(key));
        }
        return OK;
    });
    if (status != OK) {
        duck_encoder_free(encoder);
        return status;
    }
    *out = encoder;
    return OK;
}

void duck_encoder_free(struct duck_encoder *encoder)
{
    delete encoder;
}

enum status duck_encoder_head(struct duck_encoder *encoder, struct buf *out, struct err *err)
{
    return lake::appended(*encoder, out, err, [&](struct buf &buf) {
        if (encoder->arrow) {
            encoder->arrow->Head(buf);
        } else {
            lake::Out end(buf);
            lake::write_head(*encoder, end);
            end.Sync();
        }
    });
}

enum status duck_encoder_next(struct duck_encoder *encoder, struct buf *out, bool *done_out,
                              struct err *err)
{
    bool done = false;
    TRY(lake::appended(*encoder, out, err, [&](struct buf &buf) {
        auto chunk = lake::fetch(*encoder->result);
        done = !chunk;
        if (encoder->arrow) {
            encoder->arrow->Rows(chunk.get(), buf);
        } else if (chunk) {
            lake::write_chunk(*encoder, *chunk, buf);
        }
        encoder->row_count += chunk ? chunk->size() : 0;
    }));
    *done_out = done;
    return OK;
}

enum status duck_encoder_tail(struct duck_encoder *encoder, struct buf *out, struct err *err)
{
    return lake::appended(*encoder, out, err, [&](struct buf &buf) {
        if (encoder->arrow) {
            encoder->arrow->Tail(buf);
        } else if (encoder->format == DUCK_JSON || encoder->format == DUCK_JSON_ARRAYS) {
            lake::Out end(buf);
            end.Append("],\"row_count\":" + std::to_string(encoder->row_count) + "}");
            end.Sync();
        }
    });
}

uint64_t duck_encoder_rows(const struct duck_encoder *encoder)
{
    return encoder->row_count;
}
