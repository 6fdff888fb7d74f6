/*
 * Making table metadata: a first document, and a new document from an old one.
 *
 * An edit streams the members of the old document into the new one in their order. Members that the
 * edit changes are written by a function of their own; all others, known or not, are copied as they
 * are. So nothing is lost that another program put there: sort orders, statistics, branches,
 * encryption keys, members of a later version.
 */
#include "iceberg/expiry.h"
#include "iceberg/metadata_priv.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/rng.h"

/* Iceberg's default of write.metadata.previous-versions-max. */
enum { METADATA_LOG_DEFAULT = 100 };

/* A snapshot and what goes with it has about 700 bytes; more costs a copy of the document. */
enum { NEXT_BYTES = 4096 };

struct edit {
    const struct ice_metadata *base;
    const struct ice_edit *in;
    struct arena *arena;
    yyjson_val *root;
    int64_t now_ms;
    int32_t schema_id; /* of the schema that is current afterwards */
    bool add_schema;   /* it is not among the base's */
    bool *expired;     /* [base->snapshot_count] */
    size_t log_from;   /* the first entry of the base's metadata log that stays */
    struct metadata_written made;
    struct ice_edit_result result;
};

static enum status plan(struct edit *edit, struct err *err);
static enum status plan_expiry(struct edit *edit, struct err *err);
static void write_root(struct edit *edit, struct json_writer *w);

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/* ---- a new table ---- */

static void write_new(const struct ice_new_table *in, struct json_writer *w)
{
    struct ice_schema schema = *in->schema;
    schema.schema_id = 0;
    jw_obj_begin(w);
    jw_kv_i64(w, "format-version", 2);
    jw_kv_str(w, "table-uuid", in->uuid);
    jw_kv_str(w, "location", in->location);
    jw_kv_i64(w, "last-sequence-number", 0);
    jw_kv_i64(w, "last-updated-ms", in->now_ms);
    jw_kv_i64(w, "last-column-id", in->last_column_id);
    jw_kv_i64(w, "current-schema-id", 0);
    jw_kv_arr(w, "schemas");
    ice_schema_write(w, &schema);
    jw_arr_end(w);
    jw_kv_i64(w, "default-spec-id", 0);
    jw_key(w, STR("partition-specs"));
    jw_raw(w, STR("[{\"spec-id\":0,\"fields\":[]}]"));
    jw_kv_i64(w, "last-partition-id", 999);
    jw_kv_i64(w, "default-sort-order-id", 0);
    jw_key(w, STR("sort-orders"));
    jw_raw(w, STR("[{\"order-id\":0,\"fields\":[]}]"));
    jw_kv_obj(w, "properties");
    for (size_t i = 0; i < in->property_count; i++) {
        jw_key(w, in->properties[i].name);
        jw_str(w, in->properties[i].value);
    }
    jw_obj_end(w);
    jw_kv_i64(w, "current-snapshot-id", -1);
    jw_key(w, STR("refs"));
    jw_raw(w, STR("{}"));
    static const char *const lists[] = { "snapshots", "statistics", "partition-statistics",
                                         "snapshot-log", "metadata-log" };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        jw_kv_arr(w, lists[i]);
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

enum status ice_metadata_new(const struct ice_new_table *in, struct buf *out, struct err *err)
{
    if (in->last_column_id < ice_schema_max_id(in->schema)) {
        return err_set(err, E_INVALID, "last-column-id %d is below the schema's highest id",
                       in->last_column_id);
    }
    if (in->location.len == 0 || str_ends(in->location, STR("/"))) {
        return err_set(err, E_INVALID, "location \"%.*s\" is empty or ends in a slash",
                       STR_ARG(in->location));
    }
    struct json_writer w;
    json_writer_init(&w, out);
    write_new(in, &w);
    enum status status = json_writer_end(&w);
    return status == OK ? OK : err_set(err, status, "table metadata cannot be written");
}

/* ---- an edit ---- */

/** Room for the ends of what the two lists will have. */
static enum status made_init(struct edit *edit, struct err *err)
{
    const struct ice_metadata *base = edit->base;
    edit->made = (struct metadata_written){
        .base = base,
        .expired = edit->expired,
        .new_snapshot = edit->in->snapshot,
        .now_ms = edit->now_ms,
        .snapshot_ends = arena_array(edit->arena, base->snapshot_count + 1, sizeof(size_t)),
        .log_ends = arena_array(edit->arena, base->log_count + 1, sizeof(size_t)),
    };
    bool room = edit->made.snapshot_ends != NULL && edit->made.log_ends != NULL;
    return room ? OK : err_no_memory(err);
}

/** Append the new document to `out`. */
static enum status run(struct edit *edit, struct buf *out, struct err *err)
{
    TRY(plan(edit, err));
    TRY(made_init(edit, err));
    size_t before = out->len;
    struct json_writer w;
    json_writer_init(&w, out);
    write_root(edit, &w);
    enum status status = json_writer_end(&w);
    if (status != OK) {
        return err_set(err, status, "table metadata cannot be written");
    }
    edit->made.json = str_skip(buf_str(out), before);
    return OK;
}

enum status ice_metadata_edit(const struct ice_metadata *base, const struct ice_edit *edit,
                              struct arena *arena, struct buf *out, struct ice_edit_result *result,
                              struct err *err)
{
    struct edit state = {
        .base = base, .in = edit, .arena = arena, .root = yyjson_doc_get_root(base->doc)
    };
    TRY(run(&state, out, err));
    *result = state.result;
    return OK;
}

enum status ice_metadata_next(const struct ice_metadata *base, const struct ice_edit *edit,
                              struct arena *arena, struct buf *out, struct ice_metadata **next_out,
                              struct ice_edit_result *result, struct err *err)
{
    struct edit state = {
        .base = base, .in = edit, .arena = arena, .root = yyjson_doc_get_root(base->doc)
    };
    assert(out->len == 0); /* what is noted of the text counts from the buffer's start */
    if (buf_reserve(out, base->json_bytes + NEXT_BYTES) == NULL) {
        return err_no_memory(err);
    }
    TRY(run(&state, out, err));
    enum status status = metadata_next(&state.made, next_out, err);
    if (status != OK) {
        buf_clear(out);
        return status;
    }
    *result = state.result;
    return OK;
}

/* ---- the plan: what the new document will say ---- */

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/** Readers refuse metadata whose times run backwards, whatever our clock says. */
static int64_t plan_time(const struct edit *edit)
{
    const struct ice_metadata *base = edit->base;
    int64_t now = max_i64(edit->in->now_ms, base->last_updated_ms);
    for (size_t i = 0; i < base->snapshot_count; i++) {
        now = max_i64(now, base->snapshots[i].timestamp_ms);
    }
    for (size_t i = 0; i < base->log_count; i++) {
        now = max_i64(now, base->snapshot_log[i].timestamp_ms);
    }
    yyjson_val *log = yyjson_obj_get(edit->root, "metadata-log");
    size_t i = 0;
    size_t max = 0;
    yyjson_val *entry = NULL;
    ARR_EACH(log, i, max, entry)
    {
        now = max_i64(now, yyjson_get_sint(yyjson_obj_get(entry, "timestamp-ms")));
    }
    return now;
}

enum status ice_metadata_schema_id(const struct ice_metadata *metadata,
                                   const struct ice_schema *schema, int32_t *out, bool *known_out,
                                   struct err *err)
{
    int32_t highest = -1;
    if (metadata->schema != NULL && ice_schema_same(metadata->schema, schema)) {
        *out = metadata->current_schema_id;
        *known_out = true;
        return OK;
    }
    for (size_t i = 0; i < metadata->schema_count; i++) {
        const struct ice_schema *one = &metadata->schemas[i];
        if (ice_schema_same(one, schema)) {
            *out = one->schema_id;
            *known_out = true;
            return OK;
        }
        highest = one->schema_id > highest ? one->schema_id : highest;
    }
    if (highest == INT32_MAX) {
        return err_set(err, E_TOO_LARGE, "the table has used up its schema ids");
    }
    *out = highest + 1;
    *known_out = false;
    return OK;
}

static enum status plan_schema(struct edit *edit, struct err *err)
{
    bool known = true;
    edit->schema_id = edit->base->current_schema_id;
    if (edit->in->schema != NULL) {
        TRY(ice_metadata_schema_id(edit->base, edit->in->schema, &edit->schema_id, &known, err));
    }
    edit->add_schema = !known;
    return OK;
}

static enum status plan_snapshot(const struct edit *edit, struct err *err)
{
    const struct ice_metadata *base = edit->base;
    const struct ice_new_snapshot *snapshot = edit->in->snapshot;
    if (ice_metadata_snapshot(base, snapshot->id) != NULL) {
        return err_set(err, E_CONFLICT, "snapshot %lld is in the table already",
                       (long long)snapshot->id);
    }
    if (snapshot->id <= 0 || snapshot->sequence_number <= base->last_sequence_number) {
        return err_set(err, E_CONFLICT,
                       "snapshot %lld has sequence number %lld, the table is at %lld already",
                       (long long)snapshot->id, (long long)snapshot->sequence_number,
                       (long long)base->last_sequence_number);
    }
    return OK;
}

static enum status plan_properties(const struct ice_edit *in, struct err *err)
{
    for (size_t i = 0; i < in->remove_count; i++) {
        for (size_t j = 0; j < in->set_count; j++) {
            if (str_eq(in->remove_properties[i], in->set_properties[j].name)) {
                return err_set(err, E_INVALID, "property \"%.*s\" is both set and removed",
                               STR_ARG(in->remove_properties[i]));
            }
        }
    }
    return OK;
}

/** What leaves the metadata log at its old end. */
static enum status plan_metadata_log(struct edit *edit, struct err *err)
{
    yyjson_val *log = yyjson_obj_get(edit->root, "metadata-log");
    size_t count = yyjson_arr_size(log);
    size_t max = edit->in->metadata_log_max;
    if (max == 0) {
        int64_t set = metadata_property_i64(edit->base, STR("write.metadata.previous-versions-max"),
                                            METADATA_LOG_DEFAULT);
        max = set < 1 ? 1 : (size_t)set;
    }
    size_t added = edit->in->previous_metadata_location.len > 0 ? 1 : 0;
    edit->log_from = count + added - ice_expiry_cut(count + added, max);
    edit->result.dropped_metadata = arena_array(edit->arena, edit->log_from, sizeof(struct str));
    if (edit->result.dropped_metadata == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < edit->log_from; i++) {
        yyjson_val *file = yyjson_obj_get(yyjson_arr_get(log, i), "metadata-file");
        if (!yyjson_is_str(file)) {
            continue;
        }
        struct str copy = arena_str(edit->arena, val_str(file));
        if (copy.ptr == NULL) {
            return err_no_memory(err);
        }
        edit->result.dropped_metadata[edit->result.dropped_metadata_count++] = copy;
    }
    return OK;
}

static enum status plan(struct edit *edit, struct err *err)
{
    const struct ice_edit *in = edit->in;
    bool data = in->schema != NULL || in->snapshot != NULL;
    if (data && edit->base->format_version != 2) {
        return err_set(err, E_UNSUPPORTED,
                       "the table has format version %d, and only version 2 can be written",
                       edit->base->format_version);
    }
    TRY(plan_properties(in, err));
    TRY(plan_schema(edit, err));
    if (in->snapshot != NULL) {
        TRY(plan_snapshot(edit, err));
    }
    edit->now_ms = plan_time(edit);
    TRY(plan_expiry(edit, err));
    TRY(plan_metadata_log(edit, err));
    edit->result.schema_id = edit->schema_id;
    edit->result.timestamp_ms = edit->now_ms;
    return OK;
}

/* ---- expiry ---- */

/** What the planner has to know of the base: its snapshots, its refs, and what those say of how
 * long they are kept. */
static enum status expiry_table(const struct edit *edit, struct ice_expiry_table *out,
                                struct err *err)
{
    const struct ice_metadata *base = edit->base;
    struct ice_expiry_snapshot *snapshots = arena_array(edit->arena, base->snapshot_count + 1,
                                                        sizeof(*snapshots));
    struct ice_expiry_ref *refs = arena_array(edit->arena, base->ref_count + 1, sizeof(*refs));
    if (snapshots == NULL || refs == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < base->snapshot_count; i++) {
        snapshots[i] = (struct ice_expiry_snapshot){
            .id = base->snapshots[i].id,
            .parent_id = base->snapshots[i].parent_id,
            .timestamp_ms = base->snapshots[i].timestamp_ms
        };
    }
    for (size_t i = 0; i < base->ref_count; i++) {
        const struct ice_ref *ref = &base->branches[i];
        bool is_main = base->current != NULL && str_eq(ref->name, STR("main"));
        refs[i] = (struct ice_expiry_ref){ .name = ref->name,
                                           .snapshot_id = is_main ? base->current->id
                                                                  : ref->snapshot_id,
                                           .is_tag = ref->is_tag,
                                           .ref_age_max_ms = ref->ref_age_max_ms,
                                           .snapshot_age_max_ms = ref->snapshot_age_max_ms,
                                           .keep_min = ref->keep_min };
    }
    *out = (struct ice_expiry_table){ .snapshots = snapshots,
                                      .snapshot_count = base->snapshot_count,
                                      .refs = refs,
                                      .ref_count = base->ref_count };
    return OK;
}

static struct ice_expiry_rule expiry_rule(const struct edit *edit)
{
    const struct ice_metadata *base = edit->base;
    int64_t age = edit->in->snapshot_age_max_ms;
    if (age > 0) {
        int64_t own = metadata_property_i64(base, ICE_EXPIRY_AGE_PROPERTY, age);
        age = own > 0 ? own : age;
    }
    return (struct ice_expiry_rule){
        .now_ms = edit->now_ms,
        .older_than_ms = age > 0 && age < edit->now_ms ? edit->now_ms - age : INT64_MIN,
        .keep_min = metadata_property_i64(base, ICE_EXPIRY_KEEP_PROPERTY, 1),
        .snapshots_max = edit->in->snapshots_max,
        .coming = edit->in->snapshot != NULL ? 1 : 0,
        .main_only = true,
    };
}

static enum status expire(struct edit *edit, size_t index, struct err *err)
{
    struct ice_snapshot *out = &edit->result.expired[edit->result.expired_count];
    *out = edit->base->snapshots[index];
    out->summary = NULL; /* it lives in the base's document */
    out->part = NULL;
    if (out->manifest_list.ptr != NULL) {
        out->manifest_list = arena_str(edit->arena, out->manifest_list);
        if (out->manifest_list.ptr == NULL) {
            return err_no_memory(err);
        }
    }
    edit->expired[index] = true;
    edit->result.expired_count++;
    return OK;
}

/** Most edits: few enough snapshots, and none that is too old. */
static bool nothing_expires(const struct edit *edit, const struct ice_expiry_rule *rule)
{
    const struct ice_metadata *base = edit->base;
    size_t left = base->snapshot_count + rule->coming;
    bool due = rule->snapshots_max > 0 && left > rule->snapshots_max;
    for (size_t i = 0; i < base->snapshot_count && !due; i++) {
        due = base->snapshots[i].timestamp_ms < rule->older_than_ms;
    }
    return !due;
}

static enum status plan_expiry(struct edit *edit, struct err *err)
{
    const struct ice_metadata *base = edit->base;
    const struct ice_expiry_rule rule = expiry_rule(edit);
    struct ice_expiry_table table;
    struct ice_expiry plan;
    edit->expired = arena_array(edit->arena, base->snapshot_count, sizeof(*edit->expired));
    if (edit->expired == NULL) {
        return err_no_memory(err);
    }
    if (nothing_expires(edit, &rule) ||
        str_eq_nocase(ice_metadata_property(base, STR("gc.enabled")), STR("false"))) {
        return OK;
    }
    TRY(expiry_table(edit, &table, err));
    TRY(ice_expiry_plan(&table, &rule, edit->arena, &plan, err));
    edit->result.expired = arena_array(edit->arena, plan.expired_count,
                                       sizeof(*edit->result.expired));
    if (edit->result.expired == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < base->snapshot_count; i++) {
        if (plan.expired[i]) {
            TRY(expire(edit, i, err));
        }
    }
    return OK;
}

static bool is_expired(const struct edit *edit, int64_t snapshot_id)
{
    size_t index = metadata_find(edit->base, snapshot_id);
    return index != SIZE_MAX && edit->expired[index];
}

/* ---- the members that an edit writes anew ---- */

static void write_schemas(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *schema = NULL;
    jw_arr_begin(w);
    ARR_EACH(old, i, max, schema)
    {
        jw_val(w, schema);
    }
    if (edit->add_schema) {
        struct ice_schema added = *edit->in->schema;
        added.schema_id = edit->schema_id;
        ice_schema_write(w, &added);
    }
    jw_arr_end(w);
}

static bool is_changed(const struct ice_edit *in, struct str name)
{
    for (size_t i = 0; i < in->remove_count; i++) {
        if (str_eq(in->remove_properties[i], name)) {
            return true;
        }
    }
    for (size_t i = 0; i < in->set_count; i++) {
        if (str_eq(in->set_properties[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void write_properties(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *val = NULL;
    jw_obj_begin(w);
    OBJ_EACH(old, i, max, key, val)
    {
        if (!is_changed(edit->in, val_str(key))) {
            jw_key(w, val_str(key));
            jw_val(w, val);
        }
    }
    for (i = 0; i < edit->in->set_count; i++) {
        jw_key(w, edit->in->set_properties[i].name);
        jw_str(w, edit->in->set_properties[i].value);
    }
    jw_obj_end(w);
}

static void write_snapshot(struct edit *edit, struct json_writer *w)
{
    const struct ice_new_snapshot *in = edit->in->snapshot;
    jw_obj_begin(w);
    jw_kv_i64(w, "sequence-number", in->sequence_number);
    jw_kv_i64(w, "snapshot-id", in->id);
    if (edit->base->current != NULL) {
        jw_kv_i64(w, "parent-snapshot-id", edit->base->current->id);
    }
    jw_kv_i64(w, "timestamp-ms", edit->now_ms);
    jw_kv_obj(w, "summary");
    for (size_t i = 0; i < in->summary_count; i++) {
        jw_key(w, in->summary[i].name);
        jw_str(w, in->summary[i].value);
    }
    jw_obj_end(w);
    jw_kv_str(w, "manifest-list", in->manifest_list);
    jw_kv_i64(w, "schema-id", edit->schema_id);
    jw_obj_end(w);
}

/** Note where a list stands that begins at `at` and has just ended. */
static void note_span(struct edit *edit, struct metadata_span *span, size_t at,
                      const struct json_writer *w)
{
    edit->made.twice = edit->made.twice || span->len > 0;
    *span = (struct metadata_span){ .at = at, .len = w->out->len - at };
}

static void write_snapshots(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    const struct ice_metadata *base = edit->base;
    size_t at = w->out->len;
    size_t *ends = edit->made.snapshot_ends;
    /* of no use where the parts have the text */
    yyjson_arr_iter vals = yyjson_arr_iter_with(yyjson_obj_get(edit->root, "snapshots"));
    (void)old;
    jw_arr_begin(w);
    for (size_t i = 0; i < base->snapshot_count; i++) {
        const struct ice_part *part = base->snapshots[i].part;
        yyjson_val *val = yyjson_arr_iter_next(&vals);
        if (edit->expired[i]) {
            continue;
        }
        if (part != NULL) {
            jw_raw(w, str_from(part->text, part->len));
        } else {
            jw_val(w, val);
        }
        *ends++ = w->out->len;
    }
    if (edit->in->snapshot != NULL) {
        write_snapshot(edit, w);
        *ends++ = w->out->len;
    }
    jw_arr_end(w);
    note_span(edit, &edit->made.snapshots, at, w);
}

/** The entries of the base's log from `from` on; returns behind the last end. */
static size_t *write_log_entries(const struct ice_metadata *base, yyjson_val *log, size_t from,
                                 size_t *ends, struct json_writer *w)
{
    if (from == base->log_count) {
        return ends;
    }
    if (base->log_text.ptr != NULL) {
        size_t skip = from == 0 ? 0 : base->log_ends[from - 1] + 1;
        jw_raw(w, str_skip(base->log_text, skip));
        for (size_t i = from; i < base->log_count; i++) {
            *ends++ = w->out->len - (base->log_text.len - base->log_ends[i]);
        }
        return ends;
    }
    size_t i = 0;
    size_t max = 0;
    yyjson_val *entry = NULL;
    ARR_EACH(log, i, max, entry)
    {
        if (i >= from) {
            jw_val(w, entry);
            *ends++ = w->out->len;
        }
    }
    return ends;
}

/** A log with a gap would name the wrong snapshot for a time in it: it is cut behind the last
 * expired entry. */
static void write_snapshot_log(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t from = 0;
    size_t at = w->out->len;
    for (size_t i = 0; edit->result.expired_count > 0 && i < edit->base->log_count; i++) {
        if (is_expired(edit, edit->base->snapshot_log[i].snapshot_id)) {
            from = i + 1;
        }
    }
    edit->made.log_from = from;
    jw_arr_begin(w);
    size_t *ends = write_log_entries(edit->base, yyjson_obj_get(edit->root, "snapshot-log"), from,
                                     edit->made.log_ends, w);
    (void)old;
    if (edit->in->snapshot != NULL) {
        jw_obj_begin(w);
        jw_kv_i64(w, "timestamp-ms", edit->now_ms);
        jw_kv_i64(w, "snapshot-id", edit->in->snapshot->id);
        jw_obj_end(w);
        *ends = w->out->len;
    }
    jw_arr_end(w);
    note_span(edit, &edit->made.log, at, w);
}

static void write_metadata_log(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *entry = NULL;
    jw_arr_begin_with(w, edit->log_from == 0 ? old : NULL);
    ARR_EACH(old, i, max, entry)
    {
        if (edit->log_from > 0 && i >= edit->log_from) {
            jw_val(w, entry);
        }
    }
    if (edit->in->previous_metadata_location.len > 0) {
        jw_obj_begin(w);
        jw_kv_i64(w, "timestamp-ms", edit->base->last_updated_ms);
        jw_kv_str(w, "metadata-file", edit->in->previous_metadata_location);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_main_ref(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *val = NULL;
    jw_key(w, STR("main"));
    jw_obj_begin(w);
    jw_kv_i64(w, "snapshot-id", edit->in->snapshot->id);
    jw_kv_cstr(w, "type", "branch");
    OBJ_EACH(old, i, max, key, val)
    {
        if (!yyjson_equals_str(key, "snapshot-id") && !yyjson_equals_str(key, "type")) {
            jw_key(w, val_str(key)); /* how long its snapshots are kept */
            jw_val(w, val);
        }
    }
    jw_obj_end(w);
}

static void write_refs(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *val = NULL;
    jw_obj_begin(w);
    OBJ_EACH(old, i, max, key, val)
    {
        if (edit->in->snapshot == NULL || !yyjson_equals_str(key, "main")) {
            jw_key(w, val_str(key));
            jw_val(w, val);
        }
    }
    if (edit->in->snapshot != NULL) {
        write_main_ref(edit, yyjson_obj_get(old, "main"), w);
    }
    jw_obj_end(w);
}

/** Statistics go with their snapshot. */
static void write_statistics(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *entry = NULL;
    jw_arr_begin(w);
    ARR_EACH(old, i, max, entry)
    {
        if (!is_expired(edit, yyjson_get_sint(yyjson_obj_get(entry, "snapshot-id")))) {
            jw_val(w, entry);
        }
    }
    jw_arr_end(w);
}

static void write_last_column(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    (void)old;
    int32_t last = edit->base->last_column_id;
    if (edit->in->schema != NULL) {
        int32_t highest = ice_schema_max_id(edit->in->schema);
        last = edit->in->last_column_id > last ? edit->in->last_column_id : last;
        last = highest > last ? highest : last;
    }
    jw_i64(w, last);
}

static void write_updated(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    (void)old;
    jw_i64(w, edit->now_ms);
}

static void write_schema_id(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    (void)old;
    jw_i64(w, edit->schema_id);
}

static void write_snapshot_id(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    (void)old;
    jw_i64(w, edit->in->snapshot->id);
}

static void write_sequence(struct edit *edit, yyjson_val *old, struct json_writer *w)
{
    (void)old;
    jw_i64(w, edit->in->snapshot->sequence_number);
}

/* Which part of an edit makes a member change; without that part it is copied. */
enum trigger { ALWAYS, ON_SCHEMA, ON_SNAPSHOT, ON_PROPERTIES, ON_LOG, ON_SNAPSHOT_OR_EXPIRY };

static const struct member {
    const char *name;
    enum trigger trigger;
    bool apart; /* the base may have it outside of its document, so that it is always written */
    void (*write)(struct edit *edit, yyjson_val *old, struct json_writer *w);
} members[] = {
    { "last-updated-ms", ALWAYS, false, write_updated },
    { "last-column-id", ON_SCHEMA, false, write_last_column },
    { "schemas", ON_SCHEMA, false, write_schemas },
    { "current-schema-id", ON_SCHEMA, false, write_schema_id },
    { "properties", ON_PROPERTIES, false, write_properties },
    { "last-sequence-number", ON_SNAPSHOT, false, write_sequence },
    { "current-snapshot-id", ON_SNAPSHOT, false, write_snapshot_id },
    { "refs", ON_SNAPSHOT, false, write_refs },
    { "snapshots", ON_SNAPSHOT_OR_EXPIRY, true, write_snapshots },
    { "snapshot-log", ON_SNAPSHOT_OR_EXPIRY, true, write_snapshot_log },
    { "statistics", ON_SNAPSHOT_OR_EXPIRY, false, write_statistics },
    { "partition-statistics", ON_SNAPSHOT_OR_EXPIRY, false, write_statistics },
    { "metadata-log", ON_LOG, false, write_metadata_log },
};

static bool is_triggered(const struct edit *edit, enum trigger trigger)
{
    const struct ice_edit *in = edit->in;
    switch (trigger) {
    case ALWAYS:
        return true;
    case ON_SCHEMA:
        return in->schema != NULL;
    case ON_SNAPSHOT:
        return in->snapshot != NULL;
    case ON_PROPERTIES:
        return in->set_count > 0 || in->remove_count > 0;
    case ON_LOG:
        return in->previous_metadata_location.len > 0 || edit->log_from > 0;
    case ON_SNAPSHOT_OR_EXPIRY:
        return in->snapshot != NULL || edit->result.expired_count > 0;
    }
    return false;
}

static const struct member *member_of(const struct edit *edit, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (str_eq(name, str_of(members[i].name))) {
            bool wanted = members[i].apart || is_triggered(edit, members[i].trigger);
            return wanted ? &members[i] : NULL;
        }
    }
    return NULL;
}

static void write_root(struct edit *edit, struct json_writer *w)
{
    size_t i = 0;
    size_t max = 0;
    yyjson_val *key = NULL;
    yyjson_val *val = NULL;
    jw_obj_begin(w);
    OBJ_EACH(edit->root, i, max, key, val)
    {
        const struct member *member = member_of(edit, val_str(key));
        jw_key(w, val_str(key));
        if (member != NULL) {
            member->write(edit, val, w);
        } else {
            jw_val(w, val);
        }
    }
    for (i = 0; i < ARRAY_LEN(members); i++) {
        if (is_triggered(edit, members[i].trigger) &&
            yyjson_obj_get(edit->root, members[i].name) == NULL) {
            jw_key(w, str_of(members[i].name));
            members[i].write(edit, NULL, w);
        }
    }
    jw_obj_end(w);
}
