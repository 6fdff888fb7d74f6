/*
 * The inside of an index.
 *
 *   view ----> rows[part]     stored rows                    written once, by vec_add
 *         |--> codes[chunk]   code rows                      written once, before a slot is linked
 *         |--> links[chunk]   layer 0: `degree` a node       changed below the node's lock
 *         |--> nodes[chunk]   level, anchor, lock
 *         `--> upper[chunk]   upper layers: m slots a node and level
 *
 * A view is never changed once it is published; growing publishes another one, and what only the
 * old one had is freed when no search is left that may have begun with it (epochs: each scratch
 * says since when it reads). Chunk 0 begins small and is copied while it grows; the others are
 * whole from the start. Everything that searches read and linking changes is a 32-bit word, loaded
 * (acquire) and stored (release): a search may see a node's old or new links, or some of each.
 *
 * Locks, in this order: train, add, grow, entry or a node's, trail. Linking holds grow shared,
 * growing holds it alone. Who changes what is stored of a slot says so before: trail_touch.
 */
#ifndef VECTOR_VEC_PRIV_H
#define VECTOR_VEC_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "vector/codec.h"
#include "vector/trail.h"

enum {
    LEVELS_MAX = 8,
    UPPER_BITS = 8, /* of a chunk of upper layers */
    UPPER_SLOTS = 1 << UPPER_BITS,
    M_MAX = 32,
    LINKS_MAX = 2 * M_MAX,
    AGAIN_MAX = 256,   /* slots that are used again and not linked yet; more are used only later */
    LOG_MAX = 512,     /* the last slots that were used again, and that were taken out */
    SCAN_BLOCK = 8192, /* codes whose distances a scan keeps at a time */
};

enum node_state {
    NODE_NEW,     /* a row that is not in the graph */
    NODE_LINKING, /* somebody is at it */
    NODE_LINKED,
    NODE_GONE, /* no row */
};

struct node {
    _Atomic uint32_t anchor; /* the node whose link to this one is never dropped */
    uint32_t upper;          /* its first row in `upper`, one a level from 1 on */
    _Atomic uint8_t lock;
    _Atomic uint8_t state; /* enum node_state */
    uint8_t level;
};

struct view {
    struct vec_index *index;
    uint32_t chunks, upper_chunks;
    uint32_t first_slots;  /* of chunk 0 */
    struct trail **trails; /* by chunk */
    struct centre *centre; /* of stored rows; NULL: the origin. See centre.h */
    struct codec *codec;   /* NULL: there is no graph yet, nor the next three */
    uint8_t **rows;        /* by part: 1 << row_bits slots, row_parts of them a chunk */
    uint8_t **codes;
    uint32_t **links;
    struct node **nodes;
    uint32_t **upper;
};

struct retired {
    struct retired *next;
    uint64_t epoch;
    void *pages;
    size_t bytes; /* 0: `pages` came from mem_alloc */
};

/** A slot that is free, and when it became so. */
struct freed {
    uint64_t epoch;
    uint32_t slot;
};

/** The last slots that something happened to, and how many there were in all. */
struct slot_log {
    _Atomic uint64_t total;
    _Atomic uint32_t slots[LOG_MAX];
};

struct vec_index {
    struct vec_opts opts;
    struct row_shape shape;
    const struct simd *simd;
    uint32_t degree; /* of layer 0 */
    uint32_t row_bits, row_parts;

    _Atomic(struct view *) view;
    _Atomic uint32_t count;   /* slots that hold a row; published by vec_add */
    _Atomic uint32_t claimed; /* slots that somebody links or has linked */
    _Atomic uint32_t linked;  /* all slots below it are linked, gone, or in `again` */
    /* Slots below `linked` that hold a new row, or NO_SLOT; AGAIN_TAKEN is set while one links. */
    _Atomic uint32_t again[AGAIN_MAX];
    /* What became live below `count` during a search, linked meanwhile or not, and what was taken
     * out of the graph, told before it is. Written by who holds add. */
    struct slot_log reborn, gone;
    _Atomic uint32_t live;  /* vectors */
    _Atomic uint32_t nodes; /* of them, in the graph */
    _Atomic uint64_t entry; /* level << 32 | slot; NO_ENTRY */

    pthread_mutex_t train;
    pthread_mutex_t add;
    pthread_rwlock_t grow;
    pthread_mutex_t entry_lock;

    pthread_mutex_t readers_lock;
    struct vec_scratch *readers; /* guarded by readers_lock, as the next two */
    struct retired *retired;
    _Atomic uint64_t epoch;
    struct freed *freed; /* a ring, oldest first; guarded by add, as what follows */
    size_t freed_first, freed_count, freed_cap;
    uint32_t upper_used;   /* rows; guarded by add */
    float norm2_max;       /* M^2 of dot products, see simd.h; written by who holds add and grow */
    float *early;          /* [CENTRE_ROWS_MAX][padded] vectors, or NULL; see centre.h */
    uint32_t centred_at;   /* slots that there were when the centre was chosen last */
    uint64_t centres;      /* that there have been */
    _Atomic uint32_t root; /* of the anchors; written below entry_lock */
    _Atomic size_t memory_bytes;
    _Atomic(struct curves *) curves; /* NULL until there is a graph to be measured */
    double exact_ns;     /* that a search may cost to meet a recall that the curve does not reach */
    uint32_t plan_tried; /* by tests, before searches begin: 1 + the plan of those with a filter */

    pthread_mutex_t trail_lock;
    struct vec_snapshot *snapshot; /* guarded by trail_lock */
    uint64_t versions;             /* the last that was given; written with add and grow alone */
    uint64_t freed_version;
    struct stored codec_stored; /* as a trail's; see trail.h */
    bool freed_changed;         /* since the last snapshot; guarded by add */
    struct load *load;          /* where it was loaded from, NULL if it was not */
    _Atomic bool unchecked;     /* some of what was loaded */
};
#define NO_ENTRY UINT64_MAX
#define AGAIN_TAKEN 0x80000000u

struct vec_scratch {
    struct vec_index *index;
    struct vec_scratch *next;
    _Atomic uint64_t pinned; /* the epoch in which a search began; 0: none is under way */
    uint32_t pins;           /* that nest */
    uint32_t asked;          /* queries */
    struct beam beam, best;  /* what walks meet; what is ranked by stored rows */
    uint32_t beam_reserved, best_reserved;
    uint64_t *visited;
    size_t visited_words;
    struct code_query code;
    struct code_query other; /* of another node, while links are chosen */
    struct row_query row;
    uint64_t centre;           /* the serial number of what row is counted from; 0: the origin */
    float lacks;               /* what distances to row lack; see centre_query */
    uint32_t again[AGAIN_MAX]; /* as they were when the search began */
    uint32_t again_count;
    uint64_t *allow; /* a list of slots as bits, for a walk; as many words as `visited` */
    size_t allow_words;
    struct vec_scratch *others[WALKS_MAX - 1]; /* for searches at once; NULL until needed */
    float *scan_dist;                          /* [SCAN_BLOCK], and the slots they belong to */
    uint32_t *scan_slot;
    float *centred, *projected;
    int16_t *steps;
    void *fixed; /* the block that those of a fixed size stand in */
    size_t fixed_bytes;
};

/* --- view.c --- */

static inline uint8_t *view_row(const struct vec_index *index, const struct view *view,
                                uint32_t slot)
{
    uint32_t mask = ((uint32_t)1 << index->row_bits) - 1;
    return view->rows[slot >> index->row_bits] + (size_t)(slot & mask) * index->shape.bytes;
}

static inline uint8_t *view_code(const struct view *view, uint32_t slot)
{
    return view->codes[slot >> CHUNK_BITS] +
           (size_t)(slot & (CHUNK_SLOTS - 1)) * view->codec->lines * LINE;
}

static inline uint32_t *view_links(const struct vec_index *index, const struct view *view,
                                   uint32_t slot)
{
    return view->links[slot >> CHUNK_BITS] + (size_t)(slot & (CHUNK_SLOTS - 1)) * index->degree;
}

static inline void code_prefetch(const struct view *view, const uint8_t *row)
{
    for (size_t line = 0; line < view->codec->lines; line++) {
        __builtin_prefetch(row + line * LINE);
    }
}

static inline struct node *view_node(const struct view *view, uint32_t slot)
{
    return &view->nodes[slot >> CHUNK_BITS][slot & (CHUNK_SLOTS - 1)];
}

/** Before what is stored of a slot is changed. Holds add, or grow. */
static inline void trail_touch(const struct view *view, enum trail_kind kind, uint32_t slot)
{
    struct trail *trail = view->trails[slot >> CHUNK_BITS];
    uint32_t unit = (slot & (CHUNK_SLOTS - 1)) >> UNIT_BITS;
    /* acquire: what a snapshot needs of the unit was copied */
    if (!atomic_load_explicit(&trail->touched[kind][unit], memory_order_acquire)) {
        trail_touch_first(view->index, trail, kind, slot);
    }
}

/* level >= 1 */
static inline uint32_t *view_upper(const struct vec_index *index, const struct view *view,
                                   uint32_t slot, uint32_t level)
{
    uint32_t row = view_node(view, slot)->upper + level - 1;
    return view->upper[row >> UPPER_BITS] + (size_t)(row & (UPPER_SLOTS - 1)) * index->opts.m;
}

MUST_USE enum status index_new(const struct vec_opts *filled, struct vec_index **out,
                               struct err *err);
MUST_USE enum status view_new(struct vec_index *index, struct err *err);
/** In an empty index: room for so many slots, and the centre's and the codec's (they may be
 * NULL), whose nodes begin in no way. What is loaded stands in `in_place` (by part, chunk and
 * chunk), NULL where there is to be memory. */
MUST_USE enum status view_restore(struct vec_index *index, uint32_t slots, uint32_t upper_rows,
                                  struct centre *centre, struct codec *codec,
                                  const struct in_place *in_place, struct err *err);
void view_free_all(struct vec_index *index);
/** Room for one more slot, and its node and upper layers when there is a graph. Holds add; takes
 * grow. */
MUST_USE enum status view_room(struct vec_index *index, struct err *err);
/** Rows of chunk 0 stand elsewhere, counted from that centre: centre_rows_write. It is the view's
 * then, or freed after a failure. Holds add and grow. */
MUST_USE enum status view_recentre(struct vec_index *index, struct centre *centre, struct err *err);
/** The beginning of a graph: chunks of codes, links and nodes for all rows; on success the codec
 * is the index's. Holds add and grow. */
MUST_USE enum status view_begin_graph(struct vec_index *index, struct codec *codec,
                                      struct err *err);
/** Slots of a chunk 0 for so many. */
uint32_t view_first_slots(uint32_t slots);
/** Nobody else reads the view, here and below. Chunks from that one on are given back. */
void view_chunks_drop(struct vec_index *index, struct view *view, uint32_t chunks);

/** What chunk 0 becomes; NULL for parts of rows that stay, or are not there any more. */
struct first_chunk {
    uint32_t slots;
    uint8_t *rows[ROW_PARTS_MAX], *codes;
    uint32_t *links;
    struct node *nodes;
};
void view_first_replace(struct vec_index *index, struct view *view,
                        const struct first_chunk *first);
/** Free what no search can read any more. */
void view_reclaim(struct vec_index *index);
/** The layer up to which a slot reaches; a matter of the seed alone. */
uint32_t node_level(const struct vec_index *index, uint32_t slot);
/** Begin to read: a view that is taken from now on stays valid until reader_unpin. It has room for
 * every slot, and the links of every node, that was read of before it was taken. They nest. */
void reader_pin(struct vec_scratch *scratch);
const struct view *reader_view(struct vec_scratch *scratch);
void reader_unpin(struct vec_scratch *scratch);
/** What happened up to the epoch that is returned is seen by every search that begins later. */
uint64_t epoch_advance(struct vec_index *index);
/** Of searches under way; UINT64_MAX when there are none. And what is kept for them. */
uint64_t epoch_oldest(struct vec_index *index, size_t *retired_bytes_out);
/** No search is left that began before that epoch was advanced. */
bool epoch_passed(struct vec_index *index, uint64_t epoch);

/* --- scratch.c --- */

/** Room for a walk with this beam over so many slots; clears what was visited. */
MUST_USE enum status scratch_ready(struct vec_scratch *scratch, uint32_t ef, uint32_t best,
                                   uint32_t slots, struct err *err);
void beam_clear(struct beam *beam, uint32_t cap);
/** Room for the bits of a filter's list, cleared, and for the distances of a block of a scan. */
MUST_USE enum status scratch_allow(struct vec_scratch *scratch, uint32_t slots, struct err *err);
MUST_USE enum status scratch_scan(struct vec_scratch *scratch, struct err *err);

/* --- graph.c --- */

/** The walk's distance to a slot; the query's norm is not in it. */
float graph_distance(const struct vec_index *index, const struct view *view,
                     const struct code_query *query, uint32_t slot);
/** From the entry point down to above `level`: the nearest node that is met, below `slots`. */
uint32_t graph_descend(const struct vec_index *index, const struct view *view,
                       const struct code_query *query, uint64_t entry, uint32_t level,
                       uint32_t slots);
/** Walk layer 0 with scratch->code from what is in scratch->beam, which scratch_ready made room
 * for. */
void graph_walk(struct vec_scratch *scratch, const struct view *view, uint32_t slots);

/* --- search.c, filtered.c --- */

/** A search under way. */
struct search {
    struct vec_scratch *scratch;
    const struct view *view; /* of the walk; that of the rows may be newer */
    const struct view *rows;
    const float *query; /* as the caller gave it; NULL: scratch->row has one that was stored */
    const struct vec_filter *filter;
    uint32_t k, ef;
    uint32_t linked, slots; /* as they were when it began */
    uint64_t reborn, gone;  /* as many were told */
    enum vec_plan plan;
    uint32_t died;    /* that were met and are gone by now */
    bool waits;       /* is to walk, or has to, with others */
    uint32_t without; /* a slot that the walk goes round, or NO_SLOT */
    bool target;      /* a recall was asked for */
    bool missed;      /* and may not be reached */
    bool by_rank;     /* scratch->best has ranks for distances: nothing else can be put there */
};

/** scratch->code from what scratch->row.f holds. For a scan a code's distance is a lower bound; for
 * a walk it is the one to be expected, |x|^2 - 2 shared |x| |q| for what codes leave out, less what
 * all rows have in common. */
void search_code(struct vec_scratch *scratch, const struct codec *codec, bool walks);
/** For scans: the row to scratch->best, which has squared distances, or twice minus the dot
 * product, without loss; returns that, or about that when it is not among the best. */
float search_rank(struct search *search, uint32_t slot);
void search_prefetch(const struct search *search, uint32_t slot, size_t bytes);
/** Whether a code's distance is a lower bound of its row's, but for rounding. */
bool search_bounded(const struct search *search);
/** The code distance up to which a row may be among the best, when rows are farther than their
 * codes tell by `off` at least. */
float search_reach(const struct search *search, float off);

/** What is wrong with options or query. */
MUST_USE enum status search_check(const struct vec_index *index, const float *query,
                                  const struct vec_search_opts *opts, struct err *err);
/** The same; but for its scratch, which is set, `search` is filled in. */
MUST_USE enum status search_prepare(struct search *search, const float *query,
                                    const struct vec_search_opts *opts, struct err *err);
/** Pinned: up to the walk when search->waits, which stays so when there is one to be made; else to
 * its end. *again_out: begin anew. */
MUST_USE enum status search_front(struct search *search, bool *again_out, struct err *err);
/** The rest. *again_out: begin anew. */
void search_back(struct search *search, bool *again_out);
/** All of it, once or as often as is needed. */
MUST_USE enum status search_run(struct search *search, struct err *err);
/** What was found, and how. */
uint32_t search_hits(const struct search *search, const struct vec_search_opts *opts,
                     struct vec_hit *hits_out);
/** What a scan of all costs. Pinned. */
double search_scan_ns(struct vec_scratch *scratch);
/** For curves, pinned, with scratch->row prepared: the k nearest of what is linked, by a walk with
 * this beam that goes round a slot, or by a scan when ef is 0. */
MUST_USE enum status search_measure(struct vec_scratch *scratch, uint32_t k, uint32_t ef,
                                    uint32_t without, const struct beam **nearest_out,
                                    struct err *err);

/** What the cheaper scan costs, about. */
double filtered_scan_ns(const struct search *search);
/** What a walk with this beam costs where there is no filter. */
double filtered_walk_ns(uint32_t ef);
/** The cheapest way to find what the filter allows. */
enum vec_plan filtered_plan(const struct search *search);
/** The beam that a scan of codes begins with. */
uint32_t filtered_beam(const struct search *search);
/** The cheaper scan. */
enum vec_plan filtered_scan_plan(const struct search *search);
/** Nodes that are allowed to scratch->beam, by a walk from `from`; *found_out is false when a scan
 * must be made instead. */
MUST_USE enum status filtered_walk(struct search *search, uint32_t from, bool *found_out,
                                   struct err *err);
/** By the codes of what is linked and allowed, rows to scratch->best. The query is prepared. */
MUST_USE enum status filtered_scan(struct search *search, struct err *err);

/** Walks of searches with the same codec, from what is in their beams. */
void graph_walk_many(struct search *const *searches, size_t n);

/* --- link.c --- */

/** Put a slot that holds a row into the graph. Holds grow shared; scratch_ready was called. */
void link_slot(struct vec_scratch *scratch, uint32_t slot);
/** A code row's tail: with it walks meet the slot, without numbers in it they do not. */
void code_tail_set(const struct view *view, uint32_t slot, struct code_tail tail);
/** For writers of tails: who only reads them does so word by word, see simd_loop.h. */
struct code_tail code_tail_get(const struct view *view, uint32_t slot);
/** Link back from a node: for who is anchored to it, or gives it a new link. */
void link_back(struct vec_scratch *scratch, const struct view *view, uint32_t node, uint32_t slot);
/** Choose a query that a linked node is to others. */
void link_query_of(const struct vec_index *index, const struct view *view, uint32_t slot,
                   struct code_query *out);
/** Whether one of n kept rows is so near to the candidate that a link to it is not needed; dist is
 * the candidate's squared distance to who chooses. */
bool link_occluded(const struct vec_index *index, const struct code_query *candidate,
                   enum code_kind kind, const uint8_t *const *kept, size_t n, float dist);
/** Under dot: a vector of this squared norm is to come, more than norm2_max. Holds grow alone;
 * searches, which do not read what changes, go on. */
void link_norm_raise(struct vec_index *index, const struct view *view, float norm2);

/* --- unlink.c --- */

enum { UNLINK_EF = 64 };
/** Take a linked slot out of the graph. Holds grow alone; scratch_ready(UNLINK_EF) was called. */
void unlink_slot(struct vec_scratch *scratch, uint32_t slot);

static inline void log_put(struct slot_log *log, uint32_t slot)
{
    uint64_t total = atomic_load_explicit(&log->total, memory_order_relaxed);
    atomic_store_explicit(&log->slots[total % LOG_MAX], slot, memory_order_relaxed);
    atomic_store_explicit(&log->total, total + 1, memory_order_release);
}

/** What is read from now on is read after what was read before. ThreadSanitizer knows no fences; it
 * takes the loads around this one by one. */
static inline void fence_reads(void)
{
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_acquire);
#endif
}

/* words of links, one at a time */

static inline uint32_t link_at(const uint32_t *links, uint32_t i)
{
    return __atomic_load_n(links + i, __ATOMIC_ACQUIRE);
}

static inline void link_set(uint32_t *links, uint32_t i, uint32_t slot)
{
    __atomic_store_n(links + i, slot, __ATOMIC_RELEASE);
}

static inline uint32_t links_count(const uint32_t *links, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && link_at(links, n) != NO_SLOT) {
        n++;
    }
    return n;
}

static inline bool links_to(const uint32_t *links, uint32_t count, uint32_t slot)
{
    for (uint32_t i = 0; i < count; i++) {
        if (link_at(links, i) == slot) {
            return true;
        }
    }
    return false;
}

static inline bool is_linked(const struct view *view, uint32_t slot)
{
    return atomic_load_explicit(&view_node(view, slot)->state, memory_order_relaxed) == NODE_LINKED;
}

static inline uint32_t anchor_of(const struct view *view, uint32_t slot)
{
    return atomic_load_explicit(&view_node(view, slot)->anchor, memory_order_relaxed);
}

static inline void anchor_set(const struct view *view, uint32_t slot, uint32_t anchor)
{
    trail_touch(view, TRAIL_GRAPH, slot);
    atomic_store_explicit(&view_node(view, slot)->anchor, anchor, memory_order_relaxed);
}

#endif
