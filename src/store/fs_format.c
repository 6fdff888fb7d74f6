/*
 * `_lake/format.json`: the version of the layout, the lake's id, and every root URI that it has had
 * (table metadata names files by full URI, so a lake that was moved must know its old names). Kept
 * through the store's own conditional writes: two processes that start on one new folder agree on
 * one id.
 */
#include "base/json.h"
#include "base/rng.h"
#include "store/fs_priv.h"

enum { FORMAT_VERSION = 1, FORMAT_BYTES_MAX = 1024 * 1024, CHANGE_TRIES = 64 };

#define FORMAT_KEY STR("_lake/format.json")

static enum status format_create(struct fs_store *fs, struct err *err)
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
    jw_str(&w, str_of(fs->uri));
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    enum status status = store_put(&fs->base, FORMAT_KEY, buf_str(&body),
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
static enum status root_add(struct fs_store *fs, yyjson_val *doc, yyjson_val *roots,
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
    jw_str(&w, str_of(fs->uri));
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return store_put(&fs->base, FORMAT_KEY, buf_str(&body),
                     &(struct store_cond){ .if_match = etag }, NULL, err);
}

/** E_PRECONDITION: changed by somebody meanwhile, look again. */
static enum status format_examine(struct fs_store *fs, struct str text, struct str etag,
                                  struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    enum status parsed = json_parse(text, &doc, err);
    if (parsed != OK) {
        (void)err_context(err, "%s/_lake/format.json", fs->dir);
        return parsed;
    }
    int64_t version = 0;
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *roots = NULL;
    struct str id = STR_EMPTY;
    if (json_get_i64(root, "version", JSON_REQUIRED, &version, err) != OK ||
        json_get_str(root, "cluster_id", JSON_REQUIRED, &id, err) != OK ||
        json_get_arr(root, "roots", JSON_REQUIRED, &roots, err) != OK) {
        err_context(err, "%s/_lake/format.json", fs->dir);
        return E_INVALID;
    }
    if (version != FORMAT_VERSION) {
        return err_set(err, E_UNSUPPORTED,
                       "the lake in \"%s\" has layout version %lld, this program knows %d", fs->dir,
                       (long long)version, FORMAT_VERSION);
    }
    return fs->read_only || roots_have(roots, str_of(fs->uri))
               ? OK
               : root_add(fs, root, roots, etag, err);
}

static enum status format_look(struct fs_store *fs, struct err *err)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, FORMAT_BYTES_MAX);
    struct store_info info;
    TRY(store_read(&fs->base, FORMAT_KEY, NULL, &text, &info, err));
    return format_examine(fs, buf_str(&text), str_of(info.etag), err);
}

enum status fs_format_check(struct fs_store *fs, struct err *err)
{
    enum status status = E_PRECONDITION;
    for (int i = 0; i < CHANGE_TRIES && status == E_PRECONDITION; i++) {
        status = format_look(fs, err);
        if (status == E_NOT_FOUND && !fs->read_only) {
            TRY(format_create(fs, err));
            status = E_PRECONDITION;
        }
    }
    return status;
}
