"""Hive Metastores: what others find there, what becomes of locks and of commits when somebody dies, and what version 3 does otherwise. What all catalogs do is in `test_catalogs`."""

import concurrent.futures
import json
import socketserver
import threading
import time
from pathlib import Path

import pyarrow
import pytest
from hive_metastore.ThriftHiveMetastore import Client
from hive_metastore.ttypes import (
    FieldSchema,
    GetTableRequest,
    GetTablesRequest,
    LockComponent,
    LockLevel,
    LockRequest,
    LockState,
    LockType,
    SerDeInfo,
    StorageDescriptor,
    Table,
)
from pyiceberg.catalog import load_catalog

from nunatak_testing.server import Server, eventually
from nunatak_testing.spark import Spark
from servers.hive import Hive, can_be_alone
from servers.postgres import Postgres

LOCK_SECONDS = 6
MANY = 10_000


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def hive(tmp_path_factory, postgres):
    with Hive(tmp_path_factory.mktemp("hive"), postgres, lock_seconds=LOCK_SECONDS) as hive:
        yield hive


@pytest.fixture(scope="module")
def hive3(tmp_path_factory, postgres):
    if not can_be_alone():
        pytest.skip("version 3 listens on all addresses, and no network of its own can be made for it here")
    with Hive(tmp_path_factory.mktemp("hive3"), postgres, version="3.1.3") as hive:
        yield hive


@pytest.fixture(scope="module")
def stranger():
    """A server of another protocol, which greets whoever comes."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"220 mail.example.org ESMTP\r\n")
            self.request.recv(1024)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"thrift://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return f"file://{tmp_path_factory.mktemp('warehouse')}"


@pytest.fixture(scope="module")
def config(tmp_path_factory, hive, stranger, warehouse):
    return make_config(
        tmp_path_factory.mktemp("config") / "nunatak.toml",
        warehouse,
        hms={"uri": hive.uri, "hive.lock-heartbeat-interval-ms": "1000", "hive.user": "somebody", "hive.max-retries": "2"},
        # The first of its servers is away.
        spare={"uri": f"thrift://127.0.0.1:9,{hive.uri}"},
        lockless={"uri": hive.uri, "hive.lock-enabled": "false"},
        stranger={"uri": stranger, "hive.max-retries": "0"},
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory, config):
    with Server(tmp_path_factory.mktemp("data") / "one", "--config", config) as server:
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory, config):
    """Another server over the same metastore."""
    with Server(tmp_path_factory.mktemp("data") / "two", "--config", config) as server:
        yield server


@pytest.fixture(scope="module")
def server3(tmp_path_factory, hive3, warehouse):
    config = make_config(tmp_path_factory.mktemp("config3") / "nunatak.toml", warehouse, hms={"uri": hive3.uri})
    with Server(tmp_path_factory.mktemp("data") / "three", "--config", config) as server:
        yield server


def make_config(path, warehouse, **catalogs):
    lines = []
    for name, properties in catalogs.items():
        lines.append(f"[catalog.{name}]")
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in {"type": "hive", "warehouse": warehouse, **properties}.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def schema(server, request):
    name = request.node.name.removeprefix("test_").split("[")[0][:40]
    server.rows(f"CREATE SCHEMA hms.{name}")
    return name


def locks(hive):
    table = "hive_locks" if hive.version.startswith("3") else '"HIVE_LOCKS"'
    return int(hive.postgres.sql(hive.database, f"SELECT count(*) FROM {table}"))


def race(servers, table, count):
    """Eight writers on these servers; gives the numbers that were told to be in."""

    def insert(number):
        try:
            servers[number % len(servers)].rows(f"INSERT INTO {table} VALUES ({number})")
            return number
        except Exception as error:
            assert "CONFLICT" in str(error), error
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as writers:
        return sorted(number for number in writers.map(insert, range(count)) if number is not None)


def path_of(location):
    """The path in a location, which the metastore spells `file:/path`."""
    return Path("/" + location.partition(":")[2].lstrip("/"))


def rows_to(count):
    """A relation s(n) of the numbers from 1 on."""
    return f"(VALUES {', '.join(map(str, range(1, count + 1)))}) AS s(n)"


def numbers(server, table):
    return sorted(number for (number,) in server.rows(f"SELECT n FROM {table}"))


MANY_RETRIES = "'commit.retry.num-retries', 'commit.retry.min-wait-ms'"


def test_what_others_find_of_a_table(server, hive, schema):
    name = f"hms.{schema}.t"
    server.rows(
        f"CREATE TABLE {name} (Id bigint COMMENT 'which', at timestamp(6) with time zone, d decimal(10, 2), r ROW(x integer, y array(varchar)))"
        " WITH (partitioning = ARRAY['bucket(id, 4)'], sorted_by = ARRAY['d'])"
    )
    first = hive.entry(schema, "t")
    assert (first.tableType, first.owner, first.dbName) == ("EXTERNAL_TABLE", "somebody", schema)
    assert [(column.name, column.type, column.comment) for column in first.sd.cols] == [
        ("id", "bigint", "which"),
        ("at", "timestamp with local time zone", None),
        ("d", "decimal(10,2)", None),
        ("r", "struct<x:int,y:array<string>>", None),
    ]
    classes = lambda entry: (entry.sd.inputFormat, entry.sd.outputFormat, entry.sd.serdeInfo.serializationLib)
    assert classes(first) == (
        "org.apache.hadoop.mapred.FileInputFormat",
        "org.apache.hadoop.mapred.FileOutputFormat",
        "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
    )
    server.rows(f"INSERT INTO {name} SELECT n, current_timestamp, 1.5, NULL FROM {rows_to(10)}")
    entry = hive.entry(schema, "t")
    shown = entry.parameters
    assert {key: shown[key] for key in ("EXTERNAL", "table_type", "numRows", "snapshot-count")} == {
        "EXTERNAL": "TRUE",
        "table_type": "ICEBERG",
        "numRows": "10",
        "snapshot-count": "1",
    }
    assert shown["previous_metadata_location"] == first.parameters["metadata_location"]
    metadata = json.loads(path_of(shown["metadata_location"]).read_text())
    snapshot = metadata["snapshots"][-1]
    assert (shown["uuid"], int(shown["current-snapshot-id"])) == (metadata["table-uuid"], snapshot["snapshot-id"])
    assert json.loads(shown["current-schema"]) == metadata["schemas"][-1]
    assert json.loads(shown["default-partition-spec"]) == metadata["partition-specs"][-1]
    assert json.loads(shown["default-sort-order"]) == metadata["sort-orders"][-1]
    summary = json.loads(shown["current-snapshot-summary"])
    assert summary == {key: value for key, value in snapshot["summary"].items() if key != "operation"}
    assert (shown["numFiles"], shown["totalSize"]) == (summary["total-data-files"], summary["total-files-size"])
    assert "storage_handler" not in shown and path_of(metadata["location"]) == path_of(entry.sd.location)

    server.rows(f"ALTER TABLE {name} SET PROPERTIES extra_properties = MAP(ARRAY['engine.hive.enabled', 'gc.enabled'], ARRAY['true', 'false'])")
    for_hive = hive.entry(schema, "t")
    assert classes(for_hive) == tuple(f"org.apache.iceberg.mr.hive.HiveIceberg{part}" for part in ("InputFormat", "OutputFormat", "SerDe"))
    assert for_hive.parameters["storage_handler"] == "org.apache.iceberg.mr.hive.HiveIcebergStorageHandler"
    assert for_hive.parameters["external.table.purge"] == "false"
    server.rows(f"CREATE VIEW hms.{schema}.v AS SELECT id FROM {name}")
    view = hive.entry(schema, "v")
    assert (view.tableType, view.parameters["table_type"]) == ("VIRTUAL_VIEW", "ICEBERG-VIEW") and "SELECT id FROM" in view.viewOriginalText
    server.rows(f"CREATE OR REPLACE VIEW hms.{schema}.v AS SELECT 1 AS x")
    assert [column.name for column in hive.entry(schema, "v").sd.cols] == ["x"]
    assert locks(hive) == 0


def test_what_is_not_iceberg_is_left_alone(server, hive, schema, failure):
    formats = StorageDescriptor(
        cols=[FieldSchema("a", "int")],
        location=f"file://{hive.folder}/external/theirs",
        inputFormat="org.apache.hadoop.mapred.TextInputFormat",
        outputFormat="org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        serdeInfo=SerDeInfo(serializationLib="org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe", parameters={}),
    )
    with hive.client() as client:
        for name, kind in (("theirs", "EXTERNAL_TABLE"), ("their_view", "VIRTUAL_VIEW")):
            text = "SELECT 1" if kind == "VIRTUAL_VIEW" else None
            client.create_table(
                Table(
                    dbName=schema, tableName=name, owner="hive", sd=formats, partitionKeys=[], parameters={"EXTERNAL": "TRUE"}, tableType=kind,
                    viewOriginalText=text, viewExpandedText=text,
                )
            )
    server.rows(f"CREATE TABLE hms.{schema}.ours AS SELECT 1 AS a")
    assert server.rows(f"SHOW TABLES FROM hms.{schema}") == [("ours",)]
    for sql in (f"SELECT * FROM hms.{schema}.theirs", f"SELECT * FROM hms.{schema}.their_view", f"DROP TABLE hms.{schema}.theirs"):
        text = failure(server, sql)
        assert "UNSUPPORTED_TABLE_TYPE" in text and "of Hive" in text, sql
    failure(server, f"CREATE TABLE hms.{schema}.theirs (a bigint)")
    assert "TABLE_ALREADY_EXISTS" in failure(server, f"ALTER TABLE hms.{schema}.ours RENAME TO hms.{schema}.theirs")
    assert "SCHEMA_NOT_EMPTY" in failure(server, f"DROP SCHEMA hms.{schema}")
    assert hive.entry(schema, "theirs").sd.inputFormat == formats.inputFormat


def test_names_are_in_lower_case(server, schema):
    server.rows(f'CREATE TABLE hms.{schema}."Mixed" AS SELECT 1 AS a')
    server.rows(f'INSERT INTO hms.{schema}."MIXED" VALUES (2)')
    assert server.value(f"SELECT sum(a) FROM hms.{schema}.mixed") == 3
    assert server.rows(f"SHOW TABLES FROM hms.{schema}") == [("mixed",)]


@pytest.mark.parametrize("catalog", ["hms", "lockless"])
def test_two_servers_and_eight_writers(server, other, hive, catalog):
    """With the metastore's locks, and with its comparison alone."""
    server.rows("CREATE SCHEMA IF NOT EXISTS hms.race")
    table = f"{catalog}.race.{catalog}"
    locked = "true" if catalog == "hms" else "false"
    server.rows(
        f"CREATE TABLE {table} (n bigint) WITH"
        f" (extra_properties = MAP(ARRAY[{MANY_RETRIES}, 'engine.hive.lock-enabled'], ARRAY['100', '5', '{locked}']))"
    )
    done = race([server, other], table, 48)
    assert numbers(server, table) == done and len(done) > 40
    assert numbers(other, table) == done
    assert locks(hive) == 0


def test_a_lock_that_was_left_behind(server, hive, schema):
    """A writer that was killed has one: it is waited for until the metastore gives it up."""
    server.rows(f"CREATE TABLE hms.{schema}.t (n bigint)")
    component = LockComponent(LockType.EXCLUSIVE, LockLevel.TABLE, schema, "t")
    with hive.client() as client:
        taken = client.lock(LockRequest([component], user="somebody", hostname="gone"))
        assert taken.state == LockState.ACQUIRED
    began = time.monotonic()
    server.rows(f"INSERT INTO hms.{schema}.t VALUES (1)")
    assert 1 < time.monotonic() - began < 4 * LOCK_SECONDS
    assert numbers(server, f"hms.{schema}.t") == [1] and locks(hive) == 0


def test_a_metastore_is_killed_and_comes_back(server, hive, schema, failure):
    """What was told to be in is there, once; what nobody knows of is told to be unknown; and nothing stays locked."""
    table = f"hms.{schema}.t"
    server.rows(f"CREATE TABLE {table} (n bigint) WITH (extra_properties = MAP(ARRAY[{MANY_RETRIES}], ARRAY['100', '5']))")
    told, stopped = [], threading.Event()

    def insert(writer):
        number = writer
        while not stopped.is_set():
            try:
                server.rows(f"INSERT INTO {table} VALUES ({number})")
                told.append(number)
            except Exception as error:
                assert any(code in str(error) for code in ("CATALOG_UNAVAILABLE", "COMMIT_STATE_UNKNOWN", "CONFLICT")), error
            number += 4

    with concurrent.futures.ThreadPoolExecutor(4) as writers:
        running = [writers.submit(insert, writer) for writer in range(4)]
        assert eventually(lambda: len(told) > 8, 30)
        hive.kill()
        time.sleep(1)
        text = failure(server, f"SELECT * FROM {table}")
        assert "CATALOG_UNAVAILABLE" in text and "cannot load table" in text and hive.uri in text
        assert server.value("SELECT 1") == 1
        before = len(told)
        hive.start()
        try:
            assert eventually(lambda: len(told) > before + 4, 40)
        finally:
            stopped.set()
        for writer in running:
            writer.result(60)
    there = numbers(server, table)
    assert len(set(there)) == len(there) and set(told) <= set(there)
    assert eventually(lambda: locks(hive) == 0, 20)


def test_one_of_several_servers_is_enough(server, schema, failure):
    server.rows(f"CREATE TABLE spare.{schema}.t AS SELECT 1 AS a")
    assert server.rows(f"SELECT * FROM hms.{schema}.t") == [(1,)]
    text = failure(server, "SHOW SCHEMAS FROM stranger")
    assert "CATALOG_UNAVAILABLE" in text and "gave an answer that is not of the metastore's protocol" in text


def test_ten_thousand_tables(server, hive, schema):
    """Copies of a table, made behind the metastore's back, and listed by it."""
    server.rows(f"CREATE TABLE hms.{schema}.t (a bigint)")
    server.rows(f"CREATE VIEW hms.{schema}.v AS SELECT 1 AS x")
    hive.postgres.sql(
        hive.database,
        f"""
        WITH t AS (SELECT t.* FROM "TBLS" t JOIN "DBS" d USING ("DB_ID") WHERE d."NAME" = '{schema}' AND "TBL_NAME" = 't'),
            numbers AS (SELECT n, 1000000 + n AS id FROM generate_series(2, {MANY}) n),
            tables AS (
                INSERT INTO "TBLS" SELECT (jsonb_populate_record(NULL::"TBLS", to_jsonb(t) || jsonb_build_object('TBL_ID', id, 'TBL_NAME', 'table_' || n))).*
                FROM t, numbers RETURNING 1
            )
        INSERT INTO "TABLE_PARAMS" SELECT id, p."PARAM_KEY", p."PARAM_VALUE" FROM "TABLE_PARAMS" p JOIN t USING ("TBL_ID"), numbers
        """,
    )
    listed = lambda: len(server.rows(f"SHOW TABLES FROM hms.{schema}"))
    assert listed() == MANY + 1
    began = time.monotonic()
    assert listed() == MANY + 1
    assert time.monotonic() - began < 2


def test_pyiceberg_shares_the_tables(server, hive, schema, warehouse, monkeypatch):
    """Both ways, under the same locks. Version 4 has other calls for two things than PyIceberg 0.12 makes."""
    monkeypatch.setattr(Client, "get_table", lambda self, dbname, tbl_name: self.get_table_req(GetTableRequest(dbName=dbname, tblName=tbl_name)).table)
    objects = lambda self, dbname, tbl_names: self.get_table_objects_by_name_req(GetTablesRequest(dbName=dbname, tblNames=tbl_names)).tables
    monkeypatch.setattr(Client, "get_table_objects_by_name", objects)
    theirs = load_catalog("theirs", type="hive", uri=hive.uri, warehouse=warehouse)
    server.rows(f"CREATE TABLE hms.{schema}.t AS SELECT cast(n AS bigint) AS a, 'x' AS b FROM {rows_to(100)}")
    table = theirs.load_table(f"{schema}.t")
    assert table.scan().to_arrow().num_rows == 100
    table.append(pyarrow.table({"a": [-1], "b": ["pyiceberg"]}))
    server.rows(f"DELETE FROM hms.{schema}.t WHERE a = 1")
    assert server.rows(f"SELECT b FROM hms.{schema}.t WHERE a < 2") == [("pyiceberg",)]
    assert table.refresh().scan().to_arrow().num_rows == 100
    made = theirs.create_table(f"{schema}.u", schema=pyarrow.schema([("x", pyarrow.int64())]))
    made.append(pyarrow.table({"x": [1, 2]}))
    server.rows(f"INSERT INTO hms.{schema}.u VALUES (3)")
    assert sorted(made.refresh().scan().to_arrow()["x"].to_pylist()) == [1, 2, 3]
    assert sorted(theirs.list_tables(schema)) == [(schema, "t"), (schema, "u")]
    server.rows(f"DROP TABLE hms.{schema}.u")
    assert not theirs.table_exists(f"{schema}.u")


def test_version_3(server3, hive3, failure):
    run = lambda sql: server3.rows(sql.replace("@", "hms.old"))
    run("CREATE SCHEMA @")
    assert "SCHEMA_ALREADY_EXISTS" in failure(server3, "CREATE SCHEMA hms.old")
    run(f"CREATE TABLE @.t (n bigint) WITH (extra_properties = MAP(ARRAY[{MANY_RETRIES}], ARRAY['100', '5']))")
    done = race([server3], "hms.old.t", 24)
    assert numbers(server3, "hms.old.t") == done and len(done) > 20
    run("DELETE FROM @.t WHERE n = 0")
    run("CREATE VIEW @.v AS SELECT max(n) AS m FROM hms.old.t")
    assert run("SELECT m FROM @.v") == [(done[-1],)]
    run("ALTER TABLE @.t RENAME TO @.u")
    assert run("SHOW TABLES FROM @") == [("u",), ("v",)]
    assert "TABLE_NOT_FOUND" in failure(server3, "SELECT * FROM hms.old.t")
    run("ALTER TABLE @.u SET PROPERTIES extra_properties = MAP(ARRAY['engine.hive.lock-enabled'], ARRAY['false'])")
    # It would not see that another one was faster.
    text = failure(server3, "INSERT INTO hms.old.u VALUES (-1)")
    assert "NOT_SUPPORTED" in text and "does not compare" in text
    assert "TABLE_ALREADY_EXISTS" in failure(server3, "CREATE TABLE hms.old.v (a bigint)")
    run("DROP VIEW @.v")
    run("DROP TABLE @.u")
    run("DROP SCHEMA @")
    assert locks(hive3) == 0


def test_spark_shares_the_tables_of_version_3(server3, hive3, warehouse):
    """Both ways. Spark's own client makes calls that version 4 no longer has."""
    settings = {
        "spark.sql.catalog.hms": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.hms.type": "hive",
        "spark.sql.catalog.hms.uri": hive3.uri,
        "spark.sql.catalog.hms.warehouse": warehouse,
        "spark.sql.catalog.hms.cache-enabled": "false",
    }
    server3.rows("CREATE SCHEMA hms.shared")
    server3.rows(
        "CREATE TABLE hms.shared.t WITH (partitioning = ARRAY['bucket(a, 4)'], sorted_by = ARRAY['b'])"
        f" AS SELECT cast(n AS bigint) AS a, cast(n AS varchar) AS b FROM {rows_to(1000)}"
    )
    server3.rows("DELETE FROM hms.shared.t WHERE a % 3 = 0")
    check = "SELECT count(*), sum(a), min(b) FROM hms.shared.t"
    with Spark(server3.data_dir) as spark:
        in_spark = lambda sql: spark.rows(sql, settings)
        assert in_spark(check) == server3.rows(check)
        in_spark("INSERT INTO hms.shared.t VALUES (-1, 'spark')")
        in_spark("ALTER TABLE hms.shared.t ADD COLUMN c INT")
        in_spark("DELETE FROM hms.shared.t WHERE a = 1")
        assert in_spark(check) == server3.rows(check)
        server3.rows("MERGE INTO hms.shared.t t USING (VALUES (-1, 7)) s(a, c) ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 'ours', c = s.c")
        assert in_spark("SELECT b, c FROM hms.shared.t WHERE a = -1") == [("ours", 7)]
        in_spark("CREATE TABLE hms.shared.u (x INT) USING iceberg")
        in_spark("INSERT INTO hms.shared.u VALUES (7)")
        in_spark("CREATE VIEW hms.shared.w AS SELECT 1 AS one")
        assert server3.rows("SELECT * FROM hms.shared.u") == [(7,)]
        assert server3.rows("SHOW TABLES FROM hms.shared") == [("t",), ("u",), ("w",)]
        assert {row[1] for row in in_spark("SHOW TABLES IN hms.shared")} == {"t", "u"}
        server3.rows("ALTER TABLE hms.shared.u RENAME TO hms.shared.v")
        assert in_spark("SELECT * FROM hms.shared.v") == [(7,)]
        in_spark("DROP TABLE hms.shared.v PURGE")
        assert server3.rows("SHOW TABLES FROM hms.shared") == [("t",), ("w",)]
