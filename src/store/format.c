/*
 * `_lake/format.json`: the version of the layout, the lake's id, and every root URI that it has had
 * (table metadata names files by full URI, so a lake that was moved must know its old names). Kept
 * through the store's own conditional writes: two processes that start on one new folder agree on
 * one id.
 */
#include "base/json.h"
#include "base/rng.h"
#include "store/store_priv.h"

/* The lake whose format is looked at. */
struct place {
    struct store *store;
    struct str uri;
    const char *name; /* for messages */
    bool read_only;
};

enum { FORMAT_VERSION = 1, FORMAT_BYTES_MAX = 1024 * 1024, CHANGE_TRIES = 64 };

#define FORMAT_KEY STR("_lake/format.json")

static enum status format_create(const struct place *at, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, FORMAT_BYTES_MAX);
    char id[UUID_TEXT + 1];
    uuid4(id);
    struct json_writer w;
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "version", FORMAT_VERSION);
    jw_kv_cstr(&w, "cluster_id", id);
    jw_kv_arr(&w, "roots");
    jw_str(&w, at->uri);
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    enum status status = store_put(at->store, FORMAT_KEY, buf_str(&body),
                                   &(struct store_cond){ .if_absent = true }, NULL, err);
    /* another process was first: its file is read next */
    return status == E_PRECONDITION ? OK : status;
}

static bool roots_have(yyjson_val *roots, struct str uri)
{
    size_t i, count;
    yyjson_val *root;
    yyjson_arr_foreach(roots, i, count, root)
    {
        if (yyjson_is_str(root) &&
            str_eq(str_from(yyjson_get_str(root), yyjson_get_len(root)), uri)) {
            return true;
        }
    }
    return false;
}

/** The document with our root added; all other fields stay. */
static enum status root_add(const struct place *at, yyjson_val *doc, yyjson_val *roots,
                            struct str etag, struct err *err)
{
    AUTO(buf_done) struct buf body;
    buf_init(&body, FORMAT_BYTES_MAX);
    struct json_writer w;
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    size_t i, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(doc, i, count, key, value)
    {
        if (value != roots) {
            jw_key(&w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
            jw_val(&w, value);
        }
    }
    jw_kv_arr(&w, "roots");
    yyjson_val *root;
    yyjson_arr_foreach(roots, i, count, root)
    {
        jw_val(&w, root);
    }
    jw_str(&w, at->uri);
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return store_put(at->store, FORMAT_KEY, buf_str(&body),
                     &(struct store_cond){ .if_match = etag }, NULL, err);
}

/** E_PRECONDITION: changed by somebody meanwhile, look again. */
static enum status format_examine(const struct place *at, struct str text, struct str etag,
                                  struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    enum status parsed = json_parse(text, &doc, err);
    if (parsed != OK) {
        (void)err_context(err, "%s/_lake/format.json", at->name);
        return parsed;
    }
    int64_t version = 0;
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *roots = NULL;
    struct str id = STR_EMPTY;
    if (json_get_i64(root, "version", JSON_REQUIRED, &version, err) != OK ||
        json_get_str(root, "cluster_id", JSON_REQUIRED, &id, err) != OK ||
        json_get_arr(root, "roots", JSON_REQUIRED, &roots, err) != OK) {
        err_context(err, "%s/_lake/format.json", at->name);
        return E_INVALID;
    }
    if (version != FORMAT_VERSION) {
        return err_set(err, E_UNSUPPORTED,
                       "the lake in \"%s\" has layout version %lld, this program knows %d",
                       at->name, (long long)version, FORMAT_VERSION);
    }
    return at->read_only || roots_have(roots, at->uri) ? OK : root_add(at, root, roots, etag, err);
}

static enum status format_look(const struct place *at, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, FORMAT_BYTES_MAX);
    struct store_info info;
    TRY(store_read(at->store, FORMAT_KEY, NULL, &text, &info, err));
    return format_examine(at, buf_str(&text), str_of(info.etag), err);
}

enum status store_format_check(struct store *store, struct str uri, const char *name,
                               bool read_only, struct err *err)
{
    const struct place place = { store, uri, name, read_only }, *at = &place;
    enum status status = E_PRECONDITION;
    for (int i = 0; i < CHANGE_TRIES && status == E_PRECONDITION; i++) {
        status = format_look(at, err);
        if (status == E_NOT_FOUND && !at->read_only) {
            TRY(format_create(at, err));
            status = E_PRECONDITION;
        }
    }
    return status;
}

enum status store_add_root(struct store *store, struct str uri, struct err *err)
{
    return store_format_check(store, uri, "the store", false, err);
}
