"""vector_search in SQL: the nearest items of an index as a table, in one process and across several."""

import array
import io
import json
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from conftest import serving, start_cluster, starting

DOCS = [("owls", [0.9, 0.1, 0.0], {"lang": "en", "year": 2023}), ("eulen", [0.8, 0.2, 0.1], {"lang": "de", "year": 2021}),
        ("boats", [0.0, 0.2, 0.9], {"lang": "en", "year": 2020}), ("bare", [0.1, 0.9, 0.1], None)]
BIRDS = b"id,title,pages\nowls,Night hunters,120\neulen,Nachtjaeger,90\nboats,At sea,300\nalone,Nobody,1\n"
NEAR = "vector_search('docs', [1, 0, 0]::FLOAT[], k := 2)"


def float32(numbers):
    """As bytes: equal when each is the same float32."""
    return array.array("f", numbers).tobytes()


def sql(server, text, **more):
    return requests.post(server.url + "/v1/sql", json={"sql": text, **more}, timeout=60)


def rows(server, text, **more):
    answer = sql(server, text, row_format="arrays", **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def fails(server, text, **more):
    answer = sql(server, text, **more)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["error"]["message"]


def vectors(server, method, path, body=None):
    answer = requests.request(method, server.url + "/v1/vectors" + path, json=body, timeout=60)
    assert answer.status_code in (200, 201, 204), answer.text
    return answer.json() if answer.content else None


def make_index(server, name, items=DOCS):
    vectors(server, "POST", "/index", {"name": name, "dimension": 3, "metric": "cosine"})
    vectors(server, "POST", f"/index/{name}/add",
            {"items": [{"id": id, "vector": vector, **({"metadata": metadata} if metadata else {})} for id, vector, metadata in items]})


@pytest.fixture(scope="module", params=["serve", "services"])
def server(request, lakehouse, tmp_path_factory):
    starter = starting(lakehouse)
    folder = tmp_path_factory.mktemp("lake")
    start = next(starter)
    server = serving(start, folder)() if request.param == "serve" else start_cluster(start, folder / "data")[0]
    make_index(server, "docs")
    answer = requests.post(server.url + "/v1/ingest", params={"name": "books"}, data=BIRDS, headers={"Content-Type": "text/csv"}, timeout=60)
    assert answer.status_code == 200, answer.text
    yield server
    next(starter, None)


def test_the_rows_are_those_of_the_vectors_api(server):
    answer = sql(server, "SELECT * FROM vector_search('docs', [1, 0.1, 0]::FLOAT[], k := 3)").json()
    assert answer["columns"] == [{"name": "id", "type": "VARCHAR"}, {"name": "distance", "type": "DOUBLE"}, {"name": "metadata", "type": "JSON"}]
    there = vectors(server, "POST", "/index/docs/search", {"vector": [1, 0.1, 0], "k": 3})["results"]
    assert [row["id"] for row in there] == ["owls", "eulen", "bare"]
    assert [(row["id"], row["distance"]) for row in answer["rows"]] == [(row["id"], row["distance"]) for row in there]
    metadata = [row["metadata"] for row in answer["rows"]]
    assert [json.loads(text) if isinstance(text, str) else text for text in metadata] == [row["metadata"] for row in there]


def test_it_joins_with_a_table_by_id(server):
    assert rows(server, f"SELECT v.id, b.title, b.pages FROM {NEAR} v JOIN books b ON b.id = v.id ORDER BY v.distance") == \
        [["owls", "Night hunters", 120], ["eulen", "Nachtjaeger", 90]]
    both = rows(server, "SELECT v.id, v.distance, v.metadata, t.* FROM vector_search('docs', [1, 0, 0]::FLOAT[], k := 10, ef := 100, "
                        "filter := '{\"lang\":\"en\"}') v JOIN books t ON t.id = v.id ORDER BY v.distance")
    assert [(row[0], row[4]) for row in both] == [("owls", "Night hunters"), ("boats", "At sea")]
    assert rows(server, f"SELECT b.id FROM books b LEFT JOIN {NEAR} v USING (id) WHERE v.id IS NULL ORDER BY 1") == [["alone"], ["boats"]]
    assert rows(server, f"SELECT title FROM books WHERE id IN (SELECT id FROM {NEAR}) ORDER BY 1") == [["Nachtjaeger"], ["Night hunters"]]


def test_columns_alone_and_none_at_all(server):
    assert rows(server, f"SELECT id FROM {NEAR}") == [["owls"], ["eulen"]]
    assert rows(server, f"SELECT count(*) FROM {NEAR}") == [[2]]
    assert rows(server, f"SELECT metadata->>'year' FROM {NEAR}") == [["2023"], ["2021"]]
    assert rows(server, "SELECT count(*) FROM vector_search('docs', [1, 0, 0])") == [[4]]
    [[near]] = rows(server, f"SELECT round(min(distance), 4) FROM {NEAR}")
    assert near == pytest.approx(0.0061)


def test_filters_and_more_effort(server):
    english = "vector_search('docs', [1, 0, 0]::FLOAT[], filter := '{\"lang\":\"en\"}')"
    assert rows(server, f"SELECT id FROM {english}") == [["owls"], ["boats"]]
    assert rows(server, "SELECT id FROM vector_search('docs', [1, 0, 0], filter := NULL, k := NULL, ef := 200) LIMIT 1") == [["owls"]]
    assert rows(server, f"SELECT id FROM {english} WHERE (metadata->>'year')::INT > 2022") == [["owls"]]


def test_arguments_may_be_parameters(server):
    assert rows(server, "SELECT id FROM vector_search(?, ?::FLOAT[], k := ?, filter := ?)",
                params=["docs", "[0, 0, 1]", 1, '{"lang":"en"}']) == [["boats"]]
    assert rows(server, "SELECT id FROM vector_search($index, $q::FLOAT[], k := $k)", params={"index": "docs", "q": "[0, 1, 0]", "k": 1}) == [["bare"]]
    assert rows(server, "SELECT id FROM vector_search('docs', [?, ?, ?]::FLOAT[], k := 1)", params=[0, 0, 1]) == [["boats"]]


def test_in_a_cte_twice_and_in_other_formats(server):
    assert rows(server, f"WITH near AS (SELECT * FROM {NEAR}) SELECT a.id, b.id FROM near a, near b WHERE a.id < b.id") == [["eulen", "owls"]]
    for how in ("MATERIALIZED", "NOT MATERIALIZED"):
        assert rows(server, f"WITH near AS {how} (SELECT * FROM {NEAR}) SELECT count(*) FROM near a, near b") == [[4]]
    assert rows(server, f"SELECT id FROM {NEAR} UNION ALL SELECT id FROM vector_search('docs', [0, 0, 1], k := 1)") == [["owls"], ["eulen"], ["boats"]]
    csv = sql(server, f"SELECT id, metadata FROM {NEAR}", format="csv")
    assert csv.text.splitlines()[1].startswith("owls,") and "lang" in csv.text
    parquet = sql(server, f"SELECT * FROM {NEAR}", format="parquet")
    assert parquet.status_code == 200 and parquet.content[:4] == b"PAR1" and parquet.content[-4:] == b"PAR1"


def test_explain_shows_it_and_asks_nobody(server):
    [[_, plan]] = rows(server, "EXPLAIN SELECT id FROM vector_search('nowhere', [1, 2]::FLOAT[], k := 7)")
    assert "VECTOR_SEARCH" in plan.upper() and "nowhere" in plan and "7" in plan
    [[_, plan]] = rows(server, f"EXPLAIN ANALYZE SELECT b.title FROM {NEAR} v JOIN books b USING (id)")
    assert "VECTOR_SEARCH" in plan.upper()
    assert rows(server, f"DESCRIBE SELECT * FROM {NEAR}")[0][:2] == ["id", "VARCHAR"]


@pytest.mark.parametrize("call, status, part", [
    ("vector_search('nowhere', [1, 0, 0])", 404, 'index "nowhere" is not there'),
    ("vector_search('docs', [1, 0])", 400, "the vector has 2 numbers, the index has dimension 3"),
    ("vector_search('docs', []::FLOAT[])", 400, "the vector has 0 numbers, the index has dimension 3"),
    ("vector_search('docs', [1, NULL, 0])", 400, "number 2 of the vector is NULL"),
    ("vector_search('docs', [1, 1e300, 0])", 400, "number 2 of the vector"),
    ("vector_search('docs', ['nan'::FLOAT, 1, 0])", 400, "number 1 of the vector is nan"),
    ("vector_search('docs', NULL)", 400, "vector"),
    ("vector_search(NULL, [1, 0, 0])", 400, "the name of an index"),
    ("vector_search('', [1, 0, 0])", 400, "the name of an index"),
    ("vector_search('a/../b', [1, 0, 0])", 400, ""),
    ("vector_search('docs', [1, 0, 0], k := 0)", 400, '"k" is 0: it is a number from 1 to 10000'),
    ("vector_search('docs', [1, 0, 0], k := 10001)", 400, '"k" is 10001: it is a number from 1 to 10000'),
    ("vector_search('docs', [1, 0, 0], k := -1)", 400, '"k" is -1'),
    ("vector_search('docs', [1, 0, 0], ef := 0)", 400, '"ef" is 0'),
    ("vector_search('docs', [1, 0, 0], filter := '{\"lang\"')", 400, "the filter"),
    ("vector_search('docs', [1, 0, 0], filter := '')", 400, "the filter of vector_search is empty"),
    ("vector_search('docs', [1, 0, 0], filter := '{\"lang\":{\"$nope\":1}}')", 400, "$nope"),
    ("vector_search('docs', [1, 0, 0], filter := '{\"lang\":\"en\"},\"k\":1')", 400, "the filter"),
    ("vector_search('docs', [1, 0, 0], nope := 1)", 400, "nope"),
    ("vector_search('docs')", 400, "vector_search"),
    ("books b, vector_search(b.id, [1, 0, 0])", 400, ""),
    ("vector_search('docs', list_resize([1.0], 200000, 1.0))", 400, "too long"),
])
def test_errors_say_what_the_vectors_api_says(server, call, status, part):
    got, message = fails(server, f"SELECT * FROM {call}")
    assert got == status and part in message and "byte " not in message.replace("bytes", ""), (got, message)


def test_messages_are_those_of_the_route(server):
    for body, call in (({"vector": [1, 0, 0], "filter": {"lang": {"$nope": 1}}}, "vector_search('docs', [1, 0, 0], filter := '{\"lang\":{\"$nope\":1}}')"),
                       ({"vector": [1, 0, 0], "k": 20000}, "vector_search('docs', [1, 0, 0], k := 20000)")):
        there = requests.post(server.url + "/v1/vectors/index/docs/search", json=body, timeout=60)
        assert fails(server, f"SELECT * FROM {call}") == (there.status_code, there.json()["error"]["message"])


def test_a_dropped_index_is_gone_and_a_new_one_is_seen(server):
    make_index(server, "brief", DOCS[:1])
    text = "SELECT id FROM vector_search('brief', [1, 0, 0])"
    assert rows(server, text) == [["owls"]]
    vectors(server, "POST", "/index/brief/add", {"items": [{"id": "new", "vector": [1, 0, 0]}]})
    assert rows(server, text) == [["new"], ["owls"]]
    vectors(server, "PUT", "/alias/live", {"index": "brief"})
    assert rows(server, "SELECT id FROM vector_search('live', [1, 0, 0], k := 1)") == [["new"]]
    vectors(server, "DELETE", "/alias/live")
    vectors(server, "DELETE", "/index/brief")
    assert fails(server, text)[0] == 404
    make_index(server, "brief", DOCS[2:3])
    assert rows(server, text) == [["boats"]]
    vectors(server, "DELETE", "/index/brief")


def test_thousands_of_hits_of_a_wide_index_come_in_order(server):
    dimension, count = 4096, 3000
    vectors(server, "POST", "/index", {"name": "wide", "dimension": dimension, "metric": "l2"})
    for first in range(0, count, 500):
        items = [{"id": f"i{n}", "vector": [n] + [0.5] * (dimension - 1)} for n in range(first, first + 500)]
        vectors(server, "POST", "/index/wide/add", {"items": items})
    got = rows(server, f"SELECT id, distance FROM vector_search('wide', [0.123456789] || list_resize([]::DOUBLE[], {dimension - 1}, 0.123456789), "
                       f"k := {count}, ef := {count})")
    assert len(got) > count * 0.9 and [row[1] for row in got] == sorted(row[1] for row in got) and got[0][0] == "i0"
    vectors(server, "DELETE", "/index/wide")


def test_nothing_else_came_in_with_it(server):
    assert "there is no procedure" in fails(server, "CALL vector_search('docs')")[1]
    assert "not allowed here" in fails(server, "SELECT * FROM read_text('/etc/hostname'), " + NEAR)[1]


def test_a_view_of_what_is_near(server):
    rows(server, "CREATE OR REPLACE VIEW near AS SELECT * FROM " + NEAR)
    assert rows(server, "SELECT * FROM near ORDER BY id") == rows(server, f"SELECT * FROM {NEAR} ORDER BY id") != []


def test_a_queryd_without_vectors_says_so(start, tmp_path):
    folder = tmp_path / "data"
    storaged = start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0")
    catalogd = start("catalogd", "--storaged.dir", folder, "--catalogd.bind", "127.0.0.1:0", "--catalogd.storaged_url", storaged.url)
    queryd = start("queryd", "--storaged.dir", folder, "--queryd.bind", "127.0.0.1:0", "--queryd.storaged_url", storaged.url,
                   "--queryd.catalogd_url", catalogd.url, "--queryd.vectord_url", "")
    answer = requests.post(queryd.url + "/sql", json={"sql": f"SELECT * FROM {NEAR}"}, timeout=60)
    assert answer.status_code == 501 and "queryd.vectord_url" in answer.json()["error"]["message"], answer.text
    assert requests.post(queryd.url + "/sql", json={"sql": "SELECT 1 AS a"}, timeout=60).json()["rows"] == [{"a": 1}]


def test_a_vectord_that_is_away_is_named(start, tmp_path):
    gateway, services = start_cluster(start, tmp_path / "data")
    make_index(gateway, "docs")
    assert rows(gateway, f"SELECT id FROM {NEAR}") == [["owls"], ["eulen"]]
    services["vectord"].stop()
    status, message = fails(gateway, f"SELECT id FROM {NEAR}")
    assert status == 502 and "vectord" in message
    assert rows(gateway, "SELECT 1") == [[1]]


def test_all_items_are_a_table(server):
    answer = sql(server, "SELECT * FROM vector_items('docs') ORDER BY id").json()
    assert answer["columns"] == [{"name": "id", "type": "VARCHAR"}, {"name": "vector", "type": "FLOAT[]"}, {"name": "metadata", "type": "JSON"}]
    assert [row["id"] for row in answer["rows"]] == ["bare", "boats", "eulen", "owls"]
    there = {item["id"]: item for item in vectors(server, "GET", "/index/docs/items?with_vectors=true")["items"]}
    for row in answer["rows"]:
        assert float32(row["vector"]) == float32(there[row["id"]]["vector"])
        assert json.loads(row["metadata"]) == there[row["id"]]["metadata"]
    assert rows(server, "SELECT id, title FROM vector_items('docs') JOIN books USING (id) WHERE pages > 100 ORDER BY id") == [
        ["boats", "At sea"], ["owls", "Night hunters"]]
    assert rows(server, "SELECT count(*) FROM vector_items('docs') WHERE (metadata->>'lang') = 'en'") == [[2]]
    assert fails(server, "SELECT * FROM vector_items('nowhere')")[0] == 404
    assert fails(server, "SELECT * FROM vector_items('')")[0] == 400
    assert fails(server, "SELECT * FROM vector_items(NULL)")[0] == 400


def test_a_large_index_becomes_parquet_page_by_page_and_bit_for_bit(server):
    dice = random.Random(3)
    floats = [array.array("f", [dice.gauss(0, 1) for _ in range(7)]) for _ in range(2100)]  # several pages of 256
    vectors(server, "POST", "/index", {"name": "many", "dimension": 7, "metric": "l2"})
    vectors(server, "POST", "/index/many/add", {"items": [
        {"id": f"é{n}", "vector": list(row), **({} if n % 3 else {"metadata": {"n": n, "b": [n, None]}})} for n, row in enumerate(floats)]})
    answer = sql(server, "SELECT * FROM vector_items('many')", format="parquet")
    assert answer.status_code == 200, answer.text
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.schema.field("vector").type.value_type == pa.float32()
    found = {row["id"]: row for row in table.to_pylist()}
    assert table.num_rows == len(found) == len(floats)
    for n, row in enumerate(floats):
        got = found[f"é{n}"]
        assert float32(got["vector"]) == row.tobytes()
        assert json.loads(got["metadata"]) == ({} if n % 3 else {"n": n, "b": [n, None]})
    assert rows(server, "SELECT count(*), count(DISTINCT id) FROM vector_items('many')") == [[2100, 2100]]
    vectors(server, "DELETE", "/index/many")


def test_an_empty_index_has_no_items(server):
    vectors(server, "POST", "/index", {"name": "none", "dimension": 2, "metric": "dot"})
    assert rows(server, "SELECT * FROM vector_items('none')") == []
    vectors(server, "DELETE", "/index/none")


def test_a_page_in_bytes_has_what_one_of_json_has(server):
    target = server.url + "/v1/vectors/index/docs/items"
    after, found = "", []
    for _ in range(5):
        page = requests.get(target, params={"limit": 1, "after": after}, headers={"Accept": "application/octet-stream"}, timeout=60)
        assert page.status_code == 200 and page.headers["Content-Type"] == "application/octet-stream"
        dimension, length = struct.unpack_from("<II", page.content)
        after = page.content[8:8 + length].decode()
        at = 8 + (length + 3) // 4 * 4
        if at == len(page.content):
            break
        named, told = struct.unpack_from("<II", page.content, at)
        vector = struct.unpack_from(f"<{dimension}f", page.content, at + 8)
        texts = page.content[at + 8 + 4 * dimension:]
        assert len(texts) == (named + told + 3) // 4 * 4
        found.append({"id": texts[:named].decode(), "vector": float32(vector), "metadata": json.loads(texts[named:named + told] or b"{}")})
    assert after == ""
    there = vectors(server, "GET", "/index/docs/items?with_vectors=true")["items"]
    assert found == [{**item, "vector": float32(item["vector"])} for item in there]
