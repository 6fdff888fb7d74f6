/*
 * Writing Avro container files: magic, header map, sync marker, then blocks of (records, bytes,
 * data, marker).
 */
#include "iceberg/avro_priv.h"

#include "base/mem.h"

/* A block is closed behind the record that passes this size: chosen, not measured. Readers hold one
 * block in memory. */
enum { BLOCK_BYTES = 64 * 1024 };

enum status avro_put_long(struct buf *out, int64_t value)
{
    char bytes[10];
    size_t len = 0;
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (rest > 0x7f) {
        bytes[len++] = (char)((rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    bytes[len++] = (char)rest;
    return buf_append_bytes(out, bytes, len);
}

enum status avro_put_bytes(struct buf *out, struct str value)
{
    size_t start = out->len;
    TRY(avro_put_long(out, (int64_t)value.len));
    enum status status = buf_append(out, value);
    if (status != OK) {
        out->len = start;
    }
    return status;
}

static enum status put_pair(struct buf *out, struct str key, struct str value)
{
    TRY(avro_put_bytes(out, key));
    return avro_put_bytes(out, value);
}

static enum status put_header(struct avro_writer *w, struct str schema_json,
                              const struct avro_pair *pairs, size_t pair_count)
{
    struct buf *out = w->out;
    TRY(buf_append(out, STR("Obj\x01")));
    TRY(avro_put_long(out, (int64_t)pair_count + 2));
    TRY(put_pair(out, STR("avro.schema"), schema_json));
    /* Always there: Avro reads a missing codec as null, PyIceberg as its own default. */
    TRY(put_pair(out, STR("avro.codec"),
                 w->codec == AVRO_CODEC_DEFLATE ? STR("deflate") : STR("null")));
    for (size_t i = 0; i < pair_count; i++) {
        TRY(put_pair(out, pairs[i].key, pairs[i].value));
    }
    TRY(avro_put_long(out, 0));
    return buf_append_bytes(out, w->sync, AVRO_SYNC_BYTES);
}

enum status avro_writer_open(struct avro_writer *w, struct buf *out, struct str schema_json,
                             const struct avro_pair *pairs, size_t pair_count,
                             enum avro_codec codec, const uint8_t sync[AVRO_SYNC_BYTES],
                             struct err *err)
{
    *w = (struct avro_writer){ .out = out, .start_len = out->len, .codec = codec };
    memcpy(w->sync, sync, AVRO_SYNC_BYTES);
    buf_init(&w->block, 0);
    enum status status = put_header(w, schema_json, pairs, pair_count);
    if (status != OK) {
        avro_writer_cancel(w);
        return err_set(err, status, "the Avro header cannot be written");
    }
    return OK;
}

static enum status put_block(struct avro_writer *w, struct str data)
{
    TRY(avro_put_long(w->out, w->block_rows));
    TRY(avro_put_bytes(w->out, data));
    return buf_append_bytes(w->out, w->sync, AVRO_SYNC_BYTES);
}

static enum status flush(struct avro_writer *w, struct err *err)
{
    if (w->block_rows == 0) {
        return OK;
    }
    AUTO(buf_done) struct buf packed;
    buf_init(&packed, 0);
    struct str data = buf_str(&w->block);
    if (w->codec == AVRO_CODEC_DEFLATE) {
        TRY(avro_deflate(data, &packed, err));
        data = buf_str(&packed);
    }
    enum status status = put_block(w, data);
    if (status != OK) {
        return err_set(err, status, "an Avro block cannot be written");
    }
    buf_clear(&w->block);
    w->block_rows = 0;
    return OK;
}

enum status avro_writer_record(struct avro_writer *w, struct err *err)
{
    w->block_rows++;
    return w->block.len >= BLOCK_BYTES ? flush(w, err) : OK;
}

enum status avro_writer_close(struct avro_writer *w, struct err *err)
{
    enum status status = flush(w, err);
    if (status != OK) {
        avro_writer_cancel(w);
        return status;
    }
    buf_done(&w->block);
    return OK;
}

void avro_writer_cancel(struct avro_writer *w)
{
    w->out->len = w->start_len;
    buf_done(&w->block);
}
