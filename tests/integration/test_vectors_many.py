"""Very many small indexes in one vectord: what one costs in memory while it is open and while it is closed, and that a process with all of them is ready at once."""

import array
import concurrent.futures
import random
import struct
import time

import pytest
import requests

OCTETS = {"Content-Type": "application/octet-stream"}
VECTORS, DIMENSION = 100, 128
# What a process has more for other reasons: the store remembers listed objects in a table of 8 MiB, and long answers leave memory to malloc. Thousands of
# indexes that are closed take less than this and 1 KiB each; of three hundred it tells only whether bodies stay.
SPARE = 12 << 20
OPEN_BYTES, CLOSED_BYTES = 64 * 1024, 1024  # an index of 100 vectors, resident


def resident(server):
    """Bytes of memory that the process has, whatever they are of."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return sum(int(lines[kind].split()[0]) for kind in ("RssAnon", "RssShmem")) * 1024


def vectors_of(number):
    rng = random.Random(number)
    return [array.array("f", [rng.gauss(0, 1) for _ in range(DIMENSION)]).tobytes() for _ in range(VECTORS)]


def body_of(vectors):
    return b"".join(struct.pack("<II", 4, 0) + vector + b"%04d" % n for n, vector in enumerate(vectors))


def nearest(session, url, number, vector):
    answer = session.post(f"{url}/v1/vectors/index/i{number}/search?k=1", data=vector, headers=OCTETS, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]["id"]


def gauge(server, name):
    text = requests.get(server.url + "/metrics", timeout=60).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


def written(start, flags, kinds, count):
    """A lake with so many indexes, whose process is gone."""
    server = start(*flags)
    bodies = [body_of(kind) for kind in kinds]

    def write(numbers):
        session = requests.Session()
        for number in numbers:
            made = session.post(server.url + "/v1/vectors/index", json={"name": f"i{number}", "dimension": DIMENSION}, timeout=60)
            assert made.status_code == 201, made.text
            added = session.post(f"{server.url}/v1/vectors/index/i{number}/add", data=bodies[number % len(bodies)], headers=OCTETS, timeout=60)
            assert added.status_code == 200 and added.json()["added"] == VECTORS, added.text

    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # each waits for the disk
        list(pool.map(write, [range(first, count, 8) for first in range(8)]))
    assert server.stop() == 0


def started(start, flags, count):
    """A process that has just begun, and what it has resident when it knows all names, and has opened one."""
    begin = time.monotonic()
    server = start(*flags)
    assert requests.get(server.url + "/ready", timeout=60).status_code == 200
    took = time.monotonic() - begin
    assert took < 1, f"ready after {took:.2f} s"  # the process' start is in it
    begin = time.monotonic()
    listed = requests.get(server.url + "/v1/vectors/index", timeout=60).json()["indexes"]
    assert len(listed) == count and not any(info["open"] for info in listed)
    while not all("length" in info for info in listed):  # the background has looked at each
        assert time.monotonic() - begin < 300
        time.sleep(0.2)
        listed = requests.get(server.url + "/v1/vectors/index", timeout=60).json()["indexes"]
    assert all(info["length"] == VECTORS for info in listed)
    nearest(requests, server.url, 0, vectors_of(0)[0])
    return server, resident(server)


def check(start, folder, count):
    flags, none = (("serve", "--data", folder / name, "--listen", "127.0.0.1:0") for name in ("many", "one"))
    kinds, session = [vectors_of(number) for number in range(10)], requests.Session()
    written(start, flags, kinds, count)
    written(start, none, kinds, 1)
    server, alone = started(start, none, 1)
    assert server.stop() == 0

    server, closed = started(start, flags, count)
    print(f"{count} closed: {(closed - alone) / count:.0f} bytes each")
    assert closed - alone <= count * CLOSED_BYTES + SPARE
    ask_all(session, server, kinds, count)
    assert gauge(server, "lakehouse_vector_open_indexes") == count
    opened = resident(server)
    print(f"{count} open: {(opened - closed) / count:.0f} bytes each, {gauge(server, 'lakehouse_vector_memory_bytes') / count:.0f} accounted")
    assert opened - closed <= count * OPEN_BYTES + SPARE
    assert server.stop() == 0

    some = count // 10  # the least used are closed, and what they had is given back
    server, closed = started(start, (*flags, "--vectord.memory_limit", f"{some * OPEN_BYTES}"), count)
    for _ in range(2):
        ask_all(session, server, kinds, count)
        held, now = gauge(server, "lakehouse_vector_open_indexes"), resident(server)
        print(f"{held:.0f} of {count} open: {(now - closed) / count:.0f} bytes each of all")
        assert some // 2 < held < 2 * some and gauge(server, "lakehouse_vector_memory_bytes") <= some * OPEN_BYTES
        assert now - closed <= held * OPEN_BYTES + count * CLOSED_BYTES + SPARE
    assert server.stop() == 0


def ask_all(session, server, kinds, count):
    for number in range(count):
        assert nearest(session, server.url, number, kinds[number % 10][number % VECTORS]) == f"{number % VECTORS:04d}"


def test_hundreds_of_indexes_take_little_and_are_ready_at_once(start, tmp_path):
    check(start, tmp_path, 300)


@pytest.mark.slow
def test_thousands_of_indexes_take_little_and_are_ready_at_once(start, tmp_path):
    check(start, tmp_path, 3000)
