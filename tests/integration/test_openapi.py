"""The OpenAPI document is the truth: it describes every route and parameter that the program has and no other,
and every answer that the program gives is as it says.

Adding a route, a parameter or a field of an answer without a line in src/api/openapi.json fails here.
"""

import gzip
import json
import pathlib
import re
import struct
import urllib.parse

import jsonschema
import openapi_spec_validator
import pyarrow
import pyarrow.parquet
import pytest
import requests

import raw_http
from conftest import start_cluster

API = pathlib.Path(__file__).resolve().parents[2] / "src/api"
DOCUMENT = json.loads((API / "openapi.json").read_text())
METHODS = ("get", "head", "put", "post", "delete", "patch", "options")


def operations():
    """(method, path template, operation) of all."""
    return [(method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()]


def resolve(node):
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def closed(schema):
    """The schema as this program must hold it: what it does not name is not there. (Clients must bear more.)"""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value if key in ("const", "enum", "required", "pattern", "examples", "description") else closed(value)
              for key, value in resolve(schema).items()}
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def operation_of(method, path):
    """The operation that a request belongs to."""
    for known, template, operation in operations():
        pattern = "".join("(.+)" if part == "{key}" else "([^/]+)" if part.startswith("{") else re.escape(part)
                          for part in re.split(r"(\{\w+\})", template))
        if known == ("get" if method == "head" else method) and re.fullmatch(pattern, path):
            return operation
    raise AssertionError(f"{method} {path} is not in the document")


def check(answer):
    """Hold an answer of the program to the document; returns it."""
    request = answer.request
    operation = operation_of(request.method.lower(), urllib.parse.urlsplit(request.url).path)
    what = f"{request.method} {request.url}: {answer.status_code} {answer.text[:500]}"
    described = operation["responses"].get(str(answer.status_code), operation["responses"].get("default"))
    assert described, what
    described = resolve(described)
    assert answer.headers["X-Request-Id"]
    for name, header in described.get("headers", {}).items():
        header = resolve(header)
        assert name in answer.headers or not header.get("required"), (name, what)
        if name in answer.headers:
            jsonschema.validate(answer.headers[name], header["schema"])
    content = described.get("content", {})
    if not content or request.method == "HEAD":
        assert not answer.content, what
        return answer
    assert answer.headers["Content-Type"] in content, (answer.headers["Content-Type"], what)
    if answer.headers["Content-Type"] == "application/json":
        jsonschema.validate(answer.json(), closed(content["application/json"]["schema"]), jsonschema.Draft202012Validator)
    return answer


# ---- the document ----

def test_the_document_is_valid_openapi():
    openapi_spec_validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}


def test_every_schema_is_one():
    for _, _, operation in operations():
        for described in operation["responses"].values():
            for media in resolve(described).get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(closed(media["schema"]))


def test_every_part_of_the_document_is_used():
    text = json.dumps(DOCUMENT)
    for kind, parts in DOCUMENT["components"].items():
        for name in parts:
            assert f"#/components/{kind}/{name}" in text, (kind, name)


def test_the_codes_of_errors_are_those_of_the_reference():
    reference = (API.parents[1] / "docs/reference/errors.md").read_text()
    told = re.findall(r"^\| `(\w+)` \| \d{3} \|", reference, re.MULTILINE)
    assert told == DOCUMENT["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]


# ---- the document and the program's routes ----

def routes_of(server):
    """(method, pattern) of each route that a running server has, asked from outside: its histograms name the
    patterns from the start, and a method that no route has is told those that there are."""
    text = requests.get(server.url + "/metrics", timeout=10).text
    patterns = set(re.findall(r'^lakehouse_http_request_seconds_count\{route="([^"]*)"\}', text, re.MULTILINE)) - {"(none)"}
    # the Iceberg REST catalogue has a specification of its own; its /v1/config is held to its routes in test_iceberg_rest.py
    patterns = {pattern for pattern in patterns if not pattern.startswith("/iceberg/")}
    found = set()
    for pattern in patterns:
        refused = requests.request("BREW", server.url + re.sub(r"\{\w+\*?\}", "x", pattern), timeout=10)
        assert refused.status_code == 405, pattern
        found |= {(method.lower(), pattern.replace("*}", "}")) for method in refused.headers["Allow"].split(", ")}
    return found


def test_every_route_is_documented_and_every_documented_one_is_there(serve):
    documented = {(method, path) for method, path, _ in operations()}
    documented |= {("head", path) for method, path in documented if method == "get"}
    assert routes_of(serve()) == documented


def test_the_gateway_serves_the_same_document_and_forwards_every_path(start, tmp_path):
    gateway, _ = start_cluster(start, tmp_path / "data")
    for url in (gateway.url, start("serve", "--data", tmp_path / "other", "--listen", "127.0.0.1:0").url):
        answer = requests.get(url + "/openapi.json", timeout=10)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
        assert answer.content == (API / "openapi.json").read_bytes()
        assert requests.get(url + "/health", timeout=10).json()["version"] == DOCUMENT["info"]["version"]
    for _, path, operation in operations():
        refused = requests.request("BREW", gateway.url + re.sub(r"\{\w+\}", "storaged", path), timeout=10)
        assert refused.status_code == 405, path


def sources():
    """What clients can reach: all of src/api but the routes of the services among themselves."""
    return "".join(path.read_text() for path in sorted(API.glob("*.c")) if "internal" not in path.name)


def parameters(place):
    return {resolve(parameter)["name"] for _, _, operation in operations() for parameter in operation.get("parameters", [])
            if resolve(parameter)["in"] == place}


def test_every_query_parameter_is_documented_and_every_documented_one_is_read():
    read = set(re.findall(r'\b(?:\w+_)?query\w*\(\s*req,\s*"(\w+)"', sources()))
    assert read == parameters("query")


def test_every_header_that_is_read_is_documented_and_every_documented_one_is_read():
    read = set(re.findall(r'http_headers_get\(&req->headers,\s*STR\("([\w-]+)"\)\)', sources()))
    if "http_conditions(&req->headers, \"\"," in sources():  # reads several by itself
        read |= set(re.findall(r'prefixed\(headers, prefix, "([\w-]+)"\)', (API.parent / "http" / "message.c").read_text()))
    ours_by_openapi = {"Accept", "Content-Type", "Authorization"}  # may not be parameters there
    assert {name.lower() for name in read - ours_by_openapi} == {name.lower() for name in parameters("header")}


def test_every_field_of_a_request_is_documented_and_every_documented_one_is_read():
    read = set(re.findall(r'\b(?:json_get_\w+|yyjson_obj_get)\(\s*(?:body|root),\s*"(\w+)"', sources()))
    read |= set(re.findall(r'\bFIELD\("(\w+)"', sources()))
    told = set()
    for _, _, operation in operations():
        media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        told |= set(resolve(media["schema"])["properties"]) if media else set()
    assert read == told


# ---- the document and the program's answers ----

@pytest.fixture(params=["serve", "gateway"])
def door(request, start, tmp_path):
    small = ("--storaged.max_object_bytes", "1000000", "--vectord.max_add_bytes", "1000000")
    if request.param == "serve":
        return start("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", *small)
    return start_cluster(start, tmp_path / "data", *small)[0]


def ask_vectors(ask):
    """Every route of vectors, and every answer that it is said to give."""
    index, octets = "/v1/vectors/index/birds", {"Content-Type": "application/octet-stream"}
    ask("POST", "/v1/vectors/index", 201, json={"name": "birds", "dimension": 2, "metric": "l2"})
    ask("POST", "/v1/vectors/index", 409, json={"name": "birds", "dimension": 2})
    ask("POST", "/v1/vectors/index", 400, json={"name": "birds"})
    ask("POST", "/v1/vectors/index", 415, data=b"{}")
    items = [{"id": "a/b", "vector": [0, 1], "metadata": {"x": {"y": 1}}}, {"id": "c", "vector": [1, 0.1]}]
    assert ask("POST", index + "/add", 200, json={"items": items}).json() == {"added": 2, "updated": 0, "length": 2}
    record = struct.pack("<II2f", 1, 0, 3, 4) + b"d\0\0\0"
    ask("POST", index + "/add?mode=insert", 200, data=record, headers=octets)
    ask("POST", index + "/add?mode=insert", 409, data=record, headers=octets)
    ask("POST", index + "/add", 400, json={"items": [{"id": "c", "vector": [1]}]})
    ask("POST", index + "/add", 404, json={"items": [{"id": "none", "vector": [1, 2]}], "mode": "update"})
    ask("POST", index + "/add", 413, data=bytes(2_000_000), headers=octets)
    ask("POST", index + "/add", 415, data=b"id,vector")
    found = ask("POST", index + "/search", 200, json={"vector": [0, 1], "k": 1, "with_vectors": True, "fields": ["x.y"]}).json()
    assert found["results"] == [{"id": "a/b", "distance": 0, "metadata": {"x.y": 1}, "vector": [0, 1]}]
    assert len(ask("POST", index + "/search", 200, json={"vectors": [[0, 1], [1, 0]], "recall_target": 0.9}).json()["results"]) == 2
    asked = "?k=2&ef=20&exact=true&max_distance=100&with_vectors=false&with_metadata=true&batch=true&fields=x.y"
    assert len(ask("POST", index + "/search" + asked, 200, data=struct.pack("<2f", 0, 1), headers=octets).json()["results"][0]) == 2
    ask("POST", index + "/search", 400, json={"vector": [0, 1], "k": 0})
    ask("POST", index + "/search", 404, json={"id": "nobody"})
    ask("POST", index + "/search", 413, data=bytes(20 << 20), headers=octets)
    ask("POST", index + "/search", 415, data=b"x")
    assert ask("GET", index + "/item/a%2Fb", 200).json() == items[0]
    ask("GET", index + "/item/c?with_vectors=false", 200)
    ask("GET", index + "/item/none", 404)
    ask("PATCH", index + "/item/c", 204, json={"metadata": {"x": 2}, "merge": True})
    ask("PATCH", index + "/item/c", 400, json={"metadata": 1})
    ask("PATCH", index + "/item/none", 404, json={"metadata": {}})
    ask("PATCH", index + "/item/c", 415, data=b"{}")
    assert ask("POST", index + "/count", 200, json={"filter": {"x": 2}}).json() == {"count": 1}
    ask("POST", index + "/count", 400, json={"filter": {"$or": 1}})
    ask("POST", "/v1/vectors/index/none/count", 404, json={})
    ask("POST", index + "/count", 415, data=b"{}")
    page = ask("GET", index + "/items?limit=2&with_vectors=true", 200).json()
    assert len(page["items"]) == 2 and page["next"]
    ask("GET", index + "/items?after=" + urllib.parse.quote(page["next"], safe=""), 200)
    ask("GET", index + "/items", 200, headers={"Accept": "application/x-ndjson"})
    ask("GET", index + "/items?limit=0", 400)
    ask("GET", "/v1/vectors/index/none/items", 404)
    for care in ("compact", "rebuild", "warm"):
        ask("POST", f"{index}/{care}", 200)
        ask("POST", f"/v1/vectors/index/none/{care}", 404)
    ask("GET", index + "/stats", 200)
    ask("GET", "/v1/vectors/index/none/stats", 404)
    ask("GET", "/v1/vectors/index", 200)
    ask("GET", index, 200)
    ask("GET", "/v1/vectors/index/none", 404)
    ask("PUT", "/v1/vectors/alias/best", 200, json={"index": "birds"})
    ask("PUT", "/v1/vectors/alias/best", 404, json={"index": "none"})
    ask("PUT", "/v1/vectors/alias/birds", 409, json={"index": "birds"})
    ask("PUT", "/v1/vectors/alias/best", 400, json={"indx": "birds"})
    ask("PUT", "/v1/vectors/alias/best", 415, data=b"{}")
    ask("GET", "/v1/vectors/alias", 200)
    ask("DELETE", "/v1/vectors/alias/best", 204)
    ask("DELETE", "/v1/vectors/alias/best", 404)
    ask("DELETE", index + "/item/c", 204)
    ask("DELETE", index + "/item/c", 404)
    assert ask("POST", index + "/delete", 200, json={"ids": ["d", "none"]}).json() == {"deleted": 1}
    ask("POST", index + "/delete", 200, json={"filter": {"x.y": 1}})
    ask("POST", index + "/delete", 200, json={"all": True})
    ask("POST", index + "/delete", 400, json={"filter": {}})
    ask("POST", "/v1/vectors/index/none/delete", 404, json={"all": True})
    ask("POST", index + "/delete", 415, data=b"{}")
    ask("DELETE", index, 204)
    ask("DELETE", index, 404)


def test_answers_are_as_the_document_says(door, tmp_path):
    seen = set()

    def ask(method, path, expect, **options):
        answer = check(requests.request(method, door.url + path, timeout=60, **options))
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        seen.add((operation_of("get" if method == "HEAD" else method.lower(), path.split("?")[0])["operationId"], expect))
        return answer

    def sql(text, expect=200, **more):
        return ask("POST", "/v1/sql", expect, json={"sql": text, **more})

    for path in ("/health", "/metrics", "/openapi.json", "/v1/health/storaged", "/v1/health/queryd"):
        ask("GET", path, 200)
    while requests.get(door.url + "/ready", timeout=10).status_code != 200:
        check(requests.get(door.url + "/ready", timeout=10))
    ask("GET", "/ready", 200)
    ask("GET", "/v1/health/nobody", 404)

    put, get = "/v1/storage/put/a/", "/v1/storage/get/a/"
    etag = ask("PUT", put + "one.txt", 200, data=b"0123456789").headers["ETag"]
    ask("PUT", put + "one.txt", 412, data=b"x", headers={"If-None-Match": "*"})
    ask("PUT", put + "one.txt", 412, data=b"x", headers={"If-Match": '"other"'})
    ask("PUT", put + "..%2Fx", 400, data=b"x")
    ask("PUT", put + "one.txt", 400, data=b"x", headers={"Content-Range": "bytes 0-0/10"})
    ask("PUT", "/v1/storage/put/_lake/x", 403, data=b"x")
    ask("PUT", put + "large", 413, data=bytes(2_000_000))
    ask("GET", get + "one.txt", 200)
    ask("HEAD", get + "one.txt", 200)
    ask("GET", get + "one.txt", 206, headers={"Range": "bytes=2-3"})
    ask("GET", get + "one.txt", 416, headers={"Range": "bytes=20-"})
    ask("GET", get + "one.txt", 304, headers={"If-None-Match": etag})
    ask("GET", get + "one.txt", 412, headers={"If-Match": '"other"'})
    ask("GET", get + "none", 404)
    ask("GET", get + "%00", 400)
    ask("GET", "/v1/storage/get/_lake/x", 403)
    ask("GET", "/v1/storage/list", 200)
    ask("PUT", put + "b/two.txt", 200, data=b"x")
    assert ask("GET", "/v1/storage/list?prefix=a/&delimiter=/&limit=1", 200).json()["truncated"]
    ask("GET", "/v1/storage/list?limit=0", 400)
    ask("GET", "/v1/storage/list?prefix=_lake/", 403)
    ask("DELETE", "/v1/storage/delete/a/one.txt", 204)
    ask("DELETE", "/v1/storage/delete/_lake/x", 403)
    ask("DELETE", "/v1/storage/delete/a/one.txt", 501, headers={"If-Match": etag})

    csv = b"id,name,day\n1,owl,2024-01-02\n2,wren,2024-01-03\n"
    assert ask("POST", "/v1/ingest?name=birds", 200, data=csv).json()["created"]
    assert ask("POST", "/v1/ingest?name=birds", 200, data=csv).json()["deduplicated"]
    ask("POST", "/v1/ingest?name=forms", 200, files={"file": ("birds.csv", csv)})
    ask("POST", "/v1/ingest?name=birds&evolve=true", 200, data=b"id,name,day,more\n3,tit,2024-01-04,1.5\n", headers={"Idempotency-Key": "k1"})
    ask("POST", "/v1/ingest?name=birds", 409, data=b"other\n1\n")
    ask("POST", "/v1/ingest?name=bad", 400, data=b'a,b\n1,2\n"3\n')
    ask("POST", "/v1/ingest", 400, data=csv)
    ask("POST", "/v1/ingest?name=birds", 415, data=csv, headers={"Content-Encoding": "br"})
    ask("POST", "/v1/ingest?name=birds", 413, data=gzip.compress(b"id\n" + b"1\n" * (50 << 20), 1))

    table = tmp_path / "two.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [1, 2, 3]}), table)
    ask("PUT", put + "two.parquet", 200, data=table.read_bytes())
    assert ask("POST", "/v1/catalog/register", 200, json={"name": "numbers", "objects": ["a/two.parquet"]}).json()["added"] == 1
    assert ask("POST", "/v1/catalog/register", 200, json={"name": "numbers", "objects": ["a/two.parquet"]}).json()["existing"]
    ask("POST", "/v1/catalog/register", 404, json={"name": "numbers", "objects": ["a/none.parquet"]})
    ask("POST", "/v1/catalog/register", 409, json={"name": "birds", "objects": ["a/two.parquet"]})
    ask("POST", "/v1/catalog/register", 400, json={"name": 1})
    ask("POST", "/v1/catalog/register", 415, data=b"{}")
    assert len(ask("GET", "/v1/catalog/list", 200).json()["tables"]) == 3
    assert ask("GET", "/v1/catalog/list?limit=1", 200).json()["next"]
    ask("GET", "/v1/catalog/list?limit=x", 400)
    ask("GET", "/v1/catalog/manifest/birds", 200)
    assert "source" in ask("GET", "/v1/catalog/manifest/numbers", 200).json()["files"][0]
    ask("GET", "/v1/catalog/manifest/none", 404)
    ask("GET", "/v1/catalog/manifest/a.b.c", 404)
    ask("GET", "/v1/catalog/manifest/a..c", 400)

    sql("SELECT * FROM birds")
    sql("SELECT * FROM birds WHERE id = ?", params=[1], row_format="arrays")
    sql("SELECT $who AS who", params={"who": "me"})
    for kind in ("ndjson", "csv", "json", "arrow", "parquet"):
        sql("SELECT 1 AS a, [1] AS b, {'x': 1} AS c", format=kind)
    ask("GET", "/v1/sql/running", 200)
    ask("DELETE", "/v1/sql/running/nobody", 404)
    sql("SELEC", 400)
    sql("SELECT * FROM none", 404)
    sql("SELECT " + "1+" * (9 << 20) + "1", 413)
    ask("POST", "/v1/sql", 415, data=b"SELECT 1")
    ask("DELETE", "/v1/catalog/table/birds", 204)
    ask("DELETE", "/v1/catalog/table/birds", 404)

    ask_vectors(ask)

    told = {(operation["operationId"], int(status)) for _, _, operation in operations() for status in operation["responses"] if status != "default"}
    # what needs a server that is busy, stopping or out of time; other tests see those
    rare = {("put_object", 503), ("ready", 503), ("ingest", 503), ("sql", 503), ("sql", 504), ("sql", 507), ("sql", 499), ("cancel_running", 204), ("delete_object", 400), ("drop_table", 400)}
    assert told - seen <= rare, told - seen - rare


def test_busy_and_late_answers_are_as_the_document_says(serve):
    server = serve("--storaged.put_slots", "1", "--queryd.timeout_seconds", "1")
    with raw_http.Client(server.url) as first:
        first.send("PUT /v1/storage/put/first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert first.answer().status == 100  # it has the one slot
        assert check(requests.put(server.url + "/v1/storage/put/second", data=b"x", timeout=30)).status_code == 503
        first.send("x")
        assert first.answer().status == 200
    statement = {"sql": "SELECT count(*) FROM range(100000000000) WHERE range % 7 = 3"}
    assert check(requests.post(server.url + "/v1/sql", json=statement, timeout=30)).status_code == 504
