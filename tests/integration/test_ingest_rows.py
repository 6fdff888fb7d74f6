"""Rows that are bad, batches that come again: what is left out is told, and nothing else is."""

import requests
import pytest
from ingesting import Lake


@pytest.fixture
def lake(shared_server):
    return Lake(shared_server)


def skipped(answer):
    return [(row["line"], row["reason"]) for row in answer["skipped"]["rows"]]


BAD_CSV = b"""id,name
1,one
2
3,"three
lines
of text"
4,"fo"ur

5,\xff
6,"a ""quoted"" one"
7,seven,7
8,"never closed
9,nine
10,ten"""


def test_bad_rows_of_a_csv_are_left_out_and_told(lake):
    answer = lake.ok(lake.table, BAD_CSV, on_error="skip")
    assert lake.rows(f"SELECT id, name FROM {lake.table} ORDER BY id") == [
        [1, "one"], [3, "three\nlines\nof text"], [6, 'a "quoted" one'], [9, "nine"], [10, "ten"]]
    assert answer["rows"] == 5 and answer["skipped"]["count"] == 5
    assert skipped(answer) == [
        (3, "expected 2 fields, found 1"), (7, "a quoted field has text behind its closing quote"), (9, "not valid UTF-8"),
        (11, "expected 2 fields, found 3"), (12, "a quoted field is not closed")]
    # by default the first of them is the answer
    assert lake.refused(lake.table + "not", BAD_CSV).startswith("line 3: expected 2 fields, found 1")


def test_bad_lines_of_ndjson_are_left_out_and_told(lake):
    body = b'{"a":1}\n\n{"a":\n{"a":2,"a":3}\n5\n{"a":"\xff"}\n{"a":4}\n{"a":' + b"[" * 200 + b"]" * 200 + b'}\n{"a":5}'
    answer = lake.ok(lake.table, body, on_error="skip")
    assert lake.rows(f"SELECT a FROM {lake.table} ORDER BY a") == [[1], [4], [5]]
    assert [line for line, _ in skipped(answer)] == [3, 4, 5, 6, 8] and answer["skipped"]["count"] == 5
    assert dict(skipped(answer))[8] == "nested deeper than 100" and "twice" in dict(skipped(answer))[4]
    # where records are not lines, nobody can tell where the next one begins
    assert "line 2" in lake.refused(lake.table, '[{"a":1},\n{"a":}]', on_error="skip")


def test_a_row_too_long_is_left_out(serve):
    lake = Lake(serve("--ingestd.max_line_bytes", "2000"))
    long = "x" * 5000000
    answer = lake.ok("t", f"a,b\n1,2\n3,{long}\n5,6\n7,\"{long}\"\n9,10\n", on_error="skip")
    assert [line for line, _ in skipped(answer)] == [3, 5] and answer["rows"] == 3
    lines = '"' + "xxxxxxx\n" * 500 + '"'  # one row over many lines, and one that never ends
    assert "line 3: longer than 2000 bytes (ingestd.max_line_bytes)" in lake.refused("u", f"a,b\n1,2\n3,{lines}\n5,6\n")
    assert "line 3: longer than 2000 bytes" in lake.refused("u", f"a,b\n1,2\n3,{lines[:-1]}")
    assert "line 3: a quoted field is not closed" in lake.refused("u", 'a,b\n1,2\n3,"x\n5,6\n')
    assert "line 3: a quoted field has text behind" in lake.refused("u", 'a,b\n1,2\n3,"x"y\n5,6\n')
    answer = lake.ok("t", f'{{"a":1}}\n{{"a":2,"c":"{long}"}}\n{{"a":3}}\n', on_error="skip")
    assert [line for line, _ in skipped(answer)] == [2] and answer["rows"] == 2


def test_the_list_of_bad_rows_is_bounded_and_the_count_is_whole(lake):
    body = "a,b\n" + "".join(f"{i},{i}\n{i}\n" for i in range(30000))
    answer = lake.ok(lake.table, body, on_error="skip")
    assert answer["rows"] == 30000 and answer["skipped"]["count"] == 30000
    assert skipped(answer) == [(3 + 2 * i, "expected 2 fields, found 1") for i in range(100)]
    assert lake.rows(f"SELECT count(*), sum(a)::BIGINT FROM {lake.table}") == [[30000, 29999 * 15000]]


def test_a_file_without_bad_rows_says_so(lake):
    assert lake.ok(lake.table, "a,b\n1,2\n", on_error="skip")["skipped"] == {"count": 0, "rows": []}
    assert "skipped" not in lake.ok(lake.table, "a,b\n3,4\n")
    assert lake.ok(lake.table, '[{"a":5,"b":6}]', on_error="skip")["skipped"]["count"] == 0


def test_a_file_of_bad_rows_is_refused(lake):
    assert "no good row; line 2: expected 2 fields, found 1" in lake.refused(lake.table, "a,b\n1\n2\n", on_error="skip")
    assert "no good row; line 1: malformed JSON" in lake.refused(lake.table, "{\n{\n", on_error="skip", format="ndjson")
    assert lake.table not in lake.tables()


@pytest.mark.parametrize("body", ["a,b\r\n1,2\n3,4\r\n5,6", "a,b\n1,2\r\n3,4\n5,6\n", "a,b\r1,2\n3,4\r\n5,6\r", "a,b\r\n1,2\r\n3,4\r\n5,6\r\n", "a,b\r1,2\r3,4\r5,6"])
def test_lines_may_end_in_several_ways(lake, body):
    for table, query in ((lake.table, {}), (lake.table + "skip", {"on_error": "skip"})):
        lake.ok(table, body, **query)
        assert lake.rows(f"SELECT a, b FROM {table} ORDER BY a") == [[1, 2], [3, 4], [5, 6]]


def test_a_bad_row_among_lines_that_end_in_several_ways_has_its_number(lake):
    assert "line 4: expected 2 fields, found 1" in lake.refused(lake.table, "a,b\r\n1,2\n3,4\r\n5\n")


def test_empty_lines_of_one_column_are_values(lake):
    for table, query in ((lake.table, {}), (lake.table + "skip", {"on_error": "skip"})):
        assert lake.ok(table, "a\nx\n\ny\nz,1\n" if query else "a\nx\n\ny\n", **query)["rows"] == 3
        assert lake.rows(f"SELECT a FROM {table} ORDER BY a NULLS LAST") == [["x"], ["y"], [None]]


# --- once, or again ---

def test_dedup_off_lands_the_same_bytes_again(lake):
    for _ in range(2):
        assert not lake.ok(lake.table, "a\n1\n", dedup="off")["deduplicated"]
    assert not lake.ok(lake.table, "a\n1\n")["deduplicated"]  # the first one that counts
    assert lake.ok(lake.table, "a\n1\n", dedup="on")["deduplicated"]
    assert lake.rows(f"SELECT count(*) FROM {lake.table}") == [[3]]
    message = lake.refused(lake.table, "a\n1\n", headers={"Idempotency-Key": "k"}, dedup="off")
    assert "opposite" in message


def test_an_idempotency_key_is_of_its_table(lake):
    for table in (lake.table, lake.table + "other"):
        assert not lake.ok(table, "a\n1\n", {"Idempotency-Key": "one"})["deduplicated"]
        assert lake.ok(table, "a\n2\n", {"Idempotency-Key": "one"})["deduplicated"]
        assert not lake.ok(table, "a\n1\n", {"Idempotency-Key": "two"})["deduplicated"]
        assert lake.rows(f"SELECT count(*), sum(a)::BIGINT FROM {table}") == [[2, 2]]


def test_options_that_change_the_rows_make_another_batch(lake):
    body = "a,b\n1,2\n3\n"
    lake.refused(lake.table, body)
    assert not lake.ok(lake.table, body, on_error="skip")["deduplicated"]
    assert lake.ok(lake.table, body, on_error="skip")["deduplicated"]
    lake.refused(lake.table, body)


@pytest.mark.parametrize("query", [{"on_error": "ignore"}, {"dedup": "false"}, {"on_error": ""}])
def test_unknown_choices_are_refused(lake, query):
    assert requests.post(lake.url + "/v1/ingest", params={"name": lake.table, **query}, data="a\n1\n", timeout=10).status_code == 400
