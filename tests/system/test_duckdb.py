"""DuckDB over our REST server, as a process with its own extension for Iceberg: what either writes, the other reads and changes."""

import json
import subprocess

import pytest

from nunatak_testing.server import MODES, ROOT, Server, in_mode, section

PYTHON = ROOT / ".cache/duckdb/bin/python"


@pytest.fixture(scope="module")
def server(tmp_path_factory, minio):
    """`keys` gives its clients the keys of the bucket, to which DuckDB has none of its own; `lake` lies in local files."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    storage = {"warehouse": "s3://lake/keys", "rest-server.vend-credentials": "true", **minio.settings}
    config.write_text(section("keys", {"type": "sql", "uri": f"sqlite://{folder}/keys.sqlite", **storage}))
    with Server(folder / "data", "--config", config) as server:
        yield server


def duckdb(server, *statements, warehouse, delegation="vended_credentials"):
    """The rows of each statement; the catalog is `ours`."""
    options = f"TYPE iceberg, ENDPOINT 'http://{server.http}/iceberg', AUTHORIZATION_TYPE 'none', ACCESS_DELEGATION_MODE '{delegation}'"
    attach = f"ATTACH '{warehouse}' AS ours ({options})"
    ran = subprocess.run([PYTHON, ROOT / "tests/duckdb/run.py"], input=json.dumps([attach, *statements]), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return [[tuple(row) for row in rows] for rows in json.loads(ran.stdout)][1:]


@pytest.mark.parametrize(("catalog", "delegation"), [("keys", "vended_credentials"), ("lake", "none")])
def test_tables_are_shared(server, catalog, delegation):
    run = lambda *statements: duckdb(server, *statements, warehouse=catalog, delegation=delegation)
    server.rows(f"CREATE SCHEMA {catalog}.shared")
    server.rows(f"CREATE TABLE {catalog}.shared.t AS SELECT n, 'row ' || n AS text FROM (SELECT unnest(range(0, 1000)) AS n)")
    server.rows(f"DELETE FROM {catalog}.shared.t WHERE n % 10 = 3")
    check = "SELECT count(*), sum(n), max(text) FROM {}.shared.t"
    expected = server.rows(check.format(catalog))
    rows, *_, changed = run(
        check.format("ours"),
        "INSERT INTO ours.shared.t VALUES (1000, 'duck'), (1001, NULL)",
        "CREATE TABLE ours.shared.u (x INTEGER, y VARCHAR)",
        "INSERT INTO ours.shared.u VALUES (1, 'a'), (2, NULL), (3, 'c')",
        "DELETE FROM ours.shared.u WHERE x = 1",
        "UPDATE ours.shared.u SET y = 'changed' WHERE x = 2",
        "SELECT x, y FROM ours.shared.u ORDER BY x",
    )
    assert rows == expected and changed == [(2, "changed"), (3, "c")]
    # Its manifests name the fields of their entries as the columns of the table.
    for mode in MODES:
        assert server.rows(f"SELECT x, y FROM {catalog}.shared.u ORDER BY x", headers=in_mode(mode)) == changed
        assert server.rows(f"SELECT n, text FROM {catalog}.shared.t WHERE n >= 999 ORDER BY n", headers=in_mode(mode)) == [(999, "row 999"), (1000, "duck"), (1001, None)]
    assert server.rows(f"SELECT n FROM {catalog}.shared.t WHERE text = 'duck'") == [(1000,)]

    # We go on from there: entries of its manifests are written again, and it reads them.
    server.rows(f"ALTER TABLE {catalog}.shared.u ADD COLUMN z bigint")
    server.rows(f"UPDATE {catalog}.shared.u SET y = 'ours', z = 7 WHERE x = 3")
    server.rows(f"ALTER TABLE {catalog}.shared.u EXECUTE optimize_manifests")
    server.rows(f"ALTER TABLE {catalog}.shared.t EXECUTE optimize")
    server.rows(f"ALTER TABLE {catalog}.shared.t EXECUTE expire_snapshots(retention_threshold => '0s')")
    ours, total = run("SELECT x, y, z FROM ours.shared.u ORDER BY x", check.format("ours"))
    assert ours == [(2, "changed", None), (3, "ours", 7)]
    assert total == server.rows(check.format(catalog)) and total[0][0] == expected[0][0] + 2


def test_schemas_and_whole_tables(server):
    server.rows("CREATE SCHEMA IF NOT EXISTS keys.whole")
    *_, count = duckdb(
        server,
        "CREATE SCHEMA ours.made",
        "CREATE TABLE ours.whole.t AS SELECT range AS n, 'text ' || range AS text FROM range(5000)",
        "CREATE TABLE ours.whole.gone AS SELECT 1 AS a",
        "DROP TABLE ours.whole.gone",
        "SELECT count(*) FROM ours.whole.t",
        warehouse="keys",
    )
    assert count == [(5000,)] and server.rows("SHOW TABLES FROM keys.whole") == [("t",)]
    assert server.rows("SELECT count(*), sum(n), max(text) FROM keys.whole.t") == [(5000, 12_497_500, "text 999")]
    assert ("made",) in server.rows("SHOW SCHEMAS FROM keys")
