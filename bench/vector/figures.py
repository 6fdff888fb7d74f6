#!/usr/bin/env python3
"""Compare vector search with hnswlib, FAISS and usearch, and write docs/benchmarks/vector-figures.md.

    python3 -m venv ENV
    ENV/bin/pip install numpy setuptools wheel pybind11 faiss-cpu==1.15.1 usearch==2.26.6
    make build/bin/vector-bench
    ENV/bin/python3 bench/vector/figures.py --bench build/bin/vector-bench --work DIR DATA...

DATA are DIR/NAME of data sets as vector-bench reads them. hnswlib 0.8.0 comes as source from PyPI into DIR and is compiled
there, once for this processor and once for AVX2; what is not installed of the other two is left out, and the page says so.
Each program builds with two threads, one after the other. Then all are pinned to one core, and in each round each is asked
each ef in turn; a program's round ends when it has passed a recall of 0.9992. Speed at a recall is interpolated within a
round (the logarithm of the speed, between two ef); the page has the median of the rounds and how far they lay apart.
"""

import argparse
import datetime
import importlib.util
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

import compare

RECALLS = compare.RECALLS
HNSWLIB = "0.8.0"
PAGE = pathlib.Path(__file__).parents[2] / "docs/benchmarks/vector-figures.md"
HERE = pathlib.Path(__file__).parent


def hnswlib(work):
    """The folder of hnswlib's source."""
    source = work / f"hnswlib-{HNSWLIB}"
    if not (source / "hnswlib/hnswlib.h").exists():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--no-binary", ":all:", f"hnswlib=={HNSWLIB}", "-d", work], check=True)
        subprocess.run(["tar", "-xzf", work / f"hnswlib-{HNSWLIB}.tar.gz", "-C", work], check=True)
    return source


def compiled(source, work, march):
    program = work / f"peer_hnswlib-{march}"
    command = ["g++", "-O3", f"-march={march}", f"-I{source}", HERE / "peer_hnswlib.cc", "-o", program, "-pthread"]
    subprocess.run(command, check=True)
    return program


def programs(args, data):
    """What is compared: a name, its command, and the name of whom its ratio is against."""
    about = json.loads(pathlib.Path(f"{data}.json").read_text())
    source = hnswlib(args.work)
    ours = [args.bench, "--data", data, "--ef", "-", "--build-threads", "2"]
    theirs = [data, str(about["d"]), about["metric"], "2"]
    yield "hnswlib", [compiled(source, args.work, "native"), *theirs], "hnswlib"
    yield "lakevec", ours, "hnswlib"
    yield "lakevec, preset fast_build", [*ours, "--index", "preset=fast_build"], "hnswlib"
    for library in ("faiss", "usearch"):
        if importlib.util.find_spec(library) is not None:
            yield library, [sys.executable, HERE / "peer_python.py", library, data, "2"], "hnswlib"
    yield "hnswlib, AVX2", [compiled(source, args.work, "haswell"), *theirs], "hnswlib, AVX2"
    yield "lakevec, AVX2", [*ours, "--isa", "avx2"], "hnswlib, AVX2"


def speed_at(answers, recall):
    """Searches a second of processor time at a recall, of one round; None where it was not met."""
    curve = [(a["recall"], math.log(1e6 / a["cpu_us"])) for a in answers]
    if curve and curve[0][0] >= recall:
        return None  # passed at the first ef already
    for (low, slow), (high, fast) in zip(curve, curve[1:]):
        if low <= recall <= high and high > low:
            return math.exp(slow + (fast - slow) * (recall - low) / (high - low))
    return None


def rounds_of(running, count):
    """By name, a list of the answers of each round."""
    rounds = {name: [] for name in running}
    for _ in range(count):
        now = {name: [] for name in running}
        for ef in compare.PEER:
            for name, program in running.items():
                if not now[name] or now[name][-1]["recall"] < 0.9992:
                    program.ask(ef)
                    now[name].append(program.rounds[ef][-1])
        for name, answers in now.items():
            rounds[name].append(answers)
    return rounds


def cell(mine, theirs):
    """The median, how far the rounds lay apart, and the ratio: a median of the ratios of each round."""
    both = [(a, b) for a, b in zip(mine, theirs) if a is not None]
    if not both:
        return "-"
    speeds = [a for a, _ in both]
    ratios = [a / b for a, b in both if b is not None]
    ratio = f" **{statistics.median(ratios):.2f}x**" if ratios else ""
    return f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f}){ratio}"


def table(data, running, rounds, against):
    about = json.loads(pathlib.Path(f"{data}.json").read_text())
    queries = pathlib.Path(f"{data}.query.f32").stat().st_size // 4 // about["d"]
    heads = " | ".join(f"at {recall}" for recall in RECALLS)
    yield f"\n## {pathlib.Path(data).name}: {about['n']:,} x {about['d']}, {about['metric']}, {queries:,} queries\n"
    yield f"| | build, cpu s | bytes a vector | {heads} |"
    yield "|---" * (3 + len(RECALLS)) + "|"
    for name, program in running.items():
        peer = running[against[name]].build["build_cpu_s"]
        took = program.build["build_cpu_s"]
        cells = [
            cell([speed_at(r, recall) for r in rounds[name]], [speed_at(r, recall) for r in rounds[against[name]]])
            for recall in RECALLS
        ]
        each = program.build["memory_bytes"] / about["n"]
        yield f"| {name} | {took:.1f} **{peer / took:.2f}x** | {each:,.0f} | {' | '.join(cells)} |"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return "unknown"


def page(args, tables):
    missing = [name for name in ("faiss", "usearch") if importlib.util.find_spec(name) is None]
    yield "# Searching vectors: figures\n"
    yield "Written by `bench/vector/figures.py`; what they come from, and what was tried, is in [vector.md](vector.md).\n"
    yield (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
        f" at the end. One query at a time on one core, k = 10, {args.rounds} rounds in which the programs take turns."
    )
    yield (
        "Searches a second of processor time at a recall: median (least to most) and ratio to hnswlib, which is"
        " compiled for the same instructions. Peers have 16 links and a breadth of 200, as hnswlib has by default; two threads build."
    )
    if missing:
        yield f"Not there, so not compared: {', '.join(missing)}."
    yield from tables


def measure(args, data):
    running, against = {}, {}
    for name, command, peer in programs(args, data):
        running[name] = compare.Program(command, args.core)
        against[name] = peer
    rounds = rounds_of(running, args.rounds)
    lines = list(table(data, running, rounds, against))
    for program in running.values():
        program.end()
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path, help="where peers are fetched and compiled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=PAGE)
    parser.add_argument("data", nargs="+")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    tables = [line for data in args.data for line in measure(args, data)]
    args.out.write_text("\n".join(page(args, tables)) + "\n")


if __name__ == "__main__":
    main()
