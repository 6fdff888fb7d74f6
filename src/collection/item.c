/*
 * Changes and single items: what the caller gives is checked whole here, before it waits for
 * anybody.
 */
#include "collection/write.h"
#include "vector/rows.h"

static enum status check_id(struct str id, size_t position, struct err *err)
{
    const char *what = id.len == 0                            ? "is empty"
                       : id.len > COLL_ID_MAX                 ? "has more than 512 bytes"
                       : memchr(id.ptr, '\0', id.len) != NULL ? "has a NUL in it"
                       : !str_is_utf8(id)                     ? "is no UTF-8"
                                                              : NULL;
    return what == NULL ? OK : err_set(err, E_INVALID, "item %zu: its id %s", position, what);
}

static enum status check_metadata(struct str metadata, struct err *err)
{
    if (metadata.len > COLL_METADATA_MAX) {
        return err_set(err, E_INVALID, "its metadata has %zu bytes; the most is %d", metadata.len,
                       COLL_METADATA_MAX);
    }
    enum status status = metadata.len > 0 ? meta_check(metadata, err) : OK;
    if (status == E_INVALID) {
        (void)err_context(err, "its metadata");
    }
    return status;
}

static enum status check_items(const struct coll_spec *spec, const struct coll_item *items,
                               size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        TRY(check_id(items[i].id, i, err));
        const char *refused = row_refused(items[i].vector, spec->dimension, spec->metric);
        if (refused != NULL) {
            return err_set(err, E_INVALID, "item %zu: its vector %s", i, refused);
        }
        enum status status = check_metadata(items[i].metadata, err);
        if (status == E_INVALID) {
            (void)err_context(err, "item %zu", i);
        }
        TRY(status);
    }
    return OK;
}

enum status coll_add(struct coll_service *service, struct str name, const struct coll_item *items,
                     size_t count, enum coll_add_mode mode, struct coll_added *out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    TRY(use_begin(service, name, &use, err));
    TRY(check_items(&use.coll->spec, items, count, err));
    if (count == 0) {
        *out = (struct coll_added){ .length = atomic_load(&use.body->length) };
        return OK;
    }
    struct write write = { .kind = WRITE_ADD, .items = items, .count = count, .mode = mode };
    TRY(write_run(use.coll, &write, err));
    *out = (struct coll_added){ .added = write.added,
                                .updated = write.updated,
                                .length = write.length };
    return OK;
}

enum status coll_patch(struct coll_service *service, struct str name, struct str id,
                       struct str metadata, bool merge, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    TRY(use_begin(service, name, &use, err));
    if (metadata.len == 0) {
        return err_set(err, E_INVALID, "the metadata is missing");
    }
    enum status status = check_metadata(metadata, err);
    if (status == E_INVALID) {
        (void)err_context(err, "id \"%.*s\"", STR_ARG(id));
    }
    TRY(status);
    struct write write = { .kind = WRITE_PATCH, .id = id, .metadata = metadata, .merge = merge };
    return write_run(use.coll, &write, err);
}

enum status coll_delete(struct coll_service *service, struct str name,
                        const struct coll_which *which, uint64_t *deleted_out, struct err *err)
{
    AUTO(use_done) struct coll_use use = { 0 };
    struct arena arena;
    struct filter *filter = NULL;
    if ((which->ids != NULL) + (which->filter.len > 0) + which->all != 1) {
        return err_set(err, E_INVALID, "give ids, a filter, or \"all\": true");
    }
    TRY(use_begin(service, name, &use, err));
    arena_init(&arena, 0);
    enum status status = OK;
    if (which->filter.len > 0) {
        status = filter_parse(which->filter, &arena, &filter, err);
    }
    if (status == OK && filter != NULL && filter_is_empty(filter)) {
        status = err_set(err, E_INVALID, "the filter lets all through: say \"all\": true");
    }
    if (status == OK) {
        struct write write = { .kind = which->all       ? WRITE_CLEAR
                                       : filter != NULL ? WRITE_DELETE_FILTER
                                                        : WRITE_DELETE,
                               .ids = which->ids,
                               .id_count = which->id_count,
                               .filter = filter };
        status = write_run(use.coll, &write, err);
        *deleted_out = status == OK ? write.deleted : *deleted_out;
    }
    arena_done(&arena);
    return status;
}
