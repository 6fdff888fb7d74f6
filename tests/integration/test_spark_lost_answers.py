"""Spark over a wire that loses the answers to its commits, by cutting the connection or with a 500: no row is lost or doubled, and no live file deleted."""

import pytest
from losing import losing
from test_spark import ours, spark_of

pytestmark = pytest.mark.slow

# what is asked, and the rows afterwards; each goes on from what the one before has left
STATEMENTS = [
    ("INSERT INTO {t} VALUES (4, 'd')", [[1, "a"], [2, "b"], [3, "c"], [4, "d"]]),
    ("UPDATE {t} SET v = 'x' WHERE id = 2", [[1, "a"], [2, "x"], [3, "c"], [4, "d"]]),
    ("DELETE FROM {t} WHERE id = 3", [[1, "a"], [2, "x"], [4, "d"]]),
    ("MERGE INTO {t} t USING (SELECT 2 AS id UNION ALL SELECT 9) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET t.v = 'm' WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 'm')",
     [[1, "a"], [2, "m"], [4, "d"], [9, "m"]]),
    ("CALL lake.system.rewrite_data_files(table => '{t}', options => map('rewrite-all', 'true'))", [[1, "a"], [2, "m"], [4, "d"], [9, "m"]]),
    ("CALL lake.system.rewrite_manifests('{t}')", [[1, "a"], [2, "m"], [4, "d"], [9, "m"]]),
    ("ALTER TABLE {t} ADD COLUMN n INT", [[1, "a"], [2, "m"], [4, "d"], [9, "m"]]),
    ("INSERT OVERWRITE {t} SELECT 7, 'o', 1", [[7, "o"]]),
]


@pytest.fixture(scope="module")
def lake(start_shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    # what nothing names is deleted at once: a file that is live and was given up would be missed
    server = start_shared("serve", "--data", folder / "lake", "--listen", "127.0.0.1:0", "--catalogd.sweep_seconds=1", "--catalogd.grace_seconds=0")
    with losing(server.url, "cut") as wire:
        spark = spark_of(wire.url, folder)
        spark.rows("CREATE NAMESPACE db")
        yield server.url, wire, spark
        spark.stop()


def lost(wire, spark, sql):
    """The statement, whose (first) commit lands and is not answered."""
    wire.to_lose, wire.lost = 1, 0
    answer = spark.ask(sql)
    assert wire.lost == 1, f"{sql} has committed nothing: {answer}"
    wire.to_lose = 0
    return answer


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
@pytest.mark.parametrize("way", ["cut", "500"])
def test_a_lost_answer_loses_and_doubles_no_row(lake, way, mode):
    url, wire, spark = lake
    wire.way = way
    table = f"db.t_{way}_{mode.replace('-', '_')}"
    spark.rows(f"CREATE TABLE {table} (id BIGINT, v STRING) TBLPROPERTIES ('write.delete.mode'='{mode}', 'write.update.mode'='{mode}', 'write.merge.mode'='{mode}')")
    spark.rows(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    for sql, rows in STATEMENTS:
        lost(wire, spark, sql.format(t=table))
        for read in (spark.rows, lambda text: ours(url, text)):
            assert read(f"SELECT id, v FROM {table} ORDER BY id") == rows, sql


@pytest.mark.parametrize("way", ["cut", "500"])
def test_a_lost_answer_to_a_table_that_is_made_keeps_it(lake, way):
    url, wire, spark = lake
    wire.way = way
    table = f"db.made_{way}"
    lost(wire, spark, f"CREATE TABLE {table} AS SELECT 1 AS id")
    spark.rows(f"INSERT INTO {table} VALUES (5)")
    assert spark.rows(f"SELECT id FROM {table} ORDER BY id") == [[1], [5]] == ours(url, f"SELECT id FROM {table} ORDER BY id")
