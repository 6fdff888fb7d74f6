/* [[warehouse]]: what tables are named by. */
#ifndef CMD_WAREHOUSE_H
#define CMD_WAREHOUSE_H

#include "cmd/parts.h"

/** Into the options of the catalogue. E_INVALID names the setting. */
enum status warehouse_of(const struct parts *parts, struct catalog_local_opts *opts,
                         struct err *err) MUST_USE;
/** Are tables named by s3://lake/..., so that clients need our S3 API, and a key of it? */
bool warehouse_on_s3api(const struct parts *parts);
/**
 * What clients are told of the S3 API: the setting, else where it listens. NULL when that is not
 * known (another process may have taken any port) or no address to call.
 *
 * Owns     as long as the settings and the parts
 */
const char *warehouse_s3_url(struct parts *parts);

#endif
