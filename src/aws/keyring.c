/*
 * A map from access keys to grants, and a cache of the days' signing keys: one slot for each hash
 * of (grant, day, region), the last that was right keeps it. An access key that nobody has is taken
 * for that of a grant that is never given out, so that the answer costs the same work.
 */
#include "aws/keyring.h"

#include <pthread.h>

#include "aws/vended.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    SLOTS = 64,           /* of the cache: a few keys, two days, a few regions; chosen */
    REGION_MAX = 32,      /* a longer one is not cached; AWS's have 14 at most */
    ACCESS_KEY_MAX = 128, /* AWS's limit */
};

struct slot {
    const struct aws_grant *grant; /* NULL: free */
    char day[8];
    char region[REGION_MAX];
    size_t region_len;
    struct aws_signing_key key;
};

struct aws_keyring {
    struct arena arena; /* grants and their texts */
    struct aws_grant *grants;
    size_t count;
    struct str region;
    struct map by_access_key;
    struct aws_grant nobody; /* of unknown access keys */
    char nobodys_secret[40];
    bool lends; /* `vendor` is set */
    struct aws_vendor vendor;
    pthread_mutex_t lock;
    struct slot slots[SLOTS]; /* guarded by lock */
};

/* --- made and freed --- */

static enum status check_grant(const struct aws_grant *grant, struct err *err)
{
    struct str name = grant->access_key;
    if (name.len == 0 || name.len > ACCESS_KEY_MAX || str_has_control(name)) {
        return err_set(err, E_INVALID, "an access key must have from 1 to %d bytes",
                       ACCESS_KEY_MAX);
    }
    if (grant->secret_key.len == 0 || grant->secret_key.len > AWS_SECRET_MAX) {
        return err_set(err, E_INVALID,
                       "the secret of the access key \"%.*s\" must have from 1 to "
                       "%d bytes",
                       STR_ARG(name), AWS_SECRET_MAX);
    }
    if (grant->prefix.len > 0 && str_find_char(grant->prefix, '/') == SIZE_MAX) {
        return err_set(err, E_INVALID,
                       "the prefix \"%.*s\" of the access key \"%.*s\" must be a bucket's name and "
                       "a slash, then what its keys begin with",
                       STR_ARG(grant->prefix), STR_ARG(name));
    }
    return OK;
}

static enum status add(struct aws_keyring *keyring, const struct aws_grant *from, struct err *err)
{
    TRY(check_grant(from, err));
    struct aws_grant *grant = &keyring->grants[keyring->count];
    *grant = (struct aws_grant){
        .access_key = arena_str(&keyring->arena, from->access_key),
        .secret_key = arena_str(&keyring->arena, from->secret_key),
        .write = from->write,
        .prefix = arena_str(&keyring->arena, from->prefix),
    };
    if (grant->secret_key.ptr != NULL) {
        keyring->count++; /* so that it is wiped, whatever comes */
    }
    if (grant->access_key.ptr == NULL || grant->secret_key.ptr == NULL ||
        grant->prefix.ptr == NULL) {
        return err_no_memory(err);
    }
    if (map_get(&keyring->by_access_key, grant->access_key) != NULL) {
        return err_set(err, E_INVALID, "the access key \"%.*s\" is there twice",
                       STR_ARG(grant->access_key));
    }
    return map_put(&keyring->by_access_key, grant->access_key, grant, NULL) == OK
               ? OK
               : err_no_memory(err);
}

enum status aws_keyring_new(const struct aws_grant *grants, size_t count, struct str region,
                            struct aws_keyring **out, struct err *err)
{
    struct aws_keyring *keyring = mem_zalloc(sizeof(*keyring));
    if (keyring == NULL) {
        return err_no_memory(err);
    }
    arena_init(&keyring->arena, 0);
    map_init(&keyring->by_access_key);
    pthread_mutex_init(&keyring->lock, NULL);
    random_bytes(keyring->nobodys_secret, sizeof(keyring->nobodys_secret));
    keyring->nobody.secret_key = str_from(keyring->nobodys_secret, sizeof(keyring->nobodys_secret));
    keyring->region = arena_str(&keyring->arena, region);
    keyring->grants = arena_array(&keyring->arena, count > 0 ? count : 1, sizeof(*keyring->grants));
    enum status status = keyring->region.ptr != NULL && keyring->grants != NULL
                             ? OK
                             : err_no_memory(err);
    for (size_t i = 0; status == OK && i < count; i++) {
        status = add(keyring, &grants[i], err);
    }
    if (status != OK) {
        aws_keyring_free(keyring);
        return status;
    }
    *out = keyring;
    return OK;
}

void aws_keyring_free(struct aws_keyring *keyring)
{
    if (keyring == NULL) {
        return;
    }
    for (size_t i = 0; i < keyring->count; i++) {
        struct str secret = keyring->grants[i].secret_key; /* the arena's, so ours to change */
        explicit_bzero((char *)secret.ptr, secret.len);
    }
    map_done(&keyring->by_access_key);
    arena_done(&keyring->arena);
    pthread_mutex_destroy(&keyring->lock);
    explicit_bzero(keyring, sizeof(*keyring));
    mem_free(keyring);
}

void aws_keyring_take_lent(struct aws_keyring *keyring, struct str cluster_secret)
{
    aws_vendor_init(&keyring->vendor, cluster_secret);
    keyring->lends = true;
}

/* --- signing keys --- */

static struct slot *slot_of(struct aws_keyring *keyring, const struct aws_grant *grant,
                            const struct aws_auth *auth)
{
    uint64_t seed = str_hash(auth->day, (uint64_t)(uintptr_t)grant);
    return &keyring->slots[str_hash(auth->region, seed) % SLOTS];
}

static bool holds(const struct slot *slot, const struct aws_grant *grant,
                  const struct aws_auth *auth)
{
    return slot->grant == grant && str_eq(auth->day, str_from(slot->day, sizeof(slot->day))) &&
           str_eq(auth->region, str_from(slot->region, slot->region_len));
}

/** From the cache, else made; true when it was there. */
static bool find_key(struct aws_keyring *keyring, const struct aws_grant *grant,
                     const struct aws_auth *auth, struct aws_signing_key *out)
{
    struct slot *slot = slot_of(keyring, grant, auth);
    pthread_mutex_lock(&keyring->lock);
    bool found = holds(slot, grant, auth);
    if (found) {
        *out = slot->key;
    }
    pthread_mutex_unlock(&keyring->lock);
    if (!found) {
        aws_signing_key_make(grant->secret_key, auth->day, auth->region, STR("s3"), out);
    }
    return found;
}

static void keep_key(struct aws_keyring *keyring, const struct aws_grant *grant,
                     const struct aws_auth *auth, const struct aws_signing_key *key)
{
    struct slot *slot = slot_of(keyring, grant, auth);
    if (auth->region.len > REGION_MAX || auth->day.len != sizeof(slot->day)) {
        return;
    }
    pthread_mutex_lock(&keyring->lock);
    slot->grant = grant;
    memcpy(slot->day, auth->day.ptr, sizeof(slot->day));
    memcpy(slot->region, auth->region.ptr, auth->region.len);
    slot->region_len = auth->region.len;
    slot->key = *key;
    pthread_mutex_unlock(&keyring->lock);
}

/* --- judging --- */

/** The grant of a lent key, which nobody else's slot in the cache may stand for. */
static enum status verify_lent(struct aws_keyring *keyring, const struct aws_auth *auth,
                               const struct aws_request *request, int64_t now_ms,
                               struct arena *arena, const struct aws_grant **grant_out,
                               struct aws_signing_key *key, enum aws_code *code_out,
                               struct err *err)
{
    struct aws_grant *grant = arena_alloc(arena, sizeof(*grant));
    if (grant == NULL) {
        return err_no_memory(err);
    }
    TRY(aws_vended_read(&keyring->vendor, auth->access_key, auth->session_token, now_ms, arena,
                        grant, code_out, err));
    aws_signing_key_make(grant->secret_key, auth->day, auth->region, STR("s3"), key);
    TRY(aws_auth_verify(auth, request, key, keyring->region, now_ms, arena, code_out, err));
    *grant_out = grant;
    return OK;
}

static enum status verify_kept(struct aws_keyring *keyring, const struct aws_auth *auth,
                               const struct aws_request *request, int64_t now_ms,
                               struct arena *arena, const struct aws_grant **grant_out,
                               struct aws_signing_key *key, enum aws_code *code_out,
                               struct err *err)
{
    const struct aws_grant *known = map_get(&keyring->by_access_key, auth->access_key);
    const struct aws_grant *grant = known != NULL ? known : &keyring->nobody;
    if (known != NULL && auth->session_token.len > 0) {
        *code_out = AWS_INVALID_TOKEN;
        return err_set(err, aws_code_kind(*code_out), "this access key has no session tokens");
    }
    bool cached = find_key(keyring, grant, auth, key);
    enum status status = aws_auth_verify(auth, request, key, keyring->region, now_ms, arena,
                                         code_out, err);
    if (known == NULL) {
        *code_out = AWS_INVALID_ACCESS_KEY_ID;
        return err_set(err, aws_code_kind(*code_out), "nobody has the access key \"%.*s\"",
                       STR_ARG(auth->access_key));
    }
    TRY(status);
    if (!cached) {
        keep_key(keyring, grant, auth, key);
    }
    *grant_out = grant;
    return OK;
}

enum status aws_keyring_verify(struct aws_keyring *keyring, const struct aws_auth *auth,
                               const struct aws_request *request, int64_t now_ms,
                               struct arena *arena, const struct aws_grant **grant_out,
                               struct aws_signing_key *key_out, enum aws_code *code_out,
                               struct err *err)
{
    struct aws_signing_key key;
    bool lent = keyring->lends && aws_vended_looks(auth->access_key) &&
                map_get(&keyring->by_access_key, auth->access_key) == NULL;
    TRY((lent ? verify_lent : verify_kept)(keyring, auth, request, now_ms, arena, grant_out, &key,
                                           code_out, err));
    if (key_out != NULL) {
        *key_out = key;
    }
    return OK;
}

bool aws_grant_covers(const struct aws_grant *grant, struct str resource)
{
    return str_starts(resource, grant->prefix);
}
