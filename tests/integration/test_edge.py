"""The edge by raw sockets, at both doors: `serve`, and the gateway in front of five processes.

What is refused before a route is looked up, and how; framing, limits, slow and leaving clients. What the
gateway makes of services that misbehave is in test_upstream.py.
"""

import http.client
import json
import re
import select
import subprocess
import threading
import time

import pytest
import requests

from conftest import start_cluster
from processes import rss_anon
from raw_http import Client

HOST = "Host: localhost\r\n"
GET = "GET /v1/storage/list HTTP/1.1\r\n" + HOST
PUT = "PUT /v1/storage/put/edge.bin HTTP/1.1\r\n" + HOST
MIB = 1 << 20


def open_door(start, kind, folder, *flags):
    """The one door of a fresh lake; it has all processes' log in .all_servers."""
    if kind == "serve":
        server = start("serve", "--data", folder, "--listen", "127.0.0.1:0", *flags)
        server.all_servers = [server]
    else:
        server, services = start_cluster(start, folder, *flags)
        server.all_servers = [server, *services.values()]
    server.folder = folder
    return server


@pytest.fixture(scope="module", params=["serve", "gateway"])
def door(request, start_shared, tmp_path_factory):
    """One server for all tests of this file; each leaves it as good as it was."""
    return open_door(start_shared, request.param, tmp_path_factory.mktemp("edge") / "data")


@pytest.fixture(params=["serve", "gateway"])
def door_with(request, start, tmp_path):
    """A door of one test's own, with its settings."""
    return lambda *flags: open_door(start, request.param, tmp_path / "data", *flags)


@pytest.fixture(autouse=True)
def alive(request):
    """Whatever a test has sent: the server is there afterwards, and still answers."""
    yield
    if "door" in request.fixturenames:
        server = request.getfixturevalue("door")
        assert all(process.process.poll() is None for process in server.all_servers)
        assert requests.get(server.url + "/v1/storage/list", timeout=10).status_code == 200


def ask(server, *parts, **options):
    with Client(server.url) as client:
        return client.ask(*parts, **options)


def metric(server, name):
    text = requests.get(server.url + "/metrics", timeout=10).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def until(what, seconds=10):
    """Wait for something that the server does by itself."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def push(client, piece=b"x"):
    """Send on until there is an answer: the gateway sees its service's with the next piece only."""
    deadline = time.monotonic() + 10
    while not select.select([client.sock], [], [], 0.01)[0]:
        assert time.monotonic() < deadline, "no answer"
        try:
            client.send(piece)
        except OSError:
            return


def memory(server):
    """Resident memory of all processes behind the door, in bytes."""
    sizes = [rss_anon(each.process.pid) for each in server.all_servers]
    assert all(sizes), "a process has gone"
    return sum(sizes)


def threads(server):
    return sum(int(re.search(r"Threads:\s+(\d+)", open(f"/proc/{each.process.pid}/status").read()).group(1))
               for each in server.all_servers)


# ---- what is refused before a route is looked up ----

TARGETS = [
    "http://localhost/v1/storage/list", "HTTP://localhost/v1/storage/list", "//v1/storage/list", "/v1//storage/list",
    "/v1/storage/list/", "/v1/storage/list//", "/./v1/storage/list", "/v1/./storage/list", "/v1/storage/../storage/list",
    "/v1/storage/list/..", "/v1/storage/get/a/./b", "/v1/storage/get/a/../b", "/v1/storage/get/a//b", "/..", "/.", "//",
    "/v1/sto\x01rage/list", "/v1/storage/list?prefix=\x01", "/v1/storage/list\x7f", "/v1/st\xf6rage/list", "/v1/storage/get/\xc3\xa4",
    "/v1%2Fstorage/list", "/v1/storage%2flist", "/v1/storage%5Clist", "/v1/storage%5clist", "/%2E%2E/v1/storage/list", "/%2e/v1/storage/list",
    "/v1/%2E%2E/health", "/v1/storage/%2E%2E/%2E%2E/health", "/v1/storage/%2e%2e/storage/list", "/v1/storage/.%2e/list", "/v1/catalog%2Flist",
    "/v1/storage%00/list", "/%00", "*", "localhost:80", "?x", "",
]


@pytest.mark.parametrize("target", TARGETS)
def test_targets_that_mean_two_things_are_refused(door, target):
    with Client(door.url) as client:
        answer = client.ask(f"GET {target} HTTP/1.1\r\n{HOST}\r\n")
        assert answer is None or answer.status == (404 if target == "/v1/storage/list/" else 400), answer
        assert answer is not None or client.ended()


def test_nul_bytes_never_reach_a_route(door):
    for text in ("GET /v1/storage/list\0 HTTP/1.1\r\n" + HOST + "\r\n", "GET /v1/storage/get/a\0b HTTP/1.1\r\n" + HOST + "\r\n",
                 GET + "X-A: b\0c\r\n\r\n", "G\0ET /v1/storage/list HTTP/1.1\r\n" + HOST + "\r\n",
                 GET + "X\0: b\r\n\r\n"):
        with Client(door.url) as client:
            answer = client.ask(text)
            assert answer is None or answer.status == 400, text


HEADS = {
    "two lengths": PUT + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths that differ": PUT + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": PUT + "Content-Length: 3, 3\r\n\r\nabc",
    "a negative length": PUT + "Content-Length: -3\r\n\r\nabc",
    "a signed length": PUT + "Content-Length: +3\r\n\r\nabc",
    "a length in hex": PUT + "Content-Length: 0x3\r\n\r\nabc",
    "an empty length": PUT + "Content-Length: \r\n\r\nabc",
    "length and chunked": PUT + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked and length": PUT + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two encodings": PUT + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding before chunked": PUT + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an encoding after chunked": PUT + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": PUT + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "identity": PUT + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "nearly chunked": PUT + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked with a vertical tab": PUT + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty encoding": PUT + "Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": PUT.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two hosts": GET + HOST + "\r\n",
    "two hosts that differ": GET + "Host: other\r\n\r\n",
    "no host": "GET /v1/storage/list HTTP/1.1\r\n\r\n",
    "space before the colon": GET + "Content-Length : 3\r\n\r\nabc",
    "space in a name": GET + "X y: 3\r\n\r\n",
    "no name": GET + ": 3\r\n\r\n",
    "no colon": GET + "hello\r\n\r\n",
    "a folded first line": "GET /v1/storage/list HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare line feeds": "GET /v1/storage/list HTTP/1.1\nHost: localhost\n\n",
    "a bare line feed in a header": GET + "X: a\nContent-Length: 3\r\n\r\n",
    "a bare carriage return in a header": GET + "X: a\rContent-Length: 3\r\n\r\n",
    "a bare carriage return before the end": GET + "X: a\r\r\n\r\n",
    "a space in the target": "GET /v1/storage/ list HTTP/1.1\r\n" + HOST + "\r\n",
    "no version": "GET /v1/storage/list\r\n" + HOST + "\r\n",
    "a word as version": "GET /v1/storage/list FTTP/1.1\r\n" + HOST + "\r\n",
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "one word": "GARBAGE\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_heads_that_mean_two_things_are_refused_and_end_the_connection(door, head):
    smuggled = "GET /v1/storage/list?prefix=smuggled HTTP/1.1\r\n" + HOST + "\r\n"
    with Client(door.url) as client:
        client.send(head + smuggled)
        answer = client.answer()
        assert answer is None or answer.status == 400, answer
        assert client.ended()  # and what stood behind it was not served


@pytest.mark.parametrize("version, status", [("HTTP/2.0", 505), ("HTTP/0.9", None), ("HTTP/3", None), ("HTTP/1.10", None), ("http/1.1", None)])
def test_other_versions_are_refused(door, version, status):
    answer = ask(door, f"GET /v1/storage/list {version}\r\n{HOST}\r\n")
    assert answer is None or answer.status in (400, 505)
    assert status is None or answer.status == status


def test_http2_by_prior_knowledge_is_refused(door):
    answer = ask(door, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    assert answer is None or answer.status in (400, 505)


CHUNKS = {
    "no hex": "zz\r\nabc\r\n0\r\n\r\n", "an empty size": "\r\nabc\r\n0\r\n\r\n", "a negative size": "-3\r\nabc\r\n0\r\n\r\n",
    "a huge size": "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", "a size with 0x": "0x3\r\nabc\r\n0\r\n\r\n", "a size with a space before": " 3\r\nabc\r\n0\r\n\r\n",
    "too short": "2\r\nabc\r\n0\r\n\r\n", "too long": "4\r\nabc\r\n0\r\n\r\n", "bare line feeds": "3\nabc\n0\n\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
def test_broken_chunks_store_nothing_and_end_the_connection(door, chunks):
    key = "broken-chunks.bin"
    with Client(door.url) as client:
        answer = client.ask(PUT.replace("edge.bin", key) + "Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert answer is None or answer.status >= 400
        assert client.ended()
    assert requests.get(f"{door.url}/v1/storage/get/{key}", timeout=10).status_code == 404


def test_lengths_beyond_63_bits_are_no_requests_without_a_body(door):
    smuggled = "GET /v1/storage/list?prefix=smuggled HTTP/1.1\r\n" + HOST + "\r\n"
    sql = "POST /v1/sql HTTP/1.1\r\nContent-Type: application/json\r\n" + HOST
    for length, heads in ((2**63 - 1, (PUT, sql)), (2**63, (PUT, sql, GET)), (2**64 - 1, (PUT, sql, GET)), (2**64, (PUT, sql, GET)), (10**30, (PUT, GET))):
        for head in heads:
            with Client(door.url) as client:
                client.send(head + f"Content-Length: {length}\r\n\r\n" + smuggled)
                push(client)
                answer = client.answer()
                assert answer.status in (400, 413), (length, answer)
    for server in door.all_servers:
        assert "smuggled" not in server.log()


def test_a_second_v1_is_an_unknown_route(door):
    for path in ("/v1/v1/storage/list", "/v1/v1", "/v1/v1/v1/storage/list", "/V1/storage/list", "/v1", "/v1/", "/v1/nope", "/v2/storage/list"):
        answer = ask(door, f"GET {path} HTTP/1.1\r\n{HOST}\r\n")
        assert answer.status == 404 and json.loads(answer.body)["error"]["code"] == "not_found", path


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:3110", 200), ("10.1.2.3", 200), ("[::1]:80", 200), ("[::1]", 200),
    ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost:x", 421), ("localhost:99999", 421),
    ("evil@localhost", 421), ("localhost/evil", 421), ("[::1", 421), ("127.1", 421), ("0x7f.0.0.1", 421), ("", 421), (" ", 421)])
def test_hosts_that_are_not_ours_are_421(door, host, status):
    answer = ask(door, f"GET /v1/storage/list HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert answer.status == status
    if status == 421:
        error = json.loads(answer.body)["error"]
        assert error["request_id"] == answer.get("x-request-id")
        assert error["message"].startswith('gateway is not called "') and "its setting gateway.hosts" in error["message"]


@pytest.mark.parametrize("origin, status", [
    ("http://localhost:9", 200), ("https://localhost:9", 200), ("http://localhost:8", 403), ("http://localhost", 403), ("null", 403),
    ("http://evil.example", 403), ("http://localhost:9.evil.example", 403), ("", 403), ("file://", 403), ("chrome-extension://abc", 403)])
def test_pages_of_other_origins_are_403(door, origin, status):
    answer = ask(door, f"GET /v1/storage/list HTTP/1.1\r\nHost: localhost:9\r\nOrigin: {origin}\r\n\r\n")
    assert answer.status == status
    assert answer.get("access-control-allow-origin") is None
    asked = ask(door, f"OPTIONS /v1/sql HTTP/1.1\r\nHost: localhost:9\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\r\n")
    assert asked.get("access-control-allow-origin") is None


def test_listed_hosts_and_origins_may_call(door_with):
    server = door_with("--gateway.hosts", "lake.example", "--gateway.origins", "https://app.example")
    page = "Host: lake.example:3110\r\nOrigin: https://app.example\r\n"
    answer = ask(server, f"GET /v1/storage/list HTTP/1.1\r\n{page}\r\n")
    assert answer.status == 200 and answer.get("access-control-allow-origin") == "https://app.example" and "Origin" in answer.get("vary")
    asked = ask(server, f"OPTIONS /v1/sql HTTP/1.1\r\n{page}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n")
    assert asked.status == 204 and "POST" in asked.get("access-control-allow-methods") and "Content-Type" in asked.get("access-control-allow-headers")
    refused = ask(server, f"GET /v1/storage/get/none HTTP/1.1\r\n{page}\r\n")
    assert refused.status == 404 and refused.get("access-control-allow-origin") == "https://app.example"  # the page may read why
    assert ask(server, "GET /v1/storage/list HTTP/1.1\r\nHost: other.example\r\n\r\n").status == 421


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", "application/jsonx",
                                  "text/json;application/json"])
def test_a_json_route_takes_json_only(door, kind):
    headers = HOST + (f"Content-Type: {kind}\r\n" if kind else "")
    for path, body in (("/v1/sql", '{"sql":"SELECT 1"}'), ("/v1/catalog/register", "{}")):
        answer = ask(door, f"POST {path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}")
        assert answer.status == 415 and json.loads(answer.body)["error"]["code"] == "type"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.lake+json"])
def test_every_spelling_of_json_is_taken(door, kind):
    body = '{"sql":"SELECT 1 AS n"}'
    answer = ask(door, f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    assert answer.status == 200 and json.loads(answer.body)["rows"] == [{"n": 1}]


def test_the_lakes_own_keys_are_closed(door):
    for spelling in ("_lake/secret", "_lake%2Fsecret", "%5Flake/secret", "_lake/cat/x", "_lake", "_buckets/b/x"):
        for method, route in (("GET", "get"), ("HEAD", "get"), ("PUT", "put"), ("DELETE", "delete")):
            body = "Content-Length: 1\r\n\r\nx" if method == "PUT" else "\r\n"
            answer = ask(door, f"{method} /v1/storage/{route}/{spelling} HTTP/1.1\r\n{HOST}{body}", head_only=method == "HEAD")
            assert answer.status == 403, (method, spelling)
    assert ask(door, f"GET /v1/storage/list?prefix=_lake%2F HTTP/1.1\r\n{HOST}\r\n").status == 403
    assert b"_lake" not in ask(door, GET + "\r\n").body


def test_the_services_own_routes_are_closed(door):
    for path in ("/internal/store/list", "/v1/internal/store/list", "/v1/storage/internal/list", "/v1/storage/../internal/store/list"):
        for token in ("", "Authorization: Lakehouse secret\r\n", "Authorization: Lakehouse \r\n"):
            assert ask(door, f"GET {path} HTTP/1.1\r\n{HOST}{token}\r\n").status in (400, 403, 404), path


def test_encoded_slashes_in_keys_are_data(door):
    for raw, key in (("a%2Fb", "a/b"), ("a%5Cb", "a\\b"), ("%E2%82%AC", "\u20ac"), ("a%20b+c", "a b+c"), ("%25", "%"), ("a...b", "a...b"),
                     ("a/%2Eb", "a/.b"), ("semi;colon", "semi;colon")):
        answer = ask(door, f"PUT /v1/storage/put/data/{raw} HTTP/1.1\r\n{HOST}Content-Length: 1\r\n\r\nx")
        assert answer.status == 200 and json.loads(answer.body)["key"] == f"data/{key}", raw
        assert ask(door, f"GET /v1/storage/get/data/{raw} HTTP/1.1\r\n{HOST}\r\n").body == b"x"
    for raw in ("%2E%2E/x", "a/%2e%2e/x", "a/..%2Fx", "..%2F..%2Fx", "a%00b", "a%0Ab", "%2Fa", "a/%2E%2E", "%zz", "%2", "%"):
        for method, route in (("PUT", "put"), ("GET", "get"), ("DELETE", "delete")):
            answer = ask(door, f"{method} /v1/storage/{route}/{raw} HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n")
            assert answer.status == 400 and json.loads(answer.body)["error"]["code"] == "invalid", raw


# ---- methods, HEAD, pipelining, connections ----

def test_unknown_methods_are_405_with_the_known_ones(door):
    for method in ("POST", "PATCH", "TRACE", "PROPFIND", "get", "OPTIONS", "CONNECT", "X" * 200):
        answer = ask(door, f"{method} /v1/storage/list HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n")
        assert answer.status == 405 and answer.get("allow") == "GET, HEAD", method


def test_head_has_the_headers_of_get_and_no_body(door):
    body = bytes(1000)
    requests.put(door.url + "/v1/storage/put/head.bin", data=body, timeout=10)
    for path in ("/v1/storage/get/head.bin", "/v1/storage/list?prefix=head", "/health", "/v1/storage/get/none.bin", "/v1/nope", "/v1/catalog/list"):
        with Client(door.url) as client:
            head = client.ask(f"HEAD {path} HTTP/1.1\r\n{HOST}\r\n", head_only=True)
            got = client.ask(f"GET {path} HTTP/1.1\r\n{HOST}\r\n")  # on the same connection: no byte of a body came
            assert got.whole and head.status == got.status, path
            if not path.endswith(("none.bin", "nope")):
                assert head.get("content-length") == str(len(got.body)), path
            for name in ("content-type", "etag", "accept-ranges"):
                assert head.get(name) == got.get(name), (path, name)


def test_pipelined_requests_are_answered_in_order(door):
    requests.put(door.url + "/v1/storage/put/pipe.bin", data=b"0123456789", timeout=10)
    asked = [f"GET /v1/storage/get/pipe.bin HTTP/1.1\r\n{HOST}Range: bytes={i % 10}-{i % 10}\r\n\r\n" for i in range(50)]
    statement = json.dumps({"sql": "SELECT 7 AS n"})
    tail = [f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(statement)}\r\n\r\n{statement}",
            f"PUT /v1/storage/put/pipe2.bin HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            f"DELETE /v1/storage/delete/pipe2.bin HTTP/1.1\r\n{HOST}\r\n", f"GET /v1/storage/get/pipe2.bin HTTP/1.1\r\n{HOST}\r\n"]
    with Client(door.url) as client:
        client.send("".join(asked + tail))
        for i in range(50):
            answer = client.answer()
            assert answer.status == 206 and answer.body == b"%d" % (i % 10)
        assert json.loads(client.answer().body)["rows"] == [{"n": 7}]
        assert [client.answer().status for _ in range(3)] == [200, 204, 404]


def test_a_connection_is_kept_and_closed_as_asked(door):
    with Client(door.url) as client:
        for _ in range(3):
            assert client.ask(GET + "\r\n").status == 200
        answer = client.ask(GET + "Connection: close\r\n\r\n")
        assert answer.status == 200 and answer.get("connection") == "close" and client.ended()
    with Client(door.url) as client:
        answer = client.ask("GET /v1/storage/list HTTP/1.0\r\n\r\n")
        assert answer.status == 200 and answer.whole and client.ended()
    with Client(door.url) as client:
        answer = client.ask("GET /v1/storage/list HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.status == 200 and answer.get("transfer-encoding") is None


def test_old_clients_get_streams_without_chunks(door):
    statement = json.dumps({"sql": "SELECT range AS n FROM range(100000)", "format": "csv"})
    with Client(door.url) as client:
        answer = client.ask(f"POST /v1/sql HTTP/1.0\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(statement)}\r\n\r\n{statement}")
        assert answer.status == 200 and answer.get("transfer-encoding") is None
        assert answer.body.count(b"\n") == 100001


def test_empty_lines_before_a_request_are_forgiven(door):
    assert ask(door, "\r\n" + GET + "\r\n").status == 200


# ---- bodies ----

def test_chunked_bodies_arrive_whole(door):
    body = bytes(range(256)) * 5000
    with Client(door.url) as client:
        client.send(PUT + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        at, size = 0, 1
        while at < len(body):
            piece = body[at:at + size]
            client.send(f"{len(piece):X}\r\n".encode(), piece, b"\r\n")
            at, size = at + size, size * 3 % 50021 + 1
        client.send("0\r\nX-Sum: 123\r\nContent-Length: 5\r\nX-Request-Id: from-a-trailer\r\n\r\n")  # trailers are dropped
        answer = client.answer()
        assert answer.status == 200 and json.loads(answer.body)["size"] == len(body)
        assert answer.get("x-request-id") != "from-a-trailer"
        assert client.ask(GET + "\r\n").status == 200  # the connection is in step
    assert requests.get(door.url + "/v1/storage/get/edge.bin", timeout=10).content == body


def test_chunk_extensions_are_refused_and_never_a_part_of_the_body(door):
    for chunks in ("3;a=b\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0;a=b\r\n\r\n", "3;" + "a" * 30000 + "\r\nabc\r\n0\r\n\r\n", "3;" + "a" * 1000000):
        with Client(door.url) as client:
            try:
                answer = client.ask(PUT.replace("edge.bin", "extension.bin") + "Transfer-Encoding: chunked\r\n\r\n" + chunks)
            except OSError:
                continue  # too much to be read, and ended without a word: that is an end as well
            assert answer is None or (answer.status in (400, 413) and client.ended())
    # it is forgotten with all that it held; after the idle time at the latest, when libmicrohttpd has taken the connection out of its epoll
    until(lambda: metric(door, "lakehouse_http_in_flight") <= 1, 100)
    assert requests.get(door.url + "/v1/storage/get/extension.bin", timeout=10).status_code == 404


def test_empty_bodies_are_bodies(door):
    for framing in ("Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"):
        with Client(door.url) as client:
            answer = client.ask(PUT + framing)
            assert answer.status == 200 and json.loads(answer.body)["size"] == 0
            assert client.ask(GET + "\r\n").status == 200


def test_bodies_of_requests_that_need_none_are_passed_over(door):
    with Client(door.url) as client:
        for _ in range(3):
            assert client.ask(GET + "Content-Length: 5\r\n\r\nhello").status == 200
            assert client.ask(GET + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").status == 200


def test_streams_arrive_whole_in_both_directions(door):
    body = bytes(range(251)) * 80000  # 20 MB
    answer = requests.put(door.url + "/v1/storage/put/stream.bin", data=(body[i:i + 99991] for i in range(0, len(body), 99991)), timeout=60)
    assert answer.status_code == 200
    assert requests.get(door.url + "/v1/storage/get/stream.bin", timeout=60).content == body
    statement = json.dumps({"sql": "SELECT range AS n FROM range(1000000)", "format": "ndjson"})
    with Client(door.url) as client:
        rows = client.ask(f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(statement)}\r\n\r\n{statement}")
        assert rows.get("transfer-encoding") == "chunked" and rows.whole
        assert rows.body.count(b"\n") >= 1000000


# ---- Expect: 100-continue ----

def test_expect_is_answered_when_the_body_is_wanted(door):
    with Client(door.url) as client:
        for framing, body in (("Content-Length: 3", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")):
            answer = client.ask(PUT + f"{framing}\r\nExpect: 100-continue\r\n\r\n")
            assert answer.status == 100
            answer = client.ask(body)
            assert answer.status == 200 and json.loads(answer.body)["size"] == 3


@pytest.mark.parametrize("head, status", [
    (PUT.replace("edge.bin", "_lake/x") + "Content-Length: 100\r\n", 403),
    (PUT.replace("edge.bin", "..%2Fx") + "Content-Length: 100\r\n", 400),
    (PUT + "Content-Length: 999999999999\r\n", 413),
    (PUT + "If-Match: \"none\"\r\nContent-Length: 100\r\n", 412),
    (PUT.replace("/put/", "/nope/") + "Content-Length: 100\r\n", 404),
    (PUT.replace("PUT", "PATCH") + "Content-Length: 100\r\n", 405),
    (PUT.replace("localhost", "evil.example") + "Content-Length: 100\r\n", 421),
    ("POST /v1/sql HTTP/1.1\r\n" + HOST + "Content-Type: text/plain\r\nContent-Length: 100\r\n", 415),
    ("POST /v1/ingest?name=a.b.c.d HTTP/1.1\r\n" + HOST + "Content-Length: 100\r\n", 400)])
def test_expect_is_refused_before_the_body(door, head, status):
    with Client(door.url) as client:
        answer = client.ask(head + "Expect: 100-continue\r\n\r\n")
        assert answer.status == status  # and no 100 before it
        assert json.loads(answer.body)["error"]["request_id"]


def test_a_body_that_is_sent_without_waiting_for_100_is_taken(door):
    answer = ask(door, PUT + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    if answer.status == 100:
        return
    assert answer.status == 200 and json.loads(answer.body)["size"] == 3


# ---- refusals that come before the body was read ----

REFUSED = {"a length above the cap": ("/v1/storage/put/big.bin", 300 * MIB, 413), "a closed key": ("/v1/storage/put/_lake/x", 20 * MIB, 403),
           "no route": ("/v1/nope", 20 * MIB, 404), "a failed condition": ("/v1/storage/put/big.bin", 20 * MIB, 412)}


def zeros(count):
    piece = bytes(MIB)
    for _ in range(count // MIB):
        yield piece


@pytest.mark.parametrize("path, size, status", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_before_the_body_are_seen_by_http_client(door, path, size, status):
    for _ in range(3):
        connection = http.client.HTTPConnection(door.url.removeprefix("http://"), timeout=30)
        headers = {"Content-Length": str(size), **({"If-Match": '"none"'} if status == 412 else {})}
        try:
            connection.request("PUT", path, zeros(size), headers)
        except (BrokenPipeError, ConnectionResetError):
            assert size > 64 * MIB  # beyond what is drained
        answer = connection.getresponse()
        assert answer.status == status and json.load(answer)["error"]["request_id"]
        connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_refusals_before_the_body_are_seen_by_requests(door, chunked):
    for _ in range(5):
        for key, status in (("_lake/x", 403), ("bad%00key", 400)):
            body = zeros(30 * MIB) if chunked else bytes(30 * MIB)
            answer = requests.put(f"{door.url}/v1/storage/put/{key}", data=body, timeout=30)
            assert answer.status_code == status and answer.json()["error"]["message"]


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_refusals_before_the_body_are_seen_by_curl(door, expect, tmp_path):
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(300 * MIB)
    for key, status, size in (("_lake/x", 403, 30 * MIB), ("big.bin", 413, 300 * MIB)):
        with open(big, "r+b") as file:
            file.truncate(size)
        done = subprocess.run(["curl", "-sS", "-H", expect, "-T", big, "-w", "%{http_code} %{size_upload}", f"{door.url}/v1/storage/put/{key}"],
                              capture_output=True, text=True, timeout=60)
        body, code, sent = re.fullmatch(r"(.*}})\s*(\d+) (\d+)", done.stdout, re.DOTALL).groups()
        assert int(code) == status and json.loads(body)["error"]["code"] in ("denied", "too_large"), done
        assert "100-continue" not in expect or int(sent) == 0  # refused before the body


def test_a_chunked_body_is_cut_at_the_cap(door_with):
    server = door_with("--storaged.max_object_bytes", "1000000")
    with Client(server.url) as client:
        client.send(PUT + "Transfer-Encoding: chunked\r\n\r\n")
        piece = b"%x\r\n" % 100000 + bytes(100000) + b"\r\n"
        for _ in range(11):
            client.send(piece)
        push(client, b"1\r\nx\r\n")
        assert client.answer().status == 413  # without the last chunk
    assert requests.get(server.url + "/v1/storage/get/edge.bin", timeout=10).status_code == 404


# ---- limits ----

def test_heads_above_the_limit_are_431(door_with):
    server = door_with("--http.header_bytes_max", "8KiB")
    with Client(server.url) as client:
        assert client.ask(GET + f"X-Long: {'x' * 7000}\r\n\r\n").status == 200
        assert client.ask(GET + f"X-Long: {'x' * 9000}\r\n\r\n").status == 431
        assert client.ended()
    assert ask(server, GET + "".join(f"X-{i}: y\r\n" for i in range(2000)) + "\r\n").status == 431
    assert ask(server, f"GET /v1/storage/get/{'k' * 9000} HTTP/1.1\r\n{HOST}\r\n").status in (414, 431)
    for endless in (GET + "X: ", "GET /", GET, "G"):
        with Client(server.url) as client:  # as long as they are taken, at most what one connection may hold
            sent = 0
            try:
                while sent < 8 * MIB:
                    client.send("x" * 65536)
                    sent += 65536
            except OSError:
                pass
            assert sent < 8 * MIB
    assert requests.get(server.url + "/v1/storage/list", timeout=10).status_code == 200


def test_bodies_above_the_limit_are_413(door_with):
    server = door_with("--http.body_bytes_max", "100KiB")
    head = f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
    for body in (200_000, 60 * MIB):
        with Client(server.url) as client:
            client.send(head + f"Content-Length: {body}\r\n\r\n")
            for piece in zeros(body):
                client.send(piece)
            client.send(bytes(body % MIB))
            answer = client.answer()
            assert answer.status == 413 and json.loads(answer.body)["error"]["code"] == "too_large"
    with Client(server.url) as client:  # in chunks, without the last one
        client.send(head + "Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.send(b"%x\r\n" % 50000 + b" " * 50000 + b"\r\n")
        push(client, b"1\r\n \r\n")
        assert client.answer().status == 413


def test_connections_above_the_limit_wait_for_their_turn(door_with):
    server = door_with("--http.connections_max", "4")
    held = [Client(server.url) for _ in range(4)]
    assert all(client.ask(GET + "\r\n").status == 200 for client in held)
    with Client(server.url) as late:
        late.send(GET + "\r\n")
        late.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.more()
        late.sock.settimeout(20)
        held.pop().sock.close()
        assert late.answer().status == 200
    for client in held:
        client.sock.close()


def test_silent_connections_are_closed_after_the_idle_time(door_with):
    server = door_with("--http.idle_timeout_seconds", "3")
    (server.folder / "large.bin").write_bytes(bytes(50 * MIB))
    clients = [Client(server.url) for _ in range(6)]
    nothing, part, kept, body, reader, sender = clients
    part.send("GET /v1/sto")
    kept.ask(GET + "\r\n")
    body.send(PUT + "Content-Length: 100\r\n\r\nabc")
    sender.send(PUT + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    reader.send(f"GET /v1/storage/get/large.bin HTTP/1.1\r\n{HOST}\r\n")  # and takes nothing
    for client in (nothing, part, kept, body, sender):
        while client.more():
            pass
    until(lambda: metric(server, "lakehouse_http_client_gone_total") >= 3)
    answer = reader.answer()
    assert answer.status == 200 and not answer.whole  # what was on its way, and then the cut
    for client in clients:
        client.sock.close()
    assert requests.get(server.url + "/v1/storage/get/edge.bin", timeout=10).status_code == 404


# ---- slow clients ----

def test_slow_heads_and_bodies_cost_no_thread(door_with):
    server = door_with("--http.workers", "2")
    requests.get(server.url + "/v1/storage/list", timeout=10)
    before, used = threads(server), memory(server)
    clients = [Client(server.url) for _ in range(300)]
    kinds = ("GET /v1/sto", GET + "X-Slow: ", f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
             f"POST /v1/ingest?name=slow HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\na,b\n")
    for i, client in enumerate(clients):
        client.send(kinds[i % len(kinds)])
    for _ in range(3):
        for client in clients:
            client.send("x")
        assert requests.get(server.url + "/v1/storage/list", timeout=10).status_code == 200
    assert threads(server) < before + 20
    assert memory(server) - used < 300 * 300 * 1024  # what one connection may hold: its head, and one piece each way
    for client in clients:
        client.sock.close()
    until(lambda: metric(server, "lakehouse_http_connections") <= 2)


TRICKLES = {"length": ("Content-Length: 1000000\r\n\r\n", "x"), "chunks": ("Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            "a chunk's length": ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "0")}


@pytest.mark.parametrize("kind", TRICKLES)
def test_a_body_that_trickles_is_cut_and_gives_its_slot_back(door_with, kind):
    server = door_with("--http.idle_timeout_seconds", "1", "--storaged.put_slots", "1")
    framing, piece = TRICKLES[kind]
    with Client(server.url) as client:
        client.send(PUT + framing)
        client.sock.settimeout(0.05)
        for _ in range(400):
            try:
                client.send(piece)
                client.sock.recv(65536)
                break  # an answer or the end
            except TimeoutError:
                pass
            except ConnectionError:
                break
        else:
            raise AssertionError("it goes on for ever")
    until(lambda: requests.put(server.url + "/v1/storage/put/edge.bin", data=b"y", timeout=10).status_code == 200)
    assert requests.get(server.url + "/v1/storage/get/edge.bin", timeout=10).content == b"y"


def test_a_slow_body_above_the_rate_arrives_whole(door_with):
    server = door_with("--http.idle_timeout_seconds", "1", "--http.body_rate_min", "50")
    with Client(server.url) as client:
        client.send(PUT + "Content-Length: 1000\r\n\r\n")
        for _ in range(50):  # 2.5 s, more than twice the idle time
            client.send("x" * 20)
            time.sleep(0.05)
        assert client.answer().status == 200
    assert requests.get(server.url + "/v1/storage/get/edge.bin", timeout=10).content == b"x" * 1000


def test_slow_readers_cost_no_thread_and_bounded_memory(door_with):
    server = door_with("--http.workers", "2")
    requests.put(server.url + "/v1/storage/put/large.bin", data=bytes(100 * MIB), timeout=30)
    before, used = threads(server), memory(server)
    readers = [Client(server.url, receive_buffer=4096) for _ in range(100)]
    for reader in readers:
        reader.send(f"GET /v1/storage/get/large.bin HTTP/1.1\r\n{HOST}\r\n")
    for reader in readers:
        assert reader.more()
    for _ in range(20):
        for reader in readers:
            reader.sock.recv(1)
        assert requests.get(server.url + "/v1/storage/list", timeout=10).status_code == 200
    assert threads(server) < before + 20
    assert memory(server) - used < 100 * MIB  # 10 GB are wanted
    for reader in readers:
        reader.sock.close()
    until(lambda: metric(server, "lakehouse_http_in_flight") <= 1)


def test_a_slow_reader_of_rows_stops_the_query_and_gets_them_all(door):
    statement = json.dumps({"sql": "SELECT range AS n, repeat('x', 100) AS t FROM range(1000000)", "format": "csv"})
    with Client(door.url, receive_buffer=4096) as reader:
        reader.send(f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(statement)}\r\n\r\n{statement}")
        assert reader.more()
        requests.get(door.url + "/v1/storage/list", timeout=10)
        used = memory(door)
        for _ in range(50):
            reader.sock.recv(1)
            assert ask(door, GET + "\r\n").status == 200
        assert memory(door) - used < 64 * MIB  # of 110 MB


# ---- clients that leave ----

def test_clients_that_leave_at_any_time_leave_nothing_behind(door):
    statement = json.dumps({"sql": "SELECT count(*) FROM range(100000000000) WHERE range % 7 = 3"})
    sql = f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {len(statement)}\r\n\r\n{statement}"
    ingest = f"POST /v1/ingest?name=gone HTTP/1.1\r\n{HOST}Content-Length: 100000\r\n\r\na,b\n1,2\n"
    put = PUT.replace("edge.bin", "left.bin") + "Content-Length: 100000\r\n\r\nabc"
    chunked = PUT.replace("edge.bin", "left.bin") + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    for text in (sql, ingest, put, chunked, PUT + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", GET, "G", GET + "\r\n"):
        for way in ("close", "half", "reset"):
            client = Client(door.url)
            client.send(text)
            if way == "half":
                client.sock.shutdown(1)
                while client.more():
                    pass  # it ends: an answer or not, but no hang
            elif way == "reset":
                client.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER, 0 seconds: a reset
            client.sock.close()
    until(lambda: metric(door, "lakehouse_http_in_flight") <= 1 and metric(door, "lakehouse_http_connections") <= 2, 20)
    assert requests.get(door.url + "/v1/storage/get/left.bin", timeout=10).status_code == 404
    assert requests.get(door.url + "/v1/catalog/manifest/gone", timeout=10).status_code == 404


def test_a_client_that_closes_its_sending_half_gets_an_answer_that_needs_no_wait(door):
    with Client(door.url) as client:
        client.send(f"GET /health HTTP/1.1\r\n{HOST}\r\n")
        client.sock.shutdown(1)
        assert client.answer().status == 200
        assert client.ended()


# ---- noise ----

def test_mutilated_requests_never_hang_or_end_the_server(door):
    """A request with one byte turned, at every place, and cut short at every place."""
    request = (PUT.replace("edge.bin", "noise.bin") + "Content-Length: 3\r\nX-A: b\r\n\r\nabc").encode()
    texts = [request[:at] for at in range(len(request))]
    for turn in (0x00, 0x0A, 0x0D, 0x20, 0x3A, 0x80, 0xFF):
        texts += [request[:at] + bytes([turn]) + request[at + 1:] for at in range(len(request))]
    for start in range(0, len(texts), 200):
        clients = [Client(door.url) for _ in texts[start:start + 200]]
        for client, text in zip(clients, texts[start:]):
            client.send(text)
            try:
                client.sock.shutdown(1)
            except OSError:
                pass  # it has refused and ended already
        for client, text in zip(clients, texts[start:]):
            with client:
                while client.more():
                    pass
                assert not client.bytes or (client.bytes.startswith(b"HTTP/1.") and client.bytes[9:12] != b"500"), text


def test_connections_that_say_nothing_are_no_requests(door):
    before = metric(door, "lakehouse_http_requests_total")
    for _ in range(200):
        Client(door.url).sock.close()
    assert metric(door, "lakehouse_http_requests_total") - before <= 1


def test_many_clients_at_once_each_get_their_own_answer(door):
    faults = []

    def work(who):
        try:
            with Client(door.url) as client:
                for i in range(30):
                    body = f"{who}-{i}" * 50
                    put = client.ask(f"PUT /v1/storage/put/own/{who} HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n{body}")
                    if put.status == 503:
                        assert put.get("retry-after") == "5"
                        continue
                    assert put.status == 200, put
                    assert client.ask(f"GET /v1/storage/get/own/{who} HTTP/1.1\r\n{HOST}\r\n").body == body.encode()
        except Exception as fault:  # noqa: raised below
            faults.append(fault)
    workers = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults, faults[0]
