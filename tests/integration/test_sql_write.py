"""SQL that writes: CREATE, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, ALTER, DROP; each one commit, read the same by PyIceberg."""

import datetime
import io
import random
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from conftest import start_cluster
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo, literal

MODES = ["copy-on-write", "merge-on-read"]


class Lake:
    def __init__(self, url):
        self.url = url
        self.catalog = load_catalog("lake", type="rest", uri=url + "/iceberg")

    def ask(self, sql, **more):
        return requests.post(self.url + "/v1/sql", json={"sql": sql, "row_format": "arrays", **more}, timeout=120)

    def rows(self, sql, **more):
        answer = self.ask(sql, **more)
        assert answer.status_code == 200, (sql, answer.text)
        return answer.json()["rows"]

    def write(self, sql, **more):
        """How many rows; the snapshot that it answers with is the table's."""
        answer = self.ask(sql, **more)
        assert answer.status_code == 200, (sql, answer.text)
        body = answer.json()
        assert [column["name"] for column in body["columns"]] == ["count", "snapshot_id"]
        return body["rows"][0][0]

    def fails(self, sql, status, word, **more):
        answer = self.ask(sql, **more)
        assert (answer.status_code, word in answer.text) == (status, True), (sql, answer.status_code, answer.text)

    def scanned(self, name, key=lambda row: [str(cell) for cell in row]):
        """What PyIceberg reads of it."""
        table = self.catalog.load_table(name).scan().to_arrow()
        return sorted(([row[column] for column in table.column_names] for row in table.to_pylist()), key=key)


@pytest.fixture(scope="module")
def lake(shared_server):
    return Lake(shared_server.url)


@pytest.fixture
def name(request):
    return "w_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]


def mode_options(mode):
    return "WITH (" + ", ".join(f"'write.{verb}.mode'='{mode}'" for verb in ("delete", "update", "merge")) + ")"


def make(lake, name, mode, count=100):
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR, n INTEGER) {mode_options(mode)}")
    assert lake.write(f"INSERT INTO {name} SELECT i, 'v' || i, i FROM range({count}) r(i)") == count


# --- CREATE, INSERT ---


def test_create_and_insert(lake, name):
    lake.write(f"CREATE TABLE {name} (a INTEGER NOT NULL, b VARCHAR, c DECIMAL(9, 2), d DATE, e DOUBLE[], f STRUCT(x BIGINT, y VARCHAR), g MAP(VARCHAR, INTEGER), t TIMESTAMPTZ, u BLOB)")
    assert lake.write(
        f"INSERT INTO {name} VALUES (1, 'x', 1.5, '2024-01-02', [1, 2.5], {{'x': 7, 'y': 'z'}}, MAP {{'k': 1}}, '2024-01-02 03:04:05+00', '\\xAA'::BLOB),"
        " ('2', 3, '2.25', DATE '2024-02-03', [], NULL, NULL, NULL, DEFAULT)"
    ) == 2
    assert lake.write(f"INSERT INTO {name} (b, a) SELECT 'n' || i, i FROM range(3, 5) r(i) ORDER BY i") == 2
    assert lake.write(f"INSERT INTO {name} BY NAME SELECT 'by' AS B, 9 AS a") == 1
    assert lake.write(f"WITH w AS (SELECT 10 AS x) INSERT INTO {name} (a) SELECT x FROM w") == 1
    assert lake.write(f"INSERT INTO {name} (a, b) VALUES ($1, $2)", params=[11, "param"]) == 1
    assert lake.write(f"INSERT INTO {name} SELECT * FROM {name} WHERE a > 100") == 0
    assert lake.rows(f"SELECT a, b, c::VARCHAR, d, e, f, g, t FROM {name} ORDER BY a") == [
        [1, "x", "1.50", "2024-01-02", [1.0, 2.5], {"x": 7, "y": "z"}, {"k": 1}, "2024-01-02T03:04:05Z"],
        [2, "3", "2.25", "2024-02-03", [], None, None, None],
        [3, "n3"] + [None] * 6,
        [4, "n4"] + [None] * 6,
        [9, "by"] + [None] * 6,
        [10, None] + [None] * 6,
        [11, "param"] + [None] * 6,
    ]
    assert [row[0] for row in lake.scanned("main." + name, key=lambda row: row[0])] == [1, 2, 3, 4, 9, 10, 11]
    schema = lake.catalog.load_table("main." + name).schema()
    assert [(f.name, str(f.field_type), f.required) for f in schema.fields][:4] == [("a", "int", True), ("b", "string", False), ("c", "decimal(9, 2)", False), ("d", "date", False)]


def test_create_as(lake, name):
    assert lake.write(f"CREATE TABLE {name} AS SELECT (i % 100)::TINYINT AS a, i * 1.5 AS b, 'x' || i AS c, [i, i] AS d FROM range(1000) r(i)") == 1000
    assert lake.rows(f"SELECT count(*), sum(a), max(c), sum(b)::VARCHAR, sum(d[2]) FROM {name}") == [[1000, 10 * sum(range(100)), "x999", f"{1.5 * sum(range(1000)):.1f}", sum(range(1000))]]
    assert [str(field.field_type) for field in lake.catalog.load_table("main." + name).schema().fields] == ["int", "decimal(21, 1)", "string", "list<long>"]
    assert lake.write(f"CREATE TABLE IF NOT EXISTS {name} AS SELECT 1 AS other") == 0
    lake.fails(f"CREATE TABLE {name} AS SELECT 1 AS a", 409, "exists already")
    assert lake.write(f"CREATE TABLE {name}_empty AS SELECT * FROM {name} WHERE false") == 0
    assert lake.rows(f"SELECT count(*) FROM {name}_empty") == [[0]]
    lake.write(f"DROP TABLE {name}_empty")


def test_refusals_leave_nothing(lake, name):
    lake.write(f"CREATE TABLE {name} (a INTEGER NOT NULL, b VARCHAR)")
    before = lake.catalog.load_table("main." + name).metadata_location
    for sql, status, word in [
        (f"INSERT INTO {name} VALUES (NULL, 'x')", 400, "NOT NULL"),
        (f"INSERT INTO {name} (b) VALUES ('x')", 400, "NOT NULL"),
        (f"INSERT INTO {name} VALUES (1)", 400, "takes 2 columns"),
        (f"INSERT INTO {name} (a, zz) VALUES (1, 2)", 400, 'no column \\"zz\\"'),
        (f"INSERT INTO {name} (a, a) VALUES (1, 2)", 400, "twice"),
        (f"INSERT INTO {name} VALUES ('word', 'x')", 400, "word"),
        (f"INSERT INTO {name} VALUES (1, 'x') RETURNING a", 400, "RETURNING"),
        (f"INSERT INTO {name} VALUES (1, 'x') ON CONFLICT DO NOTHING", 400, "ON CONFLICT"),
        (f"INSERT OR REPLACE INTO {name} VALUES (1, 'x')", 400, "ON CONFLICT"),
        (f"INSERT INTO {name} SELECT a, content FROM {name}, read_text('/etc/passwd')", 400, "read_text"),
        (f"INSERT INTO {name} VALUES (1, getenv('HOME'))", 400, "getenv"),
        (f"UPDATE {name} SET a = 1, a = 2", 400, "twice"),
        (f"UPDATE {name} SET zz = 1", 400, 'no column \\"zz\\"'),
        (f"UPDATE {name} SET b = (SELECT content FROM read_text('/etc/passwd'))", 400, "read_text"),
        (f"DELETE FROM {name} WHERE a IN (SELECT 1 FROM duckdb_settings())", 400, "duckdb_settings"),
        (f"MERGE INTO {name} t USING (SELECT * FROM read_csv('/etc/passwd')) s ON true WHEN MATCHED THEN DELETE", 400, "read_csv"),
        (f"SELECT 1; DELETE FROM {name}", 400, "stands alone"),
        (f"EXPLAIN DELETE FROM {name}", 400, "cannot be explained"),
        (f"DELETE FROM {name} AT (VERSION => 1)", 400, ""),
        (f"CREATE TABLE {name}_x (a INTEGER PRIMARY KEY)", 400, "NOT NULL"),
        (f"CREATE TABLE {name}_x (a INTEGER DEFAULT 1)", 400, "DEFAULT"),
        (f"CREATE TABLE {name}_x (a INTEGER CHECK (a > 1))", 400, "NOT NULL"),
        (f"CREATE TEMP TABLE {name}_x (a INTEGER)", 400, "temporary"),
        (f"CREATE OR REPLACE TABLE {name} (a INTEGER)", 400, "OR REPLACE"),
        (f"CREATE TABLE memory.{name}_x (a INTEGER)", 404, "memory"),
        (f"CREATE TABLE other.main.{name}_x (a INTEGER)", 400, "cannot be written"),
        ("INSERT INTO information_schema.tables VALUES (1)", 400, "cannot be written"),
        ("CREATE INDEX i ON birds (a)", 400, "not allowed"),
        ("CREATE MACRO m() AS 1", 400, "not allowed"),
        ("CREATE TYPE x AS ENUM ('a')", 400, "not allowed"),
        (f"ALTER TABLE {name} ALTER b TYPE INTEGER", 400, "cannot become"),
        (f"ALTER TABLE {name} ADD COLUMN b INTEGER", 409, "there already"),
        (f"ALTER TABLE {name} DROP COLUMN zz", 404, "zz"),
        (f"ALTER TABLE {name} ALTER a SET NOT NULL", 400, "not supported"),
        ("UPDATE nosuch SET a = 1", 404, "nosuch"),
        ("DROP TABLE nosuch", 404, "nosuch"),
        ("DROP SCHEMA nosuch", 404, "nosuch"),
        ("CREATE TABLE nosuch.t (a INTEGER)", 404, "nosuch"),
    ]:
        lake.fails(sql, status, word)
    assert lake.catalog.load_table("main." + name).metadata_location == before
    assert lake.rows(f"SELECT count(*) FROM {name}") == [[0]]
    assert lake.rows(f"SELECT count(*) FROM information_schema.tables WHERE table_name = '{name}_x'") == [[0]]


# --- DELETE, UPDATE, MERGE ---


@pytest.mark.parametrize("mode", MODES)
def test_delete(lake, name, mode):
    make(lake, name, mode)
    assert lake.write(f"DELETE FROM {name} WHERE id % 10 = 0") == 10
    assert lake.write(f"DELETE FROM {name} WHERE id % 10 = 0") == 0
    assert lake.write(f"DELETE FROM {name} WHERE NULL") == 0
    assert lake.write(f"DELETE FROM {name} USING (VALUES (1), (2), (2)) AS d(x) WHERE {name}.id = d.x") == 2
    assert lake.write(f"DELETE FROM {name} AS t WHERE EXISTS (SELECT 1 FROM {name} AS o WHERE o.id = t.id + 1 AND o.n = 99)") == 1
    left = [[i] for i in range(100) if i % 10 and i not in (1, 2, 98)]
    assert lake.rows(f"SELECT id FROM {name} ORDER BY id") == left
    assert [[row[0]] for row in lake.scanned("main." + name, key=lambda row: row[0])] == left
    deletes = lake.catalog.load_table("main." + name).inspect.delete_files().num_rows
    assert (deletes > 0) == (mode == "merge-on-read")


@pytest.mark.parametrize("mode", MODES)
def test_update(lake, name, mode):
    make(lake, name, mode)
    assert lake.write(f"UPDATE {name} SET v = upper(v), n = n + 1000 WHERE id < 5") == 5
    assert lake.write(f"UPDATE {name} SET n = s.x FROM (VALUES (7, 70), (8, 80)) AS s(id, x) WHERE {name}.id = s.id") == 2
    lake.fails(f"UPDATE {name} SET n = s.x FROM (VALUES (7, 70), (7, 80)) AS s(id, x) WHERE {name}.id = s.id", 400, "changed twice")
    lake.fails(f"UPDATE {name} SET id = NULL WHERE id = 3", 400, "NOT NULL")
    assert lake.write(f"UPDATE {name} SET v = DEFAULT WHERE id = 99") == 1
    wanted = {i: (f"v{i}", i) for i in range(100)} | {i: (f"V{i}", i + 1000) for i in range(5)} | {7: ("v7", 70), 8: ("v8", 80), 99: (None, 99)}
    assert {row[0]: (row[1], row[2]) for row in lake.rows(f"SELECT * FROM {name}")} == wanted
    assert {row[0]: (row[1], row[2]) for row in lake.scanned("main." + name)} == wanted


@pytest.mark.parametrize("mode", MODES)
def test_merge(lake, name, mode):
    make(lake, name, mode, 10)
    assert lake.write(
        f"MERGE INTO {name} AS t USING (SELECT i AS id, 'new' AS v, -1 AS n FROM range(5, 13) r(i)) AS s ON t.id = s.id"
        " WHEN MATCHED AND t.id = 9 THEN DELETE WHEN MATCHED AND t.id = 8 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET v = s.v, n = t.n * 10"
        " WHEN NOT MATCHED AND s.id < 12 THEN INSERT (id, v) VALUES (s.id, s.v || s.id)"
        " WHEN NOT MATCHED BY SOURCE AND t.id = 0 THEN DELETE WHEN NOT MATCHED BY SOURCE AND t.id = 1 THEN UPDATE SET v = 'alone'"
    ) == 1 + 3 + 2 + 2
    wanted = [[1, "alone", 1], [2, "v2", 2], [3, "v3", 3], [4, "v4", 4], [5, "new", 50], [6, "new", 60], [7, "new", 70], [8, "v8", 8], [10, "new10", None], [11, "new11", None]]
    assert lake.rows(f"SELECT * FROM {name} ORDER BY id") == wanted
    assert lake.scanned("main." + name, key=lambda row: row[0]) == wanted
    lake.fails(f"MERGE INTO {name} AS t USING (VALUES (2), (2)) AS s(id) ON t.id = s.id WHEN MATCHED THEN DELETE", 400, "changed twice")
    lake.fails(f"MERGE INTO {name} AS t USING (VALUES (2)) AS s(id) ON t.id = s.id WHEN MATCHED AND random() < 2 THEN DELETE", 400, "random")
    assert lake.write(f"MERGE INTO {name} USING {name} AS s ON {name}.id = s.id + 1000 WHEN MATCHED THEN DELETE") == 0
    assert lake.write(f"MERGE INTO {name} AS t USING (SELECT 2::BIGINT AS id, 'star' AS v, 5 AS n UNION ALL SELECT 50, 'star', 6) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT") == 2
    assert lake.rows(f"SELECT * FROM {name} WHERE v = 'star' ORDER BY id") == [[2, "star", 5], [50, "star", 6]]


@pytest.mark.parametrize("mode", MODES)
def test_random_statements_are_what_a_model_says(lake, name, mode):
    """Random updates, deletes and inserts, over several files, against a dictionary."""
    rng = random.Random(5)
    make(lake, name, mode, 50)
    model = {i: i for i in range(50)}
    for step in range(30):
        kind, k, r = rng.choice(["insert", "update", "delete"]), rng.randint(2, 9), rng.randint(0, 8)
        if kind == "insert":
            first = 1000 * (step + 1)
            assert lake.write(f"INSERT INTO {name} SELECT i, 'x', i FROM range({first}, {first + k}) r(i)") == k
            model |= {i: i for i in range(first, first + k)}
            continue
        hit = [i for i in model if i % k == r]
        if kind == "delete" and len(hit) < len(model):
            assert lake.write(f"DELETE FROM {name} WHERE id % {k} = {r}") == len(hit)
            model = {i: n for i, n in model.items() if i not in hit}
        elif kind == "update":
            assert lake.write(f"UPDATE {name} SET n = n + {step} WHERE id % {k} = {r}") == len(hit)
            model |= {i: model[i] + step for i in hit}
    assert dict(map(tuple, lake.rows(f"SELECT id, n FROM {name}"))) == model
    assert {row[0]: row[2] for row in lake.scanned("main." + name)} == model
    summary = lake.catalog.load_table("main." + name).current_snapshot().summary
    assert int(summary["total-records"]) - int(summary["total-position-deletes"]) == len(model)


def test_truncate(lake, name):
    make(lake, name, "merge-on-read")
    assert lake.write(f"DELETE FROM {name} WHERE id < 10") == 10
    assert lake.write(f"TRUNCATE {name}") == 90
    assert lake.rows(f"SELECT count(*) FROM {name}") == [[0]]
    assert lake.write(f"DELETE FROM {name}") == 0
    table = lake.catalog.load_table("main." + name)
    assert table.scan().to_arrow().num_rows == 0
    assert {key: table.current_snapshot().summary[key] for key in ("total-records", "total-data-files", "total-delete-files", "total-position-deletes")} == {
        "total-records": "0", "total-data-files": "0", "total-delete-files": "0", "total-position-deletes": "0"}
    assert lake.write(f"INSERT INTO {name} VALUES (1, 'x', 1)") == 1
    assert lake.rows(f"SELECT * FROM {name}") == [[1, "x", 1]]


def test_each_statement_is_one_snapshot(lake, name):
    make(lake, name, "merge-on-read", 10)
    first = lake.rows(f"INSERT INTO {name} VALUES (100, 'x', 1)")[0][1]
    second = lake.rows(f"UPDATE {name} SET n = 0 WHERE id < 3")[0][1]
    table = lake.catalog.load_table("main." + name)
    assert [entry.snapshot_id for entry in table.history()][-2:] == [first, second]
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {first}) WHERE n = 0") == [[1]]
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {second}) WHERE n = 0") == [[3]]


def test_the_answer_has_every_format(lake, name):
    lake.write(f"CREATE TABLE {name} (a INTEGER)")
    insert = {"sql": f"INSERT INTO {name} VALUES (1), (2)"}
    csv = requests.post(lake.url + "/v1/sql", json={**insert, "format": "csv"}, timeout=60).text.splitlines()
    assert csv[0] == "count,snapshot_id" and csv[1].split(",")[0] == "2" and len(csv) == 2
    for form in ("arrow", "parquet"):
        body = requests.post(lake.url + "/v1/sql", json={**insert, "format": form}, timeout=60).content
        table = pa.ipc.open_stream(body).read_all() if form == "arrow" else pq.read_table(io.BytesIO(body))
        snapshot = lake.catalog.load_table("main." + name).current_snapshot().snapshot_id
        assert table.to_pylist() == [{"count": 2, "snapshot_id": snapshot}]
    assert lake.rows(f"SELECT count(*) FROM {name}") == [[6]]


# --- ALTER, schemas, names ---


def test_alter(lake, name):
    make(lake, name, "copy-on-write", 3)
    lake.write(f"ALTER TABLE {name} ADD COLUMN extra STRUCT(p INTEGER, q VARCHAR)")
    lake.write(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS extra INTEGER")
    lake.write(f"ALTER TABLE {name} ADD COLUMN extra.r DOUBLE")
    lake.write(f"ALTER TABLE {name} RENAME COLUMN v TO word")
    lake.write(f"ALTER TABLE {name} ALTER n TYPE BIGINT")
    lake.write(f"ALTER TABLE {name} ALTER id DROP NOT NULL")
    lake.write(f"INSERT INTO {name} VALUES (NULL, 'w', 5000000000, {{'p': 1, 'q': 'two', 'r': 3.0}})")
    lake.write(f"ALTER TABLE {name} RENAME COLUMN extra.q TO s")
    lake.write(f"ALTER TABLE {name} DROP COLUMN extra.p")
    assert lake.rows(f"SELECT word, n, extra FROM {name} ORDER BY n") == [["v0", 0, None], ["v1", 1, None], ["v2", 2, None], ["w", 5000000000, {"s": "two", "r": 3.0}]]
    lake.write(f"ALTER TABLE {name} DROP COLUMN IF EXISTS nope")
    lake.write(f"ALTER TABLE {name} DROP COLUMN extra")
    lake.write(f"ALTER TABLE {name} SET ('write.delete.mode' = 'merge-on-read', 'my.own' = 'x')")
    lake.write(f"ALTER TABLE {name} RESET ('my.own')")
    table = lake.catalog.load_table("main." + name)
    assert table.properties.get("write.delete.mode") == "merge-on-read" and "my.own" not in table.properties
    assert [(f.name, str(f.field_type), f.required) for f in table.schema().fields] == [("id", "long", False), ("word", "string", False), ("n", "long", False)]
    lake.write(f"ALTER TABLE {name} RENAME TO {name}_2")
    assert lake.rows(f"SELECT count(*) FROM {name}_2") == [[4]]
    lake.fails(f"SELECT 1 FROM {name}", 404, name)
    lake.write(f"ALTER TABLE IF EXISTS {name} ADD COLUMN x INTEGER")


def test_schemas_and_names(lake):
    lake.write("CREATE SCHEMA IF NOT EXISTS wild")
    lake.fails("CREATE SCHEMA wild", 409, "wild")
    lake.write('CREATE TABLE wild."a.b/c" ("x y" INTEGER, "SELECT" VARCHAR)')
    lake.write("""INSERT INTO wild."a.b/c" VALUES (1, 'it''s')""")
    lake.write("""UPDATE wild."a.b/c" SET "x y" = 2 WHERE "SELECT" = 'it''s'""")
    assert lake.rows('SELECT * FROM wild."A.B/C"') == [[2, "it's"]]
    assert lake.write('DELETE FROM WILD."A.b/c"') == 1
    lake.fails("DROP SCHEMA wild", 409, "not empty")
    lake.write('DROP TABLE wild."a.b/c"')
    lake.write('DROP TABLE IF EXISTS wild."a.b/c"')
    lake.write("DROP SCHEMA wild")
    lake.write("DROP SCHEMA IF EXISTS wild")
    lake.write("CREATE SCHEMA \"deep\"")
    lake.write("CREATE SCHEMA \"deep.er\"")
    lake.write('CREATE TABLE "deep.er".t AS SELECT 1 AS a')
    assert lake.rows('SELECT * FROM "deep.er".t') == [[1]]


# --- partitioned tables ---


def check_partitions(lake, name):
    """Each row of each data file is of the partition that the file says, as PyIceberg's own transforms have it; gives how many partitions there are."""
    table = lake.catalog.load_table("main." + name)
    schema, seen = table.schema(), set()
    for task in table.scan().plan_files():
        spec = table.specs()[task.file.spec_id]
        values = [task.file.partition[i] for i in range(len(spec.fields))]
        seen.add((spec.spec_id, *map(str, values)))
        rows = pq.read_table(task.file.file_path.removeprefix("file://")).to_pylist()
        assert rows
        for row in rows:
            for field, value in zip(spec.fields, values):
                source = schema.find_field(field.source_id)
                cell = row
                for part in schema.find_column_name(field.source_id).split("."):
                    cell = cell[part]
                cell = literal(cell).to(source.field_type).value if isinstance(cell, (datetime.date, datetime.datetime)) else cell
                assert field.transform.transform(source.field_type)(cell) == value, (field, cell, value)
    return len(seen)


@pytest.mark.parametrize("mode", MODES)
def test_rows_go_to_their_partitions(lake, name, mode):
    lake.write(f"CREATE TABLE {name} (d DATE, s VARCHAR, n BIGINT, t TIMESTAMP, z TIMESTAMPTZ, x DECIMAL(9, 2)) PARTITIONED BY (month(d), bucket(4, n), truncate(2, s)) {mode_options(mode)}")
    assert [(field.name, str(field.transform)) for field in lake.catalog.load_table("main." + name).spec().fields] == [("d_month", "month"), ("n_bucket", "bucket[4]"), ("s_trunc", "truncate[2]")]
    assert lake.write(f"INSERT INTO {name} SELECT DATE '2023-12-30' + i::INTEGER, chr((97 + i % 3)::INTEGER) || 'ö' || i, i, TIMESTAMP '1969-12-31 20:00:00' + i * INTERVAL 7 HOUR, TIMESTAMPTZ '1969-12-31 20:00:00+00' + i * INTERVAL 40 DAY, (i - 50) * 1.25 FROM range(100) r(i)") == 100
    assert lake.write(f"INSERT INTO {name} VALUES (NULL, NULL, NULL, NULL, NULL, NULL), ('1969-12-31', 'z', -5, NULL, NULL, -1.5)") == 2
    assert check_partitions(lake, name) > 30
    assert lake.write(f"UPDATE {name} SET n = n + 1000, d = d + 400 WHERE d >= '2024-02-01' AND d < '2024-03-01'") == 29
    assert lake.write(f"DELETE FROM {name} WHERE n % 2 = 0") == 50
    assert lake.write(f"MERGE INTO {name} t USING (VALUES (1, 'moved'), (2000, 'new')) AS s(n, s) ON t.n = s.n WHEN MATCHED THEN UPDATE SET s = s.s WHEN NOT MATCHED THEN INSERT (n, s) VALUES (s.n, s.s)") == 2
    lake.write(f"ALTER TABLE {name} SET PARTITIONED BY (day(t), hour(z), truncate(10, x), truncate(100, n), year(d))")
    assert lake.write(f"INSERT INTO {name} SELECT d, s, n + 5000, t, z, x FROM {name}") == 53
    assert lake.write(f"DELETE FROM {name} WHERE n < 5000") == 53
    assert check_partitions(lake, name) > 30
    assert lake.write(f"UPDATE {name} SET x = -x WHERE n % 3 = 0") > 5
    rows = lake.rows(f"SELECT n, s, x::VARCHAR FROM {name} ORDER BY n")
    assert sorted(([row["n"], row["s"], None if row["x"] is None else str(row["x"])] for row in lake.catalog.load_table("main." + name).scan().to_arrow().to_pylist()), key=lambda row: (row[0] is None, row[0])) == rows
    for where in ("n > 6000", "d >= '2025-03-01'", "s = 'moved'", "x < -20"):
        assert lake.catalog.load_table("main." + name).scan(row_filter=where).to_arrow().num_rows == lake.rows(f"SELECT count(*) FROM {name} WHERE {where}")[0][0], where


def test_views_are_not_written(lake, name):
    lake.write(f"CREATE TABLE {name} AS SELECT 1 AS a")
    answer = requests.post(f"{lake.url}/iceberg/v1/namespaces/main/views", timeout=60, json={
        "name": name + "_v", "schema": {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": False, "type": "int"}]}, "properties": {},
        "view-version": {"version-id": 1, "timestamp-ms": 1, "schema-id": 0, "summary": {}, "default-namespace": ["main"], "representations": [{"type": "sql", "sql": f"SELECT a FROM {name}", "dialect": "duckdb"}]}})
    assert answer.status_code == 200, answer.text
    assert lake.rows(f"SELECT * FROM {name}_v") == [[1]]
    for sql in (f"INSERT INTO {name}_v VALUES (2)", f"DELETE FROM {name}_v", f"UPDATE {name}_v SET a = 2", f"DROP TABLE {name}_v", f"ALTER TABLE {name}_v ADD COLUMN b INTEGER"):
        answer = lake.ask(sql)
        assert answer.status_code in (400, 404) and name + "_v" in answer.text, (sql, answer.text)
    lake.fails(f"CREATE TABLE {name}_v AS SELECT 1 AS a", 409, "view")
    lake.fails(f"CREATE TABLE {name}_v (a INTEGER)", 409, "exists")
    assert lake.write(f"INSERT INTO {name} SELECT a + 1 FROM {name}_v") == 1
    assert lake.rows(f"SELECT * FROM {name}_v ORDER BY a") == [[1], [2]]


def test_partitions_of_every_type(lake, name):
    lake.write(f"CREATE TABLE {name} (b BOOLEAN, i INTEGER, f DOUBLE, dt DATE, ts TIMESTAMP, u UUID, dc DECIMAL(20, 3), st STRUCT(k VARCHAR), w DECIMAL(38, 4))"
               " PARTITIONED BY (b, i, f, dt, ts, bucket(3, u), bucket(5, dc), st.k, bucket(7, dt), bucket(9, ts), w)")
    assert lake.write(f"INSERT INTO {name} SELECT i % 2 = 0, i - 3, i / 2, DATE '1969-12-30' + i::INTEGER, TIMESTAMP '1969-12-31 23:59:59.999999' + i * INTERVAL 1 HOUR, uuid(), (i - 3) * 1234567.003, {{'k': 'a/b=' || i}}, (i - 3) * 123456789012345678.25 FROM range(7) r(i)") == 7
    assert check_partitions(lake, name) == 7
    assert lake.write(f"DELETE FROM {name} WHERE st.k = 'a/b=3'") == 1
    assert lake.rows(f"SELECT count(*), min(i), max(i) FROM {name}") == [[6, -3, 3]]
    lake.write(f"CREATE TABLE {name}_text (k VARCHAR, v INTEGER) PARTITIONED BY (k)")
    assert lake.write(f"INSERT INTO {name}_text VALUES (NULL, 1), ('', 2), ('a=b/c%', 3), ('A', 4), ('a', 5)") == 5
    assert check_partitions(lake, name + "_text") == 5
    # the name that DuckDB's paths have for NULL: refused, for the rows of one would be lost
    lake.fails(f"INSERT INTO {name}_text VALUES (NULL, 1), ('__HIVE_DEFAULT_PARTITION__', 2)", 501, "same path")
    lake.write(f"CREATE TABLE {name}_bytes (b BLOB) PARTITIONED BY (b)")
    lake.fails(f"INSERT INTO {name}_bytes VALUES ('x'::BLOB)", 501, "partitioned")


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_an_old_spec_stay_in_their_partition(lake, name, mode):
    """New rows are of the new spec, though those that stay beside them are of the old one."""
    lake.write(f"CREATE TABLE {name} (k INTEGER, v INTEGER) PARTITIONED BY (k) {mode_options(mode)}")
    lake.write(f"INSERT INTO {name} VALUES (1, 1), (1, 2), (2, 3)")
    lake.write(f"ALTER TABLE {name} RESET PARTITIONED BY")
    assert lake.write(f"UPDATE {name} SET k = 5 WHERE v = 1") == 1
    assert lake.rows(f"SELECT v FROM {name} WHERE k = 5") == [[1]]
    assert lake.rows(f"SELECT v FROM {name} WHERE k = 1") == [[2]]
    assert sorted(row["v"] for row in lake.catalog.load_table("main." + name).scan("k = 5").to_arrow().to_pylist()) == [1]
    assert lake.write(f"DELETE FROM {name} WHERE v = 2") == 1
    assert lake.rows(f"SELECT k, v FROM {name} ORDER BY v") == [[5, 1], [2, 3]]


@pytest.mark.parametrize("mode", MODES)
def test_rows_go_out_of_partitions_of_bytes(lake, name, mode):
    lake.write(f"CREATE TABLE {name} (b BLOB, v INTEGER) PARTITIONED BY (b) {mode_options(mode)}")
    table = lake.catalog.load_table("main." + name)
    for key in (b"", b"x\0yz", None):
        table.append(pa.table({"b": pa.array([key, key], pa.large_binary()), "v": pa.array([1, 2], pa.int32())}))
    assert lake.write(f"DELETE FROM {name} WHERE v = 1") == 3
    assert lake.rows(f"SELECT b::VARCHAR, v FROM {name} ORDER BY 1 NULLS FIRST") == [[None, 2], ["", 2], ["x\\x00yz", 2]]
    assert lake.scanned("main." + name) == [[None, 2], [b"", 2], [b"x\0yz", 2]]
    assert len(table.refresh().scan(EqualTo("b", b"x\0yz")).to_arrow()) == 1


def test_buckets_are_those_of_the_specification(lake):
    wanted = {
        "__lake_bucket_long(2147483647, 34)": 2017239379,
        "__lake_bucket_text(2147483647, 'iceberg')": 1210000089,
        "__lake_bucket_bytes(2147483647, '\\x00\\x01\\x02\\x03'::BLOB)": -188683207 & 0x7FFFFFFF,
        "__lake_bucket_bytes(2147483647, unhex('f79c3e09677c4bbda4793f349cb785e7'))": 1488055340,
        "__lake_bucket_decimal(2147483647, 14.20::DECIMAL(9, 2)::VARCHAR)": -500754589 & 0x7FFFFFFF,
        "__lake_bucket_long(2147483647, date_diff('day', DATE '1970-01-01', DATE '2017-11-16'))": -653330422 & 0x7FFFFFFF,
        "__lake_bucket_long(2147483647, epoch_us(TIMESTAMP '2017-11-16 22:31:08'))": -2047944441 & 0x7FFFFFFF,
    }
    assert lake.rows("SELECT " + ", ".join(wanted)) == [list(wanted.values())]


# --- beside each other ---


@pytest.mark.parametrize("mode", MODES)
def test_writers_beside_each_other_lose_nothing(lake, name, mode):
    """Inserts, updates of disjoint rows and deletes at once: all land, each once."""
    make(lake, name, mode, 40)
    failed = []

    def writer(number):
        local = Lake(lake.url)
        try:
            for i in range(4):
                local.write(f"INSERT INTO {name} VALUES ({1000 + number * 10 + i}, 'w', 0)")
                assert local.write(f"UPDATE {name} SET n = n + 100 WHERE id = {number * 4 + i}") == 1
        except AssertionError as error:
            failed.append(error)

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # statements may give up after many conflicts, but never half
    for error in failed:
        assert "while" in str(error) or "another" in str(error), error
    rows = dict(map(tuple, lake.rows(f"SELECT id, n FROM {name}")))
    assert len(rows) >= 40 and lake.rows(f"SELECT count(*) - count(DISTINCT id) FROM {name}") == [[0]]
    if not failed:
        assert len(rows) == 40 + 16 and all(rows[i] == i + 100 for i in range(16)) and all(rows[i] == i for i in range(16, 40))
    assert {row[0]: row[2] for row in lake.scanned("main." + name)} == rows


def test_two_updates_of_one_row_both_count(lake, name):
    make(lake, name, "merge-on-read", 2)
    done = []

    def add():
        local = Lake(lake.url)
        for _ in range(5):
            answer = local.ask(f"UPDATE {name} SET n = n + 1 WHERE id = 0")
            assert answer.status_code in (200, 409), answer.text
            done.append(answer.status_code)

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.rows(f"SELECT n FROM {name} WHERE id = 0") == [[done.count(200)]]
    assert done.count(200) >= 5


# --- services of their own, and a server that only reads ---


def test_services_of_their_own(start, tmp_path):
    gateway, _ = start_cluster(start, tmp_path)
    lake = Lake(gateway.url)
    for mode in MODES:
        table = "t_" + mode.replace("-", "_")
        make(lake, table, mode, 20)
        assert lake.write(f"DELETE FROM {table} WHERE id < 3") == 3
        assert lake.write(f"UPDATE {table} SET n = -1 WHERE id < 6") == 3
        assert lake.write(f"MERGE INTO {table} t USING (VALUES (6), (100)) s(id) ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)") == 2
        assert lake.rows(f"SELECT count(*), sum(id), sum(n) FROM {table}") == [[17, sum(range(3, 20)) - 6 + 100, sum(range(7, 20)) - 3]]
        lake.write(f"ALTER TABLE {table} ADD COLUMN z INTEGER")
        lake.write(f"ALTER TABLE {table} RENAME TO {table}_2")
        assert lake.write(f"TRUNCATE {table}_2") == 17
        lake.write(f"DROP TABLE {table}_2")
    lake.write("CREATE SCHEMA s")
    lake.write("CREATE TABLE s.t AS SELECT 1 AS a")
    lake.fails("DROP SCHEMA s", 409, "not empty")
    lake.write("DROP TABLE s.t")
    lake.write("DROP SCHEMA s")


def test_a_server_that_only_reads(serve):
    server = serve("--queryd.read_only", "true")
    lake = Lake(server.url)
    for sql in ["CREATE TABLE t (a INTEGER)", "CREATE TABLE t AS SELECT 1 AS a", "INSERT INTO t VALUES (1)", "DELETE FROM t", "DROP TABLE t", "CREATE SCHEMA s"]:
        lake.fails(sql, 403, "read_only")
    assert lake.rows("SELECT 1") == [[1]]
