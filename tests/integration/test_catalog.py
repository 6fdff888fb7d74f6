"""catalogd from outside: lists, manifests, registered objects, drops, restarts, two servers on one folder, chaos at length."""

import concurrent.futures
import datetime
import decimal
import hashlib
import http.client
import io
import json
import os
import subprocess
import time
import urllib.parse

import pyarrow
import pyarrow.parquet
import pytest

from conftest import build_folder, start_cluster


class Client:
    def __init__(self, url):
        self.address = urllib.parse.urlsplit(url).netloc

    def call(self, method, path, body=None, expect=200, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        assert response.status == expect, f"{method} {path}: {response.status} {data[:500]!r}"
        return json.loads(data) if data else None

    def ingest(self, table, text, expect=200, **headers):
        return self.call("POST", f"/v1/ingest?name={table}", text, expect, Content_Type="text/csv", **headers)

    def put_parquet(self, key, expect=200, **columns):
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), sink)
        return self.call("PUT", f"/v1/storage/put/{key}", sink.getvalue(), expect)

    def register(self, name, *keys, expect=200):
        return self.call("POST", "/v1/catalog/register", json.dumps({"name": name, "objects": keys}), expect,
                         Content_Type="application/json")

    def tables(self):
        return self.call("GET", "/v1/catalog/list")["tables"]


def test_a_table_is_listed_described_and_dropped(serve):
    client = Client(serve().url)
    made = client.ingest("birds", "id,name\n1,owl\n2,wren\n")
    (row,) = client.tables()
    assert row["name"] == "birds" and row["row_count"] == 2 and row["dataset_id"] == made["dataset_id"]
    manifest = client.call("GET", "/v1/catalog/manifest/birds")
    assert [field["name"] for field in manifest["schema"]["fields"]] == ["id", "name"]
    assert manifest["row_count"] == sum(file["row_count"] for file in manifest["files"]) == 2
    lines = [f"{f['name']}:{f['type']}:{str(f['required']).lower()}" for f in manifest["schema"]["fields"]]
    assert manifest["fingerprint"] in (hashlib.sha256("\n".join(lines).encode()).hexdigest(),
                                       hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest())
    client.call("DELETE", "/v1/catalog/table/birds", expect=204)
    client.call("DELETE", "/v1/catalog/table/birds", expect=404)
    client.call("GET", "/v1/catalog/manifest/birds", expect=404)
    assert client.tables() == []
    assert client.ingest("birds", "id,name\n1,owl\n2,wren\n")["dataset_id"] != made["dataset_id"]


@pytest.mark.folder("damages files of the folder")
@pytest.mark.parametrize("processes", [1, 6])
def test_a_damaged_table_hides_no_other(serve, start, tmp_path, lakehouse, processes):
    folder = tmp_path / "lake"
    if processes == 1:
        gateway = catalogd = serve(data=folder)
    else:
        gateway, services = start_cluster(start, folder)
        catalogd = services["catalogd"]
    client = Client(gateway.url)
    for name in ("good", "hurt"):
        client.ingest(name, "n\n1\n")
    pointer, = folder.glob("_lake/cat/main/ns/main/t/hurt.json")
    whole = pointer.read_bytes()
    with open(pointer, "r+b") as file:  # a bit of the disk has turned over
        file.seek(len(whole) // 2)
        file.write(bytes([whole[len(whole) // 2] ^ 1]))
    listed = client.call("GET", "/v1/catalog/list")
    assert [table["name"] for table in listed["tables"]] == ["good"] and listed["next"] is None
    damaged, = listed["damaged"]
    assert (damaged["name"], damaged["code"]) == ("hurt", "corrupt") and "hurt.json" in damaged["message"]
    assert catalogd.says('"table_damaged"', "hurt.json"), catalogd.log()

    def sql(text, expect=200):
        return client.call("POST", "/v1/sql", json.dumps({"sql": text, "row_format": "arrays"}), expect, Content_Type="application/json")
    assert sql("SHOW TABLES")["rows"] == [["good"]]
    assert sql("SELECT table_name FROM information_schema.tables")["rows"] == [["good"]]
    assert sql("SELECT n FROM good")["rows"] == [[1]]
    assert "hurt.json" in sql("SELECT n FROM hurt", 500)["error"]["message"]
    shown = subprocess.run([lakehouse, "tables", "--server", gateway.url], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and "good" in shown.stdout and "hurt" not in shown.stdout
    assert 'table "hurt" is damaged' in shown.stderr and "lakehouse doctor" in shown.stderr
    pointer.unlink()
    pointer.write_bytes(whole)  # as from a backup
    assert "damaged" not in client.call("GET", "/v1/catalog/list") and sql("SELECT n FROM hurt")["rows"] == [[1]]


def test_registered_objects_count_once_and_stay_their_owners(serve):
    client = Client(serve().url)
    client.put_parquet("in/a.parquet", x=[1, 2, 3], s=["a", None, "c"])
    client.put_parquet("in/b.parquet", x=[4], s=["d"])
    client.put_parquet("in/other.parquet", y=[1.5])
    first = client.register("t", "in/a.parquet")
    assert first["added"] == 1 and first["existing"] is False
    second = client.register("t", "in/a.parquet", "in/b.parquet")
    assert second["added"] == 1 and second["existing"] is True and second["dataset_id"] == first["dataset_id"]
    client.register("t", "in/other.parquet", expect=409)
    client.register("t", "in/a.parquet", "in/none.parquet", expect=404)
    client.register("u", "in/a.parquet", "in/other.parquet", expect=409)
    manifest = client.call("GET", "/v1/catalog/manifest/t")
    assert sorted(file["source"] for file in manifest["files"]) == ["in/a.parquet", "in/b.parquet"]
    assert manifest["row_count"] == 4
    client.call("DELETE", "/v1/storage/delete/in/a.parquet", expect=204)
    answer = client.call("POST", "/v1/sql", json.dumps({"sql": "SELECT sum(x) AS n, count(s) AS c FROM t"}), Content_Type="application/json")
    assert answer["rows"] == [{"n": 10, "c": 3}]


def test_an_object_that_cannot_be_a_table_is_refused_by_its_name(serve):
    client = Client(serve().url)
    client.call("PUT", "/v1/storage/put/junk.parquet", b"PAR1 no parquet PAR1")
    client.call("PUT", "/v1/storage/put/empty.parquet", b"")
    client.put_parquet("case.parquet", A=[1], a=[2])
    for key in ("junk.parquet", "empty.parquet", "case.parquet"):
        message = client.register("t", key, expect=400)["error"]["message"]
        assert key in message and "spool" not in message and "line" not in message, message
    client.register("t", expect=400)
    client.register("t", "_lake/secret", expect=400)
    assert client.tables() == []


def test_registered_files_with_and_without_ids_are_read_right_after_evolution(serve):
    client = Client(serve().url)

    def rows(text):
        return client.call("POST", "/v1/sql", json.dumps({"sql": text}), Content_Type="application/json")["rows"]

    client.put_parquet("a.parquet", x=[1], s=["plain"], l=[[1, 2]], m=[{"p": 1, "q": "a"}])
    client.register("t", "a.parquet")
    client.call("POST", "/v1/ingest?name=t", '{"x":2,"s":"ours","l":[3],"m":{"p":2,"q":"b"}}\n', Content_Type="application/x-ndjson")
    client.call("POST", "/v1/ingest?name=t&evolve=true", '{"x":3,"s":"wider","l":[4],"m":{"p":3,"q":"b"},"z":1.5}\n', Content_Type="application/x-ndjson")
    assert rows("SELECT x, s, l, m.p AS p, z FROM t ORDER BY x") == [
        {"x": 1, "s": "plain", "l": [1, 2], "p": 1, "z": None},
        {"x": 2, "s": "ours", "l": [3], "p": 2, "z": None},
        {"x": 3, "s": "wider", "l": [4], "p": 3, "z": 1.5}]
    assert rows("SELECT count(*) AS n FROM t WHERE z IS NULL") == [{"n": 2}]


def test_a_registered_file_keeps_the_types_it_is_stored_in(serve):
    client = Client(serve().url)
    client.put_parquet("types.parquet", t=[datetime.time(1, 2, 3)], d=[datetime.date(2024, 1, 2)], b=[b"\0"], n=[decimal.Decimal("1.10")])
    client.register("types", "types.parquet")
    fields = client.call("GET", "/v1/catalog/manifest/types")["schema"]["fields"]
    assert {field["name"]: field["type"] for field in fields} == {"t": "time", "d": "date", "b": "binary", "n": "decimal(3, 2)"}
    answer = client.call("POST", "/v1/sql", json.dumps({"sql": "SELECT * FROM types WHERE t > '01:00:00'"}), Content_Type="application/json")
    assert answer["rows"] == [{"t": "01:02:03", "d": "2024-01-02", "b": "AA==", "n": 1.10}]


def test_everything_is_found_again_after_a_kill(serve):
    server = serve()
    client = Client(server.url)
    client.ingest("a", "x\n1\n", Idempotency_Key="one")
    client.ingest("zoo.b", "x\n1\n2\n")
    before = client.tables()
    server.kill()
    client = Client(serve(data=server.data).url)
    assert client.tables() == before
    again = client.ingest("a", "x\n1\n", Idempotency_Key="one")
    assert again["deduplicated"] is True


def test_two_servers_on_one_folder_never_both_win(serve):
    one = serve()
    two = serve(data=one.data)
    clients = [Client(one.url), Client(two.url)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(clients[i % 2].ingest, "t", f"x\n{i}\n") for i in range(16)]
        for job in jobs:
            job.result()
    for client in clients:
        (row,) = client.tables()
        assert row["row_count"] == 16


@pytest.mark.slow
def test_no_schedule_of_many_breaks_the_commit_protocol():
    program = build_folder() / "tests" / "catalog" / "test_chaos"
    result = subprocess.run([program], env=dict(os.environ, LAKEHOUSE_CHAOS_SCHEDULES="20000"), capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.folder("looks for the files that are left")
def test_dropped_tables_are_swept_and_nothing_that_lives(serve):
    flags = ["--catalogd.sweep_seconds=1", "--catalogd.grace_seconds=0"]
    one = serve(*flags)
    two = serve(*flags, data=one.data)
    clients = [Client(one.url), Client(two.url)]
    clients[0].ingest("kept", "x\n100\n")  # of two first appends at once each would bring a folder

    def churn(i):
        client = clients[i % 2]
        client.ingest(f"gone{i}", f"x\n{i}\n")
        client.call("DELETE", f"/v1/catalog/table/gone{i}", expect=204)
        client.ingest("kept", f"x\n{i}\n")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(12)))
    kept = clients[0].call("GET", "/v1/catalog/manifest/kept")
    deadline = time.monotonic() + 60
    while True:
        left = {path.name for path in (one.data / "wh/main/main").iterdir()}
        if len(left) == 1 and not list((one.data / "_lake/trash").glob("*/*")):
            break
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)
    assert all((one.data / file["key"]).exists() for file in kept["files"])
    answer = clients[1].call("POST", "/v1/sql", json.dumps({"sql": "SELECT count(*) AS n, count(DISTINCT x) AS d FROM kept"}), Content_Type="application/json")
    assert answer["rows"] == [{"n": 13, "d": 13}]
    metrics = [http.client.HTTPConnection(client.address) for client in clients]
    swept = 0
    for connection in metrics:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        swept += sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("lakehouse_sweep_objects_total"))
    assert swept >= 12 * 4
