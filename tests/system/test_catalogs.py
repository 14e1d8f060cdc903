"""Catalogs besides the embedded one, on real stores: the same behaviour of each, as far as its kind can do it, on one coordinator and two executors.

`catalog_hadoop` lies in local files, the others in buckets of MinIO; the matrix grows with each store and each kind.
"""

import concurrent.futures
import json
import re
import signal
import threading
import time

import pytest

from nunatak_testing import tpch
from nunatak_testing.server import Cluster, nunatak
from nunatak_testing.spark import Spark
from servers.minio import Minio

SCALE = "0.1"
MODES = ["local", "pipelined", "fault_tolerant"]
HADOOP = ["local_hadoop", "minio_hadoop"]
SQL = ["minio_sql"]
CATALOGS = HADOOP + SQL


def section(name, values):
    return f"[catalog.{name}]\n" + "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in values.items())


@pytest.fixture(scope="module")
def minio(tmp_path_factory):
    with Minio(tmp_path_factory.mktemp("minio"), "lake", "other") as minio:
        yield minio


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return tmp_path_factory.mktemp("hadoop") / "warehouse"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, minio, warehouse):
    folder = tmp_path_factory.mktemp("cluster")
    wrong = minio.settings | {"s3.secret-access-key": "wrong"}
    config = folder / "nunatak.toml"
    config.write_text(
        section("local_hadoop", {"type": "hadoop", "warehouse": f"file://{warehouse}"})
        + section("minio_hadoop", {"type": "hadoop", "warehouse": "s3://lake/hadoop", **minio.settings})
        + section("minio_sql", {"type": "sql", "uri": f"sqlite://{folder}/sql.sqlite", "warehouse": "s3://lake/sql", **minio.settings})
        + section("denied", {"type": "hadoop", "warehouse": "s3://lake/hadoop", **wrong})
        + section("missing", {"type": "hadoop", "warehouse": "s3://nowhere/hadoop", **minio.settings})
        + section("dead", {"type": "hadoop", "warehouse": "s3://lake/x", **minio.settings, "s3.endpoint": "http://127.0.0.1:9", "s3.retry.timeout-ms": "500"})
    )
    cluster = Cluster(folder, "--config", config, executors=2, slots=1).start()
    tpch.load(cluster, scale=SCALE)
    yield cluster
    cluster.stop()


@pytest.fixture
def schema(cluster, request):
    """Makes a schema of the test's name in a catalog."""
    made = []

    def make(catalog):
        name = f"{catalog}.{re.sub(r'[^a-z0-9]+', '_', request.node.name).strip('_')[:40]}"
        cluster.rows(f"CREATE SCHEMA {name}")
        made.append(name)
        return name

    yield make


def headers(mode):
    return {"nunatak-session": f"execution_mode={mode}"}


@pytest.mark.parametrize("catalog", CATALOGS)
def test_schemas(cluster, failure, catalog):
    cluster.rows(f"CREATE SCHEMA {catalog}.first")
    assert "SCHEMA_ALREADY_EXISTS" in failure(cluster, f"CREATE SCHEMA {catalog}.first")
    cluster.rows(f"CREATE SCHEMA IF NOT EXISTS {catalog}.first")
    assert ("first",) in cluster.rows(f"SHOW SCHEMAS FROM {catalog}")
    assert cluster.rows(f"SHOW TABLES FROM {catalog}.first") == []
    cluster.rows(f"CREATE TABLE {catalog}.first.t (a bigint)")
    assert "SCHEMA_NOT_EMPTY" in failure(cluster, f"DROP SCHEMA {catalog}.first")
    cluster.rows(f"DROP TABLE {catalog}.first.t")
    cluster.rows(f"DROP SCHEMA {catalog}.first")
    assert ("first",) not in cluster.rows(f"SHOW SCHEMAS FROM {catalog}")
    assert "SCHEMA_NOT_FOUND" in failure(cluster, f"DROP SCHEMA {catalog}.first")
    for sql in (f"SHOW TABLES FROM {catalog}.first", f"CREATE TABLE {catalog}.first.t (a bigint)"):
        assert "SCHEMA_NOT_FOUND" in failure(cluster, sql)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("catalog", CATALOGS)
def test_life_of_a_table(cluster, schema, catalog, mode):
    """Every kind of commit, read by every way of execution."""
    name = f"{schema(catalog)}.lines"
    run = lambda sql: cluster.rows(sql.replace("@", name), headers=headers(mode))
    run("CREATE TABLE @ WITH (partitioning = ARRAY['l_shipmode'], sorted_by = ARRAY['l_orderkey'], format_version = 3) AS SELECT * FROM lake.tpch.lineitem")
    checks = "count(*), sum(l_extendedprice), count(DISTINCT l_orderkey)"
    assert run(f"SELECT {checks} FROM @") == run(f"SELECT {checks} FROM lake.tpch.lineitem")
    first = run('SELECT snapshot_id FROM @'.replace("@", name.rpartition(".")[0] + '."lines$snapshots"'))[0][0]
    count = run("SELECT count(*) FROM @")[0][0]
    run("DELETE FROM @ WHERE l_orderkey % 10 = 0")
    run("UPDATE @ SET l_tax = l_tax + 1 WHERE l_orderkey % 10 = 1")
    run("MERGE INTO @ t USING (SELECT * FROM lake.tpch.lineitem WHERE l_orderkey % 10 = 0) s ON t.l_orderkey = s.l_orderkey WHEN NOT MATCHED THEN INSERT VALUES (%s)"
        .replace("%s", ", ".join(f"s.{row[0]}" for row in run("DESCRIBE lake.tpch.lineitem"))))
    assert run(f"SELECT {checks} FROM @") == run(f"SELECT {checks} FROM lake.tpch.lineitem")
    taxed = "SELECT sum(l_tax) - (SELECT sum(l_tax) FROM lake.tpch.lineitem) FROM @"
    assert run(taxed) == run("SELECT cast(count(*) AS decimal(15, 2)) FROM lake.tpch.lineitem WHERE l_orderkey % 10 = 1")
    run("ALTER TABLE @ ADD COLUMN note varchar")
    run("INSERT INTO @ (l_orderkey, note) VALUES (-1, 'mine')")
    run("ALTER TABLE @ EXECUTE optimize")
    assert run("SELECT count(*), count(note) FROM @") == [(count + 1, 1)]
    assert run(f"SELECT count(*) FROM @ FOR VERSION AS OF {first}") == [(count,)]
    run("ALTER TABLE @ EXECUTE expire_snapshots(retention_threshold => '0s')")
    assert run("SELECT count(*), count(note) FROM @") == [(count + 1, 1)]
    assert run("SELECT l_shipmode, count(*) FROM @ JOIN lake.tpch.orders ON l_orderkey = o_orderkey GROUP BY 1 ORDER BY 1") == run(
        "SELECT l_shipmode, count(*) FROM lake.tpch.lineitem GROUP BY 1 ORDER BY 1"
    )
    run("DROP TABLE @")
    assert cluster.rows(f"SHOW TABLES FROM {name.rpartition('.')[0]}") == []


@pytest.mark.parametrize("catalog", CATALOGS)
@pytest.mark.parametrize("table", ["plain", '"Upper Case"', '"dots.and spaces"', '"übung %20 #1"', '"select"'])
def test_names(cluster, schema, catalog, table):
    name = f"{schema(catalog)}.{table}"
    cluster.rows(f"CREATE TABLE {name} AS SELECT 1 AS a")
    cluster.rows(f"INSERT INTO {name} VALUES (2)")
    assert cluster.value(f"SELECT sum(a) FROM {name}") == 3
    assert cluster.rows(f"SHOW TABLES FROM {name.split('.')[0]}.{name.split('.')[1]}") == [(table.strip('"'),)]
    cluster.rows(f"DROP TABLE {name}")
    # The same name is that of another table now.
    cluster.rows(f"CREATE TABLE {name} AS SELECT 'x' AS b")
    assert cluster.rows(f"SELECT * FROM {name}") == [("x",)]


@pytest.mark.parametrize("catalog", CATALOGS)
def test_commits_at_the_same_time(cluster, schema, catalog):
    """None of 200 is lost, whichever of them is told to have failed."""
    name = f"{schema(catalog)}.t"
    properties = "extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms'], ARRAY['100', '5'])"
    cluster.rows(f"CREATE TABLE {name} (writer bigint, n bigint) WITH ({properties})")

    def insert(number):
        try:
            cluster.rows(f"INSERT INTO {name} VALUES ({number % 8}, {number})", headers=headers("local"))
            return number
        except Exception as error:
            assert "CONFLICT" in str(error), error

    with concurrent.futures.ThreadPoolExecutor(8) as writers:
        done = [number for number in writers.map(insert, range(200)) if number is not None]
    assert sorted(n for (n,) in cluster.rows(f"SELECT n FROM {name}")) == sorted(done)
    assert len(done) > 190


@pytest.mark.parametrize("catalog", HADOOP)
def test_what_folders_cannot_do(cluster, schema, failure, catalog):
    schema = schema(catalog)
    cluster.rows(f"CREATE TABLE {schema}.t (a bigint)")
    for sql in (
        f"ALTER TABLE {schema}.t RENAME TO {schema}.u",
        f"CREATE VIEW {schema}.v AS SELECT 1 AS x",
        f"CREATE TABLE {schema}.u (a bigint) WITH (location = 's3://lake/elsewhere')",
        f"CALL {catalog}.system.unregister_table('{schema.split('.')[1]}', 't')",
        f"CREATE TABLE {schema}.\"a/b\" (a bigint)",
        f"CREATE TABLE {schema}.\"_a\" (a bigint)",
    ):
        assert "NOT_SUPPORTED" in failure(cluster, sql), sql
    assert cluster.rows(f"SHOW TABLES FROM {schema}") == [("t",)]


def test_views_and_new_names_where_there_are_some(cluster, schema):
    schema = schema("minio_sql")
    cluster.rows(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    cluster.rows(f"CREATE VIEW {schema}.v AS SELECT a + 1 AS b FROM {schema}.t")
    cluster.rows(f"ALTER TABLE {schema}.t RENAME TO {schema}.u")
    assert "TABLE_NOT_FOUND" in str(pytest.raises(Exception, cluster.rows, f"SELECT * FROM {schema}.v").value)
    cluster.rows(f"CREATE OR REPLACE VIEW {schema}.v AS SELECT a + 1 AS b FROM {schema}.u")
    assert cluster.rows(f"SELECT * FROM {schema}.v") == [(2,)]


def test_catalogs_side_by_side(cluster, schema):
    assert {"lake", *CATALOGS} <= {name for (name,) in cluster.rows("SHOW CATALOGS")}
    names = [schema(catalog) for catalog in CATALOGS]
    for number, name in enumerate(names):
        cluster.rows(f"CREATE TABLE {name}.t AS SELECT o_orderkey AS k, {number} AS n FROM lake.tpch.orders")
    joined = " JOIN ".join(f"{name}.t t{number}{' USING (k)' if number else ''}" for number, name in enumerate(names))
    for mode in MODES:
        assert cluster.rows(f"SELECT count(*), max(t1.n), max(t2.n) FROM {joined}", headers=headers(mode)) == [(150_000, 1, 2)]


@pytest.mark.parametrize(
    ("catalog", "code", "message"),
    [
        ("denied", "STORAGE_ACCESS_DENIED", "storage refused access to 's3://lake/hadoop/s"),
        ("missing", "STORAGE_UNAVAILABLE", "the bucket of 's3://nowhere/hadoop/s"),
        ("dead", "STORAGE_UNAVAILABLE", "storage of 's3://lake/x/s"),
    ],
    ids=["denied", "missing", "dead"],
)
def test_a_catalog_that_cannot_be_reached(cluster, failure, catalog, code, message):
    """Its error says what and where; the others go on."""
    for sql in (f"CREATE SCHEMA {catalog}.s", f"SELECT * FROM {catalog}.s.t"):
        text = failure(cluster, sql)
        assert code in text and message in text
    assert cluster.value("SELECT count(*) FROM lake.tpch.region") == 5


def test_minio_restarts_while_a_query_reads(cluster, schema, minio):
    name = f"{schema('minio_hadoop')}.t"
    cluster.rows(f"CREATE TABLE {name} AS SELECT * FROM lake.tpch.lineitem")
    expected = cluster.rows("SELECT count(*), sum(l_extendedprice) FROM lake.tpch.lineitem")
    minio.stop(signal.SIGKILL)
    restart = threading.Timer(2, minio.start)
    restart.start()
    started = time.monotonic()
    assert cluster.rows(f"SELECT count(*), sum(l_extendedprice) FROM {name}") == expected
    assert time.monotonic() - started > 1.5, "it was not away"
    restart.join()
    cluster.rows(f"INSERT INTO {name} SELECT * FROM lake.tpch.lineitem WHERE l_orderkey < 10")


def test_credentials_are_nowhere(cluster, schema, minio):
    name = f"{schema('minio_sql')}.t"
    cluster.rows(f"CREATE TABLE {name} AS SELECT * FROM lake.tpch.orders", headers=headers("fault_tolerant"))
    for mode in MODES:
        assert minio.password not in cluster.value(f"EXPLAIN ANALYZE VERBOSE SELECT count(*), max(o_clerk) FROM {name}", headers=headers(mode))
    assert all(minio.password not in process.text() for process in cluster.everybody())
    shown = nunatak("config", "--config", cluster.data_dir.parent / "nunatak.toml", "--data-dir", cluster.data_dir)
    assert minio.password not in shown.stdout and minio.endpoint in shown.stdout and shown.returncode == 0


def test_spark_shares_a_hadoop_catalog(cluster, schema, warehouse):
    """Spark reads what we write and changes it, by the folders alone; we read that."""
    schema = schema("local_hadoop")
    cluster.rows(f"CREATE TABLE {schema}.t WITH (partitioning = ARRAY['bucket(a, 4)']) AS SELECT o_orderkey AS a, o_clerk AS b FROM lake.tpch.orders WHERE o_orderkey < 1000")
    cluster.rows(f"DELETE FROM {schema}.t WHERE a % 3 = 0")
    settings = {
        "spark.sql.catalog.folders": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.folders.type": "hadoop",
        "spark.sql.catalog.folders.warehouse": f"file://{warehouse}",
    }
    theirs = f"folders.{schema.partition('.')[2]}"
    check = "SELECT count(*), sum(a), min(b) FROM {}.t"
    with Spark(cluster.data_dir) as spark:
        in_spark = lambda sql: spark.rows(sql, settings)
        assert in_spark(check.format(theirs)) == cluster.rows(check.format(schema))
        in_spark(f"INSERT INTO {theirs}.t VALUES (-1, 'spark')")
        in_spark(f"DELETE FROM {theirs}.t WHERE a = 1")
        assert in_spark(check.format(theirs)) == cluster.rows(check.format(schema))
        cluster.rows(f"UPDATE {schema}.t SET b = 'ours' WHERE a = -1")
        in_spark(f"REFRESH TABLE {theirs}.t")
        assert in_spark(f"SELECT b FROM {theirs}.t WHERE a = -1") == [("ours",)]
        in_spark(f"CREATE TABLE {theirs}.u (x INT) USING iceberg")
        in_spark(f"INSERT INTO {theirs}.u VALUES (7)")
        assert cluster.rows(f"SELECT * FROM {schema}.u") == [(7,)]
        assert sorted(cluster.rows(f"SHOW TABLES FROM {schema}")) == [("t",), ("u",)]
        assert {row[1] for row in in_spark(f"SHOW TABLES IN {theirs}")} == {"t", "u"}
        in_spark(f"DROP TABLE {theirs}.u")
        assert cluster.rows(f"SHOW TABLES FROM {schema}") == [("t",)]
