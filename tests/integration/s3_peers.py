"""Stores that speak S3, and a wire to them that misbehaves on purpose."""

import contextlib
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import botocore.config

ACCESS_KEY, SECRET_KEY, BUCKET = "lakehouse-test", "lakehouse-test-secret", "lake"
START_SECONDS_MAX = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


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


class Wire:
    """A proxy on a port of its own that passes requests on, one connection each way, and now and then harms one.

    fault(head) decides by the request's head what happens to it:
        None         passed on
        "refuse"     the connection is closed before the store sees anything
        "lose"       the store gets it and answers; the client gets nothing
        "late"       as lose, and the store gets it only after the client's connection was closed
        "twice"      the store gets it twice; the client gets the second answer
    """

    def __init__(self, url, fault):
        place = urllib.parse.urlsplit(url)
        self.target = (place.hostname, place.port)
        self.fault = fault
        self.harmed = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _request(self, client, pending):
        """(head, body) of the next request, and what came behind it; None at the end of the connection."""
        while b"\r\n\r\n" not in pending:
            piece = client.recv(65536)
            if not piece:
                return None
            pending += piece
        head, _, rest = pending.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if b"expect: 100-continue" in lines:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        while len(rest) < length:
            piece = client.recv(1 << 20)
            if not piece:
                return None
            rest += piece
        return head, rest[:length], rest[length:]

    def _ask(self, head, body):
        """One request on a connection of its own; the answer, whole."""
        head = b"\r\n".join([line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")] + [b"Connection: close"])
        with socket.create_connection(self.target, 60) as store:
            store.sendall(head + b"\r\n\r\n" + body)
            answer = b""
            while piece := store.recv(1 << 20):
                answer += piece
        return answer

    def _serve(self, client):
        with client:
            try:
                request = self._request(client, b"")
                if request is None:
                    return
                head, body, _ = request
                fault = self.fault(head)
                if fault:
                    self.harmed.append((fault, head.split(b"\r\n")[0].decode()))
                if fault == "refuse":
                    return
                if fault == "late":
                    client.close()
                    time.sleep(random.uniform(0.01, 0.3))
                answer = self._ask(head, body)
                if fault == "twice":
                    answer = self._ask(head, body)
                if fault not in ("lose", "late"):
                    client.sendall(answer)
            except OSError:
                pass
