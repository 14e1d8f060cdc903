"""Tables that Spark's SQL cannot write, by Iceberg's Java API: equality deletes, default values, nanoseconds. And what Spark's SQL says of sort orders."""

import datetime
import json
import pathlib
from collections import defaultdict
from decimal import Decimal

import pytest

from nunatak_testing.spark import MERGE_ON_READ, alike, in_all_modes

VERSIONS = pytest.mark.parametrize("version", [2, 3])
PEOPLE = "(1, 'ann', 10), (2, 'bob', 20), (3, NULL, 30), (4, 'dan', NULL), (5, 'ann', 50), (6, NULL, NULL), (7, 'eve', 10)"


def people(spark, name, version, partitions=""):
    """A table of seven rows in two files; some have no name, some no age."""
    table = f"spark.{name}{version}"
    spark.run(
        f"CREATE TABLE {table} (id int, name string, age int) USING iceberg {partitions} TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})",
        f"INSERT INTO {table} SELECT /*+ COALESCE(1) */ * FROM VALUES {PEOPLE} AS t(id, name, age) WHERE id < 4",
        f"INSERT INTO {table} SELECT /*+ COALESCE(1) */ * FROM VALUES {PEOPLE} AS t(id, name, age) WHERE id >= 4",
    )
    return table


def ids(server, spark, table, condition="true"):
    """The ids of a table's rows, which Spark and all modes of ours agree on."""
    return [row[0] for row in alike(server, spark, f"SELECT id FROM {table} WHERE {condition} ORDER BY id")]


@VERSIONS
def test_deletes_by_one_column(server, spark, version):
    table = people(spark, "one_column", version)
    spark.delete_equal(table, ["name"], [["ann"], ["eve"], ["nobody"]])
    assert spark.rows(f"SELECT content, record_count FROM {table}.delete_files") == [(2, 3)]
    assert ids(server, spark, table) == [2, 3, 4, 6]
    assert ids(server, spark, table, "name = 'ann'") == []
    assert ids(server, spark, table, "age = 10") == []
    assert alike(server, spark, f"SELECT count(*), sum(age) FROM {table}") == [(4, 50)]
    assert alike(server, spark, f"SELECT count(*) FROM {table}") == [(4,)]
    before = spark.rows(f"SELECT snapshot_id FROM {table}.snapshots ORDER BY committed_at")[1][0]
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF {before}") == 7


@VERSIONS
def test_deletes_by_two_columns(server, spark, version):
    """Both have to be equal, and a NULL is equal to a NULL; the order of the columns is not the table's."""
    table = people(spark, "two_columns", version)
    spark.delete_equal(table, ["age", "name"], [[10, "ann"], [10, "dan"], [None, "dan"], [30, None], [20, "eve"]])
    assert ids(server, spark, table) == [2, 5, 6, 7]
    assert ids(server, spark, table, "age = 10") == [7]
    assert ids(server, spark, table, "name IS NULL") == [6]
    spark.delete_equal(table, ["age", "name"], [[None, None]])
    assert ids(server, spark, table) == [2, 5, 7]


@VERSIONS
def test_a_null_deletes_nulls(server, spark, version):
    table = people(spark, "null_key", version)
    spark.delete_equal(table, ["name"], [[None]])
    assert ids(server, spark, table) == [1, 2, 4, 5, 7]
    assert ids(server, spark, table, "name IS NULL") == []
    assert ids(server, spark, table, "name IS NOT NULL") == [1, 2, 4, 5, 7]
    spark.rows(f"INSERT INTO {table} VALUES (8, NULL, 1)")
    assert ids(server, spark, table, "name IS NULL") == [8]


@VERSIONS
def test_several_sets_of_keys(server, spark, version):
    """By other columns each time; every one counts."""
    table = people(spark, "several_keys", version)
    spark.delete_equal(table, ["id"], [[1]])
    spark.delete_equal(table, ["name"], [["bob"]])
    spark.delete_equal(table, ["id", "age"], [[4, None], [5, 10]])
    spark.delete_equal(table, ["id"], [[7]])
    assert ids(server, spark, table) == [3, 5, 6]
    assert ids(server, spark, table, "age > 10") == [3, 5]


@VERSIONS
def test_keys_of_all_types(server, spark, version):
    """A row goes for its key of one type, the next for its key of another."""
    table = f"spark.key_types{version}"
    spark.rows(
        f"CREATE TABLE {table} (id int, b boolean, l bigint, dec decimal(20,2), small decimal(4,1), s string, day date, at timestamp, local timestamp_ntz)"
        f" USING iceberg TBLPROPERTIES ('format-version'='{version}')"
    )
    spark.rows(
        f"INSERT INTO {table} SELECT CAST(id AS int), id = 1, id * 3000000000, id + 0.25, CAST(id / 2 AS decimal(4,1)), concat('näme ', id),"
        " date_add(DATE '2024-02-28', CAST(id AS int)), timestamp_micros(1700000000000000 + id), CAST(timestamp_micros(-id) AS timestamp_ntz) FROM range(1, 20)"
    )
    keys = {
        "b": True,
        "l": 6000000000,
        "dec": "3.25",
        "small": "2.0",
        "s": "näme 5",
        "day": "2024-03-05",
        "at": "2023-11-14T22:13:20.000007Z",
        "local": "1969-12-31T23:59:59.999992",
    }
    for gone, (column, key) in enumerate(keys.items(), start=1):
        spark.delete_equal(table, [column], [[key]])
        assert ids(server, spark, table) == list(range(gone + 1, 20)), column


@VERSIONS
def test_rows_that_come_after_a_delete_stay(server, spark, version):
    """As Flink writes an upsert; until the next delete of the same key."""
    table = people(spark, "after", version)
    spark.delete_equal(table, ["id"], [[1], [8]])
    spark.rows(f"INSERT INTO {table} VALUES (1, 'anna', 11), (8, 'hal', 80)")
    assert alike(server, spark, f"SELECT * FROM {table} WHERE id IN (1, 8) ORDER BY id") == [(1, "anna", 11), (8, "hal", 80)]
    spark.delete_equal(table, ["id"], [[8]])
    server.rows(f"INSERT INTO {table} VALUES (8, 'ours', 81)")
    assert alike(server, spark, f"SELECT * FROM {table} WHERE id IN (1, 8) ORDER BY id") == [(1, "anna", 11), (8, "ours", 81)]
    assert alike(server, spark, f"SELECT count(*) FROM {table}") == [(8,)]


@VERSIONS
def test_deletes_of_one_partition(server, spark, version):
    """They leave alone what has the same key in other partitions, and in files of the table's earlier partitions."""
    table = people(spark, "partitioned", version, "PARTITIONED BY (age)")
    spark.rows(f"INSERT INTO {table} VALUES (1, 'ann', 30), (1, 'ann', NULL), (3, NULL, 10)")
    spark.delete_equal(table, ["id"], [[1], [7]], partition={"age": 10})
    assert alike(server, spark, f"SELECT id, age FROM {table} WHERE id IN (1, 7) ORDER BY age NULLS FIRST") == [(1, None), (1, 30)]
    spark.delete_equal(table, ["name"], [[None]], partition={"age": 30})
    assert alike(server, spark, f"SELECT age FROM {table} WHERE id = 3") == [(10,)]
    spark.delete_equal(table, ["id"], [[1]], partition={"age": None})
    assert alike(server, spark, f"SELECT id, age FROM {table} WHERE id = 1") == [(1, 30)]
    assert ids(server, spark, table) == [1, 2, 3, 4, 5, 6]


@VERSIONS
def test_deletes_of_partitions_by_transforms(server, spark, version):
    table = f"spark.transforms{version}"
    spark.rows(
        f"CREATE TABLE {table} (id bigint, at timestamp_ntz, v string) USING iceberg PARTITIONED BY (days(at), bucket(4, id))"
        f" TBLPROPERTIES ('format-version'='{version}')"
    )
    spark.rows(f"INSERT INTO {table} SELECT id % 20, CAST(timestamp_seconds(1700000000 + id * 3600) AS timestamp_ntz), concat('v', id) FROM range(0, 100)")
    spark.delete_equal(table, ["id"], [[5], [6]], partition={"id": 5, "at": "2023-11-15T00:00:00"})
    assert alike(server, spark, f"SELECT count(*), sum(id) FROM {table}") == [(98, 940)]
    assert alike(server, spark, f"SELECT v FROM {table} WHERE id = 5 ORDER BY at") == [("v45",), ("v65",), ("v85",)]
    assert alike(server, spark, f"SELECT count(*) FROM {table} WHERE id = 6") == [(5,)]


@VERSIONS
def test_deletes_without_partition_count_for_all(server, spark, version):
    """A file of deletes of a spec without partitions counts for the files of every spec that are older, and only for them."""
    table = people(spark, "global", version, "PARTITIONED BY (age)")
    spark.rows(f"ALTER TABLE {table} DROP PARTITION FIELD age")
    spark.rows(f"INSERT INTO {table} VALUES (8, 'ann', 10)")
    spark.delete_equal(table, ["name"], [["ann"], [None]])
    assert ids(server, spark, table) == [2, 4, 7]
    spark.rows(f"ALTER TABLE {table} ADD PARTITION FIELD truncate(10, age)")
    spark.rows(f"INSERT INTO {table} VALUES (9, 'ann', 10), (10, NULL, 20)")
    assert ids(server, spark, table) == [2, 4, 7, 9, 10]
    spark.delete_equal(table, ["id"], [[4], [7], [9]], partition={"age": 10})
    assert ids(server, spark, table) == [2, 4, 7, 10]


@VERSIONS
def test_a_key_that_is_renamed(server, spark, version):
    """And whose name another column gets: it is known by its id."""
    table = people(spark, "renamed_key", version)
    spark.delete_equal(table, ["id", "name"], [[1, "ann"], [3, None]])
    spark.run(
        f"ALTER TABLE {table} RENAME COLUMN name TO title",
        f"ALTER TABLE {table} ADD COLUMN name string",
        f"INSERT INTO {table} VALUES (1, 'ann', 1, 'x'), (9, 'zed', 9, 'ann')",
    )
    assert alike(server, spark, f"SELECT id, title, name FROM {table} ORDER BY id, age") == [
        (1, "ann", "x"),
        (2, "bob", None),
        (4, "dan", None),
        (5, "ann", None),
        (6, None, None),
        (7, "eve", None),
        (9, "zed", "ann"),
    ]
    assert ids(server, spark, table, "title = 'ann'") == [1, 5]
    spark.delete_equal(table, ["name"], [["ann"], ["x"]])
    assert ids(server, spark, table, "title = 'ann'") == [5]


@VERSIONS
def test_a_key_that_is_widened(server, spark, version):
    """Deletes of integers count for rows of them, read as bigints; later ones are bigints beside older rows of integers."""
    table = people(spark, "widened_key", version)
    spark.run(f"ALTER TABLE {table} ADD COLUMN price decimal(6,2)", f"INSERT INTO {table} VALUES (11, 'kim', 1, 1.5), (12, 'lee', 2, 2.5), (13, 'mia', 3, NULL)")
    spark.delete_equal(table, ["id"], [[1], [2]])
    spark.delete_equal(table, ["price"], [["1.50"]])
    spark.run(f"ALTER TABLE {table} ALTER COLUMN id TYPE bigint", f"ALTER TABLE {table} ALTER COLUMN price TYPE decimal(20,2)")
    spark.rows(f"INSERT INTO {table} VALUES (3000000001, 'big', 1, 12345678901.25), (1, 'new', 1, 1.5)")
    spark.delete_equal(table, ["id"], [[3], [4294967300], [3000000001]])
    spark.delete_equal(table, ["price"], [["2.50"]])
    assert alike(server, spark, f"SELECT id, name FROM {table} ORDER BY id, name") == [
        (1, "new"),
        (4, "dan"),
        (5, "ann"),
        (6, None),
        (7, "eve"),
        (13, "mia"),
    ]
    assert ids(server, spark, table, "id < 5") == [1, 4]


@VERSIONS
def test_a_key_that_is_dropped(server, spark, version):
    """What was deleted stays so. Spark has no answer: "Cannot find required field for ID 2"."""
    table = people(spark, "dropped_key", version)
    spark.delete_equal(table, ["name"], [["ann"], [None]])
    spark.delete_equal(table, ["id", "age"], [[7, 10]])
    spark.rows(f"ALTER TABLE {table} DROP COLUMN name")
    assert in_all_modes(server, f"SELECT * FROM {table} ORDER BY id") == [(2, 20), (4, None)]
    spark.rows(f"ALTER TABLE {table} ADD COLUMN name string")
    spark.rows(f"INSERT INTO {table} VALUES (8, 80, 'ann')")
    assert in_all_modes(server, f"SELECT * FROM {table} ORDER BY id") == [(2, 20, None), (4, None, None), (8, 80, "ann")]
    assert in_all_modes(server, f"SELECT count(*) FROM {table} WHERE name IS NULL") == [(2,)]


@VERSIONS
def test_a_key_that_was_added_later(server, spark, version):
    """Rows of older files have NULL in it."""
    table = people(spark, "added_key", version)
    spark.rows(f"ALTER TABLE {table} ADD COLUMN city string")
    spark.rows(f"INSERT INTO {table} VALUES (8, 'hal', 80, 'Oslo'), (9, 'ida', 90, NULL)")
    spark.delete_equal(table, ["city"], [["Oslo"]])
    assert ids(server, spark, table) == [1, 2, 3, 4, 5, 6, 7, 9]
    spark.delete_equal(table, ["city", "id"], [[None, 2], [None, 9], ["Oslo", 1]])
    assert ids(server, spark, table) == [1, 3, 4, 5, 6, 7]
    spark.delete_equal(table, ["city"], [[None]])
    assert ids(server, spark, table) == []


@VERSIONS
def test_deletes_by_value_and_by_position(server, spark, version):
    """Both count for the same files: position deletes in version 2, deletion vectors in version 3."""
    table = f"spark.both{version}"
    spark.run(
        f"CREATE TABLE {table} (id bigint, v string, part int) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})",
        f"INSERT INTO {table} SELECT id, concat('v', id % 10), CAST(id % 3 AS int) FROM range(0, 3000)",
        f"DELETE FROM {table} WHERE id % 100 = 7",
    )
    for part in range(3):
        spark.delete_equal(table, ["v"], [["v3"], ["v7"]], partition={"part": part})
    spark.rows(f"DELETE FROM {table} WHERE id BETWEEN 1000 AND 1999 AND v = 'v5'")
    spark.delete_equal(table, ["id"], [[0], [3], [1005], [2500]], partition={"part": 0})
    spark.rows(f"INSERT INTO {table} VALUES (3, 'v3', 0), (7, 'v7', 1)")
    spark.rows(f"UPDATE {table} SET v = 'changed' WHERE id IN (3, 8)")
    kinds = {tuple(row) for row in spark.rows(f"SELECT DISTINCT content, file_format FROM {table}.delete_files")}
    assert kinds == {(1, "PARQUET" if version == 2 else "PUFFIN"), (2, "PARQUET")}

    gone = {id for id in range(3000) if id % 10 in (3, 7) or (1000 <= id < 2000 and id % 10 == 5) or id == 0}
    assert alike(server, spark, f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(3002 - len(gone), 3002 - len(gone))]
    alike(server, spark, f"SELECT v, part, count(*), sum(id) FROM {table} GROUP BY v, part ORDER BY v, part")
    assert ids(server, spark, table, "id < 10") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert ids(server, spark, table, "v = 'changed'") == [3, 8]
    assert ids(server, spark, table, "id BETWEEN 1000 AND 1020") == [id for id in range(1000, 1021) if id not in gone]


@VERSIONS
def test_statistics_of_a_table_with_deletes(server, spark, version):
    """The number of rows is exact with deletion vectors alone. Other deletes may leave it as if nothing was deleted, which is never less than what is there."""
    table = people(spark, "statistics", version)
    spark.rows(f"DELETE FROM {table} WHERE id IN (1, 5)")

    def row_count():
        (count,) = [row[4] for row in server.rows(f"SHOW STATS FOR {table}") if row[0] is None]
        return count

    assert row_count() == 5 if version == 3 else 5 <= row_count() <= 7
    spark.delete_equal(table, ["name"], [["bob"]])
    assert 4 <= row_count() <= 7
    assert server.value(f"ANALYZE {table}") == 4
    assert 4 <= row_count() <= 7
    distinct = {row[0]: row[2] for row in server.rows(f"SHOW STATS FOR {table}")}
    assert distinct == {"id": 4, "name": 2, "age": 2, None: None}
    assert ids(server, spark, table) == [3, 4, 6, 7]


# Name, type, default as Iceberg's JSON has it, the same as we give it, another value, the same in SQL.
DEFAULTS = [
    ("i", "int", 7, 7, 8, "8"),
    ("l", "long", 3000000000, 3000000000, -1, "-1"),
    ("s", "string", "näme", "näme", "other", "'other'"),
    ("b", "boolean", True, True, False, "false"),
    ("f", "double", 1.5, 1.5, 2.25, "2.25"),
    ("r", "float", 0.5, 0.5, 2.25, "2.25"),
    ("d", "decimal(12,2)", "1.25", Decimal("1.25"), Decimal("30.50"), "30.50"),
    ("day", "date", "2024-02-29", datetime.date(2024, 2, 29), datetime.date(2025, 12, 31), "DATE '2025-12-31'"),
    ("local", "timestamp", "1950-01-02T03:04:05.000001", datetime.datetime(1950, 1, 2, 3, 4, 5, 1), datetime.datetime(2030, 1, 1), "TIMESTAMP '2030-01-01 00:00:00'"),
]
# How a default is written in our SQL, beside the numbers.
IN_SQL = {"s": "'näme'", "day": "DATE '2024-02-29'", "local": "TIMESTAMP '1950-01-02 03:04:05.000001'"}


@pytest.fixture(scope="module")
def defaults(server, spark):
    """A table of version 3: two rows that are older than all columns but `id`, one with other values, one with NULLs."""
    table = "spark.defaults"
    spark.run(f"CREATE TABLE {table} (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3', {MERGE_ON_READ})", f"INSERT INTO {table} VALUES (1), (2)")
    for name, type, default, *_ in DEFAULTS:
        spark.add_column(table, name, type, default)
    spark.run(
        f"INSERT INTO {table} VALUES (3, {', '.join(row[5] for row in DEFAULTS)})",
        f"INSERT INTO {table} VALUES (4, {', '.join('NULL' for _ in DEFAULTS)})",
    )
    return table


@pytest.mark.parametrize("name, default, other", [(row[0], row[3], row[4]) for row in DEFAULTS], ids=[row[0] for row in DEFAULTS])
def test_rows_older_than_a_column_have_its_default(server, defaults, name, default, other):
    """Spark has no answer of its own: its filters (iceberg 1.10.0) find no rows of older files, and its reader fails at decimals."""
    assert in_all_modes(server, f"SELECT id, {name} FROM {defaults} ORDER BY id") == [(1, default), (2, default), (3, other), (4, None)]
    value = IN_SQL.get(name, str(default))
    conditions = {
        f"{name} = {value}": [1, 2],
        f"{name} <> {value}": [3],
        f"{name} >= {value}": [1, 2, 3] if other > default else [1, 2],
        f"{name} > {value}": [3] if other > default else [],
        f"{name} < {value}": [3] if other < default else [],
        f"{name} IN ({value})": [1, 2],
        f"{name} IS NULL": [4],
        f"{name} IS NOT NULL": [1, 2, 3],
        f"coalesce({name}, {value}) = {value}": [1, 2, 4],
    }
    found = {condition: [id for (id,) in in_all_modes(server, f"SELECT id FROM {defaults} WHERE {condition} ORDER BY id")] for condition in conditions}
    assert found == conditions
    query = f"SELECT count(*), count({name}), min({name}), max({name}) FROM {defaults}"
    assert in_all_modes(server, query) == [(4, 3, min(default, other), max(default, other))]
    assert in_all_modes(server, f"SELECT {name}, count(*) FROM {defaults} GROUP BY {name} HAVING count(*) > 1") == [(default, 2)]
    joined = f"SELECT a.id, b.id FROM {defaults} a JOIN {defaults} b ON a.{name} = b.{name} WHERE b.id < 3 ORDER BY 1, 2"
    assert in_all_modes(server, joined) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_defaults_of_timestamps_with_zone(server, spark):
    table = "spark.default_zone"
    spark.run(f"CREATE TABLE {table} (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')", f"INSERT INTO {table} VALUES (1)")
    spark.add_column(table, "at", "timestamptz", "2024-01-02T03:04:05.123456+00:00")
    spark.rows(f"INSERT INTO {table} VALUES (2, TIMESTAMP '1960-01-01 00:00:00')")
    at = [datetime.datetime(2024, 1, 2, 3, 4, 5, 123456, datetime.UTC), datetime.datetime(1960, 1, 1, tzinfo=datetime.UTC)]
    assert in_all_modes(server, f"SELECT at FROM {table} ORDER BY id") == [(at[0],), (at[1],)]
    assert in_all_modes(server, f"SELECT id FROM {table} WHERE at = TIMESTAMP '2024-01-02 03:04:05.123456 UTC'") == [(1,)]
    assert in_all_modes(server, f"SELECT id FROM {table} WHERE at < TIMESTAMP '2024-01-02 03:04:05.123456 UTC'") == [(2,)]


def test_a_default_after_changes(server, spark):
    """Of a column that is renamed and widened; and by which rows are deleted."""
    table = "spark.default_changes"
    spark.run(
        f"CREATE TABLE {table} (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3', {MERGE_ON_READ})",
        f"INSERT INTO {table} SELECT id FROM range(0, 10)",
    )
    spark.add_column(table, "i", "int", 7)
    spark.add_column(table, "q", "string", "all", required=True)
    spark.run(
        f"ALTER TABLE {table} RENAME COLUMN i TO n",
        f"ALTER TABLE {table} ALTER COLUMN n TYPE bigint",
        f"INSERT INTO {table} VALUES (10, 3000000000, 'x'), (11, NULL, 'all')",
        f"DELETE FROM {table} WHERE id = 3",
    )
    assert in_all_modes(server, f"SELECT n, q, count(*), sum(id) FROM {table} GROUP BY n, q ORDER BY n") == [(7, "all", 9, 42), (3000000000, "x", 1, 10), (None, "all", 1, 11)]
    assert in_all_modes(server, f"SELECT count(*) FROM {table} WHERE n = 7 AND q = 'all'") == [(9,)]
    assert ("q", "varchar", "not null", "") in server.rows(f"DESCRIBE {table}")
    spark.delete_equal(table, ["n", "id"], [[7, 1], [8, 2], [None, 4], [None, 11]])
    assert ids(server, spark, table) == [0, 2, 4, 5, 6, 7, 8, 9, 10]
    spark.delete_equal(table, ["n"], [[7]])
    assert ids(server, spark, table) == [10]


def current_schema(server, name):
    """The fields of a table's schema as its newest metadata file has them."""
    path = server.rows(f'SELECT file FROM spark."{name}$metadata_log_entries" ORDER BY timestamp')[-1][0]
    metadata = json.loads(pathlib.Path(path.removeprefix("file:")).read_text())
    return next(schema["fields"] for schema in metadata["schemas"] if schema["schema-id"] == metadata["current-schema-id"])


def test_our_commits_keep_defaults(server, spark):
    spark.run("CREATE TABLE spark.kept (id bigint, r struct<a: int>) USING iceberg TBLPROPERTIES ('format-version'='3')", "INSERT INTO spark.kept (id, r) VALUES (1, NULL)")
    for name, type, default, *_ in DEFAULTS:
        spark.add_column("spark.kept", f"c_{name}", type, default)
    spark.add_column("spark.kept", "zone", "timestamptz", "2024-01-02T03:04:05.123456+00:00")
    spark.add_column("spark.kept", "u", "uuid", "f79c3e09-677c-4bbd-a479-3f349cb785e7")
    spark.add_column("spark.kept", "t", "time", "01:02:03.000004")
    spark.add_column("spark.kept", "r.x", "int", 5)
    before = current_schema(server, "kept")
    assert all("initial-default" in field for field in before[2:])
    (row,) = in_all_modes(server, "SELECT u, t, c_i FROM spark.kept")
    assert row == ("f79c3e09-677c-4bbd-a479-3f349cb785e7", datetime.time(1, 2, 3, 4), 7)
    server.rows("INSERT INTO spark.kept (id) VALUES (2)")
    assert current_schema(server, "kept") == before
    assert in_all_modes(server, "SELECT c_i, c_s FROM spark.kept WHERE id = 1") == [(7, "näme")]


def test_nanoseconds(server, spark):
    """Spark cannot read them: "Cannot convert unsupported type to Spark: timestamp_ns". Python's datetimes have no nanoseconds, so that texts and numbers are compared."""
    table = "spark.nanos"
    spark.run(f"CREATE TABLE {table} (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')", f"INSERT INTO {table} VALUES (1)")
    spark.add_column(table, "at", "timestamp_ns")
    spark.add_column(table, "zone", "timestamptz_ns")
    texts = ["2024-01-02T03:04:05.123456789", "1960-01-02T03:04:05.000000001", None]
    spark.append(table, ["id", "at", "zone"], [[id, text, text and f"{text}+00:00"] for id, text in enumerate(texts, start=2)])
    types = {row[0]: row[1] for row in server.rows(f"DESCRIBE {table}")}
    assert types == {"id": "bigint", "at": "timestamp(9)", "zone": "timestamp(9) with time zone"}
    assert in_all_modes(server, f"SELECT id, CAST(at AS varchar), CAST(zone AS varchar) FROM {table} ORDER BY id") == [
        (1, None, None),
        (2, "2024-01-02 03:04:05.123456789", "2024-01-02 03:04:05.123456789 UTC"),
        (3, "1960-01-02 03:04:05.000000001", "1960-01-02 03:04:05.000000001 UTC"),
        (4, None, None),
    ]
    columns = server.arrow(f"SELECT at, zone FROM {table} ORDER BY id")
    assert [str(column.type) for column in columns.columns] == ["timestamp[ns]", "timestamp[ns, tz=UTC]"]
    assert [[value.value for value in column] for column in columns.columns] == [[None, 1704164645123456789, -315521754999999999, None]] * 2
    conditions = {
        "at = TIMESTAMP '2024-01-02 03:04:05.123456789'": [2],
        "at = TIMESTAMP '2024-01-02 03:04:05.123456'": [],
        "at > TIMESTAMP '2024-01-02 03:04:05.123456'": [2],
        "at > TIMESTAMP '2024-01-02 03:04:05.123456789'": [],
        "at <= TIMESTAMP '1960-01-02 03:04:05.000000'": [],
        "at < TIMESTAMP '1960-01-02 03:04:05.000000002'": [3],
        "zone >= TIMESTAMP '2024-01-02 03:04:05.123456789 UTC'": [2],
        "zone < TIMESTAMP '1960-01-02 03:04:05.000000001 UTC'": [],
        "at BETWEEN DATE '1960-01-01' AND DATE '2024-01-03'": [2, 3],
        "at IS NULL": [1, 4],
    }
    found = {condition: [id for (id,) in in_all_modes(server, f"SELECT id FROM {table} WHERE {condition} ORDER BY id")] for condition in conditions}
    assert found == conditions
    assert in_all_modes(server, f"SELECT CAST(min(at) AS varchar), CAST(max(zone) AS varchar), count(at) FROM {table}") == [
        ("1960-01-02 03:04:05.000000001", "2024-01-02 03:04:05.123456789 UTC", 2)
    ]
    server.rows(f"INSERT INTO {table} (id, at) VALUES (5, TIMESTAMP '2025-01-01 00:00:00.000000007')")
    spark.delete_equal(table, ["at"], [[texts[0]], ["1960-01-02T03:04:05.000000002"], ["2025-01-01T00:00:00.000000007"]])
    assert in_all_modes(server, f"SELECT id FROM {table} ORDER BY id") == [(1,), (3,), (4,)]
    spark.delete_equal(table, ["zone"], [[f"{texts[1]}+00:00"]])
    assert in_all_modes(server, f"SELECT id FROM {table} ORDER BY id") == [(1,), (4,)]


@VERSIONS
def test_sort_orders_that_have_changed(server, spark, version):
    """Files say by which order they are sorted; ours by the one of the day. An old order may be by a column that is gone."""
    table = f"spark.sorted{version}"
    spark.rows(f"CREATE TABLE {table} (id bigint, name string, extra int) USING iceberg TBLPROPERTIES ('format-version'='{version}')")
    orders = ["ORDERED BY extra DESC, id", "ORDERED BY name DESC NULLS LAST", "LOCALLY ORDERED BY truncate(name, 1), bucket(4, id)", "UNORDERED"]
    for number, order in enumerate(orders, start=1):
        spark.rows(f"ALTER TABLE {table} WRITE {order}")
        spark.rows(f"INSERT INTO {table} SELECT id, concat('n', id % 10), CAST(id % 7 AS int) FROM range({100 * number}, {100 * number + 50})")
        server.rows(f"INSERT INTO {table} SELECT n, CASE WHEN n % 5 > 0 THEN 'n' || CAST(n % 10 AS varchar) END, n % 7 FROM UNNEST(range({1000 * number}, {1000 * number + 30})) AS t(n)")
        path = server.rows(f'SELECT max("$path") FROM {table} WHERE id >= {1000 * number}')[0][0]
        assert spark.rows(f"SELECT sort_order_id FROM {table}.files WHERE file_path = '{path}'") == [(number % 4,)], order
        assert alike(server, spark, f"SELECT count(*), count(name), sum(id), max(name) FROM {table}")[0][0] == 80 * number
    written = defaultdict(list)
    for path, name in spark.rows(f"SELECT _file, name FROM {table} WHERE id BETWEEN 2000 AND 2029 ORDER BY _file, _pos"):
        written[path].append(name)
    assert sum(map(len, written.values())) == 30
    for names in written.values():
        assert names == sorted((name for name in names if name), reverse=True) + [None] * names.count(None)
    alike(server, spark, f"SELECT id, name FROM {table} WHERE name > 'n3' AND id % 4 = 1 ORDER BY name, id LIMIT 20")
    spark.rows(f"ALTER TABLE {table} DROP COLUMN extra")
    assert alike(server, spark, f"SELECT count(*), max(id) FROM {table} WHERE name = 'n1'")[0][1] == 4021
    server.rows(f"INSERT INTO {table} VALUES (1, 'last')")
    assert alike(server, spark, f"SELECT id FROM {table} WHERE name = 'last'") == [(1,)]


@VERSIONS
def test_a_partition_column_that_is_dropped(server, spark, version):
    """Older partition specs are by a column that is gone."""
    table = f"spark.unpartitioned{version}"
    spark.run(
        f"CREATE TABLE {table} (id bigint, part int) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})",
        f"INSERT INTO {table} SELECT id, CAST(id % 3 AS int) FROM range(0, 30)",
        f"DELETE FROM {table} WHERE id = 4",
    )
    spark.delete_equal(table, ["id"], [[5], [6]], partition={"part": 2})
    spark.run(f"ALTER TABLE {table} DROP PARTITION FIELD part", f"ALTER TABLE {table} DROP COLUMN part", f"INSERT INTO {table} VALUES (5)")
    assert in_all_modes(server, f"SELECT count(*), sum(id) FROM {table}") == [(29, 435 - 4)]
    server.rows(f"INSERT INTO {table} VALUES (100)")
    assert in_all_modes(server, f"SELECT count(*), max(id) FROM {table} WHERE id > 3") == [(26, 100)]


def test_defaults_in_a_row_that_is_null(server, spark):
    """A field of a row that is NULL is NULL, whatever the field's default."""
    table = "spark.default_rows"
    spark.run(
        f"CREATE TABLE {table} (id bigint, r struct<a: int>) USING iceberg TBLPROPERTIES ('format-version'='3')",
        f"INSERT INTO {table} VALUES (1, NULL), (2, named_struct('a', 1))",
    )
    spark.add_column(table, "r.x", "int", 5)
    assert in_all_modes(server, f"SELECT r FROM {table} ORDER BY id") == [(None,), ({"a": 1, "x": 5},)]
    assert alike(server, spark, f"SELECT r.a, r.x FROM {table} ORDER BY id") == [(None, None), (1, 5)]
    assert in_all_modes(server, f"SELECT r.x FROM {table} ORDER BY id") == [(None,), (5,)]
    assert in_all_modes(server, f"SELECT id FROM {table} WHERE r.x IS NULL") == [(1,)]


def test_our_rows_get_defaults(server, spark):
    """What an INSERT says nothing of gets the column's default. Spark 4.0 wants all columns named."""
    table = "spark.default_writes"
    spark.rows(f"CREATE TABLE {table} (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')")
    spark.add_column(table, "i", "int", 7)
    spark.add_column(table, "q", "string", "all", required=True)
    server.rows(f"INSERT INTO {table} (id, q) VALUES (1, 'x')")
    assert alike(server, spark, f"SELECT * FROM {table}") == [(1, 7, "x")]
    server.rows(f"INSERT INTO {table} (id) VALUES (2)")
    assert alike(server, spark, f"SELECT * FROM {table} WHERE id = 2") == [(2, 7, "all")]


def test_defaults_of_nanoseconds(server, spark, failure):
    """The iceberg crate (0.10) would forget them, and Java cannot read them back (iceberg 1.10.0: "long overflow"), so that this comes last."""
    spark.run("CREATE TABLE spark.default_nanos (id bigint) USING iceberg TBLPROPERTIES ('format-version'='3')", "INSERT INTO spark.default_nanos VALUES (1)")
    spark.add_column("spark.default_nanos", "at", "timestamp_ns", "2024-01-01T00:00:00.123456789")
    before = current_schema(server, "default_nanos")
    assert before[1]["initial-default"] == "2024-01-01T00:00:00.123456789"
    assert in_all_modes(server, "SELECT id FROM spark.default_nanos") == [(1,)]
    for refused in ["SELECT at FROM spark.default_nanos", "INSERT INTO spark.default_nanos (id) VALUES (2)"]:
        text = failure(server, refused)
        assert "NOT_SUPPORTED" in text and "'at'" in text and "timestamp_ns with a default value" in text, text
    assert current_schema(server, "default_nanos") == before
