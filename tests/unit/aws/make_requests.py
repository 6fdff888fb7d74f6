"""Requests as boto3, botocore and awscrt sign them, for test_requests.c; see make_fixtures.py.

Nothing is sent: a request is taken at the last moment before it would be. The clock stands at NOW, and what
differs from run to run or from machine to machine and is not signed (User-Agent) is left out. One record:

    case NAME
    target METHOD TARGET
    header NAME: <VALUE>     each
    body HEX                 if it has one
    end
"""

import datetime
import io
import unittest.mock
import urllib.parse
import uuid

import awscrt.auth
import awscrt.http
import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.endpoint

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)
ACCESS, SECRET, REGION = "AKIDEXAMPLE/+=", "a secret/with+signs=", "eu-west-7"
KEYS = ["plain", "a b", " lead and trail ", "plus+sign", "100%", "%2F%25", "\u00fcber/\u65e5\u672c\u8a9e/\U0001f600", "a//b", "//", "./x/../y",
        ".", "dir/", "~tilde'()*!", "q?x=1&y#z", "semi;colon:@,$=", "back\\slash", "quote\"<>^`{|}", "a\tb", "x" * 300]
CHECKSUMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


class Taken(Exception):
    """Stands for the answer that never comes."""


def record(name, method, url, headers, body):
    parts = urllib.parse.urlsplit(url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    lines = [f"case {name}", f"target {method} {target}"]
    if not any(key.lower() == "host" for key, _ in headers):
        lines.append(f"header Host: <{parts.netloc}>")
    for key, value in headers:
        value = value.decode() if isinstance(value, bytes) else str(value)
        if key.lower() != "user-agent":
            lines.append(f"header {key}: <{value}>")
    if body:
        lines.append(f"body {body.hex()}")
    return "\n".join([*lines, "end", ""])


def client(scheme="http", token=None, **config):
    return boto3.client("s3", endpoint_url=f"{scheme}://localhost:3120", region_name=REGION, aws_access_key_id=ACCESS,
                        aws_secret_access_key=SECRET, aws_session_token=token,
                        config=botocore.config.Config(signature_version="s3v4", retries={"max_attempts": 0}, s3={"addressing_style": "path"}, **config))


def take(s3, name, operation, **parameters):
    """What the client would send."""
    found = []

    def keep(request, **_):
        body = request.body.read() if hasattr(request.body, "read") else request.body
        found.append(record(name, request.method, request.url, list(request.headers.items()), body))
        raise Taken

    s3.meta.events.register("before-send.s3", keep)
    try:
        getattr(s3, operation)(**parameters)
    except Taken:
        pass
    s3.meta.events.unregister("before-send.s3", keep)
    return found[0]


def of_boto3():
    s3 = client()
    for number, key in enumerate(KEYS):
        yield take(s3, f"get key {number}", "get_object", Bucket="bucket", Key=key)
        yield take(s3, f"list prefix {number}", "list_objects_v2", Bucket="bucket", Prefix=key, Delimiter="", StartAfter=key)
        yield take(s3, f"copy source {number}", "copy_object", Bucket="bucket", Key="to", CopySource={"Bucket": "bucket", "Key": key})
    yield take(s3, "list buckets", "list_buckets")
    yield take(s3, "location", "get_bucket_location", Bucket="bucket")
    yield take(s3, "list with encoding", "list_objects", Bucket="bucket", EncodingType="url", Marker="a&b=c", MaxKeys=0)
    yield take(s3, "range and overrides", "get_object", Bucket="bucket", Key="k", Range="bytes=0-9", ResponseContentType="text/plain; charset=\u00fc",
               ResponseContentDisposition="attachment; filename=\"a b+c.txt\"", IfNoneMatch="\"x\"", ChecksumMode="ENABLED")
    yield take(s3, "metadata with inner spaces", "put_object", Bucket="bucket", Key="k", Body=b"data", ContentType="text/plain",
               Metadata={"spaces": "  two   or  three ", "empty": "", "comma": "a,  b"})
    yield take(s3, "delete many", "delete_objects", Bucket="bucket", Delete={"Objects": [{"Key": "a&b"}, {"Key": "c"}], "Quiet": True})
    yield take(s3, "empty body", "put_object", Bucket="bucket", Key="k", Body=b"")
    yield take(client(token="a+token/with=signs"), "session token", "head_object", Bucket="bucket", Key="k")


def of_boto3_streams():
    """Over https boto3 sends checksums behind the body."""
    s3 = client("https")
    for algorithm in CHECKSUMS:
        yield take(s3, f"stream {algorithm}", "put_object", Bucket="bucket", Key="k", Body=b"of " + algorithm.encode() * 9, ChecksumAlgorithm=algorithm)
        yield take(s3, f"stream nothing {algorithm}", "put_object", Bucket="bucket", Key="k", Body=io.BytesIO(b""), ChecksumAlgorithm=algorithm)
    yield take(s3, "stream part", "upload_part", Bucket="bucket", Key="k", UploadId="an id", PartNumber=7, Body=bytes(range(256)))


def of_boto3_presigned():
    s3 = client()
    for number, key in enumerate(KEYS):
        url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": key, "ResponseContentType": key.strip()}, ExpiresIn=60)
        yield record(f"presigned get {number}", "GET", url, [], None)
    url = s3.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "k", "ContentType": "text/plain", "Metadata": {"a": "b  c"}}, ExpiresIn=604800)
    yield record("presigned put", "PUT", url, [("Content-Type", "text/plain"), ("x-amz-meta-a", "b  c")], None)
    url = client(token="a+token/with=signs").generate_presigned_url("list_objects_v2", {"Bucket": "bucket", "Prefix": "", "Delimiter": "/"})
    yield record("presigned with token", "GET", url, [], None)


def of_botocore():
    """What no operation of boto3 sends."""
    credentials = botocore.credentials.Credentials(ACCESS, SECRET)
    targets = ["/b/k?acl", "/b/k?acl=", "/b?prefix=&delimiter=%2F&max-keys=2", "/b?b=2&a=2&a=1&A=3", "/b?a=%20b%2B", "/b?x-id=GetObject&%C3%BC=%C3%BC",
               "//b//k", "/b/./k/../l", "/"]
    for signer in (botocore.auth.S3SigV4Auth, botocore.auth.S3SigV4QueryAuth):
        for number, target in enumerate(targets):
            request = botocore.awsrequest.AWSRequest("GET", "http://localhost:3120" + target)
            for name, value in [("X-Amz-Meta-Twice", "first"), ("X-Amz-Meta-Twice", "second   one"), ("X-Amz-Meta-Ab", ""), ("Range", "bytes=0-")]:
                request.headers.add_header(name, value)
            signer(credentials, "s3", REGION).add_auth(request)
            yield record(f"{signer.__name__} {number}", "GET", request.url, list(request.headers.items()), None)


def of_botocore_with_date():
    """A request that has a Date gets it in the form of HTTP, and no X-Amz-Date."""
    request = botocore.awsrequest.AWSRequest("GET", "http://localhost:3120/b/k", headers={"Date": ""})
    botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS, SECRET), "s3", REGION).add_auth(request)
    yield record("date of HTTP", "GET", request.url, list(request.headers.items()), None)


def of_awscrt():
    kinds = {"header": awscrt.auth.AwsSignatureType.HTTP_REQUEST_HEADERS, "query": awscrt.auth.AwsSignatureType.HTTP_REQUEST_QUERY_PARAMS}
    for kind, signature in kinds.items():
        for number, key in enumerate(KEYS):
            path = "/bucket/" + urllib.parse.quote(key, safe="/~") + "?versionId=&a%20b=" + urllib.parse.quote(key, safe="")
            headers = awscrt.http.HttpHeaders([("Host", "localhost:3120"), ("x-amz-meta-b", "2   b"), ("X-Amz-Meta-A", "one")])
            request = awscrt.http.HttpRequest("GET", path, headers)
            awscrt.auth.aws_sign_request(request, awscrt.auth.AwsSigningConfig(
                algorithm=awscrt.auth.AwsSigningAlgorithm.V4, signature_type=signature, region=REGION, service="s3",
                credentials_provider=awscrt.auth.AwsCredentialsProvider.new_static(ACCESS, SECRET),
                date=NOW.replace(tzinfo=datetime.timezone.utc), use_double_uri_encode=False, should_normalize_uri_path=False,
                signed_body_value="UNSIGNED-PAYLOAD", expiration_in_seconds=60 if kind == "query" else None,
                signed_body_header_type=(awscrt.auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256 if kind == "header"
                                         else awscrt.auth.AwsSignedBodyHeaderType.NONE))).result(timeout=30)
            yield record(f"awscrt {kind} {number}", "GET", "http://localhost:3120" + request.path, list(request.headers), None)


def requests():
    # Beside awscrt, botocore would leave all signing to it, with the machine's clock.
    own = {"s3v4": botocore.auth.S3SigV4Auth, "s3v4-query": botocore.auth.S3SigV4QueryAuth}
    with unittest.mock.patch.dict(botocore.auth.AUTH_TYPE_MAPS, own), \
            unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: NOW), \
            unittest.mock.patch.object(uuid, "uuid4", lambda: "00000000-0000-4000-8000-000000000000"):
        made = [entry for make in (of_boto3, of_boto3_streams, of_boto3_presigned, of_botocore, of_botocore_with_date, of_awscrt) for entry in make()]
    return "# Made by make_requests.py; the clock stands at 2026-01-02T03:04:05Z.\n" + "".join(made)
