/*
 * Which keys the files of `_lake/odd` have. A file's name is the SHA-256 of its key, so what was
 * read once is right for ever, whoever writes, deletes or replaces the file: a list needs the names
 * of the folder, and opens only files that it sees for the first time.
 */
#include "base/encode.h"
#include "base/mem.h"
#include "store/fs_priv.h"

/* of one entry besides its key: the name, a slot of the map and what the allocator adds; a guess */
enum { ENTRY_BYTES = 160 };

struct odd_key {
    size_t len;
    char text[];
};

static bool name_digest(const char *name, uint8_t digest[SHA256_BYTES])
{
    return hex_decode(str_of(name), digest, SHA256_BYTES);
}

void fs_odd_init(struct fs_store *fs)
{
    pthread_mutex_init(&fs->odd_lock, NULL);
    map_init(&fs->odd_keys);
    fs->odd_bytes_left = FS_ODD_BYTES_MAX;
}

void fs_odd_done(struct fs_store *fs)
{
    size_t pos = 0;
    for (struct map_entry *entry; (entry = map_next(&fs->odd_keys, &pos)) != NULL;) {
        mem_free(entry->value);
    }
    map_done(&fs->odd_keys);
    pthread_mutex_destroy(&fs->odd_lock);
}

struct str fs_odd_key(struct fs_store *fs, const char *name)
{
    uint8_t digest[SHA256_BYTES];
    if (!name_digest(name, digest)) {
        return (struct str){ NULL, 0 };
    }
    pthread_mutex_lock(&fs->odd_lock);
    const struct odd_key *key = map_get(&fs->odd_keys,
                                        str_from((const char *)digest, sizeof digest));
    pthread_mutex_unlock(&fs->odd_lock);
    /* never freed or changed before the store is closed */
    return key != NULL ? str_from(key->text, key->len) : (struct str){ NULL, 0 };
}

/** Takes `key` when it is OK; under the lock. */
static enum status keep(struct fs_store *fs, struct str digest, struct odd_key *key, bool *kept_out)
{
    size_t bytes = ENTRY_BYTES + key->len;
    *kept_out = false;
    if (fs->odd_bytes_left < bytes || map_get(&fs->odd_keys, digest) != NULL) {
        return OK;
    }
    TRY(map_put(&fs->odd_keys, digest, key, NULL));
    fs->odd_bytes_left -= bytes;
    *kept_out = true;
    return OK;
}

enum status fs_odd_learn(struct fs_store *fs, const char *name, struct str key, struct err *err)
{
    uint8_t digest[SHA256_BYTES], own[SHA256_BYTES];
    sha256(key, own);
    if (!name_digest(name, digest) || memcmp(digest, own, sizeof own) != 0) {
        return OK; /* a file that somebody put there */
    }
    struct odd_key *copy = mem_alloc(sizeof *copy + key.len);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    copy->len = key.len;
    memcpy(copy->text, key.ptr, key.len);
    bool kept = false;
    pthread_mutex_lock(&fs->odd_lock);
    enum status status = keep(fs, str_from((const char *)digest, sizeof digest), copy, &kept);
    pthread_mutex_unlock(&fs->odd_lock);
    if (!kept) {
        mem_free(copy);
    }
    return status == OK ? OK : err_no_memory(err);
}
