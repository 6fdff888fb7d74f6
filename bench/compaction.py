"""Compaction: a thousand files of about a megabyte become a few, by CALL rewrite_data_files and by Spark's procedure of that name.

Both have the very same table: after ours it is rolled back. Spark is warm, with the two cores that it gets in the tests (tests/integration/spark_lake.py).
"""

import concurrent.futures
import json
import time

from kit import Row, post
from spark import Spark

FILES, ROWS, CLIENTS = 1_000, 28_000, 3


def sql(connection, statement):
    return post(connection, "/v1/sql", json.dumps({"sql": statement, "row_format": "arrays"}), "application/json")["rows"]


def fill(server, table, files, rows):
    sql(server.connect(), f"CREATE TABLE {table} (id BIGINT NOT NULL, text VARCHAR, number DOUBLE, day DATE)")

    def insert(client):
        connection = server.connect()
        for i in range(client, files, CLIENTS):
            sql(connection, f"INSERT INTO {table} SELECT i, md5(i::VARCHAR), random(), DATE '2024-01-01' + (i % 365)::INTEGER "
                            f"FROM range({i * rows}, {(i + 1) * rows}) r(i)")

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(insert, range(CLIENTS)))


def check(connection, files, rows):
    ((count, different),) = sql(connection, "SELECT count(*), count(DISTINCT id) FROM t")
    assert count == different == files * rows, (count, different)


def compaction(k):
    """A thousand small files become a few, against Spark's procedure on the same table."""
    with k.serve() as server:
        fill(server, "t", FILES, ROWS)
        fill(server, "warm", 10, 1000)
        connection = server.connect()
        ((count, size),) = sql(connection, "SELECT count(*), sum(file_size_in_bytes)::BIGINT FROM t$files")
        ((before,),) = sql(connection, "SELECT snapshot_id FROM t$snapshots ORDER BY committed_at DESC LIMIT 1")
        spark = Spark(server.address)
        spark.rows("CALL lake.system.rewrite_data_files(table => 'main.warm', options => map('rewrite-all', 'true'))")
        connection = server.connect()  # the first was idle meanwhile
        begin = time.perf_counter()
        ((rewritten, added, *_),) = sql(connection, "CALL rewrite_data_files('t')")
        ours = time.perf_counter() - begin
        assert rewritten == count == FILES, (rewritten, count)
        check(connection, FILES, ROWS)
        sql(connection, f"CALL rollback_to_snapshot('t', snapshot_id => {before})")
        spark.rows("SELECT 1")
        begin = time.perf_counter()
        ((theirs, made, *_),) = spark.rows("CALL lake.system.rewrite_data_files(table => 'main.t', options => map('target-file-size-bytes', '134217728'))")
        peer = time.perf_counter() - begin
        spark.stop()
        connection = server.connect()
        assert theirs == FILES, theirs
        check(connection, FILES, ROWS)
    ratio = peer / ours
    return [Row(f"{FILES} files, {size / 1e6:.0f} MB, into {added} (Spark: {made})", ours, "s", "ratio at least 5", ratio >= 5, peer,
                "Spark rewrite_data_files", ratio)]


PAGE = """# Compaction

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

The same table twice, rolled back between. Expected: the rows are decoded and encoded once on both sides, on two cores; ours starts no job for each file, and Spark's runs in the JVM.
"""

ALL = {"compaction": compaction}
