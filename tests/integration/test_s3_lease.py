"""A lake on a store whose conditions do not hold, with one writer at a time (s3.single_writer).

The store is moto behind a wire that takes the conditions away.
"""

import concurrent.futures
import subprocess
import threading
import time

import pytest
import requests
from conftest import build_folder
from s3_peers import BadWire, moto, prefix  # noqa: F401 (a fixture)

LEASE_SECONDS = 3
LEASE = ["--s3.single_writer", "--s3.lease_seconds", LEASE_SECONDS, "--s3.retry_seconds", 2]
CONTRACT_SECONDS_MAX = 300
pytestmark = pytest.mark.folder("has a store of its own")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


class Wire(BadWire):
    """Without conditions, and while `cut` is set without any way to the lease."""

    def __init__(self, url):
        self.cut = threading.Event()
        super().__init__(url, lambda line: "refuse" if self.cut.is_set() and "writer.json" in line else None, deaf=("if-match", "if-none-match"))


@pytest.fixture
def wire(store):
    with Wire(store.url) as running:
        yield running


def ingest(server, body, table="t"):
    return requests.post(f"{server.url}/v1/ingest", params={"name": table}, data=body, headers={"Content-Type": "text/csv"}, timeout=60)


def ready(server):
    answer = requests.get(server.url + "/ready", timeout=60)
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def total(server):
    answer = requests.post(server.url + "/v1/sql", json={"sql": "SELECT count(*) AS n FROM t"}, timeout=60)
    return answer.json()["rows"][0]["n"]


def when(condition, seconds):
    """Asks again and again until it holds; the seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "in vain"
        time.sleep(0.1)
    return time.monotonic() - start


@pytest.mark.slow  # each of its tests takes the lease, which lasts for a second
def test_the_contract_holds_by_the_lease(store, wire):
    environment = {**store.environment(), "S3_ENDPOINT": wire.url, "S3_LEASE_MS": "4000"}
    done = subprocess.run([build_folder() / "tests/store/test_s3_contract"], env=environment, capture_output=True, text=True, timeout=CONTRACT_SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_process_writes_and_others_are_told_who(serve, store, wire, prefix, tmp_path):
    first = serve(*store.flags(prefix, wire.url), *LEASE)
    assert ready(first) == (200, "")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ingest(first, f"n\n{i}\n"), range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16, [answer.text for answer in answers]
    second = serve(*store.flags(prefix, wire.url), *LEASE, data=tmp_path / "second")
    status, message = ready(second)
    assert status == 503 and f"process {first.process.pid} on" in message and "s3.single_writer" in message, message
    refused = ingest(second, "n\n1000\n")
    assert refused.status_code == 503 and "another process writes this lake" in refused.text, refused.text
    assert total(second) == total(first) == 16  # it may read
    first.stop()
    assert f"{prefix}/_lake/writer.json" not in store.keys(prefix)
    assert ingest(second, "n\n1000\n").status_code == 200 and total(second) == 17


def test_the_lease_of_a_dead_process_is_free_after_its_time(serve, store, wire, prefix, tmp_path):
    first = serve(*store.flags(prefix, wire.url), *LEASE)
    assert ingest(first, "n\n1\n").status_code == 200
    second = serve(*store.flags(prefix, wire.url), *LEASE, data=tmp_path / "second")
    assert ready(second)[0] == 503
    first.kill()
    assert when(lambda: ready(second)[0] == 200, 30) > LEASE_SECONDS / 2
    assert ingest(second, "n\n2\n").status_code == 200 and total(second) == 2


def test_who_cannot_renew_stops_before_another_begins(serve, store, wire, prefix, tmp_path):
    first = serve(*store.flags(prefix, wire.url), *LEASE)
    assert ingest(first, "n\n1\n").status_code == 200
    second = serve(*store.flags(prefix, store.url), *LEASE, data=tmp_path / "second")
    assert ready(second)[0] == 503
    wire.cut.set()
    moments = {}

    def watch(name, server, wanted):
        when(lambda: ready(server)[0] == wanted, 30)
        moments[name] = time.monotonic()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda words: watch(*words), [("stopped", first, 503), ("began", second, 200)]))
    assert moments["stopped"] < moments["began"]
    refused = ingest(first, "n\n2\n")
    assert refused.status_code == 503 and "writes no more" in refused.text, refused.text
    assert ingest(second, "n\n3\n").status_code == 200
    wire.cut.clear()  # and finds that it is another's
    when(lambda: "another process writes" in ready(first)[1], 30)
    assert total(second) == 2


def test_who_could_renew_again_in_time_goes_on(serve, store, wire, prefix):
    server = serve(*store.flags(prefix, wire.url), *LEASE)
    assert ingest(server, "n\n1\n").status_code == 200
    wire.cut.set()
    when(lambda: ready(server)[0] == 503, 30)
    wire.cut.clear()
    when(lambda: ready(server)[0] == 200, 30)
    assert ingest(server, "n\n2\n").status_code == 200 and total(server) == 2
