"""SQL over views that other programs have made through the Iceberg REST catalogue."""

import pytest
import requests

from conftest import start_cluster
from test_iceberg_rest_views import SCHEMA, Views, replaced

TOWNS = "town,people\nUlm,126000\nBonn,330000\nKöln,1080000\n"


class Lake(Views):
    def make_view(self, name, sql, dialect="duckdb", namespace=("main",), levels=("main",), properties=None, fields=None, others=(), **more):
        representations = [{"type": "sql", "sql": sql, "dialect": dialect}] + [{"type": "sql", "sql": text, "dialect": other} for text, other in others]
        version = {"version-id": 1, "timestamp-ms": 1, "schema-id": 0, "summary": {}, "default-namespace": list(namespace), "representations": representations, **more}
        schema = {**SCHEMA, "fields": fields} if fields else SCHEMA
        self.ask("POST", self.namespace(*levels) + "/views", 200, json={"name": name, "schema": schema, "view-version": version, "properties": properties or {}})

    def refused(self, sql, *words, status=400, **more):
        answer = requests.post(f"{self.url}/v1/sql", json={"sql": sql, **more}, timeout=60)
        assert answer.status_code == status, answer.text
        message = answer.json()["error"]["message"]
        assert all(word in message for word in words), message
        return message


def fill(lake):
    lake.fill("birds")
    lake.fill("geo.towns", TOWNS)
    return lake


@pytest.fixture(params=["serve", "cluster"])
def everywhere(request, serve, start, tmp_path):
    return fill(Lake(serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url))


@pytest.fixture
def lake(serve):
    return fill(Lake(serve().url))


def test_a_view_is_read_as_the_query_that_it_is(everywhere):
    everywhere.make_view("heavy", "SELECT name, weight FROM birds WHERE weight > 1")
    everywhere.make_view("heaviest", "SELECT max(weight) AS w FROM heavy")
    everywhere.make_view("big towns", "WITH t AS (SELECT * FROM towns) SELECT town FROM t WHERE people > 200000", namespace=("geo",), levels=("geo",))
    assert everywhere.sql("SELECT * FROM heavy ORDER BY name") == [["emu", 36], ["owl", 1.5]]
    assert everywhere.sql("SELECT h.name, heavy.weight FROM heavy AS h JOIN main.heavy USING (name) WHERE h.name = 'owl'") == [["owl", 1.5]]
    assert everywhere.sql("SELECT HEAVIEST.w FROM lake.main.HEAVIEST") == [[36]]
    assert everywhere.sql('SELECT count(*), min(town) FROM geo."big towns"') == [[2, "Bonn"]]
    assert everywhere.sql("SELECT w FROM (SELECT w FROM heaviest) WHERE w > (SELECT min(weight) FROM heavy)") == [[36]]
    assert [row[0] for row in everywhere.sql("DESCRIBE heavy")] == ["name", "weight"]
    everywhere.fill("birds", "id,name,weight\n4,roc,900\n")  # what is read is of now
    assert everywhere.sql("SELECT * FROM heaviest") == [[900]]
    everywhere.ask("POST", everywhere.view(["main"], "heavy"), 200, json={"updates": replaced("SELECT name, -weight AS weight FROM birds")})
    assert everywhere.sql("SELECT * FROM heaviest") == [[-0.01]]
    everywhere.ask("DELETE", everywhere.view(["main"], "heavy"), 204)
    everywhere.refused("SELECT * FROM heaviest", 'view "heaviest" names table "heavy", which does not exist', status=404)


def test_names_mean_what_the_views_writer_meant(lake):
    lake.make("geo", "inner")
    lake.fill("towns", "town,people\nNowhere,0\n")  # in main
    lake.make_view("v", "SELECT town FROM towns WHERE people < 200000", namespace=("geo",))
    assert lake.sql("SELECT * FROM v") == [["Ulm"]]
    lake.make_view("of_spark", "SELECT count(*) AS n FROM prod.geo.towns", dialect="spark", **{"default-catalog": "prod"})
    assert lake.sql("SELECT n FROM of_spark") == [[3]]
    lake.make_view("elsewhere", "SELECT * FROM other.geo.towns", dialect="spark", **{"default-catalog": "prod"})
    lake.refused("SELECT * FROM elsewhere", 'view "elsewhere"', "spark", "not in the lake")
    lake.make_view("of_its_own", "SELECT * FROM birds", namespace=("geo", "inner"), levels=("geo", "inner"))
    lake.refused('SELECT * FROM "geo.inner".of_its_own', 'names table "geo.inner.birds"', status=404)
    lake.make_view("w", "SELECT 1 AS one FROM of_its_own", namespace=("geo", "inner"))
    lake.refused("SELECT * FROM w", "birds", status=404)
    # a common table expression of the statement is none of the view's
    assert lake.sql("WITH towns AS (SELECT 'x' AS town, 1 AS people) SELECT * FROM v") == [["Ulm"]]
    assert lake.sql("WITH v AS (SELECT 7 AS x) SELECT * FROM v") == [[7]]


def test_the_dialect_is_chosen(lake):
    lake.make_view("several", "SELECT `name` FROM birds", dialect="spark", others=[("SELECT 'ours' AS name", "DuckDB"), ("SELECT 3", "trino")])
    assert lake.sql("SELECT * FROM several") == [["ours"]]
    lake.make_view("second", "SELECT `name` FROM `birds`", dialect="spark", others=[("SELECT 'theirs' AS name", "trino")])
    assert lake.sql("SELECT * FROM second") == [["theirs"]]
    lake.make_view("spark", "SELECT `name` FROM `birds`", dialect="spark")
    lake.refused("SELECT * FROM spark", 'view "spark" cannot be read: its text for spark is not understood: names in backticks')
    lake.make_view("bad", "SELEC 1", dialect="duckdb", others=[("SELECT 1", "spark")])  # ours is the one that counts
    lake.refused("SELECT * FROM bad", 'view "bad" cannot be read: its text for duckdb is not understood')


def test_columns_have_the_names_that_spark_gave_the_view(lake):
    names = [{"id": i, "name": name, "required": False, "type": "string"} for i, name in enumerate(["bird", "number"])]
    lake.make_view("v", "SELECT name, id FROM birds", dialect="spark", fields=names, properties={"spark.query-column-names": "name,id"})
    assert lake.sql("SELECT bird, number FROM v WHERE bird = 'owl'") == [["owl", 1]]
    # by name: what the query has more does not matter, nor its order
    lake.make_view("w", "SELECT * FROM birds", dialect="spark", fields=names, properties={"spark.query-column-names": "name,id"})
    assert lake.sql("SELECT * FROM w ORDER BY number LIMIT 1") == [["owl", 1]]
    lake.make_view("made", "SELECT upper(name), max(id) FROM birds GROUP BY ALL", dialect="spark", fields=names, properties={"spark.query-column-names": "upper(name),max(id)"})
    assert lake.sql("SELECT bird, number FROM made WHERE number = 1") == [["OWL", 1]]
    lake.make_view("x", "SELECT name, id FROM birds", dialect="spark", fields=names, properties={"spark.query-column-names": "name"})
    assert lake.sql("SELECT name, id FROM x ORDER BY id LIMIT 1") == [["owl", 1]]


@pytest.mark.parametrize(
    "sql,word",
    [
        ("INSERT INTO birds VALUES (1)", "INSERT"),
        ("DROP TABLE birds", "DROP"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT getenv('HOME')", "getenv"),
        ("SELECT * FROM system.main.duckdb_settings", "not in the lake"),
        ("SELECT $1", "parameters"),
        ("SELECT ?", "parameters"),
        ("PIVOT birds ON name", "not allowed"),
        ("", "0 statements"),
        ("COPY birds TO '/tmp/x'", "COPY"),
    ],
)
def test_a_view_may_do_what_a_client_may(lake, sql, word):
    lake.make_view("v", sql)
    assert "line 1" not in lake.refused("SELECT * FROM v", 'view "v" cannot be read', "duckdb", word)
    assert lake.sql("SELECT count(*) FROM birds") == [[3]]


def test_circles_and_towers_are_refused(lake):
    lake.make_view("a", "SELECT * FROM b")
    lake.make_view("b", "SELECT * FROM birds JOIN (SELECT 1 FROM c) ON true")
    lake.make_view("c", "SELECT (SELECT count(*) FROM A) AS n")
    lake.refused("SELECT * FROM a", 'view "a" is made of itself: "a" -> "b" -> "c" -> "a"')
    lake.refused("SELECT * FROM c", "is made of itself")
    lake.make_view("me", "SELECT * FROM me")
    lake.refused("SELECT * FROM me", 'view "me" is made of itself')
    lake.make_view("t1", "SELECT 1 AS x")
    for i in range(2, 18):
        lake.make_view(f"t{i}", f"SELECT * FROM t{i - 1}")
    assert lake.sql("SELECT * FROM t16") == [[1]]
    lake.refused("SELECT * FROM t17", "views are nested deeper than 16")
    lake.refused("SELECT * FROM t16, t17", "views are nested deeper than 16")  # also where t16 is known
    lake.make_view("d1", "SELECT 1 AS x")
    for i in range(2, 14):
        lake.make_view(f"d{i}", f"SELECT p.x FROM d{i - 1} p, d{i - 1} q")
    lake.refused("SELECT * FROM d13", "more than 1000 tables and views")
    assert lake.sql("SELECT x FROM d6") == [[1]]


def test_at_is_of_tables(lake):
    first = lake.ask("GET", lake.table(["main"], "birds"), 200)["metadata"]["current-snapshot-id"]
    lake.fill("birds", "id,name,weight\n4,roc,900\n")
    lake.make_view("v", "SELECT * FROM birds")
    lake.make_view("was", f"SELECT * FROM birds AT (VERSION => {first})")
    lake.refused(f"SELECT * FROM v AT (VERSION => {first})", '"v" is a view, which AT cannot go back to')
    lake.refused("SELECT * FROM v AT (TIMESTAMP => now())", "is a view")
    assert lake.sql("SELECT (SELECT count(*) FROM v), (SELECT count(*) FROM was)") == [[4, 3]]


def test_lists_show_views_with_tables(lake):
    lake.make_view("v", "SELECT name AS bird, weight FROM birds")
    lake.make_view("broken", "SELEC")
    lake.make_view("lost", "SELECT * FROM nowhere")
    lake.make_view("me", "SELECT * FROM me")
    lake.make_view("towers", "SELECT 1 AS x", levels=("geo",))
    assert sorted(row[0] for row in lake.sql("SHOW TABLES")) == ["birds", "broken", "lost", "me", "v"]
    assert sorted(row[0] for row in lake.sql("SHOW TABLES FROM geo")) == ["towers", "towns"]
    kinds = dict(lake.sql("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'main'"))
    assert kinds == {"birds": "BASE TABLE", "v": "VIEW", "broken": "VIEW", "lost": "VIEW", "me": "VIEW"}
    assert lake.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'v' ORDER BY ordinal_position") == [["bird"], ["weight"]]
    assert {row[2] for row in lake.sql("SHOW ALL TABLES")} >= {"birds", "v", "towers", "towns"}
    lake.refused("SELECT * FROM geo.towrs", "towers", status=404)
    lake.ask("DELETE", lake.view(["main"], "v"), 204)
    assert "v" not in [row[0] for row in lake.sql("SHOW TABLES")]


def test_a_damaged_view_is_told_and_hinders_no_other(lake, serve):
    lake.make_view("v", "SELECT 1 AS x")
    lake.make_view("w", "SELECT * FROM v")
    location = lake.ask("GET", lake.view(["main"], "v"), 200)["metadata-location"]
    with open(location.removeprefix("file://"), "r+b") as file:
        file.truncate(10)
    assert requests.post(lake.url + "/v1/sql", json={"sql": "SELECT * FROM w"}, timeout=60).status_code == 500
    assert sorted(row[0] for row in lake.sql("SHOW TABLES")) == ["birds", "v", "w"]
    assert lake.sql("SELECT count(*) FROM birds") == [[3]]


def test_a_view_is_no_table_to_write_or_to_look_into(lake):
    lake.make_view("v", "SELECT * FROM birds")
    lake.refused("SELECT * FROM v$files", "is a view")
    for sql in ["INSERT INTO v VALUES (9, 'x', 1)", "UPDATE v SET id = 1", "DELETE FROM v", "TRUNCATE v", "DROP TABLE v", "CREATE TABLE v (a INT)", "ALTER TABLE v ADD COLUMN x INT"]:
        answer = requests.post(f"{lake.url}/v1/sql", json={"sql": sql}, timeout=60)
        assert answer.status_code in (400, 404, 409), (sql, answer.text)
    lake.sql("CREATE TABLE copied AS SELECT * FROM v")
    lake.sql("INSERT INTO copied SELECT * FROM v")
    assert lake.sql("SELECT (SELECT count(*) FROM copied), (SELECT count(*) FROM v), (SELECT count(*) FROM birds)") == [[6, 3, 3]]
