"""What the tests of the command line share: a shell that runs the program, piped or on a terminal, and a lake to ask."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest
import requests

END_MARK = b"\0end\0"
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
        process, main, side = self.on_held_terminal(*words, columns=columns, **env)
        os.close(side)
        return process, main

    def on_held_terminal(self, *words, columns=80, **env):
        """The same, and the terminal's own side."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([self.program, *map(str, words)], stdin=side, stdout=side, stderr=side, env={**self.env, **env},
                                   start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        return process, main, side

    def terminal(self, *words, columns=80, typed=None, **env):
        """The same on a terminal: (exit code, what the screen shows). `typed` is sent as from the keyboard."""
        process, main, side = self.on_held_terminal(*words, columns=columns, **env)
        shown, ended = b"", False
        if typed is not None:
            typed(main)
        # A terminal that nobody holds any more may lose what was not read yet, so it is held until a mark
        # behind everything has been read.
        while not shown.endswith(END_MARK):
            if not ended and process.poll() is not None:
                ended = True
                os.write(side, END_MARK)
            if select.select([main], [], [], 0.05)[0]:
                shown += os.read(main, 65536)
        os.close(side)
        os.close(main)
        return process.wait(30), shown[:-len(END_MARK)].decode().replace("\r\n", "\n")


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
