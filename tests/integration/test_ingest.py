"""Files in: formats, types that hold for the whole file, drift, bad rows, exactly once. Answers are compared exactly."""

import concurrent.futures
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests


@pytest.fixture
def lake(serve):
    return serve()


def ingest(server, name, body, **query):
    body = body.encode() if isinstance(body, str) else body
    return requests.post(server.url + "/v1/ingest", params={"name": name, **query}, data=body, timeout=120)


def ok(server, name, body, **query):
    answer = ingest(server, name, body, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(server, name, body, status=400, **query):
    answer = ingest(server, name, body, **query)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def rows(server, text):
    answer = requests.post(server.url + "/v1/sql", json={"sql": text, "row_format": "arrays"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def types(server, name):
    fields = requests.get(f"{server.url}/v1/catalog/manifest/{name}", timeout=10).json()["schema"]["fields"]
    return {field["name"]: field["type"] for field in fields}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_quotes_and_line_breaks(lake, delimiter):
    d = delimiter
    ok(lake, "t", f'id{d}text\r\n1{d}"a{d}b"\r\n2{d}"two\r\nlines"\r\n3{d}"say ""hi"""\r\n4{d}')
    assert rows(lake, "SELECT id, text FROM t ORDER BY id") == [[1, f"a{d}b"], [2, "two\r\nlines"], [3, 'say "hi"'], [4, None]]


def test_a_byte_order_mark_is_no_part_of_the_first_name(lake):
    ok(lake, "t", "\ufeffa,b\n1,2\n")
    assert types(lake, "t") == {"a": "long", "b": "long"}


def test_what_is_ambiguous_stays_text(lake):
    ok(lake, "t", "zip,plus,blank,mixed,clock,far,hex,nan\n00501,+5, 5,2024-01-01,12:00:00,10000-01-01,0x10,NaN\n"
                  "10001,+6, 6,01/02/2024,13:00:00,2024-01-01,0x11,1\n")
    assert set(types(lake, "t").values()) == {"string"}
    assert rows(lake, "SELECT zip, blank, nan FROM t ORDER BY zip") == [["00501", " 5", "NaN"], ["10001", " 6", "1"]]


def test_plain_values_get_their_types(lake):
    ok(lake, "t", "i,f,d,ts,tz,b\n1,1.5,2024-01-02,2024-01-02 03:04:05,2024-01-02T03:04:05Z,true\n-2,.25,1999-12-31,1999-12-31T23:59:59.5,1999-12-31T23:59:59+01:00,false\n")
    assert types(lake, "t") == {"i": "long", "f": "double", "d": "date", "ts": "timestamp", "tz": "timestamptz", "b": "boolean"}
    assert rows(lake, "SELECT * FROM t ORDER BY i DESC")[0] == [1, 1.5, "2024-01-02", "2024-01-02T03:04:05", "2024-01-02T03:04:05Z", True]


def test_numbers_beyond_64_bits_keep_every_digit(lake):
    ok(lake, "t", "n,x\n12345678901234567890123,0.1234567890123456789\n1,2\n")
    answer = requests.post(lake.url + "/v1/sql", json={"sql": "SELECT n::VARCHAR AS n, x::VARCHAR AS x FROM t ORDER BY t.n DESC LIMIT 1"}, timeout=30)
    assert answer.json()["rows"] == [{"n": "12345678901234567890123", "x": "0.1234567890123456789"}]


@pytest.mark.parametrize("late, kind", [("2.5", "double"), ("x", "string"), ("", "long"), ("007", "string")])
def test_a_late_contradiction_makes_the_column_wider(lake, late, kind):
    body = "n,k\n" + "".join(f"{i},1\n" for i in range(30000)) + f"{late},1\n"
    assert ok(lake, "t", body)["rows"] == 30001
    assert types(lake, "t")["n"] == kind
    assert rows(lake, "SELECT count(*) FROM t WHERE n::VARCHAR = '29999' OR n::VARCHAR = '29999.0'") == [[1]]
    assert rows(lake, "SELECT count(*) FROM t WHERE n IS NULL") == [[1 if late == "" else 0]]


def test_values_that_come_after_an_empty_sample_have_their_type(lake):
    ok(lake, "t", "k,n\n" + "1,\n" * 30000 + "1,7\n")
    assert types(lake, "t")["n"] == "long" and rows(lake, "SELECT n FROM t WHERE n IS NOT NULL") == [[7]]


def test_strange_column_names_work(lake):
    ok(lake, "t", 'select,"a ""quoted"" name",a.b,a.b,\n1,2,3,4,5\n')
    assert list(types(lake, "t")) == ["select", 'a "quoted" name', "a.b", "a.b_1", "column5"]
    assert rows(lake, 'SELECT "select", "a ""quoted"" name", "a.b" FROM t') == [[1, 2, 3]]


def test_a_file_without_a_header(lake):
    ok(lake, "t", "1,a\n2,b\n")
    assert rows(lake, "SELECT column1, column2 FROM t ORDER BY 1") == [[1, "a"], [2, "b"]]


@pytest.mark.parametrize("body, words", [
    ("", "no body"),
    ("a,b\n", "no rows"),
    ("a,b\n1,2\n3\n", "line 3: expected 2 fields, found 1"),
    ("a,b\n1,2\n3,4,5\n", "line 3: expected 2 fields, found 3"),
    ("a,b\n" + "1,2\n" * 40000 + "3\n", "line 40002: expected 2 fields, found 1"),
    ('a,b\n1,"x\n', "line 2"),
    (b"a,b\n1,\xff\xfe\n", "line 2: not valid UTF-8"),
    (b"a,b\n1,\x00\n", "NUL"),
    ('{"a":1}\n{"a":\n', "line"),
    (b"PAR1 this is no parquet PAR1", "Parquet"),
])
def test_a_bad_file_is_refused_with_its_line(lake, body, words):
    assert words in refused(lake, "t", body)
    assert requests.get(lake.url + "/v1/catalog/list", timeout=10).json()["tables"] == []


def test_a_line_above_the_limit_is_refused(serve):
    lake = serve("--ingestd.max_line_bytes", "2000")
    assert "line" in refused(lake, "t", "a,b\n1,2\n1," + "x" * 5000 + "\n")


def test_ndjson_and_json_arrays_with_nested_values(lake):
    ok(lake, "t", '{"a":1,"s":{"x":"00501","l":[1,2]},"day":"2024-01-02"}\n{"a":2.5,"s":{"x":"y","l":[]},"day":"2024-01-03"}\n')
    assert rows(lake, "SELECT a, s.x, s.l, day FROM t ORDER BY a") == [[1.0, "00501", [1, 2], "2024-01-02"], [2.5, "y", [], "2024-01-03"]]
    ok(lake, "u", '[{"a":1},{"a":"x"},{"a":[1]}]')
    assert sorted(row[0] for row in rows(lake, "SELECT a FROM u")) == ["1", "[1]", "x"]


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_parquet_types_that_iceberg_does_not_have_become_wider(lake):
    table = pa.table({
        "i8": pa.array([1, None], pa.int8()), "u32": pa.array([2**32 - 1, 0], pa.uint32()), "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "f": pa.array([1.5, 2.5], pa.float32()), "ts": pa.array([1, 2], pa.timestamp("ms")), "t": pa.array([1000, 2000], pa.time64("us")),
        "d": pa.array(["a", "b"]).dictionary_encode(), "bin": pa.array([b"\x00\x01", b""], pa.binary()),
    })
    ok(lake, "t", parquet(table))
    assert types(lake, "t") == {"i8": "int", "u32": "long", "u64": "decimal(20, 0)", "f": "float", "ts": "timestamp", "t": "string",
                                "d": "string", "bin": "binary"}
    assert rows(lake, "SELECT u64::VARCHAR, u32, bin FROM t WHERE i8 = 1") == [["18446744073709551615", 4294967295, "AAE="]]


def test_drift_is_refused_with_each_difference_or_evolved(lake):
    ok(lake, "t", parquet(pa.table({"a": pa.array([1], pa.int32()), "b": pa.array(["x"])})))
    wider = parquet(pa.table({"a": pa.array([2**40], pa.int64()), "b": pa.array(["y"]), "c": pa.array([1.5])}))
    message = refused(lake, "t", wider, 409)
    assert '"a"' in message and '"c"' in message
    assert rows(lake, "SELECT count(*) FROM t") == [[1]]
    ok(lake, "t", wider, evolve="true")
    assert types(lake, "t") == {"a": "long", "b": "string", "c": "double"}
    assert rows(lake, "SELECT a, b, c FROM t ORDER BY a") == [[1, "x", None], [2**40, "y", 1.5]]
    refused(lake, "t", parquet(pa.table({"a": pa.array(["no"])})), 409, evolve="true")


def test_columns_may_be_missing_or_in_another_order(lake):
    ok(lake, "t", "a,b,c\n1,x,1.5\n")
    ok(lake, "t", "c,a\n2,7\n")
    assert rows(lake, "SELECT a, b, c FROM t ORDER BY a") == [[1, "x", 1.5], [7, None, 2.0]]


@pytest.mark.folder("looks for the files")
def test_the_same_bytes_land_once_also_in_parallel(lake):
    body = "a,b\n" + "".join(f"{i},{i}\n" for i in range(5000))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ok(lake, "t", body), range(6)))
    assert sum(not answer["deduplicated"] for answer in answers) == 1
    assert len({answer["snapshot_id"] for answer in answers}) == 1
    assert rows(lake, "SELECT count(*) FROM t") == [[5000]]
    files = list((lake.data / "wh").rglob("*.parquet"))
    assert len(files) == 1, files


def test_parallel_appends_to_a_new_table_all_land(lake):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ok(lake, "t", f"k,v\n{i},{i * 10}\n"), range(16)))
    assert sum(answer["created"] for answer in answers) == 1
    assert rows(lake, "SELECT count(*), sum(v)::BIGINT FROM t") == [[16, 1200]]


def test_an_idempotency_key_names_the_batch(lake):
    def send(body):
        return requests.post(lake.url + "/v1/ingest?name=t", data=body, headers={"Idempotency-Key": "k1"}, timeout=60).json()
    assert not send("a,b\n1,2\n")["deduplicated"]
    assert send("a,b\n3,4\n")["deduplicated"]


def test_a_multipart_form_carries_the_file(lake):
    answer = requests.post(lake.url + "/v1/ingest?name=t", files={"note": (None, "hello"), "file": ("x.csv", "a,b\n1,2\n")}, timeout=60)
    assert answer.status_code == 200 and answer.json()["rows"] == 1, answer.text
    none = requests.post(lake.url + "/v1/ingest?name=t", files={"note": (None, "hello")}, timeout=60)
    assert none.status_code == 400


def test_the_same_bytes_land_once_however_they_are_sent(lake):
    body = "a,b\n1,2\n"
    url = lake.url + "/v1/ingest?name=t"
    assert requests.post(url, data=body, timeout=60).json()["created"]
    for again in (requests.post(url, files={"file": ("x.csv", body)}, timeout=60),
                  requests.post(url, data=body, headers={"Content-Type": "text/csv"}, timeout=60),
                  requests.post(url + "&format=csv", data=body, timeout=60)):
        assert again.json()["deduplicated"], again.text
    other = requests.post(url + "2&format=tsv", data=body, timeout=60)
    assert other.status_code == 200 and not other.json()["deduplicated"]


@pytest.mark.parametrize("query", ["", "?name=", "?name=a/b", "?name=x&format=xlsx", "?name=x&evolve=maybe"])
def test_bad_parameters_are_refused_before_the_body(lake, query):
    assert requests.post(lake.url + "/v1/ingest" + query, data="a,b\n1,2\n", timeout=10).status_code == 400


@pytest.mark.parametrize("name", ["duckdb_tables", "DuckDB_x", "sqlite_master", "pragma_x", "information_schema.t", "PG_CATALOG.t", "x.pragma_y"])
def test_no_table_gets_a_name_that_sql_has_for_itself(lake, name):
    answer = requests.post(lake.url + "/v1/ingest", params={"name": name}, data="a\n1\n", timeout=60)
    assert answer.status_code == 400 and "SQL's own" in answer.json()["error"]["message"]
    assert requests.get(lake.url + "/v1/catalog/list", timeout=10).json()["tables"] == []


def test_registered_objects_become_a_table(lake):
    body = parquet(pa.table({"a": pa.array([1, 2, 3], pa.int64()), "s": pa.array(["x", "y", None])}))
    for key in ("in/one.parquet", "in/two.parquet"):
        assert requests.put(f"{lake.url}/v1/storage/put/{key}", data=body, timeout=10).status_code == 200

    def register(*keys):
        return requests.post(lake.url + "/v1/catalog/register", json={"name": "r", "objects": list(keys)}, timeout=60)
    first = register("in/one.parquet")
    assert first.status_code == 200, first.text
    again = register("in/one.parquet", "in/two.parquet").json()
    assert again["existing"] and again["added"] == 1 and again["dataset_id"] == first.json()["dataset_id"]
    assert rows(lake, "SELECT count(*), sum(a)::BIGINT, count(s) FROM r") == [[6, 12, 4]]
    assert register("in/none.parquet").status_code == 404
    other = parquet(pa.table({"z": pa.array([1])}))
    requests.put(f"{lake.url}/v1/storage/put/in/other.parquet", data=other, timeout=10)
    assert register("in/other.parquet").status_code == 409
