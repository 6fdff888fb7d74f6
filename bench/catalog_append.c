/*
 * The catalogue alone, on a folder: how fast appends commit, without HTTP, engines and files of
 * data.
 *
 *   catalog_append DIR group CLIENTS SECONDS   CLIENTS threads append one file after another to one
 *                                              table; prints appends, those that landed, and
 *                                              seconds
 *   catalog_append DIR age COUNT ROUNDS        COUNT appends to one table, one after the other;
 *   then
 *                                              by turns 20 more to it and 20 to a table of less
 *                                              than
 *                                              100. Prints milliseconds a round: old wall, old CPU,
 *                                              new wall, new CPU
 *   catalog_append DIR fill TABLES             so many tables of one append each
 *   catalog_append DIR files COUNT             a table "t" of COUNT files of 10 rows, in COUNT /
 *   100
 *                                              appends; column_0 of file i goes from 10 i to
 *                                              10 i + 9
 *   catalog_append DIR parts COUNT PARTS       the same, partitioned by column_1 into PARTS, in
 *                                              COUNT / PARTS commits, each with a file of every
 *                                              partition
 *
 * A file here is a name with statistics: the catalogue never opens data files. Exit code 1 with a
 * message on an error.
 */
#include "catalog/catalog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "catalog/changes.h"
#include "catalog/rewrite.h"

enum { CLIENTS_MAX = 256, COLUMNS = 8, ROUND = 20, PART = 100 };

static _Noreturn void die(const char *what, const struct err *err)
{
    fprintf(stderr, "catalog_append: %s: %s\n", what, err->msg);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct ice_schema *make_schema(struct arena *arena)
{
    struct ice_schema *schema = ARENA_NEW(arena, struct ice_schema);
    struct ice_field *fields = arena_array(arena, COLUMNS, sizeof(*fields));
    for (int i = 0; i < COLUMNS; i++) {
        fields[i] = (struct ice_field){ .id = i + 1,
                                        .name = arena_printf(arena, "column_%d", i),
                                        .type = { .kind = ICE_LONG } };
    }
    schema->root = (struct ice_type){ .kind = ICE_STRUCT,
                                      .fields = fields,
                                      .field_count = COLUMNS };
    return schema;
}

static struct str number_of(struct arena *arena, int64_t value)
{
    return arena_str(arena, str_from((const char *)&value, sizeof(value)));
}

static struct ice_data_file make_file(struct arena *arena, struct str location, int64_t number)
{
    char uuid[UUID_TEXT + 1];
    struct ice_column_stats *columns = arena_array(arena, COLUMNS, sizeof(*columns));
    uuid4(uuid);
    for (int i = 0; i < COLUMNS; i++) {
        columns[i] = (struct ice_column_stats){ .field_id = i + 1,
                                                .size_bytes = 100,
                                                .value_count = 10,
                                                .nan_count = -1,
                                                .lower = number_of(arena, 10 * number),
                                                .upper = number_of(arena, 10 * number + 9) };
    }
    return (struct ice_data_file){
        .path = arena_printf(arena, "%.*s/data/%s.parquet", STR_ARG(location), uuid),
        .format = STR("PARQUET"),
        .record_count = 10,
        .size_bytes = 1000,
        .columns = columns,
        .column_count = COLUMNS,
        .sort_order_id = -1,
        .status = ICE_ADDED,
        .snapshot_id = -1,
        .sequence_number = -1,
        .file_sequence_number = -1,
    };
}

/** A small batch of files under an id of its own; `from` numbers them. */
static void append_files(struct catalog *catalog, const char *table, int64_t from, size_t count)
{
    struct arena arena;
    struct err err = { 0 };
    struct table_name name;
    struct catalog_place place;
    struct catalog_appended out;
    char id[UUID_TEXT + 1];
    arena_init(&arena, 0);
    uuid4(id);
    if (table_name_parse(&arena, str_of(table), &name, &err) != OK ||
        catalog_place(catalog, &name, &arena, &place, &err) != OK) {
        die("place", &err);
    }
    struct ice_data_file *files = arena_array(&arena, count, sizeof(*files));
    for (size_t i = 0; i < count; i++) {
        files[i] = make_file(&arena, place.location_key, from + (int64_t)i);
    }
    struct catalog_append append = { .name = name,
                                     .batch_id = str_of(id),
                                     .schema = make_schema(&arena),
                                     .files = files,
                                     .file_count = count,
                                     .create = true,
                                     .place = &place,
                                     .expected_schema_id = place.schema_id };
    if (catalog_append(catalog, &append, &arena, &out, &err) != OK) {
        die("append", &err);
    }
    arena_done(&arena);
}

static void append_one(struct catalog *catalog, const char *table)
{
    append_files(catalog, table, 0, 1);
}

struct client {
    struct catalog *catalog;
    deadline_ms end;
    long appended;
};

static void *run_client(void *arg)
{
    struct client *client = arg;
    while (!deadline_passed(client->end)) {
        append_one(client->catalog, "t");
        client->appended++;
    }
    return NULL;
}

static int64_t rows_of(struct catalog *catalog)
{
    struct arena arena;
    struct err err = { 0 };
    struct table_summary table;
    struct table_name name = { .ns = STR("main"), .name = STR("t") };
    arena_init(&arena, 0);
    if (catalog_find(catalog, &name, false, &arena, &table, &err) != OK) {
        die("find", &err);
    }
    int64_t rows = table.row_count;
    arena_done(&arena);
    return rows;
}

static void group(struct catalog *catalog, int clients, int seconds)
{
    pthread_t threads[CLIENTS_MAX];
    struct client work[CLIENTS_MAX];
    long appended = 0;
    append_one(catalog, "t");
    double started = seconds_of(CLOCK_MONOTONIC);
    for (int i = 0; i < clients; i++) {
        work[i] = (struct client){ .catalog = catalog, .end = deadline_in(seconds * 1000L) };
        pthread_create(&threads[i], NULL, run_client, &work[i]);
    }
    for (int i = 0; i < clients; i++) {
        pthread_join(threads[i], NULL);
        appended += work[i].appended;
    }
    double took = seconds_of(CLOCK_MONOTONIC) - started;
    printf("%ld %lld %.3f\n", appended + 1, (long long)(rows_of(catalog) / 10), took);
}

static void round_of(struct catalog *catalog, const char *table)
{
    double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < ROUND; i++) {
        append_one(catalog, table);
    }
    printf("%.3f %.3f ", (seconds_of(CLOCK_MONOTONIC) - wall) * 1e3,
           (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e3);
}

static void age(struct catalog *catalog, int count, int rounds)
{
    for (int i = 0; i < count; i++) {
        append_one(catalog, "t");
    }
    for (int i = 0; i < rounds; i++) {
        char fresh[64];
        snprintf(fresh, sizeof(fresh), "fresh_%ld_%d", (long)getpid(), i / (100 / ROUND));
        round_of(catalog, "t");
        round_of(catalog, fresh);
        printf("\n");
        fflush(stdout);
    }
}

static void fill(struct catalog *catalog, int tables)
{
    for (int i = 0; i < tables; i++) {
        char name[32];
        snprintf(name, sizeof(name), "table_%04d", i);
        append_one(catalog, name);
    }
}

static void many_files(struct catalog *catalog, int count)
{
    for (int i = 0; i < count; i += PART) {
        append_files(catalog, "t", i, PART);
    }
}

/* --- a partitioned table --- */

static void make_partitioned(struct catalog *catalog)
{
    static const char request[] =
        "{\"schema\":{\"type\":\"struct\",\"fields\":["
        "{\"id\":1,\"name\":\"column_0\",\"required\":false,\"type\":\"long\"},"
        "{\"id\":2,\"name\":\"column_1\",\"required\":false,\"type\":\"long\"}]},"
        "\"partition-spec\":{\"fields\":[{\"source-id\":2,\"field-id\":1000,"
        "\"transform\":\"identity\",\"name\":\"column_1\"}]}}";
    struct arena arena;
    struct err err = { 0 };
    yyjson_doc *doc = NULL;
    struct catalog_namespace made;
    struct catalog_loaded loaded = { 0 };
    arena_init(&arena, 0);
    enum status status = json_parse(str_of(request), &doc, &err);
    status = status == OK
                 ? catalog_namespace_create(catalog, STR("main"), NULL, 0, &arena, &made, &err)
                 : status;
    const struct catalog_create create = { .name = { .ns = STR("main"), .name = STR("t") },
                                           .request = yyjson_doc_get_root(doc) };
    status = status == OK ? catalog_create_table(catalog, &create, &arena, &loaded, &err) : status;
    if (status != OK) {
        die("create", &err);
    }
    buf_done(&loaded.metadata);
    json_doc_done(&doc);
    arena_done(&arena);
}

/** Files of partitions 0 to `count`, one each. */
static void commit_parts(struct catalog *catalog, int64_t from, size_t count)
{
    const struct table_name name = { .ns = STR("main"), .name = STR("t") };
    struct arena arena;
    struct err err = { 0 };
    struct catalog_pin *pin = NULL;
    struct catalog_place place;
    struct ice_partition_specs specs;
    int64_t id = 0;
    arena_init(&arena, 0);
    if (catalog_pin(catalog, &name, false, NULL, &pin, &err) != OK ||
        catalog_place(catalog, &name, &arena, &place, &err) != OK ||
        ice_partition_specs(&arena, pin->metadata, &specs, &err) != OK) {
        die("pin", &err);
    }
    struct ice_data_file *files = arena_array(&arena, count, sizeof(*files));
    struct ice_partition_record *records = arena_array(&arena, count, sizeof(*records));
    for (size_t i = 0; i < count; i++) {
        struct str value = arena_printf(&arena, "%zu", i);
        files[i] = make_file(&arena, place.location_key, from + (int64_t)i);
        files[i].column_count = 2;
        files[i].columns[1].lower = files[i].columns[1].upper = number_of(&arena, (int64_t)i);
        if (ice_partition_record(&arena, &specs.specs[0], &value, &records[i], &err) != OK) {
            die("partition", &err);
        }
        files[i].partition_spec_id = specs.specs[0].id;
        files[i].partition_avro = records[i].avro;
    }
    const struct catalog_rewrite rewrite = {
        .name = name,
        .operation = "append",
        .uuid = pin->table.uuid,
        .snapshot_id = pin->snapshot == NULL ? -1 : pin->snapshot->id,
        .schema_id = pin->metadata->current_schema_id,
        .added = files,
        .partitions = records,
        .added_count = count,
    };
    if (catalog_rewrite(catalog, &rewrite, &id, &err) != OK) {
        die("commit", &err);
    }
    catalog_unpin(pin);
    arena_done(&arena);
}

static void partitioned(struct catalog *catalog, int count, int parts)
{
    make_partitioned(catalog);
    for (int i = 0; i < count; i += parts) {
        commit_parts(catalog, i, (size_t)parts);
    }
}

static void run(struct catalog *catalog, const char *what, int first, int second)
{
    if (strcmp(what, "fill") == 0) {
        fill(catalog, first);
    } else if (strcmp(what, "files") == 0) {
        many_files(catalog, first);
    } else if (strcmp(what, "parts") == 0) {
        partitioned(catalog, first, second);
    } else if (strcmp(what, "age") == 0) {
        age(catalog, first, second);
    } else {
        group(catalog, first < CLIENTS_MAX ? first : CLIENTS_MAX, second);
    }
}

int main(int argc, char **argv)
{
    struct store *store = NULL;
    struct catalog *catalog = NULL;
    struct err err = { 0 };
    bool two = argc == 5 && (strcmp(argv[2], "group") == 0 || strcmp(argv[2], "age") == 0 ||
                             strcmp(argv[2], "parts") == 0);
    bool one = argc == 4 && (strcmp(argv[2], "fill") == 0 || strcmp(argv[2], "files") == 0);
    if (!two && !one) {
        fprintf(stderr, "usage: catalog_append DIR group CLIENTS SECONDS | age COUNT ROUNDS | "
                        "fill TABLES | files COUNT | parts COUNT PARTS\n");
        return 2;
    }
    if (store_fs_open(&(struct store_fs_opts){ .dir = argv[1] }, &store, &err) != OK ||
        catalog_local_open(&(struct catalog_local_opts){ .store = store }, &catalog, &err) != OK) {
        die("open", &err);
    }
    run(catalog, argv[2], atoi(argv[3]), two ? atoi(argv[4]) : 0);
    catalog_close(catalog);
    store_close(store);
    return 0;
}
