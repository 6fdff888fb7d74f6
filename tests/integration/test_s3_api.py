"""The S3 API as boto3 sees it: buckets, objects, conditions, listings, rights."""

import base64
import datetime
import hashlib
import http.client
import os
import time
import urllib.parse
import zlib

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import requests
import urllib3

import raw_http
from s3_api import client, refused, s3_url, settings_file


@pytest.fixture(scope="module")
def server(lakehouse, tmp_path_factory):
    from conftest import serving, starting
    folder = tmp_path_factory.mktemp("s3api")
    own = folder / "own"
    (own / "sub").mkdir(parents=True)
    (own / "hello.txt").write_text("hello\n")
    (own / "sub" / "page.html").write_text("<p>")
    starter = starting(lakehouse)
    config = settings_file(folder, f'[[s3api.buckets]]\nname = "own-files"\ndir = "{own}"\n[[s3api.buckets]]\nname = "own-open"\ndir = "{own}2"\naccess = "rw"\n')
    yield serving(next(starter), folder)("--config", config, "--s3api.bind", "127.0.0.1:0", "--s3api.domain", "s3.example.com", "--s3api.anonymous", "acl")
    next(starter, None)


@pytest.fixture(scope="module")
def url(server):
    return s3_url(server)


@pytest.fixture(scope="module")
def s3(url):
    return client(url)


@pytest.fixture
def bucket(s3, request):
    name = "t-" + hashlib.md5(request.node.name.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name


def body(answer):
    return answer["Body"].read()


# ---- buckets ----

def test_buckets_come_and_go(s3):
    s3.create_bucket(Bucket="come-and-go")
    s3.create_bucket(Bucket="come-and-go")  # in us-east-1 one's own may be made again
    assert "come-and-go" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket="come-and-go")["LocationConstraint"] is None
    s3.head_bucket(Bucket="come-and-go")
    s3.put_object(Bucket="come-and-go", Key="a", Body=b"x")
    assert refused(s3.delete_bucket, Bucket="come-and-go") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="come-and-go", Key="a")
    s3.delete_bucket(Bucket="come-and-go")
    assert refused(s3.head_bucket, Bucket="come-and-go") == ("404", 404)
    assert refused(s3.list_objects_v2, Bucket="come-and-go") == ("NoSuchBucket", 404)


def test_names_of_buckets_are_checked(url):
    for name in ("ab", "Upper", "a..b", "a.-b", "-ab", "ab-", "192.168.5.4", "x" * 64, "under_score"):
        answer = requests.put(f"{url}/{name}", headers=signed(url, "PUT", f"/{name}"))
        assert answer.status_code == 400 and "<Code>InvalidBucketName</Code>" in answer.text, (name, answer.text)


def signed(url, method, path, body=b""):
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    request = botocore.awsrequest.AWSRequest(method, url + path, data=body)
    botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("main", "main-secret"), "s3", "us-east-1").add_auth(request)
    return dict(request.headers)


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_a_key_needs_a_bucket_before_it(url, method):
    answer = requests.request(method, f"{url}//key", headers=signed(url, method, "//key"))
    assert answer.status_code == 404 and (method == "HEAD" or "<Code>NoSuchBucket</Code>" in answer.text)
    assert requests.request(method, f"{url}//key").status_code in (403, 404)


def test_what_clients_ask_of_a_bucket_is_answered(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    for call, code in ((s3.get_bucket_policy, "NoSuchBucketPolicy"), (s3.get_bucket_cors, "NoSuchCORSConfiguration"), (s3.get_bucket_tagging, "NoSuchTagSet"),
                       (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"), (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
                       (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError")):
        assert refused(call, Bucket=bucket) == (code, 404)


def test_what_is_not_there_says_so(s3, bucket):
    assert refused(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})[0] == "NotImplemented"
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy="{}")[0] == "NotImplemented"
    assert refused(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": []})[0] == "NotImplemented"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="AES256")[0] == "NotImplemented"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER")[0] == "InvalidStorageClass"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"", GrantRead="id=x")[0] == "NotImplemented"
    assert refused(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)


def test_changes_of_a_bucket_at_once_all_hold(url, s3, bucket):
    import concurrent.futures
    rules = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(client(url).put_bucket_acl, Bucket=bucket, ACL="public-read") for _ in range(12)]
        jobs += [pool.submit(client(url).put_bucket_cors, Bucket=bucket, CORSConfiguration=rules)]
        jobs += [pool.submit(client(url).put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})]
        for job in jobs:
            job.result()
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules["CORSRules"]
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert any(grant["Grantee"]["Type"] == "Group" for grant in s3.get_bucket_acl(Bucket=bucket)["Grants"])


def test_tags_and_cors_of_a_bucket(s3, url, bucket):
    tags = [{"Key": "team", "Value": "birds + bées"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert refused(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "birds & bees"}]}) == ("InvalidTag", 400)
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    rules = [{"AllowedOrigins": ["https://*.example.org"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-*", "content-type"],
              "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    ask = {"Origin": "https://a.example.org", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-date, Content-Type"}
    answer = requests.options(f"{url}/{bucket}/k", headers=ask)
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == "https://a.example.org"
    assert answer.headers["Access-Control-Max-Age"] == "60"
    for change in ({"Origin": "https://example.com"}, {"Access-Control-Request-Method": "DELETE"}, {"Access-Control-Request-Headers": "x-other"}):
        answer = requests.options(f"{url}/{bucket}/k", headers={**ask, **change})
        assert answer.status_code == 403 and "<Code>AccessForbidden</Code>" in answer.text
    for change in ({"Origin": ""}, {"Access-Control-Request-Method": "get"}, {"Access-Control-Request-Headers": "x-date, a b"}):
        answer = requests.options(f"{url}/{bucket}/k", headers={**ask, **change})
        assert answer.status_code == 400 and "<Code>BadRequest</Code>" in answer.text
    for wrong in ({"AllowedHeaders": ["a b"]}, {"AllowedHeaders": ["x-*-*"]}, {"ExposeHeaders": ["*"]}):
        assert refused(s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": [{**rules[0], **wrong}]}) == ("InvalidRequest", 400)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    link = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert requests.get(link, headers={"Origin": "https://b.example.org"}).headers["Access-Control-Expose-Headers"] == "ETag"
    assert "Access-Control-Allow-Origin" not in requests.get(link, headers={"Origin": "https://evil.org"}).headers
    s3.delete_bucket_cors(Bucket=bucket)
    assert refused(s3.get_bucket_cors, Bucket=bucket)[0] == "NoSuchCORSConfiguration"


# ---- objects ----

@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20, (9 << 20) + 17])
def test_bytes_come_back_with_their_md5(s3, bucket, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key=f"k{size}", Body=data)
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key=f"k{size}")
    assert body(got) == data and got["ContentLength"] == size and got["ContentType"] == "binary/octet-stream"
    head = s3.head_object(Bucket=bucket, Key=f"k{size}")
    assert head["ContentLength"] == size and head["ETag"] == put["ETag"] and head["LastModified"] == got["LastModified"]
    assert abs(head["LastModified"].timestamp() - time.time()) < 60


KEYS = ["a", "a b", "a+b", "a%b", "a%20b", "ü/é/漢字", "tail/", "a//b", "/lead", "a/../b", ".", "..", "./x", "~!@#$^&*()_-=[]{};':\",<>?", "x" * 1024, "a\x01b\tc\nd", "A", "a\u008a"]


def test_keys_are_bytes(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in KEYS:
        assert body(s3.get_object(Bucket=bucket, Key=key)) == key.encode()
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(KEYS, key=str.encode)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in KEYS if "\x01" not in key]})
    assert "Errors" not in answer and len(answer["Deleted"]) == len(KEYS) - 1
    assert refused(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"")[0] == "KeyTooLongError"


def test_metadata_comes_back(s3, bucket):
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    given = {"ContentType": "text/x-bird", "CacheControl": "max-age=5", "ContentDisposition": 'attachment; filename="a b"', "ContentEncoding": "gzip",
             "ContentLanguage": "de", "Metadata": {"colour": "blue", "wing-span": "12 cm", "none": ""}}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=expires, **given)
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: answer[name] for name in given} == given and answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    told = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/plain", ResponseContentDisposition="inline", ResponseCacheControl="no-store")
    assert (told["ContentType"], told["ContentDisposition"], told["CacheControl"]) == ("text/plain", "inline", "no-store")
    s3.put_object(Bucket=bucket, Key="k", Body=b"y")
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048})[0] == "MetadataTooLarge"


def test_metadata_that_no_header_holds_is_refused(url, bucket):
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    request = botocore.awsrequest.AWSRequest("PUT", f"{url}/{bucket}/k", data=b"x", headers={"x-amz-meta-a": "b\x04c"})
    botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("main", "main-secret"), "s3", "us-east-1").add_auth(request)
    answer = requests.put(f"{url}/{bucket}/k", data=b"x", headers=dict(request.headers))
    assert answer.status_code == 400, answer.text


def test_ranges(s3, bucket):
    data = os.urandom(100_000)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for text, start, stop in (("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=99990-", 99990, 100000), ("bytes=-7", 99993, 100000), ("bytes=99999-200000", 99999, 100000)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert body(got) == data[start:stop] and got["ContentRange"] == f"bytes {start}-{stop - 1}/100000"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.head_object(Bucket=bucket, Key="k", Range="bytes=5-9")["ContentLength"] == 5
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range="bytes=100000-") == ("InvalidRange", 416)
    assert body(s3.get_object(Bucket=bucket, Key="k", Range="bytes=oh")) == data
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert refused(s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-") == ("InvalidRange", 416)


def test_conditions_of_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    now = datetime.datetime.now(datetime.timezone.utc)
    before, after = now - datetime.timedelta(days=1), now + datetime.timedelta(days=1)
    s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=before)
    s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"no"', IfModifiedSince=after)
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"') == ("PreconditionFailed", 412)
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfUnmodifiedSince=before) == ("PreconditionFailed", 412)
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag) == ("304", 304)
    assert refused(s3.head_object, Bucket=bucket, Key="k", IfModifiedSince=after) == ("304", 304)


def test_conditions_of_writes(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"no"') == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert body(s3.get_object(Bucket=bucket, Key="k")) == b"2"
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch=etag) == ("PreconditionFailed", 412)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])
    s3.delete_object(Bucket=bucket, Key="k")  # what is not there counts as deleted
    assert refused(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_one_of_many_creators_wins(url, s3, bucket):
    from concurrent.futures import ThreadPoolExecutor
    def create(n):
        try:
            client(url).put_object(Bucket=bucket, Key="one", Body=str(n).encode(), IfNoneMatch="*")
            return n
        except Exception:
            return None
    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(create, range(24)) if n is not None]
    assert len(winners) == 1 and body(s3.get_object(Bucket=bucket, Key="one")) == str(winners[0]).encode()


# ---- checksums ----

def test_wrong_checksums_are_refused(s3, bucket):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=wrong) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="no") == ("InvalidDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32="AAAAAA==") == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumSHA256="AAAA")[0] == "InvalidRequest"
    assert refused(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_an_owner_that_is_meant_must_be_ours(s3, bucket):
    owner = s3.list_buckets()["Owner"]["ID"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ExpectedBucketOwner=owner)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", ExpectedBucketOwner="111122223333") == ("AccessDenied", 403)
    assert refused(s3.delete_object, Bucket=bucket, Key="k", ExpectedBucketOwner="111122223333") == ("AccessDenied", 403)
    assert refused(s3.copy_object, Bucket=bucket, Key="l", CopySource=f"{bucket}/k", ExpectedSourceBucketOwner="111122223333") == ("AccessDenied", 403)
    assert s3.get_object(Bucket=bucket, Key="k", ExpectedBucketOwner=owner)["Body"].read() == b"x"


def test_the_algorithm_that_is_named_is_the_one_that_is_sent(url, bucket):
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    headers = {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "jNwWgw=="}  # of b"x"
    for change, status in (({}, 400), ({"x-amz-sdk-checksum-algorithm": "CRC32"}, 200)):
        request = botocore.awsrequest.AWSRequest("PUT", f"{url}/{bucket}/k", data=b"x", headers={**headers, **change})
        botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("main", "main-secret"), "s3", "us-east-1").add_auth(request)
        answer = requests.put(f"{url}/{bucket}/k", data=b"x", headers=dict(request.headers))
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_kept(s3, bucket, algorithm):
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt", reason="boto3 computes these only with awscrt")
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"some bytes", ChecksumAlgorithm=algorithm)
    name = "Checksum" + algorithm
    if algorithm == "CRC32":
        assert put[name] == base64.b64encode(zlib.crc32(b"some bytes").to_bytes(4, "big")).decode()
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == put[name]
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    assert s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])["Checksum"][name] == put[name]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")[name] == put[name]


# ---- listings ----

def test_listings_go_page_by_page(s3, bucket):
    keys = [f"{folder}/{n:02}" for folder in "abc" for n in range(7)] + ["top", "zoo"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for version in ("list_objects", "list_objects_v2"):
        for size in (1, 2, 3, 1000):
            pages = list(s3.get_paginator(version).paginate(Bucket=bucket, PaginationConfig={"PageSize": size}))
            assert [o["Key"] for page in pages for o in page.get("Contents", [])] == keys
            pages = list(s3.get_paginator(version).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}))
            assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/", "b/", "c/"]
            assert [o["Key"] for page in pages for o in page.get("Contents", [])] == ["top", "zoo"]
    page = s3.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter="b/04", MaxKeys=2, FetchOwner=True)
    assert [o["Key"] for o in page["Contents"]] == ["b/05", "b/06"] and not page["IsTruncated"] and page["KeyCount"] == 2 and page["Contents"][0]["Owner"]
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken="???")[0] == "InvalidArgument"
    versions = s3.list_object_versions(Bucket=bucket, Prefix="a/")["Versions"]
    assert [(v["Key"], v["VersionId"]) for v in versions] == [(k, "null") for k in keys if k.startswith("a/")]


# ---- copies, tags, ACLs, deletes ----

def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b", Body=b"x" * 100_000, Metadata={"m": "1"}, ContentType="text/x", Tagging="t=1")
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "a b"})["CopyObjectResult"]
    head = s3.head_object(Bucket=bucket, Key="c")
    assert head["Metadata"] == {"m": "1"} and head["ContentType"] == "text/x" and head["ETag"] == copied["ETag"] and head["TagCount"] == 1
    s3.copy_object(Bucket=bucket, Key="d", CopySource=f"/{bucket}/a b", MetadataDirective="REPLACE", Metadata={"n": "2"}, TaggingDirective="REPLACE", Tagging="u=2&v=3")
    head = s3.head_object(Bucket=bucket, Key="d")
    assert head["Metadata"] == {"n": "2"} and head["ContentType"] == "binary/octet-stream" and head["TagCount"] == 2
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/c")[0] == "InvalidRequest"
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/c", MetadataDirective="REPLACE", Metadata={"new": "y"})
    assert s3.head_object(Bucket=bucket, Key="c")["Metadata"] == {"new": "y"} and body(s3.get_object(Bucket=bucket, Key="c")) == b"x" * 100_000
    assert refused(s3.copy_object, Bucket=bucket, Key="e", CopySource=f"{bucket}/a b", CopySourceIfMatch='"no"')[0] == "PreconditionFailed"
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/d", IfNoneMatch="*")[0] == "PreconditionFailed"
    assert refused(s3.copy_object, Bucket=bucket, Key="e", CopySource=f"{bucket}/none") == ("NoSuchKey", 404)
    assert refused(s3.copy_object, Bucket=bucket, Key="e", CopySource="none-such/k") == ("NoSuchBucket", 404)


def test_tags_of_objects(s3, bucket):
    tags = [{"Key": "a b", "Value": "1+1=2"}, {"Key": "ü", "Value": ""}]
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"m": "1"})["ETag"]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ETag"] == etag and head["TagCount"] == 2 and head["Metadata"] == {"m": "1"}
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    many = {"TagSet": [{"Key": str(n), "Value": ""} for n in range(11)]}
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=many)[0] == "InvalidTag"
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": tags[:1] * 2})[0] == "InvalidTag"
    assert refused(s3.get_object_tagging, Bucket=bucket, Key="none") == ("NoSuchKey", 404)


def test_deleting_many(s3, bucket):
    for n in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{n}", Body=b"x")
    etag = s3.head_object(Bucket=bucket, Key="k0")["ETag"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k0", "ETag": etag}, {"Key": "k1", "ETag": '"no"'}, {"Key": "k2"}, {"Key": "none"}]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == ["k0", "k2", "none"] and answer["Errors"][0]["Code"] == "PreconditionFailed"
    answer = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [{"Key": "k3"}]})
    assert "Deleted" not in answer
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k1", "k4"]
    assert refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": str(n)} for n in range(1001)]})[0] == "MalformedXML"


def test_what_an_acl_makes_public_needs_no_signature(s3, url, bucket):
    s3.put_object(Bucket=bucket, Key="open", Body=b"hi", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="shut", Body=b"no")
    assert requests.get(f"{url}/{bucket}/open").text == "hi"
    for path in (f"{bucket}/shut", f"{bucket}/none", bucket, ""):
        assert requests.get(f"{url}/{path}").status_code == 403, path
    assert requests.put(f"{url}/{bucket}/x", data=b"").status_code == 403
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert "<Key>shut</Key>" in requests.get(f"{url}/{bucket}").text
    assert requests.get(f"{url}/{bucket}/shut").status_code == 403
    s3.put_object_acl(Bucket=bucket, Key="shut", ACL="public-read")
    assert requests.get(f"{url}/{bucket}/shut").text == "no"
    assert [g["Permission"] for g in s3.get_object_acl(Bucket=bucket, Key="shut")["Grants"]] == ["FULL_CONTROL", "READ"]
    assert requests.get(f"{url}/{bucket}/open?response-content-type=text/html").status_code == 400
    assert requests.delete(f"{url}/{bucket}/open").status_code == 403


# ---- who may what ----

def test_who_may_what(url, s3):
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="mine/a", Body=b"a")
    s3.put_object(Bucket="shared", Key="other", Body=b"b")
    reader, narrow = client(url, "reader"), client(url, "narrow")
    assert body(reader.get_object(Bucket="shared", Key="other")) == b"b"
    for call in (lambda c: c.put_object(Bucket="shared", Key="x", Body=b""), lambda c: c.delete_object(Bucket="shared", Key="other"),
                 lambda c: c.create_bucket(Bucket="new-one"), lambda c: c.delete_bucket(Bucket="shared")):
        assert refused(call, reader)[0] == "AccessDenied"
        assert refused(call, narrow)[0] == "AccessDenied"
    narrow.put_object(Bucket="shared", Key="mine/b", Body=b"x")
    assert [o["Key"] for o in narrow.list_objects_v2(Bucket="shared", Prefix="mine/")["Contents"]] == ["mine/a", "mine/b"]
    assert refused(narrow.list_objects_v2, Bucket="shared")[0] == "AccessDenied"
    assert refused(narrow.get_object, Bucket="shared", Key="other")[0] == "AccessDenied"
    assert refused(narrow.copy_object, Bucket="shared", Key="mine/c", CopySource="shared/other")[0] == "AccessDenied"
    assert narrow.delete_objects(Bucket="shared", Delete={"Objects": [{"Key": "other"}]})["Errors"][0]["Code"] == "AccessDenied"
    assert [b["Name"] for b in narrow.list_buckets()["Buckets"]] == ["shared"]
    assert refused(client(url, "nobody").list_buckets) == ("InvalidAccessKeyId", 403)
    assert refused(client(url, "main", "wrong").list_buckets) == ("SignatureDoesNotMatch", 403)


def test_the_lakes_own_bucket(server, url, s3):
    table = requests.post(server.url + "/v1/ingest?name=birds", data=b"id,name\n1,owl\n", headers={"Content-Type": "text/csv"})
    assert table.status_code == 200, table.text
    requests.put(server.url + "/v1/storage/put/docs/readme", data=b"read me").raise_for_status()
    assert body(s3.get_object(Bucket="lake", Key="docs/readme")) == b"read me"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="lake")["Contents"]]
    files = [key for key in keys if key.startswith("wh/")]
    assert files and "docs/readme" in keys and not [key for key in keys if key.startswith(("_lake", "_buckets"))]
    assert [p["Prefix"] for p in s3.list_objects_v2(Bucket="lake", Delimiter="/")["CommonPrefixes"]] == ["docs/", "wh/"]
    assert body(s3.get_object(Bucket="lake", Key=next(key for key in files if key.endswith(".parquet"))))[:4] == b"PAR1"
    for key in ("wh/x", "_lake/x", "_buckets/x", files[0]):
        assert refused(s3.put_object, Bucket="lake", Key=key, Body=b"")[0] == "AccessDenied"
        assert refused(s3.delete_object, Bucket="lake", Key=key)[0] == "AccessDenied"
    for key in ("_lake/format.json", "_lake/secret", "_buckets/a/b"):
        assert refused(s3.get_object, Bucket="lake", Key=key)[0] == "AccessDenied"
        assert refused(s3.copy_object, Bucket="lake", Key="k", CopySource="lake/" + key)[0] == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket="lake", Prefix="_lake/")[0] == "AccessDenied"
    tables = client(url, "tables")
    tables.put_object(Bucket="lake", Key="wh/mine/f.parquet", Body=b"x")
    assert refused(tables.put_object, Bucket="lake", Key="docs/x", Body=b"")[0] == "AccessDenied"
    tables.delete_object(Bucket="lake", Key="wh/mine/f.parquet")
    assert refused(s3.delete_bucket, Bucket="lake")[0] == "AccessDenied"


def test_a_folder_that_was_there_is_a_bucket(s3):
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="own-files")["Contents"]] == ["hello.txt", "sub/page.html"]
    assert body(s3.get_object(Bucket="own-files", Key="hello.txt")) == b"hello\n"
    etag = s3.head_object(Bucket="own-files", Key="hello.txt")["ETag"]
    assert body(s3.get_object(Bucket="own-files", Key="hello.txt", IfMatch=etag)) == b"hello\n"
    assert refused(s3.put_object, Bucket="own-files", Key="x", Body=b"")[0] == "AccessDenied"
    s3.copy_object(Bucket="own-open", Key="copied", CopySource="own-files/hello.txt")
    assert body(s3.get_object(Bucket="own-open", Key="copied")) == b"hello\n"


# ---- forms of requests ----

def test_presigned_requests(s3, bucket):
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    assert requests.put(put, data=b"by link").status_code == 200
    assert requests.get(get).content == b"by link"
    assert requests.put(get, data=b"x").status_code == 403
    assert requests.get(get.replace("X-Amz-Expires=60", "X-Amz-Expires=61")).status_code == 403
    late = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=1)
    time.sleep(2.1)
    answer = requests.get(late)
    assert answer.status_code == 403 and "<Code>AccessDenied</Code>" in answer.text


def test_a_link_is_for_what_was_signed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="secret", Body=b"not for them")
    link = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "theirs"})
    for name, value in (("x-amz-copy-source", f"{bucket}/secret"), ("x-amz-acl", "public-read"), ("x-amz-meta-a", "b")):
        answer = requests.put(link, data=b"", headers={name: value})
        assert answer.status_code == 403 and "<Code>AccessDenied</Code>" in answer.text
    assert refused(s3.head_object, Bucket=bucket, Key="theirs")[0] == "404"
    assert requests.put(link, data=b"x", headers={"Content-Type": "text/plain"}).status_code == 200


def test_what_is_wrong_with_a_request_is_told_before_its_bucket_is_looked_for(s3, url):
    at = {"Bucket": "no-such-bucket", "Key": "k"}
    assert refused(s3.get_object, **at, PartNumber=10001) == ("InvalidArgument", 400)
    assert refused(s3.get_object, **at, PartNumber=1, Range="bytes=0-1") == ("InvalidRequest", 400)
    assert refused(s3.copy_object, **at, CopySource="a/b", ChecksumAlgorithm="CRC65") == ("InvalidRequest", 400)
    assert refused(s3.upload_part, **at, UploadId="u", PartNumber=10001, Body=b"") == ("InvalidArgument", 400)
    assert refused(s3.get_object_attributes, **at, ObjectAttributes=["ETag", "Colour"]) == ("InvalidArgument", 400)
    assert refused(s3.get_object, **at) == ("NoSuchBucket", 404)
    for method, target, status, code in (("GET", "b/k?uploads", 400, "InvalidRequest"), ("GET", "b/k?versions", 400, "InvalidRequest"),
                                         ("PUT", "b/k?uploadId=u", 405, "MethodNotAllowed"), ("PUT", "b/k?partNumber=1", 400, "InvalidArgument")):
        answer = requests.request(method, f"{url}/{target}")
        assert (answer.status_code, f"<Code>{code}</Code>" in answer.text) == (status, True), answer.text
    answer = requests.get(f"{url}/b/k", headers={"x-amz-copy-source": "b/k"})
    assert answer.status_code == 400 and "<Code>InvalidArgument</Code>" in answer.text


def test_attributes_may_stand_in_several_headers(s3, url, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    request = botocore.awsrequest.AWSRequest("GET", f"{url}/{bucket}/k?attributes", headers={"x-amz-object-attributes": "ETag,ObjectSize"})
    botocore.auth.S3SigV4Auth(botocore.credentials.Credentials("main", "main-secret"), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.putrequest("GET", f"/{bucket}/k?attributes")
    for name, value in request.headers.items():
        for line in value.split(",") if name == "x-amz-object-attributes" else [value]:  # as Amazon's SDK for Go sends it
            connection.putheader(name, line)
    connection.endheaders()
    answer = connection.getresponse().read()
    assert b"<ObjectSize>5</ObjectSize>" in answer and b"<ETag>" in answer, answer
    connection.close()


def test_buckets_are_listed_in_pages(s3):
    names = [f"paged-{i}" for i in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    pages = list(s3.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 2}))
    assert [[b["Name"] for b in page["Buckets"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert {b["BucketRegion"] for page in pages for b in page["Buckets"]} == {"us-east-1"} and {page["Prefix"] for page in pages} == {"paged-"}
    assert s3.list_buckets(BucketRegion="eu-west-1").get("Buckets", []) == []
    whole = s3.list_buckets()
    assert set(names) < {b["Name"] for b in whole["Buckets"]} and "ContinuationToken" not in whole and "BucketRegion" not in whole["Buckets"][0]
    assert refused(s3.list_buckets, MaxBuckets=10001) == ("InvalidArgument", 400)
    assert refused(s3.list_buckets, ContinuationToken="!") == ("InvalidArgument", 400)
    for name in names:
        s3.delete_bucket(Bucket=name)


def test_a_bucket_is_made_with_its_tags(s3):
    tags = [{"Key": "team", "Value": "birds"}]
    assert refused(s3.create_bucket, Bucket="tagged", CreateBucketConfiguration={"Tags": tags * 2}) == ("InvalidTag", 400)
    assert refused(s3.head_bucket, Bucket="tagged")[0] == "404"
    s3.create_bucket(Bucket="tagged", CreateBucketConfiguration={"Tags": tags})
    assert s3.get_bucket_tagging(Bucket="tagged")["TagSet"] == tags
    s3.delete_bucket(Bucket="tagged")


def test_buckets_in_the_host(url, bucket):
    port = url.rsplit(":", 1)[1]
    hosted = client(f"http://s3.example.com:{port}", style="virtual")
    for method, operation, data in (("PUT", "put_object", b"x"), ("GET", "get_object", None)):
        link = urllib.parse.urlsplit(hosted.generate_presigned_url(operation, {"Bucket": bucket, "Key": "by/host"}))
        assert link.netloc == f"{bucket}.s3.example.com:{port}" and link.path == "/by/host"
        answer = requests.request(method, f"{url}{link.path}?{link.query}", data=data, headers={"Host": link.netloc})
        assert answer.status_code == 200, answer.text
    assert answer.content == b"x" and body(client(url).get_object(Bucket=bucket, Key="by/host")) == b"x"


@pytest.mark.parametrize("size", [1, 4096, 256 * 1024, 256 * 1024 + 1])
def test_a_body_that_comes_unasked_is_taken_or_refused_on_a_kept_connection(s3, url, bucket, size):
    def put(client, where):
        target = urllib.parse.urlsplit(client.generate_presigned_url("put_object", Params={"Bucket": where, "Key": "unasked"}))
        connection.request("PUT", f"{target.path}?{target.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    body, connection = os.urandom(size), http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.connect()
    socket = connection.sock
    for _ in range(2):
        status, text = put(s3, "there-is-none")
        assert status == 404 and b"NoSuchBucket" in text
        status, text = put(client(url, "reader"), bucket)
        assert status == 403 and b"AccessDenied" in text
        assert put(s3, bucket)[0] == 200
        assert s3.get_object(Bucket=bucket, Key="unasked")["Body"].read() == body
        s3.delete_object(Bucket=bucket, Key="unasked")
    assert size > 64 * 1024 or connection.sock is socket  # of a refused body, no more than that is waited for

    target = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "unasked"}))
    for whole in (False, True):  # in two pieces, of which the second may not come
        connection.putrequest("PUT", f"{target.path}?{target.query}")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        connection.send(body[:size // 2])
        if whole:
            connection.send(body[size // 2:])
            assert connection.getresponse().status == 200
        connection.close()
    assert s3.get_object(Bucket=bucket, Key="unasked")["Body"].read() == body



def test_the_old_signature_is_refused_by_name(s3, url, bucket):
    old = client(url, signature_version="s3").generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    answer = requests.get(old)
    assert answer.status_code == 400 and "AWS4-HMAC-SHA256" in answer.text


def test_a_body_that_is_not_as_signed_is_not_kept(s3, url, bucket):
    headers = signed(url, "PUT", f"/{bucket}/k", b"right")
    answer = requests.put(f"{url}/{bucket}/k", data=b"wrong", headers=headers)
    assert answer.status_code == 400 and "XAmzContentSHA256Mismatch" in answer.text
    assert refused(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)


def test_a_put_that_ends_early_leaves_nothing(s3, server, url, bucket):
    headers = signed(url, "PUT", f"/{bucket}/k", b"x" * 1000)
    with raw_http.Client(url) as wire:
        wire.send(f"PUT /{bucket}/k HTTP/1.1\r\nContent-Length: 1000\r\n", "".join(f"{k}: {v}\r\n" for k, v in headers.items()),
                  f"Host: {url[7:]}\r\n\r\n" if "Host" not in headers else "\r\n", "x" * 500)
    assert refused(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)
    end = time.monotonic() + 10
    while list((server.data / "_lake" / "tmp").iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert list((server.data / "_lake" / "tmp").iterdir()) == []


def test_clocks_that_differ_are_told(url):
    import botocore.auth
    wrong = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=16)
    headers = signed(url, "GET", "/")
    old = botocore.auth.get_current_datetime if hasattr(botocore.auth, "get_current_datetime") else None
    assert old is not None
    botocore.auth.get_current_datetime = lambda *_, **__: wrong.replace(tzinfo=None)
    try:
        headers = signed(url, "GET", "/")
    finally:
        botocore.auth.get_current_datetime = old
    answer = requests.get(url + "/", headers=headers)
    assert answer.status_code == 403 and "<Code>RequestTimeTooSkewed</Code>" in answer.text


def test_errors_are_xml_whoever_makes_them(url):
    answer = requests.get(url + "/none-such/key?acl")
    assert answer.status_code in (403, 404) and answer.headers["Content-Type"] == "application/xml"
    assert answer.headers["x-amz-request-id"]
    big = urllib3.PoolManager().request("GET", url + "/a", headers={"x-amz-meta-a": "x" * 60_000}, retries=False)
    assert big.status == 431 and b"<Error>" in big.data
    assert requests.request("PATCH", url + "/a/b").status_code in (403, 405)
