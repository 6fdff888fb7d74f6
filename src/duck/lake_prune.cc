/*
 * Can any row of this file pass that filter? Only a certain "no" leaves a file out; everything not
 * understood is a "maybe".
 *
 * Bounds come as text that casts to the column's type. They say nothing about NaN, which DuckDB
 * orders above every number, so the upper bound of a floating column never excludes `x > 5`. A
 * string bound may be cut: it is still a bound.
 */
#include "duck/duck_priv.hpp"

#include "base/murmur3.h"

#include "duckdb/planner/expression/list.hpp"
#include "duckdb/planner/filter/list.hpp"

using namespace duckdb;

namespace lake {

namespace {

/** What a file's rows may hold in one column. */
struct Range {
    Value lower; /* NULL: unknown */
    Value upper;
    bool may_be_nan = false;
    bool may_be_null = true;
    bool may_be_value = true;  /* false: every row is NULL */
    uint32_t bucket_count = 0; /* of a column that the file is in a bucket of; 0: of none */
    uint32_t bucket = 0;
};

Value bound_value(struct str text, const LogicalType &type)
{
    Value value;
    string problem;
    if (text.ptr == nullptr) {
        return value;
    }
    if (type.id() == LogicalTypeId::VARCHAR) {
        return Value(lake::to_string(text));
    }
    int64_t number = 0;
    if (type.id() == LogicalTypeId::BIGINT) { /* the usual one, and a cast costs microseconds */
        return str_to_i64(text, &number) ? Value::BIGINT(number) : Value();
    }
    return Value(lake::to_string(text)).DefaultTryCastAs(type, value, &problem) ? value : Value();
}

bool has_order_we_know(const LogicalType &type)
{
    switch (type.id()) {
    case LogicalTypeId::BOOLEAN:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
    case LogicalTypeId::DECIMAL:
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIME:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_TZ:
    case LogicalTypeId::VARCHAR:
        return true;
    default:
        return false;
    }
}

Range range_of(const struct duck_table &table, const struct duck_column &column,
               const LogicalType &type, uint32_t file)
{
    Range range;
    struct duck_bounds bounds = {};
    bounds.null_count = -1;
    bounds.value_count = -1;
    struct err err = {};
    enum status status = table.bounds(table.bounds_ctx, file, column.id, &bounds, &err);
    if (status == E_NOT_FOUND) {
        return range;
    }
    if (status != OK) {
        throw_err(err);
    }
    if (has_order_we_know(type)) {
        range.lower = bound_value(bounds.lower, type);
        range.upper = bound_value(bounds.upper, type);
    }
    range.may_be_nan = type.id() == LogicalTypeId::FLOAT || type.id() == LogicalTypeId::DOUBLE;
    range.bucket_count = bounds.bucket_count;
    range.bucket = bounds.bucket;
    range.may_be_null = bounds.null_count != 0;
    range.may_be_value = bounds.null_count < 0 || bounds.value_count < 0 ||
                         bounds.null_count < bounds.value_count;
    return range;
}

bool is_nan(const Value &value)
{
    return (value.type().id() == LogicalTypeId::DOUBLE && Value::IsNan(value.GetValue<double>())) ||
           (value.type().id() == LogicalTypeId::FLOAT && Value::IsNan(value.GetValue<float>()));
}

/** `a < b` of one type. */
bool is_less(const Value &a, const Value &b)
{
    if (a.type().id() == LogicalTypeId::BIGINT) {
        return a.GetValueUnsafe<int64_t>() < b.GetValueUnsafe<int64_t>();
    }
    return a < b;
}

/** As Iceberg hashes a value for a bucket; false for a type that has no buckets, or is not known to
 * be stored as this one. Source: the table specification, appendix B. */
bool bucket_hash(const Value &value, uint32_t &out)
{
    int64_t whole = 0;
    switch (value.type().id()) {
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
        whole = value.GetValue<int64_t>();
        break;
    case LogicalTypeId::DATE:
        whole = value.GetValueUnsafe<date_t>().days;
        break;
    case LogicalTypeId::TIME:
        whole = value.GetValueUnsafe<dtime_t>().micros;
        break;
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_TZ:
        whole = value.GetValueUnsafe<timestamp_t>().value;
        break;
    case LogicalTypeId::VARCHAR:
    case LogicalTypeId::BLOB: {
        auto &text = StringValue::Get(value);
        out = murmur3_32(str_from(text.data(), text.size()));
        return true;
    }
    default:
        return false;
    }
    out = murmur3_32(str_from((const char *)&whole, sizeof(whole))); /* little endian */
    return true;
}

bool bucket_is_out(const Range &range, const Value &constant)
{
    uint32_t hash;
    return range.bucket_count > 0 && bucket_hash(constant, hash) &&
           (hash & INT32_MAX) % range.bucket_count != range.bucket;
}

/** No value in the range satisfies `value <op> constant`. */
bool comparison_is_out(const Range &range, ExpressionType op, const Value &constant)
{
    if (constant.IsNull()) {
        return false;
    }
    if (!range.may_be_value) {
        /* every row is NULL, and a NULL is distinct from the constant but never compares with it */
        return op != ExpressionType::COMPARE_DISTINCT_FROM;
    }
    bool lower = !range.lower.IsNull() && range.lower.type() == constant.type();
    bool upper = !range.upper.IsNull() && range.upper.type() == constant.type();
    switch (op) {
    case ExpressionType::COMPARE_EQUAL:
        if (is_nan(constant)) {
            return !range.may_be_nan;
        }
        if (bucket_is_out(range, constant)) {
            return true;
        }
        return (lower && is_less(constant, range.lower)) ||
               (upper && is_less(range.upper, constant));
    case ExpressionType::COMPARE_LESSTHAN:
        return lower && !is_nan(constant) && !is_less(range.lower, constant);
    case ExpressionType::COMPARE_LESSTHANOREQUALTO:
        return lower && is_less(constant, range.lower);
    case ExpressionType::COMPARE_GREATERTHAN:
        return upper && !range.may_be_nan && !is_less(constant, range.upper);
    case ExpressionType::COMPARE_GREATERTHANOREQUALTO:
        return upper && !range.may_be_nan && is_less(range.upper, constant);
    default:
        return false;
    }
}

/** The column of a nested filter: the field of that place. */
const struct duck_column *child_column(const struct duck_column &column, idx_t place)
{
    return place < column.child_count ? &column.children[place] : nullptr;
}

bool filter_is_out(const TableFilter &filter, const std::function<const Range &()> &range,
                   const std::function<bool(const StructFilter &)> &nested)
{
    switch (filter.filter_type) {
    case TableFilterType::CONSTANT_COMPARISON: {
        auto &comparison = filter.Cast<ConstantFilter>();
        return comparison_is_out(range(), comparison.comparison_type, comparison.constant);
    }
    case TableFilterType::IS_NULL:
        return !range().may_be_null;
    case TableFilterType::IS_NOT_NULL:
        return !range().may_be_value;
    case TableFilterType::IN_FILTER:
        for (auto &value : filter.Cast<InFilter>().values) {
            if (!comparison_is_out(range(), ExpressionType::COMPARE_EQUAL, value)) {
                return false;
            }
        }
        return true;
    case TableFilterType::CONJUNCTION_AND:
        for (auto &child : filter.Cast<ConjunctionAndFilter>().child_filters) {
            if (filter_is_out(*child, range, nested)) {
                return true;
            }
        }
        return false;
    case TableFilterType::CONJUNCTION_OR: {
        auto &children = filter.Cast<ConjunctionOrFilter>().child_filters;
        for (auto &child : children) {
            if (!filter_is_out(*child, range, nested)) {
                return false;
            }
        }
        return !children.empty();
    }
    case TableFilterType::OPTIONAL_FILTER: {
        auto &child = filter.Cast<OptionalFilter>().child_filter;
        return child && filter_is_out(*child, range, nested);
    }
    case TableFilterType::DYNAMIC_FILTER: {
        auto &data = filter.Cast<DynamicFilter>().filter_data;
        if (!data) {
            return false;
        }
        std::lock_guard<duckdb::mutex> guard(data->lock);
        return data->initialized && data->filter && filter_is_out(*data->filter, range, nested);
    }
    case TableFilterType::STRUCT_EXTRACT:
        return nested(filter.Cast<StructFilter>());
    default:
        return false;
    }
}

} // namespace

bool file_is_out(const TableFilter &filter, const struct duck_table &table,
                 const struct duck_column &column, const LogicalType &type, uint32_t file)
{
    Range range;
    bool known = false;
    auto lazy = [&]() -> const Range & {
        if (!known) {
            range = range_of(table, column, type, file);
            known = true;
        }
        return range;
    };
    auto nested = [&](const StructFilter &inner) {
        auto child = child_column(column, inner.child_idx);
        if (!child || !inner.child_filter || type.id() != LogicalTypeId::STRUCT) {
            return false;
        }
        return file_is_out(*inner.child_filter, table, *child,
                           StructType::GetChildType(type, inner.child_idx), file);
    };
    return filter_is_out(filter, lazy, nested);
}

bool ordinal_is_out(const TableFilter &filter, uint32_t ordinal)
{
    Range range;
    range.lower = Value::UBIGINT(ordinal);
    range.upper = range.lower;
    range.may_be_null = false;
    return filter_is_out(
        filter, [&]() -> const Range & { return range; },
        [](const StructFilter &) { return false; });
}

/* --- expressions, while planning --- */

namespace {

struct Operands {
    int64_t column = -1;
    ExpressionType op = ExpressionType::INVALID;
    const Value *constant = nullptr;
};

const Value *constant_in(const Expression &expr)
{
    return expr.GetExpressionClass() == ExpressionClass::BOUND_CONSTANT
               ? &expr.Cast<BoundConstantExpression>().value
               : nullptr;
}

int64_t column_in(const Expression &expr, const std::function<int64_t(idx_t)> &column_of)
{
    if (expr.GetExpressionClass() != ExpressionClass::BOUND_COLUMN_REF) {
        return -1;
    }
    auto &ref = expr.Cast<BoundColumnRefExpression>();
    return ref.depth == 0 ? column_of(ref.binding.column_index) : -1;
}

/** `column <op> constant` or the other way round. */
Operands operands_of(const Expression &expr, const std::function<int64_t(idx_t)> &column_of)
{
    Operands found;
    if (expr.GetExpressionClass() != ExpressionClass::BOUND_COMPARISON) {
        return found;
    }
    auto &comparison = expr.Cast<BoundComparisonExpression>();
    found.op = comparison.GetExpressionType();
    found.column = column_in(*comparison.left, column_of);
    found.constant = constant_in(*comparison.right);
    if (found.column < 0 || !found.constant) {
        found.op = FlipComparisonExpression(found.op);
        found.column = column_in(*comparison.right, column_of);
        found.constant = constant_in(*comparison.left);
    }
    return found;
}

} // namespace

namespace {

/** A filter expression against one file. */
class FileTest {
  public:
    FileTest(const struct duck_table &table_p, const vector<LogicalType> &types_p,
             const std::function<int64_t(idx_t)> &column_of_p, uint32_t file_p)
        : table(table_p), types(types_p), column_of(column_of_p), file(file_p)
    {}
    bool IsOut(const Expression &filter) const;

  private:
    bool Conjunction(const BoundConjunctionExpression &filter) const;
    bool Between(const BoundBetweenExpression &filter) const;
    bool Operator(const BoundOperatorExpression &filter) const;
    Range Of(int64_t column) const
    {
        return range_of(table, table.columns[column], types[(idx_t)column], file);
    }

    const struct duck_table &table;
    const vector<LogicalType> &types;
    const std::function<int64_t(idx_t)> &column_of;
    uint32_t file;
};

bool FileTest::IsOut(const Expression &filter) const
{
    switch (filter.GetExpressionClass()) {
    case ExpressionClass::BOUND_COMPARISON: {
        auto found = operands_of(filter, column_of);
        return found.column >= 0 && found.constant &&
               comparison_is_out(Of(found.column), found.op, *found.constant);
    }
    case ExpressionClass::BOUND_CONJUNCTION:
        return Conjunction(filter.Cast<BoundConjunctionExpression>());
    case ExpressionClass::BOUND_BETWEEN:
        return Between(filter.Cast<BoundBetweenExpression>());
    case ExpressionClass::BOUND_OPERATOR:
        return Operator(filter.Cast<BoundOperatorExpression>());
    default:
        return false;
    }
}

bool FileTest::Conjunction(const BoundConjunctionExpression &filter) const
{
    bool is_and = filter.GetExpressionType() == ExpressionType::CONJUNCTION_AND;
    for (auto &child : filter.children) {
        if (IsOut(*child) == is_and) {
            return is_and;
        }
    }
    return !is_and && !filter.children.empty();
}

bool FileTest::Between(const BoundBetweenExpression &filter) const
{
    int64_t column = column_in(*filter.input, column_of);
    auto lower = constant_in(*filter.lower);
    auto upper = constant_in(*filter.upper);
    return column >= 0 &&
           ((lower && comparison_is_out(Of(column), filter.LowerComparisonType(), *lower)) ||
            (upper && comparison_is_out(Of(column), filter.UpperComparisonType(), *upper)));
}

bool FileTest::Operator(const BoundOperatorExpression &filter) const
{
    int64_t column = filter.children.empty() ? -1 : column_in(*filter.children[0], column_of);
    if (column < 0) {
        return false;
    }
    auto range = Of(column);
    switch (filter.GetExpressionType()) {
    case ExpressionType::OPERATOR_IS_NULL:
        return !range.may_be_null;
    case ExpressionType::OPERATOR_IS_NOT_NULL:
        return !range.may_be_value;
    case ExpressionType::COMPARE_IN:
        for (idx_t i = 1; i < filter.children.size(); i++) {
            auto value = constant_in(*filter.children[i]);
            if (!value || !comparison_is_out(range, ExpressionType::COMPARE_EQUAL, *value)) {
                return false;
            }
        }
        return true;
    default:
        return false;
    }
}

} // namespace

bool file_is_out(const Expression &filter, const struct duck_table &table,
                 const vector<LogicalType> &types, const std::function<int64_t(idx_t)> &column_of,
                 uint32_t file)
{
    return FileTest(table, types, column_of, file).IsOut(filter);
}

} // namespace lake
