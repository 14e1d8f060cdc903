"""Tables in Azure, as far as its emulator shows it; and what is counted of every store."""

import concurrent.futures

import pytest

from nunatak_testing.server import MODES, Server, in_mode, section
from servers.azurite import Azurite


CATALOGS = ["azure_hadoop", "azure_sql"]


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    with Azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        azurite.make_container("lake")
        yield azurite


@pytest.fixture(scope="module")
def server(tmp_path_factory, azurite):
    folder = tmp_path_factory.mktemp("clouds")
    hadoop = lambda warehouse, settings: {"type": "hadoop", "warehouse": warehouse, **settings}
    config = folder / "nunatak.toml"
    config.write_text(
        section("azure_hadoop", hadoop(azurite.location("lake", "hadoop"), azurite.settings | {"storage.requests-max": "4"}))
        + section("azure_sql", {"type": "sql", "uri": f"sqlite://{folder}/sql.sqlite", "warehouse": azurite.location("lake", "sql"), **azurite.settings})
        + section("azure_denied", hadoop(azurite.location("lake", "hadoop"), azurite.settings | {"adls.auth.shared-key.account.key": "d3Jvbmc="}))
        + section("azure_missing", hadoop(azurite.location("nowhere", "hadoop"), azurite.settings))
        + section("gcs_dead", hadoop("gs://lake/x", {"gcs.service.host": "http://127.0.0.1:9", "gcs.oauth2.token": "t", "gcs.retry.timeout-ms": "500"}))
    )
    with Server(folder / "data", "--config", config) as server:
        yield server


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("catalog", CATALOGS)
def test_life_of_a_table(server, catalog, mode):
    run = lambda sql: server.rows(sql.replace("@", f"{catalog}.{mode}.t"), headers=in_mode(mode))
    run(f"CREATE SCHEMA {catalog}.{mode}")
    run("CREATE TABLE @ WITH (partitioning = ARRAY['b'], format_version = 3) AS SELECT n AS a, n % 3 AS b FROM (SELECT unnest(range(0, 30000)) AS n)")
    run("DELETE FROM @ WHERE a % 10 = 0")
    run("UPDATE @ SET a = -a WHERE b = 1")
    run("ALTER TABLE @ EXECUTE optimize")
    run("ALTER TABLE @ EXECUTE expire_snapshots(retention_threshold => '0s')")
    kept = [n for n in range(30000) if n % 10]
    assert run("SELECT count(*), sum(a) FROM @") == [(len(kept), sum(-n if n % 3 == 1 else n for n in kept))]
    assert run("SELECT count(*) FROM @ WHERE b = 2") == [(sum(n % 3 == 2 for n in kept),)]
    run("DROP TABLE @")
    assert run(f"SHOW TABLES FROM {catalog}.{mode}") == []
    run(f"DROP SCHEMA {catalog}.{mode}")


def test_of_two_that_make_the_same_version_one_succeeds(server):
    """A hadoop catalog is safe where a file can be made only if it is not there."""
    name = "azure_hadoop.race.t"
    server.rows("CREATE SCHEMA azure_hadoop.race")
    properties = "extra_properties = MAP(ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms'], ARRAY['50', '5'])"
    server.rows(f"CREATE TABLE {name} (n bigint) WITH ({properties})")
    with concurrent.futures.ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda n: server.rows(f"INSERT INTO {name} VALUES ({n})"), range(24)))
    assert sorted(server.rows(f"SELECT n FROM {name}")) == [(n,) for n in range(24)]


@pytest.mark.parametrize(
    ("catalog", "code", "message"),
    [
        ("azure_denied", "STORAGE_ACCESS_DENIED", "storage refused access to 'abfss://lake@nunatak.dfs.core.windows.net/hadoop/s"),
        ("azure_missing", "STORAGE_UNAVAILABLE", "the container of 'abfss://nowhere@nunatak.dfs.core.windows.net/hadoop/s"),
        ("gcs_dead", "STORAGE_UNAVAILABLE", "storage of 'gs://lake/x/s"),
    ],
)
def test_a_store_that_cannot_be_reached(server, failure, catalog, code, message):
    for sql in (f"CREATE SCHEMA {catalog}.s", f"SELECT * FROM {catalog}.s.t"):
        text = failure(server, sql)
        assert code in text and message in text


def test_what_was_asked_of_stores(server):
    # Each catalog has its own way to a store.
    used = "SELECT store, sum(requests), sum(errors), sum(bytes_read), sum(bytes_written), avg(mean_ms) FROM system.storage GROUP BY store"
    rows = {row[0]: row[1:] for row in server.rows(used)}
    requests, _, read, written, mean = rows["abfs://lake@nunatak.dfs.core.windows.net"]
    assert requests > 100 and read > 10_000 and written > 10_000 and 0 < mean < 5_000
    assert rows["gs://lake"][1] > 0
