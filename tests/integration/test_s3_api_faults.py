"""The S3 API when things go wrong: clients that leave, dawdle or send nonsense, a full disk, kill -9 in the middle."""

import concurrent.futures
import hashlib
import os
import random
import resource
import threading
import time

import botocore.exceptions
import pytest
import requests

import raw_http
from s3_api import client, refused, s3_url, settings_file
from test_s3_api import signed

FLAGS = ("--s3api.bind", "127.0.0.1:0")


def opened(serve, tmp_path, *flags, **options):
    server = serve("--config", settings_file(tmp_path), *FLAGS, *flags, **options)
    return server, s3_url(server)


def temporary(server):
    return list((server.data / "_lake" / "tmp").iterdir())


def wait_until(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def head_of(url, method, path, length, **more):
    headers = {**signed(url, method, path, b"\0" * length), "Content-Length": str(length), **more}
    headers.setdefault("Host", url[7:])
    return f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"


def test_clients_that_leave_in_the_middle_leave_nothing(serve, tmp_path):
    server, url = opened(serve, tmp_path)
    s3 = client(url)
    s3.create_bucket(Bucket="bucket")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    for cut in (0, 1, 1000, 300_000, 999_999):
        for path in ("/bucket/k", f"/bucket/parts?partNumber=1&uploadId={upload}"):
            with raw_http.Client(url) as wire:
                wire.send(head_of(url, "PUT", path, 1_000_000))
                wire.sock.sendall(b"\0" * cut)
    wait_until(lambda: not temporary(server))
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")
    assert "Parts" not in s3.list_parts(Bucket="bucket", Key="parts", UploadId=upload)
    s3.put_object(Bucket="bucket", Key="k", Body=b"still fine")


def test_a_slow_sender_is_cut_and_holds_nobody_up(serve, tmp_path):
    server, url = opened(serve, tmp_path, "--http.idle_timeout_seconds", "2")
    s3 = client(url)
    s3.create_bucket(Bucket="bucket")
    wires = []
    try:
        for n in range(40):  # more than there are workers
            wire = raw_http.Client(url)
            wires.append(wire)
            wire.send(head_of(url, "PUT", f"/bucket/slow{n}", 100_000))
            wire.sock.sendall(b"\0" * 10)
        started = time.monotonic()
        for n in range(20):
            s3.put_object(Bucket="bucket", Key=f"quick{n}", Body=b"x" * 1000)
        assert time.monotonic() - started < 5
        for wire in wires:
            answer = wire.answer()
            assert answer is None or (answer.status in (400, 408) and b"<Code>RequestTimeout</Code>" in answer.body)
    finally:
        for wire in wires:
            wire.__exit__()
    wait_until(lambda: not temporary(server))


@pytest.mark.parametrize("body", [b"", b"nonsense", b"<Delete>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><Delete>&b;</Delete>", b"<Delete>" + b"<a>" * 10_000,
                                  b"<Delete>" + b"<Object><Key>k</Key></Object>" * 2000 + b"</Delete>", b"\xff\xfe<\0D\0", b"<Delete>" + b"x" * 9_000_000])
def test_xml_that_cannot_be_is_refused_quickly(shared_s3, body):
    url, s3 = shared_s3
    started = time.monotonic()
    answer = requests.post(f"{url}/bucket?delete", data=body, headers=signed(url, "POST", "/bucket?delete", body), timeout=30)
    assert answer.status_code == 400 and "<Code>MalformedXML</Code>" in answer.text, answer.text
    assert time.monotonic() - started < 2


@pytest.fixture(scope="module")
def shared_s3(lakehouse, tmp_path_factory):
    from conftest import serving, starting
    folder = tmp_path_factory.mktemp("s3faults")
    starter = starting(lakehouse)
    url = s3_url(serving(next(starter), folder)("--config", settings_file(folder), *FLAGS))
    s3 = client(url)
    s3.create_bucket(Bucket="bucket")
    yield url, s3
    next(starter, None)


@pytest.mark.parametrize("target", ["/bucket/%zz", "/bucket/%00", "/bucket/%ff%fe", "/bucket/" + "k" * 3000, "/bucket?list-type=2&max-keys=-1", "/bucket?list-type=2&max-keys=a",
                                    "/bucket?uploads&max-uploads=99999999999999999999", "/bucket/k?partNumber=0", "/bucket?" + "&".join(f"p{n}=" for n in range(100)), "/./..", "/..%2f..%2fetc/passwd"])
def test_targets_that_cannot_be_are_refused(shared_s3, target):
    url, s3 = shared_s3
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    with raw_http.Client(url) as wire:
        headers = signed(url, "GET", target)
        wire.send(f"GET {target} HTTP/1.1\r\nHost: {url[7:]}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items() if k != "Host") + "Connection: close\r\n\r\n")
        answer = wire.answer()
    assert 400 <= answer.status < 500 and b"<Error>" in answer.body, (answer.status, answer.body)
    assert s3.list_buckets()["Buckets"]


def test_a_full_disk_is_told_and_leaves_nothing(serve, tmp_path):
    """A file size limit is what a full disk is to the server: writes fail with no room."""
    server, url = opened(serve, tmp_path)
    s3 = client(url)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"old")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    for call in (lambda: s3.put_object(Bucket="bucket", Key="k", Body=b"x" * 2_000_000),
                 lambda: s3.upload_part(Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * 2_000_000)):
        code, status = refused(call)
        assert status in (503, 507), (code, status)
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"old"
    wait_until(lambda: not temporary(server))
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    s3.put_object(Bucket="bucket", Key="k", Body=b"x" * 2_000_000)
    assert any('"level":"error"' in line and "no room" in line for line in server.lines)


def hammer(url, number, seconds, known):
    """Puts, replaces, deletes and uploads in parts; `known` tells what each key must be (None: absent, or a set of what it may be)."""
    s3, chance = client(url, read_timeout=10, connect_timeout=5), random.Random(number)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        key, body = f"{number}/{chance.randrange(6)}", os.urandom(chance.choice((10, 5000, 400_000)))
        before = known.get(key)
        what = chance.choice(("put", "put", "delete", "parts"))
        after = None if what == "delete" else hashlib.md5(body).hexdigest()
        known[key] = (before if isinstance(before, set) else {before}) | {after}
        try:
            if what == "put":
                s3.put_object(Bucket="bucket", Key=key, Body=body)
            elif what == "delete":
                s3.delete_object(Bucket="bucket", Key=key)
            else:
                upload = s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
                etag = s3.upload_part(Bucket="bucket", Key=key, UploadId=upload, PartNumber=1, Body=body)["ETag"]
                s3.complete_multipart_upload(Bucket="bucket", Key=key, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return count  # the server is gone: whether it happened is not known
        known[key] = after
        count += 1
    return count


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_kill_9_in_the_middle_of_everything(serve, tmp_path, rounds):
    chance, known, done = random.Random(rounds), [{} for _ in range(4)], 0
    for turn in range(rounds):
        server, url = opened(serve, tmp_path)
        s3 = client(url)
        if turn == 0:
            s3.create_bucket(Bucket="bucket")
        for keys in known:
            for key, wanted in list(keys.items()):
                try:
                    got = hashlib.md5(s3.get_object(Bucket="bucket", Key=key)["Body"].read()).hexdigest()
                except s3.exceptions.NoSuchKey:
                    got = None
                assert got in wanted if isinstance(wanted, set) else got == wanted, key
                keys[key] = got
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(hammer, url, number, 20, known[number]) for number in range(4)]
            threading.Timer(chance.uniform(0.3, 1.5), server.kill).start()
            done += sum(job.result() for job in jobs)
    assert done > 5 * rounds


@pytest.mark.slow
def test_an_upload_of_ten_thousand_parts(serve, tmp_path):
    server, url = opened(serve, tmp_path)
    s3 = client(url, max_pool_connections=16)
    s3.create_bucket(Bucket="bucket")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    parts = [{"PartNumber": n, "ETag": '"' + hashlib.md5(b"x").hexdigest() + '"'} for n in range(1, 10_001)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: s3.upload_part(Bucket="bucket", Key="k", UploadId=upload, PartNumber=n, Body=b"x"), range(1, 10_001)))
    listed = [p["PartNumber"] for page in s3.get_paginator("list_parts").paginate(Bucket="bucket", Key="k", UploadId=upload) for p in page["Parts"]]
    assert listed == list(range(1, 10_001))
    started = time.monotonic()
    assert refused(s3.complete_multipart_upload, Bucket="bucket", Key="k", UploadId=upload, MultipartUpload={"Parts": parts})[0] == "EntityTooSmall"
    assert time.monotonic() - started < 10
    s3.abort_multipart_upload(Bucket="bucket", Key="k", UploadId=upload)
