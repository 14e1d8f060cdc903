"""Trino 476 and nunatak over the same catalogs: what either writes, the other reads and changes.

Catalogs have the same name in both: `rest` is Iceberg's own REST server over MinIO, `jdbc` a database, `ours` a catalog of ours that Trino reaches by our REST server,
and `hive` a Hive Metastore over HDFS.
"""

import concurrent.futures
import datetime
import re
import uuid

import pyarrow
import pytest

from nunatak_testing.answers import difference
from nunatak_testing.server import MODES, Server, in_mode
from servers.hive import Hive
from servers.postgres import Postgres
from servers.rest import Rest
from servers.trino import in_hdfs, in_minio

CATALOGS = ["rest", "jdbc", "ours", "hive"]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Every type that both have, and a row of values of them around a number.
TYPES = {
    "b": "boolean",
    "i": "integer",
    "l": "bigint",
    "r": "real",
    "d": "double",
    "small": "decimal(9, 2)",
    "large": "decimal(38, 10)",
    "s": "varchar",
    "bin": "varbinary",
    "u": "uuid",
    "day": "date",
    "at": "timestamp(6)",
    "tz": "timestamp(6) with time zone",
    "t": "time(6)",
    "arr": "array(integer)",
    "m": "map(varchar, bigint)",
    "rec": "row(x integer, y varchar)",
    "deep": "array(row(k varchar, v array(double)))",
}
VALUES = (
    "true, {0}, {0}, real '1.5', -2.5e0, decimal '1.25', decimal '12345678901234567890.0123456789', 'text {0}', X'00ff', uuid '12151fd2-7586-11e9-8f9e-2a86e4085a59',"
    " date '2024-02-29', timestamp '2024-0{0}-01 01:02:03.123456', timestamp '2024-01-01 01:02:03.123456 UTC', time '01:02:03.123456', array[{0}, NULL],"
    " map(array['k', 'l'], array[{0}, NULL]), row({0}, 'a'), array[row('k', array[1.5e0, NULL]), NULL]"
)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        postgres.create_database("lake")
        yield postgres


@pytest.fixture(scope="module")
def rest(tmp_path_factory, minio):
    with Rest(tmp_path_factory.mktemp("rest"), "s3://lake/rest", minio) as rest:
        yield rest


@pytest.fixture(scope="module")
def hive(tmp_path_factory, postgres, hdfs):
    # Without it Trino can drop no column but the last ones.
    settings = {"metastore.disallow.incompatible.col.type.changes": "false"}
    with Hive(tmp_path_factory.mktemp("hive"), postgres, hdfs=hdfs, settings=settings) as hive:
        yield hive


@pytest.fixture(scope="module")
def server(tmp_path_factory, minio, postgres, rest, hive, hdfs):
    folder = tmp_path_factory.mktemp("server")
    keys, names = ("".join(f'"{name}" = "{value}"\n' for name, value in store.settings.items()) for store in (minio, hdfs))
    config = folder / "nunatak.toml"
    config.write_text(
        f"""
        [catalog.rest]
        type = "rest"
        uri = "{rest.uri}"
        {keys}
        [catalog.jdbc]
        type = "sql"
        uri = "jdbc:postgresql://127.0.0.1:{postgres.port}/lake"
        "jdbc.user" = "{postgres.user}"
        "jdbc.password" = "{postgres.password}"
        warehouse = "s3://lake/jdbc"
        {keys}
        [catalog.ours]
        type = "sql"
        uri = "sqlite://{folder}/ours.sqlite"
        warehouse = "s3://lake/ours"
        {keys}
        [catalog.hive]
        type = "hive"
        uri = "{hive.uri}"
        warehouse = "{hdfs.uri}/of_trino"
        {names}
        """
    )
    with Server(folder / "data", "--config", config) as server:
        for catalog in ["lake", *CATALOGS]:
            server.rows(f"CREATE SCHEMA {catalog}.t")
        server.rows(f"CREATE TABLE lake.t.numbers AS SELECT n FROM (VALUES {', '.join(map(str, range(1, 1001)))}) AS v(n)")
        yield server


@pytest.fixture(scope="module")
def trino(trino_server, server, minio, hdfs, postgres, rest, hive):
    catalogs = {
        "rest": {"iceberg.catalog.type": "rest", "iceberg.rest-catalog.uri": rest.uri},
        "hive": {"iceberg.catalog.type": "hive_metastore", "hive.metastore.uri": hive.uri},
        "jdbc": {
            "iceberg.catalog.type": "jdbc",
            "iceberg.jdbc-catalog.catalog-name": "jdbc",
            "iceberg.jdbc-catalog.driver-class": "org.postgresql.Driver",
            "iceberg.jdbc-catalog.connection-url": f"jdbc:postgresql://127.0.0.1:{postgres.port}/lake",
            "iceberg.jdbc-catalog.connection-user": postgres.user,
            "iceberg.jdbc-catalog.connection-password": postgres.password,
            "iceberg.jdbc-catalog.default-warehouse-dir": "s3://lake/jdbc",
        },
        "ours": {
            "iceberg.catalog.type": "rest",
            "iceberg.rest-catalog.uri": f"http://{server.http}/iceberg",
            "iceberg.rest-catalog.warehouse": "ours",
        },
    }
    stores = {"hive": in_hdfs(hdfs)}
    with trino_server.catalogs({name: properties | stores.get(name, in_minio(minio)) for name, properties in catalogs.items()}):
        yield trino_server


def plain(value, type):
    """A value of ours as Trino's client gives it, by its type in Arrow."""
    if value is None:
        return None
    if pyarrow.types.is_struct(type):
        return tuple(plain(value[field.name], field.type) for field in type)
    if pyarrow.types.is_map(type):
        return {key: plain(of_key, type.item_type) for key, of_key in value}
    if pyarrow.types.is_list(type) or pyarrow.types.is_large_list(type):
        return [plain(part, type.value_type) for part in value]
    if pyarrow.types.is_string(type) and UUID.fullmatch(value):
        return uuid.UUID(value)
    return value


def rows(server, sql, mode):
    """The rows of a query in a mode of ours, as Trino's client gives them."""
    table = server.arrow(sql, headers=in_mode(mode))
    return list(zip(*([plain(value, column.type) for value in column.to_pylist()] for column in table.columns)))


def alike(server, trino, sql):
    """The rows of a query, which are the same in Trino and in all modes of ours."""
    theirs = trino.rows(sql)
    for mode in MODES:
        assert difference(rows(server, sql, mode), theirs) is None, f"{sql} ({mode})"
    return theirs


def of(table, kind):
    """The name of a metadata table."""
    schema, _, name = table.rpartition(".")
    return f'{schema}."{name}${kind}"'


def same_files(server, trino, table, dropped=False):
    """Both have the same snapshots and files in it. Where columns were dropped, Trino 476 fails to show the entries of its own files."""
    for kind, what in (
        ("snapshots", "snapshot_id, parent_id, operation"),
        ("history", "snapshot_id, is_current_ancestor"),
        ("files", "content, file_path, record_count, file_size_in_bytes"),
        ("manifests", "path, length, added_data_files_count, existing_data_files_count, deleted_data_files_count"),
        ("entries", "status, snapshot_id, sequence_number, file_sequence_number"),
        ("partitions", "record_count, file_count"),
        ("refs", "name, type, snapshot_id"),
    ):
        if not (dropped and kind == "entries"):
            assert alike(server, trino, f"SELECT {what} FROM {of(table, kind)}"), kind


def distinct_counts(engine, table):
    """The number of distinct values that SHOW STATS has for each column."""
    return {row[0]: row[2] for row in engine.rows(f"SHOW STATS FOR {table}") if row[0] is not None}


@pytest.mark.parametrize("catalog", CATALOGS)
def test_tables_of_trino(server, trino, catalog):
    """All types, partitioned, with deletes beside the rows: we read them and change them in every way, and Trino reads that."""
    table = f"{catalog}.t.theirs"
    columns = ", ".join(f"{name} {type}" for name, type in TYPES.items())
    partitioning = "partitioning = ARRAY['bucket(l, 2)', 'month(at)', 'truncate(s, 2)'], sorted_by = ARRAY['i']"
    trino.rows(f"CREATE TABLE {table} ({columns}) WITH ({partitioning})")
    nulls = ", ".join("NULL" for _ in TYPES)
    trino.rows(f"INSERT INTO {table} VALUES ({VALUES.format(1)}), ({VALUES.format(2)}), ({VALUES.format(3)}), ({VALUES.format(4)}), ({nulls})")
    everything = f"SELECT * FROM {table}"
    assert len(alike(server, trino, everything)) == 5
    trino.rows(f"DELETE FROM {table} WHERE i = 1")
    trino.rows(f"UPDATE {table} SET s = 'changed', arr = NULL WHERE i = 2")
    same_files(server, trino, table)
    trino.rows(f"ALTER TABLE {table} ADD COLUMN late varchar")
    trino.rows(f"ALTER TABLE {table} ALTER COLUMN r SET DATA TYPE double")
    trino.rows(f"ALTER TABLE {table} RENAME COLUMN bin TO bytes")
    trino.rows(f"ALTER TABLE {table} DROP COLUMN b")
    assert len(alike(server, trino, everything)) == 4
    for condition in ("l = 3", "at >= TIMESTAMP '2024-01-01 00:00:00'", "s LIKE 'ch%'", "s IS NULL", "rec.x = 4", "day = DATE '2024-02-29'", "small > 1"):
        alike(server, trino, f"SELECT i, s FROM {table} WHERE {condition}")
    same_files(server, trino, table, dropped=True)

    server.rows(f"INSERT INTO {table} SELECT * FROM {table} WHERE i = 3", headers=in_mode("pipelined"))
    server.rows(f"UPDATE {table} SET late = 'ours', i = 30 WHERE i = 3 AND l = 3", headers=in_mode("fault_tolerant"))
    server.rows(f"DELETE FROM {table} WHERE s = 'changed'")
    merged = "USING (VALUES (4, 'merged'), (50, 'new')) AS c(i, s) ON t.i = c.i"
    server.rows(f"MERGE INTO {table} AS t {merged} WHEN MATCHED THEN UPDATE SET s = c.s WHEN NOT MATCHED THEN INSERT (i, s) VALUES (c.i, c.s)")
    assert sorted(alike(server, trino, f"SELECT i, s, late FROM {table} WHERE i IS NOT NULL")) == [
        (4, "merged", None), (30, "text 3", "ours"), (30, "text 3", "ours"), (50, "new", None),
    ]
    alike(server, trino, everything)
    same_files(server, trino, table, dropped=True)
    for change in ("ADD COLUMN more date", "RENAME COLUMN late TO note", "ALTER COLUMN small SET DATA TYPE decimal(12, 2)", "ADD COLUMN rec.z double", "DROP COLUMN d"):
        server.rows(f"ALTER TABLE {table} {change}")
    server.rows(f"ALTER TABLE {table} SET PROPERTIES partitioning = ARRAY['day(at)'], sorted_by = ARRAY['l']")
    server.rows(f"INSERT INTO {table} (i, more, note) VALUES (60, DATE '2024-03-01', 'late')")
    alike(server, trino, everything)
    server.rows(f"ALTER TABLE {table} EXECUTE optimize")
    alike(server, trino, everything)
    trino.rows(f"UPDATE {table} SET more = DATE '2024-03-02' WHERE i = 60")
    assert alike(server, trino, f"SELECT note, more FROM {table} WHERE i = 60") == [("late", datetime.date(2024, 3, 2))]
    trino.rows(f"DROP TABLE {table}")
    assert ("theirs",) not in server.rows(f"SHOW TABLES FROM {catalog}.t")


@pytest.mark.parametrize(("catalog", "mode"), [*((catalog, "merge-on-read") for catalog in CATALOGS), ("rest", "copy-on-write")])
def test_tables_of_ours(server, trino, catalog, mode):
    """Columns, partitions and orders that have changed, and rows that are deleted in files of deletes or are no longer in the data files."""
    table = f"{catalog}.t.ours_{mode.replace('-', '_')}"
    modes = [f"write.{change}.mode" for change in ("delete", "update", "merge")]
    properties = f"extra_properties = MAP(ARRAY{modes}, ARRAY{[mode] * 3})"
    columns = "id integer NOT NULL, name varchar, f real, price decimal(9, 2), at timestamp(6), rec row(x integer, y varchar), gone varchar"
    server.rows(f"CREATE TABLE {table} ({columns}) WITH (partitioning = ARRAY['month(at)', 'bucket(id, 2)'], sorted_by = ARRAY['name'], {properties})")
    at = "CASE WHEN n % 3 = 0 THEN TIMESTAMP '2024-01-31 23:59:59.999999' WHEN n % 3 = 1 THEN TIMESTAMP '2024-02-01 00:00:00' ELSE TIMESTAMP '2024-02-02 12:00:00' END"
    values = f"SELECT n, concat('n', CAST(n % 10 AS varchar)), n / 2.0, n, {at}, struct(n, 'r'), 'x' FROM lake.t.numbers WHERE n <= 100"
    server.rows(f"INSERT INTO {table} {values}")
    for change in (
        "ADD COLUMN extra date", "RENAME COLUMN name TO title", "ALTER COLUMN id SET DATA TYPE bigint", "ALTER COLUMN f SET DATA TYPE double",
        "ALTER COLUMN price SET DATA TYPE decimal(18, 2)", "ADD COLUMN rec.z double", "ALTER COLUMN rec.y FIRST", "DROP COLUMN gone", "ALTER COLUMN extra FIRST",
        "SET PROPERTIES partitioning = ARRAY['day(at)', 'truncate(title, 1)'], sorted_by = ARRAY['id DESC']",
    ):
        server.rows(f"ALTER TABLE {table} {change}")
    late = "DATE '2024-05-05', 3000000001, 'late', 1.5e0, 12345678901.25, TIMESTAMP '2024-05-05 05:05:05.123456', struct('y', 1, 0.5e0)"
    server.rows(f"INSERT INTO {table} VALUES ({late})")
    server.rows(f"DELETE FROM {table} WHERE id % 4 = 0")
    server.rows(f"UPDATE {table} SET title = 'changed', extra = DATE '2024-01-01' WHERE id % 10 = 3", headers=in_mode("pipelined"))
    server.rows(f"MERGE INTO {table} AS t USING (VALUES (5, 'm'), (200, 'new')) AS c(id, title) ON t.id = c.id"
                " WHEN MATCHED THEN UPDATE SET title = c.title WHEN NOT MATCHED THEN INSERT (id, title) VALUES (c.id, c.title)", headers=in_mode("fault_tolerant"))
    everything = f"SELECT * FROM {table}"
    assert len(alike(server, trino, everything)) == 77
    deletes = server.value(f"SELECT count(*) FROM {of(table, 'files')} WHERE content = 1")
    assert (deletes > 0) == (mode == "merge-on-read")
    for condition in ("id = 7", "title = 'changed'", "at < TIMESTAMP '2024-02-02 00:00:00'", "extra IS NULL AND id > 40", "rec.x BETWEEN 3 AND 9", "price > 12345678900"):
        assert alike(server, trino, f"SELECT id, title FROM {table} WHERE {condition}")
    same_files(server, trino, table, dropped=True)

    trino.rows(f"UPDATE {table} SET extra = DATE '2020-01-01' WHERE id < 10")
    trino.rows(f"DELETE FROM {table} WHERE title = 'n5'")
    trino.rows(f"MERGE INTO {table} t USING (VALUES (7, 'm'), (201, 'new')) c(id, title) ON t.id = c.id"
               " WHEN MATCHED THEN UPDATE SET title = c.title WHEN NOT MATCHED THEN INSERT (id, title) VALUES (c.id, c.title)")
    alike(server, trino, everything)
    server.rows(f"DELETE FROM {table} WHERE id IN (1, 200, 201)")
    alike(server, trino, everything)
    trino.rows(f"ALTER TABLE {table} EXECUTE optimize")
    alike(server, trino, everything)
    same_files(server, trino, table, dropped=True)


@pytest.mark.parametrize("catalog", CATALOGS)
def test_statistics(server, trino, catalog):
    """Numbers of distinct values that either has counted are shown by the other."""
    table = f"{catalog}.t.counted"
    server.rows(f"CREATE TABLE {table} AS SELECT n AS id, n % 7 AS few, concat('n', CAST(n % 100 AS varchar)) AS name FROM lake.t.numbers")
    server.rows(f"ANALYZE {table}")
    assert distinct_counts(trino, table) == {"id": 1000, "few": 7, "name": 100}
    trino.rows(f"INSERT INTO {table} SELECT 2000 + n, 100 + n, 'm' FROM UNNEST(sequence(1, 50)) AS s(n)")
    trino.rows(f"ANALYZE {table}")
    counted = {"id": 1050, "few": 57, "name": 101}
    assert distinct_counts(server, table) == distinct_counts(trino, table) == counted
    server.rows(f"DELETE FROM {table} WHERE few = 3")
    same_files(server, trino, table)


# In a metastore Trino has views of its own only.
@pytest.mark.parametrize("catalog", [catalog for catalog in CATALOGS if catalog != "hive"])
def test_views(server, trino, catalog):
    schema = f"{catalog}.t"
    server.rows(f"CREATE TABLE {schema}.seen AS SELECT n AS a FROM lake.t.numbers WHERE n < 4")
    server.rows(f"CREATE VIEW {schema}.ours AS SELECT a + 1 AS b FROM {schema}.seen WHERE a > 1")
    assert sorted(alike(server, trino, f"SELECT b FROM {schema}.ours")) == [(3,), (4,)]
    trino.rows(f"CREATE VIEW {schema}.theirs AS SELECT a * 2 AS c FROM {schema}.seen WHERE a < 3")
    assert sorted(alike(server, trino, f"SELECT c FROM {schema}.theirs")) == [(2,), (4,)]
    server.rows(f"CREATE OR REPLACE VIEW {schema}.theirs AS SELECT a * 3 AS c FROM {schema}.seen")
    assert sorted(alike(server, trino, f"SELECT c FROM {schema}.theirs")) == [(3,), (6,), (9,)]
    trino.rows(f"DROP VIEW {schema}.ours")
    assert {("theirs",), ("seen",)} <= set(server.rows(f"SHOW TABLES FROM {schema}"))
    assert ("ours",) not in server.rows(f"SHOW TABLES FROM {schema}")


def test_views_of_a_metastore(server, trino, failure):
    """Either leaves alone those of the other."""
    server.rows("CREATE TABLE hive.t.seen AS SELECT 1 AS a")
    server.rows("CREATE VIEW hive.t.ours AS SELECT a FROM hive.t.seen")
    trino.rows("CREATE VIEW hive.t.theirs AS SELECT a FROM hive.t.seen")
    assert trino.rows("SELECT * FROM hive.t.theirs") == server.rows("SELECT * FROM hive.t.ours") == [(1,)]
    assert ("theirs",) not in server.rows("SHOW TABLES FROM hive.t") and ("seen",) in trino.rows("SHOW TABLES FROM hive.t")
    for sql in ("SELECT * FROM hive.t.theirs", "DROP VIEW hive.t.theirs", "CREATE OR REPLACE VIEW hive.t.theirs AS SELECT 2 AS a"):
        failure(server, sql)
    with pytest.raises(Exception, match="Not an Iceberg table: t.ours"):
        trino.rows("SELECT * FROM hive.t.ours")
    assert trino.rows("SELECT * FROM hive.t.theirs") == [(1,)]


@pytest.mark.parametrize("catalog", CATALOGS)
def test_commits_at_the_same_time(server, trino, catalog):
    """Both write to one table at once, and nothing is lost."""
    table = f"{catalog}.t.shared"
    server.rows(f"CREATE TABLE {table} (writer varchar, n bigint)")

    def insert(writer, engine):
        for n in range(6):
            engine.rows(f"INSERT INTO {table} VALUES ('{writer}', {n})")

    with concurrent.futures.ThreadPoolExecutor(2) as writers:
        for done in [writers.submit(insert, "ours", server), writers.submit(insert, "theirs", trino)]:
            done.result()
    assert sorted(alike(server, trino, f"SELECT writer, count(DISTINCT n), count(*) FROM {table} GROUP BY 1")) == [("ours", 6, 6), ("theirs", 6, 6)]
