/*
 * `lakehouse doctor`: looks at the settings, the program, the folder, every object and every table,
 * one after the other, and says of each what it found and what to do. It opens the folder for
 * reading only, so it may run beside a server.
 *
 *      settings  ok       2 of 55 differ from their defaults
 *      program   ok       lakehouse 0.1.0, and its engine starts
 *      objects   PROBLEM  "wh/main/main/t-1a2b3c4d/data/x.parquet" is damaged: ...
 *                         -> restore this file from a backup ...
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cmd/backend.h"
#include "cmd/cmd.h"
#include "cmd/doctor_vectors.h"
#include "cmd/options.h"
#include "cmd/pages.h"
#include "cmd/parts.h"
#include "cmd/version.h"
#include "doctor/doctor.h"

/* chosen: a server that does not answer in two seconds is looked for no longer; an engine is up
 * after 60 ms; a folder with less than 1 GiB or 5 % free will be full soon */
enum { SERVER_WAIT_MS = 2000, ENGINE_WAIT_MS = 10000, LOOK_MS = 5, SPACE_PERCENT_MIN = 5 };
static const uint64_t space_bytes_min = 1024ULL * 1024 * 1024;

struct doctor_options {
    bool json, quick;
};

static const struct cli_option doctor_options[] = {
    { .name = "quick",
      .kind = CLI_SWITCH,
      .at = offsetof(struct doctor_options, quick),
      .help = "do not read the objects, only look for them" },
    CLI_JSON(struct doctor_options, json),
};

const struct cli_page cmd_doctor_page = {
    .command = "doctor",
    .summary = "is the lake well, and what to do when it is not",
    .synopsis = "[-config FILE] [options]",
    .text =
        "Looks at the settings, the program and its engine, the data folder and its free space, "
        "then reads every object and compares its checksums, and follows every table from its "
        "pointer through all snapshots to the files, and opens every vector index. Says what it "
        "found, and what to do.\n"
        "\n"
        "Nothing is changed, and no server is needed: it looks at the folder itself. Beside a "
        "server that runs it tells the state of this moment; whether a server's own process is "
        "well, that server's /ready and /metrics know.\n"
        "\n"
        "Exit code 0: no problem. 1: at least one; warnings and notes are none. The options are "
        "those of the services too (--data).",
    .options = doctor_options,
    .option_count = ARRAY_LEN(doctor_options),
    .examples = "lakehouse doctor\n"
                "lakehouse doctor --data /srv/lake --quick\n"
                "lakehouse doctor -config lakehouse.toml --json | jq '.findings[]'",
    .others = true,
};

/* What the findings become. */
struct report {
    bool json, bar, drawn;
    struct json_writer writer; /* of --json */
    struct buf out;
    unsigned problems, warnings;
    int64_t drawn_us;
};

static const char *const mark_words[] = { [DOCTOR_OK] = "ok",
                                          [DOCTOR_NOTE] = "note",
                                          [DOCTOR_WARNING] = "warning",
                                          [DOCTOR_PROBLEM] = "PROBLEM" };
static const char *const mark_json[] = { [DOCTOR_OK] = "ok",
                                         [DOCTOR_NOTE] = "note",
                                         [DOCTOR_WARNING] = "warning",
                                         [DOCTOR_PROBLEM] = "problem" };
static const char *const mark_paint[] = { [DOCTOR_OK] = "\033[32m",
                                          [DOCTOR_NOTE] = "\033[36m",
                                          [DOCTOR_WARNING] = "\033[33m",
                                          [DOCTOR_PROBLEM] = "\033[1;31m" };

static void take_bar_away(struct report *report)
{
    if (report->drawn) {
        fputs("\r\033[K", stderr);
        report->drawn = false;
    }
}

static void print_finding(const struct doctor_finding *finding)
{
    bool paint = cli_paints(STDOUT_FILENO);
    printf("%-8s  %s%-7s%s  %s\n", finding->check, paint ? mark_paint[finding->mark] : "",
           mark_words[finding->mark], paint ? "\033[0m" : "", finding->message);
    if (finding->advice != NULL) {
        printf("%-8s  %-7s  -> %s\n", "", "", finding->advice);
    }
    fflush(stdout);
}

static void on_finding(void *ctx, const struct doctor_finding *finding)
{
    struct report *report = ctx;
    report->problems += finding->mark == DOCTOR_PROBLEM;
    report->warnings += finding->mark == DOCTOR_WARNING;
    take_bar_away(report);
    if (!report->json) {
        print_finding(finding);
        return;
    }
    struct json_writer *w = &report->writer;
    jw_obj_begin(w);
    jw_kv_cstr(w, "check", finding->check);
    jw_kv_cstr(w, "status", mark_json[finding->mark]);
    jw_kv_cstr(w, "message", finding->message);
    if (finding->advice != NULL) {
        jw_kv_cstr(w, "advice", finding->advice);
    }
    jw_obj_end(w);
}

static void on_progress(void *ctx, uint64_t objects, uint64_t bytes)
{
    struct report *report = ctx;
    int64_t now_us = clock_now_us();
    if (report->bar && now_us - report->drawn_us >= 100 * 1000) { /* ten a second do not flicker */
        fprintf(stderr, "\r\033[Kreading: %llu objects, %llu MB", (unsigned long long)objects,
                (unsigned long long)(bytes / 1000000));
        report->drawn = true;
        report->drawn_us = now_us;
    }
}

/* --- what is around the folder --- */

static void check_settings(const struct doctor *doctor, const struct settings *settings)
{
    size_t changed = 0;
    for (size_t i = 0; i < option_count; i++) {
        changed += settings_source(settings, option_defs[i].section, option_defs[i].name) !=
                   SETTING_DEFAULT;
    }
    doctor_tell(doctor, DOCTOR_OK, "settings", NULL,
                "%zu of %zu differ from their defaults (lakehouse config shows them)", changed,
                option_count);
    if (settings_bool(settings, "http", "allow_remote")) {
        doctor_tell(doctor, DOCTOR_WARNING, "settings",
                    "let a firewall or a proxy with a password stand in front of it",
                    "http.allow_remote is true, and there is no authentication yet");
    }
}

/** One engine is started for real: its program, its libraries, its folder for spilling. */
static enum status start_engine(const struct settings *settings, struct err *err)
{
    char spill[4096];
    struct engine_pool *pool = NULL;
    TRY(parts_temp_dir(settings, "queryd", spill, sizeof(spill), err));
    struct engine_pool_opts opts = {
        .name = "doctor",
        .engines_max = 1,
        .threads = 1,
        .memory_limit_bytes = settings_bytes(settings, "queryd", "memory_limit"),
        .temp_dir = spill,
    };
    TRY(engine_pool_open(&opts, &pool, err));
    deadline_ms deadline = deadline_in(ENGINE_WAIT_MS);
    enum status status;
    while ((status = engine_pool_ready(pool, err)) != OK && !deadline_passed(deadline)) {
        const struct timespec look = { .tv_nsec = LOOK_MS * 1000 * 1000 };
        nanosleep(&look, NULL);
    }
    engine_pool_close(pool);
    return status;
}

static void check_program(const struct doctor *doctor, const struct settings *settings)
{
    struct err err = { 0 };
    if (start_engine(settings, &err) == OK) {
        doctor_tell(doctor, DOCTOR_OK, "program", NULL, "lakehouse %s, and its engine starts",
                    LAKEHOUSE_VERSION);
        return;
    }
    doctor_tell(doctor, DOCTOR_PROBLEM, "program",
                "install it again (make install): the program, lakehouse-engine and lib/lakehouse "
                "belong together; look at queryd.temp_dir",
                "lakehouse %s, but its engine does not start: %s", LAKEHOUSE_VERSION, err.msg);
}

/** Is somebody at the address? It need not be a server of this folder. */
static void check_server(const struct doctor *doctor, const struct settings *settings)
{
    char url[512];
    struct err err = { 0 };
    struct http_client *client = NULL;
    struct http_answer answer = { 0 };
    const char *bind = settings_str(settings, "gateway", "bind");
    snprintf(url, sizeof(url), "http://%s", bind);
    if (http_client_new(
            &(struct http_client_opts){ .base_url = url, .connect_timeout_ms = SERVER_WAIT_MS },
            &client, &err) != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "settings", "write host:port", "gateway.bind: %s",
                    err.msg);
        return;
    }
    struct http_call call = { .method = HTTP_GET,
                              .target = STR("/ready"),
                              .deadline = deadline_in(SERVER_WAIT_MS) };
    enum status status = http_client_call(client, &call, &answer, &err);
    if (status != OK) {
        doctor_tell(doctor, DOCTOR_OK, "server", NULL, "none answers at %s", bind);
    } else if (answer.status == 200) {
        doctor_tell(doctor, DOCTOR_NOTE, "server", NULL,
                    "one answers at %s and is ready: what it writes and deletes meanwhile is not "
                    "all seen here",
                    bind);
    } else {
        doctor_tell(doctor, DOCTOR_WARNING, "server", "look at its log",
                    "one answers at %s and is not ready (%d)", bind, answer.status);
    }
    http_answer_done(&answer);
    http_client_free(client);
}

static void check_space(const struct doctor *doctor, const char *check, const char *dir)
{
    struct statvfs info;
    if (statvfs(dir, &info) != 0) {
        doctor_tell(doctor, DOCTOR_WARNING, check, NULL, "free space of \"%s\" is unknown: %s", dir,
                    strerror(errno));
        return;
    }
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    uint64_t all_bytes = (uint64_t)info.f_blocks * info.f_frsize;
    unsigned percent = all_bytes > 0 ? (unsigned)(100.0 * (double)free_bytes / (double)all_bytes)
                                     : 0;
    bool low = free_bytes < space_bytes_min || percent < SPACE_PERCENT_MIN;
    bool files_low = info.f_files > 0 && info.f_favail < 1000;
    doctor_tell(
        doctor, low || files_low ? DOCTOR_WARNING : DOCTOR_OK, check,
        low || files_low ? "make room: a full disk refuses writes with 507 and loses nothing"
                         : NULL,
        "%.1f GB of %.1f GB (%u %%) free in \"%s\"%s", (double)free_bytes / 1e9,
        (double)all_bytes / 1e9, percent, dir, files_low ? ", and hardly a file can be made" : "");
}

/* --- the folder --- */

/** False when there is nothing to look at. */
static bool open_folder(const struct doctor *doctor, const char *dir, struct store **out)
{
    struct stat info;
    struct err err = { 0 };
    if (stat(dir, &info) != 0 && errno == ENOENT) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "folder",
                    "name the data folder (--data DIR, or -config FILE); `lakehouse serve` makes a "
                    "new one",
                    "\"%s\" is not there", dir);
        return false;
    }
    enum status status = store_fs_open(&(struct store_fs_opts){ .dir = dir, .read_only = true },
                                       out, &err);
    if (status != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "folder",
                    status == E_UNSUPPORTED ? "a newer lakehouse wrote it, or it lies on a network "
                                              "file system: see the message"
                                            : "restore _lake/format.json from a backup, or correct "
                                              "owner and mode",
                    "%s", err.msg);
        return false;
    }
    bool writable = access(dir, W_OK) == 0;
    doctor_tell(doctor, writable ? DOCTOR_OK : DOCTOR_WARNING, "folder",
                writable ? NULL : "a server needs to write here: correct its owner and mode",
                "\"%s\"%s", dir,
                writable ? ", its layout is one that this program knows"
                         : " may be read by you, not written");
    return true;
}

static void check_inside(const struct doctor *doctor, struct store *store)
{
    struct err err = { 0 };
    struct catalog *catalog = NULL;
    if (doctor_objects(doctor, store, &err) != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "objects", "look at the disk, and at owner and mode",
                    "the check ended early: %s", err.msg);
    }
    err = (struct err){ 0 };
    if (doctor_uploads(doctor, store, &err) != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "uploads", "look at the disk, and at owner and mode",
                    "the check ended early: %s", err.msg);
    }
    err = (struct err){ 0 };
    enum status status = catalog_local_open(&(struct catalog_local_opts){ .store = store },
                                            &catalog, &err);
    status = status == OK ? doctor_tables(doctor, store, catalog, &err) : status;
    if (status != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "tables", "look at the disk, and at owner and mode",
                    "the check ended early: %s", err.msg);
    }
    catalog_close(catalog);
    doctor_vectors(doctor, store);
}

/** Reads only: whether conditional writes hold is tried by a server at its start. */
static bool open_bucket(const struct doctor *doctor, const struct settings *settings,
                        struct store **out)
{
    struct err err = { 0 };
    enum status status = backend_open(settings, true, out, &err);
    if (status == OK && store_ready(*out, &err) != OK) {
        store_close(*out);
        status = err.kind;
    }
    if (status != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "store", "correct the setting, or start the store",
                    "%s", err.msg);
        return false;
    }
    struct str uri = store_root_uri(*out);
    doctor_tell(doctor, DOCTOR_OK, "store", NULL, "\"%.*s\" answers, and may be read",
                STR_ARG(uri));
    return true;
}

static void check_all(const struct doctor *doctor, const struct settings *settings)
{
    char spill[4096];
    struct err err = { 0 };
    const char *dir = settings_str(settings, "storaged", "dir");
    struct store *store = NULL;
    bool s3 = false;
    check_settings(doctor, settings);
    check_program(doctor, settings);
    check_server(doctor, settings);
    if (backend_is_s3(settings, &s3, &err) != OK) {
        doctor_tell(doctor, DOCTOR_PROBLEM, "store", "correct it", "%s", err.msg);
        return;
    }
    if (!(s3 ? open_bucket(doctor, settings, &store) : open_folder(doctor, dir, &store))) {
        return;
    }
    if (!s3) {
        check_space(doctor, "space", dir);
    }
    if (parts_temp_dir(settings, "queryd", spill, sizeof(spill), &err) == OK) {
        check_space(doctor, "space", spill);
    }
    check_inside(doctor, store);
    store_close(store);
}

/** The last word. Returns the exit code. */
static int conclude(struct report *report)
{
    if (report->json) {
        struct json_writer *w = &report->writer;
        jw_arr_end(w);
        jw_kv_u64(w, "problems", report->problems);
        jw_kv_u64(w, "warnings", report->warnings);
        jw_obj_end(w);
        if (json_writer_end(w) != OK || buf_append_char(&report->out, '\n') != OK) {
            fprintf(stderr, "lakehouse doctor: out of memory\n");
            return 1;
        }
        fwrite(report->out.ptr, 1, report->out.len, stdout);
    } else if (report->problems > 0) {
        printf("%u problem%s\n", report->problems, report->problems == 1 ? "" : "s");
    } else if (report->warnings > 0) {
        printf("the lake is well, with %u warning%s\n", report->warnings,
               report->warnings == 1 ? "" : "s");
    } else {
        printf("the lake is well\n");
    }
    return report->problems > 0 ? 1 : 0;
}

static int run(const struct doctor_options *options, const struct settings *settings)
{
    struct report report = { .json = options->json, .bar = cli_redraws(STDERR_FILENO) };
    struct doctor doctor = {
        .report = on_finding, .progress = on_progress, .ctx = &report, .quick = options->quick
    };
    buf_init(&report.out, 0);
    json_writer_init(&report.writer, &report.out);
    jw_obj_begin(&report.writer);
    jw_kv_arr(&report.writer, "findings");
    check_all(&doctor, settings);
    take_bar_away(&report);
    int code = conclude(&report);
    buf_done(&report.out);
    return code;
}

int cmd_doctor(int argc, char **argv)
{
    struct err err = { 0 };
    struct settings *settings = NULL;
    struct doctor_options options = { 0 };
    int words = argc - 1;
    enum cli_parsed parsed = cli_parse(&cmd_doctor_page, &options, &words, argv + 1);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    argc = words + 1;
    if (options_load(&argc, argv, &settings, &err) != OK) {
        fprintf(stderr, "lakehouse doctor: %s\n", err.msg);
        return 2;
    }
    if (argc > 1) {
        fprintf(stderr, "lakehouse doctor: unexpected \"%s\" (lakehouse doctor --help)\n", argv[1]);
        settings_free(settings);
        return 2;
    }
    int code = run(&options, settings);
    settings_free(settings);
    return code;
}
