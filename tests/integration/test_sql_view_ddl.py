"""CREATE VIEW and DROP VIEW in SQL: views as other programs make them, in serve and over services of their own."""

import concurrent.futures

import pytest
import requests
from conftest import start_cluster
from pyiceberg.catalog import load_catalog
from test_sql_views import Lake, fill


@pytest.fixture(params=["serve", "cluster"])
def everywhere(request, serve, start, tmp_path):
    return fill(Lake(serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url))


@pytest.fixture(scope="module")
def lake(shared_server):
    lake = Lake(shared_server.url)
    lake.sql("CREATE TABLE ddl_t AS SELECT 1 AS id, 'x' AS word")
    return lake


def loaded(lake, levels, name):
    metadata = lake.ask("GET", lake.view(levels, name), 200)["metadata"]
    version = next(v for v in metadata["versions"] if v["version-id"] == metadata["current-version-id"])
    schema = next(s for s in metadata["schemas"] if s["schema-id"] == version["schema-id"])
    return metadata, version, [(field["name"], field["type"]) for field in schema["fields"]]


def test_create_replace_and_drop(everywhere):
    lake = everywhere
    assert lake.sql("CREATE VIEW heavy AS SELECT name, weight * 2 AS double FROM birds WHERE weight > 1") == [[0, None]]
    assert lake.sql("SELECT * FROM heavy ORDER BY name") == [["emu", 72], ["owl", 3]]
    metadata, version, fields = loaded(lake, ["main"], "heavy")
    assert fields == [("name", "string"), ("double", "double")]
    assert version["default-namespace"] == ["main"] and version["representations"][0]["dialect"] == "duckdb"
    assert load_catalog("lake", type="rest", uri=lake.url + "/iceberg").view_exists("main.heavy")
    lake.refused("CREATE VIEW heavy AS SELECT 1 AS a", "exists already", status=409)
    assert lake.sql("CREATE VIEW IF NOT EXISTS heavy AS SELECT 1 AS a") == [[0, None]]
    assert lake.sql("SELECT count(*) FROM heavy") == [[2]]
    # the next version of the same view
    lake.sql("CREATE OR REPLACE VIEW HEAVY (bird) AS SELECT name FROM birds ORDER BY weight DESC LIMIT 1")
    assert lake.sql("SELECT bird FROM heavy") == [["emu"]]
    after, version, fields = loaded(lake, ["main"], "heavy")
    assert (after["view-uuid"], len(after["versions"]), fields) == (metadata["view-uuid"], 2, [("bird", "string")])
    # in another namespace, over views, and by the name that the catalogue has
    lake.sql('CREATE OR REPLACE VIEW lake.geo."big ""towns" AS SELECT t.*, h.bird FROM geo.towns AS t, heavy AS h WHERE people > 200000')
    assert lake.sql('SELECT town, bird FROM geo."big ""towns" ORDER BY 1') == [["Bonn", "emu"], ["Köln", "emu"]]
    assert [row[0] for row in lake.sql("SHOW TABLES FROM geo")] == ['big "towns', "towns"]
    lake.sql('DROP VIEW geo."BIG ""TOWNS"')
    lake.refused('DROP VIEW geo."big ""towns"', "does not exist", status=404)
    assert lake.sql('DROP VIEW IF EXISTS geo."big ""towns"') == [[0, None]]
    lake.sql("DROP VIEW heavy")
    lake.ask("GET", lake.view(["main"], "heavy"), 404, "NoSuchViewException")


def test_who_replaces_does_not_mind_who_was_faster(lake):
    """Views that others replace and drop at the same moment are replaced; tables that others make are there."""
    def run(number):
        refused = []
        for i in range(15):
            texts = [f"CREATE OR REPLACE VIEW ddl_race AS SELECT {number} AS n", "DROP VIEW IF EXISTS ddl_race",
                     f"CREATE TABLE IF NOT EXISTS ddl_race_{i} AS SELECT {number} AS n", f"CREATE VIEW IF NOT EXISTS ddl_race_v{i} AS SELECT {number} AS n"]
            for text in texts[1:] if number == 0 else texts[:1] + texts[2:]:
                answer = requests.post(lake.url + "/v1/sql", json={"sql": text}, timeout=120)
                refused += [] if answer.status_code == 200 else [(text, answer.text)]
        return refused

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert [refused for refused in pool.map(run, range(4)) if refused] == []
    lake.sql("CREATE OR REPLACE VIEW ddl_race AS SELECT 9 AS n")
    assert lake.sql("SELECT n FROM ddl_race") == [[9]]
    for i in range(15):
        assert lake.sql(f"SELECT count(*) FROM ddl_race_{i}") == lake.sql(f"SELECT count(*) FROM ddl_race_v{i}") == [[1]]


def test_a_replaced_view_is_not_made_of_itself(lake):
    lake.sql("CREATE VIEW ddl_a AS FROM ddl_t")
    lake.sql("CREATE VIEW ddl_b AS FROM ddl_a")
    lake.refused("CREATE OR REPLACE VIEW ddl_a AS FROM ddl_b", "would be made of itself")
    lake.refused("CREATE OR REPLACE VIEW DDL_A AS FROM ddl_a", "would be made of itself")
    assert lake.sql("FROM ddl_b") == [[1, "x"]]


def test_the_text_keeps_its_meaning(lake):
    texts = [
        "SELECT 'it''s' AS a, \"id\" AS \"the id\", word LIKE '%x' AS b FROM ddl_t",
        "WITH w AS (SELECT id FROM ddl_t) SELECT * FROM w UNION ALL SELECT 7",
        "SELECT id, sum(id) OVER (ORDER BY id) AS s FROM ddl_t QUALIFY s > 0",
        "FROM ddl_t AS a JOIN ddl_t AS b USING (id) SELECT a.word || b.word AS w",
        "SELECT CASE WHEN id = 1 THEN DATE '2024-01-02' END AS d, [id] AS l, {'k': id} AS s FROM ddl_t",
        "SELECT list_transform([1, 2], x -> x + 1) AS l",
        "SELECT t.id FROM (VALUES (1), (2)) AS t(id)",
        "SELECT count(*) AS n FROM \"ddl_t$snapshots\"",
    ]
    for text in texts:
        lake.sql(f"CREATE OR REPLACE VIEW ddl_text AS {text}")
        assert lake.sql("FROM ddl_text") == lake.sql(text), text


@pytest.mark.parametrize(
    ("sql", "status", "words"),
    [
        ("CREATE VIEW ddl_t AS SELECT 1 AS a", 409, ["exists"]),
        ("CREATE OR REPLACE VIEW ddl_t AS SELECT 1 AS a", 409, ["exists"]),
        ("CREATE VIEW IF NOT EXISTS ddl_t AS SELECT 1 AS a", 409, ["exists"]),
        ("DROP VIEW ddl_t", 404, ["it is a table"]),
        ("CREATE VIEW ddl_v AS SELECT * FROM nowhere", 404, ["nowhere"]),
        ("CREATE VIEW ddl_v AS SELECT nothing FROM ddl_t", 400, ["nothing"]),
        ("CREATE VIEW ddl_v AS SELECT * FROM ddl_t WHERE id = ?", 400, ["parameters"]),
        ("CREATE VIEW ddl_v AS SELECT * FROM read_text('/etc/passwd')", 400, ["not allowed here"]),
        ("CREATE TEMP VIEW ddl_v AS SELECT 1 AS a", 400, ["temporary"]),
        ("CREATE VIEW nonsuch.ddl_v AS SELECT 1 AS a", 404, ["nonsuch"]),
        ("CREATE VIEW ddl_v (a, b, c) AS FROM ddl_t", 400, ["ddl_v"]),
        ("INSERT INTO ddl_view VALUES (1)", 400, ["ddl_view"]),
        ("DROP TABLE ddl_view", 404, ["it is a view"]),
    ],
)
def test_refusals(lake, sql, status, words):
    lake.sql("CREATE OR REPLACE VIEW ddl_view AS FROM ddl_t")
    lake.refused(sql, *words, status=status, **({"params": [1]} if "?" in sql else {}))
    lake.refused("FROM ddl_v", "ddl_v", status=404)
