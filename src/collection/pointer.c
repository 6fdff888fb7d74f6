/*
 * Pointers as JSON, and their compare-and-swap.
 *
 *   {"format":1, "kind":"index", "state":"live", "name":"docs", "uuid":..., "epoch":3,
 *    "first_log":18, "spec":{...}, "snapshot":{...}, "commit":"9f..."}
 *
 * Invariants: a pointer is never deleted; every body has a commit id of its own, so no two have one
 * ETag, and who reads one back knows whether it is his.
 */
#include "collection/pointer.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/rng.h"

enum { SWAP_TRIES = 4 };

static const char *const metric_names[] = { [VEC_L2] = "l2",
                                            [VEC_COSINE] = "cosine",
                                            [VEC_DOT] = "dot" };

const char *coll_metric_name(enum vec_metric metric)
{
    return metric_names[metric];
}

/* --- names --- */

enum status coll_name_check(struct str name, struct err *err)
{
    if (name.len == 0) {
        return err_set(err, E_INVALID, "a name has at least one character");
    }
    if (!str_is_utf8(name) || str_has_control(name)) {
        return err_set(err, E_INVALID, "the name is no UTF-8 text without control characters");
    }
    size_t characters = 0;
    for (size_t i = 0; i < name.len; i++) {
        characters += ((uint8_t)name.ptr[i] & 0xC0) != 0x80;
        if (strchr("/.\"'`", name.ptr[i]) != NULL) {
            return err_set(err, E_INVALID, "the name \"%.*s\" has a '%c', which names may not have",
                           STR_ARG(name), name.ptr[i]);
        }
    }
    return characters <= COLL_NAME_MAX
               ? OK
               : err_set(err, E_INVALID, "the name has %zu characters; the most is %d", characters,
                         COLL_NAME_MAX);
}

enum status coll_pointer_key(struct arena *arena, struct str name, struct str *out, struct err *err)
{
    AUTO(buf_done) struct buf key;
    buf_init(&key, STORE_KEY_PLAIN_MAX);
    enum status status = buf_append(&key, STR("_lake/vectors/"));
    status = status == OK ? percent_append(&key, name, "") : status;
    status = status == OK ? buf_append(&key, STR(".json")) : status;
    struct str copy = status == OK ? arena_str(arena, buf_str(&key)) : STR_EMPTY;
    if (status == E_TOO_LARGE) {
        return err_set(err, E_INVALID, "the name is too long");
    }
    if (status != OK || copy.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = copy;
    return OK;
}

bool coll_pointer_key_name(struct arena *arena, struct str key, struct str *name_out)
{
    const struct str prefix = STR("_lake/vectors/"), suffix = STR(".json");
    if (!str_starts(key, prefix) || !str_ends(key, suffix) || key.len < prefix.len + suffix.len) {
        return false;
    }
    struct str rest = str_skip(str_take(key, key.len - suffix.len), prefix.len);
    return str_find_char(rest, '/') == SIZE_MAX &&
           percent_decode(arena, rest, false, name_out, NULL) == OK;
}

/* --- JSON --- */

static void write_index(struct json_writer *w, const struct coll_pointer *pointer)
{
    const struct coll_spec *spec = &pointer->spec;
    const struct coll_snapshot_ref *snapshot = &pointer->snapshot;
    jw_kv_str(w, "uuid", pointer->uuid);
    jw_kv_u64(w, "epoch", pointer->epoch);
    jw_kv_u64(w, "first_log", pointer->first_log);
    jw_kv_obj(w, "spec");
    jw_kv_u64(w, "dimension", spec->dimension);
    jw_kv_cstr(w, "metric", coll_metric_name(spec->metric));
    jw_kv_u64(w, "m", spec->m);
    jw_kv_u64(w, "ef_construction", spec->ef_construction);
    jw_kv_u64(w, "ef_search", spec->ef_search);
    jw_obj_end(w);
    if (snapshot->name.len > 0) {
        jw_kv_obj(w, "snapshot");
        jw_kv_str(w, "name", snapshot->name);
        jw_kv_u64(w, "tag", snapshot->tag);
        jw_kv_u64(w, "sequence", snapshot->sequence);
        jw_kv_u64(w, "chunks", snapshot->chunks);
        jw_kv_u64(w, "items", snapshot->items);
        jw_kv_u64(w, "bytes", snapshot->bytes);
        jw_kv_u64(w, "next_number", snapshot->next_number);
        jw_kv_u64(w, "graph_chunks", snapshot->graph_chunks);
        if (snapshot->entries > 0) {
            jw_kv_u64(w, "entries", snapshot->entries);
        }
        jw_obj_end(w);
    }
}

enum status coll_pointer_encode(const struct coll_pointer *pointer, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", pointer->snapshot.entries > 0 ? COLL_POINTER_FORMAT : 1);
    jw_kv_cstr(&w, "kind", pointer->kind == COLL_POINTER_ALIAS ? "alias" : "index");
    jw_kv_cstr(&w, "state", pointer->dropped ? "dropped" : "live");
    jw_kv_str(&w, "name", pointer->name);
    if (pointer->kind == COLL_POINTER_ALIAS) {
        jw_kv_str(&w, "index", pointer->index);
    } else {
        write_index(&w, pointer);
    }
    jw_kv_str(&w, "commit", pointer->commit);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

static enum status get_str(struct arena *arena, yyjson_val *obj, const char *name, struct str *out,
                           struct err *err)
{
    struct str text = STR_EMPTY;
    TRY(json_get_str(obj, name, JSON_REQUIRED, &text, err));
    *out = arena_str(arena, text);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status get_u32(yyjson_val *obj, const char *name, uint32_t *out, struct err *err)
{
    uint64_t value = 0;
    TRY(json_get_u64(obj, name, JSON_REQUIRED, &value, err));
    *out = (uint32_t)value;
    return value <= UINT32_MAX ? OK : err_set(err, E_INVALID, "\"%s\" is too large", name);
}

static enum status decode_spec(struct arena *arena, yyjson_val *root, struct coll_spec *spec,
                               struct err *err)
{
    yyjson_val *obj = NULL;
    struct str metric = STR_EMPTY;
    TRY(json_get_obj(root, "spec", JSON_REQUIRED, &obj, err));
    TRY(get_u32(obj, "dimension", &spec->dimension, err));
    TRY(json_get_str(obj, "metric", JSON_REQUIRED, &metric, err));
    TRY(get_u32(obj, "m", &spec->m, err));
    TRY(get_u32(obj, "ef_construction", &spec->ef_construction, err));
    TRY(get_u32(obj, "ef_search", &spec->ef_search, err));
    if (spec->dimension < 1 || spec->dimension > VEC_DIMENSION_MAX) {
        return err_set(err, E_INVALID, "dimension %u is none", spec->dimension);
    }
    for (size_t i = 0; i < ARRAY_LEN(metric_names); i++) {
        if (str_eq(metric, str_of(metric_names[i]))) {
            spec->metric = (enum vec_metric)i;
            return OK;
        }
    }
    return err_set(err, E_UNSUPPORTED, "metric \"%.*s\" is a newer version's", STR_ARG(metric));
}

static enum status decode_snapshot(struct arena *arena, yyjson_val *root,
                                   struct coll_snapshot_ref *snapshot, struct err *err)
{
    yyjson_val *obj = NULL;
    TRY(json_get_obj(root, "snapshot", JSON_OPTIONAL, &obj, err));
    if (obj == NULL) {
        return OK;
    }
    TRY(get_str(arena, obj, "name", &snapshot->name, err));
    TRY(json_get_u64(obj, "tag", JSON_REQUIRED, &snapshot->tag, err));
    TRY(json_get_u64(obj, "sequence", JSON_REQUIRED, &snapshot->sequence, err));
    TRY(json_get_u64(obj, "chunks", JSON_REQUIRED, &snapshot->chunks, err));
    TRY(json_get_u64(obj, "items", JSON_REQUIRED, &snapshot->items, err));
    TRY(json_get_u64(obj, "bytes", JSON_REQUIRED, &snapshot->bytes, err));
    TRY(json_get_u64(obj, "graph_chunks", JSON_OPTIONAL, &snapshot->graph_chunks, err));
    TRY(json_get_u64(obj, "entries", JSON_OPTIONAL, &snapshot->entries, err));
    return json_get_u64(obj, "next_number", JSON_REQUIRED, &snapshot->next_number, err);
}

static enum status decode_root(struct arena *arena, yyjson_val *root, struct coll_pointer *out,
                               struct err *err)
{
    int64_t format = 0;
    struct str kind = STR_EMPTY, state = STR_EMPTY;
    TRY(json_get_i64(root, "format", JSON_REQUIRED, &format, err));
    TRY(json_get_str(root, "kind", JSON_REQUIRED, &kind, err));
    TRY(json_get_str(root, "state", JSON_REQUIRED, &state, err));
    bool alias = str_eq(kind, STR("alias")), dropped = str_eq(state, STR("dropped"));
    if (format > COLL_POINTER_FORMAT || (!alias && !str_eq(kind, STR("index"))) ||
        (!dropped && !str_eq(state, STR("live")))) {
        return err_set(err, E_UNSUPPORTED,
                       "a pointer of format %lld, kind \"%.*s\" was written by a newer version",
                       (long long)format, STR_ARG(kind));
    }
    out->kind = alias ? COLL_POINTER_ALIAS : COLL_POINTER_INDEX;
    out->dropped = dropped;
    TRY(get_str(arena, root, "name", &out->name, err));
    TRY(get_str(arena, root, "commit", &out->commit, err));
    if (alias) {
        return get_str(arena, root, "index", &out->index, err);
    }
    TRY(get_str(arena, root, "uuid", &out->uuid, err));
    if (!uuid_valid(out->uuid)) {
        return err_set(err, E_INVALID, "its uuid is none");
    }
    TRY(json_get_u64(root, "epoch", JSON_REQUIRED, &out->epoch, err));
    TRY(json_get_u64(root, "first_log", JSON_REQUIRED, &out->first_log, err));
    TRY(decode_spec(arena, root, &out->spec, err));
    out->spec.name = out->name;
    return decode_snapshot(arena, root, &out->snapshot, err);
}

enum status coll_pointer_decode(struct arena *arena, struct str json, struct coll_pointer *out,
                                struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct coll_pointer pointer = { 0 };
    enum status status = json_parse(json, &doc, err);
    if (status == OK) {
        status = decode_root(arena, yyjson_doc_get_root(doc), &pointer, err);
    }
    if (status == E_INVALID) { /* stored bytes, not a caller's input */
        if (err != NULL) {
            err->kind = E_CORRUPT;
        }
        (void)err_context(err, "a broken pointer");
        return E_CORRUPT;
    }
    TRY(status);
    *out = pointer;
    return OK;
}

/* --- in the store --- */

static enum status read_key(struct store *store, struct str key, struct arena *arena,
                            struct coll_pointer *out, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, 1024 * 1024);
    struct store_info info;
    struct coll_pointer pointer = { 0 };
    TRY(store_read(store, key, &(struct store_read_opts){ 0 }, &body, &info, err));
    enum status status = coll_pointer_decode(arena, buf_str(&body), &pointer, err);
    if (status != OK) {
        return err_context(err, "object \"%.*s\"", STR_ARG(key)), status;
    }
    memcpy(pointer.etag, info.etag, sizeof pointer.etag);
    *out = pointer;
    return OK;
}

enum status coll_pointer_read(struct store *store, struct str name, struct arena *arena,
                              struct coll_pointer *out, struct err *err)
{
    struct str key = STR_EMPTY;
    TRY(coll_pointer_key(arena, name, &key, err));
    return read_key(store, key, arena, out, err);
}

/** After an answer that says nothing sure. OK: it is there; E_PRECONDITION: another one is;
 * E_UPSTREAM: nobody knows, or `base` is still there. */
static enum status look_back(struct store *store, struct str key, const struct coll_pointer *base,
                             struct arena *arena, struct coll_pointer *pointer)
{
    struct coll_pointer there = { 0 };
    enum status status = read_key(store, key, arena, &there, NULL);
    if (status == E_NOT_FOUND) {
        return base == NULL ? E_UPSTREAM : E_PRECONDITION;
    }
    if (status != OK) {
        return E_UPSTREAM;
    }
    if (str_eq(there.commit, pointer->commit)) {
        memcpy(pointer->etag, there.etag, sizeof there.etag);
        return OK;
    }
    return base != NULL && strcmp(base->etag, there.etag) == 0 ? E_UPSTREAM : E_PRECONDITION;
}

enum status coll_pointer_swap(struct store *store, const struct coll_pointer *base,
                              struct arena *arena, struct coll_pointer *pointer, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, 1024 * 1024);
    struct str key = STR_EMPTY;
    TRY(coll_pointer_key(arena, pointer->name, &key, err));
    pointer->commit = arena_printf(arena, "%016llx", (unsigned long long)random_u64());
    if (pointer->commit.ptr == NULL || coll_pointer_encode(pointer, &body) != OK) {
        return err_no_memory(err);
    }
    struct store_cond cond = { .if_absent = base == NULL,
                               .if_match = base == NULL ? STR_EMPTY : str_of(base->etag) };
    bool unsure = false;
    for (int i = 0; i < SWAP_TRIES; i++) {
        struct store_info info;
        enum status status = store_put(store, key, buf_str(&body), &cond, &info, err);
        if (status == OK) {
            memcpy(pointer->etag, info.etag, sizeof info.etag);
            return OK;
        }
        if (status != E_PRECONDITION && status != E_UPSTREAM && status != E_TIMEOUT) {
            if (!unsure) {
                return status;
            }
            break; /* an earlier one may have come through, or may yet */
        }
        enum status seen = look_back(store, key, base, arena, pointer);
        if (seen == OK) {
            return OK;
        }
        if (seen == E_PRECONDITION || (status == E_PRECONDITION && !unsure)) {
            return err_set(err, E_PRECONDITION, "\"%.*s\" was changed meanwhile",
                           STR_ARG(pointer->name));
        }
        unsure = true;
    }
    return err_set(err, E_UPSTREAM,
                   "nobody knows whether \"%.*s\" was changed: the store did not answer",
                   STR_ARG(pointer->name));
}
