/* SQL's way to vector indexes: here, or over HTTP. */
#include "api/vector_driver.h"

#include "api/api_vectors_priv.h"
#include "api/vector_answer.h"
#include "api/vector_request.h"
#include "base/encode.h"
#include "base/mem.h"
#include "http/client.h"

enum {
    ANSWER_BYTES_MAX = 64 * 1024 * 1024, /* what an engine takes as a reply */
    HITS_BYTES_MAX = 256 * 1024 * 1024,  /* in memory; chosen, not measured */
    PAGE_ITEMS = 256, /* of the largest vectors and metadata they fit into an answer */
};

/* --- of this process --- */

static enum status search_local(const struct api_vectors *api, const struct query_nearest *nearest,
                                struct vector_search *search, struct arena *arena,
                                struct buf *reply, struct err *err)
{
    struct coll_answer answer = { 0 };
    TRY(coll_dimension(api->service, nearest->index, &search->dimension, err));
    TRY(vector_search_read_json(nearest->body, arena, search, err));
    TRY(coll_search(api->service, nearest->index, &search->query, arena, &answer, err));
    vectors_tally_answer(api, &answer);
    struct json_writer w;
    json_writer_init(&w, reply);
    vector_answer_search(&w, search, &answer);
    enum status kind = json_writer_end(&w);
    return kind == E_TOO_LARGE ? err_set(err, E_TOO_LARGE,
                                         "the items found take more than %d MiB: ask for fewer, "
                                         "or without their metadata",
                                         ANSWER_BYTES_MAX >> 20)
           : kind != OK        ? err_no_memory(err)
                               : OK;
}

static enum status local_search(void *ctx, const struct query_nearest *nearest, struct buf *reply,
                                struct err *err)
{
    const struct api_vectors *api = ctx;
    struct vector_search search = { .k_max = vectors_k_max(api) };
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, HITS_BYTES_MAX);
    enum status kind = search_local(api, nearest, &search, &arena, reply, err);
    vector_search_done(&search);
    return kind;
}

static enum status local_items(void *ctx, const struct query_items *asked, struct buf *reply,
                               struct err *err)
{
    const struct api_vectors *api = ctx;
    const struct coll_page page = { .after = asked->after,
                                    .limit = PAGE_ITEMS,
                                    .with_vectors = asked->with_vectors };
    struct coll_item *items = NULL;
    size_t count = 0;
    struct str next = STR_EMPTY;
    uint32_t dimension = 0;
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, HITS_BYTES_MAX);
    TRY(coll_dimension(api->service, asked->index, &dimension, err));
    TRY(coll_items(api->service, asked->index, &page, &arena, &items, &count, &next, err));
    return vector_answer_page(reply, items, count, asked->with_vectors ? dimension : 0, next, err);
}

struct query_vectors vector_driver_local(const struct api_vectors *api)
{
    return (struct query_vectors){ .search = local_search,
                                   .items = local_items,
                                   .ctx = (void *)(uintptr_t)api };
}

/* --- of another process --- */

struct vector_driver {
    struct http_client *client;
};

/** The name as it is, whatever is in it: no dot and no slash of it is one of the path. */
static enum status write_target(struct str index, const char *tail, struct buf *out,
                                struct err *err)
{
    enum status kind = buf_append(out, STR("/vectors/index/"));
    for (size_t i = 0; i < index.len && kind == OK; i++) {
        kind = buf_printf(out, "%%%02X", (unsigned char)index.ptr[i]);
    }
    return kind == OK && buf_append(out, str_of(tail)) == OK ? OK : err_no_memory(err);
}

/** Make the call, which changes nothing; the answer's body is appended. */
static enum status ask(const struct vector_driver *driver, struct http_call *call,
                       struct buf *reply, struct err *err)
{
    struct http_answer answer = { 0 };
    call->repeatable = true;
    call->body_bytes_max = ANSWER_BYTES_MAX;
    enum status kind = http_client_call_ok(driver->client, call, &answer, err);
    if (kind == OK && buf_append(reply, buf_str(&answer.body)) != OK) {
        kind = err_no_memory(err);
    }
    http_answer_done(&answer);
    return kind;
}

static enum status http_search(void *ctx, const struct query_nearest *nearest, struct buf *reply,
                               struct err *err)
{
    AUTO(buf_done) struct buf target;
    buf_init(&target, 0);
    TRY(write_target(nearest->index, "/search", &target, err));
    struct http_header json = { STR("Content-Type"), STR("application/json") };
    struct http_call call = {
        .method = HTTP_POST,
        .target = buf_str(&target),
        .headers = &json,
        .header_count = 1,
        .body = nearest->body,
        .deadline = nearest->deadline,
        .request_id = nearest->request_id,
    };
    return ask(ctx, &call, reply, err);
}

static enum status http_items(void *ctx, const struct query_items *asked, struct buf *reply,
                              struct err *err)
{
    AUTO(buf_done) struct buf target;
    buf_init(&target, 0);
    TRY(write_target(asked->index, "/items", &target, err));
    if (buf_printf(&target, "?limit=%d&with_vectors=%s&after=", PAGE_ITEMS,
                   asked->with_vectors ? "true" : "false") != OK ||
        percent_append(&target, asked->after, "") != OK) {
        return err_no_memory(err);
    }
    struct http_header bytes = { STR("Accept"), STR("application/octet-stream") };
    struct http_call call = {
        .method = HTTP_GET,
        .target = buf_str(&target),
        .headers = &bytes,
        .header_count = 1,
        .deadline = asked->deadline,
        .request_id = asked->request_id,
    };
    return ask(ctx, &call, reply, err);
}

enum status vector_driver_http(const struct vector_driver_opts *opts, struct vector_driver **out,
                               struct err *err)
{
    AUTO(buf_done) struct buf bearer;
    buf_init(&bearer, 0);
    if (opts->cluster_secret.len > 0 &&
        buf_printf(&bearer, "Lakehouse %.*s", STR_ARG(opts->cluster_secret)) != OK) {
        return err_no_memory(err);
    }
    struct vector_driver *driver = mem_zalloc(sizeof(*driver));
    if (driver == NULL) {
        return err_no_memory(err);
    }
    const struct http_client_opts client = { .base_url = opts->url,
                                             .authorization = buf_str(&bearer),
                                             .service = "vectord" };
    enum status kind = http_client_new(&client, &driver->client, err);
    if (kind != OK) {
        vector_driver_free(driver);
        return kind;
    }
    *out = driver;
    return OK;
}

struct query_vectors vector_driver_ops(struct vector_driver *driver)
{
    return (struct query_vectors){ .search = http_search, .items = http_items, .ctx = driver };
}

void vector_driver_free(struct vector_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    http_client_free(driver->client);
    mem_free(driver);
}
