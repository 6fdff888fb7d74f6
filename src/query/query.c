/*
 * The service and the life of a query. The work is the engine's; what it asks is answered in
 * answer.c.
 */
#include "query/query.h"

#include "base/io.h"
#include "base/mem.h"
#include "query/query_priv.h"

static const char *const format_names[] = {
    [QUERY_JSON] = "json",       [QUERY_JSON_ARRAYS] = "json_arrays",
    [QUERY_NDJSON] = "ndjson",   [QUERY_NDJSON_ARRAYS] = "ndjson_arrays",
    [QUERY_CSV] = "csv",         [QUERY_ARROW] = "arrow",
    [QUERY_PARQUET] = "parquet",
};

enum status query_service_open(const struct query_service_opts *opts, struct query_service **out,
                               struct err *err)
{
    struct query_service *service = mem_zalloc(sizeof(*service));
    if (service == NULL) {
        return err_no_memory(err);
    }
    service->opts = *opts;
    pthread_mutex_init(&service->lock, NULL);
    if (service->opts.sql_bytes_max == 0) {
        service->opts.sql_bytes_max = 1024 * 1024;
    }
    *out = service;
    return OK;
}

void query_service_close(struct query_service *service)
{
    if (service == NULL) {
        return;
    }
    assert(service->oldest == NULL);
    pthread_mutex_destroy(&service->lock);
    mem_free(service);
}

enum status query_service_ready(struct query_service *service, struct err *err)
{
    TRY(catalog_ready(service->opts.catalog, err));
    TRY(store_ready(service->opts.store, err));
    return engine_pool_ready(service->opts.engines, err);
}

uint64_t query_sql_bytes_max(const struct query_service *service)
{
    return service->opts.sql_bytes_max;
}

static enum status check(const struct query_service *service, const struct query_opts *opts,
                         struct err *err)
{
    if (str_trim(opts->sql).len == 0) {
        return err_set(err, E_INVALID, "the statement is empty");
    }
    if (opts->sql.len > service->opts.sql_bytes_max) {
        return err_set(err, E_TOO_LARGE, "a statement of %zu bytes; at most %llu are taken",
                       opts->sql.len, (unsigned long long)service->opts.sql_bytes_max);
    }
    if (!str_is_utf8(opts->sql)) {
        return err_set(err, E_INVALID, "the statement is not UTF-8");
    }
    return OK;
}

static enum status write_payload(const struct query_opts *opts, struct buf *out, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "sql", opts->sql);
    jw_kv_str(&w, "params", opts->params);
    jw_kv_cstr(&w, "format", format_names[opts->format]);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status query_submit(struct query *query, struct err *err)
{
    bool upserts = query->staged_fd >= 0;
    const struct engine_job job = {
        .kind = upserts ? "upsert" : "query",
        .payload = buf_str(&query->payload),
        .fds = { query->staged_fd },
        .fd_count = upserts ? 1 : 0,
        .deadline = query->deadline,
        .call = query_answer,
        .ctx = query,
    };
    return engine_start(query->service->opts.engines, &job, &query->run, err);
}

struct query *query_new(struct query_service *service, deadline_ms deadline)
{
    struct query *query = mem_zalloc(sizeof(*query));
    if (query == NULL) {
        return NULL;
    }
    query->service = service;
    query->deadline = deadline;
    query->staged_fd = -1;
    pthread_mutex_init(&query->lock, NULL);
    pthread_cond_init(&query->changed, NULL);
    arena_init(&query->arena, 0);
    map_init(&query->by_name);
    buf_init(&query->payload, 0);
    query_write_init(&query->write);
    return query;
}

enum status query_start(struct query_service *service, const struct query_opts *opts,
                        struct query **out, struct err *err)
{
    TRY(check(service, opts, err));
    struct query *query = query_new(service, opts->deadline);
    if (query == NULL) {
        return err_no_memory(err);
    }
    enum status kind = query_running_note(query, opts, err);
    kind = kind == OK ? write_payload(opts, &query->payload, err) : kind;
    if (kind == OK) {
        kind = query_submit(query, err); /* its engine asks from now on: the arena has its lock */
    }
    if (kind != OK) {
        query_free(query);
        return kind;
    }
    query_running_add(query);
    *out = query;
    return OK;
}

/** A new attempt, on the tables as they are now. */
static enum status begin_again(struct query *query, struct err *err)
{
    query_running_remove(query);
    engine_free(query->run); /* from here on nobody asks */
    query->run = NULL;
    query_objects_free(query);
    memset(query->objects, 0, sizeof(query->objects));
    query_pins_free(query);
    query->pins = NULL;
    query->pin_count = query->pin_cap = 0;
    query->file_count = 0;
    map_init(&query->by_name);
    query_write_done(&query->write);
    query_write_init(&query->write);
    query->attempts++;
    TRY(query_submit(query, err));
    query_running_add(query);
    return OK;
}

/** The catalogue knows what became of a commit that failed, and has said it. */
static bool is_told(const char *msg)
{
    static const char *const words[] = { "the outcome is unknown", "nothing was changed",
                                         "nothing was committed" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strstr(msg, words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/** An error of a statement that may have committed says so. */
static enum status judge(struct query *query, enum status kind, struct err *err)
{
    if (kind == OK || err == NULL || !atomic_load(&query->write.committing) || is_told(err->msg)) {
        return kind;
    }
    struct err why = *err;
    const char *advice = query->batch_id.len > 0 ? "send the file again, it lands once"
                                                 : "look at the table before the statement is sent "
                                                   "again";
    return err_set(err, E_UNAVAILABLE, "the outcome is unknown: %s; %s", why.msg, advice);
}

static bool may_begin_again(const struct query *query, enum status kind)
{
    return kind == E_CONFLICT && atomic_load(&query->write.conflict) &&
           query->attempts + 1 < WRITE_ATTEMPTS_MAX && !deadline_passed(query->deadline);
}

enum status query_read(struct query *query, struct engine_frame *frame_out, struct err *err)
{
    enum status kind = engine_read(query->run, frame_out, err);
    if (may_begin_again(query, kind)) {
        TRY(begin_again(query, err));
        frame_out->type = ENGINE_NOTHING_YET;
        return OK;
    }
    return judge(query, kind, err);
}

enum status query_read_wait(struct query *query, struct engine_frame *frame_out, struct err *err)
{
    for (;;) {
        enum status kind = engine_read_wait(query->run, frame_out, err);
        if (!may_begin_again(query, kind)) {
            return judge(query, kind, err);
        }
        TRY(begin_again(query, err));
    }
}

int query_fd(const struct query *query)
{
    return engine_fd(query->run);
}

int query_pid(const struct query *query)
{
    return engine_pid(query->run);
}

void query_free(struct query *query)
{
    if (query == NULL) {
        return;
    }
    query_running_remove(query);
    engine_free(query->run); /* from here on nobody asks */
    query_objects_free(query);
    query_pins_free(query);
    query_write_done(&query->write);
    fd_done(&query->staged_fd);
    buf_done(&query->payload);
    arena_done(&query->arena);
    pthread_cond_destroy(&query->changed);
    pthread_mutex_destroy(&query->lock);
    mem_free(query);
}
