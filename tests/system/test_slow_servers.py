"""Servers that are slow, say nothing, break off in the middle of an answer, or answer with nonsense: a proxy is before each of them, and short times are configured."""

import concurrent.futures
import dataclasses
import time

import pytest

from nunatak_testing.server import Server, section
from servers.minio import Minio
from servers.postgres import Postgres
from servers.proxy import Proxy
from servers.rest import Rest


NONSENSE = b"\x16\x03\xff\x00garbage \x00\xff\xfe\r\n\r\n" * 20
LATENCY_SECONDS = 0.3
# What is configured is two seconds, and is waited for more than once.
TIMEOUT_MS = "2000"
SILENT_SECONDS_MAX = 15


@dataclasses.dataclass
class Behind:
    """A catalog, and the proxy before its server; `direct` is the same catalog without it. `code` is what a server that cannot be used gives; `names` is what its error has
    to say."""

    proxy: Proxy
    direct: dict
    values: dict
    code: str
    names: list


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory, hdfs):
    folder = tmp_path_factory.mktemp("slow")
    (folder / "minio").mkdir()
    (folder / "rest").mkdir()
    (folder / "postgres").mkdir()
    with (
        Minio(folder / "minio", "lake") as minio,
        Rest(folder / "rest", f"file://{folder}/rest/warehouse") as rest,
        Postgres(folder / "postgres") as postgres,
        Proxy(minio.address) as to_minio,
        Proxy(hdfs.rpc[0]) as to_hdfs,
        Proxy(f"127.0.0.1:{rest.port}") as to_rest,
        Proxy(f"127.0.0.1:{postgres.port}") as to_postgres,
    ):
        postgres.create_database("lake")
        database = f"postgresql://{to_postgres.address}/lake?sslmode=disable&connect_timeout=2"
        account = {"jdbc.user": postgres.user, "jdbc.password": postgres.password}
        lake = {"type": "hadoop", "warehouse": "s3://lake/behind_a_proxy", **minio.settings}
        times = {"s3.connect-timeout-ms": TIMEOUT_MS, "s3.request-timeout-ms": TIMEOUT_MS, "s3.retry.timeout-ms": "3000"}
        blocks = {"type": "hadoop", "dfs.replication": "1"}
        yield {
            "slow_s3": Behind(
                to_minio,
                lake,
                lake | {"s3.endpoint": f"http://{to_minio.address}"} | times,
                "STORAGE_UNAVAILABLE",
                ["s3://lake/behind_a_proxy", f"http://{to_minio.address}/lake"],
            ),
            "slow_hdfs": Behind(
                to_hdfs,
                blocks | {"warehouse": f"hdfs://{hdfs.rpc[0]}/behind_a_proxy"},
                blocks | {"warehouse": f"hdfs://{to_hdfs.address}/behind_a_proxy", "hdfs.request-timeout-ms": TIMEOUT_MS, "hdfs.retry.timeout-ms": "3000"},
                "STORAGE_UNAVAILABLE",
                [f"HDFS at '{to_hdfs.address}'"],
            ),
            "slow_rest": Behind(
                to_rest,
                {"type": "rest", "uri": rest.uri},
                {"type": "rest", "uri": f"http://{to_rest.address}", "rest.client.socket-timeout-ms": TIMEOUT_MS, "rest.client.max-retries": "1"},
                "CATALOG_UNAVAILABLE",
                ["cannot load table", f"http://{to_rest.address}"],
            ),
            "slow_postgres": Behind(
                to_postgres,
                # Its tables are found by the name of their catalog.
                {},
                {"type": "sql", "uri": database, "warehouse": f"file://{folder}/postgres/warehouse", "jdbc.socketTimeout": "2", **account},
                "CATALOG_UNAVAILABLE",
                [f"PostgreSQL at {to_postgres.address}", "operation: "],
            ),
        }


NAMES = ["slow_s3", "slow_hdfs", "slow_rest", "slow_postgres"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, catalogs):
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    direct = {f"direct_{name}": behind.direct for name, behind in catalogs.items() if behind.direct}
    config.write_text("".join(section(name, values) for name, values in direct.items()))
    with open(config, "a") as file:
        file.writelines(section(name, behind.values) for name, behind in catalogs.items())
    with Server(folder / "data", "--config", config) as server:
        # A server that has just started takes its time.
        for name in NAMES:
            maker = f"direct_{name}" if catalogs[name].direct else name
            server.rows(f"CREATE SCHEMA {maker}.s")
            server.rows(f"CREATE TABLE {maker}.s.t AS SELECT 1 AS a")
        yield server


def works(server, name):
    return server.value(f"SELECT min(a) FROM {name}.s.t") == 1


def test_slow_servers_are_waited_for(server, catalogs):
    """Each answer comes 300 ms later."""

    def use(name):
        started = time.monotonic()
        # A NameNode is asked forty times for the files of a commit.
        if name != "slow_hdfs":
            server.rows(f"INSERT INTO {name}.s.t VALUES (2)")
        rows = server.rows(f"SELECT a FROM {name}.s.t WHERE a < 3 ORDER BY a")
        return rows, time.monotonic() - started

    for behind in catalogs.values():
        behind.proxy.delay_seconds = LATENCY_SECONDS
    with concurrent.futures.ThreadPoolExecutor(len(NAMES)) as pool:
        used = dict(zip(NAMES, pool.map(use, NAMES)))
    for behind in catalogs.values():
        behind.proxy.delay_seconds = 0
    print({name: round(seconds, 1) for name, (_, seconds) in used.items()})
    for name, (rows, seconds) in used.items():
        assert rows[0] == (1,) and len(rows) == 1 + (name != "slow_hdfs") and seconds > LATENCY_SECONDS, name


@pytest.mark.parametrize("silent", [["slow_s3", "slow_rest"], ["slow_hdfs", "slow_postgres"]], ids="-".join)
def test_servers_that_say_nothing(server, catalogs, failure, silent):
    """Their errors come in time and say which ones they are; the others go on, and they do when they answer again."""

    def fail(name):
        started = time.monotonic()
        return failure(server, f"SELECT * FROM {name}.s.t"), time.monotonic() - started

    for name in silent:
        catalogs[name].proxy.hold()
    try:
        with concurrent.futures.ThreadPoolExecutor(len(silent)) as pool:
            waiting = [pool.submit(fail, name) for name in silent]
            assert all(works(server, name) for name in NAMES if name not in silent)
            assert not any(one.done() for one in waiting)
            failures = [one.result() for one in waiting]
    finally:
        for name in silent:
            catalogs[name].proxy.let_go()
    print(dict(zip(silent, (round(seconds, 1) for _, seconds in failures))))
    for name, (text, seconds) in zip(silent, failures):
        assert seconds < SILENT_SECONDS_MAX, name
        assert catalogs[name].code in text and all(part in text for part in catalogs[name].names), text
        assert works(server, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after_bytes", [0, 20])
def test_an_answer_that_breaks_off(server, catalogs, name, after_bytes):
    """What only reads is asked again."""
    proxy = catalogs[name].proxy
    proxy.cut_in_answer(after_bytes)
    assert works(server, name)
    assert proxy.cut_after_bytes is None, "it was not asked"


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_talks_nonsense(server, catalogs, failure, name):
    behind = catalogs[name]
    behind.proxy.talk_nonsense(NONSENSE)
    try:
        started = time.monotonic()
        text = failure(server, f"SELECT * FROM {name}.s.t")
        seconds = time.monotonic() - started
    finally:
        behind.proxy.talk_nonsense(None)
    assert seconds < SILENT_SECONDS_MAX
    assert behind.code in text and all(part in text for part in behind.names), text
    assert works(server, name)
