/*
 * The names in a folder, sorted, so that the next page of a listing need not read it again. They
 * are of one moment, shared and never changed: whoever comes later asks whether the folder is
 * still as it was.
 */
#ifndef STORE_FS_FOLDER_H
#define STORE_FS_FOLDER_H

#include "store/fs_priv.h"

struct fs_folder;

/**
 * What is in the open folder now: its regular files, and its folders with a slash behind them.
 *
 * Returns  *out NULL when the names need more memory than there is for that: read it otherwise
 * Errors   E_NO_MEMORY, and those of reading; `path` is for them
 * Owns     the caller has a reference; fs_folder_unref
 * Threads  safe
 * Cost     an fstat when it is remembered, else a read and a sort of all names
 */
enum status fs_folder_get(struct fs_store *fs, int dir_fd, struct str path, struct fs_folder **out,
                          struct err *err) MUST_USE;
/** NULL is fine. */
void fs_folder_unref(struct fs_store *fs, struct fs_folder *folder);

size_t fs_folder_count(const struct fs_folder *folder);
/** In byte order. Lives as long as the folder. */
struct str fs_folder_name(const struct fs_folder *folder, size_t index);
/** The first name from `index` on that is not below `bound`; the count when there is none. */
size_t fs_folder_seek(const struct fs_folder *folder, size_t index, struct str bound);

/**
 * The next regular file or folder that `dir` has; *name_out is NULL behind the last. Names longer
 * than Linux' own file systems have them make no key and are left out. *whole_out becomes false
 * when something that is there may be missing; NULL: nobody asks. `path` is for the message.
 */
enum status fs_entry_next(const struct fs_store *fs, DIR *dir, struct str path,
                          const char **name_out, bool *folder_out, bool *whole_out,
                          struct err *err) MUST_USE;

#endif
