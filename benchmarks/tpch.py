"""TPC-H side by side: nunatak over Iceberg tables through Flight SQL, DuckDB over the same Parquet files, in the same run.

Answers are checked before anything is timed. Queries run in turns, so that both engines see the same machine; the best of ROUNDS counts.
TPCH_SCALE (1 here) and ROUNDS (3) come from the environment. Prints a Markdown table.
"""

import os
import platform
import sys
import tempfile
import time

os.environ.setdefault("TPCH_SCALE", "1")

import duckdb  # noqa: E402

from nunatak_testing import tpch  # noqa: E402
from nunatak_testing.server import Server  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))


def best_ms(run, sql):
    """The best wall time of one query, in milliseconds, all rows fetched."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run(sql)
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def check(ours, theirs):
    for name, sql in tpch.QUERIES.items():
        if wrong := tpch.wrong(name, ours(sql), theirs(sql)):
            sys.exit(f"{name} is wrong, nothing is timed: {wrong}")


def report(times, load_seconds):
    print(f"\nTPC-H scale {tpch.SCALE}, {os.cpu_count()} cores ({platform.machine()}), DuckDB {duckdb.__version__}, best of {ROUNDS} in ms;")
    print(f"loading the Iceberg tables by CTAS took {load_seconds:.1f} s.\n")
    print("| query | nunatak local | DuckDB | ratio |\n|---|--:|--:|--:|")
    for name, (ours, theirs) in times.items():
        print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    ours, theirs = (sum(column) for column in zip(*times.values()))
    print(f"| **sum** | **{ours:.0f}** | **{theirs:.0f}** | **{ours / theirs:.2f}** |")


def main():
    judge = tpch.judge()
    with tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder, Server(folder) as server:
        start = time.perf_counter()
        tpch.load(server)
        load_seconds = time.perf_counter() - start
        headers = {"schema": "tpch", "nunatak-session": "execution_mode=local"}
        with server.connect(headers=headers) as connection, connection.cursor() as cursor:

            def ours(sql):
                return cursor.execute(sql).fetch_arrow_table()

            def theirs(sql):
                return judge.execute(sql).fetchall()

            check(ours, theirs)
            report({name: (best_ms(ours, sql), best_ms(theirs, sql)) for name, sql in tpch.QUERIES.items()}, load_seconds)


if __name__ == "__main__":
    main()
