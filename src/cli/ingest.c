/*
 * `lakehouse ingest`: files become rows of a table, streamed to the server one after the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/io.h"
#include "cli/cli_priv.h"

struct upload {
    const char *server, *table, *format, *types, *charset, *on_error, *dedup;
    const char *partition_by, *sort_by, *mode, *key;
    bool evolve, json;
};

static const struct cli_option ingest_options[] = {
    { .name = "table",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, table),
      .value = "TABLE",
      .help = "the table, for all files" },
    { .name = "evolve",
      .kind = CLI_SWITCH,
      .at = offsetof(struct upload, evolve),
      .help = "let the table grow: add columns that are new, widen types" },
    { .name = "format",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, format),
      .value = "csv|tsv|json|ndjson|parquet",
      .help = "what the file is, when its name and its bytes do not tell" },
    { .name = "types",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, types),
      .value = "NAME:TYPE,...",
      .help = "what columns are, whatever their values look like: boolean, int, long, float, "
              "double, decimal(p,s), date, time, timestamp, timestamptz, string, uuid" },
    { .name = "charset",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, charset),
      .value = "utf-8|iso-8859-1|windows-1252|utf-16|utf-16le|utf-16be",
      .help = "how its text is written, when that is not UTF-8" },
    { .name = "on-error",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, on_error),
      .value = "fail|skip",
      .help = "refuse a file with a bad row, or leave bad rows out and tell them [fail]" },
    { .name = "dedup",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, dedup),
      .value = "on|off",
      .help = "recognise a file that has landed before, or add it again [on]" },
    { .name = "mode",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, mode),
      .value = "append|overwrite|upsert",
      .help = "add the rows, replace all rows of the table by them, or (with --key) those with the "
              "same keys [append]" },
    { .name = "key",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, key),
      .value = "COLUMN,...",
      .help =
          "of --mode upsert: by which columns rows are the same; the last row of a key counts" },
    { .name = "partition-by",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, partition_by),
      .value = "FIELD,...",
      .help = "how rows of a new table are spread over files: column, year(c), month(c), day(c), "
              "hour(c), bucket(n, c), truncate(n, c)" },
    { .name = "sort-by",
      .kind = CLI_VALUE,
      .at = offsetof(struct upload, sort_by),
      .value = "FIELD [desc],...",
      .help = "how rows of a new table are sorted in each file" },
    CLI_JSON(struct upload, json),
    CLI_SERVER(struct upload, server),
};

const struct cli_page cli_ingest_page = {
    .command = "ingest",
    .summary = "make files rows of a table",
    .synopsis = "[options] FILE...",
    .words = "FILE",
    .text =
        "Each file is added to a table, in one atomic commit: the table of its own name "
        "(birdstrikes.csv -> birdstrikes: what stands before the first dot), or the one that "
        "--table names. A table that is not there is made with the file's schema. The same file "
        "again is recognised and changes nothing. A file that is refused adds nothing, and the "
        "others are still tried. gzip and zstd are unpacked. \"-\" reads standard input (with "
        "--table).\n"
        "\n"
        "As JSON: a line for each file with the server's answer, or with its error.",
    .options = ingest_options,
    .option_count = ARRAY_LEN(ingest_options),
    .examples = "lakehouse ingest birdstrikes.csv airports.csv\n"
                "lakehouse ingest 2025-*.csv --table sales.orders --evolve\n"
                "lakehouse ingest orders.csv --types 'zip:string,price:decimal(10,2)'\n"
                "lakehouse ingest events.csv --partition-by 'day(ts),bucket(16,id)' --sort-by ts\n"
                "lakehouse ingest customers.csv --mode upsert --key id\n"
                "zcat big.csv.gz | lakehouse ingest - --table big",
};

/* What is being sent. */
struct source {
    int fd;
    struct cli_progress progress;
};

static enum status read_file(void *ctx, char *ptr, size_t cap, size_t *got_out, struct err *err)
{
    struct source *source = ctx;
    for (;;) {
        ssize_t n = read(source->fd, ptr, cap);
        if (n >= 0) {
            cli_progress_add(&source->progress, (size_t)n);
            *got_out = (size_t)n;
            return OK;
        }
        if (errno != EINTR) {
            return err_errno(err, errno, "cannot read the file");
        }
    }
}

/** birdstrikes for /data/birdstrikes.csv: what stands before the first dot of the name. */
static struct str table_of(const char *path)
{
    struct str name = str_of(path);
    size_t slash = str_rfind_char(name, '/');
    name = slash == SIZE_MAX ? name : str_skip(name, slash + 1);
    size_t dot = str_find_char(name, '.');
    return dot == SIZE_MAX || dot == 0 ? name : str_take(name, dot);
}

static enum status add_parameter(struct buf *out, const char *name, const char *value)
{
    if (value == NULL) {
        return OK;
    }
    TRY(buf_printf(out, "&%s=", name));
    return percent_append(out, str_of(value), "");
}

static enum status target_of(const struct upload *upload, struct str table, struct buf *out)
{
    TRY(buf_append(out, STR("/v1/ingest?name=")));
    TRY(percent_append(out, table, ""));
    TRY(add_parameter(out, "evolve", upload->evolve ? "true" : NULL));
    TRY(add_parameter(out, "format", upload->format));
    TRY(add_parameter(out, "types", upload->types));
    TRY(add_parameter(out, "on_error", upload->on_error));
    TRY(add_parameter(out, "dedup", upload->dedup));
    TRY(add_parameter(out, "mode", upload->mode));
    TRY(add_parameter(out, "key", upload->key));
    TRY(add_parameter(out, "partition_by", upload->partition_by));
    return add_parameter(out, "sort_by", upload->sort_by);
}

/** Whether a file's name ends so; *name_io is then without it. */
static bool take_ending(struct str *name_io, const char *ending)
{
    struct str end = str_of(ending), name = *name_io;
    if (name.len < end.len || !str_eq_nocase(str_skip(name, name.len - end.len), end)) {
        return false;
    }
    *name_io = str_take(name, name.len - end.len);
    return true;
}

/** The content type by the file's name, which a raw body does not carry: "text/csv" for
 * birds.csv.gz. What has no known ending is for the server to find out. */
static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        { ".csv", "text/csv" },
        { ".tsv", "text/tab-separated-values" },
        { ".tab", "text/tab-separated-values" },
        { ".json", "application/json" },
        { ".ndjson", "application/x-ndjson" },
        { ".jsonl", "application/x-ndjson" },
        { ".parquet", "application/vnd.apache.parquet" },
        { ".pq", "application/vnd.apache.parquet" },
    };
    struct str name = str_of(path);
    (void)(take_ending(&name, ".gz") || take_ending(&name, ".zst") || take_ending(&name, ".zstd"));
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (take_ending(&name, types[i][0])) {
            return types[i][1];
        }
    }
    return "application/octet-stream";
}

static struct str content_type_of(const struct upload *upload, const char *path,
                                  struct arena *arena)
{
    return upload->charset == NULL
               ? str_of(type_of(path))
               : arena_printf(arena, "%s; charset=\"%s\"", type_of(path), upload->charset);
}

/** Rows that were left out, on standard error: the first ones, and how many. */
static void tell_skipped(yyjson_val *skipped)
{
    enum { TOLD_MAX = 10 };
    uint64_t count = yyjson_get_uint(yyjson_obj_get(skipped, "count"));
    yyjson_val *rows = yyjson_obj_get(skipped, "rows"), *row;
    size_t i, max;
    if (count == 0) {
        return;
    }
    fprintf(stderr, "%llu row%s left out:\n", (unsigned long long)count, count == 1 ? "" : "s");
    yyjson_arr_foreach(rows, i, max, row)
    {
        const char *reason = yyjson_get_str(yyjson_obj_get(row, "reason"));
        if (i < TOLD_MAX && reason != NULL) {
            fprintf(stderr, "  line %llu: %s\n",
                    (unsigned long long)yyjson_get_uint(yyjson_obj_get(row, "line")), reason);
        }
    }
    if (count > TOLD_MAX) {
        fprintf(stderr, "  ...\n");
    }
}

/** ", 12 replaced" of an upsert. */
static struct str replaced_text(struct arena *arena, yyjson_val *root, bool again)
{
    yyjson_val *replaced = yyjson_obj_get(root, "replaced");
    if (replaced == NULL || again) {
        return STR_EMPTY;
    }
    struct str count = cli_count(arena, yyjson_get_sint(replaced));
    return arena_printf(arena, ", %.*s replaced", STR_ARG(count));
}

/** "birdstrikes: 10,000 rows added, table created (0.2 s)" */
static enum status report(struct str json, int64_t took_us, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, 0);
    TRY(json_parse(json, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str table;
    int64_t rows = 0;
    bool created = false, again = false;
    TRY(json_get_str(root, "table", JSON_REQUIRED, &table, err));
    TRY(json_get_i64(root, "rows", JSON_REQUIRED, &rows, err));
    TRY(json_get_bool(root, "created", JSON_OPTIONAL, &created, err));
    TRY(json_get_bool(root, "deduplicated", JSON_OPTIONAL, &again, err));
    struct str count = cli_count(&arena, rows);
    const char *outcome = again     ? rows == 1 ? "was there already, nothing changed"
                                                : "were there already, nothing changed"
                          : created ? "added, table created"
                                    : "added";
    struct str line = arena_printf(&arena, "%.*s: %.*s row%s %s%.*s (%.1f s)\n", STR_ARG(table),
                                   STR_ARG(count), rows == 1 ? "" : "s", outcome,
                                   STR_ARG(replaced_text(&arena, root, again)),
                                   (double)took_us / 1e6);
    TRY(cli_print(line, err));
    tell_skipped(yyjson_obj_get(root, "skipped"));
    return OK;
}

/** `{"file":"birds.csv","answer":{...}}`, a line; or with an "error" in the answer's place. */
static enum status report_json(const char *path, struct str answer, const struct err *failed,
                               struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    struct json_writer w;
    json_writer_init(&w, &out);
    jw_obj_begin(&w);
    jw_kv_cstr(&w, "file", path);
    if (failed == NULL) {
        TRY(json_parse(answer, &doc, err));
        jw_key(&w, STR("answer"));
        jw_val(&w, yyjson_doc_get_root(doc));
    } else {
        jw_kv_obj(&w, "error");
        jw_kv_cstr(&w, "code", status_name(failed->kind));
        jw_kv_cstr(&w, "message", failed->msg);
        jw_obj_end(&w);
    }
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK || buf_append_char(&out, '\n') != OK) {
        return err_no_memory(err);
    }
    return cli_print(buf_str(&out), err);
}

static enum status open_source(const char *path, struct source *source, int64_t *length_out,
                               struct err *err)
{
    struct stat info;
    source->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (source->fd == -1 || fstat(source->fd, &info) != 0) {
        return err_errno(err, errno, "cannot open it");
    }
    if (S_ISDIR(info.st_mode)) {
        return err_set(err, E_INVALID, "it is a folder");
    }
    *length_out = S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
    return OK;
}

static void close_source(struct source *source)
{
    fd_done(&source->fd);
    cli_progress_end(&source->progress);
}

static enum status send_file(struct http_client *client, const struct upload *upload,
                             const char *path, struct err *err)
{
    AUTO(close_source) struct source source = { .fd = -1 };
    AUTO(arena_done) struct arena arena;
    AUTO(buf_done) struct buf target;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    int64_t length = -1;
    arena_init(&arena, 0);
    buf_init(&target, 0);
    TRY(open_source(path, &source, &length, err));
    if (target_of(upload, upload->table != NULL ? str_of(upload->table) : table_of(path),
                  &target) != OK) {
        return err_no_memory(err);
    }
    struct http_header type = { STR_INIT("Content-Type"), content_type_of(upload, path, &arena) };
    if (type.value.ptr == NULL) {
        return err_no_memory(err);
    }
    cli_progress_start(&source.progress, path, length > 0 ? (uint64_t)length : 0);
    int64_t start = clock_now_us();
    enum status status = cli_call(client,
                                  &(struct http_call){
                                      .method = HTTP_POST,
                                      .target = buf_str(&target),
                                      .headers = &type,
                                      .header_count = 1,
                                      .read_body = read_file,
                                      .ctx = &source,
                                      .body_length = length,
                                      .deadline = DEADLINE_NEVER,
                                  },
                                  &answer, err);
    cli_progress_end(&source.progress);
    TRY(status);
    struct str json = buf_str(&answer.body);
    return upload->json ? report_json(path, json, NULL, err)
                        : report(json, clock_now_us() - start, err);
}

/** Each file is a commit of its own, so one that is refused does not stop the others; a server that
 * is gone does. */
static int send_all(struct http_client *client, const struct upload *upload, int count,
                    char **paths)
{
    int code = 0;
    for (int i = 0; i < count; i++) {
        struct err err = { 0 }, named = { 0 };
        if (send_file(client, upload, paths[i], &err) == OK) {
            continue;
        }
        if (upload->json && report_json(paths[i], STR_EMPTY, &err, &named) != OK) {
            return cli_failed("ingest", &named);
        }
        err_set(&named, err.kind, "%s: %s",
                strcmp(paths[i], "-") == 0 ? "standard input" : paths[i], err.msg);
        code = cli_failed("ingest", &named);
        if (err.kind == E_CONFLICT && !upload->evolve) {
            fprintf(stderr, "--evolve lets a table grow: new columns, wider types\n");
        }
        if (err.kind == E_UPSTREAM) {
            break;
        }
    }
    return code;
}

int cli_ingest(int argc, char **argv)
{
    argc--;
    argv++;
    struct upload upload = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_ingest_page, &upload, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc == 0) {
        return cli_usage("ingest", "which files? (lakehouse ingest --help)");
    }
    struct err err = { 0 };
    struct http_client *client = NULL;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-") == 0 && upload.table == NULL) {
            return cli_usage("ingest", "standard input has no name: say --table NAME");
        }
    }
    bool replaces = upload.mode != NULL && strcmp(upload.mode, "overwrite") == 0;
    if (replaces && upload.table != NULL && argc > 1) {
        return cli_usage("ingest", "each file would replace the one before: --mode overwrite with "
                                   "--table takes one file");
    }
    if (cli_connect(upload.server, &client, &err) != OK) {
        return cli_usage("ingest", "%s", err.msg);
    }
    int code = send_all(client, &upload, argc, argv);
    http_client_free(client);
    return code;
}
