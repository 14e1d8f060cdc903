"""SQL as people write it: what Trino takes, and for mistakes a code, the place and what to do."""

import os
import threading
import time

import pytest

from nunatak_testing.server import MODES, Server, in_mode

T = "(VALUES (1, 'a', ARRAY[1], true)) AS t(i, s, list, b)"


@pytest.fixture(scope="module", autouse=True)
def tables(server):
    server.rows("CREATE TABLE rows_in_rows (id bigint, r row(x bigint, y varchar), list array(bigint), m map(varchar, bigint))")
    server.rows("INSERT INTO rows_in_rows SELECT 1, named_struct('x', 10, 'y', 'ten'), ARRAY[1, 2], MAP(ARRAY['a'], ARRAY[1])")
    server.rows("CREATE TABLE one AS SELECT 1 AS x")


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("VALUES 1, 2", [(1,), (2,)]),
        ("VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC", [(2, "b"), (1, "a")]),
        ("SELECT x FROM (VALUES 3, 1 + 1) AS t(x) ORDER BY x", [(2,), (3,)]),
        ("TABLE rows_in_rows FETCH FIRST 1 ROW ONLY", [(1, {"x": 10, "y": "ten"}, [1, 2], [("a", 1)])]),
        ("SELECT x FROM (VALUES 1, 2, 3) AS t(x) ORDER BY x OFFSET 1 ROW FETCH NEXT ROW ONLY", [(2,)]),
        ("SELECT current_catalog, current_schema", [("lake", "default")]),
        ("SELECT (VALUES 7) AS seven FROM (VALUES 1, 3) AS t(x) WHERE x IN (VALUES 1, 2)", [(7,)]),
        ("WITH v(a, b) AS (VALUES (1, 'a'), (2, 'b')) SELECT b FROM v WHERE a = 2", [("b",)]),
        ("SELECT 1 AS x UNION ALL TABLE one ORDER BY x", [(1,), (1,)]),
    ],
)
def test_queries_that_trino_takes(server, sql, rows):
    assert server.rows(sql) == rows


def test_fields_of_rows_have_their_names(server):
    table = server.arrow("SELECT r.x, t.r.y, t.id, r.x FROM rows_in_rows AS t ORDER BY r.x")
    assert table.column_names == ["x", "y", "id", "x"]
    assert table.to_pydict()["y"] == ["ten"]


def test_nested_values_are_inserted(server):
    server.rows("CREATE TABLE nested_values (list array(bigint), m map(varchar, bigint), deep array(array(varchar)))")
    server.rows("INSERT INTO nested_values VALUES (ARRAY[1, NULL], MAP(ARRAY['a'], ARRAY[1]), ARRAY[ARRAY['x'], NULL]), (ARRAY[], NULL, NULL), (NULL, NULL, NULL)")
    assert server.rows("SELECT list, m, deep FROM nested_values ORDER BY cardinality(list) DESC") == [
        ([1, None], [("a", 1)], [["x"], None]),
        ([], None, None),
        (None, None, None),
    ]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELEC 1", "SYNTAX_ERROR: line 1:1: expected: an SQL statement, found: SELEC (did you mean 'SELECT'?)"),
        ("SELECT (1\n + 2", "SYNTAX_ERROR: line 2:5: expected: ), found: EOF"),
        ("SELECT * FROM one WHER x = 1", "SYNTAX_ERROR: line 1:24: "),
        ("CALL system.optimise('default', 'one')", "PROCEDURE_NOT_FOUND: procedure 'system.optimise' does not exist (did you mean 'system.optimize'?)"),
        ("ALTER TABLE one ADD COLUMN y bigint NOT NULL", "NOT_SUPPORTED: ADD COLUMN ... NOT NULL"),
        ("CREATE TABLE wrong (c char(3))", "NOT_SUPPORTED: line 1:23: type 'char'"),
        ("CREATE TABLE wrong (c nope)", "TYPE_NOT_FOUND: line 1:23: type 'nope' does not exist"),
        (f"SELECT sum(s) FROM {T}", "FUNCTION_NOT_FOUND: line 1:8: function 'sum' does not take (varchar)"),
        (f"SELECT summ(i) FROM {T}", "FUNCTION_NOT_FOUND: line 1:8: function 'summ' does not exist (did you mean 'sum'?)"),
        (f"SELECT row_number() FROM {T}", "MISSING_OVER: line 1:8: window function 'row_number' needs an OVER clause"),
        (f"SELECT i, count(*) FROM {T}", "EXPRESSION_NOT_AGGREGATE: line 1:8: column 'i' must be in GROUP BY"),
        (f"SELECT sum(sum(i)) FROM {T}", "NESTED_AGGREGATION: line 1:"),
        (f"SELECT i FROM {T} WHERE sum(i) > 1", "EXPRESSION_NOT_SCALAR: "),
        (f"SELECT i FROM {T} ORDER BY 5", "INVALID_COLUMN_REFERENCE: "),
        (f"SELECT list + 1 FROM {T}", "TYPE_MISMATCH: line 1:8: cannot coerce arithmetic expression array(bigint) + bigint"),
        (f"SELECT i FROM {T} WHERE s", "TYPE_MISMATCH: "),
        (f"SELECT j FROM {T}", "COLUMN_NOT_FOUND: line 1:8: column 'j' does not exist"),
        ("SELECT * FROM (VALUES (1, 2)) AS t(a)", "MISMATCHED_COLUMN_ALIASES: "),
        ("SELECT (VALUES 1, 2)", "SUBQUERY_MULTIPLE_ROWS: "),
        ("SELECT CAST('x' AS bigint)", "INVALID_CAST_ARGUMENT: cannot cast string 'x' to value of bigint type"),
        ("SELECT CAST(ARRAY[1] AS bigint)", "TYPE_MISMATCH: cannot cast array(integer) to bigint"),
        ("INSERT INTO one VALUES (1, 2)", "TYPE_MISMATCH: "),
        ("SELECT r.z FROM rows_in_rows", "COLUMN_NOT_FOUND: line 1:10: field 'z' does not exist"),
    ],
)
def test_mistakes_have_a_code_a_place_and_a_hint(server, failure, sql, error):
    text = failure(server, sql)
    assert error in text, text
    assert "DataFusion" not in text and "Utf8" not in text, text


def test_long_conditions(server, failure):
    """A thousand terms take not much longer than ten."""
    server.rows("CREATE TABLE terms AS SELECT id FROM (SELECT unnest(range(0, 1000)) AS id)")
    either = " OR ".join(f"(id = {number} AND id + {number} = {2 * number})" for number in range(0, 6000, 2))
    every = " AND ".join(f"(id <> {number} OR id + 1 = {number})" for number in range(0, 6000, 2))
    began = time.monotonic()
    assert server.rows(f"SELECT count(*) FROM terms WHERE {either}") == [(500,)]
    assert server.rows(f"SELECT count(*), count(DISTINCT {every}) FROM terms WHERE {every}") == [(500, 1)]
    # As deep as they are long they would take an hour.
    assert time.monotonic() - began < 180
    assert "NOT_SUPPORTED: more than 2000 terms in a row" in failure(server, "SELECT 1" + " + 1" * 6000)
    listed = ", ".join(map(str, range(0, 20_000, 2)))
    assert server.rows(f"SELECT count(*) FROM terms WHERE id NOT IN ({listed})") == [(500,)]
    cases = " ".join(f"WHEN id = {number} THEN {number + 1}" for number in range(1000))
    assert server.rows(f"SELECT sum(CASE {cases} END) FROM terms") == [(500_500,)]
    # As calls one in the other, it would take minutes.
    began = time.monotonic()
    added = " + ".join(f"CASE WHEN id >= {number} THEN 1 ELSE 0 END" for number in range(600))
    assert server.rows(f"SELECT max({added}) FROM terms") == [(600,)]
    assert time.monotonic() - began < 60


def test_distinct_rows_take_the_memory_of_what_tells_them_apart(tmp_path):
    """Each is a part of a batch of thousands, which counts once."""
    with Server(tmp_path, "--memory", "512MiB") as server:
        server.rows("CREATE TABLE n AS SELECT id AS n FROM (SELECT unnest(range(0, 20000)) AS id)")
        nested = ["ROW(n / 2, 'a')", "ARRAY[n / 2]", "MAP(ARRAY[n / 2], ARRAY['a'])", "IF(n > 1, ROW(n / 2))"]
        counts = ", ".join(f"count(DISTINCT {value})" for value in nested)
        for mode in MODES:
            expected = [(10_000, 10_000, 10_000, 9_999, 20_000)]
            assert server.rows(f"SELECT {counts}, count(DISTINCT n) FROM n", headers=in_mode(mode)) == expected, mode
        grouped = "SELECT n % 2, count(DISTINCT ROW(n / 4)) FILTER (WHERE n >= 8), sum(n) FROM n GROUP BY 1 ORDER BY 1"
        assert server.rows(grouped) == [(0, 4_998, 99_990_000), (1, 4_998, 100_000_000)]


def test_others_go_on_while_statements_are_planned(server):
    """Differences of differences are planned in a time that goes with the third power of their number. Others need not wait for it, however few cores there are."""
    sql = "EXPLAIN SELECT " + " - ".join(f"id * {number}" for number in range(300)) + " FROM (SELECT 1 AS id) AS t"
    planners = [threading.Thread(target=lambda: server.rows(sql)) for _ in range(2 * (os.cpu_count() or 2))]
    for planner in planners:
        planner.start()
    done = 0
    while all(planner.is_alive() for planner in planners):
        assert server.rows("SELECT 1") == [(1,)]
        done += 1
    for planner in planners:
        planner.join()
    assert done >= 5, done
