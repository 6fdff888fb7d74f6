/*
 * Views for the engine: what their metadata says of the current version, in JSON.
 *
 *   {"view":{"ns","name","catalog","schema","texts":[[dialect,sql],..],"columns":[[from,to],..]}}
 *
 * The texts come in the order in which they are tried: our own dialect first, then Spark's, then
 * the others. `catalog` and `schema` are what names without them mean in the texts. Spark keeps the
 * text of `CREATE VIEW v (a, b) AS ..` without the names in brackets, and says in a property what
 * its columns are called there: `columns` is that, only where the names differ.
 */
#include "iceberg/view.h"

#include "query/query_priv.h"

enum { VIEW_BYTES_MAX = 64 * 1024 * 1024 };

static struct str val_str(yyjson_val *val)
{
    return str_from(yyjson_get_str(val), yyjson_get_len(val));
}

/** The one of `list` whose `name` is that number, or NULL. */
static yyjson_val *by_id(yyjson_val *list, const char *name, yyjson_val *id)
{
    size_t i, max;
    yyjson_val *at;
    yyjson_arr_foreach(list, i, max, at)
    {
        yyjson_val *its = yyjson_obj_get(at, name);
        if (yyjson_is_int(its) && yyjson_is_int(id) &&
            yyjson_get_sint(its) == yyjson_get_sint(id)) {
            return at;
        }
    }
    return NULL;
}

static int rank_of(struct str dialect)
{
    return str_eq_nocase(dialect, STR("duckdb")) ? 0 : str_eq_nocase(dialect, STR("spark")) ? 1 : 2;
}

static void write_texts(struct json_writer *w, yyjson_val *version)
{
    yyjson_val *list = yyjson_obj_get(version, "representations"), *at;
    jw_kv_arr(w, "texts");
    for (int rank = 0; rank <= 2; rank++) {
        size_t i, max;
        yyjson_arr_foreach(list, i, max, at)
        {
            struct str dialect = val_str(yyjson_obj_get(at, "dialect"));
            struct str sql = val_str(yyjson_obj_get(at, "sql"));
            if (dialect.ptr == NULL || sql.ptr == NULL || rank_of(dialect) != rank) {
                continue; /* of a type that we do not know */
            }
            jw_arr_begin(w);
            jw_str(w, dialect);
            jw_str(w, sql);
            jw_arr_end(w);
        }
    }
    jw_arr_end(w);
}

/** default-namespace, as SQL spells it. */
static enum status write_default(struct json_writer *w, yyjson_val *version, struct err *err)
{
    AUTO(buf_done) struct buf ns;
    yyjson_val *levels = yyjson_obj_get(version, "default-namespace"), *level;
    size_t i, max;
    buf_init(&ns, 64 * 1024);
    yyjson_arr_foreach(levels, i, max, level)
    {
        enum status status = i > 0 ? buf_append_char(&ns, CATALOG_NS_SEPARATOR) : OK;
        status = status == OK ? buf_append(&ns, val_str(level)) : status;
        if (status != OK) {
            return err_set(err, E_CORRUPT, "the default namespace is too long");
        }
    }
    jw_key(w, STR("schema"));
    return query_write_schema(w, ns.len > 0 ? buf_str(&ns) : STR("main"), err);
}

/** The names that Spark keeps beside the text, or nothing: they are as the schema's, or do not fit
 * it. */
static void write_columns(struct json_writer *w, yyjson_val *root, yyjson_val *version)
{
    yyjson_val *schema = by_id(yyjson_obj_get(root, "schemas"), "schema-id",
                               yyjson_obj_get(version, "schema-id"));
    yyjson_val *fields = yyjson_obj_get(schema, "fields");
    struct str names = val_str(
        yyjson_obj_get(yyjson_obj_get(root, "properties"), "spark.query-column-names"));
    size_t count = yyjson_arr_size(fields), differing = 0, seen = 0;
    for (struct str rest = names; rest.ptr != NULL; seen++) {
        struct str name = str_split(&rest, ',');
        yyjson_val *field = yyjson_arr_get(fields, seen);
        differing += !str_eq(name, val_str(yyjson_obj_get(field, "name")));
    }
    if (seen != count || differing == 0) {
        return;
    }
    jw_kv_arr(w, "columns");
    struct str rest = names;
    for (size_t i = 0; i < count; i++) {
        jw_arr_begin(w);
        jw_str(w, str_split(&rest, ','));
        jw_str(w, val_str(yyjson_obj_get(yyjson_arr_get(fields, i), "name")));
        jw_arr_end(w);
    }
    jw_arr_end(w);
}

static enum status write_view(struct json_writer *w, const struct table_summary *view,
                              yyjson_val *root, struct err *err)
{
    TRY(ice_view_check(root, err));
    yyjson_val *version = by_id(yyjson_obj_get(root, "versions"), "version-id",
                                yyjson_obj_get(root, "current-version-id"));
    struct str catalog = val_str(yyjson_obj_get(version, "default-catalog"));
    jw_obj_begin(w);
    jw_kv_obj(w, "view");
    jw_key(w, STR("ns"));
    TRY(query_write_schema(w, view->name.ns, err));
    jw_kv_str(w, "name", view->name.name);
    jw_kv_str(w, "catalog", catalog.ptr == NULL ? STR_EMPTY : catalog);
    TRY(write_default(w, version, err));
    write_texts(w, version);
    write_columns(w, root, version);
    jw_obj_end(w);
    jw_obj_end(w);
    return OK;
}

static enum status read_all(struct query *query, const struct table_summary *view, struct buf *out,
                            struct err *err)
{
    AUTO(buf_done) struct buf text;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    struct json_writer w;
    buf_init(&text, VIEW_BYTES_MAX);
    TRY(catalog_metadata_text(query->service->opts.catalog, view->metadata_location, &text, err));
    if (json_parse(buf_str(&text), &doc, err) != OK) {
        return err_set(err, E_CORRUPT, "its metadata is no JSON");
    }
    json_writer_init(&w, out);
    enum status status = write_view(&w, view, yyjson_doc_get_root(doc), err);
    enum status written = json_writer_end(&w);
    return status != OK ? status : written == OK ? OK : err_no_memory(err);
}

enum status query_view_read(struct query *query, const struct table_summary *view,
                            struct query_pin *pin, struct err *err)
{
    AUTO(buf_done) struct buf out;
    buf_init(&out, VIEW_BYTES_MAX);
    enum status status = read_all(query, view, &out, err);
    if (status != OK) {
        return err_context(err, "view \"%.*s\"", STR_ARG(view->name.name));
    }
    pin->view = arena_str(&pin->arena, buf_str(&out));
    return pin->view.ptr == NULL ? err_no_memory(err) : OK;
}
