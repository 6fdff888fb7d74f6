"""How a lake reaches its bucket: by the bucket's own host name, by https, with short-lived keys; and what /ready says when it does not.

Over moto in `make test`; over MinIO, which looks at every signature and token, in `make test-all`.
"""

import subprocess
import urllib.parse

import boto3
import pytest
import requests
from conftest import build_folder
from s3_peers import ACCESS_KEY, SECRET_KEY, STORES, certificates

BOTH = ["moto", pytest.param("minio", marks=pytest.mark.slow)]
CONTRACT_SECONDS_MAX = 300
pytestmark = pytest.mark.folder("has stores of its own")


@pytest.fixture(scope="module", params=BOTH)
def store(request, tmp_path_factory):
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as running:
        running.name = request.param
        yield running


@pytest.fixture(scope="module", params=BOTH)
def tls(request, tmp_path_factory):
    with STORES[request.param](tmp_path_factory.mktemp(request.param), tls=True) as running:
        yield running


def ready(server):
    answer = requests.get(server.url + "/ready", timeout=60)
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def goes_its_way(server):
    assert ready(server) == (200, "")
    ingest = requests.post(server.url + "/v1/ingest?name=t", data="a\n1\n2\n", headers={"Content-Type": "text/csv"}, timeout=60)
    assert ingest.status_code == 200, ingest.text
    answer = requests.post(server.url + "/v1/sql", json={"sql": "SELECT sum(a) AS n FROM t"}, timeout=60)
    assert answer.json()["rows"] == [{"n": 3}], answer.text


# --- the bucket's own host ---

def by_host(store):
    return f"http://localhost:{urllib.parse.urlsplit(store.url).port}"  # its subdomains are this machine, too


def test_a_lake_is_reached_by_its_buckets_host(serve, store):
    goes_its_way(serve(*store.flags("virtual"), "--s3.endpoint", by_host(store), "--s3.addressing", "virtual"))
    assert [key for key in store.keys("virtual/wh/") if key.endswith(".parquet")]


@pytest.mark.slow
def test_the_driver_keeps_the_contract_by_the_buckets_host(store):
    environment = {**store.environment(), "S3_ENDPOINT": by_host(store), "S3_VIRTUAL_HOST": "1"}
    done = subprocess.run([build_folder() / "tests/store/test_s3_contract"], env=environment, capture_output=True, text=True, timeout=CONTRACT_SECONDS_MAX)
    assert done.returncode == 0, done.stdout + done.stderr


# --- https ---

def test_https_with_a_ca_of_ones_own(serve, tls):
    goes_its_way(serve(*tls.flags("tls"), "--s3.ca_file", tls.ca_file))


def test_a_certificate_that_nobody_vouches_for_is_told_in_one_line_at_once(serve, tls, tmp_path):
    other = certificates(tmp_path, "other")
    for flags, words in ((["--s3.ca_file", other], f's3.ca_file = "{other}" does not vouch for the certificate of {tls.url}'),
                         (["--s3.ca_file", tmp_path / "none.pem"], "none.pem"), ([], "s3.ca_file names its CA")):
        status, message = ready(serve(*tls.flags("wrong"), *flags, data=tmp_path / str(len(flags))))
        assert status == 503 and words in message and "\n" not in message, message


# --- keys ---

def test_short_lived_keys(serve, store):
    sts = boto3.client("sts", endpoint_url=store.url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1")
    keys = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/lake", RoleSessionName="lake", DurationSeconds=900)["Credentials"]
    flags = [*store.flags("sts"), "--s3.access_key", keys["AccessKeyId"], "--s3.secret_key", keys["SecretAccessKey"]]
    goes_its_way(serve(*flags, "--s3.session_token", keys["SessionToken"]))
    if store.name == "minio":  # moto takes any
        for token in (keys["SessionToken"][:-4] + "AAAA", ""):
            status, message = ready(serve(*flags, "--s3.session_token", token))
            assert status == 503 and "s3.session_token" in message, message


@pytest.mark.slow
@pytest.mark.parametrize("flag, value, words", [
    ("access_key", "nobody", "s3.access_key"), ("secret_key", "another", "s3.secret_key"), ("bucket", "nowhere", 's3.bucket = "nowhere"'),
    ("endpoint", "http://127.0.0.1:1", 's3.endpoint = "http://127.0.0.1:1"')])
def test_ready_names_the_setting_that_is_wrong(serve, store, flag, value, words):
    if store.name == "moto" and flag.endswith("_key"):
        pytest.skip("moto takes any keys")
    server = serve(*store.flags("wrong"), f"--s3.{flag}", value, "--s3.retry_seconds", "1")
    status, message = ready(server)
    assert status == 503 and words in message, message
