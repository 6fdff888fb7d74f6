"""POST /v1/sql from outside: formats, errors before and after the head, limits, clients that leave, engines that die."""

import csv
import datetime
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import threading
import time
import urllib.parse

import pytest
import requests
from processes import rss_anon

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data"
HOG = "SELECT len(range(200000000))"
ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


def ingest(server, table, body):
    answer = requests.post(f"{server.url}/v1/ingest", params={"name": table}, data=body, headers={"Content-Type": "text/csv"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sql(server, text, timeout=60, headers=None, **more):
    return requests.post(f"{server.url}/v1/sql", json={"sql": text, **more}, headers=headers, timeout=timeout)


def rows(server, text, **more):
    answer = sql(server, text, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def error(answer):
    body = answer.json()["error"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, body["code"], body["message"]


def engines(server):
    """Pids of the server's engine processes."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                name = (entry / "cmdline").read_text().split("\0")
            except (OSError, IndexError):
                continue
            if int(fields[1]) == server.process.pid and "--engine=queryd" in name:
                found.append(int(entry.name))
    return found


def metric(server, name, labels=""):
    for line in requests.get(f"{server.url}/metrics", timeout=10).text.splitlines():
        if line.startswith(name) and labels in line:
            return float(line.split()[-1])
    return 0.0


@pytest.fixture
def lake(serve):
    server = serve("--queryd.engines", 3, "--queryd.memory_limit", "256MiB", "--queryd.timeout_seconds", 20)
    ingest(server, "birds", "id,name,weight\n1,wren,9.5\n2,owl,1200\n3,swift,44.5\n")
    return server


def test_rows_come_back_as_they_went_in(lake):
    answer = sql(lake, "SELECT id, name, weight FROM birds ORDER BY id")
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["columns"] == [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "VARCHAR"}, {"name": "weight", "type": "DOUBLE"}]
    assert body["rows"][1] == {"id": 2, "name": "owl", "weight": 1200.0}
    assert body["row_count"] == 3


def test_formats_by_field_and_by_accept(lake):
    text = "SELECT id, name FROM birds ORDER BY id"
    by_field = sql(lake, text, format="ndjson")
    by_accept = sql(lake, text, headers={"Accept": "text/html;q=0.1, application/x-ndjson;q=0.9, application/json;q=0.5"})
    assert by_field.text == by_accept.text
    assert [json.loads(line) for line in by_field.text.splitlines()][2] == {"id": 3, "name": "swift"}
    table = list(csv.reader(io.StringIO(sql(lake, text, headers={"Accept": "text/csv"}).text)))
    assert table == [["id", "name"], ["1", "wren"], ["2", "owl"], ["3", "swift"]]
    assert rows(lake, text, row_format="arrays")[0] == [1, "wren"]
    assert error(sql(lake, text, format="xml"))[:2] == (400, "invalid")
    assert error(sql(lake, text, row_format="columns"))[:2] == (400, "invalid")


def test_params(lake):
    assert rows(lake, "SELECT name FROM birds WHERE id = ? AND weight > ?", params=[2, 100.5]) == [{"name": "owl"}]
    assert rows(lake, "SELECT name FROM birds WHERE id = $id", params={"id": 3}) == [{"name": "swift"}]
    assert error(sql(lake, "SELECT ?", params="x"))[:2] == (400, "invalid")


def test_bad_requests(lake):
    assert error(sql(lake, ""))[:2] == (400, "invalid")
    assert error(sql(lake, "SELECT 1 --" + "x" * (1024 * 1024)))[:2] == (413, "too_large")
    assert error(requests.post(f"{lake.url}/v1/sql", data="SELECT 1", headers={"Content-Type": "text/plain"}, timeout=10))[0] == 415
    assert error(requests.post(f"{lake.url}/v1/sql", json=["SELECT 1"], timeout=10))[0] == 400
    assert error(requests.post(f"{lake.url}/v1/sql", data="{", headers={"Content-Type": "application/json"}, timeout=10))[0] == 400
    status, code, message = error(sql(lake, "SELECT *\nFROM birds\nWHERE nope = 1"))
    assert (status, code) == (400, "invalid") and "line 3" in message and "nope" in message
    status, code, message = error(sql(lake, "SELECT * FROM bird"))
    assert (status, code) == (404, "not_found") and "birds" in message


def test_what_is_acknowledged_is_seen(lake):
    for i in range(1, 6):
        ingest(lake, "seen", f"a\n{i}\n")
        assert rows(lake, "SELECT count(*) AS n, max(a) AS m FROM seen") == [{"n": i, "m": i}]


def test_time_travel(lake):
    first = ingest(lake, "past", "a\n1\n")["snapshot_id"]
    ingest(lake, "past", "a\n2\n")
    assert rows(lake, f"SELECT a FROM past AT (VERSION => {first})") == [{"a": 1}]
    assert rows(lake, "SELECT count(*) AS n FROM past") == [{"n": 2}]


def test_time_travel_by_timestamp(lake):
    ingest(lake, "past", "a\n1\n")
    moment = datetime.datetime.now(datetime.timezone.utc)
    while requests.get(f"{lake.url}/v1/catalog/list", timeout=10).json()["tables"][-1]["updated_at"] <= moment.isoformat(timespec="milliseconds"):
        ingest(lake, "past", f"a\n{time.monotonic_ns()}\n")  # until the clock has moved
    text = moment.replace(tzinfo=None).isoformat(" ", "milliseconds")
    for when in (f"TIMESTAMP '{text}'", f"TIMESTAMPTZ '{text}+00'", f"'{text}'"):
        assert rows(lake, f"SELECT a FROM past AT (TIMESTAMP => {when})") == [{"a": 1}]
    assert rows(lake, f"SELECT count(*) > 1 AS more FROM past now, past old AT (TIMESTAMP => TIMESTAMP '{text}')") == [{"more": True}]
    status, code, message = error(sql(lake, "SELECT * FROM past AT (TIMESTAMP => TIMESTAMP '2001-01-01')"))
    assert (status, code) == (404, "not_found") and "2001-01-01" in message and "first version" in message


def test_time_travel_to_nowhere_says_what_there_is(lake):
    snapshot = ingest(lake, "past", "a\n1\n")["snapshot_id"]
    assert rows(lake, "SELECT a FROM past AT (VERSION => ?)", params=[snapshot]) == [{"a": 1}]
    assert rows(lake, "SELECT a FROM past AT (VERSION => 'main')") == [{"a": 1}]
    status, _, message = error(sql(lake, "SELECT a FROM past AT (VERSION => 5)"))
    assert status == 404 and str(snapshot) in message
    status, _, message = error(sql(lake, "SELECT a FROM past AT (VERSION => 'nope')"))
    assert status == 404 and "main" in message


@pytest.mark.parametrize("statement, position, hint", [
    ("SELECT * FROM BIRD", "line 1, column 15: ", '"birds"'),
    ("SELECT * FROM cages", "line 1, column 15: ", '"zoo.cages"'),
    ("SELECT * FROM zoo.cage", "line 1, column 15: ", '"zoo.cages"'),
    ("SELECT nam FROM birds", "line 1, column 8: ", '"name"'),
    ("SELECT 1,\n  lenn(name) FROM birds", "line 2, column 3: ", '"len"'),
    ("SELECT\n'x'::INTEGER", "line 2, column 4: ", "'x'"),
    ("SELEC 1", "line 1, column 1: ", "syntax error"),
    ("SELECT 1\0; DROP TABLE birds", "line 1, column 9: ", "NUL"),
])
def test_an_error_names_its_place_and_what_was_meant(lake, statement, position, hint):
    ingest(lake, "zoo.cages", "n,kind\n1,a\n")
    status, _, message = error(sql(lake, statement))
    assert status in (400, 404) and message.startswith(position) and hint in message


def test_params_that_do_not_fit_are_told(lake):
    for params, hint in (([1], "$2"), ([1, 2, 3], "$3"), ([1, [2]], "2"), ({"x": 1}, "$")):
        status, code, message = error(sql(lake, "SELECT ? + ?", params=params))
        assert (status, code) == (400, "invalid") and hint in message
    assert rows(lake, "SELECT $a AS a, $b AS b, $c AS c, $d AS d", params={"a": None, "b": True, "c": "x'; --", "d": 9007199254740993}) == \
        [{"a": None, "b": True, "c": "x'; --", "d": 9007199254740993}]


def test_pivot_summarize_and_names_of_other_namespaces(lake):
    ingest(lake, "zoo.cages", "n,kind\n1,a\n2,b\n3,a\n")
    assert rows(lake, "SELECT * FROM (PIVOT (SELECT kind FROM zoo.cages) ON kind IN ('a', 'b') USING count(*))") == [{"a": 2, "b": 1}]
    assert rows(lake, "PIVOT zoo.cages ON kind USING count(*) ORDER BY n") == [{"n": 1, "a": 1, "b": 0}, {"n": 2, "a": 0, "b": 1}, {"n": 3, "a": 1, "b": 0}]
    summary = {row["column_name"]: row for row in rows(lake, "SUMMARIZE birds")}
    assert summary["weight"]["max"] == "1200.0" and summary["id"]["min"] == "1"
    assert [row["column_name"] for row in rows(lake, "DESCRIBE zoo.cages")] == ["n", "kind"]
    assert rows(lake, "SELECT table_schema AS s, table_name AS t FROM information_schema.tables ORDER BY ALL") == [{"s": "main", "t": "birds"}, {"s": "zoo", "t": "cages"}]
    assert [row["data_type"] for row in rows(lake, "SELECT data_type FROM information_schema.columns WHERE table_name = 'birds' ORDER BY ordinal_position")] == ["BIGINT", "VARCHAR", "DOUBLE"]


@pytest.mark.folder("counts calls of an engine, which reads a bucket in ranges and a folder by descriptors")
def test_only_files_that_can_match_are_opened(serve):
    server = serve("--queryd.engines", 1)
    for i in range(6):
        ingest(server, "parts", "x,s\n" + "".join(f"{i * 10 + j},v{i}{j}\n" for j in range(10)))

    def calls(statement, **more):
        """What the engine asks the server for: the table, bounds of a column, files to open."""
        before = metric(server, "lakehouse_engine_calls_total", 'pool="queryd"')
        answer = rows(server, statement, **more)
        return answer, metric(server, "lakehouse_engine_calls_total", 'pool="queryd"') - before

    assert calls("SELECT sum(x) AS n FROM parts") == ([{"n": 1770}], 1 + 6)
    assert calls("SELECT count(*) AS n FROM parts") == ([{"n": 60}], 1)
    assert calls("SELECT s FROM parts WHERE x = 25") == ([{"s": "v25"}], 2 + 1)  # once the bounds of x, which the engine keeps
    assert calls("SELECT s FROM parts WHERE x = ?", params=[31]) == ([{"s": "v31"}], 1 + 1)
    assert calls("SELECT count(*) AS n FROM parts WHERE x IN (5, 55)") == ([{"n": 2}], 1 + 2)
    assert calls("SELECT count(s) AS n FROM parts WHERE x > 100") == ([{"n": 0}], 1)
    assert calls("SELECT x FROM parts WHERE s LIKE 'v4%' ORDER BY x LIMIT 1") == ([{"x": 40}], 2 + 1)
    assert calls("SELECT s FROM parts JOIN (SELECT 12 AS k) ON x = k") == ([{"s": "v12"}], 1 + 1)


def test_show_describe_information_schema_explain(lake):
    assert {"name": "birds"} in rows(lake, "SHOW TABLES")
    assert [row["column_name"] for row in rows(lake, "DESCRIBE birds")] == ["id", "name", "weight"]
    assert rows(lake, "SELECT table_name FROM information_schema.tables WHERE table_name = 'birds'") == [{"table_name": "birds"}]
    assert rows(lake, "EXPLAIN SELECT * FROM birds")


def test_error_after_the_first_rows_is_told_and_cut(lake):
    late = "SELECT CASE WHEN range = 1000000 THEN error('too late') ELSE range END AS v FROM range(10000000)"
    host = urllib.parse.urlsplit(lake.url).netloc
    for form, ending in (("ndjson", '{"error":{'), ("json", '],"error":{'), ("csv", "")):
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("POST", "/v1/sql", json.dumps({"sql": late, "format": form}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        text = cut.value.partial.decode()
        assert ending in text[-400:] and '"row_count"' not in text
        if form == "ndjson":
            error = json.loads(text.splitlines()[-1])["error"]
            assert error["code"] == "invalid" and "too late" in error["message"]
        if form == "json":
            body = json.loads(text)
            assert body["error"]["code"] == "invalid" and "too late" in body["error"]["message"] and body["rows"][0] == {"v": 0}
        connection.close()


def test_first_rows_leave_before_the_last_are_computed(lake):
    begin = time.monotonic()
    with requests.post(f"{lake.url}/v1/sql", json={"sql": "SELECT range FROM range(100000000000)", "format": "ndjson"}, stream=True, timeout=10) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines)) == {"range": 0}
    assert time.monotonic() - begin < 5


def test_hostile_statements_harm_nobody_else(lake):
    answers = []
    hogs = [threading.Thread(target=lambda: answers.append(sql(lake, HOG))) for _ in range(2)]
    for hog in hogs:
        hog.start()
    while any(hog.is_alive() for hog in hogs):
        assert rows(lake, "SELECT count(*) AS n FROM birds") == [{"n": 3}]
    assert {answer.status_code for answer in answers} <= {507, 504}
    assert all("SET" not in answer.text for answer in answers)  # DuckDB's advice is for who owns its settings
    assert requests.get(f"{lake.url}/v1/catalog/list", timeout=10).json()["tables"][0]["name"] == "birds"


def test_time_limit(serve):
    server = serve("--queryd.timeout_seconds", 1)
    begin = time.monotonic()
    assert error(sql(server, ENDLESS))[:2] == (504, "timeout")
    assert time.monotonic() - begin < 4


def test_client_that_leaves_ends_its_statement(lake):
    host = urllib.parse.urlsplit(lake.url)
    body = json.dumps({"sql": ENDLESS})
    for _ in range(6):  # twice as many as there are engines
        with socket.create_connection((host.hostname, host.port), timeout=10) as client:
            client.sendall(f"POST /v1/sql HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            time.sleep(0.2)
    begin = time.monotonic()
    assert rows(lake, "SELECT count(*) AS n FROM birds") == [{"n": 3}]
    assert time.monotonic() - begin < 5


def test_killed_engine_costs_at_most_its_own_statement(lake):
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            try:
                answer = sql(lake, "SELECT sum(id) AS s FROM birds")
            except requests.exceptions.ChunkedEncodingError:
                wrong.append('cut, which is "internal"')  # its engine died between its head and its rows
                continue
            if answer.status_code != 200 or answer.json()["rows"] != [{"s": 6}]:
                wrong.append(answer.text)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    killed = 0
    for _ in range(8):
        time.sleep(0.25)
        for pid in engines(lake)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    stop.set()
    for reader in readers:
        reader.join()
    assert killed >= 4
    assert len(wrong) <= killed and all('"internal"' in text for text in wrong)
    assert rows(lake, "SELECT count(*) AS n FROM birds") == [{"n": 3}]


def test_running_statements_are_listed_and_canceled(lake):
    def running():
        answer = requests.get(f"{lake.url}/v1/sql/running", timeout=10)
        assert answer.status_code == 200
        return answer.json()["running"]

    assert running() == []
    answers = {}
    endless_rows = "SELECT range FROM range(100000000000) WHERE range % 3 = 0 -- " + "é" * 400
    first = threading.Thread(target=lambda: answers.update({"first-one": sql(lake, ENDLESS, headers={"X-Request-Id": "first-one"})}))
    first.start()
    end = time.monotonic() + 15
    while not any(one["state"] == "running" for one in running()):
        assert time.monotonic() < end
        time.sleep(0.05)
    one = running()[0]
    assert one["request_id"] == "first-one" and one["sql"] == ENDLESS and not one["sql_is_cut"]
    assert one["rows"] == 0 and one["elapsed_ms"] >= 0 and datetime.datetime.fromisoformat(one["since"].replace("Z", "+00:00"))
    assert error(requests.delete(f"{lake.url}/v1/sql/running/nobody", timeout=10))[:2] == (404, "not_found")
    assert requests.delete(f"{lake.url}/v1/sql/running/first-one", timeout=10).status_code == 204
    first.join()
    assert error(answers["first-one"])[:2] == (499, "canceled")

    host = urllib.parse.urlsplit(lake.url).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", "/v1/sql", json.dumps({"sql": endless_rows, "format": "ndjson"}), {"Content-Type": "application/json", "X-Request-Id": "second-one"})
    response = connection.getresponse()
    assert response.status == 200 and response.read(100)
    while not any(one["rows"] > 0 for one in running()):
        assert time.monotonic() < end + 15
        response.read(1 << 20)
    one = running()[0]
    assert one["sql_is_cut"] and endless_rows.startswith(one["sql"]) and len(one["sql"].encode()) <= 500
    assert requests.delete(f"{lake.url}/v1/sql/running/second-one", timeout=10).status_code == 204
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    assert json.loads(cut.value.partial.splitlines()[-1])["error"]["code"] == "canceled"
    assert running() == []
    assert rows(lake, "SELECT count(*) AS n FROM birds") == [{"n": 3}]


def test_progress_of_a_scan_is_told(lake):
    ingest(lake, "many", "a\n" + "\n".join(str(i) for i in range(500000)) + "\n")
    statement = "SELECT max(a.a + b.a) FROM many a, many b"
    thread = threading.Thread(target=lambda: sql(lake, statement, headers={"X-Request-Id": "slow"}))
    thread.start()
    end = time.monotonic() + 18
    shares = []
    while time.monotonic() < end and not any(share is not None for share in shares):
        shares += [one["share_done"] for one in requests.get(f"{lake.url}/v1/sql/running", timeout=10).json()["running"]]
        time.sleep(0.05)
    requests.delete(f"{lake.url}/v1/sql/running/slow", timeout=10)
    thread.join()
    assert any(share is not None and 0 <= share <= 1 for share in shares)


def test_full_queue_is_503_with_retry_after(serve):
    server = serve("--queryd.engines", 1, "--queryd.queue", 1, "--queryd.timeout_seconds", 5)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(sql(server, ENDLESS))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused and all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def test_slow_reader_holds_no_engine(serve):
    server = serve("--queryd.engines", 1)
    with requests.post(f"{server.url}/v1/sql", json={"sql": "SELECT range, md5(range::VARCHAR) AS h FROM range(500000)", "format": "csv"}, stream=True, timeout=60) as slow:
        assert slow.raw.read(10)
        begin = time.monotonic()
        assert rows(server, "SELECT 1 AS one") == [{"one": 1}]
        assert time.monotonic() - begin < 5
        assert slow.raw.read().count(b"\n") == 500000


@pytest.mark.slow
def test_memory_stays_flat_while_a_hundred_million_rows_go_to_a_reader_that_stops(serve):
    server = serve("--queryd.engines", 1, "--queryd.timeout_seconds", 1200)
    begin = time.monotonic()
    stop = threading.Event()
    samples = {}  # pid: [(seconds, KiB)]

    def sample():
        while not stop.wait(0.05):
            for pid in [server.process.pid, *engines(server)]:
                size = rss_anon(pid) // 1024
                if size > 0:  # else it has gone
                    samples.setdefault(pid, []).append((time.monotonic() - begin, size))

    sampler = threading.Thread(target=sample)
    sampler.start()
    lines, read, paused = 0, 0, False
    statement = "SELECT range AS id, range * 7 AS seven, 'row' AS kind FROM range(100000000)"
    with requests.post(f"{server.url}/v1/sql", json={"sql": statement, "format": "ndjson"}, stream=True, timeout=1200) as answer:
        for piece in answer.iter_content(1 << 20):
            lines += piece.count(b"\n")
            read += len(piece)
            if not paused and lines > 50_000_000:
                paused = True
                time.sleep(5)  # the reader that stops is what is tried here
    seconds = time.monotonic() - begin
    stop.set()
    sampler.join()
    assert lines == 100_000_000
    flat_from = min(10, seconds / 3)
    for pid, sizes in samples.items():
        later = [size for at, size in sizes if at > flat_from]
        if later:
            assert max(later) - min(later) <= 32 * 1024, f"{pid}: {min(later)} to {max(later)} KiB in {seconds:.0f} s"


@pytest.mark.slow
def test_server_without_work_holds_no_engine_and_is_ready(serve):
    server = serve()
    end = time.monotonic() + 60
    while requests.get(f"{server.url}/ready", timeout=10).status_code != 200 or engines(server):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert requests.get(f"{server.url}/ready", timeout=10).status_code == 200
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines())
    if "san-" not in os.environ.get("LAKEHOUSE_BUILD", ""):
        assert int(status["VmRSS"].split()[0]) < 30 * 1000
    assert rows(server, "SELECT 1 AS one") == [{"one": 1}]
    assert engines(server)


def test_metrics(lake):
    rows(lake, "SELECT 1")
    sql(lake, "SELECT nope")
    assert metric(lake, "lakehouse_queries_total") >= 2
    assert metric(lake, "lakehouse_query_errors_total", 'code="invalid"') >= 1
    assert metric(lake, "lakehouse_engines_up", "queryd") >= 1


def test_engines_end_with_the_server(serve):
    server = serve()
    rows(server, "SELECT 1")
    pids = engines(server)
    assert pids
    server.kill()
    end = time.monotonic() + 5
    while any(pathlib.Path(f"/proc/{pid}/statm").exists() and pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0] != "0" for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_examples(lake):
    for name in ("birdstrikes", "airports"):
        ingest(lake, name, (EXAMPLES / f"{name}.csv").read_bytes())
    joined = rows(lake, "SELECT count(*) AS n FROM birdstrikes b JOIN airports a ON a.name = b.\"Airport Name\"")
    assert joined[0]["n"] >= 0
    assert rows(lake, "SELECT count(*) AS n FROM airports")[0]["n"] > 3000
