"""DELETE: in all modes and format versions as DuckDB does it, read back by Spark and PyIceberg, and beside other writers."""

import threading

import duckdb
import pytest

from nunatak_testing.spark import MERGE_ON_READ, MODES, alike

FILL = (
    "SELECT id, id % 5 AS part, CASE WHEN id % 11 = 0 THEN NULL ELSE CAST(id % 97 AS varchar) END AS name, id * 0.5 AS x"
    " FROM (SELECT unnest(range({0}, {1})) AS id)"
)
# Each with what the ones before have left.
CONDITIONS = [
    "id % 7 = 3",
    "name IS NULL AND id < 300",
    "name = '13' OR x > 980",
    "NOT (name < '5')",
    "part = 2 AND id BETWEEN 100 AND 900",
    "id IN (SELECT id FROM {table} WHERE name = '17')",
    "EXISTS (SELECT 1 FROM {table} AS other WHERE other.id = {table}.id + 1 AND other.part = 4)",
    "id > (SELECT avg(id) * 1.9 FROM {table})",
    "id = -1",
    "NULL",
    "part = 1",
]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_as_duckdb_does(server, mode, version):
    table = f"deleted_{mode}_{version}"
    judge = duckdb.connect()
    judge.execute(f"CREATE TABLE {table} AS {FILL.format(0, 2000)}")
    server.rows(
        f"CREATE TABLE {table} WITH (format_version = {version}, partitioning = ARRAY['part', 'bucket(id, 2)']) AS {FILL.format(0, 1000)}"
    )
    server.rows(f"INSERT INTO {table} {FILL.format(1000, 2000)}")
    headers = {"nunatak-session": f"execution_mode={mode}"}
    row_ids = dict(server.rows(f"SELECT id, _row_id FROM {table}")) if version == 3 else {}
    for condition in CONDITIONS:
        sql = f"DELETE FROM {table} WHERE {condition.format(table=table)}"
        expected = judge.execute(sql).fetchone()[0]
        assert server.value(sql, headers=headers) == expected, sql
        everything = f"SELECT id, part, name, CAST(x AS double) FROM {table} ORDER BY id"
        assert server.rows(everything, headers=headers) == judge.execute(everything).fetchall(), sql
    if version == 3:
        left = server.rows(f"SELECT id, _row_id FROM {table}")
        assert left and all(row_ids[id] == row_id for id, row_id in left), "rows keep their ids"
    left = server.value(f"SELECT count(*) FROM {table}")
    assert server.value(f"DELETE FROM {table}", headers=headers) == left
    assert server.rows(f'SELECT count(*), (SELECT count(*) FROM {table}) FROM "{table}$files" WHERE content = 0') == [(0, 0)]
    assert server.value(f"INSERT INTO {table} {FILL.format(0, 10)}") == server.value(f"SELECT count(*) FROM {table}") == 10


@pytest.mark.parametrize("version", [2, 3])
def test_others_read_it_and_delete_more(server, spark, version):
    table = f"spark.both{version}"
    spark.rows(
        f"CREATE TABLE {table} (id bigint, name string, part int) USING iceberg PARTITIONED BY (part)"
        f" TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})"
    )
    spark.rows(f"INSERT INTO {table} SELECT id, concat('n', id % 7), CAST(id % 3 AS int) FROM range(0, 1000)")
    everything = f"SELECT id, name, part FROM {table} ORDER BY id"
    for ours, theirs in [("id % 5 = 0", "id % 6 = 1"), ("name = 'n3'", "id BETWEEN 500 AND 510"), ("part = 2", "id > 990"), ("id < 100", "id = 100")]:
        server.rows(f"DELETE FROM {table} WHERE {ours}")
        alike(server, spark, everything)
        spark.rows(f"DELETE FROM {table} WHERE {theirs}")
        alike(server, spark, everything)
    if version == 3:
        # One vector for each data file, and none of a data file that is gone.
        rows = spark.rows(f"SELECT count(*), count(DISTINCT referenced_data_file) FROM {table}.delete_files")[0]
        files = spark.rows(f"SELECT count(*) FROM {table}.files WHERE content = 0")[0][0]
        assert rows[0] == rows[1] <= files
    summary = dict(server.value(f'SELECT summary FROM spark."both{version}$snapshots" ORDER BY committed_at DESC LIMIT 1'))
    assert int(summary["total-data-files"]) == spark.rows(f"SELECT count(*) FROM {table}.data_files")[0][0]


def test_writers_beside_each_other(server):
    """Each acknowledged change is there once: rows that one deletes while others delete and insert."""
    server.rows("CREATE TABLE busy (id bigint, writer integer) WITH (format_version = 3, extra_properties = MAP(ARRAY['commit.retry.num-retries'], ARRAY['50']))")
    server.rows("INSERT INTO busy SELECT id, 0 FROM (SELECT unnest(range(0, 400)) AS id)")
    deleted, inserted, errors = [], [], []

    def delete(writer):
        for step in range(10):
            rows = f"id % 4 = {writer} AND id / 40 = {step}"
            try:
                deleted.append(server.value(f"DELETE FROM busy WHERE writer = 0 AND {rows}"))
            except Exception as error:
                errors.append(str(error))

    def insert(writer):
        for step in range(10):
            try:
                inserted.append(server.value(f"INSERT INTO busy VALUES ({1000 + writer * 100 + step}, {writer})"))
            except Exception as error:
                errors.append(str(error))

    threads = [threading.Thread(target=delete, args=(writer,)) for writer in range(3)]
    threads += [threading.Thread(target=insert, args=(writer,)) for writer in range(1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("TRANSACTION_CONFLICT" in error for error in errors), errors
    assert server.value("SELECT count(*) FROM busy WHERE writer = 0") == 400 - sum(deleted)
    assert server.value("SELECT count(*) FROM busy WHERE writer > 0") == sum(inserted)
    assert deleted and inserted, errors


def test_what_is_refused(server, failure):
    server.rows("CREATE TABLE kept (id bigint, d date) WITH (format_version = 1)")
    server.rows("INSERT INTO kept VALUES (1, DATE '2024-01-01'), (2, NULL)")
    server.rows("CREATE VIEW kept_view AS SELECT * FROM kept")
    server.rows("CREATE TABLE wanted WITH (extra_properties = MAP(ARRAY['write.delete.mode'], ARRAY['copy-on-write'])) AS SELECT * FROM kept")
    for sql, expected in {
        "DELETE FROM kept WHERE id = 1": "NOT_SUPPORTED",
        "DELETE FROM wanted WHERE id = 1": "write.delete.mode",
        "DELETE FROM kept_view WHERE id = 1": "is not a table whose rows can be deleted",
        "DELETE FROM keptt": "TABLE_NOT_FOUND: line 1:13",
        "DELETE FROM kept WHERE idd = 1": "COLUMN_NOT_FOUND: line 1:24",
        "DELETE FROM kept WHERE 1": "TYPE_MISMATCH",
        "DELETE kept": "SYNTAX_ERROR: line 1:8",
        "DELETE FROM kept USING wanted WHERE kept.id = wanted.id": "NOT_SUPPORTED",
        'DELETE FROM "kept$files"': "is not a table whose rows can be deleted",
        "DELETE FROM information_schema.tables": "is not a table whose rows can be deleted",
        "DELETE FROM kept WHERE id = 1 / (id - 1)": "DIVISION_BY_ZERO",
    }.items():
        assert expected in failure(server, sql), sql
    assert server.value("SELECT count(*) FROM kept") == 2
    assert server.value("DELETE FROM kept WHERE id > 0") == 2
    assert server.value("SELECT count(*) FROM kept") == 0
    server.rows("CREATE TABLE by_parameter AS SELECT unnest(range(0, 10)) AS id")
    assert server.value("DELETE FROM by_parameter WHERE id < ?", (4,)) == 4
    assert server.value("SELECT count(*) FROM by_parameter") == 6
