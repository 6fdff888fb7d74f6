/*
 * Engine processes, seen from inside: one job at a time, run by the handler of its kind. Compiled only into lakehouse-engine.
 */
#ifndef ENGINE_CHILD_H
#define ENGINE_CHILD_H

#include "base/json.h"
#include "duck/duck.h"
#include "lakefs/lakefs.h"

struct child_job {
    struct duck *duck;
    struct lakefs *lakefs;  /* begun with a fresh token for this job */
    yyjson_val *payload;
    int *fds;               /* as given by the parent; a handler that takes one sets it to -1 */
    size_t fd_count;
    struct arena arena;
    struct child_io *io;    /* private to child.c */
};

/** Send frames to the parent; blocks while the parent does not read. E_CANCELED when it has left. */
enum status child_head(struct child_job *job, struct str json, struct err *err) MUST_USE;
enum status child_data(struct child_job *job, struct str bytes, struct err *err) MUST_USE;
/** Ask the parent. `args` is JSON text. The reply is appended; *fd_out (may be NULL) is -1 when none came. Thread safe. */
enum status child_call(struct child_job *job, const char *name, struct str args, struct buf *reply, int *fd_out, struct err *err) MUST_USE;
/** The session that a cancel interrupts; NULL when it is closed. */
void child_set_session(struct child_job *job, struct duck_session *session);

/** Runs one kind of job. OK: `done` is the JSON of the DONE frame. */
typedef enum status child_handler(struct child_job *job, struct buf *done, struct err *err);

child_handler child_query;   /* child_query.c */
child_handler child_convert; /* child_convert.c: a file in, Parquet out */
child_handler child_inspect; /* child_inspect.c: schema and statistics of a Parquet file that is there */

/** main() of lakehouse-engine, after its arguments are known. */
int child_main(int argc, char **argv);

#endif
