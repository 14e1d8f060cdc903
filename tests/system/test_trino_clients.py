"""Trino's clients over our HTTP port: the protocol itself, trino-cli, the JDBC driver, the Python client and SQLAlchemy, and the same types as a real Trino."""

import datetime
import decimal
import http.client
import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zoneinfo
from pathlib import Path

import pandas
import pytest
import sqlalchemy
import sqlalchemy.orm
import trino as trino_client

from nunatak_testing.java_checks import names, outcomes
from nunatak_testing.server import ROOT, Server, eventually
from nunatak_testing.trino_http import answers, call, error, post, run

JARS = ROOT / ".cache/jars"
SOURCE = Path(__file__).parent / "java/TrinoCheck.java"
PARAMETRIC = {"X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}
ENDLESS = "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE (a.n * b.n) % 7 = 3"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    config.write_text('[server]\nclient_timeout = "3s"\n')
    with Server(folder / "data", "--config", config) as server:
        server.rows("CREATE SCHEMA jdbc")
        server.rows("CREATE TABLE jdbc.people (id bigint NOT NULL, name varchar, born date, wage decimal(9, 2))")
        yield server


def test_results_come_page_by_page(server, numbers):
    """Pages are of bounded size, the last one can be asked for again, those before it are gone, and progress goes up to all splits."""
    rows, uris, largest = 0, [], 0
    for _, answer in answers(server, f"SELECT n, text FROM {numbers}"):
        rows += len(answer.get("data", []))
        largest = max(largest, len(json.dumps(answer.get("data", []))))
        assert {"state", "queued", "scheduled", "nodes", "totalSplits", "completedSplits", "cpuTimeMillis", "processedRows", "processedBytes"} <= answer["stats"].keys()
        if "nextUri" in answer:
            uris.append(answer["nextUri"])
    assert rows == 1_000_000 and len(uris) > 10 and largest < 5_000_000
    assert re.fullmatch(r"\d{8}_\d{6}_\d{5}_\w{5}", answer["id"])
    stats = answer["stats"]
    assert (stats["state"], stats["progressPercentage"], stats["rootStage"]["done"], stats["processedRows"]) == ("FINISHED", 100, True, 1_000_000)
    assert stats["totalSplits"] == stats["completedSplits"] > 0 and stats["processedBytes"] > 0
    last = call(uris[-1])
    assert last[0] == 200 and last[2] == call(uris[-1])[2]
    assert call(uris[-2])[0] == 410
    prefix, _, token = uris[-1].rpartition("/")
    assert call(f"{prefix}/{int(token) + 1}")[0] == 404
    query, slug = prefix.rsplit("/", 1)
    assert call(f"{query}/{slug[::-1]}/{token}")[0] == 404 and call(f"{query[:-1]}x/{slug}/{token}")[0] == 404
    _, _, info = call(answer["infoUri"])
    assert (info["queryId"], info["state"], info["session"]["user"], info["query"]) == (answer["id"], "FINISHED", "ada", f"SELECT n, text FROM {numbers}")


def test_a_page_is_given_again_as_it_was(server, numbers):
    _, _, first = post(server, f"SELECT n FROM {numbers} ORDER BY n")
    page = {}
    while not page.get("data"):
        uri = page.get("nextUri", first["nextUri"])
        page = call(uri)[2]
    assert call(uri)[2] == page
    following = call(page["nextUri"])[2]
    assert following["data"][0][0] == page["data"][-1][0] + 1
    assert call(uri)[0] == 410


def test_a_statement_runs_when_its_results_are_asked_for_and_once(server):
    server.rows("CREATE TABLE once (a bigint)")
    _, _, receipt = post(server, "INSERT INTO once VALUES (1)")
    assert receipt["stats"]["state"] == "QUEUED" and server.value("SELECT count(*) FROM once") == 0
    answer = call(receipt["nextUri"])[2]
    while "nextUri" in answer:
        answer = call(answer["nextUri"])[2]
    assert (answer["updateType"], answer["updateCount"], answer["data"]) == ("INSERT", 1, [[1]])
    call(receipt["nextUri"])
    assert server.value("SELECT count(*) FROM once") == 1


def test_cancelled_queries_stop(server, numbers):
    _, _, receipt = post(server, ENDLESS)
    running = call(receipt["nextUri"])[2]
    assert running["stats"]["state"] in ("PLANNING", "RUNNING") and not server.is_idle()
    assert call(running["nextUri"], method="DELETE")[0] == 204
    assert eventually(server.is_idle, 5)
    answer = call(running["nextUri"])[2]
    assert (answer["error"]["errorName"], answer["stats"]["state"], "nextUri" in answer) == ("USER_CANCELED", "FAILED", False)


def test_queries_of_clients_that_are_gone_stop(server, numbers):
    """A client that waits is not gone, however long its query takes; one that has gone away is, after `server.client_timeout`."""
    _, _, answer = post(server, ENDLESS)
    start = time.monotonic()
    while time.monotonic() - start < 5:
        answer = call(answer["nextUri"])[2]
        assert "error" not in answer
    assert eventually(lambda: call(f"http://{server.http}/v1/query/{answer['id']}")[2]["state"] == "FAILED", 8)
    assert eventually(server.is_idle, 8)
    assert call(answer["nextUri"])[2]["error"]["errorName"] == "USER_CANCELED"


def test_unnest_gives_way(server):
    """Rows that are made of few others, without a wait for them: other queries are answered meanwhile, and it ends when its client wants it."""
    sql = "SELECT count(*) FROM UNNEST(sequence(1, 2000)) a(n) CROSS JOIN UNNEST(sequence(1, 2000)) b(n) CROSS JOIN UNNEST(sequence(1, 2000)) c(n)"
    begun = [call(post(server, sql)[2]["nextUri"])[2] for _ in range(3)]
    assert run(server, "SELECT 1")["data"] == [[1]]
    assert [call(answer["nextUri"], method="DELETE")[0] for answer in begun] == [204] * 3
    assert eventually(server.is_idle, 8)
    ended = [call(answer["nextUri"])[2]["error"]["errorName"] for answer in begun]
    assert ended == ["USER_CANCELED"] * 3


def test_answers_wait_for_results(server, numbers):
    """A client asks about once a second while there are none, or as often as it wants to."""
    _, _, answer = post(server, ENDLESS)
    start = time.monotonic()
    for wait in ("", "?maxWait=1s", "?maxWait=100ms", "?maxWait=100ms"):
        answer = call(answer["nextUri"] + wait)[2]
    assert 2 < time.monotonic() - start < 4
    assert call(answer["nextUri"], method="DELETE")[0] == 204


def test_progress_of_stages(server, numbers):
    """Where stages write to disk, the tasks of each are counted while they run."""
    _, _, answer = post(server, ENDLESS, {"X-Trino-Session": "execution_mode=fault_tolerant"})
    stages = []
    while len(stages) < 5 and not any(stages):
        answer = call(answer["nextUri"])[2]
        assert "error" not in answer
        stages.append(answer["stats"].get("rootStage", {}).get("stageId", "0") != "0")
    stats = answer["stats"]
    assert any(stages) and stats["totalSplits"] == stats["queuedSplits"] + stats["runningSplits"] + stats["completedSplits"] > 0
    assert call(answer["nextUri"], method="DELETE")[0] == 204 and eventually(server.is_idle, 8)


def test_the_session_is_in_the_headers(server, numbers):
    """What a statement changes goes back in headers, and the next one brings it along: to any coordinator."""
    used = run(server, "USE jdbc")
    assert used["session"] == {"x-trino-set-catalog": "lake", "x-trino-set-schema": "jdbc"} and (used["updateType"], used["columns"]) == ("USE", [])
    in_jdbc = {"X-Trino-Catalog": "lake", "X-Trino-Schema": "jdbc"}
    assert run(server, "SELECT count(*) FROM people", in_jdbc)["data"] == [[0]]
    assert error(server, "SELECT * FROM people")["errorName"] == "TABLE_NOT_FOUND"
    assert run(server, "SET SESSION execution_mode = 'local'")["session"] == {"x-trino-set-session": "execution_mode=local"}
    shown = run(server, "SHOW SESSION LIKE 'execution_mode'", {"X-Trino-Session": "execution_mode=local"})
    assert shown["data"][0][:3] == ["execution_mode", "local", "auto"]
    assert run(server, "RESET SESSION execution_mode")["session"] == {"x-trino-clear-session": "execution_mode"}
    limited = {"X-Trino-Session": "query_max_run_time=1s"}
    assert run(server, "SHOW SESSION LIKE 'query_max_run_time'", limited)["data"][0][1:3] == ["1s", "100d"]
    assert error(server, ENDLESS, limited)["errorName"] == "EXCEEDED_TIME_LIMIT"
    assert error(server, "SET SESSION query_max_run_time = 'soon'")["errorName"] == "INVALID_SESSION_PROPERTY"
    assert error(server, "SELECT 1", {"X-Trino-Session": "nope=1"})["errorName"] == "INVALID_SESSION_PROPERTY"
    assert run(server, "SELECT current_user, current_catalog, current_schema", in_jdbc)["data"] == [["ada", "lake", "jdbc"]]
    # As `requests`, and with it the Python client, writes it.
    assert run(server, "SELECT current_user", {"X-Trino-User": "Zoë"})["data"] == [["Zoë"]]
    for name, value in (("X-Trino-Session", "junk"), ("X-Trino-Prepared-Statement", "a=b=c"), ("X-Trino-Transaction-Id", "abc")):
        assert post(server, "SELECT 1", {name: value})[0] == 400
    zone = run(server, "SET TIME ZONE 'Europe/Zurich'")
    assert (zone["updateType"], zone["session"]) == ("SET TIME ZONE", {"x-trino-set-session": "time_zone=Europe%2FZurich"})
    assert run(server, "SET TIME ZONE LOCAL")["session"] == {"x-trino-clear-session": "time_zone"}
    moment = "SELECT current_timezone(), CAST(TIMESTAMP '2024-01-01 00:00:00 UTC' AS varchar), from_unixtime(0)"
    for zone in ("Europe/Zurich", "+05:30"):
        shown = {"Europe/Zurich": "1970-01-01 01:00:00.000 Europe/Zurich", "+05:30": "1970-01-01 05:30:00.000 +05:30"}[zone]
        assert run(server, moment, {"X-Trino-Time-Zone": zone})["data"] == [[zone, "2024-01-01 00:00:00.000000 UTC", shown]]
    zones = {"X-Trino-Time-Zone": "Europe/Zurich", "X-Trino-Session": "time_zone=Asia%2FTokyo"}
    assert run(server, "SELECT current_timezone()", zones)["data"] == [["Asia/Tokyo"]]
    assert error(server, "SELECT 1", {"X-Trino-Time-Zone": "Nowhere"})["errorName"] == "INVALID_SESSION_PROPERTY"


def test_a_hundred_prepared_statements(server):
    """The JDBC driver has a header for each."""
    connection = http.client.HTTPConnection(server.http)
    connection.putrequest("POST", "/v1/statement")
    for number in range(500):
        connection.putheader("X-Trino-Prepared-Statement", f"s{number}=SELECT+{number}+%2B+%3F")
    for name, value in (("X-Trino-User", "ada"), ("Content-Length", "22")):
        connection.putheader(name, value)
    connection.endheaders(b"EXECUTE s499 USING 1  ")
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    payload, rows = json.loads(answer.read()), []
    while "nextUri" in payload:
        payload = call(payload["nextUri"])[2]
        rows += payload.get("data", [])
    assert rows == [[500]], payload


def test_prepared_statements_are_in_the_headers(server):
    added = run(server, "PREPARE a FROM SELECT ? + 1 AS b, ? AS c")["session"]["x-trino-added-prepare"]
    headers = {"X-Trino-Prepared-Statement": added, **PARAMETRIC}
    assert run(server, "EXECUTE a USING 1, 'it''s'", headers)["data"] == [[2, "it's"]]
    assert run(server, "EXECUTE IMMEDIATE 'SELECT n FROM (VALUES 1, 2, 3) AS t(n) WHERE n > ? LIMIT ?' USING 1, 1")["data"] == [[2]]
    assert run(server, "DESCRIBE OUTPUT a", headers)["data"][1][0] == "c"
    people = {"X-Trino-Prepared-Statement": "p=SELECT+id%2C+born+FROM+jdbc.people+WHERE+id+%3D+%3F+AND+born+%3D+%3F"}
    assert run(server, "DESCRIBE INPUT p", people)["data"] == [[0, "bigint"], [1, "date"]]
    assert [row[:1] + row[4:6] for row in run(server, "DESCRIBE OUTPUT p", people)["data"]] == [["id", "bigint", 8], ["born", "date", 4]]
    assert [row[1:4] + row[6:] for row in run(server, "DESCRIBE OUTPUT p", people)["data"]] == [["lake", "jdbc", "people", False]] * 2
    named = {"X-Trino-Prepared-Statement": "q=SELECT+id+AS+n%2C+p.born%2C+id+%2B+1+FROM+jdbc.people+AS+p"}
    outputs = run(server, "DESCRIBE OUTPUT q", named)["data"]
    assert [row[1:4] + row[6:] for row in outputs] == [["lake", "jdbc", "people", True], ["lake", "jdbc", "people", False], ["", "", "", False]], outputs
    long = run(server, f"PREPARE l FROM SELECT length('{'x' * 100_000}') + ?")["session"]["x-trino-added-prepare"]
    assert len(long) < 1_000 and run(server, "EXECUTE l USING 1", {"X-Trino-Prepared-Statement": long})["data"] == [[100_001]]
    assert post(server, "SELECT 1", {"X-Trino-Prepared-Statement": "a=%24zstd%3Aabc"})[0] == 400
    assert run(server, "DEALLOCATE PREPARE a", headers)["session"] == {"x-trino-deallocated-prepare": "a"}
    for sql, name in (
        ("EXECUTE a USING 1", "INVALID_PARAMETER_USAGE"),
        ("EXECUTE b", "NOT_FOUND"),
        ("DEALLOCATE PREPARE b", "NOT_FOUND"),
        ("PREPARE c FROM SELEC", "SYNTAX_ERROR"),
    ):
        assert error(server, sql, headers)["errorName"] == name, sql


def test_errors_have_names_numbers_and_places(server):
    found = error(server, "SELECT 1,\n  nope")
    assert (found["errorName"], found["errorCode"], found["errorType"], found["errorLocation"]) == ("COLUMN_NOT_FOUND", 47, "USER_ERROR", {"lineNumber": 2, "columnNumber": 3})
    assert found["failureInfo"]["errorInfo"] == {"code": 47, "name": "COLUMN_NOT_FOUND", "type": "USER_ERROR"} and found["message"].startswith("line 2:3: ")
    assert error(server, "SELECT 1 / n FROM (VALUES 0) AS t(n)")["errorName"] == "DIVISION_BY_ZERO"
    assert error(server, f"SELECT '{'x' * 10_000_000}'")["errorName"] == "QUERY_TEXT_TOO_LARGE"
    assert post(server, " ")[::2] == (400, "Error 400 Bad Request: SQL statement is empty")
    assert call(f"http://{server.http}/v1/statement")[0] == 405
    no_user = urllib.request.Request(f"http://{server.http}/v1/statement", b"SELECT 1")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(no_user)
    assert post(server, "SELECT 1", {"Origin": "https://example.org"})[0] == 403


def test_addresses_are_those_that_the_client_uses(server):
    _, _, receipt = post(server, "SELECT 1", {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "lake.example.org"})
    assert receipt["nextUri"].startswith("https://lake.example.org/v1/statement/queued/")
    assert call(f"http://{server.http}/v1/info/state")[2] == "ACTIVE"


def test_answers_are_compressed(server, numbers):
    """With Accept-Encoding the rows of a page take less, and a long header is taken."""
    headers = {"Accept-Encoding": "gzip", "X-Trino-Client-Info": "x" * 100_000}
    found = [headers for headers, answer in answers(server, f"SELECT n FROM {numbers} LIMIT 10000", headers) if answer.get("data")]
    assert all(headers["Content-Encoding"] == "gzip" for headers in found)


# Expressions that both have, by the type that they have in Trino.
VALUES = {
    "boolean": ["true"],
    "tinyint": ["CAST(-1 AS tinyint)"],
    "smallint": ["CAST(7 AS smallint)"],
    "integer": ["CAST(7 AS integer)"],
    "bigint": ["BIGINT '9007199254740993'", "count(*)"],
    "real": ["REAL '0.1'", "REAL '1e10'"],
    "double": ["1e20", "2.5e0", "CAST('NaN' AS double)", "CAST('Infinity' AS double)", "CAST('-Infinity' AS double)"],
    "decimal(4, 2)": ["DECIMAL '-12.30'"],
    "decimal(30, 10)": ["DECIMAL '12345678901234567890.0123456789'"],
    "varchar": ["CAST('ü \"quoted\" \\ line' AS varchar)"],
    "varchar(10)": ["CAST('abc' AS varchar(10))", "CAST(NULL AS varchar(10))"],
    "char(5)": ["CAST('ab' AS char(5))", "CAST(NULL AS char(5))", "CAST('ü' AS char(5))"],
    "varbinary": ["X'00ff'"],
    "date": ["DATE '2024-02-29'", "DATE '0001-01-01'"],
    "timestamp(6)": ["TIMESTAMP '2024-01-01 01:02:03.123456'", "TIMESTAMP '1969-12-31 23:59:59.999999'"],
    "timestamp(6) with time zone": ["TIMESTAMP '2024-01-01 01:02:03.123456 UTC'"],
    "time(6)": ["TIME '01:02:03.123456'"],
    "INTERVAL DAY TO SECOND": ["INTERVAL '2' DAY", "INTERVAL '-1' SECOND"],
    "INTERVAL YEAR TO MONTH": ["INTERVAL '-3' MONTH", "INTERVAL '14' MONTH"],
    "array(INTERVAL YEAR TO MONTH)": ["ARRAY[NULL, INTERVAL '0' MONTH, INTERVAL '14' MONTH]"],
    "map(INTERVAL DAY TO SECOND, row(INTERVAL YEAR TO MONTH, INTERVAL DAY TO SECOND))": ["MAP(ARRAY[INTERVAL '2' DAY], ARRAY[ROW(INTERVAL '1' MONTH, INTERVAL '-1' SECOND)])"],
    "array(bigint)": ["ARRAY[BIGINT '1', NULL]"],
    "array(array(date))": ["ARRAY[ARRAY[DATE '2024-01-01'], NULL]"],
    "map(bigint, double)": ["MAP(ARRAY[BIGINT '1'], ARRAY[1.5e0])"],
    "unknown": ["NULL"],
}


@pytest.mark.parametrize("capabilities", [PARAMETRIC, {}], ids=["parametric", "plain"])
def test_types_and_values_are_those_of_trino(server, trino_server, capabilities):
    for type, expressions in VALUES.items():
        ours, theirs = (run(engine, f"SELECT {', '.join(expressions)}", capabilities) for engine in (server, f"http://127.0.0.1:{trino_server.port}"))
        assert "error" not in ours, (type, ours)
        of_column = lambda answer: [(column["type"], column["typeSignature"]) for column in answer["columns"]]
        assert of_column(ours) == of_column(theirs), type
        assert ours["data"] == theirs["data"], type
        if capabilities:
            assert {column["type"] for column in ours["columns"]} == {type}


def test_lengths_of_texts_are_those_that_casts_say(server, trino_server):
    """Through what passes a column on; what computes with it makes a text of any length."""
    source = "(SELECT CAST(s AS varchar(10)) AS v, CAST(s AS char(4)) AS c FROM (VALUES 'ab', 'a') AS t(s)) AS x"
    for sql in (
        f"SELECT c, v FROM {source} WHERE c = 'a'",
        f"SELECT v, count(*) FROM {source} GROUP BY v ORDER BY v LIMIT 1",
        f"SELECT x.c, y.v FROM {source} JOIN (SELECT CAST('a' AS varchar(7)) AS v) AS y ON x.v = y.v",
        f"WITH w AS (SELECT * FROM {source}) SELECT DISTINCT c FROM w ORDER BY c",
        f"SELECT v FROM {source} WHERE v = 'a' UNION ALL SELECT CAST('b' AS varchar(20)) ORDER BY 1",
        f"SELECT v FROM {source} WHERE v = 'a' UNION ALL SELECT CAST('b' AS varchar) ORDER BY 1",
    ):
        ours, theirs = (run(engine, sql, PARAMETRIC) for engine in (server, f"http://127.0.0.1:{trino_server.port}"))
        assert [(column["type"], column["typeSignature"]) for column in ours["columns"]] == [(column["type"], column["typeSignature"]) for column in theirs["columns"]], sql
        assert ours["data"] == theirs["data"], sql
    trimmed = run(server, "SELECT rtrim(CAST('ab ' AS varchar(5))), CAST('ab' AS char(5)) || 'c'")
    assert [column["type"] for column in trimmed["columns"]] == ["varchar", "varchar"] and trimmed["data"][0][0] == "ab"


def connect(server, **options):
    host, port = server.http.split(":")
    return trino_client.dbapi.connect(**({"host": host, "port": int(port), "user": "ada", "catalog": "lake", "schema": "jdbc"} | options))


def test_python_client(server):
    with connect(server) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE python (id bigint, name varchar, at timestamp(6) with time zone, price decimal(9, 2), parts array(row(a bigint, b varchar)))")
        cursor.execute("INSERT INTO python VALUES (?, ?, TIMESTAMP '2024-01-01 01:02:03.123456 UTC', ?, ARRAY[ROW(1, 'x')])", (1, "it's", decimal.Decimal("1.50")))
        assert cursor.fetchall() == [[1]]
        cursor.execute("SELECT * FROM python WHERE id = ? AND name = ?", (1, "it's"))
        ((id, name, at, price, parts),) = cursor.fetchall()
        assert (id, name, price) == (1, "it's", decimal.Decimal("1.50"))
        assert at == datetime.datetime(2024, 1, 1, 1, 2, 3, 123456, datetime.UTC)
        assert parts == [(1, "x")]
        assert [column[:2] for column in cursor.description][:2] == [("id", "bigint"), ("name", "varchar")]
        cursor.execute("USE lake.default")
        cursor.fetchall()
        assert cursor.execute("SELECT current_schema").fetchall() == [["default"]]
        with pytest.raises(trino_client.exceptions.TrinoUserError, match="TABLE_NOT_FOUND"):
            cursor.execute("SELECT * FROM python").fetchall()


def test_python_client_cancels(server, numbers):
    with connect(server, schema="default") as connection:
        cursor = connection.cursor()
        timer = threading.Timer(1, cursor.cancel)
        timer.start()
        with pytest.raises(Exception):
            cursor.execute(ENDLESS).fetchall()
        assert eventually(server.is_idle, 5)


# What the client makes of Python's values, as parameters, with the types that they get.
PARAMETERS = {
    "integer": [1, -5],
    "bigint": [1 << 40],
    "double": [1.5, float("inf")],
    "boolean": [True],
    "unknown": [None],
    "varchar": ["it's é \\ ?"],
    "varbinary": [b"\0\xff"],
    "decimal(4,2)": [decimal.Decimal("12.30")],
    "date": [datetime.date(2024, 2, 29)],
    "time(6)": [datetime.time(1, 2, 3, 4)],
    "timestamp(6)": [datetime.datetime(2024, 1, 1, 1, 2, 3, 123456)],
    "timestamp(6) with time zone": [datetime.datetime(2024, 1, 1, 1, 2, 3, tzinfo=zone) for zone in (datetime.UTC, zoneinfo.ZoneInfo("Europe/Zurich"))],
    "array(integer)": [[1, None]],
    "array(array(date))": [[[datetime.date(2024, 1, 1)], []]],
    "map(varchar, integer)": [{"a": 1, "b": None}],
    "row(integer, varchar)": [(1, "x")],
}


@pytest.mark.parametrize("legacy", [True, False], ids=["prepared", "immediate"])
def test_python_values_go_there_and_back(server, legacy):
    """Parameters go in a header, or within EXECUTE IMMEDIATE."""
    with connect(server, legacy_prepared_statements=legacy) as connection:
        for type, values in PARAMETERS.items():
            for value in values:
                cursor = connection.cursor().execute("SELECT ?, typeof(?)", (value, value))
                assert cursor.fetchall() == [[value, type]]
        cursor = connection.cursor().execute("SELECT INTERVAL '2' DAY, ARRAY[INTERVAL '90' SECOND], JSON '{\"a\": [1, null]}', MAP(ARRAY[DATE '2024-01-01'], ARRAY[X'00'])")
        days, seconds = datetime.timedelta(days=2), datetime.timedelta(seconds=90)
        assert cursor.fetchall() == [[days, [seconds], '{"a":[1,null]}', {datetime.date(2024, 1, 1): b"\0"}]]
        described = connection.cursor().describe("SELECT id, wage FROM people")
        assert [(column.name, column.type) for column in described] == [("id", "bigint"), ("wage", "decimal(9,2)")]


@pytest.fixture(scope="module")
def alchemy(server):
    """An engine of SQLAlchemy over a schema of its own."""
    server.rows("CREATE SCHEMA alchemy")
    return sqlalchemy.create_engine(f"trino://ada@{server.http}/lake/alchemy")


def test_sqlalchemy_reflects(alchemy):
    with alchemy.connect() as connection:
        columns = (
            "id bigint NOT NULL COMMENT 'the key', name varchar, price decimal(9, 2), day date, at timestamp(6), moment timestamp(6) with time zone,"
            " tags array(varchar), rec row(x integer, y varchar)"
        )
        connection.execute(sqlalchemy.text(f"CREATE TABLE things ({columns}) COMMENT 'all of them' WITH (partitioning = ARRAY['day'])"))
        connection.execute(sqlalchemy.text("INSERT INTO things (id, day) VALUES (1, DATE '2024-01-01')"))
        connection.execute(sqlalchemy.text("CREATE VIEW named COMMENT 'names alone' AS SELECT id, name FROM things"))
        connection.execute(sqlalchemy.text("COMMENT ON COLUMN named.name IS 'the name'"))
    inspector = sqlalchemy.inspect(alchemy)
    assert (inspector.default_schema_name, alchemy.dialect.get_catalog_names(alchemy.connect())) == ("alchemy", ["lake"])
    assert "alchemy" in inspector.get_schema_names()
    assert (inspector.get_table_names(), inspector.get_view_names()) == (["things"], ["named"])
    assert [(column["name"], str(column["type"]), column["nullable"], column["comment"]) for column in inspector.get_columns("things")] == [
        ("id", "BIGINT", False, "the key"),
        ("name", "VARCHAR", True, None),
        ("price", "DECIMAL(9, 2)", True, None),
        ("day", "DATE", True, None),
        ("at", "TIMESTAMP", True, None),
        ("moment", "TIMESTAMP", True, None),
        ("tags", "ARRAY", True, None),
        ("rec", "ROW", True, None),
    ]
    assert [(column["name"], column["comment"]) for column in inspector.get_columns("named")] == [("id", None), ("name", "the name")]
    assert [inspector.get_table_comment(name)["text"] for name in ("things", "named")] == ["all of them", "names alone"]
    assert inspector.get_view_definition("named") == "SELECT id, name FROM things"
    # What the dialect calls an index is what the partitions are of, from "things$partitions".
    assert [index["name"] for index in inspector.get_indexes("things")] == ["partition"] and inspector.get_indexes("named") == []
    assert not inspector.get_pk_constraint("things")["constrained_columns"] and not inspector.get_foreign_keys("things")
    assert inspector.has_table("things") and inspector.has_table("named") and not inspector.has_table("nothing")
    with pytest.raises(sqlalchemy.exc.NoSuchTableError):
        inspector.get_columns("nothing")
    metadata = sqlalchemy.MetaData()
    metadata.reflect(alchemy, views=True, only=["named"])
    assert list(metadata.tables["named"].columns.keys()) == ["id", "name"]


class Person(sqlalchemy.orm.declarative_base()):
    __tablename__ = "persons"
    id = sqlalchemy.Column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False, comment="the key")
    name = sqlalchemy.Column(sqlalchemy.String)
    born = sqlalchemy.Column(sqlalchemy.Date)
    wage = sqlalchemy.Column(sqlalchemy.Numeric(9, 2))
    seen = sqlalchemy.Column(sqlalchemy.DateTime)
    active = sqlalchemy.Column(sqlalchemy.Boolean)
    photo = sqlalchemy.Column(sqlalchemy.LargeBinary)


@pytest.mark.filterwarnings("ignore:Trino does not support PRIMARY KEY")
def test_sqlalchemy_maps_objects(alchemy):
    Person.metadata.create_all(alchemy)
    people = [
        {"id": n, "name": f"n{n}'s", "born": datetime.date(2024, 1, 1 + n), "wage": decimal.Decimal("1.5") * n, "seen": datetime.datetime(2024, 1, 1, 1, 2, 3, 123456)}
        for n in range(5)
    ]
    with sqlalchemy.orm.Session(alchemy) as session:
        session.add_all([Person(**person, active=person["id"] % 2 == 0, photo=b"\0\xff") for person in people])
        session.commit()
    with sqlalchemy.orm.Session(alchemy) as session:
        third = session.get(Person, 3)
        assert {name: getattr(third, name) for name in people[3]} == people[3] and (third.active, third.photo) == (False, b"\0\xff")
        third.name = "changed"
        session.delete(session.get(Person, 4))
        session.commit()
        by_active = sqlalchemy.select(Person.active, sqlalchemy.func.count(), sqlalchemy.func.sum(Person.wage)).group_by(Person.active).order_by(Person.active)
        assert [tuple(row) for row in session.execute(by_active)] == [(False, 2, decimal.Decimal("6.00")), (True, 2, decimal.Decimal("3.00"))]
        page = sqlalchemy.select(Person.name).where(Person.name.like("n%")).order_by(Person.id.desc()).offset(1).limit(2)
        assert list(session.scalars(page)) == ["n1's", "n0's"]
        assert session.scalar(sqlalchemy.select(sqlalchemy.exists().where(Person.id.in_([3, 77]))))
        numbered = sqlalchemy.select(Person.id, sqlalchemy.func.row_number().over(order_by=Person.id.desc()).label("place")).cte()
        assert [tuple(row) for row in session.execute(sqlalchemy.select(numbered).where(numbered.c.place <= 2).order_by(numbered.c.place))] == [(3, 1), (2, 2)]
    with alchemy.begin() as connection:
        connection.execute(sqlalchemy.insert(Person), [{"id": n, "name": "x"} for n in range(100, 110)])
        assert connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).where(Person.id >= 100)) == 10
        assert connection.execute(sqlalchemy.update(Person).where(Person.id >= 100).values(name=Person.name + "y")).rowcount == 10
        assert connection.execute(sqlalchemy.delete(Person).where(Person.name == "xy")).rowcount == 10


# The dialect takes the metadata table of partitions for an index.
@pytest.mark.filterwarnings("ignore:index key")
def test_pandas(alchemy):
    """Rows in blocks of VALUES, and back with their types; `index=False`, since there are no indexes."""
    times = pandas.to_datetime(["2024-01-01 01:02:03.5", None, "2024-01-03"], format="ISO8601")
    frame = pandas.DataFrame({"n": [1, 2, 3], "x": [1.5, None, -2.0], "text": ["x", None, "it's"], "at": times, "ok": [True, False, True]})
    for exists, rows in (("fail", 3), ("append", 6), ("replace", 3)):
        frame.to_sql("frames", alchemy, schema="alchemy", index=False, if_exists=exists, method="multi", chunksize=2)
        assert pandas.read_sql("SELECT count(*) AS rows FROM frames", alchemy)["rows"][0] == rows
    found = pandas.read_sql_table("frames", alchemy, schema="alchemy").sort_values("n", ignore_index=True)
    pandas.testing.assert_frame_equal(found, frame, check_dtype=False)
    of_one = pandas.read_sql(sqlalchemy.text("SELECT text FROM frames WHERE n = :n AND at < :at"), alchemy, params={"n": 1, "at": datetime.datetime(2025, 1, 1)})
    assert list(of_one["text"]) == ["x"]


def trino_cli(server, sql, *options):
    (cli,) = JARS.glob("trino-cli-*.jar")
    command = ["java", "-jar", cli, "--server", f"http://{server.http}", "--user", "ada", "--catalog", "lake", "--schema", "default", "--execute", sql, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_cli(server, numbers):
    """Several statements in one run: the session of the first ones holds in the last, and the error of a statement is shown with its place."""
    sql = f"USE lake.jdbc; CREATE TABLE cli AS SELECT 1 AS a, 'x' AS b; INSERT INTO cli VALUES (2, 'y'); SELECT * FROM cli ORDER BY a; SELECT count(*) FROM lake.\"default\".{numbers}"
    ran = trino_cli(server, sql)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ['"1","x"', '"2","y"', '"1000000"']
    assert [line for line in ran.stderr.splitlines() if line in ("USE", "CREATE TABLE: 1 row", "INSERT: 1 row")] == ["USE", "CREATE TABLE: 1 row", "INSERT: 1 row"]
    failed = trino_cli(server, "SELECT *\nFROM nothing")
    assert failed.returncode == 1 and "line 2:6" in failed.stderr, failed.stderr


@pytest.fixture(scope="module")
def outcome(server, numbers):
    (driver,) = JARS.glob("trino-jdbc-*.jar")
    return outcomes(SOURCE, driver, f"jdbc:trino://{server.http}/lake/default")


@pytest.mark.parametrize("check", names(SOURCE))
def test_jdbc(outcome, check):
    assert check in outcome, outcome
    assert outcome[check].startswith("ok "), outcome[check]
