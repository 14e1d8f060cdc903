"""Listings of a schema with many tables, in each kind of catalog that needs no other server; times and memory are printed. PostgreSQL's is in test_postgres.py."""

import os
import shutil
import sqlite3
import time

import pytest
from pyiceberg.catalog import load_catalog

from nunatak_testing.server import Server, eventually, free_port
from nunatak_testing.trino_http import run

TABLES = 10_000
# How long their names may take when they are asked for again.
LISTED_SECONDS_MAX = 2
NAMES = [f"table_{n:05}" for n in range(TABLES)]
LEFT_OUT = "cannot be read, and is left out of a listing"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server whose embedded catalog has many tables of one metadata file, with a catalog of folders that has as many, and the embedded one as a REST catalog."""
    folder = tmp_path_factory.mktemp("many")
    http = f"127.0.0.1:{free_port()}"
    config = folder / "nunatak.toml"
    config.write_text(
        f"""
        [catalog.folders]
        type = "hadoop"
        warehouse = "file://{folder}/folders"

        [catalog.remote]
        type = "rest"
        uri = "http://{http}/iceberg"
        warehouse = "lake"
        rest-page-size = "1000"

        [catalog.dead]
        type = "rest"
        uri = "http://127.0.0.1:9"
        "rest.client.max-retries" = "1"

        [maintenance]
        interval = "0s"
        """
    )
    with Server(folder / "data", "--config", config, http=http) as server:
        for catalog in ("lake", "folders"):
            server.rows(f"CREATE SCHEMA {catalog}.many")
            server.rows(f"CREATE TABLE {catalog}.many.{NAMES[0]} AS SELECT 1 AS a, 'x' AS b")
        with sqlite3.connect(server.data_dir / "catalog.sqlite", timeout=30) as catalog:
            (location,) = catalog.execute("SELECT metadata_location FROM iceberg_tables WHERE table_namespace = 'many'").fetchone()
            insert = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) VALUES ('lake', 'many', ?, ?, 'TABLE')"
            catalog.executemany(insert, [(name, location) for name in NAMES[1:]])
        catalog.close()
        schema = folder / "folders" / "many"
        files = [(name, schema / NAMES[0] / "metadata" / name) for name in ("v1.metadata.json", "version-hint.text")]
        for table in NAMES[1:]:
            os.makedirs(schema / table / "metadata")
            for name, file in files:
                os.link(file, schema / table / "metadata" / name)
        server.folders = schema
        yield server


def timed(server, what, work, is_listing=True):
    """What `work()` gives the second time; it prints how long both took, and how much more memory than before the server had meanwhile. Names are listed in time."""
    times = []
    for _ in range(2):
        before = server.forget_memory_peak()
        start = time.monotonic()
        result = work()
        seconds = time.monotonic() - start
        times.append(f"{seconds:.2f} s, +{server.memory_peak() - before >> 20} MiB")
    print(f"{what}: {', then '.join(times)}")
    assert not is_listing or seconds < LISTED_SECONDS_MAX, times
    return result


@pytest.mark.parametrize("catalog", ["lake", "folders", "remote"])
def test_names(server, catalog):
    tables = f"{catalog}.information_schema.tables"
    assert timed(server, f"SHOW TABLES FROM {catalog}", lambda: server.rows(f"SHOW TABLES FROM {catalog}.many")) == [(name,) for name in NAMES]
    assert server.rows(f"SHOW TABLES FROM {catalog}.many LIKE '%0123_'") == [(f"table_0123{n}",) for n in range(10)]

    def count(where):
        return timed(server, f"tables of {catalog}, {where}", lambda: server.value(f"SELECT count(*) FROM {tables} WHERE {where}"))

    assert count("table_schema = 'many'") == TABLES
    assert count("table_schema LIKE 'man_' AND table_name LIKE '%0123_'") == 10
    assert count(f"table_name IN ('{NAMES[7]}', '{NAMES[8]}', 'nothing')") == 2
    assert count("table_schema = 'many' AND table_type = 'VIEW'") == 0
    assert server.value(f"SELECT count(*) FROM {tables} WHERE table_schema = 'nothing'") == 0


@pytest.mark.parametrize("catalog", ["lake", "folders", "remote"])
def test_columns_of_a_few(server, catalog):
    one = NAMES[-1]
    for where in (f"table_schema = 'many' AND table_name = '{one}'", f"table_name = '{one}'"):
        rows = timed(server, f"columns of {catalog}, {where}", lambda: server.rows(
            f"SELECT table_schema, table_name, column_name, ordinal_position FROM {catalog}.information_schema.columns WHERE {where} ORDER BY 4"))
        assert rows == [("many", one, "a", 1), ("many", one, "b", 2)]


def test_columns_of_all(server):
    counts = "SELECT count(*), count(DISTINCT table_name) FROM lake.information_schema.columns WHERE table_schema = 'many'"
    assert timed(server, "columns of all", lambda: server.rows(counts), is_listing=False) == [(2 * TABLES, TABLES)]


@pytest.mark.parametrize("catalog", ["lake", "folders", "remote"])
def test_get_objects(server, catalog):
    def names():
        with server.connect() as connection:
            found = connection.adbc_get_objects(depth="tables", catalog_filter=catalog, db_schema_filter="many").read_all().to_pylist()
        return [table["table_name"] for catalog in found for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]]

    assert sorted(timed(server, f"get_objects of {catalog}", names)) == NAMES


@pytest.mark.parametrize("catalog", ["lake", "folders", "remote"])
def test_clients_of_trino(server, catalog):
    """As trino-cli asks for names, and as JDBC's and Python's drivers do."""
    for sql in (
        f"SHOW TABLES FROM {catalog}.many",
        f"SELECT table_name FROM {catalog}.information_schema.tables WHERE table_schema = 'many' ORDER BY 1",
        f"SELECT table_name FROM system.jdbc.tables WHERE table_cat = '{catalog}' AND table_schem = 'many' ORDER BY 1",
    ):
        assert timed(server, sql, lambda: run(server, sql)["data"]) == [[name] for name in NAMES]


@pytest.mark.parametrize("catalog", ["lake", "folders"])
@pytest.mark.parametrize("page", [None, "1000"])
def test_rest_protocol(server, catalog, page):
    size = {"rest-page-size": page} if page else {}
    client = load_catalog("ours", type="rest", uri=f"http://{server.http}/iceberg", warehouse=catalog, **size)
    assert timed(server, f"list_tables of {catalog}, pages of {page}", lambda: client.list_tables("many")) == [("many", name) for name in NAMES]


@pytest.mark.parametrize("catalog", ["lake", "folders", "remote"])
def test_a_name_that_is_misspelt(server, failure, catalog):
    server.rows(f"SHOW TABLES FROM {catalog}.many")
    error = timed(server, f"a table that is not in {catalog}", lambda: failure(server, f"SELECT * FROM {catalog}.many.tabel_01234"), is_listing=False)
    assert "TABLE_NOT_FOUND" in error
    # Where names come over the network they may come too late for a hint.
    assert "did you mean 'table_01234'" in error or catalog == "remote"


def test_a_folder_that_is_gone(server):
    shutil.rmtree(server.folders / NAMES[1])
    assert server.value("SELECT count(*) FROM folders.information_schema.tables WHERE table_schema = 'many'") == TABLES - 1
    os.mkdir(server.folders / NAMES[1])
    assert server.value("SELECT count(*) FROM folders.information_schema.tables WHERE table_schema = 'many'") == TABLES - 1
    assert ("many." + NAMES[1],) in server.rows("SHOW SCHEMAS FROM folders")


def test_what_cannot_be_read_is_left_out(server):
    """Only where it would have to be read."""
    server.rows("CREATE SCHEMA lake.broken")
    for name in ("good", "lost", "gone"):
        server.rows(f"CREATE TABLE lake.broken.{name} AS SELECT 1 AS a")
    server.rows("CREATE VIEW lake.broken.of_good AS SELECT a + 1 AS more FROM lake.broken.good")
    server.rows("CREATE VIEW lake.broken.of_gone AS SELECT * FROM lake.broken.gone")
    server.rows("DROP TABLE lake.broken.gone")
    (metadata,) = (server.data_dir / "warehouse/broken").glob("lost*/metadata/*.metadata.json")
    metadata.unlink()
    server.rows("CALL lake.system.flush_metadata_cache()")
    rows = "FROM lake.information_schema.{} WHERE table_schema = 'broken'"
    names = [(name,) for name in ("good", "lost", "of_gone", "of_good")]
    assert server.rows(f"SELECT table_name {rows.format('tables')} ORDER BY 1") == names
    assert server.rows(f"SELECT table_name {rows.format('views')} ORDER BY 1") == names[2:]
    columns = f"SELECT table_name, column_name {rows.format('columns')}"
    assert server.rows(f"{columns} AND table_name LIKE '%good' ORDER BY 1") == [("good", "a"), ("of_good", "more")]
    assert LEFT_OUT not in server.text()
    assert server.rows(f"{columns} ORDER BY 1") == [("good", "a"), ("of_good", "more")]
    assert eventually(lambda: LEFT_OUT in server.text(), 5)
    with server.connect() as connection:
        found = connection.adbc_get_objects(depth="all", catalog_filter="lake", db_schema_filter="broken").read_all().to_pylist()
    tables = [table for catalog in found for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]]
    shown = {table["table_name"]: [column["column_name"] for column in table["table_columns"] or []] for table in tables}
    assert shown == {"good": ["a"], "lost": [], "of_gone": [], "of_good": ["more"]}


def test_a_catalog_that_is_down(server, failure):
    for table in ("schemata", "tables", "columns", "views"):
        error = failure(server, f"SELECT * FROM dead.information_schema.{table} WHERE 1 = 1")
        assert "CATALOG_UNAVAILABLE" in error and "127.0.0.1:9" in error, error
    with server.connect() as connection:
        found = connection.adbc_get_objects(depth="db_schemas", db_schema_filter="many").read_all().to_pylist()
    assert {catalog["catalog_name"] for catalog in found if catalog["catalog_db_schemas"]} == {"lake", "folders", "remote"}


def test_ten_thousand_schemas(tmp_path):
    """Their names are listed at once, and those within others too: also by our own server, page by page."""
    http, config = f"127.0.0.1:{free_port()}", tmp_path / "nunatak.toml"
    remote = lambda name, more="": f'[catalog.{name}]\ntype = "rest"\nuri = "http://{http}/iceberg"\nwarehouse = "lake"\n{more}'
    config.write_text(remote("remote") + remote("paged", 'rest-page-size = "1000"\n') + '[maintenance]\ninterval = "0s"\n')
    with Server(tmp_path / "data", "--config", config, http=http) as server:
        names = [f"schema_{n:05}" for n in range(TABLES)] + ["schema_00007.inner", "schema_00007.inner.most", "schema_00008.inner"]
        with sqlite3.connect(server.data_dir / "catalog.sqlite", timeout=30) as catalog:
            catalog.executemany("INSERT INTO iceberg_namespace_properties VALUES ('lake', ?, 'exists', 'true')", [(name,) for name in names])
        catalog.close()
        for catalog in ("lake", "remote", "paged"):
            start = time.monotonic()
            shown = {name for (name,) in server.rows(f"SHOW SCHEMAS FROM {catalog}")}
            assert set(names) <= shown, catalog
            assert time.monotonic() - start < 10, catalog
