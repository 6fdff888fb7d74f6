/* [[warehouse]]: what tables are named by. */
#ifndef CMD_WAREHOUSE_H
#define CMD_WAREHOUSE_H

#include "cmd/parts.h"

/** Into the options of the catalogue. E_INVALID names the setting. */
enum status warehouse_of(const struct parts *parts, struct catalog_local_opts *opts,
                         struct err *err) MUST_USE;
/** What clients are told of the S3 API, or NULL. As long as the settings. */
const char *warehouse_s3_public_url(const struct parts *parts);

#endif
