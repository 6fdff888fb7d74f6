#!/usr/bin/env python3
"""Make what the unit tests of src/aws are compared with, by other implementations:

    checksums.txt    checksums of the pattern that test_checksum.c makes, by awscrt and hashlib
    requests.txt     signed requests, by boto3, botocore and awscrt (make_requests.py)

    python3 tests/unit/aws/make_fixtures.py [FOLDER]     (default: where this file lies)

Run it with the interpreter of `./bootstrap --env test`. The same versions make the same bytes, which
tests/integration/test_aws_fixtures.py holds this folder to.
"""

import base64
import hashlib
import pathlib
import sys

import awscrt.checksums

import make_requests

HERE = pathlib.Path(__file__).resolve().parent
LENGTHS = [*range(0, 130), 255, 256, 257, 1000, 3071, 3072, 3073, 4096, 65536, 100003]


def pattern(length):
    """As pattern() of test_checksum.c."""
    out = bytearray()
    x = 1
    for _ in range(length):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(x >> 24)
    return bytes(out)


CHECKSUMS = {
    "crc32": lambda data: awscrt.checksums.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: awscrt.checksums.crc32c(data).to_bytes(4, "big"),
    "crc64nvme": lambda data: awscrt.checksums.crc64nvme(data).to_bytes(8, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def checksums():
    lines = ["# Made by make_fixtures.py: checksum, bytes of the pattern, base64 of the checksum."]
    whole = pattern(max(LENGTHS))
    for name, compute in CHECKSUMS.items():
        for length in LENGTHS:
            lines.append(f"{name} {length} {base64.b64encode(compute(whole[:length])).decode()}")
    return "\n".join(lines) + "\n"


FILES = {"checksums.txt": checksums, "requests.txt": make_requests.requests}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, make in FILES.items():
        (folder / name).write_text(make())


if __name__ == "__main__":
    main()
