/*
 * Rows of a file that replace those of a table by keys: a query of another kind. Pins, files and
 * the commit are those of a statement that writes (write.c); the engine's side is
 * engine/child_upsert.c.
 */
#include <unistd.h>

#include "query/query_priv.h"

static enum status write_payload(const struct query_upsert *upsert, struct buf *out,
                                 struct err *err)
{
    AUTO(buf_done) struct buf schema;
    struct json_writer w;
    buf_init(&schema, 0);
    if (table_name_schema(upsert->table.ns, &schema) != OK) {
        return err_no_memory(err);
    }
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "ns", buf_str(&schema));
    jw_kv_str(&w, "name", upsert->table.name);
    jw_kv_u64(&w, "size", upsert->size);
    jw_kv_i64(&w, "schema_id", upsert->schema_id);
    jw_kv_arr(&w, "keys");
    for (size_t i = 0; i < upsert->key_count; i++) {
        jw_str(&w, upsert->keys[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status fill(struct query *query, const struct query_upsert *upsert, struct err *err)
{
    const struct query_opts note = { .sql = STR("(rows of a file, by keys)"), .id = STR_EMPTY };
    query->batch_id = arena_str(&query->arena, upsert->batch_id);
    query->upserts_into = arena_str(&query->arena, upsert->uuid);
    query->staged_fd = dup(upsert->fd);
    if (query->batch_id.ptr == NULL || query->upserts_into.ptr == NULL || query->staged_fd < 0) {
        return err_set(err, E_NO_MEMORY, "no descriptor is left for the file");
    }
    TRY(query_running_note(query, &note, err));
    return write_payload(upsert, &query->payload, err);
}

enum status query_upsert_start(struct query_service *service, const struct query_upsert *upsert,
                               struct query **out, struct err *err)
{
    struct query *query = query_new(service, upsert->deadline);
    if (query == NULL) {
        return err_no_memory(err);
    }
    enum status status = fill(query, upsert, err);
    status = status == OK ? query_submit(query, err) : status;
    if (status != OK) {
        query_free(query);
        return status;
    }
    query_running_add(query);
    *out = query;
    return OK;
}
