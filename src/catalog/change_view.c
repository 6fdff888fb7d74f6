/*
 * Changes of views by other programs: as those of tables (change.c), on a smaller document.
 *
 *      read the pointer and its metadata --> a repeat? --> requirement --> updates --> place -->
 *      file, swap
 *            ^                                                                            |
 *            '------------------------- lost: look at the new base -----------------------'
 *
 * A view's metadata has no log: each file has all that the view is, so the one before goes to the
 * trash at once, and lies there for the grace, for those who have just read the pointer.
 */
#include "catalog/changes.h"
#include "catalog/group.h"
#include "catalog/publish.h"
#include "catalog/rename.h"
#include "catalog/site.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "iceberg/view.h"

enum { CHANGE_TIMEOUT_MS = 60000, JSON_BYTES_MAX = 64 * 1024 * 1024 };

struct view_changing {
    struct local *local;
    const struct catalog_change *change;
    deadline_ms deadline;
    struct str key;      /* of the pointer */
    struct arena *arena; /* the caller's */
    struct catalog_loaded *out;
};

/** One look at the base, and what comes of it. */
struct view_try {
    struct arena arena;
    struct local_base base;
    struct buf text; /* the base's metadata, and its document */
    yyjson_doc *doc;
    struct buf json; /* the next one */
    struct publish publish;
};

static void try_init(struct view_try *trial)
{
    *trial = (struct view_try){ 0 };
    arena_init(&trial->arena, 0);
    buf_init(&trial->text, JSON_BYTES_MAX);
    buf_init(&trial->json, JSON_BYTES_MAX);
}

static void try_done(struct view_try *trial)
{
    json_doc_done(&trial->doc);
    buf_done(&trial->text);
    buf_done(&trial->json);
    arena_done(&trial->arena);
}

static struct str without_slashes(struct str uri)
{
    while (uri.len > 0 && uri.ptr[uri.len - 1] == '/') {
        uri.len--;
    }
    return uri;
}

static enum status location_of(yyjson_val *root, struct arena *arena, struct str *out,
                               struct err *err)
{
    struct str location = STR_EMPTY;
    TRY(json_get_str(root, "location", JSON_REQUIRED, &location, err));
    *out = arena_str(arena, without_slashes(location));
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

/* --- the base --- */

static enum status read_document(struct view_changing *changing, struct view_try *trial,
                                 struct err *err)
{
    const struct table_summary *view = &trial->base.pointer.table;
    struct str uuid = STR_EMPTY;
    TRY(reader_bytes(changing->local->base.reader, view->metadata_location, &trial->text, err));
    enum status status = json_parse(buf_str(&trial->text), &trial->doc, err);
    if (status == OK) {
        yyjson_val *root = yyjson_doc_get_root(trial->doc);
        TRY(ice_view_check(root, err));
        status = json_get_str(root, "view-uuid", JSON_REQUIRED, &uuid, err);
    }
    if (status == E_INVALID || (status == OK && !str_eq_nocase(uuid, view->uuid))) {
        return err_set(err, E_CORRUPT,
                       "the pointer of \"%.*s\" names what is no metadata of that view",
                       STR_ARG(view->name.name));
    }
    return status;
}

static enum status read_base(struct view_changing *changing, struct view_try *trial,
                             struct err *err)
{
    TRY(rename_read_settled(changing->local, changing->key, changing->deadline, &trial->arena,
                            &trial->base, err));
    if (!trial->base.live || !trial->base.pointer.table.is_view) {
        return err_set(err, E_NOT_FOUND, "view \"%.*s\" does not exist%s",
                       STR_ARG(changing->change->name.name),
                       trial->base.live ? ": it is a table" : "");
    }
    return read_document(changing, trial, err);
}

/* --- the next document --- */

/** Where the view lies from now on. A folder that the change names is judged. */
static enum status choose_folder(struct view_changing *changing, struct view_try *trial,
                                 struct err *err)
{
    struct local *local = changing->local;
    struct publish *publish = &trial->publish;
    struct str was;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    TRY(json_parse(buf_str(&trial->json), &doc, err));
    TRY(location_of(yyjson_doc_get_root(doc), &trial->arena, &publish->location, err));
    TRY(location_of(yyjson_doc_get_root(trial->doc), &trial->arena, &was, err));
    if (str_eq(was, publish->location)) {
        return locate_key(local->base.reader->locate, publish->location, &trial->arena,
                          &publish->folder, err);
    }
    TRY(site_key(local, publish->location, &trial->arena, &publish->folder, err));
    return site_check_free(local, &changing->change->name, publish->folder,
                           trial->base.pointer.table.uuid, err);
}

/** Requirement and updates. *changed_out false: the view is already as the change wants it. */
static enum status apply(struct view_changing *changing, struct view_try *trial, bool *changed_out,
                         struct err *err)
{
    yyjson_val *root = yyjson_doc_get_root(trial->doc);
    const struct ice_change change = { .requirements = changing->change->requirements,
                                       .updates = changing->change->updates,
                                       .now_ms = clock_wall_ms(changing->local->clock) };
    *changed_out = false;
    if (ice_view_is_repeat(root, change.updates)) {
        return OK;
    }
    TRY(ice_view_require(root, change.requirements, err));
    TRY(ice_view_apply(root, &change, &trial->arena, &trial->json, changed_out, err));
    if (!*changed_out) {
        return OK;
    }
    TRY(choose_folder(changing, trial, err));
    struct publish *publish = &trial->publish;
    publish->name = &changing->change->name;
    publish->key = changing->key;
    publish->base = &trial->base;
    publish->json = buf_str(&trial->json);
    publish->uuid = trial->base.pointer.table.uuid;
    publish->deadline = changing->deadline;
    return OK;
}

/* --- after the swap --- */

/** The file before this one: nothing names it any more. */
static void throw_away(struct local *local, struct view_try *trial)
{
    struct str key;
    if (locate_key(local->base.reader->locate, trial->base.pointer.table.metadata_location,
                   &trial->arena, &key, NULL) == OK) {
        struct trash trash = { .kind = TRASH_EXPIRED,
                               .uuid = trial->base.pointer.table.uuid,
                               .keys = &key,
                               .key_count = 1,
                               .prefix = STR_EMPTY };
        enum status ignored = trash_write(local, &trash, NULL);
        (void)ignored; /* the sweep finds it */
    }
}

/** The base as it is, or the document that has landed. */
static enum status answer(struct view_changing *changing, struct view_try *trial, bool landed,
                          struct err *err)
{
    struct catalog_loaded loaded = { .location = STR_EMPTY };
    struct buf *text = landed ? &trial->json : &trial->text;
    struct str uri = landed ? trial->publish.metadata_uri
                            : trial->base.pointer.table.metadata_location;
    enum status status = OK;
    if (landed) {
        loaded.location = arena_str(changing->arena, trial->publish.location);
    } else {
        status = location_of(yyjson_doc_get_root(trial->doc), changing->arena, &loaded.location,
                             err);
    }
    loaded.metadata_location = arena_str(changing->arena, uri);
    if (status != OK || loaded.location.ptr == NULL || loaded.metadata_location.ptr == NULL) {
        return err_set(err, E_UNAVAILABLE,
                       "the outcome is unknown: there is no memory for the answer");
    }
    loaded.metadata = *text;
    buf_init(text, JSON_BYTES_MAX);
    *changing->out = loaded;
    return OK;
}

/* --- the change --- */

static enum status attempt(struct view_changing *changing, struct view_try *trial, bool *done_out,
                           struct err *err)
{
    enum swap_outcome outcome = SWAP_REFUSED;
    bool changed = false;
    TRY(read_base(changing, trial, err));
    *done_out = !trial->base.held;
    if (trial->base.held) { /* by a transaction that is not decided */
        return OK;
    }
    TRY(apply(changing, trial, &changed, err));
    if (!changed) {
        return answer(changing, trial, false, err);
    }
    TRY(publish_write(changing->local, &trial->publish, &trial->arena, err));
    TRY(publish_swap(changing->local, &trial->publish, &outcome, err));
    *done_out = outcome == SWAP_WON;
    if (*done_out) {
        throw_away(changing->local, trial);
        return answer(changing, trial, true, err);
    }
    return OK;
}

static enum status run(void *ctx, struct err *err)
{
    struct view_changing *changing = ctx;
    for (int round = 0;; round++) {
        struct view_try trial;
        bool done = false;
        try_init(&trial);
        enum status status = attempt(changing, &trial, &done, err);
        try_done(&trial);
        if (status != OK || done) {
            return status;
        }
        if (deadline_passed(changing->deadline)) {
            return err_set(err, E_UNAVAILABLE,
                           "view \"%.*s\" is too busy: others won every race until the deadline; "
                           "nothing was committed",
                           STR_ARG(changing->change->name.name));
        }
        local_backoff(changing->local, round, changing->deadline);
    }
}

enum status local_change_view(struct local *local, const struct catalog_change *change,
                              deadline_ms deadline, struct arena *arena, struct catalog_loaded *out,
                              struct err *err)
{
    struct view_changing changing = {
        .local = local,
        .change = change,
        .deadline = deadline == 0 ? deadline_in(CHANGE_TIMEOUT_MS) : deadline,
        .arena = arena,
        .out = out,
    };
    TRY(table_name_check(&change->name, err));
    TRY(pointer_key(arena, changing.local->warehouse, &change->name, &changing.key, err));
    return groups_alone(changing.local, &change->name, changing.deadline, run, &changing, err);
}
