/* The disk of disk.h: what was done, and what of it is there after a cut. */
#include "disk.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"

enum {
    NODES_MAX = 4096,
    EVENTS_MAX = 16384,
    XATTRS_MAX = 4096,
    XATTR_BYTES_MAX = 4000,
    PLACES_MAX = 32,
    NONE = -1,
    INODE_FIRST = 1000 * 1000 * 1000,
};

/* --- what happened --- */

enum event_kind {
    EV_NODE,  /* `node` came to be: a folder when `offset` is 1 */
    EV_WRITE, /* `bytes` at `offset` */
    EV_CUT,   /* to `offset` bytes, or made longer */
    EV_XATTR,
    EV_NAME, /* `name` in folder `dir` is `node` now, or nothing */
    EV_SYNC,
    EV_SYNC_ALL,
};

struct event {
    enum event_kind kind;
    int node, dir;
    char *name;
    char *bytes;
    size_t len;
    off_t offset;
};

struct known_inode {
    ino_t inode;
    int node;
};

/* What the file system itself is not asked for, so that the tests run on any. */
struct kept_xattr {
    ino_t inode;
    char *bytes;
    size_t len;
};

static struct {
    struct event events[EVENTS_MAX];
    size_t event_count;
    struct known_inode inodes[NODES_MAX];
    size_t inode_count;
    struct kept_xattr xattrs[XATTRS_MAX];
    size_t xattr_count;
    int node_count;
    bool paused, xattrs_lacking, unnamed_lacking;
    const char *place;  /* of the next fsync, by the hook */
    const char *forget; /* no fsync in this place */
    const char *places[PLACES_MAX + 1];
    size_t place_count;
    long kill_in, fail_in;
    bool killed;
    int fail_errno;
    const char *failed;
} disk;

static int node_of_inode(ino_t inode)
{
    for (size_t i = 0; i < disk.inode_count; i++) {
        if (disk.inodes[i].inode == inode) {
            return disk.inodes[i].node;
        }
    }
    return NONE;
}

static int node_of_fd(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? node_of_inode(st.st_ino) : NONE;
}

static struct event *event_add(enum event_kind kind, int node)
{
    assert(disk.event_count < EVENTS_MAX);
    struct event *event = &disk.events[disk.event_count++];
    *event = (struct event){ .kind = kind, .node = node, .dir = NONE };
    return event;
}

/** A file or folder that did not exist before, whatever its inode number was used for. */
static int node_new(ino_t inode, bool folder)
{
    int node = disk.node_count++;
    assert(node < NODES_MAX);
    struct known_inode *slot = NULL;
    for (size_t i = 0; i < disk.inode_count; i++) {
        slot = disk.inodes[i].inode == inode ? &disk.inodes[i] : slot;
    }
    slot = slot != NULL ? slot : &disk.inodes[disk.inode_count++];
    *slot = (struct known_inode){ inode, node };
    for (size_t i = 0; i < disk.xattr_count; i++) {
        if (disk.xattrs[i].inode == inode) {
            free(disk.xattrs[i].bytes);
            disk.xattrs[i] = disk.xattrs[--disk.xattr_count];
        }
    }
    event_add(EV_NODE, node)->offset = folder;
    return node;
}

/** The folder in which the last part of `path` is, and that part. NONE: not on our disk. */
static int place_of(int dir_fd, const char *path, const char **name_out)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    *name_out = slash == NULL ? path : slash + 1;
    snprintf(parent, sizeof parent, "%.*s", slash == NULL ? 1 : (int)(slash - path),
             slash == NULL ? "." : path);
    struct stat st;
    return fstatat(dir_fd, parent[0] == '\0' ? "/" : parent, &st, 0) == 0 ? node_of_inode(st.st_ino)
                                                                          : NONE;
}

static void name_set(int dir_fd, const char *path, int node)
{
    const char *name = NULL;
    int dir = place_of(dir_fd, path, &name);
    if (dir != NONE && !disk.paused) {
        struct event *event = event_add(EV_NAME, node);
        event->dir = dir;
        event->name = strdup(name);
    }
}

/* --- faults --- */

/** True when this call has to fail; errno is set. */
static bool fails(const char *what)
{
    if (disk.killed) {
        errno = EIO;
        return true;
    }
    if (disk.fail_in < 0 || disk.fail_in-- > 0) {
        return false;
    }
    disk.failed = what;
    errno = disk.fail_errno;
    return true;
}

/** The same for one that changes something. */
static bool change_fails(const char *what)
{
    if (disk.kill_in == 0) {
        disk.killed = true;
    } else if (disk.kill_in > 0) {
        disk.kill_in--;
    }
    return fails(what);
}

/* --- the calls --- */

static int disk_openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t)
                                                                             : 0;
    va_end(args);
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    if (unnamed && disk.unnamed_lacking) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (mode != 0 || (flags & O_TRUNC) != 0 ? change_fails("open") : fails("open")) {
        return -1;
    }
    struct stat st;
    bool there = !unnamed && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = openat(dir_fd, path, flags, mode);
    if (fd < 0 || disk.paused || fstat(fd, &st) != 0) {
        return fd;
    }
    if (unnamed) {
        (void)node_new(st.st_ino, false);
    } else if (!there && (flags & O_CREAT) != 0) {
        name_set(dir_fd, path, node_new(st.st_ino, false));
    } else if ((flags & O_TRUNC) != 0) {
        (void)event_add(EV_CUT, node_of_inode(st.st_ino));
    }
    return fd;
}

static int disk_openat2(int dir_fd, const char *path, const struct open_how *how, size_t size)
{
    return fails("open") ? -1 : io_calls_real.openat2(dir_fd, path, how, size);
}

static ssize_t disk_pread(int fd, void *ptr, size_t len, off_t offset)
{
    return fails("read") ? -1 : pread(fd, ptr, len, offset);
}

static ssize_t disk_pwrite(int fd, const void *ptr, size_t len, off_t offset)
{
    if (change_fails("write")) {
        return -1;
    }
    ssize_t wrote = pwrite(fd, ptr, len, offset);
    int node = node_of_fd(fd);
    if (wrote > 0 && node != NONE && !disk.paused) {
        struct event *event = event_add(EV_WRITE, node);
        event->bytes = malloc((size_t)wrote);
        memcpy(event->bytes, ptr, (size_t)wrote);
        event->len = (size_t)wrote;
        event->offset = offset;
    }
    return wrote;
}

static int disk_ftruncate(int fd, off_t len)
{
    if (change_fails("truncate") || ftruncate(fd, len) != 0) {
        return -1;
    }
    int node = node_of_fd(fd);
    if (node != NONE && !disk.paused) {
        event_add(EV_CUT, node)->offset = len;
    }
    return 0;
}

/** The place's name, remembered as one that syncs; false when it is to be forgotten. */
static bool place_counts(int fd)
{
    struct stat st, secret;
    const char *place = disk.place;
    disk.place = NULL;
    if (place == NULL && fstat(fd, &st) == 0) {
        place = S_ISREG(st.st_mode)                      ? "secret"
                : fstatat(fd, "secret", &secret, 0) == 0 ? "secret_folder"
                                                         : "folders";
    }
    size_t i = 0;
    while (i < disk.place_count && strcmp(disk.places[i], place) != 0) {
        i++;
    }
    if (i == disk.place_count) {
        assert(i < PLACES_MAX);
        disk.places[disk.place_count++] = place;
    }
    return disk.forget == NULL || strcmp(place, disk.forget) != 0;
}

static int disk_fsync(int fd)
{
    if (change_fails("fsync")) {
        return -1;
    }
    int node = node_of_fd(fd);
    if (!disk.paused && node != NONE && place_counts(fd)) {
        (void)event_add(EV_SYNC, node);
    }
    return 0;
}

static int disk_syncfs(int fd)
{
    if (change_fails("syncfs")) {
        return -1;
    }
    if (!disk.paused && place_counts(fd)) {
        (void)event_add(EV_SYNC_ALL, NONE);
    }
    return 0;
}

/** A file keeps its number through a cut. */
static int disk_fstat(int fd, struct stat *out)
{
    if (fails("stat") || fstat(fd, out) != 0) {
        return -1;
    }
    int node = node_of_inode(out->st_ino);
    out->st_ino = node == NONE ? out->st_ino : (ino_t)(INODE_FIRST + node);
    return 0;
}

static int disk_fstatat(int dir_fd, const char *path, struct stat *out, int flags)
{
    return fails("stat") ? -1 : fstatat(dir_fd, path, out, flags);
}

static int disk_linkat(int dir_fd, const char *path, int new_dir_fd, const char *new_path,
                       int flags)
{
    struct stat st;
    if (change_fails("link") || linkat(dir_fd, path, new_dir_fd, new_path, flags) != 0) {
        return -1;
    }
    if (fstatat(new_dir_fd, new_path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        name_set(new_dir_fd, new_path, node_of_inode(st.st_ino));
    }
    return 0;
}

static int disk_renameat(int dir_fd, const char *path, int new_dir_fd, const char *new_path)
{
    struct stat st;
    if (change_fails("rename") || renameat(dir_fd, path, new_dir_fd, new_path) != 0) {
        return -1;
    }
    if (fstatat(new_dir_fd, new_path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        name_set(new_dir_fd, new_path, node_of_inode(st.st_ino));
        name_set(dir_fd, path, NONE);
    }
    return 0;
}

static int disk_unlinkat(int dir_fd, const char *path, int flags)
{
    if (change_fails("unlink") || unlinkat(dir_fd, path, flags) != 0) {
        return -1;
    }
    name_set(dir_fd, path, NONE);
    return 0;
}

static int disk_mkdirat(int dir_fd, const char *path, mode_t mode)
{
    struct stat st;
    if (change_fails("mkdir") || mkdirat(dir_fd, path, mode) != 0) {
        return -1;
    }
    if (!disk.paused && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        name_set(dir_fd, path, node_new(st.st_ino, true));
    }
    return 0;
}

static struct kept_xattr *xattr_of(ino_t inode)
{
    size_t i = 0;
    while (i < disk.xattr_count && disk.xattrs[i].inode != inode) {
        i++;
    }
    return i < disk.xattr_count ? &disk.xattrs[i] : NULL;
}

static void xattr_keep(int fd, const void *ptr, size_t len)
{
    struct stat st = { 0 };
    assert(fstat(fd, &st) == 0);
    struct kept_xattr *kept = xattr_of(st.st_ino);
    if (kept == NULL) {
        assert(disk.xattr_count < XATTRS_MAX);
        kept = &disk.xattrs[disk.xattr_count++];
        *kept = (struct kept_xattr){ .inode = st.st_ino };
    }
    free(kept->bytes);
    kept->bytes = malloc(len);
    memcpy(kept->bytes, ptr, len);
    kept->len = len;
}

static int disk_fsetxattr(int fd, const char *name, const void *ptr, size_t len, int flags)
{
    if (disk.xattrs_lacking) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (len > XATTR_BYTES_MAX) { /* as on ext4 */
        errno = ENOSPC;
        return -1;
    }
    if (change_fails("setxattr")) {
        return -1;
    }
    xattr_keep(fd, ptr, len);
    int node = node_of_fd(fd);
    if (node != NONE && !disk.paused) {
        struct event *event = event_add(EV_XATTR, node);
        event->bytes = malloc(len);
        memcpy(event->bytes, ptr, len);
        event->len = len;
    }
    return 0;
}

static ssize_t xattr_give(ino_t inode, void *ptr, size_t len)
{
    const struct kept_xattr *kept = xattr_of(inode);
    if (kept == NULL || disk.xattrs_lacking || kept->len > len) {
        errno = disk.xattrs_lacking ? EOPNOTSUPP : kept == NULL ? ENODATA : ERANGE;
        return -1;
    }
    memcpy(ptr, kept->bytes, kept->len);
    return (ssize_t)kept->len;
}

static ssize_t disk_fgetxattr(int fd, const char *name, void *ptr, size_t len)
{
    struct stat st;
    return fails("getxattr") || fstat(fd, &st) != 0 ? -1 : xattr_give(st.st_ino, ptr, len);
}

static ssize_t disk_getxattrat(int dir_fd, const char *path, const char *name, void *ptr,
                               size_t len)
{
    struct stat st;
    bool failed = fails("getxattrat") || fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
    return failed ? -1 : xattr_give(st.st_ino, ptr, len);
}

static int disk_futimens(int fd, const struct timespec times[2])
{
    return change_fails("utimens") ? -1 : futimens(fd, times);
}

static DIR *disk_fdopendir(int fd)
{
    return fails("opendir") ? NULL : fdopendir(fd);
}

static struct dirent *disk_readdir(DIR *dir)
{
    return fails("readdir") ? NULL : readdir(dir);
}

static int disk_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *); /* a lock, or a small number in its place */
    va_end(args);
    return fails("fcntl") ? -1 : fcntl(fd, command, arg);
}

const struct io_calls disk_calls = {
    .openat = disk_openat,
    .openat2 = disk_openat2,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .ftruncate = disk_ftruncate,
    .fsync = disk_fsync,
    .syncfs = disk_syncfs,
    .fstat = disk_fstat,
    .fstatat = disk_fstatat,
    .linkat = disk_linkat,
    .renameat = disk_renameat,
    .unlinkat = disk_unlinkat,
    .mkdirat = disk_mkdirat,
    .fsetxattr = disk_fsetxattr,
    .fgetxattr = disk_fgetxattr,
    .getxattrat = disk_getxattrat,
    .futimens = disk_futimens,
    .fdopendir = disk_fdopendir,
    .readdir = disk_readdir,
    .fcntl = disk_fcntl,
};

/* --- life --- */

static void nodes_clear(void);

static enum status place_learn(void *ctx, const char *op, struct str key, struct err *err)
{
    if (str_starts(str_of(op), STR("fsync")) || strcmp(op, "syncfs") == 0) {
        disk.place = op;
    }
    return OK;
}

struct store_fault_hook disk_hook(void)
{
    return (struct store_fault_hook){ .at = place_learn };
}

static void xattrs_clear(void)
{
    for (size_t i = 0; i < disk.xattr_count; i++) {
        free(disk.xattrs[i].bytes);
    }
    disk.xattr_count = 0;
}

void disk_done(void)
{
    for (size_t i = 0; i < disk.event_count; i++) {
        free(disk.events[i].name);
        free(disk.events[i].bytes);
    }
    xattrs_clear();
    nodes_clear();
    disk.event_count = disk.inode_count = 0;
}

void disk_start(const char *base)
{
    struct stat st;
    disk_done();
    disk.node_count = 0;
    disk.paused = disk.killed = disk.xattrs_lacking = disk.unnamed_lacking = false;
    disk.place = disk.forget = disk.failed = NULL;
    disk.kill_in = disk.fail_in = -1;
    disk.place_count = 0;
    memset(disk.places, 0, sizeof disk.places);
    int failed = stat(base, &st);
    assert(failed == 0);
    (void)node_new(st.st_ino, true);
}

void disk_lacks(bool xattrs, bool unnamed)
{
    disk.xattrs_lacking = xattrs;
    disk.unnamed_lacking = unnamed;
}

size_t disk_position(void)
{
    return disk.event_count;
}

void disk_pause(bool paused)
{
    disk.paused = paused;
}

void disk_forget_sync(const char *place)
{
    disk.forget = place;
}

const char *const *disk_sync_places(void)
{
    return disk.places;
}

void disk_kill(long n)
{
    disk.kill_in = n;
    disk.killed = false;
}

bool disk_killed(void)
{
    return disk.killed;
}

void disk_fail(long n, int errno_value)
{
    disk.fail_in = n;
    disk.fail_errno = errno_value;
    disk.failed = NULL;
}

const char *disk_failed(void)
{
    return disk.failed;
}

/* --- what is there after a cut --- */

struct text {
    char *ptr; /* NULL: never set */
    size_t len;
};

struct entry {
    const char *name;
    int values[64]; /* nodes or NONE; the first is on the disk, the rest may be */
    int count;
};

struct node {
    bool folder;
    int made; /* the pass in which it was built, for a second link */
    char path[512];
    struct text bytes, bytes_synced, xattr, xattr_synced;
    struct entry *entries;
    size_t entry_count;
};

static struct node nodes[NODES_MAX];
static int pass;

static void text_set(struct text *text, const char *ptr, size_t len)
{
    char *copy = malloc(len + 1);
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    free(text->ptr);
    *text = (struct text){ copy, len };
}

static void bytes_write(struct text *text, const struct event *event)
{
    size_t end = (size_t)event->offset + event->len;
    size_t len = end > text->len ? end : text->len;
    char *grown = calloc(1, len + 1);
    if (text->len > 0) {
        memcpy(grown, text->ptr, text->len);
    }
    memcpy(grown + event->offset, event->bytes, event->len);
    free(text->ptr);
    *text = (struct text){ grown, len };
}

static void bytes_cut(struct text *text, size_t len)
{
    char *cut = calloc(1, len + 1);
    size_t kept = text->len < len ? text->len : len;
    if (kept > 0) {
        memcpy(cut, text->ptr, kept);
    }
    free(text->ptr);
    *text = (struct text){ cut, len };
}

static void entry_set(struct node *dir, const char *name, int value)
{
    struct entry *entry = NULL;
    for (size_t i = 0; i < dir->entry_count; i++) {
        entry = strcmp(dir->entries[i].name, name) == 0 ? &dir->entries[i] : entry;
    }
    if (entry == NULL) {
        dir->entries = realloc(dir->entries, (dir->entry_count + 1) * sizeof *dir->entries);
        entry = &dir->entries[dir->entry_count++];
        *entry = (struct entry){ .name = name, .values = { NONE }, .count = 1 };
    }
    assert(entry->count < (int)ARRAY_LEN(entry->values));
    entry->values[entry->count++] = value;
}

static void node_sync(struct node *node)
{
    if (node->bytes.ptr != NULL) {
        text_set(&node->bytes_synced, node->bytes.ptr, node->bytes.len);
    }
    if (node->xattr.ptr != NULL) {
        text_set(&node->xattr_synced, node->xattr.ptr, node->xattr.len);
    }
    for (size_t i = 0; i < node->entry_count; i++) {
        struct entry *entry = &node->entries[i];
        entry->values[0] = entry->values[entry->count - 1];
        entry->count = 1;
    }
}

static void replay_one(const struct event *event)
{
    struct node *node = event->node == NONE ? NULL : &nodes[event->node];
    switch (event->kind) {
    case EV_NODE:
        *node = (struct node){ .folder = event->offset != 0 };
        break;
    case EV_WRITE:
        bytes_write(&node->bytes, event);
        break;
    case EV_CUT:
        bytes_cut(&node->bytes, (size_t)event->offset);
        break;
    case EV_XATTR:
        text_set(&node->xattr, event->bytes, event->len);
        break;
    case EV_NAME:
        entry_set(&nodes[event->dir], event->name, event->node);
        break;
    case EV_SYNC:
        node_sync(node);
        break;
    case EV_SYNC_ALL:
        for (int i = 0; i < disk.node_count; i++) {
            node_sync(&nodes[i]);
        }
        break;
    default:
        abort();
    }
}

static void nodes_clear(void)
{
    for (int i = 0; i < disk.node_count; i++) {
        struct node *node = &nodes[i];
        free(node->bytes.ptr);
        free(node->bytes_synced.ptr);
        free(node->xattr.ptr);
        free(node->xattr_synced.ptr);
        free(node->entries);
        *node = (struct node){ 0 };
    }
}

static void replay(size_t position)
{
    nodes_clear();
    for (size_t i = 0; i < position; i++) {
        replay_one(&disk.events[i]);
    }
}

/* --- which disk --- */

enum file_choice { FILE_SYNCED, FILE_LATEST, FILE_ZEROS, FILE_NO_XATTR, FILE_NO_BYTES };

struct choice {
    bool names_latest;
    int other_name; /* the one that is not like the rest; NONE */
    enum file_choice files;
    bool random;
    struct rng rng;
    int name_number; /* of the changed name that is looked at */
    uint64_t hash;
};

static int changed_names(void)
{
    int count = 0;
    for (int i = 0; i < disk.node_count; i++) {
        for (size_t k = 0; k < nodes[i].entry_count; k++) {
            count += nodes[i].entries[k].count > 1;
        }
    }
    return count;
}

static bool choice_make(const struct disk_cut *cut, struct choice *out)
{
    static const struct {
        bool latest;
        enum file_choice files;
    } plain[] = { { false, FILE_SYNCED },  { true, FILE_SYNCED },   { true, FILE_ZEROS },
                  { true, FILE_NO_XATTR }, { true, FILE_NO_BYTES }, { true, FILE_LATEST },
                  { false, FILE_LATEST } };
    unsigned variant = cut->variant;
    unsigned names = (unsigned)changed_names();
    *out = (struct choice){ .other_name = NONE, .files = FILE_SYNCED };
    if (variant < ARRAY_LEN(plain)) {
        out->names_latest = plain[variant].latest;
        out->files = plain[variant].files;
        return true;
    }
    variant -= ARRAY_LEN(plain);
    if (variant < 2 * names) {
        out->names_latest = variant >= names;
        out->other_name = (int)(variant % names);
        return true;
    }
    variant -= 2 * names;
    out->random = true;
    rng_seed(&out->rng, cut->position * 100 + variant);
    return names > 0 && variant < DISK_RANDOM_CUTS;
}

/* Names are numbered in the order of all nodes, before any is built. */
static int value_choose(struct choice *choice, const struct entry *entry, int number)
{
    if (choice->random) {
        return entry->values[rng_below(&choice->rng, (uint64_t)entry->count)];
    }
    bool latest = choice->names_latest != (number == choice->other_name);
    return entry->values[latest ? entry->count - 1 : 0];
}

static struct text file_bytes(enum file_choice how, const struct node *node)
{
    struct text bytes = { NULL, 0 };
    if (how == FILE_LATEST || how == FILE_NO_XATTR) {
        text_set(&bytes, node->bytes.ptr, node->bytes.len);
    } else if (how == FILE_ZEROS) {
        bytes = (struct text){ calloc(1, node->bytes.len + 1), node->bytes.len };
        size_t known = node->bytes_synced.len < bytes.len ? node->bytes_synced.len : bytes.len;
        if (known > 0) {
            memcpy(bytes.ptr, node->bytes_synced.ptr, known);
        }
    } else {
        text_set(&bytes, node->bytes_synced.ptr, node->bytes_synced.len);
    }
    return bytes;
}

static void hash_add(struct choice *choice, const char *ptr, size_t len)
{
    choice->hash = str_hash(str_from(ptr != NULL ? ptr : "", len), choice->hash + len + 1);
}

static void file_build(struct choice *choice, struct node *node, int to_fd, const char *name)
{
    enum file_choice how = choice->random ? (enum file_choice)rng_below(&choice->rng, 5)
                                          : choice->files;
    struct text bytes = file_bytes(how, node);
    const struct text *xattr = how == FILE_SYNCED || how == FILE_NO_XATTR ? &node->xattr_synced
                                                                          : &node->xattr;
    hash_add(choice, bytes.ptr, bytes.len);
    hash_add(choice, xattr->ptr, xattr->ptr == NULL ? 0 : xattr->len);
    int fd = to_fd < 0 ? -1 : openat(to_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0) {
        ssize_t wrote = pwrite(fd, bytes.ptr, bytes.len, 0);
        assert(wrote == (ssize_t)bytes.len);
        struct stat st;
        int failed = fstat(fd, &st);
        assert(failed == 0 && disk.inode_count < NODES_MAX);
        disk.inodes[disk.inode_count++] = (struct known_inode){ st.st_ino, (int)(node - nodes) };
        if (xattr->ptr != NULL) {
            xattr_keep(fd, xattr->ptr, xattr->len);
        }
        close(fd);
    }
    free(bytes.ptr);
}

static void folder_build(struct choice *choice, int dir, int to_fd, const char *path);

static void entry_build(struct choice *choice, const char *name, int value, int to_fd,
                        const char *path)
{
    struct node *node = &nodes[value];
    char own[512];
    snprintf(own, sizeof own, "%s/%s", path, name);
    hash_add(choice, own, strlen(own));
    if (node->folder) {
        int fd = -1;
        if (to_fd >= 0) {
            int failed = mkdirat(to_fd, name, 0755);
            assert(failed == 0);
            fd = openat(to_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            assert(fd >= 0);
        }
        folder_build(choice, value, fd, own);
        if (fd >= 0) {
            close(fd);
        }
    } else if (node->made == pass) { /* a second name of one file */
        hash_add(choice, node->path, strlen(node->path));
        int failed = to_fd < 0 ? 0 : linkat(AT_FDCWD, node->path, to_fd, name, 0);
        assert(failed == 0);
    } else {
        node->made = pass;
        snprintf(node->path, sizeof node->path, "%s", own);
        file_build(choice, node, to_fd, name);
    }
}

static void folder_build(struct choice *choice, int dir, int to_fd, const char *path)
{
    int before = 0;
    for (int i = 0; i < dir; i++) {
        for (size_t k = 0; k < nodes[i].entry_count; k++) {
            before += nodes[i].entries[k].count > 1;
        }
    }
    for (size_t k = 0; k < nodes[dir].entry_count; k++) {
        const struct entry *entry = &nodes[dir].entries[k];
        int value = entry->values[0];
        if (entry->count > 1) {
            value = value_choose(choice, entry, before++);
        }
        if (value != NONE) {
            entry_build(choice, entry->name, value, to_fd, path);
        }
    }
}

bool disk_cut_make(const struct disk_cut *cut, const char *to, uint64_t *hash_out)
{
    struct choice choice;
    if (cut->variant == 0 || to != NULL) {
        replay(cut->position);
    }
    if (!choice_make(cut, &choice)) {
        return false;
    }
    pass++;
    if (to != NULL) {
        xattrs_clear(); /* of the disk before, or of the life: it has ended */
        disk.inode_count = 0;
    }
    int fd = to == NULL ? -1 : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(to == NULL || fd >= 0);
    folder_build(&choice, 0, fd, to == NULL ? "" : to);
    if (fd >= 0) {
        close(fd);
    }
    *hash_out = choice.hash;
    return true;
}
