/*
 * The files of one job: what duck_files may open, and how their bytes come.
 *
 *      lake://<token>/<n>.parquet    pinned?  -> host.open ->  a descriptor: read here, checked
 *      against its checksums
 *                                                              none: ranges through host.read and
 *                                                              the block cache
 *      spool://<name>                a descriptor that came with the job
 *
 * A path is opened only when its token is the running job's and its number is pinned, whatever the
 * statement says. An object that was opened stays open for the rest of the job, up to IDLE_MAX of
 * them, because DuckDB opens a file again for each scan of a self-join or a late materialisation,
 * and each opening is a call to the parent.
 */
#include "lakefs/lakefs.h"

#include "base/io.h"
#include "base/map.h"
#include "base/mem.h"
#include "lakefs/blocks.h"
#include "lakefs/growing.h"

#include <pthread.h>
#include <stdio.h>

enum { TOKEN_MAX = 64, SPOOL_NAME_MAX = 64, IDLE_MAX = 64 };

static const uint64_t CACHE_BYTES = UINT64_C(64) << 20;

/* A pinned file. */
struct pin {
    struct store_object *object; /* NULL: not open, or remote */
    uint64_t size;
    bool is_remote;
    bool is_open;
    unsigned users;
};

/* Numbers that may be opened. */
struct range {
    uint64_t first, count;
};

struct spool {
    int fd;
    uint64_t size;
    bool is_output;
    struct growing *growing;     /* NULL: it is whole */
    int news_fd;                 /* of a growing one */
    struct lakefs_sink sink;     /* of an output without a descriptor */
    struct lakefs_folder folder; /* .create NULL: it is none */
};

struct lakefs {
    struct lakefs_host host;
    struct duck_files files;
    struct blocks *blocks;
    pthread_mutex_t lock;
    char token[TOKEN_MAX + 1]; /* guarded by lock, as all below; empty: no job */
    struct range *ranges;      /* of pinned files */
    size_t range_count, range_cap;
    struct map pins;     /* number as text -> struct pin, of those that were opened */
    struct map spools;   /* name -> struct spool */
    unsigned idle_count; /* pins that are open without users */
};

/* What duck_files.open gives: a pinned file or a spool. */
struct lakefs_file {
    struct lakefs *fs;
    struct pin *pin; /* NULL: a spool */
    uint32_t number;
    int fd;
    uint64_t size;
    struct growing *growing; /* of a spool that is not whole yet */
};

/* What duck_files.create gives. */
struct output {
    int fd;        /* -1: all goes to `sink` */
    bool is_owned; /* the descriptor, of a folder's */
    uint64_t offset;
    struct lakefs_sink sink;
};

/* --- paths --- */

static struct str number_key(uint32_t number, char text[16])
{
    return str_from(text, (size_t)snprintf(text, 16, "%u", number));
}

static enum status denied(struct str path, struct err *err)
{
    return err_set(err, E_DENIED, "\"%.*s\" is not one of this statement's files", STR_ARG(path));
}

/** "lake://<token>/<n>.parquet" of this job; the lock is held. */
static bool parse_lake_path(const struct lakefs *fs, struct str path, uint32_t *number_out)
{
    uint64_t number = 0;
    struct str scheme = STR("lake://");
    struct str suffix = STR(LAKEFS_SUFFIX);
    if (fs->token[0] == '\0' || !str_starts(path, scheme) || !str_ends(path, suffix)) {
        return false;
    }
    struct str rest = str_skip(path, scheme.len);
    struct str token = str_split(&rest, '/');
    if (rest.len < suffix.len || !str_eq(token, str_of(fs->token)) ||
        !str_to_u64(str_take(rest, rest.len - suffix.len), &number) || number > UINT32_MAX) {
        return false;
    }
    *number_out = (uint32_t)number;
    return true;
}

/* --- pinned files --- */

/** Ask the host, without the lock: it is a call to another process. */
static enum status pin_open(struct lakefs *fs, uint32_t number, struct pin *out, struct err *err)
{
    int fd = -1;
    uint64_t size = 0;
    TRY(fs->host.open(fs->host.ctx, number, &fd, &size, err));
    out->size = size;
    out->is_remote = fd < 0;
    if (fd >= 0) {
        TRY(store_fd_object(fd, &out->object, err));
        if (store_object_info(out->object)->size < size) {
            store_object_close(out->object);
            out->object = NULL;
            return err_set(err, E_CORRUPT, "data file %u is shorter than its table says", number);
        }
    }
    return OK;
}

static void pin_close(struct pin *pin)
{
    if (pin->object) {
        store_object_close(pin->object);
    }
    pin->object = NULL;
    pin->is_open = false;
}

/** The pin, open, with a user more. Two threads may open it at once; the second one's descriptor is
 * closed again. */
static enum status pin_acquire(struct lakefs *fs, struct pin *pin, uint32_t number, struct err *err)
{
    pthread_mutex_lock(&fs->lock);
    if (pin->is_open) {
        fs->idle_count -= pin->users == 0;
        pin->users++;
        pthread_mutex_unlock(&fs->lock);
        return OK;
    }
    pthread_mutex_unlock(&fs->lock);

    struct pin opened = { 0 };
    TRY(pin_open(fs, number, &opened, err));
    pthread_mutex_lock(&fs->lock);
    if (pin->is_open) {
        fs->idle_count -= pin->users == 0;
        pin_close(&opened);
    } else {
        pin->object = opened.object;
        pin->size = opened.size;
        pin->is_remote = opened.is_remote;
        pin->is_open = true;
    }
    pin->users++;
    pthread_mutex_unlock(&fs->lock);
    return OK;
}

static void pin_release(struct lakefs *fs, struct pin *pin)
{
    pthread_mutex_lock(&fs->lock);
    if (--pin->users == 0) {
        if (fs->idle_count < IDLE_MAX) {
            fs->idle_count++;
        } else {
            pin_close(pin);
        }
    }
    pthread_mutex_unlock(&fs->lock);
}

/* --- duck_files --- */

/** With the lock held: may that number be opened? */
static bool is_pinned(const struct lakefs *fs, uint32_t number)
{
    for (size_t i = 0; i < fs->range_count; i++) {
        if (number >= fs->ranges[i].first && number - fs->ranges[i].first < fs->ranges[i].count) {
            return true;
        }
    }
    return false;
}

/** With the lock held: the pin of a number, made when it is opened the first time. NULL: no
 * memory. */
static struct pin *pin_of(struct lakefs *fs, uint32_t number)
{
    char text[16];
    struct str key = number_key(number, text);
    struct pin *pin = map_get(&fs->pins, key);
    if (pin == NULL) {
        pin = mem_zalloc(sizeof *pin);
        if (pin != NULL && map_put(&fs->pins, key, pin, NULL) != OK) {
            mem_free(pin);
            pin = NULL;
        }
    }
    return pin;
}

static enum status open_pinned(struct lakefs *fs, struct str path, struct lakefs_file *file,
                               struct err *err)
{
    uint32_t number = 0;
    pthread_mutex_lock(&fs->lock);
    bool allowed = parse_lake_path(fs, path, &number) && is_pinned(fs, number);
    struct pin *pin = allowed ? pin_of(fs, number) : NULL;
    pthread_mutex_unlock(&fs->lock);
    if (!pin) {
        return allowed ? err_no_memory(err) : denied(path, err);
    }
    TRY(pin_acquire(fs, pin, number, err));
    file->pin = pin;
    file->number = number;
    file->size = pin->size;
    return OK;
}

static struct spool *find_spool(struct lakefs *fs, struct str path)
{
    struct str scheme = STR("spool://");
    if (!str_starts(path, scheme)) {
        return NULL;
    }
    return map_get(&fs->spools, str_skip(path, scheme.len));
}

static enum status open_spool(struct lakefs *fs, struct str path, struct lakefs_file *file,
                              struct err *err)
{
    pthread_mutex_lock(&fs->lock);
    struct spool *spool = find_spool(fs, path);
    bool found = spool && !spool->is_output && spool->folder.create == NULL;
    if (found) {
        file->fd = spool->fd;
        file->size = spool->size;
        file->growing = spool->growing;
    }
    pthread_mutex_unlock(&fs->lock);
    return found ? OK : denied(path, err);
}

static enum status files_open(void *ctx, struct str path, void **file_out, uint64_t *size_out,
                              struct err *err)
{
    struct lakefs *fs = ctx;
    struct lakefs_file *file = mem_zalloc(sizeof *file);
    if (!file) {
        return err_no_memory(err);
    }
    file->fs = fs;
    file->fd = -1;
    enum status status = str_starts(path, STR("spool://")) ? open_spool(fs, path, file, err)
                                                           : open_pinned(fs, path, file, err);
    if (status != OK) {
        mem_free(file);
        return status;
    }
    *size_out = file->size;
    *file_out = file;
    return OK;
}

static enum status files_read_at(void *opaque, uint64_t offset, void *ptr, size_t len,
                                 size_t *got_out, struct err *err)
{
    struct lakefs_file *file = opaque;
    if (offset >= file->size) {
        *got_out = 0;
        return OK;
    }
    if (len > file->size - offset) {
        len = (size_t)(file->size - offset);
    }
    if (file->growing) {
        TRY(growing_wait(file->growing, offset + len, err));
    }
    if (!file->pin) {
        return io_pread(file->fd, ptr, len, offset, got_out, err);
    }
    if (file->pin->is_remote) {
        return blocks_read(file->fs->blocks, file->number, file->size, offset, ptr, len, got_out,
                           err);
    }
    return store_object_read(file->pin->object, offset, ptr, len, got_out, err);
}

static void files_close(void *opaque)
{
    struct lakefs_file *file = opaque;
    if (file->pin) {
        pin_release(file->fs, file->pin);
    }
    mem_free(file);
}

/** The folder that a path lies in; .create NULL: in none. */
static struct lakefs_folder find_folder(struct lakefs *fs, struct str path)
{
    struct str scheme = STR("spool://");
    struct lakefs_folder folder = { 0 };
    size_t end = str_starts(path, scheme) ? str_find_char(str_skip(path, scheme.len), '/')
                                          : SIZE_MAX;
    if (end != SIZE_MAX) {
        pthread_mutex_lock(&fs->lock);
        struct spool *spool = find_spool(fs, str_from(path.ptr, scheme.len + end));
        folder = spool != NULL ? spool->folder : folder;
        pthread_mutex_unlock(&fs->lock);
    }
    return folder;
}

static enum status find_output(struct lakefs *fs, struct str path, struct output *out,
                               struct err *err)
{
    pthread_mutex_lock(&fs->lock);
    struct spool *spool = find_spool(fs, path);
    bool found = spool && spool->is_output;
    *out = (struct output){ .fd = found ? spool->fd : -1 };
    if (found) {
        out->sink = spool->sink;
    }
    pthread_mutex_unlock(&fs->lock);
    struct lakefs_folder folder = found ? (struct lakefs_folder){ 0 } : find_folder(fs, path);
    if (!found && folder.create == NULL) {
        return denied(path, err);
    }
    if (!found) {
        out->is_owned = true;
        TRY(folder.create(folder.ctx, path, &out->fd, err));
    }
    return OK;
}

static enum status files_create(void *ctx, struct str path, void **sink_out, struct err *err)
{
    struct output made;
    TRY(find_output(ctx, path, &made, err));
    struct output *output = mem_zalloc(sizeof *output);
    if (!output) {
        if (made.is_owned) {
            fd_done(&made.fd);
        }
        return err_no_memory(err);
    }
    *output = made;
    *sink_out = output;
    return OK;
}

static enum status files_write(void *opaque, struct str bytes, struct err *err)
{
    struct output *output = opaque;
    if (output->fd < 0) {
        return output->sink.write(output->sink.ctx, bytes, err);
    }
    TRY(io_pwrite_full(output->fd, bytes.ptr, bytes.len, output->offset, err));
    output->offset += bytes.len;
    return OK;
}

static enum status files_finish(void *opaque, struct err *err)
{
    struct output *output = opaque;
    if (output->is_owned) {
        fd_done(&output->fd);
    }
    mem_free(opaque);
    return OK;
}

/* --- the job --- */

static void spool_done(struct spool *spool)
{
    growing_free(spool->growing);
    fd_done(&spool->news_fd);
    fd_done(&spool->fd);
}

/** Closes and forgets everything of the last job; nothing of it may be open any more. */
static void forget(struct lakefs *fs)
{
    struct map_entry *entry;
    size_t at = 0;
    while ((entry = map_next(&fs->pins, &at)) != NULL) {
        struct pin *pin = entry->value;
        assert(pin->users == 0);
        pin_close(pin);
        mem_free(pin);
    }
    at = 0;
    while ((entry = map_next(&fs->spools, &at)) != NULL) {
        struct spool *spool = entry->value;
        spool_done(spool);
        mem_free(spool);
    }
    map_done(&fs->pins);
    map_init(&fs->pins);
    fs->range_count = 0;
    map_done(&fs->spools);
    map_init(&fs->spools);
    fs->idle_count = 0;
    fs->token[0] = '\0';
    blocks_clear(fs->blocks);
}

enum status lakefs_begin(struct lakefs *fs, struct str token, struct err *err)
{
    if (token.len == 0 || token.len > TOKEN_MAX || str_find_char(token, '/') != SIZE_MAX ||
        str_find_char(token, '\0') != SIZE_MAX) {
        return err_set(err, E_INTERNAL, "a job's token is 1 to %d characters without a slash",
                       TOKEN_MAX);
    }
    pthread_mutex_lock(&fs->lock);
    forget(fs);
    memcpy(fs->token, token.ptr, token.len);
    fs->token[token.len] = '\0';
    pthread_mutex_unlock(&fs->lock);
    return OK;
}

void lakefs_end(struct lakefs *fs)
{
    pthread_mutex_lock(&fs->lock);
    forget(fs);
    pthread_mutex_unlock(&fs->lock);
}

enum status lakefs_prefix(struct lakefs *fs, struct arena *arena, struct str *out, struct err *err)
{
    pthread_mutex_lock(&fs->lock);
    struct str prefix = arena_printf(arena, "lake://%s/", fs->token);
    pthread_mutex_unlock(&fs->lock);
    if (!prefix.ptr) {
        return err_no_memory(err);
    }
    *out = prefix;
    return OK;
}

enum status lakefs_pin(struct lakefs *fs, uint64_t first, uint64_t count, struct err *err)
{
    enum status status = OK;
    pthread_mutex_lock(&fs->lock);
    if (fs->range_count == fs->range_cap) {
        size_t cap = fs->range_cap == 0 ? 16 : fs->range_cap * 2;
        struct range *more = mem_realloc(fs->ranges, cap * sizeof *more);
        if (more) {
            fs->ranges = more;
            fs->range_cap = cap;
        } else {
            status = err_no_memory(err);
        }
    }
    if (status == OK) {
        fs->ranges[fs->range_count++] = (struct range){ first, count };
    }
    pthread_mutex_unlock(&fs->lock);
    return status;
}

static enum status add_spool(struct lakefs *fs, struct str name, struct spool added,
                             struct err *err)
{
    struct spool *old = NULL;
    struct spool *spool = mem_alloc(sizeof *spool);
    enum status status = OK;
    bool goes_somewhere = added.fd >= 0 || added.sink.write || added.folder.create;
    if (!goes_somewhere || name.len == 0 || name.len > SPOOL_NAME_MAX ||
        str_find_char(name, '/') != SIZE_MAX) {
        status = err_set(err, E_INTERNAL, "\"%.*s\" is no spool with a descriptor", STR_ARG(name));
    } else if (!spool) {
        status = err_no_memory(err);
    }
    if (status == OK) {
        *spool = added;
        pthread_mutex_lock(&fs->lock);
        status = map_put(&fs->spools, name, spool, (void **)&old);
        pthread_mutex_unlock(&fs->lock);
        if (status != OK) {
            err_no_memory(err);
        }
    }
    if (status != OK) {
        spool_done(&added);
        mem_free(spool);
        return status;
    }
    if (old) {
        spool_done(old);
        mem_free(old);
    }
    return OK;
}

enum status lakefs_add_input(struct lakefs *fs, struct str name, int fd, uint64_t size,
                             struct err *err)
{
    return add_spool(fs, name, (struct spool){ .fd = fd, .size = size, .news_fd = -1 }, err);
}

enum status lakefs_add_growing(struct lakefs *fs, struct str name, int fd, int news_fd,
                               uint64_t size, struct err *err)
{
    struct spool spool = { .fd = fd, .size = size, .news_fd = news_fd };
    enum status status = growing_new(fd, news_fd, size, &spool.growing, err);
    if (status != OK) {
        spool_done(&spool);
        return status;
    }
    return add_spool(fs, name, spool, err);
}

enum status lakefs_add_output(struct lakefs *fs, struct str name, int fd, struct err *err)
{
    return add_spool(fs, name, (struct spool){ .fd = fd, .is_output = true, .news_fd = -1 }, err);
}

enum status lakefs_add_sink(struct lakefs *fs, struct str name, struct lakefs_sink sink,
                            struct err *err)
{
    struct spool spool = { .fd = -1, .is_output = true, .news_fd = -1, .sink = sink };
    return add_spool(fs, name, spool, err);
}

enum status lakefs_add_folder(struct lakefs *fs, struct str name, struct lakefs_folder folder,
                              struct err *err)
{
    return add_spool(fs, name, (struct spool){ .fd = -1, .news_fd = -1, .folder = folder }, err);
}

const struct duck_files *lakefs_files(struct lakefs *fs)
{
    return &fs->files;
}

enum status lakefs_new(const struct lakefs_opts *opts, struct lakefs **out, struct err *err)
{
    struct lakefs *fs = mem_zalloc(sizeof *fs);
    if (!fs) {
        return err_no_memory(err);
    }
    fs->host = opts->host;
    fs->files = (struct duck_files){ .open = files_open,
                                     .read_at = files_read_at,
                                     .close = files_close,
                                     .create = files_create,
                                     .write = files_write,
                                     .finish = files_finish,
                                     .ctx = fs };
    map_init(&fs->pins);
    map_init(&fs->spools);
    enum status status = blocks_new(opts->cache_bytes ? opts->cache_bytes : CACHE_BYTES,
                                    opts->host.read, opts->host.ctx, &fs->blocks, err);
    if (status != OK) {
        mem_free(fs);
        return status;
    }
    pthread_mutex_init(&fs->lock, NULL);
    *out = fs;
    return OK;
}

void lakefs_free(struct lakefs *fs)
{
    if (!fs) {
        return;
    }
    forget(fs);
    mem_free(fs->ranges);
    blocks_free(fs->blocks);
    pthread_mutex_destroy(&fs->lock);
    mem_free(fs);
}
