/*
 * What a client asks of POST /sql: its JSON body and its Accept header as the options of a query.
 */
#ifndef API_SQL_REQUEST_H
#define API_SQL_REQUEST_H

#include "base/json.h"
#include "query/query.h"

/**
 * Fills sql, params and format of `out`; sql is borrowed from `body`, params from the buffer that
 * they are printed to.
 * Errors   E_INVALID names the field
 */
enum status sql_request_read(yyjson_val *body, struct str accept, struct buf *params,
                             struct query_opts *out, struct err *err) MUST_USE;

#endif
