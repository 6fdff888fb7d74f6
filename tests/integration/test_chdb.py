"""ClickHouse, in a process of its own, reads our tables from the metadata file that the catalogue names.

It is a second, independent reader beside PyIceberg: rows are compared with what /v1/sql gives. The package
is some 800 MB, so it comes by `./bootstrap --interop` and only `make test-all` asks for it.
"""

import json
import os
import subprocess
import urllib.parse

import pytest
import requests

from losing import losing
from test_pyiceberg import Lake, every_type, parquet

pytestmark = pytest.mark.slow

# The whole answer as JSON; numbers of 64 bits and decimals stay as they are.
PROGRAM = """
import sys, chdb
print(chdb.query(sys.argv[1], "JSONEachRow"))
"""
SETTINGS = "output_format_json_quote_64bit_integers=0, output_format_json_quote_decimals=1, date_time_output_format='iso'"


def chdb(lake, name, select, tail=""):
    """Rows of `SELECT <select> FROM <the table>`."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(lake.manifest(name)["metadata_location"]).path)
    folder, _, metadata = path.rpartition("/metadata/")
    sql = (f"SELECT {select} FROM icebergLocal('{folder}', SETTINGS iceberg_metadata_file_path='metadata/{metadata}') "
           f"{tail} SETTINGS {SETTINGS}")
    # it reads files below its current folder only
    done = subprocess.run([os.environ["LAKEHOUSE_INTEROP"], "-c", PROGRAM, sql], capture_output=True, text=True, timeout=300,
                          cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line]


@pytest.fixture
def lake(serve):
    return Lake(serve().url)


def test_three_appends_and_an_evolution(lake):
    lake.ingest("t", b"id,price,day\n1,1.5,2024-02-29\n2,,1969-12-31\n")
    lake.ingest("t", b"id,price,day\n3,-2.25,9999-12-31\n")
    lake.ingest("t", "id,price,day,text\n4,0.1,2024-01-01,züri\n5,7,,\n".encode(), evolve="true")
    ours = lake.sql("SELECT id, price, text FROM t ORDER BY id")
    theirs = chdb(lake, "t", "id, price, text", "ORDER BY id")
    assert [(row["id"], row["price"], row["text"]) for row in theirs] == \
        [(row["id"], None if row["price"] is None else float(row["price"]), row["text"]) for row in ours]
    assert [row["n"] for row in chdb(lake, "t", "count() AS n", "WHERE text = 'züri'")] == [1]


def test_every_type_that_ingest_writes(lake):
    lake.ingest("t", parquet(every_type()), format="parquet")
    ours = lake.sql("SELECT id, i, small, u32, d, yes, price, huge, text FROM t ORDER BY id")
    theirs = chdb(lake, "t", "id, i, small, u32, d, yes, toString(price) AS price, toString(huge) AS huge, text", "ORDER BY id")

    def plain(row):
        return {key: None if value is None else value if isinstance(value, (bool, int, str)) else str(value)
                for key, value in row.items() if key != "d"}
    for mine, other in zip(ours, theirs, strict=True):
        assert plain(mine) | {"price": None, "huge": None} == plain(other) | {"price": None, "huge": None}
        assert (mine["d"] is None and other["d"] is None) or float(mine["d"]) == float(other["d"])
        for column in ("price", "huge"):
            assert (mine[column] is None and other[column] is None) or float(mine[column]) == float(other[column])


def test_many_small_files(lake):
    for i in range(30):
        lake.ingest("t", f"n,text\n{i},row {i}\n".encode())
    assert chdb(lake, "t", "count() AS rows, sum(n) AS total") == [{"rows": 30, "total": 435}]


def test_names_that_need_care(lake):
    lake.ingest("odd.My Table", 'a b,"quo""ted",select\n1,2,3\n'.encode())
    answer = requests.get(lake.url + "/v1/catalog/manifest/" + urllib.parse.quote("odd.My Table"), timeout=30)
    assert answer.status_code == 200
    rows = chdb(lake, urllib.parse.quote("odd.My Table"), "*")
    assert [list(row.values()) for row in rows] == [[1, 2, 3]]


# A session that runs each statement, and prints what came of each: rows, or the error, as JSON lines.
SESSION = """
import json, sys
from chdb import session
click = session.Session()
for sql in sys.argv[1:]:
    try:
        print(json.dumps({"rows": str(click.query(sql, "CSV"))}))
    except Exception as error:
        print(json.dumps({"error": str(error)[:500]}))
"""


@pytest.mark.parametrize("way", ["cut", "500"])
def test_a_lost_answer_to_an_insert_loses_and_doubles_no_row(start, tmp_path, way):
    """The answer to a commit is lost; what ClickHouse makes of it must not delete the files of a live snapshot."""
    settings = tmp_path / "lakehouse.toml"
    settings.write_text('[[warehouse]]\nuri = "s3"\n')
    server = start("serve", "-config", settings, "--data", tmp_path / "lake", "--listen", "127.0.0.1:0", "--s3api.bind", "127.0.0.1:0",
                   "--catalogd.sweep_seconds=1", "--catalogd.grace_seconds=0")
    ours = lambda sql: requests.post(server.url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60).json()["rows"]
    ours("CREATE TABLE words (id INTEGER, word VARCHAR)")
    ours("INSERT INTO words VALUES (1, 'ours')")
    with losing(server.url, way) as wire:
        wire.to_lose = 1
        statements = ["SET allow_database_iceberg = 1, allow_experimental_insert_into_iceberg = 1",
                      f"CREATE DATABASE lake ENGINE = DataLakeCatalog('{wire.url}/iceberg/v1') SETTINGS catalog_type = 'rest', warehouse = 'main', vended_credentials = 1",
                      "INSERT INTO lake.`main.words` VALUES (2, 'lost')", "INSERT INTO lake.`main.words` VALUES (3, 'ClickHouse')", "SELECT id, word FROM lake.`main.words` ORDER BY id"]
        done = subprocess.run([os.environ["LAKEHOUSE_INTEROP"], "-c", SESSION, *statements], capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert wire.lost == 1, answers
    rows = ours("SELECT id, word FROM words ORDER BY id")
    assert rows == [[1, "ours"], [2, "lost"], [3, "ClickHouse"]], (rows, answers, wire.commits)
    assert answers[-1].get("rows") == '1,"ours"\n2,"lost"\n3,"ClickHouse"\n', answers
