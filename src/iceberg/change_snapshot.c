/*
 * Updates of snapshots, refs, their log, and statistics.
 *
 * `main` is the current snapshot. Its history is the snapshot log: a client that moves it several
 * times in one change leaves only the last step there. What a removed snapshot takes along (refs,
 * statistics, the log's past) goes with it.
 */
#include "iceberg/change_priv.h"

enum {
    STALE_MS = 60 * 1000,           /* how far a client's clock may be behind the last update */
    EARLY_MS = 24 * 60 * 60 * 1000, /* and ahead of ours: all that comes later is held against it */
    SEQUENCE_STEP_MAX = 1000000     /* chosen: what is added in one change counts on by one */
};

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/* --- snapshots --- */

static enum status check_sequence(const struct change_doc *doc, yyjson_val *snapshot, int64_t *out,
                                  struct err *err)
{
    yyjson_val *parent = yyjson_obj_get(snapshot, "parent-snapshot-id");
    bool has_parent = yyjson_is_int(parent) && yyjson_get_sint(parent) >= 0;
    int64_t sequence = 0;
    *out = 0;
    if (change_version(doc) == 1) {
        return OK;
    }
    TRY(json_get_i64(snapshot, "sequence-number", JSON_REQUIRED, &sequence, err));
    if (sequence < 0 || sequence - doc->last_sequence_number > SEQUENCE_STEP_MAX) {
        return err_set(err, E_INVALID, "\"sequence-number\" is %lld, the table has %lld",
                       (long long)sequence, (long long)doc->last_sequence_number);
    }
    if (has_parent && sequence <= doc->last_sequence_number) {
        return err_set(err, E_CONFLICT,
                       "the snapshot's sequence number is %lld, the table has %lld already",
                       (long long)sequence, (long long)doc->last_sequence_number);
    }
    *out = sequence;
    return OK;
}

/** Version 3: rows get their ids from the table's count. */
static enum status take_rows(struct change_doc *doc, yyjson_val *snapshot, struct err *err)
{
    int64_t first = -1, rows = -1;
    if (change_version(doc) < 3) {
        return OK;
    }
    TRY(json_get_i64(snapshot, "first-row-id", JSON_REQUIRED, &first, err));
    TRY(json_get_i64(snapshot, "added-rows", JSON_REQUIRED, &rows, err));
    int64_t next = doc->next_row_id < 0 ? 0 : doc->next_row_id;
    if (first < next) {
        return err_set(err, E_CONFLICT, "\"first-row-id\" is %lld, the table is at %lld",
                       (long long)first, (long long)next);
    }
    if (rows < 0 || rows > INT64_MAX - first) {
        return err_set(err, E_INVALID, "\"added-rows\" is %lld", (long long)rows);
    }
    doc->next_row_id = first + rows;
    return OK;
}

static enum status check_snapshot(struct change_doc *doc, yyjson_val *snapshot, int64_t *id_out,
                                  struct err *err)
{
    int64_t id = 0, at = 0;
    struct str list, operation;
    yyjson_val *summary = NULL, *schema = yyjson_obj_get(snapshot, "schema-id");
    TRY(json_get_i64(snapshot, "snapshot-id", JSON_REQUIRED, &id, err));
    TRY(json_get_i64(snapshot, "timestamp-ms", JSON_REQUIRED, &at, err));
    TRY(json_get_str(snapshot, "manifest-list", JSON_REQUIRED, &list, err));
    TRY(json_get_obj(snapshot, "summary", JSON_REQUIRED, &summary, err));
    TRY(json_get_str(summary, "operation", JSON_REQUIRED, &operation, err));
    if (id < 0 || list.len == 0) {
        return err_set(err, E_INVALID, "a snapshot needs an id from 0 on and a manifest list");
    }
    if (change_find(&doc->lists[LIST_SNAPSHOTS], id) != NULL) {
        return err_set(err, E_INVALID, "snapshot %lld is there already", (long long)id);
    }
    if (yyjson_is_int(schema) &&
        change_find(&doc->lists[LIST_SCHEMAS], yyjson_get_sint(schema)) == NULL) {
        return err_set(err, E_INVALID, "a snapshot of schema %lld, which is not there",
                       (long long)yyjson_get_sint(schema));
    }
    if (at < 0 || (at > doc->now_ms && at - doc->now_ms > EARLY_MS)) {
        return err_set(err, E_INVALID, "the snapshot's time is %lld, our clock says %lld",
                       (long long)at, (long long)doc->now_ms);
    }
    if (at < doc->last_updated_ms - STALE_MS) {
        return err_set(err, E_INVALID,
                       "the snapshot's time is %lld ms before the table's last update; is a clock "
                       "wrong?",
                       (long long)(doc->last_updated_ms - at));
    }
    *id_out = id;
    doc->now_ms = at > doc->now_ms ? at : doc->now_ms;
    return OK;
}

enum status change_add_snapshot(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    yyjson_val *snapshot = NULL;
    struct change_item *item;
    int64_t id = -1, sequence = 0;
    TRY(json_get_obj(update, "snapshot", JSON_REQUIRED, &snapshot, err));
    TRY(check_snapshot(doc, snapshot, &id, err));
    TRY(check_sequence(doc, snapshot, &sequence, err));
    TRY(take_rows(doc, snapshot, err));
    TRY(change_add(doc, &doc->lists[LIST_SNAPSHOTS], &item, err));
    item->id = id;
    item->val = snapshot;
    TRY(change_add(doc, &doc->added_snapshots, &item, err));
    item->id = id;
    doc->last_sequence_number = sequence > doc->last_sequence_number ? sequence
                                                                     : doc->last_sequence_number;
    doc->changed = true;
    return OK;
}

static void remove_with_id(struct change_list *list, int64_t id)
{
    for (struct change_item *at = change_find(list, id); at != NULL; at = change_find(list, id)) {
        change_remove(list, at);
    }
}

enum status change_remove_snapshots(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    yyjson_val *ids = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(update, "snapshot-ids", JSON_REQUIRED, &ids, err));
    yyjson_arr_foreach(ids, i, max, val)
    {
        struct change_item *removed, *item;
        if (!yyjson_is_int(val)) {
            return err_set(err, E_INVALID, "\"snapshot-ids\" must hold numbers");
        }
        item = change_find(&doc->lists[LIST_SNAPSHOTS], yyjson_get_sint(val));
        if (item == NULL) {
            continue;
        }
        TRY(change_add(doc, &doc->removed_manifest_lists, &removed, err));
        removed->key = val_str(yyjson_obj_get(item->val, "manifest-list"));
        change_remove(&doc->lists[LIST_SNAPSHOTS], item);
        remove_with_id(&doc->lists[LIST_STATISTICS], yyjson_get_sint(val));
        remove_with_id(&doc->lists[LIST_PARTITION_STATISTICS], yyjson_get_sint(val));
        doc->changed = doc->removed_snapshots = true;
    }
    return OK;
}

/* --- refs --- */

static enum status log_main(struct change_doc *doc, int64_t id, struct err *err)
{
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    struct change_item *snapshot = change_find(&doc->lists[LIST_SNAPSHOTS], id);
    bool added = change_find(&doc->added_snapshots, id) != NULL;
    int64_t at = yyjson_get_sint(yyjson_obj_get(snapshot->val, "timestamp-ms"));
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "timestamp-ms", added ? at : doc->now_ms);
    jw_kv_i64(&w, "snapshot-id", id);
    jw_obj_end(&w);
    TRY(change_add(doc, &doc->lists[LIST_SNAPSHOT_LOG], &item, err));
    item->id = id;
    TRY(change_made(doc, &w, &text, &item->val, err));
    TRY(change_add(doc, &doc->main_was, &item, err));
    item->id = id;
    return OK;
}

/** The ref of an update, without what names it; its retention must be of its kind. */
static enum status make_ref(struct change_doc *doc, yyjson_val *update, struct str name,
                            yyjson_val **out, struct err *err)
{
    static const char *const retention[] = { "max-ref-age-ms", "min-snapshots-to-keep",
                                             "max-snapshot-age-ms" };
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    struct str type;
    int64_t id = 0;
    buf_init(&text, 0);
    TRY(json_get_str(update, "type", JSON_REQUIRED, &type, err));
    TRY(json_get_i64(update, "snapshot-id", JSON_REQUIRED, &id, err));
    bool is_tag = str_eq(type, STR("tag"));
    if ((!is_tag && !str_eq(type, STR("branch"))) || (is_tag && str_eq(name, STR("main")))) {
        return err_set(err, E_INVALID, "ref \"%.*s\" cannot be a \"%.*s\"", STR_ARG(name),
                       STR_ARG(type));
    }
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "snapshot-id", id);
    jw_kv_str(&w, "type", type);
    for (size_t i = 0; i < ARRAY_LEN(retention); i++) {
        int64_t value = 0;
        TRY(json_get_i64(update, retention[i], JSON_OPTIONAL, &value, err));
        if (value < 0 || (value > 0 && is_tag && i > 0)) {
            return err_set(err, E_INVALID, "ref \"%.*s\" cannot have %s %lld", STR_ARG(name),
                           retention[i], (long long)value);
        }
        if (value > 0) {
            jw_kv_i64(&w, retention[i], value);
        }
    }
    jw_obj_end(&w);
    return change_made(doc, &w, &text, out, err);
}

enum status change_set_ref(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct change_list *refs = &doc->lists[LIST_REFS];
    struct str name;
    yyjson_val *ref = NULL;
    TRY(json_get_str(update, "ref-name", JSON_REQUIRED, &name, err));
    if (name.len == 0) {
        return err_set(err, E_INVALID, "a ref without a name");
    }
    TRY(make_ref(doc, update, name, &ref, err));
    int64_t id = yyjson_get_sint(yyjson_obj_get(ref, "snapshot-id"));
    if (change_find(&doc->lists[LIST_SNAPSHOTS], id) == NULL) {
        return err_set(err, E_INVALID, "ref \"%.*s\" names snapshot %lld, which is not there",
                       STR_ARG(name), (long long)id);
    }
    struct change_item *known = change_find_key(refs, name);
    if (known != NULL && change_same(known->val, ref)) {
        return OK;
    }
    if (known != NULL &&
        !change_same(yyjson_obj_get(known->val, "type"), yyjson_obj_get(ref, "type"))) {
        return err_set(err, E_INVALID, "ref \"%.*s\" is a %.*s already", STR_ARG(name),
                       STR_ARG(val_str(yyjson_obj_get(known->val, "type"))));
    }
    if (known == NULL) {
        TRY(change_add(doc, refs, &known, err));
        known->key = name;
    }
    known->val = ref;
    refs->is_touched = doc->changed = true;
    if (str_eq(name, STR("main")) && doc->current_snapshot_id != id) {
        doc->current_snapshot_id = id;
        TRY(log_main(doc, id, err));
    }
    return OK;
}

enum status change_remove_ref(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    struct str name;
    TRY(json_get_str(update, "ref-name", JSON_REQUIRED, &name, err));
    struct change_item *known = change_find_key(&doc->lists[LIST_REFS], name);
    if (known == NULL) {
        return OK;
    }
    change_remove(&doc->lists[LIST_REFS], known);
    doc->current_snapshot_id = str_eq(name, STR("main")) ? -1 : doc->current_snapshot_id;
    doc->changed = true;
    return OK;
}

/* --- statistics --- */

/** The new entry takes the place of that of its snapshot. */
static enum status set_statistics(struct change_doc *doc, yyjson_val *update, const char *name,
                                  enum change_lists which, struct err *err)
{
    yyjson_val *file = NULL;
    struct change_item *item;
    struct str path;
    int64_t id = 0, size = 0;
    TRY(json_get_obj(update, name, JSON_REQUIRED, &file, err));
    TRY(json_get_i64(file, "snapshot-id", JSON_REQUIRED, &id, err));
    TRY(json_get_str(file, "statistics-path", JSON_REQUIRED, &path, err));
    TRY(json_get_i64(file, "file-size-in-bytes", JSON_REQUIRED, &size, err));
    if (change_find(&doc->lists[LIST_SNAPSHOTS], id) == NULL) {
        return err_set(err, E_INVALID, "statistics of snapshot %lld, which is not there",
                       (long long)id);
    }
    item = change_find(&doc->lists[which], id);
    if (item == NULL) {
        TRY(change_add(doc, &doc->lists[which], &item, err));
    }
    item->id = id;
    item->val = file;
    doc->lists[which].is_touched = doc->changed = true;
    return OK;
}

static enum status remove_statistics(struct change_doc *doc, yyjson_val *update,
                                     enum change_lists which, struct err *err)
{
    int64_t id = 0;
    TRY(json_get_i64(update, "snapshot-id", JSON_REQUIRED, &id, err));
    doc->changed = doc->changed || change_find(&doc->lists[which], id) != NULL;
    remove_with_id(&doc->lists[which], id);
    return OK;
}

enum status change_set_statistics(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    return set_statistics(doc, update, "statistics", LIST_STATISTICS, err);
}

enum status change_remove_statistics(struct change_doc *doc, yyjson_val *update, struct err *err)
{
    return remove_statistics(doc, update, LIST_STATISTICS, err);
}

enum status change_set_partition_statistics(struct change_doc *doc, yyjson_val *update,
                                            struct err *err)
{
    return set_statistics(doc, update, "partition-statistics", LIST_PARTITION_STATISTICS, err);
}

enum status change_remove_partition_statistics(struct change_doc *doc, yyjson_val *update,
                                               struct err *err)
{
    return remove_statistics(doc, update, LIST_PARTITION_STATISTICS, err);
}

/* --- at the end --- */

/** Refs whose snapshot is gone go, too. */
static void drop_dangling_refs(struct change_doc *doc)
{
    struct change_list *refs = &doc->lists[LIST_REFS];
    for (size_t i = refs->count; i-- > 0;) {
        int64_t id = yyjson_get_sint(yyjson_obj_get(refs->items[i].val, "snapshot-id"));
        if (change_find(&doc->lists[LIST_SNAPSHOTS], id) == NULL) {
            if (str_eq(refs->items[i].key, STR("main"))) {
                doc->current_snapshot_id = -1;
            }
            change_remove(refs, &refs->items[i]);
        }
    }
}

/** Was it only a step on main's way within this change? */
static bool is_step(struct change_doc *doc, int64_t id)
{
    return id != doc->current_snapshot_id && change_find(&doc->main_was, id) != NULL &&
           change_find(&doc->added_snapshots, id) != NULL;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/** The log without steps; behind a removed snapshot's last entry everything before it is
 * unknown. */
static enum status settle_log(struct change_doc *doc, struct err *err)
{
    struct change_list *log = &doc->lists[LIST_SNAPSHOT_LOG];
    const struct change_list *snapshots = &doc->lists[LIST_SNAPSHOTS];
    int64_t *ids = arena_array(doc->arena, snapshots->count + 1, sizeof(*ids));
    size_t kept = 0;
    if (ids == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < snapshots->count; i++) {
        ids[i] = snapshots->items[i].id;
    }
    qsort(ids, snapshots->count, sizeof(*ids), compare_int64);
    for (size_t i = 0; i < log->count; i++) {
        int64_t id = log->items[i].id;
        if (bsearch(&id, ids, snapshots->count, sizeof(*ids), compare_int64) == NULL) {
            kept = doc->removed_snapshots ? 0 : kept;
        } else if (!is_step(doc, id)) {
            log->items[kept++] = log->items[i];
        }
    }
    log->is_touched = log->is_touched || kept != log->count;
    log->count = kept;
    return OK;
}

enum status change_settle_snapshots(struct change_doc *doc, struct err *err)
{
    if (doc->removed_snapshots) {
        drop_dangling_refs(doc);
    }
    return doc->removed_snapshots || doc->main_was.count > 0 ? settle_log(doc, err) : OK;
}
