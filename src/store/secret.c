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
#include "base/rng.h"

/* TRIES_MAX: each lost one is a process that started just then; chosen */
enum { RANDOM_BYTES = 32, TRIES_MAX = 100 };

static const char NAME[] = "secret";

static enum status secret_read(int fd, const char *dir, char out[STORE_SECRET_MAX + 1],
                               struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_errno(err, errno, "\"%s/_lake/secret\"", dir);
    }
    if ((st.st_mode & 077) != 0) {
        return err_set(err, E_DENIED,
                       "\"%s/_lake/secret\" may be read by others (run chmod 600 on it)", dir);
    }
    char text[STORE_SECRET_MAX + 2];
    size_t len = 0;
    TRY(io_pread(fd, text, sizeof text, 0, &len, err));
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
static enum status secret_link(int lake_fd, const char *dir, struct str text, struct err *err)
{
    char name[64], hidden[32];
    snprintf(hidden, sizeof hidden, "secret-%016llx", (unsigned long long)random_u64());
    snprintf(name, sizeof name, "tmp/%s", hidden);
    AUTO(fd_done)
    int fd = openat(lake_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_errno(err, errno, "\"%s/_lake/%s\"", dir, name);
    }
    enum status status = io_write_full(fd, text.ptr, text.len, err);
    if (status == OK && fsync(fd) != 0) {
        status = err_errno(err, errno, "fsync of \"%s/_lake/secret\"", dir);
    }
    /* EEXIST: another process was first. ENOENT: another one that started swept the folder, and
     * took
     * our file for a leftover. The caller looks what is there now. */
    if (status == OK && linkat(lake_fd, name, lake_fd, NAME, 0) != 0 && errno != EEXIST &&
        errno != ENOENT) {
        status = err_errno(err, errno, "\"%s/_lake/secret\"", dir);
    }
    (void)unlinkat(lake_fd, name, 0);
    if (status == OK && fsync(lake_fd) != 0) {
        status = err_errno(err, errno, "fsync of \"%s/_lake\"", dir);
    }
    return status;
}

static enum status secret_make(int lake_fd, const char *dir, struct err *err)
{
    uint8_t bytes[RANDOM_BYTES];
    random_bytes(bytes, sizeof bytes);
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    if (hex_append(&text, bytes, sizeof bytes) != OK || buf_append_char(&text, '\n') != OK) {
        return err_no_memory(err);
    }
    return secret_link(lake_fd, dir, buf_str(&text), err);
}

static enum status lake_open(const char *dir, int *fd_out, struct err *err)
{
    AUTO(buf_done) struct buf path;
    buf_init(&path, 0);
    if (buf_printf(&path, "%s/_lake/tmp", dir) != OK || buf_cstr(&path) == NULL) {
        return err_no_memory(err);
    }
    TRY(io_mkdirs(buf_cstr(&path), true, err));
    path.len -= strlen("/tmp");
    const char *lake = buf_cstr(&path);
    int fd = lake == NULL ? -1 : open(lake, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_errno(err, errno, "folder \"%s/_lake\"", dir);
    }
    *fd_out = fd;
    return OK;
}

enum status store_secret_load(const char *dir, char out[STORE_SECRET_MAX + 1], struct err *err)
{
    AUTO(fd_done) int lake_fd = -1;
    AUTO(fd_done) int fd = -1;
    TRY(lake_open(dir, &lake_fd, err));
    fd = openat(lake_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    for (int tries = 0; fd < 0 && errno == ENOENT && tries < TRIES_MAX; tries++) {
        TRY(secret_make(lake_fd, dir, err));
        fd = openat(lake_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0) {
        return err_errno(err, errno, "\"%s/_lake/secret\"", dir);
    }
    return secret_read(fd, dir, out, err);
}
