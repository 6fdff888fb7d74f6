/*
 * The update that lets go what a table does not need any more: refs that are too old, and snapshots
 * that no ref keeps (expiry.h has the rule). It is worked out on the document that it changes.
 */
#include "iceberg/change_priv.h"
#include "iceberg/expiry.h"

#include <stdlib.h>

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

static struct str property(struct change_doc *doc, struct str name)
{
    struct change_item *item = change_find_key(&doc->lists[LIST_PROPERTIES], name);
    return item == NULL ? STR_EMPTY : val_str(item->val);
}

/** A positive number of the table's properties. */
static int64_t property_number(struct change_doc *doc, struct str name, int64_t otherwise)
{
    int64_t value = 0;
    return str_to_i64(property(doc, name), &value) && value > 0 ? value : otherwise;
}

static int64_t kept(yyjson_val *ref, const char *name)
{
    yyjson_val *val = yyjson_obj_get(ref, name);
    return yyjson_is_int(val) && yyjson_get_sint(val) > 0 ? yyjson_get_sint(val) : 0;
}

static enum status read_table(struct change_doc *doc, struct ice_expiry_table *out, struct err *err)
{
    const struct change_list *list = &doc->lists[LIST_SNAPSHOTS];
    const struct change_list *refs = &doc->lists[LIST_REFS];
    struct ice_expiry_snapshot *snapshots = arena_array(doc->arena, list->count + 1,
                                                        sizeof(*snapshots));
    struct ice_expiry_ref *named = arena_array(doc->arena, refs->count + 1, sizeof(*named));
    if (snapshots == NULL || named == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < list->count; i++) {
        yyjson_val *val = list->items[i].val;
        yyjson_val *parent = yyjson_obj_get(val, "parent-snapshot-id");
        snapshots[i] = (struct ice_expiry_snapshot){
            .id = list->items[i].id,
            .parent_id = yyjson_is_int(parent) ? yyjson_get_sint(parent) : -1,
            .timestamp_ms = yyjson_get_sint(yyjson_obj_get(val, "timestamp-ms")),
        };
    }
    for (size_t i = 0; i < refs->count; i++) {
        yyjson_val *val = refs->items[i].val;
        bool is_main = str_eq(refs->items[i].key, STR("main"));
        named[i] = (struct ice_expiry_ref){
            .name = refs->items[i].key,
            .snapshot_id = is_main ? doc->current_snapshot_id
                                   : yyjson_get_sint(yyjson_obj_get(val, "snapshot-id")),
            .is_tag = str_eq_nocase(val_str(yyjson_obj_get(val, "type")), STR("tag")),
            .ref_age_max_ms = kept(val, "max-ref-age-ms"),
            .snapshot_age_max_ms = kept(val, "max-snapshot-age-ms"),
            .keep_min = kept(val, "min-snapshots-to-keep"),
        };
    }
    *out = (struct ice_expiry_table){ .snapshots = snapshots,
                                      .snapshot_count = list->count,
                                      .refs = named,
                                      .ref_count = refs->count };
    return OK;
}

static enum status read_rule(struct change_doc *doc, yyjson_val *update,
                             struct ice_expiry_rule *out, struct err *err)
{
    /* by our clock, not by the latest time in the document, which another clock may have written */
    int64_t now = doc->change->now_ms, most = 0;
    int64_t age = property_number(doc, ICE_EXPIRY_AGE_PROPERTY, ICE_EXPIRY_AGE_MS);
    struct ice_expiry_rule rule = {
        .now_ms = now,
        .older_than_ms = age > now ? INT64_MIN : now - age,
        .keep_min = property_number(doc, ICE_EXPIRY_KEEP_PROPERTY, 1),
        .ref_age_max_ms = property_number(doc, ICE_EXPIRY_REF_AGE_PROPERTY, 0),
    };
    TRY(json_get_i64(update, "older-than-ms", JSON_OPTIONAL, &rule.older_than_ms, err));
    TRY(json_get_i64(update, "retain-last", JSON_OPTIONAL, &rule.keep_min, err));
    TRY(json_get_i64(update, "snapshots-max", JSON_OPTIONAL, &most, err));
    if (rule.keep_min < 1 || most < 0) {
        return err_set(err, E_INVALID, "at least one snapshot stays: \"retain-last\" is %lld",
                       (long long)rule.keep_min);
    }
    rule.snapshots_max = (size_t)most;
    *out = rule;
    return OK;
}

/* --- taking them out --- */

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/** Entries of a list by snapshot whose snapshot goes. */
static void remove_of(struct change_list *list, const int64_t *ids, size_t count)
{
    size_t kept_count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (bsearch(&list->items[i].id, ids, count, sizeof(*ids), compare_ids) == NULL) {
            list->items[kept_count++] = list->items[i];
        }
    }
    list->is_touched = list->is_touched || kept_count != list->count;
    list->count = kept_count;
}

static enum status remove_snapshots(struct change_doc *doc, const struct ice_expiry *plan,
                                    struct err *err)
{
    static const enum change_lists lists[] = { LIST_SNAPSHOTS, LIST_STATISTICS,
                                               LIST_PARTITION_STATISTICS };
    const struct change_list *snapshots = &doc->lists[LIST_SNAPSHOTS];
    int64_t *ids = arena_array(doc->arena, plan->expired_count + 1, sizeof(*ids));
    size_t count = 0;
    if (ids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < snapshots->count; i++) {
        struct change_item *removed;
        if (plan->expired[i]) {
            ids[count++] = snapshots->items[i].id;
            TRY(change_add(doc, &doc->removed_manifest_lists, &removed, err));
            removed->key = val_str(yyjson_obj_get(snapshots->items[i].val, "manifest-list"));
        }
    }
    qsort(ids, count, sizeof(*ids), compare_ids);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        remove_of(&doc->lists[lists[i]], ids, count);
    }
    doc->removed_snapshots = doc->removed_snapshots || count > 0;
    return OK;
}

enum status change_expire_snapshots(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct ice_expiry_table table;
    struct ice_expiry_rule rule;
    struct ice_expiry plan;
    struct change_list *refs = &doc->lists[LIST_REFS];
    if (str_eq_nocase(property(doc, STR("gc.enabled")), STR("false"))) {
        return err_set(err, E_INVALID,
                       "its property gc.enabled is false: no snapshot of it expires");
    }
    TRY(read_rule(doc, update, &rule, err));
    TRY(read_table(doc, &table, err));
    TRY(ice_expiry_plan(&table, &rule, doc->arena, &plan, err));
    for (size_t i = refs->count; i > 0; i--) {
        if (plan.ref_goes[i - 1]) {
            change_remove(refs, &refs->items[i - 1]);
        }
    }
    doc->changed = doc->changed || plan.ref_gone_count + plan.expired_count > 0;
    return remove_snapshots(doc, &plan, err);
}
