/*
 * Bodies of searches and additions, as JSON and as bytes (docs/reference/vectors.md has both).
 *
 * A search, binary: one vector or several, float32, little endian, one behind the other; all else
 * stands in the query string. An addition, binary: items one behind the other, nothing around them,
 *
 *      u32 bytes of the id, u32 bytes of the metadata (0: none is given),
 *      float32 [dimension], the id, the metadata, 0 to 3 zero bytes up to a multiple of 4
 */
#ifndef API_VECTOR_REQUEST_H
#define API_VECTOR_REQUEST_H

#include "collection/collection.h"

enum {
    VECTOR_HITS_MAX = 1000 * 1000, /* of one request, all its vectors together */
    VECTOR_FIELDS_MAX = 64,
};

struct vector_search {
    struct coll_query query; /* vectors lie in `floats` */
    bool batch;              /* "vectors": the answer is a list of lists */
    struct str fields[VECTOR_FIELDS_MAX];
    size_t field_count; /* of metadata; 0: all of it */
    uint32_t k_max;     /* in: the setting */
    uint32_t dimension; /* in: the index's */
    /* the reader's own */
    float *floats;
    size_t vector_count, vector_cap;
    struct str *filters; /* of each vector */
    size_t filter_count, filter_cap;
    bool has_vector, has_k, has_ef, has_filters;
};

/**
 * `search` is zero but for k_max and dimension; done afterwards whatever it returned. Texts borrow
 * from `body` or lie in `arena`.
 *
 * Errors   E_INVALID: names the field, its place and what is wrong; E_NO_MEMORY
 * Cost     about 10 ns a number, of 6 digits or 17: 5 us for 512
 */
enum status vector_search_read_json(struct str body, struct arena *arena,
                                    struct vector_search *search, struct err *err) MUST_USE;
/** The vectors alone; the query's other fields are the caller's, who calls vector_search_check
 * then. */
enum status vector_search_read_binary(struct str body, struct vector_search *search,
                                      struct err *err) MUST_USE;
/** What both forms are held to. */
enum status vector_search_check(struct vector_search *search, struct err *err) MUST_USE;
void vector_search_done(struct vector_search *search);

struct vector_add {
    struct coll_item *items;
    size_t count;
    enum coll_add_mode mode;
    uint32_t dimension; /* in: the index's */
    /* the reader's own */
    float *floats; /* [count][dimension] */
    size_t item_cap, float_cap;
    bool has_vector, has_id;
};

/** As above. E_INVALID names the item by its position, from 0. */
enum status vector_add_read_json(struct str body, struct arena *arena, struct vector_add *add,
                                 struct err *err) MUST_USE;
enum status vector_add_read_binary(struct str body, struct vector_add *add,
                                   struct err *err) MUST_USE;
/** "upsert", "insert" or "update". */
enum status vector_add_mode(struct str text, enum coll_add_mode *out, struct err *err) MUST_USE;
void vector_add_done(struct vector_add *add);

#endif
