"""The command line as a person at a shell meets it: what is printed where, and how it ends.

Exit codes: 0 done, 1 the request failed, 2 called wrongly. Results on standard output, all else on standard error.
"""

import csv
import gzip
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
import requests
from cli_kit import ENDLESS, Shell, lake, metric, shell, until  # noqa: F401 (two of them are fixtures)

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = ["serve", "gateway", "storaged", "catalogd", "ingestd", "queryd", "vectord", "ingest", "sql", "tables", "describe", "vectors", "doctor", "config",
            "completion", "version"]


# ---- help, unknown words, exit codes ----

def test_help_is_for_everybody_who_asks(shell):
    overview = shell("--help")
    assert overview.returncode == 0 and overview.stderr == ""
    assert shell("help").stdout == shell("-h").stdout == overview.stdout
    for command in COMMANDS:
        assert command in overview.stdout
        for words in ([command, "--help"], [command, "-h"], ["help", command]):
            asked = shell(*words)
            assert asked.returncode == 0 and asked.stderr == "", words
            assert asked.stdout.startswith(f"usage: lakehouse {command}"), words


@pytest.mark.parametrize("command", ["ingest", "sql", "tables", "describe", "vectors", "config", "serve"])
def test_help_of_a_command_teaches_by_examples(shell, command):
    text = shell(command, "--help").stdout
    assert len(re.findall(rf"^  .*lakehouse {command}", text, re.MULTILINE)) >= 2, text


def test_no_command_shows_the_overview_as_a_mistake(shell):
    bare = shell()
    assert bare.returncode == 2 and bare.stdout == "" and "lakehouse serve" in bare.stderr


@pytest.mark.parametrize("words,wanted", [
    (["sevre"], '"serve"'),
    (["tabels"], '"tables"'),
    (["help", "desribe"], '"describe"'),
    (["sql", "--fromat", "csv", "SELECT 1"], '"--format"'),
    (["ingest", "--tabel", "t", "x.csv"], '"--table"'),
    (["tables", "--namspace", "x"], '"--namespace"'),
    (["describe", "--sever", "x", "t"], '"--server"'),
    (["serve", "--lisen", "127.0.0.1:0"], '"--listen"'),
    (["serve", "--memory_limt", "1GB"], '"--ingestd.memory_limit"'),
    (["config", "--queryd.thread", "1"], '"queryd.threads"'),
])
def test_an_unknown_word_gets_a_suggestion(shell, words, wanted):
    refused = shell(*words)
    assert refused.returncode == 2 and refused.stdout == ""
    assert "unknown" in refused.stderr and f"did you mean {wanted}" in refused.stderr, refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [
    ["frobnicate"], ["sql", "--q", "SELECT 1"], ["sql", "--format"], ["sql", "--format", "xml", "SELECT 1"], ["sql", "--help=yes"],
    ["sql", "SELECT 1", "SELECT 2"], ["sql", "  "], ["sql", "--file", "q.sql", "SELECT 1"], ["describe"], ["describe", "a", "b"],
    ["tables", "x"], ["ingest"], ["ingest", "-"], ["config", "x"], ["version", "x"], ["serve", "x"], ["sql", "--server", "foo", "SELECT 1"],
    ["ingest", "--server", "ftp://x", "f.csv"], ["tables", "--server", ""], ["describe", "--server", "http://", "t"],
])
def test_a_wrong_call_is_2_and_one_line_on_stderr(shell, words):
    refused = shell(*words)
    assert refused.returncode == 2 and refused.stdout == "", refused
    assert refused.stderr.startswith("lakehouse") or refused.stderr.startswith("serve: "), refused.stderr
    assert refused.stderr.count("\n") == 1, refused.stderr


def test_version_is_one_line(shell):
    assert re.fullmatch(r"lakehouse \d+\.\d+\.\d+\n", shell("version").stdout)
    assert shell("--version").stdout == shell("version").stdout


@pytest.mark.parametrize("words", [["sql", "SELECT 1"], ["tables"], ["describe", "t"], ["ingest", "{file}"]])
def test_no_server_tells_what_to_do(shell, tmp_path, words):
    (tmp_path / "t.csv").write_text("a\n1\n")
    words = [str(tmp_path / "t.csv") if word == "{file}" else word for word in words]
    failed = shell(*words, LAKEHOUSE_SERVER="http://127.0.0.1:1")
    assert failed.returncode == 1 and failed.stdout == ""
    assert "http://127.0.0.1:1" in failed.stderr
    assert "lakehouse serve" in failed.stderr and "--server" in failed.stderr and "LAKEHOUSE_SERVER" in failed.stderr


def test_the_server_is_the_option_then_the_variable(lake):
    assert lake("sql", "--server", lake.server.url, "SELECT 1", LAKEHOUSE_SERVER="http://127.0.0.1:1").returncode == 0
    assert lake("sql", f"-server={lake.server.url}/", "SELECT 1", LAKEHOUSE_SERVER="http://127.0.0.1:1").returncode == 0
    assert lake("sql", "SELECT 1").returncode == 0
    wrong = lake("sql", "SELECT 1", LAKEHOUSE_SERVER="localhost")
    assert wrong.returncode == 2 and "LAKEHOUSE_SERVER" in wrong.stderr


def test_a_refused_request_is_1_with_the_servers_words(lake):
    for statement, wanted in [("SELECT * FROM nope", '"nope" does not exist'), ("CREATE INDEX x ON t (a)", "not allowed"),
                              ("SELECT '", "line 1, column 8"), ("SELECT error('boom')", "boom")]:
        failed = lake("sql", statement)
        assert failed.returncode == 1 and failed.stdout == "" and wanted in failed.stderr, failed
        assert "is it running" not in failed.stderr
    failed = lake("describe", "nope")
    assert failed.returncode == 1 and failed.stdout == "" and "nope" in failed.stderr


def test_what_the_server_could_not_do_can_be_looked_up_in_its_log(lakehouse, serve):
    server = serve("--queryd.timeout_seconds", "1")
    failed = Shell(lakehouse, server.url)("sql", ENDLESS)
    assert failed.returncode == 1 and "time limit" in failed.stderr
    request_id = re.search(r"request (\w+) in the server's log", failed.stderr)[1]
    until(lambda: request_id in server.log())


# ---- sql ----

def test_sql_piped_is_csv(lake):
    got = lake("sql", "SELECT 1 AS a, NULL AS b, 'x,\"y\"' AS c, '' AS d")
    assert got.returncode == 0 and got.stderr == ""
    assert list(csv.reader(io.StringIO(got.stdout))) == [["a", "b", "c", "d"], ["1", "", 'x,"y"', ""]]
    assert lake("sql", "SELECT 1 AS a WHERE false").stdout == "a\n"


def test_piped_lines_end_as_a_shell_wants_them(lake):
    """`n=$(lakehouse sql ... | tail -1)` must not hold a carriage return; a value's own stays."""
    raw = subprocess.run([lake.program, "sql", "SELECT 7 AS n, 'a' || chr(13) || chr(10) || '\"b' AS t FROM range(3)"], env=lake.env,
                         capture_output=True, timeout=30)
    assert raw.stdout == b"n,t\n" + b'7,"a\r\n""b"\n' * 3
    lines = subprocess.run([lake.program, "sql", "SELECT repeat('x', 1000) AS n FROM range(1000)"], env=lake.env, capture_output=True,
                           timeout=30).stdout
    assert lines == b"n\n" + (b"x" * 1000 + b"\n") * 1000  # over many pieces of the answer


def test_sql_formats(lake):
    statement = "SELECT 1 AS a, 2.50::DECIMAL(5,2) AS b"
    assert json.loads(lake("sql", "--format", "json", statement).stdout)["rows"] == [{"a": 1, "b": 2.5}]
    assert lake("sql", "--format=json", statement).stdout.endswith("}\n")
    assert lake("sql", "--format", "ndjson", statement).stdout == '{"a":1,"b":2.50}\n'
    assert lake("sql", "--format", "table", statement).stdout == "a     b\n-  ----\n1  2.50\n(1 row)\n"


def test_arrow_and_parquet_go_to_files_and_not_to_terminals(lake, tmp_path):
    import pyarrow.ipc
    import pyarrow.parquet
    for form, read in (("arrow", lambda path: pyarrow.ipc.open_stream(path).read_all()), ("parquet", pyarrow.parquet.read_table)):
        with open(tmp_path / form, "wb") as file:
            subprocess.run([lake.program, "sql", "--format", form, "SELECT range AS a FROM range(100000)"], stdout=file, env=lake.env, check=True, timeout=60)
        assert read(tmp_path / form).column("a").to_pylist() == list(range(100000))
        code, shown = lake.terminal("sql", "--format", form, "SELECT 1")
        assert code == 2 and "not for a terminal" in shown


def test_sql_takes_the_statement_from_where_it_is(lake, tmp_path):
    path = tmp_path / "q.sql"
    path.write_text("-- a comment\nSELECT 42\n  AS x;\n")
    for got in (lake("sql", stdin=path.read_text()), lake("sql", "-", stdin=path.read_text()), lake("sql", "--file", path),
                lake("sql", "-f", path), lake("sql", "-f", "-", stdin=path.read_text())):
        assert (got.returncode, got.stdout, got.stderr) == (0, "x\n42\n", "")
    empty = lake("sql", stdin="\n")
    assert empty.returncode == 2 and "empty" in empty.stderr
    missing = lake("sql", "--file", tmp_path / "no.sql")
    assert missing.returncode == 1 and "no.sql" in missing.stderr and "No such file" in missing.stderr


def test_a_statement_that_begins_with_a_dash_goes_behind_two(lake):
    assert lake("sql", "--", "-- seven\nSELECT 7 AS x").stdout == "x\n7\n"


def test_parameters_are_values_and_never_sql(lake):
    nasty = "x' OR '1'='1 \" \\ \n ü"
    got = lake("sql", "--format", "json", "--param", nasty, "-param=5", "--param", "", "SELECT ? AS a, ?::INT + 1 AS b, ? AS c")
    assert json.loads(got.stdout)["rows"] == [{"a": nasty, "b": 6, "c": ""}]
    assert lake("sql", "--param", "3", "SELECT count(*) AS n FROM range(10) WHERE range < ?").stdout == "n\n3\n"
    for words in (["SELECT ? AS a"], ["--param", "1", "SELECT 1 AS a"]):
        failed = lake("sql", *words)
        assert failed.returncode == 1 and "param" in failed.stderr, failed
    assert lake("sql", "--param").returncode == 2
    assert lake("sql", *["--param=1"] * 101, "SELECT 1").returncode == 2


def test_time_travel_from_the_command_line(lake, tmp_path):
    for name, text in (("one", "a\n1\n"), ("two", "a\n2\n")):
        (tmp_path / name).write_text(text)
    assert lake("ingest", tmp_path / "one", "--table", "t", "--format", "csv").returncode == 0
    first = requests.get(lake.server.url + "/v1/catalog/manifest/t", timeout=10).json()["snapshot_id"]
    assert lake("ingest", tmp_path / "two", "--table", "t", "--format", "csv").returncode == 0
    assert lake("sql", "SELECT a FROM t ORDER BY a").stdout == "a\n1\n2\n"
    assert lake("sql", f"SELECT a FROM t AT (VERSION => {first})").stdout == "a\n1\n"


def test_a_late_error_is_told_whatever_the_format(lake):
    late = "SELECT CASE WHEN range = 290000 THEN error('too late') ELSE range END AS x FROM range(3000000)"
    for form, told in (("ndjson", "too late"), ("json", "too late"), ("table", "too late"), ("csv", "rows above are not all")):
        failed = lake("sql", "--format", form, late)
        assert failed.returncode == 1, form
        assert told in failed.stderr and "not all" in failed.stderr and "is it running" not in failed.stderr, failed.stderr
        assert "0" in failed.stdout  # the rows that came before it


def test_a_full_disk_is_told(lake, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    for words in (["sql", "SELECT 1"], ["sql", "--format", "table", "SELECT 1"], ["tables"], ["sql", "SELECT * FROM range(100000)"],
                  ["ingest", tmp_path / "t.csv"], ["describe", "t"], ["sql", "--help"], ["--help"], ["config"], ["serve", "--help"]):
        with open("/dev/full", "w") as full:
            failed = subprocess.run([lake.program, *map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True, env=lake.env, timeout=60)
        assert failed.returncode == 1 and "No space left" in failed.stderr, (words, failed)


def test_a_closed_standard_output_is_told(lake):
    for words in (["sql", "SELECT 1"], ["tables"], ["version"]):
        failed = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', lake.program, *words], stderr=subprocess.PIPE, text=True, env=lake.env, timeout=30)
        assert failed.returncode == 1 and "cannot write to standard output" in failed.stderr, failed


def test_a_reader_that_has_enough_ends_the_query(lake):
    """`lakehouse sql ... | head -1`: ended by SIGPIPE without a word, and the server stops computing."""
    process = lake.popen("sql", "SELECT range AS x FROM range(100000000000)", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"x\n"
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()
    until(lambda: metric(lake.server, "lakehouse_engines_busy") == 0)


def test_ctrl_c_ends_the_statement_here_and_there(lake):
    def ctrl_c(keyboard):
        until(lambda: metric(lake.server, "lakehouse_engines_busy") == 1)
        os.write(keyboard, b"\x03")
    start = time.monotonic()
    code, _ = lake.terminal("sql", ENDLESS, typed=ctrl_c)
    assert code == -signal.SIGINT
    until(lambda: metric(lake.server, "lakehouse_engines_busy") == 0)
    assert time.monotonic() - start < 15
    assert lake("sql", "SELECT 1 AS a").stdout == "a\n1\n"


def test_ctrl_c_at_the_terminal_of_a_server_stops_it_in_order(shell, tmp_path):
    """The signal goes to all that belong to the terminal; the engines are the server's to end."""
    seen = []

    def ctrl_c(keyboard):
        while b"listening" not in b"".join(seen):
            seen.append(os.read(keyboard, 65536))
        os.write(keyboard, b"\x03")
    code, shown = shell.terminal("serve", "--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0", typed=ctrl_c)
    assert code == 0
    events = [json.loads(line)["event"] for line in shown.replace("^C", "").splitlines() if line.startswith("{")]
    assert events[-2:] == ["stopping", "stopped"] and "engine_died" not in events


# ---- tables on a terminal ----

def test_a_table_on_a_terminal(lake):
    code, shown = lake.terminal("sql", "SELECT 'Mourning dove' AS species, 1204 AS strikes, NULL AS n UNION ALL SELECT 'Gull', 7, NULL")
    assert code == 0
    assert sorted(shown.splitlines()[2:4]) == ["Gull                 7  NULL", "Mourning dove     1204  NULL"]
    assert shown.splitlines()[:2] == ["species        strikes     n", "-------------  -------  ----"]
    assert shown.splitlines()[4:] == ["(2 rows)"]


def test_an_empty_result_shows_its_columns(lake):
    assert lake.terminal("sql", "SELECT 1 AS a, 'x' AS b WHERE false") == (0, "a  b\n-  -\n(0 rows)\n")


def test_numbers_keep_all_their_digits(lake):
    _, shown = lake.terminal("sql", "SELECT 170141183460469231731687303715884105727::HUGEINT AS h, 3.50::DECIMAL(5,2) AS d, "
                                    "[1.10::DECIMAL(4,2)] AS l, 9007199254740993 AS b")
    assert shown.splitlines()[2].split() == ["170141183460469231731687303715884105727", "3.50", "[1.10]", "9007199254740993"]


def test_wide_and_combining_characters_stand_in_their_columns(lake):
    _, shown = lake.terminal("sql", "SELECT '日本語' AS a, 'e' || chr(769) AS b, '✅' AS c, 'ไทย' AS d, 'end' AS e "
                                    "UNION ALL SELECT 'abcdef', 'x', 'yz', 'klm', 'end'")
    # columns of the terminal: 6, 1, 2, 3, 3; the accent takes none, the ideographs and the emoji two
    assert sorted(shown.splitlines()[2:4]) == sorted(["日本語  e\u0301  ✅  ไทย  end", "abcdef  x  yz  klm  end"])
    assert shown.splitlines()[1] == "------  -  --  ---  ---"


def test_control_characters_do_not_reach_the_terminal(lake):
    _, shown = lake.terminal("sql", "SELECT chr(27) || '[2J' || chr(10) || chr(9) || chr(155) || chr(8238) || chr(127) AS x")
    assert shown.splitlines()[2] == "␛[2J␊␉\ufffd\ufffd␡"


def test_a_long_cell_is_cut_to_the_screen(lake):
    _, shown = lake.terminal("sql", "SELECT repeat('x', 500) AS x, 12345 AS n", columns=40)
    assert shown.splitlines()[2] == "x" * 32 + "…  12345"
    assert all(len(line) <= 40 for line in shown.splitlines())
    _, shown = lake.terminal("sql", "SELECT repeat('日', 500) AS x, 12345 AS n", columns=40)
    assert shown.splitlines()[2] == "日" * 16 + "…  12345"
    whole = lake("sql", "--format", "csv", "SELECT repeat('x', 500) AS x").stdout
    assert whole == "x\n" + "x" * 500 + "\n"


def test_the_widest_columns_are_cut_first(lake):
    _, shown = lake.terminal("sql", "SELECT 'short' AS a, repeat('m', 30) AS b, repeat('w', 90) AS c", columns=60)
    assert shown.splitlines()[2].split() == ["short", "m" * 25 + "…", "w" * 24 + "…"] or \
        shown.splitlines()[2].split() == ["short", "m" * 24 + "…", "w" * 25 + "…"]


def test_too_many_columns_become_records(lake):
    columns = ", ".join(f"'value {i}' AS column_{i}" for i in range(20))
    _, shown = lake.terminal("sql", f"SELECT {columns} FROM range(2)", columns=80)
    lines = shown.splitlines()
    assert lines[0] == "-- row 1 --" and lines[21] == "-- row 2 --" and lines[-1] == "(2 rows)"
    assert lines[1] == "column_0   value 0" and lines[20] == "column_19  value 19"


def test_a_plan_is_shown_as_the_drawing_that_it_is(lake):
    _, shown = lake.terminal("sql", "EXPLAIN SELECT 1")
    assert shown.startswith("┌─") and "PROJECTION" in shown and "␊" not in shown and "(1 row)" not in shown


# ---- ingest, tables, describe ----

def test_ingest_names_the_table_after_the_file(lake, tmp_path):
    (tmp_path / "birds.csv").write_text("a,b\n1,x\n2,y\n")
    first = lake("ingest", tmp_path / "birds.csv")
    assert first.returncode == 0 and first.stderr == ""
    assert re.fullmatch(r"birds: 2 rows added, table created \(\d+\.\d s\)\n", first.stdout)
    again = lake("ingest", tmp_path / "birds.csv")
    assert again.returncode == 0 and "2 rows were there already, nothing changed" in again.stdout
    other = lake("ingest", tmp_path / "birds.csv", "--table", "zoo.birds")
    assert other.returncode == 0 and other.stdout.startswith("zoo.birds: 2 rows added, table created")
    piped = lake("ingest", "-", "--table", "birds", stdin="a,b\n3,z\n")
    assert piped.returncode == 0 and piped.stdout.startswith("birds: 1 row added (")


def test_ingest_of_many_goes_on_after_a_refusal(lake, tmp_path):
    (tmp_path / "good.csv").write_text("a\n1\n")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    (tmp_path / "folder.csv").mkdir()
    got = lake("ingest", tmp_path / "bad.csv", tmp_path / "missing.csv", tmp_path / "folder.csv", tmp_path / "good.csv")
    assert got.returncode == 1
    assert got.stdout.startswith("good: 1 row added")
    told = got.stderr.splitlines()
    assert len(told) == 3
    assert "bad.csv: " in told[0] and "line 3" in told[0]
    assert "missing.csv: " in told[1] and "No such file" in told[1]
    assert "folder.csv: " in told[2] and "folder" in told[2]


def test_ingest_tells_drift_and_evolves_when_asked(lake, tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "wider.csv").write_text("a,b\n2,x\n")
    assert lake("ingest", tmp_path / "t.csv").returncode == 0
    refused = lake("ingest", tmp_path / "wider.csv", "--table", "t")
    assert refused.returncode == 1 and '"b"' in refused.stderr and "evolve" in refused.stderr
    assert lake("ingest", tmp_path / "wider.csv", "--table", "t", "--evolve").returncode == 0
    assert lake("sql", "SELECT a, b FROM t ORDER BY a").stdout == "a,b\n1,\n2,x\n"


def test_ingest_of_a_great_file_is_streamed(lake, tmp_path):
    """More than the client could hold back in its own buffers, from a pipe whose length nobody knows."""
    rows = 300_000
    process = subprocess.Popen([lake.program, "ingest", "-", "--table", "big"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=lake.env)
    out, told = process.communicate("a,b\n" + "".join(f"{i},{'x' * 40}\n" for i in range(rows)), timeout=60)
    assert process.returncode == 0 and told == ""
    assert out.startswith("big: 300,000 rows added")


def test_the_name_of_a_file_says_what_it_is(lake, tmp_path):
    """Bytes that could be two things: a TSV of one column with commas in it, JSON lines in a CSV."""
    (tmp_path / "one.tsv").write_text("a,b\nx,y\n")
    (tmp_path / "two.CSV").write_text('{"a":1}\n{"a":2}\n')
    (tmp_path / "three.csv.gz").write_bytes(gzip.compress(b'a\n"{""b"":1}"\n'))
    assert lake("ingest", *(tmp_path / name for name in ("one.tsv", "two.CSV", "three.csv.gz"))).returncode == 0
    assert lake("sql", "--format", "json", "FROM one").stdout.startswith('{"columns":[{"name":"a,b"')
    assert lake("sql", "SELECT count(*) AS n FROM two").stdout == "n\n1\n"  # the first line is the head
    assert lake("sql", "FROM three").stdout == 'a\n"{""b"":1}"\n'
    assert lake("ingest", "--format", "ndjson", tmp_path / "two.CSV", "--table", "lines").returncode == 0
    assert lake("sql", "SELECT sum(a) AS s FROM lines").stdout == "s\n3\n"


def test_text_that_is_not_utf8(lake, tmp_path):
    (tmp_path / "t.csv").write_bytes("a\ngrün\n".encode("latin-1"))
    refused = lake("ingest", tmp_path / "t.csv")
    assert refused.returncode == 1 and "UTF-8" in refused.stderr, refused
    assert lake("ingest", "--charset", "iso-8859-1", tmp_path / "t.csv").returncode == 0
    assert lake("sql", "FROM t").stdout == "a\ngrün\n"
    wrong = lake("ingest", "--charset", "ebcdic", tmp_path / "t.csv")
    assert wrong.returncode == 1 and "windows-1252" in wrong.stderr


def test_types_may_be_said(lake, tmp_path):
    (tmp_path / "t.csv").write_text("zip,price\n10115,2.5\n")
    assert lake("ingest", "--types", "zip:string,price:decimal(10,2)", tmp_path / "t.csv").returncode == 0
    assert [row["type"] for row in csv.DictReader(io.StringIO(lake("describe", "t").stdout))] == ["string", "decimal(10, 2)"]
    wrong = lake("ingest", "--types", "zip:zipcode", tmp_path / "t.csv", "--table", "u")
    assert wrong.returncode == 1 and "zipcode" in wrong.stderr


def test_bad_rows_may_be_left_out_and_files_taken_twice(lake, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2\n3,y,z\n4,w\n")
    assert lake("ingest", tmp_path / "t.csv").returncode == 1
    got = lake("ingest", "--on-error", "skip", tmp_path / "t.csv")
    assert got.returncode == 0 and got.stdout.startswith("t: 2 rows added")
    told = got.stderr.splitlines()
    assert told[0] == "2 rows left out:" and told[1].startswith("  line 3: ") and told[2].startswith("  line 4: ")
    (tmp_path / "many.csv").write_text("a,b\n" + "1,x\n2\n" * 30)
    assert lake("ingest", "--on-error", "skip", tmp_path / "many.csv").stderr.splitlines()[-1] == "  ..."
    skipped = json.loads(lake("ingest", "--json", "--on-error", "skip", "--dedup", "off", tmp_path / "many.csv").stdout)["answer"]["skipped"]
    assert skipped["count"] == 30
    assert lake("sql", "SELECT count(*) AS n FROM many").stdout == "n\n60\n"
    assert lake("ingest", "--on-error", "maybe", tmp_path / "t.csv").returncode == 1


def test_rows_may_be_replaced_and_spread(lake, tmp_path):
    (tmp_path / "t.csv").write_text("id,v\n1,x\n2,y\n")
    (tmp_path / "u.csv").write_text("id,v\n2,z\n3,w\n")
    assert lake("ingest", "--partition-by", "bucket(2,id)", "--sort-by", "v desc", tmp_path / "t.csv").returncode == 0
    got = lake("ingest", "--mode", "upsert", "--key", "id", "--table", "t", tmp_path / "u.csv")
    assert got.stdout.startswith("t: 2 rows added, 1 replaced ("), got.stderr
    assert lake("ingest", "--mode", "upsert", "--key", "id", "--table", "t", tmp_path / "u.csv").stdout.startswith("t: 2 rows were there already, nothing changed (")
    assert lake("sql", "SELECT id, v FROM t ORDER BY id").stdout == "id,v\n1,x\n2,z\n3,w\n"
    assert lake("ingest", "--mode", "overwrite", "--table", "t", tmp_path / "t.csv").stdout.startswith("t: 2 rows added (")
    assert lake("sql", "SELECT id, v FROM t ORDER BY id").stdout == "id,v\n1,x\n2,y\n"
    twice = lake("ingest", "--mode", "overwrite", "--table", "t", tmp_path / "t.csv", tmp_path / "u.csv")
    assert twice.returncode == 2 and "one file" in twice.stderr
    assert lake("ingest", "--mode", "upsert", "--table", "t", tmp_path / "u.csv").returncode == 1


def test_tables_and_describe_piped_are_csv(lake, tmp_path):
    assert lake("tables").stdout == "table,rows,files,size,changed\n"
    (tmp_path / "t.csv").write_text('id,"odd, ""name"""\n1,x\n')
    assert lake("ingest", tmp_path / "t.csv").returncode == 0
    assert lake("ingest", tmp_path / "t.csv", "--table", "zoo.t").returncode == 0
    rows = list(csv.DictReader(io.StringIO(lake("tables").stdout)))
    assert [(row["table"], row["rows"], row["files"]) for row in rows] == [("t", "1", "1"), ("zoo.t", "1", "1")]
    assert int(rows[0]["size"]) > 100
    assert [row["table"] for row in csv.DictReader(io.StringIO(lake("tables", "--namespace", "zoo").stdout))] == ["zoo.t"]
    columns = list(csv.DictReader(io.StringIO(lake("describe", "t").stdout)))
    assert columns == [{"column": "id", "type": "long", "required": "no", "id": "1"},
                       {"column": 'odd, "name"', "type": "string", "required": "no", "id": "2"}]


def test_tables_and_describe_on_a_terminal(lake):
    code, shown = lake.terminal("tables")
    assert code == 0 and "no tables yet" in shown and "lakehouse ingest" in shown
    assert lake("ingest", ROOT / "examples/data/airports.csv").returncode == 0
    code, shown = lake.terminal("tables")
    assert code == 0 and re.search(r"^airports  3,376      1  \d+ kB  20", shown, re.MULTILINE), shown
    code, shown = lake.terminal("describe", "airports", columns=200)
    assert code == 0 and re.search(r"^latitude   double  no         6$", shown, re.MULTILINE), shown
    location = shown.splitlines()[-1]
    assert "3,376 rows in 1 file" in shown and pathlib.Path(location.removeprefix("file://")).exists(), location


# ---- JSON for programs ----

def test_every_client_command_speaks_json(lake, tmp_path):
    (tmp_path / "birds.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    got = lake("ingest", "--json", tmp_path / "birds.csv", tmp_path / "bad.csv", tmp_path / "none.csv")
    lines = [json.loads(line) for line in got.stdout.splitlines()]
    assert got.returncode == 1 and [line["file"].split("/")[-1] for line in lines] == ["birds.csv", "bad.csv", "none.csv"]
    assert lines[0]["answer"]["rows"] == 2 and lines[0]["answer"]["created"] is True and "error" not in lines[0]
    assert lines[1]["error"]["code"] == "invalid" and "line 3" in lines[1]["error"]["message"] and "answer" not in lines[1]
    assert lines[2]["error"]["code"] == "not_found" and got.stderr.count("\n") == 2  # people are told as well
    assert json.loads(lake("sql", "--json", "SELECT sum(a) AS s FROM birds").stdout)["rows"] == [{"s": 3}]
    listed = json.loads(lake("tables", "--json").stdout)
    assert listed == {"tables": requests.get(lake.server.url + "/v1/catalog/list", timeout=10).json()["tables"]} and listed["tables"][0]["name"] == "birds"
    assert json.loads(lake("tables", "--json", "--namespace", "none").stdout) == {"tables": []}
    assert json.loads(lake("describe", "--json", "birds").stdout) == requests.get(lake.server.url + "/v1/catalog/manifest/birds", timeout=10).json()
    assert json.loads(lake("version", "--json").stdout) == {"version": lake("version").stdout.split()[1]}
    for words in (["tables"], ["describe", "birds"]):  # the same on a terminal
        assert json.loads(lake.terminal(*words, "--json")[1]) == json.loads(lake(*words, "--json").stdout)
    assert lake("sql", "--json", "--format", "csv", "SELECT 1").returncode == 2


def test_config_as_json_has_types_and_sources(shell, tmp_path):
    (tmp_path / "it.toml").write_text('[gateway]\nhosts = ["a.example", "b.example"]\n[cluster]\nsecret = "0123456789abcdef0123456789abcdef"\n')
    got = json.loads(shell("config", "--json", "-config", tmp_path / "it.toml", "--queryd.threads", "3", LAKEHOUSE_HTTP_ALLOW_REMOTE="true").stdout)
    assert got["gateway"]["hosts"] == {"value": ["a.example", "b.example"], "source": "file"}
    assert got["queryd"]["threads"] == {"value": 3, "source": "flag"} and got["queryd"]["engines"]["source"] == "default"
    assert got["http"]["allow_remote"] == {"value": True, "source": "environment"}
    assert got["storaged"]["max_object_bytes"]["value"] == 268435456
    assert got["cluster"]["secret"] == {"value": "****", "source": "file"}
    settings = [section for name, section in got.items() if "." not in name and name != "warehouse"]  # not those of lists of tables, of which there are none
    assert sum(map(len, settings)) == len(re.findall(r"^\w+ = ", shell("config").stdout, re.MULTILINE))


# ---- colours and bars ----

def test_colours_are_for_terminals_whose_user_wants_them(lake):
    statement = "SELECT 1 AS a, NULL AS n, 'NULL' AS t"
    _, painted = lake.terminal("sql", statement, NO_COLOR="")
    assert painted.splitlines()[0] == "\x1b[1ma\x1b[0m     \x1b[1mn\x1b[0m  \x1b[1mt\x1b[0m"
    assert painted.splitlines()[2] == "1  \x1b[2mNULL\x1b[0m  NULL"  # no value is told from a text
    for env in ({"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "dumb"}, {"NO_COLOR": "", "TERM": ""}):
        assert "\x1b" not in lake.terminal("sql", statement, **env)[1]
    assert "\x1b" not in lake("sql", "--format", "table", statement, NO_COLOR="").stdout


def test_an_upload_shows_a_bar_on_a_terminal_and_only_there(lake, tmp_path):
    path = tmp_path / "big.csv"
    path.write_text("a,b\n" + "".join(f"{i},{'x' * 40}\n" for i in range(100_000)))
    code, shown = lake.terminal("ingest", path)
    bars, line = shown.rsplit("\r\x1b[K", 1)
    assert code == 0 and re.fullmatch(r"big: 100,000 rows added, table created \(\d+\.\d s\)\n", line)
    assert "big.csv  100 %  4.7 MB of 4.7 MB, the server works on it" in bars
    assert all(len(bar) < 80 for bar in bars.split("\r\x1b[K"))
    code, shown = lake.terminal("ingest", path, TERM="dumb")
    assert code == 0 and "\x1b" not in shown and " % " not in shown
    piped = lake("ingest", path, "--table", "other")
    assert piped.returncode == 0 and piped.stderr == "" and "\x1b" not in piped.stdout


@pytest.mark.slow
def test_listing_goes_beyond_one_page(lake):
    """A page of the list holds 1,000 tables."""
    session = requests.Session()
    first = session.post(lake.server.url + "/v1/ingest", params={"name": "t0000"}, data=b"a\n1\n", timeout=30).json()
    key = first["files"][0]["key"]
    names = [f"t{i:04}" for i in range(1, 1003)]
    for name in names:
        answer = session.post(lake.server.url + "/v1/catalog/register", json={"name": name, "objects": [key]}, timeout=30)
        assert answer.status_code == 200, answer.text
    assert [row["table"] for row in csv.DictReader(io.StringIO(lake("tables").stdout))] == ["t0000", *names]
    assert [table["name"] for table in json.loads(lake("tables", "--json").stdout)["tables"]] == ["t0000", *names]
