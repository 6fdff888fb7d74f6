/*
 * Job "unpack": a Parquet file in, its rows out as NDJSON, in the file's order.
 *
 *   payload  {"size"}
 *   fds      [0] the file
 *   HEAD     {}
 *   DATA     lines
 *   DONE     {"rows": n}
 */
#include "engine/child_convert_priv.h"

struct unpack {
    struct child_job *job;
    struct duck_session *session;
    struct duck_result *result;
    struct duck_encoder *encoder;
    struct buf out;
};

static enum status add_input(struct child_job *job, struct err *err)
{
    uint64_t size = 0;
    TRY(json_get_u64(job->payload, "size", JSON_REQUIRED, &size, err));
    if (job->fd_count != 1) {
        return err_set(err, E_INTERNAL, "the job came with %zu files, one is needed",
                       job->fd_count);
    }
    int fd = job->fds[0];
    job->fds[0] = -1;
    return lakefs_add_input(job->lakefs, STR("in"), fd, size, err);
}

/** A chunk of rows, sent. */
static enum status send_chunk(struct unpack *u, bool *done, struct err *err)
{
    static const char what[] = "this is no readable Parquet file";
    buf_clear(&u->out);
    TRY(convert_blame_parquet(duck_encoder_next(u->encoder, &u->out, done, err), what, err));
    return u->out.len > 0 ? child_data(u->job, buf_str(&u->out), err) : OK;
}

static enum status unpack(struct unpack *u, struct buf *done_json, struct err *err)
{
    static const char what[] = "this is no readable Parquet file";
    const struct duck_session_opts opts = { .files = lakefs_files(u->job->lakefs),
                                            .trusted = true };
    TRY(add_input(u->job, err));
    TRY(duck_session_open(u->job->duck, &opts, &u->session, err));
    child_set_session(u->job, u->session);
    TRY(convert_blame_parquet(duck_query(u->session,
                                         STR("SELECT * FROM read_parquet('spool://in')"), STR_EMPTY,
                                         &u->result, err),
                              what, err));
    TRY(duck_encoder_new(u->result, DUCK_NDJSON, &u->encoder, err));
    TRY(child_head(u->job, STR("{}"), err));
    for (bool done = false; !done;) {
        TRY(send_chunk(u, &done, err));
    }
    return buf_printf(done_json, "{\"rows\":%llu}",
                      (unsigned long long)duck_encoder_rows(u->encoder)) == OK
               ? OK
               : err_no_memory(err);
}

enum status child_unpack(struct child_job *job, struct buf *done, struct err *err)
{
    struct unpack u = { .job = job };
    buf_init(&u.out, 0);
    enum status status = unpack(&u, done, err);
    child_set_session(job, NULL);
    duck_encoder_free(u.encoder);
    duck_result_free(u.result);
    duck_session_close(u.session);
    buf_done(&u.out);
    return status;
}
