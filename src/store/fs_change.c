/*
 * The moments in which a name changes: publish, remove, copy. Each holds the key's lock from
 * reading what is there to the folder's fsync, so that among all threads and processes one
 * condition is decided at a time, and a pointer that is read under the shared lock is on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "store/fs_priv.h"

/* a folder may be pruned between its making and the link; each try makes it again */
enum { PUBLISH_TRIES = 16 };

/** Put the key into the record of an odd object, before anybody sees it. */
static enum status record_key_add(struct fs_store *fs, struct str key, int fd,
                                  struct fs_record *record, struct err *err)
{
    fs_record_key_set(record, key);
    TRY(fs_record_store(fs, fd, key, record, err));
    return fs_sync(fs, fd, "fsync_key", key, false, err);
}

/** A folder has got the name since it was looked at: placing the object again takes it to
 * `_lake/odd`. */
static bool folder_there(const struct fs_store *fs, const struct fs_place *place)
{
    struct stat st;
    return fs->calls->fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

static enum status name_failed(const struct fs_store *fs, int errno_value, struct str key,
                               const struct fs_place *place, struct err *err)
{
    if (folder_there(fs, place)) {
        return err_set(err, E_NOT_FOUND, "a folder has taken the name of key \"%.*s\"",
                       STR_ARG(key));
    }
    if (errno_value == EEXIST) {
        return err_set(err, E_PRECONDITION, "object \"%.*s\" is there already", STR_ARG(key));
    }
    return err_errno(err, errno_value, "key \"%.*s\"", STR_ARG(key));
}

static enum status name_new(struct fs_store *fs, struct str key, struct fs_temp *temp,
                            const struct fs_place *place, struct err *err)
{
    TRY(fs_fault(fs, "link", key, err));
    int failed = temp->name[0] == '\0'
                     ? fs_link_fd(fs, temp->fd, place->dir_fd, place->name)
                     : fs->calls->linkat(fs->tmp_fd, temp->name, place->dir_fd, place->name, 0);
    return failed == 0 ? OK : name_failed(fs, errno, key, place, err);
}

static enum status name_replace(struct fs_store *fs, struct str key, struct fs_temp *temp,
                                const struct fs_place *place, struct err *err)
{
    TRY(fs_temp_name(fs, temp, err));
    TRY(fs_fault(fs, "rename", key, err));
    if (fs->calls->renameat(fs->tmp_fd, temp->name, place->dir_fd, place->name) != 0) {
        return name_failed(fs, errno, key, place, err);
    }
    temp->name[0] = '\0';
    return OK;
}

/**
 * Choose the place and give the file its name there. E_NOT_FOUND: the folder has gone or come
 * meanwhile, try again. A name that somebody who knows no locks has taken meanwhile is replaced,
 * unless the object must be new.
 */
static enum status place_and_name(struct fs_store *fs, struct str key, struct fs_temp *temp,
                                  struct fs_record *record, const struct fs_current *current,
                                  bool must_be_new, struct fs_place *place, struct err *err)
{
    TRY(fs_place_make(fs, key, current->there ? &current->odd : NULL, place, err));
    if (place->odd && record->key_len == 0) {
        TRY(record_key_add(fs, key, temp->fd, record, err));
    }
    if (current->there) {
        return name_replace(fs, key, temp, place, err);
    }
    enum status status = name_new(fs, key, temp, place, err);
    return status == E_PRECONDITION && !must_be_new ? name_replace(fs, key, temp, place, err)
                                                    : status;
}

static enum status publish_locked(struct fs_store *fs, struct fs_lock *lock, struct str key,
                                  struct fs_temp *temp, struct fs_record *record,
                                  const struct store_cond *cond, struct err *err)
{
    struct fs_current current;
    TRY(fs_current_get(fs, key, &current, err));
    TRY(store_cond_check(cond, key, current.there ? &current.info : NULL, err));
    TRY(fs_lock_change_begin(lock, err));
    struct fs_place place = FS_PLACE_EMPTY;
    enum status status = E_NOT_FOUND;
    for (int i = 0; i < PUBLISH_TRIES && status == E_NOT_FOUND; i++) {
        fs_place_done(&place);
        status = place_and_name(fs, key, temp, record, &current, cond->if_absent, &place, err);
    }
    if (status == E_NOT_FOUND) {
        status = fs_root_check(fs, err);
        if (status == OK) {
            status = err_set(err, E_UNAVAILABLE,
                             "the folder of key \"%.*s\" comes and goes while the key is written",
                             STR_ARG(key));
        }
    } else if (status == OK) {
        status = fs_sync(fs, place.dir_fd, "fsync_dir", key, true, err);
    }
    fs_place_done(&place);
    if (status == OK && current.known == FS_SIDE) {
        fs_record_forget(fs, key, current.side);
    }
    return status;
}

enum status fs_publish(struct fs_store *fs, struct str key, struct fs_temp *temp,
                       struct fs_record *record, const struct store_cond *cond, struct err *err)
{
    AUTO(fs_lock_done) struct fs_lock lock = { 0 };
    TRY(fs_lock_key(fs, key, FS_LOCK_EXCLUSIVE, &lock, err));
    TRY(fs_may_write(fs, err));
    TRY(publish_locked(fs, &lock, key, temp, record, cond, err));
    return fs_fault(fs, "answer", key, err);
}

/* --- remove --- */

/** Unlink the object where it lies. A plain file that others put before an odd one hides it: both
 * go. */
static enum status unlink_one(struct fs_store *fs, struct str key, const struct fs_current *current,
                              struct err *err)
{
    struct fs_place place = FS_PLACE_EMPTY;
    enum status status = fs_place_find(fs, key, current->odd, &place, err);
    if (status == E_NOT_FOUND) {
        return OK; /* somebody removed its folder meanwhile */
    }
    TRY(status);
    status = fs_fault(fs, "unlink", key, err);
    if (status == OK && fs->calls->unlinkat(place.dir_fd, place.name, 0) != 0 && errno != ENOENT) {
        status = err_errno(err, errno, "key \"%.*s\"", STR_ARG(key));
    }
    if (status == OK) {
        status = fs_sync(fs, place.dir_fd, "fsync_unlink", key, true, err);
    }
    fs_place_done(&place);
    return status;
}

enum status fs_remove(struct store *store, struct str key, struct str if_match, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_key_allowed(key, err));
    TRY(fs_may_write(fs, err));
    AUTO(fs_lock_done) struct fs_lock lock = { 0 };
    TRY(fs_lock_key(fs, key, FS_LOCK_EXCLUSIVE, &lock, err));
    for (int i = 0; i < 2; i++) {
        struct fs_current current;
        TRY(fs_current_get(fs, key, &current, err));
        if (i == 0) {
            const struct store_cond cond = { .if_match = if_match };
            TRY(store_cond_check(&cond, key, current.there ? &current.info : NULL, err));
        }
        if (!current.there) {
            break;
        }
        TRY(fs_lock_change_begin(&lock, err));
        TRY(unlink_one(fs, key, &current, err));
        if (current.known == FS_SIDE) {
            fs_record_forget(fs, key, current.side);
        }
        if (current.odd) {
            break;
        }
        fs_dirs_prune(fs, key);
    }
    return fs_fault(fs, "answer", key, err);
}

/* --- copy --- */

/** A second name for the same file: only for objects that nobody changes in place. Not done and OK:
 * the file system cannot. */
static enum status copy_by_link(struct fs_store *fs, struct str from, struct str to,
                                const struct fs_place *source, bool *done_out, struct err *err)
{
    *done_out = false;
    for (int i = 0; i < PUBLISH_TRIES; i++) {
        AUTO(fs_place_done) struct fs_place place = FS_PLACE_EMPTY;
        TRY(fs_place_make(fs, to, NULL, &place, err));
        if (place.odd) {
            return OK;
        }
        if (fs->calls->linkat(source->dir_fd, source->name, place.dir_fd, place.name, 0) == 0) {
            *done_out = true;
            return fs_sync(fs, place.dir_fd, "fsync_copy", to, true, err);
        }
        int why = errno;
        if (why == EEXIST && !folder_there(fs, &place)) {
            return err_set(err, E_EXISTS, "object \"%.*s\" is there already", STR_ARG(to));
        }
        struct stat st;
        if (why != ENOENT) {
            return OK;
        }
        if (fs->calls->fstatat(source->dir_fd, source->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return err_set(err, E_NOT_FOUND, "object \"%.*s\" is not there", STR_ARG(from));
        }
        /* it was the new name's folder that has gone */
    }
    return OK;
}

static enum status link_locked(struct fs_store *fs, struct fs_lock *lock, struct str from,
                               struct str to, bool *done_out, struct err *err)
{
    struct fs_current current;
    *done_out = false;
    TRY(fs_current_get(fs, to, &current, err));
    if (current.there) {
        return err_set(err, E_EXISTS, "object \"%.*s\" is there already", STR_ARG(to));
    }
    TRY(fs_current_get(fs, from, &current, err));
    if (!current.there) {
        return err_set(err, E_NOT_FOUND, "object \"%.*s\" is not there", STR_ARG(from));
    }
    if (current.odd || current.known != FS_XATTR || current.info.etag_weak) {
        return OK; /* its bytes are copied */
    }
    struct fs_place source = FS_PLACE_EMPTY;
    TRY(fs_lock_change_begin(lock, err));
    TRY(fs_place_find(fs, from, false, &source, err));
    enum status status = copy_by_link(fs, from, to, &source, done_out, err);
    fs_place_done(&source);
    return status;
}

/** One try: E_PRECONDITION when `from` is `to` and was replaced meanwhile, too; E_CONFLICT:
 * again. */
static enum status copy_once(struct fs_store *fs, struct str from, struct str to,
                             const struct store_copy_how *how, struct store_info *info_out,
                             struct err *err)
{
    struct store_object *object = NULL;
    TRY(store_open(&fs->base, from, &object, err));
    const struct store_cond of_source = { .if_match = how->if_match };
    struct store_cond cond = how->cond;
    cond.if_absent = cond.if_absent || how->fresh;
    if (str_eq(from, to) && cond.if_match.len == 0) {
        cond.if_match = str_of(object->info.etag);
    }
    enum status status = store_cond_check(&of_source, from, &object->info, err);
    if (status == OK) {
        status = fs_write_copy(fs, object, to, how, &cond, info_out, err);
    }
    store_object_close(object);
    return status;
}

static enum status copy_bytes(struct fs_store *fs, struct str from, struct str to,
                              const struct store_copy_how *how, struct store_info *info_out,
                              struct err *err)
{
    bool given = how->if_match.len > 0 || how->cond.if_match.len > 0 || how->cond.if_absent;
    bool again = str_eq(from, to) && !given && !how->fresh;
    enum status status = OK;
    bool lost = true;
    for (int i = 0; lost && i < PUBLISH_TRIES; i++) {
        status = copy_once(fs, from, to, how, info_out, err);
        lost = status == E_CONFLICT || (again && status == E_PRECONDITION);
    }
    if (lost) {
        return err_set(err, E_UNAVAILABLE, "object \"%.*s\" is replaced again and again",
                       STR_ARG(from));
    }
    return status == E_PRECONDITION && how->fresh
               ? err_set(err, E_EXISTS, "object \"%.*s\" is there already", STR_ARG(to))
               : status;
}

enum status fs_copy(struct store *store, struct str from, struct str to,
                    const struct store_copy_how *how, struct store_info *info_out, struct err *err)
{
    struct fs_store *fs = (struct fs_store *)store;
    TRY(fs_key_allowed(from, err));
    TRY(fs_key_allowed(to, err));
    TRY(fs_may_write(fs, err));
    bool linked = false;
    if (how->fresh) {
        /* Only the new name's lock: whatever version of `from` the link meets is one whole
         * version. */
        AUTO(fs_lock_done) struct fs_lock lock = { 0 };
        TRY(fs_lock_key(fs, to, FS_LOCK_EXCLUSIVE, &lock, err));
        TRY(link_locked(fs, &lock, from, to, &linked, err));
    }
    if (!linked) {
        return copy_bytes(fs, from, to, how, info_out, err);
    }
    TRY(fs_fault(fs, "answer", to, err));
    return store_stat(store, to, info_out, err);
}
