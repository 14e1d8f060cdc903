"""Parts of data files that executors keep: nothing is read twice, also after a restart, and answers stay right. Local files are kept here as if they were far away."""

import re

import pytest

from nunatak_testing.server import MODES, Cluster, Executor, Server, free_port, in_mode

QUERY = "SELECT count(*), sum(id), max(x) FROM wide"
SOURCES = ["memory_cache", "disk_cache", "storage"]
UNITS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9}


@pytest.fixture(scope="module", autouse=True)
def cached():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUNATAK_CACHE__LOCAL_FILES", "true")
        patch.setenv("NUNATAK_CACHE__MEMORY", "256MiB")
        patch.setenv("NUNATAK_CACHE__DISK", "512MiB")
        yield


@pytest.fixture(scope="module")
def trio(tmp_path_factory, cached):
    """A coordinator and three executors at fixed ports, over a table of 90 MB in twenty files."""
    folder = tmp_path_factory.mktemp("trio")
    with Cluster(folder, executors=0) as cluster:
        cluster.executors = [Executor(folder / f"executor-{n}", cluster.cluster, "--cluster", f"127.0.0.1:{free_port()}") for n in range(3)]
        for executor in cluster.executors:
            executor.start()
        cluster.rows("CREATE TABLE wide AS SELECT id, random() AS x, random() AS y FROM UNNEST(range(0, 250000)) AS t(id)")
        for part in range(1, 20):
            cluster.rows(f"INSERT INTO wide SELECT id, random(), random() FROM UNNEST(range({part * 250000}, {(part + 1) * 250000})) AS t(id)")
        yield cluster


def bytes_from(server, mode, query=QUERY):
    """How many bytes the scans of a query have got from where."""
    text = "\n".join(row[0] for row in server.rows(f"EXPLAIN ANALYZE {query}", headers=in_mode(mode)))
    found = {}
    for source in SOURCES:
        amounts = re.findall(rf"bytes_from_{source}=([\d.]+) ?([KMB]?)", text)
        assert amounts, text
        found[source] = sum(float(number) * UNITS[unit] for number, unit in amounts)
    return found


def test_nothing_is_read_twice(trio):
    right = trio.rows(QUERY, headers=in_mode("local"))
    assert right[0][:2] == (5_000_000, sum(range(5_000_000)))
    assert trio.rows(QUERY, headers=in_mode("pipelined")) == right
    assert trio.rows(QUERY, headers=in_mode("fault_tolerant")) == right
    for mode in MODES:
        again = bytes_from(trio, mode)
        assert again["storage"] == 0 and again["memory_cache"] + again["disk_cache"] > 40e6, f"{mode}: {again}"
    # Another column is another part of the files.
    assert bytes_from(trio, "pipelined", "SELECT sum(y) FROM wide")["storage"] > 20e6


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
def test_scans_that_need_some_of_the_executors(trio, mode):
    """The same ones read them each time."""
    for part in [f"{QUERY} WHERE id < 2500000", f"{QUERY} WHERE id < 500000", "SELECT sum(id), max(x) FROM wide WHERE id BETWEEN 600000 AND 800000"]:
        right = trio.rows(part, headers=in_mode("local"))
        assert trio.rows(part, headers=in_mode(mode)) == right
        assert bytes_from(trio, mode, part)["storage"] == 0, part


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
def test_scans_beside_each_other(trio, mode):
    query = (
        "SELECT count(*), sum(x) FROM (SELECT x FROM wide UNION ALL SELECT y FROM wide WHERE id % 3 = 0"
        " UNION ALL SELECT a.x FROM wide a JOIN wide b ON a.id = b.id WHERE b.y < 0.5)"
    )
    assert trio.rows(query, headers=in_mode(mode))[0][0] == trio.rows(query, headers=in_mode("local"))[0][0]
    found = bytes_from(trio, mode, query)
    # In fault_tolerant there are more tasks here than slots, and an executor that has done its own takes those of others.
    assert found["storage"] <= (0 if mode == "pipelined" else 0.5 * sum(found.values())), found


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
def test_all_executors_have_a_part(trio, mode):
    before = [executor.cpu_seconds() for executor in trio.executors]
    for _ in range(5):
        trio.rows("SELECT sum(x * y), count(DISTINCT id % 1000) FROM wide", headers=in_mode(mode))
    assert all(executor.cpu_seconds() - start > 0.05 for executor, start in zip(trio.executors, before))


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
def test_a_restart_finds_it_on_disk(trio, mode):
    trio.rows(QUERY, headers=in_mode(mode))
    for executor in trio.executors:
        assert executor.stop() == 0
        executor.start()
    after = bytes_from(trio, mode)
    # What the disk cannot take in time is not kept: on a machine with much else to do that can be a part.
    assert after["storage"] < 0.3 * after["disk_cache"] and after["disk_cache"] > 40e6, after
    for executor in trio.executors:
        size = sum(path.stat().st_size for path in executor.data_dir.glob("cache/0/*"))
        assert 0 < size <= 512 << 20


def test_a_killed_executor_loses_only_what_was_in_memory(trio):
    right = trio.rows(QUERY, headers=in_mode("local"))
    victim = trio.executors[1]
    victim.kill()
    assert trio.rows(QUERY, headers=in_mode("pipelined")) == right
    victim.start()
    assert trio.rows(QUERY, headers=in_mode("pipelined")) == right
    assert bytes_from(trio, "pipelined")["storage"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_gone(tmp_path, failure, mode):
    """What is kept of it answers as long as it is there; the rest gives an error that names the file."""
    with Server(tmp_path) as server:
        server.rows("CREATE TABLE t AS SELECT id, random() AS x, id % 7 AS y FROM UNNEST(range(0, 500000)) AS t(id)")
        (path,) = server.rows('SELECT DISTINCT "$path" FROM t')[0]
        right = server.rows("SELECT sum(y) FROM t", headers=in_mode(mode))
        assert server.rows("SELECT sum(y) FROM t", headers=in_mode(mode)) == right
        (tmp_path / path.removeprefix(f"file:{tmp_path}").removeprefix(f"file://{tmp_path}").lstrip("/")).unlink()
        assert server.rows("SELECT sum(y) FROM t", headers=in_mode(mode)) == right
        text = failure(server, "SELECT max(x) FROM t", headers=in_mode(mode))
        assert "ICEBERG_MISSING_DATA" in text and path.rpartition("/")[2] in text, text
