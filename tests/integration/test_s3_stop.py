"""A stop does not wait for a bucket that is away: not for its retries, and not for answers that never come.

Without the interrupt each of these would last as long as `s3.retry_seconds` or a try of a request, a minute and more.
"""

import signal
import threading
import time

import pytest
import requests
from s3_peers import BadWire, prefix, store  # noqa: F401 (fixtures)

RETRY_SECONDS = 90
STOP_SECONDS_MAX = 10  # two on a machine with nothing else to do


def stop(server):
    began = time.monotonic()
    assert server.stop() == 0, server.log()
    assert time.monotonic() - began < STOP_SECONDS_MAX, server.log()


class Away(BadWire):
    """A wire to a store that can go away, and tells when somebody has noticed."""

    def __init__(self, url, how):
        super().__init__(url, self.look)
        self.how = how
        self.away = threading.Event()
        self.noticed = threading.Event()

    def look(self, line):
        if not self.away.is_set():
            return None
        self.noticed.set()
        return self.how


WAYS = pytest.mark.parametrize("how", ["refuse", "hang"])


@WAYS
def test_a_sweep_that_has_begun(serve, store, prefix, how):
    with Away(store.url, how) as wire:
        server = serve(*store.flags(prefix, wire.url), "--s3.retry_seconds", RETRY_SECONDS, "--catalogd.sweep_seconds", "1")
        wire.away.set()
        assert wire.noticed.wait(60), server.log()
        stop(server)


@WAYS
def test_requests_under_way(start, tmp_path, store, prefix, how):
    """Puts, gets and lists, each of which gets an answer before the connection ends."""
    with Away(store.url, how) as wire:
        storaged = start("storaged", *store.flags(prefix, wire.url), "--storaged.bind", "127.0.0.1:0", "--s3.retry_seconds", RETRY_SECONDS,
                         "--cluster.secret", "a secret of all services")
        assert requests.put(f"{storaged.url}/storage/put/a", data=b"x", timeout=60).status_code == 200
        wire.away.set()
        answers = []
        asks = [lambda: requests.put(f"{storaged.url}/storage/put/b", data=b"x", timeout=100),
                lambda: requests.put(f"{storaged.url}/storage/put/c", data=bytes(17 << 20), timeout=100),
                lambda: requests.get(f"{storaged.url}/storage/get/a", timeout=100),
                lambda: requests.get(f"{storaged.url}/storage/list", timeout=100)]
        threads = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asks]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60
        while len({line for _, line in wire.harmed}) < len(asks):  # each repeats its first one
            assert time.monotonic() < end, wire.harmed
            time.sleep(0.01)
        stop(storaged)
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers if answer.status_code not in (502, 503, 504)] == [] and len(answers) == len(asks)


@WAYS
def test_a_start_that_still_waits_for_its_store(serve, store, prefix, how):
    with Away(store.url, how) as wire:
        wire.away.set()
        server = serve(*store.flags(prefix, wire.url), "--s3.retry_seconds", RETRY_SECONDS, wait=False)
        assert wire.noticed.wait(60), server.log()
        stop(server)


def test_a_second_signal_ends_it_at_once(serve, store, prefix):
    with Away(store.url, "hang") as wire:
        server = serve(*store.flags(prefix, wire.url), "--s3.retry_seconds", RETRY_SECONDS, "--catalogd.sweep_seconds", "1")
        wire.away.set()
        assert wire.noticed.wait(60), server.log()
        server.process.send_signal(signal.SIGTERM)
        while '"event":"stopping"' not in server.log():
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_SECONDS_MAX) in (0, 1)


def test_a_catalogue_whose_storaged_waits_for_its_bucket(start, store, prefix):
    secret = ("--cluster.secret", "a secret of all services")
    with Away(store.url, "hang") as wire:
        storaged = start("storaged", *store.flags(prefix, wire.url), "--storaged.bind", "127.0.0.1:0", "--s3.retry_seconds", RETRY_SECONDS, *secret)
        catalogd = start("catalogd", *store.flags(prefix, wire.url), "--catalogd.storaged_url", storaged.url, "--catalogd.bind", "127.0.0.1:0",
                         "--catalogd.sweep_seconds", "1", *secret)
        wire.away.set()
        assert wire.noticed.wait(60), catalogd.log()
        began = time.monotonic()
        assert catalogd.stop() == 0 and time.monotonic() - began < 5 + STOP_SECONDS_MAX, catalogd.log()
        stop(storaged)
