"""`lakehouse doctor`: a lake that is well, and each way in which one can be ill."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import requests
from cli_kit import Shell, shell  # noqa: F401 (a fixture)
from s3_api import client, s3_url, settings_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.folder("looks into the folder; test_s3_store.py has a bucket")


@pytest.fixture
def folder(lakehouse, serve):
    """A lake at rest: three tables, one of them with three snapshots and one dropped."""
    server = serve()
    lake = Shell(lakehouse, server.url)
    for rows in ("a\n1\n", "a\n2\n", "a\n3\n"):
        assert lake("ingest", "-", "--table", "t", stdin=rows).returncode == 0
    assert lake("ingest", ROOT / "examples/data/airports.csv").returncode == 0
    assert lake("ingest", "-", "--table", "gone", stdin="x\n1\n").returncode == 0
    assert requests.delete(server.url + "/v1/catalog/table/gone", timeout=30).status_code == 204
    assert server.stop() == 0
    return server.data


@pytest.fixture
def doctor(shell, folder):
    def examine(*words, **env):
        """Exit code, and the findings by check."""
        got = shell("doctor", "--data", folder, "--listen", "127.0.0.1:1", "--json", *words, **env)
        assert got.stderr == "", got
        told = json.loads(got.stdout)
        assert told["problems"] == sum(finding["status"] == "problem" for finding in told["findings"])
        assert got.returncode == (1 if told["problems"] else 0)
        return {check: [finding for finding in told["findings"] if finding["check"] == check and finding["status"] != "ok"]
                for check in {finding["check"] for finding in told["findings"]}}
    return examine


def problems(findings):
    return [finding for of_check in findings.values() for finding in of_check if finding["status"] == "problem"]


def one_problem(findings, check, *wanted):
    found = problems(findings)
    assert [finding["check"] for finding in found] == [check], found
    assert all(text in found[0]["message"] for text in wanted), found
    assert found[0]["advice"]


def everything(folder):
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino) for path in folder.rglob("*")}


def test_a_lake_that_is_well(shell, folder):
    before = everything(folder)
    got = shell("doctor", "--data", folder, "--listen", "127.0.0.1:1")
    assert got.returncode == 0 and got.stderr == "", got
    lines = got.stdout.splitlines()
    assert lines[-1] == "the lake is well"
    assert [line.split()[0] for line in lines[:-1] if not line.startswith(" ")][:4] == ["settings", "program", "server", "folder"]
    assert "2 tables, 4 snapshots, 4 files, all there" in got.stdout and re.search(r"\d+ objects, \d+ bytes, none damaged", got.stdout)
    assert everything(folder) == before  # it only looks


def test_it_runs_beside_a_server(shell, serve, folder):
    server = serve(data=folder)
    got = shell("doctor", "--data", folder, "--listen", server.url.removeprefix("http://"))
    assert got.returncode == 0 and "one answers at" in got.stdout and "is ready" in got.stdout, got
    assert requests.post(server.url + "/v1/sql", json={"sql": "SELECT count(*) AS n FROM t"}, timeout=30).json()["rows"] == [{"n": 3}]


def test_a_damaged_object(doctor, folder):
    victim = sorted(folder.glob("wh/main/main/t-*/data/*.parquet"))[0]
    with open(victim, "r+b") as file:
        file.seek(victim.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    one_problem(doctor(), "objects", str(victim.relative_to(folder)), "damaged")
    assert problems(doctor("--quick")) == []  # which does not read it


def test_a_missing_data_file(doctor, folder):
    victim = sorted(folder.glob("wh/main/main/t-*/data/*.parquet"))[0]
    victim.unlink()
    one_problem(doctor("--quick"), "tables", 'table "t"', str(victim.relative_to(folder)), "not there")


def test_a_data_file_that_was_cut_short(doctor, folder):
    victim = sorted(folder.glob("wh/main/main/t-*/data/*.parquet"))[0]
    os.truncate(victim, 10)
    assert {finding["check"] for finding in problems(doctor())} == {"objects", "tables"}


@pytest.mark.parametrize("pattern,wanted", [("*.metadata.json", "metadata"), ("snap-*.avro", "avro"), ("*-m*.avro", "avro")])
def test_missing_metadata(doctor, folder, pattern, wanted):
    for victim in folder.glob(f"wh/main/main/airports-*/metadata/{pattern}"):
        victim.unlink()
    found = problems(doctor("--quick"))
    assert found and all(finding["check"] == "tables" and 'table "airports"' in finding["message"] for finding in found), found
    assert wanted in found[0]["message"] and "backup" in found[0]["advice"]


def test_views_are_looked_at(doctor, shell, serve, folder):
    server = serve(data=folder)
    version = {"version-id": 1, "timestamp-ms": 1, "schema-id": 0, "summary": {}, "default-namespace": ["main"], "representations": [{"type": "sql", "sql": "SELECT 1 AS a", "dialect": "duckdb"}]}
    for name in ["well", "ill"]:
        body = {"name": name, "schema": {"type": "struct", "schema-id": 0, "fields": []}, "view-version": version}
        assert requests.post(server.url + "/iceberg/v1/main/namespaces/main/views", json=body, timeout=30).status_code == 200
    assert server.stop() == 0
    got = shell("doctor", "--data", folder, "--listen", "127.0.0.1:1")
    assert got.returncode == 0 and "2 tables, 4 snapshots, 4 files, all there" in got.stdout and "2 views, all there" in got.stdout, got
    well, = folder.glob("wh/main/main/well-*/metadata/*.metadata.json")
    ill, = folder.glob("wh/main/main/ill-*/metadata/*.metadata.json")
    text = well.read_bytes()
    ill.unlink()
    one_problem(doctor("--quick"), "tables", 'view "ill"', "missing")
    ill.write_bytes(text)
    one_problem(doctor("--quick"), "tables", 'view "ill"', "another view's")
    ill.unlink()
    ill.write_bytes(text[:-20])
    one_problem(doctor("--quick"), "tables", 'view "ill"')


def test_a_pointer_that_is_broken(doctor, folder):
    pointer, = folder.glob("_lake/cat/main/ns/main/t/t.json")
    pointer.unlink()
    pointer.write_text('{"format":')
    found = problems(doctor("--quick"))
    assert len(found) == 1 and 'table "t"' in found[0]["message"] and "pointer" in found[0]["message"], found
    # the other tables are looked at all the same
    for victim in folder.glob("wh/main/main/airports-*/data/*"):
        victim.unlink()
    assert len(problems(doctor("--quick"))) == 2


def test_a_pointer_of_a_newer_program(doctor, folder):
    pointer, = folder.glob("_lake/cat/main/ns/main/t/t.json")
    body = json.loads(pointer.read_text())
    pointer.unlink()
    pointer.write_text(json.dumps({**body, "format": 99}))
    one_problem(doctor("--quick"), "tables", "99")


def test_what_was_begun_is_told_and_no_fault(doctor, folder):
    """A rename and a drop of a namespace whose process died: the table is where it was, and all there."""
    pointer, = folder.glob("_lake/cat/main/ns/main/t/t.json")
    namespace, = folder.glob("_lake/cat/main/ns/main/_ns.json")
    body = json.loads(pointer.read_text())
    arriving = {**body, "state": "arriving", "name": "u", "uuid": "", "metadata_location": "", "batches": [],
                "rename": {"id": "0123456789abcdef", "namespace": "main", "name": "t", "begun_ms": 1}}
    pointer.with_name("u.json").write_text(json.dumps(arriving))
    told = json.loads(namespace.read_text())
    namespace.unlink()
    namespace.write_text(json.dumps({**told, "state": "dropping"}))
    found = doctor("--quick")
    assert problems(found) == []
    assert any("2 renames or drops of namespaces did not end" in finding["message"] for finding in found["tables"]), found["tables"]
    moved = {**body, "state": "moved", "rename": {"id": "0123456789abcdef", "namespace": "main", "name": "u", "begun_ms": 1}}
    pointer.unlink()
    pointer.write_text(json.dumps(moved))  # now it has happened: the table is looked at under its new name
    for victim in folder.glob("wh/main/main/t-*/data/*"):
        victim.unlink()
    assert all('table "u"' in finding["message"] for finding in problems(doctor("--quick")))
    namespace.unlink()
    namespace.write_text("{")
    assert any("_ns.json" in finding["message"] for finding in problems(doctor("--quick")))


def test_files_that_nobody_names(doctor, folder):
    stray = next(folder.glob("wh/main/main/t-*/data/*.parquet"))
    (stray.parent / "stray.parquet").write_bytes(b"x" * 1000)
    notes = [finding["message"] for finding in doctor("--quick")["tables"] if finding["status"] == "note"]
    assert len(notes) == 1 and "2 data files" in notes[0]  # the dropped table's, and this


def test_a_copy_without_checksums_is_a_warning(shell, folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    subprocess.run(f"cd '{folder}' && tar cf - . | tar xf - -C '{copy}'", shell=True, check=True)
    got = shell("doctor", "--data", copy, "--listen", "127.0.0.1:1")
    assert got.returncode == 0 and "no object has checksums" in got.stdout and "cp -a" in got.stdout, got
    whole = tmp_path / "whole"
    subprocess.run(["cp", "-a", folder, whole], check=True)
    assert "no object has checksums" not in shell("doctor", "--data", whole, "--listen", "127.0.0.1:1").stdout


def test_no_folder_and_one_of_a_newer_program(shell, folder, tmp_path):
    missing = shell("doctor", "--data", tmp_path / "none", "--listen", "127.0.0.1:1")
    assert missing.returncode == 1 and "is not there" in missing.stdout and not (tmp_path / "none").exists()
    form = folder / "_lake/format.json"
    body = json.loads(form.read_text())
    form.unlink()
    form.write_text(json.dumps({**body, "version": 99}))
    newer = shell("doctor", "--data", folder, "--listen", "127.0.0.1:1")
    assert newer.returncode == 1 and "version 99" in newer.stdout


def test_settings_and_program_are_looked_at(shell, folder, tmp_path, lakehouse):
    wrong = shell("doctor", "--data", folder, "--queryd.thread", "1")
    assert wrong.returncode == 2 and wrong.stdout == "" and "queryd.threads" in wrong.stderr
    open_door = shell("doctor", "--data", folder, "--http.allow_remote", "true", "--listen", "127.0.0.1:1")
    assert open_door.returncode == 0 and "no authentication" in open_door.stdout
    # a program without its engine
    (tmp_path / "bin").mkdir()
    shutil.copy(lakehouse, tmp_path / "bin/lakehouse")
    (tmp_path / "lib").symlink_to(pathlib.Path(lakehouse).resolve().parents[1] / "lib")
    alone = Shell(str(tmp_path / "bin/lakehouse"))("doctor", "--data", folder, "--listen", "127.0.0.1:1")
    assert alone.returncode == 1 and "engine" in alone.stdout and "make install" in alone.stdout, alone


def test_many_faults_are_counted_and_not_all_told(doctor, shell, serve, folder):
    for i in range(130):
        (folder / f"{i}.bin").write_bytes(b"x")
        os.setxattr(folder / f"{i}.bin", "user.lakehouse", b"lake\x01nonsense")
    found = problems(doctor())
    assert len(found) == 101 and "130" in found[-1]["message"], len(found)


def test_open_uploads_are_told(shell, serve, tmp_path):
    server = serve("--config", settings_file(tmp_path), "--s3api.bind", "127.0.0.1:0")
    s3 = client(s3_url(server))
    s3.create_bucket(Bucket="parts")
    ids = [s3.create_multipart_upload(Bucket="parts", Key=f"a\n/{i}")["UploadId"] for i in range(2)]
    for number in (1, 3):
        s3.upload_part(Bucket="parts", Key="a\n/1", UploadId=ids[1], PartNumber=number, Body=b"0123456789")
    assert server.stop() == 0
    before = everything(server.data)

    def told():
        got = shell("doctor", "--data", server.data, "--listen", "127.0.0.1:1", "--json")
        return got.returncode, [finding for finding in json.loads(got.stdout)["findings"] if finding["check"] == "uploads"]

    code, found = told()
    assert code == 0 and len(found) == 1 and found[0]["status"] == "note" and "2 uploads in parts are open, with 2 parts of 20 bytes" in found[0]["message"], found
    assert everything(server.data) == before
