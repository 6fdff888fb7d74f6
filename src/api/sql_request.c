/*
 * The fields "sql", "params", "format" and "row_format", and what the Accept header says about the
 * format when there is no such field.
 */
#include "api/sql_request.h"

static enum status parse_format(struct str name, enum query_format *out, struct err *err)
{
    static const struct {
        const char *name;
        enum query_format format;
    } known[] = {
        { "json", QUERY_JSON }, { "ndjson", QUERY_NDJSON }, { "jsonl", QUERY_NDJSON },
        { "csv", QUERY_CSV },   { "arrow", QUERY_ARROW },   { "parquet", QUERY_PARQUET }
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_eq(name, str_of(known[i].name))) {
            *out = known[i].format;
            return OK;
        }
    }
    return err_set(err, E_INVALID,
                   "unknown format '%.*s': take json, ndjson, csv, arrow or parquet",
                   STR_ARG(name));
}

static bool media_format(struct str type, enum query_format *out)
{
    static const struct {
        const char *type;
        enum query_format format;
    } known[] = {
        { "application/json", QUERY_JSON },
        { "application/x-ndjson", QUERY_NDJSON },
        { "application/ndjson", QUERY_NDJSON },
        { "application/jsonl", QUERY_NDJSON },
        { "application/x-jsonlines", QUERY_NDJSON },
        { "text/csv", QUERY_CSV },
        { "application/vnd.apache.arrow.stream", QUERY_ARROW },
        { "application/vnd.apache.parquet", QUERY_PARQUET },
        { "text/*", QUERY_CSV },
        { "application/*", QUERY_JSON },
        { "*/*", QUERY_JSON },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_eq_nocase(type, str_of(known[i].type))) {
            *out = known[i].format;
            return true;
        }
    }
    return false;
}

/** The q of `;q=0.5`; 1 when there is none or it is broken. */
static double media_weight(struct str params)
{
    while (params.ptr != NULL) {
        struct str one = str_trim(str_split(&params, ';'));
        double q;
        if ((str_starts(one, STR("q=")) || str_starts(one, STR("Q="))) &&
            str_to_double(str_skip(one, 2), &q)) {
            return q;
        }
    }
    return 1;
}

/** The best of what the client accepts and we have; the first of equals. JSON when it accepts
 * nothing that we have. */
static enum query_format accepted(struct str accept)
{
    enum query_format best = QUERY_JSON;
    double best_weight = 0;
    while (accept.ptr != NULL) {
        struct str params = str_split(&accept, ',');
        struct str type = str_trim(str_split(&params, ';'));
        enum query_format format;
        double weight = media_weight(params);
        if (media_format(type, &format) && weight > best_weight) {
            best = format;
            best_weight = weight;
        }
    }
    return best;
}

static enum status choose_format(yyjson_val *body, struct str accept, enum query_format *out,
                                 struct err *err)
{
    struct str format = { NULL, 0 };
    struct str row_format = STR_INIT("objects");
    *out = accepted(accept);
    TRY(json_get_str(body, "format", JSON_OPTIONAL, &format, err));
    TRY(json_get_str(body, "row_format", JSON_OPTIONAL, &row_format, err));
    if (format.ptr != NULL) {
        TRY(parse_format(format, out, err));
    }
    if (str_eq(row_format, STR("objects"))) {
        return OK;
    }
    if (!str_eq(row_format, STR("arrays"))) {
        return err_set(err, E_INVALID, "unknown row_format '%.*s': take objects or arrays",
                       STR_ARG(row_format));
    }
    *out = *out == QUERY_JSON     ? QUERY_JSON_ARRAYS
           : *out == QUERY_NDJSON ? QUERY_NDJSON_ARRAYS
                                  : *out;
    return OK;
}

/** `params` as JSON text. */
static enum status print_params(yyjson_val *body, struct buf *out, struct err *err)
{
    yyjson_val *params = yyjson_obj_get(body, "params");
    if (params == NULL || yyjson_is_null(params)) {
        return OK;
    }
    if (!yyjson_is_arr(params) && !yyjson_is_obj(params)) {
        return err_set(err, E_INVALID,
                       "\"params\" is an array (for ? and $1) or an object (for $name)");
    }
    struct json_writer w;
    json_writer_init(&w, out);
    jw_val(&w, params);
    return json_writer_end(&w) == OK ? OK : err_no_memory(err);
}

enum status sql_request_read(yyjson_val *body, struct str accept, struct buf *params,
                             struct query_opts *out, struct err *err)
{
    if (!yyjson_is_obj(body)) {
        return err_set(err, E_INVALID, "the body is {\"sql\": \"...\"}");
    }
    TRY(json_get_str(body, "sql", JSON_REQUIRED, &out->sql, err));
    TRY(choose_format(body, accept, &out->format, err));
    TRY(print_params(body, params, err));
    out->params = buf_str(params);
    return OK;
}
