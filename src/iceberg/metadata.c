/*
 * Reading table metadata: one JSON document becomes one parsed view that many threads share.
 *
 * The view borrows its strings from the document, and both go with the last reference. Version 1 is
 * read leniently: what it lacks gets the value that version 2 gives to tables that were upgraded
 * (sequence number 0, spec 0, branch main). Everything that lookups rely on is checked here once,
 * so that they need no error path: ids are unique, the current schema and the current snapshot
 * exist.
 */
#include "iceberg/metadata_priv.h"

#include "base/mem.h"

#include <stdlib.h>

/* A bound against hostile documents: the parsed view is a small multiple of its document. */
static const size_t VIEW_BYTES_MAX = (size_t)1 << 30;

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

static enum status get_i32(yyjson_val *obj, const char *name, enum json_need need, int32_t *out,
                           struct err *err)
{
    int64_t value = *out;
    TRY(json_get_i64(obj, name, need, &value, err));
    if (value < INT32_MIN || value > INT32_MAX) {
        return err_set(err, E_CORRUPT, "\"%s\" is %lld, no 32-bit number", name, (long long)value);
    }
    *out = (int32_t)value;
    return OK;
}

static enum status array_of(struct ice_metadata *m, yyjson_val *arr, size_t size, void **out,
                            struct err *err)
{
    *out = arena_array(&m->arena, yyjson_arr_size(arr) + 1, size);
    return *out == NULL ? err_no_memory(err) : OK;
}

/* ---- the parts ---- */

static enum status parse_schemas(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    yyjson_val *schemas = NULL;
    yyjson_val *only = NULL;
    TRY(json_get_arr(root, "schemas", JSON_OPTIONAL, &schemas, err));
    TRY(array_of(m, schemas, sizeof(*m->schemas), (void **)&m->schemas, err));
    size_t i = 0;
    size_t max = 0;
    yyjson_val *schema = NULL;
    ARR_EACH(schemas, i, max, schema)
    {
        TRY(ice_schema_parse(&m->arena, schema, &m->schemas[m->schema_count], err));
        m->schema_count++;
    }
    if (m->schema_count == 0) { /* version 1 may carry the current schema alone */
        TRY(json_get_obj(root, "schema", JSON_REQUIRED, &only, err));
        TRY(ice_schema_parse(&m->arena, only, &m->schemas[0], err));
        m->schema_count = 1;
        m->current_schema_id = m->schemas[0].schema_id;
    } else {
        TRY(get_i32(root, "current-schema-id", JSON_REQUIRED, &m->current_schema_id, err));
    }
    m->schema = ice_metadata_schema(m, m->current_schema_id);
    if (m->schema == NULL) {
        return err_set(err, E_CORRUPT, "current-schema-id %d is not among the schemas",
                       m->current_schema_id);
    }
    return OK;
}

/** Version 1 partition fields may lack their ids: they count from 1000 in order. */
static enum status write_fields(struct ice_metadata *m, yyjson_val *fields, struct ice_spec *out,
                                struct err *err)
{
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    size_t i = 0;
    size_t max = 0;
    yyjson_val *field = NULL;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_arr_begin(&w);
    ARR_EACH(fields, i, max, field)
    {
        size_t j = 0;
        size_t members = 0;
        yyjson_val *key = NULL;
        yyjson_val *val = NULL;
        jw_obj_begin(&w);
        OBJ_EACH(field, j, members, key, val)
        {
            jw_key(&w, val_str(key));
            jw_val(&w, val);
        }
        if (yyjson_obj_get(field, "field-id") == NULL) {
            jw_kv_i64(&w, "field-id", 1000 + (int64_t)i);
        }
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    out->field_count = yyjson_arr_size(fields);
    out->fields_json = arena_str(&m->arena, buf_str(&text));
    return out->fields_json.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status parse_specs(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    yyjson_val *specs = NULL;
    yyjson_val *fields = NULL;
    TRY(json_get_arr(root, "partition-specs", JSON_OPTIONAL, &specs, err));
    TRY(array_of(m, specs, sizeof(*m->specs), (void **)&m->specs, err));
    size_t i = 0;
    size_t max = 0;
    yyjson_val *spec = NULL;
    ARR_EACH(specs, i, max, spec)
    {
        struct ice_spec *out = &m->specs[m->spec_count];
        TRY(get_i32(spec, "spec-id", JSON_REQUIRED, &out->id, err));
        TRY(json_get_arr(spec, "fields", JSON_REQUIRED, &fields, err));
        TRY(write_fields(m, fields, out, err));
        m->spec_count++;
    }
    if (m->spec_count == 0) {
        TRY(json_get_arr(root, "partition-spec", JSON_OPTIONAL, &fields, err));
        TRY(write_fields(m, fields, &m->specs[0], err));
        m->spec_count = 1;
    }
    m->default_spec_id = m->specs[0].id;
    m->last_partition_id = 999; /* the first partition field is 1000 */
    TRY(get_i32(root, "default-spec-id", JSON_OPTIONAL, &m->default_spec_id, err));
    TRY(get_i32(root, "last-partition-id", JSON_OPTIONAL, &m->last_partition_id, err));
    return OK;
}

enum status metadata_parse_snapshot(yyjson_val *json, struct ice_snapshot *out, struct err *err)
{
    out->parent_id = -1;
    out->schema_id = -1;
    TRY(json_get_i64(json, "snapshot-id", JSON_REQUIRED, &out->id, err));
    TRY(json_get_i64(json, "parent-snapshot-id", JSON_OPTIONAL, &out->parent_id, err));
    TRY(json_get_i64(json, "sequence-number", JSON_OPTIONAL, &out->sequence_number, err));
    TRY(json_get_i64(json, "timestamp-ms", JSON_REQUIRED, &out->timestamp_ms, err));
    TRY(json_get_str(json, "manifest-list", JSON_OPTIONAL, &out->manifest_list, err));
    TRY(get_i32(json, "schema-id", JSON_OPTIONAL, &out->schema_id, err));
    return json_get_obj(json, "summary", JSON_OPTIONAL, &out->summary, err);
}

static int compare_slots(const void *a, const void *b)
{
    int64_t x = ((const struct ice_snapshot_slot *)a)->id;
    int64_t y = ((const struct ice_snapshot_slot *)b)->id;
    return (x > y) - (x < y);
}

static enum status parse_snapshots(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    yyjson_val *snapshots = NULL;
    TRY(json_get_arr(root, "snapshots", JSON_OPTIONAL, &snapshots, err));
    TRY(array_of(m, snapshots, sizeof(*m->snapshots), (void **)&m->snapshots, err));
    TRY(array_of(m, snapshots, sizeof(*m->by_id), (void **)&m->by_id, err));
    size_t i = 0;
    size_t max = 0;
    yyjson_val *snapshot = NULL;
    ARR_EACH(snapshots, i, max, snapshot)
    {
        TRY(metadata_parse_snapshot(snapshot, &m->snapshots[i], err));
        m->by_id[i] = (struct ice_snapshot_slot){ .id = m->snapshots[i].id, .index = i };
    }
    m->snapshot_count = max;
    qsort(m->by_id, max, sizeof(*m->by_id), compare_slots);
    for (i = 1; i < max; i++) {
        if (m->by_id[i].id == m->by_id[i - 1].id) {
            return err_set(err, E_CORRUPT, "snapshot %lld is there twice",
                           (long long)m->by_id[i].id);
        }
    }
    return OK;
}

static enum status parse_current(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    int64_t current = -1;
    TRY(json_get_i64(root, "current-snapshot-id", JSON_OPTIONAL, &current, err));
    m->current = current == -1 ? NULL : ice_metadata_snapshot(m, current);
    if (current != -1 && m->current == NULL) {
        return err_set(err, E_CORRUPT, "current-snapshot-id %lld is not among the snapshots",
                       (long long)current);
    }
    return OK;
}

static enum status parse_log(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    yyjson_val *log = NULL;
    TRY(json_get_arr(root, "snapshot-log", JSON_OPTIONAL, &log, err));
    TRY(array_of(m, log, sizeof(*m->snapshot_log), (void **)&m->snapshot_log, err));
    size_t i = 0;
    size_t max = 0;
    yyjson_val *entry = NULL;
    ARR_EACH(log, i, max, entry)
    {
        struct ice_log_entry *out = &m->snapshot_log[m->log_count];
        TRY(json_get_i64(entry, "timestamp-ms", JSON_REQUIRED, &out->timestamp_ms, err));
        TRY(json_get_i64(entry, "snapshot-id", JSON_REQUIRED, &out->snapshot_id, err));
        m->log_count++;
    }
    return OK;
}

/** What a ref says of how long something is kept; 0: nothing that means anything. */
static int64_t kept(yyjson_val *ref, const char *name)
{
    yyjson_val *val = yyjson_obj_get(ref, name);
    return yyjson_is_int(val) && yyjson_get_sint(val) > 0 ? yyjson_get_sint(val) : 0;
}

static enum status parse_refs(struct ice_metadata *m, yyjson_val *root, struct err *err)
{
    yyjson_val *refs = NULL;
    bool has_main = false;
    TRY(json_get_obj(root, "refs", JSON_OPTIONAL, &refs, err));
    m->branches = arena_array(&m->arena, yyjson_obj_size(refs) + 1, sizeof(*m->branches));
    if (m->branches == NULL) {
        return err_no_memory(err);
    }
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *ref = NULL;
    OBJ_EACH(refs, i, max, key, ref)
    {
        struct ice_ref *out = &m->branches[m->ref_count];
        struct str type = STR("branch");
        out->name = val_str(key);
        TRY(json_get_i64(ref, "snapshot-id", JSON_REQUIRED, &out->snapshot_id, err));
        TRY(json_get_str(ref, "type", JSON_OPTIONAL, &type, err));
        out->is_tag = str_eq_nocase(type, STR("tag"));
        out->ref_age_max_ms = kept(ref, "max-ref-age-ms");
        out->snapshot_age_max_ms = kept(ref, "max-snapshot-age-ms");
        out->keep_min = kept(ref, "min-snapshots-to-keep");
        has_main = has_main || str_eq(out->name, STR("main"));
        m->ref_count++;
    }
    if (!has_main && m->current != NULL) { /* version 1 has no refs: main is what is current */
        m->branches[m->ref_count++] = (struct ice_ref){ .name = STR("main"),
                                                        .snapshot_id = m->current->id };
    }
    return OK;
}

static enum status parse_root(struct ice_metadata *m, yyjson_val *root,
                              const struct metadata_written *written, struct err *err)
{
    if (!yyjson_is_obj(root)) {
        return err_set(err, E_CORRUPT, "it is no object");
    }
    TRY(get_i32(root, "format-version", JSON_REQUIRED, &m->format_version, err));
    if (m->format_version < 1) {
        return err_set(err, E_CORRUPT, "format-version is %d", m->format_version);
    }
    if (m->format_version > 3) {
        return err_set(err, E_UNSUPPORTED, "format version %d is not supported (1 to 3 are)",
                       m->format_version);
    }
    enum json_need since_v2 = m->format_version >= 2 ? JSON_REQUIRED : JSON_OPTIONAL;
    m->table_uuid = STR_EMPTY;
    TRY(json_get_str(root, "table-uuid", since_v2, &m->table_uuid, err));
    TRY(json_get_str(root, "location", JSON_REQUIRED, &m->location, err));
    TRY(json_get_i64(root, "last-sequence-number", since_v2, &m->last_sequence_number, err));
    TRY(json_get_i64(root, "last-updated-ms", JSON_REQUIRED, &m->last_updated_ms, err));
    TRY(get_i32(root, "last-column-id", JSON_REQUIRED, &m->last_column_id, err));
    TRY(parse_schemas(m, root, err));
    TRY(parse_specs(m, root, err));
    TRY(written != NULL ? metadata_next_snapshots(m, written, err) : parse_snapshots(m, root, err));
    TRY(parse_current(m, root, err));
    TRY(written != NULL ? metadata_next_log(m, written, err) : parse_log(m, root, err));
    return parse_refs(m, root, err);
}

/** What is stored is not the caller's input: a member that is wrong makes the document broken. */
static enum status as_corrupt(enum status status, struct err *err)
{
    if (status != E_INVALID && status != E_CORRUPT) {
        return status;
    }
    if (err != NULL) {
        err->kind = E_CORRUPT;
        (void)err_context(err, "table metadata is broken");
    }
    return E_CORRUPT;
}

enum status ice_metadata_parse(struct str json, struct ice_metadata **out, struct err *err)
{
    return metadata_parse(json, NULL, out, err);
}

enum status metadata_parse(struct str json, const struct metadata_written *written,
                           struct ice_metadata **out, struct err *err)
{
    struct ice_metadata *m = mem_zalloc(sizeof(*m));
    if (m == NULL) {
        return err_no_memory(err);
    }
    m->refs = 1;
    arena_init(&m->arena, VIEW_BYTES_MAX);
    m->json_bytes = written != NULL ? written->json.len : json.len;
    enum status status = ice_doc_parse(json, &m->home, err);
    if (status == OK) {
        m->doc = m->home->doc;
        status = parse_root(m, yyjson_doc_get_root(m->doc), written, err);
    }
    if (status != OK) {
        ice_metadata_unref(m);
        return as_corrupt(status, err);
    }
    *out = m;
    return OK;
}

struct ice_metadata *ice_metadata_ref(const struct ice_metadata *metadata)
{
    struct ice_metadata *m = (struct ice_metadata *)metadata;
    /* Relaxed: whoever makes a reference already holds one. */
    (void)__atomic_fetch_add(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void ice_metadata_unref(const struct ice_metadata *metadata)
{
    struct ice_metadata *m = (struct ice_metadata *)metadata;
    /* Acquire and release: the last one frees only after what all others did with it. */
    if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t i = 0; i < m->snapshot_count; i++) {
        ice_part_unref(m->snapshots[i].part);
    }
    ice_doc_unref(m->home);
    arena_done(&m->arena);
    mem_free(m);
}

/* ---- lookups ---- */

const struct ice_schema *ice_metadata_schema(const struct ice_metadata *metadata, int32_t schema_id)
{
    for (size_t i = 0; i < metadata->schema_count; i++) {
        if (metadata->schemas[i].schema_id == schema_id) {
            return &metadata->schemas[i];
        }
    }
    return NULL;
}

size_t metadata_find(const struct ice_metadata *metadata, int64_t snapshot_id)
{
    size_t low = 0;
    size_t high = metadata->snapshot_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (metadata->by_id[mid].id < snapshot_id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    bool found = low < metadata->snapshot_count && metadata->by_id[low].id == snapshot_id;
    return found ? metadata->by_id[low].index : SIZE_MAX;
}

const struct ice_snapshot *ice_metadata_snapshot(const struct ice_metadata *metadata,
                                                 int64_t snapshot_id)
{
    size_t index = metadata_find(metadata, snapshot_id);
    return index == SIZE_MAX ? NULL : &metadata->snapshots[index];
}

void ice_main_write_retention(const struct ice_metadata *metadata, struct json_writer *w)
{
    for (size_t i = 0; i < metadata->ref_count; i++) {
        const struct ice_ref *ref = &metadata->branches[i];
        const struct {
            const char *name;
            int64_t value;
        } kept[] = { { "max-ref-age-ms", ref->ref_age_max_ms },
                     { "max-snapshot-age-ms", ref->snapshot_age_max_ms },
                     { "min-snapshots-to-keep", ref->keep_min } };
        for (size_t k = 0; str_eq(ref->name, STR("main")) && k < ARRAY_LEN(kept); k++) {
            if (kept[k].value > 0) {
                jw_kv_i64(w, kept[k].name, kept[k].value);
            }
        }
    }
}

const struct ice_snapshot *ice_metadata_by_ref(const struct ice_metadata *metadata, struct str ref)
{
    for (size_t i = 0; i < metadata->ref_count; i++) {
        if (str_eq(metadata->branches[i].name, ref)) {
            return ice_metadata_snapshot(metadata, metadata->branches[i].snapshot_id);
        }
    }
    return NULL;
}

const struct ice_snapshot *ice_metadata_as_of(const struct ice_metadata *metadata, int64_t wall_ms)
{
    const struct ice_log_entry *last = NULL;
    for (size_t i = 0; i < metadata->log_count; i++) {
        if (metadata->snapshot_log[i].timestamp_ms <= wall_ms) {
            last = &metadata->snapshot_log[i];
        }
    }
    if (last != NULL) {
        return ice_metadata_snapshot(metadata, last->snapshot_id);
    }
    bool unlogged = metadata->log_count == 0 && metadata->current != NULL &&
                    metadata->current->timestamp_ms <= wall_ms;
    return unlogged ? metadata->current : NULL;
}

enum status ice_metadata_check_written(const struct ice_metadata *metadata, struct str table_name,
                                       struct err *err)
{
    return metadata->format_version == 2
               ? OK
               : err_set(err, E_INVALID,
                         "table \"%.*s\" has format version %d; only version 2 is written%s",
                         STR_ARG(table_name), (int)metadata->format_version,
                         metadata->format_version < 2 ? " (set its property format-version to 2)"
                                                      : "");
}

struct str ice_metadata_property(const struct ice_metadata *metadata, struct str name)
{
    yyjson_val *properties = yyjson_obj_get(yyjson_doc_get_root(metadata->doc), "properties");
    yyjson_val *value = yyjson_obj_getn(properties, name.ptr, name.len);
    return yyjson_is_str(value) ? val_str(value) : (struct str){ NULL, 0 };
}

int64_t metadata_property_i64(const struct ice_metadata *metadata, struct str name,
                              int64_t otherwise)
{
    int64_t value = otherwise;
    return str_to_i64(ice_metadata_property(metadata, name), &value) ? value : otherwise;
}

bool ice_metadata_is_ancestor(const struct ice_metadata *metadata, int64_t ancestor_id,
                              int64_t of_id)
{
    const struct ice_snapshot *ancestor = ice_metadata_snapshot(metadata, ancestor_id);
    const struct ice_snapshot *at = ice_metadata_snapshot(metadata, of_id);
    for (size_t steps = 0; at != NULL && steps < metadata->snapshot_count; steps++) {
        if (at->id == ancestor_id) {
            return true;
        }
        if (at->parent_id == -1) {
            return false;
        }
        const struct ice_snapshot *parent = ice_metadata_snapshot(metadata, at->parent_id);
        if (parent == NULL) {
            /* Cut by expiry. What is older may have been on the chain; what is newer cannot. */
            return at->parent_id == ancestor_id || ancestor == NULL ||
                   ancestor->sequence_number < at->sequence_number;
        }
        at = parent;
    }
    return false;
}
