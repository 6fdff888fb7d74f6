#include "store/s3_lease.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "store/s3_priv.h"

#define LEASE_KEY STR("_lake/writer.json")

enum { KEY_LOCKS = 64, HOST_MAX = 256, LEASE_BYTES_MAX = 4096 };

struct s3_lease {
    struct s3_store *s3;
    int64_t lease_ms;
    char id[UUID_TEXT + 1], host[HOST_MAX];
    pthread_mutex_t keys[KEY_LOCKS];
    /* held across the requests that take the lease: all writers wait for it */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool started, stop;            /* guarded by lock */
    bool held;                     /* guarded by lock */
    int64_t renewed_ms;            /* when the last renewal was sent; guarded by lock */
    uint64_t renewals;             /* guarded by lock */
    struct err why;                /* of the last failure; guarded by lock */
    char seen[STORE_ETAG_MAX + 1]; /* another's lease as it was last; guarded by lock */
    int64_t seen_ms;               /* and since when it is so; guarded by lock */
};

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_real());
}

/* --- the object --- */

struct holder {
    bool there, ours;
    char etag[STORE_ETAG_MAX + 1];
    char who[HOST_MAX + 64];
};

static enum status send(struct s3_lease *lease, struct s3_request *request,
                        struct http_answer *answer, struct err *err)
{
    request->key = LEASE_KEY;
    request->repeatable = true;
    request->try_ms = lease->lease_ms / 4;
    request->deadline = deadline_in(lease->lease_ms / 4);
    return s3_call(lease->s3, request, answer, err);
}

static void holder_read(const struct s3_lease *lease, struct str body, struct holder *out)
{
    yyjson_doc *doc = NULL;
    struct str id = STR_EMPTY, host = STR_EMPTY;
    int64_t pid = 0;
    if (json_parse(body, &doc, NULL) == OK) {
        yyjson_val *root = yyjson_doc_get_root(doc);
        (void)!json_get_str(root, "id", JSON_OPTIONAL, &id, NULL);
        (void)!json_get_str(root, "host", JSON_OPTIONAL, &host, NULL);
        (void)!json_get_i64(root, "pid", JSON_OPTIONAL, &pid, NULL);
    }
    out->ours = str_eq(id, str_of(lease->id));
    (void)snprintf(out->who, sizeof out->who, "process %lld on %.*s", (long long)pid,
                   STR_ARG(str_take(host, host.len < HOST_MAX ? host.len : HOST_MAX - 1)));
    yyjson_doc_free(doc);
}

static enum status look(struct s3_lease *lease, struct holder *out, struct err *err)
{
    struct s3_request request = { .method = HTTP_GET };
    struct http_answer answer;
    struct store_info info = { 0 };
    *out = (struct holder){ 0 };
    enum status status = send(lease, &request, &answer, err);
    if (status == OK && answer.status != 404) {
        out->there = true;
        status = answer.status < 300 ? s3_info(&answer, &info, err)
                                     : s3_failed(lease->s3, &request, &answer, err);
    }
    if (status == OK && out->there) {
        memcpy(out->etag, info.etag, sizeof out->etag);
        holder_read(lease, buf_str(&answer.body), out);
    }
    http_answer_done(&answer);
    return status;
}

static enum status put(struct s3_lease *lease, struct err *err)
{
    char text[LEASE_BYTES_MAX];
    int len = snprintf(text, sizeof text,
                       "{\"id\":\"%s\",\"host\":\"%s\",\"pid\":%ld,\"renewals\":%llu,"
                       "\"lease_ms\":%lld}",
                       lease->id, lease->host, (long)getpid(),
                       (unsigned long long)lease->renewals++, (long long)lease->lease_ms);
    struct s3_request request = { .method = HTTP_PUT, .body = str_from(text, (size_t)len) };
    struct http_answer answer;
    enum status status = send(lease, &request, &answer, err);
    if (status == OK && answer.status >= 300) {
        status = s3_failed(lease->s3, &request, &answer, err);
    }
    http_answer_done(&answer);
    return status;
}

/* --- renewing --- */

/** Waits at most so long; returns early when the lease is to be given up, or while it is taken and
 * the store was interrupted. */
static void wait_ms(struct s3_lease *lease, int64_t ms, bool taking)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (!lease->stop && (!taking || !s3_interrupted(lease->s3)) &&
           pthread_cond_timedwait(&lease->wake, &lease->lock, &until) != ETIMEDOUT) {
    }
}

/** The lock is not held: writers go on meanwhile. */
static void renew(struct s3_lease *lease)
{
    struct holder holder;
    struct err why = { 0 };
    int64_t sent_ms = now_ms();
    enum status status = look(lease, &holder, &why);
    bool lost = status == OK && holder.there && !holder.ours;
    if (status == OK && !lost) {
        status = put(lease, &why);
    }
    pthread_mutex_lock(&lease->lock);
    if (lost) {
        lease->held = false;
        (void)err_set(&lease->why, E_UNAVAILABLE, "%s has taken it", holder.who);
    } else if (status == OK) {
        lease->renewed_ms = sent_ms;
    } else {
        lease->why = why;
    }
    pthread_mutex_unlock(&lease->lock);
}

static void *renew_run(void *arg)
{
    struct s3_lease *lease = arg;
    pthread_mutex_lock(&lease->lock);
    while (!lease->stop) {
        wait_ms(lease, lease->lease_ms / 3, false);
        if (!lease->stop && lease->held) {
            pthread_mutex_unlock(&lease->lock);
            renew(lease);
            pthread_mutex_lock(&lease->lock);
        }
    }
    pthread_mutex_unlock(&lease->lock);
    return NULL;
}

/* --- taking --- */

static bool in_time(const struct s3_lease *lease)
{
    return lease->held && now_ms() - lease->renewed_ms < lease->lease_ms * 2 / 3;
}

/** False while its holder may still write. */
static bool is_free(struct s3_lease *lease, const struct holder *holder)
{
    if (!holder->there || holder->ours) {
        return true;
    }
    if (strcmp(holder->etag, lease->seen) != 0) {
        memcpy(lease->seen, holder->etag, sizeof lease->seen);
        lease->seen_ms = now_ms();
    }
    return now_ms() - lease->seen_ms >= lease->lease_ms;
}

static enum status refuse(const struct holder *holder, struct err *err)
{
    return err_set(err, E_UNAVAILABLE,
                   "another process writes this lake: %s holds _lake/writer.json "
                   "(s3.single_writer)",
                   holder->who);
}

static enum status take(struct s3_lease *lease, struct err *err)
{
    struct holder holder;
    int64_t looked_ms = now_ms(), settle_ms = lease->lease_ms / 4;
    TRY(look(lease, &holder, err));
    if (!is_free(lease, &holder)) {
        return refuse(&holder, err);
    }
    int64_t sent_ms = now_ms();
    TRY(put(lease, err));
    if (now_ms() - looked_ms > settle_ms) {
        return err_set(err, E_UNAVAILABLE,
                       "the store is too slow for a lease of %lld s (s3.lease_seconds)",
                       (long long)lease->lease_ms / 1000);
    }
    wait_ms(lease, settle_ms, true);
    if (s3_interrupted(lease->s3)) {
        return err_set(err, E_UNAVAILABLE, "this process stops, and takes no lease any more");
    }
    TRY(look(lease, &holder, err));
    if (!holder.ours) {
        return refuse(&holder, err);
    }
    lease->held = true;
    lease->renewed_ms = sent_ms;
    if (!lease->started) {
        lease->started = pthread_create(&lease->thread, NULL, renew_run, lease) == 0;
        if (!lease->started) {
            lease->held = false;
            return err_no_memory(err);
        }
    }
    return OK;
}

enum status s3_lease_need(struct s3_lease *lease, struct err *err)
{
    enum status status = OK;
    pthread_mutex_lock(&lease->lock);
    if (lease->held && !in_time(lease)) {
        status = err_set(err, E_UNAVAILABLE,
                         "this process writes no more: it could not renew its lease "
                         "_lake/writer.json in time%s%s",
                         lease->why.msg[0] != '\0' ? ": " : "", lease->why.msg);
    } else if (!lease->held) {
        status = take(lease, err);
    }
    pthread_mutex_unlock(&lease->lock);
    return status;
}

void s3_lease_wake(struct s3_lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    pthread_cond_broadcast(&lease->wake);
    pthread_mutex_unlock(&lease->lock);
}

int64_t s3_lease_left_ms(struct s3_lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    int64_t left = in_time(lease) ? lease->renewed_ms + lease->lease_ms * 5 / 6 - now_ms() : 0;
    pthread_mutex_unlock(&lease->lock);
    return left;
}

/* --- keys --- */

static pthread_mutex_t *lock_of(struct s3_lease *lease, struct str key)
{
    return &lease->keys[str_hash(key, 0) % KEY_LOCKS];
}

void s3_lease_lock(struct s3_lease *lease, struct str key)
{
    pthread_mutex_lock(lock_of(lease, key));
}

void s3_lease_unlock(struct s3_lease *lease, struct str key)
{
    pthread_mutex_unlock(lock_of(lease, key));
}

/* --- life --- */

enum status s3_lease_new(struct s3_store *s3, int64_t lease_ms, struct s3_lease **out,
                         struct err *err)
{
    struct s3_lease *lease = mem_zalloc(sizeof *lease);
    if (lease == NULL) {
        return err_no_memory(err);
    }
    lease->s3 = s3;
    lease->lease_ms = lease_ms;
    uuid4(lease->id);
    if (gethostname(lease->host, sizeof lease->host - 1) != 0 ||
        strpbrk(lease->host, "\"\\") != NULL) {
        (void)snprintf(lease->host, sizeof lease->host, "a machine without a name");
    }
    for (int i = 0; i < KEY_LOCKS; i++) {
        pthread_mutex_init(&lease->keys[i], NULL);
    }
    pthread_mutex_init(&lease->lock, NULL);
    s3_cond_init(&lease->wake);
    *out = lease;
    return OK;
}

/** For the next one, who would otherwise wait; no harm where it fails. */
static void give_back(struct s3_lease *lease)
{
    struct holder holder;
    struct http_answer answer;
    struct s3_request request = { .method = HTTP_DELETE };
    if (in_time(lease) && look(lease, &holder, NULL) == OK && holder.ours) {
        (void)!send(lease, &request, &answer, NULL);
        http_answer_done(&answer);
    }
}

void s3_lease_free(struct s3_lease *lease)
{
    if (lease == NULL) {
        return;
    }
    pthread_mutex_lock(&lease->lock);
    lease->stop = true;
    pthread_cond_broadcast(&lease->wake);
    pthread_mutex_unlock(&lease->lock);
    if (lease->started) {
        (void)pthread_join(lease->thread, NULL);
        give_back(lease);
    }
    for (int i = 0; i < KEY_LOCKS; i++) {
        pthread_mutex_destroy(&lease->keys[i]);
    }
    pthread_cond_destroy(&lease->wake);
    pthread_mutex_destroy(&lease->lock);
    mem_free(lease);
}
