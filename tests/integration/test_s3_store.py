"""The lake on an S3 store: the driver's contract, the whole way of a table, what /ready says, and what becomes of a
commit whose answer is lost.

The store is moto; `make test-all` runs the same over MinIO and versitygw too.
"""

import concurrent.futures
import json
import pathlib
import random
import re
import subprocess
import threading

import pytest
import requests
from conftest import build_folder
from raw_http import Service, answers
from s3_peers import ACCESS_KEY, BUCKET, SECRET_KEY, BadWire, prefix, store  # noqa: F401 (fixtures)

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIRDS = (ROOT / "examples/data/birdstrikes.csv").read_bytes()
CONTRACT_SECONDS_MAX = 300


def ingest(url, table, body):
    return requests.post(f"{url}/v1/ingest", params={"name": table}, data=body, headers={"Content-Type": "text/csv"}, timeout=120)


def rows(url, sql):
    answer = requests.post(url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_the_driver_keeps_the_contract(store):
    done = subprocess.run([build_folder() / "tests/store/test_s3_contract"], env=store.environment(), capture_output=True, text=True,
                          timeout=CONTRACT_SECONDS_MAX)
    passed = sum(int(count) for count in re.findall(r"\[  PASSED  \] (\d+) test", done.stdout + done.stderr))
    assert done.returncode == 0 and passed >= 27, done.stdout + done.stderr


# --- the whole way ---

def test_a_table_goes_its_whole_way_on_a_bucket(serve, store, prefix):
    server = serve(*store.flags(prefix))
    assert requests.get(server.url + "/ready", timeout=60).status_code == 200
    first = ingest(server.url, "birds", BIRDS).json()
    assert first["rows"] == 10000 and first["created"]
    assert ingest(server.url, "birds", BIRDS).json()["deduplicated"]
    version = ingest(server.url, "small", "a,b\n1,x\n").json()["snapshot_id"]
    assert ingest(server.url, "small", "a,b\n2,y\n").status_code == 200
    assert rows(server.url, "SELECT count(*) FROM birds") == [[10000]]
    assert rows(server.url, "SELECT a, b FROM small ORDER BY a") == [[1, "x"], [2, "y"]]
    assert rows(server.url, f"SELECT count(*) FROM small AT (VERSION => {version})") == [[1]]
    manifest = requests.get(server.url + "/v1/catalog/manifest/birds", timeout=60).json()
    assert manifest["metadata_location"].startswith(f"s3://{BUCKET}/{prefix}/wh/main/main/birds-")
    assert f"{prefix}/{manifest['files'][0]['key']}" in store.keys(prefix)
    assert not server.data.exists()  # nothing lies on this machine
    assert requests.delete(server.url + "/v1/catalog/table/small", timeout=60).status_code == 204
    names = [table["name"] for table in requests.get(server.url + "/v1/catalog/list", timeout=60).json()["tables"]]
    assert names == ["birds"]
    server.kill()
    again = serve(*store.flags(prefix))
    assert rows(again.url, "SELECT count(*) FROM birds") == [[10000]]


def test_objects_of_any_size_come_back(serve, store, prefix):
    server = serve(*store.flags(prefix))
    for size in (0, 1, 64 * 1024, 64 * 1024 + 1, 16 << 20, (32 << 20) + 1):
        body = random.Random(size).randbytes(size)
        for way in (body, iter([body[:size // 3], body[size // 3:]])) if size < 1 << 20 else (body,):
            answer = requests.put(f"{server.url}/v1/storage/put/objects/{size}", data=way, timeout=120)
            assert answer.status_code == 200 and answer.json()["size"] == size, answer.text
            assert requests.get(f"{server.url}/v1/storage/get/objects/{size}", timeout=120).content == body
    part = requests.get(f"{server.url}/v1/storage/get/objects/{size}", headers={"Range": "bytes=20000000-20000099"}, timeout=60)
    assert part.status_code == 206 and part.content == body[20000000:20000100]
    assert store.uploads(prefix) == []


def test_services_of_their_own_share_a_bucket(start, tmp_path, store, prefix):
    common = [*store.flags(prefix), "--cluster.secret", "a secret for all of them"]
    storaged = start("storaged", *common, "--storaged.bind", "127.0.0.1:0")
    urls = {"storaged": storaged.url}
    for name in ("catalogd", "ingestd", "queryd"):
        own = [f"--{name}.bind", "127.0.0.1:0", f"--{name}.storaged_url", urls["storaged"], "--cluster.secret", "a secret for all of them"]
        if name != "catalogd":
            own += [f"--{name}.catalogd_url", urls["catalogd"]]
        urls[name] = start(name, *own).url
    gateway = start("gateway", "--gateway.bind", "127.0.0.1:0", "--cluster.secret", "a secret for all of them",
                    *[word for name, url in urls.items() for word in (f"--gateway.{name}_url", url)])
    assert ingest(gateway.url, "birds", BIRDS).json()["rows"] == 10000
    assert rows(gateway.url, "SELECT count(*) FROM birds") == [[10000]]


def test_two_servers_on_one_bucket_lose_no_append(serve, store, prefix, tmp_path):
    servers = [serve(*store.flags(prefix), data=tmp_path / str(i)) for i in range(2)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ingest(servers[i % 2].url, "t", f"n\n{i}\n"), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    for server in servers:
        assert rows(server.url, "SELECT count(*), count(DISTINCT n) FROM t") == [[24, 24]]


# --- what /ready says ---

def not_ready(serve, *flags):
    """The server listens, after a while, though its store is not there, and its log says why."""
    server = serve(*flags, "--s3.retry_seconds", "1")
    answer = requests.get(server.url + "/ready", timeout=60)
    assert answer.status_code == 503
    assert [line for line in server.lines if '"event":"not_ready"' in line and '"level":"warn"' in line], server.log()
    return answer.json()["error"]["message"]


REFUSALS = {"InvalidAccessKeyId": (403, "s3.access_key"), "SignatureDoesNotMatch": (403, "s3.secret_key"), "ExpiredToken": (400, "s3.session_token"),
            "AuthorizationHeaderMalformed": (400, "s3.region"), "RequestTimeTooSkewed": (403, "the clock of this machine is")}


def test_ready_names_the_setting_that_is_wrong(serve, store, prefix):
    def refused(code):
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        with Service(answers(f"HTTP/1.1 {REFUSALS[code][0]} No\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nx-amz-bucket-region: eu-x-1\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n{body}")) as peer:
            return not_ready(serve, *store.flags(prefix), "--s3.endpoint", peer.url)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        nowhere = pool.submit(not_ready, serve, *store.flags(prefix), "--s3.bucket", "nowhere")
        nobody = pool.submit(not_ready, serve, *store.flags(prefix), "--s3.endpoint", "http://127.0.0.1:1")
        messages = dict(zip(REFUSALS, pool.map(refused, REFUSALS)))
    assert 's3.bucket = "nowhere": ' in nowhere.result()
    assert 's3.endpoint = "http://127.0.0.1:1" cannot be reached' in nobody.result()
    for code, (_, words) in REFUSALS.items():
        assert words in messages[code], messages


@pytest.mark.parametrize("flags, words", [
    (["--s3.endpoint", ""], "s3.endpoint is empty"), (["--s3.endpoint", "127.0.0.1:9000"], "s3.endpoint"), (["--s3.endpoint", "http://x/path"], "has a path"),
    (["--s3.bucket", "no/bucket"], "s3.bucket"), (["--s3.bucket", ""], "s3.bucket"), (["--s3.addressing", "dns"], "s3.addressing"),
    (["--s3.prefix", "a/../b"], "s3.prefix"), (["--s3.secret_key", ""], "s3.secret_key is not")])
def test_settings_that_cannot_be_are_refused_at_start(start, store, flags, words):
    server = start("serve", *store.flags(), *flags, "--listen", "127.0.0.1:0", wait=False)
    assert server.process.wait(20) == 2
    server._reader.join(10)
    assert server.says(words), server.log()


def test_without_keys_the_three_places_are_named(serve, store, tmp_path):
    flags = store.flags()
    at = flags.index("--s3.access_key")
    server = serve(*flags[:at], "--s3.retry_seconds", "1", env={"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    message = requests.get(server.url + "/ready", timeout=60).json()["error"]["message"]
    assert "s3.access_key" in message and "AWS_ACCESS_KEY_ID" in message and f"{tmp_path}/.aws/credentials" in message


def test_keys_come_from_environment_and_shared_files(serve, store, tmp_path, prefix):
    flags = store.flags(prefix)
    flags = flags[:flags.index("--s3.access_key")]
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(f"[other]\naws_access_key_id = x\n\n[lake]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    for env in ({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}, {"HOME": str(tmp_path), "AWS_PROFILE": "lake"}):
        server = serve(*flags, env=env)
        assert requests.get(server.url + "/ready", timeout=60).status_code == 200


# --- stores that cannot be trusted ---

def test_a_store_where_two_writers_win_is_not_written_to(serve, store, prefix):
    """The wire takes the conditions away, as a store does that does not know them."""
    with BadWire(store.url, deaf=("if-match", "if-none-match")) as wire:
        server = serve(*store.flags(prefix, wire.url))
        answer = requests.get(server.url + "/ready", timeout=60)
        assert answer.status_code == 503 and re.search(r"let \d+ of 32 writers win one conditional create", answer.text), answer.text
        assert ingest(server.url, "t", "a\n1\n").status_code == 501
    assert [key for key in store.keys(prefix) if "/probe/" not in key] == []


def insist(url, body):
    for _ in range(5):
        answer = ingest(url, "t", body)
        if answer.status_code == 200:
            break
        assert answer.status_code in (502, 503, 504), answer.text
    return answer


@pytest.mark.parametrize("fault", ["refuse", "lose", "late", "twice"])
def test_no_batch_is_lost_or_doubled_when_answers_are(serve, store, prefix, fault):
    """Every third write is harmed on its way. A client that is told of an error sends the same batch again; each is there once."""
    count, lock = [0], threading.Lock()

    def harm(line):
        if not line.startswith(("PUT", "POST", "DELETE")) or "/_lake/probe/" in line:
            return None
        with lock:
            count[0] += 1
            return fault if count[0] % 3 == 0 else None

    with BadWire(store.url, harm) as wire:
        server = serve(*store.flags(prefix, wire.url))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda i: insist(server.url, f"n\n{i}\n"), range(16)))
        assert wire.harmed and [answer.status_code for answer in answers] == [200] * 16, [answer.text for answer in answers]
        server.stop()
    clean = serve(*store.flags(prefix))
    assert rows(clean.url, "SELECT n FROM t ORDER BY n") == [[i] for i in range(16)]


def test_an_upload_that_fails_leaves_no_parts(serve, store, prefix):
    with BadWire(store.url, lambda line: "refuse" if "partNumber=2" in line else None) as wire:
        server = serve(*store.flags(prefix, wire.url), "--s3.retry_seconds", "1")
        answer = requests.put(server.url + "/v1/storage/put/big", data=bytes(40 << 20), timeout=120)
        assert answer.status_code == 503 and "cannot be reached" in answer.text or answer.status_code == 502, answer.text
        assert requests.get(server.url + "/v1/storage/get/big", timeout=60).status_code == 404
    assert store.uploads(prefix) == []


def test_doctor_looks_into_a_bucket(serve, store, prefix, lakehouse):
    server = serve(*store.flags(prefix))
    assert ingest(server.url, "t", "a\n1\n").status_code == 200
    server.stop()
    done = subprocess.run([lakehouse, "doctor", "--json", *store.flags(prefix)], capture_output=True, text=True, timeout=120)
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 0, findings
    assert any(f"s3://{BUCKET}/{prefix}" in finding["message"] for finding in findings)
