"""DELETE, UPDATE and MERGE: in all modes and format versions as DuckDB does them, read back by Spark, and beside other writers."""

import concurrent.futures
import datetime
import itertools
import threading
import time

import duckdb
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from nunatak_testing.random_changes import COLUMNS, Program
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
# Statements that random programs do not have, over t and u of (id, part, name, x).
STATEMENTS = [
    "UPDATE {t} SET x = (SELECT max(u.x) FROM {u} AS u WHERE u.part = {t}.part) WHERE part < 3",
    "UPDATE {t} SET name = 'in' WHERE id IN (SELECT id FROM {u} WHERE part = 2)",
    "UPDATE {t} SET name = 'out', part = 9 WHERE NOT EXISTS (SELECT 1 FROM {u} AS u WHERE u.id = {t}.id)",
    "UPDATE {t} SET x = u.x + v.n FROM {u} AS u JOIN (SELECT part, count(*) AS n FROM {u} GROUP BY part) AS v ON u.part = v.part WHERE u.id = {t}.id",
    "UPDATE {t} SET part = part + 1, x = part",
    "UPDATE {t} SET id = id WHERE id = -1",
    "MERGE INTO {t} USING {u} ON {t}.id = {u}.id WHEN MATCHED THEN UPDATE SET x = {u}.x",
    "MERGE INTO {t} AS a USING (SELECT id + 1 AS id, name FROM {t} WHERE id % 2 = 0) AS b ON a.id = b.id"
    " WHEN MATCHED AND b.name IS NULL THEN DELETE WHEN MATCHED AND a.name = b.name THEN DELETE WHEN MATCHED THEN UPDATE SET name = b.name, part = -a.part",
    "MERGE INTO {t} AS a USING {u} AS b ON a.id = b.id AND a.part > 100 WHEN NOT MATCHED AND b.id % 50 = 0 THEN INSERT VALUES (b.id + 100000, b.part, b.name, b.x)",
    "MERGE INTO {t} AS a USING (SELECT 1 AS one) AS b ON false WHEN NOT MATCHED BY SOURCE AND a.id % 2 = 0 THEN UPDATE SET x = 0"
    " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (777777, 'new')",
    "MERGE INTO {t} AS a USING {u} AS b ON a.id = b.id WHEN MATCHED AND a.x IN (SELECT max(x) FROM {u}) THEN DELETE",
    "MERGE INTO {t} AS a USING (SELECT * FROM {u} WHERE 1 = 0) AS b ON a.id = b.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
]


def everything(server, judge, table, mode):
    """The rows of a table, which are the same here and in DuckDB."""
    sql = f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY {', '.join(COLUMNS)}"
    rows = server.rows(sql, headers={"nunatak-session": f"execution_mode={mode}"})
    expected = judge.execute(sql).fetchall()
    key = lambda row: [(value is None, value) for value in row]
    assert sorted(rows, key=key) == sorted(expected, key=key)
    return rows


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_programs_as_duckdb_runs_them(server, mode, version):
    for seed in range(4):
        table = f"program_{mode}_{version}_{seed}"
        program = Program(f"{mode} {version} {seed}", table)
        judge = duckdb.connect()
        fill = program.fill(400)
        judge.execute(f"CREATE TABLE {table} AS {fill}")
        partitioning = ["", "'part'", "'bucket(id, 3)'", "'truncate(name, 1)', 'part'"][seed]
        server.rows(f"CREATE TABLE {table} WITH (format_version = {version}, partitioning = ARRAY[{partitioning}]) AS {fill}")
        ids = {}
        for _ in range(12):
            sql = program.statement()
            expected = judge.execute(sql).fetchone()[0]
            assert server.value(sql, headers={"nunatak-session": f"execution_mode={mode}"}) == expected, sql
            everything(server, judge, table, mode)
            if version == 3:
                now = dict(server.rows(f"SELECT id, _row_id FROM {table}"))
                assert len(set(now.values())) == len(now), "row ids differ"
                assert all(ids[id] == now[id] for id in now if id in ids), f"rows keep their ids: {sql}"
                ids = now


@pytest.mark.parametrize("mode", MODES)
def test_statements_as_duckdb_runs_them(server, mode):
    t, u = f"changed_{mode}", f"source_{mode}"
    program = Program(0, t)
    judge = duckdb.connect()
    for table, rows in [(t, 500), (u, 300)]:
        program.next = program.next // 2
        fill = program.fill(rows)
        judge.execute(f"CREATE TABLE {table} AS {fill}")
        server.rows(f"CREATE TABLE {table} WITH (format_version = 3, partitioning = ARRAY['part'], sorted_by = ARRAY['name']) AS {fill}")
    for statement in STATEMENTS:
        sql = statement.format(t=t, u=u)
        expected = judge.execute(sql).fetchone()[0]
        assert server.value(sql, headers={"nunatak-session": f"execution_mode={mode}"}) == expected, sql
        everything(server, judge, t, mode)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_deletes_as_duckdb_does(server, mode, version):
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


def test_copy_on_write(server):
    """Data files are written again, and no deletes are left beside them; rows keep what lineage tells of them."""
    for version, properties in [(1, ""), (2, "copy-on-write"), (3, "copy-on-write")]:
        table = f"copied{version}"
        keys = [f"'write.{kind}.mode'" for kind in ("delete", "update", "merge")]
        extra = f", extra_properties = MAP(ARRAY[{', '.join(keys)}], ARRAY[{', '.join([repr(properties)] * 3)}])" if properties else ""
        program = Program(f"copies {version}", table)
        judge = duckdb.connect()
        fill = program.fill(600)
        judge.execute(f"CREATE TABLE {table} AS {fill}")
        server.rows(f"CREATE TABLE {table} WITH (format_version = {version}, partitioning = ARRAY['part']{extra}) AS {fill}")
        for step in range(15):
            if version == 3 and step == 0:
                before = {id: rest for id, *rest in server.rows(f"SELECT id, _row_id, _last_updated_sequence_number FROM {table}")}
                judge.execute(f"UPDATE {table} SET x = 1 WHERE id % 10 = 0")
                server.rows(f"UPDATE {table} SET x = 1 WHERE id % 10 = 0")
                for id, *rest in server.rows(f"SELECT id, _row_id, _last_updated_sequence_number FROM {table}"):
                    assert rest[0] == before[id][0]
                    assert rest[1] == (2 if id % 10 == 0 else before[id][1])
            sql = program.statement()
            expected = judge.execute(sql).fetchone()[0]
            assert server.value(sql) == expected, sql
            everything(server, judge, table, MODES[step % 3])
            assert server.value(f'SELECT count(*) FROM "{table}$files" WHERE content <> 0') == 0


def test_all_rows_at_once(server, spark):
    for version in (2, 3):
        table = f"spark.emptied{version}"
        spark.run(
            f"CREATE TABLE {table} (id bigint, part int) USING iceberg PARTITIONED BY (part) TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})",
            f"INSERT INTO {table} SELECT id, CAST(id % 3 AS int) FROM range(0, 100)",
            f"DELETE FROM {table} WHERE id % 7 = 1",
        )
        assert server.value(f"DELETE FROM {table}") == 85
        alike(server, spark, f"SELECT count(*) FROM {table}")
        spark.run(f"INSERT INTO {table} SELECT id, CAST(id % 3 AS int) FROM range(0, 100)", f"DELETE FROM {table} WHERE id % 7 = 1")
        server.rows(f"TRUNCATE TABLE {table}")
        assert alike(server, spark, f"SELECT count(*) FROM {table}") == [(0,)]
        assert server.value(f'SELECT count(*) FROM spark."emptied{version}$files"') == 0
        assert server.value(f"INSERT INTO {table} VALUES (1, 1)") == 1
        assert server.value(f"DELETE FROM {table}") == 1


def test_what_is_refused(server, failure):
    server.rows("CREATE TABLE kept (id bigint NOT NULL, d date) WITH (format_version = 2)")
    server.rows("INSERT INTO kept VALUES (1, DATE '2024-01-01'), (2, NULL)")
    server.rows("CREATE VIEW kept_view AS SELECT * FROM kept")
    server.rows("CREATE TABLE wanted AS SELECT * FROM kept")
    server.set_properties("default.wanted", {"write.delete.mode": "copy-on-wriet"})
    # No statement makes a column of that name.
    server.iceberg().create_table("default.hidden", schema=Schema(NestedField(1, "_pos", LongType())))
    merge = "MERGE INTO kept USING (VALUES (1, 5), (1, 6)) AS s(id, n) ON kept.id = s.id "
    for sql, expected in {
        "DELETE FROM wanted WHERE id = 1": "write.delete.mode",
        "DELETE FROM kept_view WHERE id = 1": "is not a table whose rows can be changed",
        "DELETE FROM keptt": "TABLE_NOT_FOUND: line 1:13",
        "DELETE FROM kept WHERE idd = 1": "COLUMN_NOT_FOUND: line 1:24",
        "DELETE FROM kept WHERE 1": "TYPE_MISMATCH",
        "DELETE kept": "SYNTAX_ERROR: line 1:8",
        "DELETE FROM kept USING wanted WHERE kept.id = wanted.id": "NOT_SUPPORTED",
        'DELETE FROM "kept$files"': "is not a table whose rows can be changed",
        "DELETE FROM information_schema.tables": "is not a table whose rows can be changed",
        "DELETE FROM kept WHERE id = 1 / (id - 1)": "DIVISION_BY_ZERO",
        "DELETE FROM hidden WHERE _pos = 1": "has a column '_pos'",
        "UPDATE kept SET idd = 1": "COLUMN_NOT_FOUND: line 1:17: column 'idd' does not exist (did you mean 'id'?)",
        "UPDATE kept SET id = NULL": "CONSTRAINT_VIOLATION: column 'id' of table default.kept does not take NULL",
        "UPDATE kept SET id = 1, id = 2": "DUPLICATE_COLUMN_NAME",
        "UPDATE kept SET d.x = 1": "NOT_SUPPORTED: 'd.x' cannot be set",
        "UPDATE kept SET id = 1 / 0": "DIVISION_BY_ZERO",
        "UPDATE kept SET d = 'no date'": "INVALID_CAST_ARGUMENT",
        "UPDATE kept SET id = s.n FROM (VALUES (1, 5), (1, 6)) AS s(id, n) WHERE kept.id = s.id": "MERGE_TARGET_ROW_MULTIPLE_MATCHES",
        "UPDATE kept_view SET id = 1": "is not a table whose rows can be changed",
        "UPDATE kept": "SYNTAX_ERROR",
        merge + "WHEN MATCHED THEN UPDATE SET id = s.n": "MERGE_TARGET_ROW_MULTIPLE_MATCHES",
        merge + "WHEN MATCHED THEN DELETE": "MERGE_TARGET_ROW_MULTIPLE_MATCHES",
        merge + "WHEN NOT MATCHED THEN UPDATE SET id = s.n": "SYNTAX_ERROR",
        merge + "WHEN MATCHED THEN UPDATE SET idd = s.n": "COLUMN_NOT_FOUND",
        merge + "WHEN MATCHED THEN UPDATE SET id = s.nn": "COLUMN_NOT_FOUND",
        merge.replace("kept.id = s.id", "id = s.id") + "WHEN MATCHED THEN DELETE": "AMBIGUOUS_NAME",
        merge: "SYNTAX_ERROR: line 1:76: expected: WHEN",
        "MERGE INTO kept USING kept_viev AS s ON kept.id = s.id WHEN MATCHED THEN DELETE": "TABLE_NOT_FOUND: line 1:23",
        "MERGE INTO kept USING kept_view AS s ON kept.id = s.id AND kept._pos = 1 WHEN MATCHED THEN DELETE": "NOT_SUPPORTED",
        "TRUNCATE TABLE kept_view": "is not a table whose rows can be changed",
    }.items():
        assert expected in failure(server, sql), sql
    assert server.rows("SELECT * FROM kept ORDER BY id") == [(1, datetime.date(2024, 1, 1)), (2, None)]
    # One of two rows that match does something.
    assert server.value(merge + "WHEN MATCHED AND s.n = 6 THEN UPDATE SET d = DATE '2025-05-05'") == 1
    assert server.value("UPDATE kept SET id = DEFAULT WHERE id > 5") == 0
    server.rows("CREATE TABLE by_parameter AS SELECT unnest(range(0, 10)) AS id, 'x' AS name")
    assert server.value("DELETE FROM by_parameter WHERE id < ?", (4,)) == 4
    assert server.value("UPDATE by_parameter SET name = ? WHERE id = ?", ("y", 5)) == 1
    merge = "MERGE INTO by_parameter AS t USING (SELECT CAST(? AS bigint) AS id) AS s ON t.id = s.id"
    assert server.value(merge + " WHEN MATCHED THEN UPDATE SET name = ? WHEN NOT MATCHED THEN INSERT VALUES (s.id, ?)", (6, "m", "n")) == 1
    assert server.rows("SELECT * FROM by_parameter ORDER BY id") == [(4, "x"), (5, "y"), (6, "m"), (7, "x"), (8, "x"), (9, "x")]


def test_rows_take_the_names_of_their_columns(server):
    server.rows("CREATE TABLE nested (id bigint, r row(x integer, s row(y varchar)), l array(row(z bigint)), m map(varchar, row(w double)))")
    server.rows("INSERT INTO nested VALUES (1, row(1, row('a')), ARRAY[row(1), row(2)], MAP(ARRAY['k'], ARRAY[row(0.5)])), (2, NULL, NULL, NULL)")
    server.rows("INSERT INTO nested (r, id) SELECT row(3, row('c')), 3")
    server.rows("UPDATE nested SET r = row(id, row('u')), l = ARRAY[row(id)] WHERE id = 2")
    merge = "MERGE INTO nested AS n USING (VALUES 3, 4) AS v(id) ON n.id = v.id WHEN MATCHED THEN UPDATE SET m = MAP(ARRAY['q'], ARRAY[row(1)])"
    server.rows(f"{merge} WHEN NOT MATCHED THEN INSERT (id, r) VALUES (v.id, row(v.id, row(NULL)))")
    assert server.rows("SELECT * FROM nested ORDER BY id") == [
        (1, {"x": 1, "s": {"y": "a"}}, [{"z": 1}, {"z": 2}], [("k", {"w": 0.5})]),
        (2, {"x": 2, "s": {"y": "u"}}, [{"z": 2}], None),
        (3, {"x": 3, "s": {"y": "c"}}, None, [("q", {"w": 1.0})]),
        (4, {"x": 4, "s": {"y": None}}, None, None),
    ]


def test_explain_and_no_file_stays_behind(server, failure):
    server.rows("CREATE TABLE explained WITH (format_version = 3, partitioning = ARRAY['part']) AS SELECT id, id % 3 AS part FROM (SELECT unnest(range(0, 1000)) AS id)")
    for mode in MODES:
        headers = {"nunatak-session": f"execution_mode={mode}"}
        for sql in [
            "DELETE FROM explained WHERE id % 2 = 0",
            "UPDATE explained SET part = part + 1",
            "MERGE INTO explained AS t USING explained AS s ON t.id = s.id + 1 WHEN MATCHED THEN DELETE",
        ]:
            text = server.value(f"EXPLAIN {sql}", headers=headers)
            assert f"Execution mode: {mode}" in text and "IcebergWriteExec" in text, text
        assert "DIVISION_BY_ZERO" in failure(server, "UPDATE explained SET id = 1 / (id - 999)", headers=headers)
    data = server.data_dir / "warehouse"
    files = {str(path) for path in data.glob("default/explained-*/data/**/*") if path.is_file()}
    known = {row[0].removeprefix("file://") for row in server.rows('SELECT file_path FROM "explained$files"')}
    assert files == known


def test_rows_that_others_add_elsewhere(server, numbers_file):
    """A change does not run again for new files that cannot hold rows which it takes; for others it would have to, and has no retries."""
    properties = "extra_properties = MAP(ARRAY['commit.retry.num-retries'], ARRAY['0'])"
    server.rows(f"CREATE TABLE apart (n bigint, part integer) WITH (partitioning = ARRAY['part'], {properties})")
    server.rows(f"INSERT INTO apart SELECT n, 1 FROM read_parquet('{numbers_file}')")
    depth = 8

    def change(statement, remainder):
        """Runs a statement for a hundredth of the rows in part 1, which it takes long to find; gives what becomes of it."""
        digest = "md5(" * depth + "to_utf8(CAST(n AS varchar))" + ")" * depth
        try:
            return server.value(f"{statement} WHERE part = 1 AND n % 100 + length({digest}) = {remainder + 16}")
        except Exception as error:
            return str(error)

    for step in itertools.count():
        begin = time.monotonic()
        assert change("DELETE FROM apart", step + 50) == 10_000
        seconds = time.monotonic() - begin
        if seconds > 1:
            break
        depth *= 2

    def meanwhile(statement, remainder, part):
        """The same when a row is added long after it has begun and long before it ends."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            outcome = pool.submit(change, statement, remainder)
            time.sleep(seconds / 3)
            assert server.value(f"INSERT INTO apart VALUES (-1, {part})") == 1
            assert not outcome.done(), "it should have taken longer"
            return outcome.result()

    assert meanwhile("DELETE FROM apart", 1, part=2) == 10_000
    assert meanwhile("UPDATE apart SET part = 1", 2, part=2) == 10_000
    assert "TRANSACTION_CONFLICT" in str(meanwhile("DELETE FROM apart", 3, part=1))
    assert server.rows("SELECT part, count(*) FROM apart WHERE n < 0 GROUP BY part ORDER BY part") == [(1, 1), (2, 2)]
    assert server.value("SELECT count(*) FROM apart WHERE n >= 0") == 1_000_000 - 10_000 * (step + 2)
