/*
 * What the catalogue's tests share: a lake in memory or in a folder, small tables, short appends.
 */
#ifndef TESTS_CATALOG_FIXTURE_H
#define TESTS_CATALOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog/catalog.h"

/** Fails the test with the error's message. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), fixture_err.msg);                  \
        }                                                                                          \
    } while (0)
#define assert_kind(call, kind)                                                                    \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != (kind)) {                                                                   \
            fail_msg("%s: %s (%s), expected %s", #call, status_name(status_), fixture_err.msg,     \
                     status_name(kind));                                                           \
        }                                                                                          \
    } while (0)
#define assert_str(s, text) assert_true(str_eq((s), str_of(text)))

extern _Thread_local struct err fixture_err;
#define ERR (&fixture_err)

struct catalog *fixture_catalog(struct store *store);
struct store *fixture_mem(void);

/** id: long, name: string; with `extra` also a double of that name. Ids 1, 2, 3. */
struct ice_schema *fixture_schema(struct arena *arena, const char *extra);

/**
 * What another program may do to a table: replace the first `from` in its metadata by `to`, write
 * it as a new version, and swap the pointer to it.
 */
void fixture_edit(struct store *store, const char *table, const char *from, const char *to);

struct fixture_append {
    const char *table, *batch;
    const char *file; /* NULL: a fresh name */
    int64_t rows;     /* 0: 1 */
    bool no_create;
    const struct ice_schema *schema; /* NULL: fixture_schema without extra */
    const struct ice_schema *evolved;
    struct store *store; /* where the file's bytes are put; NULL: nowhere */
};
/** Place, then append one file; no bytes are written for it: the catalogue never reads data
 * files. */
enum status fixture_append(struct catalog *catalog, const struct fixture_append *in,
                           struct arena *arena, struct catalog_appended *out, struct err *err);
/** One row in a fresh file, and it must succeed. */
struct catalog_appended fixture_add(struct catalog *catalog, const char *table, const char *batch,
                                    struct arena *arena);
/** "t" or "ns.t", split at the last dot; levels as table_name has them. Borrows. */
struct table_name fixture_name(const char *text);
/** Sum of the record counts of the table's live files, by its manifests. */
int64_t fixture_rows(struct catalog *catalog, const char *table);
/** Number of objects below a prefix. */
size_t fixture_objects(struct store *store, const char *prefix);

#endif
