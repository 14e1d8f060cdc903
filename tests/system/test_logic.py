"""Every statement of the guide, in every execution mode: files of sqllogictest in `logic/`, and tables as PyIceberg and Spark read them."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from pyarrow import types

from nunatak_testing.logic_test import Run, rows, text
from nunatak_testing.spark import MODES

# The session is kept by a cookie, and a statement that does not end is an error.
TIMEOUTS = {f"adbc.flight.sql.rpc.timeout_seconds.{call}": "30" for call in ("query", "fetch", "update")}
CONNECTION = {"adbc.flight.sql.rpc.with_cookie_middleware": "true"} | TIMEOUTS
FILES = sorted((Path(__file__).parent / "logic").glob("*.slt"))
# What Trino has answered is about SQL, which is the same in all modes.
RUNS = [(path, mode) for mode in MODES for path in FILES if mode == "local" or not path.stem.startswith("trino_")]


def read_by_pyiceberg(server, schema, name, _):
    return rows(server.iceberg().load_table((schema, name)).scan().to_arrow())


def read_by_spark(spark, schema, name, columns):
    """By way of JSON, which has no word for bytes, nor Python for years before the first."""
    selected = []
    for column in columns:
        quoted = f"`{column.name}`"
        if types.is_binary(column.type):
            quoted = f"hex({quoted})"
        elif types.is_temporal(column.type) or types.is_decimal(column.type):
            quoted = f"CAST({quoted} AS string)"
        selected.append(quoted)
    lines = spark.rows(f"SELECT {', '.join(selected)} FROM {schema}.`{name}`")
    return [[text(value, column.type) for value, column in zip(line, columns)] for line in lines]


@pytest.mark.parametrize(("path", "mode"), RUNS, ids=lambda value: getattr(value, "stem", value))
def test_file(server, spark, tmp_path, path, mode):
    schema = f"{path.stem}_{mode}"
    pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, None], "t": ["one", "", None]}), tmp_path / "few.parquet")
    readers = {
        "pyiceberg": lambda name, columns: read_by_pyiceberg(server, schema, name, columns),
        "spark": lambda name, columns: read_by_spark(spark, schema, name, columns),
    }
    with server.connect(**CONNECTION) as connection, connection.cursor() as cursor:
        execute = lambda sql: cursor.execute(sql).fetch_arrow_table()
        for sql in [f"CREATE SCHEMA {schema}", f"USE {schema}", f"SET SESSION execution_mode = '{mode}'"]:
            execute(sql)
        run = Run(execute, mode, tmp_path, readers)
        run.variables["SCHEMA"] = schema
        run.file(path)
