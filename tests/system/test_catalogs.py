"""Catalogs besides the embedded one, on real stores: the same behaviour of each, as far as its kind can do it, on one coordinator and two executors.

Catalogs are called by their store and their kind; the matrix grows with each of both.
"""

import concurrent.futures
import contextlib
import http.server
import re
import signal
import sqlite3
import threading
import time

import pyarrow
import pytest
from pyiceberg.catalog import load_catalog

from nunatak_testing import tpch
from nunatak_testing.server import MODES, Cluster, Server, in_mode, nunatak, section
from nunatak_testing.spark import Spark
from servers.hive import Hive
from servers.minio import Minio
from servers.postgres import Postgres
from servers.rest import Rest, aws_jars

SCALE = "0.1"
HADOOP = ["local_hadoop", "minio_hadoop", "hdfs_hadoop"]
SQL = ["local_sql", "local_postgres", "minio_sql", "hdfs_postgres"]
REST = ["local_rest", "local_ours", "minio_rest", "hdfs_rest"]
HIVE = ["local_hive", "minio_hive", "hdfs_hive"]
CATALOGS = HADOOP + SQL + REST + HIVE
SLOW = ["minio_hive", "hdfs_hive"]
CREDENTIAL = "engine:s3cr3t-0f-engine"


@pytest.fixture(scope="module")
def minio(tmp_path_factory):
    with Minio(tmp_path_factory.mktemp("minio"), "lake", "other") as minio:
        yield minio


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return tmp_path_factory.mktemp("hadoop") / "warehouse"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        postgres.create_database("catalog")
        yield postgres


@pytest.fixture(scope="module")
def rest_local(tmp_path_factory):
    """A REST catalog on local files."""
    folder = tmp_path_factory.mktemp("rest_local")
    with Rest(folder, f"file://{folder}/warehouse") as rest:
        yield rest


@pytest.fixture(scope="module")
def rest_minio(tmp_path_factory, minio):
    """A REST catalog in a bucket, whose clients have keys of their own."""
    with Rest(tmp_path_factory.mktemp("rest_minio"), "s3://lake/rest", minio) as rest:
        yield rest


@pytest.fixture(scope="module")
def rest_hdfs(tmp_path_factory, hdfs):
    """A REST catalog in HDFS, whose clients know the way there themselves."""
    with Rest(tmp_path_factory.mktemp("rest_hdfs"), f"{hdfs.uri}/rest", hadoop=hdfs.java_settings) as rest:
        yield rest


@pytest.fixture(scope="module")
def rest_vended(tmp_path_factory, minio):
    """A REST catalog that gives out tokens, and credentials for each table, that do not last."""
    with Rest(tmp_path_factory.mktemp("rest_vended"), "s3://lake/vended", minio, CREDENTIAL, token_seconds=5, vend_seconds=2) as rest:
        yield rest


@pytest.fixture(scope="module")
def rest_ours(tmp_path_factory):
    """A server of ours, whose catalog is that of another one."""
    with Server(tmp_path_factory.mktemp("rest_ours") / "nunatak") as server:
        yield server


@pytest.fixture(scope="module")
def hive(tmp_path_factory, postgres, minio, hdfs):
    """A Hive Metastore that reaches local files, buckets and HDFS."""
    with Hive(tmp_path_factory.mktemp("hive"), postgres, minio=minio, hdfs=hdfs) as hive:
        yield hive


@pytest.fixture(scope="module")
def garbage(tmp_path_factory):
    """A server that knows nothing of catalogs, and answers all the same."""
    page = tmp_path_factory.mktemp("garbage") / "v1" / "config"
    page.parent.mkdir()
    page.write_text("<html>welcome</html>")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=page.parent.parent)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, hdfs, minio, warehouse, postgres, rest_local, rest_minio, rest_hdfs, rest_vended, rest_ours, hive, garbage):
    folder = tmp_path_factory.mktemp("cluster")
    hdfs.make_folder("/private", 700)
    wrong = minio.settings | {"s3.secret-access-key": "wrong"}
    database = {
        "type": "sql",
        "uri": f"jdbc:postgresql://127.0.0.1:{postgres.port}/catalog?sslmode=disable",
        "jdbc.user": postgres.user,
        "jdbc.password": postgres.password,
    }
    config = folder / "nunatak.toml"
    config.write_text(
        section("local_hadoop", {"type": "hadoop", "warehouse": f"file://{warehouse}"})
        + section("minio_hadoop", {"type": "hadoop", "warehouse": "s3://lake/hadoop", **minio.settings})
        + section("hdfs_hadoop", {"type": "hadoop", "warehouse": f"{hdfs.uri}/hadoop", **hdfs.settings})
        + section("minio_sql", {"type": "sql", "uri": f"sqlite://{folder}/sql.sqlite", "warehouse": "s3://lake/sql", **minio.settings})
        + section("local_sql", {"type": "sql", "uri": f"sqlite://{folder}/local.sqlite", "warehouse": f"file://{folder}/local_sql"})
        + section("local_postgres", database | {"warehouse": f"file://{folder}/postgres"})
        + section("hdfs_postgres", database | {"warehouse": f"{hdfs.uri}/postgres", **hdfs.settings})
        + section("hdfs_rest", {"type": "rest", "uri": rest_hdfs.uri, **hdfs.settings})
        + section("local_rest", {"type": "rest", "uri": rest_local.uri})
        + section("minio_rest", {"type": "rest", "uri": rest_minio.uri, "warehouse": "s3://lake/rest", "rest-page-size": "100", **minio.settings})
        + section("local_ours", {"type": "rest", "uri": f"http://{rest_ours.http}/iceberg", "warehouse": "lake"})
        + section("vended", {"type": "rest", "uri": rest_vended.uri, "credential": CREDENTIAL, "scope": "catalog"})
        + section("rest_denied", {"type": "rest", "uri": rest_vended.uri, "credential": "engine:wrong"})
        + section("rest_unknown", {"type": "rest", "uri": rest_vended.uri, "token": "wrong"})
        + section("rest_dead", {"type": "rest", "uri": "http://127.0.0.1:9", "rest.client.max-retries": "1"})
        + section("rest_garbage", {"type": "rest", "uri": garbage})
        + section("local_hive", {"type": "hive", "uri": hive.uri, "warehouse": f"file://{folder}/hive"})
        + section("minio_hive", {"type": "hive", "uri": hive.uri, "warehouse": "s3://lake/hive", **minio.settings})
        + section("hdfs_hive", {"type": "hive", "uri": hive.uri, "warehouse": f"{hdfs.uri}/hive", **hdfs.settings})
        + section("hive_dead", {"type": "hive", "uri": "thrift://127.0.0.1:9,thrift://127.0.0.1:11", "warehouse": f"file://{folder}/x", "hive.max-retries": "1"})
        + section("denied", {"type": "hadoop", "warehouse": "s3://lake/hadoop", **wrong})
        + section("hdfs_denied", {"type": "hadoop", "warehouse": f"{hdfs.uri}/private", "hdfs.user": "stranger", **hdfs.settings})
        + section("hdfs_dead", {"type": "hadoop", "warehouse": "hdfs://127.0.0.1:9/x", "hdfs.retry.timeout-ms": "1000"})
        + section("missing", {"type": "hadoop", "warehouse": "s3://nowhere/hadoop", **minio.settings})
        + section("dead", {"type": "hadoop", "warehouse": "s3://lake/x", **minio.settings, "s3.endpoint": "http://127.0.0.1:9", "s3.retry.timeout-ms": "500"})
    )
    cluster = Cluster(folder, "--config", config, executors=2, slots=1).start()
    tpch.load(cluster, scale=SCALE)
    cluster.rows("CREATE TABLE tpch.some_lines AS SELECT * FROM tpch.lineitem WHERE l_orderkey % 100 < 10")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def spark(cluster):
    with Spark(cluster.data_dir, aws_jars()) as spark:
        yield spark


@pytest.fixture
def schema(cluster, request):
    """Makes a schema of the test's name in a catalog."""
    made = []

    def make(catalog):
        # All catalogs of the metastore have the same schemas.
        own = f"_{catalog}" if catalog in HIVE else ""
        name = f"{catalog}.{re.sub(r'[^a-z0-9]+', '_', request.node.name).strip('_')[:40]}{own}"
        cluster.rows(f"CREATE SCHEMA {name}")
        made.append(name)
        return name

    yield make


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


# What a catalog is asked for does not depend on the mode: where it takes longer to answer, one will do.
@pytest.mark.parametrize(("catalog", "mode"), [(catalog, mode) for catalog in CATALOGS for mode in MODES if catalog not in SLOW or mode == "pipelined"])
def test_life_of_a_table(cluster, schema, catalog, mode):
    """Every kind of commit, read by every way of execution."""
    name = f"{schema(catalog)}.lines"
    # All rows in one of the modes, in another one for each catalog; some of them show the commits as well.
    lines = "lake.tpch.lineitem" if MODES.index(mode) == CATALOGS.index(catalog) % len(MODES) else "lake.tpch.some_lines"
    run = lambda sql: cluster.rows(sql.replace("@", name).replace("lake.tpch.lineitem", lines), headers=in_mode(mode))
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
    if catalog in HIVE and "ü" in table:
        with pytest.raises(Exception, match="NOT_SUPPORTED.*does not take 'übung %20 #1' as a name"):
            cluster.rows(f"CREATE TABLE {name} AS SELECT 1 AS a")
        return
    cluster.rows(f"CREATE TABLE {name} AS SELECT 1 AS a")
    cluster.rows(f"INSERT INTO {name} VALUES (2)")
    assert cluster.value(f"SELECT sum(a) FROM {name}") == 3
    assert cluster.rows(f"SHOW TABLES FROM {name.split('.')[0]}.{name.split('.')[1]}") == [
        (table.strip('"').lower() if catalog in HIVE else table.strip('"'),)
    ]
    cluster.rows(f"DROP TABLE {name}")
    # The same name is that of another table now.
    cluster.rows(f"CREATE TABLE {name} AS SELECT 'x' AS b")
    assert cluster.rows(f"SELECT * FROM {name}") == [("x",)]


@pytest.mark.parametrize("catalog", CATALOGS)
def test_commits_at_the_same_time(cluster, schema, catalog):
    """None of them is lost, whichever is told to have failed."""
    # Puts that a store refuses are the ones to be looked at; servers and databases decide alike for all stores, a commit to HDFS has five slow files, and a metastore is slow.
    count = {"minio_hadoop": 200, "hdfs_postgres": 40, "hdfs_rest": 40, "local_hive": 40, "minio_hive": 40, "hdfs_hive": 20}.get(catalog, 80)
    name = f"{schema(catalog)}.t"
    properties = "extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms'], ARRAY['100', '5'])"
    cluster.rows(f"CREATE TABLE {name} (writer bigint, n bigint) WITH ({properties})")

    def insert(number):
        try:
            cluster.rows(f"INSERT INTO {name} VALUES ({number % 8}, {number})", headers=in_mode("local"))
            return number
        except Exception as error:
            assert "CONFLICT" in str(error), error

    with concurrent.futures.ThreadPoolExecutor(8) as writers:
        done = [number for number in writers.map(insert, range(count)) if number is not None]
    assert sorted(n for (n,) in cluster.rows(f"SELECT n FROM {name}")) == sorted(done)
    assert len(done) > 0.95 * count


@pytest.mark.parametrize("catalog", [*HADOOP, "local_sql"])
def test_tables_that_are_made_at_the_same_time(cluster, schema, warehouse, catalog):
    """Of those that make one, one succeeds, and its rows are there: the others take away no more than what they have written themselves."""
    name = schema(catalog)

    def make(table, number):
        try:
            cluster.rows(f"CREATE TABLE {name}.{table} AS SELECT {number} AS a", headers=in_mode("local"))
            return True
        except Exception as error:
            assert "TABLE_ALREADY_EXISTS" in str(error), error
            return False

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for table in ["t1", "t2", "t3"]:
            made = list(pool.map(lambda number: make(table, number), range(4)))
            assert made.count(True) == 1 and cluster.rows(f"SELECT a FROM {name}.{table}") == [(made.index(True),)]
            if catalog == "local_hadoop":
                files = [path for path in (warehouse / name.partition(".")[2] / table).rglob("*") if path.is_file()]
                assert len(files) == 5, files
            cluster.rows(f"DROP TABLE {name}.{table}")
    cluster.rows(f"DROP SCHEMA {name}")


def schema_of_tpch(catalog):
    # All catalogs of the metastore have the same schemas.
    return f"tpch_{catalog}" if catalog in HIVE else "tpch"


@pytest.fixture(scope="module")
def tables_of_stores(cluster):
    """TPC-H in each store: the tables of its `hadoop` catalog, which the other catalogs of the store know too."""
    for catalog in HADOOP:
        cluster.rows(f"CREATE SCHEMA {catalog}.tpch")
        for table in tpch.TABLES:
            cluster.rows(f"CREATE TABLE {catalog}.tpch.{table} AS SELECT * FROM lake.tpch.{table}")
    for catalog in SQL + REST + HIVE:
        schema = schema_of_tpch(catalog)
        cluster.rows(f"CREATE SCHEMA {catalog}.{schema}")
        for table in tpch.TABLES:
            file = cluster.value(f"SELECT file FROM {catalog.partition('_')[0]}_hadoop.tpch.\"{table}$metadata_log_entries\" ORDER BY timestamp DESC LIMIT 1")
            folder, _, metadata = file.rpartition("/metadata/")
            cluster.rows(f"CALL {catalog}.system.register_table('{schema}', '{table}', '{folder}', '{metadata}')")


@pytest.fixture(scope="module")
def answers():
    """What DuckDB says."""
    judge = tpch.judge(SCALE)
    return {name: judge.execute(text).fetchall() for name, text in tpch.QUERIES.items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("catalog", CATALOGS)
def test_tpch(cluster, tables_of_stores, answers, catalog, mode):
    session = in_mode(mode) | {"catalog": catalog, "schema": schema_of_tpch(catalog)}
    assert all(answers.values()), "a query without rows proves nothing"
    wrong = {name: tpch.wrong(name, cluster.arrow(text, headers=session), answers[name]) for name, text in tpch.QUERIES.items()}
    assert set(wrong.values()) == {None}, wrong


@pytest.mark.parametrize("catalog", HADOOP)
def test_what_folders_cannot_do(cluster, schema, failure, catalog):
    schema = schema(catalog)
    cluster.rows(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    for sql in (
        f"ALTER TABLE {schema}.t RENAME TO {schema}.u",
        f"CREATE VIEW {schema}.v AS SELECT 1 AS x",
        f"CREATE TABLE {schema}.u (a bigint) WITH (location = 's3://lake/elsewhere')",
        f"CALL {catalog}.system.unregister_table('{schema.split('.')[1]}', 't')",
        f"CREATE TABLE {schema}.\"a/b\" (a bigint)",
        f"CREATE TABLE {schema}.\"a/b\" AS SELECT 1 AS a",
        f"CREATE TABLE {schema}.\"t/data\" AS SELECT 1 AS a",
        f"CREATE TABLE {schema}.\"../b\" AS SELECT 1 AS a",
        f"CREATE TABLE {schema}.\"_a\" (a bigint)",
    ):
        assert "NOT_SUPPORTED" in failure(cluster, sql), sql
    assert cluster.rows(f"SHOW TABLES FROM {schema}") == [("t",)]
    # No folder of a name that was refused is there, and the files of others are.
    assert not [name for (name,) in cluster.rows(f"SHOW SCHEMAS FROM {catalog}") if name.startswith(f"{schema.split('.')[1]}.")]
    cluster.rows(f"INSERT INTO {schema}.t VALUES (2)")
    assert sorted(cluster.rows(f"SELECT a FROM {schema}.t")) == [(1,), (2,)]


@pytest.mark.parametrize("catalog", SQL + REST + HIVE)
def test_views_and_new_names_where_there_are_some(cluster, schema, failure, catalog):
    schema = schema(catalog)
    cluster.rows(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    cluster.rows(f"CREATE VIEW {schema}.v AS SELECT a + 1 AS b FROM {schema}.t")
    cluster.rows(f"ALTER TABLE {schema}.t RENAME TO {schema}.u")
    assert "TABLE_NOT_FOUND" in str(pytest.raises(Exception, cluster.rows, f"SELECT * FROM {schema}.v").value)
    cluster.rows(f"CREATE OR REPLACE VIEW {schema}.v AS SELECT a + 1 AS b FROM {schema}.u")
    assert cluster.rows(f"SELECT * FROM {schema}.v") == [(2,)]
    for sql in (f"CREATE VIEW {schema}.v AS SELECT 1 AS x", f"CREATE TABLE {schema}.v (a bigint)", f"ALTER TABLE {schema}.u RENAME TO {schema}.v"):
        assert "TABLE_ALREADY_EXISTS" in failure(cluster, sql), sql
    assert "SCHEMA_NOT_FOUND" in failure(cluster, f"ALTER TABLE {schema}.u RENAME TO {catalog}.nowhere.u")
    cluster.rows(f"ALTER VIEW {schema}.v RENAME TO {schema}.w")
    assert cluster.rows(f"SHOW TABLES FROM {schema}") == [("u",), ("w",)]
    cluster.rows(f"DROP VIEW {schema}.w")
    cluster.rows(f"CREATE OR REPLACE TABLE {schema}.u AS SELECT a, 'x' AS b FROM {schema}.u")
    assert cluster.rows(f"SELECT * FROM {schema}.u") == [(1, "x")]


@pytest.mark.parametrize("catalog", SQL + REST + HIVE)
def test_tables_that_are_there_already(cluster, schema, catalog):
    """A table is left out of the catalog and taken in again with all its files; the same files are not those of two tables."""
    schema = schema(catalog)
    name = schema.partition(".")[2]
    cluster.rows(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    cluster.rows(f"INSERT INTO {schema}.t VALUES (2)")
    file = cluster.value(f"SELECT file FROM {schema}.\"t$metadata_log_entries\" ORDER BY timestamp DESC LIMIT 1")
    cluster.rows(f"CALL {catalog}.system.unregister_table('{name}', 't')")
    assert cluster.rows(f"SHOW TABLES FROM {schema}") == []
    for table in ("u", "twin"):
        folder, _, metadata = file.rpartition("/metadata/")
        cluster.rows(f"CALL {catalog}.system.register_table('{name}', '{table}', '{folder}', '{metadata}')")
    cluster.rows(f"DELETE FROM {schema}.u WHERE a = 1")
    cluster.rows(f"ALTER TABLE {schema}.u EXECUTE expire_snapshots(retention_threshold => '0s')")
    assert cluster.rows(f"SELECT a FROM {schema}.u") == [(2,)]
    assert sorted(cluster.rows(f"SELECT a FROM {schema}.twin")) == [(1,), (2,)]


def test_catalogs_side_by_side(cluster, schema):
    assert {"lake", *CATALOGS} <= {name for (name,) in cluster.rows("SHOW CATALOGS")}
    names = [schema(catalog) for catalog in CATALOGS]
    for number, name in enumerate(names):
        cluster.rows(f"CREATE TABLE {name}.t AS SELECT o_orderkey AS k, {number} AS n FROM lake.tpch.orders")
    joined = " JOIN ".join(f"{name}.t t{number}{f' ON t{number}.k = t0.k' if number else ''}" for number, name in enumerate(names))
    for mode in MODES:
        assert cluster.rows(f"SELECT count(*), max(t1.n), max(t2.n) FROM {joined}", headers=in_mode(mode)) == [(150_000, 1, 2)]


@pytest.mark.parametrize(
    ("catalog", "code", "message"),
    [
        ("denied", "STORAGE_ACCESS_DENIED", "storage refused access to 's3://lake/hadoop/s"),
        ("missing", "STORAGE_UNAVAILABLE", "the bucket of 's3://nowhere/hadoop/s"),
        ("dead", "STORAGE_UNAVAILABLE", "storage of 's3://lake/x/s"),
        ("hdfs_denied", "STORAGE_ACCESS_DENIED", "storage refused access to 'hdfs://lake/private/s"),
        ("hdfs_dead", "STORAGE_UNAVAILABLE", "cannot be reached: HDFS at '127.0.0.1:9': Connection refused"),
        ("rest_denied", "CATALOG_ACCESS_DENIED", "catalog 'rest_denied' gets no token from '127.0.0.1': invalid_client"),
        ("rest_unknown", "CATALOG_ACCESS_DENIED", "of catalog 'rest_unknown' refused the credentials: Not authorized"),
        ("rest_dead", "CATALOG_UNAVAILABLE", "cannot read the configuration: the server 'http://127.0.0.1:9' of catalog 'rest_dead' cannot be reached: Connection refused"),
        ("rest_garbage", "ICEBERG_CATALOG_ERROR", "of catalog 'rest_garbage' gave an answer that is not of the Iceberg REST protocol"),
        ("hive_dead", "CATALOG_UNAVAILABLE", "the metastores 'thrift://127.0.0.1:9' (Connection refused (os error 111)), 'thrift://127.0.0.1:11' ("),
    ],
    ids=["denied", "missing", "dead", "hdfs_denied", "hdfs_dead", "rest_denied", "rest_unknown", "rest_dead", "rest_garbage", "hive_dead"],
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


def test_a_rest_server_that_is_killed_comes_back(cluster, schema, failure, rest_local):
    name = f"{schema('local_rest')}.t"
    cluster.rows(f"CREATE TABLE {name} AS SELECT 1 AS a")
    rest_local.kill()
    for sql, operation in ((f"SELECT * FROM {name}", "load table"), (f"INSERT INTO {name} VALUES (2)", "load table"), ("SHOW SCHEMAS FROM local_rest", "list schemas")):
        text = failure(cluster, sql)
        assert "CATALOG_UNAVAILABLE" in text and f"cannot {operation}" in text and rest_local.uri in text
    assert cluster.value("SELECT count(*) FROM lake.tpch.region") == 5
    rest_local.start()
    cluster.rows(f"INSERT INTO {name} VALUES (3)")
    assert sorted(cluster.rows(f"SELECT a FROM {name}")) == [(1,), (3,)]


@pytest.mark.parametrize("mode", MODES)
def test_vended_credentials(cluster, schema, rest_vended, mode):
    """They are asked for again by those who need them for longer than they last: here each half of 2 s."""
    name = f"{schema('vended')}.t"
    run = lambda sql: cluster.rows(sql.replace("@", name), headers=in_mode(mode))
    before = len(rest_vended.vended)
    run("CREATE TABLE @ AS SELECT l.* FROM lake.tpch.lineitem l CROSS JOIN (VALUES 1, 2, 3, 4, 5, 6) v(n)")
    # One when it is begun and one when it is made; the files come later than the first one lasts.
    assert len(rest_vended.vended) - before > 2
    expected = cluster.rows("SELECT 6 * count(*), 6 * sum(l_extendedprice) FROM lake.tpch.lineitem")
    checks = "SELECT count(*), sum(l_extendedprice) FROM @"
    assert run(checks) == expected
    # Long enough for the token to be good no longer.
    time.sleep(6)
    run("DELETE FROM @ WHERE l_orderkey < 0")
    run("INSERT INTO @ SELECT * FROM lake.tpch.lineitem WHERE l_orderkey = 1")
    run("DELETE FROM @ WHERE l_orderkey = 1")
    assert run(checks) == cluster.rows("SELECT 6 * count(*), 6 * sum(l_extendedprice) FROM lake.tpch.lineitem WHERE l_orderkey <> 1")
    assert all(table.startswith("s3://lake/vended/") for table in rest_vended.vended)
    secret = CREDENTIAL.partition(":")[2]
    for hidden in (secret, "session-token"):
        assert hidden not in cluster.value(f"EXPLAIN ANALYZE VERBOSE {checks}".replace("@", name), headers=in_mode(mode))
        assert all(hidden not in process.text() for process in cluster.everybody())
    run("DROP TABLE @")


def test_credentials_are_nowhere(cluster, schema, minio):
    name = f"{schema('minio_sql')}.t"
    cluster.rows(f"CREATE TABLE {name} AS SELECT * FROM lake.tpch.orders", headers=in_mode("fault_tolerant"))
    for mode in MODES:
        assert minio.password not in cluster.value(f"EXPLAIN ANALYZE VERBOSE SELECT count(*), max(o_clerk) FROM {name}", headers=in_mode(mode))
    assert all(minio.password not in process.text() for process in cluster.everybody())
    shown = nunatak("config", "--config", cluster.data_dir.parent / "nunatak.toml", "--data-dir", cluster.data_dir)
    assert minio.password not in shown.stdout and minio.endpoint in shown.stdout and shown.returncode == 0
    assert CREDENTIAL not in shown.stdout


@pytest.mark.parametrize("catalog", ["local_hadoop", "hdfs_hadoop"])
def test_spark_shares_a_hadoop_catalog(cluster, schema, spark, warehouse, hdfs, catalog):
    """Spark reads what we write and changes it, by the folders alone; we read that."""
    schema = schema(catalog)
    cluster.rows(f"CREATE TABLE {schema}.t WITH (partitioning = ARRAY['bucket(a, 4)']) AS SELECT o_orderkey AS a, o_clerk AS b FROM lake.tpch.orders WHERE o_orderkey < 1000")
    cluster.rows(f"DELETE FROM {schema}.t WHERE a % 3 = 0")
    settings = {
        "spark.sql.catalog.folders": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.folders.type": "hadoop",
        "spark.sql.catalog.folders.warehouse": f"file://{warehouse}" if catalog == "local_hadoop" else f"{hdfs.uri}/hadoop",
        **{f"spark.sql.catalog.folders.hadoop.{name}": value for name, value in hdfs.java_settings.items()},
    }
    theirs = f"folders.{schema.partition('.')[2]}"
    check = "SELECT count(*), sum(a), min(b) FROM {}.t"
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


@pytest.mark.parametrize("catalog", ["local_rest", "minio_rest"])
def test_spark_shares_a_rest_catalog(cluster, schema, spark, minio, rest_local, rest_minio, catalog):
    """Both ask the same server: tables and views of either are those of the other."""
    schema = schema(catalog)
    theirs = f"{catalog}.{schema.partition('.')[2]}"
    properties = {"type": "rest", "uri": rest_local.uri, "cache-enabled": "false"}
    if catalog == "minio_rest":
        settings = {name: value for name, value in minio.settings.items() if name != "s3.region"} | {"client.region": "us-east-1", "s3.path-style-access": "true"}
        properties |= {"uri": rest_minio.uri, "io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "http-client.type": "urlconnection"} | settings
    settings = in_catalog(catalog, properties)
    cluster.rows(
        f"CREATE TABLE {schema}.t WITH (partitioning = ARRAY['bucket(a, 4)'], sorted_by = ARRAY['b'], format_version = 3)"
        " AS SELECT o_orderkey AS a, o_clerk AS b FROM lake.tpch.orders WHERE o_orderkey < 1000"
    )
    cluster.rows(f"DELETE FROM {schema}.t WHERE a % 3 = 0")
    check = "SELECT count(*), sum(a), min(b) FROM {}.t"
    in_spark = lambda sql: spark.rows(sql, settings)
    assert in_spark(check.format(theirs)) == cluster.rows(check.format(schema))
    in_spark(f"INSERT INTO {theirs}.t VALUES (-1, 'spark')")
    in_spark(f"ALTER TABLE {theirs}.t ADD PARTITION FIELD truncate(b, 2)")
    in_spark(f"ALTER TABLE {theirs}.t ADD COLUMN c INT")
    in_spark(f"DELETE FROM {theirs}.t WHERE a = 1")
    assert in_spark(check.format(theirs)) == cluster.rows(check.format(schema))
    cluster.rows(f"ALTER TABLE {schema}.t SET PROPERTIES partitioning = ARRAY['bucket(a, 4)', 'c']")
    cluster.rows(f"UPDATE {schema}.t SET b = 'ours', c = 7 WHERE a = -1")
    cluster.rows(f"ALTER TABLE {schema}.t EXECUTE optimize")
    assert in_spark(f"SELECT b, c FROM {theirs}.t WHERE a = -1") == [("ours", 7)]
    in_spark(f"CREATE TABLE {theirs}.u (x INT) USING iceberg")
    in_spark(f"INSERT INTO {theirs}.u VALUES (7)")
    assert cluster.rows(f"SELECT * FROM {schema}.u") == [(7,)]
    cluster.rows(f"MERGE INTO {schema}.u t USING (VALUES 7, 8) s(x) ON t.x = s.x WHEN MATCHED THEN UPDATE SET x = 70 WHEN NOT MATCHED THEN INSERT VALUES (s.x)")
    assert in_spark(f"SELECT x FROM {theirs}.u ORDER BY x") == [(8,), (70,)]
    assert {row[1] for row in in_spark(f"SHOW TABLES IN {theirs}")} == {"t", "u"}
    in_spark(f"DROP TABLE {theirs}.u PURGE")
    assert cluster.rows(f"SHOW TABLES FROM {schema}") == [("t",)]


def in_catalog(name, properties):
    """Settings by which Spark has a catalog."""
    prefix = f"spark.sql.catalog.{name}"
    return {prefix: "org.apache.iceberg.spark.SparkCatalog"} | {f"{prefix}.{key}": value for key, value in properties.items()}


def test_spark_shares_a_catalog_of_the_first_version(cluster, spark, tmp_path, failure):
    """One of Java's `JdbcCatalog` as it made them before there were views."""
    file, warehouse = tmp_path / "old.sqlite", f"file://{tmp_path}/old"
    properties = {"type": "jdbc", "uri": f"jdbc:sqlite:{file}", "warehouse": warehouse, "jdbc.schema-version": "V0", "cache-enabled": "false"}
    in_spark = lambda sql: spark.rows(sql, in_catalog("old", properties))
    with contextlib.closing(sqlite3.connect(file)) as database:
        # Java leaves reads open, by which otherwise nobody could write any more.
        database.execute("PRAGMA journal_mode = WAL")
    in_spark("CREATE NAMESPACE old.s")
    in_spark("CREATE TABLE old.s.t (a INT, b STRING) USING iceberg")
    in_spark("INSERT INTO old.s.t VALUES (1, 'spark'), (2, 'spark')")
    cluster.rows(f"CREATE CATALOG old USING sql WITH (uri = 'sqlite://{file}', warehouse = '{warehouse}')")
    cluster.rows("MERGE INTO old.s.t t USING (VALUES 2, 3) s(a) ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 'ours' WHEN NOT MATCHED THEN INSERT VALUES (s.a, 'new')")
    assert in_spark("SELECT a, b FROM old.s.t ORDER BY a") == [(1, "spark"), (2, "ours"), (3, "new")]
    cluster.rows("ALTER TABLE old.s.t RENAME TO old.s.u")
    cluster.rows("CREATE TABLE old.s.made AS SELECT 1 AS x")
    assert "NOT_SUPPORTED" in failure(cluster, "CREATE VIEW old.s.v AS SELECT 1 AS x")
    in_spark("INSERT INTO old.s.u VALUES (4, 'late')")
    in_spark("INSERT INTO old.s.made VALUES (2)")
    assert {row[1] for row in in_spark("SHOW TABLES IN old.s")} == {"made", "u"}
    assert cluster.rows("SELECT count(*), max(b) FROM old.s.u") == [(4, "spark")] and cluster.value("SELECT sum(x) FROM old.s.made") == 3
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert len(database.execute("SELECT * FROM pragma_table_info('iceberg_tables')").fetchall()) == 5
    cluster.rows("DROP CATALOG old")


@pytest.mark.parametrize("catalog", ["minio_rest", "vended"])
def test_pyiceberg_shares_a_rest_catalog(cluster, schema, minio, rest_minio, rest_vended, catalog):
    schema = schema(catalog)
    if catalog == "minio_rest":
        own = {"uri": rest_minio.uri, **minio.settings}
    else:
        own = {"uri": rest_vended.uri, "credential": CREDENTIAL, "oauth2-server-uri": f"{rest_vended.uri}/v1/oauth/tokens"}
    theirs = load_catalog("theirs", type="rest", **own)
    name = schema.partition(".")[2]
    cluster.rows(f"CREATE TABLE {schema}.t AS SELECT o_orderkey AS a, o_clerk AS b FROM lake.tpch.orders WHERE o_orderkey < 1000")
    cluster.rows(f"DELETE FROM {schema}.t WHERE a % 3 = 0")
    table = theirs.load_table(f"{name}.t")
    assert table.scan().to_arrow().num_rows == cluster.value(f"SELECT count(*) FROM {schema}.t")
    table.append(pyarrow.table({"a": [-1], "b": ["pyiceberg"]}))
    assert cluster.rows(f"SELECT b FROM {schema}.t WHERE a = -1") == [("pyiceberg",)]
    made = theirs.create_table(f"{name}.u", schema=pyarrow.schema([("x", pyarrow.int64())]))
    made.append(pyarrow.table({"x": [1, 2]}))
    cluster.rows(f"INSERT INTO {schema}.u VALUES (3)")
    assert sorted(made.refresh().scan().to_arrow()["x"].to_pylist()) == [1, 2, 3]
    cluster.rows(f"DROP TABLE {schema}.u")
    assert not theirs.table_exists(f"{name}.u")
