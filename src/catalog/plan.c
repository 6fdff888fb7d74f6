/*
 * Which appends fit a base.
 *
 * Each waiting append is looked at on its own, in order: has its batch landed already (pointer,
 * then markers), does the table exist, do the field ids that its files were written with still mean
 * the same columns. One that does not fit is finished with its error and leaves the others alone.
 * An append that evolves the schema changes it for those behind it.
 */
#include "catalog/plan.h"

#include "base/map.h"
#include "catalog/batch.h"
#include "catalog/fit.h"
#include "catalog/fresh.h"
#include "catalog/mint.h"
#include "catalog/table_name.h"

/** The current spec of the table. */
static enum status find_spec(struct plan *plan, const struct ice_metadata *metadata,
                             struct err *err)
{
    struct ice_partition_specs specs;
    TRY(ice_partition_specs(plan->arena, metadata, &specs, err));
    plan->spec = ice_partition_spec_by_id(&specs, metadata->default_spec_id);
    return plan->spec != NULL ? OK
                              : err_set(err, E_CORRUPT, "the table has no partition spec %d",
                                        (int)metadata->default_spec_id);
}

void plan_done(struct plan *plan)
{
    if (plan->made != NULL) {
        ice_metadata_unref(plan->made);
        plan->made = NULL;
    }
}

enum status plan_init(struct plan *plan, struct arena *arena, const struct local_base *base,
                      const struct ice_metadata *metadata, struct commit_request **requests,
                      size_t count, struct err *err)
{
    size_t files = 0, sources = 0;
    for (size_t i = 0; i < count; i++) {
        if (!requests[i]->done) {
            files += requests[i]->append->file_count;
            sources += requests[i]->append->source_count;
        }
        requests[i]->accepted = requests[i]->creates = false;
        requests[i]->twin = NULL;
    }
    *plan = (struct plan){ .arena = arena, .base = base, .metadata = metadata };
    if (metadata != NULL) {
        plan->schema = metadata->schema;
        plan->last_column_id = metadata->last_column_id;
        TRY(find_spec(plan, metadata, err));
    }
    plan->records = arena_array(arena, files, sizeof(*plan->records));
    plan->files = arena_array(arena, files, sizeof(*plan->files));
    plan->batches = arena_array(arena, sources + count, sizeof(*plan->batches));
    return plan->files == NULL || plan->batches == NULL || plan->records == NULL
               ? err_no_memory(err)
               : OK;
}

/* --- batches --- */

enum status plan_find_batch(struct local *local, const struct local_base *base,
                            const struct ice_metadata *metadata, struct str id, struct arena *arena,
                            bool *found_out, struct pointer_batch *out, struct err *err)
{
    *found_out = false;
    if (metadata == NULL || id.len == 0) {
        return OK;
    }
    const struct pointer_batch *there = pointer_find_batch(&base->pointer, id);
    if (there != NULL && batch_counts(metadata, there)) {
        *out = *there;
        *found_out = true;
        return OK;
    }
    bool found = false;
    struct pointer_batch marked;
    TRY(batch_read(local->store, base->pointer.table.uuid, id, arena, &found, &marked, err));
    if (found && batch_counts(metadata, &marked)) {
        *out = marked;
        *found_out = true;
    }
    return OK;
}

enum status plan_answer(const struct table_summary *table, const struct pointer_batch *batch,
                        const struct catalog_append *append, struct arena *arena,
                        struct catalog_appended *out, struct err *err)
{
    bool same = append != NULL && append->file_count > 0 &&
                str_eq(append->files[0].path, batch->file);
    struct catalog_appended answer = {
        .uuid = arena_str(arena, table->uuid),
        .fingerprint = arena_str(arena, table->fingerprint),
        .batch_id = arena_str(arena, append != NULL ? append->batch_id : batch->id),
        .snapshot_id = batch->snapshot_id,
        .row_count = batch->row_count,
        .committed_ms = batch->committed_ms,
        .deduplicated = !same,
        .files_added = same ? append->file_count : 0,
    };
    if (answer.uuid.ptr == NULL || answer.fingerprint.ptr == NULL || answer.batch_id.ptr == NULL) {
        return err_no_memory(err);
    }
    *out = answer;
    return OK;
}

static const struct pointer_batch *planned_batch(const struct plan *plan, struct str id)
{
    for (size_t i = 0; i < plan->batch_count; i++) {
        if (str_eq(plan->batches[i].id, id)) {
            return &plan->batches[i];
        }
    }
    return NULL;
}

/* --- one request --- */

/** Were its files spread as the table is partitioned now? */
static enum status check_spec(const struct plan *plan, const struct catalog_append *append,
                              struct err *err)
{
    if (append->expected_spec_id != plan->spec->id) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" is partitioned in another way meanwhile; read it and try "
                       "again",
                       STR_ARG(append->name.name));
    }
    if (plan->spec->field_count > 0 && append->parts == NULL) {
        return err_set(err, E_UNSUPPORTED, "table \"%.*s\" is partitioned, and these files are not",
                       STR_ARG(append->name.name));
    }
    return OK;
}

/** The table is there: may this append go into it? */
static enum status check_existing(struct plan *plan, const struct commit_request *request,
                                  struct err *err)
{
    const struct catalog_append *append = request->append;
    const struct ice_metadata *metadata = plan->metadata;
    struct str name = append->name.name;
    if (append->place != NULL && append->place->exists &&
        !str_eq(append->place->uuid, plan->base->pointer.table.uuid)) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" was dropped and made again meanwhile; read it and try again",
                       STR_ARG(name));
    }
    TRY(ice_metadata_check_written(metadata, name, err));
    return append->file_count == 0 ? OK : check_spec(plan, append, err);
}

/** The schema that the table has once this append is in; *changed_out when that is a new one. */
static enum status next_schema(const struct plan *plan, const struct commit_request *request,
                               const struct ice_schema **out, bool *changed_out, struct err *err)
{
    const struct catalog_append *append = request->append;
    *out = plan->schema;
    *changed_out = false;
    if (append->evolved == NULL || fit_reads(append->evolved, plan->schema, NULL) == OK) {
        return OK;
    }
    bool as_planned = !plan->schema_changed && plan->metadata != NULL &&
                      append->expected_schema_id == plan->metadata->current_schema_id;
    if (!as_planned) {
        return err_set(err, E_CONFLICT,
                       "the schema of table \"%.*s\" has changed meanwhile; read it and try again",
                       STR_ARG(append->name.name));
    }
    TRY(fit_evolves(plan->schema, append->evolved, plan->last_column_id, err));
    *out = append->evolved;
    *changed_out = true;
    return OK;
}

static enum status check_place(struct local *local, const struct commit_request *request,
                               struct err *err)
{
    const struct catalog_append *append = request->append;
    const struct catalog_place *place = append->place;
    if (!append->create) {
        return local_not_found(local, &append->name, err);
    }
    if (place == NULL || place->location_key.len == 0 || !uuid_valid(place->uuid)) {
        return err_set(err, E_INVALID, "an append that creates a table needs a place");
    }
    if (place->exists) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" was dropped meanwhile; read it and try again",
                       STR_ARG(append->name.name));
    }
    if (!mint_is_ours(local->warehouse, place->uuid, place->location_key)) {
        return err_set(err, E_INVALID, "\"%.*s\" is no location of a new table with uuid %.*s",
                       STR_ARG(place->location_key), STR_ARG(place->uuid));
    }
    if (append->schema->root.field_count == 0) {
        return err_set(err, E_INVALID, "table \"%.*s\" would have no columns",
                       STR_ARG(append->name.name));
    }
    return OK;
}

/** No table yet, and nobody before us in this commit makes it: this append does. */
static enum status plan_create(struct local *local, struct plan *plan,
                               struct commit_request *request, struct err *err)
{
    TRY(check_place(local, request, err));
    struct table_name twin;
    size_t twins = 0;
    TRY(local_case_twins(local, &request->append->name, plan->arena, &twins, &twin, err));
    if (twins > 0) {
        return err_set(
            err, E_EXISTS,
            "table \"%.*s\" exists already; a name that differs from it only by case is refused",
            STR_ARG(twin.name));
    }
    TRY(fit_has_ids(request->append->schema, err));
    TRY(fresh_metadata(local, request->append, plan->arena, &plan->made, err));
    TRY(find_spec(plan, plan->made, err));
    request->creates = true;
    plan->shape = request->append->shape;
    plan->place = request->append->place;
    plan->schema = request->append->schema;
    plan->last_column_id = ice_schema_max_id(plan->schema);
    return OK;
}

/** Its partition, under the spec of the plan. */
static enum status add_record(struct plan *plan, const struct catalog_append *append, size_t from,
                              size_t to, struct err *err)
{
    struct ice_data_file *file = &plan->files[to];
    file->partition_spec_id = plan->spec->id;
    file->partition_avro = STR_EMPTY;
    if (plan->spec->field_count == 0) {
        return OK;
    }
    if (append->parts == NULL || append->part_count != plan->spec->field_count) {
        return err_set(err, E_INVALID,
                       "a file of table \"%.*s\" has %zu values for a partition, "
                       "not %zu",
                       STR_ARG(append->name.name),
                       append->parts == NULL ? (size_t)0 : append->part_count,
                       plan->spec->field_count);
    }
    TRY(ice_partition_record(plan->arena, plan->spec, append->parts[from], &plan->records[to],
                             err));
    file->partition_avro = plan->records[to].avro;
    return OK;
}

/** Add the files, all or (with sources) those whose source is new. */
static enum status add_files(struct local *local, struct plan *plan, struct commit_request *request,
                             const struct map *skip, struct err *err)
{
    const struct catalog_append *append = request->append;
    struct str table = plan->metadata != NULL ? plan->metadata->location : STR_EMPTY;
    for (size_t i = 0; i < append->file_count; i++) {
        const struct ice_data_file *from = &append->files[i];
        if (map_get(skip, from->path) != NULL) {
            continue;
        }
        TRY(store_key_check_plain(from->path, err));
        struct ice_data_file *file = &plan->files[plan->file_count + request->file_count];
        *file = *from;
        TRY(locate_uri(local->base.reader->locate, table, from->path, plan->arena, &file->path,
                       err));
        file->status = ICE_ADDED;
        file->snapshot_id = file->sequence_number = file->file_sequence_number = -1;
        TRY(add_record(plan, append, i, plan->file_count + request->file_count, err));
        request->file_count++;
        request->row_count += from->record_count;
    }
    return OK;
}

/** Which of the registered files were taken before: into `skip`. The others get a batch entry of
 * their own. */
static enum status plan_sources(struct local *local, struct plan *plan,
                                struct commit_request *request, struct map *skip, size_t *added,
                                struct err *err)
{
    const struct catalog_append *append = request->append;
    for (size_t i = 0; i < append->source_count; i++) {
        const struct ice_property *source = &append->sources[i];
        struct pointer_batch batch = { .file = source->name, .source = source->value };
        TRY(batch_source_id(plan->arena, source->value, &batch.id, err));
        bool found = planned_batch(plan, batch.id) != NULL;
        struct pointer_batch there;
        if (!found) {
            TRY(plan_find_batch(local, plan->base, plan->metadata, batch.id, plan->arena, &found,
                                &there, err));
        }
        if (found) {
            if (map_put(skip, source->name, (void *)source, NULL) != OK) {
                return err_no_memory(err);
            }
            continue;
        }
        plan->batches[plan->batch_count + (*added)++] = batch;
    }
    return OK;
}

/** What a request adds to the plan; on failure the plan is as it was. */
static enum status add_request(struct local *local, struct plan *plan,
                               struct commit_request *request, struct err *err)
{
    struct map skip;
    map_init(&skip);
    size_t batches = 0;
    request->file_count = 0;
    request->row_count = 0;
    enum status status = plan_sources(local, plan, request, &skip, &batches, err);
    status = status == OK ? add_files(local, plan, request, &skip, err) : status;
    map_done(&skip);
    TRY(status);
    if (request->batch_id.len > 0) {
        plan->batches[plan->batch_count + batches++] = (struct pointer_batch){
            .id = request->batch_id,
            .row_count = request->row_count,
            .file = request->append->file_count > 0 ? request->append->files[0].path : STR_EMPTY,
        };
    }
    plan->file_count += request->file_count;
    request->batch_from = plan->batch_count;
    request->batch_count = batches;
    plan->batch_count += batches;
    return OK;
}

/** Nothing to write for it: the table is there, no new files, no new schema. */
static enum status answer_nothing(const struct plan *plan, struct commit_request *request,
                                  struct err *err)
{
    const struct table_summary *table = &plan->base->pointer.table;
    struct pointer_batch none = { .id = request->append->batch_id,
                                  .snapshot_id = table->snapshot_id,
                                  .committed_ms = table->updated_ms };
    TRY(plan_answer(table, &none, request->append, request->arena, &request->out, err));
    request->out.deduplicated = request->append->source_count > 0;
    request->out.files_added = 0;
    request->done = true;
    return OK;
}

static enum status add_summary(struct plan *plan, const struct catalog_append *append,
                               struct err *err)
{
    if (append->summary_count == 0) {
        return OK;
    }
    struct ice_property *all = arena_array(plan->arena, plan->summary_count + append->summary_count,
                                           sizeof(*all));
    if (all == NULL) {
        return err_no_memory(err);
    }
    size_t count = plan->summary_count;
    if (count > 0) {
        memcpy(all, plan->summary, count * sizeof(*all));
    }
    for (size_t i = 0; i < append->summary_count; i++) {
        size_t at = 0;
        int64_t a = 0, b = 0;
        while (at < count && !str_eq(all[at].name, append->summary[i].name)) {
            at++;
        }
        if (at == count) {
            all[count++] = append->summary[i];
        } else if (str_to_i64(all[at].value, &a) && str_to_i64(append->summary[i].value, &b) &&
                   !__builtin_add_overflow(a, b, &a)) {
            all[at].value = arena_printf(plan->arena, "%lld", (long long)a);
            if (all[at].value.ptr == NULL) {
                return err_no_memory(err);
            }
        }
    }
    plan->summary = all;
    plan->summary_count = count;
    return OK;
}

/** The schema half of an append to a table that is there, or is being made by an append before
 * it. */
static enum status plan_schema(struct plan *plan, struct commit_request *request, struct err *err)
{
    const struct ice_schema *schema = NULL;
    bool changed = false;
    if (request->append->only_new) {
        return err_set(err, E_CONFLICT, "table \"%.*s\" was made by somebody else meanwhile",
                       STR_ARG(request->append->name.name));
    }
    if (plan->metadata != NULL) {
        TRY(check_existing(plan, request, err));
    } else if (request->append->place != NULL && request->append->place->exists) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" was dropped meanwhile; read it and try again",
                       STR_ARG(request->append->name.name));
    } else if (!str_eq(request->append->shape, plan->shape)) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" was made in another way meanwhile; read it and try again",
                       STR_ARG(request->append->name.name));
    }
    TRY(next_schema(plan, request, &schema, &changed, err));
    TRY(fit_reads(request->append->schema, schema, err));
    plan->schema = schema;
    if (changed) {
        plan->schema_changed = true;
        int32_t last = request->append->evolved_last_column_id;
        plan->last_column_id = last > plan->last_column_id ? last : plan->last_column_id;
    }
    return OK;
}

static enum status plan_one(struct local *local, struct plan *plan, struct commit_request *request,
                            struct err *err)
{
    struct pointer_batch landed;
    bool found = false;
    TRY(plan_find_batch(local, plan->base, plan->metadata, request->batch_id, plan->arena, &found,
                        &landed, err));
    if (found) {
        TRY(plan_answer(&plan->base->pointer.table, &landed, request->append, request->arena,
                        &request->out, err));
        request->done = true;
        return OK;
    }
    if (plan->schema == NULL) {
        TRY(plan_create(local, plan, request, err));
    } else {
        TRY(plan_schema(plan, request, err));
    }
    TRY(add_request(local, plan, request, err));
    if (request->file_count == 0 && plan->metadata != NULL && !plan->schema_changed) {
        plan->batch_count -= request->batch_count;
        return answer_nothing(plan, request, err);
    }
    plan->name_mapping = plan->name_mapping || request->append->name_mapping;
    request->accepted = true;
    plan->accepted++;
    return add_summary(plan, request->append, err);
}

void plan_request(struct local *local, struct plan *plan, struct commit_request *request)
{
    struct plan before = *plan;
    request->status = plan_one(local, plan, request, &request->err);
    if (request->status != OK) {
        if (plan->made != before.made) {
            plan_done(plan);
        }
        *plan = before; /* what it had added stands behind the counts and is written over */
        request->accepted = false;
        request->done = true;
    }
}
