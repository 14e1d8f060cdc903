"""The 99 TPC-DS queries as Trino's benchmarks have them, unedited, give what Trino gives over the same tables, in both distributed modes and over Trino's protocol."""

import pytest

from nunatak_testing import tpcds
from nunatak_testing.server import Cluster

QUERIES = tpcds.texts("tpcds")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), executors=2, slots=1) as cluster:
        tpcds.load(cluster)
        yield cluster


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
@pytest.mark.parametrize("name", QUERIES)
def test_query(server, name, mode):
    ours = tpcds.answer(f"http://{server.http}", QUERIES[name], {"X-Trino-Session": f"execution_mode={mode}"})
    # In eight runs no two rows that ORDER BY leaves equal have changed their places at this scale.
    assert tpcds.wrong(ours, tpcds.kept_answer(name), ordered=True) is None
