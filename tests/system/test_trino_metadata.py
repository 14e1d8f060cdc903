"""What clients of Trino look up, and what they do with their sessions: the statements that they send, in `tests/queries/clients`, run here and on a real Trino over tables that are alike,
and what differs from statement to statement: transactions, roles, the queries that run."""

import asyncio
import re
import resource
import time
import uuid
from pathlib import Path

import pytest
import sqlalchemy
import trino as trino_client

from nunatak_testing.server import ROOT, Server, eventually
from nunatak_testing.trino_http import call, error, post, run

QUERIES = ROOT / "tests/queries/clients"
SESSION = {"X-Trino-Catalog": "lake", "X-Trino-Schema": "shop", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME,SESSION_AUTHORIZATION,PATH"}
NO_TRANSACTION = {"X-Trino-Transaction-Id": "NONE"}
TABLES = [
    "CREATE SCHEMA lake.shop",
    "CREATE TABLE lake.shop.people (id bigint NOT NULL COMMENT 'the key', name varchar, born date, wage decimal(9, 2), at timestamp(6) with time zone) COMMENT 'who is there'",
    "INSERT INTO lake.shop.people VALUES (1, 'ada', DATE '2015-12-10', DECIMAL '1.50', TIMESTAMP '2024-01-01 00:00:00 UTC')",
    "CREATE VIEW lake.shop.named AS SELECT id, name FROM lake.shop.people",
]
ENDLESS = "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE (a.n * b.n) % 7 = 3"


def statements():
    """Those of all files, each with its place and whether its rows are the same."""
    for path in sorted(QUERIES.glob("*.sql")):
        text = re.sub(r"^--.*$", "", path.read_text(), flags=re.MULTILINE)
        for number, (sql, mark) in enumerate(re.findall(r"(\S.*?);[ ]*(-- rows)?$", text, re.DOTALL | re.MULTILINE), 1):
            yield pytest.param(sql, bool(mark), id=f"{path.stem}-{number}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    config.write_text('[server]\nclient_timeout = "5s"\n')
    with Server(folder / "data", "--config", config) as server:
        for sql in TABLES:
            assert "error" not in run(server, sql)
        yield server


@pytest.fixture(scope="module")
def trino(trino_server, tmp_path_factory):
    """The address of a Trino with the same tables in a catalog of the same name."""
    properties = {"iceberg.catalog.type": "TESTING_FILE_METASTORE", "hive.metastore.catalog.dir": f"file://{tmp_path_factory.mktemp('trino_lake')}", "fs.hadoop.enabled": "true"}
    address = f"http://127.0.0.1:{trino_server.port}"
    with trino_server.catalogs({"lake": properties}):
        for sql in TABLES:
            assert "error" not in run(address, sql)
        yield address


def columns(answer):
    """Names and types. A text that Trino knows the length of is one of any length here, and where it spells a name as the statement does it is in lower case here."""
    assert "error" not in answer, answer["error"]["message"]
    return [(column["name"].lower(), re.sub(r"varchar\(\d+\)", "varchar", column["type"])) for column in answer["columns"]]


@pytest.mark.parametrize("sql, same_rows", list(statements()))
def test_what_clients_look_up(server, trino, sql, same_rows):
    ours, theirs = run(server, sql, SESSION), run(trino, sql, SESSION)
    assert columns(ours) == columns(theirs)
    if same_rows:
        assert sorted(map(repr, ours["data"])) == sorted(map(repr, theirs["data"]))


def test_sessions_are_those_of_trino(server, trino):
    """The same answers, the same errors and the same changes of the session, statement by statement, in transactions and outside of them."""
    id_of = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
    script = [
        "COMMIT", "START TRANSACTION READ ONLY", "SELECT count(*) FROM people", "INSERT INTO people (id) VALUES (2)", "SELECT 1", "ROLLBACK", "ROLLBACK",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) FROM people", "SHOW TABLES", "USE lake.shop", "PREPARE p FROM SELECT 1", "COMMIT",
        "START TRANSACTION", "INSERT INTO people (id) VALUES (2)", "SELECT 1", "COMMIT",
        "START TRANSACTION", "SELECT nope FROM people", "SELECT 1", "ROLLBACK",
        "START TRANSACTION", "START TRANSACTION", "ROLLBACK",
        "START TRANSACTION", "CREATE SCHEMA s", "ROLLBACK", "START TRANSACTION", "DROP VIEW named", "ROLLBACK", "START TRANSACTION", "EXPLAIN DELETE FROM people", "ROLLBACK",
        "START TRANSACTION", "CALL system.runtime.kill_query('20261126_000000_00000_aaaaa')", "ROLLBACK", "START TRANSACTION READ ONLY, READ WRITE",
        "SET ROLE ALL", "SET ROLE NONE", "SET ROLE admin", "SET ROLE admin IN lake", "SET ROLE ALL IN lake", "SET ROLE ALL IN nope", "SHOW ROLES FROM lake", "SHOW ROLES FROM nope",
        "SET SESSION AUTHORIZATION bob", "RESET SESSION AUTHORIZATION", "SET PATH shop", "SET PATH nope.shop", "CREATE ROLE r", "USE system.runtime",
        "SELECT * FROM information_schema.roles", "SHOW GRANTS ON nope", "CALL system.runtime.kill_query('20261126_000000_00000_aaaaa')",
        "SHOW TABLES LIKE 'a$b' ESCAPE '$'", "EXPLAIN (TYPE NOPE) SELECT 1", "EXPLAIN (TYPE VALIDATE) SELECT nope",
    ]  # fmt: skip

    def played(address):
        headers, steps = SESSION | NO_TRANSACTION, []
        for sql in script:
            answer = run(address, sql, headers)
            session = answer["session"]
            if "x-trino-started-transaction-id" in session:
                headers = SESSION | {"X-Trino-Transaction-Id": session["x-trino-started-transaction-id"]}
            if sql in ("COMMIT", "ROLLBACK") and answer.get("error", {}).get("errorName") != "NOT_IN_TRANSACTION":
                headers = SESSION | NO_TRANSACTION
            # When Trino gives the headers of what has failed is a matter of luck.
            told = {} if "error" in answer else {name: id_of.sub("ID", value) for name, value in session.items() if name != "x-trino-added-prepare"}
            outcome = answer["error"]["errorName"] if "error" in answer else answer["data"]
            steps.append((sql, outcome, told))
        return steps

    for ours, theirs in zip(played(server), played(trino), strict=True):
        assert ours == theirs


def test_transactions_see_tables_as_they_were(server):
    server.rows("CREATE TABLE shop.seen AS SELECT 1 AS a")
    inside = SESSION | {"X-Trino-Transaction-Id": run(server, "START TRANSACTION", SESSION | NO_TRANSACTION)["session"]["x-trino-started-transaction-id"]}
    count = lambda headers: run(server, "SELECT count(*) FROM seen", headers)["data"]
    assert count(inside) == [[1]]
    server.rows("INSERT INTO shop.seen VALUES (2)")
    assert count(inside) == [[1]] and count(SESSION) == [[2]]
    listed = run(server, "SELECT transaction_id, isolation_level, read_only FROM system.runtime.transactions", SESSION)["data"]
    assert [inside["X-Trino-Transaction-Id"], "READ UNCOMMITTED", False] in listed
    assert error(server, "SELECT 1", inside | {"X-Trino-User": "bob"})["errorName"] == "UNKNOWN_TRANSACTION"
    run(server, "COMMIT", inside)
    assert error(server, "SELECT 1", inside)["errorName"] == "UNKNOWN_TRANSACTION"


def test_transactions_without_statements_expire(server):
    inside = {"X-Trino-Transaction-Id": run(server, "START TRANSACTION", NO_TRANSACTION)["session"]["x-trino-started-transaction-id"]}
    assert run(server, "SELECT 1", inside)["data"] == [[1]]
    time.sleep(5.2)
    assert error(server, "SELECT 1", inside)["errorName"] == "UNKNOWN_TRANSACTION"
    assert error(server, "SELECT 1", {"X-Trino-Transaction-Id": str(uuid.uuid4())})["errorName"] == "UNKNOWN_TRANSACTION"
    assert run(server, "ROLLBACK", inside)["session"] == {"x-trino-clear-transaction-id": "true"}
    assert error(server, "START TRANSACTION")["errorName"] == "INCOMPATIBLE_CLIENT"


def test_the_clients_that_use_transactions(server):
    """trino-python-client with an isolation level, and SQLAlchemy with one: what reads works, what writes is refused unless it is AUTOCOMMIT."""
    host, port = server.http.split(":")
    serializable = trino_client.transaction.IsolationLevel.SERIALIZABLE
    with trino_client.dbapi.connect(host=host, port=int(port), user="ada", catalog="lake", schema="shop", isolation_level=serializable) as connection:
        cursor = connection.cursor()
        assert cursor.execute("SELECT count(*) FROM people").fetchall() == [[1]]
        assert cursor.execute("SELECT name FROM people").fetchall() == [["ada"]]
        connection.commit()
        with pytest.raises(trino_client.exceptions.TrinoUserError, match="AUTOCOMMIT_WRITE_CONFLICT"):
            connection.cursor().execute("INSERT INTO people (id) VALUES (2)").fetchall()
        connection.rollback()
    address = f"trino://ada@{server.http}/lake/shop"
    with sqlalchemy.create_engine(address, isolation_level="SERIALIZABLE").connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM people")).scalar() == 1
        connection.commit()
    with sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE alone (a bigint)"))


def test_nobody_acts_for_another(server):
    assert error(server, "SELECT 1", {"X-Trino-Original-User": "bob"})["errorName"] == "PERMISSION_DENIED"
    assert run(server, "SELECT current_user", {"X-Trino-Original-User": "ada"})["data"] == [["ada"]]
    assert post(server, "SELECT 1", {"X-Trino-Role": "system=ROLE{admin}"})[0] == 403
    assert post(server, "SELECT 1", {"X-Trino-Role": "system=admin"})[0] == 400
    assert error(server, "SET PATH lake.shop")["errorName"] == "NOT_SUPPORTED"
    assert run(server, "SELECT current_path", {"X-Trino-Path": "a, lake.b", "X-Trino-Role": "lake=ROLE{admin},system=ALL"})["data"] == [["a, lake.b"]]


def listed(server, id):
    """A query, as the table of them has it."""
    sql = f"SELECT state, \"user\", source, query, error_type, error_code, started >= created, \"end\" >= started FROM system.runtime.queries WHERE query_id = '{id}'"
    return run(server, sql)["data"]


def test_queries_that_run_are_listed_and_killed(server, numbers):
    _, _, answer = post(server, ENDLESS, {"X-Trino-Source": "test", "X-Trino-Schema": "default"})
    id = answer["id"]
    assert listed(server, id)[0][:3] == ["QUEUED", "ada", "test"]
    answer = call(answer["nextUri"])[2]
    assert listed(server, id) == [["RUNNING", "ada", "test", ENDLESS, None, None, True, None]]
    tasks = run(server, f"SELECT state, splits > 0, stage_id FROM system.runtime.tasks WHERE query_id = '{id}'")["data"]
    assert tasks and all(state == "RUNNING" and stage.startswith(f"{id}.") for state, _, stage in tasks)
    kill = f"CALL system.runtime.kill_query(query_id => '{id}', message => 'Query cancelled by Superset')"
    killed = run(server, kill, {"X-Trino-User": "bob"})
    assert "error" not in killed and (killed["updateType"], killed["data"]) == ("CALL", [])
    assert eventually(server.is_idle, 5)
    found = call(answer["nextUri"])[2]["error"]
    assert (found["errorName"], found["errorCode"], found["message"]) == ("ADMINISTRATIVELY_KILLED", 38, "Query killed. Message: Query cancelled by Superset")
    assert listed(server, id)[0][4:] == ["USER_ERROR", "ADMINISTRATIVELY_KILLED", True, True]
    assert error(server, kill)["errorName"] == "NOT_SUPPORTED"
    assert error(server, "CALL system.runtime.kill_query('nope')")["errorName"] == "NOT_FOUND"


@pytest.mark.parametrize("how", ["cancelled", "killed"])
def test_what_is_ended_from_outside_aborts_its_transaction(server, numbers, how):
    inside = {"X-Trino-Transaction-Id": run(server, "START TRANSACTION", NO_TRANSACTION)["session"]["x-trino-started-transaction-id"]}
    _, _, answer = post(server, ENDLESS, inside | {"X-Trino-Schema": "default"})
    answer = call(answer["nextUri"])[2]
    assert run(server, "SELECT 1", inside)["data"] == [[1]]
    if how == "cancelled":
        call(answer["nextUri"], method="DELETE")
    else:
        run(server, f"CALL system.runtime.kill_query('{answer['id']}')")
    aborted = lambda: run(server, "SELECT 1", inside).get("error", {}).get("errorName") == "TRANSACTION_ALREADY_ABORTED"
    assert eventually(aborted, 5)
    assert error(server, "COMMIT", inside)["errorName"] == "TRANSACTION_ALREADY_ABORTED"


def test_queries_of_flight_sql_are_listed_and_killed(server, numbers):
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT a.n FROM {numbers} a CROSS JOIN {numbers} b")
        running = "SELECT query_id, \"user\" FROM system.runtime.queries WHERE query LIKE '%CROSS JOIN%' AND state = 'RUNNING'"
        assert eventually(lambda: run(server, running).get("data"), 10)
        ((id, user),) = run(server, running)["data"]
        assert re.fullmatch("[0-9a-f]{32}", id)
        assert "error" not in run(server, f"CALL system.runtime.kill_query('{id}')", {"X-Trino-User": user})
        with pytest.raises(Exception, match="Query killed. No message provided."):
            cursor.fetchall()


SENT = 1_000
WAITING = 5_000


def test_many_clients_wait(server, numbers):
    """Clients with statements that are not asked for yet, and many that wait for the results of a query that gives none: a new one is answered at once, and
    what each costs is a connection."""
    wanted = SENT + WAITING + 1_000
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < wanted:
        pytest.skip(f"a process may have {limits[1]} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], wanted), limits[1]))
    host, port = server.http.split(":")
    process = Path(f"/proc/{server.process.pid}")
    _, _, endless = post(server, ENDLESS, {"X-Trino-Schema": "default", "X-Trino-Session": "task_concurrency=1"})
    endless = call(endless["nextUri"])[2]
    path = endless["nextUri"].partition(server.http)[2]
    before, threads = server.forget_memory_peak(), len(list((process / "task").iterdir()))

    async def request(text):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text.encode())
        await writer.drain()
        return reader, writer

    async def wait():
        send = "POST /v1/statement HTTP/1.1\r\nHost: {0}\r\nX-Trino-User: ada\r\nContent-Length: 8\r\n\r\nSELECT 1".format(server.http)
        get = f"GET {path} HTTP/1.1\r\nHost: {server.http}\r\nX-Trino-User: ada\r\n\r\n"
        sent = await asyncio.gather(*(request(send) for _ in range(SENT)))
        heads = await asyncio.gather(*(reader.readuntil(b"\r\n") for reader, _ in sent))
        assert set(heads) == {b"HTTP/1.1 200 OK\r\n"}
        waiting = await asyncio.gather(*(request(get) for _ in range(WAITING)))
        start = time.monotonic()
        found = await asyncio.to_thread(run, server, "SELECT 1")
        answered = time.monotonic() - start
        opened = len(list((process / "fd").iterdir()))
        heads = await asyncio.gather(*(reader.readuntil(b"\r\n") for reader, _ in waiting))
        assert set(heads) == {b"HTTP/1.1 200 OK\r\n"}
        for _, writer in [*sent, *waiting]:
            writer.close()
        return found["data"], answered, opened

    data, answered, opened = asyncio.run(wait())
    assert data == [[1]] and answered < 2, answered
    assert opened > (SENT + WAITING) * 0.9
    assert len(list((process / "task").iterdir())) - threads < 50
    assert server.memory_peak() - before < 300 << 20
    call(endless["nextUri"], method="DELETE")
    # Nobody asks for their results any more: that ends them.
    assert eventually(lambda: all(query["state"] != "QUEUED" for query in call(f"http://{server.http}/v1/query")[2]), 10)
