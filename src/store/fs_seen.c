/*
 * What the records of unchanged files say, remembered for listings: the ETag of an object that was
 * listed before costs one stat, and its record is not read again.
 *
 *      stat of the name  ->  place in the table, and half of the check
 *      what is kept      ->  the other half: MD5 and number of parts
 *
 * The check is a hash of device, inode, size, both times and what is kept. It tells another file,
 * and it tells a slot that two threads wrote at once, so that the table needs no lock.
 *
 * Why it cannot be stale: a record changes only by setxattr, which sets the file's time of change,
 * and an inode that is used again has one of its own. A time of change that is still young might
 * be that of the next change too (kernels before 6.13 count in ticks of some milliseconds, some
 * file systems in seconds), so a file is remembered only when it has not changed for a while; on a
 * network file system, whose times may be old, not at all. And only as its record says that it was
 * written, in size and time: then the record is of just this version, also when a name was given to
 * another file between the two looks at it.
 */
#include <time.h>

#include "store/fs_priv.h"

enum {
    SET_LOG2 = 16, /* 64 Ki sets of 4 slots: 256 Ki objects in 8 MiB, touched as they are used */
    SET_SLOTS = 4,
    QUIET_S = 3, /* more than the 2 s that the coarsest file systems have */
};

struct slot {
    /* relaxed: `check` tells what does not belong together */
    _Atomic uint64_t md5[2], parts, check;
};

static struct slot table[1 << SET_LOG2][SET_SLOTS];

struct seen {
    struct fs_mark mark;
    uint64_t md5[2], parts;
};

static uint64_t ns_of(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct fs_mark fs_mark_of(const struct stat *st)
{
    return (struct fs_mark){ st->st_dev, st->st_ino, (uint64_t)st->st_size, ns_of(st->st_mtim),
                             ns_of(st->st_ctim) };
}

bool fs_mark_same(const struct fs_mark *a, const struct fs_mark *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime == b->mtime &&
           a->ctime == b->ctime;
}

bool fs_mark_quiet(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return st->st_mtim.tv_sec + QUIET_S <= now.tv_sec && st->st_ctim.tv_sec + QUIET_S <= now.tv_sec;
}

static struct slot *set_of(const struct fs_mark *mark)
{
    /* the files of a folder have neighbouring inodes: no two of them share a set for long */
    uint64_t hash = (mark->ino ^ mark->dev << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return table[hash >> (64 - SET_LOG2)];
}

/** Never 0, which is an empty slot. */
static uint64_t check_of(const struct seen *seen)
{
    const struct fs_mark *mark = &seen->mark;
    const uint64_t words[] = { mark->dev,   mark->ino,    mark->size,   mark->mtime,
                               mark->ctime, seen->md5[0], seen->md5[1], seen->parts };
    uint64_t hash = UINT64_C(0x243f6a8885a308d3); /* digits of pi */
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash | 1;
}

static bool slot_holds(struct slot *slot, struct seen *seen)
{
    uint64_t check = atomic_load_explicit(&slot->check, memory_order_relaxed);
    if (check == 0) {
        return false;
    }
    seen->md5[0] = atomic_load_explicit(&slot->md5[0], memory_order_relaxed);
    seen->md5[1] = atomic_load_explicit(&slot->md5[1], memory_order_relaxed);
    seen->parts = atomic_load_explicit(&slot->parts, memory_order_relaxed);
    return check_of(seen) == check;
}

bool fs_seen_get(const struct stat *st, struct fs_record *out)
{
    struct seen seen = { .mark = fs_mark_of(st) };
    struct slot *set = set_of(&seen.mark);
    for (size_t i = 0; i < SET_SLOTS; i++) {
        if (slot_holds(&set[i], &seen)) {
            out->size = (uint64_t)st->st_size;
            out->modified_ns = (int64_t)seen.mark.mtime;
            memcpy(out->md5, seen.md5, sizeof out->md5);
            out->part_count = (uint32_t)seen.parts;
            return true;
        }
    }
    return false;
}

void fs_seen_put(const struct stat *st, const struct fs_record *record)
{
    struct seen seen = { .mark = fs_mark_of(st) };
    struct slot *set = set_of(&seen.mark);
    if (record->size != seen.mark.size || record->modified_ns != (int64_t)seen.mark.mtime ||
        !fs_mark_quiet(st)) {
        return;
    }
    memcpy(seen.md5, record->md5, sizeof seen.md5);
    seen.parts = record->part_count;
    size_t free_at = SET_SLOTS;
    for (size_t i = SET_SLOTS; i-- > 0;) {
        free_at = atomic_load_explicit(&set[i].check, memory_order_relaxed) == 0 ? i : free_at;
    }
    uint64_t check = check_of(&seen);
    /* a full set loses one of its slots, whichever this file's hash names */
    struct slot *slot = &set[free_at < SET_SLOTS ? free_at : (check >> 8) % SET_SLOTS];
    atomic_store_explicit(&slot->md5[0], seen.md5[0], memory_order_relaxed);
    atomic_store_explicit(&slot->md5[1], seen.md5[1], memory_order_relaxed);
    atomic_store_explicit(&slot->parts, seen.parts, memory_order_relaxed);
    atomic_store_explicit(&slot->check, check, memory_order_relaxed);
}
