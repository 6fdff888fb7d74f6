/*
 * A running service: settings, parts, the socket, and then waiting for a signal.
 *
 * SIGTERM and SIGINT are blocked in every thread and taken here by sigwait: the first stops the
 * service in order (bounded by drain_seconds), a second one ends the process at once.
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

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

/** Waits for the second signal while the first is being obeyed. */
static void *second_signal(void *arg)
{
    (void)arg;
    sigset_t set;
    int signal_number;
    stop_signals(&set);
    sigwait(&set, &signal_number);
    _exit(1);
}

/**
 * `listening` of the whole program is said when it can be used at once: the first engines come up
 * in the background. Returns the signal that came meanwhile, or 0. Gives up waiting after a while:
 * then the log says why it is not ready, and /ready as long as it is not.
 */
static int wait_until_ready(struct parts *parts)
{
    sigset_t set;
    struct err err = { 0 };
    deadline_ms deadline = deadline_in(READY_WAIT_MS), store_deadline = deadline_in(STORE_WAIT_MS);
    stop_signals(&set);
    while (parts_ready(parts, &err) != OK) {
        bool without_store = parts_store_ready(parts, NULL) != OK;
        if (deadline_passed(without_store ? store_deadline : deadline)) {
            LOG(LOG_WARN, "not_ready", L_CSTR("reason", err.msg));
            break;
        }
        const struct timespec look = { .tv_nsec = READY_LOOK_MS * 1000 * 1000 };
        int signal_number = sigtimedwait(&set, NULL, &look);
        if (signal_number > 0) {
            return signal_number;
        }
    }
    return 0;
}

static int wait_for_signal(void)
{
    sigset_t set;
    int signal_number = 0;
    stop_signals(&set);
    while (sigwait(&set, &signal_number) != 0) {
    }
    return signal_number;
}

/** From here on a second signal ends the process. */
static void begin_stop(int signal_number)
{
    LOG(LOG_INFO, "stopping", L_I64("signal", signal_number));
    pthread_t thread;
    if (pthread_create(&thread, NULL, second_signal, NULL) == 0) {
        pthread_detach(thread);
    }
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
    if (parts_open(&parts, service, settings, &err) != OK || parts_listen(&parts, &err) != OK) {
        parts_close(&parts);
        return refuse(service, &err);
    }
    int signal_number = strcmp(service, "serve") == 0 ? wait_until_ready(&parts) : 0;
    if (signal_number == 0) {
        tell_listening(&parts);
        signal_number = wait_for_signal();
    }
    begin_stop(signal_number);
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
