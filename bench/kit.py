"""What the benchmarks share: the programs under test and the peer, the data, times and the machine's facts.

A benchmark is a function that takes a Kit and returns Rows. Ours and the peer take turns in the same run, so
that a neighbour's noise hits both; what is claimed is the ratio of the medians.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass
class Row:
    """One line of the result. `ours` and `peer` are medians in `unit`; `aim` is a bound on `ratio` or `ours`."""
    what: str
    ours: float
    unit: str
    aim: str
    holds: bool
    peer: float = None
    peer_name: str = ""
    ratio: float = None


class Server:
    """A `lakehouse serve` on a free port with a fresh folder."""

    def __init__(self, program, data, *flags):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
        self.data = data
        self.started = time.perf_counter()
        self.process = subprocess.Popen([program, "serve", "--data", data, "--listen", "127.0.0.1:0", *flags],
                                        stderr=subprocess.PIPE, text=True, env=clean)
        for line in self.process.stderr:
            entry = json.loads(line)
            if entry.get("event") == "listening" and entry.get("service") == "gateway":
                self.address = entry["address"]
                break
        else:
            raise SystemExit("lakehouse serve ended before it listened")
        # The log goes on; nobody reads it, so it must not fill the pipe.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=600)

    def cpu_ms(self):
        """Processor time of the server and its engines so far, those that have ended included."""
        return cpu_ms(self.process.pid)

    def own_cpu_ms(self):
        """Processor time of the server's process alone, without its engines."""
        return own_cpu_ms(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.drain.wait(30)


class Kit:
    def __init__(self, build, sdk, work):
        self.build, self.sdk, self.work = pathlib.Path(build), pathlib.Path(sdk), pathlib.Path(work)
        self.program = self.build / "bin/lakehouse"
        self.threads = os.cpu_count()

    def duckdb(self, statement, times=1, setup=()):
        """Times in ms of a statement in the peer."""
        return [wall for wall, _ in self.duckdb_cpu(statement, times, setup)]

    def duckdb_cpu(self, statement, times=1, setup=()):
        """(time, processor time) in ms of a statement in the peer."""
        done = subprocess.run([self.build / "bench/duckdb_sql", str(self.threads), str(times), *setup, "--", statement],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return [tuple(float(word) for word in line.split()) for line in done.stdout.splitlines()]

    @contextlib.contextmanager
    def serve(self, *flags):
        with tempfile.TemporaryDirectory(dir=self.work) as data:
            server = Server(self.program, data, *flags)
            try:
                yield server
            finally:
                server.stop()

    def flights(self):
        """The real flights, three times over, as one CSV of about 310 MB (a day later each time)."""
        path = self.work / "flights.csv"
        if not path.exists():
            rows = " UNION ALL ".join(f"SELECT date + INTERVAL {day} DAY AS date, delay, distance, origin, destination "
                                      f"FROM '{self.sdk}/data/flights-3m.parquet'" for day in range(3))
            self.duckdb(f"COPY ({rows}) TO '{path}' (FORMAT csv, HEADER)")
        return path


def cpu_ms(pid):
    """Processor time of a process and its children so far; ended children count once they were waited for."""
    total = 0
    with contextlib.suppress(OSError):  # a child that ends meanwhile
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total = sum(int(field) for field in fields[11:15]) * 1e3 / os.sysconf("SC_CLK_TCK")
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += sum(cpu_ms(int(child)) for child in (task / "children").read_text().split())
    return total


def own_cpu_ms(pid):
    """Processor time of one process so far, without its children."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:13]) * 1e3 / os.sysconf("SC_CLK_TCK")


def post(connection, path, body, kind):
    """POST on a kept connection: the answer as JSON; anything but 200 and 201 ends the run."""
    connection.request("POST", path, body, {"Content-Type": kind})
    response = connection.getresponse()
    text = response.read()
    if response.status not in (200, 201):
        raise SystemExit(f"POST {path}: {response.status}: {text[:500].decode(errors='replace')}")
    return json.loads(text)


def put(address, path, body):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("PUT", path, body)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"PUT {path}: {response.status}: {response.read(500)}")
    connection.close()


def timed(work):
    """Milliseconds that `work` takes, and what it returns."""
    started = time.perf_counter()
    result = work()
    return (time.perf_counter() - started) * 1e3, result


def against(what, ours, peer, peer_name, most):
    """A row from two lists of milliseconds whose medians' ratio must not pass `most`."""
    a, b = statistics.median(ours), statistics.median(peer)
    return Row(what, a, "ms", f"ratio at most {most}", a / b <= most, b, peer_name, a / b)


def cost(ours, peer, peer_name):
    """The row of processor times that goes with a row of times; both in ms."""
    a, b = statistics.median(ours), statistics.median(peer)
    return Row("... its processor time", a, "ms", "-", True, b, peer_name, a / b)


def within(what, ours, most_ms):
    a = statistics.median(ours)
    return Row(what, a, "ms", f"at most {most_ms} ms", a <= most_ms)


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(open("/proc/meminfo").readline().split()[1]) / 2**20
    return f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"
