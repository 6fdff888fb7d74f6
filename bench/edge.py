"""The edge beside nginx and HAProxy: requests a second, and CPU time for each.

The server under load is pinned to the first core and wrk to the last, the same on both sides; what is behind a
proxy runs where the system puts it. Neither side logs requests. On a machine that others use the requests a
second are noisy, the CPU time is not.
"""

import contextlib
import os
import re
import socket
import statistics
import subprocess
import time

import kit

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 32
PEERS = kit.ROOT / "bench/peers"


def cores():
    """(for the server, for wrk)"""
    all_cores = sorted(os.sched_getaffinity(0))
    return {all_cores[0]}, {all_cores[-1]}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command, address, core=None, log=None):
    """A server from its start until it answers, pinned to a core; ends with SIGTERM."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    with open(log, "w") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=clean,
                                   preexec_fn=(lambda: os.sched_setaffinity(0, core)) if core else None)
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(address, 1):
                break
        yield process
    finally:
        process.terminate()
        process.wait(30)


def load(port, path, core):
    """Requests a second of one round."""
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"],
                          capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, core))
    if "Non-2xx" in done.stdout or done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return int(re.search(r"(\d+) requests in", done.stdout).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1))


def round_of(process, port, path, core):
    before = kit.cpu_ms(process.pid)
    requests, rate = load(port, path, core)
    return rate, (kit.cpu_ms(process.pid) - before) / requests * 1e3


def compare(what, peer_name, ours, peer, least):
    """Rows of two sides in turns; each side is (process, port, path)."""
    _, core = cores()
    rates, costs = ([], []), ([], [])
    for turn in range(ROUNDS + 1):
        for side, (process, port, path) in enumerate((ours, peer)):
            rate, cost = round_of(process, port, path, core)
            if turn > 0:  # the first one warms up
                rates[side].append(rate)
                costs[side].append(cost)
    a, b = (statistics.median(side) for side in rates)
    x, y = (statistics.median(side) for side in costs)
    return [kit.Row(what, a, "/s", f"ratio at least {least}", a / b >= least, b, peer_name, a / b),
            kit.Row("its CPU time a request", x, "us", "", True, y, peer_name, x / y)]


def config(k, name, **values):
    text = (PEERS / name).read_text()
    for key, value in {"WORK": k.work, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    (k.work / name).write_text(text)
    return k.work / name


def health(k):
    """/health of `serve`, against nginx returning the same bytes."""
    core, _ = cores()
    port, peer_port = free_port(), free_port()
    serve = [k.program, "serve", "--data", k.work / "health", "--listen", f"127.0.0.1:{port}", "--log.level", "warn"]
    nginx = ["/usr/sbin/nginx", "-p", k.work, "-c", config(k, "nginx.conf", PORT=peer_port)]
    with running(serve, ("127.0.0.1", port), core, k.work / "serve.log") as ours, \
            running(nginx, ("127.0.0.1", peer_port), core, k.work / "nginx.out") as peer:
        return compare(f"/health through `serve`, {CONNECTIONS} connections", "nginx returning a static 200",
                       (ours, port, "/health"), (peer, peer_port, "/health"), 1.0)


def proxy(k):
    """A small object of storaged through the gateway, against HAProxy in front of the same process."""
    core, _ = cores()
    port, peer_port, back = free_port(), free_port(), free_port()
    storaged = [k.program, "storaged", "--storaged.dir", k.work / "proxy", "--storaged.bind", f"127.0.0.1:{back}", "--log.level", "warn"]
    gateway = [k.program, "gateway", "--gateway.bind", f"127.0.0.1:{port}", "--gateway.storaged_url", f"http://127.0.0.1:{back}",
               "--log.level", "warn"]
    haproxy = ["/usr/sbin/haproxy", "-f", config(k, "haproxy.cfg", PORT=peer_port, BACKEND=f"127.0.0.1:{back}")]
    with running(storaged, ("127.0.0.1", back), None, k.work / "storaged.log"), \
            running(gateway, ("127.0.0.1", port), core, k.work / "gateway.log") as ours, \
            running(haproxy, ("127.0.0.1", peer_port), core, k.work / "haproxy.log") as peer:
        kit.put(f"127.0.0.1:{back}", "/storage/put/small", b"x" * 100)
        return compare(f"a GET of 100 bytes proxied to storaged, {CONNECTIONS} connections", "HAProxy",
                       (ours, port, "/v1/storage/get/small"), (peer, peer_port, "/v1/storage/get/small"), 0.6)


PAGE = """# The edge

Made by `{command}` (bench/run) on {day} at {commit}: {machine}.

{table}

These need nginx, HAProxy and wrk, which `./bootstrap --bench` installs as Debian packages; Debian starts a fresh nginx by itself (`systemctl disable --now nginx` if it is not wanted).
Configurations of the peers: `bench/peers`. The server is pinned to one core and wrk to another, and nobody logs requests. CPU time stands beside the requests a second: on a machine
that others use it is the steadier figure.

**/health.** By `perf`, two thirds of the time and more are the kernel's, with one recv and one sendmsg a request, as few as nginx has (`strace -c`: one epoll_wait for eight requests).
Of the rest a quarter was libmicrohttpd clearing the connection's memory for each request. Predicted when 128 KiB became 40: 22 us to 17; seen: 22 to 16.7. What was left, 60 KiB of
zeros a request, was 12.6 % of the samples; a pool that does not clear (decision 18) was predicted to take an eighth off. Seen, both builds and nginx in turns on a machine with a load of
ten: 17.8 us to 11.7, nginx 10.4, so more than the writes alone: 32 connections had passed 1.3 MiB through the caches. Three more runs, with a load of twenty: 1.13 to 1.31 times nginx's
processor time, where it was 1.5 to 1.7, and 1.0 to 1.2 times its requests a second; such a machine gives both sides their turns, so only a quiet one can show that the aim is held. The rest of
the distance is in small things, none above 2 % (the table of routes, the clock, allocations, Date); a quicker look at the table of routes was tried: 1 % fewer samples and nothing to be seen in the
time, so it was thrown away. nginx has next to nothing outside of the kernel for a static answer.

**A proxied GET.** Its time went into 27 futex calls, 3.6 eventfd writes and 3.6 epoll_ctl a request, for the way from an HTTP thread to a worker, to the watcher, to a worker and
back. Predicted for steps on the HTTP thread: a dozen system calls and a third of the time; seen: 154 us of CPU time to 72, where HAProxy has 42 to 45.
"""

ALL = {"health": health, "proxy": proxy}
