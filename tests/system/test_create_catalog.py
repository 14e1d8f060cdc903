"""Catalogs that statements make: known at once, kept over restarts, and forgotten without a trace in what they stood for."""

import stat

import pytest

from nunatak_testing.server import Server, nunatak

SECRET = "s3cr3t-0f-a-catalog"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("create_catalog")


@pytest.fixture(scope="module")
def arguments(folder):
    config = folder / "nunatak.toml"
    config.write_text(f'[catalog.written]\ntype = "hadoop"\nwarehouse = "file://{folder}/written"\n')
    return folder / "data", "--config", config


@pytest.fixture(scope="module")
def server(arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_SECRET_OF_THE_TEST", SECRET)
        with Server(*arguments) as server:
            yield server


def names(server):
    return [name for (name,) in server.rows("SHOW CATALOGS")]


def test_a_catalog_is_made_used_and_dropped(server, folder, failure, numbers_file):
    server.rows(f"CREATE CATALOG made USING hadoop COMMENT 'of a test' WITH (warehouse = 'file://{folder}/made')")
    assert names(server) == ["lake", "made", "written"]
    assert "ALREADY_EXISTS" in failure(server, f"CREATE CATALOG made USING hadoop WITH (warehouse = 'file://{folder}/other')")
    server.rows(f"CREATE CATALOG IF NOT EXISTS made USING hadoop WITH (warehouse = 'file://{folder}/other')")
    for catalog in ("made", "written"):
        server.rows(f"CREATE SCHEMA {catalog}.s")
        server.rows(f"CREATE TABLE {catalog}.s.t AS SELECT * FROM read_parquet('{numbers_file}')")
    assert server.value("SELECT count(*) FROM made.s.t JOIN written.s.t AS other USING (n)") == 1_000_000
    with server.connect() as connection, connection.cursor() as cursor:
        # A query that has begun goes on with the catalog that it has.
        batches = cursor.execute("SELECT n FROM made.s.t").fetch_record_batch()
        rows = batches.read_next_batch().num_rows
        server.rows("DROP CATALOG made")
        assert names(server) == ["lake", "written"]
        assert "CATALOG_NOT_FOUND" in failure(server, "SELECT * FROM made.s.t")
        assert rows + sum(batch.num_rows for batch in batches) == 1_000_000
    assert "CATALOG_NOT_FOUND" in failure(server, "DROP CATALOG made")
    server.rows("DROP CATALOG IF EXISTS made")
    server.rows(f"CREATE CATALOG again USING hadoop WITH (warehouse = 'file://{folder}/made')")
    assert server.value("SELECT count(*) FROM again.s.t") == 1_000_000
    server.rows("DROP CATALOG again")


def test_what_cannot_be_made_or_dropped(server, failure):
    for sql, code, message in (
        ("CREATE CATALOG lake USING hadoop WITH (warehouse = '/w')", "ALREADY_EXISTS", "'lake'"),
        ("CREATE CATALOG c USING glue WITH (warehouse = '/w')", "CONFIGURATION_INVALID", "'glue' is not one of"),
        ("CREATE CATALOG c USING hadoop", "CONFIGURATION_INVALID", "catalog.c.warehouse: it is missing"),
        ("CREATE CATALOG c USING hadoop WITH (warehous = '/w')", "CONFIGURATION_INVALID", "did you mean 'warehouse'?"),
        ("CREATE CATALOG c USING hadoop WITH (warehouse = '/w', \"s3.endpont\" = 'x')", "CONFIGURATION_INVALID", "s3.endpont"),
        ("CREATE CATALOG c USING hadoop WITH (warehouse = '/w', type = 'sql')", "INVALID_ARGUMENTS", "USING names the type"),
        ("CREATE CATALOG c USING rest WITH (uri = '${ENV:NO_SUCH_VARIABLE}')", "CONFIGURATION_INVALID", "NO_SUCH_VARIABLE"),
        ("CREATE CATALOG \"Upper Case\" USING hadoop WITH (warehouse = '/w')", "CONFIGURATION_INVALID", "is not a name"),
        ("CREATE CATALOG c WITH (warehouse = '/w')", "SYNTAX_ERROR", "USING"),
        ("DROP CATALOG written", "NOT_SUPPORTED", "[catalog.written]"),
        ("DROP CATALOG lake", "NOT_SUPPORTED", "cannot be dropped"),
    ):
        error = failure(server, sql)
        assert code in error and message in error, (sql, error)
    assert names(server) == ["lake", "written"]


def test_catalogs_outlive_the_server(server, folder, failure):
    server.rows(f"CREATE CATALOG kept USING sql WITH (uri = 'sqlite://{folder}/kept.sqlite', warehouse = 'file://{folder}/kept')")
    server.rows("CREATE SCHEMA kept.s")
    server.rows("CREATE TABLE kept.s.t AS SELECT 1 AS a")
    server.rows("CREATE CATALOG dead USING rest WITH (uri = 'http://127.0.0.1:9', \"rest.client.max-retries\" = '0', token = '${ENV:A_SECRET_OF_THE_TEST}')")
    server.rows(f"CREATE CATALOG plain USING sql WITH (uri = 'postgresql://ada:{SECRET}@127.0.0.1:9/lake', warehouse = 'file://{folder}/plain')")
    assert "CATALOG_UNAVAILABLE" in failure(server, "SHOW SCHEMAS FROM dead")
    file = server.data_dir / "catalogs.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "${ENV:A_SECRET_OF_THE_TEST}" in file.read_text()
    assert SECRET not in server.text()
    server.kill()
    server.start()
    assert names(server) == ["dead", "kept", "lake", "plain", "written"]
    assert server.value("SELECT a FROM kept.s.t") == 1
    assert SECRET not in server.text()
    for name in ("dead", "kept", "plain"):
        server.rows(f"DROP CATALOG {name}")
    server.stop()
    server.start()
    assert names(server) == ["lake", "written"]
    assert (folder / "kept.sqlite").exists()


def test_a_file_that_is_damaged_keeps_the_server_from_starting(server):
    server.stop()
    file = server.data_dir / "catalogs.json"
    text = file.read_text()
    file.write_text("{")
    stopped = nunatak(*server.command[1:], timeout=60)
    assert stopped.returncode != 0 and "catalogs.json" in stopped.stdout + stopped.stderr
    file.write_text(text)
    server.start()
    assert names(server) == ["lake", "written"]
