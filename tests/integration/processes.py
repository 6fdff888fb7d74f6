"""What a server and its engines cost, as the kernel counts it (RssAnon: pages of their own)."""

import pathlib
import threading


def rss_anon(pid):
    """Bytes; 0 when it has gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def children(pid):
    try:
        return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Watch:
    """Samples groups of processes (a service and its engines) every `seconds`."""

    def __init__(self, services, seconds=0.05):
        self.services = services
        self.seconds = seconds
        self.idle = {name: self.sample(name) for name in services}
        self.peak = dict(self.idle)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def sample(self, name):
        pid = self.services[name].process.pid
        return sum(rss_anon(one) for one in [pid, *children(pid)])

    def run(self):
        while not self.stopped.wait(self.seconds):
            for name in self.services:
                self.peak[name] = max(self.peak[name], self.sample(name))

    def stop(self):
        """Peak minus idle of each."""
        self.stopped.set()
        self.thread.join()
        return {name: self.peak[name] - self.idle[name] for name in self.services}
