"""ALTER TABLE ... EXECUTE: compaction, expiry of snapshots, and the way back to an older one."""

import threading
from pathlib import Path

import pytest

from nunatak_testing.spark import MERGE_ON_READ, MODES, alike


def execute(server, table, call, **options):
    return dict(server.rows(f"ALTER TABLE {table} EXECUTE {call}", **options))


def files(server, table, condition="content = 0"):
    return server.value(f'SELECT count(*) FROM "{table}$files" WHERE {condition}')


def on_disk(server, pattern):
    return {str(path) for path in Path(server.data_dir).glob(f"warehouse/{pattern}/**/*") if path.is_file()}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_optimize(server, mode, version):
    table = f"small_{mode}_{version}"
    headers = {"nunatak-session": f"execution_mode={mode}"}
    server.rows(f"CREATE TABLE {table} (id bigint, part integer, name varchar) WITH (format_version = {version}, partitioning = ARRAY['part'])")
    for step in range(6):
        server.rows(f"INSERT INTO {table} SELECT id, id % 3, 'n' || id FROM (SELECT unnest(range({step * 50}, {step * 50 + 50})) AS id)")
    server.rows(f"DELETE FROM {table} WHERE id % 7 = 0")
    server.rows(f"UPDATE {table} SET name = 'u' WHERE id % 11 = 0")
    lineage = ", _row_id, _last_updated_sequence_number" if version == 3 else ""
    everything = f"SELECT id, part, name{lineage} FROM {table} ORDER BY id"
    before, count = server.rows(everything), files(server, table)
    dry = execute(server, table, "optimize(dry_run => true)")
    assert dry["rewritten_data_files_count"] == count > 10 and dry["commits_count"] == 0
    assert files(server, table) == count
    done = execute(server, table, "optimize", headers=headers)
    assert done["rewritten_data_files_count"] == count and done["added_data_files_count"] == 3 and done["commits_count"] == 1
    assert files(server, table) == 3 and files(server, table, "content <> 0") == 0
    assert server.rows(everything) == before
    assert server.value(f'SELECT operation FROM "{table}$snapshots" ORDER BY committed_at DESC LIMIT 1') == "replace"
    # Nothing is left to be done, and no snapshot is made for that.
    snapshots = server.value(f'SELECT count(*) FROM "{table}$snapshots"')
    assert set(execute(server, table, "optimize").values()) == {0}
    assert server.value(f'SELECT count(*) FROM "{table}$snapshots"') == snapshots


def test_optimize_a_part_and_after_another_partitioning(server):
    server.rows("CREATE TABLE parts (id bigint, part integer) WITH (partitioning = ARRAY['part'])")
    for step in range(4):
        server.rows(f"INSERT INTO parts SELECT id, id % 2 FROM (SELECT unnest(range({step * 10}, {step * 10 + 10})) AS id)")
    done = execute(server, "parts", "optimize(file_size_threshold => '10MB') WHERE part = 1")
    assert (done["rewritten_data_files_count"], done["added_data_files_count"]) == (4, 1)
    assert execute(server, "parts", "optimize('1B')")["rewritten_data_files_count"] == 0
    server.rows("ALTER TABLE parts SET PROPERTIES partitioning = ARRAY['bucket(id, 2)'], sorted_by = ARRAY['id DESC']")
    assert execute(server, "parts", "optimize")["added_data_files_count"] == 2
    assert server.rows("SELECT count(*), sum(id) FROM parts") == [(40, 780)]
    assert server.value('SELECT count(DISTINCT spec_id) FROM "parts$files"') == 1


def test_optimize_what_spark_has_deleted(server, spark):
    for version in (2, 3):
        table = f"spark.tidied{version}"
        spark.run(
            f"CREATE TABLE {table} (id bigint, part int, name string) USING iceberg PARTITIONED BY (part)"
            f" TBLPROPERTIES ('format-version'='{version}', 'write.delete.granularity'='partition', {MERGE_ON_READ})",
            f"INSERT INTO {table} SELECT id, CAST(id % 2 AS int), concat('n', id) FROM range(0, 100)",
            f"INSERT INTO {table} SELECT id, CAST(id % 2 AS int), concat('n', id) FROM range(100, 200)",
            f"DELETE FROM {table} WHERE id % 5 = 0",
            f"UPDATE {table} SET name = 'u' WHERE id % 9 = 0",
        )
        everything = f"SELECT * FROM {table} ORDER BY id"
        before = alike(server, spark, everything)
        execute(server, table, "optimize")
        assert alike(server, spark, everything) == before
        spark.run(f"DELETE FROM {table} WHERE id % 4 = 1", f"INSERT INTO {table} VALUES (1000, 1, 'new')")
        alike(server, spark, everything)
    spark.run("CREATE TABLE spark.valued (id bigint, name string) USING iceberg TBLPROPERTIES ('format-version'='2')")
    for step in range(3):
        spark.run(f"INSERT INTO spark.valued SELECT id, concat('n', id % 5) FROM range({step * 10}, {step * 10 + 10})")
    spark.delete_equal("spark.valued", ["name"], [["n3"]])
    before = alike(server, spark, "SELECT * FROM spark.valued ORDER BY id")
    assert len(before) == 24
    by_value = 'SELECT count(*) FROM spark."valued$files" WHERE content = 2'
    assert server.value(by_value) == 1
    done = execute(server, "spark.valued", "optimize")
    # What applies to no file any more is gone, too.
    assert done["rewritten_data_files_count"] >= 3 and done["removed_delete_files_count"] == 1 and done["commits_count"] == 2
    assert server.value(by_value) == 0
    assert alike(server, spark, "SELECT * FROM spark.valued ORDER BY id") == before
    spark.delete_equal("spark.valued", ["name"], [["n1"]])
    assert len(alike(server, spark, "SELECT * FROM spark.valued ORDER BY id")) == 18
    spark.run("INSERT INTO spark.valued VALUES (500, 'n3')")
    assert len(alike(server, spark, "SELECT * FROM spark.valued ORDER BY id")) == 19


def test_optimize_beside_writers(server):
    """Rows that are inserted, changed and deleted while their files are written again."""
    server.rows(
        "CREATE TABLE moving (id bigint, n bigint) WITH (format_version = 3,"
        " extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.max-wait-ms'], ARRAY['100', '300']))"
    )
    errors, inserted, deleted, updated = [], [], [], []

    def work(kind, steps):
        for step in range(steps):
            try:
                if kind == "insert":
                    inserted.append(server.value(f"INSERT INTO moving SELECT id, 0 FROM (SELECT unnest(range({step * 20}, {step * 20 + 20})) AS id)"))
                elif kind == "update":
                    updated.append(server.value("UPDATE moving SET n = n + 1"))
                elif kind == "delete":
                    deleted.append(server.value(f"DELETE FROM moving WHERE id % 20 = {step}"))
                else:
                    execute(server, "moving", "optimize")
            except Exception as error:
                errors.append(str(error))

    threads = [threading.Thread(target=work, args=arguments) for arguments in [("insert", 12), ("update", 5), ("delete", 5), ("optimize", 6)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("TRANSACTION_CONFLICT" in error for error in errors), errors
    assert server.rows("SELECT count(*), sum(n) FROM moving WHERE id % 20 >= 5")[0][0] == 12 * 15
    assert server.value("SELECT count(*) FROM moving") == sum(inserted) - sum(deleted)
    before = server.rows("SELECT id, n, _row_id FROM moving ORDER BY id")
    execute(server, "moving", "optimize")
    assert server.rows("SELECT id, n, _row_id FROM moving ORDER BY id") == before
    assert files(server, "moving") == 1


def test_expired_files_that_are_not_deleted_are_counted_apart(server):
    server.rows("CREATE SCHEMA IF NOT EXISTS expiry")
    server.rows("CREATE TABLE expiry.refused AS SELECT 1 AS id")
    path = Path(server.value('SELECT file_path FROM expiry."refused$files"').removeprefix("file://"))
    server.rows("INSERT OVERWRITE expiry.refused SELECT 2")
    # A folder in the place of the file: nobody can delete that as a file, not even root.
    path.unlink()
    (path / "full").mkdir(parents=True)
    would = execute(server, "expiry.refused", "expire_snapshots(retention_threshold => '0s', dry_run => true)")
    done = execute(server, "expiry.refused", "expire_snapshots(retention_threshold => '0s')")
    assert done["deleted_files_count"] == would["deleted_files_count"] - 1 and done["undeleted_files_count"] == 1, done
    assert server.rows("SELECT * FROM expiry.refused") == [(2,)]


def test_expire_snapshots(server, spark):
    table = "spark.aged"
    spark.run(
        f"CREATE TABLE {table} (id bigint, part int) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='2', {MERGE_ON_READ})",
        f"INSERT INTO {table} SELECT id, CAST(id % 2 AS int) FROM range(0, 100)",
    )
    spark.run(f"ALTER TABLE {table} CREATE TAG kept", f"DELETE FROM {table} WHERE id % 3 = 0", f"INSERT INTO {table} VALUES (500, 1)")
    spark.run(f"ALTER TABLE {table} CREATE BRANCH side", f"INSERT INTO {table}.branch_side VALUES (600, 1)", f"INSERT INTO {table} VALUES (700, 1)")
    server.rows(f"ANALYZE {table}")
    execute(server, table, "optimize")
    server.rows(f"DELETE FROM {table} WHERE id = 700")
    before = alike(server, spark, f"SELECT * FROM {table} ORDER BY id")
    assert set(execute(server, table, "expire_snapshots").values()) == {0}, "nothing is old"
    dry = execute(server, table, "expire_snapshots(retention_threshold => '0s', dry_run => true)")
    on_disk_before = on_disk(server, "spark/aged*")
    done = execute(server, table, "expire_snapshots(retention_threshold => '0s')")
    assert done == dry and done["expired_snapshots_count"] == 4 and done["expired_references_count"] == 0, done
    assert len(on_disk_before) + 1 - len(on_disk(server, "spark/aged*")) == done["deleted_files_count"] > 5
    assert alike(server, spark, f"SELECT * FROM {table} ORDER BY id") == before
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF 'kept'") == 100
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF 'side'") == 68
    assert spark.rows(f"SELECT count(*) FROM {table} VERSION AS OF 'side'") == [(68,)]
    spark.run(f"ALTER TABLE {table} DROP TAG kept", f"ALTER TABLE {table} DROP BRANCH side")
    execute(server, table, "expire_snapshots('0s')")
    assert alike(server, spark, f"SELECT * FROM {table} ORDER BY id") == before
    # What is on disk now is what the one snapshot needs, besides the metadata files.
    known = {row[0] for row in server.rows(f'SELECT file_path FROM spark."aged$files"') + server.rows('SELECT path FROM spark."aged$manifests"')}
    left = {path for path in on_disk(server, "spark/aged*") if not path.endswith(".metadata.json") and not Path(path).name.startswith(".")}
    assert {path.removeprefix("file:").lstrip("/") for path in known} <= {path.lstrip("/") for path in left}
    assert len(left) == len(known) + 1


def test_back_to_a_snapshot(server, spark, failure):
    server.rows("CREATE TABLE spark.undone AS SELECT 1 AS id")
    server.rows("INSERT INTO spark.undone VALUES 2")
    server.rows("DELETE FROM spark.undone WHERE id = 1")
    first, second, third = [row[0] for row in server.rows('SELECT snapshot_id FROM spark."undone$snapshots" ORDER BY committed_at')]
    assert execute(server, "spark.undone", f"rollback_to_snapshot({second})") == {"previous_snapshot_id": third, "current_snapshot_id": second}
    assert alike(server, spark, "SELECT * FROM spark.undone ORDER BY id") == [(1,), (2,)]
    assert "ICEBERG_INVALID_SNAPSHOT_ID" in failure(server, f"ALTER TABLE spark.undone EXECUTE rollback_to_snapshot({third})")
    execute(server, "spark.undone", f"set_current_snapshot(snapshot_id => {third})")
    assert alike(server, spark, "SELECT * FROM spark.undone ORDER BY id") == [(2,)]
    execute(server, "spark.undone", f"rollback_to_snapshot(snapshot_id => {first})")
    server.rows("INSERT INTO spark.undone VALUES 9")
    assert alike(server, spark, "SELECT * FROM spark.undone ORDER BY id") == [(1,), (9,)]


def test_what_is_refused(server, failure):
    server.rows("CREATE TABLE cared WITH (extra_properties = MAP(ARRAY['gc.enabled'], ARRAY['false'])) AS SELECT 1 AS id")
    server.rows("CREATE VIEW cared_view AS SELECT * FROM cared")
    for call, expected in {
        "optimise": "PROCEDURE_NOT_FOUND: procedure 'optimise' does not exist (did you mean 'optimize'?)",
        "optimize(file_size => '1MB')": "INVALID_PROCEDURE_ARGUMENT: optimize does not take the argument 'file_size'",
        "optimize(file_size_threshold => 'much')": "INVALID_PROCEDURE_ARGUMENT: argument 'file_size_threshold' of optimize is 'much'",
        "optimize WHERE nope = 1": "COLUMN_NOT_FOUND",
        "optimize WHERE id": "TYPE_MISMATCH",
        "rollback_to_snapshot": "INVALID_PROCEDURE_ARGUMENT: rollback_to_snapshot needs the argument 'snapshot_id'",
        "rollback_to_snapshot(5)": "ICEBERG_INVALID_SNAPSHOT_ID: snapshot 5 does not exist",
        "rollback_to_snapshot(5) WHERE id = 1": "NOT_SUPPORTED",
        "expire_snapshots('1 week')": "INVALID_PROCEDURE_ARGUMENT",
        "expire_snapshots('0s')": "NOT_SUPPORTED: the files of table 'default.cared' must not be deleted",
        "optimize(": "SYNTAX_ERROR",
    }.items():
        assert expected in failure(server, f"ALTER TABLE cared EXECUTE {call}"), (call, failure(server, f"ALTER TABLE cared EXECUTE {call}"))
    assert "TABLE_NOT_FOUND" in failure(server, "ALTER TABLE card EXECUTE optimize")
    assert "TABLE_NOT_FOUND" in failure(server, "ALTER TABLE cared_view EXECUTE optimize")


@pytest.mark.parametrize("mode", MODES)
def test_optimize_in_an_order(server, mode, failure):
    """Sorted files hold few of a column's values each; z-ordered ones few of each of several columns'."""
    table, headers = f"ordered_{mode}", {"nunatak-session": f"execution_mode={mode}"}
    server.rows(
        f"CREATE TABLE {table} WITH (format_version = 3, extra_properties = MAP(ARRAY['write.target-file-size-bytes'], ARRAY['100000']))"
        " AS SELECT id % 400 AS a, CAST(id * 7919 % 300 AS integer) AS b, lower(to_hex(md5(to_utf8(CAST(id AS varchar))))) AS text, id FROM (SELECT unnest(range(0, 120000)) AS id)"
    )
    everything = f"SELECT count(*), sum(id), count(DISTINCT _row_id), max(_last_updated_sequence_number) FROM {table}"
    before = server.rows(everything)

    def spread(column):
        """The part of the files that may hold one value of a column, over all of its values."""
        bounds = server.rows(f"SELECT min({column}), max({column}) FROM {table} GROUP BY \"$path\"")
        values = server.value(f"SELECT count(DISTINCT {column}) FROM {table}")
        return sum(most - least + 1 for least, most in bounds) / values / len(bounds)

    assert spread("a") > 0.95 and spread("b") > 0.95
    done = execute(server, table, "optimize(sorted_by => ARRAY['a', 'b DESC'])", headers=headers)
    assert done["commits_count"] == 1 and done["added_data_files_count"] >= 10
    assert spread("a") < 0.15 and spread("b") > 0.8
    assert server.rows(everything) == before
    execute(server, table, "optimize(zorder_by => ARRAY['a', 'b'])", headers=headers)
    assert spread("a") < 0.55 and spread("b") < 0.55
    assert server.rows(everything) == before
    server.rows(f"ALTER TABLE {table} SET PROPERTIES partitioning = ARRAY['bucket(id, 2)']")
    execute(server, table, "optimize(zorder_by => ARRAY['b', 'text'])", headers=headers)
    assert spread("b") < 0.55 and server.rows(everything) == before
    assert "INVALID_PROCEDURE_ARGUMENT" in failure(server, f"ALTER TABLE {table} EXECUTE optimize(sorted_by => ARRAY['a'], zorder_by => ARRAY['a'])")
    assert "COLUMN_NOT_FOUND" in failure(server, f"ALTER TABLE {table} EXECUTE optimize(zorder_by => ARRAY['c'])")


def test_optimize_once(server):
    """What has been written again is not written again the next time."""
    server.rows("CREATE TABLE once (id bigint, text varchar)")
    for step in range(8):
        server.rows(f"INSERT INTO once SELECT id, lower(to_hex(md5(to_utf8(CAST(id AS varchar))))) FROM (SELECT unnest(range({step * 100000}, {step * 100000 + 100000})) AS id)")
    assert execute(server, "once", "optimize")["rewritten_data_files_count"] >= 8
    assert set(execute(server, "once", "optimize").values()) == {0}
    assert server.rows("SELECT count(*), sum(id) FROM once") == [(800_000, 800_000 * 799_999 // 2)]
