/*
 * The engine knows the file's schema now and asks under which it shall write: the table's own, the
 * table's after evolution, or fresh ids for a new table; and how its rows are spread over files and
 * sorted in them.
 */
#include "engine/partition_sql.h"
#include "iceberg/shape.h"
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

/* --- how rows are spread and sorted --- */

/** What the client asks for, as the fields of a spec or an order over the table's columns. */
static enum status write_asked(struct ingest_upload *upload, bool sort, struct json_writer *w,
                               struct err *err)
{
    struct ingest_plan *plan = &upload->plan;
    struct str text = sort ? upload->params.sort_by : upload->params.partition_by;
    struct ice_shape_field *fields = NULL;
    size_t count = 0;
    TRY(text.len == 0 ? OK
                      : ice_shape_parse(&plan->arena, sort ? "sort_by" : "partition_by", text, sort,
                                        &fields, &count, err));
    jw_key(w, STR("fields"));
    return ice_shape_write(w, &plan->arena, &plan->target, fields, count, sort, err);
}

/** The shape of a table with what the client asks for. */
static enum status write_shape(struct ingest_upload *upload, struct err *err)
{
    struct ingest_plan *plan = &upload->plan;
    AUTO(buf_done) struct buf json;
    struct json_writer w;
    buf_init(&json, 0);
    json_writer_init(&w, &json);
    jw_obj_begin(&w);
    jw_kv_obj(&w, "partition-spec");
    TRY(write_asked(upload, false, &w, err));
    jw_obj_end(&w);
    jw_kv_obj(&w, "write-order");
    TRY(write_asked(upload, true, &w, err));
    jw_obj_end(&w);
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    plan->shape = arena_str(&plan->arena, buf_str(&json));
    return plan->shape.ptr == NULL ? err_no_memory(err) : OK;
}

static bool same_source(const struct ice_partition_field *a, const struct ice_partition_field *b)
{
    return a->source_id == b->source_id && a->transform == b->transform && a->width == b->width;
}

/** What a table has that is there must be what is asked for. */
static enum status compare(struct ingest_upload *upload, const struct ice_partition_spec *asked,
                           const struct ice_sort_order *order_asked,
                           const struct ice_sort_order *order, struct err *err)
{
    const struct ice_partition_spec *spec = &upload->plan.spec;
    bool same = asked->field_count == spec->field_count || upload->params.partition_by.len == 0;
    for (size_t i = 0; upload->params.partition_by.len > 0 && same && i < spec->field_count; i++) {
        same = same_source(&asked->fields[i], &spec->fields[i]);
    }
    bool sorted = order_asked->field_count == order->field_count || upload->params.sort_by.len == 0;
    for (size_t i = 0; upload->params.sort_by.len > 0 && sorted && i < order->field_count; i++) {
        const struct ice_sort_field *a = &order_asked->fields[i], *b = &order->fields[i];
        sorted = same_source(&a->by, &b->by) && a->descending == b->descending &&
                 a->nulls_last == b->nulls_last;
    }
    return same && sorted
               ? OK
               : err_set(err, E_EXISTS, "table \"%.*s\" exists already, and is %s in another way",
                         STR_ARG(upload->params.table.name), same ? "sorted" : "partitioned");
}

/** Of the table, or of the new one. */
static enum status find_split(struct ingest_upload *upload, struct ice_sort_order *order,
                              struct err *err)
{
    struct ingest_plan *plan = &upload->plan;
    const struct catalog_place *place = &upload->place;
    struct arena *arena = &plan->arena;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct ice_partition_spec asked = { 0 };
    struct ice_sort_order order_asked = { 0 };
    bool asks = upload->params.partition_by.len > 0 || upload->params.sort_by.len > 0;
    plan->shape = STR_EMPTY;
    plan->spec = (struct ice_partition_spec){ 0 };
    *order = (struct ice_sort_order){ 0 };
    if (asks) {
        TRY(write_shape(upload, err));
        TRY(json_parse(plan->shape, &doc, err));
        TRY(ice_shape_spec(arena, &plan->target, yyjson_doc_get_root(doc), &asked, err));
        TRY(ice_shape_order(arena, yyjson_doc_get_root(doc), &order_asked, err));
    }
    if (!place->exists) {
        plan->spec = asked;
        *order = order_asked;
        return OK;
    }
    TRY(ice_partition_spec_parse(arena, &plan->target, place->spec_id, place->partition_fields,
                                 &plan->spec, err));
    TRY(ice_sort_order_parse(arena, place->sort_order_id, place->sort_fields, order, err));
    return asks ? compare(upload, &asked, &order_asked, order, err) : OK;
}

static enum status write_split(struct ingest_upload *upload, struct json_writer *w, struct err *err)
{
    struct ingest_plan *plan = &upload->plan;
    struct ice_sort_order order;
    bool sorted = false;
    TRY(find_split(upload, &order, err));
    plan->sort_order_id = -1;
    if (upload->params.mode == INGEST_UPSERT) { /* whoever replaces rows spreads them */
        jw_kv_bool(w, "all_columns", true);
        return OK;
    }
    TRY(partition_sql_write(w, &plan->target, &plan->spec, err));
    TRY(sort_sql_write(w, &plan->target, &order, &sorted, err));
    plan->sort_order_id = sorted ? order.id : -1;
    return OK;
}

/* --- the calls --- */

static enum status answer(struct ingest_upload *upload, yyjson_val *args, struct buf *reply,
                          struct err *err)
{
    struct ice_schema file;
    yyjson_val *schema = NULL;
    arena_reset(&upload->plan.arena);
    spools_clear(&upload->plan.spools); /* of an attempt before */
    TRY(json_get_obj(args, "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(&upload->plan.arena, schema, &file, err));
    if (file.root.field_count > upload->ingest->opts.columns_max) {
        return err_set(err, E_INVALID,
                       "the file has %zu columns, at most %zu are taken (ingestd.max_columns)",
                       file.root.field_count, upload->ingest->opts.columns_max);
    }
    TRY(fit(upload, &file, err));
    TRY(ingest_find_keys(upload, &file, err));
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &upload->plan.target);
    enum status status = write_split(upload, &w, err);
    TRY(status); /* the writer stopped in the middle */
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/* without bad rows, and then without those whose values do not fit a type */
enum { COPIES_MAX = 2 };

/** For a copy of the file. */
static enum status give_copy(struct ingest_upload *upload, struct buf *reply, int *fd_out,
                             struct err *err)
{
    if (upload->copies_given == COPIES_MAX) {
        return err_set(err, E_INVALID, "the job has its copies already");
    }
    TRY(store_spool(upload->ingest->opts.store, fd_out, err));
    upload->copies_given++;
    return buf_append(reply, STR("{}")) == OK ? OK : err_no_memory(err);
}

static enum status make_spool(void *ctx, int *fd_out, struct err *err)
{
    return store_spool(ctx, fd_out, err);
}

enum status ingest_on_call(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                           int *fd_out, struct err *err)
{
    struct ingest_upload *upload = ctx;
    enum status status;
    pthread_mutex_lock(&upload->plan.lock);
    if (str_eq(name, STR("plan"))) {
        status = answer(upload, args, reply, err);
    } else if (str_eq(name, STR("copy"))) {
        status = give_copy(upload, reply, fd_out, err);
    } else if (str_eq(name, STR("spool"))) {
        status = spools_answer(&upload->plan.spools, args, make_spool, upload->ingest->opts.store,
                               reply, fd_out, err);
    } else {
        status = err_set(err, E_INVALID, "an ingest job has no call \"%.*s\"", STR_ARG(name));
    }
    pthread_mutex_unlock(&upload->plan.lock);
    return status;
}
