"""Uploads in parts over the S3 API, and bodies in frames, as boto3 sends them."""

import base64
import datetime
import hashlib
import hmac
import io
import os
import zlib

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import requests

from s3_api import client, refused, s3_url, settings_file
from s3_peers import STORES

PART = 5 << 20


@pytest.fixture(scope="module", params=["folder", "moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("minio", "versitygw"))])
def lake(request, tmp_path_factory):
    """Flags of a server whose lake lies there."""
    if request.param == "folder":
        yield []
        return
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as store:
        yield store.flags(request.param)


@pytest.fixture(scope="module")
def server(lakehouse, tmp_path_factory, lake):
    from conftest import serving, starting
    folder = tmp_path_factory.mktemp("s3uploads")
    starter = starting(lakehouse)
    yield serving(next(starter), folder)(*lake, "--config", settings_file(folder), "--s3api.bind", "127.0.0.1:0")
    next(starter, None)


@pytest.fixture(scope="module")
def s3(server):
    return client(s3_url(server))


@pytest.fixture
def bucket(s3, request):
    name = "t-" + hashlib.md5(request.node.name.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name


def send(s3, bucket, key, parts, **begin):
    """Begin an upload and send its parts; (id, list of parts for complete)."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **begin)["UploadId"]
    done = []
    for number, data in parts:
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        assert answer["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    return upload, sorted(done, key=lambda part: part["PartNumber"])


def complete(s3, bucket, key, upload, parts, **more):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)


def etag_of(pieces):
    return f'"{hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()}-{len(pieces)}"'


def body(answer):
    return answer["Body"].read()


def test_parts_in_any_order_become_one_object(s3, bucket):
    pieces = [os.urandom(PART), os.urandom(PART), os.urandom(1234)]
    upload, parts = send(s3, bucket, "k", [(9, pieces[2]), (1, os.urandom(PART)), (5, pieces[1]), (1, pieces[0])],
                         Metadata={"m": "1"}, ContentType="text/x", Tagging="a=b")
    parts = [parts[1], *parts[2:]]  # the first part came twice: the second one counts
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == "404"
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=2)
    assert [p["PartNumber"] for p in listed["Parts"]] == [1, 5] and listed["IsTruncated"]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, PartNumberMarker=listed["NextPartNumberMarker"])
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(9, 1234)]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    assert complete(s3, bucket, "k", upload, parts)["ETag"] == etag_of(pieces)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert body(got) == b"".join(pieces) and got["ETag"] == etag_of(pieces) and got["Metadata"] == {"m": "1"} and got["ContentType"] == "text/x" and got["TagCount"] == 1
    for number, piece in enumerate(pieces, 1):
        part = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert body(part) == piece and part["PartsCount"] == 3
    assert refused(s3.get_object, Bucket=bucket, Key="k", PartNumber=4) == ("InvalidPartNumber", 416)
    assert s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "ObjectSize"])["ObjectParts"]["TotalPartsCount"] == 3
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert complete(s3, bucket, "k", upload, parts)["ETag"] == etag_of(pieces)  # its answer may have been lost
    assert refused(s3.list_parts, Bucket=bucket, Key="k", UploadId=upload) == ("NoSuchUpload", 404)


def test_what_cannot_be_completed_stays_open(s3, bucket):
    upload, parts = send(s3, bucket, "k", [(1, b"small"), (2, b"x")])
    assert refused(complete, s3, bucket, "k", upload, parts) == ("EntityTooSmall", 400)
    assert refused(complete, s3, bucket, "k", upload, parts[::-1]) == ("InvalidPartOrder", 400)
    assert refused(complete, s3, bucket, "k", upload, [parts[0], {"PartNumber": 3, "ETag": '"x"'}])[0] == "InvalidPart"
    assert refused(complete, s3, bucket, "k", upload, [{"PartNumber": 2, "ETag": parts[0]["ETag"]}])[0] == "InvalidPart"
    assert refused(complete, s3, bucket, "k", upload, [])[0] == "MalformedXML"
    assert refused(complete, s3, bucket, "k", "none", parts)[0] == "NoSuchUpload"
    assert refused(s3.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=10001, Body=b"")[0] == "InvalidArgument"
    assert refused(s3.upload_part, Bucket=bucket, Key="other", UploadId=upload, PartNumber=1, Body=b"")[0] == "NoSuchUpload"
    assert refused(complete, s3, bucket, "k", upload, parts[1:], MpuObjectSize=2)[0] == "InvalidRequest"
    complete(s3, bucket, "k", upload, parts[1:], IfNoneMatch="*", MpuObjectSize=1)
    assert body(s3.get_object(Bucket=bucket, Key="k")) == b"x"
    upload, parts = send(s3, bucket, "k", [(1, b"y")])
    assert refused(complete, s3, bucket, "k", upload, parts, IfNoneMatch="*") == ("PreconditionFailed", 412)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert refused(s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=upload) == ("NoSuchUpload", 404)
    assert body(s3.get_object(Bucket=bucket, Key="k")) == b"x"


def test_parts_are_copied_from_objects(s3, bucket):
    source = os.urandom(PART + 1000)
    s3.put_object(Bucket=bucket, Key="a b", Body=source)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    whole = {"Bucket": bucket, "Key": "a b"}
    one = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, CopySource=whole)["CopyPartResult"]
    two = s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, CopySource=whole, CopySourceRange="bytes=100-299")["CopyPartResult"]
    assert two["ETag"] == f'"{hashlib.md5(source[100:300]).hexdigest()}"'
    for wrong, code in (("bytes=0-", "InvalidArgument"), (f"bytes=0-{len(source)}", "InvalidRange"), ("0-1", "InvalidArgument")):
        assert refused(s3.upload_part_copy, Bucket=bucket, Key="k", UploadId=upload, PartNumber=3, CopySource=whole, CopySourceRange=wrong)[0] == code
    complete(s3, bucket, "k", upload, [{"PartNumber": 1, "ETag": one["ETag"]}, {"PartNumber": 2, "ETag": two["ETag"]}])
    assert body(s3.get_object(Bucket=bucket, Key="k")) == source + source[100:300]


def test_uploads_are_listed_in_pages_and_folders(s3, bucket):
    keys = ["a/1", "a/2", "b", "c/x", "d"]
    ids = {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys}
    pages = list(s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}))
    assert [(u["Key"], u["UploadId"]) for page in pages for u in page["Uploads"]] == list(ids.items()) and len(pages) == 3
    pages = list(s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}))
    assert [u["Key"] for page in pages for u in page.get("Uploads", [])] == ["b", "d"]
    assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/", "c/"]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")["Uploads"]] == ["a/1", "a/2"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="lake")
    for key, upload in ids.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def test_uploads_go_with_their_bucket(s3, lake):
    if "minio" in lake:
        s3.create_bucket(Bucket="short-lived")
        assert refused(s3.delete_bucket, Bucket="short-lived") == ("NotImplemented", 501)  # MinIO deletes whatever the condition
        return
    for _ in range(2):
        s3.create_bucket(Bucket="short-lived")
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="short-lived")
        begun = [s3.create_multipart_upload(Bucket="short-lived", Key=key)["UploadId"] for key in ("a", "a", "b/c")]
        s3.upload_part(Bucket="short-lived", Key="a", UploadId=begun[0], PartNumber=1, Body=b"x")
        s3.delete_bucket(Bucket="short-lived")
        assert refused(s3.list_parts, Bucket="short-lived", Key="a", UploadId=begun[0])[0] == "NoSuchBucket"
    s3.create_bucket(Bucket="short-lived")
    assert refused(s3.list_parts, Bucket="short-lived", Key="a", UploadId=begun[0])[0] == "NoSuchUpload"


@pytest.mark.parametrize("algorithm, kind", [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")])
def test_checksums_of_the_whole(s3, bucket, algorithm, kind):
    pieces = [os.urandom(PART), os.urandom(77)]
    name = "Checksum" + algorithm
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm, kind)
    parts = []
    for number, piece in enumerate(pieces, 1):
        sent = s3.upload_part(Bucket=bucket, Key="k", UploadId=begun["UploadId"], PartNumber=number, Body=piece, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], name: sent[name]})
    assert [p[name] for p in s3.list_parts(Bucket=bucket, Key="k", UploadId=begun["UploadId"])["Parts"]] == [p[name] for p in parts]
    wrong = [dict(parts[0], **{name: parts[1][name]}), parts[1]]
    assert refused(complete, s3, bucket, "k", begun["UploadId"], wrong)[0] in ("InvalidPart", "BadDigest")
    raw = b"".join(base64.b64decode(p[name]) for p in parts)
    whole = zlib.crc32(b"".join(pieces)) if kind == "FULL_OBJECT" else {"CRC32": zlib.crc32}.get(algorithm, lambda data: hashlib.new(algorithm, data).digest())(raw)
    expected = base64.b64encode(whole if isinstance(whole, bytes) else whole.to_bytes(4, "big")).decode() + ("" if kind == "FULL_OBJECT" else "-2")
    # The header of the call is the object's checksum, not that of the list of parts.
    assert refused(complete, s3, bucket, "k", begun["UploadId"], parts, **{name: parts[0][name]})[0] == "BadDigest"
    assert refused(complete, s3, bucket, "k", begun["UploadId"], parts, **{name: "bm9uZQ"})[0] == "InvalidRequest"
    answer = complete(s3, bucket, "k", begun["UploadId"], parts, **{name: expected})
    assert answer[name] == expected and answer["ChecksumType"] == kind
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[name] == expected and head["ChecksumType"] == kind


def crc64nvme(data):
    """Bit by bit, 256 steps at a time: NVM Express' polynomial, reflected, ones before and after."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    crc = (1 << 64) - 1
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return base64.b64encode((crc ^ (1 << 64) - 1).to_bytes(8, "big")).decode()


def test_what_comes_without_a_checksum_gets_one(s3, server, bucket):
    plain = client(s3_url(server), request_checksum_calculation="when_required")
    assert crc64nvme(b"123456789") == "rosUhgp5mIg="  # the check value of the algorithm
    put = plain.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert put["ChecksumCRC64NVME"] == crc64nvme(b"hello") and put["ChecksumType"] == "FULL_OBJECT"
    assert plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == crc64nvme(b"hello")
    pieces = [bytes(PART), b"second", b"third"]
    whole = crc64nvme(b"".join(pieces[:1]) + pieces[1])
    upload = plain.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    one = plain.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=pieces[0])
    two = plain.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=pieces[1], ChecksumAlgorithm="SHA1")  # beside its own
    parts = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in ((1, one), (2, two))]
    assert "ChecksumCRC64NVME" in one and "ChecksumSHA1" in two and "ChecksumCRC64NVME" not in two
    assert refused(complete, plain, bucket, "k", upload, parts, ChecksumCRC64NVME=crc64nvme(b"other")) == ("BadDigest", 400)
    done = complete(plain, bucket, "k", upload, parts)
    assert done["ChecksumCRC64NVME"] == whole and done["ChecksumType"] == "FULL_OBJECT"
    assert plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == whole
    # and a part that is copied
    upload = plain.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    copied = plain.upload_part_copy(Bucket=bucket, Key="copy", UploadId=upload, PartNumber=1, CopySource=f"{bucket}/k")["CopyPartResult"]
    done = complete(plain, bucket, "copy", upload, [{"PartNumber": 1, "ETag": copied["ETag"]}])
    assert done["ChecksumCRC64NVME"] == whole


def test_checksums_of_the_list_are_held_to_those_of_the_parts(s3, server, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA1", ChecksumType="COMPOSITE")["UploadId"]
    plain = client(s3_url(server), request_checksum_calculation="when_required")
    assert refused(plain.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x") == ("InvalidRequest", 400)
    sent = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA1")
    good = {"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA1": sent["ChecksumSHA1"]}
    for change, code in (({"ChecksumSHA1": None}, "InvalidRequest"), ({"ChecksumSHA1": "AAAA"}, "InvalidArgument"),
                         ({"ChecksumCRC32": "AAAAAA=="}, "InvalidArgument"), ({"ChecksumSHA1": None, "ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
                         ({"ChecksumSHA1": "A" * 27 + "="}, "InvalidPart"), ({"PartNumber": 10001}, "InvalidArgument"), ({"PartNumber": -1}, "InvalidArgument")):
        part = {name: value for name, value in {**good, **change}.items() if value is not None}
        assert refused(complete, s3, bucket, "k", upload, [part])[0] == code, change
    complete(s3, bucket, "k", upload, [good])


def test_an_upload_is_given_up_only_if_it_is_the_one_that_was_meant(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    begun = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
    meant = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    for off in (-1, 1):
        other = begun.replace(microsecond=0) + datetime.timedelta(seconds=off)
        assert refused(s3.abort_multipart_upload, **meant, IfMatchInitiatedTime=other) == ("PreconditionFailed", 412)
    s3.abort_multipart_upload(**meant, IfMatchInitiatedTime=begun)
    assert refused(s3.abort_multipart_upload, **meant, IfMatchInitiatedTime=begun) == ("NoSuchUpload", 404)


def test_kinds_of_checksums_that_do_not_exist(s3, bucket):
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")[0] == "InvalidRequest"
    assert refused(s3.create_multipart_upload, Bucket=bucket, Key="k", ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")[0] == "InvalidRequest"


def test_great_files_go_up_and_come_down_by_threads(s3, bucket, tmp_path):
    data = os.urandom(30 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "big")
    s3.download_file(bucket, "big", str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == data and s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-4"')


class Framed:
    """A PUT whose body comes in frames: signed ones, or unsigned ones with a checksum behind them."""

    def __init__(self, url, path, data, form, size=65536, crc=None):
        self.url, self.data, self.size = url + path, data, size
        self.signed, self.trailer = form.startswith("STREAMING-AWS4"), form.endswith("TRAILER")
        self.crc = base64.b64encode((zlib.crc32(data) if crc is None else crc).to_bytes(4, "big")).decode()
        headers = {"X-Amz-Decoded-Content-Length": str(len(data)), "Content-Encoding": "aws-chunked,gzip"}
        if self.trailer:
            headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"

        class Auth(botocore.auth.S3SigV4Auth):
            def payload(self, request):
                return form

        request = botocore.awsrequest.AWSRequest("PUT", self.url, headers=headers)
        auth = Auth(botocore.credentials.Credentials("main", "main-secret"), "s3", "us-east-1")
        auth.add_auth(request)
        self.headers = dict(request.headers)
        self.time = request.context["timestamp"]
        self.scope = f"{self.time[:8]}/us-east-1/s3/aws4_request"
        self.seed = self.headers["Authorization"].rsplit("Signature=", 1)[1]
        self.key = b"AWS4main-secret"
        for word in self.scope.split("/"):
            self.key = hmac.digest(self.key, word.encode(), "sha256")

    def sign(self, kind, *lines):
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self.time, self.scope, self.seed, *lines])
        self.seed = hmac.new(self.key, text.encode(), "sha256").hexdigest()
        return self.seed

    def frame(self, data):
        if not self.signed:
            return f"{len(data):x}\r\n".encode() + (data + b"\r\n" if data else b"")
        signature = self.sign("PAYLOAD", hashlib.sha256(b"").hexdigest(), hashlib.sha256(data).hexdigest())
        return f"{len(data):x};chunk-signature={signature}\r\n".encode() + (data + b"\r\n" if data else b"")

    def body(self):
        out = b"".join(self.frame(self.data[at:at + self.size]) for at in range(0, len(self.data), self.size)) + self.frame(b"")
        if self.trailer:
            line = f"x-amz-checksum-crc32:{self.crc}\n"
            out += line.strip().encode() + b"\r\n"
            if self.signed:
                out += b"x-amz-trailer-signature:" + self.sign("TRAILER", hashlib.sha256(line.encode()).hexdigest()).encode() + b"\r\n"
        return out + (b"\r\n" if self.trailer or self.signed else b"")

    def put(self, harm=lambda body: body, chunked=False):
        body = harm(self.body())
        return requests.put(self.url, data=iter([body]) if chunked else body, headers=self.headers, timeout=30)


FORMS = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_bodies_in_frames(server, s3, bucket, form, size):
    url, data = s3_url(server), os.urandom(size)
    for chunked in (False, True):
        answer = Framed(url, f"/{bucket}/k", data, form).put(chunked=chunked)
        assert answer.status_code == 200, answer.text
        got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert body(got) == data and got["ContentEncoding"] == "gzip"
        assert ("ChecksumCRC32" in got) == form.endswith("TRAILER")


@pytest.mark.parametrize("form", FORMS)
def test_frames_that_are_not_as_said_leave_nothing(server, s3, bucket, form):
    url, data = s3_url(server), os.urandom(200_000)
    put = lambda **how: Framed(url, f"/{bucket}/k", data, form, **{k: v for k, v in how.items() if k == "crc"}).put(*[v for k, v in how.items() if k == "harm"])
    assert put(harm=lambda body: body[:100_000]).status_code == 400
    assert put(harm=lambda body: body + b"more").status_code == 400
    if form.startswith("STREAMING-AWS4"):
        flipped = put(harm=lambda body: body[:1000] + bytes([body[1000] ^ 1]) + body[1001:])
        assert flipped.status_code == 403 and "SignatureDoesNotMatch" in flipped.text
        replayed = put(harm=lambda body: body[:2 * (65536 + 90)].replace(body[65536 + 90:2 * (65536 + 90)], body[:65536 + 90]) + body[2 * (65536 + 90):])
        assert replayed.status_code == 403
    if form.endswith("TRAILER"):
        wrong = put(crc=5)
        assert wrong.status_code == 400 and "BadDigest" in wrong.text
    assert refused(s3.head_object, Bucket=bucket, Key="k")[0] == "404"


def test_parts_survive_a_crash_of_the_server(serve, tmp_path, lake):
    config = settings_file(tmp_path)
    flags = (*lake, "--config", config, "--s3api.bind", "127.0.0.1:0")
    pieces = [os.urandom(PART), b"end"]
    server = serve(*flags)
    s3 = client(s3_url(server))
    s3.create_bucket(Bucket="bucket")
    upload, parts = send(s3, "bucket", "k", [(2, pieces[1])])
    server.kill()
    s3 = client(s3_url(serve(*flags)))
    sent = s3.upload_part(Bucket="bucket", Key="k", UploadId=upload, PartNumber=1, Body=pieces[0])
    complete(s3, "bucket", "k", upload, [{"PartNumber": 1, "ETag": sent["ETag"]}, *parts])
    assert body(s3.get_object(Bucket="bucket", Key="k")) == b"".join(pieces)
