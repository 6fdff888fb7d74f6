"""Memory of each process while a great file goes in, as the kernel counts it (RssAnon: pages of its own).

Peak minus idle. In six-process mode, so that the parts of the way can be told apart: receiving, forwarding and
storing cost each process a bounded buffer; the engine has ingestd's memory limit.
"""

import http.client
import pathlib
import threading
import time
import urllib.parse

import pytest

from conftest import start_cluster
from processes import Watch

pytestmark = pytest.mark.slow

MIB = 2**20
BODY_BYTES = 1024 * MIB
LIMIT_BYTES = 512 * MIB
SLACK_BYTES = 64 * MIB


def csv_pieces():
    """The pieces of a CSV of BODY_BYTES with numbers, dates, codes and text."""
    head = b"id,day,price,code,text\n"
    yield head
    sent, i = len(head), 0
    while sent < BODY_BYTES:
        rows = []
        for j in range(20000):
            n = i + j
            rows.append(f"{n},2024-{n % 12 + 1:02}-{n % 28 + 1:02},{n % 100000 / 100},{n * 2654435761 % 2**32:08x},some text of row {n}\n")
        i += 20000
        piece = "".join(rows).encode()
        if len(piece) > BODY_BYTES - sent - 100:  # the last one ends with a row of just the right length
            piece = piece[:piece.rindex(b"\n", 0, BODY_BYTES - sent - 100) + 1]
            last = b"0,2024-01-01,1.5,0,"
            piece += last + b"x" * (BODY_BYTES - sent - len(piece) - len(last) - 1) + b"\n"
        sent += len(piece)
        yield piece


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_great_ingest_takes_what_it_may(start, tmp_path, chunked):
    gateway, services = start_cluster(start, tmp_path / "data", "--ingestd.memory_limit", str(LIMIT_BYTES))
    services = {**services, "gateway": gateway}
    time_limit = time.monotonic() + 60
    while http_get(gateway, "/ready") != 200:
        assert time.monotonic() < time_limit
    watch = Watch(services)
    try:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(gateway.url).netloc, timeout=600)
        headers = {"Content-Type": "text/csv"} | ({} if chunked else {"Content-Length": str(BODY_BYTES)})
        connection.request("POST", "/v1/ingest?name=t", csv_pieces(), headers, encode_chunked=chunked)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        grown = watch.stop()
    shown = {name: f"{size / MIB:.0f} MiB" for name, size in grown.items()}
    print(shown)
    assert answer.status == 200, body
    assert grown.pop("ingestd") <= LIMIT_BYTES + SLACK_BYTES, shown
    assert all(size <= SLACK_BYTES for size in grown.values()), shown


def http_get(server, path):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().status
