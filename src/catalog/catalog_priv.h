/*
 * What a driver of the catalogue implements. Arguments are already checked by catalog.c; the
 * meanings are those of catalog.h.
 */
#ifndef CATALOG_CATALOG_PRIV_H
#define CATALOG_CATALOG_PRIV_H

#include "catalog/changes.h"
#include "catalog/upkeep.h"

struct reader;

struct catalog_ops {
    const char *name;
    void (*close)(struct catalog *catalog);
    enum status (*list)(struct catalog *, const struct catalog_list_opts *, struct arena *,
                        struct catalog_list *, struct err *);
    enum status (*find)(struct catalog *, const struct table_name *, bool nocase, struct arena *,
                        struct table_summary *, struct err *);
    enum status (*append)(struct catalog *, const struct catalog_append *, struct arena *,
                          struct catalog_appended *, struct err *);
    enum status (*place)(struct catalog *, const struct table_name *, struct arena *,
                         struct catalog_place *, struct err *);
    enum status (*batch)(struct catalog *, const struct table_name *, struct str batch_id,
                         struct arena *, bool *found_out, struct catalog_appended *, struct err *);
    enum status (*drop)(struct catalog *, enum catalog_kind, const struct table_name *,
                        struct err *);
    /* NULL: this driver has none */
    enum status (*namespaces)(struct catalog *, struct str parent, struct arena *, struct str **,
                              size_t *, struct err *);
    enum status (*namespace)(struct catalog *, struct str ns, struct arena *,
                             struct catalog_namespace *, struct err *);
    enum status (*change)(struct catalog *, enum catalog_kind, const struct catalog_change *,
                          deadline_ms deadline, struct arena *, struct catalog_loaded *,
                          struct err *);
    enum status (*create)(struct catalog *, enum catalog_kind, const struct catalog_create *,
                          struct arena *, struct catalog_loaded *, struct err *);
    enum status (*upkeep)(struct catalog *, const struct catalog_upkeep *, struct buf *report,
                          struct err *);
    enum status (*rename)(struct catalog *, enum catalog_kind, const struct table_name *from,
                          const struct table_name *to, bool *missing_ns_out, struct err *);
    enum status (*namespace_create)(struct catalog *, struct str ns, const struct ice_property *,
                                    size_t, struct arena *, struct catalog_namespace *,
                                    struct err *);
    enum status (*namespace_drop)(struct catalog *, struct str ns, struct err *);
    enum status (*ready)(struct catalog *, struct err *);
};

/** First member of each driver's own struct. Immutable files are read by the same reader in every
 * driver. */
struct catalog {
    const struct catalog_ops *ops;
    struct reader *reader;
};

#endif
