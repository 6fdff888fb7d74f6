/*
 * The child's sockets: frames to the parent, questions to the parent, and the sign to stop. Private
 * to child_io.c and child_serve.c.
 */
#ifndef ENGINE_CHILD_IO_H
#define ENGINE_CHILD_IO_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/child.h"
#include "engine/wire.h"

struct child_io {
    int control_fd;
    int cancel_fd; /* eventfd: readable from the cancel to the end of the job */
    const char *temp_dir;
    uint64_t spool_bytes_max;
    uint64_t memory_limit_bytes;
    int statm_fd;
    /* of the job that runs, for its own threads */
    int data_fd;
    /* frames that the parent does not read yet, in [spool_at, spool_end); -1 none */
    int spool_fd;
    uint64_t spool_at, spool_end;
    bool gone; /* the parent does not want the frames any more */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock */
    uint64_t job; /* changes only between jobs */
    bool canceled;
    struct duck_session *session;
    uint64_t rows;             /* of the answer so far */
    struct wire_message *next; /* a job that waits for the main thread */
    bool running;
};

enum status child_io_init(struct child_io *io, const struct child_opts *opts,
                          struct err *err) MUST_USE;
/** The data socket of the job that begins; -1 when it came without one. */
void child_io_begin(struct child_io *io, int data_fd);
/** Tell the parent that the job has ended, with the rest of its frames, and close its data
 * socket. */
void child_io_end(struct child_io *io);
enum status child_io_frame(struct child_io *io, enum wire_frame type, struct str bytes,
                           struct err *err) MUST_USE;
/** Tell the parent how far the running job is. Its control thread's. */
void child_io_progress(struct child_io *io);
void child_io_cancel(struct child_io *io, uint64_t job);
bool child_io_canceled(struct child_io *io);

#endif
