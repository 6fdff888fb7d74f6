/*
 * lakehouse: a self-hosted lakehouse in one program.
 *
 * The tree as calls, from here down; a folder is a layer and ARCHITECTURE.md has the rules:
 *
 *   main                          cmd/cmd.c        which command: a service by name, or a client
 *                                 command
 *     cmd_serve                   cmd/serve.c      settings, parts, socket, signals
 *       parts_open                cmd/parts.c      build the objects a service needs, mount its
 *                                 routes
 *         store_*_open            store/           bytes under keys: fs, mem, http
 *         catalog_*_open          catalog/         what tables exist: local, http
 *         engine_pool_open        engine/          processes that run DuckDB (engine_main.c is
 *                                 their program)
 *         ingest_open             ingest/          file -> Parquet -> one commit
 *         query_open              query/           SQL -> pinned snapshots -> rows
 *         api_*_mount             api/             the routes' wire formats
 *         icerest_mount             icerest/         tables for whoever speaks Iceberg's REST
 *         gateway_mount           gateway/         forward to services of their own processes
 *       http_server_start         http/            the server; from here requests arrive
 *     cli_*                       cli/             ingest, sql, tables, describe against a running
 *                                                  server; the pages of all commands
 *     cmd_doctor                  cmd/doctor.c     what doctor/ finds in a folder, told
 */
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
    return cmd_main(argc, argv);
}
