"""Objects: durable writes beside the bare sequence of system calls, and reads."""

import subprocess
import tempfile
import threading

from kit import Row, against, timed

ROUNDS = 25  # short ones: a neighbour that syncs hits both


def send(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = response.read()
    assert response.status == 200, answer[:300]
    return answer


def raw(k, folder, count, threads):
    done = subprocess.run([k.build / "bench/raw_put", folder, str(count), str(threads), "4096"],
                          capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def put(k):
    """PUTs of 4 KiB through `serve`, against write, fdatasync, rename and fsync of the folder in C."""
    body, rows = bytes(4096), []
    with k.serve("--storaged.put_slots", "16") as server, tempfile.TemporaryDirectory(dir=k.work) as folder:
        connections = [server.connect() for _ in range(8)]
        ours, peer = [], []
        for turn in range(ROUNDS):
            ours += [timed(lambda n=n: send(connections[0], "PUT", f"/v1/storage/put/one/{turn}/{n}", body))[0]
                     for n in range(8)]
            peer += raw(k, folder, 8, 1)
        rows.append(against("a durable PUT of 4 KiB, one connection", ours, peer, "tmp, fdatasync, rename, fsync", 2))
        ours, peer = [], []
        for turn in range(ROUNDS):
            def many(number):
                for n in range(4):
                    send(connections[number], "PUT", f"/v1/storage/put/many/{turn}/{number}-{n}", body)

            def all_of_them():
                threads = [threading.Thread(target=many, args=(number,)) for number in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

            ours.append(timed(all_of_them)[0] / (8 * 4))
            peer += raw(k, folder, 4, 8)
        rows.append(against("the same by 8 connections, time a PUT", ours, peer, "the same by 8 threads", 2))
    return rows


def get(k):
    """GETs of 4 KiB and 1 MiB on one kept connection; no peer."""
    rows = []
    with k.serve() as server:
        connection = server.connect()
        for name, size, count in (("4 KiB", 4096, 500), ("1 MiB", 1 << 20, 100)):
            send(connection, "PUT", f"/v1/storage/put/get/{size}", bytes(size))
            took = sorted(timed(lambda: send(connection, "GET", f"/v1/storage/get/get/{size}"))[0] for _ in range(count))
            rows.append(Row(f"a GET of {name}, median", took[count // 2], "ms", "-", True))
    return rows


PAGE = """# Objects

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

**Durable PUTs.** The peer is the least that a durable write can be, without HTTP, checksums or a lock: `bench/raw_put.c`. Expected: the two syncs are nearly all of it, on both sides, and
several connections share the disk's queue. Ours adds the request (about 0.1 ms by a client in Python), MD5 and CRC32C (10 us for 4 KiB), an xattr and the key's lock.

**GETs.** Few connections and a client in Python: the figure says more about the client than about the server. `proxy` on the page of [the edge](edge.md) has one with wrk.
"""

ALL = {"put": put, "get": get}
