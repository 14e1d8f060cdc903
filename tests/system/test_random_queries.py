"""Random queries, in every execution mode against DuckDB. RANDOM_QUERIES sets how many, QUERY_SEED the first seed."""

import os
from collections import Counter

import duckdb

from nunatak_testing import random_joins, tpch
from nunatak_testing.random_queries import Generator
from nunatak_testing.server import MODES

SCALE = "0.01"
QUERIES = int(os.environ.get("RANDOM_QUERIES", "60"))
SEED = int(os.environ.get("QUERY_SEED", "1"))
# A join of everything with everything says nothing more than a small one.
ROWS_MAX = 200_000
# Of a hundred queries, how many may be refused: subqueries that no join is found for.
REFUSED_MAX = 10


def counted(rows):
    """Rows without order. Sums are wider in one engine than in the other, but not other numbers."""
    return Counter(tuple(str(value) for value in row) for row in rows)


def test_every_mode_answers_as_duckdb_does(cluster):
    judge, asked, seed = tpch.judge(SCALE), 0, SEED
    while asked < QUERIES:
        seed += 1
        sql = Generator(seed).statement()
        if judge.execute(f"SELECT count(*) FROM ({sql}) AS q").fetchone()[0] > ROWS_MAX:
            continue
        asked += 1
        right = counted(judge.execute(sql).fetchall())
        for mode in MODES:
            try:
                rows = counted(cluster.rows(sql, headers={"schema": "tpch", "nunatak-session": f"execution_mode={mode}"}))
            except Exception as error:
                error.add_note(f"QUERY_SEED={seed - 1}, {mode}\n{sql}")
                raise
            missing, extra = list((right - rows).items())[:3], list((rows - right).items())[:3]
            assert not missing and not extra, f"QUERY_SEED={seed - 1}, {mode}: missing {missing}, not there {extra}\n{sql}"


def test_columns_of_the_same_names(cluster):
    """What is not supported is refused; all else has the right rows."""
    judge = duckdb.connect()
    cluster.rows("CREATE SCHEMA IF NOT EXISTS same_names")
    for sql in random_joins.setup():
        judge.execute(sql)
        cluster.rows(sql, headers={"schema": "same_names"})
    asked, refused, seed = 0, 0, SEED
    while asked < QUERIES:
        seed += 1
        sql = random_joins.Generator(seed).statement()
        right = judge.execute(sql).fetchall()
        if len(right) > ROWS_MAX / 10:
            continue
        asked += 1
        for mode in MODES:
            try:
                rows = cluster.rows(sql, headers={"schema": "same_names", "nunatak-session": f"execution_mode={mode}"})
            except Exception as error:
                if "NOT_SUPPORTED" in str(error):
                    refused += 1
                    break
                error.add_note(f"QUERY_SEED={seed - 1}, {mode}\n{sql}")
                raise
            missing, extra = counted(right) - counted(rows), counted(rows) - counted(right)
            assert not missing and not extra, f"QUERY_SEED={seed - 1}, {mode}: missing {list(missing)[:3]}, not there {list(extra)[:3]}\n{sql}"
    assert refused * 100 <= REFUSED_MAX * asked, f"{refused} of {asked} queries were refused"
