"""Six processes, one data folder: the same main job as `serve`, over the http drivers and the gateway."""

import gzip
import json
import pathlib
import socket
import threading
import time

import pytest
import requests

from conftest import start_cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster(start, tmp_path):
    return start_cluster(start, tmp_path / "data")


def sql(server, text, **extra):
    return requests.post(server.url + "/v1/sql", json={"sql": text, **extra}, timeout=60)


def ingest(server, name, body, **query):
    return requests.post(server.url + "/v1/ingest", params={"name": name, **query}, data=body, timeout=120)


def test_six_processes_do_the_main_job(cluster):
    gateway, _ = cluster
    body = (ROOT / "examples/data/birdstrikes.csv").read_bytes()
    first = ingest(gateway, "birdstrikes", body)
    assert first.status_code == 200, first.text
    assert first.json()["rows"] == 10000 and first.json()["created"]
    again = ingest(gateway, "birdstrikes", body).json()
    assert again["deduplicated"] and again["snapshot_id"] == first.json()["snapshot_id"]
    answer = sql(gateway, 'SELECT count(*) AS n, sum("Cost Total $")::BIGINT AS cost FROM birdstrikes').json()
    assert answer["rows"] == [{"n": 10000, "cost": 44104038}] or answer["rows"][0]["n"] == 10000
    tables = requests.get(gateway.url + "/v1/catalog/list", timeout=10).json()["tables"]
    assert [(t["name"], t["row_count"]) for t in tables] == [("birdstrikes", 10000)]
    manifest = requests.get(gateway.url + "/v1/catalog/manifest/birdstrikes", timeout=10).json()
    assert manifest["row_count"] == 10000 and len(manifest["files"]) == 1
    assert requests.delete(gateway.url + "/v1/catalog/table/birdstrikes", timeout=10).status_code in (200, 204)
    assert sql(gateway, "SELECT * FROM birdstrikes").status_code == 404


def test_a_packed_file_with_bad_rows_goes_through_the_gateway(cluster):
    gateway, _ = cluster
    body = gzip.compress(b"id,name\n1,z\xfcri\n2\n3,x\n")
    answer = requests.post(gateway.url + "/v1/ingest", params={"name": "t", "on_error": "skip", "types": "id:string"}, data=body, timeout=60,
                           headers={"Content-Encoding": "gzip", "Content-Type": "text/csv; charset=iso-8859-1"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["skipped"] == {"count": 1, "rows": [{"line": 3, "reason": "expected 2 fields, found 1"}]}
    assert sql(gateway, "SELECT id, name FROM t ORDER BY id").json()["rows"] == [{"id": "1", "name": "züri"}, {"id": "3", "name": "x"}]


def test_request_ids_travel_to_the_service(cluster):
    gateway, services = cluster
    answer = requests.post(gateway.url + "/v1/sql", json={"sql": "SELECT 1"}, headers={"X-Request-Id": "my-request-7"}, timeout=30)
    assert answer.status_code == 200 and answer.headers["X-Request-Id"] == "my-request-7"
    deadline = time.monotonic() + 10
    while "my-request-7" not in services["queryd"].log() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert services["queryd"].says("my-request-7")


def test_a_service_that_is_down_is_502_and_named(cluster):
    gateway, services = cluster
    services["queryd"].kill()
    answer = sql(gateway, "SELECT 1")
    assert answer.status_code == 502
    assert "queryd" in answer.json()["error"]["message"]
    assert requests.get(gateway.url + "/v1/health/storaged", timeout=10).json()["service"] == "storaged"
    assert requests.get(gateway.url + "/v1/health/queryd", timeout=10).status_code == 502
    assert requests.get(gateway.url + "/v1/health/nobody", timeout=10).status_code == 404


def test_the_gateway_streams_objects_both_ways(cluster):
    gateway, _ = cluster
    body = bytes(range(256)) * 64 * 1024
    put = requests.put(gateway.url + "/v1/storage/put/a/b.bin", data=(body[i:i + 65536] for i in range(0, len(body), 65536)), timeout=60)
    assert put.status_code == 200 and put.json()["size"] == len(body)
    got = requests.get(gateway.url + "/v1/storage/get/a/b.bin", timeout=60)
    assert got.content == body
    part = requests.get(gateway.url + "/v1/storage/get/a/b.bin", headers={"Range": "bytes=10-19"}, timeout=10)
    assert part.status_code == 206 and part.content == body[10:20]
    head = requests.head(gateway.url + "/v1/storage/get/a/b.bin", timeout=10)
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(body)) and not head.content
    same = requests.get(gateway.url + "/v1/storage/get/a/b.bin", headers={"If-None-Match": got.headers["ETag"]}, timeout=10)
    assert same.status_code == 304 and not same.content


def test_a_refusal_reaches_the_client_through_the_gateway(cluster):
    gateway, _ = cluster
    refused = requests.put(gateway.url + "/v1/storage/put/_lake/x", data=b"x" * 1000, timeout=10)
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "denied"
    wrong = requests.post(gateway.url + "/v1/sql", data="SELECT 1", headers={"Content-Type": "text/plain"}, timeout=10)
    assert wrong.status_code == 415
    assert requests.get(gateway.url + "/v1/v1/catalog/list", timeout=10).status_code == 404
    hidden = requests.get(gateway.url + "/v1/internal/store/list", timeout=10)
    assert hidden.status_code == 404


def test_a_slow_service_is_504(start):
    listener = socket.create_server(("127.0.0.1", 0))
    held = []
    thread = threading.Thread(target=lambda: held.append(listener.accept()), daemon=True)
    thread.start()
    gateway = start("gateway", "--gateway.bind", "127.0.0.1:0", "--gateway.queryd_url",
                    f"http://127.0.0.1:{listener.getsockname()[1]}", "--gateway.head_timeout_seconds", "1")
    answer = sql(gateway, "SELECT 1")
    listener.close()
    assert answer.status_code == 504 and "queryd" in answer.json()["error"]["message"]


def test_a_catalogue_that_breaks_off_is_told_as_icebergs_clients_read_it(start):
    """The request has been sent, so that nobody knows what became of it: 502, and the gateway goes on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def take_and_close():
        while True:
            try:
                wire, _ = listener.accept()
            except OSError:
                return
            with wire:
                while b"END" not in wire.recv(65536):
                    pass

    thread = threading.Thread(target=take_and_close, daemon=True)
    thread.start()
    gateway = start("gateway", "--gateway.bind", "127.0.0.1:0", "--gateway.catalogd_url", f"http://127.0.0.1:{listener.getsockname()[1]}")
    for path in ("transactions/commit", "namespaces/main/tables/t"):
        answer = requests.post(f"{gateway.url}/iceberg/v1/main/{path}", data="x" * 300 + "END", timeout=10)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (502, 502, "InternalServerError")
        assert "catalogd" in error["message"]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    away = requests.post(f"{gateway.url}/iceberg/v1/main/transactions/commit", data="END", timeout=10)
    assert (away.status_code, away.json()["error"]["type"]) == (502, "InternalServerError")


def test_an_upstream_without_a_scheme_stops_the_start(start):
    server = start("gateway", "--gateway.bind", "127.0.0.1:0", "--gateway.queryd_url", "127.0.0.1:3214", wait=False)
    assert server.process.wait(10) == 2
    server._reader.join(10)
    assert server.says("gateway.queryd_url")


def test_ready_and_metrics_are_told_by_each(cluster):
    gateway, services = cluster
    for server in [gateway, *services.values()]:
        deadline = time.monotonic() + 20  # engines are started in the background
        while requests.get(server.url + "/ready", timeout=30).status_code != 200:
            assert time.monotonic() < deadline, requests.get(server.url + "/ready", timeout=30).text
            time.sleep(0.05)
        assert requests.get(server.url + "/nope", timeout=10).status_code == 404
        counted = 'lakehouse_http_requests_total{route="(none)",method="GET",status="404"} 1'
        # a request is counted when it has ended, a moment after its answer has arrived
        assert any(counted in requests.get(server.url + "/metrics", timeout=10).text.splitlines() for _ in range(100))
        assert json.loads(requests.get(server.url + "/health", timeout=10).text)["status"] == "ok"
