/*
 * The tree of kinds. A shape is made for each place that a value was seen at: the root object, its
 * fields, their fields, the elements of a list (all of them share one).
 *
 *   NONE -> BOOLEAN, STRING, LIST, OBJECT, INTEGER -> DOUBLE        null changes nothing
 *   anything else that meets a different kind -> MIXED, which is kept as text
 */
#include "engine/json_shape.h"

#include <math.h>

#include "base/map.h"

enum kind { NONE, BOOLEAN, INTEGER, DOUBLE, STRING, LIST, OBJECT, MIXED };

enum {
    SCALE_MAX = 15,  /* decimal places looked for in a double: it has 15 digits for sure */
    DIGITS_MAX = 38, /* of a decimal */
    NAME_FOLD_MAX = 256,
};
static const double EXACT_MAX = 9007199254740992.0; /* 2^53: a double has all integers below */

struct field;

struct shape {
    enum kind kind;
    bool has_integer;     /* DOUBLE: some values were integers */
    bool beyond;          /* an integer that no 64 bits hold */
    int64_t min, max;     /* of integers within 64 bits */
    uint32_t digits;      /* of the longest integer beyond them */
    uint32_t scale;       /* DOUBLE: decimal places; SCALE_MAX + 1: more than can be told */
    double magnitude;     /* DOUBLE: the largest absolute value */
    struct field *fields; /* OBJECT: in order of appearance; LIST: [0] is the element */
    size_t field_count, field_cap;
    struct map by_name; /* OBJECT: name in lower case -> index + 1 */
    struct shape *next; /* of all shapes with a map */
};

struct field {
    struct str name;
    struct shape *shape;
    uint64_t seen; /* the object that had it last: a name that comes twice is noticed by it */
};

struct json_shape {
    struct arena *arena;
    struct shape root;
    struct shape *with_maps;
    uint64_t objects;   /* counted, to tell them apart */
    size_t field_count; /* in all */
};

enum status json_shape_new(struct arena *arena, struct json_shape **out, struct err *err)
{
    struct json_shape *shape = ARENA_NEW(arena, struct json_shape);
    if (shape == NULL) {
        return err_no_memory(err);
    }
    shape->arena = arena;
    *out = shape;
    return OK;
}

void json_shape_free(struct json_shape *shape)
{
    for (struct shape *at = shape != NULL ? shape->with_maps : NULL; at != NULL; at = at->next) {
        map_done(&at->by_name);
    }
}

/* --- taking values in --- */

static enum status note(struct json_shape *js, struct shape *shape, yyjson_val *value,
                        struct err *err);

/** The shape has a value of `kind` now; false when it has become MIXED. */
static bool meet(struct shape *shape, enum kind kind)
{
    if (shape->kind == NONE) {
        shape->kind = kind;
    } else if (shape->kind == INTEGER && kind == DOUBLE) {
        shape->kind = DOUBLE;
    } else if (shape->kind == DOUBLE && kind == INTEGER) {
        return true;
    } else if (shape->kind != kind) {
        shape->kind = MIXED;
    }
    return shape->kind != MIXED;
}

static void note_magnitude(struct shape *shape, double value)
{
    shape->magnitude = fmax(shape->magnitude, fabs(value));
}

static void note_integer(struct shape *shape, int64_t value)
{
    if (!meet(shape, INTEGER)) {
        return;
    }
    if (!shape->has_integer || value < shape->min) {
        shape->min = value;
    }
    if (!shape->has_integer || value > shape->max) {
        shape->max = value;
    }
    shape->has_integer = true;
    note_magnitude(shape, (double)value);
}

static void note_beyond(struct shape *shape, uint32_t digits, double value)
{
    if (meet(shape, INTEGER)) {
        shape->beyond = true;
        shape->digits = digits > shape->digits ? digits : shape->digits;
        note_magnitude(shape, value);
    }
}

/** Decimal places after which the double is exactly what they say. A quotient of two exact doubles
 * is rounded correctly (IEEE 754), so it is the double that the decimal would be read as. */
static uint32_t scale_of(double value, uint32_t from)
{
    static const double powers[] = { 1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
    for (uint32_t scale = from; scale <= SCALE_MAX; scale++) {
        double units = round(value * powers[scale]);
        if (fabs(units) < EXACT_MAX && units / powers[scale] == value) {
            return scale;
        }
    }
    return SCALE_MAX + 1;
}

static void note_double(struct shape *shape, double value)
{
    if (meet(shape, DOUBLE)) {
        shape->scale = scale_of(value, shape->scale);
        note_magnitude(shape, value);
    }
}

/** A number that yyjson keeps as text: an integer beyond 64 bits, or one beyond all doubles. */
static void note_raw(struct shape *shape, struct str text)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    struct str digits = negative ? str_skip(text, 1) : text;
    double value;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
            shape->kind = MIXED;
            return;
        }
    }
    if (str_to_double(text, &value)) {
        note_beyond(shape, (uint32_t)(digits.len < 1000 ? digits.len : 1000), value);
    } else {
        shape->kind = MIXED;
    }
}

static struct shape *new_shape(struct json_shape *js)
{
    return ARENA_NEW(js->arena, struct shape);
}

static enum status add_field(struct json_shape *js, struct shape *shape, struct str name,
                             struct field **out, struct err *err)
{
    if (js->field_count >= JSON_SHAPE_FIELDS_MAX) {
        return err_set(err, E_INVALID, "the file has more than %d different fields",
                       JSON_SHAPE_FIELDS_MAX);
    }
    if (shape->field_count == shape->field_cap) {
        size_t cap = shape->field_cap ? shape->field_cap * 2 : 8;
        struct field *fields = arena_array(js->arena, cap, sizeof(*fields));
        if (fields == NULL) {
            return err_no_memory(err);
        }
        if (shape->field_count > 0) {
            memcpy(fields, shape->fields, shape->field_count * sizeof(*fields));
        }
        shape->fields = fields;
        shape->field_cap = cap;
    }
    struct field *field = &shape->fields[shape->field_count];
    *field = (struct field){ .name = arena_str(js->arena, name), .shape = new_shape(js) };
    if (field->name.ptr == NULL || field->shape == NULL) {
        return err_no_memory(err);
    }
    shape->field_count++;
    js->field_count++;
    *out = field;
    return OK;
}

static enum status add_named(struct json_shape *js, struct shape *shape, struct str name,
                             struct str key, struct err *err)
{
    struct field *field = NULL;
    if (name.len == 0) {
        return err_set(err, E_INVALID, "a field has an empty name");
    }
    if (str_find_char(name, '\0') != SIZE_MAX) { /* a value may have it, no name of a column can */
        return err_set(err, E_INVALID, "the field name \"%s...\" has a NUL character in it",
                       name.ptr);
    }
    TRY(add_field(js, shape, name, &field, err));
    if (shape->by_name.cap == 0) {
        shape->next = js->with_maps;
        js->with_maps = shape;
    }
    return map_put(&shape->by_name, key, (void *)(uintptr_t)shape->field_count, NULL) == OK
               ? OK
               : err_no_memory(err);
}

/** ASCII letters in lower case; a longer name is compared as it is. */
static struct str lower(struct str name, char text[static NAME_FOLD_MAX])
{
    if (name.len > NAME_FOLD_MAX) {
        return name;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return str_from(text, name.len);
}

/** The field of that name. Objects mostly have their fields in the same order, so the one behind
 * the last is tried first. */
static enum status find_field(struct json_shape *js, struct shape *shape, struct str name,
                              size_t guess, size_t *index_out, struct err *err)
{
    char text[NAME_FOLD_MAX];
    if (guess < shape->field_count && str_eq(shape->fields[guess].name, name)) {
        *index_out = guess;
        return OK;
    }
    struct str key = lower(name, text);
    size_t found = (size_t)(uintptr_t)map_get(&shape->by_name, key);
    if (found == 0) {
        TRY(add_named(js, shape, name, key, err));
        found = shape->field_count;
    } else if (!str_eq(shape->fields[found - 1].name, name)) {
        return err_set(err, E_INVALID, "the names \"%.*s\" and \"%.*s\" differ only by case",
                       STR_ARG(shape->fields[found - 1].name), STR_ARG(name));
    }
    *index_out = found - 1;
    return OK;
}

static enum status note_object(struct json_shape *js, struct shape *shape, yyjson_val *object,
                               struct err *err)
{
    uint64_t number = ++js->objects;
    size_t i, max, at = 0;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, max, key, value)
    {
        struct str name = str_from(yyjson_get_str(key), yyjson_get_len(key));
        TRY(find_field(js, shape, name, at, &at, err));
        struct field *field = &shape->fields[at];
        if (field->seen == number) {
            return err_set(err, E_INVALID, "an object has the field \"%.*s\" twice", STR_ARG(name));
        }
        field->seen = number;
        TRY(note(js, field->shape, value, err));
        at++;
    }
    return OK;
}

static enum status note_list(struct json_shape *js, struct shape *shape, yyjson_val *list,
                             struct err *err)
{
    size_t i, max;
    yyjson_val *value;
    struct field *element = shape->fields;
    if (element == NULL) {
        TRY(add_field(js, shape, STR("element"), &element, err));
    }
    yyjson_arr_foreach(list, i, max, value)
    {
        TRY(note(js, element->shape, value, err));
    }
    return OK;
}

static enum status note(struct json_shape *js, struct shape *shape, yyjson_val *value,
                        struct err *err)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_BOOL:
        (void)meet(shape, BOOLEAN);
        return OK;
    case YYJSON_TYPE_STR:
        (void)meet(shape, STRING);
        return OK;
    case YYJSON_TYPE_RAW:
        note_raw(shape, str_from(yyjson_get_raw(value), yyjson_get_len(value)));
        return OK;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(value)) {
            note_double(shape, yyjson_get_real(value));
        } else if (yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX) {
            note_beyond(shape, yyjson_get_uint(value) < 10000000000000000000ULL ? 19 : 20,
                        (double)yyjson_get_uint(value));
        } else {
            note_integer(shape, yyjson_get_sint(value));
        }
        return OK;
    case YYJSON_TYPE_OBJ:
        return meet(shape, OBJECT) ? note_object(js, shape, value, err) : OK;
    case YYJSON_TYPE_ARR:
        return meet(shape, LIST) ? note_list(js, shape, value, err) : OK;
    default:
        return OK; /* null */
    }
}

enum status json_shape_note(struct json_shape *shape, yyjson_val *record, struct err *err)
{
    if (!yyjson_is_obj(record)) {
        return err_set(err, E_INVALID, "the row is %s, not an object",
                       yyjson_get_type_desc(record));
    }
    return note_object(shape, &shape->root, record, err);
}

/* --- types --- */

static bool fits(const struct shape *shape, const struct ice_type *type);

static bool integers_fit(const struct shape *shape, const struct ice_type *type)
{
    char text[32];
    size_t digits = shape->digits;
    if (type->kind == ICE_DECIMAL) {
        int low = snprintf(text, sizeof(text), "%lld", (long long)shape->min);
        int high = snprintf(text, sizeof(text), "%lld", (long long)shape->max);
        size_t len = (size_t)(low - (shape->min < 0));
        digits = len > digits ? len : digits;
        len = (size_t)(high - (shape->max < 0));
        digits = len > digits ? len : digits;
        return digits + (size_t)type->scale <= (size_t)type->precision;
    }
    if (shape->beyond) {
        return false;
    }
    int64_t reach = type->kind == ICE_INT      ? INT32_MAX
                    : type->kind == ICE_LONG   ? INT64_MAX
                    : type->kind == ICE_DOUBLE ? INT64_C(1) << 53 /* integers a double has all of */
                    : type->kind == ICE_FLOAT  ? INT64_C(1) << 24
                                               : -1;
    bool whole = type->kind == ICE_INT || type->kind == ICE_LONG; /* two's complement */
    return reach > 0 && shape->max <= reach && shape->min >= -reach - whole;
}

static bool doubles_fit(const struct shape *shape, const struct ice_type *type)
{
    if (type->kind == ICE_DECIMAL) {
        return !shape->beyond && shape->scale <= (uint32_t)type->scale &&
               shape->magnitude < pow(10, type->precision - type->scale) &&
               shape->magnitude * pow(10, shape->scale) < 1e15;
    }
    return type->kind == ICE_DOUBLE ||
           (type->kind == ICE_FLOAT && shape->magnitude <= 3.4028234663852886e38 /* FLT_MAX */);
}

static const struct ice_field *field_of(const struct ice_type *type, struct str name)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (str_eq(type->fields[i].name, name)) {
            return &type->fields[i];
        }
    }
    return NULL;
}

static bool object_fits(const struct shape *shape, const struct ice_type *type)
{
    bool map = type->kind == ICE_MAP && type->fields[0].type.kind == ICE_STRING;
    if (type->kind != ICE_STRUCT && !map) {
        return false;
    }
    for (size_t i = 0; i < shape->field_count; i++) {
        const struct ice_field *field = map ? &type->fields[1]
                                            : field_of(type, shape->fields[i].name);
        if (field == NULL || !fits(shape->fields[i].shape, &field->type)) {
            return false;
        }
    }
    return true;
}

/** Every value can be read as `type` without loss. */
static bool fits(const struct shape *shape, const struct ice_type *type)
{
    switch (shape->kind) {
    case NONE:
        return type->kind != ICE_OTHER;
    case BOOLEAN:
        return type->kind == ICE_BOOLEAN;
    case INTEGER:
        return integers_fit(shape, type);
    case DOUBLE:
        return doubles_fit(shape, type);
    case STRING:
    case MIXED:
        return type->kind == ICE_STRING;
    case LIST:
        return type->kind == ICE_LIST && fits(shape->fields[0].shape, &type->fields[0].type);
    case OBJECT:
        return object_fits(shape, type);
    }
    return false;
}

static enum status type_of(const struct shape *shape, const struct ice_type *table,
                           struct arena *arena, struct ice_type *out, struct err *err);

static enum status nested_type(const struct shape *shape, const struct ice_type *table,
                               struct arena *arena, struct ice_type *out, struct err *err)
{
    bool list = shape->kind == LIST;
    bool same = table != NULL && table->kind == (list ? ICE_LIST : ICE_STRUCT);
    *out = (struct ice_type){ .kind = list ? ICE_LIST : ICE_STRUCT,
                              .field_count = shape->field_count };
    out->fields = arena_array(arena, shape->field_count, sizeof(*out->fields));
    if (out->fields == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < shape->field_count; i++) {
        const struct ice_field *theirs = same ? field_of(table, shape->fields[i].name) : NULL;
        out->fields[i].name = shape->fields[i].name;
        TRY(type_of(shape->fields[i].shape, theirs != NULL ? &theirs->type : NULL, arena,
                    &out->fields[i].type, err));
    }
    return OK;
}

static enum status type_of(const struct shape *shape, const struct ice_type *table,
                           struct arena *arena, struct ice_type *out, struct err *err)
{
    if (table != NULL && fits(shape, table)) {
        return ice_type_bare(arena, table, out, err);
    }
    switch (shape->kind) {
    case BOOLEAN:
        *out = (struct ice_type){ .kind = ICE_BOOLEAN };
        return OK;
    case INTEGER:
        *out = !shape->beyond ? (struct ice_type){ .kind = ICE_LONG }
               : shape->digits <= DIGITS_MAX
                   ? (struct ice_type){ .kind = ICE_DECIMAL, .precision = DIGITS_MAX }
                   : (struct ice_type){ .kind = ICE_STRING };
        return OK;
    case DOUBLE:
        *out = (struct ice_type){ .kind = ICE_DOUBLE };
        return OK;
    case LIST:
        return nested_type(shape, table, arena, out, err);
    case OBJECT:
        if (shape->field_count > 0) {
            return nested_type(shape, table, arena, out, err);
        }
        break; /* Iceberg has no struct without fields: an object that is always empty is text */
    case NONE:
    case STRING:
    case MIXED:
        break;
    }
    *out = (struct ice_type){ .kind = ICE_STRING };
    return OK;
}

size_t json_shape_field_count(const struct json_shape *shape)
{
    return shape->root.field_count;
}

struct str json_shape_field_name(const struct json_shape *shape, size_t i)
{
    return shape->root.fields[i].name;
}

enum status json_shape_field_type(const struct json_shape *shape, size_t i,
                                  const struct ice_type *table, struct arena *arena,
                                  struct ice_type *out, struct err *err)
{
    return type_of(shape->root.fields[i].shape, table, arena, out, err);
}

bool json_shape_field_is_text(const struct json_shape *shape, size_t i)
{
    return shape->root.fields[i].shape->kind == STRING;
}
