"""Where the rows of a write go: ranges of keys for tables that are sorted, parts of a partition that most rows are of, and plans of writes with what was measured.

On one coordinator and two executors, so that two tasks write in every mode.
"""

import pytest

from nunatak_testing.server import MODES

SCALE = "0.1"
CHECK = "count(*), sum(l_extendedprice), count(DISTINCT l_orderkey * 10 + l_linenumber)"


def headers(mode):
    return {"schema": "tpch", "nunatak-session": f"execution_mode={mode},task_concurrency=2"}


@pytest.fixture(scope="module")
def rows(cluster):
    """What the rows of a table `lines` add up to. It has long texts and is not compressed, so that it is large enough for two tasks."""
    properties = "extra_properties = MAP(ARRAY['write.parquet.compression-codec'], ARRAY['uncompressed'])"
    query = (
        "SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_extendedprice, l_shipdate, l_shipmode,"
        " l_comment || cast(l_orderkey AS varchar) || l_comment || cast(l_linenumber AS varchar) || l_comment || l_comment AS l_comment FROM lineitem"
    )
    # Several row groups: otherwise all rows would be read by one task.
    cluster.rows(f"CREATE TABLE lines WITH ({properties}) AS {query} WHERE l_linenumber < 3", headers=headers("local"))
    cluster.rows(f"INSERT INTO lines {query} WHERE l_linenumber >= 3", headers=headers("local"))
    return cluster.rows(f"SELECT {CHECK} FROM tpch.lines")


def bounds(cluster, table, column):
    """Least and greatest value of a column of numbers or texts in each data file, in order."""
    names = [row[0] for row in cluster.rows(f"DESCRIBE tpch.{table}")]
    files = cluster.rows(f'SELECT lower_bounds, upper_bounds FROM tpch."{table}$files"')
    both = [[dict(file[side])[names.index(column) + 1] for side in (0, 1)] for file in files]
    return sorted(tuple(int(bound) if bound.isdigit() else bound for bound in bounds) for bounds in both)


def are_disjoint(bounds):
    return all(before[1] <= after[0] for before, after in zip(bounds, bounds[1:]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("properties", ["sorted_by = ARRAY['l_partkey']", "extra_properties = MAP(ARRAY['write.distribution-mode'], ARRAY['range'])"])
def test_files_of_a_sorted_table_have_ranges(cluster, rows, mode, properties):
    cluster.rows("DROP TABLE IF EXISTS tpch.sorted")
    # Rows of an aggregation are made twice only if the table asks for it.
    if "range" in properties:
        properties += ", sorted_by = ARRAY['l_partkey']"
        query = "SELECT DISTINCT * FROM lines"
    else:
        query = "SELECT * FROM lines"
    cluster.rows(f"CREATE TABLE sorted WITH ({properties}) AS {query}", headers=headers(mode))
    assert cluster.rows(f"SELECT {CHECK} FROM tpch.sorted") == rows
    files = bounds(cluster, "sorted", "l_partkey")
    assert len(files) == 2 and are_disjoint(files), files
    counts = [count for (count,) in cluster.rows('SELECT record_count FROM tpch."sorted$files"')]
    assert max(counts) < 1.2 * min(counts), counts


@pytest.mark.parametrize("mode", MODES)
def test_hash_leaves_the_order_to_each_task(cluster, rows, mode):
    cluster.rows("DROP TABLE IF EXISTS tpch.hashed")
    properties = "sorted_by = ARRAY['l_partkey'], extra_properties = MAP(ARRAY['write.distribution-mode'], ARRAY['hash'])"
    cluster.rows(f"CREATE TABLE hashed WITH ({properties}) AS SELECT * FROM lines", headers=headers(mode))
    assert cluster.rows(f"SELECT {CHECK} FROM tpch.hashed") == rows
    assert not are_disjoint(bounds(cluster, "hashed", "l_partkey"))


@pytest.mark.parametrize("mode", MODES)
def test_orders_of_all_kinds(cluster, rows, mode):
    """Descending, of texts, with NULL, by a transform."""
    cluster.rows("DROP TABLE IF EXISTS tpch.mixed")
    cluster.rows(
        "CREATE TABLE mixed (t varchar, d date, l_orderkey bigint, l_linenumber integer, l_extendedprice decimal(15, 2))"
        " WITH (sorted_by = ARRAY['t DESC NULLS FIRST', 'd'])",
        headers=headers(mode),
    )
    query = "SELECT CASE WHEN l_linenumber > 1 THEN l_shipmode || cast(l_partkey AS varchar) END, l_shipdate, l_orderkey, l_linenumber, l_extendedprice FROM lines"
    cluster.rows(f"INSERT INTO mixed {query}", headers=headers(mode))
    assert cluster.rows(f"SELECT {CHECK} FROM tpch.mixed") == rows
    nulls = sorted(dict(counts)[1] for (counts,) in cluster.rows('SELECT null_value_counts FROM tpch."mixed$files"'))
    assert nulls == [0, cluster.value("SELECT count(*) FROM tpch.mixed WHERE t IS NULL")]
    assert are_disjoint(bounds(cluster, "mixed", "t"))


@pytest.mark.parametrize("mode", MODES)
def test_a_partition_that_most_rows_are_of_is_split(cluster, rows, mode):
    cluster.rows("DROP TABLE IF EXISTS tpch.skewed")
    query = "SELECT *, CASE WHEN l_orderkey % 100 < 96 THEN 'most' ELSE l_shipmode END AS kind FROM lines"
    cluster.rows(f"CREATE TABLE skewed WITH (partitioning = ARRAY['kind']) AS {query}", headers=headers(mode))
    assert cluster.rows(f"SELECT {CHECK} FROM tpch.skewed") == rows
    files = cluster.rows("SELECT partition.kind, record_count FROM tpch.\"skewed$files\"")
    most = [count for kind, count in files if kind == "most"]
    assert len(most) == 2 and max(most) < 1.3 * min(most), files
    others = [kind for kind, _ in files if kind != "most"]
    assert len(others) <= len(set(others)) + 1, files

    cluster.rows("CREATE OR REPLACE TABLE skewed WITH (partitioning = ARRAY['l_shipmode']) AS SELECT * FROM lines", headers=headers(mode))
    modes = [mode for (mode,) in cluster.rows('SELECT partition.l_shipmode FROM tpch."skewed$files"')]
    assert sorted(modes) == sorted(set(modes)), "partitions that fit a task are whole"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["sorted_by => ARRAY['l_suppkey']", "zorder_by => ARRAY['l_partkey', 'l_suppkey']"])
def test_optimize_sorts_in_ranges(cluster, rows, mode, by):
    cluster.rows("DROP TABLE IF EXISTS tpch.heap")
    cluster.rows("CREATE TABLE heap WITH (extra_properties = MAP(ARRAY['write.parquet.compression-codec'], ARRAY['uncompressed'])) AS SELECT * FROM lines", headers=headers("local"))
    cluster.rows(f"ALTER TABLE heap EXECUTE optimize(file_size_threshold => '1MB', {by})", headers=headers(mode))
    assert cluster.rows(f"SELECT {CHECK} FROM tpch.heap") == rows
    if "sorted" in by:
        files = bounds(cluster, "heap", "l_suppkey")
        assert len(files) == 2 and are_disjoint(files), files


@pytest.mark.parametrize("mode", MODES)
def test_explain_analyze_writes(cluster, mode, failure):
    def analyzed(sql):
        return cluster.value(f"EXPLAIN ANALYZE {sql}", headers=headers(mode))

    cluster.rows("DROP TABLE IF EXISTS tpch.told")
    text = analyzed("CREATE TABLE told AS SELECT * FROM orders")
    assert text.startswith("Changed rows: 150000\nElapsed: ") and f"Execution mode: {mode}" in text and "IcebergWriteExec" in text
    assert "rows_written=" in text
    assert "Changed rows: 27" in analyzed("INSERT INTO told SELECT * FROM orders WHERE o_orderkey < 100")
    assert cluster.value("SELECT count(*) FROM tpch.told") == 150_027
    assert "Changed rows: 24" in analyzed("DELETE FROM told WHERE o_orderkey > 599904")
    text = analyzed("MERGE INTO told USING (SELECT 1 AS k) ON o_orderkey = k WHEN MATCHED THEN UPDATE SET o_clerk = 'me'")
    assert text.startswith("Changed rows: 2\n") and "rows_deleted=" in text
    assert cluster.value("SELECT count(*) FROM tpch.told WHERE o_clerk = 'me'") == 2
    cluster.rows("ALTER TABLE told SET PROPERTIES extra_properties = MAP(ARRAY['write.update.mode'], ARRAY['copy-on-write'])", headers=headers(mode))
    assert analyzed("UPDATE told SET o_clerk = 'you' WHERE o_orderkey = 2").count("Execution mode") == 2
    assert "metadata told what to change" in analyzed("DELETE FROM told")
    assert cluster.value("SELECT count(*) FROM tpch.told") == 0
    assert "NOT_SUPPORTED" in failure(cluster, "EXPLAIN ANALYZE DROP TABLE told", headers=headers(mode))
    assert "NOT_SUPPORTED" in failure(cluster, "EXPLAIN ANALYZE CREATE TABLE other (a bigint)", headers=headers(mode))
    assert "DIVISION_BY_ZERO" in failure(cluster, "EXPLAIN ANALYZE INSERT INTO told SELECT o_orderkey / 0, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, o_clerk, o_shippriority, o_comment FROM orders", headers=headers(mode))
    assert cluster.value("SELECT count(*) FROM tpch.told") == 0
