/*
 * The S3 driver: objects in a bucket of MinIO, AWS, Ceph or another store that speaks S3.
 *
 *      s3.c         life, and the check before the first write
 *      s3_call.c    one signed request, repeated where that is safe; what its errors mean
 *      s3_write.c   PUT and streams; how a lost answer is resolved
 *      s3_change.c  deletes and copies, under conditions
 *      s3_attrs.c   attributes as headers and back
 *      s3_upload.c  one object sent in parts
 *      s3_parts.c   uploads in parts by the store's clients; s3_record.c, s3_ending.c,
 *                   s3_settle.c, s3_sweep.c, s3_uploads.c
 *      s3_read.c    stat and ranged reads of one version
 *      s3_list.c    listings
 *      s3_probe.c   do conditions hold here?
 *      s3_lease.c   one writer at a time, where they do not
 *
 * Nothing is kept on this machine but what a write buffers: many processes on many machines may
 * share a bucket, and conditional PUTs are what keeps them apart.
 */
#include <stdio.h>

#include "base/mem.h"
#include "store/s3_parts.h"

enum {
    RETRY_MS = 30 * 1000,
    LEASE_MS = 30 * 1000,
    CONNECTIONS = 32,
    INTERRUPT_MS = 1000, /* chosen: a stop waits so long for a store that says nothing */
    HOST_MAX = 512,
    PREFIX_MAX = 256
};

/* --- the check before the first write --- */

static enum status look_in(struct s3_store *s3, struct err *err)
{
    struct s3_request request = { .query = STR("list-type=2&max-keys=1"), .repeatable = true };
    struct http_answer answer;
    enum status status = s3_call_ok(s3, &request, &answer, err);
    http_answer_done(&answer);
    return status;
}

static enum status check(struct s3_store *s3, struct err *err)
{
    TRY(look_in(s3, err));
    if (!s3->read_only) {
        TRY(s3_probe(s3, err));
    }
    enum status status = store_format_check(&s3->base, str_of(s3->uri), s3->uri, s3->read_only,
                                            err);
    return status == E_NOT_FOUND && s3->read_only ? OK : status;
}

/** Once; what can pass (a store that is away) is tried again by the next caller. */
static enum status check_once(struct s3_store *s3, struct err *err)
{
    if (atomic_load_explicit(&s3->checked, memory_order_acquire)) {
        return OK;
    }
    enum status status = OK;
    pthread_mutex_lock(&s3->lock);
    if (s3->refused != OK) {
        status = err_set(err, s3->refused, "%s", s3->why.msg);
    } else if (!s3->checking && !atomic_load_explicit(&s3->checked, memory_order_relaxed)) {
        struct err why = { 0 };
        s3->checking = true;
        status = check(s3, &why);
        s3->checking = false;
        if (status == OK) {
            atomic_store_explicit(&s3->checked, true, memory_order_release);
        } else if (status == E_UNSUPPORTED || status == E_INVALID) {
            s3->refused = status;
            s3->why = why;
        }
        status = status == OK ? OK : err_set(err, status, "%s", why.msg);
    }
    pthread_mutex_unlock(&s3->lock);
    return status;
}

enum status s3_may_write(struct s3_store *s3, struct err *err)
{
    if (s3->read_only) {
        return err_set(err, E_DENIED, "the store \"%s\" is opened for reading only", s3->uri);
    }
    if (s3->lease != NULL) {
        TRY(s3_lease_need(s3->lease, err));
    }
    return check_once(s3, err);
}

static enum status nothing_beneath(struct s3_store *s3, struct str key, struct err *err)
{
    struct arena arena;
    struct store_list list;
    arena_init(&arena, 0);
    struct str folder = arena_printf(&arena, "%.*s/", STR_ARG(key));
    enum status status = folder.ptr != NULL ? OK : err_no_memory(err);
    if (status == OK) {
        status = s3_list(&s3->base,
                         &(struct store_list_opts){ .prefix = folder, .after = folder, .limit = 1 },
                         &arena, &list, err);
    }
    if (status == OK && list.object_count > 0) {
        status = err_set(err, E_INVALID,
                         "key \"%.*s\": there is an object \"%.*s\", and this store does not list "
                         "what lies beneath an object",
                         STR_ARG(key), STR_ARG(list.objects[0].key));
    }
    arena_done(&arena);
    return status;
}

/**
 * A store that keeps objects as folders of a file system (MinIO) takes "a/b" beside "a", and then
 * does not list it; and where an object's key ends with a slash, its pages end early or miss what
 * follows (seen with MinIO of February 2026). An object that no listing shows would be missed by
 * every backup, so neither is made. The lake's own keys are never so.
 */
enum status s3_may_make(struct s3_store *s3, struct str key, struct err *err)
{
    TRY(s3_may_write(s3, err));
    if (!s3->hides || str_starts(key, STR("_lake/")) || str_starts(key, STR("wh/"))) {
        return OK;
    }
    if (key.ptr[key.len - 1] == '/') {
        return err_set(err, E_INVALID,
                       "key \"%.*s\" ends with a slash, which this store cannot list",
                       STR_ARG(key));
    }
    for (size_t i = 1; i < key.len; i++) {
        struct store_info info;
        struct str above = str_take(key, i);
        enum status status = key.ptr[i] == '/' ? s3_stat(&s3->base, above, &info, NULL, err)
                                               : E_NOT_FOUND;
        if (status == OK) {
            return err_set(
                err, E_INVALID,
                "key \"%.*s\": there is an object \"%.*s\", and this store does not list "
                "what lies beneath an object",
                STR_ARG(key), STR_ARG(above));
        }
        if (status != E_NOT_FOUND) {
            return status;
        }
    }
    return nothing_beneath(s3, key, err);
}

static enum status s3_ready(struct store *store, struct err *err)
{
    struct s3_store *s3 = (struct s3_store *)store;
    if (s3->lease != NULL) {
        TRY(s3_lease_need(s3->lease, err));
    }
    bool checked = atomic_load_explicit(&s3->checked, memory_order_acquire);
    return checked ? look_in(s3, err) : check_once(s3, err); /* which looks, too */
}

/* --- life --- */

static struct str s3_root_uri(const struct store *store)
{
    return str_of(((const struct s3_store *)store)->uri);
}

static void s3_interrupt(struct store *store)
{
    struct s3_store *s3 = (struct s3_store *)store;
    pthread_mutex_lock(&s3->stop_lock);
    atomic_store_explicit(&s3->interrupted, true, memory_order_relaxed);
    pthread_cond_broadcast(&s3->stop_wake);
    pthread_mutex_unlock(&s3->stop_lock);
    http_client_interrupt(s3->client, INTERRUPT_MS);
    s3_turns_wake(s3);
    if (s3->lease != NULL) {
        s3_lease_wake(s3->lease);
    }
}

static void s3_close(struct store *store)
{
    struct s3_store *s3 = (struct s3_store *)store;
    s3_lease_free(s3->lease);
    http_client_free(s3->client);
    aws_credentials_free(s3->credentials);
    pthread_mutex_destroy(&s3->lock);
    pthread_mutex_destroy(&s3->places_lock);
    pthread_cond_destroy(&s3->stop_wake);
    pthread_mutex_destroy(&s3->stop_lock);
    pthread_cond_destroy(&s3->turns_changed);
    pthread_mutex_destroy(&s3->turns_lock);
    for (size_t i = 0; i < S3_PLACES; i++) {
        mem_free(s3->places[i].name);
        mem_free(s3->places[i].token);
    }
    mem_free(s3->endpoint);
    mem_free(s3->host);
    mem_free(s3->bucket);
    mem_free(s3->path);
    mem_free(s3->prefix);
    mem_free(s3->region);
    mem_free(s3->ca_file);
    mem_free(s3->uri);
    mem_free(s3);
}

static const struct store_ops s3_ops = {
    .name = "s3",
    .uploads = &s3_parts_ops,
    .close = s3_close,
    .interrupt = s3_interrupt,
    .writer_open = s3_writer_open,
    .writer_write = s3_writer_write,
    .writer_commit = s3_writer_commit,
    .writer_abort = s3_writer_abort,
    .put = s3_put,
    .put_fd = s3_put_fd,
    .spool = store_spool_temp,
    .stat = s3_stat,
    .open = s3_open,
    .list = s3_list,
    .remove = s3_remove,
    .copy = s3_copy,
    .root_uri = s3_root_uri,
    .ready = s3_ready,
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum status keep(char **out, struct str text, struct err *err)
{
    *out = mem_strndup(text.ptr, text.len);
    return *out != NULL ? OK : err_no_memory(err);
}

/** The prefix without slashes around it, with one at its end unless it is empty. */
static enum status keep_prefix(struct s3_store *s3, const char *text, struct err *err)
{
    struct str prefix = str_of(given(text) ? text : "");
    char whole[PREFIX_MAX + 2];
    while (prefix.len > 0 && prefix.ptr[0] == '/') {
        prefix = str_skip(prefix, 1);
    }
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    if (prefix.len > PREFIX_MAX) {
        return err_set(err, E_INVALID, "s3.prefix has more than %d bytes", PREFIX_MAX);
    }
    if (prefix.len > 0 && store_key_check_plain(prefix, err) != OK) {
        return err_context(err, "s3.prefix");
    }
    int len = snprintf(whole, sizeof whole, "%.*s%s", STR_ARG(prefix), prefix.len > 0 ? "/" : "");
    return keep(&s3->prefix, str_from(whole, (size_t)len), err);
}

static enum status check_bucket(const char *bucket, struct err *err)
{
    struct str name = str_of(given(bucket) ? bucket : "");
    bool fine = name.len >= 3 && name.len <= 63;
    for (size_t i = 0; i < name.len && fine; i++) {
        char c = name.ptr[i];
        fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '_';
    }
    return fine
               ? OK
               : err_set(
                     err, E_INVALID,
                     "s3.bucket = \"%.*s\": a bucket has 3 to 63 letters, digits, dots and hyphens",
                     STR_ARG(name));
}

/** Host header, base URL of the client and path of the bucket, by the style of addressing. */
static enum status place(struct s3_store *s3, const struct store_s3_opts *opts, char *base_url,
                         size_t base_size, struct err *err)
{
    struct http_url url;
    char host[HOST_MAX], port[16] = "", path[128] = "";
    if (!given(opts->endpoint)) {
        return err_set(err, E_INVALID, "s3.endpoint is empty: it is the store's URL");
    }
    if (http_url_parse(str_of(opts->endpoint), &url, err) != OK) {
        return err_context(err, "s3.endpoint = \"%s\"", opts->endpoint);
    }
    if (url.path[0] != '\0') {
        return err_set(err, E_INVALID,
                       "s3.endpoint = \"%s\" has a path: say s3.bucket and s3.prefix",
                       opts->endpoint);
    }
    if (url.address.port != (url.tls ? 443 : 80)) {
        (void)snprintf(port, sizeof port, ":%u", (unsigned)url.address.port);
    }
    bool six = strchr(url.address.host, ':') != NULL;
    (void)snprintf(host, sizeof host, "%s%s%s%s%s%s", opts->virtual_host ? opts->bucket : "",
                   opts->virtual_host ? "." : "", six ? "[" : "", url.address.host, six ? "]" : "",
                   port);
    if (!opts->virtual_host) {
        (void)snprintf(path, sizeof path, "/%s", opts->bucket);
    }
    (void)snprintf(base_url, base_size, "%s://%s", url.tls ? "https" : "http", host);
    TRY(keep(&s3->host, str_of(host), err));
    return keep(&s3->path, str_of(path), err);
}

static enum status choose_region(struct s3_store *s3, const char *region, struct err *err)
{
    struct arena arena;
    struct str found = str_of(given(region) ? region : "");
    arena_init(&arena, 0);
    enum status status = OK;
    if (found.len == 0) {
        status = aws_credentials_region(s3->credentials, &arena, &found, err);
    }
    if (status == OK) {
        status = keep(&s3->region, found.len > 0 ? found : STR("us-east-1"), err);
    }
    arena_done(&arena);
    return status;
}

static enum status build(struct s3_store *s3, const struct store_s3_opts *opts, struct err *err)
{
    char base_url[HOST_MAX + 16], uri[PREFIX_MAX + 128];
    TRY(check_bucket(opts->bucket, err));
    TRY(place(s3, opts, base_url, sizeof base_url, err));
    TRY(keep(&s3->endpoint, str_of(opts->endpoint), err));
    TRY(keep(&s3->ca_file, str_of(given(opts->ca_file) ? opts->ca_file : ""), err));
    TRY(keep(&s3->bucket, str_of(opts->bucket), err));
    TRY(keep_prefix(s3, opts->prefix, err));
    int len = snprintf(uri, sizeof uri, "s3://%s%s%s", s3->bucket, s3->prefix[0] ? "/" : "",
                       s3->prefix);
    struct str text = str_from(uri, (size_t)len - (s3->prefix[0] ? 1 : 0));
    TRY(keep(&s3->uri, text, err));
    struct aws_credentials_opts credentials = {
        .settings = { opts->access_key, opts->secret_key, opts->session_token },
        .profile = str_of(given(opts->profile) ? opts->profile : ""),
    };
    TRY(aws_credentials_new(&credentials, &s3->credentials, err));
    TRY(choose_region(s3, opts->region, err));
    struct http_client_opts client = { .base_url = base_url,
                                       .connections_max = CONNECTIONS,
                                       .service = "the store",
                                       .ca_file = opts->ca_file };
    return http_client_new(&client, &s3->client, err);
}

void s3_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

enum status store_s3_open(const struct store_s3_opts *opts, struct store **out, struct err *err)
{
    struct s3_store *s3 = mem_zalloc(sizeof *s3);
    if (s3 == NULL) {
        return err_no_memory(err);
    }
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s3->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_mutex_init(&s3->places_lock, NULL);
    pthread_mutex_init(&s3->stop_lock, NULL);
    s3_cond_init(&s3->stop_wake);
    s3_turns_init(s3);
    s3->base.ops = &s3_ops;
    uuid4(s3->id);
    s3->clock = opts->clock != NULL ? opts->clock : clock_real();
    s3->retry_ms = opts->retry_ms > 0 ? opts->retry_ms : RETRY_MS;
    s3->read_only = opts->read_only;
    enum status status = build(s3, opts, err);
    if (status == OK && opts->single_writer && !opts->read_only) {
        int64_t lease_ms = opts->lease_ms > 0 ? opts->lease_ms : LEASE_MS;
        status = s3_lease_new(s3, lease_ms, &s3->lease, err);
    }
    if (status != OK) {
        s3_close(&s3->base);
        return status;
    }
    *out = &s3->base;
    return OK;
}
