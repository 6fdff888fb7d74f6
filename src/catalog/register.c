/*
 * Registering objects:
 *
 *      open and inspect all --> compare schemas --> leave out what the table has taken --> copy -->
 *      one append
 *
 * Nothing is written before every object was found and fits. The append itself decides once more
 * which objects are new (the commit looks their keys up on the base it swaps), so two registrations
 * at once add each object once; a copy that turns out to be one too many is deleted.
 */
#include "catalog/register.h"

#include "base/map.h"
#include "catalog/batch.h"
#include "catalog/catalog_priv.h"
#include "catalog/remap.h"

enum { PLAN_TRIES = 8 };

struct object {
    struct str key;  /* the user's */
    struct str copy; /* ours; empty: not copied yet */
    struct catalog_inspected found;
    struct store_info info; /* of the version that was inspected */
    bool taken;             /* the table has it already */
};

struct work {
    struct catalog *catalog;
    struct store *store;
    const struct catalog_register *request;
    struct arena *arena;
    struct object *objects;
    size_t count;
    char fingerprint[65];
    bool name_mapping;
};

static enum status inspect_all(struct work *work, const struct catalog_inspector *inspector,
                               struct err *err);
static enum status add(struct work *work, struct catalog_registered *out, bool *again_out,
                       struct err *err);

/** Delete the copies; after an unknown outcome they may be in the table and stay. */
static void delete_copies(struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        if (work->objects[i].copy.len > 0) {
            enum status ignored = store_delete(work->store, work->objects[i].copy, NULL);
            (void)ignored; /* an unreferenced file is swept */
        }
    }
}

enum status catalog_register(struct catalog *catalog, struct store *store,
                             const struct catalog_inspector *inspector,
                             const struct catalog_register *request, struct arena *arena,
                             struct catalog_registered *out, struct err *err)
{
    if (request->key_count == 0 || request->key_count > REGISTER_OBJECTS_MAX) {
        return err_set(err, E_INVALID, "objects: 1 to %d keys are expected, not %zu",
                       REGISTER_OBJECTS_MAX, request->key_count);
    }
    struct work work = { .catalog = catalog, .store = store, .request = request, .arena = arena };
    TRY(inspect_all(&work, inspector, err));
    enum status status = OK;
    bool again = true;
    for (int i = 0; i < PLAN_TRIES && again; i++) {
        again = false;
        status = add(&work, out, &again, err);
    }
    bool unknown = status == E_UNAVAILABLE || status == E_UPSTREAM || status == E_TIMEOUT;
    if (status != OK && !unknown) {
        delete_copies(&work);
    }
    return status;
}

/* --- looking at the objects --- */

static enum status check_key(struct str key, struct err *err)
{
    TRY(store_key_check_plain(key, err));
    if (str_starts(key, STR("_lake/")) || str_starts(key, STR("_buckets/"))) {
        return err_set(err, E_INVALID, "\"%.*s\" lies in a folder that is closed", STR_ARG(key));
    }
    return OK;
}

static enum status inspect(struct work *work, const struct catalog_inspector *inspector,
                           struct object *object, struct err *err)
{
    struct store_object *opened = NULL;
    enum status status = store_open(work->store, object->key, &opened, err);
    if (status == E_NOT_FOUND) {
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" does not exist", STR_ARG(object->key));
    }
    TRY(status);
    object->info = *store_object_info(opened);
    status = inspector->inspect(inspector->ctx, object->key, opened, work->arena, &object->found,
                                err);
    store_object_close(opened);
    return status;
}

/** All objects have the schema of the first. */
static enum status compare(struct work *work, const struct object *object, struct err *err)
{
    char fingerprint[65];
    TRY(ice_schema_fingerprint(object->found.schema, fingerprint, err));
    if (object == work->objects) {
        memcpy(work->fingerprint, fingerprint, sizeof(fingerprint));
        return OK;
    }
    if (strcmp(fingerprint, work->fingerprint) != 0) {
        return err_set(err, E_CONFLICT, "\"%.*s\" and \"%.*s\" have different schemas",
                       STR_ARG(work->objects[0].key), STR_ARG(object->key));
    }
    return OK;
}

static enum status inspect_all(struct work *work, const struct catalog_inspector *inspector,
                               struct err *err)
{
    struct map seen;
    map_init(&seen);
    enum status status = OK;
    work->objects = arena_array(work->arena, work->request->key_count, sizeof(*work->objects));
    if (work->objects == NULL) {
        status = err_no_memory(err);
    }
    for (size_t i = 0; i < work->request->key_count && status == OK; i++) {
        struct str key = work->request->keys[i];
        status = check_key(key, err);
        if (status != OK || map_get(&seen, key) != NULL) {
            continue;
        }
        struct object *object = &work->objects[work->count];
        *object = (struct object){ .key = key, .copy = STR_EMPTY };
        status = map_put(&seen, key, object, NULL) == OK ? OK : err_no_memory(err);
        status = status == OK ? inspect(work, inspector, object, err) : status;
        status = status == OK ? compare(work, object, err) : status;
        work->name_mapping = work->name_mapping || !object->found.has_ids;
        work->count++;
    }
    map_done(&seen);
    return status;
}

/* --- what is new --- */

static enum status find_taken(struct work *work, struct str uuid, struct err *err)
{
    struct catalog_pin *pin = NULL;
    TRY(catalog_pin(work->catalog, &work->request->name, false, NULL, &pin, err));
    enum status status = OK;
    for (size_t i = 0; i < work->count && status == OK; i++) {
        struct str id;
        bool found = false;
        struct pointer_batch batch;
        status = batch_source_id(work->arena, work->objects[i].key, &id, err);
        status = status == OK ? batch_read(work->store, uuid, id, work->arena, &found, &batch, err)
                              : status;
        work->objects[i].taken = status == OK && found && batch_counts(pin->metadata, &batch);
    }
    catalog_unpin(pin);
    return status;
}

static enum status copy(struct work *work, struct str location, struct object *object,
                        struct err *err)
{
    struct str name;
    struct store_info info;
    if (object->copy.len > 0) {
        return OK; /* from the try before */
    }
    TRY(batch_source_file(work->arena, object->key, &name, err));
    struct str to = arena_printf(work->arena, "%.*s/data/%.*s", STR_ARG(location), STR_ARG(name));
    if (to.ptr == NULL) {
        return err_no_memory(err);
    }
    enum status status = store_copy(work->store, object->key, to, &info, err);
    if (status == E_NOT_FOUND) {
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" does not exist any more",
                       STR_ARG(object->key));
    }
    TRY(status);
    object->copy = to;
    bool tagged = !info.etag_weak && !object->info.etag_weak;
    if (info.size != object->info.size || (tagged && strcmp(info.etag, object->info.etag) != 0)) {
        return err_set(err, E_CONFLICT, "object \"%.*s\" was changed while it was registered",
                       STR_ARG(object->key));
    }
    return OK;
}

/* --- the append --- */

static enum status make_file(struct work *work, const struct ice_schema *schema,
                             const struct object *object, struct ice_data_file *out,
                             struct err *err)
{
    *out = object->found.file;
    out->content = ICE_DATA;
    out->path = object->copy;
    out->format = STR("PARQUET");
    out->size_bytes = (int64_t)object->info.size;
    out->status = ICE_ADDED;
    out->snapshot_id = out->sequence_number = out->file_sequence_number = -1;
    out->partition_avro = STR_EMPTY;
    return remap_stats(work->arena, object->found.schema, schema, object->found.has_ids,
                       object->key, out, err);
}

static enum status append_new(struct work *work, const struct catalog_place *place,
                              struct catalog_appended *out, struct err *err)
{
    const struct ice_schema *schema = place->exists ? place->schema : work->objects[0].found.schema;
    struct ice_data_file *files = arena_array(work->arena, work->count, sizeof(*files));
    struct ice_property *sources = arena_array(work->arena, work->count, sizeof(*sources));
    size_t count = 0;
    if (files == NULL || sources == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < work->count; i++) {
        struct object *object = &work->objects[i];
        if (object->taken) {
            continue;
        }
        TRY(copy(work, place->location_key, object, err));
        TRY(make_file(work, schema, object, &files[count], err));
        sources[count++] = (struct ice_property){ object->copy, object->key };
    }
    struct catalog_append append = {
        .name = work->request->name,
        .schema = schema,
        .files = files,
        .file_count = count,
        .create = true,
        .place = place,
        .expected_schema_id = place->schema_id,
        .expected_spec_id = place->spec_id,
        .sources = sources,
        .source_count = count,
        .name_mapping = work->name_mapping,
        .deadline = work->request->deadline,
    };
    return catalog_append(work->catalog, &append, work->arena, out, err);
}

/** Copies that the commit left out, because another registration had been quicker. */
static enum status delete_surplus(struct work *work, struct err *err)
{
    struct catalog_pin *pin = NULL;
    struct catalog_files files;
    struct map live;
    TRY(catalog_pin(work->catalog, &work->request->name, false, NULL, &pin, err));
    map_init(&live);
    enum status status = catalog_files(work->catalog, pin, work->arena, &files, err);
    for (size_t i = 0; status == OK && i < files.count; i++) {
        status = map_put(&live, files.files[i].key, &files, NULL);
    }
    for (size_t i = 0; status == OK && i < work->count; i++) {
        if (work->objects[i].copy.len > 0 && map_get(&live, work->objects[i].copy) == NULL) {
            status = store_delete(work->store, work->objects[i].copy, err);
        }
    }
    map_done(&live);
    catalog_unpin(pin);
    return status;
}

static size_t new_count(const struct work *work)
{
    size_t count = 0;
    for (size_t i = 0; i < work->count; i++) {
        count += work->objects[i].taken ? 0 : 1;
    }
    return count;
}

static enum status answer_existing(struct work *work, const struct catalog_place *place,
                                   struct catalog_registered *out, struct err *err)
{
    struct table_summary table;
    TRY(catalog_find(work->catalog, &work->request->name, false, work->arena, &table, err));
    *out = (struct catalog_registered){ .uuid = place->uuid,
                                        .fingerprint = place->fingerprint,
                                        .snapshot_id = table.snapshot_id,
                                        .existing = true };
    return OK;
}

static enum status add(struct work *work, struct catalog_registered *out, bool *again_out,
                       struct err *err)
{
    struct catalog_place place;
    struct catalog_appended appended;
    TRY(catalog_place(work->catalog, &work->request->name, work->arena, &place, err));
    if (place.exists && !str_eq(place.fingerprint, str_of(work->fingerprint))) {
        return err_set(err, E_CONFLICT, "table \"%.*s\" exists with another schema than \"%.*s\"",
                       STR_ARG(work->request->name.name), STR_ARG(work->objects[0].key));
    }
    for (size_t i = 0; i < work->count; i++) {
        work->objects[i].taken = false;
    }
    if (place.exists) {
        TRY(find_taken(work, place.uuid, err));
    }
    if (new_count(work) == 0) {
        return answer_existing(work, &place, out, err);
    }
    enum status status = append_new(work, &place, &appended, err);
    if (status == E_CONFLICT) {
        /* did somebody make or change the table meanwhile? then plan again */
        struct catalog_place now;
        TRY(catalog_place(work->catalog, &work->request->name, work->arena, &now, NULL));
        *again_out = now.exists != place.exists || now.schema_id != place.schema_id ||
                     (now.exists && !str_eq(now.uuid, place.uuid));
        return status;
    }
    TRY(status);
    if (appended.files_added < new_count(work)) {
        enum status ignored = delete_surplus(work, NULL);
        (void)ignored; /* a file too many is swept */
    }
    *out = (struct catalog_registered){ .uuid = appended.uuid,
                                        .fingerprint = appended.fingerprint,
                                        .snapshot_id = appended.snapshot_id,
                                        .existing = !appended.created,
                                        .added = appended.files_added };
    return OK;
}
