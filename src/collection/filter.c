/*
 * Reading filters. What negates becomes NOT of what it negates, a field's equality becomes $in of
 * one value, several conditions become AND: six kinds of nodes are left, which filter_eval.c and
 * plan.c know.
 */
#include "collection/filter.h"

#include <stdlib.h>

#include "base/json.h"
#include "collection/filter_priv.h"

enum { DEPTH_MAX = 32, CONDITIONS_MAX = 1000 };

struct parse {
    struct arena *arena;
    struct err *err;
    size_t conditions;
};

enum place { BESIDE_FIELDS, WITHIN_FIELD };
enum name {
    N_EQ,
    N_NE,
    N_IN,
    N_NIN,
    N_GT,
    N_GTE,
    N_LT,
    N_LTE,
    N_EXISTS,
    N_AND,
    N_OR,
    N_NOR,
    N_NOT
};

static const struct {
    const char *text;
    bool in_field, beside;
} NAMES[] = {
    [N_EQ] = { "$eq", true, false },   [N_NE] = { "$ne", true, false },
    [N_IN] = { "$in", true, false },   [N_NIN] = { "$nin", true, false },
    [N_GT] = { "$gt", true, false },   [N_GTE] = { "$gte", true, false },
    [N_LT] = { "$lt", true, false },   [N_LTE] = { "$lte", true, false },
    [N_AND] = { "$and", false, true }, [N_EXISTS] = { "$exists", true, false },
    [N_OR] = { "$or", false, true },   [N_NOR] = { "$nor", false, true },
    [N_NOT] = { "$not", true, true },
};

static enum status parse_object(struct parse *parse, yyjson_val *object, unsigned depth,
                                struct filter **out);
static enum status parse_field(struct parse *parse, const struct path *path, yyjson_val *value,
                               unsigned depth, struct filter **out);

/* --- names --- */

static enum status unknown_operator(struct parse *parse, struct str text)
{
    size_t best = 0;
    size_t nearest = SIZE_MAX;
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        size_t distance = str_distance(text, str_of(NAMES[i].text));
        if (distance < nearest) {
            nearest = distance;
            best = i;
        }
    }
    if (nearest * 2 <= text.len) {
        return err_set(parse->err, E_INVALID,
                       "filter: operator \"%.*s\" is not known, did you mean \"%s\"?",
                       STR_ARG(text), NAMES[best].text);
    }
    return err_set(parse->err, E_INVALID,
                   "filter: operator \"%.*s\" is not known (the nearest is \"%s\"; there are $eq, "
                   "$ne, $in, $nin, $gt, $gte, $lt, $lte, $exists, $and, $or, $nor, $not)",
                   STR_ARG(text), NAMES[best].text);
}

static enum status find_operator(struct parse *parse, struct str text, enum place place,
                                 enum name *out)
{
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (!str_eq(text, str_of(NAMES[i].text))) {
            continue;
        }
        if (place == WITHIN_FIELD && !NAMES[i].in_field) {
            return err_set(parse->err, E_INVALID,
                           "filter: operator \"%s\" stands beside fields, not within one",
                           NAMES[i].text);
        }
        if (place == BESIDE_FIELDS && !NAMES[i].beside) {
            return err_set(parse->err, E_INVALID,
                           "filter: operator \"%s\" stands within a field, as {\"field\": {\"%s\": "
                           "...}}",
                           NAMES[i].text, NAMES[i].text);
        }
        *out = (enum name)i;
        return OK;
    }
    return unknown_operator(parse, text);
}

static struct str text_of(yyjson_val *string)
{
    return str_from(yyjson_get_str(string), yyjson_get_len(string));
}

static bool is_operator(yyjson_val *key)
{
    return str_starts(text_of(key), STR("$"));
}

/* --- nodes --- */

static enum status new_node(struct parse *parse, enum filter_kind kind, size_t child_count,
                            struct filter **out)
{
    struct filter *filter = ARENA_NEW(parse->arena, struct filter);
    if (filter == NULL) {
        return err_no_memory(parse->err);
    }
    filter->kind = kind;
    filter->children = arena_array(parse->arena, child_count, sizeof(*filter->children));
    *out = filter;
    return filter->children != NULL ? OK : err_no_memory(parse->err);
}

static enum status new_condition(struct parse *parse, enum filter_kind kind,
                                 const struct path *path, size_t value_count, struct filter **out)
{
    if (++parse->conditions > CONDITIONS_MAX) {
        return err_set(parse->err, E_INVALID, "filter: more than %d conditions", CONDITIONS_MAX);
    }
    TRY(new_node(parse, kind, 0, out));
    (*out)->path = path;
    (*out)->values = arena_array(parse->arena, value_count, sizeof(*(*out)->values));
    return (*out)->values != NULL ? OK : err_no_memory(parse->err);
}

static enum status negate(struct parse *parse, struct filter **filter)
{
    struct filter * not;
    TRY(new_node(parse, FILTER_NOT, 1, &not));
    not->children[not->child_count++] = *filter;
    *filter = not;
    return OK;
}

/* --- values --- */

int operand_cmp(const struct operand *a, const struct operand *b)
{
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->kind == VALUE_NUMBER) {
        return number_cmp(a->number, b->number);
    }
    return a->kind == VALUE_STRING ? str_cmp(a->plain, b->plain) : 0;
}

static int operand_order(const void *a, const void *b)
{
    return operand_cmp(a, b);
}

static enum status parse_operand(struct parse *parse, yyjson_val *value, struct operand *out)
{
    AUTO(buf_done) struct buf text;
    buf_init(&text, 0);
    if (value_write(value, &text) != OK) {
        return err_no_memory(parse->err);
    }
    char *copy = arena_cstr(parse->arena, buf_str(&text));
    if (copy == NULL) {
        return err_no_memory(parse->err);
    }
    *out = (struct operand){ .kind = value_kind(copy) };
    if (out->kind == VALUE_NUMBER) {
        out->number = value_number(copy);
    } else if (out->kind == VALUE_STRING) {
        out->plain = arena_str(parse->arena, text_of(value));
        return out->plain.ptr != NULL ? OK : err_no_memory(parse->err);
    } else if (out->kind == VALUE_ARRAY || out->kind == VALUE_OBJECT) {
        out->text = copy;
    }
    return OK;
}

static enum status parse_equal(struct parse *parse, const struct path *path, yyjson_val *value,
                               struct filter **out)
{
    TRY(new_condition(parse, FILTER_IN, path, 1, out));
    (*out)->value_count = 1;
    return parse_operand(parse, value, &(*out)->values[0]);
}

static enum status parse_in(struct parse *parse, const struct path *path, yyjson_val *list,
                            const char *name, struct filter **out)
{
    if (!yyjson_is_arr(list)) {
        return err_set(parse->err, E_INVALID, "filter: \"%s\" wants an array of values", name);
    }
    TRY(new_condition(parse, FILTER_IN, path, yyjson_arr_size(list), out));
    size_t i, count;
    yyjson_val *value;
    yyjson_arr_foreach(list, i, count, value)
    {
        TRY(parse_operand(parse, value, &(*out)->values[i]));
        (*out)->value_count++;
    }
    qsort((*out)->values, count, sizeof(*(*out)->values), operand_order);
    return OK;
}

static enum status parse_range(struct parse *parse, const struct path *path, yyjson_val *value,
                               enum name name, struct filter **out)
{
    static const enum range_op ops[] = {
        [N_GT] = RANGE_GT,
        [N_GTE] = RANGE_GTE,
        [N_LT] = RANGE_LT,
        [N_LTE] = RANGE_LTE,
    };
    if (!yyjson_is_num(value) && !yyjson_is_raw(value) && !yyjson_is_str(value) &&
        !yyjson_is_bool(value)) {
        return err_set(parse->err, E_INVALID,
                       "filter: \"%s\" wants a number, a string or a boolean", NAMES[name].text);
    }
    TRY(new_condition(parse, FILTER_RANGE, path, 1, out));
    (*out)->op = ops[name];
    (*out)->value_count = 1;
    return parse_operand(parse, value, &(*out)->values[0]);
}

static enum status parse_exists(struct parse *parse, const struct path *path, yyjson_val *value,
                                struct filter **out)
{
    if (!yyjson_is_bool(value)) {
        return err_set(parse->err, E_INVALID, "filter: \"$exists\" wants true or false");
    }
    TRY(new_condition(parse, FILTER_EXISTS, path, 0, out));
    return yyjson_get_bool(value) ? OK : negate(parse, out);
}

/* --- operators --- */

static enum status parse_field_not(struct parse *parse, const struct path *path, yyjson_val *value,
                                   unsigned depth, struct filter **out)
{
    yyjson_obj_iter first = yyjson_obj_iter_with(value);
    yyjson_val *key = yyjson_obj_iter_next(&first);
    if (key == NULL || !is_operator(key)) {
        return err_set(parse->err, E_INVALID,
                       "filter: \"$not\" within a field wants an object of operators");
    }
    TRY(parse_field(parse, path, value, depth + 1, out));
    return negate(parse, out);
}

static enum status parse_operator(struct parse *parse, const struct path *path, yyjson_val *key,
                                  yyjson_val *value, unsigned depth, struct filter **out)
{
    enum name name = N_EQ;
    TRY(find_operator(parse, text_of(key), WITHIN_FIELD, &name));
    switch (name) {
    case N_EQ:
        return parse_equal(parse, path, value, out);
    case N_NE:
        TRY(parse_equal(parse, path, value, out));
        return negate(parse, out);
    case N_IN:
        return parse_in(parse, path, value, "$in", out);
    case N_NIN:
        TRY(parse_in(parse, path, value, "$nin", out));
        return negate(parse, out);
    case N_GT:
    case N_GTE:
    case N_LT:
    case N_LTE:
        return parse_range(parse, path, value, name, out);
    case N_EXISTS:
        return parse_exists(parse, path, value, out);
    case N_NOT:
    case N_AND:
    case N_OR:
    case N_NOR:
        break;
    }
    return parse_field_not(parse, path, value, depth, out);
}

static enum status too_deep(struct parse *parse)
{
    return err_set(parse->err, E_INVALID, "filter: nested deeper than %d", DEPTH_MAX);
}

/** The value of a field: what it equals, or an object of operators. */
static enum status parse_field(struct parse *parse, const struct path *path, yyjson_val *value,
                               unsigned depth, struct filter **out)
{
    size_t i, count;
    size_t operators = 0;
    yyjson_val *key, *operand;
    yyjson_obj_foreach(value, i, count, key, operand)
    {
        operators += is_operator(key);
    }
    if (operators == 0) {
        return parse_equal(parse, path, value, out);
    }
    if (operators != yyjson_obj_size(value)) {
        return err_set(parse->err, E_INVALID,
                       "filter: field \"%.*s\" mixes operators and names (\"$eq\" takes an object "
                       "as a value)",
                       STR_ARG(path->text));
    }
    if (depth > DEPTH_MAX) {
        return too_deep(parse);
    }
    TRY(new_node(parse, FILTER_AND, operators, out));
    yyjson_obj_foreach(value, i, count, key, operand)
    {
        TRY(parse_operator(parse, path, key, operand, depth, &(*out)->children[i]));
        (*out)->child_count++;
    }
    return OK;
}

static enum status parse_list(struct parse *parse, yyjson_val *list, enum name name, unsigned depth,
                              struct filter **out)
{
    if (yyjson_arr_size(list) == 0) { /* of no array, too */
        return err_set(parse->err, E_INVALID, "filter: \"%s\" wants an array of filters",
                       NAMES[name].text);
    }
    TRY(new_node(parse, name == N_AND ? FILTER_AND : FILTER_OR, yyjson_arr_size(list), out));
    size_t i, count;
    yyjson_val *value;
    yyjson_arr_foreach(list, i, count, value)
    {
        TRY(parse_object(parse, value, depth + 1, &(*out)->children[i]));
        (*out)->child_count++;
    }
    return name == N_NOR ? negate(parse, out) : OK;
}

static enum status parse_member(struct parse *parse, yyjson_val *key, yyjson_val *value,
                                unsigned depth, struct filter **out)
{
    if (is_operator(key)) {
        enum name name = N_NOT;
        TRY(find_operator(parse, text_of(key), BESIDE_FIELDS, &name));
        if (name != N_NOT) {
            return parse_list(parse, value, name, depth, out);
        }
        TRY(parse_object(parse, value, depth + 1, out));
        return negate(parse, out);
    }
    struct path *path;
    TRY(path_parse(text_of(key), parse->arena, &path, parse->err));
    return parse_field(parse, path, value, depth + 1, out);
}

static enum status parse_object(struct parse *parse, yyjson_val *object, unsigned depth,
                                struct filter **out)
{
    if (!yyjson_is_obj(object)) {
        return err_set(parse->err, E_INVALID, "filter: a filter is an object");
    }
    if (depth > DEPTH_MAX) {
        return too_deep(parse);
    }
    if (++parse->conditions > CONDITIONS_MAX) {
        return err_set(parse->err, E_INVALID, "filter: more than %d conditions", CONDITIONS_MAX);
    }
    TRY(new_node(parse, FILTER_AND, yyjson_obj_size(object), out));
    size_t i, count;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, count, key, value)
    {
        TRY(parse_member(parse, key, value, depth, &(*out)->children[i]));
        (*out)->child_count++;
    }
    return OK;
}

enum status filter_parse(struct str json, struct arena *arena, struct filter **out, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct parse parse = { .arena = arena, .err = err };
    struct filter *filter;
    TRY(json_parse(json, &doc, err));
    TRY(parse_object(&parse, yyjson_doc_get_root(doc), 1, &filter));
    *out = filter;
    return OK;
}

bool filter_is_empty(const struct filter *filter)
{
    return filter->kind == FILTER_AND && filter->child_count == 0;
}
