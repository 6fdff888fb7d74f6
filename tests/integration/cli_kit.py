"""What the tests of the command line share: a shell that runs the program, piped or on a terminal, and a lake to ask."""

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time

import pytest
import requests

# seconds of work for one statement on any machine
ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE (a.range * b.range) % 7 = 3"


class Shell:
    """Runs the program; `server` of a running one goes into its environment, as a user would export it."""

    def __init__(self, program, server=None):
        self.program = program
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
        self.env.update(TERM="xterm", NO_COLOR="1")
        if server is not None:
            self.env["LAKEHOUSE_SERVER"] = server

    def __call__(self, *words, stdin="", timeout=60, **env):
        return subprocess.run([self.program, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=timeout,
                              env={**self.env, **env})

    def popen(self, *words, **options):
        return subprocess.Popen([self.program, *words], env=self.env, stdin=subprocess.DEVNULL, **options)

    def on_terminal(self, *words, columns=80, **env):
        """Start it on a terminal of its own: (process, the keyboard and screen)."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([self.program, *map(str, words)], stdin=side, stdout=side, stderr=side, env={**self.env, **env},
                                   start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(side)
        return process, main

    def terminal(self, *words, columns=80, typed=None, **env):
        """The same on a terminal: (exit code, what the screen shows). `typed` is sent as from the keyboard."""
        process, main = self.on_terminal(*words, columns=columns, **env)
        shown = b""
        if typed is not None:
            typed(main)
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError as fault:
                assert fault.errno == errno.EIO  # the other side is closed
                break
            if not piece:
                break
            shown += piece
        os.close(main)
        return process.wait(30), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def shell(lakehouse):
    """No server runs, and none is named."""
    return Shell(lakehouse)


@pytest.fixture
def lake(lakehouse, serve):
    """A shell with a running server, which is `lake.server`."""
    server = serve()
    found = Shell(lakehouse, server.url)
    found.server = server
    return found


def metric(server, name):
    """The sum of a metric over its labels."""
    text = requests.get(server.url + "/metrics", timeout=10).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
