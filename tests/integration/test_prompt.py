"""The prompt of `lakehouse sql`, as a person at a terminal meets it: typed through a pseudo terminal."""

import errno
import json
import os
import pathlib
import re
import select
import stat

import pytest
from cli_kit import ENDLESS, Shell, lake, metric, shell, until  # noqa: F401 (two of them are fixtures)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "lakehouse> "
MORE = "      ...> "
SECONDS_MAX = 30


class Typist:
    """Types at a prompt and reads the screen. What moves the cursor is taken out of what was read."""

    def __init__(self, process, terminal, first=PROMPT):
        self.process = process
        self.terminal = terminal
        self.screen = ""
        self.wait(first)

    def read(self):
        """More of the screen; False at its end."""
        if not select.select([self.terminal], [], [], SECONDS_MAX)[0]:
            raise AssertionError(f"nothing came; the screen: {self.screen!r}")
        try:
            piece = os.read(self.terminal, 65536)
        except OSError as fault:
            assert fault.errno == errno.EIO
            return False
        self.screen += re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", piece.decode()).replace("\r\n", "\n").replace("\r", "")
        return bool(piece)

    def wait(self, text):
        """Read until `text` is there; returns what stands before it and takes both away."""
        while text not in self.screen:
            assert self.read(), f"ended before {text!r}; the screen: {self.screen!r}"
        before, _, self.screen = self.screen.partition(text)
        return before

    def type(self, keys, until_text=PROMPT):
        os.write(self.terminal, keys.encode())
        return self.wait(until_text)

    def leave(self, keys="\x04"):
        os.write(self.terminal, keys.encode())
        while self.read():
            pass
        os.close(self.terminal)
        return self.process.wait(SECONDS_MAX)


@pytest.fixture
def prompt(lake, tmp_path):
    """Opens a prompt on a lake with birds; `prompt.lake` is the shell."""
    opened = []
    assert lake("ingest", ROOT / "examples/data/birdstrikes.csv", ROOT / "examples/data/airports.csv").returncode == 0
    (tmp_path / "orders.csv").write_text("id,order\n1,x\n")
    assert lake("ingest", tmp_path / "orders.csv", "--table", "sales.orders").returncode == 0

    def open_prompt(**env):
        typist = Typist(*lake.on_terminal("sql", **{"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path), **env}))
        opened.append(typist)
        return typist

    open_prompt.lake = lake
    open_prompt.history = tmp_path / "state/lakehouse/history"
    yield open_prompt
    for typist in opened:
        typist.process.kill()
        typist.process.wait()


def test_statements_run_when_they_are_whole(prompt):
    at = prompt()
    assert "\na\n-\n1\n(1 row)\n" in at.type("SELECT 1 AS a;\n")
    at.type("SELECT 'a;b' AS x, -- not; yet\n", MORE)
    at.type("\n", MORE)
    at.type("/* nor; now */ 2 AS y\n", MORE)
    assert "\nx    y\n---  -\na;b  2\n(1 row)\n" in at.type(";\n")
    both = at.type("SELECT 3 AS p; SELECT 4 AS q;\n")
    assert "\np\n-\n3\n" in both and "\nq\n-\n4\n" in both
    assert at.type("-- nothing to do\n") == "-- nothing to do\n"
    assert at.leave() == 0


def test_a_failed_statement_leaves_the_prompt(prompt):
    at = prompt()
    assert '"nope" does not exist' in at.type("SELECT * FROM nope;\n")
    assert "\n7\n" in at.type("SELECT 7 AS a;\n")
    assert at.leave("\\q\n") == 0


def test_ctrl_c_ends_the_statement_and_not_the_prompt(prompt):
    at = prompt()
    os.write(at.terminal, f"{ENDLESS};\n".encode())
    until(lambda: metric(prompt.lake.server, "lakehouse_engines_busy") == 1)
    assert "canceled" in at.type("\x03")
    until(lambda: metric(prompt.lake.server, "lakehouse_engines_busy") == 0)
    at.type("SELECT 1\n", MORE)
    assert at.type("\x03").endswith("^C\n")  # what was typed is dropped
    assert "\n8\n" in at.type("SELECT 8 AS a;\n")
    assert at.leave() == 0


def test_tab_completes_tables_columns_and_keywords(prompt):
    at = prompt()
    assert at.type("SELECT count(*) FROM bird\t", "strikes ").endswith("FROM bird")
    at.type("\x03")
    assert at.type("sel\t", "ect ")  # as it was begun
    at.type("\x03")
    at.type('SELECT "Wildlife S\t\t', "\n")
    assert at.wait(PROMPT).split("\n")[0].split("  ")[0] == '"Wildlife Size"'  # both are shown, and the line again
    at.type("\x03")
    at.type("SELECT a.lat\t", "itude ")
    at.type("FROM airports a LIMIT 1;\n")
    assert at.type("SELECT * FROM sales.\t", "orders ")
    at.type("\x03")
    assert at.type("\\d sal\t", "es.orders ")
    assert "id      long    no         1" in at.type("\n")
    at.type("SELECT 'bird\t", "bird")  # nothing in a string
    at.type("\x03")
    assert at.leave() == 0


def test_a_name_that_sql_would_misread_is_completed_in_quotes(prompt):
    at = prompt()
    assert at.type("SELECT o.ord\t", '"order" ')
    at.type("FROM sales.orders o;\n")
    assert at.leave() == 0


def test_the_history_is_kept_and_found_again(prompt):
    at = prompt()
    at.type("SELECT 41 + 1 AS\n", MORE)
    at.type("answer;\n")
    assert at.leave() == 0
    assert [json.loads(line) for line in prompt.history.read_text().splitlines()] == ["SELECT 41 + 1 AS\nanswer;"]
    assert stat.S_IMODE(prompt.history.stat().st_mode) == 0o600
    prompt.history.write_text(prompt.history.read_text() + "somebody's edit\n")
    at = prompt()
    assert "\n    42\n" in at.type("\x1b[A\n", PROMPT) + at.screen
    other = prompt()  # a second prompt adds to the same file
    other.type("SELECT 2;\n")
    at.type("SELECT 3;\n")
    assert at.leave() == 0 and other.leave() == 0
    assert prompt.history.read_text().splitlines()[-2:] == ['"SELECT 2;"', '"SELECT 3;"']


def test_the_history_is_bounded(prompt):
    prompt.history.parent.mkdir(parents=True)
    prompt.history.write_text("".join(json.dumps(f"SELECT {i}, '{'x' * 1000}';") + "\n" for i in range(3000)))
    at = prompt()
    assert at.leave() == 0
    kept = prompt.history.read_text().splitlines()
    assert len(kept) == 1000 and "SELECT 2999," in kept[-1]


def test_a_history_that_cannot_be_kept_is_no_fault(prompt, tmp_path):
    (tmp_path / "file").write_text("")
    at = prompt(XDG_STATE_HOME=str(tmp_path / "file"))
    assert "\n1\n" in at.type("SELECT 1 AS a;\n")
    assert at.leave() == 0


def test_the_commands_of_the_prompt(prompt):
    at = prompt()
    listed = at.type("\\d\n")
    assert re.search(r"^airports +3,376", listed, re.MULTILINE) and "sales.orders" in listed
    assert re.search(r"^airports +3,376", at.type("\\dt\n"), re.MULTILINE)
    shown = at.type("\\d airports;\n")
    assert re.search(r"^latitude +double", shown, re.MULTILINE) and "3,376 rows in 1 file" in shown
    assert '"nope" does not exist' in at.type("\\d nope\n")
    assert re.search(r"\n[\d.]+ ms\n", at.type("SELECT 1;\n"))
    assert "timing is off" in at.type("\\timing\n")
    assert " ms\n" not in at.type("SELECT 1;\n")
    assert "\\timing" in at.type("\\?\n")
    assert "unknown command" in at.type("\\nope\n")
    assert at.leave("exit\n") == 0


def test_any_character_can_be_typed(prompt):
    at = prompt(LC_ALL="C", LANG="C")
    assert "größe  日本" in at.type("SELECT 'größe' AS größe, '日本' AS \"日本\";\n")
    assert at.leave() == 0


def test_the_format_holds_at_the_prompt(lake, tmp_path):
    at = Typist(*lake.on_terminal("sql", "--format", "ndjson", HOME=str(tmp_path)))
    assert '\n{"a":1}\n' in at.type("SELECT 1 AS a;\n")
    assert at.leave() == 0
    assert (tmp_path / ".local/state/lakehouse/history").exists()


def test_ctrl_z_goes_back_to_the_shell(lake, tmp_path):
    bash = Shell("/bin/bash")
    bash.env = lake.env
    at = Typist(*bash.on_terminal("--norc", "--noprofile", "-i", PS1="sh> ", HOME=str(tmp_path)), first="sh> ")
    at.type(f"{lake.program} sql\n")
    assert "Stopped" in at.type("\x1a", "sh> ")
    at.type("fg\n", "sql\n")
    assert "\n5\n" in at.type("\nSELECT 5 AS a;\n", " ms\n")
    at.type("\\q\n", "sh> ")
    assert at.leave("exit\n") == 0


def test_no_prompt_without_a_server_or_a_screen(shell, lake):
    code, shown = shell.terminal("sql", LAKEHOUSE_SERVER="http://127.0.0.1:1")
    assert code == 1 and "lakehouse serve" in shown
    code, shown = lake.terminal("sql", "--param", "1")
    assert code == 2 and "which statement?" in shown


def test_the_prompt_is_painted_unless_that_is_unwanted(lake, tmp_path):
    for env, painted in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "TERM": "dumb"}, False)):
        process, terminal = lake.on_terminal("sql", HOME=str(tmp_path), **env)
        raw = b""
        while b"lakehouse> " not in raw:
            raw += os.read(terminal, 65536)
        assert (b"\x1b[1m" in raw) == painted, (env, raw)
        os.write(terminal, b"\x04")
        while True:
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:
                break
        os.close(terminal)
        assert process.wait(SECONDS_MAX) == 0
