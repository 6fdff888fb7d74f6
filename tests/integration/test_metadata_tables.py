"""Metadata tables by SQL, `t$files` and its like: the same rows as PyIceberg's `table.inspect`, for tables that either has written."""

import datetime
import decimal
import json

import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, MonthTransform, TruncateTransform, YearTransform
from pyiceberg.types import DateType, DecimalType, DoubleType, IntegerType, ListType, LongType, NestedField, StringType, StructType, TimestampType, TimestamptzType

import conftest
import partitioning
import row_deletes as deletes

KINDS = ("data_files", "delete_files", "entries", "files", "history", "manifests", "partitions", "refs", "snapshots")


class Lake:
    def __init__(self, server):
        self.url = server.url
        self.catalog = load_catalog("lake", type="rest", uri=server.url + "/iceberg")
        self.catalog.create_namespace_if_not_exists("main")

    def ingest(self, name, text):
        answer = requests.post(self.url + "/v1/ingest", params={"name": name}, data=text, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text

    def ask(self, sql):
        return requests.post(self.url + "/v1/sql", json={"sql": sql}, timeout=60)

    def rows(self, sql):
        answer = self.ask(sql)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    def error(self, sql):
        answer = self.ask(sql)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def lake(shared_server):
    return Lake(shared_server)


# --- PyIceberg's rows as ours are in JSON ---

def plain(value, kind):
    """A value of a column of `kind` as the JSON of /v1/sql has it."""
    if value is None:
        return None
    if pa.types.is_dictionary(kind):
        return plain(value, kind.value_type)
    if pa.types.is_struct(kind):
        return {field.name: plain(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        pairs = [[plain(key, kind.key_type), plain(inner, kind.item_type)] for key, inner in value]
        return dict(pairs) if pa.types.is_string(kind.key_type) else [{"key": key, "value": inner} for key, inner in sorted(pairs)] or None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [plain(inner, kind.value_type) for inner in value]
    if pa.types.is_timestamp(kind):
        text = value.replace(tzinfo=None).isoformat()
        return text + "Z" if kind.tz or kind.unit == "ms" else text
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        import base64
        return base64.b64encode(value).decode()
    return value


def peer_rows(table):
    return [{field.name: plain(row[field.name], field.type) for field in table.schema} for row in table.to_pylist()]


def tidy(row):
    """What the two write differently and mean alike: maps in order, no list as an empty one, moments without their zeros."""
    if isinstance(row, dict):
        return {key: tidy(value) for key, value in sorted(row.items())}
    if isinstance(row, list):
        if row and all(isinstance(item, dict) and set(item) == {"key", "value"} for item in row):
            return sorted((tidy(item) for item in row), key=lambda item: item["key"])
        return [tidy(item) for item in row] or None
    if isinstance(row, str) and len(row) > 19 and row[4] == "-" and row[10:11] == "T":
        end = "Z" if row.endswith("Z") else ""
        body = row.removesuffix("Z")
        return (body.rstrip("0").rstrip(".") if "." in body else body) + end
    return row


def compare(lake, name, table, kind, peer=None):
    """Our rows are PyIceberg's, in every column that it has; nested columns have no metrics there."""
    theirs = peer_rows(getattr(table.inspect, kind)() if peer is None else peer)
    ours = lake.rows(f'SELECT * FROM "{name}${kind}"')
    flat = {field.name for field in table.schema().fields if field.field_type.is_primitive}
    for row in theirs:
        for column in [column for column in ("partition",) if row.get(column) == {}]:
            del row[column]
        if isinstance(row.get("data_file"), dict) and row["data_file"].get("partition") == {}:
            del row["data_file"]["partition"]
    for row in [*ours, *theirs]:
        if isinstance(row.get("readable_metrics"), dict):
            row["readable_metrics"] = {key: value for key, value in row["readable_metrics"].items() if key in flat}
    if theirs:
        keys = set(theirs[0])
        extra = [key for key in keys if key not in (ours[0] if ours else {})]
        assert not extra, f"{kind}: columns that are missing: {extra}"
        ours = [{key: row[key] for key in keys} for row in ours]
        for row, other in zip(ours, theirs):
            if "data_file" in row:
                row["data_file"] = {key: value for key, value in row["data_file"].items() if key in other["data_file"]}
    order = lambda row: json.dumps(row, sort_keys=True, default=str)
    assert sorted(map(tidy, ours), key=order) == sorted(map(tidy, theirs), key=order), kind
    return ours


def compare_all(lake, name, table):
    for kind in ("snapshots", "history", "refs", "manifests"):
        compare(lake, name, table, kind)
    for kind in ("files", "data_files", "delete_files", "entries", "partitions"):
        compare(lake, name, table, kind)


# --- tables ---

def test_of_a_table_that_came_by_ingest(lake):
    for day in range(3):
        lake.ingest("birds", f"id,name,weight,seen\n{day},owl,{day}.5,2024-01-0{day + 1}\n7,,,2023-12-31\n")
    table = lake.catalog.load_table("main.birds")
    compare_all(lake, "birds", table)
    metrics = lake.rows("SELECT readable_metrics.seen.lower_bound AS low, readable_metrics.weight.null_value_count AS empty FROM birds$files ORDER BY file_path")
    assert {row["low"] for row in metrics} == {"2023-12-31"} and [row["empty"] for row in metrics] == [1, 1, 1]


WIDE = Schema(
    NestedField(1, "id", LongType(), required=True), NestedField(2, "name", StringType()), NestedField(3, "day", DateType()), NestedField(4, "at", TimestampType()),
    NestedField(5, "moment", TimestamptzType()), NestedField(6, "price", DecimalType(9, 2)), NestedField(7, "count", IntegerType()), NestedField(8, "weight", DoubleType()),
    NestedField(9, "place", StructType(NestedField(10, "x", DoubleType()), NestedField(11, "tags", ListType(12, StringType(), element_required=False)))))


def wide_rows(first, count):
    start = datetime.datetime(2023, 11, 30, 20)
    rows = []
    for i in range(first, first + count):
        at = start + datetime.timedelta(hours=7 * i)
        none = i % 11 == 5
        rows.append({"id": i, "name": None if none else ["owl", "wren", "émeu", "tit"][i % 4], "day": None if none else at.date(), "at": at,
                     "moment": at.replace(tzinfo=datetime.timezone.utc), "price": None if none else (decimal.Decimal(i * 7 - 50) / 4).quantize(decimal.Decimal("0.01")), "count": i - 5, "weight": i / 3,
                     "place": {"x": i * 1.5, "tags": ["a", None]}})
    return rows


def make_wide(lake, name, spec=PartitionSpec(), version="2", **properties):
    table = lake.catalog.create_table("main." + name, schema=WIDE, partition_spec=spec, properties={"format-version": version, **properties})
    for first in (0, 9):
        partitioning.append(table, wide_rows(first, 9))
    return table


def field(source, number, transform, name):
    return PartitionField(source_id=source, field_id=number, transform=transform, name=name)


SPECS = {
    "plain": (),
    "identity": (field(2, 1000, IdentityTransform(), "name"),),
    "dates": (field(3, 1000, IdentityTransform(), "day"), field(5, 1001, DayTransform(), "moment_day")),
    "bucket": (field(1, 1000, BucketTransform(4), "id_bucket"), field(2, 1001, BucketTransform(3), "name_bucket")),
    "truncate": (field(2, 1000, TruncateTransform(2), "name_trunc"), field(1, 1001, TruncateTransform(10), "id_trunc"), field(6, 1002, TruncateTransform(100), "price_trunc")),
    "times": (field(4, 1000, YearTransform(), "at_year"), field(5, 1001, MonthTransform(), "moment_month")),
    "decimal": (field(6, 1000, IdentityTransform(), "price"),),
}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("spec", SPECS)
def test_of_partitioned_tables(lake, spec, version):
    name = f"wide_{spec}_{version}"
    table = make_wide(lake, name, PartitionSpec(*SPECS[spec], spec_id=0), version)
    assert table.format_version == int(version)
    compare_all(lake, name, table)


def test_of_a_spec_that_changed(lake):
    table = make_wide(lake, "evolved", PartitionSpec(*SPECS["identity"]))
    with table.update_spec() as update:
        update.remove_field("name")
        update.add_field("at", MonthTransform(), "at_month")
        update.add_field("id", BucketTransform(4), "id_bucket")
    partitioning.append(table, wide_rows(30, 20))
    compare_all(lake, "evolved", table)
    found = lake.rows("SELECT spec_id, partition.name AS name, partition.at_month AS month, partition.id_bucket AS bucket, record_count AS n FROM evolved$files")
    assert {row["spec_id"] for row in found} == {0, 1} and sum(row["n"] for row in found) == 38
    assert all((row["month"] is None and row["bucket"] is None) if row["spec_id"] == 0 else (row["name"] is None and row["bucket"] in range(4)) for row in found)
    sums = lake.rows("SELECT partition, spec_id, record_count, file_count FROM evolved$partitions")
    assert sum(row["record_count"] for row in sums) == 38 and sum(row["file_count"] for row in sums) == len(found)


def test_of_deletes(lake):
    lake.ingest("gone", "id,name\n1,owl\n2,wren\n3,emu\n")
    table = lake.catalog.load_table("main.gone")
    path, = deletes.data_paths(table)
    deletes.commit(table, deletes.by_position(table, [(path, 1)]),
                   deletes.by_value(table, pa.table([pa.array(["emu"])], schema=pa.schema([deletes.field("name", pa.string(), 2)])), [2]))
    for kind in KINDS:
        if kind != "entries":  # PyIceberg's own fails on a file without statistics
            compare(lake, "gone", table, kind)
    assert lake.rows("SELECT content, count(*) AS n FROM gone$files GROUP BY content ORDER BY content") == [{"content": i, "n": 1} for i in range(3)]
    assert lake.rows("SELECT equality_ids FROM gone$delete_files WHERE content = 2") == [{"equality_ids": [2]}]
    found = lake.rows("SELECT record_count AS n, position_delete_record_count AS p, equality_delete_file_count AS e FROM gone$partitions")
    assert found == [{"n": 3, "p": 1, "e": 1}]


def test_of_overwritten_files(lake):
    table = make_wide(lake, "over", PartitionSpec(*SPECS["identity"]))
    table.delete("name = 'owl'")
    table.overwrite(pa.Table.from_pylist(wide_rows(50, 5), schema=table.schema().as_arrow()))
    compare_all(lake, "over", table)
    assert lake.rows("SELECT DISTINCT status FROM over$entries ORDER BY 1") != []


def test_of_branches_and_tags(lake):
    lake.ingest("refs", "id\n1\n")
    table = lake.catalog.load_table("main.refs")
    first = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(first, "v1", max_ref_age_ms=99999999).create_branch(first, "dev", max_snapshot_age_ms=5000000, min_snapshots_to_keep=3).commit()
    lake.ingest("refs", "id\n2\n")
    table = lake.catalog.load_table("main.refs")
    compare_all(lake, "refs", table)
    assert lake.rows("SELECT name, type, min_snapshots_to_keep AS keep FROM refs$refs ORDER BY name") == [
        {"name": "dev", "type": "BRANCH", "keep": 3}, {"name": "main", "type": "BRANCH", "keep": None}, {"name": "v1", "type": "TAG", "keep": None}]
    assert lake.rows("SELECT count(*) AS n FROM refs$files AT (VERSION => 'v1')") == [{"n": 1}]
    assert lake.rows(f"SELECT count(*) AS n, sum(record_count)::BIGINT AS rows FROM refs$files AT (VERSION => {first})") == [{"n": 1, "rows": 1}]
    assert lake.rows("SELECT count(*) AS n FROM refs$manifests AT (VERSION => 'dev')") == [{"n": 1}]
    table.manage_snapshots().rollback_to_snapshot(first).commit() if hasattr(table.manage_snapshots(), "rollback_to_snapshot") else None
    compare(lake, "refs", lake.catalog.load_table("main.refs"), "history")


def test_of_a_table_without_data(lake):
    table = lake.catalog.create_table("main.empty", schema=WIDE)
    for kind in KINDS:
        assert lake.rows(f'SELECT * FROM "empty${kind}"') == []
        assert lake.rows(f'SELECT count(*) AS n FROM "empty${kind}"') == [{"n": 0}]
    assert table.current_snapshot() is None


def test_of_many_files_in_pages(lake):
    schema = Schema(NestedField(1, "p", IntegerType()), NestedField(2, "v", LongType()))
    table = lake.catalog.create_table("main.many", schema=schema, partition_spec=PartitionSpec(field(1, 1000, IdentityTransform(), "p")))
    rows = [{"p": i, "v": i * 10} for i in range(1000)]
    for part in range(2):
        table.append(pa.Table.from_pylist([{"p": row["p"], "v": row["v"] + part} for row in rows], schema=table.schema().as_arrow()))
    compare(lake, "many", table, "files")
    compare(lake, "many", table, "partitions")
    assert lake.rows("SELECT count(*) AS n, count(DISTINCT file_path) AS m, sum(record_count)::BIGINT AS r FROM many$files") == [{"n": 2000, "m": 2000, "r": 2000}]
    assert lake.rows("SELECT count(*) AS n FROM many$files a JOIN many$files b USING (file_path)") == [{"n": 2000}]
    assert lake.rows("SELECT file_path IS NOT NULL AS x FROM many$files LIMIT 1") == [{"x": True}]


# --- names ---

def test_names(lake):
    lake.ingest("Named", "id\n1\n")
    lake.ingest("ns.t", "id\n1\n2\n")
    for name in ('named$files', '"Named$files"', 'main."NAMED$FILES"', 'Named$Files', 'lake.main.named$files'):
        assert lake.rows(f"SELECT record_count AS n FROM {name}") == [{"n": 1}], name
    for name in ('ns.t$files', 'ns."t$files"', '"ns"."t$files"'):
        assert lake.rows(f"SELECT record_count AS n FROM {name}") == [{"n": 2}], name
    assert [row["column_name"] for row in lake.rows("DESCRIBE named$refs")][:3] == ["name", "type", "snapshot_id"]
    assert lake.rows("SELECT f.record_count AS n, (SELECT count(*) FROM named) AS m FROM named$files f") == [{"n": 1, "m": 1}]
    assert not [row for row in lake.rows("SHOW TABLES") if "$" in row["name"]]


def test_a_bad_name_is_told_the_good_ones(lake):
    lake.ingest("bad", "id\n1\n")
    status, message = lake.error("SELECT * FROM bad$nothing")
    assert status == 400 and all("$" + kind in message for kind in KINDS), message
    for sql in ("SELECT * FROM nobody$files", 'SELECT * FROM "$files"', 'SELECT * FROM "bad$"'):
        assert lake.error(sql)[0] in (400, 404)
    assert lake.error("SELECT * FROM nobody$files")[0] == 404
    status, message = lake.error("SELECT * FROM bad$refs AT (VERSION => 'main')")
    assert status == 400 and "AT" in message
    assert lake.error("SELECT * FROM bad$files AT (VERSION => 77)")[0] == 404
    for sql in ("INSERT INTO bad$files VALUES (1)", "DELETE FROM bad$files", "DROP TABLE bad$files"):
        assert lake.error(sql)[0] == 404, sql
    for sql in ("SELECT * FROM lake_rows()", "SELECT * FROM lake_rows('bad$files')"):
        assert lake.error(sql)[0] == 400, sql


def test_a_table_of_that_name_comes_first(lake):
    lake.ingest("a", "id\n1\n")
    assert "file_path" in lake.rows('SELECT * FROM "a$files"')[0]
    lake.ingest("a$files", "id\n77\n")
    assert lake.rows('SELECT * FROM "a$files"') == [{"id": 77}]
    assert lake.rows('SELECT record_count AS n FROM "a$files$files"') == [{"n": 1}]
    assert lake.rows('SELECT record_count AS n FROM "a$data_files"') == [{"n": 1}]


def test_one_statement_sees_one_snapshot(lake):
    import threading
    lake.ingest("moving", "id\n1\n")
    stop = threading.Event()

    def write():
        i = 2
        while not stop.is_set():
            lake.ingest("moving", f"id\n{i}\n")
            i += 1
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            row, = lake.rows("SELECT (SELECT count(*) FROM moving) AS rows, (SELECT sum(record_count)::BIGINT FROM moving$files) AS told, "
                             "(SELECT sum(record_count)::BIGINT FROM moving$partitions) AS summed, (SELECT max(id) FROM moving) AS last")
            assert row["rows"] == row["told"] == row["summed"] == row["last"]
    finally:
        stop.set()
        writer.join()


def test_with_services_of_their_own(start, tmp_path):
    gateway, *_ = conftest.start_cluster(start, tmp_path / "data")
    lake = Lake(gateway)
    lake.ingest("far", "id,name\n1,owl\n2,wren\n")
    compare_all(lake, "far", lake.catalog.load_table("main.far"))
