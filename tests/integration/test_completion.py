"""Completion in bash and zsh, and the man page: made from the tables that the options are parsed by, and tried in the real programs."""

import os
import pathlib
import re
import subprocess

import pytest
from cli_kit import Shell, lake, shell  # noqa: F401 (two of them are fixtures)
from test_prompt import Typist

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def bash(lake, tmp_path):
    """What bash would offer for a line; its cursor is at the end."""
    script = tmp_path / "completion.bash"
    script.write_text(lake("completion", "bash").stdout)

    def offers(line):
        words = line.split(" ")
        words = [piece for word in words for piece in re.split(r"(=)", word) if piece] + ([""] if line.endswith((" ", "=")) else [])
        words[0] = lake.program
        ask = f"source {script}; COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _lakehouse 2>/dev/null; " \
              'printf "%s\\n" "${COMPREPLY[@]}"'
        got = subprocess.run(["bash", "--norc", "-c", ask], capture_output=True, text=True, env=lake.env, cwd=tmp_path, timeout=30)
        assert got.returncode == 0 and got.stderr == "", got
        return got.stdout.split()
    return offers


def test_bash_offers_commands_options_and_values(bash, tmp_path):
    assert "sql" in bash("lakehouse ") and "doctor" in bash("lakehouse ") and "reference" not in bash("lakehouse ")
    assert bash("lakehouse des") == ["describe"]
    assert bash("lakehouse sql --fo") == ["--format"]
    assert bash("lakehouse sql --format ") == ["table", "csv", "json", "ndjson", "arrow", "parquet"] == bash("lakehouse sql --format=")
    assert bash("lakehouse sql --format=n") == ["ndjson"]
    assert bash("lakehouse completion ") == ["bash", "zsh"]
    assert bash("lakehouse serve --queryd.th") == ["--queryd.threads"]
    assert bash("lakehouse serve --log.level ") == ["debug", "info", "warn", "error"]
    assert "--storaged.bind" in bash("lakehouse storaged --storaged.") and bash("lakehouse gateway --storaged.") == []
    (tmp_path / "birds.csv").write_text("")
    (tmp_path / "birds.d").mkdir()
    assert sorted(bash("lakehouse ingest bird")) == ["birds.csv", "birds.d"] == sorted(bash("lakehouse sql -f bird"))
    assert bash("lakehouse serve --data bird") == ["birds.d"]
    assert bash("lakehouse sql --server ") == []


def test_bash_offers_the_tables_that_there_are(bash, lake):
    for table in ("birds", "sales.orders", "two words"):
        assert lake("ingest", "-", "--table", table, stdin="a\n1\n").returncode == 0
    assert bash("lakehouse describe ") == ["birds", "sales.orders", "two\\", "words"]
    assert bash("lakehouse describe sal") == ["sales.orders"] == bash("lakehouse ingest --table sal")


def test_every_option_is_offered_and_every_offered_one_is_known(bash, shell):
    for command in ("ingest", "sql", "tables", "describe", "vectors", "doctor", "config", "completion", "version"):
        told = set(re.findall(r"^  (--[\w.-]+)", shell(command, "--help").stdout, re.MULTILINE))
        assert set(bash(f"lakehouse {command} --")) == told | {"--help"}, command


def test_zsh_completes(lake, tmp_path):
    assert lake("ingest", "-", "--table", "birds", stdin="a\n1\n").returncode == 0
    functions = tmp_path / "functions"
    functions.mkdir()
    (functions / "_lakehouse").write_text(lake("completion", "zsh").stdout)
    zsh = Shell("/usr/bin/zsh")
    zsh.env = {**lake.env, "HOME": str(tmp_path), "PATH": f"{pathlib.Path(lake.program).parent}:/usr/bin:/bin", "PS1": "sh> ", "TERM": "xterm"}
    at = Typist(*zsh.on_terminal("-f", "-i", columns=160), first="sh> ")
    at.type(f"unsetopt prompt_sp zle_bracketed_paste; fpath=({functions} $fpath); autoload -Uz compinit; compinit -u -D; print re''ady\n", "ready\n")
    at.wait("sh> ")
    for typed, completed in (("lakehouse descr\t", "ibe "), ("lakehouse sql --form\t", "at "), ("lakehouse sql --format nd\t", "json "),
                             ("lakehouse describe bi\t", "rds "), ("lakehouse serve --queryd.thr\t", "eads ")):
        at.type(typed, completed)
        at.type("\x15print x''y\n", "xy\n")  # Ctrl-U drops the line
        at.wait("sh> ")
    listed = at.type("lakehouse \t", "version")
    assert "doctor" in listed and "is the lake well" in listed
    at.leave("\x15exit\n")


def test_the_script_for_zsh_may_be_sourced_too(lake, tmp_path):
    (tmp_path / "it").write_text(lake("completion", "zsh").stdout)
    ask = f"autoload -Uz compinit; compinit -u -D; source {tmp_path}/it; print $_comps[lakehouse]"
    got = subprocess.run(["zsh", "-f", "-c", ask], capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)}, timeout=30)
    assert got.stdout == "_lakehouse\n" and got.returncode == 0, got


def test_another_shell_is_refused(shell):
    for words in ([], ["fish"], ["bash", "zsh"]):
        refused = shell("completion", *words)
        assert refused.returncode == 2 and refused.stdout == "" and "bash or zsh" in refused.stderr


def test_the_man_page_is_right_and_whole(shell, tmp_path):
    page = tmp_path / "lakehouse.1"
    page.write_text(shell("reference", "man").stdout)
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=30)
    assert lint.returncode == 0 and lint.stdout == "", lint
    wide = {**os.environ, "MANWIDTH": "200", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8"}
    for show in (["man", "-l", "--nh", "--nj", page], ["mandoc", "-T", "utf8", "-O", "width=200", page]):
        got = subprocess.run(show, capture_output=True, text=True, env=wide, timeout=30)
        text = re.sub(r".\x08", "", got.stdout)
        assert got.returncode == 0 and got.stderr == "", got
        for wanted in ("a self-hosted lakehouse in one program", "lakehouse describe", "lakehouse doctor", "--queryd.timeout_seconds NUMBER",
                       "--listen HOST:PORT", "--file, -f FILE", "... | lakehouse sql [options]", "EXIT STATUS", "\\? lists the commands",
                       "lakehouse sql \"SELECT * FROM flights AT (VERSION => 123) LIMIT 5\""):
            assert wanted in text, (show[0], wanted)
