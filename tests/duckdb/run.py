"""Runs statements in DuckDB with its extension for Iceberg: a list of texts as JSON on standard input, their rows as JSON on standard output."""

import json
import sys
from pathlib import Path

import duckdb

FOLDER = Path(duckdb.__file__).parents[1] / f"duckdb_ext/extensions/v{duckdb.__version__}/linux_amd64"

connection = duckdb.connect(config={"autoinstall_known_extensions": False})
for extension in ["avro", "httpfs", "iceberg"]:
    connection.execute(f"LOAD '{FOLDER / extension}.duckdb_extension'")
print(json.dumps([connection.execute(sql).fetchall() for sql in json.load(sys.stdin)], default=str))
