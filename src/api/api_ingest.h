/*
 * The wire format of ingestd: POST /ingest.
 */
#ifndef API_API_INGEST_H
#define API_API_INGEST_H

#include "http/server.h"
#include "ingest/ingest.h"

/** Mounts POST {prefix}/ingest. `ingest` is borrowed until the server has stopped. */
enum status api_ingest_mount(struct http_server *server, const char *prefix, struct ingest *ingest,
                             struct err *err) MUST_USE;

#endif
