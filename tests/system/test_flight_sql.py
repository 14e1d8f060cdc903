"""The Flight SQL door, as the ADBC driver uses it."""

import datetime
import threading
import time
from decimal import Decimal

import pyarrow
import pytest

from nunatak_testing.server import eventually

# Rows without end, for queries that are to be cancelled.
ENDLESS = "SELECT a.n + b.n AS s FROM numbers a CROSS JOIN numbers b"
ENDLESS_COUNT = "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE (a.n * b.n) % 7 = 3"


@pytest.fixture(scope="module")
def shop(server):
    server.rows("CREATE SCHEMA shop")
    server.rows("CREATE TABLE shop.items (id bigint NOT NULL, name varchar, price decimal(9, 2), added timestamp(6))")
    server.rows("CREATE VIEW shop.cheap AS SELECT id FROM shop.items WHERE price < 10")
    return "shop"


def objects(connection, **filters):
    """get_objects as {(catalog, schema, table): (type, column names)}."""
    return {
        (catalog["catalog_name"], schema["db_schema_name"], table["table_name"]): (
            table["table_type"],
            [column["column_name"] for column in table["table_columns"] or []],
        )
        for catalog in connection.adbc_get_objects(**filters).read_all().to_pylist()
        for schema in catalog["catalog_db_schemas"] or []
        for table in schema["db_schema_tables"] or []
    }


def test_get_objects(server, shop):
    with server.connect() as connection:
        catalogs = connection.adbc_get_objects(depth="catalogs").read_all().to_pylist()
        assert "lake" in [catalog["catalog_name"] for catalog in catalogs]
        found = objects(connection, depth="all", db_schema_filter="shop")
        assert found[("lake", "shop", "items")] == ("TABLE", ["id", "name", "price", "added"])
        assert found[("lake", "shop", "cheap")] == ("VIEW", ["id"])
        assert set(objects(connection, depth="tables", db_schema_filter="shop", table_types_filter=["VIEW"])) == {("lake", "shop", "cheap")}
        assert set(objects(connection, depth="tables", table_name_filter="ite%")) == {("lake", "shop", "items")}
        assert objects(connection, depth="tables", db_schema_filter="no_such_schema") == {}


def test_get_table_schema(server, shop):
    with server.connect() as connection:
        schema = connection.adbc_get_table_schema("items", catalog_filter="lake", db_schema_filter="shop")
    assert schema.names == ["id", "name", "price", "added"]
    assert schema.types == [pyarrow.int64(), pyarrow.string(), pyarrow.decimal128(9, 2), pyarrow.timestamp("us")]
    assert not schema.field("id").nullable


def test_get_table_types_and_info(server):
    with server.connect() as connection:
        assert {"TABLE", "VIEW"} <= set(connection.adbc_get_table_types())
        info = connection.adbc_get_info()
    assert info["vendor_name"].lower() == "nunatak" and info["vendor_version"]


def test_execute_schema_runs_nothing(server, shop):
    with server.connect() as connection, connection.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT id, price * 2 AS twice FROM shop.items").names == ["id", "twice"]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT CAST(? AS bigint) + 1", 41),
        ("SELECT CAST(? AS double) * 2", 1.5),
        ("SELECT upper(?)", "ø"),
        ("SELECT CAST(? AS decimal(9, 2))", Decimal("12.34")),
        ("SELECT CAST(? AS date)", datetime.date(2024, 2, 29)),
        ("SELECT CAST(? AS timestamp(6))", datetime.datetime(2024, 2, 29, 1, 2, 3, 4)),
        ("SELECT CAST(? AS boolean)", True),
        ("SELECT CAST(? AS bigint)", None),
    ],
)
def test_parameter_types(server, sql, value):
    expected = {41: 42, 1.5: 3.0, "ø": "Ø"}.get(value, value)
    assert server.value(sql, (value,)) == expected


def test_parameters_in_a_query(server, numbers):
    sql = f"SELECT n, text FROM {numbers} WHERE n BETWEEN ? AND ? AND text <> ? ORDER BY n"
    assert server.rows(sql, (10, 12, "row 11")) == [(10, "row 10"), (12, "row 12")]


def test_prepared_statement_tells_its_parameters_and_runs_again(server, shop):
    with server.connect() as connection, connection.cursor() as cursor:
        parameters = cursor.adbc_prepare("SELECT id FROM shop.items WHERE id = ? AND name = ?")
        assert parameters.types == [pyarrow.int64(), pyarrow.string()]
        for value in range(3):
            assert cursor.execute("SELECT CAST(? AS bigint) AS v", (value,)).fetchall() == [(value,)]


def test_update_counts(server, shop):
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop.items (id, name) VALUES (?, ?)", [(1, "a"), (2, "b"), (3, None)])
        assert cursor.rowcount == 3
        statement = cursor.adbc_statement
        statement.set_sql_query("INSERT INTO shop.items (id, name) VALUES (4, 'd')")
        assert statement.execute_update() == 1
    assert server.rows("SELECT id, name FROM shop.items ORDER BY id") == [(1, "a"), (2, "b"), (3, None), (4, "d")]


def test_a_million_rows(server, numbers):
    table = server.arrow(f"SELECT n, text FROM {numbers} ORDER BY n")
    assert table.num_rows == 1_000_000
    assert table.schema.types == [pyarrow.int64(), pyarrow.string()]
    assert table.column("n")[-1].as_py() == 999_999 and table.column("text")[123_456].as_py() == "row 123456"


def test_first_rows_come_before_the_last_are_made(server, numbers):
    with server.connect() as connection, connection.cursor() as cursor:
        start = time.monotonic()
        assert cursor.execute(ENDLESS).fetchone() is not None
        assert time.monotonic() - start < 5


def test_a_dropped_reader_stops_the_query(server, numbers):
    with server.connect() as connection, connection.cursor() as cursor:
        reader = cursor.execute(ENDLESS).fetch_record_batch()
        reader.read_next_batch()
        reader.close()
    assert eventually(server.is_idle, 3), "the query went on after its reader was dropped"


def test_cancel_stops_the_query(server, numbers):
    with server.connect() as connection, connection.cursor() as cursor:
        timer = threading.Timer(1.0, cursor.adbc_cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(Exception, match="(?i)cancel"):
            cursor.execute(ENDLESS_COUNT).fetchall()
        assert time.monotonic() - start < 3
    assert eventually(server.is_idle, 3), "the query went on after it was cancelled"
    start = time.monotonic()
    assert server.value("SELECT count(*) FROM numbers WHERE n < 10") == 10
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("SELECT * FROM shop.item", ["TABLE_NOT_FOUND", "line 1:15", "item", "did you mean", "items"]),
        ("SELECT\n  nam FROM shop.items", ["COLUMN_NOT_FOUND", "line 2:3", "nam", "did you mean", "name"]),
        ("SELECT * FROM shopp.items", ["SCHEMA_NOT_FOUND", "line 1:15", "shopp", "did you mean", "shop"]),
        ("SELEC 1", ["SYNTAX_ERROR", "line 1:1"]),
        ("SELECT upperr('a')", ["FUNCTION_NOT_FOUND", "line 1:8", "upperr", "did you mean", "upper"]),
        ("SELECT 1 / 0", ["DIVISION_BY_ZERO"]),
        ("SELECT CAST('x' AS bigint)", ["INVALID_CAST_ARGUMENT"]),
        ("SELECT date '2024-13-01'", ["INVALID_", "2024-13-01"]),
        ("SET SESSION execution_mod = 'local'", ["INVALID_SESSION_PROPERTY", "did you mean", "execution_mode"]),
        ("SET SESSION execution_mode = 'fast'", ["INVALID_SESSION_PROPERTY", "fast"]),
        ("SELECT id FROM shop.items WHERE id = ?", ["INVALID_PARAMETER_USAGE"]),
    ],
)
def test_error_says_what_where_and_how_on(server, shop, failure, sql, parts):
    text = failure(server, sql)
    assert [part for part in parts if part not in text] == [], text


@pytest.mark.parametrize(
    ("sql", "parameters", "parts"),
    [
        ("INSERT INTO shop.items (id, price) VALUES (?, ?)", (1, Decimal("12345678.5")), ["INVALID_CAST_ARGUMENT: parameter $2: ", "decimal(9,2)"]),
        ("SELECT id FROM shop.items WHERE id = ?", ("abc",), ["INVALID_CAST_ARGUMENT: parameter $1: ", "'abc'", "bigint"]),
        ("SELECT CAST(? AS integer)", (3_000_000_000,), ["NUMERIC_VALUE_OUT_OF_RANGE: parameter $1: cannot cast 3000000000 to integer"]),
    ],
)
def test_parameter_that_does_not_fit_is_named(server, shop, failure, sql, parameters, parts):
    text = failure(server, sql, parameters)
    assert [part for part in parts if part not in text] == [], text


def session(**more):
    """Options of a client that keeps cookies, and so its session."""
    return {"adbc.flight.sql.rpc.with_cookie_middleware": "true"} | more


def test_session_by_statement_and_cookie(server, shop):
    with server.connect(**session()) as connection, connection.cursor() as cursor:
        cursor.execute("USE shop").fetchall()
        cursor.execute("SELECT count(*) FROM cheap").fetchall()
        cursor.execute("SET SESSION execution_mode = 'local'").fetchall()
        rows = cursor.execute("SHOW SESSION LIKE 'execution_mode'").fetchall()
        assert rows[0][:2] == ("execution_mode", "local")


def test_session_by_login(server, shop):
    with server.connect(username="ada", password="any") as connection, connection.cursor() as cursor:
        cursor.execute("USE shop").fetchall()
        cursor.execute("SELECT count(*) FROM cheap").fetchall()


def test_sessions_do_not_leak(server, shop, failure):
    with server.connect(**session()) as connection, connection.cursor() as cursor:
        cursor.execute("USE shop").fetchall()
    assert "TABLE_NOT_FOUND" in failure(server, "SELECT * FROM cheap", **session())


def test_session_by_headers(server, shop, failure):
    server.rows("SELECT count(*) FROM cheap", headers={"catalog": "lake", "schema": "shop"})
    headers = {"nunatak-session": "execution_mode=local"}
    assert server.rows("SHOW SESSION LIKE 'execution_mode'", headers=headers)[0][1] == "local"
    assert "INVALID_SESSION_PROPERTY" in failure(server, "SELECT 1", headers={"nunatak-session": "no_such_property=1"})


def test_session_by_connection_options(server, shop):
    with server.connect(**session()) as connection:
        connection.adbc_current_catalog = "lake"
        connection.adbc_current_db_schema = "shop"
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("lake", "shop")
        connection.execute("SELECT count(*) FROM cheap").fetchall()


def test_many_clients_at_once(server, numbers):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.value(f"SELECT sum(n) FROM {numbers}"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [499_999_500_000] * 16
