/*
 * Tables: which there are, and their metadata.
 *
 * Metadata leaves as the file that the pointer names, byte for byte, so nothing that another
 * program has put there is lost. `snapshots=refs` leaves out the snapshots that no branch or tag
 * names, as the specification has it. The ETag is of the file's name and of what was left out: the
 * file never changes, so a client that has it gets 304 and nobody reads it.
 *
 * A table in a namespace that does not exist is a table that does not exist, and so is one behind
 * several levels of names: Java asks for `snapshots` in `db.t` when it means the metadata table of
 * db.t, and goes on only after NoSuchTableException.
 */
#include "icerest/icerest_priv.h"

#include <stdlib.h>

enum { TABLES_MAX = 10000 };

static const struct icerest *icerest_of(const struct http_req *req)
{
    return req->ctx;
}

/* --- list --- */

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/** All names of a namespace in byte order. */
static enum status all_names(struct http_req *req, struct str ns, enum catalog_kind kind,
                             struct str **names_out, size_t *count_out)
{
    struct catalog *catalog = icerest_of(req)->catalog;
    struct catalog_list_opts opts = { .ns = ns, .limit = TABLES_MAX, .kind = kind };
    size_t count = 0, cap = 16;
    struct str *names = arena_array(&req->arena, cap, sizeof(*names));
    if (names == NULL) {
        return err_no_memory(&req->err);
    }
    do {
        struct catalog_list list;
        TRY(catalog_list(catalog, &opts, &req->arena, &list, &req->err));
        if (count + list.count > cap) {
            cap = 2 * (count + list.count);
            struct str *more = arena_array(&req->arena, cap, sizeof(*more));
            if (more == NULL) {
                return err_no_memory(&req->err);
            }
            memcpy(more, names, count * sizeof(*names));
            names = more;
        }
        for (size_t i = 0; i < list.count; i++) {
            names[count++] = list.tables[i].name.name;
        }
        opts.after = list.next;
    } while (opts.after.len > 0);
    if (count > 0) { /* pages go by the names, the catalogue's order is that of their text */
        qsort(names, count, sizeof(*names), compare_names);
    }
    *names_out = names;
    *count_out = count;
    return OK;
}

enum http_step icerest_list(struct http_req *req, enum catalog_kind kind)
{
    struct str ns, *names = NULL;
    size_t count = 0;
    struct icerest_page page;
    struct catalog_namespace found;
    icerest_missing(req, "NoSuchNamespaceException");
    enum status status = icerest_namespace_of(req, &ns);
    if (status == OK) {
        status = catalog_namespace(icerest_of(req)->catalog, ns, &req->arena, &found, &req->err);
    }
    status = status == OK ? all_names(req, ns, kind, &names, &count) : status;
    status = status == OK ? icerest_page_of(req, names, count, &page) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "identifiers");
    for (size_t i = page.from; i < page.to; i++) {
        jw_obj_begin(&w);
        jw_key(&w, STR("namespace"));
        icerest_write_levels(&w, ns);
        jw_kv_str(&w, "name", names[i]);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    icerest_write_next(&w, &page, names);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

static enum http_step list_end(struct http_req *req)
{
    return icerest_list(req, CATALOG_TABLE);
}

/* --- load --- */

enum http_step icerest_fail_load(struct http_req *req, enum status status, struct str location)
{
    if (status == E_CORRUPT && str_find(str_of(req->err.msg), STR("but is missing")) != SIZE_MAX) {
        icerest_type(req, "NotFoundException");
        status = err_set(&req->err, E_NOT_FOUND, "Failed to open input stream for file: %.*s",
                         STR_ARG(location));
    }
    return http_fail(req, status);
}

static enum http_step load_reply(struct http_req *req, struct str location,
                                 const struct icerest_access *access, bool refs_only)
{
    const struct icerest *icerest = req->ctx;
    AUTO(buf_done) struct buf metadata, json;
    buf_init(&metadata, ICEREST_JSON_MAX);
    buf_init(&json, ICEREST_JSON_MAX);
    enum status status = (refs_only ? catalog_metadata_refs : catalog_metadata_text)(
        icerest->catalog, location, &metadata, &req->err);
    if (status != OK) {
        return icerest_fail_load(req, status, location);
    }
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "metadata-location", location);
    jw_key(&w, STR("metadata"));
    jw_raw(&w, buf_str(&metadata));
    icerest_write_access(&w, req, access);
    jw_obj_end(&w);
    return icerest_reply(req, &w, &json);
}

/** "00003-<uuid>-all": the name of the file, which is never written again. With a key in the answer
 * also the half hour. */
static enum status etag_of(struct http_req *req, struct str location, bool refs_only, bool with_key,
                           struct str *out)
{
    char round[24] = "";
    size_t slash = str_rfind_char(location, '/');
    struct str name = slash == SIZE_MAX ? location : str_skip(location, slash + 1);
    size_t dot = str_find_char(name, '.');
    name = dot == SIZE_MAX ? name : str_take(name, dot);
    if (with_key) {
        snprintf(round, sizeof(round), "-%lld", (long long)icerest_key_round(req));
    }
    *out = arena_printf(&req->arena, "%.*s-%s%s", STR_ARG(name), refs_only ? "refs" : "all", round);
    return out->ptr == NULL ? err_no_memory(&req->err) : OK;
}

/** A quoted ETag header. */
static enum status tell_etag(struct http_req *req, struct str etag)
{
    struct str quoted = arena_printf(&req->arena, "\"%.*s\"", STR_ARG(etag));
    if (quoted.ptr == NULL) {
        return err_no_memory(&req->err);
    }
    http_reply_header(req, "ETag", quoted);
    return OK;
}

enum status icerest_tell_etag(struct http_req *req, struct str metadata_location)
{
    struct str etag;
    TRY(etag_of(req, metadata_location, false, false, &etag));
    return tell_etag(req, etag);
}

static enum status refs_only_of(struct http_req *req, bool *out)
{
    struct str snapshots;
    TRY(http_query(req, "snapshots", &snapshots));
    *out = snapshots.ptr != NULL && str_eq(snapshots, STR("refs"));
    if (snapshots.ptr != NULL && !*out && !str_eq(snapshots, STR("all"))) {
        return err_set(&req->err, E_INVALID, "snapshots=%.*s: \"all\" or \"refs\" is expected",
                       STR_ARG(snapshots));
    }
    return OK;
}

/** The table of the path. A name that no table can have is one that does not exist. */
static enum status find_table(struct http_req *req, struct table_summary *out)
{
    struct table_name name;
    icerest_missing(req, "NoSuchTableException");
    TRY(icerest_table_of(req, &name));
    enum status status = catalog_find(icerest_of(req)->catalog, &name, false, &req->arena, out,
                                      &req->err);
    return status == E_INVALID ? err_set(&req->err, E_NOT_FOUND, "%s", req->err.msg) : status;
}

static enum status access_of(struct http_req *req, const struct table_summary *table,
                             enum icerest_wish wish, struct icerest_access *out)
{
    struct str location;
    TRY(catalog_location(icerest_of(req)->catalog, table->metadata_location, &req->arena, &location,
                         &req->err));
    return icerest_access_of(req, &table->name, location, wish, out);
}

static enum http_step load_end(struct http_req *req)
{
    struct icerest_access access;
    struct table_summary table;
    bool refs_only = false;
    struct str etag;
    enum status status = refs_only_of(req, &refs_only);
    status = status == OK ? find_table(req, &table) : status;
    if (status == OK) {
        status = etag_of(req, table.metadata_location, refs_only,
                         icerest_wish_of(req) == ICEREST_KEY, &etag);
    }
    if (status != OK) {
        return http_fail(req, status);
    }
    if (req->method == HTTP_HEAD) {
        return http_reply_empty(req, 204);
    }
    status = tell_etag(req, etag);
    if (status != OK) {
        return http_fail(req, status);
    }
    struct str known = http_headers_get(&req->headers, STR("If-None-Match"));
    if (known.ptr != NULL && http_etag_matches(known, etag)) {
        return http_reply_empty(req, 304);
    }
    status = access_of(req, &table, icerest_wish_of(req), &access);
    return status == OK ? load_reply(req, table.metadata_location, &access, refs_only)
                        : icerest_fail_load(req, status, table.metadata_location);
}

/* --- credentials --- */

static enum http_step credentials_end(struct http_req *req)
{
    struct table_summary table;
    struct icerest_access access;
    AUTO(buf_done) struct buf json;
    buf_init(&json, ICEREST_JSON_MAX);
    enum status status = find_table(req, &table);
    status = status == OK ? access_of(req, &table, ICEREST_KEY, &access) : status;
    if (status != OK) {
        return http_fail(req, status);
    }
    struct json_writer w;
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    icerest_write_credentials(&w, req, &access);
    jw_obj_end(&w);
    http_reply_header(req, "Cache-Control", STR("no-store"));
    return icerest_reply(req, &w, &json);
}

static enum http_step sign_end(struct http_req *req)
{
    struct table_summary table;
    struct icerest_access access;
    enum status status = find_table(req, &table);
    status = status == OK ? access_of(req, &table, ICEREST_KEY, &access) : status;
    return status == OK ? icerest_sign(req, &access) : http_fail(req, status);
}

/* --- metrics --- */

/** What a client tells of its scan or commit is counted with the requests, and not kept. */
static enum http_step metrics_end(struct http_req *req)
{
    struct table_summary table;
    yyjson_val *root = NULL;
    enum status status = http_body_json(req, &root);
    status = status == OK ? find_table(req, &table) : status;
    return status == OK ? http_reply_empty(req, 204) : http_fail(req, status);
}

static const struct http_handler list_handler = { .end = list_end,
                                                  .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler load_handler = { .end = load_end,
                                                  .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler credentials_handler = {
    .end = credentials_end, .state_bytes = sizeof(struct icerest_state)
};
static const struct http_handler sign_handler = { .end = sign_end,
                                                  .state_bytes = sizeof(struct icerest_state) };
static const struct http_handler metrics_handler = { .end = metrics_end,
                                                     .state_bytes = sizeof(struct icerest_state) };

const struct icerest_endpoint *icerest_table_endpoints(size_t *count_out)
{
    static const struct icerest_endpoint endpoints[] = {
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}/tables",
          .handler = &list_handler },
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}/tables/{table}",
          .handler = &load_handler,
          .head = true },
        { .method = HTTP_GET,
          .pattern = "/namespaces/{namespace}/tables/{table}/credentials",
          .handler = &credentials_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/tables/{table}/sign",
          .handler = &sign_handler },
        { .method = HTTP_POST,
          .pattern = "/namespaces/{namespace}/tables/{table}/metrics",
          .handler = &metrics_handler },
    };
    *count_out = ARRAY_LEN(endpoints);
    return endpoints;
}
