/*
 * What the files of a statement that writes share: write.cc (parse, requests), write_rows.cc (the
 * rows that it makes and takes away), write_ddl.cc and write_call.cc (what is asked of the
 * catalogue).
 */
#ifndef DUCK_WRITE_PRIV_HPP
#define DUCK_WRITE_PRIV_HPP

#include "duck/duck_priv.hpp"

#include "duckdb/parser/parsed_expression.hpp"
#include "duckdb/parser/query_node.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"

struct duck_write {
    struct duck_session *session = nullptr;
    enum duck_write_kind kind = DUCK_WRITE_REQUEST;
    std::string sql;
    std::string ns, name;
    std::string request;
    std::string procedure;                              /* of CALL */
    duckdb::unique_ptr<duckdb::SQLStatement> statement; /* as parsed */
    lake::Params params;
    /* of duck_write_columns */
    duckdb::vector<std::string> names, type_names;
    std::vector<struct duck_write_column> columns;
};

namespace lake {

/** The table of DUCK_WRITE_ROWS. */
constexpr const char *ROWS_TABLE = "__lake_rows";

using Columns = std::vector<struct duck_write_column>;
template <class T> using Ptr = duckdb::unique_ptr<T>;

/** What is asked of the catalogue, being written: {"do": verb, "namespace", "name", ..}. */
class Request {
  public:
    Request(struct duck_write &write_p, const char *verb) : write(write_p)
    {
        buf_init(&json, 0);
        json_writer_init(&w, &json);
        jw_obj_begin(&w);
        jw_kv_cstr(&w, "do", verb);
        jw_kv_str(&w, "namespace", to_str(write.ns));
        jw_kv_str(&w, "name", to_str(write.name));
    }
    ~Request() { buf_done(&json); }
    Request(const Request &) = delete;
    Request &operator=(const Request &) = delete;

    void Flag(const char *name, bool value) { jw_kv_bool(&w, name, value); }
    void Text(const char *name, const string &value) { jw_kv_str(&w, name, to_str(value)); }
    void Path(const duckdb::vector<string> &path);
    void Column(const duckdb::ColumnDefinition &column, bool required);
    void Fields(const char *name, const duckdb::vector<Ptr<duckdb::ParsedExpression>> &fields);
    void Options(const duckdb::case_insensitive_map_t<Ptr<duckdb::ParsedExpression>> &options);
    void End();

    struct json_writer w;

  private:
    struct duck_write &write;
    struct buf json;
};

/* --- write_call.cc --- */

/** A statement's text for the parser: the argument of a CALL that is named `where`, as other
 * engines have it, stands in quotes, for it is a word of SQL. */
string call_text(const string &sql);
/** Of CALL: computes its arguments. */
void describe_call(struct duck_write &write);

/* --- write_ddl.cc --- */

/** Of CREATE, ALTER, DROP: kind, table and request. */
void describe_request(struct duck_write &write);

/* --- write_rows.cc --- */

/** Schema and name of the table that a statement changes, as it spells them; refuses another
 * catalogue. */
void set_target(struct duck_write &write, const string &catalog, const string &schema,
                const string &name);
/** Refuses what a statement may not have (RETURNING, ON CONFLICT); sets kind and table. */
void describe_rows(struct duck_write &write);
/** The rows of INSERT and CREATE TABLE .. AS, guarded. */
Ptr<duckdb::SelectStatement> select_new(struct duck_write &write, const Columns &columns,
                                        const struct duck_write_split &split);
/** The query of CREATE TABLE .. AS and CREATE VIEW, guarded. */
Ptr<duckdb::SelectStatement> select_source(struct duck_write &write);
/** The rows of DUCK_WRITE_ROWS, guarded. */
Ptr<duckdb::SelectStatement> select_changed(struct duck_write &write, const Columns &columns);

/* --- write_merge.cc --- */

Ptr<duckdb::SelectStatement> select_merged(struct duck_write &write, const Columns &columns);

/* --- parts of a SELECT (write_rows.cc) --- */

/** The type that SQL text names, outside of a statement. */
duckdb::LogicalType sql_type(struct duck_write &write, struct str text);
Ptr<duckdb::ParsedExpression> column_ref(const string &table, const string &column);
Ptr<duckdb::ParsedExpression> constant(const duckdb::Value &value);
/** CAST(expr AS the column's type) AS its name; a DEFAULT is NULL. */
Ptr<duckdb::ParsedExpression> as_column(struct duck_write &write,
                                        Ptr<duckdb::ParsedExpression> expr,
                                        const struct duck_write_column &column);
/** Its place, or -1. */
int64_t find_column(const Columns &columns, const string &name);
/** The name by which expressions speak of a table. */
string alias_of(const duckdb::TableRef &ref);
/** The target of UPDATE, DELETE and MERGE: a plain table of the lake. */
duckdb::BaseTableRef &plain_table(duckdb::TableRef &ref);
/** `__file` and `__row` of a row of that table. */
void add_row_id(duckdb::vector<Ptr<duckdb::ParsedExpression>> &list, const string &table);
/** A statement around a node, with the parameters of the one that it was made of, guarded. */
Ptr<duckdb::SelectStatement> guarded(struct duck_write &write, Ptr<duckdb::QueryNode> node);

} // namespace lake

#endif
