/*
 * `lakehouse vectors load`: items from a file or a statement, sent in batches as bytes.
 *
 *   NDJSON, SQL, Parquet -> lines -> one object a line -> id, vector, the rest as metadata \
 *   .npy, .fvecs -------> rows of numbers, ids by their place or from --ids ---------------> batch
 *
 * A batch is sent when it is full, and its answer waited for: what is told as loaded is durable.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/vectors_priv.h"

enum {
    DIMENSION_MAX = 4096,
    /* chosen: large enough that the log's fsync is shared by many, small enough to be one answer */
    BATCH_ITEMS = 1000,
    BATCH_BYTES = 8 * 1024 * 1024,
    LINE_BYTES_MAX = 16 * 1024 * 1024,
    PIECE_BYTES = 64 * 1024,
};

struct load {
    struct http_client *client;
    const struct vectors_options *options;
    struct str index;
    struct cli_progress progress;
    bool ready;         /* the index is known to be there, and to have this dimension */
    uint32_t dimension; /* 0 until the first vector */
    float *vector;      /* [DIMENSION_MAX] the one being read */
    struct buf batch, metadata, line;
    size_t batch_items;
    uint64_t read; /* lines or rows */
    uint64_t added, updated, length;
    FILE *ids;    /* NULL: the number of the row is the id */
    bool columns; /* rows come from columns: an object is there as JSON text */
};

/* --- batches --- */

static enum status make_index(struct load *load, struct err *err)
{
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    if (load->ready || !load->options->create) {
        load->ready = true;
        return OK;
    }
    enum status status = vectors_create(load->client, load->index, load->dimension, load->options,
                                        &answer, err);
    load->ready = status == OK || status == E_EXISTS;
    return load->ready ? OK : status;
}

static enum status send_batch(struct load *load, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    uint64_t added = 0, updated = 0;
    struct http_header type = { STR_INIT("Content-Type"), STR_INIT("application/octet-stream") };
    buf_init(&target, 0);
    if (load->batch_items == 0) {
        return OK;
    }
    TRY(make_index(load, err));
    TRY(vectors_target(load->index, "/add", &target, err));
    if (load->options->mode != NULL && buf_printf(&target, "?mode=%s", load->options->mode) != OK) {
        return err_no_memory(err);
    }
    TRY(cli_call(load->client,
                 &(struct http_call){ .method = HTTP_POST,
                                      .target = buf_str(&target),
                                      .headers = &type,
                                      .header_count = 1,
                                      .body = buf_str(&load->batch),
                                      .deadline = DEADLINE_NEVER },
                 &answer, err));
    TRY(json_parse(buf_str(&answer.body), &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(json_get_u64(root, "added", JSON_REQUIRED, &added, err));
    TRY(json_get_u64(root, "updated", JSON_REQUIRED, &updated, err));
    TRY(json_get_u64(root, "length", JSON_REQUIRED, &load->length, err));
    load->added += added;
    load->updated += updated;
    load->batch_items = 0;
    buf_clear(&load->batch);
    return OK;
}

/** One more item, of load->vector; the batch leaves when it is full. */
static enum status add_item(struct load *load, struct str id, struct str metadata, size_t dimension,
                            struct err *err)
{
    static const char zeros[4];
    struct buf *out = &load->batch;
    if (load->dimension == 0) {
        load->dimension = (uint32_t)dimension;
    }
    if (dimension != load->dimension) {
        return err_set(err, E_INVALID, "a vector of %zu numbers, and those before have %u",
                       dimension, load->dimension);
    }
    uint32_t head[2] = { (uint32_t)id.len, (uint32_t)metadata.len };
    size_t filling = (4 - (id.len + metadata.len) % 4) % 4;
    if (buf_append_bytes(out, head, sizeof(head)) != OK ||
        buf_append_bytes(out, load->vector, dimension * sizeof(float)) != OK ||
        buf_append(out, id) != OK || buf_append(out, metadata) != OK ||
        buf_append_bytes(out, zeros, filling) != OK) {
        return err_no_memory(err);
    }
    load->batch_items++;
    return load->batch_items == BATCH_ITEMS || out->len >= BATCH_BYTES ? send_batch(load, err) : OK;
}

/* --- lines of JSON --- */

static bool is_vector(yyjson_val *value)
{
    size_t i, max;
    yyjson_val *one;
    if (yyjson_arr_size(value) == 0) {
        return false;
    }
    yyjson_arr_foreach(value, i, max, one)
    {
        if (!yyjson_is_num(one)) {
            return false;
        }
    }
    return true;
}

/** The field that is the vector; NULL, with a message, when it cannot be told. */
static yyjson_val *vector_key(yyjson_val *row, const char *wanted, struct err *err)
{
    static const char *const usual[] = { "vector", "embedding" };
    size_t i, max, u = wanted == NULL ? 0 : ARRAY_LEN(usual);
    yyjson_val *key, *value, *found = NULL;
    for (; wanted == NULL && u < ARRAY_LEN(usual); u++) {
        wanted = yyjson_obj_get(row, usual[u]) != NULL ? usual[u] : NULL;
    }
    yyjson_obj_foreach(row, i, max, key, value)
    {
        bool named = wanted != NULL && str_eq(str_of(wanted), str_of(yyjson_get_str(key)));
        if (named || (wanted == NULL && is_vector(value))) {
            if (found != NULL) {
                err_set(err, E_INVALID,
                        "\"%s\" and \"%s\" are both lists of numbers: --vector-field says which",
                        yyjson_get_str(found), yyjson_get_str(key));
                return NULL;
            }
            found = key;
        }
    }
    if (found == NULL) {
        err_set(err, E_INVALID,
                wanted != NULL ? "it has no field \"%s\"" : "it has no list of numbers%s",
                wanted != NULL ? wanted : "");
    }
    return found;
}

static enum status read_vector(struct load *load, yyjson_val *list, size_t *count_out,
                               struct err *err)
{
    size_t i, max;
    yyjson_val *value;
    if (yyjson_arr_size(list) > DIMENSION_MAX || !is_vector(list)) {
        return err_set(err, E_INVALID, "the vector is no list of 1 to %d numbers", DIMENSION_MAX);
    }
    yyjson_arr_foreach(list, i, max, value)
    {
        load->vector[i] = (float)yyjson_get_num(value);
    }
    *count_out = yyjson_arr_size(list);
    return OK;
}

/** Text, or a whole number as its digits. */
static enum status read_id(yyjson_val *value, char number[32], struct str *out, struct err *err)
{
    if (yyjson_is_str(value)) {
        *out = str_from(yyjson_get_str(value), yyjson_get_len(value));
        return OK;
    }
    if (!yyjson_is_int(value)) {
        return err_set(err, E_INVALID, "its id is neither text nor a whole number");
    }
    int len = yyjson_is_sint(value)
                  ? snprintf(number, 32, "%lld", (long long)yyjson_get_sint(value))
                  : snprintf(number, 32, "%llu", (unsigned long long)yyjson_get_uint(value));
    *out = str_from(number, (size_t)len);
    return OK;
}

/** Metadata that a column has as text: an object, as export writes it. */
static bool is_object_text(const struct load *load, yyjson_val *value)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct err none;
    return load->columns && yyjson_is_str(value) &&
           json_parse(str_from(yyjson_get_str(value), yyjson_get_len(value)), &doc, &none) == OK &&
           yyjson_is_obj(yyjson_doc_get_root(doc));
}

/** All other fields as an object; a single one named "metadata" that is an object is it itself. */
static enum status read_metadata(struct load *load, yyjson_val *row, yyjson_val *id_key,
                                 yyjson_val *vector_field, struct err *err)
{
    size_t i, max;
    yyjson_val *key, *value, *whole = yyjson_obj_get(row, "metadata");
    struct json_writer w;
    buf_clear(&load->metadata);
    if (yyjson_obj_size(row) == 2) {
        return OK;
    }
    if (yyjson_obj_size(row) == 3 && is_object_text(load, whole)) {
        struct str text = str_from(yyjson_get_str(whole), yyjson_get_len(whole));
        return buf_append(&load->metadata, text) == OK ? OK : err_no_memory(err);
    }
    json_writer_init(&w, &load->metadata);
    if (yyjson_obj_size(row) == 3 && (yyjson_is_obj(whole) || yyjson_is_null(whole))) {
        if (yyjson_is_null(whole)) {
            return OK;
        }
        jw_val(&w, whole);
        return json_writer_end(&w) == OK ? OK : err_no_memory(err);
    }
    jw_obj_begin(&w);
    yyjson_obj_foreach(row, i, max, key, value)
    {
        if (key != id_key && key != vector_field) {
            jw_key(&w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
            jw_val(&w, value);
        }
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static yyjson_val *key_named(yyjson_val *row, const char *name)
{
    size_t i, max;
    yyjson_val *key, *value;
    yyjson_obj_foreach(row, i, max, key, value)
    {
        if (str_eq(str_of(name), str_from(yyjson_get_str(key), yyjson_get_len(key)))) {
            return key;
        }
    }
    return NULL;
}

/** An object: its id, its vector, and the rest. */
static enum status take_row(struct load *load, yyjson_val *row, struct err *err)
{
    const char *id_field = load->options->id_field != NULL ? load->options->id_field : "id";
    char number[32];
    struct str id;
    size_t dimension = 0;
    if (!yyjson_is_obj(row)) {
        return err_set(err, E_INVALID, "it is no object");
    }
    yyjson_val *id_key = key_named(row, id_field);
    if (id_key == NULL) {
        return err_set(err, E_INVALID, "it has no field \"%s\" (--id-field names another)",
                       id_field);
    }
    yyjson_val *field = vector_key(row, load->options->vector_field, err);
    if (field == NULL) {
        return E_INVALID;
    }
    TRY(read_id(yyjson_obj_iter_get_val(id_key), number, &id, err));
    TRY(read_vector(load, yyjson_obj_iter_get_val(field), &dimension, err));
    TRY(read_metadata(load, row, id_key, field, err));
    return add_item(load, id, buf_str(&load->metadata), dimension, err);
}

static enum status take_line(struct load *load, struct str line, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    load->read++;
    if (str_trim(line).len == 0) {
        return OK;
    }
    enum status status = json_parse(line, &doc, err);
    yyjson_val *row = yyjson_doc_get_root(doc);
    yyjson_val *late = status == OK ? yyjson_obj_get(row, "error") : NULL;
    if (load->options->sql != NULL && yyjson_is_obj(late) && yyjson_obj_size(row) == 1) {
        const char *told = yyjson_get_str(yyjson_obj_get(late, "message"));
        return err_set(err, E_UPSTREAM, "%s", told != NULL ? told : "the statement failed");
    }
    uint64_t sent = load->added + load->updated;
    status = status == OK ? take_row(load, row, err) : status;
    if (status != OK && sent == load->added + load->updated) {
        return err_context(err, "%s %llu", load->columns ? "row" : "line",
                           (unsigned long long)load->read);
    }
    return status;
}

/** Bytes as they come, cut into lines. */
static enum status take_bytes(void *ctx, struct str bytes, struct err *err)
{
    struct load *load = ctx;
    while (bytes.len > 0) {
        size_t end = str_find_char(bytes, '\n');
        struct str piece = str_take(bytes, end == SIZE_MAX ? bytes.len : end);
        if (load->line.len + piece.len > LINE_BYTES_MAX) {
            return err_set(err, E_INVALID, "a line is longer than %d bytes", LINE_BYTES_MAX);
        }
        if (end == SIZE_MAX) {
            return buf_append(&load->line, piece) == OK ? OK : err_no_memory(err);
        }
        bytes = str_skip(bytes, end + 1);
        if (load->line.len == 0) {
            TRY(take_line(load, piece, err));
            continue;
        }
        if (buf_append(&load->line, piece) != OK) {
            return err_no_memory(err);
        }
        TRY(take_line(load, buf_str(&load->line), err));
        buf_clear(&load->line);
    }
    return OK;
}

static enum status take_rest(struct load *load, struct err *err)
{
    return load->line.len > 0 ? take_line(load, buf_str(&load->line), err) : OK;
}

static enum status load_lines(struct load *load, FILE *file, struct err *err)
{
    char piece[PIECE_BYTES];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0) {
        cli_progress_add(&load->progress, n);
        TRY(take_bytes(load, str_from(piece, n), err));
    }
    return ferror(file) ? err_errno(err, errno, "cannot read it") : take_rest(load, err);
}

static enum status load_sql(struct load *load, struct err *err)
{
    AUTO(buf_done) struct buf body;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    struct http_header type = { STR_INIT("Content-Type"), STR_INIT("application/json") };
    struct json_writer w;
    buf_init(&body, 0);
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "sql", load->options->sql);
    jw_kv_cstr(&w, "format", "ndjson");
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    TRY(cli_call(load->client,
                 &(struct http_call){ .method = HTTP_POST,
                                      .target = STR("/v1/sql"),
                                      .headers = &type,
                                      .header_count = 1,
                                      .body = buf_str(&body),
                                      .write_body = take_bytes,
                                      .ctx = load,
                                      .deadline = DEADLINE_NEVER },
                 &answer, err));
    return take_rest(load, err);
}

static enum status load_parquet(struct load *load, FILE *file, struct err *err)
{
    load->columns = true;
    TRY(vectors_unpack(file, take_bytes, load, err));
    return take_rest(load, err);
}

/* --- rows of numbers --- */

static enum status read_bytes(struct load *load, FILE *file, void *out, size_t len, struct err *err)
{
    size_t got = fread(out, 1, len, file);
    cli_progress_add(&load->progress, got);
    if (got == len) {
        return OK;
    }
    return ferror(file) ? err_errno(err, errno, "cannot read it")
                        : err_set(err, E_INVALID, "it ends in the middle, in row %llu",
                                  (unsigned long long)load->read);
}

/** The next line of --ids. */
static enum status next_id(struct load *load, char *line, int size, struct str *out,
                           struct err *err)
{
    if (fgets(line, size, load->ids) == NULL) {
        return err_set(err, E_INVALID, "--ids has only %llu lines", (unsigned long long)load->read);
    }
    *out = str_of(line);
    while (out->len > 0 && (out->ptr[out->len - 1] == '\n' || out->ptr[out->len - 1] == '\r')) {
        out->len--;
    }
    return OK;
}

/** The row in load->vector becomes an item. */
static enum status add_row(struct load *load, size_t dimension, struct err *err)
{
    char line[1024];
    struct str id;
    if (load->ids != NULL) {
        TRY(next_id(load, line, (int)sizeof(line), &id, err));
    } else {
        int len = snprintf(line, sizeof(line), "%llu", (unsigned long long)load->read);
        id = str_from(line, (size_t)len);
    }
    load->read++;
    return add_item(load, id, STR_EMPTY, dimension, err);
}

/** The length in front of a row; *got_out false at the end of the file. */
static enum status read_length(struct load *load, FILE *file, int32_t *out, bool *got_out,
                               struct err *err)
{
    size_t got = fread(out, 1, sizeof(*out), file);
    cli_progress_add(&load->progress, got);
    *got_out = got == sizeof(*out);
    if (!*got_out && ferror(file)) {
        return err_errno(err, errno, "cannot read it");
    }
    if (got > 0 && !*got_out) {
        return err_set(err, E_INVALID, "it ends in the middle, in row %llu",
                       (unsigned long long)load->read);
    }
    return !*got_out || (*out >= 1 && *out <= DIMENSION_MAX)
               ? OK
               : err_set(err, E_INVALID, "row %llu has dimension %d: it is 1 to %d",
                         (unsigned long long)load->read, *out, DIMENSION_MAX);
}

static enum status load_fvecs(struct load *load, FILE *file, struct err *err)
{
    for (;;) {
        int32_t dimension = 0;
        bool more;
        TRY(read_length(load, file, &dimension, &more, err));
        if (!more) {
            return OK;
        }
        TRY(read_bytes(load, file, load->vector, (size_t)dimension * sizeof(float), err));
        TRY(add_row(load, (size_t)dimension, err));
    }
}

struct npy {
    uint64_t rows, columns;
    bool wide; /* float64 */
};

/** What stands behind `'key':` in the header's Python dictionary; .ptr NULL: nothing. */
static struct str npy_field(struct str header, const char *key)
{
    size_t at = str_find(header, str_of(key));
    return at == SIZE_MAX ? (struct str){ NULL, 0 } : str_trim(str_skip(header, at + strlen(key)));
}

/** `(60000, 784)`, `(784,)` */
static bool npy_shape(struct str text, struct npy *out)
{
    size_t close = str_find_char(text, ')');
    if (text.len == 0 || text.ptr[0] != '(' || close == SIZE_MAX) {
        return false;
    }
    struct str rest = str_from(text.ptr + 1, close - 1);
    struct str first = str_trim(str_split(&rest, ','));
    struct str second = rest.ptr != NULL ? str_trim(str_split(&rest, ',')) : STR_EMPTY;
    if (second.len == 0) { /* one vector */
        out->rows = 1;
        return str_to_u64(first, &out->columns);
    }
    bool more = rest.ptr != NULL && str_trim(rest).len > 0;
    return !more && str_to_u64(first, &out->rows) && str_to_u64(second, &out->columns);
}

/** Source: NumPy's format, versions 1 to 3 (numpy.lib.format). */
static enum status npy_head(struct load *load, FILE *file, struct npy *out, struct err *err)
{
    uint8_t magic[8], length[4] = { 0 };
    AUTO(buf_done) struct buf header;
    buf_init(&header, 1024 * 1024);
    TRY(read_bytes(load, file, magic, sizeof(magic), err));
    if (memcmp(magic, "\x93NUMPY", 6) != 0 || magic[6] < 1 || magic[6] > 3) {
        return err_set(err, E_INVALID, "it is no .npy file of versions 1 to 3");
    }
    TRY(read_bytes(load, file, length, magic[6] == 1 ? 2 : 4, err));
    size_t len = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 |
                 (size_t)length[3] << 24;
    char *room = buf_reserve(&header, len);
    if (room == NULL) {
        return err_set(err, E_INVALID, "its header has %zu bytes", len);
    }
    TRY(read_bytes(load, file, room, len, err));
    struct str text = str_from(room, len);
    struct str type = npy_field(text, "'descr':"), order = npy_field(text, "'fortran_order':");
    out->wide = type.ptr != NULL && str_starts(type, STR("'<f8'"));
    if (type.ptr == NULL || !(out->wide || str_starts(type, STR("'<f4'")))) {
        return err_set(err, E_INVALID, "its numbers are not float32 or float64, little endian");
    }
    if (order.ptr == NULL || !str_starts(order, STR("False"))) {
        return err_set(err, E_INVALID,
                       "it is in Fortran's order: save it as numpy.ascontiguousarray");
    }
    if (!npy_shape(npy_field(text, "'shape':"), out)) {
        return err_set(err, E_INVALID, "it is no array of one or two dimensions");
    }
    return out->columns >= 1 && out->columns <= DIMENSION_MAX
               ? OK
               : err_set(err, E_INVALID, "its rows have %llu numbers: 1 to %d are taken",
                         (unsigned long long)out->columns, DIMENSION_MAX);
}

static enum status load_npy(struct load *load, FILE *file, struct err *err)
{
    struct npy npy = { 0 };
    double wide[DIMENSION_MAX];
    TRY(npy_head(load, file, &npy, err));
    size_t columns = (size_t)npy.columns;
    for (uint64_t row = 0; row < npy.rows; row++) {
        if (npy.wide) {
            TRY(read_bytes(load, file, wide, columns * sizeof(double), err));
            for (size_t i = 0; i < columns; i++) {
                load->vector[i] = (float)wide[i];
            }
        } else {
            TRY(read_bytes(load, file, load->vector, columns * sizeof(float), err));
        }
        TRY(add_row(load, columns, err));
    }
    return getc(file) == EOF ? OK : err_set(err, E_INVALID, "something stands behind its last row");
}

/* --- the command --- */

static const char *format_of(const char *path, const struct vectors_options *options)
{
    struct str name = str_of(path);
    return options->format != NULL           ? options->format
           : str_ends(name, STR(".npy"))     ? "npy"
           : str_ends(name, STR(".parquet")) ? "parquet"
           : str_ends(name, STR(".fvecs"))   ? "fvecs"
                                             : "ndjson";
}

static enum status load_open_file(struct load *load, const char *path, FILE *file, struct err *err)
{
    const char *format = format_of(path, load->options);
    bool lines = strcmp(format, "ndjson") == 0, npy = strcmp(format, "npy") == 0;
    bool parquet = strcmp(format, "parquet") == 0;
    struct stat info;
    if (!lines && !npy && !parquet && strcmp(format, "fvecs") != 0) {
        return err_set(err, E_INVALID, "--format %s: it is ndjson, parquet, npy or fvecs", format);
    }
    if (fstat(fileno(file), &info) != 0 || S_ISDIR(info.st_mode)) {
        return err_set(err, E_INVALID, "it is no file");
    }
    cli_progress_start(&load->progress, path,
                       S_ISREG(info.st_mode) && !parquet ? (uint64_t)info.st_size : 0);
    return lines     ? load_lines(load, file, err)
           : parquet ? load_parquet(load, file, err)
           : npy     ? load_npy(load, file, err)
                     : load_fvecs(load, file, err);
}

static enum status load_with_ids(struct load *load, const char *path, FILE *file, struct err *err)
{
    const char *ids = load->options->ids;
    if (ids == NULL) {
        return load_open_file(load, path, file, err);
    }
    load->ids = fopen(ids, "re");
    if (load->ids == NULL) {
        return err_errno(err, errno, "--ids: cannot open \"%s\"", ids);
    }
    enum status status = load_open_file(load, path, file, err);
    (void)fclose(load->ids);
    load->ids = NULL;
    return status;
}

static enum status load_file(struct load *load, const char *path, struct err *err)
{
    if (strcmp(path, "-") == 0) {
        return load_with_ids(load, path, stdin, err);
    }
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return err_errno(err, errno, "cannot open it");
    }
    enum status status = load_with_ids(load, path, file, err);
    (void)fclose(file);
    return status;
}

static enum status report(const struct load *load, int64_t took_us, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, 0);
    if (load->options->json) {
        return cli_print(arena_printf(&arena, "{\"added\":%llu,\"updated\":%llu,\"length\":%llu}\n",
                                      (unsigned long long)load->added,
                                      (unsigned long long)load->updated,
                                      (unsigned long long)load->length),
                         err);
    }
    struct str added = cli_count(&arena, (int64_t)load->added),
               updated = cli_count(&arena, (int64_t)load->updated),
               length = cli_count(&arena, (int64_t)load->length);
    return cli_print(arena_printf(&arena,
                                  "%.*s: %.*s added, %.*s replaced, %.*s there now (%.1f s)\n",
                                  STR_ARG(load->index), STR_ARG(added), STR_ARG(updated),
                                  STR_ARG(length), (double)took_us / 1e6),
                     err);
}

static enum status run(struct load *load, const char *file, struct err *err)
{
    int64_t start_us = clock_now_us();
    enum status status = file != NULL ? load_file(load, file, err) : load_sql(load, err);
    if (status == OK) {
        status = send_batch(load, err);
    }
    cli_progress_end(&load->progress);
    if (status == OK && load->read == 0) {
        return err_set(err, E_INVALID, "there are no vectors in it");
    }
    if (status != OK) {
        struct err why = *err;
        return err_set(err, status, "%s%s%s (%llu items before are in)", file != NULL ? file : "",
                       file != NULL ? ": " : "", why.msg,
                       (unsigned long long)(load->added + load->updated));
    }
    return report(load, clock_now_us() - start_us, err);
}

enum status vectors_load(struct http_client *client, struct str name, const char *file,
                         const struct vectors_options *options, struct err *err)
{
    struct load load = {
        .client = client, .options = options, .index = name, .columns = options->sql != NULL
    };
    buf_init(&load.batch, 0);
    buf_init(&load.metadata, 0);
    buf_init(&load.line, 0);
    load.vector = mem_alloc(DIMENSION_MAX * sizeof(float));
    enum status status = load.vector != NULL ? run(&load, file, err) : err_no_memory(err);
    mem_free(load.vector);
    buf_done(&load.batch);
    buf_done(&load.metadata);
    buf_done(&load.line);
    return status;
}
