"""types= says what columns are: they are that and nothing else, and a value that does not fit makes its row a bad one."""

import datetime

import pyarrow as pa
import pytest
from ingesting import Lake, parquet


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


def test_types_override_what_would_be_found(lake):
    lake.ok(lake.table, "zip,price,n,at,day\n10001,1.5,7,2024-01-02,2024-01-02\n94110,2,8,2024-01-03,2024-01-03\n",
            types="zip:string, price:decimal(10,2),n:int,day:string")
    assert lake.types(lake.table) == {"zip": "string", "price": "decimal(10, 2)", "n": "int", "at": "date", "day": "string"}
    assert lake.rows(f"SELECT zip, price::VARCHAR, n, day FROM {lake.table} ORDER BY n") == [["10001", "1.50", 7, "2024-01-02"], ["94110", "2.00", 8, "2024-01-03"]]


def test_types_hold_for_json_and_parquet(lake):
    kinds = "n:int,x:decimal(9,2),s:date,i:string,d:double"
    lake.lines(lake.table, {"n": 1, "x": 1.25, "s": "2024-01-02", "i": 5, "d": 3}, types=kinds)
    lake.ok(lake.table, parquet(pa.table({"n": [2], "x": [2.5], "s": ["2024-01-03"], "i": [6], "d": [4]})), types=kinds)
    assert lake.types(lake.table) == {"n": "int", "x": "decimal(9, 2)", "s": "date", "i": "string", "d": "double"}
    assert lake.rows(f"SELECT n, x::VARCHAR, s, i, d FROM {lake.table} ORDER BY n") == [[1, "1.25", "2024-01-02", "5", 3.0], [2, "2.50", "2024-01-03", "6", 4.0]]


@pytest.mark.parametrize("body, types, words", [
    ("a,b\n1,2\n\"x\ny\",3\n", "a:long", 'line 3: column "a": "x'),
    ("a,b\n" + "1,2\n" * 50000 + "1,x\n", "b:int", 'line 50002: column "b": "x" is no int'),
    ("a,b\n1,2.555\n", "b:decimal(9,2)", 'line 2: column "b": "2.555" is no decimal(9, 2)'),
    ("a,b\n1,2\n3,4\n", "a:boolean,b:date", 'line 2: column "a": "1" is no boolean'),
    ("1,2\n3,x\n", "column2:long", 'line 2: column "column2": "x" is no long'),
    ('{"a":"1"}\n\n{"a":"x"}\n', "a:long", 'line 3: column "a": "x" is no long'),
    ('[{"a":"1"},\n{"a":"x"}]', "a:long", 'row 2: column "a": "x" is no long'),
    ('{"a":1.5}\n', "a:long", 'column "a" has values that are no long'),
    ("a\n1\n", "b:long", 'types: the file has no column "b"'),
])
def test_a_value_that_does_not_fit_is_refused_with_its_line(lake, body, types, words):
    message = lake.refused(lake.table, body, types=types)
    assert words in message, message
    assert lake.table not in lake.tables()


def test_a_value_that_does_not_fit_may_be_left_out(lake):
    body = "id,price,name\n1,1.5,a\n2,free,b\n3\n4,2.25,\"d\nd\"\n5,1.234,e\nsix,1,f\n7,,g\n"
    answer = lake.ok(lake.table, body, types="id:int,price:decimal(9,2)", on_error="skip")
    assert lake.rows(f"SELECT id, price::VARCHAR, name FROM {lake.table} ORDER BY id") == [[1, "1.50", "a"], [4, "2.25", "d\nd"], [7, None, "g"]]
    assert [(row["line"], row["reason"]) for row in answer["skipped"]["rows"]] == [
        (3, 'column "price": "free" is no decimal(9, 2)'), (4, "expected 3 fields, found 1"), (7, 'column "price": "1.234" is no decimal(9, 2)'),
        (8, 'column "id": "six" is no int')]
    answer = lake.ok(lake.table, '{"id":8,"name":"2024"}\n{"id":9,\n{"id":"ten"}\n{"id":11}\n', types="id:int", on_error="skip")
    assert [row["line"] for row in answer["skipped"]["rows"]] == [2, 3] and answer["rows"] == 2


PLAIN = ["n,d,big,yes,day,at,zip,name,none,half\r",
         "-1,1.5,123456789012345678901.25,true,2024-01-02,2024-01-02 03:04:05,00501,a,,\r",
         '2,-.5,1.5,False,2024-02-29,2024-01-02 03:04:05.5,10001,"b",,7\r',
         '3,1e5,"-7",TRUE,0001-01-01,2024-01-02 03:04,,"c ""c"", c","",\r']


@pytest.mark.parametrize("odd", ['4,2,3,true,2024-01-02,2024-01-02 03:04:05,1, x,,\r', "\r", ""])
@pytest.mark.parametrize("copies", [1, 9000])
def test_types_are_the_same_whether_we_look_or_duckdb_does(lake, odd, copies):
    """Plain first rows are typed without DuckDB; a blank before a value, or an empty line, leaves that to it."""
    body = "\n".join([PLAIN[0], *([odd] if odd else []), *PLAIN[1:] * copies]) + "\n"
    lake.ok(lake.table, body)
    assert lake.types(lake.table) == {"n": "long", "d": "double", "big": "decimal(38, 2)", "yes": "boolean", "day": "date", "at": "timestamp",
                                      "zip": "string", "name": "string", "none": "string", "half": "long"}
    where = f"FROM {lake.table} WHERE n < 4 GROUP BY ALL ORDER BY n"
    assert lake.rows(f"SELECT n, d, big::VARCHAR, yes, day, zip, name, none, half, count(*) {where}") == [
        [-1, 1.5, "123456789012345678901.25", True, "2024-01-02", "00501", "a", None, None, copies],
        [2, -0.5, "1.50", False, "2024-02-29", "10001", "b", None, 7, copies],
        [3, 100000.0, "-7.00", True, "0001-01-01", None, 'c "c", c', None, None, copies]]


def test_types_do_not_go_round_the_tables_schema(lake):
    lake.ok(lake.table, "a\n1\n")
    assert '"a"' in lake.refused(lake.table, "a\n2\n", 409, types="a:string")
    assert not lake.ok(lake.table, "a\n1\n", types="a:long")["deduplicated"]  # other options, another batch
    assert lake.ok(lake.table, "a\n1\n", types="a:long")["deduplicated"]


@pytest.mark.parametrize("types", ["a", "a:", ":int", "a:number", "a:int,", "a:list<int>", "a:decimal(99,2)", "a:decimal(9"])
def test_what_is_no_type_is_refused_before_the_body(lake, types):
    assert "types" in lake.refused(lake.table, "a\n1\n", types=types)


def test_every_type_can_be_said(lake):
    row = {"boolean": "true", "int": "1", "long": "2", "float": "0.5", "double": "1.5", "decimal(9,2)": "1.25", "date": "2024-01-02", "time": "12:34:56",
           "timestamp": "2024-01-02T03:04:05", "timestamptz": "2024-01-02T03:04:05Z", "string": "x", "uuid": "00000000-0000-0000-0000-000000000001"}
    names = [f"c{i}" for i in range(len(row))]
    lake.ok(lake.table, ",".join(names) + "\n" + ",".join(row.values()) + "\n", types=",".join(f"{name}:{kind}" for name, kind in zip(names, row)))
    assert [kind.replace(" ", "") for kind in lake.types(lake.table).values()] == list(row)
    assert lake.rows(f"SELECT c0, c1, c7, c11 FROM {lake.table}") == [[True, 1, "12:34:56", row["uuid"]]]
