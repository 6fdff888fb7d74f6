/*
 * Changes through another process' catalogd.
 *
 * A change whose answer was lost is sent again: catalogd recognises one that adds a snapshot. What
 * it says to any other may be because the first one has landed (its requirements do not hold any
 * more), so that only a success is believed. The calls that are not sent again are of unknown
 * outcome at once.
 */
#include "catalog/http_priv.h"

#include "catalog/wire.h"

enum { UPKEEP_TIMEOUT_MS = 600000 };

static deadline_ms later(deadline_ms deadline)
{
    return deadline == 0                ? call_soon()
           : deadline == DEADLINE_NEVER ? DEADLINE_NEVER
                                        : deadline + CALL_GRACE_MS;
}

/** What is told of a deadline: clocks of two machines differ. 0: as catalogd has it. */
static int64_t left_ms(deadline_ms deadline)
{
    if (deadline == 0 || deadline == DEADLINE_NEVER) {
        return 0;
    }
    int left = deadline_poll_ms(deadline);
    return left > 0 ? left : 1;
}

static enum status read_loaded(struct arena *arena, yyjson_val *root, struct catalog_loaded *out,
                               struct err *err)
{
    struct catalog_loaded loaded = { 0 };
    struct str text = STR_EMPTY;
    TRY(wire_read_str(arena, root, "metadata_location", JSON_REQUIRED, &loaded.metadata_location,
                      err));
    TRY(wire_read_str(arena, root, "location", JSON_REQUIRED, &loaded.location, err));
    TRY(json_get_str(root, "metadata", JSON_OPTIONAL, &text, err));
    buf_init(&loaded.metadata, CALL_BODY_BYTES_MAX);
    if (buf_append(&loaded.metadata, text) != OK) {
        buf_done(&loaded.metadata);
        return err_no_memory(err);
    }
    *out = loaded;
    return OK;
}

enum status remote_change(struct catalog *catalog, enum catalog_kind kind,
                          const struct catalog_change *change, deadline_ms deadline,
                          struct arena *arena, struct catalog_loaded *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, &change->name);
    jw_kv_bool(&call.w, "view", kind == CATALOG_VIEW);
    jw_kv_i64(&call.w, "timeout_ms", left_ms(deadline));
    jw_key(&call.w, STR("requirements"));
    jw_val(&call.w, change->requirements);
    jw_key(&call.w, STR("updates"));
    jw_val(&call.w, change->updates);
    if (change->batch != NULL) {
        jw_kv_obj(&call.w, "batch");
        jw_kv_str(&call.w, "id", change->batch->id);
        jw_kv_i64(&call.w, "rows", change->batch->row_count);
        jw_kv_str(&call.w, "file", change->batch->file);
        jw_obj_end(&call.w);
    }
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/change", CALL_SENDS_MAX,
                    later(deadline), &root, err));
    return read_loaded(arena, root, out, err) == OK ? OK : call_unknown(err);
}

/** Sent once: who asks again after a lost answer finds less to do. */
enum status remote_upkeep(struct catalog *catalog, const struct catalog_upkeep *upkeep,
                          struct buf *report, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    struct json_writer w;
    deadline_ms deadline = upkeep->deadline == 0 ? deadline_in(UPKEEP_TIMEOUT_MS)
                                                 : upkeep->deadline;
    call_begin(&call);
    wire_name(&call.w, &upkeep->name);
    jw_kv_str(&call.w, "procedure", upkeep->procedure);
    jw_kv_i64(&call.w, "timeout_ms", left_ms(deadline));
    if (upkeep->args != NULL) {
        jw_key(&call.w, STR("args"));
        jw_val(&call.w, upkeep->args);
    }
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/upkeep", 1, later(deadline),
                    &root, err));
    json_writer_init(&w, report);
    jw_val(&w, root);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status remote_create(struct catalog *catalog, enum catalog_kind kind,
                          const struct catalog_create *create, struct arena *arena,
                          struct catalog_loaded *out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, &create->name);
    jw_kv_i64(&call.w, "timeout_ms", left_ms(create->deadline));
    jw_kv_bool(&call.w, "view", kind == CATALOG_VIEW);
    jw_kv_bool(&call.w, "stage", create->stage);
    jw_key(&call.w, STR("request"));
    jw_val(&call.w, create->request);
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/create", 1,
                    later(create->deadline), &root, err));
    return read_loaded(arena, root, out, err) == OK ? OK : call_unknown(err);
}

enum status remote_rename(struct catalog *catalog, enum catalog_kind kind,
                          const struct table_name *from, const struct table_name *to,
                          bool *missing_ns_out, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    wire_name(&call.w, from);
    jw_kv_str(&call.w, "to_namespace", to->ns);
    jw_kv_str(&call.w, "to_name", to->name);
    jw_kv_bool(&call.w, "view", kind == CATALOG_VIEW);
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/rename", 1, call_soon(), &root,
                    err));
    return json_get_bool(root, "missing_namespace", JSON_OPTIONAL, missing_ns_out, err) == OK
               ? OK
               : call_unknown(err);
}

enum status remote_namespace_create(struct catalog *catalog, struct str ns,
                                    const struct ice_property *properties, size_t count,
                                    struct arena *arena, struct catalog_namespace *out,
                                    struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    jw_kv_str(&call.w, "namespace", ns);
    jw_kv_obj(&call.w, "properties");
    for (size_t i = 0; i < count; i++) {
        jw_key(&call.w, properties[i].name);
        jw_str(&call.w, properties[i].value);
    }
    jw_obj_end(&call.w);
    TRY(call_change(remote_of(catalog), &call, "/internal/catalog/namespace_create", 1, call_soon(),
                    &root, err));
    *out = (struct catalog_namespace){ 0 }; /* its properties are asked for where they are kept */
    return wire_read_str(arena, root, "uuid", JSON_REQUIRED, &out->uuid, err) == OK
               ? OK
               : call_unknown(err);
}

enum status remote_namespace_drop(struct catalog *catalog, struct str ns, struct err *err)
{
    AUTO(call_done) struct call call;
    yyjson_val *root = NULL;
    call_begin(&call);
    jw_kv_str(&call.w, "namespace", ns);
    return call_change(remote_of(catalog), &call, "/internal/catalog/namespace_drop", 1,
                       call_soon(), &root, err);
}
