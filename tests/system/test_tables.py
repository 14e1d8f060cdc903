"""Iceberg tables through SQL: make, fill, read, look into, travel in time, drop."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from nunatak_testing.server import Server


@pytest.fixture(scope="module")
def trips(server):
    """A partitioned table with two snapshots: 4 rows on two days, then 2 more."""
    server.rows("CREATE SCHEMA travel")
    server.rows(
        "CREATE TABLE travel.trips (id bigint NOT NULL, started timestamp(6), city varchar, fare decimal(9, 2), shared boolean)"
        " WITH (partitioning = ARRAY['day(started)', 'bucket(id, 8)'], format_version = 2)"
    )
    inserted = server.value(
        "INSERT INTO travel.trips VALUES"
        " (1, TIMESTAMP '2024-05-01 08:00:00', 'Oslo', 12.50, true),"
        " (2, TIMESTAMP '2024-05-01 23:59:59.999999', 'Bergen', 7.25, false),"
        " (3, TIMESTAMP '2024-05-02 00:00:00', 'Oslo', NULL, NULL),"
        " (4, NULL, 'Tromsø', 99.99, true)"
    )
    assert inserted == 4
    assert server.value("INSERT INTO travel.trips SELECT id + 10, started, city, fare, shared FROM travel.trips WHERE city = 'Oslo'") == 2
    return "travel.trips"


def test_rows_come_back(server, trips):
    assert server.rows(f"SELECT * FROM {trips} WHERE id < 10 ORDER BY id") == [
        (1, datetime.datetime(2024, 5, 1, 8), "Oslo", Decimal("12.50"), True),
        (2, datetime.datetime(2024, 5, 1, 23, 59, 59, 999999), "Bergen", Decimal("7.25"), False),
        (3, datetime.datetime(2024, 5, 2), "Oslo", None, None),
        (4, None, "Tromsø", Decimal("99.99"), True),
    ]


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("started >= TIMESTAMP '2024-05-02 00:00:00'", [3, 13]),
        ("started < TIMESTAMP '2024-05-02 00:00:00'", [1, 2, 11]),
        ("started BETWEEN TIMESTAMP '2024-05-01 08:00:00' AND TIMESTAMP '2024-05-01 08:00:00'", [1, 11]),
        ("started IS NULL", [4]),
        ("id = 13", [13]),
        ("id IN (2, 4, 5)", [2, 4]),
        ("city = 'Oslo' AND fare IS NOT NULL", [1, 11]),
        ("NOT (id = 1)", [2, 3, 4, 11, 13]),
        ("CAST(started AS date) = DATE '2024-05-01'", [1, 2, 11]),
        ("fare > 10.0", [1, 4, 11]),
    ],
)
def test_pruning_loses_no_rows(server, trips, condition, ids):
    assert server.rows(f"SELECT id FROM {trips} WHERE {condition} ORDER BY id") == [(id,) for id in ids]


@pytest.mark.parametrize("condition", ["at < DATE '9999-12-31'", "at < TIMESTAMP '9999-12-31 00:00:00'", "at < '9999-12-31'", "at < now()", "t < TIME '12:00:00'"])
def test_moments_leave_out_files(server, condition):
    server.rows("DROP TABLE IF EXISTS far")
    server.rows("CREATE TABLE far (at timestamp(6), t time(6))")
    for at, t in [("2024-05-01 00:00:00", "08:00:00"), ("9999-12-31 23:59:59", "23:00:00")]:
        server.rows(f"INSERT INTO far VALUES (TIMESTAMP '{at}', TIME '{t}')")
    assert server.value(f"SELECT count(*) FROM far WHERE {condition}") == 1
    assert "files=1/2 (by partition 0, by bounds 1)" in server.value(f"EXPLAIN SELECT * FROM far WHERE {condition}")


def test_time_travel(server, trips):
    snapshots = server.rows('SELECT snapshot_id, committed_at FROM travel."trips$snapshots" ORDER BY committed_at')
    # CREATE TABLE makes no snapshot that holds rows; the last two are the inserts.
    (first, first_at), (second, _) = snapshots[-2:]
    assert server.value(f"SELECT count(*) FROM {trips} FOR VERSION AS OF {first}") == 4
    assert server.value(f"SELECT count(*) FROM {trips} FOR VERSION AS OF {second}") == 6
    at = first_at.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert server.value(f"SELECT count(*) FROM {trips} FOR TIMESTAMP AS OF TIMESTAMP '{at} UTC'") == 4
    joined = f"SELECT count(*) FROM {trips} now LEFT JOIN {trips} FOR VERSION AS OF {first} before ON now.id = before.id WHERE before.id IS NULL"
    assert server.value(joined) == 2


def test_time_travel_that_cannot_be(server, trips, failure):
    assert "ICEBERG_INVALID_SNAPSHOT_ID" in failure(server, f"SELECT * FROM {trips} FOR VERSION AS OF 42")
    text = failure(server, f"SELECT * FROM {trips} FOR TIMESTAMP AS OF TIMESTAMP '2001-01-01 00:00:00 UTC'")
    assert "ICEBERG_INVALID_SNAPSHOT_ID" in text or "INVALID_ARGUMENTS" in text


def test_metadata_tables(server, trips):
    assert server.value('SELECT sum(record_count) FROM travel."trips$files"') == 6
    history = server.rows('SELECT snapshot_id, is_current_ancestor FROM travel."trips$history"')
    assert len(history) == len(server.rows('SELECT * FROM travel."trips$snapshots"')) and all(row[1] for row in history)
    operations = server.rows('SELECT DISTINCT operation FROM travel."trips$snapshots"')
    assert operations == [("append",)]
    # One file at most for each partition of each insert: no partition was split among writers for so few rows.
    assert server.value('SELECT count(*) FROM travel."trips$files"') <= 6


def test_show_and_describe(server, trips):
    assert ("travel",) in server.rows("SHOW SCHEMAS")
    assert ("trips",) in server.rows("SHOW TABLES FROM travel")
    assert [row[:2] for row in server.rows(f"DESCRIBE {trips}")] == [
        ("id", "bigint"),
        ("started", "timestamp(6)"),
        ("city", "varchar"),
        ("fare", "decimal(9,2)"),
        ("shared", "boolean"),
    ]
    text = server.value(f"SHOW CREATE TABLE {trips}")
    assert "day(started)" in text and "bucket(id, 8)" in text and "NOT NULL" in text


def test_show_create_table_can_be_run(server, trips):
    text = server.value(f"SHOW CREATE TABLE {trips}")
    location = [line for line in text.splitlines() if "location" in line.lower()]
    copy = "\n".join(line for line in text.splitlines() if line not in location).replace("trips", "trips_copy", 1)
    server.rows(copy)
    assert server.rows("DESCRIBE travel.trips_copy") == server.rows(f"DESCRIBE {trips}")
    server.rows("DROP TABLE travel.trips_copy")


def test_show_create_table_quotes_columns_in_properties(server):
    partitioning, sorted_by = """'bucket("a""b", 4)', '"c, (d)"'""", """'"e f" DESC'"""
    columns = '("a""b" bigint, "c, (d)" varchar, "e f" date)'
    server.rows("CREATE SCHEMA IF NOT EXISTS travel")
    server.rows(f"CREATE TABLE travel.odd {columns} WITH (partitioning = ARRAY[{partitioning}], sorted_by = ARRAY[{sorted_by}])")
    text = server.value("SHOW CREATE TABLE travel.odd")
    server.rows("\n".join(line for line in text.splitlines() if "location" not in line).replace("odd", "odd_copy", 1))
    again = server.value("SHOW CREATE TABLE travel.odd_copy")
    assert again.split("partitioning")[1] == text.split("partitioning")[1]
    for table in ("odd", "odd_copy"):
        server.rows(f"DROP TABLE travel.{table}")


def test_information_schema(server, trips):
    assert ("travel",) in server.rows("SELECT schema_name FROM information_schema.schemata")
    tables = server.rows("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'travel'")
    assert ("trips", "BASE TABLE") in tables
    columns = server.rows(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'travel' AND table_name = 'trips' ORDER BY ordinal_position"
    )
    assert columns[0] == ("id", "bigint", "NO") and columns[3] == ("fare", "decimal(9,2)", "YES")


def test_explain(server, trips):
    text = "\n".join(str(row) for row in server.rows(f"EXPLAIN SELECT city, count(*) FROM {trips} GROUP BY city"))
    assert "local" in text
    analyzed = "\n".join(str(row) for row in server.rows(f"EXPLAIN ANALYZE SELECT city, count(*) FROM {trips} GROUP BY city"))
    assert "output_rows" in analyzed or "rows" in analyzed


def test_create_table_as(server, trips):
    sql = f"CREATE TABLE travel.by_city WITH (partitioning = ARRAY['city']) AS SELECT city, count(*) AS trips, sum(fare) AS fares FROM {trips} GROUP BY city"
    assert server.value(sql) == 3
    assert server.rows("SELECT * FROM travel.by_city ORDER BY city") == [
        ("Bergen", 1, Decimal("7.25")),
        ("Oslo", 4, Decimal("25.00")),
        ("Tromsø", 1, Decimal("99.99")),
    ]
    assert server.value('SELECT count(*) FROM travel."by_city$files"') == 3


def test_view(server, trips):
    server.rows(f"CREATE VIEW travel.oslo AS SELECT id, fare FROM {trips} WHERE city = 'Oslo'")
    assert server.value("SELECT count(*) FROM travel.oslo") == 4
    assert server.rows("SELECT table_type FROM information_schema.tables WHERE table_name = 'oslo'") == [("VIEW",)]
    assert server.value("SHOW CREATE VIEW travel.oslo") == (
        "CREATE VIEW lake.travel.oslo\nSECURITY DEFINER AS\n" f"SELECT id, fare FROM {trips} WHERE city = 'Oslo'"
    )
    server.rows("CREATE OR REPLACE VIEW travel.oslo COMMENT 'one' SECURITY INVOKER AS SELECT 1 AS one")
    assert server.rows("SELECT * FROM travel.oslo") == [(1,)]
    assert server.value("SHOW CREATE VIEW travel.oslo") == "CREATE VIEW lake.travel.oslo\nCOMMENT 'one'\nSECURITY INVOKER AS\nSELECT 1 AS one"
    server.rows("DROP VIEW travel.oslo")


def test_insert_by_column_names(server):
    server.rows("CREATE TABLE named (a bigint, b varchar, c double)")
    server.rows("INSERT INTO named (c, a) VALUES (1.5, 7)")
    assert server.rows("SELECT * FROM named") == [(7, None, 1.5)]


def test_every_type_comes_back(server):
    server.rows(
        "CREATE TABLE types (b boolean, i integer, l bigint, r real, d double, n decimal(38, 10), s varchar, x varbinary,"
        " day date, t time(6), ts timestamp(6), tz timestamp(6) with time zone, list array(bigint), m map(varchar, bigint))"
    )
    server.rows(
        "INSERT INTO types SELECT true, 1, 2, REAL '1.5', 2.5, DECIMAL '1234567890123456789.0123456789', 'ø', X'CAFE', DATE '0001-01-01',"
        " TIME '12:34:56.789012', TIMESTAMP '1969-12-31 23:59:59.999999', TIMESTAMP '2024-05-01 00:00:00.000001 UTC',"
        " ARRAY[1, NULL, 3], MAP(ARRAY['a'], ARRAY[1])"
    )
    server.rows("INSERT INTO types (i) VALUES (NULL)")
    full = server.rows("SELECT * FROM types WHERE l = 2")[0]
    assert full[:9] == (True, 1, 2, 1.5, 2.5, Decimal("1234567890123456789.0123456789"), "ø", b"\xca\xfe", datetime.date(1, 1, 1))
    assert full[9:11] == (datetime.time(12, 34, 56, 789012), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999))
    assert full[11] == datetime.datetime(2024, 5, 1, 0, 0, 0, 1, datetime.timezone.utc)
    assert full[12:] == ([1, None, 3], [("a", 1)])
    assert set(server.rows("SELECT * FROM types WHERE l IS NULL")[0]) == {None}


def test_rows_within_rows(server):
    server.rows("CREATE TABLE nested (r row(a bigint, b varchar))")
    server.rows("INSERT INTO nested SELECT named_struct('a', 1, 'b', 'x')")
    server.rows("INSERT INTO nested VALUES (NULL)")
    assert server.rows("SELECT r.a, r.b FROM nested ORDER BY 1") == [(1, "x"), (None, None)]


def test_columns_need_no_unique_names(server):
    assert server.rows("SELECT 1, 1") == [(1, 1)]
    server.rows("CREATE TABLE pairs (a bigint, b bigint)")
    assert server.value("INSERT INTO pairs SELECT 1, 1") == 1


def test_write_is_all_or_nothing(server, numbers, failure):
    server.rows("CREATE TABLE strict (a bigint NOT NULL)")
    assert "CONSTRAINT_VIOLATION" in failure(server, f"INSERT INTO strict SELECT CASE WHEN n < 900000 THEN n END FROM {numbers}")
    assert server.value("SELECT count(*) FROM strict") == 0
    assert "DIVISION_BY_ZERO" in failure(server, f"CREATE TABLE half AS SELECT 1 / (n - 900000) AS q FROM {numbers}")
    assert "TABLE_NOT_FOUND" in failure(server, "SELECT * FROM half")


def test_if_exists(server, failure):
    server.rows("CREATE TABLE twice (a bigint)")
    assert "TABLE_ALREADY_EXISTS" in failure(server, "CREATE TABLE twice (a bigint)")
    server.rows("CREATE TABLE IF NOT EXISTS twice (b varchar)")
    server.rows("DROP TABLE twice")
    assert "TABLE_NOT_FOUND" in failure(server, "DROP TABLE twice")
    server.rows("DROP TABLE IF EXISTS twice")


def test_drop_schema(server, failure):
    server.rows("CREATE SCHEMA short")
    server.rows("CREATE TABLE short.t (a bigint)")
    assert "SCHEMA_NOT_EMPTY" in failure(server, "DROP SCHEMA short")
    server.rows("DROP TABLE short.t")
    server.rows("DROP SCHEMA short")
    assert "SCHEMA_NOT_FOUND" in failure(server, "CREATE TABLE short.t (a bigint)")


def test_names_that_mean_something_else(server, failure):
    """They are not for new tables and views. A table that another writer has called so is read and written by its name."""
    server.rows("CREATE TABLE oddly AS SELECT 1 AS id")
    server.rows("CREATE VIEW odd_view AS SELECT 1 AS id")
    location = server.iceberg().load_table("default.oddly").location()
    for name in ["oddly@side", "other@side", "a@b$files", "oddly$files", "other$snapshots", "other\x01", "other\x02"]:
        for sql in [
            f'CREATE TABLE "{name}" (id bigint)',
            f'CREATE TABLE IF NOT EXISTS "{name}" AS SELECT 1 AS id',
            f'CREATE OR REPLACE TABLE "{name}" AS SELECT 1 AS id',
            f'CREATE VIEW "{name}" AS SELECT 1 AS id',
            f'ALTER TABLE oddly RENAME TO "{name}"',
            f'ALTER VIEW odd_view RENAME TO "{name}"',
            f"CALL system.register_table('default', '{name}', '{location}')",
        ]:
            assert "cannot be the name of a table or view" in failure(server, sql), sql
    assert "INVALID_ARGUMENTS: 'oddly$files' cannot be the name" in failure(server, 'CREATE TABLE "oddly$files" (id bigint)')
    server.rows('CREATE TABLE "price$usd" AS SELECT 1 AS id')
    assert server.rows('SELECT * FROM "price$usd"') == [(1,)]
    server.iceberg().rename_table(("default", "oddly"), ("default", "oddly@odd"))
    assert server.value('INSERT INTO "oddly@odd" VALUES 2') == 1
    assert server.rows('SELECT id FROM "oddly@odd" ORDER BY id') == [(1,), (2,)]
    server.rows('ALTER TABLE "oddly@odd" RENAME TO oddly')
    assert server.rows("SELECT count(*) FROM oddly") == [(2,)]


def test_concurrent_inserts_all_land(server):
    server.rows("CREATE TABLE busy (writer bigint)")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda writer: server.rows(f"INSERT INTO busy VALUES ({writer})"), range(24)))
    assert server.rows("SELECT writer FROM busy ORDER BY writer") == [(writer,) for writer in range(24)]


def test_tables_outlive_the_server(tmp_path):
    with Server(tmp_path) as server:
        server.rows("CREATE TABLE kept AS SELECT 42 AS answer")
    with Server(tmp_path) as server:
        assert server.value("SELECT answer FROM kept") == 42


def test_statistics_are_shown(server, failure):
    server.rows(
        "CREATE TABLE travel.measured AS SELECT id, id % 7 AS m, CASE WHEN id % 4 = 0 THEN NULL ELSE CAST(id AS varchar) END AS v,"
        " DATE '2024-01-01' + INTERVAL '1' DAY AS day, ARRAY[id] AS l FROM (SELECT unnest(range(1, 101)) AS id)"
    )
    before = server.rows("SHOW STATS FOR travel.measured")
    assert before[0] == ("id", None, None, 0.0, None, "1", "100")
    assert before[3] == ("day", None, None, 0.0, None, "2024-01-02", "2024-01-02")
    assert before[-1] == (None, None, None, None, 100.0, None, None)
    (name, size, distinct, nulls, rows, low, high) = before[2]
    assert (name, distinct, nulls, rows, low, high) == ("v", None, 0.25, None, None, None) and size > 0
    assert server.value("ANALYZE travel.measured") == 100
    assert [row[2] for row in server.rows("SHOW STATS FOR travel.measured")] == [100.0, 7.0, 75.0, 1.0, None, None]
    assert server.value("ANALYZE travel.measured WITH (columns = ARRAY['m', 'v'])") == 100
    assert [row[2] for row in server.rows("SHOW STATS FOR travel.measured")] == [100.0, 7.0, 75.0, 1.0, None, None]

    server.rows("CREATE TABLE travel.nothing (id bigint)")
    assert server.value("ANALYZE travel.nothing") == 0
    assert server.rows("SHOW STATS FOR travel.nothing")[-1] == (None, None, None, None, 0.0, None, None)
    assert "INVALID_ANALYZE_PROPERTY" in failure(server, "ANALYZE travel.measured WITH (columns = ARRAY['mm'])")
    assert "INVALID_ANALYZE_PROPERTY" in failure(server, "ANALYZE travel.measured WITH (column = ARRAY['m'])")
    assert "TABLE_NOT_FOUND" in failure(server, "ANALYZE travel.measure")
    assert "TABLE_NOT_FOUND" in failure(server, "SHOW STATS FOR travel.measure")


def test_statistics_of_a_query_are_shown(server, failure):
    """What the optimiser expects: exactly where the table's metadata say it, else by an estimate."""
    server.rows("CREATE TABLE travel.expected AS SELECT id, id % 7 AS m, NULLIF(id % 4, 0) AS n FROM (SELECT unnest(range(1, 101)) AS id)")
    server.rows("ANALYZE travel.expected")
    rows = server.rows("SHOW STATS FOR (SELECT m AS seventh, id, n FROM travel.expected)")
    assert rows == [
        ("seventh", None, 7.0, 0.0, None, "0", "6"),
        ("id", None, 100.0, 0.0, None, "1", "100"),
        ("n", None, 3.0, 0.25, None, "1", "3"),
        (None, None, None, None, 100.0, None, None),
    ]
    assert server.rows("SHOW STATS FOR (SELECT count(*) FROM travel.expected)")[-1][4] == 1.0
    half = server.rows("SHOW STATS FOR (SELECT id FROM travel.expected WHERE id <= 50)")
    assert 40 <= half[-1][4] <= 60 and half[0][5:] == ("1", "50")
    assert server.rows("SHOW STATS FOR (SELECT id FROM travel.expected WHERE id > 100)")[-1][4] == 0.0
    assert server.rows("SHOW STATS FOR (VALUES (1, 'a'), (2, NULL))")[-1][4] == 2.0
    assert "COLUMN_NOT_FOUND" in failure(server, "SHOW STATS FOR (SELECT idd FROM travel.expected)")
    assert "SYNTAX_ERROR" in failure(server, "SHOW STATS FOR (SELECT id FROM travel.expected")
