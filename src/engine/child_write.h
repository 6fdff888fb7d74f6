/*
 * A statement that writes, inside of a query job. Compiled only into lakehouse-engine.
 *
 * The engine computes rows and writes them into spools that the parent gives; what becomes of them
 * is the parent's, which answers these calls (src/query/write.c):
 *
 *   target   {"ns","name","verb"}  {"schema":<Iceberg schema>,"parts":[SQL,..],"order":[SQL,..]?}:
 *                                  the table is pinned; what new rows are spread by, and how those
 *                                  of a file lie
 *   spool    {"number"?}           {"spool":n} and its descriptor: a new one, or that one again
 *   create   {"request","schema"}  {"schema":<with ids>,"parts","order"}: the table that
 *                                  CREATE .. AS will make
 *   files    {"ns","name","verb","files":[[ordinal, rows that go],..]}
 *                                  {"files":[["remove"|"rewrite"|"mark", uri, group, joins],..]}
 *   commit   {"verb","ns","name","rows","data":[report],"deletes":[report],"remove":[ordinal,..],
 *            "mark":[ordinal,..],"all":bool}
 *                                  {"snapshot_id":n|null}
 *   compact, and commit of it, as src/query/compact.c says
 *   request  <request>             {}: CREATE, ALTER, DROP; CREATE VIEW as
 *                                  {"do":"create_view","request","schema"}; of CALL its report:
 *                                  {"columns":[{"name","type"}],"rows":[[value,..],..]}
 *
 * A report is what engine/file_stats.h reads, with "spool"; of rows that stay and of deletes with
 * "group", of new rows with "parts", the values of the parts as text. What is longer than a message
 * lies in a spool: {"in_spool":n}.
 */
#ifndef ENGINE_CHILD_WRITE_H
#define ENGINE_CHILD_WRITE_H

#include "engine/child.h"

struct child_written {
    int64_t rows; /* that came, went or changed */
    bool has_snapshot;
    int64_t snapshot_id;
    struct str report; /* of CALL, in the job's arena; else empty */
};
/** Run it and commit it. */
enum status child_write(struct child_job *job, struct duck_session *session,
                        struct duck_write *write, struct child_written *out,
                        struct err *err) MUST_USE;
/** The SELECT that answers with a report's rows. child_report.c */
enum status child_report_select(struct str report, struct buf *sql, struct err *err) MUST_USE;

#endif
