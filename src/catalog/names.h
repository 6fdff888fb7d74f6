/*
 * Which tables there are, by name: a listing of pointer keys, with their ETags.
 */
#ifndef CATALOG_NAMES_H
#define CATALOG_NAMES_H

#include "catalog/local.h"

struct name_entry {
    struct table_name name;
    struct str text; /* printed */
    struct str key;
    char etag[STORE_ETAG_MAX + 1];
    bool etag_weak;
};
struct names {
    struct name_entry *entries; /* in byte order of the printed name; tombstones are among them */
    size_t count;
};
/** All pointers of a namespace, or of all (`ns` empty). */
enum status names_list(struct local *local, struct str ns, struct arena *arena, struct names *out,
                       struct err *err) MUST_USE;
/** Read one, a table or a view: live or not, and its summary. Bodies are cached by ETag. */
enum status names_summary(struct local *local, const struct name_entry *entry, struct arena *arena,
                          bool *live_out, struct table_summary *out, struct err *err) MUST_USE;

#endif
