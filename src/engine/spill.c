/*
 * Folders for what engines spill: `<temp_dir>/<pool>-<random>/<slot>`, one of the middle kind a
 * pool, held by a lock on a file in it. Two servers may share one temp_dir; what a server that was
 * killed has left behind goes when the next one starts and finds its lock free.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/engine_priv.h"

static int open_lock(const char *folder, int flags)
{
    char path[4200];
    int len = snprintf(path, sizeof(path), "%s/lock", folder);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/** Remove one folder if nobody holds it. A folder without a lock file is being made just now, or is
 * not ours. */
static void sweep_one(const char *dir, const char *name)
{
    char folder[4096];
    int len = snprintf(folder, sizeof(folder), "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof(folder)) {
        return;
    }
    AUTO(fd_done) int lock = open_lock(folder, 0);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
        enum status removed = io_remove_tree(folder, NULL);
        (void)removed; /* the next start tries again */
    }
}

static void sweep(const char *dir, const char *name)
{
    DIR *list = opendir(dir);
    if (list == NULL) {
        return;
    }
    size_t len = strlen(name);
    for (struct dirent *at = readdir(list); at != NULL; at = readdir(list)) {
        if (strncmp(at->d_name, name, len) == 0 && at->d_name[len] == '-') {
            sweep_one(dir, at->d_name);
        }
    }
    closedir(list);
}

enum status engine_spill_open(const char *dir, const char *name, char **path_out, int *lock_fd_out,
                              struct err *err)
{
    TRY(io_mkdirs(dir, false, err));
    /* Held until our folder has its lock: another server's sweep would take it for a leftover. */
    AUTO(fd_done) int gate = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (gate >= 0 && flock(gate, LOCK_EX) != 0 && errno == EINTR) {
    }
    sweep(dir, name);
    char folder[4096];
    int len = snprintf(folder, sizeof(folder), "%s/%s-XXXXXX", dir, name);
    if (len < 0 || (size_t)len >= sizeof(folder) - 32) {
        return err_set(err, E_INVALID, "the path of temp_dir '%s' is too long", dir);
    }
    if (mkdtemp(folder) == NULL) {
        return err_errno(err, errno, "folder for spilled data '%s'", folder);
    }
    AUTO(fd_done) int lock = open_lock(folder, O_CREAT);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        return err_errno(err, errno, "lock of the folder for spilled data '%s'", folder);
    }
    *path_out = mem_strndup(folder, (size_t)len);
    if (*path_out == NULL) {
        return err_no_memory(err);
    }
    *lock_fd_out = lock;
    lock = -1;
    return OK;
}

void engine_spill_close(const char *path, int *lock_fd)
{
    enum status removed = io_remove_tree(path, NULL);
    (void)removed;
    fd_done(lock_fd);
}
