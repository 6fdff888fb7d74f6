/*
 * What the files of ingest/ share: the service, an upload, and the plan that the engine asks for.
 */
#ifndef INGEST_INGEST_PRIV_H
#define INGEST_INGEST_PRIV_H

#include <pthread.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/io.h"
#include "base/rng.h"
#include "engine/file_stats.h"
#include "engine/spools.h"
#include "iceberg/partition_write.h"
#include "iceberg/sort_order.h"
#include "ingest/ingest.h"

struct ingest {
    struct ingest_service_opts opts;
    struct metric *files, *deduplicated, *failed, *rows, *bytes;
};

/** The schema under which the file is written; made on a thread of the engine pool, read after the
 * job's DONE. */
struct ingest_plan {
    pthread_mutex_t lock;
    struct arena arena;       /* guarded by lock, like the rest */
    struct ice_schema target; /* with ids */
    int32_t last_id;
    bool changed; /* the table's schema has to change */
    /* how rows are spread and sorted: of the table, or asked for with a new one */
    struct ice_partition_spec spec;
    struct str *keys;      /* of an upsert */
    int32_t sort_order_id; /* -1: they lie as they come */
    struct str shape;      /* of a new table (catalog_append) */
    struct spools spools;  /* that the job writes into */
};

/** What a job has written. In the attempt's arena. */
struct ingest_outputs {
    struct ice_data_file *files;
    const struct str **parts; /* of each, the values of the spec's fields */
    int *fds;                 /* borrowed */
    size_t count;
    int64_t rows;
};

enum upload_state {
    UPLOAD_RECEIVING,
    UPLOAD_STARTING,
    UPLOAD_CONVERTING,
    UPLOAD_UPSERTING,
    UPLOAD_DONE
};

struct ingest_upload {
    struct ingest *ingest;
    struct ingest_params params; /* texts in arena */
    enum upload_state state;
    struct arena arena;         /* lives as long as the upload */
    struct arena attempt_arena; /* reset by each attempt */
    int spool_fd, output_fd;
    struct body *body;
    uint64_t size;           /* of the spool */
    uint64_t bytes_expected; /* that come over the wire in all; 0: not known */
    struct digest *digest;
    struct str batch_id;
    deadline_ms deadline;
    unsigned attempts;
    struct catalog_place place; /* of this attempt */
    struct ingest_plan plan;
    struct engine_run *run;
    bool made_table;       /* that rows are upserted into */
    void *upserting;       /* of the service's upserter; NULL: nothing runs */
    unsigned copies_given; /* of this job; guarded by plan.lock */
    struct ingest_result result;
    /* early.c */
    int64_t started_ms;
    int news_fd;        /* wakes the job that reads while the file comes; -1: none does */
    bool early_decided; /* whether one does */
    bool early;         /* `run` has begun before the file was whole */
};

/** What the first bytes of the spool say. */
enum status ingest_sniff(const struct ingest_upload *upload, enum ingest_format *out,
                         struct err *err) MUST_USE;
/** Place, output and engine job of an attempt. `news_fd`: the file is still growing, -1: it is
 * whole. */
enum status ingest_start_job(struct ingest_upload *upload, int news_fd, struct err *err) MUST_USE;

/** Bytes have come: start the job early, or wake it. It never fails: what cannot start early starts
 * later. */
void early_received(struct ingest_upload *upload);
/** All bytes are there. */
void early_end(struct ingest_upload *upload);
/** Without the early job: the next attempt starts from the whole file. */
void early_give_up(struct ingest_upload *upload);

/** engine_job.call of a "convert" job: answers "plan". */
enum status ingest_on_call(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                           int *fd_out, struct err *err) MUST_USE;

/** What the DONE frame says of rows that were left out. */
enum status ingest_read_skipped(struct arena *arena, struct str done_json,
                                struct ingest_result *out, struct err *err) MUST_USE;

/** Of the DONE frame: outputs.c. */
enum status ingest_outputs_read(struct ingest_upload *upload, struct str done_json,
                                struct ingest_outputs *out, struct err *err) MUST_USE;
/** They are objects after it, under the table's place; on failure none is. */
enum status ingest_outputs_put(struct ingest_upload *upload, struct ingest_outputs *outputs,
                               struct err *err) MUST_USE;
void ingest_outputs_delete(struct ingest_upload *upload, const struct ingest_outputs *outputs);
/** The converted file's rows replace others by keys: upsert.c. */
enum status ingest_upsert_start(struct ingest_upload *upload, struct err *err) MUST_USE;
/** *done_out with the answer of its commit. E_EXISTS: the batch has landed before; E_CONFLICT: the
 * table has moved on. */
enum status ingest_upsert_step(struct ingest_upload *upload, bool *done_out,
                               struct catalog_appended *out, struct err *err) MUST_USE;
/** The keys as the plan's schema spells them. E_INVALID for one that is not in the file, or that
 * cannot be a key. */
enum status ingest_find_keys(struct ingest_upload *upload, const struct ice_schema *file,
                             struct err *err) MUST_USE;
/** With what of the upload commits: append, or all of the table's rows replaced; overwrite.c. */
enum status ingest_overwrite(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                             struct catalog_appended *out, struct err *err) MUST_USE;
/** A commit of the table's new schema alone, or of the new table without rows, so that rows may be
 * replaced in it. */
enum status ingest_prepare_table(struct ingest_upload *upload, struct err *err) MUST_USE;
/** Into the upload's result. */
enum status ingest_outputs_keep(struct ingest_upload *upload, const struct ingest_outputs *outputs,
                                struct err *err) MUST_USE;

#endif
