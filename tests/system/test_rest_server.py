"""Our catalogs by the Iceberg REST protocol: PyIceberg, Spark and another server of ours as clients, and what no client should send."""

import concurrent.futures
import datetime
import json
import random
import time

import pyarrow
import pyiceberg.expressions as where
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
    UnauthorizedError,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import BucketTransform, IdentityTransform, MonthTransform
from pyiceberg.types import IntegerType, LongType, NestedField, StringType, TimestampType

from nunatak_testing.server import Server, section
from nunatak_testing.spark import Spark

SECRET = "s3cr3t-of-the-bucket"
RETRIES = {"commit.retry.num-retries": "50", "commit.retry.min-wait-ms": "5", "commit.retry.max-wait-ms": "200"}
TOKEN = "t0k3n-of-the-clients"
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "at", TimestampType()),
    NestedField(3, "name", StringType()),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with four catalogs: the embedded one, folders, one that is only read, and one that gives out its keys."""
    folder = tmp_path_factory.mktemp("rest_server")
    config = folder / "nunatak.toml"
    config.write_text(
        f"""
        [catalog.folders]
        type = "hadoop"
        warehouse = "file://{folder}/folders"

        [catalog.locked]
        type = "sql"
        uri = "sqlite://{folder}/locked.sqlite"
        warehouse = "file://{folder}/locked"
        rest-server.read-only = true

        [catalog.keys]
        type = "sql"
        uri = "sqlite://{folder}/keys.sqlite"
        warehouse = "s3://bucket/keys"
        s3.endpoint = "http://127.0.0.1:9"
        s3.region = "north"
        s3.access-key-id = "id"
        s3.secret-access-key = "{SECRET}"
        rest-server.vend-credentials = true

        [catalog.secrets]
        type = "sql"
        uri = "sqlite://{folder}/secrets.sqlite"
        warehouse = "s3://bucket/secrets"
        s3.region = "north"
        s3.access-key-id = "id"
        s3.secret-access-key = "{SECRET}"
        """
    )
    server = Server(folder / "nunatak", "--config", config).start()
    yield server
    server.stop()


def client(server, warehouse="lake", **properties):
    return load_catalog("ours", type="rest", uri=f"http://{server.http}/iceberg", warehouse=warehouse, **properties)


def call(server, method, path, **options):
    return server.rest(method, path, **options)


def rows_of(*rows):
    names = pyarrow.schema([pyarrow.field("id", pyarrow.int64(), nullable=False), ("at", pyarrow.timestamp("us")), ("name", pyarrow.string())])
    return pyarrow.table([pyarrow.array(column, field.type) for column, field in zip(zip(*rows), names)], schema=names)


def numbers(*values):
    return pyarrow.table({"n": pyarrow.array(values, pyarrow.int64())})


def ids(table):
    return sorted(table.scan().to_arrow().column("id").to_pylist())


def append(catalog, name, rows):
    """Appends as a client does that tries again after each conflict."""
    for _ in range(200):
        try:
            return catalog.load_table(name).append(rows)
        except CommitFailedException:
            time.sleep(random.random() / 20)
    raise AssertionError("no attempt of 200 has come through")


def test_what_clients_are_told(server):
    def told(warehouse):
        answer = call(server, "GET", "v1/config", params=warehouse and {"warehouse": warehouse})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        return answer.json()

    assert told(None) == told("lake")
    assert told("folders")["overrides"] == {"prefix": "folders"}
    has = {name: {" ".join(endpoint.split("/v1/{prefix}/")) for endpoint in told(name)["endpoints"]} for name in ("lake", "folders", "locked", "keys")}
    everywhere = {"GET  namespaces", "HEAD  namespaces/{namespace}/tables/{table}", "POST  namespaces/{namespace}/tables/{table}/metrics"}
    assert all(everywhere <= endpoints for endpoints in has.values())
    assert "POST  namespaces/{namespace}/views" in has["lake"] and not any("views" in endpoint for endpoint in has["folders"])
    assert [endpoint for endpoint in has["locked"] if not endpoint.startswith(("GET", "HEAD"))] == ["POST  namespaces/{namespace}/tables/{table}/metrics"]
    assert {name for name, endpoints in has.items() if any("credentials" in endpoint for endpoint in endpoints)} == {"keys"}
    assert {name for name, endpoints in has.items() if "POST  transactions/commit" in endpoints} == {"lake", "keys"}
    answer = call(server, "GET", "v1/config", params={"warehouse": "nowhere"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchWarehouseException")


@pytest.mark.parametrize("warehouse", ["lake", "folders"])
def test_pyiceberg_namespaces(server, warehouse):
    catalog = client(server, warehouse, **{"rest-page-size": "1"})
    catalog.create_namespace("names", {"owner": "me", "comment": "ours"})
    catalog.create_namespace("names.inner ü")
    catalog.create_namespace("names.other")
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace("names")
    assert ("names",) in catalog.list_namespaces()
    assert catalog.list_namespaces("names") == [("names", "inner ü"), ("names", "other")]
    assert ("names.inner ü",) in server.rows(f"SHOW SCHEMAS FROM {warehouse}")
    told = catalog.load_namespace_properties("names")
    # Where its tables go is told whether it was asked for or not: Trino needs it.
    location = told.pop("location")
    assert location.endswith("/names") and told == {"owner": "me", "comment": "ours"}
    summary = catalog.update_namespace_properties("names", {"owner", "nothing"}, {"comment": "new", "more": "x"})
    assert (summary.removed, summary.missing, sorted(summary.updated)) == (["owner"], ["nothing"], ["comment", "more"])
    assert catalog.load_namespace_properties("names") == {"comment": "new", "more": "x", "location": location}
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace("names")
    for name in ("names.inner ü", "names.other", "names"):
        catalog.drop_namespace(name)
        assert not catalog.namespace_exists(name)
    for missing in (lambda: catalog.list_namespaces("names"), lambda: catalog.list_tables("names"), lambda: catalog.drop_namespace("names")):
        with pytest.raises(NoSuchNamespaceError):
            missing()


@pytest.mark.parametrize("warehouse", ["lake", "folders"])
def test_pyiceberg_tables(server, warehouse):
    """What either does with a table, the other sees at once."""
    catalog = client(server, warehouse)
    catalog.create_namespace("py")
    spec = PartitionSpec(PartitionField(2, 1000, MonthTransform(), "at_month"), PartitionField(1, 1001, BucketTransform(4), "id_bucket"))
    order = SortOrder(SortField(source_id=1, transform=IdentityTransform()))
    table = catalog.create_table("py.t", SCHEMA, partition_spec=spec, sort_order=order, properties={"format-version": "2", "k": "v"})
    assert table.properties["k"] == "v"
    with pytest.raises(TableAlreadyExistsError):
        catalog.create_table("py.t", SCHEMA)
    day = datetime.datetime(2024, 2, 29, 12)
    table.append(rows_of((1, day, "a"), (2, day, "b"), (3, None, None)))
    name = f"{warehouse}.py.t"
    assert server.rows(f"SELECT id, name FROM {name} ORDER BY id") == [(1, "a"), (2, "b"), (3, None)]
    server.rows(f"INSERT INTO {name} VALUES (4, NULL, 'ours')")
    server.rows(f"DELETE FROM {name} WHERE id = 1")
    assert ids(table.refresh()) == [2, 3, 4]
    table.overwrite(rows_of((5, day, "e")), overwrite_filter=where.EqualTo("id", 2))
    with table.update_schema() as change:
        change.add_column("more", IntegerType())
        change.rename_column("name", "title")
    with table.update_spec() as change:
        change.add_field("title", IdentityTransform(), "title")
    with table.transaction() as transaction:
        transaction.set_properties({"k": "w"})
    assert server.rows(f"SELECT id, title, more FROM {name} ORDER BY id") == [(3, None, None), (4, "ours", None), (5, "e", None)]
    server.rows(f"INSERT INTO {name} VALUES (6, NULL, 'six', 6)")
    table.refresh().delete(where.EqualTo("id", 3))
    assert ids(catalog.load_table("py.t")) == [4, 5, 6]
    assert ids(client(server, warehouse, **{"snapshot-loading-mode": "refs"}).load_table("py.t")) == [4, 5, 6]
    snapshots = {mode: call(server, "GET", f"v1/{warehouse}/namespaces/py/tables/t", params={"snapshots": mode}).json() for mode in ("all", "refs")}
    assert len(snapshots["refs"]["metadata"]["snapshots"]) == 1 < len(snapshots["all"]["metadata"]["snapshots"])
    assert catalog.list_tables("py") == [("py", "t")]
    if warehouse == "lake":
        catalog.create_namespace_if_not_exists("elsewhere")
        assert ids(catalog.rename_table("py.t", "elsewhere.t2")) == [4, 5, 6]
        catalog.rename_table("elsewhere.t2", "py.t")
        location = catalog.load_table("py.t").metadata_location
        catalog.drop_table("py.t")
        assert ids(catalog.register_table("py.t", location)) == [4, 5, 6]
    catalog.purge_table("py.t")
    assert not catalog.table_exists("py.t") and server.rows(f"SHOW TABLES FROM {warehouse}.py") == []
    with pytest.raises(NoSuchTableError):
        catalog.load_table("py.t")


@pytest.mark.parametrize("warehouse", ["lake", "folders"])
def test_a_staged_table_is_made_with_its_rows(server, warehouse):
    catalog = client(server, warehouse)
    catalog.create_namespace_if_not_exists("staged")
    spec = PartitionSpec(PartitionField(1, 1000, BucketTransform(2), "id_bucket"))
    with catalog.create_table_transaction("staged.t", SCHEMA, partition_spec=spec) as transaction:
        transaction.append(rows_of((1, None, "a"), (2, None, "b")))
        assert not catalog.table_exists("staged.t")
    assert server.rows(f"SELECT id, name FROM {warehouse}.staged.t ORDER BY id") == [(1, "a"), (2, "b")]
    server.rows(f"INSERT INTO {warehouse}.staged.t VALUES (3, NULL, 'c')")
    assert ids(catalog.load_table("staged.t")) == [1, 2, 3]
    transaction = catalog.create_table_transaction("staged.late", SCHEMA)
    catalog.create_table("staged.late", SCHEMA)
    with pytest.raises(CommitFailedException):
        transaction.commit_transaction()


def test_tags_tell_what_is_known_already(server):
    server.rows("CREATE SCHEMA tags")
    server.rows("CREATE TABLE tags.t AS SELECT 1 AS a")
    path = "v1/lake/namespaces/tags/tables/t"
    first = call(server, "GET", path)
    again = call(server, "GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    server.rows("INSERT INTO tags.t VALUES (2)")
    changed = call(server, "GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200 and changed.headers["etag"] != first.headers["etag"]
    assert call(server, "HEAD", path).status_code == 204 and call(server, "HEAD", path + "x").status_code == 404
    assert call(server, "GET", path, headers={"Origin": "https://example.org"}).status_code == 403


def test_writers_at_the_same_time(server):
    """Eight of PyIceberg and some of ours: none of their rows is lost."""
    catalog = client(server)
    catalog.create_namespace("race")
    catalog.create_table("race.t", Schema(NestedField(1, "n", LongType())), properties=RETRIES)

    def write(writer):
        own = client(server)
        for turn in range(3):
            if writer < 8:
                append(own, "race.t", numbers(writer * 10 + turn))
            else:
                server.rows(f"INSERT INTO race.t VALUES ({writer * 10 + turn})")

    with concurrent.futures.ThreadPoolExecutor(10) as writers:
        list(writers.map(write, range(10)))
    assert sorted(n for (n,) in server.rows("SELECT n FROM race.t")) == sorted(writer * 10 + turn for writer in range(10) for turn in range(3))


NEW_TABLE = {"name": "x", "schema": {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "a", "required": False, "type": "long"}]}}
TABLE = "v1/lake/namespaces/bad/tables/t"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", TABLE, b"{", 400, "BadRequestException"),
        ("POST", TABLE, b"\xff\xfe", 400, "BadRequestException"),
        ("POST", TABLE, [], 400, "BadRequestException"),
        ("POST", TABLE, {"requirements": [], "updates": [{"action": "fly"}]}, 400, "BadRequestException"),
        ("POST", TABLE, {"requirements": [{"type": "assert-nothing"}], "updates": []}, 400, "BadRequestException"),
        ("POST", TABLE, {"requirements": [], "updates": [{"action": "set-current-schema", "schema-id": 9}]}, 400, "BadRequestException"),
        ("POST", TABLE, {"requirements": [{"type": "assert-current-schema-id", "current-schema-id": 9}], "updates": []}, 409, "CommitFailedException"),
        ("POST", TABLE, {"requirements": [{"type": "assert-create"}], "updates": []}, 400, "BadRequestException"),
        ("POST", TABLE + "x", {"requirements": [], "updates": []}, 404, "NoSuchTableException"),
        ("GET", TABLE + "x", None, 404, "NoSuchTableException"),
        ("GET", TABLE + "?snapshots=some", None, 400, "BadRequestException"),
        ("DELETE", TABLE + "?purgeRequested=maybe", None, 400, "BadRequestException"),
        ("PUT", TABLE, None, 405, "MethodNotAllowedException"),
        ("DELETE", TABLE + "x", None, 404, "NoSuchTableException"),
        ("GET", "v1/lake/namespaces/bad/views/t", None, 404, "NoSuchViewException"),
        ("DELETE", "v1/lake/namespaces/bad/views/t", None, 404, "NoSuchViewException"),
        ("POST", "v1/folders/namespaces/bad/views", {"name": "v"}, 406, "UnsupportedOperationException"),
        ("GET", "v1/lake/namespaces/nowhere/tables", None, 404, "NoSuchNamespaceException"),
        ("GET", "v1/lake/namespaces/a.b", None, 400, "BadRequestException"),
        ("GET", "v1/lake/namespaces/%ff", None, 400, "BadRequestException"),
        ("GET", "v1/lake/namespaces?pageSize=0", None, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces", {"namespace": []}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces", {"namespace": ["a", ""]}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces/bad/properties", {"removals": ["a"], "updates": {"a": "b"}}, 422, "UnprocessableEntityException"),
        ("POST", "v1/lake/namespaces/bad/tables", NEW_TABLE | {"name": ""}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces/bad/tables", NEW_TABLE | {"name": "x" * 300}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces/bad/tables", NEW_TABLE | {"properties": {"format-version": "9"}}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces/bad/tables", {"name": "x"}, 400, "BadRequestException"),
        ("POST", "v1/lake/namespaces/bad/tables", NEW_TABLE | {"name": "t"}, 409, "AlreadyExistsException"),
        ("POST", "v1/lake/namespaces/nowhere/tables", NEW_TABLE, 404, "NoSuchNamespaceException"),
        ("POST", "v1/lake/namespaces/bad/register", {"name": "x", "metadata-location": "/no/such/v1.metadata.json"}, 400, "BadRequestException"),
        ("POST", "v1/folders/transactions/commit", {"table-changes": []}, 406, "UnsupportedOperationException"),
        ("POST", "v1/lake/transactions/commit", {"table-changes": []}, 400, "BadRequestException"),
        ("POST", "v1/lake/transactions/commit", {"table-changes": [{"requirements": [], "updates": []}]}, 400, "BadRequestException"),
        ("POST", TABLE + "/sign", {"method": "GET", "uri": "http://127.0.0.1:9/b/k"}, 406, "UnsupportedOperationException"),
        ("POST", "v1/lake/namespaces/bad/register-view", {"name": "v", "metadata-location": "/no/such/v1.metadata.json"}, 400, "BadRequestException"),
        ("POST", TABLE + "/metrics", {}, 400, "BadRequestException"),
        ("GET", "v1/nowhere/namespaces", None, 404, "NoSuchWarehouseException"),
        ("GET", "v2/lake/namespaces", None, 400, "BadRequestException"),
        ("GET", "", None, 400, "BadRequestException"),
    ],
)
def test_bad_requests(server, method, path, body, status, kind):
    server.rows("CREATE SCHEMA IF NOT EXISTS bad")
    server.rows("CREATE TABLE IF NOT EXISTS bad.t (a bigint)")
    answer = call(server, method, path, data=body if isinstance(body, bytes) else body is not None and json.dumps(body).encode() or None)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, status), error
    assert error["message"] and (status != 405 or answer.headers["allow"] == "GET, HEAD, POST, DELETE")


def test_bodies_that_are_too_large(server):
    def parts():
        for _ in range(66):
            yield b" " * (1 << 20)

    def check(answer):
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "PayloadTooLargeException")

    check(call(server, "POST", TABLE, headers={"Content-Length": str(1 << 40)}))
    try:
        # Without a length that says so. It is not read to its end, and a client that is still sending may find the connection closed.
        check(call(server, "POST", TABLE, data=parts()))
    except requests.exceptions.ConnectionError:
        pass
    assert call(server, "GET", "v1/config").status_code == 200


def test_a_catalog_that_is_only_read(server):
    server.rows("CREATE SCHEMA locked.s")
    server.rows("CREATE TABLE locked.s.t AS SELECT 1 AS id")
    catalog = client(server, "locked")
    assert ids(catalog.load_table("s.t")) == [1]
    for method, path, body in [
        ("POST", "namespaces", {"namespace": ["x"]}),
        ("DELETE", "namespaces/s", None),
        ("POST", "namespaces/s/tables", NEW_TABLE),
        ("POST", "namespaces/s/tables/t", {"requirements": [], "updates": []}),
        ("DELETE", "namespaces/s/tables/t?purgeRequested=true", None),
        ("POST", "tables/rename", {"source": {"namespace": ["s"], "name": "t"}, "destination": {"namespace": ["s"], "name": "u"}}),
    ]:
        answer = call(server, method, f"v1/locked/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ForbiddenException"), path
    with pytest.raises((ForbiddenError, NotImplementedError)):
        catalog.load_table("s.t").append(pyarrow.table({"id": pyarrow.array([2], pyarrow.int32())}))
    assert server.rows("SELECT id FROM locked.s.t") == [(1,)]


def test_a_catalog_that_a_statement_makes(server):
    """It is served at once, as its own properties say: one that may only be read never is written by a client."""
    create = "CREATE CATALOG {0} USING sql WITH (uri = 'sqlite://{1}/{0}.sqlite', warehouse = 'file://{1}/{0}'{2})"
    server.rows(create.format("made", server.data_dir, ""))
    server.rows(create.format("fixed", server.data_dir, ', "rest-server.read-only" = true'))
    for name, status in (("made", 200), ("fixed", 403)):
        server.rows(f"CREATE SCHEMA {name}.s")
        server.rows(f"CREATE TABLE {name}.s.t AS SELECT BIGINT '1' AS n")
        told = call(server, "GET", "v1/config", params={"warehouse": name}).json()["endpoints"]
        assert any("DELETE" in endpoint for endpoint in told) == (status == 200)
        change = {"requirements": [], "updates": [{"action": "set-properties", "updates": {"k": "v"}}]}
        assert call(server, "POST", f"v1/{name}/namespaces/s/tables/t", json=change).status_code == status
        assert client(server, name).load_table("s.t").scan().to_arrow().column("n").to_pylist() == [1]
    client(server, "made").load_table("s.t").append(numbers(2))
    assert server.value("SELECT sum(n) FROM made.s.t") == 3
    # Another one of that name is not what the first one was.
    server.rows("DROP CATALOG made")
    assert call(server, "GET", "v1/made/namespaces").status_code == 404
    server.rows(create.format("made", server.data_dir, ', "rest-server.read-only" = true'))
    assert call(server, "POST", "v1/made/namespaces/s/tables/t", json=change).status_code == 403
    for name in ("made", "fixed"):
        server.rows(f"DROP CATALOG {name}")


def change_of(namespace, table, value, requirements=()):
    """A change among those of several tables."""
    updates = [{"action": "set-properties", "updates": {"k": value}}]
    return {"identifier": {"namespace": [namespace], "name": table}, "requirements": list(requirements), "updates": updates}


def test_several_tables_change_together(server):
    server.rows("CREATE SCHEMA several")
    for table in ("a", "b", "c"):
        server.rows(f"CREATE TABLE several.{table} AS SELECT 1 AS x")
    catalog = client(server)
    values = lambda: [catalog.load_table(f"several.{table}").properties.get("k") for table in ("a", "b", "c")]
    commit = lambda *changes: call(server, "POST", "v1/lake/transactions/commit", json={"table-changes": list(changes)})
    answer = commit(change_of("several", "b", "1"), change_of("several", "a", "1"))
    assert (answer.status_code, answer.content, values()) == (204, b"", ["1", "1", None])
    files = lambda: len(list(server.data_dir.glob("warehouse/several/*/metadata/*.metadata.json")))
    before = files()
    stale = [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}]
    for changes, status, kind in [
        ([change_of("several", "a", "2"), change_of("several", "b", "2", stale)], 409, "CommitFailedException"),
        ([change_of("several", "a", "2"), change_of("several", "nowhere", "2")], 404, "NoSuchTableException"),
        ([change_of("several", "a", "2"), change_of("several", "a", "3")], 400, "BadRequestException"),
        ([change_of("several", "a", "2"), change_of("several", "d", "2", [{"type": "assert-create"}])], 406, "UnsupportedOperationException"),
    ]:
        answer = commit(*changes)
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), changes
    assert call(server, "POST", "v1/locked/transactions/commit", json={"table-changes": [change_of("several", "a", "2")]}).status_code == 403
    assert (values(), files()) == (["1", "1", None], before)

    # Whoever comes last has changed all three, in whatever order; and rows that others write meanwhile stay.
    def write(writer):
        for turn in range(4):
            changes = [change_of("several", table, f"{writer} {turn}") for table in ("a", "b", "c")]
            random.shuffle(changes)
            assert commit(*changes).status_code in (204, 409)
            if writer == 0:
                server.rows(f"INSERT INTO several.b VALUES {turn + 2}")

    with concurrent.futures.ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    assert len(set(values())) == 1 and values()[0] != "1", values()
    assert server.value("SELECT sum(x) FROM several.b") == 15


def test_views_of_another_server(server, tmp_path):
    """Views with texts in any dialect, by way of a server that has them only from another one."""
    config = tmp_path / "nunatak.toml"
    config.write_text(section("second", {"type": "rest", "uri": f"http://{server.http}/iceberg", "warehouse": "lake"}))
    version = lambda number, **texts: {
        "version-id": number,
        "schema-id": 0,
        "timestamp-ms": 1_700_000_000_000 + number,
        "summary": {"engine-name": "spark"},
        "default-namespace": ["passed"],
        "representations": [{"type": "sql", "sql": sql, "dialect": dialect} for dialect, sql in texts.items()],
    }
    columns = lambda name: {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": name, "required": False, "type": "int"}]}
    path = "v1/second/namespaces/passed/views"
    with Server(tmp_path / "second", "--config", config) as second:
        server.rows("CREATE SCHEMA passed")
        server.rows("CREATE TABLE passed.t AS SELECT 1 AS x")
        told = second.rest("GET", "v1/config", params={"warehouse": "second"}).json()["endpoints"]
        assert any(endpoint.endswith("/register-view") for endpoint in told)
        made = second.rest("POST", path, json={"name": "v", "schema": columns("x"), "view-version": version(1, spark="SELECT x FROM t", trino="SELECT x + 1 AS x FROM t"), "properties": {"k": "v", "gone": "x"}})
        assert made.status_code == 200, made.text
        assert server.value("SELECT x FROM passed.v") == second.value("SELECT x FROM second.passed.v") == 2
        loaded = second.rest("GET", f"{path}/v").json()
        assert loaded["metadata-location"] == server.rest("GET", "v1/lake/namespaces/passed/views/v").json()["metadata-location"]
        assert {text["dialect"] for text in loaded["metadata"]["versions"][0]["representations"]} == {"spark", "trino"}
        updates = [
            {"action": "set-properties", "updates": {"k": "w", "replace.drop-dialect.allowed": "true"}},
            {"action": "remove-properties", "removals": ["gone"]},
            {"action": "add-schema", "schema": columns("y") | {"schema-id": 1}},
            {"action": "add-view-version", "view-version": version(2, trino="SELECT x + 2 AS y FROM t") | {"schema-id": -1}},
            {"action": "set-current-view-version", "view-version-id": -1},
        ]
        requirement = {"type": "assert-view-uuid", "uuid": loaded["metadata"]["view-uuid"]}
        replaced = second.rest("POST", f"{path}/v", json={"requirements": [requirement], "updates": updates})
        assert replaced.status_code == 200, replaced.text
        assert server.value("SELECT y FROM passed.v") == 3
        properties = server.rest("GET", "v1/lake/namespaces/passed/views/v").json()["metadata"]["properties"]
        assert properties["k"] == "w" and "gone" not in properties
        wrong = second.rest("POST", f"{path}/v", json={"requirements": [requirement | {"uuid": "00000000-0000-0000-0000-000000000000"}], "updates": updates})
        assert (wrong.status_code, wrong.json()["error"]["type"]) == (409, "CommitFailedException")
        assert second.rest("POST", path, json={"name": "t", "schema": columns("x"), "view-version": version(1, trino="SELECT 1 AS x")}).status_code == 409
        renamed = {"source": {"namespace": ["passed"], "name": "v"}, "destination": {"namespace": ["passed"], "name": "w"}}
        assert second.rest("POST", "v1/second/views/rename", json=renamed).status_code == 204
        registered = second.rest("POST", "v1/second/namespaces/passed/register-view", json={"name": "again", "metadata-location": replaced.json()["metadata-location"]})
        assert registered.status_code == 200, registered.text
        assert sorted(server.rows("SHOW TABLES FROM passed")) == [("again",), ("t",), ("w",)]
        assert second.value("SELECT y FROM second.passed.again") == 3
        assert second.rest("DELETE", f"{path}/again").status_code == 204
        assert second.rest("HEAD", f"{path}/again").status_code == 404


def test_keys_are_given_to_those_who_may_have_them(server):
    """A staged table touches no bucket, and comes with all that a client is told."""
    asked = {"X-Iceberg-Access-Delegation": "vended-credentials,remote-signing"}
    given = {}
    for catalog in ("keys", "secrets"):
        assert call(server, "POST", f"v1/{catalog}/namespaces", json={"namespace": ["s"]}).status_code == 200
        for headers in (asked, {}):
            answer = call(server, "POST", f"v1/{catalog}/namespaces/s/tables", json=NEW_TABLE | {"stage-create": True}, headers=headers)
            assert answer.status_code == 200, answer.text
            given[catalog, bool(headers)] = answer
    assert [key for key, answer in given.items() if SECRET in answer.text] == [("keys", True)]
    answer = given["keys", True].json()
    expected = {"s3.access-key-id": "id", "s3.secret-access-key": SECRET, "s3.endpoint": "http://127.0.0.1:9", "s3.path-style-access": "true"}
    expected |= {"s3.region": "north", "client.region": "north"}
    assert answer["config"] == expected
    assert answer["storage-credentials"] == [{"prefix": answer["metadata"]["location"], "config": expected}]
    assert SECRET not in server.text()


def test_tokens(tmp_path, failure):
    """Where there are some, nobody else is let in: not PyIceberg, not another server of ours."""
    (tmp_path / "tokens").write_text(f"another-token-for-clients\n{TOKEN}\n")
    config = tmp_path / "nunatak.toml"
    config.write_text(f"[rest_server]\ntokens = '${{FILE:{tmp_path}/tokens}}'\n")
    with Server(tmp_path / "guarded", "--config", config) as guarded:
        client(guarded, token=TOKEN).create_table("default.t", Schema(NestedField(1, "n", LongType()))).append(numbers(1, 2))
        for properties in ({}, {"token": TOKEN + "x"}):
            with pytest.raises(UnauthorizedError):
                client(guarded, **properties)
        answer = call(guarded, "GET", "v1/lake/namespaces")
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "NotAuthorizedException")
        assert call(guarded, "POST", "v1/oauth/tokens", data={"grant_type": "client_credentials"}).json()["error"] == "unsupported_grant_type"
        uri = f"http://{guarded.http}/iceberg"
        config.write_text("".join(f"[catalog.{name}]\ntype = 'rest'\nuri = '{uri}'\ntoken = '{token}'\n" for name, token in (("good", TOKEN), ("wrong", "x"))))
        with Server(tmp_path / "other", "--config", config) as other:
            assert other.value('SELECT sum(n) FROM good."default".t') == 3
            other.rows('INSERT INTO good."default".t VALUES (3)')
            assert "CATALOG_ACCESS_DENIED" in failure(other, 'SELECT * FROM wrong."default".t')
        assert guarded.value("SELECT sum(n) FROM t") == 6
        assert TOKEN not in guarded.text()


def test_spark(server):
    """Spark keeps all of its tables and views with us: each kind of statement that asks the catalog for something of its own."""
    settings = {
        "spark.sql.catalog.ours": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.ours.type": "rest",
        "spark.sql.catalog.ours.uri": f"http://{server.http}/iceberg",
        "spark.sql.catalog.ours.warehouse": "lake",
        "spark.sql.catalog.ours.cache-enabled": "false",
    }
    with Spark(server.data_dir) as spark:
        run = lambda sql: spark.rows(sql, settings)
        run("CREATE NAMESPACE ours.sparkling")
        run("ALTER NAMESPACE ours.sparkling SET PROPERTIES ('k' = 'v')")
        assert "(k,v)" in str(run("DESCRIBE NAMESPACE EXTENDED ours.sparkling"))
        run("CREATE TABLE ours.sparkling.t (id BIGINT, name STRING) USING iceberg PARTITIONED BY (bucket(4, id)) TBLPROPERTIES ('format-version' = '3')")
        run("INSERT INTO ours.sparkling.t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        server.rows("UPDATE sparkling.t SET name = 'ours' WHERE id = 2")
        assert run("SELECT id, name FROM ours.sparkling.t ORDER BY id") == [(1, "a"), (2, "ours"), (3, "c")]
        run(
            "MERGE INTO ours.sparkling.t t USING (SELECT * FROM VALUES (1, 'x'), (4, 'd') AS s(id, name)) s ON t.id = s.id"
            " WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT *"
        )
        run("ALTER TABLE ours.sparkling.t ADD COLUMN more INT")
        run("ALTER TABLE ours.sparkling.t ADD PARTITION FIELD truncate(name, 2)")
        assert server.rows("SELECT id, name, more FROM sparkling.t ORDER BY id") == [(1, "x", None), (2, "ours", None), (3, "c", None), (4, "d", None)]
        # Made with its rows at once, partitioned: the files have the ids that we gave out.
        run("CREATE TABLE ours.sparkling.made USING iceberg PARTITIONED BY (name) AS SELECT id, name FROM ours.sparkling.t")
        assert server.rows("SELECT id FROM sparkling.made WHERE name = 'ours'") == [(2,)]
        run("CREATE OR REPLACE TABLE ours.sparkling.made USING iceberg AS SELECT id + 10 AS id FROM ours.sparkling.t")
        assert server.rows("SELECT sum(id) FROM sparkling.made") == [(50,)]
        assert run("SELECT count(*) FROM ours.sparkling.made.snapshots") == [(2,)]
        run("CREATE VIEW ours.sparkling.v AS SELECT id FROM ours.sparkling.t WHERE id > 1")
        assert run("SELECT * FROM ours.sparkling.v ORDER BY id") == [(2,), (3,), (4,)]
        run("CREATE OR REPLACE VIEW ours.sparkling.v (n) AS SELECT id * 2 FROM ours.sparkling.t")
        assert run("SELECT sum(n) FROM ours.sparkling.v") == [(20,)]
        run("ALTER VIEW ours.sparkling.v RENAME TO ours.sparkling.w")
        assert sorted(server.rows("SHOW TABLES FROM sparkling")) == [("made",), ("t",), ("w",)]
        assert [row[1] for row in run("SHOW VIEWS IN ours.sparkling")] == ["w"]
        run("DROP VIEW ours.sparkling.w")
        run("ALTER TABLE ours.sparkling.made RENAME TO sparkling.renamed")
        run("DROP TABLE ours.sparkling.renamed")
        assert server.rows("SHOW TABLES FROM sparkling") == [("t",)]

        # Its commits and those of others go on top of each other.
        properties = ", ".join(f"'{name}' = '{value}'" for name, value in RETRIES.items())
        run(f"CREATE TABLE ours.sparkling.race (n BIGINT) USING iceberg TBLPROPERTIES ({properties})")

        def write(writer):
            for turn in range(3):
                if writer == 0:
                    run(f"INSERT INTO ours.sparkling.race VALUES ({turn})")
                else:
                    append(client(server), "sparkling.race", numbers(writer * 10 + turn))

        with concurrent.futures.ThreadPoolExecutor(8) as writers:
            list(writers.map(write, range(8)))
        expected = sorted(writer * 10 + turn for writer in range(8) for turn in range(3))
        assert sorted(n for (n,) in server.rows("SELECT n FROM sparkling.race")) == expected
        assert sorted(n for (n,) in run("SELECT n FROM ours.sparkling.race")) == expected
