"""Tables that Spark writes, over the catalog and the warehouse of a running server: ours must read what Spark reads."""

import pytest

from nunatak_testing.spark import Spark

MODES = ["local", "pipelined", "fault_tolerant"]
MERGE_ON_READ = "'write.delete.mode'='merge-on-read', 'write.update.mode'='merge-on-read', 'write.merge.mode'='merge-on-read'"


@pytest.fixture(scope="module")
def spark(server):
    server.rows("CREATE SCHEMA spark")
    with Spark(server.data_dir) as spark:
        yield spark


def alike(server, spark, sql):
    """The rows of a query, which are the same in Spark and in all modes of ours."""
    rows = spark.rows(sql)
    for mode in MODES:
        assert server.rows(sql, headers={"nunatak-session": f"execution_mode={mode}"}) == rows, mode
    return rows


@pytest.mark.parametrize("version", [2, 3])
def test_rows_deleted_by_position(server, spark, version):
    """In version 2 by files of position deletes, in version 3 by deletion vectors."""
    table = f"spark.positions{version}"
    spark.rows(
        f"CREATE TABLE {table} (id bigint, name string, part int) USING iceberg PARTITIONED BY (part)"
        f" TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})"
    )
    spark.rows(f"INSERT INTO {table} SELECT id, concat('n', id % 7), CAST(id % 3 AS int) FROM range(0, 1000)")
    spark.rows(f"DELETE FROM {table} WHERE id % 5 = 0")
    spark.rows(f"UPDATE {table} SET name = 'changed' WHERE id % 11 = 1")
    spark.rows(f"INSERT INTO {table} SELECT id, 'late', 1 FROM range(1000, 1010)")
    spark.rows(f"DELETE FROM {table} WHERE id IN (7, 1001)")
    formats = {row[0] for row in spark.rows(f"SELECT DISTINCT file_format FROM {table}.delete_files")}
    assert formats == ({"PARQUET"} if version == 2 else {"PUFFIN"})

    assert alike(server, spark, f"SELECT count(*), sum(id), min(id), max(id) FROM {table}") == [(808, 409037, 1, 1009)]
    alike(server, spark, f"SELECT name, part, count(*), sum(id) FROM {table} GROUP BY name, part ORDER BY name, part")
    alike(server, spark, f"SELECT id, name FROM {table} WHERE part = 1 AND id BETWEEN 3 AND 60 ORDER BY id")
    alike(server, spark, f"SELECT count(*) FROM {table} WHERE name = 'changed'")
    snapshots = [row[0] for row in spark.rows(f"SELECT snapshot_id FROM {table}.snapshots ORDER BY committed_at")]
    counts = [server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF {snapshot}") for snapshot in snapshots]
    assert counts == [spark.rows(f"SELECT count(*) FROM {table} VERSION AS OF {snapshot}")[0][0] for snapshot in snapshots]
