"""storaged's routes for clients, from outside: objects, ranges, conditions, lists, limits, what is closed."""

import hashlib
import http.client
import json
import os
import socket
import struct
import threading
import time
import urllib.parse

import pytest


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["error"]["code"]


class Client:
    """One fresh connection a call; paths go out as they are given, keys are encoded."""

    def __init__(self, url):
        self.address = urllib.parse.urlsplit(url).netloc

    def call(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def put(self, key, body, **headers):
        return self.call("PUT", "/storage/put/" + urllib.parse.quote(key), body, **headers)

    def get(self, key, method="GET", **headers):
        return self.call(method, "/storage/get/" + urllib.parse.quote(key), **headers)

    def delete(self, key, **headers):
        return self.call("DELETE", "/storage/delete/" + urllib.parse.quote(key), **headers)

    def list(self, **query):
        return self.call("GET", "/storage/list?" + urllib.parse.urlencode(query))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "lake"


@pytest.fixture
def client(start, folder):
    server = start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0",
                   "--storaged.max_object_bytes", "3000000")
    return Client(server.url)


@pytest.mark.folder("looks for the file")
def test_an_object_comes_back_as_it_went_in(client, folder):
    body = os.urandom(2_500_000)
    answer = client.put("dir/ä b.bin", body)
    etag = hashlib.md5(body).hexdigest()
    assert answer.status == 200
    assert answer.json() == {"key": "dir/ä b.bin", "size": len(body), "etag": etag}
    assert (folder / "dir" / "ä b.bin").read_bytes() == body
    got = client.get("dir/ä b.bin")
    assert (got.status, got.body) == (200, body)
    assert got.headers["ETag"] == f'"{etag}"'
    assert got.headers["Content-Length"] == str(len(body))
    assert got.headers["Accept-Ranges"] == "bytes"
    assert got.headers["Last-Modified"].endswith("GMT")
    head = client.get("dir/ä b.bin", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(body))
    assert client.get("dir/nothing").status == 404
    assert client.get("dir/nothing").code() == "not_found"


def test_empty_and_chunked_bodies(client):
    assert client.put("empty", b"").json()["size"] == 0
    assert client.get("empty").body == b""
    assert client.put("chunked", iter([b"ab", b"cd"])).json()["size"] == 4
    assert client.get("chunked").body == b"abcd"


@pytest.mark.parametrize("value,status,part", [
    ("bytes=0-3", 206, b"0123"), ("bytes=4-", 206, b"456789"), ("bytes=-2", 206, b"89"),
    ("bytes=8-99", 206, b"89"), ("bytes=10-", 416, None), ("bytes=-0", 416, None),
    ("bytes=5-2", 200, b"0123456789"), ("nonsense", 200, b"0123456789"),
])
def test_ranges(client, value, status, part):
    client.put("r", b"0123456789")
    answer = client.get("r", Range=value)
    assert answer.status == status
    if status == 206:
        assert answer.body == part
        start = b"0123456789".find(part)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/10"
    elif status == 416:
        assert answer.headers["Content-Range"] == "bytes */10"
        assert answer.code() == "range"
    else:
        assert answer.body == part


def test_conditional_reads(client):
    etag = client.put("c", b"hello").json()["etag"]
    assert client.get("c", If_None_Match=f'"{etag}"').status == 304
    assert client.get("c", If_None_Match=f'W/"x", "{etag}"').status == 304
    assert client.get("c", If_None_Match="*").status == 304
    assert client.get("c", If_None_Match='"other"').status == 200
    assert client.get("c", If_Match='"other"').status == 412
    assert client.get("c", If_Match=f'"{etag}"').status == 200
    assert client.get("c", Range="bytes=0-1", If_Range=f'"{etag}"').status == 206
    assert client.get("c", Range="bytes=0-1", If_Range='"other"').status == 200
    modified = client.get("c").headers["Last-Modified"]
    assert client.get("c", If_Modified_Since=modified).status == 304
    assert client.get("c", If_Modified_Since="Sun, 06 Nov 1994 08:49:37 GMT").status == 200
    assert client.get("c", If_Unmodified_Since="Sun, 06 Nov 1994 08:49:37 GMT").status == 412


def test_conditional_writes(client):
    first = client.put("w", b"1", If_None_Match="*")
    assert first.status == 200
    assert client.put("w", b"2", If_None_Match="*").status == 412
    etag = first.json()["etag"]
    assert client.put("w", b"3", If_Match='"other"').status == 412
    assert client.put("w", b"3", If_Match=f'"{etag}"').status == 200
    assert client.put("w", b"4", If_Match=f'"{etag}"').status == 412
    assert client.put("missing", b"4", If_Match="*").status == 412
    assert client.put("w", b"5", If_None_Match='"x"').status == 400
    assert client.get("w").body == b"3"


def test_a_part_of_an_object_is_no_object(client):
    client.put("whole", b"0123456789")
    assert client.put("whole", b"abc", Content_Range="bytes 0-2/10").status == 400
    assert client.get("whole").body == b"0123456789"


def test_of_parallel_creates_one_wins(client):
    for round_number in range(5):
        statuses = []
        threads = [threading.Thread(target=lambda n=n: statuses.append(
            client.put(f"race/{round_number}", str(n).encode(), If_None_Match="*").status)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 412, 412, 412]


@pytest.mark.folder("puts objects beneath others, which MinIO does not list")
def test_lists(client):
    for key in ["a", "a/b", "a.b", "a0", "b/c/d", "b/e"]:
        assert client.put(key, b"x").status == 200
    whole = client.list().json()
    assert [o["key"] for o in whole["objects"]] == ["a", "a.b", "a/b", "a0", "b/c/d", "b/e"]
    assert whole["truncated"] is False and whole["next"] is None and whole["common_prefixes"] == []
    assert set(whole["objects"][0]) == {"key", "size", "etag", "last_modified"}
    assert whole["objects"][0]["last_modified"].endswith("Z")
    top = client.list(delimiter="/").json()
    assert [o["key"] for o in top["objects"]] == ["a", "a.b", "a0"]
    assert top["common_prefixes"] == ["a/", "b/"]
    keys, after = [], ""
    while True:
        page = client.list(limit=2, after=after).json()
        keys += [o["key"] for o in page["objects"]]
        if not page["truncated"]:
            break
        after = page["next"]
    assert keys == ["a", "a.b", "a/b", "a0", "b/c/d", "b/e"]
    for limit in ["0", "10001", "x", "-1"]:
        assert client.list(limit=limit).status == 400


def test_deletes_are_idempotent(client):
    client.put("d", b"x")
    assert client.delete("d").status == 204
    assert client.delete("d").status == 204
    assert client.get("d").status == 404
    client.put("d", b"x")
    assert client.delete("d", If_Match='"x"').status == 501
    assert client.get("d").status == 200


@pytest.mark.parametrize("path", ["", "a%00b", "a%0Ab", "%2Fa", "a%2F%2Fb", "a/%2E%2E/b", "%FF", "x" * 1025])
def test_bad_keys_are_refused(client, path):
    assert client.call("PUT", "/storage/put/" + path, b"x").status in (400, 404)
    assert client.call("GET", "/storage/get/" + path).status in (400, 404)


@pytest.mark.folder("makes links in the folder")
def test_no_path_leaves_the_folder(client, folder, tmp_path):
    (tmp_path / "private").write_text("private")
    (folder / "link").symlink_to(tmp_path)
    for path in ["../private", "%2e%2e/private", "a/%2e%2e/%2e%2e/private", "..%2fprivate", "link/private"]:
        answer = client.call("GET", "/storage/get/" + path)
        assert answer.status in (400, 403, 404)
        assert b'"private"' not in answer.body and answer.body != b"private"
        assert client.call("PUT", "/storage/put/" + path, b"changed").status in (400, 403, 404)
    assert (tmp_path / "private").read_text() == "private"


@pytest.mark.folder("makes files in the folder")
def test_what_belongs_to_the_lake_is_closed(client, folder):
    (folder / "wh").mkdir()
    (folder / "wh" / "t.parquet").write_bytes(b"PAR1")
    for key in ["_lake/format.json", "_lake/secret", "_lake/cat/x", "_lake", "_buckets/b/k"]:
        assert client.get(key).status == 403
        assert client.put(key, b"x").status == 403
        assert client.delete(key).status == 403
    assert client.put("wh/t.parquet", b"x").status == 403
    assert client.delete("wh/t.parquet").status == 403
    assert client.get("wh/t.parquet").body == b"PAR1"
    for key in ["A", "_kept", "_lakeside", "_lake0", "z"]:
        assert client.put(key, b"x").status == 200
    expected = ["A", "_kept", "_lake0", "_lakeside", "wh/t.parquet", "z"]
    assert [o["key"] for o in client.list().json()["objects"]] == expected
    keys, after = [], ""
    while True:
        page = client.list(limit=1, after=after).json()
        keys += [o["key"] for o in page["objects"]]
        if not page["truncated"]:
            break
        after = page["next"]
    assert keys == expected
    assert client.list(delimiter="/").json()["common_prefixes"] == ["wh/"]
    assert client.list(prefix="_lake/").status == 403
    # A delimiter may cut a closed name anywhere; what lies beside it is still found.
    for delimiter, prefixes in [("e", ["_ke", "_lake", "wh/t.parque"]), ("_", ["_"]), ("s", ["_lakes"]), ("k", ["_k", "_lak"]),
                                ("f", []), ("e/", []), ("/f", []), ("\x7f", [])]:
        assert client.list(delimiter=delimiter).json()["common_prefixes"] == prefixes
    assert [o["key"] for o in client.list(prefix="_lake").json()["objects"]] == ["_lake0", "_lakeside"]
    assert client.call("GET", "/internal/store/read/_lake/format.json").status in (401, 403)


def test_an_object_above_the_cap_is_refused_before_it_is_sent(client, folder):
    host, port = client.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(b"PUT /storage/put/big HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3000001\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")
    assert client.put("big", b"x" * 3_000_001).status == 413
    assert client.put("big", iter([b"x" * 1_000_000] * 4)).status == 413
    assert client.get("big").status == 404
    assert client.put("big", b"x" * 3_000_000).status == 200


def test_the_fifth_put_waits_its_turn(client):
    host, port = client.address.split(":")
    held = []
    try:
        for n in range(4):
            s = socket.create_connection((host, int(port)), timeout=10)
            held.append(s)
            s.sendall(f"PUT /storage/put/slot{n} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n"
                      "Expect: 100-continue\r\n\r\n".encode())
            assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it has its slot
            s.sendall(b"a")
        answer = client.put("fifth", b"x")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.code() == "unavailable"
        assert client.get("nothing").status == 404  # reads go on
        for s in held:
            s.sendall(b"b")
            assert s.recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for s in held:
            s.close()
    assert client.put("fifth", b"x").status == 200


@pytest.mark.folder("looks for temporary files")
def test_a_client_that_leaves_mid_upload_leaves_nothing(client, folder):
    host, port = client.address.split(":")
    for n in range(8):
        s = socket.create_connection((host, int(port)), timeout=10)
        s.sendall(f"PUT /storage/put/gone{n} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc".encode())
        s.close()
        for _ in range(2000):  # until its slot is free again
            if client.put("probe", b"x").status == 200:
                break
        assert client.get(f"gone{n}").status == 404
    assert [o["key"] for o in client.list().json()["objects"]] == ["probe"]
    assert list((folder / "_lake" / "tmp").iterdir()) == []


def files_below(folder):
    """All but the locks, which stay once they were needed."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks")


def closed(s):
    s.close()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def half_closed(s):
    """The end of what is sent; the rest is the server's to close."""
    s.shutdown(socket.SHUT_WR)


@pytest.mark.folder("looks for files")
@pytest.mark.parametrize("end", [closed, reset, half_closed])
@pytest.mark.parametrize("framing", [b"Content-Length: 12\r\n\r\nhello object", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n object\r\n0\r\n\r\n"],
                         ids=["length", "chunked"])
def test_a_put_that_is_cut_after_any_byte_leaves_nothing(start, folder, end, framing):
    server = start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0", "--storaged.put_slots", "1000")
    client = Client(server.url)
    host, port = client.address.split(":")
    before = files_below(folder)
    request = b"PUT /storage/put/cut/object.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: *\r\n" + framing
    sockets = []
    for n in range(len(request)):
        s = socket.create_connection((host, int(port)), timeout=10)
        s.sendall(request[:n])
        end(s)
        sockets.append(s)
    for s in sockets:
        if end is half_closed:
            assert not s.recv(1000).startswith(b"HTTP/1.1 2")
            s.close()
    for _ in range(10_000):  # until the last of them has been noticed
        metrics = client.call("GET", "/metrics").body.decode()
        if "lakehouse_http_in_flight 1\n" in metrics and "lakehouse_http_connections 1\n" in metrics:
            break
    else:
        raise AssertionError(metrics)
    assert client.list().json()["objects"] == [] and client.get("cut/object.bin").status == 404
    assert files_below(folder) == before
    assert not [line for line in server.lines if json.loads(line)["level"] in ("warn", "error")]
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(request)
        assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert client.get("cut/object.bin").body == b"hello object"
    assert files_below(folder) == sorted([*before, "cut/object.bin"])


def test_a_sender_that_trickles_gives_its_slot_back(start, folder):
    server = start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0", "--storaged.put_slots", "1",
                   "--http.idle_timeout_seconds", "1", "--http.body_rate_min", "1000")
    client = Client(server.url)
    host, port = client.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as s:
        s.sendall(b"PUT /storage/put/slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.put("other", b"x").status == 503
        stop = threading.Event()

        def trickle():
            try:
                while not stop.wait(0.02):
                    s.sendall(b"x")
            except OSError:
                pass

        thread = threading.Thread(target=trickle)
        thread.start()
        deadline = time.monotonic() + 10
        while client.put("other", b"x").status != 200:
            assert time.monotonic() < deadline
        stop.set()
        thread.join()
    assert client.get("slow").status == 404
    assert 'lakehouse_http_refused_total{reason="slow_body"} 1' in client.call("GET", "/metrics").body.decode()
    assert any("slower than 1000 bytes a second (http.body_rate_min)" in line for line in server.lines)


@pytest.mark.folder("damages the files")
@pytest.mark.parametrize("size", [1, 4096, 32 * 1024, 32 * 1024 + 1])
def test_small_objects_are_sent_whole_and_checked_each_time(client, folder, size):
    body, key = os.urandom(size), f"small/{size}"
    client.put(key, body)
    for _ in range(2):
        assert client.get(key).body == body
    assert client.get(key, Range=f"bytes={size // 2}-").body == body[size // 2:]
    (folder / "small" / f"by-hand-{size}").write_bytes(body)
    assert client.get(f"small/by-hand-{size}").body == body
    with open(folder / key, "r+b") as file:
        file.seek(size // 2)
        file.write(bytes([body[size // 2] ^ 1]))
    answer = client.get(key)
    assert (answer.status, answer.code()) == (500, "corrupt")
    client.put(key, body)
    assert client.get(key).body == body
    os.truncate(folder / key, size - 1)
    assert client.get(key).status == 500


@pytest.mark.folder("damages the file")
def test_damage_on_disk_is_not_passed_on(client, folder):
    client.put("damaged", b"x" * 2_000_000)
    assert client.get("damaged").status == 200
    with open(folder / "damaged", "r+b") as file:
        file.seek(1_500_000)
        file.write(b"y")
    answer = client.get("damaged")
    assert answer.status == 500
    assert answer.code() == "corrupt"
    assert client.get("damaged", Range="bytes=0-9").body == b"x" * 10  # another block
    assert client.get("damaged", Range="bytes=1600000-1600009").status == 500


def test_two_servers_share_one_folder(start, client, folder):
    other = Client(start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0").url)
    clients = [client, other]
    assert client.put("counter", b"0").status == 200

    def count_up(one):
        wins = 0
        while wins < 20:
            now = one.get("counter")
            answer = one.put("counter", str(int(now.body) + 1).encode(), If_Match=now.headers["ETag"])
            assert answer.status in (200, 412)
            wins += answer.status == 200

    threads = [threading.Thread(target=count_up, args=(one,)) for one in clients for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.get("counter").body == b"80"


def test_objects_survive_a_kill(start, folder):
    server = start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0")
    one = Client(server.url)
    for n in range(20):
        assert one.put(f"k/{n}", str(n).encode()).status == 200
    server.kill()
    again = Client(start("storaged", "--storaged.dir", folder, "--storaged.bind", "127.0.0.1:0").url)
    for n in range(20):
        assert again.get(f"k/{n}").body == str(n).encode()
