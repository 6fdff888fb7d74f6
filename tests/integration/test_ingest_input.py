"""How files come: packed, in other character sets, by content type, name or bytes; and what is refused, quickly and in little memory."""

import contextlib
import gzip
import http.client
import io
import random
import socket
import time
import urllib.parse
import zlib

import pyarrow as pa
import pytest
import requests
from ingesting import Lake, parquet

CSV = "id,name\n1,züri\n2,€ 5\n"
ROWS = [[1, "züri"], [2, "€ 5"]]
REFUSAL_SECONDS_MAX = 10  # 2 s on a quiet machine; tests run on busy ones


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


PACKERS = {"gzip": gzip.compress, "zstd": zstd}


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


@contextlib.contextmanager
def quickly():
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX


def peak_bytes(lake):
    """The most memory that the server itself has had; its engines have a limit of their own."""
    status = open(f"/proc/{lake.server.process.pid}/status", encoding="ascii").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def form(lake, name, body, file_name, content_type="application/octet-stream", **query):
    return requests.post(lake.url + "/v1/ingest", params={"name": name, **query}, files={"file": (file_name, body, content_type)}, timeout=60)


def rows(lake, name=None):
    return lake.rows(f"SELECT * FROM {name or lake.table} ORDER BY 1")


# --- packed files ---

@pytest.mark.parametrize("kind", PACKERS)
def test_packed_files_are_read_by_header_name_and_bytes(lake, kind):
    packed = PACKERS[kind](CSV.encode())
    ending = {"gzip": ".gz", "zstd": ".zst"}[kind]
    lake.ok(lake.table + "header", packed, {"Content-Encoding": kind})
    lake.ok(lake.table + "bytes", packed)
    lake.ok(lake.table + "twice", gzip.compress(packed), {"Content-Encoding": "gzip"})  # a packed file that was packed for the way
    answer = form(lake, lake.table + "name", packed, "people.csv" + ending)
    assert answer.status_code == 200, answer.text
    answer = form(lake, lake.table + "wrong", CSV, "people.csv" + ending)
    assert answer.status_code == 400 and "named as one packed" in answer.text
    for way in ("header", "bytes", "twice", "name"):
        assert rows(lake, lake.table + way) == ROWS, way


def test_every_format_may_be_packed(lake):
    for body in (b'{"id":1,"name":"x"}\n', b'[{"id":1,"name":"x"}]', parquet(pa.table({"id": [1], "name": ["x"]})), b"id\tname\n1\tx\n"):
        for pack in PACKERS.values():
            lake.ok(lake.table, pack(body))
    assert lake.rows(f"SELECT count(*), min(id), max(name) FROM {lake.table}") == [[8, 1, "x"]]


def test_members_behind_each_other_are_one_file(lake):
    lake.ok(lake.table, gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert rows(lake) == [[1, 2], [3, 4]]


def test_a_large_packed_file_comes_through(lake):
    lines = "".join(f"{i},name {i * 7919 % 1000003}\n" for i in range(400000))
    for kind, pack in PACKERS.items():
        assert lake.ok(lake.table, pack(("i,name\n" + lines).encode()), {"Content-Encoding": kind})["rows"] == 400000
    assert lake.rows(f"SELECT count(*), sum(i)::BIGINT FROM {lake.table}") == [[800000, 2 * 399999 * 200000]]


def test_packed_data_that_is_cut_or_damaged_is_refused(lake):
    for kind, pack in PACKERS.items():
        packed = pack(("id,name\n" + "".join(f"{i},{i * 7919 % 10007}\n" for i in range(5000))).encode())
        with quickly():
            assert "ends early" in lake.refused(lake.table, packed[:-9])
            assert "ends early" in lake.refused(lake.table, packed[:len(packed) // 2], headers={"Content-Encoding": kind})
            message = lake.refused(lake.table, packed[:200] + bytes(50) + packed[250:])
            assert kind == "zstd" or "damaged" in message  # this zstd has no checksum
            lake.refused(lake.table, CSV, headers={"Content-Encoding": kind})
    assert lake.table not in lake.tables()


def bomb(kind, mebibytes):
    if kind == "zstd":
        return zstd(b"a,b\n") + b"".join([zstd(b"1" * (64 << 20))] * (mebibytes // 64))
    pack = zlib.compressobj(9, wbits=31)
    piece = b"1" * (1 << 20)
    return pack.compress(b"a,b\n") + b"".join(pack.compress(piece) for _ in range(mebibytes)) + pack.flush()


@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_is_refused_early(lake, kind):
    small = bomb(kind, 1024)
    assert len(small) < 1200000
    before = peak_bytes(lake)
    for headers in ({}, {"Content-Encoding": kind}):
        with quickly():
            assert "unpacks to more than 200 times" in lake.refused(lake.table, small, 413, headers)
    assert peak_bytes(lake) - before < 64 << 20
    # a bomb in a bomb unpacks to a small packed file, whose own unpacking is bounded just as well
    with quickly():
        assert "unpacks to more than 200 times" in lake.refused(lake.table, gzip.compress(small), 413, {"Content-Encoding": "gzip"})


def test_the_unpacked_size_is_bounded(serve):
    lake = Lake(serve("--ingestd.max_unpacked_bytes", "100000"))
    text = "a,b\n" + "".join(f"{i},{i * 7919 % 10007}\n" for i in range(20000))
    for pack in PACKERS.values():
        assert "more than 100000 bytes" in lake.refused("t", pack(text.encode()), 413)
    assert lake.ok("t", text)["rows"] == 20000


def test_unknown_encodings_are_refused(lake):
    for name in ("br", "deflate", "gzip, gzip"):
        assert "gzip or zstd" in lake.refused(lake.table, CSV, 415, {"Content-Encoding": name})
    answer = requests.post(f"{lake.url}/v1/ingest?name={lake.table}", data=gzip.compress(b""), timeout=10,
                           headers={"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 415


# --- character sets ---

@pytest.mark.parametrize("declared, python", [("utf-8", "utf-8"), ("iso-8859-1", "cp1252"), ("Windows-1252", "cp1252"), ("UTF-16", "utf-16"), ('"utf-16"', "utf-16le"),
                                              ("utf-16le", "utf-16le"), ("utf-16be", "utf-16be"), ("utf-16", "utf-16be with mark")])
def test_a_declared_character_set_is_read(lake, declared, python):
    text = CSV if "16" not in python else CSV + "3,🏔\n"
    body = b"\xfe\xff" + text.encode("utf-16be") if python.endswith("mark") else text.encode(python)
    lake.ok(lake.table, body, {"Content-Type": f"text/csv; header=present; charset={declared}"})
    assert rows(lake) == ROWS + ([[3, "🏔"]] if "16" in python else [])


@pytest.mark.parametrize("mark, python", [(b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"), (b"\xef\xbb\xbf", "utf-8")])
def test_a_byte_order_mark_says_the_character_set(lake, mark, python):
    lake.ok(lake.table, mark + CSV.encode(python))
    lake.ok(lake.table + "json", mark + '\n{"id":1,"name":"züri"}\n\n{"id":2,"name":"€ 5"}\n'.encode(python))
    lake.ok(lake.table + "packed", gzip.compress(mark + CSV.encode(python)))
    for name in ("", "json", "packed"):
        assert list(lake.types(lake.table + name)) == ["id", "name"]
        assert rows(lake, lake.table + name) == ROWS


def test_text_that_is_not_in_its_character_set_is_refused(lake):
    assert "line 2: not valid UTF-8" in lake.refused(lake.table, CSV.encode("cp1252"))
    utf16 = {"Content-Type": "text/csv; charset=utf-16le"}
    assert "not valid UTF-16" in lake.refused(lake.table, "a\n1\n".encode("utf-16le") + b"x", headers=utf16)
    assert "line 2: not valid UTF-16" in lake.refused(lake.table, "a\n\udc00\n".encode("utf-16le", "surrogatepass"), headers=utf16)
    assert "charset=koi8-r" in lake.refused(lake.table, CSV, 415, {"Content-Type": "text/csv; charset=koi8-r"})


def test_a_character_set_does_not_harm_parquet(lake):
    lake.ok(lake.table, parquet(pa.table({"id": [1]})), {"Content-Type": "application/octet-stream; charset=iso-8859-1"})
    assert rows(lake) == [[1]]


# --- which format ---

def test_content_type_then_name_then_bytes_decide_the_format(lake):
    tabs = "a,x\tb\n1\t2\n"  # as TSV the columns "a,x" and "b", as CSV "a" and "x\tb"
    assert list(named(lake, 1, tabs, {"Content-Type": "text/tab-separated-values"})) == ["a,x", "b"]
    assert form(lake, lake.table + "2", tabs, "x.csv", "text/tab-separated-values").status_code == 200
    assert form(lake, lake.table + "3", tabs, "x.tsv", "application/octet-stream").status_code == 200
    assert form(lake, lake.table + "4", gzip.compress(tabs.encode()), "x.tsv.gz", "application/gzip").status_code == 200
    for i in "234":
        assert list(lake.types(lake.table + i)) == ["a,x", "b"], i
    assert list(named(lake, 5, '{"a":1}\n', {"Content-Type": "application/x-www-form-urlencoded"})) == ["a"]
    assert form(lake, lake.table + "6", '{"a":1}\n', "x.csv", "text/plain").status_code == 400  # the name says CSV, which has a header and no rows
    assert form(lake, lake.table + "6", '{"a":1}\n', "x.csv", "application/json").status_code == 200
    assert form(lake, lake.table + "7", '{"a":1}\n', "x.csv", "text/plain", format="json").status_code == 200
    assert list(lake.types(lake.table + "6")) == list(lake.types(lake.table + "7")) == ["a"]


def named(lake, number, body, headers):
    lake.ok(f"{lake.table}{number}", body, headers)
    return lake.types(f"{lake.table}{number}")


# --- what is refused ---

def test_too_many_columns_are_refused(serve):
    lake = Lake(serve("--ingestd.max_columns", "50"))
    names = [f"c{i}" for i in range(51)]
    line = ",".join(names) + "\n" + ",".join("1" * 51) + "\n"
    for body in (line, line.replace(",", "\t"), "{" + ",".join(f'"{name}":1' for name in names) + "}\n", parquet(pa.table({name: [1] for name in names}))):
        with quickly():
            assert "51 columns, at most 50" in lake.refused("t", body)
    lake.ok("t", ",".join(names[:50]) + "\n" + ",".join("1" * 50) + "\n")


def test_a_line_above_the_limit_is_refused_with_its_number(lake):
    long = b"x" * (17 << 20)
    for body, line in ((b"a,b\n1,2\n3," + long + b"\n", 3), (b"a," + long + b"\n1,2\n", 1), (b'{"a":1}\n{"a":"' + long + b'"}\n', 2)):
        with quickly():
            assert f"line {line}: longer than 16777216 bytes" in lake.refused(lake.table, body)


def test_nul_bytes_are_refused(lake):
    for body in (b"a,b\n1,\x00\n", b"a,b\n" + b"1,2\n" * 400000 + b"1,\x00\n", b"\x00" * 1000, CSV.encode("utf-16le"), gzip.compress(b"a\n\x00\n")):
        with quickly():
            assert "is NUL" in lake.refused(lake.table, body)
    assert lake.table not in lake.tables()


def test_parquet_with_a_broken_footer_is_refused(lake):
    good = parquet(pa.table({"a": list(range(10000)), "b": [str(i) for i in range(10000)]}))
    broken = {"cut": good[:-20], "no end": good[:len(good) // 2], "length": good[:-8] + b"\xff\xff\xff\x7fPAR1", "zero": good[:-8] + b"\0\0\0\0PAR1",
              "footer": good[:-500] + bytes(400) + good[-100:], "head only": b"PAR1"}
    for seed in range(30):  # some of them are page heads that promise more bytes than there are
        broken[f"pages of seed {seed}"] = good[:4] + random.Random(seed).randbytes(len(good) - 600) + good[-596:]
    for what, body in broken.items():
        with quickly():
            assert "Parquet" in lake.refused(lake.table, body, format="parquet"), what
    assert lake.table not in lake.tables()


def test_a_form_without_an_end_is_refused(lake):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\na,b\n1,2\n'
    for body in (head, head + b"\r\n--x", head[:40], b"--x--\r\n", b""):
        with quickly():
            lake.refused(lake.table, body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    lake.refused(lake.table, head + b"\r\n--x--\r\n", headers={"Content-Type": "multipart/form-data"})
    assert lake.table not in lake.tables()
    lake.ok(lake.table, head + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})


def test_a_body_shorter_than_it_says_lands_nothing(lake):
    where = urllib.parse.urlsplit(lake.url)
    for head in (b"Content-Length: 1000\r\n\r\na,b\n1,2\n", b"Transfer-Encoding: chunked\r\n\r\n8\r\na,b\n1,2\n\r\n"):
        with socket.create_connection((where.hostname, where.port), timeout=10) as client:
            client.sendall(f"POST /v1/ingest?name={lake.table} HTTP/1.1\r\nHost: localhost\r\n".encode() + head)
            client.shutdown(socket.SHUT_WR)
            client.recv(65536)
    with quickly():
        chunked = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
        chunked.putrequest("POST", f"/v1/ingest?name={lake.table}")
        chunked.putheader("Transfer-Encoding", "chunked")
        chunked.endheaders()
        chunked.send(b"zz\r\na,b\n")
        assert chunked.getresponse().status == 400
    assert lake.table not in lake.tables()


def test_an_empty_file_in_any_dress_is_refused(lake):
    for body in (gzip.compress(b""), zstd(b""), b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n"):
        with quickly():
            lake.refused(lake.table, body)
    assert form(lake, lake.table, b"", "x.csv").status_code == 400
    assert lake.table not in lake.tables()
