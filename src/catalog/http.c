/*
 * The http driver: another process' catalogd decides what tables exist; what never changes
 * (metadata, manifests) is read from the store directly, through the same reader and cache as in
 * the local driver.
 *
 * An append whose answer was lost is sent again when it has a batch id, which makes it land once;
 * without one the caller is told that the outcome is unknown.
 *
 * Invariant: after an answer was lost, "failed" is never said. The call may have landed, and then
 * it is just that which makes its repeat fail; callers delete the files of what has failed.
 */
#include "catalog/http_priv.h"

#include "base/mem.h"
#include "catalog/reader.h"
#include "catalog/wire.h"

enum { BODY_BYTES_MAX = CALL_BODY_BYTES_MAX, CALL_TIMEOUT_MS = 30000 };

struct remote *remote_of(struct catalog *catalog)
{
    return (struct remote *)catalog;
}

/* --- one call --- */

void call_begin(struct call *call)
{
    *call = (struct call){ 0 };
    buf_init(&call->body, BODY_BYTES_MAX);
    json_writer_init(&call->w, &call->body);
    jw_obj_begin(&call->w);
}

void call_done(struct call *call)
{
    json_doc_done(&call->doc);
    http_answer_done(&call->answer);
    buf_done(&call->body);
}

enum status call_send(struct remote *remote, struct call *call, const char *target, bool repeatable,
                      deadline_ms deadline, yyjson_val **root_out, struct err *err)
{
    if (call->w.depth > 0) {
        jw_obj_end(&call->w);
        if (json_writer_end(&call->w) != OK) {
            return err_no_memory(err);
        }
    }
    struct http_header json = { STR("Content-Type"), STR("application/json") };
    struct http_call http = {
        .method = HTTP_POST,
        .target = str_of(target),
        .headers = &json,
        .header_count = 1,
        .body = buf_str(&call->body),
        .repeatable = repeatable,
        .deadline = deadline,
        .body_bytes_max = BODY_BYTES_MAX,
    };
    http_answer_done(&call->answer);
    TRY(http_client_call_ok(remote->client, &http, &call->answer, err));
    json_doc_done(&call->doc);
    if (json_parse(buf_str(&call->answer.body), &call->doc, err) != OK) {
        return err_set(err, E_UPSTREAM, "catalogd gave an answer that is no JSON");
    }
    *root_out = yyjson_doc_get_root(call->doc);
    return OK;
}

static bool is_lost(enum status status)
{
    return status == E_UPSTREAM || status == E_TIMEOUT;
}

enum status call_unknown(struct err *err)
{
    struct err why = err != NULL ? *err : (struct err){ 0 };
    if (str_starts(str_of(why.msg), STR("the outcome is unknown"))) {
        return why.kind;
    }
    return err_set(err, E_UNAVAILABLE, "the outcome is unknown: %s", why.msg);
}

enum status call_change(struct remote *remote, struct call *call, const char *target, int sends_max,
                        deadline_ms deadline, yyjson_val **root_out, struct err *err)
{
    struct err why = { 0 };
    enum status status = OK;
    bool in_doubt = false;
    for (int i = 0; i < sends_max; i++) {
        status = call_send(remote, call, target, false, deadline, root_out, &why);
        in_doubt = in_doubt || status == E_INTERNAL || (is_lost(status) && !call->answer.unreached);
        if (!is_lost(status) || deadline_passed(deadline)) {
            break;
        }
    }
    if (status == OK) {
        return OK;
    }
    if (err != NULL) {
        *err = why;
    }
    if (in_doubt) {
        return call_unknown(err != NULL ? err : &why);
    }
    return is_lost(status) ? err_set(err, E_UNAVAILABLE, "nothing was changed: %s", why.msg)
                           : status;
}

deadline_ms call_soon(void)
{
    return deadline_in(CALL_TIMEOUT_MS);
}

/* --- the operations --- */

/** Of a page; a server that knows no damaged tables has none. */
static enum status read_damaged(struct arena *arena, yyjson_val *root, struct catalog_list *list,
                                struct err *err)
{
    yyjson_val *arr = NULL;
    TRY(json_get_arr(root, "damaged", JSON_OPTIONAL, &arr, err));
    list->damaged = arena_array(arena, yyjson_arr_size(arr), sizeof(*list->damaged));
    if (list->damaged == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(wire_read_damaged(arena, val, &list->damaged[i], err));
    }
    list->damaged_count = yyjson_arr_size(arr);
    return OK;
}

static enum status read_list(struct arena *arena, yyjson_val *root, struct catalog_list *out,
                             struct err *err)
{
    struct catalog_list list = { 0 };
    yyjson_val *arr = NULL;
    TRY(json_get_arr(root, "tables", JSON_REQUIRED, &arr, err));
    TRY(wire_read_str(arena, root, "next", JSON_OPTIONAL, &list.next, err));
    list.tables = arena_array(arena, yyjson_arr_size(arr), sizeof(*list.tables));
    if (list.tables == NULL) {
        return err_no_memory(err);
    }
    size_t i, max;
    yyjson_val *val;
    yyjson_arr_foreach(arr, i, max, val)
    {
        TRY(wire_read_summary(arena, val, &list.tables[i], err));
    }
    list.count = yyjson_arr_size(arr);
    TRY(read_damaged(arena, root, &list, err));
    *out = list;
    return OK;
}

static enum status remote_list(struct catalog *catalog, const struct catalog_list_opts *opts,
                               struct arena *arena, struct catalog_list *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    jw_kv_str(&call.w, "namespace", opts->ns);
    jw_kv_str(&call.w, "after", opts->after);
    jw_kv_u64(&call.w, "limit", opts->limit);
    jw_kv_i64(&call.w, "kind", opts->kind);
    TRY(call_send(remote_of(catalog), &call, "/internal/catalog/list", true, call_soon(), &root,
                  err));
    return read_list(arena, root, out, err);
}

static enum status remote_find(struct catalog *catalog, const struct table_name *name, bool nocase,
                               struct arena *arena, struct table_summary *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, name);
    jw_kv_bool(&call.w, "nocase", nocase);
    TRY(call_send(remote_of(catalog), &call, "/internal/catalog/find", true, call_soon(), &root,
                  err));
    return wire_read_summary(arena, root, out, err);
}

static enum status remote_place(struct catalog *catalog, const struct table_name *name,
                                struct arena *arena, struct catalog_place *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, name);
    TRY(call_send(remote_of(catalog), &call, "/internal/catalog/place", true, call_soon(), &root,
                  err));
    return wire_read_place(arena, root, out, err);
}

static enum status remote_batch(struct catalog *catalog, const struct table_name *name,
                                struct str batch_id, struct arena *arena, bool *found_out,
                                struct catalog_appended *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    bool found = false;
    call_begin(&call);
    wire_name(&call.w, name);
    jw_kv_str(&call.w, "batch_id", batch_id);
    TRY(call_send(remote_of(catalog), &call, "/internal/catalog/batch", true, call_soon(), &root,
                  err));
    TRY(json_get_bool(root, "found", JSON_REQUIRED, &found, err));
    if (found) {
        TRY(wire_read_appended(arena, root, out, err));
    }
    *found_out = found;
    return OK;
}

static enum status remote_append(struct catalog *catalog, const struct catalog_append *append,
                                 struct arena *arena, struct catalog_appended *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_append(&call.w, append);
    /* catalogd keeps the deadline itself; ours is a little later, so that its answer arrives. */
    deadline_ms deadline = append->deadline == DEADLINE_NEVER ? DEADLINE_NEVER
                                                              : append->deadline + CALL_GRACE_MS;
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/append",
                    append->batch_id.len > 0 ? CALL_SENDS_MAX : 1, deadline, &root, err));
    return wire_read_appended(arena, root, out, err) == OK ? OK : call_unknown(err);
}

static enum status remote_drop(struct catalog *catalog, enum catalog_kind kind,
                               const struct table_name *name, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, name);
    jw_kv_bool(&call.w, "view", kind == CATALOG_VIEW);
    return call_change(remote_of(catalog), &call, "/internal/catalog/drop", 1, call_soon(), &root,
                       err);
}

static enum status remote_ready(struct catalog *catalog, struct err *err)
{
    struct http_answer answer = { 0 };
    struct http_call http = { .method = HTTP_GET,
                              .target = STR("/health"),
                              .deadline = deadline_in(2000) };
    enum status status = http_client_call_ok(remote_of(catalog)->client, &http, &answer, err);
    http_answer_done(&answer);
    return status == OK ? store_ready(remote_of(catalog)->store, err) : status;
}

/* --- life --- */

static void remote_close(struct catalog *catalog)
{
    struct remote *remote = remote_of(catalog);
    http_client_free(remote->client);
    reader_free(remote->base.reader);
    mem_free(remote);
}

static const struct catalog_ops remote_ops = {
    .name = "http",
    .close = remote_close,
    .list = remote_list,
    .find = remote_find,
    .append = remote_append,
    .place = remote_place,
    .batch = remote_batch,
    .drop = remote_drop,
    .change = remote_change,
    .upkeep = remote_upkeep,
    .create = remote_create,
    .rename = remote_rename,
    .namespace_create = remote_namespace_create,
    .namespace_drop = remote_namespace_drop,
    .ready = remote_ready,
};

static enum status make_client(const struct catalog_http_opts *opts, struct http_client **out,
                               struct err *err)
{
    AUTO(buf_done) struct buf authorization;
    buf_init(&authorization, 4096);
    if (opts->cluster_secret.len > 0 &&
        buf_printf(&authorization, "Lakehouse %.*s", STR_ARG(opts->cluster_secret)) != OK) {
        return err_no_memory(err);
    }
    return http_client_new(&(struct http_client_opts){ .base_url = opts->url,
                                                       .authorization = buf_str(&authorization),
                                                       .service = "catalogd" },
                           out, err);
}

enum status catalog_http_open(const struct catalog_http_opts *opts, struct catalog **out,
                              struct err *err)
{
    struct remote *remote = mem_zalloc(sizeof(*remote));
    if (remote == NULL) {
        return err_no_memory(err);
    }
    remote->base.ops = &remote_ops;
    remote->store = opts->store;
    enum status status = make_client(opts, &remote->client, err);
    status = status == OK ? reader_new(opts->store, opts->cache_bytes, &remote->base.reader, err)
                          : status;
    if (status != OK) {
        remote_close(&remote->base);
        return status;
    }
    *out = &remote->base;
    return OK;
}
