"""HTTP by hand: a client that sends exactly the bytes it is told to, and a service that plays a script.

Real clients send well-formed requests only; what the edge does with all the others is seen from here.
"""

import dataclasses
import socket
import threading
import urllib.parse

SECONDS_MAX = 20


@dataclasses.dataclass
class Answer:
    status: int
    headers: list  # (name in lower case, value), as they came
    body: bytes
    whole: bool  # the length, the last chunk or the end of the connection was there
    version: str = "HTTP/1.1"

    def get(self, name):
        """The value of a header; None without it. Fails when it stands twice."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None


class Wire:
    """A socket, and what came over it and is not yet taken."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(SECONDS_MAX)
        self.bytes = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, *parts):
        for part in parts:
            self.sock.sendall(part.encode("latin-1") if isinstance(part, str) else part)

    def more(self):
        """Read once; False when the other side has ended the connection."""
        try:
            piece = self.sock.recv(65536)
        except ConnectionError:
            piece = b""
        self.bytes += piece
        return bool(piece)

    def until(self, mark):
        """The bytes up to and without `mark`; None when the connection ends before it."""
        while mark not in self.bytes:
            if not self.more():
                return None
        return self._take(self.bytes.index(mark), len(mark))

    def exactly(self, count):
        """So many bytes; fewer when the connection ends before."""
        while len(self.bytes) < count and self.more():
            pass
        return self._take(min(count, len(self.bytes)))

    def _take(self, count, more=0):
        """The first bytes; `more` behind them are dropped."""
        taken = bytes(self.bytes[:count])
        del self.bytes[:count + more]
        return taken

    def ended(self):
        """True when the other side ends the connection without another byte."""
        return not self.bytes and not self.more()

    def head(self):
        """(first line, headers) of a message; None when the connection ends before it is whole."""
        text = self.until(b"\r\n\r\n")
        if text is None:
            return None
        first, *lines = text.decode("latin-1").split("\r\n")
        return first, [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines)]

    def chunks(self):
        """(body, whole, trailers) of a chunked message."""
        body = b""
        while True:
            size = self.until(b"\r\n")
            if size is None:
                return body, False, []
            count = int(size.split(b";")[0], 16)
            if count == 0:
                break
            piece = self.exactly(count)
            body += piece
            if len(piece) < count or self.exactly(2) != b"\r\n":
                return body, False, []
        trailers = []
        while True:
            line = self.until(b"\r\n")
            if not line:
                return body, line is not None, trailers
            trailers.append(line)


class Client(Wire):
    """One connection to a server."""

    def __init__(self, url, receive_buffer=None):
        place = urllib.parse.urlsplit(url)
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(SECONDS_MAX)
        sock.connect((place.hostname, place.port))
        super().__init__(sock)

    def answer(self, head_only=False):
        """The next answer (also a 1xx); None when the connection ends before its head is whole."""
        head = self.head()
        if head is None:
            return None
        version, status = head[0].split(" ")[:2]
        answer = Answer(int(status), head[1], b"", True, version)
        if head_only or answer.status < 200 or answer.status in (204, 304):
            return answer
        if answer.get("transfer-encoding") == "chunked":
            answer.body, answer.whole, _ = self.chunks()
        elif answer.get("content-length") is not None:
            length = int(answer.get("content-length"))
            answer.body = self.exactly(length)
            answer.whole = len(answer.body) == length
        else:
            while self.more():
                pass
            answer.body = self._take(len(self.bytes))
        return answer

    def ask(self, *parts, head_only=False):
        self.send(*parts)
        return self.answer(head_only)


class Service:
    """A service that is played by `play(wire, service)`, once for each connection, in a thread of its own.

    What a play raises is kept, and raised again when the service is left: a script that did not run as it was
    written fails its test.
    """

    def __init__(self, play, port=0):
        self.play = play
        self.connections = 0
        self.requests = []  # (request line, headers, body), noted by `take`
        self.faults = []
        self.wires = []
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(SECONDS_MAX)
        for wire in self.wires:
            try:
                wire.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the play has closed it
        for thread in self.threads:
            thread.join(SECONDS_MAX)
        if kind is None and self.faults:
            raise self.faults[0]

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock)
            self.wires.append(wire)
            thread = threading.Thread(target=self._run, args=(wire,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, wire):
        try:
            with wire:
                self.play(wire, self)
        except Exception as fault:  # noqa: the test's thread raises it again
            self.faults.append(fault)

    def take(self, wire):
        """The next request, whole; None when the connection has ended."""
        head = wire.head()
        if head is None:
            return None
        headers = dict(head[1])
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            body, whole, _ = wire.chunks()
            assert whole
        elif "content-length" in headers:
            body = wire.exactly(int(headers["content-length"]))
        self.requests.append((head[0], head[1], body))
        return self.requests[-1]


def answers(text):
    """A play that answers each request of a connection with the same bytes."""
    def play(wire, service):
        while service.take(wire):
            wire.send(text)
    return play
