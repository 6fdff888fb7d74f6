/*
 * Changes that other programs ask for: what they require of the base, whether the base has taken
 * the very change before, and the updates in their order.
 *
 * Nothing of a change is half done: updates work on a document that was taken apart (change_doc.c),
 * and what is put together in the end is parsed as a reader would before anybody sees it.
 */
#include "iceberg/change_priv.h"

#include "base/encode.h"
#include "iceberg/expiry.h"

enum { METADATA_LOG_DEFAULT = 100, UPDATES_MAX = 100000, UUID_LEN = 36 };

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/* --- requirements ---
 *
 * The messages are those of Java's catalogues but for the first letter: programs look at them. */

static enum status unmet(struct err *err, const char *what)
{
    return err_set(err, E_CONFLICT, "requirement failed: %s", what);
}

/** The snapshot of a ref; -1 when there is no such ref. */
static int64_t ref_snapshot(yyjson_val *base, struct str name)
{
    yyjson_val *ref = yyjson_obj_getn(yyjson_obj_get(base, "refs"), name.ptr, name.len);
    yyjson_val *id = yyjson_obj_get(ref, "snapshot-id");
    if (yyjson_is_int(id)) {
        return yyjson_get_sint(id);
    }
    yyjson_val *current = yyjson_obj_get(base, "current-snapshot-id");
    bool has_main = str_eq(name, STR("main")) && yyjson_is_int(current) &&
                    yyjson_get_sint(current) >= 0;
    return has_main ? yyjson_get_sint(current) : -1;
}

static enum status require_uuid(yyjson_val *base, yyjson_val *requirement, struct err *err)
{
    struct str uuid, is = val_str(yyjson_obj_get(base, "table-uuid"));
    TRY(json_get_str(requirement, "uuid", JSON_REQUIRED, &uuid, err));
    return str_eq_nocase(uuid, is)
               ? OK
               : err_set(err, E_CONFLICT,
                         "requirement failed: UUID does not match: expected %.*s != %.*s (the "
                         "table was dropped and made again)",
                         STR_ARG(is), STR_ARG(uuid));
}

static enum status require_ref(yyjson_val *base, yyjson_val *requirement, struct err *err)
{
    struct str name;
    int64_t wanted = -1;
    TRY(json_get_str(requirement, "ref", JSON_REQUIRED, &name, err));
    TRY(json_get_i64(requirement, "snapshot-id", JSON_OPTIONAL, &wanted, err));
    int64_t is = ref_snapshot(base, name);
    if (is == wanted) {
        return OK;
    }
    if (is < 0) {
        return err_set(err, E_CONFLICT,
                       "requirement failed: branch or tag %.*s is missing, expected %lld",
                       STR_ARG(name), (long long)wanted);
    }
    yyjson_val *ref = yyjson_obj_getn(yyjson_obj_get(base, "refs"), name.ptr, name.len);
    const char *kind = yyjson_equals_str(yyjson_obj_get(ref, "type"), "tag") ? "tag" : "branch";
    return wanted < 0
               ? err_set(err, E_CONFLICT, "requirement failed: %s %.*s was created concurrently",
                         kind, STR_ARG(name))
               : err_set(err, E_CONFLICT,
                         "requirement failed: %s %.*s has changed: expected id %lld != %lld", kind,
                         STR_ARG(name), (long long)wanted, (long long)is);
}

/** Requirements that a number of the document is what the client has seen. */
static const struct {
    const char *type, *wanted, *member, *what;
    int64_t otherwise; /* what a document of version 1 means without it */
} number_requirements[] = {
    { "assert-last-assigned-field-id", "last-assigned-field-id", "last-column-id",
      "last assigned field id", 0 },
    { "assert-current-schema-id", "current-schema-id", "current-schema-id", "current schema", 0 },
    { "assert-last-assigned-partition-id", "last-assigned-partition-id", "last-partition-id",
      "last assigned partition id", CHANGE_PARTITION_ID_START - 1 },
    { "assert-default-spec-id", "default-spec-id", "default-spec-id", "default partition spec", 0 },
    { "assert-default-sort-order-id", "default-sort-order-id", "default-sort-order-id",
      "default sort order", 0 },
};

static enum status require_number(yyjson_val *base, yyjson_val *requirement, size_t which,
                                  struct err *err)
{
    int64_t wanted = 0, is = number_requirements[which].otherwise;
    TRY(json_get_i64(requirement, number_requirements[which].wanted, JSON_REQUIRED, &wanted, err));
    TRY(json_get_i64(base, number_requirements[which].member, JSON_OPTIONAL, &is, err));
    if (is == wanted) {
        return OK;
    }
    return err_set(err, E_CONFLICT, "requirement failed: %s changed: expected id %lld != %lld",
                   number_requirements[which].what, (long long)wanted, (long long)is);
}

static enum status require_one(yyjson_val *base, yyjson_val *requirement, struct err *err)
{
    struct str type;
    TRY(json_get_str(requirement, "type", JSON_REQUIRED, &type, err));
    if (str_eq(type, STR("assert-create"))) {
        return base == NULL ? OK : unmet(err, "table already exists");
    }
    if (base == NULL) {
        return unmet(err, "there is no such table");
    }
    if (str_eq(type, STR("assert-table-uuid"))) {
        return require_uuid(base, requirement, err);
    }
    if (str_eq(type, STR("assert-ref-snapshot-id"))) {
        return require_ref(base, requirement, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(number_requirements); i++) {
        if (str_eq(type, str_of(number_requirements[i].type))) {
            return require_number(base, requirement, i, err);
        }
    }
    return err_set(err, E_INVALID, "requirement \"%.*s\" is not known", STR_ARG(type));
}

enum status ice_change_require(yyjson_val *base, yyjson_val *requirements, struct err *err)
{
    size_t i, max;
    yyjson_val *requirement;
    if (ice_change_creates(requirements) && yyjson_arr_size(requirements) > 1) {
        return err_set(err, E_INVALID, "assert-create goes with no other requirement");
    }
    ARR_EACH(requirements, i, max, requirement)
    {
        TRY(require_one(base, requirement, err));
    }
    return OK;
}

bool ice_change_creates(yyjson_val *requirements)
{
    size_t i, max;
    yyjson_val *requirement;
    ARR_EACH(requirements, i, max, requirement)
    {
        if (yyjson_equals_str(yyjson_obj_get(requirement, "type"), "assert-create")) {
            return true;
        }
    }
    return false;
}

/* --- repeats --- */

/** Has the base this snapshot, with the same manifest list? */
static bool has_snapshot(yyjson_val *base, yyjson_val *snapshot)
{
    size_t i, max;
    yyjson_val *known;
    ARR_EACH(yyjson_obj_get(base, "snapshots"), i, max, known)
    {
        if (change_same(yyjson_obj_get(known, "snapshot-id"),
                        yyjson_obj_get(snapshot, "snapshot-id"))) {
            return change_same(yyjson_obj_get(known, "manifest-list"),
                               yyjson_obj_get(snapshot, "manifest-list"));
        }
    }
    return false;
}

/** How many of the snapshots that a change adds are there; *missing_out: how many are not. */
static size_t count_added(yyjson_val *base, yyjson_val *updates, size_t *missing_out)
{
    size_t i, max, there = 0;
    yyjson_val *update;
    *missing_out = 0;
    ARR_EACH(updates, i, max, update)
    {
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), "add-snapshot")) {
            bool has = has_snapshot(base, yyjson_obj_get(update, "snapshot"));
            there += has ? 1 : 0;
            *missing_out += has ? 0 : 1;
        }
    }
    return there;
}

bool ice_change_is_repeat(yyjson_val *base, const struct ice_change *change)
{
    size_t i, max, missing;
    yyjson_val *update;
    if (base == NULL) {
        return false;
    }
    size_t there = count_added(base, change->updates, &missing);
    bool same_uuid = false;
    ARR_EACH(change->updates, i, max, update)
    {
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), "assign-uuid")) {
            same_uuid = str_eq_nocase(val_str(yyjson_obj_get(update, "uuid")),
                                      val_str(yyjson_obj_get(base, "table-uuid")));
        }
    }
    return missing == 0 && (there > 0 || (same_uuid && ice_change_creates(change->requirements)));
}

bool ice_change_is_there_in_part(yyjson_val *base, const struct ice_change *change)
{
    size_t missing = 0;
    return base != NULL && count_added(base, change->updates, &missing) > 0 && missing > 0;
}

/* --- updates of the table itself --- */

static enum status assign_uuid(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct str uuid;
    TRY(json_get_str(update, "uuid", JSON_REQUIRED, &uuid, err));
    if (uuid.len != UUID_LEN || str_has_control(uuid)) {
        return err_set(err, E_INVALID, "\"%.*s\" is no uuid", STR_ARG(uuid));
    }
    if (doc->uuid.len > 0) {
        return str_eq_nocase(doc->uuid, uuid)
                   ? OK
                   : err_set(err, E_INVALID, "the table has a uuid, which never changes");
    }
    doc->uuid = uuid;
    doc->changed = true;
    return OK;
}

static enum status upgrade_to(struct change_doc *doc, int64_t version, struct err *err)
{
    if (version < 1 || version > CHANGE_VERSION_MAX) {
        return err_set(err, E_INVALID, "format version %lld is not known; %d is the last",
                       (long long)version, CHANGE_VERSION_MAX);
    }
    if (version < doc->format_version) {
        return err_set(err, E_INVALID, "the table has format version %lld, and never goes back",
                       (long long)doc->format_version);
    }
    doc->changed = doc->changed || version != doc->format_version;
    doc->format_version = version;
    if (version >= 3 && doc->next_row_id < 0) {
        doc->next_row_id = 0;
    }
    return OK;
}

static enum status upgrade_version(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    int64_t version = 0;
    TRY(json_get_i64(update, "format-version", JSON_REQUIRED, &version, err));
    return upgrade_to(doc, version, err);
}

static enum status set_location(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct str location;
    TRY(json_get_str(update, "location", JSON_REQUIRED, &location, err));
    while (location.len > 0 && location.ptr[location.len - 1] == '/') {
        location.len--;
    }
    if (location.len == 0) {
        return err_set(err, E_INVALID, "\"location\" is empty");
    }
    if (!str_eq(location, doc->location)) {
        doc->location = location;
        doc->changed = doc->sets_location = true;
    }
    return OK;
}

/** Words that are no properties: the document says it elsewhere. */
static bool is_reserved(struct str name)
{
    static const char *const words[] = { "format-version",      "uuid",
                                         "snapshot-count",      "current-snapshot-summary",
                                         "current-snapshot-id", "current-snapshot-timestamp-ms",
                                         "current-schema",      "default-partition-spec",
                                         "default-sort-order" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_eq(name, str_of(words[i]))) {
            return true;
        }
    }
    return false;
}

static enum status set_property(struct change_doc *doc, struct str name, yyjson_val *value,
                                struct err *err)
{
    struct change_list *list = &doc->lists[LIST_PROPERTIES];
    struct change_item *item = change_find_key(list, name);
    int64_t version = 0;
    if (!yyjson_is_str(value)) {
        return err_set(err, E_INVALID, "property \"%.*s\" is no text", STR_ARG(name));
    }
    if (str_eq(name, STR("format-version"))) {
        return str_to_i64(val_str(value), &version)
                   ? upgrade_to(doc, version, err)
                   : err_set(err, E_INVALID, "\"format-version\" is no number");
    }
    if (is_reserved(name) || (item != NULL && yyjson_equals(item->val, value))) {
        return OK;
    }
    if (item == NULL) {
        TRY(change_add(doc, list, &item, err));
        item->key = name;
    }
    item->val = value;
    list->is_touched = doc->changed = true;
    return OK;
}

static enum status set_properties(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    yyjson_val *updates = NULL, *key, *val;
    size_t i, max;
    TRY(json_get_obj(update, "updates", JSON_REQUIRED, &updates, err));
    yyjson_obj_foreach(updates, i, max, key, val)
    {
        TRY(set_property(doc, val_str(key), val, err));
    }
    return OK;
}

static enum status remove_properties(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct change_list *list = &doc->lists[LIST_PROPERTIES];
    yyjson_val *removals = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(update, "removals", JSON_REQUIRED, &removals, err));
    yyjson_arr_foreach(removals, i, max, val)
    {
        struct change_item *item = change_find_key(list, val_str(val));
        if (item != NULL) {
            change_remove(list, item);
            doc->changed = true;
        }
    }
    return OK;
}

/* --- version 3 --- */

static enum status need_version_3(const struct change_doc *doc, struct err *err)
{
    return change_version(doc) >= 3 ? OK : err_set(err, E_INVALID, "that is of format version 3");
}

static enum status enable_lineage(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    (void)update; /* every table of version 3 has it */
    return need_version_3(doc, err);
}

/** The key of that id; NULL. */
static struct change_item *find_encryption_key(struct change_doc *doc, struct str id)
{
    struct change_list *list = &doc->lists[LIST_KEYS];
    for (size_t i = 0; i < list->count; i++) {
        if (str_eq(val_str(yyjson_obj_get(list->items[i].val, "key-id")), id)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static enum status add_encryption_key(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    yyjson_val *key = NULL;
    struct str id, metadata;
    struct change_item *item;
    TRY(need_version_3(doc, err));
    TRY(json_get_obj(update, "encryption-key", JSON_REQUIRED, &key, err));
    TRY(json_get_str(key, "key-id", JSON_REQUIRED, &id, err));
    TRY(json_get_str(key, "encrypted-key-metadata", JSON_REQUIRED, &metadata, err));
    if (find_encryption_key(doc, id) != NULL) {
        return OK;
    }
    TRY(change_add(doc, &doc->lists[LIST_KEYS], &item, err));
    item->val = key;
    doc->changed = true;
    return OK;
}

static enum status remove_encryption_key(struct change_doc *doc, yyjson_val *update,
                                         struct err *err)
{
    struct str id;
    TRY(need_version_3(doc, err));
    TRY(json_get_str(update, "key-id", JSON_REQUIRED, &id, err));
    struct change_item *item = find_encryption_key(doc, id);
    if (item != NULL) {
        change_remove(&doc->lists[LIST_KEYS], item);
        doc->changed = true;
    }
    return OK;
}

/* --- all of them --- */

static const struct {
    const char *action;
    change_update *apply;
} actions[] = {
    { "assign-uuid", assign_uuid },
    { "upgrade-format-version", upgrade_version },
    { "add-schema", change_add_schema },
    { "set-current-schema", change_set_current_schema },
    { "remove-schemas", change_remove_schemas },
    { "add-spec", change_add_spec },
    { "set-default-spec", change_set_default_spec },
    { "remove-partition-specs", change_remove_specs },
    { "add-sort-order", change_add_order },
    { "set-default-sort-order", change_set_default_order },
    { "add-snapshot", change_add_snapshot },
    { "remove-snapshots", change_remove_snapshots },
    { ICE_CHANGE_EXPIRE, change_expire_snapshots },
    { "set-snapshot-ref", change_set_ref },
    { "remove-snapshot-ref", change_remove_ref },
    { "set-location", set_location },
    { "set-properties", set_properties },
    { "remove-properties", remove_properties },
    { "set-statistics", change_set_statistics },
    { "remove-statistics", change_remove_statistics },
    { "set-partition-statistics", change_set_partition_statistics },
    { "remove-partition-statistics", change_remove_partition_statistics },
    { "enable-row-lineage", enable_lineage },
    { "add-encryption-key", add_encryption_key },
    { "remove-encryption-key", remove_encryption_key },
};

static enum status apply_one(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct str action;
    TRY(json_get_str(update, "action", JSON_REQUIRED, &action, err));
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(action, str_of(actions[i].action))) {
            return actions[i].apply(doc, update, err);
        }
    }
    return err_set(err, E_INVALID, "update \"%.*s\" is not known", STR_ARG(action));
}

static enum status apply_all(struct change_doc *doc, struct err *err)
{
    size_t i, max;
    yyjson_val *update;
    if (yyjson_arr_size(doc->change->updates) > UPDATES_MAX) {
        return err_set(err, E_INVALID, "a change of more than %d updates", UPDATES_MAX);
    }
    ARR_EACH(doc->change->updates, i, max, update)
    {
        if (!yyjson_is_obj(update)) {
            return err_set(err, E_INVALID, "\"updates\" must hold objects");
        }
        TRY(apply_one(doc, update, err));
    }
    return change_settle_snapshots(doc, err);
}

/* --- at the end --- */

/** What a table must have that the updates of its creation may have left out. */
static enum status complete(struct change_doc *doc, struct err *err)
{
    if (doc->uuid.len == 0 || doc->location.len == 0 || doc->current_schema_id < 0) {
        return err_set(err, E_INVALID,
                       "a new table needs assign-uuid, set-location, add-schema and "
                       "set-current-schema");
    }
    if (doc->default_spec_id < 0) {
        if (doc->lists[LIST_SPECS].count == 0) {
            TRY(change_add_empty(doc, LIST_SPECS, "spec-id", err));
        }
        doc->default_spec_id = doc->lists[LIST_SPECS].items[0].id;
    }
    return OK;
}

static size_t metadata_log_max(struct change_doc *doc)
{
    struct change_item *item = change_find_key(&doc->lists[LIST_PROPERTIES],
                                               STR("write.metadata.previous-versions-max"));
    int64_t max = METADATA_LOG_DEFAULT;
    if (item != NULL && (!str_to_i64(val_str(item->val), &max) || max < 1)) {
        max = item != NULL && max == 0 ? 1 : METADATA_LOG_DEFAULT;
    }
    return (size_t)max;
}

/** The base's own file joins the log; what falls out of it is told. */
static enum status log_metadata(struct change_doc *doc, struct ice_change_result *result,
                                struct err *err)
{
    struct change_list *log = &doc->lists[LIST_METADATA_LOG];
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    if (doc->change->previous_metadata_location.ptr == NULL) {
        return OK;
    }
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "timestamp-ms", doc->last_updated_ms < 0 ? doc->now_ms : doc->last_updated_ms);
    jw_kv_str(&w, "metadata-file", doc->change->previous_metadata_location);
    jw_obj_end(&w);
    TRY(change_add(doc, log, &item, err));
    TRY(change_made(doc, &w, &text, &item->val, err));
    size_t from = log->count - ice_expiry_cut(log->count, metadata_log_max(doc));
    result->dropped_metadata = arena_array(doc->arena, from + 1, sizeof(struct str));
    if (result->dropped_metadata == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < from; i++) {
        struct str file = val_str(yyjson_obj_get(log->items[i].val, "metadata-file"));
        struct str *place = &result->dropped_metadata[result->dropped_metadata_count];
        *place = arena_str(doc->arena, file);
        if (place->ptr == NULL) {
            return err_no_memory(err);
        }
        result->dropped_metadata_count += file.len > 0;
    }
    log->items += from;
    log->count -= from;
    log->cap -= from;
    return OK;
}

static enum status tell_removed(struct change_doc *doc, struct ice_change_result *result,
                                struct err *err)
{
    const struct change_list *list = &doc->removed_manifest_lists;
    result->removed_manifest_lists = arena_array(doc->arena, list->count + 1, sizeof(struct str));
    if (result->removed_manifest_lists == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < list->count; i++) {
        struct str *place = &result->removed_manifest_lists[result->removed_count++];
        *place = arena_str(doc->arena, list->items[i].key);
        if (place->ptr == NULL) {
            return err_no_memory(err);
        }
    }
    return OK;
}

/** Write it, and read it as everybody will. */
static enum status finish(struct change_doc *doc, struct buf *out, struct ice_change_result *result,
                          struct err *err)
{
    size_t before = out->len;
    TRY(change_doc_write(doc, out, err));
    enum status status = ice_metadata_parse(str_skip(buf_str(out), before), &result->metadata, err);
    if (status != OK) {
        out->len = before;
        return status == E_CORRUPT && err != NULL ? err_set(err, E_INVALID, "%s", err->msg)
               : status == E_CORRUPT              ? E_INVALID
                                                  : status;
    }
    return OK;
}

static enum status apply(struct change_doc *doc, struct buf *out, struct ice_change_result *result,
                         struct err *err)
{
    TRY(apply_all(doc, err));
    if (doc->base == NULL) {
        TRY(complete(doc, err));
    }
    result->changed = doc->changed;
    result->sets_location = doc->sets_location;
    result->location = arena_str(doc->arena, doc->location);
    if (result->location.ptr == NULL) {
        return err_no_memory(err);
    }
    if (!doc->changed) {
        return OK;
    }
    TRY(log_metadata(doc, result, err));
    TRY(tell_removed(doc, result, err));
    return finish(doc, out, result, err);
}

enum status ice_change_apply(yyjson_val *base, const struct ice_change *change, struct arena *arena,
                             struct buf *out, struct ice_change_result *result, struct err *err)
{
    AUTO(change_doc_done) struct change_doc doc = { 0 };
    struct ice_change_result made = { 0 };
    TRY(change_doc_open(&doc, base, change, arena, err));
    TRY(apply(&doc, out, &made, err));
    *result = made;
    return OK;
}
