"""What goes wrong on a machine: a full disk, a closed or deleted folder, an engine that dies. Each time the
server says so with the right status, tells the operator in its log, loses nothing that it acknowledged, and
goes on by itself when the fault is gone.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

DISK_BYTES = 4 << 20
PAGE = 4096


def call(server, method, path, body=None, kind=None):
    """(status, decoded answer)"""
    request = urllib.request.Request(server.url + path, data=body, method=method)
    if kind:
        request.add_header("Content-Type", kind)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        status, text = refusal.code, refusal.read()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def rows_of(first, count):
    return b"id,name\n" + b"".join(b"%d,row %d\n" % (n, n) for n in range(first, first + count))


def ingest(server, body):
    return call(server, "POST", "/v1/ingest?name=t", body, "text/csv")


def count(server):
    status, answer = call(server, "POST", "/v1/sql", b'{"sql":"SELECT count(*) AS n FROM t"}', "application/json")
    assert status == 200, answer
    return answer["rows"][0]["n"]


def until_ready(server, wanted, before=lambda: None):
    """/ready is asked at most once a second by itself; its next word has to be this one."""
    for _ in range(10_000):
        before()
        status, answer = call(server, "GET", "/ready")
        if status == wanted:
            return answer
    raise AssertionError(f"/ready stays {status}: {answer}")


def errors_in(server):
    """The requests that failed by no fault of their client: the log's warnings and errors."""
    found = [entry for entry in map(json.loads, server.lines) if entry.get("status", 0) >= 500]
    assert {entry["level"] for entry in found} <= {"warn", "error"}
    return found


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mounting a small disk needs root; the file size limit is tried without")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder, pages_left):
    """Leave that many pages of the disk free."""
    ballast = folder / "ballast"
    with open(ballast, "wb") as file:
        free = os.statvfs(folder).f_bavail - pages_left
        file.write(bytes(max(free, 0) * PAGE))
    return ballast


def test_a_full_disk_at_every_write(serve, small_disk):
    server = serve(data=small_disk / "lake")
    assert ingest(server, rows_of(0, 100))[0] == 200
    assert call(server, "PUT", "/v1/storage/put/kept", b"old")[0] == 200
    rows, pages, refused = 100, 0, 0
    while True:
        ballast = fill(small_disk, pages)
        body = rows_of(1000 * (pages + 1), 50)
        status, answer = ingest(server, body)
        assert status in (200, 507), answer
        put, refusal = call(server, "PUT", "/v1/storage/put/kept", b"new" * 3000)
        assert put in (200, 507), refusal
        assert count(server) == rows + (50 if status == 200 else 0)  # reads go on
        assert call(server, "GET", "/v1/storage/get/kept")[1] == (b"new" * 3000 if put == 200 else b"old")
        ballast.unlink()
        if status == 507:
            assert answer["error"]["code"] == "disk_full"
            refused += 1
            again, answer = ingest(server, body)  # there is room: the same upload lands, once
            assert again == 200 and not answer["deduplicated"], answer
        rows += 50
        assert count(server) == rows
        assert call(server, "PUT", "/v1/storage/put/kept", b"old")[0] == 200
        if status == 200 and put == 200:
            break
        pages += 1
    assert refused >= 3
    told = errors_in(server)  # what only an operator can mend is an error
    assert all("No space left on device" in entry["error"] and entry["level"] == "error" for entry in told)


def test_a_full_disk_is_not_ready_and_deleting_helps(serve, small_disk):
    server = serve(data=small_disk / "lake")
    assert ingest(server, rows_of(0, 100))[0] == 200
    number = 0
    while call(server, "PUT", f"/v1/storage/put/f{number}", bytes(100_000))[0] == 200:
        number += 1
    # The engine gives back its spool right after its answer: that room is filled too.
    answer = until_ready(server, 503, before=lambda: os.statvfs(small_disk).f_bavail and fill(small_disk, 0))
    assert f'no room in "{server.data}"' in answer["error"]["message"]
    assert ingest(server, rows_of(1000, 100))[0] == 507
    for n in range(number):
        assert call(server, "DELETE", f"/v1/storage/delete/f{n}")[0] == 204
    until_ready(server, 200)
    assert ingest(server, rows_of(1000, 100))[0] == 200
    assert count(server) == 200


def test_a_file_size_limit_is_a_full_disk(serve):
    """Also where nothing can be mounted: the limit of `ulimit -f`, for the server and its engines."""
    server = serve()
    assert ingest(server, rows_of(0, 100))[0] == 200
    assert call(server, "PUT", "/v1/storage/put/kept", b"old")[0] == 200
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in (0, 1, 100, 600, 1000, 3000):
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, hard))
        status, answer = ingest(server, rows_of(5000, 100))
        assert (status, answer["error"]["code"]) == (507, "disk_full")
        status, answer = call(server, "PUT", "/v1/storage/put/kept", bytes(limit + 1))
        assert (status, answer["error"]["code"]) == (507, "disk_full")
        assert call(server, "GET", "/v1/storage/get/kept")[1] == b"old"
        # A statement goes to its engine in a file in memory, which has the limit too.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert count(server) == 100
    assert ingest(server, rows_of(5000, 100))[0] == 200
    assert count(server) == 200


def test_a_disk_that_is_read_only_still_reads(serve, small_disk):
    server = serve(data=small_disk / "lake")
    assert ingest(server, rows_of(0, 100))[0] == 200
    assert call(server, "PUT", "/v1/storage/put/kept", b"old")[0] == 200
    for _ in range(1000):  # the engine gives back its spool right after its answer
        if subprocess.run(["mount", "-o", "remount,ro", small_disk], capture_output=True).returncode == 0:
            break
    answer = until_ready(server, 503)
    assert "read-only" in answer["error"]["message"]
    for method, path, body in [("PUT", "/v1/storage/put/kept", b"new"), ("DELETE", "/v1/storage/delete/kept", None),
                               ("POST", "/v1/ingest?name=t", rows_of(1000, 10)),
                               ("DELETE", "/v1/catalog/table/t", None)]:
        status, answer = call(server, method, path, body, "text/csv" if body else None)
        assert (status, answer["error"]["code"]) == (503, "unavailable"), (method, path, answer)
        assert "read-only" in answer["error"]["message"].lower(), answer
    assert call(server, "GET", "/v1/storage/get/kept")[1] == b"old"
    assert call(server, "GET", "/v1/storage/list")[0] == 200
    assert call(server, "GET", "/v1/catalog/list")[0] == 200
    assert count(server) == 100  # tables too: their pointers are read under a lock
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    until_ready(server, 200)
    assert ingest(server, rows_of(1000, 100))[0] == 200
    assert count(server) == 200


def test_a_deleted_folder_is_said_and_not_an_empty_lake(serve, tmp_path):
    server = serve()
    assert ingest(server, rows_of(0, 100))[0] == 200
    assert call(server, "PUT", "/v1/storage/put/kept", b"old")[0] == 200
    backup = tmp_path / "backup"
    subprocess.run(["cp", "-a", server.data, backup], check=True)
    shutil.rmtree(server.data)
    for method, path, body in [("GET", "/v1/storage/get/kept", None), ("PUT", "/v1/storage/put/kept", b"new"),
                               ("GET", "/v1/storage/list", None), ("GET", "/v1/catalog/list", None),
                               ("POST", "/v1/ingest?name=t", rows_of(1000, 10)),
                               ("POST", "/v1/ingest?name=other", rows_of(0, 10))]:
        status, answer = call(server, method, path, body, "text/csv" if body else None)
        assert (status, answer["error"]["code"]) == (503, "unavailable"), (method, path, answer)
        assert str(server.data) in answer["error"]["message"]
    status, answer = call(server, "POST", "/v1/sql", b'{"sql":"SELECT count(*) FROM t"}', "application/json")
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert "start the service again" in until_ready(server, 503)["error"]["message"]
    assert {e["error"] for e in errors_in(server) if "start the service again" not in e["error"]} == set()
    assert not server.data.exists()  # nobody began an empty lake in its place
    server.stop()
    shutil.move(backup, server.data)
    again = serve(data=server.data)
    assert count(again) == 100
    assert call(again, "GET", "/v1/storage/get/kept")[1] == b"old"


def engines_of(server):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == server.process.pid:
            found.append(int(stat.parent.name))
    return found


def test_engines_that_are_killed_cost_at_most_their_own_query(serve):
    server = serve()
    assert ingest(server, rows_of(0, 1000))[0] == 200
    statuses, stop = [], threading.Event()

    def ask():
        body = json.dumps({"sql": "SELECT count(*) AS n FROM t, range(2000) AS r"}).encode()
        while not stop.is_set():
            status, answer = call(server, "POST", "/v1/sql", body, "application/json")
            statuses.append(status)
            assert status != 200 or answer["rows"] == [{"n": 2_000_000}]

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        for engine in engines_of(server):
            try:
                os.kill(engine, signal.SIGKILL)
            except ProcessLookupError:
                pass
        assert call(server, "GET", "/v1/storage/list")[0] == 200
        before = len(statuses)
        for _ in range(10_000):  # after a while somebody is answered again
            if 200 in statuses[before:]:
                break
            assert call(server, "GET", "/v1/catalog/list")[0] == 200
        assert 200 in statuses[before:], statuses[before:]
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 500, 502, 503, 504, 507}, statuses
    assert count(server) == 1000
    for _ in range(10_000):  # the engines of ingest were killed too, some at their start
        status, answer = ingest(server, rows_of(5000, 100))
        if status == 200:
            break
        assert status == 503, answer
    assert count(server) == 1100
