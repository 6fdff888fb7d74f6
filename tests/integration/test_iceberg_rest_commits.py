"""Tables that PyIceberg makes and changes through the catalogue, beside our own ingest, and with answers that are lost."""

import concurrent.futures
import urllib.parse

import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, NoSuchNamespaceError, NoSuchTableError, RESTError, TableAlreadyExistsError
from pyiceberg.expressions import EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType

from conftest import start_cluster
from losing import losing

COLUMNS = pa.schema([("id", pa.int64()), ("name", pa.string())])


def rows(first, count):
    return pa.table({"id": range(first, first + count), "name": [f"row {n}" for n in range(first, first + count)]}, schema=COLUMNS)


def pyiceberg(url, **more):
    return load_catalog("lake", type="rest", uri=url + "/iceberg", warehouse="main", **more)


class Lake:
    def __init__(self, url):
        self.url, self.rest = url, url + "/iceberg/v1/main"
        self.catalog = pyiceberg(url)
        self.catalog.create_namespace_if_not_exists("main")

    def sql(self, text):
        answer = requests.post(self.url + "/v1/sql", json={"sql": text}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]

    def ids(self, table):
        return [row["id"] for row in self.sql(f"SELECT id FROM {table} ORDER BY id")]

    def ingest(self, name, table, **params):
        body = "id,name\n" + "".join(f"{row['id']},{row['name']}\n" for row in table.to_pylist())
        answer = requests.post(self.url + "/v1/ingest", params={"name": name, **params}, data=body, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def commit(self, name, requirements, updates):
        return requests.post(f"{self.rest}/namespaces/main/tables/{name}", json={"requirements": requirements, "updates": updates}, timeout=60)


def refusal(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code and error["message"]
    return answer.status_code, error["type"]


@pytest.fixture(params=["serve", "cluster"])
def lake(request, serve, start, tmp_path):
    """In one process, and behind the gateway."""
    return Lake(serve().url if request.param == "serve" else start_cluster(start, tmp_path / "data")[0].url)


@pytest.fixture
def alone(serve):
    return Lake(serve().url)


def test_pyiceberg_makes_writes_and_changes_a_table(lake):
    table = lake.catalog.create_table("main.t", COLUMNS, properties={"owner": "me"})
    assert table.properties == {"commit.retry.num-retries": "20", "owner": "me"}
    assert lake.sql("SELECT count(*) AS n FROM t") == [{"n": 0}]
    table.append(rows(0, 10))
    table.append(rows(10, 10))
    assert lake.ids("t") == list(range(20))
    table.overwrite(rows(100, 3), overwrite_filter=EqualTo("name", "row 7"))
    assert lake.ids("t") == sorted({*range(20), 100, 101, 102} - {7})
    table.delete("id < 5")
    assert lake.ids("t") == sorted({*range(5, 20), 100, 101, 102} - {7})
    table.overwrite(rows(0, 2))
    assert lake.ids("t") == [0, 1]
    with table.transaction() as change:
        change.set_properties(colour="red")
        change.remove_properties("owner")
    again = lake.catalog.load_table("main.t")
    assert again.properties == {"commit.retry.num-retries": "20", "colour": "red"}
    assert again.metadata == table.metadata  # what a commit answers is what is there
    listed = requests.get(lake.url + "/v1/catalog/list", timeout=10).json()["tables"]
    assert [(entry["name"], entry["row_count"]) for entry in listed] == [("t", 2)]
    with pytest.raises(TableAlreadyExistsError):
        lake.catalog.create_table("main.t", COLUMNS)
    with pytest.raises(NoSuchNamespaceError):
        lake.catalog.create_table("nowhere.t", COLUMNS)


def test_pyiceberg_evolves_schema_spec_and_order(alone):
    table = alone.catalog.create_table("main.t", Schema(NestedField(1, "id", IntegerType()), NestedField(2, "name", StringType())))
    table.append(pa.table({"id": pa.array([1, 2], pa.int32()), "name": ["a", "b"]}))
    with table.update_schema() as change:
        change.add_column("weight", DoubleType())
        change.update_column("id", LongType())
        change.rename_column("name", "title")
    with table.update_schema() as change:
        change.move_first("title")
    assert alone.sql("SELECT * FROM t ORDER BY id") == [{"title": "a", "id": 1, "weight": None}, {"title": "b", "id": 2, "weight": None}]
    with table.update_schema() as change:
        change.delete_column("weight")
    assert alone.sql("SELECT * FROM t WHERE id = 2") == [{"title": "b", "id": 2}]
    with table.update_spec() as change:
        change.add_field("title", IdentityTransform(), "shelf")
    assert [field.name for field in table.spec().fields] == ["shelf"]
    table.append(pa.table({"title": ["c"], "id": pa.array([3], pa.int64())}))
    with table.update_spec() as change:
        change.remove_field("shelf")
    with table.update_sort_order() as change:
        change.asc("id", IdentityTransform())
    loaded = alone.catalog.load_table("main.t")
    assert loaded.metadata == table.metadata
    assert [field.source_id for field in loaded.sort_order().fields] == [1] and len(loaded.specs()) >= 2
    assert sorted(loaded.scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]


def test_a_partitioned_and_sorted_table_is_made_with_ids_of_ours(alone):
    schema = Schema(NestedField(7, "id", LongType(), required=True), NestedField(9, "name", StringType()), identifier_field_ids=[7])
    spec = PartitionSpec(PartitionField(source_id=9, field_id=1000, transform=IdentityTransform(), name="name"))
    order = SortOrder(SortField(source_id=7, transform=IdentityTransform()))
    table = alone.catalog.create_table("main.t", schema, partition_spec=spec, sort_order=order)
    assert [field.field_id for field in table.schema().fields] == [1, 2] and table.schema().identifier_field_ids == [1]
    assert table.spec().fields[0].source_id == 2 and table.sort_order().fields[0].source_id == 1
    assert alone.catalog.load_table("main.t").metadata == table.metadata


def test_branches_tags_and_expiry(alone):
    table = alone.catalog.create_table("main.t", COLUMNS)
    for n in range(4):
        table.append(rows(n, 1))
    ids = [snapshot.snapshot_id for snapshot in table.snapshots()]
    with table.manage_snapshots() as change:
        change.create_tag(ids[1], "kept")
        change.create_branch(ids[2], "side")
    table.append(rows(50, 1), branch="side")
    assert alone.sql("SELECT count(*) AS n FROM t") == [{"n": 4}]
    assert alone.catalog.load_table("main.t").scan().use_ref("side").count() == 4
    table.maintenance.expire_snapshots().by_id(ids[0]).commit()
    with table.manage_snapshots() as change:
        change.remove_branch("side")
    loaded = alone.catalog.load_table("main.t")
    assert set(loaded.refs()) == {"main", "kept"} and ids[0] not in {snapshot.snapshot_id for snapshot in loaded.snapshots()}
    assert alone.ids("t") == [0, 1, 2, 3]


def test_a_table_is_made_and_filled_in_one_transaction(lake):
    with lake.catalog.create_table_transaction("main.t", COLUMNS, properties={"owner": "me"}) as made:
        with pytest.raises(NoSuchTableError):
            lake.catalog.load_table("main.t")
        made.append(rows(0, 5))
    assert lake.ids("t") == [0, 1, 2, 3, 4]
    assert lake.catalog.load_table("main.t").properties["owner"] == "me"
    with pytest.raises((CommitFailedException, TableAlreadyExistsError)):
        first = lake.catalog.create_table_transaction("main.u", COLUMNS)
        lake.catalog.create_table("main.u", COLUMNS)
        first.commit_transaction()


def test_what_other_programs_keep_in_a_table_outlives_our_appends(alone):
    table = alone.catalog.create_table("main.t", COLUMNS, properties={"owner": "me"})
    table.append(rows(0, 1))
    first = table.current_snapshot().snapshot_id
    with table.manage_snapshots() as change:
        change.create_tag(first, "kept")
    with table.update_sort_order() as change:
        change.asc("id", IdentityTransform())
    path = urllib.parse.urlsplit(table.location()).path + "/metadata/statistics.puffin"
    statistics = {"snapshot-id": first, "statistics-path": "file://" + path, "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}
    assert alone.commit("t", [], [{"action": "set-statistics", "snapshot-id": first, "statistics": statistics}]).status_code == 200
    alone.ingest("t", rows(1, 1))
    alone.catalog.load_table("main.t").append(rows(2, 1))
    loaded = requests.get(f"{alone.rest}/namespaces/main/tables/t", timeout=10).json()["metadata"]
    assert loaded["properties"]["owner"] == "me" and loaded["refs"]["kept"]["snapshot-id"] == first
    assert loaded["statistics"] == [statistics] and loaded["default-sort-order-id"] == 1
    assert alone.ids("t") == [0, 1, 2]


def test_pyiceberg_and_ingest_write_one_table_at_once(lake):
    lake.catalog.create_table("main.t", COLUMNS)

    def append(writer):
        table = pyiceberg(lake.url).load_table("main.t")
        for n in range(4):
            table.append(rows(1000 * writer + n, 1))

    def ingest(writer):
        for n in range(8):
            lake.ingest("t", rows(1000 * writer + n, 1))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for work in [pool.submit(append, writer) for writer in range(4)] + [pool.submit(ingest, writer) for writer in range(4, 8)]:
            work.result()
    expected = [1000 * writer + n for writer in range(8) for n in range(4 if writer < 4 else 8)]
    assert lake.ids("t") == expected
    assert sorted(lake.catalog.load_table("main.t").scan().to_arrow()["id"].to_pylist()) == expected


def test_a_snapshot_or_schema_that_comes_again_under_its_id_is_read_anew(alone):
    """What queries keep of a snapshot must not outlive it."""
    table = alone.catalog.create_table("main.t", COLUMNS)
    table.append(rows(0, 3))
    first = table.current_snapshot()
    table.append(rows(3, 3))
    second = table.current_snapshot()
    assert alone.ids("t") == list(range(6))
    ref = {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch"}
    again = {
        **second.model_dump(mode="json", by_alias=True, exclude_none=True),
        "sequence-number": second.sequence_number + 1,
        "manifest-list": first.manifest_list,
        "summary": {"operation": "append"},
    }
    answer = alone.commit(
        "t",
        [],
        [
            {**ref, "snapshot-id": first.snapshot_id},
            {"action": "remove-snapshots", "snapshot-ids": [second.snapshot_id]},
            {"action": "add-snapshot", "snapshot": again},
            {**ref, "snapshot-id": second.snapshot_id},
        ],
    )
    assert answer.status_code == 200, answer.text
    assert alone.ids("t") == [0, 1, 2]
    # another schema under the id of one that was removed, with the same snapshot
    schema = table.schema().model_dump(mode="json", by_alias=True)

    def named(name):
        fields = [{**field, "name": name if field["id"] == 1 else field["name"]} for field in schema["fields"]]
        answer = alone.commit("t", [], [{"action": "add-schema", "schema": {**schema, "fields": fields}}, {"action": "set-current-schema", "schema-id": -1}])
        assert answer.status_code == 200, answer.text
        return answer.json()["metadata"]["current-schema-id"]

    renamed = named("other")
    assert alone.sql("SELECT min(other) AS n FROM t") == [{"n": 0}]
    answer = alone.commit("t", [], [{"action": "set-current-schema", "schema-id": 0}, {"action": "remove-schemas", "schema-ids": [renamed]}])
    assert answer.status_code == 200, answer.text
    assert named("third") == renamed
    assert alone.sql("SELECT min(third) AS n FROM t") == [{"n": 0}]


def test_refusals_are_the_specifications(alone):
    table = alone.catalog.create_table("main.t", COLUMNS)
    set_property = [{"action": "set-properties", "updates": {"a": "b"}}]
    uuid = {"type": "assert-table-uuid", "uuid": str(table.metadata.table_uuid)}
    assert alone.commit("t", [uuid], set_property).status_code == 200
    assert refusal(alone.commit("t", [{**uuid, "uuid": "7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"}], set_property)) == (409, "CommitFailedException")
    for requirement, words in [({**uuid, "uuid": "7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"}, "UUID does not match: expected "),
                               ({"type": "assert-current-schema-id", "current-schema-id": 7}, "current schema changed: expected id 7 != 0"),
                               ({"type": "assert-last-assigned-field-id", "last-assigned-field-id": 7}, "last assigned field id changed: expected id 7 != 2"),
                               ({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}, "branch or tag main is missing, expected 7")]:
        message = alone.commit("t", [requirement], set_property).json()["error"]["message"]
        assert message.startswith("Requirement failed: " + words)  # as programs look for it
    assert refusal(alone.commit("nope", [uuid], set_property)) == (404, "NoSuchTableException")
    assert refusal(alone.commit("t", [uuid], [{"action": "fly"}])) == (400, "BadRequestException")
    assert refusal(alone.commit("t", [uuid], {"action": "fly"})) == (400, "BadRequestException")
    assert refusal(requests.post(f"{alone.rest}/namespaces/main/tables/t", data="{", timeout=10)) == (400, "BadRequestException")
    deep = '{"requirements":[],"updates":' + "[" * 100_000 + "]" * 100_000 + "}"
    assert refusal(requests.post(f"{alone.rest}/namespaces/main/tables/t", data=deep, timeout=10)) == (400, "BadRequestException")
    large = requests.post(f"{alone.rest}/namespaces/main/tables/t", data=b" " * (17 << 20), timeout=30)
    assert refusal(large) == (413, "BadRequestException")
    schema = {"type": "struct", "fields": [{"id": 1, "name": "id", "required": False, "type": "long"}]}

    def create(namespace="main", **request):
        return requests.post(f"{alone.rest}/namespaces/{namespace}/tables", json={"schema": schema, **request}, timeout=10)

    assert refusal(create(name="t")) == (409, "AlreadyExistsException")
    assert create(name="t").json()["error"]["message"] == "Table already exists: main.t"
    assert create("nowhere", name="t").json()["error"]["message"] == "Namespace does not exist: nowhere"
    assert refusal(create(name="T")) == (409, "AlreadyExistsException")
    assert refusal(create("nowhere", name="u")) == (404, "NoSuchNamespaceException")
    assert refusal(create()) == (400, "BadRequestException")
    for location in ["file:///etc/x", table.location(), table.location() + "/data/x", table.location().rsplit("/", 1)[0], table.location() + "#1"]:
        assert refusal(create(name="u", location=location)) == (400, "BadRequestException"), location
    beside = table.location().rsplit("/", 1)[0] + "/beside"
    made = create(name="u", location=beside + "/")
    assert made.status_code == 200 and made.json()["metadata"]["location"] == beside
    assert made.headers["ETag"] and alone.commit("u", [], set_property).headers["ETag"] != made.headers["ETag"]
    alone.catalog.load_table("main.u").append(pa.table({"id": [1]}))
    assert alone.ids("u") == [1]
    assert not alone.catalog.table_exists("main.v") and create(name="v", **{"stage-create": True}).json().get("metadata-location") is None
    assert not alone.catalog.table_exists("main.v")


@pytest.mark.parametrize("version", ["1", "3"])
def test_ingest_writes_tables_of_version_2_only(alone, version):
    schema = {"type": "struct", "fields": [{"id": 1, "name": "id", "required": False, "type": "long"}, {"id": 2, "name": "name", "required": False, "type": "string"}]}
    made = requests.post(f"{alone.rest}/namespaces/main/tables", json={"name": "t", "schema": schema, "properties": {"format-version": version}}, timeout=10)
    assert made.status_code == 200 and made.json()["metadata"]["format-version"] == int(version)
    assert "format-version" not in made.json()["metadata"]["properties"]
    answer = requests.post(alone.url + "/v1/ingest?name=t", data="id,name\n1,a\n", headers={"Content-Type": "text/csv"}, timeout=60)
    assert answer.status_code == 400 and f"format version {version}" in answer.text
    if version == "1":
        assert alone.commit("t", [], [{"action": "upgrade-format-version", "format-version": 2}]).status_code == 200
        alone.ingest("t", rows(1, 1))
        assert alone.ids("t") == [1]


def test_a_dropped_table_is_no_longer_written(alone):
    table = alone.catalog.create_table("main.t", COLUMNS)
    alone.catalog.drop_table("main.t")
    with pytest.raises(RESTError, match="NoSuchTableException"):
        table.append(rows(0, 1))
    alone.catalog.create_table("main.t", COLUMNS)
    with pytest.raises(ValueError, match="UUID does not match"):  # what PyIceberg finds when it reads again after our 409
        table.append(rows(0, 1))
    assert alone.ids("t") == []


def test_a_transaction_of_one_table_takes_the_plain_path(alone):
    alone.catalog.create_table("main.t", COLUMNS)
    change = {"identifier": {"namespace": ["main"], "name": "t"}, "requirements": [], "updates": [{"action": "set-properties", "updates": {"a": "b"}}]}
    answer = requests.post(alone.rest + "/transactions/commit", json={"table-changes": [change]}, timeout=10)
    assert (answer.status_code, answer.content) == (204, b"")
    assert alone.catalog.load_table("main.t").properties["a"] == "b"


def test_a_transaction_changes_all_of_its_tables_or_none(lake):
    names = ["t", "u", "w"]
    tables = {name: lake.catalog.create_table(f"main.{name}", COLUMNS) for name in names}

    def change(name, key, uuid=None):
        uuid = uuid or str(tables[name].metadata.table_uuid)
        return {"identifier": {"namespace": ["main"], "name": name}, "requirements": [{"type": "assert-table-uuid", "uuid": uuid}],
                "updates": [{"action": "set-properties", "updates": {key: "x"}}]}

    def commit(*changes):
        return requests.post(lake.rest + "/transactions/commit", json={"table-changes": changes}, timeout=60)

    def keys(name):
        return {key for key in lake.catalog.load_table(f"main.{name}").properties if key.startswith("k")}

    answer = commit(*(change(name, "k1") for name in names))
    assert (answer.status_code, answer.content) == (204, b"")
    other = "7a7e2f4c-54a8-4a47-9d52-0dfb1f5b2f4d"
    assert refusal(commit(change("t", "k2"), change("u", "k2", other), change("w", "k2"))) == (409, "CommitFailedException")
    assert refusal(commit(change("t", "k2"), change("nope", "k2", other))) == (404, "NoSuchTableException")
    assert refusal(commit(change("t", "k2"), change("t", "k3"))) == (400, "BadRequestException")
    assert refusal(commit()) == (400, "BadRequestException")
    assert [keys(name) for name in names] == [{"k1"}] * 3
    # many at once, over sets of tables that overlap, beside appends of ours
    work = [(f"k-{n}", [name for i, name in enumerate(names) if (1 + n % 7) >> i & 1]) for n in range(28)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(lambda key, touched: commit(*(change(name, key) for name in touched)).status_code, *args) for args in work]
        appended = [pool.submit(lake.ingest, names[n % 3], rows(n, 1)) for n in range(9)]
        assert {future.result() for future in sent} == {204} and all(future.result() for future in appended)
    for name in names:
        assert keys(name) == {"k1", *(key for key, touched in work if name in touched)}
        assert lake.sql(f"SELECT count(*) AS n FROM {name}") == [{"n": 3}]


# --- answers that are lost ---


@pytest.mark.parametrize("way", ["500", "cut"])
def test_a_lost_answer_loses_and_doubles_no_row(alone, way):
    with losing(alone.url, way) as proxy:
        catalog = pyiceberg(proxy.url)
        table = catalog.create_table("main.t", COLUMNS)
        for n in range(3):
            proxy.to_lose = 1
            with pytest.raises((CommitStateUnknownException, requests.exceptions.ConnectionError)):
                table.append(rows(n, 1))
            table = catalog.load_table("main.t")
        assert alone.ids("t") == [0, 1, 2] == sorted(table.scan().to_arrow()["id"].to_pylist())
        # somebody between may send the very request again: that is a success, and no second row
        seen = []
        send = requests.Session.send

        def remember(session, request, **options):
            if request.method == "POST" and request.url.endswith("/tables/t"):
                seen.append(request)
            return send(session, request, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests.Session, "send", remember)
            table.append(rows(3, 1))
        table.append(rows(4, 1))
        again = requests.post(f"{alone.rest}/namespaces/main/tables/t", data=seen[0].body, headers={"Content-Type": "application/json"}, timeout=10)
        assert again.status_code == 200
        assert alone.ids("t") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["500", "cut"])
def test_a_lost_answer_to_a_table_that_is_made_keeps_it(alone, way):
    with losing(alone.url, way) as proxy:
        proxy.to_lose = 1
        with pytest.raises((CommitStateUnknownException, requests.exceptions.ConnectionError)):
            with pyiceberg(proxy.url).create_table_transaction("main.t", COLUMNS) as made:
                made.append(rows(0, 3))
        assert alone.ids("t") == [0, 1, 2]
        assert alone.catalog.load_table("main.t").scan().count() == 3
