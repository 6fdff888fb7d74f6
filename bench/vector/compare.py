#!/usr/bin/env python3
"""Let vector-bench and hnswlib take turns on one core, and print the ratio of their speeds at equal recall.

    bench/vector/compare.py --bench build/bin/vector-bench --hnswlib DIR DATA...

DIR holds hnswlib/hnswlib.h (0.8.0, from PyPI's source archive); it is compiled with -O3 -march=native. DATA are
DIR/NAME of data sets as vector-bench reads them. Both build with two threads, then each ef is asked of both, five
rounds. Speeds are medians; between two ef, the logarithm of the speed is interpolated by recall. Processor time is told
beside the clock's, since it holds on a busy machine too.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import tempfile

OURS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450]
PEER = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450, 640, 900]
RECALLS = [0.90, 0.95, 0.99, 0.999]


class Program:
    """One that answers an ef a line."""

    def __init__(self, command, core):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.build = json.loads(self.process.stdout.readline())
        os.sched_setaffinity(self.process.pid, {core})
        self.rounds = {}

    def ask(self, ef):
        self.process.stdin.write(f"{ef}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.rounds.setdefault(ef, []).append(answer)
        return answer["recall"]

    def at(self, recall, speed):
        """The speed at a recall; None when it is not reached, or already passed at the first ef."""
        curve = [(r[0]["recall"], math.log(statistics.median(map(speed, r)))) for _, r in sorted(self.rounds.items())]
        for (low, slow), (high, fast) in zip(curve, curve[1:]):
            if low <= recall <= high and high > low:
                return math.exp(slow + (fast - slow) * (recall - low) / (high - low))
        return None

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def peer(hnswlib, folder):
    program = pathlib.Path(folder) / "peer_hnswlib"
    source = pathlib.Path(__file__).parent / "peer_hnswlib.cc"
    subprocess.run(["g++", "-O3", "-march=native", f"-I{hnswlib}", source, "-o", program, "-pthread"], check=True)
    return program


def turns(ours, theirs, rounds):
    for _ in range(rounds):
        reached = [0, 0]
        for ours_ef, theirs_ef in zip(OURS + [None] * (len(PEER) - len(OURS)), PEER):
            if ours_ef is not None and reached[0] < 0.9992:
                reached[0] = ours.ask(ours_ef)
            if reached[1] < 0.9992:
                reached[1] = theirs.ask(theirs_ef)


def compare(bench, program, data, rounds, core):
    about = json.loads(pathlib.Path(f"{data}.json").read_text())
    ours = Program([bench, "--data", data, "--ef", "-", "--build-threads", "2"], core)
    theirs = Program([program, data, str(about["d"]), about["metric"], "2"], core)
    turns(ours, theirs, rounds)
    print(f"\n### {pathlib.Path(data).name}\n\n| | lakevec | hnswlib | ratio | by processor time |\n|---|---|---|---|---|")
    for key, unit in (("build_s", "s"), ("memory_bytes", "bytes a vector")):
        a, b = ours.build[key], theirs.build[key]
        a, b = (a / about["n"], b / about["n"]) if key == "memory_bytes" else (a, b)
        ratio = a / b if key == "memory_bytes" else b / a
        cpu = f"{theirs.build['build_cpu_s'] / ours.build['build_cpu_s']:.2f}x" if key == "build_s" else ""
        print(f"| {key.split('_')[0]}, {unit} | {a:.1f} | {b:.1f} | {ratio:.2f}x | {cpu} |")
    for recall in RECALLS:
        a, b = (p.at(recall, lambda r: r["qps"]) for p in (ours, theirs))
        c, d = (p.at(recall, lambda r: 1e6 / r["cpu_us"]) for p in (ours, theirs))
        if a and b:
            print(f"| searches a second at {recall} | {a:.0f} | {b:.0f} | {a / b:.2f}x | {c / d:.2f}x |")
        else:
            a, b = ("-" if speed is None else f"{speed:.0f}" for speed in (a, b))
            print(f"| searches a second at {recall} | {a} | {b} | | |")
    for p in (ours, theirs):
        p.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--hnswlib", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("data", nargs="+")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = peer(args.hnswlib, folder)
        for data in args.data:
            compare(args.bench, program, data, args.rounds, args.core)


if __name__ == "__main__":
    main()
