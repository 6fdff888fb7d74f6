/*
 * CALL procedure('table', name => value, ..) as what it asks for, in JSON: {"do":"call",
 * "procedure","namespace","name","args":{..}}. src/query/call.c lists the procedures.
 *
 * The values are computed by a SELECT of the arguments, which goes through the guard: they may have
 * parameters, functions and subqueries.
 */
#include "duck/write_priv.hpp"

#include "duckdb/common/types/timestamp.hpp"
#include "duckdb/parser/expression/function_expression.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/qualified_name.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/call_statement.hpp"
#include "duckdb/parser/tableref/emptytableref.hpp"

using namespace duckdb;

namespace lake {

namespace {

constexpr const char *TABLE = "table";
constexpr const char *WHERE = "where";

/** The arguments as the columns of a SELECT; the first is the table's name. */
Ptr<SelectNode> select_arguments(FunctionExpression &call)
{
    auto node = make_uniq<SelectNode>();
    case_insensitive_set_t seen;
    node->from_table = make_uniq<EmptyTableRef>();
    for (idx_t i = 0; i < call.children.size(); i++) {
        auto &argument = call.children[i];
        string name = i == 0 && !argument->HasAlias() ? string(TABLE) : argument->GetAlias();
        if (name.empty()) {
            throw_refusal(argument->GetQueryLocation(),
                          "arguments but the table have names: name => value");
        }
        if (!seen.insert(name).second) {
            throw_refusal(argument->GetQueryLocation(),
                          "the argument \"" + name + "\" stands twice");
        }
        argument->SetAlias(StringUtil::Lower(name));
        node->select_list.push_back(std::move(argument));
    }
    return node;
}

/** Moments are milliseconds since 1970. */
void write_value(struct json_writer &w, const string &name, const Value &value)
{
    jw_key(&w, to_str(name));
    switch (value.type().id()) {
    case LogicalTypeId::BOOLEAN:
        jw_bool(&w, value.GetValue<bool>());
        return;
    case LogicalTypeId::TINYINT:
    case LogicalTypeId::SMALLINT:
    case LogicalTypeId::INTEGER:
    case LogicalTypeId::BIGINT:
        jw_i64(&w, value.GetValue<int64_t>());
        return;
    case LogicalTypeId::DECIMAL:
    case LogicalTypeId::FLOAT:
    case LogicalTypeId::DOUBLE:
        jw_double(&w, value.GetValue<double>());
        return;
    case LogicalTypeId::DATE:
    case LogicalTypeId::TIMESTAMP:
    case LogicalTypeId::TIMESTAMP_TZ: {
        auto moment = value.DefaultCastAs(LogicalType::TIMESTAMP).GetValue<timestamp_t>();
        jw_i64(&w, Timestamp::GetEpochMs(moment));
        return;
    }
    case LogicalTypeId::VARCHAR:
        jw_str(&w, to_str(value.GetValue<string>()));
        return;
    default:
        throw_refusal(optional_idx(),
                      "the argument \"" + name + "\" cannot be " + value.type().ToString());
    }
}

/** One row. */
Ptr<DataChunk> compute(struct duck_write &write, Ptr<SelectNode> node, vector<string> &names)
{
    auto result = start(*write.session, guarded(write, std::move(node)), write.params);
    auto chunk = result->FetchRaw();
    if (result->HasError()) {
        result->ThrowError();
    }
    if (!chunk || chunk->size() != 1) {
        throw_refusal(optional_idx(), "the arguments of a procedure are one row");
    }
    names = result->names;
    return chunk;
}

string table_argument(const vector<string> &names, const DataChunk &row)
{
    auto value = row.GetValue(0, 0);
    if (names[0] != TABLE || value.IsNull() || value.type().id() != LogicalTypeId::VARCHAR) {
        throw_refusal(optional_idx(),
                      "the first argument is the table: CALL procedure('name', ..)");
    }
    return value.GetValue<string>();
}

/** One word of a statement, in lower case, without what follows it. */
string word_of(const string &sql, const vector<SimplifiedToken> &tokens, idx_t i)
{
    idx_t end = i + 1 < tokens.size() ? tokens[i + 1].start : sql.size();
    string word = sql.substr(tokens[i].start, end - tokens[i].start);
    StringUtil::RTrim(word);
    return StringUtil::Lower(word);
}

} // namespace

string call_text(const string &sql)
{
    const idx_t call_len = 4;
    idx_t begin = sql.find_first_not_of(" \t\r\n");
    if (begin == string::npos || !StringUtil::CIEquals(sql.substr(begin, call_len), "call")) {
        return sql;
    }
    auto tokens = Parser::Tokenize(sql);
    string text = sql;
    for (idx_t i = tokens.size(); i-- > 0;) {
        if (word_of(sql, tokens, i) == WHERE && i + 1 < tokens.size() &&
            word_of(sql, tokens, i + 1).compare(0, 2, "=>") == 0) {
            text.insert(tokens[i].start + strlen(WHERE), 1, '"');
            text.insert(tokens[i].start, 1, '"');
        }
    }
    return text;
}

void describe_call(struct duck_write &write)
{
    auto &function = *write.statement->Cast<CallStatement>().function;
    auto &call = function.Cast<FunctionExpression>();
    vector<string> names;
    if (!call.catalog.empty() || (!call.schema.empty() && call.schema != "system")) {
        throw_refusal(call.GetQueryLocation(), "there is no procedure \"" + call.ToString() + "\"");
    }
    if (call.children.empty()) {
        throw_refusal(call.GetQueryLocation(),
                      "the first argument is the table: CALL procedure('name', ..)");
    }
    write.kind = DUCK_WRITE_CALL;
    write.procedure = StringUtil::Lower(call.function_name);
    auto row = compute(write, select_arguments(call), names);
    auto table = QualifiedName::Parse(table_argument(names, *row));
    set_target(write, table.catalog, table.schema, table.name);
    Request request(write, "call");
    request.Text("procedure", write.procedure);
    jw_kv_obj(&request.w, "args");
    for (idx_t i = 1; i < names.size(); i++) {
        auto value = row->GetValue(i, 0);
        if (!value.IsNull()) {
            write_value(request.w, names[i], value);
        }
    }
    jw_obj_end(&request.w);
    request.End();
}

} // namespace lake
