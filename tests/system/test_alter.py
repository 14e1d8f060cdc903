"""ALTER TABLE and COMMENT ON: the table keeps its rows, in all modes, and Spark sees the same one."""

import threading
from decimal import Decimal

import pytest

from nunatak_testing.spark import alike, in_all_modes


def columns(server, table):
    return [(name, type) for name, type, *_ in server.rows(f"DESCRIBE {table}")]


def plain(value):
    """A value in the form in which Spark's session gives it."""
    if isinstance(value, dict):
        return [plain(field) for field in value.values()]
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return {key: plain(item) for key, item in value}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Decimal) else value


def alike_nested(server, spark, sql):
    ours = [tuple(plain(value) for value in row) for row in in_all_modes(server, sql)]
    assert ours == spark.rows(sql)


def described(spark, table):
    """Spark's columns, in the order of the table."""
    rows = spark.rows(f"DESCRIBE TABLE {table}")
    names = [row[0] for row in rows]
    end = next((at for at, name in enumerate(names) if not name or name.startswith("#")), len(names))
    return [tuple(row[:2]) for row in rows[:end]]


@pytest.mark.parametrize("version", [2, 3])
def test_columns(server, spark, version):
    table = f"spark.evolved{version}"
    server.rows(
        f"CREATE TABLE {table} (id integer NOT NULL, name varchar, price decimal(6, 2), r real, place row(lat real, city varchar),"
        f" tags array(row(k varchar, n integer)), byname map(varchar, integer)) WITH (format_version = {version}, partitioning = ARRAY['name'])"
    )
    insert = "SELECT 1, 'a', 1.25, 0.5, named_struct('lat', 1.5, 'city', 'x'), array(named_struct('k', 'k', 'n', 7)), map('m', 8)"
    spark.rows(f"INSERT INTO {table} {insert}")
    everything = f"SELECT * FROM {table} ORDER BY id NULLS FIRST"
    steps = [
        ("ADD COLUMN note varchar COMMENT 'says much'", "note", "string"),
        ("ADD COLUMN IF NOT EXISTS Note bigint", "note", "string"),
        ("ADD COLUMN early bigint FIRST", "early", "bigint"),
        ("ADD COLUMN behind double AFTER id", "behind", "double"),
        ("ADD COLUMN place.country varchar", "place", "struct<lat:float,city:string,country:string>"),
        ("ADD COLUMN place.zip row(code integer, rest varchar) AFTER lat", "place", "struct<lat:float,zip:struct<code:int,rest:string>,city:string,country:string>"),
        ("ADD COLUMN tags.element.more boolean", "tags", "array<struct<k:string,n:int,more:boolean>>"),
        ("ALTER COLUMN tags.element.n SET DATA TYPE bigint", "tags", "array<struct<k:string,n:bigint,more:boolean>>"),
        ("ALTER COLUMN byname.value SET DATA TYPE bigint", "byname", "map<string,bigint>"),
        ("ALTER COLUMN id SET DATA TYPE bigint", "id", "bigint"),
        ("ALTER COLUMN price SET DATA TYPE decimal(12, 2)", "price", "decimal(12,2)"),
        ("ALTER COLUMN r SET DATA TYPE double", "r", "double"),
        ("RENAME COLUMN name TO title", "title", "string"),
        ("RENAME COLUMN place.city TO town", "place", "struct<lat:float,zip:struct<code:int,rest:string>,town:string,country:string>"),
        ("DROP COLUMN place.lat", "place", "struct<zip:struct<code:int,rest:string>,town:string,country:string>"),
        ("ALTER COLUMN r FIRST", "r", "double"),
        ("ALTER COLUMN early AFTER title", "early", "bigint"),
        ("ALTER COLUMN id DROP NOT NULL", "id", "bigint"),
        ("DROP COLUMN IF EXISTS nothing", "id", "bigint"),
        ("RENAME COLUMN IF EXISTS nothing TO something", "id", "bigint"),
    ]
    for step, column, type in steps:
        server.rows(f"ALTER TABLE {table} {step}")
        assert dict(described(spark, table))[column] == type, step
        assert [name for name, _ in described(spark, table)] == [name for name, _ in columns(server, table)], step
        alike_nested(server, spark, everything)
    server.rows(f"ALTER TABLE {table} DROP COLUMN byname")
    server.rows(f"ALTER TABLE {table} ADD COLUMN byname varchar")
    assert server.rows(f"SELECT byname FROM {table}") == [(None,)], "a column that comes again is another one"
    server.rows(f"INSERT INTO {table} (id, title, note, r) VALUES (NULL, 'b', 'n', 2), (3, 'c', NULL, 3)")
    spark.rows(f"INSERT INTO {table} VALUES (NULL, 4, NULL, 'b', NULL, NULL, NULL, NULL, NULL, 'of Spark')")
    alike_nested(server, spark, everything)
    assert server.value(f"UPDATE {table} SET note = 'new', place = row(row(1, 'r'), 't', 'c') WHERE title = 'b'") == 2
    alike_nested(server, spark, everything)
    # What was is as it was.
    first = server.rows(f"SELECT snapshot_id FROM spark.\"evolved{version}$snapshots\" ORDER BY committed_at LIMIT 1")[0][0]
    assert len(server.rows(f"SELECT id, name, price, r, place, tags, byname FROM {table} FOR VERSION AS OF {first}")) == 1


def test_partitioning_and_properties(server, spark):
    table = "spark.arranged"
    server.rows(f"CREATE TABLE {table} (id bigint, part integer, at timestamp(6))")
    partitionings = ["", "'part'", "'month(at)', 'bucket(id, 4)'", "'part', 'month(at)'", "'day(at)'", "'bucket(id, 8)'", ""]
    for step, partitioning in enumerate(partitionings):
        server.rows(f"ALTER TABLE {table} SET PROPERTIES partitioning = ARRAY[{partitioning}]")
        server.rows(f"INSERT INTO {table} SELECT id, id % 3, CAST(DATE '2024-01-01' AS timestamp) FROM (SELECT unnest(range({step * 50}, {step * 50 + 50})) AS id)")
        spark.rows(f"INSERT INTO {table} SELECT id + {1000 + step * 10}, CAST(id % 3 AS int), timestamp_ntz'2024-02-02 01:02:03' FROM range(0, 10)")
        alike(server, spark, f"SELECT count(*), sum(id), min(part), count(DISTINCT at) FROM {table}")
        alike(server, spark, f"SELECT count(*) FROM {table} WHERE part = 1 AND at < TIMESTAMP '2024-02-01 00:00:00'")
    # Fields of older partitionings come back as they were.
    fields = {}
    for spec in server.iceberg().load_table(table).specs().values():
        for field in spec.fields:
            assert fields.setdefault((field.source_id, str(field.transform)), field.field_id) == field.field_id
    server.rows(f"ALTER TABLE {table} SET PROPERTIES sorted_by = ARRAY['id DESC', 'part'], extra_properties = MAP(ARRAY['write.target-file-size-bytes'], ARRAY['1000000'])")
    text = server.value(f"SHOW CREATE TABLE {table}")
    assert "sorted_by = ARRAY['id DESC" in text and "write.target-file-size-bytes" in text, text
    server.rows(f"INSERT INTO {table} SELECT id, id % 3, NULL FROM (SELECT unnest(range(5000, 5100)) AS id)")
    alike(server, spark, f"SELECT count(*), sum(id) FROM {table}")
    server.rows(f"ALTER TABLE {table} SET PROPERTIES sorted_by = DEFAULT, format_version = 3")
    assert "sorted_by" not in server.value(f"SHOW CREATE TABLE {table}") and "format_version = 3" in server.value(f"SHOW CREATE TABLE {table}")
    assert server.value(f"UPDATE {table} SET part = 9 WHERE id % 2 = 0") > 0
    alike(server, spark, f"SELECT count(*), sum(id), sum(part) FROM {table}")


def test_properties_are_checked(server, failure):
    server.rows("CREATE TABLE checked (id bigint)")
    for name, value, allowed in [
        ("commit.retry.num-retries", "abc", "a whole number from 0 to 2147483647"),
        ("commit.retry.min-wait-ms", "-1", "a whole number from 0 to 2147483647"),
        ("commit.manifest.target-size-bytes", "8MB", "a whole number from 1 on"),
        ("history.expire.min-snapshots-to-keep", "all", "a whole number from 1 to 2147483647"),
        ("gc.enabled", "no", "true or false"),
        ("write.wap.enabled", "yes", "true or false"),
        ("write.metadata.compression-codec", "zstd", "gzip or none"),
        ("write.target-file-size-bytes", "0", "a whole number above zero"),
        ("write.parquet.row-group-size-bytes", "128MB", "a whole number above zero"),
        ("write.parquet.compression-codec", "rar", "zstd, snappy, gzip, lz4, brotli or uncompressed"),
        ("write.parquet.compression-level", "99", "a level of compression codec zstd"),
        ("write.parquet.bloom-filter-enabled.column.id", "1", "true or false"),
        ("write.parquet.bloom-filter-fpp.column.id", "2", "a number between 0 and 1"),
        ("write.distribution-mode", "hashed", "none, hash or range"),
        ("write.merge.mode", "copy", "merge-on-read or copy-on-write"),
        ("write.delete.isolation-level", "none", "serializable or snapshot"),
        ("write.metadata.metrics.default", "truncate", "none, counts, full or truncate(n)"),
        ("write.metadata.metrics.column.id", "some", "none, counts, full or truncate(n)"),
        ("schema.name-mapping.default", "id", "a name mapping in JSON"),
        ("nunatak.maintenance.enabled", "on", "true or false"),
        ("nunatak.maintenance.delete-ratio", "1.5", "a number from 0 to 1"),
        ("nunatak.maintenance.snapshots", "1e300", "a whole number from 0 to 4294967295"),
        ("write.object-storage.enabled", "on", "true or false"),
        ("write.delete.granularity", "row", "file or partition"),
        ("read.split.target-size", "128MB", "a whole number from 1 on"),
        ("write.data.path", "data", "a location: an absolute path, or a URL such as s3://bucket/folder"),
        ("write.metadata.path", "", "a location: an absolute path, or a URL such as s3://bucket/folder"),
        ("write.object-storage.path", "/data/../etc", "a location: an absolute path, or a URL such as s3://bucket/folder"),
        ("write.data.path", "s3://bucket/file:///data", "one location, such as s3://bucket/folder"),
    ]:
        properties = f"extra_properties = MAP(ARRAY['{name}'], ARRAY['{value}'])"
        for sql in [
            f"CREATE TABLE unchecked (id bigint) WITH ({properties})",
            f"CREATE TABLE unchecked WITH ({properties}) AS SELECT 1 AS id",
            f"CREATE OR REPLACE TABLE checked WITH ({properties}) AS SELECT 1 AS id",
            f"ALTER TABLE checked SET PROPERTIES {properties}",
        ]:
            assert f"INVALID_TABLE_PROPERTY: table property '{name}' is '{value}', which is not {allowed}" in failure(server, sql), sql
    assert "NOT_SUPPORTED" in failure(server, "ALTER TABLE checked SET PROPERTIES extra_properties = MAP(ARRAY['write.format.default'], ARRAY['orc'])")
    for name, value, code in [
        ("format-version", "3", "INVALID_TABLE_PROPERTY: 'format-version' is not one of the extra_properties"),
        ("current-snapshot-id", "3", "INVALID_TABLE_PROPERTY: 'current-snapshot-id' is kept by the table itself"),
        ("write.data.path", "ftp://host/data", "NOT_SUPPORTED"),
        ("write.location-provider.impl", "com.example.Places", "NOT_SUPPORTED: the class 'com.example.Places'"),
        ("encryption.key-id", "key", "NOT_SUPPORTED: tables cannot be encrypted"),
    ]:
        properties = f"extra_properties = MAP(ARRAY['{name}'], ARRAY['{value}'])"
        assert code in failure(server, f"CREATE TABLE unchecked (id bigint) WITH ({properties})")
        assert code in failure(server, f"CREATE OR REPLACE TABLE checked WITH ({properties}) AS SELECT 1 AS id")
        assert code in failure(server, f"ALTER TABLE checked SET PROPERTIES {properties}")
    other = server.iceberg().load_table("default.checked").location()
    assert "which is not free: table 'default.checked' lies in 'file://" in failure(
        server, f"CREATE TABLE within (id bigint) WITH (extra_properties = MAP(ARRAY['write.data.path'], ARRAY['{other}/data/x']))"
    )
    server.rows("ALTER TABLE checked SET PROPERTIES extra_properties = MAP(ARRAY['owner', 'write.orc.block-size'], ARRAY['me', 'any'])")
    # A level is one of the codec that the table has.
    server.rows("ALTER TABLE checked SET PROPERTIES extra_properties = MAP(ARRAY['write.parquet.compression-codec'], ARRAY['gzip'])")
    server.rows("ALTER TABLE checked SET PROPERTIES extra_properties = MAP(ARRAY['write.parquet.compression-level'], ARRAY['0'])")
    server.rows("INSERT INTO checked VALUES 1")
    assert server.rows("SELECT * FROM checked") == [(1,)]


def test_properties_that_others_have_set(server, failure):
    """What is wrong is in the way of no query, and of no change that corrects it."""
    retries = "commit.retry.num-retries"
    server.rows("CREATE TABLE mended AS SELECT 1 AS id")
    for correction in [
        f"ALTER TABLE mended SET PROPERTIES extra_properties = MAP(ARRAY['{retries}'], ARRAY['5'])",
        f"CREATE OR REPLACE TABLE mended WITH (extra_properties = MAP(ARRAY['{retries}'], ARRAY['5'])) AS SELECT 1 AS id",
        "CREATE OR REPLACE TABLE mended (id bigint)",
    ]:
        server.set_properties("default.mended", {retries: "abc", "write.distribution-mode": "abc"})
        count = server.value("SELECT count(*) FROM mended")
        assert f"table property '{retries}' is 'abc'" in failure(server, "DELETE FROM mended")
        assert "is 'abc'" in failure(server, "INSERT INTO mended VALUES 2")
        assert server.value("SELECT count(*) FROM mended") == count
        server.rows(correction)
        server.rows("ALTER TABLE mended SET PROPERTIES extra_properties = MAP(ARRAY['write.distribution-mode'], ARRAY['hash'])")
        assert server.value("INSERT INTO mended VALUES 2") == 1


def test_columns_of_older_partitionings_stay(server, failure):
    """Other engines cannot delete rows of files that are partitioned by a column which is gone."""
    server.rows("CREATE TABLE kept_column (id bigint, part integer, at date) WITH (partitioning = ARRAY['part', 'month(at)'])")
    server.rows("INSERT INTO kept_column VALUES (1, 1, DATE '2024-01-01')")
    server.rows("ALTER TABLE kept_column SET PROPERTIES partitioning = ARRAY['bucket(id, 2)']")
    for column in ["part", "at"]:
        expected = f"NOT_SUPPORTED: column '{column}' cannot be dropped: the table was partitioned by it"
        assert expected in failure(server, f"ALTER TABLE kept_column DROP COLUMN {column}")
    assert len(columns(server, "kept_column")) == 3


def test_comments(server, spark):
    server.rows("CREATE TABLE spark.told (id bigint COMMENT 'old', name varchar) COMMENT 'a table'")
    server.rows("COMMENT ON COLUMN spark.told.id IS 'the key'")
    server.rows("COMMENT ON TABLE spark.told IS 'told anew'")
    assert "COMMENT 'the key'" in server.value("SHOW CREATE TABLE spark.told")
    assert "COMMENT 'told anew'" in server.value("SHOW CREATE TABLE spark.told")
    assert [row[2] for row in spark.rows("DESCRIBE TABLE spark.told")][:1] == ["the key"]
    server.rows("COMMENT ON TABLE spark.told IS NULL")
    server.rows("COMMENT ON COLUMN spark.told.id IS NULL")
    assert "COMMENT" not in server.value("SHOW CREATE TABLE spark.told")


def test_branches_and_tags(server, spark, failure):
    table = "spark.branched"
    server.rows(f"CREATE TABLE {table} AS SELECT 1 AS id")
    first = server.value('SELECT snapshot_id FROM spark."branched$snapshots"')
    server.rows(f"INSERT INTO {table} VALUES 2")
    server.rows(f"ALTER TABLE {table} CREATE TAG start AS OF VERSION {first} RETAIN 7 DAYS")
    server.rows(f"ALTER TABLE {table} CREATE BRANCH side WITH SNAPSHOT RETENTION 3 SNAPSHOTS 2 DAYS")
    server.rows(f"ALTER TABLE {table} CREATE BRANCH IF NOT EXISTS side AS OF VERSION {first}")
    spark.run(f"INSERT INTO {table}.branch_side VALUES 3")
    for name, rows in [("start", 1), ("side", 3)]:
        assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF '{name}'") == rows
        assert spark.rows(f"SELECT count(*) FROM {table} VERSION AS OF '{name}'") == [(rows,)]
    refs = spark.rows(f"SELECT name, type, max_reference_age_in_ms, min_snapshots_to_keep, max_snapshot_age_in_ms FROM {table}.refs ORDER BY name")
    day = 24 * 60 * 60 * 1000
    assert refs == [("main", "BRANCH", None, None, None), ("side", "BRANCH", None, 3, 2 * day), ("start", "TAG", 7 * day, None, None)]
    assert "ALREADY_EXISTS" in failure(server, f"ALTER TABLE {table} CREATE TAG start")
    assert "'start' is a tag" in failure(server, f"ALTER TABLE {table} DROP BRANCH start")
    assert "'start' is a tag" in failure(server, f"ALTER TABLE {table} CREATE OR REPLACE BRANCH start")
    assert "NOT_FOUND: table 'spark.branched' has no branch or tag 'nothing'" in failure(server, f"ALTER TABLE {table} DROP TAG nothing")
    assert "ICEBERG_INVALID_SNAPSHOT_ID" in failure(server, f"ALTER TABLE {table} CREATE TAG x AS OF VERSION 7")
    assert "cannot be dropped" in failure(server, f"ALTER TABLE {table} DROP BRANCH main")
    server.rows(f"ALTER TABLE {table} DROP TAG IF EXISTS nothing")
    server.rows(f"ALTER TABLE {table} EXECUTE fast_forward('main', 'side')")
    assert alike(server, spark, f"SELECT * FROM {table} ORDER BY id") == [(1,), (2,), (3,)]
    server.rows(f"ALTER TABLE {table} CREATE OR REPLACE TAG start")
    assert server.value(f"SELECT count(*) FROM {table} FOR VERSION AS OF 'start'") == 3
    server.rows(f"INSERT INTO {table} VALUES 4")
    assert "would lose" in failure(server, f"ALTER TABLE {table} EXECUTE fast_forward('main', 'side')")
    server.rows(f"ALTER TABLE {table} DROP TAG start")
    server.rows(f"ALTER TABLE {table} DROP BRANCH side")
    assert len(spark.rows(f"SELECT * FROM {table}.refs")) == 1


def test_columns_are_added_beside_each_other(server):
    server.rows("CREATE TABLE crowded (id bigint) WITH (extra_properties = MAP(ARRAY['commit.retry.num-retries'], ARRAY['30']))")
    errors = []

    def add(writer):
        try:
            for step in range(5):
                server.rows(f"ALTER TABLE crowded ADD COLUMN c{writer}_{step} bigint")
                server.rows(f"INSERT INTO crowded (id, c{writer}_{step}) VALUES ({writer}, {step})")
        except Exception as error:
            errors.append(str(error))

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(columns(server, "crowded")) == 21
    for writer in range(4):
        for step in range(5):
            assert server.rows(f"SELECT id, c{writer}_{step} FROM crowded WHERE c{writer}_{step} IS NOT NULL") == [(writer, step)]


def test_what_is_refused(server, failure):
    server.rows("CREATE TABLE stays (id bigint, name varchar, r row(x integer), m map(row(a integer), integer)) WITH (partitioning = ARRAY['id'], sorted_by = ARRAY['name'])")
    server.rows("CREATE VIEW stays_view AS SELECT * FROM stays")
    server.rows("CREATE TABLE single (id bigint)")
    server.rows("CREATE TABLE first (id bigint) WITH (format_version = 1)")
    for change, expected in {
        "ADD COLUMN name varchar": "COLUMN_ALREADY_EXISTS: column 'name' exists already",
        "ADD COLUMN r.X varchar": "COLUMN_ALREADY_EXISTS",
        "ADD COLUMN x.y varchar": "COLUMN_NOT_FOUND: column 'x' does not exist",
        "ADD COLUMN id.y varchar": "COLUMN_NOT_FOUND",
        "ADD COLUMN y varchar AFTER z": "COLUMN_NOT_FOUND: column 'z' does not exist",
        "ADD COLUMN y nope": "TYPE_NOT_FOUND: line 1:32",
        "ADD COLUMN y bigint NOT NULL": "NOT_SUPPORTED",
        "ADD COLUMN m.key.b varchar": "NOT_SUPPORTED: the keys of map 'm' cannot be changed",
        "ADD COLUMN m.other varchar": "NOT_SUPPORTED",
        "DROP COLUMN nam": "COLUMN_NOT_FOUND: column 'nam' does not exist",
        "DROP COLUMN id": "NOT_SUPPORTED: column 'id' cannot be dropped: the table is partitioned by it",
        "DROP COLUMN name": "NOT_SUPPORTED: column 'name' cannot be dropped: the table is sorted by it",
        "DROP COLUMN r.x": "NOT_SUPPORTED: the only field",
        "DROP COLUMN m.value": "NOT_SUPPORTED",
        "RENAME COLUMN id TO name": "COLUMN_ALREADY_EXISTS",
        "RENAME COLUMN a TO b": "COLUMN_NOT_FOUND",
        "ALTER COLUMN id SET DATA TYPE integer": "TYPE_MISMATCH: column 'id' of type long cannot become int",
        "ALTER COLUMN name SET DATA TYPE bigint": "TYPE_MISMATCH",
        "ALTER COLUMN id SET NOT NULL": "NOT_SUPPORTED",
        "ALTER COLUMN id": "SYNTAX_ERROR",
        "SET PROPERTIES partitioning = ARRAY['nope']": "COLUMN_NOT_FOUND",
        "SET PROPERTIES format_version = 1": "INVALID_TABLE_PROPERTY",
        "SET PROPERTIES nope = 1": "INVALID_TABLE_PROPERTY",
        "SET PROPERTIES nope = DEFAULT": "INVALID_TABLE_PROPERTY",
        "SET PROPERTIES location = '/x'": "NOT_SUPPORTED",
        "SET PROPERTIES extra_properties = DEFAULT": "INVALID_TABLE_PROPERTY",
        "EXECUTE nothing": "PROCEDURE_NOT_FOUND",
        "FOO": "SYNTAX_ERROR: line 1:19",
    }.items():
        assert expected in failure(server, f"ALTER TABLE stays {change}"), (change, failure(server, f"ALTER TABLE stays {change}"))
    for sql, expected in {
        "ALTER TABLE staus ADD COLUMN x bigint": "TABLE_NOT_FOUND: table 'staus' does not exist (did you mean 'stays'?)",
        "ALTER TABLE stays_view ADD COLUMN x bigint": "'stays_view' is a view",
        "ALTER TABLE single DROP COLUMN id": "NOT_SUPPORTED: the only column of a table cannot be dropped",
        "ALTER TABLE first SET PROPERTIES partitioning = ARRAY['id']": "format version 1",
        "COMMENT ON VIEW stays IS 'x'": "TABLE_NOT_FOUND",
        "COMMENT ON TABLE stays 'x'": "SYNTAX_ERROR",
    }.items():
        assert expected in failure(server, sql), (sql, failure(server, sql))
    server.rows("ALTER TABLE IF EXISTS nothing ADD COLUMN x bigint")
    assert len(columns(server, "stays")) == 4
