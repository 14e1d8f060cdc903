"""The binary as a person or a script meets it: help, the shell, exit codes, and bad input in one line."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import time

import pyarrow
import pytest

from nunatak_testing.server import BINARY, Server, eventually, nunatak

SQL = "SELECT * FROM (VALUES (1, 'a', 1.5), (2, NULL, NULL)) AS t (id, name, x) ORDER BY id"


@pytest.mark.parametrize("verb", [[], ["standalone"], ["sql"], ["ingest"]])
def test_help(verb):
    run = nunatak(*verb, "--help")
    assert run.returncode == 0 and "Usage: nunatak" in run.stdout and run.stderr == ""


def test_version_and_unknown_verb():
    assert nunatak("--version").stdout.startswith("nunatak ")
    run = nunatak("standallone")
    assert run.returncode == 2 and "standalone" in run.stderr


def test_sql_table(server):
    run = server.nunatak("sql", "-e", SQL, "--format", "table")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert any("id" in line and "name" in line for line in lines) and any("1.5" in line and "a" in line for line in lines)


def test_sql_csv(server):
    run = server.nunatak("sql", "-e", SQL, "--format", "csv")
    assert list(csv.reader(io.StringIO(run.stdout))) == [["id", "name", "x"], ["1", "a", "1.5"], ["2", "", ""]]


def test_sql_json(server):
    run = server.nunatak("sql", "-e", SQL, "--format", "json")
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(row["id"], row.get("name"), row.get("x")) for row in rows] == [(1, "a", 1.5), (2, None, None)]


def test_sql_arrow(server):
    command = [BINARY, "sql", "--server", f"http://{server.flight}", "-e", "SELECT n FROM (VALUES (1), (2)) AS t (n)", "--format", "arrow"]
    run = subprocess.run(command, capture_output=True, timeout=60)
    assert pyarrow.ipc.open_stream(run.stdout).read_all().column("n").to_pylist() == [1, 2]


def test_sql_takes_many_statements_and_files(server, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text("-- a comment; with a semicolon\nCREATE TABLE scripted (a varchar);\nINSERT INTO scripted VALUES ('x;y');\nSELECT a FROM scripted;\n")
    run = server.nunatak("sql", "-f", script, "--format", "csv")
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "x;y", run.stderr
    run = server.nunatak("sql", "--format", "csv", input="SELECT a FROM scripted;\n")
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "x;y", run.stderr


def test_sql_keeps_its_session(server):
    run = server.nunatak("sql", "--format", "csv", "-e", "CREATE SCHEMA mine; USE mine; CREATE TABLE t AS SELECT 7 AS a; SELECT a FROM mine.t")
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "7", run.stderr


def test_sql_error_is_one_line_and_exit_code_1(server):
    server.rows("CREATE TABLE flights (a bigint)")
    run = server.nunatak("sql", "-e", "SELECT * FROM flight")
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.strip() == "error: TABLE_NOT_FOUND: line 1:15: table 'flight' does not exist (did you mean 'flights'?)"


def test_sql_stops_at_the_first_error(server):
    run = server.nunatak("sql", "-e", "SELECT 1 / 0; CREATE TABLE never (a bigint)")
    assert run.returncode == 1 and "DIVISION_BY_ZERO" in run.stderr
    assert ("never",) not in server.rows("SHOW TABLES")


def test_sql_without_a_server():
    run = nunatak("sql", "--server", "http://127.0.0.1:1", "-e", "SELECT 1")
    assert run.returncode != 0 and "127.0.0.1:1" in run.stderr and len(run.stderr.strip().splitlines()) == 1


def refused(*arguments, **options):
    """The one line with which the server refuses to start."""
    run = nunatak("standalone", *arguments, timeout=30, **options)
    assert run.returncode == 2, run.stdout + run.stderr
    (line,) = run.stderr.strip().splitlines()
    return line


def test_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused("--data-dir", tmp_path, "--flight", address, "--http", "127.0.0.1:0")
        assert address in refused("--data-dir", tmp_path, "--http", address, "--flight", "127.0.0.1:0")


def test_data_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    ports = ["--flight", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    assert "file" in refused("--data-dir", tmp_path / "file/data", *ports)
    assert "/proc/nunatak" in refused("--data-dir", "/proc/nunatak", *ports)


def test_configuration_errors(tmp_path):
    config = tmp_path / "nunatak.toml"
    ports = ["--data-dir", tmp_path / "data", "--flight", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    config.write_text("[server]\ndata_dirr = '/tmp'\n")
    line = refused("--config", config, *ports)
    assert "data_dirr" in line and "did you mean" in line and "data_dir" in line
    config.write_text("[server\n")
    assert "nunatak.toml" in refused("--config", config, *ports)
    assert "absent.toml" in refused("--config", tmp_path / "absent.toml", *ports)
    assert "lots" in refused("--memory", "lots", *ports)
    assert "SERVER__DATA_DIRR" in refused(*ports, env=os.environ | {"NUNATAK_SERVER__DATA_DIRR": "/tmp"}).upper()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server_cleanly(tmp_path, how):
    server = Server(tmp_path).start()
    server.rows("CREATE TABLE t (a bigint)")
    assert server.stop(how) == 0, server.text()


def test_signal_ends_the_server_while_a_query_runs(tmp_path, numbers_file):
    server = Server(tmp_path).start()
    server.rows(f"CREATE TABLE numbers AS SELECT * FROM read_parquet('{numbers_file}')")
    client = subprocess.Popen(
        [BINARY, "sql", "--server", f"http://{server.flight}", "-e", "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE a.n * b.n % 7 = 3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    assert server.stop() == 0
    _, errors = client.communicate(timeout=30)
    assert client.returncode == 1 and errors.strip()


def test_ctrl_c_in_the_client_cancels_its_query(server, numbers):
    query = "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE a.n * b.n % 7 = 3"
    client = subprocess.Popen([BINARY, "sql", "--server", f"http://{server.flight}", "-e", query], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    client.send_signal(signal.SIGINT)
    assert client.wait(5) != 0
    assert eventually(server.is_idle, 3), "the query went on after its client was gone"


def test_empty_directory_start(tmp_path):
    with Server(tmp_path / "a/b/c") as server:
        assert (tmp_path / "a/b/c/catalog.sqlite").exists()
        assert server.value("SELECT 1") == 1
        assert ("default",) in server.rows("SHOW SCHEMAS")
        assert server.rows("SHOW TABLES") == []
