/*
 * `lakehouse vectors create|load|search|info|export|delete`: named vector indexes.
 *
 * One page of options for all; a table says which belong to which word, and another one with it is
 * a mistake that is told.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/encode.h"
#include "cli/vectors_priv.h"

#define VALUE(name_, member_, value_, help_)                                                       \
    { .name = name_,                                                                               \
      .kind = CLI_VALUE,                                                                           \
      .at = offsetof(struct vectors_options, member_),                                             \
      .value = value_,                                                                             \
      .help = help_ }
#define SWITCH(name_, member_, help_)                                                              \
    { .name = name_,                                                                               \
      .kind = CLI_SWITCH,                                                                          \
      .at = offsetof(struct vectors_options, member_),                                             \
      .help = help_ }

static const struct cli_option vectors_options[] = {
    VALUE("dimension", dimension, "NUMBER", "create: numbers of a vector"),
    VALUE("metric", metric, "cosine|l2|dot", "create, load --create: what is near [cosine]"),
    VALUE("m", m, "NUMBER", "create, load --create: links of a vector"),
    VALUE("ef-construction", ef_construction, "NUMBER",
          "create, load --create: effort of linking a vector"),
    VALUE("preset", preset, "default|fast_build",
          "create, load --create: both at once; fast_build links faster and wants a larger ef"),
    SWITCH("create", create, "load: make the index when it is not there"),
    VALUE(
        "format", format, "ndjson|parquet|npy|fvecs",
        "load: what the file is, when its name does not tell; export: ndjson or parquet [ndjson]"),
    VALUE("sql", sql, "SELECT", "load: the rows of a statement instead of a file"),
    VALUE("id-field", id_field, "NAME", "load: the field that is the id [id]"),
    VALUE("vector-field", vector_field, "NAME",
          "load: the field that is the vector [vector, embedding, else the only list of numbers]"),
    VALUE("ids", ids, "FILE", "load: ids of the rows of npy and fvecs, one a line [0, 1, 2, ...]"),
    VALUE("mode", mode, "upsert|insert|update", "load: what an id that is there means [upsert]"),
    VALUE("vector", vector, "JSON", "search: \"[0.1, 0.2, ...]\"; - reads it from standard input"),
    VALUE("id", id, "ID", "search: the vector of this item"),
    VALUE("k", k, "NUMBER", "search: how many [10]"),
    VALUE("ef", ef, "NUMBER", "search: effort; more finds more"),
    VALUE("recall-target", recall_target, "SHARE", "search: let the server choose the effort"),
    VALUE("filter", filter, "JSON", "search, delete: only items whose metadata fit"),
    VALUE("max-distance", max_distance, "NUMBER", "search: none that is farther"),
    VALUE("fields", fields, "A,B", "search: of the metadata only these"),
    SWITCH("exact", exact, "search: look at all items"),
    SWITCH("with-vectors", with_vectors, "search: vectors too (with --json)"),
    SWITCH("all", all, "delete: all items"),
    SWITCH("drop", drop, "delete: the index itself"),
    CLI_JSON(struct vectors_options, json),
    CLI_SERVER(struct vectors_options, server),
};

const struct cli_page cli_vectors_page = {
    .command = "vectors",
    .summary = "make, fill and search indexes of vectors",
    .synopsis = "create INDEX --dimension NUMBER [options]\n"
                "load INDEX FILE [options]\n"
                "load INDEX --sql \"SELECT ...\" [options]\n"
                "search INDEX --vector \"[...]\" | --id ID [options]\n"
                "info [INDEX] [options]\n"
                "export INDEX [options]\n"
                "delete INDEX ID... | --filter JSON | --all | --drop",
    .words = "create|load|search|info|export|delete",
    .text =
        "An index holds items: an id, a vector, and metadata (a JSON object). Searching gives those "
        "whose vectors are nearest.\n"
        "\n"
        "load takes NDJSON (a line is an object: its id, its vector, and the other fields become "
        "metadata; what export prints is taken as it is), Parquet (the same with columns), .npy "
        "(float32 or float64, a row is a vector) and .fvecs; the ids of these two are the numbers "
        "of the rows unless --ids has others. --sql takes the rows of a statement in the same way "
        "as NDJSON. Items are sent in batches; each is durable when its answer comes, and "
        "loading again replaces what has the same id. \"-\" reads NDJSON from standard input.\n"
        "\n"
        "search and info print a table on a terminal and CSV when piped, export NDJSON, or Parquet "
        "with the columns id, vector and metadata (JSON).",
    .options = vectors_options,
    .option_count = ARRAY_LEN(vectors_options),
    .examples = "lakehouse vectors create docs --dimension 384\n"
                "lakehouse vectors load docs docs.ndjson\n"
                "lakehouse vectors load photos photos.npy --create --metric l2 --ids names.txt\n"
                "lakehouse vectors load birds --create --sql \"SELECT name AS id, v FROM birds\"\n"
                "lakehouse vectors search docs --id intro --k 5 --filter '{\"lang\":\"en\"}'\n"
                "lakehouse vectors export docs > docs.ndjson\n"
                "lakehouse vectors export docs --format parquet > docs.parquet\n"
                "lakehouse vectors delete docs --filter '{\"year\":{\"$lt\":2020}}'",
};

/* --- requests --- */

enum status vectors_target(struct str name, const char *tail, struct buf *out, struct err *err)
{
    return buf_append(out, STR("/v1/vectors/index/")) == OK &&
                   percent_append(out, name, "") == OK && buf_append(out, str_of(tail)) == OK
               ? OK
               : err_no_memory(err);
}

enum status vectors_post(struct http_client *client, struct str target, struct str body,
                         struct http_answer *answer, struct err *err)
{
    struct http_header type = { STR_INIT("Content-Type"), STR_INIT("application/json") };
    struct http_call call = { .method = HTTP_POST,
                              .target = target,
                              .headers = &type,
                              .header_count = 1,
                              .body = body,
                              .deadline = DEADLINE_NEVER,
                              .body_bytes_max = 1024ULL * 1024 * 1024 };
    return cli_call(client, &call, answer, err);
}

/** A number of an option goes out as it was written: the server says what is wrong with it. */
static enum status add_number(struct json_writer *w, const char *name, const char *option,
                              const char *text, struct err *err)
{
    double number;
    if (text == NULL) {
        return OK;
    }
    if (!str_to_double(str_of(text), &number)) {
        return err_set(err, E_INVALID, "--%s %s: a number is expected", option, text);
    }
    jw_key(w, str_of(name));
    jw_raw(w, str_of(text));
    return OK;
}

enum status vectors_create(struct http_client *client, struct str name, uint64_t dimension,
                           const struct vectors_options *options, struct http_answer *answer,
                           struct err *err)
{
    AUTO(buf_done) struct buf body;
    struct json_writer w;
    buf_init(&body, 0);
    json_writer_init(&w, &body);
    jw_obj_begin(&w);
    jw_kv_str(&w, "name", name);
    jw_kv_u64(&w, "dimension", dimension);
    if (options->metric != NULL) {
        jw_kv_cstr(&w, "metric", options->metric);
    }
    TRY(add_number(&w, "m", "m", options->m, err));
    TRY(add_number(&w, "ef_construction", "ef-construction", options->ef_construction, err));
    if (options->preset != NULL) {
        jw_kv_cstr(&w, "preset", options->preset);
    }
    jw_obj_end(&w);
    if (json_writer_end(&w) != OK) {
        return err_no_memory(err);
    }
    return vectors_post(client, STR("/v1/vectors/index"), buf_str(&body), answer, err);
}

static enum status print_line(struct str text, struct err *err)
{
    TRY(cli_print(text, err));
    return cli_print(STR("\n"), err);
}

/* --- create --- */

static enum status create(struct http_client *client, int argc, char **argv,
                          const struct vectors_options *options, struct err *err)
{
    uint64_t dimension;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    if (options->dimension == NULL || !str_to_u64(str_of(options->dimension), &dimension)) {
        return err_set(err, E_INVALID, "--dimension says how many numbers a vector has");
    }
    TRY(vectors_create(client, str_of(argv[0]), dimension, options, &answer, err));
    if (options->json) {
        return print_line(buf_str(&answer.body), err);
    }
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, 0);
    struct str line = arena_printf(&arena, "%s: made, dimension %llu, %s\n", argv[0],
                                   (unsigned long long)dimension,
                                   options->metric != NULL ? options->metric : "cosine");
    return cli_print(line, err);
}

static enum status load(struct http_client *client, int argc, char **argv,
                        const struct vectors_options *options, struct err *err)
{
    if ((argc == 2) == (options->sql != NULL)) {
        return err_set(err, E_INVALID, "load what? a file, or the rows of --sql");
    }
    return vectors_load(client, str_of(argv[0]), argc == 2 ? argv[1] : NULL, options, err);
}

/* --- search --- */

static enum status read_input(struct buf *out, struct err *err)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0) {
        if (buf_append_bytes(out, piece, n) != OK) {
            return err_no_memory(err);
        }
    }
    return ferror(stdin) ? err_set(err, E_INVALID, "cannot read standard input") : OK;
}

static void add_fields(struct json_writer *w, const char *fields)
{
    struct str rest = str_of(fields);
    jw_kv_arr(w, "fields");
    while (rest.ptr != NULL) {
        jw_str(w, str_split(&rest, ','));
    }
    jw_arr_end(w);
}

static enum status search_body(const struct vectors_options *options, struct buf *out,
                               struct err *err)
{
    AUTO(buf_done) struct buf input;
    struct json_writer w;
    buf_init(&input, 0);
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    if (options->vector != NULL && strcmp(options->vector, "-") == 0) {
        TRY(read_input(&input, err));
        jw_key(&w, STR("vector"));
        jw_raw(&w, str_trim(buf_str(&input)));
    } else if (options->vector != NULL) {
        jw_key(&w, STR("vector"));
        jw_raw(&w, str_of(options->vector));
    } else {
        jw_kv_cstr(&w, "id", options->id);
    }
    TRY(add_number(&w, "k", "k", options->k, err));
    TRY(add_number(&w, "ef", "ef", options->ef, err));
    TRY(add_number(&w, "recall_target", "recall-target", options->recall_target, err));
    TRY(add_number(&w, "max_distance", "max-distance", options->max_distance, err));
    if (options->filter != NULL) {
        jw_key(&w, STR("filter"));
        jw_raw(&w, str_of(options->filter));
    }
    if (options->fields != NULL) {
        add_fields(&w, options->fields);
    }
    if (options->exact) {
        jw_kv_bool(&w, "exact", true);
    }
    if (options->with_vectors) {
        jw_kv_bool(&w, "with_vectors", true);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

/** A value as JSON text, in the table's arena. */
static struct str json_text(struct cli_table *table, yyjson_val *value)
{
    AUTO(buf_done) struct buf text;
    struct json_writer w;
    buf_init(&text, 0);
    json_writer_init(&w, &text);
    jw_val(&w, value);
    return json_writer_end(&w) == OK ? arena_str(&table->arena, buf_str(&text)) : STR_EMPTY;
}

static struct str text_of(yyjson_val *object, const char *name)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    return yyjson_is_str(value) ? str_from(yyjson_get_str(value), yyjson_get_len(value))
                                : STR_EMPTY;
}

static enum status show_results(yyjson_val *results, struct err *err)
{
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, 3, err));
    struct str *row = cli_table_row(&table);
    if (row == NULL) {
        return err_no_memory(err);
    }
    row[0] = STR("id");
    row[1] = STR("distance");
    row[2] = STR("metadata");
    table.right[1] = true;
    size_t i, max;
    yyjson_val *hit;
    yyjson_arr_foreach(results, i, max, hit)
    {
        row = cli_table_row(&table);
        if (row == NULL) {
            return err_no_memory(err);
        }
        row[0] = text_of(hit, "id");
        row[1] = arena_printf(&table.arena, "%.6g",
                              yyjson_get_num(yyjson_obj_get(hit, "distance")));
        row[2] = json_text(&table, yyjson_obj_get(hit, "metadata"));
    }
    return cli_table_show(&table, err);
}

static enum status search(struct http_client *client, int argc, char **argv,
                          const struct vectors_options *options, struct err *err)
{
    AUTO(buf_done) struct buf target, body;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    yyjson_val *results = NULL;
    buf_init(&target, 0);
    buf_init(&body, 0);
    if ((options->vector != NULL) == (options->id != NULL)) {
        return err_set(err, E_INVALID, "search for what? --vector \"[...]\" or --id ID");
    }
    TRY(vectors_target(str_of(argv[0]), "/search", &target, err));
    TRY(search_body(options, &body, err));
    TRY(vectors_post(client, buf_str(&target), buf_str(&body), &answer, err));
    if (options->json) {
        return print_line(buf_str(&answer.body), err);
    }
    TRY(json_parse(buf_str(&answer.body), &doc, err));
    TRY(json_get_arr(yyjson_doc_get_root(doc), "results", JSON_REQUIRED, &results, err));
    return show_results(results, err);
}

/* --- info --- */

static enum status show_indexes(yyjson_val *indexes, struct err *err)
{
    static const char *const heads[] = { "index", "dimension", "metric", "items", "memory" };
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, ARRAY_LEN(heads), err));
    struct str *row = cli_table_row(&table);
    bool terminal = isatty(STDOUT_FILENO);
    size_t i, max;
    yyjson_val *one;
    for (i = 0; row != NULL && i < ARRAY_LEN(heads); i++) {
        row[i] = str_of(heads[i]);
        table.right[i] = i == 1 || i > 2;
    }
    yyjson_arr_foreach(indexes, i, max, one)
    {
        row = cli_table_row(&table);
        if (row == NULL) {
            break;
        }
        yyjson_val *length = yyjson_obj_get(one, "length"); /* may be unknown */
        uint64_t memory = yyjson_get_uint(yyjson_obj_get(one, "memory_bytes"));
        row[0] = text_of(one, "name");
        row[1] = json_text(&table, yyjson_obj_get(one, "dimension"));
        row[2] = text_of(one, "metric");
        row[3] = length == NULL ? STR_EMPTY
                 : terminal     ? cli_count(&table.arena, (int64_t)yyjson_get_uint(length))
                                : json_text(&table, length);
        row[4] = terminal ? cli_size(&table.arena, memory)
                          : json_text(&table, yyjson_obj_get(one, "memory_bytes"));
    }
    return row != NULL ? cli_table_show(&table, err) : err_no_memory(err);
}

static enum status show_figures(yyjson_val *root, struct err *err)
{
    AUTO(cli_table_done) struct cli_table table;
    TRY(cli_table_init(&table, 2, err));
    struct str *row = cli_table_row(&table);
    size_t i, max;
    yyjson_val *key, *value;
    if (row != NULL) {
        row[0] = STR("figure");
        row[1] = STR("value");
    }
    yyjson_obj_foreach(root, i, max, key, value)
    {
        row = cli_table_row(&table);
        if (row == NULL) {
            break;
        }
        row[0] = str_from(yyjson_get_str(key), yyjson_get_len(key));
        row[1] = yyjson_is_str(value) ? str_from(yyjson_get_str(value), yyjson_get_len(value))
                                      : json_text(&table, value);
    }
    return row != NULL ? cli_table_show(&table, err) : err_no_memory(err);
}

static enum status info(struct http_client *client, int argc, char **argv,
                        const struct vectors_options *options, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(cli_table_done) struct cli_table whole = { 0 };
    buf_init(&target, 0);
    if (argc == 0) {
        TRY(buf_append(&target, STR("/v1/vectors/index")) == OK ? OK : err_no_memory(err));
    } else {
        TRY(vectors_target(str_of(argv[0]), "/stats", &target, err));
    }
    TRY(cli_get_json(client, buf_str(&target), 0, &doc, err));
    yyjson_val *root = yyjson_doc_get_root(doc), *indexes = NULL;
    if (options->json) {
        TRY(cli_table_init(&whole, 1, err));
        return print_line(json_text(&whole, root), err);
    }
    if (argc > 0) {
        return show_figures(root, err);
    }
    TRY(json_get_arr(root, "indexes", JSON_REQUIRED, &indexes, err));
    return show_indexes(indexes, err);
}

/* --- export and delete --- */

static enum status print_piece(void *ctx, struct str bytes, struct err *err)
{
    (void)ctx;
    return cli_print(bytes, err);
}

static enum status export_all(struct http_client *client, int argc, char **argv,
                              const struct vectors_options *options, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    if (options->format != NULL && strcmp(options->format, "parquet") == 0) {
        return vectors_export_parquet(client, str_of(argv[0]), err);
    }
    if (options->format != NULL && strcmp(options->format, "ndjson") != 0) {
        return err_set(err, E_INVALID, "--format %s: export writes ndjson or parquet",
                       options->format);
    }
    struct http_header accept = { STR_INIT("Accept"), STR_INIT("application/x-ndjson") };
    buf_init(&target, 0);
    TRY(vectors_target(str_of(argv[0]), "/items", &target, err));
    struct http_call call = { .method = HTTP_GET,
                              .target = buf_str(&target),
                              .headers = &accept,
                              .header_count = 1,
                              .write_body = print_piece,
                              .deadline = DEADLINE_NEVER };
    return cli_call(client, &call, &answer, err);
}

static enum status delete_body(int argc, char **argv, const struct vectors_options *options,
                               struct buf *out, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    if (argc > 1) {
        jw_kv_arr(&w, "ids");
        for (int i = 1; i < argc; i++) {
            jw_str(&w, str_of(argv[i]));
        }
        jw_arr_end(&w);
    } else if (options->filter != NULL) {
        jw_key(&w, STR("filter"));
        jw_raw(&w, str_of(options->filter));
    } else {
        jw_kv_bool(&w, "all", true);
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

static enum status drop_index(struct http_client *client, struct str name,
                              const struct vectors_options *options, struct err *err)
{
    AUTO(buf_done) struct buf target;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    buf_init(&target, 0);
    TRY(vectors_target(name, "", &target, err));
    struct http_call call = { .method = HTTP_DELETE, .target = buf_str(&target) };
    TRY(cli_call(client, &call, &answer, err));
    return cli_print(options->json ? STR("{\"dropped\":true}\n") : STR("dropped\n"), err);
}

static enum status delete_items(struct http_client *client, int argc, char **argv,
                                const struct vectors_options *options, struct err *err)
{
    AUTO(buf_done) struct buf target, body;
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(arena_done) struct arena arena;
    uint64_t deleted = 0;
    buf_init(&target, 0);
    buf_init(&body, 0);
    arena_init(&arena, 0);
    if ((argc > 1) + (options->filter != NULL) + options->all + options->drop != 1) {
        return err_set(err, E_INVALID,
                       "delete what? ids, --filter JSON, --all items, or --drop the index");
    }
    if (options->drop) {
        return drop_index(client, str_of(argv[0]), options, err);
    }
    TRY(vectors_target(str_of(argv[0]), "/delete", &target, err));
    TRY(delete_body(argc, argv, options, &body, err));
    TRY(vectors_post(client, buf_str(&target), buf_str(&body), &answer, err));
    if (options->json) {
        return print_line(buf_str(&answer.body), err);
    }
    TRY(json_parse(buf_str(&answer.body), &doc, err));
    TRY(json_get_u64(yyjson_doc_get_root(doc), "deleted", JSON_REQUIRED, &deleted, err));
    struct str count = cli_count(&arena, (int64_t)deleted);
    return cli_print(
        arena_printf(&arena, "%.*s item%s deleted\n", STR_ARG(count), deleted == 1 ? "" : "s"),
        err);
}

/* --- the command --- */

static const struct verb {
    const char *name;
    int words_min, words_max; /* behind it */
    const char *options;      /* " a b ": all that may stand with it, besides --json and --server */
    enum status (*run)(struct http_client *client, int argc, char **argv,
                       const struct vectors_options *options, struct err *err);
} verbs[] = {
    { "create", 1, 1, " dimension metric m ef-construction preset ", create },
    { "load", 1, 2,
      " create metric m ef-construction preset format sql id-field vector-field ids mode ", load },
    { "search", 1, 1,
      " vector id k ef recall-target filter max-distance fields exact with-vectors ", search },
    { "info", 0, 1, " ", info },
    { "export", 1, 1, " format ", export_all },
    { "delete", 1, INT32_MAX, " filter all drop ", delete_items },
};

static const struct verb *verb_of(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(word, verbs[i].name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

/** The option that was given and means nothing to the verb; NULL: all do. */
static const char *foreign_option(const struct verb *verb, const struct vectors_options *options)
{
    for (size_t i = 0; i + 2 < ARRAY_LEN(vectors_options); i++) { /* but --json and --server */
        const struct cli_option *option = &vectors_options[i];
        const char *place = (const char *)options + option->at;
        bool given = option->kind == CLI_SWITCH ? *(const bool *)place
                                                : *(const char *const *)(const void *)place != NULL;
        char wanted[64];
        snprintf(wanted, sizeof(wanted), " %s ", option->name);
        if (given && strstr(verb->options, wanted) == NULL) {
            return option->name;
        }
    }
    return NULL;
}

static int run(const struct verb *verb, int argc, char **argv,
               const struct vectors_options *options)
{
    struct err err = { 0 };
    struct http_client *client = NULL;
    const char *foreign = foreign_option(verb, options);
    if (foreign != NULL) {
        return cli_usage("vectors", "--%s means nothing to %s", foreign, verb->name);
    }
    if (argc < verb->words_min || argc > verb->words_max) {
        return cli_usage("vectors", "%s wants %s (lakehouse vectors --help)", verb->name,
                         argc < verb->words_min ? "the name of an index" : "fewer words");
    }
    if (cli_connect(options->server, &client, &err) != OK) {
        return cli_usage("vectors", "%s", err.msg);
    }
    enum status status = verb->run(client, argc, argv, options, &err);
    http_client_free(client);
    return status == OK ? 0 : cli_failed("vectors", &err);
}

int cli_vectors(int argc, char **argv)
{
    argc--;
    argv++;
    struct vectors_options options = { 0 };
    enum cli_parsed parsed = cli_parse(&cli_vectors_page, &options, &argc, argv);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    if (argc == 0) {
        return cli_usage("vectors", "what? create, load, search, info, export or delete "
                                    "(lakehouse vectors --help)");
    }
    const struct verb *verb = verb_of(argv[0]);
    if (verb == NULL) {
        return cli_usage("vectors",
                         "unknown \"%s\": it is create, load, search, info, export or "
                         "delete",
                         argv[0]);
    }
    return run(verb, argc - 1, argv + 1, &options);
}
