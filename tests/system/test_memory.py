"""Queries in less memory than they want: they use the disk and answer, or fail with EXCEEDED_LOCAL_MEMORY_LIMIT. They never answer otherwise."""

import pytest

from nunatak_testing.server import MODES, Cluster

ROWS = 4 * 90_000
# Joins without equality keep one side in memory, here the one that does not fit.
JOINS = {
    "inner": "SELECT count(*), max(t) FROM s.t JOIN (SELECT x FROM unnest(sequence(1, 30)) u(x)) r ON k < x",
    "left": "SELECT count(*), max(t) FROM s.t LEFT JOIN (SELECT x FROM unnest(sequence(1, 30)) u(x)) r ON k < x",
    "anti": "SELECT count(*), max(t) FROM s.t WHERE NOT EXISTS (SELECT 1 FROM unnest(sequence(1, 30)) u(x) WHERE k < x)",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A cluster of which each process has as little memory as it may, with a table of twice that in several files."""
    with Cluster(tmp_path_factory.mktemp("small"), "--memory", "64MiB", executors=2, slots=2, memory="64MiB") as cluster:
        cluster.rows("CREATE SCHEMA s")
        cluster.rows("CREATE TABLE s.t (k bigint, t varchar)")
        for part in range(4):
            numbers = f"(SELECT a * 300 + b + {part * ROWS // 4} AS k FROM unnest(sequence(0, 299)) u(a) CROSS JOIN unnest(sequence(0, 299)) v(b))"
            cluster.rows(f"INSERT INTO s.t SELECT k, to_hex(sha256(to_utf8(cast(k AS varchar)))) || rpad('x', 300, 'y') FROM {numbers}")
        yield cluster


def answer(cluster, sql, mode):
    return cluster.rows(sql, headers={"nunatak-session": f"execution_mode={mode}"})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", JOINS)
def test_joins_without_equality(small, name, mode):
    try:
        ((rows, _),) = answer(small, JOINS[name], mode)
    except Exception as error:
        assert "EXCEEDED_LOCAL_MEMORY_LIMIT" in str(error)
    else:
        assert rows == {"inner": sum(range(31)), "left": ROWS + sum(range(30)), "anti": ROWS - 30}[name]


@pytest.mark.parametrize("mode", MODES)
def test_groups_go_to_disk(small, mode):
    assert answer(small, "SELECT count(*) FROM (SELECT t, k, max(t || 'x') FROM s.t GROUP BY t, k)", mode) == [(ROWS,)]
