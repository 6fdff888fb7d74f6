"""mode=overwrite and mode=upsert of ingest: one commit each, exactly once, against a model and what PyIceberg reads."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
import requests
from conftest import start_cluster
from ingesting import parquet
from test_ingest_partitions import Lake

MODES = ["copy-on-write", "merge-on-read"]


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


def pairs(lake):
    return sorted((row["id"], row["v"]) for row in lake.scanned(lake.table))


def options(mode):
    return f"WITH ('write.merge.mode'='{mode}')"


# --- overwrite ---


@pytest.mark.parametrize("partitions", ["", "PARTITIONED BY (bucket(3, id))"])
def test_overwrite_replaces_all_rows_in_one_snapshot(lake, partitions):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR) {partitions}")
    lake.ok(lake.table, "id,v\n1,a\n2,b\n")
    lake.ok(lake.table, "id,v\n3,c\n")
    before = len(lake.load(lake.table).snapshots())
    report = lake.ok(lake.table, "id,v\n4,d\n5,e\n", mode="overwrite")
    assert (report["rows"], report["deduplicated"], report["created"]) == (2, False, False) and len(report["files"]) >= 1
    assert pairs(lake) == [(4, "d"), (5, "e")]
    table = lake.load(lake.table)
    assert len(table.snapshots()) == before + 1
    assert (table.current_snapshot().summary.operation.value, report["snapshot_id"]) == ("overwrite", table.current_snapshot().snapshot_id)
    again = lake.ok(lake.table, "id,v\n4,d\n5,e\n", mode="overwrite")
    assert again["deduplicated"] and again["snapshot_id"] == report["snapshot_id"] and again["rows"] == 2
    assert lake.ok(lake.table, "id,v\n1,a\n2,b\n")["deduplicated"] is False  # its rows went
    assert pairs(lake) == [(1, "a"), (2, "b"), (4, "d"), (5, "e")]
    assert lake.ok(lake.table, "id,v\n9,z\n", mode="overwrite")["deduplicated"] is False
    assert lake.ok(lake.table, "id,v\n4,d\n5,e\n", mode="overwrite")["deduplicated"] is False
    assert pairs(lake) == [(4, "d"), (5, "e")]
    assert lake.ok(lake.table, "id,v\n4,d\n5,e\n", mode="overwrite", dedup="off")["deduplicated"] is False


def test_overwrite_makes_a_table_and_lets_it_grow(lake):
    assert lake.ok(lake.table, "id,v\n1,a\n", mode="overwrite", partition_by="v")["created"]
    assert "extra" in lake.refused(lake.table, "id,v,extra\n2,b,x\n", mode="overwrite", status=409)
    lake.ok(lake.table, "id,v,extra\n2,b,x\n", mode="overwrite", evolve="true")
    assert lake.scanned(lake.table) == [{"id": 2, "v": "b", "extra": "x"}]
    lake.ok(lake.table, "id,v\n3,c\nx,d\n", mode="overwrite", on_error="skip", types="id:long")
    assert lake.scanned(lake.table) == [{"id": 3, "v": "c", "extra": None}]
    lake.refused(lake.table, "id,v\n1,2\n", mode="replace")
    lake.refused(lake.table, "id,v\n1,2\n", mode="append", key="id")
    key = {"Idempotency-Key": "the one"}
    lake.ok(lake.table, "id,v\n7,g\n", headers=key, mode="overwrite")
    assert lake.ok(lake.table, "id,v\n8,h\n", headers=key, mode="overwrite")["deduplicated"]
    assert [row["id"] for row in lake.scanned(lake.table)] == [7]


def test_readers_beside_overwrites_see_old_or_new(lake):
    lake.ok(lake.table, "id,v\n" + "".join(f"{i},0\n" for i in range(500)))
    stop, seen, wrong = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            rows = lake.rows(f"SELECT count(*), min(v), max(v) FROM {lake.table}")
            seen.add(rows[0][1])
            if rows[0][0] != 500 or rows[0][1] != rows[0][2]:
                wrong.append(rows)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(1, 16):
        lake.ok(lake.table, "id,v\n" + "".join(f"{i},{n}\n" for i in range(500)), mode="overwrite")
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong and len(seen) > 2
    assert lake.rows(f"SELECT count(*), min(v), max(v) FROM {lake.table}") == [[500, 15, 15]]


# --- upsert ---


@pytest.mark.parametrize("mode", MODES)
def test_upsert_replaces_and_adds(lake, mode):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR, n INTEGER) {options(mode)}")
    lake.ok(lake.table, "id,v,n\n1,a,1\n2,b,2\n3,c,3\n")
    report = lake.ok(lake.table, "id,v\n2,B\n4,D\n", mode="upsert", key="id")
    assert (report["rows"], report["replaced"], report["deduplicated"]) == (2, 1, False)
    assert sum(file["row_count"] for file in report["files"]) == (4 if mode == "copy-on-write" else 2)
    assert pairs(lake) == [(1, "a"), (2, "B"), (3, "c"), (4, "D")]
    assert lake.rows(f"SELECT n FROM {lake.table} WHERE id = 2") == [[None]]  # the whole row is replaced
    again = lake.ok(lake.table, "id,v\n2,B\n4,D\n", mode="upsert", key="id")
    assert again["deduplicated"] and again["snapshot_id"] == report["snapshot_id"] and again["rows"] == 2
    assert lake.ok(lake.table, "id,v,n\n1,a,1\n2,b,2\n3,c,3\n")["deduplicated"]  # its rows stayed, though their file did not
    assert lake.ok(lake.table, "id,v\n2,B\n4,D\n", mode="upsert", key="id,v")["deduplicated"] is False  # another question
    assert pairs(lake) == [(1, "a"), (2, "B"), (3, "c"), (4, "D")]


@pytest.mark.parametrize("mode", MODES)
def test_the_last_row_of_a_key_counts_and_all_old_ones_go(lake, mode):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR) {options(mode)}")
    lake.ok(lake.table, "id,v\n1,a\n1,b\n2,c\n")
    report = lake.ok(lake.table, "id,v\n1,x\n3,y\n1,z\n3,w\n" + "".join(f"9,{i}\n" for i in range(5000)), mode="upsert", key="id")
    assert (report["rows"], report["replaced"]) == (3, 2)
    assert pairs(lake) == [(1, "z"), (2, "c"), (3, "w"), (9, "4999")]


def test_upsert_makes_a_table_and_lets_it_grow(lake):
    report = lake.ok(lake.table, "id,v\n1,a\n1,b\n", mode="upsert", key="id", partition_by="bucket(4, id)")
    assert report["created"] and not lake.ok(lake.table, "id,v\n1,b\n", mode="upsert", key="id")["created"]
    assert (report["rows"], report["replaced"]) == (1, 0)
    assert "extra" in lake.refused(lake.table, "id,v,extra\n2,b,x\n", mode="upsert", key="id", status=409)
    lake.ok(lake.table, "id,v,extra\n1,c,x\n2,b,x\n", mode="upsert", key="id", evolve="true")
    assert sorted(map(str, lake.scanned(lake.table))) == sorted(map(str, [{"id": 1, "v": "c", "extra": "x"}, {"id": 2, "v": "b", "extra": "x"}]))
    lake.check_partitions(lake.table)


def test_keys_that_are_none(lake):
    lake.ok(lake.table, parquet(pa.table({"id": [1], "f": [1.5], "l": [[1]], "s": [{"a": 1}], "v": ["x"]})))
    good = parquet(pa.table({"id": [1], "f": [2.5], "l": [[1]], "s": [{"a": 1}], "v": ["y"]}))
    for key, word in [("nix", "no column"), ("f", "cannot be a key"), ("l", "cannot be a key"), ("s", "cannot be a key"), ("id,id", "named twice"), (",", "no name"), ("id,,v", "no name"), ("", "go together")]:
        assert word in lake.refused(lake.table, good, mode="upsert", key=key), key
    lake.refused(lake.table, good, mode="upsert")
    assert "no value" in lake.refused(lake.table, "id,v\n1,a\n,b\n", mode="upsert", key="id")
    assert "the file has no column" in lake.refused(lake.table, "v\na\n", mode="upsert", key="id")
    assert [row["v"] for row in lake.scanned(lake.table)] == ["x"]
    lake.ok(lake.table, good, mode="upsert", key="ID")  # columns are found whatever their case
    assert [(row["v"], row["f"], row["l"], row["s"]) for row in lake.scanned(lake.table)] == [("y", 2.5, [1], {"a": 1})]


def test_keys_of_odd_types_and_names(lake):
    import datetime
    import decimal

    rows = {"a b": ["x'y", "", "日本"], "d": [datetime.date(2024, 1, i + 1) for i in range(3)], "m": [decimal.Decimal("1.50"), decimal.Decimal("-2.25"), decimal.Decimal("0")],
            "t": [datetime.datetime(2024, 1, 1, 1, 1, 1, i) for i in range(3)], "b": [True, False, True], "v": [1, 2, 3]}
    lake.ok(lake.table, parquet(pa.table(rows)))
    rows["v"] = [10, 20, 30]
    report = lake.ok(lake.table, parquet(pa.table(rows)), mode="upsert", key="a b,d,m,t,b")
    assert (report["rows"], report["replaced"]) == (3, 3)
    assert sorted(row["v"] for row in lake.scanned(lake.table)) == [10, 20, 30]


def test_upsert_with_types_and_bad_rows(lake):
    lake.ok(lake.table, "zip,v\n00501,a\n", types="zip:string")
    report = lake.ok(lake.table, "zip,v\n00501,b\n10001,c,extra\n00502,d\n", mode="upsert", key="zip", types="zip:string", on_error="skip")
    assert (report["rows"], report["replaced"], report["skipped"]["count"]) == (2, 1, 1)
    assert sorted((row["zip"], row["v"]) for row in lake.scanned(lake.table)) == [("00501", "b"), ("00502", "d")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("partitions", ["", "PARTITIONED BY (p) SORTED BY (id)"])
def test_random_upserts_deletes_and_appends_against_a_model(lake, mode, partitions):
    rng, model = random.Random(7), {}
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, p INTEGER, v BIGINT, l BIGINT[], s STRUCT(a VARCHAR)) {partitions} {options(mode)}")
    for step in range(14):
        if step % 5 == 4:
            low = rng.randrange(150)
            lake.sql(f"DELETE FROM {lake.table} WHERE id BETWEEN {low} AND {low + 20}")
            model = {key: row for key, row in model.items() if not low <= key <= low + 20}
            continue
        batch = [{"id": rng.randrange(200), "p": rng.randrange(4), "v": step * 1000 + i, "l": [i, None], "s": {"a": str(i)} if i % 3 else None} for i in range(rng.randrange(1, 60))]
        fresh = {row["id"]: row for row in batch}
        report = lake.lines(lake.table, *batch, mode="upsert", key="id", types="")
        assert (report["rows"], report["replaced"]) == (len(fresh), len(fresh.keys() & model.keys()))
        model.update(fresh)
    by_id = lambda rows: sorted(rows, key=lambda row: row["id"])
    assert by_id(lake.scanned(lake.table)) == by_id(model.values())
    assert lake.rows(f"SELECT count(*), count(DISTINCT id), sum(v) FROM {lake.table}") == [[len(model), len(model), sum(row["v"] for row in model.values())]]
    if partitions and mode == "copy-on-write":
        lake.check_partitions(lake.table)


@pytest.mark.parametrize("mode", MODES)
def test_clients_at_once(lake, mode):
    """Each key is there once, with a value that somebody has sent for it; the acknowledged batches of one client land in order."""
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR) {options(mode)}")

    def work(who):
        for n in range(8):
            lake.ok(lake.table, "id,v\n" + "".join(f"{i},{who}-{n}\n" for i in range(n, n + 6)) + f"{1000 + who},{n}\n", mode="upsert", key="id")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    rows = dict(pairs(lake))
    assert len(rows) == len(pairs(lake)) == 13 + 2
    assert rows[1000] == rows[1001] == "7"
    assert all(rows[i].split("-")[1] == str(min(i, 7)) for i in range(13))


def test_upserts_beside_appends_of_the_same_keys(lake):
    """An append may add a key a second time; an upsert that comes after it is acknowledged leaves one."""
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR)")
    stop = threading.Event()

    def append():
        n = 0
        while not stop.is_set() and n < 40:
            lake.ok(lake.table, f"id,v\n{n % 5},a{n}\n")
            n += 1

    thread = threading.Thread(target=append)
    thread.start()
    for n in range(6):
        lake.ok(lake.table, "id,v\n" + "".join(f"{i},u{n}\n" for i in range(5)), mode="upsert", key="id")
    stop.set()
    thread.join()
    lake.ok(lake.table, "id,v\n" + "".join(f"{i},last\n" for i in range(5)), mode="upsert", key="id")
    assert pairs(lake) == [(i, "last") for i in range(5)]


def test_services_of_their_own(start, tmp_path):
    lake = Lake(start_cluster(start, tmp_path)[0])
    lake.ok(lake.table, "id,v\n1,a\n2,b\n", partition_by="bucket(4,id)", sort_by="v desc")
    lake.ok(lake.table, "id,v\n2,B\n3,C\n", mode="upsert", key="id")
    assert lake.ok(lake.table, "id,v\n2,B\n3,C\n", mode="upsert", key="id")["deduplicated"]
    assert pairs(lake) == [(1, "a"), (2, "B"), (3, "C")]
    lake.ok(lake.table, "id,v\n9,z\n", mode="overwrite")
    assert lake.ok(lake.table, "id,v\n9,z\n", mode="overwrite")["deduplicated"]
    assert pairs(lake) == [(9, "z")]


@pytest.mark.parametrize("mode", ["append", "overwrite", "upsert"])
def test_killed_in_the_middle_and_sent_again(serving_again, mode):
    """kill -9 at random moments; a batch without an answer is sent again. What is there is what was sent, once."""
    rng, model, resent = random.Random(11), {}, 0
    lake = serving_again.lake()
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR) PARTITIONED BY (bucket(3, id))")
    for n in range(10):
        batch = [(n * 10 + i if mode == "append" else rng.randrange(30), f"{n}-{i}") for i in range(10)]
        body = "id,v\n" + "".join(f"{key},{value}\n" for key, value in batch)
        killer = threading.Timer(rng.random() * 0.25, serving_again.kill) if n % 2 else None
        if killer:
            killer.start()
        query = {"mode": mode, **({"key": "id"} if mode == "upsert" else {})}
        for _ in range(5):
            try:
                answer = lake.send(lake.table, body, **query)
                if answer.status_code == 200:
                    break
                assert answer.status_code in (500, 503), answer.text
            except requests.RequestException:
                pass
            if killer:
                killer.join()
            resent += 1
            serving_again.up()
            lake = serving_again.lake(lake.table)
        else:
            raise AssertionError("no answer")
        if killer:
            killer.join()
            serving_again.up()
            lake = serving_again.lake(lake.table)
        if mode == "overwrite":
            model = {}
        if mode == "overwrite":
            rows = sorted(batch)
        else:
            model.update(batch)
            rows = sorted(model.items())
        assert pairs(lake) == rows, n
    assert lake.send(lake.table, body, **query).json()["deduplicated"]


class Again:
    """One lake, whose server is killed and started again."""

    def __init__(self, start):
        self.start, self.server, self.lock = start, None, threading.Lock()
        self.up()

    def up(self):
        with self.lock:
            if self.server is None:
                self.server = self.start()

    def kill(self):
        with self.lock:
            self.server.kill()
            self.server = None

    def lake(self, table=None):
        lake = Lake(self.server)
        lake.table = table or lake.table
        return lake


@pytest.fixture
def serving_again(serve, tmp_path):
    return Again(lambda: serve(data=tmp_path / "again"))
