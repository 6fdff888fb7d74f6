/*
 * Views: the same requirements and updates as tables have, on a smaller document.
 *
 * A document is its versions, each a text for every dialect of SQL that somebody has written one
 * for, and the one that is current. What is added and equals what is there gets its id. Old
 * versions go, as many as a property says; the log begins anew behind one that is gone.
 */
#include "iceberg/view.h"

#include "iceberg/change_priv.h"

enum { FORMAT = 1, VERSIONS_DEFAULT = 10, UPDATES_MAX = 10000, UUID_LEN = 36 };

struct view_doc {
    struct change_doc memory; /* for entries that are made here; the rest of it is not used */
    yyjson_val *base;         /* NULL: a new view */
    const struct ice_change *change;
    struct change_list schemas, versions, log, properties;
    struct change_list added; /* ids of versions */
    int64_t current, was;     /* ids of versions; -1: none */
    int64_t added_schema, added_version;
    struct str uuid, location;
    bool changed;
};

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

static void view_doc_done(struct view_doc *view)
{
    change_doc_done(&view->memory);
}

/* --- taking apart --- */

static enum status take_list(struct view_doc *view, const char *name, const char *id,
                             struct change_list *list, struct err *err)
{
    yyjson_val *json = yyjson_obj_get(view->base, name), *val;
    size_t i, max;
    if (!yyjson_is_arr(json)) {
        return OK;
    }
    yyjson_arr_foreach(json, i, max, val)
    {
        struct change_item *item;
        TRY(change_add(&view->memory, list, &item, err));
        item->val = val;
        item->id = yyjson_get_sint(yyjson_obj_get(val, id));
    }
    return OK;
}

static enum status take_properties(struct view_doc *view, struct err *err)
{
    yyjson_val *json = yyjson_obj_get(view->base, "properties"), *key, *val;
    size_t i, max;
    if (!yyjson_is_obj(json)) {
        return OK;
    }
    yyjson_obj_foreach(json, i, max, key, val)
    {
        struct change_item *item;
        TRY(change_add(&view->memory, &view->properties, &item, err));
        item->key = val_str(key);
        item->val = val;
    }
    return OK;
}

enum status ice_view_check(yyjson_val *base, struct err *err)
{
    int64_t version = 0, current = 0;
    struct str text;
    yyjson_val *list = NULL;
    bool found = false;
    enum status status = json_get_str(base, "view-uuid", JSON_REQUIRED, &text, err);
    status = status == OK ? json_get_str(base, "location", JSON_REQUIRED, &text, err) : status;
    status = status == OK ? json_get_i64(base, "format-version", JSON_REQUIRED, &version, err)
                          : status;
    status = status == OK ? json_get_i64(base, "current-version-id", JSON_REQUIRED, &current, err)
                          : status;
    status = status == OK ? json_get_arr(base, "versions", JSON_REQUIRED, &list, err) : status;
    if (status == OK && version != FORMAT) {
        return err_set(err, E_UNSUPPORTED, "the view has format version %lld, %d is known",
                       (long long)version, FORMAT);
    }
    for (size_t i = 0; status == OK && i < yyjson_arr_size(list); i++) {
        yyjson_val *id = yyjson_obj_get(yyjson_arr_get(list, i), "version-id");
        found = found || (yyjson_is_int(id) && yyjson_get_sint(id) == current);
    }
    if (status != OK || !found) {
        return err_set(err, E_CORRUPT, "this is no metadata of a view");
    }
    return OK;
}

static enum status open_view(struct view_doc *view, yyjson_val *base,
                             const struct ice_change *change, struct arena *arena, struct err *err)
{
    *view = (struct view_doc){ .memory = { .arena = arena },
                               .base = base,
                               .change = change,
                               .current = -1,
                               .was = -1,
                               .added_schema = -1,
                               .added_version = -1,
                               .uuid = STR_EMPTY,
                               .location = STR_EMPTY };
    if (base == NULL) {
        return OK;
    }
    TRY(ice_view_check(base, err));
    view->uuid = val_str(yyjson_obj_get(base, "view-uuid"));
    view->location = val_str(yyjson_obj_get(base, "location"));
    view->current = view->was = yyjson_get_sint(yyjson_obj_get(base, "current-version-id"));
    TRY(take_list(view, "schemas", "schema-id", &view->schemas, err));
    TRY(take_list(view, "versions", "version-id", &view->versions, err));
    TRY(take_list(view, "version-log", "version-id", &view->log, err));
    return take_properties(view, err);
}

/* --- requirements --- */

enum status ice_view_require(yyjson_val *base, yyjson_val *requirements, struct err *err)
{
    size_t i, max;
    yyjson_val *requirement;
    ARR_EACH(requirements, i, max, requirement)
    {
        struct str type, uuid;
        TRY(json_get_str(requirement, "type", JSON_REQUIRED, &type, err));
        if (!str_eq(type, STR("assert-view-uuid"))) {
            return err_set(err, E_INVALID, "requirement \"%.*s\" is not one of views",
                           STR_ARG(type));
        }
        TRY(json_get_str(requirement, "uuid", JSON_REQUIRED, &uuid, err));
        if (!str_eq_nocase(uuid, val_str(yyjson_obj_get(base, "view-uuid")))) {
            return err_set(err, E_CONFLICT, "Requirement failed: view UUID does not match");
        }
    }
    return OK;
}

/* --- repeats --- */

static bool same_version(yyjson_val *a, yyjson_val *b, int64_t schema_id);

static bool has_version(yyjson_val *base, yyjson_val *version)
{
    size_t i, max;
    yyjson_val *known, *at = yyjson_obj_get(version, "timestamp-ms");
    ARR_EACH(yyjson_obj_get(base, "versions"), i, max, known)
    {
        yyjson_val *then = yyjson_obj_get(known, "timestamp-ms");
        int64_t schema_id = yyjson_get_sint(yyjson_obj_get(known, "schema-id"));
        if (at != NULL && then != NULL && yyjson_equals(at, then) &&
            same_version(known, version, schema_id)) {
            return true;
        }
    }
    return false;
}

bool ice_view_is_repeat(yyjson_val *base, yyjson_val *updates)
{
    size_t i, max, added = 0;
    yyjson_val *update;
    ARR_EACH(updates, i, max, update)
    {
        if (yyjson_equals_str(yyjson_obj_get(update, "action"), "add-view-version")) {
            added++;
            if (!has_version(base, yyjson_obj_get(update, "view-version"))) {
                return false;
            }
        }
    }
    return added > 0;
}

/* --- updates --- */

static enum status assign_uuid(struct view_doc *view, yyjson_val *update, struct err *err)
{
    struct str uuid;
    TRY(json_get_str(update, "uuid", JSON_REQUIRED, &uuid, err));
    if (uuid.len != UUID_LEN || str_has_control(uuid) ||
        (view->uuid.len > 0 && !str_eq_nocase(view->uuid, uuid))) {
        return err_set(err, E_INVALID,
                       "\"%.*s\" is no uuid, or not the view's, which never changes",
                       STR_ARG(uuid));
    }
    view->changed = view->changed || view->uuid.len == 0;
    view->uuid = view->uuid.len == 0 ? uuid : view->uuid;
    return OK;
}

static enum status upgrade_version(struct view_doc *view, yyjson_val *update, struct err *err)
{
    int64_t version = 0;
    (void)view;
    TRY(json_get_i64(update, "format-version", JSON_REQUIRED, &version, err));
    return version == FORMAT ? OK
                             : err_set(err, E_INVALID, "format version %lld of views is not known",
                                       (long long)version);
}

static enum status add_schema(struct view_doc *view, yyjson_val *update, struct err *err)
{
    yyjson_val *json = NULL;
    struct ice_schema schema, known;
    struct change_item *item;
    int64_t id = 0;
    TRY(json_get_obj(update, "schema", JSON_REQUIRED, &json, err));
    enum status status = ice_schema_parse(view->memory.arena, json, &schema, err);
    if (status == E_CORRUPT && err != NULL) {
        return err_set(err, E_INVALID, "%s", err->msg);
    }
    TRY(status);
    for (size_t i = 0; i < view->schemas.count; i++) {
        TRY(ice_schema_parse(view->memory.arena, view->schemas.items[i].val, &known, err));
        if (ice_schema_same(&schema, &known)) {
            view->added_schema = view->schemas.items[i].id;
            return OK;
        }
        id = view->schemas.items[i].id >= id ? view->schemas.items[i].id + 1 : id;
    }
    TRY(change_add(&view->memory, &view->schemas, &item, err));
    item->id = view->added_schema = id;
    view->changed = true;
    return change_with_number(&view->memory, json, "schema-id", id, &item->val, err);
}

static enum status set_location(struct view_doc *view, yyjson_val *update, struct err *err)
{
    struct str location;
    TRY(json_get_str(update, "location", JSON_REQUIRED, &location, err));
    while (location.len > 0 && location.ptr[location.len - 1] == '/') {
        location.len--;
    }
    if (location.len == 0) {
        return err_set(err, E_INVALID, "\"location\" is empty");
    }
    view->changed = view->changed || !str_eq(location, view->location);
    view->location = location;
    return OK;
}

static enum status set_properties(struct view_doc *view, yyjson_val *update, struct err *err)
{
    yyjson_val *updates = NULL, *key, *val;
    size_t i, max;
    TRY(json_get_obj(update, "updates", JSON_REQUIRED, &updates, err));
    yyjson_obj_foreach(updates, i, max, key, val)
    {
        struct change_item *item = change_find_key(&view->properties, val_str(key));
        if (!yyjson_is_str(val)) {
            return err_set(err, E_INVALID, "property \"%.*s\" is no text", STR_ARG(val_str(key)));
        }
        if (item != NULL && yyjson_equals(item->val, val)) {
            continue;
        }
        if (item == NULL) {
            TRY(change_add(&view->memory, &view->properties, &item, err));
            item->key = val_str(key);
        }
        item->val = val;
        view->changed = true;
    }
    return OK;
}

static enum status remove_properties(struct view_doc *view, yyjson_val *update, struct err *err)
{
    yyjson_val *removals = NULL, *val;
    size_t i, max;
    TRY(json_get_arr(update, "removals", JSON_REQUIRED, &removals, err));
    yyjson_arr_foreach(removals, i, max, val)
    {
        struct change_item *item = change_find_key(&view->properties, val_str(val));
        if (item != NULL) {
            change_remove(&view->properties, item);
            view->changed = true;
        }
    }
    return OK;
}

/* --- versions --- */

/** One text for each dialect. */
static enum status check_representations(yyjson_val *version, struct err *err)
{
    yyjson_val *list = NULL;
    size_t count;
    TRY(json_get_arr(version, "representations", JSON_REQUIRED, &list, err));
    count = yyjson_arr_size(list);
    for (size_t i = 0; i < count; i++) {
        struct str type, sql, dialect;
        yyjson_val *one = yyjson_arr_get(list, i);
        TRY(json_get_str(one, "type", JSON_REQUIRED, &type, err));
        TRY(json_get_str(one, "sql", JSON_REQUIRED, &sql, err));
        TRY(json_get_str(one, "dialect", JSON_REQUIRED, &dialect, err));
        if (!str_eq(type, STR("sql"))) {
            return err_set(err, E_INVALID, "a representation of type \"%.*s\" is not known",
                           STR_ARG(type));
        }
        for (size_t k = 0; k < i; k++) {
            yyjson_val *other = yyjson_obj_get(yyjson_arr_get(list, k), "dialect");
            if (str_eq_nocase(dialect, val_str(other))) {
                return err_set(err, E_INVALID,
                               "Invalid view version: Cannot add multiple queries for dialect %.*s",
                               STR_ARG(dialect));
            }
        }
    }
    return count > 0 ? OK : err_set(err, E_INVALID, "a version without a representation");
}

/** But for its id and its time. */
static bool same_version(yyjson_val *a, yyjson_val *b, int64_t schema_id)
{
    static const char *const members[] = { "summary", "representations", "default-catalog",
                                           "default-namespace" };
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        yyjson_val *x = yyjson_obj_get(a, members[i]), *y = yyjson_obj_get(b, members[i]);
        if ((x == NULL || yyjson_is_null(x)) != (y == NULL || yyjson_is_null(y)) ||
            (x != NULL && y != NULL && !change_same(x, y))) {
            return false;
        }
    }
    return yyjson_get_sint(yyjson_obj_get(a, "schema-id")) == schema_id;
}

static enum status check_version(struct view_doc *view, yyjson_val *version, int64_t *schema_out,
                                 struct err *err)
{
    yyjson_val *value = NULL;
    int64_t at = 0;
    TRY(json_get_i64(version, "timestamp-ms", JSON_REQUIRED, &at, err));
    TRY(json_get_i64(version, "schema-id", JSON_REQUIRED, schema_out, err));
    TRY(json_get_obj(version, "summary", JSON_REQUIRED, &value, err));
    TRY(json_get_arr(version, "default-namespace", JSON_REQUIRED, &value, err));
    TRY(check_representations(version, err));
    *schema_out = *schema_out == -1 ? view->added_schema : *schema_out;
    return change_find(&view->schemas, *schema_out) != NULL
               ? OK
               : err_set(err, E_INVALID, "a version of schema %lld, which is not there",
                         (long long)*schema_out);
}

static enum status add_version(struct view_doc *view, yyjson_val *update, struct err *err)
{
    yyjson_val *version = NULL, *with_schema;
    struct change_item *item;
    int64_t schema_id = 0, id = 1;
    TRY(json_get_obj(update, "view-version", JSON_REQUIRED, &version, err));
    TRY(check_version(view, version, &schema_id, err));
    for (size_t i = 0; i < view->versions.count; i++) {
        if (same_version(view->versions.items[i].val, version, schema_id)) {
            view->added_version = view->versions.items[i].id;
            return OK;
        }
        id = view->versions.items[i].id >= id ? view->versions.items[i].id + 1 : id;
    }
    TRY(change_add(&view->memory, &view->added, &item, err));
    item->id = id;
    TRY(change_add(&view->memory, &view->versions, &item, err));
    item->id = view->added_version = id;
    view->changed = true;
    TRY(change_with_number(&view->memory, version, "schema-id", schema_id, &with_schema, err));
    return change_with_number(&view->memory, with_schema, "version-id", id, &item->val, err);
}

static enum status log_version(struct view_doc *view, const struct change_item *version,
                               struct err *err)
{
    struct change_item *item;
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    bool added = change_find(&view->added, version->id) != NULL;
    int64_t at = yyjson_get_sint(yyjson_obj_get(version->val, "timestamp-ms"));
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_obj_begin(&w);
    jw_kv_i64(&w, "timestamp-ms", added ? at : view->change->now_ms);
    jw_kv_i64(&w, "version-id", version->id);
    jw_obj_end(&w);
    TRY(change_add(&view->memory, &view->log, &item, err));
    item->id = version->id;
    return change_made(&view->memory, &w, &text, &item->val, err);
}

static enum status set_current(struct view_doc *view, yyjson_val *update, struct err *err)
{
    int64_t id = 0;
    TRY(json_get_i64(update, "view-version-id", JSON_REQUIRED, &id, err));
    id = id == -1 ? view->added_version : id;
    const struct change_item *version = change_find(&view->versions, id);
    if (version == NULL) {
        return err_set(err, E_INVALID, "version %lld is not there", (long long)id);
    }
    if (id == view->current) {
        return OK;
    }
    view->current = id;
    view->changed = true;
    return log_version(view, version, err);
}

static const struct {
    const char *action;
    enum status (*apply)(struct view_doc *view, yyjson_val *update, struct err *err);
} actions[] = {
    { "assign-uuid", assign_uuid },       { "upgrade-format-version", upgrade_version },
    { "add-schema", add_schema },         { "set-location", set_location },
    { "set-properties", set_properties }, { "remove-properties", remove_properties },
    { "add-view-version", add_version },  { "set-current-view-version", set_current },
};

static enum status apply_one(struct view_doc *view, yyjson_val *update, struct err *err)
{
    struct str action;
    TRY(json_get_str(update, "action", JSON_REQUIRED, &action, err));
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(action, str_of(actions[i].action))) {
            return actions[i].apply(view, update, err);
        }
    }
    return err_set(err, E_INVALID, "update \"%.*s\" is not one of views", STR_ARG(action));
}

/* --- at the end --- */

static struct str property(struct view_doc *view, struct str name)
{
    const struct change_item *item = change_find_key(&view->properties, name);
    return item == NULL ? STR_EMPTY : val_str(item->val);
}

static bool has_dialect(yyjson_val *version, struct str dialect)
{
    size_t i, max;
    yyjson_val *one;
    ARR_EACH(yyjson_obj_get(version, "representations"), i, max, one)
    {
        if (str_eq_nocase(val_str(yyjson_obj_get(one, "dialect")), dialect)) {
            return true;
        }
    }
    return false;
}

/** Who replaces a view in one dialect must not take it from those who read another. */
static enum status check_dialects(struct view_doc *view, struct err *err)
{
    const struct change_item *was = change_find(&view->versions, view->was);
    const struct change_item *now = change_find(&view->versions, view->current);
    size_t i, max;
    yyjson_val *one;
    if (was == NULL || was == now ||
        str_eq_nocase(property(view, STR("replace.drop-dialect.allowed")), STR("true"))) {
        return OK;
    }
    ARR_EACH(yyjson_obj_get(was->val, "representations"), i, max, one)
    {
        struct str dialect = val_str(yyjson_obj_get(one, "dialect"));
        if (!has_dialect(now->val, dialect)) {
            return err_set(err, E_INVALID,
                           "Cannot replace view due to loss of view dialects: %.*s "
                           "(replace.drop-dialect.allowed=true allows it)",
                           STR_ARG(dialect));
        }
    }
    return OK;
}

/** The oldest versions go, never the current one nor one of this change. */
static void drop_versions(struct view_doc *view)
{
    int64_t most = VERSIONS_DEFAULT;
    if (!str_to_i64(property(view, STR("version.history.num-entries")), &most) || most < 1) {
        most = VERSIONS_DEFAULT;
    }
    for (size_t i = 0; i < view->versions.count && view->versions.count > (size_t)most;) {
        struct change_item *item = &view->versions.items[i];
        if (item->id == view->current || change_find(&view->added, item->id) != NULL) {
            i++;
        } else {
            change_remove(&view->versions, item);
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < view->log.count; i++) {
        if (change_find(&view->versions, view->log.items[i].id) == NULL) {
            kept = 0;
        } else {
            view->log.items[kept++] = view->log.items[i];
        }
    }
    view->log.count = kept;
}

static void write_list(struct json_writer *w, const char *name, const struct change_list *list)
{
    jw_kv_arr(w, name);
    for (size_t i = 0; i < list->count; i++) {
        jw_val(w, list->items[i].val);
    }
    jw_arr_end(w);
}

static bool is_ours(struct str key)
{
    static const char *const own[] = { "view-uuid",  "format-version", "location",
                                       "schemas",    "versions",       "current-version-id",
                                       "properties", "version-log" };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (str_eq(key, str_of(own[i]))) {
            return true;
        }
    }
    return false;
}

static enum status write_view(struct view_doc *view, struct buf *out, struct err *err)
{
    struct json_writer w;
    size_t i, max;
    yyjson_val *key, *val;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    jw_kv_str(&w, "view-uuid", view->uuid);
    jw_kv_i64(&w, "format-version", FORMAT);
    jw_kv_str(&w, "location", view->location);
    write_list(&w, "schemas", &view->schemas);
    jw_kv_i64(&w, "current-version-id", view->current);
    write_list(&w, "versions", &view->versions);
    write_list(&w, "version-log", &view->log);
    jw_kv_obj(&w, "properties");
    for (size_t p = 0; p < view->properties.count; p++) {
        jw_key(&w, view->properties.items[p].key);
        jw_val(&w, view->properties.items[p].val);
    }
    jw_obj_end(&w);
    OBJ_EACH(view->base, i, max, key, val)
    {
        if (!is_ours(val_str(key))) {
            jw_key(&w, val_str(key));
            jw_val(&w, val);
        }
    }
    jw_obj_end(&w);
    enum status status = json_writer_end(&w);
    return status == OK ? OK : err_set(err, status, "the view's metadata cannot be written");
}

static enum status apply_all(struct view_doc *view, struct err *err)
{
    size_t i, max;
    yyjson_val *update;
    if (yyjson_arr_size(view->change->updates) > UPDATES_MAX) {
        return err_set(err, E_INVALID, "a change of more than %d updates", UPDATES_MAX);
    }
    ARR_EACH(view->change->updates, i, max, update)
    {
        if (!yyjson_is_obj(update)) {
            return err_set(err, E_INVALID, "\"updates\" must hold objects");
        }
        TRY(apply_one(view, update, err));
    }
    if (view->uuid.len == 0 || view->location.len == 0 || view->current < 0) {
        return err_set(err, E_INVALID,
                       "a new view needs assign-uuid, set-location, add-schema, add-view-version "
                       "and set-current-view-version");
    }
    TRY(check_dialects(view, err));
    drop_versions(view);
    return OK;
}

enum status ice_view_apply(yyjson_val *base, const struct ice_change *change, struct arena *arena,
                           struct buf *out, bool *changed_out, struct err *err)
{
    AUTO(view_doc_done) struct view_doc view = { 0 };
    TRY(open_view(&view, base, change, arena, err));
    TRY(apply_all(&view, err));
    if (view.changed) {
        TRY(write_view(&view, out, err));
    }
    *changed_out = view.changed;
    return OK;
}

/* --- a new view --- */

static enum status write_updates(const struct ice_create *create, struct json_writer *w,
                                 struct err *err)
{
    yyjson_val *schema = NULL, *version = NULL, *properties = NULL, *key, *val;
    size_t i, max;
    TRY(json_get_obj(create->request, "schema", JSON_REQUIRED, &schema, err));
    TRY(json_get_obj(create->request, "view-version", JSON_REQUIRED, &version, err));
    TRY(json_get_obj(create->request, "properties", JSON_OPTIONAL, &properties, err));
    jw_arr_begin(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "assign-uuid");
    jw_kv_str(w, "uuid", create->uuid);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "set-location");
    jw_kv_str(w, "location", create->location);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "set-properties");
    jw_kv_obj(w, "updates");
    OBJ_EACH(properties, i, max, key, val)
    {
        jw_key(w, val_str(key));
        jw_val(w, val);
    }
    jw_obj_end(w);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "add-schema");
    jw_key(w, STR("schema"));
    jw_val(w, schema);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "add-view-version");
    jw_kv_obj(w, "view-version");
    OBJ_EACH(version, i, max, key, val)
    {
        if (!yyjson_equals_str(key, "schema-id")) {
            jw_key(w, val_str(key));
            jw_val(w, val);
        }
    }
    jw_kv_i64(w, "schema-id", -1);
    jw_obj_end(w);
    jw_obj_end(w);
    jw_obj_begin(w);
    jw_kv_cstr(w, "action", "set-current-view-version");
    jw_kv_i64(w, "view-version-id", -1);
    jw_obj_end(w);
    jw_arr_end(w);
    return OK;
}

static enum status make_view(const struct ice_create *create, struct arena *arena, struct buf *out,
                             struct err *err)
{
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    bool changed = false;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    TRY(write_updates(create, &w, err));
    enum status status = json_writer_end(&w);
    if (status != OK) {
        return err_set(err, status, "the view's metadata cannot be written");
    }
    TRY(json_parse(buf_str(&text), &doc, err));
    const struct ice_change change = { .updates = yyjson_doc_get_root(doc),
                                       .now_ms = create->now_ms };
    return ice_view_apply(NULL, &change, arena, out, &changed, err);
}

enum status ice_view_create(const struct ice_create *create, struct buf *out, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = make_view(create, &arena, out, err);
    arena_done(&arena);
    return status;
}
