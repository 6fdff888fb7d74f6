/*
 * The client commands of the program: each talks to a running server over HTTP and knows nothing
 * else of it.
 *
 * The server is --server URL, then LAKEHOUSE_SERVER, then http://127.0.0.1:3110. Results go to
 * standard output, everything else to standard error. Exit codes: 0 done, 1 the server refused or
 * failed, 2 the command was called wrongly.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/page.h"
#include "http/client.h"

/** The commands; argv begins with the command's own word and ends with a NULL. */
int cli_sql(int argc, char **argv);
int cli_ingest(int argc, char **argv);
int cli_tables(int argc, char **argv);
int cli_describe(int argc, char **argv);
int cli_vectors(int argc, char **argv);
int cli_maintain(int argc, char **argv);

/** Whether colours may be shown on a descriptor: a terminal that can, and a user who has not said
 * NO_COLOR. */
bool cli_paints(int fd);
/** Whether a line on it may be drawn again and again. */
bool cli_redraws(int fd);

#endif
