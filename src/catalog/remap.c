/*
 * Two schemas of one fingerprint are walked side by side; the n-th id of one stands for the n-th of
 * the other.
 */
#include "catalog/remap.h"

struct pairs {
    int32_t *from, *to;
    size_t count, cap;
};

enum { DEPTH_MAX = 64 };

static size_t count_fields(const struct ice_type *type, int depth)
{
    size_t count = type->field_count;
    for (size_t i = 0; i < type->field_count && depth < DEPTH_MAX; i++) {
        count += count_fields(&type->fields[i].type, depth + 1);
    }
    return count;
}

static bool pair_up(const struct ice_type *from, const struct ice_type *to, struct pairs *pairs,
                    int depth)
{
    if (from->field_count != to->field_count || depth > DEPTH_MAX) {
        return false;
    }
    for (size_t i = 0; i < from->field_count; i++) {
        if (pairs->count == pairs->cap || !str_eq(from->fields[i].name, to->fields[i].name)) {
            return false;
        }
        pairs->from[pairs->count] = from->fields[i].id;
        pairs->to[pairs->count++] = to->fields[i].id;
        if (!pair_up(&from->fields[i].type, &to->fields[i].type, pairs, depth + 1)) {
            return false;
        }
    }
    return true;
}

static int32_t mapped(const struct pairs *pairs, int32_t id)
{
    for (size_t i = 0; i < pairs->count; i++) {
        if (pairs->from[i] == id) {
            return pairs->to[i];
        }
    }
    return 0;
}

enum status remap_stats(struct arena *arena, const struct ice_schema *from,
                        const struct ice_schema *to, bool has_ids, struct str key,
                        struct ice_data_file *out, struct err *err)
{
    struct pairs pairs = { .cap = count_fields(&from->root, 0) };
    pairs.from = arena_array(arena, pairs.cap, sizeof(*pairs.from));
    pairs.to = arena_array(arena, pairs.cap, sizeof(*pairs.to));
    struct ice_column_stats *columns = arena_array(arena, out->column_count, sizeof(*columns));
    if (pairs.from == NULL || pairs.to == NULL || columns == NULL) {
        return err_no_memory(err);
    }
    if (!pair_up(&from->root, &to->root, &pairs, 0)) {
        return err_set(err, E_CONFLICT, "\"%.*s\" has other columns than the table", STR_ARG(key));
    }
    for (size_t i = 0; has_ids && i < pairs.count; i++) {
        if (pairs.from[i] != pairs.to[i]) {
            return err_set(err, E_CONFLICT, "\"%.*s\" carries field id %d where the table has %d",
                           STR_ARG(key), pairs.from[i], pairs.to[i]);
        }
    }
    size_t count = 0;
    for (size_t i = 0; i < out->column_count; i++) {
        columns[count] = out->columns[i];
        columns[count].field_id = mapped(&pairs, out->columns[i].field_id);
        count += columns[count].field_id > 0 ? 1 : 0;
    }
    out->columns = columns;
    out->column_count = count;
    return OK;
}
