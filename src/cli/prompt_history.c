/*
 * The history file: a JSON string a line, because a statement may have many lines. Lines are
 * appended in one write each, so that several prompts may share it; one that has become long is
 * written anew when it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/prompt_priv.h"

/* chosen: a thousand long statements. Only the end of a longer file is read. */
enum { FILE_BYTES_MAX = 1024 * 1024 };

void prompt_history_open(struct prompt_history *history)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char folder[sizeof(history->path) - sizeof "/history"];
    int len = 0;
    history->path[0] = '\0';
    if (state != NULL && state[0] == '/') {
        len = snprintf(folder, sizeof(folder), "%s/lakehouse", state);
    } else if (home != NULL && home[0] == '/') {
        len = snprintf(folder, sizeof(folder), "%s/.local/state/lakehouse", home);
    }
    if (len <= 0 || (size_t)len >= sizeof(folder) || io_mkdirs(folder, false, NULL) != OK) {
        return;
    }
    snprintf(history->path, sizeof(history->path), "%s/history", folder);
}

/** The lines of the file's end, whole ones. */
static enum status read_end(const char *path, struct buf *out, bool *long_out)
{
    AUTO(fd_done) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd == -1 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return E_NOT_FOUND;
    }
    uint64_t size = (uint64_t)info.st_size;
    uint64_t start = size > FILE_BYTES_MAX ? size - FILE_BYTES_MAX : 0;
    char *room = buf_reserve(out, FILE_BYTES_MAX);
    size_t got = 0;
    if (room == NULL) {
        return E_NO_MEMORY;
    }
    TRY(io_pread(fd, room, FILE_BYTES_MAX, start, &got, NULL));
    out->len += got;
    *long_out = start > 0;
    if (start > 0) { /* its first line is half */
        size_t end = str_find_char(buf_str(out), '\n');
        buf_consume(out, end == SIZE_MAX ? out->len : end + 1);
    }
    return OK;
}

/** Keep the last HISTORY_ENTRIES_MAX lines of `lines`. */
static struct str newest(struct str lines)
{
    size_t seen = 0, at = lines.len;
    while (at > 0) {
        if (lines.ptr[at - 1] == '\n' && at != lines.len && ++seen == HISTORY_ENTRIES_MAX) {
            break;
        }
        at--;
    }
    return str_skip(lines, at);
}

static void write_anew(const char *path, struct str lines)
{
    char temp[4096 + 16];
    snprintf(temp, sizeof(temp), "%s.%ld", path, (long)getpid());
    AUTO(fd_done) int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd != -1 &&
        (io_write_full(fd, lines.ptr, lines.len, NULL) != OK || rename(temp, path) != 0)) {
        (void)unlink(temp);
    }
}

void prompt_history_load(const struct prompt_history *history,
                         void (*each)(void *ctx, const char *entry), void *ctx)
{
    AUTO(buf_done) struct buf bytes;
    bool is_long = false;
    buf_init(&bytes, FILE_BYTES_MAX);
    if (history->path[0] == '\0' || read_end(history->path, &bytes, &is_long) != OK) {
        return;
    }
    struct str lines = newest(buf_str(&bytes));
    if (is_long) {
        write_anew(history->path, lines);
    }
    while (lines.ptr != NULL && lines.len > 0) {
        struct str line = str_split(&lines, '\n');
        yyjson_doc *doc = yyjson_read(line.ptr, line.len, 0);
        const char *entry = yyjson_get_str(yyjson_doc_get_root(doc));
        if (entry != NULL) { /* anything else is somebody's edit */
            each(ctx, entry);
        }
        yyjson_doc_free(doc);
    }
}

void prompt_history_add(const struct prompt_history *history, struct str entry)
{
    AUTO(buf_done) struct buf line;
    buf_init(&line, FILE_BYTES_MAX);
    if (history->path[0] == '\0' || json_append_string(&line, entry) != OK ||
        buf_append_char(&line, '\n') != OK) {
        return;
    }
    AUTO(fd_done) int fd = open(history->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd != -1 && io_write_full(fd, line.ptr, line.len, NULL) != OK) {
        return; /* one entry less to find again */
    }
}
