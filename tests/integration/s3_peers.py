"""Stores that speak S3, and a wire to them that misbehaves on purpose."""

import contextlib
import os
import pathlib
import random
import socket
import subprocess
import sys
import time
import urllib.parse

import boto3
import botocore.config
from conftest import free_port
from raw_http import Service

ACCESS_KEY, SECRET_KEY, BUCKET = "lakehouse-test", "lakehouse-test-secret", "lake"
START_SECONDS_MAX = 60


class Store:
    """A running S3 store with an empty bucket `lake`."""

    def __init__(self, url):
        self.url = url
        self.client = boto3.client("s3", endpoint_url=url, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name="us-east-1",
                                   config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))

    def flags(self, prefix="", url=None):
        return ["--storaged.backend", "s3", "--s3.endpoint", url or self.url, "--s3.bucket", BUCKET, "--s3.prefix", prefix,
                "--s3.access_key", ACCESS_KEY, "--s3.secret_key", SECRET_KEY]

    def environment(self):
        """For build/tests/store/test_s3_contract."""
        return {**os.environ, "CMOCKA_MESSAGE_OUTPUT": "STDOUT", "S3_ENDPOINT": self.url, "S3_BUCKET": BUCKET, "S3_ACCESS_KEY": ACCESS_KEY, "S3_SECRET_KEY": SECRET_KEY}

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@contextlib.contextmanager
def running(command, port, log, env=None):
    """A store's process from its start until it answers."""
    with open(log, "w") as sink:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={**os.environ, **(env or {})})
    try:
        end = time.monotonic() + START_SECONDS_MAX
        while True:
            assert process.poll() is None and time.monotonic() < end, pathlib.Path(log).read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        store = Store(f"http://127.0.0.1:{port}")
        store.client.create_bucket(Bucket=BUCKET)
        yield store
    finally:
        process.terminate()
        process.wait(30)


def moto(folder):
    """The store of `make test`: objects in memory, S3's answers."""
    port = free_port()
    program = pathlib.Path(sys.executable).parent / "moto_server"
    return running([program, "-H", "127.0.0.1", "-p", str(port)], port, folder / "moto.log")


class BadWire(Service):
    """A proxy that passes each request on, on a connection of its own, and now and then harms one.

    fault(line) decides by the request's first line what happens to it:
        None         passed on
        "refuse"     the connection is closed before the store sees anything
        "lose"       the store gets it and answers; the client gets nothing
        "late"       as lose, and the store gets it only after the client's connection was closed
        "twice"      the store gets it twice; the client gets the second answer
    Headers whose names are in `deaf` do not reach the store.
    """

    def __init__(self, url, fault=lambda line: None, deaf=()):
        super().__init__(self.pass_on)
        place = urllib.parse.urlsplit(url)
        self.target = (place.hostname, place.port)
        self.fault = fault
        self.dropped = ("connection", "expect", *deaf)
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
            if fault == "late":
                wire.sock.close()
                time.sleep(random.uniform(0.01, 0.3))
            answer = self.ask(*request)
            if fault == "twice":
                answer = self.ask(*request)
            if fault not in ("lose", "late"):
                wire.send(answer)

    def ask(self, line, headers, body):
        """The store's answer, whole."""
        lines = [line, *(f"{name}: {value}" for name, value in headers if name not in self.dropped), "connection: close", "", ""]
        with socket.create_connection(self.target, 60) as store:
            store.sendall("\r\n".join(lines).encode("latin-1") + body)
            answer = b""
            while piece := store.recv(1 << 20):
                answer += piece
        return answer
