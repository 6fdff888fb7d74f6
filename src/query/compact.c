/*
 * CALL rewrite_data_files: the parent's side. It says which files are read together, and commits
 * what comes of them.
 *
 *   compact  {"ns","name","args":{..},"chosen":[ordinal,..]?}
 *            {"schema","parts","order"?,"target":bytes,"commits":bool,"report":{..},
 *             "bins":[[spreads, splits, [ordinal,..]],..]}
 *   commit   as of any statement that writes, with the verb "compact" and the "bin" of each file:
 *            {"report":{..}}
 *
 * The rows of a bin that stays in its partition are reported with "group", its number; those of a
 * bin that spreads with their parts.
 *
 * Bounds: a run reads at most max_bytes (64 GiB unless asked otherwise) into 4,096 bins, and leaves
 * the rest to the next one. All that it writes lies in spools until its one commit. The parent
 * holds the entries of the table's files, as for any statement that names the table.
 *
 * When somebody has deleted rows of files that go, or the files themselves, before the commit, the
 * bins of those files are left out and the others land: nobody's delete is lost, and steady writers
 * cannot keep a table from being compacted. When nothing is left the statement runs again.
 */
#include "base/map.h"
#include "base/mem.h"
#include "catalog/rewrite.h"
#include "engine/partition_sql.h"
#include "query/call.h"
#include "query/compact_plan.h"
#include "query/write_priv.h"

#define TARGET_BYTES ((int64_t)128 * 1024 * 1024)
#define MAX_BYTES ((int64_t)64 * 1024 * 1024 * 1024)
/* Iceberg's defaults for both, but for the number of delete files: there it has none */
#define DELETE_SHARE 0.3
enum { MIN_INPUT_FILES = 5, DELETE_FILES = 5, LAND_ATTEMPTS_MAX = 8, TARGET_BYTES_MIN = 1024 };

struct compact {
    struct query_pin *pin;
    struct compact_opts opts;
    struct compact_input in;
    struct compact_plan plan;
    bool dry_run, sorts;
    bool *gone;     /* [in.count], scratch */
    bool *needless; /* [in.delete_count], scratch */
};

struct report {
    int64_t rewritten, added, bytes, removed_deletes, failed;
    int64_t snapshot_id; /* -1: none */
};

/** "report": as that of any procedure (call.h). */
static void write_report(struct json_writer *w, const struct report *report)
{
    static const struct call_column columns[] = {
        { "rewritten_data_files_count", "INTEGER" }, { "added_data_files_count", "INTEGER" },
        { "rewritten_bytes_count", "BIGINT" },       { "removed_delete_files_count", "INTEGER" },
        { "failed_data_files_count", "INTEGER" },    { "snapshot_id", "BIGINT" },
    };
    const int64_t numbers[] = { report->rewritten, report->added, report->bytes,
                                report->removed_deletes, report->failed };
    jw_kv_obj(w, "report");
    call_columns(w, columns, ARRAY_LEN(columns));
    jw_kv_arr(w, "rows");
    jw_arr_begin(w);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        jw_i64(w, numbers[i]);
    }
    if (report->snapshot_id >= 0) {
        jw_i64(w, report->snapshot_id);
    } else {
        jw_null(w);
    }
    jw_arr_end(w);
    jw_arr_end(w);
    jw_obj_end(w);
}

/* --- what is asked --- */

static enum status check_names(yyjson_val *args, struct err *err)
{
    static const char *const known[] = {
        "where",   "target_file_size",      "min_input_files",        "max_bytes",
        "sort",    "delete_file_threshold", "delete_ratio_threshold", "rewrite_all",
        "dry_run",
    };
    yyjson_obj_iter iter = yyjson_obj_iter_with(args);
    for (yyjson_val *key = yyjson_obj_iter_next(&iter); key != NULL;
         key = yyjson_obj_iter_next(&iter)) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
            found = found || yyjson_equals_str(key, known[i]);
        }
        if (!found) {
            return err_set(err, E_INVALID, "rewrite_data_files has no argument \"%s\"",
                           yyjson_get_str(key));
        }
    }
    return OK;
}

/** write.target-file-size-bytes, where the table has it. */
static int64_t target_of(const struct query_pin *pin)
{
    int64_t bytes = 0;
    struct str text = ice_metadata_property(pin->pin->metadata,
                                            STR("write.target-file-size-bytes"));
    return text.ptr != NULL && str_to_i64(text, &bytes) && bytes >= TARGET_BYTES_MIN ? bytes
                                                                                     : TARGET_BYTES;
}

static enum status read_opts(struct compact *c, yyjson_val *args, struct err *err)
{
    struct compact_opts *opts = &c->opts;
    int64_t min_input = MIN_INPUT_FILES, delete_files = DELETE_FILES;
    *opts = (struct compact_opts){ .target_bytes = target_of(c->pin),
                                   .max_bytes = MAX_BYTES,
                                   .delete_share_min = DELETE_SHARE };
    TRY(check_names(args, err));
    TRY(json_get_i64(args, "target_file_size", JSON_OPTIONAL, &opts->target_bytes, err));
    TRY(json_get_i64(args, "max_bytes", JSON_OPTIONAL, &opts->max_bytes, err));
    TRY(json_get_i64(args, "min_input_files", JSON_OPTIONAL, &min_input, err));
    TRY(json_get_i64(args, "delete_file_threshold", JSON_OPTIONAL, &delete_files, err));
    TRY(json_get_double(args, "delete_ratio_threshold", JSON_OPTIONAL, &opts->delete_share_min,
                        err));
    TRY(json_get_bool(args, "rewrite_all", JSON_OPTIONAL, &opts->all, err));
    c->sorts = true;
    TRY(json_get_bool(args, "dry_run", JSON_OPTIONAL, &c->dry_run, err));
    TRY(json_get_bool(args, "sort", JSON_OPTIONAL, &c->sorts, err));
    if (opts->target_bytes < TARGET_BYTES_MIN || opts->target_bytes > MAX_BYTES) {
        return err_set(err, E_INVALID, "target_file_size is from %d to %lld bytes",
                       (int)TARGET_BYTES_MIN, (long long)MAX_BYTES);
    }
    if (min_input < 1 || min_input > INT32_MAX || delete_files < 1 || delete_files > INT32_MAX ||
        opts->max_bytes < 1 || !(opts->delete_share_min > 0)) {
        return err_set(err, E_INVALID,
                       "min_input_files, max_bytes, delete_file_threshold and "
                       "delete_ratio_threshold are above 0");
    }
    opts->min_input_files = (uint32_t)min_input;
    opts->delete_files_min = (uint32_t)delete_files;
    return OK;
}

/* --- the table in numbers --- */

struct numbers {
    struct map partitions, paths; /* the value is a number, plus 1 */
    struct buf key;
};

static void numbers_done(struct numbers *n)
{
    map_done(&n->partitions);
    map_done(&n->paths);
    buf_done(&n->key);
}

/** A new partition gets the next number. */
static enum status partition_of(struct numbers *n, const struct ice_data_file *file, uint32_t *out,
                                struct err *err)
{
    buf_clear(&n->key);
    if (buf_append_bytes(&n->key, &file->partition_spec_id, sizeof(file->partition_spec_id)) !=
            OK ||
        buf_append(&n->key, file->partition_key) != OK) {
        return err_no_memory(err);
    }
    uintptr_t known = (uintptr_t)map_get(&n->partitions, buf_str(&n->key));
    if (known == 0) {
        known = n->partitions.count + 1;
        if (map_put(&n->partitions, buf_str(&n->key), (void *)known, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    *out = (uint32_t)known - 1;
    return OK;
}

static enum status number_files(struct query_write *write, struct compact *c, struct numbers *n,
                                struct err *err)
{
    const struct catalog_files *files = &c->pin->files;
    struct compact_file *out = arena_array(&write->arena, files->count + 1, sizeof(*out));
    if (out == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < files->count; i++) {
        const struct ice_data_file *file = files->files[i].file;
        out[i] = (struct compact_file){ .size_bytes = file->size_bytes,
                                        .rows = file->record_count,
                                        .sequence = file->sequence_number,
                                        .old_spec = file->partition_spec_id != write->spec->id };
        TRY(partition_of(n, file, &out[i].partition, err));
        if (files->delete_count > 0 &&
            map_put(&n->paths, file->path, (void *)(uintptr_t)(i + 1), NULL) != OK) {
            return err_no_memory(err);
        }
    }
    c->in.files = out;
    c->in.count = files->count;
    return OK;
}

static enum status number_deletes(struct query_write *write, struct compact *c, struct numbers *n,
                                  struct err *err)
{
    const struct catalog_files *files = &c->pin->files;
    size_t of_data = n->partitions.count;
    struct compact_delete *out = arena_array(&write->arena, files->delete_count + 1, sizeof(*out));
    if (out == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < files->delete_count; i++) {
        const struct ice_data_file *file = files->deletes[i].file;
        struct str target = ice_delete_target(file);
        uint32_t partition = 0;
        bool local = true;
        out[i] = (struct compact_delete){ .by_value = file->content == ICE_EQUALITY_DELETES,
                                          .rows = file->record_count,
                                          .sequence = file->sequence_number,
                                          .file = -1 };
        TRY(partition_of(n, file, &partition, err));
        if (out[i].by_value) {
            TRY(query_deletes_are_local(c->pin->pin->metadata, file->partition_spec_id, &local,
                                        err));
        } else if (target.ptr != NULL) {
            uintptr_t known = (uintptr_t)map_get(&n->paths, target);
            out[i].file = known == 0 ? (int64_t)files->count : (int64_t)known - 1;
        } else {
            local = partition < of_data; /* else its writer has meant files of another partition */
        }
        out[i].partition = local ? (int64_t)partition : -1;
    }
    c->in.deletes = out;
    c->in.delete_count = files->delete_count;
    c->in.partition_count = (uint32_t)n->partitions.count;
    return OK;
}

/** Those that the statement's condition has found; all where it has none. */
static enum status choose(struct compact *c, yyjson_val *args, struct err *err)
{
    struct compact_file *files = (struct compact_file *)c->in.files;
    yyjson_val *list = NULL, *item;
    size_t i, max;
    TRY(json_get_arr(args, "chosen", JSON_OPTIONAL, &list, err));
    for (size_t k = 0; list == NULL && k < c->in.count; k++) {
        files[k].is_chosen = true;
    }
    yyjson_arr_foreach(list, i, max, item)
    {
        uint64_t ordinal = yyjson_get_uint(item);
        if (ordinal >= c->in.count) {
            return err_set(err, E_INTERNAL, "the engine speaks of a file that the table has not");
        }
        files[ordinal].is_chosen = true;
    }
    return OK;
}

/** c->needless: the delete files that go with the files of those bins. */
static enum status find_needless(struct query_write *write, struct compact *c, const bool *left_out,
                                 size_t *count_out, struct err *err)
{
    memset(c->gone, 0, c->in.count * sizeof(*c->gone));
    for (size_t b = 0; b < c->plan.count; b++) {
        for (size_t i = 0; i < c->plan.bins[b].count && !left_out[b]; i++) {
            c->gone[c->plan.bins[b].files[i]] = true;
        }
    }
    return compact_needless(&write->arena, &c->in, c->gone, c->needless, count_out, err);
}

/** The bins as the groups of the statement: new files have the partition of the old ones. */
static enum status make_groups(struct query_write *write, const struct compact *c, struct err *err)
{
    write->groups = mem_zalloc((c->plan.count + 1) * sizeof(*write->groups));
    if (write->groups == NULL) {
        return err_no_memory(err);
    }
    for (size_t b = 0; b < c->plan.count; b++) {
        const struct catalog_file *first = &c->pin->files.files[c->plan.bins[b].files[0]];
        TRY(write_partition_of(write, first, &write->groups[b], err));
        write->groups[b].file_count = c->plan.bins[b].count;
    }
    write->group_count = write->group_cap = c->plan.count;
    return OK;
}

static enum status make_plan(struct query *query, struct compact *c, yyjson_val *args,
                             struct err *err)
{
    struct query_write *write = &query->write;
    AUTO(numbers_done) struct numbers n = { 0 };
    map_init(&n.partitions);
    map_init(&n.paths);
    buf_init(&n.key, 0);
    TRY(query_pin_files(query, c->pin, err));
    TRY(number_files(write, c, &n, err));
    TRY(number_deletes(write, c, &n, err));
    TRY(choose(c, args, err));
    c->gone = arena_array(&write->arena, c->in.count + 1, sizeof(*c->gone));
    c->needless = arena_array(&write->arena, c->in.delete_count + 1, sizeof(*c->needless));
    if (c->gone == NULL || c->needless == NULL) {
        return err_no_memory(err);
    }
    TRY(compact_plan(&write->arena, &c->in, &c->opts, &c->plan, err));
    return c->dry_run ? OK : make_groups(write, c, err);
}

static void write_bins(struct json_writer *w, const struct compact *c)
{
    jw_kv_arr(w, "bins");
    for (size_t b = 0; b < c->plan.count && !c->dry_run; b++) {
        const struct compact_bin *bin = &c->plan.bins[b];
        jw_arr_begin(w);
        jw_bool(w, bin->spreads);
        jw_bool(w, bin->splits);
        jw_arr_begin(w);
        for (size_t i = 0; i < bin->count; i++) {
            jw_u64(w, bin->files[i]);
        }
        jw_arr_end(w);
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

static enum status write_plan(struct query *query, const struct compact *c, size_t needless,
                              struct buf *reply, struct err *err)
{
    const struct ice_metadata *metadata = c->pin->pin->metadata;
    const struct report report = {
        .rewritten = c->dry_run ? (int64_t)c->plan.file_count : 0,
        .added = c->dry_run ? (int64_t)c->plan.outputs : 0,
        .bytes = c->dry_run ? c->plan.bytes : 0,
        .removed_deletes = c->dry_run ? (int64_t)needless : 0,
        .snapshot_id = -1,
    };
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, metadata->schema);
    enum status kind = c->sorts ? write_split(&w, &query->write, metadata, err)
                                : partition_sql_write(&w, metadata->schema, query->write.spec, err);
    if (kind == OK) {
        jw_kv_i64(&w, "target", c->opts.target_bytes);
        jw_kv_bool(&w, "commits", !c->dry_run && c->plan.count + needless > 0);
        write_report(&w, &report);
        write_bins(&w, c);
        jw_obj_end(&w);
    }
    return write_end(&w, kind, err);
}

static void forget_plan(struct query_write *write)
{
    mem_free(write->groups);
    write->groups = NULL;
    write->group_count = write->group_cap = 0;
    write->compact = NULL;
}

enum status compact_answer(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err)
{
    struct query_write *write = &query->write;
    struct compact *c = ARENA_NEW(&write->arena, struct compact);
    yyjson_val *asked = NULL;
    size_t needless = 0;
    if (c == NULL) {
        return err_no_memory(err);
    }
    forget_plan(write); /* of an engine that has died */
    TRY(json_get_obj(args, "args", JSON_REQUIRED, &asked, err));
    TRY(write_find_pin(query, args, &c->pin, err));
    TRY(ice_metadata_check_written(c->pin->pin->metadata, c->pin->pin->table.name.name, err));
    TRY(write_find_spec(write, c->pin->pin->metadata, err));
    TRY(read_opts(c, asked, err));
    TRY(make_plan(query, c, args, err));
    bool *none = arena_array(&write->arena, c->plan.count + 1, sizeof(*none));
    if (none == NULL) {
        return err_no_memory(err);
    }
    TRY(find_needless(write, c, none, &needless, err));
    write->compact = c;
    return write_plan(query, c, needless, reply, err);
}

/* --- the commit --- */

/** One go at it. */
struct landing {
    struct committing *c;
    struct compact *compact;
    bool *left_out;          /* by bin */
    struct map live_deletes; /* URIs of delete files that are there; empty: those that were read */
    bool looked;             /* at the table as it is now */
    struct report report;
};

/** The files that came of bins that are left in, and what goes with them. */
static enum status make_rewrite(struct landing *l, struct catalog_rewrite *out, struct err *err)
{
    struct committing *c = l->c;
    struct compact *compact = l->compact;
    struct arena *arena = &c->query->write.arena;
    const struct catalog_files *files = &compact->pin->files;
    size_t needless = 0, count = compact->plan.file_count + 1;
    struct ice_data_file *added = arena_array(arena, c->added_count + 1, sizeof(*added));
    struct ice_partition_record *records = arena_array(arena, c->added_count + 1, sizeof(*records));
    struct str *removed = arena_array(arena, count, sizeof(*removed));
    struct str *deletes = arena_array(arena, compact->in.delete_count + 1, sizeof(*deletes));
    if (added == NULL || records == NULL || removed == NULL || deletes == NULL) {
        return err_no_memory(err);
    }
    out->added = added;
    out->partitions = records;
    out->removed = removed;
    out->removed_deletes = deletes;
    out->spec_id = c->query->write.spec->id;
    l->report = (struct report){ .snapshot_id = -1 };
    for (size_t i = 0; i < c->added_count; i++) {
        if (!l->left_out[c->bins[i]]) {
            added[out->added_count] = c->added[i];
            records[out->added_count++] = c->records[i];
        }
    }
    for (size_t b = 0; b < compact->plan.count; b++) {
        const struct compact_bin *bin = &compact->plan.bins[b];
        if (l->left_out[b]) {
            l->report.failed += (int64_t)bin->count;
            continue;
        }
        for (size_t i = 0; i < bin->count; i++) {
            removed[out->removed_count++] = files->files[bin->files[i]].file->path;
        }
        l->report.bytes += bin->bytes;
        out->spec_id = bin->spreads ? -1 : out->spec_id;
    }
    TRY(find_needless(&c->query->write, compact, l->left_out, &needless, err));
    for (size_t i = 0; i < compact->in.delete_count; i++) {
        struct str uri = files->deletes[i].file->path;
        if (compact->needless[i] && (!l->looked || map_get(&l->live_deletes, uri) != NULL)) {
            deletes[out->removed_delete_count++] = uri;
        }
    }
    l->report.rewritten = (int64_t)out->removed_count;
    l->report.added = (int64_t)out->added_count;
    l->report.removed_deletes = (int64_t)out->removed_delete_count;
    return OK;
}

/** Has one of these deletes that are new rows of the bin's files? */
static bool is_hit(const struct compact *compact, const struct compact_bin *bin,
                   const struct ice_data_file *deletes)
{
    struct str target = ice_delete_target(deletes);
    for (size_t i = 0; i < bin->count; i++) {
        const struct ice_data_file *file = compact->pin->files.files[bin->files[i]].file;
        bool same = file->partition_spec_id == deletes->partition_spec_id &&
                    str_eq(file->partition_key, deletes->partition_key);
        if (deletes->content == ICE_EQUALITY_DELETES
                ? same || bin->spreads
                : (target.ptr == NULL ? same : str_eq(target, file->path))) {
            return true;
        }
    }
    return false;
}

/** Leave out the bins that somebody has changed since. */
static enum status leave_out(struct landing *l, const struct catalog_files *now, size_t *count_out,
                             struct err *err)
{
    static char any;
    const struct compact *compact = l->compact;
    int64_t since = compact->pin->pin->snapshot->sequence_number;
    AUTO(map_done) struct map live;
    map_init(&live);
    map_done(&l->live_deletes); /* of the look before */
    map_init(&l->live_deletes);
    for (size_t i = 0; i < now->count; i++) {
        if (map_put(&live, now->files[i].file->path, &any, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    for (size_t i = 0; i < now->delete_count; i++) {
        if (map_put(&l->live_deletes, now->deletes[i].file->path, &any, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    l->looked = true;
    for (size_t b = 0; b < compact->plan.count; b++) {
        const struct compact_bin *bin = &compact->plan.bins[b];
        bool out = l->left_out[b];
        for (size_t i = 0; i < bin->count && !out; i++) {
            out = map_get(&live, compact->pin->files.files[bin->files[i]].file->path) == NULL;
        }
        for (size_t i = 0; i < now->delete_count && !out; i++) {
            const struct ice_data_file *file = now->deletes[i].file;
            out = file->sequence_number > since && is_hit(compact, bin, file);
        }
        *count_out += out && !l->left_out[b] ? 1 : 0;
        l->left_out[b] = out;
    }
    return OK;
}

/** After a conflict. *count_out: so many bins are left out that were in. */
static enum status look_again(struct landing *l, size_t *count_out, struct err *err)
{
    struct catalog *catalog = l->c->query->service->opts.catalog;
    struct catalog_pin *pin = NULL;
    struct catalog_files now;
    struct arena arena;
    *count_out = 0;
    TRY(catalog_pin(catalog, &l->compact->pin->pin->table.name, false, NULL, &pin, err));
    arena_init(&arena, 0);
    enum status status = catalog_files(catalog, pin, &arena, &now, err);
    status = status == OK ? leave_out(l, &now, count_out, err) : status;
    arena_done(&arena);
    catalog_unpin(pin);
    return status;
}

static bool any_left(const struct landing *l)
{
    for (size_t b = 0; b < l->compact->plan.count; b++) {
        if (!l->left_out[b]) {
            return true;
        }
    }
    return l->compact->plan.count == 0; /* then delete files go alone */
}

static enum status land(struct landing *l, struct err *err)
{
    const struct committing *c = l->c;
    const struct catalog_pin *pin = l->compact->pin->pin;
    for (unsigned i = 0;; i++) {
        struct catalog_rewrite rewrite = { .name = pin->table.name,
                                           .operation = "replace",
                                           .uuid = pin->table.uuid,
                                           .snapshot_id = pin->snapshot->id,
                                           .schema_id = pin->metadata->current_schema_id,
                                           .same_rows = true,
                                           .deadline = write_deadline(c->query) };
        TRY(make_rewrite(l, &rewrite, err));
        atomic_store(&c->query->write.committing, true);
        enum status status = catalog_rewrite(c->query->service->opts.catalog, &rewrite,
                                             &l->report.snapshot_id, err);
        if (status != E_CONFLICT || i + 1 == LAND_ATTEMPTS_MAX) {
            return status;
        }
        atomic_store(&c->query->write.committing, false);
        size_t more = 0;
        TRY(look_again(l, &more, err));
        if ((more == 0 && l->report.removed_deletes == 0) || !any_left(l)) {
            return status; /* it is about the table as a whole, or nothing is left */
        }
    }
}

/** Files of bins that have not landed. Deleting is tidiness: what stays is an orphan. */
static void drop_left_out(const struct landing *l)
{
    const struct committing *c = l->c;
    for (size_t i = 0; i < c->added_count; i++) {
        if (l->left_out[c->bins[i]]) {
            enum status ignored = store_delete(c->query->service->opts.store, c->added[i].path,
                                               NULL);
            (void)ignored;
        }
    }
}

/** No row is lost on the way, and none comes: what a bin's files hold is what came of them, less
 * the deleted rows. */
static enum status check_rows(const struct committing *c, const struct compact *compact,
                              struct err *err)
{
    struct arena *arena = &c->query->write.arena;
    int64_t *rows = arena_array(arena, compact->plan.count + 1, sizeof(*rows));
    int64_t *deleted = arena_array(arena, compact->plan.count + 1, sizeof(*deleted));
    if (rows == NULL || deleted == NULL) {
        return err_no_memory(err);
    }
    TRY(compact_deleted_max(arena, &compact->in, &compact->plan, deleted, err));
    for (size_t i = 0; i < c->added_count; i++) {
        rows[c->bins[i]] += c->added[i].record_count;
    }
    for (size_t b = 0; b < compact->plan.count; b++) {
        int64_t before = 0;
        for (size_t i = 0; i < compact->plan.bins[b].count; i++) {
            before += compact->in.files[compact->plan.bins[b].files[i]].rows;
        }
        if (rows[b] > before || before - rows[b] > deleted[b]) {
            return err_set(err, E_INTERNAL, "%lld rows became %lld: nothing is committed",
                           (long long)before, (long long)rows[b]);
        }
    }
    return OK;
}

static enum status check_bins(const struct committing *c, const struct compact *compact,
                              struct err *err)
{
    for (size_t i = 0; i < c->added_count; i++) {
        if (c->bins[i] < 0 || (uint64_t)c->bins[i] >= compact->plan.count) {
            return err_set(err, E_INTERNAL, "a data file of no bin");
        }
    }
    return OK;
}

enum status compact_commit(struct committing *c, struct buf *reply, struct err *err)
{
    struct landing l = { .c = c, .compact = c->query->write.compact };
    struct json_writer w;
    if (l.compact == NULL || l.compact->pin != c->pin || c->pin->pin->snapshot == NULL) {
        return err_set(err, E_INTERNAL, "no compaction was asked for");
    }
    l.left_out = arena_array(&c->query->write.arena, l.compact->plan.count + 1,
                             sizeof(*l.left_out));
    if (l.left_out == NULL) {
        return err_no_memory(err);
    }
    TRY(check_bins(c, l.compact, err));
    TRY(check_rows(c, l.compact, err));
    map_init(&l.live_deletes);
    enum status status = land(&l, err);
    map_done(&l.live_deletes);
    TRY(status);
    drop_left_out(&l);
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    write_report(&w, &l.report);
    jw_obj_end(&w);
    return write_end(&w, OK, err);
}
