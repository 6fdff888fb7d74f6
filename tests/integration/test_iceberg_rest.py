"""The Iceberg REST catalogue: what its routes answer, and PyIceberg on top of them, in one process and behind the gateway."""

import csv
import io
import re

import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from conftest import start_cluster

BIRDS = "id,name,weight\n1,owl,1.5\n2,wren,0.01\n3,emu,36\n"
TOWNS = "town,people\nUlm,126000\nBonn,\n"


def fill(url):
    for name, body in [("birds", BIRDS), ("geo.towns", TOWNS), ("geo.towns", TOWNS.replace("Ulm", "Köln"))]:
        answer = requests.post(f"{url}/v1/ingest", params={"name": name}, data=body.encode(), headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text


@pytest.fixture(params=["serve", "cluster"])
def url(request, serve, start, tmp_path):
    found = serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url
    fill(found)
    return found


@pytest.fixture
def iceberg(serve):
    found = serve().url
    fill(found)
    return found + "/iceberg/v1"


@pytest.fixture(scope="module")
def unchanged(shared_server):
    """For tests that only read."""
    fill(shared_server.url)
    return shared_server.url + "/iceberg/v1"


def refusal(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code and error["message"]
    return answer.status_code, error["type"]


def test_pyiceberg_reads_our_tables_through_the_catalogue(url):
    catalog = load_catalog("lake", type="rest", uri=url + "/iceberg", warehouse="main")
    assert sorted(catalog.list_namespaces()) == [("geo",), ("main",)]
    assert catalog.list_tables("geo") == [("geo", "towns")]
    assert catalog.namespace_exists("geo") and not catalog.namespace_exists("nope")
    assert catalog.table_exists("main.birds") and not catalog.table_exists("main.nope")
    assert catalog.load_namespace_properties("geo")["location"].endswith("/wh/main/geo")
    birds = catalog.load_table("main.birds").scan().to_arrow().sort_by("id").to_pylist()
    told = list(csv.DictReader(io.StringIO(BIRDS)))
    assert [(str(row["id"]), row["name"], row["weight"]) for row in birds] == [(row["id"], row["name"], float(row["weight"])) for row in told]
    towns = catalog.load_table("geo.towns")
    assert len(towns.snapshots()) == 2
    assert {row["town"] for row in towns.scan().to_arrow().to_pylist()} == {"Ulm", "Bonn", "Köln"}
    first = towns.snapshots()[0].snapshot_id
    assert {row["town"] for row in towns.scan(snapshot_id=first).to_arrow().to_pylist()} == {"Ulm", "Bonn"}
    with pytest.raises(NoSuchTableError):
        catalog.load_table("geo.nope")
    with pytest.raises(NoSuchTableError):  # also without the namespace: metadata tables are found that way
        catalog.load_table("nope.nope")
    with pytest.raises(NoSuchNamespaceError):
        catalog.load_namespace_properties("nope")


def test_who_has_a_credential_gets_a_token(url):
    catalog = load_catalog("lake", type="rest", uri=url + "/iceberg", credential="somebody:secret", **{"oauth2-server-uri": url + "/iceberg/v1/oauth/tokens"})
    assert catalog.table_exists("main.birds")
    ask = lambda body: requests.post(url + "/iceberg/v1/oauth/tokens", data=body, timeout=10)  # noqa: E731
    exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "a", "scope": "catalog"}
    tokens = [ask({"grant_type": "client_credentials"}).json(), ask(exchange).json()]
    assert len({token["access_token"] for token in tokens}) == 2 and {token["token_type"] for token in tokens} == {"bearer"}
    assert tokens[1]["scope"] == "catalog"
    assert (ask({"grant_type": "password"}).status_code, ask({"grant_type": "password"}).json()["error"]) == (400, "unsupported_grant_type")
    assert ask({}).json()["error"] == ask("grant_type=%zz").json()["error"] == "invalid_request"


def test_the_configuration_lists_what_there_is(serve):
    server = serve()
    config = requests.get(server.url + "/iceberg/v1/config", timeout=10).json()
    assert config["defaults"] == {} and config["overrides"] == {"prefix": "main"}
    metrics = requests.get(server.url + "/metrics", timeout=10).text
    mounted = set(re.findall(r'route="/iceberg/v1/main([^"]*)"', metrics))
    assert mounted == {endpoint.split("{prefix}")[1] for endpoint in config["endpoints"]}
    for endpoint in config["endpoints"]:
        method, path = endpoint.split(" ")
        for prefix in ("/main", ""):  # both forms are there
            pattern = path.replace("/{prefix}", prefix)
            other = requests.request("BREW", server.url + "/iceberg" + pattern.replace("{", "").replace("}", ""), timeout=10)
            assert other.status_code == 405 and method in other.headers["Allow"].split(", "), endpoint
            assert refusal(other) == (405, "UnsupportedOperationException")
    assert requests.get(server.url + "/iceberg/v1/config?warehouse=main", timeout=10).status_code == 200
    assert refusal(requests.get(server.url + "/iceberg/v1/config?warehouse=other", timeout=10)) == (404, "NoSuchWarehouseException")


def test_metadata_is_the_file_byte_for_byte(unchanged):
    answer = requests.get(f"{unchanged}/main/namespaces/geo/tables/towns", timeout=10)
    location = answer.json()["metadata-location"]
    assert location.startswith("file:///")
    with open(location.removeprefix("file://"), encoding="utf-8") as file:
        assert f'"metadata":{file.read()},"config":' in answer.text
    refs = requests.get(f"{unchanged}/main/namespaces/geo/tables/towns?snapshots=refs", timeout=10).json()["metadata"]
    whole = answer.json()["metadata"]
    assert len(whole["snapshots"]) == 2
    assert [snapshot["snapshot-id"] for snapshot in refs["snapshots"]] == [whole["current-snapshot-id"]]
    assert {**refs, "snapshots": whole["snapshots"]} == whole
    assert refusal(requests.get(f"{unchanged}/main/namespaces/geo/tables/towns?snapshots=some", timeout=10)) == (400, "BadRequestException")


def test_a_client_that_has_the_metadata_is_told_so(iceberg):
    table = f"{iceberg}/main/namespaces/geo/tables/towns"
    tags = {mode: requests.get(table, params={"snapshots": mode}, timeout=10).headers["ETag"] for mode in ("all", "refs")}
    assert tags["all"] != tags["refs"]
    for mode in ("all", "refs"):
        for other, status in [("all", 304 if mode == "all" else 200), ("refs", 304 if mode == "refs" else 200)]:
            answer = requests.get(table, params={"snapshots": mode}, headers={"If-None-Match": tags[other]}, timeout=10)
            assert answer.status_code == status and (answer.content == b"") == (status == 304)
    fill(iceberg.removesuffix("/iceberg/v1"))  # the same bytes: nothing has changed
    assert requests.get(table, headers={"If-None-Match": tags["all"]}, timeout=10).status_code == 304
    requests.post(iceberg.removesuffix("/iceberg/v1") + "/v1/ingest?name=geo.towns", data="town,people\nTrier,1\n", headers={"Content-Type": "text/csv"}, timeout=60)
    assert requests.get(table, headers={"If-None-Match": tags["all"]}, timeout=10).status_code == 200


def test_lists_come_in_pages(iceberg):
    base = iceberg.removesuffix("/iceberg/v1")
    for name in ("c", "a", "b b", "ü+%"):
        assert requests.post(f"{base}/v1/ingest", params={"name": name}, data=b"x\n1\n", headers={"Content-Type": "text/csv"}, timeout=60).status_code == 200
    for path, key, told in [("/main/namespaces/main/tables", "identifiers", ["a", "b b", "birds", "c", "ü+%"]),
                            ("/namespaces", "namespaces", ["geo", "main"])]:
        def names(answer):
            return [entry["name"] if isinstance(entry, dict) else entry[0] for entry in answer[key]]
        whole = requests.get(iceberg + path, timeout=10).json()
        assert names(whole) == told and whole["next-page-token"] is None
        found, token = [], ""
        while token is not None:
            page = requests.get(iceberg + path, params={"pageToken": token, "pageSize": 2}, timeout=10).json()
            assert len(page[key]) <= 2
            found, token = found + names(page), page["next-page-token"]
        assert found == told
        for size in ("0", "-1", "many"):
            assert refusal(requests.get(iceberg + path, params={"pageToken": "", "pageSize": size}, timeout=10)) == (400, "BadRequestException")
    # a space as Java writes it and as Python does, a plus only as %2B
    for spelled, status in [("b+b", 200), ("b%20b", 200), ("b%2Bb", 404), ("%C3%BC%2B%25", 200), ("%C3%BC+%25", 404)]:
        assert requests.get(f"{iceberg}/main/namespaces/main/tables/{spelled}", timeout=10).status_code == status, spelled


@pytest.mark.parametrize("path, type_", [
    ("/main/namespaces/nope", "NoSuchNamespaceException"),
    ("/main/namespaces/nope/tables", "NoSuchNamespaceException"),
    ("/main/namespaces/a%1Fb", "NoSuchNamespaceException"),
    ("/main/namespaces?parent=nope", "NoSuchNamespaceException"),
    ("/main/namespaces/geo/tables/nope", "NoSuchTableException"),
    ("/main/namespaces/nope/tables/nope", "NoSuchTableException"),
    ("/main/namespaces/geo%1Ftowns/tables/snapshots", "NoSuchTableException"),
    ("/main/namespaces/geo/tables/a.b", "NoSuchTableException"),
    ("/main/namespaces/geo/tables/tab%2Fle", "NoSuchTableException"),
    ("/main/namespaces/" + "n" * 3000 + "/tables/t", "NoSuchTableException"),
    ("/main/nope", "NoSuchRouteException"),
])
def test_what_is_not_there_has_its_exception(unchanged, path, type_):
    assert refusal(requests.get(unchanged + path, timeout=10)) == (404, type_)
    head = requests.head(unchanged + path, timeout=10)
    assert head.status_code == 404 and head.content == b""


def test_a_dropped_table_is_gone(iceberg):
    base = iceberg.removesuffix("/iceberg/v1")
    table = f"{iceberg}/main/namespaces/geo/tables/towns"
    assert requests.head(table, timeout=10).status_code == 204
    assert requests.delete(f"{base}/v1/catalog/table/geo.towns", timeout=10).status_code == 204
    assert requests.head(table, timeout=10).status_code == 404
    assert requests.get(f"{iceberg}/main/namespaces/geo/tables", timeout=10).json()["identifiers"] == []
    assert requests.head(f"{iceberg}/main/namespaces/geo", timeout=10).status_code == 204


def test_reports_are_taken(unchanged):
    report = {"report-type": "scan-report", "table-name": "geo.towns", "snapshot-id": 1, "filter": True, "schema-id": 0, "metrics": {}}
    assert requests.post(f"{unchanged}/main/namespaces/geo/tables/towns/metrics", json=report, timeout=10).status_code == 204
    assert refusal(requests.post(f"{unchanged}/main/namespaces/geo/tables/nope/metrics", json=report, timeout=10)) == (404, "NoSuchTableException")
    assert refusal(requests.post(f"{unchanged}/main/namespaces/geo/tables/towns/metrics", data=b"{", timeout=10)) == (400, "BadRequestException")
