"""Care of tables: CALL expire_snapshots, rewrite_manifests, remove_orphan_files; `lakehouse maintain`; the timer."""

import datetime
import json
import os
import random
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
import requests
from cli_kit import Shell, metric, until
from conftest import start_cluster
from pyiceberg.exceptions import CommitFailedException, ValidationException
from test_sql_write import MODES, Lake, mode_options


@pytest.fixture(scope="module")
def lake(shared_server):
    return Lake(shared_server.url)


@pytest.fixture
def name(request):
    return "m_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]


def report(lake, sql):
    answer = lake.ask(sql, row_format="objects")
    assert answer.status_code == 200, (sql, answer.text)
    (row,) = answer.json()["rows"]
    return row


def in_an_hour():
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")


def ids_of(lake, name):
    return [row[0] for row in lake.rows(f'SELECT snapshot_id FROM "{name}$snapshots" ORDER BY committed_at, snapshot_id')]


def rows_at(table, snapshot_id):
    return sorted(table.scan(snapshot_id=snapshot_id).to_arrow().column(0).to_pylist())


def make(lake, name, count=6):
    lake.write(f"CREATE TABLE {name} (a INTEGER)")
    for i in range(count):
        lake.write(f"INSERT INTO {name} VALUES ({i})")


# --- expire_snapshots ---


def test_expire_keeps_what_refs_need(lake, name):
    make(lake, name)
    table = lake.catalog.load_table("main." + name)
    ids = ids_of(lake, name)
    table.manage_snapshots().create_tag(ids[1], "kept").create_branch(ids[2], "side").commit()
    lake.write(f"DELETE FROM {name} WHERE a = 0")
    dry = report(lake, f"CALL expire_snapshots('{name}', older_than => TIMESTAMP '{in_an_hour()}', dry_run => true)")
    assert len(ids_of(lake, name)) == 7
    done = report(lake, f"CALL expire_snapshots('main.{name}', older_than => TIMESTAMP '{in_an_hour()}')")
    assert dry == done
    assert (done["expired_snapshots_count"], done["removed_refs_count"], done["kept_files_count"]) == (4, 0, 0)
    assert done["deleted_data_files_count"] == 0  # the tag and the branch name the file of the row that went
    table = table.refresh()
    assert {s.snapshot_id for s in table.snapshots()} == {ids[1], ids[2], table.current_snapshot().snapshot_id}
    assert rows_at(table, ids[1]) == [0, 1]
    assert lake.rows(f"SELECT a FROM {name} AT (VERSION => 'side') ORDER BY a") == [[0], [1], [2]]
    assert sorted(lake.scanned("main." + name)) == [[a] for a in range(1, 6)]
    table.manage_snapshots().remove_tag("kept").remove_branch("side").commit()
    done = report(lake, f"CALL expire_snapshots('{name}', older_than => TIMESTAMP '{in_an_hour()}')")
    assert (done["expired_snapshots_count"], done["deleted_data_files_count"]) == (2, 1)
    assert any("/data/" in file for file in done["files"])
    assert sorted(lake.scanned("main." + name)) == [[a] for a in range(1, 6)]


def test_expire_of_a_table_that_pyiceberg_writes(lake, name):
    table = lake.catalog.create_table("main." + name, schema=pa.schema([("a", pa.int64())]))
    for i in range(5):
        table.append(pa.table({"a": [i]}))
    table.delete("a == 2")
    table.overwrite(pa.table({"a": [7]}))
    done = report(lake, f"CALL expire_snapshots('{name}', older_than => TIMESTAMP '{in_an_hour()}', retain_last => 2)")
    table = table.refresh()
    assert len(table.snapshots()) == 2
    assert done["deleted_data_files_count"] > 0
    for snapshot in table.snapshots():
        rows_at(table, snapshot.snapshot_id)
    assert rows_at(table, table.current_snapshot().snapshot_id) == [7]
    table.append(pa.table({"a": [8]}))  # and it goes on
    assert lake.rows(f"SELECT a FROM {name} ORDER BY a") == [[7], [8]]


def test_refusals(lake, name):
    make(lake, name, 2)
    for sql, word in [
        (f"CALL expire_snapshots('{name}', retain_last => 0)", "at least 1"),
        (f"CALL expire_snapshots('{name}', nonsense => 0)", 'has no argument \\"nonsense\\"'),
        (f"CALL expire_snapshots('{name}', dry_run => 3)", "dry_run"),
        (f"CALL remove_orphan_files('{name}', older_than => now())", "at least 72 hours"),
    ]:
        lake.fails(sql, 400, word)
    lake.fails("CALL expire_snapshots('nobody_here')", 404, "nobody_here")
    lake.write(f"ALTER TABLE {name} SET ('gc.enabled' = 'false')")
    lake.fails(f"CALL expire_snapshots('{name}')", 400, "gc.enabled")
    lake.fails(f"CALL remove_orphan_files('{name}')", 400, "gc.enabled")


# --- rewrite_manifests ---


def test_manifests_become_one(lake, name):
    make(lake, name, 12)
    before = lake.rows(f"SELECT a FROM {name} ORDER BY a")
    done = report(lake, f"CALL rewrite_manifests('{name}')")
    assert (done["rewritten_manifests_count"], done["added_manifests_count"], done["entries_count"]) == (12, 1, 12)
    table = lake.catalog.load_table("main." + name)
    assert table.current_snapshot().summary.operation.value == "replace"
    assert len(table.inspect.manifests()) == 1
    assert sorted(table.inspect.entries()["sequence_number"].to_pylist()) == list(range(1, 13))
    assert lake.rows(f"SELECT a FROM {name} ORDER BY a") == before
    assert sorted(lake.scanned("main." + name, key=lambda row: row[0]), key=lambda row: row[0]) == before
    again = report(lake, f"CALL rewrite_manifests('{name}')")
    assert (again["rewritten_manifests_count"], again["snapshot_id"]) == (0, None)


def test_manifests_of_partitions_by_several_writers(lake, name):
    lake.write(f"CREATE TABLE {name} (a INTEGER, part VARCHAR) PARTITIONED BY (part) WITH ('write.delete.mode'='merge-on-read')")
    table = lake.catalog.load_table("main." + name)
    for i in range(8):
        lake.write(f"INSERT INTO {name} SELECT i, 'p' || i FROM range({i}, {i} + 4) r(i)")
        table.refresh()
        table.append(pa.table({"a": pa.array([100 + i], pa.int32()), "part": [f"p{i}"]}))
    lake.write(f"DELETE FROM {name} WHERE a = 3")
    before = lake.rows(f"SELECT a, part FROM {name} ORDER BY ALL")
    for _ in range(3):
        done = report(lake, f"CALL rewrite_manifests('{name}')")
        assert lake.rows(f"SELECT a, part FROM {name} ORDER BY ALL") == before
        if done["snapshot_id"] is None:
            break
    assert done["rewritten_manifests_count"] == 0
    assert len(table.refresh().inspect.manifests()) <= 4  # two writers spell their records, and there are deletes
    assert sorted(lake.scanned("main." + name)) == sorted(before)
    assert lake.rows(f"SELECT a FROM {name} WHERE part = 'p5' ORDER BY a") == [[row[0]] for row in before if row[1] == "p5"]


# --- remove_orphan_files ---


def test_orphans(serve):
    server = serve()
    lake = Lake(server.url)
    make(lake, "t", 2)
    data = next(Path(server.data).glob("wh/main/main/t-*/data"))
    old, young = data / "orphan-old.parquet", data / "orphan-young.parquet"
    for file in (old, young):
        file.write_bytes(b"PAR1")
    live = next(file for file in data.iterdir() if "orphan" not in file.name)
    for file in (old, live):
        os.utime(file, (time.time() - 5 * 86400,) * 2)
    week = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=7)).strftime("%Y-%m-%d %H:%M:%S")
    assert report(lake, f"CALL remove_orphan_files('t', older_than => TIMESTAMP '{week}')")["orphan_files_count"] == 0
    dry = report(lake, "CALL remove_orphan_files('t', dry_run => true)")
    assert (dry["orphan_files_count"], dry["orphan_bytes_count"]) == (1, 4)
    assert dry["files"][0].endswith("/data/orphan-old.parquet")
    assert not list(Path(server.data).glob("_lake/trash/*/*"))
    assert report(lake, "CALL remove_orphan_files('t')") == dry
    assert old.exists()  # noted, and kept for the grace
    assert len(list(Path(server.data).glob("_lake/trash/*/*.json"))) == 1
    assert report(lake, "CALL remove_orphan_files('t')")["orphan_files_count"] == 0  # it is noted already
    assert lake.rows("SELECT count(*) FROM t") == [[2]]


# --- between processes ---


def test_calls_between_processes(start, tmp_path):
    gateway, _ = start_cluster(start, tmp_path)
    lake = Lake(gateway.url)
    make(lake, "t")
    assert report(lake, "CALL rewrite_manifests('t')")["rewritten_manifests_count"] == 6
    done = report(lake, f"CALL expire_snapshots('t', older_than => TIMESTAMP '{in_an_hour()}')")
    assert done["expired_snapshots_count"] == 6
    assert report(lake, "CALL remove_orphan_files('t')")["orphan_files_count"] == 0
    lake.fails("CALL expire_snapshots('t', retain_last => 0)", 400, "at least 1")
    assert lake.rows("SELECT count(*) FROM t") == [[6]]


# --- the command ---


def test_command(lakehouse, serve):
    server = serve()
    lake = Lake(server.url)
    lake.write("CREATE SCHEMA \"o'ther\"")
    make(lake, "t")
    make(lake, '"o\'ther"."t u"', 3)
    shell = Shell(lakehouse, server.url)
    dry = shell("maintain", "--dry-run", "--only", "manifests,expire", "--json")
    assert dry.returncode == 0, dry.stderr
    done = json.loads(dry.stdout)
    assert done["dry_run"] is True
    assert [(entry["table"], entry["task"]) for entry in done["done"]] == [(t, k) for t in ('"o\'ther".t u', "t") for k in ("manifests", "expire")]
    assert done["done"][2]["report"]["rewritten_manifests_count"] == 6
    assert len(ids_of(lake, "t")) == 6
    text = shell("maintain", "t", "--only=manifests,orphans")
    assert text.returncode == 0, text.stderr
    lines = [line.split(",") for line in text.stdout.splitlines()]
    assert lines[0] == ["table", "task", "about", "files", "size"]
    assert lines[1][:4] == ["t", "manifests", "6", "1"]
    assert lines[2] == ["t", "orphans", "0", "0", "0"]
    wrong = shell("maintain", "nobody", "--only", "expire")
    assert wrong.returncode == 1 and "nobody" in wrong.stderr
    assert shell("maintain", "--only", "sweep").returncode == 2
    lake.write("ALTER TABLE t SET ('gc.enabled' = 'false')")
    assert shell("maintain", "--only", "expire").returncode == 0  # told, and no failure of all
    refused = shell("maintain", "t", "--only", "expire")
    assert refused.returncode == 1 and "gc.enabled" in refused.stderr


# --- the timer ---


def test_timer_cares_for_tables_that_ask(serve):
    server = serve("--maintain.interval_seconds", "1", "--catalogd.sweep_seconds", "1")
    lake = Lake(server.url)
    make(lake, "asks", 3)
    lake.write("ALTER TABLE asks SET ('history.expire.max-snapshot-age-ms' = '1')")
    other = lake.catalog.create_table("main.other", schema=pa.schema([("a", pa.int64())]))
    for i in range(3):
        other.append(pa.table({"a": [i]}))
    until(lambda: len(ids_of(lake, "asks")) == 1, 30)
    assert lake.rows("SELECT a FROM asks ORDER BY a") == [[0], [1], [2]]
    until(lambda: metric(server, "lakehouse_maintain_snapshots_total") == 2)
    assert len(other.refresh().snapshots()) == 3  # it has not asked
    assert server.says("maintained")


# --- beside writers and readers ---


class Racing:
    """Threads that go on until they are told to stop; what one of them meets is raised."""

    def __init__(self):
        self.stop = threading.Event()
        self.errors = []
        self.threads = []

    def run(self, work):
        def loop():
            try:
                while not self.stop.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)
                self.stop.set()

        self.threads.append(threading.Thread(target=loop))

    def go(self, seconds):
        for thread in self.threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


@pytest.mark.parametrize("mode", MODES)
def test_care_at_full_speed_beside_writers_and_readers(serve, mode):
    # the sweep deletes within seconds here: what readers hold is kept by refs, not by the grace
    server = serve("--catalogd.grace_seconds", "2", "--catalogd.sweep_seconds", "1", "--maintain.interval_seconds", "1")
    lake = Lake(server.url)
    rng = random.Random(7)
    lake.write(f"CREATE TABLE t (a BIGINT) {mode_options(mode)}")
    lake.write("INSERT INTO t SELECT * FROM range(1000)")
    table = lake.catalog.load_table("main.t")
    pinned = ids_of(lake, "t")[-1]
    table.manage_snapshots().create_tag(pinned, "pinned").commit()
    lock, there, next_id, counts = threading.Lock(), set(range(1000)), [1000], {"ingest": 0, "pyiceberg": 0, "delete": 0, "read": 0, "care": 0, "busy": 0}

    def ingest():
        with lock:
            low = next_id[0]
            next_id[0] += 5
        body = "a\n" + "".join(f"{low + i}\n" for i in range(5))
        answer = requests.post(server.url + "/v1/ingest?name=t", data=body, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text
        with lock:
            there.update(range(low, low + 5))
            counts["ingest"] += 1

    def append():
        with lock:
            low = next_id[0]
            next_id[0] += 1
        try:
            lake.catalog.load_table("main.t").append(pa.table({"a": [low]}))
        except (CommitFailedException, ValidationException):
            return  # it gave up, or what it began on has expired; its row is not there then
        with lock:
            there.add(low)
            counts["pyiceberg"] += 1

    def delete():
        with lock:
            victim = rng.choice(sorted(there))
        answer = lake.ask(f"DELETE FROM t WHERE a = {victim}")
        if answer.status_code == 409:
            counts["busy"] += 1
            return
        assert answer.status_code == 200, answer.text
        assert answer.json()["rows"][0][0] == 1, victim
        with lock:
            there.discard(victim)
            counts["delete"] += 1

    def read():
        assert lake.rows("SELECT count(*), sum(a) FROM t AT (VERSION => 'pinned')") == [[1000, sum(range(1000))]]
        assert lake.rows(f"SELECT count(*) FROM t AT (VERSION => {pinned})") == [[1000]]
        assert lake.rows("SELECT count(*) FROM t")[0][0] > 0
        counts["read"] += 1

    def care():
        # what is older than a few seconds: PyIceberg needs what it began on for as long as its commit takes
        report(lake, "CALL expire_snapshots('t', older_than => now() - INTERVAL 3 SECOND, retain_last => 2)")
        report(lake, "CALL rewrite_manifests('t')")
        report(lake, "CALL remove_orphan_files('t')")
        counts["care"] += 1

    racing = Racing()
    for work in (ingest, append, delete, read, care):
        racing.run(work)
    racing.go(12)
    # PyIceberg is overtaken most of the time at this speed; that it commits at all is enough here
    assert counts["pyiceberg"] > 0 and min(counts[what] for what in ("ingest", "delete", "read", "care")) > 3, counts
    table = table.refresh()
    assert rows_at(table, table.current_snapshot().snapshot_id) == sorted(there)
    for snapshot in table.snapshots():  # every one that is kept can be read
        rows_at(table, snapshot.snapshot_id)
    assert rows_at(table, pinned) == list(range(1000))
    assert sorted(row[0] for row in lake.rows("SELECT a FROM t")) == sorted(there)
