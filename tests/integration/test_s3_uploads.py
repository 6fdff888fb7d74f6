"""Uploads in parts through our S3 API into a lake that lies in a bucket: what a crash, a lost answer or a rival leaves of them.

What they must do in any lake is in test_s3_api_uploads.py. The store is moto; `make test-all` runs the same over MinIO and versitygw too.
"""

import concurrent.futures
import json
import os
import random
import subprocess
import threading
import time
import urllib.parse

import botocore.exceptions
import pytest
from processes import rss_anon
from s3_api import client, refused, s3_url, settings_file
from s3_peers import BUCKET, BadWire, prefix, store  # noqa: F401 (fixtures)
from test_s3_api_uploads import PART, body, complete, etag_of, send


@pytest.fixture
def lake(serve, store, prefix, tmp_path):
    """A function that starts a server on the lake, by a wire or none; (server, client)."""
    def start(wire=None, *flags):
        server = serve(*store.flags(prefix, wire.url if wire else None), "--config", settings_file(tmp_path), "--s3api.bind", "127.0.0.1:0", *flags)
        return server, client(s3_url(server), read_timeout=120)

    return start


def left(store, prefix):
    return store.keys(prefix + "/_lake/uploads/"), store.uploads(prefix + "/")


def insist(call):
    """As clients do."""
    for _ in range(8):
        try:
            return call()
        except botocore.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (502, 503, 504), error
    raise AssertionError("no call came through")


PIECES = [os.urandom(PART), os.urandom(PART + 9), os.urandom(20)]


def test_nothing_of_an_upload_stays_in_the_bucket(lake, store, prefix):
    _, s3 = lake()
    s3.create_bucket(Bucket="bucket")
    upload, parts = send(s3, "bucket", "k", [(2, PIECES[1]), (1, b"first try"), (1, PIECES[0]), (3, PIECES[2])])
    assert len(left(store, prefix)[0]) == 5 and left(store, prefix)[1] == []
    complete(s3, "bucket", "k", upload, [parts[1], *parts[2:]])
    assert left(store, prefix) == ([], [])
    upload, _ = send(s3, "bucket", "k", [(1, PIECES[0])])
    s3.abort_multipart_upload(Bucket="bucket", Key="k", UploadId=upload)
    assert left(store, prefix) == ([], [])
    assert body(s3.get_object(Bucket="bucket", Key="k")) == b"".join(PIECES)


def test_keys_and_attributes_that_no_name_can_hold(lake, store, prefix):
    """They are in the record and with the part then."""
    _, s3 = lake()
    s3.create_bucket(Bucket="bucket")
    key = "/".join("ordner-\u00e4" * 10 for _ in range(4))
    upload = s3.create_multipart_upload(Bucket="bucket", Key=key, ChecksumAlgorithm="SHA256", Metadata={"m": "x" * 300})["UploadId"]
    sent = s3.upload_part(Bucket="bucket", Key=key, UploadId=upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256")
    assert [(u["Key"], u["UploadId"]) for u in s3.list_multipart_uploads(Bucket="bucket")["Uploads"]] == [(key, upload)]
    part, = s3.list_parts(Bucket="bucket", Key=key, UploadId=upload)["Parts"]
    assert part["ChecksumSHA256"] == sent["ChecksumSHA256"] and part["Size"] == 1
    assert refused(s3.list_parts, Bucket="bucket", Key=key + "x", UploadId=upload)[0] == "NoSuchUpload"
    complete(s3, "bucket", key, upload, [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}])
    assert s3.head_object(Bucket="bucket", Key=key)["Metadata"] == {"m": "x" * 300}
    assert left(store, prefix) == ([], [])


@pytest.mark.parametrize("fault", ["lose", "late", "twice"])
def test_an_upload_is_whole_however_many_answers_are_lost(lake, store, prefix, fault):
    """Every third write is harmed on its way to the store."""
    count = [0]

    def harm(line):
        if not line.startswith(("PUT", "POST")) or "/_lake/uploads/" not in line and "uploadId" not in line:
            return None
        count[0] += 1
        return fault if count[0] % 3 == 0 else None

    with BadWire(store.url, harm) as wire:
        server, s3 = lake(wire)
        s3.create_bucket(Bucket="bucket")
        for i in range(2):
            upload = insist(lambda: s3.create_multipart_upload(Bucket="bucket", Key=f"k{i}"))["UploadId"]
            parts = []
            for number, piece in enumerate(PIECES, 1):
                sent = insist(lambda: s3.upload_part(Bucket="bucket", Key=f"k{i}", UploadId=upload, PartNumber=number, Body=piece))
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            assert insist(lambda: complete(s3, "bucket", f"k{i}", upload, parts))["ETag"] == etag_of(PIECES)
            assert body(s3.get_object(Bucket="bucket", Key=f"k{i}")) == b"".join(PIECES)
        assert wire.harmed


def killed_while_completing(lake, store, fate):
    """An upload whose server was killed at the first request to the store that has a fate by its line: the store does it ("lose") or not ("refuse")."""
    armed = []

    def harm(line):
        end = fate(line) if armed else None
        if end:
            armed.pop().kill()
        return end

    with BadWire(store.url, harm) as wire:
        server, s3 = lake(wire)
        s3.create_bucket(Bucket="bucket")
        upload, parts = send(s3, "bucket", "k", list(enumerate(PIECES, 1)))
        armed.append(server)
        with pytest.raises(botocore.exceptions.BotoCoreError):
            complete(s3, "bucket", "k", upload, parts)
        assert not armed
    return upload, parts


@pytest.mark.parametrize("point", ["copy", "commit", "clear"])
def test_a_complete_that_is_killed_can_be_asked_for_again(lake, store, prefix, point):
    """While the store copies; when it has made the object and nobody heard of it; when only the clearing is left."""
    def fate(line):
        method, target, _ = line.split(" ")
        hit = {"copy": method == "PUT" and "partNumber=2" in target, "commit": method == "POST" and "uploadId=" in target,
               "clear": method == "POST" and target.endswith("?delete=")}[point]
        return ("lose" if point == "commit" else "refuse") if hit else None

    upload, parts = killed_while_completing(lake, store, fate)
    _, s3 = lake()
    assert complete(s3, "bucket", "k", upload, parts)["ETag"] == etag_of(PIECES)
    assert body(s3.get_object(Bucket="bucket", Key="k")) == b"".join(PIECES)
    assert refused(s3.list_parts, Bucket="bucket", Key="k", UploadId=upload)[0] == "NoSuchUpload"
    assert left(store, prefix)[1] == []
    assert refused(s3.abort_multipart_upload, Bucket="bucket", Key="k", UploadId=upload)[0] == "NoSuchUpload"
    assert left(store, prefix) == ([], [])


def test_two_servers_end_an_upload_once(lake, store, prefix):
    """Each by a process of its own: one completes it, or the other aborts it, and never half of both."""
    clients = [lake()[1], lake()[1]]
    clients[0].create_bucket(Bucket="bucket")
    for i in range(6):
        upload, parts = send(clients[0], "bucket", f"k{i}", list(enumerate(PIECES, 1)))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            done = pool.submit(complete, clients[i % 2], "bucket", f"k{i}", upload, parts)
            gone = pool.submit(clients[1 - i % 2].abort_multipart_upload, Bucket="bucket", Key=f"k{i}", UploadId=upload)
        ended = [future.exception() is None for future in (done, gone)]
        there = "Contents" in clients[0].list_objects_v2(Bucket="bucket", Prefix=f"k{i}")
        assert sum(ended) == 1 and there == ended[0], [done.exception(), gone.exception()]
        for future in (done, gone):
            assert future.exception() is None or future.exception().response["Error"]["Code"] == "NoSuchUpload", future.exception()
        assert refused(clients[1].list_parts, Bucket="bucket", Key=f"k{i}", UploadId=upload)[0] == "NoSuchUpload"
    assert left(store, prefix) == ([], [])


def is_commit(line):
    method, target, _ = line.split(" ")
    return method == "POST" and "uploadId=" in target


def newer_put(s3):
    s3.put_object(Bucket="bucket", Key="k", Body=b"newer")
    return lambda: body(s3.get_object(Bucket="bucket", Key="k")) == b"newer"


def newer_delete(s3):
    s3.delete_object(Bucket="bucket", Key="k")
    return lambda: refused(s3.get_object, Bucket="bucket", Key="k")[0] == "NoSuchKey"


NEWER = pytest.mark.parametrize("newer", [newer_put, newer_delete])


@NEWER
def test_a_complete_that_was_done_is_not_done_again(lake, store, prefix, newer):
    """Its server was killed when the store had made the object; then somebody changed that object."""
    upload, parts = killed_while_completing(lake, store, lambda line: "lose" if is_commit(line) else None)
    _, s3 = lake()
    assert body(s3.get_object(Bucket="bucket", Key="k")) == b"".join(PIECES)
    stands = newer(s3)
    assert refused(complete, s3, "bucket", "k", upload, parts)[0] == "NoSuchUpload"
    assert stands() and left(store, prefix) == ([], [])


@NEWER
def test_a_complete_whose_answer_is_lost_undoes_nothing(lake, store, prefix, newer):
    """The server lives, and the object is changed before it asks what became of its complete."""
    rival, stands = [], []

    def then(line):
        if rival and is_commit(line):
            stands.append(newer(rival.pop()))

    with BadWire(store.url, lambda line: "lose" if rival and is_commit(line) else None, then=then) as wire:
        _, s3 = lake(wire, "--s3.retry_seconds", "2")  # moto answers 500 when it is asked again
        s3.create_bucket(Bucket="bucket")
        upload, parts = send(s3, "bucket", "k", list(enumerate(PIECES, 1)))
        rival.append(lake()[1])
        assert refused(complete, s3, "bucket", "k", upload, parts)[0] == "NoSuchUpload"
        assert stands[0]() and left(store, prefix) == ([], [])


def test_a_complete_that_was_not_done_is_done_after_newer_writes(lake, store, prefix):
    """As with every upload: what counts is when it is completed."""
    upload, parts = killed_while_completing(lake, store, lambda line: "refuse" if is_commit(line) else None)
    _, s3 = lake()
    newer_put(s3)
    assert complete(s3, "bucket", "k", upload, parts)["ETag"] == etag_of(PIECES)
    assert body(s3.get_object(Bucket="bucket", Key="k")) == b"".join(PIECES) and left(store, prefix) == ([], [])


def test_whoever_finds_out_may_be_killed_too(lake, store, prefix):
    """The first server dies before its complete has reached the store, the second when it has dropped what the first had begun. Nobody can know then, and
    nothing is undone."""
    armed = []

    def harm(line):
        if not armed:
            return None
        if is_commit(line):
            armed.pop().kill()
            return "refuse"
        if line.startswith("DELETE") and "uploadId=" in line:
            armed.pop().kill()
            return "lose"
        return None

    with BadWire(store.url, harm) as wire:
        server, s3 = lake(wire)
        s3.create_bucket(Bucket="bucket")
        upload, parts = send(s3, "bucket", "k", list(enumerate(PIECES, 1)))
        for _ in range(2):
            armed.append(server)
            with pytest.raises(botocore.exceptions.BotoCoreError):
                complete(s3, "bucket", "k", upload, parts)
            assert not armed
            server, s3 = lake(wire, "--s3.retry_seconds", "2")
        stands = newer_put(s3)
        assert refused(complete, s3, "bucket", "k", upload, parts)[0] == "NoSuchUpload"
        assert stands() and left(store, prefix) == ([], [])


@pytest.mark.parametrize("first", ["commit", "drop"])
def test_two_servers_that_complete_an_upload_make_one_object(lake, store, prefix, first):
    """The second one begins when the first has sent its commit, and drops what that wants to commit: before or after it has reached the store."""
    sent, done = threading.Event(), {"commit": threading.Event(), "drop": threading.Event()}

    def hold(what):
        sent.set()
        if what != first:
            assert done[first].wait(60)

    def of(line):
        return "commit" if is_commit(line) else "drop" if line.startswith("DELETE") and "uploadId=" in line else None

    def harm(what):
        return lambda line: hold(what) if of(line) == what else None

    def then(line):
        if of(line):
            done[of(line)].set()

    with BadWire(store.url, harm("commit"), then=then) as slow, BadWire(store.url, harm("drop"), then=then) as quick:
        clients = [lake(wire, "--s3.retry_seconds", "3")[1] for wire in (slow, quick)]
        clients[0].create_bucket(Bucket="bucket")
        upload, parts = send(clients[0], "bucket", "k", list(enumerate(PIECES, 1)))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            ends = [pool.submit(insist, lambda: complete(clients[0], "bucket", "k", upload, parts))]
            assert sent.wait(60)
            ends.append(pool.submit(insist, lambda: complete(clients[1], "bucket", "k", upload, parts)))
        assert [end.result()["ETag"] for end in ends] == [etag_of(PIECES)] * 2
        assert body(clients[0].get_object(Bucket="bucket", Key="k")) == b"".join(PIECES)
    assert left(store, prefix) == ([], [])


def test_completes_that_race_make_one_object(lake, store, prefix):
    """Whatever the one finds of the other."""
    clients = [lake(None, "--s3.retry_seconds", "3")[1] for _ in range(2)]
    clients[0].create_bucket(Bucket="bucket")
    pieces = PIECES[0], PIECES[2]

    def end(i, s3, upload, parts):
        time.sleep(random.uniform(0, 0.2))  # anywhere in the other's course
        return insist(lambda: complete(s3, "bucket", f"k{i}", upload, parts))["ETag"]

    for i in range(12):
        upload, parts = send(clients[0], "bucket", f"k{i}", list(enumerate(pieces, 1)))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            ends = [pool.submit(end, i, s3, upload, parts) for s3 in clients]
        assert [done.result() for done in ends] == [etag_of(pieces)] * 2
    assert left(store, prefix) == ([], [])


def test_what_cannot_be_read_is_told(lake, lakehouse, store, prefix):
    """By the log, when the sweep comes by, and by the doctor."""
    _, s3 = lake()
    s3.create_bucket(Bucket="bucket")
    s3.create_multipart_upload(Bucket="bucket", Key="k" * 200)
    record, = store.keys(prefix + "/_lake/uploads/open/")
    store.client.put_object(Bucket=BUCKET, Key=record, Body=b"no record")
    server, s3 = lake()
    s3.create_multipart_upload(Bucket="bucket", Key="k")  # the first one of a server sweeps
    assert [upload["Key"] for upload in s3.list_multipart_uploads(Bucket="bucket")["Uploads"]] == ["k"]
    told = [json.loads(line) for line in server.lines if '"event":"uploads_unreadable"' in line]
    assert len(told) == 1 and told[0]["level"] == "warn" and told[0]["count"] == 1 and record.split("/")[-1] in told[0]["reason"], server.log()
    got = subprocess.run([lakehouse, "doctor", *store.flags(prefix), "--json"], capture_output=True, text=True, timeout=120)
    found = [finding for finding in json.loads(got.stdout)["findings"] if finding["check"] == "uploads"]
    assert sorted(finding["status"] for finding in found) == ["note", "problem"] and got.returncode == 1, (got.stdout, got.stderr)


class Crowded(BadWire):
    """A wire to a store that has very many open uploads: their records are in its lists, and nowhere else."""

    COUNT, PAGE = 120_000, 1000
    KEYS = [f"{number * 7919 % 120_000:06}" for number in range(COUNT)]  # their ids are in another order

    def ask(self, line, headers, body):
        query = urllib.parse.parse_qs(line.split(" ")[1].partition("?")[2])
        where = query.get("prefix", [""])[0]
        if not line.startswith("GET") or not where.endswith("_lake/uploads/open/"):
            return super().ask(line, headers, body)
        after = query.get("start-after", [""])[0][len(where):].partition(".")[0]
        start = int(query["continuation-token"][0]) if "continuation-token" in query else int(after, 16) + 1 if after else 0
        rows = "".join("<Contents><Key>%s%036x.%s</Key><Size>99</Size><ETag>&quot;%032x&quot;</ETag><LastModified>2026-11-26T00:00:00.000Z</LastModified></Contents>" % (
            where, number, ("_buckets/bucket/" + self.KEYS[number]).encode().hex(), number) for number in range(start, start + self.PAGE))
        more = start + self.PAGE < self.COUNT
        answer = "<ListBucketResult><IsTruncated>%s</IsTruncated>%s%s</ListBucketResult>" % (
            str(more).lower(), f"<NextContinuationToken>{start + self.PAGE}</NextContinuationToken>" if more else "", rows)
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer.encode()


def test_very_many_open_uploads_are_listed_in_pages(lake, store, prefix):
    with Crowded(store.url) as wire:
        server, s3 = lake(wire)
        s3.create_bucket(Bucket="bucket")
        before = rss_anon(server.process.pid)
        marker = {"KeyMarker": "077770"}
        for first, more in ((0, {}), (77771, marker)):
            page = s3.list_multipart_uploads(Bucket="bucket", MaxUploads=500, **more)
            assert [upload["Key"] for upload in page["Uploads"]] == ["%06d" % number for number in range(first, first + 500)] and page["IsTruncated"]
        last = s3.list_multipart_uploads(Bucket="bucket", KeyMarker="119998")
        assert [upload["Key"] for upload in last["Uploads"]] == ["119999"] and not last["IsTruncated"]
        assert rss_anon(server.process.pid) - before < 32 << 20
