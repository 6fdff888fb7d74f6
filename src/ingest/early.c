/*
 * Reading a file while it comes in: the engine job starts on the first bytes of a great file, reads
 * what is there, and waits for the rest (lakefs/growing.h).
 *
 * It is a bet that the sender is quick. A slow one must not hold an engine, so the job starts only
 * when the first bytes came quickly, only with an engine that is idle, and gives up by itself with
 * E_UNAVAILABLE when bytes fail to come; then all begins again when the file is whole. Nothing that
 * the job says is looked at before: the same bytes may have landed already.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "ingest/ingest_priv.h"

enum {
    EARLY_SIZE_MIN = 16 * 1024 * 1024, /* a smaller file is read as soon as it is there */
    EARLY_AT_BYTES = 4 * 1024 * 1024,  /* more than the layout of a file is found from */
    EARLY_MS_MAX = 250,                /* for these; 16 MB/s: an engine reads some 60 MB/s */
};

/** A Parquet file is read from its end. */
static bool is_parquet(const struct ingest_upload *upload)
{
    enum ingest_format format;
    return upload->params.format == INGEST_PARQUET || ingest_sniff(upload, &format, NULL) != OK ||
           format == INGEST_PARQUET;
}

static bool is_worth_it(const struct ingest_upload *upload)
{
    return upload->params.size_expected >= EARLY_SIZE_MIN &&
           clock_mono_ms(clock_real()) - upload->started_ms <= EARLY_MS_MAX && !is_parquet(upload);
}

static void start(struct ingest_upload *upload)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return;
    }
    upload->deadline = deadline_in(upload->ingest->opts.timeout_ms);
    if (ingest_start_job(upload, ends[1], NULL) == OK) {
        upload->news_fd = ends[0];
        upload->early = true;
    } else {
        close(ends[0]);
    }
    close(ends[1]);
}

void early_received(struct ingest_upload *upload)
{
    if (upload->news_fd >= 0) {
        /* a full socket has news enough */
        ssize_t sent = send(upload->news_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent;
    } else if (!upload->early_decided && upload->size >= EARLY_AT_BYTES) {
        upload->early_decided = true;
        if (is_worth_it(upload)) {
            start(upload);
        }
    }
}

void early_end(struct ingest_upload *upload)
{
    upload->early_decided = true;
    fd_done(&upload->news_fd);
    if (upload->early && upload->size != upload->params.size_expected) {
        early_give_up(upload);
    }
}

void early_give_up(struct ingest_upload *upload)
{
    engine_free(upload->run);
    upload->run = NULL;
    upload->early = false;
}
