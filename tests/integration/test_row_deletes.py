"""Tables with delete files: rows that other engines have deleted by position or by value are not there for SQL either."""

import random

import pyarrow as pa
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.manifest import FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType

import row_deletes as deletes

BIRDS = "id,name\n1,owl\n2,wren\n3,emu\n4,tit\n5,jay\n"


class Lake:
    def __init__(self, server):
        self.url = server.url
        self.catalog = load_catalog("lake", type="rest", uri=server.url + "/iceberg")

    def ingest(self, name, text):
        answer = requests.post(self.url + "/v1/ingest", params={"name": name}, data=text, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text

    def table(self, name):
        return self.catalog.load_table("main." + name)

    def ask(self, sql):
        return requests.post(self.url + "/v1/sql", json={"sql": sql, "row_format": "arrays"}, timeout=60)

    def rows(self, sql):
        answer = self.ask(sql)
        assert answer.status_code == 200, answer.text
        return answer.json()["rows"]


@pytest.fixture(scope="module")
def lake(shared_server):
    return Lake(shared_server)


@pytest.fixture
def birds(lake, request):
    """A table of this test's own, and its name."""
    name = "birds_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]
    lake.ingest(name, BIRDS)
    return lake.table(name), name


def named(*names):
    """Rows that a delete by value compares in the column `name`."""
    return pa.table([pa.array(names, pa.string())], schema=pa.schema([deletes.field("name", pa.string(), 2)]))


def test_positions_are_left_out_everywhere(lake, birds):
    table, name = birds
    path, = deletes.data_paths(table)
    before = table.current_snapshot().snapshot_id
    deletes.commit(table, deletes.by_position(table, [(path, 1), (path, 4), (path, 4), (path, 99), (path + "x", 0)]))
    assert lake.rows(f"SELECT id, name FROM {name} ORDER BY id") == [[1, "owl"], [3, "emu"], [4, "tit"]]
    assert lake.rows(f"SELECT count(*) FROM {name}") == [[3]] and lake.rows(f"SELECT count(*) FROM {name} WHERE id IN (2, 3, 5)") == [[1]]
    assert lake.rows(f"SELECT name FROM {name} ORDER BY id DESC LIMIT 1") == [["tit"]]
    assert lake.rows(f"SELECT count(*), sum(b.id)::BIGINT FROM {name} a JOIN {name} b USING (id)") == [[3, 8]]
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {before})") == [[5]]
    lake.ingest(name, "id,name\n6,kite\n")
    assert lake.rows(f"SELECT list(id ORDER BY id) FROM {name}") == [[[1, 3, 4, 6]]]


def test_values_are_left_out_of_what_was_there_before(lake, birds):
    table, name = birds
    first, = deletes.data_paths(table)
    deletes.commit(table, deletes.by_value(table, named("emu", "nobody"), [2]))
    assert lake.rows(f"SELECT list(id ORDER BY id) FROM {name}") == [[[1, 2, 4, 5]]]
    lake.ingest(name, "id,name\n6,emu\n7,\n")  # after the delete
    table.refresh()
    assert lake.rows(f"SELECT list(id ORDER BY id) FROM {name}") == [[[1, 2, 4, 5, 6, 7]]]
    deletes.commit(table, deletes.by_value(table, named(None), [2]))
    assert lake.rows(f"SELECT list(id ORDER BY id) FROM {name}") == [[[1, 2, 4, 5, 6]]]
    both = pa.table([pa.array([1, 2, 6]), pa.array(["owl", "owl", "emu"])], schema=pa.schema([deletes.field("x", pa.int64(), 1), deletes.field("y", pa.string(), 2)]))
    deletes.commit(table, deletes.by_value(table, both, [1, 2]), deletes.by_position(table, [(first, 4)]))
    assert lake.rows(f"SELECT list(id ORDER BY id) FROM {name}") == [[[2, 4]]]


def test_positions_in_later_row_groups(lake):
    count = 400_000
    lake.ingest("many", "id\n" + "\n".join(str(i) for i in range(count)) + "\n")
    table = lake.table("many")
    path, = deletes.data_paths(table)
    gone = random.Random(1).sample(range(count), count // 10)
    deletes.commit(table, deletes.by_position(table, [(path, at) for at in gone]))
    left = sorted(set(range(count)) - set(gone))
    assert lake.rows("SELECT count(*), sum(id)::BIGINT, min(id), max(id) FROM many") == [[len(left), sum(left), left[0], left[-1]]]
    assert lake.rows("SELECT count(*) FROM many WHERE id >= 350000") == [[sum(at >= 350000 for at in left)]]
    assert lake.rows("SELECT id FROM many WHERE id BETWEEN 250000 AND 250100 ORDER BY id") == [[at] for at in left if 250000 <= at <= 250100]


def test_renamed_dropped_and_widened_columns_still_count(lake, birds):
    table, name = birds
    deletes.commit(table, deletes.by_value(table, named("owl"), [2]))
    numbers = pa.table([pa.array([5], pa.int32())], schema=pa.schema([deletes.field("id", pa.int32(), 1)]))
    deletes.commit(table, deletes.by_value(table, numbers, [1]))  # written before the column was widened
    with table.update_schema() as update:
        update.rename_column("name", "called")
    with table.update_schema() as update:
        update.add_column("name", StringType())
    assert lake.rows(f"SELECT id, called, name FROM {name} ORDER BY id") == [[2, "wren", None], [3, "emu", None], [4, "tit", None]]
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("called")
    assert lake.rows(f"SELECT * FROM {name} ORDER BY id") == [[2, None], [3, None], [4, None]]


def partitioned(lake, name):
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "name", StringType()), NestedField(3, "land", StringType()))
    spec = PartitionSpec(PartitionField(source_id=3, field_id=1000, transform=IdentityTransform(), name="land"))
    table = lake.catalog.create_table("main." + name, schema, partition_spec=spec)
    for land in ("de", "fr", None):
        table.append(pa.table({"id": [1, 2], "name": ["owl", "emu"], "land": pa.array([land, land], pa.string())}))
    return table


def test_a_partitions_deletes_are_its_own(lake):
    table = partitioned(lake, "lands")
    deletes.commit(table, deletes.by_value(table, named("owl"), [2], Record("de")))
    assert lake.rows("SELECT land, list(id ORDER BY id) FROM lands GROUP BY land ORDER BY land NULLS LAST") == [["de", [2]], ["fr", [1, 2]], [None, [1, 2]]]
    deletes.commit(table, deletes.by_value(table, named("emu"), [2], Record(None)))
    assert lake.rows("SELECT land, list(id ORDER BY id) FROM lands GROUP BY land ORDER BY land NULLS LAST") == [["de", [2]], ["fr", [1, 2]], [None, [1]]]


def test_deletes_of_a_spec_without_partitions_are_for_all(lake):
    table = partitioned(lake, "everywhere")
    with table.update_spec() as update:
        update.remove_field("land")
    deletes.commit(table, deletes.by_value(table, named("owl"), [2], spec_id=table.spec().spec_id))
    assert lake.rows("SELECT id, count(*) FROM everywhere GROUP BY id") == [[2, 3]]


def test_random_deletes_leave_what_a_model_says(lake):
    rng = random.Random(7)
    lake.ingest("model", "id,name\n0,a\n")
    table = lake.table("model")
    model = {path: [(0, "a")] for path in deletes.data_paths(table)}  # None: the row is gone
    next_id = 1
    for step in range(24):
        kind = rng.choice(["append", "positions", "values", "values"])
        if kind == "append":
            rows = [(next_id + i, rng.choice("abcdefgh")) for i in range(rng.randrange(1, 40))]
            next_id += len(rows)
            lake.ingest("model", "id,name\n" + "".join(f"{at},{name}\n" for at, name in rows))
            table.refresh()
            added, = set(deletes.data_paths(table)) - set(model)
            model[added] = rows
        elif kind == "positions":
            picked = [(path, rng.randrange(len(rows))) for path, rows in model.items() for _ in range(rng.randrange(3))]
            if picked:
                deletes.commit(table, deletes.by_position(table, picked))
            for path, at in picked:
                model[path][at] = None
        else:
            names = rng.sample("abcdefghij", rng.randrange(1, 3))
            deletes.commit(table, deletes.by_value(table, named(*names), [2]))
            model = {path: [row if row and row[1] not in names else None for row in rows] for path, rows in model.items()}
        left = sorted(row for rows in model.values() for row in rows if row)
        assert [tuple(row) for row in lake.rows("SELECT id, name FROM model ORDER BY id")] == left, step
        assert lake.rows("SELECT count(*) FROM model WHERE name < 'd'") == [[sum(name < "d" for _, name in left)]], step


def test_what_cannot_be_applied_is_refused_by_name(lake, birds):
    table, name = birds
    bare = pa.table({"name": ["owl"]})
    deletes.commit(table, deletes.by_value(table, bare, [2]))
    answer = lake.ask(f"SELECT * FROM {name}")
    assert answer.status_code == 500 and "lacks a column" in answer.text and answer.json()["error"]["code"] == "corrupt"
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {table.snapshots()[0].snapshot_id})") == [[5]]


@pytest.mark.parametrize("ids, says", [([], "names no column"), ([99], "field 99")])
def test_a_delete_by_no_column_is_refused(lake, birds, ids, says):
    table, name = birds
    deletes.commit(table, deletes.by_value(table, named("owl"), ids))
    answer = lake.ask(f"SELECT * FROM {name}")
    assert answer.status_code in (500, 501) and says in answer.text
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {table.snapshots()[0].snapshot_id})") == [[5]]


def test_deletion_vectors_are_refused_by_name(lake, birds):
    table, name = birds
    path, = deletes.data_paths(table)
    deletes.commit(table, deletes.by_position(table, [(path, 0)], file_format=FileFormat.PUFFIN))
    answer = lake.ask(f"SELECT * FROM {name}")
    assert answer.status_code == 501 and "deletion vectors" in answer.text
