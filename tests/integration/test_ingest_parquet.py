"""Parquet in, and Parquet registered as it lies: types that the table format does not have, and columns of nothing but null."""

import datetime
import decimal

import pyarrow as pa
import pytest
from ingesting import Lake, parquet

LIST = pa.list_(pa.int64())


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


def test_a_column_without_a_type_fits_whatever_the_table_has(lake):
    lake.ok(lake.table, parquet(pa.table({
        "k": [1], "day": [datetime.date(2024, 1, 2)], "l": pa.array([[1]], LIST), "s": [{"x": 1, "y": [datetime.date(2024, 1, 2)]}],
        "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "b": [b"x"]})))
    kinds = lake.types(lake.table)
    lake.ok(lake.table, parquet(pa.table({name: pa.array([None], pa.null()) for name in kinds if name != "k"} | {"k": [2]})))
    lake.ok(lake.table, parquet(pa.table({"k": [3], "l": pa.array([[]], pa.list_(pa.null())), "s": pa.array([{"x": None, "y": [None]}], pa.struct([("x", pa.null()), ("y", pa.list_(pa.null()))]))})))
    assert lake.types(lake.table) == kinds
    assert lake.rows(f"SELECT k, day, l, s, m, b FROM {lake.table} WHERE k > 1 ORDER BY k") == [
        [2, None, None, None, None, None], [3, None, [], {"x": None, "y": [None]}, None, None]]


def test_a_column_without_a_type_is_text_in_a_new_table(lake):
    lake.ok(lake.table, parquet(pa.table({"k": [1], "n": pa.array([None], pa.null()), "l": pa.array([[]], pa.list_(pa.null()))})))
    assert lake.types(lake.table) == {"k": "long", "n": "string", "l": "list<string>"}


def test_a_time_fits_a_time_and_is_text_elsewhere(lake):
    clock = pa.array([datetime.time(1, 2, 3, 4)])
    file = parquet(pa.table({"t": clock, "s": pa.array([{"at": datetime.time(5)}])}))
    lake.put(f"{lake.table}.parquet", file)
    assert lake.register(lake.table, f"{lake.table}.parquet").status_code == 200
    assert lake.types(lake.table) == {"t": "time", "s": "struct<at: time>"}
    lake.ok(lake.table, parquet(pa.table({"t": pa.array([datetime.time(23, 59)]), "s": pa.array([{"at": None}], pa.struct([("at", pa.time64("us"))]))})))
    lake.ok(lake.table, '{"t":"12:00:00"}\n')
    lake.ok(lake.table, "t\n12:34:56\n")
    assert lake.rows(f"SELECT t FROM {lake.table} ORDER BY t") == [["01:02:03.000004"], ["12:00:00"], ["12:34:56"], ["23:59:00"]]
    lake.ok(lake.table + "new", file)
    assert lake.types(lake.table + "new") == {"t": "string", "s": "struct<at: string>"}


def test_nanoseconds_are_kept_or_refused_but_never_cut_off(lake):
    def nano(*values):
        return parquet(pa.table({"at": pa.array(values, pa.timestamp("ns")), "l": pa.array([list(values)], pa.list_(pa.timestamp("ns"))).take([0] * len(values))}))
    lake.ok(lake.table, nano(1_000, None, 2_000))
    assert lake.types(lake.table) == {"at": "timestamp", "l": "list<timestamp>"}
    assert lake.rows(f'SELECT "at" FROM {lake.table} ORDER BY "at"') == [["1970-01-01T00:00:00.000001"], ["1970-01-01T00:00:00.000002"], [None]]
    assert 'column "at" has nanoseconds' in lake.refused(lake.table, nano(1_000, 1_001))
    assert lake.rows(f"SELECT count(*) FROM {lake.table}") == [[3]]


@pytest.mark.parametrize("kind, words", [
    (pa.uint64(), "unsigned integers of 64 bits"), (pa.uint32(), "unsigned integers of 32 bits"), (pa.timestamp("ns"), "nanoseconds"),
    (pa.timestamp("ns", "UTC"), "nanoseconds"), (pa.time64("ns"), "nanoseconds"), (pa.null(), "nothing but null"), (pa.float16(), "floats of 16 bits"),
], ids=str)
def test_what_others_would_misread_is_not_registered(lake, kind, words):
    """Another engine reads such a column by the table's type, and gets other values. Ingest writes it anew."""
    value = None if kind == pa.null() else 1.5 if kind == pa.float16() else 5000
    for place, table in (("plain", pa.table({"c": pa.array([value], kind)})), ("nested", pa.table({"s": pa.array([{"c": [value]}], pa.struct([("c", pa.list_(kind))]))}))):
        key = f"{lake.table}-{place}.parquet"
        lake.put(key, parquet(table))
        answer = lake.register(lake.table, key)
        assert answer.status_code == 400 and words in answer.text and key in answer.text and "ingest" in answer.text, answer.text
        lake.ok(f"{lake.table}_{place}", parquet(table))
    assert lake.table not in lake.tables()


def test_time_stamps_of_96_bits_are_not_registered(lake):
    lake.put("old.parquet", parquet(pa.table({"at": pa.array([1_000_000], pa.timestamp("us"))}), use_deprecated_int96_timestamps=True))
    assert "96 bits" in lake.register(lake.table, "old.parquet").text


def test_what_is_stored_as_the_table_format_says_is_registered(lake):
    lake.put("plain.parquet", parquet(pa.table({
        "i8": pa.array([1], pa.int8()), "u16": pa.array([65535], pa.uint16()), "ms": pa.array([1000], pa.timestamp("ms")), "day": pa.array([1], pa.date32()),
        "price": pa.array([decimal.Decimal("1.10")], pa.decimal128(9, 2)), "u": pa.array([b"x" * 16], pa.uuid()), "l": pa.array([[{"x": 1}]]),
        "m": pa.array([[("a", [1])]], pa.map_(pa.string(), LIST)), "d": pa.array(["a"]).dictionary_encode()})))
    answer = lake.register(lake.table, "plain.parquet")
    assert answer.status_code == 200, answer.text
    assert lake.types(lake.table) == {"i8": "int", "u16": "int", "ms": "timestamp", "day": "date", "price": "decimal(9, 2)", "u": "uuid", "l": "list<struct<x: long>>",
                                      "m": "map<string, list<long>>", "d": "string"}
    assert lake.rows(f"SELECT u16, ms, l[1].x, m['a'] FROM {lake.table}") == [[65535, "1970-01-01T00:00:01", 1, [1]]]


def nested(depth, list_of):
    """A file whose column `a` is an integer in so many lists or structs."""
    kind, value = pa.int64(), 1
    for _ in range(depth):
        kind, value = (pa.list_(kind), [value]) if list_of else (pa.struct([("a", kind)]), {"a": value})
    return parquet(pa.table({"a": pa.array([value], kind)})), value


@pytest.mark.parametrize("list_of", [True, False], ids=["lists", "structs"])
def test_columns_nest_as_deep_as_a_schema_can_be_written(lake, list_of):
    for way in ("ingested", "registered"):
        file, value = nested(24, list_of)
        name = lake.table + way
        if way == "ingested":
            lake.ok(name, file)
        else:
            lake.put(f"{name}.parquet", file)
            assert lake.register(name, f"{name}.parquet").status_code == 200
        assert lake.rows(f"SELECT a FROM {name}") == [[value]]
        for depth in (25, 40, 300):
            file, _ = nested(depth, list_of)
            key = f"{name}{depth}.parquet"
            if way == "ingested":
                message = lake.refused(name + "x", file)
            else:
                lake.put(key, file)
                answer = lake.register(name + "x", key)
                assert answer.status_code == 400, answer.text
                message = answer.json()["error"]["message"]
            assert "nested deeper than" in message, message
        assert name + "x" not in lake.tables()
