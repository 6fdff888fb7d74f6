/*
 * Making a table, or a view, for another program.
 *
 *   staged     names, a uuid and a folder are thought up and told; nothing is written, not even a
 *              claim, so nobody sweeps what the client puts there before its commit
 *   at once    the folder is claimed (or the client's own is looked at), then metadata and pointer
 *
 * Views are made at once. The end of a staged one is a commit with assert-create (change.c), which
 * comes here too.
 */
#include "catalog/create.h"

#include "catalog/changes.h"
#include "catalog/created.h"
#include "catalog/mint.h"
#include "catalog/namespace.h"
#include "catalog/rename.h"
#include "catalog/site.h"
#include "catalog/table_name.h"
#include "catalog/trash.h"
#include "iceberg/view.h"

enum { CREATE_TIMEOUT_MS = 60000, JSON_BYTES_MAX = 64 * 1024 * 1024 };

/* --- what every table that is made goes through --- */

enum status create_check(struct local *local, const struct table_name *name, struct arena *arena,
                         struct str *ns_uuid_out, struct err *err)
{
    struct table_name twin;
    size_t twins = 0;
    TRY(namespace_require(local, name->ns, arena, ns_uuid_out, err));
    TRY(local_case_twins(local, name, arena, &twins, &twin, err));
    if (twins > 0) {
        return err_set(err, E_EXISTS,
                       "\"%.*s\" exists already; a name that differs from it only by case is "
                       "refused",
                       STR_ARG(twin.name));
    }
    return OK;
}

static enum status settle(struct local *local, const struct publish *publish, bool chosen,
                          struct err *err)
{
    struct created created = { .name = publish->name,
                               .key = publish->key,
                               .as = &publish->next,
                               .deadline = publish->deadline };
    enum status status = created_settle(local, &created, err);
    if (status == E_CONFLICT) {
        struct err why = *err;
        return err_set(err, E_NOT_FOUND, "%s", why.msg);
    }
    TRY(status);
    return chosen ? created_settle_folder(local, &created, publish->folder, err) : OK;
}

enum status create_publish(struct local *local, struct publish *publish, bool chosen,
                           struct arena *arena, enum swap_outcome *outcome_out, struct err *err)
{
    const struct local_base *base = publish->base;
    struct err why = { 0 };
    *outcome_out = SWAP_REFUSED;
    if (chosen) {
        TRY(site_check_free(local, publish->name, publish->folder, publish_uuid(publish), err));
    }
    if (base->found && base->pointer.purge) {
        /* its tombstone, which says so too, will be gone */
        TRY(trash_purge(local, base->pointer.table.uuid, base->pointer.table.metadata_location,
                        err));
    }
    TRY(publish_write(local, publish, arena, err));
    TRY(publish_swap(local, publish, outcome_out, err));
    if (*outcome_out != SWAP_WON) {
        return OK;
    }
    enum status status = settle(local, publish, chosen, &why);
    if (status != OK && err != NULL) {
        *err = why;
    }
    return status;
}

/* --- a new one --- */

struct making {
    struct local *local;
    const struct catalog_create *create;
    enum catalog_kind kind;
    deadline_ms deadline;
    struct arena *arena; /* the caller's */
    struct str key, ns_uuid;
    struct str uuid, folder, location;
    bool chosen;                   /* the folder, by the client */
    struct buf json;               /* the document */
    struct ice_metadata *metadata; /* of a table */
};

static enum status choose_place(struct making *making, struct err *err)
{
    struct local *local = making->local;
    struct str wanted = STR_EMPTY;
    struct mint mint;
    TRY(json_get_str(making->create->request, "location", JSON_OPTIONAL, &wanted, err));
    while (wanted.len > 0 && wanted.ptr[wanted.len - 1] == '/') {
        wanted.len--;
    }
    making->chosen = wanted.len > 0;
    if (making->chosen) {
        TRY(table_name_check_new(&making->create->name, err));
        TRY(site_key(local, wanted, making->arena, &making->folder, err));
        char uuid[UUID_TEXT + 1];
        uuid4(uuid);
        making->uuid = arena_str(making->arena, str_of(uuid));
        making->location = arena_str(making->arena, wanted);
        return making->uuid.ptr == NULL || making->location.ptr == NULL ? err_no_memory(err) : OK;
    }
    if (making->create->stage) {
        TRY(mint_propose(local, &making->create->name, making->arena, &mint, err));
    } else {
        TRY(mint_new(local, &making->create->name, making->arena, &mint, err));
    }
    making->uuid = mint.uuid;
    making->folder = mint.location;
    return locate_uri(local->base.reader->locate, STR_EMPTY, mint.location, making->arena,
                      &making->location, err);
}

static enum status make_document(struct making *making, struct err *err)
{
    static const struct ice_property defaults[] = {
        /* other writers must not starve behind our group commits */
        { STR_INIT("commit.retry.num-retries"), STR_INIT("20") },
    };
    struct ice_create create = {
        .request = making->create->request,
        .uuid = making->uuid,
        .location = making->location,
        .defaults = defaults,
        .default_count = ARRAY_LEN(defaults),
        .now_ms = clock_wall_ms(making->local->clock),
    };
    if (making->kind == CATALOG_VIEW) {
        return ice_view_create(&create, &making->json, err);
    }
    TRY(ice_create_table(&create, &making->json, err));
    /* what we could not read back must not become a table */
    return ice_metadata_parse(buf_str(&making->json), &making->metadata, err);
}

static enum status require_free(const struct making *making, const struct local_base *base,
                                struct err *err)
{
    if (!base->live) {
        return OK;
    }
    return err_set(err, E_EXISTS, "%s \"%.*s\" exists already",
                   base->pointer.table.is_view ? "view" : "table",
                   STR_ARG(making->create->name.name));
}

static enum status attempt(struct making *making, struct arena *arena, enum swap_outcome *outcome,
                           struct str *uri_out, struct err *err)
{
    struct local_base base;
    TRY(rename_read_settled(making->local, making->key, making->deadline, arena, &base, err));
    TRY(require_free(making, &base, err));
    TRY(create_check(making->local, &making->create->name, arena, &making->ns_uuid, err));
    if (making->json.len == 0) {
        TRY(choose_place(making, err));
        TRY(make_document(making, err));
    }
    if (making->create->stage) {
        *outcome = SWAP_WON;
        *uri_out = STR_EMPTY;
        return making->chosen ? site_check_free(making->local, &making->create->name,
                                                making->folder, making->uuid, err)
                              : OK;
    }
    struct publish publish = {
        .name = &making->create->name,
        .key = making->key,
        .base = &base,
        .json = buf_str(&making->json),
        .metadata = making->metadata,
        .uuid = making->uuid,
        .location = making->location,
        .folder = making->folder,
        .namespace_uuid = making->ns_uuid,
        .deadline = making->deadline,
    };
    TRY(create_publish(making->local, &publish, making->chosen, arena, outcome, err));
    *uri_out = arena_str(making->arena, publish.metadata_uri);
    return uri_out->ptr == NULL ? err_no_memory(err) : OK;
}

static enum status make(struct making *making, struct str *uri_out, struct err *err)
{
    TRY(pointer_key(making->arena, making->local->warehouse, &making->create->name, &making->key,
                    err));
    for (int round = 0;; round++) {
        enum swap_outcome outcome = SWAP_REFUSED;
        struct arena arena;
        arena_init(&arena, 0);
        enum status status = attempt(making, &arena, &outcome, uri_out, err);
        arena_done(&arena);
        if (status != OK || outcome == SWAP_WON) {
            return status;
        }
        if (deadline_passed(making->deadline)) {
            return err_set(
                err, E_UNAVAILABLE,
                "\"%.*s\" is too busy: others won every race until the deadline; nothing "
                "was made",
                STR_ARG(making->create->name.name));
        }
        local_backoff(making->local, round, making->deadline);
    }
}

enum status local_create(struct catalog *catalog, enum catalog_kind kind,
                         const struct catalog_create *create, struct arena *arena,
                         struct catalog_loaded *out, struct err *err)
{
    struct making making = {
        .local = (struct local *)catalog,
        .create = create,
        .kind = kind,
        .deadline = create->deadline == 0 ? deadline_in(CREATE_TIMEOUT_MS) : create->deadline,
        .arena = arena,
    };
    struct str uri = STR_EMPTY;
    struct err own = { 0 };
    TRY(table_name_check(&create->name, err));
    buf_init(&making.json, JSON_BYTES_MAX);
    enum status status = make(&making, &uri, &own);
    if (status == OK && !making.chosen && !create->stage) {
        /* the pointer claims the folder from now on; a claim too many is swept */
        enum status ignored = mint_drop(making.local->store, making.folder, NULL);
        (void)ignored;
    }
    if (making.metadata != NULL) {
        ice_metadata_unref(making.metadata);
    }
    if (status == OK) {
        *out = (struct catalog_loaded){ .metadata_location = uri,
                                        .location = making.location,
                                        .metadata = making.json };
        return OK;
    }
    buf_done(&making.json);
    if (err != NULL) {
        *err = own;
    }
    return status;
}
