"""POST /v1/sql as an Arrow stream and as a Parquet file, read back by pyarrow."""

import datetime
import decimal
import io
import json

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
import requests

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
UTC = datetime.timezone.utc

VALUES = """
SELECT true AS b, (-5)::TINYINT AS t, (-300)::SMALLINT AS s, 70000 AS i, 9007199254740993 AS l,
       200::UTINYINT AS ut, 60000::USMALLINT AS us, 4000000000::UINTEGER AS ui, 18446744073709551615::UBIGINT AS ul,
       0.5::FLOAT AS f, 1e300 AS d, 12.50::DECIMAL(10,2) AS small, -1.5::DECIMAL(38,10) AS big, 99999999999999999999::HUGEINT AS h,
       DATE '2024-02-29' AS day, TIME '03:04:05.000006' AS tm, TIMESTAMP '2024-01-02 03:04:05.000006' AS ts,
       TIMESTAMPTZ '2024-01-02 03:04:05+02' AS tz, TIMESTAMP_S '2024-01-02 03:04:05' AS tss, TIMESTAMP_MS '2024-01-02 03:04:05.5' AS tsms,
       'é' AS text, ''::VARCHAR AS none, 'a\\x00'::BLOB AS bytes,
       [1, NULL, 3] AS list, {'x': 1, 'y': ['a', NULL]} AS struct, MAP {'k': [1.5]} AS map, [[1], [], NULL] AS lists,
       'b'::ENUM ('a', 'b') AS enum, ['b']::ENUM ('a', 'b')[] AS enums, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID AS uuid,
       '{"a": 1}'::JSON AS json, '0101'::BIT AS bits, TIMETZ '03:04:05+02' AS ttz, union_value(k := 5) AS u, 340282366920938463463374607431768211455::UHUGEINT AS uh
"""
EXPECTED = {
    "b": True, "t": -5, "s": -300, "i": 70000, "l": 9007199254740993, "ut": 200, "us": 60000, "ui": 4000000000, "ul": 18446744073709551615,
    "f": 0.5, "d": 1e300, "small": decimal.Decimal("12.50"), "big": decimal.Decimal("-1.5000000000"), "h": decimal.Decimal("99999999999999999999"),
    "day": datetime.date(2024, 2, 29), "tm": datetime.time(3, 4, 5, 6), "ts": datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
    "tz": datetime.datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC), "tss": datetime.datetime(2024, 1, 2, 3, 4, 5), "tsms": datetime.datetime(2024, 1, 2, 3, 4, 5, 500000),
    "text": "é", "none": "", "bytes": b"a\x00", "list": [1, None, 3], "struct": {"x": 1, "y": ["a", None]}, "map": [("k", [decimal.Decimal("1.5")])],
    "lists": [[1], [], None], "enum": "b", "enums": ["b"], "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "json": '{"a": 1}', "bits": "0101",
    "ttz": "03:04:05+02", "u": "5", "uh": "340282366920938463463374607431768211455",
}


def sql(server, text, form, timeout=60, **more):
    return requests.post(f"{server.url}/v1/sql", json={"sql": text, "format": form, **more}, timeout=timeout)


def table(server, text, form, **more):
    answer = sql(server, text, form, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == {"arrow": ARROW, "parquet": PARQUET}[form]
    data = io.BytesIO(answer.content)
    return pyarrow.ipc.open_stream(data).read_all() if form == "arrow" else pyarrow.parquet.read_table(data)


@pytest.fixture(scope="module")
def lake(tmp_path_factory, lakehouse):
    from conftest import Server
    import os
    data = tmp_path_factory.mktemp("columns")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    server = Server(lakehouse, "serve", data, ["--data", str(data), "--listen", "127.0.0.1:0", "--queryd.engines", "2"], env).wait()
    requests.post(f"{server.url}/v1/ingest", params={"name": "birds"}, data="id,name\n" + "".join(f"{i},bird {i % 7}\n" for i in range(5000)),
                  headers={"Content-Type": "text/csv"}, timeout=60).raise_for_status()
    yield server
    try:
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_every_type_is_read_back(lake, form):
    rows = table(lake, VALUES, form).to_pylist()
    assert rows == [EXPECTED]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_null_of_every_type_is_null(lake, form):
    nulls = table(lake, f"SELECT COLUMNS(*) FROM (FROM (SELECT 1) LEFT JOIN ({VALUES}) v ON false)", form).to_pylist()
    assert len(nulls) == 1 and {name: value for name, value in nulls[0].items() if name in EXPECTED} == {name: None for name in EXPECTED}


def test_intervals(lake):
    statement = "SELECT INTERVAL '1 year 2 days 3 seconds' AS i"
    month_day_nano = table(lake, statement, "arrow").to_pylist()[0]["i"]
    assert (month_day_nano.months, month_day_nano.days, month_day_nano.nanoseconds) == (12, 2, 3_000_000_000)
    assert table(lake, statement, "parquet").to_pylist() == [{"i": "1 year 2 days 00:00:03"}]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_rows_in_their_order_and_columns_with_names_of_their_own(lake, form):
    got = table(lake, "SELECT id, name, id AS id, id AS id_1 FROM birds ORDER BY name, id DESC", form)
    assert got.column_names == ["id", "name", "id_2", "id_1"]
    expected = sorted(((f"bird {i % 7}", -i) for i in range(5000)))
    assert list(zip(got["name"].to_pylist(), got["id_2"].to_pylist())) == [(name, -i) for name, i in expected]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_params_scripts_pivot_and_no_rows(lake, form):
    assert table(lake, "SELECT name FROM birds WHERE id = ?", form, params=[9]).to_pylist() == [{"name": "bird 2"}]
    assert table(lake, "SELECT $n + 1 AS m", form, params={"n": 41}).to_pylist() == [{"m": 42}]
    assert table(lake, "SELECT 1; SELECT count(*) AS n FROM birds", form).to_pylist() == [{"n": 5000}]
    assert table(lake, "PIVOT (SELECT id, id % 2 AS k FROM birds WHERE id < 4) ON k USING count(*) ORDER BY id", form).to_pylist()[1] == {"id": 1, "0": 0, "1": 1}
    assert table(lake, "DESCRIBE birds", form).column("column_name").to_pylist() == ["id", "name"]
    empty = table(lake, "SELECT * FROM birds WHERE id < 0", form)
    assert empty.num_rows == 0 and empty.column_names == ["id", "name"]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_many_rows(lake, form):
    got = table(lake, "SELECT range AS i, 'text ' || range AS t, [range, NULL] AS l FROM range(300000)", form)
    assert got["i"].to_pylist() == list(range(300000))
    assert got["t"][299999].as_py() == "text 299999" and got["l"][123456].as_py() == [123456, None]


@pytest.mark.parametrize("form, accept", [("arrow", ARROW), ("parquet", PARQUET)])
def test_accept_picks_the_format(lake, form, accept):
    answer = requests.post(f"{lake.url}/v1/sql", json={"sql": "SELECT 1 AS one"}, headers={"Accept": accept}, timeout=60)
    assert answer.headers["Content-Type"] == accept


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_errors_before_the_first_byte_have_their_status(lake, form):
    for statement, status in (("SELECT nope FROM birds", 400), ("SELECT * FROM nowhere", 404), ("CREATE INDEX i ON birds (id)", 400),
                              ("COPY birds TO 'spool://answer'", 400), ("SELECT * FROM read_parquet('spool://answer')", 400),
                              ("SELECT error('at once')", 400)):
        answer = sql(lake, statement, form)
        assert answer.status_code == status and answer.json()["error"]["message"], statement
    answer = sql(lake, "EXPLAIN SELECT 1", "parquet")
    assert answer.status_code == 400 and "SELECT" in answer.json()["error"]["message"]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_error_after_the_first_byte_cuts_the_answer(lake, form):
    late = "SELECT CASE WHEN range = 3000000 THEN error('too late') ELSE md5(range::VARCHAR) END AS v FROM range(10000000)"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        sql(lake, late, form)


def test_arrow_batches_leave_as_they_come(lake):
    endless = "SELECT range FROM range(100000000000)"
    with requests.post(f"{lake.url}/v1/sql", json={"sql": endless, "format": "arrow"}, stream=True, timeout=20) as answer:
        reader = pyarrow.ipc.open_stream(answer.raw)
        assert reader.read_next_batch()["range"][0].as_py() == 0
        assert reader.read_next_batch().num_rows > 0


def test_json_has_the_same_values(lake):
    """What Arrow has is what JSON has, up to how JSON writes it."""
    row = json.loads(sql(lake, VALUES, "ndjson").text, parse_float=decimal.Decimal)
    arrow = table(lake, VALUES, "arrow").to_pylist()[0]
    for name in ("b", "t", "s", "i", "l", "ut", "us", "ui", "ul", "small", "big", "h", "text", "none", "list", "struct", "lists", "enum", "enums", "uuid", "json", "bits"):
        assert row[name] == arrow[name], name
