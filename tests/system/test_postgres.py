"""Catalogs of type sql in PostgreSQL: what the matrix of test_catalogs.py does not see of it."""

import concurrent.futures
import threading
import time

import pyarrow
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from nunatak_testing.server import Server, nunatak, section
from servers.postgres import Postgres
from servers.proxy import Proxy

# Java's first version of the tables.
V0 = """CREATE TABLE iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), PRIMARY KEY (catalog_name, table_namespace, table_name));
CREATE TABLE iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255), property_value VARCHAR(1000),
    PRIMARY KEY (catalog_name, namespace, property_key));"""
COLUMNS = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'iceberg_tables'"
TABLES_MANY = 10_000


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        for database in ("lake", "old"):
            postgres.create_database(database)
        postgres.sql("old", V0)
        postgres.sql("postgres", "CREATE ROLE reader LOGIN PASSWORD 'reader'")
        yield postgres


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    return f"file://{tmp_path_factory.mktemp('warehouse')}"


@pytest.fixture(scope="module")
def server(tmp_path_factory, postgres, warehouse):
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    address = f"postgresql://127.0.0.1:{postgres.port}/lake"
    trusted = f"&sslrootcert={postgres.authority}"
    account = {"jdbc.user": postgres.user, "jdbc.password": postgres.password}
    catalogs = {
        "pg": {"uri": postgres.uri("lake", "localhost", f"?sslmode=verify-full{trusted}")},
        "wrong_password": {"uri": address, "jdbc.user": postgres.user, "jdbc.password": "wrong"},
        "no_password": {"uri": address, "jdbc.user": postgres.user},
        "no_rights": {"uri": address, "jdbc.user": "reader", "jdbc.password": "reader"},
        "no_database": {"uri": postgres.uri("nowhere")},
        "dead": {"uri": "postgresql://127.0.0.1:9/lake"},
        "authority": {"uri": f"{address}?sslmode=verify-ca{trusted}", **account},
        "untrusted": {"uri": f"{address}?sslmode=verify-ca", **account},
        "other_name": {"uri": f"{address}?sslmode=verify-full{trusted}", **account},
        "old": {"uri": postgres.uri("old")},
        "upgraded": {"uri": postgres.uri("old"), "jdbc.schema-version": "V1"},
    }
    config.write_text("".join(section(name, {"type": "sql", **values, "warehouse": warehouse}) for name, values in catalogs.items()))
    with Server(folder / "data", "--config", config) as server:
        server.config = config
        yield server


def pyiceberg(postgres, warehouse, name, database):
    return SqlCatalog(name, uri=postgres.uri(database, scheme="postgresql+psycopg"), warehouse=warehouse)


@pytest.mark.parametrize(
    "catalog, code, message",
    [
        ("wrong_password", "CATALOG_ACCESS_DENIED", "lets user 'nunatak' not in"),
        ("no_password", "CATALOG_ACCESS_DENIED", "password missing"),
        ("no_rights", "CATALOG_ACCESS_DENIED", "does not let user 'reader' do this"),
        ("no_database", "CONFIGURATION_INVALID", "has no database 'nowhere'"),
        ("dead", "CATALOG_UNAVAILABLE", "PostgreSQL at 127.0.0.1:9 cannot be reached"),
        ("untrusted", "CATALOG_UNAVAILABLE", "is not trusted"),
        ("other_name", "CATALOG_UNAVAILABLE", "is not trusted"),
    ],
)
def test_a_server_that_cannot_be_used(server, failure, catalog, code, message):
    for sql in (f"SELECT * FROM {catalog}.s.t", f"CREATE SCHEMA {catalog}.s"):
        start = time.monotonic()
        error = failure(server, sql)
        assert code in error and message in error and "operation: " in error, error
        assert time.monotonic() - start < 15
    assert server.value("SELECT 1") == 1


def test_connections_are_encrypted(server, postgres):
    server.rows("CREATE SCHEMA IF NOT EXISTS pg.tls")
    server.rows("SHOW SCHEMAS FROM authority")
    encrypted = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'nunatak' AND datname = 'lake'"
    assert postgres.sql("lake", f"SELECT count(*) > 0, bool_and(ssl) {encrypted}") == "t|t"


def test_the_server_is_killed_and_comes_back(server, postgres, failure):
    """Commits go on beside it: those that were told to have succeeded are there, those that were told to have failed are not, unless nobody knows."""
    server.rows("CREATE SCHEMA pg.restart")
    server.rows("CREATE TABLE pg.restart.t (writer bigint, n bigint)")
    stop = threading.Event()

    def write(writer):
        done, unknown, failed, n = [], [], [], 0
        while not stop.is_set():
            n += 1
            try:
                server.rows(f"INSERT INTO pg.restart.t VALUES ({writer}, {n})")
                done.append((writer, n))
            except Exception as error:
                assert "CATALOG_UNAVAILABLE" in str(error) or "COMMIT_STATE_UNKNOWN" in str(error) or "CONFLICT" in str(error), error
                (unknown if "COMMIT_STATE_UNKNOWN" in str(error) else failed).append((writer, n))
                time.sleep(0.05)
        return done, unknown

    with concurrent.futures.ThreadPoolExecutor(3) as writers:
        running = [writers.submit(write, writer) for writer in range(3)]
        for down_seconds in (0, 0, 2.5):
            time.sleep(1)
            postgres.kill()
            if down_seconds:
                error = failure(server, "SELECT count(*) FROM pg.restart.t")
                assert "CATALOG_UNAVAILABLE" in error and f"localhost:{postgres.port}" in error and "operation: " in error, error
                assert server.value("SELECT 1") == 1
            time.sleep(down_seconds)
            postgres.start()
        time.sleep(1)
        stop.set()
        results = [future.result() for future in running]
    done = {row for result, _ in results for row in result}
    unknown = {row for _, result in results for row in result}
    found = server.rows("SELECT writer, n FROM pg.restart.t")
    assert len(found) == len(set(found)) and len(done) > 10
    assert done <= set(found) <= done | unknown


def test_the_server_is_killed_by_a_commit(server, postgres, failure):
    """Where nobody knows whether a change was made, it is told who gave no answer."""
    with Proxy(f"127.0.0.1:{postgres.port}") as proxy:
        uri = f"postgresql://{proxy.address}/lake?sslmode=disable&connect_timeout=2"
        account = f"\"jdbc.user\" = '{postgres.user}', \"jdbc.password\" = '{postgres.password}'"
        server.rows(f"CREATE CATALOG killed USING sql WITH (uri = '{uri}', warehouse = '{postgres.folder}/killed', {account})")
        server.rows("CREATE SCHEMA killed.s")
        server.rows("CREATE TABLE killed.s.t AS SELECT 0 AS a")

        def is_meant(data):
            if not data.endswith(b"COMMIT\0"):
                return False
            postgres.kill()
            return True

        proxy.lose_answer(is_meant)
        try:
            text = failure(server, "INSERT INTO killed.s.t VALUES (1)")
        finally:
            postgres.start()
        assert proxy.losing is None, "no COMMIT was seen"
        assert "COMMIT_STATE_UNKNOWN" in text and f"the change of table 's.t' was made: PostgreSQL at {proxy.address}" in text, text
        server.rows("INSERT INTO killed.s.t VALUES (2)")
        # The server was killed before it heard of the other one.
        assert server.rows("SELECT a FROM killed.s.t ORDER BY a") == [(0,), (2,)]
        server.rows("DROP TABLE killed.s.t")
        server.rows("DROP SCHEMA killed.s")
        server.rows("DROP CATALOG killed")


def test_reads_after_a_restart_need_no_second_try(server, postgres):
    server.rows("CREATE TABLE pg.restart.u AS SELECT 1 AS a")
    for how in (postgres.kill, postgres.stop):
        how()
        postgres.start()
        assert server.value("SELECT a FROM pg.restart.u") == 1
        server.rows("INSERT INTO pg.restart.u SELECT 1")
        server.rows("DELETE FROM pg.restart.u WHERE a = 1")
        server.rows("INSERT INTO pg.restart.u SELECT 1")


def test_pyiceberg_shares_the_catalog(server, postgres, warehouse):
    server.rows("CREATE SCHEMA pg.py")
    server.rows("CREATE TABLE pg.py.ours AS SELECT n, 'x' AS text FROM (VALUES (1), (2), (3)) AS v(n)")
    server.rows("CREATE VIEW pg.py.view AS SELECT 1 AS a")
    catalog = pyiceberg(postgres, warehouse, "pg", "lake")
    assert catalog.list_tables("py") == [("py", "ours")]
    ours = catalog.load_table("py.ours")
    assert ours.scan().to_arrow().num_rows == 3
    ours.append(ours.scan().to_arrow())
    assert server.value("SELECT count(*) FROM pg.py.ours") == 6
    data = pyarrow.table({"a": pyarrow.array([1, 2], pyarrow.int64())})
    catalog.create_namespace("theirs")
    catalog.create_table("theirs.t", schema=data.schema).append(data)
    server.rows("UPDATE pg.theirs.t SET a = a + 10")
    assert sorted(catalog.load_table("theirs.t").scan().to_arrow()["a"].to_pylist()) == [11, 12]
    server.rows("ALTER TABLE pg.theirs.t RENAME TO pg.py.t")
    assert catalog.list_tables("theirs") == [] and sorted(catalog.list_tables("py")) == [("py", "ours"), ("py", "t")]
    catalog.drop_table("py.t")
    assert server.rows("SHOW TABLES FROM pg.py") == [("ours",), ("view",)]


def test_tables_of_the_first_version_stay_as_they_are(server, postgres, warehouse, failure):
    server.rows("CREATE SCHEMA old.s")
    server.rows("CREATE TABLE old.s.t AS SELECT 1 AS a")
    server.rows("INSERT INTO old.s.t VALUES (2)")
    server.rows("ALTER TABLE old.s.t RENAME TO old.s.u")
    error = failure(server, "CREATE VIEW old.s.v AS SELECT 1 AS a")
    assert "NOT_SUPPORTED" in error and "jdbc.schema-version" in error
    assert server.rows("SHOW TABLES FROM old.s") == [("u",)]
    catalog = pyiceberg(postgres, warehouse, "old", "old")
    table = catalog.load_table("s.u")
    table.append(table.scan().to_arrow())
    assert server.value("SELECT count(*) FROM old.s.u") == 4
    assert postgres.sql("old", COLUMNS) == "5"
    # Whoever asks for the second one gets it. The first goes on as it was.
    server.rows("CREATE SCHEMA upgraded.s")
    server.rows("CREATE VIEW upgraded.s.v AS SELECT 1 AS a")
    assert postgres.sql("old", COLUMNS) == "6"
    assert server.value("SELECT a FROM upgraded.s.v") == 1
    server.rows("INSERT INTO old.s.u VALUES (3)")
    server.rows("DROP TABLE old.s.u")


def test_many_tables_are_listed(server, postgres):
    server.rows("CREATE SCHEMA pg.many")
    server.rows("CREATE TABLE pg.many.t AS SELECT 1 AS a")
    postgres.sql("lake", f"""INSERT INTO iceberg_tables
        SELECT catalog_name, table_namespace, 't' || n, metadata_location, NULL, iceberg_type FROM iceberg_tables, generate_series(2, {TABLES_MANY}) AS n
        WHERE table_namespace = 'many'""")
    for _ in range(2):
        before = server.forget_memory_peak()
        start = time.monotonic()
        assert len(server.rows("SHOW TABLES FROM pg.many")) == TABLES_MANY
        seconds = time.monotonic() - start
        print(f"{TABLES_MANY} tables listed in {seconds:.2f} s, +{server.memory_peak() - before >> 20} MiB")
    assert seconds < 2
    assert server.value("SELECT a FROM pg.many.t5000") == 1
    postgres.sql("lake", "DELETE FROM iceberg_tables WHERE table_namespace = 'many'")


def test_the_password_is_nowhere(server, postgres):
    printed = nunatak("config", "--config", server.config, timeout=60).stdout
    for text in (server.text(), printed):
        assert postgres.password not in text and "p%40ss" not in text
    assert f"{postgres.user}:***@localhost:{postgres.port}/lake" in printed


def test_tables_change_together(server, postgres):
    """One transaction of the database changes both, or none, while others write."""
    server.rows("CREATE SCHEMA pg.together")
    for table in ("a", "b"):
        server.rows(f"CREATE TABLE pg.together.{table} AS SELECT 1 AS x")

    def commit(value, tables, requirements=()):
        change = lambda table: {
            "identifier": {"namespace": ["together"], "name": table},
            "requirements": list(requirements) if table == "b" else [],
            "updates": [{"action": "set-properties", "updates": {"k": value}}],
        }
        return server.rest("POST", "v1/pg/transactions/commit", json={"table-changes": [change(table) for table in tables]}).status_code

    def write(writer):
        outcomes = [commit(f"{writer} {turn}", "ab" if writer % 2 else "ba") for turn in range(3)]
        server.rows(f"INSERT INTO pg.together.a VALUES {writer}")
        return outcomes

    with concurrent.futures.ThreadPoolExecutor(4) as writers:
        outcomes = sum(writers.map(write, range(4)), [])
    assert 204 in outcomes and set(outcomes) <= {204, 409}, outcomes
    assert commit("never", "ab", [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}]) == 409
    values = [server.rest("GET", f"v1/pg/namespaces/together/tables/{table}").json()["metadata"]["properties"]["k"] for table in "ab"]
    assert values[0] == values[1] != "never"
    assert server.value("SELECT sum(x) FROM pg.together.a") == 1 + sum(range(4))


def test_texts_with_a_character_that_it_does_not_keep(server):
    """PostgreSQL has no NUL in its texts: nothing of such a name is there, and whoever wants to make it is told so."""
    fields = [{"id": 1, "name": "a", "required": False, "type": "long"}]
    table = {"name": "a\0b", "schema": {"type": "struct", "schema-id": 0, "fields": fields}}
    server.rows("CREATE SCHEMA pg.nul")
    server.rows("CREATE TABLE pg.nul.t AS SELECT 1 AS a")
    for method, path, json, status in [
        ("POST", "namespaces", {"namespace": ["a\0b"]}, 400),
        ("POST", "namespaces", {"namespace": ["c"], "properties": {"comment": "a\0b"}}, 400),
        ("POST", "namespaces/nul/properties", {"updates": {"comment": "a\0b"}}, 400),
        ("POST", "namespaces/nul/tables", table, 400),
        ("POST", "tables/rename", {"source": {"namespace": ["nul"], "name": "t"}, "destination": {"namespace": ["nul"], "name": "a\0b"}}, 400),
        ("GET", "namespaces/a%00b", None, 404),
        ("GET", "namespaces/a%00b/tables", None, 404),
        ("GET", "namespaces/nul/tables/a%00b", None, 404),
        ("DELETE", "namespaces/nul/tables/a%00b", None, 404),
    ]:
        answer = server.rest(method, f"v1/pg/{path}", json=json)
        assert answer.status_code == status, (method, path, answer.text)
        assert status == 404 or "NUL character" in answer.json()["error"]["message"], answer.text
    assert server.rows("SHOW TABLES FROM pg.nul") == [("t",)] and ("c",) not in server.rows("SHOW SCHEMAS FROM pg")
