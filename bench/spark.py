"""Spark in a process of its own, warm, with the two cores that it gets in the tests (tests/integration/spark_lake.py)."""

import json
import os
import pathlib
import subprocess

from kit import ROOT


class Spark:
    def __init__(self, address):
        python = os.environ.get("LAKEHOUSE_SPARK", "")
        if not python:
            raise SystemExit("LAKEHOUSE_SPARK is not set: LAKEHOUSE_SPARK=$(./bootstrap --env spark)")
        script = ROOT / "tests/integration/spark_lake.py"
        self.process = subprocess.Popen([pathlib.Path(python) / "bin/python3", script, f"http://{address}/iceberg"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while (line := self.process.stdout.readline()) != "ready\n":
            if not line:
                raise SystemExit("Spark did not start")

    def rows(self, statement):
        self.process.stdin.write(json.dumps(statement) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise SystemExit(answer["error"])
        return answer["rows"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)
