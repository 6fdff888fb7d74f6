"""A server with the S3 API open, and boto3 clients of it."""

import json

import boto3
import botocore.config
import botocore.exceptions
import pytest

KEYS = """
[[s3api.keys]]
access_key = "main"
secret_key = "main-secret"

[[s3api.keys]]
access_key = "reader"
secret_key = "reader-secret"
rights = "ro"

[[s3api.keys]]
access_key = "narrow"
secret_key = "narrow-secret"
prefix = "shared/mine/"

[[s3api.keys]]
access_key = "tables"
secret_key = "tables-secret"
prefix = "lake/wh/"
"""


def settings_file(folder, more=""):
    path = folder / "lakehouse.toml"
    path.write_text(KEYS + more)
    return path


def s3_url(server):
    for line in server.lines:
        entry = json.loads(line)
        if entry.get("event") == "listening":
            return "http://" + entry["s3_address"]
    raise AssertionError(server.log())


def client(url, key="main", secret=None, style="path", **config):
    options = {"signature_version": "s3v4", "s3": {"addressing_style": style}, "retries": {"max_attempts": 1}, **config}
    return boto3.client("s3", endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret or key + "-secret", region_name="us-east-1",
                        config=botocore.config.Config(**options))


def refused(call, *args, **kwargs):
    """(code, status) of the error that a call must end with."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
