"""Fixtures: a real server for each module, and its log beside a failed test."""

import pyarrow
import pyarrow.parquet
import pytest

from nunatak_testing import tpch
from nunatak_testing.server import BINARY, Cluster, Server
from nunatak_testing.spark import Spark
from servers.hdfs import Hdfs
from servers.minio import Minio
from servers.trino import Trino


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not there: run `make build`", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    server = item.funcargs.get("server") if hasattr(item, "funcargs") else None
    if report.failed and isinstance(server, Server):
        report.sections.append(("server log", "\n".join(server.log[-15:])))
    return report


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for the module, over an empty data directory."""
    server = Server(tmp_path_factory.mktemp("data") / "nunatak").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def spark(server):
    """Spark over the catalog and the warehouse of the module's server, with a schema `spark`."""
    server.rows("CREATE SCHEMA spark")
    with Spark(server.data_dir) as spark:
        yield spark


@pytest.fixture(scope="module")
def minio(tmp_path_factory):
    """MinIO for the module, with a bucket `lake`."""
    with Minio(tmp_path_factory.mktemp("minio"), "lake") as minio:
        yield minio


@pytest.fixture(scope="session")
def orphans_of_any_age(tmp_path_factory):
    """Arguments of a server that removes orphans of any age."""
    config = tmp_path_factory.mktemp("config") / "nunatak.toml"
    config.write_text('[maintenance]\norphan_age_min = "0s"\n')
    return "--config", config


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory):
    """One coordinator and two executors of one slot for the module, with TPC-H at its SCALE."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), executors=2, slots=1).start()
    tpch.load(cluster, scale=request.module.SCALE)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory):
    """A file system of HDFS with two NameNodes, the first of them active, and three DataNodes, for all modules. Who breaks it mends it."""
    with Hdfs(tmp_path_factory.mktemp("hdfs"), ha=True) as hdfs:
        yield hdfs


@pytest.fixture(scope="session")
def numbers_file(tmp_path_factory):
    """A Parquet file of a million rows: n = 0, 1, 2, ... with a text beside each."""
    path = tmp_path_factory.mktemp("files") / "numbers.parquet"
    count = 1_000_000
    columns = {"n": pyarrow.array(range(count), pyarrow.int64()), "text": pyarrow.array(f"row {n}" for n in range(count))}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.fixture(scope="module")
def numbers(server, numbers_file):
    """The same as a table of the module's server."""
    assert server.value(f"CREATE TABLE numbers AS SELECT * FROM read_parquet('{numbers_file}')") == 1_000_000
    return "numbers"


@pytest.fixture(scope="session")
def failure():
    """Runs a statement that must fail, and gives the error's text."""

    def text_of(server, sql, parameters=None, **options):
        with pytest.raises(Exception) as caught:
            server.rows(sql, parameters, **options)
        return str(caught.value)

    return text_of


@pytest.fixture(scope="session")
def trino_server(tmp_path_factory):
    """A server of Trino for all modules; each adds its catalogs."""
    with Trino(tmp_path_factory.mktemp("trino")) as trino:
        yield trino
