/*
 * Reading Avro container files.
 *
 * Values are read through a cursor over one decompressed block, guided by the schema that the file
 * was written with. Each value that is looked at costs one unit of a budget: an array of a billion
 * nulls takes no bytes and would otherwise never end.
 */
#include "iceberg/avro_priv.h"

#include "base/mem.h"

/* Values per block: room for records that are mostly empty, and an end for hostile ones. */
static const uint64_t BUDGET_BASE = 1 << 20;
static const uint64_t BUDGET_PER_BYTE = 32;

static enum status skip_at(struct avro_cursor *c, const struct avro_type *type, unsigned depth,
                           struct err *err);

static enum status cut_short(struct err *err)
{
    return err_set(err, E_CORRUPT, "the Avro file ends within a value");
}

static enum status get_long(struct avro_cursor *c, int64_t *out, struct err *err)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (c->ptr == c->end) {
            return cut_short(err);
        }
        uint8_t byte = (uint8_t)*c->ptr++;
        if (shift == 63 && byte > 1) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return OK;
        }
    }
    return err_set(err, E_CORRUPT, "an Avro number has more than 64 bits");
}

static enum status get_raw(struct avro_cursor *c, size_t len, struct str *out, struct err *err)
{
    if (len > (size_t)(c->end - c->ptr)) {
        return cut_short(err);
    }
    *out = str_from(c->ptr, len);
    c->ptr += len;
    return OK;
}

/** As get_raw, copied to `target`. */
static enum status get_copy(struct avro_cursor *c, void *target, size_t len, struct err *err)
{
    if (len > (size_t)(c->end - c->ptr)) {
        return cut_short(err);
    }
    memcpy(target, c->ptr, len);
    c->ptr += len;
    return OK;
}

static enum status get_sized(struct avro_cursor *c, struct str *out, struct err *err)
{
    int64_t len = 0;
    TRY(get_long(c, &len, err));
    if (len < 0) {
        return err_set(err, E_CORRUPT, "an Avro value has the length %lld", (long long)len);
    }
    return get_raw(c, (size_t)len, out, err);
}

static enum status spend(struct avro_cursor *c, struct err *err)
{
    if (c->budget == 0) {
        return err_set(err, E_CORRUPT, "an Avro block has far more values than bytes");
    }
    c->budget--;
    return OK;
}

/* ---- the container ---- */

static enum status read_header(struct avro_file *file, struct avro_cursor *c, struct str *schema,
                               struct str *codec, struct err *err)
{
    enum { PAIRS_MAX = 256 };
    uint64_t count = 0;
    file->pairs = arena_array(file->arena, PAIRS_MAX, sizeof(*file->pairs));
    if (file->pairs == NULL) {
        return err_no_memory(err);
    }
    for (;;) {
        TRY(avro_get_count(c, &count, err));
        if (count == 0) {
            return OK;
        }
        while (count-- > 0) {
            struct avro_pair pair = { 0 };
            TRY(get_sized(c, &pair.key, err));
            TRY(get_sized(c, &pair.value, err));
            if (str_eq(pair.key, STR("avro.schema"))) {
                *schema = pair.value;
            } else if (str_eq(pair.key, STR("avro.codec"))) {
                *codec = pair.value;
            } else if (file->pair_count == PAIRS_MAX) {
                return err_set(err, E_TOO_LARGE, "the Avro header has more than %d keys",
                               PAIRS_MAX);
            } else {
                file->pairs[file->pair_count++] = pair;
            }
        }
    }
}

static enum status choose_codec(struct avro_file *file, struct str name, struct err *err)
{
    if (name.len == 0 || str_eq(name, STR("null"))) {
        file->codec = READ_NULL;
    } else if (str_eq(name, STR("deflate"))) {
        file->codec = READ_DEFLATE;
    } else if (str_eq(name, STR("zstandard"))) {
        file->codec = READ_ZSTANDARD;
    } else {
        return err_set(err, E_UNSUPPORTED,
                       "Avro codec \"%.*s\" is not supported (null, deflate, zstandard are)",
                       STR_ARG(name));
    }
    return OK;
}

static enum status open_file(struct avro_file *file, struct str bytes, struct err *err)
{
    struct str schema = { 0 };
    struct str codec = { 0 };
    if (!str_starts(bytes, STR("Obj\x01"))) {
        return err_set(err, E_CORRUPT, "it is no Avro file: it does not start with \"Obj\"");
    }
    struct avro_cursor c = { .ptr = bytes.ptr + 4,
                             .end = bytes.ptr + bytes.len,
                             .budget = BUDGET_BASE };
    TRY(read_header(file, &c, &schema, &codec, err));
    TRY(get_copy(&c, file->sync, AVRO_SYNC_BYTES, err));
    file->rest = str_from(c.ptr, (size_t)(c.end - c.ptr));
    TRY(choose_codec(file, codec, err));
    enum status status = json_parse(schema, &file->doc, err);
    if (status == E_INVALID) {
        if (err != NULL) {
            err->kind = E_CORRUPT;
        }
        return E_CORRUPT;
    }
    TRY(status);
    return avro_schema_parse(file->arena, yyjson_doc_get_root(file->doc), &file->schema, err);
}

enum status avro_open(struct arena *arena, struct str bytes, struct avro_file *out, struct err *err)
{
    struct avro_file file = { .arena = arena };
    buf_init(&file.plain, AVRO_BLOCK_BYTES_MAX);
    enum status status = open_file(&file, bytes, err);
    if (status != OK) {
        avro_close(&file);
        return status;
    }
    *out = file;
    return OK;
}

void avro_close(struct avro_file *file)
{
    json_doc_done(&file->doc);
    buf_done(&file->plain);
}

struct str avro_header(const struct avro_file *file, struct str key)
{
    for (size_t i = 0; i < file->pair_count; i++) {
        if (str_eq(file->pairs[i].key, key)) {
            return file->pairs[i].value;
        }
    }
    return (struct str){ NULL, 0 };
}

static enum status unpack(struct avro_file *file, struct str data, struct str *out, struct err *err)
{
    if (file->codec == READ_NULL) {
        *out = data;
        return OK;
    }
    buf_clear(&file->plain);
    TRY(file->codec == READ_DEFLATE ? avro_inflate(data, &file->plain, err)
                                    : avro_unzstd(data, &file->plain, err));
    *out = file->plain.ptr != NULL ? buf_str(&file->plain) : STR_EMPTY;
    file->plain_total += out->len;
    if (file->plain_total > AVRO_FILE_BYTES_MAX) {
        return err_set(err, E_TOO_LARGE, "the Avro file is larger than %zu bytes when decompressed",
                       AVRO_FILE_BYTES_MAX);
    }
    return OK;
}

enum status avro_next_block(struct avro_file *file, struct avro_cursor *out, bool *more_out,
                            struct err *err)
{
    if (file->rest.len == 0) {
        *more_out = false;
        return OK;
    }
    struct avro_cursor c = { .ptr = file->rest.ptr, .end = file->rest.ptr + file->rest.len };
    int64_t rows = 0;
    struct str data = { 0 };
    uint8_t sync[AVRO_SYNC_BYTES] = { 0 };
    struct str plain = { 0 };
    TRY(get_long(&c, &rows, err));
    TRY(get_sized(&c, &data, err));
    TRY(get_copy(&c, sync, AVRO_SYNC_BYTES, err));
    if (rows < 0 || memcmp(sync, file->sync, AVRO_SYNC_BYTES) != 0) {
        return err_set(err, E_CORRUPT, "an Avro block does not end in the file's marker");
    }
    TRY(unpack(file, data, &plain, err));
    file->rest = str_from(c.ptr, (size_t)(c.end - c.ptr));
    *out = (struct avro_cursor){ .ptr = plain.ptr,
                                 .end = plain.ptr + plain.len,
                                 .rows_left = rows,
                                 .budget = BUDGET_BASE + BUDGET_PER_BYTE * plain.len };
    *more_out = true;
    return OK;
}

/* ---- values ---- */

enum status avro_get_branch(struct avro_cursor *c, const struct avro_type *type,
                            const struct avro_type **type_out, struct err *err)
{
    for (unsigned depth = 0; type->kind == AVRO_UNION; depth++) {
        int64_t branch = 0;
        TRY(get_long(c, &branch, err));
        if (branch < 0 || (uint64_t)branch >= type->field_count || depth > AVRO_DEPTH_MAX) {
            return err_set(err, E_CORRUPT, "an Avro union has no branch %lld", (long long)branch);
        }
        type = type->fields[branch].type;
    }
    *type_out = type;
    return spend(c, err);
}

static enum status wrong_kind(const char *wanted, struct err *err)
{
    return err_set(err, E_CORRUPT, "an Avro field is no %s", wanted);
}

enum status avro_get_i64(struct avro_cursor *c, const struct avro_type *type, int64_t *out,
                         struct err *err)
{
    TRY(avro_get_branch(c, type, &type, err));
    if (type->kind == AVRO_NULL) {
        return OK;
    }
    if (type->kind != AVRO_INT && type->kind != AVRO_LONG) {
        return wrong_kind("whole number", err);
    }
    return get_long(c, out, err);
}

enum status avro_get_bool(struct avro_cursor *c, const struct avro_type *type, bool *out,
                          struct err *err)
{
    uint8_t byte = 0;
    TRY(avro_get_branch(c, type, &type, err));
    if (type->kind == AVRO_NULL) {
        return OK;
    }
    if (type->kind != AVRO_BOOLEAN) {
        return wrong_kind("boolean", err);
    }
    TRY(get_copy(c, &byte, 1, err));
    *out = byte != 0;
    return OK;
}

enum status avro_get_bytes(struct avro_cursor *c, const struct avro_type *type, struct str *out,
                           struct err *err)
{
    TRY(avro_get_branch(c, type, &type, err));
    if (type->kind == AVRO_NULL) {
        return OK;
    }
    if (type->kind == AVRO_FIXED) {
        return get_raw(c, type->size, out, err);
    }
    if (type->kind != AVRO_BYTES && type->kind != AVRO_STRING) {
        return wrong_kind("string", err);
    }
    return get_sized(c, out, err);
}

enum status avro_get_count(struct avro_cursor *c, uint64_t *out, struct err *err)
{
    int64_t count = 0;
    int64_t bytes = 0;
    TRY(spend(c, err));
    TRY(get_long(c, &count, err));
    if (count < 0) { /* then the block's size in bytes follows */
        TRY(get_long(c, &bytes, err));
        if (count == INT64_MIN || bytes < 0) {
            return err_set(err, E_CORRUPT, "an Avro array has a negative size");
        }
        count = -count;
    }
    *out = (uint64_t)count;
    return OK;
}

static enum status skip_items(struct avro_cursor *c, const struct avro_type *type, unsigned depth,
                              struct err *err)
{
    uint64_t count = 0;
    struct str key = { 0 };
    do {
        TRY(avro_get_count(c, &count, err));
        for (uint64_t i = 0; i < count; i++) {
            if (type->kind == AVRO_MAP) {
                TRY(get_sized(c, &key, err));
            }
            TRY(skip_at(c, type->fields[0].type, depth + 1, err));
        }
    } while (count > 0);
    return OK;
}

static enum status skip_at(struct avro_cursor *c, const struct avro_type *type, unsigned depth,
                           struct err *err)
{
    int64_t number = 0;
    struct str bytes = { 0 };
    if (depth > AVRO_DEPTH_MAX) {
        return err_set(err, E_CORRUPT, "Avro values are nested deeper than %d", AVRO_DEPTH_MAX);
    }
    TRY(avro_get_branch(c, type, &type, err));
    switch (type->kind) {
    case AVRO_UNION:
    case AVRO_NULL:
        return OK;
    case AVRO_BOOLEAN:
        return get_raw(c, 1, &bytes, err);
    case AVRO_INT:
    case AVRO_LONG:
    case AVRO_ENUM:
        return get_long(c, &number, err);
    case AVRO_FLOAT:
        return get_raw(c, 4, &bytes, err);
    case AVRO_DOUBLE:
        return get_raw(c, 8, &bytes, err);
    case AVRO_BYTES:
    case AVRO_STRING:
        return get_sized(c, &bytes, err);
    case AVRO_FIXED:
        return get_raw(c, type->size, &bytes, err);
    case AVRO_RECORD:
        for (size_t i = 0; i < type->field_count; i++) {
            TRY(skip_at(c, type->fields[i].type, depth + 1, err));
        }
        return OK;
    case AVRO_ARRAY:
    case AVRO_MAP:
        return skip_items(c, type, depth, err);
    }
    return err_set(err, E_CORRUPT, "an Avro type is not known");
}

enum status avro_skip(struct avro_cursor *c, const struct avro_type *type, struct err *err)
{
    return skip_at(c, type, 0, err);
}
