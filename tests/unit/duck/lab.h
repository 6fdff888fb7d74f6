/*
 * What the tests of duck share: one DuckDB for a program, a lake of tables over Parquet files in a
 * temporary folder, statements as their answers.
 */
#ifndef TESTS_DUCK_LAB_H
#define TESTS_DUCK_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "duck/duck.h"

enum { LAB_TABLES_MAX = 16, LAB_FILES_MAX = 64, LAB_COLUMNS_MAX = 32 };

/* Bounds of one column of a file, as the lake would know them. */
struct lab_bounds {
    int32_t id;
    const char *lower, *upper; /* NULL: unknown */
    int64_t null_count, value_count;
};
struct lab_file {
    const char *name; /* in the folder: opened as lake://lab/<name> */
    int64_t rows;
    bool by_name;
    struct lab_bounds bounds[8]; /* ends with id 0 */
};
struct lab_table {
    const char *ns, *name;
    const struct duck_column *columns;
    size_t column_count;
    struct lab_file files[LAB_FILES_MAX];
    size_t file_count;
    bool with_bounds;
};

/* For cmocka's group: opens DuckDB and the folder, and removes them. */
int lab_open(void **state);
int lab_close(void **state);
/* For each test: no tables, counters at 0. */
int lab_reset(void **state);

struct duck *lab_duck(void);
/** What it names is borrowed until the next lab_reset; it may be changed until a statement asks for
 * it. */
struct lab_table *lab_add(const char *ns, const char *name, const struct duck_column *columns,
                          size_t column_count);
/** A file of the table; `sql` is written with COPY under `options` (", FIELD_IDS {..}" or ""). Rows
 * are counted. */
struct lab_file *lab_write(struct lab_table *table, const char *name, const char *sql,
                           const char *options);
struct duck_session *lab_session(bool trusted);
/** What sessions from now on have for vector_search; NULL: nothing. */
void lab_vectors(const struct duck_vectors *next);

/** How many different data files were opened, and how often tables resolved, since the last
 * call. */
unsigned lab_opens(void);
unsigned lab_resolves(void);
/** Every read takes so long from now on. */
void lab_slow_reads(unsigned us);

/** The whole answer in a format; fails the test on an error. The text lives until the next call. */
const char *lab_query(enum duck_format format, const char *sql, const char *params);
/** JSON_ARRAYS without head and tail: "[1,2],[3,4]". */
const char *lab_rows(const char *sql);
/** The same with every row's text sorted, for answers without an order. */
const char *lab_sorted(const char *sql);
/** The statement must fail, at once or while rows are fetched: its kind, the message is in
 * lab_err. */
enum status lab_error(const char *sql, const char *params);
extern struct err lab_err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status status_ = (call);                                                              \
        if (status_ != OK) {                                                                       \
            fail_msg("%s: %s: %s", #call, status_name(status_), lab_err.msg);                      \
        }                                                                                          \
    } while (0)

/** One value's JSON. */
#define assert_value(sql, json) assert_string_equal(lab_rows("SELECT " sql), "[" json "]")
/** One value's CSV field. */
#define assert_csv(sql, field)                                                                     \
    assert_string_equal(lab_query(DUCK_CSV, "SELECT " sql " AS c", NULL), "c\r\n" field "\r\n")
/** The statement fails with this kind and a message that has `part` in it. */
#define assert_fails(sql, kind, part)                                                              \
    do {                                                                                           \
        enum status failed_ = lab_error((sql), NULL);                                              \
        if (failed_ != (kind) || !strstr(lab_err.msg, (part))) {                                   \
            fail_msg("%s\n  gave %s: %s\n  expected %s: %s", (sql), status_name(failed_),          \
                     lab_err.msg, status_name(kind), (part));                                      \
        }                                                                                          \
    } while (0)

#endif
