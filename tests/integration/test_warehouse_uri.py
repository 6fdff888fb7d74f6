"""Tables at s3: URIs over a folder: `[[warehouse]] uri = "s3"`. Clients read them through the S3 API with nothing but keys."""

import json
import subprocess
import time

import pyarrow.fs
import pyarrow.parquet
import pytest
import requests
from pyiceberg.table import StaticTable

from conftest import start_cluster
from s3_api import client, s3_url, settings_file
from test_s3_clients import environment_of

S3 = '\n[[warehouse]]\nuri = "s3"\n'
SWEEPS = ["--catalogd.sweep_seconds=1", "--catalogd.grace_seconds=0"]  # what is unreferenced goes at once
WAIT_SECONDS_MAX = 60
pytestmark = pytest.mark.folder("in a bucket tables are at s3: URIs anyway")


class Lake:
    """A server on `folder`, with or without the setting."""

    def __init__(self, serve, folder, more=S3, flags=()):
        self.server = serve("-config", settings_file(folder, more), "--s3api.bind", "127.0.0.1:0", *flags, data=folder / "lake")
        self.url, self.s3 = self.server.url, s3_url(self.server)

    def ingest(self, name, body, **query):
        answer = requests.post(self.url + "/v1/ingest", params={"name": name, **query}, data=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def manifest(self, name):
        return requests.get(f"{self.url}/v1/catalog/manifest/{name}", timeout=30).json()

    def location(self, name):
        return self.manifest(name)["metadata_location"]

    def rows(self, sql):
        answer = requests.post(self.url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    def properties(self, key="reader"):
        return {"s3.endpoint": self.s3, "s3.access-key-id": key, "s3.secret-access-key": key + "-secret", "s3.region": "us-east-1",
                "s3.path-style-access": "true"}


def uris(folder, key):
    """Every URI that the metadata of a table holds, also those in its manifests."""
    import fastavro
    found = []

    def walk(value):
        if isinstance(value, dict):
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)
        elif isinstance(value, str) and (value.startswith("file:") or value.startswith("s3:")):
            found.append(value)

    for path in sorted((folder / key).rglob("*")):
        if path.name.endswith(".metadata.json"):
            walk(json.loads(path.read_text()))
        elif path.suffix == ".avro":
            with path.open("rb") as file:
                walk(list(fastavro.reader(file)))
    return found


def table_folder(location):
    """Its key: `wh/...`, from the URI of a metadata file."""
    return location[location.index("/wh/") + 1:location.index("/metadata/")]


def test_a_table_at_s3_uris_lives_as_others_do(serve, tmp_path):
    lake = Lake(serve, tmp_path, flags=SWEEPS)
    assert lake.ingest("birds", b"id,name\n1,owl\n2,tit\n")["created"]
    lake.ingest("birds", b"id,name\n3,jay\n")
    lake.ingest("birds", b"id,name,kg\n4,emu,40.5\n", evolve="true")
    location = lake.location("birds")
    folder = table_folder(location)
    assert location.startswith("s3://lake/wh/main/main/birds-")
    found = uris(tmp_path / "lake", folder)
    assert len(found) > 10 and all(uri.startswith(f"s3://lake/{folder}") for uri in found), found
    assert lake.rows("SELECT id, name, kg FROM birds ORDER BY id") == [[1, "owl", None], [2, "tit", None], [3, "jay", None], [4, "emu", 40.5]]
    assert all(key["key"].startswith(folder + "/data/") for key in lake.manifest("birds")["files"])
    assert lake.manifest("birds")["config"]["s3.endpoint"] == lake.s3
    assert json.loads((tmp_path / "lake/_lake/format.json").read_text())["roots"] == [f"file://{tmp_path}/lake", "s3://lake"]
    assert requests.delete(f"{lake.url}/v1/catalog/table/birds", timeout=30).status_code == 204
    end = time.monotonic() + WAIT_SECONDS_MAX
    while [path for path in (tmp_path / "lake" / folder).rglob("*") if path.is_file()]:
        assert time.monotonic() < end, "the sweep leaves a dropped table's files:\n" + lake.server.log()
        time.sleep(0.2)


def test_clients_read_it_with_nothing_but_a_key(serve, tmp_path):
    url = "http://127.0.0.1:1"
    lake = Lake(serve, tmp_path, S3 + f's3_public_url = "{url}"\n')
    lake.ingest("birds", b"id,name\n1,owl\n2,tit\n")
    lake.ingest("birds", b"id,name\n3,jay\n")
    manifest = lake.manifest("birds")
    assert manifest["config"] == {"s3.endpoint": url, "s3.region": "us-east-1", "s3.path-style-access": "true"}
    expected = {"id": [1, 2, 3], "name": ["owl", "tit", "jay"]}
    properties = {**manifest["config"], **lake.properties()}
    for key in ("reader", "tables"):
        table = StaticTable.from_metadata(manifest["metadata_location"], {**properties, **lake.properties(key)})
        assert table.scan().to_arrow().sort_by("id").to_pydict() == expected
        assert table.scan(row_filter="id = 3").to_arrow().to_pydict() == {"id": [3], "name": ["jay"]}
    files = pyarrow.fs.S3FileSystem(access_key="reader", secret_key="reader-secret", endpoint_override=lake.s3[7:], scheme="http", region="us-east-1")
    found = [pyarrow.parquet.read_table(f"lake/{file['key']}", filesystem=files).num_rows for file in manifest["files"]]
    assert sorted(found) == [1, 2]
    with pytest.raises(OSError, match="(?i)access|denied|forbidden"):
        StaticTable.from_metadata(manifest["metadata_location"], {**properties, **lake.properties("narrow")})


DUCKDB = """
import glob, json, pathlib, sys, duckdb, duckdb_extension_httpfs
extension, = glob.glob(str(pathlib.Path(duckdb_extension_httpfs.__file__).parent / "**/httpfs.duckdb_extension"), recursive=True)
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
db.execute(f"LOAD '{extension}'")
db.execute(f"CREATE SECRET (TYPE s3, KEY_ID 'reader', SECRET 'reader-secret', ENDPOINT '{sys.argv[1]}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
print(json.dumps(db.execute("SELECT id, name FROM read_parquet(?) ORDER BY id", [sys.argv[2:]]).fetchall()))
"""


def test_duckdb_reads_its_files(serve, tmp_path):
    python = environment_of("s3clients") / "bin/python3"
    lake = Lake(serve, tmp_path)
    lake.ingest("birds", b"id,name\n1,owl\n")
    lake.ingest("birds", b"id,name\n2,jay\n")
    table = StaticTable.from_metadata(lake.location("birds"), lake.properties())
    names = [task.file.file_path for task in table.scan().plan_files()]
    assert len(names) == 2 and all(name.startswith("s3://lake/") for name in names)
    out = subprocess.run([python, "-c", DUCKDB, lake.s3[7:], *names], check=True, capture_output=True, text=True).stdout
    assert json.loads(out) == [[1, "owl"], [2, "jay"]]


def test_both_kinds_in_one_lake_and_each_keeps_its_own(serve, tmp_path):
    def both(lake, rows):
        assert lake.rows("SELECT count(*) FROM plain") == lake.rows("SELECT count(*) FROM shared") == [[rows]]
        assert lake.rows("SELECT count(*) FROM plain JOIN shared USING (a)") == [[rows]]
        for name, start in (("plain", "file://"), ("shared", "s3://lake/")):
            location = lake.location(name)
            assert location.startswith(start)
            assert all(uri.startswith(start) for uri in uris(tmp_path / "lake", table_folder(location)))

    lake = Lake(serve, tmp_path, "")
    lake.ingest("plain", b"a\n1\n")
    assert "s3://" not in (tmp_path / "lake/_lake/format.json").read_text()
    assert lake.server.stop() == 0
    lake = Lake(serve, tmp_path)
    lake.ingest("shared", b"a\n1\n")
    for name in ("plain", "shared"):
        lake.ingest(name, b"a\n2\n")
    both(lake, 2)
    assert lake.server.stop() == 0
    for more in ("", '\n[[warehouse]]\nuri = "file"\n'):
        lake = Lake(serve, tmp_path, more)
        rows = lake.rows("SELECT count(*) FROM plain")[0][0] + 1
        for name in ("plain", "shared"):
            lake.ingest(name, f"a\n{rows}\n".encode())
        both(lake, rows)
        lake.ingest("new" + str(rows), b"a\n1\n")
        assert lake.location("new" + str(rows)).startswith("file://")
        assert lake.server.stop() == 0
    # Made again under the other setting, it is of the other kind.
    lake = Lake(serve, tmp_path)
    assert requests.delete(f"{lake.url}/v1/catalog/table/plain", timeout=30).status_code == 204
    lake.ingest("plain", b"a\n1\n")
    assert lake.location("plain").startswith("s3://lake/")


def test_services_of_their_own(start, tmp_path):
    gateway, services = start_cluster(start, tmp_path / "lake", "-config", str(settings_file(tmp_path, S3)), "--s3api.bind", "127.0.0.1:0")
    answer = requests.post(gateway.url + "/v1/ingest", params={"name": "t"}, data=b"a\n1\n2\n", timeout=60)
    assert answer.status_code == 200, answer.text
    answer = requests.post(gateway.url + "/v1/sql", json={"sql": "SELECT sum(a) AS s FROM t"}, timeout=60)
    assert answer.json()["rows"] == [{"s": 3}]
    location = requests.get(gateway.url + "/v1/catalog/manifest/t", timeout=30).json()["metadata_location"]
    s3 = s3_url(services["storaged"])
    assert location.startswith("s3://lake/")
    assert client(s3, "reader").get_object(Bucket="lake", Key=location[len("s3://lake/"):])["Body"].read().startswith(b"{")


def test_a_location_outside_the_roots_is_refused_by_name(serve, tmp_path):
    lake = Lake(serve, tmp_path)
    lake.ingest("t", b"a\n1\n")
    pointer, = (tmp_path / "lake/_lake/cat").rglob("t.json")
    text = pointer.read_text().replace("s3://lake/", "s3://elsewhere/")
    pointer.unlink()
    pointer.write_text(text)
    answer = requests.post(lake.url + "/v1/sql", json={"sql": "FROM t"}, timeout=60)
    assert answer.status_code != 200 and "s3://elsewhere/wh/" in answer.text and "no root of this lake" in answer.text, answer.text


@pytest.mark.parametrize("more, names", [
    ('uri = "s4"', 'warehouse[0].uri = "s4"'),
    ('name = "other"', 'warehouse[0].name = "other"'),
    ('uri = "s3"\ns3_public_url = "lake:3120"', "warehouse[0].s3_public_url"),
    ('uri = "s3"\n[[warehouse]]\nname = "second"', 'warehouse[1].name = "second"'),
])
def test_a_setting_that_cannot_be_stops_the_start(start, tmp_path, more, names):
    server = start("serve", "-config", settings_file(tmp_path, f"\n[[warehouse]]\n{more}\n"), "--data", tmp_path / "lake", "--listen", "127.0.0.1:0",
                   "--s3api.bind", "127.0.0.1:0", wait=False)
    assert server.process.wait(WAIT_SECONDS_MAX) != 0
    server._reader.join(WAIT_SECONDS_MAX)
    assert names in server.log().replace('\\"', '"')
