/*
 * Turning a sorted stream of keys into a page: prefix, delimiter, after and limit mean the same in
 * every driver.
 */
#ifndef STORE_LIST_H
#define STORE_LIST_H

#include "store/store.h"

/**
 * A sorted source of keys. `seek` gives the smallest key that is not below `bound`; the bounds of
 * successive calls never go down. *key_out is valid until the next call; *found_out false: no more.
 * `info` fills what is known of the key that seek gave last (not its key); *there_out false: it was
 * deleted meanwhile.
 */
struct list_source {
    enum status (*seek)(void *ctx, struct str bound, struct str *key_out, bool *found_out,
                        struct err *err);
    enum status (*info)(void *ctx, struct store_info *out, bool *there_out, struct err *err);
    void *ctx;
};

/** E_TOO_LARGE or E_NO_MEMORY at the arena's limit, and what the source gives. */
enum status list_page(const struct list_source *source, const struct store_list_opts *opts,
                      struct arena *arena, struct store_list *out, struct err *err) MUST_USE;

/** A bound: the smallest text above another one. Big enough for a key and one byte more. */
struct list_bound {
    char bytes[STORE_KEY_MAX + 2];
    size_t len;
    bool end; /* nothing is above */
};
/** The smallest text greater than `text`. */
void list_bound_after(struct list_bound *bound, struct str text);
/** The smallest text greater than everything that starts with `prefix`. */
void list_bound_past(struct list_bound *bound, struct str prefix);
void list_bound_set(struct list_bound *bound, struct str text);

#endif
