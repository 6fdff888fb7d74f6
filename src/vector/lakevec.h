/*
 * lakevec: nearest neighbours of vectors, in memory, in C.
 *
 * An index holds vectors of one dimension under 32-bit slots. Adding stores a vector; linking puts
 * it into the graph that searches walk, and is done by vec_maintain, which any number of threads
 * may call beside searches and adds. A vector is found from the moment it was added: what is not
 * linked yet is scanned. There are no threads and no I/O in here.
 *
 * A stored vector is a row of 12 bits a dimension with a scale of its own (of floats, up to 32
 * dimensions), counted from a centre that the first vectors make; distances are those to the row.
 * The vector as it came is not kept.
 */
#ifndef VECTOR_LAKEVEC_H
#define VECTOR_LAKEVEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default) /* all that a shared library of it offers */

enum {
    VEC_DIMENSION_MAX = 4096,
    VEC_K_MAX = 10000,
    VEC_EF_MAX = 10000,
};

/** What is near: VEC_L2 squared Euclidean distance, VEC_COSINE 1 - cosine, VEC_DOT minus the dot
 * product. */
enum vec_metric { VEC_L2, VEC_COSINE, VEC_DOT };

/** Processors' instructions; answers and index are the same on each. */
enum vec_isa { VEC_ISA_BEST, VEC_ISA_PLAIN, VEC_ISA_AVX2, VEC_ISA_AVX512 };

struct vec_index;
struct vec_scratch;

enum { VEC_M_DEFAULT = 32, VEC_EF_CONSTRUCTION_DEFAULT = 200, VEC_EF_DEFAULT = 64 };

/** Which defaults m and ef_construction have: what searches best, or 16 and 64, which link about
 * twice as fast and need a wider beam for the same recall. */
enum vec_preset { VEC_PRESET_NONE, VEC_PRESET_FAST_BUILD };
enum { VEC_M_FAST_BUILD = 16, VEC_EF_CONSTRUCTION_FAST_BUILD = 64 };

/** Zero means the default. */
struct vec_opts {
    uint32_t dimension; /* 1 to VEC_DIMENSION_MAX; there is no default */
    enum vec_metric metric;
    uint32_t m;               /* links a vector chooses: 4 to 32, default 32 */
    uint32_t ef_construction; /* 32 to 1000, default 200 */
    uint32_t graph_min;       /* vectors from which on there is a graph: default 5000 */
    uint64_t seed;
    enum vec_isa isa;
    enum vec_preset preset; /* not stored: m and ef_construction are */
};

struct vec_hit {
    uint32_t slot;
    float distance;
};

/** Slots that a search may give: an ascending list or bits, not both; neither names none. Borrowed
 * for the search. Slots that hold nothing, and such beyond the end, may be named; they are not
 * found. */
struct vec_filter {
    const uint32_t *slots;
    const uint64_t *bits;
    uint64_t slot_count; /* of the list; or of bits that are set, 0 where nobody has counted them */
    uint64_t word_count; /* of bits */
};

enum vec_plan {
    VEC_PLAN_GRAPH,      /* a walk, approximate */
    VEC_PLAN_SCAN_CODES, /* all codes that the filter allows, then the rows that may be nearest */
    VEC_PLAN_SCAN_ROWS,  /* all rows that it allows */
};

/** What a search did. */
struct vec_report {
    enum vec_plan plan;
    uint32_t ef_used;   /* 0 for a scan */
    bool target_missed; /* the recall that was asked for may not have been reached */
};

struct vec_search_opts {
    uint32_t k;  /* 1 to VEC_K_MAX; default 10 */
    uint32_t ef; /* the beam: default 64, at least k, at most VEC_EF_MAX */
    /* 0.90 to 0.999: picks ef, which must be 0 then, from what vec_maintain has measured on this
     * index; where that does not reach, or is not there yet, all is scanned, or, when that would
     * take more than about 20 ms, the widest beam is taken and the target may be missed. 0: none */
    float recall_target;
    const struct vec_filter *filter; /* NULL: all slots */
    struct vec_report *report;       /* NULL, or to be filled in */
};

struct vec_stats {
    uint64_t count;           /* vectors */
    uint64_t slots;           /* in use, or free to be used again */
    uint64_t linked;          /* vectors in the graph */
    uint64_t memory_bytes;    /* of rows, codes and links, in memory that was loaded too */
    uint64_t snapshot_bytes;  /* copied for the snapshot that is held */
    uint64_t held_slots;      /* free, and kept as they were for the oldest search under way */
    uint64_t held_bytes;      /* likewise, of chunks that grew */
    bool unchecked;           /* some of what was loaded was not read yet */
    uint32_t code_dimensions; /* kept in the codes that searches walk on; 0 without a graph */
    uint32_t code_bits;
};

/**
 * Errors   E_INVALID names the option; E_UNSUPPORTED for an isa that this processor has not
 * Owns     the caller frees the index with vec_free, when nobody uses it any more
 */
MUST_USE enum status vec_new(const struct vec_opts *opts, struct vec_index **out, struct err *err);
void vec_free(struct vec_index *index);

/** Working memory of one thread at a time, for one index; freed before the index. */
MUST_USE enum status vec_scratch_new(struct vec_index *index, struct vec_scratch **out,
                                     struct err *err);
void vec_scratch_free(struct vec_scratch *scratch);

/**
 * Store a vector; it is found from now on.
 *
 * Shapes   vector [dimension]
 * Errors   E_INVALID for a component that is no number, a squared norm above 1e30, or under cosine
 *          below 1e-30; E_NO_MEMORY; E_UNAVAILABLE when a search, or vec_pin, that does not end
 *          holds back more free slots than there are vectors, and 65,536: nothing was added
 * Threads  safe beside everything
 */
MUST_USE enum status vec_add(struct vec_index *index, const float *vector, uint32_t *slot_out,
                             struct err *err);

/**
 * Take a vector out: it is not found any more. Its slot is used again when no search is left that
 * may have met it, so a slot that a search has given may belong to another vector when the search
 * is over; who maps slots to names of its own must pin what it reads as searches do, or ask again.
 *
 * Errors   E_NOT_FOUND; E_NO_MEMORY: it is still there
 * Threads  safe beside everything; linking waits for it, searches do not
 * Cost     about that of an insertion: its neighbours are given links to each other
 */
MUST_USE enum status vec_delete(struct vec_index *index, struct vec_scratch *scratch, uint32_t slot,
                                struct err *err);

/**
 * Between these two no slot that was live at vec_pin, or became live since, is used again for
 * another vector: what a search gave may be looked up. Searches of the scratch may stand between;
 * they nest. A pin holds freed memory back: keep it short.
 */
void vec_pin(struct vec_index *index, struct vec_scratch *scratch);
void vec_unpin(struct vec_scratch *scratch);

/**
 * The `k` nearest that the filter allows, nearest first, ties by slot. Approximate where there is
 * a graph; with a filter that allows few the search scans them, as soon as that is estimated to be
 * cheaper than the walk. A vector that is there during all of the search can be found, and so can
 * one that was added before another one went: who replaces by adding and then deleting is found
 * in either version, or in both.
 *
 * Shapes   query [dimension]; hits_out [k]
 * Returns  *found_out <= k; fewer only when the index holds fewer that are allowed
 * Errors   E_INVALID for k, ef, or a query that could not be added; E_NO_MEMORY
 * Threads  safe beside everything; takes no lock
 * Cost     no allocation once the scratch is warm
 * Source   Malkov and Yashunin, arXiv:1603.09320, algorithms 2 and 5
 */
MUST_USE enum status vec_search(struct vec_index *index, struct vec_scratch *scratch,
                                const float *query, const struct vec_search_opts *opts,
                                struct vec_hit *hits_out, uint32_t *found_out, struct err *err);

/**
 * `count` queries, a few at once so that one computes while another waits for memory: the same
 * answers as from one after the other.
 *
 * Shapes   queries [count][dimension]; hits_out [count][k]; found_out [count]
 * Returns  opts->report tells of the last query; target_missed, whether one was
 * Errors   as vec_search, before anything was searched; E_NO_MEMORY also later, when some of
 *          hits_out has been written
 */
MUST_USE enum status vec_search_batch(struct vec_index *index, struct vec_scratch *scratch,
                                      const float *queries, uint32_t count,
                                      const struct vec_search_opts *opts, struct vec_hit *hits_out,
                                      uint32_t *found_out, struct err *err);

/** As vec_search, by a scan of all rows that the filter allows; `ef` does not matter. */
MUST_USE enum status vec_exact(struct vec_index *index, struct vec_scratch *scratch,
                               const float *query, const struct vec_search_opts *opts,
                               struct vec_hit *hits_out, uint32_t *found_out, struct err *err);

/**
 * Do background work: train the codes when there are enough vectors, link what is not linked, then
 * measure which beam gives which recall, each time the index has doubled or changed as much.
 *
 * Returns  *left_out is true when there is more to be done
 * Threads  any number at once, each with its own scratch; one thread and equal calls give equal
 *          graphs, byte for byte
 * Cost     at most about `budget_us`, but training is one step (2 s at most)
 */
MUST_USE enum status vec_maintain(struct vec_index *index, struct vec_scratch *scratch,
                                  uint64_t budget_us, bool *left_out, struct err *err);

/** Which share of the 10 nearest a search with this beam finds (0: VEC_EF_DEFAULT), as vec_maintain
 * measured it last; between two beams that were measured, about. Negative: it was not measured yet.
 * Threads  safe beside everything; takes no lock */
double vec_recall(const struct vec_index *index, uint32_t ef);

/** The row as floats; E_NOT_FOUND when the slot holds nothing. */
MUST_USE enum status vec_get(struct vec_index *index, uint32_t slot, float *vector_out,
                             struct err *err);

/** Cost  none to speak of; it waits for a vector that is being added or taken out */
void vec_stats(struct vec_index *index, struct vec_stats *out);

/** Slots in the graph that no walk from the entry point reaches; nobody may be linking. */
MUST_USE enum status vec_unreachable(struct vec_index *index, uint64_t *count_out, struct err *err);

/* --- saving and loading; docs/formats/vector-index.md --- */

/** A state of the index that is kept while the index goes on changing: manifest and chunks. */
struct vec_snapshot;

struct vec_chunk_info {
    uint32_t number;  /* from 0 to vec_snapshot_chunks - 1 */
    uint64_t version; /* equal number and version in two snapshots of an index, also of what was
                       * loaded from one: equal bytes, which need not be stored again */
    uint64_t bytes;   /* at most 64 MiB; 0: nothing is to be stored */
};

/**
 * The state at this moment. Writers copy what it needs before they change it, 256 slots at a time;
 * nobody waits until it is stored.
 *
 * Errors   E_CONFLICT while another is held; E_NO_MEMORY; E_CORRUPT when the index was loaded and
 *          is damaged: what is stored is what was checked
 * Owns     the caller frees it, before the index
 * Threads  safe beside everything; adding and taking out wait for it. One thread at a time uses it
 * Cost     no vector is copied; the index must be checked first if it was loaded
 */
MUST_USE enum status vec_snapshot_take(struct vec_index *index, struct vec_snapshot **out,
                                       struct err *err);
uint32_t vec_snapshot_chunks(const struct vec_snapshot *snapshot);
/**
 * Owns     *bytes_out is valid until the snapshot's next call; NULL: they are not wanted, and
 *          not made
 * Errors   E_NOT_FOUND; E_NO_MEMORY, also when a copy could not be made: then the snapshot is lost
 */
MUST_USE enum status vec_snapshot_chunk(struct vec_snapshot *snapshot, uint32_t number,
                                        struct vec_chunk_info *out, const void **bytes_out,
                                        struct err *err);
/** What vec_load begins with. It reads the chunks that were not asked for and are new.
 * Owns     the caller frees it with vec_bytes_free */
MUST_USE enum status vec_snapshot_manifest(struct vec_snapshot *snapshot, void **bytes_out,
                                           size_t *len_out, struct err *err);
/** NULL is fine. */
void vec_snapshot_free(struct vec_snapshot *snapshot);
/** What a function here has allocated for its caller. NULL is fine. */
void vec_bytes_free(void *bytes);

/**
 * Where vec_load finds chunks: in memory of its own that the index may write to, aligned to 64
 * bytes, until `release`. That is a buffer, or a file by mmap with PROT_READ | PROT_WRITE and
 * MAP_PRIVATE: what the index changes is then its own, page by page.
 */
struct vec_chunk_source {
    enum status (*map)(void *ctx, uint32_t number, void **bytes_out, size_t *len_out,
                       struct err *err);
    void (*release)(void *ctx, uint32_t number, void *bytes, size_t len);
    void *ctx;
};

/**
 * The index that was stored: it answers as that one did. What was not linked then is not yet.
 *
 * Chunks of 65,536 vectors stay mapped, and are checked when they are first read: until all is
 * (vec_maintain goes on with it, and links only then), a function may find that a chunk is damaged,
 * and says E_CORRUPT each time; the first delete, exact search or snapshot checks all that is left.
 *
 * Params   opts->isa is taken, opts may be NULL; all else comes from the manifest
 * Errors   E_CORRUPT names what is damaged; E_UNSUPPORTED for a format of another version; what
 *          `map` says. Nothing stays mapped then
 * Owns     `map` is called by vec_load alone; `release` by it or by vec_free
 * Cost     about 30 ms, and 10 ms for each million vectors
 */
MUST_USE enum status vec_load(const struct vec_opts *opts, const void *manifest, size_t len,
                              const struct vec_chunk_source *source, struct vec_index **out,
                              struct err *err);

/**
 * Close the gaps that deletes left, and give memory back.
 *
 * Shapes   map_out [count]: the new slot of what was in a slot, UINT32_MAX where nothing was
 * Errors   E_CONFLICT while a snapshot is held; E_NO_MEMORY, E_CORRUPT: nothing was changed
 * Owns     the caller frees *map_out with vec_bytes_free
 * Threads  nobody else may use the index meanwhile; its scratches stay good
 * Cost     one pass over the links; what stands behind the new end is moved
 */
MUST_USE enum status vec_compact(struct vec_index *index, uint32_t **map_out, uint64_t *count_out,
                                 struct err *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
