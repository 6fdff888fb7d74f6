"""Keys that the Iceberg REST catalogue lends: a client that knows the catalogue's URL reads tables at s3: URIs, and only those it asked for."""

import boto3
import botocore.config
import botocore.exceptions
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.io.fsspec import S3V4RestSigner

from conftest import free_port, start_cluster
from s3_api import s3_url

DELEGATE = {"X-Iceberg-Access-Delegation": "vended-credentials,remote-signing"}
BIRDS = b"id,name\n1,owl\n2,wren\n"
pytestmark = pytest.mark.folder("in a bucket tables are at that bucket's URIs, and its keys are not ours to lend")


def settings(folder, more=""):
    path = folder / "lakehouse.toml"
    path.write_text('[[warehouse]]\nuri = "s3"\n' + more)
    return ("-config", str(path))


def ingest(url, name, body=BIRDS):
    answer = requests.post(f"{url}/v1/ingest", params={"name": name}, data=body, headers={"Content-Type": "text/csv"}, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def lake(serve, tmp_path):
    """Without a single key in the settings."""
    server = serve(*settings(tmp_path), "--s3api.bind", "127.0.0.1:0", data=tmp_path / "lake")
    ingest(server.url, "birds")
    ingest(server.url, "geo.towns", b"town\nUlm\n")
    return server


def load(url, table="namespaces/main/tables/birds", headers=DELEGATE):
    return requests.get(f"{url}/iceberg/v1/main/{table}", headers=headers, timeout=30)


def client_of(config):
    return boto3.client("s3", endpoint_url=config["s3.endpoint"], region_name=config["s3.region"], aws_access_key_id=config["s3.access-key-id"],
                        aws_secret_access_key=config["s3.secret-access-key"], aws_session_token=config["s3.session-token"],
                        config=botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}))


def refused(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_javas_clients_are_told_to_ask_for_keys(lake):
    config = requests.get(lake.url + "/iceberg/v1/config", timeout=10).json()
    assert config["defaults"] == {"header.X-Iceberg-Access-Delegation": "vended-credentials"}


def test_pyiceberg_needs_the_catalogues_url_and_nothing_else(lake):
    catalog = load_catalog("lake", type="rest", uri=lake.url + "/iceberg")
    assert catalog.load_table("main.birds").scan().to_arrow().sort_by("id").to_pydict() == {"id": [1, 2], "name": ["owl", "wren"]}
    assert catalog.load_table("geo.towns").scan().to_arrow().to_pydict() == {"town": ["Ulm"]}


def test_a_lent_key_opens_its_own_table_only(lake):
    answer = load(lake.url).json()
    location, config = answer["metadata"]["location"], answer["config"]
    assert location.startswith("s3://lake/wh/main/main/birds-")
    assert config["s3.endpoint"] == s3_url(lake) and config["client.region"] == "us-east-1"
    assert answer["storage-credentials"] == [{"prefix": location, "config": config}]
    own = location.removeprefix("s3://lake/")
    other = load(lake.url, "namespaces/geo/tables/towns").json()["metadata-location"].removeprefix("s3://lake/")
    s3 = client_of(config)
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="lake", Prefix=own + "/")["Contents"]]
    assert any(key.endswith(".parquet") for key in keys) and all(key.startswith(own + "/") for key in keys)
    assert s3.get_object(Bucket="lake", Key=keys[0])["Body"].read()
    s3.put_object(Bucket="lake", Key=own + "/data/new.parquet", Body=b"bytes")
    assert s3.get_object(Bucket="lake", Key=own + "/data/new.parquet")["Body"].read() == b"bytes"
    for key in [other, own + "-more/data/x", "wh/main/x", "_lake/format.json", "mine.csv"]:
        assert refused(s3.put_object, Bucket="lake", Key=key, Body=b"bytes") == "AccessDenied", key
        assert refused(s3.get_object, Bucket="lake", Key=key) == "AccessDenied", key
        assert refused(s3.delete_object, Bucket="lake", Key=key) == "AccessDenied", key
    assert refused(s3.list_objects_v2, Bucket="lake") == "AccessDenied"
    assert refused(s3.create_bucket, Bucket="another") == "AccessDenied"
    copy = {"Bucket": "lake", "Key": other}
    assert refused(s3.copy_object, Bucket="lake", Key=own + "/data/copy", CopySource=copy) == "AccessDenied"
    deleted = s3.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": other}, {"Key": own + "/data/new.parquet"}]})
    assert [(error["Key"], error["Code"]) for error in deleted["Errors"]] == [(other, "AccessDenied")]
    assert [found["Key"] for found in deleted["Deleted"]] == [own + "/data/new.parquet"]


def test_another_token_or_none_is_refused(lake):
    one, two = load(lake.url).json()["config"], load(lake.url, "namespaces/geo/tables/towns").json()["config"]
    assert one["s3.access-key-id"] != two["s3.access-key-id"]
    key = load(lake.url).json()["metadata-location"].removeprefix("s3://lake/")
    assert refused(client_of({**one, "s3.session-token": two["s3.session-token"]}).get_object, Bucket="lake", Key=key) == "InvalidToken"
    assert refused(client_of({**one, "s3.session-token": None}).get_object, Bucket="lake", Key=key) == "InvalidToken"
    assert refused(client_of({**one, "s3.secret-access-key": two["s3.secret-access-key"]}).get_object, Bucket="lake", Key=key) == "SignatureDoesNotMatch"


def test_a_presigned_url_of_a_lent_key_works_for_anybody(lake):
    answer = load(lake.url).json()
    key = answer["metadata-location"].removeprefix("s3://lake/")
    link = client_of(answer["config"]).generate_presigned_url("get_object", Params={"Bucket": "lake", "Key": key}, ExpiresIn=60)
    assert requests.get(link, timeout=30).json()["location"] == answer["metadata"]["location"]


def test_keys_are_lent_to_those_who_ask(lake):
    plain = load(lake.url, headers={}).json()
    assert "storage-credentials" not in plain and not [name for name in plain["config"] if "key" in name or "token" in name]
    assert plain["config"]["s3.endpoint"] == s3_url(lake)
    credentials = load(lake.url, "namespaces/main/tables/birds/credentials", headers={})
    assert credentials.headers["Cache-Control"] == "no-store"
    lent = credentials.json()["storage-credentials"]
    assert [one["prefix"] for one in lent] == [plain["metadata"]["location"]]
    assert client_of(lent[0]["config"]).get_object(Bucket="lake", Key=plain["metadata-location"].removeprefix("s3://lake/"))
    answer = load(lake.url, "namespaces/main/tables/nope/credentials")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchTableException")
    clickhouse = load(lake.url, headers={**DELEGATE, "User-Agent": "ClickHouse/26.9"}).json()
    assert clickhouse["config"]["s3.endpoint"] == s3_url(lake) + "/"


def test_requests_are_signed_for_who_holds_no_key(lake):
    answer = load(lake.url, headers={"X-Iceberg-Access-Delegation": "remote-signing"}).json()
    config = answer["config"]
    assert "s3.secret-access-key" not in config and "storage-credentials" not in answer and config["s3.remote-signing-enabled"] == "true"
    own = answer["metadata"]["location"].removeprefix("s3://lake/")
    other = load(lake.url, "namespaces/geo/tables/towns").json()["metadata-location"].removeprefix("s3://lake/")
    s3 = boto3.client("s3", endpoint_url=config["s3.endpoint"], region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none",
                      config=botocore.config.Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
    signer = S3V4RestSigner({"uri": lake.url + "/iceberg", "s3.signer.endpoint": config["s3.signer.endpoint"]})
    s3.meta.events.register_last("before-sign.s3", lambda request, **_: signer(request))
    s3.put_object(Bucket="lake", Key=own + "/data/a b+ü.parquet", Body=b"bytes", ContentType="text/plain")
    assert s3.get_object(Bucket="lake", Key=own + "/data/a b+ü.parquet", Range="bytes=1-2")["Body"].read() == b"yt"
    assert len(s3.list_objects_v2(Bucket="lake", Prefix=own + "/data/")["Contents"]) == 2
    assert refused(s3.get_object, Bucket="lake", Key=other) == "AccessDenied"
    s3.delete_object(Bucket="lake", Key=own + "/data/a b+ü.parquet")


SIGNER = "namespaces/main/tables/birds/sign"


@pytest.mark.parametrize("change", [{"uri": "http://example.org/lake/x"}, {"uri": "/lake/x"}, {"headers": {"a": "b"}}, {"headers": {"a": ["b\nc"]}}, {"method": None},
                                    {"headers": {"x-amz-content-sha256": ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD"]}}])
def test_what_is_not_asked_of_the_s3_api_is_not_signed(lake, change):
    body = {"method": "GET", "region": "us-east-1", "uri": s3_url(lake) + "/lake/x", "headers": {}, **change}
    answer = requests.post(f"{lake.url}/iceberg/v1/main/{SIGNER}", json=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "BadRequestException")


def test_what_a_client_keeps_by_its_etag_is_no_key_of_long_ago(lake):
    with_key, without = load(lake.url).headers["ETag"], load(lake.url, headers={}).headers["ETag"]
    assert with_key != without and with_key.strip('"').startswith(without.strip('"') + "-")
    assert load(lake.url, headers={**DELEGATE, "If-None-Match": without}).status_code == 200
    assert load(lake.url, headers={**DELEGATE, "If-None-Match": load(lake.url).headers["ETag"]}).status_code in (200, 304)
    assert load(lake.url, headers={"If-None-Match": without}).status_code == 304


def test_the_catalogue_lends_what_another_service_takes(start, tmp_path):
    gateway = start_cluster(start, tmp_path / "lake", *settings(tmp_path), "--s3api.bind", f"127.0.0.1:{free_port()}")[0]
    ingest(gateway.url, "birds")
    catalog = load_catalog("lake", type="rest", uri=gateway.url + "/iceberg")
    assert catalog.load_table("main.birds").scan().to_arrow().num_rows == 2


def test_an_address_that_nobody_knows_is_not_told(start, tmp_path):
    gateway = start_cluster(start, tmp_path / "lake", *settings(tmp_path), "--s3api.bind", "127.0.0.1:0")[0]
    ingest(gateway.url, "birds")
    answer = load(gateway.url).json()
    assert answer["config"] == {} and "storage-credentials" not in answer


def test_tables_in_files_need_no_key(shared_server):
    ingest(shared_server.url, "birds")
    answer = load(shared_server.url).json()
    assert answer["config"] == {} and "storage-credentials" not in answer
    assert load(shared_server.url, "namespaces/main/tables/birds/credentials").json() == {"storage-credentials": []}
