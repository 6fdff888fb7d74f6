/*
 * What tables exist. State lies on the store itself: one pointer object per table, swapped by
 * conditional PUT; everything else is immutable. docs/formats/catalog.md has the objects,
 * docs/decisions the protocol.
 *
 * Two drivers: `local` works on a store, `http` asks another process' catalogd. Both are thread
 * safe; no lock is held across I/O.
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include "base/clock.h"
#include "base/metrics.h"
#include "iceberg/manifest.h"
#include "iceberg/metadata.h"
#include "store/store.h"

struct catalog;

/** Levels of a namespace are joined by this byte, in table_name.ns and wherever a namespace is a
 * str. */
enum { CATALOG_NS_SEPARATOR = 0x1f, CATALOG_NS_LEVELS_MAX = 32 };

struct table_name {
    struct str ns; /* one level or several */
    struct str name;
};
/**
 * Split and check the text form: "t", "ns.t", "a.b.t"; a bare name is in `main`. Parts are 1 to 80
 * characters of UTF-8 without control characters; one with '/', '.' or a quote in it stands in
 * double quotes, a double quote in it twice. Else E_INVALID.
 *
 * Owns     the parts are in `arena`; "main" is static
 */
enum status table_name_parse(struct arena *arena, struct str text, struct table_name *out,
                             struct err *err) MUST_USE;
/** "t" for main.t, else "ns.t"; parts with odd characters in quotes. table_name_parse reads it. */
enum status table_name_print(const struct table_name *name, struct buf *out) MUST_USE;
/** The same of a namespace alone: "a.b" is two levels. */
enum status table_name_parse_ns(struct arena *arena, struct str text, struct str *out,
                                struct err *err) MUST_USE;
enum status table_name_print_ns(struct str ns, struct buf *out) MUST_USE;
/** What /v1 may make tables of: one level of namespace, and no '/', '.' or quotes. E_INVALID. */
enum status table_name_check_plain(const struct table_name *name, struct err *err) MUST_USE;
/** The namespace as SQL's schema: one level as it is; several joined by dots, levels with a dot or
 * a double quote in them in double quotes. */
enum status table_name_schema(struct str ns, struct buf *out) MUST_USE;
/** The namespaces that a schema of SQL can mean, the likeliest first; one is the usual case.
 * Borrows from `schema`, or in `arena`. */
enum status table_name_of_schema(struct arena *arena, struct str schema, struct str out[2],
                                 size_t *count_out, struct err *err) MUST_USE;

/** What the pointer of a table says by itself; no metadata is read for it. */
struct table_summary {
    struct table_name name;
    struct str uuid;        /* dataset_id */
    struct str fingerprint; /* hex */
    int64_t snapshot_id;    /* -1: empty table */
    int64_t row_count, file_count, size_bytes, updated_ms;
    struct str metadata_location; /* URI */
    int64_t version;
    bool is_view; /* then uuid, updated_ms, metadata_location and version are what it has */
};

/** Tables and views share their names: where one is, the other cannot be made. */
enum catalog_kind { CATALOG_TABLE, CATALOG_VIEW, CATALOG_EITHER /* of lists only */ };

struct catalog_list_opts {
    struct str ns;    /* empty: all */
    struct str after; /* printed name, exclusive */
    size_t limit;     /* 0: 1000, at most 10000 */
    enum catalog_kind kind;
};
/** A table whose pointer is there and cannot be understood. */
struct catalog_damaged {
    struct table_name name;
    enum status kind; /* E_CORRUPT, or E_UNSUPPORTED: a newer program has written it */
    struct str why;
};
/** A page of tables, of views, or of both. The limit is of both arrays together, so that every name
 * is on one page. What is damaged is told with the tables: nobody can say what it was. */
struct catalog_list {
    struct table_summary *tables; /* in byte order of the printed name */
    size_t count;
    struct catalog_damaged *damaged; /* in the same order */
    size_t damaged_count;
    struct str next; /* empty: no more */
};
/** One damaged table is no reason to hide the others; a store that does not answer is an error. */
enum status catalog_list(struct catalog *catalog, const struct catalog_list_opts *opts,
                         struct arena *arena, struct catalog_list *out, struct err *err) MUST_USE;

/** E_NOT_FOUND names near misses. The exact spelling first, else (`nocase`) the only match ignoring
 * case, else E_INVALID. */
enum status catalog_find(struct catalog *catalog, const struct table_name *name, bool nocase,
                         struct arena *arena, struct table_summary *out, struct err *err) MUST_USE;
/** The same of views: a table of that name is E_NOT_FOUND here, as a view is there. */
enum status catalog_find_view(struct catalog *catalog, const struct table_name *name, bool nocase,
                              struct arena *arena, struct table_summary *out,
                              struct err *err) MUST_USE;
/** Whichever of the two it is: `out->is_view`. */
enum status catalog_find_any(struct catalog *catalog, const struct table_name *name, bool nocase,
                             struct arena *arena, struct table_summary *out,
                             struct err *err) MUST_USE;

/** Those directly below `parent` (empty: of one level) that are live, whole names in byte order.
 * E_NOT_FOUND: the parent. Of the local driver only. Owns: in `arena`. */
enum status catalog_namespaces(struct catalog *catalog, struct str parent, struct arena *arena,
                               struct str **names_out, size_t *count_out, struct err *err) MUST_USE;
struct catalog_namespace {
    struct str uuid;
    const struct ice_property *properties; /* "location", a URI, among them */
    size_t property_count;
};
/** E_NOT_FOUND. Of the local driver only. Owns: in `arena`. */
enum status catalog_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                              struct catalog_namespace *out, struct err *err) MUST_USE;

/** The JSON behind a table_summary's metadata_location, byte for byte, appended. */
enum status catalog_metadata_text(struct catalog *catalog, struct str location, struct buf *out,
                                  struct err *err) MUST_USE;

/** The same without the snapshots that no branch or tag names, appended. E_CORRUPT: no JSON. */
enum status catalog_metadata_refs(struct catalog *catalog, struct str location, struct buf *out,
                                  struct err *err) MUST_USE;

/** The table's own location, a URI without a slash at its end, out of the metadata at
 * `metadata_location`. */
enum status catalog_location(struct catalog *catalog, struct str metadata_location,
                             struct arena *arena, struct str *out, struct err *err) MUST_USE;

/* --- reading a snapshot --- */

/** One table as of one moment. Nothing in it changes. */
struct catalog_pin {
    struct table_summary table;          /* in the pin's arena */
    struct ice_metadata *metadata;       /* referenced */
    const struct ice_snapshot *snapshot; /* NULL: no data */
    const struct ice_schema *schema;     /* the table's current one, or for AT the snapshot's */
    struct arena arena;
    /* private: the cached manifests that catalog_files points into */
    struct pin_holds *holds;
};
enum catalog_at_kind {
    CATALOG_AT_CURRENT,
    CATALOG_AT_VERSION /* snapshot id, or ref name when `ref` is set */,
    CATALOG_AT_TIMESTAMP
};
struct catalog_at {
    enum catalog_at_kind kind;
    int64_t value; /* snapshot id, or ms since 1970 */
    struct str ref;
};
/** E_NOT_FOUND for a table; for a version or time that does not exist the message names those there
 * are. */
enum status catalog_pin(struct catalog *catalog, const struct table_name *name, bool nocase,
                        const struct catalog_at *at, struct catalog_pin **out,
                        struct err *err) MUST_USE;
/** The same of a table that has been found. */
enum status catalog_pin_table(struct catalog *catalog, const struct table_summary *table,
                              const struct catalog_at *at, struct catalog_pin **out,
                              struct err *err) MUST_USE;
void catalog_unpin(struct catalog_pin *pin);

/**
 * The live files of a pinned snapshot, from manifests in a bounded cache: data files, and apart
 * from them the delete files that a reader must apply. Keys are `store` keys (the URI mapped by the
 * lake's roots); a path outside all roots is E_INVALID.
 *
 * Owns     the arrays are in `arena`; keys, `file` and what it points to live as long as both
 */
struct catalog_file {
    struct str key;
    /* the registered key it came from, or empty; filled by catalog_sources only */
    struct str source;
    const struct ice_data_file *file;    /* statistics with bounds */
    const struct ice_manifest *manifest; /* that it stands in */
};
struct catalog_files {
    struct catalog_file *files;
    size_t count;
    struct catalog_file *deletes; /* position and equality deletes */
    size_t delete_count;
};
enum status catalog_files(struct catalog *catalog, const struct catalog_pin *pin,
                          struct arena *arena, struct catalog_files *out, struct err *err) MUST_USE;
/** The manifest list of a pinned snapshot; no rows where it has no snapshot. Lives as long as the
 * pin. */
struct catalog_manifests {
    const struct ice_manifest_file *rows;
    size_t count;
};
enum status catalog_manifests(struct catalog *catalog, const struct catalog_pin *pin,
                              struct catalog_manifests *out, struct err *err) MUST_USE;
/**
 * One manifest of it, held until it is closed: who goes through a table with these holds one
 * manifest at a time.
 */
struct catalog_manifest {
    const struct ice_manifest *manifest; /* NULL: closed */
    struct cache_item *item;             /* private */
};
enum status catalog_manifest_open(struct catalog *catalog, const struct ice_manifest_file *row,
                                  struct catalog_manifest *out, struct err *err) MUST_USE;
void catalog_manifest_close(struct catalog_manifest *manifest); /* fine on a zeroed one */
/** Fill `source` of the files that came by registration: one small read each, the first time. For
 * people; queries need it not. */
enum status catalog_sources(struct catalog *catalog, const struct catalog_pin *pin,
                            struct arena *arena, struct catalog_files *files,
                            struct err *err) MUST_USE;

/* --- writing --- */

/** Appends of one table that arrive together share one commit. */
struct catalog_append {
    struct table_name name;
    struct str batch_id;             /* exactly once; empty: no deduplication */
    const struct ice_schema *schema; /* of the files; ids as they stand in the files */
    /* paths are store keys under the table's location (catalog_place); with statistics by field
     * id */
    const struct ice_data_file *files;
    size_t file_count;
    /* make the table when it is missing (with the `place` below) */
    bool create;
    bool only_new; /* E_CONFLICT when the table is there */
    const struct catalog_place *place;
    /* the files were written under it; the commit fails with E_CONFLICT when the ids do not hold
     * any more. Ignored for a new table */
    int32_t expected_schema_id;
    /* The partition spec by which rows were spread over the files, and for each file the values of
     * its fields, as SQL prints them (.ptr NULL: null); NULL where it has no fields. E_CONFLICT
     * when the table's current spec is another. For a new table: the one of its shape, the id is
     * ignored. */
    int32_t expected_spec_id;
    const struct str *const *parts; /* [file_count][part_count] */
    size_t part_count;
    /* of a new table: JSON {"partition-spec","write-order","properties"}, each as Iceberg's
     * CreateTableRequest has it, with the ids of `schema`; empty: none of these */
    struct str shape;
    /* with ids: becomes the table's schema in the same commit; NULL: no change */
    const struct ice_schema *evolved;
    int32_t evolved_last_column_id;
    /* extra snapshot summary entries, e.g. "lakehouse.rows-skipped" */
    const struct ice_property *summary;
    size_t summary_count;
    /* Registered keys: name = key in the table (one of `files`), value = the user's key. A file
     * whose source the table has taken before is left out. */
    const struct ice_property *sources;
    size_t source_count;
    /* the files carry no field ids: the table gets schema.name-mapping.default */
    bool name_mapping;
    deadline_ms deadline; /* 0: 60 s from now */
};
struct catalog_appended {
    struct str uuid, fingerprint, batch_id;       /* in `arena` */
    int64_t snapshot_id, row_count, committed_ms; /* snapshot_id -1: the table has no data */
    size_t files_added;
    bool created;
    /* An earlier append of the same batch: snapshot_id is the one it landed in, and the files of
     * this one are not in the table. Never for a repeat with the same files. */
    bool deduplicated;
};
/**
 * After an unknown outcome the same append (same batch id, same files) may be sent again, or the
 * same batch with fresh files; files of such an append must not be deleted or used in another
 * batch.
 *
 * Errors   E_CONFLICT (schema moved on: read and try again), E_NOT_FOUND (no table and not
 *          `create`), E_EXISTS (name differs only by case),
 *          E_UNAVAILABLE / E_TIMEOUT: the outcome is unknown only if the message says so; the same
 *          batch id may be sent again
 */
enum status catalog_append(struct catalog *catalog, const struct catalog_append *append,
                           struct arena *arena, struct catalog_appended *out,
                           struct err *err) MUST_USE;

/**
 * Where the files of a table go, asked before they are written: for an existing table its location
 * and schema, for a new one a fresh uuid and location that only a later append with `create` makes
 * real.
 */
struct catalog_place {
    bool exists;
    struct str uuid, location_key; /* "wh/main/main/t-1a2b3c4d" */
    int32_t schema_id, last_column_id;
    const struct ice_schema *schema; /* NULL for a new table */
    struct str fingerprint;
    /* of the table's current partition spec and sort order, JSON arrays (ice_partition_spec_parse,
     * ice_sort_order_parse); empty: none */
    int32_t spec_id, sort_order_id;
    struct str partition_fields, sort_fields;
};
enum status catalog_place(struct catalog *catalog, const struct table_name *name,
                          struct arena *arena, struct catalog_place *out, struct err *err) MUST_USE;
/** Has this batch landed in that table? *found_out with the append's answer. */
enum status catalog_batch(struct catalog *catalog, const struct table_name *name,
                          struct str batch_id, struct arena *arena, bool *found_out,
                          struct catalog_appended *out, struct err *err) MUST_USE;

/** A swap to a tombstone; its files go to the trash with their grace. E_NOT_FOUND. */
enum status catalog_drop(struct catalog *catalog, const struct table_name *name,
                         struct err *err) MUST_USE;

enum status catalog_ready(struct catalog *catalog, struct err *err) MUST_USE;
void catalog_close(struct catalog *catalog);

/* --- drivers --- */

/** The kind of URI that new tables get; those that are there keep theirs. */
enum catalog_uri {
    CATALOG_URI_STORE, /* of the store's own root */
    CATALOG_URI_FILE,  /* file: only; E_INVALID where the store is a bucket */
    CATALOG_URI_S3     /* s3: the store's own root where it is a bucket, else `s3_root` */
};

#define CATALOG_WAREHOUSE_DEFAULT "main"

struct catalog_local_opts {
    struct store *store; /* borrowed */
    /* what the store is called by clients that come through the S3 API: "s3://lake". Static; NULL:
     * nothing */
    const char *s3_root;
    enum catalog_uri uri;
    const char *warehouse; /* NULL: CATALOG_WAREHOUSE_DEFAULT */
    const struct lake_clock *clock;
    struct metrics *metrics; /* may be NULL */
    uint64_t cache_bytes;    /* of parsed metadata and manifests; 0: reader.h says */
    int64_t grace_ms;        /* of trash; 0: one day */
    uint64_t rng_seed;       /* 0: from the system; tests pass one */
    /* extra time to gather appends; default 0: only what arrives while a commit runs */
    int64_t group_wait_ms;
    int64_t backoff_max_ms; /* between lost races; 0: 50, -1: none */
};
enum status catalog_local_open(const struct catalog_local_opts *opts, struct catalog **out,
                               struct err *err) MUST_USE;

struct catalog_http_opts {
    const char *url; /* catalogd */
    struct str cluster_secret;
    /* borrowed: immutable metadata and manifests are read from here directly */
    struct store *store;
    const struct lake_clock *clock;
    uint64_t cache_bytes;
};
enum status catalog_http_open(const struct catalog_http_opts *opts, struct catalog **out,
                              struct err *err) MUST_USE;

#endif
