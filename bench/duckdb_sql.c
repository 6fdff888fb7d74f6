/*
 * The peer of the benchmarks: SQL files of one's own through the very library that lakehouse
 * embeds, in process, without a server, a catalogue or a commit around it.
 *
 *     duckdb_sql THREADS TIMES SETUP... -- STATEMENT
 *
 * Runs each SETUP once, then STATEMENT TIMES times with its rows fetched and dropped, and prints
 * the wall time and the processor time of each run in milliseconds, a line each. Exit code 1 with
 * DuckDB's message on an error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "duckdb.h"

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void run(duckdb_connection connection, const char *sql)
{
    duckdb_result result;
    if (duckdb_query(connection, sql, &result) == DuckDBError) {
        fprintf(stderr, "duckdb_sql: %s\n  %s\n", sql, duckdb_result_error(&result));
        exit(1);
    }
    for (duckdb_data_chunk chunk; (chunk = duckdb_fetch_chunk(result)) != NULL;) {
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
}

int main(int argc, char **argv)
{
    duckdb_database db;
    duckdb_connection connection;
    char threads[64];
    int at = 3;
    if (argc < 5 || strcmp(argv[argc - 2], "--") != 0) {
        fprintf(stderr, "usage: duckdb_sql THREADS TIMES [SETUP...] -- STATEMENT\n");
        return 2;
    }
    if (duckdb_open(NULL, &db) == DuckDBError || duckdb_connect(db, &connection) == DuckDBError) {
        fprintf(stderr, "duckdb_sql: DuckDB does not open\n");
        return 1;
    }
    snprintf(threads, sizeof(threads), "SET threads = %u", (unsigned)strtoul(argv[1], NULL, 10));
    run(connection, threads);
    for (; strcmp(argv[at], "--") != 0; at++) {
        run(connection, argv[at]);
    }
    for (long times = strtol(argv[2], NULL, 10); times > 0; times--) {
        double wall = now_ms(CLOCK_MONOTONIC), cpu = now_ms(CLOCK_PROCESS_CPUTIME_ID);
        run(connection, argv[at + 1]);
        printf("%.3f %.3f\n", now_ms(CLOCK_MONOTONIC) - wall,
               now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    duckdb_disconnect(&connection);
    duckdb_close(&db);
    return 0;
}
