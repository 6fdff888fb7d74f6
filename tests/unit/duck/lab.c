#include "lab.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

struct err lab_err;

static struct duck *duck;
static char folder[64];
static struct lab_table tables[LAB_TABLES_MAX];
static size_t table_count;
static struct buf answer;
static _Atomic unsigned resolves, delay_us;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static char opened[256][96]; /* guarded by open_lock */
static unsigned open_count;  /* guarded by open_lock */
static pthread_mutex_t fill_lock = PTHREAD_MUTEX_INITIALIZER;

/* what resolve hands out */
static struct duck_table resolved[LAB_TABLES_MAX];
static bool filled[LAB_TABLES_MAX]; /* guarded by fill_lock */
static struct duck_table_file resolved_files[LAB_TABLES_MAX][LAB_FILES_MAX];
static char paths[LAB_TABLES_MAX][LAB_FILES_MAX][96];

/* --- files --- */

struct open_file {
    int fd;
    uint64_t offset;
};

static bool path_of(struct str path, char out[160])
{
    struct str name = str_starts(path, STR("lake://lab/")) ? str_skip(path, 11)
                      : str_starts(path, STR("spool://"))  ? str_skip(path, 8)
                                                           : STR_EMPTY;
    if (name.len == 0 || name.len > 60 || str_find_char(name, '/') != SIZE_MAX) {
        return false;
    }
    snprintf(out, 160, "%s/%.*s", folder, STR_ARG(name));
    return true;
}

static enum status open_at(struct str path, int flags, void **out, uint64_t *size_out,
                           struct err *err)
{
    char name[160];
    struct stat st;
    if (!path_of(path, name)) {
        return err_set(err, E_DENIED, "\"%.*s\" is not one of this statement's files",
                       STR_ARG(path));
    }
    int fd = open(name, flags | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return err_set(err, E_NOT_FOUND, "no file \"%.*s\"", STR_ARG(path));
    }
    struct open_file *file = calloc(1, sizeof *file);
    assert_non_null(file);
    file->fd = fd;
    *size_out = (uint64_t)st.st_size;
    *out = file;
    return OK;
}

/* DuckDB opens a file for its footer and again for each thread's scan; a test wants to know which
 * files were touched. */
static void note_open(struct str path)
{
    pthread_mutex_lock(&open_lock);
    bool known = !str_starts(path, STR("lake://"));
    for (unsigned i = 0; i < open_count && !known; i++) {
        known = str_eq(path, str_of(opened[i]));
    }
    if (!known && open_count < ARRAY_LEN(opened)) {
        snprintf(opened[open_count++], sizeof opened[0], "%.*s", STR_ARG(path));
    }
    pthread_mutex_unlock(&open_lock);
}

static enum status files_open(void *ctx, struct str path, void **file_out, uint64_t *size_out,
                              struct err *err)
{
    note_open(path);
    return open_at(path, O_RDONLY, file_out, size_out, err);
}

static enum status files_read(void *file, uint64_t offset, void *ptr, size_t len, size_t *got_out,
                              struct err *err)
{
    if (delay_us) {
        usleep(delay_us);
    }
    return io_pread(((struct open_file *)file)->fd, ptr, len, offset, got_out, err);
}

static void files_close(void *file)
{
    close(((struct open_file *)file)->fd);
    free(file);
}

static enum status files_create(void *ctx, struct str path, void **sink_out, struct err *err)
{
    uint64_t size;
    return open_at(path, O_RDWR | O_CREAT | O_TRUNC, sink_out, &size, err);
}

static enum status files_write(void *sink, struct str bytes, struct err *err)
{
    struct open_file *file = sink;
    TRY(io_pwrite_full(file->fd, bytes.ptr, bytes.len, file->offset, err));
    file->offset += bytes.len;
    return OK;
}

static enum status files_finish(void *sink, struct err *err)
{
    files_close(sink);
    return OK;
}

static const struct duck_files files = { .open = files_open,
                                         .read_at = files_read,
                                         .close = files_close,
                                         .create = files_create,
                                         .write = files_write,
                                         .finish = files_finish };

/* --- tables --- */

static enum status get_bounds(void *ctx, size_t file, int32_t id, struct duck_bounds *out,
                              struct err *err)
{
    const struct lab_table *table = ctx;
    for (const struct lab_bounds *b = table->files[file].bounds; b->id; b++) {
        if (b->id == id) {
            *out = (struct duck_bounds){ .null_count = b->null_count,
                                         .value_count = b->value_count };
            out->lower = b->lower ? str_of(b->lower) : str_from(NULL, 0);
            out->upper = b->upper ? str_of(b->upper) : str_from(NULL, 0);
            return OK;
        }
    }
    return err_set(err, E_NOT_FOUND, "no bounds");
}

static void fill(size_t t, struct duck_table *out)
{
    struct lab_table *table = &tables[t];
    *out = (struct duck_table){ .ns = str_of(table->ns),
                                .name = str_of(table->name),
                                .columns = (struct duck_column *)table->columns,
                                .column_count = table->column_count,
                                .files = resolved_files[t],
                                .file_count = table->file_count };
    for (size_t f = 0; f < table->file_count; f++) {
        snprintf(paths[t][f], sizeof paths[t][f], "lake://lab/%s", table->files[f].name);
        resolved_files[t][f] = (struct duck_table_file){ .path = str_of(paths[t][f]),
                                                         .row_count = table->files[f].rows,
                                                         .by_name = table->files[f].by_name };
        out->row_count += table->files[f].rows;
    }
    out->bounds = table->with_bounds ? get_bounds : NULL;
    out->bounds_ctx = table;
}

static enum status resolve(void *ctx, struct str ns, struct str name, const struct duck_at *at,
                           bool want_files, const struct duck_table **out, struct err *err)
{
    resolves++;
    if (at->kind == DUCK_AT_VERSION && !str_eq(at->version, STR("7"))) {
        return err_set(err, E_NOT_FOUND, "table \"%.*s\" has no snapshot %.*s", STR_ARG(name),
                       STR_ARG(at->version));
    }
    if (at->kind == DUCK_AT_TIMESTAMP && at->timestamp_ms < 1704067200000) {
        return err_set(err, E_NOT_FOUND, "table \"%.*s\" did not exist at %lld", STR_ARG(name),
                       (long long)at->timestamp_ms);
    }
    if (str_eq(name, STR("ambiguous"))) {
        return err_set(err, E_INVALID,
                       "table \"ambiguous\" could be \"Ambiguous\" or \"AMBIGUOUS\"");
    }
    for (size_t t = 0; t < table_count; t++) {
        if (str_eq_nocase(name, str_of(tables[t].name)) &&
            str_eq_nocase(ns, str_of(tables[t].ns))) {
            /* Once: other sessions may be reading it already. */
            pthread_mutex_lock(&fill_lock);
            if (!filled[t]) {
                fill(t, &resolved[t]);
                filled[t] = true;
            }
            pthread_mutex_unlock(&fill_lock);
            *out = &resolved[t];
            return OK;
        }
    }
    return err_set(err, E_NOT_FOUND, "no table");
}

static enum status list(void *ctx, struct arena *arena, struct duck_table **tables_out,
                        size_t *count_out, struct err *err)
{
    struct duck_table *all = arena_array(arena, table_count + 1, sizeof *all);
    for (size_t t = 0; t < table_count; t++) {
        all[t].ns = str_of(tables[t].ns);
        all[t].name = str_of(tables[t].name);
    }
    all[table_count].ns = STR("empty_ns");
    *tables_out = all;
    *count_out = table_count + 1;
    return OK;
}

static const struct duck_vectors *vectors; /* of sessions that are opened from now on */
static const struct duck_lake lake = { .resolve = resolve, .list = list };

struct lab_table *lab_add(const char *ns, const char *name, const struct duck_column *columns,
                          size_t column_count)
{
    assert_true(table_count < LAB_TABLES_MAX);
    filled[table_count] = false;
    struct lab_table *table = &tables[table_count++];
    *table = (struct lab_table){
        .ns = ns, .name = name, .columns = columns, .column_count = column_count
    };
    return table;
}

static enum status take_count(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    return str_to_i64(cells[0], ctx) ? OK : err_set(err, E_INTERNAL, "not a count");
}

struct lab_file *lab_write(struct lab_table *table, const char *name, const char *sql,
                           const char *options)
{
    assert_true(table->file_count < LAB_FILES_MAX);
    struct lab_file *file = &table->files[table->file_count++];
    filled[table - tables] = false;
    char text[4096];
    struct duck_session *session = lab_session(true);
    file->name = name;
    /* COPY would go by way of a temporary file where there is one of that name. */
    snprintf(text, sizeof text, "%s/%s", folder, name);
    (void)unlink(text);
    snprintf(text, sizeof text, "COPY (%s) TO 'spool://%s' (FORMAT parquet%s)", sql, name, options);
    assert_ok(duck_exec(session, str_of(text), &lab_err));
    snprintf(text, sizeof text, "SELECT count(*) FROM read_parquet('spool://%s')", name);
    assert_ok(duck_rows(session, str_of(text), take_count, &file->rows, &lab_err));
    duck_session_close(session);
    return file;
}

/* --- the lab --- */

struct duck *lab_duck(void)
{
    return duck;
}

int lab_open(void **state)
{
    strcpy(folder, "/tmp/duck-lab-XXXXXX");
    assert_non_null(mkdtemp(folder));
    buf_init(&answer, 0);
    assert_ok(duck_open(&(struct duck_opts){ .threads = 4 }, &duck, &lab_err));
    return 0;
}

int lab_close(void **state)
{
    duck_close(duck);
    buf_done(&answer);
    assert_ok(io_remove_tree(folder, &lab_err));
    return 0;
}

int lab_reset(void **state)
{
    table_count = 0;
    open_count = 0;
    resolves = 0;
    delay_us = 0;
    return 0;
}

unsigned lab_opens(void)
{
    unsigned count = open_count;
    open_count = 0;
    return count;
}

unsigned lab_resolves(void)
{
    unsigned count = resolves;
    resolves = 0;
    return count;
}

void lab_slow_reads(unsigned us)
{
    delay_us = us;
}

void lab_vectors(const struct duck_vectors *next)
{
    vectors = next;
}

struct duck_session *lab_session(bool trusted)
{
    struct duck_session *session = NULL;
    const struct duck_session_opts opts = {
        .lake = &lake, .files = &files, .vectors = vectors, .trusted = trusted
    };
    assert_ok(duck_session_open(duck, &opts, &session, &lab_err));
    return session;
}

/* --- statements --- */

static enum status encode(struct duck_result *result, enum duck_format format, bool frame,
                          struct buf *out)
{
    struct duck_encoder *encoder = NULL;
    bool done = false;
    enum status status = duck_encoder_new(result, format, &encoder, &lab_err);
    if (status == OK && frame) {
        status = duck_encoder_head(encoder, out, &lab_err);
    }
    while (status == OK && !done) {
        status = duck_encoder_next(encoder, out, &done, &lab_err);
    }
    if (status == OK && frame) {
        status = duck_encoder_tail(encoder, out, &lab_err);
    }
    duck_encoder_free(encoder);
    return status;
}

static enum status run(enum duck_format format, bool frame, const char *sql, const char *params)
{
    struct duck_session *session = lab_session(false);
    struct duck_result *result = NULL;
    lab_err = (struct err){ 0 };
    buf_clear(&answer);
    enum status status = duck_query(session, str_of(sql), str_of(params), &result, &lab_err);
    if (status == OK) {
        status = encode(result, format, frame, &answer);
        duck_result_free(result);
    }
    duck_session_close(session);
    return status;
}

const char *lab_query(enum duck_format format, const char *sql, const char *params)
{
    enum status status = run(format, true, sql, params);
    if (status != OK) {
        fail_msg("%s: %s: %s", sql, status_name(status), lab_err.msg);
    }
    return buf_cstr(&answer);
}

const char *lab_rows(const char *sql)
{
    enum status status = run(DUCK_JSON_ARRAYS, false, sql, NULL);
    if (status != OK) {
        fail_msg("%s: %s: %s", sql, status_name(status), lab_err.msg);
    }
    return buf_cstr(&answer);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *lab_sorted(const char *sql)
{
    enum status status = run(DUCK_NDJSON_ARRAYS, false, sql, NULL);
    if (status != OK) {
        fail_msg("%s: %s: %s", sql, status_name(status), lab_err.msg);
    }
    char *text = strdup(buf_cstr(&answer));
    size_t count = 0;
    char **lines = NULL;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        lines = realloc(lines, (count + 1) * sizeof *lines);
        lines[count++] = line;
    }
    if (count > 0) {
        qsort(lines, count, sizeof *lines, by_text);
    }
    buf_clear(&answer);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buf_printf(&answer, "%s%s", i ? "," : "", lines[i]), OK);
    }
    free(lines);
    free(text);
    return buf_cstr(&answer);
}

enum status lab_error(const char *sql, const char *params)
{
    return run(DUCK_JSON, true, sql, params);
}
