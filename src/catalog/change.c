/*
 * Changes of other programs.
 *
 *      read the pointer and its metadata --> a repeat? --> requirements --> updates --> judge -->
 *      file, swap
 *            ^                                 |                                          |
 *            |                                 '--> success, as it is                     |
 *            '------------------------- lost: look at the new base -----------------------'
 *
 * Invariants: whether a change is a repeat is asked before anything else is looked at, because a
 * client that hears "failed" deletes files that a live snapshot may name. "Failed" is said only
 * when no body of ours can land any more. What our own commits need of a table (its folder in the
 * warehouse, its uuid, files that can be found) is not given up for anybody's change.
 *
 * In one process a table's changes and group commits go one after the other (group.c), so neither
 * starves the other; changes that wait together share a swap (change_shared.c). Between processes
 * the swap decides.
 */
#include "catalog/change.h"

#include "catalog/batch.h"
#include "catalog/create.h"
#include "catalog/group.h"
#include "catalog/marks.h"
#include "catalog/plan.h"
#include "catalog/rename.h"
#include "catalog/site.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"

enum { CHANGE_TIMEOUT_MS = 60000, JSON_BYTES_MAX = 512 * 1024 * 1024 };

void change_init(struct change_try *trial, const struct catalog_change *change, struct str key,
                 deadline_ms deadline)
{
    *trial = (struct change_try){ .change = change, .key = key };
    trial->publish.deadline = deadline;
    arena_init(&trial->arena, 0);
    buf_init(&trial->text, JSON_BYTES_MAX);
    buf_init(&trial->json, JSON_BYTES_MAX);
}

void change_done(struct change_try *trial)
{
    if (trial->result.metadata != NULL) {
        ice_metadata_unref(trial->result.metadata);
    }
    json_doc_done(&trial->doc);
    buf_done(&trial->text);
    buf_done(&trial->json);
    arena_done(&trial->arena);
}

/* --- the base --- */

static enum status read_document(struct local *local, struct change_try *trial, struct err *err)
{
    const struct table_summary *table = &trial->base.pointer.table;
    struct str uuid = STR_EMPTY;
    TRY(reader_bytes(local->base.reader, table->metadata_location, &trial->text, err));
    enum status status = json_parse(buf_str(&trial->text), &trial->doc, err);
    if (status == OK) {
        status = json_get_str(yyjson_doc_get_root(trial->doc), "table-uuid", JSON_REQUIRED, &uuid,
                              err);
    }
    if (status == E_INVALID || (status == OK && !str_eq_nocase(uuid, table->uuid))) {
        return err_set(err, E_CORRUPT,
                       "the pointer of \"%.*s\" names what is no metadata of that table",
                       STR_ARG(table->name.name));
    }
    return status;
}

static struct ice_change change_of(struct local *local, const struct change_try *trial)
{
    return (struct ice_change){
        .requirements = trial->change->requirements,
        .updates = trial->change->updates,
        .now_ms = clock_wall_ms(local->clock),
        .previous_metadata_location = trial->base.live && !trial->follows
                                          ? trial->base.pointer.table.metadata_location
                                          : (struct str){ NULL, 0 },
    };
}

enum status change_read(struct local *local, struct change_try *trial, struct err *err)
{
    trial->creates = ice_change_creates(trial->change->requirements);
    TRY(rename_read_settled(local, trial->key, trial->publish.deadline, &trial->arena, &trial->base,
                            err));
    if (trial->base.live && !trial->base.pointer.table.is_view) {
        struct ice_change change = change_of(local, trial);
        TRY(read_document(local, trial, err));
        trial->repeat = ice_change_is_repeat(yyjson_doc_get_root(trial->doc), &change);
    }
    return OK;
}

/* --- judging what comes out --- */

/** `name` of each update of that action has to lie in the warehouse. */
static enum status check_files(struct local *local, yyjson_val *updates, const char *action,
                               const char *object, const char *name, const char *what,
                               struct err *err)
{
    size_t i, max;
    yyjson_val *update;
    yyjson_arr_foreach(updates, i, max, update)
    {
        yyjson_val *path = yyjson_obj_get(yyjson_obj_get(update, object), name);
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), action) && yyjson_is_str(path)) {
            TRY(site_check_file(local, what, str_from(yyjson_get_str(path), yyjson_get_len(path)),
                                err));
        }
    }
    return OK;
}

static struct str without_slashes(struct str uri)
{
    while (uri.len > 0 && uri.ptr[uri.len - 1] == '/') {
        uri.len--;
    }
    return uri;
}

/** The table's folder. One that the change has named is judged; the one that it has already is its
 * own. */
static enum status choose_folder(struct local *local, struct change_try *trial, struct err *err)
{
    struct publish *publish = &trial->publish;
    struct str location = without_slashes(trial->result.location);
    if (trial->creates && location.len == 0) {
        return err_set(err, E_INVALID, "a new table needs a location (set-location)");
    }
    if (trial->result.sets_location) {
        struct str now;
        TRY(site_key(local, location, &trial->arena, &publish->folder, err));
        trial->chosen = trial->creates ||
                        locate_table(local->base.reader->locate,
                                     trial->base.pointer.table.metadata_location, &trial->arena,
                                     &now, NULL) != OK ||
                        !str_eq(now, publish->folder);
        return OK;
    }
    return locate_key(local->base.reader->locate, location, &trial->arena, &publish->folder, err);
}

static enum status judge(struct local *local, struct change_try *trial, struct err *err)
{
    yyjson_val *updates = trial->change->updates;
    const struct ice_metadata *metadata = trial->result.metadata;
    if (trial->base.live && !str_eq_nocase(metadata->table_uuid, trial->base.pointer.table.uuid)) {
        return err_set(err, E_INVALID, "the uuid of table \"%.*s\" cannot change",
                       STR_ARG(trial->change->name.name));
    }
    TRY(check_files(local, updates, "add-snapshot", "snapshot", "manifest-list",
                    "the manifest list", err));
    TRY(check_files(local, updates, "set-statistics", "statistics", "statistics-path",
                    "the statistics file", err));
    TRY(check_files(local, updates, "set-partition-statistics", "partition-statistics",
                    "statistics-path", "the statistics file", err));
    return choose_folder(local, trial, err);
}

static void fill_publish(struct change_try *trial)
{
    struct publish *publish = &trial->publish;
    publish->name = &trial->change->name;
    publish->key = trial->key;
    publish->base = &trial->base;
    publish->json = buf_str(&trial->json);
    publish->metadata = trial->result.metadata;
}

/** Is what the change is for there, or (assert-create) is it not? */
static enum status check_base(struct local *local, struct change_try *trial, struct err *err)
{
    const struct local_base *base = &trial->base;
    struct str name = trial->change->name.name;
    if (base->live && base->pointer.table.is_view) {
        return trial->creates
                   ? err_set(err, E_EXISTS, "view \"%.*s\" exists already", STR_ARG(name))
                   : err_set(err, E_NOT_FOUND, "\"%.*s\" is a view", STR_ARG(name));
    }
    if (base->live) {
        return trial->creates
                   ? err_set(err, E_EXISTS, "table \"%.*s\" exists already", STR_ARG(name))
                   : OK;
    }
    if (!trial->creates) {
        return local_not_found(local, &trial->change->name, err);
    }
    TRY(table_name_check_new(&trial->change->name, err));
    return create_check(local, &trial->change->name, &trial->arena, &trial->publish.namespace_uuid,
                        err);
}

static bool adds_snapshot(const struct catalog_change *change, int64_t id)
{
    size_t i, max;
    yyjson_val *update;
    yyjson_arr_foreach(change->updates, i, max, update)
    {
        yyjson_val *snapshot = yyjson_obj_get(update, "snapshot");
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), "add-snapshot") &&
            yyjson_get_sint(yyjson_obj_get(snapshot, "snapshot-id")) == id) {
            return true;
        }
    }
    return false;
}

/** Has its batch landed already? Else it lands with the change. One that landed with this very
 * change, whose snapshot has expired since, makes it a repeat. */
static enum status check_batch(struct local *local, struct change_try *trial, struct err *err)
{
    const struct catalog_change_batch *batch = trial->change->batch;
    const struct ice_metadata *metadata = NULL;
    struct pointer_batch landed;
    bool found = false;
    if (batch == NULL || !trial->base.live) {
        return OK;
    }
    trial->batch = (struct pointer_batch){ .row_count = batch->row_count, .file = batch->file };
    TRY(batch_id(&trial->arena, batch->id, &trial->batch.id, err));
    TRY(reader_metadata(local->base.reader, trial->base.pointer.table.metadata_location, &metadata,
                        err));
    enum status status = plan_find_batch(local, &trial->base, metadata, trial->batch.id,
                                         &trial->arena, &found, &landed, err);
    ice_metadata_unref(metadata);
    TRY(status);
    trial->publish.batch = &trial->batch;
    trial->repeat = found && adds_snapshot(trial->change, landed.snapshot_id);
    return found && !trial->repeat
               ? err_set(err, E_EXISTS, "the batch is in table \"%.*s\" already",
                         STR_ARG(trial->change->name.name))
               : OK;
}

enum status change_apply(struct local *local, struct change_try *trial, struct err *err)
{
    struct ice_change change = change_of(local, trial);
    yyjson_val *root = yyjson_doc_get_root(trial->doc);
    if (ice_change_is_there_in_part(root, &change)) {
        /* it may have landed and lost a part since: "failed" would have live files deleted */
        return err_set(err, E_UNAVAILABLE,
                       "the outcome is unknown: a part of the change's snapshots is in table "
                       "\"%.*s\", and a part is not",
                       STR_ARG(trial->change->name.name));
    }
    TRY(check_base(local, trial, err));
    TRY(check_batch(local, trial, err));
    if (trial->repeat) {
        return OK;
    }
    TRY(ice_change_require(root, change.requirements, err));
    TRY(ice_change_apply(root, &change, &trial->arena, &trial->json, &trial->result, err));
    if (!trial->result.changed) {
        return trial->base.live ? OK : err_set(err, E_INVALID, "a new table needs a schema");
    }
    fill_publish(trial);
    return judge(local, trial, err);
}

/* --- after the swap --- */

/** The pointer may forget a batch once its marker is there; failing that, the next commit writes
 * it. */
static void mark_batch(struct local *local, const struct change_try *trial)
{
    struct str uuid = trial->publish.next.table.uuid;
    if (trial->publish.batch == NULL) {
        return;
    }
    marks_take(local->marks, uuid, &trial->batch);
    if (batch_write(local->store, uuid, &trial->batch, NULL) == OK) {
        marks_add(local->marks, uuid, &trial->batch);
    } else {
        marks_drop(local->marks, uuid, &trial->batch);
    }
}

void change_landed(struct local *local, const struct change_try *trial)
{
    mark_batch(local, trial);
    struct arena arena;
    const struct ice_change_result *result = &trial->result;
    arena_init(&arena, 0);
    struct str *keys = arena_array(&arena, result->dropped_metadata_count, sizeof(*keys));
    struct trash trash = { .kind = TRASH_EXPIRED,
                           .uuid = trial->base.live ? trial->base.pointer.table.uuid
                                                    : trial->publish.next.table.uuid,
                           .keys = keys,
                           .prefix = STR_EMPTY };
    for (size_t i = 0; keys != NULL && i < result->dropped_metadata_count; i++) {
        /* a file outside the lake is not ours to delete */
        if (locate_key(local->base.reader->locate, result->dropped_metadata[i], &arena,
                       &keys[trash.key_count], NULL) == OK) {
            trash.key_count++;
        }
    }
    enum status ignored = trash_write(local, &trash, NULL);
    (void)ignored; /* the sweep finds them */
    arena_done(&arena);
}

/* --- catalog_change_table --- */

/** The answer: the base as it is, or the document that has landed. */
static enum status answer(struct changing *changing, struct change_try *trial, bool landed,
                          struct err *err)
{
    struct str uri = landed ? trial->publish.metadata_uri
                            : trial->base.pointer.table.metadata_location;
    struct str location = STR_EMPTY;
    struct buf *text = landed ? &trial->json : &trial->text;
    if (landed) {
        location = trial->result.metadata->location;
    } else {
        TRY(json_get_str(yyjson_doc_get_root(trial->doc), "location", JSON_REQUIRED, &location,
                         err));
    }
    struct catalog_loaded loaded = {
        .metadata_location = arena_str(changing->arena, uri),
        .location = arena_str(changing->arena, without_slashes(location)),
    };
    if (loaded.metadata_location.ptr == NULL || loaded.location.ptr == NULL) {
        return err_set(err, E_UNAVAILABLE,
                       "the outcome is unknown: there is no memory for the answer");
    }
    loaded.metadata = *text;
    buf_init(text, JSON_BYTES_MAX);
    *changing->out = loaded;
    return OK;
}

static enum status publish(struct local *local, struct change_try *trial,
                           enum swap_outcome *outcome, struct err *err)
{
    if (trial->creates) {
        return create_publish(local, &trial->publish, trial->chosen, &trial->arena, outcome, err);
    }
    *outcome = SWAP_REFUSED;
    if (trial->chosen) {
        TRY(site_check_free(local, &trial->change->name, trial->publish.folder,
                            trial->base.pointer.table.uuid, err));
    }
    TRY(publish_write(local, &trial->publish, &trial->arena, err));
    return publish_swap(local, &trial->publish, outcome, err);
}

static enum status attempt(struct changing *changing, struct change_try *trial, bool *done_out,
                           struct err *err)
{
    struct local *local = changing->local;
    enum swap_outcome outcome = SWAP_REFUSED;
    *done_out = true;
    TRY(change_read(local, trial, err));
    if (trial->base.held && !trial->repeat) {
        *done_out = false; /* a transaction over several tables has it */
        return OK;
    }
    if (!trial->repeat) {
        TRY(change_apply(local, trial, err));
    }
    if (trial->repeat || !trial->result.changed) {
        return answer(changing, trial, false, err);
    }
    TRY(publish(local, trial, &outcome, err));
    *done_out = outcome == SWAP_WON;
    if (*done_out) {
        change_landed(local, trial);
        return answer(changing, trial, true, err);
    }
    return OK;
}

static enum status run(void *ctx, struct err *err)
{
    struct changing *changing = ctx;
    for (int round = 0;; round++) {
        struct change_try trial;
        bool done = false;
        change_init(&trial, changing->change, changing->key, changing->deadline);
        enum status status = attempt(changing, &trial, &done, err);
        change_done(&trial);
        if (status != OK || done) {
            return status;
        }
        if (deadline_passed(changing->deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "table \"%.*s\" is too busy: others won every race until the deadline; "
                           "nothing was committed",
                           STR_ARG(changing->change->name.name));
        }
        local_backoff(changing->local, round, changing->deadline);
    }
}

enum status local_change(struct catalog *catalog, enum catalog_kind kind,
                         const struct catalog_change *change, deadline_ms deadline,
                         struct arena *arena, struct catalog_loaded *out, struct err *err)
{
    if (kind == CATALOG_VIEW) {
        return local_change_view((struct local *)catalog, change, deadline, arena, out, err);
    }
    struct changing changing = {
        .local = (struct local *)catalog,
        .change = change,
        .deadline = deadline == 0 ? deadline_in(CHANGE_TIMEOUT_MS) : deadline,
        .arena = arena,
        .out = out,
    };
    TRY(table_name_check(&change->name, err));
    TRY(pointer_key(arena, changing.local->warehouse, &change->name, &changing.key, err));
    if (!change_may_share(change)) {
        return groups_alone(changing.local, &change->name, changing.deadline, run, &changing, err);
    }
    TRY(groups_share(changing.local, &change->name, changing.deadline, change_run_shared, &changing,
                     err));
    if (changing.status != OK && err != NULL) {
        *err = changing.err;
    }
    return changing.status;
}
