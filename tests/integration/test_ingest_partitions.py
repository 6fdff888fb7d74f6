"""Ingest into tables with partitions and a sort order, against what PyIceberg reads of them."""

import datetime
import decimal
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from ingesting import Lake as Ingesting, parquet
from partitioning import values_of
from pyiceberg.catalog import load_catalog


class Lake(Ingesting):
    def __init__(self, server):
        super().__init__(server)
        self.catalog = load_catalog("lake", type="rest", uri=server.url + "/iceberg")

    def sql(self, text, status=200):
        answer = requests.post(self.url + "/v1/sql", json={"sql": text, "row_format": "arrays"}, timeout=120)
        assert answer.status_code == status, (text, answer.text)
        return answer.json()

    def load(self, name):
        return self.catalog.load_table("main." + name)

    def scanned(self, name):
        return self.load(name).scan().to_arrow().to_pylist()

    def check_partitions(self, name, spec_id=None):
        """Every data file has the partition that PyIceberg's own transforms give to each of its rows; the rows of all files."""
        table, rows = self.load(name), []
        for task in table.scan().plan_files():
            spec = table.specs()[task.file.spec_id]
            if spec_id is not None and task.file.spec_id != spec_id:
                continue
            with table.io.new_input(task.file.file_path).open() as file:
                members = pq.read_table(io.BytesIO(file.read())).to_pylist()
            assert len(members) == task.file.record_count > 0
            for row in members:
                assert tuple(task.file.partition[i] for i in range(len(spec.fields))) == values_of(table.schema(), spec, row), (spec, row)
            rows += members
        return rows


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


def same(a, b):
    return sorted(map(repr, a)) == sorted(map(repr, b))


ROWS = pa.table({
    "id": pa.array([1, 2, 3, None, -5, 2**40], pa.int64()),
    "n": pa.array([7, -1, -10, 0, None, 25], pa.int32()),
    "s": ["abcdef", "", "日本語テキスト", None, "a/b=c&d e", "x'y\"z"],
    "d": [datetime.date(2024, 1, 31), datetime.date(1969, 12, 31), None, datetime.date(1970, 1, 1), datetime.date(2000, 2, 29), datetime.date(2024, 2, 1)],
    "t": pa.array([datetime.datetime(2024, 1, 1, 23, 59), datetime.datetime(1969, 12, 31, 23), None, datetime.datetime(1970, 1, 1), datetime.datetime(1960, 5, 5, 5, 5, 5), datetime.datetime(2024, 1, 1, 0, 1)], pa.timestamp("us")),
    "z": pa.array([datetime.datetime(2024, 1, 1, 23, 59, tzinfo=datetime.timezone.utc), None] + [datetime.datetime(1969, 1, 1, tzinfo=datetime.timezone.utc)] * 4, pa.timestamp("us", "UTC")),
    "m": pa.array([decimal.Decimal("12.34"), decimal.Decimal("-0.01"), None, decimal.Decimal("0.00"), decimal.Decimal("99999.99"), decimal.Decimal("12.34")], pa.decimal128(9, 2)),
    "b": [True, False, None, True, False, True],
})

SPECS = ["id", "n", "s", "d", "t", "m", "b", "bucket(7, id)", "bucket(3, s)", "bucket(5, d)", "bucket(5, t)", "bucket(4, m)", "truncate(10, id)", "truncate(10, n)", "truncate(3, s)", "truncate(50, m)",
         "year(d)", "month(d)", "day(d)", "year(t)", "month(t)", "day(t)", "hour(t)", "year(z)", "month(z)", "day(z)", "hour(z)", "month(d), bucket(2, id), s"]


@pytest.mark.parametrize("spec", SPECS)
def test_rows_go_to_the_partition_that_pyiceberg_gives_them(lake, spec):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, n INTEGER, s VARCHAR, d DATE, t TIMESTAMP, z TIMESTAMPTZ, m DECIMAL(9, 2), b BOOLEAN) PARTITIONED BY ({spec})")
    report = lake.ok(lake.table, parquet(ROWS))
    assert report["rows"] == ROWS.num_rows and sum(file["row_count"] for file in report["files"]) == ROWS.num_rows
    assert same(lake.check_partitions(lake.table), ROWS.to_pylist())
    assert same(lake.scanned(lake.table), ROWS.to_pylist())
    assert len(lake.rows(f"SELECT * FROM {lake.table}")) == ROWS.num_rows
    again = lake.ok(lake.table, parquet(ROWS))
    assert again["deduplicated"] and len(lake.scanned(lake.table)) == ROWS.num_rows


def test_a_table_made_with_partitions_and_an_order(lake):
    body = "".join(f"{i},2024-01-{1 + i % 3:02d}T00:00:00,v{i * 7919 % 1000}\n" for i in range(1000))
    report = lake.ok(lake.table, "id,ts,v\n" + body, partition_by="day(ts), bucket(2, id)", sort_by="v desc, id")
    assert report["created"] and len(report["files"]) == 6
    table = lake.load(lake.table)
    assert [str(field.transform) for field in table.spec().fields] == ["day", "bucket[2]"]
    assert [(str(field.transform), str(field.direction)) for field in table.sort_order().fields] == [("identity", "DESC"), ("identity", "ASC")]
    assert table.properties["lakehouse.expire-snapshots"] == "true"
    lake.check_partitions(lake.table)
    for task in table.scan().plan_files():
        assert task.file.sort_order_id == table.sort_order().order_id
        with table.io.new_input(task.file.file_path).open() as file:
            rows = [(row["v"], row["id"]) for row in pq.read_table(io.BytesIO(file.read())).to_pylist()]
        assert rows == sorted(sorted(rows, key=lambda row: row[1]), key=lambda row: row[0], reverse=True)
    lake.ok(lake.table, "id,ts,v\n7,2025-01-01T00:00:00,x\n", partition_by="day(ts),bucket(2,id)")
    assert "in another way" in lake.refused(lake.table, "id,ts,v\n8,2025-01-01T00:00:00,x\n", status=409, partition_by="day(ts)")
    assert "sorted in another way" in lake.refused(lake.table, "id,ts,v\n8,2025-01-01T00:00:00,x\n", status=409, sort_by="id")
    for odd, word in [("week(ts)", "none of"), ("nix", "no column"), ("bucket(x)", "none of"), (",", "none of"), ("day(v)", "partition")]:
        assert word in lake.refused(lake.table + "x", "id,ts,v\n8,2025-01-01T00:00:00,x\n", partition_by=odd, status=400 if odd != "day(v)" else 501)
    assert lake.table + "x" not in lake.tables()


def test_a_sorted_table_gets_sorted_files(lake):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, v VARCHAR) SORTED BY (id)")
    rows = list(range(50000))
    random.Random(3).shuffle(rows)
    lake.ok(lake.table, "id,v\n" + "".join(f"{i},v{i}\n" for i in rows))
    lake.sql(f"INSERT INTO {lake.table} SELECT (i * 7919) % 5003, 'x' FROM range(5003) r(i)")
    lake.sql(f"UPDATE {lake.table} SET id = 60000 - id WHERE id % 3 = 0")
    lake.ok(lake.table, "id,v\n7,z\n5,y\n70000,w\n6,x\n", mode="upsert", key="id")
    table = lake.load(lake.table)
    assert len(lake.scanned(lake.table)) > 50000
    for task in table.scan().plan_files():
        assert task.file.sort_order_id == table.sort_order().order_id
        with table.io.new_input(task.file.file_path).open() as file:
            ids = pq.read_table(io.BytesIO(file.read())).column("id").to_pylist()
        assert ids == sorted(ids)


def test_columns_that_a_file_has_not_are_null_in_the_partition_too(lake):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, p VARCHAR, s STRUCT(a BIGINT, b VARCHAR)) PARTITIONED BY (p, s.b)")
    lake.lines(lake.table, {"id": 1}, {"id": 2})
    lake.lines(lake.table, {"id": 3, "s": {"a": 1, "b": "x"}, "p": "q"}, {"id": 4, "s": None})
    assert sorted((row["id"], row["p"]) for row in lake.scanned(lake.table)) == [(1, None), (2, None), (3, "q"), (4, None)]
    assert lake.rows(f"SELECT id FROM {lake.table} WHERE s.b = 'x'") == [[3]]
    assert len(lake.load(lake.table).inspect.files()) == 3


def test_the_current_spec_counts(lake):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, d DATE) PARTITIONED BY (d)")
    lake.ok(lake.table, "id,d\n1,2024-01-01\n2,2024-02-01\n")
    lake.sql(f"ALTER TABLE {lake.table} SET PARTITIONED BY (bucket(4, id), month(d))")
    lake.ok(lake.table, "id,d\n3,2024-01-01\n4,2024-02-01\n5,\n")
    table = lake.load(lake.table)
    assert {task.file.spec_id for task in table.scan().plan_files()} == {0, table.spec().spec_id}
    rows = lake.check_partitions(lake.table)
    assert sorted(row["id"] for row in rows) == [1, 2, 3, 4, 5]
    assert lake.rows(f"SELECT id FROM {lake.table} WHERE d < '2024-02-01' ORDER BY 1") == [[1], [3]]


def test_three_hundred_partitions(lake):
    lake.sql(f"CREATE TABLE {lake.table} (p INTEGER, v BIGINT) PARTITIONED BY (p)")
    body = "p,v\n" + "".join(f"{i * 7919 % 300},{i}\n" for i in range(60000))
    report = lake.ok(lake.table, body)
    assert report["rows"] == 60000 and 300 <= len(report["files"]) <= 330
    assert lake.rows(f"SELECT count(*), sum(v), count(DISTINCT p) FROM {lake.table}") == [[60000, sum(range(60000)), 300]]
    assert len(lake.scanned(lake.table)) == 60000
    lake.sql(f"INSERT INTO {lake.table} SELECT v % 300, v FROM {lake.table}")
    assert len(lake.check_partitions(lake.table)) == 120000


def test_bad_rows_types_and_evolution_go_together_with_partitions(lake):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT, zip VARCHAR) PARTITIONED BY (truncate(2, zip))")
    report = lake.ok(lake.table, "id,zip,extra\n1,00501,a\nx,10001,b\n3,10002,c,d\n4,20001,e\n", types="id:long,zip:string", on_error="skip", evolve="true")
    assert report["rows"] == 2 and report["skipped"]["count"] == 2
    assert sorted((row["zip"], row["extra"]) for row in lake.check_partitions(lake.table)) == [("00501", "a"), ("20001", "e")]
    lake.ok(lake.table, "id,zip\n" + "".join(f"{i},{i:05d}\n" for i in range(30000)) + "30000,late\n")
    assert len(lake.check_partitions(lake.table)) == 30003


def test_many_at_once_share_commits(lake):
    from concurrent.futures import ThreadPoolExecutor

    lake.sql(f"CREATE TABLE {lake.table} (p INTEGER, v BIGINT) PARTITIONED BY (p)")
    bodies = [f"p,v\n{i % 3},{i}\n{(i + 1) % 3},{i + 1000}\n" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda body: lake.ok(lake.table, body), bodies + bodies))
    assert sum(report["deduplicated"] for report in reports) == 24
    assert sorted(row["v"] for row in lake.check_partitions(lake.table)) == sorted([i for i in range(24)] + [i + 1000 for i in range(24)])


def test_required_columns_have_values(lake):
    lake.sql(f"CREATE TABLE {lake.table} (id BIGINT NOT NULL, v VARCHAR)")
    assert "NOT NULL" in lake.refused(lake.table, "id,v\n1,a\n,b\n")
    assert "NOT NULL" in lake.refused(lake.table, parquet(pa.table({"id": [1, None], "v": ["a", "b"]})))
    lake.ok(lake.table, "id,v\n1,a\n2,\n")
    assert len(lake.scanned(lake.table)) == 2


def test_values_that_cannot_be_a_partition_are_refused_alone(lake):
    lake.sql(f"CREATE TABLE {lake.table} (x DOUBLE) PARTITIONED BY (x)")
    lake.ok(lake.table, "x\n1.5\n")
    lake.refused(lake.table, parquet(pa.table({"x": [float("nan"), 2.5]})), status=501)
    assert lake.scanned(lake.table) == [{"x": 1.5}]


def test_create_table_as_with_partitions_order_and_properties(lake):
    t = lake.table
    assert lake.sql(f"CREATE TABLE {t} PARTITIONED BY (bucket(4, id), month(d)) SORTED BY (s) WITH ('write.delete.mode'='merge-on-read') AS SELECT i AS id, DATE '2024-01-01' + CAST(i % 60 AS INTEGER) AS d, 's' || (i * 7919 % 1000) AS s FROM range(1000) r(i)")["rows"][0][0] == 1000
    table = lake.load(t)
    assert [str(field.transform) for field in table.spec().fields] == ["bucket[4]", "month"]
    assert table.properties["write.delete.mode"] == "merge-on-read"
    assert len(lake.check_partitions(t)) == 1000
    for task in table.scan().plan_files():
        assert task.file.sort_order_id == 1
        with table.io.new_input(task.file.file_path).open() as file:
            texts = pq.read_table(io.BytesIO(file.read())).column("s").to_pylist()
        assert texts == sorted(texts)
    lake.sql(f"CREATE TABLE IF NOT EXISTS {t} PARTITIONED BY (id) AS SELECT 1 AS id")
    lake.sql(f"CREATE TABLE {t} PARTITIONED BY (id) AS SELECT 1 AS id", 409)
    lake.sql(f"CREATE TABLE {t}e PARTITIONED BY (id) AS SELECT 1 AS id WHERE false")
    assert lake.scanned(t + "e") == [] and len(lake.load(t + "e").spec().fields) == 1
    lake.sql(f"CREATE TABLE {t}x PARTITIONED BY (nix) AS SELECT 1 AS id", 400)
    lake.sql(f"CREATE TABLE {t}x WITH ('format-version'='3') AS SELECT 1 AS id", 400)
    assert t + "x" not in lake.tables()


def test_tables_that_another_program_has_made(lake):
    from partitioning import append
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
    from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform
    from pyiceberg.types import LongType, NestedField, StringType, TimestampType

    schema = Schema(NestedField(11, "id", LongType()), NestedField(12, "t", TimestampType()), NestedField(13, "s", StringType()))
    spec = PartitionSpec(PartitionField(12, 1000, DayTransform(), "t_day"), PartitionField(13, 1001, TruncateTransform(1), "odd name"))
    order = SortOrder(SortField(11, BucketTransform(3), SortDirection.DESC, NullOrder.NULLS_LAST), SortField(13, IdentityTransform()))
    name = "main." + lake.table
    lake.lines("main_is_there", {"a": 1})
    table = lake.catalog.create_table(name, schema, partition_spec=spec, sort_order=order, properties={"write.merge.mode": "merge-on-read"})
    stamp = lambda i: datetime.datetime(2024, 1, 1 + i % 3, i % 24)
    append(table, [{"id": i, "t": stamp(i), "s": "xyz"[i % 3]} for i in range(30)])
    report = lake.lines(lake.table, *[{"id": i, "t": stamp(i).isoformat(), "s": "xyz"[i % 3] + str(i)} for i in range(30, 90)])
    assert report["rows"] == 60
    assert sum(bool(task.file.sort_order_id) for task in lake.load(lake.table).scan().plan_files()) == len(report["files"])
    for task in lake.load(lake.table).scan().plan_files():
        with table.io.new_input(task.file.file_path).open() as file:
            rows = pq.read_table(io.BytesIO(file.read())).to_pylist()
        if task.file.sort_order_id:
            bucket = BucketTransform(3).transform(LongType())
            assert [(-bucket(row["id"]), row["s"]) for row in rows] == sorted((-bucket(row["id"]), row["s"]) for row in rows)
    assert len(lake.check_partitions(lake.table)) == 90
    lake.lines(lake.table, *[{"id": i, "t": stamp(i + 1).isoformat(), "s": "moved"} for i in range(20, 40)], mode="upsert", key="id")
    assert sorted(row["id"] for row in lake.scanned(lake.table)) == list(range(90))
    assert sorted(row["id"] for row in lake.scanned(lake.table) if row["s"] == "moved") == list(range(20, 40))
    lake.lines(lake.table, {"id": 1, "t": None, "s": None}, mode="overwrite")
    assert lake.scanned(lake.table) == [{"id": 1, "t": None, "s": None}]
    old = lake.catalog.create_table(name + "_v1", schema, properties={"format-version": "1"})
    assert old.format_version == 1
    for mode, more in (("append", {}), ("overwrite", {}), ("upsert", {"key": "id"})):
        assert "version 1" in lake.refused(lake.table + "_v1", '{"id":1}\n', mode=mode, **more)
