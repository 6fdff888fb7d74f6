#include "lake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "base/rng.h"

#define CHECK(call)                                                                                \
    do {                                                                                           \
        struct err check_err_ = { 0 };                                                             \
        struct err *err = &check_err_;                                                             \
        if ((call) != OK) {                                                                        \
            fail_msg("%s: %s", #call, check_err_.msg);                                             \
        }                                                                                          \
    } while (0)

/** build/tests/query/test_x -> build/libexec/lakehouse-engine */
static void find_program(char *out, size_t cap)
{
    char self[512];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(len > 0);
    for (int up = 0; up < 3; up++) {
        self[len] = '\0';
        len = strrchr(self, '/') - self;
    }
    self[len] = '\0';
    assert_true((size_t)snprintf(out, cap, "%s/libexec/lakehouse-engine", self) < cap);
}

void lake_open(struct lake *lake, bool in_memory, const struct engine_pool_opts *engine)
{
    char program[600];
    char temp[80];
    memset(lake, 0, sizeof(*lake));
    snprintf(lake->dir, sizeof(lake->dir), "/tmp/lakehouse-query-XXXXXX");
    assert_non_null(mkdtemp(lake->dir));
    snprintf(temp, sizeof(temp), "%s/spill", lake->dir);
    find_program(program, sizeof(program));
    lake->metrics = metrics_new();
    char data[80];
    snprintf(data, sizeof(data), "%s/data", lake->dir);
    const struct store_fs_opts store_opts = { .dir = data };
    const struct store_mem_opts mem_opts = { .clock = NULL };
    CHECK(in_memory ? store_mem_open(&mem_opts, &lake->store, err)
                    : store_fs_open(&store_opts, &lake->store, err));
    const struct catalog_local_opts catalog_opts = { .store = lake->store };
    CHECK(catalog_local_open(&catalog_opts, &lake->catalog, err));
    struct engine_pool_opts engine_opts = *engine;
    engine_opts.name = "query";
    engine_opts.program = program;
    engine_opts.temp_dir = temp;
    engine_opts.temp_bytes_max = (uint64_t)1 << 30;
    engine_opts.metrics = lake->metrics;
    CHECK(engine_pool_open(&engine_opts, &lake->engines, err));
    const struct query_service_opts service_opts = { .catalog = lake->catalog,
                                                     .store = lake->store,
                                                     .engines = lake->engines };
    CHECK(query_service_open(&service_opts, &lake->service, err));
}

void lake_close(struct lake *lake)
{
    query_service_close(lake->service);
    engine_pool_close(lake->engines);
    catalog_close(lake->catalog);
    store_close(lake->store);
    metrics_free(lake->metrics);
    CHECK(io_remove_tree(lake->dir, err));
}

/* --- tables --- */

struct append {
    struct catalog_place place;
    struct ice_schema schema; /* with ids */
    int32_t last_id;
    struct arena arena;
};

/** The engine's question "plan": which ids do the columns get? Those of the table, or fresh
 * ones. */
static enum status plan(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                        int *fd_out, struct err *err)
{
    struct append *append = ctx;
    struct ice_schema file;
    yyjson_val *schema = NULL;
    TRY(json_get_obj(args, "schema", JSON_REQUIRED, &schema, err));
    TRY(ice_schema_parse(&append->arena, schema, &file, err));
    if (append->place.exists) {
        append->schema = *append->place.schema;
    } else {
        append->last_id = 0;
        TRY(ice_schema_assign_ids(&append->arena, &file, &append->last_id, &append->schema, err));
    }
    struct json_writer w;
    json_writer_init(&w, reply);
    jw_obj_begin(&w);
    jw_key(&w, STR("schema"));
    ice_schema_write(&w, &append->schema);
    jw_obj_end(&w);
    return json_writer_end(&w);
}

/** CSV in `in_fd` to Parquet in `out_fd`; the number of rows. */
static int64_t convert(struct lake *lake, struct append *append, struct str csv, int in_fd,
                       int out_fd)
{
    char payload[256];
    int len = snprintf(
        payload, sizeof(payload),
        "{\"format\":\"csv\",\"size\":%zu,\"columns_max\":100,\"line_bytes_max\":1000000}",
        csv.len);
    const struct engine_job job = {
        .kind = "convert",
        .payload = str_from(payload, (size_t)len),
        .fds = { in_fd, out_fd },
        .fd_count = 2,
        .deadline = deadline_in(60000),
        .call = plan,
        .ctx = append,
    };
    struct engine_run *run = NULL;
    struct engine_frame frame = { .type = ENGINE_NOTHING_YET };
    CHECK(engine_start(lake->engines, &job, &run, err));
    while (frame.type != ENGINE_DONE) {
        CHECK(engine_read_wait(run, &frame, err));
    }
    yyjson_doc *doc = NULL;
    int64_t rows = 0;
    CHECK(json_parse(frame.bytes, &doc, err));
    CHECK(json_get_i64(yyjson_doc_get_root(doc), "rows", JSON_REQUIRED, &rows, err));
    yyjson_doc_free(doc);
    engine_free(run);
    return rows;
}

int64_t lake_append(struct lake *lake, const char *table, struct str csv)
{
    struct append append = { .last_id = 0 };
    struct table_name name;
    char uuid[UUID_TEXT + 1];
    struct store_info info;
    struct catalog_appended appended;
    arena_init(&append.arena, 0);
    AUTO(fd_done) int in_fd = memfd_create("csv", MFD_CLOEXEC);
    AUTO(fd_done) int out_fd = -1;
    CHECK(table_name_parse(&append.arena, str_of(table), &name, err));
    CHECK(io_write_full(in_fd, csv.ptr, csv.len, err));
    CHECK(store_spool(lake->store, &out_fd, err));
    CHECK(catalog_place(lake->catalog, &name, &append.arena, &append.place, err));
    int64_t rows = convert(lake, &append, csv, in_fd, out_fd);
    uuid4(uuid);
    struct str key = arena_printf(&append.arena, "%.*s/data/%s.parquet",
                                  STR_ARG(append.place.location_key), uuid);
    CHECK(store_put_fd(lake->store, key, out_fd, true, NULL, &info, err));
    const struct ice_data_file file = {
        .content = ICE_DATA,
        .path = key,
        .format = STR("PARQUET"),
        .record_count = rows,
        .size_bytes = (int64_t)info.size,
        .sort_order_id = -1,
        .partition_avro = STR_EMPTY,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
    const struct catalog_append what = {
        .name = name,
        .schema = &append.schema,
        .files = &file,
        .file_count = 1,
        .create = true,
        .place = &append.place,
        .expected_schema_id = append.place.schema_id,
        .evolved_last_column_id = append.last_id,
        .deadline = deadline_in(30000),
    };
    CHECK(catalog_append(lake->catalog, &what, &append.arena, &appended, err));
    int64_t snapshot_id = appended.snapshot_id;
    arena_done(&append.arena);
    return snapshot_id;
}

/* --- statements --- */

enum status lake_sql_opts(struct lake *lake, const struct query_opts *opts, struct buf *out,
                          struct err *err)
{
    struct query *query = NULL;
    struct engine_frame frame = { .type = ENGINE_NOTHING_YET };
    TRY(query_start(lake->service, opts, &query, err));
    enum status kind = OK;
    while (kind == OK && frame.type != ENGINE_DONE) {
        kind = query_read_wait(query, &frame, err);
        if (kind == OK && frame.type == ENGINE_DATA && out != NULL) {
            kind = buf_append(out, frame.bytes);
        }
    }
    query_free(query);
    return kind;
}

enum status lake_sql(struct lake *lake, const char *sql, struct buf *out, struct err *err)
{
    const struct query_opts opts = { .sql = str_of(sql),
                                     .params = STR_EMPTY,
                                     .format = QUERY_JSON_ARRAYS,
                                     .deadline = deadline_in(60000) };
    if (out != NULL) {
        buf_clear(out);
    }
    return lake_sql_opts(lake, &opts, out, err);
}
