"""The 22 TPC-H queries over Iceberg tables give what DuckDB gives over the files they were loaded from (TPCH_SCALE sets the size); also as Trino's benchmarks have them."""

import pytest

from nunatak_testing import tpcds, tpch
from nunatak_testing.answers import difference

TRINOS = tpcds.texts("tpch")


@pytest.fixture(scope="module")
def loaded(server):
    tpch.load(server)
    return server


@pytest.fixture(scope="module")
def judge():
    return tpch.judge()


@pytest.mark.parametrize("table", tpch.TABLES)
def test_all_rows_are_loaded(loaded, judge, table):
    ((rows,),) = judge.execute(f"SELECT count(*) FROM {table}").fetchall()
    assert loaded.value(f"SELECT count(*) FROM tpch.{table}") == rows


@pytest.mark.parametrize("name", tpch.QUERIES)
def test_query(loaded, judge, name):
    theirs = judge.execute(tpch.QUERIES[name]).fetchall()
    assert theirs, "a query without rows proves nothing"
    assert tpch.wrong(name, loaded.arrow(tpch.QUERIES[name], headers={"schema": "tpch"}), theirs) is None


@pytest.fixture(scope="module")
def short_names(loaded, judge):
    """The same tables by the names that columns have in Trino: `orderkey` for `o_orderkey`."""
    loaded.rows("CREATE SCHEMA short")
    judge.execute("CREATE SCHEMA short")
    for table in tpch.TABLES:
        columns = [column for (column, *_) in loaded.rows(f"SHOW COLUMNS FROM tpch.{table}")]
        names = ", ".join(f"{column} AS {column.partition('_')[2]}" for column in columns)
        loaded.rows(f"CREATE VIEW short.{table} AS SELECT {names} FROM tpch.{table}")
        judge.execute(f"CREATE VIEW short.{table} AS SELECT {names} FROM main.{table}")


@pytest.mark.parametrize("name", TRINOS)
def test_query_of_trinos_benchmarks(loaded, judge, short_names, name):
    theirs = judge.execute(tpcds.placed(TRINOS[name], "memory", "short")).fetchall()
    assert theirs, "a query without rows proves nothing"
    assert difference(loaded.rows(tpcds.placed(TRINOS[name], "lake", "short")), theirs) is None
