"""What a lake in a bucket fetches of it: little more than the column chunks that a query needs, and each byte once."""

import io
import re
import threading

import pyarrow.parquet
import pytest
import requests
from s3_peers import BUCKET, BadWire, moto

DAY = "2001-02-03"
pytestmark = pytest.mark.folder("has a store of its own")


class CountingWire(BadWire):
    """Counts the bytes of bodies of data files that go to the lake."""

    def __init__(self, url):
        super().__init__(url)
        self.fetched = []
        self.lock = threading.Lock()

    def ask(self, line, headers, body):
        answer = super().ask(line, headers, body)
        if line.startswith("GET") and ".parquet" in line:
            with self.lock:
                self.fetched.append(len(answer.partition(b"\r\n\r\n")[2]))
        return answer

    def take_count(self):
        with self.lock:
            count, self.fetched = self.fetched, []
        return sum(count), len(count)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="module")
def flights(lakehouse, store, sdk, start_shared, tmp_path_factory):
    """3 million flights in a bucket; gives the prefix."""
    server = start_shared("serve", "--data", tmp_path_factory.mktemp("flights"), "--listen", "127.0.0.1:0", *store.flags("flights"))
    answer = requests.post(server.url + "/v1/ingest?name=flights", data=(sdk / "data/flights-3m.parquet").read_bytes(), timeout=300)
    assert answer.status_code == 200 and answer.json()["rows"] == 3000000, answer.text
    server.stop()
    return "flights"


def needed(store, prefix, columns):
    """Compressed bytes of these columns in the row groups that may have the day, and of the files' footers."""
    chunks = footers = 0
    for key in store.keys(prefix + "/wh"):
        if not key.endswith(".parquet"):
            continue
        body = store.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        footers += 8 + int.from_bytes(body[-8:-4], "little")
        metadata = pyarrow.parquet.ParquetFile(io.BytesIO(body)).metadata
        for group in range(metadata.num_row_groups):
            columns_of = {metadata.row_group(group).column(i).path_in_schema: metadata.row_group(group).column(i) for i in range(metadata.num_columns)}
            bounds = columns_of["date"].statistics
            if bounds.min.isoformat()[:10] <= DAY <= bounds.max.isoformat()[:10]:
                chunks += sum(columns_of[name].total_compressed_size for name in columns)
    return chunks, footers


def ask(server):
    sql = f"SELECT count(*) AS n, sum(delay) AS late FROM flights WHERE date >= TIMESTAMP '{DAY}' AND date < TIMESTAMP '{DAY}' + INTERVAL 1 DAY"
    answer = requests.post(server.url + "/v1/sql", json={"sql": sql}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def metric(server, name):
    text = requests.get(server.url + "/metrics", timeout=30).text
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def test_a_query_fetches_little_more_than_its_column_chunks_and_the_next_one_nothing(serve, store, flights):
    chunks, footers = needed(store, flights, ["date", "delay"])
    with CountingWire(store.url) as wire:
        server = serve(*store.flags(flights, wire.url))
        first = ask(server)
        assert first[0]["n"] > 1000
        cold, requests_cold = wire.take_count()
        assert chunks <= cold + footers and cold <= 1.2 * chunks, (cold, requests_cold, chunks, footers)
        assert ask(server) == first
        assert wire.take_count() == (0, 0)
        assert metric(server, "lakehouse_cache_hit_bytes_total") > 0 and metric(server, "lakehouse_cache_fetched_bytes_total") > chunks
        assert 0 < metric(server, "lakehouse_cache_bytes") <= 256 << 20


def test_a_folder_outlives_the_server(serve, store, flights, tmp_path):
    """What it kept is not fetched again, by the bytes; what is damaged or cut is; two servers never get into each other's way."""
    folder = tmp_path / "blocks"
    flags = ["--s3.cache_dir", folder, "--s3.cache_disk", "64MiB"]
    with CountingWire(store.url) as wire:
        server = serve(*store.flags(flights, wire.url), *flags)
        first = ask(server)
        cold, _ = wire.take_count()
        server.kill()  # nothing is written at its end
        server = serve(*store.flags(flights, wire.url), *flags)
        wire.take_count()
        assert ask(server) == first
        again, _ = wire.take_count()
        assert again < cold / 4, (cold, again)
        assert metric(server, "lakehouse_cache_disk_hit_bytes_total") > cold / 2 and metric(server, "lakehouse_cache_disk_faults_total") == 0
        beside = serve(*store.flags(flights, wire.url), *flags, data=tmp_path / "beside")
        assert ask(beside) == first and ask(server) == first
        assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]
        beside.stop()
        server.stop()
        pages = folder / "0" / "pages"
        body = bytearray(pages.read_bytes())
        for at in range(0, len(body), 3 * 16384):
            body[at + 99] ^= 1
        pages.write_bytes(body[:len(body) - 20000])
        server = serve(*store.flags(flights, wire.url), *flags)
        assert ask(server) == first
        assert metric(server, "lakehouse_cache_disk_faults_total") > 0
        assert pages.stat().st_size <= 64 << 20


def test_a_folder_that_cannot_be_is_told_at_the_start(start, store):
    for flags, words in ((("--s3.cache_dir", "/proc/none"), "s3.cache_dir"), (("--s3.cache_dir", "x", "--s3.cache_memory", "0"), "s3.cache_memory")):
        server = start("serve", *store.flags(), *flags, "--listen", "127.0.0.1:0", wait=False)
        assert server.process.wait(20) != 0
        server._reader.join(10)
        assert server.says(words), server.log()


def test_without_memory_for_it_nothing_is_kept(serve, store, flights):
    with CountingWire(store.url) as wire:
        server = serve(*store.flags(flights, wire.url), "--s3.cache_memory", "0")
        first = ask(server)
        cold, _ = wire.take_count()
        assert ask(server) == first
        again, _ = wire.take_count()
        assert cold > 0 and again > 0.9 * cold
        assert "lakehouse_cache" not in requests.get(server.url + "/metrics", timeout=30).text
