/*
 * URIs of table metadata <-> keys of the store, by the roots that the lake has had
 * (_lake/format.json). Thread safe.
 */
#ifndef CATALOG_LOCATE_H
#define CATALOG_LOCATE_H

#include "store/store.h"

struct locate;

/** Nothing is read yet. `store` is borrowed. */
enum status locate_new(struct store *store, struct locate **out, struct err *err) MUST_USE;
void locate_free(struct locate *locate);

/** The URI under which we write `key`: the store's own root in front. */
enum status locate_uri(struct locate *locate, struct str key, struct arena *arena, struct str *out,
                       struct err *err) MUST_USE;
/**
 * The key behind a URI. `file:/x`, `file:///x` and `file://localhost/x` mean the same, `s3:`,
 * `s3a:` and `s3n:` too.
 *
 * Errors   E_INVALID when it lies under none of the roots, or under the lake's own `_lake/`
 */
enum status locate_key(struct locate *locate, struct str uri, struct arena *arena, struct str *out,
                       struct err *err) MUST_USE;
/** The key of a table's folder, from the URI of a metadata file in its `metadata/`; E_INVALID when
 * it is in no such folder. */
enum status locate_table(struct locate *locate, struct str metadata_uri, struct arena *arena,
                         struct str *out, struct err *err) MUST_USE;

#endif
