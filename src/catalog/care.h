/*
 * What the sweep needs of the local driver, and nobody else: every pointer as it is, and a way to
 * make sure that no commit which is on its way can still land. Only for catalog_local_open's.
 */
#ifndef CATALOG_CARE_H
#define CATALOG_CARE_H

#include "catalog/local.h"

struct care_table {
    struct table_name name;
    struct str key;  /* of the pointer */
    struct str uuid; /* of the table, or of the one that the tombstone stands for */
    bool live;
    bool held;                    /* a transaction over several tables has it now */
    bool purge;                   /* of a tombstone */
    bool is_view;                 /* its metadata file is all that it names */
    struct str metadata_location; /* empty: a tombstone that stands for no table */
    struct str location;          /* the folder, a key; empty: not one that we minted */
    int64_t version;
};
/**
 * Finish, or take back, what processes have begun and not lived to end: renames (older than a
 * minute) and drops of namespaces. Beside those that live it does no harm.
 */
enum status care_clear_up(struct catalog *catalog, struct err *err) MUST_USE;
/** All pointers of the warehouse, read fresh. Each table that is there is among them, also one that
 * gets another name meanwhile. */
enum status care_tables(struct catalog *catalog, struct arena *arena, struct care_table **out,
                        size_t *count_out, struct err *err) MUST_USE;
/** One of them; *found_out false: there is none of that name. */
enum status care_table(struct catalog *catalog, const struct table_name *name, struct arena *arena,
                       bool *found_out, struct care_table *out, struct err *err) MUST_USE;
/**
 * Swap the pointer to what it says already under a fresh commit id; where there is none, make a
 * tombstone for `uuid`. Every commit whose base was read before can only lose from now on.
 */
enum status care_fence(struct catalog *catalog, const struct table_name *name, struct str uuid,
                       struct err *err) MUST_USE;
/** What the keys of records of transactions over several tables begin with. */
enum status care_transactions(struct catalog *catalog, struct arena *arena, struct str *prefix_out,
                              struct err *err) MUST_USE;
/** Is the one with that record decided? One that is not will be: it is aborted. */
enum status care_transaction_over(struct catalog *catalog, struct str key, bool *over_out,
                                  struct err *err) MUST_USE;
/** Note files that nothing names; their grace starts now. */
enum status care_throw_away(struct catalog *catalog, struct str uuid, const struct str *keys,
                            size_t count, struct err *err) MUST_USE;
/** Note everything of a dropped table, unless that was done. */
enum status care_purge(struct catalog *catalog, const struct care_table *table,
                       struct err *err) MUST_USE;
/** Whose files are referenced: live tables and views, and tombstones without purge. */
static inline bool care_names_files(const struct care_table *table)
{
    return table->metadata_location.len > 0 && (table->live || !table->purge);
}

#endif
