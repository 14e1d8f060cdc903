"""Writes side by side, in one run: nunatak, and Spark with Iceberg over the same catalog and warehouse, change tables of TPC-H's lineitem.

`ctas` copies lineitem into a new table. `merge-on-read` and `copy-on-write` MERGE rows as many as 5 % of it, of which half are there and half new,
into a table of version 2. `optimize` rewrites 2,000 small files, in Spark by `rewrite_data_files`. Arguments name the parts to run, none means all.

Every statement gets a table of its own that looks the same for both. They take turns, one waits until the other rests, and each has done a part with
a tenth of the rows before it is timed. What a table holds after a statement is read by PyIceberg and compared with what DuckDB makes of the same
input: a difference ends the run. Both have two cores; Spark has a heap of 8 GB, nunatak its default. TPCH_SCALE (1 here) and ROUNDS (3) come from the
environment. Prints Markdown tables.
"""

import contextlib
import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("TPCH_SCALE", "1")
# It is heard before the 2 GB that the tests' session asks for.
os.environ["PYSPARK_SUBMIT_ARGS"] = "--driver-memory 8g pyspark-shell"

import duckdb  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402

from nunatak_testing import tpch  # noqa: E402
from nunatak_testing.server import Server, eventually  # noqa: E402
from nunatak_testing.spark import Spark  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SMALL_FILES = 2000
REST_SECONDS = 60
# What both write in tables that they have made. In tables of others that do not name a codec, Spark writes gzip.
CODEC = "write.parquet.compression-codec"

LINEITEM = f"{tpch.files()}/lineitem.parquet"
COLUMNS = parquet.read_schema(LINEITEM).names

# One row in forty is changed; of another one a copy with a new key comes in. `small` is the tenth that engines are warmed up with.
IN_TURN = "(l_orderkey * 7 + l_linenumber) % 40"
INPUTS = {
    "lineitem": f"SELECT * FROM read_parquet('{LINEITEM}')",
    "small": "SELECT * FROM lineitem WHERE l_orderkey <= (SELECT max(l_orderkey) // 10 FROM lineitem)",
} | {
    f"{table}_changes": f"""SELECT * REPLACE (
        l_orderkey + CASE {IN_TURN} WHEN 0 THEN 0 ELSE 1000000000 END AS l_orderkey, (l_quantity + 1)::decimal(15, 2) AS l_quantity,
        'DRONE' AS l_shipmode, l_comment || '!' AS l_comment) FROM {table} WHERE {IN_TURN} IN (0, 1)"""
    for table in ["lineitem", "small"]
}


@dataclass(frozen=True)
class Engine:
    name: str
    pid: int
    run: Callable


@dataclass(frozen=True)
class Part:
    """A statement in both dialects, what makes the table that it changes, and the rows that are in it afterwards."""

    start: Callable
    ours: str
    theirs: str
    after: str


class Lake:
    """Both engines over one data directory, beside DuckDB that knows what is right."""

    def __init__(self, folder, closing):
        self.judge = duckdb.connect()
        self.server = closing.enter_context(Server(folder))
        self.spark = closing.enter_context(Spark(folder))
        self.catalog = self.server.iceberg()
        cursor = closing.enter_context(closing.enter_context(self.server.connect()).cursor())
        ours = Engine("nunatak", self.server.process.pid, lambda sql: cursor.execute(sql).fetch_arrow_table())
        self.engines = [ours, Engine("Spark", self.spark.process.pid, self.spark.rows)]
        self.names = map("t{}".format, itertools.count())
        self.server.rows("CREATE SCHEMA writes")
        for name, sql in INPUTS.items():
            self.judge.execute(f"COPY ({sql}) TO '{folder}/{name}.parquet'")
            self.judge.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{folder}/{name}.parquet')")
            self.server.rows(f"CREATE TABLE writes.{name} AS SELECT * FROM read_parquet('{folder}/{name}.parquet')")

    def load(self, name):
        return self.catalog.load_table(f"writes.{name}")

    def files(self, name):
        """The data and delete files of a table, with their sizes."""
        files = self.load(name).inspect.files().select(["file_path", "content", "file_size_in_bytes"]).to_pylist()
        return {file["file_path"]: file for file in files}

    def sums(self, rows):
        """How many rows there are, a sum over each column, and one over whole rows."""
        sums = ", ".join(f"sum(hash({names}))" for names in [*COLUMNS, ", ".join(COLUMNS)])
        return self.judge.execute(f"SELECT count(*), {sums} FROM ({rows})").fetchall()[0]

    def sums_of_table(self, name):
        self.judge.register("found", self.load(name).scan().to_arrow_batch_reader())
        return self.sums("SELECT * FROM found")

    def rest(self):
        """Waits until nothing is left to be written to disk, and both engines do next to nothing."""
        os.sync()

        def idle(seconds=0.5):
            before = [cpu_seconds(engine.pid) for engine in self.engines]
            time.sleep(seconds)
            return all(cpu_seconds(engine.pid) - start < 0.1 * seconds for engine, start in zip(self.engines, before))

        if not eventually(idle, REST_SECONDS):
            sys.exit("an engine does not come to rest: nothing can be timed")


def cpu_seconds(pid):
    """Processor time of a process and of those that it has started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, children))


def nothing(lake, table, source):
    pass


def copy(mode):
    def start(lake, table, source):
        properties = f"extra_properties = MAP(ARRAY['{CODEC}', 'write.merge.mode'], ARRAY['zstd', '{mode}'])"
        lake.server.rows(f"CREATE TABLE writes.{table} WITH (format_version = 2, {properties}) AS SELECT * FROM writes.{source}")

    return start


def small_files(lake, table, source):
    """The rows in many files, by one commit of PyIceberg's."""
    rows = lake.judge.sql(f"FROM {source}").to_arrow_table().combine_chunks()
    files = SMALL_FILES if source == "lineitem" else SMALL_FILES // 10
    edges = [rows.num_rows * file // files for file in range(files + 1)]
    batches = pa.concat_tables(rows.slice(start, end - start) for start, end in itertools.pairwise(edges))
    # It packs batches into files up to this size, in memory: one fits, two do not.
    size = {"write.target-file-size-bytes": str(rows.nbytes * 3 // 2 // files)}
    created = lake.catalog.create_table(f"writes.{table}", lake.load(source).schema(), properties={"format-version": "2", CODEC: "zstd"})
    with created.transaction() as transaction:
        transaction.set_properties(size)
        transaction.append(batches)
        transaction.remove_properties(*size)


MERGE = f"""MERGE INTO writes.{{table}} AS t USING writes.{{source}}_changes AS c ON t.l_orderkey = c.l_orderkey AND t.l_linenumber = c.l_linenumber
WHEN MATCHED THEN UPDATE SET l_quantity = c.l_quantity, l_shipmode = c.l_shipmode, l_comment = c.l_comment
WHEN NOT MATCHED THEN INSERT ({", ".join(COLUMNS)}) VALUES ({", ".join(f"c.{name}" for name in COLUMNS)})"""
MERGED = f"SELECT * FROM {{source}} WHERE {IN_TURN} <> 0 UNION ALL SELECT * FROM {{source}}_changes"

PARTS = {
    "ctas": Part(
        nothing,
        "CREATE TABLE writes.{table} AS SELECT * FROM writes.{source}",
        "CREATE TABLE writes.{table} USING iceberg AS SELECT * FROM writes.{source}",
        "FROM {source}",
    ),
    "merge-on-read": Part(copy("merge-on-read"), MERGE, MERGE, MERGED),
    "copy-on-write": Part(copy("copy-on-write"), MERGE, MERGE, MERGED),
    "optimize": Part(
        small_files,
        "ALTER TABLE writes.{table} EXECUTE optimize",
        "CALL lake.system.rewrite_data_files(table => 'writes.{table}', options => map('rewrite-all', 'true'))",
        "FROM {source}",
    ),
}


@dataclass
class Run:
    """One statement: how long it took, its processor time, and the files it started from and has written."""

    seconds: float
    cpu: float
    files_before: int
    written: list
    codecs: set


def run(lake, engine, part, source):
    table = next(lake.names)
    part.start(lake, table, source)
    before = lake.files(table) if part.start is not nothing else {}
    lake.rest()
    sql = (part.ours if engine is lake.engines[0] else part.theirs).format(table=table, source=source)
    cpu, start = cpu_seconds(engine.pid), time.perf_counter()
    engine.run(sql)
    seconds, cpu = time.perf_counter() - start, cpu_seconds(engine.pid) - cpu
    if lake.sums_of_table(table) != lake.sums(part.after.format(source=source)):
        sys.exit(f"{engine.name} has left wrong rows, nothing is reported: {sql}")
    written = [file for path, file in lake.files(table).items() if path not in before]
    codecs = {parquet.read_metadata(urlsplit(file["file_path"]).path).row_group(0).column(0).compression for file in written}
    lake.server.rows(f"DROP TABLE writes.{table}")
    return Run(seconds, cpu, len(before), written, codecs)


def measure(lake, names):
    """The runs of each part in each engine."""
    runs = {name: {engine.name: [] for engine in lake.engines} for name in names}
    for name in names:
        part = PARTS[name]
        for engine in lake.engines:
            run(lake, engine, part, "small")
        for _ in range(ROUNDS):
            for engine in lake.engines:
                runs[name][engine.name].append(run(lake, engine, part, "lineitem"))
                print(f"{name}, {engine.name}: {runs[name][engine.name][-1].seconds:.2f} s", file=sys.stderr)
    return runs


def of_all(values):
    """Median, least and most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def size(written):
    """What one run has written."""
    data, deletes = ([file["file_size_in_bytes"] for file in written if (file["content"] > 0) == deleting] for deleting in (False, True))
    return f"{len(data)} data, {len(deletes)} deletes, {(sum(data) + sum(deletes)) / 1e6:.1f} MB"


def report(lake, runs):
    (version,) = lake.spark.rows("SELECT version()")[0]
    rows, changes = (lake.judge.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ("lineitem", "lineitem_changes"))
    machine = f"{os.cpu_count()} cores ({platform.machine()})"
    print(f"\nlineitem at scale {tpch.SCALE}: {rows:,} rows, {changes:,} to merge; {machine}, Spark {version.split()[0]}.")
    print(f"Seconds, median (least..most) of {ROUNDS}; `CPU` is the median of processor time.\n")
    print("| write | nunatak | CPU | Spark | CPU | Spark / nunatak |\n|---|--:|--:|--:|--:|--:|")
    for name, of in runs.items():
        cells = []
        for runs_of_one in of.values():
            cells += [of_all([run.seconds for run in runs_of_one]), f"{statistics.median(run.cpu for run in runs_of_one):.2f}"]
        ours, theirs = (statistics.median(run.seconds for run in runs) for runs in of.values())
        print(f"| {name} | {' | '.join(cells)} | {theirs / ours:.2f} |")
    print("\n| write | files before | nunatak wrote | Spark wrote |\n|---|--:|--:|--:|")
    for name, of in runs.items():
        print(f"| {name} | {of['nunatak'][-1].files_before} | {' | '.join(size(runs[-1].written) for runs in of.values())} |")
    codecs = {engine.name: set().union(*(run.codecs for of in runs.values() for run in of[engine.name])) for engine in lake.engines}
    print("\nCompression: " + "; ".join(f"{name} {', '.join(sorted(found)).lower()}" for name, found in codecs.items()) + ".")


def main():
    names = sys.argv[1:] or list(PARTS)
    if unknown := set(names) - set(PARTS):
        sys.exit(f"there is no {', '.join(unknown)}, only {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder, contextlib.ExitStack() as closing:
        lake = Lake(folder, closing)
        report(lake, measure(lake, names))


if __name__ == "__main__":
    main()
