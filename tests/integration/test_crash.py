"""kill -9 at random moments while several clients upload: what was acknowledged is there, whole, and once.

Each moment: clients upload batches without a pause, a process is killed, and started again on the same folder. Then

    every batch that was acknowledged has all its rows
    a batch without an answer (at most one a client, since a client stops at its first) has all its rows or none
    the same bytes sent again are answered, and are there once

The moments come from a seed, which is printed when a test fails; LAKEHOUSE_CRASH_SEED repeats it. How many there are is the
tests' parameter; `make test-all` runs many more than `make test`.
"""

import collections
import concurrent.futures
import os
import random
import socket
import threading
import time

import pytest
import requests
from conftest import free_port

CLIENTS = 4
TABLES_EVERY = 5  # moments after which the clients move on to new tables
SWEEPS = ["--catalogd.sweep_seconds=1", "--catalogd.grace_seconds=0"]  # what is unreferenced goes at once
PORT_TRIES = 10
PAUSE_SECONDS_MAX = 0.4  # of uploading, until the kill; chosen so that it may hit any part of an upload


class Batch:
    """Rows that one upload carries, and what its client knows of them."""

    def __init__(self, table, name, rows):
        self.table = table
        self.name = name
        self.rows = rows
        self.acknowledged = False

    def body(self):
        return "batch,k,text\n" + "".join(f"{self.name},{k},row {k} of {self.name}\n" for k in range(self.rows))

    def send(self, url):
        return requests.post(url + "/v1/ingest", params={"name": self.table}, data=self.body().encode(), timeout=60)


class Crowd:
    """Clients that upload one batch after another, each until its first answer that is no 200."""

    def __init__(self, url, rng, label, tables):
        self.url = url
        self.batches = []
        self.faults = []
        self.lock = threading.Lock()
        self.started = threading.Event()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.upload, args=(random.Random(rng.random()), f"{label}c{i}", tables))
                        for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def upload(self, rng, label, tables):
        number = 0
        while not self.ended.is_set():
            batch = Batch(rng.choice(tables), f"{label}b{number}", rng.choice([1, 10, 1000, 20000]))
            number += 1
            with self.lock:
                self.batches.append(batch)
            self.started.set()
            try:
                answer = batch.send(self.url)
            except requests.RequestException:
                return
            if answer.status_code >= 500:
                return  # nobody knows what became of it
            if answer.status_code != 200 or answer.json()["rows"] != batch.rows:
                self.faults.append(f"{batch.name} with {batch.rows} rows: {answer.status_code} {answer.text}")
                return
            batch.acknowledged = True

    def join(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a client still waits for its answer"
        assert not self.faults, self.faults


def landed(url, table):
    """{batch: rows} of a table; each batch's rows are all different and begin at 0."""
    sql = f"SELECT batch, count(*) AS n, count(DISTINCT k) AS k, min(k) AS low, max(k) AS high FROM {table} GROUP BY batch"
    answer = requests.post(url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)
    if answer.status_code == 404:
        return {}
    assert answer.status_code == 200, answer.text
    for batch, count, different, low, high in answer.json()["rows"]:
        assert (different, low, high) == (count, 0, count - 1), f"{batch}: {count} rows, {different} different, {low} to {high}"
    return {row[0]: row[1] for row in answer.json()["rows"]}


def check(url, batches):
    """Exactly the acknowledged batches, and those without an answer whole or not at all."""
    tables = collections.defaultdict(dict)
    for batch in batches:
        tables[batch.table][batch.name] = batch
    for table, known in tables.items():
        there = settled(url, table)
        strange = set(there) - set(known)
        assert not strange, f"{table} has batches that nobody sent: {strange}"
        for name, batch in known.items():
            rows = there.get(name, 0)
            allowed = {batch.rows} if batch.acknowledged else {0, batch.rows}
            assert rows in allowed, f"{table}: {name} of {batch.rows} rows has {rows} (acknowledged: {batch.acknowledged})"


def settled(url, table):
    """The same between two looks at the catalogue: a batch that its client gave up may still land where only one service died."""
    def counted():
        manifest = requests.get(f"{url}/v1/catalog/manifest/{table}", timeout=30)
        return manifest.json()["row_count"] if manifest.status_code == 200 else 0
    for _ in range(100):
        before, there = counted(), landed(url, table)
        if before == counted():
            assert before == sum(there.values()), f"{table}: the catalogue counts {before} rows, the batches have {there}"
            return there
    raise AssertionError(f"{table} does not come to rest")


def send_again(url, batches):
    """The same bytes once more: what is there is recognised, what is not lands. Returns how many were there."""
    there = {table: landed(url, table) for table in {batch.table for batch in batches}}
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda batch: batch.send(url), batches))
    known = 0
    for batch, answer in zip(batches, answers):
        before = batch.name in there[batch.table]
        assert answer.status_code == 200, answer.text
        assert answer.json()["deduplicated"] or not before, f"{batch.name} was there, and then {answer.text}"
        batch.acknowledged = True
        known += answer.json()["deduplicated"]
    return known


class Dropper:
    """Makes a table and drops it, again and again, so that the sweep has something to do and is killed as well."""

    def __init__(self, url):
        self.url = url
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        for number in range(10**6):
            try:
                made = requests.post(f"{self.url}/v1/ingest", params={"name": "gone"}, data=f"x\n{number}\n".encode(), timeout=60)
                dropped = requests.delete(f"{self.url}/v1/catalog/table/gone", timeout=60)
            except requests.RequestException:
                return
            if made.status_code != 200 or dropped.status_code != 204:
                return


def crash_again_and_again(moments, rng, place):
    """`place` has .url, .kill(rng), which leaves somebody dead, and .restart()."""
    batches, unanswered, known = [], 0, 0
    for moment in range(moments):
        tables = [f"t{moment // TABLES_EVERY}", f"u{moment // TABLES_EVERY}"]
        crowd = Crowd(place.url, rng, f"m{moment}", tables)
        dropper = Dropper(place.url) if place.drops else None
        assert crowd.started.wait(30)
        time.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))  # the moment itself is what is random here
        place.kill(rng)
        (place.data / "_lake/sweep.json").unlink(missing_ok=True)  # as if the dead sweeper's lease had run out
        place.restart()
        crowd.join()
        if dropper is not None:
            dropper.thread.join()
        batches += crowd.batches
        open_ones = [batch for batch in crowd.batches if not batch.acknowledged]
        assert len(open_ones) <= CLIENTS
        recent = [batch for batch in batches if batch.table in tables]
        check(place.url, recent)
        unanswered += len(open_ones)
        known += send_again(place.url, open_ones)
        check(place.url, recent)
    check(place.url, batches)
    print(f"{len(batches)} batches, {unanswered} without an answer, {known} of them had landed")
    assert 0 < unanswered < len(batches)


@pytest.fixture
def rng():
    seed = int(os.environ.get("LAKEHOUSE_CRASH_SEED", random.SystemRandom().randrange(10**9)))
    print(f"LAKEHOUSE_CRASH_SEED={seed}")
    return random.Random(seed)


class Alone:
    """`serve`: everything dies at once."""
    drops = True

    def __init__(self, serve):
        self.serve = serve
        self.server = serve(*SWEEPS)
        self.data = self.server.data
        self.url = self.server.url

    def kill(self, rng):
        self.server.process.kill()  # only itself: its engines have to notice
        self.server.process.wait(20)

    def restart(self):
        self.server = self.serve(*SWEEPS, data=self.data)
        self.url = self.server.url


class Cluster:
    """Six processes, of which one dies: ingestd, catalogd or storaged."""
    drops = False  # a request that waits for a dead service waits long

    def __init__(self, start, folder):
        self.start = start
        self.data = folder
        self.services = {}
        self.dead = None
        self.begin()

    def begin(self):
        """All of them, on ports that nobody has. They come back to theirs after a kill, so the kernel cannot choose them; another program may take one first."""
        for _ in range(PORT_TRIES):
            for service in self.services.values():
                service.kill()
            ports = {name: free_port() for name in ("storaged", "catalogd", "ingestd", "queryd")}
            urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
            self.flags = {name: self.flags_of(name, port, urls) for name, port in ports.items()}
            if all(self.started(name) for name in self.flags):
                gateway = self.start("gateway", "--gateway.bind", "127.0.0.1:0", *[word for name, url in urls.items() for word in (f"--gateway.{name}_url", url)])
                self.services["gateway"] = gateway
                self.url = gateway.url
                return
        raise AssertionError(f"{PORT_TRIES} times in a row a port was taken by another program")

    def flags_of(self, name, port, urls):
        flags = ["--storaged.dir", self.data, f"--{name}.bind", f"127.0.0.1:{port}"]
        if name != "storaged":
            flags += [f"--{name}.storaged_url", urls["storaged"]]
        if name in ("ingestd", "queryd"):
            flags += [f"--{name}.catalogd_url", urls["catalogd"]]
        return flags + SWEEPS if name == "catalogd" else flags

    def started(self, name):
        """False when its port is another's. What else keeps it from listening fails the test."""
        service = self.start(name, *self.flags[name], wait=False)
        self.services[name] = service
        service._listening.wait(60)
        if service.url is None and service.process.wait(20) == 2 and "is in use" in service.log():
            return False
        service.wait()
        return True

    def kill(self, rng):
        self.dead = rng.choice(["ingestd", "catalogd", "storaged"])
        self.services[self.dead].process.kill()
        self.services[self.dead].process.wait(20)

    def restart(self):
        if not self.started(self.dead):
            self.begin()  # then all of them die


def test_a_cluster_leaves_a_port_that_is_taken(start, tmp_path):
    """At its first start, and when the port of a dead service was taken meanwhile."""
    place = Cluster(start, tmp_path / "data")
    for name in ("storaged", "ingestd"):
        place.services[name].kill()
        place.dead = name
        port = int(place.flags[name][3].rsplit(":", 1)[1])
        with socket.create_server(("127.0.0.1", port)):
            place.restart()
            assert place.flags[name][3] != f"127.0.0.1:{port}"
            assert requests.get(place.url + "/v1/catalog/list", timeout=60).status_code == 200


def moments(few, many):
    return pytest.mark.parametrize("moments", [few, pytest.param(many, marks=pytest.mark.slow)])


@moments(20, 500)
def test_a_killed_server_keeps_what_it_acknowledged_and_nothing_half(serve, rng, moments):
    crash_again_and_again(moments, rng, Alone(serve))


@moments(20, 500)
def test_a_killed_service_keeps_what_was_acknowledged_and_nothing_half(start, tmp_path, rng, moments):
    crash_again_and_again(moments, rng, Cluster(start, tmp_path / "data"))
