/*
 * A statement that writes: what it asks for, and the rows that it makes or takes away.
 *
 * Nothing of it is given to DuckDB as it is. A request (CREATE, ALTER, DROP, CALL) is told in JSON.
 * Rows are those of a SELECT made of the statement's parts, which goes through the guard like any
 * client's SELECT: INSERT's straight into a Parquet file, those of UPDATE, DELETE and MERGE into a
 * temporary table, with the place of each row that goes.
 */
#include "duck/script.hpp"
#include "duck/write_priv.hpp"

#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"
#include "duckdb/parser/statement/copy_statement.hpp"
#include "duckdb/parser/statement/create_statement.hpp"

using namespace duckdb;

namespace lake {

namespace {

/** The statements that this file is for. */
bool is_write(StatementType type)
{
    switch (type) {
    case StatementType::INSERT_STATEMENT:
    case StatementType::UPDATE_STATEMENT:
    case StatementType::DELETE_STATEMENT:
    case StatementType::MERGE_INTO_STATEMENT:
    case StatementType::CREATE_STATEMENT:
    case StatementType::ALTER_STATEMENT:
    case StatementType::DROP_STATEMENT:
    case StatementType::CALL_STATEMENT:
        return true;
    default:
        return false;
    }
}

/** The statement alone, if it writes; NULL: nothing in the text does, and the session keeps what
 * was parsed. */
unique_ptr<SQLStatement> parse_write(struct duck_session &session, const string &sql)
{
    auto statements = parse_text(session.connection->context->GetParserOptions(), call_text(sql));
    bool writes = false;
    for (auto &statement : statements) {
        writes = writes || is_write(statement->type);
    }
    if (!writes) {
        session.parsed = std::move(statements);
        session.parsed_sql = sql;
        return nullptr;
    }
    if (statements.size() != 1) {
        throw_refusal(optional_idx(), "a statement that writes stands alone: send the statements "
                                      "of this script one by one");
    }
    return std::move(statements[0]);
}

void describe(struct duck_write &write)
{
    switch (write.statement->type) {
    case StatementType::CREATE_STATEMENT:
    case StatementType::ALTER_STATEMENT:
    case StatementType::DROP_STATEMENT:
        describe_request(write);
        break;
    case StatementType::CALL_STATEMENT:
        describe_call(write);
        break;
    default:
        describe_rows(write);
    }
}

/** COPY .. TO with everything but its rows. */
unique_ptr<CopyStatement> copy_frame(ClientContext &context, const string &path,
                                     const string &field_ids, size_t parts)
{
    Parser parser(context.GetParserOptions());
    string text = "COPY (SELECT 1) TO ";
    text += KeywordHelper::WriteQuoted(path, '\'');
    text += " (FORMAT parquet, COMPRESSION zstd, RETURN_STATS, FIELD_IDS {";
    text += field_ids;
    text += '}';
    for (size_t i = 0; i < parts; i++) {
        text += i == 0 ? ", PARTITION_BY (" : ", ";
        text += DUCK_WRITE_PART + std::to_string(i);
    }
    text += parts > 0 ? "))" : ")";
    parser.ParseQuery(text);
    return unique_ptr_cast<SQLStatement, CopyStatement>(std::move(parser.statements[0]));
}

unique_ptr<QueryResult> copy_rows(struct duck_write &write, const Columns &columns,
                                  const struct duck_write_split &split, const string &path,
                                  const string &field_ids)
{
    auto &session = *write.session;
    auto copy = copy_frame(*session.connection->context, path, field_ids, split.count);
    auto select = select_new(write, columns, split);
    copy->named_param_map = select->named_param_map;
    copy->info->select_statement = std::move(select->node);
    session.state->sink = path;
    auto result = start(session, std::move(copy), write.params);
    return result;
}

/** How many rows of ours a condition holds for. */
int64_t count_ours(struct duck_session &session, const string &tail)
{
    auto result = session.connection->Query("SELECT count(*) FROM " + tail);
    if (result->HasError()) {
        result->ThrowError();
    }
    return result->GetValue(0, 0).GetValue<int64_t>();
}

void check_gathered(struct duck_write &write, const Columns &columns)
{
    auto &session = *write.session;
    const string rows = DUCK_WRITE_ROWS;
    if (write.kind != DUCK_WRITE_DELETE) {
        int64_t twice = count_ours(session, "(SELECT 1 FROM " + rows +
                                                " WHERE __file IS NOT NULL GROUP BY __file, __row "
                                                "HAVING count(*) > 1 LIMIT 1)");
        if (twice > 0) {
            throw_refusal(optional_idx(),
                          "a row of table \"" + write.name +
                              "\" would be changed twice: it has several matches in the source");
        }
    }
    for (auto &column : columns) {
        if (!column.required) {
            continue;
        }
        auto name = KeywordHelper::WriteQuoted(to_string(column.name), '"');
        string where = rows + " WHERE NOT __gone AND ";
        where += name;
        where += " IS NULL";
        int64_t nulls = count_ours(session, where);
        if (nulls > 0) {
            throw_refusal(optional_idx(), "column " + name + " is NOT NULL, but " +
                                              std::to_string(nulls) +
                                              " rows would have no value for it");
        }
    }
}

void gather(struct duck_write &write, const Columns &columns)
{
    auto &session = *write.session;
    if (write.kind == DUCK_WRITE_TRUNCATE) { /* there is nothing to compute */
        session.state->trusted = true;
        return;
    }
    auto create = make_uniq<CreateStatement>();
    auto info = make_uniq<CreateTableInfo>(TEMP_CATALOG, DEFAULT_SCHEMA, ROWS_TABLE);
    info->temporary = true;
    info->query = select_changed(write, columns);
    create->named_param_map = info->query->named_param_map;
    create->info = std::move(info);
    session.state->gathers = true;
    auto result = start(session, std::move(create), write.params);
    while (result->FetchRaw()) {
    }
    if (result->HasError()) {
        result->ThrowError();
    }
    session.state->gathers = false;
    session.state->trusted = true;
    check_gathered(write, columns);
}

} // namespace

} // namespace lake

using lake::fenced;

enum status duck_write_open(struct duck_session *session, struct str sql, struct str params,
                            struct duck_write **out, struct err *err)
{
    struct duck_write *write = nullptr;
    std::string text = lake::to_string(sql);
    enum status status = fenced(text, err, [&] {
        auto statement = lake::parse_write(*session, text);
        if (!statement) {
            return OK;
        }
        write = new struct duck_write();
        write->session = session;
        write->sql = text;
        write->statement = std::move(statement);
        write->params = lake::parse_params(params);
        lake::check_used(write->statement->named_param_map, write->params);
        (void)lake::params_for(*write->statement, write->params);
        lake::describe(*write);
        return OK;
    });
    if (status != OK) {
        duck_write_free(write);
        return status;
    }
    *out = write;
    return OK;
}

void duck_write_free(struct duck_write *write)
{
    if (!write) {
        return;
    }
    struct err ignored;
    (void)fenced(std::string(), &ignored, [&] {
        delete write;
        return OK;
    });
}

enum duck_write_kind duck_write_kind(const struct duck_write *write)
{
    return write->kind;
}

struct str duck_write_ns(const struct duck_write *write)
{
    return lake::to_str(write->ns);
}

struct str duck_write_name(const struct duck_write *write)
{
    return lake::to_str(write->name);
}

struct str duck_write_procedure(const struct duck_write *write)
{
    return lake::to_str(write->procedure);
}

struct str duck_write_request(const struct duck_write *write)
{
    return lake::to_str(write->request);
}

enum status duck_write_columns(struct duck_write *write, const struct duck_write_column **out,
                               size_t *count_out, struct err *err)
{
    return fenced(write->sql, err, [&] {
        vector<LogicalType> types;
        vector<std::string> names;
        auto select = lake::select_source(*write);
        lake::bind_columns(*write->session->connection->context, *select, write->params, types,
                           names);
        write->names.clear();
        for (auto &name : lake::unique_names(names)) {
            write->names.push_back(name);
        }
        write->columns.clear();
        write->type_names.clear();
        for (auto &type : types) {
            write->type_names.push_back(type.ToString());
        }
        for (idx_t i = 0; i < types.size(); i++) {
            write->columns.push_back(
                { lake::to_str(write->names[i]), lake::to_str(write->type_names[i]), false });
        }
        *out = write->columns.data();
        *count_out = write->columns.size();
        return OK;
    });
}

enum status duck_write_copy(struct duck_write *write, const struct duck_write_column *columns,
                            size_t count, const struct duck_write_split *split, struct str path,
                            struct str field_ids, struct duck_result **out, struct err *err)
{
    struct duck_result *result = nullptr;
    enum status status = fenced(write->sql, err, [&] {
        result = new struct duck_result();
        result->session = write->session;
        result->sql = write->sql;
        result->result = lake::copy_rows(*write, lake::Columns(columns, columns + count), *split,
                                         lake::to_string(path), lake::to_string(field_ids));
        result->names = result->result->names;
        result->types = result->result->types;
        for (auto &type : result->types) {
            result->type_names.push_back(type.ToString());
        }
        return OK;
    });
    if (status != OK) {
        duck_result_free(result);
        return status;
    }
    *out = result;
    return OK;
}

enum status duck_write_gather(struct duck_write *write, const struct duck_write_column *columns,
                              size_t count, struct err *err)
{
    return fenced(write->sql, err, [&] {
        lake::gather(*write, lake::Columns(columns, columns + count));
        return OK;
    });
}
