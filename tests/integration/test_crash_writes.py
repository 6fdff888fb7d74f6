"""kill -9 at random moments of SQL that writes, of ingest that replaces rows, of transactions over REST and of the care of tables.

Each moment: writers change their tables without a pause, care runs beside them, somebody is killed (the server, one of its services, or
an engine in the middle of its work), and started again on the same folder. Then

    what was acknowledged is there, and nothing else
    the one statement of a writer that got no answer happened whole or not at all
    a refusal (409) changed nothing
    the tables of a transaction say the same

In the end PyIceberg reads all tables and finds the files of each snapshot that it asks for; all files are made to look old, and what nothing names goes
(the grace is zero all the time): nothing live goes with it, and nothing else stays.

The moments come from a seed, which is printed when a test fails; LAKEHOUSE_CRASH_SEED repeats it.
"""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import urllib.parse

import pytest
import requests
from processes import children
from pyiceberg.catalog import load_catalog
from test_crash import PAUSE_SECONDS_MAX, SWEEPS, TABLES_EVERY, Alone, Cluster, moments, rng  # noqa: F401

pytestmark = pytest.mark.folder("files are made to look old")

SHARES = [1, 2]  # of the writers that share a table: the ids of their rows begin at so many times SHARE
SHARE = 10**9
CARE = ["CALL rewrite_data_files('{}', min_input_files => 2, delete_file_threshold => 1)", "CALL rewrite_manifests('{}')", "CALL remove_orphan_files('{}')",
        "CALL expire_snapshots('{}', older_than => now() - INTERVAL 3 SECOND, retain_last => 5)"]
SETTLE_SECONDS_MAX = 30
SWEEP_SECONDS_MAX = 20


def ask(url, sql):
    return requests.post(url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)


class Refused(Exception):
    """Said to have changed nothing."""


class Lost(Exception):
    """Nobody knows what became of it."""


def checked(answer):
    if answer.status_code >= 500:
        raise Lost(answer.text)
    if answer.status_code in (409, 429):
        raise Refused(answer.text)
    assert answer.status_code in (200, 204), f"{answer.request.body}: {answer.status_code} {answer.text}"


class Content:
    """What a table holds: its columns, and its rows by id; of a shared table those of one writer."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows

    def __eq__(self, other):
        return isinstance(other, Content) and (self.columns, self.rows) == (other.columns, other.rows)

    def __repr__(self):
        return f"{self.columns} {sorted(self.rows.items())}"


class Writer:
    """Changes its rows, one statement after the other; `content` is what it knows (None: there is no table), `perhaps` what one without an answer would make of it."""

    def __init__(self, table, rng, share=0):
        self.table, self.rng, self.share = table, rng, share
        self.next_id = share * SHARE
        self.content, self.perhaps, self.last = None, None, ""
        self.done = self.refused = 0
        self.is_open = False

    # --- what it does ---

    def create(self):
        mode = self.rng.choice(["copy-on-write", "merge-on-read"])
        how = self.rng.choice(["", "PARTITIONED BY (bucket(3, id))", "PARTITIONED BY (n)"])
        options = ", ".join(f"'write.{verb}.mode'='{mode}'" for verb in ("delete", "update", "merge"))
        rows = self.fresh(self.rng.choice([1, 5, 300]))
        first, count = min(rows), len(rows)
        return (f"CREATE TABLE {self.table} {how} WITH ({options}) AS SELECT i AS id, 'new' AS v, i % 3 AS n FROM range({first}, {first + count}) r(i)",
                Content(("id", "v", "n"), rows))

    def fresh(self, count, value="new"):
        ids = range(self.next_id, self.next_id + count)
        self.next_id += count
        return {i: (value, i % 3) for i in ids}

    def padded(self, rows):
        return {i: (*cells, *(None for _ in self.content.columns[3:])) for i, cells in rows.items()}

    def mine(self, condition):
        return f"id >= {self.share * SHARE} AND id < {(self.share + 1) * SHARE} AND {condition}"

    def some(self):
        of, at = self.rng.choice([(1, 0), (2, 1), (7, 3), (50, 9)])
        return f"id % {of} = {at}", {i for i in self.content.rows if i % of == at}

    def insert(self):
        rows = self.fresh(self.rng.choice([1, 10, 500]))
        first = min(rows)
        return (f"INSERT INTO {self.table} (id, {self.v}, n) SELECT i, 'new', i % 3 FROM range({first}, {first + len(rows)}) r(i)",
                self.but({**self.content.rows, **self.padded(rows)}))

    def update(self):
        condition, ids = self.some()
        value = f"u{self.done}"
        return (f"UPDATE {self.table} SET {self.v} = '{value}' WHERE {self.mine(condition)}",
                self.but({i: (value, *cells[1:]) if i in ids else cells for i, cells in self.content.rows.items()}))

    def delete(self):
        condition, ids = self.some()
        return f"DELETE FROM {self.table} WHERE {self.mine(condition)}", self.but({i: cells for i, cells in self.content.rows.items() if i not in ids})

    def merge(self):
        value = f"m{self.done}"
        old = self.rng.sample(sorted(self.content.rows), min(20, len(self.content.rows)))
        new = self.padded(self.fresh(5, value))
        source = ", ".join(f"({i})" for i in [*old, *new])
        sql = (f"MERGE INTO {self.table} t USING (SELECT * FROM (VALUES {source}) s(id)) s ON t.id = s.id"
               f" WHEN MATCHED AND s.id % 5 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET {self.v} = '{value}'"
               f" WHEN NOT MATCHED THEN INSERT (id, {self.v}, n) VALUES (s.id, '{value}', s.id % 3)")
        rows = {i: (value, *cells[1:]) if i in old else cells for i, cells in self.content.rows.items() if i not in old or i % 5}
        return sql, self.but({**rows, **new})

    def truncate(self):
        return f"TRUNCATE {self.table}", self.but({})

    def drop(self):
        return f"DROP TABLE {self.table}", None

    def alter(self):
        columns, rows = self.content.columns, self.content.rows
        if self.rng.random() < 0.4:
            name = "w" if self.v == "v" else "v"
            return f"ALTER TABLE {self.table} RENAME COLUMN {self.v} TO {name}", Content((columns[0], name, *columns[2:]), rows)
        if len(columns) > 3:
            return f"ALTER TABLE {self.table} DROP COLUMN more", Content(columns[:3], {i: cells[:2] for i, cells in rows.items()})
        return f"ALTER TABLE {self.table} ADD COLUMN more DATE", Content((*columns, "more"), {i: (*cells, None) for i, cells in rows.items()})

    def ingest(self):
        mode = self.rng.choice(["append", "upsert", "upsert"] + ["overwrite"] * (not self.share))
        value = f"{mode}{self.done}"
        old = {} if mode == "append" else {i: (value, i % 3) for i in self.rng.sample(sorted(self.content.rows), min(10, len(self.content.rows)))}
        rows = self.padded({**old, **self.fresh(10, value)})
        body = f"id,{self.v},n\n" + "".join(f"{i},{cells[0]},{cells[1]}\n" for i, cells in rows.items())
        return {"name": self.table, "mode": mode, **({"key": "id"} if mode == "upsert" else {}), "body": body}, self.but({**(self.content.rows if mode != "overwrite" else {}), **rows})

    @property
    def v(self):
        return self.content.columns[1]

    def but(self, rows):
        return Content(self.content.columns, rows)

    def choose(self):
        if self.content is None:
            return self.create()
        common = [self.insert, self.update, self.delete, self.merge, self.ingest]
        rare = [] if self.share else [self.truncate, self.drop, self.alter, self.alter]
        return self.rng.choice(common * 3 + rare)()

    def step(self, url):
        self.last, self.perhaps = self.choose()
        self.is_open = True
        if isinstance(self.last, str):
            checked(ask(url, self.last))
        else:
            query = {name: value for name, value in self.last.items() if name != "body"}
            checked(requests.post(url + "/v1/ingest", params=query, data=self.last["body"].encode(), timeout=60))
        self.content, self.is_open = self.perhaps, False

    # --- what is there ---

    def read(self, url):
        answer = ask(url, f"SELECT * FROM {self.table} WHERE {self.mine('true')}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        rows = answer.json()["rows"]
        found = {row[0]: tuple(row[1:]) for row in rows}
        assert len(found) == len(rows), f"{self.table}: rows are there twice"
        return Content(tuple(column["name"] for column in answer.json()["columns"]), found)

    def settle(self, url):
        found = settled(lambda: self.read(url))
        known = [self.content, self.perhaps] if self.is_open else [self.content]
        assert found in known, f"{self.table}: {differences(found, self.content)}, after {self.last}, which had {'no answer' if self.is_open else 'one'}"
        landed = self.is_open and found == self.perhaps
        self.content, self.is_open = found, False
        return landed

    def scan(self, catalog, rng):
        if self.content is None:
            assert not catalog.table_exists("main." + self.table)
            return
        table = catalog.load_table("main." + self.table)
        low = self.share * SHARE
        rows = [list(row.values()) for row in table.scan().to_arrow().to_pylist() if low <= row["id"] < low + SHARE]
        assert {row[0]: tuple(row[1:]) for row in rows} == self.content.rows and len(rows) == len(self.content.rows), f"PyIceberg reads {self.table} otherwise"
        for snapshot in rng.sample(table.snapshots(), min(3, len(table.snapshots()))):
            table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()


class Transactor:
    """Sets one number in several tables at once."""

    def __init__(self, tables):
        self.tables = tables
        self.content = self.perhaps = "0"
        self.done = self.refused = 0
        self.is_open = False
        self.made = False

    def step(self, url):
        if not self.made:
            for table in self.tables:
                checked(ask(url, f"CREATE TABLE IF NOT EXISTS {table} (a INTEGER)"))
            for table in self.tables:
                checked(ask(url, f"ALTER TABLE {table} SET ('number' = '0')"))
            self.made = True
        self.perhaps = str(int(self.content) + 1)
        changes = [{"identifier": {"namespace": ["main"], "name": table}, "requirements": [], "updates": [{"action": "set-properties", "updates": {"number": self.perhaps}}]}
                   for table in self.tables]
        self.is_open = True
        # 429: the transaction of a dead server holds a table, for a few seconds
        checked(requests.post(url + "/iceberg/v1/main/transactions/commit", json={"table-changes": changes}, timeout=60))
        self.content, self.is_open = self.perhaps, False

    def read(self, url):
        found = set()
        for table in self.tables:
            answer = requests.get(f"{url}/iceberg/v1/main/namespaces/main/tables/{table}", timeout=60)
            assert answer.status_code == 200, answer.text
            found.add(answer.json()["metadata"]["properties"].get("number"))
        return found

    def settle(self, url):
        if not self.made:
            return False
        found = settled(lambda: self.read(url))
        known = [{self.content}, {self.perhaps}] if self.is_open else [{self.content}]
        assert found in known, f"the tables of a transaction say {found}, and {known} was expected"
        landed = self.is_open and found == {self.perhaps}
        self.content, self.is_open = found.pop(), False
        return landed

    def finish(self, url):
        """One more, so that none of a dead server's holds the tables."""
        end, before = time.monotonic() + SETTLE_SECONDS_MAX, self.content
        while self.made and self.content == before:
            assert time.monotonic() < end, "a transaction of a dead server holds its tables for ever"
            with contextlib.suppress(Refused):
                self.step(url)
        self.is_open = False

    def scan(self, catalog, rng):
        assert {catalog.load_table("main." + table).properties["number"] for table in self.tables if self.made} <= {self.content}


class Carer:
    """All kinds of care, of all tables in turns."""

    is_open = False

    def __init__(self, tables, rng):
        self.tables, self.rng, self.done, self.refused = tables, rng, 0, 0

    def step(self, url):
        answer = ask(url, self.rng.choice(CARE).format(self.rng.choice(self.tables)))
        if answer.status_code != 404:  # not made yet, or dropped
            checked(answer)

    def settle(self, url):
        return False

    def scan(self, catalog, rng):
        pass


def differences(found, known):
    """For people; the whole of it would be pages."""
    if found is None or known is None:
        return f"found {str(found)[:200]}, knew {str(known)[:200]}"
    more = sorted(found.rows.items() - known.rows.items())
    less = sorted(known.rows.items() - found.rows.items())
    return f"columns {found.columns} and {known.columns}, {len(more)} rows too many {more[:3]}, {len(less)} too few {less[:3]}"


def settled(read):
    """The same at two looks: what its client gave up may still land where only one service died."""
    end = time.monotonic() + SETTLE_SECONDS_MAX
    before = read()
    while time.monotonic() < end:
        time.sleep(0.05)  # between the two looks; a wrong guess costs nothing but the look's worth
        now = read()
        if now == before:
            return now
        before = now
    raise AssertionError("a table does not come to rest")


class Crowd:
    """All of them at work, each until its first step without an answer."""

    def __init__(self, place, workers):
        self.url, self.workers, self.faults = place.url, workers, []
        self.ended, self.killed, self.started = threading.Event(), threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(worker,)) for worker in workers]
        for thread in self.threads:
            thread.start()

    def work(self, worker):
        while not self.ended.is_set():
            try:
                worker.step(self.url)
                worker.done += 1
                self.started.set()
            except Refused:
                worker.refused += 1
                worker.is_open = False
            except (Lost, requests.RequestException) as lost:
                if not self.killed.is_set():
                    self.faults.append(f"nobody was killed yet: {getattr(worker, 'last', '')}: {lost}")
                return
            except Exception as fault:
                self.faults.append(repr(fault))
                return

    def join(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a writer still waits for its answer"
        assert not self.faults, "\n".join(self.faults)


def workers_of(number, rng):
    """A set of tables, and who works on them."""
    one = lambda: random.Random(rng.random())
    tables = [f"a{number}", f"b{number}", f"s{number}", f"t{number}", f"u{number}"]
    sharing = [Writer(tables[2], one(), share) for share in SHARES]
    return [Writer(tables[0], one()), Writer(tables[1], one()), *sharing, Transactor(tables[3:]), Carer(tables, one())]


def make_shared(url, workers):
    sharing = [worker for worker in workers if isinstance(worker, Writer) and worker.share]
    mode = sharing[0].rng.choice(["copy-on-write", "merge-on-read"])
    options = ", ".join(f"'write.{verb}.mode'='{mode}'" for verb in ("delete", "update", "merge"))
    checked(ask(url, f"CREATE TABLE {sharing[0].table} (id BIGINT, v VARCHAR, n BIGINT) PARTITIONED BY (bucket(2, id)) WITH ({options})"))
    for worker in sharing:
        worker.content = Content(("id", "v", "n"), {})


def live_files(catalog, name):
    """Paths of all files that a table's metadata names."""
    table = catalog.load_table(name)
    files = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.snapshots():
        files.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            files.add(manifest.manifest_path)
            files |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)}
    return {pathlib.Path(urllib.parse.urlsplit(file).path) for file in files}


def sweep_and_check(lakehouse, place, catalog):
    """Everything looks old, and what nothing names goes: all of that, and nothing else."""
    old = time.time() - 5 * 86400
    for file in [*(place.data / "wh").rglob("*"), *(place.data / "_lake/minted").rglob("*")]:  # the claims of tables that never were, too
        if file.is_file():  # without the record that the store keeps with it, it is as old as the file system says
            if "user.lakehouse" in os.listxattr(file):
                os.removexattr(file, "user.lakehouse")
            os.utime(file, (old, old))
    done = subprocess.run([lakehouse, "maintain", "--server", place.url, "--only", "orphans"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = [".".join(name) for namespace in catalog.list_namespaces() for name in catalog.list_tables(namespace)]
    live = set().union(*(live_files(catalog, name) for name in names))
    end = time.monotonic() + SWEEP_SECONDS_MAX
    while True:
        there = {file for file in (place.data / "wh").rglob("*") if file.is_file()}
        assert live <= there, f"files are gone that tables name: {sorted(live - there)[:5]}"
        if live == there:
            return len(live)
        assert time.monotonic() < end, f"files stay that nothing names: {len(there - live)} like {sorted(there - live)[:5]}"
        time.sleep(0.2)


def crash_again_and_again(lakehouse, moments, rng, place):
    everybody, workers, landed, open_ones = [], [], 0, 0
    for moment in range(moments):
        if moment % TABLES_EVERY == 0:
            workers = workers_of(moment // TABLES_EVERY, rng)
            make_shared(place.url, workers)
            everybody += workers
        crowd = Crowd(place, workers)
        assert crowd.started.wait(30), crowd.faults
        time.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))  # the moment itself is what is random here
        crowd.killed.set()
        place.kill(rng)
        (place.data / "_lake/sweep.json").unlink(missing_ok=True)  # as if the dead sweeper's lease had run out
        place.restart()
        crowd.join()
        open_ones += sum(worker.is_open for worker in workers)
        landed += sum(worker.settle(place.url) for worker in workers)
    counts = {name: sum(getattr(worker, name) for worker in everybody) for name in ("done", "refused")}
    print(f"{moments} moments: {counts}, {open_ones} without an answer, {landed} of them had landed")
    catalog = load_catalog("lake", type="rest", uri=place.url + "/iceberg")
    for worker in everybody:
        worker.settle(place.url)
        worker.scan(catalog, rng)
        if isinstance(worker, Transactor):
            worker.finish(place.url)
    files = sweep_and_check(lakehouse, place, catalog)
    for worker in everybody:
        worker.scan(catalog, rng)
    print(f"{files} files")
    assert counts["done"] > moments and open_ones > 0


class AloneOrEngine(Alone):
    """`serve` is killed, or only an engine of it in the middle of its job."""

    def kill(self, rng):
        engines = children(self.server.process.pid)
        self.whole = not engines or rng.random() < 0.7
        if self.whole:
            super().kill(rng)
        else:
            try:
                os.kill(rng.choice(engines), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def restart(self):
        if self.whole:
            super().restart()


class ClusterOrEngine(Cluster):
    """One of storaged, catalogd, ingestd and queryd is killed, or an engine of queryd's."""

    def kill(self, rng):
        self.dead = rng.choice(["storaged", "catalogd", "ingestd", "queryd", "engine"])
        pid = self.services["queryd"].process.pid
        engines = children(pid)
        if self.dead == "engine" and not engines:
            self.dead = "queryd"
        if self.dead == "engine":
            try:
                os.kill(rng.choice(engines), signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            self.services[self.dead].process.kill()
            self.services[self.dead].process.wait(20)

    def restart(self):
        if self.dead != "engine":
            super().restart()


@moments(5, 150)
def test_a_killed_server_has_whole_statements_only(lakehouse, serve, rng, moments):  # noqa: F811
    crash_again_and_again(lakehouse, moments, rng, AloneOrEngine(serve))


@moments(4, 150)
def test_a_killed_service_leaves_whole_statements_only(lakehouse, start, tmp_path, rng, moments):  # noqa: F811
    crash_again_and_again(lakehouse, moments, rng, ClusterOrEngine(start, tmp_path / "data"))
