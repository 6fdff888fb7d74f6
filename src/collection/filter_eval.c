/*
 * A filter against one object: what filters mean, plainly. Field indexes answer the same, see
 * plan.c.
 *
 * A condition holds when one of the values that its path leads to fulfils it; what negates holds
 * when none does.
 */
#include "collection/filter_priv.h"

static int text_cmp(const char *value, enum value_kind kind, const struct operand *operand)
{
    if (kind != operand->kind) {
        return kind < operand->kind ? -1 : 1;
    }
    switch (kind) {
    case VALUE_NUMBER:
        return number_cmp(value_number(value), operand->number);
    case VALUE_STRING:
        return value_string_cmp(value_string(value), operand->plain);
    case VALUE_MISSING:
    case VALUE_NULL:
    case VALUE_FALSE:
    case VALUE_TRUE:
    case VALUE_ARRAY:
    case VALUE_OBJECT:
        break;
    }
    return 0;
}

/** The operands are sorted; containers, which are equal in that order, stand beside each other. */
static bool is_one_of(const char *value, const struct filter *filter)
{
    enum value_kind kind = value_kind(value);
    kind = kind == VALUE_MISSING ? VALUE_NULL : kind;
    size_t low = 0;
    size_t high = filter->value_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (text_cmp(value, kind, &filter->values[middle]) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < filter->value_count; low++) {
        const struct operand *operand = &filter->values[low];
        if (text_cmp(value, kind, operand) != 0) {
            return false;
        }
        if (operand->text == NULL || value_equal(value, operand->text)) {
            return true;
        }
    }
    return false;
}

static bool is_bool(enum value_kind kind)
{
    return kind == VALUE_FALSE || kind == VALUE_TRUE;
}

static bool is_in_range(const char *value, const struct filter *filter)
{
    const struct operand *operand = &filter->values[0];
    enum value_kind kind = value_kind(value);
    if (kind != operand->kind && !(is_bool(kind) && is_bool(operand->kind))) {
        return false;
    }
    int order = text_cmp(value, kind, operand);
    switch (filter->op) {
    case RANGE_GT:
        return order > 0;
    case RANGE_GTE:
        return order >= 0;
    case RANGE_LT:
        return order < 0;
    case RANGE_LTE:
        return order <= 0;
    }
    return false;
}

static bool visit(void *ctx, const char *value)
{
    const struct filter *filter = ctx;
    if (filter->kind == FILTER_EXISTS) {
        return value != NULL;
    }
    return filter->kind == FILTER_IN ? is_one_of(value, filter) : is_in_range(value, filter);
}

bool filter_matches(const struct filter *filter, const char *object)
{
    switch (filter->kind) {
    case FILTER_NOT:
        return !filter_matches(filter->children[0], object);
    case FILTER_AND:
    case FILTER_OR:
        for (size_t i = 0; i < filter->child_count; i++) {
            if (filter_matches(filter->children[i], object) == (filter->kind == FILTER_OR)) {
                return filter->kind == FILTER_OR;
            }
        }
        return filter->kind == FILTER_AND;
    case FILTER_IN:
    case FILTER_RANGE:
    case FILTER_EXISTS:
        break;
    }
    return path_walk(filter->path, object, visit, (void *)filter);
}
