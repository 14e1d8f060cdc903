"""What keeps a table's files in order: orphans that are removed, manifests that are merged, tables that are registered."""

import os
import threading
import time
from pathlib import Path

import pytest

from nunatak_testing.server import Server
from nunatak_testing.spark import MERGE_ON_READ, alike


@pytest.fixture(scope="module")
def server(tmp_path_factory, orphans_of_any_age):
    with Server(tmp_path_factory.mktemp("data") / "nunatak", *orphans_of_any_age) as server:
        yield server


def execute(server, table, call):
    return dict(server.rows(f"ALTER TABLE {table} EXECUTE {call}"))


def folder(server, table):
    location = server.value(f'SELECT file FROM "{table}$metadata_log_entries" LIMIT 1')
    return Path(location.removeprefix("file://")).parent.parent


def on_disk(path):
    return {str(file) for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_orphans(server, version):
    table = f"littered{version}"
    server.rows(
        f"CREATE TABLE {table} (id bigint, part varchar) WITH (format_version = {version}, partitioning = ARRAY['part'],"
        " extra_properties = MAP(ARRAY['write.metadata.previous-versions-max'], ARRAY['2']))"
    )
    # Names that storage and metadata may spell in different ways.
    for part in ["a b", "x/y", "50%", "%20", "ü", "a+b=c", "#?&", "日本", "''quoted''", "\"double\"", "c:\\d", "~", "*"]:
        server.rows(f"INSERT INTO {table} VALUES (1, '{part}'), (2, NULL)")
    server.rows(f"ALTER TABLE {table} CREATE BRANCH side")
    server.rows(f'INSERT INTO "{table}@side" VALUES (7, \'side\')')
    server.rows(f"DELETE FROM {table} WHERE id = 1")
    server.rows(f"ANALYZE {table}")
    rows = server.rows(f"SELECT * FROM {table} ORDER BY part")
    path = folder(server, table)
    assert set(execute(server, table, "remove_orphan_files('1d')").values()) == {0}
    execute(server, table, "remove_orphan_files('0s')")
    kept = on_disk(path)
    # The last is what a part of an upload that never ended is called.
    litter = [path / "data/part=x/00000-0-left.parquet", path / "metadata/snap-1-left.avro", path / "data/deep/er/file", path / "data/00000-0-left.parquet#1"]
    for file in litter:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"left behind")
    old = time.time() - 100_000
    os.utime(litter[0], (old, old))
    assert execute(server, table, "remove_orphan_files(retention_threshold => '1d', dry_run => true)")["orphan_files_count"] == 1
    assert on_disk(path) == kept | {str(file) for file in litter}
    assert execute(server, table, "remove_orphan_files('1d')") == {"orphan_files_count": 1, "orphan_files_bytes": 11}
    assert execute(server, table, "remove_orphan_files('0s')")["orphan_files_count"] == 3
    assert on_disk(path) == kept
    assert server.rows(f"SELECT * FROM {table} ORDER BY part") == rows
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF 'side'") == 27
    oldest = server.value(f'SELECT snapshot_id FROM "{table}$snapshots" ORDER BY committed_at LIMIT 1')
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF {oldest}") == 2


def test_orphans_of_spark(server, spark):
    """Files that Spark has written are found by what its metadata says, whichever way it spells them."""
    spark.run(
        f"CREATE TABLE spark.theirs (id bigint, part string) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='2', {MERGE_ON_READ})",
        "INSERT INTO spark.theirs VALUES (1, 'a b'), (2, 'x/y'), (3, '50%'), (4, 'ü'), (5, NULL)",
        "DELETE FROM spark.theirs WHERE id = 2",
    )
    before = alike(server, spark, "SELECT * FROM spark.theirs ORDER BY id")
    assert execute(server, "spark.theirs", "remove_orphan_files('0s')")["orphan_files_count"] == 0
    assert alike(server, spark, "SELECT * FROM spark.theirs ORDER BY id") == before


def test_orphans_beside_running_queries(server, numbers_file):
    """The files of a query that runs are nobody's yet, and stay."""
    server.rows(f"CREATE TABLE growing (n bigint, text varchar) WITH (partitioning = ARRAY['bucket(n, 16)'])")
    done = []

    def insert():
        for _ in range(4):
            done.append(server.value(f"INSERT INTO growing SELECT * FROM read_parquet('{numbers_file}')"))

    writer = threading.Thread(target=insert)
    writer.start()
    removed = 0
    while writer.is_alive():
        removed += execute(server, "growing", "remove_orphan_files('0s')")["orphan_files_count"]
    writer.join()
    assert removed == 0 and done == [1_000_000] * 4
    assert server.rows("SELECT count(*), count(DISTINCT text) FROM growing") == [(4_000_000, 1_000_000)]


def test_orphans_are_not_removed(server, failure):
    """Where it is not certain whose files there are."""
    server.rows("CREATE TABLE around AS SELECT 1 AS id")
    path = folder(server, "around")
    server.rows(f"CREATE TABLE inside WITH (location = 'file://{path}/inner') AS SELECT 2 AS id")
    assert "NOT_SUPPORTED: another table lies within" in failure(server, "ALTER TABLE around EXECUTE remove_orphan_files('0s')")
    assert server.rows("SELECT * FROM inside") == [(2,)]
    server.rows("CREATE TABLE damaged AS SELECT 1 AS id")
    data = next((folder(server, "damaged") / "data").rglob("*.parquet"))
    data.rename(data.with_name("renamed.parquet"))
    assert "ICEBERG_FILESYSTEM_ERROR" in failure(server, "ALTER TABLE damaged EXECUTE remove_orphan_files('0s')")
    assert data.with_name("renamed.parquet").exists()
    server.rows("CREATE TABLE lent WITH (extra_properties = MAP(ARRAY['gc.enabled'], ARRAY['false'])) AS SELECT 1 AS id")
    assert "NOT_SUPPORTED" in failure(server, "ALTER TABLE lent EXECUTE remove_orphan_files('0s')")


def test_tables_at_one_place(server):
    """A table that is registered a second time goes its own way, and what it needs stays when the other one no longer does."""
    server.rows("CREATE TABLE original (id bigint)")
    server.rows("INSERT INTO original VALUES 1, 2")
    path = folder(server, "original")
    server.rows(f"CALL system.register_table('default', 'twin', 'file://{path}')")
    server.rows("INSERT INTO original VALUES 3")
    server.rows("INSERT INTO twin VALUES 4, 5")
    server.rows("DELETE FROM twin WHERE id = 1")
    server.rows("ANALYZE twin")
    oldest = server.value('SELECT snapshot_id FROM "twin$snapshots" ORDER BY committed_at LIMIT 1')

    def rows():
        tables = ["original", "twin", f"twin FOR VERSION AS OF {oldest}"]
        return [[id for (id,) in server.rows(f"SELECT id FROM {table} ORDER BY id")] for table in tables]

    assert rows() == [[1, 2, 3], [2, 4, 5], [1, 2]]
    kept = on_disk(path)
    for table in ["original", "twin"]:
        for litter in ["metadata/00009-left.metadata.json", "data/00000-0-left.parquet"]:
            (path / litter).write_bytes(b"left behind")
        assert execute(server, table, "remove_orphan_files('0s')")["orphan_files_count"] == 2
        assert on_disk(path) == kept
    assert dict(server.rows("CALL system.remove_orphan_files('default', 'original', '0s')"))["orphan_files_count"] == 0
    server.rows(f"CALL system.register_table('default', 'third', 'file://{path}')")
    server.rows("DROP TABLE third")
    assert on_disk(path) == kept
    server.rows("DELETE FROM original")
    assert execute(server, "original", "expire_snapshots('0s')")["expired_snapshots_count"] == 2
    assert rows() == [[], [2, 4, 5], [1, 2]]
    server.rows("DROP TABLE original")
    assert server.rows("SELECT id FROM twin ORDER BY id") == [(2,), (4,), (5,)]
    assert execute(server, "twin", "remove_orphan_files('0s')")["orphan_files_count"] == 0
    assert server.rows(f"SELECT id FROM twin FOR VERSION AS OF {oldest} ORDER BY id") == [(1,), (2,)]


def test_metadata_that_a_twin_has(server):
    """`write.metadata.delete-after-commit.enabled` deletes what fell out of a table's log, but not what another table at the same place is read by."""
    properties = "'write.metadata.delete-after-commit.enabled', 'write.metadata.previous-versions-max'"
    server.rows(f"CREATE TABLE quick (id bigint) WITH (extra_properties = MAP(ARRAY[{properties}], ARRAY['true', '1']))")
    server.rows("INSERT INTO quick VALUES 1")
    path = folder(server, "quick")
    server.rows(f"CALL system.register_table('default', 'slow', 'file://{path}')")
    for id in range(2, 6):
        server.rows(f"INSERT INTO quick VALUES {id}")
    assert server.rows("SELECT id FROM slow") == [(1,)]
    # The last two of this table, the current one of the other, and the one before that, which is in its log.
    assert len(list((path / "metadata").glob("*.metadata.json"))) == 4
    server.rows("INSERT INTO slow VALUES 9")
    assert server.rows("SELECT id FROM slow ORDER BY id") == [(1,), (9,)]
    assert server.value("SELECT count(*) FROM quick") == 5


def test_hashed_locations(server, spark, tmp_path):
    """Data files go where Iceberg's other engines would put them: elsewhere, in folders named by a hash."""
    elsewhere = tmp_path / "elsewhere"
    server.rows(
        "CREATE TABLE spark.hashed (id bigint, part varchar) WITH (format_version = 2, partitioning = ARRAY['part'], extra_properties ="
        f" MAP(ARRAY['write.object-storage.enabled', 'write.data.path'], ARRAY['true', 'file://{elsewhere}/']))"
    )
    server.rows("INSERT INTO spark.hashed VALUES (1, 'a'), (2, 'b'), (3, 'b')")
    server.rows("DELETE FROM spark.hashed WHERE id = 2")
    spark.run("INSERT INTO spark.hashed VALUES (4, 'b')")
    alike(server, spark, "SELECT * FROM spark.hashed ORDER BY id")
    # Both have the same number of folders above that of the partition.
    files = [file.relative_to(elsewhere).parts for file in elsewhere.rglob("*.parquet")]
    assert len(files) == 4 and {len(file) for file in files} == {8}, files
    for *hashed, schema, table, part, _ in files:
        assert [len(name) for name in hashed] == [4, 4, 4, 8] and set("".join(hashed)) <= {"0", "1"}
        assert table.startswith("hashed") and part in ("part=a", "part=b")
    server.rows("DELETE FROM spark.hashed")
    execute(server, "spark.hashed", "expire_snapshots('0s')")
    assert not list(elsewhere.rglob("*.parquet"))


def test_orphans_have_a_least_age(tmp_path, failure):
    with Server(tmp_path / "nunatak") as server:
        server.rows("CREATE TABLE t AS SELECT 1 AS id")
        assert "INVALID_PROCEDURE_ARGUMENT: retention_threshold is 23h" in failure(server, "ALTER TABLE t EXECUTE remove_orphan_files('23h')")
        assert set(execute(server, "t", "remove_orphan_files").values()) == {0}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_manifests(server, spark, version):
    table = f"spark.scattered{version}"
    server.rows(f"CREATE TABLE {table} (id bigint, part integer) WITH (format_version = {version}, partitioning = ARRAY['part'])")
    for step in range(12):
        server.rows(f"INSERT INTO {table} SELECT id, id % 3 FROM (SELECT unnest(range({step * 20}, {step * 20 + 20})) AS id)")
    if version > 1:
        server.rows(f"DELETE FROM {table} WHERE id % 5 = 0")
        server.rows(f"DELETE FROM {table} WHERE id % 5 = 1")
    server.rows(f"ALTER TABLE {table} SET PROPERTIES partitioning = ARRAY['bucket(id, 2)']" if version > 1 else f"COMMENT ON TABLE {table} IS 'x'")
    server.rows(f"INSERT INTO {table} VALUES (500, 1)")
    lineage = ", _row_id, _last_updated_sequence_number" if version == 3 else ""
    everything = f"SELECT *{lineage} FROM {table} ORDER BY id"
    before, count = alike(server, spark, everything), f'SELECT count(*) FROM spark."scattered{version}$manifests"'
    manifests = server.value(count)
    done = execute(server, table, "optimize_manifests")
    assert done["rewritten_manifests_count"] > 11 and done["added_manifests_count"] == (2 if version == 2 else 1)
    assert server.value(count) == manifests - done["rewritten_manifests_count"] + done["added_manifests_count"]
    assert alike(server, spark, everything) == before
    assert set(execute(server, table, "optimize_manifests").values()) == {0}
    # What comes after stands on them.
    server.rows(f"UPDATE {table} SET id = id + 1000 WHERE id = 3")
    spark.run(f"INSERT INTO {table} VALUES (600, 2)", f"DELETE FROM {table} WHERE id = 2")
    execute(server, table, "optimize")
    execute(server, table, "expire_snapshots('0s')")
    assert [row[0] for row in alike(server, spark, f"SELECT id FROM {table} ORDER BY id")] == sorted(
        {row[0] for row in before} - {3, 2} | {1003, 600}
    )


def test_manifests_beside_writers(server):
    server.rows(
        "CREATE TABLE merged (id bigint) WITH (extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.max-wait-ms'], ARRAY['50', '200']))"
    )
    errors = []

    def work(kind):
        try:
            for step in range(15):
                if kind == "insert":
                    server.rows(f"INSERT INTO merged VALUES {step}")
                elif kind == "delete":
                    server.rows(f"DELETE FROM merged WHERE id = 100 + {step}")
                else:
                    execute(server, "merged", "optimize_manifests")
        except Exception as error:
            errors.append(str(error))

    # The manifests of files that are removed are written again, too.
    for id in range(100, 115):
        server.rows(f"INSERT INTO merged VALUES {id}")
    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("insert", "insert", "delete", "merge", "merge")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    execute(server, "merged", "optimize_manifests")
    assert server.rows("SELECT count(*), sum(id) FROM merged") == [(30, 210)]
    assert server.value('SELECT count(*) FROM "merged$manifests"') == 1


def test_tables_are_registered(server, spark, failure):
    spark.run("CREATE TABLE spark.moved (id bigint) USING iceberg", "INSERT INTO spark.moved VALUES (1)", "INSERT INTO spark.moved VALUES (2)")
    location = server.value('SELECT file FROM spark."moved$metadata_log_entries" ORDER BY timestamp DESC LIMIT 1')
    place = location.rsplit("/", 2)[0]
    server.rows("CALL system.unregister_table('spark', 'moved')")
    assert "TABLE_NOT_FOUND" in failure(server, "SELECT * FROM spark.moved")
    server.rows(f"CALL system.register_table(schema_name => 'spark', table_name => 'back', table_location => '{place}')")
    assert alike(server, spark, "SELECT * FROM spark.back ORDER BY id") == [(1,), (2,)]
    assert "TABLE_ALREADY_EXISTS" in failure(server, f"CALL system.register_table('spark', 'back', '{place}')")
    server.rows("CALL system.unregister_table('spark', 'back')")
    server.rows(f"CALL lake.system.register_table(table => 'spark.again', metadata_file => '{location}')")
    server.rows("INSERT INTO spark.again VALUES 3")
    assert alike(server, spark, "SELECT * FROM spark.again ORDER BY id") == [(1,), (2,), (3,)]
    assert dict(server.rows("CALL system.optimize(table => 'spark.again')"))["rewritten_data_files_count"] == 3
    assert dict(server.rows("CALL system.expire_snapshots('spark', 'again', '0s')"))["expired_snapshots_count"] == 3


def test_calls_that_are_refused(server, failure):
    for call, expected in {
        "system.optimise('default', 't')": "PROCEDURE_NOT_FOUND: procedure 'system.optimise' does not exist (did you mean 'system.optimize'?)",
        "optimize('default', 't')": "PROCEDURE_NOT_FOUND",
        "system.optimize()": "INVALID_ARGUMENTS: optimize needs the argument 'schema_name'",
        "system.optimize('default', 'none')": "TABLE_NOT_FOUND",
        "nope.system.optimize('default', 'none')": "CATALOG_NOT_FOUND",
        "system.register_table('default', 't')": "INVALID_ARGUMENTS: register_table needs the argument 'table_location'",
        "system.register_table('default', 't', 'file:///nowhere')": "NOT_FOUND",
        "system.register_table('none', 't', 'file:///nowhere')": "NOT_FOUND",
        "system.unregister_table('default', 'none')": "TABLE_NOT_FOUND",
    }.items():
        assert expected in failure(server, f"CALL {call}"), (call, failure(server, f"CALL {call}"))
