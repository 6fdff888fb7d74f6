"""Stores that speak S3, and a wire to them that misbehaves on purpose."""

import contextlib
import datetime
import ipaddress
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import time
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import pytest
from conftest import free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from raw_http import Service

ACCESS_KEY, SECRET_KEY, BUCKET = "lakehouse-test", "lakehouse-test-secret", "lake"
START_SECONDS_MAX = 60


class Store:
    """A running S3 store with an empty bucket `lake`."""

    def __init__(self, url, traits=(), ca_file=None):
        self.url = url
        self.ca_file = ca_file
        self.traits = {name: "1" for name in traits}  # what tests/unit/store/test_s3_contract.c is told of it
        self.client = boto3.client("s3", endpoint_url=url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1", verify=ca_file,
                                   config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))

    def flags(self, prefix="", url=None):
        return ["--storaged.backend", "s3", "--s3.endpoint", url or self.url, "--s3.bucket", BUCKET, "--s3.prefix", prefix,
                "--s3.access_key", ACCESS_KEY, "--s3.secret_key", SECRET_KEY]

    def environment(self):
        """For build/tests/store/test_s3_contract."""
        return {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "STDOUT", "S3_ENDPOINT": self.url, "S3_BUCKET": BUCKET, "S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY,
                **self.traits}

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def uploads(self, prefix):
        """Those below a prefix: the contract leaves what a crash does."""
        return [upload for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) if upload["Key"].startswith(prefix)]


@contextlib.contextmanager
def running(command, port, log, env=None, traits=(), ca_file=None):
    """A store's process from its start to its end."""
    with open(log, "w") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={**os.environ, **(env or {})})
    try:
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            assert process.poll() is None and time.monotonic() < end, pathlib.Path(log).read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        store = Store(f"{'https' if ca_file else 'http'}://127.0.0.1:{port}", traits, ca_file)
        while True:
            try:
                store.client.create_bucket(Bucket=BUCKET)
                break
            except botocore.exceptions.ClientError as error:  # MinIO answers 503 while it starts
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503 and time.monotonic() < end, error
                time.sleep(0.1)
        yield store
    finally:
        process.terminate()
        process.wait(30)


def certificates(folder, name="ca"):
    """A CA of our own and a certificate for 127.0.0.1: folder/{name}.pem, folder/public.crt, folder/private.key."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def issue(subject, key, issuer, issuer_key, *extensions):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=7))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name} of a test")])
    (folder / f"{name}.pem").write_bytes(issue(ca_name, ca_key, ca_name, ca_key, (x509.BasicConstraints(ca=True, path_length=None), True)))
    (folder / "public.crt").write_bytes(issue(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")]), key, ca_name, ca_key, (
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)))
    (folder / "private.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                                           serialization.NoEncryption()))
    return folder / f"{name}.pem"


def moto(folder, tls=False):
    """The store of `make test`: objects in memory, S3's answers."""
    port = free_port()
    ca_file = certificates(folder) if tls else None
    more = ["-s", "-c", folder / "public.crt", "-k", folder / "private.key"] if tls else []
    return running([sys.executable, pathlib.Path(__file__).with_name("moto_alone.py"), "-H", "127.0.0.1", "-p", str(port), *more], port, folder / "moto.log", ca_file=ca_file)


def peer(name):
    folder = os.environ.get("LAKEHOUSE_PEERS")
    assert folder, "LAKEHOUSE_PEERS is not set: make test-all does it, or say LAKEHOUSE_PEERS=$(./bootstrap --env s3-peers)"
    return pathlib.Path(folder) / name


def minio(folder, tls=False):
    """The real one: objects as folders of a file system, and a DELETE that does not look at If-Match."""
    port = free_port()
    env = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off", "MINIO_DOMAIN": "localhost"}
    certs = folder / "certs"
    certs.mkdir()
    ca_file = certificates(certs) if tls else None
    return running([peer("minio"), "server", "--quiet", "--certs-dir", certs, "--address", f"127.0.0.1:{port}", folder / "minio"], port,
                   folder / "minio.log", env, ("S3_TREE", "S3_NO_DELETE_IF"), ca_file)


def versitygw(folder):
    """S3 before a plain folder."""
    port = free_port()
    (folder / "versitygw").mkdir()
    return running([peer("versitygw"), "--port", f"127.0.0.1:{port}", "posix", folder / "versitygw"], port, folder / "versitygw.log",
                   {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}, ("S3_TREE",))


STORES = {"moto": moto, "minio": minio, "versitygw": versitygw}


class BadWire(Service):
    """A proxy that passes each request on, on a connection of its own, and now and then harms one.

    fault(line) decides by the request's first line what happens to it:
        None         passed on
        "refuse"     the connection is closed before the store sees anything
        "lose"       the store gets it and answers; the client gets nothing
        "late"       as lose, and the store gets it only after the client's connection was closed
        "twice"      the store gets it twice; the client gets the second answer
        "hang"       neither gets anything, and the connection stays open until the client closes it
    then(line) is called when the store has answered, before the client hears of it.
    Headers whose names are in `deaf` do not reach the store with a write; what is left is signed again.
    """

    def __init__(self, url, fault=lambda line: None, deaf=(), then=lambda line: None):
        super().__init__(self.pass_on)
        place = urllib.parse.urlsplit(url)
        self.target = (place.hostname, place.port)
        self.fault = fault
        self.then = then
        self.dropped = ("connection", "expect")
        self.deaf = deaf
        self.harmed = []

    def pass_on(self, wire, _):
        with contextlib.suppress(OSError):  # whoever leaves early is not what is tried here
            request = self.take(wire)
            if request is None:
                return
            fault = self.fault(request[0])
            if fault:
                self.harmed.append((fault, request[0]))
            if fault == "refuse":
                return
            if fault == "hang":
                wire.sock.settimeout(None)
                wire.sock.recv(1)
                return
            if fault == "late":
                wire.sock.close()
                time.sleep(random.uniform(0.01, 0.3))
            answer = self.ask(*request)
            if fault == "twice":
                answer = self.ask(*request)
            self.then(request[0])
            if fault not in ("lose", "late"):
                wire.send(answer)

    def sign(self, line, headers, body):
        method, target, _ = line.split(" ")
        kept = {name: value for name, value in headers if name not in (*self.deaf, *self.dropped, "authorization", "host", "x-amz-date")}
        request = botocore.awsrequest.AWSRequest(method, "http://%s:%d%s" % (*self.target, target), kept, body)
        botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
        return [("host", "%s:%d" % self.target), *((name.lower(), value) for name, value in request.headers.items())]

    def ask(self, line, headers, body):
        """The store's answer, whole."""
        deaf = self.deaf and not line.startswith(("GET", "HEAD"))
        headers = self.sign(line, headers, body) if deaf else headers
        lines = [line, *(f"{name}: {value}" for name, value in headers if name not in self.dropped), "connection: close", "", ""]
        with socket.create_connection(self.target, 60) as store:
            store.sendall("\r\n".join(lines).encode("latin-1") + body)
            answer = b""
            while piece := store.recv(1 << 20):
                answer += piece
        return answer


# ---- fixtures, for tests that run on each store: `from s3_peers import prefix, store` ----

@pytest.fixture(scope="module", params=["moto", pytest.param("minio", marks=pytest.mark.slow), pytest.param("versitygw", marks=pytest.mark.slow)])
def store(request, tmp_path_factory):
    """Moto; where slow tests run, MinIO and versitygw as well."""
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def prefix(request):
    """A place of the test's own in the bucket."""
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower())
