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
