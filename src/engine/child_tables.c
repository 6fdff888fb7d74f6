/*
 * The tables of a query, as DuckDB asks for them.
 *
 * A name is asked of the parent once (call "resolve"), which pins the snapshot for the whole
 * statement. What a snapshot consists of never changes, so this process keeps it from job to job:
 * it tells the parent which ones it has, and the answer is then a few bytes. Bounds come column by
 * column, when pruning asks for them (call "bounds"), and are kept with the snapshot.
 *
 *   resolve  {"ns","name","version"?,"timestamp_ms"?,"files":bool,"have":[[key,files],...]}
 *            {"pin","first","key","ns","name","partitioned",
 *            "rows","columns":[..],"files":[[rows,bytes,by_name],..]}   without the last four when
 *            we have it; with delete files as query/deletes.c says; a view as query/views.c says
 *            a metadata table has "inspect", its name, and no files: its rows come by "inspect"
 *   inspect  {"pin","table","columns":[id,..],"after"}   as query/inspect.c says
 *   bounds   {"pin","field"}      as query/bounds.c says, one per file
 *   list     {}                   {"tables":[["ns","name",is_view],..]}
 *
 * File i of a pin is opened as number first + i: lakefs. Delete files come behind the data files.
 */
#include <pthread.h>

#include "base/mem.h"
#include "engine/child.h"

enum { SNAPSHOTS_MAX = 64, TABLES_MAX = 16384, REPLY_MAX = 64 * 1024 * 1024 };
#define SNAPSHOT_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of all that are kept */

struct field_bounds {
    int32_t field_id;
    struct duck_bounds *files;
    struct field_bounds *next;
};

/** A snapshot's columns and files; immutable but for `bounds`, which grows under the cache's
 * lock. */
struct snapshot {
    struct str
        key; /* uuid, snapshot and schema as the parent spells it; with the files it ends in ":f" */
    struct str ns, name;
    struct arena arena;
    struct duck_column *columns;
    size_t column_count;
    struct duck_table_file *files; /* without paths */
    size_t file_count;
    struct duck_delete_file *deletes; /* without paths */
    size_t delete_count;
    int64_t row_count;
    bool partitioned;
    struct field_bounds *bounds;
    unsigned refs; /* guarded by the cache's lock */
    uint64_t used; /* guarded by the cache's lock */
};

/* Kept from job to job: one process, one cache. */
static struct {
    pthread_mutex_t lock;
    struct snapshot *entries[SNAPSHOTS_MAX]; /* guarded by lock */
    uint64_t clock;                          /* guarded by lock */
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct child_table {
    struct duck_table table;
    struct child_job *job;
    struct snapshot *snapshot;
    uint64_t pin;
    struct str inspect; /* name of a metadata table, in the tables' arena; empty: a table */
};

struct child_tables {
    struct child_job *job;
    struct duck_lake lake;
    pthread_mutex_t lock;
    struct arena arena;                     /* guarded by lock */
    struct child_table *tables[TABLES_MAX]; /* guarded by lock */
    size_t count;                           /* guarded by lock */
};

/* --- the cache --- */

static void snapshot_free(struct snapshot *snapshot)
{
    arena_done(&snapshot->arena);
    mem_free(snapshot);
}

static struct snapshot *cache_take(struct str key)
{
    struct snapshot *found = NULL;
    pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < SNAPSHOTS_MAX && found == NULL; i++) {
        if (cache.entries[i] != NULL && str_eq(cache.entries[i]->key, key)) {
            found = cache.entries[i];
            found->refs++;
            found->used = ++cache.clock;
        }
    }
    pthread_mutex_unlock(&cache.lock);
    return found;
}

static size_t cache_bytes(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        bytes += cache.entries[i] == NULL ? 0 : cache.entries[i]->arena.used_bytes;
    }
    return bytes;
}

/** The entry to give up first: a free one, else the longest unused that nobody holds; SIZE_MAX when
 * all are held. */
static size_t cache_victim(bool free_ones)
{
    size_t victim = SIZE_MAX;
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        const struct snapshot *at = cache.entries[i];
        if (at == NULL && free_ones) {
            return i;
        }
        if (at != NULL && at->refs == 0 &&
            (victim == SIZE_MAX || at->used < cache.entries[victim]->used)) {
            victim = i;
        }
    }
    return victim;
}

static void cache_drop(size_t i)
{
    snapshot_free(cache.entries[i]);
    cache.entries[i] = NULL;
}

/** Keep it, held once for the caller. Without room it is the caller's alone, and goes with its last
 * hold. */
static void cache_keep(struct snapshot *snapshot)
{
    pthread_mutex_lock(&cache.lock);
    size_t slot = cache_victim(true);
    if (slot != SIZE_MAX) {
        if (cache.entries[slot] != NULL) {
            cache_drop(slot);
        }
        cache.entries[slot] = snapshot;
    }
    snapshot->refs = 1;
    snapshot->used = ++cache.clock;
    for (size_t i = cache_victim(false); i != SIZE_MAX && cache_bytes() > SNAPSHOT_BYTES_MAX;
         i = cache_victim(false)) {
        cache_drop(i);
    }
    pthread_mutex_unlock(&cache.lock);
}

static void cache_give_back(struct snapshot *snapshot)
{
    bool kept = false;
    pthread_mutex_lock(&cache.lock);
    bool last = --snapshot->refs == 0;
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        kept = kept || cache.entries[i] == snapshot;
    }
    pthread_mutex_unlock(&cache.lock);
    if (last && !kept) {
        snapshot_free(snapshot);
    }
}

/** Keys of what we have under a table name, so that the parent need not send it again. */
static void write_have(struct json_writer *w, struct str ns, struct str name)
{
    const unsigned have_max = 4;
    unsigned count = 0;
    jw_kv_arr(w, "have");
    pthread_mutex_lock(&cache.lock);
    for (size_t i = 0; i < SNAPSHOTS_MAX && count < have_max; i++) {
        const struct snapshot *at = cache.entries[i];
        if (at != NULL && str_eq_nocase(at->name, name) && str_eq_nocase(at->ns, ns)) {
            jw_arr_begin(w);
            jw_str(w, at->key);
            jw_u64(w, at->file_count + at->delete_count);
            jw_arr_end(w);
            count++;
        }
    }
    pthread_mutex_unlock(&cache.lock);
    jw_arr_end(w);
}

/* --- from JSON --- */

enum status child_keep_text(struct arena *arena, struct str text, struct str *out, struct err *err)
{
    *out = arena_str(arena, text);
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static struct str text_or_none(yyjson_val *value)
{
    return yyjson_is_str(value) ? str_from(yyjson_get_str(value), yyjson_get_len(value))
                                : (struct str){ NULL, 0 };
}

static enum status read_columns(struct arena *arena, yyjson_val *list, struct duck_column **out,
                                size_t *count_out, struct err *err);

static enum status read_column(struct arena *arena, yyjson_val *json, struct duck_column *out,
                               struct err *err)
{
    struct str name;
    struct str type;
    int64_t id = 0;
    yyjson_val *children = NULL;
    TRY(json_get_str(json, "name", JSON_REQUIRED, &name, err));
    TRY(json_get_str(json, "type", JSON_REQUIRED, &type, err));
    TRY(json_get_i64(json, "id", JSON_REQUIRED, &id, err));
    TRY(json_get_bool(json, "required", JSON_OPTIONAL, &out->required, err));
    TRY(json_get_arr(json, "children", JSON_OPTIONAL, &children, err));
    TRY(child_keep_text(arena, name, &out->name, err));
    TRY(child_keep_text(arena, type, &out->type, err));
    out->id = (int32_t)id;
    return children == NULL ? OK
                            : read_columns(arena, children, &out->children, &out->child_count, err);
}

static enum status read_columns(struct arena *arena, yyjson_val *list, struct duck_column **out,
                                size_t *count_out, struct err *err)
{
    size_t count = yyjson_arr_size(list);
    struct duck_column *columns = arena_array(arena, count + 1, sizeof(*columns));
    if (columns == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(list, i, max, at)
    {
        TRY(read_column(arena, at, &columns[i], err));
    }
    *out = columns;
    *count_out = count;
    return OK;
}

static enum status read_files(struct snapshot *snapshot, yyjson_val *list, struct err *err)
{
    size_t count = yyjson_arr_size(list);
    struct duck_table_file *files = arena_array(&snapshot->arena, count + 1, sizeof(*files));
    if (files == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(list, i, max, at)
    {
        files[i].row_count = yyjson_get_sint(yyjson_arr_get(at, 0));
        files[i].size_bytes = yyjson_get_sint(yyjson_arr_get(at, 1));
        files[i].by_name = yyjson_get_bool(yyjson_arr_get(at, 2));
        files[i].sequence_number = yyjson_get_sint(yyjson_arr_get(at, 3));
        files[i].partition = yyjson_get_sint(yyjson_arr_get(at, 4));
        struct str uri = text_or_none(yyjson_arr_get(at, 5));
        if (uri.ptr != NULL) {
            TRY(child_keep_text(&snapshot->arena, uri, &files[i].uri, err));
        }
    }
    snapshot->files = files;
    snapshot->file_count = count;
    return OK;
}

/** Of a delete by value: the columns whose values make a row a deleted one. */
static enum status read_equal_columns(struct arena *arena, yyjson_val *list,
                                      struct duck_delete_file *out, struct err *err)
{
    size_t i;
    size_t max;
    yyjson_val *at;
    out->columns = arena_array(arena, yyjson_arr_size(list) + 1, sizeof(*out->columns));
    if (out->columns == NULL) {
        return err_no_memory(err);
    }
    yyjson_arr_foreach(list, i, max, at)
    {
        struct duck_column *column = &out->columns[out->column_count++];
        column->id = (int32_t)yyjson_get_sint(yyjson_arr_get(at, 0));
        TRY(child_keep_text(arena, text_or_none(yyjson_arr_get(at, 1)), &column->type, err));
    }
    return OK;
}

static enum status read_deletes(struct snapshot *snapshot, yyjson_val *list, struct err *err)
{
    size_t count = yyjson_arr_size(list);
    struct duck_delete_file *deletes = arena_array(&snapshot->arena, count + 1, sizeof(*deletes));
    if (deletes == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(list, i, max, at)
    {
        deletes[i].by_value = yyjson_get_bool(yyjson_arr_get(at, 0));
        deletes[i].row_count = yyjson_get_sint(yyjson_arr_get(at, 1));
        deletes[i].sequence_number = yyjson_get_sint(yyjson_arr_get(at, 3));
        deletes[i].partition = yyjson_get_sint(yyjson_arr_get(at, 4));
        deletes[i].file = yyjson_get_sint(yyjson_arr_get(at, 5));
        TRY(read_equal_columns(&snapshot->arena, yyjson_arr_get(at, 6), &deletes[i], err));
    }
    snapshot->deletes = deletes;
    snapshot->delete_count = count;
    return OK;
}

static enum status fill_snapshot(struct snapshot *snapshot, struct str key, yyjson_val *json,
                                 struct err *err)
{
    struct str ns;
    struct str name;
    yyjson_val *columns = NULL;
    yyjson_val *files = NULL;
    yyjson_val *deletes = NULL;
    TRY(child_keep_text(&snapshot->arena, key, &snapshot->key, err));
    TRY(json_get_str(json, "ns", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(json, "name", JSON_REQUIRED, &name, err));
    TRY(child_keep_text(&snapshot->arena, ns, &snapshot->ns, err));
    TRY(child_keep_text(&snapshot->arena, name, &snapshot->name, err));
    TRY(json_get_i64(json, "rows", JSON_REQUIRED, &snapshot->row_count, err));
    TRY(json_get_arr(json, "columns", JSON_REQUIRED, &columns, err));
    TRY(json_get_bool(json, "partitioned", JSON_OPTIONAL, &snapshot->partitioned, err));
    TRY(json_get_arr(json, "files", JSON_OPTIONAL, &files, err));
    TRY(json_get_arr(json, "deletes", JSON_OPTIONAL, &deletes, err));
    TRY(read_columns(&snapshot->arena, columns, &snapshot->columns, &snapshot->column_count, err));
    if (deletes != NULL) {
        TRY(read_deletes(snapshot, deletes, err));
    }
    return files == NULL ? OK : read_files(snapshot, files, err);
}

/** The snapshot that an answer names: ours, or made from it. Held once. */
static enum status take_snapshot(yyjson_val *json, struct snapshot **out, struct err *err)
{
    struct str key;
    TRY(json_get_str(json, "key", JSON_REQUIRED, &key, err));
    struct snapshot *snapshot = cache_take(key);
    if (snapshot != NULL) {
        *out = snapshot;
        return OK;
    }
    snapshot = mem_zalloc(sizeof(*snapshot));
    if (snapshot == NULL) {
        return err_no_memory(err);
    }
    arena_init(&snapshot->arena, REPLY_MAX * 4ul);
    enum status kind = fill_snapshot(snapshot, key, json, err);
    if (kind != OK) {
        snapshot_free(snapshot);
        return kind;
    }
    cache_keep(snapshot);
    *out = snapshot;
    return OK;
}

/* --- bounds --- */

static struct field_bounds *find_bounds(struct snapshot *snapshot, int32_t field_id)
{
    pthread_mutex_lock(&cache.lock);
    struct field_bounds *at = snapshot->bounds;
    while (at != NULL && at->field_id != field_id) {
        at = at->next;
    }
    pthread_mutex_unlock(&cache.lock);
    return at;
}

static enum status read_bounds(struct snapshot *snapshot, yyjson_val *list,
                               struct field_bounds *out, struct err *err)
{
    out->files = arena_array(&snapshot->arena, snapshot->file_count + 1, sizeof(*out->files));
    if (out->files == NULL) {
        return err_no_memory(err);
    }
    if (yyjson_arr_size(list) != snapshot->file_count) {
        return err_set(err, E_INTERNAL, "bounds of %zu files, not of %zu", yyjson_arr_size(list),
                       snapshot->file_count);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(list, i, max, at)
    {
        struct duck_bounds *bounds = &out->files[i];
        struct str lower = text_or_none(yyjson_arr_get(at, 0));
        struct str upper = text_or_none(yyjson_arr_get(at, 1));
        bounds->lower = lower.ptr == NULL ? lower : arena_str(&snapshot->arena, lower);
        bounds->upper = upper.ptr == NULL ? upper : arena_str(&snapshot->arena, upper);
        bounds->null_count = yyjson_get_sint(yyjson_arr_get(at, 2));
        bounds->value_count = yyjson_get_sint(yyjson_arr_get(at, 3));
        bounds->upper_is_cut = yyjson_get_bool(yyjson_arr_get(at, 4));
        bounds->is_value = yyjson_get_bool(yyjson_arr_get(at, 5)) && bounds->lower.ptr != NULL;
        bounds->bucket_count = (uint32_t)yyjson_get_uint(yyjson_arr_get(at, 6));
        bounds->bucket = (uint32_t)yyjson_get_uint(yyjson_arr_get(at, 7));
    }
    return OK;
}

static enum status fetch_bounds(struct child_table *table, int32_t field_id,
                                struct field_bounds **out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf reply;
    char args[96];
    buf_init(&reply, REPLY_MAX);
    int len = snprintf(args, sizeof(args), "{\"pin\":%llu,\"field\":%d}",
                       (unsigned long long)table->pin, (int)field_id);
    TRY(child_call(table->job, "bounds", str_from(args, (size_t)len), &reply, NULL, err));
    TRY(json_parse(buf_str(&reply), &doc, err));
    pthread_mutex_lock(&cache.lock); /* the arena is the snapshot's, and shared */
    struct field_bounds *made = ARENA_NEW(&table->snapshot->arena, struct field_bounds);
    enum status kind = made == NULL
                           ? err_no_memory(err)
                           : read_bounds(table->snapshot, yyjson_doc_get_root(doc), made, err);
    if (kind == OK) {
        made->field_id = field_id;
        made->next = table->snapshot->bounds;
        table->snapshot->bounds = made;
        *out = made;
    }
    pthread_mutex_unlock(&cache.lock);
    return kind;
}

static enum status bounds(void *ctx, size_t file, int32_t field_id, struct duck_bounds *out,
                          struct err *err)
{
    struct child_table *table = ctx;
    if (file >= table->snapshot->file_count) {
        return err_set(err, E_INTERNAL, "bounds of file %zu of %zu", file,
                       table->snapshot->file_count);
    }
    struct field_bounds *found = find_bounds(table->snapshot, field_id);
    if (found == NULL) {
        TRY(fetch_bounds(table, field_id, &found, err));
    }
    *out = found->files[file];
    return OK;
}

/* --- rows of metadata tables --- */

static enum status write_row_question(const struct child_table *table, const int32_t *columns,
                                      size_t column_count, uint64_t after, struct buf *out,
                                      struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_u64(&w, "pin", table->pin);
    jw_kv_str(&w, "table", table->inspect);
    jw_kv_u64(&w, "after", after);
    jw_kv_arr(&w, "columns");
    for (size_t i = 0; i < column_count; i++) {
        jw_i64(&w, columns[i]);
    }
    jw_arr_end(&w);
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status rows(void *ctx, const int32_t *columns, size_t column_count, uint64_t after,
                        struct buf *out, struct err *err)
{
    struct child_table *table = ctx;
    AUTO(buf_done) struct buf question;
    buf_init(&question, 0);
    TRY(write_row_question(table, columns, column_count, after, &question, err));
    return child_call(table->job, "inspect", buf_str(&question), out, NULL, err);
}

/** The answer names a metadata table: then its rows are asked for. */
static enum status read_inspect(struct child_tables *tables, yyjson_val *json,
                                struct child_table *table, struct err *err)
{
    struct str name = STR_EMPTY;
    TRY(json_get_str(json, "inspect", JSON_OPTIONAL, &name, err));
    if (name.len > 0) {
        TRY(child_keep_text(&tables->arena, name, &table->inspect, err));
        table->table.rows = rows;
        table->table.rows_ctx = table;
    }
    return OK;
}

/* --- resolve and list --- */

struct question {
    struct str ns, name;
    const struct duck_at *at;
    bool want_files;
    bool afresh; /* as if nothing were kept */
};

static enum status ask(struct child_tables *tables, const struct question *q, struct buf *reply,
                       struct err *err)
{
    const struct duck_at *at = q->at;
    AUTO(buf_done) struct buf args;
    struct json_writer w;
    buf_init(&args, 0);
    json_writer_init(&w, &args);
    jw_obj_begin(&w);
    jw_kv_str(&w, "ns", q->ns);
    jw_kv_str(&w, "name", q->name);
    if (at != NULL && at->kind == DUCK_AT_VERSION) {
        jw_kv_str(&w, "version", at->version);
    } else if (at != NULL && at->kind == DUCK_AT_TIMESTAMP) {
        jw_kv_i64(&w, "timestamp_ms", at->timestamp_ms);
    }
    jw_kv_bool(&w, "files", q->want_files);
    if (!q->afresh) {
        write_have(&w, q->ns, q->name);
    }
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return child_call(tables->job, "resolve", buf_str(&args), reply, NULL, err);
}

/** Files under the paths of this job. */
static enum status pin_files(struct child_tables *tables, struct child_table *table, uint64_t first,
                             struct err *err)
{
    const struct snapshot *snapshot = table->snapshot;
    struct lakefs *lakefs = tables->job->lakefs;
    TRY(lakefs_pin(lakefs, first, snapshot->file_count + snapshot->delete_count, err));
    TRY(lakefs_prefix(lakefs, &tables->arena, &table->table.path_prefix, err));
    table->table.path_suffix = STR(LAKEFS_SUFFIX);
    table->table.first_file = first;
    table->table.files = snapshot->files;
    table->table.file_count = snapshot->file_count;
    table->table.deletes = snapshot->deletes;
    table->table.delete_count = snapshot->delete_count;
    return OK;
}

/** With the lock held: the table goes into the list first, so that its snapshot is given back
 * whatever happens. */
static enum status add_table(struct child_tables *tables, struct snapshot *snapshot,
                             yyjson_val *json, bool want_files, const struct duck_table **out,
                             struct err *err)
{
    uint64_t first = 0;
    struct child_table *table = tables->count == TABLES_MAX
                                    ? NULL
                                    : ARENA_NEW(&tables->arena, struct child_table);
    if (table == NULL) {
        cache_give_back(snapshot);
        return tables->count == TABLES_MAX
                   ? err_set(err, E_TOO_LARGE, "a statement of more than %d tables", TABLES_MAX)
                   : err_no_memory(err);
    }
    tables->tables[tables->count++] = table;
    table->snapshot = snapshot;
    table->job = tables->job;
    table->table = (struct duck_table){
        .ns = snapshot->ns,
        .name = snapshot->name,
        .key = snapshot->key,
        .columns = snapshot->columns,
        .column_count = snapshot->column_count,
        .row_count = snapshot->row_count,
        .partitioned = snapshot->partitioned,
        .bounds = bounds,
        .bounds_ctx = table,
    };
    TRY(json_get_u64(json, "pin", JSON_REQUIRED, &table->pin, err));
    TRY(read_inspect(tables, json, table, err));
    if (want_files) {
        TRY(json_get_u64(json, "first", JSON_REQUIRED, &first, err));
        TRY(pin_files(tables, table, first, err));
    }
    *out = &table->table;
    return OK;
}

/* --- views --- */

static enum status keep_pair(struct arena *arena, yyjson_val *pair, struct str *first,
                             struct str *second, struct err *err)
{
    struct str a = text_or_none(yyjson_arr_get(pair, 0)), b = text_or_none(yyjson_arr_get(pair, 1));
    if (a.ptr == NULL || b.ptr == NULL) {
        return err_set(err, E_INTERNAL, "what is told of a view is no pair of texts");
    }
    TRY(child_keep_text(arena, a, first, err));
    return child_keep_text(arena, b, second, err);
}

static enum status read_view(struct arena *arena, yyjson_val *json, struct duck_view *out,
                             struct err *err)
{
    yyjson_val *texts = NULL, *columns = NULL;
    struct str catalog, schema;
    TRY(json_get_str(json, "catalog", JSON_REQUIRED, &catalog, err));
    TRY(json_get_str(json, "schema", JSON_REQUIRED, &schema, err));
    TRY(json_get_arr(json, "texts", JSON_REQUIRED, &texts, err));
    TRY(json_get_arr(json, "columns", JSON_OPTIONAL, &columns, err));
    out->text_count = yyjson_arr_size(texts);
    out->column_count = yyjson_arr_size(columns);
    out->texts = arena_array(arena, out->text_count + 1, sizeof(*out->texts));
    out->columns = arena_array(arena, out->column_count + 1, sizeof(*out->columns));
    if (out->texts == NULL || out->columns == NULL) {
        return err_no_memory(err);
    }
    TRY(child_keep_text(arena, catalog, &out->catalog, err));
    TRY(child_keep_text(arena, schema, &out->schema, err));
    for (size_t i = 0; i < out->text_count; i++) {
        TRY(keep_pair(arena, yyjson_arr_get(texts, i), &out->texts[i].dialect, &out->texts[i].sql,
                      err));
    }
    for (size_t i = 0; i < out->column_count; i++) {
        TRY(keep_pair(arena, yyjson_arr_get(columns, i), &out->columns[i].from, &out->columns[i].to,
                      err));
    }
    return OK;
}

/** With the lock held. */
static enum status add_view(struct child_tables *tables, yyjson_val *json,
                            const struct duck_table **out, struct err *err)
{
    struct duck_table *table = ARENA_NEW(&tables->arena, struct duck_table);
    struct duck_view *view = ARENA_NEW(&tables->arena, struct duck_view);
    struct str ns, name;
    if (table == NULL || view == NULL) {
        return err_no_memory(err);
    }
    *view = (struct duck_view){ .text_count = 0 };
    *table = (struct duck_table){ .row_count = -1, .is_view = true, .view = view };
    TRY(json_get_str(json, "ns", JSON_REQUIRED, &ns, err));
    TRY(json_get_str(json, "name", JSON_REQUIRED, &name, err));
    TRY(child_keep_text(&tables->arena, ns, &table->ns, err));
    TRY(child_keep_text(&tables->arena, name, &table->name, err));
    TRY(read_view(&tables->arena, json, view, err));
    *out = table;
    return OK;
}

/* --- resolve, and list --- */

/** Ask once, and take what the answer names. *out stays NULL for a view. *doc_out is the caller's
 * also on failure. */
static enum status ask_and_take(struct child_tables *tables, const struct question *q,
                                yyjson_doc **doc_out, struct snapshot **out, struct err *err)
{
    AUTO(buf_done) struct buf reply;
    buf_init(&reply, REPLY_MAX);
    TRY(ask(tables, q, &reply, err));
    TRY(json_parse(buf_str(&reply), doc_out, err));
    yyjson_val *root = yyjson_doc_get_root(*doc_out);
    return yyjson_obj_get(root, "view") != NULL ? OK : take_snapshot(root, out, err);
}

static enum status resolve(void *ctx, struct str ns, struct str name, const struct duck_at *at,
                           bool want_files, const struct duck_table **out, struct err *err)
{
    struct child_tables *tables = ctx;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct question q = { .ns = ns, .name = name, .at = at, .want_files = want_files };
    struct snapshot *snapshot = NULL;
    enum status kind = ask_and_take(tables, &q, &doc, &snapshot, err);
    if (kind != OK && doc != NULL && yyjson_obj_get(yyjson_doc_get_root(doc), "columns") == NULL) {
        q.afresh = true; /* what we had was given up between question and answer */
        json_doc_done(&doc);
        kind = ask_and_take(tables, &q, &doc, &snapshot, err);
    }
    TRY(kind);
    yyjson_val *root = yyjson_doc_get_root(doc);
    pthread_mutex_lock(&tables->lock);
    kind = snapshot == NULL ? add_view(tables, yyjson_obj_get(root, "view"), out, err)
                            : add_table(tables, snapshot, root, want_files, out, err);
    pthread_mutex_unlock(&tables->lock);
    return kind;
}

static enum status list(void *ctx, struct arena *arena, struct duck_table **tables_out,
                        size_t *count_out, struct err *err)
{
    struct child_tables *tables = ctx;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf reply;
    yyjson_val *names = NULL;
    buf_init(&reply, REPLY_MAX);
    TRY(child_call(tables->job, "list", STR("{}"), &reply, NULL, err));
    TRY(json_parse(buf_str(&reply), &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "tables", JSON_REQUIRED, &names, err));
    size_t count = yyjson_arr_size(names);
    struct duck_table *made = arena_array(arena, count + 1, sizeof(*made));
    if (made == NULL) {
        return err_no_memory(err);
    }
    size_t i;
    size_t max;
    yyjson_val *at;
    yyjson_arr_foreach(names, i, max, at)
    {
        TRY(child_keep_text(arena, text_or_none(yyjson_arr_get(at, 0)), &made[i].ns, err));
        TRY(child_keep_text(arena, text_or_none(yyjson_arr_get(at, 1)), &made[i].name, err));
        made[i].row_count = -1;
        made[i].is_view = yyjson_get_bool(yyjson_arr_get(at, 2));
    }
    *tables_out = made;
    *count_out = count;
    return OK;
}

enum status child_tables_new(struct child_job *job, struct child_tables **out, struct err *err)
{
    struct child_tables *tables = mem_zalloc(sizeof(*tables));
    if (tables == NULL) {
        return err_no_memory(err);
    }
    tables->job = job;
    tables->lake = (struct duck_lake){ .resolve = resolve, .list = list, .ctx = tables };
    pthread_mutex_init(&tables->lock, NULL);
    arena_init(&tables->arena, REPLY_MAX * 4ul);
    *out = tables;
    return OK;
}

void child_tables_free(struct child_tables *tables)
{
    if (tables == NULL) {
        return;
    }
    for (size_t i = 0; i < tables->count; i++) {
        cache_give_back(tables->tables[i]->snapshot);
    }
    arena_done(&tables->arena);
    pthread_mutex_destroy(&tables->lock);
    mem_free(tables);
}

const struct duck_lake *child_tables_lake(struct child_tables *tables)
{
    return &tables->lake;
}
