/*
 * URIs and keys.
 *
 * Table metadata names files by full URI, and a lake that was moved or copied still holds the old
 * ones. So a URI is brought to one canonical spelling and compared with every root the lake has
 * had, the longest first. The list is read when it is first needed, and once more when a URI fits
 * none: another process may have added a root since.
 *
 * A table is of one kind for ever: what is written for it later has the scheme of its location,
 * under the root that the lake has for that scheme now.
 */
#include "catalog/locate.h"

#include "base/json.h"
#include "base/mem.h"
#include "store/lake_keys.h"

#include <pthread.h>

enum { FORMAT_VERSION = 1, FORMAT_BYTES_MAX = 1024 * 1024, ROOTS_MAX = 256 };

#define FORMAT_KEY STR("_lake/format.json")

struct locate {
    struct store *store;
    struct str s3_root; /* .len 0: none but the store's own */
    enum catalog_uri kind;
    pthread_mutex_t lock;
    struct arena arena; /* guarded by lock */
    /* guarded by lock: canonical, without trailing slash; only ever added to */
    struct str roots[ROOTS_MAX];
    size_t root_count; /* guarded by lock */
};

enum status locate_new(struct store *store, struct locate **out, struct err *err)
{
    struct locate *locate = mem_zalloc(sizeof(*locate));
    if (locate == NULL) {
        return err_no_memory(err);
    }
    locate->store = store;
    arena_init(&locate->arena, FORMAT_BYTES_MAX * 2);
    pthread_mutex_init(&locate->lock, NULL);
    *out = locate;
    return OK;
}

void locate_free(struct locate *locate)
{
    if (locate != NULL) {
        arena_done(&locate->arena);
        pthread_mutex_destroy(&locate->lock);
        mem_free(locate);
    }
}

/** Scheme in one spelling and, for files, exactly one slash in front of the path. */
static enum status canonical(struct arena *arena, struct str uri, struct str *out, struct err *err)
{
    size_t colon = str_find_char(uri, ':');
    if (colon == SIZE_MAX) {
        return err_set(err, E_INVALID, "\"%.*s\" is no URI with a scheme", STR_ARG(uri));
    }
    struct str scheme = str_take(uri, colon), rest = str_skip(uri, colon + 1);
    const char *spelled = NULL;
    if (str_eq_nocase(scheme, STR("file"))) {
        rest = str_starts(rest, STR("//localhost/")) ? str_skip(rest, strlen("//localhost")) : rest;
        while (str_starts(rest, STR("//"))) {
            rest = str_skip(rest, 1);
        }
        spelled = "file:";
    } else if (str_eq_nocase(scheme, STR("s3a")) || str_eq_nocase(scheme, STR("s3n"))) {
        spelled = "s3:";
    }
    *out = spelled != NULL ? arena_printf(arena, "%s%.*s", spelled, STR_ARG(rest))
                           : arena_str(arena, uri);
    while (out->len > 0 && out->ptr[out->len - 1] == '/') {
        out->len--;
    }
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

/** Guarded by lock. */
static enum status add_root(struct locate *locate, struct str uri, struct err *err)
{
    struct str root;
    TRY(canonical(&locate->arena, uri, &root, err));
    for (size_t i = 0; i < locate->root_count; i++) {
        if (str_eq(locate->roots[i], root)) {
            return OK;
        }
    }
    if (locate->root_count == ROOTS_MAX) {
        return err_set(err, E_UNSUPPORTED, "the lake has had more than %d roots", ROOTS_MAX);
    }
    locate->roots[locate->root_count++] = root;
    return OK;
}

/** Guarded by lock. */
static enum status add_roots_of(struct locate *locate, struct str json, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t version = 0;
    TRY(json_get_i64(root, "version", JSON_REQUIRED, &version, err));
    if (version > FORMAT_VERSION) {
        return err_set(err, E_UNSUPPORTED,
                       "the lake has layout version %lld, this program knows %d",
                       (long long)version, FORMAT_VERSION);
    }
    yyjson_val *roots = NULL;
    TRY(json_get_arr(root, "roots", JSON_OPTIONAL, &roots, err));
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(roots, i, max, val)
    {
        if (yyjson_is_str(val)) {
            TRY(add_root(locate, str_from(yyjson_get_str(val), yyjson_get_len(val)), err));
        }
    }
    return OK;
}

static enum status load(struct locate *locate, struct err *err)
{
    struct str own = store_root_uri(locate->store);
    if (own.len == 0) {
        return err_set(err, E_UNAVAILABLE, "the store does not tell its root yet");
    }
    AUTO(buf_done) struct buf body;
    buf_init(&body, FORMAT_BYTES_MAX);
    enum status status = store_read(locate->store, FORMAT_KEY, NULL, &body, NULL, err);
    if (status != OK && status != E_NOT_FOUND) {
        return status;
    }
    pthread_mutex_lock(&locate->lock);
    status = add_root(locate, own, err);
    if (status == OK && body.len > 0) {
        status = add_roots_of(locate, buf_str(&body), err);
        if (status != OK) {
            (void)err_context(err, "_lake/format.json");
        }
    }
    pthread_mutex_unlock(&locate->lock);
    return status;
}

void locate_offer(struct locate *locate, struct str s3_root, enum catalog_uri kind)
{
    locate->s3_root = s3_root;
    locate->kind = kind;
}

static bool is_s3(struct str uri)
{
    struct str scheme = str_take(uri, str_find_char(uri, ':'));
    return str_eq_nocase(scheme, STR("s3")) || str_eq_nocase(scheme, STR("s3a")) ||
           str_eq_nocase(scheme, STR("s3n"));
}

static bool has_root(struct locate *locate, struct str root)
{
    bool has = false;
    pthread_mutex_lock(&locate->lock);
    for (size_t i = 0; i < locate->root_count && !has; i++) {
        has = str_eq(locate->roots[i], root);
    }
    pthread_mutex_unlock(&locate->lock);
    return has;
}

/** Whoever reads a URI later must find its root, so it is written down before. */
static enum status know_root(struct locate *locate, struct str root, struct err *err)
{
    if (!has_root(locate, root)) {
        TRY(store_add_root(locate->store, root, err));
        TRY(load(locate, err));
    }
    return OK;
}

/** The root for a table of the kind of `table`, or for a new one. */
static enum status choose_root(struct locate *locate, struct str table, struct str *out,
                               struct err *err)
{
    struct str own = store_root_uri(locate->store);
    if (own.len == 0) {
        return err_set(err, E_UNAVAILABLE, "the store does not tell its root yet");
    }
    if (table.len == 0 && locate->kind == CATALOG_URI_FILE && is_s3(own)) {
        return err_set(err, E_INVALID,
                       "a table cannot lie at a file: URI: the store is \"%.*s\" (warehouse.uri)",
                       STR_ARG(own));
    }
    bool s3 = table.len > 0 ? is_s3(table) : locate->kind == CATALOG_URI_S3;
    if (s3 && !is_s3(own) && locate->s3_root.len > 0) {
        TRY(know_root(locate, locate->s3_root, err));
        own = locate->s3_root;
    }
    *out = own;
    return OK;
}

enum status locate_uri(struct locate *locate, struct str table, struct str key, struct arena *arena,
                       struct str *out, struct err *err)
{
    struct str root = STR_EMPTY;
    TRY(choose_root(locate, table, &root, err));
    struct str uri = arena_printf(arena, "%.*s/%.*s", STR_ARG(root), STR_ARG(key));
    if (uri.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = uri;
    return OK;
}

/** The part of `uri` behind the longest root that it lies under; .ptr NULL: none. */
static struct str strip_root(struct locate *locate, struct str uri)
{
    struct str key = { NULL, 0 };
    size_t longest = 0;
    pthread_mutex_lock(&locate->lock);
    for (size_t i = 0; i < locate->root_count; i++) {
        struct str root = locate->roots[i];
        if (root.len >= longest && uri.len > root.len + 1 && str_starts(uri, root) &&
            uri.ptr[root.len] == '/') {
            longest = root.len;
            key = str_skip(uri, root.len + 1);
        }
    }
    pthread_mutex_unlock(&locate->lock);
    return key;
}

enum status locate_key(struct locate *locate, struct str uri, struct arena *arena, struct str *out,
                       struct err *err)
{
    struct str spelled;
    TRY(canonical(arena, uri, &spelled, err));
    struct str key = strip_root(locate, spelled);
    if (key.ptr == NULL) {
        TRY(load(locate, err));
        key = strip_root(locate, spelled);
    }
    if (key.ptr == NULL) {
        return err_set(err, E_INVALID, "\"%.*s\" lies under no root of this lake", STR_ARG(uri));
    }
    if (lake_key_closed(key)) {
        return err_set(err, E_INVALID, "\"%.*s\" lies in a folder of the lake's own", STR_ARG(uri));
    }
    TRY(store_key_check_plain(key, err));
    *out = key;
    return OK;
}

enum status locate_table(struct locate *locate, struct str metadata_uri, struct arena *arena,
                         struct str *out, struct err *err)
{
    struct str key;
    TRY(locate_key(locate, metadata_uri, arena, &key, err));
    size_t slash = str_rfind_char(key, '/');
    struct str folder = slash == SIZE_MAX ? STR_EMPTY : str_take(key, slash);
    if (!str_ends(folder, STR("/metadata"))) {
        return err_set(err, E_INVALID, "\"%.*s\" lies in no folder \"metadata\"",
                       STR_ARG(metadata_uri));
    }
    *out = str_take(folder, folder.len - strlen("/metadata"));
    return OK;
}
