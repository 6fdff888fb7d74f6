"""What the integration tests share: where the programs are, and how a server is started and stopped.

    lakehouse               path of the program under test
    serve(*flags)           starts `lakehouse serve` on a free port with a fresh data folder; stopped at the
                            end of the test. Returns a Server: .url, .data, .process, .log()
    start(service, *flags)  the same for any service by its name
    start_shared            as start, but its servers live as long as the module
    start_cluster(start, folder, *flags)  six processes on one folder; the flags go to each
    shared_server           one `lakehouse serve` for all tests of a module

Tests talk to servers over HTTP with real clients; nothing sleeps to "give it time": a server is used when
its own `listening` line says that it can be. With LAKEHOUSE_LAKE=minio the lake of each data folder lies in a
bucket of MinIO instead, under a prefix of its own; tests that look into the folder itself are then left out: they say
`@pytest.mark.folder("why")`. Mark a test that needs more than a few seconds with
`@pytest.mark.slow`; it then runs in `make test-all`.
"""

import hashlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAKE = os.environ.get("LAKEHOUSE_LAKE", "")
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 20
LOG_SECONDS_MAX = 5


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; runs in `make test-all` only")
    config.addinivalue_line("markers", "folder(why): is about a lake in a folder, and left out where LAKEHOUSE_LAKE puts it elsewhere")


def pytest_collection_modifyitems(config, items):
    if LAKE:
        left_out = [item for item in items if item.get_closest_marker("folder")]
        for item in left_out:
            assert item.get_closest_marker("folder").args, f"{item.nodeid}: the marker `folder` says why"
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    # A job in the background of a script starts with SIGINT ignored, and its children would inherit that: a test
    # that presses Ctrl-C would wait for ever. A handler of our own is not inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def build_folder():
    return pathlib.Path(os.environ.get("LAKEHOUSE_BUILD", ROOT / "build"))


class Server:
    """A running service. `url` is the gateway's, or the service's own address."""

    def __init__(self, program, service, data, flags, env):
        self.service = service
        self.data = data
        self.url = None
        self.lines = []
        self._listening = threading.Event()
        self.process = subprocess.Popen([program, service, *flags], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=env, text=True, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        """Collect the log; `listening` of the service itself (serve's is the gateway's) gives the address."""
        wanted = "gateway" if self.service == "serve" else self.service
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("event") == "listening" and entry.get("service") == wanted:
                self.url = "http://" + entry["address"]
                self._listening.set()
        self._listening.set()

    def wait(self):
        assert self._listening.wait(START_SECONDS_MAX), f"{self.service} did not listen in time:\n{self.log()}"
        assert self.url, f"{self.service} ended with {self.process.wait(STOP_SECONDS_MAX)}:\n{self.log()}"
        return self

    def log(self):
        return "\n".join(self.lines)

    def says(self, *texts):
        """Whether the log has all of them; lines are on their way for a moment after what they tell of."""
        end = time.monotonic() + LOG_SECONDS_MAX
        while not all(text in self.log() for text in texts):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def kill(self):
        """As a power cut would: no chance to tidy up. Its children go too."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(STOP_SECONDS_MAX)

    def stop(self):
        """Ask it to stop; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.service} did not stop in {STOP_SECONDS_MAX} s:\n{self.log()}") from None


def free_port():
    """Below the ports that the kernel gives out, so that it is still free when its service comes back."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


@pytest.fixture(scope="session")
def lakehouse():
    program = build_folder() / "bin" / "lakehouse"
    assert program.exists(), f"{program} is not built"
    return str(program)


lake_flags = None  # a folder -> flags of the lake that stands for it; None: the folder itself


@pytest.fixture(scope="session", autouse=True)
def lake_elsewhere(tmp_path_factory):
    global lake_flags
    assert LAKE in ("", "minio"), f"LAKEHOUSE_LAKE={LAKE}: it is \"minio\" or empty"
    if not LAKE:
        yield
        return
    import s3_peers
    with s3_peers.STORES[LAKE](tmp_path_factory.mktemp("lake")) as store:
        lake_flags = lambda folder: [*store.flags(hashlib.sha256(str(folder).encode()).hexdigest()[:20]), "--cluster.secret", "a secret of all services"]
        yield
        lake_flags = None


def place_lake(flags):
    """Flags with the lake's place by the folder that they name, unless they say a backend themselves."""
    folder = next((flags[i + 1] for i in range(len(flags) - 1) if flags[i] in ("--data", "--storaged.dir")), None)
    if lake_flags is None or folder is None or "--storaged.backend" in flags:
        return flags
    return [*lake_flags(folder), *flags]


@pytest.fixture(scope="session")
def sdk():
    """The folder with the large data set, see examples/data/README.md."""
    return pathlib.Path(os.environ["LAKEHOUSE_SDK"])


def starting(lakehouse):
    """Starts services, and stops them in the end: a generator, as pytest's fixtures are."""
    servers = []

    def start_service(service, *flags, env=None, wait=True):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
        server = Server(lakehouse, service, None, place_lake([str(flag) for flag in flags]), {**clean, **(env or {})})
        servers.append(server)
        return server.wait() if wait else server

    yield start_service
    faults = []
    for server in reversed(servers):
        try:
            server.stop()
        except AssertionError as fault:
            faults.append(str(fault))
        finally:
            server.kill()
    assert not faults, "\n".join(faults)


@pytest.fixture
def start(lakehouse):
    yield from starting(lakehouse)


def serving(start, folder):
    def start_serve(*flags, data=None, **options):
        data = pathlib.Path(data or folder / "data")
        server = start("serve", "--data", data, "--listen", "127.0.0.1:0", *flags, **options)
        server.data = data
        return server

    return start_serve


@pytest.fixture(scope="module")
def start_shared(lakehouse):
    yield from starting(lakehouse)


def start_cluster(start, folder, *flags):
    """storaged, catalogd, ingestd, queryd, vectord and the gateway, each by itself; gives (gateway, {service: server})."""
    common = ("--storaged.dir", folder, *flags)
    services = {"storaged": start("storaged", *common, "--storaged.bind", "127.0.0.1:0")}
    urls = {"storaged": services["storaged"].url}
    for name in ("catalogd", "ingestd", "vectord", "queryd"):
        own = [f"--{name}.bind", "127.0.0.1:0", f"--{name}.storaged_url", urls["storaged"]]
        if name not in ("catalogd", "vectord"):
            own += [f"--{name}.catalogd_url", urls["catalogd"]]
        if name == "queryd":
            own += ["--queryd.vectord_url", urls["vectord"]]
        services[name] = start(name, *common, *own)
        urls[name] = services[name].url
    known = [word for name, url in urls.items() for word in (f"--gateway.{name}_url", url)]
    return start("gateway", *flags, "--gateway.bind", "127.0.0.1:0", *known), services


@pytest.fixture
def serve(start, tmp_path):
    return serving(start, tmp_path)


@pytest.fixture(scope="module")
def shared_server(lakehouse, tmp_path_factory):
    """One `lakehouse serve` for all tests of a module that ask for it; each has tables of its own."""
    starter = starting(lakehouse)
    yield serving(next(starter), tmp_path_factory.mktemp("shared"))()
    next(starter, None)
