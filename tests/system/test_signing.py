"""Requests to a bucket that the catalog's server signs: its clients, another server of ours and Iceberg's own Java, have no key of the bucket."""

import subprocess
from pathlib import Path

import pytest
import requests

from nunatak_testing.server import MODES, ROOT, Cluster, Server, in_mode, section

SOURCE = Path(__file__).parent / "java/SigningCheck.java"
TOKEN = "t0k3n-of-the-signer"
SIGNING = {"X-Iceberg-Access-Delegation": "remote-signing", "Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def owner(tmp_path_factory, minio):
    """Who has the keys; one of its two catalogs may only be read by clients."""
    folder = tmp_path_factory.mktemp("owner")
    config = folder / "nunatak.toml"
    kept = lambda name: {"type": "sql", "warehouse": f"s3://lake/{name}", "rest-server.sign-requests": True, **minio.settings}
    locked = {"uri": f"sqlite://{folder}/kept.sqlite", "rest-server.read-only": True}
    config.write_text(f"[rest_server]\ntokens = '{TOKEN}'\n" + section("kept", kept("kept")) + section("locked", kept("locked") | locked))
    with Server(folder / "data", "--config", config) as owner:
        for catalog in ("kept", "locked"):
            owner.rows(f"CREATE SCHEMA {catalog}.s")
            owner.rows(f"CREATE TABLE {catalog}.s.first AS SELECT 1 AS x")
        yield owner


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, owner):
    """Clients: a coordinator and an executor, which know the server and a token, and no key."""
    folder = tmp_path_factory.mktemp("clients")
    config = folder / "nunatak.toml"
    known = lambda name: {"type": "rest", "uri": f"http://{owner.http}/iceberg", "warehouse": name, "token": TOKEN}
    config.write_text("".join(section(name, known(name)) for name in ("kept", "locked")))
    with Cluster(folder / "cluster", "--config", config, executors=1) as cluster:
        yield cluster


def sign(owner, method, uri, catalog="kept", table="first", query="", **more):
    request = {"region": "us-east-1", "method": method, "uri": uri, "headers": {}, **more}
    return owner.rest("POST", f"v1/{catalog}/namespaces/s/tables/{table}/sign{query}", json=request, headers=SIGNING)


def address(minio, location):
    return location.replace("s3://", f"{minio.endpoint}/")


@pytest.mark.parametrize("mode", MODES)
def test_a_table_whose_files_only_the_server_can_reach(cluster, owner, minio, mode):
    name = f"kept.s.t_{mode}"
    run = lambda sql: cluster.rows(sql.replace("@", name), headers=in_mode(mode))
    numbers = ", ".join(map(str, range(1, 301)))
    # Made with its rows at once: requests are signed for a table that nobody sees yet.
    run(f"CREATE TABLE @ WITH (partitioning = ARRAY['part']) AS SELECT n AS id, concat('p ', cast(n % 3 AS varchar)) AS part FROM (VALUES {numbers}) AS v(n)")
    run("INSERT INTO @ VALUES (301, 'ü=/ +')")
    run("DELETE FROM @ WHERE id <= 10")
    expected = [(291, sum(range(11, 302)))]
    assert run("SELECT count(*), sum(id) FROM @") == expected == owner.rows(f"SELECT count(*), sum(id) FROM {name}")
    run("ALTER TABLE @ EXECUTE optimize")
    run("ALTER TABLE @ EXECUTE expire_snapshots(retention_threshold => '0s')")
    assert run("SELECT count(*), sum(id) FROM @") == expected
    files = {path for (path,) in run(f'SELECT file_path FROM kept.s."t_{mode}$files"')}
    assert len(files) >= 4 and all(path.startswith("s3://lake/kept/") for path in files)
    # It was signed, and nothing else: without a signature there is nothing to be had.
    assert requests.get(address(minio, sorted(files)[0]), timeout=10).status_code == 403
    run("DROP TABLE @")
    # Another one of its name lies elsewhere.
    run("CREATE TABLE @ AS SELECT 1 AS id")
    run("INSERT INTO @ VALUES (2)")
    assert run("SELECT sum(id) FROM @") == [(3,)]
    run("DROP TABLE @")
    assert all(minio.password not in process.text() and TOKEN not in process.text() for process in cluster.everybody())


def test_only_what_is_below_the_table_is_signed(owner, minio):
    tables = {}
    for name in ("first", "second"):
        owner.rows(f"CREATE TABLE IF NOT EXISTS kept.s.{name} AS SELECT 1 AS x")
        loaded = owner.rest("GET", f"v1/kept/namespaces/s/tables/{name}", headers=SIGNING)
        assert minio.password not in loaded.text
        tables[name] = loaded.json()
    config = tables["first"]["config"]
    assert config["s3.signer.endpoint"] == "v1/kept/namespaces/s/tables/first/sign"
    assert (config["s3.endpoint"], config["s3.signer"], config["s3.remote-signing-enabled"]) == (minio.endpoint, "S3V4RestSigner", "true")
    first, second = (tables[name]["metadata-location"] for name in ("first", "second"))
    signed = sign(owner, "GET", address(minio, first)).json()
    headers = {name: ", ".join(values) for name, values in signed["headers"].items()}
    assert requests.get(signed["uri"], headers=headers, timeout=10).json()["table-uuid"] == tables["first"]["metadata"]["table-uuid"]
    # What was signed for one file is good for no other one, and for nothing else.
    assert requests.get(address(minio, second), headers=headers, timeout=10).status_code == 403
    assert requests.delete(signed["uri"], headers=headers, timeout=10).status_code == 403
    location = address(minio, tables["first"]["metadata"]["location"])
    for method, uri, status in [
        ("GET", address(minio, second), 403),
        ("PUT", location + "/../x", 403),
        ("PUT", location + "%2F..%2Fx", 403),
        ("GET", f"{minio.endpoint}/lake?list-type=2&prefix=kept", 403),
        ("PUT", location + "/data/x?acl", 403),
        ("GET", "nonsense", 400),
        ("PUT", location + "/data/x", 200),
    ]:
        answer = sign(owner, method, uri)
        assert answer.status_code == status, (method, uri, answer.text)
    deletes = lambda *keys: "<Delete>" + "".join(f"<Object><Key>{key}</Key></Object>" for key in keys) + "</Delete>"
    keys = [location.partition("/lake/")[2] + "/data/x", second.partition("/lake/")[2]]
    assert sign(owner, "POST", f"{minio.endpoint}/lake?delete", body=deletes(*keys)).status_code == 403
    assert sign(owner, "POST", f"{minio.endpoint}/lake?delete", body=deletes(keys[0])).status_code == 200
    unknown = owner.rest("POST", "v1/kept/namespaces/s/tables/first/sign", json={"method": "GET", "uri": address(minio, first)})
    assert unknown.status_code == 401


def test_a_table_that_is_to_be_made_lies_where_nothing_else_does(owner, minio):
    first = owner.rest("GET", "v1/kept/namespaces/s/tables/first", headers=SIGNING).json()["metadata"]["location"]
    for place, status in [(first, 403), (first + "/data", 403), ("s3://lake/kept", 403), ("s3://lake/elsewhere/t", 403), ("s3://lake/kept/s/new", 200)]:
        answer = sign(owner, "PUT", address(minio, place) + "/data/x", table="new", query=f"?location={place}")
        assert answer.status_code == status, (place, answer.text)
    assert sign(owner, "PUT", address(minio, "s3://lake/kept/s/new/data/x"), table="new").status_code == 404


def test_what_may_only_be_read_is_signed_for_readers(cluster, owner, minio, failure):
    assert cluster.value("SELECT x FROM locked.s.first") == 1
    location = owner.rest("GET", "v1/locked/namespaces/s/tables/first", headers=SIGNING).json()["metadata"]["location"]
    for method in ("PUT", "DELETE"):
        assert sign(owner, method, address(minio, location) + "/data/x", catalog="locked").status_code == 403
    # The file is refused before the commit would be.
    assert "STORAGE_ACCESS_DENIED" in failure(cluster, "INSERT INTO locked.s.first VALUES 2")


def test_java(owner):
    other = owner.rest("GET", "v1/locked/namespaces/s/tables/first", headers=SIGNING).json()["metadata-location"]
    lib = ROOT / ".cache/rest-server/lib"
    command = ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{lib}/*", SOURCE, f"http://{owner.http}/iceberg", "kept", other, TOKEN]
    run = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert run.stdout.splitlines()[-1:] == ["ok"], run.stdout
