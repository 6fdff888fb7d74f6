/*
 * What a file's partition says of the columns that it was made of: from `day = 19700` follows that
 * every moment in the file lies in that day, from `truncate = "ab"` that every text begins so.
 */
#include "iceberg/calendar.h"
#include "iceberg/partition.h"

static const int64_t HOUR_US = 3600000000;
static const int64_t DAY_US = 86400000000;

/* --- bounds --- */

static enum status make_whole(struct arena *arena, const struct ice_type *type, int64_t value,
                              struct str *out, struct err *err)
{
    bool is_short = type->kind == ICE_INT || type->kind == ICE_DATE;
    size_t len = is_short ? sizeof(int32_t) : sizeof(int64_t);
    if (is_short && (value < INT32_MIN || value > INT32_MAX)) {
        return OK; /* no bound is a bound */
    }
    *out = arena_str(arena, str_from((const char *)&value, len)); /* little endian */
    return out->ptr == NULL ? err_no_memory(err) : OK;
}

static int64_t whole_of(struct str value)
{
    int32_t narrow = 0;
    int64_t wide = 0;
    if (value.len == sizeof(narrow)) {
        memcpy(&narrow, value.ptr, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, value.ptr, sizeof(wide));
    return wide;
}

static bool is_whole(struct str value)
{
    return value.len == sizeof(int32_t) || value.len == sizeof(int64_t);
}

/* --- truncate --- */

static enum status truncated_whole(struct arena *arena, const struct ice_partition_field *field,
                                   const struct ice_type *source, struct str value,
                                   struct ice_partition_range *out, struct err *err)
{
    int64_t upper = 0;
    if (!is_whole(value)) {
        return OK;
    }
    TRY(make_whole(arena, source, whole_of(value), &out->lower, err));
    return __builtin_add_overflow(whole_of(value), field->width - 1, &upper)
               ? OK
               : make_whole(arena, source, upper, &out->upper, err);
}

/** Big endian, in two's complement: the value and `width` - 1 more of its last decimals. */
static enum status truncated_decimal(struct arena *arena, const struct ice_partition_field *field,
                                     struct str value, struct ice_partition_range *out,
                                     struct err *err)
{
    enum { BYTES = 17 }; /* one more than a decimal has at most: no sum runs over */
    char sum[BYTES];
    if (value.len == 0 || value.len >= BYTES) {
        return OK;
    }
    memset(sum, (uint8_t)value.ptr[0] >= 0x80 ? 0xff : 0, sizeof(sum));
    memcpy(sum + BYTES - value.len, value.ptr, value.len);
    uint64_t carry = (uint64_t)field->width - 1;
    for (size_t i = BYTES; i-- > 0;) {
        carry += (uint8_t)sum[i];
        sum[i] = (char)(carry & 0xff);
        carry >>= 8;
    }
    bool fits = sum[0] == ((uint8_t)sum[1] >= 0x80 ? (char)0xff : 0);
    out->lower = value;
    if (fits) {
        out->upper = arena_str(arena, str_from(sum + 1, BYTES - 1));
        return out->upper.ptr == NULL ? err_no_memory(err) : OK;
    }
    return OK;
}

static size_t count_points(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += ((uint8_t)text.ptr[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return count;
}

/** A text above all that begin with `prefix`: the last byte that can grow does. It need be no UTF-8
 * for its order, but it shall be printed, so a code point grows by as much as its last byte may. */
static enum status above_prefix(struct arena *arena, struct str prefix, struct str *out,
                                struct err *err)
{
    char *copy = arena_cstr(arena, prefix);
    if (copy == NULL) {
        return err_no_memory(err);
    }
    for (size_t len = prefix.len; len > 0; len--) {
        uint8_t last = (uint8_t)copy[len - 1];
        bool follows = (last & 0xc0) == 0x80;
        if ((follows && last < 0xbf) || last < 0x7f) {
            copy[len - 1] = (char)(last + 1);
            *out = str_from(copy, len);
            return OK;
        }
        if (follows) { /* the whole code point goes: what stands before it grows instead */
            while (len > 1 && ((uint8_t)copy[len - 1] & 0xc0) == 0x80) {
                len--;
            }
        }
    }
    return OK; /* nothing is above it */
}

static enum status truncated_text(struct arena *arena, const struct ice_partition_field *field,
                                  struct str value, struct ice_partition_range *out,
                                  struct err *err)
{
    out->lower = value;
    if (count_points(value) < (size_t)field->width) {
        out->upper = value; /* it was not cut */
        return OK;
    }
    return above_prefix(arena, value, &out->upper, err);
}

static enum status truncated(struct arena *arena, const struct ice_partition_field *field,
                             const struct ice_type *source, struct str value,
                             struct ice_partition_range *out, struct err *err)
{
    if (source->kind == ICE_INT || source->kind == ICE_LONG) {
        return truncated_whole(arena, field, source, value, out, err);
    }
    if (source->kind == ICE_DECIMAL) {
        return truncated_decimal(arena, field, value, out, err);
    }
    return source->kind == ICE_STRING ? truncated_text(arena, field, value, out, err) : OK;
}

/* --- dates and moments --- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/** The first unit of the source (a day, or a microsecond) in a partition; false when there is no
 * such. */
static bool first_of(enum ice_transform transform, bool is_date, int64_t value, int64_t *out)
{
    enum { YEAR_0 = 1970, MONTHS = 12 };
    int64_t days = value;
    if (transform == ICE_HOUR) {
        return !is_date && !__builtin_mul_overflow(value, HOUR_US, out);
    }
    if (transform == ICE_YEAR) {
        days = calendar_days(YEAR_0 + value, 1, 1);
    } else if (transform == ICE_MONTH) {
        int64_t years = floor_div(value, MONTHS);
        days = calendar_days(YEAR_0 + years, value - years * MONTHS + 1, 1);
    }
    *out = days;
    return is_date || !__builtin_mul_overflow(days, DAY_US, out);
}

static enum status of_time(struct arena *arena, const struct ice_partition_field *field,
                           const struct ice_type *source, struct str value,
                           struct ice_partition_range *out, struct err *err)
{
    bool is_date = source->kind == ICE_DATE;
    int64_t first = 0;
    int64_t end = 0;
    if (!is_whole(value) ||
        (!is_date && source->kind != ICE_TIMESTAMP && source->kind != ICE_TIMESTAMPTZ)) {
        return OK;
    }
    int64_t number = whole_of(value);
    bool may_be_late = number <= 0 && !(is_date && field->transform == ICE_DAY);
    if (first_of(field->transform, is_date, number - (may_be_late ? 1 : 0), &first)) {
        TRY(make_whole(arena, source, first, &out->lower, err));
    }
    if (first_of(field->transform, is_date, number + 1, &end)) {
        TRY(make_whole(arena, source, end - 1, &out->upper, err));
    }
    return OK;
}

/* --- all of them --- */

enum status ice_partition_range(struct arena *arena, const struct ice_partition_field *field,
                                const struct ice_type *source, struct str value,
                                struct ice_partition_range *out, struct err *err)
{
    struct ice_partition_range range = { 0 };
    if (field->transform != ICE_VOID && field->transform != ICE_UNKNOWN) {
        range.all_null = value.ptr == NULL;
        range.none_null = value.ptr != NULL;
    }
    enum status kind = OK;
    switch (range.none_null ? field->transform : ICE_UNKNOWN) {
    case ICE_IDENTITY:
        range.is_value = true;
        range.lower = range.upper = value;
        break;
    case ICE_TRUNCATE:
        kind = truncated(arena, field, source, value, &range, err);
        break;
    case ICE_YEAR:
    case ICE_MONTH:
    case ICE_DAY:
    case ICE_HOUR:
        kind = of_time(arena, field, source, value, &range, err);
        break;
    case ICE_BUCKET:
    case ICE_VOID:
    case ICE_UNKNOWN:
        break;
    }
    if (kind == OK) {
        *out = range;
    }
    return kind;
}
