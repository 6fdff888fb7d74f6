/*
 * A table's metadata without the snapshots that no branch or tag names: what clients ask for that
 * follow a table. It never changes, as the file that it is made of, and is kept as text.
 */
#include "catalog/catalog_priv.h"

#include "base/mem.h"
#include "catalog/reader.h"

enum { TEXT_BYTES_MAX = 512 * 1024 * 1024 };

/** Does `ref` of the member "refs", or the current snapshot, name `id`? */
static bool is_referenced(yyjson_val *root, int64_t id)
{
    size_t i, max;
    yyjson_val *key, *ref, *refs = yyjson_obj_get(root, "refs");
    yyjson_val *current = yyjson_obj_get(root, "current-snapshot-id");
    if (yyjson_is_int(current) && yyjson_get_sint(current) == id) {
        return true;
    }
    if (refs == NULL) {
        return false;
    }
    yyjson_obj_foreach(refs, i, max, key, ref)
    {
        if (yyjson_get_sint(yyjson_obj_get(ref, "snapshot-id")) == id) {
            return true;
        }
    }
    return false;
}

/** The document without the snapshots that no branch or tag names. */
static void write_referenced(struct json_writer *w, yyjson_val *root)
{
    size_t i, max, k, count;
    yyjson_val *key, *val, *snapshot;
    jw_obj_begin(w);
    yyjson_obj_foreach(root, i, max, key, val)
    {
        jw_key(w, str_from(yyjson_get_str(key), yyjson_get_len(key)));
        if (!yyjson_equals_str(key, "snapshots") || !yyjson_is_arr(val)) {
            jw_val(w, val);
            continue;
        }
        jw_arr_begin(w);
        yyjson_arr_foreach(val, k, count, snapshot)
        {
            if (is_referenced(root, yyjson_get_sint(yyjson_obj_get(snapshot, "snapshot-id")))) {
                jw_val(w, snapshot);
            }
        }
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

static void text_done(void *value)
{
    struct buf *text = value;
    buf_done(text);
    mem_free(text);
}

static enum status make_text(struct reader *reader, struct str uri, struct buf *out,
                             struct err *err)
{
    AUTO(buf_done) struct buf whole;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    buf_init(&whole, TEXT_BYTES_MAX);
    TRY(reader_bytes(reader, uri, &whole, err));
    enum status status = json_parse(buf_str(&whole), &doc, err);
    if (status == OK && !yyjson_is_obj(yyjson_doc_get_root(doc))) {
        status = E_INVALID;
    }
    if (status == E_INVALID) {
        return err_set(err, E_CORRUPT, "\"%.*s\" is no JSON object", STR_ARG(uri));
    }
    TRY(status);
    json_writer_init(&w, out);
    write_referenced(&w, yyjson_doc_get_root(doc));
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status read_text(struct reader *reader, struct str uri, struct str key,
                             struct cache_item **out, struct err *err)
{
    struct buf *text = mem_zalloc(sizeof(*text));
    if (text == NULL) {
        return err_no_memory(err);
    }
    buf_init(text, TEXT_BYTES_MAX);
    enum status status = make_text(reader, uri, text, err);
    if (status != OK) {
        text_done(text);
        return status;
    }
    return cache_put(reader->cache, key, text, text->cap + sizeof(*text), text_done, out, err);
}

enum status catalog_metadata_refs(struct catalog *catalog, struct str location, struct buf *out,
                                  struct err *err)
{
    struct arena arena;
    struct str key;
    struct cache_item *item = NULL;
    struct reader *reader = catalog->reader;
    arena_init(&arena, 64 * 1024);
    enum status status = reader_key(&arena, 'r', location, &key, err);
    item = status == OK ? cache_get(reader->cache, key) : NULL;
    if (status == OK && item == NULL) {
        status = read_text(reader, location, key, &item, err);
    }
    if (status == OK) {
        status = buf_append(out, buf_str(item->value)) == OK ? OK : err_no_memory(err);
        cache_release(item);
    }
    arena_done(&arena);
    return status;
}
