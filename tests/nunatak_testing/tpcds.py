"""TPC-DS: data as Trino's connector makes it, by the generator that is in it, and the queries of TPC-DS and TPC-H as Trino's benchmarks have them.

Both come from Maven (`scripts/setup java`) and are no part of this repository. The queries are files of a jar, in which `${database}.${schema}` stands for where the
tables are; of the last one that was released, by the name that Trino had then. What Trino answers is kept in `tests/queries/tpcds/answers`, a file a query: the
types of the columns, and below them the rows; or the name of an error behind an exclamation mark.

    python -m nunatak_testing.tpcds

starts a Trino and writes its answers into these files.
"""

import json
import os
import re
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from nunatak_testing.answers import difference
from nunatak_testing.judge import Client, unbounded
from nunatak_testing.server import ROOT, Server

JARS = ROOT / ".cache/tpcds-jars"
FOLDER = ROOT / "tests/queries/tpcds"
ANSWERS = FOLDER / "answers"
# What is called `tiny` in Trino: 0.01 GB.
TINY = "0.01"
# What the tables are in: some queries have these names among their values.
CATALOG, SCHEMA = "lake", "tpcds"
# How the generator is told to write NULL: an empty text is another value.
NULL = "\\N"
ARROW_TYPES = {"bigint": pyarrow.int64(), "integer": pyarrow.int32(), "varchar": pyarrow.string(), "date": pyarrow.date32()}


def read_tables():
    """The columns of each table, and their types in SQL."""
    lines = [line.split(": ") for line in (FOLDER / "tables.txt").read_text().splitlines() if not line.startswith("#")]
    return {name: dict(re.findall(r"(\w+) (\w+(?:\(\d+,\d+\))?)", columns)) for name, columns in lines}


TABLES = read_tables()


def texts(benchmark):
    """The queries of a benchmark (`tpcds`, `tpch`) as they are shipped."""
    with zipfile.ZipFile(JARS / "presto-benchto-benchmarks-350.jar") as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(rf"sql/presto/{benchmark}/q\d+\.sql", name))
        return {name.rpartition("/")[2].removesuffix(".sql"): archive.read(name).decode() for name in names}


def placed(text, catalog=CATALOG, schema=SCHEMA):
    """A query with its placeholders filled."""
    for name, value in {"database": catalog, "schema": schema, "prefix": ""}.items():
        text = text.replace(f"${{{name}}}", value)
    return text.strip().removesuffix(";")


def files(scale=TINY):
    """The folder with one Parquet file a table; generated once and kept in .cache/."""
    folder = ROOT / f".cache/tpcds/{scale}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as rows:
            driver = ["java", "-cp", f"{JARS}/*", "io.trino.tpcds.Driver", "--do-not-terminate", "--null", NULL]
            subprocess.run([*driver, "--scale", scale, "--directory", rows], check=True, capture_output=True)
            for table, columns in TABLES.items():
                to_parquet(f"{rows}/{table}.dat", columns, folder / f"{table}.parquet")
        (folder / "complete").touch()
    return folder


def to_parquet(rows, columns, path):
    """What the generator writes: no quotes, and the one text that is not ASCII in Latin-1."""
    options = {
        "read_options": pyarrow.csv.ReadOptions(column_names=list(columns), encoding="latin-1"),
        "parse_options": pyarrow.csv.ParseOptions(delimiter="|", quote_char=False),
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types={name: arrow_type(type) for name, type in columns.items()}, null_values=[NULL], strings_can_be_null=True
        ),
    }
    with pyarrow.csv.open_csv(rows, **options) as batches, pyarrow.parquet.ParquetWriter(path, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def arrow_type(type):
    digits = re.findall(r"\d+", type)
    return pyarrow.decimal128(*map(int, digits)) if digits else ARROW_TYPES[type]


def load(server, schema=SCHEMA, scale=TINY):
    """Makes Iceberg tables of the files, by CTAS."""
    server.rows(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    for table in TABLES:
        server.rows(f"CREATE TABLE {schema}.{table} AS SELECT * FROM read_parquet('{files(scale)}/{table}.parquet')")


def answer(uri, text, headers=None):
    """The types and rows that a server gives for a query over Trino's protocol, or the name of an error behind `!`."""
    return Client(uri, headers).run(placed(text))


def kept_answer(name):
    """The same as Trino gave it over the tables of `tiny`."""
    first, *rows = map(json.loads, (ANSWERS / f"{name}.jsonl").read_text().splitlines())
    return first if isinstance(first, str) else (first, rows)


def wrong(ours, theirs, ordered=False):
    """What is wrong with an answer beside the right one; `None` if nothing is."""
    if isinstance(ours, str) or isinstance(theirs, str):
        return None if ours == theirs else f"{ours if isinstance(ours, str) else 'rows'} instead of {theirs if isinstance(theirs, str) else 'rows'}"
    if list(map(unbounded, ours[0])) != list(map(unbounded, theirs[0])):
        return f"types {ours[0]} instead of {theirs[0]}"
    return difference(ours[1], theirs[1], ordered)


def as_catalog_of_trino(server):
    """The catalog of our tables for a Trino, by our REST protocol."""
    properties = {
        "iceberg.catalog.type": "rest",
        "iceberg.rest-catalog.uri": f"http://{server.http}/iceberg",
        "iceberg.rest-catalog.warehouse": CATALOG,
        "fs.hadoop.enabled": "true",
    }
    return {CATALOG: properties}


def main():
    from servers.trino import Trino

    with tempfile.TemporaryDirectory() as folder, Server(f"{folder}/data") as server:
        load(server)
        (Path(folder) / "trino").mkdir()
        with Trino(Path(folder) / "trino") as trino, trino.catalogs(as_catalog_of_trino(server)):
            for name, text in texts("tpcds").items():
                found = answer(f"http://127.0.0.1:{trino.port}", text)
                lines = [found] if isinstance(found, str) else [found[0], *found[1]]
                (ANSWERS / f"{name}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


if __name__ == "__main__":
    main()
