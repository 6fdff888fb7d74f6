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

static const char usage[] =
    "usage: lakehouse ingest FILE... [--table NAME] [--format csv|tsv|json|ndjson|parquet] [--evolve] [--server URL]\n"
    "\n"
    "Each file is added to a table, in one atomic commit: the table of its own name (birdstrikes.csv -> birdstrikes: what stands\n"
    "before the first dot), or the one that --table names. A table that is not there is made with the file's schema. The same file again is recognised and changes\n"
    "nothing. A file that is refused adds nothing, and the others are still tried. \"-\" reads standard input (with --table).\n"
    "\n"
    "  --table    the table, for all files\n"
    "  --evolve   let the table grow: add columns that are new, widen types\n"
    "  --format   what the file is, when its name and its bytes do not tell\n"
    "  --server   where the server is; else LAKEHOUSE_SERVER, else http://127.0.0.1:3110\n"
    "\n"
    "  lakehouse ingest birdstrikes.csv airports.csv\n"
    "  lakehouse ingest 2025-*.csv --table sales.orders --evolve\n"
    "  zcat big.csv.gz | lakehouse ingest - --table big\n";

struct upload {
    const char *server, *table, *format;
    bool evolve;
};

static enum status read_file(void *ctx, char *ptr, size_t cap, size_t *got_out, struct err *err)
{
    int fd = *(int *)ctx;
    for (;;) {
        ssize_t n = read(fd, ptr, cap);
        if (n >= 0) {
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

static enum status target_of(const struct upload *upload, struct str table, struct buf *out)
{
    TRY(buf_append(out, STR("/v1/ingest?name=")));
    TRY(percent_append(out, table, ""));
    if (upload->evolve) {
        TRY(buf_append(out, STR("&evolve=true")));
    }
    if (upload->format != NULL) {
        TRY(buf_append(out, STR("&format=")));
        TRY(percent_append(out, str_of(upload->format), ""));
    }
    return OK;
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
    struct str line = arena_printf(&arena, "%.*s: %.*s row%s %s (%.1f s)\n", STR_ARG(table),
                                   STR_ARG(count), rows == 1 ? "" : "s", outcome,
                                   (double)took_us / 1e6);
    return cli_print(line, err);
}

static enum status send_file(struct http_client *client, const struct upload *upload,
                             const char *path, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    AUTO(fd_done) int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd == -1 || fstat(fd, &info) != 0) {
        return err_errno(err, errno, "cannot open it");
    }
    if (S_ISDIR(info.st_mode)) {
        return err_set(err, E_INVALID, "it is a folder");
    }
    AUTO(buf_done) struct buf target;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    buf_init(&target, 0);
    if (target_of(upload, upload->table != NULL ? str_of(upload->table) : table_of(path),
                  &target) != OK) {
        return err_no_memory(err);
    }
    int64_t start = clock_now_us();
    TRY(cli_call(client,
                 &(struct http_call){
                     .method = HTTP_POST,
                     .target = buf_str(&target),
                     .read_body = read_file,
                     .ctx = &fd,
                     .body_length = S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1,
                     .deadline = DEADLINE_NEVER,
                 },
                 &answer, err));
    return report(buf_str(&answer.body), clock_now_us() - start, err);
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
    bool help = false;
    struct cli_option options[] = {
        { .name = "server", .value = &upload.server },
        { .name = "table", .value = &upload.table },
        { .name = "format", .value = &upload.format },
        { .name = "evolve", .flag = &upload.evolve },
        { .name = "help", .flag = &help },
        { .name = "h", .flag = &help },
    };
    if (!cli_options("ingest", options, ARRAY_LEN(options), &argc, argv)) {
        return 2;
    }
    if (help) {
        return cli_help(usage);
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
    if (cli_connect(upload.server, &client, &err) != OK) {
        return cli_usage("ingest", "%s", err.msg);
    }
    int code = send_all(client, &upload, argc, argv);
    http_client_free(client);
    return code;
}
