/*
 * The cluster secret. It appears whole or not at all: written without a name, synced, then linked;
 * the link fails when another process was first, and then its secret is read.
 */
#include "store/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/io.h"
#include "base/io_calls.h"
#include "base/rng.h"

/* TRIES_MAX: each lost one is a process that started just then; chosen */
enum { RANDOM_BYTES = 32, TRIES_MAX = 100 };

static const char NAME[] = "secret";

static enum status secret_read(const struct io_calls *calls, int fd, const char *dir,
                               char out[STORE_SECRET_MAX + 1], struct err *err)
{
    struct stat st;
    if (calls->fstat(fd, &st) != 0) {
        return err_errno(err, errno, "\"%s/_lake/secret\"", dir);
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(err, E_DENIED,
                       "\"%s/_lake/secret\" may be read by others (run chmod 600 on it)", dir);
    }
    char text[STORE_SECRET_MAX + 2];
    size_t len = 0;
    TRY(io_calls_pread(calls, fd, text, sizeof text, 0, &len, err));
    struct str secret = str_trim(str_from(text, len));
    bool printable = !str_has_control(secret);
    for (size_t i = 0; i < secret.len; i++) {
        printable = printable && secret.ptr[i] > ' ' && secret.ptr[i] < 0x7f;
    }
    if (secret.len < STORE_SECRET_MIN || secret.len > STORE_SECRET_MAX || !printable) {
        return err_set(
            err, E_INVALID,
            "\"%s/_lake/secret\" does not hold a secret: %d to %d printable characters in one line",
            dir, STORE_SECRET_MIN, STORE_SECRET_MAX);
    }
    memcpy(out, secret.ptr, secret.len);
    out[secret.len] = '\0';
    return OK;
}

/** Write it under a name of its own and link it to the final one. */
static enum status secret_link(const struct io_calls *calls, int lake_fd, const char *dir,
                               struct str text, struct err *err)
{
    char name[64], hidden[32];
    snprintf(hidden, sizeof hidden, "secret-%016llx", (unsigned long long)random_u64());
    snprintf(name, sizeof name, "tmp/%s", hidden);
    AUTO(fd_done)
    int fd = calls->openat(lake_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_errno(err, errno, "\"%s/_lake/%s\"", dir, name);
    }
    enum status status = io_calls_pwrite_full(calls, fd, text.ptr, text.len, 0, err);
    if (status == OK && calls->fsync(fd) != 0) {
        status = err_errno(err, errno, "fsync of \"%s/_lake/secret\"", dir);
    }
    /* EEXIST: another process was first. ENOENT: another one that started swept the folder, and
     * took our file for a leftover. The caller looks what is there now. */
    if (status == OK && calls->linkat(lake_fd, name, lake_fd, NAME, 0) != 0 && errno != EEXIST &&
        errno != ENOENT) {
        status = err_errno(err, errno, "\"%s/_lake/secret\"", dir);
    }
    (void)calls->unlinkat(lake_fd, name, 0);
    if (status == OK && calls->fsync(lake_fd) != 0) {
        status = err_errno(err, errno, "fsync of \"%s/_lake\"", dir);
    }
    return status;
}

static enum status secret_make(const struct io_calls *calls, int lake_fd, const char *dir,
                               struct err *err)
{
    uint8_t bytes[RANDOM_BYTES];
    random_bytes(bytes, sizeof bytes);
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    if (hex_append(&text, bytes, sizeof bytes) != OK || buf_append_char(&text, '\n') != OK) {
        return err_no_memory(err);
    }
    return secret_link(calls, lake_fd, dir, buf_str(&text), err);
}

/** Open `<dir>/<name>`, which is made first, and durable, when `make` is set. */
static enum status below_open(const struct io_calls *calls, const char *dir, const char *name,
                              bool make, int *fd_out, struct err *err)
{
    AUTO(buf_done) struct buf path;
    buf_init(&path, 0);
    if (buf_printf(&path, "%s/%s", dir, name) != OK || buf_cstr(&path) == NULL) {
        return err_no_memory(err);
    }
    if (make) {
        TRY(io_calls_mkdirs(calls, buf_cstr(&path), true, err));
    }
    int fd = calls->openat(AT_FDCWD, buf_cstr(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return err_errno(err, errno, "\"%s/%s\"", dir, name);
    }
    *fd_out = fd;
    return OK;
}

enum status store_secret_load_by(const struct io_calls *calls, const char *dir,
                                 char out[STORE_SECRET_MAX + 1], struct err *err)
{
    AUTO(fd_done) int fd = -1;
    enum status status = below_open(calls, dir, "_lake/secret", false, &fd, err);
    for (int tries = 0; status == E_NOT_FOUND && tries < TRIES_MAX; tries++) {
        AUTO(fd_done) int tmp_fd = -1;
        AUTO(fd_done) int lake_fd = -1;
        TRY(below_open(calls, dir, "_lake/tmp", true, &tmp_fd, err));
        TRY(below_open(calls, dir, "_lake", false, &lake_fd, err));
        TRY(secret_make(calls, lake_fd, dir, err));
        status = below_open(calls, dir, "_lake/secret", false, &fd, err);
    }
    TRY(status);
    return secret_read(calls, fd, dir, out, err);
}

enum status store_secret_load(const char *dir, char out[STORE_SECRET_MAX + 1], struct err *err)
{
    return store_secret_load_by(&io_calls_real, dir, out, err);
}
