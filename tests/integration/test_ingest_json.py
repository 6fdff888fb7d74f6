"""JSON in: layouts, types that come from every value, what is unknown fits whatever the table has, and each fault with its line."""

import json

import pyarrow as pa
import pytest
from ingesting import Lake, parquet


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


@pytest.mark.parametrize("body", [
    '{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n',
    '{"a":1,"b":"x"}\r\n\r\n{"b":"y","a":2}',
    '[{"a":1,"b":"x"},{"a":2,"b":"y"}]',
    ' [\n  {"a":1,\n "b":"x"}\n,\n  {"a":2,"b":"y"}\n]\n',
    '\ufeff[{"a":1,"b":"x"},{"a":2,"b":"y"}]',
    '{\n  "a": 1,\n  "b": "x"\n}\n{\n  "a": 2,\n  "b": "y"\n}\n',
    '{"a":1,"b":"x"}{"a":2,"b":"y"}',
], ids=["lines", "lines of windows", "array", "array over lines", "array behind a mark", "over lines", "in one line"])
def test_every_layout_is_read_by_every_name(lake, body):
    for kind in ("json", "ndjson", None):
        table = f"{lake.table}_{kind}"
        assert lake.ok(table, body, **({"format": kind} if kind else {}))["rows"] == 2
        assert lake.rows(f"SELECT a, b FROM {table} ORDER BY a") == [[1, "x"], [2, "y"]]


KINDS = [
    ([1, -2, None], "long", [1, -2, None]),
    ([1, 2.5], "double", [1.0, 2.5]),
    ([2**63, -1], "decimal(38, 0)", [2**63, -1]),
    ([2**64, 10**37], "decimal(38, 0)", [2**64, 10**37]),
    ([10**39, 1], "string", ["1" + "0" * 39, "1"]),
    ([True, None], "boolean", [True, None]),
    ([1, "x", [2], {"y": None}, True, None], "string", ["1", "x", "[2]", '{"y":null}', "true", None]),
    ([None, None], "string", [None, None]),
    ([{}, None], "string", ["{}", None]),
    ([[], None], "list<string>", [[], None]),
    ([[1, None], [2.5]], "list<double>", [[1.0, None], [2.5]]),
    ([["a", 1]], "list<string>", [["a", "1"]]),
    ([{"x": 1}, {"y": "z"}], "struct<x: long, y: string>", [{"x": 1, "y": None}, {"x": None, "y": "z"}]),
    (["2024-01-02", "1999-12-31"], "date", ["2024-01-02", "1999-12-31"]),
    (["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+01:00"], "timestamptz", ["2024-01-02T03:04:05Z", "2024-01-02T02:04:05Z"]),
    (["2024-01-02", "tomorrow"], "string", ["2024-01-02", "tomorrow"]),
    (["00501", "7"], "string", ["00501", "7"]),
    (["12:00:00"], "string", ["12:00:00"]),
]


def test_a_type_comes_from_every_value(lake):
    """One file with a column for each case, named c0, c1, ...; a row without the column is NULL there."""
    longest = max(len(values) for values, _, _ in KINDS)
    lake.lines(lake.table, *({"k": i, **{f"c{n}": values[i] for n, (values, _, _) in enumerate(KINDS) if i < len(values)}} for i in range(longest)))
    kinds = lake.types(lake.table)
    columns = list(zip(*lake.rows(f"SELECT * EXCLUDE k FROM {lake.table} ORDER BY k")))
    for n, (values, kind, seen) in enumerate(KINDS):
        assert kinds[f"c{n}"] == kind, values
        assert list(columns[n]) == seen + [None] * (longest - len(seen)), values


def test_a_late_kind_changes_the_whole_column(lake):
    lake.lines(lake.table, *({"n": i} for i in range(30000)), {"n": "x"})
    assert lake.types(lake.table) == {"n": "string"}
    assert lake.rows(f"SELECT count(*) FROM {lake.table} WHERE n = '29999' OR n = 'x'") == [[2]]


def full(extra=()):
    """A table with one column of each kind."""
    return parquet(pa.table({
        "k": pa.array([1], pa.int64()), "i": pa.array([1], pa.int32()), "f": pa.array([0.5], pa.float32()), "d": pa.array([0.5]),
        "yes": pa.array([True]), "price": pa.array([1], pa.decimal128(9, 2)), "day": pa.array([1], pa.date32()), "at": pa.array([1], pa.timestamp("us")),
        "zoned": pa.array([1], pa.timestamp("us", "UTC")), "text": pa.array(["x"]), "bin": pa.array([b"x"]), "u": pa.array([b"x" * 16], pa.uuid()),
        "l": pa.array([[1]], pa.list_(pa.int64())), "ld": pa.array([[0.5]], pa.list_(pa.float64())),
        "s": pa.array([{"x": 1, "y": {"z": [1.5]}}], pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.list_(pa.float64()))]))])),
        "m": pa.array([[("a", 1.5)]], pa.map_(pa.string(), pa.float64())), "ls": pa.array([[{"x": 1}]], pa.list_(pa.struct([("x", pa.int32())]))),
    }))


def test_what_is_unknown_fits_whatever_the_table_has(lake):
    lake.ok(lake.table, full())
    kinds = lake.types(lake.table)
    lake.lines(lake.table, {name: None for name in kinds} | {"k": 2})
    lake.lines(lake.table, {"k": 3, "l": [], "ld": [None], "ls": [], "s": {}, "m": {}, "day": None})
    lake.lines(lake.table, {"k": 4, "s": {"x": None, "y": {}}, "ls": [{}, {"x": None}, None]})
    lake.lines(lake.table, {"k": 5, "s": {"y": {"z": []}}})
    assert lake.types(lake.table) == kinds
    assert lake.rows(f"SELECT k, l, ld, ls, s, m, day FROM {lake.table} WHERE k IN (3, 4, 5) ORDER BY k") == [
        [3, [], [None], [], {"x": None, "y": None}, {}, None],
        [4, None, None, [{"x": None}, {"x": None}, None], {"x": None, "y": {"z": None}}, None, None],
        [5, None, None, None, {"x": None, "y": {"z": []}}, None, None]]


FITTING = [
    ("i", -2**31, -2**31), ("d", 3, 3.0), ("f", 2**24, 2.0**24), ("f", 0.1, 0.1), ("price", 12, 12.0), ("price", 1.25, 1.25), ("price", 9999999.99, 9999999.99),
    ("ld", [1, 2, 3], [1.0, 2.0, 3.0]), ("s", {"x": 5, "y": {"z": [1]}}, {"x": 5, "y": {"z": [1.0]}}), ("m", {"b": 1, "c": None}, {"b": 1.0, "c": None}),
    ("ls", [{"x": 7}], [{"x": 7}]), ("day", "2024-02-29", "2024-02-29"), ("at", "2024-02-29T01:02:03", "2024-02-29T01:02:03"),
    ("zoned", "2024-02-29T01:02:03+01:00", "2024-02-29T00:02:03Z"), ("u", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    ("text", "7", "7"),
]


def test_values_that_fit_the_tables_type_take_it(lake):
    lake.ok(lake.table, full())
    kinds = lake.types(lake.table)
    for k, (name, value, seen) in enumerate(FITTING, 2):
        lake.lines(lake.table, {"k": k, name: value})
        assert lake.rows(f'SELECT "{name}" FROM {lake.table} WHERE k = {k}') == [[seen]]
    assert lake.types(lake.table) == kinds


MISFITS = [
    ("i", 2**31), ("d", 2**53 + 1), ("price", 1.255), ("price", 10**7), ("k", 1.5), ("k", "1"), ("yes", 1), ("day", "2024-02-30"), ("day", "soon"),
    ("at", "2024-02-29T01:02:03Z"), ("text", 7), ("l", [1.5]), ("l", 1), ("s", 1), ("s", {"x": "a"}), ("m", {"a": "b"}), ("u", "no uuid"), ("bin", "AA=="),
]


def test_values_that_do_not_fit_are_refused_and_nothing_lands(lake):
    lake.ok(lake.table, full())
    for name, value in MISFITS:
        message = lake.refused(lake.table, json.dumps({"k": 2, name: value}), 409)
        assert f'"{name}' in message, message
    assert lake.rows(f"SELECT count(*) FROM {lake.table}") == [[1]]


@pytest.mark.parametrize("body, words", [
    ('{"a":1}\n{"a":\n{"a":3}\n', "line 2: malformed JSON"),
    ('{"a":\n{"a":3}\n', "line 1: malformed JSON"),
    ('\n\n{"a":1} x\n', "line 3: malformed JSON"),
    ('{"a":1}\n{"a":1,}\n', "line 2: malformed JSON"),
    ('{"a":1}\n{"a":NaN}\n', "line 2: malformed JSON"),
    ("{'a':1}\n", "line 1: malformed JSON"),
    ('{"a":1}\n5\n', "line 2: the row is"),
    ('{"a":1}\n[1]\n', "line 2: the row is"),
    (b'{"a":"\xff"}\n', "line 1: malformed JSON: not valid UTF-8"),
    (b'{"a":1}\n{"a":"\x00"}\n', "byte 14 is NUL"),
    ('{"a":1,"a":2}\n', 'line 1: an object has the field "a" twice'),
    ('{"a":1}\n{"A":2}\n', 'line 2: the names "a" and "A" differ only by case'),
    ('{"s":{"x":1,"X":2}}\n', 'line 1: the names "x" and "X" differ only by case'),
    ('{"":1}\n', "line 1: a field has an empty name"),
    ('[{"a":1},', "line 1: malformed JSON: the file ends"),
    ('[{"a":1},\n', "line 2: malformed JSON: the file ends"),
    ('[{"a":1},]', "line 1: malformed JSON"),
    ('[{"a":1}\n{"a":2}]', "line 2: malformed JSON: a comma"),
    ('[{"a":1}]\n[{"a":2}]', "line 2: malformed JSON: nothing more"),
    ('[{"a":1},\n2]', "line 2: malformed JSON: an object"),
    ('{"a":1\n,"b":tru}\n', "line 2: malformed JSON"),
    ('{"a":1\n,"b":2\n', "line 1: malformed JSON: the file ends inside it"),
    ("[]", "no rows"), ("{}\n", "no fields"),
    ('{"a":1}\n{"a":' + "[" * 100 + "]" * 100 + "}\n", "line 2: nested deeper than 100"),
    ('{"a":' + "[" * 1000000 + "]" * 1000000 + "}\n", "line 1: "),
    ("[" * 1000000, "line 1: "),
    ("{" + ",".join(f'"c{i}":1' for i in range(10001)) + "}\n", "the file has 10001 columns, at most 10000"),
    ("".join(f'{{"m":{{"k{i}":{{"a":1}}}}}}\n' for i in range(60000)), "line 50000: the file has more than 100000 different fields"),
])
def test_a_fault_is_refused_with_its_line(lake, body, words):
    message = lake.refused(lake.table, body)
    assert words in message, message
    assert lake.table not in lake.tables()


def nested(depth):
    return '{"a":' * depth + "1" + "}" * depth


def test_columns_nest_as_deep_as_a_schema_can_be_written(lake):
    value = 1
    for _ in range(24):
        value = {"a": value}
    assert lake.ok(lake.table, nested(25) + "\n")["created"]
    assert lake.rows(f"SELECT a FROM {lake.table}") == [[value]]
    assert lake.ok(lake.table, nested(25) + "\n" + nested(25))["rows"] == 2
    for depth in (26, 27, 60, 100):
        for body in (nested(depth), '{"a":' + "[" * (depth - 1) + "1" + "]" * (depth - 1) + "}"):
            assert 'column "a" is nested deeper than 24' in lake.refused(lake.table + "x", body + "\n")
    assert lake.table + "x" not in lake.tables()


def test_a_nul_is_kept_in_a_value_and_refused_in_a_name(lake):
    """RFC 8259 allows it, and text in DuckDB, Parquet and Arrow holds it; a name in SQL cannot."""
    value = {"a": "x\0y", "l": ["\0"], "s": {"k": "p\0"}}
    lake.lines(lake.table, value)
    assert lake.rows(f"SELECT a, l, s, length(a), hex(a) FROM {lake.table}") == [[*value.values(), 3, "780079"]]
    for body in ({"a\0b": 1}, {"s": {"a\0b": 1}}):
        assert 'line 2: the field name "a..." has a NUL character in it' in lake.refused(lake.table + "x", '{"c":1}\n' + json.dumps(body))


def test_a_record_above_the_limit_is_refused(serve):
    lake = Lake(serve("--ingestd.max_line_bytes", "2000"))
    long = json.dumps({"a": "x" * 3000})
    assert "line 2: longer than 2000 bytes" in lake.refused("t", '{"a":1}\n' + long + "\n")
    assert "line 3: longer than 2000 bytes" in lake.refused("t", '[{"a":1},\n\n' + long + "]")
    assert lake.ok("t", "".join(json.dumps({"a": "x" * 1900}) + "\n" for _ in range(3000)))["rows"] == 3000


def test_large_records_are_read(lake):
    records = [{"i": i, "text": "y" * n} for i, n in enumerate([3_000_000, 1, 9_000_000, 2])]
    lake.lines(lake.table, *records)
    assert lake.rows(f"SELECT i, length(text) FROM {lake.table} ORDER BY i") == [[0, 3_000_000], [1, 1], [2, 9_000_000], [3, 2]]
    lake.ok(lake.table + "a", json.dumps(records, indent=1))
    assert lake.rows(f"SELECT sum(length(text))::BIGINT FROM {lake.table}a") == [[12_000_003]]
