"""CALL: procedures over one table, answered with rows."""

import csv
import io

import pytest
from test_sql_write import Lake, lake, name  # noqa: F401


@pytest.fixture
def table(lake, name):
    """Three rows, a snapshot each; their ids in order."""
    lake.write(f"CREATE TABLE {name} (a INTEGER)")
    for i in range(3):
        lake.write(f"INSERT INTO {name} VALUES ({i})")
    return name, [row[0] for row in lake.rows(f'SELECT snapshot_id FROM "{name}$snapshots" ORDER BY committed_at, snapshot_id')]


def test_rollback(lake, table):
    name, ids = table
    answer = lake.ask(f"CALL rollback_to_snapshot('main.{name}', snapshot_id => $to)", params={"to": ids[1]}).json()
    assert [column["name"] for column in answer["columns"]] == ["previous_snapshot_id", "current_snapshot_id"]
    assert answer["rows"] == [[ids[2], ids[1]]]
    assert lake.rows(f"SELECT a FROM {name} ORDER BY a") == [[0], [1]]
    assert sorted(lake.scanned("main." + name)) == [[0], [1]]
    # what has come after it is there still, by its id, but not what the table comes from
    assert lake.rows(f"SELECT count(*) FROM {name} AT (VERSION => {ids[2]})") == [[3]]
    lake.fails(f"CALL rollback_to_snapshot('{name}', snapshot_id => {ids[2]})", 400, "$history")
    # and it goes on from there
    assert lake.write(f"INSERT INTO {name} VALUES (9)") == 1
    assert sorted(lake.scanned("main." + name)) == [[0], [1], [9]]


def test_report_in_every_format(lake, table):
    name, ids = table
    sql = f"CALL system.rollback_to_snapshot('{name}', snapshot_id => {ids[0]}::BIGINT)"
    answer = lake.ask(sql, format="csv")
    assert list(csv.reader(io.StringIO(answer.text))) == [["previous_snapshot_id", "current_snapshot_id"], [str(ids[2]), str(ids[0])]]
    import pyarrow as pa

    again = pa.ipc.open_stream(lake.ask(sql, format="arrow").content).read_all()
    assert again.to_pylist() == [{"previous_snapshot_id": ids[0], "current_snapshot_id": ids[0]}]


@pytest.fixture(scope="module")
def refused(lake):
    lake.write("CREATE TABLE call_refused AS SELECT 1 AS a")
    return "call_refused"


@pytest.mark.parametrize(
    ("sql", "status", "word"),
    [
        ("CALL nonsense('{t}')", 400, 'there is no procedure \\"nonsense\\": there are rollback_to_snapshot'),
        ("CALL pragma_version()", 400, "the first argument is the table"),
        ("CALL other.rollback_to_snapshot('{t}', snapshot_id => 1)", 400, "there is no procedure"),
        ("CALL rollback_to_snapshot(NULL)", 400, "the first argument is the table"),
        ("CALL rollback_to_snapshot(7)", 400, "the first argument is the table"),
        ("CALL rollback_to_snapshot('{t}', 7)", 400, "arguments but the table have names"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => 1, snapshot_id => 2)", 400, "stands twice"),
        ("CALL rollback_to_snapshot('{t}')", 400, "snapshot_id"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => NULL)", 400, "snapshot_id"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => 'x')", 400, "must be a whole number"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => [1])", 400, "cannot be INTEGER[]"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => 77)", 400, "snapshot 77 is none"),
        ("CALL rollback_to_snapshot('{t}', moment => now())", 400, 'has no argument \\"moment\\"'),
        ("CALL rollback_to_snapshot(unnest(['{t}', 'u']), snapshot_id => 1)", 400, "are one row"),
        ("CALL rollback_to_snapshot(unnest([]), snapshot_id => 1)", 400, "are one row"),
        ("CALL rollback_to_snapshot('nowhere', snapshot_id => 1)", 404, "does not exist"),
        ("CALL rollback_to_snapshot('{t}', snapshot_id => read_text('/etc/passwd'))", 400, "table function"),
        ("SELECT 1; CALL rollback_to_snapshot('{t}', snapshot_id => 1)", 400, "stands alone"),
    ],
)
def test_refusals(lake, refused, sql, status, word):
    lake.fails(sql.format(t=refused), status, word)
