"""CALL rewrite_data_files: fewer files, the same rows, for every reader, beside every writer."""

import random
import threading
import time

import pyarrow as pa
import pytest
import requests
import row_deletes as deletes
from pyiceberg.expressions import EqualTo, IsNull
from pyiceberg.table.sorting import NullOrder
from pyiceberg.transforms import IdentityTransform
from test_row_deletes import named
from test_sql_write import Lake

COLUMNS = ["rewritten_data_files_count", "added_data_files_count", "rewritten_bytes_count", "removed_delete_files_count", "failed_data_files_count", "snapshot_id"]


class Compacting(Lake):
    def compact(self, name, *options, **more):
        """The report by name."""
        arguments = "".join(f", {option}" for option in options)
        answer = self.ask(f"CALL rewrite_data_files('{name}'{arguments})", **more)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert [column["name"] for column in body["columns"]] == COLUMNS
        [row] = body["rows"]
        return dict(zip(COLUMNS, row, strict=True))

    def ingest(self, name, text):
        answer = requests.post(self.url + "/v1/ingest", params={"name": name}, data=text, headers={"Content-Type": "text/csv"}, timeout=60)
        assert answer.status_code == 200, answer.text

    def table(self, name):
        return self.catalog.load_table("main." + name)

    def sizes(self, name):
        return sorted(self.table(name).inspect.data_files()["file_size_in_bytes"].to_pylist())

    def everything(self, name):
        """The rows as SQL and as PyIceberg read them, which is the same."""
        rows = sorted((list(row) for row in self.rows(f"SELECT * FROM {name}")), key=str)
        arrow = self.table(name).scan().to_arrow()
        read = sorted(([row[column] for column in arrow.column_names] for row in arrow.to_pylist()), key=str)
        assert [[str(cell) for cell in row] for row in rows] == [[str(cell) for cell in row] for row in read]
        return rows


@pytest.fixture(scope="module")
def lake(shared_server):
    return Compacting(shared_server.url)


@pytest.fixture
def name(request):
    return "c_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]


def fill(lake, name, files, rows=100, options=""):
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR, n INTEGER) {options}")
    for i in range(files):
        assert lake.write(f"INSERT INTO {name} SELECT {i * rows} + i, 'v' || i, i FROM range({rows}) r(i)") == rows


def test_many_small_files_become_one(lake, name):
    fill(lake, name, 8)
    before, size = lake.everything(name), sum(lake.sizes(name))
    planned = lake.compact(name, "dry_run => true")
    assert planned == {**planned, "rewritten_data_files_count": 8, "added_data_files_count": 1, "rewritten_bytes_count": size, "removed_delete_files_count": 0, "snapshot_id": None}
    assert len(lake.sizes(name)) == 8
    done = lake.compact(name)
    snapshot = lake.table(name).current_snapshot()
    assert done == {**planned, "snapshot_id": snapshot.snapshot_id}
    assert snapshot.summary.operation.value == "replace"
    assert len(lake.sizes(name)) == 1
    assert lake.everything(name) == before
    again = lake.compact(name)
    assert (again["rewritten_data_files_count"], again["snapshot_id"]) == (0, None)
    assert lake.table(name).current_snapshot().snapshot_id == snapshot.snapshot_id


def test_what_is_well_stays_as_it_is(lake, name):
    fill(lake, name, 3)
    assert lake.compact(name)["rewritten_data_files_count"] == 0  # fewer than 5
    assert lake.compact(name, "min_input_files => 3")["rewritten_data_files_count"] == 3
    fill(lake, name + "_two", 2)
    assert lake.compact(name + "_two", "min_input_files => 3", "delete_file_threshold => 1")["rewritten_data_files_count"] == 0


def test_large_files_are_cut(lake, name):
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR)")
    lake.write(f"INSERT INTO {name} SELECT i, md5(i::VARCHAR) FROM range(1000000) r(i)")
    [size] = lake.sizes(name)
    done = lake.compact(name, f"target_file_size => {size // 4}")
    assert done["rewritten_data_files_count"] == 1
    sizes = lake.sizes(name)
    assert len(sizes) == done["added_data_files_count"] >= 3
    assert sizes[-1] < size // 2
    assert lake.rows(f"SELECT count(*), count(DISTINCT id), max(v), sum(id) FROM {name}") == [[1000000, 1000000, lake.rows("SELECT max(md5(i::VARCHAR)) FROM range(1000000) r(i)")[0][0], 499999500000]]
    assert lake.compact(name, f"target_file_size => {size // 4}", "min_input_files => 100", "max_bytes => 1")["rewritten_data_files_count"] <= 2


def test_only_files_with_rows_that_are_asked_for(lake, name):
    fill(lake, name, 10)
    before = lake.everything(name)
    done = lake.compact(name, "where => 'id >= 500 AND v IS NOT NULL'")
    assert (done["rewritten_data_files_count"], done["added_data_files_count"]) == (5, 1)
    assert len(lake.sizes(name)) == 6
    assert lake.everything(name) == before
    assert lake.compact(name, "where => 'id > 1000000'")["rewritten_data_files_count"] == 0


def test_what_may_not_be_asked(lake, name):
    fill(lake, name, 1)
    for arguments, status, word in [
        (f"'{name}', target_size => 1", 400, "target_size"),
        (f"'{name}', target_file_size => 5", 400, "target_file_size"),
        (f"'{name}', min_input_files => 0", 400, "above 0"),
        (f"'{name}', where => 'nosuch > 1'", 400, "nosuch"),
        (f"'{name}', where => 'id > 1, id > 2'", 400, "one condition"),
        (f"'{name}', where => 'id > 1) OR (true'", 400, ""),
        (f"'{name}', where => 'v IN (SELECT content FROM read_text(''/etc/passwd''))'", 400, "read_text"),
        ("'nosuch'", 404, "nosuch"),
    ]:
        lake.fails(f"CALL rewrite_data_files({arguments})", status, word)
    assert len(lake.sizes(name)) == 1


# --- deleted rows ---


@pytest.mark.parametrize("files", [1, 6])
def test_rows_deleted_by_position_are_gone_and_their_files_too(lake, name, files):
    fill(lake, name, files, options="WITH ('write.delete.mode'='merge-on-read')")
    assert lake.write(f"DELETE FROM {name} WHERE n % 2 = 0") == files * 50
    assert lake.write(f"DELETE FROM {name} WHERE n = 1") == files
    before = lake.everything(name)
    assert len(before) == files * 49
    deletes = lake.table(name).inspect.delete_files().num_rows
    assert deletes == 2
    done = lake.compact(name)
    assert (done["rewritten_data_files_count"], done["added_data_files_count"], done["removed_delete_files_count"]) == (files, 1, deletes)
    table = lake.table(name)
    assert table.inspect.delete_files().num_rows == 0
    summary = table.current_snapshot().summary
    assert (summary["total-records"], summary["total-delete-files"], summary["total-position-deletes"]) == (str(files * 49), "0", "0")
    assert lake.everything(name) == before
    assert lake.rows(f"SELECT count(*) FROM {name}") == [[files * 49]]


def test_a_delete_file_that_others_need_stays(lake, name):
    fill(lake, name, 6, options="WITH ('write.delete.mode'='merge-on-read')")
    assert lake.write(f"DELETE FROM {name} WHERE n % 2 = 0") == 300
    before = lake.everything(name)
    done = lake.compact(name, "where => 'id < 200'")
    assert (done["rewritten_data_files_count"], done["removed_delete_files_count"]) == (2, 0)
    assert lake.everything(name) == before
    done = lake.compact(name, "rewrite_all => true")
    assert (done["rewritten_data_files_count"], done["removed_delete_files_count"]) == (5, 1)
    assert lake.everything(name) == before


def test_a_file_whose_rows_are_all_gone_leaves_none(lake, name):
    fill(lake, name, 2, options="WITH ('write.delete.mode'='merge-on-read')")
    lake.write(f"DELETE FROM {name} WHERE id < 150")
    lake.write(f"DELETE FROM {name} WHERE id >= 150")
    done = lake.compact(name)
    assert done["added_data_files_count"] == 0
    assert lake.sizes(name) == []
    assert lake.rows(f"SELECT * FROM {name}") == []


# --- partitions ---


def partitions(lake, name):
    """How many files each has."""
    counts = {}
    for partition in lake.table(name).inspect.data_files()["partition"].to_pylist():
        key = str(partition)
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_each_partition_by_itself(lake, name):
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR, n INTEGER) PARTITIONED BY (n, bucket(2, v))")
    for i in range(6):
        lake.write(f"INSERT INTO {name} SELECT {i * 100} + i, 'v' || i, CASE WHEN i % 3 < 2 THEN i % 3 END FROM range(100) r(i)")
    before = lake.everything(name)
    assert partitions(lake, name) == {str({"n": n, "v_bucket": b}): 6 for n in (0, 1, None) for b in (0, 1)}
    done = lake.compact(name)
    assert (done["rewritten_data_files_count"], done["added_data_files_count"]) == (36, 6)
    assert partitions(lake, name) == {str({"n": n, "v_bucket": b}): 1 for n in (0, 1, None) for b in (0, 1)}
    assert lake.everything(name) == before
    for n in ("= 0", "= 1", "IS NULL"):
        wanted = sorted((row for row in before if row[2] == {"= 0": 0, "= 1": 1, "IS NULL": None}[n]), key=str)
        assert sorted(lake.rows(f"SELECT * FROM {name} WHERE n {n}"), key=str) == wanted
        assert lake.table(name).scan(row_filter=IsNull("n") if n == "IS NULL" else EqualTo("n", int(n[2:]))).to_arrow().num_rows == len(wanted)
    manifests = lake.table(name).inspect.manifests().to_pylist()
    assert all(len(manifest["partition_summaries"]) == 2 for manifest in manifests)


def test_files_of_an_older_spec_go_to_the_new_one(lake, name):
    fill(lake, name, 2)
    lake.write(f"ALTER TABLE {name} SET PARTITIONED BY (bucket(3, id))")
    lake.write(f"INSERT INTO {name} VALUES (1000, 'new', 0)")
    before = lake.everything(name)
    done = lake.compact(name)
    assert (done["rewritten_data_files_count"], done["added_data_files_count"]) == (2, 3)
    assert {entry["spec_id"] for entry in lake.table(name).inspect.data_files().to_pylist()} == {lake.table(name).spec().spec_id}
    assert lake.everything(name) == before
    lake.write(f"ALTER TABLE {name} RESET PARTITIONED BY")
    assert lake.compact(name)["added_data_files_count"] == 1
    assert lake.everything(name) == before


# --- schemas and sort orders ---


def test_rows_are_of_the_schema_as_it_is(lake, name):
    fill(lake, name, 3)
    lake.write(f"ALTER TABLE {name} RENAME v TO w")
    lake.write(f"ALTER TABLE {name} ADD COLUMN extra DOUBLE")
    lake.write(f"ALTER TABLE {name} ALTER n TYPE BIGINT")
    lake.write(f"INSERT INTO {name} VALUES (5000, 'x', 3000000000, 1.5)")
    lake.write(f"ALTER TABLE {name} DROP COLUMN w")
    lake.write(f"ALTER TABLE {name} ADD COLUMN w INTEGER")
    before = lake.everything(name)
    assert lake.compact(name, "min_input_files => 2")["rewritten_data_files_count"] == 4
    assert lake.everything(name) == before


def test_a_sort_order_is_followed(lake, name):
    fill(lake, name, 3)
    with lake.table(name).update_sort_order() as update:
        update.desc("n", IdentityTransform(), NullOrder.NULLS_LAST)
        update.asc("id", IdentityTransform(), NullOrder.NULLS_FIRST)
    before = lake.everything(name)
    lake.compact(name, "min_input_files => 2", "sort => true")
    table = lake.table(name)
    [entry] = table.inspect.data_files().to_pylist()
    assert entry["sort_order_id"] == table.sort_order().order_id > 0
    arrow = table.scan().to_arrow()
    assert [(-n, i) for n, i in zip(arrow["n"].to_pylist(), arrow["id"].to_pylist())] == sorted((-row[2], row[0]) for row in before)
    assert lake.everything(name) == before


# --- what others have written ---


def test_deletes_of_other_writers(lake, name):
    for start in range(0, 60, 10):
        lake.ingest(name, "id,name\n" + "".join(f"{i},n{i % 7}\n" for i in range(start, start + 10)))
    table = lake.table(name)
    paths = sorted(deletes.data_paths(table))
    deletes.commit(table, deletes.by_position(table, [(path, 3) for path in paths[:4]]), deletes.by_value(table, named("n1", "n2"), [2]))
    lake.ingest(name, "id,name\n100,n1\n")  # behind the delete
    before = sorted(lake.rows(f"SELECT * FROM {name}"))
    snapshot = lake.table(name).current_snapshot().snapshot_id
    done = lake.compact(name, "delete_file_threshold => 2")
    assert (done["rewritten_data_files_count"], done["added_data_files_count"], done["removed_delete_files_count"]) == (7, 1, 2)
    assert sorted(lake.rows(f"SELECT * FROM {name}")) == before
    assert lake.everything(name) == sorted(before, key=str)  # PyIceberg alone cannot read deletes by value
    assert sorted(lake.rows(f"SELECT * FROM {name} AT (VERSION => {snapshot})")) == before
    table = lake.table(name)
    deletes.commit(table, deletes.by_value(table, named("n3"), [2]))
    assert sorted(lake.rows(f"SELECT * FROM {name}")) == [row for row in before if row[1] != "n3"]


def test_tables_of_pyiceberg(lake, name):
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("part", pa.string()), pa.field("list", pa.list_(pa.int32())), pa.field("inner", pa.struct([("a", pa.int32()), ("b", pa.string())]))])
    table = lake.catalog.create_table("main." + name, schema)
    with table.update_spec() as update:
        update.add_field("part", IdentityTransform(), "part")
    for i in range(6):
        table.append(pa.Table.from_pylist([{"id": i * 10 + k, "part": "xyz"[k % 3], "list": list(range(k)), "inner": {"a": k, "b": str(k)} if k % 2 else None} for k in range(10)], schema=schema))
    table.delete(EqualTo("id", 33))
    before = lake.everything(name)
    assert len(before) == 59
    done = lake.compact(name)
    assert (done["rewritten_data_files_count"], done["added_data_files_count"]) == (18, 3)
    assert lake.everything(name) == before
    table = lake.table(name)
    table.append(pa.Table.from_pylist([{"id": 999, "part": "x", "list": None, "inner": None}], schema=schema))
    assert len(lake.everything(name)) == 60


# --- at random, and beside others ---


def test_random_changes_leave_what_a_model_says(lake, name):
    dice = random.Random(5)
    modes = ", ".join(f"'write.{verb}.mode'='merge-on-read'" for verb in ("delete", "update"))
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR, n INTEGER) PARTITIONED BY (n) WITH ({modes})")
    model, following, compacted = {}, 0, 0
    for step in range(60):
        what = dice.choice(["insert", "insert", "delete", "update", "compact", "compact", "spec", "mode"])
        if what == "insert":
            count = dice.randrange(1, 40)
            lake.write(f"INSERT INTO {name} SELECT i, 's{step}', i % 3 FROM range({following}, {following + count}) r(i)")
            model |= {i: [f"s{step}", i % 3] for i in range(following, following + count)}
            following += count
        elif what == "delete":
            key = dice.randrange(2, 9)
            lake.write(f"DELETE FROM {name} WHERE id % {key} = 1 AND id > {following // 2}")
            model = {i: row for i, row in model.items() if not (i % key == 1 and i > following // 2)}
        elif what == "update":
            key = dice.randrange(2, 9)
            lake.write(f"UPDATE {name} SET v = v || 'u', n = (n + 1) % 3 WHERE id % {key} = 0")
            model = {i: [row[0] + "u", (row[1] + 1) % 3] if i % key == 0 else row for i, row in model.items()}
        elif what == "compact":
            options = dice.sample(["rewrite_all => true", "min_input_files => 2", "delete_file_threshold => 1", "target_file_size => 2000", f"where => 'id > {following // 3}'", "max_bytes => 3000", "sort => false"], dice.randrange(4))
            report = lake.compact(name, *options)
            compacted += report["rewritten_data_files_count"]
            assert report["failed_data_files_count"] == 0
        elif what == "spec":
            lake.write(f"ALTER TABLE {name} SET PARTITIONED BY ({dice.choice(['n', 'bucket(2, id)', 'truncate(10, id), n'])})")
        else:
            lake.write(f"ALTER TABLE {name} SET ('write.delete.mode'='{dice.choice(['merge-on-read', 'copy-on-write'])}')")
        wanted = sorted(([i, *row] for i, row in model.items()), key=str)
        assert sorted(lake.rows(f"SELECT * FROM {name}"), key=str) == wanted, (step, what)
        if what == "compact":
            assert lake.everything(name) == wanted, (step, what)
    assert compacted > 50


def test_beside_writers_nothing_is_lost_and_nothing_comes_back(lake, name):
    """What is acknowledged is there once; what was deleted stays away."""
    lake.write(f"CREATE TABLE {name} (id BIGINT NOT NULL, v VARCHAR, n INTEGER) PARTITIONED BY (n) WITH ('write.delete.mode'='merge-on-read')")
    there, gone, faults, reports = set(), set(), [], []
    lock, end = threading.Lock(), time.monotonic() + 12

    def run(work):
        def loop():
            step = 0
            try:
                while time.monotonic() < end:
                    work(step)
                    step += 1
            except Exception as error:
                faults.append(error)
        return threading.Thread(target=loop)

    def append(worker):
        def work(step):
            first = (worker * 100_000 + step) * 10
            lake.write(f"INSERT INTO {name} SELECT i, 'a', i % 2 FROM range({first}, {first + 10}) r(i)")
            with lock:
                there.update(range(first, first + 10))
        return work

    def erase(step):
        with lock:
            left = sorted(there - gone)
        some = random.Random(step).sample(left, min(3, len(left)))
        if some:
            answer = lake.ask(f"DELETE FROM {name} WHERE id IN ({', '.join(map(str, some))})")
            assert answer.status_code in (200, 409), answer.text  # 409: it was outrun, and did nothing
            if answer.status_code == 200:
                assert answer.json()["rows"][0][0] == len(some)
                gone.update(some)

    def compact(step):
        answer = lake.ask(f"CALL rewrite_data_files('{name}', min_input_files => 2, delete_file_threshold => 1)")
        assert answer.status_code in (200, 409), answer.text
        if answer.status_code == 200:
            reports.append(dict(zip(COLUMNS, answer.json()["rows"][0], strict=True)))

    threads = [run(append(1)), run(append(2)), run(erase), run(compact)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    ids = [row[0] for row in lake.everything(name)]
    assert len(ids) == len(set(ids)) and set(ids) == there - gone, (len(ids), len(there), len(gone), there - gone - set(ids), set(ids) - (there - gone))
    assert len(gone) > 5 and sum(report["rewritten_data_files_count"] for report in reports) > 10, (len(gone), reports)
    lake.compact(name, "min_input_files => 2", "delete_file_threshold => 1")
    assert lake.table(name).inspect.delete_files().num_rows == 0
    assert {row[0] for row in lake.everything(name)} == there - gone
