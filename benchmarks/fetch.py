"""Results fetched side by side, in one run: all columns of 10 million rows of TPC-H's lineitem, from nunatak and from Trino 476, over the same Iceberg table in MinIO.

Ways to fetch them: rows in answers (direct JSON) and spooled JSON with zstd, by Trino's Python client and its JDBC driver; from nunatak also spooled Arrow with zstd, by
`clients/python`, and Flight SQL, by ADBC. Both engines spool into a bucket of MinIO, which clients fetch from; nunatak is measured with a folder of its own too, from which it
serves segments itself (as `nunatak standalone` does unless told otherwise). Before a way is timed its server has to show that rows come that way.

Each way fetches a tenth of the rows first, which warms it up; how many rows there were and the sum of their keys are checked there and in every timed run: a difference ends the
run. Python's clients make objects of all values but for Arrow, whose batches are only summed. FETCH_ROWS (10000000 here), ROUNDS (2) and WAYS (a pattern of the names of ways,
such as 'arrow|Flight'; all) come from the environment; FETCH_ROWS=60000 is a quick look. Prints a Markdown table.
"""

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nunatak_arrow
import pyarrow.compute
import requests
import trino

from nunatak_testing import tpch
from nunatak_testing.server import ROOT, Server
from servers.minio import Minio
from servers.trino import Trino, in_minio

ROWS = int(os.environ.get("FETCH_ROWS", "10000000"))
ROUNDS = int(os.environ.get("ROUNDS", "2"))
WAYS = re.compile(os.environ.get("WAYS", ""))
# Lineitem has a little less than six million rows a unit of scale at the smallest ones.
SCALE = next(scale for scale in ["0.01", "0.1", "1", "2", "5", "10", "100"] if float(scale) * 5_990_000 >= ROWS)
ENCODING = "json+zstd"
# One that nobody knows: the Python client offers its own unless it is told of others.
DIRECT = "none"
TABLE, SMALL = "ours.bench.lines", "ours.bench.small"


def query(table):
    return f"SELECT * FROM {table}"


def prepare(server):
    """Tables of so many rows of lineitem, and of a tenth of them, with what is right of each: how many rows, and the sum of their keys."""
    server.rows("CREATE SCHEMA ours.bench")
    source = f"read_parquet('{tpch.files(SCALE)}/lineitem.parquet')"
    right = {}
    for table, rows in [(TABLE, ROWS), (SMALL, ROWS // 10)]:
        server.rows(f"CREATE TABLE {table} AS SELECT * FROM {source} LIMIT {rows}")
        (right[table],) = server.rows(f"SELECT count(*), sum(l_orderkey) FROM {table}")
        if right[table][0] != rows:
            sys.exit(f"{table} has {right[table][0]} rows, {rows} is right: nothing is timed")
    return right


def summed(batches):
    count = total = 0
    for batch in batches:
        count += batch.num_rows
        total += pyarrow.compute.sum(batch.column(0)).as_py() or 0
    return count, total


def by_python(address, encoding):
    host, port = address.split(":")

    def fetch(table):
        with trino.dbapi.connect(host, int(port), user="bench", encoding=encoding) as connection:
            cursor = connection.cursor()
            cursor.execute(query(table))
            count = total = 0
            while rows := cursor.fetchmany(10_000):
                count += len(rows)
                total += sum(row[0] for row in rows)
            return count, total

    return fetch


def by_arrow(address):
    def fetch(table):
        with nunatak_arrow.connect(f"http://{address}", user="bench") as connection, connection.execute(query(table)) as result:
            return summed(result)

    return fetch


def by_flight(server):
    def fetch(table):
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query(table))
            return summed(cursor.fetch_record_batch())

    return fetch


def confirmed(address, encoding, run):
    """`run`, once a server has shown that it gives rows as they are to be measured: it may always give them in its answers, which clients read just as well."""
    wanted = "direct" if encoding == DIRECT else "spooled"

    def confirm_and_run():
        headers = {"X-Trino-User": "bench", "X-Trino-Query-Data-Encoding": encoding}
        answer, kinds = requests.post(f"http://{address}/v1/statement", query(TABLE), headers=headers, timeout=60).json(), set()
        while "nextUri" in answer and wanted not in kinds:
            answer = requests.get(answer["nextUri"], headers=headers, timeout=60).json()
            data = answer.get("data") or []
            kinds |= {segment["type"] for segment in data["segments"]} if isinstance(data, dict) else {"direct" for _ in data[:1]}
        if "nextUri" in answer:
            requests.delete(answer["nextUri"], headers=headers, timeout=60)
        if wanted not in kinds or (wanted == "spooled" and (data["encoding"] != encoding or "direct" in kinds)):
            sys.exit(f"the server at {address} gives rows {' and '.join(kinds)}, and not {wanted} ({encoding}): nothing is timed")
        return run()

    return confirm_and_run


def timed(fetch, right):
    """The best of all rounds in seconds, after a tenth of the rows."""
    check(fetch(SMALL), right[SMALL])
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        found = fetch(TABLE)
        best = min(best, time.perf_counter() - start)
        check(found, right[TABLE])
    return best


def timed_in_java(address, encoding, right):
    """The same by the JDBC driver, in one process, which measures itself."""
    (driver,) = (ROOT / ".cache/jars").glob("trino-jdbc-*.jar")

    def fetch(table, rounds):
        program = ["java", "-Xmx2g", "-cp", driver, Path(__file__).parent / "Fetch.java"]
        command = [*program, f"jdbc:trino://{address}", "-" if encoding == DIRECT else encoding, query(table), str(rounds)]
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"the JDBC driver has failed: {ran.stderr[-2000:]}")
        for line in ran.stdout.splitlines():
            count, total, millis = map(int, line.split())
            check((count, total), right[table])
            yield millis / 1000

    list(fetch(SMALL, 1))
    # The first round of a process compiles what the others run.
    return min(fetch(TABLE, max(ROUNDS, 2)))


def check(found, right):
    if tuple(found) != tuple(right):
        sys.exit(f"there were {found} (rows, sum of keys), {right} is right: nothing is timed")


def ways(folder, minio, closing):
    """The ways to fetch, by name, and what is right."""
    keys = "".join(f'"{name}" = "{value}"\n' for name, value in minio.settings.items())
    catalog = f'[catalog.ours]\ntype = "sql"\nuri = "sqlite://{folder}/ours.sqlite"\nwarehouse = "s3://lake/ours"\n{keys}'
    spooling = {
        "in a folder": "",
        "in MinIO": f'[spooling]\nlocation = "s3://spool/ours"\nretrieval = "storage"\n[spooling.storage]\n{keys}',
    }
    servers = {}
    for place, section in spooling.items():
        config = Path(folder) / f"{place.replace(' ', '-')}.toml"
        config.write_text(catalog + section)
        servers[place] = closing.enter_context(Server(config.with_suffix(""), "--config", config))
    own = servers["in a folder"]
    right = prepare(own)
    (Path(folder) / "trino").mkdir()
    other = closing.enter_context(Trino(Path(folder) / "trino", spool=(minio, "spool")))
    rest = {"iceberg.catalog.type": "rest", "iceberg.rest-catalog.uri": f"http://{own.http}/iceberg", "iceberg.rest-catalog.warehouse": "ours"}
    closing.enter_context(other.catalogs({"ours": rest | in_minio(minio)}))
    theirs = f"127.0.0.1:{other.port}"
    found = {}
    for engine, address in [("nunatak", own.http), ("Trino", theirs)]:
        found[f"{engine}, direct JSON, Python"] = confirmed(address, DIRECT, lambda address=address: timed(by_python(address, DIRECT), right))
        found[f"{engine}, direct JSON, JDBC"] = confirmed(address, DIRECT, lambda address=address: timed_in_java(address, DIRECT, right))
    for name, address in [(f"nunatak {place}", server.http) for place, server in servers.items()] + [("Trino in MinIO", theirs)]:
        found[f"{name}, spooled {ENCODING}, Python"] = confirmed(address, ENCODING, lambda address=address: timed(by_python(address, ENCODING), right))
        found[f"{name}, spooled {ENCODING}, JDBC"] = confirmed(address, ENCODING, lambda address=address: timed_in_java(address, ENCODING, right))
    for place, server in servers.items():
        arrow = lambda server=server: timed(by_arrow(server.http), right)
        found[f"nunatak {place}, spooled {nunatak_arrow.ENCODING}, Python"] = confirmed(server.http, nunatak_arrow.ENCODING, arrow)
    found["nunatak, Flight SQL, ADBC"] = lambda: timed(by_flight(own), right)
    return found


def main():
    with tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder, contextlib.ExitStack() as closing:
        (Path(folder) / "minio").mkdir()
        minio = closing.enter_context(Minio(Path(folder) / "minio", "lake", "spool"))
        took = {}
        for name, run in ways(folder, minio, closing).items():
            if WAYS.search(name):
                took[name] = run()
                print(f"{name}: {took[name]:.1f} s", file=sys.stderr, flush=True)
        print(f"\n{ROWS:,} rows of lineitem, all columns, {os.cpu_count()} cores ({platform.machine()}), best of {ROUNDS}:\n")
        print("| way | s | rows a second |\n|---|--:|--:|")
        for name, seconds in took.items():
            print(f"| {name} | {seconds:.1f} | {ROWS / seconds:,.0f} |")


if __name__ == "__main__":
    main()
