/*
 * The S3 API's own port: from settings to a server. Off while no key and no anonymous access is
 * set.
 */
#ifndef CMD_S3_DOOR_H
#define CMD_S3_DOOR_H

#include "cmd/parts.h"

/** Into parts->s3_server and what it stands on, over parts->store; nothing listens yet. */
enum status s3_door_open(struct parts *parts, const struct http_server_opts *edge,
                         struct err *err) MUST_USE;
void s3_door_close(struct parts *parts);

#endif
