"""Uploads in parts of a server that is killed: what was acknowledged is there afterwards, and a complete happened or did not."""

import hashlib
import os
import threading
import time

import botocore.exceptions
import pytest
from s3_api import client, s3_url, settings_file

MIB = 1 << 20


@pytest.fixture
def start(serve, tmp_path):
    config = settings_file(tmp_path)

    def up():
        server = serve("--config", config, "--s3api.bind", "127.0.0.1:0")
        return server, client(s3_url(server))

    return up


def noise(number, size=5 * MIB):
    return hashlib.sha256(b"%d" % number).digest() * (size // 32)


def send(s3, upload, number, body):
    return s3.upload_part(Bucket="bucket", Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=number, Body=body)["ETag"]


def parts_of(s3, upload):
    return s3.list_parts(Bucket="bucket", Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts", [])


def complete(s3, upload, parts):
    return s3.complete_multipart_upload(Bucket="bucket", Key=upload["Key"], UploadId=upload["UploadId"],
                                        MultipartUpload={"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]})


def test_parts_survive_kill_9(start):
    server, s3 = start()
    s3.create_bucket(Bucket="bucket")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="a/big", Metadata={"colour": "blue"}, ContentType="text/x")
    acknowledged = {}
    stopping = threading.Event()

    def sender(first):
        for number in range(first, 200, 4):
            try:
                acknowledged[number] = send(s3, upload, number, noise(number))
            except Exception:
                assert stopping.is_set()
                return

    threads = [threading.Thread(target=sender, args=(first,)) for first in range(1, 5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    stopping.set()
    server.kill()
    for thread in threads:
        thread.join()
    assert len(acknowledged) >= 6
    server, s3 = start()
    there = {part["PartNumber"]: part for part in parts_of(s3, upload)}
    assert all(there[number]["ETag"] == etag for number, etag in acknowledged.items())
    # what is missing is sent again, and one more time
    last = max(there)
    for number in range(1, last):
        if number not in there or number == 2:
            send(s3, upload, number, noise(number))
    parts = parts_of(s3, upload)
    assert [part["PartNumber"] for part in parts] == list(range(1, last + 1))
    etag = complete(s3, upload, parts)["ETag"]
    wanted = b"".join(noise(number) for number in range(1, last + 1))
    answer = s3.get_object(Bucket="bucket", Key="a/big")
    assert answer["Body"].read() == wanted and answer["ETag"] == etag
    assert answer["Metadata"] == {"colour": "blue"} and answer["ContentType"] == "text/x"
    digests = b"".join(hashlib.md5(noise(number)).digest() for number in range(1, last + 1))
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-{last}"'
    assert os.listdir(server.data / "_lake/uploads") == []


def quietly(call, *args):
    try:
        call(*args)
    except Exception:
        pass


def test_a_complete_under_kill_9_happens_or_does_not(start):
    server, s3 = start()
    s3.create_bucket(Bucket="bucket")
    for attempt in range(12):
        key = f"k{attempt}"
        upload = s3.create_multipart_upload(Bucket="bucket", Key=key)
        for number in (2, 1, 3):
            send(s3, upload, number, noise(number))
        if attempt % 2:
            send(s3, upload, 2, noise(2))  # it has to be moved
        parts = parts_of(s3, upload)
        caller = threading.Thread(target=quietly, args=(complete, s3, upload, parts))
        caller.start()
        time.sleep(attempt * 0.003)
        server.kill()
        caller.join()
        server, s3 = start()
        try:
            there = parts_of(s3, upload)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchUpload"
            there = None
        if there is not None:
            assert [part["ETag"] for part in there] == [part["ETag"] for part in parts]
            assert "Contents" not in s3.list_objects_v2(Bucket="bucket", Prefix=key)
            complete(s3, upload, there)
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == noise(1) + noise(2) + noise(3)
    # an empty folder may be of one that is just being begun: it waits for a minute
    assert [file for path in (server.data / "_lake/uploads").iterdir() for file in path.iterdir()] == []
