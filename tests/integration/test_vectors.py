"""Named vector indexes over HTTP, in `serve` and behind the gateway: what is put is found, what is wrong is refused.

Exact answers are computed here; floats come back bit for bit.
"""

import array
import concurrent.futures
import json
import math
import random
import struct
import subprocess
import threading
import time
import urllib.parse

import pytest
import requests

from conftest import start_cluster

OCTETS = {"Content-Type": "application/octet-stream"}


class Index:
    """One index of a server, with the routes as methods."""

    def __init__(self, url, name="things", **spec):
        self.server, self.name = url, name
        self.url = f"{url}/v1/vectors/index/{urllib.parse.quote(name, safe='')}"
        self.session = requests.Session()
        if spec:
            made = requests.post(url + "/v1/vectors/index", json={"name": name, **spec}, timeout=60)
            assert made.status_code == 201, made.text

    def ask(self, method, path, expect=200, **options):
        answer = self.session.request(method, self.url + path, timeout=120, **options)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def add(self, items, expect=200, **more):
        return self.ask("POST", "/add", expect, json={"items": items, **more})

    def search(self, expect=200, **query):
        return self.ask("POST", "/search", expect, json=query)

    def get(self, identity, expect=200):
        return self.ask("GET", "/item/" + urllib.parse.quote(identity, safe=""), expect)

    def count(self, **query):
        return self.ask("POST", "/count", json=query)["count"]

    def export(self):
        answer = self.session.get(self.url + "/items", headers={"Accept": "application/x-ndjson"}, timeout=120)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(params=["serve", "gateway"])
def door(request, start, tmp_path):
    if request.param == "serve":
        return start("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0").url
    return start_cluster(start, tmp_path / "data")[0].url


def message(answer):
    return answer["error"]["message"]


def record(identity, vector, metadata=b""):
    """An item of an addition in bytes."""
    packed = struct.pack("<II", len(identity), len(metadata)) + floats(vector) + identity + metadata
    return packed + bytes(-len(packed) % 4)


def floats(*vectors):
    """Vectors as float32, little endian."""
    return b"".join(array.array("f", vector).tobytes() for vector in vectors)


def gauss(seed, count, dimension):
    """Vectors of float32, as Python has them."""
    rng = random.Random(seed)
    return [list(array.array("f", [rng.gauss(0, 1) for _ in range(dimension)])) for _ in range(count)]


def distance(metric, a, b):
    dot = math.fsum(x * y for x, y in zip(a, b))
    if metric == "cosine":
        return 1 - dot / math.hypot(*a) / math.hypot(*b)
    return math.dist(a, b) if metric == "l2" else -dot


# ---- what is put is found ----

@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_results_and_distances_are_those_of_exact_arithmetic(shared_server, metric):
    data = gauss(5, 300, 24)
    index = Index(shared_server.url, "exact " + metric, dimension=24, metric=metric)
    assert index.add([{"id": f"i{n}", "vector": row} for n, row in enumerate(data)]) == {"added": 300, "updated": 0, "length": 300}
    for query in gauss(6, 5, 24):
        exact = sorted((distance(metric, row, query), f"i{n}") for n, row in enumerate(data))[:10]
        results = index.search(vector=query, exact=True)["results"]
        assert [hit["distance"] for hit in results] == pytest.approx([distance(metric, data[int(hit["id"][1:])], query) for hit in results], rel=1e-5, abs=1e-5)
        assert [hit["distance"] for hit in results] == sorted(hit["distance"] for hit in results)
        assert len({hit["id"] for hit in results} & {identity for _, identity in exact}) >= 9  # rows are kept in 12 bits
        assert len({hit["id"] for hit in results}) == 10


@pytest.mark.parametrize("metric,function", [("cosine", "array_cosine_distance"), ("l2", "array_distance"), ("dot", "array_negative_inner_product")])
def test_distances_are_those_of_sql(shared_server, metric, function):
    a, b = gauss(8, 2, 24)
    index = Index(shared_server.url, "sql " + metric, dimension=24, metric=metric)
    index.add([{"id": "a", "vector": a}])
    asked = requests.post(shared_server.url + "/v1/sql", json={"sql": f"SELECT {function}({a}::FLOAT[24], {b}::FLOAT[24]) AS distance"}, timeout=60)
    assert index.search(vector=b)["results"][0]["distance"] == pytest.approx(asked.json()["rows"][0]["distance"], rel=1e-5)


def test_an_item_is_found_at_no_distance_and_its_floats_come_back(door):
    data = gauss(1, 50, 33)
    data[1][:4] = [1e-40, 3e-45, -0.0, 1.1754944e-38]  # what no shorter text may spoil
    data[2][:3] = [16777216, 0.1, 1 / 3]
    index = Index(door, dimension=33, metric="l2")
    index.add([{"id": str(n), "vector": row, "metadata": {"n": n}} for n, row in enumerate(data[:25])])
    for n in range(25, 50):
        packed = record(str(n).encode(), data[n], json.dumps({"n": n}).encode())
        assert index.ask("POST", "/add", data=packed, headers=OCTETS) == {"added": 1, "updated": 0, "length": n + 1}
    for n, row in enumerate(data):
        item = index.get(str(n))
        assert floats(item["vector"]) == floats(row)
        assert item["id"] == str(n) and item["metadata"] == {"n": n}
        hit = index.search(vector=row, k=1, with_vectors=True)["results"][0]
        assert hit["id"] == str(n) and hit["distance"] == pytest.approx(0, abs=0.05) and hit["metadata"] == {"n": n}
        assert floats(hit["vector"]) == floats(row)
        assert index.search(id=str(n), k=1)["results"][0]["id"] == str(n)
    packed = index.ask("POST", "/search?k=3&with_metadata=false", data=floats(*data[:2]), headers=OCTETS)["results"]
    assert [hits[0]["id"] for hits in packed] == ["0", "1"] and all(set(hit) == {"id", "distance"} for hits in packed for hit in hits)
    assert [hits[0]["id"] for hits in index.search(vectors=data[:4], k=1)["results"]] == ["0", "1", "2", "3"]


def test_ids_of_any_text_are_kept(shared_server):
    index = Index(shared_server.url, "ids", dimension=1, metric="l2")
    ids = ["a", "a/b", "ü", "日本", "😀", " ", "a b", "%2F", "x" * 512, 'quo"te', "back\\slash", "new\nline", "?q=1", "#", "a+b", "\u007f"]
    index.add([{"id": identity, "vector": [n]} for n, identity in enumerate(ids)])
    for n, identity in enumerate(ids):
        if "\n" not in identity and identity != "\u007f":  # no control characters in a path
            assert index.get(identity)["vector"] == [n]
        assert index.search(id=identity, k=1)["results"][0]["id"] == identity
    assert {item["id"] for item in index.export()} == set(ids)
    assert index.ask("POST", "/delete", json={"ids": ids}) == {"deleted": len(ids)}
    assert index.count() == 0


def test_adding_is_all_or_nothing_and_as_if_in_order(door):
    index = Index(door, dimension=2, metric="l2")
    good = {"id": "good", "vector": [1, 2]}
    for wrong in ({"id": "bad", "vector": [1]}, {"id": "", "vector": [1, 2]}, {"id": "x" * 513, "vector": [1, 2]}, {"id": "a\0b", "vector": [1, 2]},
                  {"id": "bad", "vector": [1e16, 1]}, {"id": "bad"}, {"vector": [1, 2]}, {"id": 7, "vector": [1, 2]},
                  {"id": "bad", "vector": [1, None]}, {"id": "bad", "vector": ["1", 2]}, {"id": "bad", "vector": [[1, 2]]},
                  {"id": "bad", "vector": [1, 2], "metadata": 7}, {"id": "bad", "vector": [1, 2], "metadata": [1]},
                  {"id": "bad", "vector": [1, 2], "metadata": {"x": "y" * 65536}}, {"id": "bad", "vector": [1, 2], "meta": {}}):
        told = message(index.add([good, wrong], 400))
        assert "item 1" in told, told
    assert index.count() == 0
    twice = [{"id": "a", "vector": [1, 1], "metadata": {"x": 1}}, {"id": "a", "vector": [2, 2]}, {"id": "b", "vector": [3, 3]}]
    assert index.add(twice) == {"added": 2, "updated": 0, "length": 2}
    assert index.get("a") == {"id": "a", "vector": [2, 2], "metadata": {"x": 1}}
    assert index.add([{"id": "a", "vector": [5, 5], "metadata": {}}, {"id": "c", "vector": [1, 0]}]) == {"added": 1, "updated": 1, "length": 3}
    assert index.get("a") == {"id": "a", "vector": [5, 5], "metadata": {}}
    index.add([{"id": "d", "vector": [1, 1]}, {"id": "a", "vector": [0, 0]}], 409, mode="insert")
    index.add([{"id": "a", "vector": [0, 0]}, {"id": "d", "vector": [1, 1]}], 404, mode="update")
    assert index.get("a")["vector"] == [5, 5] and index.count() == 3
    assert index.add([{"id": "a", "vector": [7, 7]}], mode="update") == {"added": 0, "updated": 1, "length": 3}


def test_norms_have_their_bounds(shared_server):
    lines = Index(shared_server.url, "norms", dimension=2, metric="cosine")
    lines.add([{"id": "zero", "vector": [0, 0]}], 400)
    lines.add([{"id": "small", "vector": [1e-16, 0]}], 400)
    lines.add([{"id": "least", "vector": [1e-14, 0]}])
    lines.search(vector=[0, 0], expect=400)
    flat = Index(shared_server.url, "flat norms", dimension=2, metric="l2")
    flat.add([{"id": "zero", "vector": [0, 0]}, {"id": "large", "vector": [9e14, 0]}])
    flat.add([{"id": "larger", "vector": [2e15, 0]}], 400)
    flat.search(vector=[1e20, 0], expect=400)


# ---- requests that are refused ----

def test_indexes_are_made_once_and_named_well(door):
    made = Index(door, dimension=3, metric="dot")
    info = made.ask("GET", "")
    assert info["name"] == "things" and info["dimension"] == 3 and info["metric"] == "dot" and info["length"] == 0
    assert info["m"] == 32 and info["ef_construction"] == 200 and info["ef_search"] == 64  # what works, not the zeros that stand for it
    assert info["preset"] == "default"
    again = requests.post(door + "/v1/vectors/index", json={"name": "things", "dimension": 3}, timeout=60)
    assert again.status_code == 409 and again.json()["error"]["code"] == "exists"
    for wrong in ({"name": "x"}, {"dimension": 3}, {"name": "x", "dimension": 0}, {"name": "x", "dimension": 4097}, {"name": "x", "dimension": -1},
                  {"name": "x", "dimension": "3"}, {"name": "x", "dimension": 2.5}, {"name": "", "dimension": 3}, {"name": "a/b", "dimension": 3},
                  {"name": "a.b", "dimension": 3}, {"name": "a\nb", "dimension": 3}, {"name": "x" * 81, "dimension": 3}, {"name": 'a"b', "dimension": 3},
                  {"name": "x", "dimension": 3, "metric": "manhattan"}, {"name": "x", "dimension": 3, "m": 1}, {"name": "x", "dimension": 3, "m": 2**40},
                  {"name": "x", "dimension": 3, "preset": "slow"}, {"name": "x", "dimension": 3, "preset": 1},
                  {"name": "x", "dimension": 3, "ef_construction": 1}, {"name": "x", "dimension": 3, "dimensions": 3}, [], 7, None):
        answer = requests.post(door + "/v1/vectors/index", json=wrong if wrong is not None else [None], timeout=60)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid", (wrong, answer.text)
    assert [one["name"] for one in requests.get(door + "/v1/vectors/index", timeout=60).json()["indexes"]] == ["things"]
    nothing = Index(door, "none")
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/add", {"items": [{"id": "a", "vector": [1]}]}),
                               ("POST", "/search", {"vector": [1]}), ("GET", "/item/a", None), ("DELETE", "/item/a", None),
                               ("PATCH", "/item/a", {"metadata": {}}), ("POST", "/count", {}), ("GET", "/items", None),
                               ("POST", "/delete", {"all": True}), ("POST", "/delete", {"ids": []}), ("GET", "/stats", None), ("POST", "/compact", None)):
        assert nothing.ask(method, path, 404, json=body)["error"]["code"] == "not_found"
    made.ask("DELETE", "", 204)
    made.ask("GET", "", 404)
    other = Index(door, dimension=7, metric="l2")
    assert other.ask("GET", "")["dimension"] == 7 and other.count() == 0


def test_a_preset_says_what_was_not_said(start, tmp_path):
    said = {"fast": ({"preset": "fast_build"}, 16, 64, "fast_build"), "usual": ({"preset": "default"}, 32, 200, "default"),
            "own": ({"preset": "fast_build", "m": 20}, 20, 64, None), "numbers": ({"m": 16, "ef_construction": 64}, 16, 64, "fast_build")}
    for again in (False, True):  # what was made, and what a new process reads
        server = start("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0")
        for name, (given, m, breadth, preset) in said.items():
            index = Index(server.url, name) if again else Index(server.url, name, dimension=3, **given)
            for info in (index.ask("GET", ""), index.ask("GET", "/stats")):
                assert (info["m"], info["ef_construction"], info.get("preset")) == (m, breadth, preset), (name, info)
        assert server.stop() == 0


def test_a_bad_search_is_refused_by_its_field(door):
    index = Index(door, dimension=2, metric="l2")
    assert index.search(vector=[1, 2])["results"] == []
    assert index.search(vectors=[[1, 2], [3, 4]])["results"] == [[], []]
    index.add([{"id": "a", "vector": [1, 2]}, {"id": "b", "vector": [3, 4]}])
    assert len(index.search(vector=[1, 2], k=10000)["results"]) == 2
    for query, word in (({"vector": [1]}, "dimension 2"), ({"vector": [1, 2, 3]}, "3 numbers"), ({"vectors": [[1, 2], [1]]}, "dimension 2"),
                        ({"vector": [1, 2], "k": 0}, '"k"'), ({"vector": [1, 2], "k": 10001}, "10000"), ({"vector": [1, 2], "k": -3}, '"k"'),
                        ({"vector": [1, 2], "k": "3"}, '"k"'), ({"vector": [1, 2], "ef": 0}, '"ef"'), ({"vector": [1, 2], "ef": 20000}, '"ef"'),
                        ({"vectr": [1, 2]}, 'did you mean "vector"?'), ({"vector": [1, 2], "limit": 3}, '"limit"'), ({}, '"vector"'),
                        ({"vector": [1, 2], "id": "a"}, "take one of"), ({"vector": {"x": 1}}, '"vector"'), ({"vector": "[1,2]"}, '"vector"'),
                        ({"vector": [1, True]}, "a number"), ({"vector": [1, 2], "exact": "yes"}, '"exact"'), ({"vector": [1, 2], "fields": "a"}, '"fields"'),
                        ({"vector": [1, 2], "recall_target": 2}, '"recall_target"'), ({"vector": [1, 2], "filter": {"$foo": 1}}, "$foo"),
                        ({"vector": [1, 2], "filter": {"a": {"$gth": 1}}}, "$gt"), ({"vector": [1, 2], "filter": 7}, "filter")):
        told = message(index.search(400, **query))
        assert word in told, (query, told)
    for body in (b"", b"{", b"[1,2]", b'{"vector":[1,2]', b'{"vector":[1,2}', b'{"vector":[1,NaN]}', b'{"vector":[1,1e60]}', b'{"vector":[1,2]}}', b"\xff\xfe",
                 b'{"vector":[1,2],"vector":[1,2]}', b'{"vector":[01,2]}', b'{"vector":[1,2,]}', b"[" * 100000, b'{"filter":' + b"[" * 100000):
        assert "error" in index.ask("POST", "/search", 400, data=body, headers={"Content-Type": "application/json"}), body[:30]
    for body in (b"", bytes(7), bytes(9), floats([float("nan"), 1]), floats([1, float("inf")])):
        index.ask("POST", "/search", 400, data=body, headers=OCTETS)
    for asked in ("k=0", "k=x", "k=10001", "ef=-1", "exact=maybe", "recall_target=3", "max_distance=far", "filter=%7B", "filter=7"):
        index.ask("POST", "/search?" + asked, 400, data=floats([1, 2]), headers=OCTETS)
    index.ask("POST", "/search", 415, data=b"x", headers={"Content-Type": "text/plain"})
    index.search(404, id="nobody")
    for body in (b"", record(b"a", [1, 2])[:-1], record(b"a", [1]), record(b"", [1, 2]), record(b"\xff", [1, 2]), record(b"a", [1, 2], b"[]"),
                 record(b"a", [1, float("nan")]), struct.pack("<II2f", 2**32 - 1, 2**32 - 1, 1, 2)):
        index.ask("POST", "/add", 400, data=body, headers=OCTETS)
    index.ask("POST", "/add?mode=replace", 400, data=record(b"a", [1, 2]), headers=OCTETS)
    assert index.count() == 2


def test_k_is_bounded_by_its_setting_and_bodies_by_theirs(serve):
    server = serve("--vectord.k_max", "5", "--vectord.max_add_bytes", "100000")
    index = Index(server.url, dimension=100, metric="l2")
    index.search(vector=[0] * 100, k=5)
    assert "from 1 to 5" in message(index.search(400, vector=[0] * 100, k=6))
    index.ask("POST", "/add", 413, data=bytes(200000), headers=OCTETS)
    index.add([{"id": "a", "vector": [1] * 100}])
    index.ask("POST", "/search", 413, data=bytes(20 << 20), headers=OCTETS)


# ---- metadata, pages, aliases ----

def test_metadata_is_patched_filtered_and_chosen(door):
    index = Index(door, dimension=2, metric="l2")
    index.add([{"id": f"i{n}", "vector": [n, 0], "metadata": {"n": n, "kind": "even" if n % 2 == 0 else "odd", "deep": {"a.b": [n]}}} for n in range(20)])
    assert index.count(filter={"kind": "even"}) == 10 and index.count(filter={"n": {"$gte": 15}}) == 5 and index.count() == 20
    found = index.search(vector=[0, 0], k=3, filter={"kind": "odd"}, fields=["n", "deep.a\\.b", "none"])
    assert [hit["metadata"] for hit in found["results"]] == [{"n": n, "deep.a\\.b": [n]} for n in (1, 3, 5)]
    assert found["filter_count"] == 10 and found["plan"]
    assert len(index.search(vector=[0, 0], k=20, max_distance=4.5)["results"]) == 5
    filtered = index.ask("POST", "/search?k=2&fields=n&filter=" + urllib.parse.quote('{"n":{"$gt":10}}'), data=floats([0, 0]), headers=OCTETS)
    assert [hit["metadata"] for hit in filtered["results"]] == [{"n": 11}, {"n": 12}]
    index.ask("PATCH", "/item/i3", 204, json={"metadata": {"kind": "even"}})
    assert index.get("i3")["metadata"] == {"kind": "even"} and index.get("i3")["vector"] == [3, 0]
    index.ask("PATCH", "/item/i5", 204, json={"metadata": {"kind": None, "new": 1.5}, "merge": True})
    assert index.get("i5")["metadata"] == {"n": 5, "deep": {"a.b": [5]}, "new": 1.5}
    assert index.count(filter={"kind": "even"}) == 11 and index.count(filter={"kind": {"$exists": False}}) == 1
    for body in ({}, {"metadata": 1}, {"metadata": {}, "vector": [1, 2]}, {"metadata": None}):
        index.ask("PATCH", "/item/i5", 400, json=body)
    for body in ({}, {"filter": {}}, {"ids": ["i1"], "all": True}, {"ids": "i1"}, {"ids": [1]}, {"filter": {"n": 1}, "all": True}, {"all": False}, {"id": "i1"}):
        index.ask("POST", "/delete", 400, json=body)
    assert index.count() == 20
    assert index.ask("POST", "/delete", json={"filter": {"kind": "even"}}) == {"deleted": 11}
    assert index.ask("POST", "/delete", json={"ids": ["i1", "i1", "none"]}) == {"deleted": 1}
    index.ask("DELETE", "/item/i7", 204)
    index.ask("DELETE", "/item/i7", 404)
    assert {item["id"] for item in index.export()} == {f"i{n}" for n in (5, 9, 11, 13, 15, 17, 19)}
    assert index.ask("POST", "/delete", json={"all": True}) == {"deleted": 7}
    assert index.search(vector=[0, 0])["results"] == [] and index.count() == 0


def test_each_vector_of_a_batch_may_have_a_filter_of_its_own(door):
    index = Index(door, dimension=4, metric="l2")
    rows = gauss(9, 300, 4)
    index.add([{"id": str(n), "vector": row, "metadata": {"n": n, "odd": n % 2}} for n, row in enumerate(rows)])
    filters = [{"odd": 1}, None, {"n": {"$lt": 5}}, {}, {"n": -1}, {"odd": 1}]
    queries = rows[:len(filters)]
    for more in ({}, {"exact": True}, {"recall_target": 0.95}):
        together = index.search(vectors=queries, filters=filters, k=7, **more)
        alone = [index.search(vector=query, filter=filter or {}, k=7, **more) for query, filter in zip(queries, filters)]
        assert together["results"] == [one["results"] for one in alone]
        assert (together["plan"], together["filter_count"]) == (alone[-1]["plan"], 150)
        assert [len(hits) for hits in together["results"]] == [7, 7, 5, 7, 0, 7] and all(hit["metadata"]["odd"] for hit in together["results"][0])
        same = index.search(vectors=queries, filter={"odd": 1}, k=7, **more)  # and one for all
        assert same["results"] == [index.search(vector=query, filter={"odd": 1}, k=7, **more)["results"] for query in queries]
    for wrong, word in (({"filters": filters[1:]}, "one for each"), ({"filters": []}, "one for each"), ({"filters": filters, "filter": {"odd": 1}}, "without"),
                        ({"filters": {"odd": 1}}, "filters"), ({"filters": [*filters[:5], {"n": {"$near": 1}}]}, "filter 5"), ({"filters": [*filters[:5], 7]}, "filter")):
        assert word in message(index.search(400, vectors=queries, **wrong)), wrong
    assert "vectors" in message(index.search(400, vector=queries[0], filters=[{"odd": 1}]))
    assert "vectors" in message(index.search(400, id="7", filters=[{"odd": 1}]))


def test_pages_give_each_item_once_while_writes_run(door):
    index = Index(door, dimension=4, metric="l2")
    stay = {f"stay{n}": [n, 1, 2, 3] for n in range(3000)}
    index.add([{"id": identity, "vector": vector} for identity, vector in stay.items()])
    stop = threading.Event()

    def churn():
        other = Index(door)
        for n in range(1000000):
            if stop.is_set():
                return
            other.add([{"id": f"come{n}", "vector": [n, 0, 0, 0]}, {"id": f"stay{n % 3000}", "vector": stay[f"stay{n % 3000}"]}])
            other.ask("POST", "/delete", json={"ids": [f"come{n - 5}"]})

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writer = pool.submit(churn)
        for limit in (7, 100, 1000):
            seen, after = [], ""
            while after is not None:
                page = index.ask("GET", f"/items?limit={limit}&with_vectors=true&after={urllib.parse.quote(after, safe='')}")
                assert len(page["items"]) <= limit
                seen += [item for item in page["items"] if item["id"] in stay]
                after = page["next"]
            assert sorted(item["id"] for item in seen) == sorted(stay)
            assert all(item["vector"] == stay[item["id"]] for item in seen)
        exported = [item for item in index.export() if item["id"] in stay]
        stop.set()
        writer.result()
    assert sorted(item["id"] for item in exported) == sorted(stay) and all(item["vector"] == stay[item["id"]] for item in exported)


def test_an_alias_is_switched_without_a_gap(door):
    for name in ("one", "two"):
        Index(door, name, dimension=1, metric="l2").add([{"id": name, "vector": [1]}])
    alias = door + "/v1/vectors/alias/best"
    assert requests.put(alias, json={"index": "one"}, timeout=60).json() == {"alias": "best", "index": "one"}
    best = Index(door, "best")
    stop = threading.Event()

    def look():
        seen = set()
        reader = Index(door, "best")
        while not stop.is_set():
            seen.add(reader.search(vector=[1])["results"][0]["id"])
        return seen

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reader = pool.submit(look)
        for turn in range(50):
            wanted = ("one", "two")[turn % 2]
            assert requests.put(alias, json={"index": wanted}, timeout=60).status_code == 200
            assert best.search(vector=[1])["results"][0]["id"] == wanted
        stop.set()
        assert reader.result() <= {"one", "two"}
    assert requests.get(door + "/v1/vectors/alias", timeout=60).json() == {"aliases": [{"alias": "best", "index": "two"}]}
    assert requests.put(door + "/v1/vectors/alias/one", json={"index": "two"}, timeout=60).status_code == 409
    assert requests.put(alias, json={"index": "none"}, timeout=60).status_code == 404
    assert requests.delete(alias, timeout=60).status_code == 204
    best.search(404, vector=[1])


def test_care_and_figures(door):
    index = Index(door, dimension=8, metric="cosine")
    data = gauss(2, 2000, 8)
    index.ask("POST", "/add", data=b"".join(record(str(n).encode(), row) for n, row in enumerate(data)), headers=OCTETS)
    index.ask("POST", "/delete", json={"ids": [str(n) for n in range(500)]})
    full = index.ask("GET", "/stats")
    assert full["deleted"] == 500 and full["graph"]["slots"] == 2000
    for care in ("compact", "rebuild", "warm"):
        assert index.ask("POST", "/" + care)["length"] == 1500
        stats = index.ask("GET", "/stats")
        assert stats["deleted"] == 0 and stats["graph"]["slots"] == 1500 and stats["memory_bytes"] < full["memory_bytes"]
        assert index.search(vector=data[700], k=1)["results"][0]["id"] == "700"
    stats = index.ask("GET", "/stats")
    assert stats["length"] == 1500 and stats["memory_bytes"] > 0 and stats["plans"]["graph"] + stats["plans"]["scan"] + stats["plans"]["exact"] > 0
    assert index.count() == 1500 and len(index.export()) == 1500


def test_memory_has_its_bounds(serve):
    server = serve("--vectord.index_memory_limit", "4MiB")
    index = Index(server.url, dimension=256, metric="l2")
    rows = gauss(4, 1000, 256)
    batch = lambda turn: b"".join(record(f"{turn}-{n}".encode(), row) for n, row in enumerate(rows))
    for turn in range(100):
        answer = index.session.post(index.url + "/add", data=batch(turn), headers=OCTETS, timeout=120)
        if answer.status_code != 200:
            break
    assert answer.status_code == 507 and answer.json()["error"]["code"] == "no_memory" and turn > 0
    assert index.count() == 1000 * turn and index.search(vector=rows[3], k=1)["results"][0]["id"].endswith("-3")
    other = Index(server.url, "other", dimension=2, metric="l2")
    assert other.add([{"id": "a", "vector": [1, 2]}])["length"] == 1
    index.ask("POST", "/delete", json={"all": True})
    index.ask("POST", "/compact")
    assert index.add([{"id": "a", "vector": rows[0]}])["length"] == 1


def test_metrics_and_health_know_vectors(start, tmp_path):
    gateway, services = start_cluster(start, tmp_path / "data")
    index = Index(gateway.url, dimension=2, metric="l2")
    index.add([{"id": str(n), "vector": [n, 0]} for n in range(5)])
    index.add([{"id": "0", "vector": [7, 0]}])
    index.search(vector=[1, 1], k=3)
    index.search(vectors=[[1, 1], [2, 2]], k=1)
    index.search(400, vector=[1])
    index.ask("POST", "/delete", json={"ids": ["1", "2", "none"]})
    index.ask("DELETE", "/item/3", 204)
    text = requests.get(services["vectord"].url + "/metrics", timeout=10).text
    for name, wanted in (("searches", 3), ("results", 5), ("items_written", 6), ("items_deleted", 3)):
        assert f"lakehouse_vector_{name}_total {wanted}\n" in text, name
    assert requests.get(gateway.url + "/v1/health/vectord", timeout=10).json()["service"] == "vectord"
    assert requests.get(services["vectord"].url + "/ready", timeout=10).status_code == 200
    assert requests.get(services["vectord"].url + "/vectors/index", timeout=10).json()["indexes"][0]["length"] == 2


# ---- durable ----

def whole(index):
    """All of an index, {id: (the vector's bytes, metadata)}."""
    exported = index.export()
    found = {item["id"]: (floats(item["vector"]), item["metadata"]) for item in exported}
    assert len(found) == len(exported) == index.count()
    return found


def test_a_restart_keeps_everything(start, tmp_path):
    flags = ("--data", tmp_path / "data", "--listen", "127.0.0.1:0")
    server = start("serve", *flags)
    index = Index(server.url, "kept ü", dimension=16, metric="l2")
    data = gauss(3, 1000, 16)
    wanted = {}
    for at in range(0, 1000, 100):
        batch = [{"id": f"i{n}", "vector": data[n], "metadata": {"n": n}} for n in range(at, at + 100)]
        index.add(batch)
        wanted |= {item["id"]: (floats(item["vector"]), item["metadata"]) for item in batch}
    index.ask("PATCH", "/item/i7", 204, json={"metadata": {"patched": True}})
    wanted["i7"] = (wanted["i7"][0], {"patched": True})
    gone = [f"i{n}" for n in range(900, 1000)]
    assert index.ask("POST", "/delete", json={"ids": gone}) == {"deleted": 100}
    for identity in gone:
        del wanted[identity]
    requests.put(server.url + "/v1/vectors/alias/other", json={"index": "kept ü"}, timeout=60)

    def check(url, name):
        found = Index(url, name)
        assert whole(found) == wanted
        assert found.search(vector=data[5], k=1)["results"][0]["id"] == "i5"

    check(server.url, "kept ü")
    assert server.stop() == 0
    for end in ("stop", "kill"):
        server = start("serve", *flags)
        check(server.url, "kept ü")
        check(server.url, "other")
        getattr(server, end)()
    server = start("serve", *flags)
    check(server.url, "other")
    requests.delete(server.url + "/v1/vectors/index/kept%20%C3%BC", timeout=60)
    server.kill()
    server = start("serve", *flags)
    assert requests.get(server.url + "/v1/vectors/index", timeout=60).json() == {"indexes": []}


@pytest.mark.folder("a byte of a stored object is changed")
def test_a_damaged_index_is_told_and_leaves_the_others_alone(start, lakehouse, tmp_path):
    flags = ("--data", tmp_path / "data", "--listen", "127.0.0.1:0")
    server = start("serve", *flags)
    for name in ("bad", "good"):
        Index(server.url, name, dimension=2, metric="l2").add([{"id": "a", "vector": [1, 2]}])
    uuid = Index(server.url, "bad").ask("GET", "")["uuid"]
    assert server.stop() == 0
    damaged = sorted(path for path in (tmp_path / "data/_lake/vectors/by-id" / uuid).rglob("*") if path.is_file())[-1]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    server = start("serve", *flags)
    told = Index(server.url, "bad").ask("GET", "/item/a", 500)["error"]
    assert told["code"] == "corrupt"
    assert Index(server.url, "good").get("a")["vector"] == [1, 2]
    assert Index(server.url, "good").add([{"id": "b", "vector": [1, 2]}])["length"] == 2
    deadline = time.monotonic() + 20
    while (ready := requests.get(server.url + "/ready", timeout=10)).status_code == 200:
        assert time.monotonic() < deadline, "/ready does not tell"
        time.sleep(0.05)
    assert ready.status_code == 503 and "bad" in ready.text
    server.stop()
    doctor = subprocess.run([lakehouse, "doctor", "--data", tmp_path / "data", "--json"], capture_output=True, text=True, timeout=60)
    findings = [finding for finding in json.loads(doctor.stdout)["findings"] if finding["check"] == "vectors"]
    assert [finding["status"] for finding in findings] == ["problem", "ok"] and '"bad"' in findings[0]["message"] and doctor.returncode == 1


class Writer(threading.Thread):
    """Writes items of its own, one request at a time, and knows of each what it may be now.

    `known` is {id: (the vector's bytes, metadata)} of what was acknowledged. The last request may have no answer:
    then `unsure` is what these ids are if it was done, all of them, or none (None stands for an item that is gone)."""

    def __init__(self, url, number, seed, known=None):
        super().__init__(daemon=True)
        self.index, self.number, self.rng = Index(url), number, random.Random(seed)
        self.known, self.unsure, self.acknowledged, self.fault = dict(known or {}), {}, 0, None

    def item(self, n):
        value = self.rng.random()
        return {"id": f"w{self.number}-{n}", "vector": list(array.array("f", [self.number, n, value, -value])), "metadata": {"v": value}}

    def request(self):
        """(method, path, body, what the ids are afterwards)"""
        kind = self.rng.randrange(10)
        there = sorted(self.known)
        if kind == 0 and there:
            gone = self.rng.sample(there, min(len(there), 3))
            return "POST", "/delete", {"ids": gone}, dict.fromkeys(gone)
        if kind == 1 and there:
            identity, value = self.rng.choice(there), self.rng.random()
            return "PATCH", "/item/" + identity, {"metadata": {"p": value}}, {identity: (self.known[identity][0], {"p": value})}
        items = [self.item(n) for n in self.rng.sample(range(60), self.rng.choice((1, 5, 20)))]
        return "POST", "/add", {"items": items}, {item["id"]: (floats(item["vector"]), item["metadata"]) for item in items}

    def run(self):
        while True:
            method, path, body, self.unsure = self.request()
            try:
                answer = self.index.session.request(method, self.index.url + path, json=body, timeout=60)
            except requests.RequestException:
                return
            if answer.status_code not in (200, 204):
                self.fault = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
                return
            self.settle(self.unsure)
            self.acknowledged += 1

    def settle(self, states):
        """These ids are so now."""
        for identity, state in states.items():
            self.known.pop(identity, None)
            if state is not None:
                self.known[identity] = state
        self.unsure = {}

    def check(self, found):
        """What the index has of this writer's items; what was not sure is sure then."""
        mine = {identity: state for identity, state in found.items() if identity.startswith(f"w{self.number}-")}
        if mine != self.known:
            self.settle(self.unsure)
            wrong = [identity for identity in {*mine, *self.known} if mine.get(identity) != self.known.get(identity)]
            assert not wrong, f"writer {self.number}: {len(wrong)} items are neither as acknowledged nor as asked for: {sorted(wrong)[:5]}"
        self.unsure = {}


def compact_on_and_on(url):
    try:
        while requests.post(url + "/v1/vectors/index/things/compact", timeout=60).status_code == 200:
            pass
    except requests.RequestException:
        pass


def kill_at_random_moments(start, folder, rounds, seed):
    rng = random.Random(seed)
    flags = ("--data", folder, "--listen", "127.0.0.1:0", "--vectord.snapshot_log_bytes", "16KiB")
    server = start("serve", *flags)
    Index(server.url, dimension=4, metric="l2")
    known = [{} for _ in range(3)]
    acknowledged = 0
    for turn in range(rounds):
        writers = [Writer(server.url, number, rng.random(), known[number]) for number in range(len(known))]
        compactor = threading.Thread(target=compact_on_and_on, args=(server.url,), daemon=True)
        for thread in (*writers, compactor):
            thread.start()
        threading.Event().wait(rng.uniform(0.01, 0.6))  # when the power goes
        server.kill()
        compactor.join(60)
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive() and writer.fault is None, writer.fault
        server = start("serve", *flags)
        index = Index(server.url)
        found = whole(index)
        for number, writer in enumerate(writers):
            writer.check(found)
            known[number] = writer.known
            acknowledged += writer.acknowledged
        if found:
            identity = rng.choice(sorted(found))
            hit = index.search(id=identity, k=1, with_vectors=True)["results"][0]
            assert floats(hit["vector"]) == found[identity][0], f"round {turn}: {identity}"
    assert acknowledged > rounds  # else nothing was tried
    return acknowledged


def test_a_kill_at_any_moment_loses_nothing_acknowledged(start, tmp_path):
    kill_at_random_moments(start, tmp_path / "data", 15, 7)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing_acknowledged(start, tmp_path):
    kill_at_random_moments(start, tmp_path / "data", 200, 8)


@pytest.mark.slow
def test_half_a_million_vectors_in_the_log_are_found_within_ten_seconds(start, tmp_path):
    flags = ("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--vectord.snapshot_log_bytes", "8GiB")
    rng, count, dimension = random.Random(11), 500000, 128
    numbers = array.array("f", [rng.gauss(0, 1) for _ in range(2 * count + dimension)]).tobytes()
    vector = lambda n: numbers[8 * n:8 * n + 4 * dimension]  # each two numbers further: no two are near
    server = start(*flags)
    index = Index(server.url, dimension=dimension, metric="l2")
    for at in range(0, count, 20000):
        body = b"".join(struct.pack("<II", 8, 0) + vector(n) + b"%08d" % n for n in range(at, at + 20000))
        assert index.ask("POST", "/add", data=body, headers=OCTETS)["added"] == 20000
    server.kill()
    begin = time.monotonic()
    server = start(*flags)
    index = Index(server.url)
    first = index.ask("POST", "/search?k=1", data=vector(499999), headers=OCTETS)
    took = time.monotonic() - begin
    stats = index.ask("GET", "/stats")
    assert first["results"][0]["id"] == "00499999" and first["results"][0]["distance"] == 0
    assert stats["length"] == count and stats["snapshot_sequence"] == 0  # all of it came from the log
    assert stats["graph"]["linked"] < count  # and was found before it was linked
    assert took < 10, f"{took:.1f} s"


def drop_or_not(index):
    try:
        index.session.delete(index.url, timeout=60)
    except requests.RequestException:
        pass


@pytest.mark.slow
def test_an_index_that_was_dropped_never_comes_back(start, tmp_path):
    """Drop and make the same name, with a kill between or in the middle, a hundred times: never an old vector."""
    flags = ("--data", tmp_path / "data", "--listen", "127.0.0.1:0")
    rng = random.Random(9)
    server = start("serve", *flags)
    for turn in range(100):
        index = Index(server.url, dimension=2, metric="l2")
        index.add([{"id": f"{turn}", "vector": [turn, 1]}, {"id": "same", "vector": [turn, 2]}])
        if rng.random() < 0.5:
            index.ask("DELETE", "", 204)
            server.kill()
        else:
            dropping = threading.Thread(target=drop_or_not, args=(index,), daemon=True)
            dropping.start()
            threading.Event().wait(rng.uniform(0, 0.01))
            server.kill()
            dropping.join(60)
        server = start("serve", *flags)
        index = Index(server.url)
        if requests.get(index.url, timeout=60).status_code == 200:
            assert {item["id"]: item["vector"] for item in index.export()} == {f"{turn}": [turn, 1], "same": [turn, 2]}
            index.ask("DELETE", "", 204)


def test_of_two_vectord_one_writes_and_nothing_acknowledged_is_lost(start, tmp_path):
    common = ("--storaged.dir", tmp_path / "data")
    storaged = start("storaged", *common, "--storaged.bind", "127.0.0.1:0")

    def vectord():
        server = start("vectord", *common, "--vectord.bind", "127.0.0.1:0", "--vectord.storaged_url", storaged.url)
        return start("gateway", "--gateway.bind", "127.0.0.1:0", "--gateway.vectord_url", server.url, "--gateway.storaged_url", storaged.url).url

    doors = [vectord(), vectord()]
    Index(doors[0], dimension=4, metric="l2")
    known = [{}, {}]
    for turn in range(6):
        writers = [Writer(doors[(turn + number) % 2], number, turn * 10 + number, known[number]) for number in range(2)]
        for writer in writers:
            writer.start()
        threading.Event().wait(0.3)
        for writer in writers:  # the end of its work, as a client that leaves
            writer.index.session.request = leave
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive() and (writer.fault is None or ": 409 " in writer.fault), writer.fault
        found = whole(Index(vectord()))
        for number, writer in enumerate(writers):
            writer.check(found)
            known[number] = writer.known
        assert sum(writer.acknowledged for writer in writers) > 0


def leave(*_, **__):
    raise requests.ConnectionError
