/*
 * `lakehouse maintain`: the procedures that keep tables in order, called for some tables or for
 * all, one after the other, with what each of them says it has done.
 *
 * A table that refuses or fails stops no other. With no table named, one that does not want care
 * (gc.enabled=false, a folder that is not the lake's) is told and is no failure.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli_priv.h"

struct maintain_options {
    const char *server, *only;
    bool dry_run, json;
};

static const struct cli_option maintain_options[] = {
    { .name = "only",
      .kind = CLI_VALUE,
      .at = offsetof(struct maintain_options, only),
      .value = "TASKS",
      .help = "some of compact, manifests, expire and orphans, with commas between them" },
    { .name = "dry-run",
      .kind = CLI_SWITCH,
      .at = offsetof(struct maintain_options, dry_run),
      .help = "tell what would be done, and do nothing" },
    CLI_JSON(struct maintain_options, json),
    CLI_SERVER(struct maintain_options, server),
};

const struct cli_page cli_maintain_page = {
    .command = "maintain",
    .summary = "keep tables in order: compact, merge manifests, expire snapshots, find orphans",
    .synopsis = "[options] [TABLE...]",
    .words = "TABLE",
    .text = "Does for each table (all tables, if none is named) what keeps it quick and small: "
            "small data files are compacted, small manifests merged, snapshots that the table does "
            "not keep expire, and files that nothing names are found. Each is a CALL of SQL that "
            "anybody may make, safe beside writers and readers; what is not needed any more is "
            "deleted after the grace, never at once.\n"
            "\n"
            "Prints a line for each table and task: how many files, manifests or snapshots it was "
            "about, how many files came of it or go, and their size. As JSON: all that the "
            "procedures report.",
    .options = maintain_options,
    .option_count = ARRAY_LEN(maintain_options),
    .examples = "lakehouse maintain --dry-run\n"
                "lakehouse maintain sales.orders\n"
                "lakehouse maintain --only expire,orphans --json | jq '.done[].report'",
};

/* The members of a report that make a line. */
enum { SUMS_MAX = 6 };
static const struct task {
    const char *name, *procedure;
    const char *about;           /* what it was about */
    const char *files[SUMS_MAX]; /* added up */
    const char *bytes;
} tasks[] = {
    { "compact",
      "rewrite_data_files",
      "rewritten_data_files_count",
      { "added_data_files_count" },
      "rewritten_bytes_count" },
    { "manifests",
      "rewrite_manifests",
      "rewritten_manifests_count",
      { "added_manifests_count" },
      "rewritten_bytes_count" },
    { "expire",
      "expire_snapshots",
      "expired_snapshots_count",
      { "deleted_data_files_count", "deleted_position_delete_files_count",
        "deleted_equality_delete_files_count", "deleted_manifest_files_count",
        "deleted_manifest_lists_count", "deleted_statistics_files_count" },
      "deleted_bytes_count" },
    { "orphans",
      "remove_orphan_files",
      "orphan_files_count",
      { "orphan_files_count" },
      "orphan_bytes_count" },
};

struct maintain {
    struct http_client *client;
    const struct maintain_options *options;
    bool wanted[ARRAY_LEN(tasks)];
    bool all_tables; /* none was named */
    bool failed;     /* one of them */
    struct arena arena;
    struct str *tables;
    size_t table_count, table_cap;
    struct cli_table lines;
    struct buf json; /* what is printed of --json */
    bool any_json;
};

/* --- what is asked for --- */

static bool read_only(struct maintain *m, const char *only)
{
    struct str rest = str_of(only == NULL ? "compact,manifests,expire,orphans" : only);
    while (rest.ptr != NULL && rest.len > 0) {
        struct str word = str_trim(str_split(&rest, ','));
        size_t i = 0;
        while (i < ARRAY_LEN(tasks) && !str_eq(word, str_of(tasks[i].name))) {
            i++;
        }
        if (i == ARRAY_LEN(tasks)) {
            return false;
        }
        m->wanted[i] = true;
    }
    return only == NULL || only[0] != '\0';
}

static enum status add_table(struct maintain *m, struct str name, struct err *err)
{
    if (m->table_count == m->table_cap) {
        size_t cap = 2 * m->table_cap + 16;
        struct str *more = arena_array(&m->arena, cap, sizeof(*more));
        if (more == NULL) {
            return err_no_memory(err);
        }
        if (m->table_count > 0) {
            memcpy(more, m->tables, m->table_count * sizeof(*more));
        }
        m->tables = more;
        m->table_cap = cap;
    }
    struct str copy = arena_str(&m->arena, name);
    m->tables[m->table_count++] = copy;
    return copy.ptr == NULL ? err_no_memory(err) : OK;
}

static enum status list_tables(struct maintain *m, struct err *err)
{
    struct str after = STR_EMPTY;
    do {
        AUTO(json_doc_done) yyjson_doc *doc = NULL;
        yyjson_val *list = NULL, *item;
        size_t i, max;
        TRY(cli_list_page(m->client, STR_EMPTY, &after, &m->arena, &doc, err));
        TRY(json_get_arr(yyjson_doc_get_root(doc), "tables", JSON_REQUIRED, &list, err));
        yyjson_arr_foreach(list, i, max, item)
        {
            struct str name;
            TRY(json_get_str(item, "name", JSON_REQUIRED, &name, err));
            TRY(add_table(m, name, err));
        }
    } while (after.len > 0);
    return OK;
}

/* --- one call --- */

/** CALL procedure('"ns".t', dry_run => true). A name is written as SQL has it, as the list does. */
static enum status write_call(const struct maintain *m, const struct task *task, struct str table,
                              struct buf *out)
{
    TRY(buf_printf(out, "CALL %s('", task->procedure));
    for (size_t i = 0; i < table.len; i++) {
        TRY(table.ptr[i] == '\'' ? buf_append_char(out, '\'') : OK);
        TRY(buf_append_char(out, table.ptr[i]));
    }
    return buf_append(out, m->options->dry_run ? STR("', dry_run => true)") : STR("')"));
}

/** The one row of the report, an object; it lives as long as the answer. */
static enum status call(struct maintain *m, const struct task *task, struct str table,
                        struct http_answer *answer, yyjson_doc **doc, yyjson_val **row_out,
                        struct err *err)
{
    AUTO(buf_done) struct buf sql, body;
    struct json_writer w;
    buf_init(&sql, 0);
    buf_init(&body, 0);
    TRY(write_call(m, task, table, &sql) == OK ? OK : err_no_memory(err));
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    jw_kv_str(&w, "sql", buf_str(&sql));
    jw_kv_cstr(&w, "format", "json");
    jw_obj_end(&w);
    TRY(json_writer_end(&w) == OK ? OK : err_no_memory(err));
    const struct http_header type = { STR_INIT("Content-Type"), STR_INIT("application/json") };
    const struct http_call request = { .method = HTTP_POST,
                                       .target = STR("/v1/sql"),
                                       .headers = &type,
                                       .header_count = 1,
                                       .body = buf_str(&body),
                                       .deadline = DEADLINE_NEVER };
    TRY(cli_call(m->client, &request, answer, err));
    TRY(json_parse(buf_str(&answer->body), doc, err));
    *row_out = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(*doc), "rows"));
    return yyjson_is_obj(*row_out) ? OK : err_set(err, E_UPSTREAM, "the server's report is empty");
}

/* --- what it says --- */

static int64_t number_of(yyjson_val *report, const char *name)
{
    return name == NULL ? 0 : yyjson_get_sint(yyjson_obj_get(report, name));
}

static enum status add_line(struct maintain *m, const struct task *task, struct str table,
                            yyjson_val *report, struct err *err)
{
    struct str *row = cli_table_row(&m->lines);
    int64_t files = 0;
    if (row == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < SUMS_MAX; i++) {
        files += number_of(report, task->files[i]);
    }
    const int64_t numbers[] = { number_of(report, task->about), files,
                                number_of(report, task->bytes) };
    bool terminal = isatty(STDOUT_FILENO) != 0;
    row[0] = table;
    row[1] = str_of(task->name);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        row[2 + i] = terminal && i == 2 ? cli_size(&m->lines.arena, (uint64_t)numbers[i])
                     : terminal ? cli_count(&m->lines.arena, numbers[i])
                                : arena_printf(&m->lines.arena, "%lld", (long long)numbers[i]);
    }
    return OK;
}

/** One entry of "done": with the report, or with what was wrong. */
static enum status add_json(struct maintain *m, const struct task *task, struct str table,
                            yyjson_val *report, const struct err *why, struct err *err)
{
    struct json_writer w;
    if (m->any_json && buf_append_char(&m->json, ',') != OK) {
        return err_no_memory(err);
    }
    m->any_json = true;
    json_writer_init(&w, &m->json);
    jw_obj_begin(&w);
    jw_kv_str(&w, "table", table);
    jw_kv_cstr(&w, "task", task->name);
    if (report != NULL) {
        jw_key(&w, STR("report"));
        jw_val(&w, report);
    } else {
        jw_kv_cstr(&w, "error", why->msg);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status run_one(struct maintain *m, const struct task *task, struct str table,
                           struct err *err)
{
    struct http_answer answer = { 0 };
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *report = NULL;
    struct err why = { 0 };
    enum status status = call(m, task, table, &answer, &doc, &report, &why);
    bool declined = m->all_tables && (status == E_INVALID || status == E_UNSUPPORTED);
    if (status != OK) {
        fprintf(stderr, "lakehouse maintain: %.*s, %s: %s\n", STR_ARG(table), task->name, why.msg);
        m->failed = m->failed || !declined;
    }
    enum status told = m->options->json
                           ? add_json(m, task, table, status == OK ? report : NULL, &why, err)
                       : status == OK ? add_line(m, task, table, report, err)
                                      : OK;
    http_answer_done(&answer);
    return told;
}

static enum status show(struct maintain *m, struct err *err)
{
    if (!m->options->json) {
        return cli_table_show(&m->lines, err);
    }
    TRY(cli_print(m->options->dry_run ? STR("{\"dry_run\":true,\"done\":[")
                                      : STR("{\"dry_run\":false,\"done\":["),
                  err));
    TRY(cli_print(buf_str(&m->json), err));
    return cli_print(STR("]}\n"), err);
}

static enum status run_all(struct maintain *m, struct err *err)
{
    static const char *const names[] = { "table", "task", "about", "files", "size" };
    TRY(cli_table_init(&m->lines, ARRAY_LEN(names), err));
    struct str *head = cli_table_row(&m->lines);
    if (head == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        head[i] = str_of(names[i]);
        m->lines.right[i] = i >= 2;
    }
    if (m->all_tables) {
        TRY(list_tables(m, err));
    }
    for (size_t t = 0; t < m->table_count; t++) {
        for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
            if (m->wanted[i]) {
                TRY(run_one(m, &tasks[i], m->tables[t], err));
            }
        }
    }
    return show(m, err);
}

static int run(struct maintain *m, int argc, char **argv)
{
    struct err err = { 0 };
    enum status status = OK;
    m->all_tables = argc == 0;
    for (int i = 0; i < argc && status == OK; i++) {
        status = add_table(m, str_of(argv[i]), &err);
    }
    status = status == OK ? run_all(m, &err) : status;
    if (status != OK) {
        return cli_failed("maintain", &err);
    }
    return m->failed ? 1 : 0;
}

int cli_maintain(int argc, char **argv)
{
    argc--;
    argv++;
    struct maintain_options options = { 0 };
    struct maintain m = { .options = &options };
    struct err err = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_maintain_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (!read_only(&m, options.only)) {
        return cli_usage("maintain", "--only takes some of compact, manifests, expire, orphans");
    }
    if (cli_connect(options.server, &m.client, &err) != OK) {
        return cli_usage("maintain", "%s", err.msg);
    }
    arena_init(&m.arena, 0);
    buf_init(&m.json, 0);
    int code = run(&m, argc, argv);
    cli_table_done(&m.lines);
    buf_done(&m.json);
    arena_done(&m.arena);
    http_client_free(m.client);
    return code;
}
