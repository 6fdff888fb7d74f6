/*
 * Named vector indexes that are durable: string ids, JSON metadata, filters; over one `store`.
 *
 *   writes --> group of batches --> one log object --> applied in order --> answered
 *                                        |
 *   open  <-- snapshot + log objects behind it          (store: `_lake/vectors/by-id/<uuid>/...`)
 *
 * A batch is checked whole before anything is written; it is visible no earlier than durable and no
 * later than its call returns OK. When its log object cannot be written nothing of it is applied.
 * An index is opened on first use and closed when memory is short and nobody uses it. There is one
 * writer an index in all processes of a store: opening for writing raises the pointer's epoch, and
 * who meets a newer epoch stops acknowledging writes and goes on serving reads (E_CONFLICT), until
 * a write finds that the other has written nothing for five seconds: then the role is taken back.
 *
 * Calls block (store, locks) and may be made from any thread. Searches wait for no writer. Names
 * of indexes may be aliases everywhere but in coll_create and coll_drop. What is given back lies in
 * the caller's arena.
 */
#ifndef COLLECTION_COLLECTION_H
#define COLLECTION_COLLECTION_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "store/store.h"
#include "vector/lakevec.h"

enum {
    COLL_ID_MAX = 512,             /* bytes of UTF-8, at least one, no NUL */
    COLL_METADATA_MAX = 64 * 1024, /* bytes of JSON */
    COLL_NAME_MAX = 80,            /* characters, see DESIGN 8 */
    COLL_PAGE_MAX = 10000,
};

struct coll_service;

struct coll_service_opts {
    struct store *store;     /* borrowed */
    struct metrics *metrics; /* borrowed; NULL: none */
    /* of exact vectors and mapped snapshots; NULL: the system's temporary folder */
    const char *cache_dir;
    uint64_t memory_limit;       /* of all indexes together; 0: half of the machine's memory */
    uint64_t index_memory_limit; /* of one; 0: memory_limit */
    uint32_t k_max;              /* 0: 10,000 */
    uint32_t maintain_threads;   /* 0: 1 */
    /* log behind a snapshot from which on the next is made; 0: 64 MiB */
    uint64_t snapshot_log_bytes;
    /* rows of items that a snapshot writes together, rounded up to a multiple of 256; 0: those of
     * about 4 MiB of vectors */
    uint32_t snapshot_part_rows;
    bool read_only;                 /* never raises an epoch, answers writes E_CONFLICT */
    const struct lake_clock *clock; /* NULL: the machine's */
};
enum status coll_service_open(const struct coll_service_opts *opts, struct coll_service **out,
                              struct err *err) MUST_USE;
/** Waits for what runs; NULL is fine. */
void coll_service_close(struct coll_service *service);
/** OK, or the first index that is stopped and why. The others work on. Logs of indexes that nobody
 * has opened are checked in the background from the start on; asking waits for nothing. */
enum status coll_service_ready(struct coll_service *service, struct err *err) MUST_USE;
/** Work now instead of in the background: link, snapshot, trim the log of this index (tests,
 * `warm`). */
enum status coll_settle(struct coll_service *service, struct str name, bool snapshot,
                        struct err *err) MUST_USE;

/* --- indexes --- */

struct coll_spec {
    struct str name;
    uint32_t dimension;
    enum vec_metric metric;
    uint32_t m, ef_construction, ef_search; /* 0: the default */
    /* of coll_create: whose m and ef_construction stand in place of zeros. It is not stored */
    enum vec_preset preset;
};
struct coll_info {
    struct coll_spec spec; /* with the values that work in place of zeros */
    struct str uuid;
    uint64_t length; /* of a closed one as last known */
    /* false of one that is stopped or cannot be read, and in lists of very many until the
     * background has looked: `length` is 0 then and says nothing */
    bool length_known;
    uint64_t memory_bytes; /* 0 when it is closed */
    bool open, writable;
    struct str stopped; /* why it answers nothing; empty: it works */
};
/** Errors  E_EXISTS (an index or alias of that name), E_INVALID */
enum status coll_create(struct coll_service *service, const struct coll_spec *spec,
                        struct arena *arena, struct coll_info *info_out, struct err *err) MUST_USE;
/** E_NOT_FOUND. Its objects are deleted behind; a new index of the name has another uuid. */
enum status coll_drop(struct coll_service *service, struct str name, struct err *err) MUST_USE;
enum status coll_info(struct coll_service *service, struct str name, struct arena *arena,
                      struct coll_info *info_out, struct err *err) MUST_USE;
/** By name; opens none. Names that other processes made or dropped are seen. */
enum status coll_list(struct coll_service *service, struct arena *arena, struct coll_info **out,
                      size_t *count_out, struct err *err) MUST_USE;

struct coll_alias {
    struct str alias, index;
};
/** Made or switched in one step. E_NOT_FOUND (the index), E_EXISTS (an index has that name). */
enum status coll_alias_set(struct coll_service *service, struct str alias, struct str index,
                           struct err *err) MUST_USE;
enum status coll_alias_drop(struct coll_service *service, struct str alias,
                            struct err *err) MUST_USE;
enum status coll_alias_list(struct coll_service *service, struct arena *arena,
                            struct coll_alias **out, size_t *count_out, struct err *err) MUST_USE;

/* --- items --- */

enum coll_add_mode { COLL_UPSERT, COLL_INSERT, COLL_UPDATE };

struct coll_item {
    struct str id;
    const float *vector; /* [dimension]; NULL in answers without vectors */
    struct str metadata; /* a JSON object; `{}` clears it; empty: what is there stays */
};
struct coll_added {
    uint64_t added, updated; /* together the distinct ids */
    uint64_t length;         /* afterwards */
};
/**
 * All or nothing, as if applied in order.
 *
 * Errors   E_INVALID names the item (its position) and what is wrong: id, dimension is the
 *          caller's,
 *          numbers, norm, metadata that is no object or too large; E_EXISTS / E_NOT_FOUND (modes
 *          insert, update), E_NO_MEMORY (memory limits: 507), E_UNAVAILABLE (the log could not be
 *          written: nothing was applied), E_CONFLICT (another process writes this index now)
 */
enum status coll_add(struct coll_service *service, struct str name, const struct coll_item *items,
                     size_t count, enum coll_add_mode mode, struct coll_added *out,
                     struct err *err) MUST_USE;
/** Replace the metadata alone (`merge`: by RFC 7396). E_NOT_FOUND. */
enum status coll_patch(struct coll_service *service, struct str name, struct str id,
                       struct str metadata, bool merge, struct err *err) MUST_USE;
/** E_NOT_FOUND (index or id). Vectors are the floats that were put, bit for bit. */
enum status coll_get(struct coll_service *service, struct str name, struct str id, bool with_vector,
                     struct arena *arena, struct coll_item *out, struct err *err) MUST_USE;

/** Which items a call is about: exactly one of the three. `filter` is JSON text (filter.h). */
struct coll_which {
    const struct str *ids;
    size_t id_count;
    struct str filter;
    bool all;
};
enum status coll_delete(struct coll_service *service, struct str name,
                        const struct coll_which *which, uint64_t *deleted_out,
                        struct err *err) MUST_USE;
/** `filter` empty: all. */
enum status coll_count(struct coll_service *service, struct str name, struct str filter,
                       uint64_t *count_out, struct err *err) MUST_USE;

struct coll_page {
    struct str after; /* exclusive; empty: from the start */
    size_t limit;     /* 1 to COLL_PAGE_MAX */
    bool with_vectors;
};
/** In an order that writes do not disturb: an item that is there all the while comes exactly once.
 * `next_out` is empty at the end; it is opaque. */
enum status coll_items(struct coll_service *service, struct str name, const struct coll_page *page,
                       struct arena *arena, struct coll_item **items_out, size_t *count_out,
                       struct str *next_out, struct err *err) MUST_USE;

/* --- search --- */

struct coll_query {
    const float *vectors; /* [vector_count][dimension]; NULL: by `id` */
    size_t vector_count;
    struct str id;       /* the vector of this item */
    uint32_t k, ef;      /* 0: 10, and the index's */
    float recall_target; /* 0: none */
    struct str filter;   /* JSON text; empty: none */
    /* of each vector its own instead, [vector_count], empty: none; NULL: `filter` is that of all */
    const struct str *filters;
    bool exact;
    bool has_max_distance;
    double max_distance; /* inclusive */
    bool with_vectors, with_metadata;
};
struct coll_hit {
    struct str id;
    double distance; /* cosine 1 - cos in [0, 2], l2 Euclidean, dot -(q.x) */
    struct str metadata;
    const float *vector;
};
struct coll_hits {
    struct coll_hit *items; /* nearest first, each id once */
    size_t count;
};
struct coll_answer {
    struct coll_hits *queries; /* [vector_count], or one */
    size_t query_count;
    uint32_t ef_used; /* the largest; 0: by scan */
    bool target_missed;
    const char *plan;      /* "graph", "scan", "filter:index+scan", ...; static text */
    uint64_t filter_count; /* items that the filter lets through */
    /* of several filters plan and filter_count tell of the last vector's */
};
/** E_INVALID (k, ef, numbers, filter), E_NOT_FOUND (index, id). */
enum status coll_search(struct coll_service *service, struct str name,
                        const struct coll_query *query, struct arena *arena,
                        struct coll_answer *out, struct err *err) MUST_USE;

/** The dimension, for who must read vectors before it calls. */
enum status coll_dimension(struct coll_service *service, struct str name, uint32_t *out,
                           struct err *err) MUST_USE;

/** True when the index is open now, so that a search of it opens nothing and asks no store, and has
 * little that is in no graph yet and would be scanned. Never waits long. */
bool coll_is_quick(struct coll_service *service, struct str name);

/* --- care --- */

enum status coll_compact(struct coll_service *service, struct str name, struct err *err) MUST_USE;
/** A new graph beside the old one, switched when it is whole. */
enum status coll_rebuild(struct coll_service *service, struct str name, struct err *err) MUST_USE;
enum status coll_warm(struct coll_service *service, struct str name, struct err *err) MUST_USE;

struct coll_stats {
    struct coll_info info;
    struct vec_stats graph;
    uint64_t deleted; /* slots that wait to be used again */
    uint64_t vector_bytes, id_bytes, metadata_bytes, field_index_bytes; /* memory by part */
    uint64_t log_tail_objects, log_tail_bytes; /* behind the last snapshot */
    uint64_t snapshot_sequence;
    /* last measured, k = 10 and the index's ef; negative: never, where there is no graph */
    double recall;
    uint64_t plans_graph, plans_scan, plans_exact; /* searches since it was opened */
};
enum status coll_stats(struct coll_service *service, struct str name, struct arena *arena,
                       struct coll_stats *out, struct err *err) MUST_USE;

#endif
