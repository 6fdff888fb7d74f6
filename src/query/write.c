/*
 * The parent's side of a statement that writes: spools for its rows, what becomes of the files that
 * lose rows, and the commit.
 *
 * A statement is an attempt on the snapshot that it has pinned. When another commit has made it
 * impossible (E_CONFLICT), it is made again from the start on the table as it is then: who has sent
 * it hears of conflicts only when they do not end (query.c).
 *
 * Invariant: files that were put for a commit are deleted again only when it has surely not landed.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include "catalog/rewrite.h"
#include "engine/file_stats.h"
#include "engine/partition_sql.h"
#include "iceberg/shape.h"
#include "query/call.h"
#include "query/ddl.h"
#include "query/query_priv.h"
#include "query/write_priv.h"

enum {
    COMMIT_TIMEOUT_MS = 60000,
    ARGS_BYTES_MAX = 256 * 1024 * 1024,
};

void query_write_init(struct query_write *write)
{
    pthread_mutex_init(&write->lock, NULL);
    arena_init(&write->arena, 1024ul * 1024 * 1024);
    map_init(&write->group_numbers);
    write->sort_order_id = -1;
}

void query_write_done(struct query_write *write)
{
    spools_done(&write->spools);
    mem_free(write->groups);
    map_done(&write->group_numbers);
    arena_done(&write->arena);
    pthread_mutex_destroy(&write->lock);
    *write = (struct query_write){ .landed = false };
}

enum status write_end(struct json_writer *w, enum status kind, struct err *err)
{
    if (kind != OK) {
        return kind; /* it stopped in the middle */
    }
    return json_writer_end(w) == OK ? OK : err_no_memory(err);
}

/* --- target --- */

enum status write_find_pin(struct query *query, yyjson_val *args, struct query_pin **out,
                           struct err *err)
{
    struct str ns, name;
    const struct catalog_at at = { .kind = CATALOG_AT_CURRENT, .ref = STR_EMPTY };
    TRY(json_get_str(args, "ns", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(args, "name", JSON_REQUIRED, &name, err));
    return query_pin_table(query, ns, name, &at, out, err);
}

/** The spec that new files get; its fields are the parts that rows are spread by. */
enum status write_find_spec(struct query_write *write, const struct ice_metadata *metadata,
                            struct err *err)
{
    TRY(ice_partition_specs(&write->arena, metadata, &write->specs, err));
    write->spec = ice_partition_spec_by_id(&write->specs, metadata->default_spec_id);
    return write->spec != NULL ? OK
                               : err_set(err, E_CORRUPT, "the table has no partition spec %d",
                                         (int)metadata->default_spec_id);
}

enum status write_split(struct json_writer *w, struct query_write *write,
                        const struct ice_metadata *metadata, struct err *err)
{
    struct ice_sort_order order;
    struct str fields;
    int32_t id = 0;
    bool sorted = false;
    TRY(partition_sql_write(w, metadata->schema, write->spec, err));
    TRY(ice_sort_order_default(&write->arena, metadata, &id, &fields, err));
    TRY(ice_sort_order_parse(&write->arena, id, fields, &order, err));
    TRY(sort_sql_write(w, metadata->schema, &order, &sorted, err));
    write->sort_order_id = sorted ? id : -1;
    return OK;
}

static enum status target(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    struct query_pin *pin = NULL;
    struct str verb;
    TRY(json_get_str(args, "verb", JSON_REQUIRED, &verb, err));
    TRY(write_find_pin(query, args, &pin, err));
    TRY(ice_metadata_check_written(pin->pin->metadata, pin->pin->table.name.name, err));
    if (query->batch_id.len > 0 && !str_eq(query->upserts_into, pin->pin->table.uuid)) {
        return err_set(err, E_CONFLICT, "table \"%.*s\" was dropped and made again meanwhile",
                       STR_ARG(pin->pin->table.name.name));
    }
    const struct ice_metadata *metadata = pin->pin->metadata;
    TRY(write_find_spec(&query->write, metadata, err));
    bool makes = !str_eq(verb, STR("delete")) && !str_eq(verb, STR("truncate"));
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, metadata->schema);
    enum status kind = makes ? write_split(&w, &query->write, metadata, err) : OK;
    jw_obj_end(&w);
    return write_end(&w, kind, err);
}

/* --- create --- */

static enum status read_new_schema(struct query_write *write, yyjson_val *args, struct err *err)
{
    yyjson_val *schema = NULL;
    struct ice_schema asked;
    int32_t last_id = 0;
    TRY(json_get_obj(args, "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(&write->arena, schema, &asked, err));
    return ice_schema_assign_ids(&write->arena, &asked, &last_id, &write->new_schema, err);
}

/** What the table that is made is to be like, and how its rows are spread and sorted by that. */
static enum status write_new_split(struct json_writer *w, struct query_write *write,
                                   yyjson_val *request, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct ice_partition_spec *spec = ARENA_NEW(&write->arena, struct ice_partition_spec);
    struct ice_sort_order order;
    bool sorted = false;
    if (spec == NULL) {
        return err_no_memory(err);
    }
    TRY(ddl_write_shape(&write->arena, &write->new_schema, request, &write->shape, err));
    TRY(write->shape.len == 0 ? OK : json_parse(write->shape, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    TRY(ice_shape_spec(&write->arena, &write->new_schema, root, spec, err));
    TRY(ice_shape_order(&write->arena, root, &order, err));
    write->spec = spec;
    TRY(partition_sql_write(w, &write->new_schema, spec, err));
    TRY(sort_sql_write(w, &write->new_schema, &order, &sorted, err));
    write->sort_order_id = sorted ? order.id : -1;
    return OK;
}

static enum status create(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    struct query_write *write = &query->write;
    struct catalog *catalog = query->service->opts.catalog;
    struct table_name name;
    struct str ns, text;
    yyjson_val *request = NULL;
    bool exists = false, if_not_exists = false;
    struct json_writer w;
    TRY(json_get_obj(args, "request", JSON_REQUIRED, &request, err));
    TRY(json_get_str(request, "namespace", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(request, "name", JSON_REQUIRED, &text, err));
    TRY(json_get_bool(request, "if_not_exists", JSON_OPTIONAL, &if_not_exists, err));
    TRY(query_new_name(catalog, &write->arena, ns, text, &name, err));
    TRY(query_table_exists(catalog, &name, &write->arena, &exists, err));
    exists = exists && !write->landed; /* else it is ours, and the engine asks once more */
    if (exists && !if_not_exists) {
        return err_set(err, E_EXISTS, "table \"%.*s\" exists already", STR_ARG(name.name));
    }
    TRY(read_new_schema(write, args, err));
    TRY(catalog_place(catalog, &name, &write->arena, &write->place, err));
    write->new_name = name;
    write->if_not_exists = if_not_exists;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_kv_bool(&w, "exists", exists);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &write->new_schema);
    enum status kind = exists ? OK : write_new_split(&w, write, request, err);
    jw_obj_end(&w);
    return write_end(&w, kind, err);
}

/* --- spools --- */

static enum status make_spool(void *ctx, int *fd_out, struct err *err)
{
    return store_spool(ctx, fd_out, err);
}

static enum status give_spool(struct query *query, yyjson_val *args, struct buf *reply, int *fd_out,
                              struct err *err)
{
    return spools_answer(&query->write.spools, args, make_spool, query->service->opts.store, reply,
                         fd_out, err);
}

/* --- files --- */

/** The file's spec, and write->order of its manifest. */
static enum status read_order(struct query_write *write, const struct catalog_file *file,
                              const struct ice_partition_spec **spec_out, struct err *err)
{
    int32_t id = file->file->partition_spec_id;
    *spec_out = ice_partition_spec_by_id(&write->specs, id);
    if (*spec_out == NULL) {
        return err_set(err, E_CORRUPT, "the table has no partition spec %d", (int)id);
    }
    if (write->ordered != file->manifest) {
        TRY(ice_partition_order(&write->arena, file->manifest, *spec_out, &write->order, err));
        write->ordered = file->manifest;
    }
    return OK;
}

enum status write_partition_of(struct query_write *write, const struct catalog_file *file,
                               struct write_group *out, struct err *err)
{
    const struct ice_partition_spec *spec = NULL;
    TRY(read_order(write, file, &spec, err));
    *out = (struct write_group){ .spec_id = spec->id };
    return spec->field_count == 0 ? OK
                                  : ice_partition_record_of(&write->arena, spec, &write->order,
                                                            file->file, &out->record, err);
}

/** The group of a file's partition, made if need be. */
static enum status group_of(struct query_write *write, const struct catalog_file *file, size_t *out,
                            struct err *err)
{
    AUTO(buf_done) struct buf key;
    const struct ice_partition_spec *spec = NULL;
    buf_init(&key, 0);
    TRY(read_order(write, file, &spec, err));
    const struct ice_partition_order *order = &write->order;
    if (buf_append_bytes(&key, &spec->id, sizeof(spec->id)) != OK ||
        buf_append_bytes(&key, order->ids, order->count * sizeof(*order->ids)) != OK ||
        buf_append(&key, file->file->partition_key) != OK) {
        return err_no_memory(err);
    }
    uintptr_t known = (uintptr_t)map_get(&write->group_numbers, buf_str(&key));
    if (known == 0) {
        if (write->group_count == write->group_cap) {
            size_t cap = write->group_cap == 0 ? 4 : write->group_cap * 2;
            struct write_group *more = mem_realloc(write->groups, cap * sizeof(*more));
            if (more == NULL) {
                return err_no_memory(err);
            }
            write->groups = more;
            write->group_cap = cap;
        }
        TRY(write_partition_of(write, file, &write->groups[write->group_count], err));
        known = ++write->group_count;
        if (map_put(&write->group_numbers, buf_str(&key), (void *)known, NULL) != OK) {
            return err_no_memory(err);
        }
    }
    *out = (size_t)known - 1;
    write->groups[*out].file_count++;
    write->groups[*out].uri = file->file->path;
    return OK;
}

/** A property that is "write.<verb>.<what>". */
static struct str write_property(const struct query_pin *pin, struct str verb, const char *what)
{
    char name[64];
    snprintf(name, sizeof(name), "write.%.*s.%s", STR_ARG(verb), what);
    return ice_metadata_property(pin->pin->metadata, str_of(name));
}

/** Merge on read, or (as Iceberg has it where nothing is said) copy on write? */
static bool marks_rows(const struct query_pin *pin, struct str verb)
{
    return str_eq(write_property(pin, verb, "mode"), STR("merge-on-read"));
}

static enum status write_fate(struct query *query, const struct query_pin *pin, struct str verb,
                              yyjson_val *entry, struct json_writer *w, struct err *err)
{
    uint64_t ordinal = yyjson_get_uint(yyjson_arr_get(entry, 0));
    int64_t rows = yyjson_get_sint(yyjson_arr_get(entry, 1));
    size_t group = 0;
    if (ordinal >= pin->files.count) {
        return err_set(err, E_INTERNAL, "the engine speaks of a file that the table has not");
    }
    const struct ice_data_file *file = pin->files.files[ordinal].file;
    bool whole = pin->files.delete_count == 0 && rows == file->record_count;
    TRY(whole ? OK : group_of(&query->write, &pin->files.files[ordinal], &group, err));
    bool joins = !whole && query->write.groups[group].spec_id == query->write.spec->id;
    jw_arr_begin(w);
    jw_str(w, whole ? STR("remove") : marks_rows(pin, verb) ? STR("mark") : STR("rewrite"));
    jw_str(w, file->path);
    jw_u64(w, group);
    jw_bool(w, joins);
    jw_arr_end(w);
    return OK;
}

static enum status files(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    struct query_pin *pin = NULL;
    struct str verb;
    yyjson_val *list = NULL, *entry;
    size_t i, max;
    struct json_writer w;
    enum status kind = OK;
    TRY(json_get_str(args, "verb", JSON_REQUIRED, &verb, err));
    TRY(json_get_arr(args, "files", JSON_REQUIRED, &list, err));
    TRY(write_find_pin(query, args, &pin, err));
    TRY(query_pin_files(query, pin, err));
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_kv_arr(&w, "files");
    yyjson_arr_foreach(list, i, max, entry)
    {
        kind = kind == OK ? write_fate(query, pin, verb, entry, &w, err) : kind;
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return write_end(&w, kind, err);
}

/* --- commit --- */

/** The file is of the partition of a group. */
static void go_with(const struct committing *c, const struct write_group *group,
                    struct ice_data_file *file)
{
    c->records[c->added_count] = group->record;
    file->partition_spec_id = group->spec_id;
    file->partition_avro = group->record.avro;
}

/** A delete file has the partition of the files that it speaks of; of a single one it says so. */
static enum status fill_deletes(const struct committing *c, yyjson_val *report,
                                struct ice_data_file *file, struct err *err)
{
    uint64_t number = 0;
    TRY(json_get_u64(report, "group", JSON_REQUIRED, &number, err));
    if (number >= c->query->write.group_count) {
        return err_set(err, E_INTERNAL, "a delete file of no partition");
    }
    const struct write_group *group = &c->query->write.groups[number];
    file->content = ICE_POSITION_DELETES;
    go_with(c, group, file);
    if (group->file_count != 1) {
        return OK;
    }
    file->referenced_data_file = group->uri;
    for (size_t i = 0; i < file->column_count; i++) {
        if (file->columns[i].field_id == ICE_FIELD_FILE_PATH) {
            file->columns[i].lower = file->columns[i].upper = group->uri; /* whole, never cut */
        }
    }
    return OK;
}

/** New rows are of the partition that their parts say. */
static enum status fill_partition(struct committing *c, yyjson_val *report,
                                  struct ice_data_file *file, struct err *err)
{
    const struct ice_partition_spec *spec = c->query->write.spec;
    struct ice_partition_record *record = &c->records[c->added_count];
    yyjson_val *parts = NULL;
    file->partition_spec_id = spec == NULL ? -1 : spec->id;
    if (spec == NULL || spec->field_count == 0) {
        return OK;
    }
    TRY(json_get_arr(report, "parts", JSON_REQUIRED, &parts, err));
    struct str *texts = arena_array(&c->query->write.arena, spec->field_count, sizeof(*texts));
    if (texts == NULL || yyjson_arr_size(parts) != spec->field_count) {
        return texts == NULL ? err_no_memory(err)
                             : err_set(err, E_INTERNAL, "a data file of no partition");
    }
    for (size_t i = 0; i < spec->field_count; i++) {
        yyjson_val *part = yyjson_arr_get(parts, i);
        texts[i] = yyjson_is_str(part)
                       ? arena_str(&c->query->write.arena,
                                   str_from(yyjson_get_str(part), yyjson_get_len(part)))
                       : (struct str){ NULL, 0 };
        TRY(yyjson_is_str(part) && texts[i].ptr == NULL ? err_no_memory(err) : OK);
    }
    c->parts[c->added_count] = texts;
    TRY(ice_partition_record(&c->query->write.arena, spec, texts, record, err));
    file->partition_avro = record->avro;
    return OK;
}

/** Rows that stay where they are are of the partition of their old file. */
static enum status fill_data(struct committing *c, yyjson_val *report, struct ice_data_file *file,
                             struct err *err)
{
    uint64_t number = 0;
    file->sort_order_id = c->query->write.sort_order_id;
    if (yyjson_obj_get(report, "group") == NULL) {
        return fill_partition(c, report, file, err);
    }
    TRY(json_get_u64(report, "group", JSON_REQUIRED, &number, err));
    if (number >= c->query->write.group_count) {
        return err_set(err, E_INTERNAL, "a data file of no partition");
    }
    go_with(c, &c->query->write.groups[number], file);
    return OK;
}

static enum status put_report(struct committing *c, yyjson_val *report, bool deletes,
                              struct err *err)
{
    struct query *query = c->query;
    struct query_write *write = &query->write;
    struct ice_data_file *file = &c->added[c->added_count];
    uint64_t spool = 0;
    int fd = -1;
    char name[UUID_TEXT + 1];
    struct store_info info;
    TRY(json_get_u64(report, "spool", JSON_REQUIRED, &spool, err));
    TRY(spools_fd(&write->spools, spool, &fd, err));
    TRY(engine_file_report(&write->arena, deletes ? ice_delete_schema() : c->schema, report, file,
                           err));
    TRY(deletes ? fill_deletes(c, report, file, err) : fill_data(c, report, file, err));
    if (file->record_count == 0) {
        return OK; /* a file of no rows is no file */
    }
    uuid4(name);
    file->path = arena_printf(&write->arena, "%.*s/data/%s%s.parquet", STR_ARG(c->location), name,
                              deletes ? "-deletes" : "");
    if (file->path.ptr == NULL) {
        return err_no_memory(err);
    }
    const struct store_cond cond = { .if_absent = true, .opaque_etag = true };
    c->bins[c->added_count] = -1;
    TRY(json_get_i64(report, "bin", JSON_OPTIONAL, &c->bins[c->added_count], err));
    c->added_count++; /* a lost answer may have put it */
    TRY(store_put_fd(query->service->opts.store, file->path, fd, true, &cond, &info, err));
    file->size_bytes = (int64_t)info.size;
    return OK;
}

static enum status put_all(struct committing *c, yyjson_val *args, struct err *err)
{
    yyjson_val *data = NULL, *deletes = NULL, *report;
    size_t i, max;
    TRY(json_get_arr(args, "data", JSON_REQUIRED, &data, err));
    TRY(json_get_arr(args, "deletes", JSON_REQUIRED, &deletes, err));
    size_t count = yyjson_arr_size(data) + yyjson_arr_size(deletes) + 1;
    c->added = arena_array(&c->query->write.arena, count, sizeof(*c->added));
    c->records = arena_array(&c->query->write.arena, count, sizeof(*c->records));
    c->parts = arena_array(&c->query->write.arena, count, sizeof(*c->parts));
    c->bins = arena_array(&c->query->write.arena, count, sizeof(*c->bins));
    if (c->added == NULL || c->records == NULL || c->parts == NULL || c->bins == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(data, i, max, report)
    {
        TRY(put_report(c, report, false, err));
    }
    yyjson_arr_foreach(deletes, i, max, report)
    {
        TRY(put_report(c, report, true, err));
    }
    return OK;
}

/** The URIs of data files, by their places in the pin. */
static enum status read_uris(struct committing *c, yyjson_val *args, const char *name,
                             struct str **out, size_t *count_out, struct err *err)
{
    yyjson_val *list = NULL, *place;
    size_t i, max;
    TRY(json_get_arr(args, name, JSON_REQUIRED, &list, err));
    *out = arena_array(&c->query->write.arena, yyjson_arr_size(list) + 1, sizeof(**out));
    if (*out == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, place)
    {
        uint64_t ordinal = yyjson_get_uint(place);
        if (c->pin == NULL || ordinal >= c->pin->files.count) {
            return err_set(err, E_INTERNAL, "the engine speaks of a file that the table has not");
        }
        (*out)[(*count_out)++] = c->pin->files.files[ordinal].file->path;
    }
    return OK;
}

deadline_ms write_deadline(const struct query *query)
{
    return query->deadline > 0 ? query->deadline : deadline_in(COMMIT_TIMEOUT_MS);
}

/** INSERT and CREATE TABLE .. AS: an append like any other, in a group with those that wait. */
static enum status commit_append(struct committing *c, int64_t *snapshot_out, struct err *err)
{
    struct query *query = c->query;
    struct catalog_appended appended;
    char id[UUID_TEXT + 1];
    uuid4(id);
    struct catalog_append append = {
        .name = c->pin == NULL ? query->write.new_name : c->pin->pin->table.name,
        .batch_id = arena_printf(&query->write.arena, "once-%s", id),
        .schema = c->schema,
        .files = c->added,
        .file_count = c->added_count,
        .create = c->pin == NULL,
        .only_new = c->pin == NULL,
        .place = &query->write.place,
        .expected_schema_id = c->schema->schema_id,
        .expected_spec_id = query->write.spec->id,
        .parts = query->write.spec->field_count > 0 ? c->parts : NULL,
        .part_count = query->write.spec->field_count,
        .shape = query->write.shape,
        .deadline = write_deadline(query),
    };
    if (append.batch_id.ptr == NULL) {
        return err_no_memory(err);
    }
    enum status status = catalog_append(query->service->opts.catalog, &append, &query->write.arena,
                                        &appended, err);
    if (status == E_CONFLICT && c->pin == NULL && !query->write.if_not_exists) {
        return err_set(err, E_EXISTS, "table \"%.*s\" was made by somebody else meanwhile",
                       STR_ARG(append.name.name));
    }
    TRY(status);
    *snapshot_out = appended.snapshot_id;
    return OK;
}

static const char *operation_of(const struct committing *c)
{
    bool data = false, deletes = false;
    for (size_t i = 0; i < c->added_count; i++) {
        data = data || c->added[i].content == ICE_DATA;
        deletes = deletes || c->added[i].content != ICE_DATA;
    }
    return !data && !deletes                           ? "delete"
           : data && !deletes && c->removed_count == 0 ? "append"
                                                       : "overwrite";
}

static enum status commit_rewrite(struct committing *c, bool all, int64_t *snapshot_out,
                                  struct err *err)
{
    const struct query_pin *pin = c->pin;
    struct str isolation = write_property(pin, c->verb, "isolation-level");
    /* rows that came meanwhile may have the keys of an upsert */
    bool serializable = !str_eq(isolation, STR("snapshot")) || c->query->batch_id.len > 0;
    const struct catalog_rewrite rewrite = {
        .name = pin->pin->table.name,
        .operation = operation_of(c),
        .uuid = pin->pin->table.uuid,
        .snapshot_id = pin->pin->snapshot == NULL ? -1 : pin->pin->snapshot->id,
        .schema_id = pin->pin->metadata->current_schema_id,
        .added = c->added,
        .partitions = c->records,
        .added_count = c->added_count,
        .removed = c->removed,
        .removed_count = c->removed_count,
        .removes_all = all,
        .marked = c->marked,
        .marked_count = c->marked_count,
        .no_new_rows = serializable && !all,
        .no_new_deletes = serializable || !str_eq(c->verb, STR("delete")),
        .batch_id = c->query->batch_id,
        .batch_rows = c->rows,
        .deadline = write_deadline(c->query),
    };
    return catalog_rewrite(c->query->service->opts.catalog, &rewrite, snapshot_out, err);
}

/** There is nothing to do: the table as it was is the answer. */
static bool is_nothing(const struct committing *c, bool all)
{
    return c->pin != NULL && c->added_count == 0 && c->removed_count == 0 &&
           !(all && c->pin->pin->snapshot != NULL);
}

/** What an error of a commit says about the statement. */
static void judge_commit(const struct committing *c, enum status status)
{
    bool surely_not = status == E_CONFLICT || status == E_NOT_FOUND || status == E_EXISTS ||
                      status == E_INVALID || status == E_UNSUPPORTED;
    if (surely_not) {
        atomic_store(&c->query->write.committing, false);
        atomic_store(&c->query->write.conflict, status == E_CONFLICT);
    }
}

static enum status commit_files(struct committing *c, bool all, int64_t *snapshot_out,
                                struct err *err)
{
    *snapshot_out = c->pin == NULL || c->pin->pin->snapshot == NULL ? -1
                                                                    : c->pin->pin->snapshot->id;
    if (is_nothing(c, all)) {
        return OK;
    }
    atomic_store(&c->query->write.committing, true);
    bool in_group = c->pin == NULL || str_eq(c->verb, STR("insert"));
    enum status status = in_group ? commit_append(c, snapshot_out, err)
                                  : commit_rewrite(c, all, snapshot_out, err);
    judge_commit(c, status);
    return status;
}

/** Deleting is tidiness: what stays is an orphan for the sweep. */
static void take_back(const struct committing *c)
{
    for (size_t i = 0; i < c->added_count; i++) {
        enum status ignored = store_delete(c->query->service->opts.store, c->added[i].path, NULL);
        (void)ignored;
    }
}

static enum status find_place(struct committing *c, yyjson_val *args, struct err *err)
{
    struct query *query = c->query;
    struct query_write *write = &query->write;
    if (str_eq(c->verb, STR("create_as"))) {
        c->schema = &write->new_schema;
        c->location = write->place.location_key;
        return c->location.ptr != NULL ? OK : err_set(err, E_INTERNAL, "no table was asked for");
    }
    TRY(write_find_pin(query, args, &c->pin, err));
    c->schema = c->pin->pin->metadata->schema;
    if (write->spec == NULL) {
        return err_set(err, E_INTERNAL, "no table was asked for");
    }
    TRY(catalog_place(query->service->opts.catalog, &c->pin->pin->table.name, &write->arena,
                      &write->place, err));
    if (!write->place.exists || !str_eq(write->place.uuid, c->pin->pin->table.uuid)) {
        atomic_store(&write->conflict, true);
        return err_set(err, E_CONFLICT, "table \"%.*s\" was dropped while the statement ran",
                       STR_ARG(c->pin->pin->table.name.name));
    }
    c->location = write->place.location_key;
    return OK;
}

/** The snapshot; who upserts tells its client of the files. */
static enum status answer_commit(const struct committing *c, int64_t snapshot_id, struct buf *reply,
                                 struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("snapshot_id"));
    if (snapshot_id < 0) {
        jw_null(&w);
    } else {
        jw_i64(&w, snapshot_id);
    }
    if (c->query->batch_id.len > 0) {
        jw_kv_arr(&w, "files");
        for (size_t i = 0; i < c->added_count; i++) {
            if (c->added[i].content == ICE_DATA) {
                jw_obj_begin(&w);
                jw_kv_str(&w, "key", c->added[i].path);
                jw_kv_i64(&w, "size", c->added[i].size_bytes);
                jw_kv_i64(&w, "rows", c->added[i].record_count);
                jw_obj_end(&w);
            }
        }
        jw_arr_end(&w);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status commit(struct query *query, yyjson_val *args, struct buf *reply, struct err *err)
{
    struct committing c = { .query = query };
    bool all = false;
    int64_t snapshot_id = -1;
    TRY(json_get_str(args, "verb", JSON_REQUIRED, &c.verb, err));
    TRY(json_get_bool(args, "all", JSON_OPTIONAL, &all, err));
    TRY(json_get_i64(args, "rows", JSON_OPTIONAL, &c.rows, err));
    TRY(find_place(&c, args, err));
    TRY(read_uris(&c, args, "remove", &c.removed, &c.removed_count, err));
    TRY(read_uris(&c, args, "mark", &c.marked, &c.marked_count, err));
    bool compacts = str_eq(c.verb, STR("compact"));
    enum status status = put_all(&c, args, err);
    if (status == OK && compacts) {
        status = compact_commit(&c, reply, err);
        judge_commit(&c, status);
    } else if (status == OK) {
        status = commit_files(&c, all, &snapshot_id, err);
    }
    if (status != OK) {
        if (!atomic_load(&query->write.committing)) {
            take_back(&c);
        }
        return status;
    }
    if (compacts) {
        return OK; /* it has said what it did */
    }
    return answer_commit(&c, snapshot_id, reply, err);
}

/* --- the calls --- */

static enum status request(struct query *query, yyjson_val *args, struct buf *reply,
                           struct err *err)
{
    struct catalog *catalog = query->service->opts.catalog;
    if (yyjson_equals_str(yyjson_obj_get(args, "do"), "call")) {
        return query_call(catalog, args, write_deadline(query), reply, err);
    }
    TRY(query_ddl(catalog, args, write_deadline(query), err));
    return buf_append(reply, STR("{}")) == OK ? OK : err_no_memory(err);
}

/** An engine that died behind its commit is started again by the pool, and asks once more. */
static enum status once(struct query *query, struct str name, yyjson_val *args, struct buf *reply,
                        struct err *err)
{
    struct query_write *write = &query->write;
    if (write->landed) {
        return buf_append(reply, write->reply) == OK ? OK : err_no_memory(err);
    }
    if (atomic_load(&write->committing)) {
        return err_set(err, E_UNAVAILABLE, "the outcome of an earlier attempt is unknown");
    }
    if (str_eq(name, STR("commit"))) {
        TRY(commit(query, args, reply, err));
    } else {
        atomic_store(&write->committing, true);
        enum status status = request(query, args, reply, err);
        atomic_store(&write->committing, status == E_UNAVAILABLE || status == E_TIMEOUT);
        TRY(status);
    }
    write->landed = true;
    write->reply = arena_str(&write->arena, buf_str(reply));
    return OK;
}

static enum status answer(struct query *query, struct str name, yyjson_val *args, struct buf *reply,
                          int *fd_out, bool *known_out, struct err *err)
{
    *known_out = true;
    if (str_eq(name, STR("target"))) {
        return target(query, args, reply, err);
    }
    if (str_eq(name, STR("create"))) {
        return create(query, args, reply, err);
    }
    if (str_eq(name, STR("spool"))) {
        return give_spool(query, args, reply, fd_out, err);
    }
    if (str_eq(name, STR("files"))) {
        return files(query, args, reply, err);
    }
    if (str_eq(name, STR("compact"))) {
        return compact_answer(query, args, reply, err);
    }
    if (str_eq(name, STR("commit")) || str_eq(name, STR("request"))) {
        return once(query, name, args, reply, err);
    }
    *known_out = false;
    return OK;
}

/** Questions that are too long for a message lie in a spool. */
static enum status read_long(const struct query_write *write, uint64_t number, yyjson_doc **doc_out,
                             struct err *err)
{
    AUTO(buf_done) struct buf text;
    struct stat info;
    size_t got = 0;
    int fd = -1;
    buf_init(&text, ARGS_BYTES_MAX);
    TRY(spools_fd(&write->spools, number, &fd, err));
    if (fstat(fd, &info) != 0) {
        return err_set(err, E_INTERNAL, "a spool cannot be looked at");
    }
    char *into = buf_reserve(&text, (size_t)info.st_size);
    if (into == NULL) {
        return err_no_memory(err);
    }
    TRY(io_pread(fd, into, (size_t)info.st_size, 0, &got, err));
    text.len += got;
    return json_parse(buf_str(&text), doc_out, err);
}

static bool is_begin(struct str name)
{
    return str_eq(name, STR("target")) || str_eq(name, STR("create")) ||
           str_eq(name, STR("compact")) || str_eq(name, STR("request"));
}

enum status query_write_answer(struct query *query, struct str name, yyjson_val *args,
                               struct buf *reply, int *fd_out, bool *known_out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct query_write *write = &query->write;
    yyjson_val *number = yyjson_obj_get(args, "in_spool");
    enum status status = OK;
    *known_out = true;
    if (!query->service->opts.writes && is_begin(name)) {
        return err_set(err, E_DENIED, "this server only reads (queryd.read_only)");
    }
    pthread_mutex_lock(&write->lock);
    if (number != NULL) {
        status = read_long(write, yyjson_get_uint(number), &doc, err);
        args = yyjson_doc_get_root(doc);
    }
    status = status == OK ? answer(query, name, args, reply, fd_out, known_out, err) : status;
    pthread_mutex_unlock(&write->lock);
    return status;
}
