/*
 * CALL: procedures that do something to one table, and answer with rows. Private to this folder.
 *
 * A procedure is a function here and a row of the table in call.c. rewrite_data_files is none of
 * them: it computes, so the engine does it (engine/child_write.h).
 */
#ifndef QUERY_CALL_H
#define QUERY_CALL_H

#include "catalog/catalog.h"

struct call {
    struct catalog *catalog;
    struct arena *arena;
    struct table_name name; /* as the catalogue spells it */
    /* An object; its names are those that the procedure knows. Moments are milliseconds since
     * 1970. */
    yyjson_val *args;
    deadline_ms deadline;
};
struct call_column {
    const char *name, *type; /* the type as SQL */
};
/**
 * Write "columns" (call_columns) and "rows":[[..],..] into the object that is open.
 *
 * Errors   E_INVALID for arguments; what the catalogue says
 */
typedef enum status call_run(struct call *call, struct json_writer *w, struct err *err);

void call_columns(struct json_writer *w, const struct call_column *columns, size_t count);

call_run call_rollback_to_snapshot;
call_run call_expire_snapshots, call_rewrite_manifests, call_remove_orphan_files;

/** A request {"do":"call","procedure","namespace","name","args"}; `reply` becomes the report. */
enum status query_call(struct catalog *catalog, yyjson_val *request, deadline_ms deadline,
                       struct buf *reply, struct err *err) MUST_USE;

#endif
