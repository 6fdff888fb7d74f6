"""The Iceberg REST catalogue's benchmarks: commits, loads, plans of a large partitioned table, MERGE.

The peer of commits is PyIceberg's own catalogue in SQLite, on the same folder's disk; of plans PyIceberg; of MERGE Spark.
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time

from catalog import appender
from kit import ROOT, Row, Server, post, timed
from spark import Spark

WRITERS, SECONDS, APPEND_SECONDS = 8, 8, 15
SNAPSHOTS = 1_000
FILES, PARTS, PLANS = 100_000, 1_000, 10
SCHEMA = {"type": "struct", "fields": [{"id": 1, "name": "id", "required": False, "type": "long"}, {"id": 2, "name": "word", "required": False, "type": "string"}]}


def python_of(environment):
    folder = subprocess.run([ROOT / "bootstrap", "--env", environment], capture_output=True, text=True, check=True).stdout.strip()
    return f"{folder}/bin/python3"


def rest(server, method, path, body=None, headers=()):
    connection = server.connect()
    connection.request(method, "/iceberg/v1" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json", **dict(headers)})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {text[:500]}")
    return json.loads(text) if text else None, answer


def make_tables(server, count):
    rest(server, "POST", "/namespaces", {"namespace": ["bench"]})
    for i in range(count):
        rest(server, "POST", "/namespaces/bench/tables", {"name": f"t{i}", "schema": SCHEMA})


def sqlite(folder):
    """PyIceberg's catalogue in SQLite, with as many tables."""
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}


def make_sqlite_tables(catalog, count):
    code = ("import json, sys, os\nfrom pyiceberg.catalog import load_catalog\nfrom pyiceberg.schema import Schema\n"
            "c = load_catalog('bench', **json.loads(sys.argv[1]))\nc.create_namespace('bench')\n"
            f"for i in range({count}): c.create_table(f'bench.t{{i}}', Schema.model_validate_json(sys.argv[2]))\n")
    subprocess.run([python_of("bench"), "-c", code, json.dumps(catalog), json.dumps(SCHEMA)], check=True)


# --- commits ---


def wrk_writers(server, tables):
    """Commits a second of 8 raw writers, one connection each, on so many tables; what each wrote last is there."""
    running = []
    for i in range(WRITERS):
        url = f"http://{server.address}/iceberg/v1/namespaces/bench/tables/t{i % tables}"
        running.append(subprocess.Popen(["wrk", "-t1", "-c1", f"-d{SECONDS}s", "-s", ROOT / "bench/peers/iceberg_commit.lua", url, "--", f"writer{i}"],
                                        stdout=subprocess.PIPE, text=True))
    total = 0
    for i, process in enumerate(running):
        text = process.communicate()[0]
        done = int(re.search(r"(\d+) requests in", text).group(1))
        assert "Non-2xx" not in text and "Socket errors" not in text, text
        properties = rest(server, "GET", f"/namespaces/bench/tables/t{i % tables}")[0]["metadata"]["properties"]
        assert done <= int(properties[f"writer{i}"]) <= done + 2, (done, properties)  # one was under way; wrk tries the script once
        total += done
    return total / SECONDS


def clients(catalog, what, tables, seconds):
    """Commits a second of 8 PyIceberg processes."""
    python, running = python_of("bench"), []
    for i in range(WRITERS):
        running.append(subprocess.Popen([python, ROOT / "bench/peers/iceberg_client.py", json.dumps(catalog), what, f"bench.t{i % tables}", str(seconds), f"writer{i}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(int(process.communicate()[0]) for process in running) / seconds


def rate_row(what, ours, peer, peer_name, least):
    return Row(what, ours, "1/s", f"ratio at least {least}", ours / peer >= least, peer, peer_name, ours / peer)


def commits(k):
    """Property-set commits of 8 writers, on 8 tables and on one, against PyIceberg's catalogue in SQLite."""
    rows = []
    for tables, what, least in ((WRITERS, f"{WRITERS} tables", 10), (1, "one table", 5)):
        ours, peer = [], []
        for _ in range(3):
            with k.serve() as server, tempfile.TemporaryDirectory(dir=k.work) as folder:
                make_tables(server, tables)
                ours.append(wrk_writers(server, tables))
                make_sqlite_tables(sqlite(folder), tables)
                peer.append(clients(sqlite(folder), "properties", tables, SECONDS))
        rows.append(rate_row(f"commits that set a property, {WRITERS} writers on {what}, raw HTTP, synced", statistics.median(ours), statistics.median(peer),
                             "PyIceberg's SQLite catalogue, not synced", least))
    return rows


def appends(k):
    """PyIceberg appends of 1,000 rows, 8 writers on 8 tables, through us and through its SQLite catalogue."""
    ours, peer = [], []
    for _ in range(3):
        with k.serve() as server, tempfile.TemporaryDirectory(dir=k.work) as folder:
            make_tables(server, WRITERS)
            ours.append(clients({"type": "rest", "uri": f"http://{server.address}/iceberg"}, "appends", WRITERS, APPEND_SECONDS))
            make_sqlite_tables(sqlite(folder), WRITERS)
            peer.append(clients(sqlite(folder), "appends", WRITERS, APPEND_SECONDS))
    return [rate_row(f"PyIceberg appends 1,000 rows, {WRITERS} writers on {WRITERS} tables", statistics.median(ours), statistics.median(peer),
                     "through its SQLite catalogue", 1)]


# --- loads ---


def make_snapshots(server):
    """1,000 snapshots with summaries as writers give them; their files are not looked at by a load."""
    rest(server, "POST", "/namespaces", {"namespace": ["bench"]})
    metadata = rest(server, "POST", "/namespaces/bench/tables", {"name": "t", "schema": SCHEMA})[0]["metadata"]
    parent, now = None, int(time.time() * 1000)
    for first in range(1, SNAPSHOTS + 1, 50):
        updates = []
        for i in range(first, first + 50):
            snapshot = {"snapshot-id": 7_000_000_000_000_000 + i, "sequence-number": i, "timestamp-ms": now + i, "schema-id": 0,
                        "manifest-list": f"{metadata['location']}/metadata/snap-{i}-1-8d1f0c1c-2c0e-4b1c-9d5e-0123456789ab.avro",
                        "summary": {"operation": "append", "added-data-files": "1", "added-records": "1000", "added-files-size": "20480",
                                    "total-data-files": str(i), "total-delete-files": "0", "total-records": str(1000 * i),
                                    "total-files-size": str(20480 * i), "total-position-deletes": "0", "total-equality-deletes": "0"}}
            if parent:
                snapshot["parent-snapshot-id"] = parent
            parent = snapshot["snapshot-id"]
            updates.append({"action": "add-snapshot", "snapshot": snapshot})
        updates.append({"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": parent})
        rest(server, "POST", "/namespaces/bench/tables/t", {"requirements": [], "updates": updates})


def wrk_loads(server, query, headers=()):
    words = [word for name, value in headers for word in ("-H", f"{name}: {value}")]
    text = subprocess.run(["wrk", "-t1", "-c8", f"-d{SECONDS}s", *words, f"http://{server.address}/iceberg/v1/namespaces/bench/tables/t{query}"],
                          capture_output=True, text=True, check=True).stdout
    assert "Socket errors" not in text, text
    return text, float(re.search(r"Requests/sec:\s*([\d.]+)", text).group(1))


def loads(k):
    """A table of 1,000 snapshots: the whole answer in bytes a second, `snapshots=refs` and 304 in answers a second."""
    with k.serve() as server:
        make_snapshots(server)
        body, answer = rest(server, "GET", "/namespaces/bench/tables/t")
        assert len(body["metadata"]["snapshots"]) == SNAPSHOTS
        size, tag = int(answer.getheader("Content-Length")), answer.getheader("ETag")
        text, whole = wrk_loads(server, "")
        assert "Non-2xx" not in text, text
        text, refs = wrk_loads(server, "?snapshots=refs")
        assert "Non-2xx" not in text, text
        unchanged = wrk_loads(server, "", [("If-None-Match", tag)])[1]
    rate = whole * size / 1e9
    return [Row(f"load a table of {SNAPSHOTS:,} snapshots ({size / 1e3:.0f} KB), 8 connections", rate, "GB/s", "at least 1", rate >= 1),
            Row("... with `snapshots=refs`", refs / 1e3, "k/s", "at least 15", refs >= 15e3),
            Row("... that has not changed (304)", unchanged / 1e3, "k/s", "at least 15", unchanged >= 15e3)]


# --- plans ---

PYICEBERG = """
import sys, time
from pyiceberg.table import StaticTable
for i in range(int(sys.argv[2])):
    table = StaticTable.from_metadata(sys.argv[1])
    started = time.perf_counter()
    files = list(table.scan(row_filter=f"column_1 = {100 + i}").plan_files())
    print((time.perf_counter() - started) * 1e3, len(files))
"""


def plans(k):
    """100,000 files in 1,000 partitions, each commit with a file of every one: a filter to one partition, planned and not run."""
    statement = lambda part: json.dumps({"sql": f"EXPLAIN SELECT * FROM t WHERE column_1 = {part}"})
    with tempfile.TemporaryDirectory(dir=k.work) as data:
        appender(k, data, "parts", FILES, PARTS)
        server = Server(k.program, data)
        try:
            connection = server.connect()
            cold, answer = timed(lambda: post(connection, "/v1/sql", statement(7), "application/json"))
            assert f"{FILES // PARTS}/{FILES}" in re.sub(r"\s", "", answer["rows"][0]["explain_value"]), answer["rows"]
            warm = [timed(lambda: post(connection, "/v1/sql", statement(100 + i), "application/json"))[0] for i in range(PLANS)]
            connection.request("GET", "/v1/catalog/manifest/t")
            location = json.loads(connection.getresponse().read())["metadata_location"]
            done = subprocess.run([python_of("test"), "-c", PYICEBERG, location, "3"], capture_output=True, text=True, check=True)
            peer = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
        finally:
            server.stop()
    assert all(count == FILES // PARTS for _, count in peer)
    warm, peer = statistics.median(warm), statistics.median(wall for wall, _ in peer)
    name = "PyIceberg's plan_files()"
    return [Row(f"plan a scan of {FILES:,} files in {PARTS:,} partitions, a filter to one, with nothing in memory", cold, "ms", "20 times faster", peer / cold >= 20,
                peer, name, cold / peer),
            Row("... again, with another partition", warm, "ms", "100 times faster", peer / warm >= 100, peer, name, warm / peer)]


# --- MERGE ---

ROWS, CHANGES = 10_000_000, 100_000
FILL = f"SELECT i AS id, i % 1000 AS k, 'name ' || i AS name, i * 0.5 AS v FROM range({ROWS}) r(i)"
SOURCE = f"SELECT (i * 197) % {ROWS + ROWS // 100} AS id, 7 AS k, 'changed' AS name, 1.5 AS v FROM range({CHANGES}) r(i)"
MERGE = "MERGE INTO main.{t} AS t USING main.source AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET k = s.k, name = s.name, v = s.v WHEN NOT MATCHED THEN INSERT *"


def merges(k):
    """MERGE of 100,000 rows into 10 million, ours and Spark's by turns on equal tables, in both modes."""
    with k.serve() as server:
        ask = lambda sql: post(server.connect(), "/v1/sql", json.dumps({"sql": sql, "row_format": "arrays"}), "application/json")["rows"]
        ask(f"CREATE TABLE source AS {SOURCE}")
        spark = Spark(server.address)
        spark.rows("SELECT count(*) FROM main.source")
        result = []
        for mode in ("copy-on-write", "merge-on-read"):
            ours, peer = [], []
            for i in range(3):
                for who, times, run in (("ours", ours, ask), ("spark", peer, spark.rows)):
                    name = f"{who}_{mode.replace('-', '_')}_{i}"
                    ask(f"CREATE TABLE {name} AS {FILL}")
                    ask(f"ALTER TABLE {name} SET ('write.merge.mode'='{mode}', 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}')")
                    times.append(timed(lambda: run(MERGE.format(t=name)))[0])
                a, b = (ask(f"SELECT count(*), sum(id), sum(k), sum(v) FROM {who}_{mode.replace('-', '_')}_{i}") for who in ("ours", "spark"))
                assert a == b, (a, b)
                for who in ("ours", "spark"):
                    ask(f"DROP TABLE {who}_{mode.replace('-', '_')}_{i}")
            a, b = statistics.median(ours) / 1e3, statistics.median(peer) / 1e3
            result.append(Row(f"MERGE of {CHANGES:,} rows into {ROWS:,}, {mode}", a, "s", "5 times faster", b / a >= 5, b, "Spark 3.5", a / b))
        spark.stop()
    return result


# --- deleted rows ---


def deletes(k):
    """A full scan of 10 million rows of which a tenth is marked as deleted, beside the same table before."""
    scan = "SELECT count(*), sum(id), sum(k), max(name), sum(v) FROM {t}"
    with k.serve() as server:
        ask = lambda sql: post(server.connect(), "/v1/sql", json.dumps({"sql": sql, "row_format": "arrays"}), "application/json")["rows"]
        for name in ("whole", "marked"):
            ask(f"CREATE TABLE {name} AS {FILL}")
        ask("ALTER TABLE marked SET ('write.delete.mode'='merge-on-read')")
        ask("DELETE FROM marked WHERE hash(id) % 10 = 0")
        left = ask("SELECT count(*) FROM whole WHERE hash(id) % 10 <> 0")[0][0]
        assert ask("SELECT sum(record_count) FROM marked$delete_files")[0][0] == ROWS - left
        assert ask(scan.format(t="marked"))[0][0] == left
        times = {"whole": [], "marked": []}
        for _ in range(5):
            for name in times:
                times[name].append(timed(lambda: ask(scan.format(t=name)))[0])
        marked, whole = (statistics.median(times[name]) for name in ("marked", "whole"))
    return [Row(f"full scan of {ROWS:,} rows, a tenth of them deleted by position", marked, "ms", "at most 1.3 times", marked / whole <= 1.3, whole,
                "the same without deletes", marked / whole)]


PAGE = """# Iceberg REST and SQL that writes

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

**Commits.** Ours are synced: a metadata file, its folder, the pointer's swap. PyIceberg's catalogue in SQLite syncs nothing but SQLite's journal. The raw writers are eight wrk of one connection each;
PyIceberg's are eight processes, as one process would wait for its interpreter's lock. On one table writers that wait together share a commit.
On eight tables nothing is shared: each commit makes two files and syncs both and their folders, about four calls of fsync, and 1.7 to 2 ms of processor time on a busy machine. Half of that time
is ext4 looking for a free inode: without a journal it passes over all that were deleted in the last minutes, one by one (perf: `recently_deleted` below `ext4_tmpfile`), and every swap of
a pointer deletes one. A third file, the note of metadata that left the log, was written by each commit once the log was full; now by one in 25, which gave about half as many commits more.

**Loads.** The whole answer is the metadata file between a few bytes of ours. `snapshots=refs` leaves out what no branch or tag names.

**Plans.** Ours includes HTTP, the check of the statement, pinning and DuckDB's own planning. Each commit brought a file of every partition, so that no manifest can be left out by its summary.
An engine that has planned the same snapshot before keeps its files and the bounds of columns; the manifests are then not looked at until a file is opened.
Cold, most of the time goes to reading the manifests, one after the other (perf: 0.35 s of processor time of 0.7 in all), with the bounds of all columns of all files; 0.09 s to the bounds
of the filter's column. Reading on two cores, and bounds only where a filter asks, are not tried yet.

**Deleted rows.** The rows are marked in one delete file of positions, which is read and held against each row group as it comes.

**MERGE.** Both engines work through the same catalogue on tables of equal rows, on the same two cores; Spark is a session that is warm.
"""

ALL = {"iceberg-commits": commits, "iceberg-appends": appends, "iceberg-loads": loads, "iceberg-plans": plans, "iceberg-merge": merges, "iceberg-deletes": deletes}
