/*
 * Views of the lake.
 *
 *      the name in FROM  ->  LakeTransaction::Entry  ->  the texts in the catalogue's metadata  ->
 *      parse  ->  guard_view (names become the lake's, of the view's own namespace)  ->  what it
 *      names, the same way  ->  DuckDB binds the query as a subquery of the statement
 *
 * So a view sees the statement's snapshots, and may do what a client may. What it names is looked
 * up before it is bound: then a circle, a depth or a missing table is told with the view's name,
 * and DuckDB never follows a circle.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/parser/expression/columnref_expression.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parser.hpp"
#include "duckdb/parser/query_node/select_node.hpp"
#include "duckdb/parser/statement/select_statement.hpp"
#include "duckdb/parser/tableref/subqueryref.hpp"

using namespace duckdb;

namespace lake {

namespace {

constexpr unsigned DEPTH_MAX = 16;
/* Ten lines of SQL may name a view twice each, and that one another twice: what a name becomes
 * grows with the power of the depth. Chosen, not measured. */
constexpr unsigned WEIGHT_MAX = 1000;

unique_ptr<SelectStatement> parse(ClientContext &context, const string &sql, ViewScope &scope)
{
    if (sql.find('\0') != string::npos) { /* the parser would take it for the end */
        throw_refusal(optional_idx(), "it has a NUL character in it");
    }
    Parser parser(context.GetParserOptions());
    parser.ParseQuery(sql);
    if (parser.statements.size() != 1) {
        throw_refusal(optional_idx(),
                      "it is " + std::to_string(parser.statements.size()) + " statements, not one");
    }
    guard_view(*parser.statements[0], scope);
    return unique_ptr_cast<SQLStatement, SelectStatement>(std::move(parser.statements[0]));
}

/** Is one the name of an expression, "upper(name)"? Each engine spells those in its own way, so the
 * columns of such a text are told by their places. */
bool has_made_names(const struct duck_view &view)
{
    for (size_t i = 0; i < view.column_count; i++) {
        for (auto c : lake::to_string(view.columns[i].from)) {
            if (!StringUtil::CharacterIsAlphaNumeric(c) && c != '_' && (unsigned char)c < 0x80) {
                return true;
            }
        }
    }
    return false;
}

/** SELECT from AS to, .. FROM (query) */
unique_ptr<SelectStatement> renamed(unique_ptr<SelectStatement> query, const struct duck_view &view)
{
    auto node = make_uniq<SelectNode>();
    for (size_t i = 0; i < view.column_count; i++) {
        auto column = make_uniq<ColumnRefExpression>(lake::to_string(view.columns[i].from));
        column->SetAlias(lake::to_string(view.columns[i].to));
        node->select_list.push_back(std::move(column));
    }
    auto text = make_uniq<SubqueryRef>(std::move(query), "view_text");
    if (has_made_names(view)) {
        for (size_t i = 0; i < view.column_count; i++) {
            text->column_name_alias.push_back(lake::to_string(view.columns[i].from));
        }
    }
    node->from_table = std::move(text);
    auto select = make_uniq<SelectStatement>();
    select->node = std::move(node);
    return select;
}

/** The first text that can be read; DuckDB's own is the only one where it is there. */
unique_ptr<SelectStatement> choose(ClientContext &context, const struct duck_table &found,
                                   ViewScope &scope, string &sql)
{
    const struct duck_view &view = *found.view;
    string name = spelled(lake::to_string(found.ns), lake::to_string(found.name)), why;
    for (size_t i = 0; i < view.text_count; i++) {
        auto dialect = lake::to_string(view.texts[i].dialect);
        sql = lake::to_string(view.texts[i].sql);
        scope.names.clear();
        try {
            if (!StringUtil::CIEquals(dialect, "duckdb") && sql.find('`') != string::npos) {
                /* DuckDB would take it for an operator, and say so where nobody knows the view */
                throw_refusal(optional_idx(), "names in backticks are not known here");
            }
            auto query = parse(context, sql, scope);
            return view.column_count > 0 ? renamed(std::move(query), view) : std::move(query);
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &ex) {
            why += (why.empty() ? "" : "; ") + string("its text for ") + dialect +
                   " is not understood: " + ErrorData(ex).RawMessage();
        }
        if (StringUtil::CIEquals(dialect, "duckdb")) {
            break;
        }
    }
    throw_refusal(optional_idx(), "view \"" + name + "\" cannot be read: " +
                                      (why.empty() ? "it has no text in any dialect of SQL" : why));
}

void check_circle(const ViewChain &chain)
{
    string path; /* outermost first */
    for (auto at = &chain; at; at = at->above) {
        path.insert(0, path.empty() ? "\"" + at->name + "\"" : "\"" + at->name + "\" -> ");
        if (at == &chain) {
            continue;
        }
        if (at->name == chain.name) {
            throw_refusal(optional_idx(), "view \"" + chain.name + "\" is made of itself: " + path);
        }
    }
}

void check_depth(const string &name, unsigned depth)
{
    if (depth > DEPTH_MAX) {
        throw_refusal(optional_idx(), "views are nested deeper than " + std::to_string(DEPTH_MAX) +
                                          " at view \"" + name + "\"");
    }
}

unique_ptr<CreateViewInfo> info_of(LakeSchema &schema, const string &name, const string &sql,
                                   unique_ptr<SelectStatement> query)
{
    auto info = make_uniq<CreateViewInfo>(schema, name);
    info->sql = sql;
    info->query = std::move(query);
    return info;
}

} // namespace

void check_view(ClientContext &context, const string &sql)
{
    ViewScope scope{ string(), DEFAULT_NAMESPACE, {} };
    (void)parse(context, sql, scope);
}

LakeView::LakeView(Catalog &owner, SchemaCatalogEntry &holder, CreateViewInfo &create)
    : ViewCatalogEntry(owner, holder, create)
{}

void LakeView::CheckDepth(const ViewChain *above) const
{
    check_depth(spelled(schema.name, name), (above ? above->depth : 0) + depth);
}

unique_ptr<LakeView> LakeView::Make(ClientContext &context, LakeTransaction &transaction,
                                    LakeSchema &schema, const struct duck_table &found,
                                    bool want_files, const ViewChain *above)
{
    string name = spelled(lake::to_string(found.ns), lake::to_string(found.name)), sql;
    ViewChain here{ above, name, above ? above->depth + 1 : 1 };
    ViewScope scope{ lake::to_string(found.view->catalog),
                     lake::to_string(found.view->schema),
                     {} };
    check_circle(here);
    if (StringUtil::CIEquals(name, SessionState::Of(context)->makes_view)) {
        throw_refusal(optional_idx(), "view \"" + name + "\" would be made of itself");
    }
    check_depth(name, here.depth);
    auto query = choose(context, found, scope, sql);
    auto info = info_of(schema, lake::to_string(found.name), sql, std::move(query));
    auto &catalog = schema.ParentCatalog();
    auto view = make_uniq<LakeView>(catalog, schema, *info);
    for (auto &named : scope.names) {
        auto entry = transaction.Entry(context, transaction.Schema(catalog, named.first),
                                       named.second, want_files, nullptr, optional_idx(), &here);
        if (!entry) {
            throw_status(E_NOT_FOUND, "view \"" + name + "\" names table \"" +
                                          spelled(named.first, named.second) +
                                          "\", which does not exist");
        }
        view->weight++;
        if (entry->type == CatalogType::VIEW_ENTRY) {
            auto &below = entry->Cast<LakeView>();
            view->depth = std::max(view->depth, below.depth + 1);
            view->weight += below.weight;
        }
        if (view->weight > WEIGHT_MAX) {
            throw_refusal(optional_idx(), "view \"" + name + "\" becomes more than " +
                                              std::to_string(WEIGHT_MAX) + " tables and views");
        }
    }
    return view;
}

unique_ptr<LakeView> LakeView::MakeListed(LakeSchema &schema, const string &name)
{
    auto info = info_of(schema, name, string(), CreateViewInfo::ParseSelect("SELECT NULL"));
    return make_uniq<LakeView>(schema.ParentCatalog(), schema, *info);
}

/** For lists of columns: a view that cannot be bound has none. */
void LakeView::BindView(ClientContext &context, BindViewAction action)
{
    try {
        ViewCatalogEntry::BindView(context, action);
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &ex) {
        if (ErrorData(ex).Type() == ExceptionType::INTERRUPT) {
            throw;
        }
        UpdateBinding({}, {});
    }
}

} // namespace lake
