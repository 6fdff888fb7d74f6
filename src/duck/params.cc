/*
 * Parameters: a JSON array for `?` and `$1`, an object for `$name`. Integers are BIGINT, other
 * numbers DOUBLE; nesting is refused, for there is no one type that a nested value would have.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/parser/sql_statement.hpp"

using namespace duckdb;

namespace lake {

namespace {

Value param_value(yyjson_val *value, const string &name)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_NULL:
        return Value();
    case YYJSON_TYPE_BOOL:
        return Value::BOOLEAN(yyjson_get_bool(value));
    case YYJSON_TYPE_STR: {
        string text(yyjson_get_str(value), yyjson_get_len(value));
        if (text.find('\0') != string::npos) {
            throw_refusal(optional_idx(), "parameter " + name + " has a NUL character in it");
        }
        return Value(text);
    }
    case YYJSON_TYPE_NUM:
        if (yyjson_is_sint(value)) {
            return Value::BIGINT(yyjson_get_sint(value));
        }
        if (yyjson_is_uint(value)) {
            uint64_t number = yyjson_get_uint(value);
            return number <= INT64_MAX ? Value::BIGINT((int64_t)number)
                                       : Value::HUGEINT(hugeint_t(0, number));
        }
        return Value::DOUBLE(yyjson_get_num(value));
    case YYJSON_TYPE_RAW: { /* an integer of more than 64 bits, or a number too long for a double */
        string text(yyjson_get_raw(value), yyjson_get_len(value));
        return Value(text).DefaultCastAs(
            text.find_first_of(".eE") == string::npos ? LogicalType::HUGEINT : LogicalType::DOUBLE);
    }
    default:
        throw_refusal(optional_idx(),
                      "parameter " + name +
                          " is nested: only numbers, strings, booleans and null are possible");
    }
}

struct ScopedDoc {
    yyjson_doc *doc = nullptr;
    ~ScopedDoc() { yyjson_doc_free(doc); }
};

} // namespace

Params parse_params(struct str json)
{
    Params params;
    if (str_trim(json).len == 0) {
        return params;
    }
    ScopedDoc scoped;
    struct err err = {};
    if (json_parse(json, &scoped.doc, &err) != OK) {
        throw_status(err.kind, string("params: ") + err.msg);
    }
    yyjson_val *root = yyjson_doc_get_root(scoped.doc);
    size_t index, count;
    yyjson_val *key, *value;
    if (yyjson_is_arr(root)) {
        yyjson_arr_foreach(root, index, count, value)
        {
            string name = std::to_string(index + 1);
            params.emplace(name, BoundParameterData(param_value(value, name)));
        }
    } else if (yyjson_is_obj(root)) {
        yyjson_obj_foreach(root, index, count, key, value)
        {
            string name(yyjson_get_str(key), yyjson_get_len(key));
            if (!params.emplace(name, BoundParameterData(param_value(value, name))).second) {
                throw_refusal(optional_idx(),
                              "parameter " + name + " is given twice (names ignore case)");
            }
        }
    } else if (!yyjson_is_null(root)) {
        throw_refusal(optional_idx(), "params is an array for ? and $1, or an object for $name");
    }
    return params;
}

Params params_for(const SQLStatement &statement, const Params &all)
{
    Params used;
    for (auto &wanted : statement.named_param_map) {
        auto given = all.find(wanted.first);
        if (given == all.end()) {
            throw_refusal(optional_idx(), "the statement has a parameter $" + wanted.first +
                                              ", but params has no value for it");
        }
        used.emplace(wanted.first, given->second);
    }
    return used;
}

} // namespace lake
