/*
 * A metadata file that lies in the warehouse becomes a table, or a view: one that was dropped and
 * kept its files, or that another program has put there. Nothing is copied; the pointer names that
 * very file.
 *
 * Two tables never share a folder: the drop of one would take the other's files. So every live
 * table is asked for its own before.
 */
#include "catalog/changes.h"

#include "catalog/created.h"
#include "catalog/names.h"
#include "catalog/namespace.h"
#include "catalog/rename.h"
#include "catalog/site.h"
#include "catalog/swap.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "iceberg/view.h"

enum {
    REGISTER_TIMEOUT_MS = 30000,
    POINTER_BYTES_MAX = 16 * 1024 * 1024,
    ROUND_BYTES_MAX = 256 * 1024 * 1024,
    METADATA_BYTES_MAX = 512 * 1024 * 1024
};

struct registering {
    struct local *local;
    const struct catalog_register_metadata *request;
    deadline_ms deadline;
    enum catalog_kind kind;
    const struct ice_metadata *metadata; /* of a table's file; a reference */
    struct str uuid, location;           /* of the file; in the call's arena */
    struct str key, folder;              /* of the pointer; of the table, without a slash */
    int64_t version;                     /* the highest number of a metadata file in the folder */
    struct arena *arena;                 /* of the call */
    struct arena round;
    struct local_base base;
    struct pointer next;
};

/* --- the file --- */

/** A folder below the warehouse's own, without the slash at its end. */
static enum status own_folder(struct registering *registering, struct str *out, struct err *err)
{
    struct local *local = registering->local;
    struct str root = arena_printf(registering->arena, "wh/%.*s/", STR_ARG(local->warehouse));
    if (root.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(locate_key(local->base.reader->locate, registering->location, registering->arena, out,
                   err));
    while (str_ends(*out, STR("/"))) {
        *out = str_take(*out, out->len - 1);
    }
    if (!str_starts(*out, root) || out->len <= root.len) {
        return err_set(err, E_INVALID, "the location \"%.*s\" is outside of the warehouse",
                       STR_ARG(registering->location));
    }
    return OK;
}

/** "00012-<uuid>.metadata.json" -> 12; 0 for other names. */
static int64_t number_of(struct str key)
{
    size_t slash = str_rfind_char(key, '/');
    struct str name = slash == SIZE_MAX ? key : str_skip(key, slash + 1);
    size_t dash = str_find_char(name, '-');
    uint64_t number = 0;
    bool ok = dash != SIZE_MAX && dash < 12 && str_ends(name, STR(".metadata.json")) &&
              str_to_u64(str_take(name, dash), &number);
    return ok ? (int64_t)number : 0;
}

/** The next metadata file gets a number that none has. */
static enum status find_version(struct registering *registering, struct err *err)
{
    struct store_list_opts opts = { .limit = STORE_LIST_MAX };
    struct store_list page = { .truncated = true };
    opts.prefix = arena_printf(registering->arena, "%.*s/metadata/", STR_ARG(registering->folder));
    if (opts.prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    while (page.truncated) {
        page = (struct store_list){ 0 };
        TRY(store_list(registering->local->store, &opts, registering->arena, &page, err));
        for (size_t i = 0; i < page.object_count; i++) {
            int64_t number = number_of(page.objects[i].key);
            registering->version = number > registering->version ? number : registering->version;
        }
        opts.after = page.next;
    }
    return OK;
}

static enum status keep(struct registering *registering, struct str uuid, struct str location,
                        struct err *err)
{
    registering->uuid = arena_str(registering->arena, uuid);
    registering->location = arena_str(registering->arena, location);
    return registering->uuid.ptr == NULL || registering->location.ptr == NULL ? err_no_memory(err)
                                                                              : OK;
}

static enum status read_table(struct registering *registering, struct err *err)
{
    TRY(reader_metadata(registering->local->base.reader, registering->request->metadata_location,
                        &registering->metadata, err));
    return keep(registering, registering->metadata->table_uuid, registering->metadata->location,
                err);
}

static enum status read_view(struct registering *registering, struct err *err)
{
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct str uuid = STR_EMPTY, location = STR_EMPTY;
    buf_init(&text, METADATA_BYTES_MAX);
    TRY(reader_bytes(registering->local->base.reader, registering->request->metadata_location,
                     &text, err));
    if (json_parse(buf_str(&text), &doc, err) != OK) {
        return err_set(err, E_CORRUPT, "it is no JSON");
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(ice_view_check(root, err));
    TRY(json_get_str(root, "view-uuid", JSON_REQUIRED, &uuid, err));
    TRY(json_get_str(root, "location", JSON_REQUIRED, &location, err));
    return keep(registering, uuid, location, err);
}

static enum status read_file(struct registering *registering, struct err *err)
{
    struct reader *reader = registering->local->base.reader;
    struct str location = registering->request->metadata_location, key;
    struct store_info info;
    TRY(locate_key(reader->locate, location, registering->arena, &key, err));
    enum status status = store_stat(registering->local->store, key, &info, err);
    if (status == E_NOT_FOUND) {
        return err_set(err, E_INVALID, "there is no metadata file \"%.*s\"", STR_ARG(location));
    }
    TRY(status);
    status = registering->kind == CATALOG_VIEW ? read_view(registering, err)
                                               : read_table(registering, err);
    if (status == E_CORRUPT || status == E_UNSUPPORTED) {
        struct err why = *err;
        return err_set(err, E_INVALID, "\"%.*s\" is no metadata that can be read: %s",
                       STR_ARG(location), why.msg);
    }
    TRY(status);
    TRY(own_folder(registering, &registering->folder, err));
    if (!str_starts(key, registering->folder) || key.len <= registering->folder.len ||
        key.ptr[registering->folder.len] != '/') {
        return err_set(err, E_INVALID, "\"%.*s\" does not lie in its %s's location \"%.*s\"",
                       STR_ARG(location), registering->kind == CATALOG_VIEW ? "view" : "table",
                       STR_ARG(registering->location));
    }
    return find_version(registering, err);
}

/* --- others --- */

static enum status check_folders(struct registering *registering, struct err *err)
{
    struct local *local = registering->local;
    struct names names;
    TRY(names_list(local, STR_EMPTY, &registering->round, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        const struct name_entry *entry = &names.entries[i];
        struct table_summary table;
        struct str folder;
        bool live = false;
        struct err why = { 0 };
        if (str_eq(entry->key, registering->key) ||
            names_summary(local, entry, &registering->round, &live, &table, &why) != OK || !live ||
            locate_table(local->base.reader->locate, table.metadata_location, &registering->round,
                         &folder, &why) != OK) {
            continue; /* one that cannot be read hinders no other */
        }
        if (site_overlaps(folder, registering->folder)) {
            return err_set(err, E_INVALID, "%s \"%.*s\" lies there already: \"%.*s\"",
                           table.is_view ? "view" : "table", STR_ARG(entry->text),
                           STR_ARG(registering->location));
        }
    }
    return OK;
}

/* --- the pointer --- */

static int64_t total(const struct ice_metadata *metadata, const char *name)
{
    int64_t number = 0;
    yyjson_val *value = metadata->current == NULL || metadata->current->summary == NULL
                            ? NULL
                            : yyjson_obj_get(metadata->current->summary, name);
    struct str text = str_from(yyjson_get_str(value), yyjson_get_len(value));
    return text.ptr != NULL && str_to_i64(text, &number) ? number : 0;
}

static enum status make_summary(struct registering *registering, struct table_summary *out,
                                struct err *err)
{
    const struct ice_metadata *metadata = registering->metadata;
    const struct pointer *old = &registering->base.pointer;
    char fingerprint[65];
    int64_t before = registering->base.found ? old->table.version : 0;
    *out = (struct table_summary){
        .name = registering->request->name,
        .uuid = registering->uuid,
        .fingerprint = STR_EMPTY,
        .snapshot_id = -1,
        .updated_ms = clock_wall_ms(registering->local->clock),
        .metadata_location = registering->request->metadata_location,
        .version = registering->version > before ? registering->version : before,
        .is_view = registering->kind == CATALOG_VIEW,
    };
    if (out->is_view) {
        return OK;
    }
    TRY(ice_schema_fingerprint(metadata->schema, fingerprint, err));
    out->fingerprint = arena_str(&registering->round, str_of(fingerprint));
    out->snapshot_id = metadata->current == NULL ? -1 : metadata->current->id;
    out->row_count = total(metadata, "total-records");
    out->file_count = total(metadata, "total-data-files");
    out->size_bytes = total(metadata, "total-files-size");
    out->updated_ms = metadata->last_updated_ms;
    return out->fingerprint.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status make_pointer(struct registering *registering, struct str namespace_uuid,
                                struct err *err)
{
    const struct local_base *base = &registering->base;
    struct pointer *next = &registering->next;
    struct rng rng;
    *next = (struct pointer){ .state = POINTER_LIVE, .namespace_uuid = namespace_uuid };
    TRY(make_summary(registering, &next->table, err));
    if (base->found && str_eq(base->pointer.table.uuid, next->table.uuid)) {
        next->batches = base->pointer.batches; /* it is the same table again */
        next->batch_count = base->pointer.batch_count;
    }
    local_rng(registering->local, &rng);
    return pointer_add_commit(&registering->round, base->found ? &base->pointer : NULL, &rng, next,
                              err);
}

static enum status check_base(struct registering *registering, struct err *err)
{
    const struct local_base *base = &registering->base;
    if (base->live && (!registering->request->overwrite || base->pointer.table.is_view)) {
        return err_set(err, E_EXISTS, "%s \"%.*s\" exists already",
                       base->pointer.table.is_view ? "view" : "table",
                       STR_ARG(registering->request->name.name));
    }
    if (base->found && !base->live && base->pointer.purge) {
        TRY(trash_purge(registering->local, base->pointer.table.uuid,
                        base->pointer.table.metadata_location, err));
    }
    return OK;
}

static enum status put(struct registering *registering, enum swap_outcome *outcome, struct err *err)
{
    AUTO(buf_done) struct buf body;
    const struct local_base *base = &registering->base;
    const struct pointer *next = &registering->next;
    assert(next->commit_count > 0 && next->commit_ids != NULL); /* make_pointer */
    buf_init(&body, POINTER_BYTES_MAX);
    if (pointer_encode(next, &body) != OK) {
        return err_no_memory(err);
    }
    struct swap swap = {
        .key = registering->key,
        .base_etag = base->found ? str_of(base->etag) : STR_EMPTY,
        .body = buf_str(&body),
        .commit_id = next->commit_ids[next->commit_count - 1],
        .deadline = registering->deadline,
    };
    TRY(swap_pointer(registering->local, &swap, outcome, err));
    if (*outcome != SWAP_WON || base->live) {
        return OK;
    }
    struct created created = { .name = &registering->request->name,
                               .key = registering->key,
                               .as = next,
                               .deadline = registering->deadline,
                               .keep_files = true };
    return created_settle(registering->local, &created, err);
}

static enum status try_once(struct registering *registering, enum swap_outcome *outcome,
                            struct err *err)
{
    struct str namespace_uuid;
    TRY(namespace_require(registering->local, registering->request->name.ns, &registering->round,
                          &namespace_uuid, err));
    TRY(rename_read_settled(registering->local, registering->key, registering->deadline,
                            &registering->round, &registering->base, err));
    TRY(check_base(registering, err));
    TRY(check_folders(registering, err));
    TRY(make_pointer(registering, namespace_uuid, err));
    return put(registering, outcome, err);
}

static enum status register_all(struct registering *registering, struct err *err)
{
    enum swap_outcome outcome = SWAP_LOST;
    TRY(read_file(registering, err));
    for (int round = 0; outcome != SWAP_WON; round++) {
        arena_init(&registering->round, ROUND_BYTES_MAX);
        enum status status = try_once(registering, &outcome, err);
        arena_done(&registering->round);
        TRY(status);
        if (outcome != SWAP_WON && deadline_passed(registering->deadline)) {
            return err_set(err, E_UNAVAILABLE, "\"%.*s\" is too busy; nothing was changed",
                           STR_ARG(registering->request->name.name));
        }
        if (outcome != SWAP_WON) {
            local_backoff(registering->local, round, registering->deadline);
        }
    }
    return OK;
}

static enum status load(struct registering *registering, struct catalog_loaded *out,
                        struct err *err)
{
    struct str location = registering->request->metadata_location;
    struct catalog_loaded loaded = {
        .metadata_location = arena_str(registering->arena, location),
        .location = registering->location,
    };
    if (loaded.metadata_location.ptr == NULL) {
        return err_no_memory(err);
    }
    buf_init(&loaded.metadata, METADATA_BYTES_MAX);
    enum status status = reader_bytes(registering->local->base.reader, location, &loaded.metadata,
                                      err);
    if (status != OK) {
        buf_done(&loaded.metadata);
        return status;
    }
    *out = loaded;
    return OK;
}

static enum status register_one(struct catalog *catalog,
                                const struct catalog_register_metadata *request,
                                enum catalog_kind kind, struct arena *arena,
                                struct catalog_loaded *out, struct err *err)
{
    assert(catalog->ops->namespace != NULL);
    struct registering registering = {
        .local = (struct local *)catalog,
        .request = request,
        .kind = kind,
        .deadline = request->deadline == 0 ? deadline_in(REGISTER_TIMEOUT_MS) : request->deadline,
        .arena = arena,
    };
    TRY(table_name_check(&request->name, err));
    TRY(table_name_check_new(&request->name, err));
    TRY(pointer_key(arena, registering.local->warehouse, &request->name, &registering.key, err));
    enum status status = register_all(&registering, err);
    status = status == OK ? load(&registering, out, err) : status;
    if (registering.metadata != NULL) {
        ice_metadata_unref(registering.metadata);
    }
    return status;
}

enum status catalog_register_metadata(struct catalog *catalog,
                                      const struct catalog_register_metadata *request,
                                      struct arena *arena, struct catalog_loaded *out,
                                      struct err *err)
{
    return register_one(catalog, request, CATALOG_TABLE, arena, out, err);
}

enum status catalog_register_view(struct catalog *catalog,
                                  const struct catalog_register_metadata *request,
                                  struct arena *arena, struct catalog_loaded *out, struct err *err)
{
    if (request->overwrite) {
        return err_set(err, E_INVALID, "a registered view replaces none (overwrite)");
    }
    return register_one(catalog, request, CATALOG_VIEW, arena, out, err);
}
