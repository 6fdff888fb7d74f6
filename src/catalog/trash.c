/*
 * Trash objects. Nothing is deleted here: a reader that pinned an older snapshot may still need it,
 * so what became unreferenced is only noted, with the moment from which its grace counts.
 */
#include "catalog/trash.h"

enum { TRASH_BYTES_MAX = 256 * 1024 * 1024, TRIES = 3 };

static enum status encode(struct local *local, const struct trash *trash, int64_t now,
                          struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "format", 1);
    jw_kv_str(&w, "table_uuid", trash->uuid);
    jw_kv_i64(&w, "time_ms", now);
    jw_kv_i64(&w, "delete_after_ms", now + local->grace_ms);
    if (trash->prefix.len > 0) {
        jw_kv_str(&w, "prefix", trash->prefix);
    }
    jw_kv_arr(&w, "keys");
    for (size_t i = 0; i < trash->key_count; i++) {
        jw_str(&w, trash->keys[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

enum status trash_write(struct local *local, const struct trash *trash, struct err *err)
{
    if (trash->key_count == 0 && trash->prefix.len == 0) {
        return OK;
    }
    int64_t now = clock_wall_ms(local->clock);
    struct arena arena;
    arena_init(&arena, 4096);
    AUTO(buf_done) struct buf body;
    buf_init(&body, TRASH_BYTES_MAX);
    struct rng rng;
    local_rng(local, &rng);
    struct str key = arena_printf(&arena, "_lake/trash/%.*s/%013lld-%08x.json",
                                  STR_ARG(trash->uuid), (long long)now, (unsigned)rng_next(&rng));
    enum status status = key.ptr == NULL ? err_no_memory(err) : OK;
    if (status == OK && encode(local, trash, now, &body) != OK) {
        status = err_no_memory(err);
    }
    for (int i = 0; i < TRIES && status == OK; i++) {
        status = store_put(local->store, key, buf_str(&body), NULL, NULL, err);
        if ((status != E_UPSTREAM && status != E_TIMEOUT) || i + 1 == TRIES) {
            break;
        }
        status = OK;
    }
    arena_done(&arena);
    return status;
}
