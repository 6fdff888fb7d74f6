"""The catalogue's benchmarks: commits of many clients, an old table, many files, many tables.

`bench/catalog_append.c` is the catalogue alone on a folder, without HTTP and engines; the others go through `serve`.
"""

import concurrent.futures
import http.client
import json
import statistics
import subprocess
import tempfile
import time

from kit import ROOT, Row, Server, post, timed

CLIENTS, SECONDS = 32, 20
AGE, ROUNDS, START_ROUNDS = 10_000, 10, 10
FILES, TABLES = 10_000, 1_000
PLANS = 20
PYICEBERG = """
import sys, time
from pyiceberg.table import StaticTable
for _ in range(int(sys.argv[2])):
    table = StaticTable.from_metadata(sys.argv[1])
    wall, cpu = time.perf_counter(), time.process_time()
    files = list(table.scan(row_filter="column_0 >= 50000 and column_0 <= 50099").plan_files())
    print((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, len(files))
"""


def appender(k, data, *words):
    done = subprocess.run([k.build / "bench/catalog_append", data, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def at_least(what, ours, unit, peer, peer_name, least):
    ratio = ours / peer
    return Row(what, ours, unit, f"ratio at least {least}", ratio >= least, peer, peer_name, ratio)


def rate_alone(k, clients):
    with tempfile.TemporaryDirectory(dir=k.work) as data:
        ((sent, landed, seconds),) = appender(k, data, "group", clients, SECONDS)
    assert sent == landed, f"{sent} appends were acknowledged, {landed} are there"
    return landed / seconds


def rate_ingest(k, clients):
    """Small CSV files through the gateway, each client one after the other on its connection."""
    with k.serve() as server:
        end = time.perf_counter() + SECONDS

        def client(number):
            connection, sent = server.connect(), 0
            while time.perf_counter() < end:
                rows = "".join(f"{number},{sent},{i}\n" for i in range(10))
                post(connection, "/v1/ingest?name=t", "client,batch,row\n" + rows, "text/csv")
                sent += 1
            return sent

        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            sent = sum(pool.map(client, range(clients)))
        seconds = time.perf_counter() - started
        count = "SELECT count(*) AS n, count(DISTINCT client * 1000000 + batch * 10 + row) AS d FROM t"
        answer = post(server.connect(), "/v1/sql", json.dumps({"sql": count}), "application/json")
        assert answer["rows"] == [{"n": 10 * sent, "d": 10 * sent}], answer["rows"]
    return sent / seconds


def group(k):
    """32 clients append small batches to one table for 20 s, against one client; every batch is there once."""
    rows = []
    for where, rate in (("the catalogue alone", rate_alone), ("ingest through the gateway", rate_ingest)):
        one = rate(k, 1)
        rows.append(at_least(f"{CLIENTS} clients append small batches to one table, {where}", rate(k, CLIENTS), "1/s",
                             one, "one client", 4))
    return rows


def aged(k):
    """Appends to a table that has had 10,000 of them, by turns with the first 100 of new ones."""
    with tempfile.TemporaryDirectory(dir=k.work) as data:
        lines = appender(k, data, "age", AGE, ROUNDS)
    old, old_cpu, new, new_cpu = (statistics.median(column) for column in zip(*lines))
    return [at_least(f"appends to a table that has had {AGE}", 20e3 / old, "1/s", 20e3 / new, "to a table of less than 100", 0.8),
            Row("... and the processor time of one", old_cpu / 20, "ms", "-", True, new_cpu / 20, "to a table of less than 100",
                old_cpu / new_cpu)]


def planning(k):
    """A filter that leaves 10 of 10,000 files, planned and not run, against PyIceberg's plan of the same table."""
    python = subprocess.run([ROOT / "bootstrap", "--env", "test"], capture_output=True, text=True, check=True).stdout.strip()
    sql = json.dumps({"sql": "EXPLAIN SELECT * FROM t WHERE column_0 BETWEEN 50000 AND 50099"})
    with tempfile.TemporaryDirectory(dir=k.work) as data:
        appender(k, data, "files", FILES)
        server = Server(k.program, data)
        try:
            connection = server.connect()
            first, answer = timed(lambda: post(connection, "/v1/sql", sql, "application/json"))
            # 10 files of 10 rows are left, of which DuckDB guesses a fifth to pass.
            assert "~20 rows" in answer["rows"][0]["explain_value"], answer["rows"]
            ours = [timed(lambda: post(connection, "/v1/sql", sql, "application/json"))[0] for _ in range(PLANS)]
            connection.request("GET", "/v1/catalog/manifest/t")
            location = json.loads(connection.getresponse().read())["metadata_location"]
            done = subprocess.run([f"{python}/bin/python3", "-c", PYICEBERG, location, "5"], capture_output=True, text=True, check=True)
            peer = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
        finally:
            server.stop()
    assert all(count == 10 for _, _, count in peer)
    ours, peer = statistics.median(ours), statistics.median(wall for wall, _, _ in peer)
    return [Row(f"plan a scan of {FILES} files, a filter that leaves 10 (EXPLAIN through the gateway)", ours, "ms", "20 times faster",
                peer / ours >= 20, peer, "PyIceberg's plan_files()", ours / peer),
            Row("... the first time, with nothing in memory", first, "ms", "-", True, peer, "PyIceberg's plan_files()", first / peer)]


def ready(k, data):
    """Milliseconds from the start of `serve` on this folder until it is ready."""
    server = Server(k.program, data)
    try:
        connection = http.client.HTTPConnection(server.address, timeout=600)
        connection.request("GET", "/ready")
        assert connection.getresponse().status == 200
        return (time.perf_counter() - server.started) * 1e3
    finally:
        server.stop()


def tables(k):
    """From the start of `serve` on a lake of 1,000 tables until it is ready, by turns with an empty folder."""
    full, empty = [], []
    with tempfile.TemporaryDirectory(dir=k.work) as data, tempfile.TemporaryDirectory(dir=k.work) as nothing:
        appender(k, data, "fill", TABLES)
        for _ in range(START_ROUNDS):
            full.append(ready(k, data))
            empty.append(ready(k, nothing))
    a, b = statistics.median(full), statistics.median(empty)
    return [Row(f"`lakehouse serve` on a lake of {TABLES} tables, from its start until it is ready", a, "ms", "at most 150 ms",
                a <= 150, b, "on an empty folder", a / b)]


PAGE = """# The catalogue

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

**Group commit.** Expected: the rate grows with the number of appends that share a commit, as a commit costs five synced files, however many
appends are in it. It does; what is left for each append is its marker, one synced file, which all write side by side. Through the gateway each batch
is converted by an engine first and has a data file of its own, so that processors and the disk are shared by more than commits. Three quarters of the
samples of a profile were in engines, which ran three statements a batch: for the types, the COPY, and for the offsets of row groups. Expected of doing the first and
the last without DuckDB: half of the engine's time. It was seen once, on a busy machine, and is not measured apart. What is left is the COPY and, in the server, about twelve syncs a batch when one client sends. One client mostly waits: it used 0.2 to 0.7 of a core. On a slow disk the ratio is 8 and more (seen on a busy machine, 12 against 160 to 200 a second); on a fast one a batch costs 3 to 6 ms of processor time, 2 of
them an engine's, and two cores are the limit. Tried without effect: one sync of a folder for all that have put files into it (each then waits for up to two, and the kernel joins them anyway).

**An old table.** Expected: a little slower, as a table of 1000 snapshots has half a megabyte of metadata that each commit writes anew.
The MD5 of that file (its ETag), parsing it once more before it was published, and printing it made two thirds of the additional processor time. Expected of doing without: all
of that, less a copy of the text. Now the file has a random ETag, its text is the old one with the new entries spliced in, and only these are parsed (`src/iceberg/metadata_next.c`). By turns on
a busy machine, an append to an old table took 4.1 ms of processor time before and 2.5 to 3.0 ms after, one to a new table 2.0 to 2.4 ms both times. What was left was the copy into the kernel and to the disk, and once in 100 commits the merge of manifests. On a slow disk
the syncs of a commit hide it; on a fast one the ratio of processor times is what to expect. So a table that gets more than 150 snapshots within ten minutes now keeps 113 to 150
of them instead of 750 to 1000 ([decision 16](../decisions/0016-snapshots-kept.md)): predicted from 1.8 us a snapshot: 2.77 ms to 1.4; seen, on a file system in memory, at 2000 appends: 1.79 ms to 1.31, where a new table has 1.0.
At 10,000 a profile still had a quarter in merges of manifests: one append in a hundred took 140 ms of processor time, as it wrote all files of the table down again. A manifest with more than twice the files of all smaller
ones now waits until those have grown. Predicted: a tenth of that; seen: the mean of all appends, merges included, is 1.69 ms where that of a new table is 1.31 (0.78), the median round 1.61 and 1.35. What is left: the list of what expires is
read once per snapshot and its files are noted as trash, a merge per hundred, and some eighty snapshots more than a new table has.

**Planning.** Ours includes HTTP, the check of the statement, pinning and DuckDB's own planning. PyIceberg reads the manifests each time;
so do we the first time, afterwards they are in memory: parsed in the catalogue's cache, and the bounds of a column with the engine.

**Start.** Nothing is read of tables at the start: the figure is that of an empty folder. The sweep looks at them later, in the background.
"""

ALL = {"catalog-group": group, "catalog-aged": aged, "catalog-planning": planning, "catalog-tables": tables}
