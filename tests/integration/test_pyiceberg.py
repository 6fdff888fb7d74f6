"""PyIceberg reads tables that ingest made, from nothing but the metadata file that the catalogue names.

Rows are compared with what /v1/sql gives of the same table, and files with what the catalogue lists.
"""

import base64
import datetime
import decimal
import io
import json
import uuid

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from pyiceberg.expressions import (And, EqualTo, GreaterThan, GreaterThanOrEqual, In, IsNull, LessThan, NotEqualTo, NotNull, StartsWith)
from pyiceberg.table import StaticTable

UTC = datetime.timezone.utc


class Lake:
    def __init__(self, url):
        self.url = url

    def ingest(self, name, body, **query):
        answer = requests.post(self.url + "/v1/ingest", params={"name": name, **query}, data=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def manifest(self, name):
        answer = requests.get(f"{self.url}/v1/catalog/manifest/{name}", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sql(self, text):
        answer = requests.post(self.url + "/v1/sql", json={"sql": text}, timeout=60)
        assert answer.status_code == 200, answer.text
        # decimals keep every digit
        return json.loads(answer.text, parse_float=decimal.Decimal)["rows"]

    def table(self, name):
        return StaticTable.from_metadata(self.manifest(name)["metadata_location"])


@pytest.fixture
def lake(serve):
    return Lake(serve().url)


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def as_json(value):
    """A value of PyIceberg as /v1/sql writes it."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, (float, decimal.Decimal)):
        return decimal.Decimal(str(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        raise AssertionError(f"a pair: {value}")
    return [as_json(item) for item in value]


def scanned(table, maps=(), **scan):
    """Rows as /v1/sql writes them, in the order of their first column; Arrow gives a map as a list of pairs."""
    rows = [{name: dict(value) if name in maps and value is not None else value for name, value in row.items()}
            for row in table.scan(**scan).to_arrow().to_pylist()]
    return sorted(({name: as_json(value) for name, value in row.items()} for row in rows), key=lambda row: next(iter(row.values())))


def same_rows(lake, name, key, maps=(), skip=()):
    def kept(rows):
        return [{column: value for column, value in row.items() if column not in skip} for row in rows]
    ours = lake.sql(f"SELECT * FROM {name} ORDER BY {key}")
    theirs = scanned(lake.table(name), maps)
    assert kept(theirs) == kept(ours)
    return ours


CSV = """id,big,price,huge,ratio,day,at,zoned,yes,text
1,9007199254740993,1.10,12345678901234567890.5,0.5,2024-02-29,2024-01-02 03:04:05.000006,2024-01-02T03:04:05Z,true,"a ""quoted"", comma"
2,-9223372036854775808,-2.25,-0.1,-1.5e-300,0001-01-01,1969-12-31T23:59:59,1969-12-31T23:59:59.999999+01:00,false,züri 🏔
3,,,,,,,,,
"""


def test_a_csv_file_of_all_types(lake):
    lake.ingest("t", CSV.encode(), format="csv")
    table = lake.table("t")
    assert {field.name: str(field.field_type) for field in table.schema().fields} == {
        "id": "long", "big": "long", "price": "double", "huge": "decimal(38, 1)", "ratio": "double", "day": "date", "at": "timestamp",
        "zoned": "timestamptz", "yes": "boolean", "text": "string"}
    rows = same_rows(lake, "t", "id")
    assert rows[0]["big"] == 2**53 + 1 and rows[0]["huge"] == decimal.Decimal("12345678901234567890.5")
    assert rows[1]["zoned"] == "1969-12-31T22:59:59.999999Z" and rows[1]["text"] == "züri 🏔"
    assert set(rows[2].values()) == {3, None}


NDJSON = [
    {"id": 1, "n": 5, "x": 1.5, "s": {"name": "a", "deep": {"k": [1, 2]}}, "l": ["x", None, "z"], "ll": [[1], [], [2, 3]], "day": "2024-01-02", "yes": True},
    {"id": 2, "n": None, "x": 2, "s": {"name": None, "deep": {"k": []}}, "l": [], "ll": [], "day": None, "yes": False},
    {"id": 3, "n": 7, "x": None, "s": None, "l": None, "ll": None, "day": "1999-12-31", "yes": None},
]


def test_split_offsets_are_where_row_groups_begin(lake):
    lake.ingest("split", "a,b\n" + "".join(f"{i},text {i % 10}\n" for i in range(400_000)))
    table = lake.table("split")
    (file,) = [task.file for task in table.scan().plan_files()]
    with table.io.new_input(file.file_path).open() as stream:
        footer = pq.ParquetFile(stream).metadata
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    columns = [[group.column(i) for i in range(group.num_columns)] for group in groups]
    assert len(groups) > 1
    assert file.split_offsets == [min(c.dictionary_page_offset or c.data_page_offset for c in group) for group in columns]


def test_a_manifest_names_the_schema_that_it_was_written_under(lake):
    lake.ingest("t", b"a\n1\n")
    lake.ingest("t", b"a,b\n2,x\n", evolve="true")
    lake.ingest("t", b"a\n3\n")
    table = lake.table("t")
    schemas = {schema.schema_id: schema for schema in table.metadata.schemas}
    headers = []
    for manifest in table.current_snapshot().manifests(table.io):
        with table.io.new_input(manifest.manifest_path).open() as file:
            header = fastavro.reader(file).metadata
        headers.append(int(header["schema-id"]))
        assert [field["name"] for field in json.loads(header["schema"])["fields"]] == \
            [field.name for field in schemas[headers[-1]].fields]
        assert json.loads(header["schema"])["schema-id"] == headers[-1]
    assert sorted(headers) == [0, 1, 1]


def test_ndjson_with_nested_values(lake):
    lake.ingest("t", "\n".join(json.dumps(row) for row in NDJSON).encode())
    table = lake.table("t")
    assert {field.name: str(field.field_type) for field in table.schema().fields} == {
        "id": "long", "n": "long", "x": "double", "s": "struct<9: name: optional string, 10: deep: optional struct<11: k: optional list<long>>>",
        "l": "list<string>", "ll": "list<list<long>>", "day": "date", "yes": "boolean"}
    rows = same_rows(lake, "t", "id")
    assert rows[0]["s"] == NDJSON[0]["s"] and rows[0]["ll"] == [[1], [], [2, 3]] and rows[1]["l"] == [] and rows[2]["s"] is None


def every_type():
    """Each type that Parquet and Iceberg share, with nulls at each level."""
    def struct(**fields):
        return pa.struct(list(fields.items()))
    return pa.table({
        "id": pa.array([1, 2, 3], pa.int64()),
        "i": pa.array([-2**31, 2**31 - 1, None], pa.int32()),
        "small": pa.array([-128, 127, None], pa.int8()),
        "u32": pa.array([0, 2**32 - 1, None], pa.uint32()),
        "u64": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "f": pa.array([1.5, -0.25, None], pa.float32()),
        "d": pa.array([1e300, 5e-324, None], pa.float64()),
        "yes": pa.array([True, False, None]),
        "price": pa.array([decimal.Decimal("1.10"), decimal.Decimal("-9999999.99"), None], pa.decimal128(9, 2)),
        "huge": pa.array([decimal.Decimal("9" * 38), decimal.Decimal("-" + "9" * 38), None], pa.decimal128(38, 0)),
        "day": pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
        "at": pa.array([datetime.datetime(1900, 1, 1, 0, 0, 0, 1), datetime.datetime(2024, 2, 29, 12), None], pa.timestamp("us")),
        "zoned": pa.array([datetime.datetime(1900, 1, 1, tzinfo=UTC), datetime.datetime(2024, 7, 1, 12, tzinfo=UTC), None], pa.timestamp("us", "Europe/Zurich")),
        "text": pa.array(["", "züri 🏔" * 100, None]),
        "bin": pa.array([b"", b"\x00\xff" * 300, None]),
        "u": pa.array([uuid.UUID(int=1).bytes, uuid.UUID(int=2**128 - 1).bytes, None], pa.uuid()),
        "l": pa.array([[1, None], [], None], pa.list_(pa.int64())),
        "s": pa.array([{"x": 1, "y": {"z": "a"}}, {"x": None, "y": None}, None], struct(x=pa.int64(), y=struct(z=pa.string()))),
        "m": pa.array([[("a", 1.5), ("b", None)], [], None], pa.map_(pa.string(), pa.float64())),
        "ls": pa.array([[{"x": 1}, None], [], None], pa.list_(struct(x=pa.int32()))),
    })


def test_a_parquet_file_of_every_type(lake):
    lake.ingest("t", parquet(every_type()))
    kinds = {field.name: str(field.field_type) for field in lake.table("t").schema().fields}
    assert kinds["u32"] == "long" and kinds["u64"] == "decimal(20, 0)" and kinds["u"] == "uuid" and kinds["bin"] == "binary"
    assert kinds["price"] == "decimal(9, 2)" and kinds["zoned"] == "timestamptz" and kinds["m"] == "map<string, double>"
    # PyIceberg 0.12 makes an empty list of a list of structs that is NULL; Arrow shows that the file has it right
    file, = lake.table("t").scan().plan_files()
    assert pq.read_table(file.file.file_path.removeprefix("file://")).column("ls").to_pylist()[2] is None
    rows = same_rows(lake, "t", "id", maps=("m",), skip=("ls",))
    assert rows[0]["m"] == {"a": decimal.Decimal("1.5"), "b": None} and rows[1]["u64"] == 2**64 - 1
    assert rows[1]["u"] == "ffffffff-ffff-ffff-ffff-ffffffffffff" and rows[1]["ls"] == [] and rows[0]["ls"] == [{"x": 1}, None]
    assert set(rows[2].values()) == {3, None}


def test_three_appends_and_an_evolution(lake):
    """Added columns and widened types: files of before are read under the new schema, by both."""
    def batch(first, kinds, **more):
        ids = list(range(first, first + 10))
        return parquet(pa.table({
            "id": pa.array(ids, kinds["id"]), "x": pa.array([i + 0.5 for i in ids], kinds["x"]),
            "price": pa.array([decimal.Decimal(i) / 4 for i in ids], kinds["price"]),
            "s": pa.array([{"a": i, **{name: str(i) for name in more}} for i in ids], pa.struct([("a", kinds["id"]), *((name, pa.string()) for name in more)])),
            **{name: pa.array([f"{name} {i}" for i in ids]) for name in more}}))
    narrow = {"id": pa.int32(), "x": pa.float32(), "price": pa.decimal128(6, 2)}
    wide = {"id": pa.int64(), "x": pa.float64(), "price": pa.decimal128(18, 2)}
    snapshots = [lake.ingest("t", batch(first, narrow))["snapshot_id"] for first in (0, 10, 20)]
    before = lake.table("t")
    assert [str(before.schema().find_type(name)) for name in ("id", "x", "price")] == ["int", "float", "decimal(6, 2)"]
    lake.ingest("t", batch(2**40, wide, note=True), evolve="true")
    lake.ingest("t", batch(30, narrow))
    table = lake.table("t")
    assert [str(table.schema().find_type(name)) for name in ("id", "x", "price", "note", "s.note")] == ["long", "double", "decimal(18, 2)", "string", "string"]
    rows = same_rows(lake, "t", "id")
    assert len(rows) == 50 and rows[0] == {"id": 0, "x": decimal.Decimal("0.5"), "price": 0, "s": {"a": 0, "note": None}, "note": None}
    assert rows[-1]["note"] == f"note {2**40 + 9}" and rows[-1]["s"] == {"a": 2**40 + 9, "note": str(2**40 + 9)}
    # the past, as both see it
    for count, snapshot in zip((10, 20, 30), snapshots):
        assert len(scanned(table, snapshot_id=snapshot)) == count == lake.sql(f"SELECT count(*) AS n FROM t AT (VERSION => {snapshot})")[0]["n"]


COLUMNS = ("n", "x", "price", "day", "at", "zoned", "text", "yes")


def pruning_batch(i):
    """Every column's values lie in a range of their own for each file."""
    at = datetime.datetime(2020 + i, 1, 1)
    return pa.table({
        "n": pa.array([i * 100, i * 100 + 50, None], pa.int64()),
        "x": pa.array([i + 0.25, i + 0.75, None]),
        "price": pa.array([decimal.Decimal(i), decimal.Decimal(i) + decimal.Decimal("0.99"), None], pa.decimal128(9, 2)),
        "day": pa.array([at.date(), at.date() + datetime.timedelta(200), None]),
        "at": pa.array([at, at + datetime.timedelta(200), None], pa.timestamp("us")),
        "zoned": pa.array([at.replace(tzinfo=UTC), (at + datetime.timedelta(200)).replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "text": pa.array([f"{i}-a rather long text, the same for all files", f"{i}-z", None]),
        "yes": pa.array([i % 2 == 0, i % 2 == 0, None]),
    })


def test_a_filter_opens_only_the_files_that_can_match(lake):
    made = [lake.ingest("t", parquet(pruning_batch(i)))["files"][0]["key"] for i in range(5)]
    lake.ingest("t", parquet(pa.table({"n": pa.array([None, None], pa.int64())})))  # nothing but nulls, and no other column
    table = lake.table("t")

    def opened(row_filter):
        paths = [task.file.file_path for task in table.scan(row_filter=row_filter).plan_files()]
        return sorted(i for i, key in enumerate(made) for path in paths if path.endswith(key))

    assert opened(EqualTo("n", 250)) == [2] and opened(EqualTo("n", 260)) == [] and opened(GreaterThan("n", 250)) == [3, 4]
    assert opened(And(GreaterThanOrEqual("n", 150), LessThan("n", 300))) == [1, 2]
    assert opened(In("n", [0, 450])) == [0, 4]
    assert opened(EqualTo("x", 3.75)) == [3] and opened(LessThan("x", 0.25)) == []
    assert opened(EqualTo("price", decimal.Decimal("4.99"))) == [4] and opened(GreaterThan("price", decimal.Decimal("4.99"))) == []
    assert opened(EqualTo("day", datetime.date(2021, 7, 20))) == [1] and opened(LessThan("day", datetime.date(2020, 1, 1))) == []
    assert opened(GreaterThan("at", datetime.datetime(2023, 7, 1))) == [3, 4]
    assert opened(LessThan("zoned", datetime.datetime(2021, 1, 1, tzinfo=UTC))) == [0]
    assert opened(EqualTo("text", "3-z")) == [3] and opened(StartsWith("text", "2-a rather long")) == [2] and opened(EqualTo("text", "9")) == []
    assert opened(EqualTo("yes", True)) == [0, 2, 4] and opened(NotEqualTo("n", 250)) == [0, 1, 2, 3, 4]
    # and no row is lost by it
    for name in COLUMNS:
        value = pruning_batch(2).column(name)[1].as_py()
        rows = table.scan(row_filter=EqualTo(name, value)).to_arrow()
        whole = [row for row in table.scan().to_arrow().to_pylist() if row[name] == value]
        assert rows.to_pylist() == whole and rows.num_rows > 0, name
    assert table.scan(row_filter=IsNull("n")).to_arrow().num_rows == 7 == lake.sql("SELECT count(*) AS c FROM t WHERE n IS NULL")[0]["c"]
    assert opened(NotNull("n")) == [0, 1, 2, 3, 4]
    assert len(list(table.scan(row_filter=NotNull("n")).plan_files())) == 5  # not the file of nulls
