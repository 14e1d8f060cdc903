"""Scans side by side, in one run: TPC-H's lineitem read whole, by DataFusion in process from Parquet files and by nunatak (mode `local`, over Flight SQL)
from an Iceberg table of the same files; then with one row in a hundred deleted by Spark, as position deletes (version 2) and as deletion vectors
(version 3); and one order looked up in a table of a thousand files.

Both have as many partitions as there are cores. Rows are checked before anything is timed. TPCH_SCALE (1 here) and ROUNDS (5) come from the environment.
"""

import os
import platform
import sys
import tempfile
import time

os.environ.setdefault("TPCH_SCALE", "1")

import datafusion  # noqa: E402

from nunatak_testing import tpch  # noqa: E402
from nunatak_testing.server import Server  # noqa: E402
from nunatak_testing.spark import Spark  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "5"))
MERGE_ON_READ = "'write.delete.mode'='merge-on-read'"
LOOKUP_FILES = 1000


def whole(table):
    """Every column of every row, as one row."""
    numbers = ["l_orderkey", "l_partkey", "l_suppkey", "l_linenumber", "l_quantity", "l_extendedprice", "l_discount", "l_tax"]
    others = ["l_returnflag", "l_linestatus", "l_shipdate", "l_commitdate", "l_receiptdate", "l_shipinstruct", "l_shipmode", "l_comment"]
    return "SELECT count(*), " + ", ".join([f"sum({name})" for name in numbers] + [f"max({name})" for name in others]) + f" FROM {table}"


def files_of(server, table):
    return [path.removeprefix("file://") for (path,) in server.rows(f'SELECT file_path FROM tpch."{table}$files" WHERE content = 0')]


def in_datafusion(paths, table):
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(os.cpu_count()))
    context.register_parquet(table, os.path.commonpath(paths) if len(paths) > 1 else paths[0])
    return lambda sql: context.sql(sql).to_arrow_table()


def best_ms(runs):
    """The best wall time of each, in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], (time.perf_counter() - start) * 1000)
    return best


def prepare(server, spark):
    """Tables of the same rows: whole, and with one in a hundred deleted in two ways."""
    tpch.load(server, tables=["lineitem"])
    for table, version in [("positions", 2), ("vectors", 3)]:
        server.rows(f"CREATE TABLE tpch.{table} AS SELECT * FROM tpch.lineitem")
        spark.rows(f"ALTER TABLE tpch.{table} SET TBLPROPERTIES ('format-version'='{version}', {MERGE_ON_READ})")
        spark.rows(f"DELETE FROM tpch.{table} WHERE pmod(l_orderkey * 7 + l_linenumber, 100) = 0")
    server.rows(f"CREATE TABLE tpch.by_order WITH (partitioning = ARRAY['bucket(l_orderkey, {LOOKUP_FILES})']) AS SELECT * FROM tpch.lineitem")


def check(server, plain):
    left = plain("SELECT count(*), sum(l_orderkey) FROM lineitem WHERE (l_orderkey * 7 + l_linenumber) % 100 <> 0").to_pylist()
    expected = tuple(left[0].values())
    for table in ["positions", "vectors"]:
        found = server.rows(f"SELECT count(*), sum(l_orderkey) FROM tpch.{table}")
        if found != [expected]:
            sys.exit(f"{table} has {found}, {expected} is right: nothing is timed")
    if [tuple(row.values()) for row in plain(whole("lineitem")).to_pylist()] != server.rows(whole("tpch.lineitem")):
        sys.exit("lineitem is another table in DataFusion: nothing is timed")


def main():
    with (
        tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder,
        Server(f"{folder}/nunatak") as server,
        server.connect(headers={"nunatak-session": "execution_mode=local"}) as connection,
        connection.cursor() as cursor,
    ):
        with Spark(server.data_dir) as spark:
            prepare(server, spark)
        paths = files_of(server, "lineitem")
        plain = in_datafusion(paths, "lineitem")
        check(server, plain)

        def ask(sql):
            return cursor.execute(sql).fetch_arrow_table()

        runs = {"DataFusion in process, Parquet": lambda: plain(whole("lineitem"))}
        for name, table in [("no deletes", "lineitem"), ("1 % position deletes", "positions"), ("1 % deletion vectors", "vectors")]:
            runs[f"nunatak, {name}"] = lambda table=table: ask(whole(f"tpch.{table}"))
        best = best_ms(runs)
        baseline = next(iter(best.values()))
        print(f"\nlineitem at scale {tpch.SCALE}, all columns, {os.cpu_count()} cores ({platform.machine()}), best of {ROUNDS}:\n")
        print("| scan | ms | speed of DataFusion's |\n|---|--:|--:|")
        for name, took in best.items():
            print(f"| {name} | {took:.0f} | {baseline / took:.2f} |")
        files = len(files_of(server, "by_order"))
        lookup = best_ms({"": lambda: ask("SELECT * FROM tpch.by_order WHERE l_orderkey = 4711")})[""]
        print(f"\nOne order out of {files} files: {lookup:.1f} ms.")


if __name__ == "__main__":
    main()
