/*
 * Listing in byte order of whole keys. A folder's names, each folder with a slash behind it, sort
 * exactly as the keys below them do ("a.b" < "a/b" < "a0"), so a walk that takes them in that order
 * needs no other sorting. Odd keys are a second sorted stream, and the two are merged.
 *
 * The sorted names of a folder are remembered for the next page (fs_folder.h). Of a folder with
 * more names than there is memory for, only the smallest that can still be on the page are kept; if
 * they turn out not to be enough, the folder is read again from where they end. One
 * folder at most stays open between two steps: that of the objects that are being looked at.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/fs_folder.h"
#include "store/list.h"

enum { NAMES_MIN = 64 };

/* --- the smallest of many names --- */

struct name {
    size_t len;
    char text[];
};

/** Collects into twice the room, then sorts and drops the bigger half: no heap, and n log n in
 * all. */
struct names {
    struct name **items;
    size_t count, cap;
    size_t keep;  /* how many of the smallest are wanted */
    bool more;    /* something was dropped */
    bool cut;     /* items[keep - 1] is a limit: nothing above it is wanted */
    size_t index; /* of the next one to use */
};

static struct str name_str(const struct name *name)
{
    return str_from(name->text, name->len);
}

static int name_compare(const void *a, const void *b)
{
    return str_cmp(name_str(*(struct name *const *)a), name_str(*(struct name *const *)b));
}

static void names_shrink(struct names *names)
{
    if (names->count == 0) {
        return;
    }
    qsort(names->items, names->count, sizeof *names->items, name_compare);
    while (names->count > names->keep) {
        mem_free(names->items[--names->count]);
        names->more = true;
        names->cut = true;
    }
}

static void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        mem_free(names->items[i]);
    }
    names->count = 0;
    names->index = 0;
    names->more = names->cut = false;
}

static void names_done(struct names *names)
{
    names_clear(names);
    mem_free(names->items);
    *names = (struct names){ 0 };
}

static enum status names_room(struct names *names, struct err *err)
{
    if (names->count < names->cap) {
        return OK;
    }
    if (names->cap == 2 * names->keep) {
        names_shrink(names);
        return OK;
    }
    size_t cap = names->cap == 0 ? NAMES_MIN : names->cap * 2;
    if (cap > 2 * names->keep) {
        cap = 2 * names->keep;
    }
    struct name **items = mem_realloc(names->items, cap * sizeof(struct name *));
    if (items == NULL) {
        return err_no_memory(err);
    }
    names->items = items;
    names->cap = cap;
    return OK;
}

/** Adds `text`, and a slash when it is a folder. */
static enum status names_add(struct names *names, struct str text, bool folder, struct err *err)
{
    if (names->cut && str_cmp(text, name_str(names->items[names->keep - 1])) > 0) {
        return OK;
    }
    TRY(names_room(names, err));
    struct name *name = mem_alloc(sizeof *name + text.len + 1);
    if (name == NULL) {
        return err_no_memory(err);
    }
    memcpy(name->text, text.ptr, text.len);
    name->len = text.len;
    if (folder) {
        name->text[name->len++] = '/';
    }
    names->items[names->count++] = name;
    return OK;
}

/* --- plain keys: a walk through the folders --- */

struct frame {
    struct fs_folder *folder; /* all names; NULL: not read yet, or more than that */
    size_t index;             /* of the next one in `folder` */
    struct names names;       /* without `folder` */
    size_t path_len;          /* of walk->path, with its slash */
    uint64_t id;              /* of the walk's folders */
    bool opened, gone, scanned;
};

struct walk {
    struct fs_store *fs;
    struct str prefix;
    size_t keep;
    struct frame *frames;
    size_t depth, cap;
    uint64_t frames_made;
    int folder_fd; /* of the folder whose objects were looked at last, or -1 */
    uint64_t folder_id;
    /* of the top frame, then of the name that is looked at */
    char path[STORE_KEY_MAX + NAME_MAX + 2];
    size_t path_len;
};

static struct str walk_path(const struct walk *walk, size_t len)
{
    return str_from(walk->path, len);
}

static enum status frame_push(struct walk *walk, size_t path_len, struct err *err)
{
    if (walk->depth == walk->cap) {
        size_t cap = walk->cap == 0 ? 8 : walk->cap * 2;
        struct frame *frames = mem_realloc(walk->frames, cap * sizeof *frames);
        if (frames == NULL) {
            return err_no_memory(err);
        }
        walk->frames = frames;
        walk->cap = cap;
    }
    walk->frames[walk->depth++] = (struct frame){ .names.keep = walk->keep,
                                                  .path_len = path_len,
                                                  .id = ++walk->frames_made };
    return OK;
}

static void frame_pop(struct walk *walk)
{
    struct frame *frame = &walk->frames[--walk->depth];
    names_done(&frame->names);
    fs_folder_unref(walk->fs, frame->folder);
}

/** True when `text` is above or at `bound`, or is a folder in which such keys may lie. */
static bool reaches(struct str text, struct str bound)
{
    bool folder = text.len > 0 && text.ptr[text.len - 1] == '/';
    return str_cmp(text, bound) >= 0 || (folder && str_starts(bound, text));
}

/** Both may hold keys of the prefix: one is the start of the other. */
static bool matches(struct str text, struct str prefix)
{
    bool folder = text.len > 0 && text.ptr[text.len - 1] == '/';
    return str_starts(text, prefix) || (folder && str_starts(prefix, text));
}

/** False: the object at this path below the root, if it is one, has another key. */
static bool path_is_key(const struct walk *walk, struct str path)
{
    return !fs_path_reserved(path) && store_key_check(path, NULL) == OK &&
           !fs_key_is_odd(walk->fs, path);
}

/** Keep one entry of the top frame's folder if keys that are wanted can come of it. */
static enum status entry_add(struct walk *walk, struct frame *frame, struct str name, bool folder,
                             struct str bound, struct str last, struct err *err)
{
    size_t len = frame->path_len + name.len;
    if (len + (folder ? 1 : 0) > STORE_KEY_MAX) {
        return OK;
    }
    memcpy(walk->path + frame->path_len, name.ptr, name.len);
    walk->path[len] = '/';
    struct str full = walk_path(walk, len + (folder ? 1 : 0));
    struct str text = str_from(walk->path + frame->path_len, name.len + (folder ? 1 : 0));
    if (!reaches(full, bound) || !matches(full, walk->prefix) ||
        (last.ptr != NULL && str_cmp(text, last) <= 0) ||
        !path_is_key(walk, walk_path(walk, len))) {
        return OK;
    }
    return names_add(&frame->names, name, folder, err);
}

static enum status folder_read(struct walk *walk, struct frame *frame, DIR *folder,
                               struct str bound, struct str last, struct err *err)
{
    for (;;) {
        const char *name = NULL;
        bool is_folder = false;
        TRY(fs_entry_next(walk->fs, folder, walk_path(walk, frame->path_len), &name, &is_folder,
                          NULL, err));
        if (name == NULL) {
            return OK;
        }
        TRY(entry_add(walk, frame, str_of(name), is_folder, bound, last, err));
    }
}

/** Read the top frame's folder, from `last` (exclusive) on. A folder that has gone is empty, and so
 * is one that we may not read: `lost+found` of a lake that is a disk of its own. */
static enum status frame_scan(struct walk *walk, struct frame *frame, struct str bound,
                              struct str last, struct err *err)
{
    int fd = -1;
    size_t len = frame->path_len > 0 ? frame->path_len - 1 : 0;
    enum status status = fs_dir_open(walk->fs, walk_path(walk, len), &fd, err);
    if (status != OK) {
        return status == E_NOT_FOUND || status == E_DENIED ? OK : status;
    }
    DIR *folder = walk->fs->calls->fdopendir(fd);
    if (folder == NULL) {
        status = err_errno(err, errno, "folder \"%.*s\"", STR_ARG(walk_path(walk, len)));
        close(fd);
        return status;
    }
    status = folder_read(walk, frame, folder, bound, last, err);
    closedir(folder);
    if (status == OK) {
        names_shrink(&frame->names);
    }
    return status;
}

/** Get names into the top frame; *empty_out when it has no more. */
static enum status frame_fill(struct walk *walk, struct frame *frame, struct str bound,
                              bool *empty_out, struct err *err)
{
    *empty_out = false;
    if (frame->names.index < frame->names.count) {
        return OK;
    }
    if (frame->scanned && !frame->names.more) {
        *empty_out = true;
        return OK;
    }
    char text[NAME_MAX + 2];
    struct str last = { NULL, 0 };
    if (frame->names.count > 0) {
        struct str name = name_str(frame->names.items[frame->names.count - 1]);
        memcpy(text, name.ptr, name.len);
        last = str_from(text, name.len);
    }
    names_clear(&frame->names);
    frame->scanned = true;
    TRY(frame_scan(walk, frame, bound, last, err));
    *empty_out = frame->names.count == 0;
    return OK;
}

/** The folder of the top frame. It stays open until another one is wanted. */
static enum status walk_folder(struct walk *walk, const struct frame *frame, struct err *err)
{
    if (walk->folder_fd >= 0 && walk->folder_id == frame->id) {
        return OK;
    }
    fd_done(&walk->folder_fd);
    walk->folder_id = frame->id;
    struct str path = walk_path(walk, frame->path_len > 0 ? frame->path_len - 1 : 0);
    return fs_dir_open(walk->fs, path, &walk->folder_fd, err);
}

/** The folder's names as they are remembered, or can be. */
static enum status frame_open(struct walk *walk, struct frame *frame, struct err *err)
{
    if (frame->opened) {
        return OK;
    }
    frame->opened = true;
    enum status status = walk_folder(walk, frame, err);
    frame->gone = status == E_NOT_FOUND || status == E_DENIED;
    if (frame->gone) {
        return OK;
    }
    TRY(status);
    return fs_folder_get(walk->fs, walk->folder_fd, walk_path(walk, frame->path_len),
                         &frame->folder, err);
}

/** Go to the first name in the frame's folder that may lead to keys at or above `bound`. */
static bool folder_seek(struct walk *walk, struct frame *frame, struct str bound)
{
    struct str path = walk_path(walk, frame->path_len);
    if (str_starts(bound, path)) {
        size_t at = fs_folder_seek(frame->folder, frame->index, str_skip(bound, path.len));
        /* the bound may lie in the folder before */
        at -= at > frame->index &&
              str_starts(str_skip(bound, path.len), fs_folder_name(frame->folder, at - 1));
        frame->index = at;
    }
    for (; frame->index < fs_folder_count(frame->folder); frame->index++) {
        struct str name = fs_folder_name(frame->folder, frame->index);
        bool folder = name.ptr[name.len - 1] == '/';
        struct str full = walk_path(walk, frame->path_len + name.len);
        if (full.len > STORE_KEY_MAX) {
            continue;
        }
        memcpy(walk->path + frame->path_len, name.ptr, name.len);
        if (!matches(full, walk->prefix) && str_cmp(full, walk->prefix) > 0) {
            return false; /* and so are all behind it */
        }
        if (reaches(full, bound) && matches(full, walk->prefix) &&
            path_is_key(walk, str_take(full, full.len - (folder ? 1 : 0)))) {
            return true;
        }
    }
    return false;
}

/** The next name of the top frame; .ptr NULL: it has no more. */
static enum status frame_seek(struct walk *walk, struct frame *frame, struct str bound,
                              struct str *name_out, struct err *err)
{
    *name_out = (struct str){ NULL, 0 };
    if (frame->path_len > 0 && !reaches(walk_path(walk, frame->path_len), bound)) {
        return OK;
    }
    TRY(frame_open(walk, frame, err));
    if (frame->gone) {
        return OK;
    }
    if (frame->folder != NULL) {
        if (folder_seek(walk, frame, bound)) {
            *name_out = fs_folder_name(frame->folder, frame->index);
        }
        return OK;
    }
    bool empty = false;
    TRY(frame_fill(walk, frame, bound, &empty, err));
    if (!empty) {
        *name_out = name_str(frame->names.items[frame->names.index]);
    }
    return OK;
}

static void frame_next(struct frame *frame)
{
    *(frame->folder != NULL ? &frame->index : &frame->names.index) += 1;
}

static enum status walk_seek(struct walk *walk, struct str bound, bool *found_out, struct err *err)
{
    *found_out = false;
    while (walk->depth > 0) {
        struct frame *frame = &walk->frames[walk->depth - 1];
        struct str name;
        TRY(frame_seek(walk, frame, bound, &name, err));
        if (name.ptr == NULL) {
            frame_pop(walk);
            continue;
        }
        memcpy(walk->path + frame->path_len, name.ptr, name.len);
        walk->path_len = frame->path_len + name.len;
        struct str full = walk_path(walk, walk->path_len);
        if (!reaches(full, bound)) {
            frame_next(frame);
        } else if (name.ptr[name.len - 1] == '/') {
            frame_next(frame);
            TRY(frame_push(walk, walk->path_len, err));
        } else {
            *found_out = true; /* stays, until a bound passes it */
            return OK;
        }
    }
    return OK;
}

/** Start at the deepest folder that the prefix names. */
static enum status walk_start(struct walk *walk, struct err *err)
{
    size_t slash = str_rfind_char(walk->prefix, '/');
    if (slash == SIZE_MAX) {
        return frame_push(walk, 0, err);
    }
    struct str folder = str_take(walk->prefix, slash);
    if (store_key_check(folder, NULL) != OK || fs_key_is_odd(walk->fs, folder) ||
        fs_path_reserved(folder)) {
        return OK; /* no key starts like that */
    }
    memcpy(walk->path, walk->prefix.ptr, slash + 1);
    return frame_push(walk, slash + 1, err);
}

static void walk_done(struct walk *walk)
{
    while (walk->depth > 0) {
        frame_pop(walk);
    }
    mem_free(walk->frames);
    fd_done(&walk->folder_fd);
}

/**
 * What a listing shows of the object that the walk stands at, without opening it: of a file as it
 * was written, whose record is in its xattr. False: somebody must look closer.
 */
static bool walk_info(struct walk *walk, struct store_info *out)
{
    const struct frame *frame = &walk->frames[walk->depth - 1];
    const char *name = walk->path + frame->path_len;
    struct fs_store *fs = walk->fs;
    struct fs_record record;
    struct stat st;
    walk->path[walk->path_len] = '\0';
    if (walk_folder(walk, frame, NULL) != OK ||
        fs->calls->fstatat(walk->folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode)) {
        return false;
    }
    bool remembers = fs->remembers && st.st_dev == fs->root_dev;
    if (!remembers || !fs_seen_get(&st, &record)) {
        if (!fs_record_look(fs, walk->folder_fd, name, &record) ||
            record.size != (uint64_t)st.st_size) {
            return false;
        }
        if (remembers) {
            fs_seen_put(&st, &record);
        }
    }
    fs_info_fill(FS_XATTR, &record, &st, out);
    return true;
}

/* --- odd keys --- */

struct odd {
    struct fs_store *fs;
    struct str prefix;
    struct names names;
    bool scanned;
};

struct odd_scan {
    struct odd *odd;
    struct str bound;
};

static enum status odd_add(const struct odd_scan *scan, struct str key, struct err *err)
{
    struct odd *odd = scan->odd;
    if (str_cmp(key, scan->bound) < 0 || !str_starts(key, odd->prefix) ||
        store_key_check(key, NULL) != OK) {
        return OK;
    }
    return names_add(&odd->names, key, false, err);
}

static enum status odd_entry(void *ctx, const char *name, struct err *err)
{
    const struct odd_scan *scan = ctx;
    struct fs_store *fs = scan->odd->fs;
    struct fs_record record;
    enum fs_known known = FS_FOREIGN;
    struct str key = fs_odd_key(fs, name);
    if (key.ptr != NULL) {
        return odd_add(scan, key, err);
    }
    AUTO(fd_done)
    int fd = fs->calls->openat(fs->odd_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT || errno == ELOOP ? OK : fs_own_failed(fs, errno, "_lake/odd", err);
    }
    TRY(fs_record_load_odd(fs, fd, name, &record, &known, err));
    if (known != FS_XATTR && known != FS_SIDE) {
        return OK;
    }
    TRY(fs_odd_learn(fs, name, fs_record_key(&record), err));
    return odd_add(scan, fs_record_key(&record), err);
}

static enum status odd_seek(struct odd *odd, struct str bound, bool *found_out, struct err *err)
{
    struct names *names = &odd->names;
    *found_out = false;
    if (odd->fs->odd_fd < 0) {
        return OK;
    }
    for (;;) {
        while (names->index < names->count &&
               str_cmp(name_str(names->items[names->index]), bound) < 0) {
            names->index++;
        }
        if (names->index < names->count) {
            *found_out = true;
            return OK;
        }
        if (odd->scanned && !names->more) {
            return OK;
        }
        names_clear(names);
        odd->scanned = true;
        struct odd_scan scan = { odd, bound };
        TRY(fs_own_each(odd->fs, odd->fs->odd_fd, "_lake/odd", odd_entry, &scan, err));
        names_shrink(names);
    }
}

/* --- both --- */

struct merged {
    struct walk walk;
    struct odd odd;
    struct str key; /* what seek gave last */
    bool plain;     /* it is the walk's */
};

static enum status merged_seek(void *ctx, struct str bound, struct str *key_out, bool *found_out,
                               struct err *err)
{
    struct merged *merged = ctx;
    bool plain = false, odd = false;
    TRY(walk_seek(&merged->walk, bound, &plain, err));
    TRY(odd_seek(&merged->odd, bound, &odd, err));
    *found_out = plain || odd;
    merged->plain = plain;
    if (plain) {
        merged->key = walk_path(&merged->walk, merged->walk.path_len);
    }
    if (odd) {
        struct str key = name_str(merged->odd.names.items[merged->odd.names.index]);
        if (!plain || str_cmp(key, merged->key) < 0) {
            merged->key = key;
            merged->plain = false;
        }
    }
    *key_out = merged->key;
    return OK;
}

static enum status merged_info(void *ctx, struct store_info *out, bool *there_out, struct err *err)
{
    struct merged *merged = ctx;
    struct fs_current current;
    if (merged->plain && walk_info(&merged->walk, out)) {
        *there_out = true;
        return OK;
    }
    enum status status = fs_current_get(merged->walk.fs, merged->key, &current, err);
    if (status == E_DENIED) { /* of another user, or a link now: a read of it says so */
        *there_out = false;
        return OK;
    }
    TRY(status);
    *there_out = current.there;
    *out = current.info;
    return OK;
}

enum status fs_list(struct store *store, const struct store_list_opts *opts, struct arena *arena,
                    struct store_list *out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    size_t keep = opts->limit + 1 > NAMES_MIN ? opts->limit + 1 : NAMES_MIN;
    struct merged merged = {
        .walk = { .fs = fs, .prefix = opts->prefix, .keep = keep, .folder_fd = -1 },
        .odd = { .fs = fs, .prefix = opts->prefix, .names.keep = keep },
    };
    struct list_source source = { .seek = merged_seek, .info = merged_info, .ctx = &merged };
    enum status status = fs_root_check(fs, err);
    if (status == OK) {
        status = walk_start(&merged.walk, err);
    }
    if (status == OK) {
        status = list_page(&source, opts, arena, out, err);
    }
    walk_done(&merged.walk);
    names_done(&merged.odd.names);
    return status;
}
