/*
 * The tree of a filter, for meta.c's planner. Everything lies in the arena of filter_parse.
 */
#ifndef COLLECTION_FILTER_PRIV_H
#define COLLECTION_FILTER_PRIV_H

#include "collection/filter.h"
#include "collection/path.h"
#include "collection/value.h"

enum filter_kind {
    FILTER_AND, /* none: all */
    FILTER_OR,
    FILTER_NOT, /* of one: $ne, $nin, $nor, $not, $exists: false */
    FILTER_IN,  /* equality is $in of one */
    FILTER_RANGE,
    FILTER_EXISTS,
};

/* A value that a filter names. */
struct operand {
    enum value_kind kind;
    struct number number;
    struct str plain; /* of a string: without escapes */
    const char *text; /* of an array or object: canonical */
};

enum range_op { RANGE_GT, RANGE_GTE, RANGE_LT, RANGE_LTE };

struct filter {
    enum filter_kind kind;
    enum range_op op;
    const struct path *path; /* of IN, RANGE, EXISTS */
    struct operand *values;  /* IN: sorted by operand_cmp, RANGE: one */
    size_t value_count;
    struct filter **children;
    size_t child_count;
};

/** Arrays and objects are ordered by kind alone. */
int operand_cmp(const struct operand *a, const struct operand *b);
/** Is it so of this object, canonical text. */
bool filter_matches(const struct filter *filter, const char *object);

#endif
