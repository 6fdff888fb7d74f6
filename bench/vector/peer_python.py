#!/usr/bin/env python3
"""The peers FAISS and usearch by the protocol of `vector-bench --ef -`: builds, says what that took, and answers each ef
that it reads with a line of JSON.

    peer_python.py faiss|usearch DIR/NAME BUILD_THREADS

A search is one call for all queries on one thread, so that Python's part of it is nothing.
"""

import json
import pathlib
import sys
import time

import numpy

K, LINKS, BREADTH = 10, 16, 200


class Faiss:
    def __init__(self, base, angular, threads):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_INNER_PRODUCT if angular else faiss.METRIC_L2
        self.index = faiss.IndexHNSWFlat(base.shape[1], LINKS, metric)
        self.index.hnsw.efConstruction = BREADTH
        self.index.add(base)
        faiss.omp_set_num_threads(1)

    def search(self, queries, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, K)[1]


class Usearch:
    def __init__(self, base, angular, threads):
        from usearch.index import Index

        self.index = Index(
            ndim=base.shape[1],
            metric="ip" if angular else "l2sq",
            dtype="f32",
            connectivity=LINKS,
            expansion_add=BREADTH,
        )
        self.index.add(numpy.arange(len(base)), base, threads=threads)

    def search(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=1).keys


def resident_bytes():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    library, data, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    about = json.loads(pathlib.Path(f"{data}.json").read_text())
    base = numpy.fromfile(f"{data}.base.f32", dtype=numpy.float32).reshape(-1, about["d"])
    queries = numpy.fromfile(f"{data}.query.f32", dtype=numpy.float32).reshape(-1, about["d"])
    truth = numpy.fromfile(f"{data}.gt.i32", dtype=numpy.int32).reshape(len(queries), -1)[:, :K]
    before, wall, cpu = resident_bytes(), time.monotonic(), time.process_time()
    index = {"faiss": Faiss, "usearch": Usearch}[library](base, about["metric"] == "angular", threads)
    say(
        build_s=time.monotonic() - wall,
        build_cpu_s=time.process_time() - cpu,
        memory_bytes=resident_bytes() - before,
    )
    for line in sys.stdin:
        wall, cpu = time.monotonic(), time.process_time()
        found = index.search(queries, int(line))
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        right = (found[:, :, None] == truth[:, None, :]).any(axis=1).sum()
        say(
            ef=int(line),
            recall=float(right) / truth.size,
            qps=len(queries) / wall,
            cpu_us=cpu / len(queries) * 1e6,
        )


if __name__ == "__main__":
    main()
