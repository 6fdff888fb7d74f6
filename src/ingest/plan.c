/*
 * The engine knows the file's schema now and asks under which it shall write: the table's own, the
 * table's after evolution, or fresh ids for a new table.
 */
#include "ingest/ingest_priv.h"

static enum status fit(struct ingest_upload *upload, const struct ice_schema *file, struct err *err)
{
    struct ingest_plan *plan = &upload->plan;
    const struct catalog_place *place = &upload->place;
    if (place->exists) {
        plan->last_id = place->last_column_id;
        return ice_schema_fit(&plan->arena, place->schema, file, upload->params.evolve,
                              &plan->last_id, &plan->target, &plan->changed, err);
    }
    plan->last_id = 0;
    plan->changed = false;
    return ice_schema_assign_ids(&plan->arena, file, &plan->last_id, &plan->target, err);
}

static enum status answer(struct ingest_upload *upload, yyjson_val *args, struct buf *reply,
                          struct err *err)
{
    struct ice_schema file;
    yyjson_val *schema = NULL;
    arena_reset(&upload->plan.arena);
    TRY(json_get_obj(args, "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(&upload->plan.arena, schema, &file, err));
    if (file.root.field_count > upload->ingest->opts.columns_max) {
        return err_set(err, E_INVALID,
                       "the file has %zu columns, at most %zu are taken (ingestd.max_columns)",
                       file.root.field_count, upload->ingest->opts.columns_max);
    }
    TRY(fit(upload, &file, err));
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &upload->plan.target);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/* without bad rows, and then without those whose values do not fit a type */
enum { COPIES_MAX = 2 };

/** For a copy of the file. */
static enum status give_spool(struct ingest_upload *upload, struct buf *reply, int *fd_out,
                              struct err *err)
{
    if (upload->copies_given == COPIES_MAX) {
        return err_set(err, E_INVALID, "the job has its spools already");
    }
    TRY(store_spool(upload->ingest->opts.store, fd_out, err));
    upload->copies_given++;
    return buf_append(reply, STR("{}")) == OK ? OK : err_no_memory(err);
}

enum status ingest_on_call(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                           int *fd_out, struct err *err)
{
    struct ingest_upload *upload = ctx;
    enum status status;
    pthread_mutex_lock(&upload->plan.lock);
    if (str_eq(name, STR("plan"))) {
        status = answer(upload, args, reply, err);
    } else if (str_eq(name, STR("spool"))) {
        status = give_spool(upload, reply, fd_out, err);
    } else {
        status = err_set(err, E_INVALID, "an ingest job has no call \"%.*s\"", STR_ARG(name));
    }
    pthread_mutex_unlock(&upload->plan.lock);
    return status;
}
