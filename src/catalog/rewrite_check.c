/*
 * What another commit may have done that a rewrite cannot go over.
 *
 * Rows and deletes are told from those that were there by their sequence numbers, which every
 * commit of version 2 gives. A file that was rewritten as it was (compaction) keeps its number and
 * counts as no new row; if it is one that the rewrite needs, it is missing, which is a conflict of
 * its own.
 *
 *                                   append      delete of rows    delete of rows
 *      meanwhile                    of rows     in files that go  in files that are marked
 *      serializable                 conflict    conflict          conflict
 *      snapshot, UPDATE and MERGE   fine        conflict          conflict
 *      snapshot, DELETE             fine        conflict          fine: a row is gone once
 *      compaction                   fine        by position       -
 *
 * A delete by value that comes beside a compaction counts for the new files as it did for the old
 * ones, if it counts for the partition that they are in.
 */
#include "catalog/rewrite_check.h"

#include "catalog/reader.h"

static enum status check_table(const struct catalog_rewrite *rewrite, const struct catalog_pin *pin,
                               struct err *err)
{
    struct str name = rewrite->name.name;
    if (!str_eq_nocase(pin->table.uuid, rewrite->uuid)) {
        return err_set(err, E_CONFLICT,
                       "table \"%.*s\" was dropped and made again while the statement ran",
                       STR_ARG(name));
    }
    if (pin->metadata->current_schema_id != rewrite->schema_id) {
        return err_set(err, E_CONFLICT,
                       "the schema of table \"%.*s\" has changed while the statement ran",
                       STR_ARG(name));
    }
    return OK;
}

/** Does a delete by value take the same rows from the new files as from those that go? */
static bool follows(const struct catalog_rewrite *rewrite, const struct ice_metadata *metadata,
                    const struct ice_data_file *file)
{
    if (!rewrite->same_rows || file->content != ICE_EQUALITY_DELETES) {
        return false;
    }
    bool everywhere = false;
    for (size_t i = 0; i < metadata->spec_count; i++) {
        everywhere = everywhere || (metadata->specs[i].id == file->partition_spec_id &&
                                    metadata->specs[i].field_count == 0);
    }
    return everywhere || (rewrite->spec_id >= 0 && rewrite->spec_id == file->partition_spec_id);
}

static enum status check_deletes(const struct catalog_rewrite *rewrite,
                                 const struct ice_metadata *metadata,
                                 const struct catalog_files *files, int64_t since,
                                 const struct map *removed, const struct map *marked,
                                 struct err *err)
{
    bool strict = rewrite->no_new_rows || rewrite->no_new_deletes;
    for (size_t i = 0; i < files->delete_count; i++) {
        const struct ice_data_file *file = files->deletes[i].file;
        if (file->sequence_number <= since || follows(rewrite, metadata, file)) {
            continue;
        }
        struct str target = ice_delete_target(file);
        bool of_removed = target.ptr == NULL ? removed->count > 0
                                             : map_get(removed, target) != NULL;
        bool of_marked = target.ptr == NULL ? marked->count > 0 : map_get(marked, target) != NULL;
        if (of_removed || (strict && of_marked)) {
            return err_set(err, E_CONFLICT,
                           "rows of table \"%.*s\" that this statement changes were deleted by "
                           "another one while it ran",
                           STR_ARG(rewrite->name.name));
        }
    }
    return OK;
}

static enum status check_files(const struct catalog_rewrite *rewrite,
                               const struct catalog_files *files, int64_t since,
                               const struct map *marked, struct err *err)
{
    size_t there = 0;
    for (size_t i = 0; i < files->count; i++) {
        const struct ice_data_file *file = files->files[i].file;
        if (rewrite->no_new_rows && file->sequence_number > since) {
            return err_set(err, E_CONFLICT, "rows came into table \"%.*s\" while the statement ran",
                           STR_ARG(rewrite->name.name));
        }
        there += map_get(marked, file->path) != NULL ? 1 : 0;
    }
    return there == marked->count
               ? OK
               : err_set(err, E_CONFLICT,
                         "files of table \"%.*s\" that this statement has read were removed by "
                         "another commit",
                         STR_ARG(rewrite->name.name));
}

static enum status check_since(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                               const struct catalog_pin *pin, int64_t since,
                               const struct map *removed, struct map *marked, struct arena *arena,
                               struct err *err)
{
    static char any;
    struct catalog_files files;
    for (size_t i = 0; i < rewrite->marked_count; i++) {
        if (map_put(marked, rewrite->marked[i], &any, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    TRY(catalog_files(catalog, pin, arena, &files, err));
    TRY(check_files(rewrite, &files, since, marked, err));
    return check_deletes(rewrite, pin->metadata, &files, since, removed, marked, err);
}

enum status rewrite_check(struct catalog *catalog, const struct catalog_rewrite *rewrite,
                          const struct catalog_pin *pin, const struct map *removed,
                          struct arena *arena, struct err *err)
{
    TRY(check_table(rewrite, pin, err));
    int64_t now = pin->snapshot == NULL ? -1 : pin->snapshot->id;
    if (now == rewrite->snapshot_id || rewrite->removes_all) {
        return OK;
    }
    int64_t since = 0;
    if (rewrite->snapshot_id >= 0) {
        const struct ice_snapshot *base = ice_metadata_snapshot(pin->metadata,
                                                                rewrite->snapshot_id);
        if (base == NULL || now < 0 ||
            !ice_metadata_is_ancestor(pin->metadata, rewrite->snapshot_id, now)) {
            return err_set(err, E_CONFLICT,
                           "table \"%.*s\" was set back to an earlier snapshot while the statement "
                           "ran",
                           STR_ARG(rewrite->name.name));
        }
        since = base->sequence_number;
    }
    struct map marked;
    map_init(&marked);
    enum status status = check_since(catalog, rewrite, pin, since, removed, &marked, arena, err);
    map_done(&marked);
    return status;
}
