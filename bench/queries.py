"""SQL beside its peers: TPC-H, the smallest query, what an idle server holds in memory."""

import json
import os
import pathlib
import statistics
import subprocess
import time

from kit import ROOT, Row, post, timed, within

TABLES = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")

# Run by the Python of deps/bench.lock: DuckDB's own TPC-H generator, and the texts of the queries.
GENERATE = """
import importlib.util, json, pathlib, sys
import duckdb
folder, scale = pathlib.Path(sys.argv[1]), sys.argv[2]
found = importlib.util.find_spec("duckdb_extension_tpch").submodule_search_locations[0]
extension = next(pathlib.Path(found).rglob("tpch.duckdb_extension"))
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute("SET enable_progress_bar = false")
db.execute(f"LOAD '{extension}'")
db.execute(f"CALL dbgen(sf = {scale})")
for (table,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall():
    db.execute(f"COPY {table} TO '{folder}/{table}.parquet' (FORMAT parquet, COMPRESSION zstd)")
queries = [query for (query,) in db.execute("SELECT query FROM tpch_queries() ORDER BY query_nr").fetchall()]
(folder / "queries.json").write_text(json.dumps(queries))
"""


def generate(k, scale):
    """Folder with the eight tables as Parquet, and the 22 queries."""
    folder = k.work / f"tpch-{scale}"
    if not folder.exists():
        folder.mkdir()
        env = subprocess.run([ROOT / "bootstrap", "--env", "bench"], capture_output=True, text=True, check=True).stdout.strip()
        subprocess.run([f"{env}/bin/python3", "-c", GENERATE, folder, str(scale)], check=True)
    return folder, json.loads((folder / "queries.json").read_text())


def lake_files(server, connection, table):
    """The data files of a table, so that the peer reads the very same ones."""
    connection.request("GET", f"/v1/catalog/manifest/{table}")
    manifest = json.loads(connection.getresponse().read())
    return [pathlib.Path(server.data) / file["key"] for file in manifest["files"]]


def tpch(k, rounds=5):
    """TPC-H SF 1, 22 queries over our tables, warm, against the same queries over the same Parquet files."""
    scale = os.environ.get("TPCH_SCALE", "1")
    folder, queries = generate(k, scale)
    with k.serve() as server:
        connection = server.connect()
        setup = []
        for table in TABLES:
            with open(folder / f"{table}.parquet", "rb") as body:
                post(connection, f"/v1/ingest?name={table}", body, "application/vnd.apache.parquet")
            files = ", ".join(f"'{path}'" for path in lake_files(server, connection, table))
            setup.append(f"CREATE VIEW {table} AS SELECT * FROM read_parquet([{files}])")
        ours, peer, cpu = [], [], {"ours": [], "peer": []}
        for number, sql in enumerate(queries, 1):
            body = json.dumps({"sql": sql.rstrip().rstrip(";")})
            post(connection, "/v1/sql", body, "application/json")
            one, other = [], []
            for _ in range(rounds):
                before = server.cpu_ms()
                took = timed(lambda: post(connection, "/v1/sql", body, "application/json"))[0]
                one.append((took, server.cpu_ms() - before))
                other.append(k.duckdb_cpu(sql, 2, setup)[1])  # the second time in a process is warm
            for side, into, costs in ((one, ours, cpu["ours"]), (other, peer, cpu["peer"])):
                into.append(statistics.median(wall for wall, _ in side))
                costs.append(statistics.median(spent for _, spent in side))
            print(f"  query {number:2}: {ours[-1]:8.1f} ms, peer {peer[-1]:8.1f} ms, ratio {ours[-1] / peer[-1]:.2f}", flush=True)
    a, b = sum(ours), sum(peer)
    x, y = sum(cpu["ours"]), sum(cpu["peer"])
    return [Row(f"TPC-H SF {scale}, 22 queries, total of medians", a, "ms", "ratio at most 1.05", a / b <= 1.05, b, "the same files in process", a / b),
            Row("... their processor time", x, "ms", "-", True, y, "the same files in process", x / y)]


def smallest(k):
    """The smallest query that reads a table, through the gateway, one connection."""
    with k.serve() as server:
        connection = server.connect()
        post(connection, "/v1/ingest?name=birdstrikes", (ROOT / "examples/data/birdstrikes.csv").read_bytes(), "text/csv")
        body = json.dumps({"sql": "SELECT count(*) AS n FROM birdstrikes WHERE \"Origin State\" = 'Texas'"})
        took = [timed(lambda: post(connection, "/v1/sql", body, "application/json"))[0] for _ in range(500)]
        return [within("median of the smallest query with a filter, through the gateway", took[50:], 3)]


def processes(pid):
    """A process and those that it started."""
    pids = [pid]
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids


def memory_of(pid):
    """RSS, PSS and anonymous memory of all processes of a server, in MB."""
    total = {"Rss": 0, "Pss": 0, "Anonymous": 0}
    for one in processes(pid):
        for line in pathlib.Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split(":")
            if name in total:
                total[name] += int(value.split()[0]) / 1000
    return total


def resident(k):
    """Resident memory of an idle `serve` with all its processes: a minute after its start, and after queries."""
    rows = []

    def note(what, server, most, engines_max):
        end = time.monotonic() + 90
        while len(processes(server.process.pid)) > 1 + engines_max and time.monotonic() < end:
            time.sleep(1)
        has = memory_of(server.process.pid)
        rows.append(Row(f"idle `serve` {what}: sum of RSS of {len(processes(server.process.pid))} processes", has["Rss"], "MB", f"below {most} MB", has["Rss"] < most))
        rows.append(Row(f"idle `serve` {what}: of that not backed by a file", has["Anonymous"], "MB", "-", True))

    with k.serve() as server:
        connection = server.connect()
        note("before the first query", server, 30, 0)
        connection.request("GET", "/ready")
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
        first = timed(lambda: post(connection, "/v1/sql", json.dumps({"sql": "SELECT 1 AS one"}), "application/json"))[0]
        rows.append(Row("the first query after the rest, which starts an engine", first, "ms", "-", True))
        post(connection, "/v1/ingest?name=birdstrikes", (ROOT / "examples/data/birdstrikes.csv").read_bytes(), "text/csv")
        for _ in range(20):
            post(connection, "/v1/sql", json.dumps({"sql": "SELECT \"Origin State\", count(*) FROM birdstrikes GROUP BY 1"}), "application/json")
        note("after an ingest and queries", server, 100, 2)
    return rows


PAGE = """# Queries

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

**The smallest query.** Expected: some tenths of a millisecond for HTTP, pinning and the hand-over to an engine on top of what DuckDB takes for the same statement
(0.6 ms, see [first figures](first-figures.md)). An engine waits with an open instance, so that nothing is started; the statement is parsed twice, once for the guard.

**TPC-H.** The peer reads the very files of our tables, the same bytes under the same library and threads; each side is warm. Expected: equal within a few percent, as
DuckDB does the same work on both sides; a statement pays about a millisecond for its way through HTTP and an engine, and every block of a file is checked
against its CRC32C when it is first read. What can make it slower is not that but missing statistics: a scan of ours tells DuckDB row counts and bounds of columns from the
manifests, or joins would be ordered by guesses. Both sides write no log of requests to a file.
Looked into when the total stood at 1.13 (processor time 1.09): both sides read the same bytes again for each statement (query 1: 41.8 and 41.5 MB by `rchar`; the peer's cache of file contents
holds nothing of local files), a CRC32C is below a thousandth of the samples, but an engine had up to 8 times the peer's minor page faults (in 7 of the 8 queries looked at, 1.6 times and more): it gave its free pages back 50 ms after a statement and not, as
was meant, after a second. The figures of before and after are in [decision 7](../decisions/0007-idle-engines.md); a round with more than a second between two statements still begins with cold pages.

**At rest.** Expected: one process without an engine holds what it links and its tables of settings and routes; an engine shows the pages of DuckDB's library that it touched, which
all engines share and the kernel takes back when it needs them. Engines go after some quiet time ([decision 7](../decisions/0007-idle-engines.md)), and the first query after
that waits for one to start: the third row.
"""

ALL = {"smallest": smallest, "tpch": tpch, "resident": resident}
