"""The gateway in front of services that misbehave: each is played by a script over a raw socket (raw_http.py)."""

import json
import re
import socket
import threading
import time

import pytest
import requests

from raw_http import Client, Service, answers

HOST = "Host: localhost\r\n"
OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SQL = '{"sql":"SELECT 1"}'


@pytest.fixture
def gateway(start):
    """A gateway whose queryd is at `url`; further flags go to it."""
    return lambda url, *flags: start("gateway", "--gateway.bind", "127.0.0.1:0", "--gateway.queryd_url", url, *flags)


def get(client, path="/v1/sql", headers="", **options):
    return client.ask(f"GET {path} HTTP/1.1\r\n{HOST}{headers}\r\n", **options)


def post(client, body=SQL, headers="", framing=None):
    framing = framing or f"Content-Length: {len(body)}\r\n"
    return client.ask(f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n{headers}{framing}\r\n{body}")


def error(answer, status):
    """The message of an error answer of the gateway, which names the service."""
    assert answer.status == status, answer
    told = json.loads(answer.body)["error"]
    assert told["code"] == {502: "upstream", 504: "timeout"}[status] and told["request_id"] == answer.get("x-request-id")
    assert "queryd" in told["message"]
    return told["message"]


# ---- what goes on to the service, and what comes back ----

def test_the_request_goes_on_byte_for_byte_without_what_is_ours(gateway):
    with Service(answers(OK)) as service:
        with Client(gateway(service.url).url) as client:
            headers = ("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"
                       "Proxy-Authorization: Basic abc\r\nProxy-Connection: keep-alive\r\nOrigin: http://localhost\r\n"
                       "Authorization: Lakehouse stolen\r\nX-Kept: a  b\r\nx-twice: 1\r\nX-Twice: 2\r\nAccept: */*\r\nX-Request-Id: mine-1\r\n")
            assert get(client, "/v1/sql/%2e%2E?q=%zz&q=/../&r=a+b%20#", headers).status == 400  # an encoded `..`
            assert get(client, "/v1/sql/a%2Fb%c3%A4;p=1?q=%zz&q=/../&r=a+b%20", headers).status == 200
        line, sent, body = service.requests[0]
    assert line == "GET /sql/a%2Fb%c3%A4;p=1?q=%zz&q=/../&r=a+b%20 HTTP/1.1" and body == b""
    names = [name for name, _ in sent]
    assert sorted(names) == ["accept", "host", "x-kept", "x-request-id", "x-twice", "x-twice"]
    assert ("host", service.url.removeprefix("http://")) in sent
    assert ("x-request-id", "mine-1") in sent and ("x-kept", "a  b") in sent
    assert [value for name, value in sent if name == "x-twice"] == ["1", "2"]


def test_the_answer_comes_back_without_hop_headers(gateway):
    text = ("HTTP/1.1 418 Teapot\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\n"
            "Upgrade: h2c\r\nX-Kept: yes\r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\nETag: \"e\"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
            "X-Request-Id: theirs\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3;e=1\r\ndef\r\n0\r\nX-T: 1\r\n\r\n")
    with Service(answers(text)) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(3):
                answer = get(client, headers="X-Request-Id: ours\r\n")
                assert answer.status == 418 and answer.body == b"abcdef" and answer.whole
                assert answer.get("x-request-id") == "ours" and answer.get("etag") == '"e"' and answer.get("content-type") == "text/x"
                assert answer.get("x-kept") == "yes" and [value for name, value in answer.headers if name == "x-twice"] == ["1", "2"]
                assert not answer.get("date").startswith("Thu, 01 Jan 1970")
                for gone in ("x-hop", "keep-alive", "proxy-authenticate", "trailer", "upgrade", "x-t", "connection"):
                    assert answer.get(gone) is None, gone
        assert service.connections == 1  # kept


def test_bodies_keep_their_framing_on_the_way(gateway):
    with Service(answers(OK)) as service:
        with Client(gateway(service.url).url) as client:
            assert post(client).status == 200
            assert post(client, "3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n", framing="Transfer-Encoding: chunked\r\n").status == 200
            assert post(client, "0\r\n\r\n", framing="Transfer-Encoding: chunked\r\n").status == 200
            assert post(client, "", framing="Content-Length: 0\r\n").status == 200
            assert get(client, headers="Content-Length: 3\r\n\r\nabc".removesuffix("\r\n")).status in (200, 400)
    lengths = [(dict(headers).get("content-length"), dict(headers).get("transfer-encoding"), body) for _, headers, body in service.requests[:4]]
    assert lengths == [(str(len(SQL)), None, SQL.encode()), (None, "chunked", b"abcde"), (None, "chunked", b""), ("0", None, b"")]


def test_head_304_and_204_have_no_body_and_keep_the_connection(gateway):
    def play(wire, service):
        while request := service.take(wire):
            status = re.search(r"s=(\d+)", request[0]).group(1)
            wire.send(f"HTTP/1.1 {status} X\r\nContent-Length: 5000\r\nETag: \"e\"\r\n\r\n")
            assert request[0].startswith("HEAD") or status in ("204", "304")
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(2):
                head = get(client, "/v1/sql?s=304")
                assert head.status == 304 and head.get("etag") == '"e"'
                head = client.ask(f"HEAD /v1/sql?s=200 HTTP/1.1\r\n{HOST}\r\n", head_only=True)
                assert head.status == 200 and head.get("content-length") == "5000"
                head = client.ask(f"HEAD /v1/sql?s=404 HTTP/1.1\r\n{HOST}\r\n", head_only=True)
                assert head.status == 404


def test_interim_answers_are_not_the_answer(gateway):
    text = "HTTP/1.1 102 Processing\r\nX-Interim: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK
    with Service(answers(text)) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(2):
                answer = get(client)
                assert answer.status == 200 and answer.body == b"{}" and answer.get("x-interim") is None and answer.get("link") is None
        assert service.connections == 1


def test_an_answer_without_a_length_ends_with_the_connection(gateway):
    def play(wire, service):
        service.take(wire)
        wire.send("HTTP/1.1 200 OK\r\n\r\nall of it")
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(2):
                answer = get(client)
                assert answer.body == b"all of it" and answer.whole


def test_old_services_are_understood(gateway):
    def play(wire, service):
        service.take(wire)
        wire.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            assert get(client).body == get(client).body == b"old"
        assert service.connections == 2


def test_first_bytes_reach_the_client_before_the_last_are_made(gateway):
    seen = threading.Event()

    def play(wire, service):
        service.take(wire)
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert seen.wait(10)
        wire.send("4\r\nlast\r\n0\r\n\r\n")
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            client.send(f"GET /v1/sql HTTP/1.1\r\n{HOST}\r\n")
            client.until(b"first")
            seen.set()
            assert client.until(b"last") is not None


# ---- down, slow, broken ----

def test_a_service_that_is_down_is_502(gateway):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(gateway(url).url) as client:
        for _ in range(2):
            assert "cannot be reached" in error(get(client), 502)
            assert "cannot be reached" in error(post(client), 502)
        message = error(post(client, headers="Expect: 100-continue\r\n"), 502)
        assert "cannot be reached" in message


def test_a_name_that_nobody_knows_is_502(gateway):
    with Client(gateway("http://no-such-host.invalid:1").url) as client:
        error(get(client), 502)


def test_the_second_address_of_a_name_is_tried(gateway):
    """`localhost` may be ::1 first, where nobody listens."""
    with Service(answers(OK)) as service:
        with Client(gateway(service.url.replace("127.0.0.1", "localhost")).url) as client:
            assert get(client).status == 200 and post(client).status == 200


def test_a_service_that_comes_back_is_used_again(gateway):
    with Service(answers(OK)) as service:
        port = service.listener.getsockname()[1]
        server = gateway(service.url)
        with Client(server.url) as client:
            assert post(client).status == 200
    with Client(server.url) as client:
        error(post(client), 502)
        with Service(answers(OK), port):
            assert post(client).status == 200


def test_a_service_that_never_answers_is_504(gateway):
    def play(wire, service):
        service.take(wire)
        wire.ended()
    with Service(play) as service:
        with Client(gateway(service.url, "--gateway.head_timeout_seconds", "1").url) as client:
            error(get(client), 504)
            error(post(client), 504)


def test_half_a_head_is_504_in_time(gateway):
    def play(wire, service):
        service.take(wire)
        wire.send("HTTP/1.1 200 OK\r\nX-Slow: ")
        wire.ended()
    with Service(play) as service:
        with Client(gateway(service.url, "--gateway.head_timeout_seconds", "1").url) as client:
            error(get(client), 504)


CUT = {
    "in its length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "in a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "before the last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "garbage between chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("text", CUT.values(), ids=CUT.keys())
def test_an_answer_that_is_cut_is_cut_for_the_client_too(gateway, text):
    def play(wire, service):
        service.take(wire)
        wire.send(text)
    with Service(play) as service:
        server = gateway(service.url)
        with Client(server.url) as client:
            answer = get(client)
            assert (answer.status == 200 and not answer.whole and client.ended()) or answer.status == 502
        with pytest.raises(requests.exceptions.RequestException):
            requests.get(server.url + "/v1/sql", timeout=10).raise_for_status()


GARBAGE = {
    "no HTTP": "hello there\r\n\r\n", "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46", "no status": "HTTP/1.1 OK\r\n\r\n", "a long status": "HTTP/1.1 2000 OK\r\n\r\n",
    "a small status": "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "another version": "HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n",
    "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunked": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a negative length": "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", "a huge length": f"HTTP/1.1 200 OK\r\nContent-Length: {10**30}\r\n\r\nabc",
    "a header without a colon": "HTTP/1.1 200 OK\r\nhello\r\n\r\n", "NUL in a header": "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "101": "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "only 100": "HTTP/1.1 100 Continue\r\n\r\n",
    "nothing": "", "half a head": "HTTP/1.1 200 OK\r\nContent-Le", "a head without end": "HTTP/1.1 200 OK\r\nX: " + "x" * 3_000_000,
    "headers without end": "HTTP/1.1 200 OK\r\n" + "X-Many: y\r\n" * 2_000_000,
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_answer_is_502(gateway, text):
    def play(wire, service):
        if service.take(wire):
            try:
                wire.send(text)
            except OSError:
                assert len(text) > 100_000  # it need not be read to its end
    with Service(play) as service:
        server = gateway(service.url)
        with Client(server.url) as client:
            for ask in (get, post):
                error(ask(client), 502)
        assert requests.get(server.url + "/health", timeout=10).status_code == 200


def test_bytes_behind_an_answer_are_nobodys(gateway):
    """Not even those of the next request on the same connection."""
    with Service(answers(OK + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(5):
                assert get(client).body == b"{}"
                assert post(client).body == b"{}"
        assert service.connections == 10


# ---- kept connections ----

def dies_on_the_second(answer_first):
    """A play: serves one request of each connection, and ends when the second has come."""
    def play(wire, service):
        service.take(wire)
        wire.send(answer_first)
        service.take(wire)
    return play


def test_a_get_is_repeated_when_its_kept_connection_dies(gateway):
    with Service(dies_on_the_second(OK)) as service:
        with Client(gateway(service.url).url) as client:
            for i in range(4):
                assert get(client, f"/v1/sql?{i}").status == 200
        lines = [line for line, _, _ in service.requests]
        assert [line.split("?")[1][0] for line in lines] == ["0", "1", "1", "2", "2", "3", "3"]


@pytest.mark.parametrize("method, framing", [("POST", "Content-Length: 3\r\n\r\nabc"), ("PUT", "Content-Length: 3\r\n\r\nabc"), ("DELETE", "\r\n"),
                                             ("POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), ("GET", "Content-Length: 3\r\n\r\nabc")])
def test_what_is_not_safe_is_never_sent_twice(gateway, method, framing):
    with Service(dies_on_the_second(OK)) as service:
        with Client(gateway(service.url).url) as client:
            assert get(client, "/v1/sql?first").status == 200
            answer = client.ask(f"{method} /v1/sql?once HTTP/1.1\r\n{HOST}{framing}")
            assert "closed" in error(answer, 502) or "broke off" in error(answer, 502)
        assert sum("once" in line for line, _, _ in service.requests) == 1


def test_a_get_is_not_repeated_for_ever(gateway):
    def play(wire, service):
        service.take(wire)
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            error(get(client), 502)
        assert len(service.requests) == 1


def test_kept_connections_that_the_service_closed_are_not_used(gateway):
    def play(wire, service):
        service.take(wire)
        wire.send(OK)
        wire.sock.shutdown(socket.SHUT_WR)
        closed.set()
        wire.ended()
    closed = threading.Event()
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            for _ in range(10):
                assert post(client).status == 200
                assert closed.wait(10)
                closed.clear()
        assert len(service.requests) == 10


def test_what_may_not_be_repeated_takes_no_connection_that_rested(gateway):
    """The service may close it just then: it would be a 502 that nobody needs."""
    with Service(answers(OK)) as service:
        with Client(gateway(service.url).url) as client:
            assert post(client).status == post(client).status == 200
            assert service.connections == 1
            time.sleep(1.2)  # the rest itself is what is tested
            assert get(client).status == 200
            assert service.connections == 1
            time.sleep(1.2)
            assert post(client).status == 200
            assert service.connections == 2


# ---- answers that come before the body, and 100 Continue ----

REFUSAL = "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"why\":\"x\"}"


@pytest.mark.parametrize("kept", [False, True])
def test_an_answer_before_the_body_is_sent_stops_the_sending(gateway, kept):
    def play(wire, service):
        if kept:
            service.take(wire)
            wire.send(OK)
        if wire.head():
            wire.send(REFUSAL)
            service.taken = 0
            while wire.more():
                service.taken += len(wire.bytes)
                wire.bytes.clear()
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            if kept:
                assert get(client).status == 200
            size = 40 << 20
            client.send(f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n")
            for _ in range(size >> 20):
                client.send(bytes(1 << 20))
            answer = client.answer()
            assert answer.status == 413 and answer.body == b'{"why":"x"}' and answer.get("x-request-id")
            assert client.ended()
        assert service.connections == 1
    assert service.taken < 20 << 20


def test_a_service_that_takes_nothing_and_refuses_is_heard(gateway):
    """It answers, but never reads: the gateway's sending is stuck, and must not wait for it, nor run in circles."""
    release = threading.Event()

    def play(wire, service):
        wire.head()
        wire.send(REFUSAL)
        release.wait(20)
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            size = 40 << 20
            client.send(f"POST /v1/sql HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n")
            for _ in range(size >> 20):
                client.send(bytes(1 << 20))
            assert client.answer().status == 413
        release.set()


def test_the_services_100_is_the_clients(gateway):
    def play(wire, service):
        head = wire.head()
        assert ("expect", "100-continue") in head[1]
        service.waits = not wire.bytes  # no byte of the body has come
        wire.send("HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(3) == b"abc"
        wire.send(OK)
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            answer = post(client, "", "Expect: 100-continue\r\n", "Content-Length: 3\r\n")
            assert answer.status == 100
            assert client.ask("abc").status == 200
    assert service.waits


def test_a_refusal_instead_of_100_is_the_clients(gateway):
    def play(wire, service):
        wire.head()
        wire.send(REFUSAL)
        service.rest = wire.ended()
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            answer = post(client, "", "Expect: 100-continue\r\n", "Content-Length: 3\r\n")
            assert answer.status == 413 and answer.body == b'{"why":"x"}'
    assert service.rest


def test_a_service_that_knows_no_100_gets_the_body_after_a_second(gateway):
    def play(wire, service):
        wire.head()
        assert wire.exactly(3) == b"abc"
        wire.send(OK)
    with Service(play) as service:
        with Client(gateway(service.url).url) as client:
            assert post(client, "", "Expect: 100-continue\r\n", "Content-Length: 3\r\n").status == 100
            assert client.ask("abc").status == 200


def test_what_waits_for_100_is_repeated_when_its_kept_connection_dies(gateway):
    def play(wire, service):
        service.take(wire)
        wire.send(OK)
        wire.head()

    def again(wire, service):
        if service.connections == 1:
            return play(wire, service)
        wire.head()
        wire.send("HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(3) == b"abc"
        wire.send(OK)
    with Service(again) as service:
        with Client(gateway(service.url).url) as client:
            assert get(client).status == 200
            assert post(client, "", "Expect: 100-continue\r\n", "Content-Length: 3\r\n").status == 100
            assert client.ask("abc").status == 200
        assert service.connections == 2


# ---- clients and services of different speed ----

def test_a_slow_client_does_not_run_out_the_services_time(gateway):
    """The time for the next bytes runs only while we wait for them."""
    body = bytes(30 << 20)
    with Service(answers(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)) as service:
        with Client(gateway(service.url, "--gateway.head_timeout_seconds", "1").url, receive_buffer=4096) as client:
            client.send(f"GET /v1/sql HTTP/1.1\r\n{HOST}\r\n")
            client.more()
            time.sleep(1.5)  # the pause itself is what is tested
            answer = client.answer()
            assert answer.whole and len(answer.body) == len(body)


def test_a_client_that_leaves_ends_the_call(gateway):
    left = threading.Event()

    def play(wire, service):
        service.take(wire)
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")
        if wire.ended():
            left.set()
    with Service(play) as service:
        server = gateway(service.url)
        for wait in (False, True):
            with Client(server.url) as client:
                client.send(f"GET /v1/sql HTTP/1.1\r\n{HOST}\r\n")
                if wait:
                    client.until(b"abc")
            assert left.wait(10)
            left.clear()


# ---- where the service is ----

def test_a_service_below_a_path(gateway):
    for path in ("/api", "/api/", "/a/b%20c"):
        with Service(answers(OK)) as service:
            with Client(gateway(service.url + path).url) as client:
                assert get(client, "/v1/sql?x=1").status == 200
                assert get(client, "/v1/sql/running/7").status == 200
                assert get(client, "/v1/health/queryd").status == 200
                for climb in ("/v1/sql/%2e%2e/%2e%2e/admin", "/v1/sql/..%2f..%2fadmin", "/v1/sql/a%2F%2E.", "/v1/sql/..%5cadmin"):
                    assert get(client, climb).status == 400
            root = path.rstrip("/")
            assert [line for line, _, _ in service.requests] == [f"GET {root}{rest} HTTP/1.1" for rest in ("/sql?x=1", "/sql/running/7", "/health")]


@pytest.mark.parametrize("url, word", [
    ("127.0.0.1:3214", "scheme"), ("localhost", "scheme"), ("http:/127.0.0.1:3214", "slash"), ("htp://127.0.0.1:3214", "scheme"), ("ftp://127.0.0.1", "scheme"),
    ("http://", "host"), ("http://:3214", "host"), ("http://127.0.0.1:", "port"), ("http://127.0.0.1:0", "port"), ("http://127.0.0.1:99999", "port"),
    ("http://127.0.0.1:32 14", "space"), ("http://127.0.0.1:x", "port"), ("http:" + "//me:pw@localhost:3214", "user"), ("http://127.0.0.1:3214/?a=b", "query"),
    ("http://127.0.0.1:3214#x", "fragment"), ("http:" + "//[::1", "]"), ("http://::1:3214", "IPv6"), ("http:" + "//localhost!", "character"), ("", "empty"),
    ("https://127.0.0.1:3214", "https")])
def test_a_url_with_a_typing_error_stops_the_start_and_is_named(start, tmp_path, url, word):
    for service, name in (("gateway", "queryd_url"), ("catalogd", "storaged_url"), ("queryd", "catalogd_url")):
        if url.startswith("https") and service != "gateway":
            continue  # the services' own client speaks TLS
        server = start(service, "--storaged.dir", tmp_path, f"--{service}.bind", "127.0.0.1:0", f"--{service}.{name}={url}", wait=False)
        assert server.process.wait(10) == 2
        server._reader.join(10)
        assert server.says(f"{service}.{name}", word), server.log()
        assert server.log().count("\n") == 0
