"""`lakehouse vectors`: load from each format, search, show, export and delete, and what is called wrongly."""

import array
import csv
import io
import json
import random
import re
import struct
import subprocess

import pyarrow as pa
import pyarrow.parquet
import pytest
import requests
from cli_kit import lake, shell  # noqa: F401 (fixtures)


def gauss(count, dimension, seed=1):
    rng = random.Random(seed)
    return [list(array.array("f", [rng.gauss(0, 1) for _ in range(dimension)])) for _ in range(count)]


def npy(rows, kind="<f4", version=1, order=False):
    """A .npy file as NumPy writes it."""
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({len(rows)}, {len(rows[0])}), }}"
    size = {1: 10, 2: 12, 3: 12}[version]
    header += " " * (-(size + len(header) + 1) % 64) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    code = "f" if kind == "<f4" else "d"
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + b"".join(array.array(code, row).tobytes() for row in rows)


def fvecs(rows):
    return b"".join(struct.pack("<i", len(row)) + array.array("f", row).tobytes() for row in rows)


def exported(lake, index):
    items = [json.loads(line) for line in lake("vectors", "export", index).stdout.splitlines()]
    return {item["id"]: (list(array.array("f", item["vector"])), item["metadata"]) for item in items}


def ok(result):
    assert result.returncode == 0 and result.stderr == "", result
    return result.stdout


def test_ndjson_is_loaded_and_comes_out_again(lake, tmp_path):
    rows = gauss(2500, 16)
    file = tmp_path / "docs.ndjson"
    file.write_text("".join(json.dumps({"id": f"d{n}", "vector": row, "metadata": {"n": n}}) + "\n\n" for n, row in enumerate(rows)))
    assert ok(lake("vectors", "create", "docs", "--dimension", 16, "--metric", "l2")) == "docs: made, dimension 16, l2\n"
    assert re.fullmatch(r"docs: 2,500 added, 0 replaced, 2,500 there now \(\d+\.\d s\)\n", ok(lake("vectors", "load", "docs", file)))
    wanted = {f"d{n}": (row, {"n": n}) for n, row in enumerate(rows)}
    assert exported(lake, "docs") == wanted
    assert json.loads(ok(lake("vectors", "load", "docs", file, "--json"))) == {"added": 0, "updated": 2500, "length": 2500}
    copy = ok(lake("vectors", "export", "docs"))
    assert json.loads(ok(lake("vectors", "load", "copy", "-", "--create", "--metric", "l2", "--json", stdin=copy)))["added"] == 2500
    assert exported(lake, "copy") == wanted


def test_other_fields_become_metadata(lake, tmp_path):
    lines = [{"key": 7, "title": "a", "embedding": [1, 2], "tags": ["x"]}, {"key": "b", "embedding": [3, 4], "title": None}, {"key": -3, "embedding": [5, 6]}]
    text = "\n".join(map(json.dumps, lines))
    ok(lake("vectors", "load", "things", "-", "--create", "--id-field", "key", stdin=text))
    assert exported(lake, "things") == {"7": ([1, 2], {"title": "a", "tags": ["x"]}), "b": ([3, 4], {"title": None}), "-3": ([5, 6], {})}
    two = json.dumps({"id": "x", "a": [1, 2], "b": [3, 4]})
    told = lake("vectors", "load", "things", "-", stdin=two)
    assert told.returncode == 1 and "line 1" in told.stderr and "--vector-field" in told.stderr
    ok(lake("vectors", "load", "things", "-", "--vector-field", "b", stdin=two))
    assert exported(lake, "things")["x"] == ([3, 4], {"a": [1, 2]})


@pytest.mark.parametrize("kind,version", [("<f4", 1), ("<f8", 2), ("<f4", 3)])
def test_npy_is_loaded(lake, tmp_path, kind, version):
    rows = gauss(1200, 9)
    (tmp_path / "rows.npy").write_bytes(npy(rows, kind, version))
    ok(lake("vectors", "load", "rows", tmp_path / "rows.npy", "--create", "--metric", "dot"))
    assert exported(lake, "rows") == {str(n): (row, {}) for n, row in enumerate(rows)}


def test_fvecs_is_loaded_with_ids_of_a_file(lake, tmp_path):
    rows = gauss(300, 5)
    (tmp_path / "rows.fvecs").write_bytes(fvecs(rows))
    (tmp_path / "ids").write_text("".join(f"name {n}\r\n" for n in range(300)))
    ok(lake("vectors", "load", "rows", tmp_path / "rows.fvecs", "--create", "--ids", tmp_path / "ids"))
    assert exported(lake, "rows") == {f"name {n}": (row, {}) for n, row in enumerate(rows)}
    told = lake("vectors", "load", "rows", tmp_path / "rows.fvecs", "--mode", "insert")
    assert told.returncode == 0
    told = lake("vectors", "load", "rows", tmp_path / "rows.fvecs", "--mode", "insert")
    assert told.returncode == 1 and "rows.fvecs" in told.stderr


def test_rows_of_a_statement_are_loaded(lake, tmp_path):
    (tmp_path / "birds.ndjson").write_text("".join(json.dumps({"name": f"bird {n}", "weight": n, "v": [n, 1.5, -n]}) + "\n" for n in range(1, 500)))
    assert lake("ingest", tmp_path / "birds.ndjson").returncode == 0
    ok(lake("vectors", "load", "birds", "--create", "--metric", "l2", "--sql", "SELECT name AS id, v, weight FROM birds WHERE weight < 400"))
    assert exported(lake, "birds") == {f"bird {n}": ([n, 1.5, -n], {"weight": n}) for n in range(1, 400)}
    told = lake("vectors", "load", "birds", "--sql", "SELECT nothing FROM birds")
    assert told.returncode == 1 and "nothing" in told.stderr


BAD_FILES = [
    ("x.npy", b"\x93NUMPY\x09\x00", "it is no .npy"), ("x.npy", npy([[1.0, 2.0]])[:-1], "ends in the middle"),
    ("x.npy", npy([[1.0, 2.0]]) + b"x", "behind its last row"), ("x.npy", npy([[1.0, 2.0]]).replace(b"<f4", b"<i4"), "float32 or float64"),
    ("x.npy", npy([[1.0, 2.0]], order=True), "Fortran"), ("x.npy", npy([[1.0]]).replace(b"(1, 1)", b"(1,1,1"), "dimensions"), ("x.npy", b"", "ends in the middle"),
    ("x.npy", npy([[1.0] * 4097]), "1 to 4096"), ("x.fvecs", fvecs([[1.0, 2.0], [1.0]]), "those before have 2"), ("x.fvecs", b"\x00\x00\x00\x00", "dimension 0"),
    ("x.fvecs", fvecs([[1.0, 2.0]])[:-2], "ends in the middle"), ("x.fvecs", b"", "no vectors"), ("x.ndjson", b"", "no vectors"),
    ("x.ndjson", b'{"id":"a","vector":[1,2]}\n{"id":"b"}\n', "line 2"), ("x.ndjson", b"{\n", "line 1"), ("x.ndjson", b"[1]\n", "no object"),
    ("x.ndjson", b'{"id":1.5,"vector":[1,2]}\n', "neither text"), ("x.ndjson", b'{"vector":[1,2]}\n', '"id"'), ("x.ndjson", b'{"id":"a","vector":[1,"2"]}\n', "numbers"),
    ("x.ndjson", b'{"id":"a","vector":[]}\n', "numbers"), ("x.ndjson", b'{"id":"","vector":[1,2]}\n', "id"),
]


def test_a_bad_file_is_told_and_adds_nothing(lake, tmp_path):
    ok(lake("vectors", "create", "x", "--dimension", 2, "--preset", "fast_build"))
    assert json.loads(ok(lake("vectors", "info", "x", "--json")))["preset"] == "fast_build"
    for name, content, word in BAD_FILES:
        (tmp_path / name).write_bytes(content)
        told = lake("vectors", "load", "x", tmp_path / name)
        assert told.returncode == 1 and told.stdout == "" and word in told.stderr and len(told.stderr.splitlines()) == 1, told.stderr
        assert exported(lake, "x") == {}


def test_search_shows_what_is_near(lake):
    items = "".join(json.dumps({"id": f"i{n}", "vector": [n, 0], "metadata": {"n": n, "odd": n % 2 == 1}}) + "\n" for n in range(30))
    ok(lake("vectors", "load", "line", "-", "--create", "--metric", "l2", stdin=items))
    rows = list(csv.DictReader(io.StringIO(ok(lake("vectors", "search", "line", "--vector", "[3.2, 0]", "--k", 3)))))
    assert [row["id"] for row in rows] == ["i3", "i4", "i2"] and [float(row["distance"]) for row in rows] == pytest.approx([0.2, 0.8, 1.2], abs=0.05)
    assert json.loads(rows[0]["metadata"]) == {"n": 3, "odd": True}
    found = json.loads(ok(lake("vectors", "search", "line", "--id", "i7", "--max-distance", "1.1", "--fields", "n", "--with-vectors", "--exact", "--json")))
    assert [hit["metadata"] for hit in found["results"]] == [{"n": 7}, {"n": 6}, {"n": 8}] and found["results"][0]["vector"] == [7, 0]
    assert ok(lake("vectors", "search", "line", "--vector", "-", "--k", 1, "--ef", 20, stdin="[29, 0]\n")).splitlines()[1].startswith("i29,")
    odd = list(csv.DictReader(io.StringIO(ok(lake("vectors", "search", "line", "--vector", "[0, 0]", "--k", 2, "--filter", '{"odd":true}')))))
    assert [row["id"] for row in odd] == ["i1", "i3"]
    code, shown = lake.terminal("vectors", "search", "line", "--id", "i7", "--k", 2)
    assert code == 0 and "id" in shown and "i7" in shown and "distance" in shown
    for words, word in ((("--vector", "[1]"), "dimension 2"), (("--vector", "x"), "vector"), (("--id", "none"), "none"), (("--id", "i1", "--k", "0"), '"k"'),
                        (("--id", "i1", "--k", "x"), "--k x"), ((), "search for what")):
        told = lake("vectors", "search", "line", *words)
        assert told.returncode == 1 and told.stdout == "" and word in told.stderr, told


def test_info_and_delete(lake):
    assert list(csv.reader(io.StringIO(ok(lake("vectors", "info"))))) == [["index", "dimension", "metric", "items", "memory"]]
    items = "".join(json.dumps({"id": f"i{n}", "vector": [n, 0]}) + "\n" for n in range(30))
    ok(lake("vectors", "load", "a b", "-", "--create", "--metric", "l2", stdin=items))
    assert [row[:4] for row in csv.reader(io.StringIO(ok(lake("vectors", "info"))))][1:] == [["a b", "2", "l2", "30"]]
    assert dict(csv.reader(io.StringIO(ok(lake("vectors", "info", "a b")))))["length"] == "30"
    assert json.loads(ok(lake("vectors", "info", "--json")))["indexes"][0]["name"] == "a b"
    assert json.loads(ok(lake("vectors", "info", "a b", "--json")))["length"] == 30
    assert ok(lake("vectors", "delete", "a b", "i1", "i2", "none")) == "2 items deleted\n"
    assert ok(lake("vectors", "delete", "a b", "i3")) == "1 item deleted\n"
    assert ok(lake("vectors", "delete", "a b", "--filter", '{"n":4}')) == "0 items deleted\n"
    told = lake("vectors", "delete", "a b")
    assert told.returncode == 1 and "--drop" in told.stderr
    told = lake("vectors", "delete", "a b", "i4", "--all")
    assert told.returncode == 1 and "delete what" in told.stderr
    assert json.loads(ok(lake("vectors", "delete", "a b", "--all", "--json"))) == {"deleted": 27}
    assert ok(lake("vectors", "delete", "a b", "--drop")) == "dropped\n"
    assert requests.get(lake.server.url + "/v1/vectors/index", timeout=10).json() == {"indexes": []}
    told = lake("vectors", "info", "a b")
    assert told.returncode == 1 and "a b" in told.stderr


@pytest.mark.parametrize("words,word", [
    ([], "what?"), (["serch"], 'unknown "serch"'), (["create"], "the name of an index"), (["search", "a", "b"], "fewer words"),
    (["export", "a", "--k", "3"], "--k means nothing to export"), (["load", "a", "b", "c"], "fewer words"), (["create", "a", "--dimensions", "3"], '"--dimension"'),
])
def test_what_is_called_wrongly_is_told(shell, words, word):
    told = shell("vectors", *words)
    assert told.returncode == 2 and told.stdout == "" and word in told.stderr and len(told.stderr.splitlines()) == 1, told


def test_a_load_that_stops_halfway_says_what_is_in(lake, tmp_path):
    lines = [json.dumps({"id": str(n), "vector": [n, 1]}) for n in range(1500)] + ['{"id":"bad"}']
    told = lake("vectors", "load", "half", "-", "--create", stdin="\n".join(lines))
    assert told.returncode == 1 and "line 1501" in told.stderr and "1000 items before are in" in told.stderr
    assert len(exported(lake, "half")) == 1000


def write_parquet(path, table, **options):
    pyarrow.parquet.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 9)], ids=str)
def test_parquet_is_loaded_whatever_list_the_vector_is(lake, tmp_path, kind):
    rows = gauss(2500, 9)
    table = pa.table({"id": [f"d{n}" for n in range(len(rows))], "embedding": pa.array(rows, kind),
                      "year": pa.array([None if n == 3 else n for n in range(len(rows))], pa.int32()),
                      "at": pa.array([{"x": [n]} for n in range(len(rows))])})
    file = write_parquet(tmp_path / "docs.parquet", table, row_group_size=700)
    told = json.loads(ok(lake("vectors", "load", "columns", file, "--create", "--metric", "l2", "--json")))
    assert told == {"added": 2500, "updated": 0, "length": 2500}
    assert exported(lake, "columns") == {f"d{n}": (row, {"year": None if n == 3 else n, "at": {"x": [n]}}) for n, row in enumerate(rows)}
    ok(lake("vectors", "delete", "columns", "--drop"))


def test_an_index_comes_back_from_its_parquet(lake, tmp_path):
    rows = gauss(1200, 16, seed=8)
    text = "".join(json.dumps({"id": f"it's {n}", "vector": row, "metadata": {"n": n, "b": ["é", None]} if n % 2 else {}}) + "\n" for n, row in enumerate(rows))
    ok(lake("vectors", "load", "whole", "-", "--create", "--metric", "l2", stdin=text))
    done = subprocess.run([lake.program, "vectors", "export", "whole", "--format", "parquet"], env=lake.env, capture_output=True, timeout=60)
    assert done.returncode == 0, done
    file = tmp_path / "export"  # its name does not say what it is
    file.write_bytes(done.stdout)
    table = pyarrow.parquet.read_table(file)
    assert table.column_names == ["id", "vector", "metadata"] and table.num_rows == len(rows)
    assert {row["id"]: array.array("f", row["vector"]).tobytes() for row in table.to_pylist()} == {
        f"it's {n}": array.array("f", row).tobytes() for n, row in enumerate(rows)}
    ok(lake("vectors", "load", "again", file, "--format", "parquet", "--create", "--metric", "l2"))
    assert exported(lake, "again") == exported(lake, "whole")
    ok(lake("vectors", "load", "selected", "--create", "--metric", "l2", "--sql", "SELECT * FROM vector_items('whole')"))
    assert exported(lake, "selected") == exported(lake, "whole")


def test_parquet_that_cannot_be_taken_says_why(lake, tmp_path):
    def told(content, *options):
        file = tmp_path / "bad.parquet"
        file.write_bytes(content)
        done = lake("vectors", "load", "bad", file, "--create", *options)
        assert done.returncode == 1, done
        return done.stderr

    good = write_parquet(tmp_path / "good.parquet", pa.table({"id": ["a", "b"], "v": [[1.0, 2.0], [1.0]]})).read_bytes()
    assert "no readable Parquet file" in told(b"PAR1 nothing of the kind PAR1")
    assert "no readable Parquet file" in told(b"")
    assert "no readable Parquet file" in told(good[:-30])
    assert "row 2" in told(good) and "a vector of 1 numbers, and those before have 2" in told(good)
    assert '"key"' in told(good, "--id-field", "key")
    assert "it cannot be a pipe" in lake("vectors", "load", "bad", "-", "--format", "parquet", stdin="x").stderr
    assert lake("vectors", "export", "nowhere", "--format", "parquet").returncode == 1
    done = lake("vectors", "export", "bad", "--format", "csv")
    assert done.returncode == 1 and "export writes ndjson or parquet" in done.stderr
