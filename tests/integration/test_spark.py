"""Spark's users: DDL, MERGE, deletes of both kinds, branches, procedures, through the Iceberg REST catalogue; our SQL reads what Spark reads."""

import json
import os
import pathlib
import subprocess

import pytest
import requests

pytestmark = pytest.mark.slow


class Spark:
    def __init__(self, python, url, log):
        script = pathlib.Path(__file__).with_name("spark_lake.py")
        self.process = subprocess.Popen([python, script, url + "/iceberg"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                        start_new_session=True)
        for line in self.process.stdout:
            if line == "ready\n":
                return
        raise AssertionError("Spark did not start")

    def ask(self, sql):
        self.process.stdin.write(json.dumps(sql) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def rows(self, sql):
        answer = self.ask(sql)
        assert "error" not in answer, f"{sql}\n{answer}"
        return answer["rows"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


def spark_of(url, folder):
    home = os.environ.get("LAKEHOUSE_SPARK", "")
    assert home, "LAKEHOUSE_SPARK is not set: run it by `make test-all`"
    return Spark(home + "/bin/python3", url, (folder / "spark.log").open("w"))


@pytest.fixture(scope="module", params=["file", "s3"])
def lake(request, start_shared, tmp_path_factory):
    """A server whose tables are at file: or s3: URIs, and Spark, told of nothing but its URL."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = folder / "lakehouse.toml"
    settings.write_text(f'[[warehouse]]\nuri = "{request.param}"\n')
    server = start_shared("serve", "-config", settings, "--data", folder / "lake", "--listen", "127.0.0.1:0", "--s3api.bind", "127.0.0.1:0")
    spark = spark_of(server.url, folder)
    spark.rows("CREATE NAMESPACE db")
    yield server.url, spark
    spark.stop()


def ours(url, sql):
    answer = requests.post(url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)
    assert answer.status_code == 200, f"{sql}\n{answer.text}"
    return answer.json()["rows"]


def same(lake, table, columns="*", order="id"):
    """Both read the same rows."""
    url, spark = lake
    theirs = spark.rows(f"SELECT {columns} FROM {table} ORDER BY {order} NULLS FIRST")
    assert ours(url, f"SELECT {columns} FROM {table} ORDER BY {order} NULLS FIRST") == theirs
    assert ours(url, f"SELECT count(*) FROM {table}") == [[len(theirs)]]
    return theirs


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_rows_come_and_go(lake, mode):
    url, spark = lake
    table = "db.birds_" + mode.replace("-", "_")
    spark.rows(f"CREATE TABLE {table} (id BIGINT NOT NULL, name STRING, day DATE) PARTITIONED BY (bucket(4, id), days(day)) TBLPROPERTIES "
               f"('write.delete.mode'='{mode}', 'write.update.mode'='{mode}', 'write.merge.mode'='{mode}')")
    spark.rows(f"INSERT INTO {table} VALUES (1, 'owl', DATE'2026-01-01'), (2, 'wren', DATE'2026-01-02'), (3, NULL, NULL)")
    spark.rows(f"INSERT INTO {table} SELECT id + 10, name, day FROM {table}")
    assert len(same(lake, table, "id, name")) == 6
    spark.rows(f"DELETE FROM {table} WHERE id = 2")
    spark.rows(f"UPDATE {table} SET name = 'OWL' WHERE id = 11")
    spark.rows(f"MERGE INTO {table} t USING (SELECT 3 AS id, 'emu' AS name UNION ALL SELECT 99, 'new') s ON t.id = s.id "
               "WHEN MATCHED THEN UPDATE SET t.name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)")
    expected = [[1, "owl"], [3, "emu"], [11, "OWL"], [12, "wren"], [13, None], [99, "new"]]
    assert same(lake, table, "id, name") == expected
    assert ours(url, f"SELECT name FROM {table} WHERE day = DATE '2026-01-01' ORDER BY id") == [["owl"], ["OWL"]]
    spark.rows(f"CALL lake.system.rewrite_data_files(table => '{table}', options => map('rewrite-all', 'true'))")
    spark.rows(f"CALL lake.system.rewrite_manifests('{table}')")
    assert same(lake, table, "id, name") == expected
    spark.rows(f"CALL lake.system.expire_snapshots(table => '{table}', older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)")
    assert same(lake, table, "id, name") == expected and spark.rows(f"SELECT count(*) FROM {table}.snapshots") == [[1]]


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_what_our_sql_writes_is_read_and_written_on(lake, mode):
    """A table that our SQL made, filled and changed, in turns with Spark: partitions, deletes of both kinds, schema."""
    url, spark = lake
    table = "db.ours_" + mode.replace("-", "_")
    modes = ", ".join(f"'write.{verb}.mode'='{mode}'" for verb in ("delete", "update", "merge"))
    ours(url, f"CREATE TABLE {table} (id BIGINT NOT NULL, name VARCHAR, day DATE, moment TIMESTAMP, price DECIMAL(9, 2)) PARTITIONED BY (bucket(4, id), month(day), truncate(2, name)) WITH ({modes})")
    ours(url, f"INSERT INTO {table} SELECT i, 'name' || i % 7, DATE '2025-12-01' + i::INTEGER, TIMESTAMP '1969-12-31 12:00:00' + i * INTERVAL 7 HOUR, i * 1.25 FROM range(200) r(i)")
    assert len(same(lake, table, "id, name")) == 200
    ours(url, f"DELETE FROM {table} WHERE id % 5 = 0")
    ours(url, f"UPDATE {table} SET name = 'changed', price = price + 1 WHERE id % 7 = 1")
    ours(url, f"MERGE INTO {table} t USING (SELECT i AS id FROM range(195, 205) r(i)) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = 'merged' WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'new')")
    assert len(same(lake, table, "id, name")) == 160 + 5 + 1
    for where in ("day = DATE '2026-01-15'", "name = 'merged'", "id = 203", "id > 150 AND day < DATE '2026-06-01'"):
        assert spark.rows(f"SELECT id FROM {table} WHERE {where} ORDER BY id") == ours(url, f"SELECT id FROM {table} WHERE {where} ORDER BY id"), where
    spark.rows(f"UPDATE {table} SET name = 'spark' WHERE id < 10")
    spark.rows(f"DELETE FROM {table} WHERE id = 11")
    ours(url, f"ALTER TABLE {table} ADD COLUMN extra INTEGER")
    ours(url, f"UPDATE {table} SET extra = 1 WHERE name = 'spark'")
    spark.rows(f"INSERT INTO {table} VALUES (1000, 'last', NULL, NULL, NULL, 2)")
    assert len(same(lake, table, "id, name, extra")) == 166
    ours(url, f"TRUNCATE {table}")
    assert same(lake, table, "id, name") == []


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_tables_that_spark_wrote_are_compacted(lake, mode):
    """Its partitions, its delete files, its order; and it goes on with what came of them."""
    url, spark = lake
    table = f"db.many_{mode.replace('-', '_')}"
    spark.rows(f"CREATE TABLE {table} (id BIGINT NOT NULL, name STRING, day DATE) PARTITIONED BY (bucket(2, id)) TBLPROPERTIES "
               f"('format-version'='2', 'write.delete.mode'='{mode}', 'write.update.mode'='{mode}')")
    spark.rows(f"ALTER TABLE {table} WRITE ORDERED BY name DESC")
    for i in range(6):
        spark.rows(f"INSERT INTO {table} SELECT id, concat('n', id % 7), date_add(DATE'2026-01-01', CAST(id AS INT)) FROM range({i * 20}, {i * 20 + 20})")
    spark.rows(f"DELETE FROM {table} WHERE id % 4 = 0")
    spark.rows(f"UPDATE {table} SET name = 'spark' WHERE id % 9 = 1")
    expected = same(lake, table)
    [report] = ours(url, f"CALL rewrite_data_files('{table}', rewrite_all => true)")
    assert report[0] >= (12 if mode == "merge-on-read" else 2) and report[1] == 2 and report[4] == 0, report  # its copies on write are few files
    assert (report[3] > 0) == (mode == "merge-on-read"), report
    assert spark.rows(f"SELECT count(*) FROM {table}.delete_files") == [[0]]
    assert same(lake, table) == expected
    spark.rows(f"DELETE FROM {table} WHERE id % 5 = 1")
    spark.rows(f"INSERT INTO {table} VALUES (5000, NULL, NULL)")
    expected = same(lake, table)
    spark.rows(f"CALL lake.system.rewrite_data_files(table => '{table}', options => map('rewrite-all', 'true'))")
    assert same(lake, table) == expected
    ours(url, f"CALL rewrite_data_files('{table}', rewrite_all => true)")
    assert same(lake, table) == expected


def test_schemas_specs_and_orders_evolve(lake):
    url, spark = lake
    spark.rows("CREATE TABLE db.shapes (id INT, name STRING, part STRUCT<a: INT, b: STRING>, list ARRAY<INT>) USING iceberg")
    spark.rows("INSERT INTO db.shapes VALUES (1, 'one', named_struct('a', 1, 'b', 'x'), array(1, 2))")
    for change in ["ADD COLUMN extra DOUBLE AFTER id", "RENAME COLUMN name TO called", "ALTER COLUMN id TYPE BIGINT", "ADD COLUMN part.c INT", "RENAME COLUMN part.b TO bee",
                   "DROP COLUMN list", "ALTER COLUMN called FIRST", "ADD PARTITION FIELD truncate(2, called)", "WRITE ORDERED BY id"]:
        spark.rows(f"ALTER TABLE db.shapes {change}")
    spark.rows("INSERT INTO db.shapes VALUES ('two', 2, 0.5, named_struct('a', 2, 'bee', 'y', 'c', 3))")
    spark.rows("ALTER TABLE db.shapes ADD COLUMN list STRING")
    assert same(lake, "db.shapes", "id, called, extra, part.a, part.bee, part.c, list") == [[1, "one", None, 1, "x", None, None], [2, "two", 0.5, 2, "y", 3, None]]
    assert [row[0] for row in ours(url, "SELECT column_name FROM (DESCRIBE db.shapes)")] == ["called", "id", "extra", "part", "list"]


def test_branches_tags_and_time(lake):
    url, spark = lake
    spark.rows("CREATE TABLE db.times (id INT)")
    spark.rows("INSERT INTO db.times VALUES (1)")
    spark.rows("ALTER TABLE db.times CREATE TAG first")
    spark.rows("ALTER TABLE db.times CREATE BRANCH dev")
    spark.rows("INSERT INTO db.times.branch_dev VALUES (2), (3)")
    spark.rows("INSERT INTO db.times VALUES (4)")
    for ref, rows in {"first": [[1]], "dev": [[1], [2], [3]], "main": [[1], [4]]}.items():
        assert spark.rows(f"SELECT id FROM db.times VERSION AS OF '{ref}' ORDER BY id") == rows
        assert ours(url, f"SELECT id FROM db.times AT (VERSION => '{ref}') ORDER BY id") == rows
    assert same(lake, "db.times") == [[1], [4]]


def test_tables_are_made_renamed_replaced_and_dropped(lake):
    url, spark = lake
    spark.rows("CREATE TABLE db.made USING iceberg AS SELECT 1L AS id, 'a' AS name")
    spark.rows("ALTER TABLE db.made RENAME TO db.other")
    assert same(lake, "db.other") == [[1, "a"]] and "made" not in [row[1] for row in spark.rows("SHOW TABLES IN db")]
    spark.rows("INSERT OVERWRITE db.other SELECT 2L, 'b'")
    assert same(lake, "db.other") == [[2, "b"]]
    spark.rows("CREATE OR REPLACE TABLE db.other AS SELECT 5L AS id")
    assert same(lake, "db.other") == [[5]]
    assert "already exists" in spark.ask("CREATE TABLE db.other (id INT)")["error"]
    spark.rows("DROP TABLE db.other PURGE")
    assert "TABLE_OR_VIEW_NOT_FOUND" in spark.ask("SELECT * FROM db.other")["error"]
    assert "not empty" in spark.ask("DROP NAMESPACE db")["error"]
    spark.rows("CREATE NAMESPACE db.`in.ner`")
    spark.rows("CREATE TABLE db.`in.ner`.`ta/le` (`a b` INT)")
    spark.rows("INSERT INTO db.`in.ner`.`ta/le` VALUES (7)")
    assert spark.rows("SELECT * FROM db.`in.ner`.`ta/le`") == [[7]]
    spark.rows("DROP TABLE db.`in.ner`.`ta/le`")
    spark.rows("DROP NAMESPACE db.`in.ner`")


def test_spark_and_ingest_share_a_table(lake):
    url, spark = lake
    send = lambda text: requests.post(url + "/v1/ingest", params={"name": "db.shared"}, data=text, headers={"Content-Type": "text/csv"}, timeout=60)  # noqa: E731
    assert send("id,name\n1,owl\n").status_code == 200
    spark.rows("INSERT INTO db.shared VALUES (2, 'wren')")
    spark.rows("DELETE FROM db.shared WHERE id = 1")
    assert send("id,name\n3,emu\n").status_code == 200 and send("id,name\n3,emu\n").json()["deduplicated"]
    assert same(lake, "db.shared") == [[2, "wren"], [3, "emu"]]


def test_views_of_spark_are_read_and_kept(lake):
    url, spark = lake
    spark.rows("CREATE TABLE db.seen (id BIGINT, name STRING)")
    spark.rows("INSERT INTO db.seen VALUES (1, 'owl'), (2, 'wren'), (3, 'emu')")
    spark.rows("CREATE VIEW db.first_seen (number, bird) COMMENT 'some' TBLPROPERTIES ('keeper' = 'anna') AS SELECT id, name FROM db.seen WHERE id < 3")
    spark.rows("USE db")
    spark.rows("CREATE VIEW of_views AS SELECT bird, length(bird) AS letters FROM first_seen JOIN seen ON id = number")
    for view, columns, order in [("db.first_seen", "number, bird", "number"), ("db.of_views", "bird, letters", "bird")]:
        same((url, spark), view, columns, order)
        assert [row[0] for row in ours(url, f"DESCRIBE {view}")] == columns.split(", ")
    assert {row[1] for row in spark.rows("SHOW VIEWS IN db")} == {"first_seen", "of_views"}
    spark.rows("INSERT INTO db.seen VALUES (0, 'roc')")
    assert len(same((url, spark), "db.first_seen", "number, bird", "number")) == 3
    spark.rows("ALTER VIEW db.first_seen SET TBLPROPERTIES ('keeper' = 'bert')")
    assert ["keeper", "bert"] in [list(row) for row in spark.rows("SHOW TBLPROPERTIES db.first_seen")]
    spark.rows("CREATE OR REPLACE VIEW db.first_seen (number, bird) AS SELECT max(id), upper(name) FROM db.seen GROUP BY name")
    assert len(same((url, spark), "db.first_seen", "number, bird", "number")) == 4
    same((url, spark), "db.of_views", "bird, letters", "bird")
    spark.rows("ALTER VIEW db.first_seen RENAME TO db.seen_first")
    same((url, spark), "db.seen_first", "number, bird", "number")
    assert "error" in spark.ask("SELECT * FROM db.of_views")
    assert requests.post(url + "/v1/sql", json={"sql": "SELECT * FROM db.of_views"}, timeout=60).status_code == 404
    assert "error" in spark.ask("CREATE VIEW db.seen AS SELECT 1 AS x")  # a table has the name
    assert "error" in spark.ask("CREATE TABLE db.seen_first (id BIGINT)")
    spark.rows("CREATE VIEW db.ticks AS SELECT `id` FROM db.seen")  # what is Spark's alone is told with the view's name
    answer = requests.post(url + "/v1/sql", json={"sql": "SELECT * FROM db.ticks"}, timeout=60)
    assert answer.status_code == 400 and 'view "db.ticks" cannot be read: its text for spark' in answer.json()["error"]["message"], answer.text
    for view in ["ticks", "of_views", "seen_first"]:
        spark.rows(f"DROP VIEW db.{view}")
    assert spark.rows("SHOW VIEWS IN db") == []
    spark.rows("DROP TABLE db.seen")
