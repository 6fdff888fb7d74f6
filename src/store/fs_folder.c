/*
 * Names of folders, remembered.
 *
 *      text   | 6 | a.txt\0 ...     length (2 bytes) and bytes of each name, in the order of the
 *             disk
 *      at     | 0 | 8 | ...         where each starts, in the order of the bytes
 *
 * A folder is remembered by device and inode, and is as it was while its size and both times are:
 * each name that comes, goes or changes sets them. Times that are still young might be those of the
 * next change too, so a folder in which something changed lately is not remembered. All names in
 * use, remembered or not, have one limit.
 */
#include "store/fs_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    /* chosen, not measured: half a million names of 20 bytes in one folder */
    FOLDER_BYTES_MAX = 16 * 1024 * 1024,
    LIVE_BYTES_MAX = 64 * 1024 * 1024,
    KEPT_BYTES_MAX = 32 * 1024 * 1024,
    SET_WAYS = 4,
    LEN_BYTES = 2,
};

struct fs_folder {
    _Atomic size_t refs; /* the last one frees; acquire and release */
    struct fs_mark mark;
    char *text;
    uint32_t *at;
    size_t text_len, text_cap, count, at_cap;
};

/* --- one folder's names --- */

static size_t bytes_of(const struct fs_folder *folder)
{
    return sizeof *folder + folder->text_cap + folder->at_cap * sizeof *folder->at;
}

static struct str text_at(const char *text, uint32_t at)
{
    uint16_t len;
    memcpy(&len, text + at, LEN_BYTES);
    return str_from(text + at + LEN_BYTES, len);
}

size_t fs_folder_count(const struct fs_folder *folder)
{
    return folder->count;
}

struct str fs_folder_name(const struct fs_folder *folder, size_t index)
{
    return text_at(folder->text, folder->at[index]);
}

size_t fs_folder_seek(const struct fs_folder *folder, size_t index, struct str bound)
{
    size_t end = folder->count;
    while (index < end) {
        size_t middle = index + (end - index) / 2;
        if (str_cmp(fs_folder_name(folder, middle), bound) < 0) {
            index = middle + 1;
        } else {
            end = middle;
        }
    }
    return index;
}

void fs_folder_unref(struct fs_store *fs, struct fs_folder *folder)
{
    if (folder == NULL || atomic_fetch_sub_explicit(&folder->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    atomic_fetch_sub_explicit(&fs->folders.live_bytes, bytes_of(folder), memory_order_relaxed);
    mem_free(folder->text);
    mem_free(folder->at);
    mem_free(folder);
}

/** False: there is no memory for that, by one of the limits. */
static bool room_take(struct fs_store *fs, const struct fs_folder *folder, size_t more)
{
    size_t live = atomic_fetch_add_explicit(&fs->folders.live_bytes, more, memory_order_relaxed);
    if (live + more <= LIVE_BYTES_MAX && bytes_of(folder) + more <= FOLDER_BYTES_MAX) {
        return true;
    }
    atomic_fetch_sub_explicit(&fs->folders.live_bytes, more, memory_order_relaxed);
    return false;
}

/** Twice the room of one of the two arrays. */
static enum status grow(struct fs_store *fs, struct fs_folder *folder, void **items, size_t *cap,
                        size_t size, bool *fits_out, struct err *err)
{
    size_t cap_new = *cap == 0 ? 1024 / size : *cap * 2;
    *fits_out = room_take(fs, folder, (cap_new - *cap) * size);
    if (!*fits_out) {
        return OK;
    }
    void *more = mem_realloc(*items, cap_new * size);
    if (more == NULL) {
        atomic_fetch_sub_explicit(&fs->folders.live_bytes, (cap_new - *cap) * size,
                                  memory_order_relaxed);
        return err_no_memory(err);
    }
    *items = more;
    *cap = cap_new;
    return OK;
}

static enum status add(struct fs_store *fs, struct fs_folder *folder, struct str name,
                       bool is_folder, bool *fits_out, struct err *err)
{
    uint16_t len = (uint16_t)(name.len + (is_folder ? 1 : 0));
    void *text = folder->text, *at = folder->at;
    *fits_out = true;
    while (*fits_out && folder->text_cap - folder->text_len < LEN_BYTES + (size_t)len) {
        TRY(grow(fs, folder, &text, &folder->text_cap, 1, fits_out, err));
        folder->text = text;
    }
    if (*fits_out && folder->count == folder->at_cap) {
        TRY(grow(fs, folder, &at, &folder->at_cap, sizeof *folder->at, fits_out, err));
        folder->at = at;
    }
    if (!*fits_out) {
        return OK;
    }
    folder->at[folder->count++] = (uint32_t)folder->text_len;
    memcpy(folder->text + folder->text_len, &len, LEN_BYTES);
    memcpy(folder->text + folder->text_len + LEN_BYTES, name.ptr, name.len);
    if (is_folder) {
        folder->text[folder->text_len + LEN_BYTES + name.len] = '/';
    }
    folder->text_len += LEN_BYTES + (size_t)len;
    return OK;
}

/* --- reading --- */

/** Regular file, folder, or neither. */
static bool entry_kind(const struct fs_store *fs, int dir_fd, const struct dirent *entry,
                       bool *folder_out)
{
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) {
        struct stat st;
        if (fs->calls->fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return false;
        }
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
    }
    *folder_out = type == DT_DIR;
    return type == DT_DIR || type == DT_REG;
}

enum status fs_entry_next(const struct fs_store *fs, DIR *dir, struct str path,
                          const char **name_out, bool *folder_out, bool *whole_out, struct err *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = fs->calls->readdir(dir);
        if (entry == NULL) {
            *name_out = NULL;
            return errno == 0 ? OK : err_errno(err, errno, "folder \"%.*s\"", STR_ARG(path));
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strlen(entry->d_name) > NAME_MAX) {
            continue;
        }
        if (entry_kind(fs, dirfd(dir), entry, folder_out)) {
            *name_out = entry->d_name;
            return OK;
        }
        if (whole_out != NULL && entry->d_type == DT_UNKNOWN) {
            *whole_out = false; /* it could not be asked for, perhaps */
        }
    }
}

static enum status read_names(struct fs_store *fs, DIR *dir, struct str path,
                              struct fs_folder *folder, bool *fits_out, bool *whole_out,
                              struct err *err)
{
    *fits_out = true;
    while (*fits_out) {
        const char *name = NULL;
        bool is_folder = false;
        TRY(fs_entry_next(fs, dir, path, &name, &is_folder, whole_out, err));
        if (name == NULL) {
            return OK;
        }
        TRY(add(fs, folder, str_of(name), is_folder, fits_out, err));
    }
    return OK;
}

static int compare(const void *a, const void *b, void *text)
{
    return str_cmp(text_at(text, *(const uint32_t *)a), text_at(text, *(const uint32_t *)b));
}

static enum status folder_read(struct fs_store *fs, int dir_fd, struct str path,
                               struct fs_folder *folder, bool *fits_out, bool *whole_out,
                               struct err *err)
{
    AUTO(fd_done) int fd = fs->calls->openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == EACCES)) {
        *fits_out = true; /* it was deleted, or closed to us, while we held it: empty */
        *whole_out = false;
        return OK;
    }
    DIR *dir = fd < 0 ? NULL : fs->calls->fdopendir(fd);
    if (dir == NULL) {
        return err_errno(err, errno, "folder \"%.*s\"", STR_ARG(path));
    }
    fd = -1;
    enum status status = read_names(fs, dir, path, folder, fits_out, whole_out, err);
    closedir(dir);
    if (status == OK && folder->count > 0) {
        qsort_r(folder->at, folder->count, sizeof *folder->at, compare, folder->text);
    }
    return status;
}

/* --- what is remembered --- */

void fs_folders_init(struct fs_store *fs)
{
    pthread_mutex_init(&fs->folders.lock, NULL);
}

void fs_folders_done(struct fs_store *fs)
{
    for (size_t i = 0; i < FS_FOLDERS_KEPT; i++) {
        fs_folder_unref(fs, fs->folders.kept[i]);
    }
    pthread_mutex_destroy(&fs->folders.lock);
}

static struct fs_folder **set_of(struct fs_store *fs, const struct fs_mark *mark)
{
    uint64_t hash = (mark->ino ^ mark->dev << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return &fs->folders.kept[(hash >> 32) % (FS_FOLDERS_KEPT / SET_WAYS) * SET_WAYS];
}

static struct fs_folder *recall(struct fs_store *fs, const struct fs_mark *mark)
{
    struct fs_folder *found = NULL, **set = set_of(fs, mark);
    pthread_mutex_lock(&fs->folders.lock);
    for (size_t i = 0; i < SET_WAYS && found == NULL; i++) {
        if (set[i] != NULL && fs_mark_same(&set[i]->mark, mark)) {
            found = set[i];
            atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&fs->folders.lock);
    return found;
}

/** Under the lock; the caller unrefs what it gives. */
static struct fs_folder *forget(struct fs_store *fs, struct fs_folder **slot)
{
    struct fs_folder *old = *slot;
    *slot = NULL;
    fs->folders.kept_bytes -= old != NULL ? bytes_of(old) : 0;
    return old;
}

/** In the place of what was known of the same folder, else of a free one, else of any. */
static void remember(struct fs_store *fs, struct fs_folder *folder)
{
    struct fs_folder *old[FS_FOLDERS_KEPT];
    size_t count = 0;
    struct fs_folder **set = set_of(fs, &folder->mark), **slot = NULL;
    pthread_mutex_lock(&fs->folders.lock);
    for (size_t i = 0; i < SET_WAYS; i++) {
        bool same = set[i] != NULL && set[i]->mark.ino == folder->mark.ino &&
                    set[i]->mark.dev == folder->mark.dev;
        slot = same || (slot == NULL && set[i] == NULL) ? &set[i] : slot;
    }
    slot = slot != NULL ? slot : &set[fs->folders.hand++ % SET_WAYS];
    old[count++] = forget(fs, slot);
    for (size_t i = 0; fs->folders.kept_bytes + bytes_of(folder) > KEPT_BYTES_MAX; i++) {
        assert(i < FS_FOLDERS_KEPT);
        struct fs_folder **victim = &fs->folders.kept[fs->folders.hand++ % FS_FOLDERS_KEPT];
        if (*victim != NULL) {
            old[count++] = forget(fs, victim);
        }
    }
    *slot = folder;
    fs->folders.kept_bytes += bytes_of(folder);
    atomic_fetch_add_explicit(&folder->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&fs->folders.lock);
    for (size_t i = 0; i < count; i++) {
        fs_folder_unref(fs, old[i]);
    }
}

enum status fs_folder_get(struct fs_store *fs, int dir_fd, struct str path, struct fs_folder **out,
                          struct err *err)
{
    struct stat before, after;
    *out = NULL;
    if (fs->calls->fstat(dir_fd, &before) != 0) {
        return err_errno(err, errno, "folder \"%.*s\"", STR_ARG(path));
    }
    struct fs_mark mark = fs_mark_of(&before);
    bool quiet = fs->remembers && before.st_dev == fs->root_dev && fs_mark_quiet(&before);
    if (quiet && (*out = recall(fs, &mark)) != NULL) {
        return OK;
    }
    if (before.st_size > 2 * (off_t)FOLDER_BYTES_MAX) {
        return OK; /* a folder's size is not far from that of its names, where it has one */
    }
    struct fs_folder *folder = mem_zalloc(sizeof *folder);
    if (folder == NULL) {
        return err_no_memory(err);
    }
    atomic_init(&folder->refs, 1);
    folder->mark = mark;
    atomic_fetch_add_explicit(&fs->folders.live_bytes, bytes_of(folder), memory_order_relaxed);
    bool fits = false;
    bool whole = true;
    enum status status = folder_read(fs, dir_fd, path, folder, &fits, &whole, err);
    if (status != OK || !fits) {
        fs_folder_unref(fs, folder);
        return status;
    }
    if (quiet && whole && fs->calls->fstat(dir_fd, &after) == 0) {
        struct fs_mark now = fs_mark_of(&after);
        if (fs_mark_same(&now, &mark)) {
            remember(fs, folder);
        }
    }
    *out = folder;
    return OK;
}
