/*
 * URIs of table metadata <-> keys of the store, by the roots that the lake has had
 * (_lake/format.json). Thread safe.
 */
#ifndef CATALOG_LOCATE_H
#define CATALOG_LOCATE_H

#include "catalog/catalog.h"
#include "store/store.h"

struct locate;

/** Nothing is read yet. `store` is borrowed. */
enum status locate_new(struct store *store, struct locate **out, struct err *err) MUST_USE;
void locate_free(struct locate *locate);

/**
 * Let tables lie under `s3_root` ("s3://lake"; static) too: those of that kind that are there
 * already, and new ones as `kind` says. Call it before the first use; without it, and where the
 * store's own root is of that kind, all are written under the store's own.
 */
void locate_offer(struct locate *locate, struct str s3_root, enum catalog_uri kind);
/**
 * The URI under which we write `key`. `table`: a URI of the table that it is for, whose kind it
 * gets; empty: a new one. The root is one of the lake's (_lake/format.json) before it is told.
 */
enum status locate_uri(struct locate *locate, struct str table, struct str key, struct arena *arena,
                       struct str *out, struct err *err) MUST_USE;
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
