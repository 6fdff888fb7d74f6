/*
 * main() of lakehouse-engine: arguments, the box, DuckDB, then jobs until the server goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/io.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine/child.h"
#include "engine/wire.h"

struct arguments {
    const char *name;
    const char *temp;
    uint64_t parent, threads, memory, address, temp_bytes;
};

/** Value of `--name=value`, or NULL. */
static const char *value_of(const char *arg, const char *name)
{
    size_t len = strlen(name);
    return strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, len) == 0 && arg[2 + len] == '='
               ? arg + 3 + len
               : NULL;
}

static bool parse_one(struct arguments *args, const char *arg)
{
    struct {
        const char *name;
        uint64_t *number;
        const char **text;
    } const known[] = {
        { "engine", NULL, &args->name },           { "temp", NULL, &args->temp },
        { "parent", &args->parent, NULL },         { "threads", &args->threads, NULL },
        { "memory", &args->memory, NULL },         { "address", &args->address, NULL },
        { "temp-bytes", &args->temp_bytes, NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const char *value = value_of(arg, known[i].name);
        if (value == NULL) {
            continue;
        }
        if (known[i].text != NULL) {
            *known[i].text = value;
            return true;
        }
        return str_to_u64(str_of(value), known[i].number);
    }
    return false;
}

/** The spill folder, empty. */
static enum status empty_folder(const char *path, struct err *err)
{
    if (path == NULL) {
        return OK;
    }
    TRY(io_remove_tree(path, err));
    return mkdir(path, 0700) == 0 ? OK
                                  : err_errno(err, errno, "folder for spilled data '%s'", path);
}

/* --- what lakefs asks, asked of the parent. `ctx` is where the job that runs is found. --- */

static enum status host_open(void *ctx, uint32_t file, int *fd_out, uint64_t *size_out,
                             struct err *err)
{
    struct child_job *job = *(struct child_job **)ctx;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(fd_done) int fd = -1;
    AUTO(buf_done) struct buf reply;
    char args[64];
    buf_init(&reply, WIRE_BODY_MAX);
    int len = snprintf(args, sizeof(args), "{\"file\":%u}", file);
    TRY(child_call(job, "open", str_from(args, (size_t)len), &reply, &fd, err));
    TRY(json_parse(buf_str(&reply), &doc, err));
    TRY(json_get_u64(yyjson_doc_get_root(doc), "size", JSON_REQUIRED, size_out, err));
    *fd_out = fd;
    fd = -1;
    return OK;
}

static enum status host_read(void *ctx, uint32_t file, uint64_t offset, void *ptr, size_t len,
                             size_t *got_out, struct err *err)
{
    struct child_job *job = *(struct child_job **)ctx;
    AUTO(buf_done) struct buf reply;
    char args[128];
    buf_init(&reply, WIRE_PAYLOAD_MAX);
    int args_len = snprintf(args, sizeof(args), "{\"file\":%u,\"offset\":%llu,\"length\":%zu}",
                            file, (unsigned long long)offset, len);
    TRY(child_call(job, "read", str_from(args, (size_t)args_len), &reply, NULL, err));
    if (reply.len > len) {
        return err_set(err, E_INTERNAL, "the server gave more bytes than were asked for");
    }
    if (reply.len > 0) {
        memcpy(ptr, reply.ptr, reply.len);
    }
    *got_out = reply.len;
    return OK;
}

static enum status job_begin(void *ctx, struct child_job *job, struct err *err)
{
    uint8_t random[16];
    char token[2 * sizeof(random)];
    struct buf text = { .ptr = NULL, .max = sizeof(token) };
    random_bytes(random, sizeof(random));
    enum status kind = hex_append(&text, random, sizeof(random));
    if (kind == OK) {
        *(struct child_job **)ctx = job;
        kind = lakefs_begin(job->lakefs, buf_str(&text), err);
    }
    buf_done(&text);
    return kind;
}

static void job_end(void *ctx, struct child_job *job)
{
    (void)ctx;
    lakefs_end(job->lakefs);
}

static enum status serve(const struct arguments *args, struct duck *duck, int statm_fd,
                         struct err *err)
{
    static const struct child_kind kinds[] = { { "query", child_query },
                                               { "convert", child_convert },
                                               { "upsert", child_upsert },
                                               { "unpack", child_unpack },
                                               { "inspect", child_inspect } };
    struct child_job *job = NULL;
    struct lakefs *fs = NULL;
    const struct lakefs_opts fs_opts = { .host = {
                                             .open = host_open, .read = host_read, .ctx = &job } };
    TRY(lakefs_new(&fs_opts, &fs, err));
    const struct child_opts opts = {
        .control_fd = WIRE_CONTROL_FD,
        .kinds = kinds,
        .kind_count = ARRAY_LEN(kinds),
        .duck = duck,
        .lakefs = fs,
        .begin = job_begin,
        .end = job_end,
        .ctx = &job,
        .temp_dir = args->temp,
        .spool_bytes_max = args->temp_bytes / 4,
        .memory_limit_bytes = args->memory,
        .statm_fd = statm_fd,
    };
    int code = child_serve(&opts);
    lakefs_free(fs);
    return code == 0 ? OK : err_set(err, E_INTERNAL, "the engine has ended");
}

static enum status run(const struct arguments *args, struct err *err)
{
    struct duck *duck = NULL;
    AUTO(fd_done) int statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    TRY(empty_folder(args->temp, err));
    const struct child_box box = { .parent_pid = (int)args->parent,
                                   .address_bytes = args->address,
                                   .temp_dir = args->temp };
    TRY(child_box_enter(&box, err));
    const struct duck_opts opts = {
        .threads = (unsigned)args->threads,
        .memory_limit_bytes = args->memory,
        .temp_dir = args->temp,
        .temp_bytes_max = args->temp_bytes,
    };
    TRY(duck_open(&opts, &duck, err));
    enum status kind = serve(args, duck, statm_fd, err);
    duck_close(duck);
    return kind;
}

int child_main(int argc, char **argv)
{
    struct arguments args = { .name = NULL, .temp_bytes = (uint64_t)16 << 30 };
    for (int i = 1; i < argc; i++) {
        if (!parse_one(&args, argv[i])) {
            fprintf(stderr, "lakehouse-engine: unknown argument '%s'\n", argv[i]);
            return 2;
        }
    }
    struct stat control;
    if (args.name == NULL || fstat(WIRE_CONTROL_FD, &control) != 0 || !S_ISSOCK(control.st_mode)) {
        fprintf(
            stderr,
            "lakehouse-engine is started by `lakehouse serve`, `queryd` and `ingestd`; it does nothing by itself\n");
        return 2;
    }
    log_setup(LOG_INFO, args.name);
    struct err err = { 0 };
    if (run(&args, &err) != OK) {
        child_refuse(WIRE_CONTROL_FD, &err);
        return 1;
    }
    return 0;
}
