/*
 * Spools of a job, by number.
 */
#include "engine/spools.h"

#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"

void spools_clear(struct spools *spools)
{
    for (size_t i = 0; i < spools->count; i++) {
        fd_done(&spools->fds[i]);
    }
    spools->closed = spools->count;
}

void spools_done(struct spools *spools)
{
    spools_clear(spools);
    mem_free(spools->fds);
    *spools = (struct spools){ 0 };
}

enum status spools_fd(const struct spools *spools, uint64_t number, int *out, struct err *err)
{
    if (number >= spools->count || spools->fds[number] < 0) {
        return err_set(err, E_INTERNAL, "the engine speaks of a spool that it has not");
    }
    *out = spools->fds[number];
    return OK;
}

/** Room for one more. */
static enum status grow(struct spools *spools, struct err *err)
{
    if (spools->count - spools->closed == SPOOLS_MAX) {
        return err_set(err, E_TOO_LARGE, "more than %d files would be written at once",
                       (int)SPOOLS_MAX);
    }
    if (spools->count < spools->cap) {
        return OK;
    }
    size_t cap = spools->cap == 0 ? 4 : spools->cap * 2;
    int *more = mem_realloc(spools->fds, cap * sizeof(*more));
    if (more == NULL) {
        return err_no_memory(err);
    }
    spools->fds = more;
    spools->cap = cap;
    return OK;
}

enum status spools_answer(struct spools *spools, yyjson_val *args,
                          enum status (*make)(void *ctx, int *fd_out, struct err *err), void *ctx,
                          struct buf *reply, int *fd_out, struct err *err)
{
    uint64_t number = UINT64_MAX;
    int fd = -1;
    TRY(json_get_u64(args, "number", JSON_OPTIONAL, &number, err));
    if (number == UINT64_MAX) {
        TRY(grow(spools, err));
        TRY(make(ctx, &fd, err));
        number = spools->count;
        spools->fds[spools->count++] = fd;
    }
    TRY(spools_fd(spools, number, &fd, err));
    int given = dup(fd);
    if (given < 0 || buf_printf(reply, "{\"spool\":%llu}", (unsigned long long)number) != OK) {
        fd_done(&given);
        return err_set(err, E_NO_MEMORY, "no descriptor is left for a spool");
    }
    *fd_out = given;
    return OK;
}
