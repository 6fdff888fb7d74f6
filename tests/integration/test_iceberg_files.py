"""Iceberg files that we write are read by PyIceberg and by an independent Avro reader, and the other way round.

The C side is the unit test program `iceberg/test_files`, which can be called with commands.
"""

import datetime
import decimal
import json
import os
import pathlib
import struct
import subprocess

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import EqualTo, GreaterThan, IsNull, LessThan, NotNull
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile,
                                write_manifest, write_manifest_list)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (DateType, DecimalType, DoubleType, FloatType, ListType, LongType, MapType, NestedField, StringType, StructType,
                             TimestamptzType, UUIDType)

ROOT = pathlib.Path(__file__).resolve().parents[2]
UTC = datetime.timezone.utc

# name, Iceberg type, Arrow type, lowest value, highest value, and both as an SQL engine prints them
COLUMNS = [
    ("flag", "boolean", pa.bool_(), False, True, "false", "true"),
    ("small", "int", pa.int32(), -5, 2**31 - 1, "-5", "2147483647"),
    ("big", "long", pa.int64(), -(2**63), 2**53 + 1, "-9223372036854775808", "9007199254740993"),
    ("single", "float", pa.float32(), -0.0, 1.5, "-0.0", "1.5"),
    ("real", "double", pa.float64(), -1e300, 0.1, "-1e300", "0.1"),
    ("day", "date", pa.date32(), datetime.date(1, 1, 1), datetime.date(2024, 2, 29), "0001-01-01", "2024-02-29"),
    ("clock", "time", pa.time64("us"), datetime.time(0, 0), datetime.time(23, 59, 59, 999999), "00:00:00", "23:59:59.999999"),
    ("at", "timestamp", pa.timestamp("us"), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
     "1969-12-31 23:59:59.999999", "2024-01-02 03:04:05.000006"),
    ("zoned", "timestamptz", pa.timestamp("us", tz="UTC"), datetime.datetime(2024, 1, 1, tzinfo=UTC), datetime.datetime(2024, 7, 1, 12, tzinfo=UTC),
     "2024-01-01 01:00:00+01", "2024-07-01 12:00:00+00"),
    ("text", "string", pa.string(), "Abel", "züricher seeuferweg", "Abel", "züricher seeuferweg"),
    ("price", "decimal(9, 2)", pa.decimal128(9, 2), decimal.Decimal("-1.29"), decimal.Decimal("1.28"), "-1.29", "1.28"),
    ("huge", "decimal(38, 0)", pa.decimal128(38, 0), decimal.Decimal("-" + "9" * 38), decimal.Decimal("9" * 38), "-" + "9" * 38, "9" * 38),
    ("blob", "binary", pa.binary(), b"\x00\xff", b"\xff\x01", "00FF", "FF01"),
]


def ours(*args):
    build = pathlib.Path(os.environ.get("LAKEHOUSE_BUILD", ROOT / "build"))
    program = build / "tests" / "iceberg" / "test_files"
    assert program.exists(), f"{program} is not built"
    done = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def write_parquet(path):
    fields = [pa.field(name, arrow, metadata={"PARQUET:field_id": str(i + 1)}) for i, (name, _, arrow, *_) in enumerate(COLUMNS)]
    data = [pa.array([low, high], type=arrow) for _, _, arrow, low, high, *_ in COLUMNS]
    pq.write_table(pa.Table.from_arrays(data, schema=pa.schema(fields)), path)


@pytest.fixture(params=["write", "write-deflate"])
def table(request, tmp_path):
    """A StaticTable over files that our C code wrote, with one Parquet file of two rows."""
    data = tmp_path / "data.parquet"
    write_parquet(data)
    args = [part for name, kind, _, _, _, low, high in COLUMNS for part in (name, json.dumps(kind), low, high)]
    ours(request.param, tmp_path, f"file://{data}", 2, data.stat().st_size, *args)
    return StaticTable.from_metadata(str(tmp_path / "v1.metadata.json"))


def test_pyiceberg_reads_the_metadata_we_write(table):
    assert table.format_version == 2
    snapshot = table.current_snapshot()
    assert snapshot.sequence_number == 1 and snapshot.snapshot_id < 2**53
    assert snapshot.summary.operation.value == "append"
    assert snapshot.summary["total-records"] == "2" and snapshot.summary["total-data-files"] == "1"
    assert [str(field.field_type) for field in table.schema().fields] == [kind for _, kind, *_ in COLUMNS]
    assert table.spec().is_unpartitioned() and table.sort_order().is_unsorted


def test_pyiceberg_reads_our_manifest_list_and_manifest(table):
    manifests = table.current_snapshot().manifests(table.io)
    assert len(manifests) == 1
    assert manifests[0].added_files_count == 1 and manifests[0].added_rows_count == 2
    assert manifests[0].sequence_number == 1 and manifests[0].added_snapshot_id == table.current_snapshot().snapshot_id
    entry = manifests[0].fetch_manifest_entry(table.io)[0]
    assert entry.snapshot_id == table.current_snapshot().snapshot_id and entry.sequence_number == 1
    file = entry.data_file
    assert file.record_count == 2 and file.file_format.value == "PARQUET"
    assert file.column_sizes[1] == 100 and file.value_counts[3] == 2 and file.null_value_counts[13] == 0
    assert set(file.nan_value_counts) == {4, 5}


def test_pyiceberg_decodes_our_bounds_to_the_values_they_came_from(table):
    file = table.current_snapshot().manifests(table.io)[0].fetch_manifest_entry(table.io)[0].data_file
    epoch = datetime.datetime(1970, 1, 1)

    def number(value):
        if isinstance(value, datetime.datetime):
            return (value.replace(tzinfo=None) - epoch) // datetime.timedelta(microseconds=1)
        if isinstance(value, datetime.date):
            return (value - epoch.date()).days
        if isinstance(value, datetime.time):
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
        return value

    for field, (name, kind, _, low, high, *_) in zip(table.schema().fields, COLUMNS):
        lower = from_bytes(field.field_type, file.lower_bounds[field.field_id])
        upper = from_bytes(field.field_type, file.upper_bounds[field.field_id])
        if kind == "string":
            assert lower == "Abel" and upper == "züricher seeufes"
        elif kind == "float":
            assert struct.pack("<f", lower) == b"\0\0\0\x80" and upper == 1.5
        else:
            assert (lower, upper) == (number(low), number(high)), name


def test_pyiceberg_prunes_by_our_bounds_and_never_too_much(table):
    def planned(row_filter):
        return len(list(table.scan(row_filter=row_filter).plan_files()))

    assert planned(EqualTo("small", -5)) == 1 and planned(LessThan("small", -5)) == 0
    assert planned(EqualTo("text", "züricher seeuferweg")) == 1 and planned(GreaterThan("text", "züricher seeufes")) == 0
    assert planned(EqualTo("day", datetime.date(1, 1, 1))) == 1 and planned(GreaterThan("day", datetime.date(2024, 2, 29))) == 0
    assert planned(EqualTo("price", decimal.Decimal("-1.29"))) == 1 and planned(GreaterThan("price", decimal.Decimal("1.28"))) == 0
    assert planned(LessThan("single", 0.0)) == 0 and planned(EqualTo("single", 0.0)) == 1
    assert planned(IsNull("big")) == 0 and planned(NotNull("big")) == 1
    assert planned(EqualTo("flag", True)) == 1


def test_pyiceberg_scans_the_rows(table):
    rows = table.scan().to_arrow()
    for name, _, _, low, high, *_ in COLUMNS:
        assert rows[name].to_pylist() == [low, high]


def test_an_independent_avro_reader_reads_our_files(table, tmp_path):
    with open(tmp_path / "manifest.avro", "rb") as file:
        reader = fastavro.reader(file)
        entries = list(reader)
    meta = reader.metadata
    assert {"schema", "schema-id", "partition-spec", "partition-spec-id", "format-version", "content", "avro.codec"} <= set(meta)
    assert meta["content"] == "data" and meta["format-version"] == "2" and json.loads(meta["partition-spec"]) == []
    assert [field["name"] for field in json.loads(meta["schema"])["fields"]] == [name for name, *_ in COLUMNS]
    assert entries[0]["status"] == 1 and entries[0]["snapshot_id"] is None and entries[0]["sequence_number"] is None
    assert entries[0]["data_file"]["value_counts"][0] == {"key": 1, "value": 2}
    assert entries[0]["data_file"]["partition"] == {}
    with open(tmp_path / "list.avro", "rb") as file:
        reader = fastavro.reader(file)
        rows = list(reader)
    assert reader.metadata["parent-snapshot-id"] == "null" and reader.metadata["sequence-number"] == "1"
    assert rows[0]["manifest_length"] == (tmp_path / "manifest.avro").stat().st_size


def check_ids(schema):
    """Every record field has a field-id, every list an element-id, every optional field a null default."""
    if isinstance(schema, list):
        for branch in schema:
            check_ids(branch)
    elif isinstance(schema, dict) and schema["type"] == "record":
        for field in schema["fields"]:
            assert isinstance(field["field-id"], int), field
            assert not isinstance(field["type"], list) or ("default" in field and field["default"] is None), field
            check_ids(field["type"])
    elif isinstance(schema, dict) and schema["type"] == "array":
        assert schema.get("logicalType") == "map" or isinstance(schema["element-id"], int), schema
        check_ids(schema["items"])


def test_avro_schemas_have_all_attributes(table, tmp_path):
    for name in ("manifest.avro", "list.avro"):
        with open(tmp_path / name, "rb") as file:
            check_ids(json.loads(fastavro.reader(file).metadata["avro.schema"]))


# ---- the other way round ----

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=False), NestedField(2, "day", DateType(), required=False),
    NestedField(3, "name", StringType(), required=False), NestedField(4, "price", DecimalType(9, 2), required=False),
    NestedField(5, "real", DoubleType(), required=False))
DAY = 19723  # 2024-01-01; the writer wants days
SPECS = {  # and a partition for each of three files
    "none": (PartitionSpec(spec_id=0), [Record(), Record(), Record()]),
    "identity": (PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "name"), spec_id=1), [Record("a"), Record(None), Record("é")]),
    "odd-name": (PartitionSpec(PartitionField(3, 1000, IdentityTransform(), "1na-me é"), spec_id=2), [Record("a"), Record(None), Record("")]),
    "many": (PartitionSpec(PartitionField(2, 1000, DayTransform(), "day_day"), PartitionField(1, 1001, BucketTransform(8), "id_bucket"),
                           PartitionField(3, 1002, TruncateTransform(1), "name_trunc"), PartitionField(4, 1003, IdentityTransform(), "price"),
                           PartitionField(5, 1004, IdentityTransform(), "real"), spec_id=3),
             [Record(DAY, 3, "a", decimal.Decimal("1.20"), 1.5), Record(None, None, None, None, None),
              Record(DAY, 7, "z", decimal.Decimal("-99.00"), -0.0)]),
}
IO = PyArrowFileIO()


def local(path):
    return path.removeprefix("file://")


def data_file(number, partition):
    return DataFile.from_args(
        content=DataFileContent.DATA, file_path=f"s3://lake/data/{number}.parquet", file_format=FileFormat.PARQUET, partition=partition,
        record_count=10 + number, file_size_in_bytes=2**33 + number, column_sizes={1: 8, 5: 9}, value_counts={1: 10, 2: 10},
        null_value_counts={2: 1}, nan_value_counts={5: 2} if number else {}, lower_bounds={1: struct.pack("<q", -number), 3: b"a"},
        upper_bounds={1: struct.pack("<q", number)}, key_metadata=None, split_offsets=[4, 2**32 + number] if number else None,
        equality_ids=None, sort_order_id=1 if number == 2 else None)


def their_manifest(path, version, spec, partitions, codec):
    """A manifest of three files by PyIceberg: added, existing, deleted."""
    entry_args = {"snapshot_id": 7, "sequence_number": 5, "file_sequence_number": 4}
    with write_manifest(version, spec, SCHEMA, IO.new_output(str(path)), 9, codec) as writer:
        files = [data_file(number, partition) for number, partition in enumerate(partitions)]
        writer.add(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=9, data_file=files[0]))
        writer.existing(ManifestEntry.from_args(status=ManifestEntryStatus.EXISTING, data_file=files[1], **entry_args))
        writer.delete(ManifestEntry.from_args(status=ManifestEntryStatus.DELETED, data_file=files[2], **entry_args))
    return writer.to_manifest_file()


def as_dict(columns, key):
    return {column["id"]: column[key] for column in columns if column.get(key, -1) != -1}


@pytest.mark.parametrize("codec", ["deflate", "null", "zstandard"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", SPECS)
def test_we_read_manifests_of_pyiceberg(tmp_path, name, version, codec):
    spec, partitions = SPECS[name]
    path = tmp_path / "manifest.avro"
    their_manifest(path, version, spec, partitions, codec)
    assert b"avro.codec" + bytes([2 * len(codec)]) + codec.encode() in path.read_bytes()
    files = ours("manifest", path)
    assert [file["status"] for file in files] == [1, 0, 2]
    for number, file in enumerate(files):
        assert file["path"] == f"s3://lake/data/{number}.parquet" and file["format"] == "PARQUET" and file["content"] == 0
        assert (file["rows"], file["bytes"]) == (10 + number, 2**33 + number)
        assert file["sort_order_id"] == (1 if number == 2 else -1)
        assert file["split_offsets"] == ([4, 2**32 + number] if number else [])
        assert ("partition" in file) == bool(spec.fields)
        columns = file["columns"]
        assert as_dict(columns, "size") == {1: 8, 5: 9} and as_dict(columns, "values") == {1: 10, 2: 10}
        assert as_dict(columns, "nulls") == {2: 1} and as_dict(columns, "nans") == ({5: 2} if number else {})
        assert as_dict(columns, "lower") == {1: struct.pack("<q", -number).hex(), 3: "61"}
        assert as_dict(columns, "upper") == {1: struct.pack("<q", number).hex()}
    assert files[0]["snapshot_id"] == 9
    assert files[1]["snapshot_id"] == 7
    if version == 2:
        assert [file["sequence_number"] for file in files] == [41, 5, 5]  # 41 is what the program gives to inherit


@pytest.mark.parametrize("codec", ["deflate", "null", "zstandard"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", SPECS)
def test_we_read_manifest_lists_of_pyiceberg(tmp_path, name, version, codec):
    spec, partitions = SPECS[name]
    manifest = their_manifest(tmp_path / "manifest.avro", version, spec, partitions, codec)
    path = tmp_path / "list.avro"
    with write_manifest_list(version, IO.new_output(str(path)), 9, 7, 6, codec) as writer:
        writer.add_manifests([manifest])
    row, = ours("list", path)
    assert row["path"] == manifest.manifest_path and row["length"] == manifest.manifest_length
    assert row["spec"] == spec.spec_id and row["content"] == 0 and row["snapshot_id"] == 9
    assert (row["sequence_number"], row["min_sequence_number"]) == ((6, 5) if version == 2 else (0, 0))
    assert [row[kind + "_files"] for kind in ("added", "existing", "deleted")] == [1, 1, 1]
    assert [row[kind + "_rows"] for kind in ("added", "existing", "deleted")] == [10, 11, 12]
    assert len(row["partitions"]) == len(spec.fields)
    for ours_part, theirs in zip(row["partitions"], manifest.partitions or []):
        assert ours_part["contains_null"] == theirs.contains_null
        assert ours_part["contains_nan"] == {None: -1, False: 0, True: 1}[theirs.contains_nan]
        assert bytes.fromhex(ours_part.get("lower", "")) == (theirs.lower_bound or b"")
        assert bytes.fromhex(ours_part.get("upper", "")) == (theirs.upper_bound or b"")


@pytest.mark.parametrize("name", SPECS)
def test_pyiceberg_reads_our_copy_of_its_partitioned_manifest(tmp_path, name):
    spec, partitions = SPECS[name]
    path = tmp_path / "manifest.avro"
    manifest = their_manifest(path, 2, spec, partitions, "deflate")
    copy = tmp_path / "copy.avro"
    ours("carry", path, copy, spec.spec_id)
    moved = ManifestFile.from_args(
        manifest_path=str(copy), manifest_length=copy.stat().st_size, partition_spec_id=spec.spec_id, content=ManifestContent.DATA,
        sequence_number=50, min_sequence_number=5, added_snapshot_id=51, added_files_count=0, existing_files_count=3, deleted_files_count=0,
        added_rows_count=0, existing_rows_count=33, deleted_rows_count=0)
    manifest.sequence_number = 41
    before = manifest.fetch_manifest_entry(IO, discard_deleted=False)
    after = moved.fetch_manifest_entry(IO, discard_deleted=False)
    assert len(after) == len(before) == 3
    for old, new, partition in zip(before, after, partitions):
        assert new.status == ManifestEntryStatus.EXISTING and new.snapshot_id == old.snapshot_id
        assert new.sequence_number == old.sequence_number
        for member in ("file_path", "record_count", "file_size_in_bytes", "lower_bounds", "upper_bounds", "value_counts", "split_offsets", "sort_order_id"):
            assert (getattr(new.data_file, member) or None) == (getattr(old.data_file, member) or None), member
        assert list(new.data_file.partition) == list(old.data_file.partition) or spec.fields
        assert repr(new.data_file.partition) == repr(old.data_file.partition)
    with open(copy, "rb") as file:
        reader = fastavro.reader(file)
        assert len(list(reader)) == 3
    check_ids(json.loads(reader.metadata["avro.schema"]))
    assert [field["name"] for field in json.loads(reader.metadata["partition-spec"])] == [field.name for field in spec.fields]


def test_we_read_and_edit_metadata_of_pyiceberg_without_loss(tmp_path):
    nested = Schema(
        NestedField(1, "id", LongType(), required=True, doc="the key"),
        NestedField(2, "tags", ListType(3, StringType(), element_required=False), required=False),
        NestedField(4, "map", MapType(5, StringType(), 6, DoubleType(), value_required=False), required=False),
        NestedField(7, "point", StructType(NestedField(8, "x", FloatType(), required=False), NestedField(9, "u", UUIDType(), required=False)), required=False),
        NestedField(10, "at", TimestamptzType(), required=False),
        identifier_field_ids=[1])
    metadata = new_table_metadata(
        schema=nested, partition_spec=PartitionSpec(PartitionField(1, 1000, BucketTransform(4), "b")),
        sort_order=SortOrder(SortField(1, IdentityTransform(), direction=SortDirection.DESC, null_order=NullOrder.NULLS_LAST)),
        location="s3://lake/t", properties={"owner": "é\"x"})
    path = tmp_path / "v1.metadata.json"
    path.write_text(metadata.model_dump_json())
    seen = ours("metadata", path)
    assert seen["location"] == "s3://lake/t" and seen["current"] == -1
    assert json.loads(seen["spec"])[0]["transform"] == "bucket[4]"
    assert Schema.model_validate(seen["schema"]) == metadata.schema()
    touched = tmp_path / "v2.metadata.json"
    ours("touch", path, touched)
    before = json.loads(path.read_text())
    after = json.loads(touched.read_text())
    assert after["properties"].pop("touched") == "yes"
    assert after == before
    again = StaticTable.from_metadata(str(touched))
    assert again.schema() == metadata.schema() and again.sort_order() == metadata.sort_order() and again.properties["touched"] == "yes"
