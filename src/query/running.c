/*
 * What runs now: every query from its start until it is freed, in the order of their starts, under
 * the id of its request.
 *
 * The list's lock is held while a query is asked or canceled, so that it cannot be freed meanwhile;
 * query_free takes it off the list first. Below it comes the engine pool's lock.
 */
#include "base/mem.h"
#include "query/query_priv.h"

enum { TEXT_MAX = 500 }; /* of a statement: enough to know it again */

/** The start of a statement, cut between two characters. */
static struct str cut(struct str sql)
{
    size_t len = sql.len < TEXT_MAX ? sql.len : TEXT_MAX;
    while (len > 0 && len < sql.len && ((uint8_t)sql.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    return str_take(sql, len);
}

enum status query_running_note(struct query *query, const struct query_opts *opts, struct err *err)
{
    query->id = arena_str(&query->arena, opts->id);
    query->text = arena_str(&query->arena, cut(opts->sql));
    query->text_is_cut = query->text.len < opts->sql.len;
    query->since_ms = clock_wall_ms(clock_real());
    query->since_us = clock_now_us();
    return query->id.ptr != NULL && query->text.ptr != NULL ? OK : err_no_memory(err);
}

void query_running_add(struct query *query)
{
    struct query_service *service = query->service;
    pthread_mutex_lock(&service->lock);
    query->before = service->newest;
    *(query->before == NULL ? &service->oldest : &query->before->after) = query;
    service->newest = query;
    query->is_listed = true;
    pthread_mutex_unlock(&service->lock);
}

void query_running_remove(struct query *query)
{
    struct query_service *service = query->service;
    pthread_mutex_lock(&service->lock);
    if (query->is_listed) {
        *(query->before == NULL ? &service->oldest : &query->before->after) = query->after;
        *(query->after == NULL ? &service->newest : &query->after->before) = query->before;
        query->is_listed = false;
        query->before = query->after = NULL; /* it may come again */
    }
    pthread_mutex_unlock(&service->lock);
}

static bool tell(const struct query *query, struct arena *arena, struct query_running *out)
{
    *out = (struct query_running){
        .id = arena_str(arena, query->id),
        .sql = arena_str(arena, query->text),
        .sql_is_cut = query->text_is_cut,
        .since_ms = query->since_ms,
        .elapsed_ms = (clock_now_us() - query->since_us) / 1000,
    };
    engine_progress(query->run, &out->progress);
    return out->id.ptr != NULL && out->sql.ptr != NULL;
}

enum status query_running_list(struct query_service *service, struct arena *arena,
                               struct query_running **out, size_t *count_out, struct err *err)
{
    size_t count = 0;
    pthread_mutex_lock(&service->lock);
    for (struct query *at = service->oldest; at != NULL; at = at->after) {
        count++;
    }
    struct query_running *list = arena_array(arena, count + 1, sizeof(*list));
    bool told = list != NULL;
    count = 0;
    for (struct query *at = service->oldest; told && at != NULL; at = at->after) {
        told = tell(at, arena, &list[count++]);
    }
    pthread_mutex_unlock(&service->lock);
    if (!told) {
        return err_no_memory(err);
    }
    *out = list;
    *count_out = count;
    return OK;
}

size_t query_cancel(struct query_service *service, struct str id)
{
    size_t count = 0;
    pthread_mutex_lock(&service->lock);
    for (struct query *at = service->oldest; at != NULL; at = at->after) {
        if (str_eq(at->id, id)) {
            engine_cancel(at->run, "the statement was canceled by DELETE /v1/sql/running/{id}");
            count++;
        }
    }
    pthread_mutex_unlock(&service->lock);
    return count;
}
