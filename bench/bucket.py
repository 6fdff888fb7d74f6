"""TPC-H on a lake in a bucket of MinIO over loopback, cold, beside DuckDB's httpfs on the very same objects."""

import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import time
import urllib.request

from kit import ROOT, Row, post, timed
from queries import TABLES, generate

ACCESS_KEY, SECRET_KEY, BUCKET = "lakehouse-bench", "lakehouse-bench-secret", "lake"

# Run by the Python of deps/bench.lock: one statement in a process that has read nothing before but what binding its views takes.
PEER = """
import importlib.util, json, pathlib, resource, sys, time
import duckdb
endpoint, key, secret, views, sql = sys.argv[1:6]
found = importlib.util.find_spec("duckdb_extension_httpfs").submodule_search_locations[0]
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute(f"LOAD '{next(pathlib.Path(found).rglob('httpfs.duckdb_extension'))}'")
db.execute("SET enable_progress_bar = false")  # it would be among the figures
db.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{endpoint}', URL_STYLE 'path', USE_SSL false)")
for name, files in json.loads(views).items():
    db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files})")
print("ready", flush=True)
sys.stdin.readline()
before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
rows = len(db.execute(sql).fetchall())
took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
print(took * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3, rows, flush=True)
"""


def environment(name):
    return subprocess.run([ROOT / "bootstrap", "--env", name], capture_output=True, text=True, check=True).stdout.strip()


class Minio:
    def __init__(self, address, pid):
        self.address, self.pid = address, pid

    def sent(self):
        """Bytes that its process has written so far: to sockets, while nobody puts anything."""
        return int(re.search(r"wchar: (\d+)", pathlib.Path(f"/proc/{self.pid}/io").read_text())[1])

    def flags(self):
        return ["--storaged.backend", "s3", "--s3.endpoint", f"http://{self.address}", "--s3.bucket", BUCKET, "--s3.access_key", ACCESS_KEY,
                "--s3.secret_key", SECRET_KEY]


@contextlib.contextmanager
def minio(k):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = k.work / "minio"
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)  # a bucket, before it starts
    env = {**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"}
    with open(k.work / "minio.log", "w") as log:
        process = subprocess.Popen([f"{environment('s3-peers')}/minio", "server", "--quiet", "--address", f"127.0.0.1:{port}", folder], env=env, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/minio/health/live", timeout=5)
                break
            time.sleep(0.1)
        yield Minio(f"127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait(30)


def ask_peer(python, store, views, sql):
    """(ms, processor ms, rows, bytes) of the statement in a fresh process."""
    process = subprocess.Popen([python, "-c", PEER, store.address, ACCESS_KEY, SECRET_KEY, json.dumps(views), sql], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    before = store.sent()
    answer, _ = process.communicate("go\n", timeout=600)
    assert process.returncode == 0
    wall, cpu, rows = answer.split()
    return float(wall), float(cpu), int(rows), store.sent() - before


def ask_ours(k, store, sql):
    with k.serve(*store.flags()) as server:
        connection = server.connect()
        post(connection, "/v1/sql", json.dumps({"sql": "SELECT 1 AS one"}), "application/json")  # an engine is there
        before, spent = store.sent(), server.cpu_ms()
        wall, answer = timed(lambda: post(connection, "/v1/sql", json.dumps({"sql": sql}), "application/json"))
        return wall, server.cpu_ms() - spent, answer["row_count"], store.sent() - before


def bucket(k, rounds=3):
    """TPC-H's 22 queries on a lake in a bucket, each by a server that has just been started, against httpfs in a fresh process."""
    scale = os.environ.get("TPCH_SCALE", "1")
    folder, queries = generate(k, scale)
    python = f"{environment('bench')}/bin/python3"
    totals = {"ours": [0, 0, 0], "peer": [0, 0, 0]}
    with minio(k) as store:
        views = {}
        with k.serve(*store.flags()) as server:
            connection = server.connect()
            for table in TABLES:
                with open(folder / f"{table}.parquet", "rb") as body:
                    post(connection, f"/v1/ingest?name={table}", body, "application/vnd.apache.parquet")
                connection.request("GET", f"/v1/catalog/manifest/{table}")
                files = json.loads(connection.getresponse().read())["files"]
                views[table] = [f"s3://{BUCKET}/{file['key']}" for file in files]
        for number, sql in enumerate(queries, 1):
            sql = sql.rstrip().rstrip(";")
            turns = {"ours": [], "peer": []}
            for _ in range(rounds):
                turns["ours"].append(ask_ours(k, store, sql))
                turns["peer"].append(ask_peer(python, store, views, sql))
            assert len({turn[2] for side in turns.values() for turn in side}) == 1, f"query {number} has another count of rows"
            medians = {side: [statistics.median(turn[i] for turn in list_of) for i in (0, 1, 3)] for side, list_of in turns.items()}
            for side, values in medians.items():
                totals[side] = [a + b for a, b in zip(totals[side], values)]
            print(f"  query {number:2}: {medians['ours'][0]:8.1f} ms {medians['ours'][2] / 1e6:8.2f} MB, httpfs {medians['peer'][0]:8.1f} ms "
                  f"{medians['peer'][2] / 1e6:8.2f} MB", flush=True)
    (a, x, m), (b, y, n) = totals["ours"], totals["peer"]
    name = "DuckDB 1.5.5 with httpfs, the same objects"
    return [Row(f"TPC-H SF {scale} in a bucket, cold, total of medians", a, "ms", "ratio at most 1", a / b <= 1, b, name, a / b),
            Row("... their processor time", x, "ms", "-", True, y, name, x / y),
            Row("... bytes fetched", m / 1e6, "MB", "ratio at most 1", m / n <= 1, n / 1e6, name, m / n)]


PAGE = """# A lake in a bucket

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

MinIO on the same machine over loopback, so the wire costs processor time and no distance. Each query of ours is asked of a server that was just started, each of the peer's of a process that has
bound its views and read nothing else; ours pays for the table's metadata in it, the peer for none. Expected: the same order, as both fetch whole column chunks; fewer bytes on our side where
files are pruned by the manifests. Bytes are what MinIO's process wrote meanwhile.
"""

ALL = {"bucket": bucket}
