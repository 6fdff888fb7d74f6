"""The clients that people use, unchanged, against the S3 API. Each does what its user would: whole trees both ways,
great files in parts, queries on files. boto3 has files of its own (test_s3_api.py, test_s3_api_uploads.py)."""

import filecmp
import json
import os
import pathlib
import random
import subprocess

import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from s3_api import client, s3_url, settings_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = 2000


def environment_of(name):
    return pathlib.Path(subprocess.run([ROOT / "bootstrap", "--env", name], capture_output=True, text=True, check=True).stdout.strip())


@pytest.fixture(scope="module")
def url(lakehouse, tmp_path_factory):
    from conftest import serving, starting
    folder = tmp_path_factory.mktemp("s3clients")
    starter = starting(lakehouse)
    yield s3_url(serving(next(starter), folder)("--config", settings_file(folder), "--s3api.bind", "127.0.0.1:0"))
    next(starter, None)


def make_tree(folder, count):
    """Small files in folders, with names that need care, and one of 20 MB."""
    chance = random.Random(7)
    for n in range(count - 1):
        place = folder / f"d{n % 17}" / f"e+{n % 5}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f {n} ü%.bin").write_bytes(chance.randbytes(chance.randrange(3000)))
    (folder / "big").write_bytes(chance.randbytes(20_000_000))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"), FILES)


def assert_same(one, other, count=FILES):
    def compare(both):
        assert not both.left_only and not both.right_only and not both.funny_files, (both.left, both.left_only, both.right_only)
        _, differing, errors = filecmp.cmpfiles(both.left, both.right, both.common_files, shallow=False)
        assert not differing and not errors
        for below in both.subdirs.values():
            compare(below)
    compare(filecmp.dircmp(one, other))
    assert sum(len(files) for _, _, files in os.walk(other)) == count


def run(*command, env=None, **options):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAKEHOUSE_"))}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, env={**clean, **(env or {})}, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("count", [200, pytest.param(FILES, marks=pytest.mark.slow)])
def test_aws_cli(url, tmp_path, count):
    """Its own work on 2,000 files takes a minute and a half."""
    tree = make_tree(tmp_path / "tree", count)
    env = {"AWS_ACCESS_KEY_ID": "main", "AWS_SECRET_ACCESS_KEY": "main-secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": url,
           "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    aws = lambda *words: run(environment_of("s3clients") / "bin/aws", *words, env=env)
    aws("s3", "mb", "s3://aws-cli")
    aws("s3", "sync", "--only-show-errors", tree, "s3://aws-cli/tree")
    aws("s3", "sync", "--only-show-errors", "s3://aws-cli/tree", tmp_path / "back")
    assert_same(tree, tmp_path / "back", count)
    assert aws("s3", "sync", tree, "s3://aws-cli/tree") == ""  # nothing is sent twice
    assert "PRE d0/" in aws("s3", "ls", "s3://aws-cli/tree/")
    assert json.loads(aws("s3api", "head-object", "--bucket", "aws-cli", "--key", "tree/big", "--checksum-mode", "ENABLED"))["ContentLength"] == 20_000_000
    aws("s3", "mv", "--only-show-errors", "s3://aws-cli/tree/big", "s3://aws-cli/moved")
    aws("s3", "rm", "--recursive", "--only-show-errors", "s3://aws-cli/")
    aws("s3", "rb", "s3://aws-cli")


def test_s3cmd(url, tree, tmp_path):
    config = tmp_path / "s3cfg"
    config.write_text(f"[default]\naccess_key = main\nsecret_key = main-secret\nhost_base = {url[7:]}\nhost_bucket = {url[7:]}\nuse_https = False\n")
    s3cmd = lambda *words: run(environment_of("s3clients") / "bin/s3cmd", "-c", config, "-q", *words)
    s3cmd("mb", "s3://s3cmd")
    s3cmd("sync", f"{tree}/d0/", "s3://s3cmd/d0/")
    s3cmd("sync", "s3://s3cmd/d0/", f"{tmp_path}/d0/")
    assert filecmp.dircmp(tree / "d0/e+0", tmp_path / "d0/e+0").left_only == []
    s3cmd("put", tree / "big", "s3://s3cmd/big")
    s3cmd("get", "s3://s3cmd/big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == (tree / "big").read_bytes()
    assert "File size: 20000000" in run(environment_of("s3clients") / "bin/s3cmd", "-c", config, "info", "s3://s3cmd/big")
    s3cmd("cp", "s3://s3cmd/big", "s3://s3cmd/copy")
    s3cmd("del", "-r", "-f", "s3://s3cmd/")
    s3cmd("rb", "s3://s3cmd")


def test_rclone(url, tree, tmp_path):
    config = tmp_path / "rclone.conf"
    config.write_text(f"[us]\ntype = s3\nprovider = Other\naccess_key_id = main\nsecret_access_key = main-secret\nendpoint = {url}\n")
    rclone = lambda *words: run("rclone", "--config", config, *words)
    rclone("mkdir", "us:rclone")
    rclone("sync", tree, "us:rclone/tree")
    rclone("check", "--download", tree, "us:rclone/tree")
    rclone("check", tree, "us:rclone/tree")
    rclone("sync", "us:rclone/tree", tmp_path / "back")
    assert_same(tree, tmp_path / "back")
    rclone("purge", "us:rclone")
    assert "rclone" not in rclone("lsd", "us:")


def test_pyarrow(url):
    files = pyarrow.fs.S3FileSystem(access_key="main", secret_key="main-secret", endpoint_override=url[7:], scheme="http", region="us-east-1",
                                    allow_bucket_creation=True, allow_bucket_deletion=True)
    table = pyarrow.table({"a": list(range(100_000)), "b": ["x"] * 100_000})
    files.create_dir("arrow/x")
    pyarrow.parquet.write_table(table, "arrow/x/t.parquet", filesystem=files)
    assert pyarrow.parquet.read_table("arrow/x/t.parquet", filesystem=files) == table
    pyarrow.dataset.write_dataset(table, "arrow/set", filesystem=files, format="parquet", max_rows_per_file=30_000, max_rows_per_group=30_000)
    assert pyarrow.dataset.dataset("arrow/set", filesystem=files).count_rows() == 100_000
    files.move("arrow/x/t.parquet", "arrow/x/u.parquet")
    files.copy_file("arrow/x/u.parquet", "arrow/x/v.parquet")
    assert [info.base_name for info in files.get_file_info(pyarrow.fs.FileSelector("arrow/x")) if info.is_file] == ["u.parquet", "v.parquet"]
    with files.open_output_stream("arrow/stream") as out:
        for _ in range(12):
            out.write(b"x" * (1 << 20))
    assert files.get_file_info("arrow/stream").size == 12 << 20
    with files.open_input_file("arrow/stream") as back:
        back.seek(5 << 20)
        assert back.read(10) == b"x" * 10
    files.delete_dir("arrow")


DUCKDB = """
import glob, json, pathlib, sys, duckdb, duckdb_extension_httpfs
extension, = glob.glob(str(pathlib.Path(duckdb_extension_httpfs.__file__).parent / "**/httpfs.duckdb_extension"), recursive=True)
db = duckdb.connect()
db.execute("SET enable_progress_bar = false")
db.execute(f"LOAD '{extension}'")
db.execute(f"CREATE SECRET (TYPE s3, KEY_ID 'main', SECRET 'main-secret', ENDPOINT '{sys.argv[1]}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
db.execute("COPY (SELECT range AS a, 'x' || range AS b FROM range(1000000)) TO 's3://httpfs/t.parquet'")
db.execute("COPY (SELECT range AS a, range % 4 AS p FROM range(1000)) TO 's3://httpfs/part' (FORMAT parquet, PARTITION_BY p)")
print(json.dumps([db.execute("SELECT count(*), sum(a) FROM 's3://httpfs/t.parquet'").fetchall(),
                  db.execute("SELECT a, b FROM 's3://httpfs/t.parquet' WHERE a = 777777").fetchall(),
                  db.execute("SELECT count(*) FROM read_parquet('s3://httpfs/part/*/*.parquet', hive_partitioning = true) WHERE p = 2").fetchall(),
                  len(db.execute("SELECT * FROM glob('s3://httpfs/**')").fetchall())]))
"""


def test_duckdb_httpfs(url):
    client(url).create_bucket(Bucket="httpfs")
    told = run(environment_of("s3clients") / "bin/python3", "-c", DUCKDB, url[7:])
    assert json.loads(told) == [[[1_000_000, 499999500000]], [[777777, "x777777"]], [[250]], 5]


@pytest.mark.slow
def test_chdb(url):
    client(url).create_bucket(Bucket="clickhouse")
    at = f"{url}/clickhouse"
    sql = (f"INSERT INTO FUNCTION s3('{at}/t.parquet', 'main', 'main-secret', 'Parquet') SELECT number AS n, toString(number) AS s FROM numbers(100000)",
           f"INSERT INTO FUNCTION s3('{at}/p_{{_partition_id}}.csv', 'main', 'main-secret', 'CSV', 'n UInt64, k UInt8') PARTITION BY k SELECT number, number % 3 FROM numbers(1000)",
           f"SELECT count(), sum(n) FROM s3('{at}/*.parquet', 'main', 'main-secret', 'Parquet')",
           f"SELECT count(), uniq(_path) FROM s3('{at}/p_*.csv', 'main', 'main-secret', 'CSV', 'n UInt64, k UInt8')")
    told = run(os.environ["LAKEHOUSE_INTEROP"], "-c", "import sys, chdb\nfor sql in sys.argv[1:]: print(chdb.query(sql), end='')", *sql)
    assert told.split() == ["100000,4999950000", "1000,3"]


@pytest.mark.slow
def test_mc(url, tree, tmp_path):
    mc = lambda *words: run(pathlib.Path(os.environ["LAKEHOUSE_PEERS"]) / "mc", "--quiet", *words, env={"MC_CONFIG_DIR": str(tmp_path / "mc")})
    mc("alias", "set", "us", url, "main", "main-secret")
    mc("mb", "us/mc-bucket")
    mc("mirror", tree, "us/mc-bucket/tree")
    assert mc("diff", tree, "us/mc-bucket/tree") == ""
    mc("mirror", "us/mc-bucket/tree", tmp_path / "back")
    assert_same(tree, tmp_path / "back")
    assert json.loads(mc("stat", "--json", "us/mc-bucket/tree/big"))["size"] == 20_000_000
    mc("tag", "set", "us/mc-bucket/tree/big", "a=b")
    mc("rm", "-r", "--force", "us/mc-bucket")
    mc("rb", "us/mc-bucket")


@pytest.mark.slow
def test_amazons_sdk_for_javascript(url):
    folder = pathlib.Path(os.environ["LAKEHOUSE_S3_JS"])
    told = json.loads(run(folder / "node", ROOT / "tests/integration/s3_client.mjs", folder, url))
    assert told["text"] == "hello" and told["metadata"] == {"colour": "blue"} and told["big"] == 0
    assert told["checksums"] == {"CRC32": "NhCmhg==", "CRC32C": "mnG7TA==", "CRC64NVME": "M3eFcAZSQlc=", "SHA1": "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
                                 "SHA256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}
    assert told["keys"] == ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "a b/ü", "big", "copy", "stream"] and told["deleted"] == 9
