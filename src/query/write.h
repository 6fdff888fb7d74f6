/*
 * Statements that write: what the engine asks for them (engine/child_write.h), and the commit. A
 * part of struct query; private to this folder.
 */
#ifndef QUERY_WRITE_H
#define QUERY_WRITE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "catalog/catalog.h"
#include "engine/spools.h"
#include "iceberg/partition_write.h"

struct query;
struct compact; /* compact.c */

enum { WRITE_ATTEMPTS_MAX = 16 };

/** Files of one partition that lose rows: what replaces or marks them has its partition. */
struct write_group {
    int32_t spec_id;
    struct ice_partition_record record; /* empty where the spec has no fields */
    size_t file_count;                  /* that it stands for */
    struct str uri;                     /* of one of them */
};

/** One attempt. */
struct query_write {
    pthread_mutex_t lock; /* calls of a job may come side by side */
    /* guarded by lock */
    struct arena arena;
    struct spools spools;
    struct write_group *groups;
    size_t group_count, group_cap;
    struct map group_numbers;
    /* of the manifest that was looked at last: files of one come one after the other */
    const struct ice_manifest *ordered;
    struct ice_partition_order order;
    struct ice_partition_specs specs;      /* of the target */
    const struct ice_partition_spec *spec; /* of new files; NULL: there is no target yet */
    int32_t sort_order_id;                 /* that the engine was told to follow; -1: none */
    struct compact *compact;               /* NULL: none is asked for */
    bool landed;                           /* committed, or its request done */
    struct str reply;           /* of what landed: an engine that died behind it asks once more */
    struct table_name new_name; /* of the table that CREATE TABLE .. AS makes */
    bool if_not_exists;
    struct ice_schema new_schema;
    struct str shape; /* of it, as catalog_append has it */
    struct catalog_place place;
    /* set by the call, read by who reads the query's frames */
    atomic_bool committing, conflict;
};

void query_write_init(struct query_write *write);
void query_write_done(struct query_write *write);

/** The calls of a statement that writes; *known_out false: it is none of these. */
enum status query_write_answer(struct query *query, struct str name, yyjson_val *args,
                               struct buf *reply, int *fd_out, bool *known_out,
                               struct err *err) MUST_USE;

/** A request of child_write.h's "request": CREATE, ALTER, DROP. ddl.c */
enum status query_ddl(struct catalog *catalog, yyjson_val *request, deadline_ms deadline,
                      struct err *err) MUST_USE;
/** The table name that a statement's namespace and name mean where a table is made. ddl.c */
enum status query_new_name(struct catalog *catalog, struct arena *arena, struct str ns,
                           struct str name, struct table_name *out, struct err *err) MUST_USE;
/** Is the table there, under a spelling that differs by case at most? */
enum status query_table_exists(struct catalog *catalog, const struct table_name *name,
                               struct arena *arena, bool *out, struct err *err) MUST_USE;

#endif
