"""The vector library as a stranger has it: installed, by its header and its pkg-config file alone."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import build_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/vector"

pytestmark = pytest.mark.skipif(not (build_folder() / "lib/liblakevec.so.0").exists(), reason="a build with sanitizers has no library")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """What `make install` puts there of the library; the rest has tests of its own."""
    prefix = tmp_path_factory.mktemp("prefix") / "p"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "LAKEHOUSE_", "MFLAGS"))}
    subprocess.run(["make", "-C", ROOT, f"BUILD={build_folder()}", "install", f"PREFIX={prefix}"], env={**env, "LAKEHOUSE_CACHE": str(prefix / "none")},
                   capture_output=True, timeout=120, check=True)
    return prefix


def compile_(prefix, tmp_path, *words):
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *[word for word in words if word == "--static"], "lakevec"], text=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}, capture_output=True, timeout=30, check=True).stdout.split()
    if "--static" in words:
        flags = [str(prefix / "lib/liblakevec.a") if flag == "-llakevec" else flag for flag in flags]
    done = subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "nearest", EXAMPLES / "nearest.c", *flags,
                           f"-Wl,-rpath,{prefix / 'lib'}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return tmp_path / "nearest"


@pytest.mark.skipif(shutil.which("pkg-config") is None or shutil.which("gcc") is None, reason="gcc or pkg-config is not here")
@pytest.mark.parametrize("words", [[], ["--static"]], ids=["shared", "static"])
def test_the_example_in_c_runs(prefix, tmp_path, words):
    program = compile_(prefix, tmp_path, *words)
    needed = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, timeout=30, check=True).stdout
    assert ("liblakevec.so.0" in needed) == (not words)
    folder = tmp_path / "saved"
    folder.mkdir()
    lines = subprocess.run([program, folder], capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["nearest", "without the first", "loaded"]
    assert lines[0].startswith("nearest: 4321 (0.0") and " 4321 " not in lines[1]
    assert lines[2].split(": ")[1] == lines[0].split(": ")[1]
    again = subprocess.run([program, folder], capture_output=True, text=True, timeout=120, check=True)
    assert again.stdout.splitlines() == lines


def test_the_example_in_python_runs(prefix):
    done = subprocess.run([sys.executable, EXAMPLES / "nearest.py"], env={**os.environ, "LAKEVEC": str(prefix / "lib/liblakevec.so.0")},
                          capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "nearest: 77\nloaded: 77\n"), done.stderr


def symbols(*words):
    out = subprocess.run(["nm", *map(str, words)], capture_output=True, text=True, timeout=30, check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if line and not line.endswith(":")}


def test_the_library_offers_what_its_header_declares_and_no_more(prefix):
    header = (prefix / "include/lakevec.h").read_text()
    declared = set(re.findall(r"^(?:VEC_MUST_USE )?(?:enum vec_status|void|uint32_t|double) (vec_\w+)\(", header, re.MULTILINE))
    assert {"vec_new", "vec_search", "vec_free", "vec_snapshot_chunks", "vec_load", "vec_compact"} <= declared
    assert symbols("-D", "--defined-only", prefix / "lib/liblakevec.so.0") == declared
    assert symbols("-g", "--defined-only", prefix / "lib/liblakevec.a") == declared
    dynamic = subprocess.run(["readelf", "-d", prefix / "lib/liblakevec.so.0"], capture_output=True, text=True, timeout=30, check=True).stdout
    assert re.search(r"SONAME.*\[liblakevec\.so\.0\]", dynamic)
    assert set(re.findall(r"NEEDED.*\[(.*)\]", dynamic)) <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not here")
@pytest.mark.parametrize("command", [["gcc", "-std=c99", "-xc"], ["gcc", "-std=c2x", "-xc"], ["g++", "-std=c++17", "-xc++"]], ids=lambda words: words[1])
def test_the_header_needs_nothing_else(prefix, tmp_path, command):
    (tmp_path / "a.c").write_text("#include <lakevec.h>\nint main(void) { return vec_new(0, 0, 0) == VEC_E_INVALID ? VEC_OK : 1; }\n")
    done = subprocess.run([*command, "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{prefix / 'include'}", "-fsyntax-only", tmp_path / "a.c"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^#define (\w+)", (prefix / "include/lakevec.h").read_text(), re.MULTILINE)
    assert all(name.startswith(("VEC_", "VECTOR_LAKEVEC_H")) for name in names), names
