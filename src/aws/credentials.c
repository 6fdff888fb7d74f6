/*
 * Credentials, looked for anew at each call: settings and environment cost nothing, and the shared
 * files are parsed again only when their time or size has changed.
 */
#include "aws/credentials.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/mem.h"

enum { FILE_BYTES_MAX = 1024 * 1024, PATH_BYTES = 1024, TEXT_MAX = 4096 };

/* What one shared file says of our profile. */
struct shared {
    char path[PATH_BYTES];
    struct stat seen; /* when it was parsed */
    bool parsed;
    char access_key[256], secret_key[257], session_token[TEXT_MAX], region[64];
};

struct aws_credentials {
    const char *(*env)(void *ctx, const char *name);
    void *env_ctx;
    struct arena arena; /* of the settings below */
    struct aws_key settings;
    struct str profile;
    pthread_mutex_t lock;
    struct shared credentials, config; /* guarded by lock */
};

static const char *env_of_process(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

static struct str env_text(const struct aws_credentials *c, const char *name)
{
    const char *value = c->env(c->env_ctx, name);
    return value != NULL ? str_of(value) : STR_EMPTY;
}

/* --- life --- */

static enum status keep(struct arena *arena, struct str text, struct str *out, struct err *err)
{
    *out = arena_str(arena, text);
    return out->ptr != NULL ? OK : err_no_memory(err);
}

static void choose_path(const struct aws_credentials *c, const char *name, const char *file,
                        char out[PATH_BYTES])
{
    struct str given = env_text(c, name), home = env_text(c, "HOME");
    if (given.len > 0) {
        (void)snprintf(out, PATH_BYTES, "%.*s", STR_ARG(given));
    } else {
        (void)snprintf(out, PATH_BYTES, "%.*s/.aws/%s", STR_ARG(home), file);
    }
}

enum status aws_credentials_new(const struct aws_credentials_opts *opts,
                                struct aws_credentials **out, struct err *err)
{
    const struct aws_key *set = &opts->settings;
    if ((set->access_key.len > 0) != (set->secret_key.len > 0)) {
        return err_set(err, E_INVALID, "s3.%s is set and s3.%s is not",
                       set->access_key.len > 0 ? "access_key" : "secret_key",
                       set->access_key.len > 0 ? "secret_key" : "access_key");
    }
    if (set->secret_key.len > 256) {
        return err_set(err, E_INVALID, "s3.secret_key has more than 256 characters");
    }
    struct aws_credentials *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return err_no_memory(err);
    }
    pthread_mutex_init(&c->lock, NULL);
    arena_init(&c->arena, 0);
    c->env = opts->env != NULL ? opts->env : env_of_process;
    c->env_ctx = opts->env_ctx;
    struct str profile = opts->profile.len > 0 ? opts->profile : env_text(c, "AWS_PROFILE");
    enum status status = keep(&c->arena, profile.len > 0 ? profile : STR("default"), &c->profile,
                              err);
    status = status == OK ? keep(&c->arena, set->access_key, &c->settings.access_key, err) : status;
    status = status == OK ? keep(&c->arena, set->secret_key, &c->settings.secret_key, err) : status;
    status = status == OK ? keep(&c->arena, set->session_token, &c->settings.session_token, err)
                          : status;
    if (status != OK) {
        aws_credentials_free(c);
        return status;
    }
    choose_path(c, "AWS_SHARED_CREDENTIALS_FILE", "credentials", c->credentials.path);
    choose_path(c, "AWS_CONFIG_FILE", "config", c->config.path);
    *out = c;
    return OK;
}

void aws_credentials_free(struct aws_credentials *credentials)
{
    if (credentials != NULL) {
        arena_done(&credentials->arena);
        pthread_mutex_destroy(&credentials->lock);
        mem_free(credentials);
    }
}

/* --- the shared files --- */

static void take(struct str value, char *out, size_t size)
{
    if (value.len < size) {
        memcpy(out, value.ptr, value.len);
        out[value.len] = '\0';
    }
}

/** [name] in credentials, [profile name] in config; [default] in both. */
static bool is_ours(struct str header, struct str profile)
{
    struct str name = str_trim(header);
    if (str_starts(name, STR("profile "))) {
        name = str_trim(str_skip(name, 8));
    }
    return str_eq(name, profile);
}

static void parse(struct shared *shared, struct str text, struct str profile)
{
    bool ours = false;
    while (text.ptr != NULL) {
        struct str line = str_trim(str_split(&text, '\n'));
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';') {
            continue;
        }
        if (line.ptr[0] == '[') {
            struct str rest = str_skip(line, 1);
            ours = is_ours(str_split(&rest, ']'), profile);
            continue;
        }
        struct str value = line, name = str_trim(str_split(&value, '='));
        if (!ours || value.ptr == NULL) {
            continue;
        }
        value = str_trim(value);
        if (str_eq_nocase(name, STR("aws_access_key_id"))) {
            take(value, shared->access_key, sizeof shared->access_key);
        } else if (str_eq_nocase(name, STR("aws_secret_access_key"))) {
            take(value, shared->secret_key, sizeof shared->secret_key);
        } else if (str_eq_nocase(name, STR("aws_session_token"))) {
            take(value, shared->session_token, sizeof shared->session_token);
        } else if (str_eq_nocase(name, STR("region"))) {
            take(value, shared->region, sizeof shared->region);
        }
    }
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/** With the lock held. A file that is not there says nothing. */
static enum status refresh(struct shared *shared, struct str profile, struct err *err)
{
    struct stat now;
    struct buf text;
    if (stat(shared->path, &now) != 0) {
        shared->access_key[0] = shared->secret_key[0] = shared->session_token[0] = '\0';
        shared->region[0] = '\0';
        shared->parsed = false;
        return OK;
    }
    if (shared->parsed && same_file(&now, &shared->seen)) {
        return OK;
    }
    buf_init(&text, FILE_BYTES_MAX);
    enum status status = io_read_file(shared->path, &text, err);
    if (status == OK) {
        shared->access_key[0] = shared->secret_key[0] = shared->session_token[0] = '\0';
        shared->region[0] = '\0';
        parse(shared, buf_str(&text), profile);
        shared->seen = now;
        shared->parsed = true;
    }
    buf_done(&text);
    return status;
}

/* --- the answers --- */

static enum status copy_key(struct arena *arena, const struct aws_key *from, struct aws_key *out,
                            struct err *err)
{
    struct aws_key key;
    TRY(keep(arena, from->access_key, &key.access_key, err));
    TRY(keep(arena, from->secret_key, &key.secret_key, err));
    TRY(keep(arena, from->session_token, &key.session_token, err));
    *out = key;
    return OK;
}

static enum status from_shared(struct aws_credentials *c, struct shared *shared,
                               struct arena *arena, struct aws_key *out, bool *found_out,
                               struct err *err)
{
    TRY(refresh(shared, c->profile, err));
    *found_out = shared->access_key[0] != '\0' && shared->secret_key[0] != '\0';
    if (!*found_out) {
        return OK;
    }
    const struct aws_key key = { str_of(shared->access_key), str_of(shared->secret_key),
                                 str_of(shared->session_token) };
    return copy_key(arena, &key, out, err);
}

enum status aws_credentials_get(struct aws_credentials *c, struct arena *arena, struct aws_key *out,
                                struct err *err)
{
    if (c->settings.access_key.len > 0) {
        return copy_key(arena, &c->settings, out, err);
    }
    const struct aws_key env = { env_text(c, "AWS_ACCESS_KEY_ID"),
                                 env_text(c, "AWS_SECRET_ACCESS_KEY"),
                                 env_text(c, "AWS_SESSION_TOKEN") };
    if (env.access_key.len > 0 && env.secret_key.len > 0) {
        return copy_key(arena, &env, out, err);
    }
    bool found = false;
    pthread_mutex_lock(&c->lock);
    enum status status = from_shared(c, &c->credentials, arena, out, &found, err);
    if (status == OK && !found) {
        status = from_shared(c, &c->config, arena, out, &found, err);
    }
    pthread_mutex_unlock(&c->lock);
    TRY(status);
    return found
               ? OK
               : err_set(
                     err, E_AUTH,
                     "no credentials for the store: not in s3.access_key and s3.secret_key, not in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not as profile \"%.*s\" in %s or %s",
                     STR_ARG(c->profile), c->credentials.path, c->config.path);
}

enum status aws_credentials_region(struct aws_credentials *c, struct arena *arena, struct str *out,
                                   struct err *err)
{
    struct str region = env_text(c, "AWS_REGION");
    region = region.len > 0 ? region : env_text(c, "AWS_DEFAULT_REGION");
    if (region.len > 0) {
        return keep(arena, region, out, err);
    }
    pthread_mutex_lock(&c->lock);
    enum status status = refresh(&c->config, c->profile, err);
    status = status == OK ? keep(arena, str_of(c->config.region), out, err) : status;
    pthread_mutex_unlock(&c->lock);
    return status;
}
