/*
 * The table of settings, and how they are gathered: defaults < file < environment < flags.
 *
 * A service reads its own section and the shared [http], [log] and [cluster]; `serve` reads all of
 * them, with the binds of the inner services unused.
 */
#include "cmd/options.h"

#include <unistd.h>

#include "base/mem.h"

#define SECONDS "s"
#define BYTES "bytes"

#define BIND(section_, port, what)                                                                 \
    { .section = section_,                                                                         \
      .name = "bind",                                                                              \
      .type = SETTING_STR,                                                                         \
      .default_value = "127.0.0.1:" port,                                                          \
      .help = "Address of " what "; port 0 takes any free one." }
#define URL(section_, name_, port, what)                                                           \
    { .section = section_,                                                                         \
      .name = name_,                                                                               \
      .type = SETTING_STR,                                                                         \
      .default_value = "http://127.0.0.1:" port,                                                   \
      .help = "Where " what " is, with scheme." }

const struct setting_def option_defs[] = {
    { .section = "gateway",
      .name = "bind",
      .type = SETTING_STR,
      .default_value = "127.0.0.1:3110",
      .flag = "listen",
      .help = "Address of the one door (also of `serve`); port 0 takes any free one." },
    URL("gateway", "storaged_url", "3211", "storaged"),
    URL("gateway", "catalogd_url", "3212", "catalogd"),
    URL("gateway", "ingestd_url", "3213", "ingestd"),
    URL("gateway", "queryd_url", "3214", "queryd"),
    { .section = "gateway",
      .name = "hosts",
      .type = SETTING_LIST,
      .default_value = "",
      .help = "Names, besides IP literals and localhost, that a Host header may carry." },
    { .section = "gateway",
      .name = "origins",
      .type = SETTING_LIST,
      .default_value = "",
      .help = "Foreign web origins whose pages may call." },
    { .section = "gateway",
      .name = "head_timeout_seconds",
      .type = SETTING_INT,
      .default_value = "310",
      .unit = SECONDS,
      .min = 1,
      .max = 86400,
      .help = "How long a service may take to begin its answer; then 504." },

    BIND("storaged", "3211", "storaged"),
    { .section = "storaged",
      .name = "backend",
      .type = SETTING_STR,
      .default_value = "fs",
      .help = "Where objects lie: \"fs\", a local directory, or \"s3\", the bucket of [s3]." },
    { .section = "storaged",
      .name = "dir",
      .type = SETTING_STR,
      .default_value = "./data",
      .flag = "data",
      .help = "The directory of the fs backend; made if missing." },
    { .section = "storaged",
      .name = "max_object_bytes",
      .type = SETTING_BYTES,
      .default_value = "268435456",
      .unit = BYTES,
      .min = 1,
      .max = INT64_MAX,
      .help = "Largest object that a client may PUT." },
    { .section = "storaged",
      .name = "put_slots",
      .type = SETTING_INT,
      .default_value = "4",
      .min = 1,
      .max = 1024,
      .help = "Client PUTs at a time; one more gets 503." },

    { .section = "s3",
      .name = "endpoint",
      .type = SETTING_STR,
      .default_value = "",
      .help = "URL of the store behind storaged, without bucket." },
    { .section = "s3",
      .name = "bucket",
      .type = SETTING_STR,
      .default_value = "",
      .help = "The bucket; it must be there." },
    { .section = "s3",
      .name = "prefix",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Put in front of all keys, so that several lakes may share a bucket." },
    { .section = "s3",
      .name = "region",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Empty: AWS_REGION, the shared files, else us-east-1." },
    { .section = "s3",
      .name = "addressing",
      .type = SETTING_STR,
      .default_value = "path",
      .help = "\"path\" (endpoint/bucket/key) or \"virtual\" (bucket.endpoint/key)." },
    { .section = "s3",
      .name = "access_key",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Empty: AWS_ACCESS_KEY_ID and its kin, else the shared files." },
    { .section = "s3",
      .name = "secret_key",
      .type = SETTING_STR,
      .default_value = "",
      .secret = true,
      .help = "Belongs to access_key." },
    { .section = "s3",
      .name = "session_token",
      .type = SETTING_STR,
      .default_value = "",
      .secret = true,
      .help = "Of short-lived keys." },
    { .section = "s3",
      .name = "profile",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Of the shared files; empty: AWS_PROFILE, else default." },
    { .section = "s3",
      .name = "ca_file",
      .type = SETTING_STR,
      .default_value = "",
      .help = "PEM of who vouches for the endpoint's certificate; empty: the system's." },
    { .section = "s3",
      .name = "retry_seconds",
      .type = SETTING_INT,
      .default_value = "30",
      .unit = SECONDS,
      .min = 1,
      .max = 3600,
      .help = "How long a store that is away or busy is tried again." },

    BIND("catalogd", "3212", "catalogd"),
    URL("catalogd", "storaged_url", "3211", "storaged"),
    { .section = "catalogd",
      .name = "grace_seconds",
      .type = SETTING_INT,
      .default_value = "86400",
      .unit = SECONDS,
      .min = 0,
      .max = INT32_MAX,
      .help = "How long a file is kept after nothing refers to it any more." },
    { .section = "catalogd",
      .name = "sweep_seconds",
      .type = SETTING_INT,
      .default_value = "300",
      .unit = SECONDS,
      .min = 0,
      .max = 86400,
      .help = "How often files whose time is over are deleted; 0 is never." },
    { .section = "catalogd",
      .name = "cache_bytes",
      .type = SETTING_BYTES,
      .default_value = "64MiB",
      .unit = BYTES,
      .min = 1048576,
      .max = INT64_MAX,
      .help = "Memory for parsed metadata and manifests." },

    BIND("ingestd", "3213", "ingestd"),
    URL("ingestd", "storaged_url", "3211", "storaged"),
    URL("ingestd", "catalogd_url", "3212", "catalogd"),
    { .section = "ingestd",
      .name = "engines",
      .type = SETTING_INT,
      .default_value = "2",
      .min = 1,
      .max = 64,
      .help = "Files converted at a time, each in an engine process of its own." },
    { .section = "ingestd",
      .name = "threads",
      .type = SETTING_INT,
      .default_value = "0",
      .min = 0,
      .max = 1024,
      .help = "Threads of each engine; 0 is the number of cores." },
    { .section = "ingestd",
      .name = "memory_limit",
      .type = SETTING_BYTES,
      .default_value = "0",
      .unit = BYTES,
      .min = 0,
      .max = INT64_MAX,
      .help = "Memory of each engine; 0 is an eighth of the machine's, at least 512 MiB." },
    { .section = "ingestd",
      .name = "temp_dir",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Folder for spilling; empty: below the system's temporary folder." },
    { .section = "ingestd",
      .name = "temp_bytes_max",
      .type = SETTING_BYTES,
      .default_value = "16GiB",
      .unit = BYTES,
      .min = 0,
      .max = INT64_MAX,
      .help = "Most that each engine may spill." },
    { .section = "ingestd",
      .name = "max_columns",
      .type = SETTING_INT,
      .default_value = "10000",
      .min = 1,
      .max = 100000,
      .help = "Most columns of a file." },
    { .section = "ingestd",
      .name = "max_line_bytes",
      .type = SETTING_BYTES,
      .default_value = "16777216",
      .unit = BYTES,
      .min = 1024,
      .max = 1073741824,
      .help = "Longest line of a text file." },
    { .section = "ingestd",
      .name = "max_unpacked_bytes",
      .type = SETTING_BYTES,
      .default_value = "68719476736",
      .unit = BYTES,
      .min = 1024,
      .max = INT64_MAX,
      .help = "Most bytes that a gzip or zstd file may unpack to." },
    { .section = "ingestd",
      .name = "max_expansion",
      .type = SETTING_INT,
      .default_value = "200",
      .min = 2,
      .max = 1000000,
      .help = "How many times larger a gzip or zstd file may unpack, beyond 64 MiB." },
    { .section = "ingestd",
      .name = "timeout_seconds",
      .type = SETTING_INT,
      .default_value = "3600",
      .unit = SECONDS,
      .min = 1,
      .max = 604800,
      .help = "Time limit of one ingest." },

    BIND("queryd", "3214", "queryd"),
    URL("queryd", "storaged_url", "3211", "storaged"),
    URL("queryd", "catalogd_url", "3212", "catalogd"),
    { .section = "queryd",
      .name = "engines",
      .type = SETTING_INT,
      .default_value = "8",
      .min = 1,
      .max = 256,
      .help = "Statements at a time, each in an engine process of its own; more wait in a queue." },
    { .section = "queryd",
      .name = "queue",
      .type = SETTING_INT,
      .default_value = "64",
      .min = 1,
      .max = 100000,
      .help = "Statements that may wait for an engine; one more gets 503." },
    { .section = "queryd",
      .name = "threads",
      .type = SETTING_INT,
      .default_value = "0",
      .min = 0,
      .max = 1024,
      .help = "Threads of each engine; 0 is the number of cores." },
    { .section = "queryd",
      .name = "memory_limit",
      .type = SETTING_BYTES,
      .default_value = "0",
      .unit = BYTES,
      .min = 0,
      .max = INT64_MAX,
      .help = "Memory of each engine; 0 is an eighth of the machine's, at least 512 MiB." },
    { .section = "queryd",
      .name = "temp_dir",
      .type = SETTING_STR,
      .default_value = "",
      .help = "Folder for spilling; empty: below the system's temporary folder." },
    { .section = "queryd",
      .name = "temp_bytes_max",
      .type = SETTING_BYTES,
      .default_value = "16GiB",
      .unit = BYTES,
      .min = 0,
      .max = INT64_MAX,
      .help = "Most that each engine may spill." },
    { .section = "queryd",
      .name = "timeout_seconds",
      .type = SETTING_INT,
      .default_value = "300",
      .unit = SECONDS,
      .min = 1,
      .max = 86400,
      .help = "Time limit of one statement; then 504." },

    { .section = "log",
      .name = "level",
      .type = SETTING_STR,
      .default_value = "info",
      .help = "debug, info, warn or error." },

    { .section = "http",
      .name = "allow_remote",
      .type = SETTING_BOOL,
      .default_value = "false",
      .help = "Allow addresses that are not loopback. There is no authentication yet." },
    { .section = "http",
      .name = "header_bytes_max",
      .type = SETTING_BYTES,
      .default_value = "16KiB",
      .unit = BYTES,
      .min = 1024,
      .max = 16777216,
      .help = "Largest head of a request." },
    { .section = "http",
      .name = "body_bytes_max",
      .type = SETTING_BYTES,
      .default_value = "16MiB",
      .unit = BYTES,
      .min = 1024,
      .max = 1073741824,
      .help = "Largest body of a request that is not streamed (JSON routes)." },
    { .section = "http",
      .name = "idle_timeout_seconds",
      .type = SETTING_INT,
      .default_value = "60",
      .unit = SECONDS,
      .min = 1,
      .max = 86400,
      .help = "A connection on which nothing moves this long is closed." },
    { .section = "http",
      .name = "body_rate_min",
      .type = SETTING_INT,
      .default_value = "500",
      .unit = "B/s",
      .min = 0,
      .max = 1000000000,
      .help =
          "A body that comes slower than this, on average over the idle time, is cut; 0 is never." },
    { .section = "http",
      .name = "connections_max",
      .type = SETTING_INT,
      .default_value = "1024",
      .min = 1,
      .max = 1000000,
      .help = "Open connections." },
    { .section = "http",
      .name = "workers",
      .type = SETTING_INT,
      .default_value = "32",
      .min = 1,
      .max = 1024,
      .help = "Threads that run the steps of requests." },
    { .section = "http",
      .name = "queue",
      .type = SETTING_INT,
      .default_value = "1024",
      .min = 1,
      .max = 1000000,
      .help = "Steps that may wait for a worker; one more gets 503." },
    { .section = "http",
      .name = "drain_seconds",
      .type = SETTING_INT,
      .default_value = "10",
      .unit = SECONDS,
      .min = 0,
      .max = 3600,
      .help = "Time that a stop gives to what runs." },

    { .section = "cluster",
      .name = "secret",
      .type = SETTING_STR,
      .default_value = "",
      .secret = true,
      .help = "Shared by the services; empty: made at first start in <dir>/_lake/secret." },
};
const size_t option_count = ARRAY_LEN(option_defs);

/** Take `-config FILE`, `--config FILE` and `--config=FILE` out of argv; NULL when it is not
 * there. */
static enum status take_config(int *argc, char **argv, const char **path_out, struct err *err)
{
    int kept = 1;
    *path_out = NULL;
    for (int i = 1; i < *argc; i++) {
        const char *word = argv[i];
        const char *name = word[0] == '-' ? word + 1 + (word[1] == '-') : "";
        if (strncmp(name, "config=", 7) == 0) {
            *path_out = name + 7;
        } else if (strcmp(name, "config") == 0) {
            if (i + 1 >= *argc) {
                return err_set(err, E_INVALID, "\"%s\" wants a file", word);
            }
            *path_out = argv[++i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    argv[kept] = NULL;
    return OK;
}

enum status options_load(int *argc, char **argv, struct settings **out, struct err *err)
{
    const char *path = NULL;
    struct settings *settings = NULL;
    TRY(take_config(argc, argv, &path, err));
    TRY(settings_new(option_defs, option_count, &settings, err));
    enum status status = path != NULL ? settings_load_file(settings, path, err) : OK;
    if (status == OK) {
        status = settings_load_env(settings, environ, NULL, err);
    }
    if (status == OK) {
        status = settings_load_flags(settings, argc, argv, err);
    }
    if (status != OK) {
        settings_free(settings);
        return status;
    }
    *out = settings;
    return OK;
}
