"""Vectors through HTTP: one search, many connections, durable additions, and searches beside additions.

There is no peer: the aims are times. Server, wrk and the adding client share the machine's cores, and what is
measured is told beside it.
"""

import concurrent.futures
import json
import random
import re
import statistics
import struct
import subprocess
import tempfile
import threading
import time

import kit

COUNT, DIMENSION, K, BATCH, QUERIES = 100_000, 128, 10, 1000, 256
RECALL = 0.95
CONNECTIONS, SECONDS, ROUNDS = 32, 3, 5
NEW = 100  # batches of items that were not there, beside searches
INDEX = "/v1/vectors/index"

WRK = """
local bodies, at = {}, 0
wrk.headers["Content-Type"] = "application/json"
function init(args)
  -- by now wrk has put the Host into its headers
  for line in io.lines("@BODIES@") do bodies[#bodies + 1] = wrk.format("POST", "@PATH@", nil, line) end
end
function request() at = at % #bodies + 1; return bodies[at] end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"failed":%d,"p50":%d,"p99":%d}\\n', summary.requests, summary.duration,
    e.status + e.read + e.write + e.timeout + e.connect, latency:percentile(50), latency:percentile(99)))
end
"""


def vectors(seed, count, places):
    """Vectors around places, as bytes: like what a model gives, of which neighbours are near."""
    dice = random.Random(seed)
    noise = [dice.gauss(0, 0.5) for _ in range(4096)]
    pack = struct.Struct(f"<{DIMENSION}f").pack
    for _ in range(count):
        place = dice.choice(places)
        yield pack(*[a + b for a, b in zip(place, dice.choices(noise, k=DIMENSION))])


def places():
    dice = random.Random(1)
    return [[dice.gauss(0, 0.5) for _ in range(DIMENSION)] for _ in range(1000)]


def batches(items, first):
    """Bodies of additions in bytes (docs/reference/vectors.md)."""
    body, number = [], first
    for vector in items:
        name = b"item-%07d" % number
        body.append(struct.pack("<II", len(name), 0) + vector + name)
        number += 1
        if len(body) == BATCH:
            yield b"".join(body)
            body = []


def add(connection, name, body):
    answer = kit.post(connection, f"{INDEX}/{name}/add", body, "application/octet-stream")
    assert answer["added"] + answer["updated"] == BATCH
    return answer


def wait_linked(connection, name):
    """Until nothing of the additions is left to do."""
    deadline = time.monotonic() + 1800
    while True:
        connection.request("GET", f"{INDEX}/{name}/stats")
        stats = json.loads(connection.getresponse().read())
        if stats["graph"]["linked"] >= stats["length"]:
            return
        assert time.monotonic() < deadline, stats
        time.sleep(0.5)


def query(vector, ef, exact=False):
    numbers = [round(number, 6) for number in struct.unpack(f"<{DIMENSION}f", vector)]
    return json.dumps({"vector": numbers, "k": K, "with_metadata": False, **({"exact": True} if exact else {"ef": ef})})


def ids(connection, name, body):
    return {hit["id"] for hit in kit.post(connection, f"{INDEX}/{name}/search", body, "application/json")["results"]}


def choose_ef(connection, name, queries):
    """The least effort of a row that reaches the recall."""
    truth = [ids(connection, name, query(vector, 0, True)) for vector in queries]
    for ef in (10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 200):
        recall = sum(len(ids(connection, name, query(v, ef)) & t) for v, t in zip(queries, truth)) / K / len(queries)
        if recall >= RECALL:
            return ef, recall
    raise SystemExit(f"no effort reaches a recall of {RECALL}")


class Load:
    def __init__(self, k, server, name, bodies):
        (k.work / "queries").write_text("\n".join(bodies) + "\n")
        self.script = k.work / "search.lua"
        self.script.write_text(WRK.replace("@PATH@", f"{INDEX}/{name}/search").replace("@BODIES@", str(k.work / "queries")))
        self.url = f"http://{server.address}{INDEX}/{name}/search"

    def run(self, connections, seconds):
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", self.script, self.url], capture_output=True, text=True)
        line = re.search(r"^{.*}$", done.stdout, re.M)
        if done.returncode != 0 or not line:
            raise SystemExit(done.stdout + done.stderr)
        told = json.loads(line.group(0))
        assert told["failed"] == 0, told
        return told


class Adding(threading.Thread):
    """One connection that adds at full speed, one batch after the other, until it is told to end."""

    def __init__(self, server, name, bodies):
        super().__init__()
        self.connection, self.name, self.bodies = server.connect(), name, bodies
        self.added, self.ends, self.fault = 0, threading.Event(), None

    def run(self):
        try:
            for body in self.bodies:
                if self.ends.is_set():
                    return
                add(self.connection, self.name, body)
                self.added += BATCH
        except (Exception, SystemExit) as error:
            self.fault = error

    def stop(self):
        over = not self.is_alive()
        self.ends.set()
        self.join()
        if self.fault or over:
            raise SystemExit(f"the additions ended early: {self.fault or 'there were too few'}")


def additions(server, name, bodies, what):
    """Durable additions over one connection: vectors a second, from the first request to the last answer."""
    connection, times = server.connect(), []
    kit.post(connection, INDEX, json.dumps({"name": name, "dimension": DIMENSION, "metric": "l2"}), "application/json")
    for body in bodies:
        took, answer = kit.timed(lambda: kit.post(connection, f"{INDEX}/{name}/add", body, "application/octet-stream"))
        assert answer["added"] == BATCH
        times.append(took)
    rate = BATCH * len(times) / sum(times) * 1e3
    return kit.Row(f"{what}: {len(times)} batches of {BATCH:,}, d = {DIMENSION}, one connection", rate, "vectors/s",
                   "at least 15,000", rate >= 15_000)


def beside(server, name, load, around):
    """p99 of single searches at rest, and then while one connection adds new items, and the same again, at full speed."""
    rest = [load.run(1, SECONDS) for _ in range(3)]
    bodies = list(batches(vectors(100, NEW * BATCH, around), COUNT))
    adding = Adding(server, name, bodies * 100)
    started = time.monotonic()
    adding.start()
    busy = [load.run(1, SECONDS) for _ in range(3)]
    adding.stop()
    speed = adding.added / (time.monotonic() - started)
    a, b = (statistics.median(told["p99"] for told in side) / 1e3 for side in (rest, busy))
    count = sum(told["requests"] for told in busy)
    most = max(3 * a, 2)
    return [kit.Row("p99 of one search at a time, at rest", a, "ms", "", True),
            kit.Row(f"p99 beside one connection that adds ({count:,} searches, {speed:,.0f} vectors/s meanwhile)", b, "ms",
                    f"at most {most:.2f} ms (3x of rest, or 2)", b <= most)]


def vectors_http(k):
    """The three figures, on one index of `serve`."""
    around = places()
    rows = []
    with k.serve() as server:
        connection = server.connect()
        row = additions(server, "bench", batches(vectors(2, COUNT, around), 0), "durable additions in bytes")
        rows.append(row)
        wait_linked(connection, "bench")
        queries = list(vectors(3, QUERIES, around))
        ef, recall = choose_ef(connection, "bench", queries)
        load = Load(k, server, "bench", [query(vector, ef) for vector in queries])
        load.run(CONNECTIONS, 1)
        single, many = [], []
        for _ in range(ROUNDS):
            single.append(load.run(1, 2)["p50"])
            told = load.run(CONNECTIONS, SECONDS)
            many.append(told["requests"] / told["us"] * 1e6)
        a, b = statistics.median(single), statistics.median(many)
        rows.append(kit.Row(f"median of one search, k = {K}, ef = {ef} (recall {recall:.3f}), kept connection", a, "us", "at most 150", a <= 150))
        rows.append(kit.Row(f"the same over {CONNECTIONS} connections", b, "/s", "at least 20,000", b >= 20_000))
        rows += beside(server, "bench", load, around)
    return rows


INDEXES, EACH, MANY_THREADS = 10_000, 100, 8


def anonymous_kib(server):
    return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{server.process.pid}/status").read())[1])


def in_threads(server, work):
    """`work(connection, i)` for each index, over several connections."""
    def part(first):
        connection = server.connect()
        for i in range(first, INDEXES, MANY_THREADS):
            work(connection, i)
    with concurrent.futures.ThreadPoolExecutor(MANY_THREADS) as pool:
        list(pool.map(part, range(MANY_THREADS)))


def fill(body):
    def one(connection, i):
        kit.post(connection, INDEX, json.dumps({"name": f"n{i}", "dimension": DIMENSION, "metric": "l2"}), "application/json")
        kit.post(connection, f"{INDEX}/n{i}/add", body, "application/octet-stream")
    return one


def ready_ms(server):
    """From the start of the process until /ready says yes."""
    connection = server.connect()
    while True:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            return (time.perf_counter() - server.started) * 1e3


def many_indexes(k):
    """What an index costs in memory that nobody uses, and one that is open. The lake is in memory: the disk is not what is asked."""
    items = vectors(4, EACH, places())
    body = b"".join(struct.pack("<II", 4, 0) + vector + b"i%03d" % i for i, vector in enumerate(items))
    flags = ["--vectord.memory_limit=4GiB"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as data:
        server = kit.Server(k.program, data, *flags)
        try:
            ready_ms(server)
            empty = anonymous_kib(server)
            in_threads(server, fill(body))
            written = (anonymous_kib(server) - empty) / INDEXES
        finally:
            server.stop()
        server = kit.Server(k.program, data, *flags)
        try:
            took = ready_ms(server)
            time.sleep(5)  # their logs are looked through in the background
            closed = (anonymous_kib(server) - empty) / INDEXES
            request = query(body[8:8 + 4 * DIMENSION], 20)
            in_threads(server, lambda connection, i: kit.post(connection, f"{INDEX}/n{i}/search", request, "application/json"))
            opened = (anonymous_kib(server) - empty) / INDEXES
        finally:
            server.stop()
    what = f"{INDEXES:,} indexes of {EACH} vectors, d = {DIMENSION}"
    return [kit.Row(f"{what}: memory of one that is closed", closed, "KiB", "at most 1", closed <= 1),
            kit.Row(f"{what}: of one that is open after a search", opened, "KiB", "at most 64", opened <= 64),
            kit.Row(f"{what}: of one that was written", written, "KiB", "at most 64", written <= 64),
            kit.Row(f"{what}: from start to /ready", took, "ms", "at most 1,000", took <= 1000)]


PAGE = """# Vectors through HTTP

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

`serve` with its defaults, through the gateway's listener; bodies of searches are JSON with six decimals, those of additions bytes. The vectors lie around 1,000 places, as what a model
gives does. The effort of a search is the least that reaches the recall on these queries, held against exact search. Times are wrk's; wrk, the client that adds and the server, which
links what was added on threads of its own, share the machine's cores, so that the last figure is one of a machine that is full.

Memory of many indexes is RssAnon beyond that of an empty server, divided by their number, so it holds what many cost together: of 1.9 KiB seen for a closed one on 2026-11-27 about 0.8 were
such a fixed part (8 MB for 3,000 as for 10,000), and 1.1 its own.
"""

ALL = {"vectors": vectors_http, "vectors-many": many_indexes}
