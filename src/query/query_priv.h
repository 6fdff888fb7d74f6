/*
 * Inside of a query: pins.c keeps the tables, views.c reads views, files.c the tables' bytes,
 * answer.c writes what the engine hears, bounds.c what it hears of columns in files, deletes.c of
 * deleted rows, inspect*.c metadata tables, write.c and ddl.c do what a statement writes, vectors.c
 * asks vector indexes, running.c lists what runs. Calls come on several threads.
 */
#ifndef QUERY_QUERY_PRIV_H
#define QUERY_QUERY_PRIV_H

#include <pthread.h>

#include "base/map.h"
#include "query/query.h"
#include "query/write.h"

struct inspect; /* inspect.h */

enum { PINS_MAX = 16384, OBJECTS_MAX = 64 };

struct query_service {
    struct query_service_opts opts;
    pthread_mutex_t lock;
    struct query *oldest, *newest; /* guarded by lock */
};

/** One table as of one moment, under the name that the statement uses. */
struct query_pin {
    size_t number;
    struct str ns, name; /* as asked */
    struct catalog_at at;
    /* a thread works on it; guarded by query->lock, and who has set it owns the rest */
    bool busy;
    bool pinned; /* tried: kind and err, or pin */
    enum status kind;
    struct err err;
    struct catalog_pin *pin; /* NULL: of a view */
    struct str view;         /* of a view: what the engine is told of it, JSON in `arena` */
    bool files_known;        /* tried: files_kind and files_err, or files */
    enum status files_kind;
    struct err files_err;
    struct catalog_files files;
    /* The numbers of its files in the query, data files first; guarded by query->lock: */
    bool numbered;
    uint64_t first, file_numbers;
    /* a thread makes rows of a metadata table, beside those that read its files; guarded by
     * query->lock, and who has set it owns the next */
    bool inspecting;
    struct inspect *inspect; /* NULL until a metadata table of it is asked for */
    struct arena arena;
};

/** An open object of the query, for reads that the engine cannot do by itself. */
struct query_object {
    uint64_t file;
    struct store_object *object;
    unsigned users; /* guarded by query->lock, as all here */
    uint64_t used;
};

struct query {
    struct query_service *service;
    struct engine_run *run;
    /* as it is listed; text is the beginning of its statement */
    struct str id, text;
    bool text_is_cut;
    int64_t since_ms, since_us;
    deadline_ms deadline;
    struct query *before, *after; /* guarded by the service's lock */
    bool is_listed;               /* guarded by the service's lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock */
    struct arena arena;
    struct map by_name;      /* struct query_pin */
    struct query_pin **pins; /* by number, PINS_MAX of them at most */
    size_t pin_count, pin_cap;
    uint64_t file_count;
    struct query_object objects[OBJECTS_MAX];
    uint64_t clock;
    struct query_write write;
    /* to begin again, after a conflict: */
    struct buf payload;
    int staged_fd;           /* of an upsert; -1: it is a statement */
    struct str batch_id;     /* of an upsert; empty: none */
    struct str upserts_into; /* the uuid of its table */
    unsigned attempts;
};

/** A query that has not begun; query_free. */
struct query *query_new(struct query_service *service, deadline_ms deadline);
/** Begin: its engine asks from then on. */
enum status query_submit(struct query *query, struct err *err) MUST_USE;

/** The pin of a name, made if need be; its catalogue errors are remembered, so that a name means
 * one thing in a statement. Not busy. */
enum status query_pin_get(struct query *query, struct str ns, struct str name,
                          const struct catalog_at *at, struct query_pin **out,
                          struct err *err) MUST_USE;
/** The same where a view will not do: E_INVALID. */
enum status query_pin_table(struct query *query, struct str ns, struct str name,
                            const struct catalog_at *at, struct query_pin **out,
                            struct err *err) MUST_USE;
enum status query_pin_by_number(struct query *query, uint64_t number, struct query_pin **out,
                                struct err *err) MUST_USE;
/** Wait until a flag guarded by the query's lock is down, and raise it; lower it. */
void query_claim(struct query *query, bool *busy);
void query_release(struct query *query, bool *busy);
/** Give its files their numbers without reading which they are: there are `count`. */
enum status query_pin_numbers(struct query *query, struct query_pin *pin, uint64_t count,
                              struct err *err) MUST_USE;
/** Its files are known after it, and have numbers. */
enum status query_pin_files(struct query *query, struct query_pin *pin, struct err *err) MUST_USE;
/** The file of a number: a data file, or behind those a delete file. */
enum status query_pin_file(struct query *query, uint64_t number, const struct catalog_file **out,
                           struct err *err) MUST_USE;
void query_pins_free(struct query *query);

/** Views: views.c. Into `pin->view`. */
enum status query_view_read(struct query *query, const struct table_summary *view,
                            struct query_pin *pin, struct err *err) MUST_USE;
/** A namespace as SQL spells it, a value. */
enum status query_write_schema(struct json_writer *w, struct str ns, struct err *err) MUST_USE;
/** What is known of a column in each file: bounds.c. */
enum status query_bounds(struct query *query, yyjson_val *args, struct buf *reply,
                         struct err *err) MUST_USE;

/** Delete files: deletes.c. E_UNSUPPORTED names what cannot be read. */
enum status query_deletes_check(struct query_pin *pin, struct err *err) MUST_USE;
/** Has the spec a field that is more than void? Then its deletes by value count in their partition
 * only. */
enum status query_deletes_are_local(const struct ice_metadata *metadata, int32_t spec_id, bool *out,
                                    struct err *err) MUST_USE;
/** "files" and "deletes" of a table that has any. */
enum status query_deletes_write(struct json_writer *w, const struct query_pin *pin, bool by_name,
                                struct err *err) MUST_USE;

/** Files: a descriptor where the store has one, else bytes. */
enum status query_file_open(struct query *query, uint64_t file, int *fd_out, uint64_t *size_out,
                            struct err *err) MUST_USE;
enum status query_file_read(struct query *query, uint64_t file, uint64_t offset, uint64_t length,
                            struct buf *out, struct err *err) MUST_USE;
void query_objects_free(struct query *query);

/** The list of what runs: running.c. */
enum status query_running_note(struct query *query, const struct query_opts *opts,
                               /* before its job begins: no lock is held */
                               struct err *err) MUST_USE;
void query_running_add(struct query *query);
void query_running_remove(struct query *query);

/** What `vector_search` asks: vectors.c. */
enum status query_nearest(struct query *query, yyjson_val *args, struct buf *reply,
                          struct err *err) MUST_USE;
/** And `vector_items`. */
enum status query_items(struct query *query, yyjson_val *args, struct buf *reply,
                        struct err *err) MUST_USE;

/** What the engine asks: the call of its job. */
enum status query_answer(void *ctx, struct str name, yyjson_val *args, struct buf *reply,
                         int *fd_out, struct err *err);

#endif
