/*
 * Do conditional PUTs hold here? Commits stand on nothing else, and stores are about that claim it
 * and let two win. So before anything is written 32 threads create one key at the same moment, and
 * then 32 swap it: each time exactly one may win. With the key still there it is seen whether the
 * store lists what lies beneath an object.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "store/s3_priv.h"

enum { RIVALS = 32, PROBE_STACK_BYTES = 256 * 1024 };

/* Everybody waits here, so that they leave together. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open; /* guarded by lock */
};

struct rival {
    struct s3_store *s3;
    struct gate *gate;
    struct str key;
    struct str etag; /* empty: create */
    unsigned number;
    int http_status; /* 0: it failed before any */
    char won[STORE_ETAG_MAX + 1];
    struct err err;
};

static void gate_wait(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->open) {
        (void)pthread_cond_wait(&gate->opened, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    (void)pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

static void *rival_run(void *arg)
{
    struct rival *rival = arg;
    char body[32], match[STORE_ETAG_QUOTED];
    struct str quoted = STR_EMPTY;
    int len = snprintf(body, sizeof body, "%s %u", rival->etag.len > 0 ? "swap" : "create",
                       rival->number);
    struct s3_request request = { .method = HTTP_PUT,
                                  .key = rival->key,
                                  .body = str_from(body, (size_t)len) };
    if (rival->etag.len > 0) {
        enum status fits = store_etag_quote(rival->etag, match, &quoted, NULL);
        assert(fits == OK); /* the store gave it to us, and we took it */
        s3_header(&request, STR("if-match"), quoted);
    } else {
        s3_header(&request, STR("if-none-match"), STR("*"));
    }
    struct http_answer answer;
    struct store_info info;
    gate_wait(rival->gate);
    if (s3_call(rival->s3, &request, &answer, &rival->err) == OK) {
        rival->http_status = answer.status;
        if (answer.status < 300 && s3_info(&answer, &info, &rival->err) == OK) {
            memcpy(rival->won, info.etag, sizeof info.etag);
        } else if (answer.status >= 300) {
            (void)s3_failed(rival->s3, &request, &answer, &rival->err);
        }
    }
    http_answer_done(&answer);
    return NULL;
}

/** Lets them run, and waits for them; how many there were. */
static unsigned rivals_run(struct s3_store *s3, struct rival *rivals, struct str key,
                           struct str etag)
{
    struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };
    pthread_t threads[RIVALS];
    pthread_attr_t attr;
    unsigned started = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, PROBE_STACK_BYTES);
    for (; started < RIVALS; started++) {
        struct rival *rival = &rivals[started];
        *rival = (struct rival){
            .s3 = s3, .gate = &gate, .key = key, .etag = etag, .number = started
        };
        if (pthread_create(&threads[started], &attr, rival_run, rival) != 0) {
            break;
        }
    }
    gate_open(&gate);
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    pthread_attr_destroy(&attr);
    pthread_cond_destroy(&gate.opened);
    pthread_mutex_destroy(&gate.lock);
    return started;
}

/** One round; the winner's ETag. */
static enum status round_run(struct s3_store *s3, struct rival *rivals, struct str key,
                             struct str etag, char etag_out[STORE_ETAG_MAX + 1], struct err *err)
{
    const char *what = etag.len > 0 ? "swap (If-Match)" : "create (If-None-Match)";
    const struct rival *failed = NULL;
    unsigned winners = 0, count = rivals_run(s3, rivals, key, etag);
    for (unsigned i = 0; i < count; i++) {
        if (rivals[i].won[0] != '\0') {
            winners++;
            memcpy(etag_out, rivals[i].won, STORE_ETAG_MAX + 1);
        } else if (rivals[i].http_status != 412 && rivals[i].http_status != 409) {
            failed = &rivals[i];
        }
    }
    if (winners > 1) {
        return err_set(
            err, E_UNSUPPORTED,
            "%s let %u of %u writers win one conditional %s: commits would be lost there",
            s3->endpoint, winners, count, what);
    }
    if (winners == 0) {
        return err_set(err,
                       failed != NULL && failed->err.kind == E_UNAVAILABLE ? E_UNAVAILABLE
                                                                           : E_UNSUPPORTED,
                       "%s did not do a conditional %s: %s", s3->endpoint, what,
                       failed != NULL ? failed->err.msg : "nobody won");
    }
    return OK;
}

/** Under `name` is an object. A store that refuses one beneath it hides none. */
static enum status look_beneath(struct s3_store *s3, struct str name, struct err *err)
{
    char text[STORE_KEY_MAX];
    int len = snprintf(text, sizeof text, "%.*s/beneath", STR_ARG(name));
    struct str beneath = str_from(text, (size_t)len);
    struct arena arena;
    struct store_list list = { 0 };
    struct http_answer answer;
    struct s3_request request = { .method = HTTP_PUT, .key = beneath, .repeatable = true };
    TRY(s3_call(s3, &request, &answer, err));
    bool kept = answer.status < 300;
    http_answer_done(&answer);
    if (!kept) {
        return OK;
    }
    arena_init(&arena, 0);
    enum status status = s3_list(&s3->base, &(struct store_list_opts){ .prefix = name, .limit = 2 },
                                 &arena, &list, err);
    s3->hides = status == OK && list.object_count < 2;
    arena_done(&arena);
    (void)!s3_remove(&s3->base, beneath, STR_EMPTY, NULL);
    return status;
}

enum status s3_probe(struct s3_store *s3, struct err *err)
{
    char name[64], id[UUID_TEXT + 1], created[STORE_ETAG_MAX + 1] = "",
                                                               swapped[STORE_ETAG_MAX + 1] = "";
    struct rival *rivals = mem_zalloc(RIVALS * sizeof *rivals);
    if (rivals == NULL) {
        return err_no_memory(err);
    }
    uuid4(id);
    (void)snprintf(name, sizeof name, "_lake/probe/%s", id);
    enum status status = OK;
    if (s3->lease != NULL) { /* they need not */
        struct store_info info = { 0 };
        status = s3_put(&s3->base, str_of(name), STR("alone"), &(struct store_cond){ 0 }, &info,
                        err);
        memcpy(created, info.etag, sizeof created);
    } else {
        status = round_run(s3, rivals, str_of(name), STR_EMPTY, created, err);
    }
    if (status == OK && s3->lease == NULL) {
        status = round_run(s3, rivals, str_of(name), str_of(created), swapped, err);
    }
    mem_free(rivals);
    if (status == OK) {
        status = look_beneath(s3, str_of(name), err);
    }
    if (created[0] != '\0') {
        (void)!s3_remove(&s3->base, str_of(name), STR_EMPTY, NULL);
    }
    return status;
}
