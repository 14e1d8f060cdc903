"""Answers of a REST server that are lost: it has carried out what it was asked for, and a proxy before it says something else, or nothing. Servers that are to be asked later, or by
somebody with another token. And tables whose metadata is lost."""

import json
import time
from pathlib import Path

import pytest

from nunatak_testing.server import Server, section
from servers.http_proxy import HttpProxy
from servers.proxy import Proxy
from servers.rest import Rest


def answer(status):
    return f"HTTP/1.1 {status} So\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy".encode()


# After the first two a request is sent again, and meets what it has done itself.
INSTEAD = {"busy": answer(503), "too_many": answer(429), "late": answer(504), "nonsense": answer(200), "nothing": b""}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rest")
    with Rest(folder, f"file://{folder}/warehouse") as rest, Proxy(f"127.0.0.1:{rest.port}") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory, proxy):
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    rest = section("rest", {"type": "rest", "uri": f"http://{proxy.address}"})
    config.write_text(rest + section("folders", {"type": "hadoop", "warehouse": f"file://{folder}/warehouse"}))
    with Server(folder / "data", "--config", config) as server:
        yield server


@pytest.mark.parametrize("instead", INSTEAD)
def test_what_was_carried_out_is_told_so(server, proxy, instead):
    def run(sql, method, path):
        def is_meant(data):
            line = data.split(b"\r\n", 1)[0].decode(errors="replace").split(" ")
            return line[0] == method and line[1].split("?")[0].endswith(path)

        proxy.lose_answer(is_meant, INSTEAD[instead])
        server.rows(sql)
        assert proxy.losing is None, f"{sql}: no {method} {path}"

    schema = f"rest.{instead}"
    run(f"CREATE SCHEMA {schema}", "POST", "/namespaces")
    run(f"CREATE TABLE {schema}.t AS SELECT 1 AS a", "POST", "/tables/t")
    run(f"INSERT INTO {schema}.t VALUES (2)", "POST", "/tables/t")
    run(f"UPDATE {schema}.t SET a = a + 10 WHERE a = 1", "POST", "/tables/t")
    run(f"ALTER TABLE {schema}.t ADD COLUMN b int", "POST", "/tables/t")
    run(f"ALTER TABLE {schema}.t RENAME TO {schema}.u", "POST", "/tables/rename")
    # None of its files was taken for one of a lost race.
    assert server.rows(f"SELECT * FROM {schema}.u ORDER BY a") == [(2, None), (11, None)]
    assert server.value(f'SELECT count(*) FROM {schema}."u$snapshots"') == 3
    run(f"CREATE VIEW {schema}.v AS SELECT 1 AS x", "POST", "/views")
    run(f"CREATE OR REPLACE VIEW {schema}.v AS SELECT 2 AS x", "POST", "/views/v")
    assert server.value(f"SELECT x FROM {schema}.v") == 2
    run(f"DROP VIEW {schema}.v", "DELETE", "/views/v")
    run(f"DROP TABLE {schema}.u", "DELETE", "/tables/u")
    run(f"DROP SCHEMA {schema}", "DELETE", f"/namespaces/{instead}")
    assert (instead,) not in server.rows("SHOW SCHEMAS FROM rest")


def test_a_token_that_ends_on_the_way_of_a_commit(server, tmp_path):
    """It was good when the table was loaded and its rows were written. The server refuses it; another one is asked for, and the commit is made once."""
    token_seconds = 3
    with Rest(tmp_path, f"file://{tmp_path}/warehouse", credential="engine:s3cr3t", token_seconds=token_seconds) as rest, HttpProxy(rest.uri) as late:
        server.rows(f"CREATE CATALOG ends USING rest WITH (uri = '{late.endpoint}', credential = 'engine:s3cr3t')")
        server.rows("CREATE SCHEMA ends.s")
        server.rows("CREATE TABLE ends.s.t AS SELECT 1 AS a")
        commits = []

        def wait(method, path, headers, _):
            if method == "POST" and path.endswith("/tables/t"):
                commits.append(headers["authorization"])
                if len(commits) == 1:
                    time.sleep(token_seconds + 1)

        late.answer = wait
        server.rows("INSERT INTO ends.s.t VALUES (2)")
        assert len(commits) == len(set(commits)) == 2
        assert server.rows("SELECT a FROM ends.s.t ORDER BY a") == [(1,), (2,)]
        assert server.value('SELECT count(*) FROM ends.s."t$snapshots"') == 2
        server.rows("DROP CATALOG ends")


def test_a_server_that_is_to_be_asked_later(server, failure):
    """It says for how long it is to be left alone, and is, if that is no longer than somebody waits for an answer."""
    server.rows("CREATE SCHEMA later")
    server.rows("CREATE TABLE later.t AS SELECT 1 AS a")
    with HttpProxy(f"http://{server.http}") as busy:
        server.rows(f"CREATE CATALOG busy USING rest WITH (uri = '{busy.endpoint}/iceberg', warehouse = 'lake')")
        assert server.value("SELECT a FROM busy.later.t") == 1
        asked = []

        def answers(seconds, is_meant):
            def answer(method, path, *_):
                if is_meant(method, path):
                    asked.append(time.monotonic())
                    return (503, "", {"Retry-After": str(seconds)}) if len(asked) == 1 or seconds > 60 else None

            asked.clear()
            return answer

        for sql, method in (("SELECT a FROM busy.later.t", "GET"), ("INSERT INTO busy.later.t VALUES (2)", "POST")):
            busy.answer = answers(4, lambda verb, path: verb == method and path.endswith("/tables/t"))
            server.rows(sql)
            assert asked[1] - asked[0] >= 4
        assert server.rows("SELECT a FROM later.t ORDER BY a") == [(1,), (2,)]
        busy.answer = answers(3600, lambda _, path: path.endswith("/tables/t"))
        begun = time.monotonic()
        text = failure(server, "SELECT a FROM busy.later.t")
        assert "CATALOG_UNAVAILABLE" in text and "it asks to be left alone for 3600 s" in text, text
        assert len(asked) == 1 and time.monotonic() - begun < 3
        server.rows("DROP CATALOG busy")


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def of_a_later_version(file):
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format-version": 9}))


@pytest.mark.parametrize("catalog", ["lake", "folders", "rest"])
def test_a_table_whose_metadata_is_lost_can_be_dropped(server, catalog, failure):
    server.rows(f"CREATE SCHEMA {catalog}.damaged")
    # Iceberg's server reads a file that is damaged again and again, for longer than anybody waits.
    damages = [Path.unlink] if catalog == "rest" else [Path.unlink, cut, of_a_later_version]
    for number, damage in enumerate(damages):
        table = f"{catalog}.damaged.t{number}"
        server.rows(f"CREATE TABLE {table} AS SELECT 1 AS a")
        ((file,),) = server.rows(f'SELECT file FROM {catalog}.damaged."t{number}$metadata_log_entries"')
        damage(Path(file.removeprefix("file:").replace("///", "/")))
        server.rows(f"CALL {catalog}.system.flush_metadata_cache()")
        error = failure(server, f"SELECT * FROM {table}")
        if damage is of_a_later_version:
            assert "NOT_SUPPORTED" in error and "format version 9" in error, error
        if damage is cut:
            assert "DROP TABLE" in failure(server, f"CREATE OR REPLACE TABLE {table} AS SELECT 2 AS a")
        if catalog == "lake":
            server.rows(f"ALTER TABLE {table} RENAME TO {table}_renamed")
            table = f"{table}_renamed"
        # Its name is taken.
        server.rows(f"CREATE TABLE IF NOT EXISTS {table} (x int)")
        server.rows(f"DROP TABLE IF EXISTS {table}")
        assert "TABLE_NOT_FOUND" in failure(server, f"DROP TABLE {table}")
    assert server.rows(f"SHOW TABLES FROM {catalog}.damaged") == []
    server.rows(f"DROP SCHEMA {catalog}.damaged")
