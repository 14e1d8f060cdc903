"""TPC-H side by side, in one run and over the same data files: DataFusion in process, nunatak in its three execution modes, DuckDB.

The tables are loaded into Iceberg by CTAS; DataFusion and DuckDB read the Parquet files that this has made. nunatak runs as one coordinator and two
executors of one slot each (`local`: on the coordinator, with as many slots as there are cores), and is asked through Flight SQL. Answers are checked
before anything is timed. Queries run in turns, so that all see the same machine; the best of ROUNDS counts.
TPCH_SCALE (1 here) and ROUNDS (3) come from the environment. Prints a Markdown table.
"""

import contextlib
import os
import platform
import sys
import tempfile
import time

os.environ.setdefault("TPCH_SCALE", "1")

import datafusion  # noqa: E402
import duckdb  # noqa: E402

from nunatak_testing import tpch  # noqa: E402
from nunatak_testing.server import Cluster  # noqa: E402
from timings import fastest, print_table  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
MODES = ["local", "pipelined", "fault_tolerant"]


def data_files(cluster):
    """The data files of each table."""
    def of(table):
        return [path.removeprefix("file://") for (path,) in cluster.rows(f'SELECT file_path FROM tpch."{table}$files"')]
    return {table: of(table) for table in tpch.TABLES}


def in_datafusion(files):
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(os.cpu_count()))
    for table, paths in files.items():
        # One table, whatever the number of its files.
        context.register_parquet(table, os.path.commonpath(paths) if len(paths) > 1 else paths[0])
    return lambda sql: context.sql(sql).to_arrow_table()


def in_duckdb(files):
    connection = duckdb.connect()
    for table, paths in files.items():
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({paths})")
    return lambda sql: connection.sql(sql).to_arrow_table()


def in_nunatak(cluster, mode, closing):
    connection = closing.enter_context(cluster.connect(headers={"schema": "tpch", "nunatak-session": f"execution_mode={mode}"}))
    cursor = closing.enter_context(connection.cursor())
    return lambda sql: cursor.execute(sql).fetch_arrow_table()


def check(engines, judge):
    """All answers of all engines, against DuckDB's over the files that the tables were loaded from."""
    for name, sql in tpch.QUERIES.items():
        right = judge.execute(sql).fetchall()
        for engine, run in engines.items():
            if wrong := tpch.wrong(name, run(sql), right):
                sys.exit(f"{name} is wrong in {engine}, nothing is timed: {wrong}")


def report(best, load_seconds):
    print(f"\nTPC-H scale {tpch.SCALE}, {os.cpu_count()} cores ({platform.machine()}), best of {ROUNDS} in ms; DataFusion {datafusion.__version__},")
    print(f"DuckDB {duckdb.__version__}. Loading the Iceberg tables by CTAS took {load_seconds:.1f} s.\n")
    print_table(best)


def main():
    with (
        tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder,
        Cluster(folder, executors=2, slots=1) as cluster,
        contextlib.ExitStack() as closing,
    ):
        start = time.perf_counter()
        tpch.load(cluster)
        load_seconds = time.perf_counter() - start
        files = data_files(cluster)
        engines = {"DataFusion in process": in_datafusion(files)}
        engines |= {f"nunatak {mode}": in_nunatak(cluster, mode, closing) for mode in MODES}
        engines["DuckDB"] = in_duckdb(files)
        check(engines, tpch.judge())
        report(fastest(tpch.QUERIES, engines, ROUNDS), load_seconds)


if __name__ == "__main__":
    main()
