"""Namespaces and tables under their names through the Iceberg REST catalogue: made, changed, dropped, moved, registered."""

import os
from urllib.parse import quote

import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NamespaceNotEmptyError, NoSuchNamespaceError, NoSuchTableError, RESTError, TableAlreadyExistsError

from conftest import start_cluster

BIRDS = "id,name,weight\n1,owl,1.5\n2,wren,0.01\n3,emu,36\n"
ODD = ["a.b", "sla/sh", "it's", 'say "hi"', "sp ace", "pl+us", "UPPER", "Käse 🧀", "50%", "100%25", "#?&=", "-", "~"]


class Rest:
    """The raw surface: what it answers, by path."""

    def __init__(self, url):
        self.url, self.base = url, url + "/iceberg/v1/main"

    @staticmethod
    def namespace(*levels):
        return "/namespaces/" + "%1F".join(quote(level, safe="") for level in levels)

    def table(self, levels, name):
        return f"{self.namespace(*levels)}/tables/{quote(name, safe='')}"

    def ask(self, method, path, status, type_=None, **options):
        answer = requests.request(method, self.base + path, timeout=60, **options)
        assert answer.status_code == status, answer.text
        if status < 400:
            return answer.json() if answer.content else None
        error = answer.json()["error"]
        assert error["code"] == status and error["message"] and error["type"] == type_, error
        return error

    def make(self, *levels, **properties):
        return self.ask("POST", "/namespaces", 200, json={"namespace": list(levels), "properties": properties})

    def namespaces(self, *parent):
        return [tuple(levels) for levels in self.ask("GET", "/namespaces", 200, params={"parent": "\x1f".join(parent)} if parent else {})["namespaces"]]

    def tables(self, *levels):
        return [entry["name"] for entry in self.ask("GET", self.namespace(*levels) + "/tables", 200)["identifiers"]]

    def fill(self, name, body=BIRDS):
        answer = requests.post(f"{self.url}/v1/ingest", params={"name": name}, data=body.encode(), headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text

    def sql(self, text):
        answer = requests.post(f"{self.url}/v1/sql", json={"sql": text, "row_format": "arrays"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]


@pytest.fixture
def rest(serve):
    return Rest(serve().url)


@pytest.fixture(params=["serve", "cluster"])
def everywhere(request, serve, start, tmp_path):
    """In one process, and behind the gateway."""
    return Rest(serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url)


@pytest.fixture
def catalog(everywhere):
    """PyIceberg."""
    found = load_catalog("lake", type="rest", uri=everywhere.url + "/iceberg")
    found.served = everywhere.url
    return found


# --- namespaces ---


def test_pyiceberg_makes_changes_lists_and_drops_namespaces(catalog):
    catalog.create_namespace("geo", {"owner": "anna", "comment": "places"})
    catalog.create_namespace(("geo", "europe"))
    catalog.create_namespace(("geo", "a.b/c"), {"x": "1"})
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace("geo")
    with pytest.raises(RESTError, match="NoSuchNamespaceException"):  # the parent has to be there
        catalog.create_namespace(("nope", "child"))
    assert catalog.list_namespaces() == [("geo",)]
    assert sorted(catalog.list_namespaces("geo")) == [("geo", "a.b/c"), ("geo", "europe")]
    assert catalog.list_namespaces(("geo", "europe")) == []
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_namespaces("nope")
    properties = catalog.load_namespace_properties("geo")
    assert properties.pop("location").endswith("/wh/main/geo") and properties == {"owner": "anna", "comment": "places"}
    assert catalog.load_namespace_properties(("geo", "a.b/c"))["x"] == "1"
    summary = catalog.update_namespace_properties("geo", removals={"comment", "nope"}, updates={"owner": "bert", "new": "n"})
    assert sorted(summary.updated) == ["new", "owner"] and summary.removed == ["comment"] and summary.missing == ["nope"]
    properties = catalog.load_namespace_properties("geo")
    del properties["location"]
    assert properties == {"owner": "bert", "new": "n"}
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace("geo")
    catalog.drop_namespace(("geo", "a.b/c"))
    catalog.drop_namespace(("geo", "europe"))
    catalog.drop_namespace("geo")
    assert not catalog.namespace_exists("geo") and catalog.list_namespaces() == []
    with pytest.raises(NoSuchNamespaceError):
        catalog.drop_namespace("geo")
    catalog.create_namespace("geo")  # and it starts anew
    assert list(catalog.load_namespace_properties("geo")) == ["location"]


def test_a_namespace_with_a_table_in_it_is_not_dropped(rest):
    rest.fill("geo.towns")
    path = rest.namespace("geo")
    error = rest.ask("DELETE", path, 409, "NamespaceNotEmptyException")
    assert "geo" in error["message"]
    rest.ask("HEAD", path, 204)
    rest.ask("DELETE", path + "/tables/towns", 204)
    rest.ask("DELETE", path, 204)
    rest.ask("GET", path, 404, "NoSuchNamespaceException")
    rest.ask("GET", path + "/tables", 404, "NoSuchNamespaceException")
    rest.fill("geo.towns")  # ingest makes it again, and no table is left from before
    assert rest.tables("geo") == ["towns"] and rest.sql("SELECT count(*) FROM geo.towns") == [[3]]


def test_names_of_namespaces_may_hold_anything_but_control_characters(rest):
    for name in ODD:
        rest.make(name)
        rest.make(name, name)
        rest.ask("HEAD", rest.namespace(name), 204)
        assert rest.ask("GET", rest.namespace(name, name), 200)["namespace"] == [name, name]
        assert rest.namespaces(name) == [(name, name)]
        assert rest.tables(name, name) == []
    assert rest.namespaces() == sorted([(name,) for name in ODD], key=lambda levels: levels[0].encode())
    # levels are no dots: ["a.b"] is there, ["a", "b"] is not
    rest.ask("GET", rest.namespace("a", "b"), 404, "NoSuchNamespaceException")
    for name in ODD:
        rest.ask("DELETE", rest.namespace(name), 409, "NamespaceNotEmptyException")
        rest.ask("DELETE", rest.namespace(name, name), 204)
        rest.ask("DELETE", rest.namespace(name), 204)
    assert rest.namespaces() == []


def test_lists_of_children_come_in_pages(rest):
    rest.make("p")
    rest.make("p2")
    told = [f"c{i}" for i in range(7)]
    for name in told:
        rest.make("p", name)
        rest.make("p", name, "deep")
    found, token = [], ""
    while token is not None:
        page = rest.ask("GET", "/namespaces", 200, params={"parent": "p", "pageToken": token, "pageSize": 3})
        assert len(page["namespaces"]) <= 3
        found, token = found + page["namespaces"], page["next-page-token"]
    assert found == [["p", name] for name in told]


@pytest.mark.parametrize("body", [
    {}, {"namespace": []}, {"namespace": "a"}, {"namespace": [""]}, {"namespace": [1]}, {"namespace": ["a", ""]}, {"namespace": ["a\u001fb"]},
    {"namespace": ["a\nb"]}, {"namespace": ["."]}, {"namespace": [".."]}, {"namespace": ["n" * 81]}, {"namespace": ["information_schema"]},
    {"namespace": ["a"], "properties": {"x": 1}}, {"namespace": ["a"], "properties": []}, {"namespace": ["a"], "properties": {"location": "file:///etc"}},
    {"namespace": ["a"], "properties": {"location": "s3://elsewhere/a"}}, {"namespace": ["a"], "properties": {"big": "x" * 1_100_000}}, [], 1])
def test_what_is_no_namespace_is_refused(rest, body):
    rest.ask("POST", "/namespaces", 400, "BadRequestException", json=body)
    assert rest.namespaces() == []


def test_properties_are_refused_when_they_contradict_themselves(rest):
    rest.make("n", a="1")
    path = rest.namespace("n") + "/properties"
    rest.ask("POST", path, 422, "UnprocessableEntityException", json={"removals": ["b", "a"], "updates": {"a": "2"}})
    assert rest.ask("GET", rest.namespace("n"), 200)["properties"]["a"] == "1"
    assert rest.ask("POST", path, 200, json={}) == {"updated": [], "removed": [], "missing": []}
    assert rest.ask("POST", path, 200, json={"removals": ["z", "z"]}) == {"updated": [], "removed": [], "missing": ["z"]}
    for body in ({"updates": {"a": None}}, {"removals": "a"}, {"removals": [1]}, {"updates": {"location": "file:///etc"}}):
        rest.ask("POST", path, 400, "BadRequestException", json=body)
    for type_, path in (("NoSuchNamespaceException", rest.namespace("nope")), ("NoSuchNamespaceException", rest.namespace("n", "nope"))):
        rest.ask("POST", path + "/properties", 404, type_, json={"updates": {"a": "2"}})


# --- tables ---


def test_a_table_is_dropped_with_its_files_or_without(rest):
    for name in ("keep", "purge"):
        rest.fill(name)
    kept = rest.ask("GET", rest.table(["main"], "keep"), 200)["metadata-location"]
    for value, status in [("maybe", 400), ("FALSE", 204)]:
        rest.ask("DELETE", rest.table(["main"], "keep"), status, "BadRequestException", params={"purgeRequested": value})
    rest.ask("DELETE", rest.table(["main"], "purge"), 204, params={"purgeRequested": "True"})
    for name in ("keep", "purge", "nope", "a.b", "n" * 300):
        rest.ask("DELETE", rest.table(["main"], name), 404, "NoSuchTableException")
    rest.ask("DELETE", rest.table(["nope"], "keep"), 404, "NoSuchTableException")
    with open(kept.removeprefix("file://"), encoding="utf-8") as file:
        assert file.read(1) == "{"


def test_pyiceberg_drops_and_purges_tables(catalog):
    rest = Rest(catalog.served)
    for name in ("one", "two"):
        rest.fill(name)
    catalog.drop_table("main.one")
    catalog.purge_table("main.two")
    assert catalog.list_tables("main") == []
    with pytest.raises(NoSuchTableError):
        catalog.drop_table("main.one")


# --- rename ---


def test_pyiceberg_renames_within_and_across_namespaces(catalog):
    rest = Rest(catalog.served)
    rest.fill("birds")
    uuid = catalog.load_table("main.birds").metadata.table_uuid
    catalog.create_namespace("geo")
    catalog.create_namespace(("geo", "a.b"))
    for source, target in [(("main", "birds"), ("main", "vögel")), (("main", "vögel"), ("geo", "a.b", "tab/le")), (("geo", "a.b", "tab/le"), ("geo", "birds"))]:
        renamed = catalog.rename_table(source, target)
        assert renamed.metadata.table_uuid == uuid and renamed.name() == target
        assert catalog.load_table(target).scan().to_arrow().num_rows == 3
        assert not catalog.table_exists(source) and catalog.table_exists(target)
    assert catalog.list_tables("geo") == [("geo", "birds")] and catalog.list_tables("main") == []
    rest.fill("geo.birds", BIRDS.replace("owl", "kite"))  # and goes on where it is
    assert catalog.load_table("geo.birds").scan().to_arrow().num_rows == 6
    with pytest.raises(NoSuchTableError):
        catalog.rename_table("geo.nope", "geo.x")


def test_what_cannot_be_renamed_has_its_exception(rest):
    for name in ("one", "two"):
        rest.fill(name)

    def rename(source, target, status, type_=None):
        names = [{"namespace": list(levels[:-1]), "name": levels[-1]} for levels in (source, target)]
        return rest.ask("POST", "/tables/rename", status, type_, json={"source": names[0], "destination": names[1]})

    rename(("main", "one"), ("main", "two"), 409, "AlreadyExistsException")
    rename(("main", "one"), ("main", "one"), 409, "AlreadyExistsException")
    rename(("main", "one"), ("main", "TWO"), 409, "AlreadyExistsException")  # differs only by case
    rename(("main", "nope"), ("main", "three"), 404, "NoSuchTableException")
    rename(("nope", "one"), ("main", "three"), 404, "NoSuchTableException")
    rename(("main", "a" * 300), ("main", "three"), 404, "NoSuchTableException")
    rename(("main", "one"), ("nope", "one"), 404, "NoSuchNamespaceException")
    for bad in ("", ".", "a\nb", "x" * 81, "duckdb_x"):
        rename(("main", "one"), ("main", bad), 400, "BadRequestException")
    for body in ({}, {"source": 1}, {"source": {"namespace": ["main"], "name": "one"}}, []):
        rest.ask("POST", "/tables/rename", 400, "BadRequestException", json=body)
    assert rest.tables("main") == ["one", "two"]
    rename(("main", "one"), ("main", "ONE"), 204)
    rename(("main", "two"), ("main", "one"), 409, "AlreadyExistsException")


def sql_name(part):
    return '"' + part.replace('"', '""') + '"'


def test_odd_names_go_through_every_surface(everywhere):
    """The REST catalogue, the list and the manifest of /v1, SQL, drops."""
    rest = everywhere
    texts = {}
    for number, name in enumerate(ODD):
        rest.fill("start", f"number\n{number}\n")
        rest.make(name)
        rest.ask("POST", "/tables/rename", 204, json={"source": {"namespace": ["main"], "name": "start"}, "destination": {"namespace": [name], "name": name}})
        rest.ask("HEAD", rest.table([name], name), 204)
        assert rest.tables(name) == [name]
        assert rest.ask("GET", rest.namespace(name) + "/tables", 200)["identifiers"] == [{"namespace": [name], "name": name}]
        assert rest.sql(f"SELECT number FROM {sql_name(name)}.{sql_name(name)}") == [[number]]
        quoted = sql_name(name) if any(odd in name for odd in "/.\"'`") else name
        texts[f"{quoted}.{quoted}"] = number
    listed = requests.get(f"{rest.url}/v1/catalog/list", timeout=60).json()["tables"]
    assert sorted(table["name"] for table in listed) == sorted(texts)
    shown = {tuple(row) for row in rest.sql("SELECT table_schema, table_name FROM information_schema.tables")}
    assert {(name, name) for name in ODD} <= shown
    for text in texts:
        answer = requests.get(f"{rest.url}/v1/catalog/manifest/{quote(text, safe='')}", timeout=60)
        assert answer.status_code == 200 and answer.json()["name"] == text, text
    for text in texts:
        assert requests.delete(f"{rest.url}/v1/catalog/table/{quote(text, safe='')}", timeout=60).status_code == 204
    assert requests.get(f"{rest.url}/v1/catalog/list", timeout=60).json()["tables"] == []
    # ingest makes plain names only
    for name in ('"a.b"', "a.b.c", '"sla/sh"'):
        assert requests.post(f"{rest.url}/v1/ingest", params={"name": name}, data=b"x\n1\n", headers={"Content-Type": "text/csv"}, timeout=60).status_code == 400


def test_pyiceberg_makes_and_fills_tables_of_odd_names(catalog):
    rest = Rest(catalog.served)
    rows = pa.table({"number": pa.array([1, 2, 3], pa.int64())})
    catalog.create_namespace("ns")
    for name in ODD:
        catalog.create_namespace(("ns", name))
        for levels in [("ns", name), ("ns", name, name)]:
            table = catalog.create_table(levels, schema=rows.schema)
            table.append(rows)
            assert catalog.load_table(levels).scan().to_arrow().num_rows == 3
        assert rest.sql(f"SELECT sum(number) FROM ns.{sql_name(name)}") == [[6]]
        schema = "ns." + (sql_name(name) if "." in name or '"' in name else name)
        assert rest.sql(f"SELECT sum(number) FROM {sql_name(schema)}.{sql_name(name)}") == [[6]]
        catalog.rename_table(("ns", name, name), ("ns", name + "2"))
        catalog.load_table(("ns", name + "2")).append(rows)
        assert rest.sql(f"SELECT sum(number) FROM ns.{sql_name(name + '2')}") == [[12]]
    assert sorted(catalog.list_tables("ns")) == sorted([("ns", name) for name in ODD] + [("ns", name + "2") for name in ODD])


def test_nested_namespaces_are_schemas_of_sql(rest):
    rest.make("a")
    rest.make("a", "b")
    rest.make("a.b")
    for number, levels in enumerate([["a", "b"], ["a.b"]]):
        rest.fill("start", f"number\n{number}\n")
        rest.ask("POST", "/tables/rename", 204, json={"source": {"namespace": ["main"], "name": "start"}, "destination": {"namespace": levels, "name": f"t{number}"}})
    assert rest.sql('SELECT number FROM "a.b".t0') == [[0]]  # no such table in the one level: the two are meant
    assert rest.sql('SELECT number FROM "a.b".t1') == [[1]]
    assert rest.sql('SELECT number FROM """a"".""b""".t0') == [[0]]
    assert rest.sql('SELECT number FROM """a.b""".t1') == [[1]]
    assert rest.sql('SELECT t0.number, "a.b".t1.number FROM "a.b".t0, "a.b".t1') == [[0, 1]]
    assert rest.sql('DESCRIBE "a.b".t0')[0][:2] == ["number", "BIGINT"]
    assert sorted(rest.sql('SHOW TABLES FROM "a.b"')) == [["t0"], ["t1"]]
    schemas = rest.sql("SELECT DISTINCT table_schema FROM information_schema.tables")
    assert ["a.b"] in schemas
    rest.ask("POST", "/tables/rename", 204, json={"source": {"namespace": ["a.b"], "name": "t1"}, "destination": {"namespace": ["a.b"], "name": "t0"}})
    assert rest.sql('SELECT number FROM "a.b".t0') == [[1]]
    assert rest.sql('SELECT number FROM """a"".""b""".t0') == [[0]]
    answer = requests.post(f"{rest.url}/v1/sql", json={"sql": "SELECT number FROM a.b.t0"}, timeout=60)
    assert answer.status_code in (400, 403) and '"a.b".table' in answer.json()["error"]["message"], answer.text
    listed = requests.get(f"{rest.url}/v1/catalog/list", timeout=60).json()["tables"]
    assert sorted(table["name"] for table in listed) == ['"a.b".t0', "a.b.t0"]
    for namespace, name in [("a.b", "a.b.t0"), ('"a.b"', '"a.b".t0')]:
        listed = requests.get(f"{rest.url}/v1/catalog/list", params={"namespace": namespace}, timeout=60).json()["tables"]
        assert [table["name"] for table in listed] == [name]
    assert requests.get(f"{rest.url}/v1/catalog/list", params={"namespace": "a..b"}, timeout=60).status_code == 400


# --- register ---


def test_pyiceberg_registers_what_it_dropped(catalog):
    rest = Rest(catalog.served)
    rest.fill("birds")
    old = catalog.load_table("main.birds")
    catalog.create_namespace(("geo",))
    catalog.drop_table("main.birds")
    table = catalog.register_table(("geo", "wrens"), old.metadata_location)
    assert table.metadata.table_uuid == old.metadata.table_uuid and table.scan().to_arrow().num_rows == 3
    with pytest.raises(TableAlreadyExistsError):
        catalog.register_table(("geo", "wrens"), old.metadata_location)
    rest.fill("geo.wrens", BIRDS.replace("owl", "kite"))
    assert rest.sql("SELECT count(*) FROM geo.wrens") == [[6]]
    rest.ask("POST", rest.namespace("geo") + "/register", 200, json={"name": "wrens", "metadata-location": old.metadata_location, "overwrite": True})
    assert rest.sql("SELECT count(*) FROM geo.wrens") == [[3]]


def test_what_lies_elsewhere_is_not_registered(rest, tmp_path):
    rest.fill("birds")
    location = rest.ask("GET", rest.table(["main"], "birds"), 200)["metadata-location"]
    foreign = tmp_path / "metadata" / "1.metadata.json"
    foreign.parent.mkdir()
    foreign.write_bytes(open(location.removeprefix("file://"), "rb").read())
    register = rest.namespace("main") + "/register"
    for where in (f"file://{foreign}", "s3://elsewhere/x/metadata/1.metadata.json", "http://127.0.0.1/x", "", location + "x", location.replace("/wh/main", "/wh/main/../main"), location):
        rest.ask("POST", register, 400, "BadRequestException", json={"name": "x", "metadata-location": where})
    rest.ask("POST", register, 409, "AlreadyExistsException", json={"name": "birds", "metadata-location": location})
    rest.ask("POST", rest.namespace("nope") + "/register", 404, "NoSuchNamespaceException", json={"name": "x", "metadata-location": location})
    for body in ({}, {"name": "x"}, {"name": 1, "metadata-location": location}, []):
        rest.ask("POST", register, 400, "BadRequestException", json=body)
    assert rest.tables("main") == ["birds"]


def test_messages_begin_as_those_of_javas_catalogues(rest):
    """Programs look at them, and so does the reference suite."""
    rest.fill("birds")
    location = rest.ask("GET", rest.table(["main"], "birds"), 200)["metadata-location"]
    rest.make("a")
    rest.make("a", "b")

    def told(*call, **options):
        return rest.ask(*call, **options)["message"]

    for path in ("/namespaces/nope", "/namespaces/nope/tables"):
        assert told("GET", path, 404, "NoSuchNamespaceException") == "Namespace does not exist: nope"
    assert told("GET", "/namespaces", 404, "NoSuchNamespaceException", params={"parent": "x\x1fy"}) == "Namespace does not exist: x.y"
    assert told("POST", rest.namespace("a", "nope") + "/properties", 404, "NoSuchNamespaceException", json={"updates": {"k": "v"}}) == "Namespace does not exist: a.nope"
    assert told("POST", "/namespaces", 404, "NoSuchNamespaceException", json={"namespace": ["x", "y", "z"]}) == "Namespace does not exist: x.y"
    assert told("POST", "/namespaces", 409, "AlreadyExistsException", json={"namespace": ["a", "b"]}) == "Namespace already exists: a.b"
    assert "is not empty" in told("DELETE", rest.namespace("a"), 409, "NamespaceNotEmptyException")
    assert told("GET", rest.table(["a", "b"], "t"), 404, "NoSuchTableException") == "Table does not exist: a.b.t"
    assert told("GET", rest.table(["main"], "bird"), 404, "NoSuchTableException") == 'Table does not exist: main.bird (did you mean "birds"?)'
    assert told("DELETE", rest.table(["main"], "nope"), 404, "NoSuchTableException").startswith("Table does not exist: main.nope")
    register = {"name": "birds", "metadata-location": location}
    assert told("POST", rest.namespace("main") + "/register", 409, "AlreadyExistsException", json=register) == "Table already exists: main.birds"
    assert told("POST", rest.namespace("nope") + "/register", 404, "NoSuchNamespaceException", json=register) == "Namespace does not exist: nope"
    rest.fill("wrens")
    for target, status, type_, wanted in [(("main", "wrens"), 409, "AlreadyExistsException", "Table already exists: main.wrens"),
                                          (("nope", "x"), 404, "NoSuchNamespaceException", "Namespace does not exist: nope")]:
        names = [{"namespace": [levels[0]], "name": levels[1]} for levels in (("main", "birds"), target)]
        assert told("POST", "/tables/rename", status, type_, json={"source": names[0], "destination": names[1]}) == wanted
    schema = {"type": "struct", "fields": [{"id": 1, "name": "x", "required": False, "type": "long"}]}
    for name, wanted in [("birds", "Table already exists: main.birds"), ("BIRDS", "Table already exists: main.BIRDS (")]:
        assert told("POST", rest.namespace("main") + "/tables", 409, "AlreadyExistsException", json={"name": name, "schema": schema}).startswith(wanted)
    assert told("POST", rest.namespace("nope") + "/tables", 404, "NoSuchNamespaceException", json={"name": "x", "schema": schema}) == "Namespace does not exist: nope"
    nothing = {"requirements": [], "updates": [{"action": "set-properties", "updates": {"k": "v"}}]}
    assert told("POST", rest.table(["main"], "nope"), 404, "NoSuchTableException", json=nothing).startswith("Table does not exist: main.nope")
    nothing = {"table-changes": [{"identifier": {"namespace": ["a", "b"], "name": "nope"}, **nothing}]}
    assert told("POST", "/transactions/commit", 404, "NoSuchTableException", json=nothing).startswith("Table does not exist: a.b.nope")
    names = [{"namespace": ["main"], "name": name} for name in ("nope", "x")]
    assert told("POST", "/tables/rename", 404, "NoSuchTableException", json={"source": names[0], "destination": names[1]}) == "Table does not exist: main.nope"


def test_a_metadata_file_that_is_gone_is_not_a_table_that_is_not_there(rest):
    rest.fill("birds")
    location = rest.ask("GET", rest.table(["main"], "birds"), 200)["metadata-location"]
    os.unlink(location.removeprefix("file://"))
    for snapshots in ("all", "refs"):
        error = rest.ask("GET", rest.table(["main"], "birds"), 404, "NotFoundException", params={"snapshots": snapshots})
        assert error["message"] == f"Failed to open input stream for file: {location}"
