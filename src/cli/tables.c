/*
 * `lakehouse tables` and `lakehouse describe`: what is there.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/encode.h"
#include "cli/cli_priv.h"

struct tables_options {
    const char *server, *ns;
    bool json;
};

static const struct cli_option tables_options[] = {
    { .name = "namespace",
      .kind = CLI_VALUE,
      .at = offsetof(struct tables_options, ns),
      .value = "NAME",
      .help = "only the tables of this namespace" },
    CLI_JSON(struct tables_options, json),
    CLI_SERVER(struct tables_options, server),
};

const struct cli_page cli_tables_page = {
    .command = "tables",
    .summary = "list the tables",
    .synopsis = "[options]",
    .text = "Lists the tables: name, rows, files, size and the time of the last change. A table on "
            "a terminal, CSV when piped.",
    .options = tables_options,
    .option_count = ARRAY_LEN(tables_options),
    .examples = "lakehouse tables\n"
                "lakehouse tables --namespace sales | cut -d, -f1\n"
                "lakehouse tables --json | jq '.tables[].row_count'",
};

struct describe_options {
    const char *server;
    bool json;
};

static const struct cli_option describe_options[] = {
    CLI_JSON(struct describe_options, json),
    CLI_SERVER(struct describe_options, server),
};

const struct cli_page cli_describe_page = {
    .command = "describe",
    .summary = "show a table's columns, size and place",
    .synopsis = "[options] TABLE",
    .words = "TABLE",
    .text = "Shows a table's columns with their types and ids, its size, and where its Iceberg "
            "metadata lies. When piped: the columns as CSV. As JSON: all that the catalogue says, "
            "the files too.",
    .options = describe_options,
    .option_count = ARRAY_LEN(describe_options),
    .examples = "lakehouse describe birdstrikes\n"
                "lakehouse describe sales.orders\n"
                "lakehouse describe --json birdstrikes | jq -r .metadata_location",
};

static int64_t number_of(yyjson_val *object, const char *name)
{
    return yyjson_get_sint(yyjson_obj_get(object, name));
}

static struct str text_of(yyjson_val *object, const char *name)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_str(value) ? str_from(yyjson_get_str(value), yyjson_get_len(value))
                                : STR_EMPTY;
}

static enum status add_tables(struct cli_table *table, yyjson_val *tables, bool terminal,
                              struct err *err)
{
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(tables, i, max, item)
    {
        struct str *row = cli_table_row(table);
        if (row == NULL) {
            return err_no_memory(err);
        }
        int64_t rows = number_of(item, "row_count"), size = number_of(item, "size_bytes");
        row[0] = arena_str(&table->arena, text_of(item, "name"));
        row[1] = terminal ? cli_count(&table->arena, rows)
                          : arena_printf(&table->arena, "%lld", (long long)rows);
        row[2] = arena_printf(&table->arena, "%lld", (long long)number_of(item, "file_count"));
        row[3] = terminal ? cli_size(&table->arena, (uint64_t)size)
                          : arena_printf(&table->arena, "%lld", (long long)size);
        row[4] = arena_str(&table->arena, text_of(item, "updated_at"));
    }
    return OK;
}

/** One page of the list; `after` moves to what the next one begins behind, or becomes empty. */
static enum status fetch_page(struct http_client *client, struct str ns, struct str *after,
                              struct arena *arena, yyjson_doc **out, struct err *err)
{
    AUTO(buf_done) struct buf target;
    buf_init(&target, 0);
    if (buf_append(&target, STR("/v1/catalog/list?limit=1000&namespace=")) != OK ||
        percent_append(&target, ns, "") != OK || buf_append(&target, STR("&after=")) != OK ||
        percent_append(&target, *after, "") != OK) {
        return err_no_memory(err);
    }
    TRY(cli_get_json(client, buf_str(&target), 0, out, err));
    *after = arena_str(arena, text_of(yyjson_doc_get_root(*out), "next"));
    return after->ptr != NULL ? OK : err_no_memory(err);
}

/** What the list leaves out because it is damaged goes to standard error, with what to do next. */
static void tell_damaged(yyjson_val *root)
{
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(yyjson_obj_get(root, "damaged"), i, max, item)
    {
        struct str name = text_of(item, "name"), why = text_of(item, "message");
        fprintf(
            stderr,
            "lakehouse tables: table \"%.*s\" is damaged: %.*s ('lakehouse doctor' says more)\n",
            STR_ARG(name), STR_ARG(why));
    }
}

enum status cli_list_page(struct http_client *client, struct str ns, struct str *after,
                          struct arena *arena, yyjson_doc **out, struct err *err)
{
    TRY(fetch_page(client, ns, after, arena, out, err));
    tell_damaged(yyjson_doc_get_root(*out));
    return OK;
}

static enum status list_page(struct http_client *client, struct str ns, struct str *after,
                             struct cli_table *table, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *tables = NULL;
    TRY(cli_list_page(client, ns, after, &table->arena, &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "tables", JSON_REQUIRED, &tables, err));
    return add_tables(table, tables, isatty(STDOUT_FILENO), err);
}

/** `{"tables":[...]}` as the server has them, all pages in one list; printed page by page. */
static enum status list_json(struct http_client *client, struct str ns, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    AUTO(buf_done) struct buf out;
    arena_init(&arena, 0);
    buf_init(&out, 0);
    struct str after = STR_EMPTY;
    bool first = true;
    TRY(cli_print(STR("{\"tables\":["), err));
    do {
        AUTO(json_doc_done) yyjson_doc *doc = NULL;
        yyjson_val *tables = NULL, *item;
        size_t i, max;
        TRY(cli_list_page(client, ns, &after, &arena, &doc, err));
        TRY(json_get_arr(yyjson_doc_get_root(doc), "tables", JSON_REQUIRED, &tables, err));
        buf_clear(&out);
        yyjson_arr_foreach(tables, i, max, item)
        {
            struct json_writer w;
            TRY(first ? OK : buf_append_char(&out, ','));
            json_writer_init(&w, &out);
            jw_val(&w, item);
            TRY(json_writer_end(&w) == OK ? OK : err_no_memory(err));
            first = false;
        }
        TRY(cli_print(buf_str(&out), err));
    } while (after.len > 0);
    return cli_print(STR("]}\n"), err);
}

static enum status list_all(struct http_client *client, struct str ns, struct err *err)
{
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, 5, err));
    struct str *head = cli_table_row(&table);
    if (head == NULL) {
        return err_no_memory(err);
    }
    static const char *const names[] = { "table", "rows", "files", "size", "changed" };
    for (size_t i = 0; i < 5; i++) {
        head[i] = str_of(names[i]);
        table.right[i] = i >= 1 && i <= 3;
    }
    struct str after = STR_EMPTY;
    do {
        TRY(list_page(client, ns, &after, &table, err));
    } while (after.len > 0);
    if (table.row_count == 1 && isatty(STDOUT_FILENO)) {
        fprintf(stderr, "no tables%s yet; make one of a file with: lakehouse ingest FILE\n",
                ns.len > 0 ? " of this namespace" : "");
        return OK;
    }
    return cli_table_show(&table, err);
}

enum status cli_list(struct http_client *client, struct err *err)
{
    return list_all(client, STR_EMPTY, err);
}

int cli_tables(int argc, char **argv)
{
    argc--;
    argv++;
    struct tables_options options = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_tables_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc != 0) {
        return cli_usage("tables", "unexpected \"%s\"", argv[0]);
    }
    struct err err = { 0 };
    struct http_client *client = NULL;
    if (cli_connect(options.server, &client, &err) != OK) {
        return cli_usage("tables", "%s", err.msg);
    }
    struct str ns = options.ns != NULL ? str_of(options.ns) : STR_EMPTY;
    enum status status = options.json ? list_json(client, ns, &err) : list_all(client, ns, &err);
    http_client_free(client);
    return status == OK ? 0 : cli_failed("tables", &err);
}

static enum status print_columns(yyjson_val *root, struct err *err)
{
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, 4, err));
    yyjson_val *schema = NULL, *fields = NULL, *item;
    TRY(json_get_obj(root, "schema", JSON_REQUIRED, &schema, err));
    TRY(json_get_arr(schema, "fields", JSON_REQUIRED, &fields, err));
    struct str *row = cli_table_row(&table);
    if (row == NULL) {
        return err_no_memory(err);
    }
    row[0] = STR("column");
    row[1] = STR("type");
    row[2] = STR("required");
    row[3] = STR("id");
    table.right[3] = true;
    size_t i, max;
    yyjson_arr_foreach(fields, i, max, item)
    {
        row = cli_table_row(&table);
        if (row == NULL) {
            return err_no_memory(err);
        }
        row[0] = text_of(item, "name");
        row[1] = text_of(item, "type");
        row[2] = yyjson_is_true(yyjson_obj_get(item, "required")) ? STR("yes") : STR("no");
        row[3] = arena_printf(&table.arena, "%lld", (long long)number_of(item, "id"));
    }
    return cli_table_show(&table, err);
}

enum status cli_get_table(struct http_client *client, struct str name, deadline_ms deadline,
                          yyjson_doc **out, struct err *err)
{
    AUTO(buf_done) struct buf target;
    buf_init(&target, 0);
    if (buf_append(&target, STR("/v1/catalog/manifest/")) != OK ||
        percent_append(&target, name, "") != OK) {
        return err_no_memory(err);
    }
    return cli_get_json(client, buf_str(&target), deadline, out, err);
}

static enum status describe_json(struct http_client *client, struct str name, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    TRY(cli_get_table(client, name, 0, &doc, err));
    struct json_writer w;
    json_writer_init(&w, &out);
    jw_val(&w, yyjson_doc_get_root(doc));
    if (json_writer_end(&w) != OK || buf_append_char(&out, '\n') != OK) {
        return err_no_memory(err);
    }
    return cli_print(buf_str(&out), err);
}

enum status cli_show_table(struct http_client *client, struct str name, struct err *err)
{
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, 0);
    TRY(cli_get_table(client, name, 0, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc), *files = NULL, *item;
    TRY(json_get_arr(root, "files", JSON_REQUIRED, &files, err));
    TRY(print_columns(root, err));
    if (!isatty(STDOUT_FILENO)) {
        return OK;
    }
    int64_t bytes = 0;
    size_t i, max;
    yyjson_arr_foreach(files, i, max, item)
    {
        bytes += number_of(item, "size");
    }
    struct str rows = cli_count(&arena, number_of(root, "row_count")),
               size = cli_size(&arena, (uint64_t)bytes);
    struct str where = text_of(root, "metadata_location");
    struct str text = arena_printf(&arena, "\n%.*s row%s in %zu file%s, %.*s\n%.*s\n",
                                   STR_ARG(rows), number_of(root, "row_count") == 1 ? "" : "s",
                                   yyjson_arr_size(files), yyjson_arr_size(files) == 1 ? "" : "s",
                                   STR_ARG(size), STR_ARG(where));
    return cli_print(text, err);
}

int cli_describe(int argc, char **argv)
{
    argc--;
    argv++;
    struct describe_options options = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_describe_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc != 1) {
        return cli_usage("describe", "which table? (one; lakehouse tables lists them)");
    }
    struct err err = { 0 };
    struct http_client *client = NULL;
    if (cli_connect(options.server, &client, &err) != OK) {
        return cli_usage("describe", "%s", err.msg);
    }
    struct str name = str_of(argv[0]);
    enum status status = options.json ? describe_json(client, name, &err)
                                      : cli_show_table(client, name, &err);
    http_client_free(client);
    return status == OK ? 0 : cli_failed("describe", &err);
}
