/*
 * Making a namespace, and changing its properties: read, decide, swap, again when somebody was
 * faster.
 *
 * A namespace of several levels is made in its parent, which must be there. As with tables, what
 * was looked at before is looked at again after: whoever dropped the parent either saw the child,
 * or is seen now, and the child goes with it.
 */
#include "catalog/namespace.h"

#include "catalog/locate.h"
#include "catalog/table_name.h"

static struct local *local_of(struct catalog *catalog)
{
    assert(catalog->ops->namespace != NULL);
    return (struct local *)catalog;
}

static enum status too_busy(struct str ns, struct err *err)
{
    return err_set(err, E_UNAVAILABLE,
                   "namespace \"%.*s\" is too busy: others won every race; nothing was changed",
                   STR_ARG(ns));
}

/** "location" among the properties lies in the warehouse. */
static enum status check_location(struct local *local, const struct ice_property *properties,
                                  size_t count, struct arena *arena, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct str key;
        if (str_eq(properties[i].name, STR("location"))) {
            TRY(locate_key(local->base.reader->locate, properties[i].value, arena, &key, err));
        }
    }
    return OK;
}

/* --- create --- */

static enum status check_new(struct str ns, struct err *err)
{
    struct table_name any = { .ns = ns, .name = STR("t") };
    TRY(table_name_check_ns(ns, err));
    return table_name_check_new(&any, err);
}

static struct str parent_of(struct str ns)
{
    size_t last = str_rfind_char(ns, CATALOG_NS_SEPARATOR);
    return last == SIZE_MAX ? STR_EMPTY : str_take(ns, last);
}

/** After it was made: its parent is still the one that was looked at, else it goes again. */
static enum status settle_parent(struct local *local, struct str ns, struct str parent_uuid,
                                 struct str uuid, deadline_ms deadline, struct arena *arena,
                                 struct err *err)
{
    struct str parent = parent_of(ns);
    if (parent.len == 0 || namespace_check(local, parent, parent_uuid, NULL) != E_CONFLICT) {
        return OK; /* or it cannot be read: a later drop of the parent finds the child */
    }
    struct namespace_base base;
    enum swap_outcome outcome = SWAP_LOST;
    while (outcome == SWAP_LOST) {
        TRY(namespace_settled(local, ns, deadline, arena, &base, err));
        if (base.state != NAMESPACE_LIVE || !str_eq(base.ns.uuid, uuid)) {
            break;
        }
        TRY(namespace_swap(local, ns, &base, NAMESPACE_DROPPED, &base.ns, deadline, &outcome, err));
    }
    return namespace_missing(parent, err);
}

static enum status make(struct local *local, struct str ns, const struct catalog_namespace *fresh,
                        deadline_ms deadline, struct arena *arena, struct err *err)
{
    for (int round = 0; !deadline_passed(deadline) || round == 0; round++) {
        struct namespace_base base;
        enum swap_outcome outcome = SWAP_REFUSED;
        TRY(namespace_settled(local, ns, deadline, arena, &base, err));
        if (base.state == NAMESPACE_LIVE) {
            return err_set(err, E_EXISTS, "namespace \"%.*s\" exists already", STR_ARG(ns));
        }
        if (base.state == NAMESPACE_DROPPED) {
            TRY(namespace_clear(local, ns, base.ns.uuid, deadline, err));
        }
        TRY(namespace_swap(local, ns, &base, NAMESPACE_LIVE, fresh, deadline, &outcome, err));
        if (outcome == SWAP_WON) {
            return OK;
        }
        local_backoff(local, round, deadline);
    }
    return too_busy(ns, err);
}

enum status local_namespace_create(struct catalog *catalog, struct str ns,
                                   const struct ice_property *properties, size_t count,
                                   struct arena *arena, struct catalog_namespace *out,
                                   struct err *err)
{
    struct local *local = local_of(catalog);
    deadline_ms deadline = deadline_in(NAMESPACE_TIMEOUT_MS);
    struct str parent = parent_of(ns), parent_uuid = STR_EMPTY;
    char text[UUID_TEXT + 1];
    uuid4(text);
    TRY(check_new(ns, err));
    TRY(check_location(local, properties, count, arena, err));
    TRY(parent.len > 0 ? namespace_require(local, parent, arena, &parent_uuid, err) : OK);
    struct catalog_namespace fresh = { .uuid = arena_str(arena, str_of(text)),
                                       .properties = properties,
                                       .property_count = count };
    if (fresh.uuid.ptr == NULL) {
        return err_no_memory(err);
    }
    TRY(make(local, ns, &fresh, deadline, arena, err));
    TRY(settle_parent(local, ns, parent_uuid, fresh.uuid, deadline, arena, err));
    struct namespace_base made;
    TRY(namespace_read(local, ns, arena, &made, err)); /* with its location */
    *out = str_eq(made.ns.uuid, fresh.uuid) ? made.ns : fresh;
    return OK;
}

/* --- update --- */

static bool is_among(struct str name, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool has_property(const struct catalog_namespace *ns, struct str name)
{
    for (size_t i = 0; i < ns->property_count; i++) {
        if (str_eq(ns->properties[i].name, name)) {
            return true;
        }
    }
    return false;
}

/** The properties without what is removed or set, then what is set. */
static enum status apply(const struct catalog_namespace *old,
                         const struct catalog_namespace_update *update, struct arena *arena,
                         struct catalog_namespace *next, struct err *err)
{
    struct ice_property *properties = arena_array(arena, old->property_count + update->set_count,
                                                  sizeof(*properties));
    size_t count = 0;
    if (properties == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < old->property_count; i++) {
        bool goes = is_among(old->properties[i].name, update->remove, update->remove_count);
        for (size_t k = 0; k < update->set_count && !goes; k++) {
            goes = str_eq(old->properties[i].name, update->set[k].name);
        }
        if (!goes) {
            properties[count++] = old->properties[i];
        }
    }
    for (size_t i = 0; i < update->set_count; i++) {
        properties[count++] = update->set[i];
    }
    *next = (struct catalog_namespace){ .uuid = old->uuid,
                                        .properties = properties,
                                        .property_count = count };
    return OK;
}

static enum status report(const struct catalog_namespace *old,
                          const struct catalog_namespace_update *update, struct arena *arena,
                          struct catalog_namespace_updated *out, struct err *err)
{
    struct catalog_namespace_updated told = { 0 };
    told.updated = arena_array(arena, update->set_count, sizeof(struct str));
    told.removed = arena_array(arena, update->remove_count, sizeof(struct str));
    told.missing = arena_array(arena, update->remove_count, sizeof(struct str));
    if (told.updated == NULL || told.removed == NULL || told.missing == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < update->set_count; i++) {
        told.updated[told.updated_count++] = update->set[i].name;
    }
    for (size_t i = 0; i < update->remove_count; i++) {
        struct str name = update->remove[i];
        if (is_among(name, update->remove, i)) {
            continue; /* said twice */
        }
        if (has_property(old, name)) {
            told.removed[told.removed_count++] = name;
        } else {
            told.missing[told.missing_count++] = name;
        }
    }
    *out = told;
    return OK;
}

enum status catalog_namespace_update(struct catalog *catalog, struct str ns,
                                     const struct catalog_namespace_update *update,
                                     struct arena *arena, struct catalog_namespace_updated *out,
                                     struct err *err)
{
    struct local *local = local_of(catalog);
    deadline_ms deadline = deadline_in(NAMESPACE_TIMEOUT_MS);
    if (table_name_check_ns(ns, NULL) != OK) {
        return namespace_missing(ns, err);
    }
    TRY(check_location(local, update->set, update->set_count, arena, err));
    for (int round = 0; !deadline_passed(deadline) || round == 0; round++) {
        struct namespace_base base;
        struct catalog_namespace next;
        enum swap_outcome outcome = SWAP_REFUSED;
        TRY(namespace_settled(local, ns, deadline, arena, &base, err));
        if (base.state != NAMESPACE_LIVE) {
            return namespace_missing(ns, err);
        }
        TRY(apply(&base.ns, update, arena, &next, err));
        TRY(report(&base.ns, update, arena, out, err));
        if (out->updated_count == 0 && out->removed_count == 0) {
            return OK;
        }
        TRY(namespace_swap(local, ns, &base, NAMESPACE_LIVE, &next, deadline, &outcome, err));
        if (outcome == SWAP_WON) {
            return OK;
        }
        local_backoff(local, round, deadline);
    }
    return too_busy(ns, err);
}
