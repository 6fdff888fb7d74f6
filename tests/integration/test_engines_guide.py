"""The guide of other engines, run from its page: each block as it stands, but for the address and where Spark's jars come from."""

import os
import pathlib
import re
import socket
import subprocess

import pytest
import requests

pytestmark = pytest.mark.slow
GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs/guides/engines.md"
BIRDS = pathlib.Path(__file__).resolve().parents[2] / "examples/data/birdstrikes.csv"


def block(section):
    """The Python of a section."""
    text = GUIDE.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    return code


def run(url, section, python, **replaced):
    code = block(section)
    assert "http://127.0.0.1:3110" in code
    code = code.replace("http://127.0.0.1:3110", url)
    for old, new in replaced.values():
        assert old in code
        code = code.replace(old, new)
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(url, sql):
    answer = requests.post(url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_an_hour_with_every_engine(serve):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        s3 = f"127.0.0.1:{probe.getsockname()[1]}"
    url = serve("--warehouse.uri", "s3", "--s3api.bind", s3).url
    requests.post(url + "/v1/ingest?name=birdstrikes", data=BIRDS.read_bytes(), headers={"Content-Type": "text/csv"}, timeout=60).raise_for_status()
    interop, spark = os.environ["LAKEHOUSE_INTEROP"], os.environ["LAKEHOUSE_SPARK"] + "/bin/python3"
    sizes = rows(url, 'SELECT "Wildlife Size", count(*) FROM birdstrikes GROUP BY 1 ORDER BY 2')
    texas = rows(url, "SELECT count(*) FROM birdstrikes WHERE \"Origin State\" = 'Texas'")[0][0]
    assert run(url, "PyIceberg", interop).split() == [str(texas)]
    shown = run(url, "Polars", interop)
    assert all(str(count) in shown for _, count in sizes)
    assert run(url, "ClickHouse", interop).split() == [f'"{size}",{count}' for size, count in sizes]
    jars = ("spark.jars.packages", "spark.jars")
    names = ("org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0,org.apache.iceberg:iceberg-aws-bundle:1.10.0",
             ",".join(map(str, pathlib.Path(os.environ["LAKEHOUSE_SPARK"]).glob("iceberg/*.jar"))))
    shown = run(url, "Spark", spark, jars=jars, names=names, address=('local[2]")', 'local[2]").config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")'))
    assert all(str(count) in shown for _, count in sizes)
    rows(url, "UPDATE words SET word = upper(word) WHERE id > 3")
    assert rows(url, "SELECT * FROM words ORDER BY id") == [[1, "from"], [2, "PyIceberg"], [3, "and Polars"], [4, "CLICKHOUSE"], [5, "SPARK"]]
    assert len(rows(url, 'SELECT * FROM "words$snapshots"')) == 6
