/*
 * Namespaces: `_lake/cat/<warehouse>/ns/<namespace>/_ns.json`.
 */
#ifndef CATALOG_NAMESPACE_H
#define CATALOG_NAMESPACE_H

#include "catalog/local.h"

/** "wh/<warehouse>/<slug>": where the tables of a namespace lie. */
enum status namespace_location(struct local *local, struct str ns, struct arena *arena,
                               struct str *out, struct err *err) MUST_USE;
/** Make the namespace if it is missing; its uuid. E_CONFLICT when it is being dropped or has
 * been. */
enum status namespace_ensure(struct local *local, struct str ns, struct arena *arena,
                             struct str *uuid_out, struct err *err) MUST_USE;
/** After a table was created: the namespace is still live under that uuid, else E_CONFLICT. */
enum status namespace_check(struct local *local, struct str ns, struct str uuid,
                            struct err *err) MUST_USE;

/** catalog_namespaces and catalog_namespace. */
enum status local_namespaces(struct catalog *catalog, struct arena *arena, struct str **names_out,
                             size_t *count_out, struct err *err) MUST_USE;
enum status local_namespace(struct catalog *catalog, struct str ns, struct arena *arena,
                            struct catalog_namespace *out, struct err *err) MUST_USE;

#endif
