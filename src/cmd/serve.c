/*
 * A running service: settings, parts, the socket, and then waiting for a signal.
 *
 * SIGTERM and SIGINT are blocked in every thread and taken by one that waits for them: the first
 * stops the service in order (bounded by drain_seconds), a second one ends the process at once.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/parts.h"
#include "cmd/version.h"

/* chosen: an engine is up after 60 ms, and a start that takes 5 s has failed; a store that is not
 * there is seldom there a second later */
enum { READY_LOOK_MS = 2, READY_WAIT_MS = 5000, STORE_WAIT_MS = 1000 };

/* A stop that was asked for. It outlives run(), as the thread that waits for signals does. */
static struct {
    struct parts *parts;
    pthread_mutex_t lock;
    pthread_cond_t came; /* waits by the monotonic clock */
    int signal_number;   /* 0: none yet; guarded by lock */
} stop = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

static int next_signal(void)
{
    sigset_t set;
    int signal_number = 0;
    stop_signals(&set);
    while (sigwait(&set, &signal_number) != 0) {
    }
    return signal_number;
}

/**
 * The first signal wakes whoever waits for a store that is away, so that the stop need not wait for
 * them; the second one ends the process.
 */
static void *take_signals(void *arg)
{
    int signal_number = next_signal();
    LOG(LOG_INFO, "stopping", L_I64("signal", signal_number));
    parts_interrupt(stop.parts);
    pthread_mutex_lock(&stop.lock);
    stop.signal_number = signal_number;
    pthread_cond_broadcast(&stop.came);
    pthread_mutex_unlock(&stop.lock);
    (void)next_signal();
    _exit(1);
    return arg;
}

static enum status stop_watch(struct parts *parts, struct err *err)
{
    pthread_condattr_t attr;
    pthread_t thread;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&stop.came, &attr);
    pthread_condattr_destroy(&attr);
    stop.parts = parts;
    if (pthread_create(&thread, NULL, take_signals, NULL) != 0) {
        return err_set(err, E_NO_MEMORY, "no thread can be made to wait for signals");
    }
    pthread_detach(thread);
    return OK;
}

/** True when a signal has come, at the latest at the deadline. */
static bool stop_wait(deadline_ms deadline)
{
    struct timespec until = { .tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000 };
    int rc = 0;
    pthread_mutex_lock(&stop.lock);
    while (stop.signal_number == 0 && rc == 0) {
        rc = deadline == DEADLINE_NEVER ? pthread_cond_wait(&stop.came, &stop.lock)
                                        : pthread_cond_timedwait(&stop.came, &stop.lock, &until);
    }
    bool came = stop.signal_number != 0;
    pthread_mutex_unlock(&stop.lock);
    return came;
}

/**
 * `listening` of the whole program is said when it can be used at once: the first engines come up
 * in the background. True when a stop was asked for meanwhile. Gives up waiting after a while: then
 * the log says why it is not ready, and /ready as long as it is not.
 */
static bool wait_until_ready(struct parts *parts)
{
    struct err err = { 0 };
    deadline_ms deadline = deadline_in(READY_WAIT_MS), store_deadline = deadline_in(STORE_WAIT_MS);
    while (parts_ready(parts, &err) != OK) {
        bool without_store = parts_store_ready(parts, NULL) != OK;
        if (stop_wait(deadline_in(READY_LOOK_MS))) {
            return true;
        }
        if (deadline_passed(without_store ? store_deadline : deadline)) {
            LOG(LOG_WARN, "not_ready", L_CSTR("reason", err.msg));
            break;
        }
    }
    return false;
}

/** One clear line for people, and the exit code for what was set up wrongly. */
static int refuse(const char *service, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", service, err->msg);
    return 2;
}

static void tell_listening(const struct parts *parts)
{
    const char *address = http_server_address(parts->server);
    if (parts->s3_server != NULL) {
        LOG(LOG_INFO, "listening", L_CSTR("address", address),
            L_CSTR("s3_address", http_server_address(parts->s3_server)),
            L_CSTR("version", LAKEHOUSE_VERSION));
        return;
    }
    LOG(LOG_INFO, "listening", L_CSTR("address", address), L_CSTR("version", LAKEHOUSE_VERSION));
}

static int run(const char *service, const struct settings *settings)
{
    struct err err = { 0 };
    struct parts parts = { 0 };
    if (parts_open(&parts, service, settings, &err) != OK || parts_listen(&parts, &err) != OK ||
        stop_watch(&parts, &err) != OK) {
        parts_close(&parts);
        return refuse(service, &err);
    }
    if (strcmp(service, "serve") != 0 || !wait_until_ready(&parts)) {
        tell_listening(&parts);
        (void)stop_wait(DEADLINE_NEVER);
    }
    parts_close(&parts);
    LOG(LOG_INFO, "stopped");
    return 0;
}

int cmd_serve(const char *service, int argc, char **argv)
{
    struct err err = { 0 };
    struct settings *settings = NULL;
    sigset_t set;
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk, not the end */
    if (options_load(&argc, argv, &settings, &err) != OK) {
        return refuse(service, &err);
    }
    enum log_level level = LOG_INFO;
    if (argc > 1) {
        err_set(&err, E_INVALID,
                "unexpected \"%s\" (options start with --; see lakehouse %s --help)", argv[1],
                service);
    } else if (!log_level_parse(str_of(settings_str(settings, "log", "level")), &level)) {
        err_set(&err, E_INVALID, "log.level = \"%s\": it is debug, info, warn or error",
                settings_str(settings, "log", "level"));
    }
    int code = 2;
    if (err.kind == OK) {
        log_setup(level, strcmp(service, "serve") == 0 ? "gateway" : service);
        code = run(service, settings);
    } else {
        refuse(service, &err);
    }
    settings_free(settings);
    return code;
}
