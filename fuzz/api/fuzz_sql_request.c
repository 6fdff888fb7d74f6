/*
 * Any request of POST /sql: the first line is its Accept header, the rest its body. What is taken
 * has a statement, and params that are JSON again.
 */
#include "api/sql_request.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond)
{
    if (!cond) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = str_from((const char *)data, size);
    struct str accept = str_split(&body, '\n');
    AUTO(json_doc_done) yyjson_doc *doc = NULL;
    AUTO(json_doc_done) yyjson_doc *again = NULL;
    struct query_opts opts = { .format = QUERY_JSON };
    struct err err = { 0 };
    struct buf params;
    if (json_parse(body, &doc, &err) != OK) {
        return 0;
    }
    buf_init(&params, 0);
    if (sql_request_read(yyjson_doc_get_root(doc), accept, &params, &opts, &err) == OK) {
        check(opts.sql.ptr != NULL && opts.format <= QUERY_PARQUET);
        check(opts.params.len == 0 || json_parse(opts.params, &again, &err) == OK);
    } else {
        check(err.kind == E_INVALID && err.msg[0] != '\0');
    }
    buf_done(&params);
    return 0;
}
