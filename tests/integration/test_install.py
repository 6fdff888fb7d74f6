"""What `make install` puts somewhere works from there, and needs nothing of the folder that it was built in."""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest
import requests
import urllib3
from conftest import build_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ["catalogd", "gateway", "ingestd", "queryd", "storaged", "vectord"]
FILES = sorted(["bin/lakehouse", *(f"bin/{name}" for name in SERVICES), "lib/lakehouse/libduckdb.so", "lib/lakehouse/libyyjson.so.0",
                "include/lakevec.h", "lib/liblakevec.a", "lib/liblakevec.so", "lib/liblakevec.so.0", "lib/pkgconfig/lakevec.pc",
                "lib/systemd/system/lakehouse.service", "libexec/lakehouse-engine", "share/bash-completion/completions/lakehouse",
                "share/man/man1/lakehouse.1", "share/zsh/site-functions/_lakehouse"])

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")


def make(tmp_path, *words):
    """As `sudo make install` after `make`: another home, so no libraries to build with; what is built gets installed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "LAKEHOUSE_", "MFLAGS"))}
    return subprocess.run(["make", "-C", ROOT, f"BUILD={build_folder()}", *map(str, words)], env={**env, "LAKEHOUSE_CACHE": str(tmp_path / "none")},
                          capture_output=True, text=True, timeout=120)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_an_installed_server_works_from_anywhere(tmp_path):
    prefix = tmp_path / "a prefix" / "of mine"
    flags = build_folder() / "flags"
    before = flags.read_bytes()
    installed = make(tmp_path, "install", f"DESTDIR={tmp_path / 'dest'}", "PREFIX=/usr")
    assert installed.returncode == 0, installed.stderr
    assert files_of(tmp_path / "dest/usr") == FILES and files_of(tmp_path / "dest") == [f"usr/{name}" for name in FILES]
    assert flags.read_bytes() == before  # the next `make` has nothing to do again
    prefix.parent.mkdir()
    (tmp_path / "dest/usr").rename(prefix)  # it may be moved, and its path may have spaces
    for name in FILES:
        assert (prefix / name).is_symlink() == (name.split("/")[-1] in [*SERVICES, "liblakevec.so"]), name

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {"PATH": f"{prefix / 'bin'}:/usr/bin:/bin"}
    server = subprocess.Popen(["lakehouse", "serve", "--listen", "127.0.0.1:0"], cwd=elsewhere, env=env, stderr=subprocess.PIPE, text=True)
    try:
        url = "http://" + json.loads(server.stderr.readline())["address"]
        (elsewhere / "birds.csv").write_text("a\n1\n2\n")
        run = {"cwd": elsewhere, "env": {**env, "LAKEHOUSE_SERVER": url}, "capture_output": True, "text": True, "timeout": 30}
        assert subprocess.run(["lakehouse", "ingest", "birds.csv"], **run).stdout.startswith("birds: 2 rows added")
        assert subprocess.run(["lakehouse", "sql", "SELECT sum(a) AS s FROM birds"], **run).stdout == "s\n3\n"
        assert requests.get(url + "/ready", timeout=10).status_code == 200
        children = pathlib.Path(f"/proc/{server.pid}/task").glob("*/children")
        engines = [pid for path in children for pid in path.read_text().split()]
        assert engines
        for pid in [str(server.pid), *engines]:
            mapped = set(re.findall(r"(/\S.*(?:lakehouse-engine|bin/lakehouse|libduckdb\.so|libyyjson\.so\S*))$",
                                    pathlib.Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE))
            assert mapped and all(path.startswith(str(prefix)) for path in mapped), mapped
        assert (elsewhere / "data/_lake/format.json").exists()  # ./data, where it was started
    finally:
        server.terminate()
        assert server.wait(20) == 0
        server.stderr.close()


def test_what_is_installed_beside_the_program_is_the_programs_own(tmp_path, lakehouse):
    assert make(tmp_path, "install", f"PREFIX={tmp_path / 'p'}").returncode == 0
    share = tmp_path / "p/share"
    for file, words in (("man/man1/lakehouse.1", ["reference", "man"]), ("bash-completion/completions/lakehouse", ["completion", "bash"]),
                        ("zsh/site-functions/_lakehouse", ["completion", "zsh"])):
        assert (share / file).read_text() == subprocess.run([lakehouse, *words], capture_output=True, text=True, timeout=30, check=True).stdout


def test_the_systemd_unit_is_right(tmp_path):
    """As systemd itself sees it: names, values, the program, the man page."""
    assert make(tmp_path, "install", f"DESTDIR={tmp_path / 'dest'}", "PREFIX=/opt/lake").returncode == 0
    packaged = (tmp_path / "dest/opt/lake/lib/systemd/system/lakehouse.service").read_text()
    assert "ExecStart=/opt/lake/bin/lakehouse serve\n" in packaged  # where it will be, not where it was put
    prefix = tmp_path / "p"
    assert make(tmp_path, "install", f"PREFIX={prefix}").returncode == 0
    unit = prefix / "lib/systemd/system/lakehouse.service"
    env = {"PATH": "/usr/bin:/bin", "MANPATH": str(prefix / "share/man"), "SYSTEMD_LOG_LEVEL": "info"}
    checked = subprocess.run(["systemd-analyze", "verify", "--man=yes", unit], capture_output=True, text=True, env=env, timeout=60)
    assert checked.returncode == 0 and "lakehouse.service" not in checked.stderr, checked.stderr
    unit.write_text(packaged.replace("OOMPolicy", "OomPolicy"))
    assert "OomPolicy" in subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, env=env, timeout=60).stderr


def test_the_units_settings_are_ones_that_the_program_takes(lakehouse):
    """%S and %C are systemd's own, the rest goes to the program as it stands."""
    text = (ROOT / "packaging/lakehouse.service").read_text()
    variables = dict(re.findall(r"^Environment=(\w+)=(\S+)$", text, re.MULTILINE))
    assert variables == {"LAKEHOUSE_STORAGED_DIR": "%S/lakehouse", "TMPDIR": "%C/lakehouse"}
    got = subprocess.run([lakehouse, "config", "--json"], capture_output=True, text=True, env={"LAKEHOUSE_STORAGED_DIR": "/var/lib/lakehouse"}, timeout=30)
    assert json.loads(got.stdout)["storaged"]["dir"] == {"value": "/var/lib/lakehouse", "source": "environment"}


def test_a_server_whose_engines_do_not_start_says_so(tmp_path):
    """Half an installation: it serves what needs no engine, is not ready, and a statement fails at once with the reason."""
    assert make(tmp_path, "install", f"PREFIX={tmp_path / 'p'}").returncode == 0
    (tmp_path / "p/lib/lakehouse/libduckdb.so").unlink()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen([tmp_path / "p/bin/lakehouse", "serve", "--data", tmp_path / "d", "--listen", address],
                              env={"PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL)
    try:
        failed = requests.Session()
        failed.mount("http://", requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(connect=1000, backoff_factor=0.01, backoff_max=0.05)))
        answer = failed.post(f"http://{address}/v1/sql", json={"sql": "SELECT 1"}, timeout=30)
        assert answer.status_code == 503 and "code 127" in answer.json()["error"]["message"], answer.text
        ready = requests.get(f"http://{address}/ready", timeout=10)
        assert ready.status_code == 503 and "code 127" in ready.json()["error"]["message"], ready.text
        assert requests.get(f"http://{address}/v1/catalog/list", timeout=10).status_code == 200
    finally:
        server.terminate()
        assert server.wait(20) == 0
    (tmp_path / "p/libexec/lakehouse-engine").unlink()
    refused = subprocess.run([tmp_path / "p/bin/lakehouse", "serve", "--data", tmp_path / "d", "--listen", address], capture_output=True, text=True,
                             timeout=20)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and "lakehouse-engine" in refused.stderr


def test_uninstall_takes_its_own_and_no_more(tmp_path):
    prefix = tmp_path / "p"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/other").write_text("somebody else's")
    assert make(tmp_path, "install", f"PREFIX={prefix}").returncode == 0
    assert files_of(prefix) == sorted([*FILES, "bin/other"])
    assert make(tmp_path, "uninstall", f"PREFIX={prefix}").returncode == 0
    assert files_of(prefix) == ["bin/other"] and not (prefix / "lib/lakehouse").exists()


def test_install_of_nothing_says_what_to_do(tmp_path):
    failed = make(tmp_path, "install", f"BUILD={tmp_path / 'empty'}", f"PREFIX={tmp_path / 'p'}")
    assert failed.returncode == 2 and "run make first" in failed.stderr
    assert not (tmp_path / "p").exists()


def test_make_help_lists_the_targets(tmp_path):
    text = make(tmp_path, "help").stdout
    for target in ("all", "demo", "install", "uninstall", "clean", "help", "unit", "test", "test-all", "bench", "fuzz", "tidy", "format"):
        assert re.search(rf"^  make {target} +\S", text, re.MULTILINE), target
