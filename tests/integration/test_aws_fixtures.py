"""The unit tests of src/aws read files that other implementations made; these are what the pinned versions make."""

import pathlib
import subprocess
import sys

import pytest

UNIT = pathlib.Path(__file__).resolve().parent.parent / "unit" / "aws"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fixtures")
    subprocess.run([sys.executable, UNIT / "make_fixtures.py", folder], check=True, timeout=60)
    return folder


@pytest.mark.parametrize("name", ["checksums.txt", "requests.txt"])
def test_the_pinned_versions_make_the_same_file(made, name):
    assert (made / name).read_text() == (UNIT / name).read_text()
