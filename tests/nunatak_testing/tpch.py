"""TPC-H: generated data, the 22 queries, and DuckDB as the judge over the same files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb

from nunatak_testing.answers import difference
from nunatak_testing.server import ROOT

TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
SCALE = os.environ.get("TPCH_SCALE", "0.1")
QUERIES = {path.stem: path.read_text() for path in sorted((ROOT / "tests/queries/tpch").glob("q*.sql"))}


def files(scale=SCALE):
    """The folder with one Parquet file a table; generated once and kept in .cache/."""
    folder = ROOT / f".cache/tpch/{scale}"
    if not (folder / "complete").exists():
        generator = Path(sys.executable).parent / "tpchgen-cli"
        command = [generator, "parquet", "--scale-factor", scale, "--overwrite", "--output-dir", folder]
        subprocess.run(command, check=True, capture_output=True)
        (folder / "complete").touch()
    return folder


def load(server, schema="tpch", scale=SCALE, tables=TABLES):
    """Makes Iceberg tables of the files, by CTAS."""
    server.rows(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for table in tables:
        server.rows(f"CREATE TABLE {schema}.{table} AS SELECT * FROM read_parquet('{files(scale)}/{table}.parquet')")


def judge(scale=SCALE):
    """DuckDB with views over the same files."""
    connection = duckdb.connect()
    for table in TABLES:
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{files(scale)}/{table}.parquet')")
    return connection


def wrong(name, ours, theirs):
    """What is wrong with our answer (a pyarrow table) to a query, beside the judge's; `None` when it is right.

    Rows that ORDER BY leaves equal may come in any order, so all rows are compared without order, and the columns of ORDER BY in order.
    """
    rows = list(zip(*(column.to_pylist() for column in ours.columns)))
    return difference(rows, theirs) or difference(*(ordered_columns(name, ours.column_names, answer) for answer in (rows, theirs)), ordered=True)


def ordered_columns(name, columns, rows):
    """The columns that the query's last line (but for LIMIT) orders by."""
    clause = re.search(r"^ORDER BY (.+)$", QUERIES[name], re.MULTILINE)
    keys = re.findall(r"\w+", clause[1].replace(" DESC", "")) if clause else []
    return [tuple(row[columns.index(key)] for key in keys) for row in rows]
