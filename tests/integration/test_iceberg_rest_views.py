"""Views through the Iceberg REST catalogue: PyIceberg where it can, the raw surface for the rest."""

import time

import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NamespaceNotEmptyError, NoSuchTableError, NoSuchViewError, TableAlreadyExistsError

from conftest import start_cluster
from test_iceberg_rest_names import Rest

SCHEMA = {"type": "struct", "schema-id": 0, "fields": [{"id": 0, "name": "n", "required": False, "type": "string"}]}


def version(sql, at=None, dialect="duckdb", namespace=("main",), **more):
    return {
        "version-id": 1,
        "timestamp-ms": at or int(time.time() * 1000),
        "schema-id": 0,
        "summary": {"engine-name": "test"},
        "default-namespace": list(namespace),
        "representations": [{"type": "sql", "sql": sql, "dialect": dialect}],
        **more,
    }


def replaced(sql, **more):
    return [{"action": "add-view-version", "view-version": version(sql, **more)}, {"action": "set-current-view-version", "view-version-id": -1}]


def current(answer):
    metadata = answer["metadata"]
    return next(one for one in metadata["versions"] if one["version-id"] == metadata["current-version-id"])["representations"][0]["sql"]


class Views(Rest):
    def view(self, levels, name):
        return self.table(levels, name).replace("/tables/", "/views/")

    def create(self, name, sql="select 'owl' n", levels=("main",), status=200, type_=None, **more):
        body = {"name": name, "schema": SCHEMA, "view-version": version(sql, namespace=levels), "properties": {}, **more}
        return self.ask("POST", self.namespace(*levels) + "/views", status, type_, json=body)

    def views(self, *levels):
        return [entry["name"] for entry in self.ask("GET", self.namespace(*levels) + "/views", 200)["identifiers"]]


@pytest.fixture(params=["serve", "cluster"])
def everywhere(request, serve, start, tmp_path):
    return Views(serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url)


@pytest.fixture
def rest(serve):
    found = Views(serve().url)
    found.fill("birds")
    return found


def test_pyiceberg_lists_finds_and_drops_views(everywhere):
    everywhere.make("geo")
    everywhere.fill("geo.towns")
    for name in ["tall", "a.b", "sp ace"]:
        everywhere.create(name, levels=("geo",))
    catalog = load_catalog("lake", type="rest", uri=everywhere.url + "/iceberg")
    assert sorted(catalog.list_views("geo")) == [("geo", "a.b"), ("geo", "sp ace"), ("geo", "tall")]
    assert catalog.list_tables("geo") == [("geo", "towns")]
    assert catalog.view_exists(("geo", "a.b")) and not catalog.view_exists("geo.towns") and not catalog.view_exists("geo.nope")
    assert not catalog.table_exists("geo.tall")
    with pytest.raises(NoSuchTableError):
        catalog.load_table("geo.tall")
    with pytest.raises(NoSuchTableError):
        catalog.drop_table("geo.tall")
    with pytest.raises(TableAlreadyExistsError):
        catalog.create_table("geo.tall", catalog.load_table("geo.towns").schema())
    with pytest.raises(NoSuchViewError):
        catalog.drop_view("geo.towns")
    catalog.drop_table("geo.towns")
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace("geo")
    for name in ["tall", "a.b", "sp ace"]:
        catalog.drop_view(("geo", name))
    with pytest.raises(NoSuchViewError):
        catalog.drop_view("geo.tall")
    catalog.drop_namespace("geo")


def test_the_configuration_lists_the_views_endpoints(rest):
    told = requests.get(rest.url + "/iceberg/v1/config", timeout=10).json()["endpoints"]
    one = "/v1/{prefix}/namespaces/{namespace}/views"
    for endpoint in [f"GET {one}", f"POST {one}"] + [f"{verb} {one}/{{view}}" for verb in ["GET", "HEAD", "POST", "DELETE"]]:
        assert endpoint in told
    assert "POST /v1/{prefix}/views/rename" in told and "POST /v1/{prefix}/namespaces/{namespace}/register-view" in told


def test_a_view_is_made_loaded_replaced_and_dropped(everywhere):
    everywhere.fill("birds")
    path = everywhere.view(["main"], "v")
    assert requests.head(everywhere.base + path, timeout=10).status_code == 404
    made = everywhere.create("v", properties={"comment": "old", "kept": "yes"}, unknown="ignored")
    assert made["config"] == {} and made["metadata"]["view-uuid"] and current(made) == "select 'owl' n"
    assert made["metadata"]["properties"] == {"comment": "old", "kept": "yes"}
    assert everywhere.ask("GET", path, 200) == made
    assert requests.head(everywhere.base + path, timeout=10).status_code == 204
    uuid = [{"type": "assert-view-uuid", "uuid": made["metadata"]["view-uuid"]}]
    updates = replaced("select 'emu' n") + [{"action": "set-properties", "updates": {"comment": "new"}}, {"action": "remove-properties", "removals": ["kept"]}]
    after = everywhere.ask("POST", path, 200, json={"requirements": uuid, "updates": updates})
    assert current(after) == "select 'emu' n" and after["metadata"]["properties"] == {"comment": "new"}
    assert after["metadata-location"] != made["metadata-location"] and len(after["metadata"]["versions"]) == 2
    assert everywhere.ask("POST", path, 200, json={"requirements": uuid, "updates": updates}) == after  # its answer was lost
    assert everywhere.ask("GET", path, 200) == after
    everywhere.ask("DELETE", path, 204)
    everywhere.ask("GET", path, 404, "NoSuchViewException")
    everywhere.ask("DELETE", path, 404, "NoSuchViewException")
    error = everywhere.ask("POST", path, 404, "NoSuchViewException", json={"requirements": uuid, "updates": updates})
    assert error["message"] == "View does not exist: main.v"
    everywhere.create("v")
    everywhere.ask("POST", path, 409, "CommitFailedException", json={"requirements": uuid, "updates": updates})


def test_tables_and_views_refuse_each_others_names_and_routes(rest):
    rest.create("v")
    create = {"name": "v", "schema": SCHEMA}
    assert rest.ask("POST", rest.namespace("main") + "/tables", 409, "AlreadyExistsException", json=create)["message"] == "View with same name already exists: main.v"
    assert rest.create("birds", status=409, type_="AlreadyExistsException")["message"] == "Table with same name already exists: main.birds"
    assert rest.create("v", status=409, type_="AlreadyExistsException")["message"] == "View already exists: main.v"
    for name in ["V", "BIRDS"]:
        rest.create(name, status=409, type_="AlreadyExistsException")
        rest.ask("POST", rest.namespace("main") + "/tables", 409, "AlreadyExistsException", json={**create, "name": name})
    rest.ask("GET", rest.table(["main"], "v"), 404, "NoSuchTableException")
    rest.ask("DELETE", rest.table(["main"], "v") + "?purgeRequested=true", 404, "NoSuchTableException")
    rest.ask("POST", rest.table(["main"], "v"), 404, "NoSuchTableException", json={"requirements": [], "updates": []})
    rest.ask("GET", rest.view(["main"], "birds"), 404, "NoSuchViewException")
    rest.ask("DELETE", rest.view(["main"], "birds"), 404, "NoSuchViewException")
    rest.ask("POST", rest.view(["main"], "birds"), 404, "NoSuchViewException", json={"updates": replaced("select 1 n")})
    rest.ask("GET", rest.view(["nope"], "v"), 404, "NoSuchViewException")
    rest.create("v", levels=("nope",), status=404, type_="NoSuchNamespaceException")
    rest.ask("GET", rest.namespace("nope") + "/views", 404, "NoSuchNamespaceException")
    change = {"identifier": {"namespace": ["main"], "name": "v"}, "requirements": [], "updates": []}
    rest.ask("POST", "/transactions/commit", 404, "NoSuchTableException", json={"table-changes": [change]})
    assert rest.views("main") == ["v"] and rest.tables("main") == ["birds"]
    assert [table["name"] for table in requests.get(rest.url + "/v1/catalog/list", timeout=10).json()["tables"]] == ["birds"]
    answer = requests.post(rest.url + "/v1/ingest", params={"name": "v"}, data=b"a\n1\n", headers={"Content-Type": "text/csv"}, timeout=30)
    assert answer.status_code in (404, 409), answer.text


def test_views_are_renamed(rest):
    def move(source, destination, status, type_=None):
        body = {"source": {"namespace": source[:-1], "name": source[-1]}, "destination": {"namespace": destination[:-1], "name": destination[-1]}}
        return rest.ask("POST", "/views/rename", status, type_, json=body)

    made = rest.create("v")
    rest.create("w")
    rest.make("geo")
    assert move(["main", "v"], ["main", "w"], 409, "AlreadyExistsException")["message"] == "View already exists: main.w"
    assert move(["main", "v"], ["main", "birds"], 409, "AlreadyExistsException")["message"] == "Table with same name already exists: main.birds"
    move(["main", "birds"], ["main", "x"], 404, "NoSuchViewException")
    move(["main", "v"], ["nope", "x"], 404, "NoSuchNamespaceException")
    move(["main", "v"], ["geo", "x y"], 204)
    assert rest.views("main") == ["w"] and rest.views("geo") == ["x y"]
    assert rest.ask("GET", rest.view(["geo"], "x y"), 200) == made


def test_views_are_listed_in_pages(rest):
    names = [f"v{i}" for i in range(7)]
    for name in names:
        rest.create(name)
    path, got, token, pages = rest.namespace("main") + "/views", [], "", 0
    while token is not None:
        answer = rest.ask("GET", path, 200, params={"pageSize": 3, "pageToken": token})
        got, token, pages = got + [one["name"] for one in answer["identifiers"]], answer.get("next-page-token"), pages + 1
    assert got == names and pages == 3


def test_what_can_be_no_view_is_refused(rest):
    location = rest.create("v")["metadata"]["location"]
    root = location[: location.index("/wh/")]
    for place in ["s3://elsewhere/wh/x", root + "/wh/main/main/a%b", root + "/wh/main", root + "/_lake/x/y/z", location, location + "/in"]:
        rest.create("w", location=place, status=400, type_="BadRequestException")
    for updates in [[{"action": "add-snapshot"}], [{"action": "set-location", "location": "s3://elsewhere/x"}], [{}], [{"action": "set-current-view-version", "view-version-id": 7}], 5]:
        rest.ask("POST", rest.view(["main"], "v"), 400, "BadRequestException", json={"updates": updates})
    for body in [{"name": "w"}, {"name": "w", "schema": SCHEMA, "view-version": {}}, {"schema": SCHEMA}, 5]:
        rest.ask("POST", rest.namespace("main") + "/views", 400, "BadRequestException", json=body)
    assert rest.views("main") == ["v"]


def test_a_view_that_was_dropped_is_registered_again(rest):
    made = rest.create("v")
    path = rest.namespace("main") + "/register-view"
    body = {"name": "w", "metadata-location": made["metadata-location"]}
    rest.ask("POST", path, 400, "BadRequestException", json=body)  # it lies in the folder of v
    rest.ask("DELETE", rest.view(["main"], "v"), 204)
    assert rest.ask("POST", path, 200, json=body) == made
    assert rest.views("main") == ["w"]
    rest.ask("POST", path, 409, "AlreadyExistsException", json=body)
    rest.ask("POST", rest.namespace("nope") + "/register-view", 404, "NoSuchNamespaceException", json=body)
    rest.ask("POST", path, 400, "BadRequestException", json={**body, "name": "x", "metadata-location": made["metadata-location"] + ".nope"})
