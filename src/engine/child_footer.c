/*
 * The footer's tree has groups that types do not have: a list is a group with a repeated group with
 * an element in it, a map one with keys and values. Old writers leave levels out (Parquet format,
 * LogicalTypes.md, "Backward-compatibility rules").
 *
 *   l: list<int>     optional group l (LIST) { repeated group list { optional int32 element } }
 *   the same, older  optional group l (LIST) { repeated int32 array }      and  repeated int32 l
 */
#include "engine/child_footer.h"

struct reading {
    struct arena *arena;
    struct footer footer;
    size_t cap;
    bool root_seen;
};

static int32_t number_of(struct str cell)
{
    int64_t number;
    return cell.ptr != NULL && str_to_i64(cell, &number) && number >= 0 && number <= INT32_MAX
               ? (int32_t)number
               : 0;
}

static enum status add_node(void *ctx, const struct str *cells, size_t count, struct err *err)
{
    struct reading *r = ctx;
    struct str texts[4];
    (void)count;
    if (!r->root_seen) {
        r->root_seen = true;
        return OK;
    }
    if (r->footer.count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        struct footer_node *nodes = arena_array(r->arena, cap, sizeof(*nodes));
        if (nodes == NULL) {
            return err_no_memory(err);
        }
        if (r->footer.count > 0) {
            memcpy(nodes, r->footer.nodes, r->footer.count * sizeof(*nodes));
        }
        r->footer.nodes = nodes;
        r->cap = cap;
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str cell = cells[3 + i];
        texts[i] = cell.ptr != NULL ? arena_str(r->arena, cell) : STR_EMPTY;
        if (texts[i].ptr == NULL) {
            return err_no_memory(err);
        }
    }
    r->footer.nodes[r->footer.count++] = (struct footer_node){ .id = number_of(cells[0]),
                                                               .children = number_of(cells[1]),
                                                               .repeated = str_eq(cells[2],
                                                                                  STR("REPEATED")),
                                                               .name = texts[0],
                                                               .stored = texts[1],
                                                               .logical = texts[2],
                                                               .sql = texts[3] };
    return OK;
}

enum status footer_read(struct duck_session *session, struct arena *arena, struct footer *out,
                        struct err *err)
{
    struct reading r = { .arena = arena };
    TRY(duck_rows(session,
                  STR("SELECT field_id, num_children, coalesce(repetition_type, ''), name, type, "
                      "coalesce(logical_type, converted_type), duckdb_type "
                      "FROM parquet_schema('spool://in')"),
                  add_node, &r, err));
    *out = r.footer;
    return OK;
}

/* --- the walk --- */

struct walk {
    const struct footer *footer;
    size_t at;
    enum status (*visit)(void *ctx, struct ice_field *field, const struct footer_node *node,
                         struct err *err);
    void *ctx;
};

static enum status next_node(struct walk *w, const struct footer_node **out, struct err *err)
{
    if (w->at >= w->footer->count) {
        return err_set(err, E_INVALID, "the Parquet footer's schema is not whole");
    }
    *out = &w->footer->nodes[w->at++];
    return OK;
}

static enum status walk_field(struct walk *w, struct ice_field *field, struct err *err);

static enum status walk_fields(struct walk *w, struct ice_type *type, struct err *err)
{
    for (size_t i = 0; i < type->field_count; i++) {
        TRY(walk_field(w, &type->fields[i], err));
    }
    return OK;
}

/** An element that the list's own node stands for. */
static enum status walk_nodeless(struct walk *w, struct ice_field *element, struct err *err)
{
    TRY(w->visit(w->ctx, element, NULL, err));
    return element->type.kind == ICE_STRUCT ? walk_fields(w, &element->type, err) : OK;
}

/** The repeated node of a list is its element itself, not a level around it. */
static bool is_element(const struct footer_node *list, const struct footer_node *repeated)
{
    struct str tuple = STR("_tuple"), name = repeated->name;
    return repeated->children != 1 || str_eq(name, STR("array")) ||
           (name.len == list->name.len + tuple.len && str_starts(name, list->name) &&
            str_ends(name, tuple));
}

static enum status walk_list(struct walk *w, const struct footer_node *list,
                             struct ice_field *element, struct err *err)
{
    if (list->repeated) {
        return walk_nodeless(w, element, err);
    }
    const struct footer_node *repeated = NULL;
    TRY(next_node(w, &repeated, err));
    if (is_element(list, repeated)) {
        w->at--;
    }
    return walk_field(w, element, err);
}

static enum status walk_field(struct walk *w, struct ice_field *field, struct err *err)
{
    const struct footer_node *node = NULL, *pairs = NULL;
    TRY(next_node(w, &node, err));
    TRY(w->visit(w->ctx, field, node, err));
    if (field->type.kind == ICE_LIST) {
        return walk_list(w, node, &field->type.fields[0], err);
    }
    if (field->type.kind == ICE_MAP) {
        TRY(next_node(w, &pairs, err));
    }
    return walk_fields(w, &field->type, err);
}

enum status footer_walk(const struct footer *footer, struct ice_type *root,
                        enum status (*visit)(void *ctx, struct ice_field *field,
                                             const struct footer_node *node, struct err *err),
                        void *ctx, struct err *err)
{
    struct walk w = { .footer = footer, .visit = visit, .ctx = ctx };
    TRY(walk_fields(&w, root, err));
    return w.at == footer->count
               ? OK
               : err_set(err, E_INVALID, "the Parquet footer's schema is not as it is read");
}

/* --- leaves --- */

bool footer_is_unknown(const struct footer_node *node)
{
    return str_starts(node->logical, STR("NullType"));
}

const char *footer_foreign(const struct footer_node *node)
{
    static const struct {
        const char *sql, *what;
    } types[] = {
        { "UINTEGER", "unsigned integers of 32 bits" },
        { "UBIGINT", "unsigned integers of 64 bits" },
        { "TIMESTAMP_NS", "time stamps in nanoseconds" },
        { "TIME_NS", "times in nanoseconds" },
        { "INTERVAL", "intervals" },
    };
    if (footer_is_unknown(node)) {
        return "nothing but null, without a type";
    }
    if (str_eq(node->stored, STR("INT96"))) {
        return "time stamps of 96 bits";
    }
    if (str_find(node->logical, STR("NANOS=NanoSeconds")) != SIZE_MAX) {
        return "times in nanoseconds";
    }
    if (str_starts(node->logical, STR("Float16"))) {
        return "floats of 16 bits";
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_eq(node->sql, str_of(types[i].sql))) {
            return types[i].what;
        }
    }
    return NULL;
}
