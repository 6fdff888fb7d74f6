/*
 * The door of the catalogue: arguments are checked once, then the driver does the work. What reads
 * immutable files only (catalog_files, catalog_sources) is the same for all drivers and lies in
 * files.c.
 */
#include "catalog/catalog_priv.h"

#include "catalog/reader.h"
#include "catalog/table_name.h"

enum {
    LIST_LIMIT_DEFAULT = 1000,
    LIST_LIMIT_MAX = 10000,
    APPEND_TIMEOUT_MS = 60000,
    BATCH_ID_MAX = 1024
};

enum status catalog_list(struct catalog *catalog, const struct catalog_list_opts *opts,
                         struct arena *arena, struct catalog_list *out, struct err *err)
{
    struct catalog_list_opts checked = opts == NULL ? (struct catalog_list_opts){ 0 } : *opts;
    if (checked.limit > LIST_LIMIT_MAX) {
        return err_set(err, E_INVALID, "limit is %zu, at most %d may be asked for", checked.limit,
                       LIST_LIMIT_MAX);
    }
    checked.limit = checked.limit == 0 ? LIST_LIMIT_DEFAULT : checked.limit;
    return catalog->ops->list(catalog, &checked, arena, out, err);
}

enum status catalog_find(struct catalog *catalog, const struct table_name *name, bool nocase,
                         struct arena *arena, struct table_summary *out, struct err *err)
{
    TRY(table_name_check(name, err));
    struct table_summary found;
    TRY(catalog->ops->find(catalog, name, nocase, arena, &found, err));
    if (found.is_view) {
        return err_set(err, E_NOT_FOUND, "table \"%.*s\" does not exist: it is a view",
                       STR_ARG(found.name.name));
    }
    *out = found;
    return OK;
}

enum status catalog_find_view(struct catalog *catalog, const struct table_name *name, bool nocase,
                              struct arena *arena, struct table_summary *out, struct err *err)
{
    struct table_summary found;
    TRY(table_name_check(name, err));
    enum status status = catalog->ops->find(catalog, name, nocase, arena, &found, err);
    if (status == E_NOT_FOUND || (status == OK && !found.is_view)) {
        return err_set(err, E_NOT_FOUND, "view \"%.*s\" does not exist%s", STR_ARG(name->name),
                       status == OK ? ": it is a table" : "");
    }
    TRY(status);
    *out = found;
    return OK;
}

enum status catalog_find_any(struct catalog *catalog, const struct table_name *name, bool nocase,
                             struct arena *arena, struct table_summary *out, struct err *err)
{
    TRY(table_name_check(name, err));
    return catalog->ops->find(catalog, name, nocase, arena, out, err);
}

enum status catalog_pin(struct catalog *catalog, const struct table_name *name, bool nocase,
                        const struct catalog_at *at, struct catalog_pin **out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct table_summary table;
    enum status status = catalog_find(catalog, name, nocase, &arena, &table, err);
    if (status == OK) {
        status = reader_pin_table(catalog->reader, &table, at, out, err);
    }
    arena_done(&arena);
    return status;
}

enum status catalog_pin_table(struct catalog *catalog, const struct table_summary *table,
                              const struct catalog_at *at, struct catalog_pin **out,
                              struct err *err)
{
    assert(!table->is_view);
    return reader_pin_table(catalog->reader, table, at, out, err);
}

static enum status check_append(const struct catalog_append *append, struct err *err)
{
    TRY(table_name_check(&append->name, err));
    if (append->schema == NULL) {
        return err_set(err, E_INVALID, "an append needs the schema of its files");
    }
    if (append->batch_id.len > BATCH_ID_MAX) {
        return err_set(err, E_INVALID, "the batch id has %zu bytes, at most %d are allowed",
                       append->batch_id.len, BATCH_ID_MAX);
    }
    for (size_t i = 0; i < append->file_count; i++) {
        const struct ice_data_file *file = &append->files[i];
        TRY(store_key_check_plain(file->path, err));
        if (file->content != ICE_DATA || file->record_count < 0 || file->size_bytes < 0 ||
            !str_starts(file->path, STR("wh/"))) {
            return err_set(err, E_INVALID, "\"%.*s\" cannot be appended: it is no data file",
                           STR_ARG(file->path));
        }
    }
    return OK;
}

enum status catalog_append(struct catalog *catalog, const struct catalog_append *append,
                           struct arena *arena, struct catalog_appended *out, struct err *err)
{
    TRY(check_append(append, err));
    struct catalog_append checked = *append;
    if (checked.deadline == 0) {
        checked.deadline = deadline_in(APPEND_TIMEOUT_MS);
    }
    return catalog->ops->append(catalog, &checked, arena, out, err);
}

enum status catalog_place(struct catalog *catalog, const struct table_name *name,
                          struct arena *arena, struct catalog_place *out, struct err *err)
{
    TRY(table_name_check(name, err));
    return catalog->ops->place(catalog, name, arena, out, err);
}

enum status catalog_batch(struct catalog *catalog, const struct table_name *name,
                          struct str batch_id, struct arena *arena, bool *found_out,
                          struct catalog_appended *out, struct err *err)
{
    TRY(table_name_check(name, err));
    return catalog->ops->batch(catalog, name, batch_id, arena, found_out, out, err);
}

enum status catalog_drop(struct catalog *catalog, const struct table_name *name, struct err *err)
{
    TRY(table_name_check(name, err));
    return catalog->ops->drop(catalog, CATALOG_TABLE, name, err);
}

enum status catalog_drop_view(struct catalog *catalog, const struct table_name *name,
                              struct err *err)
{
    enum status status = table_name_check(name, NULL);
    status = status == OK ? catalog->ops->drop(catalog, CATALOG_VIEW, name, err) : status;
    /* a name whose key would be too long for a store is one that no view has */
    return status == E_INVALID
               ? err_set(err, E_NOT_FOUND, "view \"%.*s\" does not exist", STR_ARG(name->name))
               : status;
}

enum status catalog_namespaces(struct catalog *catalog, struct str parent, struct arena *arena,
                               struct str **names_out, size_t *count_out, struct err *err)
{
    assert(catalog->ops->namespaces != NULL);
    return catalog->ops->namespaces(catalog, parent, arena, names_out, count_out, err);
}

enum status catalog_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                              struct catalog_namespace *out, struct err *err)
{
    assert(catalog->ops->namespace != NULL);
    return catalog->ops->namespace(catalog, ns, arena, out, err);
}

enum status catalog_change_table(struct catalog *catalog, const struct catalog_change *change,
                                 deadline_ms deadline, struct arena *arena,
                                 struct catalog_loaded *out, struct err *err)
{
    return catalog->ops->change(catalog, CATALOG_TABLE, change, deadline, arena, out, err);
}

enum status catalog_change_view(struct catalog *catalog, const struct catalog_change *change,
                                deadline_ms deadline, struct arena *arena,
                                struct catalog_loaded *out, struct err *err)
{
    return catalog->ops->change(catalog, CATALOG_VIEW, change, deadline, arena, out, err);
}

enum status catalog_upkeep(struct catalog *catalog, const struct catalog_upkeep *upkeep,
                           struct buf *report, struct err *err)
{
    TRY(table_name_check(&upkeep->name, err));
    return catalog->ops->upkeep(catalog, upkeep, report, err);
}

enum status catalog_create_table(struct catalog *catalog, const struct catalog_create *create,
                                 struct arena *arena, struct catalog_loaded *out, struct err *err)
{
    return catalog->ops->create(catalog, CATALOG_TABLE, create, arena, out, err);
}

enum status catalog_create_view(struct catalog *catalog, const struct catalog_create *create,
                                struct arena *arena, struct catalog_loaded *out, struct err *err)
{
    return create->stage ? err_set(err, E_INVALID, "a view cannot be staged")
                         : catalog->ops->create(catalog, CATALOG_VIEW, create, arena, out, err);
}

enum status catalog_rename(struct catalog *catalog, enum catalog_kind kind,
                           const struct table_name *from, const struct table_name *to,
                           bool *missing_ns_out, struct err *err)
{
    return catalog->ops->rename(catalog, kind, from, to, missing_ns_out, err);
}

enum status catalog_namespace_create(struct catalog *catalog, struct str ns,
                                     const struct ice_property *properties, size_t count,
                                     struct arena *arena, struct catalog_namespace *out,
                                     struct err *err)
{
    return catalog->ops->namespace_create(catalog, ns, properties, count, arena, out, err);
}

enum status catalog_namespace_drop(struct catalog *catalog, struct str ns, struct err *err)
{
    return catalog->ops->namespace_drop(catalog, ns, err);
}

enum status catalog_metadata_text(struct catalog *catalog, struct str location, struct buf *out,
                                  struct err *err)
{
    return reader_bytes(catalog->reader, location, out, err);
}

enum status catalog_location(struct catalog *catalog, struct str metadata_location,
                             struct arena *arena, struct str *out, struct err *err)
{
    const struct ice_metadata *metadata;
    TRY(reader_metadata(catalog->reader, metadata_location, &metadata, err));
    struct str location = metadata->location;
    while (location.len > 0 && location.ptr[location.len - 1] == '/') {
        location.len--;
    }
    *out = arena_str(arena, location);
    ice_metadata_unref(metadata);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

enum status catalog_ready(struct catalog *catalog, struct err *err)
{
    return catalog->ops->ready(catalog, err);
}

void catalog_close(struct catalog *catalog)
{
    if (catalog != NULL) {
        catalog->ops->close(catalog);
    }
}
