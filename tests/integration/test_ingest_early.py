"""A great file is read while it comes in: sockets that send a part, look, and send the rest.

Whether reading begins early depends on how fast the first bytes came, so a test tries until it has.
"""

import json
import re
import socket
import time
import urllib.parse

import pytest
import requests
from processes import children, rss_anon

ROWS = 1_500_000
ENGINES_RESTING_BYTES_MAX = 48 * 2**20  # a few of 5 MiB each; chosen
TRIES = 50
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def csv():
    body = b"n,text\n" + b"".join(b"%d,row %d\n" % (i, i) for i in range(ROWS))
    assert len(body) > 16 * 2**20
    return body


def metric(server, name, labels):
    found = re.search(rf"^{name}{{{re.escape(labels)}}} (\S+)$", requests.get(server.url + "/metrics").text, re.M)
    return float(found.group(1)) if found else 0.0


def wait_for(condition, what):
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def idle(server):
    return (metric(server, "lakehouse_engines_busy", 'pool="ingestd"') == 0
            and metric(server, "lakehouse_engines_up", 'pool="ingestd"') > 0)


class Upload:
    """POST of a file in two parts; `early` tells whether an engine has begun on the first."""

    def __init__(self, server, table, body, first):
        parts = urllib.parse.urlsplit(server.url)
        self.body, self.first = body, first
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=SECONDS_MAX)
        self.socket.sendall(f"POST /v1/ingest?name={table} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: text/csv\r\n"
                            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body[:first])

    def finish(self):
        self.socket.sendall(self.body[self.first:])
        return self.answer()

    def answer(self):
        with self.socket, self.socket.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def leave(self):
        self.socket.close()


def begin_early(server, table, body, first):
    for _ in range(TRIES):
        wait_for(lambda: idle(server), "no idle engine")
        upload = Upload(server, table, body, first)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if metric(server, "lakehouse_engines_busy", 'pool="ingestd"') > 0:
                return upload
        upload.leave()
    raise AssertionError("no upload was read early")


def rows_of(server, table):
    return requests.post(server.url + "/v1/sql", json={"sql": f"SELECT count(*), sum(n) FROM {table}",
                                                       "row_format": "arrays"}).json()["rows"][0]


def test_a_great_file_is_read_while_it_comes(serve, csv):
    server = serve()
    status, answer = begin_early(server, "t", csv, len(csv) - 2**20).finish()
    assert (status, answer["rows"], answer["deduplicated"]) == (200, ROWS, False)
    assert rows_of(server, "t") == [ROWS, ROWS * (ROWS - 1) // 2]

    status, answer = begin_early(server, "t", csv, len(csv) - 2**20).finish()
    assert (status, answer["deduplicated"]) == (200, True)
    assert rows_of(server, "t")[0] == ROWS


def test_a_file_that_stops_coming_holds_no_engine(serve, csv):
    server = serve()
    upload = begin_early(server, "t", csv, 6 * 2**20)
    wait_for(lambda: idle(server), "the engine waits for a sender that stands still")
    status, answer = upload.finish()
    assert (status, answer["rows"]) == (200, ROWS)
    assert rows_of(server, "t") == [ROWS, ROWS * (ROWS - 1) // 2]


def test_an_engine_that_rests_keeps_no_memory(serve, csv):
    """What the job needed goes back to the system, and does not stand beside what the next one needs."""
    server = serve()

    def engines():
        return sum(map(rss_anon, children(server.process.pid)))
    status, answer = begin_early(server, "t", csv, len(csv) - 2**20).finish()
    assert (status, answer["rows"]) == (200, ROWS)
    begin = time.monotonic()
    wait_for(lambda: idle(server) and engines() < ENGINES_RESTING_BYTES_MAX, "the engines keep memory")
    assert time.monotonic() - begin < 20  # and not because they are ended, which comes later


def test_a_sender_that_leaves_leaves_nothing(serve, csv):
    server = serve()
    begin_early(server, "t", csv, 6 * 2**20).leave()
    wait_for(lambda: idle(server), "the engine works for nobody")
    assert requests.get(server.url + "/v1/catalog/list").json()["tables"] == []


def test_a_late_bad_row_of_a_file_read_early_is_told(serve, csv):
    server = serve()
    bad = csv + b"1,2,3\n"
    status, answer = begin_early(server, "t", bad, len(bad) - 2**20).finish()
    assert status == 400
    assert f"line {ROWS + 2}" in answer["error"]["message"]
    assert requests.get(server.url + "/v1/catalog/list").json()["tables"] == []
