/*
 * Rows of a statement that writes as files in spools: one file, or one for each partition and
 * writer, as DuckDB's COPY makes them, and what is reported of each.
 */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "base/map.h"
#include "engine/child_write_priv.h"

enum { ARGS_MAX = 16 * 1024 /* of a question; a longer one goes by a spool */ };

static enum status ask_plainly(struct writing *w, const char *name, struct str args, int *fd_out,
                               yyjson_doc **doc_out, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    buf_init(&reply, WRITE_REPLY_MAX);
    TRY(child_call(w->job, name, args, &reply, fd_out, err));
    return json_parse(buf_str(&reply), doc_out, err);
}

/* --- what rows are spread and sorted by --- */

static enum status read_texts(struct arena *arena, yyjson_val *list, const struct str **out,
                              struct err *err)
{
    size_t i, max;
    yyjson_val *sql;
    struct str *texts = arena_array(arena, yyjson_arr_size(list) + 1, sizeof(*texts));
    if (texts == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, sql)
    {
        TRY(child_keep_text(arena, str_from(yyjson_get_str(sql), yyjson_get_len(sql)), &texts[i],
                            err));
    }
    *out = texts;
    return OK;
}

enum status write_read_split(struct writing *w, yyjson_val *root, struct err *err)
{
    yyjson_val *parts = NULL, *order = NULL;
    struct duck_write_split split = { 0 };
    TRY(json_get_arr(root, "parts", JSON_OPTIONAL, &parts, err));
    TRY(json_get_arr(root, "order", JSON_OPTIONAL, &order, err));
    TRY(read_texts(w->arena, parts, &split.sql, err));
    TRY(read_texts(w->arena, order, &split.order, err));
    split.count = yyjson_arr_size(parts);
    split.order_count = yyjson_arr_size(order);
    w->split = split;
    return OK;
}

/* --- spools --- */

/** Where a COPY writes to. */
struct place {
    struct writing *w;
    bool is_folder;
    bool spreads; /* its files tell their parts */
    char name[32], path[48];
    int64_t number; /* of the one spool */
    int fd;         /* of the one spool, beside the one that lakefs has; -1: none */
    /* Of a folder: */
    pthread_mutex_t lock;
    struct map numbers; /* guarded by lock; of each path, plus 1 */
};

/** `number` below 0: a new one, else that one once more. */
static enum status ask_spool(struct writing *w, int64_t number, int64_t *number_out, int *fd_out,
                             struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    char args[48] = "{}";
    *fd_out = -1;
    if (number >= 0) {
        snprintf(args, sizeof(args), "{\"number\":%lld}", (long long)number);
    }
    enum status status = ask_plainly(w, "spool", str_of(args), fd_out, &doc, err);
    status = status == OK
                 ? json_get_i64(yyjson_doc_get_root(doc), "spool", JSON_REQUIRED, number_out, err)
                 : status;
    if (status == OK && *fd_out < 0) {
        status = err_set(err, E_INTERNAL, "no descriptor came with a spool");
    }
    if (status != OK) {
        fd_done(fd_out);
    }
    return status;
}

enum status write_to_spool(struct writing *w, struct str text, int64_t *number_out, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    TRY(ask_spool(w, -1, number_out, &fd, err));
    return io_pwrite_full(fd, text.ptr, text.len, 0, err);
}

enum status write_ask(struct writing *w, const char *name, struct str args, int *fd_out,
                      yyjson_doc **doc_out, struct err *err)
{
    int64_t number = 0;
    char place[48];
    if (args.len <= ARGS_MAX) {
        return ask_plainly(w, name, args, fd_out, doc_out, err);
    }
    TRY(write_to_spool(w, args, &number, err));
    snprintf(place, sizeof(place), "{\"in_spool\":%lld}", (long long)number);
    return ask_plainly(w, name, str_of(place), fd_out, doc_out, err);
}

/** A path of the folder is created, on one of DuckDB's threads. */
static enum status create_in_folder(void *ctx, struct str path, int *fd_out, struct err *err)
{
    struct place *place = ctx;
    int64_t number = 0;
    void *before = NULL;
    TRY(ask_spool(place->w, -1, &number, fd_out, err));
    pthread_mutex_lock(&place->lock);
    enum status status = map_put(&place->numbers, path, (void *)(uintptr_t)(number + 1), &before);
    pthread_mutex_unlock(&place->lock);
    if (status == OK && before != NULL) { /* the rows of the first one would be lost */
        status = err_set(err, E_UNSUPPORTED, "two partitions have the same path \"%.*s\"",
                         STR_ARG(path));
    } else if (status != OK) {
        status = err_no_memory(err);
    }
    if (status != OK) {
        fd_done(fd_out);
    }
    return status;
}

static void place_done(struct place *place)
{
    fd_done(&place->fd);
    map_done(&place->numbers);
    pthread_mutex_destroy(&place->lock);
}

/** place_done whatever comes. */
static enum status open_place(struct writing *w, bool spreads, struct place *place, struct err *err)
{
    bool is_folder = spreads || w->cut_bytes > 0;
    *place = (struct place){ .w = w, .is_folder = is_folder, .spreads = spreads, .fd = -1 };
    pthread_mutex_init(&place->lock, NULL);
    map_init(&place->numbers);
    if (is_folder) {
        snprintf(place->name, sizeof(place->name), "folder%u", w->folders++);
    } else {
        TRY(ask_spool(w, -1, &place->number, &place->fd, err));
        snprintf(place->name, sizeof(place->name), "w%lld", (long long)place->number);
    }
    snprintf(place->path, sizeof(place->path), "spool://%s", place->name);
    const struct lakefs_folder folder = { .create = create_in_folder, .ctx = place };
    return is_folder ? lakefs_add_folder(w->job->lakefs, str_of(place->name), folder, err)
                     : lakefs_add_output(w->job->lakefs, str_of(place->name), dup(place->fd), err);
}

/* --- reports --- */

/** The values of the parts that a file's rows have, as text. */
static void write_parts(struct json_writer *json, yyjson_val *row, size_t count)
{
    yyjson_val *keys = yyjson_obj_get(row, "partition_keys");
    jw_kv_arr(json, "parts");
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), DUCK_WRITE_PART "%zu", i);
        yyjson_val *value = yyjson_obj_get(keys, name);
        if (yyjson_is_str(value)) {
            jw_str(json, str_from(yyjson_get_str(value), yyjson_get_len(value)));
        } else {
            jw_null(json);
        }
    }
    jw_arr_end(json);
}

/** Its spool, and a descriptor to read its end by. */
static enum status find_file(struct place *place, yyjson_val *row, int64_t *number_out, int *fd_out,
                             struct err *err)
{
    *number_out = place->number;
    if (!place->is_folder) {
        *fd_out = place->fd;
        return OK;
    }
    struct str name;
    TRY(json_get_str(row, "filename", JSON_REQUIRED, &name, err));
    uintptr_t number = (uintptr_t)map_get(&place->numbers, name);
    if (number == 0) {
        return err_set(err, E_INTERNAL, "a file \"%.*s\" that nobody has made", STR_ARG(name));
    }
    return ask_spool(place->w, (int64_t)number - 1, number_out, fd_out, err);
}

static enum status write_report(struct place *place, yyjson_val *row,
                                const struct ice_schema *schema, int64_t group, struct buf *list,
                                struct err *err)
{
    struct json_writer json;
    int64_t number = 0, rows = 0;
    int fd = -1;
    TRY(json_get_i64(row, "count", JSON_REQUIRED, &rows, err));
    TRY(find_file(place, row, &number, &fd, err));
    if (list->len > 0 && buf_append_char(list, ',') != OK) {
        return err_no_memory(err);
    }
    json_writer_init(&json, list);
    jw_obj_begin(&json);
    jw_kv_i64(&json, "spool", number);
    if (group >= 0) {
        jw_kv_i64(&json, "group", group);
    }
    if (place->w->bin > 0) {
        jw_kv_i64(&json, "bin", place->w->bin - 1);
    }
    if (place->spreads) {
        write_parts(&json, row, place->w->split.count);
    }
    if (place->is_folder) {
        fd_done(&place->fd);
        place->fd = fd; /* closed with the next one, or in the end */
    }
    enum status status = parquet_report(&json, schema, row, fd, err);
    TRY(status); /* the writer stopped in the middle */
    jw_obj_end(&json);
    place->w->rows_written += group < 0 ? rows : 0;
    return json_writer_end(&json) == OK ? OK : err_no_memory(err);
}

/** What COPY has answered, a line for each file. */
static enum status write_reports(struct place *place, struct duck_result *result,
                                 const struct ice_schema *schema, int64_t group, struct buf *list,
                                 struct err *err)
{
    AUTO(buf_done) struct buf rows;
    buf_init(&rows, WRITE_REPLY_MAX);
    TRY(parquet_copy_row(result, &rows, err));
    struct str left = str_trim(buf_str(&rows));
    while (left.len > 0) {
        AUTO(json_doc_done) yyjson_doc *doc = NULL;
        size_t end = str_find_char(left, '\n');
        struct str line = end == SIZE_MAX ? left : str_from(left.ptr, end);
        left = end == SIZE_MAX ? STR_EMPTY : str_skip(left, end + 1);
        TRY(json_parse(line, &doc, err));
        TRY(write_report(place, yyjson_doc_get_root(doc), schema, group, list, err));
    }
    return OK;
}

/* --- COPY --- */

static enum status field_ids(const struct ice_schema *schema, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < schema->root.field_count; i++) {
        if ((i > 0 && buf_append(out, STR(", ")) != OK) ||
            parquet_field_ids(&schema->root.fields[i], out) != OK) {
            return err_no_memory(err);
        }
    }
    return OK;
}

/** Files that are sorted each are written by one thread; the others by all. */
static enum status limit_threads(const struct writing *w, const struct place *place,
                                 struct err *err)
{
    bool one = place->is_folder && w->split.order_count > 0;
    return one ? duck_session_threads(w->session, 1, err) : OK;
}

/** Back to all, whatever has come; what follows in this process is no slower. */
static enum status free_threads(const struct writing *w, const struct place *place,
                                enum status status, struct err *err)
{
    bool one = place->is_folder && w->split.order_count > 0;
    enum status freed = one ? duck_session_threads(w->session, 0, status == OK ? err : NULL) : OK;
    return status == OK ? freed : status;
}

enum status write_copy_new(struct writing *w, struct err *err)
{
    AUTO(buf_done) struct buf ids;
    struct duck_result *result = NULL;
    buf_init(&ids, 0);
    TRY(field_ids(&w->schema, &ids, err));
    AUTO(place_done) struct place place;
    TRY(open_place(w, w->split.count > 0, &place, err));
    TRY(limit_threads(w, &place, err));
    enum status status = duck_write_copy(w->write, w->columns, w->column_count, &w->split,
                                         str_of(place.path), buf_str(&ids), &result, err);
    status = status == OK ? write_reports(&place, result, &w->schema, -1, &w->data, err) : status;
    return free_threads(w, &place, status, err);
}

/** SELECT *, expression AS __part_0, .. FROM (select) */
static enum status append_split(const struct writing *w, struct str select, struct buf *sql)
{
    TRY(buf_append(sql, STR("SELECT *")));
    for (size_t i = 0; i < w->split.count; i++) {
        TRY(buf_printf(sql, ", %.*s AS " DUCK_WRITE_PART "%zu", STR_ARG(w->split.sql[i]), i));
    }
    return buf_printf(sql, " FROM (%.*s)", STR_ARG(select));
}

/** Rows of one file one behind the other, so that few files are open at a time, and each file's in
 * the table's order. */
static enum status append_order(const struct writing *w, bool spreads, struct buf *sql)
{
    const char *before = " ORDER BY ";
    for (size_t i = 0; spreads && i < w->split.count; i++) {
        TRY(buf_printf(sql, "%s" DUCK_WRITE_PART "%zu", before, i));
        before = ", ";
    }
    for (size_t i = 0; i < w->split.order_count; i++) {
        TRY(buf_printf(sql, "%s%.*s", before, STR_ARG(w->split.order[i])));
        before = ", ";
    }
    return OK;
}

/** Rows of the table, or (`marks`) of a delete file, which have an order of their own. */
static enum status append_rows(const struct writing *w, const struct place *place, bool marks,
                               struct str select, struct buf *sql)
{
    if (marks || (!place->spreads && w->split.order_count == 0)) {
        return buf_append(sql, select);
    }
    TRY(place->spreads ? append_split(w, select, sql)
                       : buf_printf(sql, "SELECT * FROM (%.*s)", STR_ARG(select)));
    return append_order(w, place->spreads, sql);
}

static enum status append_copy(const struct writing *w, const struct place *place, bool marks,
                               struct str select, struct str ids, struct buf *sql)
{
    TRY(buf_append(sql, STR("COPY (")));
    TRY(append_rows(w, place, marks, select, sql));
    TRY(buf_printf(sql,
                   ") TO '%s' (FORMAT parquet, COMPRESSION zstd, RETURN_STATS, FIELD_IDS "
                   "{%.*s}",
                   place->path, STR_ARG(ids)));
    for (size_t i = 0; place->spreads && i < w->split.count; i++) {
        TRY(buf_printf(sql, "%s" DUCK_WRITE_PART "%zu", i == 0 ? ", PARTITION_BY (" : ", ", i));
    }
    if (place->is_folder && !place->spreads) {
        TRY(buf_printf(sql, ", FILE_SIZE_BYTES %lld", (long long)w->cut_bytes));
    }
    return buf_append(sql, place->spreads ? STR("))") : STR(")"));
}

enum status write_copy_ours(struct writing *w, struct str select, const struct ice_schema *schema,
                            int64_t group, struct buf *list, struct err *err)
{
    AUTO(buf_done) struct buf sql, ids;
    struct duck_result *result = NULL;
    bool marks = list == &w->deletes;
    buf_init(&sql, 0);
    buf_init(&ids, 0);
    TRY(field_ids(schema, &ids, err));
    AUTO(place_done) struct place place;
    TRY(open_place(w, group < 0 && w->split.count > 0, &place, err));
    if (append_copy(w, &place, marks, select, buf_str(&ids), &sql) != OK) {
        return err_no_memory(err);
    }
    TRY(limit_threads(w, &place, err));
    enum status status = duck_query(w->session, buf_str(&sql), STR_EMPTY, &result, err);
    status = status == OK ? write_reports(&place, result, schema, group, list, err) : status;
    return free_threads(w, &place, status, err);
}
