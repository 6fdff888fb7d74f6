/*
 * Start of a child: posix_spawn with nothing inherited but its control socket and standard error, a
 * cleaned environment, and a process group of its own, so that a Ctrl-C at the terminal reaches the
 * server alone, which then ends its children in order.
 * What a process can only do to itself (limits, PR_SET_PDEATHSIG, the sandbox) it does first thing:
 * child_box.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine_priv.h"

enum { ARG_MAX_BYTES = 4200, ARGS_MAX = 12 };

/* What may go on to a child. Settings and secrets of the server (LAKEHOUSE_*) may not. */
static const char *const env_passed[] = { "PATH=",
                                          "TZ=",
                                          "LD_LIBRARY_PATH=",
                                          "ASAN_OPTIONS=",
                                          "UBSAN_OPTIONS=",
                                          "TSAN_OPTIONS=",
                                          "LSAN_OPTIONS=",
                                          "LLVM_PROFILE_FILE=",
                                          NULL };

static enum status program_beside(struct str dir, const char *tail, char **out, struct err *err)
{
    char path[4096];
    int len = snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(dir), tail);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        return err_set(err, E_TOO_LARGE, "the path of the engine's program is too long");
    }
    if (access(path, X_OK) != 0) {
        return err_errno(err, errno, "the engine's program '%s'", path);
    }
    *out = mem_strndup(path, (size_t)len);
    return *out == NULL ? err_no_memory(err) : OK;
}

enum status engine_program_find(char **out, struct err *err)
{
    char self[3072];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self));
    if (len <= 0 || (size_t)len == sizeof(self)) {
        return err_errno(err, errno, "path of the running program");
    }
    struct str dir = str_from(self, (size_t)len);
    dir = str_take(dir, str_rfind_char(dir, '/'));
    if (program_beside(dir, "lakehouse-engine", out, NULL) == OK) {
        return OK; /* beside it, as in a folder that somebody unpacked */
    }
    return program_beside(dir, "../libexec/lakehouse-engine", out, err);
}

struct arguments {
    char text[ARGS_MAX][ARG_MAX_BYTES];
    char *argv[ARGS_MAX + 1];
    size_t count;
};

static PRINTF_LIKE(2, 3) void add_argument(struct arguments *args, const char *fmt, ...)
{
    assert(args->count < ARGS_MAX);
    char *text = args->text[args->count];
    va_list list;
    va_start(list, fmt);
    vsnprintf(text, ARG_MAX_BYTES, fmt, list);
    va_end(list);
    args->argv[args->count++] = text;
    args->argv[args->count] = NULL;
}

static void make_arguments(const struct engine_pool *pool, unsigned slot, struct arguments *args)
{
    const struct engine_pool_opts *opts = &pool->opts;
    args->count = 0;
    add_argument(args, "lakehouse-engine");
    add_argument(args, "--engine=%s", opts->name);
    add_argument(args, "--parent=%d", (int)getpid());
    add_argument(args, "--threads=%u", opts->threads);
    add_argument(args, "--memory=%llu", (unsigned long long)opts->memory_limit_bytes);
    add_argument(args, "--address=%llu", (unsigned long long)pool->address_bytes);
    if (opts->temp_dir != NULL) {
        add_argument(args, "--temp=%s/%u", opts->temp_dir, slot);
        add_argument(args, "--temp-bytes=%llu", (unsigned long long)opts->temp_bytes_max);
    }
}

static void make_environment(char **env, size_t cap)
{
    size_t count = 0;
    for (char **at = environ; at != NULL && *at != NULL && count + 2 < cap; at++) {
        for (size_t i = 0; env_passed[i] != NULL; i++) {
            if (strncmp(*at, env_passed[i], strlen(env_passed[i])) == 0) {
                env[count++] = *at;
                break;
            }
        }
    }
    static char locale[] = "LC_ALL=C.UTF-8";
    env[count++] = locale;
    env[count] = NULL;
}

/** Descriptors: 0 and 1 are nothing, 2 is ours, 3 is the control socket, and that is all. */
static int set_descriptors(posix_spawn_file_actions_t *actions, int control_fd)
{
    int failed = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    failed = failed != 0 ? failed
                         : posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    failed = failed != 0 ? failed
                         : posix_spawn_file_actions_adddup2(actions, control_fd, WIRE_CONTROL_FD);
    return failed != 0 ? failed
                       : posix_spawn_file_actions_addclosefrom_np(actions, WIRE_CONTROL_FD + 1);
}

static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int failed = posix_spawnattr_setsigmask(attr, &none);
    failed = failed != 0 ? failed : posix_spawnattr_setsigdefault(attr, &all);
    failed = failed != 0 ? failed : posix_spawnattr_setpgroup(attr, 0);
    return failed != 0
               ? failed
               : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP);
}

static int spawn(const char *program, int control_fd, char **argv, char **env, pid_t *pid_out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0) {
        return failed;
    }
    failed = posix_spawnattr_init(&attr);
    if (failed == 0) {
        failed = set_descriptors(&actions, control_fd);
        failed = failed != 0 ? failed : set_attributes(&attr);
        failed = failed != 0 ? failed : posix_spawn(pid_out, program, &actions, &attr, argv, env);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

enum status engine_spawn(struct engine_pool *pool, unsigned slot, pid_t *pid_out,
                         int *control_fd_out, struct err *err)
{
    int fds[2];
    TRY(wire_pair(SOCK_SEQPACKET, fds, err));
    AUTO(fd_done) int ours = fds[0];
    AUTO(fd_done) int theirs = fds[1];
    /* dup2 onto itself would keep close-on-exec: only when the server started with standard streams
     * closed */
    if (theirs == WIRE_CONTROL_FD) {
        int moved = fcntl(theirs, F_DUPFD_CLOEXEC, WIRE_CONTROL_FD + 1);
        if (moved < 0) {
            return err_errno(err, errno, "control socket of an engine");
        }
        close(theirs);
        theirs = moved;
    }
    struct arguments *args = mem_alloc(sizeof(*args));
    if (args == NULL) {
        return err_no_memory(err);
    }
    char *env[ARRAY_LEN(env_passed) + 2];
    make_arguments(pool, slot, args);
    make_environment(env, ARRAY_LEN(env));
    int failed = spawn(pool->program, theirs, args->argv, env, pid_out);
    mem_free(args);
    if (failed != 0) {
        return err_errno(err, failed, "start '%s'", pool->program);
    }
    *control_fd_out = ours;
    ours = -1;
    return OK;
}
