"""A wire that loses the answers to what has landed: `with losing(url, way) as wire`, then wire.url stands for the server, and wire.to_lose says how many."""

import contextlib
import http.client
import http.server
import json
import random
import socket
import threading


OURS = ("content-length", "connection", "keep-alive", "transfer-encoding", "date", "server")  # headers that the wire writes itself


def is_iceberg_commit(method, path):
    return method == "POST" and (path.endswith("/transactions/commit") or "/tables/" in path) and not path.endswith("/metrics")


class Losing(http.server.BaseHTTPRequestHandler):
    """Passes everything on; of the commits that have landed it loses as many answers as it was told, in its way."""

    protocol_version = "HTTP/1.1"

    def _pass(self):
        server = self.server
        body = self._body()
        is_commit = server.is_commit(self.command, self.path)
        with server.lock:
            refuse = is_commit and server.to_refuse > 0 and server.lost > 0
            server.to_refuse -= refuse
        if refuse:
            self._answer(409, json.dumps({"error": {"code": "conflict", "message": "refused on the way"}}).encode(), [])
            return
        to = http.client.HTTPConnection(server.to, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "accept-encoding", "transfer-encoding", "expect")}
        to.request(self.command, self.path, body, headers)
        answer = to.getresponse()
        text = answer.read()
        to.close()
        code = answer.status
        if is_commit:
            with server.lock:
                server.commits.append(code)
                lose = code < 300 and server.to_lose > 0 and server.rng.random() < server.share
                server.to_lose -= lose
                server.lost += lose
            if lose and server.way == "cut":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if lose:
                code, text = 500, b'{"error":{"message":"lost on the way","type":"InternalServerError","code":500}}'
        self._answer(code, text, [(name, value) for name, value in answer.getheaders() if name.lower() not in OURS])

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, code, text, headers):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        if code not in (204, 304):
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if code not in (204, 304) and self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = _pass

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def losing(url, way, is_commit=is_iceberg_commit):
    """`way`: "cut", or "500". wire.share: of the answers that could be lost, by wire.rng. wire.to_refuse: so many commits after a lost answer are answered with 409 and not asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Losing)
    server.daemon_threads = True
    server.to, server.way, server.is_commit = url.removeprefix("http://"), way, is_commit
    server.to_lose, server.to_refuse, server.lost, server.commits, server.lock = 0, 0, 0, [], threading.Lock()
    server.share, server.rng = 1, random.Random(7)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
