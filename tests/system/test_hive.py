"""Hive Metastores: what others find there, what becomes of locks and of commits when somebody dies, and what version 3, whose files are in HDFS, does otherwise.

What all catalogs do is in `test_catalogs`, and Trino over version 4 in `test_trino`.
"""

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
from nunatak_testing.spark import MERGE_ON_READ, Spark, in_all_modes
from servers.hive import Hive, can_be_alone
from servers.postgres import Postgres
from servers.proxy import Proxy
from servers.trino import in_hdfs

LOCK_SECONDS = 6
MANY = 10_000


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


@pytest.fixture(scope="module")
def hive(tmp_path_factory, postgres, hdfs):
    with Hive(tmp_path_factory.mktemp("hive"), postgres, hdfs=hdfs, lock_seconds=LOCK_SECONDS) as hive:
        yield hive


@pytest.fixture(scope="module")
def hive3(tmp_path_factory, postgres, hdfs):
    if not can_be_alone():
        pytest.skip("version 3 listens on all addresses, and no network of its own can be made for it here")
    with Hive(tmp_path_factory.mktemp("hive3"), postgres, version="3.1.3", hdfs=hdfs) as hive:
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
def config(tmp_path_factory, hive, hdfs, stranger, warehouse):
    return make_config(
        tmp_path_factory.mktemp("config") / "nunatak.toml",
        warehouse,
        hms={"uri": hive.uri, "hive.lock-heartbeat-interval-ms": "1000", "hive.user": "somebody", "hive.max-retries": "2"},
        # The first of its servers is away.
        spare={"uri": f"thrift://127.0.0.1:9,{hive.uri}"},
        lockless={"uri": hive.uri, "hive.lock-enabled": "false"},
        stranger={"uri": stranger, "hive.max-retries": "0"},
        on_hdfs={"uri": hive.uri, "warehouse": f"{hdfs.uri}/hive", **hdfs.settings},
        # The metastore makes folders as him, and HDFS does not let him.
        not_let={"uri": hive.uri, "warehouse": f"{hdfs.uri}/hive", "hive.user": "nobody", **hdfs.settings},
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
def server3(tmp_path_factory, hive3, hdfs):
    config = make_config(tmp_path_factory.mktemp("config3") / "nunatak.toml", f"{hdfs.uri}/version3", hms={"uri": hive3.uri, **hdfs.settings})
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

    # Types at places where others were: a metastore takes that only from who asks for it.
    for change in ("DROP COLUMN at", "ALTER COLUMN r FIRST", "ADD COLUMN late date FIRST"):
        server.rows(f"ALTER TABLE {name} {change}")
    assert [column.name for column in hive.entry(schema, "t").sd.cols] == ["late", "r", "id", "d"]

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


def test_properties_of_schemas(server, hive, server3, hive3):
    """They are changed as those of other catalogs are, and what a metastore has besides them stays."""
    for one, metastore in ((server, hive), (server3, hive3)):
        path = "v1/hms/namespaces/described"
        made = one.rest("POST", "v1/hms/namespaces", json={"namespace": ["described"], "properties": {"comment": "old", "k": "v", "gone": "x"}})
        assert made.status_code == 200, made.text
        before = one.rest("GET", path).json()["properties"]
        changed = one.rest("POST", f"{path}/properties", json={"removals": ["gone", "none"], "updates": {"comment": "new", "k": "w"}})
        assert changed.status_code == 200, changed.text
        assert changed.json() == {"updated": ["comment", "k"], "removed": ["gone"], "missing": ["none"]}
        expected = {name: value for name, value in before.items() if name != "gone"} | {"comment": "new", "k": "w"}
        assert one.rest("GET", path).json()["properties"] == expected
        with metastore.client() as client:
            found = client.get_database("described")
            assert (found.description, found.parameters, found.locationUri) == ("new", {"k": "w"}, before["location"])
        assert one.rest("POST", f"{path}/properties", json={"removals": ["location"], "updates": {}}).status_code == 406
        assert one.rest("POST", f"{path}x/properties", json={"removals": [], "updates": {"k": "v"}}).status_code == 404
        one.rows("DROP SCHEMA hms.described")


def test_names_are_in_lower_case(server, schema):
    server.rows(f'CREATE TABLE hms.{schema}."Mixed" AS SELECT 1 AS a')
    server.rows(f'INSERT INTO hms.{schema}."MIXED" VALUES (2)')
    assert server.value(f"SELECT sum(a) FROM hms.{schema}.mixed") == 3
    assert server.rows(f"SHOW TABLES FROM hms.{schema}") == [("mixed",)]


def test_names_that_a_metastore_does_not_find_again(server, schema, failure):
    for name in (" lead", "tail ", ".", "..", "trail."):
        error = failure(server, f'CREATE TABLE hms.{schema}."{name}" AS SELECT 1 AS a')
        assert "NOT_SUPPORTED" in error and f"'{name}' cannot be the name of a table" in error, error
    for name in (" lead", "tail "):
        assert "NOT_SUPPORTED" in failure(server, f'CREATE SCHEMA hms."{name}"')
    assert server.rows(f"SHOW TABLES FROM hms.{schema}") == []


def test_answers_of_the_metastore_are_lost(server, hive, warehouse):
    """It has done what it was asked for, and its connection ends before it says so."""
    with Proxy(hive.uri.removeprefix("thrift://")) as proxy:
        server.rows(f"CREATE CATALOG lost USING hive WITH (uri = 'thrift://{proxy.address}', warehouse = '{warehouse}/lost')")

        def run(sql, method):
            proxy.lose_answer(lambda data: method in data[:120])
            server.rows(sql)
            assert proxy.losing is None, f"{sql}: no {method}"

        run("CREATE SCHEMA lost.of_answers", b"create_database")
        run("CREATE TABLE lost.of_answers.t AS SELECT 1 AS a", b"create_table")
        run("INSERT INTO lost.of_answers.t VALUES (2)", b"alter_table")
        run("ALTER TABLE lost.of_answers.t RENAME TO lost.of_answers.u", b"alter_table")
        assert server.rows("SELECT a FROM lost.of_answers.u ORDER BY a") == [(1,), (2,)]
        run("DROP TABLE lost.of_answers.u", b"drop_table")
        run("DROP SCHEMA lost.of_answers", b"drop_database")
        assert ("of_answers",) not in server.rows("SHOW SCHEMAS FROM hms")
        server.rows("DROP CATALOG lost")


def test_a_metastore_that_goes_on_after_its_connection_has_ended(server, hive, warehouse):
    """It carries a call out when its client has looked already, and not found that it was."""
    with Proxy(hive.uri.removeprefix("thrift://")) as proxy:
        server.rows(f"CREATE CATALOG late USING hive WITH (uri = 'thrift://{proxy.address}', warehouse = '{warehouse}/late')")

        def run(sql, method):
            proxy.postpone(lambda data: method in data[:120], 1.5)
            server.rows(sql)
            assert proxy.postponed is None, f"{sql}: no {method}"

        run("CREATE SCHEMA late.goes_on", b"create_database")
        run("CREATE TABLE late.goes_on.t AS SELECT 1 AS a", b"create_table")
        run("INSERT INTO late.goes_on.t VALUES (2)", b"alter_table")
        run("ALTER TABLE late.goes_on.t RENAME TO late.goes_on.u", b"alter_table")
        assert server.rows("SELECT a FROM late.goes_on.u ORDER BY a") == [(1,), (2,)]
        run("CREATE VIEW late.goes_on.v AS SELECT 1 AS x", b"create_table")
        run("CREATE OR REPLACE VIEW late.goes_on.v AS SELECT 2 AS x", b"alter_table")
        assert server.value("SELECT x FROM late.goes_on.v") == 2
        run("DROP VIEW late.goes_on.v", b"drop_table")
        run("DROP TABLE late.goes_on.u", b"drop_table")
        run("DROP SCHEMA late.goes_on", b"drop_database")
        server.rows("DROP CATALOG late")


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


def test_a_folder_that_the_metastore_may_not_make(server, failure):
    text = failure(server, "CREATE SCHEMA not_let.s")
    assert "Failed to create external path" in text and "that 'nobody' (hive.user) may write there" in text
    assert "SCHEMA_NOT_FOUND" in failure(server, "DROP SCHEMA not_let.s")


def test_one_of_several_servers_is_enough(server, schema, failure):
    server.rows(f"CREATE TABLE spare.{schema}.t AS SELECT 1 AS a")
    assert server.rows(f"SELECT * FROM hms.{schema}.t") == [(1,)]
    text = failure(server, "SHOW SCHEMAS FROM stranger")
    assert "CATALOG_UNAVAILABLE" in text and "gave an answer that is not of the metastore's protocol" in text


def test_another_server_takes_over(server, hive, schema, warehouse):
    """The one that is spoken to dies, and so does the next one when the first is back."""
    address = hive.uri.removeprefix("thrift://")
    with Proxy(address) as first, Proxy(address) as second:
        server.rows(f"CREATE CATALOG two USING hive WITH (uri = 'thrift://{first.address},thrift://{second.address}', warehouse = '{warehouse}')")
        server.rows(f"CREATE TABLE two.{schema}.t (n bigint)")
        for number, dies in enumerate([first, second, first]):
            assert dies.connections, "nobody speaks to it"
            dies.go_away()
            server.rows(f"INSERT INTO two.{schema}.t VALUES ({number})")
            dies.come_back()
        assert numbers(server, f"hms.{schema}.t") == [0, 1, 2]
        server.rows("DROP CATALOG two")


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
    done = race([server3], "hms.old.t", 16)
    assert numbers(server3, "hms.old.t") == done and len(done) > 12
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


def test_spark_and_trino_share_the_tables_of_version_3(server3, hive3, hdfs, trino_server):
    """All three write into all tables, with the files in HDFS. Spark's own client makes calls that version 4 no longer has."""
    settings = {
        "spark.sql.catalog.hms": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.hms.type": "hive",
        "spark.sql.catalog.hms.uri": hive3.uri,
        "spark.sql.catalog.hms.warehouse": f"{hdfs.uri}/version3",
        "spark.sql.catalog.hms.cache-enabled": "false",
        **{f"spark.sql.catalog.hms.hadoop.{name}": value for name, value in hdfs.java_settings.items()},
    }
    in_trino = trino_server.catalogs({"hms": {"iceberg.catalog.type": "hive_metastore", "hive.metastore.uri": hive3.uri, **in_hdfs(hdfs)}})
    server3.rows("CREATE SCHEMA hms.shared")
    with Spark(server3.data_dir) as spark, in_trino:
        in_spark = lambda sql: spark.rows(sql.replace("@", "hms.shared"), settings)
        in_trino = lambda sql: trino_server.rows(sql.replace("@", "hms.shared"))
        ours = lambda sql: server3.rows(sql.replace("@", "hms.shared"))

        def alike(sql):
            rows = in_all_modes(server3, sql.replace("@", "hms.shared"))
            assert in_spark(sql) == rows == in_trino(sql), sql
            return rows

        ours(
            "CREATE TABLE @.t WITH (partitioning = ARRAY['bucket(a, 4)'], sorted_by = ARRAY['b'])"
            f" AS SELECT cast(n AS bigint) AS a, cast(n AS varchar) AS b FROM {rows_to(1000)}"
        )
        in_spark(
            f"CREATE TABLE @.u (a BIGINT, b STRING) USING iceberg PARTITIONED BY (bucket(4, a)) TBLPROPERTIES ({MERGE_ON_READ}, 'format-version'='2')"
        )
        in_spark("ALTER TABLE @.u WRITE ORDERED BY b")
        in_spark("INSERT INTO @.u SELECT id, cast(id AS STRING) FROM range(1, 1001)")
        assert described(hive3.entry("shared", "t")) == described(hive3.entry("shared", "u"))
        for table in ("@.t", "@.u"):
            check = f"SELECT count(*), sum(a), min(b), max(b) FROM {table}"
            ours(f"DELETE FROM {table} WHERE a % 3 = 0")
            alike(check)
            in_spark(
                f"MERGE INTO {table} t USING (SELECT cast(id AS BIGINT) AS a, 'spark' AS b FROM range(-5, 6)) s ON t.a = s.a"
                " WHEN MATCHED AND s.a > 4 THEN DELETE WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT *"
            )
            assert alike(f"SELECT count(*) FROM {table} WHERE b = 'spark'") == [(10,)]
            in_spark(f"ALTER TABLE {table} ADD COLUMN c INT")
            in_spark(f"ALTER TABLE {table} ADD PARTITION FIELD truncate(b, 1)")
            in_spark(f"INSERT INTO {table} VALUES (2000, 'late', 1)")
            ours(
                f"MERGE INTO {table} t USING (VALUES (-1, 7), (2000, 8), (2001, 9)) s(a, c) ON t.a = s.a"
                " WHEN MATCHED THEN UPDATE SET b = 'ours', c = s.c WHEN NOT MATCHED THEN INSERT (a, b, c) VALUES (s.a, 'new', s.c)"
            )
            assert alike(f"SELECT a, b, c FROM {table} WHERE c IS NOT NULL ORDER BY a") == [(-1, "ours", 7), (2000, "ours", 8), (2001, "new", 9)]
            # Files that have neither of these names at this place.
            ours(f"ALTER TABLE {table} ALTER COLUMN c FIRST")
            ours(f"ALTER TABLE {table} RENAME COLUMN b TO name")
            assert [column.name for column in hive3.entry("shared", table[2:]).sd.cols] == ["c", "a", "name"]
            in_trino(
                f"MERGE INTO {table} t USING (VALUES (1, 2), (3000, 3)) s(a, c) ON t.a = s.a"
                " WHEN MATCHED THEN UPDATE SET name = 'trino', c = s.c WHEN NOT MATCHED THEN INSERT VALUES (s.c, s.a, 'trino')"
            )
            in_spark(f"UPDATE {table} SET name = 'again' WHERE a = 3000")
            assert alike(f"SELECT a, c, name FROM {table} WHERE name IN ('trino', 'again') ORDER BY a") == [(1, 2, "trino"), (3000, 3, "again")]
            assert server3.value(f'SELECT count(*) FROM hms.shared."{table[2:]}$files" WHERE content = 1') > 0
            alike(f"SELECT count(*), sum(a), min(name), max(name), sum(c) FROM {table}")
        in_spark("CREATE VIEW @.w AS SELECT 1 AS one")
        assert ours("SHOW TABLES FROM @") == [("t",), ("u",), ("w",)]
        assert {row[1] for row in in_spark("SHOW TABLES IN @")} == {"t", "u"}
        ours("ALTER TABLE @.u RENAME TO @.v")
        alike("SELECT count(*) FROM @.v")
        in_spark("DROP TABLE @.v PURGE")
        assert ours("SHOW TABLES FROM @") == [("t",), ("w",)]
    assert locks(hive3) == 0


def test_columns_of_trino(server3, hive3, hdfs, trino_server):
    """Columns of all types are called in an entry what Trino calls them: with other types the metastore would take no commit of the other."""
    server3.rows("CREATE SCHEMA hms.columns")
    columns = (
        "a bigint, b boolean, i integer, r real, d double, x decimal(10, 2), s varchar, bin varbinary, u uuid, day date, at timestamp(6), tz timestamp(6) with time zone,"
        " t time(6), arr array(integer), m map(varchar, bigint), rec row(k varchar, v array(double))"
    )
    with trino_server.catalogs({"hms": {"iceberg.catalog.type": "hive_metastore", "hive.metastore.uri": hive3.uri, **in_hdfs(hdfs)}}):
        for table, maker in (("ours", server3), ("theirs", trino_server)):
            maker.rows(f"CREATE TABLE hms.columns.{table} ({columns})")
            for number, engine in enumerate((server3, trino_server)):
                engine.rows(f"INSERT INTO hms.columns.{table} (a) VALUES ({number})")
            assert server3.rows(f"SELECT sum(a) FROM hms.columns.{table}") == trino_server.rows(f"SELECT sum(a) FROM hms.columns.{table}") == [(1,)]
    ours, theirs = (hive3.entry("columns", table).sd for table in ("ours", "theirs"))
    assert [(column.name, column.type) for column in ours.cols] == [(column.name, column.type) for column in theirs.cols]
    assert (ours.inputFormat, ours.outputFormat, ours.serdeInfo.serializationLib) == (theirs.inputFormat, theirs.outputFormat, theirs.serdeInfo.serializationLib)


def described(entry):
    """What an entry says of a table, and what is of one time and place in none of it."""
    columns = [(column.name, column.type) for column in entry.sd.cols]
    formats = (entry.sd.inputFormat, entry.sd.outputFormat, entry.sd.serdeInfo.serializationLib)
    shown = [json.loads(entry.parameters[key]) for key in ("current-schema", "default-partition-spec", "default-sort-order")]
    same = [entry.parameters[key] for key in ("EXTERNAL", "table_type", "numRows", "snapshot-count")]
    kept = {"uuid", "metadata_location", "current-snapshot-id", "current-snapshot-summary", "current-snapshot-timestamp-ms", "numFiles", "totalSize"}
    return entry.tableType, entry.owner, columns, formats, shown, same, kept <= set(entry.parameters)


def test_the_namenode_fails_over(server, hive, hdfs):
    """Commits that are under way when it dies wait for the other one, and the metastore makes folders with it. No commit is lost or made twice, and nothing stays locked."""
    server.rows("CREATE SCHEMA on_hdfs.before")
    table = "on_hdfs.before.t"
    server.rows(f"CREATE TABLE {table} (n bigint)")
    inserted, is_over = [], threading.Event()

    def insert():
        while not is_over.is_set():
            server.rows(f"INSERT INTO {table} VALUES ({len(inserted)})")
            inserted.append(len(inserted))

    killed = hdfs.active
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(insert)
        try:
            assert eventually(lambda: len(inserted) > 1, 20)
            hdfs.fail_over()
            before = len(inserted)
            server.rows("CREATE SCHEMA on_hdfs.after")
            assert eventually(lambda: len(inserted) > before + 1, 20)
        finally:
            is_over.set()
        writing.result()
    assert numbers(server, table) == inserted and locks(hive) == 0
    hdfs.restart(killed)
    hdfs.hand_over()
    server.rows(f"INSERT INTO {table} VALUES (-1)")
    assert numbers(server, table) == [-1, *inserted]


def test_views_are_served_with_all_their_texts(server, schema):
    """By the REST protocol, to engines that have other dialects than the metastore's."""
    text = lambda number, sql: {
        "version-id": number,
        "schema-id": 0,
        "timestamp-ms": 1_700_000_000_000 + number,
        "summary": {},
        "default-namespace": [schema],
        "representations": [{"type": "sql", "sql": sql, "dialect": "trino"}, {"type": "sql", "sql": sql, "dialect": "spark"}],
    }
    columns = {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "x", "required": False, "type": "int"}]}
    path = f"v1/hms/namespaces/{schema}"
    made = server.rest("POST", f"{path}/views", json={"name": "v", "schema": columns, "view-version": text(1, "SELECT 1 AS x"), "properties": {"comment": "c"}})
    assert made.status_code == 200, made.text
    assert server.value(f"SELECT x FROM hms.{schema}.v") == 1
    server.rows(f"CREATE OR REPLACE VIEW hms.{schema}.v AS SELECT 2 AS x")
    loaded = server.rest("GET", f"{path}/views/v").json()
    texts = {version["version-id"]: version["representations"] for version in loaded["metadata"]["versions"]}
    assert [text["dialect"] for text in texts[1]] == ["trino", "spark"] and texts[2][0]["sql"] == "SELECT 2 AS x"
    updates = [{"action": "set-current-view-version", "view-version-id": 1}]
    assert server.rest("POST", f"{path}/views/v", json={"requirements": [], "updates": updates}).status_code == 200
    assert server.value(f"SELECT x FROM hms.{schema}.v") == 1
    again = {"name": "again", "metadata-location": loaded["metadata-location"]}
    assert server.rest("POST", f"{path}/register-view", json=again).status_code == 200
    assert server.value(f"SELECT x FROM hms.{schema}.again") == 2
    assert server.rest("POST", f"{path}/views", json={"name": "v", "schema": columns, "view-version": text(1, "SELECT 1 AS x")}).status_code == 409
