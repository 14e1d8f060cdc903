"""Catalogs that statements make: known at once, kept over restarts, and forgotten without a trace in what they stood for."""

import concurrent.futures
import json
import socket
import stat
import threading
import time
import urllib.parse

import pytest

from nunatak_testing.server import Server, nunatak, section
from nunatak_testing.trino_http import run
from servers.http_proxy import HttpProxy

SECRET = "s3cr3t-0f-a-catalog"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("create_catalog")


@pytest.fixture(scope="module")
def arguments(folder):
    config = folder / "nunatak.toml"
    config.write_text(f'[catalog.written]\ntype = "hadoop"\nwarehouse = "file://{folder}/written"\n[execution]\nlisting_wait = "1s"\n')
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


def test_a_catalog_that_is_down_keeps_nobody_waiting(server, failure):
    """One whose server accepts and says nothing, and one whose server is not there."""

    def listed(depth):
        with server.connect() as connection:
            return {one["catalog_name"]: one["catalog_db_schemas"] for one in connection.adbc_get_objects(depth=depth).read_all().to_pylist()}

    def within(seconds, work):
        started = time.monotonic()
        result = work()
        assert (taken := time.monotonic() - started) < seconds, taken
        return result

    def health():
        return {name: row for name, *row in server.rows("SELECT catalog, type, state, last_error FROM system.catalogs")}

    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        times = """"rest.client.socket-timeout-ms" = '3000', "rest.client.max-retries" = '0'"""
        within(2, lambda: server.rows(f"CREATE CATALOG silent USING rest WITH (uri = '{uri}', {times})"))
        within(2, lambda: server.rows("CREATE CATALOG gone USING hadoop WITH (warehouse = 'hdfs://127.0.0.1:9/w', \"hdfs.retry.timeout-ms\" = '3000')"))
        assert health()["silent"] == ["rest", "UNKNOWN", None] and health()["gone"] == ["hadoop", "UNKNOWN", None]
        # The first listing waits for them once, later ones do not.
        schemas = within(2.8, lambda: listed("db_schemas"))
        assert schemas.keys() == {"gone", "lake", "silent", "written"} and schemas["lake"] and not schemas["silent"] and not schemas["gone"]
        assert within(2, lambda: listed("tables"))["lake"]
        assert ("lake",) in within(2, lambda: server.rows("SELECT DISTINCT table_cat FROM system.jdbc.tables"))
        assert ("default",) in within(2, lambda: server.rows("SELECT table_schem FROM system.jdbc.schemas WHERE table_catalog = 'lake'"))
        within(2, lambda: server.rows('SHOW TABLES FROM lake."default"'))
        for name in ("silent", "gone"):
            _, state, error = health()[name]
            assert state == "DOWN" and f"catalog '{name}' gives no answer within 1s" in error
        assert health()["lake"] == ["sql", "UP", None]
        # Who names them hears what is wrong.
        assert "CATALOG_UNAVAILABLE" in within(5, lambda: failure(server, "SHOW SCHEMAS FROM silent"))
        assert "STORAGE_UNAVAILABLE" in within(5, lambda: failure(server, "SHOW SCHEMAS FROM gone"))
        assert "does not answer in time" in health()["silent"][2] and "cannot be reached" in health()["gone"][2]
        # Nobody waits for those who ask at the same time.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            within(5, lambda: list(pool.map(lambda _: failure(server, "SHOW SCHEMAS FROM silent"), range(4))))
        for name in ("silent", "gone"):
            within(2, lambda: server.rows(f"DROP CATALOG {name}"))
    assert names(server) == ["lake", "written"] and health().keys() == {"lake", "written"}


def test_each_statement_tells_whether_a_catalog_is_up(server, failure):
    for sql in [
        "CREATE SCHEMA away.s", "DROP SCHEMA away.s", "CREATE TABLE away.s.t (a int)", "CREATE TABLE away.s.t AS SELECT 1 AS a", "DROP TABLE away.s.t", "DROP VIEW away.s.v",
        "ALTER TABLE away.s.t ADD COLUMN b int", "ALTER TABLE away.s.t RENAME TO away.s.u", "CREATE VIEW away.s.v AS SELECT 1 AS a", "COMMENT ON TABLE away.s.t IS 'x'", "DESCRIBE away.s.t",
        "INSERT INTO away.s.t VALUES (1)", "SELECT * FROM away.s.t", "SHOW SCHEMAS FROM away",
    ]:
        server.rows("CREATE CATALOG away USING rest WITH (uri = 'http://127.0.0.1:9', \"rest.client.max-retries\" = '0')")
        health = lambda: server.rows("SELECT state, last_error FROM system.catalogs WHERE catalog = 'away'")
        assert health() == [("UNKNOWN", None)]
        assert "CATALOG_UNAVAILABLE" in failure(server, sql)
        ((state, error),) = health()
        assert state == "DOWN" and "http://127.0.0.1:9" in error, (sql, state, error)
        server.rows("DROP CATALOG away")


def test_a_metastore_that_says_nothing_has_no_thread_of_ours(server):
    """A listing that is over has nobody who still waits for what it has left out."""

    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        silent.settimeout(5)
        server.rows(f"CREATE CATALOG mute USING hive WITH (uri = 'thrift://127.0.0.1:{silent.getsockname()[1]}', warehouse = '/w')")
        assert ("lake",) in server.rows("SELECT DISTINCT table_cat FROM system.jdbc.tables")
        connection, _ = silent.accept()
        ended = time.monotonic()
        with connection:
            connection.settimeout(5)
            # What it has said, and then the end.
            while connection.recv(1 << 16):
                pass
        assert time.monotonic() - ended < 1
        server.rows("DROP CATALOG mute")


def test_a_failure_of_one_table_is_not_its_catalogs(server, failure):
    """A server that says that it fails for one table is up; nobody knows that of one before which a proxy says it."""
    server.rows("CREATE SCHEMA one_fails")
    for name in ("good", "bad"):
        server.rows(f"CREATE TABLE one_fails.{name} AS SELECT 1 AS a")

    def state():
        return server.value("SELECT state FROM system.catalogs WHERE catalog = 'proxied'")

    def listed():
        with server.connect() as connection:
            found = connection.adbc_get_objects(depth="all", db_schema_filter="one_fails").read_all().to_pylist()
        schemas = next(catalog["catalog_db_schemas"] for catalog in found if catalog["catalog_name"] == "proxied")
        return {table["table_name"]: len(table["table_columns"] or []) for schema in schemas for table in schema["db_schema_tables"]}

    def columns():
        return server.rows("SELECT table_name FROM system.jdbc.columns WHERE table_schem = 'one_fails' AND table_cat = 'proxied' ORDER BY 1")

    said = json.dumps({"error": {"message": "no luck with this one", "type": "InternalServerError", "code": 500}})
    with HttpProxy(f"http://{server.http}") as proxy:

        def answer_for_one(*answer):
            proxy.answer = lambda method, path, *_: answer if path.endswith("/tables/bad") else None

        properties = f"uri = '{proxy.endpoint}/iceberg', warehouse = 'lake', \"rest.client.max-retries\" = '0'"
        server.rows(f"CREATE CATALOG proxied USING rest WITH ({properties})")
        assert listed() == {"good": 1, "bad": 1} and columns() == [("bad",), ("good",)]
        for status in (500, 503):
            answer_for_one(status, said, {"content-type": "application/json"})
            error = failure(server, "SELECT * FROM proxied.one_fails.bad")
            assert "ICEBERG_CATALOG_ERROR" in error and f"failed with status {status}: no luck with this one" in error, error
            assert state() == "UP" and server.value("SELECT a FROM proxied.one_fails.good") == 1
            assert listed() == {"good": 1, "bad": 0} and columns() == [("good",)] and state() == "UP"
        answer_for_one(502, "<html>", {"content-type": "text/html"})
        assert "CATALOG_UNAVAILABLE" in failure(server, "SELECT * FROM proxied.one_fails.bad")
        assert state() == "DOWN" and listed() == {}
        # Who names it asks it all the same.
        proxy.answer = None
        assert ("one_fails",) in server.rows("SHOW SCHEMAS FROM proxied")
        assert state() == "UP" and listed() == {"good": 1, "bad": 1}

        # Nobody who makes a table waits for one who asks where all of them lie.
        server.rows("INSERT INTO one_fails.good VALUES (2)")
        asked = threading.Event()

        def answer_slowly(_, path, *__):
            if path.endswith("snapshots=refs"):
                asked.set()
                time.sleep(2)

        proxy.answer = answer_slowly
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            expiry = pool.submit(server.rows, "ALTER TABLE proxied.one_fails.good EXECUTE expire_snapshots(retention_threshold => '0s')")
            assert asked.wait(5)
            started = time.monotonic()
            server.rows("CREATE TABLE proxied.one_fails.new (a bigint)")
            assert time.monotonic() - started < 1.5
            expiry.result(20)
        server.rows("DROP TABLE proxied.one_fails.new")
        server.rows("DROP CATALOG proxied")
    for name in ("good", "bad"):
        server.rows(f"DROP TABLE one_fails.{name}")
    server.rows("DROP SCHEMA one_fails")


@pytest.mark.parametrize("status", [301, 302, 303, 308])
def test_a_server_that_has_moved(server, failure, status):
    """A change is made or it fails: it does not become a question elsewhere that is answered well."""
    server.rows("CREATE SCHEMA IF NOT EXISTS moved")
    server.rows(f"CREATE TABLE moved.t{status} AS SELECT 1 AS a")
    with HttpProxy(f"http://{server.http}") as proxy:
        server.rows(f"CREATE CATALOG moved USING rest WITH (uri = '{proxy.endpoint}/iceberg', warehouse = 'lake')")
        assert server.rows(f"SELECT a FROM moved.moved.t{status}") == [(1,)]
        there = f"http://{server.http}"
        proxy.answer = lambda method, path, *_: (status, "", {"Location": f"{there}{path}"}) if method == "POST" else None
        insert = f"INSERT INTO moved.moved.t{status} VALUES (2)"
        if status == 308:
            server.rows(insert)
        else:
            text = failure(server, insert)
            assert "ICEBERG_CATALOG_ERROR" in text and f"sends its clients elsewhere to '{there}/iceberg" in text and "the catalog's uri" in text, text
            assert "sends its clients elsewhere" in failure(server, "CREATE SCHEMA moved.not_made")
        server.rows("DROP CATALOG moved")
    assert sorted(server.rows(f"SELECT a FROM moved.t{status}")) == ([(1,), (2,)] if status == 308 else [(1,)])


def test_another_server_learns_no_secrets(server, failure):
    """It is asked all the same; the server itself, at another address, is told who we are."""
    server.rows("CREATE SCHEMA IF NOT EXISTS sent_on")
    server.rows("CREATE TABLE sent_on.t AS SELECT 1 AS a")
    with HttpProxy(f"http://{server.http}") as own, HttpProxy(f"http://{server.http}") as other:
        seen, elsewhere = [], []

        def answer(method, path, headers, body):
            if path.startswith("/old/"):
                return 308, "", {"Location": path.removeprefix("/old")}
            seen.append((headers["x-api-key"], headers["authorization"]))
            return (307, "", {"Location": other.endpoint + path}) if elsewhere else None

        def of_other(method, path, headers, body):
            others.append((path, [*headers.values()], body))
            return (status, "", {}) if status else None

        own.answer, other.answer, others, status = answer, of_other, [], None
        create = f"CREATE CATALOG sent_on USING rest WITH (uri = '{own.endpoint}/old/iceberg', warehouse = 'lake', \"header.X-Api-Key\" = '{SECRET}', %s)"
        server.rows(create % f"token = '{SECRET}-token'")
        server.rows("INSERT INTO sent_on.sent_on.t VALUES (2)")
        assert seen and set(seen) == {(SECRET, f"Bearer {SECRET}-token")} and others == []
        elsewhere.append(True)
        server.rows("INSERT INTO sent_on.sent_on.t VALUES (3)")
        assert sorted(server.rows("SELECT a FROM sent_on.t")) == [(1,), (2,), (3,)]
        assert any(path.endswith("/tables/t") for path, *_ in others)
        status = 401
        text = failure(server, "INSERT INTO sent_on.sent_on.t VALUES (4)")
        assert "ICEBERG_CATALOG_ERROR" in text and f"sends its clients elsewhere to '{other.endpoint}/iceberg" in text, text
        server.rows("DROP CATALOG sent_on")
        asked = len(others)
        server.rows(create % f"credential = 'engine:{SECRET}'")
        text = failure(server, "SHOW SCHEMAS FROM sent_on")
        assert "cannot get a token" in text and f"sends its clients elsewhere to '{other.endpoint}/iceberg" in text, text
        assert len(others) == asked
        server.rows("DROP CATALOG sent_on")
        assert SECRET not in str(others)


def test_a_server_that_answers_oddly(server, failure):
    """Parts that are left empty, namespaces without a name, names that are on two pages, pages that lead back."""
    pages = {"": (["t", "u"], "2"), "2": (["u", "v"], None)}

    def answer(_, path, *__):
        path, _, query = path.partition("?")
        if path.endswith("/v1/config"):
            said = {"defaults": None, "overrides": {"prefix": "lake"}, "more": 1}
        elif path.endswith("/namespaces"):
            said = {"namespaces": [[], ["odd"], ["a.b"], [""]]}
        elif path.endswith("/namespaces/odd/tables"):
            names, following = pages[urllib.parse.parse_qs(query).get("pageToken", [""])[0]]
            said = {"identifiers": [{"namespace": ["odd"], "name": name} for name in names], "next-page-token": following}
        else:
            return None
        return 200, json.dumps(said), {"content-type": "application/json"}

    with HttpProxy(f"http://{server.http}") as proxy:
        proxy.answer = answer
        server.rows(f"CREATE CATALOG odd USING rest WITH (uri = '{proxy.endpoint}/iceberg', \"rest-page-size\" = '2', \"rest.client.max-retries\" = '0')")
        assert sorted(server.rows("SHOW SCHEMAS FROM odd")) == [("information_schema",), ("odd",), ("system",)]
        assert server.rows("SHOW TABLES FROM odd.odd") == [("t",), ("u",), ("v",)]
        pages |= {"2": (["u"], "3"), "3": (["v"], "2")}
        text = failure(server, "SHOW TABLES FROM odd.odd")
        assert "ICEBERG_CATALOG_ERROR" in text and "its pages lead back" in text, text
        server.rows("DROP CATALOG odd")


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


def test_a_catalog_that_cannot_be_opened_is_there_with_its_reason(tmp_path, failure):
    """Whatever it names outside of the configuration can come back; what is written wrong there cannot."""
    junk, secret, config = tmp_path / "junk.sqlite", tmp_path / "secret", tmp_path / "nunatak.toml"
    junk.write_text("this is no database " * 100)
    rest = {"type": "rest", "uri": "https://127.0.0.1:9", "rest.client.max-retries": "0"}
    catalogs = {
        "junk": ({"type": "sql", "uri": f"sqlite://{junk}", "warehouse": f"file://{tmp_path}/w"}, "is damaged or no SQLite database"),
        "no_authority": (rest | {"rest.ca-certificate": "/no/such"}, "rest.ca-certificate: '/no/such' cannot be used"),
        "no_folder": ({"type": "hadoop", "warehouse": "hdfs://ns/w", "hdfs.config-dir": "/no/such"}, "hdfs.config-dir: "),
        "no_token": (rest | {"token": f"${{FILE:{secret}}}"}, f"catalog.no_token.token: file '{secret}' cannot be read"),
    }
    sections = "".join(section(name, values) for name, (values, _) in catalogs.items())
    config.write_text(sections)
    with Server(tmp_path / "data", "--config", config) as server:
        assert names(server) == sorted([*catalogs, "lake"])
        for name, (_, reason) in catalogs.items():
            for sql in (f"SHOW SCHEMAS FROM {name}", f"SELECT * FROM {name}.s.t", f"CREATE SCHEMA {name}.s"):
                assert reason in failure(server, sql), sql
            assert reason in server.rest("GET", f"v1/{name}/namespaces").text
        junk.unlink()
        secret.write_text("t0ken")
        server.rows("CREATE SCHEMA junk.s")
        server.rows("CREATE TABLE junk.s.t AS SELECT 1 AS a")
        assert server.value("SELECT a FROM junk.s.t") == 1
        assert "CATALOG_UNAVAILABLE" in failure(server, "SHOW SCHEMAS FROM no_token")
        server.rows(f"CREATE CATALOG made USING rest WITH (uri = 'https://127.0.0.1:9', token = '${{FILE:{secret}}}', \"rest.client.max-retries\" = '0')")
        secret.unlink()
        server.stop()
        server.start()
        assert "made" in names(server) and f"catalog.made.token: file '{secret}' cannot be read" in failure(server, "SHOW SCHEMAS FROM made")
        secret.write_text("t0ken")
        assert "CATALOG_UNAVAILABLE" in failure(server, "SHOW SCHEMAS FROM made")
        server.rows("DROP CATALOG made")
        assert server.value("SELECT a FROM junk.s.t") == 1
    for wrong in ({"rest-page-sise": "1"}, {"s3.endpont": "x"}, {"rest-page-size": "many"}, {"token": "${TOKEN}"}):
        config.write_text(sections + section("wrong", rest | wrong))
        stopped = nunatak(*server.command[1:], timeout=60)
        assert stopped.returncode == 2, (wrong, stopped.stdout, stopped.stderr)


@pytest.mark.parametrize(
    "what",
    [
        "sql WITH (uri = 'postgresql//ada:!@h/lake', warehouse = '/w')",
        "sql WITH (uri = 'host=h password=!', warehouse = '/w')",
        "sql WITH (uri = 'postgresql://ada:x@!@h/lake', warehouse = '/w')",
        "rest WITH (uri = 'ada:!@h/x')",
        "rest WITH (uri = 'http://h', token = 'x' '!')",
        "rest WITH (uri = 'http://h', token = 'x' || '!')",
        "rest WITH (uri = 'ftp://ada:!@h/x')",
        "hive WITH (uri = 'thrift://ada:!@h:x', warehouse = '/w')",
        "hadoop WITH (warehouse = 's3://key:!@lake/x')",
        "hadoop WITH (warehouse = 'gs://lake/x', \"gcs.oauth2.token\" = '!\n')",
        "hadoop WITH (warehouse = 'abfss://lake@account.dfs.core.windows.net/x', \"adls.token\" = '!\n')",
    ],
)
def test_secrets_in_what_is_refused_are_not_told(server, failure, what):
    text = failure(server, f"CREATE CATALOG leaky USING {what.replace('!', SECRET)}")
    assert SECRET not in text and any(reason in text for reason in ("CONFIGURATION_INVALID", "is not a location", "found: something else")), text
    assert SECRET not in server.text()


def test_statements_with_secrets_are_not_shown(server):
    """Neither in the log nor in lists of queries, and the values of prepared ones are not either."""
    catalog = "CATALOG hidden USING rest WITH (uri = 'http://127.0.0.1:9', token = {})"
    server.rows(f"CREATE /* of a test */ {catalog.format(repr(SECRET))}")
    server.rows("DROP CATALOG hidden")
    prepared = {"X-Trino-Prepared-Statement": "p=" + urllib.parse.quote_plus(f"CREATE {catalog.format('?')}")}
    assert "error" not in run(server, f"EXECUTE p USING '{SECRET}'", prepared)
    listed = {query for (query,) in server.rows("SELECT query FROM system.runtime.queries")}
    assert {"CREATE CATALOG ...", "EXECUTE ..."} <= listed
    assert SECRET not in str(listed) + server.text()
    server.rows("DROP CATALOG hidden")
