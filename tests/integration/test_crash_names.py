"""kill -9 at random moments of renames, drops and namespaces: a table is under exactly one name, and what was answered holds."""

import os
import random
import threading
import time

import pytest
import requests

PAUSE_SECONDS_MAX = 0.4
ROWS = 3


class Mover:
    """Renames one table from name to name, and makes and drops the namespaces that it leaves, until the first call without an answer."""

    def __init__(self, url, rng, at):
        self.base, self.rng, self.at, self.faults = url + "/iceberg/v1/main", rng, at, []
        self.possible = {at}  # where it may be, by what was answered
        self.renames = 0
        self.begun = threading.Event()  # the first of them was answered
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        try:
            while not self.faults:
                self.step()
        except requests.RequestException:
            pass

    def step(self):
        target = (self.rng.choice("abc"), self.rng.choice(["t", "tab/le"]))
        made = requests.post(self.base + "/namespaces", json={"namespace": [target[0]]}, timeout=30)
        if made.status_code not in (200, 409):
            self.faults.append(made.text)
        self.possible = {self.at, target}
        body = {part: {"namespace": [name[0]], "name": name[1]} for part, name in (("source", self.at), ("destination", target))}
        moved = requests.post(self.base + "/tables/rename", json=body, timeout=30)
        if moved.status_code != (409 if target == self.at else 204):
            self.faults.append(f"{self.at} to {target}: {moved.text}")
        self.at, self.possible = target, {target}
        self.renames += 1
        self.begun.set()
        other = self.rng.choice("abc")
        dropped = requests.delete(f"{self.base}/namespaces/{other}", timeout=30)
        if dropped.status_code not in ((409,) if other == target[0] else (204, 404)):
            self.faults.append(f"drop of {other} with {target}: {dropped.text}")


def whereabouts(url):
    base = url + "/iceberg/v1/main"
    found = []
    for (namespace,) in requests.get(base + "/namespaces", timeout=30).json()["namespaces"]:
        tables = requests.get(f"{base}/namespaces/{namespace}/tables", timeout=30).json()["identifiers"]
        found += [(namespace, table["name"]) for table in tables]
    loaded = [(namespace, name) for namespace in "abc" for name in ("t", "tab/le")
              if requests.get(f"{base}/namespaces/{namespace}/tables/{name.replace('/', '%2F')}", timeout=30).status_code == 200]
    assert loaded == sorted(found), "what is listed is what can be loaded"
    return found


def crash(serve, moments):
    seed = int(os.environ.get("LAKEHOUSE_CRASH_SEED", random.SystemRandom().randrange(10**9)))
    print(f"LAKEHOUSE_CRASH_SEED={seed}")
    rng = random.Random(seed)
    server = serve()
    answer = requests.post(server.url + "/v1/ingest", params={"name": "a.t"}, data="x\n1\n2\n3\n", headers={"Content-Type": "text/csv"}, timeout=60)
    assert answer.status_code == 200, answer.text
    at, renames = ("a", "t"), 0
    for _ in range(moments):
        mover = Mover(server.url, random.Random(rng.random()), at)
        assert mover.begun.wait(30) or mover.faults, "no rename was answered"
        time.sleep(rng.uniform(0, PAUSE_SECONDS_MAX))  # the moment itself is what is random here
        server.process.kill()
        server.process.wait(20)
        mover.thread.join()
        assert not mover.faults, mover.faults
        server = serve(data=server.data)
        found = whereabouts(server.url)
        assert len(found) == 1 and found[0] in mover.possible, f"{found}, expected one of {mover.possible}"
        at = found[0]
        sql = f"SELECT count(*) FROM {at[0]}.\"{at[1]}\""
        rows = requests.post(server.url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)
        assert rows.status_code == 200 and rows.json()["rows"] == [[ROWS]], rows.text
        renames += mover.renames
    assert renames >= moments


def test_a_few_crashes_leave_a_table_under_one_name(serve):
    crash(serve, 6)


@pytest.mark.slow
def test_many_crashes_leave_a_table_under_one_name(serve):
    crash(serve, 100)
