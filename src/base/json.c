/*
 * JSON: yyjson for reading, with our limits and errors, and the writer.
 *
 * yyjson reads without recursion, but whoever walks a document recurses, so the depth is limited
 * before parsing by one pass over the text. yyjson allocates through base/mem.h, which makes its
 * failures testable.
 */
#include "base/json.h"

#include <math.h>

#include "base/mem.h"

static void *alc_malloc(void *ctx, size_t size);
static void *alc_realloc(void *ctx, void *ptr, size_t old_size, size_t size);
static void alc_free(void *ctx, void *ptr);
static size_t find_too_deep(struct str text);
static enum status fail_at(struct str text, size_t pos, const char *what, struct err *err);
static enum status get_field(yyjson_val *obj, const char *name, enum json_need need,
                             yyjson_val **out, struct err *err);
static enum status fail_type(const char *name, const char *wanted, yyjson_val *value,
                             struct err *err);
static const char *type_name(yyjson_val *value);
static void put(struct json_writer *w, enum status status);
static void put_char(struct json_writer *w, char c);
static void put_text(struct json_writer *w, const char *text);
static void before_value(struct json_writer *w);
static void begin(struct json_writer *w, char bracket);
static void end(struct json_writer *w, char bracket);
static void put_val(struct json_writer *w, const yyjson_val *value, const yyjson_alc *alc);
static enum status append_escaped(struct buf *out, struct str value);
static enum status append_escape(struct buf *out, unsigned char c);

static const yyjson_alc heap_alc = {
    .malloc = alc_malloc,
    .realloc = alc_realloc,
    .free = alc_free,
};

/* ---- reading ---- */

enum status json_parse(struct str text, yyjson_doc **out, struct err *err)
{
    if (text.len == 0) {
        return err_set(err, E_INVALID, "not valid JSON: the text is empty");
    }
    size_t too_deep = find_too_deep(text);
    if (too_deep != SIZE_MAX) {
        return fail_at(text, too_deep, "nested too deep", err);
    }
    yyjson_read_err fault;
    /* Without the IN SITU flag the text is only read; the cast is the library's signature. */
    yyjson_doc *doc = yyjson_read_opts((char *)text.ptr, text.len, YYJSON_READ_BIGNUM_AS_RAW,
                                       &heap_alc, &fault);
    if (doc == NULL && fault.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        return err_no_memory(err);
    }
    if (doc == NULL) {
        return fail_at(text, fault.pos, fault.msg, err);
    }
    *out = doc;
    return OK;
}

void json_doc_done(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
    *doc = NULL;
}

void json_mut_doc_done(yyjson_mut_doc **doc)
{
    yyjson_mut_doc_free(*doc);
    *doc = NULL;
}

enum status json_get_str(yyjson_val *obj, const char *name, enum json_need need, struct str *out,
                         struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_str(value)) {
        return fail_type(name, "a string", value, err);
    }
    *out = str_from(yyjson_get_str(value), yyjson_get_len(value));
    return OK;
}

enum status json_get_i64(yyjson_val *obj, const char *name, enum json_need need, int64_t *out,
                         struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_int(value)) {
        return fail_type(name, "a whole number of 64 bits", value, err);
    }
    if (yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX) {
        return err_set(err, E_INVALID, "field \"%s\" must not be larger than %lld", name,
                       (long long)INT64_MAX);
    }
    *out = yyjson_get_sint(value);
    return OK;
}

enum status json_get_u64(yyjson_val *obj, const char *name, enum json_need need, uint64_t *out,
                         struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_int(value)) {
        return fail_type(name, "a whole number of 64 bits", value, err);
    }
    if (!yyjson_is_uint(value)) {
        return err_set(err, E_INVALID, "field \"%s\" must not be negative", name);
    }
    *out = yyjson_get_uint(value);
    return OK;
}

enum status json_get_double(yyjson_val *obj, const char *name, enum json_need need, double *out,
                            struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_num(value)) {
        return fail_type(name, "a number", value, err);
    }
    *out = yyjson_get_num(value);
    return OK;
}

enum status json_get_bool(yyjson_val *obj, const char *name, enum json_need need, bool *out,
                          struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_bool(value)) {
        return fail_type(name, "true or false", value, err);
    }
    *out = yyjson_get_bool(value);
    return OK;
}

enum status json_get_obj(yyjson_val *obj, const char *name, enum json_need need, yyjson_val **out,
                         struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_obj(value)) {
        return fail_type(name, "an object", value, err);
    }
    *out = value;
    return OK;
}

enum status json_get_arr(yyjson_val *obj, const char *name, enum json_need need, yyjson_val **out,
                         struct err *err)
{
    yyjson_val *value;
    TRY(get_field(obj, name, need, &value, err));
    if (value == NULL) {
        return OK;
    }
    if (!yyjson_is_arr(value)) {
        return fail_type(name, "an array", value, err);
    }
    *out = value;
    return OK;
}

/* ---- writing ---- */

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){ .out = out, .start_len = out->len };
}

enum status json_writer_end(struct json_writer *w)
{
    if (w->status == OK && w->depth > 0) {
        w->status = E_INTERNAL;
    }
    if (w->status != OK) {
        w->out->len = w->start_len;
    }
    return w->status;
}

void jw_obj_begin(struct json_writer *w)
{
    begin(w, '{');
}

void jw_obj_end(struct json_writer *w)
{
    end(w, '}');
}

void jw_arr_begin(struct json_writer *w)
{
    begin(w, '[');
}

void jw_arr_end(struct json_writer *w)
{
    end(w, ']');
}

void jw_key(struct json_writer *w, struct str key)
{
    jw_str(w, key);
    put_char(w, ':');
    w->comma[w->depth] = false; /* no comma between a key and its value */
}

void jw_str(struct json_writer *w, struct str value)
{
    before_value(w);
    if (w->status == OK) {
        put(w, json_append_string(w->out, value));
    }
}

/** Lists of files have millions of numbers: printf is a third of what they take. */
static void put_number(struct json_writer *w, bool negative, uint64_t magnitude)
{
    char text[20 + 1];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (negative) {
        text[--at] = '-';
    }
    before_value(w);
    if (w->status == OK) {
        put(w, buf_append(w->out, str_from(text + at, sizeof(text) - at)));
    }
}

void jw_i64(struct json_writer *w, int64_t value)
{
    put_number(w, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void jw_u64(struct json_writer *w, uint64_t value)
{
    put_number(w, false, value);
}

void jw_double(struct json_writer *w, double value)
{
    if (isnan(value)) {
        jw_str(w, STR("NaN"));
        return;
    }
    if (isinf(value)) {
        jw_str(w, value > 0 ? STR("Infinity") : STR("-Infinity"));
        return;
    }
    /* yyjson prints the shortest text that reads back as the same number; on the stack. */
    char memory[1024];
    yyjson_alc alc;
    yyjson_val number = { 0 };
    bool ready = yyjson_alc_pool_init(&alc, memory, sizeof(memory)) &&
                 yyjson_set_real(&number, value);
    assert(ready);
    (void)ready;
    put_val(w, &number, &alc);
}

void jw_bool(struct json_writer *w, bool value)
{
    before_value(w);
    put_text(w, value ? "true" : "false");
}

void jw_null(struct json_writer *w)
{
    before_value(w);
    put_text(w, "null");
}

void jw_raw(struct json_writer *w, struct str json)
{
    before_value(w);
    if (w->status == OK) {
        put(w, buf_append(w->out, json));
    }
}

void jw_val(struct json_writer *w, yyjson_val *value)
{
    put_val(w, value, &heap_alc);
}

void jw_arr_begin_with(struct json_writer *w, yyjson_val *arr)
{
    if (yyjson_arr_size(arr) == 0) {
        jw_arr_begin(w);
        return;
    }
    put_val(w, arr, &heap_alc);
    if (w->status == OK) {
        w->out->len--; /* the bracket that closes it: more will follow */
    }
    w->depth++;
    assert(w->depth <= JSON_WRITER_DEPTH_MAX);
    w->comma[w->depth] = true;
}

void jw_kv_str(struct json_writer *w, const char *key, struct str value)
{
    jw_key(w, str_of(key));
    jw_str(w, value);
}

void jw_kv_cstr(struct json_writer *w, const char *key, const char *value)
{
    jw_key(w, str_of(key));
    jw_str(w, str_of(value));
}

void jw_kv_i64(struct json_writer *w, const char *key, int64_t value)
{
    jw_key(w, str_of(key));
    jw_i64(w, value);
}

void jw_kv_u64(struct json_writer *w, const char *key, uint64_t value)
{
    jw_key(w, str_of(key));
    jw_u64(w, value);
}

void jw_kv_bool(struct json_writer *w, const char *key, bool value)
{
    jw_key(w, str_of(key));
    jw_bool(w, value);
}

void jw_kv_obj(struct json_writer *w, const char *key)
{
    jw_key(w, str_of(key));
    jw_obj_begin(w);
}

void jw_kv_arr(struct json_writer *w, const char *key)
{
    jw_key(w, str_of(key));
    jw_arr_begin(w);
}

enum status json_append_string(struct buf *out, struct str value)
{
    size_t start = out->len;
    enum status status = buf_append_char(out, '"');
    if (status == OK) {
        status = append_escaped(out, value);
    }
    if (status == OK) {
        status = buf_append_char(out, '"');
    }
    if (status != OK) {
        out->len = start;
    }
    return status;
}

/* ---- helpers of reading ---- */

static void *alc_malloc(void *ctx UNUSED, size_t size)
{
    return mem_alloc(size);
}

static void *alc_realloc(void *ctx UNUSED, void *ptr, size_t old_size UNUSED, size_t size)
{
    return mem_realloc(ptr, size);
}

static void alc_free(void *ctx UNUSED, void *ptr)
{
    mem_free(ptr);
}

/** Index of the quote that ends the string whose text begins at `from`; text.len when none does. */
static size_t string_end(struct str text, size_t from)
{
    for (size_t at = from; at < text.len; at++) {
        const char *quote = memchr(text.ptr + at, '"', text.len - at);
        if (quote == NULL) {
            break;
        }
        at = (size_t)(quote - text.ptr);
        size_t slashes = 0;
        while (slashes < at - from && text.ptr[at - 1 - slashes] == '\\') {
            slashes++;
        }
        if (slashes % 2 == 0) { /* what is escaped ends no string */
            return at;
        }
    }
    return text.len;
}

/** Where the text first opens more than JSON_DEPTH_MAX brackets at once, or SIZE_MAX. Most of a
 * long document is text within quotes, which is passed over by memchr. */
static size_t find_too_deep(struct str text)
{
    int depth = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '"') {
            i = string_end(text, i + 1);
        } else if (c == '{' || c == '[') {
            depth++;
            if (depth > JSON_DEPTH_MAX) {
                return i;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return SIZE_MAX;
}

static enum status fail_at(struct str text, size_t pos, const char *what, struct err *err)
{
    size_t line = 1;
    size_t column = 1; /* in characters: bytes that continue a UTF-8 character do not count */
    for (size_t i = 0; i < pos && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text.ptr[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    return err_set(err, E_INVALID, "not valid JSON: line %zu, column %zu: %s", line, column, what);
}

/** The value of a field; NULL when an optional one is missing or null. */
static enum status get_field(yyjson_val *obj, const char *name, enum json_need need,
                             yyjson_val **out, struct err *err)
{
    if (!yyjson_is_obj(obj)) {
        return err_set(err, E_INVALID, "expected an object with the field \"%s\", found %s", name,
                       obj == NULL ? "nothing" : type_name(obj));
    }
    yyjson_val *value = yyjson_obj_get(obj, name);
    if (yyjson_is_null(value)) {
        value = NULL;
    }
    if (value == NULL && need == JSON_REQUIRED) {
        return err_set(err, E_INVALID, "field \"%s\" is missing", name);
    }
    *out = value;
    return OK;
}

static enum status fail_type(const char *name, const char *wanted, yyjson_val *value,
                             struct err *err)
{
    return err_set(err, E_INVALID, "field \"%s\" must be %s, not %s", name, wanted,
                   type_name(value));
}

static const char *type_name(yyjson_val *value)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_RAW:
        return "a number outside 64 bits";
    case YYJSON_TYPE_NULL:
        return "null";
    case YYJSON_TYPE_BOOL:
        return "true or false";
    case YYJSON_TYPE_NUM:
        return yyjson_is_real(value) ? "a fraction" : "a number";
    case YYJSON_TYPE_STR:
        return "a string";
    case YYJSON_TYPE_ARR:
        return "an array";
    case YYJSON_TYPE_OBJ:
        return "an object";
    default:
        return "something unknown";
    }
}

/* ---- helpers of writing ---- */

/** Remember the first failure. */
static void put(struct json_writer *w, enum status status)
{
    if (w->status == OK) {
        w->status = status;
    }
}

static void put_char(struct json_writer *w, char c)
{
    if (w->status == OK) {
        put(w, buf_append_char(w->out, c));
    }
}

static void put_text(struct json_writer *w, const char *text)
{
    if (w->status == OK) {
        put(w, buf_append(w->out, str_of(text)));
    }
}

static void before_value(struct json_writer *w)
{
    if (w->comma[w->depth]) {
        put_char(w, ',');
    }
    w->comma[w->depth] = true;
}

static void begin(struct json_writer *w, char bracket)
{
    before_value(w);
    put_char(w, bracket);
    w->depth++;
    assert(w->depth <= JSON_WRITER_DEPTH_MAX);
    w->comma[w->depth] = false;
}

static void end(struct json_writer *w, char bracket)
{
    assert(w->depth > 0);
    w->depth--;
    put_char(w, bracket);
}

static void put_val(struct json_writer *w, const yyjson_val *value, const yyjson_alc *alc)
{
    before_value(w);
    if (w->status != OK) {
        return;
    }
    size_t len;
    yyjson_write_err fault;
    char *text = yyjson_val_write_opts(value, YYJSON_WRITE_ALLOW_INVALID_UNICODE, alc, &len,
                                       &fault);
    if (text == NULL) {
        put(w, fault.code == YYJSON_WRITE_ERROR_MEMORY_ALLOCATION ? E_NO_MEMORY : E_INTERNAL);
        return;
    }
    put(w, buf_append(w->out, str_from(text, len)));
    alc->free(alc->ctx, text);
}

/** Copies runs of plain bytes at once, and what is between them one by one. */
static enum status append_escaped(struct buf *out, struct str value)
{
    size_t plain_from = 0;
    size_t at = 0;
    while (at < value.len) {
        unsigned char c = (unsigned char)value.ptr[at];
        size_t char_len = c < 0x80 ? 1 : str_utf8_len(str_skip(value, at));
        if (char_len > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += char_len;
            continue;
        }
        TRY(buf_append_bytes(out, value.ptr + plain_from, at - plain_from));
        TRY(char_len == 0 ? buf_append(out, STR("\xEF\xBF\xBD")) : append_escape(out, c));
        at++;
        plain_from = at;
    }
    return plain_from == value.len
               ? OK
               : buf_append_bytes(out, value.ptr + plain_from, value.len - plain_from);
}

static enum status append_escape(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        return buf_append(out, STR("\\\""));
    case '\\':
        return buf_append(out, STR("\\\\"));
    case '\n':
        return buf_append(out, STR("\\n"));
    case '\r':
        return buf_append(out, STR("\\r"));
    case '\t':
        return buf_append(out, STR("\\t"));
    default:
        return buf_printf(out, "\\u%04x", (unsigned)c);
    }
}
