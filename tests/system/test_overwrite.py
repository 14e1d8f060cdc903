"""INSERT OVERWRITE and CREATE OR REPLACE TABLE: rows, partitions and whole tables that others take the place of, as in Spark."""

import threading

import pytest

from nunatak_testing.spark import MODES, alike

DYNAMIC = {"headers": {"nunatak-session": "insert_overwrite_mode=dynamic"}}
RETRIES = "extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms', 'commit.retry.max-wait-ms'], ARRAY['200', '10', '200'])"


def all_at_once(*works):
    """Runs all of them beside each other, each for its number; what went wrong with any of them."""
    errors = []

    def run(number, work):
        try:
            work(number)
        except Exception as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run, args=args) for args in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def both(server, spark, name, columns, fill):
    """The same table twice, `<name>_ours` and `<name>_theirs`."""
    for side in ("ours", "theirs"):
        spark.run(f"CREATE TABLE spark.{name}_{side} {columns}", f"INSERT INTO spark.{name}_{side} {fill}")


def same(server, spark, name, order):
    theirs = spark.rows(f"SELECT * FROM spark.{name}_theirs ORDER BY {order}")
    assert alike(server, spark, f"SELECT * FROM spark.{name}_ours ORDER BY {order}") == theirs
    return theirs


@pytest.mark.parametrize("version", [1, 2, 3])
def test_as_spark_does(server, spark, version):
    name = f"parts{version}"
    columns = f"(id bigint, part int, name string) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='{version}')"
    both(server, spark, name, columns, "VALUES (1, 1, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, NULL, 'd')")
    if version > 1:
        for side in ("ours", "theirs"):
            server.rows(f"DELETE FROM spark.{name}_{side} WHERE id = 2")

    def run(statement, mode):
        server.rows(statement.format(f"spark.{name}_ours"), headers={"nunatak-session": f"insert_overwrite_mode={mode}"})
        spark.run(statement.format(f"spark.{name}_theirs"), settings={"spark.sql.sources.partitionOverwriteMode": mode})
        return same(server, spark, name, "id")

    assert len(run("INSERT OVERWRITE {} VALUES (10, 1, 'x'), (11, 3, 'y')", "dynamic")) == 4
    assert len(run("INSERT OVERWRITE TABLE {} PARTITION (part = 2) SELECT 20, 'z'", "static")) == 4
    run("INSERT OVERWRITE {} PARTITION (part = NULL) SELECT 21, 'null'", "static")
    run("INSERT OVERWRITE {} PARTITION (part = 7) SELECT 22, 'new'", "dynamic")
    assert len(run("INSERT OVERWRITE {0} SELECT id + 100, part, name FROM {0} WHERE part > 1", "dynamic")) == 5
    assert len(run("INSERT OVERWRITE {0} SELECT id, part, name FROM {0} WHERE id > 100", "static")) == 3
    run("INSERT OVERWRITE {} VALUES (1, 1, 'all')", "static")
    assert run("INSERT OVERWRITE {0} SELECT * FROM {0} WHERE id < 0", "dynamic") == [(1, 1, "all")], "no row, no partition"
    assert run("INSERT OVERWRITE {0} SELECT * FROM {0} WHERE id < 0", "static") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_condition_within_files(server, mode):
    """`PARTITION` may name any column: rows are replaced where they are."""
    table = f"within_{mode}"
    options = {"headers": {"nunatak-session": f"execution_mode={mode}"}}
    server.rows(f"CREATE TABLE {table} AS SELECT id, id % 3 AS kind FROM (SELECT unnest(range(0, 9)) AS id)", **options)
    assert server.value(f"INSERT OVERWRITE {table} PARTITION (kind = 1) VALUES 100, 101", **options) == 2
    assert server.rows(f"SELECT * FROM {table} ORDER BY id", **options) == [(0, 0), (2, 2), (3, 0), (5, 2), (6, 0), (8, 2), (100, 1), (101, 1)]
    assert server.value(f'SELECT count(*) FROM "{table}$snapshots"') == 2, "both in one snapshot"
    server.rows(f"ALTER TABLE {table} SET PROPERTIES extra_properties = MAP(ARRAY['write.delete.mode'], ARRAY['copy-on-write'])")
    server.rows(f"INSERT OVERWRITE {table} (id) PARTITION (kind = 2) SELECT max(id) + 1 FROM {table}", **options)
    assert server.rows(f"SELECT * FROM {table} WHERE kind = 2", **options) == [(102, 2)]
    assert server.value(f"SELECT count(*) FROM {table}", **options) == 6
    server.rows(f"INSERT INTO {table} PARTITION (kind = 5) SELECT 7", **options)
    assert server.rows(f"SELECT * FROM {table} WHERE kind = 5", **options) == [(7, 5)]


def test_hidden_partitions_and_an_older_partitioning(server, failure):
    server.rows("CREATE TABLE days (at timestamp(6), n bigint) WITH (partitioning = ARRAY['day(at)'])")
    server.rows("INSERT INTO days VALUES (TIMESTAMP '2024-05-01 01:00:00', 1), (TIMESTAMP '2024-05-01 09:00:00', 2), (TIMESTAMP '2024-05-02 01:00:00', 3)")
    server.rows("INSERT OVERWRITE days VALUES (TIMESTAMP '2024-05-01 05:00:00', 10)", **DYNAMIC)
    assert [n for (n,) in server.rows("SELECT n FROM days ORDER BY n")] == [3, 10]
    server.rows("ALTER TABLE days SET PROPERTIES partitioning = ARRAY['month(at)']")
    assert "NOT_SUPPORTED" in failure(server, "INSERT OVERWRITE days VALUES (TIMESTAMP '2024-05-01 05:00:00', 11)", **DYNAMIC)
    assert [n for (n,) in server.rows("SELECT n FROM days ORDER BY n")] == [3, 10]
    server.rows("ALTER TABLE days EXECUTE optimize")
    server.rows("INSERT OVERWRITE days VALUES (TIMESTAMP '2024-05-01 05:00:00', 11)", **DYNAMIC)
    assert server.rows("SELECT n FROM days") == [(11,)]
    assert "COLUMN_NOT_FOUND" in failure(server, "INSERT OVERWRITE days PARTITION (day = 1) SELECT 1")
    assert "NOT_SUPPORTED" in failure(server, "INSERT OVERWRITE days PARTITION (n) SELECT 1")
    assert "Execution mode" in server.value("EXPLAIN INSERT OVERWRITE days PARTITION (n = 3) SELECT TIMESTAMP '2024-05-01 05:00:00'")


def test_overwrite_beside_writers(server):
    """Each statement replaces what is there when it is committed."""
    server.rows(f"CREATE TABLE contended (id bigint, part integer) WITH (partitioning = ARRAY['part'], {RETRIES})")

    def overwrite(number):
        part = [1, 1, 2, 3][number]
        for step in range(6):
            server.rows(f"INSERT OVERWRITE contended SELECT id, {part} FROM (SELECT unnest(range({step}, {step + 10})) AS id)", **DYNAMIC)

    assert not all_at_once(*[overwrite] * 4)
    assert server.rows("SELECT part, count(*), min(id) FROM contended GROUP BY part ORDER BY part") == [(1, 10, 5), (2, 10, 5), (3, 10, 5)]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_create_or_replace(server, spark, mode, version):
    table = f"spark.replaced_{mode}_{version}"
    options = {"headers": {"nunatak-session": f"execution_mode={mode}"}}
    first = f"CREATE OR REPLACE TABLE {table} WITH (format_version = {version}, partitioning = ARRAY['part']) AS SELECT 1 AS id, 2 AS part"
    assert server.value(first, **options) == 1
    server.rows(f"INSERT INTO {table} VALUES (5, 6)", **options)
    before = server.value(f'SELECT snapshot_id FROM spark."{table[6:]}$snapshots" ORDER BY committed_at DESC LIMIT 1')
    server.rows(f"ALTER TABLE {table} CREATE TAG before")
    # From its own rows, with another type for a column of the same name.
    replace = f"CREATE OR REPLACE TABLE {table} COMMENT 'new' WITH (sorted_by = ARRAY['name']) AS SELECT 'n' || id AS name, CAST(id AS double) AS id FROM {table}"
    assert server.value(replace, **options) == 2
    assert alike(server, spark, f"SELECT * FROM {table} ORDER BY name") == [("n1", 1.0), ("n5", 5.0)]
    assert server.rows(f"SELECT * FROM {table} FOR VERSION AS OF {before} ORDER BY id", **options) == [(1, 2), (5, 6)]
    assert spark.rows(f"SELECT * FROM {table} VERSION AS OF 'before' ORDER BY id") == [(1, 2), (5, 6)]
    shown = server.value(f"SHOW CREATE TABLE {table}")
    assert "COMMENT 'new'" in shown and "sorted_by" in shown and "partitioning" not in shown and f"format_version = {version}" in shown
    server.rows(f"UPDATE {table} SET id = 7 WHERE name = 'n5'", **options)
    assert alike(server, spark, f"SELECT id FROM {table} ORDER BY id") == [(1.0,), (7.0,)]
    server.rows(f"CREATE OR REPLACE TABLE {table} (only varchar)")
    assert alike(server, spark, f"SELECT * FROM {table}") == []
    server.rows(f"INSERT INTO {table} VALUES 'x'", **options)
    assert alike(server, spark, f"SELECT * FROM {table}") == [("x",)]
    server.rows(f"ALTER TABLE {table} EXECUTE expire_snapshots('0s')")
    assert alike(server, spark, f"SELECT * FROM {table}") == [("x",)]


def test_replace_beside_writers(server):
    """A table is replaced as it is then, whatever others have made of it, and its history has all of that."""
    server.rows(f"CREATE TABLE swapped WITH ({RETRIES}) AS SELECT BIGINT '0' AS id, 'none' AS name")

    def replace(number):
        for step in range(6):
            server.rows(f"CREATE OR REPLACE TABLE swapped WITH ({RETRIES}) AS SELECT id, 'r{number}' AS name FROM (SELECT unnest(range(0, {step + 10})) AS id)")

    def insert(number):
        for step in range(6):
            server.rows(f"INSERT INTO swapped VALUES ({100 + step}, 'i{number}')")

    def reorganize(number):
        for _ in range(6):
            server.rows("ALTER TABLE swapped EXECUTE optimize_manifests")

    assert not all_at_once(replace, replace, insert, insert, reorganize)
    replaced = server.rows("SELECT name, count(*) FROM swapped WHERE id < 100 GROUP BY name")
    assert len(replaced) == 1 and 10 <= replaced[0][1] <= 15
    added = server.rows("SELECT name, id FROM swapped WHERE id >= 100")
    assert len(added) == len(set(added)) <= 12
    assert server.value("SELECT count(*) FROM \"swapped$snapshots\" WHERE operation = 'overwrite'") == 12
    assert server.value("SELECT count(*) FROM \"swapped$snapshots\" WHERE operation = 'append'") == 13


def test_replace_from_its_own_rows_beside_others(server):
    """Rows that were read are not replaced unseen, and neither are columns."""
    server.rows(f"CREATE TABLE counted WITH ({RETRIES}) AS SELECT 0 AS n")
    server.rows("CREATE VIEW counts AS SELECT n FROM counted")

    def count(number):
        source = "counted" if number % 2 else "counts"
        for _ in range(5):
            server.rows(f"CREATE OR REPLACE TABLE counted WITH ({RETRIES}) AS SELECT n + 1 AS n FROM {source}")

    assert not all_at_once(count, count, count, count)
    assert server.rows("SELECT n FROM counted") == [(20,)]
    server.rows(f"CREATE TABLE changing WITH ({RETRIES}) AS SELECT 0 AS x")

    def change(number):
        for step in range(4):
            query = f"SELECT {step} AS c{number}_{step}, {number} AS who"
            server.rows(f"CREATE OR REPLACE TABLE changing WITH ({RETRIES}) AS {query}")

    def empty(number):
        for step in range(4):
            server.rows(f"CREATE OR REPLACE TABLE changing (e{step} double, who bigint) WITH ({RETRIES})")

    assert not all_at_once(change, change, change, empty)
    server.rows(f"CREATE OR REPLACE TABLE changing WITH ({RETRIES}) AS SELECT 7 AS c0_0")
    assert server.rows("SELECT * FROM changing") == [(7,)]
    for (snapshot,) in server.rows('SELECT snapshot_id FROM "changing$snapshots"'):
        assert len(server.rows(f"SELECT * FROM changing FOR VERSION AS OF {snapshot}")) == 1


def test_replace_fails_whole(server, failure):
    server.rows("CREATE TABLE whole AS SELECT 1 AS id")
    server.rows("CREATE VIEW seen AS SELECT * FROM whole")
    assert "DIVISION_BY_ZERO" in failure(server, "CREATE OR REPLACE TABLE whole AS SELECT 1 / (id - 1) AS x FROM whole")
    assert "TABLE_ALREADY_EXISTS" in failure(server, "CREATE OR REPLACE TABLE seen AS SELECT 1 AS id")
    assert "SYNTAX_ERROR" in failure(server, "CREATE OR REPLACE TABLE IF NOT EXISTS whole AS SELECT 1 AS id")
    assert "NOT_SUPPORTED" in failure(server, "CREATE OR REPLACE TABLE whole (id bigint) WITH (location = 'file:///elsewhere')")
    server.rows("CREATE OR REPLACE TABLE whole WITH (format_version = 3) AS SELECT id FROM whole")
    assert "NOT_SUPPORTED" in failure(server, "CREATE OR REPLACE TABLE whole (id bigint) WITH (format_version = 2)")
    assert server.rows("SELECT * FROM whole") == [(1,)]
    server.rows("CREATE OR REPLACE TABLE whole AS SELECT id, 'x' AS name FROM whole WITH NO DATA")
    assert server.rows("SELECT * FROM whole") == []


def test_partitions_of_a_column_that_got_a_wider_type(server):
    """Files from before have its values in the older type, and are of the same partitions."""
    server.rows("CREATE TABLE wider (k integer, v integer) WITH (partitioning = ARRAY['k'])")
    server.rows("INSERT INTO wider VALUES (1, 1), (2, 2)")
    server.rows("ALTER TABLE wider ALTER COLUMN k SET DATA TYPE bigint")
    server.rows("INSERT OVERWRITE wider VALUES (1, 10)", **DYNAMIC)
    assert server.rows("SELECT k, v FROM wider ORDER BY v") == [(2, 2), (1, 10)]
    server.rows("INSERT INTO wider VALUES (2, 3)")
    partitions = 'SELECT partition.k, record_count, file_count FROM "wider$partitions" ORDER BY 1'
    assert server.rows(partitions) == [(1, 1, 1), (2, 2, 2)]
    server.rows("ALTER TABLE wider EXECUTE optimize")
    assert server.rows(partitions) == [(1, 1, 1), (2, 2, 1)]
    assert server.rows("SELECT k, v FROM wider ORDER BY v") == [(2, 2), (2, 3), (1, 10)]
