/*
 * JSON. Reading is yyjson with our limits and errors; writing is a small writer straight into a
 * buffer, for bodies that need no tree. Numbers keep 64 bits; other big numbers stay raw text.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <yyjson.h>

#include "base/arena.h"
#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { JSON_DEPTH_MAX = 100 };

/**
 * Parse a whole document.
 *
 * Errors   E_INVALID with line and column; deeper than JSON_DEPTH_MAX is E_INVALID too
 * Owns     the caller frees *out with yyjson_doc_free
 */
enum status json_parse(struct str text, yyjson_doc **out, struct err *err) MUST_USE;
void json_doc_done(yyjson_doc **doc); /* for AUTO() */
void json_mut_doc_done(yyjson_mut_doc **doc);

/* Fields of an object, each with a clear error that names the field. A required field that is
 * missing is E_INVALID; an optional one leaves *out as it was. null counts as missing. Strings
 * borrow from the document. */
enum json_need { JSON_OPTIONAL, JSON_REQUIRED };
enum status json_get_str(yyjson_val *obj, const char *name, enum json_need need, struct str *out,
                         struct err *err) MUST_USE;
enum status json_get_i64(yyjson_val *obj, const char *name, enum json_need need, int64_t *out,
                         struct err *err) MUST_USE;
enum status json_get_u64(yyjson_val *obj, const char *name, enum json_need need, uint64_t *out,
                         struct err *err) MUST_USE;
enum status json_get_double(yyjson_val *obj, const char *name, enum json_need need, double *out,
                            struct err *err) MUST_USE;
enum status json_get_bool(yyjson_val *obj, const char *name, enum json_need need, bool *out,
                          struct err *err) MUST_USE;
enum status json_get_obj(yyjson_val *obj, const char *name, enum json_need need, yyjson_val **out,
                         struct err *err) MUST_USE;
enum status json_get_arr(yyjson_val *obj, const char *name, enum json_need need, yyjson_val **out,
                         struct err *err) MUST_USE;

enum { JSON_WRITER_DEPTH_MAX = 127 }; /* more is the caller's mistake: an assert */

/**
 * The writer: begins and ends must pair; commas and quotes are its work. The first failure sticks
 * and is returned by json_writer_end, so that the calls between need no checks. A caller that has
 * failed in the middle may end it all the same: what was written is put back.
 */
struct json_writer {
    struct buf *out;
    enum status status;
    unsigned depth;
    bool comma[JSON_WRITER_DEPTH_MAX + 1]; /* by depth: something stands before */
    size_t start_len;                      /* out->len at init, restored on failure */
};

void json_writer_init(struct json_writer *w, struct buf *out);
enum status json_writer_end(struct json_writer *w) MUST_USE;
void jw_obj_begin(struct json_writer *w);
void jw_obj_end(struct json_writer *w);
void jw_arr_begin(struct json_writer *w);
void jw_arr_end(struct json_writer *w);
/** Begin an array that holds the members of `arr` (may be NULL) already. */
void jw_arr_begin_with(struct json_writer *w, yyjson_val *arr);
void jw_key(struct json_writer *w, struct str key);
/** Invalid UTF-8 becomes U+FFFD. */
void jw_str(struct json_writer *w, struct str value);
void jw_i64(struct json_writer *w, int64_t value);
void jw_u64(struct json_writer *w, uint64_t value);
/** NaN and infinities become the strings "NaN", "Infinity", "-Infinity". */
void jw_double(struct json_writer *w, double value);
void jw_bool(struct json_writer *w, bool value);
void jw_null(struct json_writer *w);
/** Ready-made JSON. */
void jw_raw(struct json_writer *w, struct str json);
void jw_val(struct json_writer *w, yyjson_val *value);

/* key and value in one call; `key` is a C literal */
void jw_kv_str(struct json_writer *w, const char *key, struct str value);
void jw_kv_cstr(struct json_writer *w, const char *key, const char *value);
void jw_kv_i64(struct json_writer *w, const char *key, int64_t value);
void jw_kv_u64(struct json_writer *w, const char *key, uint64_t value);
void jw_kv_bool(struct json_writer *w, const char *key, bool value);
void jw_kv_obj(struct json_writer *w, const char *key); /* then jw_obj_end */
void jw_kv_arr(struct json_writer *w, const char *key); /* then jw_arr_end */

/** A JSON string with quotes and escapes, appended. */
enum status json_append_string(struct buf *out, struct str value) MUST_USE;

#ifdef __cplusplus
}
#endif

#endif
