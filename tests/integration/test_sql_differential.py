"""Random statements over lake tables of several files, some older than the schema, against the same rows in plain DuckDB.

What lies between the two is ours: pruning by bounds, mapping by field id, row identity of late
materialisation, filters that a join finds. A failure repeats from its seed, which is in its message.
"""

import io
import os
import random
import time

import duckdb
import pyarrow.ipc
import pytest
import requests

FILES = 8
ROWS = 6000
TEXTS = ["", "a", "ab", "b", "ba", "é", "z" * 30, "value", "null"]


def rows_sql(seed, file):
    """Rows of one file, with ids of their own: file by file in order, but for a few that stray."""
    first = file * ROWS
    old = file < FILES // 2
    return f"""
        SELECT CASE WHEN i % 97 = 0 THEN (i * 31) % {FILES * ROWS} * {FILES * ROWS} + i + {first} ELSE i + {first} END AS id,
               CASE WHEN hash(i, {seed}) % 11 = 0 THEN NULL ELSE (hash(i, {seed + 1}) % 50)::{'INTEGER' if old else 'BIGINT'} END AS k,
               CASE hash(i, {seed + 2}) % 40 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN NULL ELSE (({first} + i) // 100 - 70)::VARCHAR END::DOUBLE AS d,
               {TEXTS!r}[1 + (hash(i, {seed + 3}) % {len(TEXTS) + 1})::INTEGER] AS t,
               DATE '2020-01-01' + (({first} + i) // 50)::INTEGER AS day,
               TIMESTAMP '2020-01-01' + to_minutes({first} + i) AS at,
               (hash(i, {seed + 4}) % 100000 / 100)::DECIMAL(12, 2) AS amount,
               hash(i, {seed + 5}) % 3 = 0 AS flag,
               {{'x': ({first} + i) % 300, 'y': 'in ' || i % 5}} AS s
               {'' if old else f", CASE WHEN i % 4 > 0 THEN {first} + i END AS extra"}
        FROM range({ROWS}) r(i)"""


class Statements:
    """Random SELECTs; what they order by is unique, so that LIMIT has one answer."""

    NUMBERS = {"id": (-5, FILES * ROWS * 2), "k": (-1, 51), "d": (-80, 420), "amount": (-1, 1001), "extra": (0, FILES * ROWS), "s.x": (-1, 301)}

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        return self.random.choice(choices)

    def number(self, column):
        low, high = self.NUMBERS[column]
        value = self.random.randint(low, high)
        return f"{value}.25" if column in ("d", "amount") and self.random.random() < 0.3 else str(value)

    def literal(self, column):
        if column in self.NUMBERS:
            return self.number(column)
        days = self.random.randint(-10, FILES * ROWS // 50 + 10)
        return {"t": lambda: "'" + self.pick(*TEXTS, "zz", "A") + "'",
                "s.y": lambda: f"'in {self.random.randint(0, 6)}'",
                "day": lambda: f"DATE '2020-01-01' + {days}",
                "at": lambda: f"TIMESTAMP '2020-01-01' + INTERVAL ({self.random.randint(-100, FILES * ROWS + 100)}) MINUTE",
                "flag": lambda: self.pick("true", "false")}[column]()

    def column(self):
        return self.pick("id", "k", "d", "t", "day", "at", "amount", "flag", "extra", "s.x", "s.y")

    def predicate(self, depth=0):
        kind = self.random.random()
        if depth < 2 and kind < 0.3:
            return f"({self.predicate(depth + 1)} {self.pick('AND', 'OR')} {self.predicate(depth + 1)})"
        if kind < 0.36:
            return f"NOT ({self.predicate(depth + 1)})" if depth < 2 else "true"
        column = self.column()
        name = f"l.{column}"
        if kind < 0.42:
            return f"{name} IS {self.pick('', 'NOT ')}NULL"
        if kind < 0.52:
            return f"{name} IN ({', '.join(self.literal(column) for _ in range(self.random.randint(1, 4)))})"
        if kind < 0.62:
            return f"{name} BETWEEN {self.literal(column)} AND {self.literal(column)}"
        if kind < 0.66:
            return f"{name} IS {self.pick('', 'NOT ')}DISTINCT FROM {self.literal(column)}"
        if kind < 0.7:
            return f"l.t LIKE '{self.pick('a', 'b', 'v', 'z', 'é')}%'"
        if kind < 0.74:
            return f"l.d = {self.pick(chr(39) + 'NaN' + chr(39) + '::DOUBLE', chr(39) + 'inf' + chr(39) + '::DOUBLE')}"
        return f"{name} {self.pick('=', '<', '<=', '>', '>=', '<>')} {self.literal(column)}"

    def source(self):
        return self.pick(
            "lefts l", "lefts l", "lefts l",
            f"lefts l JOIN rights r ON l.id = r.id AND r.w < {self.random.randint(0, 400)}",
            f"lefts l LEFT JOIN (FROM rights WHERE w > {self.random.randint(0, 400)}) r ON l.id = r.id",
            f"(FROM lefts WHERE id IN (SELECT id FROM rights WHERE w = {self.random.randint(0, 400)})) l",
            f"lefts l JOIN (SELECT id + {self.random.randint(0, 9)} AS other FROM lefts WHERE k = {self.random.randint(0, 49)}) r ON l.id = r.other",
            f"lefts l JOIN (SELECT unnest([{', '.join(self.number('id') for _ in range(3))}]) AS other) r ON l.id = r.other")

    def statement(self):
        source = self.source()
        where = f"WHERE {self.predicate()}" if self.random.random() < 0.85 else ""
        if self.random.random() < 0.35:
            group = self.pick("l.k", "l.t", "l.day", "l.flag", "l.s.y")
            return f"SELECT {group} AS g, count(*), count(l.extra), sum(l.amount), min(l.d), max(l.at), max(l.id) FROM {source} {where} GROUP BY g ORDER BY g", True
        columns = self.pick("l.*", "l.id, l.d, l.s", "l.extra, l.t, l.id", "l.id, l.s.x, l.flag", "l.id")
        if self.random.random() < 0.6 and "r.other" not in source:
            order = f"ORDER BY l.{self.column()} {self.pick('', 'DESC')} {self.pick('', 'NULLS FIRST', 'NULLS LAST')}, l.id LIMIT {self.random.randint(0, 200)}"
            if self.random.random() < 0.3:
                order += f" OFFSET {self.random.randint(0, 100)}"
            return f"SELECT {columns} FROM {source} {where} {order}", True
        return f"SELECT {columns} FROM {source} {where}", False


def answer(table, ordered):
    rows = [repr(list(row.values())) for row in table.to_pylist()]
    return rows if ordered else sorted(rows)


def ask(url, statement):
    got = requests.post(f"{url}/v1/sql", json={"sql": statement, "format": "arrow"}, timeout=120)
    assert got.status_code == 200, f"{statement}: {got.text}"
    return pyarrow.ipc.open_stream(io.BytesIO(got.content)).read_all()


@pytest.fixture
def both(serve, tmp_path):
    """A server and a plain DuckDB with the same rows in `lefts` and `rights`."""
    server = serve("--queryd.engines", 1)
    plain = duckdb.connect()
    plain.execute("SET TimeZone = 'UTC'")

    def add(table, sql, name):
        path = tmp_path / name
        plain.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
        got = requests.post(f"{server.url}/v1/ingest", params={"name": table, "evolve": "true"}, data=path.read_bytes(),
                            headers={"Content-Type": "application/vnd.apache.parquet"}, timeout=120)
        assert got.status_code == 200, got.text

    for file in range(FILES):
        add("lefts", rows_sql(7, file), f"left{file}.parquet")
    for file in range(3):
        add("rights", f"SELECT (hash(i, 3) % {FILES * ROWS})::BIGINT AS id, i % 400 AS w FROM range({file * 400}, {file * 400 + 400}) r(i) QUALIFY row_number() OVER (PARTITION BY id) = 1", f"right{file}.parquet")
    plain.execute(f"CREATE TABLE lefts AS SELECT * REPLACE (k::BIGINT AS k) FROM read_parquet('{tmp_path}/left*.parquet', union_by_name = true)")
    plain.execute(f"CREATE TABLE rights AS SELECT * FROM read_parquet('{tmp_path}/right*.parquet')")
    return server, plain


def compare(both, seed, count, seconds):
    server, plain = both
    statements = Statements(seed)
    begin = time.monotonic()
    for number in range(count):
        if time.monotonic() - begin > seconds and number >= 20:
            break  # a slow machine tries fewer
        statement, ordered = statements.statement()
        expected = answer(plain.execute(statement).to_arrow_table(), ordered)
        got = answer(ask(server.url, statement), ordered)
        assert got == expected, f"seed {seed}, statement {number}: {statement}\n{len(got)} rows for {len(expected)}; first of ours: {got[:3]}, of theirs: {expected[:3]}"


def test_random_statements_answer_as_plain_tables_do(both):
    compare(both, 20261126, 200, 20)


@pytest.mark.slow
def test_many_random_statements_answer_as_plain_tables_do(both):
    seed = int(os.environ.get("LAKEHOUSE_TEST_SEED", time.time()))
    compare(both, seed, 20000, 240)
