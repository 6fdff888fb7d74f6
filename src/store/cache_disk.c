#include "store/cache_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/mem.h"
#include "store/cache_pages.h"
#include "store/le.h"

enum {
    ENTRY_BYTES = 48,
    MAGIC = 0x3147504c, /* "LPG1" */
    FOLDERS_MAX = 64,   /* processes that share a folder; chosen */
    TAKE_SPARED = 64,   /* pages that were read and are passed over for one that is new; chosen */
    TAKE_STEPS = 128,   /* slots that are looked at for it */
    REST_MS = 10 * 1000,
    NONE = -1,
};

/* Bytes of an entry of the index; all integers are little-endian. */
enum {
    AT_CRC = 0,
    AT_MAGIC = 4,
    AT_ID = 8,
    AT_INDEX = 24,
    AT_LEN = 32,
    AT_DATA = 36,
    AT_SLOT = 40
};

struct slot {
    uint8_t id[CACHE_DISK_ID_BYTES];
    uint64_t index;
    uint32_t len;  /* 0: free */
    uint32_t data; /* checksum */
    int64_t next;  /* of the bucket; NONE */
    bool seen;     /* read since the hand came by */
    bool busy;     /* being written */
    uint32_t turn; /* how often it got another page */
};

struct cache_disk {
    int index_fd, pages_fd;
    pthread_mutex_t lock;
    struct slot *slots; /* [slot_count]; guarded by lock, as all below */
    int64_t *buckets;   /* [bucket_count] */
    size_t slot_count, bucket_count;
    size_t hand;
    uint64_t bytes;     /* in slots that hold a page */
    int64_t rest_until; /* no writes before; clock_mono_ms */
    struct metric *hit, *held, *faults;
};

/* --- the table; the lock is held --- */

static int64_t *bucket_of(struct cache_disk *disk, const uint8_t *id, uint64_t index)
{
    uint64_t hash = 0;
    memcpy(&hash, id, sizeof hash); /* of a digest: as good as random */
    hash ^= index * UINT64_C(0x9e3779b97f4a7c15);
    return &disk->buckets[(hash >> 20) % disk->bucket_count];
}

static int64_t find(struct cache_disk *disk, const uint8_t *id, uint64_t index)
{
    int64_t at = *bucket_of(disk, id, index);
    while (at != NONE && (disk->slots[at].index != index ||
                          memcmp(disk->slots[at].id, id, CACHE_DISK_ID_BYTES) != 0)) {
        at = disk->slots[at].next;
    }
    return at;
}

static void add(struct cache_disk *disk, int64_t at)
{
    struct slot *slot = &disk->slots[at];
    int64_t *bucket = bucket_of(disk, slot->id, slot->index);
    slot->next = *bucket;
    *bucket = at;
    disk->bytes += PAGE_BYTES;
    metric_set(disk->held, (double)disk->bytes);
}

static void drop(struct cache_disk *disk, int64_t at)
{
    struct slot *slot = &disk->slots[at];
    int64_t *link = bucket_of(disk, slot->id, slot->index);
    while (*link != at) {
        link = &disk->slots[*link].next;
    }
    *link = slot->next;
    slot->len = 0;
    slot->turn++;
    disk->bytes -= PAGE_BYTES;
    metric_set(disk->held, (double)disk->bytes);
}

/** A slot for another page, busy; NONE when all are that were looked at. The lock is held, so the
 * hand does not go far: when many pages in a row were read, the next one goes though it was. */
static int64_t take(struct cache_disk *disk)
{
    for (size_t i = 0; i < TAKE_STEPS; i++) {
        int64_t at = (int64_t)disk->hand;
        struct slot *slot = &disk->slots[at];
        disk->hand = (disk->hand + 1) % disk->slot_count;
        if (slot->busy) {
            continue;
        }
        if (slot->len > 0 && slot->seen && i < TAKE_SPARED) {
            slot->seen = false;
            continue;
        }
        if (slot->len > 0) {
            drop(disk, at);
        }
        slot->busy = true;
        return at;
    }
    return NONE;
}

/* --- entries --- */

static uint32_t page_crc(const struct slot *slot, const char *bytes)
{
    uint8_t whose[CACHE_DISK_ID_BYTES + 12];
    memcpy(whose, slot->id, CACHE_DISK_ID_BYTES);
    le_put(whose + CACHE_DISK_ID_BYTES, slot->index, 8);
    le_put(whose + CACHE_DISK_ID_BYTES + 8, slot->len, 4);
    return crc32c(crc32c(0, whose, sizeof whose), bytes, slot->len);
}

static void entry_write(const struct slot *slot, size_t at, uint8_t out[ENTRY_BYTES])
{
    memset(out, 0, ENTRY_BYTES);
    le_put(out + AT_MAGIC, MAGIC, 4);
    memcpy(out + AT_ID, slot->id, CACHE_DISK_ID_BYTES);
    le_put(out + AT_INDEX, slot->index, 8);
    le_put(out + AT_LEN, slot->len, 4);
    le_put(out + AT_DATA, slot->data, 4);
    le_put(out + AT_SLOT, at, 8);
    le_put(out + AT_CRC, crc32c(0, out + AT_MAGIC, ENTRY_BYTES - AT_MAGIC), 4);
}

/** False: there is none, or it is not what was written there. */
static bool entry_read(const uint8_t *in, size_t at, struct slot *out)
{
    if ((uint32_t)le_get(in + AT_MAGIC, 4) != MAGIC || le_get(in + AT_SLOT, 8) != at ||
        (uint32_t)le_get(in + AT_CRC, 4) != crc32c(0, in + AT_MAGIC, ENTRY_BYTES - AT_MAGIC)) {
        return false;
    }
    memcpy(out->id, in + AT_ID, CACHE_DISK_ID_BYTES);
    out->index = le_get(in + AT_INDEX, 8);
    out->len = (uint32_t)le_get(in + AT_LEN, 4);
    out->data = (uint32_t)le_get(in + AT_DATA, 4);
    return out->len > 0 && out->len <= PAGE_BYTES;
}

/* --- reading --- */

bool cache_disk_has(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES], uint64_t index)
{
    pthread_mutex_lock(&disk->lock);
    bool there = find(disk, id, index) != NONE;
    pthread_mutex_unlock(&disk->lock);
    return there;
}

bool cache_disk_read(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES], uint64_t index,
                     char *ptr, size_t len)
{
    struct slot slot = { 0 };
    size_t got = 0;
    pthread_mutex_lock(&disk->lock);
    int64_t at = find(disk, id, index);
    if (at != NONE) {
        disk->slots[at].seen = true;
        slot = disk->slots[at];
    }
    pthread_mutex_unlock(&disk->lock);
    if (at == NONE) {
        return false;
    }
    bool fine = slot.len == len &&
                io_pread(disk->pages_fd, ptr, len, (uint64_t)at * PAGE_BYTES, &got, NULL) == OK &&
                got == len && page_crc(&slot, ptr) == slot.data;
    if (fine) {
        metric_add(disk->hit, (double)len);
        return true;
    }
    pthread_mutex_lock(&disk->lock);
    if (disk->slots[at].turn == slot.turn) { /* else it got another page meanwhile */
        drop(disk, at);
        metric_add(disk->faults, 1);
    }
    pthread_mutex_unlock(&disk->lock);
    return false;
}

/* --- writing --- */

/** Pages that get slots side by side, which are written as one. */
struct stretch {
    size_t first, count; /* slots */
    const char *bytes;
    size_t len;
};

/** Take slots for the next pages. The lock is held. */
static void stretch_take(struct cache_disk *disk, const uint8_t *id, uint64_t index,
                         const char *ptr, size_t len, struct stretch *out)
{
    *out = (struct stretch){ .bytes = ptr };
    while (out->len < len) {
        size_t next = disk->hand;
        if (find(disk, id, index) != NONE ||
            (out->count > 0 && (next != out->first + out->count || disk->slots[next].busy ||
                                (disk->slots[next].len > 0 && disk->slots[next].seen)))) {
            return;
        }
        int64_t at = take(disk);
        if (at == NONE) {
            return;
        }
        struct slot *slot = &disk->slots[at];
        out->first = out->count == 0 ? (size_t)at : out->first;
        memcpy(slot->id, id, CACHE_DISK_ID_BYTES);
        slot->index = index++;
        slot->len = (uint32_t)(len - out->len < PAGE_BYTES ? len - out->len : PAGE_BYTES);
        slot->seen = false;
        out->len += slot->len;
        out->count++;
    }
}

/** Bytes first, then whose they are. The slots are busy: nobody else touches them. */
static enum status stretch_write(struct cache_disk *disk, const struct stretch *stretch)
{
    uint8_t *entries = mem_alloc(stretch->count * ENTRY_BYTES);
    const char *bytes = stretch->bytes;
    if (entries == NULL) {
        return E_NO_MEMORY;
    }
    for (size_t i = 0; i < stretch->count; i++) {
        struct slot *slot = &disk->slots[stretch->first + i];
        slot->data = page_crc(slot, bytes);
        bytes += slot->len;
        entry_write(slot, stretch->first + i, entries + i * ENTRY_BYTES);
    }
    enum status status = io_pwrite_full(disk->pages_fd, stretch->bytes, stretch->len,
                                        (uint64_t)stretch->first * PAGE_BYTES, NULL);
    if (status == OK) {
        status = io_pwrite_full(disk->index_fd, entries, stretch->count * ENTRY_BYTES,
                                (uint64_t)stretch->first * ENTRY_BYTES, NULL);
    }
    mem_free(entries);
    return status;
}

static void stretch_give(struct cache_disk *disk, const struct stretch *stretch, bool written)
{
    for (size_t i = 0; i < stretch->count; i++) {
        struct slot *slot = &disk->slots[stretch->first + i];
        slot->busy = false;
        if (written && find(disk, slot->id, slot->index) == NONE) {
            add(disk, (int64_t)(stretch->first + i));
        } else {
            slot->len = 0;
            slot->turn++;
        }
    }
    if (!written) {
        disk->rest_until = clock_mono_ms(clock_real()) + REST_MS;
        metric_add(disk->faults, 1);
    }
}

void cache_disk_write(struct cache_disk *disk, const uint8_t id[CACHE_DISK_ID_BYTES],
                      uint64_t index, const char *ptr, size_t len)
{
    pthread_mutex_lock(&disk->lock);
    bool rests = clock_mono_ms(clock_real()) < disk->rest_until;
    while (len > 0 && !rests) {
        struct stretch stretch;
        stretch_take(disk, id, index, ptr, len, &stretch);
        if (stretch.count == 0) { /* it is there, or all slots are busy: the next one */
            size_t one = len < PAGE_BYTES ? len : (size_t)PAGE_BYTES;
            stretch.len = one;
            stretch.count = 1;
        } else {
            pthread_mutex_unlock(&disk->lock);
            bool written = stretch_write(disk, &stretch) == OK;
            pthread_mutex_lock(&disk->lock);
            stretch_give(disk, &stretch, written);
            rests = !written;
        }
        index += stretch.count;
        ptr += stretch.len;
        len -= stretch.len;
    }
    pthread_mutex_unlock(&disk->lock);
}

/* --- life --- */

/** Never through a link: whoever could make one would choose what we write to. */
static int file_open(int dir_fd, const char *name, bool create)
{
    int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT : 0);
    return openat(dir_fd, name, flags, 0600);
}

/** The setting's folder, which must be ours alone to write into. */
static enum status dir_open(const char *dir, int *fd_out, struct err *err)
{
    AUTO(fd_done) int fd = -1;
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return err_errno(err, errno, "s3.cache_dir = \"%s\"", dir);
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        return errno == ELOOP || errno == ENOTDIR
                   ? err_set(err, E_INVALID,
                             "s3.cache_dir = \"%s\" is a link or no folder: name the folder itself",
                             dir)
                   : err_errno(err, errno, "s3.cache_dir = \"%s\"", dir);
    }
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return err_set(err, E_INVALID,
                       "s3.cache_dir = \"%s\" belongs to another user, or others may write into it",
                       dir);
    }
    *fd_out = fd;
    fd = -1;
    return OK;
}

/** The files of the folder `n`, locked. -1 in *index_out: another process has them. */
static enum status folder_lock(int dir_fd, int n, bool create, int *index_out, int *pages_out)
{
    AUTO(fd_done) int folder_fd = -1, index_fd = -1;
    char name[16];
    *index_out = *pages_out = -1;
    (void)snprintf(name, sizeof name, "%d", n);
    if (create && mkdirat(dir_fd, name, 0700) != 0 && errno != EEXIST) {
        return E_UNAVAILABLE;
    }
    folder_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    index_fd = folder_fd >= 0 ? file_open(folder_fd, "index", create) : -1;
    if (index_fd < 0) {
        return E_UNAVAILABLE;
    }
    if (flock(index_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? OK : E_UNAVAILABLE;
    }
    *pages_out = file_open(folder_fd, "pages", create);
    if (*pages_out < 0) {
        return E_UNAVAILABLE;
    }
    *index_out = index_fd;
    index_fd = -1;
    return OK;
}

/** What lies in folders whose process has gone: with ours it would be more than was allowed. */
static void cut_others(int dir_fd, int ours)
{
    for (int i = 0; i < FOLDERS_MAX; i++) {
        AUTO(fd_done) int index_fd = -1, pages_fd = -1;
        if (i != ours && folder_lock(dir_fd, i, false, &index_fd, &pages_fd) == OK &&
            index_fd >= 0) {
            (void)!ftruncate(index_fd, 0);
            (void)!ftruncate(pages_fd, 0);
        }
    }
}

/** The first folder that nobody has locked. */
static enum status folder_take(struct cache_disk *disk, const char *dir, struct err *err)
{
    AUTO(fd_done) int dir_fd = -1;
    TRY(dir_open(dir, &dir_fd, err));
    for (int i = 0; i < FOLDERS_MAX; i++) {
        if (folder_lock(dir_fd, i, true, &disk->index_fd, &disk->pages_fd) != OK) {
            return err_errno(err, errno, "s3.cache_dir: \"%s/%d\"", dir, i);
        }
        if (disk->index_fd >= 0) {
            cut_others(dir_fd, i);
            return OK;
        }
    }
    return err_set(err, E_UNAVAILABLE, "s3.cache_dir = \"%s\" is used by %d processes already", dir,
                   FOLDERS_MAX);
}

/** What an earlier process has left. An index that cannot be read is an empty one. */
static enum status restore(struct cache_disk *disk, struct err *err)
{
    enum { CHUNK = 4096 };
    uint8_t *entries = mem_alloc((size_t)CHUNK * ENTRY_BYTES);
    if (entries == NULL) {
        return err_no_memory(err);
    }
    size_t got = (size_t)CHUNK * ENTRY_BYTES;
    for (size_t at = 0; at < disk->slot_count && got == (size_t)CHUNK * ENTRY_BYTES; at += CHUNK) {
        if (io_pread(disk->index_fd, entries, (size_t)CHUNK * ENTRY_BYTES,
                     (uint64_t)at * ENTRY_BYTES, &got, NULL) != OK) {
            break;
        }
        for (size_t i = 0; i < got / ENTRY_BYTES && at + i < disk->slot_count; i++) {
            struct slot *slot = &disk->slots[at + i];
            if (!entry_read(entries + i * ENTRY_BYTES, at + i, slot) ||
                find(disk, slot->id, slot->index) != NONE) {
                slot->len = 0;
            } else {
                add(disk, (int64_t)(at + i));
            }
        }
    }
    mem_free(entries);
    /* it may have had more room before */
    bool cut = ftruncate(disk->pages_fd, (off_t)disk->slot_count * PAGE_BYTES) == 0 &&
               ftruncate(disk->index_fd, (off_t)disk->slot_count * ENTRY_BYTES) == 0;
    return cut ? OK : err_errno(err, errno, "s3.cache_dir");
}

static enum status build(struct cache_disk *disk, const char *dir, uint64_t bytes_max,
                         struct err *err)
{
    disk->slot_count = (size_t)(bytes_max / (PAGE_BYTES + ENTRY_BYTES));
    disk->slot_count = disk->slot_count > 0 ? disk->slot_count : 1;
    disk->bucket_count = disk->slot_count + disk->slot_count / 2 + 1;
    size_t slots = 0, buckets = 0;
    if (!size_mul(disk->slot_count, sizeof *disk->slots, &slots) ||
        !size_mul(disk->bucket_count, sizeof *disk->buckets, &buckets)) {
        return err_set(err, E_INVALID, "s3.cache_disk is too large");
    }
    disk->slots = mem_zalloc(slots);
    disk->buckets = mem_zalloc(buckets);
    if (disk->slots == NULL || disk->buckets == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < disk->bucket_count; i++) {
        disk->buckets[i] = NONE;
    }
    TRY(folder_take(disk, dir, err));
    return restore(disk, err);
}

enum status cache_disk_open(const char *dir, uint64_t bytes_max, struct cache_disk **out,
                            struct err *err)
{
    struct cache_disk *disk = mem_zalloc(sizeof *disk);
    if (disk == NULL) {
        return err_no_memory(err);
    }
    disk->index_fd = disk->pages_fd = -1;
    pthread_mutex_init(&disk->lock, NULL);
    enum status status = build(disk, dir, bytes_max, err);
    if (status != OK) {
        cache_disk_close(disk);
        return status;
    }
    *out = disk;
    return OK;
}

void cache_disk_measure(struct cache_disk *disk, struct metrics *metrics)
{
    disk->hit = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_disk_hit_bytes_total", "",
                           "Bytes that the block cache read from its folder.");
    disk->held = metric_get(metrics, METRIC_GAUGE, "lakehouse_cache_disk_bytes", "",
                            "Bytes of pages in the folder of the block cache.");
    disk->faults = metric_get(metrics, METRIC_COUNTER, "lakehouse_cache_disk_faults_total", "",
                              "Pages in the folder of the block cache that were not what was "
                              "written, and writes that failed.");
    metric_set(disk->held, (double)disk->bytes);
}

void cache_disk_close(struct cache_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    fd_done(&disk->index_fd); /* and with it the lock */
    fd_done(&disk->pages_fd);
    pthread_mutex_destroy(&disk->lock);
    mem_free(disk->slots);
    mem_free(disk->buckets);
    mem_free(disk);
}
